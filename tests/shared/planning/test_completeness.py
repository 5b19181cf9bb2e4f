"""What a window waits for, what shows it, and when its wait is over."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.contract.errors import Malformed
from shared.contract.windows import MINUTE, Window
from shared.planning.completeness import Sign, Wait, WaitFor, decide_wait, find_wait_end
from shared.planning.due_windows import CatchUp, find_due_windows
from shared.planning.schedule import Schedule
from shared.state.runs import Waited

HOURS = "date=%Y-%m-%d/hour=%H/"
HOUR = timedelta(hours=1)
MARKED, MOVED_ON = WaitFor.parse("marker:_SUCCESS"), WaitFor.parse("next-folder")


def test_what_to_wait_for_is_read_as_it_is_meant() -> None:
    assert (MARKED, MOVED_ON, WaitFor.parse("")) == (WaitFor("_SUCCESS"), WaitFor(next_folder=True), WaitFor())
    assert [each.is_set for each in (MARKED, MOVED_ON, WaitFor())] == [True, True, False]


@pytest.mark.parametrize("text", ["marker", "marker:", "marker:a/b", "marker:..", "marker:%H", "next", "next-folder "])
def test_what_cannot_be_waited_for_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match=f"expected marker:NAME, such as marker:_SUCCESS, or next-folder, got '{text}'"):
        WaitFor.parse(text)


@pytest.mark.parametrize(
    ("wait_for", "pattern", "window", "zone", "prefixes"),
    [
        (MARKED, HOURS, "20261121T2300Z-PT1H", "", ["date=2026-11-21/hour=23/_SUCCESS"]),
        (MARKED, HOURS, "20261121T2200Z-PT2H", "",
         ["date=2026-11-21/hour=23/_SUCCESS", "date=2026-11-21/hour=22/_SUCCESS"]),
        (MARKED, "%Y/%m/%d/", "20261121T2300Z-PT1H", "", ["2026/11/21/_SUCCESS"]),
        (MARKED, "%Y%m%d%H%M/", "20261121T0758Z-PT1M", "", ["202611210758/_SUCCESS"]),
        (MOVED_ON, HOURS, "20261121T2200Z-PT2H", "", ["date=2026-11-22/hour=00/"]),
        (MOVED_ON, HOURS, "20261121T0715Z-PT15M", "", ["date=2026-11-21/hour=08/"]),
        (MOVED_ON, "%Y-%m.csv", "20261121T0700Z-PT1H", "", ["2026-12.csv"]),
        # The clocks show the hour twice: folders of its first pass are read too, so they have to be complete.
        (MARKED, "%d-%H/", "20261025T0100Z-PT1H", "Europe/Berlin", ["25-01/_SUCCESS", "25-00/_SUCCESS"]),
        (MOVED_ON, "%d-%H/", "20261025T0100Z-PT1H", "Europe/Berlin", ["25-02/"]),
    ],
)  # fmt: skip
def test_what_is_listed_is_of_the_window_or_of_the_folder_after_it(
    wait_for: WaitFor, pattern: str, window: str, zone: str, prefixes: list[str]
) -> None:
    assert [sign.prefix for sign in wait_for.list_signs(pattern, Window.parse(window), zone)] == prefixes


@pytest.mark.parametrize(
    ("sign", "names", "is_met"),
    [
        (Sign("a/", "a/_SUCCESS"), ["a/_SUCCESS", "a/_SUCCESS.crc"], True),
        (Sign("a/", "a/_SUCCESS"), ["a/_SUCCESS.crc"], False),
        (Sign("a/", "a/_SUCCESS"), [], False),
        (Sign("a/"), ["a/", "a/pump1/"], False),  # markers of folders, as portals leave them
        (Sign("a/"), ["a/", "a/pump1/", "a/pump1/0.csv"], True),
        (Sign("a/"), ["a/_temporary/0"], True),  # somebody writes there
        (Sign("a/"), [], False),
        (Sign("2026-12.csv", "2026-12.csv"), ["2026-12.csv"], True),
        (Sign("2026-12.csv", "2026-12.csv"), ["2026-12.csv.tmp"], False),
    ],
)
def test_a_sign_is_a_blob_of_that_name_or_any_blob_of_the_folder(sign: Sign, names: list[str], *, is_met: bool) -> None:
    assert sign.is_met(names) is is_met


def test_people_are_told_what_is_missing() -> None:
    assert [Sign("a/", "a/_SUCCESS").describe(), Sign("a/").describe()] == ["no blob a/_SUCCESS", "no blob in a/"]


@pytest.mark.parametrize(
    ("wait_for", "pattern", "length", "problem"),
    [
        (MARKED, HOURS, HOUR, ""),
        (MARKED, "%Y/%m/%d/", HOUR, ""),
        (MARKED, "%Y/%j/%H/", HOUR, ""),
        (MARKED, "%Y/%m/", HOUR, ""),
        (MOVED_ON, "%Y-%m.csv", HOUR, ""),
        (WaitFor(), "{device}/%H.csv", HOUR, ""),
        (MARKED, "{device}/%Y/%m/%d/", HOUR,
         "expected a READINGS_PATH without {...} and *, which is not supported yet, got '{device}/%Y/%m/%d/'"),
        (MOVED_ON, "*/%Y/%m/%d/", HOUR,
         "expected a READINGS_PATH without {...} and *, which is not supported yet, got '*/%Y/%m/%d/'"),
        (MOVED_ON, "", HOUR, "expected a READINGS_PATH that names each folder once in all years, got ''"),
        (MARKED, "all/", HOUR, "expected a READINGS_PATH that names each folder once in all years, got 'all/'"),
        (MOVED_ON, "%H/", HOUR, "expected a READINGS_PATH that names each folder once in all years, got '%H/'"),
        (MOVED_ON, "%m/%d/", HOUR, "expected a READINGS_PATH that names each folder once in all years, got '%m/%d/'"),
        (MOVED_ON, "%Y/%H/", HOUR, "expected a READINGS_PATH that names each folder once in all years, got '%Y/%H/'"),
        # A weekday is of each week of the month, an hour of 12 is shown twice a day, and ISO weeks are of ISO years.
        *[(MOVED_ON, path, HOUR, f"expected a READINGS_PATH that names each folder once in all years, got {path!r}")
          for path in ("%Y/%m/%a/", "%Y/%a/", "%Y/%m/%d/%I/", "%Y/%V/", "%G/%m/", "%Y/%d/", "%Y/%m/%d/%M/", "%c/",
                       "%m/%d/%H%%Y/")],
        *[(MOVED_ON, path, HOUR, "")
          for path in ("%F/%H/", "%Y/%m/%d-%a/%H/", "%Y/%b/%d/%I%p/", "%G/%V/%u/", "%Y/%W/%w/%H/", "%Y/%-m/%-d/",
                       "%y%j/%H/", "100%%/%Y/%m/")],
        (MARKED, "%Y-%m.csv", HOUR,
         "expected a READINGS_PATH of folders, which ends in /, for marker:_SUCCESS, got '%Y-%m.csv'"),
        # The next folder is so far that no run looks for it: a window would wait for itself, or for nothing.
        (MOVED_ON, "%Y/", HOUR,
         "expected a READINGS_PATH that names another folder within a month, such as %Y/%m/, got '%Y/'"),
        (MARKED, "%Y/", HOUR,
         "expected a READINGS_PATH that names another folder within a month, such as %Y/%m/, got '%Y/'"),
        (MOVED_ON, "%Y.csv", 24 * HOUR,
         "expected a READINGS_PATH that names another folder within a month, such as %Y/%m/, got '%Y.csv'"),
        (MOVED_ON, "%Y/", 7 * 24 * HOUR,
         "expected a READINGS_PATH that names another folder within a month, such as %Y/%m/, got '%Y/'"),
        (MOVED_ON, "%Y/%m/", HOUR, ""),
        (MOVED_ON, "%Y/%m/", 7 * 24 * HOUR, ""),
        (MOVED_ON, "%Y/%W/", 24 * HOUR, ""),
        (MOVED_ON, "%Y%m%d%H%M/", HOUR, ""),
        (MOVED_ON, "%Y%m%d%H%M/", MINUTE, ""),
        (MARKED, HOURS, 4 * 24 * HOUR, ""),
        (MARKED, HOURS, 5 * 24 * HOUR, "expected a WINDOW of at most 100 folders of READINGS_PATH, got 120"),
        (MOVED_ON, HOURS, 5 * 24 * HOUR, ""),
    ],
)  # fmt: skip
def test_folders_that_show_nothing_are_refused(
    wait_for: WaitFor, pattern: str, length: timedelta, problem: str
) -> None:
    assert wait_for.find_problem(pattern, length) == problem


def test_the_wait_is_counted_from_when_the_window_became_due() -> None:
    window = Window.parse("20261121T0700Z-PT1H")
    end = datetime(2026, 11, 21, 10, 5, tzinfo=UTC)
    assert find_wait_end(Schedule("0 5 * * * *"), window, 2 * HOUR) == end
    assert find_wait_end(Schedule("0 0 9 * * *"), window, HOUR) == end - timedelta(minutes=5)
    before = end - timedelta(microseconds=1)
    assert decide_wait(end, before, is_complete=False) is Wait.GOES_ON
    assert decide_wait(end, before, is_complete=True) is Wait.COMPLETE
    assert decide_wait(end, end, is_complete=False) is Wait.LIMIT
    assert decide_wait(end, end, is_complete=True) is Wait.COMPLETE


def test_a_run_records_how_a_wait_has_ended_and_nothing_of_one_that_was_not_asked_for() -> None:
    assert [wait.waited for wait in (Wait.NOT_ASKED, Wait.GOES_ON, Wait.COMPLETE, Wait.LIMIT)] == [
        *(None, None, Waited.COMPLETE, Waited.LIMIT),
    ]


@pytest.mark.parametrize(
    ("catch_up", "wait_hours", "first_kept"),
    [
        (CatchUp.ALL, 0, 24),  # hours before the last due window's end
        (CatchUp.ALL, 30, 54),
        (CatchUp.LATEST, 0, 1),
        (CatchUp.LATEST, 2, 3),  # two may wait still, and one does no longer
    ],
)
def test_a_window_that_may_still_wait_is_not_missed(catch_up: CatchUp, wait_hours: int, first_kept: int) -> None:
    now = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
    noon = now.replace(minute=0)
    due = find_due_windows(
        Schedule("0 5 * * * *"), HOUR, noon - 100 * HOUR, now, catch_up, wait_limit=wait_hours * HOUR
    )
    assert due.missed == (Window(noon - 100 * HOUR, (100 - first_kept) * HOUR),)
    assert (due.waiting[0].start, len(due.waiting)) == (noon - first_kept * HOUR, first_kept)
