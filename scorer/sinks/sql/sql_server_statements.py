"""The statements for SQL Server, Azure SQL and a dedicated pool of Synapse, and the types of their columns. Pure.

Nothing but CREATE, SELECT, INSERT, UPDATE, DELETE and DROP, so that all three take the same; a pool of Synapse has no
indexes, no enforced keys and no hints of locks.
"""

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

SYNAPSE, SERVERLESS = (
    6,
    11,
)  # of EngineEdition: https://learn.microsoft.com/sql/t-sql/functions/serverproperty-transact-sql
STAGING = "fleetscore_staging_"
_TIMES = ("datetimeoffset(6)", "datetimeoffset(7)", "datetime2(6)", "datetime2(7)")
_TYPES = ColumnTypes(
    text=ColumnType("nvarchar(450)", ("nvarchar(n)",)),  # 900 bytes: with a time, what an index takes
    run=ColumnType("nvarchar(64)", ("nvarchar(n)",)),
    time=ColumnType("datetimeoffset(6)", _TIMES),
    number=ColumnType("float", ("float",)),
    small=ColumnType("smallint", ("smallint", "tinyint", "int", "bigint")),
    whole=ColumnType("bigint", ("bigint",)),
)
TYPES, CONTROL_TYPES = _TYPES.map_columns(), _TYPES.map_control()
FIND_EDITION = "SELECT CAST(SERVERPROPERTY('EngineEdition') AS int)"
FIND_SCHEMA = "SELECT 1 FROM sys.schemas WHERE name = ?"
FIND_KIND = "SELECT RTRIM(type) FROM sys.objects WHERE object_id = OBJECT_ID(?)"
FIND_COLUMNS = (
    "SELECT c.name, t.name, c.max_length, c.scale, c.is_nullable,"
    " CASE WHEN c.default_object_id <> 0 OR c.is_identity = 1 OR c.is_computed = 1 OR t.name = 'timestamp'"
    " THEN 1 ELSE 0 END FROM sys.columns AS c JOIN sys.types AS t ON t.user_type_id = c.user_type_id"
    " WHERE c.object_id = OBJECT_ID(?) ORDER BY c.column_id"
)
FIND_STAGING = (  # what killed jobs have left
    f"SELECT name FROM sys.tables WHERE name LIKE '{STAGING.replace('_', '[_]')}%' AND schema_id = SCHEMA_ID(?)"
    " AND create_date < DATEADD(day, -1, GETDATE())"
)


def quote_name(*names: str) -> str:
    """A name, or one with its schema."""
    return ".".join("[" + name.replace("]", "]]") + "]" for name in names)


def format_type(name: str, max_length: int, scale: int) -> str:
    """A type of the catalogue, as a statement has it."""
    if name in ("datetime2", "datetimeoffset", "time"):
        return f"{name}({scale})"
    if name in ("nvarchar", "nchar"):
        return f"{name}({'max' if max_length < 0 else max_length // 2})"
    if name in ("varchar", "char", "varbinary", "binary"):
        return f"{name}({'max' if max_length < 0 else max_length})"
    return name


@dataclass(frozen=True, slots=True)
class Statements:
    """The statements for a target. *is_synapse*: of a dedicated pool."""

    target: SqlTarget
    is_synapse: bool = False

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
        create = f"CREATE TABLE {self.table} ({define_columns(TYPES, REQUIRED, quote_name)})"
        if self.is_synapse:
            return (f"{create} WITH (DISTRIBUTION = HASH([device]), CLUSTERED COLUMNSTORE INDEX)",)
        run, device = (quote_name(f"{self.target.table}_{name}") for name in ("run", "device_time"))
        return (
            create,
            f"CREATE CLUSTERED INDEX {run} ON {self.table} ([run])",
            f"CREATE INDEX {device} ON {self.table} ([device], [time])",
        )

    def create_control(self) -> str:
        """The control table."""
        columns = define_columns(CONTROL_TYPES, frozenset(CONTROL_NAMES), quote_name)
        if self.is_synapse:
            return f"CREATE TABLE {self.control} ({columns}) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)"
        return f"CREATE TABLE {self.control} ({columns}, PRIMARY KEY ([run]))"

    def create_staging(self, name: str) -> str:
        """A staging table, with the types that parts have."""
        columns = define_columns({name: TYPES[name] for name in PART_NAMES}, frozenset(), quote_name)
        create = f"CREATE TABLE {quote_name(self.target.schema, name)} ({columns})"
        return f"{create} WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)" if self.is_synapse else create

    def drop_staging(self, name: str) -> str:
        """A staging table that is no longer needed."""
        return f"DROP TABLE {quote_name(self.target.schema, name)}"

    def list_settings(self, lock_seconds: int) -> tuple[str, ...]:
        """What holds for a connection: an error undoes all and is in English, and how long a lock is waited for."""
        if self.is_synapse:  # there it is so, but for the lock
            return ()
        return (
            "SET XACT_ABORT ON",
            "SET ANSI_WARNINGS ON",  # too long a text is an error
            "SET LANGUAGE us_english",
            f"SET LOCK_TIMEOUT {lock_seconds * 1000}",
        )

    def lock_run(self) -> str:
        """Lock the row of a run in the control table, or its place where there is none, until the transaction ends."""
        hint = "" if self.is_synapse else " WITH (UPDLOCK, SERIALIZABLE)"  # a pool locks the whole table
        return f"UPDATE {self.control}{hint} SET [digest] = [digest] WHERE [run] = ?"

    def read_control(self) -> str:
        """The row of a run in the control table."""
        return f"SELECT [app], [version], [digest] FROM {self.control} WHERE [run] = ?"

    def delete_rows(self) -> str:
        """The rows of a run."""
        return f"DELETE FROM {self.table} WHERE [run] = ?"

    def insert_rows(self, staging: str) -> str:
        """From a staging table. The database converts, and raises where a value does not fit."""
        return (
            f"INSERT INTO {self.table} ({join_names(NAMES, quote_name)})"
            f" SELECT {join_names(PART_NAMES, quote_name)}, ? FROM {quote_name(self.target.schema, staging)}"
        )

    def delete_control(self) -> str:
        """The row of a run in the control table, before it is written."""
        return f"DELETE FROM {self.control} WHERE [run] = ?"

    def insert_control(self) -> str:
        """The row of a run in the control table, by the clock of the database."""
        names = join_names(CONTROL_NAMES, quote_name)
        return f"INSERT INTO {self.control} ({names}) VALUES (?, ?, ?, ?, ?, ?, SYSDATETIMEOFFSET())"

    def read_rows(self) -> str:
        """The rows of a device of a run at an instant."""
        return (
            f"SELECT {join_names(PART_NAMES, quote_name)} FROM {self.table}"
            " WHERE [run] = ? AND [device] = ? AND [time] = CAST(? AS datetimeoffset(6))"
        )
