"""A window's readings: what is read, what is refused, what each model sees of it."""

import codecs
import gzip
import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scorer.readings import features, source
from scorer.readings.device_readings import REPEATED, UNITED, Readings
from scorer.readings.features import Expected
from scorer.storage.blob_store import Folder
from shared.contract.domain import Model
from shared.contract.model_names import Columns
from shared.contract.readings.paths import list_paths
from shared.contract.reasons import Reason
from shared.contract.scoring_options import ReadingOptions
from shared.contract.windows import Window
from tests.scorer.readings.seen import AS_IN_FILE, FAIL, HOUR, read, read_text, refusal, see


def test_a_long_row_is_one_reading(tmp_path: Path) -> None:
    found = read_text(tmp_path, "time,device,sensor,value\n2026-11-21T07:00:00,pump,rpm,1.5\n")

    assert see(found, "pump/rpm") == [("07:00:00", [1.5])]


def test_without_a_sensor_column_a_device_has_one_signal(tmp_path: Path) -> None:
    found = read_text(tmp_path, "time,device,value\n2026-11-21T07:00:00,pump,1.5\n")

    assert see(found, count=1) == [("07:00:00", [1.5])]
    assert refusal(found, "pump/rpm")[0] is Reason.MISSING_FEATURES


def test_a_device_model_sees_its_sensors_side_by_side_in_the_order_of_its_names(tmp_path: Path) -> None:
    found = read_text(
        tmp_path,
        "time,device,sensor,value\n"
        "2026-11-21T07:00:00,pump,rpm,1\n2026-11-21T07:00:00,pump,bar,2\n"
        "2026-11-21T07:01:00,pump,rpm,3\n"  # no bar at this time
        "2026-11-21T07:02:00,pump,bar,5\n2026-11-21T07:02:00,pump,rpm,4\n",
    )

    assert see(found, names=("bar", "rpm")) == [("07:00:00", [2, 1]), ("07:02:00", [5, 4])]
    assert see(found, names=("rpm", "bar")) == [("07:00:00", [1, 2]), ("07:02:00", [4, 5])]
    assert see(found, names=("rpm",)) == [("07:00:00", [1]), ("07:01:00", [3]), ("07:02:00", [4])]
    assert refusal(found, count=1) == (
        Reason.WRONG_FEATURES,
        "expected 1 feature; the readings have 2 (bar, rpm)",
    )
    assert refusal(found, names=("rpm", "volt")) == (
        Reason.SENSOR_SILENT,
        "its device has readings, but none of the sensor 'volt'",
    )


def test_a_model_of_several_features_without_names_is_refused_for_long_rows_whatever_the_order_of_files_is(
    tmp_path: Path,
) -> None:
    rows = "2026-11-21T07:00,pump,rpm,1\n2026-11-21T07:00,pump,bar,2\n"
    found = read_text(tmp_path, f"time,device,sensor,value\n{rows}")

    for count in (2, 3, None):
        assert refusal(found, count=count) == (Reason.WRONG_FEATURES, features.NO_ORDER)


def test_a_wide_row_has_its_features_in_the_files_order(tmp_path: Path) -> None:
    found = read_text(tmp_path, "device,rpm,time,bar\npump,1,2026-11-21T07:00:00,2\n")

    assert see(found, count=2) == [("07:00:00", [1, 2])]
    assert see(found, names=("bar", "rpm")) == [("07:00:00", [2, 1])]
    assert see(found, "pump/bar", names=("anything",), count=1) == [("07:00:00", [2])]
    assert refusal(found, "pump/volt", count=1)[0] is Reason.MISSING_FEATURES


def test_a_wide_row_that_lacks_a_feature_is_left_out_of_the_models_that_want_it(tmp_path: Path) -> None:
    found = read_text(
        tmp_path, "time,device,a,b\n2026-11-21T07:00,pump,1,\n2026-11-21T07:01,pump,2,3\n2026-11-21T07:02,pump,inf,4\n"
    )

    assert see(found, names=("a", "b")) == [("07:01:00", [2, 3])]
    assert see(found, names=("b",)) == [("07:01:00", [3]), ("07:02:00", [4])]


