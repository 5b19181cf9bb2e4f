"""Rows of before the window in its own folders are counted: they came when their own window had ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scorer.readings import source
from scorer.readings.device_readings import Readings
from scorer.storage.blob_store import Folder
from shared.contract.domain import Late
from shared.contract.model_names import Columns
from shared.contract.readings.paths import list_paths
from shared.contract.scoring_options import ReadingOptions
from shared.contract.windows import Window
from tests.scorer.readings.seen import HOUR

HOURS = "date=%Y-%m-%d/hour=%H/"
SEVEN = datetime(2026, 11, 21, 7, tzinfo=UTC)
LATE = "rows are of the window before: its run has read them if they came before it, and a reprocess of it does"
UNREAD = "rows are of earlier windows and came too late: no run reads them"
OUTSIDE = "rows were outside the window and were ignored"


def at(minutes: int) -> datetime:
    """So many minutes after seven."""
    return SEVEN + timedelta(minutes=minutes)


def write(root: Path, hour: int, rows: Sequence[tuple[int, str]], kind: str, group: int = 2) -> None:
    """A file in the folder of an hour, of rows by their minutes after seven and their device."""
    folder = root / f"date=2026-11-21/hour={hour:02}"
    folder.mkdir(parents=True, exist_ok=True)
    times, devices = [at(minutes) for minutes, _ in rows], [device for _, device in rows]
    if kind == "csv":
        lines = (f"{time.isoformat()},{device},1\n" for time, device in zip(times, devices, strict=True))
        (folder / "a.csv").write_text("time,device,value\n" + "".join(lines))
        return
    columns = {"time": pa.array(times, pa.timestamp("us", "UTC")), "device": devices, "value": [1.0] * len(rows)}
    pq.write_table(pa.table(columns), folder / "a.parquet", row_group_size=group)


def open_window(root: Path, window: Window = HOUR, pattern: str = HOURS) -> source.Source:
    paths = list_paths(pattern, window)
    return source.open_readings(Folder(root), paths, Columns(), window, ReadingOptions(), pattern)


def read(root: Path, *devices: str, window: Window = HOUR, pattern: str = HOURS) -> Readings:
    return open_window(root, window, pattern).read_devices(devices or ("pump", "fan"))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("group", [1, 2, 100])
def test_rows_of_before_the_window_are_late_in_its_folder_and_nowhere_else(
    kind: str, group: int, tmp_path: Path
) -> None:
    write(tmp_path, 7, [(-61, "fan"), (-60, "fan"), (-1, "fan"), (-30, "valve"), (-1, "pump"), (0, "pump"), (59, "fan"),
                        (60, "pump")], kind, group)  # fmt: skip
    write(tmp_path, 8, [(-1, "pump"), (59, "pump")], kind, group)  # what the next window counts
    readings = read(tmp_path)
    assert readings.late.summarize() == Late(3, 2, ("fan", "pump"), 1)
    assert readings.rows == 3
    warnings = {text: count for count, text in readings.list_warnings()}
    assert (warnings[LATE], warnings[UNREAD]) == (3, 1)
    assert read(tmp_path, "valve").late.summarize() == Late(1, 1, ("valve",))


def test_of_row_groups_of_before_the_window_only_those_of_the_devices_are_read(tmp_path: Path) -> None:
    write(tmp_path, 7, [(-2, "fan"), (-1, "fan"), (-2, "pump"), (-1, "pump"), (1, "pump")], "parquet")
    opened = open_window(tmp_path)
    assert opened.read_devices(["pump"]).late.summarize() == Late(2, 1, ("pump",))
    assert [file.read_groups for file in opened.files] == [{1, 2}]


def test_a_later_folder_of_the_window_has_late_rows_that_no_run_reads(tmp_path: Path) -> None:
    write(tmp_path, 7, [(-1, "pump"), (1, "pump")], "csv")
    write(tmp_path, 8, [(-2, "pump"), (2, "pump"), (61, "pump")], "csv")
    readings = read(tmp_path, window=Window(SEVEN, timedelta(hours=2)))
    assert readings.late.summarize() == Late(1, 1, ("pump",), 1)
    assert readings.list_warnings() == [(1, LATE), (1, UNREAD)]


def test_where_a_folder_is_of_several_windows_rows_of_before_are_late_for_the_first_only(tmp_path: Path) -> None:
    write(tmp_path, 7, [(-1, "pump"), (1, "pump"), (16, "pump")], "csv")
    found = [read(tmp_path, window=Window(at(minutes), timedelta(minutes=15))).list_warnings() for minutes in (0, 15)]
    assert found == [[(1, OUTSIDE), (1, LATE)], [(2, OUTSIDE)]]


@pytest.mark.parametrize("pattern", ["", "date=2026-11-21/"])
def test_where_folders_are_not_of_time_rows_are_outside_and_not_late(pattern: str, tmp_path: Path) -> None:
    write(tmp_path, 7, [(-1, "pump"), (1, "pump")], "csv")
    readings = read(tmp_path, pattern=pattern)
    assert readings.late.summarize() == Late()
    assert readings.list_warnings() == [(1, OUTSIDE)]


def test_an_hour_that_clocks_show_twice_is_not_late_in_its_second_pass(tmp_path: Path) -> None:
    folder = tmp_path / "25-01"
    folder.mkdir()
    local = [f"2026-10-25T02:{minute:02}:00,pump,{minute}\n" for minute in (0, 30)]
    (folder / "a.csv").write_text("time,device,value\n" + "".join(local))
    window, policy = Window.parse("20261025T0100Z-PT1H"), ReadingOptions(time_zone="Europe/Berlin")
    paths = list_paths("%d-%H/", window, "Europe/Berlin")
    opened = source.open_readings(Folder(tmp_path), paths, Columns(), window, policy, "%d-%H/")
    assert opened.read_devices(["pump"]).late.summarize() == Late()


def test_many_devices_are_named_by_the_first_thousand(tmp_path: Path) -> None:
    devices = [f"pump{i:04}" for i in range(1001)]
    write(tmp_path, 7, [(-1, device) for device in devices], "csv")
    assert read(tmp_path, *devices).late.summarize() == Late(1001, 1001, tuple(devices[:1000]))
