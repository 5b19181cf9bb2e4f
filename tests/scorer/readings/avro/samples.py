"""Files of Avro as Event Hubs Capture and others write them, for the tests."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fastavro

from local.stream.capture import SCHEMA as CAPTURE
from scorer.readings.device_readings import Readings
from shared.contract.model_names import Columns
from shared.contract.scoring_options import ReadingOptions
from tests.scorer.readings.seen import AS_IN_FILE, read

# What IoT Hub writes where it routes messages to storage.
ROUTED = {
    "type": "record",
    "name": "Message",
    "namespace": "Microsoft.Azure.Devices",
    "fields": [
        {"name": "EnqueuedTimeUtc", "type": "string"},
        {"name": "Properties", "type": {"type": "map", "values": "string"}},
        {"name": "SystemProperties", "type": {"type": "map", "values": "string"}},
        {"name": "Body", "type": ["null", "bytes"]},
    ],
}
ENVELOPE = "SystemProperties.iothub-connection-device-id"


def body(minute: int, device: str | None = "pump", **values: Any) -> bytes:
    """A body of JSON."""
    row = {"time": f"2026-11-21T07:{minute:02}:00Z", "device": device, **values}
    return json.dumps({name: cell for name, cell in row.items() if cell is not None}).encode()


def event(
    content: bytes | None, number: int = 0, enqueued: str = "11/21/2026 7:05:00 AM", **more: Any
) -> dict[str, Any]:
    """An event of Event Hubs Capture."""
    return {
        "SequenceNumber": number,
        "Offset": str(128 * number),
        "EnqueuedTimeUtc": enqueued,
        "SystemProperties": {"x-opt-enqueued-time": 1795244700123, **more.get("system", {})},
        "Properties": more.get("properties", {}),
        "Body": content,
    }


def write_avro(records: Sequence[Any], schema: Any = CAPTURE, codec: str = "null", interval: int = 16_000) -> bytes:
    """The bytes of a file; blocks have about *interval* bytes."""
    file = io.BytesIO()
    fastavro.writer(file, schema, records, codec=codec, sync_interval=interval, sync_marker=bytes(range(16)))
    return file.getvalue()


def capture(*bodies: bytes | None, **options: Any) -> bytes:
    """A file of events with these bodies."""
    return write_avro([event(content, number) for number, content in enumerate(bodies)], **options)


def read_avro(
    root: Path, data: bytes, *devices: str, columns: str = "", policy: ReadingOptions = AS_IN_FILE
) -> Readings:
    """The readings of a folder with one file."""
    (root / "a").write_bytes(data)
    return read(root, *devices, columns=Columns.parse(columns), policy=policy)
