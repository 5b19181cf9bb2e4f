"""A window's readings for the devices of a chunk, read once, and what each model sees of them.

Files are found by the pattern of their folders: those that the window touches and the next one, since writers sort by
arrival. Rows outside the window are passed over. A value that is missing or not finite is left out and counted; of
readings with the same time, device and sensor the last one counts, in the order of the files' names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from shared.errors import NotFound
from shared.names import Columns
from shared.windows import EPOCH, MINUTE, Window

from .stores import Container
from .tables import NO_TIME, Table, read_table
from .unscorable import Unscorable

MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Frame:
    """Rows of files with the same columns, by device, sensor, time. Device `i` has the rows starts[i]:starts[i+1]."""

    features: tuple[str, ...]
    long: bool
    starts: np.ndarray
    sensor: np.ndarray | None  # codes
    time: np.ndarray  # int64, microseconds
    values: np.ndarray  # (rows, features)
    file: np.ndarray  # which file, by its place in their order


@dataclass(frozen=True, slots=True)
class BadCell:
    """A cell that is neither a number nor missing, or a time that is none."""

    file: str
    sensor: int | None
    column: str
    text: str
    is_feature: bool


@dataclass(slots=True)
class Readings:
    """All readings of a chunk. Built once by `read`; then only asked."""

    devices: Mapping[str, int]
    sensors: dict[str, int] = field(default_factory=dict)
    frames: list[Frame] = field(default_factory=list)
    bad: dict[int, list[BadCell]] = field(default_factory=dict)  # by device
    unreadable: list[str] = field(default_factory=list)  # files, and why
    repeated: int = 0  # rows that a later one with the same columns, time, device and sensor replaced
    missing: int = 0  # long rows without a value

    @property
    def rows(self) -> int:
        """How many rows there are to score."""
        return sum(len(frame.time) for frame in self.frames)


def paths(pattern: str, window: Window) -> list[str]:
    """The folders or files that the window's span touches, and the next one."""
    step = MINUTE if "%M" in pattern else timedelta(hours=1)
    first = Window.containing(window.start, step).start
    touched = list(dict.fromkeys(_render(pattern, first, step, -(-(window.end - first) // step))))
    after = Window.containing(window.end + step - MICROSECOND, step).start
    following = (path for path in _render(pattern, after, step, 24 * 31 + 1) if path not in touched)
    return [*touched, *list(following)[:1]]


def _render(pattern: str, first: datetime, step: timedelta, count: int) -> Iterator[str]:
    return ((first + i * step).strftime(pattern) for i in range(count))


@dataclass(frozen=True, slots=True)
class _Piece:
    """The rows of one file that are this chunk's, unsorted."""

    device: np.ndarray
    sensor: np.ndarray | None
    time: np.ndarray
    values: np.ndarray
    file: int  # its place in the order of the files


def read(
    container: Container, where: Sequence[str], columns: Columns, devices: Sequence[str], window: Window | None
) -> Readings:
    """The readings of *devices* within *window* (all there are when None), from folders and files.

    A file that cannot be read is remembered, with its name and why. Raises Unavailable.
    """
    readings = Readings({device: code for code, device in enumerate(dict.fromkeys(devices))})
    pieces: dict[tuple[tuple[str, ...], bool, bool], list[_Piece]] = {}
    with ThreadPoolExecutor(4) as pool:
        names = _files(container, where)
        contents = pool.map(lambda n: _content(container, n), names)
        for place, (name, content) in enumerate(zip(names, contents, strict=True)):
            try:
                table = read_table(content, columns) if content else None
                piece = _piece(table, name, place, readings, window) if table else None
            except Unscorable as error:
                readings.unreadable.append(f"{name}: {error}")
                continue
            if table and piece:
                pieces.setdefault((table.features, table.long, piece.sensor is not None), []).append(piece)
    for (features, long, _), alike in pieces.items():
        readings.frames.append(_frame(alike, features, long, readings))
    return readings


def _files(container: Container, where: Sequence[str]) -> list[str]:
    """Every file that *where* names: a folder ends in `/`, the whole container is empty.

    Files and folders that begin with `.` or `_` are other writers' marks and logs, as for Spark and pyarrow.
    """
    names: dict[str, None] = {}
    for path in where:
        if path and not path.endswith("/"):
            names[path] = None
            continue
        for name in container.list(path):
            if not any(part.startswith((".", "_")) for part in name[len(path) :].split("/")):
                names[name] = None
    return list(names)


def _content(container: Container, name: str) -> bytes:
    try:
        return container.read(name).data
    except NotFound:
        return b""


def _piece(table: Table, file: str, place: int, readings: Readings, window: Window | None) -> _Piece | None:
    """The rows of a file that are this chunk's; None when there are none. Cells that are no numbers go to `bad`."""
    has_sensor = table.has_sensor
    device = _codes(table, table.columns.device, {**readings.devices})
    ours = device < len(readings.devices)
    if not ours.any():
        return None
    table, device = _only(table, ours), device[ours]
    time = table.times()
    sensor = _codes(table, table.columns.sensor, readings.sensors) if has_sensor else None
    _remember_bad(readings, file, table, table.columns.time, time == NO_TIME, device, sensor)
    inside = time != NO_TIME
    if window:
        inside &= (time >= _micros(window.start)) & (time < _micros(window.end))
    table, device, time = _only(table, inside), device[inside], time[inside]
    sensor = None if sensor is None else sensor[inside]
    values = np.empty((len(time), len(table.features)))
    for i, name in enumerate(table.features):
        values[:, i], bad = table.numbers(name)
        _remember_bad(readings, file, table, name, bad, device, sensor)
    if table.long:
        usable = np.isfinite(values[:, 0])
        readings.missing += int(np.count_nonzero(~usable))
        device, time, values = device[usable], time[usable], values[usable]
        sensor = None if sensor is None else sensor[usable]
    return _Piece(device, sensor, time, values, place)


def _codes(table: Table, name: str, known: dict[str, int]) -> np.ndarray:
    """A column of ids as numbers, the same number for the same id; *known* learns what it does not hold."""
    encoded = table.text(name)
    texts = [*encoded.dictionary.to_pylist(), ""]  # the last is of rows without an id
    codes = np.array([known.setdefault(text, len(known)) for text in texts])
    indices = encoded.indices.fill_null(len(texts) - 1).to_numpy(zero_copy_only=False)
    taken: np.ndarray = codes.take(indices)
    return taken


def _only(table: Table, mask: np.ndarray) -> Table:
    return table if mask.all() else Table(table.columns, table.rows.filter(pa.array(mask)))


def _remember_bad(
    readings: Readings,
    file: str,
    table: Table,
    name: str,
    bad: np.ndarray,
    device: np.ndarray,
    sensor: np.ndarray | None,
) -> None:
    """Keep the first bad cell of each device and sensor in a column."""
    rows = np.flatnonzero(bad)
    of = device if sensor is None else device * (len(readings.sensors) + 1) + sensor
    for row in rows[np.unique(of[rows], return_index=True)[1]]:
        code, text = None if sensor is None else int(sensor[row]), str(table.rows[name][row].as_py())
        cell = BadCell(file, code, name, text, name in table.features)
        readings.bad.setdefault(int(device[row]), []).append(cell)


def _micros(instant: datetime) -> int:
    return (instant - EPOCH) // MICROSECOND


def _frame(pieces: list[_Piece], features: tuple[str, ...], long: bool, readings: Readings) -> Frame:
    """The rows of files with the same columns, sorted, without repetitions."""
    device, time = np.concatenate([p.device for p in pieces]), np.concatenate([p.time for p in pieces])
    values = np.concatenate([p.values for p in pieces])
    file = np.repeat([p.file for p in pieces], [len(p.time) for p in pieces])
    parts = [p.sensor for p in pieces if p.sensor is not None]
    sensor = np.concatenate(parts) if parts else np.zeros(len(time), np.int64)
    order = np.lexsort((time, sensor, device))  # stable: of equal rows the last one stays the last
    device, sensor, time = device[order], sensor[order], time[order]
    last = np.ones(len(time), bool)
    last[:-1] = (device[1:] != device[:-1]) | (sensor[1:] != sensor[:-1]) | (time[1:] != time[:-1])
    readings.repeated += int(np.count_nonzero(~last))
    starts = np.searchsorted(device[last], np.arange(len(readings.devices) + 1))
    kept = order[last]
    return Frame(features, long, starts, sensor[last] if parts else None, time[last], values[kept], file[kept])
