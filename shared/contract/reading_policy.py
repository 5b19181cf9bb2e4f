"""How readings are taken: what a cell that cannot be used does, and how instants are written. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
class Policy:
    """How a fleet's readings are taken."""

    bad_rows: BadRows = BadRows.SKIP
    time: TimeFormat = TimeFormat.ISO
