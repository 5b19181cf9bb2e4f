"""What an estimator says about rows of readings, in columns. Knows no estimator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scorer.errors import Unscorable
from scorer.families.base import OUTPUTS_LIMIT
from scorer.predictions.rows import Texts
from shared.contract.reasons import Reason


@dataclass(frozen=True, slots=True)
class Answers:
    """The columns of predictions that a model fills: *per_row* rows for each row of readings, side by side."""

    score: np.ndarray | None = None  # float64, as are the other numbers
    anomaly: np.ndarray | None = None  # bool
    prediction: np.ndarray | None = None
    probability: np.ndarray | None = None
    output: Texts | None = None
    label: Texts | None = None
    per_row: int = 1


def check_finite(numbers: np.ndarray, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """The numbers as float64 of this shape. Raises Unscorable, BAD_SCORES, where they are not such or not finite."""
    array = np.asarray(numbers, np.float64)
    if array.shape != shape:
        raise Unscorable(Reason.BAD_SCORES, f"expected {kind} of shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        count = np.count_nonzero(~np.isfinite(array))
        raise Unscorable(Reason.BAD_SCORES, f"{count} of {array.size} {kind} are not finite")
    return array


def check_per_row(count: int, kind: str) -> None:
    """Raises Unscorable, UNSUPPORTED_MODEL, for more rows of predictions for one row of readings than a reply holds."""
    if count > OUTPUTS_LIMIT:
        raise Unscorable(Reason.UNSUPPORTED_MODEL, f"expected at most {OUTPUTS_LIMIT} {kind} of a model, got {count}")


def name_outputs(n_outputs: int) -> tuple[str, ...]:
    """The names of a model's outputs: their numbers, since scikit-learn keeps no others. Raises Unscorable."""
    check_per_row(n_outputs, "outputs")
    return tuple(str(number) for number in range(n_outputs))


def repeat_outputs(names: Sequence[str], rows: int) -> Texts:
    """The names of a model's outputs for each of *rows* rows of readings."""
    return Texts(np.tile(np.arange(len(names), dtype=np.int32), rows), tuple(names))
