"""What a publishing job is to publish: the runs that are due, with the parts that the ledger names. Writes nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from shared.contract.errors import NotFound
from shared.contract.publishing.documents import PublicationItem, PublishedPart
from shared.contract.publishing.sinks import SinkKind
from shared.ports import Ledger
from shared.publishing import publications
from shared.state.publications import Publication
from shared.state.runs import Phase, Run
from shared.tracking import run_tracker

log = logging.getLogger(__name__)

MOST_RUNS = 24  # of one job: a report comes soon, and a kill repeats little
MOST_PARTS = 5_000  # of one job, but for a single run


@dataclass(frozen=True, slots=True)
class ItemSelector:
    """Selects runs by the ledger."""

    ledger: Ledger

    def select_items(
        self, kind: SinkKind, entries: Sequence[Publication], now: datetime
    ) -> tuple[Sequence[PublicationItem], Sequence[Publication]]:
        """The runs that are due, as many as a job takes, and those that the ledger does not have.

        A run that is open again is published when its round ends.
        """
        items: list[PublicationItem] = []
        absent: list[Publication] = []
        n_parts = 0
        for entry in publications.select_together(publications.select_due(entries, kind, now)):
            try:
                item = self._build_item(entry)
            except NotFound as error:
                log.warning("run=%s sink=%s: %s", entry.run, entry.sink, error)
                absent.append(entry)
                continue
            if item is None:
                continue
            n_parts += len(item.parts)
            if items and n_parts > MOST_PARTS:
                break
            items.append(item)
            if len(items) == MOST_RUNS:
                break
        return items, absent

    def _build_item(self, entry: Publication) -> PublicationItem | None:
        """None for a run that is published later. Raises NotFound where the ledger has no such run."""
        if entry.is_removal:
            return PublicationItem(entry.run, entry.round, entry.revision, is_removal=True)
        run = self.ledger.read_run(entry.run)
        if not run.phase.terminal or run.round != entry.round:
            return None
        parts = self._list_parts(run)
        earlier = self._list_earlier(run) if entry.sink is SinkKind.EVENTS else ()
        if parts is None or earlier is None:
            return None
        return PublicationItem(
            entry.run,
            entry.round,
            entry.revision,
            asked_by=run.asked_by,
            parts=parts,
            earlier=earlier,
        )

    def _list_parts(self, run: Run) -> tuple[PublishedPart, ...] | None:
        """The committed parts of a run; None where its chunks are not listed as its row sums them up."""
        chunks = {chunk.id: chunk for chunk in self.ledger.list_chunks(run.id)}
        if not run_tracker.is_sum_of(run, list(chunks.values())):
            log.warning("run=%s is not published yet: its chunks are not those that its row counts", run.id)
            return None
        return tuple(
            PublishedPart(chunk.id, chunk.committed.attempt, replace(part, etag=""))
            for _, chunk in sorted(chunks.items())
            if chunk.committed
            for part in chunk.committed.parts
        )

    def _list_earlier(self, run: Run) -> tuple[PublishedPart, ...] | None:
        """The committed parts of the window before; none where it has no run, and None while its run is open."""
        try:
            earlier = self.ledger.read_run(run.window.previous.id)
        except NotFound:
            return ()
        if earlier.phase is Phase.MISSED:
            return ()
        return self._list_parts(earlier) if earlier.phase.terminal else None
