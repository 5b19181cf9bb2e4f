"""Readings on their way to Parquet: kept on disk by hour, since a file may be larger than memory.

Of each series it also keeps a sum over its times, by which series that share all times are known without a look back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .series import Samples

HOUR = 3_600_000_000  # microseconds
RECORD = np.dtype([("code", "<i4"), ("time", "<i8"), ("value", "<f8")])
MEMORY = 2**26  # bytes that wait to be written
SPLIT = 16  # parts of a range that is too large


@dataclass(slots=True)
class Spool:
    """All readings, in a folder of temporary files."""

    folder: Path
    rows: int = 0
    files: dict[int, set[int]] = field(default_factory=dict)  # by hour, the indices of the files that it is from
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # readings of each series
    sums: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))  # of mixed times, of each series
    waiting: dict[int, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))
    size: int = 0  # bytes that wait

    def add(self, samples: Samples, file: int) -> None:
        """Keep readings of a file."""
        if not len(samples.time):
            return
        records = np.empty(len(samples.time), RECORD)
        records["code"], records["time"], records["value"] = samples.codes, samples.time, samples.values
        self._add_sums(records)
        hours = records["time"] // HOUR
        if (hours[1:] < hours[:-1]).any():
            order = np.argsort(hours, kind="stable")
            records, hours = records[order], hours[order]
        starts = np.flatnonzero(np.diff(hours, prepend=hours[0] - 1))
        for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(hours)], strict=True):
            hour = int(hours[start])
            self.waiting[hour].append(records[start:end])
            self.files.setdefault(hour, set()).add(file)
        self.rows += len(records)
        self.size += records.nbytes
        if self.size > MEMORY:
            self.flush()

    def _add_sums(self, records: np.ndarray) -> None:
        n_codes = int(records["code"].max()) + 1
        if n_codes > len(self.counts):
            missing = max(n_codes, 2 * len(self.counts)) - len(self.counts)
            self.counts = np.concatenate([self.counts, np.zeros(missing, np.int64)])
            self.sums = np.concatenate([self.sums, np.zeros(missing, np.uint64)])
        self.counts[:n_codes] += np.bincount(records["code"], minlength=n_codes)
        np.add.at(self.sums, records["code"], _mix_times(records["time"]))

    def flush(self) -> None:
        """Write what waits."""
        for hour, arrays in sorted(self.waiting.items()):
            with (self.folder / f"{hour}.bin").open("ab") as file:
                for records in arrays:
                    file.write(records.tobytes())
        self.waiting.clear()
        self.size = 0

    def share_times(self, devices: Mapping[int, int]) -> bool:
        """Whether all series of each device have the same times. *devices*: that of each series that has readings."""
        marks: dict[int, tuple[int, int]] = {}
        for code, device in devices.items():
            mark = (int(self.counts[code]), int(self.sums[code]))
            if marks.setdefault(device, mark) != mark:
                return False
        return True

    def read_ranges(self, hour: int, ranks: np.ndarray, limit: int) -> Iterator[np.ndarray]:
        """The readings of an hour in the order of rank and time, in ranges of about *limit* at most.

        *ranks*: of each series; those of equal rank and time stay together, in the order in which they were added.
        """
        path = self.folder / f"{hour}.bin"
        n_keys = (int(ranks.max()) + 1) * HOUR
        yield from _read_range(path, (0, n_keys), hour, ranks, limit)


def _read_range(path: Path, bounds: tuple[int, int], hour: int, ranks: np.ndarray, limit: int) -> Iterator[np.ndarray]:
    """The records of a file sorted; a file that is too large is split by the range of its keys."""
    low, high = bounds
    if path.stat().st_size // RECORD.itemsize <= limit or high - low <= 1:
        records = np.fromfile(path, RECORD)
        yield records[np.argsort(_make_keys(records, hour, ranks), kind="stable")]
        return
    step = -(-(high - low) // SPLIT)
    with path.open("rb") as file:
        while len(records := np.fromfile(file, RECORD, limit)):
            parts = (_make_keys(records, hour, ranks) - low) // step
            for part in np.unique(parts).tolist():
                with path.with_name(f"{path.name}.{part}").open("ab") as target:
                    target.write(records[parts == part].tobytes())
    for part in range(SPLIT):
        smaller = path.with_name(f"{path.name}.{part}")
        if smaller.exists():
            start = low + part * step
            yield from _read_range(smaller, (start, min(start + step, high)), hour, ranks, limit)
            smaller.unlink()


def _make_keys(records: np.ndarray, hour: int, ranks: np.ndarray) -> np.ndarray:
    """Rank and time as one number: below 2**63 for two billion ranks."""
    keys: np.ndarray = ranks[records["code"]] * HOUR + (records["time"] - hour * HOUR)
    return keys


def _mix_times(time: np.ndarray) -> np.ndarray:
    """Numbers by whose sum sets of times differ: the end of splitmix64, https://prng.di.unimi.it/splitmix64.c ."""
    mixed = time.astype(np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
