"""Files of Parquet: what is read of them, and what becomes of a part that is damaged."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scorer.readings import files, source
from scorer.readings.device_readings import Readings
from scorer.readings.files import ReadRequest
from scorer.readings.formats.parquet_reader import TAIL, Footer, RowGroup, read_footer
from scorer.readings.formats.text_reader import Table
from scorer.readings.source import Source
from scorer.storage.blob_store import Folder
from scorer.storage.range_reader import OpenFile
from shared.contract.model_names import Columns
from shared.contract.reasons import Reason
from shared.contract.scoring_options import ReadingOptions
from tests.scorer.readings.seen import HOUR, read, refusal, see

DEVICES = [f"d{i:03}" for i in range(100)]
ROWS = 10  # a device


def table(devices: Sequence[str] = DEVICES, shift: timedelta = timedelta()) -> pa.Table:
    times = [HOUR.start + shift + timedelta(minutes=i) for _ in devices for i in range(ROWS)]
    return pa.table(
        {
            "time": pa.array(times, pa.timestamp("us", "UTC")),
            "device": [device for device in devices for _ in range(ROWS)],
            "a": [float(device[1:]) for device in devices for _ in range(ROWS)],
            "b": np.tile(np.arange(float(ROWS)), len(devices)),
        }
    )


def write(path: Path, rows: pa.Table, **how: object) -> None:
    pq.write_table(rows, path, **{"row_group_size": 100, **how})


def open_folder(root: Path) -> Source:
    return source.open_readings(Folder(root), [""], Columns(), HOUR, ReadingOptions())


def groups_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Which row groups are read from now on."""
    seen: list[int] = []
    real = files.read_group

    def counted(opened: object, footer: Footer, group: RowGroup, *how: Any) -> Table:
        seen.append(group.index)
        return real(opened, footer, group, *how)

    monkeypatch.setattr(files, "read_group", counted)
    return seen


def test_a_portion_of_a_sorted_file_reads_the_row_groups_that_hold_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a", table())
    one = open_folder(tmp_path)
    seen = groups_read(monkeypatch)

    assert one.divisible
    assert seen == []
    found = [one.read_devices(DEVICES[start : start + 15]) for start in range(0, 100, 15)]

    assert seen == list(range(10))  # a row group on the border is kept
    assert [r.rows for r in found] == [150] * 6 + [100]
    assert see(found[2], "d044", names=("b", "a"))[:2] == [("07:00:00", [0, 44]), ("07:01:00", [1, 44])]
    whole = one.read_devices(DEVICES)
    assert np.array_equal(whole.frames[0].values, np.hstack([r.frames[0].values for r in found]))
    assert one.estimate_memory() == 1000 * 24 * 5


def test_devices_that_nobody_asks_for_cost_no_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a", table())
    seen = groups_read(monkeypatch)

    found = open_folder(tmp_path).read_devices(["d005", "d005x", "d095", "zebra"])

    assert (seen, found.rows) == ([0, 9], 20)
    assert refusal(found, "zebra")[0] is Reason.NO_READINGS


def test_row_groups_of_another_time_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a", table(DEVICES[:10]))
    for name, unit in (("b", "ms"), ("c", "us"), ("d", "ns")):
        rows = table(DEVICES[:10], timedelta(hours=1))
        rows = rows.set_column(0, "time", rows["time"].cast(pa.timestamp(unit, "UTC")))
        write(tmp_path / name, rows)
    seen = groups_read(monkeypatch)

    assert open_folder(tmp_path).read_devices(DEVICES).rows == 100
    assert seen == [0]


@pytest.mark.parametrize(
    ("order", "how", "divisible"),
    [
        (DEVICES, {}, True),
        (DEVICES[::-1], {}, False),
        ([*DEVICES[1:], "d000"], {}, False),
        (DEVICES, {"write_statistics": False}, False),
        (DEVICES, {"row_group_size": 1000}, False),  # the one group would have to be kept, and is all there is
    ],
)
def test_only_files_in_the_order_of_their_devices_can_be_divided(
    order: list[str], how: dict[str, object], divisible: bool, tmp_path: Path
) -> None:
    write(tmp_path / "a", table(order), **how)
    one = open_folder(tmp_path)

    assert one.divisible is divisible
    for device in ("d000", "d050", "d099"):
        assert see(one.read_devices([device]), device, names=("a",))[0] == ("07:00:00", [float(device[1:])])


def test_a_file_of_text_beside_them_cannot_be_divided(tmp_path: Path) -> None:
    write(tmp_path / "a", table())
    (tmp_path / "b").write_text("time,device,a,b\n2026-11-21T07:30,d000,1,2\n")

    assert not open_folder(tmp_path).divisible
    assert open_folder(tmp_path).read_devices(["d000"]).rows == 11


