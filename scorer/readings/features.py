"""One model's readings: the rows of its device and sensor, as columns in the order that the model expects.

The model's own names decide the order of its features; where it has none the setting FEATURES does. A row that lacks a
feature is left out, unless the model was trained to bear it (GAPS).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from scorer.errors import Unscorable
from shared.contract.domain import Model
from shared.contract.reasons import Reason
from shared.contract.scoring_options import AS_IN_FILE, BadRows, Gaps, ReadingOptions

from .column_names import check_count, check_names, format_names, suggest_near
from .device_readings import Readings
from .frames import Frame

NO_ORDER = (
    "its file does not say which feature is which: fit it on named columns, give it a sidecar (MODEL.features.json "
    "beside it), or set FEATURES to their names in its order"
)
NO_SENSOR = ""  # the name for rows that name no sensor, in a frame where other rows do


@dataclass(frozen=True, slots=True)
class Expected:
    """The features that a model expects."""

    names: tuple[str, ...]  # () where it was fitted without names
    count: int | None  # None: not known
    takes_gaps: bool = False  # whether it was trained to bear missing values
    gaps: Gaps | None = None  # who is given rows that lack a feature, in place of the setting


@dataclass(frozen=True, slots=True)
class FrameRows:
    """One model's rows in one frame.

    *is_column*: the model is of a sensor, and these wide rows have a column of that name.
    """

    frame: Frame
    rows: slice
    is_column: bool = False


@dataclass(frozen=True, slots=True)
class ModelReadings:
    """The rows to score, oldest first, one for each time.

    *left_out* more lacked one of the features; *repeated* more were replaced by a later file of another kind. Values
    are finite, or NaN where the model takes gaps.
    """

    time: np.ndarray  # int64, microseconds since 1970
    values: np.ndarray  # (rows, features)
    left_out: int = 0
    repeated: int = 0
    is_assumed: bool = False  # the order of the features is that of the files, and nobody chose it
    has_silent: bool = False  # one of the features has no value at all; the model takes gaps


@dataclass(frozen=True, slots=True)
class _FrameValues:
    """One model's values in one frame: each time once, NaN for missing values."""

    time: np.ndarray
    values: np.ndarray
    file: np.ndarray
    columns: tuple[str, ...]  # the names of the values, in their order


def find_frame_rows(readings: Readings, model: Model) -> list[FrameRows]:
    """The model's rows in each frame; this does not depend on the model's file.

    Raises Unscorable: UNREADABLE_READINGS, NO_READINGS, SENSOR_SILENT.
    """
    if readings.unreadable:
        raise Unscorable(Reason.UNREADABLE_READINGS, readings.unreadable[0])
    device = readings.devices[model.device]
    if device in readings.damaged:
        raise Unscorable(Reason.UNREADABLE_READINGS, readings.damaged[device])
    frame_rows, has_rows = [], False
    for frame in readings.frames:
        rows = slice(int(frame.starts[device]), int(frame.starts[device + 1]))
        has_rows |= rows.start < rows.stop
        if not model.sensor:
            frame_rows.append(FrameRows(frame, rows))
        elif frame.sensor is None:
            frame_rows.append(FrameRows(frame, rows, is_column=not frame.long))
        else:
            frame_rows.append(FrameRows(frame, _find_sensor_rows(readings, frame, rows, model.sensor)))
            if not frame.long:
                rows = _find_sensor_rows(readings, frame, rows, NO_SENSOR)
                frame_rows.append(FrameRows(frame, rows, is_column=True))
    frame_rows = [entry for entry in frame_rows if entry.rows.start < entry.rows.stop]
    if not frame_rows and device not in readings.bad:
        raise _make_silent([model.sensor], readings.select_device(model.device).sensors) if has_rows else _make_empty()
    return frame_rows


