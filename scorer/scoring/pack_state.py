"""The outcomes of one pack's models while it is scored, and what becomes of them. Logs the first failures."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from scorer.arrow import are_finite
from scorer.errors import Unscorable
from scorer.families.base import COUNT, Family
from scorer.packs.cache import LoadedModels
from scorer.packs.pack import Pack
from scorer.predictions.outcome import ModelOutcome
from scorer.predictions.rows import PredictionRows, Predictions, join_predictions
from scorer.predictions.summary import summarize_rows
from scorer.predictions.table import to_table
from shared.contract.model_list import ModelList
from shared.contract.outcomes import MODEL_IS_CONSTANT, ModelResult, Outcomes
from shared.contract.reasons import Outcome, Reason, decide_outcome
from shared.contract.scoring_options import Probabilities
from shared.contract.summaries.predicted import Predicted, limit_labels, merge_predicted
from shared.contract.text import clip_text

from .batching import KernelInput
from .chains import score_chains

COUNTED_LABELS = 10_000  # different labels that are counted while a chunk is scored: memory is bounded
LOG_LINES = 20  # in the log about failed models, for each pack; the report has them all

log = logging.getLogger(__name__)


@dataclass(slots=True)
class ProgressCounter:
    """How many models are done. One thread counts, another reads."""

    completed: int = 0


@dataclass(frozen=True, slots=True)
class PackOutput:
    """How a pack's models ended, in their order, and their rows."""

    outcomes: Outcomes
    rows: pa.Table
    predicted: Predicted = field(default_factory=Predicted)  # what they come to

    @property
    def results(self) -> tuple[ModelResult, ...]:
        """The result of each model: an object each."""
        return tuple(self.outcomes)


