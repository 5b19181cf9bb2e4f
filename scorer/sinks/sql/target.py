"""Which table of which database: the URL of a manifest, parsed, and names that may be quoted. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from shared.contract.errors import Malformed, Misconfigured
from shared.contract.publishing.databases import Database, Dialect

DEFAULT_TABLE = "fleetscore_predictions"
AZURE = ".database.azure.com"  # how the names of Azure's servers of PostgreSQL end
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}")  # with what is appended, below PostgreSQL's limit of 63


_SCHEMAS = {Dialect.POSTGRESQL: "public", Dialect.MSSQL: "dbo"}


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
    try:
        database = Database.parse(fields["url"])
    except Malformed as error:
        raise Misconfigured(f"SQL_URL: {error}") from error
    schema, table = _parse_table(fields.get("table") or DEFAULT_TABLE, _SCHEMAS[database.dialect])
    place = database.dialect, database.host, database.port, database.name, database.user
    return SqlTarget(*place, schema, table, database.options)


def _parse_table(text: str, default_schema: str) -> tuple[str, str]:
    schema, point, table = text.rpartition(".")
    schema = schema if point else default_schema
    if not _NAME.fullmatch(schema) or not _NAME.fullmatch(table):
        raise Misconfigured(
            "SQL_TABLE: expected TABLE or SCHEMA.TABLE, each of letters, digits and _, at most 48 and no digit first, "
            f"got {text!r}"
        )
    return schema, table
