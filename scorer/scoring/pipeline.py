"""Scores one pack of a chunk. Each model is scored for itself: an error of one affects no other.

carried     an earlier attempt scored it
plain       packed, and its rows are side by side in one frame: all such models in one call of the kernels
gathered    packed, and its rows come from several places: the same, in a second call
isolated    no kernel knows the family, or the attempt is isolated: scikit-learn, in a worker process
"""

from __future__ import annotations

import importlib.metadata
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from scorer.errors import Unscorable
from scorer.packs.cache import LoadedModels, Stores, fetch_files
from scorer.predictions.outcome import ModelOutcome
from scorer.predictions.table import PredictionRows, Predictions, join_predictions, to_table
from scorer.readings import features
from scorer.readings.features import ModelReadings
from scorer.readings.source import REPEATED, Readings
from scorer.sandbox.pool import WorkerPool
from scorer.storage.blob_store import Content
from shared.contract.domain import SKIPS, Model, Reason
from shared.contract.report import ModelResult
from shared.contract.scoring_options import OtherVersion, OtherVersions
from shared.contract.text import clip_text

from . import batching
from .batching import KernelInput

# A broken file of readings is logged once, by its name, not once for each model.
_LOGGED_ELSEWHERE = SKIPS | {Reason.UNREADABLE_READINGS}
LOG_LINES = 20  # in the log about failed models, for each pack; the report has them all

log = logging.getLogger(__name__)


@dataclass(slots=True)
class ProgressCounter:
    """How many models are done. One thread counts, another reads."""

    completed: int = 0


@dataclass(slots=True)
class RunWarnings:
    """Warnings for the report, summed over a chunk: about what a person should know, although nothing failed."""

    counts: Counter[str] = field(default_factory=Counter)  # by the rest of the sentence
    made_by: dict[str, list[str]] = field(default_factory=dict)  # ids of models, by another version of scikit-learn

    def add_counts(self, counted: Iterable[tuple[int, str]]) -> None:
        """Add counts, each with the rest of its sentence."""
        for count, text in counted:
            self.counts[text] += count

    def add_outcome(self, outcome: ModelOutcome) -> None:
        """Add the warnings of a model that a worker process scored."""
        self.add_counts([(outcome.left_out, LEFT_OUT), (outcome.repeated, REPEATED)])
        if outcome.made_by:
            self.made_by.setdefault(outcome.made_by, []).append(outcome.result.model)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The warnings as sentences."""
        installed_version = get_sklearn_version()
        version_sentences = (
            f"{len(ids)} models were made by scikit-learn {version} and loaded by {installed_version}, such as {ids[0]}"
            for version, ids in sorted(self.made_by.items())
        )
        return (*(f"{count} {text}" for text, count in self.counts.items() if count), *version_sentences)


LEFT_OUT = "rows lacked one of the features that their model expects and were left out"


def get_sklearn_version() -> str:
    """The installed version of scikit-learn, without importing it."""
    return importlib.metadata.version("scikit-learn")


@dataclass(frozen=True, slots=True)
class ScoringContext:
    """The worker processes and options that all packs of a chunk are scored with."""

    workers: WorkerPool
    cores: int = 1
    other_versions: OtherVersions = field(default_factory=OtherVersions)


@dataclass(frozen=True, slots=True)
class PackInput:
    """The models of one pack, with all that scoring them needs."""

    models: Sequence[Model]
    loaded: LoadedModels
    readings: Readings
    carried: Mapping[int, ModelOutcome] = field(default_factory=dict)  # by index: outcomes of an earlier attempt
    isolated_stores: Stores | None = None  # of an isolated attempt: only worker processes read the files


@dataclass(frozen=True, slots=True)
class PackOutput:
    """The results of a pack's models, in their order, and their rows."""

    results: tuple[ModelResult, ...]
    rows: pa.Table


