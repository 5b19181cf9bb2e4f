"""The files of a window: fetched in parallel and ahead, and their rows, in the order of their names."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from scorer.errors import Unscorable
from scorer.storage.blob_store import Container
from scorer.storage.range_reader import Changed, OpenFile
from shared.contract.errors import NotFound
from shared.contract.model_names import Columns
from shared.contract.scoring_options import ReadingOptions

from .cells import make_unreadable
from .formats.compression import AVRO, PARQUET, find_compression, is_compressed_avro, unpack
from .formats.parquet_reader import Footer, RowGroup, open_groups, read_footer, read_group
from .formats.remarks import NO_REMARKS, Remarks
from .formats.text_reader import Table, read_text
from .layouts import Keys, add_keys
from .projection import EVERYTHING, Projection
from .small_files import SMALL, FileGroup, group_files, read_files_as_one
from .time_zones import NO_TIME, widen_range

FETCHERS = 4
TEXT_BYTES, PACKED_BYTES = 4, 20  # in memory for each byte of a file, about: see bench/readings_memory.py
SMALL_FILE = 8 * 2**20  # bytes of a file that is fetched whole, in any format
SMALL_PARQUET = 32 * 2**10  # bytes of a Parquet file of which a look at the statistics costs what reading it does
MANY = 64  # files of which such looks are a price
START = 4096  # bytes of a large file that show its format
_REMOVED = "is in the log of its table, and is not there: the table was cleaned (VACUUM) since, or is damaged"


@dataclass(slots=True)
class File:
    """A file of readings, and what is known of it before it is read."""

    name: str
    index: int  # in the order of the files
    late: bool = False  # it is in the folder after the window's, and is read for late readings only
    keys: Keys = field(default_factory=dict)  # of its folders
    data: bytes | None = None
    length: int = 0  # its bytes, when it was opened
    size: int = 0  # bytes in memory that reading all of it takes, about; 0 for an absent or empty file
    footer: Footer | None = None  # of a file of Parquet
    problem: str = ""  # why it cannot be read
    is_parquet: bool = False  # a small one, whose footer is read when it is needed
    is_required: bool = False  # it is in the log of a table; another file may be removed after it was listed
    last_group: tuple[int, tuple[str, ...], Table] | None = None  # that was read last: its index, columns and rows
    read_groups: set[int] = field(default_factory=set)  # the row groups that were read; 0 for a file of text
    remarks: Remarks = NO_REMARKS  # of a file that was read and is no Parquet
    seen: tuple[str, tuple[str, ...]] | None = None  # the only device that it has rows of, and its features, once read
    late_start: int | None = None  # rows of before the window are late; from then on the run before reads them too

    def estimate_memory(self, projection: Projection) -> int:
        """Bytes in memory that reading all that is needed of it takes."""
        return self.footer.estimate_memory(projection) if self.footer else self.size


@dataclass(frozen=True, slots=True)
class DamagedRange:
    """A range of a file that cannot be read, and why. Its devices are between *low* and *high*; None: any device."""

    problem: str
    low: str | None = None
    high: str | None = None


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What is read of each file: at least the rows of the sorted *devices* within *time_range*."""

    columns: Columns
    policy: ReadingOptions
    devices: Sequence[str]
    time_range: tuple[int, int]
    projection: Projection = EVERYTHING


def inspect_file(container: Container, file: File, columns: Columns, *, is_of_many: bool = False) -> File:
    """Read what is to be known of a file before it is read; a problem is recorded in it. Raises Unavailable.

    *is_of_many*: where it is tiny, its footer is read with its rows, as that of the file of a device.
    """
    try:
        with closing(container.open(file.name)) as opened:
            file.length = opened.seek(0, 2)
            opened.seek(0)
            if file.length <= SMALL_FILE:
                file.data = _read_small_file(container, file, opened)
            start = (file.data or opened.read(START))[:START]
            is_packed = find_compression(start) or is_compressed_avro(start)
            file.size = file.length * (PACKED_BYTES if is_packed else TEXT_BYTES)
            is_parquet = start.startswith(PARQUET)
            if is_parquet and columns.features:
                raise make_unreadable(
                    f"is Parquet, whose columns are never within {columns.features}: expected JSON or CSV, or "
                    "READINGS_COLUMNS (--columns) without features"
                )
            limit = SMALL if columns.device in file.keys else SMALL_PARQUET * is_of_many
            if is_parquet and file.data and file.length <= limit:
                file.is_parquet = True  # its footer costs what reading it does
                file.size = file.length * PACKED_BYTES
            elif is_parquet:
                file.footer = read_footer(pa.BufferReader(file.data) if file.data else opened, columns, file.keys)
                file.size = file.footer.estimate_memory(EVERYTHING)
    except NotFound:  # it was removed after it was listed
        file.problem = _REMOVED * file.is_required
    except Unscorable as error:
        file.problem, file.data = str(error), None
    return file


