"""Lines of flat JSON by pyarrow's reader of CSV, which takes a third of the time of its reader of JSON.

Devices write the same keys in the same order in each line. A kernel checks that each line is so, and leaves the keys
out. What it does not take, `blocks` reads: also texts that may be times, since a reader of JSON makes them such.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from scorer.kernels.rows import NULL, TEXT, WHOLE, find_kernels
from shared.contract.model_names import Columns

from .leaves import BODY, is_envelope

_KEYS = 1000  # of a line
_TEXTS = pa.dictionary(pa.int32(), pa.string())
_NULL = "null"


@dataclass(frozen=True, slots=True)
class FlatForm:
    """The keys of flat lines, and of each whether it may hold an id or a time."""

    names: tuple[str, ...]
    is_id: tuple[bool, ...]
    is_time: tuple[bool, ...]

    def choose_type(self, index: int, kind: int) -> pa.DataType | None:
        """The type of a column whose values are of some kinds; None where a reader of JSON must decide."""
        kind &= ~NULL
        if kind == TEXT:
            return _TEXTS if self.is_id[index] or self.is_time[index] else pa.string()
        if kind == WHOLE and (self.is_id[index] or self.is_time[index]):
            return pa.int64()
        if kind and not kind & TEXT and not self.is_id[index]:
            return pa.float64()
        return None


def find_form(block: bytes, columns: Columns) -> FlatForm | None:
    """The form of the first line of a text; None where it is no flat object, or its keys have escapes."""
    line = block[: block.find(b"\n") + 1 or len(block)]
    try:
        pairs: Any = json.loads(line, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return None
    if not line.startswith(b"{") or any(isinstance(cell, tuple | list) for _, cell in pairs):
        return None
    names = tuple(name for name, _ in pairs)
    is_plain = all(name and name.isprintable() and not set('"\\') & set(name) for name in names)
    if not is_plain or not 0 < len(names) <= _KEYS or len(set(names)) < len(names) or is_envelope(names):
        return None
    ids, times = _list_names(columns.device, columns.sensor), _list_names(columns.time)
    return FlatForm(names, tuple(name in ids for name in names), tuple(name in times for name in names))


def _list_names(*names: str) -> set[str]:
    return {*names, *(name.removeprefix(f"{BODY}.") for name in names), *(f"{BODY}.{name}" for name in names)}


def read_flat(block: bytes, form: FlatForm) -> pa.Table | None:
    """The columns of lines that all have a form; None where they have another. Ids are texts or whole numbers."""
    kernels = find_kernels()
    if kernels is None:
        return None
    keys = [name.encode() for name in form.names]
    ends, kinds = np.cumsum([len(key) for key in keys]), np.zeros(len(keys), np.uint8)
    out = np.empty(len(block) + 1, np.uint8)
    text, joined_keys = np.frombuffer(block, np.uint8), np.frombuffer(b"".join(keys), np.uint8)
    n_bytes, n_rows = kernels.strip_keys(text, joined_keys, ends, kinds, out)
    types = {name: form.choose_type(i, int(kinds[i])) for i, name in enumerate(form.names)}
    if n_rows < 0 or None in types.values():
        return None
    try:
        rows = _read_csv(pa.py_buffer(out[:n_bytes]), types)
    except pa.ArrowInvalid:  # such as a whole number of more than 64 bits
        return None
    assert rows.num_rows == n_rows
    return None if any(_may_be_times(rows[name]) for name, kind in types.items() if kind == pa.string()) else rows


def _read_csv(text: pa.Buffer, types: dict[str, pa.DataType | None]) -> pa.Table:
    from pyarrow import csv as arrow_csv

    reading = arrow_csv.ReadOptions(use_threads=False, block_size=text.size + 1, column_names=[*types])
    options = arrow_csv.ConvertOptions(
        check_utf8=False,  # it was checked as a whole
        column_types=types,
        null_values=[_NULL],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    return arrow_csv.read_csv(pa.BufferReader(text), reading, arrow_csv.ParseOptions(), options)


def _may_be_times(column: pa.ChunkedArray) -> bool:
    """Whether the first text of a column begins as a time does."""
    valid = column.drop_null()
    return bool(len(valid)) and valid[0].as_py()[:1].isdigit()
