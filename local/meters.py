"""The second demo's machines: meters whose load follows the hour of the day, the temperature and their own habits.

The load of any meter at any time is a pure function of (seed, number, time), so errors of its model are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from shared.contract.windows import EPOCH

STEP = timedelta(minutes=15)  # between two readings
STEPS = 4  # in an hour
DAY = 24 * STEPS  # steps
FEATURES = ("hour_sin", "hour_cos", "temperature", "load_1h_ago", "load_1d_ago")  # of a model, in its order
LOAD = "load"  # kW: the true value, which no model is given
CHANGED_EVERY, CHANGED_AT = 60, datetime(2026, 2, 2, tzinfo=UTC)  # some meters get a new machine after the training

TURN = 2 * np.pi


@dataclass(frozen=True, slots=True)
class Meter:
    """One customer, with habits of its own."""

    seed: int
    number: int

    @property
    def id(self) -> str:
        """`meter-00042`: sorts by number."""
        return f"meter-{self.number:05d}"

    def read(self, start: datetime, steps: int) -> Mapping[str, np.ndarray]:
        """The columns FEATURES and LOAD of so many readings from *start* on, which is a whole hour in UTC."""
        first = (start - EPOCH) // STEP
        load = self._measure_load(first - DAY, DAY + steps)
        step = np.arange(first, first + steps)
        columns = {
            "hour_sin": np.sin(TURN * step / DAY),
            "hour_cos": np.cos(TURN * step / DAY),
            "temperature": _measure_temperature(step),
            "load_1h_ago": load[DAY - STEPS : -STEPS],
            "load_1d_ago": load[:-DAY],
            LOAD: load[DAY:],
        }
        return {name: np.round(column, 3) for name, column in columns.items()}

    def _measure_load(self, first: int, steps: int) -> np.ndarray:
        """The load from step *first* on, in kW."""
        step = np.arange(first, first + steps)
        own = np.random.default_rng([self.seed, self.number]).uniform
        size, peak, cold, rough = own(0.4, 2.5), own(), own(0.0, 0.08), own(0.02, 0.12)
        day = 1 + 0.5 * np.sin(TURN * (step / DAY + peak)) + 0.2 * np.sin(TURN * (2 * step / DAY + own()))
        heating = cold * np.maximum(0, 15 - _measure_temperature(step))
        load: np.ndarray = size * (day + heating) * (1 + rough * self._draw_noise(first, steps))
        if self.number % CHANGED_EVERY == 0:  # a machine that runs for half an hour, every two hours
            is_on = (step >= (CHANGED_AT - EPOCH) // STEP) & (step % (2 * STEPS) < STEPS // 2)
            load += np.where(is_on, 3 * size, 0)
        bounded: np.ndarray = np.maximum(load, 0.05)
        return bounded

    def _draw_noise(self, first: int, steps: int) -> np.ndarray:
        """Noise by the hour, so that each hour is the same alone and in a longer span."""
        hours = range(first // STEPS, -(-(first + steps) // STEPS))
        drawn = [np.random.default_rng([self.seed, self.number, hour]).standard_normal(STEPS) for hour in hours]
        offset = first % STEPS
        noise: np.ndarray = np.concatenate(drawn)[offset : offset + steps]
        return noise


def _measure_temperature(step: np.ndarray) -> np.ndarray:
    """The weather, which is the same for all meters; degrees Celsius."""
    day = 5 * np.sin(TURN * (step / DAY - 0.375))
    weeks = 3 * np.sin(TURN * step / (DAY * 11.3)) + 2 * np.sin(TURN * step / (DAY * 4.7))
    temperature: np.ndarray = 10 + 9 * np.sin(TURN * (step / (DAY * 365.25) - 0.25)) + day + weeks
    return temperature
