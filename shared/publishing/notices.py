"""Decides what people are notified of. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.contract.publishing.sinks import SinkKind
from shared.contract.text import clip_text
from shared.state.notices import Notice, NoticeKind
from shared.state.publications import Publication
from shared.state.runs import Phase, Run

from .backoff import find_backoff

OVERDUE = timedelta(hours=1)  # that a sink lacks a run: its retries are at most so far apart
GIVE_UP = timedelta(days=1)  # a notification that could not be sent for so long is dropped


@dataclass(frozen=True, slots=True)
class NotifyOptions:
    """Whether people are notified, and of which partial runs."""

    is_set: bool = False
    above: float = 5.0  # percent of a run's models that fail


def notice_run(run: Run, earlier: Run | None, options: NotifyOptions, now: datetime) -> Notice | None:
    """What the end of a round is worth; None where all went as it should. *earlier*: the run of the window before.

    A run that is well has recovered where people were notified of itself before, or in its first round of the window
    before. A run that a person cancelled is no news.
    """
    kind = _judge_run(run, options)
    was_bad = run.alarmed or (not run.round and earlier is not None and earlier.alarmed)
    if kind is None and was_bad and run.phase in (Phase.SUCCEEDED, Phase.PARTIAL):
        kind = NoticeKind.RECOVERED
    if kind is None:
        return None
    return Notice(f"{run.id}-{run.round}-{kind}", kind, run.id, clip_text(_describe_run(run, kind)), now)


def mark_run(run: Run, notice: Notice | None) -> Run:
    """The run after people were notified of it."""
    return replace(run, alarmed=notice.kind is not NoticeKind.RECOVERED) if notice else run


def _judge_run(run: Run, options: NotifyOptions) -> NoticeKind | None:
    match run.phase:
        case Phase.FAILED:
            return NoticeKind.FAILED
        case Phase.MISSED:
            return NoticeKind.MISSED
        case Phase.PARTIAL if run.tally.failed * 100 > options.above * max(run.models, 1):
            return NoticeKind.PARTIAL
        case _:
            return None


def _describe_run(run: Run, kind: NoticeKind) -> str:
    counts = f"{run.tally.scored} of {run.models} models scored, {run.tally.failed} failed"
    top = run.failures[0] if run.failures else None
    reason = f"; most often {top.reason}: {top.message}" if top else ""
    match kind:
        case NoticeKind.FAILED:
            return f"Run {run.id} failed: {run.message or run.reason or counts}"
        case NoticeKind.MISSED:
            return f"Run {run.id} was missed: {run.message}"
        case NoticeKind.PARTIAL:
            return f"Run {run.id} is partial: {counts}{reason}"
        case _:
            return f"Run {run.id} is well again: {counts}"


def is_overdue(since: datetime | None, now: datetime) -> bool:
    """Whether a person should look, since a sink lacks a run *since* then."""
    return since is not None and now - since >= OVERDUE


def find_stuck(entries: Sequence[Publication], sink: SinkKind, now: datetime) -> Publication | None:
    """The publication of a sink that is open for longest, where that is too long."""
    open_entries = [entry for entry in entries if entry.sink is sink and entry.state.is_open and not entry.is_requested]
    own = [entry for entry in open_entries if is_overdue(entry.asked_at, now)]
    return min(own, key=lambda entry: (entry.asked_at, entry.run), default=None)


def notice_stuck(entry: Publication, now: datetime) -> Notice:
    """The notification of a sink that does not take a run."""
    reason = f": {entry.reason}: {entry.message}" if entry.reason else ""
    text = f"Sink {entry.sink} is stuck: run {entry.run} waits since {entry.asked_at:%Y-%m-%d %H:%M} UTC{reason}"
    name = f"{entry.sink}-{entry.asked_at:%Y%m%dT%H%M%SZ}-{entry.run}-stuck"  # the same at each tick
    return Notice(name, NoticeKind.SINK_STUCK, entry.sink, clip_text(text), now)


def notice_unstuck(sink: SinkKind, since: datetime, now: datetime) -> Notice:
    """The notification of a sink that takes runs again. *since*: when it began to lack one."""
    name = f"{sink}-{since:%Y%m%dT%H%M%SZ}-recovered"
    return Notice(name, NoticeKind.SINK_RECOVERED, sink, f"Sink {sink} takes runs again", now)


def is_too_old(notice: Notice, now: datetime) -> bool:
    """Whether a notification is dropped: it could not be sent, or there was no URL for it."""
    return now - notice.at >= GIVE_UP


def retry_notice(notice: Notice, now: datetime) -> Notice:
    """The notification after a try that failed."""
    tries = notice.tries + 1
    return replace(notice, tries=tries, not_before=now + find_backoff(tries))