def score_pack(
    pack_input: PackInput, context: ScoringContext, progress: ProgressCounter, warnings: RunWarnings
) -> PackOutput:
    """Score every model of the pack. Raises Unavailable where stores do not answer or worker processes cannot start."""
    pack_state = _PackState(pack_input.models, pack_input.loaded, progress)
    pack_state.add_outcomes(pack_input.carried)
    refusals = _refuse_versions(pack_input, context.other_versions, warnings) | pack_input.loaded.refusals
    is_pending = pack_input.loaded.rows >= 0
    is_pending[[*pack_state.results, *refusals]] = False
    if pack_input.isolated_stores or pack_input.loaded.pack.has_file[pack_input.loaded.rows[is_pending]].any():
        context.workers.start_workers()  # their imports take 2 s, while the kernels score
    plain_input = batching.join_plain_models(
        pack_input.models, pack_input.loaded.pack, np.where(is_pending, pack_input.loaded.rows, -1), pack_input.readings
    )
    if plain_input:
        pack_state.score_batch(plain_input, context.cores)
    model_readings: dict[int, ModelReadings] = {}
    isolated_models: list[int] = []
    for index in (index for index in range(len(pack_input.models)) if index not in pack_state.results):
        try:
            readings = _select_readings(pack_input, index, refusals.get(index))
        except Unscorable as error:
            pack_state.add_refusal(index, error)
            continue
        if readings is None:
            isolated_models.append(index)
        else:
            model_readings[index] = readings
            warnings.add_counts([(readings.left_out, LEFT_OUT), (readings.repeated, REPEATED)])
    if model_readings:
        pack_state.score_batch(
            batching.join_model_readings(pack_input.loaded.pack, pack_input.loaded.rows, model_readings), context.cores
        )
    for index, outcome in zip(
        isolated_models, context.workers.score_items(_list_items(pack_input, isolated_models)), strict=True
    ):
        pack_state.add_outcomes({index: outcome})
        warnings.add_outcome(outcome)
    return pack_state.build_output()


def _refuse_versions(pack_input: PackInput, policy: OtherVersions, warnings: RunWarnings) -> dict[int, Unscorable]:
    """The packed models that another scikit-learn made: refused, or counted as a warning, by the policy."""
    pack, installed_version = pack_input.loaded.pack, get_sklearn_version()
    if not len(pack):
        return {}
    codes, versions = pack.get_texts("made_by")
    other = np.isin(codes, [code for code, version in enumerate(versions) if version not in ("", installed_version)])
    rows, skops = pack_input.loaded.rows, pack.get_numbers("skops")
    refusals: dict[int, Unscorable] = {}
    for index in np.flatnonzero((rows >= 0) & other[rows]).tolist():
        row = rows[index]
        version = versions[codes[row]]
        if index in pack_input.carried:
            continue
        if (policy.skops if skops[row] else policy.pickle) is OtherVersion.REFUSE:
            message = f"made by scikit-learn {version}, expected {installed_version}, as OTHER_VERSIONS says"
            refusals[index] = Unscorable(Reason.INCOMPATIBLE_MODEL, message)
        elif not pack.has_file[row]:  # a worker process reports those
            warnings.made_by.setdefault(version, []).append(pack_input.models[index].id)
    return refusals


def _select_readings(pack_input: PackInput, index: int, refusal: Unscorable | None) -> ModelReadings | None:
    """The readings of a packed model; None for a model that goes to the worker processes. Raises Unscorable."""
    model, pack, row = pack_input.models[index], pack_input.loaded.pack, int(pack_input.loaded.rows[index])
    if model.refused and refusal:  # by the plan: checked before the readings, while errors of a file come after them
        raise refusal
    frame_rows = features.find_frame_rows(pack_input.readings, model)
    if refusal:
        raise refusal
    if pack_input.isolated_stores:
        return None
    if refusal := pack.get_refusal(row):
        raise refusal
    if pack.has_file[row]:
        return None
    codes, names = pack.features
    return features.build_model_readings(
        pack_input.readings, model, frame_rows, names[codes[row]], int(pack.get_numbers("width")[row])
    )


