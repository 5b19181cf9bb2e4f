"""Packs: neighbouring models in one table, each as the numbers that a kernel needs. No I/O.

A row for each model, in the order of the fleet, with the etag of the file that it was made from. So a pack is a cache:
missing models are read from their files. No Python object is made for a model. `stored_pack` has the form of the file.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scorer.arrow import build_dictionary, build_flags, build_numbers, build_strings, view_numbers, view_texts
from scorer.errors import Unscorable
from scorer.families.base import Family, GapRule, Packed
from scorer.storage.blob_store import Content
from shared.contract.domain import Model, Task
from shared.contract.model_list import ModelList
from shared.contract.reasons import Reason
from shared.contract.scoring_options import Gaps
from shared.contract.text import clip_text

NO_COMPANIONS: Mapping[str, bytes] = MappingProxyType({})
SCHEMA = pa.schema(
    [
        ("device", pa.string()),
        ("sensor", pa.string()),
        ("etag", pa.string()),
        ("family", pa.int8()),
        ("strict", pa.bool_()),
        ("width", pa.int32()),
        ("features", pa.dictionary(pa.int32(), pa.string())),  # a JSON list of names
        ("made_by", pa.dictionary(pa.int32(), pa.string())),
        ("skops", pa.bool_()),  # whether its file was skops; else a pickle
        ("reason", pa.dictionary(pa.int32(), pa.string())),  # why it cannot be scored; "" where it can
        ("message", pa.string()),
        ("task", pa.dictionary(pa.int32(), pa.string())),  # of a chain of steps; "" for others, as the next four
        ("outputs", pa.int32()),
        ("classes", pa.dictionary(pa.int32(), pa.string())),  # a JSON list of the texts of its labels
        ("probability", pa.bool_()),
        ("gap_rule", pa.int8()),
        ("gaps", pa.dictionary(pa.int32(), pa.string())),  # who is given rows with gaps; "" where its files do not say
        ("numbers", pa.large_list(pa.field("item", pa.float64(), nullable=False))),
        ("integers", pa.large_list(pa.field("item", pa.int32(), nullable=False))),
        ("file", pa.large_binary()),  # the file itself, where its own library has to score it and it is small
        ("companions", pa.large_binary()),  # in that case: its other files by kind, as JSON, in base64; empty for none
    ]
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One model for a pack: what its files say. *file* and *companions*: of a small one that no kernel knows."""

    model: Model
    etag: str  # of the file that this was made from
    packed: Packed | Unscorable
    skops: bool = False  # whether the file was skops; else a pickle
    file: bytes = b""
    companions: Mapping[str, bytes] = field(default_factory=lambda: NO_COMPANIONS)
    gaps: Gaps | None = None


