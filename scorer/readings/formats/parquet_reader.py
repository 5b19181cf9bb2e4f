"""Parquet files: the footer with its row groups, and the rows of single row groups. Reads no more than needed."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from scorer.readings.cells import BROKEN, make_unreadable
from scorer.readings.column_names import INDICES, adopt_index, check_columns, is_long, list_features, list_single
from scorer.readings.projection import Projection
from shared.contract.model_names import Columns
from shared.contract.scoring_options import ReadingOptions

from . import thrift
from .compression import PARQUET
from .text_reader import Table

GROUP_LIMIT = 2**32  # bytes that a row group may take in memory
CELL_BYTES = 24  # that a cell takes while rows are sorted: in the table, as it is selected, and in the frame

TAIL = 2**16  # bytes of a file's end that are read first; most footers are shorter

# Fields of a footer, by their numbers in parquet.thrift.
_SCHEMA, _GROUPS = 2, 4
_KIND, _NAME, _CHILDREN, _CONVERTED, _LOGICAL = 1, 4, 5, 6, 10  # of an element of the schema
_CHUNKS, _BYTES, _ROWS = 1, 2, 3  # of a row group
_CHUNK, _CHUNK_KIND, _UNPACKED, _STATISTICS = 3, 1, 6, 12  # of a column chunk
_NULLS, _GREATEST, _LEAST = 3, 5, 6  # of statistics; older fields compare bytes in another order
_TIMESTAMP, _UUID, _UNIT = 8, 14, 2
_INT64, _INT96, _BYTE_ARRAY = 2, 3, 6
_PER_SECOND = {1: 10**3, 2: 10**6, 3: 10**9, 9: 10**3, 10: 10**6}  # by a timestamp's unit; 9 and 10 are older


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group, with the bounds of its devices and times where the file has statistics."""

    index: int
    rows: int
    sizes: array[int]  # bytes of each of the footer's columns, unpacked
    low: str | None
    high: str | None
    first: int | None  # microseconds since 1970
    last: int | None
    has_sensor: bool  # any row may have one

    def may_be_within(self, start: int, end: int) -> bool:
        """Whether it may hold rows from *start* up to but not at *end*."""
        return self.first is None or self.last is None or (self.last >= start and self.first < end)

    def may_hold(self, devices: Sequence[str], start: int, end: int) -> bool:
        """Whether it may hold rows of one of the sorted *devices*, from *start* up to but not at *end*."""
        if not self.may_be_within(start, end):
            return False
        if self.low is None or self.high is None:
            return True
        index = bisect_left(devices, self.low)
        return index < len(devices) and devices[index] <= self.high


@dataclass(frozen=True, slots=True)
class Footer:
    """The footer of a file."""

    metadata: Any
    columns: Columns  # with an index for that of times, where pandas wrote no other
    names: tuple[str, ...]  # of the columns that may be read, in the file's order
    texts: tuple[str, ...]  # columns whose cells are texts
    uuids: tuple[str, ...]  # columns whose cells are UUIDs
    features: tuple[str, ...]
    long: bool
    has_sensor: bool
    has_local_times: bool  # by the clocks of the fleet's zone, in the statistics too
    has_int96: bool  # whether times are of that old type
    groups: tuple[RowGroup, ...]

    @property
    def by_device(self) -> bool:
        """Whether the statistics show that the rows are sorted by device, at least between row groups."""
        ends = [(group.low, group.high) for group in self.groups if group.rows]
        bounded = [(low, high) for low, high in ends if low is not None and high is not None]
        return len(bounded) == len(ends) and all(before[1] <= after[0] for before, after in pairwise(bounded))

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(group.rows for group in self.groups)

    @property
    def largest(self) -> int:
        """The number of rows of the largest row group."""
        return max((group.rows for group in self.groups), default=0)

    def select_features(self, projection: Projection) -> tuple[str, ...]:
        """The features that are read."""
        return (
            self.features
            if self.long
            else projection.select_features(self.features, has_sensor=self.has_sensor, value=self.columns.value)
        )

    def select_columns(self, projection: Projection) -> tuple[str, ...]:
        """The columns that are read, in the file's order: those with a role, and the features."""
        unread = set(self.features) - set(self.select_features(projection))
        return tuple(name for name in self.names if name not in unread)

    def estimate_memory(self, projection: Projection) -> int:
        """Bytes in memory that reading the whole file takes, about."""
        selected = set(self.select_columns(projection))
        is_selected = np.array([name in selected for name in self.names])
        sizes = np.array([group.sizes for group in self.groups], np.float64).reshape(-1, len(self.names))
        n_columns = 3 + len(self.select_features(projection))
        return max(int(sizes[:, is_selected].sum()), self.rows * CELL_BYTES * n_columns)

    def measure_group(self, group: RowGroup, names: Collection[str]) -> int:
        """Bytes that columns of a row group take in memory, at least."""
        selected = frozenset(names)
        sizes = [size for name, size in zip(self.names, group.sizes, strict=True) if name in selected]
        return max(sum(sizes), group.rows * 8 * len(sizes))


