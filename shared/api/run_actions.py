"""HTTP routes that act on runs: start one, cancel it, open a further round, change its limits.

They write and remove requests, and nothing else. A tick handles the requests; a repeated one changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Body, Depends, Response
from pydantic import ConfigDict, Field

from shared.contract.errors import Conflict, Malformed, NotFound
from shared.contract.windows import Window, format_length
from shared.control.options import ControlOptions
from shared.control.services import Services
from shared.ports import Ledger
from shared.state.requests import Request, RequestKind
from shared.state.runs import Phase

from . import run_views
from .reason_codes import RouteWithReasons, choose_version
from .run_views import RunView

POLL_SECONDS = 5  # when to ask again about an open run

_TITLE = Body(title="Asked")  # of an optional body, as the API's document calls it
Answers = dict[int | str, dict[str, Any]]  # besides the usual answer, as OpenAPI describes them
CONFLICT: Answers = {409: {"description": "the present state does not allow it"}}


@dataclass(frozen=True, slots=True)
class AskedRun:
    """Which window to score, by its id such as `20261121T0700Z-PT1H`; without one, the last that is due.

    A window has one run. Before the schedule makes it due, it is scored with the readings that exist.
    """

    # A misspelt key must not select another window.
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    window: str | None = None


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """Which models to score: `all` of the run's plans, or the `new` ones that are in none of its plans."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    models: Literal["all", "new"] = "all"


@dataclass(frozen=True, slots=True)
class AskedLimits:
    """Jobs at once, and percent of the models that ended; null: unchanged."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    max_in_flight: Annotated[int, Field(ge=1)] | None = None
    tolerated_failures: Annotated[int, Field(ge=0, le=100)] | None = None


def parse_closed_window(text: str | None, rules: ControlOptions, now: datetime) -> Window:
    """The requested window, or the last that is due; raises Malformed.

    Only windows of the schedule's tiling: consumers would read the rows of two overlapping windows twice.
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


def read_run_view(ledger: Ledger, rules: ControlOptions, run_id: str) -> tuple[RunView, str]:
    """A run, or the request for one; and the version for its ETag. Raises NotFound."""
    window = Window.parse(run_id)
    try:
        run = ledger.read_run(window.id)
    except NotFound:
        request = find_request(ledger, RequestKind.RUN, window.id)
        if request is None:
            raise NotFound(f"no run {run_id}: the schedule has not opened it, and nobody requested it") from None
        return run_views.make_requested_view(request, rules.limits.silence), "requested"
    return run_views.make_run_view(run, rules.limits.silence), run.version


def find_request(ledger: Ledger, kind: RequestKind, target: str) -> Request | None:
    """The request that waits for a tick, or None."""
    try:
        return ledger.read_request(kind, target)
    except NotFound:
        return None


def answer(view: RunView, status: int, response: Response) -> RunView:
    """The view with its status, and when to ask again if the run is open or requested."""
    response.status_code = status
    if status == HTTPStatus.ACCEPTED or not view.phase.terminal:
        response.headers["Retry-After"] = str(POLL_SECONDS)
    return view


def can_reopen(run: RunView, kind: RequestKind) -> bool:
    """Whether the run can be reopened; False if it already is, or if nothing is left to do. Raises Conflict."""
    if run.phase is Phase.MISSED:
        raise Conflict(
            f"expected a run that is over, but {run.id} was missed: request its window by POST /api/runs, "
            "or several by POST /api/backfills"
        )
    if run.phase.terminal:
        return kind is not RequestKind.REDRIVE or not run.models.total or run.models.scored < run.models.total
    if run.redo is kind and not run.cancelled_at:
        return False
    activity = "being cancelled" if run.cancelled_at else f"open to {run.redo}" if run.redo else run.phase
    raise Conflict(f"expected a run that is over, got {run.id} {activity}: cancel it or wait")


def _replace_limits(ledger: Ledger, request: Request) -> None:
    """Replace a waiting request; a limit that the new one leaves open is that of the earlier one."""
    while not ledger.add_request(request):
        with suppress(NotFound):  # a tick has just handled it
            earlier = ledger.read_request(request.kind, request.target)
            jobs = earlier.max_in_flight if request.max_in_flight is None else request.max_in_flight
            percent = earlier.tolerated_failures if request.tolerated_failures is None else request.tolerated_failures
            request = replace(request, max_in_flight=jobs, tolerated_failures=percent)
            ledger.remove_request(earlier)


