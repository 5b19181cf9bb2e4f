"""Decides what becomes of a run's chunks, given what is seen. Pure: doing it is the control plane's work.

What is wanted stands in the chunks' rows, what is seen comes as evidence, and `advance` closes the gap. What has to be
done then can be read off the rows it returns: an attempt that is `submitting` is to be submitted, a chunk that is
`committing` is to be copied. Either may be asked for again at every tick until its end was written down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from .contract import Report, clip, job_name, parse_job_name
from .domain import (
    Attempt,
    AttemptState,
    Chunk,
    ChunkState,
    Failure,
    JobState,
    Outcome,
    Phase,
    Reason,
    Run,
    Tally,
    merge_failures,
)
from .ports import Sighting


@dataclass(frozen=True, slots=True)
class Policy:
    """The bounds that a run is held to."""

    app: str = "fleetscore"
    max_retries: int = 2  # attempts beyond the first that may fail by their own fault
    max_losses: int = 5  # attempts that the cluster may lose
    max_in_flight: int = 100  # jobs of a run at once
    silence: timedelta = timedelta(minutes=10)  # without a word of the cluster and without progress: lost
    backoff: timedelta = timedelta(seconds=30)  # before the first retry; doubles with each
    job_timeout: timedelta = timedelta(hours=1)  # wall time of a job


@dataclass(frozen=True, slots=True)
class Sign:
    """The progress of an attempt as it lies in storage: its etag moves while the node lives."""

    etag: str
    done: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a tick saw. Jobs are looked at before storage, so a job that ended has left its report by then.

    *jobs* is None where the cluster did not answer: nothing is concluded from that.
    """

    jobs: Mapping[str, Sighting] | None
    signs: Mapping[tuple[str, int], Sign]  # by chunk and attempt
    reports: Mapping[str, Report]  # by chunk: the first valid one


@dataclass(frozen=True, slots=True)
class Step:
    """The verdict on a run's chunks, and the names of jobs that have no business to run."""

    chunks: tuple[Chunk, ...]
    cancel: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _End:
    """How an attempt came to nothing."""

    reason: Reason
    message: str


def advance(run: Run, chunks: Sequence[Chunk], evidence: Evidence, policy: Policy, now: datetime) -> Step:
    """Set what is wanted beside what is seen, and say how every chunk stands now."""
    moved = [_follow(run, chunk, evidence, policy, now) for chunk in chunks]
    room = policy.max_in_flight - sum(attempt.state.in_flight for chunk in moved for attempt in chunk.attempts)
    for i, chunk in enumerate(moved):
        if room > 0 and _may_try(chunk, policy, now):
            moved[i] = _try(chunk, now)
            room -= 1
    return Step(tuple(moved), unwanted(evidence.jobs or {}, moved))


def unwanted(jobs: Mapping[str, Sighting], chunks: Sequence[Chunk]) -> tuple[str, ...]:
    """The jobs that still run and that no row holds, or that a row wants gone.

    The job that reported is held by its report: it is about to end by itself.
    """
    held = {
        (chunk.id, attempt.number)
        for chunk in chunks
        for attempt in chunk.attempts
        if attempt.state is not AttemptState.CANCELLING
    } | {(chunk.id, chunk.chosen) for chunk in chunks}
    parsed = ((name, parse_job_name(name)) for name, seen in jobs.items() if not seen.state.over)
    return tuple(sorted(name for name, job in parsed if job and job[1:] not in held))


def sum_up(run: Run, chunks: Sequence[Chunk], now: datetime) -> Run:
    """The run as its chunks make it: counts, progress, and its end when all of them have ended."""
    tally = sum((c.tally for c in chunks if c.state.terminal), Tally())
    under_way = sum(
        c.tally.models if c.state is ChunkState.COMMITTING else max((a.done for a in c.attempts), default=0)
        for c in chunks
        if not c.state.terminal
    )
    done = tally.models + under_way
    moved = replace(
        run,
        observed_at=now,
        progress_at=now if done > run.done else run.progress_at,
        done=done,
        tally=tally,
        chunk_states=dict(sorted(Counter(c.state for c in chunks).items())),
        failures=merge_failures(failure for c in chunks if c.state.terminal for failure in c.failures),
    )
    if not all(c.state.terminal for c in chunks):
        return moved
    phase, reason, message = _verdict(moved)
    return replace(moved, phase=phase, reason=reason, message=message, ended_at=now)


