"""Bodies of events: the features below a prefix, CSV of the form that is set, and times since 1970 in JSON and CSV."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest

from scorer.readings import source
from scorer.storage.blob_store import Folder
from shared.contract.model_names import Columns
from shared.contract.reasons import Reason
from shared.contract.scoring_options import BadRows, CsvOptions, TimeFormat
from tests.scorer.readings.avro.samples import ENVELOPE, body, capture, event, read_avro, write_avro
from tests.scorer.readings.seen import AS_IN_FILE, FAIL, HOUR, refusal, see


@pytest.mark.parametrize("content", [b'{"time": 1795244460000.0, "device": "pump", "temp": 2}',
                                     b'{"time": "1795244460000", "device": "pump", "temp": [2]}'])  # fmt: skip
def test_numbers_since_1970_are_times_in_json_and_in_csv_beside_it(content: bytes, tmp_path: Path) -> None:
    data = capture(b"time,device,temp\n1795244400000,pump,1\n", content)

    found = read_avro(tmp_path, data, columns="step=1s", policy=replace(AS_IN_FILE, time=TimeFormat.MS))

    assert see(found, names=("temp",)) == [("07:00:00", [1.0]), ("07:01:00", [2.0])]
    assert found.unusable == 0


OF_HUB = f"time=EnqueuedTimeUtc,device={ENVELOPE}"


def send(*bodies: bytes) -> bytes:
    """A file of events of an IoT Hub's device."""
    return write_avro([event(content, system={"iothub-connection-device-id": "pump"}) for content in bodies])


@pytest.mark.parametrize(
    "content", [b'{"temp": 1, "value": 2, "motor": {"temp": 3}}', b"temp,value,motor.temp\n1,2,3\n"]
)
def test_all_fields_of_a_body_are_features_below_it(content: bytes, tmp_path: Path) -> None:
    found = read_avro(tmp_path, send(content), columns=f"{OF_HUB},features=Body.*")

    assert see(found, names=("temp", "value", "motor.temp")) == [("07:05:00", [1.0, 2.0, 3.0])]


def test_times_and_devices_of_a_body_are_none_of_the_features_below_it(tmp_path: Path) -> None:
    found = read_avro(tmp_path, capture(body(1, temp=1)), columns="features=Body.*")

    assert list(found.columns) == ["temp"]
    assert see(found, names=("temp",)) == [("07:01:00", [1.0])]


@pytest.mark.parametrize(("content", "names", "helps"), [
    (b'{"data": {"temp": 1}}', "'data.temp'", "; set READINGS_COLUMNS (--columns) features=data.*"),
    (b'\xef\xbb\xbf {"temp": 1}', "'temp'", ""),
    (b"data.temp\n1\n", "'data.temp'", ""),
])  # fmt: skip
def test_a_prefix_that_no_body_has_is_refused_with_the_names_that_there_are(
    content: bytes, names: str, helps: str, tmp_path: Path
) -> None:
    found = read_avro(tmp_path, send(content), columns=f"{OF_HUB},features=dta.*")

    assert refusal(found) == (
        Reason.UNREADABLE_READINGS,
        f"a: expected columns 'EnqueuedTimeUtc', '{ENVELOPE}' and features below 'dta', got {names}{helps}",
    )


def test_features_below_a_prefix_are_those_of_csv_too(tmp_path: Path) -> None:
    content = [b"data.temp,value\n1,9\n", b'{"data": {"temp": 2}}']
    events = [event(text, i, f"11/21/2026 7:0{i}:00 AM", system={"iothub-connection-device-id": "pump"})
              for i, text in enumerate(content)]  # fmt: skip

    found = read_avro(tmp_path, write_avro(events), columns=f"{OF_HUB},features=Body.data.*")

    assert list(found.columns) == ["temp"]
    assert see(found, names=("temp",)) == [("07:00:00", [1.0]), ("07:01:00", [2.0])]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("separator=semicolon", "time;device;temp\n{};pump;1,5\n"),
        ("separator=semicolon,decimal=comma", "time;device;temp\n{};pump;1,5\n"),
        ("separator=tab,comment=#", "# a\ntime\tdevice\ttemp\tamps\n# b\n{}\tpump\t1.5\t\n"),
        ("decimal=comma", 'time,device,temp\n{},pump,"1,5"\n'),
    ],
)
@pytest.mark.parametrize("time", ["2026-11-21T07:00:00Z", "1795244400"])
def test_csv_in_a_body_is_of_the_form_that_is_set(options: str, text: str, time: str, tmp_path: Path) -> None:
    form = TimeFormat.S if time.isdigit() else TimeFormat.ISO
    policy = replace(AS_IN_FILE, csv=CsvOptions.parse(options), time=form)
    beside = json.dumps({"time": "1795244460" if time.isdigit() else "2026-11-21T07:01:00Z", "device": "pump",
                         "temp": 2.5}).encode()  # fmt: skip

    found = read_avro(tmp_path, capture(text.format(time).encode(), beside), policy=policy)

    assert see(found, names=("temp",)) == [("07:00:00", [1.5]), ("07:01:00", [2.5])]
    assert (found.unusable, found.unreadable) == (0, [])


