"""The rows of a table that belong to a chunk, as arrays, and the bad cells of others. Opens no file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from shared.contract.domain import Late
from shared.contract.report import LATE_DEVICES
from shared.contract.scoring_options import TimeFormat
from shared.contract.text import clip_text

from .cells import BROKEN, make_unreadable, read_ids, read_numbers
from .formats.text_reader import Table
from .frames import FileRows
from .time_zones import NO_TIME, DoubledHours
from .timestamps import Instants, describe_time, read_instants
from .unmodelled import UnmodelledCounter

_YEAR_2000, _YEAR_2100 = 946_684_800 * 10**6, 4_102_444_800 * 10**6  # microseconds since 1970
RowSelection = slice | np.ndarray  # a slice for neighbouring rows, else a mask


@dataclass(frozen=True, slots=True)
class BadCell:
    """A cell that is neither a number nor missing, or an invalid time."""

    file: str
    sensor: int | None  # None: any sensor
    column: str
    text: str
    is_feature: bool
    expected: str  # for a message


@dataclass(slots=True)
class LateRows:
    """Rows of before the window in its own folders; a device is counted once."""

    rows: int = 0  # that the run of the window before reads too, if they came before it
    unread_rows: int = 0  # that no run reads
    devices: set[str] = field(default_factory=set)  # of the former

    def add(self, rows: int, unread_rows: int, devices: Iterable[str]) -> None:
        """Add rows that have not been counted."""
        self.rows += rows
        self.unread_rows += unread_rows
        self.devices.update(devices)

    def merge(self, more: LateRows) -> None:
        """Add what was counted of other rows."""
        self.add(more.rows, more.unread_rows, more.devices)

    def summarize(self) -> Late:
        """For a report."""
        examples = sorted(self.devices)[:LATE_DEVICES]
        return Late(self.rows, len(self.devices), tuple(map(clip_text, examples)), self.unread_rows)


@dataclass(slots=True)
class SelectedRows:
    """The usable rows, or None; the others are counted, with an example of each kind for the messages."""

    file_rows: FileRows | None = None
    bad: dict[int, list[BadCell]] = field(default_factory=dict)  # by device
    numberless: list[str] = field(default_factory=list)  # wide columns with cells, but without any number
    missing: int = 0  # rows without any value
    outside: int = 0  # rows outside the time range, but for the late ones
    late: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))  # the device of each row of `LateRows.rows`
    unread: int = 0  # of `LateRows.unread_rows`
    unusable: int = 0  # rows with a cell that is neither number nor missing, or without a time
    skipped: int = 0  # those whose time the clocks of the zone skip
    without_offset: int = 0  # usable rows whose time was read as UTC, since nothing says otherwise
    implausible: int = 0  # rows of a table whose times are numbers, and all are before 2000 or after 2100

    def count_outside(self, device: np.ndarray, time: np.ndarray, start: int, late_start: int | None) -> None:
        """Count rows outside the time range, which begins at *start*; *late_start* is that of their file."""
        if late_start is not None:
            is_late = time < start
            is_reread = is_late & (time >= late_start)
            self.late, self.unread = device[is_reread], int(np.count_nonzero(is_late & ~is_reread))
            time = time[~is_late]
        self.outside = len(time)


@dataclass(frozen=True, slots=True)
class FileOrigin:
    """The file of a table."""

    name: str
    index: int  # in the order of the files
    late_start: int | None = None  # rows of before the time range are late; None: they are not


def select_rows(
    table: Table,
    origin: FileOrigin,
    devices: Mapping[str, int],
    sensors: dict[str, int],
    doubled_hours: DoubledHours,
    time_range: tuple[int, int],
    unmodelled: UnmodelledCounter | None = None,
) -> SelectedRows:
    """The rows of *devices* from time_range[0] up to but not at time_range[1]; new sensors are added to *sensors*.

    The tables of a window come in their order, with the same *sensors* and *doubled_hours*. Devices without a model are
    added to *unmodelled*. Raises Unscorable where the table as a whole cannot be trusted.
    """
    try:
        return _select_rows(table, origin, devices, sensors, doubled_hours, time_range, unmodelled)
    except BROKEN as error:
        raise make_unreadable(str(error)) from error


def _select_rows(
    table: Table,
    origin: FileOrigin,
    devices: Mapping[str, int],
    sensors: dict[str, int],
    doubled_hours: DoubledHours,
    time_range: tuple[int, int],
    unmodelled: UnmodelledCounter | None,
) -> SelectedRows:
    selected, columns = SelectedRows(), table.columns
    ids, id_indices = read_ids(table.rows[columns.device], columns.device)
    device = np.array([devices.get(name, -1) for name in ids], np.int32).take(id_indices)
    own_rows = slice(None) if len(device) and device.min() >= 0 else _find_rows(device >= 0)
    if own_rows is None:
        if unmodelled:
            unmodelled.add_table(table, origin.name, ids, id_indices, time_range)
        return selected
    sensor = _read_sensors(table, sensors) if table.has_sensor else None
    instants = read_instants(table.rows[columns.time], columns.time, table.time_format, table.time_zone)
    time = instants.micros
    if unmodelled:
        unmodelled.add_table(table, origin.name, ids, id_indices, time_range, time)
    if instants.change is not None:
        nameless = sensors.get("", -1)
        keys = device, None if sensor is None else np.where(sensor == nameless, -1, sensor)
        doubled_hours.move_second(time, instants.change, keys, table.time_zone, time_range)
    cells = _Cells(table, origin, device, sensor, len(sensors), instants, selected)
    start, end = time_range  # NO_TIME is before any start
    selected.implausible = _count_implausible(table, time, own_rows)
    rows: RowSelection | None = own_rows
    if time[own_rows].min() < start or time[own_rows].max() >= end:
        no_time = (time == NO_TIME) & (device >= 0)
        if no_time.any():
            cells.add_bad_cells(columns.time, no_time)
            selected.unusable += int(np.count_nonzero(no_time))
            if instants.is_skipped is not None:
                selected.skipped = int(np.count_nonzero(no_time & instants.is_skipped))
        inside = (device >= 0) & (time >= start) & (time < end)
        outside = (device >= 0) & ~no_time & ~inside
        if instants.change is not None:  # the other pass of an hour that is shown twice is read on purpose
            outside &= instants.change == 0
        selected.count_outside(device[outside], time[outside], start, origin.late_start)
        rows = _find_rows(inside)
    if rows is not None:
        _read_values(cells, time, rows, origin.index)
        selected.without_offset = 0 if table.time_zone else instants.count_local(rows)
    return selected


def _count_implausible(table: Table, time: np.ndarray, rows: RowSelection) -> int:
    """The number of times since 1970, if all are before 2000 or after 2100: they may count another unit."""
    if table.time_format is TimeFormat.ISO:
        return 0
    time = time[rows]
    time = time[time != NO_TIME]
    return len(time) if len(time) and (time.max() < _YEAR_2000 or time.min() > _YEAR_2100) else 0


def _read_sensors(table: Table, sensors: dict[str, int]) -> np.ndarray:
    """The code of each row's sensor; new ones are added to *sensors*."""
    names, indices = read_ids(table.rows[table.columns.sensor], table.columns.sensor)
    used = names if (indices == len(names) - 1).any() else names[:-1]  # the last is "", for rows without a sensor
    codes = [sensors.setdefault(name, len(sensors)) for name in used]
    return np.array(codes, np.int32).take(indices)


