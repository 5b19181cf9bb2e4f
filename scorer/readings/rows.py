"""The rows of a table that belong to a chunk, as arrays, and the bad cells of others. Opens no file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .cells import BROKEN, make_unreadable, read_ids, read_numbers
from .frames import FileRows
from .text_reader import Table
from .timestamps import NO_TIME, read_instants

RowSelection = slice | np.ndarray  # a slice for neighbouring rows, else a mask


@dataclass(frozen=True, slots=True)
class BadCell:
    """A cell that is neither a number nor missing, or an invalid time."""

    file: str
    sensor: int | None  # None: any sensor
    column: str
    text: str
    is_feature: bool


@dataclass(slots=True)
class SelectedRows:
    """The usable rows, or None; the others are counted, with an example of each kind for the messages."""

    file_rows: FileRows | None = None
    bad: dict[int, list[BadCell]] = field(default_factory=dict)  # by device
    numberless: list[str] = field(default_factory=list)  # wide columns with cells, but without any number
    missing: int = 0  # long rows without a value
    outside: int = 0  # rows outside the time range
    unusable: int = 0  # rows with a cell that is neither number nor missing, or without a time


@dataclass(frozen=True, slots=True)
class FileOrigin:
    """The file of a table."""

    name: str
    index: int  # in the order of the files


def select_rows(
    table: Table, origin: FileOrigin, devices: Mapping[str, int], sensors: dict[str, int], time_range: tuple[int, int]
) -> SelectedRows:
    """The rows of *devices* from time_range[0] up to but not at time_range[1]; new sensors are added to *sensors*.

    Raises Unscorable where the table as a whole cannot be trusted.
    """
    try:
        return _select_rows(table, origin, devices, sensors, time_range)
    except BROKEN as error:
        raise make_unreadable(str(error)) from error


def _select_rows(
    table: Table, origin: FileOrigin, devices: Mapping[str, int], sensors: dict[str, int], time_range: tuple[int, int]
) -> SelectedRows:
    selected, columns = SelectedRows(), table.columns
    names, indices = read_ids(table.rows[columns.device], columns.device)
    device = np.array([devices.get(name, -1) for name in names], np.int32).take(indices)
    own_rows = slice(None) if len(device) and device.min() >= 0 else _find_rows(device >= 0)
    if own_rows is None:
        return selected
    sensor = None
    if table.has_sensor:
        names, indices = read_ids(table.rows[columns.sensor], columns.sensor)
        used = names if (indices == len(names) - 1).any() else names[:-1]  # the last is "", for rows without a sensor
        codes = [sensors.setdefault(name, len(sensors)) for name in used]
        sensor = np.array(codes, np.int32).take(indices)
    time = read_instants(table.rows[columns.time], columns.time, table.time_format)
    cells = _Cells(table, origin, device, sensor, len(sensors), selected)
    start, end = time_range  # NO_TIME is before any start
    rows: RowSelection | None = own_rows
    if time[own_rows].min() < start or time[own_rows].max() >= end:
        no_time = (time == NO_TIME) & (device >= 0)
        if no_time.any():
            cells.add_bad_cells(columns.time, no_time)
            selected.unusable += int(np.count_nonzero(no_time))
        inside = (device >= 0) & (time >= start) & (time < end)
        selected.outside = int(np.count_nonzero((device >= 0) & ~no_time & ~inside))
        rows = _find_rows(inside)
    if rows is not None:
        _read_values(cells, time, rows, origin.index)
    return selected


@dataclass(frozen=True, slots=True)
class _Cells:
    """A table with the device and the sensor of each row."""

    table: Table
    origin: FileOrigin
    device: np.ndarray
    sensor: np.ndarray | None
    sensors: int
    selected: SelectedRows

    def add_bad_cells(self, column: str, bad: np.ndarray) -> None:
        """Keep the first bad cell of each device and sensor in a column."""
        rows = np.flatnonzero(bad)
        keys = self.device[rows].astype(np.int64)
        if self.sensor is not None:
            keys = keys * self.sensors + self.sensor[rows]
        for row in rows[np.unique(keys, return_index=True)[1]]:
            sensor = None if self.sensor is None else int(self.sensor[row])
            self._add_cell(column, int(row), sensor, [int(self.device[row])])

    def add_bad_column(self, column: str, bad: np.ndarray) -> None:
        """The same for a column without any number: one cell stands for all devices and sensors."""
        rows = np.flatnonzero(bad)
        self._add_cell(column, int(rows[0]), None, np.unique(self.device[rows]).tolist())

    def _add_cell(self, column: str, row: int, sensor: int | None, devices: list[int]) -> None:
        text = str(self.table.rows[column][row].as_py())
        cell = BadCell(self.origin.name, sensor, column, text, column in self.table.features)
        for device in devices:
            self.selected.bad.setdefault(device, []).append(cell)


def _read_values(cells: _Cells, time: np.ndarray, rows: RowSelection, file_index: int) -> None:
    """Set `selected.file_rows`: the usable numbers of the rows."""
    table, selected = cells.table, cells.selected
    columns, bad_rows = [], np.zeros(0, bool)
    for name in table.features:
        values, bad = read_numbers(table.rows[name])
        if bad is not None:
            bad = _restrict_mask(bad, rows)
        if bad is not None and bad.any():
            if table.long or np.isfinite(values[rows]).any():
                cells.add_bad_cells(name, bad)
                bad_rows = bad_rows | bad if len(bad_rows) else bad
            else:
                cells.add_bad_column(name, bad)
                selected.numberless.append(name)
        columns.append(values[rows])
    selected.unusable += int(np.count_nonzero(bad_rows))
    device, sensor, time = cells.device[rows], None if cells.sensor is None else cells.sensor[rows], time[rows]
    if table.long:
        usable = np.isfinite(columns[0])
        if not usable.all():
            selected.missing = int(np.count_nonzero(~usable)) - int(np.count_nonzero(bad_rows))
            device, time, columns = device[usable], time[usable], [columns[0][usable]]
            sensor = None if sensor is None else sensor[usable]
    if len(time):
        selected.file_rows = FileRows(device, sensor, time, tuple(columns), file_index)


def _restrict_mask(mask: np.ndarray, rows: RowSelection) -> np.ndarray:
    """The *mask*, False outside *rows*; still one value for each row of the table."""
    restricted = np.zeros(len(mask), bool)
    restricted[rows] = mask[rows]
    return restricted


def _find_rows(mask: np.ndarray) -> RowSelection | None:
    """The rows of a mask: a slice where they are neighbours, which needs no copy; None where there are none."""
    first = int(mask.argmax()) if len(mask) else 0
    if not len(mask) or not mask[first]:
        return None
    end = len(mask) - int(mask[::-1].argmax())
    return slice(first, end) if mask[first:end].all() else mask
