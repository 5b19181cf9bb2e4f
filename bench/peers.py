"""What people use today to score many small models, each as a program of its own: PEER, FLEET and PREDICTIONS.

    process      a process for each model, as the original sample has it
    loop         one loop over `joblib.load`, `predict` and `decision_function`
    tuned        one loop with all that scikit-learn lets a specialist leave out
    joblib       joblib.Parallel over the cores
    dask         a Dask bag over processes
    ray          Ray tasks over slices of the fleet
    groupby      pandas' groupby-apply
    onnx         an onnxruntime session for each model, of one thread: by default each starts a pool of them

All but the first read the readings once, and write one Parquet file with the schema of the predictions. This module is
imported by its name, never run as `__main__`: functions of `__main__` travel by value, which makes peers slow.
"""

from __future__ import annotations

import logging
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

if TYPE_CHECKING:
    import pandas as pd

FEATURES = ["f0", "f1", "f2", "f3"]
CORES = os.cpu_count() or 1
SLICES = 8  # a core, of what is cut by hand
# That of the predictions (scorer/predictions/table.py), which peers do not import: they would take longer to start.
SCHEMA = pa.schema(
    [
        ("time", pa.timestamp("us", "UTC")),
        ("device", pa.string()),
        ("sensor", pa.string()),
        ("value", pa.float64()),
        ("score", pa.float64()),
        ("anomaly", pa.int8()),
        ("model", pa.string()),
    ]
)
Scores = tuple[np.ndarray, np.ndarray]  # of a model's rows: the score, and +1 or -1


def build_command(peer: str, fleet: Path, predictions: Path) -> list[str]:
    """What runs a peer in a process of its own. *predictions* is a file."""
    return [sys.executable, "-c", "from bench import peers; peers.main()", peer, str(fleet), str(predictions)]


def one_by_one(fleet: Path, predictions: Path, devices: Sequence[str]) -> list[list[str]]:
    """The commands of a process for each of *devices*. *predictions* is a folder."""
    return [[*build_command("process", fleet, predictions / f"{device}.parquet"), device] for device in devices]


def main() -> None:
    """Run the peer that the command line names."""
    name, fleet, predictions, *devices = sys.argv[1:]
    if devices:
        process(Path(fleet), Path(predictions), devices[0])
    else:
        PEERS[name](Path(fleet), Path(predictions))


@dataclass(frozen=True, slots=True)
class Work:
    """The readings, and the models that score them; device *i* has the rows starts[i]:starts[i + 1]."""

    time: pa.Array
    devices: list[str]
    starts: np.ndarray
    features: np.ndarray  # a row for each time
    files: list[str]

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        """Each model's file, and its rows."""
        spans = pairwise(self.starts)
        return ((file, self.features[first:end]) for file, (first, end) in zip(self.files, spans, strict=True))


def _read_work(fleet: Path, kind: str = "pkl") -> Work:
    table = parquet.read_table(fleet / "readings", partitioning=None, read_dictionary=["device"])
    device = table.unify_dictionaries()["device"].combine_chunks()
    codes = device.indices.to_numpy()
    starts = np.flatnonzero(np.diff(codes, prepend=-1, append=-1))
    ids = device.dictionary.take(pa.array(codes[starts[:-1]])).to_pylist()
    values = np.column_stack([table[name].to_numpy() for name in FEATURES])
    files = [str(fleet / f"models-{kind}" / f"{device}.{kind}") for device in ids]
    return Work(table["time"].combine_chunks(), ids, starts, values, files)


def list_models_and_rows(fleet: Path, kind: str) -> tuple[pa.Array, pa.Array, list[tuple[str, np.ndarray]]]:
    """The time and the device of each row, and each model's file of *kind* with its rows."""
    work = _read_work(fleet, kind)
    indices = np.repeat(np.arange(len(work.devices), dtype=np.int32), np.diff(work.starts))
    pairs = [(str(Path(file).with_suffix(".pkl")), values) for file, values in work]
    return work.time, _name_rows(work.devices, indices), pairs


def _write_predictions(work: Work, results: Sequence[Scores], predictions: Path) -> None:
    score, label = (np.concatenate(parts) for parts in zip(*results, strict=True))
    indices = np.repeat(np.arange(len(work.devices), dtype=np.int32), np.diff(work.starts))
    parquet.write_table(
        _build_table(work.time, _name_rows(work.devices, indices), score, label, _name_rows(work.files, indices)),
        predictions,
    )


def _name_rows(names: Sequence[str], indices: np.ndarray) -> pa.Array:
    return pa.DictionaryArray.from_arrays(indices, pa.array(names)).cast(pa.string())


def _build_table(time: pa.Array, device: pa.Array, score: np.ndarray, label: np.ndarray, model: pa.Array) -> pa.Table:
    nothing, rows = pa.nulls(len(score), pa.string()), len(score)
    columns = [time, device, nothing, pa.nulls(rows, pa.float64()), score, (label < 0).astype(np.int8), model]
    return pa.Table.from_arrays([pa.array(c) if isinstance(c, np.ndarray) else c for c in columns], schema=SCHEMA)


