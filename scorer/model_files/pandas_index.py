"""The names in a pickled pandas Index, such as `frame.columns`, read as data and without pandas.

An Index of texts is an array of objects until pandas 2, and since pandas 3 the buffers of Arrow's large_string, where
pyarrow is installed: https://arrow.apache.org/docs/format/Columnar.html#variable-size-binary-layout
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from .parsed import Global, ObjectArray, ParsedObject

_INDEX, _STRINGS = "pandas.core.indexes.base._new_Index", "pandas.arrays.ArrowStringArray"
_ARRAY, _BUFFER, _TYPE = "pyarrow.lib._restore_array", "pyarrow.lib.py_buffer", "pyarrow.lib.type_for_alias"
_OFFSETS = {"string": "<i4", "large_string": "<i8"}  # the type of their numbers
_PLAIN = Global("pandas.core.indexes.base.Index")


def is_index(value: Any) -> bool:
    """Whether a value is a pandas Index."""
    return type(value) is ParsedObject and value.kind == _INDEX


def read_names(index: ParsedObject) -> list[str]:
    """The texts of an Index. Raises ValueError, TypeError and such for an Index of anything else, or a broken one."""
    kind, state = index.state["__args__"]
    data = state["data"]
    names = list(data) if type(data) is ObjectArray and len(data.shape) == 1 else _read_strings(data)
    if kind != _PLAIN or not all(type(name) is str for name in names):
        raise ValueError("an Index of other values")
    return names


def _read_strings(strings: Any) -> list[str]:
    """The texts of an array that Arrow holds; it has no nulls and is no part of another."""
    if strings.kind != _STRINGS:
        raise ValueError("an array of other values")
    ((kind, length, nulls, offset, buffers, children, dictionary),) = _get_call(strings.state["_pa_array"], _ARRAY)
    (alias,) = _get_call(kind, _TYPE)
    validity, offsets_buffer, texts_buffer = buffers
    if (nulls, offset, children, dictionary, validity) != (0, 0, [], None, None) or type(length) is not int:
        raise ValueError("an array with gaps, or a part of another")
    offsets = np.frombuffer(_read_buffer(offsets_buffer), _OFFSETS[alias])[: length + 1].tolist()
    texts = _read_buffer(texts_buffer)
    is_inside = len(offsets) == length + 1 and offsets[0] >= 0 and offsets[-1] <= len(texts)
    if not is_inside or offsets != sorted(offsets):
        raise ValueError("texts outside the array")
    return [str(texts[first:end], "utf-8") for first, end in itertools.pairwise(offsets)]


def _read_buffer(buffer: Any) -> bytes:
    (content,) = _get_call(buffer, _BUFFER)
    if type(content) is ParsedObject and content.kind == "builtins.bytearray":
        (content,) = content.state["__args__"]
    if type(content) is not bytes:
        raise ValueError("a buffer without bytes")
    return content


def _get_call(value: Any, function: str) -> Any:
    """The arguments of a call of this function."""
    if type(value) is not ParsedObject or value.kind != function:
        raise ValueError(f"expected a call of {function}")
    return value.state["__args__"]
