"""The ports: Cluster, Ledger, Blobs. Adapters implement them; the control plane and the API call them.

Each docstring is a contract, and `tests/contracts` runs against every adapter. Every method may raise Unavailable, and
may then have taken effect or not: the caller tries again at the next tick.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from shared.contract.model_names import Blob
from shared.contract.publishing.sinks import SinkKind
from shared.state.notices import Notice
from shared.state.publications import Publication, Sink
from shared.state.requests import Backfill, Quarantined, Request, RequestKind
from shared.state.runs import Chunk, Heartbeat, JobState, Nodes, Run

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One attempt at one chunk, as it is submitted to any cluster."""

    name: str
    run: str
    command: tuple[str, ...]
    timeout: timedelta  # wall time, after which the cluster ends it

    @property
    def digest(self) -> str:
        """A hash of the command: 16 hex digits. Another wall time does not make another job."""
        return hashlib.sha256("\0".join(self.command).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the cluster rejects a job for good."""

    message: str
    name_taken: bool = False  # a job of that name exists with another digest: another name is accepted


@dataclass(frozen=True, slots=True)
class JobStatus:
    """The state of one job as the cluster reports it, with the cluster's own text for people."""

    state: JobState
    detail: str = ""


class Cluster(Protocol):
    """The autoscaling pool that runs jobs. It is named by jobs, never by nodes."""

    def submit(self, jobs: Sequence[JobSpec]) -> Mapping[str, Refusal]:
        """Submit jobs; submitting a name again changes nothing. Returns the rejected names, and why.

        A name is used once: a job of that name that has ended is not run again. If a job of that name exists with
        another digest, the name is refused as taken, and that job is not changed.
        """

    def observe(self, runs: Collection[str]) -> Mapping[str, JobStatus]:
        """Every job of these runs that the cluster knows, by name. It does not know a name that is left out.

        Jobs that have ended may be left out once their end was returned here.
        """

    def cancel(self, names: Collection[str]) -> None:
        """Cancel jobs. Safe for jobs that are over or unknown. Returns before they have stopped."""

    def read_log(self, name: str) -> str:
        """The output of the job so far; the end of it where it is long. Raises NotFound."""

    def count_nodes(self) -> Nodes:
        """The number of nodes, in one or two requests."""

    def release(self, run: str) -> None:
        """Release a run: no job of it is observed any more, and the cluster may delete all it keeps for it.

        Safe to repeat, and for an unknown run. The run may be reopened later: then jobs are submitted under new
        names, and may have to wait until the cluster has finished the release.
        """


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A blob as the store describes it."""

    name: str
    etag: str
    size: int
    md5: str  # base64; "" where the store has none
    metadata: Mapping[str, str] = field(default_factory=dict)


class Blobs(Protocol):
    """One container. A write is atomic: readers see the old content or the new."""

    @property
    def url(self) -> str:
        """The URL of this container for nodes, without credentials."""

    def describe_missing(self) -> str:
        """Empty where the container exists, or where that cannot be known; else its name, and which ones exist."""

    def list_blobs(self, prefix: str = "") -> Iterator[Blob]:
        """Every blob under *prefix* by name, in lexicographic order, read in pages while the caller iterates."""

    def list_names(self, prefix: str, limit: int) -> Sequence[str]:
        """The first names under *prefix*, in lexicographic order, at most *limit*: one call, however many there are.

        Folders of a hierarchical namespace are left out, so there may be fewer.
        """

    def describe_blobs(self, prefix: str) -> Iterator[BlobInfo]:
        """As `list_blobs`, with MD5 and metadata. It costs more: for hundreds of blobs, not for millions."""

    def read_properties(self, name: str) -> BlobInfo:
        """The properties of a blob. Raises NotFound."""

    def read(self, name: str) -> bytes:
        """The content of a blob. Raises NotFound."""

    def create(self, name: str, data: bytes) -> bool:
        """Write unless the blob exists; False when it does, whatever its content."""

    def copy(self, source: Blobs, path: str, name: str, replaces: str | None) -> BlobInfo:
        """Copy *path* of *source* (same account) to *name*, and return its properties.

        Only if *name* has the etag *replaces*, or does not exist when that is None; else Conflict. Raises NotFound
        where there is no source, and Protected where a lease or a policy protects *name*.
        """

    def delete(self, name: str, etag: str | None = None) -> None:
        """Delete a blob. Safe when it does not exist. With *etag*: only that content; other content stays.

        Raises Protected where a lease or a policy protects it.
        """


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of a long list, and the cursor of the next page."""

    items: tuple[T, ...]
    cursor: str | None


class Ledger(Protocol):
    """The record of runs, chunks and requests. Saves are conditional on the `version` that was read: else Conflict.

    `save_…` returns the value with its new version.
    """

    def read_heartbeat(self) -> Heartbeat:
        """The row of the tick; an empty one before the first tick."""

    def save_heartbeat(self, beat: Heartbeat) -> Heartbeat:
        """Insert or replace; raises Conflict."""

    def add_run(self, run: Run) -> bool:
        """Insert; False when the window already has a run."""

    def read_run(self, run_id: str) -> Run:
        """A run by its id. Raises NotFound."""

    def list_runs(self, limit: int, cursor: str | None = None) -> Page[Run]:
        """Newest window first. The cost does not grow with the ledger. Raises Malformed for a wrong cursor."""

    def list_runs_in(self, start: datetime, end: datetime) -> Iterator[Run]:
        """Runs whose windows start in [start, end), newest first, read in pages. Other runs cost nothing."""

    def list_watched_runs(self) -> Sequence[Run]:
        """Open runs, and closed ones until they are unwatched. The history costs nothing."""

    def save_run(self, run: Run) -> Run:
        """Replace; raises Conflict, also if the row was removed. An open run is watched, in the same transaction."""

    def unwatch_run(self, run: Run) -> None:
        """Stop watching a closed run. Raises Conflict."""

    def remove_run(self, run_id: str) -> None:
        """Remove a run's chunks, then its row and its watch. Safe when it does not exist."""

    def add_chunks(self, chunks: Sequence[Chunk]) -> None:
        """Insert the chunks that have no row. Not atomic over all."""

    def list_chunks(self, run_id: str) -> Sequence[Chunk]:
        """All chunks of a run, by id."""

    def read_chunk(self, run_id: str, chunk_id: str) -> Chunk:
        """A chunk by its id. Raises NotFound."""

    def read_chunk_page(self, run_id: str, limit: int, cursor: str | None = None) -> Page[Chunk]:
        """As `list_chunks`, one page."""

    def save_chunks(self, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        """Replace; raises Conflict. Not atomic over all: some may be saved when it raises."""

    def add_request(self, request: Request) -> bool:
        """Insert; False when the same request is already waiting."""

    def read_request(self, kind: RequestKind, target: str) -> Request:
        """A waiting request. Raises NotFound."""

    def list_requests(self) -> Sequence[Request]:
        """All waiting requests, oldest first."""

    def remove_request(self, request: Request) -> None:
        """Safe when it does not exist. If *request* has a version, only that version is removed, not a newer one."""

    def add_backfill(self, backfill: Backfill) -> bool:
        """Insert; False when its id is taken."""

    def read_backfill(self, backfill_id: str) -> Backfill:
        """A backfill by its id. Raises NotFound."""

    def list_backfills(self) -> Sequence[Backfill]:
        """All backfills, the oldest first. People start them: there are few."""

    def save_backfill(self, backfill: Backfill) -> Backfill:
        """Replace; raises Conflict, also if the row was removed."""

    def remove_backfill(self, backfill_id: str) -> None:
        """Safe when it does not exist."""

    def list_quarantined(self) -> Sequence[Quarantined]:
        """All models in quarantine, by id."""

    def add_quarantined(self, entry: Quarantined) -> None:
        """Insert, or replace the row of the same model."""

    def remove_quarantined(self, model: str) -> bool:
        """Remove a model from the quarantine by its id; False when it was not in it."""


class SinkLedger(Protocol):
    """The record of what each sink holds of each run. Saves are conditional, as those of `Ledger`."""

    def read_sink(self, kind: SinkKind) -> Sink:
        """The row of a sink's job; an empty one before its first."""

    def save_sink(self, sink: Sink) -> Sink:
        """Insert or replace; raises Conflict."""

    def read_publication(self, kind: SinkKind, run_id: str) -> Publication:
        """What a sink is to hold of a run. Raises NotFound, where that was never asked."""

    def list_open_publications(self) -> Sequence[Publication]:
        """Those that are open, of all sinks, by sink and then the newest window first. The others cost nothing."""

    def list_publications(self, kind: SinkKind, limit: int, cursor: str | None = None) -> Page[Publication]:
        """Those of a sink that are done, the newest window first. Raises Malformed for a wrong cursor."""

    def save_publications(self, publications: Sequence[Publication]) -> Sequence[Publication]:
        """Insert those without a version, and replace the others; raises Conflict. Not atomic over all."""

    def remove_publications(self, run_id: str) -> None:
        """Remove a run's rows, of all sinks. Safe when there are none."""

    def add_notice(self, notice: Notice) -> bool:
        """Insert; False when one of that id is waiting."""

    def list_notices(self) -> Sequence[Notice]:
        """All that wait to be sent, the oldest first."""

    def save_notice(self, notice: Notice) -> Notice:
        """Replace; raises Conflict, also if the row was removed."""

    def remove_notice(self, notice_id: str) -> None:
        """Safe when it does not exist."""


class Notifier(Protocol):
    """Where notifications are sent."""

    def send(self, notice: Notice) -> None:
        """Send one, and wait for the answer, a few seconds at most. Raises Malformed where it is refused for good."""


class Stopwatch(Protocol):
    """Measures how long a tick takes, and waits. It has no time of day."""

    def read_seconds(self) -> float:
        """Seconds since a fixed instant; they only grow."""

    def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
