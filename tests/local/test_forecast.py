"""The second demo's fleet: meters that are always the same, and errors that are computed from what a consumer reads."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
import skops.io
from pyarrow import parquet

from local import fleet
from local.fleet import Stores, make_parquet, make_readings_path
from local.forecast import TRAINED_ON, TRAINING_STEPS, ForecastFleet, measure_errors
from local.meters import CHANGED_AT, CHANGED_EVERY, DAY, FEATURES, LOAD, STEP, STEPS, Meter
from shared.adapters.memory import MemoryBlobs
from shared.contract.windows import Window

NOW = datetime(2026, 11, 21, 4, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
START = datetime(2026, 11, 21, 3, tzinfo=UTC)
WINDOW = Window(START, HOUR)
PART = "date=2026-11-21/hour=03/20261121T0300Z-PT1H-c00000-0.parquet"


@pytest.fixture
def stores() -> Stores:
    return Stores(*(MemoryBlobs(f"memory://{name}") for name in ("models", "readings", "predictions", "work")))


def names(blobs: fleet.Blobs) -> list[str]:
    return [blob.name for blob in blobs.list_blobs()]


def test_a_reading_of_a_meter_is_the_same_alone_and_in_a_longer_span() -> None:
    span, hour = Meter(1, 7).read(START - 5 * HOUR, 8 * STEPS), Meter(1, 7).read(START, STEPS)
    for name, column in hour.items():
        assert (span[name][5 * STEPS : 6 * STEPS] == column).all()
    assert not (hour[LOAD] == Meter(1, 8).read(START, STEPS)[LOAD]).any()
    assert (hour[LOAD] > 0).all()


def test_the_features_are_the_load_of_before_and_not_the_load() -> None:
    columns = Meter(1, 7).read(START, 2 * DAY)
    assert tuple(columns) == (*FEATURES, LOAD)
    assert (columns["load_1h_ago"][STEPS:] == columns[LOAD][:-STEPS]).all()
    assert (columns["load_1d_ago"][DAY:] == columns[LOAD][:-DAY]).all()


def test_some_meters_change_after_the_training() -> None:
    assert TRAINED_ON + TRAINING_STEPS * STEP <= CHANGED_AT
    before, after = (Meter(1, CHANGED_EVERY).read(start, DAY)[LOAD] for start in (CHANGED_AT - 24 * HOUR, CHANGED_AT))
    assert np.abs(np.diff(after)).max() > 3 * np.abs(np.diff(before)).max()


def test_a_model_knows_its_features_by_name_and_is_better_than_yesterday(stores: Stores) -> None:
    import pandas as pd

    town = ForecastFleet(3)
    assert list(fleet.train(town, stores)) == [1, 2, 3]
    assert fleet.is_there(town, stores)
    assert not fleet.is_there(ForecastFleet(2), stores)
    for meter in town.members:
        model = skops.io.loads(stores.models.read(f"{meter.id}.skops"))
        assert tuple(model.feature_names_in_) == FEATURES
        columns = pd.DataFrame(meter.read(START, 14 * DAY))
        errors = np.abs(model.predict(columns[[*FEATURES]]) - columns[LOAD]).mean()
        assert errors < np.abs(columns["load_1d_ago"] - columns[LOAD]).mean()


def test_the_readings_hold_the_true_load_and_only_missing_hours_are_written(stores: Stores) -> None:
    town = ForecastFleet(2)
    assert (fleet.write_readings(town, stores, NOW), fleet.write_readings(town, stores, NOW)) == (24, 0)
    table = parquet.read_table(io.BytesIO(stores.readings.read(make_readings_path(START))))
    assert table.column_names == ["time", "device", *FEATURES, LOAD]
    assert table["device"].to_pylist() == ["meter-00001"] * 4 + ["meter-00002"] * 4
    assert table["time"].to_pylist() == [START + n * STEP for n in range(4)] * 2
    assert table[LOAD].to_pylist() == [*Meter(1, 1).read(START, 4)[LOAD], *Meter(1, 2).read(START, 4)[LOAD]]
    assert names(stores.work) == []


def write_loads(stores: Stores, rows: list[tuple[int, str, float, float]]) -> None:
    times, devices, loads, yesterday = zip(*rows, strict=True)
    columns = {"time": [START + n * STEP for n in times], "device": devices, LOAD: loads, "load_1d_ago": yesterday}
    stores.readings.create(make_readings_path(START), make_parquet(pa.table(columns)))


def test_errors_are_those_of_predictions_whose_true_value_is_known(stores: Stores) -> None:
    write_loads(stores, [(0, "a", 1.0, 2.0), (1, "a", 2.0, 2.0), (0, "b", 5.0, 1.0), (0, "c", 1.0, 1.0)])
    rows = [(0, "a", 1.5), (1, "a", 2.5), (0, "b", 2.0), (1, "b", 9.0), (0, "c", None), (0, "d", 7.0)]
    times, devices, predictions = zip(*rows, strict=True)
    table = {"time": [START + n * STEP for n in times], "device": devices, "prediction": predictions}
    stores.predictions.create(PART, make_parquet(pa.table(table)))
    stores.predictions.create(PART.replace("T0300Z", "T0200Z"), b"of another window")

    errors = measure_errors(stores, WINDOW)

    assert (errors.rows, errors.judged, errors.files) == (6, 3, 1)
    assert errors.mean == pytest.approx((0.5 + 0.5 + 3) / 3)
    assert errors.of_yesterday == pytest.approx((1 + 0 + 4) / 3)
    assert errors.worst == [("b", 3.0), ("a", 0.5)]


def test_without_readings_no_error_is_known(stores: Stores) -> None:
    table = {"time": [START], "device": ["a"], "prediction": [1.0]}
    stores.predictions.create(PART, make_parquet(pa.table(table)))
    errors = measure_errors(stores, WINDOW)
    assert (errors.rows, errors.judged, errors.mean, errors.worst) == (1, 0, 0.0, [])
