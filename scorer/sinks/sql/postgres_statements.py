"""What is said to PostgreSQL: the texts, and the types. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from scorer.predictions.table import SCHEMA

from .columns import CONTROL_NAMES, NAMES, ColumnType
from .target import SqlTarget

STAGING = "fleetscore_staging"  # a temporary table, which only its connection sees
_TEXT = ColumnType("text", ("text", "character varying", "character varying(n)"))  # too long a text is an error
_TIME = ColumnType("timestamp with time zone", ("timestamp with time zone", "timestamp(6) with time zone"))
_NUMBER = ColumnType("double precision", ("double precision",))
_SMALL = ColumnType("smallint", ("smallint", "integer", "bigint"))
_WHOLE = ColumnType("bigint", ("bigint",))
_BY_ARROW: Mapping[pa.DataType, ColumnType] = {
    pa.timestamp("us", "UTC"): _TIME,
    pa.string(): _TEXT,
    pa.float64(): _NUMBER,
    pa.int8(): _SMALL,
}
TYPES: Mapping[str, ColumnType] = {**{column.name: _BY_ARROW[column.type] for column in SCHEMA}, "run": _TEXT}
CONTROL_TYPES: Mapping[str, ColumnType] = dict(
    zip(CONTROL_NAMES, (_TEXT, _TEXT, _WHOLE, _WHOLE, _WHOLE, _TEXT, _TIME), strict=True)
)
# A transaction's own settings, so that nothing depends on those of a role, and nothing stays in a connection of a pool.
BEGIN = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"  # what is read after the lock is what was committed before it
SET = (
    "SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true),"
    " set_config('idle_in_transaction_session_timeout', $2, true),"
    " set_config('tcp_keepalives_idle', '60', true), set_config('tcp_keepalives_interval', '15', true),"
    " set_config('row_security', 'off', true)"  # an error where a policy would hide rows, and a run were there twice
)
LOCK = "SELECT 1 FROM pg_advisory_xact_lock(hashtextextended($1, 0))"
FIND_SCHEMA = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1"
FIND_KIND = "SELECT relkind::text FROM pg_catalog.pg_class WHERE oid = to_regclass($1)"
FIND_COLUMNS = (
    "SELECT attname::text, pg_catalog.format_type(atttypid, atttypmod), NOT attnotnull,"
    " atthasdef OR attidentity <> '' FROM pg_catalog.pg_attribute"
    " WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
)
TRUNCATE = f"TRUNCATE pg_temp.{STAGING}"


def quote_name(*names: str) -> str:
    """A name, or one with its schema."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def quote_text(text: str) -> str:
    """A text, whatever is in it."""
    return "'" + text.replace("'", "''") + "'"  # standard_conforming_strings is on since 9.1


def _list_names(names: tuple[str, ...]) -> str:
    return ", ".join(map(quote_name, names))


@dataclass(frozen=True, slots=True)
class Statements:
    """The statements for a target."""

    target: SqlTarget

    @property
    def table(self) -> str:
        """The table of predictions, quoted."""
        return quote_name(self.target.schema, self.target.table)

    @property
    def control(self) -> str:
        """The control table, quoted."""
        return quote_name(self.target.schema, self.target.control_table)

    def create_schema(self) -> str:
        """The schema of both tables."""
        return f"CREATE SCHEMA {quote_name(self.target.schema)}"

    def create_table(self) -> tuple[str, ...]:
        """The table of predictions, with indexes for runs and for the rows of a device."""
        columns = [f"{quote_name(column.name)} {TYPES[column.name].created}{' NOT NULL' * (not column.nullable)}"
                   for column in SCHEMA]  # fmt: skip
        columns.append(f"{quote_name('run')} text NOT NULL")
        indexes = {"run": ("run",), "device_time": ("device", "time")}
        return (
            f"CREATE TABLE {self.table} ({', '.join(columns)})",
            *(
                f"CREATE INDEX {quote_name(f'{self.target.table}_{name}')} ON {self.table} ({_list_names(names)})"
                for name, names in indexes.items()
            ),
        )

    def create_control(self) -> str:
        """The control table."""
        columns = [f"{quote_name(name)} {kind.created} NOT NULL" for name, kind in CONTROL_TYPES.items()]
        return f"CREATE TABLE {self.control} ({', '.join(columns)}, PRIMARY KEY ({quote_name('run')}))"

    def create_staging(self) -> str:
        """The staging table of a transaction, with the types that parts have."""
        columns = ", ".join(f"{quote_name(column.name)} {TYPES[column.name].created}" for column in SCHEMA)
        return f"CREATE TEMPORARY TABLE {STAGING} ({columns}) ON COMMIT DROP"

    def insert_rows(self, run: str) -> str:
        """From the staging table. The database converts, and raises where a value does not fit.

        With the run in its text, since of a statement with parameters ADBC does not say how many rows it changed.
        """
        return (
            f"INSERT INTO {self.table} ({_list_names(NAMES)})"
            f" SELECT {_list_names(tuple(SCHEMA.names))}, {quote_text(run)} FROM pg_temp.{STAGING}"
        )

    def delete_rows(self) -> str:
        """The rows of a run."""
        return f"DELETE FROM {self.table} WHERE {quote_name('run')} = $1"

    def read_rows(self) -> str:
        """The rows of a device of a run at an instant."""
        return (
            f"SELECT {_list_names(tuple(SCHEMA.names))} FROM {self.table} WHERE {quote_name('run')} = $1"
            f" AND {quote_name('device')} = $2 AND {quote_name('time')} = $3::timestamptz"
        )

    def read_control(self) -> str:
        """The row of a run in the control table."""
        return f"SELECT {_list_names(('app', 'version', 'digest'))} FROM {self.control} WHERE {quote_name('run')} = $1"

    def delete_control(self) -> str:
        """The row of a run in the control table, before it is written."""
        return f"DELETE FROM {self.control} WHERE {quote_name('run')} = $1"

    def insert_control(self) -> str:
        """The row of a run in the control table, by the clock of the database."""
        return f"INSERT INTO {self.control} ({_list_names(CONTROL_NAMES)}) VALUES ($1, $2, $3, $4, $5, $6, now())"