def _find_sensor_rows(readings: Readings, frame: Frame, rows: slice, sensor: str) -> slice:
    """Those of a device's rows that name *sensor*."""
    assert frame.sensor is not None
    code, sensors = readings.sensors.get(sensor, -1), frame.sensor[rows]
    start, end = (rows.start + int(np.searchsorted(sensors, code, side)) for side in ("left", "right"))
    return slice(start, end)


def build_model_readings(
    readings: Readings, model: Model, frame_rows: list[FrameRows], expected: Expected
) -> ModelReadings:
    """The rows as the model expects them.

    Raises Unscorable: WRONG_FEATURES, MISSING_FEATURES, BAD_READINGS, NO_READINGS, SENSOR_SILENT.
    """
    names, count = choose_names(expected.names, expected.count, readings.policy), expected.count
    if any(entry.is_column for entry in frame_rows):
        if not all(entry.is_column or entry.frame.long for entry in frame_rows):
            raise _make_wrong(f"some rows name the sensor {model.sensor!r}, and others name none")
        names, count = (
            (model.sensor,),
            _check_single(expected, model.sensor, readings.columns),
        )  # the column of that name is the model's one feature
    policy = expected.gaps or readings.policy.gaps
    gaps = policy is Gaps.GIVE or (policy is Gaps.MODEL and expected.takes_gaps)
    frame_values = [_read_frame_values(readings, model, entry, Expected(names, count, gaps)) for entry in frame_rows]
    if not frame_values:
        _refuse_bad(readings, model, names)  # bad readings are not the same as none
        raise _make_empty()
    columns = frame_values[0].columns
    if readings.policy.bad_rows is BadRows.FAIL:
        _refuse_bad(readings, model, columns)
    if not names:
        _check_same_columns([entry.columns for entry in frame_values])
    is_assumed = readings.policy.features.assumed and not names and len(columns) > 1
    if len(frame_values) == 1 and np.isfinite(frame_values[0].values).all():  # as mostly; a frame has some rows
        return ModelReadings(frame_values[0].time, np.array(frame_values[0].values, order="C"), is_assumed=is_assumed)
    time = np.concatenate([entry.time for entry in frame_values])
    values = np.concatenate([entry.values for entry in frame_values])
    order = np.lexsort((np.concatenate([entry.file for entry in frame_values]), time))
    last = np.append(time[order][1:] != time[order][:-1], True)  # of rows with the same time, that of the latest file
    latest = order[last]
    finite = np.isfinite(values[latest])
    usable = finite.any(axis=1) & ~np.isinf(values[latest]).any(axis=1) if gaps else finite.all(axis=1)
    if not usable.any():
        _refuse_bad(readings, model, columns)
        has_values = finite.any(axis=0).tolist()
        silent = [name for name, any_value in zip(columns, has_values, strict=True) if not any_value]
        raise _make_silent(silent) if silent else _make_empty(f"none of its {len(latest)} rows has all its features")
    rows = latest[usable]
    return ModelReadings(
        time[rows],
        np.ascontiguousarray(values[rows]),
        len(latest) - len(rows),
        len(order) - len(latest),
        is_assumed=is_assumed,
        has_silent=not np.isfinite(values[rows]).any(axis=0).all(),
    )


def _check_single(expected: Expected, sensor: str, columns: Collection[str]) -> int | None:
    """The number of features of a model of a sensor.

    Raises WRONG_FEATURES where it expects more than one, or was fitted on another column of the readings.
    """
    count = expected.count or len(expected.names)
    if count > 1:
        raise _make_wrong(f"expected {count} features, but its file is named as the model of one sensor, {sensor!r}")
    if contradicts_sensor(expected.names, sensor, columns):
        raise _make_wrong(
            f"its file is named as the model of the sensor {sensor!r}, but it was fitted on {expected.names[0]!r}, "
            "which the readings have too"
        )
    return expected.count


