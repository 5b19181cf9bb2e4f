"""PostgreSQL by ADBC: rows go by binary COPY into a temporary table, and from there where they belong.

COPY looks at no types: a number in a column of another type becomes another number. So it only ever writes into a table
of ours, and the database itself converts from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import pyarrow as pa

from scorer.predictions.table import SCHEMA
from scorer.sinks.base import SinkError
from scorer.sinks.deadline import call_within
from scorer.sinks.identity import NodeIdentity
from shared.contract.publishing.documents import PublicationItem
from shared.contract.publishing.sinks import SinkReason

from . import postgres_statements as sql
from .columns import NULLABLE, Column, check_columns
from .postgres_errors import classify_error, describe_error, read_state
from .sink import Limits, StoredRun
from .target import AZURE, SqlTarget

T = TypeVar("T")
_TOKEN_SCOPE = "https://ossrdbms-aad.database.windows.net/.default"  # noqa: S105  # https://learn.microsoft.com/azure/postgresql/flexible-server/how-to-configure-sign-in-azure-ad-authentication
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_TABLES = ("r", "p")  # of pg_class.relkind: a table, also one in partitions


def connect_postgres(target: SqlTarget, password: str, limits: Limits) -> PostgresSession:
    """A connection; *password* is "" where a token of the node's identity is it. Raises SinkError."""
    from adbc_driver_postgresql import dbapi

    with _translate_errors(target.label):
        uri = _build_uri(target, password or _get_token(target), limits)
        seconds = limits.connect + limits.grace
        connection = call_within(seconds, target.label, lambda: dbapi.connect(uri), lambda: None)
    return PostgresSession(target, limits, connection)


