"""What the kernels predict is what worker processes predict, with the same columns, counts and refusals."""

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestRegressor, VotingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.svm import OneClassSVM
from xgboost import XGBClassifier, XGBRegressor

from scorer.packs.cache import LoadedModels, Stores, load_models
from scorer.packs.pack import EMPTY
from scorer.readings import source
from scorer.sandbox.pool import WorkerPool
from scorer.scoring import pipeline
from scorer.scoring.pack_state import PackOutput, ProgressCounter
from scorer.scoring.pipeline import PackInput, ScoringContext
from scorer.scoring.run_warnings import RunWarnings
from scorer.storage.blob_store import Folder
from shared.contract.domain import Model
from shared.contract.model_list import ModelList
from shared.contract.model_names import Columns
from shared.contract.reasons import Reason
from shared.contract.scoring_options import Gaps, Probabilities, ReadingOptions
from tests.scorer.families import predictors as kinds
from tests.scorer.families.predictors import fit, make_classes, make_rows, make_target

QUICK = {"n_estimators": 5, "n_jobs": 1, "verbose": -1}
OVA = {**QUICK, "objective": "multiclassova", "num_class": 3}
NAMES = ["heat", "noise", "flow", "load"]
ROWS = make_rows(120)
FRAME = pd.DataFrame(ROWS, columns=NAMES)
NEW = pd.DataFrame(make_rows(30, seed=9), columns=NAMES)


