"""What the world must offer: Cluster, Ledger, Blobs. Adapters implement them; the control plane and the API call them.

Each docstring is a contract, and `tests/contracts` holds every adapter to it. Every method may raise Unavailable,
and then may or may not have taken effect: the caller asks again at the next tick.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from shared.contract.model_names import Blob
from shared.state.requests import Backfill, Quarantined, Wish, WishKind
from shared.state.runs import Chunk, Heartbeat, JobState, Nodes, Run

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One attempt at one chunk, as any cluster is asked for it."""

    name: str
    run: str
    command: tuple[str, ...]
    timeout: timedelta  # wall time, after which the cluster ends it

    @property
    def digest(self) -> str:
        """Names what the job would do: 16 hex digits. Another wall time does not make another job."""
        return hashlib.sha256("\0".join(self.command).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the cluster does not take a job, for good."""

    message: str
    taken: bool = False  # a job of that name exists, with another digest: another name will do


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the cluster says of one job, with its own words for a person."""

    state: JobState
    detail: str = ""


class Cluster(Protocol):
    """The autoscaling pool that runs jobs. It is named by jobs, never by nodes."""

    def submit(self, jobs: Sequence[JobSpec]) -> Mapping[str, Refusal]:
        """Ask for jobs; asking twice for one name is asking once. Returns the names refused for good, and why.

        A name is spent once it was used: a job of that name that has ended is not run again. One that exists with
        another digest is refused as taken, and left alone.
        """

    def observe(self, runs: Collection[str]) -> Mapping[str, Sighting]:
        """Every job of these runs that the cluster knows, by name. A name left out is one it does not know.

        Jobs that have ended may be left out once somebody has seen their end here.
        """

    def cancel(self, names: Collection[str]) -> None:
        """Ask for jobs to stop. Safe on jobs that are over or unknown. Returns before they have stopped."""

    def log(self, name: str) -> str:
        """What the job printed so far, the end of it where it is long. Raises NotFound."""

    def nodes(self) -> Nodes:
        """How many nodes there are, in one or two requests."""

    def release(self, run: str) -> None:
        """No job of this run is looked for any more: what the cluster keeps for it may go, also what still runs.

        Safe to ask again, and of a run that it does not know. The run may be opened again afterwards: then jobs are
        submitted under names that were never used before, and may have to wait until the cluster has let go.
        """


@dataclass(frozen=True, slots=True)
class Found:
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
        """Where a node finds this container, without credentials."""

    def list(self, prefix: str = "") -> Iterator[Blob]:
        """Every blob under *prefix* by name, in lexicographic order, read in pages as the caller goes on."""

    def describe(self, prefix: str) -> Iterator[Found]:
        """As `list`, with MD5 and metadata. Dearer: for hundreds, not for millions."""

    def head(self, name: str) -> Found:
        """Raises NotFound."""

    def read(self, name: str) -> bytes:
        """Raises NotFound."""

    def create(self, name: str, data: bytes) -> bool:
        """Write unless the blob exists; False when it does, whatever it holds."""

    def copy(self, source: Blobs, path: str, name: str, replaces: str | None) -> Found:
        """Copy *path* of *source* (same account) to *name*, and return what then lies there.

        Only where *name* has the etag *replaces*, or does not exist when that is None; else Conflict. Raises NotFound
        where there is no source.
        """

    def delete(self, name: str, etag: str | None = None) -> None:
        """Safe when it is gone already. With *etag*: only that content; where another lies there, nothing happens."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of a long list, and where the next one begins."""

    items: tuple[T, ...]
    cursor: str | None


class Ledger(Protocol):
    """The record of runs, chunks and wishes. Saves are conditional on the `version` that was read: else Conflict.

    What `save_…` returns carries the new version.
    """

    def heartbeat(self) -> Heartbeat:
        """The one row of the tick; an empty one before the first."""

    def save_heartbeat(self, beat: Heartbeat) -> Heartbeat:
        """Insert or replace; raises Conflict."""

    def add_run(self, run: Run) -> bool:
        """Insert; False when the window has a run already."""

    def run(self, run_id: str) -> Run:
        """Raises NotFound."""

    def runs(self, limit: int, cursor: str | None = None) -> Page[Run]:
        """Newest window first. Costs the same whatever lies in the ledger. Raises Malformed for a foreign cursor."""

    def runs_in(self, start: datetime, end: datetime) -> Iterator[Run]:
        """Runs whose windows start in [start, end), newest first, read in pages. Costs nothing for all others."""

    def watched_runs(self) -> Sequence[Run]:
        """Runs that are open, and closed ones until they are `unwatched`. Costs nothing for the history."""

    def save_run(self, run: Run) -> Run:
        """Replace; raises Conflict, also where the row is gone. An open run is watched, in the same transaction."""

    def unwatch(self, run: Run) -> None:
        """Forget to look at a closed run. Raises Conflict."""

    def remove_run(self, run_id: str) -> None:
        """Remove a run's chunks, then its row and what watches it. Safe when it is gone already."""

    def add_chunks(self, chunks: Sequence[Chunk]) -> None:
        """Insert those that are not there. Not atomic over all."""

    def chunks(self, run_id: str) -> Sequence[Chunk]:
        """All chunks of a run, by id."""

    def chunk(self, run_id: str, chunk_id: str) -> Chunk:
        """Raises NotFound."""

    def chunk_page(self, run_id: str, limit: int, cursor: str | None = None) -> Page[Chunk]:
        """As `chunks`, a page at a time."""

    def save_chunks(self, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        """Replace; raises Conflict. Not atomic over all: some may be saved when it raises."""

    def add_wish(self, wish: Wish) -> bool:
        """Insert; False when the same was asked already and is not done yet."""

    def wish(self, kind: WishKind, target: str) -> Wish:
        """Raises NotFound."""

    def wishes(self) -> Sequence[Wish]:
        """All that wait, oldest first."""

    def remove_wish(self, wish: Wish) -> None:
        """Safe when it is gone already. Where *wish* has a version: only that one, not one asked for since."""

    def add_backfill(self, backfill: Backfill) -> bool:
        """Insert; False when its id is taken."""

    def backfill(self, backfill_id: str) -> Backfill:
        """Raises NotFound."""

    def backfills(self) -> Sequence[Backfill]:
        """All there are, the first that was asked for first. People make them: there are few."""

    def save_backfill(self, backfill: Backfill) -> Backfill:
        """Replace; raises Conflict, also where the row is gone."""

    def remove_backfill(self, backfill_id: str) -> None:
        """Safe when it is gone already."""

    def quarantine(self) -> Sequence[Quarantined]:
        """All models in quarantine, by id."""

    def add_quarantined(self, found: Quarantined) -> None:
        """Insert, or replace the row of the same model."""

    def remove_quarantined(self, model: str) -> bool:
        """Strike a model off by its id; False when it was not there."""


class Stopwatch(Protocol):
    """How long a tick has taken, and the wait between two requests. It tells no time of day."""

    def seconds(self) -> float:
        """Since some instant that never changes; only moves forward."""

    def sleep(self, seconds: float) -> None:
        """Return after so long."""
