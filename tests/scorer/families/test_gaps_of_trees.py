"""Models of trees are given rows with gaps only where their files say that they were trained with some."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeRegressor

from scorer.estimators import loader, registry
from scorer.families import training
from scorer.model_files import reader
from shared.contract.scoring_options import Probabilities

RANDOM = np.random.default_rng(11)
ROWS = RANDOM.normal(size=(150, 3))
NUMBER = ROWS @ [1.0, 2.0, -1.0]
WITH_GAPS = np.where(RANDOM.random(ROWS.shape) < 0.1, np.nan, ROWS)
FOREST = RandomForestRegressor(5, random_state=0)
REGRESSORS = {
    "tree": DecisionTreeRegressor(random_state=0),
    "extra tree": ExtraTreeRegressor(random_state=0),
    "random splits": DecisionTreeRegressor(splitter="random", random_state=0),
    "forest": FOREST,
    "extra trees": ExtraTreesRegressor(5, random_state=0),
    "histogram": HistGradientBoostingRegressor(max_iter=5, random_state=0),
    "behind a scaler": make_pipeline(StandardScaler(), FOREST),
    "bagging": BaggingRegressor(DecisionTreeRegressor(), n_estimators=2, random_state=0),
    "target": TransformedTargetRegressor(HistGradientBoostingRegressor(max_iter=5)),
    "voting": VotingRegressor([("a", FOREST), ("b", HistGradientBoostingRegressor(max_iter=5))]),
    "several outputs": MultiOutputRegressor(FOREST),
}
CLASSIFIERS = {
    "tree of classes": DecisionTreeClassifier(random_state=0),
    "forest of classes": RandomForestClassifier(5, random_state=0),
    "extra trees of classes": ExtraTreesClassifier(5, random_state=0),
    "histogram of classes": HistGradientBoostingClassifier(max_iter=5, random_state=0),
    "one against the rest": OneVsRestClassifier(HistGradientBoostingClassifier(max_iter=5)),
    "calibrated": CalibratedClassifierCV(HistGradientBoostingClassifier(max_iter=5), cv=2),
    "threshold": FixedThresholdClassifier(HistGradientBoostingClassifier(max_iter=5)),
}
MODELS = REGRESSORS | CLASSIFIERS


def fit(name: str, rows: np.ndarray) -> Any:
    target: Any = NUMBER if name in REGRESSORS else NUMBER > 0
    if name == "several outputs":
        target = np.column_stack([NUMBER, -NUMBER])
    with warnings.catch_warnings(action="ignore"):
        return clone(MODELS[name]).fit(rows, target)


def takes_gaps(model: Any) -> bool:
    return training.takes_gaps(reader.read_model(pickle.dumps(model)))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_takes_gaps_where_it_was_trained_with_some_and_predicts_as_its_library(name: str) -> None:
    model = fit(name, WITH_GAPS)

    assert takes_gaps(model)
    loaded = loader.load_model(pickle.dumps(model))
    assert loaded.takes_gaps
    answers = registry.predict_rows(loaded, WITH_GAPS, Probabilities.LABEL)
    predicted = model.predict(WITH_GAPS).ravel()
    if answers.prediction is not None:
        np.testing.assert_array_equal(answers.prediction, predicted)
    else:
        assert answers.label is not None
        assert [answers.label.names[code] for code in answers.label.codes] == [str(item) for item in predicted]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_takes_none_where_it_was_trained_without(name: str) -> None:
    assert not takes_gaps(fit(name, ROWS))


def test_a_model_that_asks_others_takes_gaps_only_where_all_of_them_do() -> None:
    imputed = make_pipeline(SimpleImputer(), Ridge())
    for second, expected in ((imputed, True), (HistGradientBoostingRegressor(max_iter=5), True)):
        voting = VotingRegressor([("a", FOREST), ("b", second)]).fit(WITH_GAPS, NUMBER)
        assert takes_gaps(voting) is expected
    voting.estimators_[1] = DecisionTreeRegressor().fit(ROWS, NUMBER)
    assert not takes_gaps(voting)


def test_trees_of_a_release_whose_trees_do_not_show_it_take_none() -> None:
    older = pickle.dumps(fit("tree", WITH_GAPS)).replace(b"1.9.1", b"1.4.2")
    drawn = pickle.dumps(fit("random splits", WITH_GAPS)).replace(b"1.9.1", b"1.5.2")

    for data in (older, drawn):
        assert not training.takes_gaps(reader.read_model(data))
