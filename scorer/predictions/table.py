"""Predictions as a table, and the table as Parquet: one schema for every fleet, the same bytes for the same input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from scorer.arrow import build_numbers, build_strings
from shared.contract.domain import Model

# No `date` or `hour`: they are in the folder names, and pandas and pyarrow refuse them twice.
SCHEMA = pa.schema(
    [
        ("time", pa.timestamp("us", "UTC")),
        ("device", pa.string()),
        ("sensor", pa.string()),  # null where the model scores the whole device: in SQL "there is none"
        ("value", pa.float64()),  # null where the model has more than one feature
        ("score", pa.float64()),  # higher is more normal
        ("anomaly", pa.int8()),  # 1: anomaly, 0: normal
        ("model", pa.string()),  # etag of the model's file
    ]
)
_REPEATED = ("device", "sensor", "model")
_TEXT = pa.dictionary(pa.int32(), pa.string())
# In memory; a file reads back as SCHEMA, since its types come from Parquet alone.
_IN_MEMORY = pa.schema([(field.name, _TEXT if field.name in _REPEATED else field.type) for field in SCHEMA])


@dataclass(frozen=True, slots=True)
class Predictions:
    """One model's predictions for its rows, oldest first."""

    model: Model
    etag: str
    time: np.ndarray  # int64, microseconds since 1970
    value: np.ndarray | None  # float64
    score: np.ndarray  # float64
    anomaly: np.ndarray  # bool


@dataclass(frozen=True, slots=True)
class PredictionRows:
    """Predictions of some models of a pack, one after the other; each model's rows oldest first."""

    indices: np.ndarray  # int64, the models' indices in the pack
    row_counts: np.ndarray  # int64, rows of each model
    time: np.ndarray  # int64, microseconds since 1970
    value: np.ndarray | None  # float64, NaN where the model has more than one feature; None where all have
    score: np.ndarray  # float64
    anomaly: np.ndarray  # bool

    def select_models(self, keep: np.ndarray) -> PredictionRows:
        """The rows of the models that the mask *keep* selects."""
        is_kept = np.repeat(keep, self.row_counts)
        value = None if self.value is None else self.value[is_kept]
        return PredictionRows(
            self.indices[keep],
            self.row_counts[keep],
            self.time[is_kept],
            value,
            self.score[is_kept],
            self.anomaly[is_kept],
        )


def join_predictions(predictions: Sequence[tuple[int, Predictions]]) -> PredictionRows:
    """The predictions of single models, each with its index in the pack."""
    all_predictions = [model_predictions for _, model_predictions in predictions]
    row_counts = np.array([len(model_predictions.time) for model_predictions in all_predictions], np.int64)
    values = [
        np.full(len(model_predictions.time), np.nan) if model_predictions.value is None else model_predictions.value
        for model_predictions in all_predictions
    ]
    return PredictionRows(
        np.array([index for index, _ in predictions], np.int64),
        row_counts,
        _join_arrays([model_predictions.time for model_predictions in all_predictions], np.int64),
        _join_arrays(values, np.float64),
        _join_arrays([model_predictions.score for model_predictions in all_predictions], np.float64),
        _join_arrays([model_predictions.anomaly for model_predictions in all_predictions], bool),
    )


def to_table(models: Sequence[Model], etags: Sequence[str], scored: Sequence[PredictionRows]) -> pa.Table:
    """All rows as one table, in the order of *models*; *etags* are of the files that were scored."""
    indices = _join_arrays([rows.indices for rows in scored], np.int64)
    row_counts = _join_arrays([rows.row_counts for rows in scored], np.int64)
    starts = np.cumsum(row_counts) - row_counts
    order = np.argsort(indices, kind="stable")
    order_of_rows: Any = slice(None)
    if (order[1:] < order[:-1]).any():
        order_of_rows = expand_ranges(starts[order], row_counts[order])
        indices, row_counts = indices[order], row_counts[order]

    def join_column(name: str, kind: type) -> np.ndarray:
        values: np.ndarray = _join_arrays([getattr(rows, name) for rows in scored], kind)[order_of_rows]
        return values

    total = int(row_counts.sum())
    value = None
    if any(rows.value is not None for rows in scored):
        values = [np.full(len(rows.time), np.nan) if rows.value is None else rows.value for rows in scored]
        value = _join_arrays(values, np.float64)[order_of_rows]
    row_models = [models[index] for index in indices.tolist()]
    columns = [
        build_numbers(join_column("time", np.int64), pa.timestamp("us", "UTC")),
        _repeat_texts([model.device for model in row_models], row_counts),
        _repeat_texts([model.sensor for model in row_models], row_counts)
        if any(m.sensor for m in row_models)
        else pa.nulls(total, _TEXT),
        build_numbers(value, null=np.isnan(value)) if value is not None else pa.nulls(total, pa.float64()),
        build_numbers(join_column("score", np.float64)),
        build_numbers(join_column("anomaly", bool).view(np.int8)),
        _repeat_texts([etags[index] for index in indices.tolist()], row_counts),
    ]
    return pa.Table.from_arrays(columns, schema=_IN_MEMORY)


def expand_ranges(first: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """`first[0], first[0] + 1, ...`, `counts[0]` numbers, then those of the next."""
    ends = np.cumsum(counts)
    shifted: np.ndarray = np.repeat(first - (ends - counts), counts) + np.arange(ends[-1] if len(ends) else 0)
    return shifted


def _join_arrays(arrays: Sequence[np.ndarray], kind: type) -> np.ndarray:
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate(arrays) if arrays else np.empty(0, kind)


def _repeat_texts(texts: Sequence[str], row_counts: np.ndarray) -> pa.DictionaryArray:
    """A text for each row; "" is null. The dictionary holds each text once, as Parquet's own must."""
    codes: dict[str, int] = {}
    text_codes = np.array([codes.setdefault(text, len(codes)) for text in texts], np.int32)
    empty = codes.get("")
    indices = np.repeat(text_codes, row_counts)
    mask = None if empty is None else indices == empty
    return pa.DictionaryArray.from_arrays(build_numbers(indices, null=mask), build_strings(list(codes)))


class PartWriter:
    """A Parquet file that grows by tables, in memory."""

    def __init__(self) -> None:
        from pyarrow import parquet

        self._sink = pa.BufferOutputStream()
        self._writer = parquet.ParquetWriter(
            self._sink,
            _IN_MEMORY,
            compression="snappy",
            use_dictionary=[*_REPEATED, "time", "anomaly"],  # of values that repeat
            write_statistics=["time", "device"],  # readers prune by these; others cost space for nothing
            store_schema=False,
        )
        self.rows = 0

    @property
    def size(self) -> int:
        """The size in bytes so far."""
        return int(self._sink.tell())

    def add_table(self, table: pa.Table) -> None:
        """Write a table as row groups of its own."""
        self._writer.write_table(table)
        self.rows += table.num_rows

    def close(self) -> bytes:
        """The bytes of the finished file."""
        self._writer.close()
        return self._sink.getvalue().to_pybytes()  # type: ignore[no-any-return]  # pyarrow ships no types


def to_parquet(table: pa.Table) -> bytes:
    """One table as a file."""
    writer = PartWriter()
    writer.add_table(table)
    return writer.close()
