"""How one model ended, with its predictions if there are any."""

from __future__ import annotations

from dataclasses import dataclass

from scorer.predictions.table import Predictions
from shared.contract.domain import Model
from shared.contract.report import ModelResult


@dataclass(frozen=True, slots=True)
class Scored:
    """One model's verdict, its predictions if there are any, and what a person should hear all the same."""

    verdict: ModelResult
    predictions: Predictions | None = None
    left_out: int = 0  # rows that lacked a feature
    repeated: int = 0  # rows that a file of other columns replaced
    made_by: str = ""  # the other scikit-learn that made it


def changed(etag: str, model: Model) -> str:
    """The etag for the verdict: only where it is not the manifest's."""
    return etag if etag != model.etag else ""
