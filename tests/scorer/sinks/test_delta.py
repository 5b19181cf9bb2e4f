"""A Delta table holds each run once: read by others, whatever happened before the commit and after it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyarrow import parquet

from scorer.sinks.base import SinkError
from scorer.sinks.delta import DeltaSink, _classify_error, open_delta_sink
from scorer.sinks.parts import Parts
from scorer.storage.blob_store import Folder
from scorer.storage.range_reader import AccessDenied
from shared.contract.errors import Misconfigured
from shared.contract.publishing.documents import PublishedPart, PublishingManifest
from shared.contract.publishing.sinks import SinkKind, SinkReason
from shared.contract.windows import Window
from tests.scorer.sinks.stage import HOUR_7, HOUR_8, QUARTER, WEEK, Stage

Rows = list[tuple[str, str, float, int]]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    (tmp_path / "work").mkdir()
    return Stage(tmp_path / "work")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "table").mkdir()
    return tmp_path / "table"


def open_sink(folder: Path) -> DeltaSink:
    manifest = PublishingManifest(SinkKind.DELTA, 1, "fleetscore", "file:///work", (), {"url": folder.as_uri()})
    return open_delta_sink(manifest, "")


def _order(columns: dict[str, list[Any]]) -> Rows:
    minutes = [
        int((time - Window.parse(run).start).total_seconds() // 60)
        for run, time in zip(columns["run"], columns["time"], strict=True)
    ]
    return sorted(zip(columns["run"], columns["device"], columns["score"], minutes, strict=True))


def read_by_duckdb(folder: Path) -> Rows:
    with duckdb.connect() as connection:
        connection.register("predictions", DeltaTable(str(folder)).to_pyarrow_dataset())
        rows = connection.sql("SELECT run, device, score, epoch(time) FROM predictions").fetchall()
    starts = {run: Window.parse(run).start.timestamp() for run, *_ in rows}
    return sorted((run, device, score, int(seconds - starts[run]) // 60) for run, device, score, seconds in rows)


READERS: dict[str, Callable[[Path], Rows]] = {
    "pyarrow": lambda folder: _order(DeltaTable(str(folder)).to_pyarrow_table().to_pydict()),
    "pandas": lambda folder: _order(DeltaTable(str(folder)).to_pandas().to_dict("list")),
    "polars": lambda folder: _order(pl.read_delta(str(folder)).to_dict(as_series=False)),
    "duckdb": read_by_duckdb,
}


def check(folder: Path, stage: Stage) -> None:
    for name, read in READERS.items():
        assert read(folder) == stage.list_rows(), name


def test_runs_of_any_window_are_rows_of_one_table(stage: Stage, folder: Path) -> None:
    sink = open_sink(folder)
    for run in (HOUR_7, QUARTER, WEEK, HOUR_8):
        result = sink.publish(
            stage.make_item(run, [("pump-1", 0.5, 1), ("pump-1", -0.5, 2)], [("pump-2", 1.5, 0)]), stage.parts
        )
        assert (result.reason, result.rows) == (None, 3)

    check(folder, stage)
    assert DeltaTable(str(folder)).metadata().partition_columns == ["date", "hour", "run"]


def test_a_further_round_replaces_its_run_and_no_other_of_the_same_hour(stage: Stage, folder: Path) -> None:
    sink = open_sink(folder)
    for run in (HOUR_7, QUARTER):
        sink.publish(stage.make_item(run, [("pump-1", 0.5, 1)]), stage.parts)

    sink.publish(stage.make_item(HOUR_7, [("pump-1", 0.25, 1)], [("pump-2", 2.0, 3)], number=1), stage.parts)

    check(folder, stage)


def test_a_second_job_with_the_same_run_writes_nothing(stage: Stage, folder: Path) -> None:
    item = stage.make_item(HOUR_7, [("pump-1", 0.5, 1)])
    first = open_sink(folder).publish(item, stage.parts)

    second = open_sink(folder).publish(item, stage.parts)

    assert second == first
    check(folder, stage)


def test_a_job_that_was_believed_lost_replaces_nothing_newer(stage: Stage, folder: Path) -> None:
    old = stage.make_item(HOUR_7, [("pump-1", 0.5, 1)])
    late = open_sink(folder)
    open_sink(folder).publish(old, stage.parts)
    late.publish(old, stage.parts)
    open_sink(folder).publish(stage.make_item(HOUR_7, [("pump-1", 0.25, 1)], number=1), stage.parts)

    with pytest.raises(SinkError, match="has revision 1 of 20261121T0700Z-PT1H, expected at most 0") as caught:
        late.publish(old, stage.parts)

    assert (caught.value.reason, caught.value.ahead) == (SinkReason.AHEAD, 1)
    check(folder, stage)


def test_a_late_job_replaces_nothing_where_a_newer_revision_has_the_same_files(stage: Stage, folder: Path) -> None:
    item = stage.make_item(HOUR_7, [("pump-1", 0.5, 1)])
    open_sink(folder).publish(item, stage.parts)
    open_sink(folder).publish(replace(item, revision=2), stage.parts)
    check(folder, stage)

    other = replace(stage.make_item(HOUR_7, [("pump-1", 0.25, 1)], number=1), revision=1)
    with pytest.raises(SinkError, match="has revision 2 of 20261121T0700Z-PT1H, expected at most 1"):
        open_sink(folder).publish(other, stage.parts)


def test_a_removal_takes_the_rows_and_a_late_job_does_not_bring_them_back(stage: Stage, folder: Path) -> None:
    sink, late = open_sink(folder), open_sink(folder)
    item, other = stage.make_item(HOUR_7, [("pump-1", 0.5, 1)]), stage.make_item(HOUR_8, [("pump-1", 0.5, 1)])
    for each in (item, other):
        sink.publish(each, stage.parts)

    removal = stage.make_removal(item)
    assert sink.publish(removal, stage.parts).rows == 0
    assert open_sink(folder).publish(removal, stage.parts).reason is None
    with pytest.raises(SinkError, match="has revision 0"):
        late.publish(item, stage.parts)

    check(folder, stage)


def test_a_run_that_was_pruned_and_asked_for_again_has_its_new_rows(stage: Stage, folder: Path) -> None:
    sink = open_sink(folder)
    item = stage.make_item(HOUR_7, [("pump-1", 0.5, 1)])
    sink.publish(item, stage.parts)
    sink.publish(stage.make_removal(item), stage.parts)
    again = stage.make_item(HOUR_7, [("pump-1", 0.75, 1)])

    with pytest.raises(SinkError) as caught:
        sink.publish(again, stage.parts)

    sink.publish(replace(again, revision=caught.value.ahead + 1), stage.parts)

    check(folder, stage)


def test_parts_of_schema_1_are_rewritten(stage: Stage, folder: Path) -> None:
    open_sink(folder).publish(stage.make_item(HOUR_7, [("pump-1", 0.5, 1)], schema=1), stage.parts)

    check(folder, stage)
    columns = DeltaTable(str(folder)).to_pyarrow_table()
    assert columns["prediction"].null_count == 1


def test_files_that_a_killed_job_left_are_used_and_no_other_file_gets_their_names(stage: Stage, folder: Path) -> None:
    item = stage.make_item(HOUR_7, [("pump-1", 0.5, 1)], [("pump-2", 0.5, 1)])
    sink = open_sink(folder)
    sink._write_files(item, stage.parts)
    before = {path: path.stat().st_ino for path in folder.rglob("*.parquet")}

    sink.publish(item, stage.parts)

    assert {path: path.stat().st_ino for path in folder.rglob("*.parquet")} == before
    check(folder, stage)


def test_a_reader_of_an_older_version_finds_its_files_after_a_redrive(stage: Stage, folder: Path) -> None:
    sink = open_sink(folder)
    sink.publish(stage.make_item(HOUR_7, [("pump-1", 0.5, 1)]), stage.parts)
    before = stage.list_rows()
    reader = DeltaTable(str(folder))

    sink.publish(stage.make_item(HOUR_7, [("pump-1", 0.25, 1)], number=1), stage.parts)

    assert _order(reader.to_pyarrow_table().to_pydict()) == before


def test_two_jobs_at_once_leave_one_result(stage: Stage, folder: Path) -> None:
    """The other commits between this one's look and its commit."""
    item = stage.make_item(HOUR_7, [("pump-1", 0.5, 1)])
    open_sink(folder).publish(stage.make_item(HOUR_8, [("pump-1", 0.5, 1)]), stage.parts)
    sink = open_sink(folder)

    class Meanwhile(type(stage.parts)):  # type: ignore[misc]
        def read_bytes(self, entry: object) -> bytes:
            open_sink(folder).publish(item, stage.parts)
            return stage.parts.read_bytes(entry)  # type: ignore[arg-type]

    result = sink.publish(item, Meanwhile(stage.work))

    assert result.rows == 1
    check(folder, stage)


