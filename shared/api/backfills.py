"""HTTP routes of backfills: preview, start, show, cancel. Writes requests and new backfills."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar

from fastapi import APIRouter, Response
from pydantic import ConfigDict, Field

from shared.contract.errors import Conflict, Malformed
from shared.contract.windows import Window, parse_edge
from shared.control.services import Services
from shared.ports import Ledger
from shared.state.requests import Backfill, BackfillState, Request, RequestKind, Scope

from .backfill_views import BackfillView, Preview, make_backfill_view, make_preview
from .run_actions import CONFLICT, POLL_SECONDS, describe_tiling, find_request

MAX_WINDOWS = 10_000


@dataclass(frozen=True, slots=True)
class AskedBackfill:
    """Windows to score, from the start of `from` to the end of `to`, a few at a time; each is a window or an instant.

    With `dry_run` the answer is what would happen, and nothing is started; it is true unless it is set to false.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    start: Annotated[str, Field(alias="from")]
    end: Annotated[str, Field(alias="to")]
    scope: Scope = Scope.MISSING
    max_open: Annotated[int, Field(ge=1, le=24)] = 1
    dry_run: bool = True


def parse_range(body: AskedBackfill, services: Services, now: datetime) -> Window:
    """The requested range: closed windows of the schedule's tiling, not too many. Raises Malformed."""
    length, origin = services.options.window, services.read_window_origin()
    start, end = parse_edge(body.start).start, parse_edge(body.end).end
    last = Window.containing(now, length, origin).start
    if not start < end <= last:
        raise Malformed(
            f"expected a range of windows that have closed, which end by {last:%Y-%m-%dT%H:%MZ}, "
            f"got {start.isoformat()} to {end.isoformat()}"
        )
    if (end - start) / length > MAX_WINDOWS:
        raise Malformed(f"expected at most {MAX_WINDOWS} windows, got {(end - start) / length:.0f}")
    for edge in (start, end):
        tile = Window.containing(edge, length, origin)
        if edge != tile.start:
            raise Malformed(
                f"expected a range that begins and ends between two windows {describe_tiling(length, origin)}, "
                f"such as at {tile.start:%Y-%m-%dT%H:%MZ}, got {edge.isoformat()}"
            )
    return Window(start, end - start)


def _add_backfill(ledger: Ledger, backfill: Backfill) -> Backfill | None:
    """Add a backfill, or replace the same one if it is over; returns the stored one if it is open. Raises Conflict."""
    if ledger.add_backfill(backfill):
        return None
    stored = ledger.read_backfill(backfill.id)
    if stored.state is BackfillState.OPEN:
        if find_request(ledger, RequestKind.CANCEL, stored.id):
            raise Conflict(f"expected a backfill that is open or over, got {stored.id} about to be cancelled: wait")
        return stored
    # A cancel of the earlier backfill must not end the new one.
    ledger.remove_request(Request(RequestKind.CANCEL, stored.id, backfill.asked_at))
    ledger.remove_backfill(stored.id)
    ledger.add_backfill(backfill)  # False: another request added the same one at this moment
    return None


def create_backfill_router(services: Services, clock: Callable[[], datetime]) -> APIRouter:
    """Routes to start backfills, list them, show one and cancel one."""
    router = APIRouter(prefix="/api/backfills", tags=["backfills"])
    ledger, length = services.ledger, services.options.window

    def answer(backfill: Backfill, status: int, response: Response) -> BackfillView:
        response.status_code = status
        if backfill.state is BackfillState.OPEN:
            response.headers["Retry-After"] = str(POLL_SECONDS)
        return make_backfill_view(backfill, length)

    @router.post(
        "",
        responses={
            200: {"description": "what would happen, or the backfill that is already open"},
            202: {"model": BackfillView, "description": "the backfill is requested"},
            **CONFLICT,
        },
    )
    def ask(body: AskedBackfill, response: Response) -> Preview | BackfillView:
        """Preview a backfill, or start it. Its range and scope are its id: a repeated request changes nothing.

        A backfill that is over is started again. The windows of the schedule go first.
        """
        now = clock()
        span = parse_range(body, services, now)
        backfill = Backfill(f"backfill-{span.id}-{body.scope}", span, body.scope, body.max_open, now, span.start)
        if body.dry_run:
            return make_preview(backfill, length, ledger.list_runs_in(span.start, span.end))
        response.headers["Location"] = f"/api/backfills/{backfill.id}"
        stored = _add_backfill(ledger, backfill)
        if stored:
            return answer(stored, 200, response)
        return answer(backfill, 202, response)

    @router.get("")
    def page() -> tuple[BackfillView, ...]:
        """All backfills, the newest first. There are few."""
        return tuple(make_backfill_view(backfill, length) for backfill in reversed(ledger.list_backfills()))

    @router.get("/{backfill_id}")
    def show(backfill_id: str, response: Response) -> BackfillView:
        """One backfill. While it is open, `Retry-After` says when to ask again."""
        return answer(ledger.read_backfill(backfill_id), 200, response)

    @router.post(
        "/{backfill_id}/cancel",
        status_code=202,
        responses={200: {"model": BackfillView, "description": "it is already over"}},
    )
    def cancel(backfill_id: str, response: Response) -> BackfillView:
        """Request to cancel a backfill and the runs that it opened; what is committed stays."""
        backfill = ledger.read_backfill(backfill_id)
        if backfill.state is not BackfillState.OPEN:
            return answer(backfill, 200, response)
        ledger.add_request(Request(RequestKind.CANCEL, backfill.id, clock()))
        return answer(backfill, 202, response)

    return router
