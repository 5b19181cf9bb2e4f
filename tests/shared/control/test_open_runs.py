"""Which runs are opened: for wishes, by the schedule, for backfills; and that each is opened once."""

import logging
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.adapters.memory import MemoryBlobs, MemoryCluster, MemoryLedger, MemoryStopwatch
from shared.adapters.memory_sinks import MemoryNotifier, MemorySinkLedger
from shared.contract.domain import Tally
from shared.contract.reasons import Reason
from shared.contract.windows import Window
from shared.control.loop import ControlPlane
from shared.control.open_runs import DECISIONS, UNKNOWN_LIMIT, RunOpener, reopen_run
from shared.control.options import ControlOptions
from shared.planning.backfill import decide_window
from shared.planning.due_windows import CatchUp
from shared.planning.schedule import Schedule
from shared.state.requests import SCHEDULE, Backfill, BackfillState, Request, RequestKind, Scope
from shared.state.runs import Phase, Run
from tests.storm.fault_plan import BY_NAME, Exposed, Killed, Weather

P = Phase
HOUR = timedelta(hours=1)
NOW = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
NOON = NOW.replace(minute=0)
RULES = ControlOptions()
OVER = [p for p in P if p.terminal and p is not P.MISSED]


def window(hour: int, hours: int = 1) -> Window:
    """The window that starts at so many hours of 21 November."""
    return Window(NOON + (hour - 12) * HOUR, hours * HOUR)


TARGET = window(8).id


def run(hour: int = 8, phase: Phase = P.SUCCEEDED, *, plans: int = 1, asked_by: str = "schedule") -> Run:
    ended = NOW - HOUR if phase.terminal else None
    return Run(window(hour), phase, NOW - 2 * HOUR, asked_by, planned_at=NOW - 2 * HOUR, ended_at=ended, plans=plans)


def wish(kind: RequestKind, target: str = TARGET, at: datetime = NOW) -> Request:
    return Request(kind, target, at)


def opening(*runs: Run, rules: ControlOptions = RULES) -> RunOpener:
    ledger = MemoryLedger()
    for one in runs:
        ledger.add_run(one)
    return RunOpener(ledger, rules)


def grant(one: RunOpener, *wishes: Request, now: datetime = NOW) -> None:
    """As a tick does: the wishes are rows of the ledger, and those that are done are removed."""
    for asked in wishes:
        one.ledger.add_request(asked)
    one.grant_requests(one.ledger.list_requests(), now)


def stored(one: RunOpener, hour: int = 8) -> Run:
    return replace(one.ledger.read_run(window(hour).id), version="")


def runs(one: RunOpener) -> dict[str, Phase]:
    return {r.window.id: r.phase for r in reversed(one.ledger.list_runs(1000).items)}


def phases(*hours: int, phase: Phase = P.PLANNING) -> dict[str, Phase]:
    return {window(hour).id: phase for hour in hours}


# Wishes


def test_a_wish_for_a_run_opens_it_once() -> None:
    one = opening()
    for _ in range(2):  # the second time as if the tick was killed before the wish was removed
        grant(one, wish(RequestKind.RUN))
    assert stored(one) == Run(window(8), P.PLANNING, NOW, asked_by="request")
    assert [w.id for w in one.ledger.list_requests()] == [f"run-{TARGET}"]  # the run takes the room that there is
    one.ledger.save_run(replace(one.ledger.read_run(TARGET), phase=P.SUCCEEDED, ended_at=NOW))
    grant(one)
    assert (one.ledger.list_requests(), stored(one).phase) == ([], P.SUCCEEDED)


@pytest.mark.parametrize("phase", [P.PLANNING, P.RUNNING, *OVER])
def test_a_wish_for_a_run_that_there_is_changes_nothing(phase: Phase) -> None:
    one = opening(run(phase=phase), rules=replace(RULES, max_open_runs=2))
    grant(one, wish(RequestKind.RUN))
    assert (stored(one), one.ledger.list_requests()) == (run(phase=phase), [])


