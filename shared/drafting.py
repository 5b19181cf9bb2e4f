"""Makes a run's plan: lists the fleet, writes the manifests, then the one write that makes them the plan.

As git does: contents first, named by their hash, then one create-once write. The first plan that was written stands,
whatever becomes of the fleet or of us; all that was drafted beside it is never looked at.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from . import contract, planner
from .contract import Columns, Manifest
from .domain import Chunk, Model, Phase, Reason, Run
from .errors import NotFound
from .names import Ignored, ModelNames
from .planner import ChunkSize, Plan
from .ports import Blobs, Ledger

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DraftingRules:
    """How a fleet is read and cut."""

    chunk_size: ChunkSize = field(default_factory=ChunkSize)
    max_chunks: int = 10_000
    cores: int = 4  # that the cluster has at most: `auto` makes no more chunks than that
    model_names: ModelNames = field(default_factory=ModelNames)
    readings_path: str = "date=%Y-%m-%d/hour=%H/"
    columns: Columns = field(default_factory=Columns)


def read_plan(work: Blobs, run_id: str, now: datetime) -> Plan:
    """The committed plan of a run; raises NotFound, Malformed."""
    return Plan.from_bytes(run_id, work.read(contract.plan_path(run_id)), now)


@dataclass(frozen=True, slots=True)
class Drafting:
    """The containers that a plan is made from and written to."""

    models: Blobs
    readings: Blobs
    work: Blobs
    rules: DraftingRules

    def plan(self, run: Run, earlier: Sequence[Run], ledger: Ledger, now: datetime) -> Run:
        """Give the run its plan and its chunk rows. May leave it in planning, to list the fleet once more."""
        try:
            plan = read_plan(self.work, run.id, now)
        except NotFound:
            if run.cancelled_at:
                message = "cancelled before it was planned"
                return replace(run, phase=Phase.CANCELLED, ended_at=now, reason=Reason.CANCELLED, message=message)
            draft, ignored = self._draft(run, earlier)
            models = sum(chunk.models for chunk in draft)
            if planner.doubtful(models, run.doubted_fleet, earlier):
                log.warning("run=%s found only %d models; listing them once more at the next tick", run.id, models)
                return replace(run, doubted_fleet=models, observed_at=now)
            if not models:
                return self._empty(run, ignored, now)
            self.work.create(contract.plan_path(run.id), Plan(draft, ignored.count).to_bytes())
            plan = read_plan(self.work, run.id, now)  # another host's, if it was quicker
        ledger.add_chunks(plan.chunks)
        return replace(
            run,
            phase=Phase.RUNNING,
            planned_at=now,
            observed_at=now,
            models=plan.models,
            chunks=len(plan.chunks),
            ignored=plan.ignored,
            chunk_states={},
        )

    def _draft(self, run: Run, earlier: Sequence[Run]) -> tuple[tuple[Chunk, ...], Ignored]:
        """Write the manifests of a new plan. A fleet with too many chunks is cut again, into larger ones."""
        size, least = self.rules.chunk_size, planner.worthwhile(earlier, self.rules.cores)
        while True:
            ignored = Ignored()
            fleet = self.rules.model_names.fleet(self.models.list(), ignored)
            draft: list[Chunk] = []
            for models in planner.cut(fleet, size, least):
                if len(draft) == self.rules.max_chunks:
                    break
                draft.append(self._chunk(run, len(draft), models))
            else:
                return tuple(draft), ignored
            count = sum(chunk.models for chunk in draft) + len(models) + sum(1 for _ in fleet)
            least = math.ceil(count / self.rules.max_chunks)
            size = ChunkSize(least) if size.models else size
            log.warning("run=%s wants more than %d chunks; cutting %d models each", run.id, len(draft), least)

    def _chunk(self, run: Run, index: int, models: tuple[Model, ...]) -> Chunk:
        """Write one manifest, and name the chunk that it orders."""
        manifest = Manifest(
            window=run.window,
            chunk=contract.chunk_id(index),
            models=models,
            models_url=self.models.url,
            readings_url=self.readings.url,
            work_url=self.work.url,
            readings_path=self.rules.readings_path,
            columns=self.rules.columns,
        )
        data = manifest.to_bytes()
        digest = contract.digest(data)
        self.work.create(contract.manifest_path(run.id, digest), data)
        names = [model.name for model in models]
        return Chunk(run.id, manifest.chunk, digest, len(models), min(names), max(names))

    def _empty(self, run: Run, ignored: Ignored, now: datetime) -> Run:
        others = f", but {ignored.count} other blobs, such as {ignored.examples[0]}" if ignored.count else ""
        message = f"no models named {self.rules.model_names.pattern} in {self.models.url}{others}"
        log.error("run=%s failed: %s", run.id, message)
        return replace(
            run, phase=Phase.FAILED, ended_at=now, reason=Reason.EMPTY_FLEET, message=message, ignored=ignored.count
        )
