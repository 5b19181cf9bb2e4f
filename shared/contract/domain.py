"""The nouns that the app and its nodes share, as frozen values: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One of several files of a model."""

    name: str  # of its blob, within the models' container
    etag: str  # at planning


@dataclass(frozen=True, slots=True)
class Model:
    """A trained estimator that scores one signal of one device; the unit of scoring."""

    device: str
    sensor: str  # "" where the model scores the whole device
    name: str  # of its blob, within the models' container
    etag: str  # of its content at planning; of several files see `make_files_etag`
    refused: Reason | None = None  # at planning; a node does not read its file
    size: int = field(default=0, compare=False)  # bytes of its files, as the listing says; a manifest does not keep it
    files: tuple[ModelFile, ...] = ()  # sorted by name, *name* among them; () where that is its only file

    @property
    def id(self) -> str:
        """`device`, or `device/sensor`."""
        return f"{self.device}/{self.sensor}" if self.sensor else self.device


class Outcome(StrEnum):
    """How a model of a plan ended. Exactly one of these."""

    SCORED = "scored"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    NOT_ATTEMPTED = "not_attempted"


class Reason(StrEnum):
    """Why a model, a chunk or a run failed or was skipped. The list is closed: people group and alert by it."""

    # a model failed
    AMBIGUOUS = "ambiguous"  # two files for one model
    BAD_NAME = "bad_name"  # the blob's name gives no valid id
    EMPTY_MODEL = "empty_model"
    TOO_LARGE = "too_large"
    UNREADABLE_MODEL = "unreadable_model"  # truncated, corrupt, or of an unknown format
    UNTRUSTED_MODEL = "untrusted_model"  # refers to a type or a global that is not allowed
    INCOMPATIBLE_MODEL = "incompatible_model"  # of a version that cannot be read
    NOT_A_DETECTOR = "not_a_detector"  # no predict of +1/-1 with a decision_function
    UNFITTED_MODEL = "unfitted_model"
    WRONG_FEATURES = "wrong_features"  # needs columns that the readings do not have, or another number of them
    BAD_READINGS = "bad_readings"  # a value of this device cannot be used
    UNREADABLE_READINGS = "unreadable_readings"  # a file that this device needs cannot be read
    BAD_SCORES = "bad_scores"  # NaN, or not one score a row
    ESTIMATOR_ERROR = "estimator_error"  # predict raised
    CRASHED = "crashed"  # it ended the process that scored it, also when scored alone
    ENDLESS = "endless"  # it did not end, also when scored alone
    # a model was skipped
    NO_READINGS = "no_readings"
    SENSOR_SILENT = "sensor_silent"  # the device has readings, but none of a sensor that the model needs
    MODEL_REMOVED = "model_removed"
    QUARANTINED = "quarantined"  # it crashed or did not end before, and its etag is the same
    # a job failed
    JOB_FAILED = "job_failed"
    NO_REPORT = "no_report"  # the cluster reports success, but there is no valid report
    JOB_LOST = "job_lost"  # pre-empted, evicted, or forgotten by the cluster
    QUEUED_TOO_LONG = "queued_too_long"
    NO_SIGN = "no_sign"  # the cluster reports it running, but it never reported progress
    STALLED = "stalled"  # the cluster reports it running, but its progress has stopped
    RAN_TOO_LONG = "ran_too_long"
    REJECTED = "rejected"  # the cluster rejects such a job
    COMMIT_CONFLICT = "commit_conflict"  # the target has other content
    REGRESSION = "worse"  # a redrive scored fewer models than are committed; those stay
    # a run ended early, or never started
    EMPTY_FLEET = "empty_fleet"
    CANCELLED = "cancelled"
    DEADLINE = "deadline"  # of the run
    TOO_MANY_FAILURES = "too_many_failures"  # more than are tolerated
    CIRCUIT_OPEN = "circuit_open"  # the first chunks to end failed completely, all for one reason
    TOO_LATE = "too_late"  # older than the limit of catch-up
    LEDGER_LOST = "ledger_lost"  # rebuilt from plans and reports, which do not show its end


SKIPS = frozenset({Reason.NO_READINGS, Reason.SENSOR_SILENT, Reason.MODEL_REMOVED, Reason.QUARANTINED})
POISON = frozenset({Reason.CRASHED, Reason.ENDLESS})  # such a model is put into quarantine


def decide_outcome(reason: Reason | None) -> Outcome:
    """The outcome for a reason; None is scored."""
    if reason is None:
        return Outcome.SCORED
    return Outcome.SKIPPED if reason in SKIPS else Outcome.FAILED


@dataclass(frozen=True, slots=True)
class Tally:
    """Models by outcome, and their rows. The outcomes of a closed run sum to its plan's total."""

    scored: int = 0
    failed: int = 0
    skipped: int = 0
    cancelled: int = 0
    not_attempted: int = 0
    rows: int = 0
    anomalies: int = 0
    seconds: float = 0.0  # of work on nodes, summed over chunks

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
    for failure in groups:
        earlier = merged.get(failure.reason)
        count = failure.models + (earlier.models if earlier else 0)
        first = earlier or failure
        merged[failure.reason] = Failure(first.reason, first.outcome, count, first.example, first.message)
    return tuple(sorted(merged.values(), key=lambda f: (-f.models, f.reason)))


@dataclass(frozen=True, slots=True)
class PartStatistics:
    """What a reader may know of a part, which has a row at least, without opening it."""

    first_time: int  # microseconds since 1970
    last_time: int
    first_device: str  # the least and the greatest, by code points
    last_device: str
    nulls: Mapping[str, int]  # by column


@dataclass(frozen=True, slots=True)
class Part:
    """Predictions of one process for one chunk, as the report names them."""

    path: str  # within the working container
    bytes: int
    md5: str  # base64, as in the store
    rows: int
    etag: str = ""  # of its copy in the predictions, once it is committed
