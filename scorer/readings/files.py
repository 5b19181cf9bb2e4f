"""The files of a window: fetched in parallel and ahead, and their rows, in the order of their names."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from scorer.errors import Unscorable
from scorer.storage.blob_store import Container
from shared.contract.errors import NotFound
from shared.contract.model_names import Columns
from shared.contract.scoring_options import ReadingOptions

from .parquet_reader import Footer, open_groups, read_footer, read_group
from .text_reader import GZIP, PARQUET, Table, decompress_gzip, read_text

FETCHERS = 4
SMALL_FILE = 8 * 2**20  # bytes of a file that is fetched whole, in any format
CACHE_LIMIT = 256 * 2**20  # bytes of small files that stay in memory from listing to reading


@dataclass(slots=True)
class File:
    """A file of readings, and what is known of it before it is read."""

    name: str
    index: int  # in the order of the files
    late: bool = False  # it is in the folder after the window's, and is read for late readings only
    data: bytes | None = None
    size: int = 0  # bytes in memory that reading all of it takes, estimated; 0 for an absent or empty file
    footer: Footer | None = None  # of a file of Parquet
    problem: str = ""  # why it cannot be read
    last_group: tuple[int, Table] | None = None  # the row group that was read last, where it may be needed again


@dataclass(frozen=True, slots=True)
class DamagedRange:
    """A range of a file that cannot be read, and why. Its devices are between *low* and *high*; None: any device."""

    problem: str
    low: str | None = None
    high: str | None = None


def open_files(container: Container, paths: Sequence[str], columns: Columns) -> list[File]:
    """Every file of *paths*, with its footer and size: a folder ends in `/`, the empty path is the whole container.

    Files and folders that begin with `.` or `_` are ignored as markers and logs, as in Spark and pyarrow.
    Raises Unavailable.
    """
    late: dict[str, bool] = {}
    for number, path in enumerate(paths):
        for name in _list_names(container, path):
            late.setdefault(name, 0 < number == len(paths) - 1)
    files = [File(name, index, late[name]) for index, name in enumerate(late)]
    remaining = CACHE_LIMIT
    with ThreadPoolExecutor(FETCHERS) as pool:
        for file in pool.map(lambda file: _inspect_file(container, file, columns), files):
            remaining -= len(file.data or b"")
            if remaining < 0:
                file.data = None
    return files


def _list_names(container: Container, path: str) -> list[str]:
    if path and not path.endswith("/"):
        return [path]
    names = container.list(path)
    return [n for n in names if not any(part.startswith((".", "_")) for part in n[len(path) :].split("/"))]


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
                file.footer = read_footer(pa.BufferReader(file.data) if file.data else opened, columns)
                file.size = file.footer.rows * 16 * (3 + file.footer.features)
    except NotFound:
        pass  # it was removed after it was listed
    except Unscorable as error:
        file.problem, file.data = str(error), None
    return file


def read_tables(
    container: Container,
    files: Sequence[File],
    columns: Columns,
    policy: ReadingOptions,
    devices: Sequence[str],
    time_range: tuple[int, int],
) -> Iterator[tuple[File, Table | DamagedRange]]:
    """The rows of each file, at least those of the sorted *devices* within *time_range*. Raises Unavailable."""
    with ThreadPoolExecutor(FETCHERS) as pool:
        waiting: deque[tuple[File, Future[list[Table | DamagedRange]]]] = deque()
        rest = iter(files)
        while True:
            for file in itertools.islice(rest, FETCHERS - len(waiting)):
                waiting.append((file, pool.submit(_read_file, container, file, columns, policy, devices, time_range)))
            if not waiting:
                return
            file, future = waiting.popleft()
            results = future.result()
            del future
            while results:
                yield file, results.pop(0)


def _read_file(
    container: Container,
    file: File,
    columns: Columns,
    policy: ReadingOptions,
    devices: Sequence[str],
    time_range: tuple[int, int],
) -> list[Table | DamagedRange]:
    if file.problem:
        return [DamagedRange(file.problem)]
    if not file.size:
        return []
    try:
        if file.footer:
            return _read_groups(container, file, file.footer, columns, policy, devices, time_range)
        data = file.data if file.data is not None else container.read(file.name).data
        table = read_text(decompress_gzip(data) if data.startswith(GZIP) else data, columns, policy)
    except NotFound:
        return []
    except Unscorable as error:
        return [DamagedRange(str(error))]
    return [table] if table else []


def _read_groups(
    container: Container,
    file: File,
    footer: Footer,
    columns: Columns,
    policy: ReadingOptions,
    devices: Sequence[str],
    time_range: tuple[int, int],
) -> list[Table | DamagedRange]:
    """The row groups that may hold the expected devices and times."""
    groups = [group for group in footer.groups if group.may_hold(devices, *time_range)]
    if not groups:
        return []
    results: list[Table | DamagedRange] = []
    cached, file.last_group = file.last_group, None
    with closing(_open_handle(container, file)) as handle:
        parquet_file = open_groups(handle, footer)
        for group in groups:
            if cached and cached[0] == group.index:
                results.append(cached[1])
                continue
            try:
                results.append(read_group(parquet_file, footer, group, columns, policy))
            except Unscorable as error:
                results.append(DamagedRange(str(error), group.low, group.high))
    high_device, last_result = groups[-1].high, results[-1]
    if isinstance(last_result, Table) and high_device is not None and high_device > devices[-1]:
        file.last_group = groups[-1].index, last_result
    return results


def _open_handle(container: Container, file: File) -> Any:
    return pa.BufferReader(file.data) if file.data is not None else container.open(file.name)
