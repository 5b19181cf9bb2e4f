"""The chunks of a run, and the manifests of a further round, as documents. Pure. docs/contract.md has their fields."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.contract.documents import NEWEST, check_needs, parse_count, parse_document
from shared.contract.errors import Malformed, Misconfigured
from shared.state.runs import Chunk, Run

KNOWN_NEEDS = frozenset[str]()  # what a plan may name in `needs` (see `check_needs`)


@dataclass(frozen=True, slots=True)
class Planner:
    """Who made a plan: the app, and its containers by their URLs. Apps that share a working container differ in it."""

    app: str = ""
    models_url: str = ""
    predictions_url: str = ""

    def check_same(self, run: str, other: Planner) -> None:
        """Raise Misconfigured where *other*, which reads the plan of *run*, is not this one."""
        if other != self:
            raise Misconfigured(
                f"run {run} was planned by app {self.app} with {self.models_url} and {self.predictions_url}; this is "
                f"app {other.app} with {other.models_url} and {other.predictions_url}: give each app a "
                "WORK_CONTAINER of its own"
            )


@dataclass(frozen=True, slots=True)
class Plan:
    """The chunks of a run, committed by one create-once write. Never edited. Schema 1 does not know the planner."""

    chunks: tuple[Chunk, ...]
    ignored: int = 0
    planner: Planner | None = None
    schema: int = NEWEST  # that it is written in
    ignored_endings: Mapping[str, int] = field(default_factory=dict)  # how many of the ignored blobs have each ending
    ignored_examples: tuple[str, ...] = ()  # the first of them, by name

    @property
    def models(self) -> int:
        """The number of models in the plan."""
        return sum(chunk.models for chunk in self.chunks)

    def to_bytes(self) -> bytes:
        """JSON; the same plan gives the same bytes."""
        rows = [[c.id, c.manifest, c.models, c.first, c.last] for c in self.chunks]
        doc: dict[str, Any] = {"schema": self.schema, "ignored": self.ignored, "chunks": rows}
        if self.schema > 1:
            planner = self.planner or Planner()
            doc |= {
                "app": planner.app,
                "models_url": planner.models_url,
                "predictions_url": planner.predictions_url,
                "ignored_endings": dict(sorted(self.ignored_endings.items())),
                "ignored_examples": list(self.ignored_examples),
                "needs": [],
            }
        return json.dumps(doc, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, run: Run, data: bytes, now: datetime) -> Plan:
        """The plan as waiting chunks of the run's round, since *now*; raises Malformed."""

        def build_plan(doc: dict[str, Any]) -> Plan:
            check_needs(doc, KNOWN_NEEDS)
            chunks = tuple(_parse_chunk(run, row, now) for row in doc["chunks"])
            planner = Planner(*(str(doc[name]) for name in Planner.__slots__)) if doc["schema"] > 1 else Planner()
            return cls(
                chunks,
                parse_count(doc["ignored"]),
                planner if planner != Planner() else None,
                doc["schema"],
                {str(ending): parse_count(count) for ending, count in doc.get("ignored_endings", {}).items()},
                tuple(map(str, doc.get("ignored_examples", ()))),
            )

        return parse_document(data, f"plan of run {run.id}", build_plan)


def _parse_chunk(run: Run, row: Sequence[Any], now: datetime) -> Chunk:
    chunk, manifest, models, first, last = row
    count = parse_count(models)
    return Chunk(run.id, str(chunk), str(manifest), count, str(first), str(last), since=now, round=run.round)


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """The manifest of each chunk in a further round, by the chunk's id; committed by one create-once write."""

    round: int
    manifests: Mapping[str, str] = field(default_factory=dict)  # digests

    def to_bytes(self) -> bytes:
        """JSON; the same plan gives the same bytes."""
        doc = {"schema": NEWEST, "round": self.round, "manifests": dict(sorted(self.manifests.items())), "needs": []}
        return json.dumps(doc, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes, run: str, number: int) -> RoundPlan:
        """The plan of round *number* of *run*; raises Malformed."""

        def build_round(doc: dict[str, Any]) -> RoundPlan:
            check_needs(doc, KNOWN_NEEDS)
            if parse_count(doc["round"]) != number:
                raise Malformed(f"expected round {number}, got {doc['round']}")
            return cls(number, {str(chunk): str(digest) for chunk, digest in doc["manifests"].items()})

        return parse_document(data, f"plan of round {number} of run {run}", build_round)
