"""A sink's job has the time-outs of any other job, and each try is another job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.contract.publishing.sinks import SinkKind, make_publishing_run, parse_publishing_run
from shared.ports import JobStatus
from shared.publishing import sink_job
from shared.state.publications import Sink
from shared.state.runs import AttemptState, JobState
from shared.tracking.observation import AttemptProgress
from shared.tracking.run_limits import RunLimits

NOON = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LIMITS = RunLimits(silence=10 * MINUTE, stall_timeout=30 * MINUTE)
STARTED = sink_job.start_job(Sink(SinkKind.DELTA, next_number=17), NOON)
QUEUED = sink_job.acknowledge_job(STARTED, NOON)
NAME = "fleetscore-publish-delta-000017-c00000-1"


def follow(sink: Sink, state: JobState | None, minutes: int, progress: str = "") -> tuple[Sink, bool]:
    jobs = {NAME: JobStatus(state, "as told")} if state else {}
    return sink_job.follow_job(
        sink, AttemptProgress(progress, 1) if progress else None, jobs, LIMITS, NOON + minutes * MINUTE
    )


def test_a_job_is_known_by_its_sink_and_its_number() -> None:
    assert (STARTED.run, STARTED.next_number) == ("publish-delta-000017", 18)
    assert sink_job.name_job("fleetscore", STARTED.run) == NAME
    assert parse_publishing_run(STARTED.run) == (SinkKind.DELTA, 17)
    assert parse_publishing_run(make_publishing_run(SinkKind.SQL, 1_234_567)) == (SinkKind.SQL, 1_234_567)
    for run in ("20261121T1100Z-PT1H", "publish-tape-000017", "publish-delta-17"):
        assert parse_publishing_run(run) is None


def test_a_job_that_runs_goes_on() -> None:
    moved, is_alive = follow(QUEUED, JobState.RUNNING, 1, "0x1")

    assert moved.job
    assert (moved.job.state, moved.job.number, is_alive) == (AttemptState.RUNNING, 17, False)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (JobState.FAILED, f"job {NAME} failed: as told"),
        (JobState.SUCCEEDED, f"job {NAME} ended without a valid report: as told"),
        (JobState.LOST, f"job {NAME} was lost at the cluster: as told"),
    ],
)
def test_a_job_that_ended_without_a_report_is_over_and_the_next_one_waits(state: JobState, message: str) -> None:
    moved, is_alive = follow(QUEUED, state, 1)

    assert (moved.job, moved.message, is_alive, moved.releasing) == (None, message, False, 17)
    assert (moved.failures, moved.not_before) == (1, NOON + 2 * MINUTE)


def test_a_job_that_stalls_is_over_and_cancelled() -> None:
    running, _ = follow(QUEUED, JobState.RUNNING, 1, "0x1")

    moved, is_alive = follow(running, JobState.RUNNING, 32, "0x1")

    assert (moved.job, is_alive) == (None, True)
    assert "made no progress" in moved.message


def test_a_job_that_the_cluster_forgot_is_lost_after_a_while() -> None:
    doubted, _ = follow(QUEUED, None, 1)
    assert doubted.job

    assert follow(doubted, None, 12)[0].job is None


def test_a_job_that_reported_is_forgotten_once_it_is_over_or_a_minute_later() -> None:
    ended = sink_job.end_job(QUEUED, NOON)

    assert (ended.job, ended.failures, ended.message, ended.releasing) == (None, 0, "", 17)
    for jobs in (None, {NAME: JobStatus(JobState.RUNNING)}):  # it may be about to end, or the cluster does not answer
        waits = [sink_job.may_release(ended, jobs, "fleetscore", NOON + n * MINUTE / 60) for n in (0, 59, 60)]
        assert waits == [False, False, True]
    for over in ({}, {NAME: JobStatus(JobState.SUCCEEDED)}):
        assert sink_job.may_release(ended, over, "fleetscore", NOON)
    assert not sink_job.may_release(Sink(SinkKind.DELTA), {}, "fleetscore", NOON)
