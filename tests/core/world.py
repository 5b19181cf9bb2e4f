"""A world in memory for the control plane: ports that break when told to, and nodes that do what nodes do.

The storm asserts on what consumers read. So a node here writes real parts, reports and progress through the contract,
step by step, and may die, hang, run twice or live on after the cluster has called it lost.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from shared import contract
from shared.adapters.memory import MemoryBlobs, MemoryCluster, MemoryLedger, MemoryStopwatch
from shared.contract import Manifest, Progress, Report, Verdict
from shared.control import ControlPlane
from shared.rules import Rules
from shared.domain import Part, Reason, Tally, outcome_of
from shared.drafting import DraftingRules
from shared.errors import Conflict, NotFound, Unavailable
from shared.planner import ChunkSize
from shared.runs import Chunk, Heartbeat, JobState, Phase, Run
from shared.attempts import Policy
from shared.windows import Window
from shared.wishes import Wish, WishKind

NOON = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
BEAT = timedelta(seconds=10)  # few enough beats to a run that no second window falls due
WINDOW = "20261121T1100Z-PT1H"
EARLIER = Run(Window.parse("20261121T1000Z-PT1H"), Phase.SUCCEEDED, NOON - timedelta(hours=1), ended_at=NOON)


class Killed(BaseException):
    """The process of the app died here."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong at one call of a port, and whether the call takes effect first."""

    name: str
    error: Callable[[], BaseException] | None  # None: the answer is spoilt instead
    applied: bool


FAULTS = (
    Fault("killed before", Killed, applied=False),
    Fault("killed after", Killed, applied=True),
    Fault("outage", lambda: Unavailable("outage"), applied=False),
    Fault("time-out, applied", lambda: Unavailable("time-out"), applied=True),
    Fault("throttled", lambda: Unavailable("429", retry_after=30), applied=False),
    Fault("precondition failed", lambda: Conflict("412"), applied=False),
    Fault("precondition failed, though applied", lambda: Conflict("412"), applied=True),
    Fault("not found", lambda: NotFound("404"), applied=False),
    Fault("page cut short", None, applied=True),
)
# What a port may answer, by its contract: a fault that it never shows proves nothing.
NEVER = {
    "not found": {"submit", "observe", "cancel", "list", "describe", "create", "wishes", "watched_runs", "runs",
                  "heartbeat", "save_heartbeat", "add_run", "save_run", "add_chunks", "save_chunks", "chunks",
                  "remove_wish", "unwatch"},
    "precondition failed": {"submit", "observe", "cancel", "list", "describe", "create", "read", "head", "wishes",
                            "watched_runs", "runs", "run", "heartbeat", "add_run", "add_chunks", "chunks",
                            "remove_wish"},
}  # fmt: skip
NEVER["precondition failed, though applied"] = NEVER["precondition failed"]
SHORTENED = {"observe", "chunks", "describe", "list"}  # answers in pages, of which one may be missing


@dataclass(frozen=True, slots=True)
class Process:
    """A process of a node: how long it takes its time, and what goes wrong with it."""

    nap: int = 0  # beats in which it only shows progress
    dies_before_report: bool = False
    spoils_part: bool = False
    forgets_a_model: bool = False  # in its report


# The fate of a job: what the cluster says when it starts (None: it forgets it), and the processes that there are.
FATES: dict[str, tuple[JobState | None, list[Process]]] = {
    "well": (JobState.RUNNING, [Process()]),
    "twice": (JobState.RUNNING, [Process(), Process()]),
    "fails": (JobState.FAILED, []),
    "silent": (JobState.SUCCEEDED, []),
    "lost": (JobState.LOST, []),
    "forgotten": (None, []),
    "forgotten, but alive": (None, [Process(nap=9)]),
    "called failed, but alive": (JobState.FAILED, [Process(nap=3)]),
    "doubtful, then back": (JobState.DOUBTFUL, [Process(nap=8)]),
    "dies at the report": (JobState.RUNNING, [Process(dies_before_report=True)]),
    "spoils its part": (JobState.RUNNING, [Process(spoils_part=True)]),
    "forgets a model": (JobState.RUNNING, [Process(forgets_a_model=True)]),
}


class Weather:
    """Counts the calls of all ports, and says which one breaks and how."""

    def __init__(
        self, faults: dict[int, Fault] | None = None, meanwhile: dict[int, Callable[[], None]] | None = None
    ) -> None:
        self.faults = faults or {}
        self.meanwhile = meanwhile or {}  # what somebody else does just before a call
        self.calls: list[str] = []

    def around(self, port: str, method: str, call: Callable[[], Any]) -> Any:
        fault = self.faults.get(len(self.calls))
        self.meanwhile.get(len(self.calls), lambda: None)()
        self.calls.append(f"{port}.{method}")
        if fault is None or method in NEVER.get(fault.name, ()):
            return call()
        if fault.error is None:
            return _cut_short(call()) if method in SHORTENED else call()
        if fault.applied:
            call()
        raise fault.error()


