"""Asks sinks to hold the runs of a range, as people requested: those that were over before the sink was set.

The newest runs come first. Where a tick is out of time, a request for the rest of the range takes the place of the
request; killed between the two, the next tick asks once more for what waits already, which changes nothing.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

from shared.contract.errors import Conflict, Malformed, Unavailable
from shared.contract.text import clip_text
from shared.contract.windows import MINUTE, Window
from shared.control.tick import Tick
from shared.ports import Ledger
from shared.publishing.published_range import PublishedRange
from shared.state.publications import Publication
from shared.state.requests import Request
from shared.state.runs import Heartbeat

from .publisher import Publisher

log = logging.getLogger(__name__)

OFFER_FOR = timedelta(seconds=20)  # of one tick: a cancel must not wait for it


def offer_past_runs(ledger: Ledger, publisher: Publisher, tick: Tick) -> None:
    """Grant the requests to publish, as far as there is time. Raises nothing: runs do not wait for sinks."""
    until = min(tick.elapsed + OFFER_FOR, tick.budget)
    kinds = {sink.kind for sink in publisher.options.sinks}
    for request in tick.requests:
        if not request.kind.publishes or tick.elapsed >= until:
            continue
        try:
            interval = PublishedRange.parse(request.target)
            if interval.sink not in kinds:
                raise Malformed(f"expected a sink of SINKS, got {interval.sink}")
            rest = _offer_runs(ledger, publisher, interval, request, tick, until)
            if rest:
                ledger.add_request(replace(request, target=rest.target, version=""))
            ledger.remove_request(request)
            log.info("request=%s granted, %s", request.id, f"but for {rest.target}" if rest else "all of it")
        except Malformed as error:
            log.error("request=%s dropped: %s", request.id, error)  # noqa: TRY400  # no trace
            ledger.remove_request(request)
        except Conflict as error:
            log.warning("request=%s waits for the next tick: %s", request.id, error)
        except Unavailable as error:
            log.warning("request=%s waits for the next tick: %s", request.id, error)
            tick.trouble = tick.trouble or str(error)


def note_unpublished(beat: Heartbeat, entry: Publication | None) -> Heartbeat:
    """The heartbeat with the run that a sink lacks for longest, if there is one."""
    if entry is None:
        return replace(beat, unpublished="", unpublished_sink="", unpublished_since=None, unpublished_reason="")
    reason = clip_text(f"{entry.reason}: {entry.message}") if entry.reason else ""
    return replace(
        beat,
        unpublished=entry.run,
        unpublished_sink=str(entry.sink),
        unpublished_since=entry.asked_at,
        unpublished_reason=reason,
    )


def _offer_runs(
    ledger: Ledger, publisher: Publisher, interval: PublishedRange, request: Request, tick: Tick, until: timedelta
) -> PublishedRange | None:
    """The range of what there was no time for: at least one run is offered."""
    span = interval.span
    for index, run in enumerate(ledger.list_runs_in(span.start, span.end)):
        if index and tick.elapsed >= until:
            end = run.window.start + MINUTE  # this run, and any other that starts with it, is in the rest
            return replace(interval, span=Window(span.start, end - span.start))
        if run.phase.terminal:  # any other is offered when its round has ended
            try:
                publisher.offers.offer_past_run(run, interval.sink, request, tick.now)
            except Malformed as error:  # its row: the other runs go on
                log.warning("run=%s sink=%s is not requested: %s", run.id, interval.sink, error)
    return None
