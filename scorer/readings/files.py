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
from shared.contract.errors import NotFound
from shared.contract.model_names import Columns
from shared.contract.scoring_options import ReadingOptions

from .cells import make_unreadable
from .layouts import Keys, add_keys, find_table_format, is_hidden, list_written_keys, parse_keys
from .parquet_reader import Footer, RowGroup, open_groups, read_footer, read_group
from .projection import EVERYTHING, Projection
from .text_reader import GZIP, PARQUET, Table, decompress_gzip, read_text
from .time_zones import NO_TIME, widen_range

FETCHERS = 4
SMALL_FILE = 8 * 2**20  # bytes of a file that is fetched whole, in any format
CACHE_LIMIT = 256 * 2**20  # bytes of small files that stay in memory from listing to reading


@dataclass(slots=True)
class File:
    """A file of readings, and what is known of it before it is read."""

    name: str
    index: int  # in the order of the files
    late: bool = False  # it is in the folder after the window's, and is read for late readings only
    keys: Keys = field(default_factory=dict)  # of its folders
    data: bytes | None = None
    size: int = 0  # bytes in memory that reading all of it takes, about; 0 for an absent or empty file
    footer: Footer | None = None  # of a file of Parquet
    problem: str = ""  # why it cannot be read
    last_group: tuple[int, tuple[str, ...], Table] | None = None  # that was read last: its index, columns and rows
    read_groups: set[int] = field(default_factory=set)  # the row groups that were read; 0 for a file of text
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


def open_files(
    container: Container,
    paths: Sequence[str],
    columns: Columns,
    pattern: str = "",
    devices: Collection[str] | None = None,
) -> tuple[list[File], list[File]]:
    """Every file of *paths*, with its footer and size: a folder ends in `/`, the empty path is the whole container.

    Files and folders that begin with `.` or `_` are ignored as markers and logs, as in Spark and pyarrow. Files in the
    folder of a device that is not among *devices* are apart, and not opened. *pattern* is READINGS_PATH. Raises
    Unavailable.
    """
    late: dict[str, bool] = {}
    names: list[str] = []
    for number, path in enumerate(paths):
        listed = container.list(path) if not path or path.endswith("/") else [path]
        names += listed
        visible = (name for name in listed if name == path or not is_hidden(name[len(path) :]))
        for name in visible:
            late.setdefault(name, 0 < number == len(paths) - 1)
    table = find_table_format(container, paths, names)
    if table:
        return [File(table[0] or "./", 0, problem=table[1])], []
    files, other_files = _list_files(late, columns, list_written_keys(pattern), devices)
    remaining = CACHE_LIMIT
    with ThreadPoolExecutor(FETCHERS) as pool:
        for file in pool.map(lambda file: _inspect_file(container, file, columns), files):
            remaining -= len(file.data or b"")
            if remaining < 0:
                file.data = None
    return files, other_files


def _list_files(
    late: dict[str, bool], columns: Columns, written_keys: frozenset[str], devices: Collection[str] | None
) -> tuple[list[File], list[File]]:
    files = [File(name, index, late[name], parse_keys(name, written_keys)) for index, name in enumerate(late)]
    if devices is None or not any(columns.device in file.keys for file in files):
        return files, []
    expected = frozenset(devices)
    is_own = [columns.device not in file.keys or file.keys[columns.device] in expected for file in files]
    other_files = [file for file, own in zip(files, is_own, strict=True) if not own]
    return list(itertools.compress(files, is_own)), other_files


def _inspect_file(container: Container, file: File, columns: Columns) -> File:
    try:
        with closing(container.open(file.name)) as opened:
            n_bytes = opened.seek(0, 2)
            opened.seek(0)
            if n_bytes <= SMALL_FILE:
                file.data = opened.read()
            start = (file.data or opened.read(len(PARQUET)))[: len(PARQUET)]
            file.size = n_bytes * (20 if start.startswith(GZIP) else 3)
            if start == PARQUET:
                file.footer = read_footer(pa.BufferReader(file.data) if file.data else opened, columns, file.keys)
                file.size = file.footer.estimate_memory(EVERYTHING)
    except NotFound:
        pass  # it was removed after it was listed
    except Unscorable as error:
        file.problem, file.data = str(error), None
    return file


def read_tables(
    container: Container, files: Sequence[File], request: ReadRequest
) -> Iterator[tuple[File, Table | DamagedRange]]:
    """The rows of each file, with the columns that are needed. Raises Unavailable."""
    expected, device = frozenset(request.devices), request.columns.device
    rest = iter([file for file in files if device not in file.keys or file.keys[device] in expected])
    with ThreadPoolExecutor(FETCHERS) as pool:
        waiting: deque[tuple[File, Future[list[Table | DamagedRange]]]] = deque()
        while True:
            for file in itertools.islice(rest, FETCHERS - len(waiting)):
                waiting.append((file, pool.submit(_read_file, container, file, request)))
            if not waiting:
                return
            file, future = waiting.popleft()
            results = future.result()
            del future
            while results:
                yield file, results.pop(0)


def _read_file(container: Container, file: File, request: ReadRequest) -> list[Table | DamagedRange]:
    device = file.keys.get(request.columns.device)
    if file.problem:
        return [DamagedRange(file.problem, device, device)]
    if not file.size:
        return []
    try:
        if file.footer:
            return _read_groups(container, file, file.footer, request)
        return [*_read_text_file(container, file, request)]
    except NotFound:
        return []
    except Unscorable as error:
        return [DamagedRange(str(error), device, device)]


def _read_text_file(container: Container, file: File, request: ReadRequest) -> list[Table]:
    file.read_groups.add(0)
    data = file.data if file.data is not None else container.read(file.name).data
    data = decompress_gzip(data) if data.startswith(GZIP) else data
    table = read_text(data, request.columns, request.policy, request.projection, file.keys)
    return [add_keys(table, file.keys, request.projection)] if table else []


def read_other_rows(
    container: Container, file: File, request: ReadRequest, may_hold: Callable[[RowGroup], bool]
) -> Iterator[Table]:
    """The times and ids of rows that `read_tables` has not read, of row groups that *may_hold* some that are needed.

    A file that was not opened yet is opened. Raises Unavailable, NotFound, Unscorable.
    """
    if not (file.size or file.problem):
        _inspect_file(container, file, request.columns)
    if file.problem:
        raise make_unreadable(file.problem)
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
