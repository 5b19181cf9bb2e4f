"""Delta tables: which files are a table's present version, and what its log says of each. `deltalake` reads the log."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa

from scorer.errors import Unscorable
from shared.contract.errors import Unavailable
from shared.contract.reasons import Reason
from shared.contract.text import get_first_line

if TYPE_CHECKING:
    from .blob_store import Container

_PARTITION = "partition."  # how the columns of partitions are called among the actions
_VECTORS = "deletionVectors"  # a reader feature of PROTOCOL.md
_ELSEWHERE = re.compile(r"/|[a-z][a-z0-9+.-]*:", re.IGNORECASE)  # how a path begins that is no relative one
_EXPORT = "export the table to Parquet, and let READINGS_CONTAINER and READINGS_PATH (--readings) name that folder"


@dataclass(frozen=True, slots=True)
class DeltaFile:
    """A file of a table. *name* is that in the container; *first* and *last* bound its times, where the log has them.

    A bound is of the type of the column, which need not be one of times.
    """

    name: str
    partition: Mapping[str, str | None]
    first: Any
    last: Any


@dataclass(frozen=True, slots=True)
class DeltaVersion:
    """The present version of a table, when it was read."""

    number: int
    files: tuple[DeltaFile, ...]


def read_delta_version(container: Container, folder: str, time: str) -> DeltaVersion:
    """The present version of the table in *folder*, which ends in `/` or is empty. *time*: its column of times.

    Raises Unscorable where its files alone do not say its rows, or nothing here can read it; Unavailable.
    """
    table = open_delta_table(container, folder)
    actions = pa.table(table.get_add_actions(flatten=True))
    bounds = f"min.{time}", f"max.{time}"
    names = [name for name in actions.column_names if name in {"path", *bounds} or name.startswith(_PARTITION)]
    rows = actions.select(names).to_pylist()  # of a table of many columns the statistics are the most
    return DeltaVersion(int(table.version()), tuple(_make_file(folder, row, bounds) for row in rows))


def open_delta_table(container: Container, folder: str, advice: str = _EXPORT) -> Any:
    """The present version of the table in *folder*, as `deltalake` has it. Raises as `read_delta_version`.

    *advice*: what a message says that a person may do with a table that nothing here can read.
    """
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError
    except ModuleNotFoundError as error:
        raise _refuse(f"is a Delta table: reading it needs pip install 'fleetscore[node]' ({error})") from error
    url, options = container.locate_delta(folder)
    path = unquote(url)
    if unquote(path) != path:
        raise _refuse(f"is a Delta table in {path!r}, which would be read as {unquote(path)!r}: rename that folder")
    try:
        table = DeltaTable(url, storage_options=options)
        _check_features(table, advice)
    except DeltaError as error:
        raise _refuse(f"is a Delta table that cannot be read: {get_first_line(error)}; {advice}") from error
    except (OSError, ValueError) as error:  # of the store
        raise Unavailable(f"the Delta table in {folder or 'the container'}: {get_first_line(error)}") from error
    return table


def _check_features(table: Any, advice: str) -> None:
    """Raises Unscorable where a file's rows are not all rows of the table, or its columns have other names."""
    features = table.protocol().reader_features or ()
    mode = table.metadata().configuration.get("delta.columnMapping.mode", "none")
    if mode != "none":
        raise _refuse(f"is a Delta table whose files have other names of columns (column mapping {mode}); {advice}")
    if _VECTORS in features and _has_vectors(table):
        raise _refuse(
            "is a Delta table whose files hold rows that were deleted (deletion vectors): rewrite them by "
            "REORG TABLE ... APPLY (PURGE), and they stay away where delta.enableDeletionVectors is false"
        )


def _has_vectors(table: Any) -> bool:
    """Whether a file of the table has a deletion vector. Only where one has is anything read that may fail."""
    from deltalake.exceptions import DeltaError

    try:
        return any(batch.num_rows for batch in pa.RecordBatchReader.from_stream(table.deletion_vectors()))
    except (DeltaError, OSError, ValueError):
        return True


def _make_file(folder: str, row: dict[str, Any], bounds: tuple[str, str]) -> DeltaFile:
    path: str = row["path"]  # the log has it as a URL
    if _ELSEWHERE.match(path):
        raise _refuse(f"is a Delta table with files in another place, such as {path} (a shallow clone); {_EXPORT}")
    partition = {
        name.removeprefix(_PARTITION): None if value is None else _format_key(value)
        for name, value in row.items()
        if name.startswith(_PARTITION)
    }
    return DeltaFile(folder + unquote(path), partition, *map(row.get, bounds))


def _format_key(value: Any) -> str:
    """A value of a partition as the text of a folder's key."""
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _refuse(message: str) -> Unscorable:
    return Unscorable(Reason.UNREADABLE_READINGS, message)