@dataclass(slots=True)
class PostgresSession:
    """See Session."""

    target: SqlTarget
    limits: Limits
    _connection: Any
    _statements: sql.Statements = field(init=False)
    _has_staging: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._statements = sql.Statements(self.target)

    def prepare_tables(self) -> None:
        """See Session."""
        statements = self._statements
        self.begin()
        self._query(sql.LOCK, f"fleetscore {statements.table}")  # or two jobs create it at once
        if not self._query(sql.FIND_SCHEMA, self.target.schema):
            self._execute(statements.create_schema())
        if not self._check_table(statements.table, sql.TYPES, NULLABLE):
            for statement in statements.create_table():
                self._execute(statement)
        if not self._check_table(statements.control, sql.CONTROL_TYPES, frozenset()):
            self._execute(statements.create_control())
        self.commit()

    def begin(self) -> None:
        """See Session."""
        self._has_staging = False
        self._execute(sql.BEGIN)  # the driver has begun it
        self._query(sql.SET, f"{self.limits.lock}s", f"{self.limits.statement}s")

    def lock_run(self, run: str) -> StoredRun | None:
        """See Session."""
        self._query(sql.LOCK, f"fleetscore {self._statements.control} {run}")
        rows = self._query(self._statements.read_control(), run)
        return StoredRun(*rows[0]) if rows else None

    def delete_rows(self, run: str) -> None:
        """See Session."""
        self._execute(self._statements.delete_rows(), run)

    def add_rows(self, run: str, table: pa.Table) -> int:
        """See Session."""
        self._execute(sql.TRUNCATE if self._has_staging else self._statements.create_staging())
        self._has_staging = True
        self._call(lambda cursor: cursor.adbc_ingest(sql.STAGING, table, mode="append", temporary=True))
        return self._execute(self._statements.insert_rows(run))

    def write_control(self, item: PublicationItem, stored: StoredRun, rows: int) -> None:
        """See Session."""
        self._execute(self._statements.delete_control(), item.run)
        self._execute(
            self._statements.insert_control(), item.run, stored.app, stored.version, item.round, rows, stored.digest
        )

    def read_rows(self, run: str, device: str, time: datetime) -> list[Mapping[str, Any]]:
        """See Session."""
        rows = self._query(self._statements.read_rows(), run, device, time.isoformat())
        return [dict(zip(SCHEMA.names, row, strict=True)) for row in rows]

    def commit(self) -> None:
        """See Session."""
        self._guard(self._get_connection().commit)

    def rollback(self) -> None:
        """See Session."""
        self._guard(self._get_connection().rollback)

    def close(self) -> None:
        """See Session."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SinkError), _translate_errors(self.target.label):
                call_within(self.limits.connect, self.target.label, connection.close, lambda: None)

    def _check_table(self, name: str, types: Mapping[str, Any], nullable: frozenset[str]) -> bool:
        """Whether there is such a table; raises MISMATCH where it is another one."""
        kinds = self._query(sql.FIND_KIND, name)
        if not kinds:
            return False
        label = f"{name} of {self.target.database} at {self.target.host}"
        if kinds[0][0] not in _TABLES:
            message = f"{label}: expected a table, got a view or another kind of relation ({kinds[0][0]})"
            raise SinkError(SinkReason.MISMATCH, message)
        columns = [Column(*row) for row in self._query(sql.FIND_COLUMNS, name)]
        check_columns(columns, types, nullable, label)
        return True

    def _query(self, statement: str, *parameters: object) -> Sequence[Sequence[Any]]:
        def run(cursor: Any) -> Sequence[Sequence[Any]]:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall()  # type: ignore[no-any-return]  # the driver has few types

        return self._call(run)

    def _execute(self, statement: str, *parameters: object) -> int:
        """The number of rows that a statement has changed."""

        def run(cursor: Any) -> int:
            cursor.execute(statement, parameters or None)
            return int(cursor.rowcount)

        return self._call(run)

    def _call(self, function: Callable[[Any], T]) -> T:
        def run() -> T:
            with connection.cursor() as cursor:
                return function(cursor)

        connection = self._get_connection()
        return self._guard(run)

    def _get_connection(self) -> Any:
        if self._connection is None:
            raise SinkError(SinkReason.UNAVAILABLE, f"{self.target.label}: the connection is closed")
        return self._connection

    def _guard(self, function: Callable[[], T]) -> T:
        """The result of a call, within the limit of a statement. One that goes on has the connection for itself."""
        connection = self._get_connection()
        with _translate_errors(self.target.label):
            try:
                seconds = self.limits.statement + self.limits.grace
                return call_within(seconds, self.target.label, function, connection.close)
            except SinkError:
                self._connection = None
                raise


def _build_uri(target: SqlTarget, password: str, limits: Limits) -> str:
    """The connection string of libpq: encrypted, but for this machine; and Azure's certificate is checked."""
    options: dict[str, str] = {"connect_timeout": str(limits.connect), "application_name": "fleetscore"}
    options |= {"keepalives_idle": "60", "keepalives_interval": "15", "tcp_user_timeout": "120000"}
    if target.host.endswith(AZURE):
        import certifi

        options |= {"sslmode": "verify-full", "sslrootcert": certifi.where()}
    elif target.host not in _LOOPBACK:
        options["sslmode"] = "require"
    options |= target.options
    login = quote(target.user, safe="") + (f":{quote(password, safe='')}" if password else "")
    host = f"[{target.host}]" if ":" in target.host else target.host
    port = f":{target.port}" if target.port else ""
    return f"postgresql://{login}@{host}{port}/{quote(target.database, safe='')}?{urlencode(options)}"


def _get_token(target: SqlTarget) -> str:
    """A token of the node's identity for a server at Azure; elsewhere a server may want no password."""
    if not target.host.endswith(AZURE):
        return ""
    identity = NodeIdentity(target.label, "SQL_PASSWORD or a token of the node's identity")
    return str(identity.get_token(_TOKEN_SCOPE).token)


@contextmanager
def _translate_errors(label: str) -> Iterator[None]:
    """What ADBC raises, as a SinkError."""
    import adbc_driver_manager

    try:
        yield
    except adbc_driver_manager.Error as error:
        reason = classify_error(read_state(error), str(error))
        raise SinkError(reason, f"{label}: {describe_error(error)}") from error
