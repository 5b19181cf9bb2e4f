"""Which sinks runs are published to, and what their jobs are given."""

from __future__ import annotations

from dataclasses import dataclass

from shared.contract.publishing.sinks import SinkKind


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """A sink that is set. *target*: names and texts for its jobs' manifests, without any password."""

    kind: SinkKind
    target: tuple[tuple[str, str], ...] = ()
