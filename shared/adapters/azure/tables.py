"""The ledger on Azure Table Storage: one table. Keeps and finds rows; decides nothing.

    partition       row                             holds
    runs            run-{newest first}-{run}        a run
    runs            watch-{run}                     a mark: the tick looks at this run
    {run}           {chunk}                         a chunk
    wishes          {kind}-{target}                 a wish
    backfills       {backfill}                      a backfill
    quarantine      {digest of the model's id}      a model that planning skips
    heartbeat       heartbeat                       what the tick remembers

A run's mark lies in the partition of its row, since a transaction spans one partition.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from shared.contract.errors import Conflict, Malformed, NotFound
from shared.contract.text import MESSAGE_LIMIT
from shared.ports import Page
from shared.state.requests import Backfill, Quarantined, Wish, WishKind
from shared.state.runs import Chunk, Heartbeat, Run

from .table_batches import Operation, Table, batches, create, drop, overwrite, put, touch
from .table_rows import (
    OWN_MESSAGE_LIMIT,
    SCHEMA,
    Row,
    cut,
    dump,
    fitted,
    load,
    model_key,
    run_cursor,
    run_key,
    run_keys,
)

log = logging.getLogger(__name__)

RUNS, WISHES, BACKFILLS, QUARANTINE, HEARTBEAT = "runs", "wishes", "backfills", "quarantine", "heartbeat"
T = TypeVar("T")


class TableLedger:
    """Runs, chunks and wishes in one table, which the first write makes. Versions are the rows' etags."""

    def __init__(self, setting: str, table: str = "fleetscore") -> None:
        """*setting* is what `Account` takes. Calls nobody."""
        self._table = Table(setting, table)

    def ensure(self) -> bool:
        """Make the table; False when it was there."""
        return self._table.ensure()

    def heartbeat(self) -> Heartbeat:
        try:
            return _loaded(Heartbeat, self._table.get(HEARTBEAT, HEARTBEAT))
        except NotFound:
            return Heartbeat()

    def save_heartbeat(self, beat: Heartbeat) -> Heartbeat:
        beat = replace(beat, trouble=cut(beat.trouble, OWN_MESSAGE_LIMIT))
        row = dump(beat, HEARTBEAT, HEARTBEAT)
        write = overwrite(row, beat.version) if beat.version else create(row)
        return replace(beat, version=self._table.save([write])[0])

    def add_run(self, run: Run) -> bool:
        writes = [create(dump(fitted(run), RUNS, run_key(run.id)))]
        try:
            self._table.transact(writes if run.phase.terminal else [*writes, _mark(run)])
        except Conflict:
            return False
        return True

    def run(self, run_id: str) -> Run:
        try:
            row = run_key(run_id)
        except Malformed as error:
            raise NotFound(f"no run {run_id[:80]!r}: {error}") from error
        return _loaded(Run, self._table.get(RUNS, row))

    def runs(self, limit: int, cursor: str | None = None) -> Page[Run]:
        rows, last = self._table.page(RUNS, limit, run_cursor(cursor) if cursor else "run-", "run.")
        return Page(tuple(_loaded(Run, row) for row in rows), last)

    def runs_in(self, start: datetime, end: datetime) -> Iterator[Run]:
        return (_loaded(Run, row) for row in self._table.rows(RUNS, *run_keys(start, end)))

    def watched_runs(self) -> Sequence[Run]:
        marks = list(self._table.rows(RUNS, "watch-", "watch."))
        found = []
        for mark in marks:
            try:
                found.append(self.run(mark["RowKey"].removeprefix("watch-")))
            except NotFound as error:  # somebody removed the row by hand; the other runs go on
                log.error("the ledger watches a run that is not there: %s", error)  # noqa: TRY400  # the trace says no more
            except Malformed as error:
                log.error("a row cannot be read: %s", error)  # noqa: TRY400
        return found

    def save_run(self, run: Run) -> Run:
        run = fitted(run)
        writes = [overwrite(dump(run, RUNS, run_key(run.id)), run.version)]
        return replace(run, version=self._table.save(writes if run.phase.terminal else [*writes, _mark(run)])[0])

    def unwatch(self, run: Run) -> None:
        with suppress(NotFound):  # it is not watched
            self._table.transact([touch(RUNS, run_key(run.id), run.version), drop(RUNS, _mark_key(run.id))])

    def remove_run(self, run_id: str) -> None:
        try:
            row = run_key(run_id)
        except Malformed:  # no run has such an id, but one of our own partitions may
            return
        chunks = self._table.rows(run_id, select=["PartitionKey", "RowKey"])
        self._table.clear(drop(chunk["PartitionKey"], chunk["RowKey"]) for chunk in chunks)
        # Together, and the run first where its mark is gone: who saves the run meanwhile leaves no mark behind.
        self._table.clear([drop(RUNS, row), drop(RUNS, _mark_key(run_id))])

    def add_chunks(self, chunks: Sequence[Chunk]) -> None:
        runs = {chunk.run for chunk in chunks}
        there = {(run, row["RowKey"]) for run in runs for row in self._table.rows(run, select=["RowKey"])}
        missing = [chunk for chunk in chunks if (chunk.run, chunk.id) not in there]
        for batch in batches(create(_chunk_row(fitted(chunk))) for chunk in missing):
            try:
                self._table.transact(batch)
            except Conflict:  # another host is adding them at this moment
                for _, row, _ in batch:
                    self._table.insert(row)

    def chunks(self, run_id: str) -> Sequence[Chunk]:
        return [_loaded(Chunk, row) for row in self._table.rows(run_id)]

    def chunk(self, run_id: str, chunk_id: str) -> Chunk:
        return _loaded(Chunk, self._table.get(run_id, chunk_id))

    def chunk_page(self, run_id: str, limit: int, cursor: str | None = None) -> Page[Chunk]:
        rows, last = self._table.page(run_id, limit, cursor or "")
        return Page(tuple(_loaded(Chunk, row) for row in rows), last)

    def save_chunks(self, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        chunks = [fitted(chunk) for chunk in chunks]
        writes = (overwrite(_chunk_row(chunk), chunk.version) for chunk in chunks)
        versions = [version for batch in batches(writes) for version in self._table.save(batch)]
        return [replace(chunk, version=version) for chunk, version in zip(chunks, versions, strict=True)]

    def add_wish(self, wish: Wish) -> bool:
        return self._table.insert(dump(wish, WISHES, wish.id))

    def wish(self, kind: WishKind, target: str) -> Wish:
        return _loaded(Wish, self._table.get(WISHES, f"{kind}-{target}"))

    def wishes(self) -> Sequence[Wish]:
        return sorted(_readable(Wish, self._table.rows(WISHES)), key=lambda wish: (wish.asked_at, wish.id))

    def remove_wish(self, wish: Wish) -> None:
        with suppress(Conflict):  # it was asked for again since
            self._table.delete(WISHES, wish.id, wish.version)

    def add_backfill(self, backfill: Backfill) -> bool:
        return self._table.insert(dump(backfill, BACKFILLS, backfill.id))

    def backfill(self, backfill_id: str) -> Backfill:
        return _loaded(Backfill, self._table.get(BACKFILLS, backfill_id))

    def backfills(self) -> Sequence[Backfill]:
        return sorted(
            _readable(Backfill, self._table.rows(BACKFILLS)), key=lambda backfill: (backfill.asked_at, backfill.id)
        )

    def save_backfill(self, backfill: Backfill) -> Backfill:
        write = overwrite(dump(backfill, BACKFILLS, backfill.id), backfill.version)
        return replace(backfill, version=self._table.save([write])[0])

    def remove_backfill(self, backfill_id: str) -> None:
        self._table.delete(BACKFILLS, backfill_id)

    def quarantine(self) -> Sequence[Quarantined]:
        rows = self._table.rows(QUARANTINE)
        return sorted((found for row in rows if (found := _tried(Quarantined, row))), key=lambda found: found.model)

    def add_quarantined(self, found: Quarantined) -> None:
        found = replace(found, message=cut(found.message, MESSAGE_LIMIT))
        self._table.transact([put(dump(found, QUARANTINE, model_key(found.model)))])

    def remove_quarantined(self, model: str) -> bool:
        return self._table.delete(QUARANTINE, model_key(model))


def _loaded(kind: type[T], row: Any) -> T:
    return load(kind, row, version=row.metadata["etag"])


def _tried(kind: type[T], row: Any, **version: str) -> T | None:
    """The value of a row; None where another version wrote it, or somebody by hand: one row must not stop a tick."""
    try:
        return load(kind, row, **version)
    except Malformed as error:
        log.error("a row cannot be read: %s", error)  # noqa: TRY400  # the trace says no more
        return None


def _readable(kind: type[T], rows: Iterable[Any]) -> Iterator[T]:
    return (found for row in rows if (found := _tried(kind, row, version=row.metadata["etag"])))


def _chunk_row(chunk: Chunk) -> Row:
    return dump(chunk, chunk.run, chunk.id)


def _mark_key(run_id: str) -> str:
    return f"watch-{run_id}"


def _mark(run: Run) -> Operation:
    return put({"PartitionKey": RUNS, "RowKey": _mark_key(run.id), "schema": SCHEMA})
