"""SQL Server, Azure SQL and dedicated pools of Synapse by mssql-python, whose bulk copy reads Arrow.

Its bulk copy has a connection of its own, so it cannot be part of the transaction: each part is copied into a staging
table of its own, which the transaction reads. A job that is killed leaves its staging table to a later job, which
drops it after a day.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import pyarrow as pa

from scorer.predictions.table import SCHEMA
from scorer.sinks.base import SinkError
from scorer.sinks.deadline import call_within
from scorer.sinks.identity import NodeIdentity
from shared.contract.errors import Misconfigured
from shared.contract.publishing.documents import PublicationItem
from shared.contract.publishing.sinks import SinkReason

from . import sql_server_statements as sql
from .columns import NULLABLE, Column, check_columns
from .sink import Limits, StoredRun
from .sql_server_errors import classify_error
from .target import SqlTarget

T = TypeVar("T")


def connect_sql_server(target: SqlTarget, password: str, limits: Limits) -> SqlServerSession:
    """Two connections; without a user, by a token of the node's identity. Raises SinkError, Misconfigured."""
    try:
        import mssql_python
    except ImportError as error:
        raise Misconfigured(
            "SQL_URL: expected the package mssql-python on the node for mssql://, got none: docs/sql.md says how to "
            f"add it to the image ({error})"
        ) from error
    if target.user and not password:
        raise Misconfigured(f"SQL_PASSWORD: expected the password of {target.user}, got none")
    options: dict[str, Any] = {"timeout": limits.connect}
    if not target.user:
        options["token_provider"] = NodeIdentity(target.label)
    text = build_connection_string(target, password)

    def connect(*, autocommit: bool) -> Any:
        def run() -> Any:
            connection = mssql_python.connect(text, autocommit=autocommit, **options)
            connection.timeout = limits.statement
            return connection

        with _translate_errors(target.label):
            return call_within(2 * limits.connect + limits.grace, target.label, run, lambda: None)

    session = SqlServerSession(target, limits, connect(autocommit=False))
    try:
        session.outside = connect(autocommit=True)
    except BaseException:
        session.close()
        raise
    return session


def build_connection_string(target: SqlTarget, password: str) -> str:
    """As ODBC has it; a value in braces may hold anything."""
    fields = {
        "Server": f"{target.host},{target.port}" if target.port else target.host,
        "Database": target.database,
        "Encrypt": target.options.get("encrypt", "yes"),
        "TrustServerCertificate": target.options.get("trust_server_certificate", "no"),
        **({"UID": target.user, "PWD": password} if target.user else {}),
    }
    return ";".join(f"{name}={{{text.replace('}', '}}')}}}" for name, text in fields.items())


