"""Rows with gaps, and orders that nobody chose, from files to reports: each way of scoring says the same."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import IsolationForest, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.svm import OneClassSVM

from scorer.packs.cache import LoadedModels, load_models
from scorer.packs.fetch import Stores
from scorer.packs.pack import EMPTY
from scorer.readings import source
from scorer.sandbox.pool import WorkerPool
from scorer.scoring import pipeline
from scorer.scoring.pack_state import PackOutput, ProgressCounter
from scorer.scoring.pipeline import PackInput, ScoringContext
from scorer.scoring.run_warnings import ASSUMED, LEFT_OUT, SILENT, RunWarnings
from scorer.storage.blob_store import Folder
from shared.contract.domain import Model
from shared.contract.model_list import ModelList
from shared.contract.model_names import Columns
from shared.contract.reasons import Reason
from shared.contract.scoring_options import Features, Gaps, ReadingOptions

NAMES = ["a", "b", "c"]
WHOLE = [f"2026-11-21T07:{minute:02},{{device}},{10 + minute % 3},20,3{minute % 7}\n" for minute in range(20)]
GAPPY = [*WHOLE[:15], "2026-11-21T07:20,{device},,20,31\n", "2026-11-21T07:21,{device},11,,33\n"]
ISOLATED = [False, True]


@pytest.fixture(scope="module")
def workers() -> Iterator[WorkerPool]:
    with WorkerPool(1) as pool:
        yield pool


@pytest.fixture
def frame(normal: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(normal, columns=NAMES)


def score(
    workers: WorkerPool,
    root: Path,
    models: dict[str, Any],
    lines: list[str],
    options: ReadingOptions,
    *,
    isolated: bool,
) -> tuple[PackOutput, RunWarnings]:
    """The models' output, and its warnings."""
    (root / "models").mkdir()
    (root / "a.csv").write_text(
        "time,device,a,b,c\n" + "".join(line.format(device=d) for d in models for line in lines)
    )
    for device, model in models.items():
        (root / "models" / device).write_bytes(pickle.dumps(model))
    listed = ModelList.from_models(Model(device, "", device, "planned") for device in models)
    readings = source.read_readings(Folder(root), ["a.csv"], Columns(), list(models), None, options)
    stores, warnings = Stores(Folder(root / "models"), Folder(root)), RunWarnings()
    loaded = load_models(stores, "", listed)
    if isolated:
        loaded = LoadedModels(EMPTY, np.full(len(listed), -1), {}, {})
    pack_input = PackInput(listed, loaded, readings, stores=stores, is_isolated=isolated)
    return pipeline.score_pack(pack_input, ScoringContext(workers), ProgressCounter(), warnings), warnings


def read_rows(lines: list[str]) -> pd.DataFrame:
    cells = [line.strip().split(",")[2:] for line in lines]
    return pd.DataFrame([[float(cell or "nan") for cell in row] for row in cells], columns=NAMES)


def check(output: PackOutput, device: str, model: Any, rows: pd.DataFrame) -> None:
    table = output.rows.to_pandas()
    table = table[table["device"] == device]
    np.testing.assert_allclose(table["score"], model.decision_function(rows), rtol=0, atol=1e-9)
    assert table["anomaly"].tolist() == (model.predict(rows) == -1).astype(int).tolist()


@pytest.mark.parametrize("isolated", ISOLATED)
def test_rows_with_gaps_go_to_the_models_that_were_trained_to_bear_them(
    isolated: bool, workers: WorkerPool, frame: pd.DataFrame, tmp_path: Path
) -> None:
    saw = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.1)
    models = {
        "bears": make_pipeline(SimpleImputer(), OneClassSVM()).fit(saw),
        "forest": IsolationForest(n_estimators=10, random_state=0).fit(saw),
        "plain": OneClassSVM().fit(frame),
        "unseen": IsolationForest(n_estimators=10, random_state=0).fit(frame),
    }

    output, warnings = score(workers, tmp_path, models, GAPPY, ReadingOptions(), isolated=isolated)

    rows = read_rows(GAPPY)
    for device, given in (("bears", rows), ("forest", rows), ("plain", rows.dropna()), ("unseen", rows.dropna())):
        check(output, device, models[device], given)
    assert warnings.counts[LEFT_OUT] == 4


@pytest.mark.parametrize("isolated", ISOLATED)
def test_where_gaps_are_given_to_all_the_library_answers_whatever_it_answers(
    isolated: bool, workers: WorkerPool, frame: pd.DataFrame, tmp_path: Path
) -> None:
    models = {
        "forest": IsolationForest(n_estimators=10, random_state=0).fit(frame),  # a kernel would take the other branch
        "svm": OneClassSVM().fit(frame),
    }

    output, warnings = score(workers, tmp_path, models, GAPPY, ReadingOptions(gaps=Gaps.GIVE), isolated=isolated)

    check(output, "forest", models["forest"], read_rows(GAPPY))
    assert [result.reason for result in output.results] == [None, Reason.ESTIMATOR_ERROR]
    assert "contains NaN" in output.results[1].message
    assert warnings.counts[LEFT_OUT] == 0


