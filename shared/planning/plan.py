"""The chunks of a run, as one document. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.contract.documents import SCHEMA
from shared.contract.errors import Malformed
from shared.state.runs import Chunk, Run


@dataclass(frozen=True, slots=True)
class Plan:
    """The chunks of a run, committed by one create-once write. Never edited."""

    chunks: tuple[Chunk, ...]
    ignored: int = 0

    @property
    def models(self) -> int:
        """The number of models in the plan."""
        return sum(chunk.models for chunk in self.chunks)

    def to_bytes(self) -> bytes:
        """JSON; the same plan gives the same bytes."""
        rows = [[c.id, c.manifest, c.models, c.first, c.last] for c in self.chunks]
        return json.dumps({"schema": SCHEMA, "ignored": self.ignored, "chunks": rows}, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, run: Run, data: bytes, now: datetime) -> Plan:
        """The plan as waiting chunks of the run's round, since *now*; raises Malformed."""
        try:
            doc: dict[str, Any] = json.loads(data)
            if doc["schema"] != SCHEMA:
                raise Malformed(f"expected schema {SCHEMA}, got {doc['schema']!r}")
            rows = [
                Chunk(run.id, str(chunk), str(manifest), int(models), str(first), str(last), since=now, round=run.round)
                for chunk, manifest, models, first, last in doc["chunks"]
            ]
            return cls(tuple(rows), int(doc["ignored"]))
        except (KeyError, TypeError, ValueError, Malformed) as error:
            raise Malformed(f"plan of run {run.id}: {error}") from error
