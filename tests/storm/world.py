"""A world in memory for the control plane: ports that break when told to, and nodes that do what nodes do.

The storm asserts on what consumers read. So a node here writes real parts, reports and progress through the contract,
step by step, and may die, hang, run twice or live on after the cluster has called it lost.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, ClassVar

from shared.adapters.memory import MemoryBlobs, MemoryCluster, MemoryLedger, MemoryStopwatch, Tokens
from shared.adapters.memory_sinks import MemoryNotifier, MemorySinkLedger
from shared.contract import paths
from shared.contract.domain import Tally
from shared.contract.errors import FleetError
from shared.contract.publishing.sinks import SinkKind
from shared.contract.reasons import Outcome, Reason, decide_outcome
from shared.contract.windows import Window
from shared.control.loop import ControlPlane
from shared.control.options import ControlOptions
from shared.planning.chunking import ChunkSize
from shared.planning.completeness import WaitFor
from shared.planning.plan_writer import PlanOptions
from shared.publishing.notices import NotifyOptions
from shared.publishing.sink_options import SinkOptions
from shared.state.requests import Request, RequestKind
from shared.state.runs import Chunk, Heartbeat, JobState, Phase, Run
from shared.tracking.run_limits import RunLimits
from tests.storm.fault_plan import Exposed, Killed, Weather
from tests.storm.nodes import FATES, Order, Process, Running, Stores
from tests.storm.publishing import MemoryTable, Publishing
from tests.storm.rehearsal import Rehearsal, TakenUp

NOON = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
BEAT = timedelta(seconds=10)  # few enough beats to a run that no second window falls due
WINDOW = "20261121T1100Z-PT1H"
EARLIER = Run(Window.parse("20261121T1000Z-PT1H"), Phase.SUCCEEDED, NOON - timedelta(hours=1), ended_at=NOON)
POLICY = RunLimits(
    max_retries=6,
    max_losses=12,
    silence=6 * BEAT,
    backoff=BEAT,
    queue_timeout=20 * BEAT,
    start_timeout=8 * BEAT,
    stall_timeout=10 * BEAT,
    job_timeout=30 * BEAT,
    cancel_timeout=5 * BEAT,
)


@cache
def make_options(
    chunk_size: int,
    max_in_flight: int,
    wait_for: str = "",
    *,
    rescore: bool = False,
    publishes: bool = False,
    has_folder: bool = True,
) -> ControlOptions:
    """The options of a host."""
    planning = PlanOptions(chunk_size=ChunkSize(chunk_size))
    limits = replace(POLICY, max_in_flight=max_in_flight)
    waiting = WaitFor.parse(wait_for)
    return ControlOptions(
        planning=planning,
        limits=limits,
        wait_for=waiting,
        wait_limit=6 * BEAT,
        rescore_late=rescore,
        keep_runs=timedelta(days=1),
        prune_predictions=publishes,
        predictions_folder=has_folder,
        notify=NotifyOptions(is_set=publishes),
        sinks=(SinkOptions(SinkKind.DELTA),) if publishes else (),
    )


@dataclass
class World:
    """Everything there is: the stores, the cluster with its nodes, the app, a clock."""

    script: ClassVar[Rehearsal | TakenUp | None] = None  # of the story that is played just now

    fleet: dict[str, Reason | None]  # model id -> how it ends on a node
    fates: list[str] = field(default_factory=list)  # of the jobs, in the order in which they start; then all is well
    chunk_size: int = 2
    weather: Weather = field(default_factory=Weather)
    max_in_flight: int = 100
    now: datetime = NOON
    node_schema: int | None = 2  # as the tick before noted it; None: the app was upgraded just now
    wait_for: str = ""
    rescore: bool = False  # RESCORE_LATE
    publishes: bool = False  # SINKS=delta, and PRUNE_PREDICTIONS
    has_folder: bool = True  # PREDICTIONS_FOLDER
    late: dict[str, frozenset[str]] = field(default_factory=dict)  # devices with late rows, as the nodes of a run count
    old_nodes: bool = False  # nodes of 0.1: they read schema 1, and do not know --current

    def __post_init__(self) -> None:
        self.tokens = Tokens()
        self.turns: list[datetime] = []  # when each part of the story was over
        self.ledger, self.cluster = MemoryLedger(self.tokens), MemoryCluster()
        self.sinks, self.table, self.notifier = MemorySinkLedger(self.tokens), MemoryTable(), MemoryNotifier()
        self.models, self.work, self.predictions, self.readings = (
            MemoryBlobs(f"memory://{name}", self.tokens) for name in ("models", "work", "predictions", "readings")
        )
        for model in self.fleet:
            self.models.write(f"{model}.skops", b"a model")
        # The hour before went well: a fleet that is suddenly smaller is looked at twice.
        self.ledger.add_run(replace(EARLIER, models=len(self.fleet), tally=Tally(scored=len(self.fleet))))
        self.ledger.save_heartbeat(Heartbeat(watermark=EARLIER.window.end, node_schema=self.node_schema))
        self.random = random.Random(0)
        self.started: set[str] = set()
        self.processes: list[tuple[str, Running | Publishing]] = []  # by job; a job may run twice
        self.before: tuple[dict[str, Run], dict[tuple[str, str], Chunk]] = ({}, {})
        self._read: dict[str, tuple[str, list[Any]]] = {}  # what consumers read of a blob, by its etag
        self.plane = self.host()

    def host(self, weather: Weather | None = None) -> ControlPlane:
        """A host of the app, in the world's weather or in one of its own."""

        def out(port: str, inner: Any) -> Any:
            return Exposed(port, inner, weather or self.weather)

        return ControlPlane(
            ledger=out("ledger", self.ledger),
            cluster=out("cluster", self.cluster),
            models=out("models", self.models),
            readings=out("readings", self.readings),
            work=out("work", self.work),
            predictions=out("predictions", self.predictions),
            stopwatch=MemoryStopwatch(),
            sinks=out("sinks", self.sinks),
            notifier=out("notifier", self.notifier),
            options=make_options(
                self.chunk_size,
                self.max_in_flight,
                self.wait_for,
                rescore=self.rescore,
                publishes=self.publishes,
                has_folder=self.has_folder,
            ),
        )

    def beat(self) -> None:
        """One tick of the app, whatever becomes of it; then the cluster and its nodes move."""
        if self.script and self.script.recall(self):
            return
        self._round_tokens()
        with suppress(Killed, FleetError):
            self.plane.tick(self.now)
        self._round_tokens()
        self.move_nodes()
        self.check()
        self.now += BEAT
        if self.script:
            self.script.record(self)

    def beat_until_quiet(self, limit: int = 300) -> None:
        """Until no wish waits, every run is over, and there was time for orphans to be found."""
        self.beat_until(lambda: len(self.ledger._runs) > 1 and self.over, limit)

    def beat_until(self, is_reached: Callable[[], bool], limit: int) -> None:
        """Until that holds, and eight beats more."""
        for _ in range(limit):
            self.beat()
            if is_reached():
                break
        self.turns.append(self.now)
        for _ in range(8):
            self.beat()

    def _round_tokens(self) -> None:
        """Count on from the next thousand: a write more or less does not change the etags of all later ones."""
        self.tokens.last = -(-self.tokens.last // 1000) * 1000

    @property
    def over(self) -> bool:
        """Whether nothing is left to do."""
        waiting = [wish for wish in self.ledger.list_requests() if wish.kind is not RequestKind.PAUSE]
        is_published = not self.publishes or self.is_published
        return all(run.phase.terminal for run in self.ledger._runs.values()) and not waiting and is_published

    @property
    def is_published(self) -> bool:
        """Whether the sink was asked for all that is over, and nothing is left to do for it."""
        runs = [run for run in self.ledger._runs.values() if run != EARLIER and run.id != EARLIER.id]
        return all(self.plane.publisher.offers.is_offered(run) for run in runs) and self.is_idle

    @property
    def is_idle(self) -> bool:
        """Whether the sink lacks nothing that it was asked to hold, and has no job."""
        has_job = self.sinks.read_sink(SinkKind.DELTA).job is not None
        return not has_job and not self.sinks.list_open_publications() and not self.sinks.list_notices()

    def beat_until_over(self, limit: int = 300) -> Run:
        """The same, and the run of the window."""
        self.beat_until_quiet(limit)
        return self.ledger.read_run(WINDOW)

    def wish(self, kind: RequestKind, target: str = WINDOW) -> None:
        """A person asks over HTTP."""
        self.ledger.add_request(Request(kind, target, self.now))

    # Nodes

    def move_nodes(self) -> None:
        """Start what is queued, by the fate that is next; take every living process one step on."""
        for name, seen in list(self.cluster.sightings.items()):
            if seen.state is JobState.QUEUED and name not in self.started:
                self._start(name, self.fates.pop(0) if self.fates else "well")
        for name, one in list(self.processes):
            seen_now = self.cluster.sightings.get(name)
            stopped = (
                seen_now and seen_now.state is JobState.CANCELLED and self.random.random() < 0.5
            )  # in time, or not
            step = None if stopped else self._step(one)
            if step is None:
                self.processes = [each for each in self.processes if each[1] is not one]
            if seen_now and not seen_now.state.over and step is not False:
                self.cluster.set_state(name, JobState.SUCCEEDED if step is True else JobState.FAILED)

    def _step(self, process: Running | Publishing) -> bool | None:
        if isinstance(process, Publishing):
            return process.step(self.work, self.table)
        return process.step(Stores(self.models, self.work), self.fleet, self.now, self._name)

    def _start(self, name: str, fate: str) -> None:
        """Let the cluster say what it says of such a job, and start the processes that there really are."""
        if fate == "waits":
            return
        said, processes = FATES.get(fate, (JobState.RUNNING, [Process(nap=10**5)]))  # "endless"
        command = self.cluster.jobs[name].command
        order = None if "publish" in command else Order.of(command, self.work)
        if self.old_nodes and order and (order.current or order.manifest.schema > 1):
            said, processes = JobState.FAILED, []
        self.started.add(name)
        if said is None:
            self.cluster.forget_job(name)
            self.started.discard(name)
        else:
            self.cluster.set_state(name, said, fate)
        for how in processes:
            if order is None:
                self.processes.append((name, Publishing.of(command, self.work, how)))
                continue
            late = self.late.get(order.manifest.window.id)
            self.processes.append((name, Running(order, how, is_old=self.old_nodes, late=late)))

    def _name(self) -> str:
        return f"{self.random.getrandbits(64):x}"

    # What must hold

    def rows(self) -> list[tuple[str, str, int]]:
        """What a consumer reads: all rows of all parts, without the attempt that wrote them."""
        if not self.has_folder:
            return [(r[0], r[1], r[2]) for run in self.table.held for r in self.table.list_rows(run)]
        found = []
        for blob in self.predictions.list_blobs():
            if self._read.get(blob.name, ("", []))[0] != blob.etag:
                self._read[blob.name] = (
                    blob.etag,
                    [tuple(r[:3]) for r in json.loads(self.predictions.read(blob.name))],
                )
            found += self._read[blob.name][1]
        return found

    def check(self) -> None:
        """Promises that hold at every moment."""
        runs = dict(self.ledger._runs)
        chunks = {(run, c.id): c for run, rows in self.ledger._chunks.items() for c in rows.values()}
        for run_id, was in self.before[0].items():  # P5
            if run_id not in runs:
                assert self.publishes, f"{run_id} is gone"  # it was pruned
                continue
            over = was.phase.terminal and was.phase is not Phase.MISSED
            moved = _drop_bookkeeping(runs[run_id]) != _drop_bookkeeping(was)
            assert not (over and moved) or runs[run_id].round > was.round, f"{run_id} moved after its end"
        for key, chunk_was in self.before[1].items():
            if key not in chunks and self.publishes:
                continue
            now = chunks[key]
            assert not chunk_was.state.terminal or now == chunk_was or now.round > chunk_was.round, f"{key} moved"
            assert now.next_attempt >= chunk_was.next_attempt
        self.before = runs, chunks
        rows = self.rows()
        assert len(rows) == len(set(rows)), "consumers read a row twice"  # P2
        for (run_id, _), chunk in chunks.items():
            if runs[run_id].opened_at > self.now - timedelta(days=1):  # else it is being pruned
                self._check_committed(runs[run_id], chunk)
        for run in runs.values():  # P1
            assert run.tally.models <= run.models or run == EARLIER, f"{run.id} counts more models than it has"

    def _check_committed(self, run: Run, chunk: Chunk) -> None:
        """P6: what is called scored lies where consumers read; in a later round it may be the next result already."""
        results = [result for result in (chunk.committed, chunk.chosen) if result]
        for index, part in enumerate(chunk.committed.parts if chunk.committed else ()):
            path = paths.prediction_path(run.window, chunk.id, index)
            is_copied = part.etag and self.has_folder  # else the copy of an earlier round may be gone
            there = self.predictions.read_properties(path) if is_copied else self.work.read_properties(part.path)
            allowed = [result.parts[index].md5 for result in results if len(result.parts) > index]
            assert there.md5 in allowed, f"{run.id} {chunk.id}: consumers read what no row names"

    def check_complete(self, run: Run) -> None:
        """Promises of a run that is over: nothing lost, nothing twice, nothing left running."""
        assert run.phase.terminal
        assert run.tally.models == run.models  # P1
        plans = [json.loads(self.work.read(paths.plan_path(run.id, n))) for n in range(run.plans)]
        planned = [chunk for plan in plans for chunk in plan["chunks"]]
        assert run.models == sum(chunk[2] for chunk in planned)
        chunks = self.ledger.list_chunks(run.id)
        assert [c.id for c in chunks] == [chunk[0] for chunk in planned]
        assert all(c.state.terminal for c in chunks)
        of_run = [row for row in self.rows() if row[1] == run.id]
        assert len(of_run) == run.tally.rows  # P2: the ledger tells what consumers read
        assert len({row[0] for row in of_run}) == run.tally.scored
        alive = [name for name, seen in self.cluster.sightings.items() if not seen.state.over]
        assert alive == []  # P4

    def expected(self) -> Tally:
        """Models by outcome, where nothing keeps them from being tried."""
        outcomes = [decide_outcome(reason) for reason in self.fleet.values()]
        return Tally(
            scored=outcomes.count(Outcome.SCORED),
            failed=outcomes.count(Outcome.FAILED),
            skipped=outcomes.count(Outcome.SKIPPED),
        )


def _drop_bookkeeping(run: Run) -> Run:
    """A run without what says whether the sinks were asked to hold it, and people notified of it."""
    return replace(run, offered_round=None, offered_sinks=(), alarmed=False, version="")


def counts(tally: Tally) -> Tally:
    """Models only, without what they wrote."""
    return replace(tally, rows=0, anomalies=0, seconds=0.0)


Scenario = Callable[[Weather, list[str]], World]
