"""The truth tables of a chunk and of a run: how it stands, what is seen, what becomes of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.contract import Report, Verdict
from shared.domain import Part, Reason, Tally
from shared.ports import Sighting
from shared.runs import CHUNK_FOLLOWS, PHASE_FOLLOWS, Attempt, AttemptState, Chunk, ChunkState, JobState, Phase, Run
from shared.tracker import Evidence, Policy, Sign, Step, advance, refused, sum_up, to_submit, uncommittable, unwanted
from shared.windows import Window

A = AttemptState
C = ChunkState
J = JobState

NOW = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
POLICY = Policy(max_retries=1, max_losses=1, silence=10 * MINUTE, backoff=MINUTE, max_in_flight=2)
RUN = Run(Window.parse("20261121T1100Z-PT1H"), Phase.RUNNING, NOW, planned_at=NOW, models=3, chunks=1)
CHUNK = Chunk(RUN.id, "c00000", "abc", 3, "a.skops", "c.skops", next_attempt=2, since=NOW)
JOB = f"fleetscore-{RUN.id}-c00000-1"
REPORT = Report(
    RUN.id,
    "c00000",
    1,
    NOW,
    NOW + MINUTE,
    (Verdict("a", 3, 1), Verdict("b", 2), Verdict("c", reason=Reason.NO_READINGS, message="none")),
    (Part(f"results/{RUN.id}/c00000/x.parquet", 10, "md5", 5),),
)


def under_way(state: AttemptState, **known: object) -> Chunk:
    """The chunk with its first attempt in *state*."""
    states = {A.SUBMITTING: C.QUEUED, A.QUEUED: C.QUEUED, A.RUNNING: C.RUNNING, A.CANCELLING: C.CANCELLING}
    attempt = Attempt(1, state, NOW, **known)  # type: ignore[arg-type]
    return replace(CHUNK, state=states.get(state, C.WAITING), attempts=(attempt,))


def step(chunk: Chunk, seen: JobState | None, *, minutes: int = 0, sign: Sign | None = None, run: Run = RUN,
         report: Report | None = None, silent: bool = False) -> Step:  # fmt: skip
    evidence = Evidence(
        None if silent else ({JOB: Sighting(seen)} if seen else {}),
        {("c00000", 1): sign} if sign else {},
        {"c00000": report} if report else {},
    )
    return advance(run, [chunk], evidence, POLICY, NOW + minutes * MINUTE)


@pytest.mark.parametrize(
    ("state", "seen", "chunk", "attempts", "reason", "costs"),
    [
        # what stands, what the cluster says   -> chunk, its attempts, why, (retries, losses)
        (A.SUBMITTING, None, C.QUEUED, {1: A.SUBMITTING}, None, (0, 0)),  # never acknowledged: asked for again
        (A.SUBMITTING, J.QUEUED, C.QUEUED, {1: A.QUEUED}, None, (0, 0)),
        (A.SUBMITTING, J.RUNNING, C.RUNNING, {1: A.RUNNING}, None, (0, 0)),
        (A.QUEUED, None, C.QUEUED, {1: A.QUEUED}, None, (0, 0)),  # a doubt is no death
        (A.QUEUED, J.RUNNING, C.RUNNING, {1: A.RUNNING}, None, (0, 0)),
        (A.RUNNING, J.RUNNING, C.RUNNING, {1: A.RUNNING}, None, (0, 0)),
        (A.RUNNING, J.QUEUED, C.QUEUED, {1: A.QUEUED}, None, (0, 0)),  # pre-empted, and back in the queue
        (A.RUNNING, J.DOUBTFUL, C.RUNNING, {1: A.RUNNING}, None, (0, 0)),
        (A.RUNNING, J.SUCCEEDED, C.WAITING, {}, Reason.NO_REPORT, (1, 0)),  # a job's word is no result
        (A.RUNNING, J.FAILED, C.WAITING, {}, Reason.JOB_FAILED, (1, 0)),
        (A.RUNNING, J.LOST, C.QUEUED, {1: A.LOST, 2: A.SUBMITTING}, Reason.JOB_LOST, (0, 1)),  # at once, no retry spent
        (A.RUNNING, J.CANCELLED, C.QUEUED, {1: A.LOST, 2: A.SUBMITTING}, Reason.JOB_LOST, (0, 1)),  # not by us
        (A.LOST, J.FAILED, C.QUEUED, {2: A.SUBMITTING}, None, (0, 0)),  # it was charged for before
        (A.LOST, None, C.QUEUED, {1: A.LOST, 2: A.SUBMITTING}, None, (0, 0)),  # it may yet report
    ],
)
def test_a_chunk_follows_what_is_seen(
    state: AttemptState,
    seen: JobState | None,
    chunk: ChunkState,
    attempts: dict[int, AttemptState],
    reason: Reason | None,
    costs: tuple[int, int],
) -> None:
    (after,) = step(under_way(state), seen).chunks
    found = (after.state, {a.number: a.state for a in after.attempts}, after.reason, (after.retries, after.losses))
    assert found == (chunk, attempts, reason, costs)


def test_a_job_is_lost_only_when_the_cluster_and_its_progress_were_silent_for_long() -> None:
    doubted = step(under_way(A.RUNNING), None).chunks[0]
    assert doubted.attempts[0].doubted_since == NOW
    assert step(doubted, None, minutes=9).chunks[0].losses == 0
    assert step(doubted, None, minutes=10).chunks[0].losses == 1
    alive = step(doubted, None, minutes=9, sign=Sign("etag", 2)).chunks[0]
    assert (alive.losses, alive.attempts[0].done) == (0, 2)
    assert step(alive, None, minutes=18, sign=Sign("etag", 2)).chunks[0].losses == 0
    assert step(alive, None, minutes=19, sign=Sign("etag", 2)).chunks[0].losses == 1
    back = step(alive, J.RUNNING, minutes=18).chunks[0]
    assert back.attempts[0].doubted_since is None


def test_nothing_is_concluded_while_the_cluster_does_not_answer() -> None:
    chunk = under_way(A.RUNNING, doubted_since=NOW)
    after = step(chunk, None, minutes=600, silent=True)
    assert after == Step((chunk,), ())


def test_a_valid_report_counts_whatever_the_cluster_says() -> None:
    for seen in (*J, None):
        for state in (A.SUBMITTING, A.QUEUED, A.RUNNING, A.LOST, A.CANCELLING):
            (after,) = step(under_way(state), seen, report=REPORT).chunks
            tally = Tally(scored=2, skipped=1, rows=5, anomalies=1, seconds=60)
            assert (after.state, after.chosen, after.tally) == (C.COMMITTING, 1, tally)
            assert (after.parts, after.attempts) == (REPORT.parts, ())


def test_what_is_over_stays_over() -> None:
    for state in (C.COMMITTED, C.FAILED, C.CANCELLED):
        over = replace(CHUNK, state=state)
        for seen in (*J, None):
            assert step(over, seen, report=REPORT, minutes=999).chunks == (over,)


def test_a_chunk_fails_when_its_retries_are_spent() -> None:
    spent = replace(under_way(A.RUNNING), retries=1)
    (after,) = step(spent, J.FAILED).chunks
    assert (after.state, after.tally, after.reason) == (C.FAILED, Tally(failed=3), Reason.JOB_FAILED)
    assert [(f.reason, f.models) for f in after.failures] == [(Reason.JOB_FAILED, 3)]


def test_a_chunk_whose_losses_are_spent_waits_for_the_lost_one_and_tries_no_more() -> None:
    spent = replace(under_way(A.RUNNING), losses=1)
    (waiting,) = step(spent, J.LOST).chunks
    assert (waiting.state, [a.state for a in waiting.attempts]) == (C.WAITING, [A.LOST])
    assert step(waiting, None, minutes=59).chunks == (waiting,)
    assert step(waiting, None, minutes=60).chunks[0].state is C.FAILED
    assert step(waiting, None, minutes=59, report=REPORT).chunks[0].state is C.COMMITTING


def test_a_retry_waits_for_its_backoff() -> None:
    (failed,) = step(under_way(A.RUNNING), J.FAILED).chunks
    assert failed.not_before == NOW + MINUTE
    assert to_submit(step(failed, None).chunks[0]) is None
    (again,) = step(failed, None, minutes=1).chunks
    assert to_submit(again) == Attempt(2, A.SUBMITTING, NOW + MINUTE)
    assert again.next_attempt == 3


def test_no_more_jobs_are_wanted_than_may_be_in_flight() -> None:
    chunks = [replace(CHUNK, id=f"c0000{i}") for i in range(5)]
    after = advance(RUN, chunks, Evidence({}, {}, {}), POLICY, NOW).chunks
    assert [bool(to_submit(c)) for c in after] == [True, True, False, False, False]
    assert advance(RUN, after, Evidence({}, {}, {}), POLICY, NOW).chunks == after


CANCELLED = replace(RUN, cancelled_at=NOW)


@pytest.mark.parametrize(
    ("chunk", "seen", "becomes", "cancels"),
    [
        (CHUNK, None, C.CANCELLED, ()),
        (under_way(A.SUBMITTING), None, C.CANCELLED, ()),  # should it turn up after all, no row holds it
        (under_way(A.SUBMITTING), J.QUEUED, C.CANCELLING, (JOB,)),
        (under_way(A.QUEUED), J.QUEUED, C.CANCELLING, (JOB,)),
        (under_way(A.RUNNING), J.RUNNING, C.CANCELLING, (JOB,)),
        (under_way(A.CANCELLING), J.RUNNING, C.CANCELLING, (JOB,)),  # asked again until it is gone
        (under_way(A.CANCELLING), J.CANCELLED, C.CANCELLED, ()),
        (under_way(A.CANCELLING), J.FAILED, C.CANCELLED, ()),
        (under_way(A.LOST), J.RUNNING, C.CANCELLED, (JOB,)),
        (replace(CHUNK, state=C.COMMITTING), None, C.COMMITTING, ()),  # what is being committed is finished
    ],
)
def test_a_cancelled_run_lets_go_of_its_chunks(
    chunk: Chunk, seen: JobState | None, becomes: ChunkState, cancels: tuple[str, ...]
) -> None:
    after = step(chunk, seen, run=CANCELLED)
    assert (after.chunks[0].state, after.cancel) == (becomes, cancels)


def test_a_cancel_does_not_wait_for_ever_for_a_cluster_that_is_gone() -> None:
    chunk = under_way(A.CANCELLING)
    assert step(chunk, None, run=CANCELLED, minutes=9, silent=True).chunks == (chunk,)
    assert step(chunk, None, run=CANCELLED, minutes=10, silent=True).chunks[0].state is C.CANCELLED


def test_a_job_that_no_row_holds_is_cancelled() -> None:
    orphan = f"fleetscore-{RUN.id}-c00000-7"
    evidence = Evidence({JOB: Sighting(J.RUNNING), orphan: Sighting(J.RUNNING), "foreign": Sighting(J.RUNNING)}, {}, {})
    assert advance(RUN, [under_way(A.RUNNING)], evidence, POLICY, NOW).cancel == (orphan,)


def test_the_job_that_reported_is_left_to_end_by_itself() -> None:
    chunk = replace(CHUNK, state=C.COMMITTED, chosen=1, next_attempt=3)
    second = JOB.removesuffix("1") + "2"
    assert unwanted({JOB: Sighting(J.RUNNING), second: Sighting(J.RUNNING)}, [chunk]) == (second,)


def committed(tally: Tally) -> Chunk:
    return replace(CHUNK, state=C.COMMITTED, tally=tally, failures=REPORT.failures)


@pytest.mark.parametrize(
    ("chunks", "phase", "reason"),
    [
        ([committed(Tally(scored=3))], Phase.SUCCEEDED, None),
        ([committed(Tally(scored=2, skipped=1))], Phase.SUCCEEDED, None),  # a pump that was off is no fault
        ([committed(Tally(scored=2, failed=1))], Phase.PARTIAL, None),
        ([committed(Tally(skipped=3))], Phase.FAILED, Reason.NO_READINGS),  # that all were off most often is
        ([refused(CHUNK, "no such compute", NOW)], Phase.FAILED, Reason.REJECTED),
        ([uncommittable(CHUNK, "something else lies there", NOW)], Phase.FAILED, Reason.COMMIT_CONFLICT),
        ([committed(Tally(scored=3)), refused(CHUNK, "no", NOW)], Phase.PARTIAL, None),
        ([committed(Tally(scored=3)), replace(CHUNK, state=C.CANCELLED, tally=Tally(cancelled=3))],
         Phase.CANCELLED, Reason.CANCELLED),
    ],
)  # fmt: skip
def test_a_run_ends_as_its_chunks_did(chunks: list[Chunk], phase: Phase, reason: Reason | None) -> None:
    run = sum_up(RUN, chunks, NOW)
    assert (run.phase, run.reason, run.ended_at) == (phase, reason, NOW)
    assert run.tally == sum((c.tally for c in chunks), Tally())


def test_scored_counts_only_what_was_committed() -> None:
    chunk = replace(CHUNK, state=C.COMMITTING, tally=Tally(scored=3))
    run = sum_up(RUN, [chunk], NOW)
    assert (run.phase, run.tally, run.done, run.progress_at) == (Phase.RUNNING, Tally(), 3, NOW)


def test_progress_is_what_ended_and_what_jobs_call_done() -> None:
    chunks = [committed(Tally(scored=3)), under_way(A.RUNNING, done=2), CHUNK]
    run = sum_up(replace(RUN, models=9), chunks, NOW)
    assert (run.done, run.chunk_states) == (5, {C.COMMITTED: 1, C.RUNNING: 1, C.WAITING: 1})


def test_every_move_is_in_the_table() -> None:
    for state in A:
        for seen in (*J, None):
            for run in (CANCELLED,) if state is A.CANCELLING else (RUN, CANCELLED):
                for minutes in (0, 10, 60):
                    before = under_way(state, doubted_since=NOW)
                    after = step(before, seen, run=run, minutes=minutes).chunks[0]
                    # One tick may make two moves: given up for lost, and tried again.
                    reach = CHUNK_FOLLOWS[before.state] | {before.state}
                    reach |= {s for state in reach for s in CHUNK_FOLLOWS[state]}
                    assert after.state in reach, (state, seen, before.state, after.state)


def test_what_is_terminal_is_followed_by_nothing() -> None:
    assert {s for s in C if s.terminal} == {C.COMMITTED, C.FAILED, C.CANCELLED}
    final = {Phase.SUCCEEDED, Phase.PARTIAL, Phase.FAILED, Phase.CANCELLED, Phase.MISSED}
    assert {p for p in Phase if p.terminal} == final
    assert {p for p in Phase if not PHASE_FOLLOWS[p]} == final - {Phase.MISSED}