def contradicts_sensor(names: tuple[str, ...], sensor: str, columns: Collection[str]) -> bool:
    """Whether the readings have a column for *sensor*, and the one feature of its model is another column of them."""
    return len(names) == 1 and names[0] != sensor and names[0] in columns and sensor in columns


def choose_names(names: tuple[str, ...], count: int | None, options: ReadingOptions) -> tuple[str, ...]:
    """The names of a model's features: its own, or for a model of several features without names those that are set.

    Raises Unscorable, WRONG_FEATURES, where another number is set.
    """
    if names or not options.features.names:
        return names
    if count is not None and count != len(options.features.names):
        if count == 1:  # one feature needs no name
            return ()
        n_names = len(options.features.names)
        raise _make_wrong(f"has no feature names and expects {count} features, but FEATURES has {n_names} names")
    return options.features.names


def choose_columns(
    frame_features: tuple[str, ...],
    layouts: Sequence[tuple[str, ...]],
    expected: Expected,
    readings: Readings,
    *,
    has_value: bool,
) -> tuple[str, ...]:
    """The columns of wide rows that are a model's features, in its order; some may lack if it takes gaps.

    *has_value*: the rows have something in the value column. *layouts* are the features of the files that the rows
    come from, each in its file's order. Raises Unscorable.
    """
    names, count, value = expected.names, expected.count, readings.value_column
    if (len(names) == 1 and list(readings.columns) == [value]) or (not names and count == 1 and has_value):
        return (value,)  # one value, whatever its name in training
    if names:
        check_names(readings.columns, names, takes_gaps=expected.takes_gaps)
        return names
    if count != 1 and len(frame_features) > 1 and not readings.policy.features.in_file_order:
        raise _make_wrong(f"{NO_ORDER}, or to {AS_IN_FILE} where all files have their columns in the order of training")
    _check_same_columns(layouts)
    columns = layouts[0]
    check_count(columns, count)
    return columns


def _check_same_columns(layouts: Sequence[tuple[str, ...]]) -> None:
    """Raise WRONG_FEATURES where a model without feature names would get more than one order of columns.

    It knows its features by their index only. Where files differ in their order, nothing says which order it was
    fitted on, and that of the first file may be wrong: so refuse, and do not sort them.
    """
    for columns in layouts:
        if columns != layouts[0]:
            raise _make_wrong(
                "has no feature names, so expected files with the same columns in the same order; "
                f"the readings have {format_names(layouts[0])} and {format_names(columns)}"
            )


def _read_frame_values(readings: Readings, model: Model, frame_rows: FrameRows, expected: Expected) -> _FrameValues:
    """The rows of one frame, and a column for each feature that the model expects."""
    frame, rows = frame_rows.frame, frame_rows.rows
    time, values, file = frame.time[rows], frame.values[:, rows].T, frame.file[rows]
    if frame.long and frame.sensor is None and model.sensor not in ("", readings.value_column):
        raise Unscorable(
            Reason.MISSING_FEATURES, f"expected sensor {model.sensor!r}, the readings have no column for it"
        )
    has_sensors = frame.sensor is not None and np.any(frame.sensor[rows] != readings.sensors.get(NO_SENSOR, -1))
    if frame.long and (model.sensor or (not has_sensors and len(expected.names) <= 1)):
        # One value, whatever its name in training.
        if len(expected.names) > 1:
            check_names(frame.features, expected.names, takes_gaps=False)
        check_count(frame.features, expected.count)
        return _FrameValues(time, values, file, frame.features)
    if frame.long and has_sensors:
        return _pivot_sensors(readings, frame_rows, expected)
    columns = choose_columns(
        frame.features,
        readings.find_layouts(readings.devices[model.device]),
        expected,
        readings,
        has_value=_has_value(readings, frame, values),
    )
    _check_single_sensor(readings, frame, rows)
    chosen = np.full((len(time), len(columns)), np.nan)
    for index, name in enumerate(columns):
        if name in frame.features:
            chosen[:, index] = values[:, frame.features.index(name)]
    return _FrameValues(time, chosen, file, columns)


