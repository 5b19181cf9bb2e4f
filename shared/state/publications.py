"""What each sink holds of each run, and the job of a sink, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.contract.publishing.sinks import SinkKind, make_publishing_run
from shared.contract.windows import EPOCH

from .runs import Attempt


class PublicationState(StrEnum):
    """The state of a run at a sink."""

    PENDING = "pending"  # waits for a job
    RUNNING = "running"  # a job has it
    DONE = "done"
    FAILED = "failed"  # tried again later

    @property
    def is_open(self) -> bool:
        """Whether the sink does not hold yet what it should."""
        return self is not PublicationState.DONE


# A run that was published is pending again when a further round of it has ended, or when it is to be removed. One that
# the ledger does not have has failed without a job. A host with an older view may take back what a job has: then the
# job's report finds it pending.
PUBLICATION_FOLLOWS: Mapping[PublicationState, frozenset[PublicationState]] = {
    PublicationState.PENDING: frozenset({PublicationState.RUNNING, PublicationState.DONE, PublicationState.FAILED}),
    PublicationState.RUNNING: frozenset({PublicationState.PENDING, PublicationState.DONE, PublicationState.FAILED}),
    PublicationState.DONE: frozenset({PublicationState.PENDING}),
    PublicationState.FAILED: frozenset({PublicationState.PENDING, PublicationState.RUNNING}),
}


@dataclass(frozen=True, slots=True)
class Publication:
    """What a sink is to hold of a run, and what it holds. There is one for each run that is published to a sink."""

    sink: SinkKind
    run: str
    round: int  # of the run: what the sink is to hold
    revision: int  # of this publication within the sink; it only grows, and is at least the round
    since: datetime  # when it entered its state
    asked_at: datetime  # since when the sink lacks it
    state: PublicationState = PublicationState.PENDING
    is_removal: bool = False  # the sink is to hold nothing of the run
    is_requested: bool = False  # by a person, for a run of the past: runs of the schedule go first
    job: int = 0  # the number of the sink's job that has or had it
    published_round: int | None = None  # the last that the sink took; None: none, or it was removed
    published_at: datetime | None = None
    rows: int = 0  # as the sink holds it
    stored: str = ""  # the sink's own name of that: a table's version, a transaction
    failures: int = 0  # in a row
    not_before: datetime = EPOCH  # backoff
    reason: str = ""  # why it failed last
    message: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Sink:
    """The job of a sink: one at a time. *job* is the open attempt, whose number names the job."""

    kind: SinkKind
    next_number: int = 1  # only grows
    job: Attempt | None = None
    releasing: int = 0  # the number of a job that is over, and which the cluster is to forget; 0: none
    ended_at: datetime | None = None  # when the last job was over
    failures: int = 0  # jobs in a row that left no report
    not_before: datetime = EPOCH  # backoff after these
    message: str = ""  # why the last of these failed
    stuck_since: datetime | None = None  # people were notified that it lacks a run since then; None: it does not
    version: str = ""

    @property
    def run(self) -> str:
        """The id by which the cluster knows its job; "" without one."""
        return make_publishing_run(self.kind, self.job.number) if self.job else ""

    @property
    def watched_run(self) -> str:
        """The same, or that of the job that the cluster is to forget once it is over."""
        return self.run or (make_publishing_run(self.kind, self.releasing) if self.releasing else "")
