"""An hour of many tiny Parquet files that name their devices in a column: read together, as each alone would be."""

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scorer.readings import file_listing, source
from scorer.readings.device_readings import Readings
from scorer.readings.formats import parquet_alike
from scorer.readings.unmodelled import UnmodelledCounter
from scorer.storage.blob_store import Folder
from shared.contract.manifest import DeviceRange
from shared.contract.model_names import Columns, ModelNames
from shared.contract.scoring_options import ReadingOptions
from tests.scorer.readings.seen import HOUR

IDS = [f"d{index:03}" for index in range(70)]


def write_files(root: Path, kind: str) -> None:
    """A file for each device; every tenth is odd in its own way: it has more devices, row groups, types or columns."""
    for index, device in enumerate(IDS):
        n_rows = 3 + index % 3
        times = np.datetime64("2026-11-21T06:59", "us") + np.arange(n_rows) * np.timedelta64(1, "m")
        devices: list[str | None] = [device] * n_rows
        columns = {"a": np.arange(float(index), index + n_rows), "b": np.ones(n_rows)}
        size = n_rows
        if index % 10 == 7:
            match kind:
                case "devices":
                    devices = [*IDS[index - 1 : index + 2], *devices][:n_rows]
                case "without":
                    devices[-1] = None
                case "groups":
                    size = 1
                case "types":
                    columns["a"] = columns["a"].astype(np.float32)
                case "columns":
                    columns["c"] = columns.pop("a")
        table = pa.table({"time": times, "device": pa.array(devices, pa.string()), **columns})
        pq.write_table(table, root / f"{device}.parquet", row_group_size=size)
    if kind == "damaged":
        path = root / f"{IDS[7]}.parquet"
        data = bytearray(path.read_bytes())
        data[40] ^= 0xFF
        path.write_bytes(data)


def read_in_passes(root: Path, passes: int, *, counts: bool = False) -> tuple[list[Readings], set[str]]:
    counter = UnmodelledCounter(frozenset(IDS[:-5]), DeviceRange(), ModelNames()) if counts else None
    opened = source.open_readings(Folder(root), [""], Columns(), HOUR, ReadingOptions(), "", IDS, counter)
    size = len(IDS) // passes
    readings = [opened.read_devices(IDS[start : start + size]) for start in range(0, len(IDS), size)]
    opened.search_unmodelled()
    return readings, counter.found if counter else set()


@pytest.mark.parametrize("passes", [1, 5])
@pytest.mark.parametrize("kind", ["", "devices", "without", "groups", "types", "columns", "damaged"])
def test_many_files_give_what_few_give(kind: str, passes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, kind)
    together, found = read_in_passes(tmp_path, passes, counts=not kind)
    monkeypatch.setattr(file_listing, "MANY", len(IDS) + 1)
    alone, found_alone = read_in_passes(tmp_path, passes, counts=not kind)

    assert found == found_alone
    for mine, other in zip(together, alone, strict=True):
        for name in ("sensors", "unreadable", "damaged", "layouts", "device_layouts", "repeated", "united", "missing"):
            assert getattr(mine, name) == getattr(other, name), name
        assert mine.columns.keys() == other.columns.keys()
        assert mine.rows == other.rows
        for frame, expected in itertools.zip_longest(mine.frames, other.frames):
            assert frame.features == expected.features
            for name in ("starts", "time", "values"):
                np.testing.assert_array_equal(getattr(frame, name), getattr(expected, name))


def test_a_later_pass_reads_only_files_of_its_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, "")
    opened = source.open_readings(Folder(tmp_path), [""], Columns(), HOUR, ReadingOptions(), "", IDS)
    opened.read_devices(IDS[:10])
    numbers = itertools.count()
    read = parquet_alike.AlikeReader.read

    def count(reader: parquet_alike.AlikeReader, data: bytes, policy: ReadingOptions) -> object:
        next(numbers)
        return read(reader, data, policy)

    monkeypatch.setattr(parquet_alike.AlikeReader, "read", count)
    assert opened.read_devices(IDS[10:13]).rows == 3 + 4 + 5 - 3  # one of each is before the window
    assert next(numbers) == 3
