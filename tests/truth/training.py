"""Trains the models of a fleet, and asks scikit-learn itself for the scores of rows."""

from __future__ import annotations

import functools
import pickle
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.covariance import EllipticEnvelope
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import SGDOneClassSVM
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import OneClassSVM

from tests.truth.fleets import ModelSpec

_ROWS = 40


def make_detector(kind: str) -> Any:
    """A detector that was not fitted."""
    return {
        "svm": OneClassSVM(nu=0.2),
        "poly": OneClassSVM(nu=0.2, kernel="poly", degree=2),
        "sgd": SGDOneClassSVM(nu=0.2, random_state=0),
        "forest": IsolationForest(n_estimators=4, max_samples=20, contamination=0.2, random_state=0),
        "lof": LocalOutlierFactor(n_neighbors=5, novelty=True),
        "envelope": EllipticEnvelope(support_fraction=1.0, random_state=0),
    }[kind]


def make_steps(spec: ModelSpec) -> list[Any]:
    """What is before the detector."""
    names = list(spec.features) if spec.fitted == "frame" else list(range(len(spec.features)))
    return {
        "alone": [],
        "standard": [StandardScaler()],
        "minmax": [MinMaxScaler(clip=True)],
        "robust": [RobustScaler()],
        "passthrough": ["passthrough", StandardScaler()],
        "none": [None, StandardScaler()],
        "nested": [make_pipeline(StandardScaler())],
        "nested passthrough": [make_pipeline("passthrough")],
        "set_output": [StandardScaler().set_output(transform="pandas")],
        "imputer": [SimpleImputer()],
        "scaled imputer": [StandardScaler(), SimpleImputer(strategy="median")],
        "pca": [PCA(1)],
        "columns": [ColumnTransformer([("last", StandardScaler(), names[-1:])], remainder="passthrough")],
        "imputed columns": [
            ColumnTransformer([("last", SimpleImputer(), names[-1:])], remainder=SimpleImputer(strategy="median"))
        ],
        "union": [FeatureUnion([("a", StandardScaler()), ("b", MinMaxScaler())])],
        "union of one": [FeatureUnion([("a", RobustScaler())])],
        "nested union": ["passthrough", FeatureUnion([("a", make_pipeline(None, StandardScaler())), ("b", PCA(1))])],
    }[spec.step]


def make_estimator(spec: ModelSpec) -> Any:
    """The detector, in a pipeline where there is something before it."""
    steps, detector = make_steps(spec), make_detector(spec.kind)
    return make_pipeline(*steps, detector) if steps else detector


def takes_gaps(spec: ModelSpec) -> bool:
    """Whether the model's maker meant it to be given rows with gaps."""
    return "impute" in spec.step or (saw_gaps(spec) and spec.kind == "forest")


def saw_gaps(spec: ModelSpec) -> bool:
    """Whether rows with gaps were among those that it was trained on."""
    passes = spec.step not in ("pca", "columns", "union", "union of one", "nested union")
    return spec.saw_gaps and ("impute" in spec.step or (spec.kind == "forest" and passes))


def train(spec: ModelSpec) -> tuple[Any, bytes]:
    """The fitted estimator, and its file."""
    return _train(replace(spec, device="", sensor="", sidecar=(), sidecar_gaps=""))


@functools.lru_cache(maxsize=4000)
def _train(spec: ModelSpec) -> tuple[Any, bytes]:
    n_features = len(spec.features)
    rows = np.random.default_rng(n_features).normal(
        np.arange(n_features), 1 + np.arange(n_features), (_ROWS, n_features)
    )
    if saw_gaps(spec):
        rows[np.random.default_rng(9).random(rows.shape) < 0.1] = np.nan
    with warnings.catch_warnings(action="ignore"):  # EllipticEnvelope warns of columns that depend on each other
        estimator = make_estimator(spec).fit(arrange(spec, rows))
    return estimator, skops.io.dumps(estimator) if spec.skops else pickle.dumps(estimator)


def arrange(spec: ModelSpec, rows: np.ndarray) -> Any:
    """Rows in the form that the model was trained on."""
    match spec.fitted:
        case "array":
            return rows
        case "frame":
            return pd.DataFrame(rows, columns=list(spec.features))
    return pd.DataFrame(rows)


def score_rows(spec: ModelSpec, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The library's scores and labels (True: an anomaly) of *rows* in the model's order; None where it refuses them."""
    estimator, _ = train(spec)
    with warnings.catch_warnings(action="ignore"):  # LocalOutlierFactor warns of its own calls
        try:
            return estimator.decision_function(arrange(spec, rows)), estimator.predict(arrange(spec, rows)) == -1
        except ValueError:
            return None
