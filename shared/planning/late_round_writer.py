"""Writes the manifests of a rescore: those of the chunks that have models which rows came late for. No listing.

Which devices have late rows is in the reports of the run after it. Manifests are those of the chunks as they are, with
the models that are not carried over; a chunk without such models keeps its manifest, and stays as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from shared.contract import paths
from shared.contract.domain import Late, merge_late
from shared.contract.errors import Malformed, NotFound, Unavailable
from shared.contract.manifest import Manifest
from shared.contract.model_list import ModelList
from shared.contract.report import Report
from shared.contract.text import clip_text, make_digest
from shared.contract.windows import Window
from shared.state.runs import Chunk, Run

from .plan import RoundPlan
from .plan_writer import PlanWriter
from .round_writer import has_round

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LateRoundWriter:
    """Writes such rounds by the containers and the ledger of a writer of plans."""

    plans: PlanWriter

    def write_round(self, run: Run, now: datetime) -> Run:
        """Write the round of a run, once. Raises Unavailable where the ledger shows not all chunks."""
        writer = self.plans
        if run.cancelled_at:
            return writer.start_run(run, now)
        if not has_round(writer.work, run):
            devices = self._find_devices(Window(run.window.end, run.window.length).id)
            chunks = self._list_chunks(run)
            plan = RoundPlan(run.round, {chunk.id: self._choose_manifest(run, chunk, devices) for chunk in chunks})
            writer.work.create(paths.round_path(run.id, run.round), plan.to_bytes())
        return replace(writer.start_run(run, now), own_manifests=True)

    def _find_devices(self, run_id: str) -> frozenset[str] | None:
        """The devices with late rows, as the reports of a run name them; None where they do not name all."""
        try:
            run = self.plans.ledger.read_run(run_id)
        except NotFound:
            return None
        chunks = self._list_chunks(run)
        counted = merge_late(chunk.late for chunk in chunks)
        if counted != run.late:  # an old row was read: what it does not count would never be scored
            raise Unavailable(f"run {run_id}: expected chunk rows with {run.late}, got {counted}")
        devices: set[str] = set()
        for chunk in chunks:
            for attempt in chunk.committed.list_late_attempts() if chunk.committed else ():
                late = self._read_late(chunk, attempt)
                if late is None or len(late.examples) < late.devices:
                    log.warning("run=%s chunk=%s names not all devices with late rows", run_id, chunk.id)
                    return None
                devices.update(late.examples)
        return frozenset(devices)

    def _read_late(self, chunk: Chunk, attempt: int) -> Late | None:
        try:
            data = self.plans.work.read(paths.report_path(chunk.run, chunk.id, attempt))
            return Report.from_bytes(data, chunk.models).late
        except (NotFound, Malformed) as error:
            log.warning("run=%s chunk=%s shows no devices with late rows: %s", chunk.run, chunk.id, error)
            return None

    def _list_chunks(self, run: Run) -> Sequence[Chunk]:
        chunks = {chunk.id: chunk for chunk in self.plans.ledger.list_chunks(run.id)}
        ended = sum(chunk.state.terminal for chunk in chunks.values())
        if ended < run.chunks:
            raise Unavailable(f"run {run.id}: expected {run.chunks} chunks that have ended, got {ended}")
        return list(chunks.values())

    def _choose_manifest(self, run: Run, chunk: Chunk, devices: frozenset[str] | None) -> str:
        """The digest of the chunk's manifest in this round: the one that it has, unless models are scored once more."""
        if not chunk.committed:
            return chunk.manifest
        manifest = Manifest.from_bytes(self.plans.work.read(paths.manifest_path(run.id, chunk.manifest)))
        names = map(clip_text, ModelList.from_models(manifest.models).read_texts("device"))  # as reports have them
        rescore = tuple(index for index, name in enumerate(names) if devices is None or name in devices)
        if not rescore or manifest.schema == 1:
            return chunk.manifest
        data = replace(manifest, rescore=rescore, round=run.round).to_bytes()
        digest = make_digest(data)
        self.plans.work.create(paths.manifest_path(run.id, digest), data)
        return digest
