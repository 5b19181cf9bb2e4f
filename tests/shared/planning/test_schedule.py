from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contract.errors import Malformed
from shared.planning.schedule import Schedule

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


FIRES = [  # the text, now, the last instant at or before now, the next one after it; 21 November 2026 is a Saturday
    ("0 5 * * * *", "2026-11-21 07:04:59.999999", "2026-11-21 06:05", "2026-11-21 07:05"),
    ("0 5 * * * *", "2026-11-21 07:05:00", "2026-11-21 07:05", "2026-11-21 08:05"),
    ("0 5 * * * *", "2026-11-21 07:05:00.000001", "2026-11-21 07:05", "2026-11-21 08:05"),
    ("5 * * * *", "2026-11-21 07:05:00", "2026-11-21 07:05", "2026-11-21 08:05"),
    ("  0  5 * * * * ", "2026-11-21 07:05:00", "2026-11-21 07:05", "2026-11-21 08:05"),
    ("* * * * * *", "2026-11-21 07:05:00.5", "2026-11-21 07:05:00", "2026-11-21 07:05:01"),
    ("*/100 * * * * *", "2026-11-21 07:05:30", "2026-11-21 07:05", "2026-11-21 07:06"),
    ("0 5/15 * * * *", "2026-11-21 07:04", "2026-11-21 06:50", "2026-11-21 07:05"),
    ("0 0 10-20/4 * * *", "2026-11-21 18:30", "2026-11-21 18:00", "2026-11-22 10:00"),
    ("0 0 22-2 * * *", "2026-11-21 23:30", "2026-11-21 22:00", "2026-11-22 02:00"),  # croniter alone: the night
    ("0 0 0 13 * fri", "2026-11-21", "2026-11-13", "2027-08-13"),  # both must match; Unix cron: either
    ("0 0 0 13 * FRIDAY", "2026-11-21", "2026-11-13", "2027-08-13"),
    ("0 0 0 * * 0", "2026-11-21", "2026-11-15", "2026-11-22"),
    ("0 0 0 * * mon-fri", "2026-11-21 12:00", "2026-11-20", "2026-11-23"),
    ("0 0 0 1 j *", "2026-11-21", "2026-01-01", "2027-01-01"),  # the first name that begins so
    ("0 0 0 1 Sept,mar-Ap *", "2026-11-21", "2026-09-01", "2027-03-01"),
    ("0 0 0 1 nov/1 *", "2026-11-21", "2026-11-01", "2026-12-01"),
    ("0 0 0 31 * *", "2026-11-21", "2026-10-31", "2026-12-31"),
    ("0 0 0 29 2 *", "2026-11-21", "2024-02-29", "2028-02-29"),
    ("0 0 0 29 2 1", "2026-11-21", "2016-02-29", "2044-02-29"),
    ("0 0 0 29 feb thu", "2090-01-01", "2080-02-29", "2120-02-29"),  # 2100 has no such day: the longest wait there is
]


@pytest.mark.parametrize(("text", "now", "last", "following"), FIRES)
def test_a_schedule_fires_when_the_functions_host_would(text: str, now: str, last: str, following: str) -> None:
    schedule = Schedule(text)
    assert (schedule.last_fire(at(now)), schedule.next_fire(at(now))) == (at(last), at(following))


APIA = "Pacific/Apia"  # had no 30 December 2011: it went from the east of the date line to its west
BERLIN = "Europe/Berlin"
LORD_HOWE = "Australia/Lord_Howe"  # half an hour
NEW_YORK = "America/New_York"

