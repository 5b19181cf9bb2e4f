"""What the scorer says is what plain scikit-learn says, for each kind of detector, layout and format."""

import io
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import skops.io
from fleets import DETECTORS
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import OneClassSVM

from scorer import desk, detectors

NAMES = ["pressure", "rpm", "temperature"]  # sorted: the order of a pivot


def joblib_dump(estimator: Any, compress: Any = 0) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer, compress=compress)
    return buffer.getvalue()


def read(folder: Path) -> pd.DataFrame:
    return pd.concat([pq.read_table(f).to_pandas() for f in sorted(folder.rglob("*.parquet"))])


def score(root: Path, model: bytes, extension: str = "pkl") -> pd.DataFrame:
    (root / "models").mkdir()
    (root / "models" / f"pump.{extension}").write_bytes(model)
    code = desk.folder(desk.Errand(root / "models", root / "readings", root / "predictions"))
    assert code == 0
    return read(root / "predictions")


@pytest.fixture
def rows() -> pd.DataFrame:
    """Two hours of one device's readings, some far off; a value that needs all its digits."""
    values = np.random.default_rng(1).normal([10.0, 20.0, 30.0], [2.0, 4.0, 6.0], (90, 3))
    frame = pd.DataFrame(values, columns=NAMES)
    frame.insert(0, "device", "pump")
    frame.insert(0, "time", pd.date_range("2026-11-21T07:00", periods=90, freq="80s", tz="UTC"))
    return frame


@pytest.fixture(params=["wide.csv", "wide.parquet", "wide.json", "long.csv", "long.parquet", "long.csv.gz"])
def readings(request: pytest.FixtureRequest, rows: pd.DataFrame, tmp_path: Path) -> Path:
    """The rows in each layout and format, in no good order."""
    layout, _, extension = request.param.partition(".")
    frame = rows if layout == "wide" else rows.melt(["time", "device"], var_name="sensor")
    frame = frame.sample(frac=1, random_state=3)
    folder = tmp_path / "readings"
    folder.mkdir()
    if extension == "parquet":
        frame.to_parquet(folder / "a.parquet", index=False)
    elif extension == "json":
        frame.to_json(folder / "a.json", orient="records", lines=True, date_format="iso", double_precision=15)
    else:
        frame.to_csv(folder / f"a.{extension}", index=False)
    return folder


@pytest.fixture(params=["alone", "behind a StandardScaler", "behind a MinMaxScaler", "behind a RobustScaler"])
def fitted(request: pytest.FixtureRequest, detector: Any, normal: np.ndarray) -> Any:
    scalers = {"StandardScaler": StandardScaler(), "MinMaxScaler": MinMaxScaler(), "RobustScaler": RobustScaler()}
    scaler = scalers.get(request.param.split()[-1])
    estimator = clone(detector) if scaler is None else make_pipeline(scaler, clone(detector))
    return estimator.fit(normal)


def check(found: pd.DataFrame, estimator: Any, features: Any) -> None:
    scores = estimator.decision_function(features)
    np.testing.assert_allclose(found["score"], scores, rtol=0, atol=1e-9)
    assert found["anomaly"].tolist() == [int(label != 1) for label in estimator.predict(features)]


@pytest.mark.usefixtures("readings")
def test_labels_and_scores_are_those_of_scikit_learn(fitted: Any, rows: pd.DataFrame, tmp_path: Path) -> None:
    found = score(tmp_path, pickle.dumps(fitted))

    check(found, fitted, rows[NAMES].to_numpy())
    assert found["time"].tolist() == rows["time"].tolist()
    assert set(found["device"]) == {"pump"}
    assert found["sensor"].isna().all()
    assert found["value"].isna().all()


@pytest.mark.parametrize("kind", ["skops", "joblib", "zlib", "gzip", "bz2", "xz", "protocol 2", "protocol 5"])
def test_every_format_gives_the_same_model(
    kind: str, detector: Any, normal: np.ndarray, rows: pd.DataFrame, tmp_path: Path
) -> None:
    fitted = make_pipeline(StandardScaler(), clone(detector)).fit(normal)
    match kind.split():
        case ["skops"]:
            data = skops.io.dumps(fitted)
        case ["joblib"]:
            data = joblib_dump(fitted)
        case ["protocol", number]:
            data = pickle.dumps(fitted, protocol=int(number))
        case [packed]:
            data = joblib_dump(fitted, (packed, 3))
    (tmp_path / "readings").mkdir()
    rows.to_parquet(tmp_path / "readings" / "a.parquet")

    # The content says what a file is; its name does not.
    check(score(tmp_path, data, "joblib"), fitted, rows[NAMES].to_numpy())


def test_a_model_with_names_gets_its_columns_by_name(
    detector: Any, normal: np.ndarray, rows: pd.DataFrame, tmp_path: Path
) -> None:
    trained = pd.DataFrame(normal, columns=["rpm", "temperature", "pressure"])
    fitted = make_pipeline(StandardScaler(), clone(detector)).fit(trained)
    (tmp_path / "readings").mkdir()
    rows.assign(note="ignored").to_csv(tmp_path / "readings" / "a.csv", index=False)

    check(score(tmp_path, pickle.dumps(fitted)), fitted, rows[["rpm", "temperature", "pressure"]])


def test_a_row_that_equals_the_only_support_vector_is_an_anomaly() -> None:
    fitted = OneClassSVM(nu=0.5).fit(np.zeros((2, 1)))
    row = np.zeros((1, 1))

    scores, anomalies = detectors.judge(fitted, row)

    assert (scores.tolist(), anomalies.tolist(), fitted.predict(row).tolist()) == ([0.0], [True], [-1])


@pytest.mark.parametrize("name", sorted(set(DETECTORS) - {"OneClassSVM"}))
def test_a_score_of_exactly_zero_gets_the_label_that_predict_gives(name: str) -> None:
    fitted = clone(DETECTORS[name]).fit(np.random.default_rng(0).normal(size=(50, 1)))
    fitted.decision_function = lambda x: np.zeros(len(x))  # their predict asks it, too
    row = np.zeros((1, 1))

    _, anomalies = detectors.judge(fitted, row)

    assert anomalies.tolist() == (fitted.predict(row) != 1).tolist()


def test_a_float32_value_is_widened_not_rounded(normal: np.ndarray, tmp_path: Path) -> None:
    fitted = make_pipeline(StandardScaler(), OneClassSVM(nu=0.1)).fit(normal[:, :1])
    values = np.array([9.1, 10.7, 14.2], np.float32)
    frame = pd.DataFrame({"time": pd.date_range("2026-11-21", periods=3, freq="s"), "device": "pump", "value": values})
    (tmp_path / "readings").mkdir()
    frame.to_parquet(tmp_path / "readings" / "a.parquet")

    found = score(tmp_path, pickle.dumps(fitted))

    check(found, fitted, values.astype(float)[:, None])
    assert found["value"].tolist() == values.astype(float).tolist()
