"""The ledger on Azure Table Storage: one table. Stores and reads rows; decides nothing.

    partition       row                             holds
    runs            run-{newest first}-{run}        a run
    runs            watch-{run}                     a mark: this run is watched
    {run}           {chunk}                         a chunk
    wishes          {kind}-{target}                 a request
    backfills       {backfill}                      a backfill
    quarantine      {digest of the model's id}      a model that planning skips
    heartbeat       heartbeat                       what the tick stores for the next tick

A run's mark is in the partition of its row, since a transaction is limited to one partition.
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
from shared.state.requests import Backfill, Quarantined, Request, RequestKind
from shared.state.runs import Chunk, Heartbeat, Run

from .table_batches import (
    Operation,
    Table,
    make_delete,
    make_insert,
    make_replace,
    make_touch,
    make_upsert,
    split_into_batches,
)
from .table_rows import (
    OWN_MESSAGE_LIMIT,
    SCHEMA,
    Row,
    check_run_cursor,
    dump_row,
    load_row,
    make_model_key,
    make_run_key,
    make_run_key_range,
    shorten_text,
    shorten_texts,
)

log = logging.getLogger(__name__)

RUNS, REQUESTS, BACKFILLS, QUARANTINE, HEARTBEAT = "runs", "wishes", "backfills", "quarantine", "heartbeat"
T = TypeVar("T")


class TableLedger:
    """Runs, chunks and requests in one table, which the first write creates. Versions are the rows' etags."""

    def __init__(self, setting: str, table: str = "fleetscore") -> None:
        """*setting* is what `Account` takes. Sends no request."""
        self._table = Table(setting, table)

    def ensure_table(self) -> bool:
        """Create the table; False when it exists."""
        return self._table.ensure_table()

    def read_heartbeat(self) -> Heartbeat:
        try:
            return _load_value(Heartbeat, self._table.read_row(HEARTBEAT, HEARTBEAT))
        except NotFound:
            return Heartbeat()

    def save_heartbeat(self, beat: Heartbeat) -> Heartbeat:
        beat = replace(beat, trouble=shorten_text(beat.trouble, OWN_MESSAGE_LIMIT))
        row = dump_row(beat, HEARTBEAT, HEARTBEAT)
        write = make_replace(row, beat.version) if beat.version else make_insert(row)
        return replace(beat, version=self._table.save_rows([write])[0])

    def add_run(self, run: Run) -> bool:
        writes = [make_insert(dump_row(shorten_texts(run), RUNS, make_run_key(run.id)))]
        try:
            self._table.write_rows(writes if run.phase.terminal else [*writes, _make_mark(run)])
        except Conflict:
            return False
        return True

    def read_run(self, run_id: str) -> Run:
        try:
            row = make_run_key(run_id)
        except Malformed as error:
            raise NotFound(f"no run {run_id[:80]!r}: {error}") from error
        return _load_value(Run, self._table.read_row(RUNS, row))

    def list_runs(self, limit: int, cursor: str | None = None) -> Page[Run]:
        rows, last = self._table.read_page(RUNS, limit, check_run_cursor(cursor) if cursor else "run-", "run.")
        return Page(tuple(_load_value(Run, row) for row in rows), last)

    def list_runs_in(self, start: datetime, end: datetime) -> Iterator[Run]:
        return (_load_value(Run, row) for row in self._table.list_rows(RUNS, *make_run_key_range(start, end)))

    def list_watched_runs(self) -> Sequence[Run]:
        marks = list(self._table.list_rows(RUNS, "watch-", "watch."))
        runs = []
        for mark in marks:
            try:
                runs.append(self.read_run(mark["RowKey"].removeprefix("watch-")))
            except NotFound as error:  # the row was removed by hand; the other runs go on
                log.error("the ledger watches a run without a row: %s", error)  # noqa: TRY400  # the trace says no more
            except Malformed as error:
                log.error("a row cannot be read: %s", error)  # noqa: TRY400
        return runs

    def save_run(self, run: Run) -> Run:
        run = shorten_texts(run)
        writes = [make_replace(dump_row(run, RUNS, make_run_key(run.id)), run.version)]
        return replace(
            run, version=self._table.save_rows(writes if run.phase.terminal else [*writes, _make_mark(run)])[0]
        )

    def unwatch_run(self, run: Run) -> None:
        with suppress(NotFound):  # it is not watched
            self._table.write_rows(
                [make_touch(RUNS, make_run_key(run.id), run.version), make_delete(RUNS, _make_mark_key(run.id))]
            )

    def remove_run(self, run_id: str) -> None:
        try:
            row = make_run_key(run_id)
        except Malformed:  # no run has such an id, but a partition of the ledger may
            return
        chunks = self._table.list_rows(run_id, select=["PartitionKey", "RowKey"])
        self._table.delete_rows(make_delete(chunk["PartitionKey"], chunk["RowKey"]) for chunk in chunks)
        # In one transaction, or the run first: a host that saves it at the same time leaves no mark behind.
        self._table.delete_rows([make_delete(RUNS, row), make_delete(RUNS, _make_mark_key(run_id))])

    def add_chunks(self, chunks: Sequence[Chunk]) -> None:
        runs = {chunk.run for chunk in chunks}
        row_ids = {(run, row["RowKey"]) for run in runs for row in self._table.list_rows(run, select=["RowKey"])}
        missing = [chunk for chunk in chunks if (chunk.run, chunk.id) not in row_ids]
        for batch in split_into_batches(make_insert(_make_chunk_row(shorten_texts(chunk))) for chunk in missing):
            try:
                self._table.write_rows(batch)
            except Conflict:  # another host is adding them at this moment
                for _, row, _ in batch:
                    self._table.insert_row(row)

    def list_chunks(self, run_id: str) -> Sequence[Chunk]:
        return [_load_value(Chunk, row) for row in self._table.list_rows(run_id)]

    def read_chunk(self, run_id: str, chunk_id: str) -> Chunk:
        return _load_value(Chunk, self._table.read_row(run_id, chunk_id))

    def read_chunk_page(self, run_id: str, limit: int, cursor: str | None = None) -> Page[Chunk]:
        rows, last = self._table.read_page(run_id, limit, cursor or "")
        return Page(tuple(_load_value(Chunk, row) for row in rows), last)

    def save_chunks(self, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        chunks = [shorten_texts(chunk) for chunk in chunks]
        writes = (make_replace(_make_chunk_row(chunk), chunk.version) for chunk in chunks)
        versions = [version for batch in split_into_batches(writes) for version in self._table.save_rows(batch)]
        return [replace(chunk, version=version) for chunk, version in zip(chunks, versions, strict=True)]

    def add_request(self, request: Request) -> bool:
        return self._table.insert_row(dump_row(request, REQUESTS, request.id))

    def read_request(self, kind: RequestKind, target: str) -> Request:
        return _load_value(Request, self._table.read_row(REQUESTS, f"{kind}-{target}"))

    def list_requests(self) -> Sequence[Request]:
        return sorted(
            _load_readable(Request, self._table.list_rows(REQUESTS)), key=lambda request: (request.asked_at, request.id)
        )

    def remove_request(self, request: Request) -> None:
        with suppress(Conflict):  # it was requested again since
            self._table.delete_row(REQUESTS, request.id, request.version)

    def add_backfill(self, backfill: Backfill) -> bool:
        return self._table.insert_row(dump_row(backfill, BACKFILLS, backfill.id))

    def read_backfill(self, backfill_id: str) -> Backfill:
        return _load_value(Backfill, self._table.read_row(BACKFILLS, backfill_id))

    def list_backfills(self) -> Sequence[Backfill]:
        return sorted(
            _load_readable(Backfill, self._table.list_rows(BACKFILLS)),
            key=lambda backfill: (backfill.asked_at, backfill.id),
        )

    def save_backfill(self, backfill: Backfill) -> Backfill:
        write = make_replace(dump_row(backfill, BACKFILLS, backfill.id), backfill.version)
        return replace(backfill, version=self._table.save_rows([write])[0])

    def remove_backfill(self, backfill_id: str) -> None:
        self._table.delete_row(BACKFILLS, backfill_id)

    def list_quarantined(self) -> Sequence[Quarantined]:
        rows = self._table.list_rows(QUARANTINE)
        return sorted((entry for row in rows if (entry := _try_load(Quarantined, row))), key=lambda entry: entry.model)

    def add_quarantined(self, entry: Quarantined) -> None:
        entry = replace(entry, message=shorten_text(entry.message, MESSAGE_LIMIT))
        self._table.write_rows([make_upsert(dump_row(entry, QUARANTINE, make_model_key(entry.model)))])

    def remove_quarantined(self, model: str) -> bool:
        return self._table.delete_row(QUARANTINE, make_model_key(model))


def _load_value(kind: type[T], row: Any) -> T:
    return load_row(kind, row, version=row.metadata["etag"])


def _try_load(kind: type[T], row: Any, **version: str) -> T | None:
    """The value of a row; None if another version or a person wrote it: one row must not stop a tick."""
    try:
        return load_row(kind, row, **version)
    except Malformed as error:
        log.error("a row cannot be read: %s", error)  # noqa: TRY400  # the trace says no more
        return None


def _load_readable(kind: type[T], rows: Iterable[Any]) -> Iterator[T]:
    return (value for row in rows if (value := _try_load(kind, row, version=row.metadata["etag"])))


def _make_chunk_row(chunk: Chunk) -> Row:
    return dump_row(chunk, chunk.run, chunk.id)


def _make_mark_key(run_id: str) -> str:
    return f"watch-{run_id}"


def _make_mark(run: Run) -> Operation:
    return make_upsert({"PartitionKey": RUNS, "RowKey": _make_mark_key(run.id), "schema": SCHEMA})
