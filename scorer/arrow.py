"""Arrow columns from NumPy arrays and back, by their buffers.

`pa.array` and `to_numpy` would do the same, but import pandas at their first call: 0.2 s and 50 MB on every node.
"""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa

from shared.contract.columns import Column
from shared.contract.errors import Malformed
from shared.contract.model_list import ModelList

_TEXTS: WeakKeyDictionary[Column, pa.StringArray] = WeakKeyDictionary()  # the columns of manifests that are in use


def build_strings(texts: Sequence[str]) -> pa.StringArray:
    """A column of texts."""
    text = "".join(texts).encode()
    sizes = map(len, texts) if text.isascii() else (len(text.encode()) for text in texts)
    ends = np.cumsum(np.fromiter(sizes, np.int32, len(texts)), dtype=np.int32)
    offsets = np.concatenate([np.zeros(1, np.int32), ends])
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(text))


def view_texts(models: ModelList, name: str) -> pa.StringArray:
    """A column of a manifest's models: built once for all of them, without a Python object for each."""
    column = models.columns[name]
    array = _TEXTS.get(column)
    if array is None:
        array = _split_texts(column) if column.kind == "texts" else build_strings(column.texts)
        _TEXTS[column] = array
    return array.slice(models.start, len(models))


def _split_texts(column: Column) -> pa.StringArray:
    """The texts of a block that are joined by U+0000."""
    joined = np.frombuffer(column.raw, np.uint8)
    is_separator = joined == 0
    ends = np.append(np.flatnonzero(is_separator), len(joined))
    if len(ends) != column.count:
        raise Malformed(f"expected a column of {column.count} texts, got {len(ends)}")
    offsets = np.zeros(column.count + 1, np.int32)
    offsets[1:] = ends - np.arange(column.count)
    text = pa.py_buffer(joined[~is_separator])
    return pa.StringArray.from_buffers(column.count, pa.py_buffer(offsets), text)


def build_numbers(values: np.ndarray, kind: pa.DataType | None = None, null: np.ndarray | None = None) -> pa.Array:
    """A column of numbers that shares their memory; *kind* is an Arrow type of the same size, where NumPy has none."""
    assert values.ndim == 1
    assert values.dtype != bool
    data = pa.py_buffer(np.ascontiguousarray(values))
    valid = None if null is None else pa.py_buffer(np.packbits(~null, bitorder="little"))
    return pa.Array.from_buffers(kind or pa.from_numpy_dtype(values.dtype), len(values), [valid, data])


def build_flags(values: np.ndarray) -> pa.BooleanArray:
    """A column of truth values."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(np.packbits(values, bitorder="little"))])


def build_dictionary(texts: Sequence[str]) -> pa.DictionaryArray:
    """A column of few distinct texts."""
    codes: dict[str, int] = {}
    indices = np.fromiter((codes.setdefault(text, len(codes)) for text in texts), np.int32, len(texts))
    return pa.DictionaryArray.from_arrays(build_numbers(indices), build_strings(list(codes)))


def are_finite(numbers: np.ndarray) -> bool:
    """Whether all numbers of a float64[n] are finite: by their sum, which needs no mask."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(numbers.sum()):
            return True
    return bool(np.isfinite(numbers).all())  # a sum of finite numbers may overflow


def view_numbers(array: pa.Array) -> np.ndarray:
    """Numbers without nulls, without a copy; truth values copied. Arrow's own `to_numpy` would import pandas."""
    if pa.types.is_boolean(array.type):
        return np.from_dlpack(array.cast(pa.uint8())).view(bool)
    return np.from_dlpack(array)
