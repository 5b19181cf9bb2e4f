"""What can be read of runs over HTTP: from the ledger, and from blobs where a person wants detail. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse

from shared.contract import paths
from shared.contract.domain import Reason
from shared.contract.errors import NotFound
from shared.contract.manifest import Manifest
from shared.contract.report import ModelResult, Report
from shared.contract.windows import Window
from shared.control.services import Services
from shared.ports import Blobs
from shared.state.requests import WishKind
from shared.state.runs import Chunk, Run

from . import chunk_views, run_views
from .chunk_views import ChunkPage, ModelFailurePage
from .run_actions import look, told
from .run_views import FailureView, RunPage, RunView

PAGE = 100
FAILURE_CHUNKS = 50  # chunks that one page of failed models looks into

Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str | None, Query(max_length=200, description="`next` of the page before")]


def runs(services: Services) -> APIRouter:
    """List runs, and show one."""
    router = APIRouter(prefix="/api/runs", tags=["runs"])
    ledger, rules = services.ledger, services.rules

    @router.get("")
    def page(limit: Limit = PAGE, cursor: Cursor = None) -> RunPage:
        """Runs, the newest window first; the first page has those too that are only asked for."""
        found = ledger.runs(limit, cursor)
        asked = [wish for wish in ledger.wishes() if wish.kind is WishKind.RUN] if cursor is None else []
        there = {run.id for run in found.items}
        items = [run_views.requested_view(wish, rules.policy.silence) for wish in asked if wish.target not in there]
        items += [run_views.run_view(run, rules.policy.silence) for run in found.items]
        return RunPage(tuple(sorted(items, key=lambda view: view.window.start, reverse=True)), found.cursor)

    @router.get("/{run_id}", response_model=RunView, responses={304: {"description": "as it was"}})
    def show(run_id: str, request: Request, response: Response) -> RunView | Response:
        """One run. While it is open, `Retry-After` says how soon to ask again."""
        view, version = look(ledger, rules, run_id)
        etag = f'W/"{version}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"ETag": etag})
        response.headers["ETag"] = etag
        return told(view, 200, response)

    return router


def details(services: Services) -> APIRouter:
    """Look into a run: its chunks, what failed, what a job printed."""
    router = APIRouter(prefix="/api/runs/{run_id}", tags=["details"])
    ledger, app = services.ledger, services.rules.policy.app

    def planned(run_id: str) -> Run:
        try:
            return ledger.run(Window.parse(run_id).id)
        except NotFound:
            raise NotFound(f"no run {run_id}, or it is only asked for and has no plan yet") from None

    @router.get("/chunks")
    def chunks(run_id: str, limit: Limit = PAGE, cursor: Cursor = None, *, live: bool = False) -> ChunkPage:
        """The chunks of a run. `live=1` asks the cluster itself what it says of their jobs, for this page."""
        run = planned(run_id)
        found = ledger.chunk_page(run.id, limit, cursor)
        seen = services.cluster.observe([run.id]) if live else None
        return ChunkPage(tuple(chunk_views.chunk_view(app, one, seen) for one in found.items), found.cursor)

    @router.get("/failures")
    def failures(run_id: str) -> tuple[FailureView, ...]:
        """What was not scored, grouped by reason, with one example each."""
        return tuple(map(run_views.failure_view, planned(run_id).failures))

    @router.get("/failures/{reason}")
    def failed_models(run_id: str, reason: Reason, cursor: Cursor = None) -> ModelFailurePage:
        """The models that were not scored for this reason, out of the reports of some chunks a page."""
        found = ledger.chunk_page(planned(run_id).id, FAILURE_CHUNKS, cursor)
        items = [
            failure
            for one in found.items
            if one.state.terminal and any(group.reason is reason for group in one.failures)
            for failure in chunk_views.model_failures(one.id, _verdicts(services.work, one), reason)
        ]
        return ModelFailurePage(tuple(items), found.cursor)

    @router.get("/logs/{chunk_id}", response_class=PlainTextResponse)
    def logs(run_id: str, chunk_id: str, attempt: Annotated[int | None, Query(ge=1)] = None) -> str:
        """What a job printed: of the attempt that is asked for, else of the newest."""
        one = ledger.chunk(planned(run_id).id, chunk_id)
        number = attempt or one.next_attempt - 1
        if not 1 <= number < one.next_attempt:
            raise NotFound(f"chunk {chunk_id} of run {run_id} had {one.next_attempt - 1} attempts, not {number}")
        try:
            return services.work.read(paths.log_path(one.run, one.id, number)).decode(errors="replace")
        except NotFound:
            return services.cluster.log(paths.make_job_name(app, one.run, one.id, number))

    return router


def _verdicts(work: Blobs, chunk: Chunk) -> Sequence[ModelResult]:
    """Every model of a chunk that is over: by its report, or by its manifest where it was given up whole."""
    if chunk.committed:
        return Report.from_bytes(work.read(paths.report_path(chunk.run, chunk.id, chunk.committed.attempt))).results
    manifest = Manifest.from_bytes(work.read(paths.manifest_path(chunk.run, chunk.manifest)))
    return [ModelResult(model.id, reason=chunk.reason, message=chunk.message) for model in manifest.models]
