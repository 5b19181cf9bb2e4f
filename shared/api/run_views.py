"""What status pages and clients are told of runs and of the timer, made from the ledger's values. Pure.

A view holds instants, never ages: it stays true while it lies in somebody's cache. These are FastAPI's response models
too; there is no second set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.contract.domain import Failure, Outcome, Reason
from shared.contract.version import VERSION
from shared.contract.windows import Window
from shared.state.requests import Wish, WishKind
from shared.state.runs import ChunkState, Heartbeat, Phase, Run

LATE = timedelta(minutes=10)  # without a tick: somebody should look


@dataclass(frozen=True, slots=True)
class Span:
    """The readings of a window, or of a range of them: from `start`, up to and without `end`."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class ModelCounts:
    """The models of a run's plan. All but `total` and `done` sum to `total` at every moment."""

    total: int
    done: int  # ended, or called done by a job that is under way
    waiting: int  # not ended yet
    scored: int
    failed: int
    skipped: int
    cancelled: int
    not_attempted: int
    ignored: int  # blobs among the models that are none; in no other count


@dataclass(frozen=True, slots=True)
class FailureView:
    """The models that were not scored for one reason, with one of them as the example."""

    reason: Reason
    outcome: Outcome
    models: int
    example: str
    message: str


@dataclass(frozen=True, slots=True)
class RunView:
    """A run, as of `observed_at`: the instant at which a tick last looked at the cluster and the storage."""

    id: str
    phase: Phase
    window: Span
    asked_by: str
    round: int  # how often it was opened again
    redo: WishKind | None  # what this round does
    observed_at: datetime | None
    opened_at: datetime
    planned_at: datetime | None
    progress_at: datetime | None
    cancelled_at: datetime | None
    ended_at: datetime | None
    throttled_until: datetime | None  # the cluster wants to be left alone until then
    stopped: Reason | None  # why no further chunk starts, although it is open
    max_in_flight: int | None  # where a person changed it for this round
    tolerated_failures: int | None  # the same; in percent
    plans: int
    models: ModelCounts
    chunks: Mapping[ChunkState, int]
    rows: int
    anomalies: int
    progress: float  # share of the models that are done, 0 to 1
    models_per_second: float | None  # since the plan; null for a round that goes on with what others scored
    expected_end: datetime | None  # at that rate
    stalled: bool  # open, and no progress for longer than a job may be silent
    failures: tuple[FailureView, ...]
    reason: Reason | None
    message: str


@dataclass(frozen=True, slots=True)
class RunPage:
    """Runs, the newest window first. `next` is the cursor of the next page."""

    items: tuple[RunView, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class NodesView:
    """The cluster's nodes as a tick counted them at `observed_at`; ticks count while there are runs to look after."""

    current: int
    target: int
    states: Mapping[str, int]  # in the cluster's own words
    observed_at: datetime


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the timer beats. `late` is judged when asked; the instant beside it is what was found."""

    late: bool
    ticked_at: datetime | None
    decided_until: datetime | None  # windows that end by then have a run, or are recorded as missed
    trouble: str  # what the last tick could not do
    next_due: datetime  # when the next window becomes due
    paused_since: datetime | None  # no window is opened for the schedule until it is resumed
    throttled_until: datetime | None  # the cluster wants to be left alone until then
    nodes: NodesView | None  # null until they were counted once
    version: str  # of the app; empty for who may not read


def run_view(run: Run, silence: timedelta) -> RunView:
    """A run as people see it. *silence* is how long an open run may be without progress."""
    tally = run.tally
    rate, expected_end = _rate(run)
    last = run.progress_at or run.planned_at or run.opened_at
    observed = run.observed_at or run.opened_at
    return RunView(
        id=run.id,
        phase=run.phase,
        window=Span(run.window.start, run.window.end),
        asked_by=run.asked_by,
        round=run.round,
        redo=run.redo,
        observed_at=run.observed_at,
        opened_at=run.opened_at,
        planned_at=run.planned_at,
        progress_at=run.progress_at,
        cancelled_at=run.cancelled_at,
        ended_at=run.ended_at,
        throttled_until=run.throttled_until,
        stopped=run.stopped,
        max_in_flight=run.max_in_flight,
        tolerated_failures=run.tolerated_failures,
        plans=run.plans,
        models=ModelCounts(
            total=run.models,
            done=run.done,
            waiting=run.models - tally.models,
            scored=tally.scored,
            failed=tally.failed,
            skipped=tally.skipped,
            cancelled=tally.cancelled,
            not_attempted=tally.not_attempted,
            ignored=run.ignored,
        ),
        chunks=run.chunk_states,
        rows=tally.rows,
        anomalies=tally.anomalies,
        progress=run.done / run.models if run.models else 0.0,
        models_per_second=rate,
        expected_end=expected_end,
        stalled=not run.phase.terminal and observed - last > silence,
        failures=tuple(map(failure_view, run.failures)),
        reason=run.reason,
        message=run.message,
    )


def _rate(run: Run) -> tuple[float | None, datetime | None]:
    """Models per second since the plan, and the end that this makes one expect."""
    until = run.ended_at or run.observed_at  # not the last progress: a run that stands still gets slower
    if not run.planned_at or not until or not run.done or run.redo in (WishKind.REDRIVE, WishKind.EXTEND):
        return None, None
    seconds = (until - run.planned_at).total_seconds()
    if seconds <= 0:
        return None, None
    rate = run.done / seconds
    left = timedelta(seconds=(run.models - run.done) / rate)
    return rate, None if run.phase.terminal else until + left


def requested_view(wish: Wish, silence: timedelta) -> RunView:
    """A run that was asked for and that no tick has taken up yet."""
    return run_view(Run(Window.parse(wish.target), Phase.REQUESTED, wish.asked_at, asked_by="request"), silence)


def failure_view(failure: Failure) -> FailureView:
    """A group of failures as people see it."""
    return FailureView(failure.reason, failure.outcome, failure.models, failure.example, failure.message)


def health(beat: Heartbeat, now: datetime, next_due: datetime, paused: Wish | None) -> Health:
    """Whether the timer beats, judged at *now*."""
    late = beat.ticked_at is None or now - beat.ticked_at > LATE
    since = paused.asked_at if paused else None
    throttled = beat.throttled_until if beat.throttled_until and beat.throttled_until > now else None
    return Health(late, beat.ticked_at, beat.watermark, beat.trouble, next_due, since, throttled, _nodes(beat), VERSION)


def for_strangers(told: Health) -> Health:
    """The same for who may not read: without names of what lies in Azure, the cluster's size, and the version."""
    trouble = "told to who may read: GET /api/schedule" if told.trouble else ""
    return replace(told, trouble=trouble, throttled_until=None, nodes=None, version="")


def _nodes(beat: Heartbeat) -> NodesView | None:
    if not beat.nodes or not beat.nodes_at:
        return None
    return NodesView(beat.nodes.current, beat.nodes.target, beat.nodes.states, beat.nodes_at)
