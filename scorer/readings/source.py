"""A window's readings for the devices of a chunk: listed, read, sorted, counted.

The pattern of the folders gives the files: the folders that the window touches and the next one, since writers sort by
arrival. Rows outside the window are ignored. Rows without any value are left out and counted; of readings with the same
time, device, sensor and column the last one counts, in the order of the files' names. A file that cannot be read fails
all models that may need it, also in the next folder: it may hold a late reading.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np

from scorer.errors import Unscorable
from scorer.storage.blob_store import Container
from shared.contract.model_names import Columns
from shared.contract.readings.paths import find_late_paths
from shared.contract.readings.zones import is_utc
from shared.contract.scoring_options import ReadingOptions
from shared.contract.windows import EPOCH, Window

from .device_readings import Readings
from .file_listing import ListRequest, open_files
from .files import DamagedRange, File, ReadRequest, read_tables
from .formats.text_reader import Table
from .frames import FileRows
from .projection import EVERYTHING, Projection
from .rows import SelectedRows
from .small_files import FileGroup
from .time_zones import NO_TIME
from .unmodelled import UnmodelledCounter

MICROSECOND = timedelta(microseconds=1)
INVALID = (
    "objects or events were left out, such as in {}: their Body is neither JSON nor CSV with a header, or their arrays "
    "differ in length or lack a step"
)
COMMAS = "files were read with decimal commas, since all their decimals have one"
COMMENTS = "lines that begin with # were read as comments, as before the header of their file"
EMPTY = "events have no Body, and were left out"
RowsOfKinds = tuple[list[FileRows], list[FileRows]]  # wide, and long


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
    listing_warnings: list[tuple[int, str]] = field(default_factory=list)

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
        self._add_known_columns(readings)
        request = ReadRequest(self.columns, self.policy, device_ids, time_range, projection)
        wide, long = list[FileRows](), list[FileRows]()
        is_joining = is_utc(self.policy.time_zone)  # else rows of a doubled hour depend on their files
        for item, content in read_tables(self.container, self.files, request, is_joining=is_joining):
            if isinstance(item, FileGroup):
                self._add_group(readings, item, content, request, (wide, long))
            elif content is not None:
                self._add_content(readings, item, content, (wide, long))
        self._add_known_columns(readings)  # of footers that were read meanwhile
        if wide:  # beside files of several features, those of one alone are wide too, however the rows were cut
            wide += [rows for rows in long if rows.sensor is None]
            wide.sort(key=lambda rows: rows.file)
            readings.add_layouts(wide)
            long = [rows for rows in long if rows.sensor is not None]
        for rows_of_kind, is_long in ((wide, False), (long, True)):
            if rows_of_kind:
                readings.add_frame(rows_of_kind, is_long)
        return readings

    def _add_known_columns(self, readings: Readings) -> None:
        """Row groups that hold none of the devices are not read, but their columns are known."""
        for file in self.files:
            if file.footer or file.seen:
                features = file.footer.features if file.footer else file.seen[1] if file.seen else ()
                readings.columns |= dict.fromkeys(features)

    def _add_content(
        self, readings: Readings, file: File, content: Table | DamagedRange, rows_of_kinds: RowsOfKinds
    ) -> None:
        """Add what was read of a file."""
        if isinstance(content, DamagedRange):
            readings.add_damage(file, content)
            return
        readings.columns |= dict.fromkeys(_list_features(file, content))
        try:
            selected = readings.select_rows(content, file, _get_time_range(self.window), self.unmodelled)
        except Unscorable as error:
            readings.add_damage(file, DamagedRange(str(error)))
            return
        self._add_selected(readings, file, content, selected, rows_of_kinds)

    def _add_group(
        self,
        readings: Readings,
        group: FileGroup,
        content: Table | DamagedRange | None,
        request: ReadRequest,
        rows_of_kinds: RowsOfKinds,
    ) -> None:
        """Add what was read of files as one; where a cell is bad, one by one, since it matters in which file it is."""
        first = group.files[0]
        if isinstance(content, Table):
            try:
                selected = readings.select_rows(content, first, request.time_range, self.unmodelled)
            except Unscorable:
                selected = None
            if selected and not selected.bad and not selected.numberless:
                if content.rows.num_rows:
                    readings.columns |= dict.fromkeys(_list_features(first, content))
                self._add_selected(readings, first, content, selected, rows_of_kinds)
                return
        for file, table in read_tables(self.container, group.files, request):
            if isinstance(file, File) and table is not None:
                self._add_content(readings, file, table, rows_of_kinds)

    def _add_selected(
        self, readings: Readings, file: File, content: Table, selected: SelectedRows, rows_of_kinds: RowsOfKinds
    ) -> None:
        readings.add_selected(selected, file)
        if selected.file_rows:
            readings.by_index += len(selected.file_rows.time) * (content.columns.time != self.columns.time)
            rows_of_kinds[content.long].append(selected.file_rows)

    def search_unmodelled(self) -> None:
        """Complete the count of devices without a model by what no model needs; after the last read.

        Raises Unavailable.
        """
        if self.unmodelled:
            request = ReadRequest(self.columns, self.policy, (), _get_time_range(self.window), Projection())
            self.unmodelled.search_files(self.container, self.files, self.other_files, request)

    def list_warnings(self) -> list[tuple[int, str]]:
        """Warnings about what was read of the files, whatever the number of reads; as those of `Readings`."""
        remarks = [file.remarks for file in self.files]
        cut = next((file.name for file in self.files if file.remarks.is_cut), "")
        damaged = next((file.name for file in self.files if file.remarks.n_invalid), "")
        counts = [
            (sum(of_file.is_cut for of_file in remarks), f"files end in the middle of a row or array, such as {cut}"),
            (sum(of_file.n_invalid for of_file in remarks), INVALID.format(damaged)),
            (sum(of_file.n_empty for of_file in remarks), EMPTY),
            (sum(of_file.found_commas for of_file in remarks), COMMAS),
            (sum(of_file.found_comments for of_file in remarks), COMMENTS),
        ]
        return [*self.listing_warnings, *((count, text) for count, text in counts if count)]

    def close(self) -> None:
        """Release the files that are kept in memory."""
        self.files.clear()
        self.other_files.clear()


def _list_features(file: File, content: Table) -> tuple[str, ...]:
    """The features of a file, in its order as far as that is known, and those from the names of its folders."""
    return (*(file.footer.features if file.footer else ()), *content.features, *content.unread)


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
    *pattern*; where that has tokens, its files are listed, and *paths* are the folders before the first token. Only
    *devices* may be read of it; None: any. Reading adds to *unmodelled*.
    """
    own = None if devices is None else frozenset(devices)

    def is_wanted(device: str) -> bool:
        return own is None or device in own or bool(unmodelled and unmodelled.find_candidates([device]))

    request = ListRequest(paths, columns, pattern, window, policy.time_zone, own, is_wanted)
    opened = open_files(container, request)
    files, other_files = opened.files, opened.other_files if unmodelled else []
    if window:
        _mark_late_files(files, find_late_paths(pattern, window), window)
    return Source(container, columns, window, policy, files, other_files, unmodelled, opened.warnings)


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
