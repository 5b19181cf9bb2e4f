"""What a model file says of its training: the names of its features, and whether it is meant to be given gaps."""

from __future__ import annotations

import pickle
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import IsolationForest
from sklearn.impute import SimpleImputer
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, Normalizer, StandardScaler
from sklearn.svm import OneClassSVM

from scorer.estimators.loader import load_model
from scorer.families import registry, training
from scorer.model_files import reader
from scorer.model_files.parsed import PIPELINE, ParsedObject
from tests.scorer.sandbox import hostile

NAMES = ("c", "a", "b")

STEPS: dict[str, list[Any]] = {
    "alone": [OneClassSVM()],
    "scaler": [StandardScaler(), OneClassSVM()],
    "union": [FeatureUnion([("same", "passthrough"), ("scaled", StandardScaler())]), OneClassSVM()],
    "passthrough": ["passthrough", OneClassSVM()],
    "none": [None, StandardScaler(), OneClassSVM()],
    "nested": [make_pipeline(StandardScaler(), MinMaxScaler()), make_pipeline(OneClassSVM())],
    "nested passthrough": [make_pipeline("passthrough", None), OneClassSVM()],
    "function": [FunctionTransformer(), OneClassSVM()],
    "column transformer": [
        ColumnTransformer([("last", StandardScaler(), [2])], remainder="passthrough"), OneClassSVM()
    ],
    "set_output": [StandardScaler().set_output(transform="pandas"), OneClassSVM()],
    "union of scalers": [FeatureUnion([("a", StandardScaler()), ("b", MinMaxScaler())]), OneClassSVM()],
    "union of passing steps": [
        None,
        FeatureUnion([("a", "drop"), ("b", "passthrough"), ("c", make_pipeline(None, MinMaxScaler()))]),
        OneClassSVM(),
    ],
    "passthrough, set_output": ["passthrough", StandardScaler().set_output(transform="pandas"), OneClassSVM()],
}  # fmt: skip


def fit(steps: list[Any], rows: Any) -> Any:
    """A model of these steps; a lone one without a pipeline."""
    steps = [clone(step) if hasattr(step, "fit") else step for step in steps]
    return steps[0].fit(rows) if len(steps) == 1 else make_pipeline(*steps).fit(rows)


def describe(model: Any) -> tuple[tuple[str, ...], int | None, bool]:
    """What is read off the file of a fitted estimator: names, number of features, whether it takes gaps."""
    described = reader.read_model(pickle.dumps(model))
    names = training.read_feature_names(described)
    return names, training.count_features(described), training.takes_gaps(described)


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_the_names_of_a_frame_are_known_behind_any_first_step(steps: list[Any], normal: np.ndarray) -> None:
    assert describe(fit(steps, pd.DataFrame(normal, columns=list(NAMES)))) == (NAMES, 3, False)


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_names_that_a_transformer_invented_are_none(steps: list[Any], normal: np.ndarray) -> None:
    assert describe(fit(steps, normal)) == ((), 3, False)
    assert describe(fit(steps, pd.DataFrame(normal))) == ((), 3, False)  # its columns are numbers


@pytest.mark.parametrize("name", ["alone", "scaler", "passthrough", "none", "nested", "nested passthrough"])
def test_a_file_that_is_read_as_data_says_the_same(name: str, normal: np.ndarray) -> None:
    for rows, names in ((pd.DataFrame(normal, columns=list(NAMES)), NAMES), (normal, ())):
        data = pickle.dumps(fit(STEPS[name], rows))
        model = reader.read_model(data)
        detector = load_model(data)

        assert training.read_feature_names(model) == detector.feature_names == names
        assert training.count_features(model) == detector.n_features == 3


def test_a_search_has_the_names_of_what_it_found() -> None:
    best = ParsedObject("sklearn.svm._classes.OneClassSVM", {"feature_names_in_": np.array(NAMES), "n_features_in_": 3})
    search = ParsedObject("sklearn.model_selection._search.GridSearchCV", {"best_estimator_": best})

    assert (training.read_feature_names(search), training.count_features(search)) == (NAMES, 3)


