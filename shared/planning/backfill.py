"""What a backfill does with a window. Pure."""

from __future__ import annotations

from shared.state.requests import Scope, WishKind
from shared.state.runs import Phase, Run


def backfill_decision(run: Run | None, scope: Scope) -> WishKind | None:
    """What a backfill does with a window whose run stands so; None: it is left alone."""
    if run is None or run.phase is Phase.MISSED:
        return WishKind.RUN
    if not run.phase.terminal or scope is Scope.MISSING:
        return None
    if scope is Scope.ALL:
        return WishKind.REPROCESS
    return None if run.phase is Phase.SUCCEEDED else WishKind.REDRIVE