class ContestedSink(DeltaSink):
    """Others do something before its first commit."""

    def __init__(self, folder: Path, meanwhile: Callable[[], object]) -> None:
        super().__init__("fleetscore", folder.as_uri(), Folder(folder))
        self.meanwhile = meanwhile

    def _commit(self, *arguments: Any) -> None:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        super()._commit(*arguments)


def contest(stage: Stage, folder: Path, meanwhile: Callable[[], object]) -> tuple[int, int]:
    """Publish a run of two chunks; returns how many rows it has, and how often parts were read."""
    open_sink(folder).publish(stage.make_item(QUARTER, [("pump-1", 0.5, 1)]), stage.parts)
    item = stage.make_item(HOUR_7, [("pump-1", 0.5, 1)], [("pump-2", 0.5, 1)])
    reads = []

    class CountedParts(Parts):
        def read_bytes(self, entry: PublishedPart) -> bytes:
            reads.append(entry)
            return stage.parts.read_bytes(entry)

    result = ContestedSink(folder, meanwhile).publish(item, CountedParts(stage.work))
    return result.rows, len(reads)


def test_parts_are_read_once_also_where_others_write_to_the_table_meanwhile(stage: Stage, folder: Path) -> None:
    other = stage.make_item(HOUR_8, [("pump-1", 0.5, 1)])

    assert contest(stage, folder, lambda: open_sink(folder).publish(other, stage.parts)) == (2, 2)
    check(folder, stage)