def test_the_original_samples_columns_are_read_by_settings(tmp_path: Path) -> None:
    found = read_text(
        tmp_path,
        "TS,Device,Tag,Value\n2026-11-21 07:00:05.000,1,4,84.53\n",
        "1",
        columns=Columns("TS", "Device", "Tag", "Value"),
    )

    assert see(found, "1/4") == [("07:00:05", [84.53])]


@pytest.mark.parametrize(
    "device", ["NA", "007", "1", "null", "nan", "a#b", "50%", "ünïcode", "1e5", "2026-11-21", "x y"]
)
@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_an_id_is_text_and_stays_what_it_is(device: str, form: str, tmp_path: Path) -> None:
    rows = pd.DataFrame({"time": ["2026-11-21T07:00:00"], "device": [device], "sensor": [device], "value": [1.0]})
    match form:
        case "csv":
            rows.to_csv(tmp_path / "a.csv", index=False)
        case "json":
            rows.to_json(tmp_path / "a.json", orient="records", lines=True)
        case "parquet":
            rows.to_parquet(tmp_path / "a.parquet")

    found = read(tmp_path, device, "7", "1.0", "100000.0")

    assert see(found, f"{device}/{device}") == [("07:00:00", [1.0])]
    assert refusal(found, "7/7")[0] is Reason.NO_READINGS


def test_ids_that_were_written_as_numbers_are_read_as_their_digits(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"time": "2026-11-21T07:00:00Z", "device": 7, "sensor": 4, "value": 1}\n')
    times = pa.array([datetime(2026, 11, 21, 7, 1)], pa.timestamp("ms"))  # noqa: DTZ001  # naive on purpose
    table = {"time": times, "device": pa.array([7]), "sensor": pa.array(["4"]).dictionary_encode(), "value": [2.0]}
    pq.write_table(pa.table(table), tmp_path / "b.parquet")

    assert see(read(tmp_path, "7"), "7/4") == [("07:00:00", [1.0]), ("07:01:00", [2.0])]


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-21T07:00:00", "07:00:00"),
        ("2026-11-21 07:00:00.5", "07:00:00.5"),
        ("2026-11-21T07:00:00.1234567Z", "07:00:00.123456"),  # as .NET writes it
        ("2026-11-21T08:30:00+01:00", "07:30:00"),
        ("2026-11-21T02:00:00.25-0530", "07:30:00.25"),
        ("2026-11-21T07:01", "07:01:00"),
        ("2026-11-21T07Z", "07:00:00"),
    ],
)
def test_a_time_without_an_offset_is_utc_and_offsets_are_understood(text: str, utc: str, tmp_path: Path) -> None:
    found = read_text(tmp_path, f"time,device,value\n{text},pump,1\n2026-11-21T07:59:59.999999,pump,2\n")

    assert see(found) == [(utc, [1.0]), ("07:59:59.999999", [2.0])]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_a_parquet_timestamp_of_any_unit_and_zone_is_the_same_instant(
    unit: str, zone: str | None, tmp_path: Path
) -> None:
    instants = pd.to_datetime(["2026-11-21T07:00:00", "2026-11-21T07:30:00"], utc=True)
    times = pa.array(
        instants.tz_localize(None) if zone is None else instants.tz_convert(zone), pa.timestamp(unit, zone)
    )
    pq.write_table(pa.table({"time": times, "device": ["pump", "pump"], "value": [1, 2]}), tmp_path / "a.parquet")

    assert see(read(tmp_path)) == [("07:00:00", [1.0]), ("07:30:00", [2.0])]


def test_rows_outside_the_window_are_passed_over(tmp_path: Path) -> None:
    text = "time,device,value\n2026-11-21T06:59:59.999999,pump,1\n2026-11-21T07:00:00,pump,2\n"
    found = read_text(tmp_path, text + "2026-11-21T07:59:59.999999,pump,3\n2026-11-21T08:00:00,pump,4\n")

    assert [values for _, values in see(found)] == [[2.0], [3.0]]


