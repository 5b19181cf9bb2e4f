"""A window's readings for the devices of a chunk: listed, read, sorted, counted.

The pattern of the folders gives the files: the folders that the window touches and the next one, since writers sort by
arrival. Rows outside the window are ignored. Rows without any value are left out and counted; of rows with the same
time, device and sensor the last one counts, in the order of the files' names. A file that
cannot be read fails all models that may need it, also in the next folder: it may hold a late reading.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import numpy as np

from scorer.errors import Unscorable
from scorer.storage.blob_store import Container
from shared.contract.model_names import Columns
from shared.contract.readings.paths import find_late_paths
from shared.contract.scoring_options import BadRows, ReadingOptions
from shared.contract.windows import EPOCH, Window

from .files import DamagedRange, File, ReadRequest, open_files, read_tables
from .frames import FileRows, Frame, assemble_frame
from .projection import EVERYTHING, Projection
from .rows import BadCell, FileOrigin, LateRows, select_rows
from .text_reader import Table
from .time_zones import NO_TIME, DoubledHours
from .unmodelled import UnmodelledCounter

MICROSECOND = timedelta(microseconds=1)
NO_OFFSET = "readings have a time without an offset, and were read as UTC: set READINGS_TIME_ZONE (--time-zone)"
LATE = "rows are of the window before: its run has read them if they came before it, and a reprocess of it does"
UNREAD = "rows are of earlier windows and came too late: no run reads them"
REPEATED = "readings were replaced by a later one of the same time, device and sensor"


@dataclass(slots=True)
class Readings:
    """All readings of some devices. Built by `Source.read_devices`; then only read."""

    devices: Mapping[str, int]  # codes, in the order of the ids
    policy: ReadingOptions = field(default_factory=ReadingOptions)
    sensors: dict[str, int] = field(default_factory=dict)
    frames: list[Frame] = field(default_factory=list)
    bad: dict[int, list[BadCell]] = field(default_factory=dict)  # by device
    unreadable: list[str] = field(default_factory=list)  # files, and why; all models need them
    damaged: dict[int, str] = field(default_factory=dict)  # by device: a file that cannot be read in part, and why
    value_column: str = "value"
    columns: dict[str, None] = field(default_factory=dict)  # the features of all files, of whatever devices
    layouts: tuple[tuple[str, ...], ...] = ()  # of wide files: the features in a file's order, each layout once
    device_layouts: dict[int, tuple[tuple[str, ...], ...]] = field(default_factory=dict)  # where layouts differ
    numberless: dict[str, str] = field(default_factory=dict)  # wide columns without any number, and a file
    repeated: int = 0  # rows that a later one with the same columns, time, device and sensor replaced
    missing: int = 0  # rows without any value
    outside: int = 0  # rows outside the window, in the folders of the window
    late: LateRows = field(default_factory=LateRows)  # those that are of before it, and came when theirs had ended
    unusable: int = 0  # rows with a cell that is neither number nor missing, or without a time
    skipped: int = 0  # those whose time the clocks of the zone skip
    without_offset: int = 0  # rows whose time was read as UTC, since nothing says otherwise
    by_index: int = 0  # rows whose time is in an index that pandas stored without a name
    doubled_hours: DoubledHours = field(default_factory=DoubledHours)

    @property
    def rows(self) -> int:
        """The number of rows to score."""
        return sum(len(frame.time) for frame in self.frames)

    def find_codes(self, devices: Sequence[str]) -> np.ndarray:
        """The code of each device, int64; all of them are among those that were asked for."""
        return np.fromiter(map(self.devices.__getitem__, devices), np.int64, len(devices))

    def find_layouts(self, device: int) -> tuple[tuple[str, ...], ...]:
        """The layouts of the wide files that have rows of a device, also of rows that later ones replaced."""
        return self.device_layouts.get(device, self.layouts)

    def add_layouts(self, file_rows: list[FileRows]) -> None:
        """Record the layouts of wide files, and, where they differ, those of each device."""
        self.layouts = tuple(dict.fromkeys(rows.ordered for rows in file_rows))
        if len(self.layouts) > 1:
            layouts: dict[int, dict[tuple[str, ...], None]] = {}
            for rows in file_rows:
                for device in np.unique(rows.device).tolist():
                    layouts.setdefault(device, {})[rows.ordered] = None
            self.device_layouts = {device: tuple(of_device) for device, of_device in layouts.items()}

    def add_table(
        self, table: Table, file: File, time_range: tuple[int, int], unmodelled: UnmodelledCounter | None
    ) -> FileRows | None:
        """Select the usable rows of a table, and count and record the others. Raises Unscorable."""
        origin = FileOrigin(file.name, file.index, file.late_start)
        selected = select_rows(table, origin, self.devices, self.sensors, self.doubled_hours, time_range, unmodelled)
        for device, cells in selected.bad.items():
            self.bad.setdefault(device, []).extend(cells)
        for name in selected.numberless:
            self.numberless.setdefault(name, file.name)
        self.missing += selected.missing
        self.outside += 0 if file.late else selected.outside
        if len(selected.late) or selected.unread:
            ids = list(self.devices)
            devices = [ids[code] for code in np.unique(selected.late).tolist()]
            self.late.add(len(selected.late), selected.unread, devices)
        self.unusable += selected.unusable
        self.skipped += selected.skipped
        self.without_offset += selected.without_offset
        return selected.file_rows

    def add_frame(self, file_rows: list[FileRows], is_long: bool) -> None:
        """Add the rows of files, wide or long, as one frame: their columns are united by name."""
        if any(rows.sensor is not None for rows in file_rows):  # rows of a file without sensors have none
            without = np.int32(self.sensors.setdefault("", len(self.sensors)))
            file_rows = [
                rows if rows.sensor is not None else replace(rows, sensor=np.full(len(rows.time), without))
                for rows in file_rows
            ]
        features = tuple(dict.fromkeys(name for rows in file_rows for name in rows.features))
        frame, repeated = assemble_frame(file_rows, features, is_long, len(self.devices), len(self.sensors))
        self.frames.append(frame)
        self.repeated += repeated

    def add_damage(self, file: File, damaged_range: DamagedRange) -> None:
        """Record the devices whose readings may be in a range that cannot be read."""
        late = " (the folder after the window's, which may hold late readings)" * file.late
        message = f"{file.name}: {damaged_range.problem}{late}"
        if damaged_range.low is None or damaged_range.high is None:
            self.unreadable.append(message)
            return
        for device, code in self.devices.items():
            if damaged_range.low <= device <= damaged_range.high:
                self.damaged.setdefault(code, message)

    def select_device(self, device: str) -> Readings:
        """The readings of one device only: small, cheap to send. Its counts are 0, so that nothing counts twice."""
        code = self.devices[device]
        frames = []
        for frame in self.frames:
            rows = slice(int(frame.starts[code]), int(frame.starts[code + 1]))
            sensor = None if frame.sensor is None else frame.sensor[rows]
            starts = np.array([0, rows.stop - rows.start])
            frames.append(
                replace(
                    frame, starts=starts, sensor=sensor, time=frame.time[rows],
                    values=np.ascontiguousarray(frame.values[:, rows]), file=frame.file[rows],
                )
            )  # fmt: skip
        return Readings(
            {device: 0},
            self.policy,
            self._select_sensors(code, frames),
            frames,
            {0: self.bad[code]} if code in self.bad else {},
            self.unreadable[:1],
            {0: self.damaged[code]} if code in self.damaged else {},
            value_column=self.value_column,
            columns=self.columns,
            layouts=self.find_layouts(code),
        )

    def _select_sensors(self, code: int, frames: Sequence[Frame]) -> dict[str, int]:
        used = {int(s) for frame in frames if frame.sensor is not None for s in np.unique(frame.sensor)}
        used |= {cell.sensor for cell in self.bad.get(code, []) if cell.sensor is not None}
        return {name: sensor for name, sensor in self.sensors.items() if sensor in used}

    def list_warnings(self) -> list[tuple[int, str]]:
        """Warnings for the report: each a count, and the rest of its sentence."""
        skips = self.policy.bad_rows is BadRows.SKIP
        column, file = next(iter(self.numberless.items()), ("", ""))
        problem = next(iter(self.damaged.values()), "")
        counts = [
            (self.missing, "readings had no usable value and were left out"),
            (
                self.unusable * skips,
                "rows had a cell that is not a number, or not a time, and were left out where it is needed",
            ),
            (self.repeated, REPEATED),
            (self.outside, "rows were outside the window and were ignored"),
            (self.late.rows, LATE),
            (self.late.unread_rows, UNREAD),
            (self.without_offset, NO_OFFSET),
            *self._list_clock_warnings(),
            (self.by_index, "readings have their time in an index without a name, as pandas wrote it"),
            (len(self.numberless), f"columns hold no numbers, such as {column!r} in {file}"),
            (len(self.damaged), f"devices may have readings in a part of a file that cannot be read: {problem}"),
        ]
        return [(count, text) for count, text in counts if count]

    def _list_clock_warnings(self) -> list[tuple[int, str]]:
        clocks, doubled = f"the clocks of {self.policy.time_zone}", self.doubled_hours
        return [
            (self.skipped, f"rows have a time that {clocks} skip, and no usable time"),
            (doubled.unknown, f"readings have a time that {clocks} show twice, and were read as the first of the two"),
            (doubled.unordered, f"readings have a time that {clocks} show twice, and are not in the order of time"),
        ]


@dataclass(slots=True)
class Source:
    """A window's files, which are read for some devices at a time."""

    container: Container
    columns: Columns
    window: Window | None
    policy: ReadingOptions
    files: list[File]
    other_files: list[File] = field(default_factory=list)  # in folders of devices that are not read
    unmodelled: UnmodelledCounter | None = None

    @property
    def divisible(self) -> bool:
        """Whether reading some devices costs about their share: Parquet files of small row groups, sorted by device.

        They are sorted where the statistics of their row groups show it. One row group of each file is kept from one
        read to the next, so these must be a small share of all. A file in the folder of a device is read for it alone.
        """
        footers = [file.footer for file in self.files if file.size and self.columns.device not in file.keys]
        sorted_footers = [footer for footer in footers if footer and footer.by_device]
        largest, rows = sum(f.largest for f in sorted_footers), sum(f.rows for f in sorted_footers)
        return len(sorted_footers) == len(footers) and 4 * largest <= rows

    def estimate_memory(self, projection: Projection = EVERYTHING) -> int:
        """Bytes in memory that reading what is needed of all files takes, about."""
        return sum(file.estimate_memory(projection) for file in self.files)

    def read_devices(self, devices: Sequence[str], projection: Projection = EVERYTHING) -> Readings:
        """The readings of *devices* that are needed. A file that cannot be read is recorded, with the reason.

        Raises Unavailable.
        """
        device_ids = sorted(set(devices))
        readings = Readings({device: code for code, device in enumerate(device_ids)}, self.policy)
        readings.value_column = self.columns.value
        time_range = _get_time_range(self.window)
        for file in self.files:  # row groups that hold none of the devices are not read, but their columns are known
            if file.footer:
                readings.columns |= dict.fromkeys(file.footer.features)
        request = ReadRequest(self.columns, self.policy, device_ids, time_range, projection)
        wide, long = list[FileRows](), list[FileRows]()
        for file, content in read_tables(self.container, self.files, request):
            if isinstance(content, DamagedRange):
                readings.add_damage(file, content)
                continue
            readings.columns |= dict.fromkeys((*content.features, *content.unread))
            try:
                rows = readings.add_table(content, file, time_range, self.unmodelled)
            except Unscorable as error:
                readings.add_damage(file, DamagedRange(str(error)))
                continue
            if rows:
                readings.by_index += len(rows.time) * (content.columns.time != self.columns.time)
                (long if content.long else wide).append(rows)
        if wide:  # beside files of several features, those of one alone are wide too, however the rows were cut
            wide += [rows for rows in long if rows.sensor is None]
            wide.sort(key=lambda rows: rows.file)
            readings.add_layouts(wide)
            long = [rows for rows in long if rows.sensor is not None]
        for rows_of_kind, is_long in ((wide, False), (long, True)):
            if rows_of_kind:
                readings.add_frame(rows_of_kind, is_long)
        return readings

    def search_unmodelled(self) -> None:
        """Complete the count of devices without a model by what no model needs; after the last read.

        Raises Unavailable.
        """
        if self.unmodelled:
            request = ReadRequest(self.columns, self.policy, (), _get_time_range(self.window), Projection())
            self.unmodelled.search_files(self.container, self.files, self.other_files, request)

    def close(self) -> None:
        """Release the files that are kept in memory."""
        self.files.clear()
        self.other_files.clear()