def test_a_window_that_was_missed_can_be_asked_for_after_all() -> None:
    missed = replace(run(phase=P.MISSED, plans=0), reason=Reason.TOO_LATE, message="too late")
    one = opening(missed, rules=replace(RULES, max_open_runs=2))
    for _ in range(2):
        grant(one, wish(RequestKind.RUN))
        assert (stored(one), one.ledger.list_requests()) == (Run(window(8), P.PLANNING, NOW, asked_by="request"), [])
        assert [r.id for r in one.ledger.list_watched_runs()] == [TARGET]


WITHDRAWN = Run(
    window(8), P.CANCELLED, NOW, "request", cancelled_at=NOW, ended_at=NOW, reason=Reason.CANCELLED,
    message="cancelled before it was opened",
)  # fmt: skip


def test_a_run_that_is_taken_back_before_it_began_leaves_a_row_that_says_so_and_can_be_asked_for_again() -> None:
    one = opening()
    for _ in range(2):
        grant(one, wish(RequestKind.RUN), wish(RequestKind.CANCEL))
        assert (stored(one), one.ledger.list_requests()) == (WITHDRAWN, [])
    assert one.ledger.list_watched_runs() == []
    grant(one, wish(RequestKind.RUN))
    begun = Run(window(8), P.PLANNING, NOW, asked_by="request", round=1)
    assert (stored(one), one.ledger.list_requests()) == (begun, [])
    assert [r.id for r in one.ledger.list_watched_runs()] == [TARGET]


@pytest.mark.parametrize("fault", ["killed before", "killed after"])
def test_a_tick_that_is_killed_over_a_run_that_is_taken_back_opens_it_no_more(fault: str) -> None:
    for call in range(4):
        one = opening()
        for kind in (RequestKind.RUN, RequestKind.CANCEL):
            one.ledger.add_request(wish(kind))
        weather = Weather({call: BY_NAME[fault]})
        with suppress(Killed):
            RunOpener(Exposed("ledger", one.ledger, weather), one.options).grant_requests(
                one.ledger.list_requests(), NOW
            )
        grant(one)
        one.drop_idle_requests(one.ledger.list_requests())
        assert (stored(one), one.ledger.list_requests()) == (WITHDRAWN, [])


@pytest.mark.parametrize(("minutes", "opened"), [(4, True), (5, False), (6, False)])
def test_the_schedule_opens_what_was_taken_back_before_it_fell_due_and_nothing_else(
    minutes: int, *, opened: bool
) -> None:
    at = NOON + timedelta(minutes=minutes)
    withdrawn = replace(WITHDRAWN, window=window(11), opened_at=at, cancelled_at=at, ended_at=at)
    one = opening(withdrawn, rules=replace(RULES, max_open_runs=2))
    later = NOON + timedelta(minutes=7)
    assert one.open_due_windows(window(11).start, later) == (NOON, True)
    assert stored(one, 11) == (Run(window(11), P.PLANNING, later, round=1) if opened else withdrawn)
    assert one.open_due_windows(window(11).start, later) == (NOON, True)
    assert stored(one, 11).phase is (P.PLANNING if opened else P.CANCELLED)


def test_a_wish_waits_until_there_is_room() -> None:
    one = opening(run(9, P.RUNNING), run(7, P.FAILED))
    redrive = wish(RequestKind.REDRIVE, window(7).id)
    grant(one, wish(RequestKind.RUN), redrive)
    assert (len(one.ledger.list_requests()), runs(one)) == (2, phases(7, phase=P.FAILED) | phases(9, phase=P.RUNNING))


REOPENS = [RequestKind.REDRIVE, RequestKind.REPROCESS, RequestKind.EXTEND]


