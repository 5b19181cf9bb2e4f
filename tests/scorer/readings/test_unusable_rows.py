"""What becomes of rows that cannot be used, how instants may be written, and what a person is told."""

import json
import pickle
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scorer.readings import source
from scorer.storage.blob_store import Folder
from shared.contract.model_names import Columns
from shared.contract.reasons import Reason
from shared.contract.scoring_options import BadRows, ReadingOptions, TimeFormat
from tests.scorer.readings.seen import AS_IN_FILE, FAIL, HOUR, read, read_text, refusal, see

LONG = "time,device,sensor,value\n"


def test_settings_are_parsed_by_their_names() -> None:
    assert ReadingOptions() == ReadingOptions(BadRows("skip"), TimeFormat("iso"))
    assert [str(form) for form in TimeFormat] == ["iso", "s", "ms", "us", "ns"]
    assert [str(bad) for bad in BadRows] == ["skip", "fail"]


def test_a_row_that_cannot_be_used_is_left_out_and_counted(tmp_path: Path) -> None:
    rows = ["07:00Z,pump,rpm,ERR", '07:01Z,pump,rpm,"1,5"', "07:02Z,pump,rpm,1_000", "07:03Z,pump,rpm,"]
    text = LONG + "".join(f"2026-11-21T{row}\n" for row in [*rows, "07:04Z,pump,rpm,4"]) + "noon,pump,rpm,5\n"
    found = read_text(tmp_path, text)

    assert see(found, "pump/rpm") == [("07:04:00", [4.0])]
    assert found.list_warnings() == [
        (1, "readings had no usable value and were left out"),
        (4, "rows had a cell that is not a number, or not a time, and were left out where it is needed"),
    ]
    failing = read_text(tmp_path, text, policy=FAIL)
    assert refusal(failing, "pump/rpm") == (
        Reason.BAD_READINGS,
        "a: column 'time' has 'noon', expected an ISO 8601 time",
    )
    assert failing.list_warnings() == [(1, "readings had no usable value and were left out")]


def test_a_device_of_which_no_row_can_be_used_has_failed_and_is_not_without_readings(tmp_path: Path) -> None:
    found = read_text(tmp_path, LONG + "2026-11-21T07:00,pump,rpm,ERR\n2026-11-21T07:00,fan,rpm,1\n", "pump", "fan")

    assert refusal(found, "pump/rpm") == (Reason.BAD_READINGS, "a: column 'value' has 'ERR', expected a number")
    assert refusal(found, "pump/bar") == (Reason.NO_READINGS, "the window has no readings of it")


def test_a_wide_row_is_left_out_of_the_models_that_want_the_cell_that_is_no_number(tmp_path: Path) -> None:
    found = read_text(
        tmp_path, "time,device,a,b\n2026-11-21T07:00,pump,1,x\n2026-11-21T07:01,pump,2,y\n2026-11-21T07:02,pump,3,4\n"
    )

    assert see(found, count=2) == [("07:02:00", [3, 4])]
    assert [values for _, values in see(found, names=("a",))] == [[1], [2], [3]]
    assert found.unusable == 2


def test_a_column_of_texts_hurts_only_who_wants_it_and_is_named_once(tmp_path: Path) -> None:
    rows = "".join(f"2026-11-21T07:0{i}Z,{device},{i},ok\n" for i in range(3) for device in ("pump", "fan"))
    found = read_text(tmp_path, "time,device,a,status\n" + rows, "pump", "fan")

    assert [values for _, values in see(found, "fan", names=("a",))] == [[0], [1], [2]]
    assert refusal(found, "fan", count=2) == (Reason.BAD_READINGS, "a: column 'status' has 'ok', expected a number")
    assert found.list_warnings() == [(1, "columns hold no numbers, such as 'status' in a")]


def test_a_column_of_parquet_that_cannot_hold_numbers_hurts_only_who_wants_it(tmp_path: Path) -> None:
    instant = datetime(2026, 11, 21, 7, tzinfo=UTC)
    columns = {"time": [instant], "device": ["pump"], "a": [1], "arrived": [instant], "tags": [["x"]]}
    pq.write_table(pa.table(columns), tmp_path / "a")

    found = read(tmp_path)

    assert see(found, names=("a",)) == [("07:00:00", [1.0])]
    assert refusal(found, names=("a", "arrived"))[0] is Reason.BAD_READINGS
    assert refusal(found, names=("a", "tags"))[0] is Reason.MISSING_FEATURES  # a list is no feature, and was not read
    assert found.numberless == {"arrived": "a"}


def test_rows_outside_the_window_are_counted_but_not_those_of_the_next_folder(tmp_path: Path) -> None:
    for hour in ("07", "08"):
        (tmp_path / hour).mkdir()
        times = [f"2026-11-21T{hour}:30Z", f"2026-11-21T{hour}:40Z", "2026-11-21T05:00Z"]
        (tmp_path / hour / "a").write_text("time,device,value\n" + "".join(f"{t},{d},1\n" for t in times for d in "pq"))

    found = source.read_readings(Folder(tmp_path), ["07/", "08/"], Columns(), ["p"], HOUR)

    assert (found.rows, found.outside) == (2, 1)
    assert found.list_warnings() == [(1, "rows were outside the window and were ignored")]


