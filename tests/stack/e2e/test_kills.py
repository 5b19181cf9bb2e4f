"""Hosts and workers that die, and hosts that tick at once: one run, and consumers read each row once."""

import random
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from local.dask import LocalDask
from shared.contract.windows import Window
from shared.state.runs import Phase, Run
from tests.stack.dask_jobs import eventually
from tests.stack.e2e.fleets import HOUR, give_models, give_readings
from tests.stack.e2e.place import Place, jobs_of, over, tick_until
from tests.stack.hosted import ROOT, DevelopmentHost, deployed

NOW = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
RUN = "20261121T1100Z-PT1H"
DEVICES = [f"pump{i:02d}" for i in range(24)]


@pytest.fixture
def fleet(place: Place) -> Place:
    """Twenty-four devices with a reading a minute from an hour before `NOW` on, in chunks of two."""
    give_models(place, DEVICES)
    give_readings(place, DEVICES, NOW.replace(minute=0) - HOUR)
    return place


def assert_whole(place: Place, run: Run, folder: Path) -> None:
    assert (run.phase, run.tally.scored, run.tally.rows) == (Phase.SUCCEEDED, 24, 24 * 60)
    table = pd.read_parquet(place.download("predictions", folder))
    assert table.groupby("device").size().to_dict() == dict.fromkeys(DEVICES, 60)
    assert not table.duplicated(["device", "time"]).any()


def test_two_hosts_that_tick_at_once_make_one_run(fleet: Place, tmp_path: Path) -> None:
    planes = [fleet.plane(CHUNK_SIZE="2") for _ in range(2)]
    troubles: list[BaseException] = []

    def host(index: int) -> None:
        try:
            tick_until(planes[index], NOW, over(planes[index], RUN))
        except BaseException as error:  # noqa: BLE001  # a thread's end is told by nobody else
            troubles.append(error)

    threads = [threading.Thread(target=host, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
    assert [run.id for run in planes[0].ledger.list_runs(9).items] == [RUN]
    assert_whole(fleet, planes[0].ledger.read_run(RUN), tmp_path)


def test_a_tick_that_comes_twice_changes_nothing(fleet: Place, tmp_path: Path) -> None:
    plane = fleet.plane(CHUNK_SIZE="6")

    def twice() -> bool:
        plane.tick(NOW)
        return over(plane, RUN)()

    tick_until(plane, NOW, twice)
    ended = plane.ledger.read_run(RUN)
    plane.tick(NOW)
    plane.tick(NOW)
    assert plane.ledger.read_run(RUN) == ended
    assert_whole(fleet, ended, tmp_path)


def test_a_worker_killed_in_the_middle_of_a_chunk_costs_only_time(
    fleet: Place, dask_cluster: LocalDask, tmp_path: Path
) -> None:
    plane = fleet.plane(CHUNK_SIZE="12")
    tick_until(plane, NOW, lambda: jobs_of(dask_cluster))
    for job in jobs_of(dask_cluster):
        keeper = job.parent()
        worker = keeper.parent() if keeper else None
        assert worker
        worker.kill()
    start = time.monotonic()
    tick_until(plane, NOW, over(plane, RUN), lambda now: now + timedelta(seconds=time.monotonic() - start))
    assert sum(chunk.losses for chunk in plane.ledger.list_chunks(RUN)) >= 1
    assert_whole(fleet, plane.ledger.read_run(RUN), tmp_path)


def test_a_host_killed_in_the_middle_of_a_run_goes_on_when_it_is_started_again(fleet: Place, tmp_path: Path) -> None:
    """The development host, by the real clock, killed with -9 five times."""
    started = datetime.now(UTC)
    window = Window.containing(started - HOUR - timedelta(minutes=5), HOUR)  # what is due at five past
    give_readings(fleet, DEVICES, window.start)
    give_readings(fleet, DEVICES, window.end)  # should the hour strike meanwhile
    app = deployed(ROOT, tmp_path / "app")
    plane, rng = fleet.plane(), random.Random(0)
    for kill in [True] * 5 + [False]:
        with DevelopmentHost(app, {**fleet.environment, "CHUNK_SIZE": "2"}) as host:
            host.until("Executed 'Functions.heartbeat' .Succeeded")
            if kill:
                time.sleep(rng.uniform(0, 3))
                host.process.kill()
            else:
                eventually(over(plane, window.id), 120)
    runs = {run.id for run in plane.ledger.list_runs(9).items}
    assert runs in ({window.id}, {window.id, Window(window.end, HOUR).id})
    run = plane.ledger.read_run(window.id)
    folder = tmp_path / "all"
    fleet.download("predictions", folder)
    table = pd.read_parquet(min(folder.rglob(f"{window.id}*.parquet")).parent)
    assert (run.phase, run.tally.rows) == (Phase.SUCCEEDED, 24 * 60)
    assert table.groupby("device").size().to_dict() == dict.fromkeys(DEVICES, 60)