@pytest.fixture(scope="module", params=list(Probabilities))
def probabilities(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def workers(probabilities: Probabilities) -> Iterator[WorkerPool]:
    with WorkerPool(1, probabilities=probabilities) as ready:
        yield ready


def train_models() -> dict[str, Any]:
    """A fitted model of each packed kind."""
    target = make_target(ROWS)
    models: list[Any] = [fit(clone(item), FRAME, target) for item in (*kinds.LINEAR, *kinds.TREE_REGRESSORS)]
    several = np.stack([target, -target], axis=1)
    models += [fit(clone(item), FRAME, several) for item in kinds.SEVERAL]
    for classes in make_classes(ROWS):
        models += [fit(clone(item), FRAME, classes) for item in (*kinds.LINEAR_CLASSIFIERS, *kinds.TREE_CLASSIFIERS)]
        models += [
            fit(item, FRAME, classes)
            for item in (LGBMClassifier(**QUICK), LGBMClassifier(**(OVA if len(set(classes)) > 2 else QUICK)))
        ]
    models += [fit(XGBClassifier(n_estimators=5, n_jobs=1), FRAME, next(make_classes(ROWS)))]
    models += [fit(item, FRAME, target) for item in (LGBMRegressor(**QUICK), XGBRegressor(n_estimators=5, n_jobs=1))]
    models += [
        make_pipeline(StandardScaler(), PCA(3), LGBMRegressor(**QUICK)).fit(FRAME, target),
        make_pipeline(PolynomialFeatures(2), XGBRegressor(n_estimators=5, n_jobs=1)).fit(FRAME, target),
        VotingRegressor([("a", LGBMRegressor(**QUICK)), ("b", LinearRegression())]).fit(FRAME, target),
    ]
    models += [fit(clone(item), FRAME) for item in kinds.CLUSTERERS]
    models += [make_pipeline(PCA(2), OneClassSVM(nu=0.2)).fit(FRAME)]
    return {f"m{number:03}": model for number, model in enumerate(models)}


def score(
    root: Path,
    workers: WorkerPool,
    models: dict[str, Any],
    new: pd.DataFrame = NEW,
    readings: ReadingOptions | None = None,
    **options: Any,
) -> tuple[PackOutput, PackOutput]:
    """The output of the kernels, and that of the worker processes."""
    (root / "models").mkdir(exist_ok=True)
    for device, model in models.items():
        (root / "models" / f"{device}.pkl").write_bytes(pickle.dumps(model))
    time = pd.date_range("2026-11-21T07:00Z", periods=len(new), freq="min").strftime("%Y-%m-%dT%H:%M:%SZ")
    frames = [new.assign(device=device, time=time) for device in models]
    pd.concat(frames).to_csv(root / "readings.csv", index=False)
    stores = Stores(Folder(root / "models"), Folder(root))
    planned = ModelList.from_models(Model(device, "", f"{device}.pkl", "planned") for device in models)
    seen = source.read_readings(
        Folder(root), ["readings.csv"], Columns(), list(models), None, readings or ReadingOptions()
    )
    context = ScoringContext(workers, **options)
    whole = PackInput(planned, load_models(stores, "", planned), seen, stores=stores)
    unread = LoadedModels(EMPTY, np.full(len(planned), -1), {}, {})  # only worker processes read the files
    inputs = (whole, replace(whole, loaded=unread, is_isolated=True))
    one, two = (pipeline.score_pack(item, context, ProgressCounter(), RunWarnings()) for item in inputs)
    return one, two


def test_kernels_and_worker_processes_say_the_same(
    tmp_path: Path, workers: WorkerPool, probabilities: Probabilities
) -> None:
    models = train_models()

    kernels, isolated = score(tmp_path, workers, models, probabilities=probabilities)

    assert [result.reason for result in kernels.results] == [None] * len(models)
    assert kernels.results == isolated.results
    first, second = (output.rows.to_pandas() for output in (kernels, isolated))
    exact = ["time", "device", "sensor", "output", "value", "anomaly", "label", "model"]
    pd.testing.assert_frame_equal(first[exact], second[exact])
    for name in ("score", "prediction", "probability"):
        np.testing.assert_allclose(first[name], second[name], rtol=1e-9, atol=1e-9)
    assert kernels.predicted.tasks == isolated.predicted.tasks
    assert kernels.predicted.readings == isolated.predicted.readings == len(models) * len(NEW)
    assert kernels.predicted.labels == isolated.predicted.labels


def test_models_of_one_feature_keep_its_value_in_each_row(
    tmp_path: Path, workers: WorkerPool, probabilities: Probabilities
) -> None:
    single, target = FRAME[["heat"]], make_target(ROWS)
    models = {
        "labels": LogisticRegression().fit(single, next(make_classes(ROWS))),
        "line": LinearRegression().fit(single, target),
        "lines": LinearRegression().fit(single, np.stack([target, -target], axis=1)),
        "several": LinearRegression().fit(FRAME, target),
        "svm": OneClassSVM(nu=0.2).fit(single),
    }

    kernels, isolated = score(tmp_path, workers, models, probabilities=probabilities)

    assert kernels.results == isolated.results
    first, second = (output.rows.to_pandas() for output in (kernels, isolated))
    names = ["time", "device", "value", "output", "label", "anomaly"]
    pd.testing.assert_frame_equal(first[names], second[names])
    assert first[first.device == "several"].value.isna().all()
    assert first[first.device != "several"].value.notna().all()


def test_what_is_too_large_for_a_model_is_told_by_its_library(tmp_path: Path, workers: WorkerPool) -> None:
    models = {
        "forest": RandomForestRegressor(n_estimators=2).fit(FRAME, make_target(ROWS)),
        "line": LinearRegression().fit(FRAME, make_target(ROWS)),
    }
    new = NEW.copy()
    new.loc[3, "flow"] = 1e39

    kernels, isolated = score(tmp_path, workers, models, new)

    assert kernels.results == isolated.results
    assert [result.reason for result in kernels.results] == [Reason.ESTIMATOR_ERROR, None]
    assert "float32" in kernels.results[0].message


def test_files_without_their_columns_get_no_predictions(tmp_path: Path, workers: WorkerPool) -> None:
    models = {
        "detector": make_pipeline(PCA(2), OneClassSVM(nu=0.2)).fit(FRAME),
        "labels": LogisticRegression().fit(FRAME, next(make_classes(ROWS))),
    }

    kernels, isolated = score(tmp_path, workers, models, predictions_schema=1)

    assert kernels.results == isolated.results
    assert [result.reason for result in kernels.results] == [None, Reason.UNSUPPORTED_MODEL]
    assert "label and probability: set PREDICTIONS_SCHEMA to 2" in kernels.results[1].message


def test_rows_that_lack_a_feature_are_left_out_and_counted(
    tmp_path: Path, workers: WorkerPool, probabilities: Probabilities
) -> None:
    models = {"labels": LogisticRegression().fit(FRAME, next(make_classes(ROWS)))}
    new = NEW.copy()
    new.loc[5:7, "noise"] = np.nan

    kernels, isolated = score(tmp_path, workers, models, new, probabilities=probabilities)

    assert kernels.results == isolated.results
    assert kernels.results[0].rows == (len(NEW) - 3) * (3 if probabilities is Probabilities.ALL else 1)


def test_boosters_are_given_the_gaps_that_they_were_trained_with(tmp_path: Path, workers: WorkerPool) -> None:
    gappy, target = FRAME.copy(), make_target(ROWS)
    gappy.loc[::9, "noise"] = np.nan
    models = {
        "complete": LGBMRegressor(**QUICK).fit(FRAME, target),
        "gappy": LGBMRegressor(**QUICK).fit(gappy, target),
        "unsaid": XGBRegressor(n_estimators=5, n_jobs=1).fit(gappy, target),  # its file does not say
    }
    new = NEW.copy()
    new.loc[5:7, "noise"] = np.nan

    kernels, isolated = score(tmp_path, workers, models, new)

    assert kernels.results == isolated.results
    assert [result.rows for result in kernels.results] == [len(NEW) - 3, len(NEW), len(NEW) - 3]
    predicted = kernels.rows.to_pandas().groupby("device").prediction
    np.testing.assert_array_equal(predicted.get_group("gappy"), models["gappy"].predict(new))


def test_where_gaps_are_given_boosters_answer_as_their_library(tmp_path: Path, workers: WorkerPool) -> None:
    models = {
        "lgb": LGBMRegressor(**QUICK).fit(FRAME, make_target(ROWS)),
        "xgb": XGBRegressor(n_estimators=5, n_jobs=1).fit(FRAME, make_target(ROWS)),
    }
    new = NEW.copy()
    new.loc[5:7, "noise"] = np.nan

    kernels, isolated = score(tmp_path, workers, models, new, readings=ReadingOptions(gaps=Gaps.GIVE))

    assert kernels.results == isolated.results
    predicted = kernels.rows.to_pandas().groupby("device").prediction
    for device, model in models.items():
        np.testing.assert_allclose(predicted.get_group(device), model.predict(new), rtol=1e-6)


def test_numbers_that_a_booster_cannot_hold_are_bad_readings(tmp_path: Path, workers: WorkerPool) -> None:
    models = {"xgb": XGBRegressor(n_estimators=5, n_jobs=1).fit(FRAME, make_target(ROWS))}
    new = NEW.copy()
    new.loc[3, "flow"] = 1e39

    kernels, isolated = score(tmp_path, workers, models, new)

    assert kernels.results == isolated.results
    assert kernels.results[0].reason is Reason.BAD_READINGS
