"""Asks sinks to hold a run, or to hold it no longer. A job does that later: see `publisher`.

Everything may be repeated: what is asked for already is not asked for again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from shared.contract.errors import Conflict, Malformed, NotFound, Unavailable
from shared.contract.publishing.sinks import SinkKind, SinkReason
from shared.control.options import ControlOptions
from shared.control.tick import Tick
from shared.ports import SinkLedger
from shared.publishing import publications
from shared.state.publications import Publication
from shared.state.requests import Request, RequestKind
from shared.state.runs import Run

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunOffers:
    """The port that it acts on."""

    sinks: SinkLedger
    options: ControlOptions

    @property
    def _kinds(self) -> Sequence[SinkKind]:
        return [sink.kind for sink in self.options.sinks]

    def offer_run(self, run: Run, tick: Tick) -> Run:
        """Ask each sink to hold what the run holds now, whose round has ended; the run then names those asked.

        A sink that cannot be asked now is asked at the next tick, and holds up no other.
        """
        kinds = {str(kind) for kind in self._kinds if self._ask_sink(kind, run, tick)}
        kinds |= set(run.offered_sinks) - set(map(str, self._kinds))
        return replace(run, offered_round=run.round, offered_sinks=tuple(sorted(kinds)))

    def _ask_sink(self, kind: SinkKind, run: Run, tick: Tick) -> bool:
        """Whether the sink is asked to hold the run."""
        try:
            entry = publications.ask_publication(self._find_publication(kind, run.id), kind, run, tick.now)
            for saved in self.sinks.save_publications([entry] if entry else []):
                log.info("run=%s round=%d sink=%s pending", run.id, saved.round, saved.sink)
        except Conflict as error:
            log.warning("run=%s sink=%s is asked at the next tick: %s", run.id, kind, error)
            return False
        except (Malformed, Unavailable) as error:
            log.error("run=%s sink=%s cannot be asked at this tick: %s", run.id, kind, error)  # noqa: TRY400
            tick.trouble = tick.trouble or f"run {run.id}, sink {kind}: {error}"
            return False
        return True

    def is_offered(self, run: Run) -> bool:
        """Whether each sink was asked to hold what the run holds now."""
        return run.offered_round == run.round and set(map(str, self._kinds)) <= set(run.offered_sinks)

    def offer_restored_run(self, run: Run, now: datetime) -> Run:
        """Ask each sink to hold a run whose row a rebuild is about to write: a job finds what the sink has of it.

        The run then names every kind of sink, since which ones held it is lost. Safe to repeat. Raises Conflict.
        """
        restored = replace(run, offered_sinks=tuple(sorted(map(str, SinkKind))))
        if not (self._kinds and run.phase.terminal):
            return restored
        stored = [(kind, self._find_publication(kind, run.id)) for kind in self._kinds]
        requests = [publications.ask_publication(entry, kind, run, now) for kind, entry in stored]
        self.sinks.save_publications([entry for entry in requests if entry])
        return replace(restored, offered_round=run.round)

    def offer_past_run(self, run: Run, kind: SinkKind, request: Request, now: datetime) -> None:
        """Ask a sink to hold a run that is over, as a person requested. Raises Conflict.

        One that is to be removed from the sink, since it is about to be pruned, stays so.
        """
        stored = self._find_publication(kind, run.id)
        if stored and stored.is_removal:
            return
        if request.kind is RequestKind.REPUBLISH:
            entry = publications.ask_once_more(stored, kind, run, request.asked_at, now)
        else:
            entry = publications.ask_publication(stored, kind, run, now)
        if entry:
            is_requested = not stored or not stored.state.is_open or stored.is_requested  # else the schedule's own
            self.sinks.save_publications([replace(entry, is_requested=is_requested)])

    def allow_pruning(self, run: Run, now: datetime) -> bool:
        """Whether each sink has what it is to have of a run, so that its parts may go. Raises Conflict.

        Where predictions are pruned, no sink may hold the run: that is asked for first. A sink that was asked to hold
        the run, and has no row of it, is asked again. A run whose parts are gone waits for no sink.
        """
        stored = [(kind, self._find_publication(kind, run.id)) for kind in self._kinds]
        removes = self.options.prune_predictions
        results = [publications.ask_before_pruning(entry, kind, run, now, removes=removes) for kind, entry in stored]
        requests = [request for request in results if request]
        self.sinks.save_publications(requests)
        waits = [entry for _, entry in stored if entry and entry.state.is_open]
        return not requests and all(entry.reason == SinkReason.PART_MISSING for entry in waits)

    def forget_run(self, run_id: str) -> None:
        """Remove what is recorded of a run that is pruned. Safe to repeat."""
        self.sinks.remove_publications(run_id)

    def _find_publication(self, kind: SinkKind, run_id: str) -> Publication | None:
        try:
            return self.sinks.read_publication(kind, run_id)
        except NotFound:
            return None
