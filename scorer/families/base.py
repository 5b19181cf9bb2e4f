"""The layout of a packed model's numbers, which all families share.

    numbers   head (9) | shift (n_features) | scale (n_features) | body
    head      scaler, low, high, intercept, gamma, coef0, degree, n, border
    scaler    0: none; 1: (x - shift) / scale; 2: x * scale + shift, then clipped to low..high
    body      RBF, POLY, SIGMOID   coef (n), support vectors (n, n_features)
              LINEAR               weights (n_features)
              ENVELOPE             location (n_features), precision (n_features, n_features)
              FOREST               see isolation_forest.py; gamma is the normalising path length, n the number of trees

A model that predicts, and a detector behind more than a scaler, is a chain of STEPS: steps.py has their layout.

The score is intercept plus the sum of the body's terms. An anomaly is a score below the border, or at most the border
where the model is strict. The border is 0 but for isolation forests of scikit-learn 0.19 to 0.21.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from shared.contract.domain import Task

HEAD = 9
COUNT, BORDER = 7, 8  # where the head has n and the border

OUTPUTS_LIMIT = 1000  # rows of predictions for one row of readings
MOST_NUMBERS = 2**24  # of one model: 128 MiB; a larger one is KEPT, and scored in a worker process with a memory limit


class Family(IntEnum):
    """The arithmetic of the score."""

    KEPT = 0
    RBF = 1
    LINEAR = 2
    POLY = 3
    SIGMOID = 4
    ENVELOPE = 5
    FOREST = 6
    STEPS = 7


class GapRule(IntEnum):
    """What a model does with rows that lack a feature."""

    NONE = 0  # its kernel is given none
    BEARS = 1  # its kernel scores them as its library does, where a person says so
    TAKES = 2  # and it was trained with some


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a chain of STEPS predicts."""

    task: Task
    n_outputs: int
    classes: tuple[str, ...] = ()  # the texts of a classifier's or a clusterer's labels
    has_probability: bool = False
    gap_rule: GapRule = GapRule.NONE


@dataclass(frozen=True, slots=True)
class Packed:
    """All that scoring needs of a model. KEPT: safe and readable, but only scikit-learn itself can score it."""

    family: Family
    n_features: int  # features that it expects; 0 where KEPT
    features: tuple[str, ...]  # their names; () where it was fitted without
    made_by: str  # the scikit-learn that made it; "unknown" where the file does not say
    strict: bool  # an anomaly is a score of the border or less; else below it
    numbers: np.ndarray  # float64, 1-D, as above
    integers: np.ndarray  # int32, 1-D; empty but for FOREST and STEPS
    predicted: Predicted | None = None  # of STEPS


def make_no_integers() -> np.ndarray:
    """The integers of a family that has none: int32[0]."""
    return np.empty(0, np.int32)


@dataclass(frozen=True, slots=True)
class Body:
    """The numbers of a detector alone; None in its place means KEPT."""

    family: Family
    n_features: int
    intercept: float
    numbers: tuple[np.ndarray, ...]
    gamma: float = 0.0
    coef0: float = 0.0
    degree: float = 0.0
    count: int = 0
    border: float = 0.0
    strict: bool = False
    integers: np.ndarray = field(default_factory=make_no_integers)


@dataclass(frozen=True, slots=True)
class Scaler:
    """The scaler before a detector; `mode`, `low` and `high` as in the head."""

    mode: int
    shift: np.ndarray
    scale: np.ndarray
    low: float = -math.inf
    high: float = math.inf
