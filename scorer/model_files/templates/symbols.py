"""What stands in a template's values in the place of what only a file says."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from scorer.model_files.parsed import Global

from .template import BYTES, FLOAT, FRAME, INTEGER, TEXT

_U16, _U32, _I32, _U64, _F64 = (struct.Struct(form).unpack_from for form in ("<H", "<I", "<i", "<Q", ">d"))
FIXED = -1  # the kind of opcodes that are part of the fixed bytes
_SIZES = {0x4B: 2, 0x4D: 3, 0x4A: 5, 0x47: 9, 0x95: 9}  # of BININT1, BININT2, BININT, BINFLOAT, FRAME
_KINDS = {
    0x4B: INTEGER, 0x4D: INTEGER, 0x4A: INTEGER, 0x8A: INTEGER, 0x47: FLOAT, 0x95: FRAME, 0x8C: TEXT, 0x58: TEXT,
    0x43: BYTES, 0x42: BYTES, 0x8E: BYTES, 0x96: BYTES,
}  # fmt: skip


_DEEPEST = 4  # tuples in tuples


class Irregular(Exception):
    """There is no template of this part."""


@dataclass(frozen=True, slots=True, eq=False)
class Hole:
    """The value of a hole: which value of the template, and of which kind."""

    index: int
    kind: int


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """An object that the file has numbered before the part, whatever it is."""

    number: int


@dataclass(frozen=True, slots=True, eq=False)
class LateArray:
    """An array whose bytes or shape a file says; with *is_number* its only item."""

    content: Hole
    kind: np.dtype[Any]
    shape: tuple[Any, ...]  # of int and Hole
    order: str
    is_number: bool = False


def find_leaf(data: bytes, position: int) -> tuple[int, int, Any]:
    """The kind of the value that an opcode holds, where the opcode ends, and the value; FIXED for other opcodes.

    As `pickle_reader` reads them. Raises IndexError, ValueError, struct.error.
    """
    code = data[position]
    kind = _KINDS.get(code, FIXED)
    if kind == FIXED:
        return FIXED, position + 1, None
    if code in _SIZES:
        end = position + _SIZES[code]
        start = position + 1
    else:
        width = {0x8A: 1, 0x8C: 1, 0x43: 1, 0x58: 4, 0x42: 4}.get(code, 8)
        length = {1: data[position + 1]}.get(width)
        if length is None:
            length = (_U32 if width == 4 else _U64)(data, position + 1)[0]  # noqa: PLR2004  # bytes of the length
        start = position + 1 + width
        end = start + length
    if end > len(data):
        raise Irregular("it is cut")
    return kind, end, _decode_leaf(data, code, start, end)


def _decode_leaf(data: bytes, code: int, start: int, end: int) -> Any:
    match code:
        case 0x4B:
            return data[start]
        case 0x4D:
            return _U16(data, start)[0]
        case 0x4A:
            return _I32(data, start)[0]
        case 0x47:
            return _F64(data, start)[0]
        case 0x8A:
            return int.from_bytes(data[start:end], "little", signed=True)
        case 0x8C:
            return str(data[start:end], "utf-8")
        case 0x58:
            return str(data[start:end], "utf-8", "surrogatepass")
    return data[start:end]


def is_constant(value: Any, depth: int = _DEEPEST) -> bool:
    """Whether a value is one that no file can change."""
    if type(value) is tuple:
        return depth > 0 and all(is_constant(item, depth - 1) for item in value)
    return value is None or type(value) in (str, int, float, bool, bytes, Global) or isinstance(value, np.dtype)


def is_equal(value: Any, other: Any, depth: int = _DEEPEST) -> bool:
    """Whether two values are the same, of which `is_constant` knows the other one."""
    if type(value) is not type(other):
        return False
    if type(value) is tuple:
        return len(value) == len(other) and all(
            depth > 0 and is_equal(item, own, depth - 1) for item, own in zip(value, other, strict=True)
        )
    if isinstance(value, np.dtype):
        return value is other or _describe_dtype(value) == _describe_dtype(other)
    if type(value) is float:
        return bool(value.hex() == other.hex())
    return bool(value == other)


def _describe_dtype(kind: np.dtype[Any]) -> tuple[Any, ...]:
    return kind.str, kind.names, kind.fields, kind.itemsize
