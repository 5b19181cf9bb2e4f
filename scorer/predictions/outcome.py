"""The outcome of one model, with its predictions if there are any."""

from __future__ import annotations

from dataclasses import dataclass

from scorer.predictions.rows import Predictions
from shared.contract.domain import Model
from shared.contract.outcomes import ModelResult


@dataclass(frozen=True, slots=True)
class ModelOutcome:
    """One model's result, its predictions if there are any, and counts for the warnings."""

    result: ModelResult
    predictions: Predictions | None = None
    left_out: int = 0  # rows that lacked a feature
    repeated: int = 0  # rows that a file of other columns replaced
    is_assumed: bool = False  # its features were taken in the order of the files, which nobody chose
    has_silent: bool = False  # one of its features had no value at all, which it takes
    made_by: str = ""  # the version of scikit-learn that made it, where it is not the installed one, or "unknown"
    is_constant: bool = False  # it gives one score to all rows


def get_changed_etag(etag: str, model: Model) -> str:
    """The etag for the result: "" where it is the manifest's."""
    return etag if etag != model.etag else ""
