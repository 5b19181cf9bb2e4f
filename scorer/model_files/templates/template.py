"""A template of a pickle, or of a part of one: its fixed bytes, the holes between them, and how its value is made.

A file that fits has the fixed bytes to the last one, and in each hole one item of the same kind: a number, a text, the
bytes of an array. What the reader of pickles would do depends on fixed bytes alone, since the builder makes no template
where it would depend on what stands in a hole. Sizes of arrays are checked as the reader checks them. Whatever does not
fit, for any reason, is left to the reader; so a template can only give what the reader gives, and names no problem.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scorer.model_files.parsed import ObjectArray, ParsedObject

_U16 = struct.Struct("<H").unpack_from
_U32 = struct.Struct("<I").unpack_from
_I32 = struct.Struct("<i").unpack_from
_U64 = struct.Struct("<Q").unpack_from
_F64 = struct.Struct(">d").unpack_from


_FRAME, _FRAME_BYTES = 0x95, 9
# What a hole takes: nothing, the bytes of an array, a number, a text; FRAME: eight bytes that say nothing; RAW: the
# bytes of an array in joblib's files, whose number its shape says; PADDED: the same behind padding.
END, BYTES, INTEGER, FLOAT, TEXT, FRAME, RAW, PADDED = range(8)
# How a value is made of earlier ones. VECTOR, ARRAY: arrays of one dimension and of others; CONTENT: bytes themselves;
# NUMBER: the only item of an array; OBJECTS: an array of objects; CONSTANT: the same in each file; REFERENCE: an object
# that the file has numbered before the part.
VECTOR, DICT, OBJECT, ARRAY, TUPLE, CONTENT, LIST, NUMBER, OBJECTS, CONSTANT, REFERENCE = range(11)


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of an array, of which some sizes come from holes; *n_fixed* items without these."""

    sizes: tuple[int, ...]
    varying: tuple[tuple[int, int], ...]  # the dimension, and the number of the value
    n_fixed: int

    def read(self, values: Sequence[Any]) -> tuple[int, ...]:
        """The shape in a file."""
        sizes = list(self.sizes)
        for dimension, index in self.varying:
            sizes[dimension] = values[index]
        return tuple(sizes)

    def count(self, values: Sequence[Any]) -> int:
        """How many items an array of that shape has. Raises ValueError for a negative size."""
        total = self.n_fixed
        for _, index in self.varying:
            size = values[index]
            if size < 0:
                raise ValueError("an array has an impossible shape")
            total *= size
        return total


@dataclass(frozen=True, slots=True)
class Template:
    """A part of a pickle that puts one value on the stack.

    *holes*: the fixed bytes before each hole and their number; the hole's kind; of an array in joblib's form its shape
    and the bytes of an item; where opcodes begin in the fixed bytes. A value comes of each but FRAME and END, in their
    order; of bytes, where they begin and end. *actions*: what makes further values, each an action and what it takes,
    the last one the result.
    """

    holes: tuple[tuple[bytes, int, int, Any, tuple[int, ...]], ...]
    actions: tuple[tuple[Any, ...], ...]
    n_steps: int  # that the reader would count
    n_memoized: int  # objects that the reader would number

    def read(self, data: bytes, position: int, memo: Mapping[int, Any]) -> tuple[Any, int] | None:
        """The value of the part of a file that begins at *position*, and where it ends; None where it does not fit.

        *memo*: what the file has numbered before the part.
        """
        try:
            values: list[Any] = []
            end = self._find_values(data, position, values)
            if not 0 <= end <= len(data):
                return None
            self._add_values(data, values, memo)
            return values[-1], end
        except (LookupError, OverflowError, TypeError, ValueError, struct.error):
            return None

    def _find_values(self, data: bytes, position: int, values: list[Any]) -> int:  # noqa: C901  # a case each
        """Compare the fixed bytes, and list what is between them. The end; -1 where one differs."""
        startswith = data.startswith
        for fixed, n_fixed, kind, item, boundaries in self.holes:
            if startswith(fixed, position):
                position += n_fixed
            else:
                position = _skip_frame(data, position, fixed, boundaries)
                if position < 0:
                    return -1
            if kind == BYTES:
                position = _find_bytes(data, position, values)
            elif kind == INTEGER:
                position = _read_integer(data, position, values)
            elif kind == FLOAT:
                values.append(_F64(data, position)[0])
                position += 8
            elif kind == FRAME:
                position += 8
            elif kind == TEXT:
                position = _read_text(data, position, values)
            elif kind != END:
                shape, n_bytes = item
                start = position + (1 + data[position] if kind == PADDED else 0)
                position = start + n_bytes * shape.count(values)
                values.append((start, position))
            if position < 0:
                return -1
        return position

    def _add_values(self, data: bytes, values: list[Any], memo: Mapping[int, Any]) -> None:  # noqa: C901  # a case each
        """Make what is made of the holes. Raises ValueError where an array has another number of bytes."""
        append = values.append
        for action, base, item, parts in self.actions:
            if action == VECTOR:
                start, end = values[parts]
                if end - start != item.count(values) * base.itemsize:
                    raise ValueError("an array has another number of bytes")
                append(np.frombuffer(data[start:end], base))
            elif action == DICT:
                items = base.copy()
                for key, index in parts:
                    items[key] = values[index]
                append(items)
            elif action == OBJECT:
                append(ParsedObject(base, values[item]))
            elif action == CONTENT:
                start, end = values[item]
                append(data[start:end])
            elif action == CONSTANT:
                append(base)
            elif action == REFERENCE:
                append(memo[item])
            elif action in (ARRAY, NUMBER):
                array = _build_array(data, values, base, item, parts)
                append(array if action == ARRAY else array.item())
            else:
                sequence = base.copy()
                for place, index in parts:
                    sequence[place] = values[index]
                append(
                    tuple(sequence) if action == TUPLE else sequence if action == LIST else ObjectArray(sequence, item)
                )


