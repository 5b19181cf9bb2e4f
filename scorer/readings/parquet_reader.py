"""Parquet files: the footer with its row groups, and the rows of single row groups. Reads no more than needed."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyarrow as pa

from shared.contract.model_names import Columns
from shared.contract.scoring_options import ReadingOptions

from . import thrift
from .cells import BROKEN, make_unreadable
from .text_reader import Table, check_columns, list_features

GROUP_LIMIT = 2**32  # bytes that a row group may take in memory

MAGIC = b"PAR1"
TAIL = 2**16  # bytes of a file's end that are read first; most footers are shorter

# Fields of a footer, by their numbers in parquet.thrift.
_SCHEMA, _GROUPS = 2, 4
_KIND, _NAME, _CHILDREN, _CONVERTED, _LOGICAL = 1, 4, 5, 6, 10  # of an element of the schema
_CHUNKS, _BYTES, _ROWS = 1, 2, 3  # of a row group
_CHUNK, _CHUNK_KIND, _STATISTICS = 3, 1, 12  # of a column chunk
_NULLS, _GREATEST, _LEAST = 3, 5, 6  # of statistics; older fields compare bytes in another order
_TIMESTAMP, _UNIT = 8, 2
_INT64, _BYTE_ARRAY = 2, 6
_PER_SECOND = {1: 10**3, 2: 10**6, 3: 10**9, 9: 10**3, 10: 10**6}  # by a timestamp's unit; 9 and 10 are older


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group, with the bounds of its devices and times where the file has statistics."""

    index: int
    rows: int
    bytes: int  # in memory, at least
    low: str | None
    high: str | None
    first: int | None  # microseconds since 1970
    last: int | None
    has_sensor: bool  # any row may have one

    def may_hold(self, devices: Sequence[str], start: int, end: int) -> bool:
        """Whether it may hold rows of one of the sorted *devices*, from *start* up to but not at *end*."""
        if self.first is not None and self.last is not None and (self.last < start or self.first >= end):
            return False
        if self.low is None or self.high is None:
            return True
        index = bisect_left(devices, self.low)
        return index < len(devices) and devices[index] <= self.high


@dataclass(frozen=True, slots=True)
class Footer:
    """The footer of a file."""

    metadata: Any
    texts: tuple[str, ...]  # columns whose cells are texts
    features: int
    has_sensor: bool
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


def read_footer(file: Any, columns: Columns) -> Footer:
    """The footer of *file*, seekable and open. Raises Unscorable; errors of *file* itself pass through.

    The row groups are parsed here: where a footer contradicts itself, pyarrow's accessors of column chunks throw a C++
    exception that is not caught, and the process aborts. pyarrow opens and reads, which is safe.
    """
    from pyarrow import parquet

    try:
        data = _read_footer_bytes(file)
        opened = parquet.ParquetFile(pa.BufferReader(MAGIC + data + len(data).to_bytes(4, "little") + MAGIC))
        names = opened.schema_arrow.names
        check_columns(names, columns)
        fields = thrift.parse_struct(data)
        leaves = _list_leaves(fields[_SCHEMA])
        key_leaves = [leaves.get(name.encode()) for name in (columns.device, columns.time, columns.sensor)]
        groups = tuple(_parse_group(i, group, key_leaves) for i, group in enumerate(fields.get(_GROUPS, ())))
        texts = [name for name in names if (leaf := leaves.get(name.encode())) and leaf.kind == _BYTE_ARRAY]
        has_sensor = columns.sensor in names and any(group.has_sensor for group in groups)
        return Footer(opened.metadata, tuple(texts), len(list_features(names, columns)), has_sensor, groups)
    except (*BROKEN, AttributeError, TypeError) as error:  # the last two where a field has another type
        raise make_unreadable(f"Parquet: {error}") from error


def _read_footer_bytes(file: Any) -> bytes:
    size = file.seek(0, 2)
    file.seek(max(0, size - TAIL))
    tail = bytes(file.read(TAIL))
    length = int.from_bytes(tail[-8:-4], "little")
    if tail[-4:] != MAGIC or length > size - 12:
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
            leaves[element[_NAME]] = _Leaf(index, element[_KIND], _per_second(element))
        index += 1
    return leaves


def _per_second(element: thrift.Struct) -> int:
    unit = element.get(_LOGICAL, {}).get(_TIMESTAMP, {}).get(_UNIT, {})
    unit = next(iter(unit), element.get(_CONVERTED, 0))
    return _PER_SECOND.get(unit, 0) if element[_KIND] == _INT64 else 0


def _parse_group(index: int, group: thrift.Struct, leaves: list[_Leaf | None]) -> RowGroup:
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
        max(group[_BYTES], rows * 8 * len(group[_CHUNKS])),
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


def read_group(opened: Any, footer: Footer, group: RowGroup, columns: Columns, policy: ReadingOptions) -> Table:
    """The rows of one row group. Raises Unscorable."""
    if group.rows < 0 or group.bytes > GROUP_LIMIT:
        raise make_unreadable(
            f"Parquet: row group {group.index} unpacks to {group.bytes} bytes, more than {GROUP_LIMIT}"
        )
    try:
        rows = opened.read_row_group(group.index)
        if rows.num_rows != group.rows:
            raise make_unreadable(f"Parquet: row group {group.index} has {rows.num_rows} rows, expected {group.rows}")
        return Table(columns, rows, footer.has_sensor, policy.time)
    except BROKEN as error:
        raise make_unreadable(f"Parquet: row group {group.index}: {error}") from error
