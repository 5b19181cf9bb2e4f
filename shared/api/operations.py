"""HTTP routes of the whole app: health, the pause of the schedule, the quarantine.

The names of route functions are part of the API: OpenAPI makes its operation ids from them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from fastapi import APIRouter, Response
from fastapi import Request as HttpRequest

from shared.contract.errors import NotFound
from shared.control.services import Services
from shared.state.requests import SCHEDULE, Request, RequestKind

from . import run_views
from .run_actions import find_request
from .run_views import Health, QuarantinedView


def create_schedule_router(services: Services, clock: Callable[[], datetime]) -> APIRouter:
    """Routes of health and of the schedule."""
    router = APIRouter(prefix="/api", tags=["schedule"])
    ledger = services.ledger

    def read_health() -> Health:
        now, options = clock(), services.options
        beat, due = ledger.read_heartbeat(), options.schedule.next_fire(now)
        paused = find_request(ledger, RequestKind.PAUSE, SCHEDULE)
        return run_views.make_health(beat, now, due, paused, options)

    @router.get("/health", responses={503: {"model": Health, "description": "the scheduler is late"}})
    def health(request: HttpRequest, response: Response) -> Health:
        """The health of the scheduler; needs no key. Without one, the answer has no trouble and no nodes."""
        view = read_health()
        response.status_code = 503 if view.late else 200
        return view if request.state.may_read else run_views.hide_details(view)

    router.head("/health", include_in_schema=False)(health)

    @router.get("/schedule")
    def schedule() -> Health:
        """The same for readers, with the trouble of the last tick and the cluster's nodes."""
        return read_health()

    @router.post("/schedule/pause")
    def pause() -> Health:
        """Pause the schedule: it opens no window until it is resumed. Open and requested runs and backfills go on."""
        ledger.add_request(Request(RequestKind.PAUSE, SCHEDULE, clock()))
        return read_health()

    @router.post("/schedule/resume")
    def resume() -> Health:
        """Resume the schedule. Windows that became due meanwhile are scored as `CATCH_UP` says."""
        ledger.remove_request(Request(RequestKind.PAUSE, SCHEDULE, clock()))
        return read_health()

    return router


def create_quarantine_router(services: Services) -> APIRouter:
    """Routes of the quarantine: models that are skipped since they crash or never end."""
    router = APIRouter(prefix="/api/quarantine", tags=["quarantine"])

    @router.get("")
    def page() -> tuple[QuarantinedView, ...]:
        """All models in quarantine, by id. A model leaves it when its file changes, or when a person removes it."""
        return tuple(map(run_views.make_quarantined_view, services.ledger.list_quarantined()))

    @router.delete("", status_code=204)
    def strike_off(model: str) -> None:
        """Remove a model from the quarantine. Its id is in the query, since some hosts decode a path twice."""
        if not services.ledger.remove_quarantined(model):
            raise NotFound(f"no model {model!r} in quarantine")

    return router
