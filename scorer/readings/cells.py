"""Columns of ids and of numbers -> NumPy arrays. Texts are parsed here, once for each distinct text."""

from __future__ import annotations

import csv
import uuid

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scorer.arrow import build_numbers, build_strings, view_numbers
from scorer.errors import Unscorable
from shared.contract.reasons import Reason

MISSING = ("", "#N/A", "N/A", "NA", "NULL", "NaN", "None", "nan", "null")  # where a number is expected

# Exceptions of the parsers for a damaged or hostile file.
BROKEN = (
    pa.ArrowException, csv.Error, OSError, ValueError, LookupError, ArithmeticError, MemoryError, RecursionError,
)  # fmt: skip

_IDS = "text, UUIDs or whole numbers"
_EXACT = {"float16": 2**11, "float32": 2**24, "float64": 2**53}  # below it every whole number is exact
_FLAGS = ("true", "false")  # in any case, as JSON, pandas and Excel write them

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity|nan)$"
# With a decimal comma: numbers that have points of thousands without doubt. Other cells with points are no numbers.
_GROUPED = r"^\s*[+-]?\d{1,3}((\.\d{3})+,\d+|(\.\d{3}){2,})\s*$"
_AMBIGUOUS = "?"  # no number


def make_unreadable(message: str) -> Unscorable:
    """The error of a whole file."""
    return Unscorable(Reason.UNREADABLE_READINGS, message)


def is_text(kind: pa.DataType) -> bool:
    """Whether cells are texts, plain or in a dictionary."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or _is_binary(kind)
    )


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def combine_chunks(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array; without a copy where it is one already. A dictionary of anything but text is decoded."""
    if pa.types.is_dictionary(column.type) and not is_text(column.type):
        column = column.cast(column.type.value_type)
    if column.num_chunks == 1:
        return column.chunk(0)
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    return column.combine_chunks()


def fill_nulls(array: pa.Array, null: float) -> np.ndarray:
    """Numbers, *null* where one is missing; without a copy where none is. Arrow's `fill_null` imports pandas."""
    if not array.null_count:
        return view_numbers(array)
    data = pa.Array.from_buffers(array.type, len(array), [None, array.buffers()[1]], offset=array.offset)
    numbers = view_numbers(data).copy()
    numbers[~view_numbers(array.is_valid())] = null
    return numbers


def encode_texts(array: pa.Array) -> tuple[pa.StringArray, np.ndarray]:
    """The distinct texts of a column, and the index of each row's text: for a row without text, that after the last."""
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    texts = array.dictionary.cast(pa.string())
    if texts.null_count:
        texts = texts.fill_null("")
    return texts, fill_nulls(array.indices, len(texts))


def read_ids(column: pa.ChunkedArray, name: str) -> tuple[list[str], np.ndarray]:
    """The distinct ids of a column, the last one "" for rows without, and the index of each row's id.

    Texts stay what they are, and numbers that are whole become their digits: 5.0 is "5". Raises Unscorable.
    """
    array = combine_chunks(column)
    kind = array.type
    if is_uuid(kind):
        codes = array.storage.dictionary_encode()
        texts = [str(uuid.UUID(bytes=code)) for code in codes.dictionary.to_pylist()]
        return [*texts, ""], fill_nulls(codes.indices, len(texts))
    if pa.types.is_floating(kind):
        array = _convert_floats(array, name)
    elif pa.types.is_decimal(kind):
        array = _convert_decimals(array, name)
    elif not (is_text(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise make_unreadable(f"column {name!r} is {kind}, expected {_IDS}")
    texts, indices = encode_texts(array)
    return [*texts.to_pylist(), ""], indices


def is_uuid(kind: pa.DataType) -> bool:
    """Whether cells are UUIDs."""
    return isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "arrow.uuid"


def read_whole(number: float, kind: str = "float64") -> str:
    """The digits of a whole number, or "" where it is not whole, or so large that it may have been rounded."""
    return str(int(number)) if abs(number) < _EXACT[kind] and number == int(number) else ""


def _convert_floats(array: pa.Array, name: str) -> pa.Array:
    numbers = fill_nulls(array, np.nan)
    is_missing = np.isnan(numbers)
    is_whole = (numbers == np.trunc(numbers)) & (np.abs(numbers) < _EXACT[str(numbers.dtype)])
    wrong = numbers[~is_missing & ~is_whole]
    if len(wrong):
        raise make_unreadable(f"column {name!r} has {wrong[0]}, expected {_IDS}")
    return build_numbers(np.where(is_missing, 0, numbers).astype(np.int64), null=is_missing)


def _convert_decimals(array: pa.Array, name: str) -> pa.Array:
    digits = pa.decimal256(76, 0) if pa.types.is_decimal256(array.type) else pa.decimal128(38, 0)
    try:
        return array.cast(digits)
    except pa.ArrowInvalid:
        wrong = next((cell for cell in array.to_pylist() if cell is not None and cell % 1), f"cells of {array.type}")
        raise make_unreadable(f"column {name!r} has {wrong}, expected {_IDS}") from None


def read_numbers(column: pa.ChunkedArray, *, decimal_comma: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
    """A column as float64, NaN for unusable cells; and a mask of cells that are neither number nor missing, or None.

    Without a copy where it is float64 already and has no nulls. Of texts with a *decimal_comma* a point is none.
    """
    array = combine_chunks(column)
    kind = array.type
    if pa.types.is_boolean(kind):
        array = array.cast(pa.int8())
        kind = array.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return fill_nulls(array.cast(pa.float64(), safe=False), np.nan), None
    if pa.types.is_null(kind):
        return np.full(len(array), np.nan), None
    if not is_text(kind):
        return np.full(len(array), np.nan), view_numbers(array.is_valid())
    texts, indices = encode_texts(array)
    values, bad = _parse_texts(write_points(texts) if decimal_comma else texts)
    return np.append(values, np.nan).take(indices), np.append(bad, False).take(indices) if bad.any() else None


def write_points(texts: pa.StringArray) -> pa.StringArray:
    """Numbers with a decimal comma as those with a point. `1.234,5` has points of thousands; `1.234` is none."""
    is_grouped, has_point = pc.match_substring_regex(texts, _GROUPED), pc.match_substring(texts, ".")
    plain = pc.if_else(is_grouped, pc.replace_substring(texts, ".", ""), pc.if_else(has_point, _AMBIGUOUS, texts))
    return pc.replace_substring(plain, ",", ".")


def _parse_texts(texts: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    texts = pc.utf8_trim_whitespace(texts)
    good = pc.match_substring_regex(texts, NUMBER)
    is_number = view_numbers(good)
    values = np.full(len(texts), np.nan)
    values[is_number] = view_numbers(texts.filter(good).cast(pa.float64()))
    if is_number.all():
        return values, ~is_number
    words = pc.ascii_lower(texts)
    is_true, is_false = (view_numbers(pc.is_in(words, build_strings([word]))) for word in _FLAGS)
    values[is_true], values[is_false] = 1, 0
    is_missing = view_numbers(pc.is_in(texts, build_strings(MISSING)))
    return values, ~(is_number | is_true | is_false | is_missing)