def read_footer(file: Any, columns: Columns, keys: Mapping[str, str | None] = MappingProxyType({})) -> Footer:
    """The footer of *file*, seekable and open, whose folders have *keys*.

    Raises Unscorable; errors of *file* itself pass through.

    The row groups are parsed here: where a footer contradicts itself, pyarrow's accessors of column chunks throw a C++
    exception that is not caught, and the process aborts. pyarrow opens and reads, which is safe.
    """
    from pyarrow import parquet

    try:
        data = _read_footer_bytes(file)
        opened = parquet.ParquetFile(pa.BufferReader(PARQUET + data + len(data).to_bytes(4, "little") + PARQUET))
        all_names = opened.schema_arrow.names
        indices = [name for name in INDICES if _has_timestamps(opened.schema_arrow, name)]
        columns = adopt_index(columns, all_names, indices)
        check_columns(all_names, columns, keys)
        single = list_single(opened.schema_arrow, columns)
        check_columns(single, columns, keys)
        features = list_features(single, columns, keys)
        readable = {columns.time, columns.device, columns.sensor, *features}
        names = tuple(name for name in single if name in readable)
        fields = thrift.parse_struct(data)
        leaves = _list_leaves(fields[_SCHEMA])
        key_leaves = [leaves.get(name.encode()) for name in (columns.device, columns.time, columns.sensor)]
        spans = [leaves.get(name.encode()) for name in names]
        groups = tuple(_parse_group(i, group, key_leaves, spans) for i, group in enumerate(fields.get(_GROUPS, ())))
        by_name = {name: leaf for name in names if (leaf := leaves.get(name.encode()))}
        has_sensor = keys.get(columns.sensor) is not None
        if columns.sensor in names:
            has_sensor = any(group.has_sensor for group in groups)
        has_int96 = columns.time in by_name and by_name[columns.time].kind == _INT96
        kind = opened.schema_arrow.field(columns.time).type if columns.time in all_names else None
        is_local = kind is not None and pa.types.is_timestamp(kind) and kind.tz is None
        return Footer(
            opened.metadata,
            columns,
            names,
            tuple(name for name, leaf in by_name.items() if leaf.kind == _BYTE_ARRAY),
            tuple(name for name, leaf in by_name.items() if leaf.is_uuid),
            features,
            is_long(single, columns, keys),
            has_sensor,
            is_local and not has_int96,
            has_int96,
            groups,
        )
    except (*BROKEN, AttributeError, TypeError) as error:  # the last two where a field has another type
        raise make_unreadable(f"Parquet: {error}") from error


def _has_timestamps(schema: pa.Schema, name: str) -> bool:
    return name in schema.names and bool(pa.types.is_timestamp(schema.field(name).type))


