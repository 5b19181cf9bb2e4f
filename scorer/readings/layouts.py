"""What the names of folders say of their files: Hive's keys, which are columns, and the marks of table formats.

A folder `device=pump1` gives each row of its files the column `device`, as Spark, pandas and DuckDB partition. A
folder in a Delta, Iceberg or Hudi table also holds rows that were deleted or replaced: it is refused. A whole Delta
table is read by its log (`delta_files`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa

from scorer.arrow import build_numbers, build_strings
from scorer.storage.blob_store import Container
from scorer.storage.range_reader import AccessDenied

from .cells import make_unreadable, read_ids, read_numbers
from .formats.text_reader import Table
from .projection import Projection

DELTA_LOG = "_delta_log/"
NULL = "__HIVE_DEFAULT_PARTITION__"  # the folder of rows without a value
Keys = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class _Format:
    """A table format: the folder beside its data that marks it, and the names in that folder."""

    name: str
    folder: str
    files: re.Pattern[str]


_FORMATS = (
    _Format("a Delta table", DELTA_LOG, re.compile(r".+")),
    _Format("a Hudi table", ".hoodie/", re.compile(r".+")),
    _Format(
        "an Iceberg table", "metadata/", re.compile(r"(v\d+|\d+-[0-9a-f-]{36})(\.gz)?\.metadata\.json(\.gz)?")
    ),
)  # fmt: skip
_MARK = re.compile(rf"(?:^|.*/)({'|'.join(re.escape(table.folder) for table in _FORMATS)})")
LOOKERS = 8
LOOK_LIMIT = 1000  # names of a folder that are looked at


def is_mark(name: str) -> bool:
    """Whether the name of a file marks a folder as a table of some format."""
    match = _MARK.match(name)
    return bool(match and _match_format(match[1], name[match.end() :]))


def is_hidden(name: str) -> bool:
    """Whether a file, or a folder that it is in, is a marker or a log of its writer: those are ignored, as in Spark."""
    return any(part.startswith(".") or (part.startswith("_") and "=" not in part) for part in name.split("/"))


def list_written_keys(pattern: str) -> frozenset[str]:
    """The keys that READINGS_PATH itself writes, such as `date=%Y-%m-%d`: they are no features."""
    pairs = (part.partition("=") for part in pattern.split("/"))
    return frozenset(_decode(key) for key, _, value in pairs if set("%{*") & set(value.replace("%%", "")))


def parse_keys(name: str, ignored: frozenset[str] = frozenset()) -> dict[str, str | None]:
    """The keys of the folders of a file, as text; None where the folder stands for rows without a value."""
    if "=" not in name:
        return {}
    pairs = (part.partition("=") for part in name.split("/")[:-1])
    keys = {_decode(key): None if value in (NULL, "") else _decode(value) for key, equals, value in pairs if equals}
    return {key: value for key, value in keys.items() if key and key not in ignored}


def _decode(text: str) -> str:
    """A text without the escapes that Spark (`%3A`) and pyarrow (UTF-8, percent-encoded) write; else unchanged."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text


def add_keys(table: Table, keys: Keys, projection: Projection) -> Table:
    """The table with a column for each key that it needs and lacks; without the columns that no model needs.

    A column of the file itself takes precedence over a key. Raises Unscorable where the two name different devices.
    """
    columns, names = table.columns, table.rows.column_names
    if columns.device in keys and columns.device in names:
        _check_device(table, keys[columns.device])
    ids = [name for name in (columns.time, columns.device, columns.sensor) if name in keys and name not in names]
    for name in ids:  # before all else: a column of sensors may make the file a long one
        table = replace(table, rows=table.rows.append_column(name, _repeat_text(keys[name], table.rows.num_rows)))
    has_sensor = table.has_sensor or (columns.sensor in ids and keys[columns.sensor] is not None)
    features = table.features
    key_features = tuple(name for name in keys if _is_needed(name, keys[name], table, projection))
    if not table.long:
        features = projection.select_features(features, has_sensor=has_sensor, value=columns.value)
    selected = {*features, columns.time, columns.device, columns.sensor}
    rows = table.rows.select([name for name in table.rows.column_names if name in selected])
    for name in key_features:
        rows = rows.append_column(name, _repeat_text(keys[name], table.rows.num_rows))
    unread = tuple(name for name in table.features if name not in selected)
    keys_of_file = tuple(name for name in table.keys if name in selected)
    return replace(
        table, rows=rows, has_sensor=has_sensor, keys=(*keys_of_file, *key_features), unread=(*table.unread, *unread)
    )


