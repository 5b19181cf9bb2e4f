"""Joins packed models with their readings, for one call of the kernels. Pure, and no Python loop over models.

plain     the model uses all rows of its device (or of its device and sensor) in one frame, and all are complete:
          the kernels read them without a copy
sensors   the features of the model are sensors of long rows, all of which have the same times: copied, column by column
others    their readings come from `features`, model by model: features that are sometimes missing, sensors of other
          times, files with other columns
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scorer.arrow import are_finite
from scorer.errors import Unscorable
from scorer.families.base import Family
from scorer.kernels import dispatch
from scorer.kernels.batch import Batch
from scorer.packs.pack import Pack
from scorer.predictions.rows import PredictionRows
from scorer.predictions.table import expand_ranges
from scorer.readings import features
from scorer.readings.device_readings import Readings
from scorer.readings.features import Expected, ModelReadings
from scorer.readings.frames import Frame
from shared.contract.model_list import ModelList

from .sensor_runs import gather_sensors


@dataclass(frozen=True, slots=True)
class RowRanges:
    """The rows of each model in a frame: the index of the first, and how many; both int64."""

    first: np.ndarray
    n_rows: np.ndarray


@dataclass(frozen=True, slots=True)
class KernelInput:
    """The models at *indices*, and their rows as the kernels expect them."""

    indices: np.ndarray  # int64
    rows: np.ndarray  # int64: their rows of the pack
    batch: Batch
    time: np.ndarray  # int64, one for each score
    value: np.ndarray | None  # float64, NaN where the model has more than one feature; None where all have

    def score_rows(self, cores: int) -> PredictionRows:
        """Score every row of detectors that are no chains."""
        scores, anomalies = dispatch.score_batch(self.batch, len(self.time), cores)
        return PredictionRows(self.indices, self.batch.n_rows, self.time, self.value, scores, anomalies)


def join_plain_models(models: ModelList, pack: Pack, rows: np.ndarray, readings: Readings) -> list[KernelInput]:
    """The plain models among *models* (at `rows` of the pack, -1: skip): detectors, and chains of steps."""
    if not len(pack) or len(readings.frames) != 1 or readings.unreadable:
        return []
    frame = readings.frames[0]
    indices = np.flatnonzero(rows >= 0)
    rows = rows[indices]
    device_codes = readings.find_codes(_select_texts(models, "device", indices))
    sensors = _select_texts(models, "sensor", indices) if models.has_sensors else None
    row_ranges = _locate_rows(device_codes, sensors, frame, readings)
    layout_of_model, layouts = _build_layouts(sensors, pack, rows, frame, readings)
    fit = (row_ranges.n_rows > 0) & (layout_of_model >= 0) & (pack.get_numbers("family")[rows] != Family.KEPT)
    if readings.damaged:
        fit &= ~np.isin(device_codes, list(readings.damaged))
    for layout_number, columns in enumerate(layouts):
        used_columns = columns[columns >= 0]
        fit &= (layout_of_model != layout_number) | _find_complete(frame, used_columns, row_ranges)
        if readings.bad:
            bad_devices = _find_bad_devices(readings, {frame.features[column] for column in used_columns})
            fit &= (layout_of_model != layout_number) | ~np.isin(device_codes, list(bad_devices))
    parts = [
        _join_rows(pack, indices, rows, frame, layout_of_model, layouts, row_ranges, part)
        for part in _split_chains(pack, rows, fit)
    ]
    if frame.long and frame.sensor is not None:
        fit = ~fit & _find_whole_devices(pack, rows, device_codes, sensors, readings)
        for part in _split_chains(pack, rows, fit):
            parts += _join_sensors(pack, indices[part], rows[part], device_codes[part], readings)
    return parts


def _split_chains(pack: Pack, rows: np.ndarray, fit: np.ndarray) -> list[np.ndarray]:
    """The places of the models of a mask: of those that are no chains of steps, and of chains, where there are any."""
    is_chain = pack.get_numbers("family")[rows] == Family.STEPS
    return [part for part in (np.flatnonzero(fit & ~is_chain), np.flatnonzero(fit & is_chain)) if len(part)]


def _find_whole_devices(
    pack: Pack, rows: np.ndarray, device_codes: np.ndarray, sensors: Sequence[str] | None, readings: Readings
) -> np.ndarray:
    """A mask of the models of several features and a whole device, whose long rows nothing makes unusable."""
    family, widths = pack.get_numbers("family")[rows], pack.get_numbers("width")[rows]
    fit: np.ndarray = (family != Family.KEPT) & (widths > 1)
    if sensors is not None:
        fit &= ~np.fromiter(map(bool, sensors), bool, len(sensors))
    unusable = readings.bad.keys() | readings.damaged.keys()
    return fit & ~np.isin(device_codes, list(unusable)) if unusable else fit


def _join_sensors(
    pack: Pack, indices: np.ndarray, rows: np.ndarray, device_codes: np.ndarray, readings: Readings
) -> list[KernelInput]:
    """Those of the models at *indices* whose features are sensors of the same times, as one input or none."""
    name_codes, names_of_code = pack.features
    keys, key_of_model = _find_keys(name_codes[rows], pack.get_numbers("width")[rows], None)
    names = [_choose_sensors(names_of_code[code], width, readings) for code, width, _ in keys]
    has_names = np.array([bool(of_key) for of_key in names], bool)[key_of_model]
    if not has_names.any():
        return []
    frame = readings.frames[0]
    sensor_rows = gather_sensors(frame, readings.sensors, device_codes[has_names], names, key_of_model[has_names])
    if sensor_rows is None:
        return []
    places = np.flatnonzero(has_names)[sensor_rows.is_regular]
    layouts = np.arange(len(sensor_rows.values), dtype=np.int32)[None, :]
    layout, first = np.zeros(len(places), np.int32), np.cumsum(sensor_rows.n_rows) - sensor_rows.n_rows
    batch = _build_batch(pack, rows[places], layout, layouts, first, sensor_rows.n_rows, sensor_rows.values)
    return [KernelInput(indices[places], rows[places], batch, sensor_rows.time, None)]


def _choose_sensors(names: tuple[str, ...], n_features: int, readings: Readings) -> tuple[str, ...]:
    """The sensors that a model of a whole device expects; () where `features` must find them, or refuse it."""
    try:
        names = features.choose_names(names, n_features, readings.policy)
    except Unscorable:
        return ()
    return names if len(names) == n_features else ()


def _join_rows(
    pack: Pack,
    indices: np.ndarray,
    rows: np.ndarray,
    frame: Frame,
    layout_of_model: np.ndarray,
    layouts: np.ndarray,
    row_ranges: RowRanges,
    part: np.ndarray,
) -> KernelInput:
    """The models at the places *part*, with their rows of the frame."""
    first, row_counts = row_ranges.first[part], row_ranges.n_rows[part]
    is_side_by_side = (first[1:] == first[:-1] + row_counts[:-1]).all()
    positions = slice(first[0], first[-1] + row_counts[-1]) if is_side_by_side else expand_ranges(first, row_counts)
    batch = _build_batch(pack, rows[part], layout_of_model[part], layouts, first, row_counts, frame.values)
    return KernelInput(indices[part], rows[part], batch, frame.time[positions], _read_values(batch, positions))


def join_model_readings(pack: Pack, rows: np.ndarray, readings_by_index: Mapping[int, ModelReadings]) -> KernelInput:
    """The models at the indices of *readings_by_index* (at `rows` of the pack), with their readings; at least one."""
    indices = np.array(list(readings_by_index), np.int64)
    row_counts = np.array([len(model_readings.time) for model_readings in readings_by_index.values()], np.int64)
    ends = np.cumsum(row_counts)
    widest = max(model_readings.values.shape[1] for model_readings in readings_by_index.values())
    values = np.zeros((widest, ends[-1]))
    for model_readings, start, end in zip(readings_by_index.values(), ends - row_counts, ends, strict=True):
        values[: model_readings.values.shape[1], start:end] = model_readings.values.T
    layouts = np.arange(widest, dtype=np.int32)[None, :]
    batch = _build_batch(
        pack, rows[indices], np.zeros(len(indices), np.int32), layouts, ends - row_counts, row_counts, values
    )
    time = np.concatenate([model_readings.time for model_readings in readings_by_index.values()])
    return KernelInput(indices, rows[indices], batch, time, _read_values(batch, slice(0, ends[-1])))


def _find_complete(frame: Frame, columns: np.ndarray, row_ranges: RowRanges) -> np.ndarray:
    """Whether all rows of a model have a number in each of the columns."""
    gappy = [frame.values[column] for column in columns.tolist() if not are_finite(frame.values[column])]
    if not gappy:
        return np.ones(len(row_ranges.first), bool)
    lacking = ~np.isfinite(gappy[0])
    for values in gappy[1:]:
        lacking |= ~np.isfinite(values)
    n_lacking = np.concatenate([[0], np.cumsum(lacking)])
    complete: np.ndarray = n_lacking[row_ranges.first + row_ranges.n_rows] == n_lacking[row_ranges.first]
    return complete


def _find_bad_devices(readings: Readings, columns: Collection[str]) -> set[int]:
    """The devices that have a bad cell in one of the columns, or a bad time."""
    return {
        device
        for device, cells in readings.bad.items()
        if any(not cell.is_feature or cell.column in columns for cell in cells)
    }


def _select_texts(models: ModelList, name: str, indices: np.ndarray) -> Sequence[str]:
    """A column of the models at *indices*."""
    texts = models.read_texts(name)
    return texts if len(indices) == len(texts) else [texts[index] for index in indices.tolist()]


def _locate_rows(
    device: np.ndarray, model_sensors: Sequence[str] | None, frame: Frame, readings: Readings
) -> RowRanges:
    """The rows of each model in the frame: those of its device, or of its device and sensor."""
    first, end = frame.starts[device], frame.starts[device + 1]
    if frame.sensor is None or model_sensors is None:
        return RowRanges(first, end - first)
    sensor = np.fromiter((readings.sensors.get(name, -1) for name in model_sensors), np.int64, len(model_sensors))
    codes = len(readings.sensors) + 1
    sensor_of_row = np.repeat(np.arange(len(frame.starts) - 1), np.diff(frame.starts)) * codes + frame.sensor
    has_sensor = np.array([bool(name) for name in model_sensors], bool)
    first = np.where(has_sensor, np.searchsorted(sensor_of_row, device * codes + sensor, "left"), first)
    end = np.where(has_sensor, np.searchsorted(sensor_of_row, device * codes + sensor, "right"), end)
    return RowRanges(first, np.where(has_sensor & (sensor < 0), 0, end - first))


def _build_layouts(
    sensors: Sequence[str] | None, pack: Pack, rows: np.ndarray, frame: Frame, readings: Readings
) -> tuple[np.ndarray, np.ndarray]:
    """The columns of the frame for each model: the index of its layout, -1 where it is not plain; and the layouts.

    The rules are those of `features`, for the simple cases.
    """
    names_of, names = pack.features
    widths = pack.get_numbers("width")
    layouts: list[tuple[int, ...]] = []
    keys, key_of_model = _find_keys(names_of[rows], widths[rows], sensors)
    layout_of_key = np.full(len(keys), -1, np.int32)
    for key_index, (name_code, width, sensor) in enumerate(keys):
        columns = _choose_columns(names[name_code], width, sensor, frame, readings)
        if columns is not None:
            layout_of_key[key_index] = len(layouts)
            layouts.append(columns)
    layout = layout_of_key[key_of_model]
    widest = max((len(columns) for columns in layouts), default=1)
    table = np.full((max(1, len(layouts)), widest), -1, np.int32)
    for index, columns in enumerate(layouts):
        table[index, : len(columns)] = columns
    return layout, table


def _find_keys(
    name_codes: np.ndarray, widths: np.ndarray, sensors: Sequence[str] | None
) -> tuple[list[tuple[int, int, str]], np.ndarray]:
    """The distinct (code of names, number of features, sensor), and the index of each model's among them."""
    combined = name_codes.astype(np.int64) * (int(widths.max(initial=0)) + 1) + widths
    _, firsts, key_of_model = np.unique(combined, return_index=True, return_inverse=True)
    keys = [(int(name_codes[i]), int(widths[i]), "") for i in firsts]
    if sensors is None:
        return keys, key_of_model
    index_of: dict[tuple[int, str], int] = {}
    pairs = zip(key_of_model.tolist(), sensors, strict=True)
    with_sensor = np.fromiter((index_of.setdefault(p, len(index_of)) for p in pairs), np.int64, len(sensors))
    return [(*keys[key][:2], sensor) for key, sensor in index_of], with_sensor


