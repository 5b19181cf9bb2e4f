"""Runs, their chunks and attempts, as frozen values. What may follow what stands here as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from shared.contract.domain import Failure, Outcome, Part, Reason, Tally
from shared.contract.windows import EPOCH, Window

from .requests import WishKind


class JobState(StrEnum):
    """What the cluster says of a job. Evidence, not truth."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"  # its node was taken away
    DOUBTFUL = "doubtful"  # not responding; may come back

    @property
    def over(self) -> bool:
        """Whether the cluster will run it no further."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.LOST)


class AttemptState(StrEnum):
    """How an attempt whose end was not seen stands, in our books."""

    SUBMITTING = "submitting"  # written down before the cluster is asked; it may or may not exist there
    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    LOST = "lost"  # given up as lost, and another may be under way; should it report after all, its report counts

    @property
    def in_flight(self) -> bool:
        """Whether it takes a place among the jobs that a run may have at once."""
        return self is not AttemptState.LOST


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a chunk, while its end was not seen. The cluster knows it by the job's name."""

    number: int
    state: AttemptState
    since: datetime  # when it entered its state
    careful: bool = False  # the node scores in child processes, since the one before died without a report
    carry: int = 0  # the attempt whose scored models are carried over, not scored again; 0: none
    sign: str = ""  # the etag of its progress when that last changed
    sign_at: datetime | None = None  # the tick that saw it change
    done: int = 0  # models, by its own word
    doubted_since: datetime | None = None  # the first tick of those, without a break, at which the cluster had no word
    pardon: bool = False  # models too that were in quarantine when the run was planned: a person asks for them again


class ChunkState(StrEnum):
    """How a chunk stands."""

    WAITING = "waiting"  # for room, for its backoff, or for its first attempt
    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    COMMITTING = "committing"  # a report is chosen; its parts are being copied
    COMMITTED = "committed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    NOT_ATTEMPTED = "not_attempted"  # the run was stopped before its turn came

    @property
    def terminal(self) -> bool:
        """Whether only a further round moves it again."""
        return self in (ChunkState.COMMITTED, ChunkState.FAILED, ChunkState.CANCELLED, ChunkState.NOT_ATTEMPTED)


_ENDS = frozenset({ChunkState.FAILED, ChunkState.CANCELLED, ChunkState.NOT_ATTEMPTED})
_UNDER_WAY = frozenset({ChunkState.QUEUED, ChunkState.RUNNING, ChunkState.CANCELLING})

# What may follow what. A chunk falls back to waiting when all its attempts are over and none left a valid report; one
# that was committed in an earlier round falls back to that where a later one comes to nothing.
CHUNK_FOLLOWS: Mapping[ChunkState, frozenset[ChunkState]] = {
    ChunkState.WAITING: _ENDS | {ChunkState.QUEUED, ChunkState.COMMITTING, ChunkState.COMMITTED},
    **{
        state: (_ENDS | _UNDER_WAY | {ChunkState.WAITING, ChunkState.COMMITTING, ChunkState.COMMITTED}) - {state}
        for state in sorted(_UNDER_WAY)
    },
    ChunkState.COMMITTING: frozenset({ChunkState.COMMITTED, ChunkState.FAILED}),
    **{state: frozenset({ChunkState.WAITING}) for state in sorted(_ENDS | {ChunkState.COMMITTED})},
}