def _load_footer(container: Container, file: File, columns: Columns) -> Footer | None:
    """The footer of a Parquet file, also of a small one. Raises Unscorable, NotFound, Unavailable."""
    if file.is_parquet and not file.footer:
        with closing(_open_handle(container, file)) as handle:
            file.footer = read_footer(handle, columns, file.keys)
    return file.footer


def _read_small_file(container: Container, file: File, opened: OpenFile) -> bytes:
    """All of a file. One that is written to meanwhile is read anew, at once: it may be appended to for an hour."""
    try:
        return opened.read()
    except Changed:
        data = container.read(file.name).data
        file.length = len(data)
        return data


def read_tables(
    container: Container, files: Sequence[File], request: ReadRequest, *, is_joining: bool = False
) -> Iterator[tuple[File | FileGroup, Table | DamagedRange | None]]:
    """The rows of each file, with the columns that are needed. Raises Unavailable.

    With *is_joining* neighbouring small files come as a group with one table; without one where its files are to be
    read one by one.
    """
    expected, device = frozenset(request.devices), request.columns.device
    own = [file for file in files if _may_hold(file, device, expected)]
    rest = iter(group_files(own, request.columns, request.policy.csv) if is_joining else own)
    with ThreadPoolExecutor(FETCHERS) as pool:
        waiting: deque[tuple[File | FileGroup, Future[list[Table | DamagedRange | None]]]] = deque()
        while True:
            for file in itertools.islice(rest, FETCHERS - len(waiting)):
                waiting.append((file, pool.submit(_read_content, container, file, request)))
            if not waiting:
                return
            file, future = waiting.popleft()
            results = future.result()
            del future
            while results:
                yield file, results.pop(0)


def _may_hold(file: File, device: str, expected: Collection[str]) -> bool:
    """Whether a file may hold rows of the *expected* devices, as far as its name shows it, or an earlier read."""
    if device in file.keys:
        return file.keys[device] in expected
    return file.seen is None or file.seen[0] in expected


def _read_content(
    container: Container, file: File | FileGroup, request: ReadRequest
) -> list[Table | DamagedRange | None]:
    if isinstance(file, FileGroup):
        return [_read_group_of_files(container, file, request)]
    return [*_read_file(container, file, request)]


def _read_group_of_files(container: Container, group: FileGroup, request: ReadRequest) -> Table | None:
    keys = group.files[0].keys

    def read_csv(data: bytes) -> Table | None:
        return read_text(data, request.columns, request.policy, request.projection, keys)

    def read_parquet(files: Sequence[File]) -> list[Table | None]:
        from .formats.parquet_alike import (  # late, as Avro: a job has readings of one form
            AlikeReader,
            find_only_device,
        )

        footer = _load_footer(container, files[0], request.columns)
        device = request.columns.device
        if not footer or request.columns.sensor in footer.names or (device in footer.names and device in keys):
            return [None]
        reader = AlikeReader.open(files[0].data or b"", footer, request.projection)
        tables = [reader.read(file.data or b"", request.policy) for file in files]
        if device in footer.names:
            for file, table in zip(files, tables, strict=True):
                only = find_only_device(table) if table else None
                file.seen = (only, footer.features) if only else None
        return tables

    try:
        table = read_files_as_one(group, read_csv, read_parquet)
    except (Unscorable, NotFound):
        return None  # one by one it is seen which file it is
    if table:
        for file in group.files:
            file.read_groups.add(0)
        table = add_keys(table, {key: text for key, text in keys.items() if key != request.columns.device},
                         request.projection)  # fmt: skip
    return table


