"""Writes the manifests of a reprocess: the models of the run's plans, with their files as they are now.

One listing. The ids and chunks stay those of the plan; names, etags and refusals are those of today, and so are the
settings of nodes. A model that has no file any more is refused as removed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from shared.contract import paths
from shared.contract.domain import Model
from shared.contract.errors import Malformed, NotFound
from shared.contract.fleet.formats import ALL_FORMATS
from shared.contract.fleet.ignored_files import IgnoredFiles
from shared.contract.manifest import Manifest
from shared.contract.reasons import Reason
from shared.ports import Blobs
from shared.state.runs import Chunk, Run

from . import chunking
from .chunking import ChunkModels
from .plan import RoundPlan
from .plan_writer import PlanWriter, read_round

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Listing:
    """A listing that is read as far as it is needed; the models that were read and not used yet are held, by id."""

    models: Iterator[Model]
    held: dict[str, Model] = field(default_factory=dict)
    listed: int = 0
    ended: bool = False

    def read_past(self, name: str) -> None:
        """Read until the names are greater than *name* by any order, and than all that its model may have."""
        stem = ALL_FORMATS.get_stem(name)  # the shortest: MODEL_FORMATS may be another than at planning
        while not self.ended:
            model = next(self.models, None)
            if model is None:
                self.ended = True
                break
            self.listed += 1
            self.held[model.id] = model
            past = model.name > name and _order_by_utf16(model.name) > _order_by_utf16(name)
            if past and not model.name.startswith(stem):
                break

    def drop_before(self, name: str) -> None:
        """Forget the models that are in no chunk from the one that begins with *name* on: they are new."""
        stem = ALL_FORMATS.get_stem(name)
        self.held = {
            key: model
            for key, model in self.held.items()
            if model.name >= stem or _order_by_utf16(model.name) >= _order_by_utf16(stem)
        }


@dataclass(frozen=True, slots=True)
class RoundWriter:
    """Writes rounds by the containers and options of a writer of plans."""

    plans: PlanWriter

    def write_round(self, run: Run, now: datetime) -> Run:
        """Write the round of a run that is reprocessed. May leave it in planning, to list the fleet once more."""
        writer = self.plans
        if run.cancelled_at:
            return writer.start_run(run, now)
        if has_round(writer.work, run):
            return replace(writer.start_run(run, now), own_manifests=True)
        ignored = IgnoredFiles()
        manifests, listed = self._write_manifests(run, ignored)
        if chunking.is_suspicious(listed, run.doubted_fleet, run.models):
            log.warning("run=%s lists only %d models; listing them once more at the next tick", run.id, listed)
            return replace(run, doubted_fleet=listed, observed_at=now)
        plan = RoundPlan(run.round, manifests)
        writer.work.create(paths.round_path(run.id, run.round), plan.to_bytes())
        return replace(
            writer.start_run(run, now),
            own_manifests=True,
            ignored=ignored.count,
            ignored_endings=dict(ignored.by_ending),
            ignored_examples=tuple(ignored.examples),
        )

    def _write_manifests(self, run: Run, ignored: IgnoredFiles) -> tuple[dict[str, str], int]:
        """Write a manifest for each chunk; returns their digests by chunk, and how many models are listed."""
        first, *extensions = (self.plans.read_chunks(run, number) for number in range(run.plans))
        listing = _Listing(self.plans.list_fleet(ignored))
        digests: dict[str, str] = {}
        later = [chunk for chunks in extensions for chunk in chunks]
        extension_ids = {model.id for chunk in later for model in self._read_manifest(run, chunk).models}
        models_of_extensions: dict[str, Model] = {}
        for chunk in first:
            listing.read_past(chunk.last)
            digests[chunk.id] = self._renew_manifest(run, chunk, listing.held)
            models_of_extensions |= {key: model for key, model in listing.held.items() if key in extension_ids}
            listing.drop_before(chunk.first)
        for model in listing.models:
            listing.listed += 1
            if model.id in extension_ids:
                models_of_extensions[model.id] = model
        digests |= {chunk.id: self._renew_manifest(run, chunk, models_of_extensions) for chunk in later}
        return digests, listing.listed

    def _renew_manifest(self, run: Run, chunk: Chunk, listed: dict[str, Model]) -> str:
        """Write the chunk's manifest with the models as they are *listed*, which are taken out of it."""
        planned = self._read_manifest(run, chunk)
        models = tuple(
            listed.pop(model.id, replace(model, refused=Reason.MODEL_REMOVED, files=())) for model in planned.models
        )
        content = ChunkModels(models, planned.packs, planned.devices)
        return self.plans.store_manifest(run, chunk.id, content)

    def _read_manifest(self, run: Run, chunk: Chunk) -> Manifest:
        manifest = Manifest.from_bytes(self.plans.work.read(paths.manifest_path(run.id, chunk.manifest)))
        if len(manifest.models) != chunk.models:
            raise Malformed(f"manifest of {chunk.id}: expected {chunk.models} models, got {len(manifest.models)}")
        return manifest


def has_round(work: Blobs, run: Run) -> bool:
    """Whether the run's round is written. Raises Malformed."""
    try:
        return read_round(work, run, run.round).round == run.round
    except NotFound:
        return False


def _order_by_utf16(name: str) -> bytes:
    return name.encode("utf-16-be", "surrogatepass")
