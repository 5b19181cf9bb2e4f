"""Nodes in memory: what `python -m scorer` does, one write a step; and what may become of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.adapters.memory import MemoryBlobs
from shared.contract import paths
from shared.contract.documents import SCHEMAS
from shared.contract.domain import Late, Model, Part
from shared.contract.errors import NotFound
from shared.contract.manifest import Manifest
from shared.contract.outcomes import ModelResult, Outcomes
from shared.contract.reasons import Reason
from shared.contract.report import Progress, Report
from shared.state.runs import JobState
from tests.reports import read_report


@dataclass(frozen=True, slots=True)
class Process:
    """A process of a node: how long it takes its time, and what goes wrong with it."""

    nap: int = 0  # beats in which it only shows progress
    dies_before: int | None = None  # this write of it: 0 is its progress, then the part, then the report
    spoils_part: bool = False
    forgets_a_model: bool = False  # in its report
    loses_what_it_carries: bool = False


# The fate of a job: what the cluster says when it starts (None: it forgets it), and the processes that there are.
FATES: dict[str, tuple[JobState | None, list[Process]]] = {
    "well": (JobState.RUNNING, [Process()]),
    "twice": (JobState.RUNNING, [Process(), Process()]),
    "fails": (JobState.FAILED, []),
    "silent": (JobState.SUCCEEDED, []),
    "lost": (JobState.LOST, []),
    "forgotten": (None, []),
    "forgotten, but alive": (None, [Process(nap=9)]),
    "called lost, but alive": (JobState.LOST, [Process(nap=4)]),
    "called failed, but alive": (JobState.FAILED, [Process(nap=3)]),
    "called cancelled, but alive": (JobState.CANCELLED, [Process(nap=5)]),
    "doubtful, then back": (JobState.UNRESPONSIVE, [Process(nap=8)]),
    "dies before its progress": (JobState.RUNNING, [Process(dies_before=0)]),
    "dies before its part": (JobState.RUNNING, [Process(dies_before=1)]),
    "dies before its report": (JobState.RUNNING, [Process(dies_before=2)]),
    "runs without a sign": (JobState.RUNNING, []),
    "stalls": (JobState.RUNNING, [Process(nap=10**6, dies_before=10**6)]),
    "spoils its part": (JobState.RUNNING, [Process(spoils_part=True)]),
    "forgets a model": (JobState.RUNNING, [Process(forgets_a_model=True)]),
    "loses what it carries": (JobState.RUNNING, [Process(loses_what_it_carries=True)]),
}


@dataclass(frozen=True, slots=True)
class Stores:
    """What a node reads and writes."""

    models: MemoryBlobs
    work: MemoryBlobs


@dataclass(frozen=True, slots=True)
class Order:
    """What a job's command asks for."""

    manifest: Manifest
    attempt: int
    careful: bool
    pardon: bool
    carry: int
    current: bool

    @classmethod
    def of(cls, command: tuple[str, ...], work: MemoryBlobs) -> Order:
        words = list(command)
        path = words[words.index("--manifest") + 1].removeprefix(f"{work.url}/")
        carry = int(words[words.index("--carry") + 1]) if "--carry" in words else 0
        attempt = int(words[words.index("--attempt") + 1])
        flags = {name: f"--{name}" in words for name in ("careful", "pardon", "current")}
        return cls(Manifest.from_bytes(work.read(path)), attempt, carry=carry, **flags)


