"""What a backfill does with a window. Pure."""

from __future__ import annotations

from shared.state.requests import RequestKind, Scope
from shared.state.runs import Phase, Run


def decide_window(run: Run | None, scope: Scope) -> RequestKind | None:
    """What a backfill does with a window in this state of its run; None: nothing."""
    if run is None or run.phase is Phase.MISSED:
        return RequestKind.RUN
    if not run.phase.terminal or scope is Scope.MISSING:
        return None
    if scope is Scope.ALL:
        return RequestKind.REPROCESS
    return None if run.phase is Phase.SUCCEEDED else RequestKind.REDRIVE
