"""The rows of a table that are a chunk's, as arrays, and what is wrong with some of them. Opens nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .cells import BROKEN, ids, numbers, unreadable
from .frames import Piece
from .text_reader import Table
from .timestamps import NO_TIME, instants

Rows = slice | np.ndarray  # a mask, where it is not all of them or neighbours


@dataclass(frozen=True, slots=True)
class BadCell:
    """A cell that is neither a number nor missing, or a time that is none."""

    file: str
    sensor: int | None  # None where it is any sensor's
    column: str
    text: str
    is_feature: bool


@dataclass(slots=True)
class Taken:
    """The usable rows, None where there are none, and the others: counted, and of each kind one for the messages."""

    piece: Piece | None = None
    bad: dict[int, list[BadCell]] = field(default_factory=dict)  # by device
    numberless: list[str] = field(default_factory=list)  # wide columns that have cells, and no number in any
    missing: int = 0  # long rows without a value
    outside: int = 0  # rows outside the span
    unusable: int = 0  # rows with a cell that is neither number nor missing, or without a time


@dataclass(frozen=True, slots=True)
class Origin:
    """The file that a table is of."""

    name: str
    place: int  # in the order of the files


def take(
    table: Table, origin: Origin, devices: Mapping[str, int], sensors: dict[str, int], span: tuple[int, int]
) -> Taken:
    """The rows of *devices* from span[0] up to but not at span[1]; *sensors* learns what it does not hold.

    Raises Unscorable where nothing of the table can be trusted.
    """
    try:
        return _take(table, origin, devices, sensors, span)
    except BROKEN as error:
        raise unreadable(str(error)) from error


def _take(
    table: Table, origin: Origin, devices: Mapping[str, int], sensors: dict[str, int], span: tuple[int, int]
) -> Taken:
    taken, columns = Taken(), table.columns
    names, places = ids(table.rows[columns.device], columns.device)
    device = np.array([devices.get(name, -1) for name in names], np.int32).take(places)
    ours = slice(None) if len(device) and device.min() >= 0 else _rows(device >= 0)
    if ours is None:
        return taken
    sensor = None
    if table.has_sensor:
        names, places = ids(table.rows[columns.sensor], columns.sensor)
        used = names if (places == len(names) - 1).any() else names[:-1]  # "" is none where each row has one
        codes = [sensors.setdefault(name, len(sensors)) for name in used]
        sensor = np.array(codes, np.int32).take(places)
    time = instants(table.rows[columns.time], columns.time, table.time_format)
    cells = _Cells(table, origin, device, sensor, len(sensors), taken)
    start, end = span  # NO_TIME lies before any
    rows: Rows | None = ours
    if time[ours].min() < start or time[ours].max() >= end:
        no_time = (time == NO_TIME) & (device >= 0)
        if no_time.any():
            cells.remember(columns.time, no_time)
            taken.unusable += int(np.count_nonzero(no_time))
        inside = (device >= 0) & (time >= start) & (time < end)
        taken.outside = int(np.count_nonzero((device >= 0) & ~no_time & ~inside))
        rows = _rows(inside)
    if rows is not None:
        _values(cells, time, rows, origin.place)
    return taken


@dataclass(frozen=True, slots=True)
class _Cells:
    """A table whose rows are known by device and sensor."""

    table: Table
    origin: Origin
    device: np.ndarray
    sensor: np.ndarray | None
    sensors: int
    taken: Taken

    def remember(self, column: str, bad: np.ndarray) -> None:
        """Keep the first bad cell of each device and sensor in a column."""
        rows = np.flatnonzero(bad)
        of = self.device[rows].astype(np.int64)
        if self.sensor is not None:
            of = of * self.sensors + self.sensor[rows]
        for row in rows[np.unique(of, return_index=True)[1]]:
            sensor = None if self.sensor is None else int(self.sensor[row])
            self._add(column, int(row), sensor, [int(self.device[row])])

    def remember_column(self, column: str, bad: np.ndarray) -> None:
        """The same where a column has no number at all: one cell stands for all devices and sensors."""
        rows = np.flatnonzero(bad)
        self._add(column, int(rows[0]), None, np.unique(self.device[rows]).tolist())

    def _add(self, column: str, row: int, sensor: int | None, devices: list[int]) -> None:
        text = str(self.table.rows[column][row].as_py())
        cell = BadCell(self.origin.name, sensor, column, text, column in self.table.features)
        for device in devices:
            self.taken.bad.setdefault(device, []).append(cell)


def _values(cells: _Cells, time: np.ndarray, rows: Rows, place: int) -> None:
    """Fill in the piece: the numbers of the rows, those of them that can be used."""
    table, taken = cells.table, cells.taken
    columns, spoilt = [], np.zeros(0, bool)
    for name in table.features:
        values, bad = numbers(table.rows[name])
        if bad is not None:
            bad = _within(bad, rows)
        if bad is not None and bad.any():
            if table.long or np.isfinite(values[rows]).any():
                cells.remember(name, bad)
                spoilt = spoilt | bad if len(spoilt) else bad
            else:
                cells.remember_column(name, bad)
                taken.numberless.append(name)
        columns.append(values[rows])
    taken.unusable += int(np.count_nonzero(spoilt))
    device, sensor, time = cells.device[rows], None if cells.sensor is None else cells.sensor[rows], time[rows]
    if table.long:
        usable = np.isfinite(columns[0])
        if not usable.all():
            taken.missing = int(np.count_nonzero(~usable)) - int(np.count_nonzero(spoilt))
            device, time, columns = device[usable], time[usable], [columns[0][usable]]
            sensor = None if sensor is None else sensor[usable]
    if len(time):
        taken.piece = Piece(device, sensor, time, tuple(columns), place)


def _within(mask: np.ndarray, rows: Rows) -> np.ndarray:
    """What of *mask* is among *rows*, still by the table's rows."""
    found = np.zeros(len(mask), bool)
    found[rows] = mask[rows]
    return found


def _rows(mask: np.ndarray) -> Rows | None:
    """The rows of a mask: a slice where they are neighbours, which costs no copies; None where there are none."""
    first = int(mask.argmax()) if len(mask) else 0
    if not len(mask) or not mask[first]:
        return None
    end = len(mask) - int(mask[::-1].argmax())
    return slice(first, end) if mask[first:end].all() else mask
