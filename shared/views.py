"""What status pages and clients are told, made from the ledger's values. Pure.

A view holds instants, never ages: it stays true while it lies in somebody's cache. These are FastAPI's response models
too; there is no second set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .contract import Verdict, job_name
from .domain import Failure, Outcome, Reason, Tally, outcome_of
from .ports import Sighting
from .runs import Chunk, ChunkState, Heartbeat, Phase, Run
from .windows import Window
from .wishes import Wish

LATE = timedelta(minutes=10)  # without a tick: somebody should look


@dataclass(frozen=True, slots=True)
class Span:
    """The readings that a run scores: from `start`, up to and without `end`."""

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
    observed_at: datetime | None
    opened_at: datetime
    planned_at: datetime | None
    progress_at: datetime | None
    cancelled_at: datetime | None
    ended_at: datetime | None
    models: ModelCounts
    chunks: Mapping[ChunkState, int]
    rows: int
    anomalies: int
    progress: float  # share of the models that are done, 0 to 1
    models_per_second: float | None  # since the plan
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
class AttemptView:
    """One try at a chunk whose end was not seen yet.

    Since `doubted_since` no tick has had a word of it from the cluster; after `SILENCE` it will be given up as lost.
    `cluster` is what the cluster says when asked just now.
    """

    number: int
    job: str
    state: str
    since: datetime
    done: int
    progress_at: datetime | None
    doubted_since: datetime | None
    cluster: str | None


@dataclass(frozen=True, slots=True)
class ChunkView:
    """A chunk of a run: which models (blob names from `first` to `last`), how it stands, and what it has cost."""

    id: str
    state: ChunkState
    since: datetime
    models: int
    first: str
    last: str
    scored: int
    failed: int
    skipped: int
    rows: int
    anomalies: int
    attempts: tuple[AttemptView, ...]
    attempts_made: int
    retries: int
    losses: int
    reason: Reason | None
    message: str


@dataclass(frozen=True, slots=True)
class ChunkPage:
    """Chunks, by id. `next` is the cursor of the next page."""

    items: tuple[ChunkView, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class ModelFailure:
    """One model that was not scored, and why."""

    model: str
    chunk: str
    reason: Reason
    outcome: Outcome
    message: str


@dataclass(frozen=True, slots=True)
class ModelFailurePage:
    """Models that were not scored. `next` is the cursor of the next page."""

    items: tuple[ModelFailure, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the timer beats. `late` is judged when asked; the instant beside it is what was found."""

    late: bool
    ticked_at: datetime | None
    decided_until: datetime | None  # windows that end by then have a run, or are recorded as missed
    trouble: str  # what the last tick could not do
    next_due: datetime  # when the next window becomes due


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
        observed_at=run.observed_at,
        opened_at=run.opened_at,
        planned_at=run.planned_at,
        progress_at=run.progress_at,
        cancelled_at=run.cancelled_at,
        ended_at=run.ended_at,
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
    if not run.planned_at or not until or not run.done:
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


def chunk_view(app: str, chunk: Chunk, seen: Mapping[str, Sighting] | None = None) -> ChunkView:
    """A chunk as people see it; *seen* is what the cluster says right now, where it was asked."""
    tally = chunk.tally if chunk.state.terminal else Tally()  # what a report says is no truth before it is committed
    return ChunkView(
        id=chunk.id,
        state=chunk.state,
        since=chunk.since,
        models=chunk.models,
        first=chunk.first,
        last=chunk.last,
        scored=tally.scored,
        failed=tally.failed,
        skipped=tally.skipped,
        rows=tally.rows,
        anomalies=tally.anomalies,
        attempts=_attempts(app, chunk, seen),
        attempts_made=chunk.next_attempt - 1,
        retries=chunk.retries,
        losses=chunk.losses,
        reason=chunk.reason,
        message=chunk.message,
    )


def _attempts(app: str, chunk: Chunk, seen: Mapping[str, Sighting] | None) -> tuple[AttemptView, ...]:
    views = []
    for attempt in chunk.attempts:
        name = job_name(app, chunk.run, chunk.id, attempt.number)
        said = None if seen is None else str(seen[name].state) if name in seen else "unknown"
        views.append(
            AttemptView(
                number=attempt.number,
                job=name,
                state=attempt.state,
                since=attempt.since,
                done=attempt.done,
                progress_at=attempt.sign_at,
                doubted_since=attempt.doubted_since,
                cluster=said,
            )
        )
    return tuple(views)


def model_failures(chunk: str, verdicts: Sequence[Verdict], reason: Reason) -> tuple[ModelFailure, ...]:
    """The models of one chunk that were not scored for this reason."""
    return tuple(
        ModelFailure(v.model, chunk, reason, outcome_of(reason), v.message) for v in verdicts if v.reason is reason
    )


def health(beat: Heartbeat, now: datetime, next_due: datetime) -> Health:
    """Whether the timer beats, judged at *now*."""
    late = beat.ticked_at is None or now - beat.ticked_at > LATE
    return Health(late, beat.ticked_at, beat.watermark, beat.trouble, next_due)
