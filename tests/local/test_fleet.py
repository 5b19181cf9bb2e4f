"""The demo's fleet: machines that are always the same, faults that are known, and what the findings make of them."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
import skops.io
from pyarrow import parquet

from local import findings, fleet
from local.findings import Findings
from local.fleet import DemoFleet, Stores
from local.pumps import SIGNALS, Fault, Pump
from shared.adapters.memory import MemoryBlobs
from shared.contract.windows import Window

NOW = datetime(2026, 11, 21, 4, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
START = datetime(2026, 11, 21, 3, tzinfo=UTC)
FAULTY = {  # an hour of each kind, found by looking
    fault: next(
        (pump, start)
        for pump in DemoFleet(40).pumps
        for start in (START - n * HOUR for n in range(24))
        if pump.hour(start).fault is fault
    )
    for fault in Fault
}


@pytest.fixture
def stores() -> Stores:
    return Stores(*(MemoryBlobs(f"memory://{name}") for name in ("models", "readings", "predictions", "work")))


def names(blobs: fleet.Blobs) -> list[str]:
    return [blob.name for blob in blobs.list_blobs()]


def test_an_hour_of_a_pump_is_always_the_same() -> None:
    again, other, later = (Pump(1, 7).hour(START), Pump(1, 8).hour(START), Pump(1, 7).hour(START + HOUR))
    assert (Pump(1, 7).hour(START).values == again.values).all()
    assert not (again.values == other.values).any()
    assert not (again.values == later.values).any()


def test_an_hour_is_the_same_alone_and_in_a_longer_span() -> None:
    span = Pump(1, 7).healthy(START, 3)
    assert (span[60:120] == Pump(1, 7).healthy(START + HOUR, 1)).all()


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_spoils_just_the_readings_that_are_said_to_be_faulty(fault: Fault) -> None:
    pump, start = FAULTY[fault]
    hour = pump.hour(start)
    changed = (hour.values != pump.healthy(start, 1)).any(axis=1)
    # A drift begins with nothing, and a sensor is stuck at what it said first.
    assert (changed <= hour.faulty).all()
    assert hour.faulty.sum() - changed.sum() == (fault in (Fault.DRIFT, Fault.STUCK))


def test_about_one_hour_in_twelve_has_a_fault_and_every_kind_comes_to_pass() -> None:
    kinds = Counter(pump.hour(START - n * HOUR).fault for pump in DemoFleet(100).pumps for n in range(24))
    assert kinds[None] / kinds.total() == pytest.approx(0.92, abs=0.02)
    assert set(kinds) == {None, *Fault}


def test_a_fleet_is_trained_once_and_anew_when_it_changes(stores: Stores) -> None:
    assert not fleet.is_there(DemoFleet(3), stores)
    assert list(fleet.train(DemoFleet(3), stores)) == [1, 2, 3]
    fleet.write_readings(DemoFleet(3), stores, NOW)
    stores.models.create("mine.skops", b"a person's own")
    assert fleet.is_there(DemoFleet(3), stores)
    assert not fleet.is_there(DemoFleet(2), stores)
    list(fleet.train(DemoFleet(2), stores))
    assert names(stores.models) == ["mine.skops", "pump-00001.skops", "pump-00002.skops"]
    assert (names(stores.readings), names(stores.work)) == ([], [fleet.MARKER])


def test_a_training_that_was_broken_off_is_not_taken_for_a_fleet(stores: Stores) -> None:
    progress = fleet.train(DemoFleet(5), stores)
    next(progress)
    progress.close()
    assert not fleet.is_there(DemoFleet(5), stores)
    assert list(fleet.train(DemoFleet(5), stores)) == [1, 2, 3, 4, 5]
    assert fleet.is_there(DemoFleet(5), stores)


def test_a_model_has_about_a_hundred_support_vectors_and_calls_few_healthy_readings_anomalies(stores: Stores) -> None:
    list(fleet.train(DemoFleet(2), stores))
    for pump in DemoFleet(2).pumps:
        model = skops.io.loads(stores.models.read(f"{pump.id}.skops"))
        assert 90 < len(model[-1].support_) < 150
        assert (model.predict(pump.healthy(START, 24)) < 0).mean() < 0.05


def test_the_readings_are_those_of_the_last_day_and_only_missing_hours_are_written(stores: Stores) -> None:
    assert fleet.write_readings(DemoFleet(2), stores, NOW) == 24
    assert fleet.write_readings(DemoFleet(2), stores, NOW) == 0
    assert fleet.write_readings(DemoFleet(2), stores, NOW + 2 * HOUR) == 2
    assert names(stores.readings)[::25] == [
        "date=2026-11-20/hour=04/demo.parquet",
        "date=2026-11-21/hour=05/demo.parquet",
    ]
    table = parquet.read_table(io.BytesIO(stores.readings.read("date=2026-11-21/hour=03/demo.parquet")))
    assert table.column_names == ["time", "device", *SIGNALS]
    assert table["device"].to_pylist() == ["pump-00001"] * 60 + ["pump-00002"] * 60
    assert table["time"].to_pylist() == [START + timedelta(minutes=n) for n in range(60)] * 2
    values = np.stack([table[name].to_numpy() for name in SIGNALS], axis=1)
    assert (values == np.concatenate([pump.hour(START).values for pump in DemoFleet(2).pumps])).all()


def test_findings_count_what_was_planted_and_what_was_called_an_anomaly(stores: Stores) -> None:
    stores.models.create("a.skops", b"")
    (model,) = stores.models.list_blobs()
    planted = [(START, "a", "spike"), (START + timedelta(minutes=1), "a", "spike"), (START, "b", "stuck")]
    stores.work.create(fleet.planted_path(START), parquet_file("fault", planted))
    first = [(START, "a", 1), (START + timedelta(minutes=1), "a", 0), (START + timedelta(minutes=2), "a", 1)]
    folder = "date=2026-11-21/hour=03/20261121T0300Z-PT1H-c0000"
    stores.predictions.create(f"{folder}0-0.parquet", parquet_file("anomaly", first, model.etag))
    stores.predictions.create(f"{folder}1-0.parquet", parquet_file("anomaly", [(START, "b", 0)], model.etag))
    stores.predictions.create("date=2026-11-21/hour=03/20261121T0300Z-PT15M-c00000-0.parquet", b"of another run")
    found = findings.look(stores, Window(START, HOUR))
    kinds = {"spike": 1, "stuck": 1}
    assert found == Findings(
        rows=4, alarms=2, spoilt=3, hits=1, faults=kinds, found={"spike": 1}, files=2, by_others=False
    )
    assert (found.precision, found.recall) == (1 / 2, 1 / 3)
    stores.models.delete(model.name)
    assert findings.look(stores, Window(START, HOUR)) == replace(found, by_others=True)


def test_findings_are_nothing_where_nothing_was_planted_and_nothing_scored(stores: Stores) -> None:
    found = findings.look(stores, Window(START, HOUR))
    assert found == Findings(rows=0, alarms=0, spoilt=0, hits=0, faults={}, found={}, files=0, by_others=False)
    assert (found.precision, found.recall) == (0, 0)


def parquet_file(name: str, rows: list[tuple[datetime, str, object]], model: str = "") -> bytes:
    """A Parquet file with times, devices, one more column, and the model that said so."""
    time, device, more = zip(*rows, strict=True)
    columns = {"time": pa.array(time, pa.timestamp("us", "UTC")), "device": device, name: more}
    sink = io.BytesIO()
    parquet.write_table(pa.table({**columns, "model": [model] * len(rows)}), sink)
    return sink.getvalue()
