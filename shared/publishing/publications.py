"""Decides what a sink is to hold of a run, and what becomes of that after a job. Pure.

A publication is asked for when a round of a run has ended, and again for each further round: the sink then holds what
consumers of the plain folder read. Its `revision` only grows, so a job that was believed lost replaces nothing newer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from shared.contract.publishing.documents import PublicationResult
from shared.contract.publishing.sinks import SinkKind, SinkReason
from shared.contract.text import clip_text
from shared.contract.windows import EPOCH
from shared.state.publications import PUBLICATION_FOLLOWS, Publication, PublicationState
from shared.state.runs import Run

from .backoff import find_backoff

ABSENCES = 5  # so often a run is looked for that the ledger does not have


def ask_publication(stored: Publication | None, sink: SinkKind, run: Run, now: datetime) -> Publication | None:
    """The row that asks for what the run holds after its round; None where the sink lacks nothing.

    A run without any row is published only where it had some before.
    """
    if stored is None:
        fresh = Publication(sink, run.id, run.round, run.round, since=now, asked_at=now)
        return fresh if run.tally.rows else None
    if stored.round >= run.round and not stored.is_removal:
        return None
    revision = max(stored.revision + 1, run.round)
    request = replace(stored, round=run.round, revision=revision, is_removal=False, is_requested=False)
    return _wait_again(request, now)


def ask_once_more(
    stored: Publication | None, sink: SinkKind, run: Run, asked_at: datetime, now: datetime
) -> Publication | None:
    """As `ask_publication`, also where the sink took the run before *asked_at*: it may have a new table since.

    What waits for a job is not asked for twice; what failed before *asked_at* is tried at once. What a job has now may
    be in the old table.
    """
    if stored is None or stored.asked_at >= asked_at or stored.state is PublicationState.PENDING:
        return ask_publication(stored, sink, run, now)
    if stored.state is PublicationState.FAILED:
        further = ask_publication(stored, sink, run, now)
        return further or (_wait_again(stored, now) if stored.since < asked_at else None)
    revision = max(stored.revision + 1, run.round)
    return _wait_again(replace(stored, round=run.round, revision=revision), now)


def find_oldest(publications: Iterable[Publication]) -> Publication | None:
    """The one that a sink lacks for longest, of those that no person requested; None where they lack nothing."""
    entries = [entry for entry in publications if not entry.is_requested]
    return min(entries, key=lambda entry: (entry.asked_at, entry.sink, entry.run), default=None)


def note_absence(entry: Publication, now: datetime) -> Publication | None:
    """The row of a run that the ledger does not have; None where it is to be removed, since that was so each time."""
    if entry.failures >= ABSENCES:
        return None
    result = PublicationResult(
        entry.run,
        entry.round,
        entry.revision,
        is_removal=entry.is_removal,
        reason=SinkReason.PART_MISSING,
        message="the ledger has no such run",
    )
    return settle(entry, result, now)


def ask_before_pruning(
    stored: Publication | None, sink: SinkKind, run: Run, now: datetime, *, removes: bool
) -> Publication | None:
    """The row that asks for what has to be so before a run is pruned; None where that is asked or done.

    *removes*: the sink is to hold nothing of the run; else all of it. A sink that was never asked to hold it is asked
    nothing.
    """
    if stored is None and str(sink) not in run.offered_sinks:
        return None
    if not removes:
        return ask_publication(stored, sink, run, now)
    if stored is None:
        return Publication(sink, run.id, run.round, run.round, since=now, asked_at=now, is_removal=True)
    return None if stored.is_removal else _wait_again(replace(stored, is_removal=True, is_requested=False), now)


def _wait_again(entry: Publication, now: datetime) -> Publication:
    since = entry.asked_at if entry.state.is_open else now
    return replace(
        _enter_state(entry, PublicationState.PENDING, since),
        asked_at=since,
        not_before=EPOCH,
        failures=0,
        reason="",
        message="",
    )


def _enter_state(entry: Publication, state: PublicationState, since: datetime) -> Publication:
    """The row in a state that may follow its own. Every change of a state goes this way."""
    assert state is entry.state or state in PUBLICATION_FOLLOWS[entry.state], f"{entry.state} -> {state}"
    return replace(entry, state=state, since=since)


def select_due(publications: Iterable[Publication], sink: SinkKind, now: datetime) -> Sequence[Publication]:
    """Those of a sink that a job may take now: runs of the schedule, then of requests, what waits longest first."""
    due = [entry for entry in publications if entry.sink is sink and entry.state.is_open and entry.not_before <= now]
    return sorted(due, key=lambda entry: (entry.is_requested, entry.asked_at, entry.run))


def select_together(due: Sequence[Publication]) -> Sequence[Publication]:
    """Those of the due ones that a job takes: what failed before waits for the others, and takes none with it."""
    return [entry for entry in due if not entry.failures] or due


def give_to_job(entry: Publication, number: int, now: datetime) -> Publication:
    """The row of a run that a job has."""
    return replace(_enter_state(entry, PublicationState.RUNNING, now), job=number)


def take_back(entry: Publication, now: datetime) -> Publication:
    """The row after a job that left no result of it."""
    return _enter_state(entry, PublicationState.PENDING, now)


def blame(entry: Publication, message: str, now: datetime) -> Publication:
    """The row of the run that a job was publishing when it was lost: it may end each job that has it."""
    return _fail(entry, SinkReason.FAILED, message, now)


def _fail(entry: Publication, reason: SinkReason, message: str, now: datetime) -> Publication:
    failures = entry.failures + 1
    return replace(
        _enter_state(entry, PublicationState.FAILED, now),
        failures=failures,
        not_before=now + find_backoff(failures),
        reason=str(reason),
        message=clip_text(message),
    )


def settle(entry: Publication, result: PublicationResult, now: datetime) -> Publication:
    """The row after the job's result, which may be of an earlier round than the one that is asked for now."""
    if result.reason is SinkReason.AHEAD:
        return replace(take_back(entry, now), revision=max(entry.revision, result.ahead + 1))
    is_current = (entry.revision, entry.is_removal) == (result.revision, result.is_removal)
    if result.reason is not None:
        if not is_current:  # it says nothing of what is asked for now
            return take_back(entry, now)
        return _fail(entry, result.reason, result.message, now)
    return replace(
        _enter_state(entry, PublicationState.DONE if is_current else PublicationState.PENDING, now),
        published_round=None if result.is_removal else result.round,
        published_at=now,
        rows=0 if result.is_removal else result.rows,
        stored=result.stored,
        failures=0,
        not_before=EPOCH,
        reason="",
        message="",
    )
