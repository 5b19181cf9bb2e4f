"""An Azure ML workspace in bad weather: answers that are lost, late, throttled or refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from azure.identity import DefaultAzureCredential

from shared.adapters.azure.auth import TIME_OUTS, parse_retry_after
from shared.adapters.azureml import cluster, run_history
from shared.adapters.azureml.cluster import AzureMLCluster
from shared.contract.errors import Unavailable
from shared.ports import Cluster
from shared.state.runs import JobState
from tests.clouds.azureml import COMPUTE, ENVIRONMENT, WORKSPACE
from tests.clouds.azureml_world import AzureMLWorld
from tests.clouds.stand_in import Answer, Fault, Request
from tests.patience import patience
from tests.stack.clouds.test_azureml import RUN, ended, see, spec

NAME = spec().name
CALLS: dict[str, Callable[[Cluster], object]] = {
    "submit": lambda cluster: cluster.submit([spec()]),
    "observe": lambda cluster: cluster.observe([RUN]),
    "cancel": lambda cluster: cluster.cancel([NAME]),
    "log": lambda cluster: cluster.read_log(NAME),
    "nodes": lambda cluster: cluster.count_nodes(),
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def always(_: Request) -> bool:
    return True


def puts(request: Request) -> bool:
    return request.method == "PUT"


def trouble(world: AzureMLWorld, call: Callable[[Cluster], object], answer: Answer | None, times: int = 99) -> str:
    """What a call says, all of whose requests are so answered."""
    world.asked()
    world.azure.server.faults[:] = [Fault(always, answer, times=times)]
    with pytest.raises(Unavailable) as raised:
        call(world.cluster)
    world.azure.server.faults.clear()
    return str(raised.value)


@pytest.mark.parametrize("picky", [False, True])
def test_a_job_whose_answer_was_lost_is_there_once(azureml_world: AzureMLWorld, picky: bool) -> None:
    job = spec(command=("true",))
    azureml_world.azure.picky = picky
    azureml_world.azure.server.faults.append(Fault(puts, after=True))
    assert azureml_world.cluster.submit([job]) == {}
    asked = [f"PUT /jobs/{job.name}"] * 2 + [f"GET /jobs/{job.name}"] * picky
    assert azureml_world.asked() == asked
    ended(azureml_world, job, JobState.SUCCEEDED)
    assert azureml_world.azure.nodes.look(job.name).starts == 1


def test_a_job_whose_answers_were_all_lost_is_found_at_the_next_tick(azureml_world: AzureMLWorld) -> None:
    job = spec(command=("true",))
    azureml_world.azure.server.faults.append(Fault(puts, after=True, times=2))
    with pytest.raises(Unavailable, match=f"asked to take job {job.name} did not answer"):
        azureml_world.cluster.submit([job])
    assert azureml_world.cluster.submit([job]) == {}
    ended(azureml_world, job, JobState.SUCCEEDED)
    assert azureml_world.azure.nodes.look(job.name).starts == 1


def test_a_job_whose_answer_was_an_error_although_it_was_taken_is_there_once(azureml_world: AzureMLWorld) -> None:
    job = spec(command=("true",))
    azureml_world.azure.server.faults.append(Fault(puts, Answer(500), after=True))
    with pytest.raises(Unavailable):
        azureml_world.cluster.submit([job])
    assert azureml_world.cluster.submit([job]) == {}
    ended(azureml_world, job, JobState.SUCCEEDED)
    assert azureml_world.azure.nodes.look(job.name).starts == 1


def test_a_conflict_over_a_job_that_is_not_there_waits_for_the_next_tick(azureml_world: AzureMLWorld) -> None:
    error = {"error": {"code": "Conflict", "message": "The workspace is being updated."}}
    azureml_world.azure.server.faults.append(Fault(puts, Answer(409, error)))
    with pytest.raises(Unavailable, match="409 Conflict: The workspace is being updated"):
        azureml_world.cluster.submit([spec()])
    assert azureml_world.cluster.submit([spec()]) == {}


DATE = datetime(2026, 11, 21, 7, 0, tzinfo=UTC)
HOUR_LATER = format_datetime(DATE + timedelta(hours=1), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "3600"}, 3600),
        ({"Retry-After": HOUR_LATER, "Date": format_datetime(DATE, usegmt=True)}, 3600),
        ({"Retry-After": "9", "x-ms-retry-after-ms": "1500"}, 1.5),
        ({"Retry-After": "soon"}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
@each_call
def test_who_wants_to_be_left_alone_is_asked_once_and_nobody_sleeps(
    azureml_world: AzureMLWorld,
    call: Callable[[Cluster], object],
    status: int,
    headers: dict[str, str],
    seconds: float | None,
) -> None:
    error = {"error": {"code": "TooManyRequests", "message": "Too many requests."}}
    azureml_world.azure.server.faults.append(Fault(always, Answer(status, error, headers), times=99))
    began = time.monotonic()
    with pytest.raises(Unavailable, match=rf"ws-local, asked .*: {status} TooManyRequests: Too many") as raised:
        call(azureml_world.cluster)
    assert raised.value.retry_after == seconds
    assert len(azureml_world.asked()) == 1
    assert time.monotonic() - began < patience(5)


def test_a_date_to_come_back_at_is_read_by_our_clock_where_the_server_tells_no_other() -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    assert parse_retry_after({"Retry-After": format_datetime(until, usegmt=True)}) == pytest.approx(3600, abs=5)
    assert parse_retry_after({"Retry-After": HOUR_LATER, "Date": format_datetime(DATE + timedelta(days=1))}) == 0


def test_the_first_that_is_throttled_keeps_the_others_back_and_what_was_taken_is_adopted(
    azureml_world: AzureMLWorld,
) -> None:
    jobs = [spec(index, ("true",)) for index in range(40)]
    throttle = Answer(429, None, {"Retry-After": "60"})
    azureml_world.azure.server.faults.append(Fault(lambda _: len(azureml_world.azure.jobs) >= 5, throttle, times=99))
    with pytest.raises(Unavailable) as raised:
        azureml_world.cluster.submit(jobs)
    assert raised.value.retry_after == 60
    assert 5 <= len(azureml_world.azure.jobs) < 13  # eight were under way
    assert len(azureml_world.asked()) < 5 + 2 * 8
    azureml_world.azure.server.faults.clear()
    assert azureml_world.cluster.submit(jobs) == {}
    assert set(azureml_world.cluster.observe([RUN])) == {job.name for job in jobs}


@pytest.mark.parametrize("status", [408, 500, 502, 503])
@each_call
def test_an_error_of_the_service_waits_for_the_next_tick(
    azureml_world: AzureMLWorld, call: Callable[[Cluster], object], status: int
) -> None:
    assert f": {status} " in trouble(azureml_world, call, Answer(status, b"<html>Bad gateway</html>"))


@each_call
def test_a_proxys_answer_is_never_an_answer_of_azures(
    azureml_world: AzureMLWorld, call: Callable[[Cluster], object]
) -> None:
    html = {"Content-Type": "text/html"}
    for status in (400, 404, 409):
        assert f": {status} no code of Azure's" in trouble(azureml_world, call, Answer(status, b"<html></html>", html))
    for body in (b"<html></html>", b"{", b"[]", b"null", b'{"value": 1}'):
        if call is CALLS["cancel"]:  # there the status says all
            azureml_world.azure.server.faults[:] = [Fault(always, Answer(200, body, html), times=9)]
            call(azureml_world.cluster)
        else:
            assert "the answer cannot be read" in trouble(azureml_world, call, Answer(200, body, html))


@each_call
def test_no_answer_waits_for_the_next_tick(azureml_world: AzureMLWorld, call: Callable[[Cluster], object]) -> None:
    assert "did not answer" in trouble(azureml_world, call, None)


@each_call
def test_a_workspace_that_hangs_is_left_in_time(
    azureml_world: AzureMLWorld, call: Callable[[Cluster], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for room, name in ((cluster, "TIME_OUTS"), (run_history, "SHORT_TIME_OUTS")):
        monkeypatch.setattr(room, name, {**getattr(room, name), "read_timeout": 0.3})
    began = time.monotonic()
    assert "did not answer" in trouble(azureml_world, call, Answer(delay=20))
    assert time.monotonic() - began < patience(5)


def test_the_patience_of_one_call_is_some_twenty_seconds() -> None:
    worst = [
        (limits["connection_timeout"] + limits["read_timeout"]) * (1 + limits["retry_total"])
        for limits in (cluster.TIME_OUTS, run_history.SHORT_TIME_OUTS)
    ]
    assert worst == [20, 6]


@pytest.mark.parametrize("status", [401, 403])
@each_call
def test_who_is_not_let_in_is_told_what_it_takes(
    azureml_world: AzureMLWorld, call: Callable[[Cluster], object], status: int
) -> None:
    refusal = Answer(status, {"error": {"code": "AuthorizationFailed", "message": "The client may not."}})
    told = trouble(azureml_world, call, refusal)
    assert f"{status} AuthorizationFailed: The client may not. Give this identity the role" in told


def test_a_token_that_expires_in_the_middle_is_fetched_anew(azureml_world: AzureMLWorld) -> None:
    azureml_world.identity.lifetime = 60  # less than azure-identity wants to see left
    azureml_world.cluster.submit([spec()])
    azureml_world.identity.expire()
    assert see(azureml_world, spec()).state in (JobState.QUEUED, JobState.RUNNING)
    assert azureml_world.identity.issued >= 2


def test_a_token_that_azure_calls_expired_waits_for_the_next_tick(azureml_world: AzureMLWorld) -> None:
    azureml_world.cluster.submit([spec()])
    azureml_world.identity.expire()
    with pytest.raises(Unavailable, match=r"401 AuthenticationFailed: .* has expired. Give this identity"):
        azureml_world.cluster.observe([RUN])


@pytest.mark.parametrize("status", [400, 403, 500])
def test_an_identity_that_gets_no_token_waits_for_the_next_tick(azureml_world: AzureMLWorld, status: int) -> None:
    azureml_world.identity.refusal = Answer(status, {"statusCode": status, "message": "no such identity"})
    began = time.monotonic()
    with pytest.raises(
        Unavailable, match=r"ws-local, asked to take job .*: no identity .*no such identity.*managed id"
    ):
        azureml_world.cluster.submit([spec()])
    assert time.monotonic() - began < patience(20)
    azureml_world.identity.refusal = None
    if status != 500:  # which azure-identity remembers for a minute
        assert azureml_world.cluster.submit([spec()]) == {}


def test_a_token_endpoint_that_hangs_is_left_in_time(azureml_world: AzureMLWorld) -> None:
    azureml_world.identity.refusal = Answer(delay=20)
    credential = DefaultAzureCredential(**{**TIME_OUTS, "read_timeout": 0.3})
    url = azureml_world.azure.server.url
    cluster = AzureMLCluster(WORKSPACE, COMPUTE, ENVIRONMENT, arm=url, credential=credential)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="no identity to sign in with"):
        cluster.observe([RUN])
    assert time.monotonic() - began < patience(15)
    credential.close()


def test_a_listing_that_breaks_off_between_pages_is_no_listing(azureml_world: AzureMLWorld) -> None:
    azureml_world.cluster.submit([spec(index) for index in range(5)])
    azureml_world.azure.page = 2
    azureml_world.azure.server.faults.append(Fault(lambda request: request.query.get("$skip") == "2", Answer(503)))
    with pytest.raises(Unavailable):
        azureml_world.cluster.observe([RUN])
    assert len(azureml_world.cluster.observe([RUN])) == 5


def test_a_listing_without_end_is_given_up(azureml_world: AzureMLWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "LISTING_LIMIT", 0.3)
    azureml_world.cluster.submit([spec()])
    one = azureml_world.azure.server.respond(azureml_world.azure.server.requests[-1])
    assert one
    url = azureml_world.azure.server.url
    endless = Answer(body={"value": [one.body], "nextLink": f"{url}{WORKSPACE}/jobs?api-version=x"})
    azureml_world.azure.server.faults.append(Fault(lambda request: request.path.endswith("/jobs"), endless, times=9999))
    with pytest.raises(Unavailable, match=r"asked for the jobs of .*: \d+ in 0.3 s"):
        azureml_world.cluster.observe([RUN])


def test_a_cancel_goes_on_to_the_others_where_one_is_over_or_unknown(azureml_world: AzureMLWorld) -> None:
    over, running = spec(0, ("true",)), spec(1)
    azureml_world.cluster.submit([over, running])
    ended(azureml_world, over, JobState.SUCCEEDED)
    error = {"error": {"code": "UserError", "message": "The job is in a terminal state."}}
    azureml_world.azure.server.faults.append(Fault(lambda request: over.name in request.path, Answer(400, error)))
    azureml_world.cluster.cancel([over.name, "unknown", running.name])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("LROPoller")]  # nobody waits
    ended(azureml_world, running, JobState.CANCELLED)
