"""Devices that have readings and no model: each counts once, whatever files, passes and forms its rows are in."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.readings import files, source
from scorer.readings.formats.parquet_reader import Footer, RowGroup
from scorer.readings.formats.text_reader import Table
from scorer.readings.projection import Projection
from scorer.readings.source import Source
from scorer.readings.unmodelled import UnmodelledCounter
from scorer.storage.blob_store import Folder
from scorer.storage.range_reader import AccessDenied, OpenFile
from shared.contract.domain import Unmodelled
from shared.contract.manifest import DeviceRange
from shared.contract.model_names import Columns, ModelNames
from shared.contract.scoring_options import ReadingOptions, TimeFormat
from tests.scorer.readings.seen import HOUR

FORMS = ("csv", "json", "parquet")
NAMES = ModelNames()
INSIDE = HOUR.start
NEEDED = Projection(frozenset({"a"}))


def write(path: Path, devices: Sequence[str | None], times: Sequence[datetime] | None = None, **how: Any) -> None:
    """A file in the form of its ending, with a row for each of the devices; None: the folder names it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows: dict[str, Any] = {"time": [f"{time:%FT%TZ}" for time in times or [INSIDE] * len(devices)]}
    rows |= {"a": np.arange(float(len(devices))), "b": 1.0}
    if None not in devices:
        rows["device"] = devices
    frame = pd.DataFrame(rows)
    match path.suffix:
        case ".csv":
            frame.to_csv(path, index=False)
        case ".json":
            frame.to_json(path, orient="records", lines=True)
        case _:
            table = pa.Table.from_pandas(frame.assign(time=pd.to_datetime(frame["time"])), preserve_index=False)
            pq.write_table(table, path, **how)


def open_folder(root: Path | Folder, *modelled: str, devices: DeviceRange = DeviceRange(), **how: Any) -> Source:  # noqa: B008  # frozen
    counter = UnmodelledCounter(frozenset(modelled), devices, NAMES)
    folder = root if isinstance(root, Folder) else Folder(root)
    options = {"policy": ReadingOptions(), "devices": list(modelled), **how}
    return source.open_readings(folder, [""], Columns(), HOUR, unmodelled=counter, **options)


def search(opened: Source, *passes: Sequence[str]) -> list[str]:
    """The devices that count, after a read of the devices of each pass."""
    for devices in passes:
        opened.read_devices(devices, NEEDED)
    opened.search_unmodelled()
    assert opened.unmodelled
    found = opened.unmodelled.count()
    assert found.devices == len(found.examples)
    return list(found.examples)


@pytest.mark.parametrize("form", FORMS)
def test_a_device_counts_once_over_files_and_passes(form: str, tmp_path: Path) -> None:
    for name in ("x", "y"):
        write(tmp_path / f"{name}.{form}", ["pump1", "pump2", "fan", "valve", "fan"])
    assert search(open_folder(tmp_path, "pump1", "pump2"), ["pump1"], ["pump2"]) == ["fan", "valve"]


@pytest.mark.parametrize("form", FORMS)
def test_a_device_of_another_pass_has_a_model(form: str, tmp_path: Path) -> None:
    write(tmp_path / f"x.{form}", ["pump1", "pump2"])
    assert search(open_folder(tmp_path, "pump1", "pump2"), ["pump1"]) == []


@pytest.mark.parametrize("form", FORMS)
def test_only_devices_with_a_row_inside_the_window_count(form: str, tmp_path: Path) -> None:
    times = [INSIDE, HOUR.end, HOUR.start - timedelta(seconds=1), HOUR.end - timedelta(seconds=1)]
    write(tmp_path / f"x.{form}", ["pump", "late", "early", "last"], times)
    assert search(open_folder(tmp_path, "pump"), ["pump"]) == ["last"]


def test_rows_without_a_device_or_a_time_and_rows_of_another_range_do_not_count(tmp_path: Path) -> None:
    lines = ["time,device,a", "2026-11-21T07:00:00Z,,1", "soon,fan,1", "2026-11-21T07:00:00Z,valve,x"]
    lines += ["2026-11-21T07:00:00Z,pump,1", "2026-11-21T07:00:00Z,zero,1", "2026-11-21T07:00:00Z,ant,1"]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    assert search(open_folder(tmp_path, "pump", devices=DeviceRange("pump", "zero")), ["pump"]) == ["valve"]