ZONED = [  # as FIRES, with a zone before the instants, which are UTC
    ("0 5 * * * *", "Asia/Kolkata", "2026-11-21 07:00", "2026-11-21 06:35", "2026-11-21 07:35"),
    ("0 30 6 * * *", BERLIN, "2026-03-28 12:00", "2026-03-28 05:30", "2026-03-29 04:30"),
    ("0 30 6 * * *", BERLIN, "2026-10-24 12:00", "2026-10-24 04:30", "2026-10-25 05:30"),
    ("0 0 0 29 feb thu", BERLIN, "2090-01-01", "2080-02-28 23:00", "2120-02-28 23:00"),
    # 02:00 becomes 03:00 at 01:00 UTC: 02:30 fires at 03:30
    ("0 30 2 * * *", BERLIN, "2026-03-29 01:29:59.9", "2026-03-28 01:30", "2026-03-29 01:30"),
    ("0 30 2 * * *", BERLIN, "2026-03-29 01:30", "2026-03-29 01:30", "2026-03-30 00:30"),
    ("0 30 2 29 3 *", BERLIN, "2026-03-29 01:45", "2026-03-29 01:30", "2027-03-29 00:30"),
    ("0 30 2,3 * * *", BERLIN, "2026-03-29 01:30", "2026-03-29 01:30", "2026-03-30 00:30"),
    ("0 10,30 2,3 * * *", BERLIN, "2026-03-29 01:00", "2026-03-28 02:30", "2026-03-29 01:10"),
    ("0 5 * * * *", BERLIN, "2026-03-29 01:00", "2026-03-29 00:05", "2026-03-29 01:05"),
    ("0 30 2 * * *", NEW_YORK, "2026-03-08 07:29", "2026-03-07 07:30", "2026-03-08 07:30"),
    ("0 15 2 * * *", LORD_HOWE, "2026-10-03 15:44", "2026-10-02 15:45", "2026-10-03 15:45"),
    ("0 15 2 * * *", LORD_HOWE, "2026-10-03 15:45", "2026-10-03 15:45", "2026-10-04 15:15"),
    # 03:00 becomes 02:00 at 01:00 UTC: 02:30 fires both times
    ("0 30 2 * * *", BERLIN, "2026-10-25 00:29", "2026-10-24 00:30", "2026-10-25 00:30"),
    ("0 30 2 * * *", BERLIN, "2026-10-25 00:30", "2026-10-25 00:30", "2026-10-25 01:30"),
    ("0 30 2 * * *", BERLIN, "2026-10-25 01:30", "2026-10-25 01:30", "2026-10-26 01:30"),
    ("0 10,40 2 * * *", BERLIN, "2026-10-25 00:20", "2026-10-25 00:10", "2026-10-25 00:40"),
    ("0 10,40 2 * * *", BERLIN, "2026-10-25 01:20", "2026-10-25 01:10", "2026-10-25 01:40"),
    ("0 5 * * * *", BERLIN, "2026-10-25 01:00", "2026-10-25 00:05", "2026-10-25 01:05"),
    ("0 30 1 * * *", NEW_YORK, "2026-11-01 05:45", "2026-11-01 05:30", "2026-11-01 06:30"),
    ("0 45 1 * * *", LORD_HOWE, "2026-04-04 15:00", "2026-04-04 14:45", "2026-04-04 15:15"),
    # a day that never was
    ("0 0 12 30 12 *", APIA, "2011-12-30 21:59", "2010-12-30 22:00", "2011-12-30 22:00"),
    ("0 0 12 30 12 *", APIA, "2011-12-30 22:00", "2011-12-30 22:00", "2012-12-29 22:00"),
    ("0 0 12 * * *", APIA, "2011-12-30 12:00", "2011-12-29 22:00", "2011-12-30 22:00"),
    ("0 0 12 * * *", APIA, "2011-12-30 22:00", "2011-12-30 22:00", "2011-12-31 22:00"),
]


@pytest.mark.parametrize(("text", "zone", "now", "last", "following"), ZONED)
def test_a_schedule_goes_by_the_clocks_of_its_zone(text: str, zone: str, now: str, last: str, following: str) -> None:
    schedule = Schedule(text, zone)
    fires = schedule.last_fire(at(now)), schedule.next_fire(at(now))
    assert fires == (at(last), at(following))
    assert [fire.tzinfo for fire in fires] == [UTC, UTC]


CHANGES = [  # where and when clocks change, and by how many minutes
    (BERLIN, "2026-03-29 01:00", 60),
    (BERLIN, "2026-10-25 01:00", -60),
    (NEW_YORK, "2026-03-08 07:00", 60),
    (NEW_YORK, "2026-11-01 06:00", -60),
    (LORD_HOWE, "2026-10-03 15:30", 30),
    (LORD_HOWE, "2026-04-04 15:00", -30),
    (APIA, "2011-12-30 10:00", 24 * 60),
    ("Asia/Kolkata", "2026-03-29 01:00", 0),
]


