"""Thrift's compact protocol, the format of Parquet's footers: bytes -> structs, values by their fields' numbers.

pyarrow parses footers too, but where one contradicts itself some of its accessors end the process.
"""

from __future__ import annotations

from typing import Any

DEPTH_LIMIT = 32  # of structs and lists within each other; Parquet has nine

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
Struct = dict[int, Any]


def parse_struct(data: bytes) -> Struct:
    """The struct that *data* begins with. Raises ValueError or IndexError where there is none."""
    return _read_struct(data, 0, DEPTH_LIMIT)[0]


def _read_struct(data: bytes, position: int, depth: int) -> tuple[Struct, int]:
    fields: Struct = {}
    number = 0
    while head := data[position]:
        position += 1
        if head >> 4:
            number += head >> 4
        else:
            number, position = _read_zigzag(data, position)
        kind = head & 15
        if kind in (_TRUE, _FALSE):
            fields[number] = kind == _TRUE
        else:
            fields[number], position = _read_value(data, position, kind, depth - 1)
    return fields, position + 1


def _read_value(data: bytes, position: int, kind: int, depth: int) -> tuple[Any, int]:
    if depth < 0:
        raise ValueError(f"expected structs no deeper than {DEPTH_LIMIT}")
    if kind in (_I16, _I32, _I64):
        return _read_zigzag(data, position)
    if kind == _BINARY:
        length, position = _read_varint(data, position)
        if length > len(data) - position:
            raise ValueError(f"expected {length} bytes, got {len(data) - position}")
        return data[position : position + length], position + length
    if kind == _STRUCT:
        return _read_struct(data, position, depth)
    if kind in (_LIST, _SET):
        return _read_list(data, position, depth)
    if kind in (_TRUE, _FALSE, _BYTE):  # in a list a truth value takes a byte
        return data[position], position + 1
    if kind == _DOUBLE:
        return data[position : position + 8], position + 8
    raise ValueError(f"expected a kind of value that Parquet uses, got {kind}")  # it uses no maps either


def _read_list(data: bytes, position: int, depth: int) -> tuple[list[Any], int]:
    head = data[position]
    length, position = (head >> 4, position + 1) if head >> 4 != 15 else _read_varint(data, position + 1)  # noqa: PLR2004  # 15: the length follows
    values = []
    for _ in range(length):  # each takes at least a byte, so the end of the data ends the loop
        value, position = _read_value(data, position, head & 15, depth - 1)
        values.append(value)
    return values, position


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:  # noqa: PLR2004  # the last one
            return number, position
        shift += 7
        if shift > 63:  # noqa: PLR2004  # no number is longer
            raise ValueError("expected a number of 64 bits")


def _read_zigzag(data: bytes, position: int) -> tuple[int, int]:
    number, position = _read_varint(data, position)
    return (number >> 1) ^ -(number & 1), position