def _read_file(container: Container, file: File, request: ReadRequest) -> list[Table | DamagedRange]:
    device = file.keys.get(request.columns.device)
    if file.problem:
        return [DamagedRange(file.problem, device, device)]
    if not file.size:
        return []
    try:
        _load_footer(container, file, request.columns)
        if file.footer:
            return _read_groups(container, file, file.footer, request)
        return [*_read_text_file(container, file, request)]
    except NotFound:
        return [DamagedRange(_REMOVED, device, device)] if file.is_required else []
    except Unscorable as error:
        return [DamagedRange(str(error), device, device)]


def _read_text_file(container: Container, file: File, request: ReadRequest) -> list[Table]:
    file.read_groups.add(0)
    data = file.data if file.data is not None else container.read(file.name).data
    length = len(data)
    data = unpack(data)
    is_avro = data.startswith(AVRO)
    if is_avro and length < file.length:  # cut between two blocks it would be a file like any other; it may have grown
        raise make_unreadable(f"expected at least {file.length} bytes, as when it was opened, got {length}")
    table = _select_reader(is_avro=is_avro)(data, request.columns, request.policy, request.projection, file.keys)
    if not table:
        return []
    file.remarks = table.remarks
    table.remarks.check_rows(request.policy.bad_rows)
    return [add_keys(table, file.keys, request.projection)] if table.rows.num_rows else []


def _select_reader(*, is_avro: bool) -> Callable[..., Table | None]:
    if not is_avro:
        return read_text
    from .avro.reader import read_avro

    return read_avro


def read_other_rows(
    container: Container, file: File, request: ReadRequest, may_hold: Callable[[RowGroup], bool]
) -> Iterator[Table]:
    """The times and ids of rows that `read_tables` has not read, of row groups that *may_hold* some that are needed.

    A file that was not opened yet is opened. Raises Unavailable, NotFound, Unscorable.
    """
    if not (file.size or file.problem):
        inspect_file(container, file, request.columns)
    if file.problem:
        raise make_unreadable(file.problem)
    if file.is_parquet and not file.footer and file.read_groups:
        return  # it was read as a whole
    _load_footer(container, file, request.columns)
    if not file.footer:
        if file.size and not file.read_groups:
            yield from _read_text_file(container, file, request)
        return
    footer, time_range = file.footer, _find_time_range(file.footer, request)
    groups = [g for g in footer.groups if g.index not in file.read_groups and g.may_be_within(*time_range)]
    groups = [group for group in groups if may_hold(group)]
    if groups:
        names = tuple(name for name in footer.names if name in (footer.columns.device, footer.columns.time))
        with closing(_open_handle(container, file)) as handle:
            parquet_file = open_groups(handle, footer)
            for group in groups:
                table = read_group(parquet_file, footer, group, names, request.policy)
                yield add_keys(table, file.keys, request.projection)


def _find_time_range(footer: Footer, request: ReadRequest) -> tuple[int, int]:
    """The times of a file, as its statistics have them, that may be needed."""
    if footer.has_local_times:
        return widen_range(request.time_range, request.policy.time_zone)
    return request.time_range


def _read_groups(container: Container, file: File, footer: Footer, request: ReadRequest) -> list[Table | DamagedRange]:
    """The row groups that may hold the expected devices and times, or late rows of these devices."""
    time_range = _find_time_range(footer, request)
    if file.late_start is not None:
        time_range = NO_TIME, time_range[1]
    groups = [group for group in footer.groups if group.may_hold(request.devices, *time_range)]
    if not groups:
        return []
    file.read_groups |= {group.index for group in groups}
    results: list[Table | DamagedRange] = []
    names = footer.select_columns(request.projection)
    cached, file.last_group = file.last_group, None
    device = file.keys.get(request.columns.device)
    with closing(_open_handle(container, file)) as handle:
        parquet_file = open_groups(handle, footer)
        for group in groups:
            table = None
            try:
                if cached and cached[:2] == (group.index, names):
                    table = cached[2]
                else:
                    table = read_group(parquet_file, footer, group, names, request.policy)
                results.append(add_keys(table, file.keys, request.projection))
            except Unscorable as error:
                results.append(DamagedRange(str(error), device or group.low, device or group.high))
    high_device = groups[-1].high
    if table and high_device is not None and high_device > request.devices[-1]:
        file.last_group = groups[-1].index, names, table  # without keys: another read may need others
    return results


def _open_handle(container: Container, file: File) -> Any:
    return pa.BufferReader(file.data) if file.data is not None else container.open(file.name)
