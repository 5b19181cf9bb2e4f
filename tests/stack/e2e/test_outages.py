"""Servers that are not there: what the host says, and that it goes on when they are back."""

import json
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient

from local import azurite as local_azurite
from local import dask as local_dask
from shared.contract.windows import Window
from shared.state.runs import Phase
from tests.stack.dask_jobs import eventually
from tests.stack.e2e.fleets import HOUR, give_models, give_readings
from tests.stack.e2e.place import Place, over, tick_until
from tests.stack.hosted import ROOT, DevelopmentHost, deployed

NOW = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
RUN = "20261121T1100Z-PT1H"
DEVICES = ["pump1", "pump2"]


@pytest.fixture
def ports() -> list[int]:
    """Three ports that nobody else will take, until somebody asks for them by number."""
    sockets = [socket.socket() for _ in range(3)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    found = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return found


def test_a_host_without_storage_says_so_and_goes_on_when_it_is_there(
    place: Place, ports: list[int], tmp_path: Path
) -> None:
    blob, queue, table = ports
    endpoints = "".join(
        f"{name}Endpoint=http://127.0.0.1:{port}/{local_azurite.ACCOUNT};"
        for name, port in (("Blob", blob), ("Queue", queue), ("Table", table))
    )
    account = f"AccountName={local_azurite.ACCOUNT};AccountKey={local_azurite.ACCOUNT_KEY};"
    storage = f"DefaultEndpointsProtocol=http;{account}{endpoints}"
    environment = {**place.environment, "STORAGE": storage, "HEARTBEAT": "* * * * * *"}
    window = Window.containing(datetime.now(UTC) - HOUR - timedelta(minutes=5), HOUR)
    with DevelopmentHost(deployed(ROOT, tmp_path / "app"), environment) as host:
        host.until("Executed 'Functions.heartbeat' .Failed", times=2)
        assert f"127.0.0.1:{table}" in host.said
        assert local_azurite.ACCOUNT_KEY not in host.said
        server = local_azurite.start(blob_port=blob, queue_port=queue, table_port=table, die_with_parent=True)
        try:
            host.until("Executed 'Functions.heartbeat' .Succeeded")
            with BlobServiceClient.from_connection_string(storage, api_version="2025-01-05") as service:
                there = Place(environment, service)
                # Without models the run of the hour ends as failed, after a second look, and says where it looked.
                eventually(over(there.plane(), window.id), 60)
                run = there.plane().ledger.read_run(window.id)
                assert (run.phase, "no models named" in run.message) == (Phase.FAILED, True)
        finally:
            server.stop()


def test_a_scheduler_that_restarts_and_forgets_is_noticed_and_the_work_goes_out_again(
    place: Place, ports: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_models(place, DEVICES)
    give_readings(place, DEVICES, NOW - timedelta(minutes=65))
    monkeypatch.setenv("STORAGE", place.environment["STORAGE"])
    plane = place.plane(DASK_SCHEDULER=f"tcp://127.0.0.1:{ports[0]}", CHUNK_SIZE="1")
    began = datetime.now(UTC)

    def later(now: datetime) -> datetime:
        return now + (datetime.now(UTC) - began)

    first = local_dask.start(tmp_path / "first", port=ports[0], max_workers=1)
    try:
        tick_until(plane, NOW, lambda: any(c.attempts for c in plane.ledger.list_chunks(RUN)), later)
    finally:
        first.process.kill()
        first.stop()
    plane.tick(later(NOW))
    assert str(ports[0]) in plane.ledger.read_heartbeat().trouble  # the page says what is out of reach
    second = local_dask.start(tmp_path / "second", port=ports[0], max_workers=1)
    try:
        tick_until(plane, NOW, over(plane, RUN), later)
    finally:
        second.stop()
    run = plane.ledger.read_run(RUN)
    assert (run.phase, run.tally.scored, run.tally.rows) == (Phase.SUCCEEDED, 2, 120)
    assert len(list(place.container("predictions").list_blobs())) == 2


def test_a_host_with_wrong_settings_ends_with_2_and_tells_all_of_them(tmp_path: Path) -> None:
    app = deployed(ROOT, tmp_path / "app")
    values = {"SCHEDULE": "0 5 * * * 7", "WINDOW": "PT7H", "HEARTBEAT": "often", "CHUNK_SIZE": "0"}
    (app / "local.settings.json").write_text(json.dumps({"IsEncrypted": False, "Values": values}))
    command = [sys.executable, "-m", "local.host", "--port", "0"]
    done = subprocess.run(
        command, cwd=app, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False
    )
    told = {line.split(":")[0].strip() for line in done.stderr.splitlines()[1:]}
    assert (done.returncode, told) == (2, {"STORAGE", *values})
