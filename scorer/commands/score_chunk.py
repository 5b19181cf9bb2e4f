"""Score one chunk on a node: read the manifest, score pack by pack, write the part, and the report last.

Memory is bounded by a pack and does not grow with the chunk. While the kernels score a pack, a thread loads the models
and the readings of the next one.
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

from scorer.errors import make_refusal
from scorer.packs.cache import LoadedModels, Stores, load_models
from scorer.packs.pack import EMPTY
from scorer.predictions.outcome import ModelOutcome
from scorer.predictions.part_files import Parts
from scorer.readings import source
from scorer.readings.source import Readings, Source
from scorer.sandbox.pool import WorkerPool
from scorer.scoring import pipeline
from scorer.scoring.carry_over import carry_over_results
from scorer.scoring.pipeline import PackInput, ProgressCounter, RunWarnings, ScoringContext
from scorer.storage.blob_store import Container, open_container, split_url
from shared.contract import paths
from shared.contract.domain import Model, Reason
from shared.contract.errors import FleetError
from shared.contract.manifest import Manifest, PackRef
from shared.contract.report import ModelResult, Progress, Report
from shared.contract.version import VERSION

UNPACKED_MODELS = 10_000  # that are scored together where the manifest has no packs
PROGRESS_EVERY = 3.0  # seconds, at most

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AttemptOptions:
    """Options of one attempt; `shared.contract.manifest.command` writes them to the command line."""

    isolated: bool = False  # in worker processes, so that the report names a model that ends its process
    override_quarantine: bool = False  # score models too that the plan refused because they are in quarantine
    carry_attempt: int = 0  # an earlier attempt, whose results are carried over from its report and its part; 0: none


def run_attempt(
    manifest_url: str, attempt: int, storage: str = "", options: AttemptOptions | None = None, cores: int = 1
) -> None:
    """Score the chunk of a manifest and write its report. Raises FleetError where that is not possible.

    *storage* is a connection string, for stores without managed identity; *cores* is how many cores to use.
    """
    options = options or AttemptOptions()
    started = datetime.now(UTC)
    container_url, name = split_url(manifest_url)
    manifest = Manifest.from_bytes(open_container(container_url, storage).read(name).data)
    if options.override_quarantine:
        manifest = replace(manifest, models=tuple(_lift_quarantine(model) for model in manifest.models))
    run_id, limits = manifest.window.id, manifest.policy.limits
    work = open_container(manifest.work_url, storage)
    log.info("run=%s chunk=%s attempt=%s: %s models", run_id, manifest.chunk, attempt, len(manifest.models))
    warnings, results, parts = RunWarnings(), list[ModelResult](), Parts(work, run_id, manifest.chunk)
    with (
        _report_progress(work, paths.progress_path(run_id, manifest.chunk, attempt), len(manifest.models)) as progress,
        WorkerPool(cores, timeout=limits.model_seconds, memory=limits.model_memory) as workers,
    ):
        carried = carry_over_results(work, manifest, options.carry_attempt)
        context = ScoringContext(workers, cores, manifest.policy.other_versions)
        stores = Stores(open_container(manifest.models_url, storage), work, limits.model_bytes)
        inputs = _ChunkInputs(manifest, storage, stores, options.isolated)
        with _prefetch_packs(inputs.read_packs(carried.scored, warnings)) as packs, ThreadPoolExecutor(1) as writer:
            writing: Future[None] | None = None
            for pack_input in packs:
                output = pipeline.score_pack(pack_input, context, progress, warnings)
                results += output.results
                if writing:
                    writing.result()
                writing = writer.submit(parts.add_table, output.rows)
            if writing:
                writing.result()
        sentences = (*carried.warnings, *warnings.sentences, *workers.warnings)
    report = Report(
        run=run_id,
        chunk=manifest.chunk,
        attempt=attempt,
        started_at=started,
        ended_at=datetime.now(UTC),
        results=tuple(results),
        parts=parts.close(),
        warnings=sentences,
        version=VERSION,
    )
    first = work.create(paths.report_path(run_id, manifest.chunk, attempt), report.to_bytes())
    tally = report.tally
    log.info("scored=%s failed=%s skipped=%s rows=%s", tally.scored, tally.failed, tally.skipped, tally.rows)
    log.info("report written" if first else "another process of this attempt wrote its report first, which counts")


def _lift_quarantine(model: Model) -> Model:
    return replace(model, refused=None) if model.refused is Reason.QUARANTINED else model


@dataclass(frozen=True, slots=True)
class _ChunkInputs:
    """A manifest, and what scoring it needs."""

    manifest: Manifest
    storage: str
    stores: Stores
    isolated: bool

    def read_packs(self, carried: Mapping[int, ModelOutcome], warnings: RunWarnings) -> Iterator[PackInput]:
        """The models, pack by pack, with their readings; *carried* is by index in the manifest."""
        manifest, start = self.manifest, 0
        container = open_container(manifest.readings_url, self.storage)
        reading_paths = source.list_paths(manifest.readings_path, manifest.window)
        policy = manifest.policy.readings
        with closing(
            source.open_readings(container, reading_paths, manifest.columns, manifest.window, policy)
        ) as opened:
            for packs in self._plan_passes(opened):
                n_models = sum(pack.models for pack in packs)
                models = [m for i, m in enumerate(manifest.models[start : start + n_models], start) if i not in carried]
                readings = opened.read_devices([model.device for model in models])
                log.info("readings=%s rows", readings.rows)
                for message in readings.unreadable:
                    log.error("readings unreadable: %s", message)
                warnings.add_counts(readings.list_warnings())
                for pack in packs:
                    pack_carried = {i - start: carried[i] for i in range(start, start + pack.models) if i in carried}
                    yield self._prepare_pack(
                        manifest.models[start : start + pack.models], pack.name, readings, pack_carried
                    )
                    start += pack.models

    def _plan_passes(self, source: Source) -> Iterator[Sequence[PackRef]]:
        """The packs whose readings are read at once: one where readings are sorted by device, else as many as fit."""
        packs, models = self.manifest.packs, len(self.manifest.models)
        if not packs:
            packs = tuple(
                PackRef("", min(UNPACKED_MODELS, models - start)) for start in range(0, models, UNPACKED_MODELS)
            )
        passes = (
            len(packs)
            if source.divisible
            else min(len(packs), math.ceil(source.size / self.manifest.policy.limits.readings_memory))
        )
        step = math.ceil(len(packs) / max(1, passes))
        return (packs[start : start + step] for start in range(0, len(packs), max(1, step)))

    def _prepare_pack(
        self, models: Sequence[Model], pack_name: str, readings: Readings, carried: Mapping[int, ModelOutcome]
    ) -> PackInput:
        if not self.isolated:
            return PackInput(models, load_models(self.stores, pack_name, models, carried), readings, carried)
        refusals = {index: make_refusal(model) for index, model in enumerate(models) if model.refused}
        return PackInput(
            models,
            LoadedModels(EMPTY, np.full(len(models), -1), refusals, {}),
            readings,
            carried,
            isolated_stores=self.stores,
        )


@contextmanager
def _prefetch_packs(packs: Iterator[PackInput]) -> Iterator[Iterator[PackInput]]:
    """The same packs, each prepared by a thread while the previous one is scored."""

    def prefetch_next(pool: ThreadPoolExecutor) -> Iterator[PackInput]:
        next_pack = pool.submit(next, packs, None)
        while pack_input := next_pack.result():
            next_pack = pool.submit(next, packs, None)
            yield pack_input

    with ThreadPoolExecutor(1) as pool:
        yield prefetch_next(pool)


@contextmanager
def _report_progress(work: Container, path: str, models: int) -> Iterator[ProgressCounter]:
    """Write from time to time how many models are done, while the body runs.

    In a thread of its own: a store that does not answer must not delay the scoring. It writes only when the count has
    changed, so that a node that hangs shows no progress.
    """
    counter, stopped = ProgressCounter(), threading.Event()

    def write_progress() -> None:
        last_written = -1
        while last_written != counter.completed or not stopped.is_set():
            if last_written != counter.completed:
                last_written = counter.completed
                try:
                    work.write(path, b"", Progress(last_written, models).to_metadata())
                except (FleetError, OSError) as error:
                    log.info("progress not written: %s", error)
            stopped.wait(PROGRESS_EVERY)

    thread = threading.Thread(target=write_progress, daemon=True)
    thread.start()
    try:
        yield counter
    finally:
        stopped.set()
        thread.join(PROGRESS_EVERY)
