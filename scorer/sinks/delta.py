"""A Delta table of all predictions: a run is replaced in one commit, and no file is ever replaced.

A file's name says which attempt wrote it and ends in a hash of its content, so a reader of an older version of the
table never meets another file under a name that it knows. Which runs the table has, and by which revision, is in its
log: an application transaction for each run, whose version is twice the revision, and one more for its removal.
"""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from scorer.predictions.table import SCHEMA
from scorer.storage.blob_store import Container, open_container
from scorer.storage.range_reader import AccessDenied
from shared.contract.errors import Misconfigured
from shared.contract.publishing.documents import PublicationItem, PublicationResult, PublishingManifest
from shared.contract.publishing.sinks import SinkReason
from shared.contract.windows import EPOCH

from .base import SinkError, make_ahead_error
from .parts import Parts

PARTITIONS = ("date", "hour", "run")
TABLE_SCHEMA = pa.schema(
    [*SCHEMA, pa.field("date", pa.date32()), pa.field("hour", pa.int32()), pa.field("run", pa.string())]
)
PROPERTIES = {  # of a new table
    "delta.dataSkippingStatsColumns": "time,device",
    "delta.checkpoint.writeStatsAsStruct": "true",  # beside their JSON, which whoever opens the table would parse
}
TRIES = 8  # to commit, where others write to the table too
_DENIED = ("403", "401", "authorization", "authentication", "permission denied", "read-only")
_FULL = ("no space left", "insufficient storage", "quota")
_PLACE = re.compile(  # URLs, paths, names of runs; ids and times of requests
    r"[\w.:%=#~-]*/[^\s\"'<>]*|\b\d{8}T\d{4}Z\S*|\bRequestId:\S*|\bTime:\S*|\bx-ms-request-id\S*\s*\S*"
)
_CODE = re.compile(r"<Code>(\w+)</Code>")  # of Azure Storage
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_MILLISECOND = timedelta(milliseconds=1)


def open_delta_sink(manifest: PublishingManifest, storage: str) -> DeltaSink:
    """The table that a manifest names by `url`; it is created by the first run. Raises SinkError."""
    url = manifest.read_option("url")
    with _translate_errors(url):
        return DeltaSink(manifest.app, url, open_container(url, storage))


@dataclass(slots=True)
class DeltaSink:
    """See Sink. The table is opened once, and brought up to date for each run."""

    app: str
    url: str
    container: Container
    _table: Any = field(default=None, init=False)

    def publish(self, item: PublicationItem, parts: Parts) -> PublicationResult:
        """See Sink."""
        from deltalake.exceptions import CommitFailedError

        application = f"{self.app}/{item.run}"
        actions: Sequence[Any] | None = None
        error: Exception | None = None
        for _ in range(TRIES):
            with _translate_errors(self.url):
                table = self._open_table()
                stored = table.transaction_version(application)
                if self._holds(table, item, stored):
                    return _make_result(item, table.version())
            if stored is not None and stored >= item.version:
                raise make_ahead_error(self.url, item, stored)
            if actions is None or self._lacks_files(actions):
                actions = self._write_files(item, parts)
            try:
                with _translate_errors(self.url):
                    self._commit(table, item, actions, application)
                return _make_result(item, table.version() + 1)
            except CommitFailedError as conflict:  # somebody else wrote: look again what is there
                error = conflict
        raise SinkError(SinkReason.CONFLICT, f"{self.url}: others wrote to it at each of {TRIES} tries: {error}")

    def close(self) -> None:
        """See Sink."""
        self._table = None

    def _open_table(self) -> Any:
        """The newest version of the table, which is created where there is none."""
        from deltalake import DeltaTable

        if self._table is not None:
            self._table.update_incremental()
            return self._table
        location, options = self.container.locate_delta("")
        if not DeltaTable.is_deltatable(location, options):
            DeltaTable.create(
                location,
                TABLE_SCHEMA,
                mode="ignore",  # another job may create it now
                partition_by=list(PARTITIONS),
                description="Predictions of fleetscore: a file for each part of a run",
                configuration=PROPERTIES,
                storage_options=options,
            )
        table = DeltaTable(location, storage_options=options)
        _check_table(table, self.url)
        self._table = table
        return table

    def _holds(self, table: Any, item: PublicationItem, stored: int | None) -> bool:
        """Whether the table has the files of *item*, no others of its run, and its version.

        The version is written also where the files stay: a job that was believed lost may come later.
        """
        if stored is None or stored < item.version:
            return False
        uris = table.file_uris(file_pruning_predicate=[("run", "=", item.run)])
        names = {uri.rpartition("/")[2] for uri in uris}
        return names == set(_list_names(item))

    def _lacks_files(self, actions: Sequence[Any]) -> bool:
        """Whether files were removed before their commit: a vacuum that keeps nothing takes them for garbage."""
        with _translate_errors(self.url):
            folders = {action.path.rpartition("/")[0] for action in actions}
            names = {name for folder in folders for name in self.container.list(f"{folder}/")}
        return not names.issuperset(action.path for action in actions)

    def _write_files(self, item: PublicationItem, parts: Parts) -> Sequence[Any]:
        """Write the files of *item*, and return what the log is to say of them; a removal has none.

        Raises PartMissing, and Unavailable where the part cannot be read: that is no fault of the table's.
        """
        from deltalake.transaction import AddAction

        start = item.window.start
        folder = f"date={start:%Y-%m-%d}/hour={start.hour}/run={item.run}"
        values = {"date": f"{start:%Y-%m-%d}", "hour": str(start.hour), "run": item.run}
        actions = []
        for name, entry in zip(_list_names(item), item.parts, strict=True):
            data, path = parts.read_bytes(entry), f"{folder}/{name}"
            with _translate_errors(self.url):
                if not self.container.create(path, data):  # a job before wrote it: the same rows, by its name
                    data = self.container.read(path).data
            actions.append(AddAction(path, len(data), values, int(time.time() * 1000), True, _make_statistics(data)))
        return actions

    def _commit(self, table: Any, item: PublicationItem, actions: Sequence[Any], application: str) -> None:
        from deltalake import CommitProperties, PostCommitHookProperties, Transaction

        table.create_write_transaction(
            list(actions),
            mode="overwrite",
            schema=table.schema(),
            partition_by=list(PARTITIONS),
            partition_filters=[("run", "=", item.run)],
            commit_properties=CommitProperties(
                custom_metadata={"fleetscore": f"{item.run} round {item.round}{' removed' * item.is_removal}"},
                app_transactions=[Transaction(application, item.version)],
                max_commit_retries=0,  # so that the commit is the very next version; `publish` tries again
            ),
            post_commithook_properties=PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False),
        )


