"""Cells and lines as people's tools really write them: flags, ids, blank lines, encodings, dates, indices."""

from __future__ import annotations

import codecs
import gzip
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scorer.readings.formats.parquet_reader import read_footer, read_group
from shared.contract.model_names import Columns
from shared.contract.reasons import Reason
from shared.contract.scoring_options import BadRows, ReadingOptions
from tests.scorer.readings.seen import FAIL, read, read_text, refusal, see

INSTANT = datetime(2026, 11, 21, 7, tzinfo=UTC)
ROOT = Path(__file__).parents[3]


def write_ids(path: Path, ids: pa.Array, sensors: pa.Array | None = None) -> None:
    times = pa.array([INSTANT] * len(ids), pa.timestamp("us", "UTC"))
    table = {"time": times, "device": ids, "value": [float(i) for i in range(len(ids))]}
    pq.write_table(pa.table({**table, **({} if sensors is None else {"sensor": sensors})}), path)


# Flags


@pytest.mark.parametrize("policy", [ReadingOptions(), FAIL])
def test_true_and_false_are_1_and_0_in_every_form(policy: ReadingOptions, tmp_path: Path) -> None:
    words = ["True", "False", "true", "false", "TRUE", "FALSE", " True"]
    rows = [f"2026-11-21T07:0{i}Z,csv,{word}\n" for i, word in enumerate(words)]
    (tmp_path / "a.csv").write_text("time,device,on\n" + "".join(rows))
    frame = pd.DataFrame({"time": ["2026-11-21T07:00Z"] * 2, "device": ["json", "parquet"], "on": [True, False]})
    frame[:1].to_json(tmp_path / "b.json", orient="records", lines=True)
    frame[1:].to_parquet(tmp_path / "c", index=False)

    readings = read(tmp_path, "csv", "json", "parquet", policy=policy)

    assert [values for _, values in see(readings, "csv", names=("on",))] == [[1], [0], [1], [0], [1], [0], [1]]
    assert see(readings, "json", names=("on",)) == [("07:00:00", [1.0])]
    assert see(readings, "parquet", names=("on",)) == [("07:00:00", [0.0])]
    assert readings.list_warnings() == []


def test_flags_and_numbers_may_stand_in_one_column_and_other_words_are_bad(tmp_path: Path) -> None:
    text = "".join(f"2026-11-21T07:0{i}Z,pump,{word}\n" for i, word in enumerate(["True", "0.5", "t", "yes", "on"]))
    readings = read_text(tmp_path, "time,device,value\n" + text)

    assert see(readings) == [("07:00:00", [1.0]), ("07:01:00", [0.5])]
    assert readings.unusable == 3
    mixed = [
        f'{{"time":"2026-11-21T07:0{i}Z","device":"pump","value":{cell}}}\n' for i, cell in enumerate(["true", "2"])
    ]
    assert [values for _, values in see(read_text(tmp_path, "".join(mixed)))] == [[1], [2]]


# Ids


def test_a_uuid_is_its_text_as_duckdb_and_arrow_write_it(tmp_path: Path) -> None:
    ids = [str(uuid.UUID(int=2**100 + i)) for i in range(3)]
    with duckdb.connect() as connection:
        query = f"select timestamptz '2026-11-21 07:00:00Z' as time, '{ids[0]}'::uuid as device, 0.5 as value"
        connection.sql(f"copy ({query}) to '{tmp_path}/a.parquet' (format parquet)")
    codes = [uuid.UUID(text).bytes for text in ids[1:]]
    write_ids(tmp_path / "b", pa.array([*codes, None], pa.uuid()), pa.array([*codes[::-1], None], pa.uuid()))

    readings = read(tmp_path, *ids)

    assert see(readings, ids[0]) == [("07:00:00", [0.5])]
    assert see(readings, f"{ids[1]}/{ids[2]}") == [("07:00:00", [0.0])]
    assert see(readings, f"{ids[2]}/{ids[1]}") == [("07:00:00", [1.0])]


