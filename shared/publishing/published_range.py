"""The range of runs that a person asks a sink to hold: the target of a request. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from shared.contract.errors import Malformed
from shared.contract.publishing.sinks import SinkKind
from shared.contract.windows import Window


@dataclass(frozen=True, slots=True)
class PublishedRange:
    """The runs whose windows start in *span*, at one sink."""

    sink: SinkKind
    span: Window

    @property
    def target(self) -> str:
        """The target of its request."""
        return f"{self.sink}-{self.span.id}"

    @classmethod
    def parse(cls, target: str) -> PublishedRange:
        """The inverse of `target`. Raises Malformed."""
        sink, _, span = target.partition("-")
        if sink not in set(SinkKind):
            raise Malformed(f"expected a sink and a range such as delta-20261101T0000Z-P30D, got {target!r}")
        return cls(SinkKind(sink), Window.parse(span))
