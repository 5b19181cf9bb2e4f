"""A window's readings for the devices of a chunk: listed, read, sorted, counted.

The pattern of the folders gives the files: the folders that the window touches and the next one, since writers sort by
arrival. Rows outside the window are ignored. A value that is missing or not finite is left out and counted; of
readings with the same time, device and sensor the last one counts, in the order of the files' names. A file that
cannot be read fails all models that may need it, also in the next folder: it may hold a late reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np

from scorer.errors import Unscorable
from scorer.storage.blob_store import Container
from shared.contract.model_names import Columns
from shared.contract.scoring_options import BadRows, ReadingOptions
from shared.contract.windows import EPOCH, MINUTE, Window

from .files import DamagedRange, File, open_files, read_tables
from .frames import FileRows, Frame, assemble_frame
from .rows import BadCell, FileOrigin, select_rows
from .text_reader import Table
from .timestamps import NO_TIME

MICROSECOND = timedelta(microseconds=1)
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
    numberless: dict[str, str] = field(default_factory=dict)  # wide columns without any number, and a file
    repeated: int = 0  # rows that a later one with the same columns, time, device and sensor replaced
    missing: int = 0  # long rows without a value
    outside: int = 0  # rows outside the window, in the folders of the window
    unusable: int = 0  # rows with a cell that is neither number nor missing, or without a time

    @property
    def rows(self) -> int:
        """The number of rows to score."""
        return sum(len(frame.time) for frame in self.frames)

    def add_table(self, table: Table, file: File, time_range: tuple[int, int]) -> FileRows | None:
        """Select the usable rows of a table, and count and record the others. Raises Unscorable."""
        selected = select_rows(table, FileOrigin(file.name, file.index), self.devices, self.sensors, time_range)
        for device, cells in selected.bad.items():
            self.bad.setdefault(device, []).extend(cells)
        for name in selected.numberless:
            self.numberless.setdefault(name, file.name)
        self.missing += selected.missing
        self.outside += 0 if file.late else selected.outside
        self.unusable += selected.unusable
        return selected.file_rows

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
            (self.unusable * skips, "rows had a cell that is not a number, or not a time, and were left out"),
            (self.repeated, REPEATED),
            (self.outside, "rows were outside the window and were ignored"),
            (len(self.numberless), f"columns hold no numbers, such as {column!r} in {file}"),
            (len(self.damaged), f"devices may have readings in a part of a file that cannot be read: {problem}"),
        ]
        return [(count, text) for count, text in counts if count]


@dataclass(slots=True)
class Source:
    """A window's files, which are read for some devices at a time."""

    container: Container
    columns: Columns
    window: Window | None
    policy: ReadingOptions
    files: list[File]

    @property
    def divisible(self) -> bool:
        """Whether reading some devices costs about their share: Parquet files of small row groups, sorted by device.

        They are sorted where the statistics of their row groups show it. One row group of each file is kept from one
        read to the next, so these must be a small share of all.
        """
        footers = [file.footer for file in self.files if file.size]
        sorted_footers = [footer for footer in footers if footer and footer.by_device]
        largest, rows = sum(f.largest for f in sorted_footers), sum(f.rows for f in sorted_footers)
        return len(sorted_footers) == len(footers) and 4 * largest <= rows

    @property
    def size(self) -> int:
        """Bytes in memory that reading all files takes, estimated."""
        return sum(file.size for file in self.files)

    def read_devices(self, devices: Sequence[str]) -> Readings:
        """The readings of *devices*. A file that cannot be read is recorded, with the reason. Raises Unavailable."""
        device_ids = sorted(set(devices))
        readings = Readings({device: code for code, device in enumerate(device_ids)}, self.policy)
        time_range = _get_time_range(self.window)
        file_rows: dict[tuple[tuple[str, ...], bool, bool], list[FileRows]] = {}
        for file, content in read_tables(self.container, self.files, self.columns, self.policy, device_ids, time_range):
            if isinstance(content, DamagedRange):
                readings.add_damage(file, content)
                continue
            try:
                rows = readings.add_table(content, file, time_range)
            except Unscorable as error:
                readings.add_damage(file, DamagedRange(str(error)))
                continue
            if rows:
                file_rows.setdefault((content.features, content.long, content.has_sensor), []).append(rows)
        for features, long, has_sensor in list(file_rows):
            rows_of_columns = file_rows.pop((features, long, has_sensor))
            frame, repeated = assemble_frame(rows_of_columns, features, long, len(device_ids), len(readings.sensors))
            readings.frames.append(frame)
            readings.repeated += repeated
        return readings

    def close(self) -> None:
        """Release the files that are kept in memory."""
        self.files.clear()


def open_readings(
    container: Container, paths: Sequence[str], columns: Columns, window: Window | None, policy: ReadingOptions
) -> Source:
    """The readings of the folders and files *paths*, within *window* (all readings when None). Raises Unavailable.

    Of several paths the last is read for late readings only, as `list_paths` returns them.
    """
    return Source(container, columns, window, policy, open_files(container, paths, columns))


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


def list_paths(pattern: str, window: Window) -> list[str]:
    """The folders or files that the window touches, and the next one."""
    step = MINUTE if "%M" in pattern else timedelta(hours=1)
    first = Window.containing(window.start, step).start
    touched = list(dict.fromkeys(_format_paths(pattern, first, step, -(-(window.end - first) // step))))
    after = Window.containing(window.end + step - MICROSECOND, step).start
    following = (path for path in _format_paths(pattern, after, step, 24 * 31 + 1) if path not in touched)
    return [*touched, *list(following)[:1]]


def _format_paths(pattern: str, first: datetime, step: timedelta, count: int) -> Iterator[str]:
    return ((first + i * step).strftime(pattern) for i in range(count))


def _get_time_range(window: Window | None) -> tuple[int, int]:
    """The first microsecond of the window, and the first after it."""
    if window is None:
        return NO_TIME + 1, np.iinfo(np.int64).max
    return (window.start - EPOCH) // MICROSECOND, (window.end - EPOCH) // MICROSECOND