def _verdict(run: Run) -> tuple[Phase, Reason | None, str]:
    tally = run.tally
    if tally.cancelled:
        return Phase.CANCELLED, Reason.CANCELLED, "cancelled by request"
    if tally.scored and not tally.failed:
        return Phase.SUCCEEDED, None, ""
    if tally.scored:
        return Phase.PARTIAL, None, ""
    # Nothing was scored. That a pump was off is no fault, but that all were is most often a fault of ours.
    top = run.failures[0]
    return Phase.FAILED, top.reason, f"none of {run.models} models was scored; most often: {top.message}"


def _follow(run: Run, chunk: Chunk, evidence: Evidence, policy: Policy, now: datetime) -> Chunk:
    """Where one chunk stands after what was seen of its attempts."""
    if chunk.state.terminal or chunk.state is ChunkState.COMMITTING:
        return chunk
    report = evidence.reports.get(chunk.id)
    if report:
        return _choose(chunk, report, now)
    attempts = []
    for attempt in chunk.attempts:
        name = job_name(policy.app, chunk.run, chunk.id, attempt.number)
        sign = evidence.signs.get((chunk.id, attempt.number))
        found = _look(attempt, sign, evidence.jobs, name, policy, now)
        if isinstance(found, _End):
            chunk = _charge(chunk, attempt, found, policy, now)
            if found.reason is Reason.JOB_LOST and attempt.state is not AttemptState.LOST:
                attempts.append(replace(attempt, state=AttemptState.LOST, since=now))
        elif found:
            attempts.append(found)
    if run.cancelled_at:  # what the cluster never acknowledged is let go: should it turn up, it is an orphan
        gone = (AttemptState.LOST, AttemptState.SUBMITTING)
        attempts = [_cancel(a, now) for a in attempts if a.state not in gone]
    return _settle(run, replace(chunk, attempts=tuple(attempts)), policy, now)


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
    if jobs is None:
        forgotten = attempt.state is AttemptState.CANCELLING and now - attempt.since >= policy.silence
        return None if forgotten else attempt  # a cancel does not wait for ever for a cluster that is gone
    seen = jobs.get(name)
    paid = attempt.state in (AttemptState.LOST, AttemptState.CANCELLING)
    if seen and seen.state.over:
        return None if paid else _ended(name, seen)
    if seen and seen.state is not JobState.DOUBTFUL:
        return _alive(attempt, seen.state, now)
    match attempt.state:
        case AttemptState.SUBMITTING:
            return attempt  # it was never acknowledged: it will be asked for again, by the same name
        case AttemptState.CANCELLING:
            return attempt if seen else None
        case AttemptState.LOST:  # it may yet report, but not for ever
            return attempt if now - attempt.since < policy.job_timeout else None
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
    state = AttemptState.RUNNING if seen is JobState.RUNNING or attempt.sign else AttemptState.QUEUED
    if attempt.state in (state, AttemptState.LOST, AttemptState.CANCELLING):
        return attempt
    return replace(attempt, state=state, since=now)


def _doubt(attempt: Attempt, name: str, seen: Sighting | None, policy: Policy, now: datetime) -> Attempt | _End:
    """One sign is a doubt, two are an end: no word of the cluster, and no progress, both for `silence`."""
    attempt = replace(attempt, doubted_since=attempt.doubted_since or now)
    assert attempt.doubted_since
    quiet_since = max(attempt.doubted_since, attempt.sign_at or attempt.doubted_since)
    if now - quiet_since < policy.silence:
        return attempt
    word = "does not answer for" if seen else "does not know"
    return _End(Reason.JOB_LOST, f"the cluster {word} job {name}, and it made no progress since {quiet_since:%H:%M:%S}")


