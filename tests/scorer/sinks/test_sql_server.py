"""What is said to SQL Server, in which order; that it is right only a server can say: docs/sql.md has that check.

What the driver itself checks before it sends anything is asked of the driver.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from scorer.sinks.base import SinkError
from scorer.sinks.sql import sql_server_statements as sql
from scorer.sinks.sql.sink import LIMITS, SqlSink
from scorer.sinks.sql.sql_server import SqlServerSession, build_connection_string
from scorer.sinks.sql.sql_server_errors import classify_error
from scorer.sinks.sql.target import SqlTarget, parse_target
from shared.contract.publishing.documents import PublicationItem
from shared.contract.publishing.sinks import SinkReason
from tests.scorer.sinks.stage import HOUR_7, Stage

TARGET = parse_target({"url": "mssql://sql.database.windows.net/plant", "table": "scores"})
COLUMNS: dict[str, tuple[str, int, int]] = {  # as the catalogue has them: type, bytes, scale
    "time": ("datetimeoffset", 10, 6),
    **dict.fromkeys(["device", "sensor", "output"], ("nvarchar", 900, 0)),
    **dict.fromkeys(["value", "score"], ("float", 8, 0)),
    "anomaly": ("smallint", 2, 0),
    "prediction": ("float", 8, 0),
    "label": ("nvarchar", 900, 0),
    "probability": ("float", 8, 0),
    "model": ("nvarchar", 900, 0),
    "run": ("nvarchar", 128, 0),
}
CONTROL: dict[str, tuple[str, int, int]] = {
    "run": ("nvarchar", 128, 0),
    "app": ("nvarchar", 900, 0),
    **dict.fromkeys(["version", "round", "rows"], ("bigint", 8, 0)),
    "digest": ("nvarchar", 900, 0),
    "published_at": ("datetimeoffset", 10, 6),
}


def list_catalogue(columns: Mapping[str, tuple[str, int, int]], nullable: Sequence[str]) -> list[tuple[Any, ...]]:
    return [(name, *kind, name in nullable, False) for name, kind in columns.items()]


@dataclass
class Server:
    """Keeps what is said to it, and answers what a test has put there."""

    edition: int = 5
    tables: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    control: list[tuple[Any, ...]] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    staging: list[tuple[str]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    copied: list[pa.Table] = field(default_factory=list)

    def answer(self, statement: str, parameters: tuple[object, ...]) -> list[tuple[Any, ...]]:
        match statement:
            case sql.FIND_EDITION:
                return [(self.edition,)]
            case sql.FIND_SCHEMA:
                return [(1,)]
            case sql.FIND_KIND:
                return [("U",)] if parameters[0] in self.tables else []
            case sql.FIND_COLUMNS:
                return self.tables[str(parameters[0])]
            case sql.FIND_STAGING:
                return self.staging
        return self.control if "digest" in statement else self.rows


@dataclass
class Connection:
    """As the driver's, for a Server."""

    server: Server
    name: str
    rowcount: int = -1
    answers: list[tuple[Any, ...]] = field(default_factory=list)

    def cursor(self) -> Connection:
        return self

    def execute(self, statement: str, *parameters: object) -> None:
        if not statement.startswith(("SELECT c.", "SELECT RTRIM", "SELECT CAST", "SELECT 1", "SELECT name")):
            self.server.log.append(f"{self.name}: {statement}")
        self.answers = self.server.answer(statement, parameters) if statement.startswith("SELECT") else []
        self.rowcount = self.server.copied[-1].num_rows if self.server.copied else 0

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self.answers

    def bulkcopy_arrow(self, table_name: str, source: pa.Table, **options: object) -> dict[str, int]:
        self.server.log.append(f"{self.name}: copy into {table_name} with {options}")
        self.server.copied.append(source)
        return {"rows_copied": source.num_rows}

    def commit(self) -> None:
        self.server.log.append(f"{self.name}: commit")

    def rollback(self) -> None:
        self.server.log.append(f"{self.name}: rollback")

    def close(self) -> None:
        pass


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture(autouse=True)
def same_names(monkeypatch: pytest.MonkeyPatch) -> None:
    class Uuid:
        hex = "0123456789abcdef"

    monkeypatch.setattr("uuid.uuid4", Uuid)


