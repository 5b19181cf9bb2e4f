"""Many small files are read as one: what comes out is what each file alone would give, and faults name their file."""

import gzip
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scorer.readings import small_files, source
from scorer.readings.device_readings import Readings
from scorer.readings.small_files import FileGroup, group_files
from scorer.storage.blob_store import Folder
from shared.contract.model_names import Columns
from shared.contract.scoring_options import CsvOptions, ReadingOptions
from tests.scorer.readings.seen import HOUR, refusal, see

N = 30
Writer = Callable[[Path, int], None]


def name_device(index: int) -> str:
    return f"d{index:02}"


def write_csv(root: Path, index: int, *, header: str = "time,a,b", rows: int = 3, cell: str = "") -> None:
    lines = [f"2026-11-21T07:{minute:02}:00Z,{cell or index + minute},{minute}" for minute in range(rows)]
    (root / f"{name_device(index)}.csv").write_text("\n".join([header, *lines]) + "\n" * (index % 2))


def write_parquet(root: Path, index: int, *, kind: str = "float64", rows: int = 3) -> None:
    times = np.datetime64("2026-11-21T07:00", "us") + np.arange(rows) * np.timedelta64(1, "m")
    values = np.arange(index, index + rows)
    table = pa.table({"time": times, "a": pa.array(values, pa.type_for_alias(kind)), "b": np.arange(float(rows))})
    pq.write_table(table, root / f"{name_device(index)}.parquet")


def read(root: Path, ending: str, *, devices: int = N, csv: str = "") -> Readings:
    ids = [name_device(index) for index in range(devices)]
    pattern, options = f"{{device}}.{ending}", ReadingOptions(csv=CsvOptions.parse(csv))
    return source.open_readings(Folder(root), [""], Columns(), HOUR, options, pattern, ids).read_devices(ids)


def count_groups(root: Path, ending: str, monkeypatch: pytest.MonkeyPatch, csv: str = "") -> list[int]:
    """The sizes of the groups that a read makes; 1 for a file that is read alone."""
    sizes: list[int] = []

    def note(*arguments: object) -> object:
        for item in group_files(*arguments):  # type: ignore[arg-type]  # passed on as they come
            sizes.append(len(item.files) if isinstance(item, FileGroup) else 1)
            yield item

    with monkeypatch.context() as patch:
        patch.setattr("scorer.readings.files.group_files", note)
        read(root, ending, csv=csv)
    return sizes


def expect_as_one_by_one(root: Path, ending: str, monkeypatch: pytest.MonkeyPatch, csv: str = "") -> None:
    """Reading the files together gives what reading each alone gives."""
    together = read(root, ending, csv=csv)
    with monkeypatch.context() as patch:
        patch.setattr("scorer.readings.files.group_files", lambda files, *_: files)
        alone = read(root, ending, csv=csv)
    assert together.columns == alone.columns
    assert together.list_warnings() == alone.list_warnings()
    assert (together.bad, together.unreadable, together.damaged) == (alone.bad, alone.unreadable, alone.damaged)
    assert [len(together.frames), together.rows] == [len(alone.frames), alone.rows]
    for mine, other in itertools.zip_longest(together.frames, alone.frames):
        assert mine.features == other.features
        for field in ("starts", "time", "values"):
            assert np.array_equal(getattr(mine, field), getattr(other, field), equal_nan=field == "values"), field


def describe(readings: Readings, index: int) -> list[tuple[str, list[float]]]:
    return see(readings, name_device(index), names=("a", "b"))


def expect(index: int, rows: int = 3) -> list[tuple[str, list[float]]]:
    return [(f"07:{minute:02}:00", [float(index + minute), float(minute)]) for minute in range(rows)]


