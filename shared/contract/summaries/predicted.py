"""What models predicted, in numbers: how many of each task, their most frequent labels, the range of predictions. Pure.

A fleet of detectors has no such summary: its rows and anomalies are counted by model.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from shared.contract.documents import parse_count
from shared.contract.domain import Task
from shared.contract.text import clip_text

LABELS = 50  # that are named; rows with other labels are counted together
LABEL_LIMIT = 100  # characters of a named label: rows of a ledger hold them all


@dataclass(frozen=True, slots=True)
class LabelCount:
    """How many rows have a label. Labels that begin with the same 99 characters are counted as one."""

    label: str
    rows: int


@dataclass(frozen=True, slots=True)
class PredictionRange:
    """The predictions of some rows, of which there is one at least; all numbers are finite."""

    rows: int
    least: float
    mean: float
    greatest: float


@dataclass(frozen=True, slots=True)
class Predicted:
    """What scored models predicted. In a fleet of several tasks *labels* are of classifiers and clusterers together."""

    tasks: Mapping[str, int] = field(default_factory=dict)  # scored models by task; later versions may add tasks
    readings: int = 0  # rows of readings that were scored; a model with several outputs has more rows of predictions
    labels: tuple[LabelCount, ...] = ()  # the most frequent first; a further row of a class has no label
    other_labels: int = 0  # rows with labels that are not among those
    predictions: PredictionRange | None = None  # None: no row has one

    @classmethod
    def from_detectors(cls, models: int, rows: int) -> Self:
        """The summary of so many detectors, which have a row of predictions for each row of readings."""
        return cls({Task.DETECTOR: models} if models else {}, rows)

    @property
    def has_detectors_only(self) -> bool:
        """Whether no row has a label or a prediction."""
        return not (self.labels or self.other_labels or self.predictions)

    def to_json(self) -> dict[str, Any]:
        """For a report."""
        return {
            "tasks": self.tasks,
            "readings": self.readings,
            "labels": [[count.label, count.rows] for count in self.labels],
            "other_labels": self.other_labels,
            "predictions": asdict(self.predictions) if self.predictions else None,
        }

    @classmethod
    def from_json(cls, doc: Mapping[str, Any]) -> Predicted:
        """Raises KeyError, TypeError, ValueError. Texts are made legible."""
        predicted = cls(
            {clip_label(str(task)): parse_count(models) for task, models in doc["tasks"].items()},
            parse_count(doc["readings"]),
            tuple(LabelCount(clip_label(str(label)), parse_count(rows)) for label, rows in doc["labels"]),
            parse_count(doc["other_labels"]),
            None if doc["predictions"] is None else _parse_range(doc["predictions"]),
        )
        return limit_labels(predicted)


def clip_label(label: str) -> str:
    """The label, legible and of limited length."""
    text = clip_text(label)
    return text if len(text) <= LABEL_LIMIT else text[: LABEL_LIMIT - 1] + "…"


def merge_predicted(summaries: Iterable[Predicted]) -> Predicted:
    """The sum of summaries of different rows, with all their labels.

    Associative and commutative: counts, labels and bounds exactly, means up to rounding.
    """
    entries = list(summaries)
    tasks, labels = Counter[str](), Counter[str]()
    for entry in entries:
        tasks.update(entry.tasks)
        for count in entry.labels:
            labels[count.label] += count.rows
    return Predicted(
        dict(sorted(tasks.items())),
        sum(entry.readings for entry in entries),
        sort_labels(labels),
        sum(entry.other_labels for entry in entries),
        _merge_ranges([entry.predictions for entry in entries if entry.predictions]),
    )


def sort_labels(rows_of: Mapping[str, int]) -> tuple[LabelCount, ...]:
    """The labels of which there are rows, the most frequent first, by name where they are equally frequent."""
    entries = sorted(rows_of.items(), key=lambda item: (-item[1], item[0]))
    return tuple(LabelCount(label, rows) for label, rows in entries if rows)


def limit_labels(predicted: Predicted, limit: int = LABELS) -> Predicted:
    """The same with so many labels at most; the rows of the rarest are counted among the others."""
    rest = sum(count.rows for count in predicted.labels[limit:])
    return replace(predicted, labels=predicted.labels[:limit], other_labels=predicted.other_labels + rest)


def close_summary(predicted: Predicted) -> Predicted | None:
    """The summary as it is stored: with the most frequent labels; None for detectors alone."""
    return None if predicted.has_detectors_only else limit_labels(predicted)


def _merge_ranges(ranges: list[PredictionRange]) -> PredictionRange | None:
    if not ranges:
        return None
    rows = sum(item.rows for item in ranges)
    least, greatest = min(item.least for item in ranges), max(item.greatest for item in ranges)
    half = math.fsum(item.mean / 2 * (item.rows / rows) for item in ranges)  # of the mean: no sum overflows
    return PredictionRange(rows, least, min(max(2 * half, least), greatest), greatest)


def _parse_range(doc: Mapping[str, Any]) -> PredictionRange:
    least, mean, greatest = (_parse_number(doc[name]) for name in ("least", "mean", "greatest"))
    if not least <= mean <= greatest:
        raise ValueError(f"expected a mean from {least} to {greatest}, got {mean}")
    return PredictionRange(parse_count(doc["rows"]), least, mean, greatest)


def _parse_number(value: object) -> float:
    """A finite number; JSON has whole ones of any size."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(number := float(value)):
        raise ValueError(f"expected a finite number, got {value!r}")
    return number
