"""All that the app and its nodes must agree on: the command, the manifest, the report, the progress.

Where these lie, `paths` says. Nothing here reads or writes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple, Self, TypeVar

from .domain import SKIPS, Failure, Model, Part, Reason, Tally, merge_failures, outcome_of
from .errors import Malformed
from .model_names import Columns
from .paths import parts_prefix
from .scoring_options import ScoringPolicy
from .windows import Window

SCHEMA = 1  # of manifest, report and plan; a reader refuses what it does not know
PARTS_LIMIT = 100  # of one report: they all stand in the chunk's row
MESSAGE_LIMIT = 300  # characters of an error's text that are kept for one model

_PART = re.compile(r"results/[\w-]+/[\w-]+/[\w-]+(\.[\w-]+)*", re.ASCII)


def command(
    manifest_url: str, attempt: int, *, careful: bool = False, carry: int = 0, pardon: bool = False
) -> tuple[str, ...]:
    """What every cluster runs. The node finds all else in the manifest.

    *carry* is the attempt whose report says which models were scored already: their rows are carried over from its
    parts, and only the others are scored. 0: all are scored. *careful*: in child processes. *pardon*: models too that
    the plan left out because they were in quarantine.
    """
    words = ("python", "-m", "scorer", "--manifest", manifest_url, "--attempt", str(attempt))
    flags = (*(("--careful",) if careful else ()), *(("--pardon",) if pardon else ()))
    return (*words, *flags, *(("--carry", str(carry)) if carry else ()))


def clip(message: str) -> str:
    """A message in one line that fits where it is kept, and that every log, table and document can hold."""
    legible = "".join(c if c.isprintable() or c.isspace() else "\ufffd" for c in message[: 10 * MESSAGE_LIMIT])
    line = " ".join(legible.split())
    return line if len(line) <= MESSAGE_LIMIT else line[: MESSAGE_LIMIT - 1] + "…"


@dataclass(frozen=True, slots=True)
class PackSpan:
    """The next so many models of a manifest, and the name of the pack that they share."""

    name: str
    models: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The order for one chunk: what to score, over which window, and where everything lies.

    `models_url`, `readings_url` and `work_url` are containers or folders; `readings_path` is a strftime pattern of
    the folder of an hour, or of one file, within the readings. `packs` cover the models from first to last, or there
    are none.
    """

    window: Window
    chunk: str
    models: tuple[Model, ...]
    models_url: str
    readings_url: str
    work_url: str
    readings_path: str = "date=%Y-%m-%d/hour=%H/"
    columns: Columns = field(default_factory=Columns)
    policy: ScoringPolicy = field(default_factory=ScoringPolicy)
    packs: tuple[PackSpan, ...] = ()

    def to_bytes(self) -> bytes:
        """JSON, columnar; the same manifest gives the same bytes."""
        head = {
            "schema": SCHEMA,
            "window": self.window.id,
            "chunk": self.chunk,
            "models_url": self.models_url,
            "readings_url": self.readings_url,
            "work_url": self.work_url,
            "readings_path": self.readings_path,
            "columns": asdict(self.columns),
            "policy": self.policy.to_json(),
            "packs": [[span.name, span.models] for span in self.packs],
            "models": [[getattr(m, name) for m in self.models] for name in ("device", "sensor", "name", "etag")],
            "refused": {i: m.refused for i, m in enumerate(self.models) if m.refused},
        }
        return json.dumps(head, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Raises Malformed."""

        def build(doc: dict[str, Any]) -> Manifest:
            devices, sensors, names, etags = (map(str, column) for column in doc["models"])
            models = [Model(*row) for row in zip(devices, sensors, names, etags, strict=True)]
            for i, reason in doc["refused"].items():
                models[int(i)] = replace(models[int(i)], refused=Reason(reason))
            packs = tuple(PackSpan(str(name), _count(count)) for name, count in doc["packs"])
            if packs and sum(span.models for span in packs) != len(models):
                raise ValueError(f"its packs are of {sum(span.models for span in packs)} models, it has {len(models)}")
            return cls(
                window=Window.parse(doc["window"]),
                chunk=doc["chunk"],
                models=tuple(models),
                models_url=doc["models_url"],
                readings_url=doc["readings_url"],
                work_url=doc["work_url"],
                readings_path=doc["readings_path"],
                columns=Columns(**doc["columns"]),
                policy=ScoringPolicy.from_json(doc["policy"]),
                packs=packs,
            )

        return _parse(data, "manifest", build)


class Verdict(NamedTuple):
    """How one model of a chunk ended: scored (*reason* is None), or failed or skipped for a reason.

    A tuple, since a run has one for each model: a frozen dataclass takes four times as long to make.
    """

    model: str  # its id
    rows: int = 0
    anomalies: int = 0
    reason: Reason | None = None
    message: str = ""
    etag: str = ""  # of what was scored, where that is not what the manifest named


@dataclass(frozen=True, slots=True)
class Report:
    """What a node says of a finished chunk: every model's verdict, in the manifest's order, and the parts.

    `warnings` are sentences for a person about what did not fail: columns left out, rows counted and ignored.
    """

    run: str
    chunk: str
    attempt: int
    started_at: datetime
    ended_at: datetime
    verdicts: tuple[Verdict, ...]
    parts: tuple[Part, ...]
    warnings: tuple[str, ...] = ()

    @property
    def tally(self) -> Tally:
        """The verdicts, counted."""
        reasons = Counter(v.reason for v in self.verdicts)
        skipped = sum(reasons[reason] for reason in SKIPS)
        return Tally(
            scored=reasons[None],
            failed=len(self.verdicts) - reasons[None] - skipped,
            skipped=skipped,
            rows=sum(v.rows for v in self.verdicts),
            anomalies=sum(v.anomalies for v in self.verdicts),
            seconds=max(0.0, (self.ended_at - self.started_at).total_seconds()),
        )

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What was not scored, grouped by reason."""
        return merge_failures(
            Failure(v.reason, outcome_of(v.reason), 1, v.model, v.message) for v in self.verdicts if v.reason
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
            "models": [v.model for v in self.verdicts],
            "rows": [v.rows for v in self.verdicts],
            "anomalies": [v.anomalies for v in self.verdicts],
            "reasons": {i: [v.reason, v.message] for i, v in enumerate(self.verdicts) if v.reason},
            "etags": {i: v.etag for i, v in enumerate(self.verdicts) if v.etag},
            "parts": [asdict(part) for part in self.parts],
            "warnings": self.warnings,
        }
        return json.dumps(doc, separators=(",", ":"), allow_nan=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Report:
        """Raises Malformed."""

        def build(doc: dict[str, Any]) -> Report:
            verdicts = [
                Verdict(model, _count(rows), _count(anomalies))
                for model, rows, anomalies in zip(doc["models"], doc["rows"], doc["anomalies"], strict=True)
            ]
            for i, (reason, message) in doc["reasons"].items():
                verdicts[int(i)] = verdicts[int(i)]._replace(reason=Reason(reason), message=clip(message))
            for i, etag in doc["etags"].items():
                verdicts[int(i)] = verdicts[int(i)]._replace(etag=str(etag))
            return cls(
                run=doc["run"],
                chunk=doc["chunk"],
                attempt=_count(doc["attempt"]),
                started_at=_instant(doc["started_at"]),
                ended_at=_instant(doc["ended_at"]),
                verdicts=tuple(verdicts),
                parts=tuple(
                    Part(str(p["path"]), _count(p["bytes"]), str(p["md5"]), _count(p["rows"])) for p in doc["parts"]
                ),
                warnings=tuple(map(str, doc["warnings"])),
            )

        return _parse(data, "report", build)

    def check(self, run: str, chunk: str, attempt: int, models: int) -> None:
        """That this report is the one asked for and adds up; raises Malformed. Storage is not asked."""
        found = (self.run, self.chunk, self.attempt, len(self.verdicts))
        if found != (run, chunk, attempt, models):
            raise Malformed(f"wanted the report of {run} {chunk}-{attempt} over {models} models, found {found}")
        written, told = sum(p.rows for p in self.parts), sum(v.rows for v in self.verdicts)
        if written != told:
            raise Malformed(f"report of {run} {chunk}-{attempt}: its parts hold {written} rows, its models {told}")
        if len(self.parts) > PARTS_LIMIT:
            raise Malformed(f"report of {run} {chunk}-{attempt}: wanted {PARTS_LIMIT} parts, found {len(self.parts)}")
        for part in self.parts:
            if not _PART.fullmatch(part.path) or not part.path.startswith(parts_prefix(run, chunk)):
                raise Malformed(f"report of {run} {chunk}-{attempt}: names a part outside its folder, {part.path!r}")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an attempt has come, by its own word: the metadata of its progress blob."""

    done: int
    models: int

    def to_metadata(self) -> dict[str, str]:
        """Metadata values are text everywhere."""
        return {"done": str(self.done), "models": str(self.models)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self:
        """Lenient: progress decides nothing, so what cannot be read is nothing done."""
        values = [metadata.get(key, "") for key in ("done", "models")]
        done, models = (int(v) if v.isdecimal() else 0 for v in values)
        return cls(min(done, models), models)


def digest(data: bytes) -> str:
    """Names a document by its content: 16 hex digits, far more than a run's chunks need."""
    return hashlib.sha256(data).hexdigest()[:16]


def _instant(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"wanted a time with an offset, found {text!r}")
    return found


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"wanted a count, found {value!r}")
    return value


T = TypeVar("T")


def _parse(data: bytes, what: str, build: Callable[[dict[str, Any]], T]) -> T:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    try:
        doc = json.loads(data, parse_constant=refuse)
        if doc["schema"] != SCHEMA:
            raise Malformed(f"{what}: wanted schema {SCHEMA}, found {doc['schema']!r}")
        return build(doc)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError, Malformed) as error:
        raise Malformed(f"{what}: {type(error).__name__}: {error}") from error
