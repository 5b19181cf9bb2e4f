"""Score one chunk on a node: read the manifest, score portion by portion, write the part, then the report, last.

portion     the models of one pack; so memory does not grow with the chunk
ahead       while the kernels score a portion, a thread brings the models and the readings of the next one
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from scorer.errors import refused
from scorer.packs.cache import Ready, Stores, bring
from scorer.packs.pack import EMPTY
from scorer.predictions.outcome import Scored
from scorer.predictions.part_files import Parts
from scorer.readings import source
from scorer.readings.source import Readings, Source
from scorer.sandbox.pool import Children
from scorer.scoring import pipeline
from scorer.scoring.carry_over import take_over
from scorer.scoring.pipeline import DoneCount, Means, Notes, Portion
from scorer.storage.blob_store import Container, open_container, split_url
from shared.contract import paths
from shared.contract.domain import Model, Reason
from shared.contract.errors import FleetError
from shared.contract.manifest import Manifest, PackRef
from shared.contract.report import ModelResult, Progress, Report
from shared.contract.version import VERSION

UNPACKED = 10_000  # models that are scored together where there are no packs
PROGRESS_EVERY = 3.0  # seconds, at most

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class How:
    """What is different about this attempt; `shared.contract.manifest.command` writes it."""

    careful: bool = False  # in child processes, so that the report names a model which ends its process
    pardon: bool = False  # models too that the plan left out because they were in quarantine
    carry: int = 0  # an earlier attempt: what that scored is taken over from its report and its part


def run(manifest_url: str, attempt: int, storage: str = "", how: How | None = None, cores: int = 1) -> None:
    """Score the chunk that a manifest orders, and leave its report. Raises FleetError where that cannot be done.

    *storage* is a connection string, where no managed identity is used; *cores* of this node are worked with.
    """
    how = how or How()
    started = datetime.now(UTC)
    holder, name = split_url(manifest_url)
    manifest = Manifest.from_bytes(open_container(holder, storage).read(name).data)
    if how.pardon:
        manifest = replace(manifest, models=tuple(_pardoned(model) for model in manifest.models))
    run_id, limits = manifest.window.id, manifest.policy.limits
    work = open_container(manifest.work_url, storage)
    log.info("run=%s chunk=%s attempt=%s: %s models", run_id, manifest.chunk, attempt, len(manifest.models))
    notes, verdicts, parts = Notes(), list[ModelResult](), Parts(work, run_id, manifest.chunk)
    with (
        _progress(work, paths.progress_path(run_id, manifest.chunk, attempt), len(manifest.models)) as progress,
        Children(cores, patience=limits.model_seconds, memory=limits.model_memory) as children,
    ):
        carried = take_over(work, manifest, how.carry)
        means = Means(children, cores, manifest.policy.other_versions)
        stores = Stores(open_container(manifest.models_url, storage), work, limits.model_bytes)
        order = _Order(manifest, storage, stores, how.careful)
        with _ahead(order.portions(carried.scored, notes)) as portions, ThreadPoolExecutor(1) as behind:
            writing: Future[None] | None = None
            for portion in portions:
                slab = pipeline.score(portion, means, progress, notes)
                verdicts += slab.verdicts
                if writing:
                    writing.result()
                writing = behind.submit(parts.add, slab.rows)
            if writing:
                writing.result()
        warnings = (*carried.warnings, *notes.remarks, *children.warnings)
    report = Report(
        run=run_id,
        chunk=manifest.chunk,
        attempt=attempt,
        started_at=started,
        ended_at=datetime.now(UTC),
        results=tuple(verdicts),
        parts=parts.close(),
        warnings=warnings,
        version=VERSION,
    )
    first = work.create(paths.report_path(run_id, manifest.chunk, attempt), report.to_bytes())
    tally = report.tally
    log.info("scored=%s failed=%s skipped=%s rows=%s", tally.scored, tally.failed, tally.skipped, tally.rows)
    log.info("report written" if first else "another process of this attempt has reported before us; its report counts")


def _pardoned(model: Model) -> Model:
    return replace(model, refused=None) if model.refused is Reason.QUARANTINED else model


@dataclass(frozen=True, slots=True)
class _Order:
    """A manifest, and what it is carried out with."""

    manifest: Manifest
    storage: str
    stores: Stores
    careful: bool

    def portions(self, carried: Mapping[int, Scored], notes: Notes) -> Iterator[Portion]:
        """The models, pack by pack, each with what is needed to score it; *carried* are by place in the manifest."""
        manifest, at = self.manifest, 0
        holder = open_container(manifest.readings_url, self.storage)
        where = source.paths(manifest.readings_path, manifest.window)
        policy = manifest.policy.readings
        with closing(source.open_readings(holder, where, manifest.columns, manifest.window, policy)) as opened:
            for spans in self._passes(opened):
                count = sum(span.models for span in spans)
                models = [m for i, m in enumerate(manifest.models[at : at + count], at) if i not in carried]
                found = opened.read([model.device for model in models])
                log.info("readings=%s rows", found.rows)
                for problem in found.unreadable:
                    log.error("readings unreadable: %s", problem)
                notes.add(found.remarks())
                for span in spans:
                    done = {i - at: carried[i] for i in range(at, at + span.models) if i in carried}
                    yield self._portion(manifest.models[at : at + span.models], span.name, found, done)
                    at += span.models

    def _passes(self, source: Source) -> Iterator[Sequence[PackRef]]:
        """The packs for which readings are read at once: each alone where they lie sorted, else as many as fit."""
        spans, models = self.manifest.packs, len(self.manifest.models)
        if not spans:
            spans = tuple(PackRef("", min(UNPACKED, models - at)) for at in range(0, models, UNPACKED))
        passes = (
            len(spans)
            if source.divisible
            else min(len(spans), math.ceil(source.size / self.manifest.policy.limits.readings_memory))
        )
        step = math.ceil(len(spans) / max(1, passes))
        return (spans[at : at + step] for at in range(0, len(spans), max(1, step)))

    def _portion(self, models: Sequence[Model], pack: str, found: Readings, done: Mapping[int, Scored]) -> Portion:
        if not self.careful:
            return Portion(models, bring(self.stores, pack, models, done), found, done)
        door = {place: refused(model) for place, model in enumerate(models) if model.refused}
        return Portion(models, Ready(EMPTY, np.full(len(models), -1), door, {}), found, done, careful=self.stores)


@contextmanager
def _ahead(portions: Iterator[Portion]) -> Iterator[Iterator[Portion]]:
    """The same portions, each made by a thread while the one before it is scored."""

    def one_ahead(pool: ThreadPoolExecutor) -> Iterator[Portion]:
        coming = pool.submit(next, portions, None)
        while portion := coming.result():
            coming = pool.submit(next, portions, None)
            yield portion

    with ThreadPoolExecutor(1) as pool:
        yield one_ahead(pool)


@contextmanager
def _progress(work: Container, path: str, models: int) -> Iterator[DoneCount]:
    """Tell how many models are done, now and then, while the body runs.

    From a thread of its own: a store that does not answer must not hold up the scoring. It writes only when the count
    has changed, since a beat that goes on while the work stands still would be a lie.
    """
    counter, over = DoneCount(), threading.Event()

    def tell() -> None:
        told = -1
        while told != counter.done or not over.is_set():
            if told != counter.done:
                told = counter.done
                try:
                    work.write(path, b"", Progress(told, models).to_metadata())
                except (FleetError, OSError) as error:
                    log.info("progress not written: %s", error)
            over.wait(PROGRESS_EVERY)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield counter
    finally:
        over.set()
        thread.join(PROGRESS_EVERY)
