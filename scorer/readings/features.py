"""One model's readings: the rows of its device and sensor, as columns in the order that the model expects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scorer.errors import Unscorable
from shared.contract.domain import Model, Reason
from shared.contract.scoring_options import BadRows

from .frames import Frame
from .source import Readings
from .timestamps import describe_format


@dataclass(frozen=True, slots=True)
class FrameRows:
    """One model's rows in one frame."""

    frame: Frame
    rows: slice


@dataclass(frozen=True, slots=True)
class ModelReadings:
    """The rows to score, oldest first, one for each time.

    *left_out* more lacked one of the features; *repeated* more were replaced by a later file of other columns.
    """

    time: np.ndarray  # int64, microseconds since 1970
    values: np.ndarray  # (rows, features), finite
    left_out: int = 0
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class _FrameValues:
    """One model's values in one frame: each time once, NaN for missing values."""

    time: np.ndarray
    values: np.ndarray
    file: np.ndarray
    columns: tuple[str, ...]  # the names of the values, in their order


def find_frame_rows(readings: Readings, model: Model) -> list[FrameRows]:
    """The model's rows in each frame; this does not depend on the model's file.

    Raises Unscorable: UNREADABLE_READINGS, NO_READINGS.
    """
    if readings.unreadable:
        raise Unscorable(Reason.UNREADABLE_READINGS, readings.unreadable[0])
    device = readings.devices[model.device]
    if device in readings.damaged:
        raise Unscorable(Reason.UNREADABLE_READINGS, readings.damaged[device])
    frame_rows = []
    for frame in readings.frames:
        start, end = int(frame.starts[device]), int(frame.starts[device + 1])
        if model.sensor and frame.sensor is not None:
            code = readings.sensors.get(model.sensor, -1)
            start, end = (
                start + int(np.searchsorted(frame.sensor[start:end], code, side)) for side in ("left", "right")
            )
        if start < end:
            frame_rows.append(FrameRows(frame, slice(start, end)))
    if not frame_rows and device not in readings.bad:
        raise Unscorable(Reason.NO_READINGS, "the window has no readings of it")
    return frame_rows


def build_model_readings(
    readings: Readings, model: Model, frame_rows: list[FrameRows], names: tuple[str, ...], count: int | None
) -> ModelReadings:
    """The rows as the model expects them: the features *names*, or *count* features in the readings' own order.

    Raises Unscorable: WRONG_FEATURES, BAD_READINGS, NO_READINGS.
    """
    if model.sensor and any(not entry.frame.long and entry.frame.sensor is None for entry in frame_rows):
        names, count = (model.sensor,), count and 1  # wide: the column of that name is the model's one feature
    if readings.policy.bad_rows is BadRows.FAIL:
        _refuse_bad(readings, model, names)
    frame_values = [_read_frame_values(readings, model, entry, names, count) for entry in frame_rows]
    if not frame_values:
        _refuse_bad(readings, model, names)  # bad readings are not the same as none
        raise Unscorable(Reason.NO_READINGS, "the window has no readings of it")
    if not names:
        _check_same_columns(frame_values)
    time = np.concatenate([entry.time for entry in frame_values])
    values = np.concatenate([entry.values for entry in frame_values])
    order = np.lexsort((np.concatenate([entry.file for entry in frame_values]), time))
    last = np.append(time[order][1:] != time[order][:-1], True)  # of rows with the same time, that of the latest file
    latest = order[last]
    complete = np.isfinite(values[latest]).all(axis=1)
    if not complete.any():
        _refuse_bad(readings, model, names)
        raise Unscorable(Reason.NO_READINGS, f"none of its {len(latest)} rows has a value for each feature")
    rows = latest[complete]
    return ModelReadings(
        time[rows], np.ascontiguousarray(values[rows]), len(latest) - len(rows), len(order) - len(latest)
    )