@pytest.mark.parametrize("outside", ["2026-11-21T06:59:59.999999", "2026-11-21T08:00:00"])
def test_a_window_begins_with_its_first_instant_and_ends_before_its_last(outside: str, tmp_path: Path) -> None:
    rows = ["2026-11-21T07:00:00", "2026-11-21T07:59:59.999999", outside]
    found = read_text(tmp_path, "time,device,value\n" + "".join(f"{time},pump,1\n" for time in rows))

    assert [time for time, _ in see(found)] == ["07:00:00", "07:59:59.999999"]
    assert found.outside == 1


def test_a_broken_file_of_the_next_folder_fails_too_and_says_why_it_was_read(tmp_path: Path) -> None:
    for hour, text in (("07", "time,device,value\n2026-11-21T07:30,pump,1\n"), ("08", "no readings")):
        (tmp_path / hour).mkdir()
        (tmp_path / hour / "a").write_text(text)

    found = source.read_readings(Folder(tmp_path), ["07/", "08/"], Columns(), ["pump"], HOUR)

    reason, message = refusal(found)
    assert reason is Reason.UNREADABLE_READINGS
    assert message.startswith("08/a: expected columns")
    assert message.endswith(" (the folder after the window's, which may hold late readings)")


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("20261121T071530Z", "07:15:30"),
        ("20261121T0715", "07:15:00"),
        ("2026-W47-6T07:15", "07:15:00"),
        ("2026W476T0715", "07:15:00"),
        ("2026-325T07:15:00+00", "07:15:00"),
        ("2026325T071500Z", "07:15:00"),
        ("2026-11-21t07:15:00z", "07:15:00"),
        ("2026-11-21T07:15:00,25", "07:15:00.25"),
        ("2026-11-21 07:15:00.123456789 +00:00", "07:15:00.123456"),
        ("2026-11-20T24:00:00-0715", "07:15:00"),
        (" 2026-11-21 07:15:00 ", "07:15:00"),
        ("2026-11-21T12:45:00+05:30", "07:15:00"),
    ],
)
def test_iso_8601_is_read_in_all_its_forms(text: str, utc: str, tmp_path: Path) -> None:
    found = read_text(tmp_path, f'time,device,value\n"{text}",pump,1\n2026-11-21T07:59,pump,2\n')

    assert see(found) == [(utc, [1.0]), ("07:59:00", [2.0])]


@pytest.mark.parametrize(
    "text",
    [
        "21.11.2026 07:15", "11/21/2026 07:15", "2026-11-31T07:15", "2026-11-21x07:15", "2026-11-21T25:00",
        "07:15", "now",
        "2026-11-21T07:15:00+99", "2026-366T07:15", "2026-W60-1", "-2026-11-21T07:15", "٢٠٢٦-11-21T07:15", "",
    ],
)  # fmt: skip
def test_what_is_no_iso_8601_is_no_time(text: str, tmp_path: Path) -> None:
    found = read_text(tmp_path, f"time,device,value\n{text},pump,1\n2026-11-21T07:59,pump,2\n")

    assert see(found) == [("07:59:00", [2.0])]
    assert found.unusable == 1


MOMENT = datetime(2026, 11, 21, 7, 15, tzinfo=UTC)
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@pytest.mark.parametrize("form", ["csv", "json", "parquet", "parquet double", "parquet timestamps"])
@pytest.mark.parametrize("unit", PER_SECOND)
def test_times_that_count_from_1970_are_read_by_setting(unit: str, form: str, tmp_path: Path) -> None:
    count = int(MOMENT.timestamp()) * PER_SECOND[unit]
    table = {"time": pa.array([count]), "device": pa.array(["pump"]), "value": pa.array([1.0])}
    match form:
        case "csv":
            (tmp_path / "a").write_text(f"time,device,value\n{count},pump,1\n")
        case "json":
            (tmp_path / "a").write_text(json.dumps({"time": count, "device": "pump", "value": 1}))
        case "parquet double":
            table["time"] = table["time"].cast(pa.float64(), safe=False)
        case "parquet timestamps":
            table["time"] = pa.array([MOMENT], pa.timestamp("ms", "UTC"))
    if form.startswith("parquet"):
        pq.write_table(pa.table(table), tmp_path / "a")

    found = read(tmp_path, policy=ReadingOptions(time=TimeFormat(unit)))

    assert see(found) == [("07:15:00", [1.0])]