def _list_items(pack_input: PackInput, indices: Sequence[int]) -> Iterator[tuple[Model, Content | Exception, Readings]]:
    """The items for the worker processes: each model, its file, and the readings of its device."""
    models = [pack_input.models[index] for index in indices]
    files: Iterator[Content | Unscorable]
    if pack_input.isolated_stores:
        files = fetch_files(pack_input.isolated_stores, models)
    else:
        pack, rows = pack_input.loaded.pack, pack_input.loaded.rows[indices].tolist()
        files = (Content(pack.get_file(row), pack.get_etag(row)) for row in rows)
    return (
        (model, file, pack_input.readings.select_device(model.device))
        for model, file in zip(models, files, strict=True)
    )


@dataclass(slots=True)
class _PackState:
    """The results of a pack while it is scored."""

    models: Sequence[Model]
    loaded: LoadedModels
    progress: ProgressCounter
    etags: dict[int, str] = field(default_factory=dict)  # of what was scored, where that is not what was planned
    results: dict[int, ModelResult] = field(default_factory=dict)
    rows: list[PredictionRows] = field(default_factory=list)
    predictions: list[tuple[int, Predictions]] = field(default_factory=list)

    def score_batch(self, kernel_input: KernelInput, cores: int) -> None:
        """Score models by the kernels; a model with scores that are not finite fails."""
        rows = kernel_input.score_rows(cores)
        ends = np.cumsum(rows.row_counts)
        anomalies = np.diff(np.concatenate([[0], np.cumsum(rows.anomaly)])[np.concatenate([[0], ends])])
        finite = np.isfinite(rows.score)
        if not finite.all():
            bad = np.add.reduceat(~finite, ends - rows.row_counts) > 0
            for index in rows.indices[bad].tolist():
                self.add_refusal(index, Unscorable(Reason.BAD_SCORES, "its scores are not finite"))
            rows, anomalies = rows.select_models(~bad), anomalies[~bad]
        changed = self.loaded.etags
        for index, count, n_anomalies in zip(
            rows.indices.tolist(), rows.row_counts.tolist(), anomalies.tolist(), strict=True
        ):
            self.results[index] = ModelResult(self.models[index].id, count, n_anomalies, etag=changed.get(index, ""))
        self.rows.append(rows)
        self.progress.completed += len(rows.indices)

    def add_outcomes(self, outcomes: Mapping[int, ModelOutcome]) -> None:
        """Add models that were scored one by one."""
        for index, outcome in outcomes.items():
            self.results[index] = outcome.result
            if outcome.predictions:
                self.predictions.append((index, outcome.predictions))
                self.etags[index] = outcome.predictions.etag
        self.progress.completed += len(outcomes)

    def add_refusal(self, index: int, error: Unscorable) -> None:
        """Add a model that cannot be scored."""
        etag = self.loaded.etags.get(index, "")
        self.results[index] = ModelResult(
            self.models[index].id, reason=error.reason, message=clip_text(str(error)), etag=etag
        )
        self.progress.completed += 1

    def build_output(self) -> PackOutput:
        """All results and rows, in the models' order."""
        results = tuple(self.results[index] for index in range(len(self.models)))
        failed = [v for v in results if v.reason and v.reason not in _LOGGED_ELSEWHERE]
        for result in failed[:LOG_LINES]:
            log.warning("model=%s failed: %s: %s", result.model, result.reason, result.message)
        if failed[LOG_LINES:]:
            log.warning("%s more models failed; the report names them", len(failed) - LOG_LINES)
        etags = [model.etag for model in self.models]
        for index, etag in (self.loaded.etags | self.etags).items():
            etags[index] = etag
        rows = [*self.rows, *([join_predictions(self.predictions)] if self.predictions else [])]
        return PackOutput(results, to_table(self.models, etags, rows))