def create_request_router(services: Services, clock: Callable[[], datetime]) -> APIRouter:
    """Routes to start runs, cancel them and change their limits."""
    router = APIRouter(
        prefix="/api/runs", tags=["wishes"], route_class=RouteWithReasons, dependencies=[Depends(choose_version)]
    )
    ledger, rules = services.ledger, services.options

    @router.post("", status_code=202, responses=_describe_existing("the window already has a run"))
    def ask(response: Response, body: Annotated[AskedRun | None, _TITLE] = None) -> RunView:
        """Request the run of a window. The window is the idempotency key: a repeated request changes nothing."""
        now = clock()
        window = parse_closed_window(body.window if body else None, rules, now)
        response.headers["Location"] = f"/api/runs/{window.id}"
        try:
            view, _ = read_run_view(ledger, rules, window.id)
            if view.phase not in (Phase.REQUESTED, Phase.MISSED):
                return answer(view, 200, response)
        except NotFound:
            pass  # there is no run and no request yet
        ledger.remove_request(Request(RequestKind.CANCEL, window.id, now))  # of an earlier request
        request = Request(RequestKind.RUN, window.id, now)
        ledger.add_request(request)
        return answer(run_views.make_requested_view(request, rules.limits.silence), 202, response)

    @router.post("/{run_id}/cancel", status_code=202, responses=_describe_existing("the run is already over"))
    def cancel(run_id: str, response: Response) -> RunView:
        """Request to cancel a run. What is committed stays; a further round that waits is withdrawn."""
        view, _ = read_run_view(ledger, rules, run_id)
        rounds = [request for request in ledger.list_requests() if request.kind.reopens and request.target == view.id]
        if view.phase.terminal and not rounds:
            return answer(view, 200, response)
        # The cancel comes first: a tick may be opening that round at this moment.
        ledger.add_request(Request(RequestKind.CANCEL, view.id, clock()))
        for request in rounds:
            ledger.remove_request(request)
        return answer(view, 202, response)

    @router.post("/{run_id}/limits", status_code=202, responses=CONFLICT)
    def limits(run_id: str, body: AskedLimits, response: Response) -> RunView:
        """Request other limits for an open run; they hold until its round is over."""
        if body.max_in_flight is None and body.tolerated_failures is None:
            raise Malformed("body: expected max_in_flight, tolerated_failures or both, got neither")
        view, _ = read_run_view(ledger, rules, run_id)
        if view.phase.terminal:
            raise Conflict(f"expected a run that is open, got {view.id} {view.phase}")
        _replace_limits(
            ledger, Request(RequestKind.LIMITS, view.id, clock(), body.max_in_flight, body.tolerated_failures)
        )
        return answer(view, 202, response)

    return router


def create_round_router(services: Services, clock: Callable[[], datetime]) -> APIRouter:
    """Routes to open a further round of a run that is over."""
    router = APIRouter(
        prefix="/api/runs/{run_id}",
        tags=["wishes"],
        route_class=RouteWithReasons,
        dependencies=[Depends(choose_version)],
    )
    ledger, rules = services.ledger, services.options

    def request_round(run_id: str, kind: RequestKind, response: Response) -> RunView:
        run, _ = read_run_view(ledger, rules, run_id)
        now = clock()
        response.headers["Location"] = f"/api/runs/{run.id}"
        if can_reopen(run, kind):
            ledger.remove_request(Request(RequestKind.CANCEL, run.id, now))  # it came too late for the previous round
            ledger.add_request(Request(kind, run.id, now))
            return answer(run, 202, response)
        if not run.phase.terminal and find_request(ledger, RequestKind.CANCEL, run.id):
            raise Conflict(f"expected a run that is over, got {run.id} about to be cancelled: wait for it")
        return answer(run, 200, response)

    @router.post(
        "/redrive",
        status_code=202,
        responses=_describe_existing("everything is scored, or it is already redriven") | CONFLICT,
    )
    def redrive(run_id: str, response: Response) -> RunView:
        """Request a further round of a run that is over: models that failed, were skipped, cancelled or not attempted.

        The answer is the run in its present state; its `round` grows when a tick handles the request.
        """
        return request_round(run_id, RequestKind.REDRIVE, response)

    @router.post("/reprocess", status_code=202, responses=_describe_existing("it is already done") | CONFLICT)
    def reprocess(run_id: str, response: Response, body: Annotated[AskedAgain | None, _TITLE] = None) -> RunView:
        """Request a further round of a run that is over: all its models, or those that are new.

        The answer is the run in its present state; its `round` grows when a tick handles the request.
        """
        kind = RequestKind.EXTEND if body and body.models == "new" else RequestKind.REPROCESS
        return request_round(run_id, kind, response)

    return router


def _describe_existing(description: str) -> Answers:
    return {200: {"model": RunView, "description": description}}
