"""When the clocks of a zone change. Pure: `zoneinfo` has no list of the changes, so they are searched for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo

from shared.contract.windows import parse_zone

FIRST, END = datetime(1900, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)  # beyond them offsets do not change

_STEP = timedelta(days=4)  # no two changes of a zone's clocks were ever so near to each other
_SECOND = timedelta(seconds=1)


def is_utc(zone: str) -> bool:
    """Whether times without an offset need no conversion: without a zone they are UTC."""
    return zone in ("", "UTC")


def find_changes(zone: tzinfo, first: datetime, end: datetime) -> Iterator[tuple[datetime, timedelta]]:
    """Each change of the clocks after *first*, and the offset after it; up to *end*, and at most four days more."""
    instant, offset = first, read_offset(first, zone)
    while instant < end:
        later = instant + _STEP
        offset_later = read_offset(later, zone)
        if offset_later != offset:
            low, high = instant, later
            while high - low > _SECOND:
                middle = low + (high - low) // 2 // _SECOND * _SECOND
                low, high = (middle, high) if read_offset(middle, zone) == offset else (low, middle)
            yield high, offset_later
        instant, offset = later, offset_later


def read_offset(instant: datetime, zone: tzinfo) -> timedelta:
    """How far the clocks of *zone* are ahead of UTC."""
    return instant.astimezone(zone).utcoffset() or timedelta()


def find_first_pass(start: datetime, end: datetime, zone: str) -> datetime:
    """Where reading has to begin, so that rows of a time that is shown twice come after those of its first pass.

    It is *start*, or before it where the range from *start* to *end* has a part of a second pass. Raises Malformed for
    a zone that is not known.
    """
    if is_utc(zone):
        return start
    clocks, begin = parse_zone(zone), start
    first = FIRST if start < FIRST + _STEP else start - _STEP
    offset = read_offset(first, clocks)
    for instant, offset_after in find_changes(clocks, first, min(end, END)):
        shift = offset - offset_after  # above 0 where the clocks are set back
        if shift > timedelta() and instant < end and instant + shift > start:
            begin = min(begin, instant - shift)
        offset = offset_after
    return begin
