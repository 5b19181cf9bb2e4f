"""Arrays of values with a time step -> a row for each value. Row i of an object has its time and i steps."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scorer.arrow import build_numbers, view_numbers
from scorer.readings.cells import combine_chunks, fill_nulls, make_unreadable, read_numbers
from scorer.readings.time_zones import NO_TIME
from scorer.readings.timestamps import read_instants
from shared.contract.model_names import Columns, Step
from shared.contract.scoring_options import ReadingOptions, TimeFormat

from .leaves import Selection, is_series


def expand_series(selection: Selection, columns: Columns, policy: ReadingOptions) -> tuple[pa.Table, np.ndarray, int]:
    """The rows, the index of each row's object, and the number of objects that are left out.

    Those are objects whose arrays differ in length, or that have several values and no step above 0. A single value
    beside arrays is that of all their rows. Raises Unscorable.
    """
    rows = selection.rows
    ids = (columns.time, columns.device, columns.sensor)
    names = [field.name for field in rows.schema if is_series(field.type) and field.name not in ids]
    if not names:
        return rows, np.arange(rows.num_rows), 0
    if columns.time not in rows.column_names:
        raise make_unreadable(
            f"column {names[0]!r} holds arrays of values, which need the column of times {columns.time!r} beside them"
        )
    lists = {name: combine_chunks(rows[name]) for name in names}
    lengths = np.stack([fill_nulls(pc.list_value_length(array).cast(pa.int64()), -1) for array in lists.values()])
    counts = lengths.max(axis=0)
    is_equal = ((lengths == counts) | (lengths < 0)).all(axis=0)
    counts = np.where(counts < 0, 1, counts)
    assert columns.step  # without one no array is selected
    micros = _read_steps(selection, columns.step, rows.num_rows)
    is_usable = is_equal & ((counts <= 1) | (micros > 0))
    counts = np.where(is_usable, counts, 0)
    index = np.repeat(np.arange(rows.num_rows), counts)
    positions = np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)
    plain = rows.select([name for name in rows.column_names if name not in names]).take(build_numbers(index))
    times = _add_steps(plain[columns.time], positions * micros[index], columns, policy)
    expanded = plain.set_column(plain.column_names.index(columns.time), columns.time, times)
    arrays = [
        _take_values(lists[name], lengths[names.index(name)], index, positions) if name in lists else expanded[name]
        for name in rows.column_names
    ]
    return pa.table(arrays, names=rows.column_names), index, int(np.count_nonzero(~is_usable))


def _read_steps(selection: Selection, step: Step, n_rows: int) -> np.ndarray:
    """The step of each object in microseconds, 0 where it has none."""
    if not step.field:
        return np.full(n_rows, step.micros, np.int64)
    if selection.steps is None:
        return np.zeros(n_rows, np.int64)
    numbers, _ = read_numbers(selection.steps)
    micros = numbers * step.micros
    is_usable = np.isfinite(micros) & (micros > 0) & (micros < 2**53)
    return np.where(is_usable, np.rint(np.where(is_usable, micros, 0)), 0).astype(np.int64)


def _add_steps(column: pa.ChunkedArray, offsets: np.ndarray, columns: Columns, policy: ReadingOptions) -> pa.Array:
    """Times with *offsets* in microseconds. Those without an offset from UTC go on by the same clock."""
    instants = read_instants(column, columns.time, policy.time)
    is_invalid = instants.micros == NO_TIME
    micros = np.where(is_invalid, 0, instants.micros) + offsets
    is_local = np.broadcast_to(np.asarray(instants.is_local), micros.shape)
    zoned, local = (build_numbers(micros, pa.timestamp("us", zone), null=is_invalid) for zone in ("UTC", None))
    if policy.time is not TimeFormat.ISO or not is_local.any():
        return zoned
    if is_local.all():
        return local
    mask = pa.array(is_local.tolist(), pa.bool_())
    return pc.if_else(mask, local.cast(pa.string()), zoned.cast(pa.string()))


def _take_values(array: pa.Array, lengths: np.ndarray, index: np.ndarray, positions: np.ndarray) -> pa.Array:
    """The value of each row; null where its object has no array."""
    starts = view_numbers(array.offsets)[:-1].astype(np.int64)
    is_absent = lengths[index] < 0
    return array.values.take(build_numbers(np.where(is_absent, 0, starts[index] + positions), null=is_absent))
