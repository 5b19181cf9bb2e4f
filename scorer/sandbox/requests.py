"""A request to a worker process as bytes: models, their files, and the readings of their devices, which are sent once.

It is a pickle, since the node wrote it, and behind it the buffers that the pickle refers to: arrays and larger files,
which are so copied once.
"""

from __future__ import annotations

import itertools
import mmap
import pickle
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from scorer.model_files.compact import CompactModel
from scorer.readings.device_readings import Readings
from scorer.storage.blob_store import Content
from shared.contract.domain import Model

REQUEST_MODELS, REQUEST_BYTES = 32, 2**20  # models in one request, and bytes of their files and readings
Sent = Content | CompactModel
Item = tuple[Model, Sent | Exception, Readings]  # of the readings those of its device are sent
LENGTH = struct.Struct("<Q")  # the payload of a request that is in the arena: its bytes there
_COUNT = struct.Struct("<Q")
_ALIGNMENT = 64  # bytes
_ROW_BYTES = 128  # of readings, about
_IN_PICKLE = 2**12  # bytes of a file that is in the pickle itself


def split_items(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Small models together, since a message costs as much as a small model; a model without a file alone."""
    request_items: list[Item] = []
    size = 0
    for item in items:
        n_bytes = _count_bytes(item)
        if request_items and (len(request_items) == REQUEST_MODELS or size + n_bytes > REQUEST_BYTES):
            yield request_items
            request_items, size = [], 0
        request_items.append(item)
        size += n_bytes
    if request_items:
        yield request_items


def _count_bytes(item: Item) -> int:
    """About how many bytes a model adds to a request."""
    model, content, readings = item
    if isinstance(content, Exception):
        return REQUEST_BYTES + 1
    return len(content.data) + readings.count_rows(model.device) * _ROW_BYTES


def to_pieces(marks: Sequence[bytes], items: Sequence[Item]) -> list[bytes | memoryview]:
    """The pieces of a request, to be written one after the other. Each mark is that of an item, which has a file."""
    sent = _select_readings(items)
    entries = []
    for mark, (model, content, readings) in zip(marks, items, strict=True):
        assert not isinstance(content, Exception)
        fields = (model.device, model.sensor, model.name, model.etag, model.refused, model.size, model.files)
        file = (_wrap_file(content.data), content.etag, *_list_details(content))
        entries.append((mark, fields, file, sent[id(readings)][0]))
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(([r for _, r in sent.values()], entries), protocol=5, buffer_callback=buffers.append)
    views: list[memoryview] = [buffer.raw() for buffer in buffers]
    lengths = [len(head), *map(len, views)]
    start = struct.pack(f"<{len(lengths) + 1}Q", len(lengths), *lengths)
    pieces: list[bytes | memoryview] = [start, head, *views]
    return [padded for piece in pieces for padded in (piece, bytes(-len(piece) % _ALIGNMENT))]


def find_request(payload: bytes | bytearray, arena: mmap.mmap | None) -> memoryview:
    """The bytes of a request: in the arena, where its frame has no more than their number."""
    if arena is None or len(payload) > LENGTH.size:
        return memoryview(payload)
    return memoryview(arena)[: LENGTH.unpack(payload)[0]]


def parse_request(data: memoryview) -> Iterator[tuple[bytes, Model, Sent, Readings]]:
    """The models of a request, each with its mark. Arrays are views of *data*."""
    (count,) = _COUNT.unpack_from(data)
    lengths = struct.unpack_from(f"<{count}Q", data, _COUNT.size)
    sizes = [size + -size % _ALIGNMENT for size in (_COUNT.size * (count + 1), *lengths)]
    starts = list(itertools.accumulate(sizes))
    views = [data[start : start + length] for start, length in zip(starts, lengths, strict=False)]
    readings, entries = pickle.loads(views[0], buffers=views[1:])  # noqa: S301  # the node wrote it
    for mark, model, (file, etag, *details), index in entries:
        content = Content(bytes(file), etag, *details) if len(details) == 1 else CompactModel(file, etag, *details)
        yield mark, Model(*model), content, readings[index]


def _select_readings(items: Sequence[Item]) -> dict[int, tuple[int, Readings]]:
    """The readings to send: by the identity of those that they are selected from, their index, and those selected."""
    devices: dict[int, dict[str, None]] = {}
    for model, _, readings in items:
        devices.setdefault(id(readings), {})[model.device] = None
    originals = {id(readings): readings for *_, readings in items}
    return {
        key: (index, originals[key].select_devices(list(names))) for index, (key, names) in enumerate(devices.items())
    }


def _wrap_file(data: bytes | memoryview) -> bytes | pickle.PickleBuffer:
    return bytes(data) if len(data) <= _IN_PICKLE else pickle.PickleBuffer(data)


def _list_details(content: Sent) -> tuple[Any, ...]:
    """What a model has beside its file and etag: one of a file, several of a compact form."""
    if isinstance(content, Content):
        return (dict(content.companions),)
    return content.features, content.made_by, content.gaps
