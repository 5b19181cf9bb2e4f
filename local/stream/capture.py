"""Files as Event Hubs Capture writes them: one for each partition and interval, none where nothing came.

The schema, the names of system properties and the way that times are written are those of Event Hubs' documentation:
https://learn.microsoft.com/azure/event-hubs/explore-captured-avro-files. A file's name has the time at which it was
closed, so that the last events of an hour are in the next folder.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from shared.contract.windows import EPOCH, Window

from .events import Event

INTERVAL = timedelta(minutes=5)  # as in infra/modules/stream.bicep, and so is the form of the name
ARCHIVE = "date={Year}-{Month}-{Day}/hour={Hour}/{Namespace}-{EventHub}-{PartitionId}-{Minute}-{Second}"
NAMESPACE, HUB = "evhns-local", "readings"
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "EventData",
    "namespace": "Microsoft.ServiceBus.Messaging",
    "fields": [
        {"name": "SequenceNumber", "type": "long"},
        {"name": "Offset", "type": "string"},
        {"name": "EnqueuedTimeUtc", "type": "string"},
        {"name": "SystemProperties", "type": {"type": "map", "values": ["long", "double", "string", "bytes"]}},
        {"name": "Properties", "type": {"type": "map", "values": ["long", "double", "string", "bytes", "null"]}},
        {"name": "Body", "type": ["null", "bytes"]},
    ],
}


@dataclass(frozen=True, slots=True)
class CaptureFile:
    """A file, and when it was closed."""

    name: str
    closed_at: datetime
    data: bytes
    events: int


@dataclass(slots=True)
class _Partition:
    """What a partition has numbered so far."""

    number: int
    sequence: int = 0
    offset: int = 0
    records: list[dict[str, Any]] = field(default_factory=list)


def list_files(events: Sequence[Event], partitions: int, *, by_iot_hub: bool = False) -> Iterator[CaptureFile]:
    """The files that events become, in the order in which they are closed.

    With *by_iot_hub* the events do not say whose they are: the hub that they passed does, as a system property.
    """
    arrivals = sorted(
        ((arrived, event) for event in events for arrived in event.arrivals),
        key=lambda arrival: (arrival[0], arrival[1].device, arrival[1].time),
    )
    hub = [_Partition(number) for number in range(partitions)]
    closes: datetime | None = None
    for arrived, event in arrivals:
        end = Window.containing(arrived, INTERVAL).end
        if closes is not None and end != closes:
            yield from _close(hub, closes)
        closes = end
        partition = hub[zlib.crc32(event.device.encode()) % partitions]
        partition.records.append(_make_record(partition, event, arrived, by_iot_hub))
    if closes is not None:
        yield from _close(hub, closes)


def _close(hub: Sequence[_Partition], interval_end: datetime) -> Iterator[CaptureFile]:
    import fastavro

    for partition in hub:
        if not partition.records:
            continue
        closed_at = interval_end + timedelta(seconds=partition.number % 60)
        sink = io.BytesIO()
        fastavro.writer(sink, SCHEMA, partition.records, codec="null")
        yield CaptureFile(_make_name(closed_at, partition.number), closed_at, sink.getvalue(), len(partition.records))
        partition.records = []


def _make_name(closed_at: datetime, partition: int) -> str:
    tokens = closed_at.strftime("Year=%Y Month=%m Day=%d Hour=%H Minute=%M Second=%S").split()
    times = dict(token.split("=") for token in tokens)
    return ARCHIVE.format(Namespace=NAMESPACE, EventHub=HUB, PartitionId=partition, **times) + ".avro"


def _make_record(partition: _Partition, event: Event, arrived: datetime, by_iot_hub: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"time": f"{event.time:%Y-%m-%dT%H:%M:%SZ}", "device": event.device, **event.reading}
    system: dict[str, Any] = {"x-opt-enqueued-time": (arrived - EPOCH) // timedelta(milliseconds=1)}
    if by_iot_hub:
        del body["device"]
        system |= {
            "iothub-connection-device-id": event.device,
            "iothub-connection-auth-method": '{"scope":"device","type":"sas","issuer":"iothub"}',
            "iothub-connection-auth-generation-id": "638000000000000000",
            "iothub-enqueuedtime": f"{arrived:%Y-%m-%dT%H:%M:%S.%f}0Z",
            "iothub-message-source": "Telemetry",
            "content-type": "application/json",
            "content-encoding": "utf-8",
        }
    data = json.dumps(body).encode()
    record = {
        "SequenceNumber": partition.sequence,
        "Offset": str(partition.offset),
        "EnqueuedTimeUtc": _write_time(arrived),
        "SystemProperties": system,
        "Properties": {"firmware": "2.1.0", "restarts": 3},
        "Body": data,
    }
    partition.sequence += 1
    partition.offset += len(data) + 64
    return record


def _write_time(moment: datetime) -> str:
    """`11/21/2026 7:05:00 AM`, as Capture writes when an event was taken."""
    hour = moment.hour % 12 or 12
    return f"{moment.month}/{moment.day}/{moment.year} {hour}:{moment:%M:%S} {'AM' if moment.hour < 12 else 'PM'}"  # noqa: PLR2004
