"""Twenty kills with -9 during one run, of host, scheduler and workers: the rows are those of a run in peace."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import psutil
import pytest

from local import dask as local_dask
from local.dask import LocalDask
from shared.contract.errors import NotFound
from shared.contract.windows import Window
from shared.state.runs import Phase, Run
from tests.stack.dask_jobs import eventually
from tests.stack.e2e.fleets import HOUR, give_models, give_readings
from tests.stack.e2e.place import Place, jobs_of, over, tick_until
from tests.stack.hosted import ROOT, DevelopmentHost, deployed

SEED = 20261121
VICTIMS = {"host": 7, "scheduler": 4, "worker": 9}
KILLS = sum(VICTIMS.values())
DEVICES = [f"pump{i:02d}" for i in range(26)]
CORRUPT, SILENT = DEVICES[10], DEVICES[20]  # a model that cannot be read, and a pump that was off
# What is due by the real clock stays the same window for a year, however long the test may take.
YEARLY = "0 0 0 1 1 *"
WINDOW = Window(datetime(datetime.now(UTC).year, 1, 1, tzinfo=UTC) - HOUR, HOUR)
# Few jobs at once, so that a host that is down finds little done when it is back: the run must outlast the kills.
LIMITS = {"CHUNK_SIZE": "1", "MAX_IN_FLIGHT": "3", "MAX_RETRIES": "50", "MAX_LOSSES": "100"}
QUICK = {"SILENCE": "PT1S", "RETRY_BACKOFF": "PT1S"}
PAUSE = 0.5  # seconds, at most, that something stays dead
END_LIMIT = 300  # seconds for what is left after the last kill: 40 to 140 were seen on two busy cores
MOVES = 3  # seconds that the run has to come forward between two kills


@dataclass(slots=True)
class Stack:
    """The host and the cluster as processes of their own, which are killed and started again."""

    place: Place
    folder: Path
    port: int  # of the scheduler
    host: DevelopmentHost
    cluster: LocalDask

    def kill_host(self, pause: float) -> None:
        self.host.end(9)
        time.sleep(pause)
        self.host = start_host(self.place, self.folder)

    def kill_scheduler(self, pause: float) -> None:
        """Its workers end with it, and their jobs with them; the next one knows of none."""
        self.cluster.process.kill()
        self.cluster.stop()
        time.sleep(pause)
        self.cluster = local_dask.start(self.folder / "dask", self.port, max_workers=2)

    def kill_worker(self, rng: random.Random) -> bool:
        """False where none runs. Dask starts another one by itself."""
        alive = workers(self.cluster)
        if alive:
            with suppress(psutil.NoSuchProcess):
                rng.choice(alive).kill()
        return bool(alive)

    def stop(self) -> None:
        self.host.end(9)
        self.cluster.stop()


def workers(cluster: LocalDask) -> list[psutil.Process]:
    """The worker processes of a cluster."""
    found = []
    for child in psutil.Process(cluster.process.pid).children():
        with suppress(psutil.NoSuchProcess):  # it has just ended
            if "multiprocessing.spawn" in " ".join(child.cmdline()):
                found.append(child)
    return found


def start_host(place: Place, folder: Path) -> DevelopmentHost:
    return DevelopmentHost(folder / "app", place.environment)


def unused_port(rng: random.Random) -> int:
    """Below those that the system gives to callers: none of them may sit on it while no scheduler listens."""
    for port in rng.sample(range(20_000, 32_000), 50):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("50 ports, and something listens on each")


@pytest.fixture
def calm(place: Place) -> Place:
    """A fleet, and its run in peace."""
    give_models(place, DEVICES, pickled=True)
    place.upload("models", {f"{CORRUPT}.pkl": b"no model"})
    give_readings(place, [device for device in DEVICES if device != SILENT], WINDOW.start)
    tick_until(place.plane(SCHEDULE=YEARLY), datetime.now(UTC), over(place.plane(), WINDOW.id))
    return place


@pytest.fixture
def stack(calm: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """Processes that begin the same run, elsewhere."""
    monkeypatch.setenv("STORAGE", calm.environment["STORAGE"])  # the workers inherit it
    port = unused_port(random.Random())
    changes = {**LIMITS, **QUICK, "SCHEDULE": YEARLY, "DASK_SCHEDULER": f"tcp://127.0.0.1:{port}"}
    disturbed = calm.beside("killed", **changes)
    deployed(ROOT, tmp_path / "app")
    cluster = local_dask.start(tmp_path / "dask", port, max_workers=2)
    started = Stack(disturbed, tmp_path, port, start_host(disturbed, tmp_path), cluster)
    yield started
    started.stop()


def test_twenty_kills_change_no_row(calm: Place, stack: Stack) -> None:
    told = kill_at_random(stack, random.Random(SEED))
    wait_for_end(stack, told)
    ledger = stack.place.plane().ledger
    [killed], [expected] = ([*one.list_runs(9).items] for one in (ledger, calm.plane().ledger))
    assert (killed.phase, killed.models, killed.tally.rows) == (Phase.PARTIAL, 26, 24 * 60), told
    assert ended(killed) == ended(expected), told
    pd.testing.assert_frame_equal(stack.place.rows(), calm.rows())
    eventually(lambda: not jobs_of(stack.cluster))  # nothing is left running
    attempts = sum(chunk.next_attempt - 1 for chunk in ledger.list_chunks(WINDOW.id))
    assert attempts > killed.chunks, "no kill has hit a job"
    print(f"{KILLS} kills, {attempts} attempts at {killed.chunks} chunks, no row differs; {told}")  # noqa: T201  # for the README


def kill_at_random(stack: Stack, rng: random.Random) -> str:
    """Kill all victims, in an order and at moments that *rng* chooses; returns who died when."""
    victims = rng.sample(list(VICTIMS), KILLS, counts=list(VICTIMS.values()))
    plane, began, told = stack.place.plane(), time.monotonic(), []

    def done() -> int:
        with suppress(NotFound):  # the run is not open yet
            return plane.ledger.read_run(WINDOW.id).tally.models
        return 0

    for number, victim in enumerate(victims):
        # At a random moment after it came forward; at once where it came too far for those that are still to die.
        before, moment = done(), time.monotonic() + MOVES
        if before < (number + 1) * len(DEVICES) / (KILLS + 5):
            while done() == before and time.monotonic() < moment:
                time.sleep(0.1)
            time.sleep(rng.uniform(0, 1))
        assert done() < len(DEVICES), f"the run did not last: seed {SEED}, {told}"
        told.append(f"{victim} at {time.monotonic() - began:.1f} s, {done()} done")
        match victim:
            case "host":
                stack.kill_host(rng.uniform(0, PAUSE))
            case "scheduler":
                stack.kill_scheduler(rng.uniform(0, PAUSE))
            case "worker":
                eventually(lambda: stack.kill_worker(rng), 60)
    return f"seed {SEED}: {', '.join(told)}"


def wait_for_end(stack: Stack, told: str) -> None:
    """In beats of half a second: whoever looks more often takes the processor from those who work."""
    is_over, deadline = over(stack.place.plane(), WINDOW.id), time.monotonic() + END_LIMIT
    while not is_over():
        assert time.monotonic() < deadline, f"not over, after {told}; {stack.host.said[-2000:]}"
        time.sleep(0.5)


def ended(run: Run) -> tuple[object, ...]:
    """What a run says of its models, and another run of the same fleet should say too."""
    return run.phase, run.models, replace(run.tally, seconds=0.0), run.failures
