"""Delta tables: which files are a table's present version, and what its log says of each. `deltalake` reads the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa

from scorer.errors import Unscorable
from shared.contract.errors import Unavailable
from shared.contract.reasons import Reason

if TYPE_CHECKING:
    from .blob_store import Container

_EXPORT = "export the table to Parquet, and let READINGS_CONTAINER and READINGS_PATH (--readings) name that folder"


@dataclass(frozen=True, slots=True)
class DeltaFile:
    """A file of a table. *name* is that in the container; the bounds are of its columns, where the log has them."""

    name: str
    partition: Mapping[str, str | None]
    low: Mapping[str, Any]
    high: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeltaVersion:
    """The present version of a table, when it was read."""

    number: int
    files: tuple[DeltaFile, ...]


def read_delta_version(container: Container, folder: str) -> DeltaVersion:
    """The present version of the table in *folder*, which ends in `/` or is empty.

    Raises Unscorable where its files alone do not say its rows, or nothing here can read it; Unavailable.
    """
    table = open_delta_table(container, folder)
    actions = pa.table(table.get_add_actions(flatten=True))
    return DeltaVersion(int(table.version()), tuple(_make_file(folder, row) for row in actions.to_pylist()))


def open_delta_table(container: Container, folder: str) -> Any:
    """The present version of the table in *folder*, as `deltalake` has it. Raises as `read_delta_version`."""
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError
    except ModuleNotFoundError as error:
        raise _refuse(f"is a Delta table: reading it needs pip install 'fleetscore[node]' ({error})") from error
    url, options = container.locate_delta(folder)
    try:
        table = DeltaTable(url, storage_options=options)
        _check_features(table)
    except DeltaError as error:
        raise _refuse(f"is a Delta table that cannot be read: {_clean(error)}; {_EXPORT}") from error
    except (OSError, ValueError) as error:  # of the store
        raise Unavailable(f"the Delta table in {folder or 'the container'}: {_clean(error)}") from error
    return table


def _check_features(table: Any) -> None:
    """Raises Unscorable where a file's rows are not all rows of the table, or its columns have other names."""
    mode = table.metadata().configuration.get("delta.columnMapping.mode", "none")
    if mode != "none":
        raise _refuse(f"is a Delta table whose files have other names of columns (column mapping {mode}); {_EXPORT}")
    vectors = pa.table(table.deletion_vectors())
    if vectors.num_rows:
        raise _refuse(
            f"is a Delta table of which {vectors.num_rows} files hold rows that were deleted (deletion vectors): "
            "rewrite them by REORG TABLE ... APPLY (PURGE)"
        )


def _make_file(folder: str, row: dict[str, Any]) -> DeltaFile:
    path = unquote(row["path"])  # the log has it as a URL
    if "://" in path or path.startswith("/"):
        raise _refuse(f"is a Delta table with files in another place, such as {path} (a shallow clone); {_EXPORT}")
    partition = {name: None if value is None else _format_key(value) for name, value in _pick(row, "partition.")}
    return DeltaFile(folder + path, partition, dict(_pick(row, "min.")), dict(_pick(row, "max.")))


def _pick(row: dict[str, Any], kind: str) -> Iterator[tuple[str, Any]]:
    """The columns of one kind of field, such as `min.time`, with their values."""
    return ((name.removeprefix(kind), value) for name, value in row.items() if name.startswith(kind))


def _format_key(value: Any) -> str:
    """A value of a partition as the text of a folder's key."""
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _refuse(message: str) -> Unscorable:
    return Unscorable(Reason.UNREADABLE_READINGS, message)


def _clean(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
