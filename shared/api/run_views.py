"""The HTTP answers about runs and the timer, made from the ledger's values. Pure.

A view holds instants, never ages, so it stays true in a cache. The views are also FastAPI's response models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.contract.domain import Failure, Late
from shared.contract.reasons import Outcome, Reason
from shared.contract.summaries.predicted import Predicted
from shared.contract.version import VERSION
from shared.contract.windows import Window
from shared.control.options import ControlOptions
from shared.publishing.notices import is_overdue
from shared.state.requests import Quarantined, Request, RequestKind
from shared.state.runs import ChunkState, Heartbeat, Phase, Run, Waited

from .sink_views import PublicationView, UnpublishedView, make_unpublished_view

LATE = timedelta(minutes=10)  # without a tick: a person should look


@dataclass(frozen=True, slots=True)
class Span:
    """A range of readings, of one window or of several: from `start`, up to and without `end`."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class ModelCounts:
    """The models of a run's plan. All but `total` and `done` sum to `total` at every moment."""

    total: int
    done: int  # ended, or reported as done by a running job
    waiting: int  # not ended yet
    scored: int
    failed: int
    skipped: int
    cancelled: int
    not_attempted: int
    ignored: int  # blobs in the models' container that are not models; in no other count


@dataclass(frozen=True, slots=True)
class IgnoredFilesView:
    """The blobs in the models' container that are not models."""

    endings: Mapping[str, int]  # how many have each ending; `(none)` without one
    examples: tuple[str, ...]  # the first twenty, by name


@dataclass(frozen=True, slots=True)
class UnmodelledView:
    """The devices that have readings in the window and no model, of the chunks that count them."""

    devices: int
    examples: tuple[str, ...]  # the first twenty, sorted
    chunks: int  # of the run, whose devices are in these counts


@dataclass(frozen=True, slots=True)
class FailureView:
    """The models that were not scored for one reason, with one of them as the example; `advice` says what to do."""

    reason: Reason
    outcome: Outcome
    models: int
    example: str
    message: str
    advice: str


@dataclass(frozen=True, slots=True)
class QuarantinedView:
    """A model in quarantine; `advice` says what to do about `reason`."""

    model: str
    etag: str  # of the file that is skipped
    reason: Reason
    message: str
    run: str  # in which it was found
    since: datetime
    advice: str


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as of `observed_at`, the instant at which a tick last observed the cluster and the storage."""

    id: str
    phase: Phase
    window: Span
    asked_by: str
    waited: Waited | None  # how its wait for readings has ended; null: it did not wait
    round: int  # how often it was reopened
    redo: RequestKind | None  # what this round does
    observed_at: datetime | None
    opened_at: datetime
    planned_at: datetime | None
    progress_at: datetime | None
    cancelled_at: datetime | None
    ended_at: datetime | None
    throttled_until: datetime | None  # the cluster asked for no requests until then
    stopped: Reason | None  # why no further chunk starts although it is open
    max_in_flight: int | None  # if a person changed it for this round
    tolerated_failures: int | None  # the same; in percent
    plans: int
    models: ModelCounts
    chunks: Mapping[ChunkState, int]
    rows: int  # of predictions
    anomalies: int  # of detectors
    progress: float  # the share of the models that are done, 0 to 1
    models_per_second: float | None  # since the plan; null for a round that keeps earlier results
    expected_end: datetime | None  # at that rate
    stalled: bool  # open, and no progress for longer than a job may be silent
    failures: tuple[FailureView, ...]
    ignored_files: IgnoredFilesView
    unmodelled: UnmodelledView | None  # null: no chunk has counted them yet, or they are not counted
    late: Late | None  # rows of before the window in its folders; null: no chunk has counted them, or none can
    predicted: Predicted | None  # of the chunks that are over; null: all models that were scored are detectors
    reason: Reason | None
    message: str
    advice: str  # what to do about `reason`
    sinks: tuple[PublicationView, ...] | None = None  # the run at each sink that lacks or holds it; null in lists


@dataclass(frozen=True, slots=True)
class RunPage:
    """Runs, the newest window first. `next` is the cursor of the next page."""

    items: tuple[RunView, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class NodesView:
    """The cluster's nodes as a tick counted them at `observed_at`; ticks count them while runs are watched."""

    current: int
    target: int
    states: Mapping[str, int]  # the cluster's names of states
    observed_at: datetime


@dataclass(frozen=True, slots=True)
class WaitingView:
    """The window that is due and not opened, since its readings are not complete (WAIT_FOR)."""

    run: str  # the id that its run will have
    until: datetime  # then it is opened all the same


