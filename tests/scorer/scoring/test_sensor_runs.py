"""Models of several sensors of long rows: what is joined for all at once is what `features` gives for each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scorer.errors import Unscorable
from scorer.readings.device_readings import Readings
from scorer.readings.features import Expected, ModelReadings, build_model_readings, find_frame_rows
from scorer.readings.frames import FileRows
from scorer.scoring import sensor_runs
from scorer.scoring.sensor_runs import SensorRows, gather_sensors
from shared.contract.domain import Model

SENSORS = {name: code for code, name in enumerate(("t", "p", "", "q", "r"))}
NAMES = [("p", "t"), ("r", "q", "p"), ("t", "absent"), ("t", "p", "q", "r")]


def make_readings(seed: int, devices: int, gap: float) -> Readings:
    """Long rows of some devices, of which some have other sensors, other times, or values that are not finite."""
    random = np.random.default_rng(seed)
    rows = []
    for device in range(devices):
        times = np.sort(random.choice(20, random.integers(0, 6), replace=False))
        for sensor in random.permutation(len(SENSORS))[: random.integers(0, 6)]:
            own = times[random.random(len(times)) >= gap]
            own = own + (random.random() < gap)
            values = np.where(random.random(len(own)) < gap / 4, np.inf, random.normal(size=len(own)))
            rows += [(device, sensor, time, value) for time, value in zip(own, values, strict=True)]
    order = random.permutation(len(rows))
    device, sensor, time, value = (np.array([rows[i][k] for i in order]) for k in range(4))
    readings = Readings({f"d{code}": code for code in range(devices)}, sensors=dict(SENSORS))
    file_rows = FileRows(
        device.astype(np.int32), sensor.astype(np.int32), time.astype(np.int64), ("value",), (value,), 0
    )
    readings.add_frame([file_rows], is_long=True)
    return readings


def read_by_features(readings: Readings, device: int, names: tuple[str, ...]) -> ModelReadings | None:
    model = Model(f"d{device}", "", "m.pkl", "etag")
    try:
        return build_model_readings(readings, model, find_frame_rows(readings, model), Expected(names, len(names)))
    except Unscorable:
        return None


def read_model(rows: SensorRows, index: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    place = int(np.count_nonzero(rows.is_regular[:index]))
    end = int(rows.n_rows[: place + 1].sum())
    part = slice(end - int(rows.n_rows[place]), end)
    return rows.time[part], rows.values[:width, part].T


@pytest.mark.parametrize("block", [1, 3, 256])
@pytest.mark.parametrize("gap", [0.0, 0.02, 0.06])
@pytest.mark.parametrize("seed", range(5))
def test_models_joined_at_once_get_what_each_gets_alone(
    seed: int, gap: float, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensor_runs, "_MODELS", block)
    readings = make_readings(seed, 60, gap)
    random = np.random.default_rng(seed + 100)
    device, name_of = random.integers(0, 60, 150), random.integers(0, len(NAMES), 150)
    rows = gather_sensors(readings.frames[0], readings.sensors, device, NAMES, name_of)
    assert rows is not None
    for index in np.flatnonzero(rows.is_regular).tolist():
        names = NAMES[name_of[index]]
        alone = read_by_features(readings, int(device[index]), names)
        assert alone is not None
        assert (alone.left_out, alone.repeated, alone.is_assumed, alone.has_silent) == (0, 0, False, False)
        time, values = read_model(rows, index, len(names))
        np.testing.assert_array_equal(time, alone.time)
        np.testing.assert_array_equal(values, alone.values)
    if not gap:  # then whatever has all its sensors is joined
        expected = [read_by_features(readings, int(d), NAMES[n]) for d, n in zip(device, name_of, strict=True)]
        np.testing.assert_array_equal(rows.is_regular, [alone is not None for alone in expected])


def test_no_model_is_joined_where_none_has_all_its_sensors() -> None:
    readings = make_readings(0, 3, 0.0)
    none = np.zeros(0, np.int64)
    frame = readings.frames[0]
    assert gather_sensors(frame, readings.sensors, np.arange(3), [("absent", "t")], np.zeros(3, np.int64)) is None
    assert gather_sensors(frame, readings.sensors, none, [("t", "p")], none) is None
    empty = replace(frame, starts=np.zeros_like(frame.starts))
    assert gather_sensors(empty, readings.sensors, np.arange(3), [("t", "p")], np.zeros(3, np.int64)) is None