def _charge(chunk: Chunk, attempt: Attempt, end: _End, policy: Policy, now: datetime) -> Chunk:
    """An attempt came to nothing: who pays, and when the next one may start."""
    lost = end.reason is Reason.JOB_LOST
    retries, losses = chunk.retries + (not lost), chunk.losses + lost
    wait = timedelta() if lost else policy.backoff * 2 ** min(retries - 1, 6)
    return replace(
        chunk,
        retries=retries,
        losses=losses,
        not_before=now + wait,
        next_attempt=max(chunk.next_attempt, attempt.number + 1),
        reason=end.reason,
        message=clip(end.message),
    )


def _cancel(attempt: Attempt, now: datetime) -> Attempt:
    if attempt.state is AttemptState.CANCELLING:
        return attempt
    return replace(attempt, state=AttemptState.CANCELLING, since=now)


def _settle(run: Run, chunk: Chunk, policy: Policy, now: datetime) -> Chunk:
    """The chunk's state, as its attempts make it."""
    states = {attempt.state for attempt in chunk.attempts if attempt.state.in_flight}
    if AttemptState.CANCELLING in states:
        return _enter(chunk, ChunkState.CANCELLING, now)
    if AttemptState.RUNNING in states:
        return _enter(chunk, ChunkState.RUNNING, now)
    if states:
        return _enter(chunk, ChunkState.QUEUED, now)
    if run.cancelled_at:
        return _give_up(chunk, ChunkState.CANCELLED, now)
    if _spent(chunk, policy) and not chunk.attempts:  # one that was lost may still report
        return _give_up(chunk, ChunkState.FAILED, now)
    return _enter(chunk, ChunkState.WAITING, now)


def _spent(chunk: Chunk, policy: Policy) -> bool:
    return chunk.retries > policy.max_retries or chunk.losses > policy.max_losses


def _may_try(chunk: Chunk, policy: Policy, now: datetime) -> bool:
    return chunk.state is ChunkState.WAITING and chunk.not_before <= now and not _spent(chunk, policy)


def _enter(chunk: Chunk, state: ChunkState, now: datetime) -> Chunk:
    return chunk if chunk.state is state else replace(chunk, state=state, since=now)


def _give_up(chunk: Chunk, state: ChunkState, now: datetime) -> Chunk:
    """Nothing of this chunk will be scored: all its models end with it."""
    if state is ChunkState.CANCELLED:
        return replace(chunk, state=state, since=now, attempts=(), tally=Tally(cancelled=chunk.models))
    assert chunk.reason
    failure = Failure(chunk.reason, Outcome.FAILED, chunk.models, chunk.id, chunk.message)
    return replace(chunk, state=state, since=now, attempts=(), tally=Tally(failed=chunk.models), failures=(failure,))


def _try(chunk: Chunk, now: datetime) -> Chunk:
    """Write the next attempt down, before the cluster is asked for it."""
    attempt = Attempt(chunk.next_attempt, AttemptState.SUBMITTING, now)
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
        chosen=report.attempt,
        parts=report.parts,
        tally=report.tally,
        failures=report.failures,
    )


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


def refused(chunk: Chunk, message: str, now: datetime) -> Chunk:
    """The cluster will never take this job."""
    return _give_up(replace(chunk, reason=Reason.REJECTED, message=clip(message)), ChunkState.FAILED, now)


def committed(chunk: Chunk, now: datetime) -> Chunk:
    """Its parts lie where consumers read."""
    return replace(chunk, state=ChunkState.COMMITTED, since=now)


def uncommittable(chunk: Chunk, message: str, now: datetime) -> Chunk:
    """Its parts cannot be put where they belong."""
    return _give_up(replace(chunk, reason=Reason.COMMIT_CONFLICT, message=clip(message)), ChunkState.FAILED, now)
