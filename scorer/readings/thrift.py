"""Thrift's compact protocol, which Parquet's footers are written in: bytes -> structs, values by their fields' numbers.

pyarrow tells what a footer says too, but where that contradicts itself some of its accessors end the process.
"""

from __future__ import annotations

from typing import Any

DEPTH_LIMIT = 32  # of structs and lists within each other; Parquet has nine

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
Struct = dict[int, Any]


def parse(data: bytes) -> Struct:
    """The struct that *data* begins with. Raises ValueError or IndexError where there is none."""
    return _struct(data, 0, DEPTH_LIMIT)[0]


def _struct(data: bytes, at: int, depth: int) -> tuple[Struct, int]:
    found: Struct = {}
    number = 0
    while head := data[at]:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _zigzag(data, at)
        kind = head & 15
        if kind in (_TRUE, _FALSE):
            found[number] = kind == _TRUE
        else:
            found[number], at = _value(data, at, kind, depth - 1)
    return found, at + 1


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if depth < 0:
        raise ValueError(f"expected structs no deeper than {DEPTH_LIMIT}")
    if kind in (_I16, _I32, _I64):
        return _zigzag(data, at)
    if kind == _BINARY:
        length, at = _varint(data, at)
        if length > len(data) - at:
            raise ValueError(f"expected {length} bytes, got {len(data) - at}")
        return data[at : at + length], at + length
    if kind == _STRUCT:
        return _struct(data, at, depth)
    if kind in (_LIST, _SET):
        return _list(data, at, depth)
    if kind in (_TRUE, _FALSE, _BYTE):  # in a list a truth value takes a byte
        return data[at], at + 1
    if kind == _DOUBLE:
        return data[at : at + 8], at + 8
    raise ValueError(f"expected a kind of value that Parquet uses, got {kind}")  # maps, too, it does not


def _list(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    head = data[at]
    length, at = (head >> 4, at + 1) if head >> 4 != 15 else _varint(data, at + 1)  # noqa: PLR2004  # no room for more
    found = []
    for _ in range(length):  # each takes a byte at least, so the data ends it
        one, at = _value(data, at, head & 15, depth - 1)
        found.append(one)
    return found, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        byte = data[at]
        at += 1
        found |= (byte & 127) << shift
        if byte < 128:  # noqa: PLR2004  # the last one
            return found, at
        shift += 7
        if shift > 63:  # noqa: PLR2004  # no number is longer
            raise ValueError("expected a number of 64 bits")


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    found, at = _varint(data, at)
    return (found >> 1) ^ -(found & 1), at
