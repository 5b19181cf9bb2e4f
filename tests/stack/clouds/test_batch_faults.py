"""Azure Batch on bad days: what it answers then, what is lost, and that the next tick continues."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from azure.identity import ManagedIdentityCredential

from shared.adapters.batch import client
from shared.adapters.batch.cluster import BatchCluster
from shared.contract import paths
from shared.contract.errors import Unavailable
from shared.ports import JobSpec, JobStatus, Refusal
from shared.state.runs import JobState
from tests.clouds.batch_service import BatchService, error
from tests.clouds.batch_world import cluster_at
from tests.clouds.stand_in import Answer, Fault, Identity, Request
from tests.patience import patience
from tests.stack.dask_jobs import eventually, make_job

RUN = "20261121T0700Z-PT1H"
JOB = f"test-{RUN}"
QUEUED = JobStatus(JobState.QUEUED, "Batch reports active")


def spec(index: int = 0, text: str = "") -> JobSpec:
    name = paths.make_job_name("test", RUN, paths.make_chunk_id(index), 1)
    return JobSpec(name, RUN, ("echo", text), timedelta(minutes=5))


@pytest.fixture
def identity() -> Iterator[Identity]:
    endpoint = Identity()
    yield endpoint
    endpoint.server.close()


def adding(request: Request) -> bool:
    return request.path.endswith("/addtaskcollection")


def creating(request: Request) -> bool:
    return request.path == "/jobs"


def listing(request: Request) -> bool:
    return request.method == "GET" and request.path.endswith("/tasks")


def anything(_: Request) -> bool:
    return True


CALLS: dict[str, Callable[[BatchCluster], object]] = {
    "submit": lambda cluster: cluster.submit([spec()]),
    "observe": lambda cluster: cluster.observe([RUN]),
    "cancel": lambda cluster: cluster.cancel([spec().name]),
    "log": lambda cluster: cluster.read_log(spec().name),
    "nodes": lambda cluster: cluster.count_nodes(),
    "release": lambda cluster: cluster.release(RUN),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.mark.parametrize("effect", [creating, adding], ids=["of the job", "of the tasks"])
def test_an_answer_that_is_lost_is_asked_for_again_and_each_job_runs_once(
    batch_service: BatchService, tmp_path: Path, effect: Callable[[Request], bool]
) -> None:
    cluster, job = cluster_at(batch_service), make_job(tmp_path, RUN)
    if effect is adding:
        cluster.submit([spec(1)])  # then the Batch job is there
    batch_service.server.faults.append(Fault(effect, after=True))
    with pytest.raises(Unavailable, match=f"Azure Batch at {batch_service.server.url} did not answer"):
        cluster.submit([job.spec])
    assert cluster.submit([job.spec]) == {}
    eventually(lambda: job.starts)
    job.end()
    eventually(lambda: cluster.observe([RUN])[job.name].state is JobState.SUCCEEDED)
    assert job.starts == 1


def test_what_can_be_asked_again_safely_is_asked_again_at_once(idle: BatchService) -> None:
    cluster = cluster_at(idle)
    cluster.submit([spec()])
    idle.server.faults.append(Fault(listing))
    assert cluster.observe([RUN]) == {spec().name: QUEUED}
    idle.server.faults.append(Fault(listing, times=2))
    with pytest.raises(Unavailable, match="did not answer"):
        cluster.observe([RUN])


@every_call
@pytest.mark.parametrize(
    ("status", "headers", "after"),
    [
        (429, {}, None),
        (429, {"Retry-After": "3"}, 3),
        (429, {"Retry-After": "3600"}, 3600),
        (429, {"x-ms-retry-after-ms": "2500", "Retry-After": "3"}, 2.5),
        (429, {"Retry-After": "soon"}, None),
        (500, {}, None),
        (503, {"Retry-After": "7"}, 7),
        (408, {}, None),
    ],
)
def test_not_now_is_handed_on_at_once_with_the_wait_that_is_wanted(
    idle: BatchService, call: Callable[[BatchCluster], object], status: int, headers: dict[str, str], after: float
) -> None:
    answer = error(status, "ServerBusy", "The server is currently unable to receive requests.")
    idle.server.faults.append(Fault(anything, Answer(status, answer.body, headers), times=99))
    with pytest.raises(Unavailable) as caught:
        call(cluster_at(idle))
    said = f"{status} ServerBusy: The server is currently unable to receive requests."
    assert str(caught.value) == f"Azure Batch at {idle.server.url}: {said}"
    assert caught.value.retry_after == after
    assert len(idle.asked) == 1


def test_a_wait_until_a_date_is_understood(idle: BatchService) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    idle.server.faults.append(Fault(anything, Answer(429, None, {"Retry-After": until})))
    with pytest.raises(Unavailable) as caught:
        cluster_at(idle).observe([RUN])
    assert caught.value.retry_after == pytest.approx(3600, abs=60)


@every_call
def test_what_a_proxy_answers_in_the_place_of_batch_is_no_answer(
    idle: BatchService, call: Callable[[BatchCluster], object]
) -> None:
    page = Answer(404, b"<html>no such host</html>", {"Content-Type": "text/html"})
    idle.server.faults.append(Fault(anything, page, times=99))
    with pytest.raises(Unavailable, match="404"):
        call(cluster_at(idle))


@every_call
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_identity_is_told_which_role_it_wants(
    idle: BatchService, call: Callable[[BatchCluster], object], status: int
) -> None:
    idle.server.faults.append(Fault(anything, error(status, "AuthenticationFailed", "No."), times=99))
    with pytest.raises(Unavailable, match="a role that may submit jobs there and read its pools"):
        call(cluster_at(idle))


def test_a_token_that_expires_is_replaced(
    idle: BatchService, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in identity.environment.items():
        monkeypatch.setenv(name, value)
    identity.lifetime = 200  # less than what azure-core keeps a token for
    idle.knows = identity.knows
    cluster = cluster_at(idle, ManagedIdentityCredential())
    cluster.submit([spec()])
    identity.expire()
    assert cluster.observe([RUN]) == {spec().name: QUEUED}
    identity.refusal = Answer(400, {"statusCode": 400, "message": "no token today"})
    with pytest.raises(Unavailable, match=r"no identity to sign in with: .* Give the app a managed identity"):
        cluster.observe([RUN])


def test_a_token_that_the_service_no_longer_takes_is_no_end(
    idle: BatchService, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in identity.environment.items():
        monkeypatch.setenv(name, value)
    idle.knows = identity.knows
    cluster = cluster_at(idle, ManagedIdentityCredential())
    cluster.submit([spec()])
    identity.expire()
    with pytest.raises(Unavailable, match="401 AuthenticationFailed"):
        cluster.observe([RUN])


def test_of_tasks_that_are_added_in_part_each_is_told_apart(idle: BatchService) -> None:
    cluster = cluster_at(idle)
    cluster.submit([spec(0), spec(1)])
    jobs = [spec(0), spec(1, "other content"), spec(2), spec(3), spec(4)]
    refusals = {
        spec(1).name: Refusal(
            f"Azure Batch at {idle.server.url} has a task {spec(1).name} of other content", name_taken=True
        ),
        spec(2).name: Refusal(
            f"Azure Batch at {idle.server.url} rejects {spec(2).name}: "
            "CommandLineTooLong: Batch says CommandLineTooLong."
        ),
    }
    too_long = {"c00002-1": ("clienterror", "CommandLineTooLong")}
    idle.entries = {**too_long, "c00003-1": ("servererror", "InternalError")}
    with pytest.raises(Unavailable, match=f"1 of 5 tasks of {RUN} are not accepted yet: InternalError"):
        cluster.submit(jobs)
    assert sorted(idle.jobs[JOB].tasks) == ["c00000-1", "c00001-1", "c00004-1"]
    idle.entries = too_long
    assert cluster.submit(jobs) == refusals
    assert sorted(idle.jobs[JOB].tasks) == ["c00000-1", "c00001-1", "c00003-1", "c00004-1"]


def test_tasks_of_which_batch_says_nothing_are_asked_for_again(idle: BatchService) -> None:
    cluster = cluster_at(idle)
    idle.server.faults.append(Fault(adding, Answer(200, {"value": []})))
    with pytest.raises(Unavailable, match=r"1 of 1 tasks .* Batch returned no result"):
        cluster.submit([spec()])


def test_the_jobs_trouble_is_no_refusal_of_its_tasks(idle: BatchService) -> None:
    idle.entries = {"c00000-1": ("clienterror", "JobBeingTerminated")}
    with pytest.raises(Unavailable, match=r"JobBeingTerminated.*It is created again after it has ended and is deleted"):
        cluster_at(idle).submit([spec()])


def test_a_quota_that_is_reached_says_what_to_do(idle: BatchService) -> None:
    idle.quota = 0
    with pytest.raises(Unavailable, match=r"ActiveJobAndScheduleQuotaReached.*request a higher quota from Azure"):
        cluster_at(idle).submit([spec()])
    idle.quota = 1
    assert cluster_at(idle).submit([spec()]) == {}


def test_states_come_in_an_order_that_nobody_promised(idle: BatchService) -> None:
    cluster = cluster_at(idle)
    cluster.submit([spec()])
    node = {"nodeInfo": {"nodeId": "tvm-1"}}
    won = {
        "state": "completed",
        "executionInfo": {"retryCount": 0, "requeueCount": 1, "result": "success", "exitCode": 0},
    }
    seen = []
    for says in (
        {"state": "running", **node},
        {"state": "active"},
        won,
        {"state": "preparing", **node},
        {"state": "new"},
    ):
        idle.task(spec().name).says = says
        seen += [found.state.value for found in cluster.observe([RUN]).values()]
    assert seen == ["running", "queued", "succeeded", "running", "doubtful"]


def test_a_listing_comes_in_pages(idle: BatchService) -> None:
    cluster, idle.page = cluster_at(idle), 3
    jobs = [spec(i) for i in range(10)]
    cluster.submit(jobs)
    idle.server.requests.clear()
    assert cluster.observe([RUN]) == {job.name: QUEUED for job in jobs}
    assert idle.asked == [f"GET /jobs/{JOB}/tasks"] * 4


def test_a_listing_without_end_is_given_up(idle: BatchService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LIMIT", 1.0)
    page = {"value": [], "odata.nextLink": f"{idle.server.url}/jobs/{JOB}/tasks?api-version=2025-06-01"}
    idle.server.faults.append(Fault(listing, Answer(200, page), times=10**6))
    with pytest.raises(Unavailable, match=r"not done within 1 s; the next tick continues|did not answer"):
        cluster_at(idle).observe([RUN])


@every_call
def test_a_service_that_takes_requests_and_never_answers_is_left_alone_in_time(
    idle: BatchService, call: Callable[[BatchCluster], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "READ_LIMIT", 0.3)
    idle.server.faults.append(Fault(anything, Answer(200, {}, delay=60), times=99))
    began = time.monotonic()
    with pytest.raises(Unavailable, match="did not answer"):
        call(cluster_at(idle))
    assert time.monotonic() - began < patience(20)


def test_a_task_and_a_whole_job_may_vanish(idle: BatchService) -> None:
    cluster = cluster_at(idle)
    cluster.submit([spec(0), spec(1)])
    del idle.jobs[JOB].tasks["c00000-1"]
    assert cluster.observe([RUN]) == {spec(1).name: QUEUED}
    cluster.cancel([spec(0).name])
    del idle.jobs[JOB]
    assert cluster.observe([RUN]) == {}
    cluster.cancel([spec(1).name])
    cluster.release(RUN)


def test_a_job_may_vanish_between_two_pages(idle: BatchService) -> None:
    cluster, idle.page = cluster_at(idle), 1
    cluster.submit([spec(0), spec(1)])
    gone = error(404, "JobNotFound", "The specified job does not exist.")
    idle.server.faults.append(Fault(lambda request: "$skiptoken" in request.query, gone))
    assert cluster.observe([RUN]) == {spec(0).name: QUEUED}


def test_a_run_that_is_opened_again_waits_until_batch_has_let_go(idle: BatchService) -> None:
    cluster, idle.deleting_takes = cluster_at(idle), 4
    cluster.submit([spec(0)])
    cluster.release(RUN)
    cluster.release(RUN)
    assert cluster.observe([RUN]) == {}
    cluster.cancel([spec(0).name])
    with pytest.raises(Unavailable, match=r"JobBeingDeleted.*It is created again after the deletion"):
        cluster.submit([spec(1)])
    assert cluster.submit([spec(1)]) == {}
    assert cluster.observe([RUN]) == {spec(1).name: QUEUED}


def test_a_batch_job_that_has_ended_by_itself_makes_room_for_a_new_one(idle: BatchService) -> None:
    cluster, idle.deleting_takes = cluster_at(idle), 1
    cluster.submit([spec(0)])
    idle.jobs[JOB].state = "completed"
    for code in ("JobCompleted.*It is being deleted", "JobBeingDeleted"):
        with pytest.raises(Unavailable, match=code):
            cluster.submit([spec(1)])
    assert cluster.submit([spec(1)]) == {}
    assert list(idle.jobs[JOB].tasks) == ["c00001-1"]


def test_the_last_words_are_not_worth_a_failure(batch_service: BatchService) -> None:
    cluster = cluster_at(batch_service)
    cluster.submit([JobSpec(spec().name, RUN, ("sh", "-c", "echo why; exit 3"), timedelta(minutes=1))])
    task = batch_service.task(spec().name)
    eventually(lambda: batch_service.nodes.look(task.run_as).state == "ended")
    busy = error(503, "ServerBusy", "Not now.")
    batch_service.server.faults.append(Fault(lambda request: "/files" in request.path, busy))
    assert cluster.observe([RUN]) == {spec().name: JobStatus(JobState.FAILED, "exit code 3")}
    assert cluster.observe([RUN]) == {spec().name: JobStatus(JobState.FAILED, "exit code 3: why")}
