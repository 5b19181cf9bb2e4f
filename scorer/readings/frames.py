"""Rows of files -> one frame, sorted, each time once. Columns are united by name; a file that lacks one has gaps.

A row is a reading for each column that has a value. Of the readings of a time, device, sensor and column the last one
counts: so it matters neither how readings are cut into rows and files, nor which other columns are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scorer.kernels.rows import find_kernels

_GAP = np.float64(np.nan)  # where a file lacks a feature
_DIGIT = 16  # bits that NumPy sorts at once, by counting


@dataclass(frozen=True, slots=True)
class Frame:
    """Rows of files, by device, sensor, time. Device `i` has the rows starts[i]:starts[i+1]."""

    features: tuple[str, ...]
    long: bool
    starts: np.ndarray  # int64
    sensor: np.ndarray | None  # int32 codes
    time: np.ndarray  # int64, microseconds
    values: np.ndarray  # (features, rows), C-contiguous: one feature's values lie side by side
    file: np.ndarray  # int32: the index of the file


def select_frame_devices(frame: Frame, codes: Sequence[int]) -> Frame:
    """The rows of these devices, in this order, as a frame of its own: device `i` is that of `codes[i]`."""
    counts = np.diff(frame.starts)[codes] if len(codes) > 1 else frame.starts[codes[0] + 1] - frame.starts[codes[0]]
    starts = np.append(0, np.cumsum(counts))
    if codes[-1] - codes[0] == len(codes) - 1 and sorted(codes) == list(codes):  # neighbours, as models mostly are
        rows: slice | np.ndarray = slice(int(frame.starts[codes[0]]), int(frame.starts[codes[-1] + 1]))
    else:
        rows = np.concatenate([np.arange(frame.starts[code], frame.starts[code + 1]) for code in codes])
    return Frame(
        frame.features,
        frame.long,
        starts,
        None if frame.sensor is None else frame.sensor[rows],
        frame.time[rows],
        np.ascontiguousarray(frame.values[:, rows]),
        frame.file[rows],
    )


@dataclass(frozen=True, slots=True)
class FileRows:
    """Rows of one file, in the file's order."""

    device: np.ndarray  # int32 codes
    sensor: np.ndarray | None  # int32 codes
    time: np.ndarray  # int64, microseconds
    features: tuple[str, ...]
    values: tuple[np.ndarray, ...]  # float64, one for each feature
    file: int  # its index in the order of the files
    n_keys: int = 0  # so many of the last features are from the names of folders

    @property
    def ordered(self) -> tuple[str, ...]:
        """The features of the file itself, which a model without names takes in this order."""
        return self.features[: len(self.features) - self.n_keys]


@dataclass(frozen=True, slots=True)
class Repeated:
    """Rows that are in the frame as a part of a later one of the same device, sensor and time."""

    replaced: int = 0  # of which a later one replaces a value
    united: int = 0  # of which none does: the others lack their columns


def assemble_frame(
    file_rows: Sequence[FileRows], features: tuple[str, ...], long: bool, devices: int, sensors: int
) -> tuple[Frame, Repeated]:
    """A frame of all *file_rows*, and how many rows are a part of a later one.

    Rows that are sorted already are copied once, and not sorted again.
    """
    device, time = _join_arrays([p.device for p in file_rows]), _join_arrays([p.time for p in file_rows])
    sensor_columns = [p.sensor for p in file_rows if p.sensor is not None]
    assert len(sensor_columns) in (0, len(file_rows))
    sensor = _join_arrays(sensor_columns) if sensor_columns else None
    order, groups = _find_order(_combine_keys(device, sensor, devices, sensors), time)
    values = np.empty((len(features), len(time) if order is None else len(order)))
    by_name = [dict(zip(p.features, p.values, strict=True)) for p in file_rows]
    is_replaced = np.zeros(len(groups.rows), bool)
    for name, row in zip(features, values, strict=True):
        columns = [
            of_file[name] if name in of_file else np.broadcast_to(_GAP, p.time.shape)
            for of_file, p in zip(by_name, file_rows, strict=True)
        ]
        if order is None:
            np.concatenate(columns, out=row)
        else:
            column = _join_arrays(columns)
            np.take(column, order, out=row, mode="clip")  # "raise" would buffer; they are in bounds
            if len(groups.rows):
                row[groups.targets], replaced = groups.take_last(column)
                is_replaced |= replaced
    file_indices = np.array([p.file for p in file_rows], np.int32)
    file = np.broadcast_to(file_indices[:1], time.shape)  # takes no memory
    if (file_indices != file_indices[0]).any():
        file = np.repeat(file_indices, [len(p.time) for p in file_rows])
    if order is not None:
        device, time, file = device[order], time[order], file[order]
        sensor = None if sensor is None else sensor[order]
    starts = np.searchsorted(device, np.arange(devices + 1, dtype=device.dtype))
    frame = Frame(features, long, starts, sensor, time, values, file)
    n_replaced = int(np.count_nonzero(is_replaced))
    return frame, Repeated(n_replaced, len(groups.rows) - len(groups.starts) - n_replaced)


