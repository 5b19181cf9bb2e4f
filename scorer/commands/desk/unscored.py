"""Models that a command did not score or convert, grouped by reason: for a person, or for a program as JSON. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any

from shared.contract.fleet.ignored_files import IgnoredFiles
from shared.contract.outcomes import ModelResult
from shared.contract.reasons import Outcome, Reason, decide_outcome

NAMES = 20  # models of a reason that are named without --verbose

# The settings of the app that the commands have as options.
OPTIONS = {
    "BAD_ROWS": "--bad-rows",
    "FEATURES": "--features",
    "GAPS": "--gaps",
    "MISSING_VALUES": "--missing-values",
    "MODEL_FORMATS": "--model-formats",
    "MODEL_NAMES": "--model-names",
    "OTHER_VERSIONS": "--other-versions",
    "PREDICTIONS_SCHEMA": "--predictions-schema",
    "PROBABILITIES": "--probabilities",
    "READINGS_COLUMNS": "--columns",
    "READINGS_CSV": "--csv",
    "READINGS_PATH": "--readings-path",
    "READINGS_TIME_ZONE": "--time-zone",
    "TIME_FORMAT": "--time-format",
}


class Output(StrEnum):
    """How a summary is printed."""

    SHORT = "short"  # one example of each reason, and the names of some others
    VERBOSE = "verbose"  # each model with its message
    JSON = "json"


def count_outcomes(results: Sequence[ModelResult]) -> dict[Outcome, int]:
    """How many models have each outcome, those of none too."""
    counts = dict.fromkeys(Outcome, 0)
    for result in results:
        counts[decide_outcome(result.reason)] += 1
    return counts


def group_unscored(results: Sequence[ModelResult]) -> list[tuple[Reason, list[ModelResult]]]:
    """The models that have a reason, by it: failures first, the largest group first."""
    groups = defaultdict[Reason, list[ModelResult]](list)
    for result in results:
        if result.reason:
            groups[result.reason].append(result)
    return sorted(groups.items(), key=lambda g: (g[0].outcome is Outcome.SKIPPED, -len(g[1]), g[0]))


def describe_groups(results: Sequence[ModelResult], output: Output) -> Iterator[str]:
    """The lines about each reason: how many models, an example or all of them, and what to do."""
    for reason, group in group_unscored(results):
        yield from _describe_group(reason, group, verbose=output is Output.VERBOSE)


def list_reasons(results: Sequence[ModelResult]) -> dict[str, dict[str, Any]]:
    """The reasons for a program: outcome, number of models, and what to do."""
    return {
        reason: {"outcome": reason.outcome, "models": len(group), "advice": adapt_advice(reason)}
        for reason, group in group_unscored(results)
    }


def describe_ignored(ignored: IgnoredFiles) -> Iterator[str]:
    """A sentence about the files beside the models that are none, if there are any."""
    if ignored.count:
        unnamed = ignored.count - len(ignored.examples)
        more = f" and {unnamed} more" if unnamed else ""
        yield f"ignored, as no models: {ignored.describe()}: {', '.join(ignored.examples)}{more}"


def _describe_group(reason: Reason, results: Sequence[ModelResult], *, verbose: bool) -> Iterator[str]:
    first, *remaining = results
    yield f"{reason.outcome}: {len(results)} model{'s' * bool(remaining)}: {reason}"
    for result in results if verbose else [first]:
        yield f"  {result.model}: {name_options(result.message)}"
    if remaining and not verbose:
        unnamed = len(remaining) - NAMES
        more = f" and {unnamed} more; --verbose names all" if unnamed > 0 else ""
        yield f"  also {', '.join(result.model for result in remaining[:NAMES])}{more}"
    yield f"  what to do: {adapt_advice(reason)}"


def adapt_advice(reason: Reason) -> str:
    """What to do about a reason, with the options of the command instead of the settings of the app."""
    return name_options(reason.advice)


def name_options(text: str) -> str:
    """The text with the options of the command in the place of the settings of the app, but where both are named."""
    return re.sub(r"\b[A-Z]+(?:_[A-Z]+)*\b(?! \(--)", lambda match: OPTIONS.get(match[0], match[0]), text)
