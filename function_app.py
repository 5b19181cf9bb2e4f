"""The function app: the heartbeat timer and the HTTP app. Triggers only; their code is in `shared`.

Settings are read when the host loads this file, so that all wrong ones are reported at once. Clients and the HTTP app
are built when they are first used: an instance with only the timer does not load the web framework.
"""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import azure.functions as func

from shared import bootstrap
from shared.config import settings
from shared.contract.errors import FleetError
from shared.control.loop import ControlPlane

SETTINGS = settings.load_settings()
logging.getLogger("azure").setLevel(logging.WARNING)  # the SDKs would log ten lines for each request
logging.getLogger("azure.identity").setLevel(logging.ERROR)  # and ten for each failed sign-in, which the app logs too
log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Asgi = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


@cache
def plane() -> ControlPlane:
    """The control plane of this process."""
    return bootstrap.build_control_plane(SETTINGS)


@cache
def check_start() -> None:
    """Check what the settings name, until it was once found right."""
    plane().check_start()


@cache
def create_tables_container() -> None:
    """Create what a sink needs, until it was once there."""
    bootstrap.create_tables_container(SETTINGS)


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
        log.exception("the HTTP app cannot be built")  # the host only logs that start-up failed
        raise
    await serve(scope, receive, send)


app = func.AsgiFunctionApp(app=asgi, http_auth_level=func.AuthLevel.ANONYMOUS)  # shared/api/auth.py authorizes


@app.timer_trigger(arg_name="timer", schedule="%HEARTBEAT%")
def heartbeat(timer: func.TimerRequest) -> None:  # noqa: ARG001  # a late beat is handled like any other
    """Run a tick. The timer may fire late, twice, or on two hosts."""
    check_start()
    try:
        create_tables_container()
    except FleetError as error:  # runs do not wait for a sink
        log.warning("TABLES_CONTAINER cannot be created; the next tick tries again: %s", error)
    plane().tick(datetime.now(UTC))
