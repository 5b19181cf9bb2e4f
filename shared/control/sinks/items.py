"""What a publishing job is to publish: the runs that are due, with the parts that the ledger names. Writes nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from shared.contract.errors import NotFound
from shared.contract.publishing.documents import PublicationItem, PublishedPart
from shared.contract.publishing.sinks import SinkKind
from shared.contract.windows import Window
from shared.ports import Ledger
from shared.publishing import publications
from shared.state.publications import Publication
from shared.state.runs import Run
from shared.tracking import run_tracker

log = logging.getLogger(__name__)

MOST_RUNS = 24  # of one job: a report comes soon, and a kill repeats little
MOST_PARTS = 5_000  # of one job, but for a single run


@dataclass(frozen=True, slots=True)
class ItemSelector:
    """Selects runs by the ledger."""

    ledger: Ledger

    def select_items(self, kind: SinkKind, entries: Sequence[Publication], now: datetime) -> Sequence[PublicationItem]:
        """The runs that are due, as many as a job takes. A run that is open again is published when its round ends."""
        items: list[PublicationItem] = []
        n_parts = 0
        for entry in publications.select_together(publications.select_due(entries, kind, now)):
            item = self._build_item(entry)
            if item is None:
                continue
            n_parts += len(item.parts)
            if items and n_parts > MOST_PARTS:
                break
            items.append(item)
            if len(items) == MOST_RUNS:
                break
        return items

    def _build_item(self, entry: Publication) -> PublicationItem | None:
        is_first = entry.published_round is None
        if entry.is_removal:
            return PublicationItem(entry.run, entry.round, entry.revision, is_removal=True, is_first=is_first)
        try:
            run = self.ledger.read_run(entry.run)
        except NotFound as error:
            log.warning("run=%s sink=%s: %s", entry.run, entry.sink, error)
            return None
        if not run.phase.terminal or run.round != entry.round:
            return None
        parts = self._list_parts(run)
        if parts is None:
            return None
        return PublicationItem(
            entry.run,
            entry.round,
            entry.revision,
            is_first=is_first,
            asked_by=run.asked_by,
            parts=parts,
            earlier=self._list_earlier(run) if entry.sink is SinkKind.EVENTS else (),
        )

    def _list_parts(self, run: Run) -> tuple[PublishedPart, ...] | None:
        """The committed parts of a run; None where its chunks are not listed as its row sums them up."""
        chunks = {chunk.id: chunk for chunk in self.ledger.list_chunks(run.id)}
        if not run_tracker.is_sum_of(run, list(chunks.values())):
            return None
        return tuple(
            PublishedPart(chunk.id, chunk.committed.attempt, replace(part, etag=""))
            for _, chunk in sorted(chunks.items())
            if chunk.committed
            for part in chunk.committed.parts
        )

    def _list_earlier(self, run: Run) -> tuple[PublishedPart, ...]:
        """The committed parts of the window before; none where it has no run that is over."""
        window = Window(run.window.start - run.window.length, run.window.length)
        try:
            earlier = self.ledger.read_run(window.id)
        except NotFound:
            return ()
        return (self._list_parts(earlier) or ()) if earlier.phase.terminal else ()
