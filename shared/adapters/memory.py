"""The ports in memory: for tests, and for trying the control plane without servers.

They pass the same contract suite as the real adapters. What a test does to them (end a job, forget one) are methods
besides those of the port.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice

from shared.contract.errors import Conflict, Malformed, NotFound, Protected
from shared.contract.model_names import Blob
from shared.ports import BlobInfo, Blobs, JobSpec, JobStatus, Page, Refusal
from shared.state.requests import Backfill, Quarantined, Request, RequestKind
from shared.state.runs import Chunk, Heartbeat, JobState, Nodes, Run


@dataclass(slots=True)
class Tokens:
    """Etags and versions: never the same twice. All stores share one source, but for those that are given another."""

    last: int = 0

    def make(self) -> str:
        self.last += 1
        return f"{self.last:06d}"


SHARED_TOKENS = Tokens()


@dataclass(frozen=True, slots=True)
class _Content:
    data: bytes
    etag: str
    metadata: Mapping[str, str]


class MemoryBlobs:
    """A container in memory. `write` replaces a blob, as a node or a person does."""

    def __init__(self, url: str = "memory://blobs", tokens: Tokens = SHARED_TOKENS) -> None:
        self._url = url
        self._tokens = tokens
        self._blobs: dict[str, _Content] = {}
        self._protected: set[str] = set()

    @property
    def url(self) -> str:
        return self._url

    def describe_missing(self) -> str:
        return ""

    def list_blobs(self, prefix: str = "") -> Iterator[Blob]:
        for name in sorted(self._blobs):
            if name.startswith(prefix) and (content := self._blobs.get(name)):
                yield Blob(name, content.etag, len(content.data))

    def list_names(self, prefix: str, limit: int) -> Sequence[str]:
        return [blob.name for blob in islice(self.list_blobs(prefix), limit)]

    def describe_blobs(self, prefix: str) -> Iterator[BlobInfo]:
        for blob in list(self.list_blobs(prefix)):
            yield self.read_properties(blob.name)

    def read_properties(self, name: str) -> BlobInfo:
        content = self._get_content(name)
        md5 = base64.b64encode(hashlib.md5(content.data, usedforsecurity=False).digest()).decode()
        return BlobInfo(name, content.etag, len(content.data), md5, content.metadata)

    def read(self, name: str) -> bytes:
        return self._get_content(name).data

    def create(self, name: str, data: bytes) -> bool:
        if name in self._blobs:
            return False
        self.write(name, data)
        return True

    def write(self, name: str, data: bytes, metadata: Mapping[str, str] | None = None) -> str:
        """Replace, and return the new etag."""
        self._blobs[name] = _Content(data, self._tokens.make(), dict(metadata or {}))
        return self._blobs[name].etag

    def protect(self, name: str) -> None:
        """Protect a blob, as a lease does that somebody holds."""
        self._protected.add(name)

    def end_protection(self, name: str) -> None:
        """End the protection of a blob."""
        self._protected.discard(name)

    def copy(self, source: Blobs, path: str, name: str, replaces: str | None) -> BlobInfo:
        data = source.read(path)
        content = self._blobs.get(name)
        if (content.etag if content else None) != replaces:
            raise Conflict(f"{self._url}/{name}: expected etag {replaces}, got {content.etag if content else None}")
        self._check_protection(name)
        self.write(name, data)
        return self.read_properties(name)

    def delete(self, name: str, etag: str | None = None) -> None:
        if name in self._blobs and etag in (None, self._blobs[name].etag):
            self._check_protection(name)
            self._blobs.pop(name, None)

    def _check_protection(self, name: str) -> None:
        if name in self._protected:
            raise Protected(f"{self._url}/{name}: 412 LeaseIdMissing", "a lease (LeaseIdMissing)")

    def _get_content(self, name: str) -> _Content:
        try:
            return self._blobs[name]
        except KeyError:
            raise NotFound(f"no blob {self._url}/{name}") from None


class MemoryCluster:
    """A cluster whose jobs start and end when a test says so."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobSpec] = {}  # every name that was ever used
        self.sightings: dict[str, JobStatus] = {}
        self.logs: dict[str, str] = {}

    def submit(self, jobs: Sequence[JobSpec]) -> Mapping[str, Refusal]:
        refusals = {}
        for job in jobs:
            first = self.jobs.setdefault(job.name, job)
            self.sightings.setdefault(job.name, JobStatus(JobState.QUEUED))
            if first.digest != job.digest:
                refusals[job.name] = Refusal(f"job {job.name} exists with other content", name_taken=True)
        return refusals

    def observe(self, runs: Collection[str]) -> Mapping[str, JobStatus]:
        return {name: status for name, status in self.sightings.items() if self.jobs[name].run in runs}

    def cancel(self, names: Collection[str]) -> None:
        for name in names:
            if name in self.sightings and not self.sightings[name].state.over:
                self.set_state(name, JobState.CANCELLED)

    def read_log(self, name: str) -> str:
        try:
            return self.logs[name]
        except KeyError:
            raise NotFound(f"no log of job {name}") from None

    def count_nodes(self) -> Nodes:
        running = sum(status.state is JobState.RUNNING for status in self.sightings.values())
        return Nodes(running, running, {"running": running} if running else {})

    def release(self, run: str) -> None:
        for name in [name for name in self.sightings if self.jobs[name].run == run]:
            self.sightings.pop(name)
            self.logs.pop(name, None)

    def set_state(self, name: str, state: JobState, detail: str = "") -> None:
        """Set the state that the cluster reports for a job."""
        self.sightings[name] = JobStatus(state, detail)

    def forget_job(self, name: str) -> None:
        """Forget a job and free its name, as a restarted scheduler does."""
        self.sightings.pop(name, None)
        self.jobs.pop(name, None)


