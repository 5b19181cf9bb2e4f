"""Joins packed models with their readings, for one call of the kernels. Pure, and no Python for each model.

plain     the model wants all rows of its device (or of its device and sensor) in one frame, and all are complete:
          the kernels read them where they lie
signals   whatever `signals` makes of the others, one by one: features that are missing now and then, sensors in rows
          of their own, files of other columns
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scorer.families.base import Family
from scorer.kernels import dispatch
from scorer.kernels.batch import Batch
from scorer.packs.pack import Pack
from scorer.predictions.table import Rows, ranges
from scorer.readings.features import Signal
from scorer.readings.frames import Frame
from scorer.readings.source import Readings
from shared.contract.domain import Model


@dataclass(frozen=True, slots=True)
class Span:
    """Where the rows of each model of a portion lie in a frame: `first` and how many; both int64."""

    first: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True, slots=True)
class Joined:
    """Models at *places*, and their rows as the kernels want them."""

    places: np.ndarray  # int64
    batch: Batch
    time: np.ndarray  # int64, one for each score
    value: np.ndarray | None  # float64, NaN where the model has more than one feature; None where all have

    def score(self, cores: int) -> Rows:
        """Every row scored."""
        scores, anomalies = dispatch.score(self.batch, len(self.time), cores)
        return Rows(self.places, self.batch.rows, self.time, self.value, scores, anomalies)


def plain(models: Sequence[Model], pack: Pack, rows: np.ndarray, readings: Readings) -> Joined | None:
    """Those of *models* (at `rows` of the pack, -1 for not these) that are plain; None where none is."""
    if not len(pack) or len(readings.frames) != 1 or readings.unreadable:
        return None
    frame = readings.frames[0]
    places = np.flatnonzero(rows >= 0)
    expected = models if len(places) == len(models) else [models[place] for place in places.tolist()]
    rows = rows[places]
    span = _span(expected, frame, readings)
    layout, layouts = _layouts(expected, pack, rows, frame)
    fit = (span.rows > 0) & (layout >= 0) & (pack.numpy("family")[rows] != Family.KEPT)
    if readings.damaged:
        fit &= np.array([readings.devices[model.device] not in readings.damaged for model in expected], bool)
    for index, columns in enumerate(layouts):
        used = columns[columns >= 0]
        fit &= (layout != index) | _complete(frame, used, span)
        if readings.bad:
            spoilt = _spoilt(readings, {frame.features[column] for column in used})
            fit &= (layout != index) | ~np.array([readings.devices[model.device] in spoilt for model in expected], bool)
    if not fit.any():
        return None
    first, lengths = span.first[fit], span.rows[fit]
    at = ranges(first, lengths)
    side_by_side = at[-1] - at[0] == len(at) - 1 and (at[1:] > at[:-1]).all()
    here = slice(at[0], at[-1] + 1) if side_by_side else at
    batch = _batch(pack, rows[fit], layout[fit], layouts, first, lengths, frame.values)
    places = places[fit]
    return Joined(places, batch, frame.time[here], _value(batch, at))


def of_signals(pack: Pack, rows: np.ndarray, found: Mapping[int, Signal]) -> Joined:
    """The models at the places of *found* (at `rows` of the pack), each with what it sees; there is at least one."""
    places = np.array(list(found), np.int64)
    lengths = np.array([len(one.time) for one in found.values()], np.int64)
    ends = np.cumsum(lengths)
    widest = max(one.values.shape[1] for one in found.values())
    values = np.zeros((widest, ends[-1]))
    for one, start, end in zip(found.values(), ends - lengths, ends, strict=True):
        values[: one.values.shape[1], start:end] = one.values.T
    layouts = np.arange(widest, dtype=np.int32)[None, :]
    batch = _batch(pack, rows[places], np.zeros(len(places), np.int32), layouts, ends - lengths, lengths, values)
    time = np.concatenate([one.time for one in found.values()])
    return Joined(places, batch, time, _value(batch, np.arange(ends[-1])))


def _complete(frame: Frame, columns: np.ndarray, span: Span) -> np.ndarray:
    """Whether all of a model's rows have a number in each of the columns."""
    lacking = ~np.isfinite(frame.values[columns]).all(axis=0)
    if not lacking.any():
        return np.ones(len(span.first), bool)
    so_far = np.concatenate([[0], np.cumsum(lacking)])
    complete: np.ndarray = so_far[span.first + span.rows] == so_far[span.first]
    return complete


