"""What the command `convert` says at its end: to a person, grouped by reason, or to a program as JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field

from shared.contract.fleet.ignored_files import IgnoredFiles
from shared.contract.model_names import format_name
from shared.contract.outcomes import ModelResult
from shared.contract.reasons import Outcome, Reason

from .unscored import Output, count_outcomes, describe_groups, describe_ignored, list_reasons


@dataclass(frozen=True, slots=True)
class Conversion:
    """A model, its file, and the file that was written, or why none was."""

    model: str
    name: str  # of its file
    target: str = ""
    reason: Reason | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class ConvertSummary:
    """The conversions of all models."""

    conversions: Sequence[Conversion]
    target: str  # the folder
    ignored: IgnoredFiles = field(default_factory=IgnoredFiles)  # beside the models

    @property
    def exit_code(self) -> int:
        """1 where a model was not converted, else 0."""
        return 1 if any(conversion.reason for conversion in self.conversions) else 0

    def format(self, output: Output) -> str:
        """The text to print, without the last line's end."""
        if output is Output.JSON:
            return self._to_json()
        lines = [f"note: {note}" for note in describe_ignored(self.ignored)]
        if output is Output.VERBOSE:
            lines += self._describe_converted()
        return "\n".join([*lines, *describe_groups(self._list_results(), output), self._describe_totals()])

    def _describe_converted(self) -> Iterator[str]:
        for conversion in self.conversions:
            if not conversion.reason:
                yield f"converted: {format_name(conversion.name)} -> {conversion.target}"

    def _list_results(self) -> list[ModelResult]:
        return [ModelResult(entry.model, reason=entry.reason, message=entry.message) for entry in self.conversions]

    def _describe_totals(self) -> str:
        counts = count_outcomes(self._list_results())
        skipped = f", {counts[Outcome.SKIPPED]} skipped" if counts[Outcome.SKIPPED] else ""
        return (
            f"{counts[Outcome.SCORED]} of {len(self.conversions)} models converted, {counts[Outcome.FAILED]} failed"
            f"{skipped}, in {self.target}"
        )

    def _to_json(self) -> str:
        results = self._list_results()
        counts = count_outcomes(results)
        document = {
            "models": len(self.conversions),
            "converted": counts[Outcome.SCORED],
            "failed": counts[Outcome.FAILED],
            "skipped": counts[Outcome.SKIPPED],
            "to": self.target,
            "ignored": asdict(self.ignored),
            "reasons": list_reasons(results),
            "results": [
                {
                    "model": entry.model,
                    "file": entry.name,
                    "outcome": entry.reason.outcome if entry.reason else "converted",
                    "reason": entry.reason,
                    "message": entry.message,
                    "written": entry.target or None,
                }
                for entry in self.conversions
            ],
        }
        return json.dumps(document, indent=2, ensure_ascii=False)
