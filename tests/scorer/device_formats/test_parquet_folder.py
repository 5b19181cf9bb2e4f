"""What is written: wide or long, sorted, by hour, the same bytes for the same input."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.scorer.device_formats.converting import convert, list_rows, run

T = 1_795_244_400  # 2026-11-21T07:00:00Z


def write(folder: Path, *points: tuple[str, str, int], name: str = "export.lp") -> Path:
    """A file of points: device, fields, seconds from 07:00 on."""
    path = folder / name
    path.write_text(
        "".join(f"m,device={device} {fields} {T + seconds}000000000\n" for device, fields, seconds in points)
    )
    return path


def hash_files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*")) if path.is_file()
    }  # fmt: skip


POINTS = (("b", "x=1,y=2", 3599), ("a", "x=3,y=4", 3600), ("b", "x=5,y=6", 0), ("a", "x=7,y=8", 0))


def test_each_hour_is_a_file_sorted_by_device_and_time(tmp_path: Path) -> None:
    table = convert(tmp_path, write(tmp_path, *POINTS))
    assert list_rows(table) == [(0, "a", 7, 8), (0, "b", 5, 6), (3599, "b", 1, 2), (3600, "a", 3, 4)]
    assert list(hash_files(tmp_path / "readings")) == [
        "date=2026-11-21/hour=07/readings.parquet",
        "date=2026-11-21/hour=08/readings.parquet",
    ]
    assert table.schema.remove_metadata() == pa.schema([
        pa.field("time", pa.timestamp("us", "UTC"), nullable=False), pa.field("device", pa.string(), nullable=False),
        pa.field("x", pa.float64()), pa.field("y", pa.float64()),
    ])  # fmt: skip


def test_long_rows_are_sorted_by_device_sensor_and_time(tmp_path: Path) -> None:
    assert list_rows(convert(tmp_path, write(tmp_path, *POINTS), "--long")) == [
        (0, "a", "x", 7), (0, "a", "y", 8),
        (0, "b", "x", 5), (3599, "b", "x", 1), (0, "b", "y", 6), (3599, "b", "y", 2),
        (3600, "a", "x", 3), (3600, "a", "y", 4),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("points", "columns"),
    [
        ((("a", "x=1,y=2", 0), ("b", "x=1", 0)), ["x", "y"]),  # each device has its own sensors
        ((("a", "x=1,y=2", 0), ("a", "x=1", 1)), ["sensor", "value"]),
        ((("a", "x=1", 0), ("a", "y=1", 1)), ["sensor", "value"]),
        ((("a", "x=1,value=2", 0),), ["sensor", "value"]),  # no sensor's column may have a name of ours
        ((("a", "x=1", 0), ("a", "y=2", 0)), ["x", "y"]),
    ],
)
def test_wide_where_the_sensors_of_each_device_share_times(
    tmp_path: Path, points: tuple[tuple[str, str, int], ...], columns: list[str]
) -> None:
    assert convert(tmp_path, write(tmp_path, *points)).column_names == ["time", "device", *columns]


@pytest.mark.parametrize("long", [[], ["--long"]])
def test_an_hour_that_is_larger_than_memory_is_written_in_ranges(
    tmp_path: Path, long: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [(f"d{i % 7}", f"x={i},y={-i}", i * 37 % 3600) for i in range(2000)]
    path = write(tmp_path, *points)
    (tmp_path / "all").mkdir()
    (tmp_path / "ranges").mkdir()
    expected = convert(tmp_path / "all", path, *long)
    monkeypatch.setattr("scorer.device_formats.parquet_folder.CELLS", 64)
    monkeypatch.setattr("scorer.device_formats.spool.MEMORY", 1000)
    actual = convert(tmp_path / "ranges", path, *long)
    assert actual.equals(expected)
    assert pq.ParquetFile(next((tmp_path / "ranges").rglob("*.parquet"))).num_row_groups > 50


def test_statistics_show_the_devices_of_each_row_group(tmp_path: Path) -> None:
    convert(tmp_path, write(tmp_path, *POINTS))
    group = pq.ParquetFile(tmp_path / "readings/date=2026-11-21/hour=07/readings.parquet").metadata.row_group(0)
    assert (group.column(1).statistics.min, group.column(1).statistics.max) == ("a", "b")
    assert group.column(0).statistics.has_min_max


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    path = write(tmp_path, *POINTS)
    assert run(path, "--into", tmp_path / "one") == run(path, "--into", tmp_path / "two") == 0
    assert hash_files(tmp_path / "one") == hash_files(tmp_path / "two")


def test_an_existing_folder_is_refused_and_replaced_where_that_was_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = write(tmp_path, ("a", "x=1", 0)), write(tmp_path, ("a", "x=2", 7200), name="new.lp")
    target = tmp_path / "readings"
    assert run(old, "--into", target) == 0
    before = hash_files(target)
    assert run(new, "--into", target) == 2
    assert "--into: expected a new folder, got one with 1 files" in capsys.readouterr().err
    assert hash_files(target) == before
    assert run(new, "--into", target, "--overwrite") == 0
    assert list(hash_files(target)) == ["date=2026-11-21/hour=09/readings.parquet"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export.lp", "new.lp", "readings"]


def test_a_folder_with_other_files_is_never_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, target = write(tmp_path, ("a", "x=1", 0)), tmp_path / "readings"
    target.mkdir()
    (target / "thesis.tex").write_text("years of work")
    assert run(path, "--into", target, "--overwrite") == 2
    assert "expected a new folder, or only readings that were converted, got 'thesis.tex' in" in capsys.readouterr().err
    assert (target / "thesis.tex").read_text() == "years of work"


def test_a_target_among_the_sources_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, ("a", "x=1", 0))
    assert run(tmp_path, "--into", tmp_path / "readings") == 2
    assert "--into: expected a folder outside the sources" in capsys.readouterr().err


def test_units_that_differ_between_devices_are_kept_by_device(tmp_path: Path) -> None:
    path = tmp_path / "pack.json"
    path.write_text(
        f'[{{"n":"a:temp","u":"Cel","t":{T},"v":1}},{{"n":"b:temp","u":"K","t":{T},"v":274}},{{"n":"a:p","t":{T},"v":2}}]'
    )
    schema = convert(tmp_path, path).schema
    assert schema.metadata[b"fleetscore.units"] == b'{"temp": {"a": "Cel", "b": "K"}}'
    assert schema.field("temp").metadata is None


def test_files_of_other_formats_in_a_folder_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    write(folder, ("a", "x=1", 0))
    (folder / "notes.txt").write_text("hello\n")
    (folder / "page.html").write_text('<p class="x">\n')
    (folder / ".hidden.lp").write_text("m,device=b x=1 1\n")
    assert list_rows(convert(tmp_path, folder)) == [(0, "a", 1)]
    assert "note: 2 files of other formats were ignored: 1 .html, 1 .txt" in capsys.readouterr().out
    assert run(folder / "notes.txt", "--into", tmp_path / "more") == 2
    assert "expected a file in senml, line-protocol, mdf4, tdms, got another format" in capsys.readouterr().err