def test_files_that_others_remove_before_their_commit_are_written_again(stage: Stage, folder: Path) -> None:
    """A vacuum that keeps nothing, beside a commit."""
    other = stage.make_item(HOUR_8, [("pump-1", 0.5, 1)])

    def vacuum() -> None:
        open_sink(folder).publish(other, stage.parts)
        DeltaTable(str(folder)).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)

    assert contest(stage, folder, vacuum) == (2, 4)
    check(folder, stage)


def test_the_log_says_times_and_devices_so_that_readers_skip_files(stage: Stage, folder: Path) -> None:
    open_sink(folder).publish(stage.make_item(HOUR_7, [("pump-1", 0.5, 1), ("ü", 0.5, 59)]), stage.parts)

    log = [json.loads(line) for line in (folder / "_delta_log/00000000000000000001.json").read_text().splitlines()]
    (add,) = [entry["add"] for entry in log if "add" in entry]
    assert json.loads(add["stats"]) == {
        "numRecords": 2,
        "minValues": {"time": "2026-11-21T07:01:00.000Z", "device": "pump-1"},
        "maxValues": {"time": "2026-11-21T07:59:00.000Z", "device": "ü"},
        "nullCount": {"time": 0, "device": 0},
    }
    assert add["path"].startswith("date=2026-11-21/hour=7/run=20261121T0700Z-PT1H/20261121T0700Z-PT1H-c00000-1-0-")
    (transaction,) = [entry["txn"] for entry in log if "txn" in entry]
    assert (transaction["appId"], transaction["version"]) == ("fleetscore/20261121T0700Z-PT1H", 0)


def test_a_checkpoint_has_statistics_as_numbers_and_as_text(stage: Stage, folder: Path) -> None:
    """Whoever opens a large table parses no text, and a reader that knows only the text skips files too."""
    open_sink(folder).publish(stage.make_item(HOUR_7, [("pump-1", 0.5, 1), ("pump-2", 0.5, 59)]), stage.parts)
    DeltaTable(str(folder)).create_checkpoint()

    table = parquet.read_table(folder / "_delta_log/00000000000000000001.checkpoint.parquet")
    (add,) = [entry for entry in table["add"].to_pylist() if entry]
    start = datetime(2026, 11, 21, 7, tzinfo=UTC)
    expected = {"time": start + timedelta(minutes=1), "device": "pump-1"}
    assert (add["stats_parsed"]["numRecords"], add["stats_parsed"]["minValues"]) == (2, expected)
    assert json.loads(add["stats"])["minValues"] == {"time": "2026-11-21T07:01:00.000Z", "device": "pump-1"}
    check(folder, stage)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (pa.schema([("a", pa.int64())]), "expected a column time, got a"),
        (pa.schema([("time", pa.string())]), "expected time to be timestamp"),
    ],
)
def test_a_table_that_somebody_else_made_is_refused_and_stays(
    schema: pa.Schema, message: str, stage: Stage, folder: Path
) -> None:
    DeltaTable.create(str(folder), schema)
    before = sorted(folder.rglob("*"))

    with pytest.raises(SinkError, match=message) as caught:
        open_sink(folder).publish(stage.make_item(HOUR_7, [("pump-1", 0.5, 1)]), stage.parts)

    assert caught.value.reason is SinkReason.MISMATCH
    assert sorted(folder.rglob("*")) == before


