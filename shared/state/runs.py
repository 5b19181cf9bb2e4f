"""Runs, their chunks and attempts, as frozen values, and tables of the states that may follow each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Self

from shared.contract.domain import Failure, Late, Part, Tally, Unmodelled
from shared.contract.reasons import Outcome, Reason
from shared.contract.report import Report
from shared.contract.summaries.predicted import Predicted
from shared.contract.windows import EPOCH, Window

from .requests import RequestKind


class JobState(StrEnum):
    """The state of a job as the cluster reports it. It may be wrong."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"  # its node was taken away
    UNRESPONSIVE = "doubtful"  # it may come back

    @property
    def over(self) -> bool:
        """Whether the job has ended at the cluster."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.LOST)


class AttemptState(StrEnum):
    """The state of an open attempt, as the ledger records it."""

    SUBMITTING = "submitting"  # recorded before the job is submitted; the job may or may not exist at the cluster
    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    LOST = "lost"  # another attempt may run already; if this one reports after all, its report counts

    @property
    def in_flight(self) -> bool:
        """Whether it counts as one of the jobs that a run may have at once."""
        return self is not AttemptState.LOST


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a chunk that is still open. The cluster knows it by the job's name."""

    number: int
    state: AttemptState
    since: datetime  # when it entered its state
    careful: bool = False  # each model is scored in a child process, since the attempt before ended without a report
    carry: int = 0  # the attempt whose scored models are copied, not scored again; 0: none
    sign: str = ""  # the etag of its progress when that last changed
    sign_at: datetime | None = None  # the tick that observed the change
    done: int = 0  # models, as the node reports
    doubted_since: datetime | None = None  # the first of the ticks in a row at which the cluster did not report it
    pardon: bool = False  # models that were in quarantine at planning are scored too: a person asked for it
    current_files: bool = False  # models are scored as their files are now, not as they were planned


class ChunkState(StrEnum):
    """The state of a chunk."""

    WAITING = "waiting"  # for a free place, its backoff, or its first attempt
    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    COMMITTING = "committing"  # a report is chosen; its parts are being copied
    COMMITTED = "committed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    NOT_ATTEMPTED = "not_attempted"  # the run was stopped before it started

    @property
    def terminal(self) -> bool:
        """Whether only a further round changes it."""
        return self in (ChunkState.COMMITTED, ChunkState.FAILED, ChunkState.CANCELLED, ChunkState.NOT_ATTEMPTED)


_ENDS = frozenset({ChunkState.FAILED, ChunkState.CANCELLED, ChunkState.NOT_ATTEMPTED})
_UNDER_WAY = frozenset({ChunkState.QUEUED, ChunkState.RUNNING, ChunkState.CANCELLING})

# A chunk returns to waiting when all its attempts are over without a valid report; a chunk that was committed in an
# earlier round returns to committed when a later round fails.
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
    """The result of a chunk by one report: the attempt that wrote it, its parts, and its models by outcome."""

    attempt: int
    parts: tuple[Part, ...]
    tally: Tally
    failures: tuple[Failure, ...] = ()
    unmodelled: Unmodelled | None = None  # None: the report does not count them
    predicted: Predicted | None = None  # None: all models that were scored are detectors
    late: Late | None = None  # None: the report does not count them
    late_attempts: tuple[int, ...] = ()  # whose reports name the devices with late rows; empty: its own alone

    @classmethod
    def from_report(cls, report: Report) -> Self:
        """The result by this report; its parts are not copied yet."""
        return cls(
            report.attempt,
            report.parts,
            report.tally,
            report.failures,
            report.unmodelled,
            report.predicted,
            report.late.shorten() if report.late else None,
        )

    def list_late_attempts(self) -> tuple[int, ...]:
        """The attempts whose reports name the devices with late rows."""
        return self.late_attempts or ((self.attempt,) if self.late and self.late.rows else ())

    def keep_late(self, earlier: Self) -> Self:
        """The same with the late rows of models that *earlier* has scored, and this result carries over.

        A device may be in both counts, so they are not summed: the greater stands, and both reports name devices.
        """
        counts = [late for late in (earlier.late, self.late) if late]
        late = max(counts, key=lambda count: (count.rows, count.unread_rows), default=None)
        attempts = {*earlier.list_late_attempts(), *self.list_late_attempts()}
        return replace(self, late=late, late_attempts=tuple(sorted(attempts)))


