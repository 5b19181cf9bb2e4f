"""A value with holes -> the actions that make it of what a file has in the holes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any

import numpy as np

from scorer.model_files.parsed import Global, ObjectArray, ParsedObject

from .symbols import Hole, Irregular, LateArray, Reference
from .template import (
    ARRAY,
    BYTES,
    CONSTANT,
    CONTENT,
    DICT,
    LIST,
    NUMBER,
    OBJECT,
    OBJECTS,
    REFERENCE,
    TUPLE,
    VECTOR,
    Shape,
)

_CONSTANTS = (str, int, float, bool, NoneType, bytes, Global)
_MAKING = -1


def make_shape(sizes: Sequence[Any]) -> Shape:
    """The shape of these sizes, of which some are in holes."""
    varying = tuple([(dimension, size.index) for dimension, size in enumerate(sizes) if type(size) is Hole])
    fixed = [size for size in sizes if type(size) is not Hole]
    return Shape(tuple([0 if type(size) is Hole else size for size in sizes]), varying, math.prod(fixed))


def compile_value(value: Any, n_values: int, own: Mapping[int, Any]) -> tuple[tuple[Any, ...], ...]:
    """The actions, see `template.Template`. *own*: the containers that are made anew; others are referred to.

    Raises Irregular, RecursionError.
    """
    compiler = _Compiler(n_values, own)
    index = compiler.add_value(value)
    if index is None:
        compiler.actions.append((CONSTANT, value, None, ()))
    elif index != n_values + len(compiler.actions) - 1:
        raise Irregular
    return tuple(compiler.actions)


class _Compiler:
    def __init__(self, n_values: int, own: Mapping[int, Any]) -> None:
        self._n_values, self._own = n_values, own
        self._indices: dict[int, int | None] = {}  # of what was seen, by its id; None as `add_value` has it
        self.actions: list[tuple[Any, ...]] = []

    def add_value(self, value: Any) -> int | None:
        """The index of a value that each file makes; None for what all have in common."""
        if type(value) in _CONSTANTS or isinstance(value, np.dtype | np.ndarray):
            return None
        if type(value) is Hole and value.kind != BYTES:
            return value.index
        if id(value) in self._indices:
            if self._indices[id(value)] == _MAKING:
                raise Irregular  # it holds itself
            return self._indices[id(value)]
        self._indices[id(value)] = _MAKING
        action = self._make_action(value)
        if action is not None:
            self.actions.append(action)
        self._indices[id(value)] = None if action is None else self._n_values + len(self.actions) - 1
        return self._indices[id(value)]

    def _make_action(self, value: Any) -> tuple[Any, ...] | None:  # noqa: C901, PLR0911  # a case for each type
        if type(value) is Hole:
            return CONTENT, None, value.index, ()
        if type(value) is Reference:
            return REFERENCE, None, value.number, ()
        if type(value) is LateArray:
            shape = make_shape(value.shape)
            if value.is_number:
                return NUMBER, value.kind, (shape, "C"), value.content.index
            if len(value.shape) == 1:
                return VECTOR, value.kind, shape, value.content.index
            return ARRAY, value.kind, (shape, value.order), value.content.index
        if type(value) is tuple:
            parts = self._list_parts(enumerate(value))
            return (TUPLE, list(value), None, parts) if parts else None
        if type(value) not in (dict, list, ObjectArray, ParsedObject):
            raise Irregular
        if id(value) not in self._own:
            raise Irregular
        if type(value) is ParsedObject:
            self.actions.append(self._make_dict(value.state))
            return OBJECT, value.kind, self._n_values + len(self.actions) - 1, ()
        if type(value) is dict:
            return self._make_dict(value)
        parts = self._list_parts(enumerate(value))
        base = [None if index in dict(parts) else item for index, item in enumerate(value)]
        return (OBJECTS, base, value.shape, parts) if type(value) is ObjectArray else (LIST, base, None, parts)

    def _make_dict(self, items: dict[Any, Any]) -> tuple[Any, ...]:
        parts = self._list_parts(items.items())
        late = {key for key, _ in parts}
        return DICT, {key: None if key in late else item for key, item in items.items()}, None, parts

    def _list_parts(self, items: Any) -> tuple[tuple[Any, int], ...]:
        return tuple([(key, index) for key, item in items if (index := self.add_value(item)) is not None])
