"""Jobs in an Azure ML workspace: what is asked for, and what is made of the answers."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from shared.adapters.azureml.cluster import DETAILS_LIMIT, STATES, AzureMLCluster
from shared.adapters.azureml.run_history import LOG_LIMIT
from shared.contract.errors import Misconfigured, NotFound, Unavailable
from shared.contract.paths import make_job_name
from shared.ports import JobSpec, JobStatus, Refusal
from shared.state.runs import JobState, Nodes
from tests.clouds.azureml import COMPUTE, ENVIRONMENT, EXISTS, PREEMPTED, WORKSPACE
from tests.clouds.azureml_world import AzureMLWorld
from tests.clouds.stand_in import Answer, Fault
from tests.stack.dask_jobs import eventually

RUN = "20261121T0700Z-PT1H"
RUNS_ON = ("sleep", "300")
DISCOVERY = ["GET ", "GET /discovery"]


def spec(index: int = 0, command: tuple[str, ...] = RUNS_ON, run: str = RUN) -> JobSpec:
    return JobSpec(make_job_name("fleet", run, f"c{index:05d}", 1), run, command, timedelta(hours=1))


def see(world: AzureMLWorld, job: JobSpec) -> JobStatus:
    return world.cluster.observe([job.run])[job.name]


def ended(world: AzureMLWorld, job: JobSpec, state: JobState) -> JobStatus:
    eventually(lambda: see(world, job).state is state)
    return see(world, job)


def test_a_submission_is_one_request_and_so_are_a_look_a_cancel_and_a_count(azureml_world: AzureMLWorld) -> None:
    jobs = [spec(index) for index in range(3)]
    azureml_world.cluster.submit(jobs)
    assert sorted(azureml_world.asked()) == [f"PUT /jobs/{job.name}" for job in jobs]
    azureml_world.cluster.observe([RUN])
    assert azureml_world.asked() == ["GET /jobs"]
    azureml_world.cluster.observe([RUN, "20261121T0800Z-PT1H"])
    assert azureml_world.asked() == ["GET /jobs", "GET /jobs"]
    azureml_world.cluster.cancel([jobs[0].name])
    assert azureml_world.asked() == [f"POST /jobs/{jobs[0].name}/cancel"]
    azureml_world.cluster.count_nodes()
    assert azureml_world.asked() == [f"GET /computes/{COMPUTE}"]
    azureml_world.cluster.release(RUN)
    azureml_world.cluster.observe([])
    azureml_world.cluster.submit([])
    azureml_world.cluster.cancel([])
    assert azureml_world.asked() == []


def test_a_job_is_ordered_with_all_that_it_needs_and_nothing_else(azureml_world: AzureMLWorld) -> None:
    job = spec(command=("python", "-m", "scorer", "--manifest", "https://a b/c'd"))
    azureml_world.cluster.submit([job])
    [request] = azureml_world.azure.server.requests
    assert request.query == {"api-version": "2024-10-01"}
    assert request.json == {
        "properties": {
            "jobType": "Command",
            "command": """python -m scorer --manifest 'https://a b/c'"'"'d'""",
            "computeId": f"{WORKSPACE}/computes/scorer",
            "environmentId": f"{WORKSPACE}/environments/fleetscore-scorer/versions/1",
            "displayName": job.name,
            "experimentName": "fleet",
            "environmentVariables": {"AZURE_CLIENT_ID": "the-nodes-identity", "FLEETSCORE_DIGEST": job.digest},
            "properties": {"fleetscore_run": RUN, "FLEETSCORE_DIGEST": job.digest},
            "identity": {"identityType": "Managed"},
            "limits": {"jobLimitsType": "Command", "timeout": "PT3600S"},
        }
    }


def test_a_job_finds_its_arguments_and_its_identity(azureml_world: AzureMLWorld) -> None:
    shown = "import os, sys; print(sys.argv[1:], os.environ['AZURE_CLIENT_ID'])"
    job = spec(command=("python", "-c", shown, "a b", "$HOME", "it's; rm", "ü"))
    azureml_world.cluster.submit([job])
    ended(azureml_world, job, JobState.SUCCEEDED)
    assert azureml_world.cluster.read_log(job.name) == """['a b', '$HOME', "it's; rm", 'ü'] the-nodes-identity\n"""


@pytest.mark.parametrize("picky", [False, True])
def test_a_job_that_exists_is_adopted(azureml_world: AzureMLWorld, picky: bool) -> None:
    job = spec()
    azureml_world.azure.picky = picky
    azureml_world.cluster.submit([job])
    assert azureml_world.cluster.submit([job]) == {}
    asked = [f"PUT /jobs/{job.name}"] * 2 + [f"GET /jobs/{job.name}"] * picky
    assert azureml_world.asked() == asked
    assert list(azureml_world.azure.jobs) == [job.name]


def test_a_job_that_has_ended_is_adopted(azureml_world: AzureMLWorld) -> None:
    job = spec(command=("true",))
    azureml_world.cluster.submit([job])
    ended(azureml_world, job, JobState.SUCCEEDED)
    assert azureml_world.cluster.submit([job]) == {}
    assert azureml_world.azure.nodes.look(job.name).starts == 1


@pytest.mark.parametrize("command", [RUNS_ON, ("true",)])
def test_where_azure_shows_no_variables_a_property_tells_what_a_job_is(
    azureml_world: AzureMLWorld, command: tuple[str, ...]
) -> None:
    azureml_world.cluster.submit([spec()])
    shown = azureml_world.azure._shown(spec().name)
    del shown["properties"]["environmentVariables"]
    azureml_world.azure.server.faults.append(Fault(lambda _: True, Answer(200, shown)))
    refusals = azureml_world.cluster.submit([spec(command=command)])
    assert [refusal.name_taken for refusal in refusals.values()] == [True] * (command != RUNS_ON)


@pytest.mark.parametrize("status", [400, 409])
def test_a_name_of_other_content_is_taken(azureml_world: AzureMLWorld, status: int) -> None:
    job, other = spec(), spec(command=("true",))
    azureml_world.cluster.submit([job])
    error = {"error": {"code": "UserError", "message": EXISTS.format(what="Command")}}
    azureml_world.azure.server.faults.append(Fault(lambda request: request.method == "PUT", Answer(status, error)))
    taken = Refusal(f"ws-local has a job {job.name} of other content", name_taken=True)
    assert azureml_world.cluster.submit([other]) == {job.name: taken}


def test_other_content_is_told_although_azure_takes_it_for_the_same(azureml_world: AzureMLWorld) -> None:
    job, other = spec(), spec(command=("true",))
    azureml_world.cluster.submit([job])
    as_it_was = azureml_world.azure.server.respond(replace(azureml_world.azure.server.requests[-1], method="GET"))
    azureml_world.azure.server.faults.append(Fault(lambda request: request.method == "PUT", as_it_was))
    assert azureml_world.cluster.submit([other])[job.name].name_taken


@pytest.mark.parametrize(
    ("compute", "environment", "words"),
    [("none", ENVIRONMENT, "400 UserError: Compute /sub"), (COMPUTE, "none:2", "404 UserError: Environment /sub")],
)
def test_what_names_no_compute_or_environment_is_refused_for_good(
    azureml_world: AzureMLWorld, compute: str, environment: str, words: str
) -> None:
    url = azureml_world.azure.server.url
    cluster = AzureMLCluster(WORKSPACE, compute, environment, arm=url, credential=azureml_world.cluster._credential)
    [refusal] = cluster.submit([spec()]).values()
    assert not refusal.name_taken
    assert words in refusal.message


def test_a_workspace_that_is_not_there_refuses_no_job_for_good(azureml_world: AzureMLWorld) -> None:
    url, credential = azureml_world.azure.server.url, azureml_world.cluster._credential
    cluster = AzureMLCluster(f"{WORKSPACE}2", COMPUTE, ENVIRONMENT, arm=url, credential=credential)
    for ask in (lambda: cluster.submit([spec()]), lambda: cluster.observe([RUN]), cluster.count_nodes):
        with pytest.raises(Unavailable, match=r"404 ResourceNotFound.*ws-local2.*Look at the setting"):
            ask()


@pytest.mark.parametrize(
    ("told", "state"), [*STATES.items(), ("Paused", JobState.QUEUED), ("NewWord", JobState.QUEUED)]
)
def test_each_state_has_its_meaning(azureml_world: AzureMLWorld, told: str, state: JobState) -> None:
    job = spec()
    azureml_world.cluster.submit([job])
    azureml_world.azure.jobs[job.name].told = told
    seen = see(azureml_world, job)
    assert seen.state is state
    assert told in seen.detail or state is JobState.FAILED  # which Azure explains in other words


def test_the_table_of_states_has_all_that_the_sdk_knows(azureml_world: AzureMLWorld) -> None:
    azureml_world.cluster.observe([])  # imports it
    from azure.ai.ml._restclient.arm_ml_service.models import JobStatus

    assert {status.value for status in JobStatus} - set(STATES) == {"Paused", "Unknown"}


def test_states_are_believed_in_any_order(azureml_world: AzureMLWorld) -> None:
    job, seen = spec(), []
    azureml_world.cluster.submit([job])
    for told in ("Queued", "NotResponding", "Running", "Queued", "Completed", "Running"):
        azureml_world.azure.jobs[job.name].told = told
        seen.append(see(azureml_world, job).state.value)
    assert seen == ["queued", "doubtful", "running", "queued", "succeeded", "running"]


def test_a_listing_in_pages_is_read_to_its_end(azureml_world: AzureMLWorld) -> None:
    jobs = [spec(index) for index in range(5)]
    azureml_world.cluster.submit(jobs)
    azureml_world.asked()
    azureml_world.azure.page = 2
    assert set(azureml_world.cluster.observe([RUN])) == {job.name for job in jobs}
    assert azureml_world.asked() == ["GET /jobs"] * 3


def test_a_job_that_vanished_is_left_out_and_one_that_was_archived_is_not(azureml_world: AzureMLWorld) -> None:
    gone, archived = spec(0), spec(1)
    azureml_world.cluster.submit([gone, archived])
    azureml_world.azure.jobs[archived.name].properties["isArchived"] = True
    del azureml_world.azure.jobs[gone.name]
    assert set(azureml_world.cluster.observe([RUN])) == {archived.name}


def test_a_job_whose_node_was_taken_away_is_lost(azureml_world: AzureMLWorld) -> None:
    job = spec()
    azureml_world.cluster.submit([job])
    eventually(lambda: see(azureml_world, job).state is JobState.RUNNING)
    azureml_world.azure.preempt(job.name)
    assert ended(azureml_world, job, JobState.LOST) == JobStatus(JobState.LOST, PREEMPTED)


def test_a_job_that_speaks_of_preemption_has_failed_all_the_same(azureml_world: AzureMLWorld) -> None:
    job = spec(command=("sh", "-c", "echo evicted by pre-emption; exit 4"))
    azureml_world.cluster.submit([job])
    assert ended(azureml_world, job, JobState.FAILED).detail == "exit code 4: evicted by pre-emption"


def test_why_a_job_has_failed_is_asked_once(azureml_world: AzureMLWorld) -> None:
    job = spec(command=("sh", "-c", "echo no such manifest; exit 3"))
    azureml_world.cluster.submit([job])
    ended(azureml_world, job, JobState.FAILED)
    details = f"/history/v1.0/runs/{job.name}/details"
    log = [f"HEAD /logs/{job.name}", f"GET /logs/{job.name}"]
    assert [line for line in azureml_world.asked() if "jobs" not in line] == [*DISCOVERY, f"GET {details}", *log]
    assert see(azureml_world, job).detail == "exit code 3: no such manifest"
    assert azureml_world.asked() == ["GET /jobs"]


def test_of_many_that_failed_those_not_asked_about_are_in_doubt_until_the_next_look(
    azureml_world: AzureMLWorld,
) -> None:
    jobs = [spec(index, ("false",)) for index in range(DETAILS_LIMIT + 3)]
    azureml_world.cluster.submit(jobs)
    for job in azureml_world.azure.jobs.values():
        job.told = "Failed"
    eventually(lambda: all(azureml_world.azure.nodes.look(job.name).state == "ended" for job in jobs))

    def looks() -> list[JobState]:
        return sorted(seen.state for seen in azureml_world.cluster.observe([RUN]).values())

    assert looks() == [JobState.UNRESPONSIVE] * 3 + [JobState.FAILED] * DETAILS_LIMIT
    assert looks() == [JobState.FAILED] * len(jobs)


@pytest.mark.parametrize("answer", [None, Answer(503), Answer(403, {"error": {"code": "Forbidden", "message": "no"}})])
def test_a_job_has_failed_although_nobody_tells_why(azureml_world: AzureMLWorld, answer: Answer | None) -> None:
    job = spec(command=("false",))
    azureml_world.azure.server.faults.append(Fault(lambda request: "history" in request.path, answer, times=9))
    azureml_world.cluster.submit([job])
    detail = ended(azureml_world, job, JobState.FAILED).detail
    assert detail.startswith("Azure ML reports Failed, without a reason: ws-loc")


def test_a_failure_before_the_command_began_is_told_in_azures_words(azureml_world: AzureMLWorld) -> None:
    job, message = spec(), "Failed to pull the image:\n no such tag"
    azureml_world.cluster.submit([job])
    azureml_world.azure.jobs[job.name].told = "Failed"
    told = {"runId": job.name, "error": {"error": {"code": "UserError", "message": message}}, "logFiles": {}}
    azureml_world.azure.server.faults.append(Fault(lambda request: "history" in request.path, Answer(body=told)))
    assert see(azureml_world, job) == JobStatus(JobState.FAILED, "Failed to pull the image: no such tag")


def test_of_a_long_log_only_the_end_is_fetched(azureml_world: AzureMLWorld) -> None:
    job = spec(command=("python", "-c", f"print('x' * {LOG_LIMIT}); print('the last line')"))
    azureml_world.cluster.submit([job])
    ended(azureml_world, job, JobState.SUCCEEDED)
    log = azureml_world.cluster.read_log(job.name)
    assert len(log) == LOG_LIMIT
    assert log.endswith("x\nthe last line\n")
    assert azureml_world.azure.server.requests[-1].headers["range"] == "bytes=15-"


def test_a_job_that_has_not_begun_has_no_log_yet(azureml_world: AzureMLWorld) -> None:
    jobs = [spec(index) for index in range(3)]  # one more than there are nodes
    for job in jobs:
        azureml_world.cluster.submit([job])
    with pytest.raises(NotFound, match=f"no log of job {jobs[2].name} yet"):
        azureml_world.cluster.read_log(jobs[2].name)


def test_the_nodes_are_those_that_azure_counts(azureml_world: AzureMLWorld) -> None:
    assert azureml_world.cluster.count_nodes() == Nodes(2, 3, {"idle": 2})


@pytest.mark.parametrize("missing", ["computes/other", "a cluster that is being made", "another kind"])
def test_a_compute_without_nodes_is_told(azureml_world: AzureMLWorld, missing: str) -> None:
    kind = "KubernetesCompute" if missing == "another kind" else "AmlCompute"
    answer = Answer(body={"properties": {"computeType": kind, "properties": None}})
    if missing == "computes/other":
        answer = Answer(404, {"error": {"code": "ComputeNotFound", "message": "no such compute"}})
    azureml_world.azure.server.faults.append(Fault(lambda request: "computes" in request.path, answer))
    if missing == "a cluster that is being made":
        assert azureml_world.cluster.count_nodes() == Nodes(0, 0, {})
        return
    with pytest.raises(Unavailable, match=f"got {kind}|no such compute"):
        azureml_world.cluster.count_nodes()


@pytest.mark.parametrize(("workspace", "environment"), [("ws-local", ENVIRONMENT), (WORKSPACE, "no-version")])
def test_a_setting_of_the_wrong_form_is_told_at_once(workspace: str, environment: str) -> None:
    with pytest.raises(Misconfigured, match=r"expected a .*, got '(ws-local|no-version)'"):
        AzureMLCluster(workspace, COMPUTE, environment)


def test_the_sdk_is_not_imported_before_it_is_used() -> None:
    code = f"import sys; from shared.adapters.azureml.cluster import *; AzureMLCluster({WORKSPACE!r}, 'c', 'e:1')"
    loaded = "print([m for m in sys.modules if m.startswith('azure') or m == 'requests'])"
    told = subprocess.run(
        [sys.executable, "-c", f"{code}; {loaded}"], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    assert told.stdout == "[]\n"
