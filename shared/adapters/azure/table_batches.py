"""One table of Azure Table Storage: finds rows, and writes them in transactions. Knows no runs and no chunks."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from shared.contract.errors import Conflict, Malformed, Misconfigured, NotFound

from .auth import TIME_OUTS
from .storage import Account, translate_errors
from .table_rows import Row, check_key

if TYPE_CHECKING:
    from azure.data.tables import TableClient

BATCH = 100  # rows of one transaction
BATCH_BYTES = 3_000_000  # Table Storage takes 4 MiB, and what surrounds the rows counts
PAGE = 1_000  # the most rows of one answer

Operation = tuple[str, Row, Mapping[str, Any]]  # as the SDK's transactions take it


class Table:
    """A table, which the first write makes; until then it reads as empty. Versions are the rows' etags."""

    def __init__(self, setting: str, name: str) -> None:
        """*setting* is what `Account` takes. Calls nobody."""
        self._account = Account(setting)
        self._name = name

    def ensure_table(self) -> bool:
        """Make the table; False when it was there."""
        try:
            with translate_errors(self._url):
                self._client.create_table()
        except Conflict:
            return False
        return True

    def read_row(self, partition: str, row: str) -> Row:
        """Raises NotFound, also for what cannot be a key."""
        try:
            with translate_errors(f"{self._url} {partition}/{row}"):
                return self._client.get_entity(check_key(partition), check_key(row))
        except Malformed as error:
            raise NotFound(str(error)) from error

    def list_rows(self, partition: str, after: str = "", before: str = "", **options: Any) -> Iterator[Row]:
        """The rows of a partition with keys between the two, both excluded, in their order; read in pages."""
        query, parameters = "PartitionKey eq @partition and RowKey gt @after", {"partition": partition, "after": after}
        if before:
            query, parameters = f"{query} and RowKey lt @before", {**parameters, "before": before}
        try:
            with translate_errors(f"{self._url} {partition}"):
                yield from self._client.query_entities(query, parameters=parameters, **options)
        except NotFound:
            return

    def read_page(self, partition: str, limit: int, after: str, before: str = "") -> tuple[list[Row], str | None]:
        """The first *limit* of `rows`, and the key of the last of them where there are more."""
        listing = self.list_rows(partition, after, before, results_per_page=min(limit + 1, PAGE))
        rows = list(islice(listing, limit + 1))
        return rows[:limit], rows[limit - 1]["RowKey"] if len(rows) > limit else None

    def insert_row(self, row: Row) -> bool:
        """Whether it was not there."""
        try:
            self.write_rows([make_insert(row)])
        except Conflict:
            return False
        return True

    def save_rows(self, writes: Sequence[Operation]) -> list[str]:
        """As `transact`; a row that is gone is a Conflict."""
        try:
            return self.write_rows(writes)
        except NotFound as error:
            raise Conflict(f"somebody removed the row since it was read: {error}") from error

    def delete_row(self, partition: str, row: str, version: str = "") -> bool:
        """Whether it was there; what cannot be a key was not. Raises Conflict where it has another *version*."""
        try:
            self._send_transaction([make_delete(check_key(partition), check_key(row), version)])
        except (NotFound, Malformed):
            return False
        return True

    def write_rows(self, writes: Sequence[Operation]) -> list[str]:
        """Do all of the writes or none, and return the rows' new versions. Raises Conflict and NotFound."""
        try:
            return self._send_transaction(writes)
        except NotFound:  # a row, or the whole table: made now, perhaps by another host in the same moment
            self.ensure_table()
            return self._send_transaction(writes)

    def delete_rows(self, drops: Iterable[Operation]) -> None:
        """Do these deletes in as few transactions as they take; what is gone already is passed over."""
        for batch in split_into_batches(drops):
            try:
                self._send_transaction(batch)
            except NotFound:  # some are gone, and each transaction does all or nothing
                for _, row, _ in batch:
                    self.delete_row(row["PartitionKey"], row["RowKey"])

    @functools.cached_property
    def _client(self) -> TableClient:
        from azure.data.tables import TableClient

        connection = self._account.get_connection("table")
        if connection:
            return TableClient(connection[0], self._name, credential=connection[1], **TIME_OUTS)
        try:
            return TableClient.from_connection_string(self._account.setting, self._name, **TIME_OUTS)
        except ValueError as error:
            raise Misconfigured(f"the storage account's connection string: {error}") from error

    @functools.cached_property
    def _url(self) -> str:
        return f"{self._client.url.split('?', 1)[0].rstrip('/')}/{self._name}"

    def _send_transaction(self, writes: Sequence[Operation]) -> list[str]:
        first = writes[0][1]
        with translate_errors(f"{self._url} {first['PartitionKey']}/{first['RowKey']}"):
            return [str(result.get("etag", "")) for result in self._client.submit_transaction(writes)]


def make_insert(row: Row) -> Operation:
    """Insert; a Conflict where it is there."""
    return ("create", row, {})


def make_upsert(row: Row) -> Operation:
    """Insert or replace, whatever lies there."""
    return ("upsert", row, {"mode": "replace"})


def make_replace(row: Row, version: str) -> Operation:
    """Replace that version and no other; raises Conflict where there is none to name."""
    return ("update", row, {**_match_version(version), "mode": "replace"})


def make_touch(partition: str, row: str, version: str) -> Operation:
    """Give a row another version, and change nothing else."""
    return ("update", {"PartitionKey": partition, "RowKey": row}, {**_match_version(version), "mode": "merge"})


def make_delete(partition: str, row: str, version: str = "") -> Operation:
    """Delete: that version, or whatever lies there."""
    return ("delete", {"PartitionKey": partition, "RowKey": row}, _match_version(version) if version else {})


def split_into_batches(writes: Iterable[Operation]) -> Iterator[list[Operation]]:
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


def _match_version(version: str) -> Mapping[str, Any]:
    from azure.core import MatchConditions

    if not version:
        raise Conflict("expected a row that was read before it is saved, got one without a version")
    return {"etag": version, "match_condition": MatchConditions.IfNotModified}
