"""The settings of the app for nodes, which every manifest carries. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from .errors import Malformed


class BadRows(StrEnum):
    """What happens to a row with a cell that is neither a number nor missing, or with an invalid time."""

    SKIP = "skip"  # it is counted, and left out for the models that use the cell
    FAIL = "fail"  # the models that use the cell fail


class TimeFormat(StrEnum):
    """The form of instants in the files. A column of timestamps is accepted with each of these."""

    ISO = "iso"  # ISO 8601; without an offset it is UTC
    S = "s"  # since 1970
    MS = "ms"
    US = "us"
    NS = "ns"


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """How a fleet's readings are read."""

    bad_rows: BadRows = BadRows.SKIP
    time: TimeFormat = TimeFormat.ISO


class OtherVersion(StrEnum):
    """What happens to a model of another scikit-learn version than that of the nodes."""

    WARN = "warn"  # it is scored, with a warning in the report
    REFUSE = "refuse"  # it fails


@dataclass(frozen=True, slots=True)
class OtherVersions:
    """The choice for each format of model files."""

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
    """The limits of one model, and of readings on a node."""

    model_bytes: int = 256 * 2**20  # of its file, compressed or not
    model_seconds: float = 60.0  # from its file to its scores, if scikit-learn scores it
    model_memory: int = 4 * 2**30  # bytes, in the same case
    readings_memory: int = 2 * 2**30  # bytes, about; more is read in several passes


@dataclass(frozen=True, slots=True)
class ScoringOptions:
    """All options of a node."""

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
