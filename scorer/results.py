"""Predictions as a table, and the table as Parquet: one schema for every fleet, the same bytes for the same input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from shared.domain import Model

# No `date` or `hour`: the folders say them, and pandas and pyarrow refuse a folder that says them twice.
SCHEMA = pa.schema(
    [
        ("time", pa.timestamp("us", "UTC")),
        ("device", pa.string()),
        ("sensor", pa.string()),  # null where the model scores the whole device: SQL's word for "there is none"
        ("value", pa.float64()),  # null where the model has more than one feature
        ("score", pa.float64()),  # higher is more normal
        ("anomaly", pa.int8()),  # 1: anomaly, 0: normal
        ("model", pa.string()),  # etag of the model that said so
    ]
)
_REPEATED = ["device", "sensor", "model"]  # worth a dictionary; numbers are not


@dataclass(frozen=True, slots=True)
class Predictions:
    """What one model said of its rows, oldest first."""

    model: Model
    etag: str
    time: np.ndarray  # int64, microseconds since 1970
    value: np.ndarray | None  # float64
    score: np.ndarray  # float64
    anomaly: np.ndarray  # bool


def to_table(predictions: Sequence[Predictions]) -> pa.Table:
    """All predictions as one table, sorted by device, sensor, time."""
    ordered = sorted(predictions, key=lambda p: (p.model.device, p.model.sensor))
    if not ordered:
        return SCHEMA.empty_table()
    lengths = np.array([len(p.time) for p in ordered])
    rows = int(lengths.sum())
    no_value = np.repeat([p.value is None for p in ordered], lengths)
    values = np.concatenate([np.zeros(len(p.time)) if p.value is None else p.value for p in ordered])
    columns = [
        pa.array(np.concatenate([p.time for p in ordered])).cast(pa.timestamp("us", "UTC")),
        _repeated([p.model.device for p in ordered], lengths),
        _repeated([p.model.sensor or None for p in ordered], lengths),
        pa.array(values, mask=no_value),
        pa.array(np.concatenate([p.score for p in ordered])),
        pa.array(np.concatenate([p.anomaly for p in ordered]).astype(np.int8)),
        _repeated([p.etag for p in ordered], lengths),
    ]
    table = pa.Table.from_arrays(columns, schema=SCHEMA)
    assert table.num_rows == rows
    return table


def _repeated(texts: Sequence[str | None], lengths: np.ndarray) -> pa.Array:
    return pa.array(texts, pa.string()).take(pa.array(np.repeat(np.arange(len(texts)), lengths)))


def to_parquet(table: pa.Table) -> bytes:
    """The file's bytes."""
    from pyarrow import parquet

    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, compression="snappy", use_dictionary=_REPEATED)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]  # pyarrow ships no types