@dataclass(frozen=True, slots=True)
class Part:
    """Where a part of a file begins and ends, and how many objects the file had numbered before it."""

    start: int
    end: int
    n_memo: int


@dataclass(frozen=True, slots=True)
class Built:
    """A template; what all parts have in common that could share one; the values of this part that could be holes."""

    template: Template
    skeleton: bytes
    leaves: tuple[bytes, ...]
    references: dict[int, Any]  # the constants that it refers to of the file before it, by number


def _skip_frame(data: bytes, position: int, fixed: bytes, boundaries: tuple[int, ...]) -> int:
    """Compare the fixed bytes where a FRAME, which says nothing, is between two of their opcodes. The end, or -1."""
    if data.find(_FRAME, position, position + len(fixed)) < 0:
        return -1
    for offset in boundaries:
        if not data.startswith(fixed[:offset], position):
            break
        if data[position + offset] == _FRAME and data.startswith(fixed[offset:], position + offset + _FRAME_BYTES):
            return position + _FRAME_BYTES + len(fixed)
    return -1


def _build_array(data: bytes, values: list[Any], kind: np.dtype[Any], item: Any, place: int) -> np.ndarray:
    """An array of any dimensions. Raises ValueError."""
    shape, order = item
    sizes = shape.read(values)
    start, end = values[place]
    if end - start != shape.count(values) * kind.itemsize:
        raise ValueError("an array has another number of bytes")
    return np.frombuffer(data[start:end], kind).reshape(sizes, order=order)


def _find_bytes(data: bytes, position: int, values: list[Any]) -> int:
    """Where bytes begin and end, of any opcode for bytes. The end; -1 for another opcode."""
    if data[position] == _FRAME:
        position += _FRAME_BYTES
    match data[position]:
        case 0x96 | 0x8E:  # BYTEARRAY8, BINBYTES8
            start = position + 9
            end: int = start + _U64(data, position + 1)[0]
        case 0x42:  # BINBYTES
            start = position + 5
            end = start + _U32(data, position + 1)[0]
        case 0x43:  # SHORT_BINBYTES
            start = position + 2
            end = start + data[position + 1]
        case _:
            return -1
    values.append((start, end))
    return end


def _read_integer(data: bytes, position: int, values: list[Any]) -> int:
    """A whole number, of any opcode for one. The end; -1 for another opcode."""
    if data[position] == _FRAME:
        position += _FRAME_BYTES
    match data[position]:
        case 0x4B:  # BININT1
            values.append(data[position + 1])
            return position + 2
        case 0x4D:  # BININT2
            values.append(_U16(data, position + 1)[0])
            return position + 3
        case 0x4A:  # BININT
            values.append(_I32(data, position + 1)[0])
            return position + 5
        case 0x8A:  # LONG1
            start = position + 2
            end = start + data[position + 1]
            values.append(int.from_bytes(data[start:end], "little", signed=True))
            return end
    return -1


def _read_text(data: bytes, position: int, values: list[Any]) -> int:
    """A text, of any opcode for one. The end; -1 for another opcode."""
    if data[position] == _FRAME:
        position += _FRAME_BYTES
    match data[position]:
        case 0x8C:  # SHORT_BINUNICODE
            start = position + 2
            end: int = start + data[position + 1]
            values.append(str(data[start:end], "utf-8"))
            return end
        case 0x58:  # BINUNICODE
            start = position + 5
            end = start + _U32(data, position + 1)[0]
            values.append(str(data[start:end], "utf-8", "surrogatepass"))
            return end
    return -1
