"""What may be wished of runs over HTTP: one of a window, its end, a further round of it, other limits.

Writes and removes wishes, and nothing else. A tick takes them up; a wish that is made twice is one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Response
from pydantic import ConfigDict, Field

from shared.contract.errors import Conflict, Malformed, NotFound
from shared.contract.windows import Window, format_length
from shared.control.options import Rules
from shared.control.services import Services
from shared.ports import Ledger
from shared.state.requests import Wish, WishKind
from shared.state.runs import Phase

from . import run_views
from .run_views import RunView

POLL_SECONDS = 5  # how soon to ask again about what is under way

Answers = dict[int | str, dict[str, Any]]  # beside the usual one, as OpenAPI describes them
CONFLICT: Answers = {409: {"description": "it does not stand so that this can be done"}}


@dataclass(frozen=True, slots=True)
class AskedRun:
    """Which window to score, by its id such as `20261121T0700Z-PT1H`; without one, the last that is due.

    A window has one run. Asked for before the schedule makes it due, it is scored with the readings that are there.
    """

    # A misspelt key must not mean another window.
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    window: str | None = None


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """Which models to score: `all` of the run's plans, or those `new` ones that none of its plans holds."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    models: Literal["all", "new"] = "all"


@dataclass(frozen=True, slots=True)
class AskedLimits:
    """Jobs at once, and percent of the models that ended; what is null stays as it was."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    max_in_flight: Annotated[int, Field(ge=1)] | None = None
    tolerated_failures: Annotated[int, Field(ge=0, le=100)] | None = None


def closed_window(text: str | None, rules: Rules, now: datetime) -> Window:
    """The window that is asked for, or the last that is due; raises Malformed.

    Only windows of the schedule's tiling: two that overlap would put rows twice before consumers.
    """
    length = rules.window
    if text is None:
        return Window(Window.containing(rules.schedule.last_fire(now), length).start - length, length)
    last = Window(Window.containing(now, length).start - length, length)
    window = Window.parse(text)
    if window != Window.containing(window.start, length):
        near = Window.containing(window.start, length).id
        raise Malformed(
            f"expected a window of {format_length(length)} as WINDOW tiles the day, such as {near}, got {text}"
        )
    if window.end > now:
        raise Malformed(f"expected a window that has closed, at the latest {last.id}, got {text}, which ends later")
    return window


def look(ledger: Ledger, rules: Rules, run_id: str) -> tuple[RunView, str]:
    """A run, or the wish for one; and the version that its ETag is made of. Raises NotFound."""
    window = Window.parse(run_id)
    try:
        run = ledger.run(window.id)
    except NotFound:
        wish = waiting(ledger, WishKind.RUN, window.id)
        if wish is None:
            raise NotFound(f"no run {run_id}: the schedule did not open it, and nobody asked for it") from None
        return run_views.requested_view(wish, rules.policy.silence), "requested"
    return run_views.run_view(run, rules.policy.silence), run.version


def waiting(ledger: Ledger, kind: WishKind, target: str) -> Wish | None:
    """The wish that waits for a tick, if there is one."""
    try:
        return ledger.wish(kind, target)
    except NotFound:
        return None


def told(view: RunView, status: int, response: Response) -> RunView:
    """The view, and how soon to ask again where something is under way or asked for."""
    response.status_code = status
    if status == HTTPStatus.ACCEPTED or not view.phase.terminal:
        response.headers["Retry-After"] = str(POLL_SECONDS)
    return view


def can_reopen(run: RunView, kind: WishKind) -> bool:
    """Whether a run is to be opened again; False where that is under way, or nothing is left. Raises Conflict."""
    if run.phase is Phase.MISSED:
        raise Conflict(
            f"expected a run that is over, but {run.id} was missed: ask for its window by POST /api/runs, "
            "or for several by POST /api/backfills"
        )
    if run.phase.terminal:
        return kind is not WishKind.REDRIVE or not run.models.total or run.models.scored < run.models.total
    if run.redo is kind and not run.cancelled_at:
        return False
    doing = "being cancelled" if run.cancelled_at else f"open to {run.redo}" if run.redo else run.phase
    raise Conflict(f"expected a run that is over, got {run.id} {doing}: cancel it or wait")


def _ask_limits(ledger: Ledger, wish: Wish) -> None:
    """Put the wish in place of one that waits; what it leaves open stays as that one had it."""
    while not ledger.add_wish(wish):
        with suppress(NotFound):  # a tick has just taken it up
            older = ledger.wish(wish.kind, wish.target)
            jobs = older.max_in_flight if wish.max_in_flight is None else wish.max_in_flight
            percent = older.tolerated_failures if wish.tolerated_failures is None else wish.tolerated_failures
            wish = replace(wish, max_in_flight=jobs, tolerated_failures=percent)
            ledger.remove_wish(older)


def wishes(services: Services, clock: Callable[[], datetime]) -> APIRouter:
    """Ask for runs, and for what is to become of them."""
    router = APIRouter(prefix="/api/runs", tags=["wishes"])
    ledger, rules = services.ledger, services.rules

    @router.post("", status_code=202, responses=_known("the window has its run already"))
    def ask(response: Response, asked: AskedRun | None = None) -> RunView:
        """Ask for the run of a window. The window is the idempotency key: asking twice is asking once."""
        now = clock()
        window = closed_window(asked.window if asked else None, rules, now)
        response.headers["Location"] = f"/api/runs/{window.id}"
        try:
            view, _ = look(ledger, rules, window.id)
            if view.phase not in (Phase.REQUESTED, Phase.MISSED):
                return told(view, 200, response)
        except NotFound:
            pass  # then it is what this is for
        ledger.remove_wish(Wish(WishKind.CANCEL, window.id, now))  # asked for after all
        wish = Wish(WishKind.RUN, window.id, now)
        ledger.add_wish(wish)
        return told(run_views.requested_view(wish, rules.policy.silence), 202, response)

    @router.post("/{run_id}/cancel", status_code=202, responses=_known("it is over already"))
    def cancel(run_id: str, response: Response) -> RunView:
        """Ask a run to stop. What is committed by then stays; a further round that waits is taken back."""
        view, _ = look(ledger, rules, run_id)
        again = [wish for wish in ledger.wishes() if wish.kind.reopens and wish.target == view.id]
        if view.phase.terminal and not again:
            return told(view, 200, response)
        ledger.add_wish(Wish(WishKind.CANCEL, view.id, clock()))  # first: a tick may be opening that round right now
        for wish in again:
            ledger.remove_wish(wish)
        return told(view, 202, response)

    @router.post("/{run_id}/limits", status_code=202, responses=CONFLICT)
    def limits(run_id: str, asked: AskedLimits, response: Response) -> RunView:
        """Ask for other limits of an open run; they hold until its round is over."""
        if asked.max_in_flight is None and asked.tolerated_failures is None:
            raise Malformed("body: expected max_in_flight, tolerated_failures or both, got neither")
        view, _ = look(ledger, rules, run_id)
        if view.phase.terminal:
            raise Conflict(f"expected a run that is open, got {view.id} {view.phase}")
        _ask_limits(ledger, Wish(WishKind.LIMITS, view.id, clock(), asked.max_in_flight, asked.tolerated_failures))
        return told(view, 202, response)

    return router


def rounds(services: Services, clock: Callable[[], datetime]) -> APIRouter:
    """Ask for a further round of a run that is over."""
    router = APIRouter(prefix="/api/runs/{run_id}", tags=["wishes"])
    ledger, rules = services.ledger, services.rules

    def again(run_id: str, kind: WishKind, response: Response) -> RunView:
        run, _ = look(ledger, rules, run_id)
        now = clock()
        response.headers["Location"] = f"/api/runs/{run.id}"
        if can_reopen(run, kind):
            ledger.remove_wish(Wish(WishKind.CANCEL, run.id, now))  # it came too late to end the round before
            ledger.add_wish(Wish(kind, run.id, now))
            return told(run, 202, response)
        if not run.phase.terminal and waiting(ledger, WishKind.CANCEL, run.id):
            raise Conflict(f"expected a run that is over, got {run.id} about to be cancelled: wait until it is")
        return told(run, 200, response)

    @router.post("/redrive", status_code=202, responses=_known("all is scored, or it is being redriven") | CONFLICT)
    def redrive(run_id: str, response: Response) -> RunView:
        """Ask for a further round of a run that is over: of what failed, was skipped, cancelled or not attempted.

        What is told is the run as it stands; its `round` is higher once a tick has taken the wish up.
        """
        return again(run_id, WishKind.REDRIVE, response)

    @router.post("/reprocess", status_code=202, responses=_known("it is being done already") | CONFLICT)
    def reprocess(run_id: str, response: Response, asked: AskedAgain | None = None) -> RunView:
        """Ask for a further round of a run that is over: of all its models, or of those that are new since.

        What is told is the run as it stands; its `round` is higher once a tick has taken the wish up.
        """
        kind = WishKind.EXTEND if asked and asked.models == "new" else WishKind.REPROCESS
        return again(run_id, kind, response)

    return router


def _known(description: str) -> Answers:
    return {200: {"model": RunView, "description": description}}
