"""Rows of files with the same columns -> one frame, sorted and each instant once. Knows codes, not names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_DIGIT = 16  # bits that NumPy sorts at once, by counting


@dataclass(frozen=True, slots=True)
class Frame:
    """Rows of files with the same columns, by device, sensor, time. Device `i` has the rows starts[i]:starts[i+1]."""

    features: tuple[str, ...]
    long: bool
    starts: np.ndarray  # int64
    sensor: np.ndarray | None  # int32 codes
    time: np.ndarray  # int64, microseconds
    values: np.ndarray  # (features, rows), C-contiguous: one feature's values lie side by side
    file: np.ndarray  # int32: which file, by its place in their order


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of one file, in its order."""

    device: np.ndarray  # int32 codes
    sensor: np.ndarray | None  # int32 codes
    time: np.ndarray  # int64, microseconds
    values: tuple[np.ndarray, ...]  # float64, one for each feature
    file: int  # its place in the order of the files


def assemble(
    pieces: Sequence[Piece], features: tuple[str, ...], long: bool, devices: int, sensors: int
) -> tuple[Frame, int]:
    """A frame of all *pieces*, and how many rows a later one of the same device, sensor and time has replaced.

    Rows that are sorted already are copied once, and not sorted again.
    """
    device, time = _joined([p.device for p in pieces]), _joined([p.time for p in pieces])
    parts = [p.sensor for p in pieces if p.sensor is not None]
    sensor = _joined(parts) if parts else None
    kept = _order(_keys(device, sensor, devices, sensors), time)
    repeated = 0 if kept is None else len(time) - len(kept)
    values = np.empty((len(features), len(time) - repeated))
    for i, row in enumerate(values):
        columns = [p.values[i] for p in pieces]
        if kept is None:
            np.concatenate(columns, out=row)
        else:
            np.take(_joined(columns), kept, out=row, mode="clip")  # "raise" would buffer; they are in bounds
    places = np.array([p.file for p in pieces], np.int32)
    file = np.broadcast_to(places[:1], time.shape)  # takes no memory
    if (places != places[0]).any():
        file = np.repeat(places, [len(p.time) for p in pieces])
    if kept is not None:
        device, time, file = device[kept], time[kept], file[kept]
        sensor = None if sensor is None else sensor[kept]
    starts = np.searchsorted(device, np.arange(devices + 1, dtype=device.dtype))
    return Frame(features, long, starts, sensor, time, values, file), repeated


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _keys(device: np.ndarray, sensor: np.ndarray | None, devices: int, sensors: int) -> np.ndarray:
    """One number for device and sensor, in their order."""
    if sensor is None:
        return device
    width = np.dtype(np.int32 if devices * sensors < np.iinfo(np.int32).max else np.int64)
    keys: np.ndarray = device.astype(width, copy=False) * width.type(sensors) + sensor
    return keys


def _order(key: np.ndarray, time: np.ndarray) -> np.ndarray | None:
    """The rows to keep, by key and time; of equal ones the last. None where all are, as they stand."""
    if ((key[1:] > key[:-1]) | ((key[1:] == key[:-1]) & (time[1:] > time[:-1]))).all():
        return None
    order = _stable(key)
    sorted_key, sorted_time = key[order], time[order]
    same = sorted_key[1:] == sorted_key[:-1]
    if (same & (sorted_time[1:] < sorted_time[:-1])).any():  # within a key they are not by time yet
        order = _stable((time - time.min()).view(np.uint64))  # taken modulo 2**64 no difference is too large
        order = order[_stable(key[order])]
        sorted_time = time[order]
    last = ~(same & (sorted_time[1:] == sorted_time[:-1]))
    return order if last.all() else order[np.append(last, True)]


def _stable(numbers: np.ndarray) -> np.ndarray:
    """The order of numbers from 0 on, equal ones as they stand: digit by digit, which takes linear time."""
    highest = int(numbers.max())
    order = np.argsort(numbers.astype(np.uint16), kind="stable")
    for shift in range(_DIGIT, highest.bit_length(), _DIGIT):
        digits = (numbers >> numbers.dtype.type(shift)).astype(np.uint16)
        order = order[np.argsort(digits[order], kind="stable")]
    return order