@dataclass(frozen=True, slots=True)
class Health:
    """The health of the scheduler. `late` is computed for each request, from the stored instants."""

    late: bool
    ticked_at: datetime | None
    decided_until: datetime | None  # windows that end by then have a run, or are recorded as missed
    trouble: str  # what failed in the last tick
    next_due: datetime  # when the next window becomes due
    paused_since: datetime | None  # the schedule opens no window until it is resumed
    throttled_until: datetime | None  # the cluster asked for no requests until then
    nodes: NodesView | None  # null until the first count
    waiting: WaitingView | None  # null: no window waits
    publishing_overdue: bool  # a sink lacks a run for more than an hour; runs go on
    unpublished: UnpublishedView | None  # the run that a sink lacks for longest; null too for who may not read
    opened_at_limit: str | None  # the last run of the schedule, if its readings were not known to be complete
    version: str  # of the app; empty for who may not read
    predictions_schema: int | None  # of new plans; null before the first tick, and for who may not read
    features: str | None  # of models without feature names in new plans; null in the same cases
    window_origin: str | None  # the day from which windows are counted; null in the same cases


def make_run_view(run: Run, silence: timedelta) -> RunView:
    """The answer about a run. *silence* is how long an open run may be without progress."""
    tally = run.tally
    rate, expected_end = _measure_rate(run)
    last = run.progress_at or run.planned_at or run.opened_at
    observed = run.observed_at or run.opened_at
    return RunView(
        id=run.id,
        phase=run.phase,
        window=Span(run.window.start, run.window.end),
        asked_by=run.asked_by,
        waited=run.waited,
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
        failures=tuple(map(make_failure_view, run.failures)),
        ignored_files=IgnoredFilesView(run.ignored_endings, run.ignored_examples),
        unmodelled=_make_unmodelled_view(run),
        late=run.late,
        predicted=run.predicted,
        reason=run.reason,
        message=run.message,
        advice=run.reason.advice if run.reason else "",
    )


def _make_unmodelled_view(run: Run) -> UnmodelledView | None:
    if run.unmodelled is None:
        return None
    return UnmodelledView(run.unmodelled.devices, run.unmodelled.examples, run.unmodelled_chunks)


def _measure_rate(run: Run) -> tuple[float | None, datetime | None]:
    """Models per second since the plan, and the end at that rate."""
    until = run.ended_at or run.observed_at  # not the last progress: the rate of a run without progress falls
    if not run.planned_at or not until or not run.done or (run.redo and run.redo.is_partial):
        return None, None
    seconds = (until - run.planned_at).total_seconds()
    if seconds <= 0:
        return None, None
    rate = run.done / seconds
    remaining = timedelta(seconds=(run.models - run.done) / rate)
    return rate, None if run.phase.terminal else until + remaining


def make_requested_view(request: Request, silence: timedelta) -> RunView:
    """The answer about a run that is requested and not opened yet."""
    return make_run_view(
        Run(Window.parse(request.target), Phase.REQUESTED, request.asked_at, asked_by="request"), silence
    )


def make_failure_view(failure: Failure) -> FailureView:
    """The answer about a group of failures."""
    return FailureView(
        failure.reason, failure.outcome, failure.models, failure.example, failure.message, failure.reason.advice
    )


def make_quarantined_view(entry: Quarantined) -> QuarantinedView:
    """The answer about a model in quarantine."""
    return QuarantinedView(
        entry.model, entry.etag, entry.reason, entry.message, entry.run, entry.since, entry.reason.advice
    )


def make_health(
    beat: Heartbeat, now: datetime, next_due: datetime, paused: Request | None, options: ControlOptions
) -> Health:
    """The health of the scheduler at *now*, under the options of the settings."""
    scoring = options.planning.scoring
    scoring = scoring.assume_features() if beat.assumes_features else scoring
    late = beat.ticked_at is None or now - beat.ticked_at > LATE
    since = paused.asked_at if paused else None
    throttled = beat.throttled_until if beat.throttled_until and beat.throttled_until > now else None
    nodes = _make_nodes_view(beat)
    waiting = WaitingView(beat.waiting, beat.waits_until) if beat.waiting and beat.waits_until else None
    return Health(
        late,
        beat.ticked_at,
        beat.watermark,
        beat.trouble,
        next_due,
        since,
        throttled,
        nodes,
        waiting,
        is_overdue(beat.unpublished_since, now),
        make_unpublished_view(beat),
        beat.at_limit or None,
        VERSION,
        beat.predictions_schema,
        None if beat.assumes_features is None else scoring.readings.features.describe_order(),
        None if beat.assumes_features is None else options.describe_window_origin(beat.window_origin),
    )


def hide_details(view: Health) -> Health:
    """The health without details, for callers that may not read: no Azure names, no size of the cluster, no version."""
    trouble = "shown to readers only: GET /api/schedule" if view.trouble else ""
    return replace(
        view,
        trouble=trouble,
        throttled_until=None,
        nodes=None,
        unpublished=None,
        version="",
        predictions_schema=None,
        features=None,
        window_origin=None,
    )


def _make_nodes_view(beat: Heartbeat) -> NodesView | None:
    if not beat.nodes or not beat.nodes_at:
        return None
    return NodesView(beat.nodes.current, beat.nodes.target, beat.nodes.states, beat.nodes_at)
