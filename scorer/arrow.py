"""Arrow columns from NumPy arrays and back, by their buffers.

`pa.array` and `to_numpy` would do, but import pandas at their first call: 0.2 s and 50 MB of every node.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa


def strings(texts: Sequence[str]) -> pa.StringArray:
    """A column of texts."""
    joined = "".join(texts).encode()
    lengths = map(len, texts) if joined.isascii() else (len(text.encode()) for text in texts)
    ends = np.cumsum(np.fromiter(lengths, np.int32, len(texts)), dtype=np.int32)
    offsets = np.concatenate([np.zeros(1, np.int32), ends])
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(joined))


def numbers(values: np.ndarray, kind: pa.DataType | None = None, null: np.ndarray | None = None) -> pa.Array:
    """A column of numbers that shares their memory; *kind* where Arrow's type is another of the same width."""
    assert values.ndim == 1
    assert values.dtype != bool
    data = pa.py_buffer(np.ascontiguousarray(values))
    valid = None if null is None else pa.py_buffer(np.packbits(~null, bitorder="little"))
    return pa.Array.from_buffers(kind or pa.from_numpy_dtype(values.dtype), len(values), [valid, data])


def flags(values: np.ndarray) -> pa.BooleanArray:
    """A column of truth values."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(np.packbits(values, bitorder="little"))])


def encoded(texts: Sequence[str]) -> pa.DictionaryArray:
    """A column of few distinct texts."""
    codes: dict[str, int] = {}
    of = np.fromiter((codes.setdefault(text, len(codes)) for text in texts), np.int32, len(texts))
    return pa.DictionaryArray.from_arrays(numbers(of), strings(list(codes)))


def view(array: pa.Array) -> np.ndarray:
    """Numbers without nulls, where they lie; truth values copied. Arrow's own `to_numpy` would import pandas."""
    if pa.types.is_boolean(array.type):
        return np.from_dlpack(array.cast(pa.uint8())).view(bool)
    return np.from_dlpack(array)