def _spoilt(readings: Readings, columns: Collection[str]) -> set[int]:
    """The devices that have a bad cell in one of the columns, or a bad time."""
    return {
        device
        for device, cells in readings.bad.items()
        if any(not cell.is_feature or cell.column in columns for cell in cells)
    }


def _span(models: Sequence[Model], frame: Frame, readings: Readings) -> Span:
    """Where each model's rows are in the frame: its device's, or those of its device and sensor."""
    device = np.fromiter((readings.devices[model.device] for model in models), np.int64, len(models))
    first, end = frame.starts[device], frame.starts[device + 1]
    if frame.sensor is None or not any(model.sensor for model in models):
        return Span(first, end - first)
    sensor = np.fromiter((readings.sensors.get(model.sensor, -1) for model in models), np.int64, len(models))
    codes = len(readings.sensors) + 1
    of_row = np.repeat(np.arange(len(frame.starts) - 1), np.diff(frame.starts)) * codes + frame.sensor
    named = np.array([bool(model.sensor) for model in models])
    first = np.where(named, np.searchsorted(of_row, device * codes + sensor, "left"), first)
    end = np.where(named, np.searchsorted(of_row, device * codes + sensor, "right"), end)
    return Span(first, np.where(named & (sensor < 0), 0, end - first))


def _layouts(models: Sequence[Model], pack: Pack, rows: np.ndarray, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Which columns of the frame each model wants: an index for each model, -1 where that is not plain; and layouts.

    The rules are those of `signals`, for the cases that are simple.
    """
    names_of, names = pack.features
    widths = pack.numpy("width")
    layouts: list[tuple[int, ...]] = []
    known: dict[tuple[int, int, str], int] = {}
    layout = np.full(len(models), -1, np.int32)
    keys = zip(names_of[rows].tolist(), widths[rows].tolist(), (m.sensor for m in models), strict=True)
    for place, key in enumerate(keys):
        index = known.get(key)
        if index is None:
            columns = _columns(names[key[0]], key[1], key[2], frame)
            index = -1 if columns is None else len(layouts)
            known[key] = index
            if columns is not None:
                layouts.append(columns)
        layout[place] = index
    widest = max((len(columns) for columns in layouts), default=1)
    table = np.full((max(1, len(layouts)), widest), -1, np.int32)
    for index, columns in enumerate(layouts):
        table[index, : len(columns)] = columns
    return layout, table


def _columns(names: tuple[str, ...], width: int, sensor: str, frame: Frame) -> tuple[int, ...] | None:
    """The frame's columns for a model; None where one by one must be looked at what it sees."""
    if frame.long:
        return (0,) if width == 1 and bool(sensor) == (frame.sensor is not None) else None
    if frame.sensor is not None and not sensor:
        return None
    if sensor and frame.sensor is None:
        names = (sensor,)
    if not names:
        return tuple(range(width)) if width == len(frame.features) else None
    if len(names) != width or not set(names) <= set(frame.features):
        return None
    return tuple(frame.features.index(name) for name in names)


def _batch(
    pack: Pack,
    rows: np.ndarray,
    layout: np.ndarray,
    layouts: np.ndarray,
    first: np.ndarray,
    lengths: np.ndarray,
    values: np.ndarray,
) -> Batch:
    (number_at, numbers), (integer_at, integers) = pack.numbers, pack.integers
    return Batch(
        family=pack.numpy("family")[rows],
        strict=pack.numpy("strict")[rows],
        width=pack.numpy("width")[rows],
        number_at=number_at[rows],
        numbers=numbers,
        integer_at=integer_at[rows],
        integer_count=integer_at[rows + 1] - integer_at[rows],
        integers=integers,
        layout=layout,
        layouts=layouts,
        first=first,
        rows=lengths,
        out=np.cumsum(lengths) - lengths,
        values=values,
    )


def _value(batch: Batch, at: np.ndarray) -> np.ndarray | None:
    """What a model of one feature read, for each of its rows; *at* are their places in the values."""
    single = batch.width == 1
    if not single.any():
        return None
    column = np.repeat(np.where(single, batch.layouts[batch.layout, 0], 0), batch.rows)
    value: np.ndarray = batch.values[column, at]
    value[np.repeat(~single, batch.rows)] = np.nan
    return value
