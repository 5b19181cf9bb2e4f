"""What people ask for, and what the tick keeps for them: wishes, backfills, the quarantine. Frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.contract.domain import Reason
from shared.contract.windows import Window


class WishKind(StrEnum):
    """What a person may ask for."""

    RUN = "run"
    CANCEL = "cancel"  # of a run or of a backfill
    REDRIVE = "redrive"  # what failed, was skipped, was cancelled or was not attempted
    REPROCESS = "reprocess"  # all
    EXTEND = "extend"  # by the models that no plan of the run holds
    LIMITS = "limits"  # of an open run
    PAUSE = "pause"  # of the schedule; stands until it is taken back

    @property
    def reopens(self) -> bool:
        """Whether it gives a run that is over a further round."""
        return self in (WishKind.REDRIVE, WishKind.REPROCESS, WishKind.EXTEND)


SCHEDULE = "schedule"  # the target of a pause


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked for over HTTP, until a tick has done it. Asking twice is asking once."""

    kind: WishKind
    target: str  # a run, a backfill, or the schedule
    asked_at: datetime
    max_in_flight: int | None = None  # of LIMITS; None: as it was
    tolerated_failures: int | None = None
    version: str = ""

    @property
    def id(self) -> str:
        """Its key: one wish of a kind for a target."""
        return f"{self.kind}-{self.target}"


class Scope(StrEnum):
    """Which windows of its range a backfill scores."""

    MISSING = "missing"  # those that have no run, or whose run was missed
    FAILED = "failed"  # those too whose run failed, was cancelled, or left models unscored
    ALL = "all"  # every one, also those that went well


class BackfillState(StrEnum):
    """How a backfill stands."""

    OPEN = "open"
    DONE = "done"  # every window of it was decided; the runs tell how they went
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Backfill:
    """The wish to score the windows of a range, a few at a time, and how far that has come."""

    id: str
    span: Window  # windows that start in it
    scope: Scope
    max_open: int  # of its runs at once, beside those of the schedule
    asked_at: datetime
    cursor: datetime  # the start of the next window to decide; moves forward only, after the run's row exists
    state: BackfillState = BackfillState.OPEN
    opened: int = 0  # windows that it opened, or opened again
    passed: int = 0  # windows that it left as they were
    ended_at: datetime | None = None
    version: str = ""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A model that planning skips until its etag changes or a person strikes it off."""

    model: str  # its id
    etag: str
    reason: Reason
    message: str
    run: str  # where it was found
    since: datetime
