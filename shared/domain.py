"""The nouns, as frozen values: no I/O, no clock. What may follow what stands here as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from .windows import EPOCH, Window


@dataclass(frozen=True, slots=True)
class Model:
    """A trained estimator that scores one signal of one device; the unit of scoring."""

    device: str
    sensor: str  # "" where the model scores the whole device
    name: str  # of its blob, within the models' container
    etag: str  # of its content when the run was planned
    refused: Reason | None = None  # found at the door; a node does not even fetch it

    @property
    def id(self) -> str:
        """What people call it: `device`, or `device/sensor`."""
        return f"{self.device}/{self.sensor}" if self.sensor else self.device


class Outcome(StrEnum):
    """How a model of a plan ended. Exactly one of these."""

    SCORED = "scored"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    NOT_ATTEMPTED = "not_attempted"


class Reason(StrEnum):
    """Why a model, a chunk or a run did not end as hoped. The list is closed: people group and alert by it."""

    # a model failed
    AMBIGUOUS = "ambiguous"  # two files for one model
    BAD_NAME = "bad_name"  # the blob's name gives no usable id
    EMPTY_MODEL = "empty_model"
    TOO_LARGE = "too_large"
    UNREADABLE_MODEL = "unreadable_model"  # truncated, corrupt, of no known format
    UNTRUSTED_MODEL = "untrusted_model"  # names a type or a global that is not on the list
    INCOMPATIBLE_MODEL = "incompatible_model"  # made by a version that cannot be read
    NOT_A_DETECTOR = "not_a_detector"  # no predict of +1/-1 with a decision_function
    UNFITTED_MODEL = "unfitted_model"
    WRONG_FEATURES = "wrong_features"  # wants columns that the readings do not have, or another number of them
    BAD_READINGS = "bad_readings"  # a value of this device cannot be used
    UNREADABLE_READINGS = "unreadable_readings"  # a file that this device needs cannot be read
    BAD_SCORES = "bad_scores"  # NaN, or not one score a row
    ESTIMATOR_ERROR = "estimator_error"  # predict raised
    # a model was skipped
    NO_READINGS = "no_readings"
    MODEL_REMOVED = "model_removed"
    # a job came to nothing
    JOB_FAILED = "job_failed"
    NO_REPORT = "no_report"  # the cluster calls the job ended well, yet it left no valid report
    JOB_LOST = "job_lost"  # pre-empted, evicted, or forgotten by the cluster
    REJECTED = "rejected"
    COMMIT_CONFLICT = "commit_conflict"  # something else lies where the part belongs
    # a run ended early, or never began
    EMPTY_FLEET = "empty_fleet"
    CANCELLED = "cancelled"
    TOO_LATE = "too_late"  # older than catch-up reaches


SKIPS = frozenset({Reason.NO_READINGS, Reason.MODEL_REMOVED})


def outcome_of(reason: Reason | None) -> Outcome:
    """What a node's reason makes of a model; None is scored."""
    if reason is None:
        return Outcome.SCORED
    return Outcome.SKIPPED if reason in SKIPS else Outcome.FAILED


@dataclass(frozen=True, slots=True)
class Tally:
    """Models by outcome, and what they wrote. The outcomes of a closed run sum to its plan's total."""

    scored: int = 0
    failed: int = 0
    skipped: int = 0
    cancelled: int = 0
    not_attempted: int = 0
    rows: int = 0
    anomalies: int = 0
    seconds: float = 0.0  # that nodes worked on it, summed over chunks

    @property
    def models(self) -> int:
        """How many models have ended."""
        return self.scored + self.failed + self.skipped + self.cancelled + self.not_attempted

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Failure:
    """The models of a chunk or a run that share one reason, with one of them as the example."""

    reason: Reason
    outcome: Outcome
    models: int
    example: str  # a model's id, or a job's name
    message: str


def merge_failures(groups: Iterable[Failure]) -> tuple[Failure, ...]:
    """One group a reason, the largest first; the first example of each stands."""
    merged: dict[Reason, Failure] = {}
    for one in groups:
        seen = merged.get(one.reason)
        count = one.models + (seen.models if seen else 0)
        first = seen or one
        merged[one.reason] = Failure(first.reason, first.outcome, count, first.example, first.message)
    return tuple(sorted(merged.values(), key=lambda f: (-f.models, f.reason)))


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
    sign: str = ""  # the etag of its progress when that last changed
    sign_at: datetime | None = None  # the tick that saw it change
    done: int = 0  # models, by its own word
    doubted_since: datetime | None = None  # the first tick of those, without a break, at which the cluster had no word


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

    @property
    def terminal(self) -> bool:
        """Whether only an explicit redrive moves it again."""
        return not CHUNK_FOLLOWS[self]


