"""Writes a run's plan: lists the fleet, writes the manifests, then the one blob that makes them the plan.

As in git, contents come first, named by their hash, then one create-once write. The first plan that was written is the
plan, whatever happens to the fleet or the app; manifests that are not in it are never read.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from shared.contract import paths
from shared.contract.documents import NEWEST
from shared.contract.domain import Model
from shared.contract.errors import Malformed, NotFound
from shared.contract.fleet.ignored_files import IgnoredFiles
from shared.contract.fleet.listing import list_fleet
from shared.contract.manifest import Manifest
from shared.contract.model_names import Blob, Columns, ModelNames
from shared.contract.reasons import Reason
from shared.contract.scoring_options import ScoringOptions, UnmodelledDevices
from shared.contract.text import make_digest
from shared.ports import Blobs, Ledger
from shared.state.runs import Chunk, Phase, Run

from . import chunking
from .chunking import ChunkModels, ChunkSize
from .plan import Plan, Planner, RoundPlan

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """How a fleet is listed and split."""

    chunk_size: ChunkSize = field(default_factory=ChunkSize)
    max_chunks: int = 10_000
    cores: int = 4  # the most that the cluster has: `auto` makes no more chunks
    model_names: ModelNames = field(default_factory=ModelNames)
    readings_path: str = "date=%Y-%m-%d/hour=%H/"
    columns: Columns = field(default_factory=Columns)
    scoring: ScoringOptions = field(default_factory=lambda: ScoringOptions(unmodelled=UnmodelledDevices.COUNT))
    app: str = "fleetscore"
    predictions_schema: int | None = None  # None: as `decide_predictions_schema` says, which the tick puts here


def read_plan(work: Blobs, run: Run, number: int, now: datetime) -> Plan:
    """A committed plan of a run; raises NotFound, Malformed."""
    return Plan.from_bytes(run, work.read(paths.plan_path(run.id, number)), now)


def read_round(work: Blobs, run: Run, number: int) -> RoundPlan:
    """The plan of a reprocess; raises NotFound, Malformed."""
    return RoundPlan.from_bytes(work.read(paths.round_path(run.id, number)), run.id, number)


@dataclass(slots=True)
class _Listing:
    """What a listing of the models held besides the models to plan."""

    ignored: IgnoredFiles = field(default_factory=IgnoredFiles)
    planned: int = 0  # models of earlier plans of the run
    new: int = 0  # models to plan


@dataclass(frozen=True, slots=True)
class PlanWriter:
    """The containers that a plan is made from and written to."""

    models: Blobs
    readings: Blobs
    work: Blobs
    predictions: Blobs
    ledger: Ledger
    options: PlanOptions
    schema: int = NEWEST  # of what is written

    @property
    def planner(self) -> Planner:
        """Who plans here."""
        return Planner(self.options.app, self.models.url, self.predictions.url)

    def write_plan(self, run: Run, earlier: Sequence[Run], now: datetime) -> Run:
        """Write the next plan of the run. May leave it in planning, to list the fleet once more."""
        try:
            plan = read_plan(self.work, run, run.plans, now)
        except (NotFound, Malformed) as error:
            if run.cancelled_at:
                return self._close_cancelled(run, now)
            if isinstance(error, Malformed):
                raise
            chunks, listing = self._write_manifests(run, earlier)
            last = run.models or next((other.models for other in earlier if other.models), 0)
            fleet = listing.planned + sum(chunk.models for chunk in chunks)
            if chunking.is_suspicious(fleet, run.doubted_fleet, last):
                log.warning("run=%s lists only %d models; listing them once more at the next tick", run.id, fleet)
                return replace(run, doubted_fleet=fleet, observed_at=now)
            if not chunks:
                return self.start_run(run, now) if run.plans else self._close_empty(run, listing.ignored, now)
            ignored = listing.ignored
            plan = Plan(
                chunks, ignored.count, self.planner, self.schema, dict(ignored.by_ending), tuple(ignored.examples)
            )
            self.work.create(paths.plan_path(run.id, run.plans), plan.to_bytes())
            plan = read_plan(self.work, run, run.plans, now)  # another host's, if it was faster
        if plan.planner:
            plan.planner.check_same(run.id, self.planner)
        return replace(
            self.start_run(run, now),
            plans=run.plans + 1,
            models=run.models + plan.models,
            chunks=run.chunks + len(plan.chunks),
            ignored=plan.ignored,
            ignored_endings=plan.ignored_endings,
            ignored_examples=plan.ignored_examples,
        )

    def start_run(self, run: Run, now: datetime) -> Run:
        """The run after its planning."""
        read_at = now if run.reads_all and not run.cancelled_at else run.read_at
        return replace(run, phase=Phase.RUNNING, planned_at=now, read_at=read_at, observed_at=now, chunk_states={})

    def _close_cancelled(self, run: Run, now: datetime) -> Run:
        """Close a run that was cancelled before this plan was written; chunks of earlier plans stay."""
        if run.plans:
            return self.start_run(run, now)
        message = "cancelled before it was planned"
        return replace(run, phase=Phase.CANCELLED, ended_at=now, reason=Reason.CANCELLED, message=message)

    def _write_manifests(self, run: Run, earlier: Sequence[Run]) -> tuple[tuple[Chunk, ...], _Listing]:
        """Write the manifests of a new plan. A fleet with too many chunks is split again, into larger ones."""
        size, least = self.options.chunk_size, chunking.choose_least_models(earlier, self.options.cores)
        room = max(1, self.options.max_chunks - run.chunks)
        while True:
            listing = _Listing()
            fleet = self._list_new_models(run, listing)
            chunks: list[Chunk] = []
            contents = chunking.split_into_chunks(fleet, size, least)
            if not run.plans:
                contents = chunking.add_ranges(contents, self.options.model_names)
            for content in contents:
                if len(chunks) == room:
                    break
                chunks.append(self._write_manifest(run, run.chunks + len(chunks), content))
            else:
                return tuple(chunks), listing
            deque(fleet, 0)  # counts the rest
            least = math.ceil(listing.new / room)
            size = ChunkSize(least) if size.models else size
            log.warning(
                "run=%s needs more than %d chunks; splitting again with %d models each", run.id, len(chunks), least
            )

    def list_fleet(self, ignored: IgnoredFiles) -> Iterator[Model]:
        """The listed models; those in quarantine are refused."""
        quarantine = {entry.model: entry.etag for entry in self.ledger.list_quarantined()}
        for model in list_fleet(_skip_repeated(self.models.list_blobs()), self.options.model_names, ignored):
            if quarantine.get(model.id) == model.etag and not model.refused:
                yield replace(model, refused=Reason.QUARANTINED)
            elif model.files and self.schema == 1:  # nodes of 0.1 would read one of its files only
                yield replace(model, files=(), refused=model.refused or Reason.UNSUPPORTED_MODEL)
            else:
                yield model

    def _list_new_models(self, run: Run, listing: _Listing) -> Iterator[Model]:
        """The listed models without those of an earlier plan."""
        planned = self._read_planned(run)
        for model in self.list_fleet(listing.ignored):
            if planned and _hash_id(model) in planned:
                listing.planned += 1
            else:
                listing.new += 1
                yield model

    def _read_planned(self, run: Run) -> set[int]:
        """The hashed ids of the models of earlier plans: 100 bytes for each, only while a run is extended."""
        manifests = [chunk.manifest for number in range(run.plans) for chunk in self.read_chunks(run, number)]
        documents = (self.work.read(paths.manifest_path(run.id, digest)) for digest in manifests)
        return {_hash_id(model) for data in documents for model in Manifest.from_bytes(data).models}

    def read_chunks(self, run: Run, number: int) -> Sequence[Chunk]:
        """The chunks of a plan, as it was written."""
        return read_plan(self.work, run, number, run.opened_at).chunks

    def _write_manifest(self, run: Run, index: int, content: ChunkModels) -> Chunk:
        """Write one manifest, and return its chunk.

        An extension has no packs: its models get theirs at the next run, among their neighbours.
        """
        chunk_id = paths.make_chunk_id(index)
        digest = self.store_manifest(run, chunk_id, replace(content, packs=() if run.plans else content.packs))
        names = [model.name for model in content.models]
        return Chunk(run.id, chunk_id, digest, len(names), min(names), max(names))

    def store_manifest(self, run: Run, chunk_id: str, content: ChunkModels) -> str:
        """Write a manifest under the digest of its content, which is returned."""
        manifest = Manifest(
            window=run.window,
            chunk=chunk_id,
            models=content.models,
            models_url=self.models.url,
            readings_url=self.readings.url,
            work_url=self.work.url,
            readings_path=self.options.readings_path,
            columns=self.options.columns,
            policy=self.options.scoring,
            packs=content.packs,
            schema=self.schema,
            app=self.options.app,
            round=run.round,
            model_names=self.options.model_names.pattern,
            model_formats=self.options.model_names.formats.further,
            devices=content.devices,
            predictions_schema=self.options.predictions_schema or 1,
        )
        data = manifest.to_bytes()
        digest = make_digest(data)
        self.work.create(paths.manifest_path(run.id, digest), data)
        return digest

    def _close_empty(self, run: Run, ignored: IgnoredFiles, now: datetime) -> Run:
        suffix = f", but {ignored.describe()}, such as {ignored.examples[0]}" if ignored.count else ""
        message = f"no models named {self.options.model_names.pattern} in {self.models.url}{suffix}"
        return replace(
            run,
            phase=Phase.FAILED,
            ended_at=now,
            reason=Reason.EMPTY_FLEET,
            message=message,
            ignored=ignored.count,
            ignored_endings=dict(ignored.by_ending),
            ignored_examples=tuple(ignored.examples),
        )


def _skip_repeated(listing: Iterator[Blob]) -> Iterator[Blob]:
    """The listing without repeated names: a page that came twice would be scored twice.

    Names are sorted by bytes or, in some stores, by UTF-16: a name that is out of order in both is a repetition.
    """
    last = ""
    for blob in listing:
        if blob.name <= last and blob.name.encode("utf-16-be", "surrogatepass") <= last.encode(
            "utf-16-be", "surrogatepass"
        ):
            continue
        last = blob.name
        yield blob


def _hash_id(model: Model) -> int:
    """A hash of a model's id in 8 bytes; two of a million ids share one with a chance of 3 in 100 million."""
    return int.from_bytes(hashlib.blake2b(model.id.encode(errors="surrogatepass"), digest_size=8).digest())