@pytest.mark.parametrize("fault", ["killed before", "killed after"])
@pytest.mark.parametrize(
    "kinds", [[RequestKind.RUN], *([k] for k in REOPENS), *([RequestKind.CANCEL, k] for k in REOPENS)]
)
def test_a_tick_that_is_killed_over_a_wish_neither_loses_nor_doubles_it(kinds: list[RequestKind], fault: str) -> None:
    def granted(faults: dict[int, str]) -> tuple[list[str], Run]:
        one = opening(*([] if kinds == [RequestKind.RUN] else [run()]), rules=replace(RULES, max_open_runs=2))
        for kind in kinds:
            one.ledger.add_request(wish(kind))
        weather = Weather({call: BY_NAME[name] for call, name in faults.items()})
        with suppress(Killed):
            RunOpener(Exposed("ledger", one.ledger, weather), one.options).grant_requests(
                one.ledger.list_requests(), NOW
            )
        grant(one)  # the next tick
        assert one.ledger.list_requests() == []  # a cancel of the round before would end the next one
        return weather.calls, stored(one)

    calls, undisturbed = granted({})
    assert [granted({call: fault})[1] for call in range(len(calls))] == [undisturbed] * len(calls)


@pytest.mark.parametrize("phase", OVER)
@pytest.mark.parametrize("kind", REOPENS)
def test_a_run_that_is_over_is_given_one_round_for_one_wish(kind: RequestKind, phase: Phase) -> None:
    one = opening(run(phase=phase))
    asked = wish(kind, at=NOW - timedelta(minutes=1))
    grant(one, asked)
    first = stored(one)
    assert (first, one.ledger.list_requests()) == (
        reopen_run(run(phase=phase), kind, asked.asked_at, "request", NOW),
        [],
    )
    grant(one, asked, now=NOW + HOUR)  # killed before the wish was removed
    assert (stored(one), one.ledger.list_requests()) == (first, [])
    over = replace(one.ledger.read_run(TARGET), phase=P.PARTIAL, ended_at=NOW)
    over = replace(one.ledger.save_run(over), version="")
    grant(one, asked)  # and another host has brought it to its end since
    assert (stored(one), one.ledger.list_requests()) == (over, [])
    grant(one, replace(asked, asked_at=NOW + HOUR))  # asked for anew
    assert (stored(one).round, stored(one).phase.terminal) == (2, False)


@pytest.mark.parametrize(
    ("kind", "plans", "phase", "planned_at"),
    [
        (RequestKind.REDRIVE, 1, P.RUNNING, NOW),
        (RequestKind.REPROCESS, 1, P.RUNNING, NOW),
        (RequestKind.EXTEND, 1, P.PLANNING, None),
        (RequestKind.REDRIVE, 0, P.PLANNING, None),  # it ended before it had a plan
        (RequestKind.REPROCESS, 0, P.PLANNING, None),
        (RequestKind.EXTEND, 0, P.PLANNING, None),
    ],
)
def test_a_further_round_begins_as_a_run_does_and_keeps_what_there_is(
    kind: RequestKind, plans: int, phase: Phase, planned_at: datetime | None
) -> None:
    tally = Tally(scored=5)
    before = replace(
        run(phase=P.FAILED, plans=plans), round=2, models=9, chunks=3, tally=tally, done=9, cancelled_at=NOW,
        stopped=Reason.DEADLINE, progress_at=NOW, doubted_fleet=5, max_in_flight=3, tolerated_failures=4,
        reason=Reason.DEADLINE, message="not over", observed_at=NOW - HOUR,
    )  # fmt: skip
    read_at = NOW if kind is RequestKind.REPROCESS and plans else before.planned_at
    assert reopen_run(before, kind, NOW - HOUR, "somebody", NOW) == Run(
        window(8), phase, NOW, "somebody", round=3, redo=kind, granted=NOW - HOUR, planned_at=planned_at, plans=plans,
        read_at=read_at, models=9, chunks=3, tally=tally, observed_at=NOW - HOUR,
    )  # fmt: skip