@pytest.mark.parametrize(("zone", "change", "minutes"), CHANGES)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_forwards_and_backwards_through_a_change_of_clocks_a_schedule_names_the_same_instants(
    zone: str, change: str, minutes: int, data: st.DataObject
) -> None:
    past = data.draw(st.lists(st.integers(0, 59), min_size=1, max_size=2, unique=True), label="minutes")
    hours = data.draw(st.one_of(st.just(list(range(24))), st.lists(st.integers(0, 23), min_size=1, max_size=3)))
    schedule = Schedule(f"{','.join(map(str, past))} {','.join(map(str, hours))} * * *", zone)
    changed, skipped = at(change), timedelta(minutes=minutes)
    before, after = ((changed - wait).astimezone(ZoneInfo(zone)).utcoffset() for wait in (SECOND, timedelta()))
    assert before is not None
    assert after == before + skipped

    def fires(instant: datetime) -> bool:
        shown = [instant.astimezone(ZoneInfo(zone))]
        if changed <= instant < changed + skipped:
            shown.append(instant + before)  # by a clock that nobody has put forward
        return any(wall.minute in past and wall.hour in hours for wall in shown)

    start, end = changed - DAY, changed + 2 * DAY
    span = [start + n * timedelta(minutes=1) for n in range((end - start) // timedelta(minutes=1))]
    expected = [instant for instant in span if fires(instant)]
    forwards = [schedule.next_fire(start - SECOND)]
    while forwards[-1] < end:
        forwards.append(schedule.next_fire(forwards[-1]))
    assert forwards[:-1] == expected
    backwards = [schedule.last_fire(end - SECOND)]
    while backwards[-1] >= start:
        backwards.append(schedule.last_fire(backwards[-1] - SECOND))
    assert backwards[-2::-1] == expected
    now = data.draw(st.sampled_from(span), label="now") + data.draw(st.timedeltas(timedelta(), timedelta(minutes=1)))
    assert schedule.last_fire(now) <= now < schedule.next_fire(now)
    assert schedule.next_fire(schedule.last_fire(now)) == schedule.next_fire(now)


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "Europe", "../UTC", "/UTC", "CEST", "UTC+1", "zone.tab", "\0"])
def test_a_zone_that_is_none_is_refused(zone: str) -> None:
    with pytest.raises(Malformed) as caught:
        Schedule("0 5 * * * *", zone)
    told = f"expected a time zone by its IANA name such as Europe/Berlin or UTC, got {zone!r}"
    assert str(caught.value) == told


REFUSED = [  # the text, and what the message says was wanted and found
    ("", "got 0 in"),
    ("* * * *", "got 4 in"),
    ("* * * * * * *", "got 7 in"),
    ("@hourly", "got 1 in"),
    ("%HEARTBEAT%", "got 1 in"),
    ("00:05:00", "got the time span '00:05:00'"),
    ("1.00:00:00", "got the time span"),
    ("0 5 * * * 7", "expected days of the week from 0 (Sunday) to 6 or by name, as in 1 or 1-5 or 1,5 or */2, got '7'"),
    ("0 5 * * * 5-7", "got '5-7' in '0 5 * * * 5-7'"),
    ("0 0 0 * * 1#2", "got '1#2'"),
    ("0 0 0 * * 5L", "got '5L'"),
    ("0 0 0 L * *", "days of the month from 1 to 31"),
    ("0 0 0 15W * *", "got '15W'"),
    ("0 0 0 ? * *", "got '?'"),
    ("0 0 0 0 * *", "days of the month"),
    ("0 0 0 32 * *", "days of the month"),
    ("0 0 0 * 0 *", "months from 1 to 12"),
    ("0 0 0 * 13 *", "months from 1 to 12"),
    ("0 0 0 * smarch *", "got 'smarch'"),
    ("0 0 0 * mon *", "got 'mon'"),
    ("0 0 0 * * januaryx", "got 'januaryx'"),
    ("0 0 0 jan * *", "got 'jan'"),
    ("60 * * * * *", "seconds from 0 to 59"),
    ("* 60 * * * *", "minutes from 0 to 59"),
    ("* * 24 * * *", "hours from 0 to 23"),
    ("60 * * * *", "minutes from 0 to 59"),
    ("*/0 * * * * *", "got '*/0'"),
    ("*/-5 * * * * *", "got '*/-5'"),
    ("*/+5 * * * * *", "got '*/+5'"),
    ("*/5/2 * * * * *", "got '*/5/2'"),
    ("*/ * * * * *", "got '*/'"),
    ("/5 * * * * *", "got '/5'"),
    ("-5 * * * * *", "got '-5'"),
    ("5- * * * * *", "got '5-'"),
    ("1-2-3 * * * * *", "got '1-2-3'"),
    ("*-5 * * * * *", "got '*-5'"),
    ("1,,2 * * * * *", "got '1,,2'"),
    ("1, * * * * *", "got '1,'"),
    (",1 * * * * *", "got ',1'"),
    ("** * * * * *", "got '**'"),
    ("5_0 * * * * *", "got '5_0'"),
    ("0x5 * * * * *", "got '0x5'"),
    ("\u0665 * * * * *", "got '\u0665'"),
    ("9999999999 * * * * *", "got '9999999999'"),
    ("1.5 * * * * *", "got '1.5'"),
    ("h * * * * *", "got 'h'"),  # croniter alone: a random second
    ("0\t5 * * * * *", "got '0\\t5'"),
    ("0\t5\t*\t*\t*\t*", "got 1 in"),
    ("0 0 0 30 2 *", "only days that no such month has in '0 0 0 30 2 *'"),
    ("0 0 0 31 4,6,9,11 *", "only days that no such month has"),
    ("0 0 0 30-31 feb mon", "only days that no such month has"),
]


