"""What chains of steps predicted, as rows of predictions: all models at once, and no Python loop over rows.

A regressor of several outputs has a row for each, a classifier with PROBABILITIES=all one more for each class. The
rules are those of estimators/, which score the models that are no chains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scorer.kernels import dispatch
from scorer.packs.pack import Pack
from scorer.predictions.rows import PredictionRows, Texts
from scorer.predictions.table import expand_ranges
from shared.contract.domain import Task
from shared.contract.scoring_options import Probabilities

from .batching import KernelInput

_NO_ANOMALY = -1


@dataclass(frozen=True, slots=True)
class ChainResult:
    """The rows of the models that gave finite numbers; *failed* are the places of the others in the kernel's input."""

    rows: PredictionRows
    row_counts: np.ndarray  # int64: rows of readings of each model in *rows*
    failed: np.ndarray  # int64


@dataclass(frozen=True, slots=True)
class _Rows:
    """Where each row of predictions comes from."""

    model: np.ndarray  # int64: the place of its model
    reading: np.ndarray  # int64: the index of its row of readings
    output: np.ndarray  # int64: the index of its first output
    part: np.ndarray  # int64: which of the rows for one row of readings it is, from 0


@dataclass(frozen=True, slots=True)
class _Traits:
    """What the models predict, an element for each."""

    task: np.ndarray  # int8: the place in `Task`
    n_outputs: np.ndarray  # int64
    has_probability: np.ndarray  # bool
    classes: np.ndarray  # int64: which list of classes
    per_row: np.ndarray  # int64: rows of predictions for one row of readings


_TASKS = list(Task)


def score_chains(kernel_input: KernelInput, pack: Pack, cores: int, probabilities: Probabilities) -> ChainResult:
    """Score models that are chains of steps, which *kernel_input* has from *pack*."""
    batch = kernel_input.batch
    traits = _read_traits(pack, kernel_input.rows, probabilities)
    outputs, labels = dispatch.predict_batch(batch, traits.n_outputs, cores)
    is_good = _find_good(outputs, batch.n_rows * traits.n_outputs)
    places = _locate_rows(batch.n_rows, traits, np.flatnonzero(is_good))
    rows = _build_rows(kernel_input, traits, places, outputs, labels, pack.classes[1])
    row_counts = (batch.n_rows * traits.per_row)[is_good]
    return ChainResult(
        PredictionRows(kernel_input.indices[is_good], row_counts, **rows),
        batch.n_rows[is_good],
        np.flatnonzero(~is_good),
    )


def _read_traits(pack: Pack, rows: np.ndarray, probabilities: Probabilities) -> _Traits:
    task_codes, tasks = pack.tasks
    places = np.array([_TASKS.index(task) if task else -1 for task in tasks], np.int8)
    task, n_outputs = places[task_codes[rows]], pack.get_numbers("outputs")[rows].astype(np.int64)
    has_probability = pack.get_numbers("probability")[rows]
    per_row = np.where(task == _TASKS.index(Task.REGRESSOR), n_outputs, 1)
    if probabilities is Probabilities.ALL:
        per_row = np.where((task == _TASKS.index(Task.CLASSIFIER)) & has_probability, 1 + n_outputs, per_row)
    return _Traits(task, n_outputs, has_probability, pack.classes[0][rows].astype(np.int64), per_row)


