"""What Batch says of a task, and what we say then."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from azure.batch import models

from shared.adapters.batch.responses import read_status
from shared.ports import JobStatus
from shared.state.runs import JobState
from tests.clouds.batch_service import BatchService, checked
from tests.clouds.batch_world import cluster_at
from tests.stack.dask_jobs import eventually, fresh_run, make_job


def info(**fields: Any) -> dict[str, Any]:
    return {"retryCount": 0, "requeueCount": 0, **fields}


def failed(category: str, code: str, message: str, *details: str, **fields: Any) -> dict[str, Any]:
    values = [{"name": "Message", "value": detail} for detail in details]
    failure = {"category": category, "code": code, "message": message, "details": values}
    return {"state": "completed", "executionInfo": info(result="failure", failureInfo=failure, **fields)}


NODE = {"nodeInfo": {"nodeId": "tvm-7"}}
LATE = "The maximum execution time configured on the task was exceeded"


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ({"state": "active", "executionInfo": info()}, JobStatus(JobState.QUEUED, "Batch reports active")),
        ({"state": "active"}, JobStatus(JobState.QUEUED, "Batch reports active")),
        (
            {"state": "active", "previousState": "running", "executionInfo": info()},
            JobStatus(JobState.QUEUED, "its node was lost; it waits for another"),
        ),
        ({"state": "preparing", "executionInfo": info(), **NODE}, JobStatus(JobState.RUNNING, "on tvm-7")),
        ({"state": "running", "executionInfo": info(), **NODE}, JobStatus(JobState.RUNNING, "on tvm-7")),
        ({"state": "running"}, JobStatus(JobState.RUNNING, "on an unknown node")),
        (
            {"state": "running", "executionInfo": {"retryCount": 0, "requeueCount": 2}, **NODE},
            JobStatus(JobState.RUNNING, "on tvm-7, requeued 2 times before"),
        ),
        (
            {"state": "completed", "executionInfo": info(result="success", exitCode=0)},
            JobStatus(JobState.SUCCEEDED, "exit code 0"),
        ),
        (
            {"state": "completed", "executionInfo": info(result="failure", exitCode=4)},
            JobStatus(JobState.FAILED, "exit code 4"),
        ),
        (failed("usererror", "FailureExitCode", "an exit code", exitCode=3), JobStatus(JobState.FAILED, "exit code 3")),
        (
            failed("usererror", "TaskEnded", "Task was ended by user request", exitCode=137),
            JobStatus(JobState.CANCELLED, "TaskEnded: Task was ended by user request"),
        ),
        (
            failed("usererror", "TaskEnded", "Task was ended by user request", LATE, exitCode=137),
            JobStatus(JobState.FAILED, f"took too long: TaskEnded: Task was ended by user request: {LATE}"),
        ),
        (
            failed(
                "usererror", "ContainerInvalidImage", "cannot be pulled", containerInfo={"error": "manifest unknown"}
            ),
            JobStatus(JobState.FAILED, "ContainerInvalidImage: cannot be pulled: manifest unknown"),
        ),
        (
            failed("servererror", "DiskFull", "There is not enough disk space", exitCode=0),
            JobStatus(JobState.LOST, "Batch could not run it: DiskFull: There is not enough disk space"),
        ),
        ({"state": "resting"}, JobStatus(JobState.UNRESPONSIVE, "Batch reports resting")),
    ],
)
def test_what_batch_says_of_a_task_in_our_words(said: dict[str, Any], seen: JobStatus) -> None:
    assert read_status(models.BatchTask({"id": "c00000-1", **said})) == seen


@pytest.mark.parametrize("wrong", [{"id": "x", "color": "red"}, {"executionInfo": {"exit_code": 1}}])
def test_the_stand_in_sends_no_field_that_the_sdk_does_not_know(wrong: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="has no"):
        checked(models.BatchTask, wrong)


@pytest.fixture
def examples() -> Path:
    if "FLEETSCORE_DATA" not in os.environ:
        pytest.skip("FLEETSCORE_DATA does not say where the official examples are")
    return Path(os.environ["FLEETSCORE_DATA"]).parent / "specs" / "azure" / "examples"


def body_of(examples: Path, name: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((examples / f"{name}.json").read_text())["responses"]["200"]["body"]
    return body


@pytest.mark.data
def test_the_stand_in_describes_tasks_with_the_fields_of_the_official_example(
    examples: Path, batch_service: BatchService, tmp_path: Path
) -> None:
    official = body_of(examples, "batch_TaskList")["value"]
    for task in official:
        checked(models.BatchTask, task)
    job = make_job(tmp_path, fresh_run())
    cluster_at(batch_service).submit([job.spec])
    eventually(lambda: job.starts)
    [(batch_job, found)] = batch_service.jobs.items()
    ours = batch_service.describe(batch_job, "c00000-1", found.tasks["c00000-1"])
    absent = {name for task in official for name in task} - set(ours)
    assert absent == {"requiredSlots"}  # Batch's default
    assert {name for task in official for name in task["executionInfo"]} - set(ours["executionInfo"]) == set()


@pytest.mark.data
def test_the_stand_in_counts_tasks_with_the_fields_of_the_official_example(
    examples: Path, batch_service: BatchService, tmp_path: Path
) -> None:
    official = body_of(examples, "batch_JobGetTaskCounts")
    checked(models.BatchTaskCountsResult, official)
    cluster_at(batch_service).submit([make_job(tmp_path, fresh_run()).spec])
    [job] = batch_service.jobs.values()
    ours = batch_service._counts(job)
    assert {what: set(counts) for what, counts in ours.items()} == {what: set(official[what]) for what in official}


@pytest.mark.data
def test_the_stand_in_answers_additions_with_the_fields_of_the_official_example(
    examples: Path, batch_service: BatchService, tmp_path: Path
) -> None:
    official = body_of(examples, "batch_TaskCreateCollection")
    checked(models.BatchCreateTaskCollectionResult, official)
    body = make_job(tmp_path, fresh_run())
    cluster_at(batch_service).submit([body.spec])
    [job] = batch_service.jobs.values()
    order = {**job.tasks["c00000-1"].body, "id": "c00001-1"}
    assert set(batch_service._add_one("job", job, order)) == set(official["value"][0])