@pytest.mark.parametrize("form", FORMS)
def test_files_in_the_folder_of_a_device_are_looked_into_until_one_has_a_row(form: str, tmp_path: Path) -> None:
    for device, time in (("pump", INSIDE), ("fan", HOUR.end), ("valve", INSIDE), ("zero", INSIDE)):
        for name in ("x", "y"):
            write(tmp_path / f"device={device}" / f"{name}.{form}", [None], [time])
    write(tmp_path / "device=__HIVE_DEFAULT_PARTITION__" / f"x.{form}", [None])
    opened = open_folder(tmp_path, "pump", devices=DeviceRange("fa", "zero"))
    assert search(opened, ["pump"]) == ["valve"]
    assert all(file.data is None for file in opened.other_files)


def test_row_groups_that_no_model_needs_are_read_once_and_without_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = [f"d{i:02}" for i in range(40) for _ in range(5)]
    write(tmp_path / "x.parquet", devices, row_group_size=25)  # five devices each
    reads: list[tuple[int, tuple[str, ...]]] = []
    real = files.read_group

    def noted(opened: object, footer: Footer, group: RowGroup, names: Sequence[str], *how: Any) -> Table:
        reads.append((group.index, tuple(names)))
        return real(opened, footer, group, names, *how)

    monkeypatch.setattr(files, "read_group", noted)
    opened = open_folder(tmp_path, "d10", "d11", "d12", devices=DeviceRange("d10", "d20"))
    assert search(opened, ["d10", "d11"], ["d12"]) == [f"d{i}" for i in range(13, 20)]
    needed, ids = ("time", "a", "device"), ("time", "device")
    assert reads == [(2, needed), (3, ids), (4, ids)]  # the upper bound is cautious by a row group


def test_files_of_text_that_were_read_for_models_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "x.csv", ["pump", "fan"])
    opened = open_folder(tmp_path, "pump")
    opened.read_devices(["pump"], NEEDED)
    monkeypatch.setattr(files, "read_text", None)
    assert search(opened) == ["fan"]


def test_row_groups_outside_the_window_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x.parquet", ["fan"] * 4, [INSIDE - timedelta(hours=9)] * 4, row_group_size=2)
    monkeypatch.setattr(files, "read_group", None)
    assert search(open_folder(tmp_path, "pump"), ["pump"]) == []


@pytest.mark.parametrize(
    ("first", "low"), [("", ""), ("pump", "pump"), ("pump-1", "pump"), ("pump.x", "pump.x"), ("a-b-c", "a")]
)
def test_the_least_device_of_a_range_may_be_a_beginning_of_its_first(first: str, low: str) -> None:
    """`pump-1.skops` is listed before `pump.skops`, `pump` before `pump-1`."""
    assert UnmodelledCounter(frozenset(), DeviceRange(first, ""), NAMES).low == low


IDS = st.text("ab-.!/\U0010ffff", min_size=1, max_size=3)


@given(IDS, IDS, st.lists(IDS, unique=True))
def test_the_plain_bounds_exclude_no_device_that_counts(first: str, end: str, ids: list[str]) -> None:
    for devices in (DeviceRange(first, end), DeviceRange(first, ""), DeviceRange("", end)):
        counter = UnmodelledCounter(frozenset(), devices, NAMES)
        expected = [index for index, device in enumerate(ids) if devices.settles(device, NAMES)]
        assert counter.find_candidates(ids) == expected


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.text("ab-.!\U00010000", min_size=1, max_size=3), st.sampled_from([-1, 0, 59, 60]), min_size=1, max_size=9
    ),
    st.sets(st.integers(0, 8)),
    st.integers(1, 3),
    st.lists(st.sampled_from(["a.csv", "b.json", "c.parquet", "device"]), min_size=9, max_size=9),
    st.integers(1, 3),
)
def test_chunks_together_count_each_device_of_any_files_once(
    minutes: dict[str, int], modelled: set[int], size: int, places: list[str], group: int
) -> None:
    """*minutes*: of each device's row; which of the devices have a model; chunks of *size*; where each row is."""
    fleet = sorted((d for i, d in enumerate(sorted(minutes)) if i in modelled), key=NAMES.make_listing_key)
    starts = range(0, max(1, len(fleet)), size)
    bounds = ["", *(fleet[start] for start in starts[1:]), ""]
    counted: list[str] = []
    with TemporaryDirectory() as folder:
        rows: dict[str, list[str]] = {}
        for device, place in zip(minutes, places, strict=False):
            rows.setdefault(f"device={quote(device, safe='')}/x.csv" if place == "device" else place, []).append(device)
        for name, devices in rows.items():
            times = [INSIDE + timedelta(minutes=minutes[device]) for device in devices]
            how = {"row_group_size": group} if name == "c.parquet" else {}
            write(Path(folder) / name, [None] if "=" in name else devices, times, **how)
        for start, first, end in zip(starts, bounds, bounds[1:], strict=False):
            own = fleet[start : start + size]
            opened = open_folder(Path(folder), *own, devices=DeviceRange(first, end))
            counted += search(opened, own[:1], own[1:])
    expected = [device for device, minute in minutes.items() if 0 <= minute < 60 and device not in fleet]
    assert sorted(counted) == sorted(
        device for device in expected if any(DeviceRange(*pair).settles(device, NAMES) for pair in pairwise(bounds))
    )


