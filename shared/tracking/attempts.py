"""Follows one chunk and its attempts, given what is seen of them. Pure.

Each open state of an attempt has its time-out. What the cluster says is evidence: that it does not know a job, or does
not hear from it, is a doubt; a second copy wants progress to have stood still as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from shared.contract.domain import Part, Reason
from shared.contract.paths import make_job_name
from shared.contract.report import Report
from shared.contract.text import clip_text
from shared.contract.windows import EPOCH
from shared.ports import Sighting
from shared.state.requests import WishKind
from shared.state.runs import Attempt, AttemptState, Chunk, ChunkState, JobState, Result, Run

from .observation import Evidence, Sign
from .run_limits import Policy

CAREFUL_LOSSES = 2  # after so many the node may have been taken down by what it scored

# Ends that say nothing of the job itself: they are not charged to its retries, and have a bound of their own.
LOSSES = frozenset({Reason.JOB_LOST, Reason.QUEUED_TOO_LONG})


@dataclass(frozen=True, slots=True)
class _End:
    """How an attempt came to nothing. *alive*: by our judgement only; the job is to be cancelled."""

    reason: Reason
    message: str
    alive: bool = False


def ends_jobs(run: Run) -> bool:
    """Whether jobs under way are cancelled, and not only new ones left out."""
    return run.cancelled_at is not None or run.stopped is Reason.DEADLINE


def reopened(run: Run, chunk: Chunk, now: datetime) -> Chunk:
    """The chunk, made to wait again where the run's round wants that of it."""
    over = chunk.state.terminal and chunk.round < run.round
    expected = run.redo is WishKind.REPROCESS or (run.redo is WishKind.REDRIVE and chunk.tally.scored < chunk.models)
    if not (over and expected) or run.cancelled_at or run.stopped:
        return chunk
    return replace(
        chunk,
        state=ChunkState.WAITING,
        since=now,
        round=run.round,
        first_attempt=chunk.next_attempt,
        retries=0,
        losses=0,
        not_before=EPOCH,
        reason=None,
        message="",
    )


def follow(run: Run, chunk: Chunk, evidence: Evidence, policy: Policy, now: datetime) -> Chunk:
    """Where one chunk stands after what was seen of its attempts."""
    if chunk.state.terminal or chunk.state is ChunkState.COMMITTING or chunk.id in evidence.unread:
        return chunk
    report = evidence.reports.get(chunk.id)
    if report and not _is_worse(run, chunk, report):
        return _choose(chunk, report, now)
    if report:
        chunk = _passed_by(chunk, report, policy, now)
    chunk, attempts = _looked_after(chunk, evidence, policy, now)
    if run.stopped or run.cancelled_at:
        chunk, attempts = _unasked_left_out(chunk, attempts)
    if ends_jobs(run):
        running = [attempt for attempt in attempts if attempt.state is not AttemptState.LOST]
        attempts = [_enter_attempt(attempt, AttemptState.CANCELLING, now) for attempt in running]
    return _settle(run, replace(chunk, attempts=tuple(attempts)), policy, now)


def _looked_after(chunk: Chunk, evidence: Evidence, policy: Policy, now: datetime) -> tuple[Chunk, list[Attempt]]:
    """The chunk, charged for attempts that came to nothing, and those whose end was not seen."""
    attempts = []
    for attempt in chunk.attempts:
        name = make_job_name(policy.app, chunk.run, chunk.id, attempt.number)
        sign = evidence.signs.get((chunk.id, attempt.number))
        found = _look(attempt, sign, evidence.jobs, name, policy, now)
        if isinstance(found, _End):
            chunk = _charge(chunk, attempt.number, found, name, policy, now)
            if found.alive:
                attempts.append(_enter_attempt(attempt, AttemptState.CANCELLING, now))
            elif found.reason is Reason.JOB_LOST:
                attempts.append(_enter_attempt(attempt, AttemptState.LOST, now))
        elif found:
            attempts.append(found)
    return chunk, attempts


