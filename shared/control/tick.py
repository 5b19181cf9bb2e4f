"""The state of one tick: its instant, its time budget, the requests, and whether the cluster is throttled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.contract.documents import SCHEMAS
from shared.contract.errors import Unavailable
from shared.contract.report import Report
from shared.ports import Stopwatch
from shared.state.publications import Publication
from shared.state.requests import Request, RequestKind
from shared.state.runs import Nodes, Run

LONGEST_THROTTLE = timedelta(hours=1)  # even if the cluster asks for more


@dataclass(slots=True)
class Tick:
    """One tick: its instant, its time budget, the requests, and what went wrong."""

    now: datetime
    stopwatch: Stopwatch
    budget: timedelta
    requests: Sequence[Request]
    throttled_until: datetime | None
    node_schema: int = 1  # of the contract, that nodes read
    trouble: str = ""
    nodes: Nodes | None = None  # if they were counted in it
    predictions_schema: int | None = None  # of the plans that it writes
    assumes_features: bool = False  # models without names take the files' order while FEATURES is unset
    unpublished: Publication | None = None  # the run that a sink lacks for longest
    began: float = field(init=False)
    next_slot: float = field(init=False)  # of the stopwatch, at which the next job may be submitted

    def __post_init__(self) -> None:
        self.began = self.next_slot = self.stopwatch.read_seconds()

    @property
    def elapsed(self) -> timedelta:
        """The time since it began."""
        return timedelta(seconds=self.stopwatch.read_seconds() - self.began)

    def in_time(self) -> bool:
        """Whether there is time to start something."""
        return self.elapsed < self.budget

    @property
    def throttled(self) -> bool:
        """Whether the cluster asked for no requests for now."""
        return self.throttled_until is not None and self.now + self.elapsed < self.throttled_until

    def note_error(self, error: Unavailable) -> None:
        """Note the error of a cluster that did not answer, and how long it wants no requests."""
        self.trouble = str(error)
        if error.retry_after:
            wait = min(timedelta(seconds=error.retry_after), LONGEST_THROTTLE)
            self.throttled_until = self.now + self.elapsed + wait

    def note_reports(self, reports: Iterable[Report]) -> None:
        """Note what the nodes read that wrote these reports: the least, while they are being upgraded."""
        schemas = [max((schema for schema in report.reads if schema in SCHEMAS), default=1) for report in reports]
        self.node_schema = min(schemas, default=self.node_schema)

    def find_request(self, kind: RequestKind, run: Run) -> Request | None:
        """The request of this kind for a run, or for the backfill that opened it."""
        return next((w for w in self.requests if w.kind is kind and w.target in (run.id, run.asked_by)), None)

    def wait_for_slot(self, jobs: int, rate: float) -> None:
        """Wait until so many jobs may be submitted."""
        wait = self.next_slot - self.stopwatch.read_seconds()
        if wait > 0:
            self.stopwatch.sleep(wait)
        self.next_slot = max(self.next_slot, self.stopwatch.read_seconds()) + jobs / rate
