"""What a model of a packed family costs in a further hour, beside loading each with its own library and asking it once.

Ours is a chunk whose packs an earlier hour has written, from the files to Parquet, several hours in one process. The
loop loads each file with the library that made it, calls `predict`, and of a classifier `predict_proba`, and writes one
Parquet file. All on one CPU, medians; what 32 models take counts as the start. Beside them stands what the
library's own predict takes alone, with the model in memory. All predictions are compared.
"""

from __future__ import annotations

import os
import pickle
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from .measure import run_alone
from .peers import list_models_and_rows
from .scoring_child import MANIFEST, read_predictions, write_manifest
from .scoring_cost import run_commands
from .scoring_fleet import CENTRE, FEATURES, WIDTH, Fleet, make_fleet
from .scoring_ours import Place, list_parts

DISTINCT, TRAINING = 10, 720  # models of a kind, and rows that each is fitted on: a month of hours
VECTORS = 20  # of the fleet's own models, which are not used here
HOURS = 4  # for each run of the loop
PREDICTIONS = 50  # of one model in memory, of which the median counts
RELATIVE = 1e-6  # of predictions: XGBoost's are float32


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of model: how it is made, how many times faster than the loop it should be, and its file's ending."""

    make: Callable[[], Any]
    wanted: int
    ending: str = "pkl"
    is_classifier: bool = False
    is_detector: bool = False  # whose score is compared
    training: int = TRAINING


def _make(module: str, name: str, **options: Any) -> Callable[[], Any]:
    """A maker that imports its library when it is called."""

    def make() -> Any:
        return getattr(__import__(module, fromlist=[name]), name)(**options)

    return make


def _make_behind(transformer: str) -> Callable[[], Any]:
    """A maker of an SGDOneClassSVM behind an approximation of a kernel."""

    def make() -> Any:
        from sklearn import kernel_approximation, linear_model, pipeline

        parts = getattr(kernel_approximation, transformer)(random_state=0), linear_model.SGDOneClassSVM(random_state=0)
        return pipeline.make_pipeline(*parts)

    return make


_LOF = _make("sklearn.neighbors", "LocalOutlierFactor", novelty=True)
_QUIET = {"n_jobs": 1, "verbose": -1}
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "Ridge": Kind(_make("sklearn.linear_model", "Ridge"), 8),
        "LogisticRegression": Kind(
            _make("sklearn.linear_model", "LogisticRegression", max_iter=1000), 8, is_classifier=True
        ),
        "SVR": Kind(_make("sklearn.svm", "SVR", C=10), 20),
        "SVC": Kind(_make("sklearn.svm", "SVC"), 20, is_classifier=True),
        "LocalOutlierFactor-500": Kind(_LOF, 20, is_detector=True, training=500),
        "LocalOutlierFactor-2000": Kind(_LOF, 10, is_detector=True, training=2000),
        "KNeighborsRegressor": Kind(_make("sklearn.neighbors", "KNeighborsRegressor"), 8),
        "KNeighborsClassifier": Kind(
            _make("sklearn.neighbors", "KNeighborsClassifier", weights="distance"), 8, is_classifier=True
        ),
        "Nystroem-SGDOneClassSVM": Kind(_make_behind("Nystroem"), 8, is_detector=True),
        "RBFSampler-SGDOneClassSVM": Kind(_make_behind("RBFSampler"), 8, is_detector=True),
        "MLPRegressor-100-50": Kind(
            _make("sklearn.neural_network", "MLPRegressor", hidden_layer_sizes=(100, 50), max_iter=20, random_state=0),
            8,
        ),
        "GaussianProcess-200-rows": Kind(
            _make("sklearn.gaussian_process", "GaussianProcessRegressor", alpha=0.1, random_state=0), 8, training=200
        ),
        "RandomForest-100-depth-6": Kind(
            _make("sklearn.ensemble", "RandomForestRegressor", n_estimators=100, max_depth=6), 30
        ),
        "RandomForest-100": Kind(_make("sklearn.ensemble", "RandomForestRegressor", n_estimators=100), 8),
        "GradientBoosting-100": Kind(_make("sklearn.ensemble", "GradientBoostingRegressor"), 30),
        "HistGradientBoosting-100": Kind(_make("sklearn.ensemble", "HistGradientBoostingRegressor"), 30),
        "LightGBM-100x31-leaves": Kind(_make("lightgbm", "LGBMRegressor", **_QUIET), 30, "lgb"),
        "LightGBM-100x255-leaves": Kind(
            _make("lightgbm", "LGBMRegressor", num_leaves=255, min_child_samples=2, **_QUIET), 10, "lgb"
        ),
        "XGBoost-100-depth-6": Kind(
            _make("xgboost", "XGBRegressor", n_estimators=100, max_depth=6, n_jobs=1), 30, "ubj"
        ),
        "XGBoost-100-depth-10": Kind(
            _make("xgboost", "XGBRegressor", n_estimators=100, max_depth=10, min_child_weight=0, n_jobs=1), 10, "ubj"
        ),
    }
)


