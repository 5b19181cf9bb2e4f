"""The totals of a model of XGBoost are the margins that its wrapper predicts, to the bit, on any readings."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import treelite
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from xgboost import XGBClassifier, XGBRanker, XGBRegressor, XGBRFClassifier, XGBRFRegressor

from scorer.errors import Unscorable
from scorer.families.trees.ensemble import Ensemble, Link, NodeKind
from scorer.families.trees.xgboost import gives_probabilities, read_xgboost, takes_gaps
from scorer.model_files import reader
from shared.contract.reasons import Reason
from tests.scorer.families.reference_trees import sum_leaves

RANDOM = np.random.default_rng(7)
X = RANDOM.normal(size=(240, 4)) * [1, 2, 40, 1] + [0, 20, 300, 0]
X[:, 3] = RANDOM.integers(0, 9, 240)
X[RANDOM.uniform(size=X.shape) < 0.05] = np.nan
FILLED = np.nan_to_num(X)
Y = FILLED @ [3, 1, 0.05, 0] + FILLED[:, 3] % 3 * 4
POSITIVE = np.abs(Y) + 0.1
PAIRS = np.stack([Y, -Y, Y**2], axis=1)
CLASS = np.digitize(Y, np.quantile(Y, [0.3, 0.7]))
SMALL: dict[str, Any] = {"n_estimators": 6, "max_depth": 4, "n_jobs": 1, "learning_rate": 0.6}
SETS: dict[str, Any] = {
    **SMALL, "tree_method": "hist", "enable_categorical": True, "feature_types": ["q", "q", "q", "c"]
}  # fmt: skip
STOPPED: dict[str, Any] = {**SMALL, "n_estimators": 80, "learning_rate": 0.9, "early_stopping_rounds": 2}


def regress(target: np.ndarray = Y, **options: Any) -> XGBRegressor:
    return XGBRegressor(**{**SMALL, **options}).fit(X, target)


def classify(target: np.ndarray = CLASS, **options: Any) -> XGBClassifier:
    return XGBClassifier(**{**SMALL, **options}).fit(X, target)


def stop(model: Any, target: np.ndarray) -> Any:
    return model.fit(X[:120], target[:120], eval_set=[(X[120:], target[120:])], verbose=False)


TWO = (CLASS > 1).astype(int)
MODELS: dict[str, Callable[[], Any]] = {
    "squared error": regress,
    "squared log error": lambda: regress(POSITIVE, objective="reg:squaredlogerror"),
    "pseudo Huber": lambda: regress(objective="reg:pseudohubererror"),
    "absolute error": lambda: regress(objective="reg:absoluteerror"),
    "logistic regression": lambda: regress(POSITIVE / POSITIVE.max(), objective="reg:logistic"),
    "logistic, of a base score": lambda: classify(TWO, base_score=0.07),
    "logistic, of a base score at its border": lambda: classify(TWO, base_score=1e-9),
    "Poisson": lambda: regress(POSITIVE, objective="count:poisson"),
    "gamma": lambda: regress(POSITIVE, objective="reg:gamma"),
    "Tweedie": lambda: regress(POSITIVE, objective="reg:tweedie", base_score=3.3),
    "Cox": lambda: regress(objective="survival:cox"),
    "quantiles": lambda: regress(objective="reg:quantileerror", quantile_alpha=[0.1, 0.5, 0.9]),
    "base score": lambda: regress(base_score=7.3),
    "ranking": lambda: XGBRanker(**SMALL).fit(X, CLASS, group=[120, 120]),
    "two classes": lambda: classify(TWO),
    "hinge": lambda: classify(TWO, objective="binary:hinge"),
    "three classes": classify,
    "softmax": lambda: classify(objective="multi:softmax"),
    "classes and parallel trees": lambda: classify(num_parallel_tree=3, subsample=0.6),
    "forest": lambda: XGBRFRegressor(n_estimators=7, n_jobs=1).fit(X, Y),
    "forest of classes": lambda: XGBRFClassifier(n_estimators=5, n_jobs=1).fit(X, CLASS),
    "dart": lambda: regress(Y + 100, booster="dart", rate_drop=0.5, one_drop=1),
    "dart by the forest's rule": lambda: regress(booster="dart", rate_drop=0.4, normalize_type="forest"),
    "dart of classes": lambda: classify(booster="dart", rate_drop=0.4),
    "linear": lambda: linear(XGBRegressor, Y),
    "linear of two classes": lambda: linear(XGBClassifier, TWO),
    "linear of classes": lambda: linear(XGBClassifier, CLASS),
    "linear Poisson": lambda: linear(XGBRegressor, POSITIVE, objective="count:poisson"),
    "targets": lambda: regress(PAIRS),
    "targets and parallel trees": lambda: regress(PAIRS, num_parallel_tree=2, subsample=0.6),
    "vector leaves": lambda: regress(PAIRS, multi_strategy="multi_output_tree", tree_method="hist"),
    "categories one by one": lambda: regress(**SETS, max_cat_to_onehot=20),
    "sets of categories": lambda: regress(**SETS, max_cat_to_onehot=1),
    "sets of categories and classes": lambda: classify(**SETS, max_cat_to_onehot=1),
    "stopped": lambda: stop(XGBRegressor(**STOPPED), Y),
    "stopped classes": lambda: stop(XGBClassifier(num_parallel_tree=2, **STOPPED), CLASS),
    "stopped dart": lambda: stop(XGBRegressor(booster="dart", **STOPPED), Y),
    "stopped targets": lambda: stop(XGBRegressor(**STOPPED), PAIRS),
    "pruned": lambda: regress(gamma=60, tree_method="exact", max_depth=6),
    "by leaves": lambda: regress(tree_method="hist", grow_policy="lossguide", max_leaves=31, max_depth=0),
    "approximate": lambda: regress(tree_method="approx"),
    "stumps": lambda: regress(max_depth=1),
    "no splits": lambda: regress(gamma=1e9),
}


def linear(kind: type, target: np.ndarray, **options: Any) -> Any:
    model = kind(booster="gblinear", updater="coord_descent", n_estimators=8, n_jobs=1, **options)
    return model.fit(X / [1, 20, 300, 9], target)


@cache
def fit(name: str) -> Any:
    with warnings.catch_warnings(action="ignore"):
        return MODELS[name]()


@cache
def read(name: str) -> Ensemble:
    return read_xgboost(reader.read_model(pickle.dumps(fit(name))).state)


def make_rows() -> np.ndarray:
    """Ordinary, and all that readings may be: gaps, zeros, large ones, categories that nobody saw."""
    rows = np.tile(RANDOM.normal(size=(200, 4)) * [2, 4, 80, 1] + [0, 20, 300, 0], (2, 1))
    rows[:, 3] = RANDOM.integers(-3, 14, len(rows))
    rows[200:][RANDOM.uniform(size=(200, 4)) < 0.2] = np.nan
    special = [0.0, -0.0, 1e-45, -1e-45, 1e-40, 3e8, -3e8, 1e38, -0.5, 8.99, 2.0**24, 2.0**24 - 1, 2.0**31, np.nan]
    for column in range(4):
        rows[column * 20 : column * 20 + len(special), column] = special
    return rows


ROWS = make_rows()


def compare(name: str, rows: np.ndarray) -> None:
    """AssertionError unless totals are equal to the library's margins, to the bit."""
    totals = sum_leaves(read(name), rows.astype(np.float64)).astype(np.float32)
    margins = np.asarray(fit(name).predict(rows, output_margin=True), np.float32).reshape(totals.shape)
    np.testing.assert_array_equal(totals, margins)