# What may follow what. A chunk falls back to waiting when all its attempts are over and none left a valid report.
CHUNK_FOLLOWS: Mapping[ChunkState, frozenset[ChunkState]] = {
    ChunkState.WAITING: frozenset({ChunkState.QUEUED, ChunkState.COMMITTING, ChunkState.FAILED, ChunkState.CANCELLED}),
    ChunkState.QUEUED: frozenset(
        {
            ChunkState.RUNNING,
            ChunkState.WAITING,
            ChunkState.CANCELLING,
            ChunkState.COMMITTING,
            ChunkState.FAILED,
            ChunkState.CANCELLED,
        }
    ),
    ChunkState.RUNNING: frozenset(
        {
            ChunkState.QUEUED,
            ChunkState.WAITING,
            ChunkState.CANCELLING,
            ChunkState.COMMITTING,
            ChunkState.FAILED,
            ChunkState.CANCELLED,
        }
    ),
    ChunkState.CANCELLING: frozenset({ChunkState.COMMITTING, ChunkState.CANCELLED}),
    ChunkState.COMMITTING: frozenset({ChunkState.COMMITTED, ChunkState.FAILED}),
    ChunkState.COMMITTED: frozenset(),
    ChunkState.FAILED: frozenset(),
    ChunkState.CANCELLED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Part:
    """Predictions of one process for one chunk, as the report names them."""

    path: str  # within the working container
    bytes: int
    md5: str  # base64, as the store gives it
    rows: int


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
    attempts: tuple[Attempt, ...] = ()  # those whose end was not seen
    next_attempt: int = 1  # only grows
    retries: int = 0  # attempts that failed by their own fault
    losses: int = 0  # attempts that the cluster lost
    not_before: datetime = EPOCH  # backoff
    chosen: int = 0  # the attempt whose report counts; 0: none yet
    parts: tuple[Part, ...] = ()  # of the chosen report
    tally: Tally = field(default_factory=Tally)  # of the chosen report, or all models once the chunk is given up
    failures: tuple[Failure, ...] = ()
    reason: Reason | None = None  # why the last attempt came to nothing
    message: str = ""
    version: str = ""  # the ledger's token for optimistic concurrency


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


PHASE_FOLLOWS: Mapping[Phase, frozenset[Phase]] = {
    Phase.REQUESTED: frozenset({Phase.PLANNING}),
    Phase.PLANNING: frozenset({Phase.RUNNING, Phase.FAILED, Phase.CANCELLED}),
    Phase.RUNNING: frozenset({Phase.SUCCEEDED, Phase.PARTIAL, Phase.FAILED, Phase.CANCELLED}),
    Phase.SUCCEEDED: frozenset(),
    Phase.PARTIAL: frozenset(),
    Phase.FAILED: frozenset(),
    Phase.CANCELLED: frozenset(),
    Phase.MISSED: frozenset({Phase.PLANNING}),  # when a person asks for it after all
}


@dataclass(frozen=True, slots=True)
class Run:
    """The scoring of the fleet over one window. What people speak about."""

    window: Window
    phase: Phase
    opened_at: datetime
    asked_by: str = "schedule"
    planned_at: datetime | None = None
    ended_at: datetime | None = None
    cancelled_at: datetime | None = None  # when a person's cancel was taken up
    observed_at: datetime | None = None  # the tick that last looked at it
    progress_at: datetime | None = None  # the tick that last saw it come forward
    doubted_fleet: int | None = None  # a fleet so much smaller than the last that it is listed twice
    models: int = 0  # of the plan
    chunks: int = 0  # of the plan
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
class Heartbeat:
    """What the tick remembers between two beats."""

    watermark: datetime | None = None  # the end of the last window that was decided; moves forward only
    ticked_at: datetime | None = None
    trouble: str = ""  # what the last tick could not do
    version: str = ""


class WishKind(StrEnum):
    """What a person may ask for."""

    RUN = "run"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked for over HTTP, until a tick has done it. Asking twice is asking once."""

    kind: WishKind
    run: str
    asked_at: datetime

    @property
    def id(self) -> str:
        """Its key: one wish of a kind for a run."""
        return f"{self.kind}-{self.run}"
