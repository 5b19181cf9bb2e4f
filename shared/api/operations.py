"""What may be asked over HTTP of the whole: whether the timer beats, a pause of the schedule, what is in quarantine."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from fastapi import APIRouter, Request, Response

from shared.contract.errors import NotFound
from shared.control.services import Services
from shared.state.requests import SCHEDULE, Quarantined, Wish, WishKind

from . import run_views
from .run_actions import waiting
from .run_views import Health


def schedule(services: Services, clock: Callable[[], datetime]) -> APIRouter:
    """Health, and the pause of the schedule."""
    router = APIRouter(prefix="/api", tags=["schedule"])
    ledger = services.ledger

    def told() -> Health:
        now, due = clock(), services.rules.schedule.next_fire
        return run_views.health(ledger.heartbeat(), now, due(now), waiting(ledger, WishKind.PAUSE, SCHEDULE))

    @router.get("/health", responses={503: {"model": Health, "description": "the timer does not beat"}})
    def health(request: Request, response: Response) -> Health:
        """Whether the timer beats; asks for no key. Who brings none is not told what the trouble is, nor of nodes."""
        view = told()
        response.status_code = 503 if view.late else 200
        return view if request.state.may_read else run_views.for_strangers(view)

    router.head("/health", include_in_schema=False)(health)

    @router.get("/schedule")
    def schedule() -> Health:
        """The same for who may read: with what the last tick could not do, and with the cluster's nodes."""
        return told()

    @router.post("/schedule/pause")
    def pause() -> Health:
        """Open no window for the schedule until it is resumed; what is open, asked for or backfilled goes on."""
        ledger.add_wish(Wish(WishKind.PAUSE, SCHEDULE, clock()))
        return told()

    @router.post("/schedule/resume")
    def resume() -> Health:
        """Let the schedule go on. Windows that fell due meanwhile are caught up with as `CATCH_UP` says."""
        ledger.remove_wish(Wish(WishKind.PAUSE, SCHEDULE, clock()))
        return told()

    return router


def quarantine(services: Services) -> APIRouter:
    """Models that are left out since they crash or hang what scores them."""
    router = APIRouter(prefix="/api/quarantine", tags=["quarantine"])

    @router.get("")
    def page() -> tuple[Quarantined, ...]:
        """All models in quarantine, by id. One leaves it when its file changes, or when a person strikes it off."""
        return tuple(services.ledger.quarantine())

    @router.delete("", status_code=204)
    def strike_off(model: str) -> None:
        """Let the next plan have this model again. It is named in the query: hosts decode a path once too often."""
        if not services.ledger.remove_quarantined(model):
            raise NotFound(f"no model {model!r} in quarantine")

    return router