@dataclass(frozen=True)
class Pack:
    """The models of a pack, in columns. Views are created once and copy nothing.

    *is_cut*: the models after its last one did not fit into it, and are in a further pack. *is_loaded* is a mask of the
    rows whose numbers and files are in memory, None for all; those of the others must not be looked at.
    """

    rows: pa.RecordBatch
    is_cut: bool = False
    is_loaded: np.ndarray | None = None

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def get_numbers(self, name: str) -> np.ndarray:
        """A column of numbers as an array."""
        return view_numbers(self.rows.column(name))

    @cached_property
    def numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """The index of each model's first number, and the end of the last model; and all numbers."""
        return self._get_lists("numbers")

    @cached_property
    def integers(self) -> tuple[np.ndarray, np.ndarray]:
        """The same of the integers that forests have."""
        return self._get_lists("integers")

    def _get_lists(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        column = self.rows.column(name)
        return view_numbers(column.offsets), view_numbers(column.values)

    def get_texts(self, name: str) -> tuple[np.ndarray, list[str]]:
        """A column of few distinct texts: a code for each row, and the text of each code."""
        column = self.rows.column(name)
        return view_numbers(column.indices), column.dictionary.to_pylist()

    @cached_property
    def features(self) -> tuple[np.ndarray, list[tuple[str, ...]]]:
        """The same of the names that models were fitted with. Raises ValueError where they are not lists of names."""
        codes, texts = self.get_texts("features")
        names = [json.loads(text) for text in texts]
        if not all(
            isinstance(feature_names, list) and all(isinstance(name, str) for name in feature_names)
            for feature_names in names
        ):
            raise ValueError("expected lists of feature names")
        return codes, [tuple(feature_names) for feature_names in names]

    @cached_property
    def gaps(self) -> tuple[np.ndarray, list[Gaps | None]]:
        """The same of who is given rows with gaps; None where the model's files do not say. Raises ValueError."""
        codes, texts = self.get_texts("gaps")
        return codes, [Gaps(text) if text else None for text in texts]

    @cached_property
    def classes(self) -> tuple[np.ndarray, list[tuple[str, ...]]]:
        """The same of the texts of models' labels. Raises ValueError where they are not lists of texts."""
        codes, texts = self.get_texts("classes")
        return codes, [tuple(map(str, json.loads(text))) for text in texts]

    @cached_property
    def tasks(self) -> tuple[np.ndarray, list[Task | None]]:
        """The same of what chains of steps do; None for other models. Raises ValueError."""
        codes, texts = self.get_texts("task")
        return codes, [Task(text) if text else None for text in texts]

    @cached_property
    def is_kept(self) -> np.ndarray:
        """A mask of the rows whose models their own library scores, from their files."""
        codes, reasons = self.get_texts("reason")
        is_kept: np.ndarray = (self.get_numbers("family") == Family.KEPT) & np.isin(
            codes, [i for i, r in enumerate(reasons) if not r]
        )
        return is_kept

    def find_loaded(self) -> np.ndarray:
        """A mask of the rows whose numbers and files are in memory."""
        return np.ones(len(self), bool) if self.is_loaded is None else self.is_loaded

    @cached_property
    def has_file(self) -> np.ndarray:
        """A mask of the rows that hold the model's file: of those that are kept the small ones."""
        has_file: np.ndarray = self.is_kept & (view_numbers(pc.binary_length(self.rows.column("file"))) > 0)
        return has_file

    def count_bytes(self) -> np.ndarray:
        """The bytes of the numbers of each model, int64; and one more element, 0, for the row -1."""
        n_bytes = np.diff(self.numbers[0]) * 8 + np.diff(self.integers[0]) * 4
        return np.append(n_bytes, 0)

    def get_refusal(self, row: int) -> Unscorable | None:
        """Why the model of this row cannot be scored; None when it can."""
        reason = self.rows.column("reason")[row].as_py()
        return Unscorable(Reason(reason), self.rows.column("message")[row].as_py()) if reason else None

    def get_content(self, row: int) -> Content:
        """The model's file, where it is stored, with its other files and the etag that this row was made from."""
        data, etag, encoded = (self.rows.column(name)[row].as_py() for name in ("file", "etag", "companions"))
        companions = {kind: base64.b64decode(text) for kind, text in json.loads(encoded).items()} if encoded else {}
        return Content(data, etag, companions)

    def find_rows(self, models: ModelList) -> np.ndarray:
        """The row of each model of the plan, by id and etag; -1 where there is none.

        int64, one a model. For a pack of exactly these models columns are compared; else a row takes a microsecond.
        """
        key = ("device", "sensor", "etag")
        if len(self) == len(models) and all(self.rows.column(name).equals(view_texts(models, name)) for name in key):
            return np.arange(len(models))
        row_of = {ids: row for row, ids in enumerate(zip(*(self.rows.column(n).to_pylist() for n in key), strict=True))}
        ids_of_models = zip(*(models.read_texts(name) for name in key), strict=True)
        return np.array([row_of.get(ids, -1) for ids in ids_of_models], np.int64)

    def merge_rows(self, rows: np.ndarray, fresh: Pack) -> Pack:
        """A pack of the models at *rows*, which are loaded; those of -1 are the next models of *fresh*."""
        if not len(fresh) and len(rows) == len(self) and (rows == np.arange(len(self))).all():
            return self
        assert self.find_loaded()[rows[rows >= 0]].all()
        if not len(self) and len(rows) == len(fresh):  # without a copy
            return Pack(fresh.rows, self.is_cut)
        indices = np.where(rows >= 0, rows, len(self) + np.cumsum(rows < 0) - 1)
        both = pa.Table.from_batches([self.rows, fresh.rows]).unify_dictionaries()
        merged = both.take(build_numbers(indices)).combine_chunks()
        batches = merged.to_batches()
        return Pack(batches[0], self.is_cut) if batches else EMPTY


def build_pack(entries: Sequence[Entry]) -> Pack:
    """A pack of models, in their order."""
    if not entries:
        return EMPTY
    packed = [e.packed if isinstance(e.packed, Packed) else None for e in entries]
    predicted = [p.predicted if p else None for p in packed]
    reasons = [e.packed if isinstance(e.packed, Unscorable) else None for e in entries]
    columns = [
        build_strings([e.model.device for e in entries]),
        build_strings([e.model.sensor for e in entries]),
        build_strings([e.etag for e in entries]),
        build_numbers(np.array([p.family if p else Family.KEPT for p in packed], np.int8)),
        build_flags(np.array([bool(p and p.strict) for p in packed])),
        build_numbers(np.array([p.n_features if p else 0 for p in packed], np.int32)),
        build_dictionary([json.dumps(p.features if p else ()) for p in packed]),
        build_dictionary([p.made_by if p else "" for p in packed]),
        build_flags(np.array([e.skops for e in entries])),
        build_dictionary([r.reason if r else "" for r in reasons]),
        build_strings([clip_text(str(r)) if r else "" for r in reasons]),
        build_dictionary([p.task if p else "" for p in predicted]),
        build_numbers(np.array([p.n_outputs if p else 0 for p in predicted], np.int32)),
        build_dictionary([json.dumps(p.classes if p else ()) for p in predicted]),
        build_flags(np.array([bool(p and p.has_probability) for p in predicted])),
        build_numbers(np.array([p.gap_rule if p else GapRule.NONE for p in predicted], np.int8)),
        build_dictionary([e.gaps or "" for e in entries]),
        _build_lists([p.numbers if p else _NONE for p in packed], np.float64),
        _build_lists([p.integers if p else _NONE for p in packed], np.int32),
        _build_binaries([e.file for e in entries]),
        _build_binaries([_dump_companions(e.companions) for e in entries]),
    ]
    return Pack(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))


def _dump_companions(companions: Mapping[str, bytes]) -> bytes:
    if not companions:
        return b""
    return json.dumps({kind: base64.b64encode(companions[kind]).decode() for kind in sorted(companions)}).encode()


_NONE = np.empty(0)


def _build_lists(arrays: Sequence[np.ndarray], kind: type) -> pa.LargeListArray:
    offsets = np.concatenate([[0], np.cumsum([len(a) for a in arrays])]).astype(np.int64)
    values: np.ndarray = np.concatenate(arrays).astype(kind, copy=False)
    item = pa.field("item", pa.from_numpy_dtype(kind), nullable=False)
    return pa.LargeListArray.from_arrays(build_numbers(offsets), build_numbers(values), type=pa.large_list(item))


def _build_binaries(files: Sequence[bytes]) -> pa.LargeBinaryArray:
    offsets = np.concatenate([[0], np.cumsum([len(f) for f in files])]).astype(np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(files))]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(files), buffers)


EMPTY = Pack(pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in SCHEMA], schema=SCHEMA))