@pytest.mark.parametrize(("write", "ending"), [(write_csv, "csv"), (write_parquet, "parquet")])
def test_files_of_one_form_are_read_as_one(
    write: Writer, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(N):
        write(tmp_path, index)

    readings = read(tmp_path, ending)

    assert [describe(readings, index) for index in range(N)] == [expect(index) for index in range(N)]
    assert (readings.bad, readings.unreadable, readings.damaged) == ({}, [], {})
    assert count_groups(tmp_path, ending, monkeypatch) == [N]


@pytest.mark.parametrize(("write", "ending"), [(write_csv, "csv"), (write_parquet, "parquet")])
def test_groups_are_limited_in_files_and_bytes(
    write: Writer, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(N):
        write(tmp_path, index)
    size = (tmp_path / f"d03.{ending}").stat().st_size

    monkeypatch.setattr(small_files, "JOINED_FILES", 8)
    assert count_groups(tmp_path, ending, monkeypatch) == [8, 8, 8, 6]
    monkeypatch.setattr(small_files, "JOINED_FILES", 100)
    monkeypatch.setattr(small_files, "JOINED_BYTES", size * 5)
    sizes = count_groups(tmp_path, ending, monkeypatch)
    assert sum(sizes) == N
    assert max(sizes) <= 7
    assert [describe(read(tmp_path, ending), index) for index in range(N)] == [expect(index) for index in range(N)]


def _leave_a_bad_cell(root: Path) -> None:
    write_csv(root, 7, cell="off")


def _cut_a_line(root: Path) -> None:
    (root / "d07.csv").write_text("time,a,b\n2026-11-21T07:00:00Z,1\n")


def _change_the_header(root: Path) -> None:
    write_csv(root, 7, header="time,b,a")


def _leave_quotes(root: Path) -> None:
    (root / "d07.csv").write_text('time,a,b\n"2026-11-21T07:00:00Z",7,0\n')


def _leave_blank_lines(root: Path) -> None:
    (root / "d07.csv").write_text("time,a,b\n\n2026-11-21T07:00:00Z,7,0\n\n")


def _leave_one_empty(root: Path) -> None:
    (root / "d07.csv").write_text("")


def _leave_only_a_header(root: Path) -> None:
    (root / "d07.csv").write_text("time,a,b\n")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (_leave_a_bad_cell, "d07.csv: column 'a' has 'off', expected a number"),
        (_cut_a_line, "d07.csv"),
        (_change_the_header, [("07:00:00", [0.0, 7.0]), ("07:01:00", [1.0, 8.0]), ("07:02:00", [2.0, 9.0])]),
        (_leave_quotes, [("07:00:00", [7.0, 0.0])]),
        (_leave_blank_lines, [("07:00:00", [7.0, 0.0])]),
        (_leave_one_empty, "no readings"),
        (_leave_only_a_header, "no readings"),
    ],
)
def test_one_odd_file_among_many_changes_no_other(
    spoil: Callable[[Path], None], expected: object, tmp_path: Path
) -> None:
    for index in range(N):
        write_csv(tmp_path, index)
    spoil(tmp_path)

    readings = read(tmp_path, "csv")

    rest = [index for index in range(N) if index != 7]
    assert [describe(readings, index) for index in rest] == [expect(index) for index in rest]
    if isinstance(expected, str):
        assert expected in refusal(readings, "d07", names=("a", "b"))[1]
    else:
        assert describe(readings, 7) == expected