def test_a_fraction_of_a_second_counts_and_iso_is_no_count(tmp_path: Path) -> None:
    seconds = int(MOMENT.timestamp())
    times = [f"{seconds}.25", "2026-11-21T07:20", f"{seconds}x", "99999999999999999"]
    text = "time,device,value\n" + "".join(f"{time},pump,{i}\n" for i, time in enumerate(times, 1))
    found = read_text(tmp_path, text, policy=ReadingOptions(time=TimeFormat.S))

    assert see(found) == [("07:15:00.25", [1.0])]
    assert (found.unusable, [cell.text for cell in found.bad[0]]) == (3, ["2026-11-21T07:20"])
    failing = read_text(tmp_path, text, policy=ReadingOptions(BadRows.FAIL, TimeFormat.S))
    assert refusal(failing)[1] == "a: column 'time' has '2026-11-21T07:20', expected seconds since 1970"


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.string()])
def test_whole_numbers_where_iso_8601_was_wanted_are_refused_with_a_hint(kind: pa.DataType, tmp_path: Path) -> None:
    times = pa.array([int(MOMENT.timestamp())]).cast(kind)
    pq.write_table(pa.table({"time": times, "device": ["pump"], "value": [1.0]}), tmp_path / "a")

    reason, message = refusal(read(tmp_path))

    assert reason is Reason.UNREADABLE_READINGS
    assert message.endswith("set the format of time (TIME_FORMAT, --time-format) to s, ms, us or ns")


def test_a_cell_of_nan_in_json_is_missing_and_infinity_is_left_out(tmp_path: Path) -> None:
    cells = ["NaN", "Infinity", "null", "7"]
    rows = [f'{{"time":"2026-11-21T07:0{i}","device":"pump","value":{cell}}}\n' for i, cell in enumerate(cells)]

    assert see(read_text(tmp_path, "".join(rows))) == [("07:03:00", [7.0])]
    rows.append('{"time":"2026-11-21T07:09","device":"pump","value":"x"}\n')
    found = read_text(tmp_path, "".join(rows))
    assert see(found) == [("07:03:00", [7.0])]
    assert (found.missing, found.unusable) == (2, 1)


def test_an_end_of_line_within_quotes_shifts_nothing_wherever_it_lies(tmp_path: Path) -> None:
    rows = "".join(f'2026-11-21T07:00:00.{i:06},"pu\nmp","x\r\n{"y" * (i % 50)}",{i}\n' for i in range(40_000))
    first = "2026-11-21T07,other,z,0\n" * 7  # so that pyarrow's blocks would end within quotes
    found = read_text(tmp_path, "time,device,note,a\n" + first + rows, "pu\nmp")

    assert [values for _, values in see(found, "pu\nmp", names=("a",))] == [[float(i)] for i in range(40_000)]


def test_what_a_child_is_sent_of_a_device_is_small_and_the_same(tmp_path: Path) -> None:
    rows = [
        f"2026-11-21T07:{i:02},{d},{s},{i}\n"
        for d in ("fan", "mill", "pump")
        for i in range(60)
        for s in ("rpm", "bar")
    ]
    found = read_text(
        tmp_path, LONG + "".join(rows) + "x,mill,volt,1\n2026-11-21T07,fan,amp,1\n", "fan", "mill", "pump"
    )

    one = pickle.loads(pickle.dumps(found.select_device("mill")))

    assert len(pickle.dumps(one)) < 6000
    assert (list(one.devices), sorted(one.sensors), one.rows, one.list_warnings()) == (
        ["mill"],
        ["bar", "rpm", "volt"],
        120,
        [],
    )
    for names in (("bar", "rpm"), ("rpm",)):
        assert see(one, "mill", names) == see(found, "mill", names)
    assert see(one, "mill/rpm") == see(found, "mill/rpm")
    assert refusal(one, "mill/volt") == refusal(found, "mill/volt")
    assert refusal(one, "mill/volt")[0] is Reason.BAD_READINGS
    assert one.frames[0].values.flags.c_contiguous
    assert one.frames[0].values.shape == (1, 120)
    assert np.array_equal(one.frames[0].starts, [0, 120])


@pytest.mark.parametrize(
    ("form", "times", "count"),
    [
        (TimeFormat.MS, [1795244400, 1795244460], 2),
        (TimeFormat.S, [1795244400000, 1795244460000], 2),
        (TimeFormat.US, [1795244400000, 1795244460000], 2),
        (TimeFormat.MS, [0, 1795244460000], 0),  # a clock that was not set
        (TimeFormat.S, [1795244400, 1795244460], 0),
    ],
)
def test_times_that_all_seem_to_count_another_unit_are_said(
    form: TimeFormat, times: list[int], count: int, tmp_path: Path
) -> None:
    text = "time,device,value\n" + "".join(f"{time},pump,1\n" for time in times)

    found = read_text(tmp_path, text, policy=replace(AS_IN_FILE, time=form))

    hint = f"read as {form} since 1970: if they count another unit, set TIME_FORMAT (--time-format) to s, ms, us or ns"
    assert [number for number, warning in found.list_warnings() if hint in warning] == [count] * bool(count)
