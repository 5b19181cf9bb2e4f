"""What people are notified of: rows that one can check by eye."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.contract.domain import Failure, Tally
from shared.contract.publishing.sinks import SinkKind
from shared.contract.reasons import Outcome, Reason
from shared.contract.windows import Window
from shared.publishing.notices import (
    NotifyOptions,
    find_stuck,
    is_too_old,
    mark_run,
    notice_run,
    notice_stuck,
    notice_unstuck,
    retry_notice,
)
from shared.state.notices import Notice, NoticeKind
from shared.state.publications import Publication, PublicationState
from shared.state.runs import Phase, Run

NOON = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
WINDOW = Window(datetime(2026, 11, 21, 11, tzinfo=UTC), HOUR)
WELL = Run(WINDOW, Phase.SUCCEEDED, NOON, models=100, tally=Tally(scored=100, rows=6000))
FEW = replace(WELL, phase=Phase.PARTIAL, tally=Tally(scored=95, failed=5))
MANY = replace(
    FEW,
    tally=Tally(scored=94, failed=6),
    failures=(Failure(Reason.UNREADABLE_MODEL, Outcome.FAILED, 6, "pump-1", "truncated\nfile"),),
)
FAILED = replace(WELL, phase=Phase.FAILED, tally=Tally(failed=100), message="none of 100 models was scored")
MISSED = replace(WELL, phase=Phase.MISSED, tally=Tally(), message="too late to catch up")
CANCELLED = replace(WELL, phase=Phase.CANCELLED, tally=Tally(cancelled=100))
OPTIONS = NotifyOptions(is_set=True, above=5.0)
LINE, SHARE = "Run 20261121T1100Z-PT1H", "94 of 100 models scored, 6 failed"
AGAIN = f"{LINE} is well again"


@pytest.mark.parametrize(
    ("run", "earlier", "kind", "text"),
    [
        (WELL, None, None, ""),
        (WELL, FEW, None, ""),
        (WELL, CANCELLED, None, ""),
        (FEW, None, None, ""),
        (CANCELLED, FAILED, None, ""),
        (MANY, None, NoticeKind.PARTIAL, f"{LINE} is partial: {SHARE}; most often unreadable_model: truncated file"),
        (FAILED, FAILED, NoticeKind.FAILED, f"{LINE} failed: none of 100 models was scored"),
        (MISSED, None, NoticeKind.MISSED, f"{LINE} was missed: too late to catch up"),
        (WELL, FAILED, None, ""),  # nobody was notified of it, or it has recovered since
        (WELL, replace(FAILED, alarmed=True), NoticeKind.RECOVERED, f"{AGAIN}: 100 of 100 models scored, 0 failed"),
        (FEW, replace(MANY, alarmed=True), NoticeKind.RECOVERED, f"{AGAIN}: 95 of 100 models scored, 5 failed"),
        (FEW, replace(MISSED, alarmed=True), NoticeKind.RECOVERED, f"{AGAIN}: 95 of 100 models scored, 5 failed"),
        (replace(CANCELLED, alarmed=True), None, None, ""),
    ],
)  # fmt: skip
def test_a_run_is_worth_a_notification(run: Run, earlier: Run | None, kind: NoticeKind | None, text: str) -> None:
    notice = notice_run(run, earlier, OPTIONS, NOON)

    assert notice == (None if kind is None else Notice(f"{run.id}-0-{kind}", kind, run.id, text, NOON))


def test_a_run_that_a_redrive_has_mended_has_recovered_once() -> None:
    notice = notice_run(FAILED, None, OPTIONS, NOON)
    run = mark_run(FAILED, notice)
    assert run == replace(FAILED, alarmed=True)

    ids = []
    for number, result in enumerate((CANCELLED, FEW, WELL), 1):
        run = replace(result, round=number, alarmed=run.alarmed)
        notice = notice_run(run, replace(FAILED, alarmed=True), OPTIONS, NOON)
        run = mark_run(run, notice)
        ids.append(notice.id if notice else None)

    assert ids == [None, "20261121T1100Z-PT1H-2-run_recovered", None]
    assert not run.alarmed


def test_each_round_that_goes_badly_is_told_once() -> None:
    ids = [notice.id for number in (0, 1) if (notice := notice_run(replace(FAILED, round=number), None, OPTIONS, NOON))]

    assert ids == ["20261121T1100Z-PT1H-0-run_failed", "20261121T1100Z-PT1H-1-run_failed"]


def test_a_sink_is_stuck_when_a_run_waits_for_an_hour() -> None:
    waiting = Publication(SinkKind.DELTA, WELL.id, 0, 0, since=NOON, asked_at=NOON - HOUR)
    entries = [
        waiting,
        replace(waiting, run="20261121T0900Z-PT1H", asked_at=NOON - 2 * HOUR, reason="sink_full", message="no space"),
        replace(waiting, sink=SinkKind.SQL, asked_at=NOON - timedelta(minutes=59)),
        replace(waiting, sink=SinkKind.SQL, asked_at=NOON - 9 * HOUR, state=PublicationState.DONE),
    ]

    stuck = find_stuck(entries, SinkKind.DELTA, NOON)

    assert stuck == entries[1]
    assert find_stuck(entries, SinkKind.SQL, NOON) is None
    assert notice_stuck(stuck, NOON).text == (
        "Sink delta is stuck: run 20261121T0900Z-PT1H waits since 2026-11-21 10:05 UTC: sink_full: no space"
    )
    assert notice_unstuck(SinkKind.DELTA, NOON, NOON).text == "Sink delta takes runs again"


def test_a_tick_that_is_repeated_notifies_of_a_sink_by_the_same_id() -> None:
    waiting = Publication(SinkKind.DELTA, WELL.id, 0, 0, since=NOON, asked_at=NOON - HOUR)

    stuck = [notice_stuck(waiting, NOON + delay).id for delay in (timedelta(), timedelta(minutes=1))]
    well = [notice_unstuck(SinkKind.DELTA, NOON, NOON + delay).id for delay in (timedelta(), timedelta(minutes=1))]

    assert stuck == ["delta-20261121T110500Z-20261121T1100Z-PT1H-stuck"] * 2
    assert well == ["delta-20261121T120500Z-recovered"] * 2


def test_a_notification_that_could_not_be_sent_waits_longer_each_time_and_is_dropped_after_a_day() -> None:
    notice = Notice("n", NoticeKind.FAILED, WELL.id, "text", NOON)
    waits, now = [], NOON
    while not is_too_old(notice, now):
        notice = retry_notice(notice, now)
        waits.append((notice.not_before - now) // timedelta(minutes=1))
        now = notice.not_before

    assert waits[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert timedelta(days=1) <= now - NOON < timedelta(hours=25)
