"""What people ask for, and what the tick stores for them: requests, backfills, the quarantine. Frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.contract.reasons import Reason
from shared.contract.windows import Window


class RequestKind(StrEnum):
    """What a person may ask for."""

    RUN = "run"
    CANCEL = "cancel"  # of a run or of a backfill
    REDRIVE = "redrive"  # the models that failed, or were skipped, cancelled or not attempted
    REPROCESS = "reprocess"  # all
    RESCORE = "rescore"  # the models that rows came late for; asked for by the tick alone (RESCORE_LATE)
    EXTEND = "extend"  # by the models that are in no plan of the run
    LIMITS = "limits"  # of an open run
    PAUSE = "pause"  # of the schedule; until it is resumed
    PUBLISH = "publish"  # runs of a range that a sink lacks
    REPUBLISH = "republish"  # all runs of a range, also those that the sink has: it has a new table

    @property
    def reopens(self) -> bool:
        """Whether it opens a further round of a run that is over."""
        return self in (RequestKind.REDRIVE, RequestKind.REPROCESS, RequestKind.EXTEND)

    @property
    def publishes(self) -> bool:
        """Whether it asks a sink to hold runs that are over."""
        return self in (RequestKind.PUBLISH, RequestKind.REPUBLISH)

    @property
    def is_for_open(self) -> bool:
        """Whether it changes a run or a backfill that is open, and means nothing once that is over."""
        return self in (RequestKind.CANCEL, RequestKind.LIMITS)

    @property
    def carries(self) -> bool:
        """Whether its round carries over what is scored already, but for what it scores once more."""
        return self in (RequestKind.REDRIVE, RequestKind.RESCORE)

    @property
    def is_partial(self) -> bool:
        """Whether its round is of some of the models."""
        return self in (RequestKind.REDRIVE, RequestKind.EXTEND, RequestKind.RESCORE)

    @property
    def rereads(self) -> bool:
        """Whether its round reads once more for the models that it is of, also for those that were scored."""
        return self in (RequestKind.REPROCESS, RequestKind.RESCORE)

    def writes_manifests(self, node_schema: int) -> bool:
        """Whether its round begins with manifests of its own. Nodes of schema 1 reprocess by those of the plan."""
        return self in (RequestKind.EXTEND, RequestKind.RESCORE) or (self is RequestKind.REPROCESS and node_schema > 1)


SCHEDULE = "schedule"  # the target of a pause


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asked for over HTTP, until a tick has done it. A repeated request changes nothing."""

    kind: RequestKind
    target: str  # a run, a backfill, the schedule, or a sink and a range
    asked_at: datetime
    max_in_flight: int | None = None  # of LIMITS; None: unchanged
    tolerated_failures: int | None = None
    version: str = ""

    @property
    def id(self) -> str:
        """Its key: there is one request of a kind for a target."""
        return f"{self.kind}-{self.target}"


class Scope(StrEnum):
    """Which windows of its range a backfill scores."""

    MISSING = "missing"  # windows without a run, or whose run was missed
    FAILED = "failed"  # also windows whose run failed, was cancelled, or left models unscored
    ALL = "all"  # every window, also those that succeeded


class BackfillState(StrEnum):
    """The state of a backfill."""

    OPEN = "open"
    DONE = "done"  # every window of it was decided; their runs may still be open
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Backfill:
    """The scoring of the windows of a range, a few at a time, and its progress."""

    id: str
    span: Window  # windows that start in it
    scope: Scope
    max_open: int  # of its runs at once; those of the schedule do not count
    asked_at: datetime
    cursor: datetime  # the start of the next window to decide; moves forward only, after the run's row exists
    state: BackfillState = BackfillState.OPEN
    opened: int = 0  # windows that it opened, or opened again
    passed: int = 0  # windows that it left unchanged
    ended_at: datetime | None = None
    version: str = ""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A model that planning skips until its etag changes or a person removes it from the quarantine."""

    model: str  # its id
    etag: str
    reason: Reason
    message: str
    run: str  # in which it was put into quarantine
    since: datetime
