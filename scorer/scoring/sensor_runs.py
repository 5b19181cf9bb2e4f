"""Long rows of several sensors -> a column for each feature, for many models of whole devices at once. Pure.

A frame is sorted by device, sensor and time, so the readings of a sensor lie side by side: its run. Where the runs of
all sensors that a model expects have the same times, they are its columns as they are. Other models are not for here:
`features` pivots their rows one model at a time, and says what lacks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from scorer.predictions.table import expand_ranges
from scorer.readings.frames import Frame

_MODELS = 256  # whose rows are joined at once: they stay in a processor's cache


@dataclass(frozen=True, slots=True)
class SensorRows:
    """The rows of the models whose runs agree: model after model, each by its times."""

    is_regular: np.ndarray  # a mask of all models
    n_rows: np.ndarray  # int64, one for each regular model
    time: np.ndarray  # int64
    values: np.ndarray  # (features of the widest model, rows); finite where a model has the feature, else 0


@dataclass(frozen=True, slots=True)
class _Runs:
    """The runs of some neighbouring devices: key, first row and number of rows; all int64."""

    key: np.ndarray  # device * n_codes + sensor, ascending
    first: np.ndarray
    n_rows: np.ndarray
    n_codes: int

    def find(self, device: np.ndarray, sensor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first row of the run of each device and sensor, and how many it has: 0 where there is none."""
        key = device * self.n_codes + sensor
        index = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        is_found = (self.key[index] == key) & (sensor >= 0)
        return self.first[index], np.where(is_found, self.n_rows[index], 0)


def gather_sensors(
    frame: Frame, sensors: Mapping[str, int], device: np.ndarray, names: Sequence[tuple[str, ...]], name_of: np.ndarray
) -> SensorRows | None:
    """The rows of models of whole devices; None where no model is regular.

    Model *i* is of the device with the code device[i], int64, and expects the sensors names[name_of[i]], at least one.
    """
    widths = np.array([len(of_key) for of_key in names], np.int64)
    codes = np.full((len(names), max(widths, default=0)), -1, np.int64)
    for key, of_key in enumerate(names):
        codes[key, : len(of_key)] = [sensors.get(name, -1) for name in of_key]
    runs = _find_runs(frame, device, len(sensors)) if len(device) else None
    if runs is None:
        return None
    width = widths[name_of]
    first = np.zeros((codes.shape[1], len(device)), np.int64)
    first[0], n_rows = runs.find(device, codes[name_of, 0])
    is_regular = n_rows > 0
    for column in range(1, len(first)):
        first[column], n_found = runs.find(device, codes[name_of, column])
        is_regular &= (n_found == n_rows) | (width <= column)
    if not is_regular.any():
        return None
    joined = _join_columns(frame, first[:, is_regular], n_rows[is_regular], width[is_regular])
    is_regular[is_regular] = agrees = joined.is_regular
    if agrees.all():
        return replace(joined, is_regular=is_regular)
    rows = np.repeat(agrees, joined.n_rows)
    if not rows.any():
        return None
    return SensorRows(
        is_regular, joined.n_rows[agrees], joined.time[rows], np.ascontiguousarray(joined.values[:, rows])
    )


def _join_columns(frame: Frame, first: np.ndarray, n_rows: np.ndarray, width: np.ndarray) -> SensorRows:
    """The rows of models whose runs are of one length; those are regular of which times agree and values are finite."""
    ends = np.cumsum(n_rows)
    time, values = np.empty(ends[-1], np.int64), np.zeros((width.max(), ends[-1]))
    is_regular = np.ones(len(n_rows), bool)
    for begin in range(0, len(n_rows), _MODELS):
        end = min(begin + _MODELS, len(n_rows))
        counts, widths = n_rows[begin:end], width[begin:end]
        rows = slice(ends[begin] - counts[0], ends[end - 1])
        time[rows] = frame.time.take(expand_ranges(first[0, begin:end], counts))
        for column in range(widths.max()):
            models = np.flatnonzero(widths > column)
            in_block = slice(None) if len(models) == len(counts) else np.repeat(widths > column, counts)
            positions = expand_ranges(first[column, begin:end][models], counts[models])
            own = frame.values[0].take(positions)
            values[column, rows][in_block] = own
            agrees = (frame.time.take(positions) == time[rows][in_block]) & np.isfinite(own)
            if not agrees.all():
                starts = np.cumsum(counts[models]) - counts[models]
                is_regular[begin + models] &= np.logical_and.reduceat(agrees, starts)
    return SensorRows(is_regular, n_rows, time, values)


def _find_runs(frame: Frame, device: np.ndarray, n_codes: int) -> _Runs | None:
    """The runs of the devices from the least to the greatest of *device*; None where they have no rows."""
    assert frame.sensor is not None
    low, high = int(device.min()), int(device.max()) + 1
    begin, end = int(frame.starts[low]), int(frame.starts[high])
    if begin == end:
        return None
    sensor = frame.sensor[begin:end]
    is_first = np.empty(len(sensor), bool)
    is_first[0] = True
    np.not_equal(sensor[1:], sensor[:-1], out=is_first[1:])
    starts = frame.starts[low:high] - begin
    is_first[starts[starts < len(sensor)]] = True
    firsts = np.flatnonzero(is_first)
    of_device = np.searchsorted(starts, firsts, "right") - 1 + low  # the last of devices that begin there has the rows
    return _Runs(of_device * n_codes + sensor[firsts], firsts + begin, np.diff(firsts, append=len(sensor)), n_codes)