class PackState:
    """The outcomes of a pack while it is scored, in arrays by the model's index."""

    def __init__(self, models: ModelList, loaded: LoadedModels, progress: ProgressCounter) -> None:
        self.models = models
        self.loaded = loaded
        self.progress = progress
        self.is_over = np.zeros(len(models), bool)
        self.row_counts = np.zeros(len(models), np.int64)
        self.reading_counts: dict[int, int] = {}  # rows of readings, where a model has several rows for each
        self.anomaly_counts = np.zeros(len(models), np.int64)
        self.reasons: dict[int, tuple[Reason, str]] = {}
        self.changed_etags = dict(loaded.etags)  # of what was read, where that is not what was planned
        self.scored_etags: dict[int, str] = {}  # of models that were scored one by one
        self.rows: list[PredictionRows] = []
        self.predictions: list[tuple[int, Predictions]] = []
        self.remarks: dict[int, str] = {}

    def score_batch(self, kernel_input: KernelInput, cores: int) -> None:
        """Score models by the kernels; a model with scores that are not finite fails."""
        rows = kernel_input.score_rows(cores)
        assert rows.score is not None
        assert rows.anomaly is not None
        anomalies = _count_flags(rows.anomaly, rows.row_counts)
        if not are_finite(rows.score):
            bad = _count_flags(~np.isfinite(rows.score), rows.row_counts) > 0
            for index in rows.indices[bad].tolist():
                self.add_refusal(index, Unscorable(Reason.BAD_SCORES, "its scores are not finite"))
            rows, anomalies = rows.select_models(~bad), anomalies[~bad]
        self.is_over[rows.indices] = True
        self.row_counts[rows.indices] = rows.row_counts
        self.anomaly_counts[rows.indices] = anomalies
        self.rows.append(rows)
        self.progress.completed += len(rows.indices)

    def score_chains(self, kernel_input: KernelInput, cores: int, probabilities: Probabilities) -> list[int]:
        """Score models that are chains of steps; returns those whose numbers are not finite, which are not over."""
        result = score_chains(kernel_input, self.loaded.pack, cores, probabilities)
        rows = result.rows
        self.is_over[rows.indices] = True
        self.row_counts[rows.indices] = rows.row_counts
        if rows.anomaly is not None:
            self.anomaly_counts[rows.indices] = _count_flags(rows.anomaly > 0, rows.row_counts)
        is_wide = rows.row_counts != result.row_counts
        pairs = zip(rows.indices[is_wide].tolist(), result.row_counts[is_wide].tolist(), strict=True)
        self.reading_counts.update(pairs)
        if len(rows.indices):
            self.rows.append(rows)
        self.progress.completed += len(rows.indices)
        failed: list[int] = kernel_input.indices[result.failed].tolist()
        return failed

    def add_outcomes(self, outcomes: Mapping[int, ModelOutcome]) -> None:
        """Add models that were scored one by one."""
        for index, outcome in outcomes.items():
            result = outcome.result
            self.is_over[index] = True
            self.row_counts[index], self.anomaly_counts[index] = result.rows, result.anomalies
            if result.reason:
                self.reasons[index] = result.reason, result.message
            if result.etag:
                self.changed_etags[index] = result.etag
            else:
                self.changed_etags.pop(index, None)
            if outcome.is_constant:
                self.remarks[index] = MODEL_IS_CONSTANT
            if outcome.predictions:
                self.predictions.append((index, outcome.predictions))
                if outcome.predictions.output is not None:
                    self.reading_counts[index] = outcome.predictions.count_readings()
                self.scored_etags[index] = outcome.predictions.etag
        self.progress.completed += len(outcomes)

    def add_refusal(self, index: int, error: Unscorable) -> None:
        """Add a model that cannot be scored."""
        self.is_over[index] = True
        self.reasons[index] = error.reason, clip_text(str(error))
        self.progress.completed += 1

    def keep_earlier(self, earlier: Mapping[str, ModelOutcome]) -> int:
        """Give models that could not be scored the outcome of an earlier attempt, where it has one; returns how many.

        *earlier* is by the model's id.
        """
        if not earlier:
            return 0
        outcomes = {index: earlier[id_] for index in self.reasons if (id_ := self.models[index].id) in earlier}
        for number, index in enumerate(outcomes):
            reason, message = self.reasons.pop(index)
            if number >= LOG_LINES:
                continue
            log.warning("model=%s keeps its rows of before: %s: %s", self.models[index].id, reason, message)
        self.add_outcomes(outcomes)
        self.progress.completed -= len(outcomes)
        return len(outcomes)

    def add_remarks(self) -> int:
        """Add the remarks on models that the kernels scored; returns on how many."""
        if not len(self.loaded.pack):
            return 0
        scored = np.concatenate([np.empty(0, np.int64), *(rows.indices for rows in self.rows)])
        constant = scored[_find_constant(self.loaded.pack)[self.loaded.rows[scored]]].tolist()
        self.remarks |= dict.fromkeys(constant, MODEL_IS_CONSTANT)
        return len(constant)

    def build_output(self) -> PackOutput:
        """All outcomes and rows, in the models' order."""
        outcomes = Outcomes(
            self.models.ids,
            to_unsigned(self.row_counts),
            to_unsigned(self.anomaly_counts),
            dict(sorted(self.reasons.items())),
            dict(sorted(self.changed_etags.items())),
            self._count_readings(),
            remarks=dict(sorted(self.remarks.items())),
        )
        failed = [v for v in outcomes.list_unscored() if _is_logged_here(v.reason)]
        for result in failed[:LOG_LINES]:
            log.warning("model=%s failed: %s: %s", result.model, result.reason, result.message)
        if failed[LOG_LINES:]:
            log.warning("%s more models failed; the report names them", len(failed) - LOG_LINES)
        etags = self.models.read_texts("etag")
        if changed := self.loaded.etags | self.scored_etags:
            etags = list(etags)
            for index, etag in changed.items():
                etags[index] = etag
        rows = [*self.rows, *([join_predictions(self.predictions)] if self.predictions else [])]
        return PackOutput(outcomes, to_table(self.models, etags, rows), merge_predicted(map(summarize_rows, rows)))

    def _count_readings(self) -> Sequence[int] | None:
        """The rows of readings that were scored for each model; None where each has a row of predictions."""
        if not self.reading_counts:
            return None
        counts = self.row_counts.copy()
        counts[list(self.reading_counts)] = list(self.reading_counts.values())
        return to_unsigned(counts)


def add_predicted(total: Predicted, output: PackOutput) -> Predicted:
    """What the models of the packs so far predicted, and those of a further one."""
    return limit_labels(merge_predicted([total, output.predicted]), COUNTED_LABELS)


def _count_flags(flags: np.ndarray, row_counts: np.ndarray) -> np.ndarray:
    """How many of each model's rows are flagged, int64; *flags*: bool, model after model."""
    ends = np.cumsum(row_counts)
    flagged = np.flatnonzero(flags)  # few are anomalies: cheaper than a running count of all rows
    counts: np.ndarray = np.diff(np.searchsorted(flagged, ends), prepend=0)
    return counts


def to_unsigned(counts: np.ndarray) -> Sequence[int]:
    """Counts as an array of the standard library, for the contract."""
    return array("Q", counts.astype(np.uint64).tobytes())


def _find_constant(pack: Pack) -> np.ndarray:
    """A mask of the rows of forests of which no tree splits: as many nodes as trees."""
    (number_at, numbers), (integer_at, _) = pack.numbers, pack.integers
    forests = np.flatnonzero((pack.get_numbers("family") == Family.FOREST) & pack.find_loaded())
    constant = np.zeros(len(pack), bool)
    trees = numbers[number_at[forests] + COUNT]
    # Integers of a forest: a root for each tree, and three for each node.
    constant[forests] = np.diff(integer_at)[forests] == 4 * trees
    return constant


def _is_logged_here(reason: Reason | None) -> bool:
    """A broken file of readings is logged once, by its name, not once for each model."""
    return decide_outcome(reason) is Outcome.FAILED and reason is not Reason.UNREADABLE_READINGS