def _choose_columns(
    names: tuple[str, ...], n_features: int, sensor: str, frame: Frame, readings: Readings
) -> tuple[int, ...] | None:
    """The frame's columns for a model; None where `features` must select its readings, or refuse it."""
    if frame.long:
        return (0,) if n_features == 1 and bool(sensor) == (frame.sensor is not None) else None
    if frame.sensor is not None and (not sensor or features.NO_SENSOR in readings.sensors):
        return None
    if sensor and frame.sensor is None:
        if features.contradicts_sensor(names, sensor, readings.columns):
            return None
        names = (sensor,)
    has_value = readings.value_column in frame.features
    try:
        expected = Expected(features.choose_names(names, n_features, readings.policy), n_features)
        columns = features.choose_columns(frame.features, readings.layouts, expected, readings, has_value=has_value)
    except Unscorable:
        return None
    if len(columns) != n_features or not set(columns) <= set(frame.features):
        return None
    return tuple(frame.features.index(name) for name in columns)


def _build_batch(
    pack: Pack,
    rows: np.ndarray,
    layout: np.ndarray,
    layouts: np.ndarray,
    first: np.ndarray,
    row_counts: np.ndarray,
    values: np.ndarray,
) -> Batch:
    assert pack.find_loaded()[rows].all()
    (number_at, numbers), (integer_at, integers) = pack.numbers, pack.integers
    return Batch(
        family=pack.get_numbers("family")[rows],
        strict=pack.get_numbers("strict")[rows],
        n_features=pack.get_numbers("width")[rows],
        number_index=number_at[rows],
        numbers=numbers,
        integer_index=integer_at[rows],
        integer_count=integer_at[rows + 1] - integer_at[rows],
        integers=integers,
        layout=layout,
        layouts=layouts,
        first=first,
        n_rows=row_counts,
        out=np.cumsum(row_counts) - row_counts,
        values=values,
    )


def _read_values(batch: Batch, positions: np.ndarray | slice) -> np.ndarray | None:
    """The value of each row of models with one feature; *positions* select the rows of the values."""
    has_one_feature = batch.n_features == 1
    if not has_one_feature.any():
        return None
    column_of_model = np.where(has_one_feature, batch.layouts[batch.layout, 0], 0)
    value: np.ndarray
    if has_one_feature.all() and (column_of_model == column_of_model[0]).all():
        value = batch.values[column_of_model[0], positions]  # without a copy where the rows are neighbours
        return value
    if isinstance(positions, slice):
        positions = np.arange(positions.start, positions.stop)
    value = batch.values[np.repeat(column_of_model, batch.n_rows), positions]
    value[np.repeat(~has_one_feature, batch.n_rows)] = np.nan
    return value