def test_the_schema_of_a_file_says_which_sixteen_bytes_are_a_uuid(tmp_path: Path) -> None:
    code = uuid.UUID(int=7)
    table = pa.table({"time": pa.array([INSTANT]), "device": pa.array([code.bytes], pa.uuid()), "value": [1.0]})
    pq.write_table(table, tmp_path / "a", store_schema=False)
    write_ids(tmp_path / "b", pa.array([code.bytes], pa.binary(16)))
    with (tmp_path / "a").open("rb") as file:
        footer = read_footer(file, Columns())
    opened = pq.ParquetFile(tmp_path / "a", arrow_extensions_enabled=False)  # as pyarrow before its release 21
    assert pa.types.is_fixed_size_binary(opened.schema_arrow.field("device").type)

    rows = read_group(opened, footer, footer.groups[0], footer.names, ReadingOptions()).rows

    assert rows["device"].type == pa.uuid()
    (tmp_path / "a").unlink()
    assert refusal(read(tmp_path, str(code)), str(code)) == (
        Reason.UNREADABLE_READINGS,
        "b: column 'device' is fixed_size_binary[16], expected text, UUIDs or whole numbers",
    )


@pytest.mark.parametrize(
    "kind",
    [
        pa.decimal128(18, 0), pa.decimal128(38, 10), pa.decimal256(50, 0), pa.decimal32(5, 0), pa.decimal64(12, 2),
        pa.float64(), pa.float32(), pa.float16(),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("dictionary", [True, False])
def test_a_number_that_is_whole_is_an_id_by_its_digits(kind: pa.DataType, dictionary: bool, tmp_path: Path) -> None:
    ids = pa.array([Decimal(5), None, Decimal(70), Decimal(5)], pa.decimal128(5, 0))
    ids = (ids.cast(pa.float64()) if kind == pa.float16() else ids).cast(kind)
    if dictionary and pa.types.is_floating(kind) and kind != pa.float16():
        ids = ids.dictionary_encode()
    write_ids(tmp_path / "a", ids, ids)

    readings = read(tmp_path, "5", "70")

    assert see(readings, "5/5") == [("07:00:00", [3.0])]
    assert see(readings, "70/70") == [("07:00:00", [2.0])]


@pytest.mark.parametrize(
    ("ids", "got"),
    [
        (pa.array([5.0, 5.5]), "5.5"),
        (pa.array([float("inf")]), "inf"),
        (pa.array([2.0**53]), "9007199254740992.0"),
        (pa.array([2.0**24], pa.float32()), "16777216.0"),
        (pa.array([Decimal(5), Decimal("5.50")], pa.decimal128(18, 2)), "5.50"),
    ],
)
def test_a_number_that_may_be_another_id_is_refused_by_its_value(ids: pa.Array, got: str, tmp_path: Path) -> None:
    write_ids(tmp_path / "a", ids)

    assert refusal(read(tmp_path, "5"), "5") == (
        Reason.UNREADABLE_READINGS,
        f"a: column 'device' has {got}, expected text, UUIDs or whole numbers",
    )


def test_numbers_of_json_are_ids_as_those_of_parquet_and_text_stays_what_it_is(tmp_path: Path) -> None:
    lines = [
        f'{{"time":"2026-11-21T07:00Z","device":{cell},"value":1}}\n' for cell in ("7", "5.0", "1e2", '"8.0"', '"009"')
    ]
    readings = read_text(tmp_path, "".join(lines), "7", "5", "100", "8.0", "8", "009")

    for device in ("7", "5", "100", "8.0", "009"):
        assert see(readings, device) == [("07:00:00", [1.0])]
    assert refusal(readings, "8")[0] is Reason.NO_READINGS
    assert refusal(read_text(tmp_path, lines[0] + lines[1].replace("5.0", "5.5")))[1] == (
        "a: column 'device' has 5.5, expected text or whole numbers"
    )
    assert "has 9007199254740993.0" in refusal(read_text(tmp_path, lines[1].replace("5.0", "9007199254740993.0")))[1]


# Lines and encodings

GOOD = "time,device,value\n2026-11-21T07:00Z,pump,1\n2026-11-21T07:01Z,pump,2\n"
JSON = "".join(f'{{"time":"2026-11-21T07:0{i}Z","device":"pump","value":{i + 1}}}\n' for i in range(2))


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("\n", "\n\n"), GOOD.replace("\n", "\n   \n"), GOOD.replace("\n", "\r\n \t\r\n"), GOOD + " ",
        GOOD + "\n\n \n", " \n\t\r\n" + GOOD, JSON.replace("\n", "\n  \n\n"), " \n" + JSON + "\t",
        GOOD.replace("pump", '"pump"').replace("\n", "\n  \n"),
    ],
)  # fmt: skip
def test_lines_of_blanks_are_no_rows(text: str, tmp_path: Path) -> None:
    assert see(read_text(tmp_path, text)) == [("07:00:00", [1.0]), ("07:01:00", [2.0])]


