"""Times by the clocks of a zone -> UTC. Knows arrays, not files.

Clocks that are set forward skip times: no clock showed them, so they are invalid. Clocks that are set back show times
twice: `DoubledHours` tells by the order of a device's rows which of the two was meant.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache

import numpy as np

from shared.contract.readings.zones import END, FIRST, find_changes, is_utc, read_offset
from shared.contract.windows import EPOCH, parse_zone

NO_TIME = np.iinfo(np.int64).min  # NumPy's NaT

_MICROSECOND = timedelta(microseconds=1)
_ALWAYS = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, eq=False)
class LocalInstants:
    """Converted times, in microseconds since 1970 in UTC: NO_TIME where they are invalid or skipped.

    Of times that are shown twice they are the first, and *change* is 1 more than the index of the change of the clocks;
    else it is 0. None: there are no such times.
    """

    micros: np.ndarray
    change: np.ndarray | None  # int32
    is_skipped: np.ndarray | None  # bool


@dataclass(frozen=True, slots=True, eq=False)
class ClockChanges:
    """All changes of a zone's clocks, in microseconds."""

    at: np.ndarray  # their instants, in order
    offsets: np.ndarray  # from UTC: before the first, then after each

    @property
    def shifts(self) -> np.ndarray:
        """How far the clocks are set back by each; below 0 where they are set forward."""
        shifts: np.ndarray = self.offsets[:-1] - self.offsets[1:]
        return shifts

    def convert_local(self, local: np.ndarray) -> LocalInstants:
        """The instants of local times, which are int64 as if they were UTC, or NO_TIME."""
        lower, upper = np.minimum(self.offsets[:-1], self.offsets[1:]), np.maximum(self.offsets[:-1], self.offsets[1:])
        starts, ends = np.append(self.at + lower, _ALWAYS), self.at + upper  # of what is skipped or shown twice
        is_valid = local != NO_TIME
        if len(local) and is_valid.all():
            first, last = np.searchsorted(ends, [local.min(), local.max()], side="right")
            if first == last and local.max() < starts[first]:  # most files: one offset for all
                return LocalInstants(local - self.offsets[first], None, None)
        index = np.searchsorted(ends, local, side="right")  # of the next change
        is_changing = is_valid & (local >= starts[index])
        goes_back = np.append(self.shifts > 0, False)[index]
        is_skipped, is_doubled = is_changing & ~goes_back, is_changing & goes_back
        return LocalInstants(
            np.where(is_valid & ~is_skipped, local - self.offsets[index], NO_TIME),
            np.where(is_doubled, index + 1, 0).astype(np.int32) if is_doubled.any() else None,
            is_skipped if is_skipped.any() else None,
        )


@lru_cache(maxsize=4)
def list_changes(zone: str) -> ClockChanges:
    """The changes of a zone's clocks from 1900 to 2100. Raises Malformed for a zone that is not known."""
    changes = list(find_changes(parse_zone(zone), FIRST, END))
    first = read_offset(FIRST, parse_zone(zone))
    return ClockChanges(
        np.array([(instant - EPOCH) // _MICROSECOND for instant, _ in changes], np.int64),
        np.array([offset // _MICROSECOND for offset in (first, *(after for _, after in changes))], np.int64),
    )


def widen_range(time_range: tuple[int, int], zone: str) -> tuple[int, int]:
    """The local times that may be of a range of instants, with the whole of each hour that is shown twice."""
    if is_utc(zone):
        return time_range
    changes = list_changes(zone)
    back = max(0, int(changes.shifts.max(initial=0)))
    return time_range[0] + int(changes.offsets.min()) - back, time_range[1] + int(changes.offsets.max()) + back


@dataclass(slots=True)
class _Passes:
    """What is known of the rows of one device and sensor in one hour that is shown twice."""

    last: int = NO_TIME  # the time of the last row, as one of the first pass
    steps_back: int = 0
    near: int = 0  # rows that are in the window in one of the passes


@dataclass(slots=True)
class DoubledHours:
    """The hours that clocks show twice, over all files of a window in their order.

    Where the times of a device (and sensor) step back within such an hour, the second pass begins there.
    """

    passes: dict[tuple[int, ...], _Passes] = field(default_factory=dict)  # by device, sensor and change

    @property
    def unknown(self) -> int:
        """Rows of which nothing tells the pass: they were read as the first."""
        return sum(passes.near for passes in self.passes.values() if not passes.steps_back)

    @property
    def unordered(self) -> int:
        """Rows of devices whose times step back more than once within such an hour."""
        return sum(passes.near for passes in self.passes.values() if passes.steps_back > 1)

    def move_second(
        self,
        micros: np.ndarray,
        change: np.ndarray,
        keys: tuple[np.ndarray, np.ndarray | None],
        zone: str,
        time_range: tuple[int, int],
    ) -> None:
        """Change *micros*, the rows of a table in its order, where they are of the second pass.

        *keys*: the device and sensor of each row, below 0 for none; rows without a device stay. A table without sensors
        has None, which is the same as none in each row. Tables come in order.
        """
        (rows,) = np.nonzero((change > 0) & (keys[0] >= 0))
        if not len(rows):
            return
        sensor = np.full(len(rows), -1) if keys[1] is None else keys[1][rows]
        labels = np.stack([keys[0][rows], sensor, change[rows]])
        distinct, group = np.unique(labels, axis=1, return_inverse=True)
        group = group.reshape(-1)
        order = np.argsort(group, kind="stable")
        rows, group = rows[order], group[order]
        time, shift = micros[rows], list_changes(zone).shifts[change[rows] - 1]
        passes = [self.passes.setdefault(tuple(key), _Passes()) for key in distinct.T.tolist()]
        starts = np.searchsorted(group, np.arange(len(passes)))
        before = np.concatenate([[NO_TIME], time[:-1]])
        before[starts] = [entry.last for entry in passes]
        is_back = time < before
        total = np.cumsum(is_back)
        steps = total + (np.array([entry.steps_back for entry in passes]) - (total - is_back)[starts])[group]
        second = np.where(steps > 0, time + shift, time)
        near = _is_within(time, time_range) | _is_within(time + shift, time_range)
        ends = np.append(starts[1:], len(rows)) - 1
        nears = np.add.reduceat(near.astype(np.int64), starts)
        for entry, end, count in zip(passes, ends.tolist(), nears.tolist(), strict=True):
            entry.last, entry.steps_back = int(time[end]), int(steps[end])
            entry.near += count
        micros[rows] = second


def _is_within(micros: np.ndarray, time_range: tuple[int, int]) -> np.ndarray:
    is_within: np.ndarray = (micros >= time_range[0]) & (micros < time_range[1])
    return is_within