def test_a_table_without_our_partitions_is_refused(stage: Stage, folder: Path) -> None:
    from scorer.sinks.delta import TABLE_SCHEMA

    DeltaTable.create(str(folder), TABLE_SCHEMA, partition_by=["date"])

    with pytest.raises(SinkError, match="expected partitions by date, hour, run, got date"):
        open_sink(folder).publish(stage.make_item(HOUR_7, [("pump-1", 0.5, 1)]), stage.parts)


class DeniedFolder(Folder):
    """As a container that the node may read and not write to."""

    def create(self, path: str, data: bytes) -> bool:
        raise AccessDenied(f"the container refused {len(data)} bytes at {path}")


def test_a_node_that_may_not_write_files_is_denied(stage: Stage, folder: Path) -> None:
    sink = DeltaSink("fleetscore", folder.as_uri(), DeniedFolder(folder))

    with pytest.raises(SinkError, match=r"^the container refused \d+ bytes at date=2026-11-21/hour=7/") as caught:
        sink.publish(stage.make_item(HOUR_7, [("pump-1", 0.5, 1)]), stage.parts)

    assert caught.value.reason is SinkReason.DENIED


@pytest.mark.parametrize(
    "error", [Misconfigured("no container work"), AccessDenied("work is refused"), OSError("work")]
)
def test_a_fault_of_the_working_container_is_none_of_the_table(error: Exception, stage: Stage, folder: Path) -> None:
    class BrokenParts(Parts):
        def read_bytes(self, _entry: PublishedPart) -> bytes:
            raise error

    with pytest.raises(type(error)) as caught:
        open_sink(folder).publish(stage.make_item(HOUR_7, [("pump-1", 0.5, 1)]), BrokenParts(stage.work))

    assert caught.value is error


def test_a_folder_that_is_gone_is_told_with_its_name(folder: Path) -> None:
    folder.rmdir()

    with pytest.raises(SinkError, match="expected a folder, got nothing at ") as caught:
        open_sink(folder)

    assert caught.value.reason is SinkReason.DENIED


def test_a_message_has_no_colours_and_the_code_of_the_store_comes_first(
    stage: Stage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "The operation lacked the necessary privileges for path p \x1b[31m↳\x1b[0m Error performing PUT http://x: 403: "
        '<?xml version="1.0"?><Error><Code>AuthorizationPermissionMismatch</Code><Message>Not authorized.</Message>'
    )

    def refuse(*_: object, **__: object) -> None:
        raise OSError(text)

    monkeypatch.setattr(DeltaTable, "create_write_transaction", refuse)
    with pytest.raises(SinkError) as caught:
        open_sink(folder).publish(stage.make_item(HOUR_7, [("pump-1", 0.5, 1)]), stage.parts)

    expected = f"{folder.as_uri()}: AuthorizationPermissionMismatch: The operation lacked the necessary privileges"
    assert str(caught.value).startswith(expected)
    assert "\x1b" not in str(caught.value)
    assert caught.value.reason is SinkReason.DENIED


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("Client error with status 403 Forbidden: AuthorizationFailure", SinkReason.DENIED),
        ("Permission denied (os error 13)", SinkReason.DENIED),
        ("No space left on device (os error 28)", SinkReason.FULL),
        (
            "error sending request for url (http://h/quota-fleet/run=20261121T1403Z-PT1H/x-403.parquet)",
            SinkReason.UNAVAILABLE,
        ),
        ("connection reset: 20261121T1401Z-PT1H-c00000-1-0.parquet", SinkReason.UNAVAILABLE),
        (
            "503: <Code>ServerBusy</Code> RequestId:7c403a1e-401e-0000 Time:2026-11-21T07:12:12.4014403Z",
            SinkReason.UNAVAILABLE,
        ),
    ],
)
def test_names_of_runs_and_containers_are_no_reasons(message: str, reason: SinkReason) -> None:
    assert _classify_error(message) is reason
