"""The second demo: a regressor for each meter, and its errors, since the readings hold the true value too."""

from __future__ import annotations

import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

import numpy as np

from shared.contract.errors import NotFound
from shared.contract.paths import prediction_path
from shared.contract.windows import Window
from shared.ports import Blobs

from .fleet import Stores, make_parquet, make_readings_path
from .meters import FEATURES, LOAD, STEP, STEPS, Meter
from .pumps import HOUR

# Four weeks, before some meters change; a fixed time, so that whenever it is trained a meter gets the same model.
TRAINED_ON, TRAINING_STEPS = datetime(2026, 1, 5, tzinfo=UTC), 4 * 7 * 24 * STEPS
WORST = 3  # meters that are named


@dataclass(frozen=True, slots=True)
class ForecastFleet:
    """A number of meters in one town."""

    devices: int = 200
    seed: int = 1

    noun: ClassVar[str] = "meters"
    model: ClassVar[str] = "a ridge regression"
    rhythm: ClassVar[str] = "four an hour"

    @property
    def members(self) -> Sequence[Meter]:
        """All of them. A larger fleet begins with the same."""
        return [Meter(self.seed, number) for number in range(1, self.devices + 1)]

    @property
    def digest(self) -> str:
        """A hash of all that models and readings depend on: the numbers, this code and scikit-learn's version."""
        import sklearn

        folder = Path(__file__).parent
        code = [(folder / name).read_bytes() for name in ("fleet.py", "forecast.py", "meters.py")]
        text = json.dumps(asdict(self)) + sklearn.__version__
        return hashlib.sha256(text.encode() + b"".join(code)).hexdigest()[:16]

    def train_model(self, member: Meter, models: Blobs) -> None:
        """Store the model of one meter, which was trained on the names of its features."""
        import pandas as pd
        import skops.io
        from sklearn.linear_model import Ridge
        from sklearn.pipeline import Pipeline
        from sklearn.preprocessing import StandardScaler

        columns = member.read(TRAINED_ON, TRAINING_STEPS)
        features = pd.DataFrame({name: columns[name] for name in FEATURES})
        pipeline = Pipeline([("scaler", StandardScaler()), ("ridge", Ridge())]).fit(features, columns[LOAD])
        models.create(f"{member.id}.skops", skops.io.dumps(pipeline))

    def write_hour(self, stores: Stores, start: datetime) -> None:
        """Write the readings of an hour, with the true load beside the features."""
        import pyarrow as pa

        columns = [meter.read(start, STEPS) for meter in self.members]
        step = np.timedelta64(STEP // timedelta(microseconds=1), "us")
        times = np.datetime64(start.replace(tzinfo=None), "us") + step * np.arange(STEPS)
        readings = {
            "time": pa.array(np.tile(times, self.devices)).cast(pa.timestamp("us", "UTC")),
            "device": np.repeat([meter.id for meter in self.members], STEPS),
            **{name: np.concatenate([column[name] for column in columns]) for name in (*FEATURES, LOAD)},
        }
        stores.readings.create(make_readings_path(start), make_parquet(pa.table(readings)))


@dataclass(frozen=True, slots=True)
class Errors:
    """How far predictions are from the readings of the same times; errors are means of absolute values, in kW."""

    rows: int  # predictions
    judged: int  # of which the true value is known
    mean: float
    of_yesterday: float  # of who says what was measured at this time a day ago
    by_meter: Mapping[str, float]
    files: int

    @property
    def worst(self) -> Sequence[tuple[str, float]]:
        """The meters with the largest errors, the largest first."""
        return sorted(self.by_meter.items(), key=lambda item: (-item[1], item[0]))[:WORST]


def measure_errors(stores: Stores, window: Window) -> Errors:
    """Join the predictions of a window with its readings, as a consumer would."""
    folder = prediction_path(window, "", 0).rpartition("/")[0] + "/"
    parts = [blob.name for blob in stores.predictions.list_blobs(folder) if f"/{window.id}-" in blob.name]
    measured = _read_readings(stores, window)
    n_rows, errors, errors_of_yesterday = 0, defaultdict[str, list[float]](list), list[float]()
    for part in parts:
        table = _read_columns(stores.predictions.read(part), ["time", "device", "prediction"])
        n_rows += len(table)
        for time, device, prediction in table:
            if prediction is not None and (values := measured.get((time, device))):
                load, load_of_yesterday = values
                errors[device].append(abs(prediction - load))
                errors_of_yesterday.append(abs(load_of_yesterday - load))
    all_errors = [error for errors_of_meter in errors.values() for error in errors_of_meter]
    by_meter = {device: fmean(errors_of_meter) for device, errors_of_meter in sorted(errors.items())}
    return Errors(
        rows=n_rows,
        judged=len(all_errors),
        mean=fmean(all_errors) if all_errors else 0.0,
        of_yesterday=fmean(errors_of_yesterday) if all_errors else 0.0,
        by_meter=by_meter,
        files=len(parts),
    )


def _read_readings(stores: Stores, window: Window) -> Mapping[tuple[datetime, str], tuple[float, float]]:
    """The load, and that of a day before, by time and meter."""
    measured: dict[tuple[datetime, str], tuple[float, float]] = {}
    start = Window.containing(window.start, HOUR).start
    while start < window.end:
        with suppress(NotFound):  # no readings of the demo's in that hour
            data = stores.readings.read(make_readings_path(start))
            rows = _read_columns(data, ["time", "device", LOAD, "load_1d_ago"])
            measured |= {(time, device): (load, yesterday) for time, device, load, yesterday in rows}
        start += HOUR
    return measured


def _read_columns(data: bytes, names: Sequence[str]) -> Sequence[tuple[Any, ...]]:
    from pyarrow import parquet

    table = parquet.read_table(io.BytesIO(data), columns=list(names))
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))