def test_csv_in_bodies_whose_decimals_are_in_doubt_is_refused(tmp_path: Path) -> None:
    policy = replace(AS_IN_FILE, csv=CsvOptions.parse("separator=semicolon"))
    data = capture(b"time;device;temp\n2026-11-21T07:00:00Z;pump;1,234\n")

    reason, message = refusal(read_avro(tmp_path, data, policy=policy))

    assert reason is Reason.UNREADABLE_READINGS
    assert message == (
        "a: has numbers such as '1,234', which may have decimals or thousands, expected decimals of one kind: "
        "set READINGS_CSV (--csv) decimal=comma or decimal=point"
    )


@pytest.mark.parametrize(
    ("cell", "shown"), [("1.234", "1.234 with a point"), ("a,b", "a,b"), ("1,2,3", "1,2,3"), ("?", "?")]
)
def test_a_bad_cell_of_csv_with_decimal_commas_is_named_as_it_is_written(cell: str, shown: str, tmp_path: Path) -> None:
    policy = replace(FAIL, csv=CsvOptions.parse("separator=semicolon,decimal=comma"))
    text = f"time;device;temp\n2026-11-21T07:00:00Z;pump;{cell}\n2026-11-21T07:01:00Z;pump; 1,5\n"
    beside = b'{"time": "2026-11-21T07:02:00Z", "device": "pump", "temp": 2.5}'

    found = read_avro(tmp_path, capture(text.encode(), beside), policy=policy)

    assert refusal(found, names=("temp",)) == (
        Reason.BAD_READINGS, f"a: column 'temp' has {shown!r}, expected a number"
    )  # fmt: skip
    kept = read_avro(tmp_path, capture(text.encode(), beside), policy=replace(policy, bad_rows=BadRows.SKIP))
    assert see(kept, names=("temp",)) == [("07:01:00", [1.5]), ("07:02:00", [2.5])]


def test_truth_values_of_json_and_numbers_of_csv_are_one_column(tmp_path: Path) -> None:
    first = b'{"time": "2026-11-21T07:00:00Z", "device": "pump", "on": true}'

    found = read_avro(tmp_path, capture(first, b"time,device,on\n2026-11-21T07:01:00Z,pump,0\n"))

    assert see(found, names=("on",)) == [("07:00:00", [1.0]), ("07:01:00", [0.0])]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b" \n\n"])
@pytest.mark.parametrize("beside", [body(9, temp=9), body(9, temp="x9")], ids=["by blocks", "one by one"])
def test_lines_of_json_in_a_body_are_rows_of_their_event(end: bytes, beside: bytes, tmp_path: Path) -> None:
    lines = [b"[" + body(1, None, temp=1) + b", " + body(2, None, temp=2) + b"]", body(3, None, temp=3),
             b'{"temp": }', b"hello", body(4, None, temp=4)]  # fmt: skip
    single = json.dumps({"time": "2026-11-21T07:05:00Z", "temp": 5, "tags": [{"a": 1}]}, indent=1).encode()
    bodies = [single, b"\xef\xbb\xbf" + end.join(lines) + end, beside]
    events = [event(content, i, system={"id": device}) for i, (content, device) in
              enumerate(zip(bodies, ["fan", "pump", "mill"], strict=True))]  # fmt: skip
    columns = Columns.parse("device=SystemProperties.id")
    (tmp_path / "a").write_bytes(write_avro(events))

    opened = source.open_readings(Folder(tmp_path), [""], columns, HOUR, AS_IN_FILE)
    found = opened.read_devices(["pump", "fan"])

    assert see(found, names=("temp",)) == [(f"07:0{minute}:00", [float(minute)]) for minute in range(1, 5)]
    assert see(found, "fan", names=("temp",)) == [("07:05:00", [5.0])]
    assert opened.list_warnings() == [(2, source.INVALID.format("a"))]


@pytest.mark.parametrize("temp", ["9", 9], ids=["one by one", "by blocks"])
def test_lines_of_json_in_the_body_of_a_routed_message_are_rows_of_it(temp: str | float, tmp_path: Path) -> None:
    text = body(1, None, temp=1) + b"\n" + b'{"temp": }\n' + body(2, None, temp=2) + b"\n"
    messages = [
        {"SystemProperties": {"id": device}, "Body": base64.b64encode(content).decode()}
        for device, content in (("fan", body(3, None, temp=temp)), ("pump", text))
    ]
    (tmp_path / "a").write_text("\n".join(map(json.dumps, messages)))
    columns = Columns.parse("device=SystemProperties.id")

    opened = source.open_readings(Folder(tmp_path), [""], columns, HOUR, AS_IN_FILE)
    found = opened.read_devices(["pump", "fan"])

    assert see(found, names=("temp",)) == [("07:01:00", [1.0]), ("07:02:00", [2.0])]
    assert see(found, "fan", names=("temp",)) == [("07:03:00", [9.0])]
    assert opened.list_warnings() == [(1, source.INVALID.format("a"))]
