"""What the scorer says is what plain scikit-learn says, for each kind of detector, layout and format."""

import io
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import skops.io
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import OneClassSVM

from scorer.commands.desk import score_folder
from scorer.commands.desk.score_folder import ScoreOptions
from scorer.estimators import loader, outlier_detector
from shared.contract.scoring_options import Features, ReadingOptions, ScoringOptions
from tests.scorer.fleets import DETECTORS

NAMES = ["pressure", "temperature", "rpm"]  # not sorted
NAMED = ScoringOptions(ReadingOptions(features=Features(tuple(NAMES))))


def joblib_dump(estimator: Any, compress: Any = 0) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer, compress=compress)
    return buffer.getvalue()


def read(folder: Path) -> pd.DataFrame:
    return pd.concat([pq.read_table(f).to_pandas() for f in sorted(folder.rglob("*.parquet"))])


def score(root: Path, models: Mapping[str, bytes], extension: str = "pkl") -> Mapping[str, pd.DataFrame]:
    """The predictions of each device; its models have a folder to themselves. FEATURES has the names."""
    (root / "models").mkdir()
    for device, data in models.items():
        (root / "models" / f"{device}.{extension}").write_bytes(data)
    options = ScoreOptions(root / "models", root / "readings", root / "predictions", policy=NAMED)
    assert score_folder.score_models(options) == 0
    return dict(list(read(root / "predictions").groupby("device")))


@pytest.fixture
def rows() -> pd.DataFrame:
    """Two hours of one device's readings, some far off; a value that needs all its digits."""
    values = np.random.default_rng(1).normal([10.0, 20.0, 30.0], [2.0, 4.0, 6.0], (90, 3))
    frame = pd.DataFrame(values, columns=NAMES)
    frame.insert(0, "time", pd.date_range("2026-11-21T07:00", periods=90, freq="80s", tz="UTC"))
    return frame


def of_each(devices: Iterable[str], rows: pd.DataFrame) -> pd.DataFrame:
    """The same readings for every device."""
    return pd.concat([rows.assign(device=device) for device in devices])


def write(frame: pd.DataFrame, folder: Path, form: str) -> None:
    """The rows in a layout and a format, in no good order."""
    layout, _, extension = form.partition(".")
    frame = frame if layout == "wide" else frame.melt(["time", "device"], var_name="sensor")
    frame = frame.sample(frac=1, random_state=3)
    folder.mkdir()
    if extension == "parquet":
        frame.to_parquet(folder / "a.parquet", index=False)
    elif extension == "json":
        frame.to_json(folder / "a.json", orient="records", lines=True, date_format="iso", double_precision=15)
    else:
        frame.to_csv(folder / f"a.{extension}", index=False)


def check(found: pd.DataFrame, estimator: Any, features: Any) -> None:
    scores = estimator.decision_function(features)
    np.testing.assert_allclose(found["score"], scores, rtol=0, atol=1e-9)
    assert found["anomaly"].tolist() == [int(label != 1) for label in estimator.predict(features)]


SCALERS = {"alone": None, "Standard": StandardScaler(), "MinMax": MinMaxScaler(), "Robust": RobustScaler()}


@pytest.mark.parametrize(
    "form", ["wide.csv", "wide.parquet", "wide.json", "long.csv", "long.parquet", "long.csv.gz", "wide.csv.gz"]
)
def test_labels_and_scores_are_those_of_scikit_learn(
    form: str, normal: np.ndarray, rows: pd.DataFrame, tmp_path: Path
) -> None:
    fitted = {
        f"{name}-{kind}": (clone(detector) if scaler is None else make_pipeline(scaler, clone(detector))).fit(normal)
        for name, detector in DETECTORS.items()
        for kind, scaler in SCALERS.items()
    }
    write(of_each(fitted, rows), tmp_path / "readings", form)

    found = score(tmp_path, {device: pickle.dumps(estimator) for device, estimator in fitted.items()})

    assert set(found) == set(fitted)
    for device, estimator in fitted.items():
        check(found[device], estimator, rows[NAMES].to_numpy())
        assert found[device]["time"].tolist() == rows["time"].tolist()
        assert found[device]["sensor"].isna().all()
        assert found[device]["value"].isna().all()