@pytest.mark.parametrize("names", [np.array([1, 2], object), "ab", [None]])
def test_names_that_are_no_texts_are_refused(names: object) -> None:
    model = ParsedObject("sklearn.svm._classes.OneClassSVM", {"feature_names_in_": names})

    with pytest.raises(ValueError, match="not a list of names"):
        training.read_feature_names(model)


def test_pipelines_in_a_circle_or_of_very_many_parts_are_refused() -> None:
    circle = ParsedObject(PIPELINE, {"steps": []})
    circle.state["steps"].append(("again", circle))
    many: Any = "passthrough"
    for _ in range(30):  # two to the thirtieth parts
        many = ParsedObject(PIPELINE, {"steps": [("a", many), ("b", many)]})

    for model in (circle, many):
        for ask in (training.read_feature_names, training.count_features, training.takes_gaps):
            with pytest.raises(ValueError, match="more than 1000 parts"):
                ask(model)


# Gaps


def forest(n_estimators: int = 10) -> IsolationForest:
    return IsolationForest(n_estimators=n_estimators, max_samples=100, random_state=0)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([OneClassSVM()], False),
        ([StandardScaler(), OneClassSVM()], False),
        ([SimpleImputer(), OneClassSVM()], True),
        ([StandardScaler(), SimpleImputer(strategy="median"), LocalOutlierFactor(novelty=True)], True),
        (["passthrough", make_pipeline(SimpleImputer()), OneClassSVM()], True),
        ([Normalizer(), SimpleImputer(), OneClassSVM()], False),  # refuses what the imputer would fill
        ([SimpleImputer(missing_values=-1.0), OneClassSVM()], False),  # fills something else
        ([ColumnTransformer([("all", SimpleImputer(), [0, 1, 2])]), OneClassSVM()], True),
        (
            [ColumnTransformer([("some", SimpleImputer(), [0]), ("others", StandardScaler(), [1, 2])]), OneClassSVM()],
            False,
        ),
        ([forest()], False),
        ([StandardScaler(), forest()], False),
    ],
)
def test_who_is_meant_to_be_given_gaps(steps: list[Any], expected: bool, normal: np.ndarray) -> None:
    assert describe(fit(steps, normal))[2] is expected


@pytest.mark.parametrize("steps", [[forest()], [StandardScaler(), forest()], [forest(1)]])
def test_a_forest_that_saw_gaps_takes_them(steps: list[Any], normal: np.ndarray) -> None:
    gappy = np.where(np.random.default_rng(0).random(normal.shape) < 0.1, np.nan, normal)
    data = pickle.dumps(fit(steps, gappy))

    assert training.takes_gaps(reader.read_model(data))
    assert load_model(data).takes_gaps


def test_a_tree_that_a_file_names_very_often_is_looked_at_once() -> None:
    data = hostile.that_takes_for_ever()
    began = time.process_time()
    model = reader.read_model(data)
    is_read = time.process_time()
    registry.pack_model(model)
    assert time.process_time() - is_read < 10 * (is_read - began)  # it took sixty times as long, outside the sandbox


@pytest.mark.parametrize("version", ["1.5.2", "", "unknown"])
def test_a_forest_of_before_1_6_takes_no_gaps_whatever_its_nodes_say(version: str, normal: np.ndarray) -> None:
    gappy = np.where(np.random.default_rng(0).random(normal.shape) < 0.1, np.nan, normal)
    model = reader.read_model(pickle.dumps(forest().fit(gappy)))
    model.state["_sklearn_version"] = version

    assert not training.takes_gaps(model)


def test_a_pipeline_that_ends_in_no_detector_takes_no_gaps() -> None:
    assert not training.takes_gaps(ParsedObject(PIPELINE, {"steps": []}))
    assert describe(Pipeline([("off", "passthrough")])) == ((), None, False)
