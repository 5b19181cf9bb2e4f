"""What an estimator says about rows of readings, in columns, and the texts of its classes. Knows no estimator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scorer.errors import Unscorable
from scorer.predictions.rows import Texts
from shared.contract.reasons import Reason
from shared.contract.text import MESSAGE_LIMIT, is_exact

OUTPUTS_LIMIT = 1000  # rows of predictions for one row of readings
TEXTS_LIMIT = 2**16  # characters of all classes of a model


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


def name_classes(classes: Any, names: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The text of each class: as Python prints it, or by its number one of *names*, which were saved beside the model.

    Raises Unscorable: UNSUPPORTED_MODEL where texts are unusable, UNREADABLE_MODEL where the names are of others.
    """
    texts = [str(item) for item in np.asarray(classes).tolist()]
    if names and texts != list(names):
        numbers = [str(number) for number in range(len(names))]
        if not set(texts) <= set(numbers):
            message = (
                f"its parts contradict each other: classes {texts[:5]}, and names of {len(names)} classes beside them"
            )
            raise Unscorable(Reason.UNREADABLE_MODEL, message[:300])
        texts = [names[int(text)] for text in texts]
    if inexact := [text for text in texts if not is_exact(text)]:
        raise Unscorable(
            Reason.UNSUPPORTED_MODEL,
            f"expected classes whose texts have 1 to {MESSAGE_LIMIT} characters and no control characters, got "
            f"{inexact[0][:80]!r}",
        )
    if not texts or len(set(texts)) < len(texts) or sum(map(len, texts)) > TEXTS_LIMIT:
        raise Unscorable(
            Reason.UNSUPPORTED_MODEL,
            f"expected classes with different texts, in all at most {TEXTS_LIMIT} characters, got {len(texts)} classes "
            f"such as {max(texts, key=texts.count, default='')[:80]!r}",
        )
    return tuple(texts)