@pytest.mark.parametrize("name", MODELS)
def test_totals_are_the_librarys_margins(name: str) -> None:
    compare(name, ROWS)
    compare(name, ROWS[:1])
    compare(name, ROWS[250:251])
    compare(name, ROWS.astype(np.float32))
    assert sum_leaves(read(name), ROWS[:0]).shape == (0, len(read(name).start))


@pytest.mark.parametrize("name", ["squared error", "three classes", "dart", "by leaves", "sets of categories"])
def test_readings_beside_a_threshold_go_the_librarys_way(name: str) -> None:
    trees = read(name).trees
    inner = np.flatnonzero((trees.feature >= 0) & (trees.kind < NodeKind.SET_LEFT))[:60]
    rows = []
    for node in inner.tolist():
        at = np.float32(trees.threshold[node])
        for value in (
            at,
            np.nextafter(at, np.float32(np.inf)),
            np.nextafter(at, np.float32(-np.inf)),
            float(at) + 1e-9,
        ):
            rows.append(ROWS[100].copy())
            rows[-1][trees.feature[node]] = value
    compare(name, np.array(rows))


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.float32])
def test_readings_of_another_type_are_scored_as_the_library_scores_them(kind: type) -> None:
    for name in ("squared error", "three classes", "sets of categories"):
        compare(name, np.nan_to_num(np.clip(ROWS, -1e9, 1e9)).astype(kind))


