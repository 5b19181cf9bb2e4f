"""The HTTP answers about sinks, and about runs at them, made from the ledger's values. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.contract.publishing.sinks import SinkKind
from shared.contract.publishing.urls import hide_path
from shared.contract.windows import EPOCH
from shared.publishing.notices import is_overdue
from shared.publishing.publications import find_oldest
from shared.publishing.published_range import PublishedRange
from shared.publishing.sink_options import SinkOptions
from shared.state.publications import Publication, PublicationState, Sink
from shared.state.runs import AttemptState, Heartbeat


@dataclass(frozen=True, slots=True)
class PublicationView:
    """A run at a sink. What the sink holds of it is `published_round`; null: nothing."""

    sink: SinkKind
    run: str
    state: PublicationState
    round: int  # that the sink is to hold
    revision: int
    removal: bool  # the sink is to hold nothing of it
    since: datetime  # when it entered its state
    asked_at: datetime  # while it is open: since when the sink lacks it
    job: int  # that has or had it; 0: none yet
    published_round: int | None
    published_at: datetime | None
    rows: int  # as the sink holds it
    stored: str  # the sink's own name of that: a version of the table, a transaction
    failures: int  # in a row
    reason: str  # why it failed last; empty: it did not
    message: str
    next_try: datetime | None  # null: at the next job


@dataclass(frozen=True, slots=True)
class PublicationPage:
    """Runs that a sink holds, the newest window first. `next` is the cursor of the next page."""

    items: tuple[PublicationView, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class SinkJobView:
    """The job of a sink. Its log is in the working container, in the folder of its run."""

    number: int
    run: str  # the id that stands for it in place of a run
    state: AttemptState
    since: datetime


@dataclass(frozen=True, slots=True)
class AskedRangeView:
    """A range whose runs a tick is to ask for; `again`: also those that the sink has."""

    start: datetime
    end: datetime
    again: bool
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class SinkView:
    """A sink that is set."""

    sink: SinkKind
    target: Mapping[str, str]  # what its jobs are given; no password, and of a receiver of events the host alone
    job: SinkJobView | None
    job_ended_at: datetime | None  # the last that is over
    failures: int  # jobs in a row that left no report
    message: str  # why the last of these failed
    next_job: datetime | None  # null: as soon as a run waits
    open: int  # runs that it lacks
    oldest: PublicationView | None  # the one that it lacks for longest
    overdue: bool  # it lacks it for more than an hour
    newest: PublicationView | None  # the newest window that it holds
    asked: tuple[AskedRangeView, ...]  # requests that wait for a tick


@dataclass(frozen=True, slots=True)
class UnpublishedView:
    """The run that a sink lacks for longest, as the last tick saw it."""

    sink: str
    run: str
    since: datetime
    reason: str  # and the message; empty: it only waits


def make_publication_view(entry: Publication) -> PublicationView:
    """The answer about a run at a sink."""
    return PublicationView(
        sink=entry.sink,
        run=entry.run,
        state=entry.state,
        round=entry.round,
        revision=entry.revision,
        removal=entry.is_removal,
        since=entry.since,
        asked_at=entry.asked_at,
        job=entry.job,
        published_round=entry.published_round,
        published_at=entry.published_at,
        rows=entry.rows,
        stored=entry.stored,
        failures=entry.failures,
        reason=entry.reason,
        message=entry.message,
        next_try=None if entry.not_before == EPOCH else entry.not_before,
    )


def make_sink_view(
    options: SinkOptions,
    sink: Sink,
    entries: Sequence[Publication],
    newest: Publication | None,
    requests: Sequence[AskedRangeView],
    now: datetime,
) -> SinkView:
    """The answer about a sink. *entries*: what it lacks."""
    oldest = find_oldest(entries)
    return SinkView(
        sink=sink.kind,
        target=_show_target(options),
        job=SinkJobView(sink.job.number, sink.run, sink.job.state, sink.job.since) if sink.job else None,
        job_ended_at=sink.ended_at,
        failures=sink.failures,
        message=sink.message,
        next_job=None if sink.not_before == EPOCH else sink.not_before,
        open=len(entries),
        oldest=make_publication_view(oldest) if oldest else None,
        overdue=is_overdue(oldest.asked_at if oldest else None, now),
        newest=make_publication_view(newest) if newest else None,
        asked=tuple(requests),
    )


def _show_target(options: SinkOptions) -> Mapping[str, str]:
    target = dict(options.target)
    return {**target, "url": hide_path(target["url"])} if options.kind is SinkKind.EVENTS else target


def make_asked_view(interval: PublishedRange, asked_at: datetime, *, again: bool) -> AskedRangeView:
    """The answer about a range that is asked for."""
    return AskedRangeView(interval.span.start, interval.span.end, again, asked_at)


def make_unpublished_view(beat: Heartbeat) -> UnpublishedView | None:
    """What the last tick noted; None where no sink lacks a run."""
    if not beat.unpublished or beat.unpublished_since is None:
        return None
    return UnpublishedView(beat.unpublished_sink, beat.unpublished, beat.unpublished_since, beat.unpublished_reason)