def damaged(path: Path, device: str) -> None:
    """Flip a bit in the numbers of a device."""
    write(path, table(), write_page_checksum=True, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[data.index(np.float64(device[1:]).tobytes() * ROWS)] ^= 1
    path.write_bytes(data)


def test_a_damaged_row_group_fails_the_devices_that_may_lie_in_it_and_no_other(tmp_path: Path) -> None:
    damaged(tmp_path / "a", "d044")
    found = read(tmp_path, *DEVICES)

    assert [d for d in DEVICES if found.devices[d] in found.damaged] == DEVICES[40:50]
    reason, message = refusal(found, "d041")
    assert reason is Reason.UNREADABLE_READINGS
    assert message.startswith("a: Parquet: row group 4: ")
    assert refusal(found.select_device("d041"), "d041") == (reason, message)
    assert see(found, "d050", names=("a",))[0] == ("07:00:00", [50.0])
    assert (found.unreadable, found.rows) == ([], 900)
    assert found.list_warnings() == [
        (10, f"devices may have readings in a part of a file that cannot be read: {message}")
    ]


def test_where_nothing_tells_whose_rows_are_damaged_all_fail(tmp_path: Path) -> None:
    write(tmp_path / "a", table(), write_page_checksum=True, compression="none", use_dictionary=False,
          write_statistics=False)  # fmt: skip
    data = bytearray((tmp_path / "a").read_bytes())
    data[data.index(np.float64(44).tobytes() * ROWS)] ^= 1
    (tmp_path / "a").write_bytes(data)

    assert refusal(read(tmp_path, "d099"), "d099")[0] is Reason.UNREADABLE_READINGS


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (table().drop_columns(["time"]), "expected columns 'time'"),
        (table().select(["time", "device"]), "and 'value' or features"),
        (table().append_column("a", table()["a"]), "has the column 'a' more than once"),
        (
            table().set_column(0, "time", pa.array([b"x"] * 1000, pa.binary(1))),
            "expected timestamps or an ISO 8601 time",
        ),
        (
            table().set_column(1, "device", pa.array([5.5] * 1000)),
            "column 'device' has 5.5, expected text, UUIDs or whole",
        ),
        (table().set_column(1, "device", pa.array([b"\xff"] * 1000)), "UTF8"),
    ],
)
def test_a_file_of_another_schema_is_refused(rows: pa.Table, says: str, tmp_path: Path) -> None:
    write(tmp_path / "a", rows)

    reason, message = refusal(read(tmp_path, "d000"), "d000")

    assert reason is Reason.UNREADABLE_READINGS
    assert says in message


def test_a_file_without_rows_has_no_readings(tmp_path: Path) -> None:
    write(tmp_path / "a", table().slice(0, 0))

    assert refusal(read(tmp_path, "d000"), "d000")[0] is Reason.NO_READINGS


def test_a_few_bytes_that_unpack_to_very_many_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scorer.readings.formats.parquet_reader.GROUP_LIMIT", 3000)
    write(tmp_path / "a", table())

    assert "unpacks to" in refusal(read(tmp_path, "d000"), "d000")[1]


def test_long_texts_that_repeat_are_kept_once(tmp_path: Path) -> None:
    notes = pa.DictionaryArray.from_arrays(np.zeros(1000, np.int32), ["x" * 10**6])
    rows = table().append_column("note", notes)
    write(tmp_path / "a", rows, row_group_size=1000)
    one = open_folder(tmp_path)
    (part,) = [
        part
        for _, part in files.read_tables(
            one.container, one.files, ReadRequest(Columns(), ReadingOptions(), DEVICES, (0, 2**62))
        )
    ]

    assert isinstance(part, Table)
    assert part.rows["note"].nbytes < 10**7  # and not 10**9
    assert see(one.read_devices(DEVICES), "d000", names=("a",))[0] == ("07:00:00", [0.0])


@pytest.mark.parametrize("dictionary", [True, False])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.binary()])
def test_ids_of_any_kind_of_text_are_the_same(kind: pa.DataType, dictionary: bool, tmp_path: Path) -> None:
    rows = table()
    rows = rows.set_column(1, "device", rows["device"].cast(kind))
    write(tmp_path / "a", rows, use_dictionary=dictionary)

    assert see(read(tmp_path, "d007"), "d007", names=("a",))[0] == ("07:00:00", [7.0])


def test_nulls_are_missing_and_rows_without_a_device_are_nobodys(tmp_path: Path) -> None:
    rows = table(["d001"])
    rows = rows.set_column(1, "device", pa.array([None, *["d001"] * 9]))
    rows = rows.set_column(2, "a", pa.array([*range(8), None, float("nan")], pa.float32()))
    rows = rows.set_column(0, "time", pa.array([*rows["time"].to_pylist()[:-5], None, *rows["time"].to_pylist()[-4:]]))
    write(tmp_path / "a", rows)

    found = read(tmp_path, "d001")

    assert [values for _, values in see(found, "d001", names=("a",))] == [[1], [2], [3], [4], [6], [7]]
    assert (found.rows, found.unusable) == (8, 1)


@dataclass(frozen=True, slots=True)
class Counting(Folder):
    """A folder that counts the bytes that are read from opened files."""

    sizes: list[int] = field(default_factory=list)

    def open(self, path: str) -> OpenFile:
        file = Folder.open(self, path)

        class Counted:
            closed = False

            def read(self, size: int = -1) -> bytes:
                data = file.read(size)
                counting.append(len(data))
                return data

            def seek(self, offset: int, whence: int = 0) -> int:
                return file.seek(offset, whence)

            def tell(self) -> int:
                return file.tell()

            def close(self) -> None:
                file.close()

        counting = self.sizes
        return Counted()