@dataclass(frozen=True, slots=True)
class Result:
    """What one report says of a chunk: the attempt that wrote it, its parts, and its models by outcome."""

    attempt: int
    parts: tuple[Part, ...]
    tally: Tally
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """The models that one job scores, and how that stands. Fixed by the plan: *id* to *last*."""

    run: str
    id: str
    manifest: str  # the digest of its manifest
    models: int
    first: str  # the names of the models' blobs, the least and the greatest
    last: str
    state: ChunkState = ChunkState.WAITING
    since: datetime = EPOCH
    round: int = 0  # of the run, the last in which this chunk was tried
    attempts: tuple[Attempt, ...] = ()  # those whose end was not seen
    next_attempt: int = 1  # only grows
    first_attempt: int = 1  # of this round; what earlier ones report counts no more
    retries: int = 0  # attempts of this round that failed by their own fault
    losses: int = 0  # attempts of this round that the cluster lost
    not_before: datetime = EPOCH  # backoff
    chosen: Result | None = None  # is being committed
    committed: Result | None = None  # lies where consumers read
    reason: Reason | None = None  # why the last attempt came to nothing
    message: str = ""
    version: str = ""  # the ledger's token for optimistic concurrency

    @property
    def tally(self) -> Tally:
        """Its models by outcome, once it is over: as committed, or all of them as it was given up."""
        match self.state:
            case ChunkState.COMMITTED:
                assert self.committed
                return self.committed.tally
            case ChunkState.FAILED:
                return Tally(failed=self.models)
            case ChunkState.CANCELLED:
                return Tally(cancelled=self.models)
            case ChunkState.NOT_ATTEMPTED:
                return Tally(not_attempted=self.models)
            case _:
                return Tally()

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What of it was not scored and why, once it is over."""
        if self.state is ChunkState.COMMITTED and self.committed:
            return self.committed.failures
        if self.state is ChunkState.FAILED and self.reason:
            return (Failure(self.reason, Outcome.FAILED, self.models, self.id, self.message),)
        return ()


class Phase(StrEnum):
    """How a run stands."""

    REQUESTED = "requested"  # a person's wish that no tick has taken up yet
    PLANNING = "planning"
    RUNNING = "running"
    SUCCEEDED = "succeeded"  # none failed
    PARTIAL = "partial"  # some failed
    FAILED = "failed"  # nothing was scored though something should have been, or a limit stopped it
    CANCELLED = "cancelled"
    MISSED = "missed"  # never begun, and says so

    @property
    def terminal(self) -> bool:
        """Whether only a person's wish moves it again."""
        return self in (Phase.SUCCEEDED, Phase.PARTIAL, Phase.FAILED, Phase.CANCELLED, Phase.MISSED)


_CLOSED = frozenset({Phase.SUCCEEDED, Phase.PARTIAL, Phase.FAILED, Phase.CANCELLED})

PHASE_FOLLOWS: Mapping[Phase, frozenset[Phase]] = {
    Phase.REQUESTED: frozenset({Phase.PLANNING}),
    Phase.PLANNING: frozenset({Phase.RUNNING, Phase.FAILED, Phase.CANCELLED}),
    Phase.RUNNING: _CLOSED,
    **{phase: frozenset({Phase.PLANNING, Phase.RUNNING}) for phase in sorted(_CLOSED)},  # a further round
    Phase.MISSED: frozenset({Phase.PLANNING}),  # when a person asks for it after all
}


@dataclass(frozen=True, slots=True)
class Run:
    """The scoring of the fleet over one window. What people speak about."""

    window: Window
    phase: Phase
    opened_at: datetime
    asked_by: str = "schedule"
    round: int = 0  # how often it was opened again
    redo: WishKind | None = None  # what this round does: redrive, reprocess or extend
    granted: datetime | None = None  # when that wish was made: the same wish is not granted twice
    planned_at: datetime | None = None
    ended_at: datetime | None = None
    cancelled_at: datetime | None = None  # when a person's cancel was taken up
    stopped: Reason | None = None  # why no further chunk starts: the deadline, too many failures, an open circuit
    observed_at: datetime | None = None  # the tick that last looked at it
    progress_at: datetime | None = None  # the tick that last saw it come forward
    throttled_until: datetime | None = None  # the cluster wants to be left alone until then
    doubted_fleet: int | None = None  # a fleet so much smaller than the last that it is listed twice
    max_in_flight: int | None = None  # where a person changed it for this run
    tolerated_failures: int | None = None  # the same; in percent of the models that ended
    plans: int = 0  # that were committed: one, and one for each extension
    models: int = 0  # of all plans
    chunks: int = 0  # of all plans
    ignored: int = 0  # blobs among the models whose names are no model's
    done: int = 0  # models ended, and those that open attempts call done
    tally: Tally = field(default_factory=Tally)  # of chunks that are over
    chunk_states: Mapping[ChunkState, int] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    reason: Reason | None = None
    message: str = ""
    version: str = ""

    @property
    def id(self) -> str:
        """The window's id: a window has one run."""
        return self.window.id


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of the cluster, as it counts them itself."""

    current: int
    target: int  # that it grows or shrinks to
    states: Mapping[str, int] = field(default_factory=dict)  # in the cluster's own words; those of no node are left out


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What the tick remembers between two beats."""

    watermark: datetime | None = None  # the end of the last window that was decided; moves forward only
    ticked_at: datetime | None = None
    trouble: str = ""  # what the last tick could not do
    throttled_until: datetime | None = None  # the cluster wants to be left alone until then
    pruned_at: datetime | None = None  # the last tick that found nothing more to prune
    nodes: Nodes | None = None  # as they were last counted
    nodes_at: datetime | None = None  # the tick that counted them
    version: str = ""