def test_rows_are_sorted_and_of_repeated_ones_the_last_counts(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "time,device,sensor,value\n2026-11-21T07:02,pump,rpm,1\n2026-11-21T07:01,pump,rpm,2\n"
        "2026-11-21T07:01:00.000,pump,rpm,3\n2026-11-21T07:01,pump,bar,4\n"
    )
    (tmp_path / "b.csv").write_text("time,device,sensor,value\n2026-11-21T08:02+01:00,pump,rpm,5\n")
    found = read(tmp_path)

    assert see(found, "pump/rpm") == [("07:01:00", [3.0]), ("07:02:00", [5.0])]
    assert found.repeated == 2


def test_a_reading_without_a_usable_value_is_left_out_and_counted(tmp_path: Path) -> None:
    values = ["", "NaN", "nan", "null", "NA", "inf", "-Infinity", "7"]
    rows = "".join(f"2026-11-21T07:0{i},pump,{v}\n" for i, v in enumerate(values))
    found = read_text(tmp_path, "time,device,value\n" + rows)

    assert see(found) == [("07:07:00", [7.0])]
    assert (found.missing, count_left_out(found)) == (5, 2)  # infinity is a value, which no model takes


def count_left_out(found: Readings) -> int:
    model = Model("pump", "", "pump.skops", "etag")
    rows = features.find_frame_rows(found, model)
    return features.build_model_readings(found, model, rows, Expected((), 1)).left_out


def test_a_device_without_readings_says_so(tmp_path: Path) -> None:
    found = read_text(tmp_path, "time,device,value\n2026-11-21T07:00,pump,NaN\n2026-11-21T06:00,fan,1\n", "pump", "fan")

    assert refusal(found, "pump") == (Reason.NO_READINGS, "the window has no readings of it")
    assert refusal(found, "fan") == (Reason.NO_READINGS, "the window has no readings of it")


def test_a_cell_that_is_no_number_fails_only_its_own_device_and_sensor_where_bad_rows_fail(tmp_path: Path) -> None:
    found = read_text(
        tmp_path,
        "time,device,sensor,value\n2026-11-21T07:00,pump,rpm,ERR\n2026-11-21T07:00,pump,bar,1\n"
        '2026-11-21T07:00,fan,rpm,2\n2026-11-21T07:00,mill,rpm,"3,5"\n2026-11-21T07:00,saw,rpm,1_000\n',
        "pump", "fan", "mill", "saw", policy=FAIL,
    )  # fmt: skip

    assert see(found, "fan/rpm") == [("07:00:00", [2.0])]
    assert see(found, "pump/bar") == [("07:00:00", [1.0])]
    assert refusal(found, "pump/rpm") == (Reason.BAD_READINGS, "a: column 'value' has 'ERR', expected a number")
    assert refusal(found, "pump")[0] is Reason.BAD_READINGS
    assert refusal(found, "mill/rpm") == (Reason.BAD_READINGS, "a: column 'value' has '3,5', expected a number")
    assert refusal(found, "saw/rpm")[0] is Reason.BAD_READINGS


@pytest.mark.parametrize("policy", [AS_IN_FILE, FAIL])
def test_a_wide_cell_that_is_no_number_spoils_only_the_models_that_want_its_column(
    policy: ReadingOptions, tmp_path: Path
) -> None:
    found = read_text(
        tmp_path,
        "time,device,a,b\n2026-11-21T07:00,pump,1,x\n2026-11-21T07:00,fan,1,2\n",
        "pump", "fan", policy=policy,
    )  # fmt: skip

    assert see(found, "fan", count=2) == [("07:00:00", [1.0, 2.0])]
    assert see(found, "pump", names=("a",)) == [("07:00:00", [1.0])]
    assert refusal(found, "pump", count=2) == (Reason.BAD_READINGS, "a: column 'b' has 'x', expected a number")
    assert refusal(found, "pump/b", count=1)[0] is Reason.BAD_READINGS


