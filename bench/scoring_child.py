"""What a model costs that scikit-learn itself scores, in the sandbox, beside a tidy loop over the same files.

Ours is `fleetscore folder`, which reads and judges each file, and a chunk whose pack an earlier hour has written. The
loop loads each model by joblib, calls `predict`, of a classifier `predict_proba`, of a mixture `score_samples`, and
writes one Parquet file. All are processes of their own, in turn, on one CPU, so that none is slowed by its own second
process; what 32 models take counts as the start.
"""

from __future__ import annotations

import os
import pickle
import shutil
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from shared.contract.domain import Model
from shared.contract.manifest import Manifest, PackRef, build_command
from shared.contract.paths import make_chunk_id
from shared.contract.scoring_options import Features, ReadingOptions, ScoringOptions
from shared.contract.text import make_digest

from .measure import run_alone
from .peers import list_models_and_rows
from .scoring_cost import run_commands
from .scoring_fleet import FEATURES, WINDOW, Fleet, make_fleet
from .scoring_ours import Place, list_parts

KINDS = (
    *("PolynomialFeatures", "SplineTransformer", "TransformedTargetRegressor", "VotingRegressor", "StackingRegressor"),
    *("CalibratedClassifierCV", "GaussianMixture", "KNeighborsRegressor by cosine"),
    *("BaggingRegressor", "GaussianProcessRegressor"),
)
WAYS = ("folder", "hour", "loop")
DISTINCT, TRAINING, TREES = 20, 850, 20  # models of a kind, rows that each is fitted on, trees of a forest
VECTORS = 20  # of the fleet's own models, which are not used here
PROCESSES = 200  # rows that a Gaussian process is fitted on, whose files grow by their square
TOLERANCE = 1e-9  # of predictions
_BOOLEANS = {"True": "1", "False": "0"}
MANIFEST = "manifest.json"


def measure_kinds(base: Path, models: int, begun: int, rows: int, repeats: int) -> Iterator[str]:
    """The lines of a table: CPU µs a model of each kind, ours and the loop's: medians, without the start."""
    fleets = [run_alone(make_fleet, base / "child", count, rows, VECTORS, []) for count in (models, begun)]
    yield f"| {models:,} models of {rows} rows | loop, µs | folder, µs | a further hour, µs | ratio | of an hour |"
    yield "|---|---|---|---|---|---|"
    for kind in KINDS:
        for fleet in fleets:
            run_alone(write_kind, fleet, kind)
        spent = run_alone(_measure_kind, fleets, kind, repeats)
        folder, hour, loop = (spent[way] for way in WAYS)
        yield f"| {kind} | {loop:,.0f} | {folder:,.0f} | {hour:,.0f} | {folder / loop:.2f} | {hour / loop:.2f} |"


def write_kind(fleet: Fleet, kind: str) -> None:
    """A file for each device of the fleet, of DISTINCT models of a kind."""
    files = [pickle.dumps(model, protocol=5) for model in _train_models(kind)]
    folder = fleet.folder(kind)
    folder.mkdir()
    for index, device in enumerate(fleet.ids):
        (folder / f"{device}.pkl").write_bytes(files[index % DISTINCT])


def _list_makers() -> dict[str, Callable[[], Any]]:
    """How a model of each kind is made. The first eight kinds stay with scikit-learn, whatever kernels may learn."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.ensemble import BaggingRegressor, StackingRegressor, VotingRegressor
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RationalQuadratic
    from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
    from sklearn.mixture import GaussianMixture
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, SplineTransformer, StandardScaler
    from sklearn.tree import DecisionTreeRegressor

    pair = [("line", Ridge()), ("tree", DecisionTreeRegressor(max_depth=6, random_state=0))]
    return {
        "PolynomialFeatures": lambda: make_pipeline(PolynomialFeatures(), LinearRegression()),
        "SplineTransformer": lambda: make_pipeline(SplineTransformer(extrapolation="linear"), Ridge()),
        "TransformedTargetRegressor": lambda: TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
        "VotingRegressor": lambda: VotingRegressor(pair),
        "StackingRegressor": lambda: StackingRegressor(pair, cv=3),
        "CalibratedClassifierCV": lambda: CalibratedClassifierCV(LogisticRegression(max_iter=1000), cv=3),
        "GaussianMixture": lambda: GaussianMixture(3, random_state=0),
        "KNeighborsRegressor by cosine": lambda: KNeighborsRegressor(metric="cosine"),
        "BaggingRegressor": lambda: BaggingRegressor(n_estimators=TREES, random_state=0),
        "GaussianProcessRegressor": lambda: GaussianProcessRegressor(RationalQuadratic(), alpha=0.1, optimizer=None),
    }


def _train_models(kind: str) -> Iterator[Any]:
    from .scoring_fleet import CENTRE, WIDTH

    random = np.random.default_rng(7)
    make = _list_makers()[kind]
    for _ in range(DISTINCT):
        readings = random.normal(CENTRE, WIDTH, (TRAINING, len(FEATURES)))
        if kind == "GaussianProcessRegressor":
            readings = readings[:PROCESSES]
        target = readings @ [1.0, 2.0, 0.1, 5.0] + random.normal(0, 0.1, len(readings))
        if kind == "CalibratedClassifierCV":
            target = target > np.median(target)
        with warnings.catch_warnings(action="ignore"):  # of an MLP that might be trained for longer
            yield make().fit(readings, target)


def _measure_kind(fleets: list[Fleet], kind: str, repeats: int) -> dict[str, float]:
    """CPU µs that a further model takes, by way. AssertionError where one predicts otherwise."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    spent: dict[tuple[str, int], list[float]] = {}
    work = {fleet: write_manifest(fleet, kind, "pkl", DISTINCT) for fleet in fleets}
    for attempt in range(1, repeats + 2):
        for fleet in fleets:
            paths = {way: Path(tempfile.mkdtemp(dir=fleet.root)) for way in WAYS}
            for way, path in paths.items():
                command = _build_command(way, fleet, kind, path) if way != "hour" else build_hour(work[fleet], attempt)
                cpu = run_commands([command], 1, {}).cpu
                if attempt > 1:  # the first hour writes the pack
                    spent.setdefault((way, fleet.models), []).append(cpu)
            for part in list_parts(Place("", "", work[fleet].as_uri()), 1, attempt):
                (paths["hour"] / Path(part).name).write_bytes((work[fleet] / part).read_bytes())
            right = read_predictions(paths["loop"])
            for way in ("folder", "hour"):
                np.testing.assert_allclose(read_predictions(paths[way]), right, rtol=TOLERANCE, atol=TOLERANCE)
            for path in paths.values():
                shutil.rmtree(path)
    large, small = fleets
    return {
        way: (statistics.median(spent[way, large.models]) - statistics.median(spent[way, small.models]))
        / (large.models - small.models)
        * 1e6
        for way in WAYS
    }