@dataclass(frozen=True, slots=True)
class Chunk:
    """The models that one job scores, and their state. The plan fixes *id* to *last*."""

    run: str
    id: str
    manifest: str  # the digest of its manifest, which a reprocess replaces
    models: int
    first: str  # the least and the greatest name of the models' blobs
    last: str
    state: ChunkState = ChunkState.WAITING
    since: datetime = EPOCH
    round: int = 0  # of the run: the last in which this chunk was tried
    attempts: tuple[Attempt, ...] = ()  # the open ones
    next_attempt: int = 1  # only grows
    first_attempt: int = 1  # of this round; reports of earlier attempts are ignored
    retries: int = 0  # attempts of this round that failed by their own fault
    losses: int = 0  # attempts of this round that the cluster lost
    not_before: datetime = EPOCH  # backoff
    chosen: Result | None = None  # being committed
    committed: Result | None = None  # copied to where consumers read
    reason: Reason | None = None  # why the last attempt failed
    message: str = ""
    version: str = ""  # the ledger's token for optimistic concurrency

    @property
    def tally(self) -> Tally:
        """Its models by outcome, once it is over: as committed, or all of them by its state."""
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
    def keeps_earlier(self) -> bool:
        """Whether it ended without a new result, for `reason`, and consumers read that of an earlier round."""
        return self.state is ChunkState.COMMITTED and self.reason is not None

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Its models that were not scored, by reason, once it is over."""
        if self.state is ChunkState.COMMITTED and self.committed:
            return self.committed.failures
        if self.state is ChunkState.FAILED and self.reason:
            return (Failure(self.reason, Outcome.FAILED, self.models, self.id, self.message),)
        return ()

    @property
    def unmodelled(self) -> Unmodelled | None:
        """The devices of its range that have readings and no model, as its committed result counts them."""
        return self.committed.unmodelled if self.committed else None

    @property
    def predicted(self) -> Predicted | None:
        """What its models predicted, as its committed result says; None: nothing yet, or all are detectors."""
        return self.committed.predicted if self.committed else None

    @property
    def late(self) -> Late | None:
        """The late rows of its devices in the window's folders, as its committed result counts them."""
        return self.committed.late if self.committed else None


class Phase(StrEnum):
    """The state of a run."""

    REQUESTED = "requested"  # a person's request that no tick has handled yet
    PLANNING = "planning"
    RUNNING = "running"
    SUCCEEDED = "succeeded"  # none failed
    PARTIAL = "partial"  # some failed
    FAILED = "failed"  # nothing was scored though something should have been, or a limit stopped it
    CANCELLED = "cancelled"
    MISSED = "missed"  # never started

    @property
    def terminal(self) -> bool:
        """Whether only a person's request changes it."""
        return self in (Phase.SUCCEEDED, Phase.PARTIAL, Phase.FAILED, Phase.CANCELLED, Phase.MISSED)


class Waited(StrEnum):
    """How the wait of a window for its readings has ended (WAIT_FOR)."""

    COMPLETE = "complete"  # the sign was there
    LIMIT = "limit reached"  # it was not, and the window was opened all the same


_CLOSED = frozenset({Phase.SUCCEEDED, Phase.PARTIAL, Phase.FAILED, Phase.CANCELLED})

PHASE_FOLLOWS: Mapping[Phase, frozenset[Phase]] = {
    Phase.REQUESTED: frozenset({Phase.PLANNING}),
    Phase.PLANNING: frozenset({Phase.RUNNING, Phase.FAILED, Phase.CANCELLED}),
    Phase.RUNNING: _CLOSED,
    **{phase: frozenset({Phase.PLANNING, Phase.RUNNING}) for phase in sorted(_CLOSED)},  # a further round
    Phase.MISSED: frozenset({Phase.PLANNING}),  # when a person requests it after all
}


