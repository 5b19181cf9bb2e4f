"""What `ports.Cluster` promises, of every cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import pytest

from local.dask import LocalDask
from shared.adapters.dask_cluster import DaskCluster
from shared.adapters.memory import MemoryCluster
from shared.contract.errors import NotFound, Unavailable
from shared.ports import Cluster
from shared.state.runs import JobState
from tests.conftest import WORKERS
from tests.stack.dask_jobs import Job, eventually, fresh_run, make_job, rival_of


class World(Protocol):
    """A cluster, and the power to let its jobs begin and end."""

    cluster: Cluster

    def begin(self, job: Job) -> None:
        """Return when the job has begun."""

    def end(self, job: Job, code: int, printed: str) -> None:
        """Let a job that has begun print a line and end with an exit code."""

    def starts(self, job: Job) -> int:
        """How often what *job* wants to be done has begun."""


@dataclass(slots=True)
class MemoryWorld:
    cluster: MemoryCluster = field(default_factory=MemoryCluster)
    begun: list[str] = field(default_factory=list)  # digests: a name does not tell what has begun

    def begin(self, job: Job) -> None:
        if self.cluster.sightings[job.name].state is JobState.QUEUED:
            self.cluster.set_state(job.name, JobState.RUNNING)
            self.begun.append(self.cluster.jobs[job.name].digest)

    def end(self, job: Job, code: int, printed: str) -> None:
        self.cluster.logs[job.name] = printed + "\n"
        self.cluster.set_state(
            job.name, JobState.FAILED if code else JobState.SUCCEEDED, f"exit code {code}: {printed}"
        )

    def starts(self, job: Job) -> int:
        return self.begun.count(job.spec.digest)


@dataclass(slots=True)
class RunningWorld:
    """A cluster whose jobs really run: they are waited for, and held by their files."""

    cluster: Cluster

    def begin(self, job: Job) -> None:
        eventually(lambda: job.starts)

    def end(self, job: Job, code: int, printed: str) -> None:
        job.end(f"print({printed!r}); sys.exit({code})")

    def starts(self, job: Job) -> int:
        return job.starts


@pytest.fixture
def dask_world(dask_cluster: LocalDask) -> World:
    return RunningWorld(DaskCluster(dask_cluster.address))


SERVED = [pytest.param(name, marks=pytest.mark.stack) for name in ("dask", "azureml", "batch")]


@pytest.fixture(params=["memory", *SERVED])
def world(request: pytest.FixtureRequest) -> World:
    """Those of Azure stand in `tests/clouds`."""
    if request.param == "memory":
        return MemoryWorld()
    return RunningWorld(request.getfixturevalue(f"{request.param}_world").cluster)


@pytest.fixture
def job(world: World, tmp_path: Path) -> Iterator[Job]:
    made = make_job(tmp_path, fresh_run())
    yield made
    world.cluster.cancel([made.name])


def see(world: World, job: Job) -> JobState | None:
    seen = world.cluster.observe([job.spec.run]).get(job.name)
    return seen.state if seen else None


def assert_taken(world: World, job: Job) -> None:
    [(name, refusal)] = world.cluster.submit([job.spec]).items()
    assert (name, refusal.name_taken) == (job.name, True)
    assert name in refusal.message


def test_a_job_is_seen_from_its_submission_to_its_end(world: World, job: Job) -> None:
    assert world.cluster.submit([job.spec]) == {}
    assert see(world, job) in (JobState.QUEUED, JobState.RUNNING)
    world.begin(job)
    eventually(lambda: see(world, job) is JobState.RUNNING)
    world.end(job, 0, "all well")
    eventually(lambda: see(world, job) is JobState.SUCCEEDED)


def test_a_failed_job_says_its_exit_code_and_its_last_words(world: World, job: Job) -> None:
    world.cluster.submit([job.spec])
    world.begin(job)
    world.end(job, 3, "no such manifest")
    eventually(lambda: see(world, job) is JobState.FAILED)
    assert world.cluster.observe([job.spec.run])[job.name].detail == "exit code 3: no such manifest"


def test_asking_twice_is_asking_once(world: World, job: Job) -> None:
    world.cluster.submit([job.spec, job.spec])
    world.cluster.submit([job.spec])
    world.begin(job)
    world.cluster.submit([job.spec])
    world.begin(job)
    world.end(job, 0, "")
    eventually(lambda: see(world, job) is JobState.SUCCEEDED)
    assert world.starts(job) == 1


def test_another_time_limit_makes_no_other_job(world: World, job: Job) -> None:
    world.cluster.submit([job.spec])
    assert world.cluster.submit([replace(job.spec, timeout=2 * job.spec.timeout)]) == {}
    world.begin(job)
    world.end(job, 0, "")
    eventually(lambda: see(world, job) is JobState.SUCCEEDED)
    assert world.starts(job) == 1


def test_other_content_under_a_name_that_waits_is_refused_and_the_first_goes_on(
    world: World, job: Job, tmp_path: Path
) -> None:
    rival, holders = rival_of(job, tmp_path), [make_job(tmp_path, fresh_run()) for _ in range(WORKERS)]
    world.cluster.submit([holder.spec for holder in holders])
    try:
        for holder in holders:
            world.begin(holder)
        world.cluster.submit([job.spec])
        assert see(world, job) is JobState.QUEUED
        assert_taken(world, rival)
    finally:
        world.cluster.cancel([holder.name for holder in holders])
    world.begin(job)
    world.end(job, 0, "")
    eventually(lambda: see(world, job) is JobState.SUCCEEDED)
    assert (world.starts(job), world.starts(rival)) == (1, 0)


def test_other_content_under_a_name_that_runs_is_refused_and_the_first_goes_on(
    world: World, job: Job, tmp_path: Path
) -> None:
    rival = rival_of(job, tmp_path)
    world.cluster.submit([job.spec])
    world.begin(job)
    assert_taken(world, rival)
    assert world.cluster.submit([job.spec]) == {}
    world.end(job, 0, "the first")
    eventually(lambda: see(world, job) is JobState.SUCCEEDED)
    assert world.cluster.read_log(job.name).endswith("the first\n")
    assert (world.starts(job), world.starts(rival)) == (1, 0)


def test_other_content_under_a_name_that_is_spent_is_refused(world: World, job: Job, tmp_path: Path) -> None:
    rival = rival_of(job, tmp_path)
    world.cluster.submit([job.spec])
    world.begin(job)
    world.end(job, 3, "")
    eventually(lambda: see(world, job) is JobState.FAILED)
    assert_taken(world, rival)
    assert see(world, job) is JobState.FAILED
    assert (world.starts(job), world.starts(rival)) == (1, 0)


def test_a_refused_job_keeps_back_none_that_is_asked_for_with_it(world: World, job: Job, tmp_path: Path) -> None:
    rival, other = rival_of(job, tmp_path), make_job(tmp_path, fresh_run())
    world.cluster.submit([job.spec])
    try:
        assert set(world.cluster.submit([rival.spec, other.spec])) == {job.name}
        assert set(world.cluster.observe([job.spec.run, other.spec.run])) == {job.name, other.name}
        world.begin(other)
    finally:
        world.cluster.cancel([other.name])


def test_asking_for_nothing_is_fine(world: World) -> None:
    assert world.cluster.submit([]) == {}


def test_the_name_of_a_job_that_has_ended_is_spent(world: World, job: Job) -> None:
    world.cluster.submit([job.spec])
    world.begin(job)
    world.end(job, 3, "")
    eventually(lambda: see(world, job) is JobState.FAILED)
    world.cluster.submit([job.spec])
    assert see(world, job) is JobState.FAILED
    assert world.starts(job) == 1


def test_whoever_asks_is_told_the_end(world: World, job: Job) -> None:
    world.cluster.submit([job.spec])
    world.begin(job)
    world.end(job, 0, "")
    eventually(lambda: see(world, job) is JobState.SUCCEEDED)
    assert [see(world, job) for _ in range(3)] == [JobState.SUCCEEDED] * 3


def test_only_jobs_of_the_runs_asked_for_are_seen(world: World, job: Job, tmp_path: Path) -> None:
    other = make_job(tmp_path, fresh_run())
    world.cluster.submit([job.spec, other.spec])
    try:
        assert set(world.cluster.observe([job.spec.run])) == {job.name}
        assert set(world.cluster.observe([job.spec.run, other.spec.run])) == {job.name, other.name}
        assert world.cluster.observe([fresh_run()]) == {}
        assert world.cluster.observe([]) == {}
    finally:
        world.cluster.cancel([other.name])


def test_a_cancelled_job_is_soon_over(world: World, job: Job) -> None:
    world.cluster.submit([job.spec])
    world.begin(job)
    world.cluster.cancel([job.name])
    eventually(lambda: see(world, job) in (JobState.CANCELLED, None))


def test_a_cancel_stops_only_the_jobs_that_it_names(world: World, job: Job, tmp_path: Path) -> None:
    other = make_job(tmp_path, job.spec.run, index=1)
    world.cluster.submit([job.spec, other.spec])
    world.begin(job)
    world.begin(other)
    world.cluster.cancel([job.name])
    eventually(lambda: see(world, job) in (JobState.CANCELLED, None))
    eventually(lambda: see(world, other) is JobState.RUNNING)
    world.end(other, 0, "")
    eventually(lambda: see(world, other) is JobState.SUCCEEDED)


def test_a_job_can_be_cancelled_before_it_begins(world: World, job: Job) -> None:
    world.cluster.submit([job.spec])
    world.cluster.cancel([job.name])
    eventually(lambda: see(world, job) in (JobState.CANCELLED, None))


def test_cancel_is_safe_on_jobs_that_are_over_or_unknown(world: World, job: Job) -> None:
    world.cluster.submit([job.spec])
    world.begin(job)
    world.end(job, 0, "")
    eventually(lambda: see(world, job) is JobState.SUCCEEDED)
    world.cluster.cancel([job.name, f"test-{fresh_run()}-c00000-1", "no name of ours"])
    world.cluster.cancel([job.name])
    world.cluster.cancel([])
    assert see(world, job) in (JobState.SUCCEEDED, None)


def test_the_log_is_what_the_job_printed(world: World, job: Job) -> None:
    world.cluster.submit([job.spec])
    world.begin(job)
    world.end(job, 1, "the last line")
    eventually(lambda: see(world, job) is JobState.FAILED)
    assert world.cluster.read_log(job.name).endswith("the last line\n")


def test_the_nodes_are_counted(world: World, job: Job) -> None:
    world.cluster.submit([job.spec])
    world.begin(job)
    found = world.cluster.count_nodes()
    assert found.current >= 1
    assert found.target >= 0
    assert sum(found.states.values()) == found.current
    assert found.states["running"] >= 1
    assert all(found.states.values())  # zeros are left out
    world.end(job, 0, "")


def test_a_run_that_is_released_and_opened_again_has_its_jobs_run(world: World, job: Job, tmp_path: Path) -> None:
    world.cluster.submit([job.spec])
    world.begin(job)
    world.end(job, 0, "")
    eventually(lambda: see(world, job) is JobState.SUCCEEDED)
    world.cluster.release(job.spec.run)
    world.cluster.release(job.spec.run)
    later = make_job(tmp_path, job.spec.run, index=1)
    eventually(lambda: submitted(world, later))
    world.begin(later)
    world.end(later, 0, "")
    eventually(lambda: see(world, later) is JobState.SUCCEEDED)
    assert (world.starts(job), world.starts(later)) == (1, 1)


def submitted(world: World, job: Job) -> bool:
    """Whether the cluster has taken the job; it may want to let go of what was released first."""
    try:
        return world.cluster.submit([job.spec]) == {}
    except Unavailable:
        return False


def test_to_release_a_run_touches_no_other(world: World, job: Job, tmp_path: Path) -> None:
    other = make_job(tmp_path, fresh_run())
    world.cluster.submit([job.spec, other.spec])
    try:
        world.begin(other)
        world.cluster.release(job.spec.run)
        world.cluster.release(fresh_run())
        eventually(lambda: see(world, other) is JobState.RUNNING)
        world.end(other, 0, "")
        eventually(lambda: see(world, other) is JobState.SUCCEEDED)
    finally:
        world.cluster.cancel([other.name])


def test_there_is_no_log_of_a_job_that_never_was(world: World) -> None:
    with pytest.raises(NotFound, match="no-such-job"):
        world.cluster.read_log("no-such-job")
