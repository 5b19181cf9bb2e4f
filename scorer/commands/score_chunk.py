"""Score one chunk on a node: read the manifest, score pack by pack, write the part, and the report last.

Memory is bounded by two packs and does not grow with the chunk. While the kernels score a pack, a thread loads the
models and the readings of the next one.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np

from scorer.library_versions import read_library_versions
from scorer.packs.cache import LoadedModels, load_models, load_numbers
from scorer.packs.fetch import Stores, make_refusals
from scorer.packs.pack import EMPTY
from scorer.predictions.outcome import ModelOutcome
from scorer.predictions.part_files import Parts
from scorer.processes import keep_freed_memory
from scorer.readings import source
from scorer.readings.device_readings import Readings
from scorer.readings.projection import EVERYTHING, Projection
from scorer.readings.rows import LateRows
from scorer.readings.source import Source
from scorer.readings.unmodelled import UnmodelledCounter
from scorer.sandbox.pool import WorkerPool
from scorer.scoring import pipeline
from scorer.scoring.carry_over import carry_over_results
from scorer.scoring.needed_columns import find_models_with_rows, find_needed_columns
from scorer.scoring.pack_state import ProgressCounter, add_predicted
from scorer.scoring.pipeline import PackInput, ScoringContext
from scorer.scoring.run_warnings import RunWarnings
from scorer.storage.blob_store import Container, open_container, split_url
from shared.contract import paths
from shared.contract.domain import Late, Unmodelled
from shared.contract.errors import FleetError
from shared.contract.fleet.formats import ModelFormats
from shared.contract.manifest import Manifest, PackRef
from shared.contract.model_list import ModelList
from shared.contract.model_names import ModelNames
from shared.contract.outcomes import Outcomes, join_outcomes
from shared.contract.readings.paths import find_late_paths, list_paths
from shared.contract.reasons import Reason
from shared.contract.report import Progress, Report
from shared.contract.scoring_options import UnmodelledDevices
from shared.contract.summaries.predicted import Predicted, close_summary
from shared.contract.version import VERSION

from .options import name_option

UNPACKED_MODELS = 10_000  # that are scored together where the manifest has no packs
PROGRESS_EVERY = 3.0  # seconds, at most

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AttemptOptions:
    """Options of one attempt; `shared.contract.manifest.build_command` writes them to the command line."""

    isolated: bool = False  # in worker processes, so that the report names a model that ends its process
    override_quarantine: bool = False  # score models too that the plan refused because they are in quarantine
    current_files: bool = False  # score models as their files are now, not as they were planned
    carry_attempt: int = 0  # an earlier attempt, whose results are carried over from its report and its part; 0: none


def run_attempt(
    manifest_url: str, attempt: int, storage: str = "", options: AttemptOptions | None = None, cores: int = 1
) -> None:
    """Score the chunk of a manifest and write its report. Raises FleetError where that is not possible.

    *storage* is a connection string, for stores without managed identity; *cores* is how many cores to use.
    """
    options = options or AttemptOptions()
    keep_freed_memory()
    started = datetime.now(UTC)
    with name_option("--manifest"):
        container_url, name = split_url(manifest_url)
    manifest = Manifest.from_bytes(open_container(container_url, storage).read(name).data)
    models = ModelList.from_models(manifest.models)
    if options.override_quarantine:
        models = models.lift(Reason.QUARANTINED)
    manifest = replace(manifest, models=models)
    run_id, limits = manifest.window.id, manifest.policy.limits
    work = open_container(manifest.work_url, storage)
    log.info("run=%s chunk=%s attempt=%s: %s models", run_id, manifest.chunk, attempt, len(models))
    warnings, outcomes, predicted = RunWarnings(), list[Outcomes](), Predicted()
    counted = RunWarnings()  # of the readings: by another thread, and first in the report
    parts = Parts(work, run_id, manifest.chunk, manifest.predictions_schema)
    with (
        _report_progress(work, paths.progress_path(run_id, manifest.chunk, attempt), len(manifest.models)) as progress,
        WorkerPool(
            cores,
            timeout=limits.model_seconds,
            memory=limits.model_memory,
            size_limit=limits.model_bytes,
            probabilities=manifest.policy.probabilities,
        ) as workers,
    ):
        carried = carry_over_results(work, manifest, options.carry_attempt)
        policy, schema = manifest.policy, manifest.predictions_schema
        context = ScoringContext(
            workers, cores, policy.other_versions, schema, policy.probabilities, carried.replaceable
        )
        models_container = open_container(manifest.models_url, storage)
        stores = Stores(
            models_container, work, limits.model_bytes, options.current_files, ModelFormats(manifest.model_formats)
        )
        inputs = _ChunkInputs(
            manifest, storage, stores, options.isolated, carried.scored, _make_unmodelled_counter(manifest)
        )
        with _prefetch_packs(inputs.read_packs(counted)) as packs, ThreadPoolExecutor(1) as writer:
            writing: Future[None] | None = None
            for pack_input in packs:
                output = pipeline.score_pack(pack_input, context, progress, warnings)
                outcomes.append(output.outcomes)
                predicted = add_predicted(predicted, output)
                if writing:
                    writing.result()
                writing = writer.submit(parts.add_table, output.rows)
                del pack_input  # before the pack after the next is loaded: there are two in memory
            if writing:
                writing.result()
        joined = join_outcomes(outcomes, models.ids)
        warnings.counts = counted.counts + warnings.counts
        sentences = (*carried.warnings, *warnings.sentences, *workers.warnings)
    report = Report(
        run=run_id,
        chunk=manifest.chunk,
        attempt=attempt,
        started_at=started,
        ended_at=datetime.now(UTC),
        outcomes=joined,
        parts=parts.close(),
        statistics=parts.statistics,
        warnings=sentences,
        version=VERSION,
        schema=manifest.schema,
        libraries=read_library_versions(),
        unmodelled=inputs.count_unmodelled(),
        predicted=close_summary(predicted),
        late=inputs.count_late(),
    )
    first = work.create(paths.report_path(run_id, manifest.chunk, attempt), report.to_bytes())
    tally = report.tally
    log.info("scored=%s failed=%s skipped=%s rows=%s", tally.scored, tally.failed, tally.skipped, tally.rows)
    log.info("report written" if first else "another process of this attempt wrote its report first, which counts")


def _make_unmodelled_counter(manifest: Manifest) -> UnmodelledCounter | None:
    """None where the chunk answers for no devices, or the manifest does not let them be counted."""
    devices, is_off = manifest.devices, manifest.policy.unmodelled is UnmodelledDevices.OFF
    if is_off or devices is None or devices.is_empty:
        return None
    modelled = ModelList.from_models(manifest.models).read_texts("device")
    return UnmodelledCounter(frozenset(modelled), devices, ModelNames(manifest.model_names))


@dataclass(frozen=True, slots=True)
class _LoadedPack:
    """A pack before its readings are read."""

    name: str
    models: ModelList
    carried: Mapping[int, ModelOutcome]
    loaded: LoadedModels
    needed: Projection
    stores: Stores
    is_isolated: bool = False

    def load_numbers(self, readings: Readings) -> _LoadedPack:
        """The same with the numbers of models that have readings. What had to be read again may need more columns."""
        if self.loaded.index is None:
            return self
        is_needed = find_models_with_rows(self.models, readings, {*self.carried, *self.loaded.refusals})
        loaded = load_numbers(self.stores, self.name, self.models, self.carried, self.loaded, is_needed)
        return replace(self, loaded=loaded, needed=find_needed_columns(self.models, loaded, self.carried))

    def join_readings(self, readings: Readings) -> PackInput:
        return PackInput(self.models, self.loaded, readings, self.carried, self.stores, self.is_isolated)


@dataclass(frozen=True, slots=True)
class _ChunkInputs:
    """A manifest, and what scoring it needs."""

    manifest: Manifest
    storage: str
    stores: Stores
    isolated: bool
    carried: Mapping[int, ModelOutcome]  # by index in the manifest
    unmodelled: UnmodelledCounter | None = None
    late: LateRows = field(default_factory=LateRows)

    def read_packs(self, warnings: RunWarnings) -> Iterator[PackInput]:
        """The models, pack by pack, with their readings."""
        manifest = self.manifest
        container = open_container(manifest.readings_url, self.storage)
        reading_paths = list_paths(manifest.readings_path, manifest.window, manifest.policy.readings.time_zone)
        devices = ModelList.from_models(manifest.models).read_texts("device")
        with closing(
            source.open_readings(
                container, reading_paths, manifest.columns, manifest.window, manifest.policy.readings,
                manifest.readings_path, devices, self.unmodelled,
            )
        ) as opened:  # fmt: skip
            yield from self._join_readings(opened, self._load_packs(), warnings)
            opened.search_unmodelled()
            warnings.add_counts(opened.list_warnings())
        if self.unmodelled:
            warnings.add_counts(self.unmodelled.list_warnings())

    def count_unmodelled(self) -> Unmodelled | None:
        """The devices without a model, once all packs are read; None where the manifest does not let them be counted.

        An extension answers for no devices, and so has none.
        """
        if self.unmodelled:
            return self.unmodelled.count()
        return None if self.manifest.policy.unmodelled is UnmodelledDevices.OFF else Unmodelled()

    def count_late(self) -> Late | None:
        """The late rows of the devices that are scored, once all packs are read; None where nothing tells them."""
        is_told = find_late_paths(self.manifest.readings_path, self.manifest.window)
        return self.late.summarize() if is_told else None

    def _load_packs(self) -> Iterator[_LoadedPack]:
        models, start = ModelList.from_models(self.manifest.models), 0
        for pack in self._list_packs():
            end = start + pack.models
            for part in itertools.count():
                name = f"{pack.name}.{part}" if pack.name and part else pack.name
                carried = {i - start: self.carried[i] for i in range(start, end) if i in self.carried}
                loaded_pack = self._load_pack(name, models[start:end], carried)
                yield loaded_pack
                start += len(loaded_pack.models)
                if start >= end:
                    break

    def _load_pack(self, name: str, models: ModelList, carried: Mapping[int, ModelOutcome]) -> _LoadedPack:
        """The first of the models, as many as a pack holds."""
        if not self.isolated:
            loaded = load_models(self.stores, name, models, carried)
            count = len(loaded.rows)
            models, carried = models[:count], {i: outcome for i, outcome in carried.items() if i < count}
            return _LoadedPack(name, models, carried, loaded, find_needed_columns(models, loaded, carried), self.stores)
        refusals = make_refusals(self.stores, models)
        unread = LoadedModels(EMPTY, np.full(len(models), -1), refusals, {})
        return _LoadedPack(name, models, carried, unread, EVERYTHING, self.stores, is_isolated=True)

    def _join_readings(
        self, opened: Source, loaded_packs: Iterator[_LoadedPack], warnings: RunWarnings
    ) -> Iterator[PackInput]:
        """The packs with their readings, which are read for several packs at once where they fit.

        What a pack needs is known once its index is loaded, and one pack is loaded at a time. Where it needs a column
        that was not read, the pass begins again, with more columns and perhaps fewer packs: so the warnings count each
        row once.
        """
        packs, divisible, projection = self._list_packs(), opened.divisible, Projection()
        bounds = list(itertools.accumulate((pack.models for pack in packs), initial=0))
        first = scored = 0  # the first pack of the pass, and how many models have their readings
        next_pack = next(loaded_packs, None)
        while next_pack:
            projection |= next_pack.needed
            passes = len(packs) if divisible else self._count_passes(opened.estimate_memory(projection))
            end = min(len(packs), first + math.ceil(len(packs) / min(len(packs), passes)))
            readings = self._read_pass(opened, bounds[first], bounds[end], projection)
            while next_pack and scored < bounds[end] and projection.covers(next_pack.needed):
                next_pack = next_pack.load_numbers(readings)
                if projection.covers(next_pack.needed):
                    yield next_pack.join_readings(readings)
                    scored, next_pack = scored + len(next_pack.models), next(loaded_packs, None)
            if scored >= bounds[end]:
                warnings.add_counts(readings.list_warnings())
                self.late.merge(readings.late)
                first = end

    def _count_passes(self, n_bytes: int) -> int:
        return max(1, math.ceil(n_bytes / self.manifest.policy.limits.readings_memory))

    def _read_pass(self, opened: Source, start: int, end: int, projection: Projection) -> Readings:
        """The readings of the models from index *start* to *end* that are not carried over."""
        devices = ModelList.from_models(self.manifest.models)[start:end].read_texts("device")
        if self.carried:
            devices = [device for i, device in enumerate(devices, start) if i not in self.carried]
        readings = opened.read_devices(devices, projection)
        log.info("readings=%s rows", readings.rows)
        for message in readings.unreadable:
            log.error("readings unreadable: %s", message)
        return readings

    def _list_packs(self) -> Sequence[PackRef]:
        models = len(self.manifest.models)
        starts = range(0, models, UNPACKED_MODELS)
        return self.manifest.packs or [PackRef("", min(UNPACKED_MODELS, models - start)) for start in starts]


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
