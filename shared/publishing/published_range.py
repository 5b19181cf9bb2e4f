"""The range of runs that a person asks a sink to hold: the target of a request. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.contract.errors import Conflict, Malformed
from shared.contract.publishing.sinks import SinkKind
from shared.contract.windows import MINUTE, Window, parse_edge
from shared.state.requests import Request, RequestKind


@dataclass(frozen=True, slots=True)
class PublishedRange:
    """The runs whose windows start in *span*, at one sink."""

    sink: SinkKind
    span: Window

    @property
    def target(self) -> str:
        """The target of its request."""
        return f"{self.sink}-{self.span.id}"

    def make_request(self, now: datetime, *, again: bool) -> Request:
        """The request that the sink holds these runs; with *again* also those that it has."""
        return Request(RequestKind.REPUBLISH if again else RequestKind.PUBLISH, self.target, now)

    @classmethod
    def parse(cls, target: str) -> PublishedRange:
        """The inverse of `target`. Raises Malformed."""
        sink, _, span = target.partition("-")
        if sink not in set(SinkKind):
            raise Malformed(f"expected a sink and a range such as delta-20261101T0000Z-P30D, got {target!r}")
        return cls(SinkKind(sink), Window.parse(span))


def parse_ranges(
    start: str, end: str, chosen: Sequence[SinkKind] | None, kinds: Sequence[SinkKind]
) -> Sequence[PublishedRange]:
    """The range from *start* to *end*, each a window or an instant, at each of the *chosen* sinks; None: at all.

    *kinds*: the sinks that are set. Raises Malformed, and Conflict where no such sink is set.
    """
    first, last = parse_edge(start).start, parse_edge(end).end
    if not first < last:
        raise Malformed(f"expected a range that begins before it ends, got {first.isoformat()} to {last.isoformat()}")
    if (last - first) % MINUTE or first.second or first.microsecond:
        raise Malformed(f"expected a range of whole minutes, got {first.isoformat()} to {last.isoformat()}")
    sinks = kinds if chosen is None else list(dict.fromkeys(chosen))
    if not sinks or not set(sinks) <= set(kinds):
        expected = f"of {', '.join(kinds)}" if kinds else "in the setting SINKS, which is empty"
        raise Conflict(f"expected sinks {expected}, got {', '.join(sinks) or 'none'}")
    ranges = [PublishedRange(kind, Window(first, last - first)) for kind in sinks]
    return [PublishedRange.parse(interval.target) for interval in ranges]  # as a tick will read it
