"""A demo's fleet in storage: a model for each machine, trained once, and the last day's readings, hour by hour.

The planted faults of an hour are written to `demo/` in the working container; only `local/findings.py` reads them.
Nothing is overwritten: files of another version of the demo are removed first.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from shared.adapters.azure.blobs import AzureBlobs
from shared.config.fields import Settings
from shared.contract.errors import NotFound
from shared.contract.windows import DAY, Window
from shared.ports import Blobs

from .pumps import HOUR, MINUTES, SIGNALS, Pump

# A week, so that the days' drift is in it; a fixed one, so that whenever it is trained a pump gets the same model.
TRAINED_ON, TRAINING_HOURS = datetime(2026, 1, 5, tzinfo=UTC), 7 * 24
# The share of healthy readings that a model calls anomalies, and how closely it follows them: 110 support vectors.
NU, GAMMA = 0.008, 0.5

MARKER = "demo/fleet.json"
_OURS = re.compile(r"(pump|meter)-\d{5,}\.skops|date=[\d-]+/hour=\d\d/demo\.parquet|demo/.+")


@dataclass(frozen=True, slots=True)
class Stores:
    """The containers, as the settings name them."""

    models: Blobs
    readings: Blobs
    predictions: Blobs
    work: Blobs

    @classmethod
    def open(cls, settings: Settings) -> Stores:
        """Create the missing ones."""
        names = (
            settings.models_container,
            settings.readings_container,
            settings.predictions_container,
            settings.work_container,
        )
        blobs = [AzureBlobs(settings.storage, name) for name in names]
        for store in blobs:
            store.ensure_container()
        return cls(*blobs)


class Fleet(Protocol):
    """The machines of a demo, their models and their readings."""

    noun: ClassVar[str]  # several of them
    model: ClassVar[str]  # the kind of each
    rhythm: ClassVar[str]  # of the readings

    @property
    def devices(self) -> int:
        """How many there are."""

    @property
    def members(self) -> Sequence[Any]:
        """All of them; a larger fleet begins with the same."""

    @property
    def digest(self) -> str:
        """A hash of all that models and readings depend on."""

    def train_model(self, member: Any, models: Blobs) -> None:
        """Train and store the model of one machine."""

    def write_hour(self, stores: Stores, start: datetime) -> None:
        """Write the readings of the hour that begins at *start*."""


@dataclass(frozen=True, slots=True)
class DemoFleet:
    """A number of pumps of one make."""

    devices: int = 500
    seed: int = 1

    noun: ClassVar[str] = "pumps"
    model: ClassVar[str] = "a one-class SVM"
    rhythm: ClassVar[str] = "one a minute"

    @property
    def pumps(self) -> list[Pump]:
        """All of them. A larger fleet begins with the same."""
        return [Pump(self.seed, number) for number in range(1, self.devices + 1)]

    @property
    def digest(self) -> str:
        """A hash of all that models and readings depend on: the numbers, this code and scikit-learn's version."""
        import sklearn

        folder = Path(__file__).parent
        code = [(folder / name).read_bytes() for name in ("fleet.py", "pumps.py")]
        text = json.dumps(asdict(self)) + sklearn.__version__
        return hashlib.sha256(text.encode() + b"".join(code)).hexdigest()[:16]

    @property
    def members(self) -> Sequence[Pump]:
        """The pumps."""
        return self.pumps

    def train_model(self, member: Pump, models: Blobs) -> None:
        """Train and store the model of one pump."""
        _train(member, models)

    def write_hour(self, stores: Stores, start: datetime) -> None:
        """Write the readings of an hour, and before them the faults that are planted in them."""
        _write_hour(self.pumps, stores, start)


def is_there(fleet: Fleet, stores: Stores) -> bool:
    """Whether exactly this fleet was trained completely."""
    try:
        return stores.work.read(MARKER).decode() == fleet.digest
    except NotFound:
        return False


def train(fleet: Fleet, stores: Stores) -> Generator[int]:
    """Train and store every machine's model, and then the marker; yields how many are done, each time one is."""
    for store in (stores.work, stores.models, stores.readings):  # the marker is in the first
        for blob in [blob for blob in store.list_blobs() if _OURS.fullmatch(blob.name)]:
            store.delete(blob.name)
    # Threads do: libsvm, which is most of the work, runs outside Python's lock and takes one core for each fit.
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        futures = [pool.submit(fleet.train_model, member, stores.models) for member in fleet.members]
        for count, future in enumerate(as_completed(futures), start=1):
            future.result()
            yield count
    finally:
        pool.shutdown(cancel_futures=True)
    stores.work.create(MARKER, fleet.digest.encode())


def _train(pump: Pump, models: Blobs) -> None:
    import skops.io
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import OneClassSVM

    pipeline = Pipeline([("scaler", StandardScaler()), ("svm", OneClassSVM(nu=NU, gamma=GAMMA))])
    pipeline.fit(pump.healthy(TRAINED_ON, TRAINING_HOURS))
    models.create(f"{pump.id}.skops", skops.io.dumps(pipeline))


def write_readings(fleet: Fleet, stores: Stores, now: datetime) -> int:
    """Write the hours that are missing of the day before *now*, up to the last that has closed; returns how many."""
    last = Window.containing(now, HOUR).start
    hours = [last - DAY + n * HOUR for n in range(24)]
    names = {blob.name for blob in stores.readings.list_blobs()}
    missing = [start for start in hours if make_readings_path(start) not in names]
    for start in missing:
        fleet.write_hour(stores, start)
    return len(missing)


def make_readings_path(start: datetime) -> str:
    """The file of an hour of readings."""
    return f"{start:date=%Y-%m-%d/hour=%H/}demo.parquet"


def planted_path(start: datetime) -> str:
    """The planted faults of an hour: a row for each faulty reading, `time, device, fault`."""
    return f"demo/planted/{start:%Y%m%dT%HZ}.parquet"


def _write_hour(pumps: list[Pump], stores: Stores, start: datetime) -> None:
    import pyarrow as pa

    hours = [pump.hour(start) for pump in pumps]
    minutes = np.arange(np.datetime64(start.replace(tzinfo=None), "us"), np.timedelta64(1, "h"), np.timedelta64(1, "m"))
    time = pa.array(np.tile(minutes, len(pumps))).cast(pa.timestamp("us", "UTC"))
    device = pa.array(np.repeat([pump.id for pump in pumps], MINUTES))
    fault = pa.array(np.repeat([hour.fault or "" for hour in hours], MINUTES))
    values = np.concatenate([hour.values for hour in hours])
    signals = {name: values[:, i] for i, name in enumerate(SIGNALS)}
    faulty = pa.array(np.concatenate([hour.faulty for hour in hours]))
    planted = pa.table({"time": time, "device": device, "fault": fault}).filter(faulty)
    # In this order: where readings exist, their faults are known.
    stores.work.create(planted_path(start), make_parquet(planted))
    readings = pa.table({"time": time, "device": device, **signals})
    stores.readings.create(make_readings_path(start), make_parquet(readings))


def make_parquet(table: object) -> bytes:
    """A table of readings as a file."""
    from pyarrow import parquet

    sink = io.BytesIO()
    # Groups of a hundred devices, which are sorted: a reader of a few need not read the rest.
    parquet.write_table(table, sink, row_group_size=100 * MINUTES, use_dictionary=["device"], write_page_checksum=True)
    return sink.getvalue()