def open_readings(
    container: Container,
    paths: Sequence[str],
    columns: Columns,
    window: Window | None,
    policy: ReadingOptions,
    pattern: str = "",
    devices: Collection[str] | None = None,
    unmodelled: UnmodelledCounter | None = None,
) -> Source:
    """The readings of the folders and files *paths*, within *window* (all readings when None). Raises Unavailable.

    Of several paths the last is read for late readings only, as `list_paths` returns them for READINGS_PATH, the
    *pattern*. Only *devices* may be read of it; None: any. Reading adds to *unmodelled*.
    """
    files, other_files = open_files(container, paths, columns, pattern, devices)
    if window:
        _mark_late_files(files, find_late_paths(pattern, window), window)
    return Source(container, columns, window, policy, files, other_files if unmodelled else [], unmodelled)


def _mark_late_files(files: Sequence[File], late_paths: Mapping[str, bool], window: Window) -> None:
    """Note which rows of before the window are late in each file, and which of them the run before reads."""
    start, _ = _get_time_range(window)
    for path, is_reread in late_paths.items():
        for file in files:
            if file.name == path or (path.endswith("/") and file.name.startswith(path)):
                file.late_start = start - is_reread * (window.length // MICROSECOND)


def read_readings(
    container: Container,
    paths: Sequence[str],
    columns: Columns,
    devices: Sequence[str],
    window: Window | None,
    policy: ReadingOptions | None = None,
) -> Readings:
    """All readings of *devices* at once. Raises Unavailable."""
    return open_readings(container, paths, columns, window, policy or ReadingOptions()).read_devices(devices)


def _get_time_range(window: Window | None) -> tuple[int, int]:
    """The first microsecond of the window, and the first after it."""
    if window is None:
        return NO_TIME + 1, np.iinfo(np.int64).max
    return (window.start - EPOCH) // MICROSECOND, (window.end - EPOCH) // MICROSECOND
