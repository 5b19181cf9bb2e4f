"""The file of a pack: an index of its models, and blocks of their numbers, of which a node reads what it needs.

    64 bytes    a magic text, the version, lengths, whether more models follow in another pack, and a hash of the head,
                the index and the digests
    index       Arrow IPC, one record batch: a row for each model, without the numbers and files, but how many there are
    digests     a hash of each block
    blocks      all numbers, all integers, all files, all companions, each by rows, in blocks of BLOCK bytes

A pack that is corrupt, foreign or of another version counts as no pack. A file is mapped, not parsed: nothing is
copied. The hashes find accidents. Whoever may write into the working container may write packs too, as well as reports;
sizes are checked all the same, so that a bug in this file is an error and not a crash.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import xxhash

from scorer.arrow import build_numbers, view_numbers
from scorer.storage.blob_store import MappedFile
from scorer.storage.range_reader import MappedBlob
from shared.contract.errors import Malformed

from .checks import find_index_problem, find_problem
from .pack import EMPTY, SCHEMA, Pack

_MAGIC = b"fleetscore pack\n"
VERSION = 9  # of this layout, of `families` and of the refusals; a pack of another version is built again
BLOCK = 2**16  # bytes: a few large models, or some of the small ones
_ALIGNMENT = 64  # bytes: of the index, the digests and each kind of blocks
_HEAD = 64
_DIGEST = 16
_LISTS = (
    ("numbers", 8),
    ("integers", 4),
    ("file", 1),
    ("companions", 1),
)  # not in the index; bytes of an item
_LIST_NAMES = [name for name, _ in _LISTS]
_COUNTS = [f"n_{name}" for name in _LIST_NAMES]
_INDEX = pa.schema(
    [*(column for column in SCHEMA if column.name not in _LIST_NAMES), *((name, pa.int64()) for name in _COUNTS)]
)


@dataclass(frozen=True, slots=True)
class StoredPack:
    """A pack whose index was read. *pack* has none of its numbers and files yet."""

    pack: Pack
    blob: MappedBlob
    starts: tuple[np.ndarray, ...]  # of each list: the place in the file of each row's items, and the end of the last
    blocks: np.ndarray  # int64: the start of each block, and the end of the last
    digests: bytes

    def load_rows(self, rows: np.ndarray) -> Pack:
        """The pack with the numbers and files of these rows, without a copy.

        Raises Malformed where they are damaged, Unavailable where the file has changed, NotFound where it is gone.
        """
        blocks = self._find_blocks(rows)
        edges = np.flatnonzero(np.diff(blocks, prepend=False, append=False))
        self.blob.load([(int(self.blocks[first]), int(self.blocks[end])) for first, end in edges.reshape(-1, 2)])
        bounds, data = self.blocks.tolist(), self.blob.data
        for block in np.flatnonzero(blocks).tolist():
            digest = xxhash.xxh3_128_digest(data[bounds[block] : bounds[block + 1]])
            if digest != self.digests[_DIGEST * block : _DIGEST * (block + 1)]:
                raise Malformed("a corrupt pack: the content of a block does not match its digest")
        is_loaded = np.zeros(len(self.pack), bool)
        is_loaded[rows] = True
        pack = replace(self.pack, is_loaded=None if is_loaded.all() else is_loaded)
        if problem := find_problem(pack, np.flatnonzero(is_loaded)):
            raise Malformed(f"a foreign pack: {problem}")
        return pack

    def _find_blocks(self, rows: np.ndarray) -> np.ndarray:
        """A mask of the blocks that contain something of these rows."""
        edges = np.zeros(len(self.blocks), np.int64)
        for starts in self.starts:
            first, end = starts[rows], starts[rows + 1]
            is_used = first < end
            np.add.at(edges, np.searchsorted(self.blocks, first[is_used], "right") - 1, 1)
            np.add.at(edges, np.searchsorted(self.blocks, end[is_used], "left"), -1)
        return np.cumsum(edges)[:-1] > 0


def to_bytes(pack: Pack) -> bytes:
    """The file of a pack that is loaded; the same pack gives the same bytes."""
    assert pack.find_loaded().all()
    sections = [_view_items(pack, name) for name in _LIST_NAMES]
    columns = [pack.rows.column(column.name) for column in _INDEX if column.name not in _COUNTS]
    counts = [build_numbers(counts) for counts, _ in sections]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, _INDEX) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays([*columns, *counts], schema=_INDEX))
    index = sink.getvalue().to_pybytes()
    body = [part for _, data in sections for part in (data, bytes(-len(data) % _ALIGNMENT))]
    digests = b"".join(digest for _, data in sections for digest in _make_digests(data))
    region = _pad(index) + _pad(digests)
    return b"".join([_make_head(len(index), sum(map(len, body)), is_cut=pack.is_cut, region=region), region, *body])


def _view_items(pack: Pack, name: str) -> tuple[np.ndarray, memoryview]:
    """How many items each row has, int64, and the bytes of all."""
    if not len(pack):
        return np.empty(0, np.int64), memoryview(b"")
    column = pack.rows.column(name)
    if name in ("numbers", "integers"):
        offsets, items = view_numbers(column.offsets), view_numbers(column.values)
        data = items[offsets[0] : offsets[-1]].view(np.uint8)
    else:
        _, offset_buffer, item_buffer = column.buffers()
        offsets = np.frombuffer(offset_buffer, np.int64)[column.offset : column.offset + len(column) + 1]
        data = np.frombuffer(item_buffer or b"", np.uint8)[offsets[0] : offsets[-1]]
    return np.diff(offsets), data.data


def _make_digests(data: memoryview) -> Iterator[bytes]:
    for start in range(0, len(data), BLOCK):
        block = xxhash.xxh3_128(data[start : start + BLOCK])
        if start + BLOCK >= len(data):
            block.update(bytes(-len(data) % _ALIGNMENT))
        yield block.digest()


def _make_head(n_index: int, n_body: int, *, is_cut: bool, region: bytes | memoryview) -> bytes:
    """The head of a pack with such a *region* of index and digests."""
    lengths = b"".join(number.to_bytes(8, "little") for number in (VERSION, n_index, n_body, int(is_cut)))
    digest = xxhash.xxh3_128(lengths)
    digest.update(region)
    return (_MAGIC + lengths).ljust(_HEAD - _DIGEST, b"\0") + digest.digest()


def _pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)


def open_pack(blob: MappedBlob) -> StoredPack:
    """Read the index of a pack. Raises Malformed for any other content, Unavailable where the file has changed."""
    size = len(blob.data)
    blob.load([(0, min(size, _HEAD))])
    head = bytes(blob.data[:_HEAD])
    if not head.startswith(_MAGIC):
        raise Malformed(f"expected a pack, got {size} bytes that begin with {head[:16]!r}")
    version, n_index, n_body, cut = (int.from_bytes(head[at : at + 8], "little") for at in (16, 24, 32, 40))
    if version != VERSION:
        raise Malformed(f"expected a pack of version {VERSION}, got {version}")
    start = size - n_body
    digests_at = _HEAD + n_index + -n_index % _ALIGNMENT
    if not digests_at <= start <= size:
        raise Malformed("a corrupt pack: its size does not match its head")
    blob.load([(_HEAD, start)])
    if head != _make_head(n_index, n_body, is_cut=cut == 1, region=blob.data[_HEAD:start]):
        raise Malformed("a corrupt pack: its index does not match its head")
    try:
        with pa.ipc.open_file(pa.py_buffer(blob.data[_HEAD : _HEAD + n_index])) as reader:
            if not reader.schema.equals(_INDEX) or reader.num_record_batches != 1:
                raise Malformed(f"a foreign pack: its columns are {reader.schema.names}")
            index = reader.get_batch(0)
        index.validate(full=True)
        return _join_index(blob, index, bytes(blob.data[digests_at:start]), start, is_cut=cut == 1)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Malformed(f"a foreign pack: {error}") from error


def _join_index(blob: MappedBlob, rows: pa.RecordBatch, digests: bytes, start: int, *, is_cut: bool) -> StoredPack:
    """The pack of an index, whose blocks begin at *start*. Raises Malformed, and ValueError."""
    starts, blocks = [], [np.array([start])]
    for name, (_, item_size) in zip(_COUNTS, _LISTS, strict=True):
        counts, room = view_numbers(rows.column(name)), len(blob.data) - start
        if ((counts < 0) | (counts > room)).any() or int(counts.sum()) * item_size > room:
            raise Malformed("a foreign pack: it says more numbers than there are")
        starts.append(start + np.concatenate([[0], np.cumsum(counts)]) * item_size)
        end = int(starts[-1][-1]) + -int(starts[-1][-1]) % _ALIGNMENT
        blocks.append(np.append(np.arange(start + BLOCK, end, BLOCK), [end] if end > start else []).astype(np.int64))
        start = end
    all_blocks = np.concatenate(blocks)
    n_digests = _DIGEST * (len(all_blocks) - 1)
    if start != len(blob.data) or len(digests) != n_digests + -n_digests % _ALIGNMENT:
        raise Malformed("a foreign pack: it says other numbers than there are")
    lists = {name: _view_list(blob, rows_at, name) for (name, _), rows_at in zip(_LISTS, starts, strict=True)}
    columns = [lists[column.name] if column.name in lists else rows.column(column.name) for column in SCHEMA]
    batch = pa.RecordBatch.from_arrays(columns, schema=SCHEMA) if len(rows) else EMPTY.rows
    pack = Pack(batch, is_cut, np.zeros(len(rows), bool))
    if problem := find_index_problem(pack):
        raise Malformed(f"a foreign pack: {problem}")
    return StoredPack(pack, blob, tuple(starts), all_blocks, digests)


def _view_list(blob: MappedBlob, starts: np.ndarray, name: str) -> pa.Array:
    """A column of lists or files over the bytes of the file, loaded or not."""
    kind, item_size = SCHEMA.field(name).type, dict(_LISTS)[name]
    offsets = (starts - starts[0]) // item_size
    data = pa.py_buffer(blob.data[starts[0] : starts[-1]])
    if pa.types.is_large_binary(kind):
        return pa.LargeBinaryArray.from_buffers(kind, len(offsets) - 1, [None, pa.py_buffer(offsets), data])
    items = pa.Array.from_buffers(kind.value_type, int(offsets[-1]), [None, data])
    return pa.LargeListArray.from_arrays(build_numbers(offsets), items, type=kind)


def from_buffer(data: memoryview) -> Pack:
    """The pack in a file, whole and without a copy. Raises Malformed for any other content."""
    stored = open_pack(MappedFile(data, ""))
    return stored.load_rows(np.arange(len(stored.pack)))
