"""How the models of a chunk ended, in columns. Pure."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from .domain import Failure, Tally, merge_failures
from .reasons import Outcome, Reason

MODEL_IS_CONSTANT = "model_is_constant"  # remark: an isolation forest that gives one score to all rows
_NONE: Mapping[int, Any] = MappingProxyType({})


class ModelResult(NamedTuple):
    """How one model of a chunk ended: scored (*reason* is None), or failed or skipped for a reason."""

    model: str  # its id
    rows: int = 0  # of predictions
    anomalies: int = 0
    reason: Reason | None = None
    message: str = ""
    etag: str = ""  # of the scored file, if it is not that of the manifest


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How each model ended, in the manifest's order. What few models have is by the model's index.

    *ids* are those of all models, or, in a report of schema 2 as the app reads it, "" for models that were scored:
    the manifest has them.
    """

    ids: Sequence[str]
    rows: Sequence[int]  # of predictions
    anomalies: Sequence[int]
    reasons: Mapping[int, tuple[Reason, str]] = field(default_factory=lambda: _NONE)  # of those not scored; messages
    etags: Mapping[int, str] = field(default_factory=lambda: _NONE)  # of scored files that are not the manifest's
    readings: Sequence[int] | None = None  # rows that were scored; None: a row of predictions for each
    tracebacks: Mapping[int, str] = field(default_factory=lambda: _NONE)
    remarks: Mapping[int, str] = field(default_factory=lambda: _NONE)  # on models that were scored: a code

    @classmethod
    def from_results(cls, results: Sequence[ModelResult]) -> Outcomes:
        """The columns of these results."""
        return cls(
            [result.model for result in results],
            array("Q", [result.rows for result in results]),
            array("Q", [result.anomalies for result in results]),
            {i: (result.reason, result.message) for i, result in enumerate(results) if result.reason},
            {i: result.etag for i, result in enumerate(results) if result.etag},
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[ModelResult]:
        return (self.get_result(index) for index in range(len(self)))

    def get_result(self, index: int) -> ModelResult:
        """The result of one model."""
        reason, message = self.reasons.get(index, (None, ""))
        return ModelResult(
            self.ids[index],
            int(self.rows[index]),
            int(self.anomalies[index]),
            reason,
            message,
            self.etags.get(index, ""),
        )

    def list_unscored(self) -> Sequence[ModelResult]:
        """The results of the models that failed or were skipped."""
        return [self.get_result(index) for index in sorted(self.reasons)]

    def list_poison(self) -> Sequence[ModelResult]:
        """The results of the models that belong into quarantine."""
        return [self.get_result(index) for index, (reason, _) in sorted(self.reasons.items()) if reason.is_poison]

    def make_tally(self, seconds: float) -> Tally:
        """The results, counted; *seconds* of work on a node."""
        counts = Counter(reason for reason, _ in self.reasons.values())
        skipped = sum(count for reason, count in counts.items() if reason.outcome is Outcome.SKIPPED)
        return Tally(
            scored=len(self) - len(self.reasons),
            failed=len(self.reasons) - skipped,
            skipped=skipped,
            rows=sum(self.rows),
            anomalies=sum(self.anomalies),
            seconds=seconds,
        )

    def group_failures(self) -> tuple[Failure, ...]:
        """The models that were not scored, grouped by reason."""
        return merge_failures(
            Failure(reason, reason.outcome, 1, self.ids[index], message)
            for index, (reason, message) in sorted(self.reasons.items())
        )


def join_outcomes(outcomes: Sequence[Outcomes], ids: Sequence[str]) -> Outcomes:
    """The outcomes of packs, one after the other, as those of one chunk with these *ids*."""
    rows, anomalies, readings = array("Q"), array("Q"), array("Q")
    reasons: dict[int, tuple[Reason, str]] = {}
    etags, tracebacks, remarks = dict[int, str](), dict[int, str](), dict[int, str]()
    for pack in outcomes:
        start = len(rows)
        rows.extend(pack.rows)
        anomalies.extend(pack.anomalies)
        readings.extend(pack.rows if pack.readings is None else pack.readings)
        reasons |= {start + i: reason for i, reason in pack.reasons.items()}
        for joined, part in ((etags, pack.etags), (tracebacks, pack.tracebacks), (remarks, pack.remarks)):
            joined |= {start + i: text for i, text in part.items()}
    apart = any(pack.readings is not None for pack in outcomes)
    return Outcomes(ids, rows, anomalies, reasons, etags, readings if apart else None, tracebacks, remarks)
