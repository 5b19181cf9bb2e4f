"""Decides the next state of one chunk and its attempts from an observation. Pure.

Each open state of an attempt has its time-out. The cluster may be wrong: a job that it does not know, or that does not
respond, is only doubted; it is lost, and submitted again, when its progress has stopped as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from shared.contract.paths import make_job_name
from shared.contract.reasons import Reason, Source
from shared.contract.report import Report
from shared.contract.text import clip_text
from shared.contract.windows import EPOCH
from shared.ports import JobStatus
from shared.state.requests import RequestKind
from shared.state.runs import Attempt, AttemptState, Chunk, ChunkState, JobState, Result, Run

from .observation import AttemptProgress, Observation
from .run_limits import RunLimits
from .transitions import end_chunk, enter_state

ISOLATION_LOSSES = 2  # after so many, a model may be what ends the node


@dataclass(frozen=True, slots=True)
class JobFailure:
    """Why an attempt failed. *alive*: a time-out ended it, and the job still has to be cancelled."""

    reason: Reason
    message: str
    alive: bool = False


def cancels_jobs(run: Run) -> bool:
    """Whether running jobs are cancelled; else only no new ones are started."""
    return run.cancelled_at is not None or run.stopped is Reason.DEADLINE


def reopen_chunk(run: Run, chunk: Chunk, now: datetime, manifest: str = "") -> Chunk:
    """The chunk, waiting again if the run's round includes it; *manifest* is the round's own, if it has one.

    A rescore includes the chunks whose manifest is another than before.
    """
    over = chunk.state.terminal and chunk.round < run.round
    if not (over and _includes_chunk(run, chunk, manifest)) or run.cancelled_at or run.stopped:
        return chunk
    return replace(
        chunk,
        manifest=manifest or chunk.manifest,
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


def _includes_chunk(run: Run, chunk: Chunk, manifest: str) -> bool:
    """Whether the run's round is of this chunk too; *manifest* as of `reopen_chunk`."""
    match run.redo:
        case RequestKind.REDRIVE:
            return chunk.tally.scored < chunk.models
        case RequestKind.RESCORE:
            return manifest not in ("", chunk.manifest)
        case _:
            return run.redo is RequestKind.REPROCESS


def advance_chunk(run: Run, chunk: Chunk, observation: Observation, limits: RunLimits, now: datetime) -> Chunk:
    """The chunk after this observation."""
    if chunk.state.terminal or chunk.state is ChunkState.COMMITTING or chunk.id in observation.unread:
        return chunk
    report = observation.reports.get(chunk.id)
    if report and not _is_regression(run, chunk, report):
        return _choose_report(run, chunk, report, now)
    if report:
        chunk = _reject_regression(chunk, report, limits, now)
    chunk, attempts = _advance_attempts(chunk, observation, limits, now)
    if run.stopped or run.cancelled_at:
        chunk, attempts = _drop_unacknowledged(chunk, attempts)
    if cancels_jobs(run):
        running = [attempt for attempt in attempts if attempt.state is not AttemptState.LOST]
        attempts = [_enter_attempt(attempt, AttemptState.CANCELLING, now) for attempt in running]
    return _settle_chunk(run, replace(chunk, attempts=tuple(attempts)), limits, now)


def _advance_attempts(
    chunk: Chunk, observation: Observation, limits: RunLimits, now: datetime
) -> tuple[Chunk, list[Attempt]]:
    """The chunk, charged for attempts that failed, and its attempts that are still open."""
    attempts = []
    for attempt in chunk.attempts:
        name = make_job_name(limits.app, chunk.run, chunk.id, attempt.number)
        progress = observation.progress.get((chunk.id, attempt.number))
        outcome = advance_attempt(attempt, progress, observation.jobs, name, limits, now)
        if isinstance(outcome, JobFailure):
            chunk = _charge_attempt(chunk, attempt.number, outcome, name, limits, now)
            if outcome.alive:
                attempts.append(_enter_attempt(attempt, AttemptState.CANCELLING, now))
            elif outcome.reason is Reason.JOB_LOST:
                attempts.append(_enter_attempt(attempt, AttemptState.LOST, now))
        elif outcome:
            attempts.append(outcome)
    return chunk, attempts


def _drop_unacknowledged(chunk: Chunk, attempts: list[Attempt]) -> tuple[Chunk, list[Attempt]]:
    """Drop an attempt that the cluster never acknowledged; if its job exists after all, it is an orphan.

    If it was the first attempt of the round, the chunk was not attempted in that round.
    """
    remaining = [attempt for attempt in attempts if attempt.state is not AttemptState.SUBMITTING]
    if len(remaining) < len(attempts) and chunk.next_attempt == chunk.first_attempt + 1:
        chunk = replace(chunk, first_attempt=chunk.next_attempt)
    return chunk, remaining


