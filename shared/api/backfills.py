"""What may be asked of backfills over HTTP: what one would do, one itself, its end. Writes wishes and new backfills."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar

from fastapi import APIRouter, Response
from pydantic import ConfigDict, Field

from shared.contract.errors import Conflict, Malformed
from shared.contract.windows import Window, format_length
from shared.control.services import Services
from shared.ports import Ledger
from shared.state.requests import Backfill, BackfillState, Scope, Wish, WishKind

from .backfill_views import BackfillView, Preview, backfill_view, preview
from .run_actions import CONFLICT, POLL_SECONDS, waiting

MAX_WINDOWS = 10_000


@dataclass(frozen=True, slots=True)
class AskedBackfill:
    """Windows to score, from the start of `from` to the end of `to`, a few at a time; each is a window or an instant.

    `dry_run` only tells what would happen, and has to be called off for it to happen.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    start: Annotated[str, Field(alias="from")]
    end: Annotated[str, Field(alias="to")]
    scope: Scope = Scope.MISSING
    max_open: Annotated[int, Field(ge=1, le=24)] = 1
    dry_run: bool = True


def _edge(text: str) -> Window:
    """A window by its id; an instant is one without length. Raises Malformed."""
    with suppress(Malformed):
        return Window.parse(text)
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is None:
            raise ValueError
        return Window(instant.astimezone(UTC), timedelta())
    except (ValueError, OverflowError):
        raise Malformed(
            "expected a window such as 20261121T0700Z-PT1H, or an instant with its offset such as 2026-11-21T07:00Z, "
            f"got {text!r}"
        ) from None


def closed_span(asked: AskedBackfill, length: timedelta, now: datetime) -> Window:
    """The range that is asked for: closed windows of the schedule's tiling, not too many. Raises Malformed."""
    start, end = _edge(asked.start).start, _edge(asked.end).end
    last = Window.containing(now, length).start
    if not start < end <= last:
        raise Malformed(
            f"expected a range of windows that have closed, which end by {last:%Y-%m-%dT%H:%MZ}, "
            f"got {start.isoformat()} to {end.isoformat()}"
        )
    if (end - start) / length > MAX_WINDOWS:
        raise Malformed(f"expected at most {MAX_WINDOWS} windows, got {(end - start) / length:.0f}")
    for edge in (start, end):
        tile = Window.containing(edge, length)
        if edge != tile.start:
            raise Malformed(
                f"expected a range that begins and ends between two windows of {format_length(length)}, as WINDOW "
                f"tiles the day, such as at {tile.start:%Y-%m-%dT%H:%MZ}, got {edge.isoformat()}"
            )
    return Window(start, end - start)


def _add(ledger: Ledger, expected: Backfill) -> Backfill | None:
    """Ask for a backfill, in place of the same one if that is over; returns the one that is open. Raises Conflict."""
    if ledger.add_backfill(expected):
        return None
    there = ledger.backfill(expected.id)
    if there.state is BackfillState.OPEN:
        if waiting(ledger, WishKind.CANCEL, there.id):
            raise Conflict(f"expected a backfill that is open or over, got {there.id} about to be cancelled: wait")
        return there
    ledger.remove_wish(Wish(WishKind.CANCEL, there.id, expected.asked_at))  # of the pass before: its runs may still end
    ledger.remove_backfill(there.id)
    ledger.add_backfill(expected)  # False: somebody else did in this moment; it is the same
    return None


def backfills(services: Services, clock: Callable[[], datetime]) -> APIRouter:
    """Ask for backfills, list them, show one, cancel one."""
    router = APIRouter(prefix="/api/backfills", tags=["backfills"])
    ledger, length = services.ledger, services.rules.window

    def told(backfill: Backfill, status: int, response: Response) -> BackfillView:
        response.status_code = status
        if backfill.state is BackfillState.OPEN:
            response.headers["Retry-After"] = str(POLL_SECONDS)
        return backfill_view(backfill, length)

    @router.post(
        "",
        responses={
            200: {"description": "what would happen, or the backfill that is open already"},
            202: {"model": BackfillView, "description": "it is asked for"},
            **CONFLICT,
        },
    )
    def ask(asked: AskedBackfill, response: Response) -> Preview | BackfillView:
        """Ask what a backfill would do, and for it. Its range and scope name it: asking twice is asking once.

        One that is over is begun anew. The schedule's own windows go first.
        """
        now = clock()
        span = closed_span(asked, length, now)
        expected = Backfill(f"backfill-{span.id}-{asked.scope}", span, asked.scope, asked.max_open, now, span.start)
        if asked.dry_run:
            return preview(expected, length, ledger.runs_in(span.start, span.end))
        response.headers["Location"] = f"/api/backfills/{expected.id}"
        there = _add(ledger, expected)
        if there:
            return told(there, 200, response)
        return told(expected, 202, response)

    @router.get("")
    def page() -> tuple[BackfillView, ...]:
        """All backfills, the one that was asked for last first. There are few."""
        return tuple(backfill_view(one, length) for one in reversed(ledger.backfills()))

    @router.get("/{backfill_id}")
    def show(backfill_id: str, response: Response) -> BackfillView:
        """One backfill. While it is open, `Retry-After` says how soon to ask again."""
        return told(ledger.backfill(backfill_id), 200, response)

    @router.post(
        "/{backfill_id}/cancel",
        status_code=202,
        responses={200: {"model": BackfillView, "description": "it is over already"}},
    )
    def cancel(backfill_id: str, response: Response) -> BackfillView:
        """Ask a backfill to stop, and the runs that it opened; what is committed stays."""
        there = ledger.backfill(backfill_id)
        if there.state is not BackfillState.OPEN:
            return told(there, 200, response)
        ledger.add_wish(Wish(WishKind.CANCEL, there.id, clock()))
        return told(there, 202, response)

    return router
