"""Reads Universal Binary JSON (UBJSON) as XGBoost writes it: big-endian, text and lengths as 64-bit numbers.

The format: https://ubjson.org; the part of it that XGBoost reads and writes: `UBJReader` in its src/common/json.cc.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from scorer.errors import Unscorable
from shared.contract.reasons import Reason

NESTED = 64  # objects and arrays within each other; XGBoost's own files have 8
MOST_VALUES = 2**21  # that become objects of Python; a typed array is one. XGBoost has about 20 a tree
_LENGTH = struct.Struct(">q")
_HEAD = 9  # bytes of a length with its marker
_ARRAYS: Mapping[int, tuple[np.dtype[Any], int]] = MappingProxyType(
    {
        ord(marker): (np.dtype(code), np.dtype(code).itemsize)
        for marker, code in {
            "d": ">f4", "D": ">f8", "i": "i1", "U": "u1", "I": ">i2", "l": ">i4", "L": ">i8"
        }.items()
    }
)  # fmt: skip
_NUMBERS: Mapping[int, struct.Struct] = MappingProxyType(
    {
        ord(marker): struct.Struct(f">{code}")
        for marker, code in {"d": "f", "D": "d", "i": "b", "U": "B", "I": "h", "l": "i", "L": "q", "C": "b"}.items()
    }
)
_CONSTANTS: Mapping[int, Any] = MappingProxyType({ord("Z"): None, ord("T"): True, ord("F"): False})

# Reads the value of one key from a position on: the value and where it ends; None where it is of another form.
ValueReader = Callable[[bytes, int], tuple[Any, int] | None]
NO_READERS: Mapping[str, ValueReader] = MappingProxyType({})


def read_ubjson(data: bytes, readers: Mapping[str, ValueReader] = NO_READERS) -> Any:
    """The value: dicts, lists, text, numbers, and typed arrays as NumPy arrays of the file's own byte order.

    *readers*: faster readers for the values of some keys. Raises Unscorable (TOO_LARGE), ValueError, IndexError,
    struct.error.
    """
    parser = _Parser(data, readers)
    value, end = parser.read_value(0, 0)
    if end != len(data):
        raise ValueError(f"expected the end at byte {end}, got {len(data) - end} bytes more")
    return value


class _Parser:
    """Reads values from positions; counts what it makes."""

    def __init__(self, data: bytes, readers: Mapping[str, ValueReader]) -> None:
        self._data = data
        self._readers = readers
        self._n_values = 0

    def read_value(self, position: int, depth: int) -> tuple[Any, int]:
        """The value at a position, and where it ends."""
        self._n_values += 1
        if self._n_values > MOST_VALUES:
            raise Unscorable(Reason.TOO_LARGE, f"expected UBJSON of at most {MOST_VALUES} values, got more")
        if depth > NESTED:
            raise ValueError("it is nested deeper than any model")
        marker = self._data[position]
        position += 1
        if marker == ord("S"):
            return self._read_text(position)
        if marker in _NUMBERS:
            return _NUMBERS[marker].unpack_from(self._data, position)[0], position + _NUMBERS[marker].size
        if marker == ord("["):
            return self._read_array(position, depth)
        if marker == ord("{"):
            return self._read_object(position, depth)
        if marker in _CONSTANTS:
            return _CONSTANTS[marker], position
        raise ValueError(f"expected the marker of a value at byte {position - 1}, got 0x{marker:02x}")

    def _read_length(self, position: int) -> int:
        """The length at a position, its marker first: of bytes or items, each of which takes a byte at least."""
        length: int = _LENGTH.unpack_from(self._data, position + 1)[0]
        if self._data[position] != ord("L") or not 0 <= length <= len(self._data) - position - _HEAD:
            raise ValueError(f"expected a length within the file at byte {position}, got another one")
        return length

    def _read_text(self, position: int) -> tuple[str, int]:
        start = position + _HEAD
        end = start + self._read_length(position)
        return str(self._data[start:end], "utf-8"), end

    def _read_object(self, position: int, depth: int) -> tuple[dict[str, Any], int]:
        items: dict[str, Any] = {}
        while self._data[position] != ord("}"):
            key, position = self._read_text(position)
            read = self._readers.get(key)
            result = read(self._data, position) if read else None
            items[key], position = result or self.read_value(position, depth + 1)
        return items, position + 1

    def _read_array(self, position: int, depth: int) -> tuple[Any, int]:
        marker = self._data[position]
        if marker == ord("$"):
            return self._read_numbers(position + 1)
        items: list[Any] = []
        if marker == ord("#"):
            count = self._read_length(position + 1)
            position += 1 + _HEAD
            for _ in range(count):
                item, position = self.read_value(position, depth + 1)
                items.append(item)
            return items, position
        while self._data[position] != ord("]"):
            item, position = self.read_value(position, depth + 1)
            items.append(item)
        return items, position + 1

    def _read_numbers(self, position: int) -> tuple[np.ndarray, int]:
        """A typed array: `d#L`, the count, the numbers."""
        kind = _ARRAYS.get(self._data[position])
        if kind is None or self._data[position + 1] != ord("#"):
            raise ValueError(f"expected a typed array of numbers at byte {position}, got another one")
        count = self._read_length(position + 2)
        start = position + 2 + _HEAD
        end = start + count * kind[1]
        if end > len(self._data):
            raise ValueError(f"expected {count} numbers at byte {start}, got the end of the file")
        return np.frombuffer(self._data, kind[0], count, start) if count else np.empty(0, kind[0]), end
