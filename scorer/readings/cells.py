"""Columns of ids and of numbers -> NumPy arrays. What a cell holds is decided here, once for each distinct text."""

from __future__ import annotations

import csv

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scorer.arrow import strings, view
from scorer.errors import Unscorable
from shared.contract.domain import Reason

MISSING = ("", "#N/A", "N/A", "NA", "NULL", "NaN", "None", "nan", "null")  # where a number was wanted

# What the parsers raise over a file that is damaged, or made to do damage.
BROKEN = (
    pa.ArrowException, csv.Error, OSError, ValueError, LookupError, ArithmeticError, MemoryError, RecursionError,
)  # fmt: skip

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity|nan)$"


def unreadable(message: str) -> Unscorable:
    """The refusal of a whole file."""
    return Unscorable(Reason.UNREADABLE_READINGS, message)


def is_text(kind: pa.DataType) -> bool:
    """Whether cells are texts, as they are or by a dictionary."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or _is_binary(kind)
    )


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece; without a copy where it is that already. A dictionary of anything but text is undone."""
    if pa.types.is_dictionary(column.type) and not is_text(column.type):
        column = column.cast(column.type.value_type)
    if column.num_chunks == 1:
        return column.chunk(0)
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    return column.combine_chunks()


def filled(array: pa.Array, null: float) -> np.ndarray:
    """Numbers, *null* where there is none; without a copy where there are all. Arrow's `fill_null` imports pandas."""
    if not array.null_count:
        return view(array)
    data = pa.Array.from_buffers(array.type, len(array), [None, array.buffers()[1]], offset=array.offset)
    numbers = view(data).copy()
    numbers[~view(array.is_valid())] = null
    return numbers


def encoded(array: pa.Array) -> tuple[pa.StringArray, np.ndarray]:
    """The distinct texts of a column, and each row's place among them: behind the last one where it has none."""
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    texts = array.dictionary.cast(pa.string())
    if texts.null_count:
        texts = texts.fill_null("")
    return texts, filled(array.indices, len(texts))


def ids(column: pa.ChunkedArray, name: str) -> tuple[list[str], np.ndarray]:
    """The distinct ids of a column, the last one "" for rows without, and each row's place among them.

    Ids stay what they are: they were never taken for anything else. Raises Unscorable.
    """
    array = whole(column)
    kind = array.type
    if not (is_text(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise unreadable(f"column {name!r} is {kind}, expected text or whole numbers")
    texts, indices = encoded(array)
    return [*texts.to_pylist(), ""], indices


def numbers(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray | None]:
    """A column as float64, NaN where nothing usable stands; and where that is neither number nor missing, if anywhere.

    Without a copy where it is float64 already and has no nulls.
    """
    array = whole(column)
    kind = array.type
    if pa.types.is_boolean(kind):
        array = array.cast(pa.int8())
        kind = array.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return filled(array.cast(pa.float64(), safe=False), np.nan), None
    if pa.types.is_null(kind):
        return np.full(len(array), np.nan), None
    if not is_text(kind):
        return np.full(len(array), np.nan), view(array.is_valid())
    texts, indices = encoded(array)
    values, bad = _parsed(texts)
    return np.append(values, np.nan).take(indices), np.append(bad, False).take(indices) if bad.any() else None


def _parsed(texts: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    texts = pc.utf8_trim_whitespace(texts)
    good = pc.match_substring_regex(texts, _NUMBER)
    here = view(good)
    values = np.full(len(texts), np.nan)
    values[here] = view(texts.filter(good).cast(pa.float64()))
    return values, ~here & ~view(pc.is_in(texts, strings(MISSING)))
