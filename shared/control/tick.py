"""What one tick knows of itself: its instant, its time budget, the wishes, and how the cluster wants to be treated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.contract.errors import Unavailable
from shared.ports import Stopwatch
from shared.state.requests import Wish, WishKind
from shared.state.runs import Nodes, Run

LONGEST_THROTTLE = timedelta(hours=1)  # a cluster that wants more is asked all the same


@dataclass(slots=True)
class Tick:
    """One tick: its instant, how long it may take, what it was told, and what went wrong in it."""

    now: datetime
    stopwatch: Stopwatch
    budget: timedelta
    wishes: Sequence[Wish]
    throttled_until: datetime | None
    trouble: str = ""
    nodes: Nodes | None = None  # where they were counted in it
    began: float = field(init=False)
    next_slot: float = field(init=False)  # of the stopwatch, at which the next job may be submitted

    def __post_init__(self) -> None:
        self.began = self.next_slot = self.stopwatch.seconds()

    @property
    def elapsed(self) -> timedelta:
        """Since it began."""
        return timedelta(seconds=self.stopwatch.seconds() - self.began)

    def in_time(self) -> bool:
        """Whether more may be begun."""
        return self.elapsed < self.budget

    @property
    def throttled(self) -> bool:
        """Whether the cluster wants to be left alone."""
        return self.throttled_until is not None and self.now + self.elapsed < self.throttled_until

    def heed(self, error: Unavailable) -> None:
        """Take note of what a cluster said that does not answer."""
        self.trouble = str(error)
        if error.retry_after:
            wait = min(timedelta(seconds=error.retry_after), LONGEST_THROTTLE)
            self.throttled_until = self.now + self.elapsed + wait

    def asked(self, kind: WishKind, run: Run) -> Wish | None:
        """The wish of this kind for a run, or for the backfill that opened it."""
        return next((w for w in self.wishes if w.kind is kind and w.target in (run.id, run.asked_by)), None)

    def pace(self, jobs: int, rate: float) -> None:
        """Wait until so many jobs may be submitted."""
        wait = self.next_slot - self.stopwatch.seconds()
        if wait > 0:
            self.stopwatch.sleep(wait)
        self.next_slot = max(self.next_slot, self.stopwatch.seconds()) + jobs / rate
