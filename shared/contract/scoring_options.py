"""What nodes take, and how far they go for it: settings of the app that travel in every manifest. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from .errors import Malformed


class BadRows(StrEnum):
    """What becomes of a row with a cell that is neither a number nor missing, or with a time that is none."""

    SKIP = "skip"  # it is counted and left out, of the models that would have used the cell
    FAIL = "fail"  # the models that would have used the cell fail


class TimeFormat(StrEnum):
    """How the files write instants. A column of timestamps says it by itself, and is taken under each of these."""

    ISO = "iso"  # ISO 8601; without an offset it is UTC
    S = "s"  # since 1970
    MS = "ms"
    US = "us"
    NS = "ns"


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """How a fleet's readings are taken."""

    bad_rows: BadRows = BadRows.SKIP
    time: TimeFormat = TimeFormat.ISO


class OtherVersion(StrEnum):
    """What becomes of a model that another scikit-learn made than the one that nodes have."""

    WARN = "warn"  # it is scored, and the report says so
    REFUSE = "refuse"  # it fails


@dataclass(frozen=True, slots=True)
class OtherVersions:
    """The same for each format of model files."""

    skops: OtherVersion = OtherVersion.WARN
    pickle: OtherVersion = OtherVersion.WARN

    @classmethod
    def parse(cls, text: str) -> Self:
        """`warn`, `refuse`, or by format: `skops=warn,pickle=refuse`. Raises Malformed."""
        try:
            if "=" not in text:
                return cls(OtherVersion(text), OtherVersion(text))
            pairs = [pair.strip().split("=", 1) for pair in text.split(",")]
            if len({kind for kind, _ in pairs}) < len(pairs):
                raise ValueError
            return replace(cls(), **{kind: OtherVersion(word) for kind, word in pairs})
        except (ValueError, TypeError):
            raise Malformed(f"expected warn, refuse, or skops=warn,pickle=refuse, got {text!r}") from None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one model may take, and what readings may take on a node."""

    model_bytes: int = 256 * 2**20  # of its file, packed or not
    model_seconds: float = 60.0  # from its file to its scores, where scikit-learn scores it
    model_memory: int = 4 * 2**30  # bytes, in the same case
    readings_memory: int = 2 * 2**30  # bytes, about; what is more is read in several passes


@dataclass(frozen=True, slots=True)
class ScoringOptions:
    """All of it."""

    readings: ReadingOptions = field(default_factory=ReadingOptions)
    other_versions: OtherVersions = field(default_factory=OtherVersions)
    limits: Limits = field(default_factory=Limits)

    def to_json(self) -> dict[str, Any]:
        """For a manifest."""
        return asdict(self)

    @classmethod
    def from_json(cls, doc: dict[str, Any]) -> Self:
        """Raises KeyError, TypeError, ValueError."""
        return cls(
            ReadingOptions(BadRows(doc["readings"]["bad_rows"]), TimeFormat(doc["readings"]["time"])),
            OtherVersions(*(OtherVersion(doc["other_versions"][kind]) for kind in OtherVersions.__slots__)),
            Limits(**doc["limits"]),
        )