def test_of_a_large_file_only_the_wanted_row_groups_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SMALL_FILE", 1000)
    rng = np.random.default_rng(7)
    rows = table([f"d{i:05}" for i in range(10_000)])
    rows = rows.append_column("noise", pa.array(rng.normal(size=rows.num_rows)))
    write(tmp_path / "a", rows, row_group_size=10_000)
    size = (tmp_path / "a").stat().st_size
    folder = Counting(tmp_path)

    found: Readings = source.read_readings(folder, [""], Columns(), ["d05000"], HOUR)

    assert found.rows == ROWS
    assert sum(folder.sizes) < size / 4


def test_a_file_that_grows_no_memory_is_forgotten_when_it_was_read(tmp_path: Path) -> None:
    write(tmp_path / "a", table())
    one = open_folder(tmp_path)
    one.read_devices(DEVICES[:15])
    assert one.files[0].last_group is not None
    one.read_devices(DEVICES[15:])
    assert one.files[0].last_group is None
    one.close()
    assert one.files == []


def test_reading_parquet_imports_no_pandas(tmp_path: Path) -> None:
    rows = table()
    write(tmp_path / "a", rows.set_column(2, "a", pa.array([None, *range(999)], pa.float64())))
    (tmp_path / "b").write_text("time,device,a,b\n2026-11-21T07:30,d000,1,x\n")
    program = f"""
import sys
from pathlib import Path
from scorer.readings import source
from scorer.storage.blob_store import Folder
from shared.contract.model_names import Columns
found = source.read_readings(Folder(Path({str(tmp_path)!r})), [""], Columns(), ["d000"], None)
assert found.rows == 11, found
assert not {{"pandas", "sklearn", "scipy"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[3])


def test_no_byte_of_a_footer_can_end_the_process(tmp_path: Path) -> None:
    # pyarrow's own accessors of statistics abort over some of these.
    write(tmp_path / "a", table(DEVICES[:5]).select(["time", "device", "a"]), store_schema=False)
    program = f"""
from pathlib import Path
from scorer.readings import source
from scorer.storage.blob_store import Folder
from shared.contract.model_names import Columns
root = Path({str(tmp_path)!r})
data = (root / "a").read_bytes()
footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
tried = 0
for at in range(footer, len(data)):
    (root / "a").write_bytes(data[:at] + bytes([data[at] ^ 2]) + data[at + 1 :])
    found = source.read_readings(Folder(root), [""], Columns(), ["d003"], None)
    tried += 1
print(tried)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, cwd=Path(__file__).parents[3], capture_output=True, text=True
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 300


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("version", ["1.0", "2.4", "2.6"])
def test_a_footer_tells_us_what_it_tells_pyarrow(unit: str, version: str, tmp_path: Path) -> None:
    rows = table().set_column(0, "time", table()["time"].cast(pa.timestamp(unit, "UTC")))
    nested = [{"x": 1, "y": [2]}] * 1000
    rows = rows.add_column(0, "nested", pa.array(nested)).add_column(1, "sensor", pa.array([None] * 999 + ["s"]))
    write(tmp_path / "a", rows, version=version, coerce_timestamps="us" if version != "2.6" and unit == "ns" else None)
    metadata = pq.read_metadata(tmp_path / "a")
    with (tmp_path / "a").open("rb") as file:
        footer = read_footer(file, Columns())

    told = []
    for i in range(10):
        group = metadata.row_group(i)
        column = {group.column(j).path_in_schema: group.column(j).statistics for j in range(group.num_columns)}
        ends = [int(end.timestamp() * 10**6) for end in (column["time"].min, column["time"].max)]
        told.append((i, 100, column["device"].min, column["device"].max, *ends, i == 9))
    assert [(g.index, g.rows, g.low, g.high, g.first, g.last, g.has_sensor) for g in footer.groups] == told
    assert (footer.texts, footer.has_sensor, footer.by_device) == (("sensor", "device"), True, True)


def test_a_footer_that_is_longer_than_most_is_read_whole(tmp_path: Path) -> None:
    rows = table().append_column("c" * 200, table()["a"])
    write(tmp_path / "a", rows.replace_schema_metadata({"k": "v" * 2 * TAIL}))

    assert see(read(tmp_path, "d007"), "d007", names=("a",))[0] == ("07:00:00", [7.0])


def test_the_index_that_pandas_leaves_in_a_file_is_no_feature(tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame({"time": ["2026-11-21T07:00"] * 2, "device": ["a", "b"], "f": [1.0, 2.0]}, index=[7, 9])
    frame.to_parquet(tmp_path / "a.parquet")
    assert "__index_level_0__" in pq.read_table(tmp_path / "a.parquet").column_names

    found = source.read_readings(Folder(tmp_path), ["a.parquet"], Columns(), ["a", "b"], None)

    assert [frame.features for frame in found.frames] == [("f",)]
