"""Packs: neighbouring models in one data-only file, each as the numbers that a kernel needs, and back. No I/O.

    64 bytes    what it is, which version of it, and a hash of all that follows
    Arrow IPC   one record batch, a row for each model, in the order of the fleet

A row carries the etag of the file that it was made from. So a pack is a cache: what it lacks is made from the files,
and one that is corrupt, foreign or of another version is as good as none. It is mapped, not parsed: of a pack whose
models have not changed nothing is copied, and no Python object is made for a model.

The hash finds accidents. Whoever may write into the working container may write whole packs too, as he may write
reports; lengths are checked all the same, so that a slip in this file is an error and not a crash.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import xxhash

from scorer.arrow import encoded, flags, numbers, strings, view
from scorer.errors import Unscorable
from scorer.families.base import HEAD, Family, Packed
from shared.contract.domain import Model, Reason
from shared.contract.errors import Malformed
from shared.contract.text import clip_text

_MAGIC = b"fleetscore pack\n"
VERSION = 1  # of this layout, of `families` and of what is refused; a pack of another one is made anew
_HEAD = 64  # bytes; keeps the Arrow buffers aligned

_SCHEMA = pa.schema(
    [
        ("device", pa.string()),
        ("sensor", pa.string()),
        ("etag", pa.string()),
        ("family", pa.int8()),
        ("strict", pa.bool_()),
        ("width", pa.int32()),
        ("features", pa.dictionary(pa.int32(), pa.string())),  # a JSON list of names
        ("made_by", pa.dictionary(pa.int32(), pa.string())),
        ("skops", pa.bool_()),  # what kind of file it came from; else a pickle
        ("reason", pa.dictionary(pa.int32(), pa.string())),  # why it cannot be scored; "" where it can
        ("message", pa.string()),
        ("numbers", pa.large_list(pa.field("item", pa.float64(), nullable=False))),
        ("integers", pa.large_list(pa.field("item", pa.int32(), nullable=False))),
        ("file", pa.large_binary()),  # as it came, where scikit-learn itself has to score it
    ]
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One model for a pack: what became of its file. *file* is kept where no kernel knows the family."""

    model: Model
    etag: str  # of the file that this was made from
    packed: Packed | Unscorable
    skops: bool = False  # what kind of file it was; else a pickle
    file: bytes = b""


@dataclass(frozen=True)
class Pack:
    """The models of a pack, in columns. Views are made once and copy nothing."""

    rows: pa.RecordBatch

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def numpy(self, name: str) -> np.ndarray:
        """A column of numbers as an array."""
        return view(self.rows.column(name))

    @cached_property
    def numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each model's numbers begin, with the end of the last one; and all numbers."""
        return self._lists("numbers")

    @cached_property
    def integers(self) -> tuple[np.ndarray, np.ndarray]:
        """The same of the integers that forests have."""
        return self._lists("integers")

    def _lists(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        column = self.rows.column(name)
        return view(column.offsets), view(column.values)

    def texts(self, name: str) -> tuple[np.ndarray, list[str]]:
        """A column of few distinct texts: a code for each row, and what the codes stand for."""
        column = self.rows.column(name)
        return view(column.indices), column.dictionary.to_pylist()

    @cached_property
    def features(self) -> tuple[np.ndarray, list[tuple[str, ...]]]:
        """The same of the names that models were fitted with. Raises ValueError where that is no list of names."""
        codes, texts = self.texts("features")
        names = [json.loads(text) for text in texts]
        if not all(isinstance(one, list) and all(isinstance(name, str) for name in one) for one in names):
            raise ValueError("names of features that are none")
        return codes, [tuple(one) for one in names]

    @cached_property
    def kept(self) -> np.ndarray:
        """Which rows hold a file as it came, for scikit-learn itself."""
        codes, reasons = self.texts("reason")
        found: np.ndarray = (self.numpy("family") == Family.KEPT) & np.isin(
            codes, [i for i, r in enumerate(reasons) if not r]
        )
        return found

    def refusal(self, row: int) -> Unscorable | None:
        """Why the model of this row cannot be scored; None when it can."""
        reason = self.rows.column("reason")[row].as_py()
        return Unscorable(Reason(reason), self.rows.column("message")[row].as_py()) if reason else None

    def file(self, row: int) -> bytes:
        """The model's file as it came, where it was kept."""
        found: bytes = self.rows.column("file")[row].as_py()
        return found

    def etag(self, row: int) -> str:
        """Of the file that this row was made from."""
        found: str = self.rows.column("etag")[row].as_py()
        return found

    def find(self, models: Sequence[Model]) -> np.ndarray:
        """The row of each model as the plan knew it, by id and etag; -1 where there is none.

        int64, one a model. A pack of just these models is seen by comparing columns; else a row costs a microsecond.
        """
        expected = [strings([getattr(m, name) for m in models]) for name in ("device", "sensor", "etag")]
        if all(
            self.rows.column(name).equals(ids) for name, ids in zip(("device", "sensor", "etag"), expected, strict=True)
        ):
            return np.arange(len(models))
        keys = zip(*(self.rows.column(name).to_pylist() for name in ("device", "sensor", "etag")), strict=True)
        known = {key: row for row, key in enumerate(keys)}
        return np.array([known.get((m.device, m.sensor, m.etag), -1) for m in models], np.int64)

    def merged(self, rows: np.ndarray, fresh: Pack) -> Pack:
        """A pack of the models at *rows*; those of -1 are the next ones of *fresh*."""
        if not len(fresh) and len(rows) == len(self) and (rows == np.arange(len(self))).all():
            return self
        places = np.where(rows >= 0, rows, len(self) + np.cumsum(rows < 0) - 1)
        both = pa.Table.from_batches([self.rows, fresh.rows]).unify_dictionaries()
        taken = both.take(numbers(places)).combine_chunks()
        batches = taken.to_batches()
        return Pack(batches[0]) if batches else EMPTY


def build(entries: Sequence[Entry]) -> Pack:
    """A pack of models, in their order."""
    if not entries:
        return EMPTY
    sound = [e.packed if isinstance(e.packed, Packed) else None for e in entries]
    reasons = [e.packed if isinstance(e.packed, Unscorable) else None for e in entries]
    columns = [
        strings([e.model.device for e in entries]),
        strings([e.model.sensor for e in entries]),
        strings([e.etag for e in entries]),
        numbers(np.array([p.family if p else Family.KEPT for p in sound], np.int8)),
        flags(np.array([bool(p and p.strict) for p in sound])),
        numbers(np.array([p.width if p else 0 for p in sound], np.int32)),
        encoded([json.dumps(p.features if p else ()) for p in sound]),
        encoded([p.made_by if p else "" for p in sound]),
        flags(np.array([e.skops for e in entries])),
        encoded([r.reason if r else "" for r in reasons]),
        strings([clip_text(str(r)) if r else "" for r in reasons]),
        _listed([p.numbers if p else _NONE for p in sound], np.float64),
        _listed([p.integers if p else _NONE for p in sound], np.int32),
        _binaries([e.file for e in entries]),
    ]
    return Pack(pa.RecordBatch.from_arrays(columns, schema=_SCHEMA))


_NONE = np.empty(0)


def _listed(arrays: Sequence[np.ndarray], kind: type) -> pa.LargeListArray:
    offsets = np.concatenate([[0], np.cumsum([len(a) for a in arrays])]).astype(np.int64)
    values: np.ndarray = np.concatenate(arrays).astype(kind, copy=False)
    item = pa.field("item", pa.from_numpy_dtype(kind), nullable=False)
    return pa.LargeListArray.from_arrays(numbers(offsets), numbers(values), type=pa.large_list(item))


def _binaries(files: Sequence[bytes]) -> pa.LargeBinaryArray:
    offsets = np.concatenate([[0], np.cumsum([len(f) for f in files])]).astype(np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(files))]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(files), buffers)


