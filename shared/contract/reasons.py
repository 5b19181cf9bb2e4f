"""Why a model, a chunk or a run failed or was skipped: one table. Pure.

A new reason is a row of this table: its code, how a model ends by it, who may give it, what to do, and its spelling in
version 1 where that is another. The desk, the API, the page and docs/reasons.md take the rest from here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self

VERSIONS = (1, 2)  # of the codes: 1 is that of 0.1


class Outcome(StrEnum):
    """How a model of a plan ended. Exactly one of these."""

    SCORED = "scored"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    NOT_ATTEMPTED = "not_attempted"


class Source(StrEnum):
    """Who may give a reason."""

    PLAN = "plan"  # the plan, or a node that looks for the model's file
    MODEL = "model"  # whoever reads or scores the model, the sandbox included
    READINGS = "readings"  # whoever reads the model's readings, the sandbox included
    SUPERVISOR = (
        "supervisor"  # who looks after the process that scores: the model is poison, and is put into quarantine
    )
    JOB = "job"  # the app, about a job
    CLUSTER = "cluster"  # the app, about a job that failed through no fault of its own: that is no retry
    RUN = "run"  # the app, about a run


_FAILED, _SKIPPED = Outcome.FAILED, Outcome.SKIPPED


class Reason(StrEnum):
    """Why a model, a chunk or a run failed or was skipped. The list is closed: people group and alert by it.

    Settings in `advice` have the names that the app knows them by; the desk puts its options in their place.
    """

    source: Source
    outcome: Outcome  # of a model that ends by it: failed or skipped
    advice: str  # what to do
    first_code: str  # in version 1

    # fmt: off
    AMBIGUOUS = ("ambiguous", Source.PLAN, _FAILED,
        "Keep one file of this model and remove the others.")
    BAD_NAME = ("bad_name", Source.PLAN, _FAILED,
        "Name the file as MODEL_NAMES says, or set MODEL_NAMES to how the files are named.")
    MODEL_REMOVED = ("model_removed", Source.PLAN, _SKIPPED,
        "Nothing if the device is gone; else upload its model again.")
    QUARANTINED = ("quarantined", Source.PLAN, _SKIPPED,
        "Upload a model that does not end its process, or release this one from the quarantine.")
    EMPTY_MODEL = ("empty_model", Source.MODEL, _FAILED,
        "Upload the file again: it has no content.")
    TOO_LARGE = ("too_large", Source.MODEL, _FAILED,
        "Fit a smaller model, or raise MODEL_MIB.")
    UNREADABLE_MODEL = ("unreadable_model", Source.MODEL, _FAILED,
        "Save and upload the model again: the file is cut short, damaged or of no known format.")
    UNTRUSTED_MODEL = ("untrusted_model", Source.MODEL, _FAILED,
        "Ask who made the file: it names code that no model of a supported kind needs.")
    INCOMPATIBLE_MODEL = ("incompatible_model", Source.MODEL, _FAILED,
        "Fit the model again with a release of its library that this version reads; OTHER_VERSIONS says which are.")
    UNSUPPORTED_MODEL = ("unsupported_model", Source.MODEL, _FAILED,
        "Fit a model of a supported kind that has predict: docs/models.md lists them. Put a transformer before one.",
        "not_a_detector")
    NOT_NOVELTY = ("not_novelty", Source.MODEL, _FAILED,
        "Fit the LocalOutlierFactor with novelty=True: without it, it cannot score readings that are new to it.",
        "not_a_detector")
    UNFITTED_MODEL = ("unfitted_model", Source.MODEL, _FAILED,
        "Fit the model before it is saved.")
    BAD_SCORES = ("bad_scores", Source.MODEL, _FAILED,
        "Fit the model again: its scores are not finite, or not one for each row.")
    ESTIMATOR_ERROR = ("estimator_error", Source.MODEL, _FAILED,
        "Score the model with its own library on the same readings: it raised the error in the message.")
    WRONG_FEATURES = ("wrong_features", Source.READINGS, _FAILED,
        "Fit the model on named columns, give it a sidecar features.json, or set FEATURES to their names in its order.")
    MISSING_FEATURES = ("missing_features", Source.READINGS, _FAILED,
        "Add the columns that the message names to the readings, or fit the model without them.",
        "wrong_features")
    BAD_READINGS = ("bad_readings", Source.READINGS, _FAILED,
        "Correct the cell that the message names; BAD_ROWS=skip leaves such rows out.")
    UNREADABLE_READINGS = ("unreadable_readings", Source.READINGS, _FAILED,
        "Set the option that the message names, or write the file of readings again.")
    NO_READINGS = ("no_readings", Source.READINGS, _SKIPPED,
        "Nothing if the device was off; else see whether readings arrived as READINGS_PATH and READINGS_COLUMNS say.")
    SENSOR_SILENT = ("sensor_silent", Source.READINGS, _SKIPPED,
        "Look at the sensor that the message names: its device has readings, and this sensor has none.",
        "no_readings")
    CRASHED = ("crashed", Source.SUPERVISOR, _FAILED,
        "Fit the model again, or a smaller one: it ended the process that scored it, also alone.")
    ENDLESS = ("endless", Source.SUPERVISOR, _FAILED,
        "Fit a smaller model: this one did not end in time, also alone.")
    JOB_FAILED = ("job_failed", Source.JOB, _FAILED,
        "Read the log of the job, the last line first; correct the cause, then redrive.")
    NO_REPORT = ("no_report", Source.JOB, _FAILED,
        "Read the log of the job: the cluster reports success, but there is no valid report; then redrive.")
    NO_SIGN = ("no_sign", Source.JOB, _FAILED,
        "Read the log of the job: it runs, but never reported progress; then redrive, or raise START_TIMEOUT.")
    STALLED = ("stalled", Source.JOB, _FAILED,
        "Read the log of the job: its progress stopped; then redrive, or raise STALL_TIMEOUT.")
    RAN_TOO_LONG = ("ran_too_long", Source.JOB, _FAILED,
        "Make chunks smaller by CHUNK_SIZE, or raise JOB_TIMEOUT; then redrive.")
    REJECTED = ("rejected", Source.JOB, _FAILED,
        "Do what the message of the cluster says, then redrive.")
    COMMIT_CONFLICT = ("commit_conflict", Source.JOB, _FAILED,
        "Move the file, or end the lease or policy that the message names; then redrive, or reprocess what was kept.")
    REGRESSION = ("worse", Source.JOB, _FAILED,
        "Look why this round scored fewer models; the predictions of the round before stay.")
    JOB_LOST = ("job_lost", Source.CLUSTER, _FAILED,
        "Look at the cluster, which lost the job; then redrive.")
    QUEUED_TOO_LONG = ("queued_too_long", Source.CLUSTER, _FAILED,
        "Look at the cluster, which gave the job no node; then redrive.")
    EMPTY_FLEET = ("empty_fleet", Source.RUN, _FAILED,
        "Look at MODELS_CONTAINER, MODEL_NAMES and MODEL_FORMATS, then redrive.")
    CANCELLED = ("cancelled", Source.RUN, _FAILED,
        "Nothing: a person cancelled it. A redrive scores the rest.")
    DEADLINE = ("deadline", Source.RUN, _FAILED,
        "Raise RUN_DEADLINE or MAX_IN_FLIGHT if the run was slow, then redrive.")
    TOO_MANY_FAILURES = ("too_many_failures", Source.RUN, _FAILED,
        "Correct the most frequent reason, or raise TOLERATED_FAILURES, then redrive.")
    CIRCUIT_OPEN = ("circuit_open", Source.RUN, _FAILED,
        "Correct the one reason for which the first chunks failed, then redrive.")
    TOO_LATE = ("too_late", Source.RUN, _FAILED,
        "Request the window, or several by a backfill; CATCH_UP says how old a window may be.")
    LEDGER_LOST = ("ledger_lost", Source.RUN, _FAILED,
        "Redrive: the rebuilt ledger found no result of it.")
    # fmt: on

    def __new__(
        cls,
        code: str,
        source: Source = Source.MODEL,
        outcome: Outcome = Outcome.FAILED,
        advice: str = "",
        first_code: str = "",
    ) -> Self:
        """A row of the table."""
        reason = str.__new__(cls, code)
        reason._value_ = code
        reason.source, reason.outcome, reason.advice, reason.first_code = source, outcome, advice, first_code or code
        return reason

    @classmethod
    def _missing_(cls, value: object) -> Reason | None:
        """The reason of a code that only version 1 has: the first in the table."""
        return next((reason for reason in cls if reason.first_code == value), None)

    @property
    def is_poison(self) -> bool:
        """Whether its models are put into quarantine."""
        return self.source is Source.SUPERVISOR

    @property
    def is_of_jobs(self) -> bool:
        """Whether a chunk fails by it completely, whatever its models are."""
        return self.source in (Source.JOB, Source.CLUSTER)

    def get_code(self, version: int) -> str:
        """Its code in this version of the codes."""
        return self.first_code if version == 1 else str(self)


FROM_SANDBOX = frozenset(reason for reason in Reason if reason.source in (Source.MODEL, Source.READINGS))


def decide_outcome(reason: Reason | None) -> Outcome:
    """The outcome for a reason; None is scored."""
    return reason.outcome if reason else Outcome.SCORED
