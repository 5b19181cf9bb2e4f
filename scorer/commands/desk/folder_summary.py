"""What the command `folder` says at its end: to a person, grouped by reason, or to a program as JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field

from shared.contract.domain import Task, Unmodelled
from shared.contract.fleet.ignored_files import IgnoredFiles
from shared.contract.outcomes import ModelResult
from shared.contract.reasons import Outcome, decide_outcome
from shared.contract.summaries.predicted import Predicted

from .unscored import (
    Output,
    count_outcomes,
    describe_groups,
    describe_ignored,
    group_unscored,
    list_reasons,
    name_options,
)

LABELS = 20  # that are named


@dataclass(frozen=True, slots=True)
class Summary:
    """The results of all models, and notes about what did not fail."""

    results: Sequence[ModelResult]
    windows: int
    predictions: str  # the folder
    notes: tuple[str, ...] = ()
    ignored: IgnoredFiles = field(default_factory=IgnoredFiles)  # beside the models
    unmodelled: Unmodelled | None = None  # None: not counted
    predicted: Predicted | None = None  # None: all models that were scored are detectors

    @property
    def exit_code(self) -> int:
        """1 where a model failed or none was scored, else 0."""
        counts = count_outcomes(self.results)
        return 1 if counts[Outcome.FAILED] or not counts[Outcome.SCORED] else 0

    def format(self, output: Output) -> str:
        """The text to print, without the last line's end."""
        if output is Output.JSON:
            return self._to_json()
        notes = (*self.notes, *describe_ignored(self.ignored), *_describe_unmodelled(self.unmodelled or Unmodelled()))
        lines = [f"note: {name_options(note)}" for note in notes]
        return "\n".join([*lines, *describe_groups(self.results, output), *self._describe_totals()])

    def _describe_totals(self) -> Iterator[str]:
        counts, anomalies = count_outcomes(self.results), sum(result.anomalies for result in self.results)
        total = sum(result.rows for result in self.results)
        rows = f"{total} rows"
        if self.predicted:
            yield from describe_predicted(self.predicted, anomalies)
            if self.predicted.readings != total:
                rows += f" for {self.predicted.readings} rows of readings"
        else:
            rows = f"{anomalies} anomalies in {rows}"
        yield (
            f"{counts[Outcome.SCORED]} of {len(self.results)} models scored, {counts[Outcome.FAILED]} failed, "
            f"{counts[Outcome.SKIPPED]} skipped; {rows}, {self.windows} windows, in {self.predictions}"
        )
        if not counts[Outcome.SCORED]:
            reason, results = max(group_unscored(self.results), key=lambda group: len(group[1]))
            yield f"nothing was scored: {reason} for {len(results)} of {len(self.results)} models"

    def _to_json(self) -> str:
        counts = count_outcomes(self.results)
        document = {
            "models": len(self.results),
            "scored": counts[Outcome.SCORED],
            "failed": counts[Outcome.FAILED],
            "skipped": counts[Outcome.SKIPPED],
            "rows": sum(result.rows for result in self.results),
            "anomalies": sum(result.anomalies for result in self.results),
            "windows": self.windows,
            "predictions": self.predictions,
            "notes": self.notes,
            "ignored": asdict(self.ignored),
            "unmodelled": asdict(self.unmodelled) if self.unmodelled else None,
            "predicted": asdict(self.predicted) if self.predicted else None,
            "reasons": list_reasons(self.results),
            "results": [
                {
                    "model": result.model,
                    "outcome": decide_outcome(result.reason),
                    "reason": result.reason,
                    "message": result.message,
                    "rows": result.rows,
                    "anomalies": result.anomalies,
                }
                for result in self.results
            ],
        }
        return json.dumps(document, indent=2, ensure_ascii=False)


def describe_predicted(predicted: Predicted, anomalies: int) -> Iterator[str]:
    """Lines about what models predicted, of which some are no detectors."""
    tasks = predicted.tasks
    yield ", ".join(f"{models} {task}{'s' * (models != 1)}" for task, models in tasks.items())
    if tasks.get(Task.DETECTOR):
        yield f"anomalies: {anomalies}, of detectors"
    if predicted.labels or predicted.other_labels:
        labels = [f"{count.label} {count.rows}" for count in predicted.labels[:LABELS]]
        rest = predicted.other_labels + sum(count.rows for count in predicted.labels[LABELS:])
        yield f"labels, by rows: {', '.join(labels)}{f', and {rest} with other labels' if rest else ''}"
    if predicted.predictions:
        numbers = predicted.predictions
        yield (
            f"predictions: {numbers.rows}, least {numbers.least:g}, mean {numbers.mean:g}, "
            f"greatest {numbers.greatest:g}"
        )


def _describe_unmodelled(unmodelled: Unmodelled) -> Iterator[str]:
    """A sentence about the devices that have readings and no model, if there are any."""
    count, examples = unmodelled.devices, unmodelled.examples
    if count:
        more = f" and {count - len(examples)} more" * (count > len(examples))
        yield f"{count} device{'s have' if count > 1 else ' has'} readings and no model: {', '.join(examples)}{more}"
