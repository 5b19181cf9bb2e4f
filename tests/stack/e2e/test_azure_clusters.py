"""Whole runs on Azure ML and on Azure Batch: real SDKs and sign-in, stand-ins for Azure, jobs that really run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from azure.storage.blob import ContainerClient
from starlette.testclient import TestClient

from local.azurite import Azurite
from shared import bootstrap
from shared.adapters.azure.auth import make_default_credential
from shared.api.app import create_api
from shared.api.auth import Authorizer
from shared.contract.windows import Window
from shared.state.runs import ChunkState, Nodes, Phase
from tests.clouds import azureml
from tests.clouds.azureml_world import AzureMLWorld
from tests.clouds.batch_service import BatchService
from tests.clouds.batch_world import IDENTITY, IMAGE
from tests.clouds.stand_in import Answer, Fault, Identity
from tests.stack.e2e.fleets import HOUR, give_models, give_readings
from tests.stack.e2e.place import Place, over, tick_until
from tests.stack.hosted import ROOT, deployed

START = datetime(2026, 11, 21, 7, tzinfo=UTC)
NOW = datetime(2026, 11, 21, 8, 5, tzinfo=UTC)
RUN = "20261121T0700Z-PT1H"
DEVICES = [f"pump{i:02}" for i in range(12)]


@dataclass(frozen=True, slots=True)
class Azure:
    """One of Azure's clusters, as a test needs it."""

    settings: Mapping[str, str]
    preempt: Callable[[str], None]
    faults: list[Fault]
    submits: Callable[[Any], bool]  # whether a request asks for a job


@pytest.fixture
def sign_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Identity]:
    """The app's own managed identity, as its plan gives it."""
    identity = Identity()
    for name, value in identity.environment.items():
        monkeypatch.setenv(name, value)
    make_default_credential.cache_clear()
    yield identity
    make_default_credential.cache_clear()
    identity.server.close()


