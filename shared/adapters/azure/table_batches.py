"""One table of Azure Table Storage: reads rows, and writes them in transactions. Knows no runs and no chunks."""

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
BATCH_BYTES = 3_000_000  # Table Storage accepts 4 MiB, with the parts around the rows
PAGE = 1_000  # the most rows of one response

Operation = tuple[str, Row, Mapping[str, Any]]  # as the SDK takes it


class Table:
    """A table that the first write creates; until then it reads as empty. Versions are the rows' etags."""

    def __init__(self, setting: str, name: str) -> None:
        """*setting* is what `Account` takes. Sends no request."""
        self._account = Account(setting)
        self._name = name

    def ensure_table(self) -> bool:
        """Create the table; False when it exists."""
        try:
            with translate_errors(self._url):
                self._client.create_table()
        except Conflict:
            return False
        return True

    def read_row(self, partition: str, row: str) -> Row:
        """One row. Raises NotFound, also for a text that cannot be a key."""
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
        """The first *limit* of `list_rows`, and the key of the last of them if there are more."""
        listing = self.list_rows(partition, after, before, results_per_page=min(limit + 1, PAGE))
        rows = list(islice(listing, limit + 1))
        return rows[:limit], rows[limit - 1]["RowKey"] if len(rows) > limit else None

    def insert_row(self, row: Row) -> bool:
        """Insert a row; False when it exists."""
        try:
            self.write_rows([make_insert(row)])
        except Conflict:
            return False
        return True

    def save_rows(self, writes: Sequence[Operation]) -> list[str]:
        """As `write_rows`; a row that was removed is a Conflict."""
        try:
            return self.write_rows(writes)
        except NotFound as error:
            raise Conflict(f"the row was removed since it was read: {error}") from error

    def delete_row(self, partition: str, row: str, version: str = "") -> bool:
        """Delete a row; False when it does not exist. Raises Conflict if it has another *version*."""
        try:
            self._send_transaction([make_delete(check_key(partition), check_key(row), version)])
        except (NotFound, Malformed):
            return False
        return True

    def write_rows(self, writes: Sequence[Operation]) -> list[str]:
        """Do all writes or none, and return the rows' new versions. Raises Conflict and NotFound."""
        try:
            return self._send_transaction(writes)
        except NotFound:  # a row or the table is missing: create the table, unless another host does it now
            self.ensure_table()
            return self._send_transaction(writes)

    def delete_rows(self, drops: Iterable[Operation]) -> None:
        """Do these deletes in as few transactions as possible; rows that do not exist are skipped."""
        for batch in split_into_batches(drops):
            try:
                self._send_transaction(batch)
            except NotFound:  # some do not exist, and each transaction does all or nothing
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
    """An insert; a Conflict if the row exists."""
    return ("create", row, {})


def make_upsert(row: Row) -> Operation:
    """An insert, or a replacement of any version."""
    return ("upsert", row, {"mode": "replace"})


def make_replace(row: Row, version: str) -> Operation:
    """A replacement of this version only; raises Conflict where the version is empty."""
    return ("update", row, {**_match_version(version), "mode": "replace"})


def make_touch(partition: str, row: str, version: str) -> Operation:
    """A write that changes the version of a row, and nothing else."""
    return ("update", {"PartitionKey": partition, "RowKey": row}, {**_match_version(version), "mode": "merge"})


def make_delete(partition: str, row: str, version: str = "") -> Operation:
    """A deletion of this version, or of any."""
    return ("delete", {"PartitionKey": partition, "RowKey": row}, _match_version(version) if version else {})


def split_into_batches(writes: Iterable[Operation]) -> Iterator[list[Operation]]:
    """Split the writes into transactions, in order: each of one partition, and within both limits."""
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