@dataclass(slots=True)
class SqlServerSession:
    """See Session. *inside* is the connection of the transaction; *outside* creates tables, each at once."""

    target: SqlTarget
    limits: Limits
    inside: Any
    outside: Any = None
    statements: sql.Statements | None = None  # once the kind of the server is known

    def prepare_tables(self) -> None:
        """See Session."""
        ((edition,),) = self._query(self.outside, sql.FIND_EDITION)
        if edition == sql.SERVERLESS:
            message = f"{self.target.label}: expected a database that stores rows, got a serverless pool"
            raise SinkError(SinkReason.MISMATCH, message)
        statements = self.statements = sql.Statements(self.target, is_synapse=edition == sql.SYNAPSE)
        for connection in (self.inside, self.outside):
            for statement in statements.list_settings(self.limits.lock):
                self._execute(connection, statement)
        if not self._query(self.outside, sql.FIND_SCHEMA, self.target.schema):
            self._execute(self.outside, statements.create_schema())
        if not self._check_table(statements.table, sql.TYPES, NULLABLE):
            for statement in statements.create_table():
                self._execute(self.outside, statement)
        if not self._check_table(statements.control, sql.CONTROL_TYPES, frozenset()):
            self._execute(self.outside, statements.create_control())
        for (name,) in self._query(self.outside, sql.FIND_STAGING, self.target.schema):
            with suppress(SinkError):  # another job drops it too
                self._execute(self.outside, statements.drop_staging(name))

    def begin(self) -> None:
        """See Session: the driver begins a transaction with the next statement."""
        self._guard(self._require_open(self.inside).rollback)  # which shows whether the connection still is one

    def lock_run(self, run: str) -> StoredRun | None:
        """See Session."""
        statements = self._require_open(self.statements)
        self._execute(self.inside, statements.lock_run(), run)
        rows = self._query(self.inside, statements.read_control(), run)
        return StoredRun(*rows[0]) if rows else None

    def delete_rows(self, run: str) -> None:
        """See Session."""
        self._execute(self.inside, self._require_open(self.statements).delete_rows(), run)

    def add_rows(self, run: str, table: pa.Table) -> int:
        """See Session."""
        statements = self._require_open(self.statements)
        name = f"{sql.STAGING}{uuid.uuid4().hex[:12]}"
        self._execute(self.outside, statements.create_staging(name))
        try:
            self._copy(f"{self.target.schema}.{name}", table)
            return self._execute(self.inside, statements.insert_rows(name), run)
        finally:
            with suppress(SinkError):
                self._execute(self.outside, statements.drop_staging(name))

    def write_control(self, item: PublicationItem, stored: StoredRun, rows: int) -> None:
        """See Session."""
        statements = self._require_open(self.statements)
        self._execute(self.inside, statements.delete_control(), item.run)
        fields = item.run, stored.app, stored.version, item.round, rows, stored.digest
        self._execute(self.inside, statements.insert_control(), *fields)

    def read_rows(self, run: str, device: str, time: datetime) -> list[Mapping[str, Any]]:
        """See Session."""
        rows = self._query(self.inside, self._require_open(self.statements).read_rows(), run, device, time.isoformat())
        return [{name: _add_zone(cell) for name, cell in zip(SCHEMA.names, row, strict=True)} for row in rows]

    def commit(self) -> None:
        """See Session."""
        self._guard(self._require_open(self.inside).commit)

    def rollback(self) -> None:
        """See Session."""
        self._guard(self._require_open(self.inside).rollback)

    def close(self) -> None:
        """See Session."""
        connections = self.inside, self.outside
        self.inside = self.outside = None
        for connection in filter(None, connections):
            with suppress(SinkError), _translate_errors(self.target.label):
                call_within(self.limits.connect, self.target.label, connection.close, lambda: None)

    def _copy(self, name: str, table: pa.Table) -> None:
        def run(cursor: Any) -> int:
            result = cursor.bulkcopy_arrow(name, table, timeout=self.limits.statement, table_lock=True, keep_nulls=True)
            return int(result["rows_copied"])

        copied = self._call(self.outside, run)
        if copied != table.num_rows:
            message = f"{self.target.label}: expected {table.num_rows} rows to be copied, got {copied}"
            raise SinkError(SinkReason.FAILED, message)

    def _check_table(self, name: str, types: Mapping[str, Any], nullable: frozenset[str]) -> bool:
        """Whether there is such a table; raises MISMATCH where it is another one."""
        kinds = self._query(self.outside, sql.FIND_KIND, name)
        if not kinds:
            return False
        label = f"{name} of {self.target.database} at {self.target.host}"
        if kinds[0][0] != "U":
            message = f"{label}: expected a table, got a view or another kind of object ({kinds[0][0]})"
            raise SinkError(SinkReason.MISMATCH, message)
        columns = [
            Column(column, sql.format_type(kind, length, scale), bool(is_nullable), bool(is_filled))
            for column, kind, length, scale, is_nullable, is_filled in self._query(self.outside, sql.FIND_COLUMNS, name)
        ]
        check_columns(columns, types, nullable, label)
        return True

    def _query(self, connection: Any, statement: str, *parameters: object) -> Sequence[Sequence[Any]]:
        def run(cursor: Any) -> Sequence[Sequence[Any]]:
            cursor.execute(statement, *parameters)
            return [tuple(row) for row in cursor.fetchall()]

        return self._call(connection, run)

    def _execute(self, connection: Any, statement: str, *parameters: object) -> int:
        """The number of rows that a statement has changed."""

        def run(cursor: Any) -> int:
            cursor.execute(statement, *parameters)
            return int(cursor.rowcount)

        return self._call(connection, run)

    def _call(self, connection: Any, function: Callable[[Any], T]) -> T:
        def run() -> T:
            cursor = connection.cursor()
            try:
                return function(cursor)
            finally:
                cursor.close()

        self._require_open(connection)
        return self._guard(run)

    def _require_open(self, resource: T | None) -> T:
        """A connection, or the statements that an open one has. Raises UNAVAILABLE where there is none."""
        if resource is None:
            raise SinkError(SinkReason.UNAVAILABLE, f"{self.target.label}: the connection is closed")
        return resource

    def _guard(self, function: Callable[[], T]) -> T:
        """The result of a call, within the limit of a statement. One that goes on has its connections for itself."""
        connections = self.inside, self.outside

        def clean_up() -> None:
            for connection in filter(None, connections):
                connection.close()

        with _translate_errors(self.target.label):
            try:
                seconds = self.limits.statement + self.limits.grace
                return call_within(seconds, self.target.label, function, clean_up)
            except SinkError:
                self.inside = self.outside = None
                raise


def _add_zone(cell: Any) -> Any:
    """A time of a column without zone is in UTC, as it was sent."""
    return cell.replace(tzinfo=UTC) if isinstance(cell, datetime) and cell.tzinfo is None else cell


@contextmanager
def _translate_errors(label: str) -> Iterator[None]:
    """What the driver raises, as a SinkError: its bulk copy has errors of its own, and builtin ones."""
    try:
        yield
    except SinkError:
        raise
    except Exception as error:
        cause = error.__cause__
        if isinstance(cause, SinkError):  # of the token, which the driver asks for
            raise cause from cause.__cause__
        raise SinkError(classify_error(str(error)), f"{label}: {str(error).strip()}") from error