@pytest.mark.parametrize("policy", [AS_IN_FILE, FAIL])
def test_a_time_that_is_none_spoils_only_its_own_device(policy: ReadingOptions, tmp_path: Path) -> None:
    text = "time,device,value\nyesterday,pump,1\n2026-11-21T07:00,fan,2\n"
    found = read_text(tmp_path, text, "pump", "fan", policy=policy)

    assert see(found, "fan") == [("07:00:00", [2.0])]
    assert refusal(found, "pump") == (
        Reason.BAD_READINGS,
        "a: column 'time' has 'yesterday', expected an ISO 8601 time",
    )


GOOD = "time,device,value\n2026-11-21T07:00,pump,1\n2026-11-21T07:01,pump,2\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("time,device,value\n2026-11-21T07:00,pump,1,\n2026-11-21T07:01,pump,2,\n", "Expected 3 columns, got 4"),
        ("time,device,value\n2026-11-21T07:00,pump,3,14\n", "Expected 3 columns, got 4"),
        ("time,device,value\n2026-11-21T07:00,pump,1\n2026-11-21T07:0\n", "Expected 3 columns, got 1"),
        ("2026-11-21T07:00,pump,1\n2026-11-21T07:01,pump,2\n", "expected columns 'time', 'device' and 'value'"),
        ("time;dev;value\n2026-11-21T07:00;pump;1\n", "got 3 with semicolons between them: 'time', 'dev', 'value'"),
        (GOOD.replace("pump", "pu\0mp"), "NUL bytes"),
        (GOOD.encode("utf-16-le"), "NUL bytes"),  # no mark tells it
        (b"Obj\x01\x04\x16avro.schema", "ends within its header, at byte 17"),
        (b'[{"time": 1}]', "expected columns 'time', 'device'"),
        (b"[1]", "JSON parse error in line 1: expected an object"),
        (b"[{}, 1]", "expected an array of objects"),
        ('{"time":"2026-11-21T07:00","device":"pump","value":1,"value":2}\n', "is repeated"),
        ('{"time":"2026-11-21T07:00","device":"pump","value":1,"value":"x"}\n', "is repeated"),
        ("time,device,value\n1795244400,pump,1\n", "s, ms, us or ns"),
        ('{"time":1795244400,"device":"pump","value":1}\n', "s, ms, us or ns"),
        (GOOD.replace("pump", "p\xfcmp").encode("latin-1"), "invalid UTF8"),
        ("<!DOCTYPE html>\n<html><body>Sign in</body></html>\n", "is HTML"),
        ("time,device,value,value\n2026-11-21T07:00,pump,1,2\n", "has the column 'value' more than once"),
        (gzip.compress(GOOD.encode())[:-9], "truncated or corrupt gzip"),
        (b"PAR1 and no more", "Parquet"),
        ('{"time": "2026\n{"time": "2026-11-21T07:00", "device": "pump", "value": 1}\n', "JSON parse error"),
        ('{"device": "pump", "value": 1}\n', "expected columns 'time'"),
        ('"ti\nme",time,device,value\n1,2026-11-21T07:00,pump,1\n', "has a header that can be read in two ways"),
        ("time,device\n2026-11-21T07:00,pump\n", "and 'value' or features, got 'time', 'device'"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) or "\n" in value else value,
)  # fmt: skip
def test_a_file_that_cannot_be_trusted_fails_the_models_that_could_need_it(
    text: str | bytes, says: str, tmp_path: Path
) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    found = read_text(tmp_path, text)

    reason, message = refusal(found)

    assert reason is Reason.UNREADABLE_READINGS
    assert message.startswith("a: ")
    assert says in message