@pytest.mark.parametrize("kind", REOPENS)
@pytest.mark.parametrize("redo", [None, *REOPENS])
@pytest.mark.parametrize("phase", [P.PLANNING, P.RUNNING])
def test_a_wish_for_a_run_that_is_open_waits_unless_it_is_open_for_that(
    phase: Phase, redo: RequestKind | None, kind: RequestKind
) -> None:
    before = replace(run(phase=phase), redo=redo, granted=NOW - HOUR)
    one = opening(before)
    grant(one, wish(kind))
    assert (stored(one), len(one.ledger.list_requests())) == (before, 0 if kind is redo else 1)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]


@pytest.mark.parametrize("kind", [RequestKind.RUN, *REOPENS])
def test_a_wish_that_somebody_wrote_wrongly_is_dropped_and_told(
    kind: RequestKind, caplog: pytest.LogCaptureFixture
) -> None:
    one = opening()
    grant(one, wish(kind, "nonsense", NOW - UNKNOWN_LIMIT), wish(RequestKind.RUN))
    assert (one.ledger.list_requests(), runs(one)) == ([], phases(8))  # it stops no other
    assert [e.partition(" dropped: ")[0] for e in errors(caplog)] == [f"request={kind}-nonsense"]


def test_a_wish_for_a_run_that_nobody_knows_is_dropped_after_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    one = opening()
    grant(one, wish(RequestKind.REDRIVE), now=NOW + UNKNOWN_LIMIT - timedelta(seconds=1))  # a read may be stale
    assert (len(one.ledger.list_requests()), errors(caplog)) == (1, [])
    grant(one, now=NOW + UNKNOWN_LIMIT)
    assert (one.ledger.list_requests(), runs(one)) == ([], {})
    assert errors(caplog) == [f"request=redrive-{TARGET} dropped: no run {TARGET}"]


def test_a_window_that_was_missed_cannot_be_redriven(caplog: pytest.LogCaptureFixture) -> None:
    one = opening(run(phase=P.MISSED))
    grant(one, wish(RequestKind.REDRIVE))
    assert (one.ledger.list_requests(), stored(one)) == ([], run(phase=P.MISSED))
    why = f"expected a run to redrive, but {TARGET} was missed: request the run itself"
    assert errors(caplog) == [f"request=redrive-{TARGET} dropped: {why}"]


def test_cancels_and_limits_without_a_run_are_forgotten() -> None:
    one = opening(run(8, P.RUNNING), run(7))
    one.ledger.add_backfill(backfill())
    kept = [
        wish(RequestKind.CANCEL), wish(RequestKind.LIMITS), wish(RequestKind.CANCEL, BACKFILL),
        wish(RequestKind.RUN, window(6).id), wish(RequestKind.CANCEL, window(6).id),
        wish(RequestKind.REDRIVE, window(7).id), wish(RequestKind.PAUSE, SCHEDULE),
    ]  # fmt: skip
    for one_wish in [*kept, wish(RequestKind.CANCEL, window(7).id), wish(RequestKind.LIMITS, "nonsense")]:
        one.ledger.add_request(one_wish)
    one.drop_idle_requests(one.ledger.list_requests())
    assert {w.id for w in one.ledger.list_requests()} == {w.id for w in kept}


# The schedule


def test_what_falls_due_is_opened_oldest_first_while_there_is_room() -> None:
    one = opening()
    assert one.open_due_windows(window(8).start, NOW) == (window(8).end, False)
    assert runs(one) == phases(8)
    assert one.open_due_windows(window(8).end, NOW) == (window(8).end, False)
    one.ledger.save_run(replace(one.ledger.read_run(TARGET), phase=P.SUCCEEDED))
    assert one.open_due_windows(window(8).end, NOW) == (window(9).end, False)
    assert runs(one) == phases(8, phase=P.SUCCEEDED) | phases(9)