EMPTY = Pack(pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in _SCHEMA], schema=_SCHEMA))


def to_bytes(pack: Pack) -> bytes:
    """The file; the same pack gives the same bytes."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, _SCHEMA) as writer:
        writer.write_batch(pack.rows)
    body = sink.getvalue()
    return b"".join([_head(body), memoryview(body)])


def _head(body: pa.Buffer | memoryview) -> bytes:
    told = _MAGIC + VERSION.to_bytes(8, "little") + len(body).to_bytes(8, "little") + xxhash.xxh3_128_digest(body)
    return told.ljust(_HEAD, b"\0")


def from_buffer(data: memoryview) -> Pack:
    """The pack in a file, where it lies. Raises Malformed for what is none, and says what it is."""
    head, body = bytes(data[:_HEAD]), data[_HEAD:]
    if not head.startswith(_MAGIC):
        raise Malformed(f"expected a pack, got {len(data)} bytes that begin with {head[:16]!r}")
    version = int.from_bytes(head[16:24], "little")
    if version != VERSION:
        raise Malformed(f"expected a pack of version {VERSION}, got {version}")
    if head != _head(body):
        raise Malformed("a corrupt pack: its content is not what its head says")
    try:
        with pa.ipc.open_file(pa.py_buffer(body)) as reader:
            if not reader.schema.equals(_SCHEMA) or reader.num_record_batches > 1:
                raise Malformed(f"a foreign pack: its columns are {reader.schema.names}")
            pack = Pack(reader.get_batch(0)) if reader.num_record_batches else EMPTY
        pack.rows.validate(full=True)
        problem = _unsound(pack)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Malformed(f"a foreign pack: {error}") from error
    if problem:
        raise Malformed(f"a foreign pack: {problem}")
    return pack


def _unsound(pack: Pack) -> str:
    """What is wrong with the lengths of its models' numbers; "" when nothing is."""
    family, width = pack.numpy("family"), pack.numpy("width").astype(np.int64)
    (number_at, numbers), (integer_at, _) = pack.numbers, pack.integers
    length, integers = np.diff(number_at), np.diff(integer_at)
    used = family != Family.KEPT
    if not set(pack.texts("reason")[1]) <= {"", *Reason}:
        return "a reason that is not known"
    _ = pack.features  # raises ValueError where they are none
    if not np.isin(family, list(Family)).all() or (length[~used] != 0).any() or (length[used] < HEAD).any():
        return "a family that is not known, or one without numbers"
    if (width[used] < 1).any() or (number_at[-1:] > len(numbers)).any():
        return "a model without features"
    count = np.zeros(len(family))
    count[used] = numbers[number_at[:-1][used] + HEAD - 1]
    if not (np.isfinite(count) & (count >= 0) & (count == np.floor(count)) & (count < 2**31)).all():
        return "a count that is none"
    n = count.astype(np.int64)
    nodes = (integers - n) // 3
    body = {
        Family.RBF: n * (width + 1),
        Family.POLY: n * (width + 1),
        Family.SIGMOID: n * (width + 1),
        Family.LINEAR: width,
        Family.ENVELOPE: width + width * width,
        Family.FOREST: nodes,
    }
    for one, expected in body.items():
        its = family == one
        if (length[its] != (HEAD + 2 * width + expected)[its]).any():
            return f"{one.name} with a wrong number of numbers"
    forest = family == Family.FOREST
    if (integers[~forest] != 0).any() or (integers[forest] != (n + 3 * nodes)[forest]).any():
        return "trees with a wrong number of nodes"
    return ""