def advance_attempt(
    attempt: Attempt,
    progress: AttemptProgress | None,
    jobs: Mapping[str, JobStatus] | None,
    name: str,
    limits: RunLimits,
    now: datetime,
) -> Attempt | JobFailure | None:
    """The attempt in its new state; why it failed; or None when it is over and was already charged."""
    if progress and progress.etag != attempt.sign:
        attempt = replace(attempt, sign=progress.etag, sign_at=now, done=progress.done)
    limit = {AttemptState.CANCELLING: limits.cancel_timeout, AttemptState.LOST: limits.job_timeout}.get(attempt.state)
    if limit and now - attempt.since >= limit:
        return None  # forgotten: if the job appears again it is an orphan; a report of it still counts
    if jobs is None:
        return attempt
    status = jobs.get(name)
    if status and status.state.over:
        paid = attempt.state in (AttemptState.LOST, AttemptState.CANCELLING)
        return None if paid else _explain_end(name, status)
    if status and status.state is not JobState.UNRESPONSIVE:
        return _check_time_outs(_confirm_alive(attempt, status.state, now), name, limits, now)
    match attempt.state:
        case AttemptState.SUBMITTING:
            return attempt  # not acknowledged: it is submitted again, under the same name
        case AttemptState.CANCELLING:
            return attempt if status else None
        case AttemptState.LOST:
            return attempt  # it may still report
        case AttemptState.QUEUED | AttemptState.RUNNING:
            return _check_silence(attempt, name, status, limits, now)
        case _:
            assert_never(attempt.state)


def _explain_end(name: str, status: JobStatus) -> JobFailure:
    detail = f": {status.detail}" if status.detail else ""
    match status.state:
        case JobState.SUCCEEDED:
            return JobFailure(Reason.NO_REPORT, f"job {name} ended without a valid report{detail}")
        case JobState.LOST | JobState.CANCELLED:  # not cancelled by the app
            return JobFailure(Reason.JOB_LOST, f"job {name} was {status.state} at the cluster{detail}")
        case _:
            return JobFailure(Reason.JOB_FAILED, f"job {name} failed{detail}")


def _confirm_alive(attempt: Attempt, job_state: JobState, now: datetime) -> Attempt:
    """The cluster knows the job: no doubt remains."""
    attempt = replace(attempt, doubted_since=None)
    if attempt.state in (AttemptState.LOST, AttemptState.CANCELLING):
        return attempt
    state = AttemptState.RUNNING if job_state is JobState.RUNNING or attempt.sign_at == now else AttemptState.QUEUED
    return _enter_attempt(attempt, state, now)


def _check_time_outs(attempt: Attempt, name: str, limits: RunLimits, now: datetime) -> Attempt | JobFailure:
    """The attempt, or a failure if it has been in its state for too long although the cluster reports it alive."""
    duration = now - attempt.since
    if attempt.state is AttemptState.QUEUED and duration >= limits.queue_timeout:
        return JobFailure(Reason.QUEUED_TOO_LONG, f"job {name} was queued for {duration} and did not start", alive=True)
    if attempt.state is not AttemptState.RUNNING:
        return attempt
    if duration >= limits.job_timeout + limits.silence:  # the cluster should have ended it before
        return JobFailure(Reason.RAN_TOO_LONG, f"job {name} ran for {duration}", alive=True)
    if attempt.sign_at is None and duration >= limits.start_timeout:
        return JobFailure(Reason.NO_SIGN, f"job {name} runs for {duration} and has not reported progress", alive=True)
    if attempt.sign_at and min(duration, now - attempt.sign_at) >= limits.stall_timeout:
        return JobFailure(Reason.STALLED, f"job {name} made no progress since {attempt.sign_at:%H:%M:%S}", alive=True)
    return attempt


def _check_silence(
    attempt: Attempt, name: str, status: JobStatus | None, limits: RunLimits, now: datetime
) -> Attempt | JobFailure:
    """The attempt is lost when the cluster does not report it and it makes no progress, both for `silence`."""
    attempt = replace(attempt, doubted_since=attempt.doubted_since or now)
    assert attempt.doubted_since
    quiet_since = max(attempt.doubted_since, attempt.sign_at or attempt.doubted_since)
    if now - quiet_since < limits.silence:
        return attempt
    word = "does not answer for" if status else "does not know"
    return JobFailure(
        Reason.JOB_LOST, f"the cluster {word} job {name}, and it made no progress since {quiet_since:%H:%M:%S}"
    )


def _charge_attempt(chunk: Chunk, number: int, end: JobFailure, name: str, limits: RunLimits, now: datetime) -> Chunk:
    """Count a failed attempt as a retry or a loss, and set when the next one may start."""
    lost = end.reason.source is Source.CLUSTER  # no retry, with a limit of its own
    retries, losses = chunk.retries + (not lost), chunk.losses + lost
    wait = timedelta() if lost else limits.backoff * 2 ** min(retries - 1, 6) * _compute_jitter(name)
    return replace(
        chunk,
        retries=retries,
        losses=losses,
        not_before=now + wait,
        next_attempt=max(chunk.next_attempt, number + 1),
        reason=end.reason,
        message=clip_text(end.message),
    )


def _compute_jitter(name: str) -> float:
    """0.5 to 1.5, by the name: chunks that failed together are not all retried at the same time."""
    return 0.5 + hashlib.sha256(name.encode()).digest()[0] / 256


