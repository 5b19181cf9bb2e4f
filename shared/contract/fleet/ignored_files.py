"""Counts the files beside the models that are no models, so that a person sees what was left out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from shared.contract.model_names import format_name

EXAMPLES = 20  # that are named
NAME_LIMIT = 200  # characters of each
ENDINGS = 30  # that are counted apart
NO_ENDING = "(none)"
OTHER_ENDINGS = "(other)"
# What stands beside models in any repository, and is meant as no model.
_SILENT = re.compile(r"readme.*|license.*|licence.*|.*\.md", re.IGNORECASE | re.DOTALL)
_ENDING = re.compile(r"[^/]*?[^/.](\.[^/.]{1,16})$")


def is_silent(name: str) -> bool:
    """Whether a file is meant as no model, so that nothing is said of it."""
    return _SILENT.fullmatch(name.rpartition("/")[2]) is not None


@dataclass(slots=True)
class IgnoredFiles:
    """Blobs in the models' container that are no models: their number, by ending, and the first few.

    README, LICENSE and Markdown files are not counted. The memory does not grow with the listing.
    """

    count: int = 0
    by_ending: dict[str, int] = field(default_factory=dict)  # `.csv`, in small letters
    examples: list[str] = field(default_factory=list)

    def append(self, name: str) -> None:
        """Count one."""
        if is_silent(name):
            return
        self.count += 1
        match = _ENDING.search(name.rpartition("/")[2])
        ending = format_name(match[1].lower()) if match else NO_ENDING
        if ending not in self.by_ending and len(self.by_ending) >= ENDINGS:
            ending = OTHER_ENDINGS
        self.by_ending[ending] = self.by_ending.get(ending, 0) + 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(format_name(name)[:NAME_LIMIT])

    def describe(self) -> str:
        """Such as `3 .csv, 1 .txt`; the most frequent first."""
        counts = sorted(self.by_ending.items(), key=lambda entry: (-entry[1], entry[0]))
        return ", ".join(f"{count} {ending}" for ending, count in counts)
