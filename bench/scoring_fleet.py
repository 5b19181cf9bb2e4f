"""The fleet that is scored: really trained models in files of their own, an hour of readings, and the right answers.

A few hundred one-class SVMs behind a scaler are trained, and repeated under further ids until the fleet is as large as
expected; so are their readings. So scikit-learn's scores of the distinct ones are those of all, and every row of every
prediction can be checked.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import compute, parquet

from shared.contract.windows import EPOCH, Window

from .fleet import model_id
from .peers import SCHEMA

WINDOW = Window.parse("20261121T0700Z-PT1H")
FOLDER = f"{WINDOW.start:date=%Y-%m-%d/hour=%H}/"
FEATURES = ("f0", "f1", "f2", "f3")
CENTRE, WIDTH = np.array([20.0, 5.0, 300.0, 1.0]), np.array([2.0, 0.5, 20.0, 0.1])  # of what they measure
DISTINCT = 200  # models
# What makes about so many support vectors: rows of training, and nu.
TRAINING = {20: (60, 0.1), 100: (850, 0.1), 500: (1000, 0.5)}
PERIOD = 16_384  # rows: readings repeat no sooner, further than any compression of their pages looks back
PER_FILE, PER_GROUP = 100_000, 1_000  # devices
TOLERANCE = 1e-9  # of scores; closer to zero a label may be either
LOOSE = 1e-2  # for what computes in float32


@dataclass(frozen=True, slots=True)
class Fleet:
    """What it is made of, and where it lies below *base*. Model number *i* is the distinct one *i* % DISTINCT."""

    base: Path  # shared by the fleets of a benchmark, which train their models once
    models: int
    rows: int
    vectors: int

    @property
    def root(self) -> Path:
        """The fleet's own folder."""
        return self.base / f"{self.models}-models-{self.rows}-rows-{self.vectors}-vectors"

    @property
    def blocks(self) -> int:
        """So many devices' readings are distinct; model and readings repeat together."""
        return DISTINCT * -(-PERIOD // (DISTINCT * self.rows))

    @property
    def ids(self) -> list[str]:
        """Of all devices, sorted."""
        return [model_id(i) for i in range(self.models)]

    def folder(self, kind: str) -> Path:
        """Of the models' files of one kind: `pkl`, `skops` or `onnx`."""
        return self.root / f"models-{kind}"

    @property
    def readings(self) -> Path:
        """The folder of the window's hour."""
        return self.root / "readings" / FOLDER

    def distinct(self, kind: str) -> list[bytes]:
        """The files of the distinct models; made when they are first expected, so that they stay the same."""
        folder = self.base / f"{self.vectors}-vectors-{kind}"
        if not folder.exists():
            files = _train_models(self.vectors) if kind == "pkl" else map(_CONVERT[kind], self.distinct("pkl"))
            folder.mkdir(parents=True)
            for i, data in enumerate(files):
                (folder / f"{i:03}").write_bytes(data)
        return [(folder / f"{i:03}").read_bytes() for i in range(DISTINCT)]


def _train_models(vectors: int) -> Iterator[bytes]:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import OneClassSVM

    rng, (rows, nu) = np.random.default_rng(vectors), TRAINING[vectors]
    for _ in range(DISTINCT):
        readings = rng.normal(CENTRE, WIDTH, (rows, len(FEATURES))) * rng.uniform(0.9, 1.1, len(FEATURES))
        yield pickle.dumps(make_pipeline(StandardScaler(), OneClassSVM(nu=nu)).fit(readings), protocol=5)


def _write_skops(file: bytes) -> bytes:
    import skops.io

    data: bytes = skops.io.dumps(pickle.loads(file))  # noqa: S301  # made above
    return data


def _write_onnx(file: bytes) -> bytes:
    from skl2onnx import to_onnx

    model = pickle.loads(file)  # noqa: S301  # made above
    data: bytes = to_onnx(model, np.zeros((1, len(FEATURES)), np.float32)).SerializeToString()
    return data


_CONVERT: dict[str, Callable[[bytes], bytes]] = {"skops": _write_skops, "onnx": _write_onnx}


def make_fleet(base: Path, models: int, rows: int, vectors: int, kinds: Sequence[str]) -> Fleet:
    """Write a fleet below *base*: its models' files of each of *kinds*, its readings, the right scores."""
    fleet = Fleet(base, models, rows, vectors)
    fleet.root.mkdir(parents=True)
    values = np.random.default_rng(rows).normal(CENTRE, 1.3 * WIDTH, (fleet.blocks, rows, len(FEATURES)))
    trained = [pickle.loads(file) for file in fleet.distinct("pkl")]  # noqa: S301  # made above
    right = [trained[i % DISTINCT].decision_function(block) for i, block in enumerate(values)]
    np.save(fleet.root / "right.npy", np.array(right))
    for kind in kinds:
        write_models(fleet, kind)
    _write_readings(fleet, values)
    return fleet


def write_models(fleet: Fleet, kind: str) -> None:
    """A file for each model."""
    files = fleet.distinct(kind)
    fleet.folder(kind).mkdir()
    for i, device in enumerate(fleet.ids):
        (fleet.folder(kind) / f"{device}.{kind}").write_bytes(files[i % DISTINCT])


def _make_times(rows: int) -> np.ndarray:
    """Microseconds since 1970, evenly over the window."""
    start, step = int((WINDOW.start - EPOCH).total_seconds()), WINDOW.length.total_seconds() / rows
    return ((start + np.arange(rows) * step) * 1e6).astype(np.int64)


def _write_readings(fleet: Fleet, values: np.ndarray) -> None:
    """Sorted by device, with a dictionary for the device only: repeated numbers must not make the files small."""
    fleet.readings.mkdir(parents=True)
    names = ("time", "device", *FEATURES)
    kinds = (pa.timestamp("us", "UTC"), pa.dictionary(pa.int32(), pa.string()), *[pa.float64()] * len(FEATURES))
    schema = pa.schema(list(zip(names, kinds, strict=True)))
    for file, first in enumerate(range(0, fleet.models, PER_FILE)):
        path = fleet.readings / f"part-{file:03}.parquet"
        with parquet.ParquetWriter(path, schema, compression="snappy", use_dictionary=["device"]) as writer:
            for begin in range(first, min(first + PER_FILE, fleet.models), PER_GROUP):
                writer.write_table(_make_row_group(fleet, values, begin, schema))


def _make_row_group(fleet: Fleet, values: np.ndarray, begin: int, schema: pa.Schema) -> pa.Table:
    devices = np.arange(begin, min(begin + PER_GROUP, fleet.models))
    cells = values[devices % fleet.blocks].reshape(-1, len(FEATURES))
    codes = np.repeat(np.arange(len(devices), dtype=np.int32), fleet.rows)
    device = pa.DictionaryArray.from_arrays(codes, pa.array([model_id(int(i)) for i in devices]))
    time = pa.array(np.tile(_make_times(fleet.rows), len(devices))).cast(schema.field("time").type)
    return pa.Table.from_arrays([time, device, *(pa.array(cells[:, i].copy()) for i in range(4))], schema=schema)


@dataclass(frozen=True, slots=True)
class Checked:
    """How predictions differ from scikit-learn's."""

    rows: int
    largest: float  # difference of a score
    labels: int  # that differ although the score is not almost zero


def check_predictions(fleet: Fleet, paths: Sequence[Path], models: int, tolerance: float = TOLERANCE) -> Checked:
    """Compare every row of the predictions in *paths*; fails where one is missing, doubled, or wrong.

    They are those of the fleet's first *models*.

    With a *tolerance* that is looser than TOLERANCE labels are counted only.
    """
    right = np.load(fleet.root / "right.npy")
    counts = np.zeros(models * fleet.rows, np.uint8)
    checked = Checked(0, 0.0, 0)
    for table in _read_tables(paths):
        device, row = (
            _read_devices(table),
            np.searchsorted(_make_times(fleet.rows), table["time"].cast(pa.int64()).to_numpy()),
        )
        np.add.at(counts, device * fleet.rows + row, 1)
        expected, scores = right[device % fleet.blocks, row], table["score"].to_numpy()
        clear = np.abs(expected) > TOLERANCE
        wrong = (table["anomaly"].to_numpy() == 1) != (expected <= 0)
        largest = max(checked.largest, float(np.abs(scores - expected).max()))
        checked = Checked(checked.rows + len(row), largest, checked.labels + int(np.count_nonzero(wrong & clear)))
    assert (counts == 1).all(), f"{np.count_nonzero(counts != 1)} rows are missing or doubled in {paths[0].parent}"
    assert checked.largest <= tolerance, f"a score differs by {checked.largest} in {paths[0].parent}"
    assert tolerance > TOLERANCE or not checked.labels, f"{checked.labels} labels differ in {paths[0].parent}"
    return checked


def _read_tables(paths: Sequence[Path]) -> Iterator[pa.Table]:
    for path in paths:
        file = parquet.ParquetFile(path, read_dictionary=["device"])
        names = file.schema_arrow.names  # of schema 2 there are more, which are null for detectors
        assert [name for name in SCHEMA.names if name in names] == SCHEMA.names, f"{path} has the columns {names}"
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=["time", "device", "score", "anomaly"]).unify_dictionaries()


def _read_devices(table: pa.Table) -> np.ndarray:
    """The numbers of the devices, row by row."""
    column = table["device"].combine_chunks()
    numbers = compute.cast(compute.utf8_slice_codeunits(column.dictionary, len("pump-")), pa.int64()).to_numpy()
    values: np.ndarray = numbers[column.indices.to_numpy()]
    return values
