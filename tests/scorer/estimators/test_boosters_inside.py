"""Boosters inside scikit-learn's estimators: computed by our arithmetic, or refused where a file does not say how."""

import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingRegressor, StackingClassifier, StackingRegressor, VotingClassifier, VotingRegressor
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor, RegressorChain
from sklearn.pipeline import make_pipeline
from xgboost import XGBClassifier, XGBRegressor

from scorer.estimators.score_model import score_model_file
from scorer.storage.blob_store import Content
from shared.contract.domain import Model
from shared.contract.reasons import Reason
from tests.scorer.sandbox import misdeeds

ROWS = np.random.default_rng(0).normal(size=(120, 3))
TARGET = ROWS @ [1, 2, -1]
TWO, THREE = (TARGET > 0).astype(int), np.digitize(TARGET, [-1, 1])
TEXTS = np.array(["ok", "worn", "broken"])[THREE]
OUTPUTS = np.stack([TARGET, -TARGET], axis=1)


def lightgbm(kind: Any) -> Any:
    return kind(n_estimators=4, min_child_samples=3, n_jobs=1, verbose=-1)


def xgboost(kind: Any) -> Any:
    return kind(n_estimators=4, n_jobs=1)


def score(model: Any) -> Any:
    readings = misdeeds.readings("d", ROWS, ("a", "b", "c"))
    bundle = {"model": model, "features": ["a", "b", "c"]}
    return score_model_file(Model("d", "", "d.pkl", "planned"), Content(pickle.dumps(bundle), "e"), readings)


@pytest.mark.parametrize(
    ("model", "target"),
    [
        (VotingRegressor([("a", lightgbm(LGBMRegressor)), ("b", xgboost(XGBRegressor))]), TARGET),
        (StackingRegressor([("a", lightgbm(LGBMRegressor))], final_estimator=xgboost(XGBRegressor)), TARGET),
        (BaggingRegressor(xgboost(XGBRegressor), n_estimators=2, random_state=0), TARGET),
        (MultiOutputRegressor(lightgbm(LGBMRegressor)), OUTPUTS),
        (RegressorChain(xgboost(XGBRegressor)), OUTPUTS),
        (make_pipeline(RFE(xgboost(XGBRegressor), n_features_to_select=2), Ridge()), TARGET),
        (make_pipeline(SimpleImputer(strategy="constant", fill_value=0.0), xgboost(XGBRegressor)), TARGET),
        (GridSearchCV(lightgbm(LGBMRegressor), {"num_leaves": [3, 7]}, cv=2), TARGET),
    ],
    ids=lambda item: type(item).__name__,
)
def test_regressors_predict_as_with_their_library(model: Any, target: np.ndarray) -> None:
    fitted = model.fit(ROWS, target)

    outcome = score(fitted)

    assert outcome.result.reason is None, outcome.result.message
    predicted = np.ravel(fitted.predict(ROWS))
    np.testing.assert_allclose(outcome.predictions.prediction, predicted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "target"),
    [
        (VotingClassifier([("a", lightgbm(LGBMClassifier)), ("b", LogisticRegression())], voting="hard"), TEXTS),
        (VotingClassifier([("a", lightgbm(LGBMClassifier)), ("b", LogisticRegression())], voting="soft"), TEXTS),
        (StackingClassifier([("a", LogisticRegression())], final_estimator=xgboost(XGBClassifier), cv=2), THREE),
        (CalibratedClassifierCV(xgboost(XGBClassifier), cv=2), THREE),
        (OneVsRestClassifier(xgboost(XGBClassifier)), THREE),
        (FixedThresholdClassifier(xgboost(XGBClassifier), threshold=0.3), TWO),
        (FixedThresholdClassifier(lightgbm(LGBMClassifier), threshold=0.3), TWO),
        (MultiOutputClassifier(lightgbm(LGBMClassifier)), np.stack([TWO, THREE], axis=1)),
    ],
    ids=lambda item: type(item).__name__,
)
def test_classifiers_label_as_with_their_library(model: Any, target: np.ndarray) -> None:
    fitted = model.fit(ROWS, target)

    outcome = score(fitted)

    assert outcome.result.reason is None, outcome.result.message
    label = outcome.predictions.label
    assert [label.names[code] for code in label.codes] == np.ravel(fitted.predict(ROWS)).astype(str).tolist()


def test_a_selection_that_asks_a_booster_is_refused() -> None:
    outcome = score(make_pipeline(SelectFromModel(lightgbm(LGBMRegressor)), Ridge()).fit(ROWS, TARGET))

    assert outcome.result.reason is Reason.UNSUPPORTED_MODEL
    assert "got one that does: use RFE" in outcome.result.message


@pytest.mark.parametrize("wrap", [lambda model: CalibratedClassifierCV(model, cv=2), OneVsRestClassifier])
def test_lightgbm_is_refused_where_its_file_does_not_say_what_it_was_asked(wrap: Any) -> None:
    """LightGBM 4.7 has decision_function, which scikit-learn 1.9 prefers; earlier releases had probabilities alone."""
    with warnings.catch_warnings(action="ignore"):
        fitted = wrap(lightgbm(LGBMClassifier)).fit(ROWS, THREE)

    outcome = score(fitted)

    assert outcome.result.reason is Reason.UNSUPPORTED_MODEL
    assert "asks for raw scores where its release has them" in outcome.result.message
