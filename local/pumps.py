"""The demo's machines: pumps whose readings, and whose faults, are a pure function of (seed, number, hour).

So any hour of any pump can be generated at any time, and its faults are known.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np

from shared.contract.windows import EPOCH

HOUR = timedelta(hours=1)
MINUTES = 60  # one reading each
SIGNALS = ("vibration", "temperature", "pressure", "current")  # mm/s, degrees Celsius, bar, ampere
VIBRATION, TEMPERATURE, PRESSURE, CURRENT = range(4)
FAULTY_HOURS = 0.08  # the share of a pump's hours in which a fault is planted

DAY, TURN = 1440, 2 * np.pi


class Fault(StrEnum):
    """The kinds of faults."""

    SPIKE = "spike"  # of vibration, for a few minutes
    STUCK = "stuck"  # one sensor repeats its value for a while
    DRIFT = "drift"  # the temperature runs away
    STEP = "step"  # the pressure drops
    IMBALANCE = "imbalance"  # more current for less pressure, each still within its own range


@dataclass(frozen=True, slots=True)
class Hour:
    """The readings of one pump over one hour, and the fault in them, if there is one."""

    values: np.ndarray  # (60, 4), in the order of SIGNALS
    faulty: np.ndarray  # (60,), bool
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Pump:
    """One machine, with its own load, sizes, rhythms and phases."""

    seed: int
    number: int

    @property
    def id(self) -> str:
        """`pump-00042`: sorts by number."""
        return f"pump-{self.number:05d}"

    def healthy(self, start: datetime, hours: int) -> np.ndarray:
        """Readings without faults, (60 * hours, 4)."""
        first = (start - EPOCH) // HOUR
        keys = ([self.seed, self.number, hour] for hour in range(first, first + hours))
        noise = np.concatenate([np.random.default_rng(key).standard_normal((MINUTES, 5)) for key in keys])
        return self._signals(np.arange(first * MINUTES, (first + hours) * MINUTES), noise.T)

    def hour(self, start: datetime) -> Hour:
        """The readings of the hour that begins at *start*, perhaps with a fault."""
        values, faulty = self.healthy(start, 1), np.zeros(MINUTES, bool)
        random = np.random.default_rng([self.seed, self.number, (start - EPOCH) // HOUR, 1])
        if random.random() >= FAULTY_HOURS:
            return Hour(values, faulty)
        fault = list(Fault)[random.integers(len(Fault))]
        length = random.integers(1, 4) if fault is Fault.SPIKE else random.integers(10, 26)
        begin = random.integers(MINUTES - length + 1)
        faulty[begin : begin + length] = True
        _plant(fault, values[begin : begin + length], random)
        return Hour(values, faulty, fault)

    def _signals(self, minute: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """All signals follow the load: the hour of the day, a swing of half an hour, a drift of days."""
        own = np.random.default_rng([self.seed, self.number]).uniform
        phase = own()
        day = np.sin(TURN * (minute / DAY + phase))
        swing = np.sin(TURN * (minute / own(18, 45) + own()))
        drift = np.sin(TURN * (minute / own(4000, 9000) + own()))
        load = own(0.5, 0.75) + own(0.08, 0.15) * day + own(0.06, 0.12) * swing + 0.02 * noise[0]
        room = 3 * np.sin(TURN * (minute / DAY + phase - 0.1))  # the day's warmth comes later than its work
        vibration = own(1.5, 3.5) * (0.6 + 0.5 * load + 0.06 * drift + 0.05 * noise[1])
        temperature = own(38, 55) + own(12, 20) * (load - 0.08 * swing) + room + drift + 0.4 * noise[2]
        pressure = own(3, 6) * (0.5 + 0.9 * load) * (1 - 0.01 * drift) + 0.04 * noise[3]
        current = own(20, 60) * (0.25 + 0.8 * load) * (1 + 0.008 * noise[4])
        return np.stack([vibration, temperature, pressure, current], axis=1)


def _plant(fault: Fault, values: np.ndarray, random: np.random.Generator) -> None:
    """Change these readings in place."""
    size = random.uniform()
    match fault:
        case Fault.SPIKE:
            values[:, VIBRATION] *= 1.5 + size
        case Fault.STUCK:
            signal = random.integers(len(SIGNALS))
            values[:, signal] = values[0, signal]
        case Fault.DRIFT:
            values[:, TEMPERATURE] += np.linspace(0, 8 + 8 * size, len(values))
        case Fault.STEP:
            values[:, PRESSURE] *= 0.85 - 0.15 * size
        case Fault.IMBALANCE:
            values[:, CURRENT] *= 1.06 + 0.06 * size
            values[:, PRESSURE] *= 0.94 - 0.06 * size
