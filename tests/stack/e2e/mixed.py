"""A fleet of all tasks: regressors, one with two outputs, a classifier, a clusterer, detectors, and a broken file."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import skops.io
from sklearn.cluster import KMeans
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from tests.stack.e2e.place import Place

SIGNALS = ["heat", "noise"]
MINUTES = 20
BROKEN = "w-broken"
CLASSES = ("ok", "worn", "ü")


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
    }


def give_mixed_fleet(place: Place, models: Mapping[str, Any], start: datetime) -> pd.DataFrame:
    """Upload the models, half of them as pickles, with one that is broken, and readings, which are returned."""
    names = list(models)
    place.upload("models", {f"{name}.pkl": pickle.dumps(models[name]) for name in names[1::2]})
    place.upload("models", {f"{name}.skops": skops.io.dumps(models[name]) for name in names[::2]})
    place.upload("models", {f"{BROKEN}.skops": b"\x80\x04no model"})
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
    if kind == "regressor":
        np.testing.assert_allclose(own["prediction"], model.predict(features), rtol=1e-12)
        return {"prediction"}
    if kind == "outputs":
        np.testing.assert_allclose(own["prediction"], model.predict(features).reshape(-1), rtol=1e-12)
        assert own["output"].tolist() == ["0", "1"] * MINUTES
        return {"prediction", "output"}
    if kind == "clusterer":
        assert own["label"].tolist() == list(map(str, model.predict(features)))
        np.testing.assert_allclose(own["score"], -model.transform(features).min(axis=1), rtol=1e-12)
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
