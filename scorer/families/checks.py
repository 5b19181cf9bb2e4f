"""Checks of a fitted estimator's attributes: afterwards native code may trust the numbers."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np


def read_array(state: dict[str, Any], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """An array of numbers of exactly this shape. Raises KeyError, ValueError."""
    array = state[name]
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise ValueError(f"{name} is not an array of numbers")
    if array.shape != shape:
        raise ValueError(f"{name} is {array.shape} where {shape} is expected")
    return array


def read_number(state: dict[str, Any], name: str) -> float:
    """A number, or the only number in an array. Raises KeyError, ValueError."""
    value = state[name]
    if isinstance(value, np.ndarray):
        value = value.item()
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{name} is not a finite number")
    return float(value)


def check_numeric(name: str, array: np.ndarray) -> None:
    """Raises ValueError for an array whose elements are not numbers."""
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name} holds elements of {array.dtype.name}")


def check_equal(name: str, actual: object, expected: object) -> None:
    """Raises ValueError where two attributes contradict each other."""
    if actual != expected:
        shown = actual if type(actual) in (int, bool) else f"a {type(actual).__name__}"  # others may be endless to show
        raise ValueError(f"{name} is {shown} where {expected} is expected")


def read_release(state: dict[str, Any]) -> tuple[int, int] | None:
    """The release of scikit-learn that made a part, such as (1, 9); None where it does not say."""
    version = state.get("_sklearn_version")
    match = re.match(r"(\d{1,4})\.(\d{1,4})", version) if type(version) is str else None
    return (int(match[1]), int(match[2])) if match else None
