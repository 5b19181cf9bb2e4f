"""The HTTP application: parse, call, render. It writes wishes, and nothing else.

Status is read from the ledger, costs the same whatever lies there, and says when it was observed; only who looks into
details makes it read reports and logs, or ask the cluster. Handlers are plain `def`: they block, so they get threads.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from shared.contract.errors import Conflict, Malformed, NotFound, Unavailable
from shared.control.services import Services

from . import backfills, operations, run_actions, run_queries
from .auth import Answer, Guard, Role, roles_of

log = logging.getLogger(__name__)

DASHBOARD = Path(str(files("shared") / "dashboard"))
OPEN_PATHS = ("/api/health",)  # told to anybody: a probe has no key
OURS = ("same-origin", "none")  # what a browser says of requests that no other site's page has made
PAGE_HEADERS = {
    "Cache-Control": "no-cache",  # or a browser mixes old and new modules after a deployment
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def create_api(services: Services, guard: Guard, clock: Callable[[], datetime]) -> FastAPI:
    """The application over a control services. *clock* tells the time, in UTC."""
    app = FastAPI(
        title="fleetscore",
        version="1",
        description="Scores a fleet of per-device models on a schedule. Errors are RFC 9457 problems.",
        docs_url=None,  # both pages load their scripts from elsewhere
        redoc_url=None,
        responses={
            400: {"description": "not of the form that is expected"},
            404: {"description": "no such thing"},
            503: {"description": "storage or cluster does not answer; try again"},
        },
    )
    _add_errors(app)
    _add_guard(app, guard)
    for router in (
        run_actions.wishes(services, clock),
        run_actions.rounds(services, clock),
        run_queries.runs(services),
        run_queries.details(services),
        backfills.backfills(services, clock),
        operations.schedule(services, clock),
        operations.quarantine(services),
    ):
        app.include_router(router)
    _add_pages(app)
    for path in app.openapi()["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)  # FastAPI's own; here it is 400
    return app


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error as RFC 9457 has it."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def _told(error: Any) -> str:
    """What pydantic found, in a sentence."""
    where = ".".join(map(str, error["loc"]))
    if error["type"] == "json_invalid" or isinstance(error.get("input"), bytes):
        return f"{where}: expected JSON, with Content-Type: application/json"
    return f"{where}: {error['msg']}, got {error.get('input')!r}"


def _add_errors(app: FastAPI) -> None:
    def malformed(_: Request, error: Exception) -> Response:
        return problem(400, str(error))

    def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem(400, "; ".join(map(_told, error.errors())))

    def missing(_: Request, error: Exception) -> Response:
        return problem(404, str(error))

    def conflict(_: Request, error: Exception) -> Response:
        return problem(409, str(error))

    def unavailable(_: Request, error: Exception) -> Response:
        assert isinstance(error, Unavailable)
        return problem(503, str(error), {"Retry-After": str(int(error.retry_after or run_actions.POLL_SECONDS))})

    def from_framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return problem(error.status_code, f"{error.detail}: {request.method} {request.url.path}", error.headers)

    app.add_exception_handler(Malformed, malformed)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(NotFound, missing)
    app.add_exception_handler(Conflict, conflict)
    app.add_exception_handler(Unavailable, unavailable)
    app.add_exception_handler(HTTPException, from_framework)


def _add_guard(app: FastAPI, guard: Guard) -> None:
    """Around everything: who may pass, and what nobody expected. The host would hide an exception that left the app."""

    @app.middleware("http")
    async def check(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.url.path in OPEN_PATHS:
            # The sign-in lets these paths pass as they come: a principal that is told here may be anybody's invention.
            request.state.may_read = guard.judge(_key(request), "", operates=False) is Answer.PASS
        elif refusal := _refusal(guard, request):
            return refusal
        try:
            response = await go_on(request)
        except Exception:
            log.exception("request=%s %s failed", request.method, request.url.path)
            return problem(500, "this should not have happened; the log of the app has more")
        if not request.url.path.startswith("/api/"):
            response.headers.update(PAGE_HEADERS)
        return response


def _refusal(guard: Guard, request: Request) -> Response | None:
    headers, operates = request.headers, request.method not in ("GET", "HEAD")
    principal = headers.get("x-ms-client-principal", "")
    page = not request.url.path.startswith("/api/")  # holds no data; it asks for the key itself
    if operates and headers.get("sec-fetch-site", "same-origin") not in OURS:
        return problem(403, "another site's page asks for this; a browser would send your sign-in along with it")
    match guard.judge(_key(request), principal, operates=operates):
        case Answer.CLOSED if not page:
            return problem(503, "closed until SIGN_IN, or READ_KEY_SHA256 and OPERATE_KEY_SHA256 are configured")
        case Answer.FORBIDDEN if not page:
            return problem(403, _forbidden(principal, operates=operates))
        case Answer.UNKNOWN if not page:
            return problem(401, "expected a key as `Authorization: Bearer KEY`", {"WWW-Authenticate": "Bearer"})
        case _:
            return None


def _key(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


def _forbidden(principal: str, *, operates: bool) -> str:
    if not principal:
        return "this key may read; to start, stop or change something wants the operator's key"
    expected = f"the app role {Role.OPERATOR}" if operates else f"the app role {Role.READER} or {Role.OPERATOR}"
    found = ", ".join(sorted(roles_of(principal))) or "none"
    return f"expected {expected}, got {found}; who owns the app's registration at Microsoft Entra can give it to you"


def _add_pages(app: FastAPI) -> None:
    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    def page() -> Response:
        return FileResponse(DASHBOARD / "index.html")

    app.mount("/static", StaticFiles(directory=DASHBOARD))
