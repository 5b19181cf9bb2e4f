"""All that the app and its nodes must agree on: paths, job names, the manifest, the report, the progress.

Paths lie in the working container (`fleetscore`) unless they say otherwise. Nothing here reads or writes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Self, TypeVar

from .domain import Failure, Model, Outcome, Part, Reason, Tally, merge_failures, outcome_of
from .errors import Malformed
from .names import Columns
from .scoring_policy import ScoringPolicy
from .windows import Window

SCHEMA = 1  # of manifest, report and plan; a reader refuses what it does not know
PARTS_LIMIT = 100  # of one report: they all stand in the chunk's row
MESSAGE_LIMIT = 300  # characters of an error's text that are kept for one model

_JOB = re.compile(r"(?P<app>.+)-(?P<run>\d{8}T\d{4}Z-P[0-9DTHM]+)-(?P<chunk>c\d+)-(?P<attempt>\d+)")
_PART = re.compile(r"results/[\w-]+/[\w-]+/[\w-]+(\.[\w-]+)*", re.ASCII)
_SIGN = re.compile(r"runs/[^/]+/signs/(?P<chunk>c\d+)-(?P<attempt>\d+)\.(?P<kind>progress|report)")


def chunk_id(index: int) -> str:
    """`c00042`: sorts by index up to the most chunks that a run may have."""
    return f"c{index:05d}"


def job_name(app: str, run: str, chunk: str, attempt: int) -> str:
    """The idempotency key of an attempt, at every cluster."""
    return f"{app}-{run}-{chunk}-{attempt}"


def parse_job_name(name: str) -> tuple[str, str, int] | None:
    """(run, chunk, attempt) of a name that `job_name` made; None for any other."""
    found = _JOB.fullmatch(name)
    return (found["run"], found["chunk"], int(found["attempt"])) if found else None


RUNS_PREFIX = "runs/"


def run_prefix(run: str) -> str:
    """Where all of a run lies but its parts: plans, manifests, signs, logs."""
    return f"{RUNS_PREFIX}{run}/"


def plan_path(run: str, number: int = 0) -> str:
    """Create-once: the write that makes the manifests a plan. An extension of the run has a plan of its own."""
    return f"{run_prefix(run)}plan{f'-{number}' if number else ''}.json"


def manifest_path(run: str, digest: str) -> str:
    """Named by its content, so that writing it twice is writing it once."""
    return f"{run_prefix(run)}manifests/{digest}.json"


def signs_prefix(run: str) -> str:
    """Where one listing finds every progress and every report of a run."""
    return f"{run_prefix(run)}signs/"


def progress_path(run: str, chunk: str, attempt: int) -> str:
    """An empty blob; its metadata is the progress, its etag the sign of life."""
    return f"{signs_prefix(run)}{chunk}-{attempt}.progress"


def report_path(run: str, chunk: str, attempt: int) -> str:
    """Create-once, written last."""
    return f"{signs_prefix(run)}{chunk}-{attempt}.report"


def parse_sign(path: str) -> tuple[str, int, str] | None:
    """(chunk, attempt, "progress" or "report") of a path under `signs_prefix`; None for any other."""
    found = _SIGN.fullmatch(path)
    return (found["chunk"], int(found["attempt"]), found["kind"]) if found else None


def log_path(run: str, chunk: str, attempt: int) -> str:
    """What the job printed, where the cluster has no place of its own for that."""
    return f"{run_prefix(run)}logs/{chunk}-{attempt}.log"


def pack_path(name: str) -> str:
    """Where a pack lies: a cache, which outlives runs and may be deleted at any time."""
    return f"packs/{name}.pack"


def results_prefix(run: str) -> str:
    """Where all parts of a run lie, chosen or not."""
    return f"results/{run}/"


def parts_prefix(run: str, chunk: str) -> str:
    """Where the processes of a chunk write, each under a random name of its own."""
    return f"{results_prefix(run)}{chunk}/"


def predictions_prefix(window: Window) -> str:
    """Where all of a run's committed parts lie in the predictions' container, and those of no other run."""
    return f"date={window.start:%Y-%m-%d}/hour={window.start:%H}/{window.id}-"


def prediction_prefix(window: Window, chunk: str) -> str:
    """The same of one chunk."""
    return f"{predictions_prefix(window)}{chunk}-"


def prediction_path(window: Window, chunk: str, index: int) -> str:
    """Where part *index* of a chunk lies in the predictions' container once it is committed."""
    return f"{prediction_prefix(window, chunk)}{index}.parquet"


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
    """A message in one line that fits where it is kept."""
    line = " ".join(message.split())
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
        """JSON; the same manifest gives the same bytes."""
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
            "models": [[m.device, m.sensor, m.name, m.etag, m.refused] for m in self.models],
        }
        return json.dumps(head, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Raises Malformed."""

        def build(doc: dict[str, Any]) -> Manifest:
            models = [
                Model(str(d), str(s), str(n), str(e), Reason(r) if r else None) for d, s, n, e, r in doc["models"]
            ]
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


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one model of a chunk ended: scored (*reason* is None), or failed or skipped for a reason."""

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
        count = dict.fromkeys(Outcome, 0)
        for verdict in self.verdicts:
            count[outcome_of(verdict.reason)] += 1
        return Tally(
            scored=count[Outcome.SCORED],
            failed=count[Outcome.FAILED],
            skipped=count[Outcome.SKIPPED],
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
                verdicts[int(i)] = replace(verdicts[int(i)], reason=Reason(reason), message=clip(message))
            for i, etag in doc["etags"].items():
                verdicts[int(i)] = replace(verdicts[int(i)], etag=str(etag))
            return cls(
                run=doc["run"],
                chunk=doc["chunk"],
                attempt=_count(doc["attempt"]),
                started_at=datetime.fromisoformat(doc["started_at"]),
                ended_at=datetime.fromisoformat(doc["ended_at"]),
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
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, Malformed) as error:
        raise Malformed(f"{what}: {type(error).__name__}: {error}") from error
