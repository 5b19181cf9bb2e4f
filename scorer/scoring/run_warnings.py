"""Warnings for a report, summed over a chunk: what a person should know, although nothing failed. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from scorer.families.base import Family
from scorer.library_versions import UNKNOWN, get_installed_version
from scorer.predictions.outcome import ModelOutcome
from scorer.readings.device_readings import REPEATED

LEFT_OUT = "rows lacked one of the features that their model expects and were left out"
SILENT = "models bear missing values and were scored without any value of one of their features"
ASSUMED = "models have no feature names and took the order of the files' columns: set FEATURES to say that it is right"
CONSTANT = (
    "models are isolation forests that were fitted on equal rows (model_is_constant): all rows get one score, and "
    "rounding decides on which side of the border it is"
)
KEPT = "models could not be scored once more with the rows that came late, and keep their earlier rows"
MANY = 0.05  # of the rows of a family; a person should know when more are left out
_FAMILIES = {
    Family.KEPT: "models that scikit-learn itself scores",
    Family.RBF: "OneClassSVM (rbf)",
    Family.POLY: "OneClassSVM (poly)",
    Family.SIGMOID: "OneClassSVM (sigmoid)",
    Family.LINEAR: "linear one-class SVMs",
    Family.ENVELOPE: "EllipticEnvelope",
    Family.FOREST: "IsolationForest",
    Family.STEPS: "all other models that kernels score",
}


@dataclass(slots=True)
class RunWarnings:
    """Warnings for the report, summed over a chunk: about what a person should know, although nothing failed."""

    counts: Counter[str] = field(default_factory=Counter)  # by the rest of the sentence
    scored_rows: Counter[Family] = field(default_factory=Counter)
    left_out_rows: Counter[Family] = field(default_factory=Counter)
    made_by: dict[str, dict[str, None]] = field(default_factory=dict)  # ids of models, by version

    def add_counts(self, counted: Iterable[tuple[int, str]]) -> None:
        """Add counts, each with the rest of its sentence."""
        for count, text in counted:
            self.counts[text] += count

    def add_outcome(self, outcome: ModelOutcome) -> None:
        """Add the warnings of a model that a worker process scored."""
        self.add_left_out(Family.KEPT, outcome.left_out)
        self.scored_rows[Family.KEPT] += outcome.result.rows
        self.add_counts([(outcome.repeated, REPEATED), (outcome.is_assumed, ASSUMED), (outcome.has_silent, SILENT)])
        self.add_counts([(outcome.is_constant, CONSTANT)])
        if outcome.made_by and outcome.result.reason is None:
            self.made_by.setdefault(outcome.made_by, {})[outcome.result.model] = None

    def add_rows(self, families: np.ndarray, row_counts: np.ndarray) -> None:
        """Add rows that were scored; a family and a count for each model."""
        for family, count in enumerate(np.bincount(families, row_counts).tolist()):
            self.scored_rows[Family(family)] += int(count)

    def add_left_out(self, family: Family, count: int) -> None:
        """Add rows that lacked a feature of a model."""
        self.left_out_rows[family] += count
        self.add_counts([(count, LEFT_OUT)])

    @property
    def sentences(self) -> tuple[str, ...]:
        """The warnings as sentences."""
        version_sentences = (
            f"{len(ids)} models {_describe_origin(version)}, such as {next(iter(ids))}"
            for version, ids in sorted(self.made_by.items())
        )
        return (
            *self._describe_left_out(),
            *(f"{count} {text}" for text, count in self.counts.items() if count),
            *version_sentences,
        )

    def _describe_left_out(self) -> Iterator[str]:
        """A sentence for each family that is not given many of its rows."""
        for family, count in sorted(self.left_out_rows.items()):
            total = self.scored_rows[family] + count
            if count > MANY * total:
                yield f"{count} of {total} rows of {_FAMILIES[family]} lacked a feature: GAPS says what becomes of them"


def _describe_origin(version: str) -> str:
    if version == UNKNOWN:
        return f"do not say which scikit-learn made them and were loaded by {get_installed_version()}"
    return f"were made by scikit-learn {version} and loaded by {get_installed_version()}"
