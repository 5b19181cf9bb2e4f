"""Makes a run's plan: lists the fleet, writes the manifests, then the one write that makes them the plan.

As git does: contents first, named by their hash, then one create-once write. The first plan that was written stands,
whatever becomes of the fleet or of us; all that was drafted beside it is never looked at.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from shared.contract import paths
from shared.contract.domain import Model, Reason
from shared.contract.errors import Malformed, NotFound
from shared.contract.manifest import Manifest
from shared.contract.model_names import Blob, Columns, IgnoredFiles, ModelNames
from shared.contract.scoring_options import ScoringOptions
from shared.contract.text import make_digest
from shared.ports import Blobs, Ledger
from shared.state.runs import Chunk, Phase, Run

from . import chunking
from .chunking import ChunkSize
from .plan import Plan

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
    policy: ScoringOptions = field(default_factory=ScoringOptions)


def read_plan(work: Blobs, run: Run, number: int, now: datetime) -> Plan:
    """A committed plan of a run; raises NotFound, Malformed."""
    return Plan.from_bytes(run, work.read(paths.plan_path(run.id, number)), now)


@dataclass(slots=True)
class _Listing:
    """What a listing of the models held beside those that are new."""

    ignored: IgnoredFiles = field(default_factory=IgnoredFiles)
    planned: int = 0  # models that an earlier plan of the run holds


@dataclass(frozen=True, slots=True)
class Drafting:
    """The containers that a plan is made from and written to."""

    models: Blobs
    readings: Blobs
    work: Blobs
    ledger: Ledger
    rules: DraftingRules

    def plan(self, run: Run, earlier: Sequence[Run], now: datetime) -> Run:
        """Give the run its next plan. May leave it in planning, to list the fleet once more."""
        try:
            plan = read_plan(self.work, run, run.plans, now)
        except (NotFound, Malformed) as error:
            if run.cancelled_at:
                return self._unplanned(run, now)
            if isinstance(error, Malformed):
                raise
            draft, listing = self._draft(run, earlier)
            last = run.models or next((other.models for other in earlier if other.models), 0)
            fleet = listing.planned + sum(chunk.models for chunk in draft)
            if chunking.doubtful(fleet, run.doubted_fleet, last):
                log.warning("run=%s found only %d models; listing them once more at the next tick", run.id, fleet)
                return replace(run, doubted_fleet=fleet, observed_at=now)
            if not draft:
                return self._running(run, now) if run.plans else self._empty(run, listing.ignored, now)
            self.work.create(paths.plan_path(run.id, run.plans), Plan(draft, listing.ignored.count).to_bytes())
            plan = read_plan(self.work, run, run.plans, now)  # another host's, if it was quicker
        return replace(
            self._running(run, now),
            plans=run.plans + 1,
            models=run.models + plan.models,
            chunks=run.chunks + len(plan.chunks),
            ignored=plan.ignored,
        )

    def _running(self, run: Run, now: datetime) -> Run:
        return replace(run, phase=Phase.RUNNING, planned_at=now, observed_at=now, chunk_states={})

    def _unplanned(self, run: Run, now: datetime) -> Run:
        """Cancelled before this plan was made: what earlier plans made of it stays."""
        if run.plans:
            return self._running(run, now)
        message = "cancelled before it was planned"
        return replace(run, phase=Phase.CANCELLED, ended_at=now, reason=Reason.CANCELLED, message=message)

    def _draft(self, run: Run, earlier: Sequence[Run]) -> tuple[tuple[Chunk, ...], _Listing]:
        """Write the manifests of a new plan. A fleet with too many chunks is cut again, into larger ones."""
        size, least = self.rules.chunk_size, chunking.worthwhile(earlier, self.rules.cores)
        room = max(1, self.rules.max_chunks - run.chunks)
        while True:
            listing = _Listing()
            fleet = self._fleet(run, listing)
            draft: list[Chunk] = []
            for cut in chunking.cut(fleet, size, least):
                if len(draft) == room:
                    break
                draft.append(self._chunk(run, run.chunks + len(draft), cut))
            else:
                return tuple(draft), listing
            count = sum(chunk.models for chunk in draft) + len(cut.models) + sum(1 for _ in fleet)
            least = math.ceil(count / room)
            size = ChunkSize(least) if size.models else size
            log.warning("run=%s wants more than %d chunks; cutting %d models each", run.id, len(draft), least)

    def _fleet(self, run: Run, listing: _Listing) -> Iterator[Model]:
        """The models as they are listed, those in quarantine refused; without those that an earlier plan holds."""
        quarantine = {found.model: found.etag for found in self.ledger.quarantine()}
        planned = self._planned(run)
        for model in self.rules.model_names.list_fleet(_once(self.models.list()), listing.ignored):
            if planned and _mark(model) in planned:
                listing.planned += 1
                continue
            poison = quarantine.get(model.id) == model.etag and not model.refused
            yield replace(model, refused=Reason.QUARANTINED) if poison else model

    def _planned(self, run: Run) -> set[int]:
        """Marks of the models that earlier plans of the run hold: 100 bytes for each, only while it is extended."""
        manifests = [chunk.manifest for number in range(run.plans) for chunk in self._chunks_of(run, number)]
        documents = (self.work.read(paths.manifest_path(run.id, digest)) for digest in manifests)
        return {_mark(model) for data in documents for model in Manifest.from_bytes(data).models}

    def _chunks_of(self, run: Run, number: int) -> Sequence[Chunk]:
        return read_plan(self.work, run, number, run.opened_at).chunks

    def _chunk(self, run: Run, index: int, cut: chunking.Cut) -> Chunk:
        """Write one manifest, and name the chunk that it orders.

        An extension has no packs: its models find theirs at the next run, among their neighbours.
        """
        manifest = Manifest(
            window=run.window,
            chunk=paths.make_chunk_id(index),
            models=cut.models,
            models_url=self.models.url,
            readings_url=self.readings.url,
            work_url=self.work.url,
            readings_path=self.rules.readings_path,
            columns=self.rules.columns,
            policy=self.rules.policy,
            packs=() if run.plans else cut.packs,
        )
        data = manifest.to_bytes()
        digest = make_digest(data)
        self.work.create(paths.manifest_path(run.id, digest), data)
        names = [model.name for model in cut.models]
        return Chunk(run.id, manifest.chunk, digest, len(names), min(names), max(names))

    def _empty(self, run: Run, ignored: IgnoredFiles, now: datetime) -> Run:
        others = f", but {ignored.count} other blobs, such as {ignored.examples[0]}" if ignored.count else ""
        message = f"no models named {self.rules.model_names.pattern} in {self.models.url}{others}"
        return replace(
            run, phase=Phase.FAILED, ended_at=now, reason=Reason.EMPTY_FLEET, message=message, ignored=ignored.count
        )


def _once(listing: Iterator[Blob]) -> Iterator[Blob]:
    """The listing without what it tells again: a page that came twice would be scored twice.

    Names come sorted, by bytes or, as some stores do, by UTF-16: only what is late by both orders was there before.
    """
    last = ""
    for blob in listing:
        if blob.name <= last and blob.name.encode("utf-16-be", "surrogatepass") <= last.encode(
            "utf-16-be", "surrogatepass"
        ):
            continue
        last = blob.name
        yield blob


def _mark(model: Model) -> int:
    """Stands for a model's id in 8 bytes; two of a million ids share one with a chance of 3 in 100 million."""
    return int.from_bytes(hashlib.blake2b(model.id.encode(errors="surrogatepass"), digest_size=8).digest())
