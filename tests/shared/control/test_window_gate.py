"""Windows wait for their readings: one by one, until they are complete or their limit has passed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.adapters.memory import MemoryBlobs, MemoryCluster, MemoryLedger, MemoryStopwatch
from shared.adapters.memory_sinks import MemoryNotifier, MemorySinkLedger
from shared.contract.errors import Unavailable
from shared.contract.windows import Window
from shared.control.loop import ControlPlane
from shared.control.options import ControlOptions
from shared.planning.completeness import WaitFor
from shared.planning.due_windows import CatchUp
from shared.state.requests import SCHEDULE, Backfill, Request, RequestKind, Scope
from shared.state.runs import Heartbeat, Phase, Run, Waited

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MARKED, MOVED_ON = WaitFor.parse("marker:_SUCCESS"), WaitFor.parse("next-folder")


class Readings(MemoryBlobs):
    """Counts what is listed; may refuse it."""

    def __init__(self) -> None:
        super().__init__("memory://readings")
        self.listed: list[str] = []
        self.error: Unavailable | None = None

    def list_names(self, prefix: str, limit: int) -> Sequence[str]:
        self.listed.append(prefix)
        if self.error:
            raise self.error
        return super().list_names(prefix, limit)

    def read(self, name: str) -> bytes:
        raise AssertionError(name)


@dataclass
class Site:
    """An app that has decided all windows up to 11:00, or nothing."""

    wait_for: WaitFor = MARKED
    watermark: datetime | None = NOON - HOUR
    max_open_runs: int = 9
    catch_up: CatchUp = CatchUp.ALL

    def __post_init__(self) -> None:
        self.readings, self.ledger = Readings(), MemoryLedger()
        self.ledger.save_heartbeat(Heartbeat(watermark=self.watermark, node_schema=2))
        options = ControlOptions(
            max_open_runs=self.max_open_runs, wait_for=self.wait_for, wait_limit=2 * HOUR, catch_up=self.catch_up
        )
        models, work, predictions = (MemoryBlobs(f"memory://{name}") for name in ("models", "work", "predictions"))
        self.plane = ControlPlane(
            self.ledger,
            MemoryCluster(),
            models,
            self.readings,
            work,
            predictions,
            MemoryStopwatch(),
            MemorySinkLedger(),
            MemoryNotifier(),
            options,
        )

    def tick(self, now: datetime) -> dict[int, Waited | None]:
        """The hours of all runs after a tick, and how they waited."""
        self.readings.listed.clear()
        self.plane.tick(now)
        runs = [run for run in self.ledger.list_runs(100).items if run.phase is not Phase.MISSED]
        return {int((run.window.start - NOON) / HOUR) + 12: run.waited for run in reversed(runs)}

    def mark(self, *hours: int) -> None:
        for hour in hours:
            self.readings.write(f"date=2026-11-21/hour={hour:02}/_SUCCESS", b"")

    @property
    def beat(self) -> Heartbeat:
        return self.ledger.read_heartbeat()


def run_id(hour: int) -> str:
    return Window(NOON + (hour - 12) * HOUR, HOUR).id


def test_a_window_is_opened_once_its_marker_is_there() -> None:
    site = Site()
    assert site.tick(NOON + 5 * MINUTE) == {}
    assert site.readings.listed == ["date=2026-11-21/hour=11/_SUCCESS"]
    assert (site.beat.waiting, site.beat.waits_until) == (run_id(11), NOON + 2 * HOUR + 5 * MINUTE)
    assert (site.beat.watermark, site.beat.trouble) == (NOON - HOUR, "")
    site.mark(11)
    assert site.tick(NOON + 20 * MINUTE) == {11: Waited.COMPLETE}
    assert (site.beat.waiting, site.beat.waits_until, site.beat.at_limit) == ("", None, "")
    assert site.beat.watermark == NOON
    site.tick(NOON + 21 * MINUTE)
    assert site.readings.listed == []


def test_a_window_is_opened_once_writers_have_moved_on() -> None:
    site = Site(MOVED_ON)
    site.readings.write("date=2026-11-21/hour=11/a.csv", b"")
    site.readings.write("date=2026-11-21/hour=12/", b"")
    assert site.tick(NOON + 5 * MINUTE) == {}
    site.readings.write("date=2026-11-21/hour=12/a.csv", b"")
    assert site.tick(NOON + 6 * MINUTE) == {11: Waited.COMPLETE}
    assert site.readings.listed == ["date=2026-11-21/hour=12/"]


def test_at_its_limit_a_window_is_opened_and_that_is_told_until_a_later_one_was_complete(
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = Site()
    assert site.tick(NOON + 2 * HOUR + 4 * MINUTE) == {}
    with caplog.at_level(logging.ERROR):
        assert site.tick(NOON + 2 * HOUR + 5 * MINUTE) == {11: Waited.LIMIT}
    problem = "no blob date=2026-11-21/hour=11/_SUCCESS"
    assert f"run={run_id(11)} opened at the limit of its wait: {problem}" in caplog.messages
    expected = f"run {run_id(11)} was opened at WAIT_LIMIT, its readings may be incomplete: {problem}"
    assert (site.beat.at_limit, site.beat.trouble, site.beat.waiting) == (run_id(11), expected, run_id(12))
    site.tick(NOON + 2 * HOUR + 6 * MINUTE)
    assert (site.beat.at_limit, site.beat.trouble) == (run_id(11), "")
    site.mark(12)
    site.tick(NOON + 2 * HOUR + 7 * MINUTE)
    assert site.beat.at_limit == ""


def test_a_later_window_that_is_complete_is_opened_after_an_older_one_and_by_its_own_limit() -> None:
    site = Site()
    site.mark(12, 13)
    assert site.tick(NOON + 2 * HOUR + 4 * MINUTE) == {}
    assert site.readings.listed == ["date=2026-11-21/hour=11/_SUCCESS"]  # the others are not looked at
    assert site.tick(NOON + 2 * HOUR + 5 * MINUTE) == {11: Waited.LIMIT, 12: Waited.COMPLETE, 13: Waited.COMPLETE}
    assert site.beat.watermark == NOON + 2 * HOUR


def test_windows_that_wait_are_not_missed_even_where_only_the_latest_is_caught_up() -> None:
    site = Site(catch_up=CatchUp.LATEST)
    for minutes in range(5, 245, 10):
        opened = site.tick(NOON + minutes * MINUTE)
    assert opened == {11: Waited.LIMIT, 12: Waited.LIMIT}
    assert [run.phase for run in site.ledger.list_runs(100).items if run.phase is Phase.MISSED] == []


def test_the_first_window_of_all_waits_and_stays_the_first() -> None:
    site = Site(watermark=None)
    assert site.tick(NOON + 5 * MINUTE) == {}
    assert site.beat.watermark == NOON - HOUR
    site.mark(12)
    assert site.tick(NOON + HOUR + 5 * MINUTE) == {}
    assert site.tick(NOON + 2 * HOUR + 5 * MINUTE) == {11: Waited.LIMIT, 12: Waited.COMPLETE}


def test_nothing_is_listed_while_no_run_may_open() -> None:
    site = Site(max_open_runs=1)
    site.ledger.add_run(Run(Window(NOON - 2 * HOUR, HOUR), Phase.RUNNING, NOON))
    site.tick(NOON + 5 * MINUTE)
    assert site.readings.listed == []


def test_who_may_not_list_the_readings_is_told_which_right_is_missing_and_scores_at_the_limit() -> None:
    site = Site()
    site.readings.error = Unavailable("memory://readings: 403 AuthorizationPermissionMismatch.")
    assert site.tick(NOON + 5 * MINUTE) == {}
    trouble = (
        f"the readings of {run_id(11)} cannot be listed: memory://readings: 403 AuthorizationPermissionMismatch. "
        "WAIT_FOR needs the role Storage Blob Data Reader on the container of readings: waitFor in infra/ grants it"
    )
    assert (site.beat.trouble, site.beat.waiting) == (trouble, run_id(11))
    assert site.tick(NOON + 2 * HOUR + 5 * MINUTE) == {11: Waited.LIMIT}
    site.readings.error = None
    site.mark(12)
    assert site.tick(NOON + 2 * HOUR + 6 * MINUTE) == {11: Waited.LIMIT, 12: Waited.COMPLETE}


def test_who_does_not_want_to_wait_asks_for_the_run_and_the_next_window_is_looked_at() -> None:
    site = Site()
    site.tick(NOON + HOUR + 5 * MINUTE)
    site.mark(12)
    site.ledger.add_request(Request(RequestKind.RUN, run_id(11), NOON))
    assert site.tick(NOON + HOUR + 6 * MINUTE) == {11: None, 12: Waited.COMPLETE}
    assert (site.beat.waiting, site.beat.at_limit) == ("", "")


def test_a_request_that_was_taken_back_before_the_window_was_due_does_not_end_its_wait() -> None:
    site = Site()
    early = NOON - MINUTE
    cancelled = Run(Window(NOON - HOUR, HOUR), Phase.CANCELLED, early, asked_by="request", ended_at=early)
    site.ledger.add_run(cancelled)
    site.tick(NOON + 5 * MINUTE)
    assert site.beat.waiting == run_id(11)
    site.mark(11)
    assert site.tick(NOON + 6 * MINUTE) == {11: Waited.COMPLETE}


def test_backfills_do_not_wait_and_go_on_while_a_window_waits() -> None:
    site = Site()
    day = Window(NOON - 4 * HOUR, 2 * HOUR)
    site.ledger.add_backfill(Backfill("backfill-1", day, Scope.MISSING, 2, NOON, day.start))
    assert site.tick(NOON + 5 * MINUTE) == {8: None, 9: None}
    assert site.readings.listed == ["date=2026-11-21/hour=11/_SUCCESS"]


def test_a_paused_schedule_lists_nothing() -> None:
    site = Site()
    site.ledger.add_request(Request(RequestKind.PAUSE, SCHEDULE, NOON))
    site.tick(NOON + 5 * MINUTE)
    assert (site.readings.listed, site.beat.waiting) == ([], "")


def test_without_a_wait_nothing_is_listed_and_no_run_says_that_it_waited() -> None:
    site = Site(WaitFor())
    site.ledger.save_heartbeat(replace(site.beat, at_limit=run_id(10)))
    assert site.tick(NOON + 5 * MINUTE) == {11: None}
    assert (site.readings.listed, site.beat.at_limit) == ([], "")
