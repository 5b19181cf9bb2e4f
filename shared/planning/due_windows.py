"""Which windows are due, and which are given up. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.contract.windows import Window

from .schedule import Schedule

CATCH_UP_LIMIT = 24  # windows that may wait; older ones are missed


class CatchUp(StrEnum):
    """What becomes of windows that fell due while nobody looked."""

    ALL = "all"  # the newest CATCH_UP_LIMIT are scored, oldest first
    LATEST = "latest"  # only the newest is


@dataclass(frozen=True, slots=True)
class Due:
    """The windows that fell due since the watermark: a stretch that is given up, and those that wait."""

    missed: tuple[Window, ...]
    waiting: tuple[Window, ...]


def due(schedule: Schedule, length: timedelta, watermark: datetime | None, now: datetime, catch_up: CatchUp) -> Due:
    """Which windows are to be opened, oldest first, and which will never be.

    A closed window becomes due at the schedule's first instant at or after its end. So those are due whose end is no
    later than the schedule's last instant: early, late, doubled or missed ticks change nothing.
    """
    if watermark is not None and now < watermark + length:
        return Due((), ())  # no further window has even closed
    newest_end = Window.containing(schedule.last_fire(now), length).start
    if watermark is None:
        return Due((), (Window(newest_end - length, length),))
    missed = []
    first = Window.containing(watermark, length).start
    if first < watermark:  # the length was changed: a window that began before the watermark would score rows twice
        first += length
        if first <= newest_end:
            missed.append(Window(watermark, first - watermark))
    count = max(0, (newest_end - first) // length)
    keep = min(count, CATCH_UP_LIMIT if catch_up is CatchUp.ALL else 1)
    if count > keep:
        missed.append(Window(first, (count - keep) * length))
    waiting = tuple(Window(newest_end - n * length, length) for n in range(keep, 0, -1))
    return Due(tuple(missed), waiting)
