"""What is told of a backfill: how far it has come, or what it would do. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.contract.windows import Window
from shared.planning.backfill import backfill_decision
from shared.state.requests import Backfill, BackfillState, Scope
from shared.state.runs import Run

from .run_views import Span


@dataclass(frozen=True, slots=True)
class BackfillView:
    """A backfill, and how far it has come: `decided` of `windows`. How its runs go is told by the runs."""

    id: str
    state: BackfillState
    span: Span
    scope: Scope
    max_open: int
    asked_at: datetime
    ended_at: datetime | None
    windows: int
    decided: int
    opened: int
    passed: int  # left as they were


class Action(StrEnum):
    """What a backfill does with a window."""

    RUN = "run"
    REDRIVE = "redrive"
    REPROCESS = "reprocess"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class WindowAction:
    """A window, and what a backfill does with it as its run stands now."""

    window: str
    action: Action


@dataclass(frozen=True, slots=True)
class Preview:
    """What a backfill would do, as the runs stand now: how many windows by action, and each of them, oldest first."""

    id: str
    span: Span
    scope: Scope
    max_open: int
    counts: Mapping[Action, int]
    windows: tuple[WindowAction, ...]


def backfill_view(backfill: Backfill, length: timedelta) -> BackfillView:
    """A backfill as people see it. *length* is that of a window."""
    span = backfill.span
    return BackfillView(
        id=backfill.id,
        state=backfill.state,
        span=Span(span.start, span.end),
        scope=backfill.scope,
        max_open=backfill.max_open,
        asked_at=backfill.asked_at,
        ended_at=backfill.ended_at,
        windows=span.length // length,
        decided=(backfill.cursor - span.start) // length,
        opened=backfill.opened,
        passed=backfill.passed,
    )


def preview(backfill: Backfill, length: timedelta, runs: Iterable[Run]) -> Preview:
    """What the ticks would do with each window of its span; *runs* are those whose windows start in it."""
    span, there = backfill.span, {run.id: run for run in runs}
    windows = [Window(span.start + n * length, length).id for n in range(span.length // length)]
    expected = (backfill_decision(there.get(window), backfill.scope) for window in windows)
    actions = [Action(kind or Action.NOTHING) for kind in expected]
    found = Counter(actions)
    return Preview(
        id=backfill.id,
        span=Span(span.start, span.end),
        scope=backfill.scope,
        max_open=backfill.max_open,
        counts={action: found[action] for action in Action},
        windows=tuple(map(WindowAction, windows, actions)),
    )
