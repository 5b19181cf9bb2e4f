"""HTTP routes of sinks: what they lack and hold, and requests that they hold runs of a range. Writes requests only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from shared.contract.errors import Malformed, NotFound
from shared.contract.publishing.sinks import SinkKind
from shared.contract.text import clip_text
from shared.control.services import Services
from shared.publishing import published_range
from shared.publishing.published_range import PublishedRange
from shared.state.publications import Sink
from shared.state.requests import Request, RequestKind

from .run_actions import CONFLICT
from .run_queries import PAGE, Cursor, Limit
from .sink_views import (
    AskedRangeView,
    PublicationPage,
    SinkView,
    make_asked_view,
    make_publication_view,
    make_sink_view,
)


@dataclass(frozen=True, slots=True)
class AskedPublications:
    """Runs to publish: those whose windows start at `from` or later, and before the end of `to`.

    Each is a window or an instant. `sinks`: all that are set, where it is left out. With `again` also the runs that a
    sink has already: its table is a new one.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    start: Annotated[str, Field(alias="from")]
    end: Annotated[str, Field(alias="to")]
    sinks: tuple[SinkKind, ...] | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class RequestedPublications:
    """What is requested; `GET /api/sinks` shows what becomes of it."""

    sinks: tuple[SinkKind, ...]
    range: AskedRangeView


def create_sink_router(services: Services, clock: Callable[[], datetime]) -> APIRouter:
    """Routes to show sinks and what they hold."""
    router = APIRouter(prefix="/api/sinks", tags=["sinks"])

    @router.get("")
    def page() -> tuple[SinkView, ...]:
        """The sinks that are set: their jobs, and the runs that they lack."""
        options = services.options.sinks
        if not options:
            return ()
        entries = services.sinks.list_open_publications()
        requests = [request for request in services.ledger.list_requests() if request.kind.publishes]
        return tuple(
            make_sink_view(
                each,
                _read_sink(services, each.kind),
                [entry for entry in entries if entry.sink is each.kind],
                next(iter(services.sinks.list_publications(each.kind, 1).items), None),
                _list_asked(requests, each.kind),
                clock(),
            )
            for each in options
        )

    @router.get("/{sink}/publications")
    def publications(sink: SinkKind, limit: Limit = PAGE, cursor: Cursor = None) -> PublicationPage:
        """The runs that a sink holds, the newest window first."""
        if sink not in [each.kind for each in services.options.sinks]:
            raise NotFound(f"no sink {sink} in the setting SINKS")
        entries = services.sinks.list_publications(sink, limit, cursor)
        return PublicationPage(tuple(map(make_publication_view, entries.items)), entries.cursor)

    return router


def create_publication_router(services: Services, clock: Callable[[], datetime]) -> APIRouter:
    """The route to request that sinks hold runs."""
    router = APIRouter(prefix="/api/publications", tags=["sinks"])

    @router.post("", status_code=202, responses=CONFLICT)
    def ask(body: AskedPublications) -> RequestedPublications:
        """Request that runs of a range are published: those that were over before the sink was set.

        A run that the sink has is not published again, unless `again` says so. A repeated request changes nothing.
        """
        now = clock()
        kinds = [sink.kind for sink in services.options.sinks]
        ranges = published_range.parse_ranges(body.start, body.end, body.sinks, kinds)
        for interval in ranges:
            services.ledger.add_request(interval.make_request(now, again=body.again))
        view = make_asked_view(ranges[0], now, again=body.again)
        return RequestedPublications(tuple(interval.sink for interval in ranges), view)

    return router


def _read_sink(services: Services, kind: SinkKind) -> Sink:
    """The row of a sink; one that cannot be read says so, and the others are shown."""
    try:
        return services.sinks.read_sink(kind)
    except Malformed as error:
        return Sink(kind, message=clip_text(f"the row of this sink cannot be read: {error}"))


def _list_asked(requests: Sequence[Request], kind: SinkKind) -> Sequence[AskedRangeView]:
    """The ranges that wait for a sink. A request that is malformed is left out: the next tick drops it, and says so."""
    views = []
    for request in requests:
        try:
            interval = PublishedRange.parse(request.target)
        except Malformed:
            continue
        if interval.sink is kind:
            views.append(make_asked_view(interval, request.asked_at, again=request.kind is RequestKind.REPUBLISH))
    return views
