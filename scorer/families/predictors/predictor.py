"""What a fitted estimator that predicts comes to: its steps, and what its totals mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scorer.families.checks import check_equal, check_numeric
from scorer.families.steps import Outputs, Step
from scorer.model_files.parsed import ParsedObject
from shared.contract.domain import Task


class NotPacked(Exception):
    """A part of a model is of a form that no kernel computes, such as a sparse matrix. Caught where a model is read."""


@dataclass(frozen=True, slots=True)
class Predictor:
    """The last part of a model. *classes* are the values of a classifier's classes, in the order of its outputs."""

    task: Task
    n_features: int  # that it gets from the parts before it
    steps: Sequence[Step]
    outputs: Outputs
    classes: Sequence[Any] = ()
    has_probability: bool = False


def read_width(state: dict[str, Any], n_features: int) -> int:
    """The number of features of an estimator whose arrays have so many. Raises ValueError where it says another."""
    if n_features < 1:
        raise ValueError("it has no features")
    check_equal("n_features_in_", int(state.get("n_features_in_", n_features)), n_features)
    return n_features


def read_classes(state: dict[str, Any], n_classes: int) -> list[Any] | None:
    """The values of a classifier's classes; None for classes of several outputs, and for fewer than two.

    Raises KeyError, ValueError where their number contradicts the rest.
    """
    classes = state["classes_"]
    if isinstance(classes, np.ndarray):
        if classes.ndim != 1:
            return None
        classes = classes.tolist()
    if not isinstance(classes, list) or not all(isinstance(item, str | int | float) for item in classes):
        return None
    check_equal("the number of classes_", len(classes), n_classes)
    return list(classes) if n_classes > 1 else None


def read_matrix(state: dict[str, Any], name: str, n_dimensions: tuple[int, ...] = (2,)) -> np.ndarray:
    """An array of finite numbers as float64, of one of these numbers of dimensions.

    Raises KeyError, ValueError, and NotPacked for an object in its place, such as a sparse matrix.
    """
    array = state[name]
    if type(array) is ParsedObject:
        raise NotPacked(name)
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} is not an array of numbers")  # noqa: TRY004  # told as the others
    check_numeric(name, array)
    if array.ndim not in n_dimensions or not array.size:
        raise ValueError(f"{name} is {array.shape} where {n_dimensions} dimensions are expected")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds a number that is not finite")
    return array.astype(np.float64)