@dataclass(frozen=True, slots=True)
class _Cells:
    """A table with the device and the sensor of each row."""

    table: Table
    origin: FileOrigin
    device: np.ndarray
    sensor: np.ndarray | None
    sensors: int
    instants: Instants
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
        table, is_skipped = self.table, self.instants.is_skipped
        text, expected = str(table.rows[column][row].as_py()), "a number"
        if column == table.columns.time:
            skips = is_skipped is not None and bool(is_skipped[row])
            expected = describe_time(table.time_format, table.time_zone, text, is_skipped=skips)
        cell = BadCell(self.origin.name, sensor, column, text, column in table.features, expected)
        for device in devices:
            self.selected.bad.setdefault(device, []).append(cell)


def _read_values(cells: _Cells, time: np.ndarray, rows: RowSelection, file_index: int) -> None:
    """Set `selected.file_rows`: the usable numbers of the rows."""
    table, selected = cells.table, cells.selected
    columns, bad_rows = [], np.zeros(0, bool)
    for name in table.features:
        values, bad = read_numbers(table.rows[name], decimal_comma=table.decimal_comma)
        if table.missing_values:
            values = np.where(np.isin(values, table.missing_values), np.nan, values)
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
    empty = _find_empty(table, columns, len(time))
    if empty.any():  # however rows are cut into files, one without any value is none and replaces none
        selected.missing = int(np.count_nonzero(empty & ~bad_rows[rows] if len(bad_rows) else empty))
        device, time, columns = device[~empty], time[~empty], [values[~empty] for values in columns]
        sensor = None if sensor is None else sensor[~empty]
    if len(time):
        selected.file_rows = FileRows(device, sensor, time, table.features, tuple(columns), file_index, len(table.keys))


def _find_empty(table: Table, columns: list[np.ndarray], n_rows: int) -> np.ndarray:
    """The rows that have no value in any column of their file; *columns* are the values of the table's features.

    None where a feature of the file was not read, since a row may have its value there: it is a row all the same,
    whatever other models need. What the names of folders say is no value.
    """
    own_columns = columns[: len(columns) - len(table.keys)]
    if table.unread or not own_columns:
        return np.zeros(n_rows, bool)
    empty: np.ndarray = np.isnan(own_columns[0])
    for values in own_columns[1:]:
        if not empty.any():
            break
        empty &= np.isnan(values)
    return empty


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