def test_more_open_runs_let_slow_ones_overlap() -> None:
    one = opening(rules=replace(RULES, max_open_runs=3))
    assert one.open_due_windows(window(8).start, NOW) == (window(10).end, False)
    assert runs(one) == phases(8, 9, 10)
    one.ledger.save_run(
        replace(one.ledger.read_run(window(9).id), phase=P.SUCCEEDED)
    )  # the one in the middle is quicker
    assert one.open_due_windows(window(10).end, NOW) == (window(11).end, True)
    assert runs(one) == phases(8, 10, 11) | phases(9, phase=P.SUCCEEDED)


def test_who_comes_second_adopts_the_run_that_is_there() -> None:
    one = opening(rules=replace(RULES, max_open_runs=9))
    for _ in range(2):  # the second time as if killed before the watermark was written
        assert one.open_due_windows(window(10).start, NOW) == (window(11).end, True)
    assert runs(one) == phases(10, 11)


def test_a_window_that_was_asked_for_before_it_fell_due_is_not_opened_again() -> None:
    one = opening(run(11, P.SUCCEEDED, asked_by="request"))
    assert one.open_due_windows(window(11).start, NOW) == (NOON, True)
    assert stored(one, 11) == run(11, P.SUCCEEDED, asked_by="request")


@pytest.mark.parametrize(
    ("catch_up", "since", "missed", "first"),
    [
        (CatchUp.ALL, window(12 - 24), None, 12 - 24),
        (CatchUp.ALL, window(12 - 25), window(12 - 25), 12 - 24),
        (CatchUp.ALL, window(12 - 48), window(12 - 48, 24), 12 - 24),
        (CatchUp.LATEST, window(11), None, 11),
        (CatchUp.LATEST, window(8), window(8, 3), 11),
    ],
)
def test_what_is_too_late_is_one_row_that_says_so_once(
    catch_up: CatchUp, since: Window, missed: Window | None, first: int, caplog: pytest.LogCaptureFixture
) -> None:
    one = opening(rules=replace(RULES, catch_up=catch_up))
    watermarks = [one.open_due_windows(since.start, NOW)[0] for _ in range(2)]
    assert watermarks == [window(first).end, window(first).start]  # the second time there is no room
    assert runs(one) == ({missed.id: P.MISSED} if missed else {}) | phases(first)
    if missed:
        told = f"{missed.start:%Y-%m-%d %H:%M} to {missed.end:%Y-%m-%d %H:%M} UTC: too late to catch up"
        row = replace(one.ledger.read_run(missed.id), version="")
        assert row == Run(missed, P.MISSED, NOW, ended_at=NOW, reason=Reason.TOO_LATE, message=told)
        assert errors(caplog) == [f"run={missed.id} missed: {told}"]
        assert [r.id for r in one.ledger.list_watched_runs()] == [window(first).id]


def test_a_new_window_length_or_schedule_rewrites_no_open_run() -> None:
    one = opening(rules=replace(RULES, max_open_runs=9))
    one.open_due_windows(window(10).start, NOW)
    before = {r.id: r for r in one.ledger.list_watched_runs()}
    changed = RunOpener(
        one.ledger, replace(one.options, window=2 * HOUR, schedule=Schedule("0 30 */2 * * *"), catch_up=CatchUp.LATEST)
    )
    assert changed.open_due_windows(NOON, NOW + HOUR) == (NOON, True)
    assert changed.open_due_windows(NOON, NOW + 3 * HOUR) == (NOON + 2 * HOUR, True)
    assert {i: one.ledger.read_run(i) for i in before} == before
    assert runs(one) == phases(10, 11) | {window(12, 2).id: P.PLANNING}


# The same by whole ticks, where pauses and priorities are