def _is_needed(name: str, value: str | None, table: Table, projection: Projection) -> bool:
    columns = table.columns
    roles = (columns.time, columns.device, columns.sensor, columns.value)
    if table.long or name in roles or name in table.rows.column_names:
        return False
    if projection.unknown:  # a text that no model may need would only be named as a column without numbers
        return value is None or read_numbers(pa.chunked_array([build_strings([value])]))[1] is None
    return name in projection.names


def _check_device(table: Table, device: str | None) -> None:
    """Raises Unscorable where rows are of another device than their folder: it is read only for the folder's device."""
    names, indices = read_ids(table.rows[table.columns.device], table.columns.device)
    for index in np.unique(indices).tolist():
        if names[index] not in ("", device):
            raise make_unreadable(
                f"expected rows of the device {device!r} that its path names, got {names[index]!r} in its column "
                f"{table.columns.device!r}"
            )


def _repeat_text(text: str | None, rows: int) -> pa.Array:
    if text is None:
        return pa.nulls(rows, pa.string())
    return pa.DictionaryArray.from_arrays(build_numbers(np.zeros(rows, np.int32)), build_strings([text]))


def find_table_above(folder: Path) -> str:
    """Why a folder of this machine is not read: it is in a table of some format; "" where it is in none."""
    for parent in folder.absolute().parents:
        for table in _FORMATS:
            if any(_match_format(table.folder, path.name) for path in (parent / table.folder).glob("*")):
                return f"{parent} {_explain_table(table)}"
    return ""


def find_table_format(container: Container, paths: Sequence[str], names: Sequence[str]) -> tuple[str, str] | None:
    """The folder that is a table of some format, and why it is not read; None where there is none.

    *names* are all names under *paths*. Above the paths a few names are listed for each level and format, where any
    file is called Parquet as those of tables are; levels that may not be listed are left out. Raises Unavailable.
    """
    for name in names:
        match = _MARK.match(name)
        table = match and _match_format(match[1], name[match.end() :])
        if match and table:
            return match[0].removesuffix(match[1]), _explain_table(table)
    if not any(name.endswith(".parquet") for name in names):
        return None
    levels = sorted({level for path in paths for level in _list_levels(path)})
    marks = [(level, table) for level in levels for table in _FORMATS]
    with ThreadPoolExecutor(LOOKERS) as pool:
        listings = pool.map(lambda mark: _list_folder(container, mark[0] + mark[1].folder), marks)
        for (level, table), listed in zip(marks, listings, strict=True):
            if any(_match_format(table.folder, name) for name in listed):
                return level, _explain_table(table)
    return None


def _match_format(folder: str, name: str) -> _Format | None:
    return next((table for table in _FORMATS if table.folder == folder and table.files.fullmatch(name)), None)


def _list_levels(path: str) -> list[str]:
    """The folders above a path: `a/` and the container itself for `a/b/`."""
    parts = path.removesuffix("/").split("/")[:-1] if path else []
    return ["".join(f"{part}/" for part in parts[:depth]) for depth in range(len(parts) + 1)] if path else []


def _list_folder(container: Container, folder: str) -> list[str]:
    """Some names in a folder, without its own; none where it may not be listed."""
    try:
        return [name.removeprefix(folder) for name in container.list(folder, LOOK_LIMIT)]
    except AccessDenied:
        return []


def _explain_table(table: _Format) -> str:
    problem = f"is {table.name}, whose files also hold rows that were deleted or replaced: expected "
    if table.folder == DELTA_LOG:
        return f"{problem}the folder of the whole table, without times or tokens, as READINGS_PATH (--readings)"
    return (
        f"{problem}plain files; export the table to Parquet, and let READINGS_CONTAINER and READINGS_PATH (--readings) "
        "name that folder"
    )