def _find_good(outputs: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """A mask of the models of which all outputs are finite."""
    is_finite = np.isfinite(outputs)
    if is_finite.all():
        return np.ones(len(counts), bool)
    n_bad = np.concatenate([[0], np.cumsum(~is_finite)])
    ends = np.cumsum(counts)
    good: np.ndarray = n_bad[ends] == n_bad[ends - counts]
    return good


def _locate_rows(n_rows: np.ndarray, traits: _Traits, models: np.ndarray) -> _Rows:
    per_row = traits.per_row[models]
    counts = n_rows[models] * per_row
    model, within = np.repeat(models, counts), expand_ranges(np.zeros(len(models), np.int64), counts)
    row, part = np.divmod(within, traits.per_row[model])
    first_reading = np.cumsum(n_rows) - n_rows
    n_totals = n_rows * traits.n_outputs
    first_output = np.cumsum(n_totals) - n_totals
    return _Rows(model, first_reading[model] + row, first_output[model] + row * traits.n_outputs[model], part)


def _build_rows(
    kernel_input: KernelInput,
    traits: _Traits,
    places: _Rows,
    outputs: np.ndarray,
    labels: np.ndarray,
    classes: list[tuple[str, ...]],
) -> dict[str, Any]:
    """The columns of the rows, by name; one that no row has is None."""
    columns: dict[str, Any] = {"time": kernel_input.time[places.reading]}
    columns["value"] = None if kernel_input.value is None else kernel_input.value[places.reading]
    task, label = traits.task[places.model], labels[places.reading]
    is_regressor, is_detector = task == _TASKS.index(Task.REGRESSOR), task == _TASKS.index(Task.DETECTOR)
    is_classifier, is_clusterer = task == _TASKS.index(Task.CLASSIFIER), task == _TASKS.index(Task.CLUSTERER)
    columns["prediction"] = _select_numbers(is_regressor, outputs, places.output + places.part)
    columns["score"] = _select_numbers(is_detector | is_clusterer, outputs, places.output)
    has_share = is_classifier & traits.has_probability[places.model]
    share = places.output + np.where(places.part == 0, label, places.part - 1)
    columns["probability"] = _select_numbers(has_share, outputs, share)
    if is_detector.any():
        anomaly = np.where(is_detector, label, _NO_ANOMALY).astype(np.int8)
        columns["anomaly"] = anomaly.astype(bool) if is_detector.all() else anomaly
    list_of_row, is_labelled = traits.classes[places.model], (is_classifier & (places.part == 0)) | is_clusterer
    columns["label"] = _select_texts(is_labelled, list_of_row, label, classes)
    columns["output"] = _name_outputs(is_classifier & (places.part > 0), is_regressor, traits, places, classes)
    return columns


def _select_numbers(is_used: np.ndarray, outputs: np.ndarray, index: np.ndarray) -> np.ndarray | None:
    if not is_used.any():
        return None
    numbers: np.ndarray
    if is_used.all():
        numbers = outputs[index]
        return numbers
    numbers = np.full(len(index), np.nan)
    numbers[is_used] = outputs[index[is_used]]
    return numbers


def _select_texts(
    is_used: np.ndarray, list_of_row: np.ndarray, place: np.ndarray, lists: list[tuple[str, ...]]
) -> Texts | None:
    """The text at *place* of each row's list, where one is used; None where none is."""
    if not is_used.any():
        return None
    code_of: dict[str, int] = {}
    codes = np.array([code_of.setdefault(text, len(code_of)) for texts in lists for text in texts], np.int32)
    sizes = np.array([len(texts) for texts in lists])
    starts = np.cumsum(sizes) - sizes
    chosen = np.full(len(is_used), -1, np.int32)
    chosen[is_used] = codes[starts[list_of_row[is_used]] + place[is_used]]
    return Texts(chosen, tuple(code_of))


def _name_outputs(
    is_class: np.ndarray,
    is_regressor: np.ndarray,
    traits: _Traits,
    places: _Rows,
    classes: list[tuple[str, ...]],
) -> Texts | None:
    """Which output a row is of: a class, or the number of one of several outputs of a regressor."""
    is_numbered = is_regressor & (traits.n_outputs[places.model] > 1)
    if not is_class.any() and not is_numbered.any():
        return None
    most = int(traits.n_outputs.max())
    lists = [*classes, tuple(map(str, range(most)))]
    list_of_row = np.where(is_numbered, len(classes), traits.classes[places.model])
    place = np.where(is_numbered, places.part, places.part - 1)
    return _select_texts(is_class | is_numbered, list_of_row, place, lists)