@dataclass(frozen=True, slots=True)
class Run:
    """The scoring of the fleet over one window."""

    window: Window
    phase: Phase
    opened_at: datetime
    asked_by: str = "schedule"
    round: int = 0  # how often it was reopened
    redo: RequestKind | None = None  # what this round does: a kind that reopens, or a rescore; None: the first
    waited: Waited | None = None  # how its wait has ended; None: it did not wait
    granted: datetime | None = None  # when that request was made: it is not granted twice
    planned_at: datetime | None = None
    read_at: datetime | None = None  # since when its readings are read: as `planned_at`, of rounds of all models alone
    ended_at: datetime | None = None
    cancelled_at: datetime | None = None  # when a tick handled a person's cancel
    stopped: Reason | None = None  # why no further chunk starts: the deadline, too many failures, an open circuit
    observed_at: datetime | None = None  # the last tick that observed it
    progress_at: datetime | None = None  # the last tick at which it had progressed
    throttled_until: datetime | None = None  # the cluster asked for no requests until then
    doubted_fleet: int | None = None  # a fleet so much smaller than the last that it is listed again
    max_in_flight: int | None = None  # if a person changed it for this run
    tolerated_failures: int | None = None  # the same; in percent of the models that ended
    plans: int = 0  # one, and one for each extension
    models: int = 0  # of all plans
    chunks: int = 0  # of all plans
    ignored: int = 0  # blobs in the models' container that are not models
    ignored_endings: Mapping[str, int] = field(default_factory=dict)  # how many of them have each ending
    ignored_examples: tuple[str, ...] = ()  # the first of them, by name
    current_files: bool = False  # a redrive scores models as their files are now; nodes before 0.2 cannot
    own_manifests: bool = False  # this round has its own: a reprocess that listed the models once more, or a rescore
    rescored: bool = False  # it had its one round for rows that came late
    offered_round: int | None = None  # the last whose result the sinks are to hold; None: none was offered
    offered_sinks: tuple[str, ...] = ()  # these sinks
    alarmed: bool = False  # people were notified that it went badly, and not yet that it is well
    done: int = 0  # models that ended, and those that open attempts report as done
    tally: Tally = field(default_factory=Tally)  # of the chunks that are over
    chunk_states: Mapping[ChunkState, int] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    unmodelled: Unmodelled | None = None  # summed over its chunks that count them; None: none of them does
    unmodelled_chunks: int = 0  # how many of its chunks do
    predicted: Predicted | None = None  # summed over its chunks that are over; None: detectors only
    late: Late | None = None  # summed over its chunks that count them; None: none of them does
    reason: Reason | None = None
    message: str = ""
    version: str = ""

    @property
    def reads_all(self) -> bool:
        """Whether its round reads once more for all models, or for all that rows came late for."""
        return not self.plans or (self.redo is not None and self.redo.rereads)

    @property
    def is_withdrawn(self) -> bool:
        """Whether a person requested it, and cancelled it before a tick opened it."""
        return self.phase is Phase.CANCELLED and self.asked_by == "request" and self.opened_at == self.ended_at

    @property
    def id(self) -> str:
        """The window's id: a window has one run."""
        return self.window.id


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of the cluster, as the cluster reports them."""

    current: int
    target: int  # the number that it scales to
    states: Mapping[str, int] = field(
        default_factory=dict
    )  # the cluster's names of states; without those that no node is in


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What the tick stores for the next tick."""

    watermark: datetime | None = None  # the end of the last window that was decided; it only grows
    ticked_at: datetime | None = None
    trouble: str = ""  # what failed in the last tick
    throttled_until: datetime | None = None  # the cluster asked for no requests until then
    pruned_at: datetime | None = None  # the last tick that pruned everything
    nodes: Nodes | None = None  # at the last count
    nodes_at: datetime | None = None  # the tick that counted them
    node_schema: int | None = None  # of the contract, that nodes read: what runs are planned in
    predictions_schema: int | None = None  # of new plans; None: no tick of 0.2.0 or later has decided it
    window_origin: datetime | None = None  # the start of a window; None: no tick has decided it
    assumes_features: bool | None = None  # whether models without names take the files' order while FEATURES is unset
    waiting: str = ""  # the window that is due and waits for its readings
    waits_until: datetime | None = None  # its limit
    at_limit: str = ""  # the last window that was opened, if its wait had reached the limit
    unpublished: str = ""  # the run that a sink lacks for longest
    unpublished_sink: str = ""
    unpublished_since: datetime | None = None
    unpublished_reason: str = ""  # and the message
    version: str = ""
