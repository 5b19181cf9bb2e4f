"""A fleet of 25 models of all tasks, nearly all of another kind and of all forms of file; and a broken file."""

from __future__ import annotations

import io
import json
import pickle
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import skops.io
from lightgbm import LGBMRegressor
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.compose import TransformedTargetRegressor
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor, LocalOutlierFactor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVR, LinearSVC, OneClassSVM
from sklearn.tree import DecisionTreeRegressor
from xgboost import XGBRegressor

from tests.stack.e2e.place import Place

SIGNALS = ["heat", "noise"]
MINUTES = 20
BROKEN = "w-broken"
LIGHTGBM, XGBOOST = "y-regressor", "z-regressor"  # in their own files
FOLDER, BUNDLE, SCALED = "s-regressor", "t-error", "u-regressor"  # MLflow's, a dict with a threshold, two files
SPECIAL = (FOLDER, BUNDLE, SCALED, LIGHTGBM, XGBOOST)
LIMIT = 0.5  # of the bundle's errors
CLASSES = ("ok", "worn", "ü")


def count_tasks(models: Iterable[str]) -> dict[str, int]:
    """How many models there are of each task, by the devices' names."""
    renamed = {"labels": "classifier", "outputs": "regressor", "error": "detector"}
    return dict(sorted(Counter(renamed.get(name[2:], name[2:]) for name in models).items()))


def train_models() -> Mapping[str, Any]:
    """A fitted model for each device. Their order by name is not that of their tasks."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(80, 2)), columns=SIGNALS)
    target = frame["heat"] * 2 - frame["noise"] + 20
    labels = np.array(CLASSES)[(np.argsort(np.argsort(target)) * 3) // len(target)]
    return {
        "a-detector": OneClassSVM(nu=0.1).fit(frame),
        "b-regressor": make_pipeline(StandardScaler(), Ridge()).fit(frame, target),
        "c-classifier": LogisticRegression().fit(frame, labels),
        "d-detector": make_pipeline(StandardScaler(), LocalOutlierFactor(novelty=True)).fit(frame),
        "e-outputs": LinearRegression().fit(frame, np.stack([target, -target], axis=1)),
        "f-clusterer": KMeans(3, n_init=1, random_state=0).fit(frame),
        "g-regressor": Ridge().fit(frame, -target),
        "h-regressor": RandomForestRegressor(4, max_depth=4, random_state=0).fit(frame, target),
        "i-labels": LinearSVC().fit(frame, labels),
        "j-classifier": RandomForestClassifier(4, max_depth=4, random_state=0).fit(frame, labels),
        "k-regressor": HistGradientBoostingRegressor(max_iter=3, random_state=0).fit(frame, target),
        "l-classifier": GradientBoostingClassifier(n_estimators=2, max_depth=2, random_state=0).fit(frame, labels),
        "m-regressor": make_pipeline(StandardScaler(), SVR()).fit(frame, target),
        "n-regressor": GridSearchCV(KNeighborsRegressor(), {"n_neighbors": [2, 3]}, cv=2).fit(frame, target),
        "o-classifier": GaussianNB().fit(frame, labels),
        "p-clusterer": MiniBatchKMeans(3, n_init=1, random_state=0).fit(frame),
        "q-detector": IsolationForest(n_estimators=4, random_state=0).fit(frame),
        "r-regressor": MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", max_iter=2000, random_state=0).fit(
            frame, target
        ),
        FOLDER: DecisionTreeRegressor(max_depth=4, random_state=0).fit(frame, target),
        BUNDLE: Ridge().fit(frame[["noise"]], frame["heat"]),
        SCALED: make_pipeline(MinMaxScaler(), TransformedTargetRegressor(Ridge())).fit(frame.to_numpy(), target),
        "v-labels": RidgeClassifier().fit(frame, labels),
        "x-detector": EllipticEnvelope(random_state=0).fit(frame),
        LIGHTGBM: LGBMRegressor(n_estimators=3, n_jobs=1, verbose=-1).fit(frame, target),
        XGBOOST: XGBRegressor(n_estimators=3, n_jobs=1).fit(frame, target),
    }


def give_mixed_fleet(place: Place, models: Mapping[str, Any], start: datetime) -> pd.DataFrame:
    """Upload the models, half of them as pickles, with one that is broken, and readings, which are returned."""
    files = _dump_special(models)
    for number, name in enumerate(name for name in models if name not in SPECIAL):
        dump, extension = ((skops.io.dumps, "skops"), (pickle.dumps, "pkl"))[number % 2]
        files[f"{name}.{extension}"] = dump(models[name])
    place.upload("models", {**files, f"{BROKEN}.skops": b"\x80\x04no model"})
    rng = np.random.default_rng(1)
    rows = [
        (start + timedelta(minutes=m), device, *rng.normal(size=2))
        for device in [*models, BROKEN]
        for m in range(MINUTES)
    ]
    readings = pd.DataFrame(rows, columns=["time", "device", *SIGNALS])
    sink = io.BytesIO()
    readings.to_parquet(sink, index=False)
    place.upload("readings", {f"{start:date=%Y-%m-%d/hour=%H}/part.parquet": sink.getvalue()})
    return readings


def _dump_special(models: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of the models that are not one estimator in one file."""
    bundle = {"model": models[BUNDLE], "threshold": LIMIT, "threshold_of": "absolute_error", "target": "heat"}
    columns = ", ".join(f'{{"type": "double", "name": "{name}"}}' for name in SIGNALS)
    signature = f"signature:\n  inputs: '[{columns}]'\n"
    flavor = "flavors:\n  sklearn:\n    pickled_model: model.pkl\n    serialization_format: pickle\n"
    scaler, regressor = (step for _, step in models[SCALED].steps)
    return {
        f"{LIGHTGBM}.lgb": models[LIGHTGBM].booster_.model_to_string().encode(),
        f"{XGBOOST}.ubj": bytes(models[XGBOOST].get_booster().save_raw("ubj")),
        f"{FOLDER}/MLmodel": (flavor + signature).encode(),
        f"{FOLDER}/model.pkl": pickle.dumps(models[FOLDER]),
        f"{BUNDLE}.pkl": pickle.dumps(bundle),
        f"{SCALED}.pkl": pickle.dumps(regressor),
        f"{SCALED}.scaler.pkl": pickle.dumps(scaler),
        f"{SCALED}.features.json": json.dumps({"features": SIGNALS}).encode(),
    }