def open_sink(server: Server, target: SqlTarget = TARGET) -> SqlSink:
    def connect() -> SqlServerSession:
        return SqlServerSession(target, LIMITS, Connection(server, "inside"), Connection(server, "outside"))

    return SqlSink("fleetscore", target.label, connect)


def list_row(stage: Stage, item: PublicationItem) -> list[tuple[Any, ...]]:
    """The first row, as a server gives it back."""
    (row, *_) = stage.parts.read_table(item.parts[0]).to_pylist()
    return [tuple(row.values())]


def test_a_run_is_copied_beside_the_transaction_and_inserted_in_it(stage: Stage) -> None:
    item = stage.make_item(HOUR_7, [("pump-1", 0.5, 1)])
    server = Server(
        tables={
            "[dbo].[scores]": list_catalogue(COLUMNS, [*COLUMNS]),
            "[dbo].[scores_runs]": list_catalogue(CONTROL, []),
        },
        rows=list_row(stage, item),
    )

    result = open_sink(server).publish(item, stage.parts)

    assert (result.rows, result.stored) == (1, "version 0")
    assert server.copied[0].equals(stage.parts.read_table(item.parts[0]))
    columns = "[time], [device], [sensor], [output], [value], [score], [anomaly], [prediction], [label], [probability]"
    read = f"inside: SELECT {columns}, [model] FROM [dbo].[scores]"
    where = " WHERE [run] = ? AND [device] = ? AND [time] = CAST(? AS datetimeoffset(6))"
    lock = "inside: UPDATE [dbo].[scores_runs] WITH (UPDLOCK, SERIALIZABLE) SET [digest] = [digest] WHERE [run] = ?"
    look = "inside: SELECT [app], [version], [digest] FROM [dbo].[scores_runs] WHERE [run] = ?"
    assert [line for line in server.log if ": SET " not in line] == [
        "inside: rollback",
        lock,
        look,
        "inside: DELETE FROM [dbo].[scores] WHERE [run] = ?",
        (
            "outside: CREATE TABLE [dbo].[fleetscore_staging_0123456789ab] ([time] datetimeoffset(6) NULL, [device] "
            "nvarchar(450) NULL, [sensor] nvarchar(450) NULL, [output] nvarchar(450) NULL, [value] float NULL, [score] "
            "float NULL, [anomaly] smallint NULL, [prediction] float NULL, [label] nvarchar(450) NULL, [probability] "
            "float NULL, [model] nvarchar(450) NULL)"
        ),
        (
            "outside: copy into dbo.fleetscore_staging_0123456789ab with "
            "{'timeout': 1800, 'table_lock': True, 'keep_nulls': True}"
        ),
        (
            f"inside: INSERT INTO [dbo].[scores] ({columns}, [model], [run]) SELECT {columns}, [model], ? FROM "
            "[dbo].[fleetscore_staging_0123456789ab]"
        ),
        "outside: DROP TABLE [dbo].[fleetscore_staging_0123456789ab]",
        "inside: DELETE FROM [dbo].[scores_runs] WHERE [run] = ?",
        (
            "inside: INSERT INTO [dbo].[scores_runs] ([run], [app], [version], [round], [rows], "
            "[digest], [published_at]) "
            "VALUES (?, ?, ?, ?, ?, ?, SYSDATETIMEOFFSET())"
        ),
        f"{read}{where}",
        "inside: commit",
        "inside: rollback",
        lock,
        look,
        "inside: rollback",
    ]
    assert server.log[:4] == [
        "inside: SET XACT_ABORT ON",
        "inside: SET ANSI_WARNINGS ON",
        "inside: SET LANGUAGE us_english",
        "inside: SET LOCK_TIMEOUT 60000",
    ]