def test_where_gaps_are_dropped_no_model_is_given_them(
    workers: WorkerPool, frame: pd.DataFrame, tmp_path: Path
) -> None:
    models = {"bears": make_pipeline(SimpleImputer(), OneClassSVM()).fit(frame)}

    output, warnings = score(workers, tmp_path, models, GAPPY, ReadingOptions(gaps=Gaps.DROP), isolated=False)

    check(output, "bears", models["bears"], read_rows(GAPPY).dropna())
    assert warnings.sentences == (
        "2 of 17 rows of all other models that kernels score lacked a feature: GAPS says what becomes of them",
        f"2 {LEFT_OUT}",
    )


@pytest.mark.parametrize("isolated", ISOLATED)
def test_a_silent_sensor_is_counted_where_a_model_bears_it_and_a_reason_where_none_does(
    isolated: bool, workers: WorkerPool, frame: pd.DataFrame, tmp_path: Path
) -> None:
    silent = [line.replace(",20,", ",,") for line in WHOLE]
    models = {
        "bears": make_pipeline(SimpleImputer(), OneClassSVM()).fit(frame),
        "kept": LocalOutlierFactor(metric="canberra", novelty=True).fit(frame),
        "plain": OneClassSVM().fit(frame),
    }

    output, warnings = score(workers, tmp_path, models, silent, ReadingOptions(), isolated=isolated)

    check(output, "bears", models["bears"], read_rows(silent))
    assert [result.reason for result in output.results] == [None, Reason.SENSOR_SILENT, Reason.SENSOR_SILENT]
    assert output.results[1].message == output.results[2].message
    assert warnings.sentences == (f"1 {SILENT}",)


@pytest.mark.parametrize("isolated", ISOLATED)
@pytest.mark.parametrize("assumed", [False, True])
def test_models_whose_order_nobody_chose_are_counted_however_they_are_scored(
    assumed: bool, isolated: bool, workers: WorkerPool, normal: np.ndarray, frame: pd.DataFrame, tmp_path: Path
) -> None:
    models = {
        "kept": LocalOutlierFactor(metric="canberra", novelty=True).fit(normal),
        "named": OneClassSVM().fit(frame),
        "plain": OneClassSVM().fit(normal),
    }
    options = ReadingOptions(features=Features(in_file_order=True, assumed=assumed))
    lines = [*WHOLE, GAPPY[-1].replace("07:21", "07:59")]  # so that none of them is plain

    output, warnings = score(workers, tmp_path, models, lines, options, isolated=isolated)

    assert [result.reason for result in output.results] == [None] * 3
    assert warnings.counts[ASSUMED] == (2 if assumed else 0)


def test_plain_models_whose_order_nobody_chose_are_counted_too(
    workers: WorkerPool, normal: np.ndarray, frame: pd.DataFrame, tmp_path: Path
) -> None:
    models = {"plain": OneClassSVM().fit(normal), "named": OneClassSVM().fit(frame)}
    options = ReadingOptions(features=Features(in_file_order=True, assumed=True))

    output, warnings = score(workers, tmp_path, models, WHOLE, options, isolated=False)

    check(output, "plain", OneClassSVM().fit(frame), read_rows(WHOLE))
    assert warnings.sentences == (f"1 {ASSUMED}",)
    chosen = replace(options, features=Features(tuple(NAMES)))
    (tmp_path / "again").mkdir()
    assert score(workers, tmp_path / "again", models, WHOLE, chosen, isolated=False)[1].sentences == ()


@pytest.mark.parametrize("lines", [WHOLE, GAPPY], ids=["plain", "gathered"])
def test_what_the_kernels_leave_to_a_library_is_counted_once(
    workers: WorkerPool, tmp_path: Path, lines: list[str]
) -> None:
    too_large = [*lines, "2026-11-21T07:59,{device},1,1e39,1\n"]
    normal = np.random.default_rng(0).normal(5, 1, (60, 3))
    models = {"forest": RandomForestRegressor(n_estimators=2).fit(normal, normal[:, 0])}
    options = ReadingOptions(features=Features(in_file_order=True, assumed=True))
    warnings = []
    for isolated in (False, True):
        folder = tmp_path / str(isolated)
        folder.mkdir()
        output, counted = score(workers, folder, models, too_large, options, isolated=isolated)
        assert output.results[0].reason is Reason.ESTIMATOR_ERROR
        warnings.append(counted)

    kernels, library = warnings
    assert kernels.counts == library.counts
    assert +kernels.scored_rows == +library.scored_rows
    assert +kernels.left_out_rows == +library.left_out_rows