def _unasked_left_out(chunk: Chunk, attempts: list[Attempt]) -> tuple[Chunk, list[Attempt]]:
    """Without what the cluster never acknowledged: should it turn up, it is an orphan.

    Where that was the first attempt of the round, the chunk was not attempted in it.
    """
    left = [attempt for attempt in attempts if attempt.state is not AttemptState.SUBMITTING]
    if len(left) < len(attempts) and chunk.next_attempt == chunk.first_attempt + 1:
        chunk = replace(chunk, first_attempt=chunk.next_attempt)
    return chunk, left


def _look(
    attempt: Attempt,
    sign: Sign | None,
    jobs: Mapping[str, Sighting] | None,
    name: str,
    policy: Policy,
    now: datetime,
) -> Attempt | _End | None:
    """The attempt as it stands now; how it came to nothing; or None when it is over and was charged for before."""
    if sign and sign.etag != attempt.sign:
        attempt = replace(attempt, sign=sign.etag, sign_at=now, done=sign.done)
    limit = {AttemptState.CANCELLING: policy.cancel_timeout, AttemptState.LOST: policy.job_timeout}.get(attempt.state)
    if limit and now - attempt.since >= limit:
        return None  # let go: should it turn up again, it is an orphan, and should it report, its report counts
    if jobs is None:
        return attempt
    seen = jobs.get(name)
    if seen and seen.state.over:
        paid = attempt.state in (AttemptState.LOST, AttemptState.CANCELLING)
        return None if paid else _ended(name, seen)
    if seen and seen.state is not JobState.DOUBTFUL:
        return _in_time(_alive(attempt, seen.state, now), name, policy, now)
    match attempt.state:
        case AttemptState.SUBMITTING:
            return attempt  # it was never acknowledged: it will be asked for again, by the same name
        case AttemptState.CANCELLING:
            return attempt if seen else None
        case AttemptState.LOST:
            return attempt  # it may yet report
        case AttemptState.QUEUED | AttemptState.RUNNING:
            return _doubt(attempt, name, seen, policy, now)
        case _:
            assert_never(attempt.state)


def _ended(name: str, seen: Sighting) -> _End:
    said = f": {seen.detail}" if seen.detail else ""
    match seen.state:
        case JobState.SUCCEEDED:
            return _End(Reason.NO_REPORT, f"job {name} ended without a valid report{said}")
        case JobState.LOST | JobState.CANCELLED:  # we did not cancel it
            return _End(Reason.JOB_LOST, f"job {name} was {seen.state} at the cluster{said}")
        case _:
            return _End(Reason.JOB_FAILED, f"job {name} failed{said}")


def _alive(attempt: Attempt, seen: JobState, now: datetime) -> Attempt:
    """The cluster knows it: whatever doubt there was is gone."""
    attempt = replace(attempt, doubted_since=None)
    if attempt.state in (AttemptState.LOST, AttemptState.CANCELLING):
        return attempt
    state = AttemptState.RUNNING if seen is JobState.RUNNING or attempt.sign_at == now else AttemptState.QUEUED
    return _enter_attempt(attempt, state, now)


def _in_time(attempt: Attempt, name: str, policy: Policy, now: datetime) -> Attempt | _End:
    """The attempt, unless it has stood in its state for too long although the cluster calls it alive."""
    stood = now - attempt.since
    if attempt.state is AttemptState.QUEUED and stood >= policy.queue_timeout:
        return _End(Reason.QUEUED_TOO_LONG, f"job {name} was queued for {stood} and did not start", alive=True)
    if attempt.state is not AttemptState.RUNNING:
        return attempt
    if stood >= policy.job_timeout + policy.silence:  # the cluster itself should have ended it before
        return _End(Reason.RAN_TOO_LONG, f"job {name} ran for {stood}", alive=True)
    if attempt.sign_at is None and stood >= policy.start_timeout:
        return _End(Reason.NO_SIGN, f"job {name} runs for {stood} and never gave a sign of life", alive=True)
    if attempt.sign_at and min(stood, now - attempt.sign_at) >= policy.stall_timeout:
        return _End(Reason.STALLED, f"job {name} made no progress since {attempt.sign_at:%H:%M:%S}", alive=True)
    return attempt