def _read_footer_bytes(file: Any) -> bytes:
    size = file.seek(0, 2)
    file.seek(max(0, size - TAIL))
    tail = bytes(file.read(TAIL))
    length = int.from_bytes(tail[-8:-4], "little")
    if tail[-4:] != PARQUET or length > size - 12:
        raise make_unreadable("Parquet: expected a footer at its end; it is truncated, or encrypted")
    if length > len(tail) - 8:
        file.seek(size - 8 - length)
        return bytes(file.read(length))
    return tail[len(tail) - 8 - length : -8]


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A top-level column of the schema that holds single values."""

    index: int  # among the column chunks of a row group
    kind: int
    per_second: int  # of a timestamp; else 0
    is_uuid: bool


def _list_leaves(schema: list[thrift.Struct]) -> dict[bytes, _Leaf]:
    """Top-level columns of single values, by name. The schema is a tree, each element before its children."""
    leaves, index, open_children = {}, 0, [schema[0].get(_CHILDREN, 0)]
    for element in schema[1:]:
        while open_children and not open_children[-1]:
            open_children.pop()
        open_children[-1] -= 1
        if element.get(_CHILDREN):
            open_children.append(element[_CHILDREN])
            continue
        if len(open_children) == 1:
            is_uuid = _UUID in element.get(_LOGICAL, {})
            leaves[element[_NAME]] = _Leaf(index, element[_KIND], _per_second(element), is_uuid)
        index += 1
    return leaves


def _per_second(element: thrift.Struct) -> int:
    unit = element.get(_LOGICAL, {}).get(_TIMESTAMP, {}).get(_UNIT, {})
    unit = next(iter(unit), element.get(_CONVERTED, 0))
    return _PER_SECOND.get(unit, 0) if element[_KIND] == _INT64 else 0


def _parse_group(
    index: int, group: thrift.Struct, leaves: list[_Leaf | None], measured: list[_Leaf | None]
) -> RowGroup:
    device, time, sensor = (_get_statistics(group, leaf) for leaf in leaves)
    rows, scale = group[_ROWS], leaves[1].per_second if leaves[1] else 0
    times = (time.get(_LEAST, b""), time.get(_GREATEST, b""))
    texts = leaves[0] is not None and leaves[0].kind == _BYTE_ARRAY
    first = last = None
    if scale and time.get(_NULLS) == 0 and all(len(t) == 8 for t in times):  # noqa: PLR2004  # bytes of an INT64
        first, last = (int.from_bytes(t, "little", signed=True) * 10**6 // scale for t in times)
    return RowGroup(
        index,
        rows,
        array("q", [_measure_chunk(group, leaf) for leaf in measured]),
        _decode_bound(device.get(_LEAST)) if texts else None,
        _decode_bound(device.get(_GREATEST)) if texts else None,
        first,
        last,
        sensor.get(_NULLS) != rows,
    )


def _get_statistics(group: thrift.Struct, leaf: _Leaf | None) -> thrift.Struct:
    if leaf is None:
        return {}
    chunk: thrift.Struct = group[_CHUNKS][leaf.index][_CHUNK]
    statistics: thrift.Struct = chunk.get(_STATISTICS, {}) if chunk[_CHUNK_KIND] == leaf.kind else {}
    return statistics


def _measure_chunk(group: thrift.Struct, leaf: _Leaf | None) -> int:
    """Bytes of a column of a row group; of the whole row group where the column is of several leaves."""
    size: int = group[_BYTES] if leaf is None else group[_CHUNKS][leaf.index].get(_CHUNK, {}).get(_UNPACKED, 0)
    return size


def _decode_bound(bound: Any) -> str | None:
    try:
        return bound.decode() if isinstance(bound, bytes) else None
    except UnicodeDecodeError:  # some writers cut in the middle of a character
        return None


def open_groups(file: Any, footer: Footer) -> Any:
    """*file* opened for `read_group`. Raises Unscorable."""
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(
            file,
            metadata=footer.metadata,
            read_dictionary=list(footer.texts),
            coerce_int96_timestamp_unit="us",
            page_checksum_verification=True,
            pre_buffer=True,
        )
    except BROKEN as error:
        raise make_unreadable(f"Parquet: {error}") from error


def read_group(opened: Any, footer: Footer, group: RowGroup, names: Sequence[str], policy: ReadingOptions) -> Table:
    """The columns *names* of the rows of one row group. Raises Unscorable."""
    n_bytes = footer.measure_group(group, names)
    if group.rows < 0 or n_bytes > GROUP_LIMIT:
        raise make_unreadable(f"Parquet: row group {group.index} unpacks to {n_bytes} bytes, more than {GROUP_LIMIT}")
    try:
        rows = opened.read_row_group(group.index, columns=names or footer.names[:1])
        if rows.num_rows != group.rows:
            raise make_unreadable(f"Parquet: row group {group.index} has {rows.num_rows} rows, expected {group.rows}")
        unread = tuple(name for name in footer.features if name not in names)
        rows = restore_types(rows, footer)
        return Table(
            footer.columns, rows, footer.has_sensor, policy.time, policy.time_zone, policy.missing_values, unread=unread
        )
    except BROKEN as error:
        raise make_unreadable(f"Parquet: row group {group.index}: {error}") from error


def restore_types(rows: pa.Table, footer: Footer) -> pa.Table:
    """The rows with the types that pyarrow drops: those of UUIDs before its release 21, and the zone of INT96.

    INT96 times are UTC, as Spark writes them; their type has no place for a zone.
    """
    for name in set(footer.uuids) & set(rows.column_names):
        if pa.types.is_fixed_size_binary(rows[name].type):
            chunks = [pa.ExtensionArray.from_storage(pa.uuid(), chunk) for chunk in rows[name].chunks]
            rows = rows.set_column(rows.column_names.index(name), name, pa.chunked_array(chunks, pa.uuid()))
    if footer.has_int96 and footer.columns.time in rows.column_names:
        name = footer.columns.time
        times = rows[name].cast(pa.timestamp(rows[name].type.unit, "UTC"))
        rows = rows.set_column(rows.column_names.index(name), name, times)
    return rows