def plane(**rules: object) -> ControlPlane:
    """A control plane whose fleet is empty: a run of it plans at two ticks and has failed."""
    blobs = [MemoryBlobs(f"memory://{name}") for name in ("models", "readings", "work", "predictions")]
    return ControlPlane(
        MemoryLedger(),
        MemoryCluster(),
        *blobs,
        MemoryStopwatch(),
        MemorySinkLedger(),
        MemoryNotifier(),
        replace(RULES, **rules),
    )


def test_a_pause_keeps_the_watermark_and_resume_catches_up() -> None:
    one = plane(max_open_runs=99)
    one.tick(NOW)
    assert one.ledger.read_heartbeat().watermark == NOON
    pause = wish(RequestKind.PAUSE, SCHEDULE)
    one.ledger.add_request(pause)
    one.ledger.add_request(wish(RequestKind.RUN))
    one.tick(NOW + 30 * HOUR)
    assert (one.ledger.read_heartbeat().watermark, one.ledger.read_heartbeat().ticked_at) == (NOON, NOW + 30 * HOUR)
    ids = {r.id for r in one.ledger.list_runs(99).items}
    assert ids == {window(11).id, TARGET}  # what a person asks for is opened all the same
    assert [w.kind for w in one.ledger.list_requests()] == [RequestKind.PAUSE]
    one.ledger.remove_request(pause)
    one.tick(NOW + 30 * HOUR)
    assert one.ledger.read_heartbeat().watermark == NOON + 30 * HOUR
    opened = {r.id for r in one.ledger.list_runs(99).items} - ids
    assert opened == {window(12, 6).id, *(window(hour).id for hour in range(18, 42))}  # the first is a missed stretch


def test_what_was_told_as_missed_is_not_told_again_by_a_tick_that_comes_after_a_kill() -> None:
    one = plane()
    one.ledger.save_heartbeat(replace(one.ledger.read_heartbeat(), watermark=NOON - 30 * HOUR))
    with suppress(Killed):
        replace(one, cluster=Exposed("cluster", one.cluster, Weather({0: BY_NAME["killed before"]}))).tick(NOW)
    one.tick(NOW + 2 * HOUR)
    missed = [r.window for r in one.ledger.list_runs(99).items if r.phase is P.MISSED]
    assert missed == [window(-11), window(-18, 6)]


def test_a_cancel_that_was_asked_before_a_redrive_does_not_cancel_the_redrive() -> None:
    """A person cancels a run in the beat in which it ends, and asks for a redrive in the same beat."""
    one = plane()
    one.ledger.save_heartbeat(replace(one.ledger.read_heartbeat(), watermark=NOON))
    one.ledger.add_run(run(phase=P.FAILED))
    one.ledger.add_request(wish(RequestKind.CANCEL, at=NOW - timedelta(seconds=20)))
    one.ledger.add_request(wish(RequestKind.REDRIVE, at=NOW - timedelta(seconds=10)))
    one.tick(NOW)
    again = one.ledger.read_run(TARGET)
    assert (again.round, again.cancelled_at) == (1, None)


# Backfills


BACKFILL = "backfill-1"


def backfill(
    first: int = 0, hours: int = 4, scope: Scope = Scope.MISSING, max_open: int = 2, **known: object
) -> Backfill:
    span = window(first, hours)
    made = Backfill(BACKFILL, span, scope, max_open, asked_at=NOW - HOUR, cursor=span.start)
    return replace(made, **known)  # type: ignore[arg-type]


def fill(one: RunOpener, *, in_time: bool = True, now: datetime = NOW) -> Backfill:
    one.advance_backfills(one.ledger.list_requests(), now, lambda: in_time)
    return replace(one.ledger.read_backfill(BACKFILL), version="")


def end(one: RunOpener, *hours: int) -> None:
    for hour in hours:
        one.ledger.save_run(replace(one.ledger.read_run(window(hour).id), phase=P.SUCCEEDED, ended_at=NOW))


