"""Files of Parquet: what their footers tell of each row group, and its rows. Reads only what it is asked for."""

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
from .cells import BROKEN, unreadable
from .text_reader import Table, check_columns, features

GROUP_LIMIT = 2**32  # bytes that a row group may take in memory

MAGIC = b"PAR1"
TAIL = 2**16  # bytes of a file's end that are read first; most footers are shorter

# Fields of a footer, by the numbers that parquet.thrift gives them.
_SCHEMA, _GROUPS = 2, 4
_KIND, _NAME, _CHILDREN, _CONVERTED, _LOGICAL = 1, 4, 5, 6, 10  # of an element of the schema
_CHUNKS, _BYTES, _ROWS = 1, 2, 3  # of a row group
_CHUNK, _CHUNK_KIND, _STATISTICS = 3, 1, 12  # of a column chunk
_NULLS, _GREATEST, _LEAST = 3, 5, 6  # of statistics; older fields compare bytes in another order
_TIMESTAMP, _UNIT = 8, 2
_INT64, _BYTE_ARRAY = 2, 6
_PER_SECOND = {1: 10**3, 2: 10**6, 3: 10**9, 9: 10**3, 10: 10**6}  # by a timestamp's unit; 9 and 10 are older


@dataclass(frozen=True, slots=True)
class Group:
    """A row group. Devices and instants lie between these, where the file tells them."""

    index: int
    rows: int
    bytes: int  # in memory, at least
    low: str | None
    high: str | None
    first: int | None  # microseconds since 1970
    last: int | None
    has_sensor: bool  # any row may say one

    def may_hold(self, devices: Sequence[str], start: int, end: int) -> bool:
        """Whether rows of one of the sorted *devices* may be in it, from *start* up to but not at *end*."""
        if self.first is not None and self.last is not None and (self.last < start or self.first >= end):
            return False
        if self.low is None or self.high is None:
            return True
        place = bisect_left(devices, self.low)
        return place < len(devices) and devices[place] <= self.high


@dataclass(frozen=True, slots=True)
class Footer:
    """What a file tells about itself."""

    metadata: Any
    texts: tuple[str, ...]  # columns whose cells are texts
    features: int
    has_sensor: bool
    groups: tuple[Group, ...]

    @property
    def by_device(self) -> bool:
        """Whether the statistics show that the rows are sorted by device, at least from group to group."""
        ends = [(group.low, group.high) for group in self.groups if group.rows]
        known = [(low, high) for low, high in ends if low is not None and high is not None]
        return len(known) == len(ends) and all(before[1] <= after[0] for before, after in pairwise(known))

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(group.rows for group in self.groups)

    @property
    def largest(self) -> int:
        """How many rows the largest group has."""
        return max((group.rows for group in self.groups), default=0)


def read_footer(file: Any, columns: Columns) -> Footer:
    """What *file*, seekable and open, tells about itself. Raises Unscorable; what *file* raises goes through.

    The row groups are read by our own parser: where a footer contradicts itself, pyarrow's accessors of column chunks
    throw what nobody catches, and the process aborts. What pyarrow does under guard, opening and reading, it does.
    """
    from pyarrow import parquet

    try:
        data = _footer(file)
        opened = parquet.ParquetFile(pa.BufferReader(MAGIC + data + len(data).to_bytes(4, "little") + MAGIC))
        names = opened.schema_arrow.names
        check_columns(names, columns)
        found = thrift.parse(data)
        leaves = _leaves(found[_SCHEMA])
        places = [leaves.get(name.encode()) for name in (columns.device, columns.time, columns.sensor)]
        groups = tuple(_group(i, group, places) for i, group in enumerate(found.get(_GROUPS, ())))
        texts = [name for name in names if (leaf := leaves.get(name.encode())) and leaf.kind == _BYTE_ARRAY]
        has_sensor = columns.sensor in names and any(group.has_sensor for group in groups)
        return Footer(opened.metadata, tuple(texts), len(features(names, columns)), has_sensor, groups)
    except (*BROKEN, AttributeError, TypeError) as error:  # the last two where a field is of another kind
        raise unreadable(f"Parquet: {error}") from error