@pytest.mark.parametrize(
    "text",
    [
        GOOD.encode(),
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace("\n", "\r\n").encode(),
        gzip.compress(b"\xef\xbb\xbf" + GOOD.encode(), mtime=0),
        gzip.compress(GOOD[:40].encode(), mtime=0) + gzip.compress(GOOD[40:].encode(), mtime=0),
        GOOD.encode("utf-16"),
        codecs.BOM_UTF16_BE + GOOD.encode("utf-16-be"),
        GOOD.encode("utf-32"),
        GOOD.replace("time,device,value", "time,device,value").replace("pump,1", '"pump","1"').encode(),
        b'{"time":"2026-11-21T07:00Z","device":"pump","value":1}\n{"device":"pump","value":"2","time":"2026-11-21T07:01Z"}',
        GOOD.strip().encode(),
        GOOD.replace("\n", "\n\n").encode(),
        b"\r\n\n" + GOOD.encode(),
        GOOD.replace("pump", '"pump"').encode(),
        b'{"time":"2026-11-21T07:00Z","device":"pump","value":1}\n{"time":"2026-11-21T07:01Z","device":"pump","value":2}',
    ],
)
def test_a_file_that_only_looks_odd_is_read(text: bytes, tmp_path: Path) -> None:
    assert see(read_text(tmp_path, text)) == [("07:00:00", [1.0]), ("07:01:00", [2.0])]


@pytest.mark.parametrize("text", [b"", b"\n", b"time,device,value\n", b"time,device,value"])
def test_a_file_without_rows_has_no_readings(text: bytes, tmp_path: Path) -> None:
    assert refusal(read_text(tmp_path, text))[0] is Reason.NO_READINGS


def test_a_flipped_bit_in_parquet_is_noticed_where_pages_carry_checksums(tmp_path: Path) -> None:
    table = pa.table({"time": ["2026-11-21T07:00"] * 99, "device": ["pump"] * 99, "value": np.arange(99.0)})
    pq.write_table(table, tmp_path / "a", write_page_checksum=True, compression="none", use_dictionary=False)
    data = bytearray((tmp_path / "a").read_bytes())
    data[data.index(np.float64(50).tobytes()) + 7] ^= 1

    assert refusal(read_text(tmp_path, bytes(data)))[0] is Reason.UNREADABLE_READINGS


def test_hidden_files_and_marks_of_other_writers_are_no_readings(tmp_path: Path) -> None:
    (tmp_path / "_SUCCESS").write_text("x")
    (tmp_path / ".part.crc").write_text("x")
    (tmp_path / "_temporary").mkdir()
    (tmp_path / "_temporary" / "0.json").write_text("{}")

    assert see(read_text(tmp_path, GOOD)) == [("07:00:00", [1.0]), ("07:01:00", [2.0])]


@pytest.mark.parametrize(
    ("pattern", "window", "expected"),
    [
        ("date=%Y-%m-%d/hour=%H/", "20261121T2300Z-PT1H", ["date=2026-11-21/hour=23/", "date=2026-11-22/hour=00/"]),
        ("date=%Y-%m-%d/hour=%H/", "20261121T0715Z-PT15M", ["date=2026-11-21/hour=07/", "date=2026-11-21/hour=08/"]),
        ("%Y/%m/%d/", "20261121T0700Z-PT1H", ["2026/11/21/", "2026/11/22/"]),
        ("%Y/%m/%d/", "20261121T0000Z-P2D", ["2026/11/21/", "2026/11/22/", "2026/11/23/"]),
        ("%Y-%m.csv", "20261231T0700Z-PT1H", ["2026-12.csv", "2027-01.csv"]),
        ("%H%M.csv", "20261121T0758Z-PT1M", ["0758.csv", "0759.csv"]),
        ("all.csv", "20261121T0700Z-PT1H", ["all.csv"]),
        ("", "20261121T0700Z-PT1H", [""]),
    ],
)
def test_a_window_reads_the_folders_that_it_touches_and_the_next_one(
    pattern: str, window: str, expected: list[str]
) -> None:
    assert list_paths(pattern, Window.parse(window)) == expected


def test_a_reading_that_arrived_late_is_found_in_the_next_folder(tmp_path: Path) -> None:
    for hour in ("07", "08", "09"):
        folder = tmp_path / "date=2026-11-21" / f"hour={hour}"
        folder.mkdir(parents=True)
        (folder / "a.csv").write_text(f"time,device,value\n2026-11-21T07:59:{hour},pump,{int(hour)}\n")

    where = list_paths("date=%Y-%m-%d/hour=%H/", HOUR)
    found = source.read_readings(Folder(tmp_path), where, Columns(), ["pump"], HOUR)

    assert see(found) == [("07:59:07", [7.0]), ("07:59:08", [8.0])]


