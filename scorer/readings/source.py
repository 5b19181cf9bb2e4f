"""A window's readings for the devices of a chunk: found, read, sorted, counted.

Files are found by the pattern of their folders: those that the window touches and the next one, since writers sort by
arrival. Rows outside the window are passed over. A value that is missing or not finite is left out and counted; of
readings with the same time, device and sensor the last one counts, in the order of the files' names. A file that
cannot be read fails all who could have needed it, also one in the next folder: it may hold a late reading.
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

from .files import Damaged, File, open_files, tables
from .frames import Frame, Piece, assemble
from .rows import BadCell, Origin, take
from .text_reader import Table
from .timestamps import NO_TIME

MICROSECOND = timedelta(microseconds=1)
REPEATED = "readings were replaced by a later one of the same time, device and sensor"


@dataclass(slots=True)
class Readings:
    """All readings of some devices. Built once by `Source.read`; then only asked."""

    devices: Mapping[str, int]  # codes, in the order of the ids
    policy: ReadingOptions = field(default_factory=ReadingOptions)
    sensors: dict[str, int] = field(default_factory=dict)
    frames: list[Frame] = field(default_factory=list)
    bad: dict[int, list[BadCell]] = field(default_factory=dict)  # by device
    unreadable: list[str] = field(default_factory=list)  # files, and why; all models need them
    damaged: dict[int, str] = field(
        default_factory=dict
    )  # by device: the file with a part that cannot be read, and why
    numberless: dict[str, str] = field(default_factory=dict)  # wide columns without any number, and a file
    repeated: int = 0  # rows that a later one with the same columns, time, device and sensor replaced
    missing: int = 0  # long rows without a value
    outside: int = 0  # rows outside the window, in the folders of the window
    unusable: int = 0  # rows with a cell that is neither number nor missing, or without a time

    @property
    def rows(self) -> int:
        """How many rows there are to score."""
        return sum(len(frame.time) for frame in self.frames)

    def add(self, table: Table, file: File, span: tuple[int, int]) -> Piece | None:
        """Take the rows of a table and remember what was wrong with others. Raises Unscorable."""
        taken = take(table, Origin(file.name, file.place), self.devices, self.sensors, span)
        for device, cells in taken.bad.items():
            self.bad.setdefault(device, []).extend(cells)
        for name in taken.numberless:
            self.numberless.setdefault(name, file.name)
        self.missing += taken.missing
        self.outside += 0 if file.late else taken.outside
        self.unusable += taken.unusable
        return taken.piece

    def lose(self, file: File, part: Damaged) -> None:
        """Remember whose readings may be in what cannot be read."""
        late = " (the folder after the window's, which may hold late readings)" * file.late
        message = f"{file.name}: {part.why}{late}"
        if part.low is None or part.high is None:
            self.unreadable.append(message)
            return
        for device, code in self.devices.items():
            if part.low <= device <= part.high:
                self.damaged.setdefault(code, message)

    def of(self, device: str) -> Readings:
        """Just that device's readings: small, cheap to send. They count nothing, so that nothing counts twice."""
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
            self._sensors_of(code, frames),
            frames,
            {0: self.bad[code]} if code in self.bad else {},
            self.unreadable[:1],
            {0: self.damaged[code]} if code in self.damaged else {},
        )

    def _sensors_of(self, code: int, frames: Sequence[Frame]) -> dict[str, int]:
        used = {int(s) for frame in frames if frame.sensor is not None for s in np.unique(frame.sensor)}
        used |= {cell.sensor for cell in self.bad.get(code, []) if cell.sensor is not None}
        return {name: sensor for name, sensor in self.sensors.items() if sensor in used}

    def remarks(self) -> list[tuple[int, str]]:
        """What a person should hear although nothing failed by it: how many, and a sentence that goes on from there."""
        skips = self.policy.bad_rows is BadRows.SKIP
        column, file = next(iter(self.numberless.items()), ("", ""))
        why = next(iter(self.damaged.values()), "")
        said = [
            (self.missing, "readings had no usable value and were left out"),
            (self.unusable * skips, "rows had a cell that is no number, or no time, and were left out"),
            (self.repeated, REPEATED),
            (self.outside, "rows lay outside the window and were ignored"),
            (len(self.numberless), f"columns hold no numbers, such as {column!r} in {file}"),
            (len(self.damaged), f"devices may have readings in a part of a file that cannot be read: {why}"),
        ]
        return [(count, text) for count, text in said if count]


@dataclass(slots=True)
class Source:
    """A window's files, ready to be read for some devices after others."""

    container: Container
    columns: Columns
    window: Window | None
    policy: ReadingOptions
    files: list[File]

    @property
    def divisible(self) -> bool:
        """Whether reading some devices costs about their share: files of Parquet, cut finely, sorted by device.

        They are sorted where the statistics of their row groups show it. One row group a file is kept from one read
        to the next, so these must be a small part of all.
        """
        footers = [file.footer for file in self.files if file.size]
        known = [footer for footer in footers if footer and footer.by_device]
        return len(known) == len(footers) and 4 * sum(f.largest for f in known) <= sum(f.rows for f in known)

    @property
    def size(self) -> int:
        """Bytes in memory that reading all takes, estimated."""
        return sum(file.size for file in self.files)

    def read(self, devices: Sequence[str]) -> Readings:
        """The readings of *devices*. A file that cannot be read is remembered, with why. Raises Unavailable."""
        expected = sorted(set(devices))
        found = Readings({device: code for code, device in enumerate(expected)}, self.policy)
        span = _span(self.window)
        pieces: dict[tuple[tuple[str, ...], bool, bool], list[Piece]] = {}
        for file, part in tables(self.container, self.files, self.columns, self.policy, expected, span):
            if isinstance(part, Damaged):
                found.lose(file, part)
                continue
            try:
                piece = found.add(part, file, span)
            except Unscorable as error:
                found.lose(file, Damaged(str(error)))
                continue
            if piece:
                pieces.setdefault((part.features, part.long, part.has_sensor), []).append(piece)
        for features, long, has_sensor in list(pieces):
            alike = pieces.pop((features, long, has_sensor))
            frame, repeated = assemble(alike, features, long, len(expected), len(found.sensors))
            found.frames.append(frame)
            found.repeated += repeated
        return found

    def close(self) -> None:
        """Let go of what is kept in memory."""
        self.files.clear()


def open_readings(
    container: Container, where: Sequence[str], columns: Columns, window: Window | None, policy: ReadingOptions
) -> Source:
    """What lies in the folders and files *where*, within *window* (all there is when None). Raises Unavailable.

    Of several paths the last one is read for late readings only, as `paths` has them.
    """
    return Source(container, columns, window, policy, open_files(container, where, columns))


def read(
    container: Container,
    where: Sequence[str],
    columns: Columns,
    devices: Sequence[str],
    window: Window | None,
    policy: ReadingOptions | None = None,
) -> Readings:
    """All readings of *devices* at once. Raises Unavailable."""
    return open_readings(container, where, columns, window, policy or ReadingOptions()).read(devices)


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


def _span(window: Window | None) -> tuple[int, int]:
    """From which microsecond on, and up to but not at which."""
    if window is None:
        return NO_TIME + 1, np.iinfo(np.int64).max
    return (window.start - EPOCH) // MICROSECOND, (window.end - EPOCH) // MICROSECOND