def test_a_line_of_blanks_within_quotes_is_part_of_a_cell(tmp_path: Path) -> None:
    text = 'time,device,note,a\n2026-11-21T07:00Z,"pu\n  \nmp",x,1\n  \n2026-11-21T07:01Z,"pu\n  \nmp",y,2\n'
    assert [values for _, values in see(read_text(tmp_path, text, "pu\n  \nmp"), "pu\n  \nmp", names=("a",))] == [
        [1],
        [2],
    ]


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("text", [GOOD, JSON])
@pytest.mark.parametrize(("mark", "encoding"), [(codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")])
def test_utf_16_is_read_by_its_mark(mark: bytes, encoding: str, text: str, compress: object, tmp_path: Path) -> None:
    data = mark + text.replace("\n", "\r\n").encode(encoding)
    assert callable(compress)
    assert see(read_text(tmp_path, compress(data))) == [("07:00:00", [1.0]), ("07:01:00", [2.0])]


def test_without_its_mark_utf_16_is_refused_and_a_mark_hides_no_html(tmp_path: Path) -> None:
    assert refusal(read_text(tmp_path, GOOD.encode("utf-16-le")))[1].endswith(
        "UTF-16 and UTF-32 need a byte order mark"
    )
    for encoding in ("utf-8-sig", "utf-16"):
        assert "is HTML" in refusal(read_text(tmp_path, f"<html>{JSON}".encode(encoding)))[1]


# Dates and times


@pytest.mark.parametrize("text", ["2026-11-21", "2026-W47-6", "2026-325", "2026W476"])
@pytest.mark.parametrize("policy", [ReadingOptions(), FAIL, ReadingOptions(time_zone="Europe/Berlin")])
def test_days_without_times_are_refused_with_what_to_do(text: str, policy: ReadingOptions, tmp_path: Path) -> None:
    readings = read_text(tmp_path, f"time,device,value\n{text},pump,1\n,pump,2\n{text},pump,3\n", policy=policy)

    reason, message = refusal(readings)
    assert reason is Reason.UNREADABLE_READINGS
    assert message == (
        f"a: column 'time' holds dates (such as {text}), expected times: all rows of a day would be at its midnight; "
        "write times such as 2026-11-21T07:00:00Z, or set READINGS_COLUMNS (--columns) time=NAME to name their column"
    )


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64()])
def test_a_column_of_days_is_refused_too(kind: pa.DataType, tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"time": pa.array([INSTANT.date()], kind), "device": ["pump"], "value": [1.0]}), tmp_path / "a"
    )

    assert refusal(read(tmp_path))[1].startswith("a: column 'time' holds dates (date32[day]), expected times: ")


