"""The files of a window: fetched side by side and ahead of their turn, and their rows, in the order of their names."""

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
from .text_reader import GZIP, PARQUET, Table, gunzipped, read_text

FETCHERS = 4
SMALL = 8 * 2**20  # bytes of a file that is fetched whole, whatever it is
KEPT = 256 * 2**20  # bytes of small files that stay in memory from when they are found to when they are read


@dataclass(slots=True)
class File:
    """A file of readings, as far as it is known before anyone's readings are expected."""

    name: str
    place: int  # in the order of the files
    late: bool = False  # it lies in the folder after the window's, and is read for late readings only
    data: bytes | None = None
    size: int = 0  # bytes in memory that reading all of it takes, estimated; 0 where nothing is there
    footer: Footer | None = None  # of a file of Parquet
    trouble: str = ""  # why it cannot be read
    kept: tuple[int, Table] | None = None  # the row group that was read last, where more of it may be wanted


@dataclass(frozen=True, slots=True)
class Damaged:
    """A part of a file that cannot be read, and why. Devices lie between these; anywhere where None."""

    why: str
    low: str | None = None
    high: str | None = None


def open_files(container: Container, where: Sequence[str], columns: Columns) -> list[File]:
    """Every file that *where* names, and what it tells about itself: a folder ends in `/`, the whole is empty.

    Files and folders that begin with `.` or `_` are other writers' marks and logs, as for Spark and pyarrow.
    Raises Unavailable.
    """
    late: dict[str, bool] = {}
    for number, path in enumerate(where):
        for name in _names(container, path):
            late.setdefault(name, 0 < number == len(where) - 1)
    files = [File(name, place, late[name]) for place, name in enumerate(late)]
    room = KEPT
    with ThreadPoolExecutor(FETCHERS) as pool:
        for file in pool.map(lambda file: _look(container, file, columns), files):
            room -= len(file.data or b"")
            if room < 0:
                file.data = None
    return files


def _names(container: Container, path: str) -> list[str]:
    if path and not path.endswith("/"):
        return [path]
    names = container.list(path)
    return [n for n in names if not any(part.startswith((".", "_")) for part in n[len(path) :].split("/"))]


def _look(container: Container, file: File, columns: Columns) -> File:
    try:
        with closing(container.open(file.name)) as opened:
            length = opened.seek(0, 2)
            opened.seek(0)
            if length <= SMALL:
                file.data = opened.read()
            start = (file.data or opened.read(len(PARQUET)))[: len(PARQUET)]
            file.size = length * (20 if start.startswith(GZIP) else 3)
            if start == PARQUET:
                file.footer = read_footer(pa.BufferReader(file.data) if file.data else opened, columns)
                file.size = file.footer.rows * 16 * (3 + file.footer.features)
    except NotFound:
        pass  # it went since it was listed
    except Unscorable as error:
        file.trouble, file.data = str(error), None
    return file


def tables(
    container: Container,
    files: Sequence[File],
    columns: Columns,
    policy: ReadingOptions,
    devices: Sequence[str],
    span: tuple[int, int],
) -> Iterator[tuple[File, Table | Damaged]]:
    """The rows of each file, at least those of the sorted *devices* within *span*. Raises Unavailable."""
    with ThreadPoolExecutor(FETCHERS) as pool:
        waiting: deque[tuple[File, Future[list[Table | Damaged]]]] = deque()
        rest = iter(files)
        while True:
            for file in itertools.islice(rest, FETCHERS - len(waiting)):
                waiting.append((file, pool.submit(_read, container, file, columns, policy, devices, span)))
            if not waiting:
                return
            file, future = waiting.popleft()
            parts = future.result()
            del future
            while parts:
                yield file, parts.pop(0)


def _read(
    container: Container,
    file: File,
    columns: Columns,
    policy: ReadingOptions,
    devices: Sequence[str],
    span: tuple[int, int],
) -> list[Table | Damaged]:
    if file.trouble:
        return [Damaged(file.trouble)]
    if not file.size:
        return []
    try:
        if file.footer:
            return _groups(container, file, file.footer, columns, policy, devices, span)
        data = file.data if file.data is not None else container.read(file.name).data
        table = read_text(gunzipped(data) if data.startswith(GZIP) else data, columns, policy)
    except NotFound:
        return []
    except Unscorable as error:
        return [Damaged(str(error))]
    return [table] if table else []


def _groups(
    container: Container,
    file: File,
    footer: Footer,
    columns: Columns,
    policy: ReadingOptions,
    devices: Sequence[str],
    span: tuple[int, int],
) -> list[Table | Damaged]:
    """The row groups that may hold what is expected."""
    expected = [group for group in footer.groups if group.may_hold(devices, *span)]
    if not expected:
        return []
    parts: list[Table | Damaged] = []
    last, file.kept = file.kept, None
    with closing(_handle(container, file)) as handle:
        opened = open_groups(handle, footer)
        for group in expected:
            if last and last[0] == group.index:
                parts.append(last[1])
                continue
            try:
                parts.append(read_group(opened, footer, group, columns, policy))
            except Unscorable as error:
                parts.append(Damaged(str(error), group.low, group.high))
    high, end = expected[-1].high, parts[-1]
    if isinstance(end, Table) and high is not None and high > devices[-1]:
        file.kept = expected[-1].index, end
    return parts


def _handle(container: Container, file: File) -> Any:
    return pa.BufferReader(file.data) if file.data is not None else container.open(file.name)
