"""Predictions as a table, and the table as Parquet: one schema for every fleet, the same bytes for the same input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from scorer.arrow import numbers, strings
from shared.contract.domain import Model

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
_REPEATED = ("device", "sensor", "model")
_TEXT = pa.dictionary(pa.int32(), pa.string())
# As it is in memory; a file of it reads back as SCHEMA, since its types are told by Parquet alone.
_IN_MEMORY = pa.schema([(field.name, _TEXT if field.name in _REPEATED else field.type) for field in SCHEMA])


@dataclass(frozen=True, slots=True)
class Predictions:
    """What one model said of its rows, oldest first."""

    model: Model
    etag: str
    time: np.ndarray  # int64, microseconds since 1970
    value: np.ndarray | None  # float64
    score: np.ndarray  # float64
    anomaly: np.ndarray  # bool


@dataclass(frozen=True, slots=True)
class Rows:
    """What some models of a portion said, one after the other; each model's rows oldest first."""

    places: np.ndarray  # int64, which models, by their places in the portion
    lengths: np.ndarray  # int64, how many rows each has
    time: np.ndarray  # int64, microseconds since 1970
    value: np.ndarray | None  # float64, NaN where the model has more than one feature; None where all have
    score: np.ndarray  # float64
    anomaly: np.ndarray  # bool

    def only(self, keep: np.ndarray) -> Rows:
        """The rows of some of the models; *keep* says of which."""
        of = np.repeat(keep, self.lengths)
        value = None if self.value is None else self.value[of]
        return Rows(self.places[keep], self.lengths[keep], self.time[of], value, self.score[of], self.anomaly[of])


def together(predictions: Sequence[tuple[int, Predictions]]) -> Rows:
    """The predictions of single models, each with its place in the portion."""
    ones = [one for _, one in predictions]
    lengths = np.array([len(one.time) for one in ones], np.int64)
    values = [np.full(len(one.time), np.nan) if one.value is None else one.value for one in ones]
    return Rows(
        np.array([place for place, _ in predictions], np.int64),
        lengths,
        _joined([one.time for one in ones], np.int64),
        _joined(values, np.float64),
        _joined([one.score for one in ones], np.float64),
        _joined([one.anomaly for one in ones], bool),
    )


def to_table(models: Sequence[Model], etags: Sequence[str], scored: Sequence[Rows]) -> pa.Table:
    """All rows as one table, in the order of *models*; *etags* are of the files that were scored."""
    places = _joined([rows.places for rows in scored], np.int64)
    lengths = _joined([rows.lengths for rows in scored], np.int64)
    starts = np.cumsum(lengths) - lengths
    order = np.argsort(places, kind="stable")
    here: Any = slice(None)
    if (order[1:] < order[:-1]).any():
        here = ranges(starts[order], lengths[order])
        places, lengths = places[order], lengths[order]

    def column(name: str, kind: type) -> np.ndarray:
        found: np.ndarray = _joined([getattr(rows, name) for rows in scored], kind)[here]
        return found

    total = int(lengths.sum())
    value = None
    if any(rows.value is not None for rows in scored):
        values = [np.full(len(rows.time), np.nan) if rows.value is None else rows.value for rows in scored]
        value = _joined(values, np.float64)[here]
    of = [models[place] for place in places.tolist()]
    columns = [
        numbers(column("time", np.int64), pa.timestamp("us", "UTC")),
        _repeated([model.device for model in of], lengths),
        _repeated([model.sensor for model in of], lengths) if any(m.sensor for m in of) else pa.nulls(total, _TEXT),
        numbers(value, null=np.isnan(value)) if value is not None else pa.nulls(total, pa.float64()),
        numbers(column("score", np.float64)),
        numbers(column("anomaly", bool).view(np.int8)),
        _repeated([etags[place] for place in places.tolist()], lengths),
    ]
    return pa.Table.from_arrays(columns, schema=_IN_MEMORY)


def ranges(first: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """`first[0], first[0] + 1, ...`, `lengths[0]` of them, then those of the next."""
    ends = np.cumsum(lengths)
    shifted: np.ndarray = np.repeat(first - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)
    return shifted


def _joined(arrays: Sequence[np.ndarray], kind: type) -> np.ndarray:
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate(arrays) if arrays else np.empty(0, kind)


def _repeated(texts: Sequence[str], lengths: np.ndarray) -> pa.DictionaryArray:
    """A text for each row; "" is null. The dictionary holds each text once, as Parquet's own must."""
    codes: dict[str, int] = {}
    of = np.array([codes.setdefault(text, len(codes)) for text in texts], np.int32)
    empty = codes.get("")
    indices = np.repeat(of, lengths)
    mask = None if empty is None else indices == empty
    return pa.DictionaryArray.from_arrays(numbers(indices, null=mask), strings(list(codes)))


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
            write_statistics=["time", "device"],  # what readers prune by; the others cost as much as they are large
            store_schema=False,
        )
        self.rows = 0

    @property
    def size(self) -> int:
        """Bytes so far."""
        return int(self._sink.tell())

    def add(self, table: pa.Table) -> None:
        """Write a table as row groups of its own."""
        self._writer.write_table(table)
        self.rows += table.num_rows

    def close(self) -> bytes:
        """Its bytes, whole."""
        self._writer.close()
        return self._sink.getvalue().to_pybytes()  # type: ignore[no-any-return]  # pyarrow ships no types


def to_parquet(table: pa.Table) -> bytes:
    """One table as a file."""
    writer = PartWriter()
    writer.add(table)
    return writer.close()
