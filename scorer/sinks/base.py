"""What every sink does, and the error of one that does not take a run."""

from __future__ import annotations

from typing import Protocol

from shared.contract.publishing.documents import PublicationItem, PublicationResult
from shared.contract.publishing.sinks import SinkReason

from .parts import Parts


class SinkError(Exception):
    """A sink does not take a run: the reason, and a message that says what was expected, what came and where.

    *ahead*: of AHEAD, the revision that the sink has.
    """

    def __init__(self, reason: SinkReason, message: str, ahead: int = 0) -> None:
        super().__init__(message)
        self.reason = reason
        self.ahead = ahead


def make_ahead_error(place: str, item: PublicationItem, version: int) -> SinkError:
    """AHEAD: *place* stores a later *version* than that of *item*, or the same one of other content."""
    revision = version // 2
    message = f"{place} has revision {revision} of {item.run}, expected at most {item.revision}"
    return SinkError(SinkReason.AHEAD, message, ahead=revision)


class Sink(Protocol):
    """A target that holds each run once, whatever is killed when."""

    def publish(self, item: PublicationItem, parts: Parts) -> PublicationResult:
        """Let the sink hold what *item* says, in one transaction, and return that.

        Where the sink holds just that already, nothing is written. A sink that has a greater revision of the run, or
        the same one with other content, is not changed: AHEAD. Raises SinkError; then the sink may have taken it or
        not.
        """

    def close(self) -> None:
        """Release what it holds. Safe to repeat."""