def test_the_tables_of_a_database_have_indexes(stage: Stage) -> None:
    server = Server()
    open_sink(server).publish(stage.make_item(HOUR_7), stage.parts)

    created = [line.removeprefix("outside: ") for line in server.log if "CREATE" in line]
    assert created == [
        (
            "CREATE TABLE [dbo].[scores] ([time] datetimeoffset(6) NOT NULL, [device] nvarchar(450) NOT NULL, [sensor] "
            "nvarchar(450) NULL, [output] nvarchar(450) NULL, [value] float NULL, [score] float NULL, "
            "[anomaly] smallint "
            "NULL, [prediction] float NULL, [label] nvarchar(450) NULL, [probability] float NULL, "
            "[model] nvarchar(450) "
            "NOT NULL, [run] nvarchar(64) NOT NULL)"
        ),
        "CREATE CLUSTERED INDEX [scores_run] ON [dbo].[scores] ([run])",
        "CREATE INDEX [scores_device_time] ON [dbo].[scores] ([device], [time])",
        (
            "CREATE TABLE [dbo].[scores_runs] ([run] nvarchar(64) NOT NULL, [app] nvarchar(450) NOT "
            "NULL, [version] bigint "
            "NOT NULL, [round] bigint NOT NULL, [rows] bigint NOT NULL, [digest] nvarchar(450) NOT "
            "NULL, [published_at] "
            "datetimeoffset(6) NOT NULL, PRIMARY KEY ([run]))"
        ),
    ]


def test_a_pool_of_synapse_gets_neither_indexes_nor_keys_nor_hints() -> None:
    statements = sql.Statements(TARGET, is_synapse=True)

    (create,) = statements.create_table()
    assert create.endswith(
        "[run] nvarchar(64) NOT NULL) WITH (DISTRIBUTION = HASH([device]), CLUSTERED COLUMNSTORE INDEX)"
    )
    assert statements.create_control().endswith("NOT NULL) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)")
    assert statements.create_staging("s").endswith("NULL) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)")
    assert statements.lock_run() == "UPDATE [dbo].[scores_runs] SET [digest] = [digest] WHERE [run] = ?"
    assert statements.list_settings(60) == ()


def test_a_serverless_pool_is_refused(stage: Stage) -> None:
    with pytest.raises(SinkError, match="expected a database that stores rows, got a serverless pool") as caught:
        open_sink(Server(edition=11)).publish(stage.make_item(HOUR_7), stage.parts)
    assert caught.value.reason is SinkReason.MISMATCH


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("device", ("varchar", 450, 0), r"expected device to be nvarchar\(n\), got varchar\(450\)"),
        ("score", ("real", 4, 0), "expected score to be float, got real"),
        ("time", ("datetime2", 8, 3), r"expected time to be datetimeoffset\(6\) or .*, got datetime2\(3\)"),
        ("anomaly", ("bit", 1, 0), "expected anomaly to be smallint or tinyint or int or bigint, got bit"),
    ],
)
def test_a_table_of_others_is_refused_with_what_differs(
    name: str, kind: tuple[str, int, int], message: str, stage: Stage
) -> None:
    server = Server(tables={"[dbo].[scores]": list_catalogue({**COLUMNS, name: kind}, [*COLUMNS])})

    with pytest.raises(SinkError, match=message) as caught:
        open_sink(server).publish(stage.make_item(HOUR_7), stage.parts)

    assert caught.value.reason is SinkReason.MISMATCH
    assert [line for line in server.log if "SET " not in line] == []


@pytest.mark.parametrize("kind", [("datetime2", 8, 6), ("datetimeoffset", 10, 7)])
def test_times_of_these_types_are_taken(kind: tuple[str, int, int], stage: Stage) -> None:
    server = Server(tables={"[dbo].[scores]": list_catalogue({**COLUMNS, "time": kind}, [*COLUMNS])})
    open_sink(server).publish(stage.make_item(HOUR_7), stage.parts)
    assert server.log[-1] == "inside: commit"


def test_the_staging_tables_of_killed_jobs_are_dropped(stage: Stage) -> None:
    server = Server(staging=[("fleetscore_staging_old",)])
    open_sink(server).publish(stage.make_item(HOUR_7), stage.parts)
    assert "outside: DROP TABLE [dbo].[fleetscore_staging_old]" in server.log


def test_a_late_job_copies_nothing(stage: Stage) -> None:
    item = stage.make_item(HOUR_7, [("pump-1", 0.5, 1)])
    server = Server(control=[("fleetscore", 2, "other")])

    with pytest.raises(SinkError, match="has revision 1") as caught:
        open_sink(server).publish(item, stage.parts)

    assert (caught.value.reason, server.copied) == (SinkReason.AHEAD, [])
    assert server.log[-1] == "inside: rollback"