@pytest.mark.parametrize(("text", "said"), REFUSED)
def test_what_the_host_refuses_or_misreads_is_refused_with_what_was_wanted_and_found(text: str, said: str) -> None:
    with pytest.raises(Malformed) as caught:
        Schedule(text)
    assert said in str(caught.value)
    assert str(caught.value).startswith("expected ")


def test_two_schedules_of_one_text_and_zone_are_equal() -> None:
    assert Schedule("0 5 * * * *") == Schedule("0 5 * * * *")
    assert Schedule("0 5 * * * *") != Schedule("0 6 * * * *")
    assert Schedule("0 5 * * * *") == Schedule("0 5 * * * *", "UTC") != Schedule("0 5 * * * *", BERLIN)


def numbers(low: int, high: int) -> st.SearchStrategy[list[int]]:
    one = st.integers(low, high)
    return st.one_of(st.just(list(range(low, high + 1))), st.lists(one, min_size=1, max_size=4, unique=True))


FIELDS = st.tuples(numbers(0, 59), numbers(0, 59), numbers(0, 23), numbers(1, 31), numbers(1, 12), numbers(0, 6))
NOWS = st.datetimes(datetime(1999, 12, 1), datetime(2101, 2, 1), timezones=st.just(UTC))  # noqa: DTZ001  # st's bounds


def matches(fields: tuple[list[int], ...], instant: datetime) -> bool:
    parts = (instant.second, instant.minute, instant.hour, instant.day, instant.month, instant.isoweekday() % 7)
    return all(part in allowed for part, allowed in zip(parts, fields, strict=True))


def walk(fields: tuple[list[int], ...], start: datetime, step: timedelta) -> datetime:
    """The first match from *start* on, tried day by day, then second by second: slow, and sure."""
    everywhen = (list(range(60)), list(range(60)), list(range(24)))
    days = 0
    while True:
        if matches((*everywhen, *fields[3:]), start):
            date = start.date()
            while start.date() == date:
                if matches(fields, start):
                    return start
                start += step
        else:
            edge = start.replace(hour=0, minute=0, second=0)
            start = edge + DAY if step > timedelta() else edge - SECOND
        days += 1
        assert days < 41 * 366


@settings(max_examples=25, deadline=None)
@given(FIELDS, NOWS)
def test_a_schedule_agrees_with_walking_through_the_calendar(fields: tuple[list[int], ...], now: datetime) -> None:
    if min(fields[3]) > 28 and fields[4] != list(range(1, 13)):
        fields = (*fields[:3], [*fields[3], 28], *fields[4:])  # impossible dates are refused: another test
    schedule = Schedule(" ".join(",".join(map(str, values)) for values in fields))
    whole = now.replace(microsecond=0)
    assert schedule.last_fire(now) == walk(fields, whole, -SECOND)
    assert schedule.next_fire(now) == walk(fields, whole + SECOND, SECOND)
