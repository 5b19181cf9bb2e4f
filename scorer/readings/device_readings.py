"""The readings of some devices, in frames, and what was left out of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from shared.contract.scoring_options import BadRows, ReadingOptions

from .files import DamagedRange, File
from .formats.text_reader import Table
from .frames import FileRows, Frame, assemble_frame, select_frame_devices
from .rows import BadCell, FileOrigin, LateRows, SelectedRows, select_rows
from .time_zones import DoubledHours
from .unmodelled import UnmodelledCounter

NO_OFFSET = "readings have a time without an offset, and were read as UTC: set READINGS_TIME_ZONE (--time-zone)"
LATE = "rows are of the window before: its run has read them if they came before it, and a reprocess of it does"
UNREAD = "rows are of earlier windows and came too late: no run reads them"
IMPLAUSIBLE = (
    "readings have a time before 2000 or after 2100, as all of their file, read as {} since 1970: if they count "
    "another unit, set TIME_FORMAT (--time-format) to s, ms, us or ns"
)
UNITED = "readings were made one row with others of the same time, device and sensor, which lack their columns"
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
    columns: dict[str, None] = field(default_factory=dict)  # the features of files that were opened
    layouts: tuple[tuple[str, ...], ...] = ()  # of wide files: the features in a file's order, each layout once
    device_layouts: dict[int, tuple[tuple[str, ...], ...]] = field(default_factory=dict)  # where layouts differ
    numberless: dict[str, str] = field(default_factory=dict)  # wide columns without any number, and a file
    repeated: int = 0  # rows of which a value was replaced by a later one of the same time, device and sensor
    united: int = 0  # rows that were made one with others of the same time, device and sensor
    missing: int = 0  # rows without any value
    outside: int = 0  # rows outside the window, in the folders of the window
    late: LateRows = field(default_factory=LateRows)  # those that are of before it, and came when theirs had ended
    unusable: int = 0  # rows with a cell that is neither number nor missing, or without a time
    skipped: int = 0  # those whose time the clocks of the zone skip
    without_offset: int = 0  # rows whose time was read as UTC, since nothing says otherwise
    implausible: int = 0  # rows of files whose times all seem to count another unit
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

    def select_rows(
        self, table: Table, file: File, time_range: tuple[int, int], unmodelled: UnmodelledCounter | None
    ) -> SelectedRows:
        """The usable rows of a table, and the others. Raises Unscorable."""
        origin = FileOrigin(file.name, file.index, file.late_start)
        return select_rows(table, origin, self.devices, self.sensors, self.doubled_hours, time_range, unmodelled)

    def add_selected(self, selected: SelectedRows, file: File) -> None:
        """Count and record the rows of a table that cannot be used."""
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
        self.implausible += selected.implausible

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
        self.repeated += repeated.replaced
        self.united += repeated.united

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

    def count_rows(self, device: str) -> int:
        """The number of rows of a device."""
        code = self.devices[device]
        return sum(int(frame.starts[code + 1] - frame.starts[code]) for frame in self.frames)

    def list_times(self, device: str) -> list[np.ndarray]:
        """The times of a device's rows in each frame that has any."""
        code = self.devices[device]
        times = [frame.time[frame.starts[code] : frame.starts[code + 1]] for frame in self.frames]
        return [time for time in times if len(time)]

    def select_device(self, device: str) -> Readings:
        """The readings of one device only: see `select_devices`."""
        return self.select_devices((device,))

    def select_devices(self, devices: Sequence[str]) -> Readings:
        """The readings of these different devices only, to be sent. Its counts are 0, so that nothing counts twice."""
        codes = self.find_codes(devices).tolist()
        frames = [select_frame_devices(frame, codes) for frame in self.frames]
        layouts = {self.find_layouts(code): None for code in codes}
        device_layouts = {new: self.find_layouts(code) for new, code in enumerate(codes)} if len(layouts) > 1 else {}
        return Readings(
            {device: new for new, device in enumerate(devices)},
            self.policy,
            self._select_sensors(codes, frames),
            frames,
            {new: self.bad[code] for new, code in enumerate(codes) if code in self.bad},
            self.unreadable[:1],
            {new: self.damaged[code] for new, code in enumerate(codes) if code in self.damaged},
            value_column=self.value_column,
            columns=self.columns,
            layouts=next(iter(layouts)) if len(layouts) == 1 else self.layouts,
            device_layouts=device_layouts,
        )

    def _select_sensors(self, codes: Sequence[int], frames: Sequence[Frame]) -> dict[str, int]:
        if not self.sensors:
            return {}
        used = {int(s) for frame in frames if frame.sensor is not None for s in np.unique(frame.sensor)}
        used |= {cell.sensor for code in codes for cell in self.bad.get(code, []) if cell.sensor is not None}
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
            (self.united, UNITED),
            (self.outside, "rows were outside the window and were ignored"),
            (self.late.rows, LATE),
            (self.late.unread_rows, UNREAD),
            (self.implausible, IMPLAUSIBLE.format(self.policy.time.value)),
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