def test_large_readings_and_targets_are_summed_as_the_library_sums() -> None:
    rows = RANDOM.normal(size=(300, 4)) * 2000 + 3e8
    model = XGBRegressor(**{**SMALL, "n_estimators": 60}).fit(rows, rows[:, 0])
    ensemble = read_xgboost(reader.read_model(pickle.dumps(model)).state)
    again = RANDOM.normal(size=(300, 4)) * 2000 + 3e8
    np.testing.assert_array_equal(sum_leaves(ensemble, again)[:, 0].astype(np.float32), model.predict(again))


NUMBERS = st.floats(width=32, allow_infinity=False) | st.integers(-5, 40).map(float) | st.floats(-400, 400)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(MODELS)), st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=9))
def test_any_readings_have_the_librarys_margins(name: str, rows: list[tuple[float, ...]]) -> None:
    with np.errstate(all="ignore"):
        array = np.array(rows)
        if "linear" in name:
            array = np.clip(array, -1e6, 1e6)  # terms beyond float32 are no numbers
        compare(name, array)


LINKS: dict[str, tuple[Link, Callable[[np.ndarray], np.ndarray]]] = {
    "squared error": (Link.IDENTITY, lambda t: t),
    "ranking": (Link.IDENTITY, lambda t: t),
    "quantiles": (Link.IDENTITY, lambda t: t),
    "Poisson": (Link.EXP, np.exp),
    "gamma": (Link.EXP, np.exp),
    "Tweedie": (Link.EXP, np.exp),
    "Cox": (Link.EXP, np.exp),
    "logistic regression": (Link.SIGMOID_OUTPUT, lambda t: 1 / (1 + np.exp(-t))),
    "two classes": (Link.SIGMOID, lambda t: 1 / (1 + np.exp(-t))),
    "three classes": (Link.SOFTMAX, lambda t: np.exp(t) / np.exp(t).sum(1, keepdims=True)),
    "softmax": (Link.SOFTMAX, lambda t: np.exp(t) / np.exp(t).sum(1, keepdims=True)),
}


@pytest.mark.parametrize("name", LINKS)
def test_each_objective_has_its_link(name: str) -> None:
    link, compute = LINKS[name]
    rows = ROWS[100:200]
    assert read(name).link is link
    values = compute(sum_leaves(read(name), rows).astype(np.float32))
    model = fit(name)
    if link in (Link.SIGMOID, Link.SOFTMAX):
        expected = model.predict_proba(rows)
        expected = expected[:, 1:] if link is Link.SIGMOID else expected
    else:
        expected = model.predict(rows)
    np.testing.assert_allclose(values, expected.reshape(values.shape), rtol=1e-6)


