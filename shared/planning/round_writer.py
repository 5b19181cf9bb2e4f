"""Writes the manifests of a reprocess: the models of the run's plans, with their files as they are now.

One listing. The ids and chunks stay those of the plan; names, etags and refusals are those of today, and so are the
settings of nodes. A model that has no file any more is refused as removed.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from shared.contract import paths
from shared.contract.domain import Model
from shared.contract.errors import Malformed, NotFound
from shared.contract.fleet.formats import ALL_FORMATS, MLMODEL
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

    def read_past(self, planned: Sequence[Model]) -> None:
        """Read until the names are greater, by any order, than all that the files of these models may have now."""
        stems = {ALL_FORMATS.get_stem(model.name) for model in planned}
        names = [_make_last_name(stem) for stem in stems]
        last, last_by_utf16 = max(names), max(map(_order_by_utf16, names))
        while not self.ended:
            model = next(self.models, None)
            if model is None:
                self.ended = True
                break
            self.listed += 1
            self.held[model.id] = model
            is_past = model.name > last and _order_by_utf16(model.name) > last_by_utf16
            if is_past and not _begins_with(model.name, stems):
                break

    def drop_before(self, name: str) -> None:
        """Forget the models that are in no chunk whose least name is *name* or a greater one: they are new."""
        self.held = {
            key: model for key, model in self.held.items() if _make_last_name(ALL_FORMATS.get_stem(model.name)) >= name
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
        # A plan is not quite in the order of names: models without an extension come after those they begin.
        least_names = list(itertools.accumulate((chunk.first for chunk in reversed(first)), min))[::-1]
        for index, chunk in enumerate(first):
            planned = self._read_manifest(run, chunk)
            listing.read_past(planned.models)
            digests[chunk.id] = self._renew_manifest(run, planned, listing.held)
            models_of_extensions |= {key: model for key, model in listing.held.items() if key in extension_ids}
            listing.drop_before(least_names[index])
        for model in listing.models:
            listing.listed += 1
            if model.id in extension_ids:
                models_of_extensions[model.id] = model
        for chunk in later:
            digests[chunk.id] = self._renew_manifest(run, self._read_manifest(run, chunk), models_of_extensions)
        return digests, listing.listed

    def _renew_manifest(self, run: Run, planned: Manifest, listed: dict[str, Model]) -> str:
        """Write the chunk's manifest with the models as they are *listed*, which are taken out of it."""
        models = tuple(
            listed.pop(model.id, replace(model, refused=Reason.MODEL_REMOVED, files=())) for model in planned.models
        )
        return self.plans.store_manifest(run, planned.chunk, ChunkModels(models, planned.packs, planned.devices))

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


def _make_last_name(stem: str) -> str:
    """The greatest name that a model may have, if the names of its files begin so.

    *stem* is by all formats, and so the shortest: MODEL_FORMATS may be another than it was at planning.
    """
    return f"{stem}/{MLMODEL}"


def _begins_with(name: str, stems: Collection[str]) -> bool:
    """Whether a name begins with one of the stems: a model without an extension is listed after all such names."""
    return any(name[:length] in stems for length in range(len(name) + 1))


def _order_by_utf16(name: str) -> bytes:
    return name.encode("utf-16-be", "surrogatepass")
