"""The truth tables of a run: which chunks are tried, when it stops, how it ends."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contract.domain import Failure, Late, Part, Tally, Unmodelled
from shared.contract.outcomes import ModelResult, Outcomes
from shared.contract.reasons import Outcome, Reason
from shared.contract.report import Report
from shared.contract.summaries.predicted import LabelCount, Predicted
from shared.contract.windows import DAY, Window
from shared.ports import JobStatus
from shared.state.requests import RequestKind
from shared.state.runs import (
    CHUNK_FOLLOWS,
    PHASE_FOLLOWS,
    Attempt,
    AttemptState,
    Chunk,
    ChunkState,
    JobState,
    Phase,
    Result,
    Run,
)
from shared.tracking.observation import AttemptProgress, Observation
from shared.tracking.run_limits import RunLimits
from shared.tracking.run_tracker import Step, advance_run, find_unwanted_jobs, summarize_run
from shared.tracking.transitions import find_unsubmitted, mark_refused, mark_uncommittable

A = AttemptState
C = ChunkState
J = JobState
R = Reason

NOW = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
POLICY = RunLimits(max_in_flight=2)
RUN = Run(Window.parse("20261121T1100Z-PT1H"), Phase.RUNNING, NOW, planned_at=NOW, models=3, chunks=1)


def chunk(index: int = 0, state: ChunkState = C.WAITING, models: int = 10) -> Chunk:
    return Chunk(RUN.id, f"c{index:05d}", "abc", models, "a", "z", state=state, since=NOW)


def under_way(state: AttemptState, base: Chunk | None = None, done: int = 0) -> Chunk:
    base = base or chunk()
    states = {A.RUNNING: C.RUNNING, A.CANCELLING: C.CANCELLING, A.LOST: C.WAITING}
    attempt = Attempt(base.next_attempt, state, NOW, done=done)
    return replace(base, state=states.get(state, C.QUEUED), attempts=(attempt,), next_attempt=base.next_attempt + 1)


def committed(base: Chunk, failed: int = 0, skipped: int = 0, reason: Reason = R.ESTIMATOR_ERROR) -> Chunk:
    """A chunk that is committed; those that failed did so for one reason."""
    tally = Tally(scored=base.models - failed - skipped, failed=failed, skipped=skipped)
    failures = [Failure(reason, Outcome.FAILED, failed, "a", f"{reason} of a")] if failed else []
    failures += [Failure(R.NO_READINGS, Outcome.SKIPPED, skipped, "b", "none")] if skipped else []
    return replace(base, state=C.COMMITTED, committed=Result(1, (), tally, tuple(failures)), next_attempt=2)


def kept(base: Chunk, reason: Reason) -> Chunk:
    """A chunk of a further round that ended without a result."""
    return replace(committed(base), reason=reason, message=f"{reason} of {base.id}")


def given_up(base: Chunk, reason: Reason) -> Chunk:
    return replace(base, state=C.FAILED, reason=reason, message=f"{reason} of {base.id}", next_attempt=2)


def step(
    chunks: Sequence[Chunk], jobs: Mapping[str, JobStatus] | None = None, *, run: Run = RUN, policy: RunLimits = POLICY,
    now: datetime = NOW, unread: frozenset[str] = frozenset(),
) -> Step:  # fmt: skip
    return advance_run(run, chunks, Observation(jobs or {}, {}, {}, unread), policy, now)


def submitted(after: Step) -> list[str]:
    return [c.id for c in after.chunks if find_unsubmitted(c)]


# Which chunks are tried


def test_no_more_jobs_are_wanted_than_may_be_in_flight() -> None:
    chunks = [chunk(i) for i in range(5)]
    after = step(chunks)
    assert submitted(after) == ["c00000", "c00001"]
    assert step(after.chunks) == after
    assert submitted(step(chunks, run=replace(RUN, max_in_flight=4))) == [f"c0000{i}" for i in range(4)]


@pytest.mark.parametrize(
    ("state", "room"), [(A.SUBMITTING, 1), (A.QUEUED, 1), (A.RUNNING, 1), (A.CANCELLING, 1), (A.LOST, 2)]
)
def test_what_is_lost_takes_no_room(state: AttemptState, room: int) -> None:
    first = replace(under_way(state), losses=99)  # never tried again
    jobs = {f"fleetscore-{RUN.id}-c00000-1": JobStatus(J.RUNNING)}
    assert len([i for i in submitted(step([first, *(chunk(i) for i in range(1, 5))], jobs)) if i != "c00000"]) == room


def test_limits_that_fall_below_what_is_under_way_only_start_nothing_new() -> None:
    chunks = [under_way(A.QUEUED, chunk(i)) for i in range(3)] + [chunk(3)]
    assert step(chunks, run=replace(RUN, max_in_flight=1)).chunks[3] == chunk(3)


@pytest.mark.parametrize("reason", [R.DEADLINE, R.TOO_MANY_FAILURES, R.CIRCUIT_OPEN])
@pytest.mark.parametrize("state", [None, A.LOST])
def test_a_run_that_stops_starts_nothing_more(reason: Reason, state: AttemptState | None) -> None:
    before = under_way(state) if state else chunk()
    after = step([before], run=replace(RUN, stopped=reason))
    assert submitted(after) == []
    assert [a for a in after.chunks[0].attempts if a.state.in_flight] == []


def test_what_was_written_down_but_never_asked_for_is_not_asked_for_once_the_run_stops() -> None:
    chunks = step([chunk(i) for i in range(2)]).chunks
    after = step(chunks, run=replace(RUN, stopped=R.CIRCUIT_OPEN))
    assert ([c.state for c in after.chunks], after.cancel) == ([C.NOT_ATTEMPTED] * 2, ())


@pytest.mark.parametrize("run", [RUN, replace(RUN, cancelled_at=NOW), replace(RUN, stopped=R.DEADLINE)])
def test_a_chunk_whose_report_was_not_read_is_not_tried_again(run: Run) -> None:
    waiting = replace(chunk(), next_attempt=2, retries=1)
    assert step([waiting], run=run, unread=frozenset({waiting.id})).chunks == (waiting,)


# Jobs that no row holds


def test_a_job_that_no_row_holds_is_cancelled() -> None:
    names = {n: f"fleetscore-{RUN.id}-c00000-{n}" for n in (1, 2, 7)}
    jobs = {name: JobStatus(J.RUNNING) for name in (*names.values(), "somebody-else-s")}
    jobs[names[2]] = JobStatus(J.FAILED)  # is over
    assert step([under_way(A.RUNNING)], jobs).cancel == (names[7],)


def test_a_lost_job_that_is_seen_again_may_go_on() -> None:
    name = f"fleetscore-{RUN.id}-c00000-1"
    assert find_unwanted_jobs({name: JobStatus(J.RUNNING)}, [under_way(A.LOST)]) == ()
    assert find_unwanted_jobs({name: JobStatus(J.RUNNING)}, [under_way(A.CANCELLING)]) == (name,)


@pytest.mark.parametrize("holds", ["chosen", "committed"])
def test_the_job_that_reported_is_left_to_end_by_itself(holds: str) -> None:
    held = replace(chunk(), state=C.COMMITTED, **{holds: Result(1, (), Tally(scored=10))})
    jobs = {f"fleetscore-{RUN.id}-c00000-{n}": JobStatus(J.RUNNING) for n in (1, 2)}
    assert find_unwanted_jobs(jobs, [held]) == (f"fleetscore-{RUN.id}-c00000-2",)


# Stopping early


@pytest.mark.parametrize(
    ("opened", "planned", "now", "stopped"),
    [
        (NOW, NOW, NOW + DAY - MINUTE, None),
        (NOW, NOW, NOW + DAY, R.DEADLINE),
        (NOW - DAY, NOW, NOW, None),  # planning is not counted
        (NOW - DAY, None, NOW, R.DEADLINE),
    ],
)
def test_a_run_has_a_deadline(
    opened: datetime, planned: datetime | None, now: datetime, stopped: Reason | None
) -> None:
    run = step([under_way(A.RUNNING)], run=replace(RUN, opened_at=opened, planned_at=planned), now=now).run
    assert run.stopped is stopped
    told = f"not over 1 day, 0:00:00 after {planned or opened:%Y-%m-%d %H:%M} UTC, and stopped"
    assert run.message == (told if stopped else "")


FAILED_3 = committed(chunk(0), failed=3)
SCORED = committed(chunk(1))


@pytest.mark.parametrize(
    ("chunks", "tolerated", "own", "stopped"),
    [
        # chunks that ended,                       tolerated %, by this run's own limit
        ([FAILED_3], 100, None, False),  # off
        ([given_up(chunk(0), R.JOB_FAILED)], 100, None, False),
        ([FAILED_3], 30, None, False),  # 3 of 10: at the limit
        ([FAILED_3], 29, None, True),
        ([FAILED_3, SCORED], 15, None, False),  # 3 of 20
        ([FAILED_3, SCORED], 14, None, True),
        ([FAILED_3, chunk(1), under_way(A.RUNNING, chunk(2))], 29, None, True),  # of those that ended
        ([FAILED_3], 100, 29, True),
        ([FAILED_3], 29, 100, False),
        ([FAILED_3], 100, 0, True),
        ([SCORED], 0, None, False),
        ([committed(chunk(0), skipped=10)], 0, None, False),  # a pump that was off is no fault
        ([], 0, None, False),
        ([replace(FAILED_3, round=0), replace(SCORED, round=1)], 10, None, False),  # of an earlier round: in round 1
        ([replace(FAILED_3, round=1), replace(SCORED, round=0)], 29, None, True),
    ],
)
def test_more_failures_than_are_tolerated_stop_a_run(
    chunks: list[Chunk], tolerated: int, own: int | None, stopped: bool
) -> None:
    number = max((c.round for c in chunks), default=0)
    run = replace(RUN, models=10, round=number, redo=RequestKind.EXTEND if number else None, tolerated_failures=own)
    after = step(chunks, run=run, policy=replace(POLICY, tolerated_failures=tolerated)).run
    assert after.stopped is (R.TOO_MANY_FAILURES if stopped else None)


@pytest.mark.parametrize(("tolerated", "stopped"), [(10, False), (9, True)])
def test_a_few_models_that_failed_first_are_judged_as_if_thirty_had_ended(tolerated: int, *, stopped: bool) -> None:
    run = step([FAILED_3], run=replace(RUN, models=1_000), policy=replace(POLICY, tolerated_failures=tolerated)).run
    assert run.stopped is (R.TOO_MANY_FAILURES if stopped else None)


def test_a_run_that_is_stopped_for_failures_says_how_many_and_why() -> None:
    run = step([FAILED_3, SCORED], run=replace(RUN, models=20), policy=replace(POLICY, tolerated_failures=5)).run
    told = "3 of the first 20 models failed, 5 % are tolerated; most often: estimator_error: estimator_error of a"
    assert run.message == told


def whole(reason: Reason, index: int, models: int = 10, minute: int = 0) -> Chunk:
    """A chunk that failed whole."""
    return replace(committed(chunk(index, models=models), failed=models, reason=reason), since=NOW + minute * MINUTE)


def dead(reason: Reason, index: int, models: int = 1) -> Chunk:
    return given_up(chunk(index, models=models), reason)


ERROR = R.ESTIMATOR_ERROR


@pytest.mark.parametrize(
    ("chunks", "opens"),
    [
        ([whole(ERROR, 0), whole(ERROR, 1)], False),
        ([whole(ERROR, 0), whole(ERROR, 1), chunk(2)], False),
        ([whole(ERROR, 0), whole(ERROR, 1), whole(ERROR, 2)], True),
        ([whole(ERROR, 0), whole(ERROR, 1), whole(R.WRONG_FEATURES, 2)], False),
        ([whole(ERROR, 0), whole(ERROR, 1), committed(chunk(2), failed=9)], False),  # one was scored
        ([whole(ERROR, 0), whole(ERROR, 1), committed(chunk(2), failed=9, skipped=1)], False),
        ([whole(ERROR, 0, 9), whole(ERROR, 1), whole(ERROR, 2)], False),  # 29 models: bad pumps there are
        ([whole(ERROR, 0, 9), whole(ERROR, 1, 9), whole(ERROR, 2, 12)], True),
        ([dead(R.JOB_FAILED, 0), dead(R.JOB_FAILED, 1), dead(R.JOB_FAILED, 2)], True),  # 3 models, and yet
        ([dead(R.JOB_FAILED, 0), dead(R.JOB_FAILED, 1), dead(R.NO_REPORT, 2)], False),
        *[([dead(reason, i) for i in range(3)], True) for reason in (
            R.NO_REPORT, R.JOB_LOST, R.QUEUED_TOO_LONG, R.NO_SIGN, R.STALLED, R.RAN_TOO_LONG, R.REJECTED,
            R.COMMIT_CONFLICT)],
        # The first to end by time, then by id; what came after them changes nothing.
        ([whole(ERROR, 0, minute=1), whole(ERROR, 1, minute=2), whole(ERROR, 2, minute=3), SCORED], False),
        ([whole(ERROR, 1), whole(ERROR, 2), whole(ERROR, 3), replace(committed(chunk(0)), since=NOW + MINUTE)], True),
        ([whole(ERROR, 1), whole(ERROR, 2), whole(ERROR, 3), committed(chunk(0))], False),
        ([whole(ERROR, 1), whole(ERROR, 2), whole(ERROR, 3), committed(chunk(4))], True),
    ],
)  # fmt: skip
def test_the_circuit_opens_when_the_first_three_chunks_fail_whole_for_one_reason(
    chunks: list[Chunk], opens: bool
) -> None:
    for order in (chunks, chunks[::-1]):
        assert step(order).run.stopped is (R.CIRCUIT_OPEN if opens else None)


def test_an_open_circuit_says_why() -> None:
    run = step([dead(R.JOB_FAILED, i) for i in range(3)]).run
    assert run.message == "the first 3 chunks to end failed completely: job_failed: job_failed of c00000"


def test_chunks_of_an_earlier_round_open_no_circuit() -> None:
    chunks = [dead(R.JOB_FAILED, i) for i in range(3)]
    assert step(chunks, run=replace(RUN, round=1, redo=RequestKind.REDRIVE)).run.stopped is None


def test_a_run_is_stopped_once_and_not_after_a_cancel() -> None:
    chunks = [dead(R.JOB_FAILED, i) for i in range(3)]
    for run in (replace(RUN, stopped=R.DEADLINE, message="first"), replace(RUN, cancelled_at=NOW)):
        assert step(chunks, run=run, now=NOW + 9 * DAY).run == run


# How a run ends


CANCELLED = replace(RUN, cancelled_at=NOW)
STOPPED = replace(RUN, stopped=R.CIRCUIT_OPEN, message="the first 3 ...")


@pytest.mark.parametrize(
    ("run", "chunks", "phase", "reason", "message"),
    [
        (RUN, [committed(chunk())], Phase.SUCCEEDED, None, ""),
        (RUN, [committed(chunk(), skipped=4)], Phase.SUCCEEDED, None, ""),  # a pump that was off is no fault
        (RUN, [committed(chunk(), failed=4)], Phase.PARTIAL, None, ""),
        (RUN, [committed(chunk()), dead(R.REJECTED, 1)], Phase.PARTIAL, None, ""),
        (RUN, [committed(chunk()), chunk(1, C.NOT_ATTEMPTED)], Phase.PARTIAL, None, ""),
        (RUN, [committed(chunk(), skipped=10)], Phase.FAILED, R.NO_READINGS,  # that all were off most often is one
         "none of 3 models was scored; most often: none"),
        (RUN, [mark_refused(chunk(), "no such compute", NOW)], Phase.FAILED, R.REJECTED,
         "none of 3 models was scored; most often: no such compute"),
        (RUN, [mark_uncommittable(chunk(), "not ours", NOW, earlier_intact=True)], Phase.FAILED, R.COMMIT_CONFLICT,
         "none of 3 models was scored; most often: not ours"),
        (RUN, [chunk(0, C.NOT_ATTEMPTED)], Phase.FAILED, None, "none of 3 models was scored"),
        (RUN, [committed(chunk()), kept(chunk(1), R.COMMIT_CONFLICT)], Phase.PARTIAL, R.COMMIT_CONFLICT,
         "1 of 1 chunks keep the result of an earlier round; c00001: commit_conflict of c00001"),
        (RUN, [kept(chunk(), R.JOB_FAILED)], Phase.PARTIAL, R.JOB_FAILED,  # whatever it is that gave no result
         "1 of 1 chunks keep the result of an earlier round; c00000: job_failed of c00000"),
        (STOPPED, [kept(chunk(), R.CIRCUIT_OPEN)], Phase.FAILED, R.CIRCUIT_OPEN, "the first 3 ..."),
        (CANCELLED, [kept(chunk(), R.JOB_FAILED)], Phase.SUCCEEDED, None, ""),
        (CANCELLED, [chunk(0, C.CANCELLED)], Phase.CANCELLED, R.CANCELLED, "cancelled by request"),
        (CANCELLED, [committed(chunk()), chunk(1, C.CANCELLED)], Phase.CANCELLED, R.CANCELLED, "cancelled by request"),
        (CANCELLED, [committed(chunk())], Phase.SUCCEEDED, None, ""),  # it came too late
        (STOPPED, [dead(R.JOB_FAILED, 0), chunk(1, C.NOT_ATTEMPTED)], Phase.FAILED, R.CIRCUIT_OPEN, "the first 3 ..."),
        (STOPPED, [committed(chunk()), chunk(1, C.NOT_ATTEMPTED)], Phase.FAILED, R.CIRCUIT_OPEN, "the first 3 ..."),
    ],
)  # fmt: skip
def test_a_run_ends_as_its_chunks_did(
    run: Run, chunks: list[Chunk], phase: Phase, reason: Reason | None, message: str
) -> None:
    after = summarize_run(run, chunks, NOW)
    assert (after.phase, after.reason, after.message, after.ended_at) == (phase, reason, message, NOW)


def test_a_deadline_that_passed_while_the_last_parts_were_copied_fails_nothing() -> None:
    late = replace(RUN, stopped=R.DEADLINE, message="not over ...")
    assert summarize_run(late, [committed(chunk())], NOW).phase is Phase.SUCCEEDED


def test_only_what_was_committed_counts_as_scored() -> None:
    chosen = replace(chunk(), state=C.COMMITTING, chosen=Result(1, (), Tally(scored=10)))
    run = summarize_run(RUN, [chosen], NOW)
    assert run == replace(RUN, observed_at=NOW, progress_at=NOW, done=10, chunk_states={C.COMMITTING: 1})


def test_progress_is_what_ended_and_what_jobs_call_done() -> None:
    twice = under_way(A.LOST, done=4)
    twice = replace(twice, attempts=(*twice.attempts, Attempt(2, A.RUNNING, NOW, done=7)))
    chunks = [committed(chunk()), twice, chunk(2)]
    run = summarize_run(RUN, chunks, NOW)
    assert (run.done, run.progress_at, run.tally) == (17, NOW, Tally(scored=10))
    assert run.chunk_states == {C.COMMITTED: 1, C.WAITING: 2}
    later = summarize_run(run, chunks, NOW + MINUTE)
    assert (later.progress_at, later.observed_at) == (NOW, NOW + MINUTE)  # it stands still


@st.composite
def chunks_in_any_state(draw: st.DrawFn) -> list[Chunk]:
    chunks = []
    for i in range(draw(st.integers(1, 8))):
        models = draw(st.integers(1, 50))
        state = draw(st.sampled_from(C))
        base = replace(chunk(i, state, models), reason=R.JOB_FAILED, round=draw(st.integers(0, 1)))
        failed = draw(st.integers(0, models))
        result = committed(base, failed=failed, skipped=draw(st.integers(0, models - failed)))
        if state is C.COMMITTED:
            base = result
        elif draw(st.booleans()):  # of an earlier round
            base = replace(base, committed=result.committed)
        if state is C.COMMITTING:
            base = replace(base, chosen=result.committed)
        if state in (C.QUEUED, C.RUNNING, C.CANCELLING):
            base = under_way({C.QUEUED: A.QUEUED, C.RUNNING: A.RUNNING}.get(state, A.CANCELLING), base, done=models)
        chunks.append(replace(base, state=state))
    return chunks


@settings(deadline=None)
@given(chunks_in_any_state(), st.sampled_from([RUN, CANCELLED, STOPPED]))
def test_the_parts_always_sum_to_the_plan_s_total(chunks: list[Chunk], run: Run) -> None:
    total = sum(c.models for c in chunks)
    after = summarize_run(replace(run, models=total, chunks=len(chunks)), chunks, NOW)
    open_ones = [c for c in chunks if not c.state.terminal]
    assert after.tally.models + sum(c.models for c in open_ones) == total
    assert sum(after.chunk_states.values()) == len(chunks)
    assert after.tally.models <= after.done <= total
    assert after.phase.terminal is (not open_ones)
    for outcome in (Outcome.FAILED, Outcome.SKIPPED):
        told = sum(f.models for f in after.failures if f.outcome is outcome)
        assert told == getattr(after.tally, outcome)


def counted(base: Chunk, *devices: str) -> Chunk:
    assert base.committed
    return replace(base, committed=replace(base.committed, unmodelled=Unmodelled(len(devices), devices)))


def test_devices_without_a_model_are_summed_over_the_chunks_that_count_them_and_are_in_no_tally() -> None:
    chunks = [counted(committed(chunk(0)), "fan-1"), committed(chunk(1)), counted(committed(chunk(2)), "a", "b")]
    after = summarize_run(RUN, [*chunks, chunk(3)], NOW)
    assert (after.unmodelled, after.unmodelled_chunks) == (Unmodelled(3, ("a", "b", "fan-1")), 2)
    assert after.tally.models == 30
    assert summarize_run(after, chunks[1:2], NOW).unmodelled is None


def test_late_rows_are_summed_over_the_chunks_that_count_them() -> None:
    first, second = committed(chunk(0)), committed(chunk(1))
    assert first.committed
    counting = replace(first, committed=replace(first.committed, late=Late(2, 1, ("fan",), 3)))
    assert summarize_run(RUN, [counting, second, chunk(2)], NOW).late == Late(2, 1, ("fan",), 3)
    assert summarize_run(RUN, [second, chunk(2)], NOW).late is None


def test_a_chunk_that_is_redriven_keeps_its_count_meanwhile() -> None:
    waiting = replace(counted(committed(chunk(), failed=1), "fan"), state=C.WAITING)
    after = summarize_run(RUN, [waiting], NOW)
    assert (after.tally.models, after.unmodelled) == (0, Unmodelled(1, ("fan",)))


PREDICTED = Predicted({"classifier": 9}, 90, (LabelCount("ok", 80), LabelCount("worn", 10)))


def predicting(base: Chunk) -> Chunk:
    assert base.committed
    return replace(base, committed=replace(base.committed, predicted=PREDICTED))


def test_what_models_predicted_is_summed_over_the_chunks_that_are_over() -> None:
    detectors = committed(chunk(1))
    after = summarize_run(RUN, [predicting(committed(chunk(0))), detectors, predicting(committed(chunk(2)))], NOW)
    assert after.predicted == Predicted(
        {"classifier": 18, "detector": detectors.tally.scored},
        180 + detectors.tally.rows,
        (LabelCount("ok", 160), LabelCount("worn", 20)),
    )
    assert detectors.tally.scored > 0


def test_a_run_of_detectors_has_no_summary_and_a_chunk_that_runs_again_is_not_in_it() -> None:
    assert summarize_run(RUN, [committed(chunk(0)), chunk(1)], NOW).predicted is None
    waiting = replace(predicting(committed(chunk(), failed=1)), state=C.WAITING)
    after = summarize_run(RUN, [waiting], NOW)
    assert (after.tally.rows, after.predicted) == (0, None)
    assert waiting.predicted == PREDICTED


def test_the_labels_of_a_run_are_limited_and_no_row_is_lost() -> None:
    labels = [tuple(LabelCount(f"{i}-{j:02}", 1) for j in range(50)) for i in range(3)]
    chunks = [committed(chunk(i)) for i in range(3)]
    chunks = [
        replace(c, committed=replace(c.committed, predicted=Predicted({"classifier": 1}, 50, labels[i])))
        for i, c in enumerate(chunks)
        if c.committed
    ]
    after = summarize_run(RUN, chunks, NOW).predicted
    assert after
    assert (len(after.labels), after.other_labels) == (50, 100)


# What may follow what


def report(base: Chunk, attempt: int) -> Report:
    verdicts = Outcomes.from_results([ModelResult(f"m{i}", 1) for i in range(base.models)])
    part = Part(f"results/{RUN.id}/{base.id}/x", 1, "md5", base.models)
    return Report(RUN.id, base.id, attempt, NOW, NOW, verdicts, (part,))


@settings(deadline=None)
@given(st.data())
def test_every_move_is_in_the_table(data: st.DataObject) -> None:
    """One chunk through any number of ticks: its states follow each other as the table says, its numbers only grow."""
    now, run = NOW, replace(RUN, round=data.draw(st.integers(0, 1)))
    run = replace(run, redo=RequestKind.REPROCESS if run.round else None)
    before = data.draw(st.sampled_from([chunk(), committed(chunk(), failed=2), given_up(chunk(), R.JOB_FAILED)]))
    for _ in range(data.draw(st.integers(1, 12))):
        now += data.draw(st.sampled_from([MINUTE, 11 * MINUTE, 2 * timedelta(hours=1)]))
        event = data.draw(st.sampled_from(["", "", "", "", "cancel", "stop", "report"]))
        run = replace(run, cancelled_at=now) if event == "cancel" else run
        run = replace(run, stopped=R.TOO_MANY_FAILURES) if event == "stop" else run
        names = [f"fleetscore-{RUN.id}-c00000-{n}" for n in range(1, before.next_attempt)]
        seen = {name: data.draw(st.sampled_from([None, *J])) for name in names}
        jobs = {name: JobStatus(state) for name, state in seen.items() if state}
        sign = {("c00000", a.number): AttemptProgress(str(now), 3) for a in before.attempts if data.draw(st.booleans())}
        reports = {before.id: report(before, before.next_attempt - 1)} if event == "report" and before.attempts else {}
        evidence = Observation(data.draw(st.sampled_from([jobs, None])), sign, reports)
        (after,) = advance_run(run, [before], evidence, POLICY, now).chunks
        # One tick may make three moves: opened again, given up, and tried again.
        reach = {before.state}
        for _ in range(3):
            reach |= {s for state in reach for s in CHUNK_FOLLOWS[state]}
        direct = CHUNK_FOLLOWS[before.state] | {before.state}
        assert after.state in (reach if find_unsubmitted(after) else direct)
        assert after.next_attempt >= before.next_attempt
        assert len({a.number for a in after.attempts}) == len(after.attempts)
        assert sum(a.state.in_flight for a in after.attempts) <= 1
        assert all(a.number < after.next_attempt for a in after.attempts)
        assert (after.state is C.COMMITTED) <= (after.committed is not None)
        assert after.round <= run.round
        before = after


def test_what_is_terminal_is_followed_by_a_further_round_only() -> None:
    assert {s for s in C if s.terminal} == {C.COMMITTED, C.FAILED, C.CANCELLED, C.NOT_ATTEMPTED}
    assert {s for s in C if CHUNK_FOLLOWS[s] == {C.WAITING}} == {s for s in C if s.terminal}
    assert set(CHUNK_FOLLOWS) == set(C)
    over = {Phase.SUCCEEDED, Phase.PARTIAL, Phase.FAILED, Phase.CANCELLED, Phase.MISSED}
    assert {p for p in Phase if p.terminal} == over
    assert set(PHASE_FOLLOWS) == set(Phase)
    assert all(PHASE_FOLLOWS[p] <= {Phase.PLANNING, Phase.RUNNING} for p in over)


def test_every_state_can_be_reached_and_left() -> None:
    for table, start in ((CHUNK_FOLLOWS, C.WAITING), (PHASE_FOLLOWS, Phase.REQUESTED)):
        reached = {start}
        for _ in table:
            reached |= {s for state in reached for s in table[state]}
        assert reached >= set(table) - {Phase.MISSED}
        assert all(table.values())
