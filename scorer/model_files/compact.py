"""A model that was read and judged, in a form that is read again at a tenth of the cost. As inert as a ParsedObject.

Models of one kind differ in their numbers only. So the form has two parts:

    skeleton   JSON: all but the numbers. Models of one kind share it, and a reader looks at each once.
    cells      the numbers: each 8 bytes, whole or float64, then the arrays, each at a multiple of 8 bytes

A value of the skeleton is null, true, false or a text, which mean themselves; 0, the next cell as a whole number; 1,
the next cell as a float64; or a list, which begins with a letter:

    ["o", kind, [name, ...], value, ...]  a ParsedObject, with the names and values of its state
    ["d", [key, ...], value, ...]         a dict
    ["l", value, ...], ["t", value, ...]  a list, a tuple
    ["g", name]                           a Global
    ["O", shape, value, ...]              an ObjectArray
    ["a", type, order, n_dimensions]      the next array, whose sizes are the next cells
    ["m", value, number], ["r", number]   a value that is used more than once, and such a value again

Whoever may write into the working container can write packs. So this is checked like a file: kinds and names are those
of the allow-list, types those of arrays of numbers, and no number is read outside its cells. Knows no estimator.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from shared.contract.scoring_options import Gaps

from . import parsed
from .allowlist import USES, Use
from .parsed import Global, ObjectArray, ParsedObject

SKELETON_LIMIT = 2**14  # bytes: a model with a longer one, such as a forest of different trees, is kept as its file
ARRAYS_LIMIT = 2**20  # bytes of the arrays: as many are stored; a file may name one array very often
_SKELETONS = 32  # that a reader remembers: of the longest each takes 3 MB
_HEAD = struct.Struct("<II")  # bytes of the skeleton, which is then padded, and cells before the arrays
_CELL = 8  # bytes
_WHOLE, _FLOAT = 0, 1
# Modules of what is never made, and is large: trees of neighbours, the optimizers of networks, generators of numbers.
_UNUSED = ("numpy.random", "sklearn.neighbors", "sklearn.neural_network")
_PLAIN = frozenset({bool, str, type(None)})
_Numbers = tuple[list[int], list[float], list[np.ndarray], dict[int, Any]]  # and the values that are used again
_Make = Callable[[_Numbers], Any]


class _NotCompact(Exception):
    """A value that this form does not have."""


def to_bytes(model: ParsedObject) -> bytes:
    """The compact form of a model; b"" for one that has none, such as one that holds itself."""
    writer = _Writer()
    try:
        skeleton = json.dumps(writer.describe(model), separators=(",", ":")).encode()
        cells = [struct.pack("<q" if type(cell) is int else "<d", cell) for cell in writer.cells]
    except (_NotCompact, RecursionError, struct.error):
        return b""
    if len(skeleton) > SKELETON_LIMIT:
        return b""
    pieces = [_HEAD.pack(len(skeleton), len(cells)), skeleton, b"".join(cells), *writer.arrays]
    return b"".join(padded for piece in pieces for padded in (piece, bytes(-len(piece) % _CELL)))


def read_compact(data: bytes | memoryview) -> ParsedObject:
    """The model of a compact form. Raises ValueError, and LookupError and such for another content.

    Arrays are views of *data*.
    """
    view = memoryview(data)
    n_skeleton, n_cells = _HEAD.unpack_from(view)
    start = _HEAD.size + n_skeleton + -n_skeleton % _CELL
    if n_skeleton > SKELETON_LIMIT:
        raise ValueError(f"expected a skeleton of at most {SKELETON_LIMIT} bytes, got {n_skeleton}")
    model = _compile_skeleton(bytes(view[_HEAD.size : _HEAD.size + n_skeleton])).make_value(view[start:], n_cells)
    if type(model) is not ParsedObject:
        raise ValueError("expected an object")
    return model


class _Writer:
    def __init__(self) -> None:
        self.cells: list[int | float] = []
        self.arrays: list[bytes] = []
        self._described: dict[int, list[Any] | None] = {}  # containers by identity; None while one is described
        self._numbers = count()  # of values that are used again
        self._n_characters = self._n_bytes = 0

    def describe(self, value: Any) -> Any:
        kind = type(value)
        self._count_characters(len(value) if kind is str else 1)
        if kind in _PLAIN:
            return value
        if kind in (int, float):
            self.cells.append(value)
            return _WHOLE if kind is int else _FLOAT
        if kind is np.ndarray:
            return self._describe_array(value)
        if kind is Global:
            return ["g", _check_name(value.name)]
        if kind is tuple and not value:  # the only one there is
            return ["t"]
        if id(value) in self._described:
            return self._refer(self._described[id(value)])
        self._described[id(value)] = None
        description = self._described[id(value)] = self._describe_container(value)
        return description

    def _count_characters(self, count: int) -> None:
        """Count what the skeleton gets at least: a text that is used again is written again."""
        self._n_characters += count
        if self._n_characters > SKELETON_LIMIT:
            raise _NotCompact

    def _refer(self, description: list[Any] | None) -> list[Any]:
        """A reference to what is described already, which is now a value that is used more than once."""
        if description is None:
            raise _NotCompact
        if description[0] != "m":
            description[:] = ["m", description.copy(), next(self._numbers)]
        return ["r", description[2]]

    def _describe_container(self, value: Any) -> list[Any]:
        kind = type(value)
        if kind is ParsedObject:
            is_unused = USES.get(value.kind) is Use.UNUSED and value.kind.startswith(_UNUSED)
            return ["o", _check_name(value.kind), *self._describe_items({} if is_unused else value.state)]
        if kind is dict:
            return ["d", *self._describe_items(value)]
        if kind is ObjectArray:
            return ["O", _check_shape(value.shape), *map(self.describe, value)]
        if kind is list or kind is tuple:
            return ["l" if kind is list else "t", *map(self.describe, value)]
        raise _NotCompact

    def _describe_items(self, items: dict[Any, Any]) -> list[Any]:
        if not all(type(key) in (str, int, float, bool) for key in items):
            raise _NotCompact
        self._count_characters(sum(len(key) if type(key) is str else 1 for key in items))
        return [list(items), *map(self.describe, items.values())]

    def _describe_array(self, array: np.ndarray) -> list[Any]:
        kind = array.dtype
        self._n_bytes += array.nbytes
        if kind.hasobject or self._n_bytes > ARRAYS_LIMIT:
            raise _NotCompact
        order: Literal["C", "F"] = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        self._count_characters(sum(map(len, kind.names or ())))
        self.cells += array.shape
        self.arrays.append(array.tobytes(order))
        return ["a", _describe_type(kind), order, array.ndim]


def _check_name(name: str) -> str:
    if name not in USES:
        raise _NotCompact
    return name


def _check_shape(shape: Any) -> Any:
    sizes = shape if type(shape) is tuple else (shape,)  # what the file says: any value
    if len(sizes) > parsed.DIMENSIONS or not all(type(size) is int and 0 <= size < 2**31 for size in sizes):
        raise _NotCompact
    return shape


def _describe_type(kind: np.dtype[Any]) -> Any:
    if kind.names is None:
        return kind.str
    fields = [kind.fields[name] for name in kind.names] if kind.fields else []
    return [list(kind.names), [part.str for part, *_ in fields], [offset for _, offset, *_ in fields], kind.itemsize]


def _parse_type(description: Any) -> np.dtype[Any]:
    if type(description) is str:
        return parsed.make_dtype(description[1:], description[:1])
    names, kinds, offsets, size = description
    fields = {name: (_parse_type(kind), offset) for name, kind, offset in zip(names, kinds, offsets, strict=True)}
    return parsed.make_record_dtype(names, fields, size)


@dataclass(frozen=True, slots=True)
class CompactModel:
    """What is sent of a judged model in the place of its file: *data* is its compact form."""

    data: bytes | memoryview
    etag: str  # of the file that it was made from
    features: tuple[str, ...]  # the names of its features; () where nothing says them
    made_by: str  # the version of scikit-learn, or "unknown"
    gaps: Gaps | None = None  # what its sidecar says


@dataclass(frozen=True, slots=True)
class _Array:
    """An array of a skeleton: its sizes are *n_dimensions* cells from *first* on."""

    kind: np.dtype[Any]
    order: str
    first: int
    n_dimensions: int


@dataclass(slots=True)
class _Skeleton:
    """What a skeleton says. *make* makes its value of the numbers of a model."""

    make: _Make = field(default=lambda _: None)
    n_cells: int = 0
    arrays: list[_Array] = field(default_factory=list)
    shared: set[int] = field(default_factory=set)  # numbers of the values that are used again

    def make_value(self, view: memoryview, n_cells: int) -> Any:
        """The value of a model with these numbers. Raises ValueError where they are others."""
        if n_cells != self.n_cells:
            raise ValueError(f"expected {self.n_cells} numbers, got {n_cells}")
        cells = np.frombuffer(view, "<i8", n_cells)
        integers, floats = cells.tolist(), cells.view("<f8").tolist()
        arrays, start = [], n_cells * _CELL
        for array in self.arrays:
            shape = tuple(integers[array.first : array.first + array.n_dimensions])
            end = start + parsed.count_bytes(array.kind, shape)
            arrays.append(parsed.make_array(view[start:end], array.kind, shape, array.order))
            start = end + -end % _CELL
        if start != len(view):
            raise ValueError(f"expected {start} bytes of numbers, got {len(view)}")
        return self.make((integers, floats, arrays, {}))


@lru_cache(maxsize=_SKELETONS)
def _compile_skeleton(text: bytes) -> _Skeleton:
    skeleton = _Skeleton()
    skeleton.make = _compile_value(json.loads(text), skeleton)
    return skeleton


def _compile_value(value: Any, skeleton: _Skeleton) -> _Make:
    if type(value) in _PLAIN:
        return lambda _: value
    if type(value) is int:
        return _take_cell(value, skeleton)
    return _COMPILERS[value[0]](value[1:], skeleton)


def _compile_object(parts: Sequence[Any], skeleton: _Skeleton) -> _Make:
    kind, make_state = _find_name(parts[0]), _compile_items(parts[1:], skeleton)
    return lambda numbers: ParsedObject(kind, make_state(numbers))


def _compile_global(parts: Sequence[Any], _: _Skeleton) -> _Make:
    token = Global(_find_name(parts[0]))
    return lambda _: token


def _compile_tuple(parts: Sequence[Any], skeleton: _Skeleton) -> _Make:
    make_items = _compile_list(parts, skeleton)
    return lambda numbers: tuple(make_items(numbers))


def _compile_objects(parts: Sequence[Any], skeleton: _Skeleton) -> _Make:
    shape = tuple(parts[0]) if type(parts[0]) is list else parts[0]
    make_items = _compile_list(parts[1:], skeleton)
    return lambda numbers: ObjectArray(make_items(numbers), shape)


def _compile_reference(parts: Sequence[Any], skeleton: _Skeleton) -> _Make:
    (number,) = parts
    if number not in skeleton.shared:
        raise ValueError("a reference to what comes later")
    return lambda numbers: numbers[3][number]


def _find_name(name: Any) -> str:
    if name not in USES:
        raise ValueError(f"{str(name)[:80]} is not on the allow-list")
    return str(name)


def _take_cell(kind: int, skeleton: _Skeleton) -> _Make:
    if kind not in (_WHOLE, _FLOAT):
        raise ValueError(f"expected a whole number or a float, got {kind}")
    index = skeleton.n_cells
    skeleton.n_cells += 1
    return lambda numbers: numbers[kind][index]


def _compile_array(parts: Sequence[Any], skeleton: _Skeleton) -> _Make:
    kind, order, n_dimensions = parts
    index = len(skeleton.arrays)
    skeleton.arrays.append(_Array(_parse_type(kind), order, skeleton.n_cells, n_dimensions))
    if not 0 <= n_dimensions <= parsed.DIMENSIONS:
        raise ValueError(f"an array of {n_dimensions} dimensions")
    skeleton.n_cells += n_dimensions
    return lambda numbers: numbers[2][index]


def _compile_shared(parts: Sequence[Any], skeleton: _Skeleton) -> _Make:
    inner, number = parts
    make_inner = _compile_value(inner, skeleton)
    skeleton.shared.add(number)

    def make(numbers: _Numbers) -> Any:
        shared = numbers[3][number] = make_inner(numbers)
        return shared

    return make


def _compile_items(parts: Sequence[Any], skeleton: _Skeleton) -> _Make:
    """A dict, of which what is in the skeleton is copied as a whole."""
    keys, *values = parts
    fixed = {key: value if type(value) in _PLAIN else None for key, value in zip(keys, values, strict=True)}
    pairs = zip(keys, values, strict=True)
    numeric = [(key, _compile_value(value, skeleton)) for key, value in pairs if type(value) not in _PLAIN]

    def make(numbers: _Numbers) -> dict[Any, Any]:
        items = fixed.copy()
        for key, make_part in numeric:
            items[key] = make_part(numbers)
        return items

    return make


def _compile_list(values: Sequence[Any], skeleton: _Skeleton) -> _Make:
    makers = [_compile_value(value, skeleton) for value in values]
    return lambda numbers: [make_part(numbers) for make_part in makers]


_COMPILERS: Mapping[str, Callable[[Sequence[Any], _Skeleton], _Make]] = MappingProxyType(
    {
        "O": _compile_objects,
        "a": _compile_array,
        "d": _compile_items,
        "g": _compile_global,
        "l": _compile_list,
        "m": _compile_shared,
        "o": _compile_object,
        "r": _compile_reference,
        "t": _compile_tuple,
    }
)