def _footer(file: Any) -> bytes:
    size = file.seek(0, 2)
    file.seek(max(0, size - TAIL))
    tail = bytes(file.read(TAIL))
    length = int.from_bytes(tail[-8:-4], "little")
    if tail[-4:] != MAGIC or length > size - 12:
        raise unreadable("Parquet: has no end; it is truncated, or encrypted")
    if length > len(tail) - 8:
        file.seek(size - 8 - length)
        return bytes(file.read(length))
    return tail[len(tail) - 8 - length : -8]


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A column at the top of the schema that holds single values."""

    place: int  # among the column chunks of a row group
    kind: int
    per_second: int  # of a timestamp; else 0


def _leaves(schema: list[thrift.Struct]) -> dict[bytes, _Leaf]:
    """Such columns by their names. The schema is a tree, each element before its children."""
    found, place, open_children = {}, 0, [schema[0].get(_CHILDREN, 0)]
    for element in schema[1:]:
        while open_children and not open_children[-1]:
            open_children.pop()
        open_children[-1] -= 1
        if element.get(_CHILDREN):
            open_children.append(element[_CHILDREN])
            continue
        if len(open_children) == 1:
            found[element[_NAME]] = _Leaf(place, element[_KIND], _per_second(element))
        place += 1
    return found


def _per_second(element: thrift.Struct) -> int:
    unit = element.get(_LOGICAL, {}).get(_TIMESTAMP, {}).get(_UNIT, {})
    unit = next(iter(unit), element.get(_CONVERTED, 0))
    return _PER_SECOND.get(unit, 0) if element[_KIND] == _INT64 else 0


def _group(index: int, group: thrift.Struct, places: list[_Leaf | None]) -> Group:
    device, time, sensor = (_statistics(group, leaf) for leaf in places)
    rows, scale = group[_ROWS], places[1].per_second if places[1] else 0
    times = (time.get(_LEAST, b""), time.get(_GREATEST, b""))
    texts = places[0] is not None and places[0].kind == _BYTE_ARRAY
    first = last = None
    if scale and time.get(_NULLS) == 0 and all(len(t) == 8 for t in times):  # noqa: PLR2004  # bytes of an INT64
        first, last = (int.from_bytes(t, "little", signed=True) * 10**6 // scale for t in times)
    return Group(
        index,
        rows,
        max(group[_BYTES], rows * 8 * len(group[_CHUNKS])),
        _decoded(device.get(_LEAST)) if texts else None,
        _decoded(device.get(_GREATEST)) if texts else None,
        first,
        last,
        sensor.get(_NULLS) != rows,
    )


def _statistics(group: thrift.Struct, leaf: _Leaf | None) -> thrift.Struct:
    if leaf is None:
        return {}
    chunk: thrift.Struct = group[_CHUNKS][leaf.place][_CHUNK]
    statistics: thrift.Struct = chunk.get(_STATISTICS, {}) if chunk[_CHUNK_KIND] == leaf.kind else {}
    return statistics


def _decoded(bound: Any) -> str | None:
    try:
        return bound.decode() if isinstance(bound, bytes) else None
    except UnicodeDecodeError:  # some writers cut in the middle of a character
        return None


def open_groups(file: Any, footer: Footer) -> Any:
    """*file* ready for `read_group`. Raises Unscorable."""
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
        raise unreadable(f"Parquet: {error}") from error


def read_group(opened: Any, footer: Footer, group: Group, columns: Columns, policy: ReadingOptions) -> Table:
    """The rows of one row group. Raises Unscorable."""
    if group.rows < 0 or group.bytes > GROUP_LIMIT:
        raise unreadable(f"Parquet: row group {group.index} unpacks to {group.bytes} bytes, more than {GROUP_LIMIT}")
    try:
        rows = opened.read_row_group(group.index)
        if rows.num_rows != group.rows:
            raise unreadable(f"Parquet: row group {group.index} has {rows.num_rows} rows, expected {group.rows}")
        return Table(columns, rows, footer.has_sensor, policy.time)
    except BROKEN as error:
        raise unreadable(f"Parquet: row group {group.index}: {error}") from error
