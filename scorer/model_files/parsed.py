"""What a model file is read into: values that do nothing, whoever wrote it. Knows no file format and no estimator."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

DIMENSIONS = 8  # that an array may have, and
FIELDS = 32  # its items; far beyond need
PIPELINE = "sklearn.pipeline.Pipeline"
# Kinds and sizes of numbers that arrays may hold; text besides, and objects as plain lists.
NUMERIC = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})


@dataclass(frozen=True, slots=True)
class Blueprint:
    """An object of the file: its class, by the name that it has today, and its attributes. Never an instance of it."""

    kind: str
    state: dict[str, Any]  # numbers, text, None, lists, tuples, dicts, numeric arrays, Blueprints


@lru_cache(maxsize=256)
def dtype(code: str, order: str) -> np.dtype[Any]:
    """The type of an array's items: a code such as `f8`, and `<`, `>`, `|` or `=`. Raises ValueError."""
    if code in NUMERIC or (code[:1] in ("U", "S") and code[1:].isdecimal() and len(code) < 10):  # noqa: PLR2004  # bytes
        return np.dtype(order + code)
    if code in ("O", "O8"):
        return np.dtype(object)
    raise ValueError(f"expected an array of numbers or text, got one of {code[:20]!r}")


def record(names: list[str], fields: dict[str, Any], size: int) -> np.dtype[Any]:
    """The type of items with named fields: for each name a type of numbers and its offset. Raises ValueError."""
    parts = [fields[name] for name in names]
    if len(names) > FIELDS or any(not isinstance(kind, np.dtype) or kind.kind not in "biuf" for kind, _ in parts):
        raise ValueError("expected fields of numbers")
    kinds, offsets = zip(*parts, strict=True)
    return np.dtype({"names": names, "formats": list(kinds), "offsets": list(offsets), "itemsize": size})


def length(kind: np.dtype[Any], shape: Any) -> int:
    """The bytes that an array takes: *shape* is a tuple, or a number for one dimension. Raises ValueError."""
    if kind.hasobject or not kind.itemsize:
        raise ValueError(f"expected an array of numbers, got one of {kind.kind!r} with {kind.itemsize} bytes each")
    sizes = (shape,) if type(shape) is int else shape
    if type(sizes) is not tuple or len(sizes) > DIMENSIONS:
        raise ValueError("an array has an impossible shape")
    total = kind.itemsize
    for one in sizes:  # a loop, for it is short and this is called for each array
        if type(one) is not int or one < 0:
            raise ValueError("an array has an impossible shape")
        total *= one
    return total


def array(content: Any, kind: np.dtype[Any], shape: Any, order: str) -> np.ndarray:
    """An array laid over bytes of the file, no byte copied; they must be as many as it wants. Raises ValueError."""
    expected = length(kind, shape)
    if len(content) != expected:
        raise ValueError(f"an array wants {expected} bytes, got {len(content)}")
    flat: np.ndarray = np.frombuffer(content, kind)
    return flat.reshape(shape, order="F" if order == "F" else "C")


def last_step(value: Any) -> Any:
    """What comes last in a pipeline of pipelines, as far as anybody nests them; else the value itself."""
    for _ in range(DIMENSIONS):
        if type(value) is not Blueprint or value.kind != PIPELINE:
            break
        steps = value.state.get("steps")
        if type(steps) is not list or not steps or type(steps[-1]) is not tuple or len(steps[-1]) != 2:  # noqa: PLR2004
            break
        value = steps[-1][1]
    return value