def test_a_damaged_parquet_file_fails_its_device_alone(tmp_path: Path) -> None:
    for index in range(N):
        write_parquet(tmp_path, index)
    data = (tmp_path / "d07.parquet").read_bytes()
    (tmp_path / "d07.parquet").write_bytes(data[: len(data) // 2] + b"PAR1")
    write_parquet(tmp_path, 9, kind="int64")

    readings = read(tmp_path, "parquet")

    rest = [index for index in range(N) if index != 7]
    assert [describe(readings, index) for index in rest] == [expect(index) for index in rest]
    assert refusal(readings, "d07", names=("a", "b"))[1].startswith("d07.parquet: Parquet: ")


@pytest.mark.parametrize(("write", "ending"), [(write_csv, "csv"), (write_parquet, "parquet")])
def test_files_that_do_not_stay_in_memory_are_read_all_the_same(
    write: Writer, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(N):
        write(tmp_path, index)
    monkeypatch.setattr("scorer.readings.file_listing.CACHE_LIMIT", 5 * (tmp_path / f"d03.{ending}").stat().st_size)

    readings = read(tmp_path, ending)

    assert [describe(readings, index) for index in range(N)] == [expect(index) for index in range(N)]


def test_a_column_without_numbers_is_named_with_its_file(tmp_path: Path) -> None:
    for index in range(N):
        write_csv(tmp_path, index, cell="off")

    readings = read(tmp_path, "csv")

    assert readings.numberless == {"a": "d00.csv"}


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_reading_as_one_gives_what_reading_one_by_one_gives(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(N):
        if ending == "csv":
            write_csv(tmp_path, index, rows=index % 4, header="time,a,b" if index % 5 else "time,b,a")
        else:
            write_parquet(tmp_path, index, rows=index % 4, kind="float64" if index % 5 else "int32")

    expect_as_one_by_one(tmp_path, ending, monkeypatch)


def write_text(root: Path, form: Callable[[str], bytes], row: str, header: str = "time,a,b") -> None:
    """A file for each device, of rows with the minute and a number; each second file lacks its last end of line."""
    for index in range(N):
        lines = [row.format(minute=minute, number=index + minute) for minute in range(3)]
        text = "\n".join([header, *lines]) + "\n" * (index % 2)
        (root / f"{name_device(index)}.csv").write_bytes(form(text))


ROW = "2026-11-21T07:{minute:02}:00Z,{number},{minute}"
SEMICOLONS, DECIMALS = ROW.replace(",", ";"), "2026-11-21T07:{minute:02}:00Z;{number},0;{minute},000"


@pytest.mark.parametrize(
    ("form", "row", "header", "csv"),
    [
        (lambda text: text.replace("\n", "\r\n").encode(), ROW, "time,a,b", ""),
        (lambda text: text.encode("utf-8-sig"), ROW, "time,a,b", ""),
        (str.encode, SEMICOLONS, "time;a;b", ""),
        (lambda text: text.replace(";", "\t").encode(), SEMICOLONS, "time;a;b", ""),
        (lambda text: text.replace("\n", "\r\n").encode("utf-8-sig"), DECIMALS, "time;a;b", "decimal=comma"),
        (lambda text: text.encode(), ROW + ",°C", "time,a,b,Größe", ""),
    ],
    ids=["CRLF", "BOM", "semicolons", "tabs", "Excel", "Unicode"],
)
def test_files_are_joined_however_their_lines_and_columns_are_cut(
    form: Callable[[str], bytes], row: str, header: str, csv: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path, form, row, header)

    readings = read(tmp_path, "csv", csv=csv)

    assert [describe(readings, index) for index in range(N)] == [expect(index) for index in range(N)]
    assert count_groups(tmp_path, "csv", monkeypatch, csv) == [N]
    expect_as_one_by_one(tmp_path, "csv", monkeypatch, csv)


@pytest.mark.parametrize(
    "form",
    [
        lambda text: text.replace(",", ";").replace(":00Z;", ":00Z;1,").encode(),  # decimal commas, if all files say so
        lambda text: b"sep=,\n" + text.encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode() + b"\xc3",
        lambda text: b"\r\n" + text.encode(),
    ],
    ids=["decimals", "sep", "CR", "UTF-16", "cut", "blank"],
)
def test_files_of_which_each_shows_its_form_are_read_alone(
    form: Callable[[str], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path, form, ROW)

    expect_as_one_by_one(tmp_path, "csv", monkeypatch)


def test_what_one_file_shows_of_its_decimals_is_not_taken_for_the_others(tmp_path: Path) -> None:
    write_text(tmp_path, str.encode, DECIMALS.replace(",000", ",5"), "time;a;b")
    (tmp_path / "d07.csv").write_text("time;a;b\n2026-11-21T07:00:00Z;1,234;2\n")

    readings = read(tmp_path, "csv")

    assert describe(readings, 8) == [(f"07:{minute:02}:00", [8.0 + minute, minute + 0.5]) for minute in range(3)]
    assert "decimal" in refusal(readings, "d07", names=("a", "b"))[1]


def test_the_sensors_of_one_file_are_not_those_of_another(tmp_path: Path) -> None:
    times = pa.array(np.repeat(np.datetime64("2026-11-21T07:00", "us"), 2))
    for device, sensors, values in (("d00", [None, None], [1.0, 2.0]), ("d01", ["x", "y"], [3.0, 4.0])):
        table = pa.table({"time": times, "sensor": pa.array(sensors, pa.string()), "value": values})
        pq.write_table(table, tmp_path / f"{device}.parquet")

    readings = read(tmp_path, "parquet", devices=2)

    assert see(readings, "d01/x") == [("07:00:00", [3.0])]
    assert see(readings, "d01/y") == [("07:00:00", [4.0])]


def test_files_of_a_header_alone_say_no_columns(tmp_path: Path) -> None:
    for index in range(3):
        (tmp_path / f"{name_device(index)}.csv").write_text("time,a,b\n")

    assert read(tmp_path, "csv", devices=3).columns == {}


def test_memory_is_estimated_by_the_bytes_of_a_file_and_by_the_cells_of_a_parquet_file(tmp_path: Path) -> None:
    text = b"time,device,a\n2026-11-21T07:00:00Z,d00,1\n"
    rows = pa.table({"time": np.zeros(7, "datetime64[us]"), "device": ["d00"] * 7, "a": np.zeros(7)})
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink)
    parquet = sink.getvalue().to_pybytes()

    def estimate(name: str, data: bytes, pattern: str = "") -> int:
        (tmp_path / name).write_bytes(data)
        path = pattern or name
        return source.open_readings(
            Folder(tmp_path), ["" if pattern else path], Columns(), HOUR, ReadingOptions(), pattern
        ).estimate_memory()

    assert estimate("x.csv", text) == 4 * len(text)
    assert estimate("x.csv.gz", gzip.compress(text)) == 20 * len(gzip.compress(text))
    assert estimate("x.parquet", parquet) == 7 * 24 * 4
    assert estimate("d00.small", parquet, "{device}.small") == 20 * len(parquet)