def test_a_file_that_is_named_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "_a").write_text(GOOD)

    assert len(see(source.read_readings(Folder(tmp_path), ["_a"], Columns(), ["pump"], HOUR))) == 2


def test_files_of_different_columns_are_each_read_by_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time,device,rpm,bar\n2026-11-21T07:01,pump,4,5\n")
    (tmp_path / "b.csv").write_text("time,device,volt\n2026-11-21T07:00,fan,3\n")
    (tmp_path / "c.csv").write_text("time,device,bar,rpm\n2026-11-21T07:00,pump,2,1\n")
    found = read(tmp_path, "pump", "fan")

    assert see(found, "pump", names=("rpm", "bar")) == [("07:00:00", [1, 2]), ("07:01:00", [4, 5])]
    assert see(found, "fan", count=1) == [("07:00:00", [3])]


A_B = "time,device,a,b\n2026-11-21T07:00,pump,1,2\n2026-11-21T07:01,pump,3,4\n"


@pytest.mark.parametrize(
    ("later", "seen"),
    [
        ("time,device,b,a\n2026-11-21T07:00,pump,20,10\n", [10, 20]),
        ("time,c,device,b,a\n2026-11-21T07:00,0,pump,20,10\n", [10, 20]),
        ("time,device,sensor,value\n2026-11-21T07:00,pump,a,10\n2026-11-21T07:00,pump,b,20\n", [10, 20]),
    ],
)
def test_an_instant_in_files_of_different_columns_is_seen_once_as_the_later_file_has_it(
    later: str, seen: list[float], tmp_path: Path
) -> None:
    (tmp_path / "a").write_text(A_B)
    (tmp_path / "b").write_text(later)
    found = read(tmp_path)
    (tmp_path / "c").write_text(A_B)
    again = read(tmp_path)

    assert see(found, names=("a", "b")) == [("07:00:00", seen), ("07:01:00", [3, 4])]
    assert see(again, names=("a", "b")) == [("07:00:00", [1, 2]), ("07:01:00", [3, 4])]
    for one, repeated in ((found, 1), (again, 3)):
        model = Model("pump", "", "pump.skops", "etag")
        signal = features.build_model_readings(
            one, model, features.find_frame_rows(one, model), Expected(("a", "b"), None)
        )
        assert (signal.left_out, one.repeated + signal.repeated) == (0, repeated)


def test_a_sensors_instant_in_long_and_in_wide_files_is_seen_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("time,device,sensor,value\n2026-11-21T07:01,pump,a,5\n2026-11-21T07:02,pump,a,6\n")
    (tmp_path / "b").write_text(A_B)

    assert see(read(tmp_path), "pump/a", count=1) == [("07:00:00", [1]), ("07:01:00", [3]), ("07:02:00", [6])]


def test_a_later_reading_of_a_sensor_that_nobody_wants_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(A_B)
    rows = ["07:00,pump,c,7", "07:02,pump,a,5", "07:02,pump,b,6"]
    (tmp_path / "b").write_text("time,device,sensor,value\n" + "".join(f"2026-11-21T{row}\n" for row in rows))

    assert see(read(tmp_path), names=("a", "b")) == [("07:00:00", [1, 2]), ("07:01:00", [3, 4]), ("07:02:00", [5, 6])]