def _check_single_sensor(readings: Readings, frame: Frame, rows: slice) -> None:
    """Raise WRONG_FEATURES where a device's wide rows are of several sensors, whatever their times."""
    codes = [] if frame.sensor is None else np.unique(frame.sensor[rows]).tolist()
    if len(codes) > 1:
        names = sorted(name or "none" for name, code in readings.sensors.items() if code in codes)
        raise _make_wrong(
            f"expected rows of one sensor, got those of {format_names(tuple(names))}: a model of one of them is named "
            "DEVICE/SENSOR; if the column names no sensor, set READINGS_COLUMNS (--columns) sensor=NAME"
        )


def _has_value(readings: Readings, frame: Frame, values: np.ndarray) -> bool:
    """Whether rows, whose *values* have a column for each feature, have something in the value column, or nothing."""
    if readings.value_column not in frame.features:
        return False
    has_any = ~np.isnan(values).all(axis=0)
    return bool(has_any[frame.features.index(readings.value_column)] or not has_any.any())


def _pivot_sensors(readings: Readings, frame_rows: FrameRows, expected: Expected) -> _FrameValues:
    """Long rows of several sensors: a row for each time, a column for each sensor that the model expects."""
    frame, rows = frame_rows.frame, frame_rows.rows
    time, values, file = frame.time[rows], frame.values[0, rows], frame.file[rows]
    assert frame.sensor is not None
    sensor, sensor_names = frame.sensor[rows], {code: name for name, code in readings.sensors.items()}
    sensor_codes = {sensor_names[code]: code for code in np.unique(sensor)}
    names, available = expected.names, tuple(sorted(sensor_codes))
    if not names:
        if expected.count != 1 and len(available) > 1:
            raise _make_wrong(NO_ORDER)
        check_count(available, expected.count)
        names = available
    silent = [name for name in names if name not in sensor_codes]
    if len(silent) == len(names) or (silent and not expected.takes_gaps):
        raise _make_silent(silent, available)
    distinct = np.unique(time)
    pivoted = np.full((len(distinct), len(names)), np.nan)
    latest = np.full(len(distinct), -1)  # the latest file with a reading of an expected sensor
    for column, name in enumerate(names):
        if name in sensor_codes:
            is_sensor = sensor == sensor_codes[name]
            row = np.searchsorted(distinct, time[is_sensor])
            pivoted[row, column] = values[is_sensor]
            latest[row] = np.maximum(latest[row], file[is_sensor])
    of_model = latest >= 0
    return _FrameValues(distinct[of_model], pivoted[of_model], latest[of_model], names)


def _make_wrong(message: str) -> Unscorable:
    return Unscorable(Reason.WRONG_FEATURES, message)


def _make_empty(message: str = "the window has no readings of it") -> Unscorable:
    return Unscorable(Reason.NO_READINGS, message)


def _make_silent(names: list[str], available: Collection[str] = ()) -> Unscorable:
    plural = "s" * (len(names) > 1)
    listed, near = ", ".join(map(repr, names[:8])), suggest_near(available, names)
    return Unscorable(Reason.SENSOR_SILENT, f"its device has readings, but none of the sensor{plural} {listed}{near}")


def _refuse_bad(readings: Readings, model: Model, names: tuple[str, ...]) -> None:
    """Raise BAD_READINGS where a cell that this model needs is neither a number nor missing."""
    wide = any(not frame.long for frame in readings.frames)
    for cell in readings.bad.get(readings.devices[model.device], []):
        other_sensor = model.sensor and cell.sensor is not None and cell.sensor != readings.sensors.get(model.sensor)
        other_column = wide and cell.is_feature and names and cell.column not in names
        if not (other_sensor or other_column):
            raise Unscorable(
                Reason.BAD_READINGS, f"{cell.file}: column {cell.column!r} has {cell.text!r}, expected {cell.expected}"
            )
