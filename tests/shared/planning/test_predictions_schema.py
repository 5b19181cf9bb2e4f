"""Which schema new plans have: a truth table."""

import pytest

from shared.contract.errors import Malformed
from shared.planning.predictions_schema import (
    decide_predictions_schema,
    explain_predictions_schema,
    parse_predictions_schema,
)

# The setting, what is stored, whether there are runs: the schema.
TABLE = [
    (None, None, False, 2),  # an empty ledger
    (None, None, True, 1),  # a deployment from before 0.2.0
    (None, 1, True, 1),
    (None, 2, True, 2),
    (None, 2, False, 2),
    (1, None, False, 1),
    (1, 2, True, 1),
    (2, None, True, 2),
    (2, 1, True, 2),
]


@pytest.mark.parametrize(("setting", "stored", "has_runs", "schema"), TABLE)
def test_the_setting_goes_first_then_what_is_stored_then_the_history(
    setting: int | None, stored: int | None, has_runs: bool, schema: int
) -> None:
    assert decide_predictions_schema(setting, stored, has_runs=has_runs) == schema


def test_the_setting_is_one_of_two_numbers() -> None:
    assert [parse_predictions_schema(text) for text in ("1", "2")] == [1, 2]
    for text in ("3", "02", "two", " 1"):
        with pytest.raises(Malformed, match=f"expected 1 or 2, got '{text}'"):
            parse_predictions_schema(text)


@pytest.mark.parametrize(
    ("schema", "setting", "sentence"),
    [
        (1, 1, "predictions are written in schema 1, as PREDICTIONS_SCHEMA says"),
        (2, 2, "predictions are written in schema 2, as PREDICTIONS_SCHEMA says"),
        (2, None, "predictions are written in schema 2"),
        (
            1,
            None,
            "predictions are written in schema 1, since there are runs from before; PREDICTIONS_SCHEMA=2 changes it",
        ),
    ],
)
def test_the_reason_is_said(schema: int, setting: int | None, sentence: str) -> None:
    assert explain_predictions_schema(schema, setting) == sentence