@pytest.mark.parametrize(
    "header", ["time,device,b,a", "time,device,a,c", "time,device,sensor,b,a"], ids=["order", "names", "sensor"]
)
def test_a_model_without_feature_names_refuses_files_of_different_columns(header: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text(A_B)
    cells = {"time": "2026-11-21T07:05", "device": "pump"}
    (tmp_path / "b").write_text(f"{header}\n{','.join(cells.get(name, '1') for name in header.split(','))}\n")
    second = ", ".join(header.split(",")[-2:])

    for count in (2, None):
        assert refusal(read(tmp_path), count=count) == (
            Reason.WRONG_FEATURES,
            (
                "has no feature names, so expected files with the same columns in the same order; "
                f"the readings have 2 (a, b) and 2 ({second})"
            ),
        )


def test_a_model_without_feature_names_refuses_long_files_beside_wide_ones_of_another_order(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("time,device,b,a\n2026-11-21T07:00,pump,2,1\n")
    (tmp_path / "b").write_text("time,device,sensor,value\n2026-11-21T07:01,pump,a,1\n2026-11-21T07:01,pump,b,2\n")

    assert refusal(read(tmp_path), count=2)[0] is Reason.WRONG_FEATURES


def test_a_device_model_refuses_wide_rows_of_several_sensors_whatever_their_times(tmp_path: Path) -> None:
    rows = "2026-11-21T07:00,pump,s,1,2\n2026-11-21T07:00,pump,t,3,4\n2026-11-21T07:01,fan,s,5,6\n"
    rows += "2026-11-21T07:02,fan,,7,8\n2026-11-21T07:02,mill,s,7,8\n2026-11-21T07:03,saw,,9,9\n"
    found = read_text(tmp_path, "time,device,sensor,a,b\n" + rows, "pump", "fan", "mill", "saw")

    message = (
        "expected rows of one sensor, got those of 2 (s, {}): a model of one of them is named DEVICE/SENSOR; if the "
        "column names no sensor, set READINGS_COLUMNS (--columns) sensor=NAME"
    )
    assert refusal(found, names=("b", "a")) == (Reason.WRONG_FEATURES, message.format("t"))
    assert refusal(found, "fan", names=("b", "a"))[1] == message.format("none").replace("2 (s, none)", "2 (none, s)")
    assert see(found, "pump/t", names=("b", "a")) == [("07:00:00", [4, 3])]
    assert see(found, "mill", names=("b", "a")) == [("07:02:00", [8, 7])]
    assert see(found, "saw", names=("b", "a")) == [("07:03:00", [9, 9])]


def test_all_there_is_is_read_where_no_window_is_given(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time,device,value\n1999-01-01T00:00,pump,1\n2026-11-21T07:00,pump,2\n")
    found = read(tmp_path, window=None)

    assert len(see(found)) == 2


@pytest.mark.parametrize("n_files", [1, 8])
def test_rows_of_one_time_are_one_row_whose_columns_have_their_last_values(n_files: int, tmp_path: Path) -> None:
    cells = [(0, {"temp": 1}), (1, {"temp": 3, "amps": 4}), (0, {"amps": 2}), (2, {"temp": 7, "amps": 8}),
             (1, {"temp": 5}), (0, {"amps": 2, "load": None}), (2, {"load": 9}), (3, {"load": 1})]  # fmt: skip
    lines = [json.dumps({"time": f"2026-11-21T07:0{i}:00Z", "device": "pump", **row}) for i, row in cells]
    for number in range(n_files):
        (tmp_path / f"{number}.json").write_text("\n".join(lines[number::n_files]) + "\n")

    readings = read(tmp_path)

    assert see(readings, names=("temp", "amps")) == [("07:00:00", [1, 2]), ("07:01:00", [5, 4]), ("07:02:00", [7, 8])]
    assert see(readings, names=("load",)) == [("07:02:00", [9]), ("07:03:00", [1])]
    assert readings.list_warnings() == [(2, REPEATED), (2, UNITED)]


def test_rows_of_one_time_and_several_sensors_are_not_united(tmp_path: Path) -> None:
    found = read_text(tmp_path, "time,device,sensor,a,b\n2026-11-21T07:00,pump,s,1,\n2026-11-21T07:00,pump,t,,4\n")

    assert see(found, "pump/s", names=("a",)) == [("07:00:00", [1])]
    assert refusal(found, "pump/s", names=("a", "b"))[0] is Reason.SENSOR_SILENT
    assert (found.repeated, found.united) == (0, 0)
