"""The events of a simulated fleet, and the files of Capture that they become."""

from __future__ import annotations

import io
import json
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import fastavro
import pytest

from local.pumps import HOUR, SIGNALS, Pump
from local.stream import capture
from local.stream.events import Arrival, Event, Rates, Simulation
from tests.infra.checking import CASES
from tests.infra.test_stream import capture as capture_of_bicep

START = datetime(2026, 11, 20, 22, tzinfo=UTC)
PUMPS = [Pump(1, number) for number in range(1, 6)]
SIMULATION = Simulation(PUMPS, START, 4)


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return SIMULATION.list_events()


def read(data: bytes) -> list[dict[str, Any]]:
    return list(fastavro.reader(io.BytesIO(data)))


def key(body: dict[str, Any]) -> tuple[str, str]:
    return body["device"], body["time"]


def test_each_pump_sends_a_reading_a_minute_and_the_same_ones_again(events: list[Event]) -> None:
    expected = [(START + timedelta(minutes=n), pump.id) for n in range(4 * 60) for pump in PUMPS]
    assert [(event.time, event.device) for event in events] == expected
    assert Simulation(PUMPS, START, 4).list_events() == events
    assert Simulation(PUMPS, START, 4, seed=2).list_events() != events


def test_events_come_late_twice_and_out_of_order_at_their_rates(events: list[Event]) -> None:
    shares = {kind: count / len(events) for kind, count in Counter(event.arrival for event in events).items()}
    rates = Rates()
    assert shares[Arrival.DISORDERED] == pytest.approx(rates.disordered, abs=0.03)
    assert shares[Arrival.LATE] == pytest.approx(rates.late, abs=0.015)
    assert shares[Arrival.AFTER_RUN] == pytest.approx(rates.after_run, abs=0.01)
    assert sum(len(event.arrivals) == 2 for event in events) / len(events) == pytest.approx(rates.doubled, abs=0.015)


def test_a_late_event_comes_after_its_hour_and_before_the_run(events: list[Event]) -> None:
    delays = defaultdict(list)
    for event in events:
        hour_end = event.time.replace(minute=0) + HOUR
        delays[event.arrival].append((event.arrivals[0] - hour_end) / timedelta(minutes=1))
    assert 0 <= min(delays[Arrival.LATE]) < max(delays[Arrival.LATE]) < 5  # closed by five past, scored at ten past
    assert 10 < min(delays[Arrival.AFTER_RUN]) < max(delays[Arrival.AFTER_RUN]) < 45  # still in the next folder


def test_every_event_is_in_the_files_as_often_as_it_arrived(events: list[Event]) -> None:
    files = [*capture.list_files(events, 3)]
    bodies = [json.loads(record["Body"]) for file in files for record in read(file.data)]
    counts = Counter(map(key, bodies))
    assert counts == {(event.device, f"{event.time:%Y-%m-%dT%H:%M:%SZ}"): len(event.arrivals) for event in events}
    by_key = {key(body): tuple(body[name] for name in SIGNALS) for body in bodies}
    assert by_key == {(event.device, f"{event.time:%Y-%m-%dT%H:%M:%SZ}"): event.values for event in events}
    assert [file.events for file in files] == [len(read(file.data)) for file in files]


def test_files_have_the_names_and_the_schema_of_capture(events: list[Event]) -> None:
    destination = capture_of_bicep(CASES["batch"])["destination"]
    assert destination["properties"]["archiveNameFormat"] == capture.ARCHIVE
    files = [*capture.list_files(events, 3)]
    assert files[0].name == "date=2026-11-20/hour=22/evhns-local-readings-0-05-00.avro"
    assert len({file.name for file in files}) == len(files)
    assert [file.closed_at for file in files] == sorted(file.closed_at for file in files)
    schema = json.loads(fastavro.reader(io.BytesIO(files[0].data)).metadata["avro.schema"])
    assert (schema["name"], [field["name"] for field in schema["fields"]]) == (
        "EventData",
        ["SequenceNumber", "Offset", "EnqueuedTimeUtc", "SystemProperties", "Properties", "Body"],
    )


def test_an_event_lies_in_the_folder_of_its_arrival_and_the_last_of_an_hour_in_the_next(events: list[Event]) -> None:
    folders = defaultdict(set)
    for file in capture.list_files(events, 3):
        for record in read(file.data):
            folders[key(json.loads(record["Body"]))].add(file.name.rpartition("/")[0])
    for event in events:
        last = event.time.minute >= 55
        own, following = (f"{event.time + n * HOUR:date=%Y-%m-%d/hour=%H}" for n in range(2))
        of_event = folders[event.device, f"{event.time:%Y-%m-%dT%H:%M:%SZ}"]
        assert of_event <= {own, following}  # both are read for its hour
        if event.arrival in (Arrival.LATE, Arrival.AFTER_RUN) or last:
            assert of_event == {following}


def test_a_partition_numbers_its_events_in_the_order_of_their_arrival(events: list[Event]) -> None:
    numbers, times = defaultdict(list), defaultdict(list)
    for file in capture.list_files(events, 3):
        partition = file.name.split("-")[-3]
        for record in read(file.data):
            numbers[partition].append(record["SequenceNumber"])
            times[partition].append(record["SystemProperties"]["x-opt-enqueued-time"])
    assert {*numbers} == {"0", "1", "2"}
    assert all(sequence == [*range(len(sequence))] for sequence in numbers.values())
    assert all(enqueued == sorted(enqueued) for enqueued in times.values())


def test_times_of_arrival_are_written_as_capture_writes_them(events: list[Event]) -> None:
    records = [record for file in capture.list_files(events, 3) for record in read(file.data)]
    for record in records:
        written = datetime.strptime(record["EnqueuedTimeUtc"], "%m/%d/%Y %I:%M:%S %p").replace(tzinfo=UTC)
        assert written == datetime.fromtimestamp(record["SystemProperties"]["x-opt-enqueued-time"] // 1000, UTC)
    assert records[0]["EnqueuedTimeUtc"].startswith("11/20/2026 10:0")


def test_behind_an_iot_hub_the_system_properties_say_whose_an_event_is(events: list[Event]) -> None:
    first = next(capture.list_files(events, 3, by_iot_hub=True))
    for record in read(first.data):
        assert "device" not in json.loads(record["Body"])
        assert record["SystemProperties"]["iothub-connection-device-id"] in {pump.id for pump in PUMPS}


def test_where_nothing_comes_no_file_is_made() -> None:
    assert [*capture.list_files([], 3)] == []
    few = Simulation(PUMPS[:1], START, 1, Rates(0, 0, 0, 0)).list_events()
    files = [*capture.list_files(few, 8)]
    assert {file.name.split("-")[-3] for file in files} == {files[0].name.split("-")[-3]}
    assert len(files) == 12