def check_rows(rows: pd.DataFrame, models: Mapping[str, Any], readings: pd.DataFrame) -> None:
    """Each device has the rows that its own library says, and nothing in the columns of other tasks."""
    assert not rows.duplicated(["time", "device", "sensor", "output"]).any()
    assert set(rows["device"]) == set(models)
    for device, model in models.items():
        features = readings.loc[readings["device"] == device, SIGNALS].reset_index(drop=True)
        own = rows[rows["device"] == device].sort_values(["time", "output"], na_position="first", ignore_index=True)
        columns = set(own.columns[own.notna().any()]) - {"time", "device", "model", "date", "hour"}
        assert columns == list_columns(device, own, model, features)


def list_columns(device: str, own: pd.DataFrame, model: Any, features: pd.DataFrame) -> set[str]:
    """The columns that the task of this device fills, after their values were compared."""
    kind = device[2:]
    if kind == "detector":
        np.testing.assert_allclose(own["score"], model.decision_function(features), rtol=1e-9, atol=1e-9)
        assert (own["anomaly"] == (model.predict(features) == -1)).all()
        return {"score", "anomaly"}
    if kind == "error":
        predicted = model.predict(features[["noise"]])
        np.testing.assert_allclose(own["prediction"], predicted, rtol=1e-12)
        np.testing.assert_allclose(own["score"], LIMIT - np.abs(features["heat"] - predicted), rtol=1e-12)
        assert (own["anomaly"] == (np.abs(features["heat"] - predicted) > LIMIT)).all()
        return {"score", "anomaly", "prediction"}
    if kind == "regressor":
        values = features.to_numpy() if device == SCALED else features
        np.testing.assert_allclose(own["prediction"], model.predict(values), rtol=1e-12)
        return {"prediction"}
    if kind == "labels":
        assert own["label"].tolist() == model.predict(features).tolist()
        return {"label"}
    if kind == "outputs":
        np.testing.assert_allclose(own["prediction"], model.predict(features).reshape(-1), rtol=1e-12)
        assert own["output"].tolist() == ["0", "1"] * MINUTES
        return {"prediction", "output"}
    if kind == "clusterer":
        assert own["label"].tolist() == list(map(str, model.predict(features)))
        np.testing.assert_allclose(own["score"], -model.transform(features).min(axis=1), rtol=1e-9)
        return {"label", "score"}
    own_labels, columns = own[own["label"].notna()], {"label", "probability"}
    assert own_labels["label"].tolist() == model.predict(features).tolist()
    shares = model.predict_proba(features)
    np.testing.assert_allclose(own_labels["probability"], shares.max(axis=1), rtol=1e-12)
    if len(own) > len(own_labels):
        classes = own[own["label"].isna()].pivot_table(index="time", columns="output", values="probability")
        np.testing.assert_allclose(classes[list(model.classes_)], shares, rtol=1e-12)
        assert len(own) == 4 * MINUTES
        columns.add("output")
    return columns