@pytest.mark.parametrize(("name", "text"), [("x.csv", "time,device,a\n1,fan,1\n"), ("y.csv", "time,b\n1,2\n")])
def test_a_file_that_no_model_needs_and_that_cannot_be_read_is_a_warning(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "device=fan").mkdir()
    (tmp_path / "device=fan" / name).write_text(text)
    (tmp_path / "device=fan" / "z.csv").write_text(text)
    write(tmp_path / "x.csv", ["pump"])
    opened = open_folder(tmp_path, "pump")
    assert search(opened, ["pump"]) == []
    assert opened.unmodelled
    ((count, sentence),) = opened.unmodelled.list_warnings()
    assert count == 2
    assert sentence.startswith(f"files could not be searched for devices without a model, such as device=fan/{name}: ")


def test_times_that_cannot_be_read_fail_no_model_of_other_files(tmp_path: Path) -> None:
    write(tmp_path / "x.csv", ["pump"])
    pq.write_table(pa.table({"time": [1, 2], "device": ["fan", "fan"], "a": [1.0, 2.0]}), tmp_path / "y.parquet")
    opened = open_folder(tmp_path, "pump")
    readings = opened.read_devices(["pump"], NEEDED)
    assert (readings.rows, readings.unreadable) == (1, [])
    assert search(opened) == []
    assert opened.unmodelled
    assert [count for count, _ in opened.unmodelled.list_warnings()] == [1]


class Guarded(Folder):
    """A folder of which some files may not be opened."""

    def open(self, name: str) -> OpenFile:
        if "secret" in name:
            raise AccessDenied(f"{name}: access denied")
        return super().open(name)


def test_a_folder_that_may_not_be_read_and_that_no_model_needs_fails_nothing(tmp_path: Path) -> None:
    write(tmp_path / "device=secret" / "x.csv", [None])
    write(tmp_path / "device=pump" / "x.csv", [None])
    write(tmp_path / "device=fan" / "x.csv", [None])
    opened = open_folder(Guarded(tmp_path), "pump")
    assert search(opened, ["pump"]) == ["fan"]
    assert opened.unmodelled
    assert [count for count, _ in opened.unmodelled.list_warnings()] == [1]


def test_ids_in_any_type_and_times_by_the_clocks_of_a_zone_count(tmp_path: Path) -> None:
    local = pa.array([datetime(2026, 11, 21, 8), datetime(2026, 11, 21, 7)], pa.timestamp("us"))  # noqa: DTZ001
    pq.write_table(pa.table({"time": local, "device": [7, 8], "a": [1.0, 2.0]}), tmp_path / "x.parquet")
    policy = ReadingOptions(time_zone="Europe/Berlin")
    assert search(open_folder(tmp_path, "1", policy=policy), ["1"]) == ["7"]
    pq.write_table(pa.table({"time": [HOUR.start.timestamp()], "device": [9.0], "a": [1.0]}), tmp_path / "x.parquet")
    assert search(open_folder(tmp_path, "1", policy=ReadingOptions(time=TimeFormat.S)), ["1"]) == ["9"]


def test_twenty_are_named_legibly_in_order(tmp_path: Path) -> None:
    ids = [f"d{i:02}" for i in range(29, -1, -1)]
    write(tmp_path / "x.csv", ["pump", *ids])
    opened = open_folder(tmp_path, "pump")
    opened.read_devices(["pump"], NEEDED)
    assert opened.unmodelled
    assert opened.unmodelled.count() == Unmodelled(30, tuple(sorted(ids)[:20]))
    opened.unmodelled.found = {"a\nb\x1b" + "x" * 1000}
    (example,) = opened.unmodelled.count().examples
    assert (example[:5], len(example)) == ("a b\ufffdx", 300)


def test_without_a_counter_nothing_more_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x.parquet", ["fan"] * 4, row_group_size=2)
    write(tmp_path / "device=fan" / "x.parquet", [None])
    opened = source.open_readings(Folder(tmp_path), [""], Columns(), HOUR, ReadingOptions(), devices=["pump"])
    monkeypatch.setattr(files, "read_group", None)
    opened.read_devices(["pump"], NEEDED)
    opened.search_unmodelled()
    assert opened.other_files == []