def _make_result(item: PublicationItem, number: int) -> PublicationResult:
    return PublicationResult.for_item(item, rows=item.rows, stored=f"version {number}")


def _list_names(item: PublicationItem) -> list[str]:
    return [entry.make_name(item.run, index) for index, entry in enumerate(item.parts)]


def _check_table(table: Any, url: str) -> None:
    """Raise MISMATCH for a table that somebody else made, or changed, so that our files do not fit."""
    schema = pa.schema(table.schema().to_arrow())
    for column in TABLE_SCHEMA:
        if column.name not in schema.names:
            message = f"{url}: expected a column {column.name}, got {', '.join(schema.names)}"
            raise SinkError(SinkReason.MISMATCH, message)
        kind = schema.field(column.name).type
        if not _is_alike(kind, column.type):
            message = f"{url}: expected {column.name} to be {column.type}, got {kind}"
            raise SinkError(SinkReason.MISMATCH, message)
    more = [column.name for column in schema if column.name not in TABLE_SCHEMA.names and not column.nullable]
    if more:
        raise SinkError(SinkReason.MISMATCH, f"{url}: expected no required columns but ours, got {', '.join(more)}")
    partitions = tuple(table.metadata().partition_columns)
    if partitions != PARTITIONS:
        message = f"{url}: expected partitions by {', '.join(PARTITIONS)}, got {', '.join(partitions) or 'none'}"
        raise SinkError(SinkReason.MISMATCH, message)


def _is_alike(kind: pa.DataType, expected: pa.DataType) -> bool:
    """Delta has one type of text, which readers show as one of several of Arrow's."""
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return bool(kind == expected or (is_text and pa.types.is_string(expected)))


def _make_statistics(data: bytes) -> str:
    """What readers may skip a file by, from its footer: times in milliseconds, as the protocol has them, outwards.

    https://github.com/delta-io/delta/blob/master/PROTOCOL.md#per-file-statistics
    """
    from pyarrow import parquet

    footer = parquet.ParquetFile(io.BytesIO(data)).metadata
    groups = [footer.row_group(index) for index in range(footer.num_row_groups)]
    ranges = {name: _find_range(groups, SCHEMA.names.index(name)) for name in ("time", "device")}
    if not footer.num_rows or None in ranges.values():
        return json.dumps({"numRecords": footer.num_rows})
    (first, last), devices = ranges["time"], ranges["device"]  # type: ignore[misc]  # None was looked for
    return json.dumps(
        {
            "numRecords": footer.num_rows,
            "minValues": {"time": _format_time(first), "device": devices[0]},  # type: ignore[index]
            "maxValues": {"time": _format_time(last, up=True), "device": devices[1]},  # type: ignore[index]
            "nullCount": {"time": 0, "device": 0},
        }
    )


def _find_range(groups: Sequence[Any], column: int) -> tuple[Any, Any] | None:
    statistics = [group.column(column).statistics for group in groups]
    if any(entry is None or not entry.has_min_max for entry in statistics):
        return None
    return min(entry.min for entry in statistics), max(entry.max for entry in statistics)


def _format_time(instant: datetime, *, up: bool = False) -> str:
    since = instant.astimezone(UTC) - EPOCH
    milliseconds = since // _MILLISECOND + (1 if up and since % _MILLISECOND else 0)
    return (EPOCH + milliseconds * _MILLISECOND).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@contextmanager
def _translate_errors(url: str) -> Iterator[None]:
    """What deltalake and the store of the table raise, as a SinkError; but for conflicts, and for a busy store."""
    from deltalake.exceptions import CommitFailedError, DeltaError, DeltaProtocolError

    try:
        yield
    except CommitFailedError:
        raise
    except (Misconfigured, AccessDenied) as error:
        raise SinkError(SinkReason.DENIED, str(error)) from error
    except DeltaProtocolError as error:
        raise SinkError(SinkReason.MISMATCH, f"{url}: expected a table that can be written, got {error}") from error
    except (DeltaError, OSError) as error:
        raise SinkError(_classify_error(str(error)), f"{url}: {_describe_error(str(error))}") from error


def _describe_error(text: str) -> str:
    """An error's text without the colours of a terminal, the store's own code first: a message is cut at its end."""
    code = _CODE.search(text)
    plain = _COLOURS.sub("", text)
    return f"{code[1]}: {plain}" if code else plain


def _classify_error(message: str) -> SinkReason:
    text = _PLACE.sub("", message).lower()  # a run's name may hold 403, a container's quota
    if any(word in text for word in _FULL):
        return SinkReason.FULL
    return SinkReason.DENIED if any(word in text for word in _DENIED) else SinkReason.UNAVAILABLE
