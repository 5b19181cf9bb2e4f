"""What can be asked about runs over HTTP, and wished for. Reads the ledger, and blobs where a person wants detail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import ConfigDict

from . import contract, views
from .contract import Manifest, Report, Verdict
from .control import ControlPlane
from .domain import Reason
from .errors import Malformed, NotFound
from .ports import Blobs
from .rules import Rules
from .runs import Chunk, Phase, Run
from .views import ChunkPage, FailureView, ModelFailurePage, RunPage, RunView
from .windows import Window, format_length
from .wishes import Wish, WishKind

POLL_SECONDS = 5  # how soon to ask again about an open run
PAGE = 100
FAILURE_CHUNKS = 50  # chunks that one page of failed models looks into

Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str | None, Query(max_length=200, description="`next` of the page before")]


@dataclass(frozen=True, slots=True)
class AskedRun:
    """Which window to score, by its id such as `20261121T0700Z-PT1H`; without one, the last that is due.

    A window has one run. Asked for before the schedule makes it due, it is scored with the readings that are there.
    """

    # A misspelt key must not mean another window.
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    window: str | None = None


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
            f"wanted a window of {format_length(length)} as WINDOW tiles the day, such as {near}, found {text}"
        )
    if window.end > now:
        raise Malformed(f"wanted a window that has closed, at the latest {last.id}, found {text}, which ends later")
    return window


def runs(plane: ControlPlane, clock: Callable[[], datetime]) -> APIRouter:  # noqa: C901  # a function a route
    """Ask for runs, list them, show one, cancel one."""
    router = APIRouter(prefix="/api/runs", tags=["runs"])
    ledger, rules = plane.ledger, plane.rules

    def look(run_id: str) -> tuple[RunView, str]:
        """A run, or the wish for one; and the version that its ETag is made of."""
        window = Window.parse(run_id)
        try:
            run = ledger.run(window.id)
        except NotFound:
            try:
                return views.requested_view(ledger.wish(WishKind.RUN, window.id), rules.policy.silence), "requested"
            except NotFound:
                raise NotFound(f"no run {run_id}: the schedule did not open it, and nobody asked for it") from None
        return views.run_view(run, rules.policy.silence), run.version

    def told(view: RunView, status: int, response: Response) -> RunView:
        response.status_code = status
        if not view.phase.terminal:
            response.headers["Retry-After"] = str(POLL_SECONDS)
        return view

    @router.post("", status_code=202, responses={200: {"description": "the window has its run already"}})
    def ask(response: Response, asked: AskedRun | None = None) -> RunView:
        """Ask for the run of a window. The window is the idempotency key: asking twice is asking once."""
        now = clock()
        window = closed_window(asked.window if asked else None, rules, now)
        response.headers["Location"] = f"/api/runs/{window.id}"
        try:
            view, _ = look(window.id)
            if view.phase not in (Phase.REQUESTED, Phase.MISSED):
                return told(view, 200, response)
        except NotFound:
            pass  # then it is what this is for
        ledger.remove_wish(Wish(WishKind.CANCEL, window.id, now))  # asked for after all
        wish = Wish(WishKind.RUN, window.id, now)
        ledger.add_wish(wish)
        return told(views.requested_view(wish, rules.policy.silence), 202, response)

    @router.get("")
    def page(limit: Limit = PAGE, cursor: Cursor = None) -> RunPage:
        """Runs, the newest window first; the first page has those too that are only asked for."""
        found = ledger.runs(limit, cursor)
        asked = [wish for wish in ledger.wishes() if wish.kind is WishKind.RUN] if cursor is None else []
        there = {run.id for run in found.items}
        items = [views.requested_view(wish, rules.policy.silence) for wish in asked if wish.target not in there]
        items += [views.run_view(run, rules.policy.silence) for run in found.items]
        return RunPage(tuple(sorted(items, key=lambda view: view.window.start, reverse=True)), found.cursor)

    @router.get("/{run_id}", response_model=RunView, responses={304: {"description": "as it was"}})
    def show(run_id: str, request: Request, response: Response) -> RunView | Response:
        """One run. While it is open, `Retry-After` says how soon to ask again."""
        view, version = look(run_id)
        etag = f'W/"{version}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"ETag": etag})
        response.headers["ETag"] = etag
        return told(view, 200, response)

    @router.post("/{run_id}/cancel", status_code=202, responses={200: {"description": "it is over already"}})
    def cancel(run_id: str, response: Response) -> RunView:
        """Ask a run to stop. What is committed by then stays; asking twice is asking once."""
        view, _ = look(run_id)
        if view.phase.terminal:
            return told(view, 200, response)
        ledger.add_wish(Wish(WishKind.CANCEL, view.id, clock()))
        return told(view, 202, response)

    return router


def details(plane: ControlPlane) -> APIRouter:
    """Look into a run: its chunks, what failed, what a job printed."""
    router = APIRouter(prefix="/api/runs/{run_id}", tags=["details"])
    ledger, app = plane.ledger, plane.rules.policy.app

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
        seen = plane.cluster.observe([run.id]) if live else None
        return ChunkPage(tuple(views.chunk_view(app, one, seen) for one in found.items), found.cursor)

    @router.get("/failures")
    def failures(run_id: str) -> tuple[FailureView, ...]:
        """What was not scored, grouped by reason, with one example each."""
        return tuple(map(views.failure_view, planned(run_id).failures))

    @router.get("/failures/{reason}")
    def failed_models(run_id: str, reason: Reason, cursor: Cursor = None) -> ModelFailurePage:
        """The models that were not scored for this reason, out of the reports of some chunks a page."""
        found = ledger.chunk_page(planned(run_id).id, FAILURE_CHUNKS, cursor)
        items = [
            failure
            for one in found.items
            if one.state.terminal and any(group.reason is reason for group in one.failures)
            for failure in views.model_failures(one.id, _verdicts(plane.work, one), reason)
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
            return plane.work.read(contract.log_path(one.run, one.id, number)).decode(errors="replace")
        except NotFound:
            return plane.cluster.log(contract.job_name(app, one.run, one.id, number))

    return router


def _verdicts(work: Blobs, chunk: Chunk) -> Sequence[Verdict]:
    """Every model of a chunk that is over: by its report, or by its manifest where it was given up whole."""
    if chunk.committed:
        return Report.from_bytes(work.read(contract.report_path(chunk.run, chunk.id, chunk.committed.attempt))).verdicts
    manifest = Manifest.from_bytes(work.read(contract.manifest_path(chunk.run, chunk.manifest)))
    return [Verdict(model.id, reason=chunk.reason, message=chunk.message) for model in manifest.models]
