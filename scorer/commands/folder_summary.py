"""What the command `folder` says at its end: to a person, grouped by reason, or to a program as JSON. Pure."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from shared.contract.domain import Task, Unmodelled
from shared.contract.fleet.ignored_files import IgnoredFiles
from shared.contract.outcomes import ModelResult
from shared.contract.reasons import Outcome, Reason, decide_outcome
from shared.contract.summaries.predicted import Predicted

NAMES = 20  # models of a reason that are named without --verbose

# The settings of the app that the command has as options.
OPTIONS = {
    "BAD_ROWS": "--bad-rows",
    "FEATURES": "--features",
    "GAPS": "--gaps",
    "MISSING_VALUES": "--missing-values",
    "MODEL_NAMES": "--model-names",
    "OTHER_VERSIONS": "--other-versions",
    "PROBABILITIES": "--probabilities",
    "READINGS_COLUMNS": "--columns",
    "READINGS_PATH": "--readings-path",
    "READINGS_TIME_ZONE": "--time-zone",
    "TIME_FORMAT": "--time-format",
}


class Output(StrEnum):
    """How the summary is printed."""

    SHORT = "short"  # one example of each reason, and the names of some others
    VERBOSE = "verbose"  # each model that was not scored, with its message
    JSON = "json"


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
        counts = self._count_outcomes()
        return 1 if counts[Outcome.FAILED] or not counts[Outcome.SCORED] else 0

    def format(self, output: Output) -> str:
        """The text to print, without the last line's end."""
        if output is Output.JSON:
            return self._to_json()
        notes = (*self.notes, *describe_ignored(self.ignored), *_describe_unmodelled(self.unmodelled or Unmodelled()))
        lines = [f"note: {_name_options(note)}" for note in notes]
        for reason, results in self._group_unscored():
            lines += _describe_group(reason, results, verbose=output is Output.VERBOSE)
        return "\n".join([*lines, *self._describe_totals()])

    def _describe_totals(self) -> Iterator[str]:
        counts, anomalies = self._count_outcomes(), sum(result.anomalies for result in self.results)
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
            reason, results = max(self._group_unscored(), key=lambda group: len(group[1]))
            yield f"nothing was scored: {reason} for {len(results)} of {len(self.results)} models"

    def _to_json(self) -> str:
        counts = self._count_outcomes()
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
            "reasons": {
                reason: {"outcome": reason.outcome, "models": len(results), "advice": adapt_advice(reason)}
                for reason, results in self._group_unscored()
            },
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

    def _count_outcomes(self) -> dict[Outcome, int]:
        counts = dict.fromkeys(Outcome, 0)
        for result in self.results:
            counts[decide_outcome(result.reason)] += 1
        return counts

    def _group_unscored(self) -> list[tuple[Reason, list[ModelResult]]]:
        """The models that were not scored by reason: failures first, the largest group first."""
        groups = defaultdict[Reason, list[ModelResult]](list)
        for result in self.results:
            if result.reason:
                groups[result.reason].append(result)
        return sorted(groups.items(), key=lambda g: (g[0].outcome is Outcome.SKIPPED, -len(g[1]), g[0]))


def describe_predicted(predicted: Predicted, anomalies: int) -> Iterator[str]:
    """Lines about what models predicted, of which some are no detectors."""
    tasks = predicted.tasks
    yield ", ".join(f"{models} {task}{'s' * (models != 1)}" for task, models in tasks.items())
    if tasks.get(Task.DETECTOR):
        yield f"anomalies: {anomalies}, of detectors"
    if predicted.labels or predicted.other_labels:
        labels = [f"{count.label} {count.rows}" for count in predicted.labels[:NAMES]]
        rest = predicted.other_labels + sum(count.rows for count in predicted.labels[NAMES:])
        yield f"labels, by rows: {', '.join(labels)}{f', and {rest} with other labels' if rest else ''}"
    if predicted.predictions:
        numbers = predicted.predictions
        yield (
            f"predictions: {numbers.rows}, least {numbers.least:g}, mean {numbers.mean:g}, "
            f"greatest {numbers.greatest:g}"
        )


def describe_ignored(ignored: IgnoredFiles) -> Iterator[str]:
    """A sentence about the files beside the models that are none, if there are any."""
    if ignored.count:
        unnamed = ignored.count - len(ignored.examples)
        more = f" and {unnamed} more" if unnamed else ""
        yield f"ignored, as no models: {ignored.describe()}: {', '.join(ignored.examples)}{more}"


def _describe_unmodelled(unmodelled: Unmodelled) -> Iterator[str]:
    """A sentence about the devices that have readings and no model, if there are any."""
    count, examples = unmodelled.devices, unmodelled.examples
    if count:
        more = f" and {count - len(examples)} more" * (count > len(examples))
        yield f"{count} device{'s have' if count > 1 else ' has'} readings and no model: {', '.join(examples)}{more}"


def _describe_group(reason: Reason, results: Sequence[ModelResult], *, verbose: bool) -> Iterator[str]:
    first, *remaining = results
    yield f"{reason.outcome}: {len(results)} model{'s' * bool(remaining)}: {reason}"
    for result in results if verbose else [first]:
        yield f"  {result.model}: {_name_options(result.message)}"
    if remaining and not verbose:
        unnamed = len(remaining) - NAMES
        more = f" and {unnamed} more; --verbose names all" if unnamed > 0 else ""
        yield f"  also {', '.join(result.model for result in remaining[:NAMES])}{more}"
    yield f"  what to do: {adapt_advice(reason)}"


def adapt_advice(reason: Reason) -> str:
    """What to do about a reason, with the options of the command instead of the settings of the app."""
    return _name_options(reason.advice)


def _name_options(text: str) -> str:
    """The text with the options of the command in the place of the settings of the app, but where both are named."""
    return re.sub(r"\b[A-Z]+(?:_[A-Z]+)*\b(?! \(--)", lambda match: OPTIONS.get(match[0], match[0]), text)
