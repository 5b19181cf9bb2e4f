"""What a model costs by the form of its readings: a further hour of detectors of whole devices, in two builds in turn.

`python -m bench.scoring forms`; with `--beside FOLDER` the build that lies there scores the same files. Both get the
same manifest, in the oldest schema that nodes read, and write their own packs in a first attempt, which is not counted.
A process on one CPU for each attempt; what 32 models take is the start. Every prediction of the two is compared.
"""

from __future__ import annotations

import io
import os
import pickle
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from shared.contract.domain import Model
from shared.contract.manifest import Manifest, PackRef, build_command
from shared.contract.paths import make_chunk_id
from shared.contract.text import make_digest

from .measure import run_alone
from .readings_forms import FEATURES, FORMS, HOUR, ROWS, WINDOW, Form, make_wide, write_csv
from .scoring_cost import run_commands
from .scoring_ours import Place, list_parts

DISTINCT, TRAINING, FILES = 20, 850, 4  # models that differ, rows that each is fitted on, files of all devices
MANIFEST = "manifest.json"
OURS = Path(__file__).parents[1]
# The part that is wanted of what the build of 2026-11-21 takes.
WANTED: Mapping[str, float] = MappingProxyType({
    "wide Parquet": 1.0, "long Parquet": 0.25, "long CSV": 0.54, "wide CSV": 0.63, "JSON lines": 0.62,
    "one CSV a device": 0.19, "one Parquet a device": 0.47,
})  # fmt: skip


def measure_forms(
    base: Path, models: int, begun: int, repeats: int, beside: Path | None, names: Sequence[str] = tuple(WANTED)
) -> Iterator[str]:
    """The lines of a table: CPU µs a model of each build, medians without the start, by the form of readings."""
    yield f"| {models:,} models of {ROWS} rows | ours, µs | the other build, µs | ratio | wanted |"
    yield "|---|---:|---:|---:|---:|"
    builds = [OURS, *([beside.absolute()] if beside else [])]
    for name in names:
        roots = [base / f"forms-{count}" for count in (models, begun)]
        for root, count in zip(roots, (models, begun), strict=True):
            run_alone(write_form, root, name, count, len(builds))
        ours, *others = run_alone(_measure_form, roots, (models, begun), builds, repeats)
        for root in roots:
            shutil.rmtree(root)
        other = f"{others[0]:,.1f} | {ours / others[0]:.2f}" if others else "- | -"
        yield f"| {name} | {ours:,.1f} | {other} | {WANTED[name]} |"


def write_form(root: Path, name: str, devices: int, builds: int) -> None:
    """A model for each of so many devices, their readings, and for each build a work folder with the manifest."""
    readings, folder = root / "readings", root / "models"
    _SMALL[name](readings, devices) if name in _SMALL else FORMS[name].write(readings, devices, FILES)
    folder.mkdir()
    files = _train_models()
    models = []
    for index in range(devices):
        device, data = Form.name_device(index), files[index % DISTINCT]
        (folder / f"{device}.pkl").write_bytes(data)
        models.append(Model(device, "", f"{device}.pkl", make_digest(data)))
    for number in range(builds):
        work = root / f"work-{number}"
        work.mkdir()
        manifest = Manifest(
            WINDOW, make_chunk_id(0), models, folder.as_uri(), readings.as_uri(), work.as_uri(),
            packs=(PackRef("forms", devices),), schema=1,
        )  # fmt: skip
        (work / MANIFEST).write_bytes(manifest.to_bytes())


def _train_models() -> list[bytes]:
    import pandas as pd
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import OneClassSVM

    random, files = np.random.default_rng(7), list[bytes]()
    for _ in range(DISTINCT):
        readings = pd.DataFrame(random.normal(20, 5, (TRAINING, len(FEATURES))), columns=list(FEATURES))
        files.append(pickle.dumps(make_pipeline(StandardScaler(), OneClassSVM(nu=0.1)).fit(readings), protocol=5))
    return files


def _write_each(write: Callable[[pa.Table], bytes], ending: str) -> Callable[[Path, int], None]:
    """Writes a file for each device, which names it in a column: older builds know no other way."""

    def write_files(root: Path, devices: int) -> None:
        folder = root / HOUR
        folder.mkdir(parents=True)
        table = make_wide(0, devices)
        table = table.set_column(1, "device", table["device"].cast(pa.string()))
        for index in range(devices):
            rows = table.slice(index * ROWS, ROWS)
            (folder / f"{Form.name_device(index)}.{ending}").write_bytes(write(rows))

    return write_files


def _write_parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(table, sink, compression="snappy", use_dictionary=["device"])
    return sink.getvalue()


_SMALL = {
    "one CSV a device": _write_each(write_csv, "csv"),
    "one Parquet a device": _write_each(_write_parquet, "parquet"),
}


def _measure_form(roots: Sequence[Path], counts: Sequence[int], builds: Sequence[Path], repeats: int) -> list[float]:
    """CPU µs that a further model takes in each build. AssertionError where one predicts otherwise than the other."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    spent: dict[tuple[int, Path], list[float]] = {}
    for attempt in range(1, repeats + 2):
        for number, build in enumerate(builds):
            for root in roots:
                work = root / f"work-{number}"
                command = [sys.executable, *build_command(f"{work.as_uri()}/{MANIFEST}", attempt)[1:]]
                cpu = run_commands([command], 1, {"NODE_CORES": "1"}, build).cpu
                if attempt > 1:  # the first one packs the models
                    spent.setdefault((number, root), []).append(cpu)
    results = [_read_results(roots[0] / f"work-{number}", repeats + 1) for number in range(len(builds))]
    assert len(results[0]) == counts[0] * ROWS
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
    medians = {key: statistics.median(times) for key, times in spent.items()}
    large, small = roots
    return [
        (medians[number, large] - medians[number, small]) / (counts[0] - counts[1]) * 1e6
        for number in range(len(builds))
    ]


def _read_results(work: Path, attempt: int) -> np.ndarray:
    """The scores of an attempt, by device and time."""
    folder = work / f"parts-{attempt}"
    folder.mkdir()
    for part in list_parts(Place("", "", work.as_uri()), 1, attempt):
        (folder / Path(part).name).write_bytes((work / part).read_bytes())
    table = pa.concat_tables([parquet.ParquetFile(path).read(["device", "time", "score"]) for path in folder.iterdir()])
    scores: np.ndarray = table.sort_by([("device", "ascending"), ("time", "ascending")])["score"].to_numpy()
    return scores