@dataclass(slots=True)
class Running:
    """A process of a node at its work: one write a step. It holds nothing of the world: a copy goes on alone."""

    order: Order
    how: Process
    started: datetime | None = None
    beats: int = 0
    is_old: bool = False  # a node of 0.1, which does not say what it reads
    late: frozenset[str] | None = None  # devices with rows of the window before; None: it does not count them
    scored: tuple[Outcomes, tuple[Part, ...]] | None = None  # once its part is written
    is_over: bool = False

    def step(
        self, stores: Stores, fleet: Mapping[str, Reason | None], now: datetime, name_part: Callable[[], str]
    ) -> bool | None:
        """Make the next write. True once the report is there, None where the process has ended."""
        how, work = self.how, stores.work
        if self.started is None:
            self.started, self.is_over = now, how.dies_before == 0
        if self.is_over:
            return None
        if self.beats < (1 if how.dies_before == 10**6 else how.nap + 1):
            manifest = self.order.manifest
            progress = Progress(self.beats, len(manifest.models)).to_metadata()
            work.write(paths.progress_path(manifest.window.id, manifest.chunk, self.order.attempt), b"", progress)
            self.beats += 1
            return False
        if how.nap == 10**6:  # alive, and does nothing
            return False
        if self.scored is None:
            self.is_over = how.dies_before == 1 or self._is_poisoned(fleet)
            if self.is_over:
                return None
            self.scored = self._score(stores, fleet, name_part)
            if self.scored[1]:
                return False
        self.is_over = True
        return None if how.dies_before == 2 else self._report(work, now)

    def _is_poisoned(self, fleet: Mapping[str, Reason | None]) -> bool:
        models = self.order.manifest.models
        reasons = [fleet[model.id] for model in models if not model.refused]
        return not self.order.careful and any(reason is not None and reason.is_poison for reason in reasons)

    def _score(
        self, stores: Stores, fleet: Mapping[str, Reason | None], name_part: Callable[[], str]
    ) -> tuple[Outcomes, tuple[Part, ...]]:
        manifest, attempt, work = self.order.manifest, self.order.attempt, stores.work
        run, chunk = manifest.window.id, manifest.chunk
        etags = {model.id: self._find_etag(stores.models, model) for model in manifest.models}
        carried = {} if self.how.loses_what_it_carries else _carried(work, manifest, self.order.carry)
        for index in manifest.rescore:
            carried.pop(manifest.models[index].id, None)
        verdicts = [
            carried[model.id][0] if model.id in carried else self._verdict(fleet, model, etags[model.id])
            for model in manifest.models
        ]
        if self.how.forgets_a_model:
            del verdicts[0]
        rows = [
            row
            for v in verdicts
            for row in (
                carried[v.model][1]
                if v.model in carried
                else [[v.model, run, s, attempt, etags[v.model]] for s in range(v.rows)]
            )
        ]
        if not rows:
            return Outcomes.from_results(verdicts), ()
        data = json.dumps(rows).encode()
        path = f"{paths.parts_prefix(run, chunk)}{name_part()}.parquet"
        work.write(path, data[:-1] if self.how.spoils_part else data)
        part = Part(path, len(data), work.read_properties(path).md5, len(rows))
        return Outcomes.from_results(verdicts), (part,)

    def _find_etag(self, models: MemoryBlobs, model: Model) -> str | None:
        """The etag of the file that it scores: that of the plan, whose numbers a pack holds, or the present one."""
        if not self.order.current:
            return model.etag
        try:
            return models.read_properties(model.name).etag
        except NotFound:
            return None

    def _verdict(self, fleet: Mapping[str, Reason | None], model: Model, etag: str | None) -> ModelResult:
        refused = model.refused
        if refused is Reason.QUARANTINED and (self.order.pardon or etag != model.etag):
            refused = None
        reason = Reason.MODEL_REMOVED if etag is None else refused or fleet[model.id]
        return (
            ModelResult(model.id, 0, 0, reason, f"{model.id} {reason}", model.etag)
            if reason
            else ModelResult(model.id, 3, 1)
        )

    def _report(self, work: MemoryBlobs, now: datetime) -> bool:
        assert self.scored
        assert self.started
        manifest, attempt = self.order.manifest, self.order.attempt
        run, chunk = manifest.window.id, manifest.chunk
        ended = now + timedelta(seconds=10)
        reads = () if self.is_old else SCHEMAS
        late = None
        if self.late is not None:
            devices = sorted(self.late & {model.device for model in manifest.models})
            late = Late(len(devices), len(devices), tuple(devices))
        report = Report(
            run, chunk, attempt, self.started, ended, *self.scored, schema=manifest.schema, reads=reads, late=late
        )
        work.create(paths.report_path(run, chunk, attempt), report.to_bytes())
        return True


def _carried(work: MemoryBlobs, manifest: Manifest, attempt: int) -> dict[str, tuple[ModelResult, list[list[object]]]]:
    """What an earlier attempt scored, with its rows."""
    if not attempt:
        return {}
    report = read_report(work.read(paths.report_path(manifest.window.id, manifest.chunk, attempt)), manifest)
    rows = [row for part in report.parts for row in json.loads(work.read(part.path))]
    scored: dict[str, list[list[object]]] = {}
    for row in rows:
        scored.setdefault(row[0], []).append(row)
    return {model: (ModelResult(model, len(own), 1), own) for model, own in scored.items()}