# Microsoft's texts: https://learn.microsoft.com/sql/relational-databases/errors-events/database-engine-events-and-errors
@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("Login failed for user '<token-identified principal>'.", SinkReason.DENIED),
        ("The INSERT permission was denied on the object 'scores', database 'plant', schema 'dbo'.", SinkReason.DENIED),
        ('Cannot open database "plant" requested by the login. The login failed.', SinkReason.DENIED),
        ('Failed to update database "plant" because the database is read-only.', SinkReason.DENIED),
        ("Driver Error: Failed to acquire token from credential (T); DDBC Error: no identity", SinkReason.DENIED),
        ("The database 'plant' has reached its size quota. Partition or delete data.", SinkReason.FULL),
        ("Could not allocate space for object 'dbo.scores' because the 'PRIMARY' filegroup is full.", SinkReason.FULL),
        ("The transaction log for database 'plant' is full due to 'LOG_BACKUP'.", SinkReason.FULL),
        ("Transaction (Process ID 52) was deadlocked on lock resources with another process", SinkReason.CONFLICT),
        ("Lock request time out period exceeded.", SinkReason.CONFLICT),
        ("There is already an object named 'scores' in the database.", SinkReason.CONFLICT),
        ("Invalid column name 'label'.", SinkReason.MISMATCH),
        ("String or binary data would be truncated in table 'plant.dbo.scores', column 'device'.", SinkReason.MISMATCH),
        ("Cannot insert the value NULL into column 'site', table 'plant.dbo.scores'", SinkReason.MISMATCH),
        ("Invalid object name 'dbo.permission_scores'.", SinkReason.MISMATCH),
        ("String or binary data would be truncated. Truncated value: 'read-only pump'.", SinkReason.MISMATCH),
        ("Login timeout expired", SinkReason.UNAVAILABLE),
        ("Database 'plant' on server 's' is not currently available. Please retry later.", SinkReason.UNAVAILABLE),
        ("Client unable to establish connection; DDBC Error: TCP Provider: Error code 0x2749", SinkReason.UNAVAILABLE),
        ("Failed to load the driver.", SinkReason.FAILED),
    ],
)
def test_the_reason_of_an_error(message: str, reason: SinkReason) -> None:
    assert classify_error(message) is reason


# The driver


def test_the_driver_takes_our_connection_string() -> None:
    from mssql_python.connection_string_parser import _ConnectionStringParser
    from mssql_python.helpers import connstr_to_pycore_params

    target = parse_target({"url": "mssql://u%40x@h:1433/plant%20a?encrypt=strict"})
    text = build_connection_string(target, "a;b}{c=d")

    fields = _ConnectionStringParser(validate_keywords=True)._parse(text)
    assert fields == {
        "server": "h,1433",
        "database": "plant a",
        "encrypt": "strict",
        "trustservercertificate": "no",
        "uid": "u@x",
        "pwd": "a;b}{c=d",
    }
    assert connstr_to_pycore_params(fields, strict=True)["password"] == "a;b}{c=d"


def test_the_driver_has_the_bulk_copy_that_we_call() -> None:
    from mssql_python.cursor import Cursor

    signature = inspect.signature(Cursor.bulkcopy_arrow)
    options = {"timeout": LIMITS.statement, "table_lock": True, "keep_nulls": True}
    assert signature.bind(None, "dbo.s", pa.table({}), **options)
    assert Cursor._bulkcopy_core_and_validate("dbo.s", 0, LIMITS.statement)


def test_a_server_that_does_not_listen_is_unavailable_in_the_words_of_the_bulk_copy(unused_endpoint: str) -> None:
    import mssql_py_core

    server = unused_endpoint.removeprefix("http://").replace(":", ",")
    with pytest.raises(RuntimeError) as caught:
        mssql_py_core.PyCoreConnection({"server": server, "database": "x", "user_name": "a", "password": "b"})
    assert classify_error(str(caught.value)) is SinkReason.UNAVAILABLE
