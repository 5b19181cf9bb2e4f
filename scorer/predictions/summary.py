"""What rows of predictions come to in summary, from their columns: tasks, labels, the range of predictions. Pure."""

from __future__ import annotations

from collections import Counter

import numpy as np

from shared.contract.domain import Task
from shared.contract.summaries.predicted import LabelCount, Predicted, PredictionRange, clip_label, sort_labels

from .rows import PredictionRows, Texts

_LARGE = 2.0**900  # numbers above it are scaled down before they are added
_SCALE = 2.0**-64


def summarize_rows(rows: PredictionRows) -> Predicted:
    """The summary of these rows, with all their labels; models without rows are not counted.

    A model's task follows from its columns: with anomalies it is a detector, then with predictions a regressor, then
    with labels and scores a clusterer. Rows without a label, such as those of single classes, count as none.
    """
    row_counts = rows.row_counts[rows.row_counts > 0]
    if rows.prediction is None and rows.label is None:
        return Predicted.from_detectors(len(row_counts), len(rows.time))
    first = np.cumsum(row_counts) - row_counts
    return Predicted(
        _count_tasks(rows, first),
        _count_readings(rows, first),
        () if rows.label is None else _count_labels(rows.label),
        predictions=None if rows.prediction is None else _measure_range(rows.prediction),
    )


def _count_tasks(rows: PredictionRows, first: np.ndarray) -> dict[str, int]:
    """How many models have each task; *first* are the indices of their first rows."""
    nothing = np.zeros(len(first), bool)
    is_detector = nothing if rows.anomaly is None else _has_anomalies(rows.anomaly[first])
    is_regressor = nothing if rows.prediction is None else ~np.isnan(rows.prediction[first])
    has_scores = nothing if rows.score is None else ~np.isnan(rows.score[first])
    tasks = np.select([is_detector, is_regressor, has_scores], [0, 1, 2], 3)
    counts = np.bincount(tasks, minlength=4).tolist()
    names = (Task.DETECTOR, Task.REGRESSOR, Task.CLUSTERER, Task.CLASSIFIER)
    return {str(task): count for task, count in sorted(zip(names, counts, strict=True)) if count}


def _has_anomalies(anomaly: np.ndarray) -> np.ndarray:
    """A mask of rows that say whether they are anomalies: bool says it always, -1 of int8 does not."""
    mask: np.ndarray = np.ones(len(anomaly), bool) if anomaly.dtype == bool else anomaly >= 0
    return mask


def _count_readings(rows: PredictionRows, first: np.ndarray) -> int:
    """The rows of readings: the different times of each model."""
    if rows.output is None:
        return len(rows.time)
    is_new = np.ones(len(rows.time), bool)
    is_new[1:] = rows.time[1:] != rows.time[:-1]
    is_new[first] = True
    return int(np.count_nonzero(is_new))


def _count_labels(label: Texts) -> tuple[LabelCount, ...]:
    counts = np.bincount(label.codes[label.codes >= 0], minlength=len(label.names)).tolist()
    rows_of = Counter[str]()
    for name, count in zip(label.names, counts, strict=True):
        rows_of[clip_label(name)] += count
    return sort_labels(rows_of)


def _measure_range(prediction: np.ndarray) -> PredictionRange | None:
    """The range of the predictions of rows that have one. Large numbers are scaled, so that no sum overflows."""
    numbers = prediction[~np.isnan(prediction)]
    if not len(numbers):
        return None
    least, greatest = float(numbers.min()), float(numbers.max())
    scale = _SCALE if max(-least, greatest) > _LARGE else 1.0
    mean = float(np.mean(numbers if scale == 1 else numbers * scale)) / scale
    return PredictionRange(len(numbers), least, min(max(mean, least), greatest), greatest)
