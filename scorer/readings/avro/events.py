"""The events of Event Hubs Capture and of IoT Hub: each Body, and those columns of the envelope that are asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from scorer.arrow import build_numbers
from scorer.readings.cells import encode_texts
from scorer.readings.time_zones import NO_TIME
from shared.contract.windows import EPOCH

from .container import Block, group_blocks, read_long
from .records import build_mixed, read_records
from .schema import Type
from .walk import ABSENT, BYTES, DOUBLE, LONG, MAPS, STRING, Cells, Walked, find_branches, walk_events

FIELDS = ("SequenceNumber", "Offset", "EnqueuedTimeUtc")
GROUP = 32 * 2**20  # bytes of blocks that are walked together
_TIME = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}) (\d{1,2}):(\d\d):(\d\d) ([AP])M")
_MILLISECONDS = "SystemProperties.x-opt-enqueued-time"


@dataclass(frozen=True, slots=True)
class Events:
    """Some events of a file, in its order."""

    bodies: list[bytes | None]
    envelope: Mapping[str, pa.Array]  # by the names that were asked for


def is_envelope_name(name: str) -> bool:
    """Whether a column's name is that of an event's field or property."""
    return name in FIELDS or name.startswith(tuple(f"{prefix}." for prefix in MAPS))


def read_events(record: Type, blocks: Iterator[Block], names: Sequence[str]) -> Iterator[Events]:
    """The events of a file with the envelope's columns of these *names*. Raises Unscorable."""
    branches = find_branches(record)
    for group in group_blocks(blocks, GROUP):
        walked = walk_events(group, names, branches) if branches else None
        if walked:
            yield _build_events(walked)
            continue
        for records in read_records(record, group):
            envelope = {name: build_mixed([_get_value(item, name) for item in records]) for name in names}
            yield Events([item["Body"] for item in records], envelope)


def _get_value(item: Mapping[str, Any], name: str) -> Any:
    field, _, key = name.partition(".")
    value = item.get(field)
    return value.get(key) if key and value is not None else value


def _build_events(walked: Walked) -> Events:
    bodies: list[bytes | None] = [*_slice_data(walked.data, walked.body)]
    for row in np.flatnonzero(walked.body.kind == ABSENT).tolist():
        bodies[row] = None
    return Events(bodies, {name: _build_column(walked.data, cells) for name, cells in walked.cells.items()})


def _slice_data(data: bytes, cells: Cells) -> list[bytes]:
    return [data[start:end] for start, end in zip(cells.start.tolist(), cells.end.tolist(), strict=True)]


def _build_column(data: bytes, cells: Cells) -> pa.Array:
    """A column of values that have one type, or else of what they are as texts."""
    is_absent = cells.kind == ABSENT
    kinds = set(np.unique(cells.kind[~is_absent]).tolist())
    start, end = np.where(is_absent, 0, cells.start), np.where(is_absent, 0, cells.end)
    cells = Cells(cells.kind, start, end)
    if kinds == {STRING}:
        return _build_texts(data, cells, is_absent)
    if kinds == {LONG}:
        return build_numbers(_read_longs(data, cells), null=is_absent)
    return _build_mixed(cells, _slice_data(data, cells))


def _build_mixed(cells: Cells, parts: Sequence[bytes]) -> pa.Array:
    return build_mixed([_read_value(*cell) for cell in zip(cells.kind.tolist(), parts, strict=True)])


def _build_texts(data: bytes, cells: Cells, is_absent: np.ndarray) -> pa.Array:
    parts = _slice_data(data, cells)
    offsets = np.concatenate([[0], np.cumsum(cells.end - cells.start)]).astype(np.int32)
    valid = pa.py_buffer(np.packbits(~is_absent, bitorder="little"))
    texts = pa.StringArray.from_buffers(len(parts), pa.py_buffer(offsets), pa.py_buffer(b"".join(parts)), valid)
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return _build_mixed(cells, parts)
    return texts


def _read_longs(data: bytes, cells: Cells) -> np.ndarray:
    """The numbers between the bounds of some cells; 0 where they are equal."""
    characters, number = np.frombuffer(data, np.uint8), np.zeros(len(cells.start), np.int64)
    for place in range(int((cells.end - cells.start).max(initial=0))):
        rows = np.flatnonzero(cells.start + place < cells.end)
        bits = (characters[cells.start[rows] + place] & 0x7F).astype(np.int64)
        number[rows] |= bits << (7 * place)
    return (number >> 1 & 0x7FFFFFFFFFFFFFFF) ^ -(number & 1)


def _read_value(kind: int, data: bytes) -> Any:
    """A single value."""
    match kind:
        case _ if kind == LONG:
            return read_long(data, 0, len(data))[0]
        case _ if kind == DOUBLE:
            return float(np.frombuffer(data, "<f8")[0])
        case _ if kind in (STRING, BYTES):
            return data.decode("utf-8", "replace")
    return None


def convert_times(name: str, column: pa.Array) -> pa.Array:
    """The time at which events were enqueued, as timestamps; any other column, and form of time, is as it was.

    Capture writes it as .NET does in the United States, in UTC: `12/31/2026 11:59:59 PM`. Its system property has
    milliseconds since 1970.
    """
    if name == _MILLISECONDS and pa.types.is_int64(column.type):
        return column.cast(pa.timestamp("ms", "UTC"))
    if name not in FIELDS or not pa.types.is_string(column.type):
        return column
    texts, indices = encode_texts(column)
    matches = [_TIME.fullmatch(text) for text in texts.to_pylist()]
    if not all(matches):
        return column
    micros = np.array([_read_time(match) for match in matches if match] + [NO_TIME]).take(indices)
    return build_numbers(micros, pa.timestamp("us", "UTC"), micros == NO_TIME)


def _read_time(match: re.Match[str]) -> int:
    month, day, year, hour, minute, second = map(int, match.groups()[:6])
    try:
        time = datetime(year, month, day, hour % 12 + 12 * (match[7] == "P"), minute, second, tzinfo=UTC)
    except ValueError:
        return int(NO_TIME)
    return (time - EPOCH) // timedelta(microseconds=1)