def _check_same_columns(frame_values: list[_FrameValues]) -> None:
    """Raise WRONG_FEATURES where a model without feature names would get more than one order of columns.

    It knows its features by their index only. Where files differ in their order, nothing says which order it was
    fitted on, and that of the first file may be wrong: so refuse, and do not sort them.
    """
    first = frame_values[0].columns
    for entry in frame_values:
        if entry.columns != first:
            raise Unscorable(
                Reason.WRONG_FEATURES,
                "has no feature names, so expected files with the same columns in the same order; "
                f"the readings have {_format_names(first)} and {_format_names(entry.columns)}",
            )


def _read_frame_values(
    readings: Readings, model: Model, frame_rows: FrameRows, names: tuple[str, ...], count: int | None
) -> _FrameValues:
    """The rows of one frame, and a column for each feature that the model expects."""
    frame, rows = frame_rows.frame, frame_rows.rows
    time, values, file = frame.time[rows], frame.values[:, rows].T, frame.file[rows]
    if frame.long and model.sensor and frame.sensor is None:
        raise Unscorable(Reason.WRONG_FEATURES, f"expected sensor {model.sensor!r}, the readings have no column for it")
    if frame.long and (model.sensor or frame.sensor is None):
        # One value, whatever its name in training.
        _check_features(frame.features, names if len(names) > 1 else (), count)
        return _FrameValues(time, values, file, frame.features)
    if not frame.long:
        _check_features(frame.features, names, count)
        if len(np.unique(time)) < len(time):  # a frame holds each time of a sensor once: these are several sensors
            raise Unscorable(
                Reason.WRONG_FEATURES, "expected one row for each time; the readings have one for each sensor"
            )
        values = values[:, [frame.features.index(name) for name in names]] if names else values
        return _FrameValues(time, values, file, frame.features)
    assert frame.sensor is not None
    sensor, sensor_names = frame.sensor[rows], {code: name for name, code in readings.sensors.items()}
    sensor_codes = {sensor_names[code]: code for code in np.unique(sensor)}
    _check_features(tuple(sorted(sensor_codes)), names, count)
    distinct = np.unique(time)
    columns = names or tuple(sorted(sensor_codes))
    pivoted = np.full((len(distinct), len(columns)), np.nan)
    latest = np.full(len(distinct), -1)  # the latest file with a reading of an expected sensor
    for column, name in enumerate(columns):
        is_sensor = sensor == sensor_codes[name]
        row = np.searchsorted(distinct, time[is_sensor])
        pivoted[row, column] = values[is_sensor, 0]
        latest[row] = np.maximum(latest[row], file[is_sensor])
    return _FrameValues(distinct, pivoted, latest, columns)


def _check_features(available: tuple[str, ...], names: tuple[str, ...], count: int | None) -> None:
    """Raise WRONG_FEATURES unless the features are those expected, by name where there are names, else by number."""
    wrong = bool(set(names) - set(available)) if names else count not in (None, len(available))
    if wrong:
        expected = _format_names(names) if names else f"{count} feature{'s' * (count != 1)}"
        raise Unscorable(Reason.WRONG_FEATURES, f"expected {expected}; the readings have {_format_names(available)}")


def _format_names(names: tuple[str, ...]) -> str:
    return f"{len(names)} ({', '.join(names[:8])}{', ...' * (len(names) > 8)})"  # noqa: PLR2004  # a readable message


def _refuse_bad(readings: Readings, model: Model, names: tuple[str, ...]) -> None:
    """Raise BAD_READINGS where a cell that this model needs is neither a number nor missing."""
    wide = any(not frame.long for frame in readings.frames)
    for cell in readings.bad.get(readings.devices[model.device], []):
        other_sensor = model.sensor and cell.sensor is not None and cell.sensor != readings.sensors.get(model.sensor)
        other_column = wide and cell.is_feature and names and cell.column not in names
        if not (other_sensor or other_column):
            kind = "a number" if cell.is_feature else describe_format(readings.policy.time)
            raise Unscorable(
                Reason.BAD_READINGS, f"{cell.file}: column {cell.column!r} has {cell.text!r}, expected {kind}"
            )
