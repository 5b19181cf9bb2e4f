"""The times of a fleet's rows: in UTC, or by clocks in the night in which they are set back."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.contract.windows import Window
from tests.truth.fleets import Fleet

HOUR, NIGHT = Window.parse("20261121T0700Z-PT1H"), Window.parse("20261024T2300Z-PT4H")
# Of the night, in minutes: the clocks show the hour from 2:00 to 3:00 twice. The window begins at 1:00.
_FIRST_ROW, _STEP, _DOUBLED, _DOUBLED_END, _START = 100, 10, 120, 180, 60


def get_window(fleet: Fleet) -> Window:
    """The window that all rows are in, whatever the pass of their times."""
    return NIGHT if fleet.zone else HOUR


def format_time(fleet: Fleet, minute: int) -> str:
    """The time of a row as its file has it, without an offset where the fleet has a zone."""
    if not fleet.zone:
        return f"2026-11-21T07:{minute:02}:00Z"
    shown = _FIRST_ROW + _STEP * minute
    return f"2026-10-25T{shown // 60:02}:{shown % 60:02}:00"


@dataclass(slots=True)
class Clocks:
    """Tells the instants of rows that come in their order: where times of a key step back, the second pass begins."""

    fleet: Fleet
    last: dict[object, int] = field(default_factory=dict)  # by key: the last time within the doubled hour
    second: set[object] = field(default_factory=set)  # keys whose second pass has begun
    doubled: dict[object, int] = field(default_factory=dict)  # by key: rows within that hour

    def find_minute(self, key: object, minute: int) -> int:
        """The instant of a row of *key*, in minutes since the window's start."""
        if not self.fleet.zone:
            return minute
        shown = _FIRST_ROW + _STEP * minute
        if not _DOUBLED <= shown < _DOUBLED_END:
            return shown - _START if shown < _DOUBLED else shown
        if shown < self.last.get(key, shown):
            self.second.add(key)
        self.last[key] = shown
        self.doubled[key] = self.doubled.get(key, 0) + 1
        return shown if key in self.second else shown - _START

    def count_unknown(self) -> int:
        """Rows of which nothing tells the pass."""
        return sum(count for key, count in self.doubled.items() if key not in self.second)
