"""Windows: the ranges of readings that runs score; the notation of their lengths, and of time zones. Pure."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .errors import Malformed

DAY = timedelta(days=1)
WEEK = 7 * DAY
MINUTE = timedelta(minutes=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # a Thursday's midnight: windows tile from here if no other origin is given
MONDAY = EPOCH + 4 * DAY  # 5 January 1970, the first Monday

_LENGTH = re.compile(r"P(?:(?P<days>\d{1,4})D)?(?:T(?=\d)(?:(?P<hours>\d{1,6})H)?(?:(?P<minutes>\d{1,7})M)?)?")
_WINDOW = re.compile(r"(?P<start>\d{8}T\d{4}Z)-(?P<length>P[0-9DTHM]+)")


def parse_length(text: str) -> timedelta:
    """An ISO 8601 duration of whole minutes, `PT15M`, `PT1H` or `P1D`; raises Malformed."""
    match = _LENGTH.fullmatch(text)
    length = timedelta(**{unit: int(n) for unit, n in match.groupdict(default="0").items()}) if match else timedelta()
    if not length:
        raise Malformed(f"expected an ISO 8601 duration of whole minutes such as PT1H, got {text!r}")
    return length


def format_length(length: timedelta) -> str:
    """The one spelling of a length: `PT90M` for an hour and a half, `PT1H`, `P1D`."""
    if length % DAY == timedelta():
        return f"P{length // DAY}D"
    if length % timedelta(hours=1) == timedelta():
        return f"PT{length // timedelta(hours=1)}H"
    return f"PT{length // MINUTE}M"


def parse_origin(text: str) -> datetime:
    """The start of a window, by its date: midnight in UTC. Raises Malformed."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise Malformed(f"expected a date such as 1970-01-05, which was a Monday, got {text!r}") from None
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def parse_zone(name: str) -> ZoneInfo:
    """The zone of an IANA name; raises Malformed."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of the database is an OSError
        raise Malformed(f"expected a time zone by its IANA name such as Europe/Berlin or UTC, got {name!r}") from None


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A half-open range of readings, [start, start + length), in UTC. Its id is that of the run."""

    start: datetime
    length: timedelta

    @property
    def end(self) -> datetime:
        """The first instant after the window."""
        return self.start + self.length

    @property
    def previous(self) -> Window:
        """The window of the same length that ends where this one starts."""
        return Window(self.start - self.length, self.length)

    @property
    def id(self) -> str:
        """`20261121T0700Z-PT1H`: sorts by start."""
        return _format_id(self.start, self.length)

    @classmethod
    def parse(cls, text: str) -> Window:
        """The inverse of `id`; raises Malformed."""
        match = _WINDOW.fullmatch(text)
        try:
            if match is None:
                raise ValueError
            start = datetime.strptime(match["start"], "%Y%m%dT%H%MZ").replace(tzinfo=UTC)
            window = cls(start, parse_length(match["length"]))
            _ = window.end  # the last years of the calendar overflow
        except (ValueError, OverflowError):
            raise Malformed(f"expected a window such as 20261121T0700Z-PT1H, got {text!r}") from None
        return window

    @classmethod
    def containing(cls, instant: datetime, length: timedelta, origin: datetime = EPOCH) -> Window:
        """The tile of *length* that contains *instant*; one of the tiles begins at *origin*."""
        return cls(instant - (instant - origin) % length, length)


def parse_edge(text: str) -> Window:
    """A window by its id; an instant is a window without length. Raises Malformed."""
    with suppress(Malformed):
        return Window.parse(text)
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is None:
            raise ValueError
        return Window(instant.astimezone(UTC), timedelta())
    except (ValueError, OverflowError):
        raise Malformed(
            "expected a window such as 20261121T0700Z-PT1H, or an instant with its offset such as 2026-11-21T07:00Z, "
            f"got {text!r}"
        ) from None


@lru_cache(maxsize=4096)  # a tick asks for the same few ids thousands of times
def _format_id(start: datetime, length: timedelta) -> str:
    return f"{start:%Y%m%dT%H%MZ}-{format_length(length)}"