@pytest.mark.parametrize(
    ("phase", "missing", "failed", "everything"),
    [
        (None, RequestKind.RUN, RequestKind.RUN, RequestKind.RUN),
        (P.MISSED, RequestKind.RUN, RequestKind.RUN, RequestKind.RUN),
        (P.REQUESTED, None, None, None),
        (P.PLANNING, None, None, None),  # what is under way is left alone
        (P.RUNNING, None, None, None),
        (P.SUCCEEDED, None, None, RequestKind.REPROCESS),
        (P.PARTIAL, None, RequestKind.REDRIVE, RequestKind.REPROCESS),
        (P.FAILED, None, RequestKind.REDRIVE, RequestKind.REPROCESS),
        (P.CANCELLED, None, RequestKind.REDRIVE, RequestKind.REPROCESS),
    ],
)
def test_a_backfill_decides_by_its_scope(
    phase: Phase | None, missing: RequestKind | None, failed: RequestKind | None, everything: RequestKind | None
) -> None:
    before = run(0, phase) if phase else None
    decided = [decide_window(before, scope) for scope in (Scope.MISSING, Scope.FAILED, Scope.ALL)]
    assert decided == [missing, failed, everything]
    if phase is P.REQUESTED:
        return  # such a run is a wish, and has no row
    for scope, decision in zip((Scope.MISSING, Scope.FAILED, Scope.ALL), decided, strict=True):
        one = opening(*([before] if before else []))
        one.ledger.add_backfill(backfill(hours=1, scope=scope))
        after = fill(one)
        done = {"state": BackfillState.DONE, "ended_at": NOW}
        expected = backfill(hours=1, scope=scope, cursor=window(1).start, opened=bool(decision), passed=not decision)
        assert after == replace(expected, **done)  # type: ignore[arg-type]
        match decision:
            case None:
                assert stored(one, 0) == before
            case RequestKind.RUN:
                assert stored(one, 0) == Run(window(0), P.PLANNING, NOW, asked_by=BACKFILL, granted=NOW - HOUR)
            case _:
                assert before
                assert stored(one, 0) == reopen_run(before, decision, NOW - HOUR, BACKFILL, NOW)


def test_a_backfill_opens_a_few_at_a_time_until_it_is_done() -> None:
    one = opening(run(1))
    one.ledger.add_backfill(backfill())
    assert fill(one) == backfill(cursor=window(3).start, opened=2, passed=1)
    assert fill(one) == backfill(cursor=window(3).start, opened=2, passed=1)
    end(one, 0)
    assert fill(one) == backfill(cursor=window(4).start, opened=3, passed=1)
    end(one, 2)
    done = backfill(cursor=window(4).start, opened=3, passed=1, state=BackfillState.DONE, ended_at=NOW)
    assert fill(one) == done
    assert fill(one, now=NOW + HOUR) == done
    assert runs(one) == phases(0, 1, 2, phase=P.SUCCEEDED) | phases(3)


@pytest.mark.parametrize("phase", [None, P.MISSED, P.FAILED, P.SUCCEEDED])
@pytest.mark.parametrize("over", [False, True])
def test_a_backfill_that_is_killed_before_its_cursor_moved_opens_nothing_twice(phase: Phase | None, over: bool) -> None:
    one = opening(*([run(0, phase)] if phase else []))
    one.ledger.add_backfill(backfill(hours=1, scope=Scope.ALL))
    fill(one)
    if over:  # and another host has brought the run to its end since
        end(one, 0)
    before = stored(one, 0)
    killed = replace(backfill(hours=1, scope=Scope.ALL), version=one.ledger.read_backfill(BACKFILL).version)
    one.ledger.save_backfill(killed)
    after = fill(one, now=NOW + HOUR)
    assert (stored(one, 0), after.opened, after.cursor) == (before, 1, window(1).start)


