"""The truth tables of an attempt and its chunk: how it stands, what is seen of it, what becomes of it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.adapters.memory import MemoryBlobs
from shared.contract import paths
from shared.contract.domain import Failure, Late, Part, Tally, Unmodelled
from shared.contract.outcomes import ModelResult, Outcomes
from shared.contract.reasons import Outcome, Reason
from shared.contract.report import Progress, Report
from shared.contract.windows import EPOCH, Window
from shared.ports import JobStatus
from shared.state.requests import RequestKind
from shared.state.runs import Attempt, AttemptState, Chunk, ChunkState, JobState, Phase, Result, Run
from shared.tracking import attempts, observe, transitions
from shared.tracking.observation import AttemptProgress, Observation
from shared.tracking.run_limits import RunLimits

A = AttemptState
C = ChunkState
J = JobState
R = Reason

NOW = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
# Minutes: silence 10, to queue 120, to start 15, to stall 30, to run 60, to be cancelled 10.
POLICY = RunLimits()
RUN = Run(Window.parse("20261121T1100Z-PT1H"), Phase.RUNNING, NOW, planned_at=NOW, models=3, chunks=1)
AGAIN = replace(RUN, round=1, redo=RequestKind.REDRIVE)
FRESH = Chunk(RUN.id, "c00000", "abc", 3, "a.skops", "c.skops", since=NOW - 5 * MINUTE)
JOB = f"fleetscore-{RUN.id}-c00000-1"
LATER = AttemptProgress("etag 2", 2)  # the progress as it lies in storage, and as it lay when it was last looked at
BEFORE = AttemptProgress("etag 1", 1)
STATES = {
    A.SUBMITTING: C.QUEUED,
    A.QUEUED: C.QUEUED,
    A.RUNNING: C.RUNNING,
    A.CANCELLING: C.CANCELLING,
    A.LOST: C.WAITING,
}


def ago(minutes: int) -> datetime:
    return NOW - minutes * MINUTE


def under_way(
    state: AttemptState, *, stood: int = 0, sign: int | None = None, doubted: int | None = None, base: Chunk = FRESH
) -> Chunk:
    """A chunk with one attempt that has stood in *state* for so many minutes; *sign*: since its progress moved."""
    attempt = Attempt(
        base.next_attempt,
        state,
        ago(stood),
        sign=BEFORE.etag if sign else "",
        sign_at=ago(sign) if sign else None,
        done=BEFORE.done if sign else 0,
        doubted_since=None if doubted is None else ago(doubted),
    )
    return replace(base, state=STATES[state], attempts=(attempt,), next_attempt=base.next_attempt + 1)


def follow(
    chunk: Chunk, seen: JobState | None, *, sign: int | None = None, report: Report | None = None, silent: bool = False,
    run: Run = RUN,
) -> Chunk:  # fmt: skip
    jobs = {f"fleetscore-{RUN.id}-c00000-{a.number}": JobStatus(seen) for a in chunk.attempts} if seen else {}
    lying = {None: {}, 0: LATER}.get(sign, BEFORE)
    signs = {("c00000", a.number): lying for a in chunk.attempts if isinstance(lying, AttemptProgress)}
    reports = {"c00000": report} if report else {}
    return attempts.advance_chunk(run, chunk, Observation(None if silent else jobs, signs, reports), POLICY, NOW)


def result(scored: int, attempt: int = 1) -> Result:
    part = Part(f"results/{RUN.id}/c00000/{attempt}.parquet", 10, "md5", scored)
    return Result(attempt, (part,), Tally(scored=scored, skipped=3 - scored, rows=scored))


def report(scored: int, attempt: int = 1) -> Report:
    verdicts = [ModelResult(model, 1) for model in "abc"[:scored]]
    verdicts += [ModelResult(model, reason=R.NO_READINGS, message="none") for model in "abc"[scored:]]
    return Report(RUN.id, "c00000", attempt, NOW, NOW, Outcomes.from_results(verdicts), result(scored, attempt).parts)


# One attempt. *sign*: minutes since its progress moved, 0 where it moves now, None where it never did.


@pytest.mark.parametrize(
    ("state", "stood", "sign", "seen", "becomes", "why"),
    [
        # Asked for, and not acknowledged: it is asked for again by the same name, however long that takes.
        (A.SUBMITTING, 0, None, None, A.SUBMITTING, None),
        (A.SUBMITTING, 999, None, None, A.SUBMITTING, None),
        (A.SUBMITTING, 0, None, J.UNRESPONSIVE, A.SUBMITTING, None),
        (A.SUBMITTING, 0, None, J.QUEUED, A.QUEUED, None),
        (A.SUBMITTING, 0, None, J.RUNNING, A.RUNNING, None),
        (A.SUBMITTING, 0, 0, J.QUEUED, A.RUNNING, None),  # its own sign says more than the cluster
        (A.SUBMITTING, 0, None, J.SUCCEEDED, None, R.NO_REPORT),
        (A.SUBMITTING, 0, None, J.FAILED, None, R.JOB_FAILED),
        (A.SUBMITTING, 0, None, J.LOST, A.LOST, R.JOB_LOST),
        (A.SUBMITTING, 0, None, J.CANCELLED, A.LOST, R.JOB_LOST),
        # Queued for too long is a loss: it never ran.
        (A.QUEUED, 119, None, J.QUEUED, A.QUEUED, None),
        (A.QUEUED, 120, None, J.QUEUED, A.CANCELLING, R.QUEUED_TOO_LONG),
        (A.QUEUED, 120, None, J.RUNNING, A.RUNNING, None),
        (A.QUEUED, 120, 0, J.QUEUED, A.RUNNING, None),
        (A.QUEUED, 0, None, J.SUCCEEDED, None, R.NO_REPORT),  # the cluster's word is no result
        (A.QUEUED, 0, None, J.FAILED, None, R.JOB_FAILED),
        (A.QUEUED, 0, None, J.LOST, A.LOST, R.JOB_LOST),
        (A.QUEUED, 0, None, J.CANCELLED, A.LOST, R.JOB_LOST),  # not by us
        # Running: without a sign, at a standstill, for too long.
        (A.RUNNING, 14, None, J.RUNNING, A.RUNNING, None),
        (A.RUNNING, 15, None, J.RUNNING, A.CANCELLING, R.NO_SIGN),
        (A.RUNNING, 15, 0, J.RUNNING, A.RUNNING, None),
        (A.RUNNING, 40, 29, J.RUNNING, A.RUNNING, None),
        (A.RUNNING, 40, 30, J.RUNNING, A.CANCELLING, R.STALLED),
        (A.RUNNING, 29, 40, J.RUNNING, A.RUNNING, None),  # it runs again, and its sign is of the time before
        (A.RUNNING, 30, 40, J.RUNNING, A.CANCELLING, R.STALLED),
        (A.RUNNING, 69, 0, J.RUNNING, A.RUNNING, None),
        (A.RUNNING, 70, 0, J.RUNNING, A.CANCELLING, R.RAN_TOO_LONG),  # the cluster should have ended it at 60
        (A.RUNNING, 14, None, J.QUEUED, A.QUEUED, None),  # pre-empted, and back in the queue
        (A.RUNNING, 0, 5, J.SUCCEEDED, None, R.NO_REPORT),
        (A.RUNNING, 0, 5, J.FAILED, None, R.JOB_FAILED),
        (A.RUNNING, 0, 5, J.LOST, A.LOST, R.JOB_LOST),
        (A.RUNNING, 0, 5, J.CANCELLED, A.LOST, R.JOB_LOST),
        # Cancelling: it was charged for before, and is waited for only so long.
        (A.CANCELLING, 9, None, J.RUNNING, A.CANCELLING, None),
        (A.CANCELLING, 9, None, J.UNRESPONSIVE, A.CANCELLING, None),
        (A.CANCELLING, 10, None, J.RUNNING, None, None),
        (A.CANCELLING, 10, 0, J.RUNNING, None, None),
        (A.CANCELLING, 0, None, None, None, None),
        *[(A.CANCELLING, 0, None, seen, None, None) for seen in J if seen.over],
        # Lost: charged for before; it may yet report, but not for ever.
        (A.LOST, 59, None, None, A.LOST, None),
        (A.LOST, 59, 0, J.RUNNING, A.LOST, None),
        (A.LOST, 59, None, J.UNRESPONSIVE, A.LOST, None),
        (A.LOST, 60, None, None, None, None),
        (A.LOST, 60, 0, J.RUNNING, None, None),
        *[(A.LOST, 0, None, seen, None, None) for seen in J if seen.over],
    ],
)
def test_an_attempt_becomes_what_is_seen_of_it(
    state: AttemptState,
    stood: int,
    sign: int | None,
    seen: JobState | None,
    becomes: AttemptState | None,
    why: Reason | None,
) -> None:
    before = under_way(state, stood=stood, sign=sign)
    after = follow(before, seen, sign=sign)
    (attempt,) = before.attempts
    if sign == 0 and why is None:  # what moves now is written down
        attempt = replace(attempt, sign=LATER.etag, sign_at=NOW, done=LATER.done)
    if becomes is not state and becomes:
        attempt = replace(attempt, state=becomes, since=NOW)
    costs = (0, 0) if why is None else ((0, 1) if why in (Reason.JOB_LOST, Reason.QUEUED_TOO_LONG) else (1, 0))
    assert after.attempts == ((attempt,) if becomes else ())
    assert (after.reason, (after.retries, after.losses), after.next_attempt) == (why, costs, 2)
    assert after.state is (STATES[becomes] if becomes else C.WAITING)


@pytest.mark.parametrize("seen", [None, J.UNRESPONSIVE])
@pytest.mark.parametrize("state", [A.QUEUED, A.RUNNING])
@pytest.mark.parametrize(
    ("doubted", "sign", "lost"),
    [
        # minutes since the cluster had its last word; since progress moved
        (None, None, False),
        (9, None, False),
        (10, None, True),  # no word, and there was never a sign
        (None, 999, False),  # one sign: progress stands still
        (9, 999, False),
        (999, 0, False),  # one sign: the cluster has no word
        (999, 9, False),
        (10, 9, False),
        (10, 10, True),  # two
        (999, 10, True),
        (10, 999, True),
    ],
)
def test_a_job_is_lost_only_by_two_signs(
    state: AttemptState, seen: JobState | None, doubted: int | None, sign: int | None, lost: bool
) -> None:
    before = under_way(state, stood=30, sign=sign, doubted=doubted)
    after = follow(before, seen, sign=sign)
    (attempt,) = after.attempts
    if lost:
        assert (attempt.state, attempt.since) == (A.LOST, NOW)
        assert (after.state, after.reason, after.retries, after.losses) == (C.WAITING, R.JOB_LOST, 0, 1)
        word = "does not answer for" if seen else "does not know"
        assert after.message.startswith(f"the cluster {word} job {JOB}, and it made no progress since ")
    else:
        assert (attempt.state, attempt.since) == (state, ago(30))
        assert attempt.doubted_since == (NOW if doubted is None else ago(doubted))
        assert (after.state, after.reason, after.retries, after.losses) == (before.state, None, 0, 0)


@pytest.mark.parametrize("seen", [J.QUEUED, J.RUNNING])
def test_a_word_of_the_cluster_ends_every_doubt(seen: JobState) -> None:
    (attempt,) = follow(under_way(A.QUEUED, doubted=9), seen).attempts
    assert attempt.doubted_since is None


def test_a_job_that_is_pre_empted_and_waits_for_a_node_again_is_not_charged_as_stalled() -> None:
    waiting = follow(under_way(A.RUNNING, stood=40, sign=40), J.QUEUED, sign=40)
    assert (waiting.retries, waiting.state, [a.state for a in waiting.attempts]) == (0, C.QUEUED, [A.QUEUED])


@pytest.mark.parametrize("state", list(A))
def test_nothing_is_concluded_while_the_cluster_does_not_answer(state: AttemptState) -> None:
    before = under_way(state, stood=9, sign=999, doubted=999)
    assert follow(before, None, sign=999, silent=True) == before
    (moved,) = follow(before, None, sign=0, silent=True).attempts
    assert moved == replace(before.attempts[0], sign=LATER.etag, sign_at=NOW, done=LATER.done)


@pytest.mark.parametrize(("state", "stood"), [(A.SUBMITTING, 9999), (A.QUEUED, 9999), (A.RUNNING, 9999)])
def test_no_time_runs_out_while_the_cluster_does_not_answer(state: AttemptState, stood: int) -> None:
    before = under_way(state, stood=stood)
    assert follow(before, None, silent=True) == before


def test_nothing_is_concluded_of_a_chunk_whose_reports_were_not_read() -> None:
    before = under_way(A.RUNNING)
    evidence = Observation({JOB: JobStatus(J.FAILED)}, {}, {}, unread=frozenset({"c00000"}))
    assert attempts.advance_chunk(RUN, before, evidence, POLICY, NOW) == before


# What an end costs


def test_what_the_cluster_lost_is_asked_for_at_once() -> None:
    assert follow(under_way(A.RUNNING), J.LOST).not_before == NOW
    assert follow(under_way(A.RUNNING), J.FAILED).not_before > NOW


@pytest.mark.parametrize("retries", range(12))
def test_the_wait_for_a_retry_doubles_and_never_is_quite_the_same(retries: int) -> None:
    def wait(number: int) -> float:
        chunk = under_way(A.RUNNING, base=replace(FRESH, retries=retries, next_attempt=number, first_attempt=number))
        return follow(chunk, J.FAILED).not_before - NOW

    waits = [wait(number) / (timedelta(seconds=30) * 2 ** min(retries, 6)) for number in range(1, 100)]
    assert 0.5 <= min(waits) < 0.6
    assert 1.4 < max(waits) < 1.5
    assert wait(7) == wait(7)


@pytest.mark.parametrize(("retries", "losses", "careful"), [(0, 0, False), (0, 1, False), (1, 0, True), (0, 2, True)])
def test_an_attempt_is_careful_after_a_retry_or_two_losses(retries: int, losses: int, careful: bool) -> None:
    chunk = attempts.start_attempt(RUN, replace(FRESH, retries=retries, losses=losses), NOW)
    attempt = Attempt(1, A.SUBMITTING, NOW, careful=careful)
    expected = (C.QUEUED, NOW, (attempt,), 2)
    assert (chunk.state, chunk.since, chunk.attempts, chunk.next_attempt) == expected
    assert transitions.find_unsubmitted(chunk) == attempt


@pytest.mark.parametrize(
    ("redo", "committed", "carry"),
    [
        (None, None, 0),
        (RequestKind.REDRIVE, None, 0),
        (RequestKind.REDRIVE, result(2, attempt=4), 4),
        (RequestKind.REPROCESS, result(2, attempt=4), 0),
        (RequestKind.EXTEND, result(2, attempt=4), 0),
    ],
)
def test_only_a_redrive_carries_over_what_is_committed(
    redo: RequestKind | None, committed: Result | None, carry: int
) -> None:
    chunk = replace(FRESH, committed=committed, next_attempt=5, first_attempt=5)
    (attempt,) = attempts.start_attempt(replace(RUN, round=1, redo=redo), chunk, NOW).attempts
    assert attempt == Attempt(5, A.SUBMITTING, NOW, carry=carry)


@pytest.mark.parametrize(
    ("retries", "losses", "may"), [(0, 0, True), (2, 0, True), (3, 0, False), (0, 5, True), (0, 6, False)]
)
def test_a_chunk_is_tried_until_its_budgets_are_spent(retries: int, losses: int, may: bool) -> None:
    chunk = replace(FRESH, retries=retries, losses=losses)
    assert attempts.may_try(chunk, POLICY, NOW) is may
    assert not attempts.may_try(replace(chunk, not_before=NOW + MINUTE), POLICY, NOW)


def test_a_chunk_fails_when_its_retries_are_spent() -> None:
    after = follow(replace(under_way(A.RUNNING), retries=2), J.FAILED)
    assert (after.state, after.retries, after.attempts, after.tally) == (C.FAILED, 3, (), Tally(failed=3))
    assert after.failures == (Failure(R.JOB_FAILED, Outcome.FAILED, 3, "c00000", f"job {JOB} failed"),)


def test_a_chunk_whose_losses_are_spent_waits_for_the_lost_one_and_then_fails() -> None:
    waiting = follow(replace(under_way(A.RUNNING), losses=5), J.LOST)
    assert (waiting.state, waiting.losses, [a.state for a in waiting.attempts]) == (C.WAITING, 6, [A.LOST])
    assert not attempts.may_try(waiting, POLICY, NOW)
    assert follow(waiting, None).state is C.WAITING
    old = replace(waiting, attempts=(replace(waiting.attempts[0], since=ago(60)),))
    assert (follow(old, None).state, follow(old, None).reason) == (C.FAILED, R.JOB_LOST)
    assert follow(waiting, None, report=report(3)).state is C.COMMITTING


# Reports


@pytest.mark.parametrize("seen", [*J, None])
@pytest.mark.parametrize("state", list(A))
def test_a_valid_report_counts_whatever_the_cluster_says(state: AttemptState, seen: JobState | None) -> None:
    before = under_way(state, stood=9999, doubted=9999)
    after = follow(before, seen, report=report(2))
    chosen = Result(1, report(2).parts, report(2).tally, report(2).failures)
    assert after == replace(before, state=C.COMMITTING, since=NOW, attempts=(), chosen=chosen)
    assert follow(before, seen, report=report(2), silent=True) == after


def test_a_report_of_an_attempt_that_no_row_knows_moves_the_numbers_on() -> None:
    after = follow(FRESH, None, report=report(3, attempt=7))
    assert (after.state, after.next_attempt) == (C.COMMITTING, 8)


@pytest.mark.parametrize("state", [s for s in C if s.terminal] + [C.COMMITTING])
def test_no_report_moves_what_is_decided(state: ChunkState) -> None:
    before = replace(FRESH, state=state, committed=result(3) if state is C.COMMITTED else None)
    assert follow(before, J.RUNNING, report=report(3)) == before


def again(scored: int | None, redo: RequestKind | None = RequestKind.REDRIVE) -> tuple[Run, Chunk]:
    """A chunk under way in a further round, of which so many models are committed."""
    committed = None if scored is None else result(scored)
    base = replace(FRESH, next_attempt=2, first_attempt=2, committed=committed)
    return replace(AGAIN, redo=redo), under_way(A.RUNNING, base=base)


@pytest.mark.parametrize(
    ("redo", "before", "scored"),
    [
        (RequestKind.REDRIVE, 2, 3),
        (RequestKind.REDRIVE, 2, 2),
        (RequestKind.REDRIVE, None, 0),
        (RequestKind.RESCORE, 2, 2),
        (RequestKind.REPROCESS, 2, 1),  # whoever asks for all anew takes what comes
        (RequestKind.EXTEND, None, 1),
        (None, None, 1),
    ],
)
def test_a_report_of_a_later_round_is_chosen_beside_what_is_committed(
    redo: RequestKind | None, before: int | None, scored: int
) -> None:
    run, chunk = again(before, redo)
    after = follow(chunk, J.RUNNING, report=report(scored, attempt=2), run=run)
    told = report(scored, attempt=2)
    chosen = Result(2, told.parts, told.tally, told.failures)
    assert after == replace(chunk, state=C.COMMITTING, since=NOW, attempts=(), chosen=chosen)


@pytest.mark.parametrize(
    ("redo", "before", "reported", "becomes"),
    [
        (None, None, Unmodelled(1, ("fan",)), Unmodelled(1, ("fan",))),
        (None, None, None, None),
        (RequestKind.REDRIVE, Unmodelled(2, ("a", "b")), Unmodelled(1, ("fan",)), Unmodelled(1, ("fan",))),
        (RequestKind.REDRIVE, Unmodelled(2, ("a", "b")), Unmodelled(), Unmodelled()),
        (RequestKind.REDRIVE, Unmodelled(2, ("a", "b")), None, Unmodelled(2, ("a", "b"))),  # by a node that counts none
        (RequestKind.REPROCESS, Unmodelled(2, ("a", "b")), None, None),  # under the settings of today
    ],
)
def test_the_count_of_devices_without_a_model_is_that_of_the_last_report_that_has_one(
    redo: RequestKind | None, before: Unmodelled | None, reported: Unmodelled | None, becomes: Unmodelled | None
) -> None:
    run, chunk = again(3 if redo else None, redo)
    chunk = replace(chunk, committed=chunk.committed and replace(chunk.committed, unmodelled=before))
    after = follow(chunk, J.RUNNING, report=replace(report(3, attempt=2), unmodelled=reported), run=run)
    assert after.chosen
    assert after.chosen.unmodelled == becomes
    assert after.unmodelled == before  # of what consumers read, until it is committed


@pytest.mark.parametrize(
    ("manifest", "state", "is_included"),
    [("new", C.COMMITTED, True), ("", C.COMMITTED, False), (FRESH.manifest, C.COMMITTED, False)],
)
def test_a_rescore_includes_the_chunks_that_have_another_manifest_in_it(
    manifest: str, state: ChunkState, *, is_included: bool
) -> None:
    chunk = replace(FRESH, state=state, committed=result(3), next_attempt=2)
    run = replace(AGAIN, redo=RequestKind.RESCORE)
    after = attempts.reopen_chunk(run, chunk, NOW, manifest)
    if not is_included:
        assert after == chunk
        return
    assert (after.state, after.round, after.manifest, after.committed) == (C.WAITING, run.round, "new", chunk.committed)
    (attempt,) = attempts.start_attempt(replace(run, current_files=True), after, NOW).attempts
    assert (attempt.number, attempt.carry, attempt.current_files) == (2, 1, True)


@pytest.mark.parametrize(
    ("redo", "before", "reported", "becomes", "named_by"),
    [
        (None, None, Late(3, 1, ("fan",)), Late(3, 1, ("fan",)), (2,)),
        (None, None, Late(21, 21, tuple("abcdefghijklmnopqrstu")), Late(21, 21, tuple("abcdefghijklmnopqrst")), (2,)),
        (RequestKind.REDRIVE, Late(3, 1, ("fan",)), Late(), Late(3, 1, ("fan",)), (1,)),  # of what is not carried over
        (RequestKind.REDRIVE, Late(3, 1, ("fan",)), None, Late(3, 1, ("fan",)), (1,)),
        (RequestKind.REDRIVE, None, Late(3, 1, ("fan",)), Late(3, 1, ("fan",)), (2,)),
        (RequestKind.REDRIVE, Late(), Late(3, 1, ("fan",)), Late(3, 1, ("fan",)), (2,)),  # it could not be scored
        (RequestKind.REDRIVE, Late(3, 1, ("fan",)), Late(2, 1, ("pump",)), Late(3, 1, ("fan",)), (1, 2)),
        (RequestKind.REDRIVE, Late(3, 1, ("fan",)), Late(4, 1, ("pump",)), Late(4, 1, ("pump",)), (1, 2)),
        (RequestKind.REDRIVE, Late(unread_rows=2), Late(unread_rows=3), Late(unread_rows=3), ()),
        (RequestKind.REDRIVE, None, None, None, ()),
        (RequestKind.RESCORE, Late(3, 1, ("fan",)), Late(1, 1, ("fan",)), Late(3, 1, ("fan",)), (1, 2)),
        (RequestKind.REPROCESS, Late(3, 1, ("fan",)), Late(5, 1, ("fan",)), Late(5, 1, ("fan",)), (2,)),
        (RequestKind.REPROCESS, Late(3, 1, ("fan",)), None, None, ()),
    ],
)
def test_late_rows_of_models_that_are_carried_over_stay_counted_and_all_reports_that_name_devices_are_known(
    redo: RequestKind | None,
    before: Late | None,
    reported: Late | None,
    becomes: Late | None,
    named_by: tuple[int, ...],
) -> None:
    run, chunk = again(3 if redo else None, redo)
    chunk = replace(chunk, committed=chunk.committed and replace(chunk.committed, late=before))
    after = follow(chunk, J.RUNNING, report=replace(report(3, attempt=2), late=reported), run=run)
    assert after.chosen
    assert (after.chosen.late, after.late, after.chosen.list_late_attempts()) == (becomes, before, named_by)


@pytest.mark.parametrize("redo", [RequestKind.REDRIVE, RequestKind.RESCORE])
def test_a_round_that_carries_over_and_scored_fewer_is_a_retry_and_what_is_committed_stays(redo: RequestKind) -> None:
    run, chunk = again(2, redo)
    after = follow(chunk, J.SUCCEEDED, report=report(1, attempt=2), run=run)
    assert (after.state, after.attempts, after.chosen, after.committed) == (C.WAITING, (), None, result(2))
    assert (after.retries, after.losses, after.not_before > NOW) == (1, 0, True)
    assert (after.first_attempt, after.next_attempt) == (3, 3)  # that report counts no more
    message = "attempt 2 scored 1 models; the 2 that are committed stay"
    assert (after.reason, after.message) == (R.REGRESSION, message)
    spent = follow(replace(chunk, retries=2), J.SUCCEEDED, report=report(1, attempt=2), run=run)
    assert (spent.state, spent.reason, spent.tally) == (C.COMMITTED, R.REGRESSION, result(2).tally)


# What nodes have left (seeing.py)


def lay(work: MemoryBlobs, told: Report, data: bytes = b"0123456789") -> Report:
    """Write a report and its part, and return it as it is read; where *data* is not what was reported it is spoilt."""
    part = replace(told.parts[0], bytes=10, md5="eB5eJF1ptWaXm4bijSPyxw==")
    told = replace(told, parts=(part,))
    work.write(part.path, data)
    work.write(paths.report_path(RUN.id, "c00000", told.attempt), told.to_bytes())
    return Report.from_bytes(told.to_bytes())


def see(work: MemoryBlobs, chunk: Chunk, *, in_time: bool = True) -> Observation:
    jobs: Mapping[str, JobStatus] = {}
    return observe.collect_observation(work, RUN.id, [chunk], jobs, lambda: in_time)


def test_a_report_of_an_earlier_round_counts_for_nothing() -> None:
    work = MemoryBlobs()
    lay(work, report(3, attempt=2))
    second_round = replace(FRESH, next_attempt=4, first_attempt=3, round=1)
    assert see(work, second_round) == Observation({}, {}, {})
    told = lay(work, report(3, attempt=3))
    assert see(work, second_round) == Observation({}, {}, {"c00000": told})


def test_the_first_valid_report_of_a_round_is_taken() -> None:
    work = MemoryBlobs()
    lay(work, report(3, attempt=1), data=b"spoilt")
    work.write(paths.report_path(RUN.id, "c00000", 2), b"{")
    forgetful = Outcomes.from_results([ModelResult("a", 3)])  # of three models
    lay(work, replace(report(3, attempt=3), outcomes=forgetful))
    gone = lay(work, report(3, attempt=4))
    work.delete(gone.parts[0].path)
    told = lay(work, report(3, attempt=9))
    lay(work, report(3, attempt=10))  # a listing has it before the ninth
    assert see(work, FRESH) == Observation({}, {}, {"c00000": told})


def test_reports_of_what_is_decided_are_not_read() -> None:
    work = MemoryBlobs()
    lay(work, report(3))
    for state in (C.COMMITTED, C.FAILED, C.CANCELLED, C.NOT_ATTEMPTED, C.COMMITTING):
        assert see(work, replace(FRESH, state=state)) == Observation({}, {}, {})


def test_reports_for_which_there_is_no_time_are_told_as_unread() -> None:
    work = MemoryBlobs()
    assert see(work, FRESH, in_time=False) == Observation({}, {}, {})
    lay(work, report(3))
    assert see(work, FRESH, in_time=False) == Observation({}, {}, {}, frozenset({"c00000"}))


def test_signs_are_read_for_every_attempt() -> None:
    work = MemoryBlobs()
    etags = [work.write(paths.progress_path(RUN.id, "c00000", n), b"", Progress(n, 3).to_metadata()) for n in (1, 2)]
    signs = {("c00000", n): AttemptProgress(etags[n - 1], n) for n in (1, 2)}
    assert see(work, FRESH) == Observation({}, signs, {})


# A further round


OVER = {
    "all scored": replace(FRESH, state=C.COMMITTED, committed=result(3), next_attempt=4),
    "some scored": replace(FRESH, state=C.COMMITTED, committed=result(2), next_attempt=4),
    "failed": replace(FRESH, state=C.FAILED, reason=R.JOB_FAILED, message="no", retries=3, losses=1, next_attempt=4),
    "cancelled": replace(FRESH, state=C.CANCELLED, next_attempt=4),
    "not attempted": replace(FRESH, state=C.NOT_ATTEMPTED),
}


@pytest.mark.parametrize(
    ("redo", "opened"),
    [
        (RequestKind.REDRIVE, {"some scored", "failed", "cancelled", "not attempted"}),
        (RequestKind.REPROCESS, set(OVER)),
        (RequestKind.EXTEND, set()),
        (None, set()),
    ],
)
@pytest.mark.parametrize("stood", OVER)
def test_a_round_opens_the_chunks_that_it_is_for(redo: RequestKind | None, opened: set[str], stood: str) -> None:
    before = replace(OVER[stood], not_before=NOW)
    again = replace(
        before, state=C.WAITING, since=NOW, round=1, first_attempt=before.next_attempt, retries=0, losses=0,
        not_before=EPOCH, reason=None, message="",
    )  # fmt: skip
    run = replace(RUN, round=1, redo=redo)
    assert attempts.reopen_chunk(run, before, NOW) == (again if stood in opened else before)


@pytest.mark.parametrize("stood", OVER)
def test_a_chunk_is_opened_once_a_round_and_not_in_a_run_that_stops(stood: str) -> None:
    run = replace(RUN, round=1, redo=RequestKind.REPROCESS)
    before = OVER[stood]
    for other in (replace(run, round=0), replace(run, cancelled_at=NOW), replace(run, stopped=R.DEADLINE)):
        assert attempts.reopen_chunk(other, before, NOW) == before
    waiting = attempts.reopen_chunk(run, before, NOW)
    assert attempts.reopen_chunk(run, waiting, NOW) == waiting
    ended = replace(waiting, state=C.FAILED)
    assert attempts.reopen_chunk(run, ended, NOW) == ended


# Stopping


CANCELLED = replace(RUN, cancelled_at=NOW)
DEADLINE = replace(RUN, stopped=R.DEADLINE)
TOO_MANY = replace(RUN, stopped=R.TOO_MANY_FAILURES)
RETRYING = replace(FRESH, next_attempt=2, retries=1, reason=R.JOB_FAILED, message="no")
RUNNING = under_way(A.RUNNING, stood=5, sign=1)


@pytest.mark.parametrize(
    ("run", "chunk", "seen", "becomes", "why"),
    [
        (CANCELLED, FRESH, None, C.CANCELLED, None),
        (CANCELLED, RETRYING, None, C.CANCELLED, R.JOB_FAILED),
        (CANCELLED, under_way(A.SUBMITTING), None, C.CANCELLED, None),  # should it turn up, no row holds it
        (CANCELLED, under_way(A.SUBMITTING), J.QUEUED, C.CANCELLING, None),
        (CANCELLED, under_way(A.QUEUED), J.QUEUED, C.CANCELLING, None),
        (CANCELLED, RUNNING, J.RUNNING, C.CANCELLING, None),
        (CANCELLED, RUNNING, None, C.CANCELLING, None),
        (CANCELLED, RUNNING, J.FAILED, C.CANCELLED, R.JOB_FAILED),
        (CANCELLED, under_way(A.CANCELLING), J.RUNNING, C.CANCELLING, None),
        (CANCELLED, under_way(A.CANCELLING), J.CANCELLED, C.CANCELLED, None),
        (CANCELLED, under_way(A.LOST), J.RUNNING, C.CANCELLED, None),
        (CANCELLED, replace(FRESH, state=C.COMMITTING, chosen=result(3)), None, C.COMMITTING, None),
        (DEADLINE, FRESH, None, C.NOT_ATTEMPTED, None),
        (DEADLINE, RETRYING, None, C.FAILED, R.JOB_FAILED),
        (DEADLINE, under_way(A.QUEUED), J.QUEUED, C.CANCELLING, None),
        (DEADLINE, RUNNING, J.RUNNING, C.CANCELLING, None),
        (DEADLINE, under_way(A.CANCELLING), J.CANCELLED, C.FAILED, R.DEADLINE),
        (DEADLINE, under_way(A.LOST), None, C.FAILED, R.DEADLINE),
        (DEADLINE, replace(FRESH, state=C.COMMITTING, chosen=result(3)), None, C.COMMITTING, None),
        (TOO_MANY, FRESH, None, C.NOT_ATTEMPTED, None),
        (TOO_MANY, RETRYING, None, C.FAILED, R.JOB_FAILED),
        (TOO_MANY, RUNNING, J.RUNNING, C.RUNNING, None),  # what runs may end
        (TOO_MANY, RUNNING, J.FAILED, C.FAILED, R.JOB_FAILED),  # and is not tried again
        (TOO_MANY, under_way(A.LOST), None, C.WAITING, None),  # it may yet report
        (TOO_MANY, under_way(A.LOST, stood=60), None, C.FAILED, R.TOO_MANY_FAILURES),
        (TOO_MANY, replace(FRESH, state=C.COMMITTING, chosen=result(3)), None, C.COMMITTING, None),
    ],
)
def test_a_run_that_stops_lets_go_of_its_chunks(
    run: Run, chunk: Chunk, seen: JobState | None, becomes: ChunkState, why: Reason | None
) -> None:
    after = follow(chunk, seen, sign=1, run=run)
    assert (after.state, after.reason) == (becomes, why)
    lost = {C.CANCELLED: "cancelled", C.NOT_ATTEMPTED: "not_attempted", C.FAILED: "failed"}.get(becomes)
    assert after.tally == (Tally(**{lost: 3}) if lost else Tally())
    # What an earlier round has committed stays, wherever else the chunk would have come to nothing; a stop is why.
    why = run.stopped if becomes is C.NOT_ATTEMPTED else why
    kept = follow(replace(chunk, committed=result(2)), seen, sign=1, run=run)
    assert (kept.state, kept.committed, kept.reason) == (C.COMMITTED if lost else becomes, result(2), why)


def test_a_cancel_does_not_wait_for_ever_for_a_cluster_that_is_gone() -> None:
    waiting = under_way(A.CANCELLING, stood=9)
    assert follow(waiting, None, silent=True, run=CANCELLED) == waiting
    assert follow(under_way(A.CANCELLING, stood=10), None, silent=True, run=CANCELLED).state is C.CANCELLED


def test_a_cancelled_run_takes_a_report_that_comes_in_time() -> None:
    for run in (CANCELLED, DEADLINE, TOO_MANY):
        assert follow(RUNNING, J.RUNNING, report=report(3), run=run).state is C.COMMITTING


# What the control plane tells when it has acted


def test_what_the_cluster_has_taken_is_queued() -> None:
    lost = Attempt(1, A.LOST, ago(3))
    before = under_way(A.SUBMITTING, base=replace(FRESH, next_attempt=2))
    before = replace(before, attempts=(lost, *before.attempts))
    after = transitions.mark_acknowledged(before, NOW)
    assert after == replace(before, attempts=(lost, Attempt(2, A.QUEUED, NOW)))
    assert transitions.find_unsubmitted(after) is None


def test_a_name_that_is_taken_costs_nothing() -> None:
    after = transitions.mark_name_taken(under_way(A.SUBMITTING), NOW)
    assert after == replace(FRESH, since=NOW, next_attempt=2)


@pytest.mark.parametrize(
    ("chunk", "reason"),
    [
        (transitions.mark_refused(under_way(A.SUBMITTING), "no\nsuch compute", NOW), R.REJECTED),
        (
            transitions.mark_uncommittable(
                replace(FRESH, state=C.COMMITTING, chosen=result(3)), "no\nsuch compute", NOW, earlier_intact=True
            ),
            R.COMMIT_CONFLICT,
        ),
    ],
)  # fmt: skip
def test_what_will_never_work_fails(chunk: Chunk, reason: Reason) -> None:
    expected = (C.FAILED, NOW, reason, "no such compute", (), None)
    assert (chunk.state, chunk.since, chunk.reason, chunk.message, chunk.attempts, chunk.chosen) == expected


def test_what_cannot_replace_an_earlier_result_leaves_it_standing() -> None:
    chosen = replace(FRESH, state=C.COMMITTING, chosen=result(3, attempt=2), committed=result(2))
    refused = transitions.mark_refused(replace(under_way(A.SUBMITTING), committed=result(2)), "no", NOW)
    for after in (transitions.mark_uncommittable(chosen, "no", NOW, earlier_intact=True), refused):
        assert (after.state, after.committed, after.chosen, after.tally) == (
            C.COMMITTED,
            result(2),
            None,
            result(2).tally,
        )


def test_what_is_committed_stands_with_the_etags_of_its_copies() -> None:
    before = replace(FRESH, state=C.COMMITTING, chosen=result(3), reason=R.JOB_FAILED, message="at first")
    lying = (replace(result(3).parts[0], etag="e"),)
    after = transitions.mark_committed(before, lying, NOW)
    assert after == replace(FRESH, state=C.COMMITTED, since=NOW, committed=replace(result(3), parts=lying))
