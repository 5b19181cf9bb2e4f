"""Events of Event Hubs Capture and of IoT Hub: bodies are rows, and properties columns where they are asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scorer.readings import source
from scorer.storage.blob_store import Folder
from shared.contract.model_names import Columns
from shared.contract.reasons import Reason
from tests.scorer.readings.avro.samples import CAPTURE, ENVELOPE, ROUTED, body, capture, event, read_avro, write_avro
from tests.scorer.readings.seen import AS_IN_FILE, HOUR, read, refusal, see


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
def test_bodies_of_json_are_rows(codec: str, tmp_path: Path) -> None:
    found = read_avro(tmp_path, capture(body(1, temp=20.5), body(2, temp=21), codec=codec))

    assert see(found, names=("temp",)) == [("07:01:00", [20.5]), ("07:02:00", [21.0])]


def test_an_array_in_a_body_has_several_rows(tmp_path: Path) -> None:
    rows = [json.loads(body(minute, temp=minute)) for minute in (1, 2)]

    found = read_avro(tmp_path, capture(body(0, temp=0), json.dumps(rows).encode(), body(3, temp=3)))

    assert see(found, names=("temp",)) == [(f"07:0{minute}:00", [float(minute)]) for minute in range(4)]


def test_csv_in_a_body_has_its_own_header(tmp_path: Path) -> None:
    first = b"time,device,temp\n2026-11-21T07:01:00Z,pump,1\n2026-11-21T07:02:00Z,pump,2.5\n"
    second = b'device,time,temp,note\r\npump,2026-11-21T07:03:00Z,3,"a,b"\r\n'

    found = read_avro(tmp_path, capture(first, second, body(4, temp=4)))

    assert see(found, names=("temp",)) == [
        ("07:01:00", [1.0]), ("07:02:00", [2.5]), ("07:03:00", [3.0]), ("07:04:00", [4.0]),
    ]  # fmt: skip


def test_rows_of_csv_without_a_header_are_refused_with_what_helps(tmp_path: Path) -> None:
    found = read_avro(tmp_path, capture(b"2026-11-21T07:01:00Z,pump,1\n"))

    reason, message = refusal(found)
    assert reason is Reason.UNREADABLE_READINGS
    assert message == (
        "a: has events whose Body is rows without a header, such as '2026-11-21T07:01:00Z,pump,1': expected JSON, or "
        "CSV whose first line has the names of the columns, in each Body; let the devices send one of these"
    )


def test_the_device_is_a_system_property_and_the_time_that_of_the_hub_where_they_are_asked_for(tmp_path: Path) -> None:
    system = {"iothub-connection-device-id": "pump", "iothub-message-source": "Telemetry"}
    events = [
        event(b'{"temp": 1}', 0, "11/21/2026 7:00:59 AM", system=system),
        event(b'[{"temp": 2}]', 1, "11/21/2026 7:01:00 AM", system={**system, "iothub-connection-device-id": "fan"}),
        event(b'{"temp": 3}', 2, "11/21/2026 7:59:59 AM", system=system),
        event(b'{"temp": 4}', 3, "11/21/2026 7:59:59 PM", system=system),
        event(b'{"temp": 5}', 4, "11/21/2026 12:30:00 AM", system=system),
    ]

    found = read_avro(tmp_path, write_avro(events), "pump", "fan", columns=f"time=EnqueuedTimeUtc,device={ENVELOPE}")

    assert see(found, names=("temp",)) == [("07:00:59", [1.0]), ("07:59:59", [3.0])]
    assert see(found, "fan", names=("temp",)) == [("07:01:00", [2.0])]
    assert found.outside == 2


def test_the_enqueued_time_has_milliseconds_as_a_system_property(tmp_path: Path) -> None:
    columns = "time=SystemProperties.x-opt-enqueued-time"

    found = read_avro(tmp_path, capture(body(1, temp=1)), columns=columns)

    assert see(found, names=("temp",)) == [("07:05:00.123", [1.0])]


def test_the_time_is_that_of_the_body_unless_another_is_asked_for(tmp_path: Path) -> None:
    found = read_avro(tmp_path, write_avro([event(body(1, temp=1), enqueued="11/21/2026 9:00:00 AM")]))

    assert see(found, names=("temp",)) == [("07:01:00", [1.0])]


def test_fields_and_properties_are_features_of_models_that_name_them(tmp_path: Path) -> None:
    events = [
        event(body(minute, temp=minute), 7 + minute, properties={"load": load, "site": "north"})
        for minute, load in enumerate([5, 0.5, "2", b"3", "x"])
    ]
    names = ("temp", "Properties.load", "SequenceNumber", "Body.temp")
    (tmp_path / "a").write_bytes(write_avro(events))

    opened = source.open_readings(Folder(tmp_path), [""], Columns(), HOUR, AS_IN_FILE)
    found = opened.read_devices(["pump"], source.Projection(frozenset(names)))

    assert see(found, names=names) == [
        ("07:00:00", [0.0, 5.0, 7.0, 0.0]),
        ("07:01:00", [1.0, 0.5, 8.0, 1.0]),
        ("07:02:00", [2.0, 2.0, 9.0, 2.0]),
        ("07:03:00", [3.0, 3.0, 10.0, 3.0]),
    ]
    assert found.unusable == 1


def test_a_field_of_the_body_may_have_the_prefix_body(tmp_path: Path) -> None:
    content = [
        json.dumps({"data": {"at": f"2026-11-21T07:0{i}:00Z"}, "who": "pump", "temp": i}).encode() for i in (1, 2)
    ]

    found = read_avro(tmp_path, capture(*content), columns="time=Body.data.at,device=Body.who")

    assert see(found, names=("temp",)) == [("07:01:00", [1.0]), ("07:02:00", [2.0])]


def test_a_name_of_the_event_in_a_body_is_a_feature_and_no_role(tmp_path: Path) -> None:
    events = [event(body(1, temp=1, Offset=-3, EnqueuedTimeUtc="no time"), enqueued="11/21/2026 7:09:00 AM")]

    found = read_avro(tmp_path, write_avro(events), columns="time=EnqueuedTimeUtc")

    assert see(found, names=("temp", "Offset")) == [("07:09:00", [1.0, -3.0])]


def test_events_without_a_usable_body_are_counted(tmp_path: Path) -> None:
    bodies = [
        body(1, temp=1),
        None,
        b"",
        b"  ",
        b"\x0a\x04\xff\xfe",
        b"hello",
        b'{"temp": ',
        b"[1, 2]",
        b"\0",
        body(2, temp=2),
    ]
    (tmp_path / "a").write_bytes(capture(*bodies))

    opened = source.open_readings(Folder(tmp_path), [""], Columns(), HOUR, AS_IN_FILE)
    for _ in range(2):  # a second pass counts nothing twice
        found = opened.read_devices(["pump"])

    assert see(found, names=("temp",)) == [("07:01:00", [1.0]), ("07:02:00", [2.0])]
    assert opened.list_warnings() == [(5, source.INVALID.format("a")), (3, source.EMPTY)]


@pytest.mark.parametrize("data", [capture(), write_avro([], ROUTED), capture(None, b"")])
def test_an_archive_without_rows_is_no_problem(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(capture(body(1, temp=1)))

    found = read_avro(tmp_path, data)

    assert see(found, names=("temp",)) == [("07:01:00", [1.0])]
    assert found.unreadable == []
    of_the_hub = read_avro(tmp_path, data, columns=f"time=EnqueuedTimeUtc,device={ENVELOPE}")
    assert [problem[0] for problem in of_the_hub.unreadable] == ["b"]


def test_the_columns_of_bodies_may_change_within_the_hour(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(capture(body(3, temp=3, flow=30), body(4, flow=40, temp="4")))

    found = read_avro(tmp_path, capture(body(1, temp=1, amps=10), body(2, temp=2)))

    assert see(found, names=("temp",)) == [(f"07:0{i}:00", [float(i)]) for i in range(1, 5)]
    assert see(found, names=("temp", "flow")) == [("07:03:00", [3.0, 30.0]), ("07:04:00", [4.0, 40.0])]


def test_messages_that_iot_hub_routed_are_read_too(tmp_path: Path) -> None:
    messages = [
        {
            "EnqueuedTimeUtc": f"2026-11-21T07:0{minute}:00.1230000Z",
            "Properties": {"load": str(minute)},
            "SystemProperties": {"connectionDeviceId": "pump"},
            "Body": json.dumps({"temp": minute}).encode(),
        }
        for minute in (1, 2)
    ]
    columns = "time=EnqueuedTimeUtc,device=SystemProperties.connectionDeviceId"

    found = read_avro(tmp_path, write_avro(messages, ROUTED, "deflate"), columns=columns)

    assert see(found, names=("temp",)) == [("07:01:00.123", [1.0]), ("07:02:00.123", [2.0])]


def test_a_missing_device_says_what_to_set(tmp_path: Path) -> None:
    expected = "a: expected columns 'time', 'device' and 'value' or features, got "
    bodies = [b'{"time": "2026-11-21T07:00:00Z", "deviceId": "pump", "temp": 1}', b'{"temp": 1}']
    routed = event(bodies[1], system={"iothub-connection-device-id": "pump"})

    answers = [refusal(read_avro(tmp_path, data)) for data in (capture(bodies[0]), write_avro([routed]))]

    assert {reason for reason, _ in answers} == {Reason.UNREADABLE_READINGS}
    assert [message.removeprefix(expected) for _, message in answers] == [
        ("'time', 'deviceId', 'temp', and beside the Body of its events 'EnqueuedTimeUtc', 'Offset', 'SequenceNumber', "
         "'SystemProperties.x-opt-enqueued-time'; set READINGS_COLUMNS (--columns) device=deviceId"),
        ("'temp', and beside the Body of its events 'EnqueuedTimeUtc', 'Offset', 'SequenceNumber', "
         "'SystemProperties.iothub-connection-device-id', 'SystemProperties.x-opt-enqueued-time'; set READINGS_COLUMNS "
         "(--columns) time=EnqueuedTimeUtc,device=SystemProperties.iothub-connection-device-id"),
    ]  # fmt: skip


def test_a_folder_names_the_device_of_events(tmp_path: Path) -> None:
    folder = tmp_path / "device=pump"
    folder.mkdir()
    (folder / "a.avro").write_bytes(capture(body(1, None, temp=1)))

    assert see(read(tmp_path), names=("temp",)) == [("07:01:00", [1.0])]


@pytest.mark.parametrize(
    "text",
    [
        '{"time": "2026-11-21T07:01:00Z", "device": "pump", "note": "&11/21/2026 7:05:00 AM", "temp": 1}',
        '{"time": "2026-11-21T07:01:00Z", "device": "pump", "note": "a/b/c //// 1/1/2026", "temp": 1}',
    ],
)
def test_a_text_that_looks_like_an_event_is_none(text: str, tmp_path: Path) -> None:
    bodies = [text.encode(), *(body(minute, temp=minute) for minute in (2, 3)), text.replace(":01:", ":04:").encode()]

    found = read_avro(tmp_path, capture(*bodies, interval=1))

    assert see(found, names=("temp",)) == [
        ("07:01:00", [1.0]), ("07:02:00", [2.0]), ("07:03:00", [3.0]), ("07:04:00", [1.0]),
    ]  # fmt: skip


def test_all_kinds_of_maps_and_numbers_are_walked_as_the_library_reads_them(tmp_path: Path) -> None:
    system = {f"key-{i}": value for i, value in enumerate([-1, 2**62, -(2**62), 1.5, "ü" * 200, b"\0\xff", "", 63, 64])}
    events = [
        event(body(i, temp=i), number, system=dict(list(system.items())[:i]), properties={"a": i} if i % 2 else {})
        for i, number in enumerate([0, 1, 63, 64, 2**40, 2**62, 8191, 8192, 10, 11])
    ]

    found = read_avro(tmp_path, write_avro(events), columns="device=SystemProperties.key-7")

    assert found.unreadable == []
    assert see(read_avro(tmp_path, write_avro(events), "63", columns="device=SystemProperties.key-7"), "63",
               names=("temp",)) == [("07:08:00", [8.0]), ("07:09:00", [9.0])]  # fmt: skip


def test_a_schema_with_a_further_field_is_read_by_the_library(tmp_path: Path) -> None:
    schema = {**CAPTURE, "fields": [*CAPTURE["fields"], {"name": "Partition", "type": "string"}]}
    events = [{**event(body(1, temp=1), system={"id": "pump"}), "Partition": "0"}]

    found = read_avro(tmp_path, write_avro(events, schema), columns="device=SystemProperties.id")

    assert see(found, names=("temp",)) == [("07:01:00", [1.0])]
