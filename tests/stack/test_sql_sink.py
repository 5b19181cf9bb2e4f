"""A table of PostgreSQL holds each run once, on a real server, whatever happened before the commit and after it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from adbc_driver_postgresql import dbapi

from local import postgres
from local.postgres import PASSWORD, Postgres
from scorer.sinks.base import SinkError
from scorer.sinks.parts import Parts
from scorer.sinks.sql.open_sink import open_sql_sink
from scorer.sinks.sql.sink import LIMITS, Limits, SqlSink
from shared.contract.paths import report_path
from shared.contract.publishing.documents import (
    PublicationItem,
    PublishedPart,
    PublishingManifest,
    PublishingReport,
    build_publish_command,
)
from shared.contract.publishing.sinks import CHUNK, SinkKind, SinkReason, make_publishing_run
from shared.contract.windows import Window
from tests.patience import patience
from tests.scorer.sinks.stage import HOUR_7, HOUR_8, QUARTER, WEEK, Stage

TYPES = {
    "time": "timestamp with time zone",
    **dict.fromkeys(["device", "sensor", "output"], "text"),
    **dict.fromkeys(["value", "score"], "double precision"),
    "anomaly": "smallint",
    "prediction": "double precision",
    "label": "text",
    "probability": "double precision",
    **dict.fromkeys(["model", "run"], "text"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    running = postgres.start(die_with_parent=True)
    yield running
    running.stop()


@dataclass
class Place:
    """A schema of its own in the database, and what a person would ask there."""

    server: Postgres
    schema: str
    sinks: list[SqlSink] = field(default_factory=list)

    def open_sink(
        self, url: str = "", password: str = PASSWORD, limits: Limits = LIMITS, app: str = "fleetscore"
    ) -> SqlSink:
        self.sinks.append(open_sql_sink(self.make_manifest(url, app), password, limits))
        return self.sinks[-1]

    def make_manifest(self, url: str = "", app: str = "fleetscore") -> PublishingManifest:
        target = {"url": url or self.server.url, "table": f"{self.schema}.predictions"}
        return PublishingManifest(SinkKind.SQL, 1, app, "file:///work", (), target)

    def ask(self, *statements: str) -> list[tuple[Any, ...]]:
        """The rows of the last statement; {s} is the schema."""
        url = self.server.url.replace("@", f":{PASSWORD}@")
        with dbapi.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement.replace("{s}", self.schema))
            return cursor.fetchall() if cursor.description else []

    def list_rows(self) -> list[tuple[str, str, float, int]]:
        rows = self.ask("SELECT run, device, score, time FROM {s}.predictions")
        starts = {run: Window.parse(run).start for run, *_ in rows}
        return sorted((run, device, score, int((time - starts[run]).total_seconds()) // 60)
                      for run, device, score, time in rows)  # fmt: skip

    def list_control(self) -> list[tuple[Any, ...]]:
        return self.ask("SELECT run, version, round, rows FROM {s}.predictions_runs ORDER BY run")


@pytest.fixture
def place(server: Postgres, fresh_name: str) -> Iterator[Place]:
    place = Place(server, fresh_name)
    yield place
    for sink in place.sinks:
        sink.close()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def refuse(sink: SqlSink, item: PublicationItem, stage: Stage, message: str) -> SinkError:
    with pytest.raises(SinkError, match=message) as caught:
        sink.publish(item, stage.parts)
    return caught.value


# What consumers read


def test_runs_of_any_window_are_rows_of_one_table(stage: Stage, place: Place) -> None:
    sink = place.open_sink()
    for run in (HOUR_7, QUARTER, WEEK, HOUR_8):
        item = stage.make_item(run, [("pump-1", 0.5, 1), ("pump-1", -0.5, 2)], [("pump-2", 1.5, 0)])
        result = sink.publish(item, stage.parts)
        assert (result.reason, result.rows, result.stored) == (None, 3, "version 0")

    assert place.list_rows() == stage.list_rows()
    assert place.list_control() == [(run, 0, 0, 3) for run in sorted([HOUR_7, QUARTER, WEEK, HOUR_8])]


def test_a_table_of_ours_has_these_types_and_indexes(stage: Stage, place: Place) -> None:
    place.open_sink().publish(stage.make_item(HOUR_7, [("pump-1", 0.5, 1)]), stage.parts)

    columns = "SELECT column_name::text, data_type::text, is_nullable::text FROM information_schema.columns"
    rows = place.ask(f"{columns} WHERE table_schema = '{{s}}' AND table_name = 'predictions' ORDER BY ordinal_position")
    assert {name: kind for name, kind, _ in rows} == TYPES
    assert [name for name, _, nullable in rows if nullable == "NO"] == ["time", "device", "model", "run"]
    indexes = place.ask("SELECT indexdef FROM pg_indexes WHERE schemaname = '{s}' ORDER BY indexname")
    assert [text.partition("USING ")[2] for (text,) in indexes] == [
        'btree (device, "time")', "btree (run)", "btree (run)"
    ]  # fmt: skip


def test_every_value_is_stored_as_it_is(stage: Stage, place: Place) -> None:
    item = stage.make_item(HOUR_7, [("ü'\"\\ 1", -1e300, 59), ("", 5e-324, 0)], [("pump", 0.1, 3)])

    place.open_sink().publish(item, stage.parts)

    expected = pa.concat_tables(stage.parts.iterate_tables(item.parts)).to_pylist()
    rows = place.ask("SELECT * FROM {s}.predictions")
    stored = [dict(zip(TYPES, row, strict=True)) for row in rows]
    assert sorted(stored, key=lambda row: row["time"]) == sorted(
        [{**row, "run": HOUR_7} for row in expected], key=lambda row: row["time"]
    )


def test_parts_of_schema_1_have_null_in_the_further_columns(stage: Stage, place: Place) -> None:
    place.open_sink().publish(stage.make_item(HOUR_7, [("pump-1", 0.5, 1)], schema=1), stage.parts)

    assert place.list_rows() == stage.list_rows()
    assert place.ask("SELECT output, prediction, label, probability FROM {s}.predictions") == [(None,) * 4]


def test_a_run_without_rows_is_a_row_of_the_control_table(stage: Stage, place: Place) -> None:
    assert place.open_sink().publish(stage.make_item(HOUR_7), stage.parts).rows == 0
    assert (place.list_rows(), place.list_control()) == ([], [(HOUR_7, 0, 0, 0)])


def test_the_command_of_a_job_takes_the_password_from_its_environment(
    stage: Stage, place: Place, tmp_path: Path
) -> None:
    item = stage.make_item(HOUR_7, [("pump-1", 0.5, 1)])
    manifest = replace(place.make_manifest(), work_url=tmp_path.as_uri(), items=(item,))
    (tmp_path / "manifest.json").write_bytes(manifest.to_bytes())
    command = [sys.executable, *build_publish_command((tmp_path / "manifest.json").as_uri())[1:]]

    subprocess.run(command, env={**os.environ, "SQL_PASSWORD": PASSWORD}, check=True, capture_output=True)

    run_id = make_publishing_run(SinkKind.SQL, 1)
    report = PublishingReport.from_bytes((tmp_path / report_path(run_id, CHUNK, 1)).read_bytes())
    assert [(result.run, result.reason, result.rows) for result in report.results] == [(HOUR_7, None, 1)]
    assert place.list_rows() == stage.list_rows()


# Again, later, and removed


def test_a_further_round_replaces_its_run_and_no_other(stage: Stage, place: Place) -> None:
    sink = place.open_sink()
    for run in (HOUR_7, QUARTER):
        sink.publish(stage.make_item(run, [("pump-1", 0.5, 1)]), stage.parts)

    sink.publish(stage.make_item(HOUR_7, [("pump-1", 0.25, 1)], [("pump-2", 2.0, 3)], number=1), stage.parts)

    assert place.list_rows() == stage.list_rows()
    assert place.list_control() == [(HOUR_7, 2, 1, 2), (QUARTER, 0, 0, 1)]


def test_a_second_job_with_the_same_run_writes_nothing(stage: Stage, place: Place) -> None:
    item = stage.make_item(HOUR_7, [("pump-1", 0.5, 1)])
    first = place.open_sink().publish(item, stage.parts)
    before = place.ask("SELECT ctid::text, xmin::text FROM {s}.predictions")

    second = place.open_sink().publish(item, stage.parts)

    assert second == first
    assert place.ask("SELECT ctid::text, xmin::text FROM {s}.predictions") == before


def test_a_job_that_was_believed_lost_replaces_nothing_newer(stage: Stage, place: Place) -> None:
    old = stage.make_item(HOUR_7, [("pump-1", 0.5, 1)])
    late = place.open_sink()
    late.publish(old, stage.parts)
    place.open_sink().publish(stage.make_item(HOUR_7, [("pump-1", 0.25, 1)], number=1), stage.parts)

    error = refuse(late, old, stage, "has revision 1 of 20261121T0700Z-PT1H, expected at most 0")

    assert (error.reason, error.ahead) == (SinkReason.AHEAD, 1)
    assert place.list_rows() == stage.list_rows()


def test_a_removal_takes_the_rows_and_a_late_job_does_not_bring_them_back(stage: Stage, place: Place) -> None:
    sink, late = place.open_sink(), place.open_sink()
    item, other = stage.make_item(HOUR_7, [("pump-1", 0.5, 1)]), stage.make_item(HOUR_8, [("pump-1", 0.5, 1)])
    for each in (item, other):
        sink.publish(each, stage.parts)

    removal = stage.make_removal(item)
    assert sink.publish(removal, stage.parts).rows == 0
    assert place.open_sink().publish(removal, stage.parts).reason is None
    assert refuse(late, item, stage, "has revision 0").reason is SinkReason.AHEAD

    assert place.list_rows() == stage.list_rows()
    assert place.list_control() == [(HOUR_7, 1, 0, 0), (HOUR_8, 0, 0, 1)]


def test_a_run_that_was_pruned_and_asked_for_again_has_its_new_rows(stage: Stage, place: Place) -> None:
    sink = place.open_sink()
    item = stage.make_item(HOUR_7, [("pump-1", 0.5, 1)])
    sink.publish(item, stage.parts)
    sink.publish(stage.make_removal(item), stage.parts)
    again = stage.make_item(HOUR_7, [("pump-1", 0.75, 1)])

    error = refuse(sink, again, stage, "has revision 0")
    sink.publish(replace(again, revision=error.ahead + 1), stage.parts)

    assert place.list_rows() == stage.list_rows()


def test_a_run_of_another_app_is_not_replaced(stage: Stage, place: Place) -> None:
    item = stage.make_item(HOUR_7, [("pump-1", 0.5, 1)])
    place.open_sink().publish(item, stage.parts)
    other = place.open_sink(app="second")

    error = refuse(other, replace(item, revision=1), stage, "to be of app second, got one of app fleetscore")

    assert error.reason is SinkReason.MISMATCH
    assert place.list_control() == [(HOUR_7, 0, 0, 1)]


# Two at once, and killed

PUBLISH = """
import sys, pickle, pathlib
import pyarrow as pa
from scorer.sinks.sql.open_sink import open_sql_sink
manifest, item, password, root = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
from scorer.sinks.parts import Parts
from scorer.sinks.sql import postgres
from scorer.storage.blob_store import Folder

