"""What one model sees of the readings: the rows of its device and sensor, as columns in the order that it wants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scorer.errors import Unscorable
from shared.contract.domain import Model, Reason
from shared.contract.scoring_options import BadRows

from .frames import Frame
from .source import Readings
from .timestamps import expected


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The rows of one frame that are one model's."""

    frame: Frame
    rows: slice


@dataclass(frozen=True, slots=True)
class Signal:
    """The rows to score, oldest first, one an instant.

    *left_out* more lacked one of the features; *repeated* more were replaced by a later file of other columns.
    """

    time: np.ndarray  # int64, microseconds since 1970
    values: np.ndarray  # (rows, features), finite
    left_out: int = 0
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class _Part:
    """What one frame holds for a model: each instant once, values NaN where there are none."""

    time: np.ndarray
    values: np.ndarray
    file: np.ndarray
    columns: tuple[str, ...]  # what the values are, in their order, where the model names none


def find(readings: Readings, model: Model) -> list[Excerpt]:
    """Where the model's rows are; this asks nothing of the model's file.

    Raises Unscorable: UNREADABLE_READINGS, NO_READINGS.
    """
    if readings.unreadable:
        raise Unscorable(Reason.UNREADABLE_READINGS, readings.unreadable[0])
    device = readings.devices[model.device]
    if device in readings.damaged:
        raise Unscorable(Reason.UNREADABLE_READINGS, readings.damaged[device])
    excerpts = []
    for frame in readings.frames:
        start, end = int(frame.starts[device]), int(frame.starts[device + 1])
        if model.sensor and frame.sensor is not None:
            code = readings.sensors.get(model.sensor, -1)
            start, end = (
                start + int(np.searchsorted(frame.sensor[start:end], code, side)) for side in ("left", "right")
            )
        if start < end:
            excerpts.append(Excerpt(frame, slice(start, end)))
    if not excerpts and device not in readings.bad:
        raise Unscorable(Reason.NO_READINGS, "the window has no readings of it")
    return excerpts


def signal(
    readings: Readings, model: Model, excerpts: list[Excerpt], names: tuple[str, ...], count: int | None
) -> Signal:
    """The rows as the model wants them: the features *names*, or *count* of them in the readings' own order.

    Raises Unscorable: WRONG_FEATURES, BAD_READINGS, NO_READINGS.
    """
    if model.sensor and any(not e.frame.long and e.frame.sensor is None for e in excerpts):
        names, count = (model.sensor,), count and 1  # wide: the column of that name is the model's one feature
    if readings.policy.bad_rows is BadRows.FAIL:
        _refuse_bad(readings, model, names)
    parts = [_part(readings, model, excerpt, names, count) for excerpt in excerpts]
    if not parts:
        _refuse_bad(readings, model, names)  # bad ones are not none
        raise Unscorable(Reason.NO_READINGS, "the window has no readings of it")
    if not names:
        _check_alike(parts)
    time = np.concatenate([part.time for part in parts])
    values = np.concatenate([part.values for part in parts])
    order = np.lexsort((np.concatenate([part.file for part in parts]), time))
    last = np.append(time[order][1:] != time[order][:-1], True)  # of an instant's rows, the latest file's
    kept = order[last]
    complete = np.isfinite(values[kept]).all(axis=1)
    if not complete.any():
        _refuse_bad(readings, model, names)
        raise Unscorable(Reason.NO_READINGS, f"none of its {len(kept)} rows has a value for each feature")
    rows = kept[complete]
    return Signal(time[rows], np.ascontiguousarray(values[rows]), len(kept) - len(rows), len(order) - len(kept))


def _check_alike(parts: list[_Part]) -> None:
    """That a model without feature names sees one order of columns.

    It knows its features by their places alone. Where files differ in theirs, nothing says whose order it was fitted
    on, and the first file's may as well be the wrong one: so refuse, rather than bring them into an order.
    """
    first = parts[0].columns
    for part in parts:
        if part.columns != first:
            raise Unscorable(
                Reason.WRONG_FEATURES,
                "has no feature names, so wants files of the same columns in the same order; "
                f"the readings have {_listed(first)} and {_listed(part.columns)}",
            )


def _part(readings: Readings, model: Model, excerpt: Excerpt, names: tuple[str, ...], count: int | None) -> _Part:
    """The rows of one frame, and a column for each feature that the model wants."""
    frame, rows = excerpt.frame, excerpt.rows
    time, values, file = frame.time[rows], frame.values[:, rows].T, frame.file[rows]
    if frame.long and model.sensor and frame.sensor is None:
        raise Unscorable(Reason.WRONG_FEATURES, f"wants sensor {model.sensor!r}, the readings have no column for it")
    if frame.long and (model.sensor or frame.sensor is None):
        _check(frame.features, names if len(names) > 1 else (), count)  # one value, whatever it was called in training
        return _Part(time, values, file, frame.features)
    if not frame.long:
        _check(frame.features, names, count)
        if len(np.unique(time)) < len(time):  # a frame holds each sensor's instant once: these are several sensors'
            raise Unscorable(Reason.WRONG_FEATURES, "wants one row an instant; the readings have one for each sensor")
        values = values[:, [frame.features.index(name) for name in names]] if names else values
        return _Part(time, values, file, frame.features)
    assert frame.sensor is not None
    sensor, known = frame.sensor[rows], {code: name for name, code in readings.sensors.items()}
    found = {known[code]: code for code in np.unique(sensor)}
    _check(tuple(sorted(found)), names, count)
    distinct = np.unique(time)
    expected = names or tuple(sorted(found))
    pivoted = np.full((len(distinct), len(expected)), np.nan)
    latest = np.full(len(distinct), -1)  # the latest file with a reading of a wanted sensor; any other row comes later
    for column, name in enumerate(expected):
        of = sensor == found[name]
        row = np.searchsorted(distinct, time[of])
        pivoted[row, column] = values[of, 0]
        latest[row] = np.maximum(latest[row], file[of])
    return _Part(distinct, pivoted, latest, expected)


def _check(found: tuple[str, ...], names: tuple[str, ...], count: int | None) -> None:
    """That the features found are those expected, by name where there are names, else by number."""
    wrong = bool(set(names) - set(found)) if names else count not in (None, len(found))
    if wrong:
        expected = _listed(names) if names else f"{count} feature{'s' * (count != 1)}"
        raise Unscorable(Reason.WRONG_FEATURES, f"wants {expected}; the readings have {_listed(found)}")


def _listed(names: tuple[str, ...]) -> str:
    return f"{len(names)} ({', '.join(names[:8])}{', ...' * (len(names) > 8)})"  # noqa: PLR2004  # what one can take in


def _refuse_bad(readings: Readings, model: Model, names: tuple[str, ...]) -> None:
    """Raise BAD_READINGS where a cell that this model would have used is neither a number nor missing."""
    wide = any(not frame.long for frame in readings.frames)
    for cell in readings.bad.get(readings.devices[model.device], []):
        other_sensor = model.sensor and cell.sensor is not None and cell.sensor != readings.sensors.get(model.sensor)
        other_column = wide and cell.is_feature and names and cell.column not in names
        if not (other_sensor or other_column):
            kind = "a number" if cell.is_feature else expected(readings.policy.time)
            raise Unscorable(
                Reason.BAD_READINGS, f"{cell.file}: column {cell.column!r} has {cell.text!r}, expected {kind}"
            )
