"""The content of a model file as inert values, whoever wrote it. Knows no file format and no estimator."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from scorer.errors import Unscorable
from shared.contract.reasons import Reason

from .allowlist import SEARCHES

DIMENSIONS = 8  # that an array may have
FIELDS = 32  # that its items may have; far more than needed
PIPELINE = "sklearn.pipeline.Pipeline"
# Types of numbers that arrays may hold; they may also hold text, and objects as plain lists.
NUMERIC = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})


@dataclass(frozen=True, slots=True)
class ParsedObject:
    """An object of the file: its class, by today's name, and its attributes. Never an instance of it."""

    kind: str
    state: dict[str, Any]  # numbers, text, None, lists, tuples, dicts, numeric arrays, and tokens: Global, ParsedObject


@dataclass(frozen=True, slots=True)
class Global:
    """A class or a function that a file names, as a token: it cannot be called."""

    name: str


class ObjectArray(list[Any]):
    """The items of an array of objects, in the order of C; an inert list that knows its shape."""

    def __init__(self, items: list[Any], shape: Any) -> None:
        super().__init__(items)
        self.shape = shape


@lru_cache(maxsize=256)
def make_dtype(code: str, order: str) -> np.dtype[Any]:
    """The type of an array's items: a code such as `f8`, and `<`, `>`, `|` or `=`. Raises ValueError."""
    if code in NUMERIC or (code[:1] in ("U", "S") and code[1:].isdecimal() and len(code) < 10):  # noqa: PLR2004  # bytes
        return np.dtype(order + code)
    if code in ("O", "O8"):
        return np.dtype(object)
    raise ValueError(f"expected an array of numbers or text, got one of {code[:20]!r}")


def make_record_dtype(names: list[str], fields: dict[str, Any], size: int) -> np.dtype[Any]:
    """The type of items with named fields: for each name a type of numbers and its offset. Raises ValueError."""
    parts = [fields[name] for name in names]
    if len(names) > FIELDS or any(not isinstance(kind, np.dtype) or kind.kind not in "biuf" for kind, _ in parts):
        raise ValueError("expected fields of numbers")
    kinds, offsets = zip(*parts, strict=True)
    if type(size) is not int or any(type(offset) is not int for offset in offsets):
        raise ValueError("expected fields at whole numbers")
    return _join_fields(tuple(names), kinds, offsets, size)


@lru_cache(maxsize=64)
def _join_fields(
    names: tuple[str, ...], kinds: tuple[np.dtype[Any], ...], offsets: tuple[int, ...], size: int
) -> np.dtype[Any]:
    """The same type for each array, so that nothing has to compare two."""
    return np.dtype({"names": list(names), "formats": list(kinds), "offsets": list(offsets), "itemsize": size})


def count_bytes(kind: np.dtype[Any], shape: Any) -> int:
    """The bytes of an array: *shape* is a tuple, or a number for one dimension. Raises ValueError."""
    if kind.hasobject or not kind.itemsize:
        raise ValueError(f"expected an array of numbers, got one of {kind.kind!r} with {kind.itemsize} bytes each")
    sizes = (shape,) if type(shape) is int else shape
    if type(sizes) is not tuple or len(sizes) > DIMENSIONS:
        raise ValueError("an array has an impossible shape")
    total = kind.itemsize
    for size in sizes:  # a loop, since this is called for each array
        if type(size) is not int or size < 0:
            raise ValueError("an array has an impossible shape")
        total *= size
    return total


def make_array(content: Any, kind: np.dtype[Any], shape: Any, order: str) -> np.ndarray:
    """An array over bytes of the file, without a copy; their number must be right. Raises ValueError."""
    n_bytes = count_bytes(kind, shape)
    if len(content) != n_bytes:
        raise ValueError(f"expected {n_bytes} bytes of an array, got {len(content)}")
    flat: np.ndarray = np.frombuffer(content, kind)
    return flat.reshape(shape, order="F" if order == "F" else "C")


def get_last_step(value: Any) -> Any:
    """The last step of a pipeline, also of nested pipelines up to a limit; else the value itself."""
    for _ in range(DIMENSIONS):
        steps = value.state.get("steps") if type(value) is ParsedObject and value.kind == PIPELINE else None
        if type(steps) is not list or not steps or not is_step(steps[-1]):
            break
        value = steps[-1][1]
    return value


def replace_last_step(model: ParsedObject, step: ParsedObject) -> ParsedObject:
    """The model with another one in the place of `get_last_step`."""
    if get_last_step(model) is model:
        return step
    *first_steps, (name, last) = model.state["steps"]
    steps = [*first_steps, (name, replace_last_step(last, step))]
    return ParsedObject(model.kind, {**model.state, "steps": steps})


def describe_kind(value: Any) -> str:
    """The type of a value of a file, for a message."""
    if type(value) is Global:
        return f"{value.name} without an instance"
    return value.kind.rpartition(".")[2] if type(value) is ParsedObject else type(value).__name__


def is_step(step: Any) -> bool:
    """Whether a part of a pipeline's steps is a name and an estimator."""
    return type(step) in (tuple, list) and len(step) == 2  # noqa: PLR2004  # the name and the estimator


def simplify_model(value: Any) -> Any:
    """The model with each search replaced by its best estimator, also where it is the last step of a pipeline.

    Raises Unscorable (UNFITTED_MODEL) for a search without one.
    """
    for _ in range(DIMENSIONS):
        if type(value) is not ParsedObject or value.kind not in SEARCHES:
            break
        if "best_estimator_" not in value.state:
            raise Unscorable(Reason.UNFITTED_MODEL, f"this {value.kind.rpartition('.')[2]} holds no fitted estimator")
        value = value.state["best_estimator_"]
    last = get_last_step(value)
    if type(last) is not ParsedObject or last.kind not in SEARCHES or last is value:
        return value
    *first_steps, (name, step) = value.state["steps"]
    return ParsedObject(value.kind, {**value.state, "steps": [*first_steps, (name, simplify_model(step))]})