def test_among_times_a_day_is_a_bad_row(tmp_path: Path) -> None:
    text = "time,device,value\n2026-11-21,pump,1\n2026-11-21T07:01Z,pump,2\n"
    readings = read_text(tmp_path, text)

    assert see(readings) == [("07:01:00", [2.0])]
    assert readings.unusable == 1
    failing = read_text(tmp_path, text, policy=ReadingOptions(BadRows.FAIL))
    assert refusal(failing)[1] == "a: column 'time' has '2026-11-21', expected an ISO 8601 time, not a date"


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21 07:15:00 UTC", "2026-11-21 07:15:00.000000 UTC", "2026-11-21 07:15:00.000000000 utc",
        "2026-11-21T07:15:00 GMT", "2026-11-21 07:15:00 +0000 UTC", "20261121T0715 UTC", "2026-11-21 07:15 UTC",
    ],
)  # fmt: skip
def test_utc_behind_a_time_is_its_offset(text: str, tmp_path: Path) -> None:
    policy = ReadingOptions(time_zone="Europe/Berlin")
    readings = read_text(tmp_path, f"time,device,value\n{text},pump,1\n", policy=policy)

    assert see(readings) == [("07:15:00", [1.0])]


@pytest.mark.parametrize("text", ["2026-11-21 07:15:00 CET", "2026-11-21 UTC", "2026-11-21 07:15:00+01:00 UTC", "UTC"])
def test_other_names_behind_a_time_are_none(text: str, tmp_path: Path) -> None:
    readings = read_text(tmp_path, f"time,device,value\n{text},pump,1\n2026-11-21T07:59Z,pump,2\n")

    assert see(readings) == [("07:59:00", [2.0])]
    assert readings.unusable == 1


# The index of pandas


def make_indexed() -> pd.DataFrame:
    times = pd.date_range("2026-11-21T07:00", periods=2, freq="min", tz="UTC")
    return pd.DataFrame({"device": "pump", "a": [1.0, 2.0]}, index=times)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_an_index_without_a_name_is_the_time_where_there_is_no_other(form: str, tmp_path: Path) -> None:
    frame = make_indexed()
    if form == "csv":
        frame.to_csv(tmp_path / "a")
    else:
        frame.to_parquet(tmp_path / "a")

    readings = read(tmp_path)

    assert see(readings, count=1) == [("07:00:00", [1.0]), ("07:01:00", [2.0])]
    assert readings.list_warnings() == [(2, "readings have their time in an index without a name, as pandas wrote it")]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_an_index_beside_a_time_is_neither_time_nor_feature(form: str, tmp_path: Path) -> None:
    frame = make_indexed().rename_axis("time").reset_index().set_axis([7, 9])
    if form == "csv":
        frame.to_csv(tmp_path / "a")
    else:
        frame.to_parquet(tmp_path / "a")

    readings = read(tmp_path)

    assert see(readings, count=1) == [("07:00:00", [1.0]), ("07:01:00", [2.0])]
    assert readings.list_warnings() == []


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_an_index_that_holds_no_times_is_not_taken_for_them(form: str, tmp_path: Path) -> None:
    frame = make_indexed().set_axis(["x", "y"])
    if form == "csv":
        frame.to_csv(tmp_path / "a")
    else:
        frame.to_parquet(tmp_path / "a")

    assert refusal(read(tmp_path))[1].startswith("a: expected columns 'time', 'device' and 'value' or features")


# Nothing of this needs pandas


def test_none_of_these_values_imports_pandas(tmp_path: Path) -> None:
    write_ids(tmp_path / "a", pa.array([uuid.UUID(int=1).bytes], pa.uuid()))
    write_ids(tmp_path / "b", pa.array([5.0, None]))
    write_ids(tmp_path / "c", pa.array([Decimal(5)], pa.decimal128(18, 0)))
    make_indexed().to_parquet(tmp_path / "d")
    (tmp_path / "e").write_text(
        "time,device,value\n2026-10-25 02:30:00 UTC,5,True\n \n2026-10-25 02:30,5,x\n"
        "2026-10-25,5,1\n2026-10-25 02:10,5,2\n"
    )
    program = f"""
import sys
from pathlib import Path
from scorer.readings import source
from scorer.storage.blob_store import Folder
from shared.contract.model_names import Columns
from shared.contract.scoring_options import ReadingOptions
policy = ReadingOptions(time_zone="Europe/Berlin")
readings = source.read_readings(Folder(Path({str(tmp_path)!r})), [""], Columns(), ["5", "pump"], None, policy)
assert (readings.rows, readings.unusable) == (5, 2), readings
assert not {{"pandas", "sklearn", "scipy"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
