"""MDF4's conversion rules: raw numbers -> physical numbers. Tables are ours, formulas are not evaluated.

asammdf 8.8.28 gives the default of a value-range table for nearly all integers, and decides by whole-numbered bounds
from 100 samples on in tables that mix texts and numbers (findings/). It may also hand a formula, which is a text of the
file, to a parser that runs code. Its linear, rational and look-up rules are used as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np


class Rule(IntEnum):
    """The types of a conversion (`cc_type`), MDF 4.x."""

    NONE = 0
    LINEAR = 1
    RATIONAL = 2
    FORMULA = 3
    INTERPOLATED = 4
    NEAREST = 5
    RANGES = 6
    TEXTS = 7
    TEXTS_OF_RANGES = 8
    FROM_TEXT = 9
    TRANSLATED = 10
    BITFIELD = 11


_BY_LIBRARY = (Rule.LINEAR, Rule.RATIONAL, Rule.INTERPOLATED, Rule.NEAREST)
_WITH_TEXTS = (Rule.TEXTS, Rule.TEXTS_OF_RANGES)


def find_unsupported(conversion: Any) -> str:
    """What of a conversion, or of those that it refers to, is not computed; "" where all of it is."""
    if conversion is None:
        return ""
    rule = conversion.conversion_type
    if rule == Rule.FORMULA:
        return "formulas"
    if rule in (Rule.FROM_TEXT, Rule.TRANSLATED):
        return "texts"
    if rule in _WITH_TEXTS:
        return next(filter(None, map(find_unsupported, _list_scales(conversion))), "")
    return "" if rule in list(Rule) else "unknown conversions"


def convert_numbers(conversion: Any, raw: np.ndarray) -> np.ndarray:
    """Physical numbers (float64) of raw ones; NaN where a table of numbers has a text for the raw number.

    A table that has nothing but texts is a state, whose raw numbers are kept.
    """
    numbers = raw.astype(np.float64)
    rule = Rule.NONE if conversion is None else conversion.conversion_type
    if rule in _BY_LIBRARY:
        converted: np.ndarray = np.asarray(conversion.convert(numbers), np.float64)
        return converted
    is_whole = raw.dtype.kind in "iu"
    if rule == Rule.RANGES:
        count = (conversion.val_param_nr - 1) // 3
        physical = np.array([*(conversion[f"phys_{i}"] for i in range(count)), conversion.default], np.float64)
        selected: np.ndarray = physical[_find_rows(conversion, count, numbers, is_whole=is_whole)]
        return selected
    if rule in _WITH_TEXTS and _list_scales(conversion):
        return _convert_mixed(conversion, raw, is_whole=is_whole)
    return numbers


def _convert_mixed(conversion: Any, raw: np.ndarray, *, is_whole: bool) -> np.ndarray:
    """Numbers by a table in which some raw numbers have texts, and others a conversion of their own."""
    blocks = _list_blocks(conversion)
    rows = _find_rows(conversion, len(blocks) - 1, raw.astype(np.float64), is_whole=is_whole)
    numbers = np.full(len(raw), np.nan)
    for row in np.unique(rows).tolist():
        if not isinstance(blocks[row], bytes):
            numbers[rows == row] = convert_numbers(blocks[row], raw[rows == row])
    return numbers


def _find_rows(conversion: Any, count: int, numbers: np.ndarray, *, is_whole: bool) -> np.ndarray:
    """The row of a table that each number is in, the first that fits; *count*, the default, where none does.

    A range holds its upper limit where the raw numbers are whole, and not where they are floats.
    """
    rows = np.full(len(numbers), count)
    for i in reversed(range(count)):
        if conversion.conversion_type == Rule.TEXTS:
            rows[numbers == conversion[f"val_{i}"]] = i
        else:
            lower, upper = conversion[f"lower_{i}"], conversion[f"upper_{i}"]
            rows[(numbers >= lower) & ((numbers <= upper) if is_whole else (numbers < upper))] = i
    return rows


def _list_blocks(conversion: Any) -> Sequence[Any]:
    """What each row of a table with texts gives, and at the end the default: a text, a conversion, or None."""
    per_row = 1 if conversion.conversion_type == Rule.TEXTS else 2
    count = conversion.val_param_nr // per_row
    blocks = conversion.referenced_blocks
    return [*(blocks[f"text_{i}"] for i in range(count)), blocks["default_addr"]]


def _list_scales(conversion: Any) -> list[Any]:
    """The conversions among them: with one, the table is of numbers, with special cases."""
    return [block for block in _list_blocks(conversion) if block is not None and not isinstance(block, bytes)]
