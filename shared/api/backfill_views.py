"""The HTTP answers about backfills: their progress, or what one would do. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.contract.windows import Window
from shared.planning.backfill import decide_window
from shared.state.requests import Backfill, BackfillState, Scope
from shared.state.runs import Run

from .run_views import Span


@dataclass(frozen=True, slots=True)
class BackfillView:
    """A backfill and its progress: `decided` of `windows`. The state of its runs stands in the runs."""

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
    passed: int  # windows left unchanged


class Action(StrEnum):
    """What a backfill does with a window."""

    RUN = "run"
    REDRIVE = "redrive"
    REPROCESS = "reprocess"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class WindowAction:
    """A window, and what a backfill does with it in the present state of its run."""

    window: str
    action: Action


@dataclass(frozen=True, slots=True)
class Preview:
    """What a backfill would do in the present state of the runs: windows by action, and each window, oldest first."""

    id: str
    span: Span
    scope: Scope
    max_open: int
    counts: Mapping[Action, int]
    windows: tuple[WindowAction, ...]


def make_backfill_view(backfill: Backfill, length: timedelta) -> BackfillView:
    """The answer about a backfill. *length* is that of a window."""
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


def make_preview(backfill: Backfill, length: timedelta, runs: Iterable[Run]) -> Preview:
    """What the ticks would do with each window of its span; *runs* are those whose windows start in it."""
    span, runs_by_id = backfill.span, {run.id: run for run in runs}
    windows = [Window(span.start + n * length, length).id for n in range(span.length // length)]
    kinds = (decide_window(runs_by_id.get(window), backfill.scope) for window in windows)
    actions = [Action(kind or Action.NOTHING) for kind in kinds]
    counts = Counter(actions)
    return Preview(
        id=backfill.id,
        span=Span(span.start, span.end),
        scope=backfill.scope,
        max_open=backfill.max_open,
        counts={action: counts[action] for action in Action},
        windows=tuple(map(WindowAction, windows, actions)),
    )