def _doubt(attempt: Attempt, name: str, seen: Sighting | None, policy: Policy, now: datetime) -> Attempt | _End:
    """One sign is a doubt, two are an end: no word of the cluster, and no progress, both for `silence`."""
    attempt = replace(attempt, doubted_since=attempt.doubted_since or now)
    assert attempt.doubted_since
    quiet_since = max(attempt.doubted_since, attempt.sign_at or attempt.doubted_since)
    if now - quiet_since < policy.silence:
        return attempt
    word = "does not answer for" if seen else "does not know"
    return _End(Reason.JOB_LOST, f"the cluster {word} job {name}, and it made no progress since {quiet_since:%H:%M:%S}")


def _charge(chunk: Chunk, number: int, end: _End, name: str, policy: Policy, now: datetime) -> Chunk:
    """An attempt came to nothing: who pays, and when the next one may start."""
    lost = end.reason in LOSSES
    retries, losses = chunk.retries + (not lost), chunk.losses + lost
    wait = timedelta() if lost else policy.backoff * 2 ** min(retries - 1, 6) * _jitter(name)
    return replace(
        chunk,
        retries=retries,
        losses=losses,
        not_before=now + wait,
        next_attempt=max(chunk.next_attempt, number + 1),
        reason=end.reason,
        message=clip_text(end.message),
    )


def _jitter(name: str) -> float:
    """0.5 to 1.5, by the name: chunks that failed together do not all come back together."""
    return 0.5 + hashlib.sha256(name.encode()).digest()[0] / 256


def _enter_attempt(attempt: Attempt, state: AttemptState, now: datetime) -> Attempt:
    return attempt if attempt.state is state else replace(attempt, state=state, since=now)


def _settle(run: Run, chunk: Chunk, policy: Policy, now: datetime) -> Chunk:
    """The chunk's state, as its attempts make it."""
    states = {attempt.state for attempt in chunk.attempts if attempt.state.in_flight}
    if AttemptState.RUNNING in states:
        return _enter(chunk, ChunkState.RUNNING, now)
    if AttemptState.CANCELLING in states:
        return _enter(chunk, ChunkState.CANCELLING, now)
    if states:
        return _enter(chunk, ChunkState.QUEUED, now)
    if ends_jobs(run):
        return _stopped(run, chunk, now)
    if chunk.attempts:  # one that was lost may still report
        return _enter(chunk, ChunkState.WAITING, now)
    if _spent(chunk, policy):
        return _end(chunk, ChunkState.FAILED, now)
    return _stopped(run, chunk, now) if run.stopped else _enter(chunk, ChunkState.WAITING, now)


def _stopped(run: Run, chunk: Chunk, now: datetime) -> Chunk:
    """A chunk of which nothing is under way, in a run that starts nothing more."""
    if run.cancelled_at:
        return _end(chunk, ChunkState.CANCELLED, now)
    if chunk.next_attempt == chunk.first_attempt:
        return _end(chunk, ChunkState.NOT_ATTEMPTED, now)
    return _end(replace(chunk, reason=chunk.reason or run.stopped), ChunkState.FAILED, now)


def _spent(chunk: Chunk, policy: Policy) -> bool:
    return chunk.retries > policy.max_retries or chunk.losses > policy.max_losses


def may_try(chunk: Chunk, policy: Policy, now: datetime) -> bool:
    """Whether a further attempt may start, as far as the chunk goes."""
    return chunk.state is ChunkState.WAITING and chunk.not_before <= now and not _spent(chunk, policy)


def _enter(chunk: Chunk, state: ChunkState, now: datetime) -> Chunk:
    return chunk if chunk.state is state else replace(chunk, state=state, since=now)


def _end(chunk: Chunk, state: ChunkState, now: datetime) -> Chunk:
    """It ends without a new result: in *state*, or with the result of an earlier round where there is one."""
    return _enter(replace(chunk, attempts=(), chosen=None), ChunkState.COMMITTED if chunk.committed else state, now)


