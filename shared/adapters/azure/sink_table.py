"""The record of what sinks hold, in the ledger's table. Stores and reads rows; decides nothing.

    partition       row                             holds
    sinks           sink-{sink}                     a sink's job
    sinks           open-{sink}-{newest first}-{run}    what a sink is to hold of a run, and does not hold yet
    sinks           done-{sink}-{newest first}-{run}    what it holds
    notices         {notice}                        a notification that is not sent yet

A row moves from one name to the other within a transaction, so that a tick lists what is open and never the history.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from shared.contract.errors import Malformed, NotFound
from shared.contract.publishing.sinks import SinkKind
from shared.ports import Page
from shared.state.notices import Notice
from shared.state.publications import Publication, Sink

from .table_batches import Operation, Table, make_delete, make_insert, make_replace, make_upsert
from .table_rows import OWN_MESSAGE_LIMIT, check_key, dump_row, load_row, make_run_key, shorten_text

log = logging.getLogger(__name__)

SINKS, NOTICES = "sinks", "notices"
OPEN, DONE = "open", "done"
T = TypeVar("T")


class TableSinkLedger:
    """What `SinkLedger` says, in the table of the ledger. Versions are the rows' names and etags."""

    def __init__(self, setting: str, table: str = "fleetscore") -> None:
        """*setting* is what `Account` takes. Sends no request."""
        self._table = Table(setting, table)

    def read_sink(self, kind: SinkKind) -> Sink:
        try:
            row: Any = self._table.read_row(SINKS, f"sink-{kind}")
        except NotFound:
            return Sink(kind)
        return load_row(Sink, row, version=row.metadata["etag"])

    def save_sink(self, sink: Sink) -> Sink:
        sink = replace(sink, message=shorten_text(sink.message, OWN_MESSAGE_LIMIT))
        row = dump_row(sink, SINKS, f"sink-{sink.kind}")
        write = make_replace(row, sink.version) if sink.version else make_insert(row)
        return replace(sink, version=self._table.save_rows([write])[0])

    def read_publication(self, kind: SinkKind, run_id: str) -> Publication:
        try:
            keys = [_make_key(state, kind, run_id) for state in (OPEN, DONE)]
        except Malformed as error:
            raise NotFound(f"no publication of {run_id[:80]!r}: {error}") from error
        for key in keys:
            try:
                return _load_publication(self._table.read_row(SINKS, key))
            except NotFound:
                continue
        raise NotFound(f"no publication of {run_id} to {kind}")

    def list_open_publications(self) -> Sequence[Publication]:
        return list(_load_publications(self._table.list_rows(SINKS, f"{OPEN}-", f"{OPEN}.")))

    def list_publications(self, kind: SinkKind, limit: int, cursor: str | None = None) -> Page[Publication]:
        prefix = f"{DONE}-{kind}-"
        if cursor is not None and not cursor.startswith(prefix):
            raise Malformed(f"expected the cursor of an earlier page of {kind}, got {cursor[:80]!r}")
        rows, last = self._table.read_page(SINKS, limit, check_key(cursor or prefix), f"{DONE}-{kind}.")
        return Page(tuple(_load_publications(rows)), last)

    def save_publications(self, publications: Sequence[Publication]) -> Sequence[Publication]:
        return [self._save_publication(entry) for entry in publications]

    def remove_publications(self, run_id: str) -> None:
        try:
            keys = [_make_key(state, kind, run_id) for state in (OPEN, DONE) for kind in SinkKind]
        except Malformed:  # no run has such an id
            return
        self._table.delete_rows(make_delete(SINKS, key) for key in keys)

    def add_notice(self, notice: Notice) -> bool:
        return self._table.insert_row(dump_row(notice, NOTICES, notice.id))

    def list_notices(self) -> Sequence[Notice]:
        notices = _load_readable(Notice, self._table.list_rows(NOTICES))
        return sorted(notices, key=lambda notice: (notice.at, notice.id))

    def save_notice(self, notice: Notice) -> Notice:
        write = make_replace(dump_row(notice, NOTICES, notice.id), notice.version)
        return replace(notice, version=self._table.save_rows([write])[0])

    def remove_notice(self, notice_id: str) -> None:
        self._table.delete_row(NOTICES, notice_id)

    def _save_publication(self, entry: Publication) -> Publication:
        entry = replace(entry, message=shorten_text(entry.message, OWN_MESSAGE_LIMIT))
        key = _make_key(OPEN if entry.state.is_open else DONE, entry.sink, entry.run)
        return replace(entry, version=f"{key} {self._table.save_rows(_make_writes(entry, key))[-1]}")


def _make_writes(entry: Publication, key: str) -> list[Operation]:
    """One write where the row keeps its name; else its deletion under the other name too.

    A row that is done replaces any other: two hosts that asked at once may have left one.
    """
    row = dump_row(entry, SINKS, key)
    stored, _, etag = entry.version.partition(" ")
    if not stored:
        return [make_insert(row)]
    if stored == key:
        return [make_replace(row, etag)]
    return [make_delete(SINKS, stored, etag), make_insert(row) if entry.state.is_open else make_upsert(row)]


def _make_key(state: str, kind: SinkKind, run_id: str) -> str:
    return check_key(f"{state}-{kind}-{make_run_key(run_id).removeprefix('run-')}")


def _load_publication(row: Any) -> Publication:
    return load_row(Publication, row, version=f"{row['RowKey']} {row.metadata['etag']}")


def _load_publications(rows: Any) -> Iterator[Publication]:
    for row in rows:
        if entry := _try_load(Publication, row, f"{row['RowKey']} {row.metadata['etag']}"):
            yield entry


def _load_readable(kind: type[T], rows: Any) -> Iterator[T]:
    return (value for row in rows if (value := _try_load(kind, row, row.metadata["etag"])))


def _try_load(kind: type[T], row: Any, version: str) -> T | None:
    """The value of a row; None if another version or a person wrote it: one row must not stop a tick."""
    try:
        return load_row(kind, row, version=version)
    except Malformed as error:
        log.error("a row cannot be read: %s", error)  # noqa: TRY400  # the trace says no more
        return None