@pytest.fixture(params=["azureml", "batch"])
def azure(request: pytest.FixtureRequest, azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> Azure:
    monkeypatch.setenv("STORAGE", azurite.connection_string)  # its nodes inherit it
    if request.param == "azureml":
        ml: AzureMLWorld = request.getfixturevalue("azureml_world")
        make_default_credential.cache_clear()
        settings = {
            "CLUSTER": "azureml",
            "AML_WORKSPACE": azureml.WORKSPACE,
            "AML_COMPUTE": azureml.COMPUTE,
            "AML_ENVIRONMENT": azureml.ENVIRONMENT,
            "NODE_CLIENT_ID": "0a1b2c3d-0000-0000-0000-00000000000f",
            "ARM_ENDPOINT": ml.azure.server.url,
        }
        return Azure(settings, ml.azure.preempt, ml.azure.server.faults, lambda asked: asked.method == "PUT")
    service: BatchService = request.getfixturevalue("batch_service")
    request.getfixturevalue("sign_in")

    def upload(container: str, path: str, output: bytes) -> None:
        name = container.rpartition("/")[2]
        client = ContainerClient.from_connection_string(azurite.connection_string, name, api_version="2025-01-05")
        with client:
            client.upload_blob(path, output)

    service.upload = upload
    settings = {
        "CLUSTER": "batch",
        "BATCH_ENDPOINT": service.server.url,
        "BATCH_POOL": service.pool,
        "BATCH_IMAGE": IMAGE,
        "BATCH_IDENTITY": IDENTITY,
    }
    collects = "/addtaskcollection"
    return Azure(settings, service.preempt, service.server.faults, lambda asked: asked.path.endswith(collects))


@pytest.fixture
def fleet(place: Place) -> Place:
    """Twelve pumps, one of which was off."""
    give_models(place, DEVICES, pickled=True)
    give_readings(place, DEVICES[:-1], START)
    return place


def parts(place: Place) -> dict[str, bytes]:
    """All that consumers read, by name."""
    container = place.container("predictions")
    return {name: container.download_blob(name).readall() for name in container.list_blob_names()}


def test_a_run_gives_the_same_predictions_as_on_dask(fleet: Place, azure: Azure) -> None:
    dask = fleet.plane(CHUNK_SIZE="4")
    tick_until(dask, NOW, over(dask, RUN))
    there = fleet.beside("azure", CHUNK_SIZE="4", **azure.settings)
    plane = there.plane()
    tick_until(plane, NOW, over(plane, RUN))
    run = plane.ledger.read_run(RUN)
    assert (run.phase, run.chunks, run.tally.scored, run.tally.skipped) == (Phase.SUCCEEDED, 3, 11, 1)
    assert replace(run.tally, seconds=0) == replace(dask.ledger.read_run(RUN).tally, seconds=0)
    assert parts(there) == parts(fleet)
    assert len(parts(there)) == 3
    http = TestClient(create_api(plane.services, Authorizer(), lambda: NOW))
    log = http.get(f"/api/runs/{RUN}/logs/c00001")
    assert (log.status_code, "4 models" in log.text) == (200, True)
    nodes = plane.ledger.read_heartbeat().nodes
    assert isinstance(nodes, Nodes)
    assert nodes.current >= 1


def test_a_node_that_is_taken_away_costs_no_retry(fleet: Place, azure: Azure) -> None:
    plane = fleet.plane(CHUNK_SIZE="4", MAX_RETRIES="0", **azure.settings)
    plane.tick(NOW)
    lost = f"{fleet.settings.app_name}-{RUN}-c00000-1"
    tick_until(plane, NOW, lambda: plane.ledger.read_chunk(RUN, "c00000").state is ChunkState.RUNNING)
    azure.preempt(lost)
    tick_until(plane, NOW, over(plane, RUN))
    assert plane.ledger.read_run(RUN).phase is Phase.SUCCEEDED
    assert len(parts(fleet)) == 3


@pytest.mark.parametrize("after", [False, True])
def test_answers_that_are_lost_while_jobs_are_submitted_double_nothing(
    fleet: Place, azure: Azure, *, after: bool
) -> None:
    azure.faults.append(Fault(azure.submits, None, after=after, times=3))
    plane = fleet.plane(CHUNK_SIZE="4", **azure.settings)
    tick_until(plane, NOW, over(plane, RUN))
    run = plane.ledger.read_run(RUN)
    assert (run.phase, run.tally.scored) == (Phase.SUCCEEDED, 11)
    assert [chunk.next_attempt for chunk in plane.ledger.list_chunks(RUN)] == [2, 2, 2]


def test_a_cluster_that_wants_to_be_left_alone_for_an_hour_is_and_the_run_says_until_when(
    fleet: Place, azure: Azure
) -> None:
    azure.faults.append(
        Fault(azure.submits, Answer(429, {"error": {"code": "TooManyRequests"}}, {"Retry-After": "3600"}))
    )
    plane = fleet.plane(CHUNK_SIZE="4", **azure.settings)
    plane.tick(NOW)
    until = plane.ledger.read_run(RUN).throttled_until
    assert until
    assert 3600 <= (until - NOW).total_seconds() < 3660
    app = create_api(plane.services, bootstrap.build_authorizer(fleet.settings), lambda: NOW)
    assert TestClient(app).get("/api/health").json()["throttled_until"] is not None
    tick_until(plane, until, over(plane, RUN))
    assert plane.ledger.read_run(RUN).phase is Phase.SUCCEEDED


def test_a_cancel_leaves_no_job_behind(fleet: Place, azure: Azure) -> None:
    plane = fleet.plane(CHUNK_SIZE="1", **azure.settings)
    plane.tick(NOW)
    http = TestClient(create_api(plane.services, Authorizer(), lambda: NOW))
    assert http.post(f"/api/runs/{RUN}/cancel").status_code == 202
    tick_until(plane, NOW, over(plane, RUN))
    seen = plane.cluster.observe([RUN])
    assert len(seen) == len(DEVICES)
    assert {sighting.state.over for sighting in seen.values()} == {True}
    assert plane.ledger.read_run(RUN).phase is Phase.CANCELLED


def test_the_deployed_app_does_all_that_under_microsofts_worker(
    fleet: Place, azure: Azure, worker: Callable[..., Any], tmp_path: Path
) -> None:
    window = Window.containing(datetime.now(UTC) - HOUR - timedelta(minutes=5), HOUR)  # the last that is due
    give_readings(fleet, DEVICES[:-1], window.start)
    settings = {**fleet.environment, **azure.settings, "HEARTBEAT": "0 0 0 1 1 *", "CHUNK_SIZE": "6"}
    app = worker(deployed(ROOT, tmp_path / "app"), settings)
    assert app.error == ""

    def told(path: str) -> Any:
        return app.http("http_app_func", httpx.Request("GET", f"http://127.0.0.1:7071{path}"))

    deadline = time.monotonic() + 60
    run: dict[str, Any] = {"ended_at": None}
    while run["ended_at"] is None:
        assert time.monotonic() < deadline, run
        assert app.timer("heartbeat").error == ""
        run = json.loads(told(f"/api/runs/{window.id}").body)
        time.sleep(0.3)
    assert (run["phase"], run["models"]["scored"], run["models"]["skipped"]) == ("succeeded", 11, 1)
    assert json.loads(told("/api/schedule").body)["nodes"]["current"] >= 1
    assert b"6 models" in told(f"/api/runs/{window.id}/logs/c00000").body
