"""Which table of which database: the URL of a manifest, parsed, and names that may be quoted. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl, unquote, urlsplit

from shared.contract.errors import Misconfigured

DEFAULT_TABLE = "fleetscore_predictions"
AZURE = ".database.azure.com"  # how the names of Azure's servers of PostgreSQL end
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}")  # with what is appended, below PostgreSQL's limit of 63


class Dialect(StrEnum):
    """A kind of database, by the scheme of its URL."""

    POSTGRESQL = "postgresql"
    MSSQL = "mssql"  # SQL Server, Azure SQL, and the dedicated pools of Synapse


_SCHEMAS = {Dialect.POSTGRESQL: "public", Dialect.MSSQL: "dbo"}
_OPTIONS = {
    Dialect.POSTGRESQL: ("sslmode", "sslrootcert"),
    Dialect.MSSQL: ("encrypt", "trust_server_certificate"),
}


@dataclass(frozen=True, slots=True)
class SqlTarget:
    """A table of a database. There is no password in it."""

    dialect: Dialect
    host: str
    port: int | None
    database: str
    user: str  # "": the identity of the node
    schema: str
    table: str
    options: Mapping[str, str]

    @property
    def control_table(self) -> str:
        """The table of the runs that the table has."""
        return f"{self.table}_runs"

    @property
    def label(self) -> str:
        """The table, as messages name it."""
        return f"{self.schema}.{self.table} of {self.database} at {self.host}"


def parse_target(fields: Mapping[str, str]) -> SqlTarget:
    """The target of a manifest: `url`, and `table` where it is not the default. Raises Misconfigured."""
    url = fields["url"]
    try:
        parts = urlsplit(url)
        dialect, port = Dialect(parts.scheme), parts.port
    except ValueError as error:
        raise _refuse_url(_hide_password(url)) from error
    if parts.password is not None:
        raise Misconfigured(f"SQL_URL: expected no password in it, but in SQL_PASSWORD, got {_hide_password(url)}")
    database = unquote(parts.path.removeprefix("/"))
    if not parts.hostname or not database or "/" in database or parts.fragment:
        raise _refuse_url(url)
    if dialect is Dialect.POSTGRESQL and not parts.username:
        raise _refuse_url(url)  # libpq would take the user of the operating system
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options.keys() - set(_OPTIONS[dialect]):
        raise Misconfigured(f"SQL_URL: expected the options {' and '.join(_OPTIONS[dialect])} only, got {name}")
    schema, table = _parse_table(fields.get("table") or DEFAULT_TABLE, _SCHEMAS[dialect])
    user = unquote(parts.username or "")
    return SqlTarget(dialect, parts.hostname, port, database, user, schema, table, options)


def _parse_table(text: str, default_schema: str) -> tuple[str, str]:
    schema, point, table = text.rpartition(".")
    schema = schema if point else default_schema
    if not _NAME.fullmatch(schema) or not _NAME.fullmatch(table):
        raise Misconfigured(
            "SQL_TABLE: expected TABLE or SCHEMA.TABLE, each of letters, digits and _, at most 48 and no digit first, "
            f"got {text!r}"
        )
    return schema, table


def _refuse_url(url: str) -> Misconfigured:
    return Misconfigured(
        f"SQL_URL: expected postgresql://USER@HOST:PORT/DATABASE or mssql://HOST/DATABASE, got {url!r}"
    )


def _hide_password(url: str) -> str:
    return re.sub(r"(//[^/@]*?):.*@", r"\1:***@", url)
