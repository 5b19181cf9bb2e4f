"""What a node reports about a chunk: its progress, and at the end the report. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self

from .documents import SCHEMA, parse_count, parse_document, parse_instant
from .domain import SKIPS, Failure, Part, Reason, Tally, decide_outcome, merge_failures
from .errors import Malformed
from .paths import parts_prefix
from .text import clip_text

PARTS_LIMIT = 100  # of one report: the chunk's row holds them all

_PART = re.compile(r"results/[\w-]+/[\w-]+/[\w-]+(\.[\w-]+)*", re.ASCII)


class ModelResult(NamedTuple):
    """How one model of a chunk ended: scored (*reason* is None), or failed or skipped for a reason.

    A tuple, since a run has one for each model: a frozen dataclass takes four times as long to create.
    """

    model: str  # its id
    rows: int = 0
    anomalies: int = 0
    reason: Reason | None = None
    message: str = ""
    etag: str = ""  # of the scored file, if it is not that of the manifest


@dataclass(frozen=True, slots=True)
class Report:
    """The report of a finished chunk: every model's result, in the manifest's order, and the parts.

    `warnings` are sentences for people about what did not fail: columns left out, rows ignored.
    """

    run: str
    chunk: str
    attempt: int
    started_at: datetime
    ended_at: datetime
    results: tuple[ModelResult, ...]
    parts: tuple[Part, ...]
    warnings: tuple[str, ...] = ()
    version: str = ""  # of the scorer that wrote it; nodes before 0.2.0 did not say

    @property
    def tally(self) -> Tally:
        """The results, counted."""
        reasons = Counter(v.reason for v in self.results)
        skipped = sum(reasons[reason] for reason in SKIPS)
        return Tally(
            scored=reasons[None],
            failed=len(self.results) - reasons[None] - skipped,
            skipped=skipped,
            rows=sum(v.rows for v in self.results),
            anomalies=sum(v.anomalies for v in self.results),
            seconds=max(0.0, (self.ended_at - self.started_at).total_seconds()),
        )

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The models that were not scored, grouped by reason."""
        return merge_failures(
            Failure(v.reason, decide_outcome(v.reason), 1, v.model, v.message) for v in self.results if v.reason
        )

    def to_bytes(self) -> bytes:
        """JSON, columnar: a scored model costs two small integers."""
        doc = {
            "schema": SCHEMA,
            "run": self.run,
            "chunk": self.chunk,
            "attempt": self.attempt,
            "started_at": self.started_at.isoformat(),
            "ended_at": self.ended_at.isoformat(),
            "models": [v.model for v in self.results],
            "rows": [v.rows for v in self.results],
            "anomalies": [v.anomalies for v in self.results],
            "reasons": {i: [v.reason, v.message] for i, v in enumerate(self.results) if v.reason},
            "etags": {i: v.etag for i, v in enumerate(self.results) if v.etag},
            "parts": [asdict(part) for part in self.parts],
            "warnings": self.warnings,
            "version": self.version,
        }
        return json.dumps(doc, separators=(",", ":"), allow_nan=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Report:
        """Raises Malformed."""

        def build_report(doc: dict[str, Any]) -> Report:
            results = [
                ModelResult(model, parse_count(rows), parse_count(anomalies))
                for model, rows, anomalies in zip(doc["models"], doc["rows"], doc["anomalies"], strict=True)
            ]
            for i, (reason, message) in doc["reasons"].items():
                results[int(i)] = results[int(i)]._replace(reason=Reason(reason), message=clip_text(message))
            for i, etag in doc["etags"].items():
                results[int(i)] = results[int(i)]._replace(etag=str(etag))
            return cls(
                run=doc["run"],
                chunk=doc["chunk"],
                attempt=parse_count(doc["attempt"]),
                started_at=parse_instant(doc["started_at"]),
                ended_at=parse_instant(doc["ended_at"]),
                results=tuple(results),
                parts=tuple(
                    Part(str(p["path"]), parse_count(p["bytes"]), str(p["md5"]), parse_count(p["rows"]))
                    for p in doc["parts"]
                ),
                warnings=tuple(map(str, doc["warnings"])),
                version=clip_text(str(doc.get("version", ""))),
            )

        return parse_document(data, "report", build_report)

    def check_against(self, run: str, chunk: str, attempt: int, models: int) -> None:
        """Check that this is the expected report and that it is consistent; raises Malformed. Reads no storage."""
        identity = (self.run, self.chunk, self.attempt, len(self.results))
        if identity != (run, chunk, attempt, models):
            raise Malformed(f"expected the report of {run} {chunk}-{attempt} over {models} models, got {identity}")
        written, reported = sum(p.rows for p in self.parts), sum(v.rows for v in self.results)
        if written != reported:
            raise Malformed(f"report of {run} {chunk}-{attempt}: its parts hold {written} rows, its models {reported}")
        if len(self.parts) > PARTS_LIMIT:
            raise Malformed(f"report of {run} {chunk}-{attempt}: expected {PARTS_LIMIT} parts, got {len(self.parts)}")
        for part in self.parts:
            if not _PART.fullmatch(part.path) or not part.path.startswith(parts_prefix(run, chunk)):
                raise Malformed(f"report of {run} {chunk}-{attempt}: names a part outside its folder, {part.path!r}")


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of an attempt as the node reports it: the metadata of its progress blob."""

    done: int
    models: int

    def to_metadata(self) -> dict[str, str]:
        """Metadata values are text everywhere."""
        return {"done": str(self.done), "models": str(self.models)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self:
        """Never raises: progress decides nothing, so values that cannot be read count as 0."""
        values = [metadata.get(key, "") for key in ("done", "models")]
        count, models = (int(v) if v.isdecimal() else 0 for v in values)
        return cls(min(count, models), models)