def stop(session):
    print("reached", flush=True)
    sys.stdin.read()

place = sys.argv[2]
if place == "in the middle of COPY":
    add_rows = postgres.PostgresSession.add_rows
    def add_first(self, run, table):
        def iterate_batches():
            yield from table.to_batches()
            stop(self)
        return add_rows(self, run, pa.RecordBatchReader.from_batches(table.schema, iterate_batches()))
    postgres.PostgresSession.add_rows = add_first
if place == "before commit":
    commit = postgres.PostgresSession.commit
    def commit_second(self, calls=[]):
        calls.append(1)
        if len(calls) == 2: stop(self)
        commit(self)
    postgres.PostgresSession.commit = commit_second
if place == "after commit":
    commit = postgres.PostgresSession.commit
    def commit_second(self, calls=[]):
        calls.append(1)
        commit(self)
        if len(calls) == 2: stop(self)
    postgres.PostgresSession.commit = commit_second
open_sql_sink(manifest, password).publish(item, Parts(Folder(pathlib.Path(root))))
"""


@pytest.mark.parametrize("moment", ["in the middle of COPY", "before commit", "after commit"])
def test_a_job_that_is_killed_and_its_successor_write_a_run_once(
    moment: str, stage: Stage, place: Place, tmp_path: Path
) -> None:
    import pickle

    place.open_sink().publish(stage.make_item(HOUR_7, [("pump-1", 0.5, 1)]), stage.parts)
    before = place.list_rows()
    item = stage.make_item(HOUR_7, [("pump-1", 0.25, 1)], [("pump-2", 2.0, 3)], number=1)
    task = tmp_path / "task"
    task.write_bytes(pickle.dumps((place.make_manifest(), item, PASSWORD, str(stage.root))))
    with subprocess.Popen([sys.executable, "-c", PUBLISH, str(task), moment], stdin=-1, stdout=-1) as process:
        assert process.stdout
        assert process.stdout.readline() == b"reached\n"
        assert place.list_rows() == (stage.list_rows() if moment == "after commit" else before)
        process.send_signal(signal.SIGKILL)

    result = place.open_sink().publish(item, stage.parts)

    assert (result.rows, result.stored) == (2, "version 2")
    assert place.list_rows() == stage.list_rows()
    assert place.list_control() == [(HOUR_7, 2, 1, 2)]


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
def test_two_jobs_at_once_leave_one_result(isolation: str, stage: Stage, place: Place) -> None:
    """The second begins while the first copies, and waits for it; its role may say what it sees then."""
    item = stage.make_item(HOUR_7, [("pump-1", 0.5, 1)])
    results = []
    place.ask(
        f"CREATE ROLE {{s}}_second LOGIN SUPERUSER PASSWORD '{PASSWORD}'",
        f"ALTER ROLE {{s}}_second SET default_transaction_isolation = '{isolation}'",
    )
    sink = place.open_sink(place.server.url.replace("fleet@", f"{place.schema}_second@"))
    second = threading.Thread(target=lambda: results.append(sink.publish(item, stage.parts)))

    class Meanwhile(Parts):
        def read_table(self, entry: PublishedPart) -> pa.Table:
            second.start()
            wait_until(lambda: place.ask("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") != [])
            return stage.parts.read_table(entry)

    first = place.open_sink().publish(item, Meanwhile(stage.work))
    second.join(patience(20))

    assert results == [first]
    assert place.list_rows() == stage.list_rows()


def test_a_row_is_not_read_back_from_a_run_that_another_job_has_replaced(stage: Stage, place: Place) -> None:
    """It does so between the commit and the look at what was committed."""
    first = stage.make_item(HOUR_7, [("pump-1", 0.5, 1)])
    further = stage.make_item(HOUR_7, [("pump-2", 0.25, 1)], number=1)
    sink, other = place.open_sink(), place.open_sink()
    connect = sink.connect

    class Overtaken:
        def __init__(self) -> None:
            self.session = connect()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.session, name)

        def commit(self) -> None:
            self.session.commit()
            other.publish(further, stage.parts)

    sink.connect = Overtaken  # type: ignore[assignment]  # what it lacks it asks of the session

    assert sink.publish(first, stage.parts).stored == "version 0"
    assert place.list_rows() == stage.list_rows()


def test_two_first_jobs_create_the_tables_once(stage: Stage, place: Place) -> None:
    items = [stage.make_item(run, [("pump-1", 0.5, 1)]) for run in (HOUR_7, HOUR_8, QUARTER)]
    errors: list[BaseException] = []

    def publish(item: PublicationItem) -> None:
        try:
            place.open_sink().publish(item, stage.parts)
        except BaseException as error:  # noqa: BLE001  # the test shows it
            errors.append(error)

    threads = [threading.Thread(target=publish, args=(item,)) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patience(20))

    assert errors == []
    assert place.list_rows() == stage.list_rows()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + patience(10)
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# Tables of others


def make_columns(**changes: str) -> str:
    """The columns of a table; "" is none."""
    columns = {name: kind for name, kind in {**TYPES, **changes}.items() if kind}
    return ", ".join(f'"{name}" {kind}' for name, kind in columns.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"sensor": ""},
            r'"predictions" of postgres at 127.0.0.1: expected a column sensor \(text\), got time, device, ',
        ),
        ({"run": ""}, r"expected a column run \(text\), got time, "),
        ({"score": "real"}, "expected score to be double precision, got real"),
        ({"score": "numeric(10,2)"}, r"expected score to be double precision, got numeric\(10,2\)"),
        ({"anomaly": "boolean"}, "expected anomaly to be smallint or integer or bigint, got boolean"),
        ({"time": "timestamp"}, "expected time to be timestamp with time zone .*, got timestamp without time zone"),
        ({"time": "timestamptz(0)"}, r"got timestamp\(0\) with time zone"),
        ({"device": "bigint"}, r"expected device to be text or character varying .*, got bigint"),
        ({"device": "varchar(5)[]"}, r"got character varying\(5\)\[\]"),
        ({"label": "text NOT NULL"}, "expected label to take null, got text not null"),
        ({"site": "text NOT NULL"}, "expected no further columns that need a value, got site"),
    ],
)
def test_a_table_of_others_is_refused_with_what_differs_and_stays(
    changes: dict[str, str], message: str, stage: Stage, place: Place
) -> None:
    place.ask("CREATE SCHEMA {s}", f"CREATE TABLE {{s}}.predictions ({make_columns(**changes)})")

    error = refuse(place.open_sink(), stage.make_item(HOUR_7, [("pump-1", 0.5, 1)]), stage, message)

    assert error.reason is SinkReason.MISMATCH
    assert place.ask("SELECT count(*) FROM {s}.predictions") == [(0,)]
    assert place.ask("SELECT tablename::text FROM pg_tables WHERE schemaname = '{s}'") == [("predictions",)]


def test_a_table_of_others_that_fits_is_used(stage: Stage, place: Place) -> None:
    changes = {
        "device": "varchar(40)",
        "anomaly": "bigint",
        "site": "text",
        "stored_at": "timestamptz NOT NULL DEFAULT now()",
        "number": "bigint GENERATED ALWAYS AS IDENTITY",
    }
    reverse = ", ".join(reversed(make_columns(**changes).split(", ")))
    place.ask("CREATE SCHEMA {s}", f"CREATE TABLE {{s}}.predictions ({reverse})")

    place.open_sink().publish(stage.make_item(HOUR_7, [("pump-1", -0.5, 1)], [("pump-2", 2, 2)]), stage.parts)

    assert place.list_rows() == stage.list_rows()
    assert place.ask("SELECT anomaly FROM {s}.predictions ORDER BY device") == [(1,), (0,)]


def test_a_table_in_partitions_is_used(stage: Stage, place: Place) -> None:
    place.ask(
        "CREATE SCHEMA {s}",
        f'CREATE TABLE {{s}}.predictions ({make_columns()}) PARTITION BY RANGE ("time")',
        "CREATE TABLE {s}.predictions_rest PARTITION OF {s}.predictions DEFAULT",
    )

    place.open_sink().publish(stage.make_item(HOUR_7, [("pump-1", -0.5, 1)]), stage.parts)

    assert place.list_rows() == stage.list_rows()


def test_a_view_is_no_table(stage: Stage, place: Place) -> None:
    place.ask("CREATE SCHEMA {s}", "CREATE VIEW {s}.predictions AS SELECT 1 AS a")

    error = refuse(place.open_sink(), stage.make_item(HOUR_7), stage, "expected a table, got a view")

    assert error.reason is SinkReason.MISMATCH


def test_a_control_table_of_others_is_refused(stage: Stage, place: Place) -> None:
    place.ask("CREATE SCHEMA {s}", "CREATE TABLE {s}.predictions_runs (run bigint)")

    error = refuse(place.open_sink(), stage.make_item(HOUR_7), stage, '"predictions_runs" .*: expected run to be text')

    assert error.reason is SinkReason.MISMATCH


TRIGGER = """
CREATE FUNCTION {s}.change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN %s END $$;
"""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("RETURN NULL;", "expected 1 rows to be inserted, got 0: a trigger or a rule"),
        ("NEW.score := 1; RETURN NEW;", "expected to read back .*'score': 0.5.*, got .*'score': 1.0"),
    ],
)
def test_a_trigger_that_changes_rows_is_seen_before_the_commit(
    body: str, message: str, stage: Stage, place: Place
) -> None:
    place.ask(
        "CREATE SCHEMA {s}",
        f"CREATE TABLE {{s}}.predictions ({make_columns()})",
        (TRIGGER % body).strip(),
        "CREATE TRIGGER t BEFORE INSERT ON {s}.predictions FOR EACH ROW EXECUTE FUNCTION {s}.change()",
    )

    error = refuse(place.open_sink(), stage.make_item(HOUR_7, [("pump-1", 0.5, 1)]), stage, message)

    assert error.reason is SinkReason.MISMATCH
    assert (place.list_rows(), place.list_control()) == ([], [])


def test_a_value_that_does_not_fit_leaves_the_run_as_it_was(stage: Stage, place: Place) -> None:
    place.ask("CREATE SCHEMA {s}", f"CREATE TABLE {{s}}.predictions ({make_columns(device='varchar(6)')})")
    sink = place.open_sink()
    sink.publish(stage.make_item(HOUR_7, [("pump-1", 0.5, 1)]), stage.parts)
    before = place.list_rows()
    longer = stage.make_item(HOUR_7, [("pump-1", 0.25, 1)], [("pump-12", 0.25, 1)], number=1)

    error = refuse(sink, longer, stage, r"value too long for type character varying\(6\)")

    assert error.reason is SinkReason.MISMATCH
    assert (place.list_rows(), place.list_control()) == (before, [(HOUR_7, 0, 0, 1)])


def test_a_part_with_an_infinite_number_is_refused(stage: Stage, place: Place) -> None:
    item = stage.make_item(HOUR_7, [("pump-1", 0.5, 1)])

    class Infinite(Parts):
        def read_table(self, entry: PublishedPart) -> pa.Table:
            table = stage.parts.read_table(entry)
            return table.set_column(5, table.schema.field(5), pa.array([float("inf")]))

    with pytest.raises(SinkError, match="expected finite numbers in score, got NaN or infinity"):
        place.open_sink().publish(item, Infinite(stage.work))

    assert (place.list_rows(), place.list_control()) == ([], [])


# A server that refuses, is slow or is gone


def test_a_role_that_may_only_read_is_denied(stage: Stage, place: Place) -> None:
    sink = place.open_sink()
    sink.publish(stage.make_item(HOUR_7, [("pump-1", 0.5, 1)]), stage.parts)
    before = place.list_rows()
    place.ask(
        f"CREATE ROLE {{s}}_reader LOGIN PASSWORD '{PASSWORD}'",
        "GRANT USAGE ON SCHEMA {s} TO {s}_reader",
        "GRANT SELECT ON ALL TABLES IN SCHEMA {s} TO {s}_reader",
    )
    reader = place.open_sink(place.server.url.replace("fleet@", f"{place.schema}_reader@"))

    error = refuse(reader, stage.make_item(HOUR_8, [("pump-1", 0.5, 1)]), stage, "permission denied for table predict")

    assert error.reason is SinkReason.DENIED
    assert place.list_rows() == before


def test_a_role_with_just_the_rights_of_the_document_publishes(stage: Stage, place: Place) -> None:
    place.open_sink().publish(stage.make_item(HOUR_8, [("pump-1", 0.5, 1)]), stage.parts)
    place.ask(
        f"CREATE ROLE {{s}}_writer LOGIN PASSWORD '{PASSWORD}'",
        "GRANT USAGE ON SCHEMA {s} TO {s}_writer",
        "GRANT SELECT, INSERT, DELETE ON {s}.predictions, {s}.predictions_runs TO {s}_writer",
    )
    writer = place.open_sink(place.server.url.replace("fleet@", f"{place.schema}_writer@"))

    for number in (0, 1):
        writer.publish(stage.make_item(HOUR_7, [("pump-1", 0.5 + number, 1)], number=number), stage.parts)

    assert place.list_rows() == stage.list_rows()


def test_a_policy_that_hides_rows_is_an_error_and_doubles_nothing(stage: Stage, place: Place) -> None:
    place.open_sink().publish(stage.make_item(HOUR_7, [("pump-1", 0.5, 1)]), stage.parts)
    before = place.list_rows()
    place.ask(
        f"CREATE ROLE {{s}}_writer LOGIN PASSWORD '{PASSWORD}'",
        "GRANT USAGE ON SCHEMA {s} TO {s}_writer",
        "GRANT SELECT, INSERT, DELETE ON {s}.predictions, {s}.predictions_runs TO {s}_writer",
        "ALTER TABLE {s}.predictions ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY p ON {s}.predictions FOR INSERT WITH CHECK (true)",
    )
    writer = place.open_sink(place.server.url.replace("fleet@", f"{place.schema}_writer@"))

    error = refuse(writer, stage.make_item(HOUR_7, [("pump-1", 2, 1)], number=1), stage, "row-level security policy")

    assert error.reason is SinkReason.DENIED
    assert place.list_rows() == before


def test_a_database_that_is_read_only_is_denied(stage: Stage, place: Place) -> None:
    place.ask(
        f"CREATE ROLE {{s}}_writer LOGIN SUPERUSER PASSWORD '{PASSWORD}'",
        "ALTER ROLE {s}_writer SET default_transaction_read_only = on",
    )
    writer = place.open_sink(place.server.url.replace("fleet@", f"{place.schema}_writer@"))

    error = refuse(writer, stage.make_item(HOUR_7), stage, "cannot execute CREATE SCHEMA in a read-only transaction")

    assert error.reason is SinkReason.DENIED


@pytest.mark.parametrize(
    ("change", "password", "message"),
    [
        (("", ""), "wrong", 'password authentication failed for user "fleet"'),
        (("", ""), "", "no password supplied"),
        (("fleet@", "none@"), PASSWORD, 'password authentication failed for user "none"'),
        (("/postgres", "/none"), PASSWORD, 'database "none" does not exist'),
        (("/postgres", "/postgres?sslmode=require"), PASSWORD, "server does not support SSL"),
    ],
)
def test_a_login_that_is_refused_is_denied(
    change: tuple[str, str], password: str, message: str, stage: Stage, place: Place
) -> None:
    sink = place.open_sink(place.server.url.replace(*change) if change[0] else "", password)

    error = refuse(sink, stage.make_item(HOUR_7), stage, message)

    assert error.reason is SinkReason.DENIED
    assert not password or password not in str(error).replace("password", "")


def test_where_nothing_listens_the_sink_is_unavailable(stage: Stage, place: Place, unused_endpoint: str) -> None:
    url = f"postgresql://fleet@{unused_endpoint.removeprefix('http://')}/postgres"

    error = refuse(place.open_sink(url), stage.make_item(HOUR_7), stage, "Connection refused")

    assert error.reason is SinkReason.UNAVAILABLE


def test_a_statement_that_takes_too_long_is_undone(stage: Stage, place: Place) -> None:
    sink = place.open_sink(limits=Limits(statement=1))
    sink.publish(stage.make_item(HOUR_7, [("pump-1", 0.5, 1)]), stage.parts)
    before = place.list_rows()
    place.ask(
        (TRIGGER % "PERFORM pg_sleep(30); RETURN NEW;").strip(),
        "CREATE TRIGGER t BEFORE INSERT ON {s}.predictions FOR EACH ROW EXECUTE FUNCTION {s}.change()",
    )

    error = refuse(sink, stage.make_item(HOUR_7, [("pump-1", 2, 1)], number=1), stage, "due to statement timeout")

    assert error.reason is SinkReason.UNAVAILABLE
    assert place.list_rows() == before


def test_locks_that_others_hold_are_a_conflict_after_some_tries(stage: Stage, place: Place) -> None:
    sink = place.open_sink(limits=Limits(lock=1))
    sink.publish(stage.make_item(HOUR_7, [("pump-1", 0.5, 1)]), stage.parts)
    further = stage.make_item(HOUR_7, [("pump-1", 2, 1)], number=1)
    with dbapi.connect(place.server.url.replace("@", f":{PASSWORD}@")) as connection, connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {place.schema}.predictions")
        error = refuse(sink, further, stage, "others held locks at each of 3 tries: .*due to lock timeout")
        connection.rollback()

    assert error.reason is SinkReason.CONFLICT
    sink.publish(further, stage.parts)
    assert place.list_rows() == stage.list_rows()


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("53100", SinkReason.FULL),
        ("53200", SinkReason.UNAVAILABLE),
        ("23505", SinkReason.MISMATCH),
        ("40001", SinkReason.CONFLICT),
        ("XX001", SinkReason.FAILED),
    ],
)
def test_an_error_of_the_database_is_sorted_by_its_state(
    state: str, reason: SinkReason, stage: Stage, place: Place
) -> None:
    place.open_sink().publish(stage.make_item(HOUR_7, [("pump-1", 0.5, 1)]), stage.parts)
    before = place.list_rows()
    place.ask(
        (TRIGGER % f"RAISE EXCEPTION 'as if' USING ERRCODE = '{state}';").strip(),
        "CREATE TRIGGER t BEFORE INSERT ON {s}.predictions FOR EACH ROW EXECUTE FUNCTION {s}.change()",
    )

    error = refuse(place.open_sink(), stage.make_item(HOUR_7, [("pump-1", 2, 1)], number=1), stage, "as if")

    assert error.reason is reason
    assert place.list_rows() == before


def test_a_connection_that_was_cut_between_two_runs_is_opened_again(stage: Stage, place: Place) -> None:
    sink = place.open_sink()
    sink.publish(stage.make_item(HOUR_7, [("pump-1", 0.5, 1)]), stage.parts)
    place.ask(f"SELECT pg_terminate_backend({find_backend(place)})")

    sink.publish(stage.make_item(HOUR_8, [("pump-1", 0.5, 1)]), stage.parts)

    assert place.list_rows() == stage.list_rows()


def test_a_connection_that_is_cut_while_it_copies_leaves_the_run_as_it_was(stage: Stage, place: Place) -> None:
    sink = place.open_sink()
    item = stage.make_item(HOUR_7, [("pump-1", 0.5, 1)])

    class Cutting(Parts):
        def read_table(self, entry: PublishedPart) -> pa.Table:
            place.ask(f"SELECT pg_terminate_backend({find_backend(place)})")
            return stage.parts.read_table(entry)

    with pytest.raises(SinkError) as caught:
        sink.publish(item, Cutting(stage.work))
    assert caught.value.reason is SinkReason.UNAVAILABLE
    assert (place.list_rows(), place.list_control()) == ([], [])

    sink.publish(item, stage.parts)
    assert place.list_rows() == stage.list_rows()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX stop the server")
def test_a_server_that_hangs_is_unavailable_and_the_next_job_goes_on(stage: Stage, place: Place) -> None:
    sink = place.open_sink(limits=Limits(connect=2, statement=1, grace=1))
    item = stage.make_item(HOUR_7, [("pump-1", 0.5, 1)])
    process = 0

    class Hanging(Parts):
        def read_table(self, entry: PublishedPart) -> pa.Table:
            nonlocal process
            process = find_backend(place)
            os.kill(process, signal.SIGSTOP)
            return stage.parts.read_table(entry)

    try:
        with pytest.raises(SinkError, match="expected an answer within 2 s, got none") as caught:
            sink.publish(item, Hanging(stage.work))
    finally:
        os.kill(process, signal.SIGCONT)
    assert caught.value.reason is SinkReason.UNAVAILABLE

    wait_until(lambda: place.ask(f"SELECT 1 FROM pg_stat_activity WHERE pid = {process}") == [])
    sink.publish(item, stage.parts)
    assert place.list_rows() == stage.list_rows()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX stop the server")
def test_a_server_that_does_not_answer_a_connection_is_unavailable(stage: Stage, place: Place) -> None:
    os.kill(place.server.process.pid, signal.SIGSTOP)
    try:
        error = refuse(place.open_sink(limits=Limits(connect=2)), stage.make_item(HOUR_7), stage, "timeout expired")
    finally:
        os.kill(place.server.process.pid, signal.SIGCONT)

    assert error.reason is SinkReason.UNAVAILABLE


def find_backend(place: Place) -> int:
    """The process of the server that serves the one open sink of a test."""
    ((process,),) = place.ask(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'fleetscore' ORDER BY backend_start DESC LIMIT 1"
    )
    return int(process)
