"""What is said to SQL Server, Azure SQL and a dedicated pool of Synapse: the texts, and the types. Pure.

Nothing but CREATE, SELECT, INSERT, UPDATE, DELETE and DROP, so that all three take the same; a pool of Synapse has no
indexes, no enforced keys and no hints of locks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from scorer.predictions.table import SCHEMA

from .columns import CONTROL_NAMES, NAMES, ColumnType
from .target import SqlTarget

SYNAPSE, SERVERLESS = (
    6,
    11,
)  # of EngineEdition: https://learn.microsoft.com/sql/t-sql/functions/serverproperty-transact-sql
STAGING = "fleetscore_staging_"
_TEXT = ColumnType("nvarchar(450)", ("nvarchar(n)",))  # 900 bytes: with a time, what an index takes
_RUN = ColumnType("nvarchar(64)", ("nvarchar(n)",))
_TIME = ColumnType("datetimeoffset(6)", ("datetimeoffset(6)", "datetimeoffset(7)", "datetime2(6)", "datetime2(7)"))
_NUMBER = ColumnType("float", ("float",))
_SMALL = ColumnType("smallint", ("smallint", "tinyint", "int", "bigint"))
_WHOLE = ColumnType("bigint", ("bigint",))
_BY_ARROW: Mapping[pa.DataType, ColumnType] = {
    pa.timestamp("us", "UTC"): _TIME,
    pa.string(): _TEXT,
    pa.float64(): _NUMBER,
    pa.int8(): _SMALL,
}
TYPES: Mapping[str, ColumnType] = {**{column.name: _BY_ARROW[column.type] for column in SCHEMA}, "run": _RUN}
CONTROL_TYPES: Mapping[str, ColumnType] = dict(
    zip(CONTROL_NAMES, (_RUN, _TEXT, _WHOLE, _WHOLE, _WHOLE, _TEXT, _TIME), strict=True)
)
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


def _list_names(names: tuple[str, ...]) -> str:
    return ", ".join(map(quote_name, names))


def _list_columns(types: Mapping[str, ColumnType], required: frozenset[str]) -> str:
    return ", ".join(
        f"{quote_name(name)} {kind.created} {'NOT NULL' if name in required else 'NULL'}"
        for name, kind in types.items()
    )


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
        required = frozenset({"run", *(column.name for column in SCHEMA if not column.nullable)})
        create = f"CREATE TABLE {self.table} ({_list_columns(TYPES, required)})"
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
        columns = _list_columns(CONTROL_TYPES, frozenset(CONTROL_NAMES))
        if self.is_synapse:
            return f"CREATE TABLE {self.control} ({columns}) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)"
        return f"CREATE TABLE {self.control} ({columns}, PRIMARY KEY ([run]))"

    def create_staging(self, name: str) -> str:
        """A staging table, with the types that parts have."""
        types = {column.name: TYPES[column.name] for column in SCHEMA}
        create = f"CREATE TABLE {quote_name(self.target.schema, name)} ({_list_columns(types, frozenset())})"
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
            f"INSERT INTO {self.table} ({_list_names(NAMES)})"
            f" SELECT {_list_names(tuple(SCHEMA.names))}, ? FROM {quote_name(self.target.schema, staging)}"
        )

    def delete_control(self) -> str:
        """The row of a run in the control table, before it is written."""
        return f"DELETE FROM {self.control} WHERE [run] = ?"

    def insert_control(self) -> str:
        """The row of a run in the control table, by the clock of the database."""
        return (
            f"INSERT INTO {self.control} ({_list_names(CONTROL_NAMES)}) VALUES (?, ?, ?, ?, ?, ?, SYSDATETIMEOFFSET())"
        )

    def read_rows(self) -> str:
        """The rows of a device of a run at an instant."""
        return (
            f"SELECT {_list_names(tuple(SCHEMA.names))} FROM {self.table}"
            " WHERE [run] = ? AND [device] = ? AND [time] = CAST(? AS datetimeoffset(6))"
        )
