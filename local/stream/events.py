"""What a fleet sends, and when it arrives: late, twice and out of order, as over real networks.

A pure function of its numbers, so that what should be judged is known without looking at any file.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from local.pumps import HOUR, SIGNALS, Pump

PROMPT = timedelta(seconds=2)  # from a device to the hub, at most
DISORDER = timedelta(minutes=3)  # of events that pass others on their way, at most
LATE = timedelta(minutes=4)  # of those that come in time for the run of their hour all the same, at most
AFTER_RUN = (timedelta(minutes=12), timedelta(minutes=40))  # after the end of the hour, when its run has begun
AGAIN = timedelta(minutes=4)  # until a device sends a second time what it has no answer for, at most


class Arrival(StrEnum):
    """How an event came."""

    PROMPT = "prompt"
    DISORDERED = "out of order"
    LATE = "late"  # after the end of its hour, and before the run
    AFTER_RUN = "after the run"  # of its hour: only a further round can judge it


@dataclass(frozen=True, slots=True)
class Rates:
    """The shares of events."""

    disordered: float = 0.1
    late: float = 0.02
    after_run: float = 0.01
    doubled: float = 0.03


@dataclass(frozen=True, slots=True)
class Event:
    """A device's reading of a minute. *arrivals*: when the hub takes it, more than once where it was sent twice."""

    device: str
    time: datetime
    values: tuple[float, ...]  # in the order of SIGNALS
    arrival: Arrival
    arrivals: tuple[datetime, ...]

    @property
    def reading(self) -> dict[str, float]:
        """The values by the names of their signals."""
        return dict(zip(SIGNALS, self.values, strict=True))


@dataclass(frozen=True, slots=True)
class Simulation:
    """Some pumps over some hours."""

    pumps: Sequence[Pump]
    start: datetime
    hours: int
    rates: Rates = Rates()
    seed: int = 1

    @property
    def hour_starts(self) -> list[datetime]:
        """The start of each hour."""
        return [self.start + n * HOUR for n in range(self.hours)]

    def list_events(self) -> list[Event]:
        """All events, by the time of the reading."""
        return [event for hour in self.hour_starts for event in self._list_hour(hour)]

    def _list_hour(self, hour: datetime) -> Iterator[Event]:
        chance = random.Random(f"{self.seed}-{hour.isoformat()}")  # noqa: S311  # no secret
        rows = [(pump.id, pump.hour(hour).values) for pump in self.pumps]
        for minute in range(60):
            time = hour + timedelta(minutes=minute)
            for device, values in rows:
                arrival, first = self._draw_arrival(chance, time, hour + HOUR)
                again = chance.random() < self.rates.doubled
                arrivals = (first, first + chance.random() * AGAIN) if again else (first,)
                yield Event(device, time, tuple(values[minute].tolist()), arrival, arrivals)

    def _draw_arrival(self, chance: random.Random, time: datetime, hour_end: datetime) -> tuple[Arrival, datetime]:
        share, rates = chance.random(), self.rates
        if share < rates.after_run:
            least, most = AFTER_RUN
            return Arrival.AFTER_RUN, hour_end + least + chance.random() * (most - least)
        if share < rates.after_run + rates.late:
            return Arrival.LATE, hour_end + chance.random() * LATE
        delay = chance.random() * PROMPT
        if share < rates.after_run + rates.late + rates.disordered:
            return Arrival.DISORDERED, time + delay + chance.random() * DISORDER
        return Arrival.PROMPT, time + delay
