"""Which windows are due, and which are missed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.contract.windows import EPOCH, Window

from .schedule import Schedule

CATCH_UP_LIMIT = 24  # windows that may wait; older ones are missed


class CatchUp(StrEnum):
    """What happens to windows that became due during an outage."""

    ALL = "all"  # the newest CATCH_UP_LIMIT windows are scored, oldest first
    LATEST = "latest"  # only the newest window is scored


@dataclass(frozen=True, slots=True)
class DueWindows:
    """The windows that became due since the watermark: the missed ones in one or two ranges, and those that wait."""

    missed: tuple[Window, ...]
    waiting: tuple[Window, ...]


def find_due_windows(
    schedule: Schedule,
    length: timedelta,
    watermark: datetime | None,
    now: datetime,
    catch_up: CatchUp,
    origin: datetime = EPOCH,
    wait_limit: timedelta = timedelta(),
) -> DueWindows:
    """The windows to open, oldest first, and the missed ones. One of all windows begins at *origin*.

    None is missed that became due less than *wait_limit* ago: it may wait for its readings.

    A closed window becomes due at the schedule's first instant at or after its end. So a window is due if it ends no
    later than the schedule's last instant: early, late, repeated or missed ticks change nothing.
    """
    if watermark is not None and now < watermark + length:
        return DueWindows((), ())  # no further window has closed
    newest_end = Window.containing(schedule.last_fire(now), length, origin).start
    if watermark is None:
        return DueWindows((), (Window(newest_end - length, length),))
    missed = []
    first = Window.containing(watermark, length, origin).start
    if first < watermark:  # length or origin changed: a window from before the watermark would score rows twice
        first += length
        if first <= newest_end:
            missed.append(Window(watermark, first - watermark))
    count = max(0, (newest_end - first) // length)
    may_wait = (newest_end - Window.containing(schedule.last_fire(now - wait_limit), length, origin).start) // length
    keep = min(count, may_wait + (CATCH_UP_LIMIT if catch_up is CatchUp.ALL else 1))
    if count > keep:
        missed.append(Window(first, (count - keep) * length))
    waiting = tuple(Window(newest_end - n * length, length) for n in range(keep, 0, -1))
    return DueWindows(tuple(missed), waiting)