@dataclass(slots=True)
class MemoryStopwatch:
    """Stands still until a caller sleeps by it, or a test moves it."""

    now: float = 0.0

    def read_seconds(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass(slots=True)
class MemoryLedger:
    """The ledger in memory."""

    tokens: Tokens = field(default_factory=lambda: SHARED_TOKENS)
    _heartbeat: Heartbeat = field(default_factory=Heartbeat)
    _runs: dict[str, Run] = field(default_factory=dict)
    _watched: set[str] = field(default_factory=set)
    _chunks: dict[str, dict[str, Chunk]] = field(default_factory=dict)
    _requests: dict[str, Request] = field(default_factory=dict)
    _backfills: dict[str, Backfill] = field(default_factory=dict)
    _quarantine: dict[str, Quarantined] = field(default_factory=dict)

    def read_heartbeat(self) -> Heartbeat:
        return self._heartbeat

    def save_heartbeat(self, beat: Heartbeat) -> Heartbeat:
        _check_version(self._heartbeat.version, beat.version, "the heartbeat")
        self._heartbeat = replace(beat, version=self.tokens.make())
        return self._heartbeat

    def add_run(self, run: Run) -> bool:
        if run.id in self._runs:
            return False
        self._runs[run.id] = replace(run, version=self.tokens.make())
        if not run.phase.terminal:
            self._watched.add(run.id)
        return True

    def read_run(self, run_id: str) -> Run:
        try:
            return self._runs[run_id]
        except KeyError:
            raise NotFound(f"no run {run_id}") from None

    def list_runs(self, limit: int, cursor: str | None = None) -> Page[Run]:
        newest = sorted(self._runs.values(), key=lambda r: (r.window.start, r.id), reverse=True)
        if cursor is not None:
            after = cursor.split("|")
            if len(after) != 2:  # noqa: PLR2004  # start|id
                raise Malformed(f"expected a cursor of an earlier page, got {cursor!r}")
            newest = [r for r in newest if [r.window.start.isoformat(), r.id] < after]
        page = tuple(newest[:limit])
        more = len(newest) > limit
        return Page(page, f"{page[-1].window.start.isoformat()}|{page[-1].id}" if more else None)

    def list_runs_in(self, start: datetime, end: datetime) -> Iterator[Run]:
        runs = [run for run in self._runs.values() if start <= run.window.start < end]
        yield from sorted(runs, key=lambda r: (r.window.start, r.id), reverse=True)

    def list_watched_runs(self) -> Sequence[Run]:
        return [self._runs[run_id] for run_id in sorted(self._watched)]

    def save_run(self, run: Run) -> Run:
        _check_version(self._runs[run.id].version if run.id in self._runs else "", run.version, f"run {run.id}")
        self._runs[run.id] = replace(run, version=self.tokens.make())
        if not run.phase.terminal:
            self._watched.add(run.id)
        return self._runs[run.id]

    def unwatch_run(self, run: Run) -> None:
        _check_version(self.read_run(run.id).version, run.version, f"run {run.id}")
        self._watched.discard(run.id)

    def remove_run(self, run_id: str) -> None:
        self._chunks.pop(run_id, None)
        self._watched.discard(run_id)
        self._runs.pop(run_id, None)

    def add_chunks(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            self._chunks.setdefault(chunk.run, {}).setdefault(chunk.id, replace(chunk, version=self.tokens.make()))

    def list_chunks(self, run_id: str) -> Sequence[Chunk]:
        return [chunk for _, chunk in sorted(self._chunks.get(run_id, {}).items())]

    def read_chunk(self, run_id: str, chunk_id: str) -> Chunk:
        try:
            return self._chunks[run_id][chunk_id]
        except KeyError:
            raise NotFound(f"no chunk {chunk_id} in run {run_id}") from None

    def read_chunk_page(self, run_id: str, limit: int, cursor: str | None = None) -> Page[Chunk]:
        rest = [c for c in self.list_chunks(run_id) if cursor is None or c.id > cursor]
        page = tuple(rest[:limit])
        return Page(page, page[-1].id if len(rest) > limit else None)

    def save_chunks(self, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        saved = []
        for chunk in chunks:
            rows = self._chunks.get(chunk.run, {})
            version = rows[chunk.id].version if chunk.id in rows else ""
            _check_version(version, chunk.version, f"chunk {chunk.run} {chunk.id}")
            rows[chunk.id] = replace(chunk, version=self.tokens.make())
            saved.append(rows[chunk.id])
        return saved

    def add_request(self, request: Request) -> bool:
        if request.id in self._requests:
            return False
        self._requests[request.id] = replace(request, version=self.tokens.make())
        return True

    def read_request(self, kind: RequestKind, target: str) -> Request:
        try:
            return self._requests[f"{kind}-{target}"]
        except KeyError:
            raise NotFound(f"no request {kind} for {target}") from None

    def list_requests(self) -> Sequence[Request]:
        return sorted(self._requests.values(), key=lambda w: (w.asked_at, w.id))

    def remove_request(self, request: Request) -> None:
        stored = self._requests.get(request.id)
        if stored and request.version in ("", stored.version):
            del self._requests[request.id]

    def add_backfill(self, backfill: Backfill) -> bool:
        if backfill.id in self._backfills:
            return False
        self._backfills[backfill.id] = replace(backfill, version=self.tokens.make())
        return True

    def read_backfill(self, backfill_id: str) -> Backfill:
        try:
            return self._backfills[backfill_id]
        except KeyError:
            raise NotFound(f"no backfill {backfill_id}") from None

    def list_backfills(self) -> Sequence[Backfill]:
        return sorted(self._backfills.values(), key=lambda b: (b.asked_at, b.id))

    def save_backfill(self, backfill: Backfill) -> Backfill:
        stored = self._backfills.get(backfill.id)
        _check_version(stored.version if stored else "", backfill.version, f"backfill {backfill.id}")
        self._backfills[backfill.id] = replace(backfill, version=self.tokens.make())
        return self._backfills[backfill.id]

    def remove_backfill(self, backfill_id: str) -> None:
        self._backfills.pop(backfill_id, None)

    def list_quarantined(self) -> Sequence[Quarantined]:
        return [entry for _, entry in sorted(self._quarantine.items())]

    def add_quarantined(self, entry: Quarantined) -> None:
        self._quarantine[entry.model] = entry

    def remove_quarantined(self, model: str) -> bool:
        return self._quarantine.pop(model, None) is not None


def _check_version(version: str, expected: str, subject: str) -> None:
    if version != expected:
        raise Conflict(f"{subject}: expected version {expected}, got {version}")