def measure_families(base: Path, models: int, begun: int, rows: int, repeats: int) -> Iterator[str]:
    """The lines of a table: CPU µs a model of each kind, medians, without the start."""
    fleets = [run_alone(make_fleet, base / "families", count, rows, VECTORS, []) for count in (models, begun)]
    yield (
        f"| {models:,} models of {rows} rows | loop, µs | its predict, µs | a further hour, µs | times | wanted | "
        "packing, µs | its load, µs | KiB read |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for name in KINDS:
        files = run_alone(train_files, name)
        for fleet in fleets:
            run_alone(write_files, fleet, name, files)
        spent = run_alone(_measure_kind, fleets, name, repeats)
        alone = run_alone(measure_alone, name, files, rows)
        loop, hour = spent["loop"], spent["hour"]
        ratio, wanted, kibibytes = loop / hour, KINDS[name].wanted, spent["bytes"] / 1024
        yield (
            f"| {name} | {loop:,.0f} | {alone['predict']:,.0f} | {hour:,.1f} | {ratio:.1f} | {wanted} "
            f"| {alone['pack']:,.0f} | {alone['load']:,.0f} | {kibibytes:,.1f} |"
        )


def train_files(name: str) -> list[bytes]:
    """The files of DISTINCT models of a kind."""
    random, kind, files = np.random.default_rng(7), KINDS[name], list[bytes]()
    for _ in range(DISTINCT):
        readings = random.normal(CENTRE, WIDTH, (kind.training, len(FEATURES)))
        target = readings @ [1.0, 2.0, 0.1, 5.0] + np.sin(readings[:, 0] * 9) * 3 + random.normal(0, 1, kind.training)
        with warnings.catch_warnings(action="ignore"):
            model = kind.make().fit(readings, target > np.median(target) if kind.is_classifier else target)
        files.append(_dump_model(model, kind.ending))
    return files


def _dump_model(model: Any, ending: str) -> bytes:
    if ending == "lgb":
        return bytes(model.booster_.model_to_string().encode())
    if ending == "ubj":
        return bytes(model.get_booster().save_raw("ubj"))
    return pickle.dumps(model, protocol=5)


def load_model(data: bytes, ending: str) -> Any:
    """The model, loaded by the library that made it."""
    if ending == "lgb":
        import lightgbm

        return lightgbm.Booster(model_str=data.decode())
    if ending == "ubj":
        import xgboost

        model = xgboost.XGBRegressor(n_jobs=1)
        model.load_model(bytearray(data))
        return model
    return pickle.loads(data)  # noqa: S301  # ours


def write_files(fleet: Fleet, name: str, files: list[bytes]) -> None:
    """A file for each device of the fleet."""
    folder = fleet.folder(name)
    folder.mkdir()
    for index, device in enumerate(fleet.ids):
        (folder / f"{device}.{KINDS[name].ending}").write_bytes(files[index % DISTINCT])


def measure_alone(name: str, files: list[bytes], rows: int) -> dict[str, float]:
    """CPU µs of the library's predict with the model in memory, of its load, and of packing the file: in turn, medians.

    In a thread, as nodes pack: the main thread of a process that does nothing else returns its memory to the system
    after each file, and gets it again page by page.
    """
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(_measure_in_turn, name, files, rows).result()


def _measure_in_turn(name: str, files: list[bytes], rows: int) -> dict[str, float]:
    from scorer.packs.cache import pack_file

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    kind = KINDS[name]
    readings = np.random.default_rng(8).normal(CENTRE, WIDTH, (rows, len(FEATURES)))
    model = load_model(files[0], kind.ending)
    actions: dict[str, Callable[[], Any]] = {
        "predict": lambda: _ask_model(kind, model, readings),
        "load": lambda: load_model(files[0], kind.ending),
        "pack": lambda: pack_file(files[0]),
    }
    spent = [{key: _time_action(action) for key, action in actions.items()} for _ in range(PREDICTIONS)]
    return {key: statistics.median(times[key] for times in spent) for key in actions}


def _time_action(action: Callable[[], Any]) -> float:
    began = time.process_time_ns()
    action()
    return (time.process_time_ns() - began) / 1e3


def _ask_model(kind: Kind, model: Any, readings: np.ndarray) -> tuple[Any, Any]:
    if kind.is_detector:
        return model.decision_function(readings), None
    options = {"num_threads": 1} if type(model).__module__.startswith("lightgbm") else {}
    shares = model.predict_proba(readings) if hasattr(model, "predict_proba") else None
    return model.predict(readings, **options), shares


def _measure_kind(fleets: list[Fleet], name: str, repeats: int) -> dict[str, float]:
    """CPU µs that a further model takes, by way, and the bytes of its packs. AssertionError for other predictions."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    loops: dict[Fleet, list[float]] = {fleet: [] for fleet in fleets}
    work = {fleet: write_manifest(fleet, name, KINDS[name].ending, DISTINCT) for fleet in fleets}
    hours = {fleet: run_alone(_measure_hours, work[fleet], HOURS * repeats) for fleet in fleets}
    for _ in range(repeats):
        for fleet in fleets:
            folder = Path(tempfile.mkdtemp(dir=fleet.root))
            program = "from bench import scoring_families; scoring_families.run_loop()"
            command = [sys.executable, "-c", program, str(fleet.root), name, str(folder / "all.parquet")]
            loops[fleet].append(run_commands([command], 1, {}).cpu)
            hour = Path(tempfile.mkdtemp(dir=fleet.root))
            for part in list_parts(Place("", "", work[fleet].as_uri()), 1, 1):
                (hour / Path(part).name).write_bytes((work[fleet] / part).read_bytes())
            np.testing.assert_allclose(read_predictions(hour), read_predictions(folder), rtol=RELATIVE, atol=RELATIVE)
            shutil.rmtree(folder)
            shutil.rmtree(hour)
    large, small = fleets
    further = large.models - small.models
    packs = [path.stat().st_size for path in (work[large] / "packs").iterdir()]
    return {
        "loop": (statistics.median(loops[large]) - statistics.median(loops[small])) / further * 1e6,
        "hour": (hours[large] - hours[small]) / further * 1e6,
        "bytes": sum(packs) / large.models,
    }


def _measure_hours(work: Path, count: int) -> float:
    """The median CPU seconds of an attempt whose packs an earlier one has written, in a process that has started."""
    from scorer.commands import score_chunk

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    spent = []
    for attempt in range(1, count + 3):
        began = time.process_time()
        score_chunk.run_attempt(f"{work.as_uri()}/{MANIFEST}", attempt, "", cores=1)
        spent.append(time.process_time() - began)
    return statistics.median(spent[2:])  # the first writes the packs, the second maps them first


def run_loop() -> None:
    """The loop: the fleet's root, the kind and the file of predictions are the command line's."""
    root, name, path = sys.argv[1:]
    kind = KINDS[name]
    times, devices, pairs = list_models_and_rows(Path(root), name)
    predicted, shares = [], []
    for file, values in pairs:
        model = load_model(Path(file).with_suffix(f".{kind.ending}").read_bytes(), kind.ending)
        answer, share = _ask_model(kind, model, values)
        predicted.append(answer)
        if share is not None:
            shares.append(share.max(axis=1))
    name_of_column = "score" if kind.is_detector else "prediction"
    columns = {"time": times, "device": devices, name_of_column: pa.array(np.concatenate(predicted).astype(float))}
    if shares:
        columns["probability"] = pa.array(np.concatenate(shares))
    parquet.write_table(pa.table(columns), path)
