"""What a model costs that scikit-learn itself scores, in the sandbox, beside a tidy loop over the same files.

Ours is `fleetscore folder`. The loop loads each model by joblib, calls `predict`, and of a classifier `predict_proba`,
and writes one Parquet file. Both are processes of their own, in turn; what 32 models take counts as the start.
"""

from __future__ import annotations

import pickle
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from .measure import run_alone
from .peers import list_models_and_rows
from .scoring_cost import run_commands
from .scoring_fleet import FEATURES, FOLDER, Fleet, make_fleet

KINDS = ("LinearRegression", "RandomForestRegressor", "LogisticRegression", "KNeighborsRegressor")
DISTINCT, TRAINING, TREES = 20, 850, 20  # models of a kind, rows that each is fitted on, trees of a forest
VECTORS = 20  # of the fleet's own models, which are not used here
TOLERANCE = 1e-9  # of predictions


def measure_kinds(base: Path, models: int, begun: int, rows: int, repeats: int) -> Iterator[str]:
    """The lines of a table: CPU µs a model of each kind, ours and the loop's: medians, without the start."""
    fleets = [run_alone(make_fleet, base / "child", count, rows, VECTORS, []) for count in (models, begun)]
    yield f"| {models:,} models of {rows} rows | ours, µs | loop, µs | ratio |"
    yield "|---|---|---|---|"
    for kind in KINDS:
        for fleet in fleets:
            run_alone(write_kind, fleet, kind)
        ours, loop = run_alone(_measure_kind, fleets, kind, repeats)
        yield f"| {kind} | {ours:,.0f} | {loop:,.0f} | {ours / loop:.2f} |"


def write_kind(fleet: Fleet, kind: str) -> None:
    """A file for each device of the fleet, of DISTINCT models of a kind."""
    files = [pickle.dumps(model, protocol=5) for model in _train_models(kind)]
    folder = fleet.folder(kind)
    folder.mkdir()
    for index, device in enumerate(fleet.ids):
        (folder / f"{device}.pkl").write_bytes(files[index % DISTINCT])


def _train_models(kind: str) -> Iterator[Any]:
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.neighbors import KNeighborsRegressor

    from .scoring_fleet import CENTRE, WIDTH

    random = np.random.default_rng(7)
    makers: dict[str, Any] = {
        "LinearRegression": LinearRegression,
        "RandomForestRegressor": lambda: RandomForestRegressor(TREES, random_state=0),
        "LogisticRegression": lambda: LogisticRegression(max_iter=1000),
        "KNeighborsRegressor": KNeighborsRegressor,
    }
    for _ in range(DISTINCT):
        readings = random.normal(CENTRE, WIDTH, (TRAINING, len(FEATURES)))
        target = readings @ [1.0, 2.0, 0.1, 5.0] + random.normal(0, 0.1, TRAINING)
        yield makers[kind]().fit(readings, target > np.median(target) if kind == "LogisticRegression" else target)


def _measure_kind(fleets: list[Fleet], kind: str, repeats: int) -> tuple[float, float]:
    """CPU µs that a further model takes: ours, and the loop's. AssertionError where they predict otherwise."""
    spent: dict[tuple[str, int], list[float]] = {}
    for _ in range(repeats):
        for fleet in fleets:
            paths = {way: Path(tempfile.mkdtemp(dir=fleet.root)) for way in ("ours", "loop")}
            for way, path in paths.items():
                cpu = run_commands([_build_command(way, fleet, kind, path)], 1, {}).cpu
                spent.setdefault((way, fleet.models), []).append(cpu)
            _compare(*(_read_predictions(path) for path in paths.values()))
    large, small = fleets
    ours, loop = (
        (statistics.median(spent[way, large.models]) - statistics.median(spent[way, small.models]))
        / (large.models - small.models)
        * 1e6
        for way in ("ours", "loop")
    )
    return ours, loop


def _build_command(way: str, fleet: Fleet, kind: str, predictions: Path) -> list[str]:
    if way == "loop":
        program = "from bench import scoring_child; scoring_child.run_loop()"
        return [sys.executable, "-c", program, str(fleet.root), kind, str(predictions / "all.parquet")]
    options = ("--models", str(fleet.folder(kind)), "--readings", str(fleet.root / "readings" / FOLDER))
    more = ("--predictions", str(predictions), "--features", "as-in-file", "--predictions-schema", "2")
    window = ("--window", "2026-11-21T07:00/2026-11-21T08:00")
    return [sys.executable, "-m", "scorer", "folder", *options, *more, *window]


def run_loop() -> None:
    """The loop: the fleet's root, the kind and the file of predictions are the command line's."""
    import joblib

    root, kind, path = sys.argv[1:]
    time, devices, pairs = list_models_and_rows(Path(root), kind)
    predicted, shares = [], []
    for file, values in pairs:
        model = joblib.load(file)
        predicted.append(model.predict(values))
        if hasattr(model, "predict_proba"):
            shares.append(model.predict_proba(values).max(axis=1))
    columns = {"time": time, "device": devices, "prediction": pa.array(np.concatenate(predicted).astype(float))}
    if shares:
        columns["probability"] = pa.array(np.concatenate(shares))
    parquet.write_table(pa.table(columns), path)


def _read_predictions(folder: Path) -> np.ndarray:
    """What was predicted, sorted by device and time: the class of a classifier as 0 or 1."""
    table = pa.concat_tables([parquet.ParquetFile(path).read() for path in sorted(folder.rglob("*.parquet"))])
    table = table.sort_by([("device", "ascending"), ("time", "ascending")])
    if "label" in table.column_names and table["label"].null_count < len(table):
        return np.array([float(text == "True") for text in table["label"].to_pylist()])
    return np.asarray(table["prediction"].to_numpy(), np.float64)


def _compare(ours: np.ndarray, loop: np.ndarray) -> None:
    np.testing.assert_allclose(ours, loop, rtol=TOLERANCE, atol=TOLERANCE)