def test_a_backfill_opens_again_what_an_earlier_one_opened() -> None:
    one = opening(replace(run(0, P.PARTIAL), asked_by="backfill-0", granted=NOW - 5 * HOUR))
    one.ledger.add_backfill(backfill(hours=1, scope=Scope.FAILED))
    assert (fill(one).opened, stored(one, 0).round, stored(one, 0).asked_by) == (1, 1, BACKFILL)


def test_a_backfill_decides_no_more_than_a_hundred_windows_a_tick() -> None:
    hours = DECISIONS + 20
    one = opening(*(run(hour) for hour in range(hours)))
    one.ledger.add_backfill(backfill(hours=hours))
    assert fill(one) == backfill(hours=hours, cursor=window(DECISIONS).start, passed=DECISIONS)
    assert fill(one).state is BackfillState.DONE


def test_a_backfill_ends_when_its_windows_are_no_tiles_any_more() -> None:
    one = opening(rules=replace(RULES, window=2 * HOUR))
    one.ledger.add_backfill(backfill(hours=3, cursor=window(1).start))
    ended = backfill(hours=3, cursor=window(1).start, state=BackfillState.CANCELLED, ended_at=NOW)
    assert (fill(one), runs(one)) == (ended, {})


def test_a_backfill_waits_when_the_time_is_up() -> None:
    one = opening()
    one.ledger.add_backfill(backfill())
    assert fill(one, in_time=False) == backfill()
    assert runs(one) == {}


def test_backfills_and_the_schedule_have_bounds_of_their_own() -> None:
    one = opening(run(7, P.RUNNING))
    one.ledger.add_backfill(backfill(max_open=2))
    one.ledger.add_backfill(replace(backfill(20), id="backfill-2", max_open=1))
    fill(one)
    assert runs(one) == phases(0, 1, 20) | phases(7, phase=P.RUNNING)
    end(one, 7)
    assert one.open_due_windows(window(11).start, NOW) == (NOON, True)


def test_a_cancelled_backfill_opens_nothing_more_and_its_wish_stays_until_its_runs_are_over() -> None:
    one = opening()
    one.ledger.add_backfill(backfill())
    fill(one)
    one.ledger.add_request(wish(RequestKind.CANCEL, BACKFILL))
    over = backfill(cursor=window(2).start, opened=2, state=BackfillState.CANCELLED, ended_at=NOW)
    for hour in (0, 1):
        assert fill(one) == over
        assert [w.target for w in one.ledger.list_requests()] == [BACKFILL]
        end(one, hour)
    assert fill(one) == over
    assert one.ledger.list_requests() == []
    assert runs(one) == phases(0, 1, phase=P.SUCCEEDED)


def test_a_cancel_of_a_backfill_cancels_its_open_runs_and_no_other() -> None:
    one = plane(max_open_runs=2)
    one.ledger.save_heartbeat(replace(one.ledger.read_heartbeat(), watermark=NOON))
    one.ledger.add_run(run(10, P.PLANNING, plans=0))
    one.ledger.add_backfill(backfill())
    one.tick(NOW)
    one.ledger.add_request(wish(RequestKind.CANCEL, BACKFILL))
    one.tick(NOW + timedelta(minutes=1))
    found = {r.id: r.phase for r in one.ledger.list_runs(9).items}
    assert found == phases(0, 1, phase=P.CANCELLED) | phases(10, phase=P.FAILED)
    one.tick(NOW + timedelta(minutes=2))
    assert one.ledger.list_requests() == []
    assert one.ledger.read_backfill(BACKFILL).state is BackfillState.CANCELLED


def test_the_schedule_goes_first() -> None:
    one = plane()
    one.ledger.save_heartbeat(replace(one.ledger.read_heartbeat(), watermark=window(10).start))
    one.ledger.add_backfill(backfill(hours=1))
    opened = []
    for minute in range(10):
        one.tick(NOW + minute * timedelta(minutes=1))
        opened += [r.window.id for r in one.ledger.list_runs(9).items if r.window.id not in opened]
    assert opened == [window(hour).id for hour in (10, 11, 0)]