def test_a_hinge_has_labels_by_the_sign_and_no_probabilities() -> None:
    state = reader.read_model(pickle.dumps(fit("hinge"))).state
    assert read("hinge").link is Link.IDENTITY
    assert not gives_probabilities(state)
    np.testing.assert_array_equal(sum_leaves(read("hinge"), ROWS)[:, 0] > 0, fit("hinge").predict(ROWS) == 1)


def test_the_best_round_is_heeded_also_of_a_bare_booster() -> None:
    """The library's Booster predicts with all rounds, the wrapper with the best ones: one rule for both."""
    model = fit("stopped")
    booster = model.get_booster()
    n_best = model.best_iteration + 1
    assert n_best < booster.num_boosted_rounds()
    for data in (pickle.dumps(booster), bytes(booster.save_raw("ubj")), bytes(booster.save_raw("json"))):
        ensemble = read_xgboost(reader.read_model(data).state)
        assert len(ensemble.trees.roots) == n_best
        margins = booster.predict(xgboost.DMatrix(ROWS), output_margin=True, iteration_range=(0, n_best))
        np.testing.assert_array_equal(sum_leaves(ensemble, ROWS)[:, 0].astype(np.float32), margins)
        assert not np.array_equal(margins, booster.predict(xgboost.DMatrix(ROWS), output_margin=True))


def test_a_booster_without_rounds_predicts_its_base_score() -> None:
    booster = xgboost.train({"base_score": 4.5}, xgboost.DMatrix(X, Y), 0)
    ensemble = read_xgboost(reader.read_model(bytes(booster.save_raw("ubj"))).state)
    assert sum_leaves(ensemble, ROWS[:3]).tolist() == [[4.5]] * 3


def test_a_slice_of_a_booster_is_read() -> None:
    booster = fit("classes and parallel trees").get_booster()[1:4]
    ensemble = read_xgboost(reader.read_model(bytes(booster.save_raw("ubj"))).state)
    margins = booster.predict(xgboost.DMatrix(ROWS), output_margin=True)
    np.testing.assert_array_equal(sum_leaves(ensemble, ROWS).astype(np.float32), margins)


def test_nodes_that_pruning_left_behind_are_left_out() -> None:
    sizes = [tree["tree_param"]["num_deleted"] for tree in _list_trees(fit("pruned"))]
    assert max(map(int, sizes)) > 0
    assert len(read("pruned").trees.feature) < sum(len(tree["left_children"]) for tree in _list_trees(fit("pruned")))


def _list_trees(model: Any) -> Iterator[dict[str, Any]]:
    yield from json.loads(model.get_booster().save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"]


def test_a_file_never_says_whether_gaps_were_trained() -> None:
    state = reader.read_model(pickle.dumps(fit("squared error"))).state
    assert takes_gaps(state) is False


@pytest.mark.parametrize("name", ["squared error", "three classes", "forest", "targets", "two classes", "by leaves"])
def test_treelite_agrees(name: str) -> None:
    """To rounding only: it adds the base score last."""
    data = bytes(fit(name).get_booster().save_raw("json"))
    model = treelite.frontend.from_xgboost_json(data)
    scores = treelite.gtil.predict(model, ROWS[100:].astype(np.float32), pred_margin=True)
    totals = sum_leaves(read(name), ROWS[100:])
    np.testing.assert_allclose(scores.reshape(totals.shape), totals, rtol=1e-5, atol=1e-4)


def test_more_features_than_any_model_has_are_too_large() -> None:
    state = dict(reader.read_model(pickle.dumps(fit("squared error"))).state)
    with pytest.raises(Unscorable) as caught:
        read_xgboost({**state, "n_features_in_": 2**15 + 1})
    assert caught.value.reason is Reason.TOO_LARGE
