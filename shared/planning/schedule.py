"""Schedules: the instants that an NCRONTAB text names on the clocks of a zone. Instants are UTC. Pure.

The Functions host reads `HEARTBEAT`, and only this app reads `SCHEDULE`: both are read here as the host reads them,
so that one text never means two things. The host's timer extension hands the text to the .NET library NCrontab
(3.3.3: `CrontabFieldImpl.cs`, `CrontabField.cs`); it splits on blanks, and five fields mean second 0. Differences
from Unix cron, and from croniter alone:

- a day of the month and a day of the week must both match;
- `22-2` means `2-22`, not the night;
- `5/15` is 5, 20, 35, 50; a step longer than its range gives the first value only;
- a name may be abbreviated (`mon`, `Sept`, even `j`, which is January); Sunday is 0, and 7 is refused.

Four texts that the host accepts are refused here, since they do not do what they seem to: a step of 0 (the host
steps by 1), a sign before a number, a date that no year has (the host waits for ever), and a time span such as
`00:05:00` (it counts from the last call, not by the clock, and not every hosting plan supports it).

The text is read as local time; croniter works without zones here and gives local times, which the standard library
converts to instants. Where clocks change, no named time is lost, and some may fire twice:

- a local time that is skipped fires later by the length of the change: 02:30 at 03:30, when 02:00 became 03:00;
- a local time that is repeated fires both times.
"""

from __future__ import annotations

import re
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter

from shared.contract.errors import Malformed
from shared.contract.windows import DAY, EPOCH, parse_zone

_SECOND = timedelta(seconds=1)
_ITEM = re.compile(r"(?:\*|(?P<first>\w{1,9})(?:-(?P<last>\w{1,9}))?)(?:/(?P<step>\d{1,9}))?", re.ASCII)
_TIME_SPAN = re.compile(r"[\d.:]+:[\d.:]+", re.ASCII)
_MONTHS = "January February March April May June July August September October November December"
_WEEKDAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday"


@dataclass(frozen=True, slots=True)
class _Field:
    """What one field of the text may hold: a number from *low* to *high*, or a name of one."""

    noun: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def parse_values(self, text: str) -> set[int]:
        """The numbers that *text* names; raises ValueError."""
        return {value for item in text.split(",") for value in self._parse_item(item)}

    def _parse_item(self, text: str) -> range:
        match = _ITEM.fullmatch(text)
        step = int(match["step"] or 1) if match else 0
        if match is None or step == 0:
            raise ValueError(text)
        if match["first"] is None:
            return range(self.low, self.high + 1, step)
        first = self._parse_value(match["first"])
        if match["last"] is None:
            return range(first, (self.high if match["step"] else first) + 1, step)
        low, high = sorted((first, self._parse_value(match["last"])))
        return range(low, high + 1, step)

    def _parse_value(self, text: str) -> int:
        matches = (self.low + place for place, name in enumerate(self.names) if name.lower().startswith(text.lower()))
        value = int(text) if text.isdecimal() else next(matches, -1)
        if not self.low <= value <= self.high:
            raise ValueError(text)
        return value


_FIELDS = (
    _Field("seconds from 0 to 59", 0, 59),
    _Field("minutes from 0 to 59", 0, 59),
    _Field("hours from 0 to 23", 0, 23),
    _Field("days of the month from 1 to 31", 1, 31),
    _Field("months from 1 to 12 or by name", 1, 12, tuple(_MONTHS.split())),
    _Field("days of the week from 0 (Sunday) to 6 or by name", 0, 6, tuple(_WEEKDAYS.split())),
)


def _parse_fields(text: str) -> str:
    """*text* with six fields, each a list of numbers; raises Malformed."""
    if _TIME_SPAN.fullmatch(text.strip()):
        raise Malformed(
            f"expected a schedule in NCRONTAB such as 0 */5 * * * * (every five minutes), got the time span {text!r}"
        )
    words = [word for word in text.split(" ") if word]
    if len(words) not in (5, 6):
        raise Malformed(
            "expected a schedule of 5 fields (minute, hour, day, month, day of the week) or of 6 (the second before "
            f"them), got {len(words)} in {text!r}"
        )
    lists = []
    for kind, word in zip(_FIELDS, ["0"] * (6 - len(words)) + words, strict=True):
        try:
            lists.append(",".join(map(str, sorted(kind.parse_values(word)))))
        except ValueError:
            raise Malformed(f"expected {kind.noun}, as in 1 or 1-5 or 1,5 or */2, got {word!r} in {text!r}") from None
    return " ".join(lists)


@lru_cache(maxsize=64)
def _start_crontab(lists: str, start: datetime) -> croniter:
    return croniter(lists, start, ret_type=datetime, day_or=False, second_at_beginning=True)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something is due. Raises Malformed for a text that the Functions host would refuse or misread."""

    text: str
    zone: str = "UTC"
    _crontab: croniter = field(init=False, repr=False, compare=False)  # never moved: `_beside` moves copies
    _zone: ZoneInfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read the text, and check that there is an instant: 30 February has none."""
        object.__setattr__(self, "_crontab", _start_crontab(_parse_fields(self.text), EPOCH))
        object.__setattr__(self, "_zone", parse_zone(self.zone))
        try:
            self.next_fire(EPOCH)
        except CroniterBadDateError:
            raise Malformed(
                f"expected a schedule with a date that exists, got only days that no such month has in {self.text!r}"
            ) from None

    def next_fire(self, now: datetime) -> datetime:
        """The first instant after *now*."""
        candidates: list[datetime] = []
        walls = self._start_croniter(min(self._list_walls(now)))
        while True:
            wall = walls.get_next()
            candidates += [instant for instant in self._list_instants(wall) if instant > now]
            # A later local time may still be an earlier instant, but not once it is after all local times nearby.
            if candidates and wall >= max(self._list_walls(min(candidates))):
                return min(candidates)

    def last_fire(self, now: datetime) -> datetime:
        """The last instant at or before *now*. There is always one: the rarest dates return within 40 years."""
        candidates: list[datetime] = []
        walls = self._start_croniter(max(self._list_walls(now)) + _SECOND)
        while True:
            wall = walls.get_prev()
            candidates += [instant for instant in self._list_instants(wall) if instant <= now]
            if candidates and wall <= min(self._list_walls(max(candidates))):
                return max(candidates)

    def _list_walls(self, instant: datetime) -> list[datetime]:
        """The local times of *instant* by the offsets of now, a day before and a day after.

        No clock change was ever greater than a day. A local time is a datetime that is marked as UTC and is not.
        """
        offsets = [(instant + days * DAY).astimezone(self._zone).utcoffset() for days in (-1, 0, 1)]
        return [instant + offset for offset in offsets if offset is not None]

    def _list_instants(self, wall: datetime) -> set[datetime]:
        """The instants of a local time: two where it is repeated, else one."""
        first, second = (wall.replace(tzinfo=self._zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        return {first, max(first, second)}  # of a local time that is skipped, the first is the later one

    def _start_croniter(self, wall: datetime) -> croniter:
        """A croniter at this local time, in whole seconds: it counts in floats, and fractions could mislead it."""
        walls = copy(self._crontab)  # reading the text again would take longer than all the rest
        walls.set_current(wall.replace(microsecond=0), force=True)
        return walls
