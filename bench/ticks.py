"""What the ticks of a run cost: planning, submitting, watching and committing its chunks."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol, cast

from local import azurite
from scorer.storage.blob_store import open_container
from shared.adapters.azure.blobs import AzureBlobs
from shared.adapters.azure.tables import TableLedger
from shared.adapters.memory import MemoryBlobs, MemoryCluster, MemoryLedger, MemoryStopwatch
from shared.adapters.memory_sinks import MemoryNotifier, MemorySinkLedger
from shared.contract import paths
from shared.contract.domain import Part
from shared.contract.outcomes import ModelResult, Outcomes
from shared.contract.report import Progress, Report
from shared.contract.windows import Window
from shared.control.loop import ControlPlane
from shared.control.options import ControlOptions
from shared.planning.chunking import ChunkSize
from shared.planning.plan_writer import PlanOptions
from shared.ports import Blobs, Ledger
from shared.state.requests import SCHEDULE, Request, RequestKind
from shared.state.runs import Heartbeat, JobState, Phase
from shared.tracking.run_limits import RunLimits

from .fleet import Stream, model_id
from .measure import Cost, count_calls, measure_cost

NOON = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
BEAT = timedelta(seconds=10)  # few enough beats to a run that no second window falls due
WINDOW = Window(datetime(2026, 11, 21, 11, tzinfo=UTC), timedelta(hours=1))
ROWS = 60  # of a model
DATA = b"predictions"
MD5 = base64.b64encode(hashlib.md5(DATA, usedforsecurity=False).digest()).decode()
NODES = 8  # that write at the same time


class _Writer(Protocol):
    """How a node writes."""

    def write(self, path: str, data: bytes, metadata: Mapping[str, str] | None = None) -> object: ...


@dataclass(slots=True)
class _World:
    """The ports, counted; the nodes; and a clock."""

    ledger: Ledger
    work: Blobs
    predictions: Blobs
    nodes: _Writer
    models: int  # a chunk
    chunks: int
    calls: Counter[str] = field(default_factory=Counter)
    cluster: MemoryCluster = field(default_factory=MemoryCluster)
    now: datetime = NOON

    def tick(self, max_in_flight: int) -> Cost:
        """One tick, under that limit."""
        fleet = cast("Blobs", Stream(self.models * self.chunks))
        plane = ControlPlane(
            ledger=count_calls(self.ledger, "ledger", self.calls),
            cluster=count_calls(self.cluster, "cluster", self.calls),
            models=count_calls(fleet, "models", self.calls),
            readings=fleet,
            work=count_calls(self.work, "work", self.calls),
            predictions=count_calls(self.predictions, "predictions", self.calls),
            sinks=MemorySinkLedger(),
            notifier=MemoryNotifier(),
            stopwatch=MemoryStopwatch(),  # the pace of submitting, 20 jobs a second, is not waited for
            options=ControlOptions(
                planning=PlanOptions(ChunkSize(self.models)),
                limits=RunLimits(max_in_flight=max_in_flight),
                tick_budget=timedelta(hours=1),
            ),
        )
        with measure_cost(self.calls) as cost:
            plane.tick(self.now)
        self.now += BEAT
        return cost

    def start(self) -> None:
        """Let what is queued run, and give its first sign."""
        self._each(JobState.QUEUED, JobState.RUNNING, lambda chunk, attempt: self._sign(chunk, attempt, 0))

    def go_on(self) -> None:
        """Let each job tell that it is half done."""
        self._each(JobState.RUNNING, JobState.RUNNING, lambda chunk, attempt: self._sign(chunk, attempt, 1))

    def finish(self) -> None:
        """Let each job write its part and its report, and end."""
        self._each(JobState.RUNNING, JobState.SUCCEEDED, self._report)

    def _each(self, state: JobState, after: JobState, write: Callable[[str, int], None]) -> None:
        names = [name for name, sighting in self.cluster.sightings.items() if sighting.state is state]
        jobs = [job[1:] for name in names if (job := paths.parse_job_name(name))]
        with ThreadPoolExecutor(NODES) as pool:
            list(pool.map(lambda job: write(*job), jobs))
        for name in names:
            self.cluster.set_state(name, after)

    def _sign(self, chunk: str, attempt: int, halves: int) -> None:
        progress = Progress(halves * self.models // 2, self.models)
        self.nodes.write(paths.progress_path(WINDOW.id, chunk, attempt), b"", progress.to_metadata())

    def _report(self, chunk: str, attempt: int) -> None:
        path = f"{paths.parts_prefix(WINDOW.id, chunk)}0.parquet"
        self.nodes.write(path, DATA)
        first = int(chunk[1:]) * self.models
        results = [ModelResult(model_id(number), ROWS, 1) for number in range(first, first + self.models)]
        part = Part(path, len(DATA), MD5, ROWS * self.models)
        report = Report(WINDOW.id, chunk, attempt, self.now, self.now, Outcomes.from_results(results), (part,))
        self.nodes.write(paths.report_path(WINDOW.id, chunk, attempt), report.to_bytes())


def one_by_one(store: str, chunks: int, models: int) -> list[tuple[str, Cost]]:
    """A run that does all of one kind in one tick: the kinds of ticks, and what each took."""
    with _make_world(store, chunks, models) as world:
        costs = [("plan and write the rows", world.tick(max_in_flight=0))]
        costs.append(("submit all", world.tick(chunks)))
        world.start()
        costs.append(("see all start", world.tick(chunks)))
        costs.append(("see nothing new", world.tick(chunks)))
        world.go_on()
        costs.append(("see all progress", world.tick(chunks)))
        world.finish()
        costs.append(("commit all and close", world.tick(chunks)))
        _check_over(world)
        costs.append(("watch the closed run", world.tick(chunks)))
        if store == "memory":  # its calls are what counts; Azurite takes longer to delete than for all the rest
            world.ledger.add_request(Request(RequestKind.PAUSE, SCHEDULE, world.now))
            world.now += timedelta(days=91)
            costs.append(("prune the run, 91 days later", world.tick(chunks)))
            assert not world.ledger.list_runs(1).items, "expected the run to be pruned, but it is there"
    return costs


def to_the_end(store: str, chunks: int, models: int, max_in_flight: int) -> tuple[int, Cost]:
    """A run as it is by default, so many jobs in flight, which end between two ticks: its ticks, and their cost."""
    with _make_world(store, chunks, models) as world:
        total, ticks = Cost(), 0
        while not ticks or not world.ledger.read_run(WINDOW.id).phase.terminal:
            cost = world.tick(max_in_flight)
            ticks += 1
            total.seconds += cost.seconds
            total.cpu += cost.cpu
            total.mebibytes = max(total.mebibytes or 0.0, cost.mebibytes) if cost.mebibytes is not None else None
            total.calls += cost.calls
            total.requests += cost.requests
            world.start()
            world.finish()
        _check_over(world)
    return ticks, total


def _check_over(world: _World) -> None:
    run = world.ledger.read_run(WINDOW.id)
    actual, expected = (run.phase, run.tally.scored), (Phase.SUCCEEDED, world.models * world.chunks)
    assert actual == expected, f"expected a run that ends as {expected}, got {actual}: {run.message}"


@contextmanager
def _make_world(store: str, chunks: int, models: int) -> Iterator[_World]:
    """A world on `memory` or `azurite` in which one window is due."""
    if store == "memory":
        work = MemoryBlobs("memory://work")
        world = _World(MemoryLedger(), work, MemoryBlobs("memory://predictions"), work, models, chunks)
        world.ledger.save_heartbeat(Heartbeat(watermark=WINDOW.start))
        yield world
        return
    server = azurite.start(die_with_parent=True)
    try:
        setting = server.connection_string
        store_of = AzureBlobs(setting, "work")
        store_of.ensure_container()
        predictions = AzureBlobs(setting, "predictions")
        predictions.ensure_container()
        nodes = open_container(store_of.url, setting)
        world = _World(TableLedger(setting, "bench"), store_of, predictions, nodes, models, chunks)
        world.ledger.save_heartbeat(Heartbeat(watermark=WINDOW.start))
        yield world
    finally:
        server.stop()
