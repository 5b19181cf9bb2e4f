"""Bodies of events: the features below a prefix, CSV of the form that is set, and times since 1970 in JSON and CSV."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from shared.contract.reasons import Reason
from shared.contract.scoring_options import CsvOptions, TimeFormat
from tests.scorer.readings.avro.samples import ENVELOPE, body, capture, event, read_avro, write_avro
from tests.scorer.readings.seen import AS_IN_FILE, refusal, see


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
