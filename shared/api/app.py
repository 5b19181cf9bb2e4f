"""The HTTP application: parse, call, render. It writes requests for the tick, and nothing else.

Status is read from the ledger: the cost does not depend on the number of runs, and each answer says when it was
observed. Only requests for details read reports and logs, or ask the cluster. Handlers are plain `def`: they block, so
they run in threads.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from fastapi import Request as HttpRequest
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from shared.contract.errors import Conflict, Malformed, NotFound, Unavailable
from shared.contract.version import VERSION
from shared.control.services import Services

from . import backfills, operations, run_actions, run_queries, sinks
from .auth import Authorizer, Decision, Role, parse_roles

log = logging.getLogger(__name__)

DASHBOARD = Path(str(files("shared") / "dashboard"))
OPEN_PATHS = ("/api/health",)  # open to everybody: a probe has no key
SAME_SITE = ("same-origin", "none")  # Sec-Fetch-Site of requests that do not come from another site's page
PAGE_HEADERS = {
    "Cache-Control": "no-cache",  # or a browser mixes old and new modules after a deployment
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def create_api(services: Services, authorizer: Authorizer, clock: Callable[[], datetime]) -> FastAPI:
    """The application over these services. *clock* returns the time in UTC."""
    app = FastAPI(
        title="fleetscore",
        version=VERSION,
        description="Scores a fleet of per-device models on a schedule. Errors are RFC 9457 problems.",
        docs_url=None,  # both pages load their scripts from another host
        redoc_url=None,
        responses={
            400: {"description": "the request is malformed"},
            404: {"description": "not found"},
            503: {"description": "storage or cluster does not answer; try again"},
        },
    )
    _add_error_handlers(app)
    _add_authorization(app, authorizer)
    for router in (
        run_actions.create_request_router(services, clock),
        run_actions.create_round_router(services, clock),
        run_queries.create_run_router(services),
        run_queries.create_detail_router(services),
        backfills.create_backfill_router(services, clock),
        operations.create_schedule_router(services, clock),
        operations.create_quarantine_router(services),
        sinks.create_sink_router(services, clock),
        sinks.create_publication_router(services, clock),
    ):
        app.include_router(router)
    _add_pages(app)
    app.openapi_schema = _describe_api(app)
    return app


def _describe_api(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the names that clients know."""
    document: dict[str, Any] = json.loads(json.dumps(app.openapi()).replace('RequestKind"', 'WishKind"'))
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)  # FastAPI's default; this API answers 400
    return document


def make_problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error in the form of RFC 9457."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def _describe_invalid(error: Any) -> str:
    """An error of pydantic in one sentence."""
    location = ".".join(map(str, error["loc"]))
    if error["type"] == "json_invalid" or isinstance(error.get("input"), bytes):
        return f"{location}: expected JSON, with Content-Type: application/json"
    return f"{location}: {error['msg']}, got {error.get('input')!r}"


def _add_error_handlers(app: FastAPI) -> None:
    def answer_malformed(_: HttpRequest, error: Exception) -> Response:
        return make_problem(400, str(error))

    def answer_invalid(_: HttpRequest, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return make_problem(400, "; ".join(map(_describe_invalid, error.errors())))

    def answer_missing(_: HttpRequest, error: Exception) -> Response:
        return make_problem(404, str(error))

    def answer_conflict(_: HttpRequest, error: Exception) -> Response:
        return make_problem(409, str(error))

    def answer_unavailable(_: HttpRequest, error: Exception) -> Response:
        assert isinstance(error, Unavailable)
        return make_problem(503, str(error), {"Retry-After": str(int(error.retry_after or run_actions.POLL_SECONDS))})

    def answer_http_error(request: HttpRequest, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return make_problem(error.status_code, f"{error.detail}: {request.method} {request.url.path}", error.headers)

    app.add_exception_handler(Malformed, answer_malformed)
    app.add_exception_handler(RequestValidationError, answer_invalid)
    app.add_exception_handler(NotFound, answer_missing)
    app.add_exception_handler(Conflict, answer_conflict)
    app.add_exception_handler(Unavailable, answer_unavailable)
    app.add_exception_handler(HTTPException, answer_http_error)


def _add_authorization(app: FastAPI, authorizer: Authorizer) -> None:
    """Check each request before it is handled, and log each unexpected error: the host would hide the exception."""

    @app.middleware("http")
    async def check_request(request: HttpRequest, call_next: Callable[[HttpRequest], Awaitable[Response]]) -> Response:
        if request.url.path in OPEN_PATHS:
            # The sign-in does not check requests for these paths, so their principal header may be forged.
            request.state.may_read = (
                authorizer.authorize_request(_read_key(request), "", operates=False) is Decision.ALLOWED
            )
        elif refusal := _refuse_request(authorizer, request):
            return refusal
        try:
            response = await call_next(request)
        except Exception:
            log.exception("request=%s %s failed", request.method, request.url.path)
            return make_problem(500, "unexpected error; the log of the app has the details")
        if not request.url.path.startswith("/api/"):
            response.headers.update(PAGE_HEADERS)
        return response


def _refuse_request(authorizer: Authorizer, request: HttpRequest) -> Response | None:
    headers, operates = request.headers, request.method not in ("GET", "HEAD")
    principal = headers.get("x-ms-client-principal", "")
    page = not request.url.path.startswith("/api/")  # it holds no data, and asks for the key itself
    if operates and headers.get("sec-fetch-site", "same-origin") not in SAME_SITE:
        return make_problem(
            403, "this request comes from another site's page; a browser would send your sign-in with it"
        )
    match authorizer.authorize_request(_read_key(request), principal, operates=operates):
        case Decision.CLOSED if not page:
            return make_problem(503, "closed until SIGN_IN, or READ_KEY_SHA256 and OPERATE_KEY_SHA256 are configured")
        case Decision.FORBIDDEN if not page:
            return make_problem(403, _explain_forbidden(principal, operates=operates))
        case Decision.UNAUTHENTICATED if not page:
            return make_problem(401, "expected a key as `Authorization: Bearer KEY`", {"WWW-Authenticate": "Bearer"})
        case _:
            return None


def _read_key(request: HttpRequest) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


def _explain_forbidden(principal: str, *, operates: bool) -> str:
    if not principal:
        return "this key may only read; starting, stopping or changing something needs the operator's key"
    expected = f"the app role {Role.OPERATOR}" if operates else f"the app role {Role.READER} or {Role.OPERATOR}"
    roles = ", ".join(sorted(parse_roles(principal))) or "none"
    return (
        f"expected {expected}, got {roles}; the owner of the app's registration at Microsoft Entra can assign it to you"
    )


def _add_pages(app: FastAPI) -> None:
    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    def serve_page() -> Response:
        return FileResponse(DASHBOARD / "index.html")

    app.mount("/static", StaticFiles(directory=DASHBOARD))
