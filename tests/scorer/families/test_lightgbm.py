"""Trees read from LightGBM's files give its own raw scores to the bit, and the link gives its own outputs."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pytest
import treelite
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.errors import Unscorable
from scorer.families.trees.ensemble import Ensemble, Link
from scorer.families.trees.lightgbm import read_lightgbm, takes_gaps
from scorer.model_files.boosters.lightgbm_text import read_text
from shared.contract.reasons import Reason
from tests.scorer.families.lightgbm_models import (
    EDGES,
    KINDS,
    QUIET,
    ROWS,
    TARGET,
    WITH_GAPS,
    list_edges,
    sum_raw,
    train,
)
from tests.scorer.families.reference_trees import sum_leaves

CATEGORIES = [4]


def compare(booster: lightgbm.Booster, rows: np.ndarray) -> Ensemble:
    """AssertionError unless all raw scores are equal to the bit; those of a forest before they are divided."""
    ensemble, totals = sum_raw(booster.model_to_string(), rows)
    expected = booster.predict(rows, raw_score=True, num_threads=1).reshape(len(rows), -1)
    if ensemble.divisor != 1:
        expected = expected / ensemble.divisor
    np.testing.assert_array_equal(totals, expected)
    return ensemble


def apply_link(ensemble: Ensemble, totals: np.ndarray) -> np.ndarray:
    """The outputs by the rules of `Link`, in NumPy."""
    with np.errstate(over="ignore"):
        return _apply_link(ensemble, totals)


def _apply_link(ensemble: Ensemble, totals: np.ndarray) -> np.ndarray:
    sigmoid = 1 / (1 + np.exp(-ensemble.parameter * totals))
    match ensemble.link:
        case Link.SIGMOID:
            return sigmoid[:, 0]
        case Link.SIGMOID_OUTPUT | Link.SIGMOIDS:
            return sigmoid
        case Link.SOFTMAX:
            powers = np.exp(totals - totals.max(axis=1, keepdims=True))
            return powers / powers.sum(axis=1, keepdims=True)
        case Link.EXP:
            return np.exp(totals)
        case Link.LOG1P_EXP:
            return np.log1p(np.exp(totals))
        case Link.SIGNED_SQUARE:
            return np.sign(totals) * totals * totals
    return totals


@pytest.mark.parametrize("categories", [[], CATEGORIES], ids=["numbers", "categories"])
@pytest.mark.parametrize("rows", [ROWS, WITH_GAPS], ids=["complete", "gaps"])
@pytest.mark.parametrize("name", KINDS)
def test_raw_scores_are_equal_to_the_bit_and_outputs_to_a_unit_in_the_last_place(
    name: str, rows: np.ndarray, categories: list[int]
) -> None:
    booster = train(name, rows, categories)
    for seen in (rows, WITH_GAPS, list_edges(booster), rows[:1], np.full((1, 5), np.nan), np.zeros((1, 5))):
        ensemble = compare(booster, seen)
        _, totals = sum_raw(booster.model_to_string(), seen)
        outputs = apply_link(ensemble, totals).ravel()
        np.testing.assert_allclose(outputs, booster.predict(seen, num_threads=1).ravel(), rtol=1e-14, atol=1e-300)
    assert sum_raw(booster.model_to_string(), rows[:0])[1].shape == (0, len(ensemble.start))


@pytest.mark.parametrize("kind", [np.float32, np.int64, np.int32, bool, np.uint8])
def test_readings_of_any_type_are_scored_as_float64(kind: Any) -> None:
    booster = train("regression")
    rows = np.clip(ROWS * 1e3, 0, 250).astype(kind).astype(np.float64)
    compare(booster, rows)


def test_forests_are_divided_by_the_rounds_that_are_used() -> None:
    booster = train("forest")
    state = read_text(booster.model_to_string().encode()).state
    for best in (0, 1, 4, 99):
        ensemble = read_lightgbm({**state, "best_iteration": best})
        assert ensemble.divisor == (min(best, 6) or 6)
        expected = booster.predict(WITH_GAPS, num_iteration=best, num_threads=1)
        np.testing.assert_array_equal(sum_leaves(ensemble, WITH_GAPS)[:, 0], expected)


@pytest.mark.parametrize("name", ["regression", "multiclass", "linear", "linear-dart"])
@pytest.mark.parametrize("categories", [[], CATEGORIES], ids=["numbers", "categories"])
def test_only_the_rounds_up_to_the_best_iteration_predict(name: str, categories: list[int]) -> None:
    booster = train(name, WITH_GAPS, categories)
    state = read_text(booster.model_to_string().encode()).state
    for best in (1, 2, 5, 6, 7):
        totals = sum_leaves(read_lightgbm({**state, "best_iteration": best}), WITH_GAPS)
        expected = booster.predict(WITH_GAPS, raw_score=True, num_iteration=best, num_threads=1).reshape(
            len(totals), -1
        )
        np.testing.assert_array_equal(totals, expected)


def test_a_booster_that_went_on_from_another_kind_has_leaves_of_both() -> None:
    first = train("regression", WITH_GAPS)
    data = lightgbm.Dataset(WITH_GAPS, TARGET, params={"linear_tree": True}, free_raw_data=False)
    second = lightgbm.train({**QUIET, "linear_tree": True}, data, 3, init_model=first)
    compare(second, WITH_GAPS)
    compare(second, list_edges(second))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(st.floats(width=64, allow_infinity=False) | st.sampled_from(EDGES.tolist()), min_size=5, max_size=5)
    )
)
def test_any_rows_score_as_the_library_scores_them(rows: list[list[float]]) -> None:
    if rows:
        for booster in BOOSTERS:
            compare(booster, np.array(rows))


BOOSTERS = [train("regression", WITH_GAPS, CATEGORIES), train("zero-as-missing", ROWS, CATEGORIES), train("multiclass")]


@pytest.mark.parametrize(
    ("name", "rows", "expected"),
    [
        ("regression", ROWS, False),
        ("regression", WITH_GAPS, True),
        ("zero-as-missing", ROWS, True),
        ("gaps-ignored", WITH_GAPS, False),
        ("no-split", WITH_GAPS, False),
    ],
)
@pytest.mark.parametrize("categories", [[], CATEGORIES], ids=["numbers", "categories"])
def test_a_booster_takes_gaps_where_a_split_knows_missing_values(
    name: str, rows: np.ndarray, categories: list[int], expected: bool
) -> None:
    state = read_text(train(name, rows, categories).model_to_string().encode()).state
    assert takes_gaps(state) is expected


def test_thresholds_near_zero_send_numbers_near_zero_where_the_library_sends_zero() -> None:
    rows = np.repeat(np.array([[-1.0], [-1e-36], [0.0], [1e-36], [1.0], [2.0]]), 20, axis=0)
    for target in (rows[:, 0] > 0, rows[:, 0] >= 0, rows[:, 0] > -1):
        data = lightgbm.Dataset(rows, target.astype(float))
        booster = lightgbm.train({**QUIET, "min_data_in_bin": 1}, data, 3)
        compare(booster, EDGES[:, None])


@pytest.mark.parametrize("name", ["regression", "binary", "multiclass", "one-vs-all", "poisson", "forest"])
def test_treelite_agrees(name: str) -> None:
    booster = train(name, WITH_GAPS, CATEGORIES)
    model = treelite.frontend.from_lightgbm(booster)
    outputs = treelite.gtil.predict(model, WITH_GAPS).reshape(len(WITH_GAPS), -1)
    ensemble, totals = sum_raw(booster.model_to_string(), WITH_GAPS)
    expected = apply_link(ensemble, totals).reshape(len(WITH_GAPS), -1)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective": "sphere"}, "expected an objective of LightGBM, got 'sphere'"),
        (
            {"objective": "multiclass num_class:1"},
            "expected a classifier for the objective multiclass, got a regressor",
        ),
        ({"n_outputs": 3}, "expected a regressor with one output, got one with 3"),
        ({"classes_": ["a", "b"], "objective": ""}, "whose output is a probability, got '' of a classifier"),
        ({"classes_": ["a", "b"], "objective": "poisson"}, "whose output is a probability, got 'poisson'"),
        ({"classes_": ["a"], "objective": "binary sigmoid:1"}, "got 1: fit it on more than one class"),
        ({"n_category_columns": 1}, "got one fitted on a frame with category columns"),
    ],
)
def test_what_cannot_be_computed_is_refused_by_its_name(change: dict[str, Any], message: str) -> None:
    state = read_text(train("regression").model_to_string().encode()).state
    with pytest.raises(Unscorable) as caught:
        read_lightgbm({**state, **change})
    assert caught.value.reason is Reason.UNSUPPORTED_MODEL
    assert message in str(caught.value)


def test_a_classifier_of_two_classes_with_a_regression_takes_the_sum_for_the_probability() -> None:
    model = lightgbm.LGBMClassifier(objective="regression", n_estimators=4, verbose=-1, n_jobs=1)
    model.fit(ROWS, TARGET > 1)
    state = read_text(model.booster_.model_to_string().encode()).state
    assert read_lightgbm({**state, "classes_": [False, True]}).link is Link.SHARE
    np.testing.assert_array_equal(
        model.predict_proba(ROWS)[:, 1], sum_raw(model.booster_.model_to_string(), ROWS)[1][:, 0]
    )
