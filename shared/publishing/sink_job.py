"""Decides what becomes of a sink's job. Pure. It has the time-outs of any other job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from shared.contract.paths import make_job_name
from shared.contract.publishing.sinks import ATTEMPT, CHUNK
from shared.contract.text import clip_text
from shared.ports import JobStatus
from shared.state.publications import Sink
from shared.state.runs import Attempt, AttemptState
from shared.tracking.attempts import advance_attempt
from shared.tracking.observation import AttemptProgress
from shared.tracking.run_limits import RunLimits

from .backoff import find_backoff

ENDING = timedelta(minutes=1)  # a job may take so long to end after its report


def name_job(app: str, run_id: str) -> str:
    """The name of a sink's job at the cluster; *run_id* stands for it in place of a run."""
    return make_job_name(app, run_id, CHUNK, ATTEMPT)


def start_job(sink: Sink, now: datetime) -> Sink:
    """Record the next job, before it is submitted."""
    job = Attempt(sink.next_number, AttemptState.SUBMITTING, now)
    return replace(sink, job=job, next_number=sink.next_number + 1)


def acknowledge_job(sink: Sink, now: datetime) -> Sink:
    """The cluster accepted the job."""
    assert sink.job
    return replace(sink, job=replace(sink.job, state=AttemptState.QUEUED, since=now))


def follow_job(
    sink: Sink,
    progress: AttemptProgress | None,
    jobs: Mapping[str, JobStatus] | None,
    limits: RunLimits,
    now: datetime,
) -> tuple[Sink, bool]:
    """The sink after this observation of its job, which has not reported; and whether the job is to be cancelled."""
    assert sink.job
    outcome = advance_attempt(sink.job, progress, jobs, name_job(limits.app, sink.run), limits, now)
    if isinstance(outcome, Attempt):
        return replace(sink, job=outcome), False
    if outcome is None:
        return fail_job(sink, "", now), False
    return fail_job(sink, outcome.message, now), outcome.alive


def fail_job(sink: Sink, message: str, now: datetime) -> Sink:
    """The sink after a job that left no report."""
    failures = sink.failures + 1
    not_before = now + find_backoff(failures)
    return replace(_end_job(sink, now), failures=failures, not_before=not_before, message=clip_text(message))


def end_job(sink: Sink, now: datetime) -> Sink:
    """The sink after a job whose report is recorded."""
    return replace(_end_job(sink, now), failures=0, message="")


def _end_job(sink: Sink, now: datetime) -> Sink:
    assert sink.job
    return replace(sink, job=None, releasing=sink.job.number, ended_at=now)


def may_release(sink: Sink, jobs: Mapping[str, JobStatus] | None, app: str, now: datetime) -> bool:
    """Whether the cluster may forget the last job: it says that it is over, or knows it no more, or had the time."""
    if not sink.releasing:
        return False
    status = None if jobs is None else jobs.get(name_job(app, sink.watched_run))
    is_over = jobs is not None and (status is None or status.state.over)
    return is_over or sink.ended_at is None or now - sink.ended_at >= ENDING
