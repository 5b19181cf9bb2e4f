"""Which schema the predictions of new plans have. Pure; the schemas themselves are in `scorer.predictions.table`."""

from __future__ import annotations

from shared.contract.errors import Malformed
from shared.contract.manifest import PREDICTION_SCHEMAS


def parse_predictions_schema(text: str) -> int:
    """The setting PREDICTIONS_SCHEMA; raises Malformed."""
    if text not in map(str, PREDICTION_SCHEMAS):
        raise Malformed(f"expected {' or '.join(map(str, PREDICTION_SCHEMAS))}, got {text!r}")
    return int(text)


def decide_predictions_schema(setting: int | None, stored: int | None, *, has_runs: bool) -> int:
    """The setting; without it what the last tick stored; at the first tick 2, but 1 where there are runs from before.

    Readers of a deployment from before 0.2.0 know schema 1 only, and its folders hold files of it: a person says when
    they are ready for the other.
    """
    if setting is not None:
        return setting
    if stored is not None:
        return stored
    return 1 if has_runs else 2


def explain_predictions_schema(schema: int, setting: int | None) -> str:
    """The sentence that is logged when a deployment begins to write *schema*."""
    if setting is not None:
        return f"predictions are written in schema {schema}, as PREDICTIONS_SCHEMA says"
    if schema == 1:
        return "predictions are written in schema 1, since there are runs from before; PREDICTIONS_SCHEMA=2 changes it"
    return f"predictions are written in schema {schema}"
