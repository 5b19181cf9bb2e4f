"""The statements for PostgreSQL, and the types of its columns. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from .columns import (
    CONTROL_NAMES,
    NAMES,
    PART_NAMES,
    REQUIRED,
    ColumnType,
    ColumnTypes,
    define_columns,
    join_names,
)
from .target import SqlTarget

STAGING = "fleetscore_staging"  # a temporary table, which only its connection sees
_TEXT = ColumnType("text", ("text", "character varying", "character varying(n)"))  # too long a text is an error
_TYPES = ColumnTypes(
    text=_TEXT,
    run=_TEXT,
    time=ColumnType("timestamp with time zone", ("timestamp with time zone", "timestamp(6) with time zone")),
    number=ColumnType("double precision", ("double precision",)),
    small=ColumnType("smallint", ("smallint", "integer", "bigint")),
    whole=ColumnType("bigint", ("bigint",)),
)
TYPES, CONTROL_TYPES = _TYPES.map_columns(), _TYPES.map_control()
# A transaction's own settings, so that nothing depends on those of a role, and nothing stays in a connection of a pool.
BEGIN = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"  # what is read after the lock is what was committed before it
SET = (
    "SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true),"
    " set_config('idle_in_transaction_session_timeout', $2, true),"
    " set_config('tcp_keepalives_idle', '60', true), set_config('tcp_keepalives_interval', '15', true),"
    " set_config('row_security', 'off', true)"  # an error where a policy hides rows, not a run twice
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
        run, device = (quote_name(f"{self.target.table}_{name}") for name in ("run", "device_time"))
        return (
            f"CREATE TABLE {self.table} ({define_columns(TYPES, REQUIRED, quote_name)})",
            f"CREATE INDEX {run} ON {self.table} ({join_names(('run',), quote_name)})",
            f"CREATE INDEX {device} ON {self.table} ({join_names(('device', 'time'), quote_name)})",
        )

    def create_control(self) -> str:
        """The control table."""
        columns = define_columns(CONTROL_TYPES, frozenset(CONTROL_NAMES), quote_name)
        return f"CREATE TABLE {self.control} ({columns}, PRIMARY KEY ({quote_name('run')}))"

    def create_staging(self) -> str:
        """The staging table of a transaction, with the types that parts have."""
        columns = define_columns({name: TYPES[name] for name in PART_NAMES}, frozenset(), quote_name)
        return f"CREATE TEMPORARY TABLE {STAGING} ({columns}) ON COMMIT DROP"

    def insert_rows(self, run: str) -> str:
        """From the staging table. The database converts, and raises where a value does not fit.

        With the run in its text, since of a statement with parameters ADBC does not say how many rows it changed.
        """
        return (
            f"INSERT INTO {self.table} ({join_names(NAMES, quote_name)})"
            f" SELECT {join_names(PART_NAMES, quote_name)}, {quote_text(run)} FROM pg_temp.{STAGING}"
        )

    def delete_rows(self) -> str:
        """The rows of a run."""
        return f"DELETE FROM {self.table} WHERE {quote_name('run')} = $1"

    def read_rows(self) -> str:
        """The rows of a device of a run at an instant."""
        return (
            f"SELECT {join_names(PART_NAMES, quote_name)} FROM {self.table} WHERE {quote_name('run')} = $1"
            f" AND {quote_name('device')} = $2 AND {quote_name('time')} = $3::timestamptz"
        )

    def read_control(self) -> str:
        """The row of a run in the control table."""
        names = join_names(("app", "version", "digest"), quote_name)
        return f"SELECT {names} FROM {self.control} WHERE {quote_name('run')} = $1"

    def delete_control(self) -> str:
        """The row of a run in the control table, before it is written."""
        return f"DELETE FROM {self.control} WHERE {quote_name('run')} = $1"

    def insert_control(self) -> str:
        """The row of a run in the control table, by the clock of the database."""
        names = join_names(CONTROL_NAMES, quote_name)
        return f"INSERT INTO {self.control} ({names}) VALUES ($1, $2, $3, $4, $5, $6, now())"
