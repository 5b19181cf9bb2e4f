"""HTTP routes that read runs: from the ledger, and for details from blobs and the cluster. Write nothing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi import Request as HttpRequest
from fastapi.responses import PlainTextResponse

from shared.contract import paths
from shared.contract.errors import NotFound
from shared.contract.manifest import Manifest
from shared.contract.model_list import ModelList
from shared.contract.outcomes import ModelResult
from shared.contract.reasons import Reason
from shared.contract.report import Report
from shared.contract.text import make_digest
from shared.contract.windows import Window
from shared.control.services import Services
from shared.ports import Blobs
from shared.state.publications import Publication
from shared.state.requests import RequestKind
from shared.state.runs import Chunk, Run

from . import chunk_views, run_views
from .chunk_views import ChunkPage, ModelFailurePage
from .reason_codes import RouteWithReasons, Version, choose_version, list_reasons
from .run_actions import answer, read_run_view
from .run_views import FailureView, RunPage, RunView
from .sink_views import make_publication_view

PAGE = 100
FAILURE_CHUNKS = 50  # chunks whose reports one page of failed models reads

Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str | None, Query(max_length=200, description="`next` of the page before")]


def create_run_router(services: Services) -> APIRouter:
    """Routes to list runs and show one."""
    router = APIRouter(
        prefix="/api/runs", tags=["runs"], route_class=RouteWithReasons, dependencies=[Depends(choose_version)]
    )
    ledger, rules = services.ledger, services.options

    @router.get("")
    def page(limit: Limit = PAGE, cursor: Cursor = None) -> RunPage:
        """Runs, the newest window first; the first page also has the requested ones."""
        runs = ledger.list_runs(limit, cursor)
        requests = (
            [request for request in ledger.list_requests() if request.kind is RequestKind.RUN] if cursor is None else []
        )
        run_ids = {run.id for run in runs.items}
        items = [
            run_views.make_requested_view(request, rules.limits.silence)
            for request in requests
            if request.target not in run_ids
        ]
        items += [run_views.make_run_view(run, rules.limits.silence) for run in runs.items]
        return RunPage(tuple(sorted(items, key=lambda view: view.window.start, reverse=True)), runs.cursor)

    @router.get("/{run_id}", response_model=RunView, responses={304: {"description": "unchanged"}})
    def show(run_id: str, request: HttpRequest, response: Response) -> RunView | Response:
        """One run. While it is open, `Retry-After` says when to ask again."""
        view, version = read_run_view(ledger, rules, run_id)
        if rules.sinks:
            entries = _list_publications(services, view.id)
            view = replace(view, sinks=tuple(map(make_publication_view, entries)))
            version += "".join(f" {make_digest(entry.version.encode())}" for entry in entries)
        etag = f'W/"{version}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"ETag": etag})
        response.headers["ETag"] = etag
        return answer(view, 200, response)

    return router


def create_detail_router(services: Services) -> APIRouter:
    """Routes to the details of a run: its chunks, its failures, the output of its jobs."""
    router = APIRouter(
        prefix="/api/runs/{run_id}",
        tags=["details"],
        route_class=RouteWithReasons,
        dependencies=[Depends(choose_version)],
    )
    ledger, app = services.ledger, services.options.limits.app

    def read_planned_run(run_id: str) -> Run:
        try:
            return ledger.read_run(Window.parse(run_id).id)
        except NotFound:
            raise NotFound(f"no run {run_id}, or it is only requested and has no plan yet") from None

    @router.get("/chunks")
    def chunks(run_id: str, limit: Limit = PAGE, cursor: Cursor = None, *, live: bool = False) -> ChunkPage:
        """The chunks of a run. With `live=1` the cluster is asked for the state of their jobs."""
        run = read_planned_run(run_id)
        page = ledger.read_chunk_page(run.id, limit, cursor)
        statuses = services.cluster.observe([run.id]) if live else None
        return ChunkPage(tuple(chunk_views.make_chunk_view(app, chunk, statuses) for chunk in page.items), page.cursor)

    @router.get("/failures")
    def failures(run_id: str) -> tuple[FailureView, ...]:
        """The models that were not scored, grouped by reason, with one example each."""
        return tuple(map(run_views.make_failure_view, read_planned_run(run_id).failures))

    @router.get("/failures/{reason}")
    def failed_models(run_id: str, reason: Reason, version: Version, cursor: Cursor = None) -> ModelFailurePage:
        """The models that were not scored for this reason; a page reads the reports of some chunks."""
        reasons = list_reasons(reason, version)
        page = ledger.read_chunk_page(read_planned_run(run_id).id, FAILURE_CHUNKS, cursor)
        items = [
            failure
            for chunk in page.items
            if chunk.state.terminal and any(group.reason in reasons for group in chunk.failures)
            for failure in chunk_views.list_model_failures(chunk.id, _read_unscored(services.work, chunk), reasons)
        ]
        return ModelFailurePage(tuple(items), page.cursor, reason.advice)

    @router.get("/logs/{chunk_id}", response_class=PlainTextResponse)
    def logs(run_id: str, chunk_id: str, attempt: Annotated[int | None, Query(ge=1)] = None) -> str:
        """The output of a job: of this attempt, else of the newest."""
        chunk = ledger.read_chunk(read_planned_run(run_id).id, chunk_id)
        number = attempt or chunk.next_attempt - 1
        if not 1 <= number < chunk.next_attempt:
            raise NotFound(f"chunk {chunk_id} of run {run_id} had {chunk.next_attempt - 1} attempts, not {number}")
        try:
            return services.work.read(paths.log_path(chunk.run, chunk.id, number)).decode(errors="replace")
        except NotFound:
            return services.cluster.read_log(paths.make_job_name(app, chunk.run, chunk.id, number))

    return router


def _list_publications(services: Services, run_id: str) -> Sequence[Publication]:
    """The run at each sink that lacks or holds it."""
    entries = []
    for sink in services.options.sinks:
        with suppress(NotFound):
            entries.append(services.sinks.read_publication(sink.kind, run_id))
    return entries


def _read_unscored(work: Blobs, chunk: Chunk) -> Sequence[ModelResult]:
    """The models of a chunk that were not scored: from its report, or from its manifest if it has no result."""
    if chunk.committed:
        report = Report.from_bytes(work.read(paths.report_path(chunk.run, chunk.id, chunk.committed.attempt)))
        return report.outcomes.list_unscored()
    manifest = Manifest.from_bytes(work.read(paths.manifest_path(chunk.run, chunk.manifest)))
    ids = ModelList.from_models(manifest.models).ids
    return [ModelResult(model, reason=chunk.reason, message=chunk.message) for model in ids]