def write_manifest(fleet: Fleet, kind: str, ending: str, distinct: int) -> Path:
    """A work folder with the manifest of one chunk, of all models in one pack. *distinct* of the files differ."""
    folder = fleet.folder(kind)
    names = [f"{device}.{ending}" for device in fleet.ids]
    etags = [make_digest((folder / name).read_bytes()) for name in names[:distinct]]
    work = Path(tempfile.mkdtemp(dir=fleet.root))
    manifest = Manifest(
        WINDOW,
        make_chunk_id(0),
        [
            Model(device, "", name, etags[i % distinct])
            for i, (device, name) in enumerate(zip(fleet.ids, names, strict=True))
        ],
        folder.as_uri(),
        (fleet.root / "readings").as_uri(),
        work.as_uri(),
        policy=ScoringOptions(ReadingOptions(features=Features(in_file_order=True))),
        packs=(PackRef(kind, fleet.models),),
        predictions_schema=2,
    )
    (work / MANIFEST).write_bytes(manifest.to_bytes())
    return work


def build_hour(work: Path, attempt: int) -> list[str]:
    """The command of a further hour."""
    return [sys.executable, *build_command(f"{work.as_uri()}/{MANIFEST}", attempt)[1:]]


def _build_command(way: str, fleet: Fleet, kind: str, predictions: Path) -> list[str]:
    if way == "loop":
        program = "from bench import scoring_child; scoring_child.run_loop()"
        return [sys.executable, "-c", program, str(fleet.root), kind, str(predictions / "all.parquet")]
    options = ("--models", str(fleet.folder(kind)), "--readings", str(fleet.readings))
    more = ("--predictions", str(predictions), "--features", "as-in-file", "--predictions-schema", "2")
    window = ("--window", "2026-11-21T07:00/2026-11-21T08:00")
    return [sys.executable, "-m", "scorer", "folder", *options, *more, *window]


def run_loop() -> None:
    """The loop: the fleet's root, the kind and the file of predictions are the command line's."""
    import joblib

    root, kind, path = sys.argv[1:]
    time, devices, pairs = list_models_and_rows(Path(root), kind)
    predicted, shares, scores = [], [], []
    for file, values in pairs:
        model = joblib.load(file)
        predicted.append(model.predict(values))
        if hasattr(model, "score_samples"):  # a mixture
            scores.append(model.score_samples(values))
        elif hasattr(model, "predict_proba"):
            shares.append(model.predict_proba(values).max(axis=1))
    columns = {"time": time, "device": devices, "prediction": pa.array(np.concatenate(predicted).astype(float))}
    if shares:
        columns["probability"] = pa.array(np.concatenate(shares))
    if scores:
        columns["score"] = pa.array(np.concatenate(scores))
    parquet.write_table(pa.table(columns), path)


def read_predictions(folder: Path) -> np.ndarray:
    """What was predicted, sorted by device and time: of a classifier the class, as 0 or 1, of a mixture its number."""
    table = pa.concat_tables([parquet.ParquetFile(path).read() for path in sorted(folder.rglob("*.parquet"))])
    table = table.sort_by([("device", "ascending"), ("time", "ascending")])
    if "label" in table.column_names and table["label"].null_count < len(table):
        return np.array([float(_BOOLEANS.get(text, text)) for text in table["label"].to_pylist()])
    is_prediction = "prediction" in table.column_names and table["prediction"].null_count < len(table)
    return np.asarray(table["prediction" if is_prediction else "score"].to_numpy(), np.float64)