def score_file(file: str, values: np.ndarray) -> Scores:
    """Load a model and let it score: what is run for each model by all but the specialists."""
    import joblib

    model = joblib.load(file)
    return model.decision_function(values), model.predict(values)


def process(fleet: Path, predictions: Path, device: str) -> None:
    """One model, from its files to a file of its own."""
    rows = parquet.read_table(fleet / "readings", partitioning=None, filters=[("device", "=", device)])
    file = str(fleet / "models-pkl" / f"{device}.pkl")
    scores = score_file(file, np.column_stack([rows[name].to_numpy() for name in FEATURES]))
    work = Work(rows["time"].combine_chunks(), [device], np.array([0, rows.num_rows]), np.empty(0), [file])
    _write_predictions(work, [scores], predictions)


def loop(fleet: Path, predictions: Path) -> None:
    """One process, one model after the other."""
    work = _read_work(fleet)
    _write_predictions(work, [score_file(file, values) for file, values in work], predictions)


def tuned(fleet: Path, predictions: Path) -> None:
    """As `loop`, by pickle, one call a model, without scikit-learn's checks, on all cores."""
    from joblib import Parallel, delayed

    work = _read_work(fleet)
    pairs = list(work)
    pair_slices = (pairs[first:end] for first, end in pairwise(_split_evenly(len(pairs))))
    parts = Parallel(CORES)(delayed(score_tuned)(pair_slice) for pair_slice in pair_slices)
    _write_predictions(work, [scores for part in parts for scores in part], predictions)


def score_tuned(pairs: Sequence[tuple[str, np.ndarray]]) -> list[Scores]:
    """The models of a slice. The label follows from the score, as libsvm has it."""
    import sklearn

    results = []
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        for file, values in pairs:
            model = pickle.loads(Path(file).read_bytes())  # noqa: S301  # this benchmark wrote it
            scores = model.decision_function(values)
            results.append((scores, np.where(scores > 0, 1, -1)))
    return results


def _split_evenly(models: int) -> np.ndarray:
    return np.linspace(0, models, min(models, SLICES * CORES) + 1).astype(int)


def parallel(fleet: Path, predictions: Path) -> None:
    """Processes of joblib; it makes batches by itself."""
    from joblib import Parallel, delayed

    work = _read_work(fleet)
    _write_predictions(work, Parallel(CORES)(delayed(score_file)(file, values) for file, values in work), predictions)


def dask(fleet: Path, predictions: Path) -> None:
    """A bag on the processes that bags use unless told otherwise."""
    import dask.bag

    work = _read_work(fleet)
    bag = dask.bag.from_sequence(work, npartitions=min(len(work.files), SLICES * CORES))
    _write_predictions(work, bag.starmap(score_file).compute(scheduler="processes", num_workers=CORES), predictions)


def ray(fleet: Path, predictions: Path) -> None:
    """Tasks over slices; the readings lie in Ray's shared memory."""
    import ray

    work = _read_work(fleet)
    ray.init(num_cpus=CORES, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    values = ray.put(work.features)
    task = ray.remote(score_slice)
    cuts = list(pairwise(_split_evenly(len(work.files))))
    parts = ray.get([task.remote(work.files[a:b], values, work.starts[a : b + 1]) for a, b in cuts])
    ray.shutdown()
    _write_predictions(work, [scores for part in parts for scores in part], predictions)


def score_slice(files: Sequence[str], values: np.ndarray, starts: np.ndarray) -> list[Scores]:
    """Some models, whose rows are a part of *values*."""
    return [score_file(file, values[a:b]) for file, (a, b) in zip(files, pairwise(starts), strict=True)]


def groupby(fleet: Path, predictions: Path) -> None:
    """A table of pandas, grouped by device."""
    import pandas as pd

    readings = pd.read_parquet(fleet / "readings", partitioning=None)
    folder = fleet / "models-pkl"

    def apply(group: pd.DataFrame) -> pd.DataFrame:
        scores, labels = score_file(f"{folder}/{group.name}.pkl", group[FEATURES].to_numpy())
        return pd.DataFrame({"time": group["time"], "score": scores, "label": labels})

    scores = readings.groupby("device", sort=False, observed=True).apply(apply).reset_index("device")
    device = pa.array(scores["device"]).cast(pa.string())
    score_, label = scores["score"].to_numpy(), scores["label"].to_numpy()
    parquet.write_table(_build_table(pa.array(scores["time"]), device, score_, label, device), predictions)


def onnx(fleet: Path, predictions: Path) -> None:
    """A session for each model; in float32, since ONNX knows one-class SVMs in nothing else."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1

    def run(file: str, values: np.ndarray) -> Scores:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        label, scores = session.run(None, {session.get_inputs()[0].name: values})
        return scores[:, 0].astype(np.float64), label[:, 0]

    work = _read_work(fleet, "onnx")
    small = work.features.astype(np.float32)
    spans = zip(work.files, pairwise(work.starts), strict=True)
    _write_predictions(work, [run(file, small[a:b]) for file, (a, b) in spans], predictions)


PEERS: dict[str, Callable[[Path, Path], Any]] = {
    "loop": loop,
    "tuned": tuned,
    "joblib": parallel,
    "dask": dask,
    "ray": ray,
    "groupby": groupby,
    "onnx": onnx,
}
