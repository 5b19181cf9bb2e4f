"""Columns by other names: what a message proposes to set, and that what it proposes works."""

from pathlib import Path

import pytest

from scorer.readings.column_names import suggest_columns
from shared.contract.model_names import Columns
from shared.contract.reasons import Reason
from tests.scorer.readings.seen import read_text, refusal, see

SET = "; set READINGS_COLUMNS (--columns) "


@pytest.mark.parametrize(
    ("names", "columns", "option"),
    [
        ("Time,Device,a", Columns(), "time=Time,device=Device"),
        ("timestamp,device,a", Columns(), "time=timestamp"),
        ("ts,deviceId,a", Columns(), "time=ts,device=deviceId"),
        ("Date_Time,Machine,a", Columns(), "time=Date_Time,device=Machine"),
        ("TS,Device,Tag,Value", Columns(), "time=TS,device=Device,sensor=Tag,value=Value"),
        ("t,asset,Sensor,value", Columns(), "time=t,device=asset,sensor=Sensor"),
        ("time,Meter ID,Tag,a", Columns(), "device=Meter ID"),  # wide: Tag may be a feature
        ("time,id,device_id,a", Columns(), "device=device_id"),
        ("Time,timestamp,device,a", Columns(), "time=Time"),  # the same word comes first
        ("time,Dev,a", Columns(time="Stamp", device="Dev"), "time=time,device=Dev"),
        ("__index_level_0__,device,a", Columns(), "time=__index_level_0__"),
        ("ts,deviceId,val", Columns(), "time=ts,device=deviceId,value=val"),
    ],
)
def test_a_column_that_looks_like_it_is_proposed(names: str, columns: Columns, option: str) -> None:
    assert suggest_columns(names.split(","), columns) == SET + option
    parsed = Columns.parse(option)
    assert {parsed.time, parsed.device} <= set(names.split(","))


@pytest.mark.parametrize(
    "names",
    [
        ["a", "b"],
        ["time", "device"],
        ["time;device;value"],
        [" Time", "Dev=ice", "a,b"],
        ["2026-11-21T07:00", "pump", "1"],
    ],
)
def test_nothing_is_proposed_where_nothing_looks_like_it(names: list[str]) -> None:
    assert suggest_columns(names, Columns()) == ""


def test_a_refusal_ends_with_the_option_and_the_option_helps(tmp_path: Path) -> None:
    text = "Timestamp,Device,a\n2026-11-21T07:00Z,pump,1\n"

    reason, message = refusal(read_text(tmp_path, text))

    assert reason is Reason.UNREADABLE_READINGS
    assert message == (
        "a: expected columns 'time', 'device' and 'value' or features, got 'Timestamp', 'Device', 'a'"
        f"{SET}time=Timestamp,device=Device"
    )
    option = message.rpartition(" ")[2]
    assert see(read_text(tmp_path, text, columns=Columns.parse(option)), count=1) == [("07:00:00", [1.0])]


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("stamp\tdevice\tvalue\n", "3 with tabs between them: 'stamp', 'device', 'value'"),
        ("time|pumps|value\n", "3 with vertical bars between them: 'time', 'pumps', 'value'"),
        ('"stamp";"device";"a;b"\n', "3 with semicolons between them: 'stamp', 'device', 'a;b'"),
        ("\n \nstamp\tdevice\ta, in mm\tb\nx\n", "4 with tabs between them: 'stamp', 'device', 'a, in mm', 'b'"),
        (
            "TS;Device;a\n2026-11-21T07:00Z;pump;1,5\n",
            f"3 with semicolons between them: 'TS', 'Device', 'a'{SET}time=TS,device=Device",
        ),
    ],
)
def test_another_separator_is_named_where_the_columns_are_not_found(text: str, got: str, tmp_path: Path) -> None:
    assert refusal(read_text(tmp_path, text)) == (
        Reason.UNREADABLE_READINGS,
        f"a: expected columns 'time' and 'device', got {got}",
    )


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("time,device,a;b;c;d\n2026-11-21T07:00Z,pump,1\n", Columns()),
        ("time;1,device;2,a\n2026-11-21T07:00Z,pump,1\n", Columns(time="time;1", device="device;2")),
        (",device,a;b;c\n2026-11-21T07:00Z,pump,1\n", Columns()),  # the index of pandas is the times
    ],
)
def test_a_name_may_hold_what_separates_elsewhere(text: str, columns: Columns, tmp_path: Path) -> None:
    assert see(read_text(tmp_path, text, columns=columns), count=1) == [("07:00:00", [1.0])]


def test_a_file_without_the_columns_is_not_said_to_have_another_separator(tmp_path: Path) -> None:
    message = refusal(read_text(tmp_path, "stamp,device,a;b;c;d;e\n2026-11-21T07:00Z,pump,1\n"))[1]
    assert message.startswith("a: expected columns 'time', 'device' and 'value' or features, got 'stamp', 'device'")


def test_a_name_that_differs_in_case_or_signs_is_shown_where_one_is_missing(tmp_path: Path) -> None:
    wide = read_text(tmp_path, "time,device,Temp,Motor Amps\n2026-11-21T07:00Z,pump,1,2\n")
    near = [refusal(wide, names=names)[1].partition("; ")[2] for names in (("temp",), ("motor_amps",), ("flow",))]
    rows = "".join(f"2026-11-21T07:00Z,{device},{sensor},1\n" for device, sensor in (("pump", "Temp"), ("fan", "temp")))
    long = read_text(tmp_path, f"time,device,sensor,value\n{rows}", "pump", "fan")

    lacks = "the readings have 2 (Temp, Motor Amps) and lack 1"
    assert near[0] == f"{lacks} (temp); 'Temp' is not 'temp': rename one of them"
    assert "'Motor Amps'" in near[1]
    assert near[2] == f"{lacks} (flow)"
    silent = "its device has readings, but none of the sensor"
    hint = "; 'Temp' is not 'temp': rename one of them"
    assert refusal(long, "pump/temp", count=1) == (Reason.SENSOR_SILENT, f"{silent} 'temp'{hint}")
    assert refusal(long, names=("temp",)) == (Reason.SENSOR_SILENT, f"{silent} 'temp'{hint}")
    assert refusal(long, "pump/flow", count=1) == (Reason.SENSOR_SILENT, f"{silent} 'flow'")