def try_again(run: Run, chunk: Chunk, now: datetime) -> Chunk:
    """Write the next attempt down, before the cluster is asked for it."""
    before = chunk.committed
    pardon = before is not None and any(failure.reason is Reason.QUARANTINED for failure in before.failures)
    careful = chunk.retries > 0 or chunk.losses >= CAREFUL_LOSSES or pardon
    carry = before.attempt if before and run.redo is WishKind.REDRIVE else 0
    attempt = Attempt(chunk.next_attempt, AttemptState.SUBMITTING, now, careful, carry, pardon=pardon)
    return replace(
        chunk,
        state=ChunkState.QUEUED,
        since=now,
        attempts=(*chunk.attempts, attempt),
        next_attempt=chunk.next_attempt + 1,
    )


def _choose(chunk: Chunk, report: Report, now: datetime) -> Chunk:
    """Take this report as the chunk's result. Its attempts are let go; what of them still runs is unwanted."""
    return replace(
        chunk,
        state=ChunkState.COMMITTING,
        since=now,
        attempts=(),
        next_attempt=max(chunk.next_attempt, report.attempt + 1),
        chosen=Result(report.attempt, report.parts, report.tally, report.failures),
    )


def _is_worse(run: Run, chunk: Chunk, report: Report) -> bool:
    """Whether a redrive would take away what is scored: the node could not carry it over."""
    before = chunk.committed.tally.scored if chunk.committed else 0
    return run.redo is WishKind.REDRIVE and report.tally.scored < before


def _passed_by(chunk: Chunk, report: Report, policy: Policy, now: datetime) -> Chunk:
    """The attempt came to nothing although it reported: its report counts no more."""
    assert chunk.committed
    scored, before = report.tally.scored, chunk.committed.tally.scored
    end = _End(Reason.WORSE, f"attempt {report.attempt} scored {scored} models; {before} are committed, and stay")
    name = make_job_name(policy.app, chunk.run, chunk.id, report.attempt)
    left = tuple(attempt for attempt in chunk.attempts if attempt.number != report.attempt)
    chunk = _charge(chunk, report.attempt, end, name, policy, now)
    return replace(chunk, attempts=left, first_attempt=report.attempt + 1)


# What the control plane tells when it has acted


def to_submit(chunk: Chunk) -> Attempt | None:
    """The attempt that was written down and that the cluster has not acknowledged."""
    return next((a for a in chunk.attempts if a.state is AttemptState.SUBMITTING), None)


def acknowledged(chunk: Chunk, now: datetime) -> Chunk:
    """The cluster has taken what was to be submitted."""
    attempts = [
        replace(a, state=AttemptState.QUEUED, since=now) if a.state is AttemptState.SUBMITTING else a
        for a in chunk.attempts
    ]
    return replace(chunk, attempts=tuple(attempts))


def passed_over(chunk: Chunk, now: datetime) -> Chunk:
    """The name is another job's: the next attempt has another one. What holds the name is an orphan now."""
    attempts = tuple(a for a in chunk.attempts if a.state is not AttemptState.SUBMITTING)
    return _enter(replace(chunk, attempts=attempts), ChunkState.WAITING, now)


def refused(chunk: Chunk, message: str, now: datetime) -> Chunk:
    """The cluster will never take this job."""
    return _end(replace(chunk, reason=Reason.REJECTED, message=clip_text(message)), ChunkState.FAILED, now)


def committed(chunk: Chunk, parts: tuple[Part, ...], now: datetime) -> Chunk:
    """Its chosen *parts* lie where consumers read."""
    assert chunk.chosen
    result = replace(chunk.chosen, parts=parts)
    return replace(chunk, state=ChunkState.COMMITTED, since=now, committed=result, chosen=None, reason=None, message="")


def uncommittable(chunk: Chunk, message: str, now: datetime, *, earlier_lies: bool) -> Chunk:
    """Its parts cannot be put where they belong. *earlier_lies*: those of an earlier round are there as they were."""
    left = chunk if earlier_lies else replace(chunk, committed=None)
    return _end(replace(left, reason=Reason.COMMIT_CONFLICT, message=clip_text(message)), ChunkState.FAILED, now)