def _enter_attempt(attempt: Attempt, state: AttemptState, now: datetime) -> Attempt:
    return attempt if attempt.state is state else replace(attempt, state=state, since=now)


def _settle_chunk(run: Run, chunk: Chunk, limits: RunLimits, now: datetime) -> Chunk:
    """The chunk in the state that follows from its attempts."""
    states = {attempt.state for attempt in chunk.attempts if attempt.state.in_flight}
    if AttemptState.RUNNING in states:
        return enter_state(chunk, ChunkState.RUNNING, now)
    if AttemptState.CANCELLING in states:
        return enter_state(chunk, ChunkState.CANCELLING, now)
    if states:
        return enter_state(chunk, ChunkState.QUEUED, now)
    if cancels_jobs(run):
        return _close_stopped(run, chunk, now)
    if chunk.attempts:  # a lost attempt may still report
        return enter_state(chunk, ChunkState.WAITING, now)
    if _is_spent(chunk, limits):
        return end_chunk(chunk, ChunkState.FAILED, now)
    return _close_stopped(run, chunk, now) if run.stopped else enter_state(chunk, ChunkState.WAITING, now)


def _close_stopped(run: Run, chunk: Chunk, now: datetime) -> Chunk:
    """Close a chunk without running jobs, in a run that starts no more of them."""
    if run.cancelled_at:
        return end_chunk(chunk, ChunkState.CANCELLED, now)
    if chunk.next_attempt == chunk.first_attempt:
        return end_chunk(replace(chunk, reason=run.stopped if chunk.committed else None), ChunkState.NOT_ATTEMPTED, now)
    return end_chunk(replace(chunk, reason=chunk.reason or run.stopped), ChunkState.FAILED, now)


def _is_spent(chunk: Chunk, limits: RunLimits) -> bool:
    return chunk.retries > limits.max_retries or chunk.losses > limits.max_losses


def may_try(chunk: Chunk, limits: RunLimits, now: datetime) -> bool:
    """Whether the chunk allows a further attempt."""
    return chunk.state is ChunkState.WAITING and chunk.not_before <= now and not _is_spent(chunk, limits)


def start_attempt(run: Run, chunk: Chunk, now: datetime) -> Chunk:
    """Record the next attempt, before its job is submitted."""
    before = chunk.committed
    pardon = before is not None and any(failure.reason is Reason.QUARANTINED for failure in before.failures)
    isolated = chunk.retries > 0 or chunk.losses >= ISOLATION_LOSSES or pardon
    carries = _carries(run)
    carry = before.attempt if before and carries else 0
    attempt = Attempt(
        chunk.next_attempt,
        AttemptState.SUBMITTING,
        now,
        isolated,
        carry,
        pardon=pardon,
        current_files=carries and run.current_files,
    )
    return replace(
        chunk,
        state=ChunkState.QUEUED,
        since=now,
        attempts=(*chunk.attempts, attempt),
        next_attempt=chunk.next_attempt + 1,
    )


def _choose_report(run: Run, chunk: Chunk, report: Report, now: datetime) -> Chunk:
    """Take this report as the chunk's result. Its attempts are dropped; jobs that still run are cancelled.

    A redrive by a node that does not count devices without a model keeps what is known of them. Late rows are counted
    of devices that are scored: a redrive, which carries the others over, keeps what was counted before too.
    """
    result = Result.from_report(report)
    if _carries(run):
        result = replace(result, unmodelled=report.unmodelled or chunk.unmodelled)
        result = result.keep_late(chunk.committed) if chunk.committed else result
    return replace(
        chunk,
        state=ChunkState.COMMITTING,
        since=now,
        attempts=(),
        next_attempt=max(chunk.next_attempt, report.attempt + 1),
        chosen=result,
    )


def _carries(run: Run) -> bool:
    """Whether the run's round carries over what is committed."""
    return run.redo is not None and run.redo.carries


def _is_regression(run: Run, chunk: Chunk, report: Report) -> bool:
    """Whether a round that carries models over scored fewer models than are committed: the node could not carry them.

    Also of a rescore: a model that a node cannot score once more keeps the rows that it has.
    """
    before = chunk.committed.tally.scored if chunk.committed else 0
    return _carries(run) and report.tally.scored < before


def _reject_regression(chunk: Chunk, report: Report, limits: RunLimits, now: datetime) -> Chunk:
    """The attempt reported a regression: it counts as failed, and its report is ignored."""
    assert chunk.committed
    scored, before = report.tally.scored, chunk.committed.tally.scored
    end = JobFailure(
        Reason.REGRESSION, f"attempt {report.attempt} scored {scored} models; the {before} that are committed stay"
    )
    name = make_job_name(limits.app, chunk.run, chunk.id, report.attempt)
    remaining = tuple(attempt for attempt in chunk.attempts if attempt.number != report.attempt)
    chunk = _charge_attempt(chunk, report.attempt, end, name, limits, now)
    return replace(chunk, attempts=remaining, first_attempt=report.attempt + 1)
