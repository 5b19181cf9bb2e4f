"""The ledger on Azure Table Storage: one table. Keeps and finds rows; decides nothing.

    partition       row                             holds
    runs            run-{newest first}-{run}        a run
    runs            watch-{run}                     a mark: the tick looks at this run
    {run}           {chunk}                         a chunk
    wishes          {kind}-{run}                    a wish
    heartbeat       heartbeat                       what the tick remembers

A run's mark lies in the partition of its row, since a transaction spans one partition.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from shared.domain import Chunk, Heartbeat, Run, Wish, WishKind
from shared.errors import Conflict, Malformed, Misconfigured, NotFound
from shared.ports import Page

from .rows import OWN_MESSAGE_LIMIT, SCHEMA, Row, cut, dump, fitted, key, load, run_cursor, run_key
from .storage import PATIENCE, Account, translated

if TYPE_CHECKING:
    from azure.data.tables import TableClient

log = logging.getLogger(__name__)

BATCH = 100  # rows of one transaction
BATCH_BYTES = 3_000_000  # Table Storage takes 4 MiB, and what surrounds the rows counts
PAGE = 1_000  # the most rows of one answer

RUNS, WISHES, HEARTBEAT = "runs", "wishes", "heartbeat"
T = TypeVar("T")
Operation = tuple[str, Row, Mapping[str, Any]]  # as the SDK's transactions take it


class TableLedger:
    """Runs, chunks and wishes in one table, which the first write makes. Versions are the rows' etags."""

    def __init__(self, setting: str, table: str = "fleetscore") -> None:
        """*setting* is what `Account` takes. Calls nobody."""
        self._account = Account(setting)
        self._name = table

    def ensure(self) -> bool:
        """Make the table; False when it was there."""
        try:
            with translated(self._url):
                self._table.create_table()
        except Conflict:
            return False
        return True

    def heartbeat(self) -> Heartbeat:
        try:
            return _loaded(Heartbeat, self._get(HEARTBEAT, HEARTBEAT))
        except NotFound:
            return Heartbeat()

    def save_heartbeat(self, beat: Heartbeat) -> Heartbeat:
        beat = replace(beat, trouble=cut(beat.trouble, OWN_MESSAGE_LIMIT))
        row = dump(beat, HEARTBEAT, HEARTBEAT)
        write = _replace(row, beat.version) if beat.version else _create(row)
        return replace(beat, version=self._save([write])[0])

    def add_run(self, run: Run) -> bool:
        writes = [_create(dump(fitted(run), RUNS, run_key(run.id)))]
        try:
            self._transact(writes if run.phase.terminal else [*writes, _mark(run)])
        except Conflict:
            return False
        return True

    def run(self, run_id: str) -> Run:
        try:
            row = run_key(run_id)
        except Malformed as error:
            raise NotFound(f"no run {run_id[:80]!r}: {error}") from error
        return _loaded(Run, self._get(RUNS, row))

    def runs(self, limit: int, cursor: str | None = None) -> Page[Run]:
        return self._page(Run, RUNS, limit, run_cursor(cursor) if cursor else "run-", "run.")

    def watched_runs(self) -> Sequence[Run]:
        marks = list(self._rows(RUNS, "watch-", "watch."))
        found = []
        for mark in marks:
            try:
                found.append(self.run(mark["RowKey"].removeprefix("watch-")))
            except NotFound as error:  # somebody removed the row by hand; the other runs go on
                log.error("the ledger watches a run that is not there: %s", error)  # noqa: TRY400  # the trace says no more
        return found

    def save_run(self, run: Run) -> Run:
        run = fitted(run)
        writes = [_replace(dump(run, RUNS, run_key(run.id)), run.version)]
        return replace(run, version=self._save(writes if run.phase.terminal else [*writes, _mark(run)])[0])

    def unwatch(self, run: Run) -> None:
        keys = {"PartitionKey": RUNS, "RowKey": run_key(run.id)}
        touch = ("update", keys, {**_if_version(run.version), "mode": "merge"})  # changes the etag, nothing else
        with suppress(NotFound):  # it is not watched
            self._transact([touch, ("delete", _mark(run)[1], {})])

    def add_chunks(self, chunks: Sequence[Chunk]) -> None:
        there = {(run, row["RowKey"]) for run in {c.run for c in chunks} for row in self._rows(run, select=["RowKey"])}
        missing = [chunk for chunk in chunks if (chunk.run, chunk.id) not in there]
        for batch in _batches(_create(_chunk_row(chunk)) for chunk in missing):
            try:
                self._transact(batch)
            except Conflict:  # another host is adding them at this moment
                for write in batch:
                    self._insert(write)

    def chunks(self, run_id: str) -> Sequence[Chunk]:
        return [_loaded(Chunk, row) for row in self._rows(run_id)]

    def chunk(self, run_id: str, chunk_id: str) -> Chunk:
        return _loaded(Chunk, self._get(run_id, chunk_id))

    def chunk_page(self, run_id: str, limit: int, cursor: str | None = None) -> Page[Chunk]:
        return self._page(Chunk, run_id, limit, cursor or "")

    def save_chunks(self, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        chunks = [fitted(chunk) for chunk in chunks]
        writes = (_replace(_chunk_row(chunk), chunk.version) for chunk in chunks)
        versions = [version for batch in _batches(writes) for version in self._save(batch)]
        return [replace(chunk, version=version) for chunk, version in zip(chunks, versions, strict=True)]

    def add_wish(self, wish: Wish) -> bool:
        return self._insert(_create(dump(wish, WISHES, wish.id)))

    def wish(self, kind: WishKind, run_id: str) -> Wish:
        return load(Wish, self._get(WISHES, f"{kind}-{run_id}"))

    def wishes(self) -> Sequence[Wish]:
        return sorted((load(Wish, row) for row in self._rows(WISHES)), key=lambda wish: (wish.asked_at, wish.id))

    def remove_wish(self, wish: Wish) -> None:
        with suppress(NotFound):
            self._transact([("delete", {"PartitionKey": WISHES, "RowKey": key(wish.id)}, {})])

    @functools.cached_property
    def _table(self) -> TableClient:
        from azure.data.tables import TableClient

        connection = self._account.connection("table")
        if connection:
            return TableClient(connection[0], self._name, credential=connection[1], **PATIENCE)
        try:
            return TableClient.from_connection_string(self._account.setting, self._name, **PATIENCE)
        except ValueError as error:
            raise Misconfigured(f"the storage account's connection string: {error}") from error

    @functools.cached_property
    def _url(self) -> str:
        return f"{self._table.url.split('?', 1)[0].rstrip('/')}/{self._name}"

    def _get(self, partition: str, row: str) -> Row:
        """Raises NotFound, also for what cannot be a key."""
        try:
            with translated(f"{self._url} {partition}/{row}"):
                return self._table.get_entity(key(partition), key(row))
        except Malformed as error:
            raise NotFound(str(error)) from error

    def _rows(self, partition: str, after: str = "", before: str = "", **options: Any) -> Iterator[Row]:
        """The rows of a partition with keys between the two, both excluded, in their order; none without a table."""
        query, parameters = "PartitionKey eq @partition and RowKey gt @after", {"partition": partition, "after": after}
        if before:
            query, parameters = f"{query} and RowKey lt @before", {**parameters, "before": before}
        try:
            with translated(f"{self._url} {partition}"):
                yield from self._table.query_entities(query, parameters=parameters, **options)
        except NotFound:
            return

    def _page(self, kind: type[T], partition: str, limit: int, after: str, before: str = "") -> Page[T]:
        found = self._rows(partition, after, before, results_per_page=min(limit + 1, PAGE))
        rows = list(islice(found, limit + 1))
        items = tuple(_loaded(kind, row) for row in rows[:limit])
        return Page(items, rows[limit - 1]["RowKey"] if len(rows) > limit else None)

    def _insert(self, write: Operation) -> bool:
        """Whether it was not there."""
        try:
            self._transact([write])
        except Conflict:
            return False
        return True

    def _save(self, writes: Sequence[Operation]) -> list[str]:
        try:
            return self._transact(writes)
        except NotFound as error:
            raise Conflict(f"somebody removed the row since it was read: {error}") from error

    def _transact(self, writes: Sequence[Operation]) -> list[str]:
        """Do all of the writes or none, and return the rows' new versions. Raises Conflict and NotFound."""
        try:
            return self._send(writes)
        except NotFound:  # a row, or the whole table: made now, perhaps by another host in the same moment
            self.ensure()
            return self._send(writes)

    def _send(self, writes: Sequence[Operation]) -> list[str]:
        first = writes[0][1]
        with translated(f"{self._url} {first['PartitionKey']}/{first['RowKey']}"):
            return [str(done.get("etag", "")) for done in self._table.submit_transaction(writes)]


def _loaded(kind: type[T], row: Any) -> T:
    return load(kind, row, version=row.metadata["etag"])


def _chunk_row(chunk: Chunk) -> Row:
    return dump(chunk, chunk.run, chunk.id)


def _create(row: Row) -> Operation:
    return ("create", row, {})


def _replace(row: Row, version: str) -> Operation:
    return ("update", row, {**_if_version(version), "mode": "replace"})


def _mark(run: Run) -> Operation:
    return ("upsert", {"PartitionKey": RUNS, "RowKey": f"watch-{run.id}", "schema": SCHEMA}, {"mode": "replace"})


def _if_version(version: str) -> Mapping[str, Any]:
    from azure.core import MatchConditions

    if not version:
        raise Conflict("wanted a row that was read before it is saved, found one without a version")
    return {"etag": version, "match_condition": MatchConditions.IfNotModified}


def _batches(writes: Iterable[Operation]) -> Iterator[list[Operation]]:
    """The writes in their order, cut into transactions: of one partition, and within the limits of both kinds."""
    batch: list[Operation] = []
    size = 0
    for write in writes:
        length = len(json.dumps(write[1]))
        full = len(batch) == BATCH or size + length > BATCH_BYTES
        if batch and (full or batch[0][1]["PartitionKey"] != write[1]["PartitionKey"]):
            yield batch
            batch, size = [], 0
        batch.append(write)
        size += length
    if batch:
        yield batch
