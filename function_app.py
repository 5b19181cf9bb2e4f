"""The function app: the heartbeat timer and the HTTP app. Triggers only; what they start stands in `shared`.

Settings are read when the host loads this file, so that a wrong one is told at once, with all the others that are
wrong. Clients and the HTTP app are built when they are first used: the timer's instance pays for no web framework.
"""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import azure.functions as func

from shared import bootstrap
from shared.config import settings
from shared.control.loop import ControlPlane

SETTINGS = settings.load_settings()
logging.getLogger("azure").setLevel(logging.WARNING)  # the SDKs would log ten lines for each request
logging.getLogger("azure.identity").setLevel(logging.ERROR)  # and ten for each sign-in that fails, which we tell too
log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Asgi = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


@cache
def plane() -> ControlPlane:
    """The control plane of this process."""
    return bootstrap.build_control_plane(SETTINGS)


@cache
def api() -> Asgi:
    """The HTTP app of this process."""
    from shared.api.app import create_api

    return create_api(plane().services, bootstrap.build_authorizer(SETTINGS), lambda: datetime.now(UTC))


async def asgi(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Hand a request to the HTTP app."""
    try:
        serve = api()
    except Exception:
        log.exception("the HTTP app cannot be built")  # the host would say no more than that start-up failed
        raise
    await serve(scope, receive, send)


app = func.AsgiFunctionApp(app=asgi, http_auth_level=func.AuthLevel.ANONYMOUS)  # it guards itself: shared/api/auth.py


@app.timer_trigger(arg_name="timer", schedule="%HEARTBEAT%")
def heartbeat(timer: func.TimerRequest) -> None:  # noqa: ARG001  # late or not, a beat is a beat
    """Look after everything. A hint, never the truth: it may come late, twice, or on two hosts."""
    plane().tick(datetime.now(UTC))