def in_format(kind: str, fitted: Any) -> bytes:
    match kind.split():
        case ["skops"]:
            return skops.io.dumps(fitted)
        case ["joblib"]:
            return joblib_dump(fitted)
        case ["protocol", number]:
            return pickle.dumps(fitted, protocol=int(number))
        case [packed]:
            return joblib_dump(fitted, (packed, 3))
    raise AssertionError(kind)


def test_every_format_gives_the_same_model(normal: np.ndarray, rows: pd.DataFrame, tmp_path: Path) -> None:
    fitted = {name: make_pipeline(StandardScaler(), clone(one)).fit(normal) for name, one in DETECTORS.items()}
    kinds = ["skops", "joblib", "zlib", "gzip", "bz2", "xz", "protocol 2", "protocol 5"]
    files = {f"{name}-{kind}": in_format(kind, one) for name, one in fitted.items() for kind in kinds}
    (tmp_path / "readings").mkdir()
    of_each(files, rows).to_parquet(tmp_path / "readings" / "a.parquet")

    # The content says what a file is; its name does not.
    found = score(tmp_path, files, "joblib")

    assert set(found) == set(files)
    for device, predictions in found.items():
        check(predictions, fitted[device.partition("-")[0]], rows[NAMES].to_numpy())


def test_a_model_with_names_gets_its_columns_by_name(normal: np.ndarray, rows: pd.DataFrame, tmp_path: Path) -> None:
    names = ["rpm", "temperature", "pressure"]
    trained = pd.DataFrame(normal, columns=names)
    fitted = {name: make_pipeline(StandardScaler(), clone(one)).fit(trained) for name, one in DETECTORS.items()}
    (tmp_path / "readings").mkdir()
    of_each(fitted, rows).assign(note="ignored").to_csv(tmp_path / "readings" / "a.csv", index=False)

    found = score(tmp_path, {device: pickle.dumps(estimator) for device, estimator in fitted.items()})

    assert set(found) == set(fitted)
    for device, estimator in fitted.items():
        check(found[device], estimator, rows[names])


def test_a_row_that_equals_the_only_support_vector_is_an_anomaly() -> None:
    fitted = OneClassSVM(nu=0.5).fit(np.zeros((2, 1)))
    row = np.zeros((1, 1))

    detector = loader.load_model(pickle.dumps(fitted))
    answers = outlier_detector.predict_rows(detector.estimator, row, detector.rule)

    assert answers.score is not None
    assert answers.anomaly is not None
    assert (answers.score.tolist(), answers.anomaly.tolist(), fitted.predict(row).tolist()) == ([0.0], [True], [-1])


@pytest.mark.parametrize("name", sorted(set(DETECTORS) - {"OneClassSVM"}))
def test_a_score_of_exactly_zero_gets_the_label_that_predict_gives(name: str) -> None:
    fitted = clone(DETECTORS[name]).fit(np.random.default_rng(0).normal(size=(50, 1)))
    detector = loader.load_model(pickle.dumps(fitted))
    detector.estimator.decision_function = lambda x: np.zeros(len(x))  # their predict asks it, too
    row = np.zeros((1, 1))

    anomalies = outlier_detector.predict_rows(detector.estimator, row, detector.rule).anomaly

    assert anomalies is not None
    assert anomalies.tolist() == (detector.estimator.predict(row) != 1).tolist()


def test_a_float32_value_is_widened_not_rounded(normal: np.ndarray, tmp_path: Path) -> None:
    fitted = make_pipeline(StandardScaler(), OneClassSVM(nu=0.1)).fit(normal[:, :1])
    values = np.array([9.1, 10.7, 14.2], np.float32)
    frame = pd.DataFrame({"time": pd.date_range("2026-11-21", periods=3, freq="s"), "device": "pump", "value": values})
    (tmp_path / "readings").mkdir()
    frame.to_parquet(tmp_path / "readings" / "a.parquet")

    found = score(tmp_path, {"pump": pickle.dumps(fitted)})["pump"]

    check(found, fitted, values.astype(float)[:, None])
    assert found["value"].tolist() == values.astype(float).tolist()