def _join_arrays(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _combine_keys(device: np.ndarray, sensor: np.ndarray | None, devices: int, sensors: int) -> np.ndarray:
    """One sort key for device and sensor."""
    if sensor is None:
        return device
    dtype = np.dtype(np.int32 if devices * sensors < np.iinfo(np.int32).max else np.int64)
    keys: np.ndarray = device.astype(dtype, copy=False) * dtype.type(sensors) + sensor
    return keys


@dataclass(frozen=True, slots=True)
class _Groups:
    """Groups of several rows of the same key and time."""

    rows: np.ndarray  # group by group, each in the order of the files
    starts: np.ndarray  # where each group begins in *rows*
    targets: np.ndarray  # of each group the row of the frame

    def take_last(self, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The last value of each group, NaN where it has none; and which *rows* have a value that is not the last."""
        cells, numbers = column[self.rows], np.arange(len(self.rows))
        has_value = ~np.isnan(cells)
        last = np.maximum.reduceat(np.where(has_value, numbers, -1), self.starts)
        sizes = np.diff(self.starts, append=len(numbers))
        return np.where(last < 0, _GAP, cells[last]), has_value & (numbers != np.repeat(last, sizes))


def _find_order(keys: np.ndarray, time: np.ndarray) -> tuple[np.ndarray | None, _Groups]:
    """The rows to keep, by key and time; of equal rows the last. None where all rows are kept in their order.

    And the rows that are equal.
    """
    none = _Groups(*np.zeros((3, 0), np.int64))
    if ((keys[1:] > keys[:-1]) | ((keys[1:] == keys[:-1]) & (time[1:] > time[:-1]))).all():
        return None, none
    order = _order_by_kernel(keys, time)
    if order is not None:
        return order, none
    order = _sort_stable(keys)
    sorted_key, sorted_time = keys[order], time[order]
    same = sorted_key[1:] == sorted_key[:-1]
    if (same & (sorted_time[1:] < sorted_time[:-1])).any():  # within a key they are not by time yet
        order = _sort_stable((time - time.min()).view(np.uint64))  # modulo 2**64 no difference is too large
        order = order[_sort_stable(keys[order])]
        sorted_time = time[order]
    last = ~(same & (sorted_time[1:] == sorted_time[:-1]))
    if last.all():
        return order, none
    is_first, is_last = np.append(True, last), np.append(last, True)
    is_repeated = ~(is_first & is_last)
    groups = _Groups(order[is_repeated], np.flatnonzero(is_first[is_repeated]), np.flatnonzero(is_repeated[is_last]))
    return order[is_last], groups


def _order_by_kernel(keys: np.ndarray, time: np.ndarray) -> np.ndarray | None:
    """The order of rows that are by time within each key, each time once; None for others, and without the kernel."""
    n_keys, kernels = int(keys.max()) + 1, find_kernels()
    if kernels is None or keys.dtype != np.int32 or n_keys > len(keys):
        return None
    order = np.empty(len(keys), np.int64)
    scratch = np.zeros(n_keys + 1, np.int64), np.empty(n_keys, np.int64)
    columns = np.ascontiguousarray(keys), np.ascontiguousarray(time)
    return order if kernels.order_by_key(*columns, *scratch, order) else None


def _sort_stable(numbers: np.ndarray) -> np.ndarray:
    """The stable order of numbers from 0 on: digit by digit, which takes linear time."""
    highest = int(numbers.max())
    order = np.argsort(numbers.astype(np.uint16), kind="stable")
    for shift in range(_DIGIT, highest.bit_length(), _DIGIT):
        digits = (numbers >> numbers.dtype.type(shift)).astype(np.uint16)
        order = order[np.argsort(digits[order], kind="stable")]
    return order