def _cut_short(answer: Any) -> Any:
    if isinstance(answer, dict):
        return dict(list(answer.items())[: len(answer) // 2])
    items = list(answer)
    return iter(items[: len(items) // 2]) if isinstance(answer, Iterator) else items[: len(items) // 2]


class Exposed:
    """A port out in the weather."""

    def __init__(self, port: str, inner: Any, weather: Weather) -> None:
        self._port, self._inner, self._weather = port, inner, weather

    @property
    def url(self) -> str:
        return str(self._inner.url)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            args = tuple(arg._inner if isinstance(arg, Exposed) else arg for arg in args)
            return self._weather.around(self._port, method, lambda: getattr(self._inner, method)(*args, **kwargs))

        return call


@dataclass
class World:
    """Everything there is: the stores, the cluster with its nodes, the app, a clock."""

    fleet: dict[str, Reason | None]  # model id -> how it ends on a node
    fates: list[str] = field(default_factory=list)  # of the jobs, in the order in which they start; then all is well
    chunk_size: int = 2
    weather: Weather = field(default_factory=Weather)
    max_in_flight: int = 100
    now: datetime = NOON

    def __post_init__(self) -> None:
        self.ledger, self.cluster = MemoryLedger(), MemoryCluster()
        self.models, self.work = MemoryBlobs("memory://models"), MemoryBlobs("memory://work")
        self.predictions = MemoryBlobs("memory://predictions")
        for model in self.fleet:
            self.models.write(f"{model}.skops", b"a model")
        # The hour before went well: a fleet that is suddenly smaller is looked at twice.
        self.ledger.add_run(replace(EARLIER, models=len(self.fleet), tally=Tally(scored=len(self.fleet))))
        self.ledger.save_heartbeat(Heartbeat(watermark=EARLIER.window.end))
        self.random = random.Random(0)
        self.started: set[str] = set()
        self.processes: list[tuple[str, Iterator[None]]] = []  # by job; a job may run twice
        self.history: list[tuple[dict[str, Run], dict[tuple[str, str], Chunk]]] = []
        self.plane = self.host()

    def host(self, weather: Weather | None = None) -> ControlPlane:
        """A host of the app, in the world's weather or in one of its own."""

        def out(port: str, inner: Any) -> Any:
            return Exposed(port, inner, weather or self.weather)

        return ControlPlane(
            ledger=out("ledger", self.ledger),
            cluster=out("cluster", self.cluster),
            models=out("models", self.models),
            readings=MemoryBlobs("memory://readings"),
            work=out("work", self.work),
            predictions=out("predictions", self.predictions),
            stopwatch=MemoryStopwatch(),
            rules=Rules(
                drafting=DraftingRules(chunk_size=ChunkSize(self.chunk_size)),
                policy=Policy(
                    max_in_flight=self.max_in_flight,
                    max_retries=6,
                    max_losses=12,
                    silence=6 * BEAT,
                    backoff=BEAT,
                    job_timeout=30 * BEAT,
                ),
            ),
        )

    def beat(self) -> None:
        """One tick of the app, whatever becomes of it; then the cluster and its nodes move."""
        with suppress(Killed, Unavailable, Conflict, NotFound):
            self.plane.tick(self.now)
        self.move_nodes()
        self.check()
        self.now += BEAT

    def beat_until_over(self, limit: int = 300) -> Run:
        """Until there is a run, no wish waits and every run is over; then long enough for orphans to be found."""
        for _ in range(limit):
            self.beat()
            runs = self.ledger._runs.values()
            if len(runs) > 1 and all(run.phase.terminal for run in runs) and not self.ledger.wishes():
                break
        for _ in range(8):
            self.beat()
        return self.ledger.run(WINDOW)

    def wish(self, kind: WishKind) -> None:
        """A person asks over HTTP."""
        self.ledger.add_wish(Wish(kind, WINDOW, self.now))

    # Nodes

    def move_nodes(self) -> None:
        """Start what is queued, by the fate that is next; take every living process one step on."""
        for name, seen in list(self.cluster.sightings.items()):
            if seen.state is JobState.QUEUED and name not in self.started:
                self._start(name, self.fates.pop(0) if self.fates else "well")
        for name, process in list(self.processes):
            seen_now = self.cluster.sightings.get(name)
            stopped = (
                seen_now and seen_now.state is JobState.CANCELLED and self.random.random() < 0.5
            )  # in time, or not
            if stopped or next(process, "over") == "over":
                self.processes.remove((name, process))

    def _start(self, name: str, fate: str) -> None:
        """Let the cluster say what it says of such a job, and start the processes that there really are."""
        if fate == "waits":
            return
        said, processes = FATES.get(fate, (JobState.RUNNING, [Process(nap=10**6)]))  # "endless"
        command = self.cluster.jobs[name].command
        self.started.add(name)
        if said is None:
            self.cluster.forget(name)
            self.started.discard(name)
        else:
            self.cluster.set(name, said, fate)
        self.processes += [(name, self._process(name, command, process)) for process in processes]

    def _process(self, name: str, command: tuple[str, ...], how: Process) -> Iterator[None]:
        """What `python -m scorer` does, one write a step."""
        manifest_url, attempt = command[4], int(command[6])
        manifest = Manifest.from_bytes(self.work.read(manifest_url.removeprefix(f"{self.work.url}/")))
        run, chunk, started = manifest.window.id, manifest.chunk, self.now
        for beat in range(how.nap + 1):
            progress = Progress(beat, len(manifest.models)).to_metadata()
            self.work.write(contract.progress_path(run, chunk, attempt), b"", progress)
            yield
        verdicts = [self._verdict(model.id, model.refused) for model in manifest.models]
        if how.forgets_a_model:
            del verdicts[0]
        rows = [[v.model, run, second] for v in verdicts for second in range(v.rows)]
        parts = []
        if rows:
            data = json.dumps(rows).encode()
            path = f"{contract.parts_prefix(run, chunk)}{self.random.getrandbits(64):x}.parquet"
            self.work.write(path, data[:-1] if how.spoils_part else data)
            found = self.work.head(path)
            parts = [Part(path, len(data), found.md5, len(rows))]
            yield
        if not how.dies_before_report:
            report = Report(run, chunk, attempt, started, self.now + BEAT, tuple(verdicts), tuple(parts))
            self.work.create(contract.report_path(run, chunk, attempt), report.to_bytes())
        if name in self.cluster.sightings and not self.cluster.sightings[name].state.over:
            self.cluster.set(name, JobState.FAILED if how.dies_before_report else JobState.SUCCEEDED)
        yield

    def _verdict(self, model: str, refused: Reason | None) -> Verdict:
        reason = refused or self.fleet[model]
        return Verdict(model, 0, 0, reason, f"{model} {reason}") if reason else Verdict(model, 3, 1)

    # What must hold

    def rows(self) -> list[tuple[str, str, int]]:
        """What a consumer reads: all rows of all parts."""
        return [tuple(row) for blob in self.predictions.list() for row in json.loads(self.predictions.read(blob.name))]

    def check(self) -> None:
        """Promises that hold at every moment."""
        runs = dict(self.ledger._runs)
        chunks = {(run, c.id): c for run, rows in self.ledger._chunks.items() for c in rows.values()}
        if self.history:
            runs_before, chunks_before = self.history[-1]
            for run_id, run in runs_before.items():  # P5
                over = run.phase.terminal and run.phase is not Phase.MISSED
                assert not over or runs[run_id] == run or runs[run_id].round > run.round, f"{run_id} moved after its end"
            for key, chunk in chunks_before.items():
                now = chunks[key]
                assert not chunk.state.terminal or now == chunk or now.round > chunk.round, f"{key} moved after its end"
                assert now.next_attempt >= chunk.next_attempt
        self.history.append((runs, chunks))
        rows = self.rows()
        assert len(rows) == len(set(rows)), "consumers read a row twice"  # P2
        written = {blob.name for blob in self.predictions.list()}
        for (run_id, chunk_id), chunk in chunks.items():  # P6
            for index in range(len(chunk.committed.parts) if chunk.committed else 0):
                assert contract.prediction_path(runs[run_id].window, chunk_id, index) in written

    def check_complete(self, run: Run) -> None:
        """Promises of a run that is over: nothing lost, nothing twice, nothing left running."""
        assert run.phase.terminal
        assert run.tally.models == run.models  # P1
        plan = json.loads(self.work.read(contract.plan_path(run.id))) if run.models else {"chunks": []}
        assert run.models == sum(chunk[2] for chunk in plan["chunks"])
        chunks = self.ledger.chunks(run.id)
        assert [c.id for c in chunks] == [chunk[0] for chunk in plan["chunks"]]
        assert all(c.state.terminal for c in chunks)
        assert len(self.rows()) == run.tally.rows  # P2: the ledger tells what consumers read
        alive = [name for name, seen in self.cluster.sightings.items() if not seen.state.over]
        assert alive == []  # P4
        assert list(self.ledger._runs) == [EARLIER.id, run.id]  # P3

    def expected(self) -> dict[str, int]:
        """Models by outcome, where nothing keeps them from being tried."""
        outcomes = [outcome_of(reason) for reason in self.fleet.values()]
        return {outcome: outcomes.count(outcome) for outcome in set(outcomes)}
