"""The fleets that `profile_chunk` scores: trained detectors, an hour of wide Parquet, a warm pack, one manifest.

A few distinct models are trained, and repeated under further ids, as in `scoring_fleet`; here the number of features
and the kind of model vary too.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from scorer.packs import pack, stored_pack
from scorer.packs.cache import PACKED_BYTES, pack_file
from scorer.storage.blob_store import open_container
from shared.contract import paths
from shared.contract.domain import Model
from shared.contract.manifest import Manifest, PackRef
from shared.contract.scoring_options import Features, ReadingOptions, ScoringOptions
from shared.contract.text import make_digest
from shared.contract.windows import EPOCH, Window

from .fleet import model_id

WINDOW = Window.parse("20261121T0700Z-PT1H")
DISTINCT = 40  # models; their readings are distinct up to PERIOD rows
PERIOD = 16_384
PACK = 10_000  # models, fewer where their numbers are large
_FOLDER = f"{WINDOW.start:date=%Y-%m-%d/hour=%H}/"
_GROUP_ROWS = 60_000  # of a row group of the readings


@dataclass(frozen=True, slots=True)
class Shape:
    """What a fleet consists of. *kind*: `svm`, `forest` or `envelope`; *vectors*: about so many in an `svm`."""

    models: int
    rows: int = 60
    features: int = 4
    vectors: int = 100
    kind: str = "svm"

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.models}-{self.kind}-{self.rows}-rows-{self.features}-features-{self.vectors}-vectors"


def make_fleet(folder: Path, shape: Shape, schema: int = 2) -> str:
    """Write readings, packs and a manifest below *folder*; returns the manifest's URL. *schema*: of predictions."""
    for name in ("readings", "models", "work"):
        (folder / name).mkdir(parents=True)
    write_readings(folder / "readings", shape)
    files = train_models(shape)
    etags = [make_digest(file) for file in files]
    models = [
        Model(model_id(i), "", f"{model_id(i)}.pkl", etags[i % DISTINCT]) for i in range(shape.models)
    ]  # fmt: skip
    url, work = (folder / "work").as_uri(), open_container((folder / "work").as_uri())
    packed, refs = [pack_file(file) for file in files], []
    n_bytes = max(model.numbers.nbytes + model.integers.nbytes for model in packed)
    size = min(PACK, PACKED_BYTES // n_bytes)
    for start in range(0, shape.models, size):
        part = models[start : start + size]
        entries = [pack.Entry(model, model.etag, packed[i % DISTINCT]) for i, model in enumerate(part, start)]
        refs.append(PackRef(f"profile-{start:07}", len(part)))
        work.write(paths.pack_path(refs[-1].name), stored_pack.to_bytes(pack.build_pack(entries)))
    data = Manifest(
        WINDOW,
        paths.make_chunk_id(0),
        models,
        (folder / "models").as_uri(),
        (folder / "readings").as_uri(),
        url,
        policy=ScoringOptions(ReadingOptions(features=Features(in_file_order=True))),
        packs=tuple(refs),
        predictions_schema=schema,
    ).to_bytes()
    path = paths.manifest_path(WINDOW.id, make_digest(data))
    work.write(path, data)
    return f"{url}/{path}"


def train_models(shape: Shape) -> list[bytes]:
    """The pickles of the distinct models."""
    from sklearn.covariance import EllipticEnvelope
    from sklearn.ensemble import IsolationForest
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import OneClassSVM

    rng, files = np.random.default_rng(shape.features), []
    n_rows, nu = (max(2 * shape.vectors, 60), 0.5) if shape.kind == "svm" else (400, 0.1)
    for number in range(DISTINCT):
        readings = _draw(rng, n_rows, shape.features)
        detector: Any = OneClassSVM(nu=min(nu, shape.vectors / n_rows))
        if shape.kind == "forest":
            detector = IsolationForest(n_estimators=100, random_state=number)
        elif shape.kind == "envelope":
            detector = EllipticEnvelope(random_state=number)
        files.append(pickle.dumps(make_pipeline(StandardScaler(), detector).fit(readings), protocol=5))
    return files


def _draw(rng: np.random.Generator, n_rows: int, n_features: int) -> np.ndarray:
    middle = np.linspace(1.0, 300.0, n_features)
    return rng.normal(middle, middle / 10, (n_rows, n_features))


def make_readings(shape: Shape) -> np.ndarray:
    """The readings of the distinct devices, float64[devices, rows, features]; model i has those of i % devices."""
    count = DISTINCT * -(-PERIOD // (DISTINCT * shape.rows))
    rng = np.random.default_rng(shape.rows)
    return _draw(rng, count * shape.rows, shape.features).reshape(count, shape.rows, shape.features)


def make_times(rows: int) -> np.ndarray:
    """Microseconds since 1970, evenly over the window."""
    start, step = int((WINDOW.start - EPOCH).total_seconds()), WINDOW.length.total_seconds() / rows
    return ((start + np.arange(rows) * step) * 1e6).astype(np.int64)


def write_readings(folder: Path, shape: Shape) -> None:
    """One file, sorted by device, with a dictionary for the device only."""
    values = make_readings(shape)
    names = ("time", "device", *(f"f{i:02}" for i in range(shape.features)))
    kinds = (pa.timestamp("us", "UTC"), pa.dictionary(pa.int32(), pa.string()), *[pa.float64()] * shape.features)
    schema = pa.schema(list(zip(names, kinds, strict=True)))
    path = folder / _FOLDER / "part-000.parquet"
    path.parent.mkdir(parents=True)
    n_devices = max(1, _GROUP_ROWS // shape.rows)
    with parquet.ParquetWriter(path, schema, compression="snappy", use_dictionary=["device"]) as writer:
        for begin in range(0, shape.models, n_devices):
            devices = np.arange(begin, min(begin + n_devices, shape.models))
            cells = values[devices % len(values)].reshape(-1, shape.features)
            codes = np.repeat(np.arange(len(devices), dtype=np.int32), shape.rows)
            ids = pa.array([model_id(int(i)) for i in devices])
            times = pa.array(np.tile(make_times(shape.rows), len(devices))).cast(kinds[0])
            columns = [times, pa.DictionaryArray.from_arrays(pa.array(codes), ids)]
            columns += [pa.array(np.ascontiguousarray(cells[:, i])) for i in range(shape.features)]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
