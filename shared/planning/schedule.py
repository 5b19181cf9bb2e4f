"""Schedules: the instants that an NCRONTAB text names on the clocks of a zone. Instants are UTC. Pure.

The Functions host judges `HEARTBEAT`, and nobody but us judges `SCHEDULE`: both are read here as the host reads them,
so that one text never means two things. The host's timer extension hands the text to the .NET library NCrontab
(3.3.3: `CrontabFieldImpl.cs`, `CrontabField.cs`); it splits on blanks, and five fields mean second 0. What may surprise
those who know Unix cron, and what croniter alone would read otherwise:

- a day of the month and a day of the week must both match;
- `22-2` is a range the wrong way round and means `2-22`, not the night;
- `5/15` is 5, 20, 35, 50; a step longer than its range leaves the first value;
- a name may be cut short (`mon`, `Sept`, even `j`, which is January); Sunday is 0, and 7 is refused.

Four texts that the host takes are refused here, since they do not do what their author means: a step of 0 (the host
steps by 1), a sign before a number, a date that no year has (the host waits for ever), and a time span such as
`00:05:00` (it counts from the last call, not by the clock, and not every plan takes it).

The text is read as local time; croniter knows no zones here and finds times on the wall, which the standard library
turns into instants. Where clocks change, no time that is named gets lost, and some hour may ring once more:

- a time that clocks skip fires as far after the change as it was meant to: 02:30 at 03:30, when 02:00 became 03:00;
- a time that clocks repeat fires both times.
"""

from __future__ import annotations

import re
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterBadDateError, croniter

from shared.contract.errors import Malformed
from shared.contract.windows import DAY, EPOCH

_SECOND = timedelta(seconds=1)
_ITEM = re.compile(r"(?:\*|(?P<first>\w{1,9})(?:-(?P<last>\w{1,9}))?)(?:/(?P<step>\d{1,9}))?", re.ASCII)
_TIME_SPAN = re.compile(r"[\d.:]+:[\d.:]+", re.ASCII)
_MONTHS = "January February March April May June July August September October November December"
_WEEKDAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday"


@dataclass(frozen=True, slots=True)
class _Field:
    """What one place of the text may hold: a number from *low* to *high*, or a name that stands for one."""

    noun: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def values(self, text: str) -> set[int]:
        """The numbers that *text* names; raises ValueError."""
        return {value for item in text.split(",") for value in self._item(item)}

    def _item(self, text: str) -> range:
        found = _ITEM.fullmatch(text)
        step = int(found["step"] or 1) if found else 0
        if found is None or step == 0:
            raise ValueError(text)
        if found["first"] is None:
            return range(self.low, self.high + 1, step)
        first = self._value(found["first"])
        if found["last"] is None:
            return range(first, (self.high if found["step"] else first) + 1, step)
        low, high = sorted((first, self._value(found["last"])))
        return range(low, high + 1, step)

    def _value(self, text: str) -> int:
        named = (self.low + place for place, name in enumerate(self.names) if name.lower().startswith(text.lower()))
        value = int(text) if text.isdecimal() else next(named, -1)
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


def _parse(text: str) -> str:
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
            lists.append(",".join(map(str, sorted(kind.values(word)))))
        except ValueError:
            raise Malformed(f"expected {kind.noun}, as in 1 or 1-5 or 1,5 or */2, got {word!r} in {text!r}") from None
    return " ".join(lists)


def parse_zone(name: str) -> ZoneInfo:
    """The zone of an IANA name; raises Malformed."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of the database is an OSError
        raise Malformed(f"expected a time zone by its IANA name such as Europe/Berlin or UTC, got {name!r}") from None


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
        """Reads the text, and looks for one instant: there is none on 30 February."""
        object.__setattr__(self, "_crontab", _start_crontab(_parse(self.text), EPOCH))
        object.__setattr__(self, "_zone", parse_zone(self.zone))
        try:
            self.next_fire(EPOCH)
        except CroniterBadDateError:
            raise Malformed(
                f"expected a schedule with a date that comes to pass, got only days that no such month has in "
                f"{self.text!r}"
            ) from None

    def next_fire(self, now: datetime) -> datetime:
        """The first instant after *now*."""
        found: list[datetime] = []
        walls = self._beside(min(self._walls(now)))
        while True:
            wall = walls.get_next()
            found += [instant for instant in self._instants(wall) if instant > now]
            # A later time on the wall may still be an earlier instant, but not once no clock nearby shows it before.
            if found and wall >= max(self._walls(min(found))):
                return min(found)

    def last_fire(self, now: datetime) -> datetime:
        """The last instant at or before *now*. There always is one: the rarest dates come back within 40 years."""
        found: list[datetime] = []
        walls = self._beside(max(self._walls(now)) + _SECOND)
        while True:
            wall = walls.get_prev()
            found += [instant for instant in self._instants(wall) if instant <= now]
            if found and wall <= min(self._walls(max(found))):
                return max(found)

    def _walls(self, instant: datetime) -> list[datetime]:
        """What clocks show at *instant* that go as ours do, or did a day before, or will a day after.

        No change of clocks was ever greater than a day. A time on the wall is a datetime that says UTC and is not.
        """
        offsets = [(instant + days * DAY).astimezone(self._zone).utcoffset() for days in (-1, 0, 1)]
        return [instant + offset for offset in offsets if offset is not None]

    def _instants(self, wall: datetime) -> set[datetime]:
        """The instants of a time on the wall: two where clocks repeat it, else one."""
        first, second = (wall.replace(tzinfo=self._zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        return {first, max(first, second)}  # of a time that is skipped, the first reading is the later one

    def _beside(self, wall: datetime) -> croniter:
        """All instants are whole seconds, so fractions of one only could mislead croniter, which counts in floats."""
        walls = copy(self._crontab)  # to read the text again would take longer than all the rest
        walls.set_current(wall.replace(microsecond=0), force=True)
        return walls
