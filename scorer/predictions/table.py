"""Predictions as a table, and the table as Parquet: one schema for every fleet, the same bytes for the same input.

Tables are of schema 2, also while they are in memory; only a file may be of schema 1, for readers that expect it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scorer.arrow import are_finite, build_numbers, build_strings, view_numbers
from shared.contract.model_list import ModelList

from .rows import NUMBERS, PredictionRows, Texts, join_anomalies, join_arrays, join_numbers, join_texts

# No `date` or `hour`: they are in the folder names, and pandas and pyarrow refuse them twice.
SCHEMA = pa.schema(
    [
        pa.field("time", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("device", pa.string(), nullable=False),
        ("sensor", pa.string()),  # null where the model scores the whole device: in SQL "there is none"
        ("output", pa.string()),  # one of several outputs of a model; null where it has one
        ("value", pa.float64()),  # null where the model has more than one feature
        ("score", pa.float64()),  # of a detector; higher is more normal
        ("anomaly", pa.int8()),  # of a detector; 1: anomaly, 0: normal
        ("prediction", pa.float64()),  # of a regressor
        ("label", pa.string()),  # of a classifier
        ("probability", pa.float64()),  # of that label
        pa.field("model", pa.string(), nullable=False),  # etag of the model's file
    ]
)
_FIRST_NAMES = ("time", "device", "sensor", "value", "score", "anomaly", "model")
SCHEMAS: Mapping[int, pa.Schema] = {
    1: pa.schema([(name, SCHEMA.field(name).type) for name in _FIRST_NAMES]),
    2: SCHEMA,
}
NEWEST = 2
BATCH_ROWS = 2**16  # that Arrow encodes at once: a divisor of a page of numbers, so the bytes are those of its own 1024
ADDED = tuple(name for name in SCHEMA.names if name not in _FIRST_NAMES)  # since schema 1; a detector has none of them
TEXTS = ("device", "sensor", "output", "label", "model")
_DICTIONARY = pa.dictionary(pa.int32(), pa.string())
# In memory; a file reads back as its schema, since its types come from Parquet alone.
_IN_MEMORY: Mapping[int, pa.Schema] = {
    number: pa.schema([field.with_type(_DICTIONARY) if field.name in TEXTS else field for field in schema])
    for number, schema in SCHEMAS.items()
}


def to_table(models: ModelList, etags: Sequence[str], scored: Sequence[PredictionRows]) -> pa.Table:
    """All rows as one table, in the order of *models*; *etags* are of the files that were scored."""
    indices = join_arrays([rows.indices for rows in scored], np.int64)
    row_counts = join_arrays([rows.row_counts for rows in scored], np.int64)
    starts = np.cumsum(row_counts) - row_counts
    order = np.argsort(indices, kind="stable")
    order_of_rows: Any = slice(None)
    if (order[1:] < order[:-1]).any():
        order_of_rows = expand_ranges(starts[order], row_counts[order])
        indices, row_counts = indices[order], row_counts[order]
    total = int(row_counts.sum())
    devices, sensors, etags_of_rows = (
        texts if len(indices) == len(texts) else [texts[index] for index in indices.tolist()]
        for texts in (models.read_texts("device"), models.read_texts("sensor"), etags)
    )
    time = join_arrays([rows.time for rows in scored], np.int64)[order_of_rows]
    columns = {
        "time": build_numbers(time, pa.timestamp("us", "UTC")),
        "device": _repeat_texts(devices, row_counts),
        "model": _repeat_texts(etags_of_rows, row_counts),
    }
    if models.has_sensors and any(sensors):
        columns["sensor"] = _repeat_texts(sensors, row_counts)
    for name in NUMBERS:
        if (numbers := join_numbers(scored, name)) is not None:
            columns[name] = _build_optional(numbers[order_of_rows])
    if (anomalies := join_anomalies(scored)) is not None:
        labels = anomalies[order_of_rows].view(np.int8)
        columns["anomaly"] = build_numbers(labels, null=labels < 0 if anomalies.dtype != bool else None)
    for name in ("output", "label"):
        if (texts := join_texts(scored, name)) is not None and not texts.is_none():
            columns[name] = _build_texts(texts.select_rows(order_of_rows))
    return _fill_columns(columns, total, _IN_MEMORY[NEWEST])


def _build_optional(numbers: np.ndarray) -> pa.Array:
    """A column of numbers in which NaN is null."""
    if are_finite(numbers):
        return build_numbers(numbers)
    null = np.isnan(numbers)
    return build_numbers(numbers, null=null if null.any() else None)


def _build_texts(texts: Texts) -> pa.DictionaryArray:
    """A column of texts whose dictionary holds just those that it has, in the order of the rows."""
    codes, first_rows = np.unique(texts.codes, return_index=True)
    used = codes[np.argsort(first_rows)]
    used = used[used >= 0]
    new_code = np.full(len(texts.names) + 1, -1, np.int32)
    new_code[used] = np.arange(len(used), dtype=np.int32)
    indices = new_code[texts.codes]
    null = indices < 0
    dictionary = build_strings([texts.names[code] for code in used.tolist()])
    return pa.DictionaryArray.from_arrays(build_numbers(indices, null=null if null.any() else None), dictionary)


def _fill_columns(columns: Mapping[str, pa.Array | pa.ChunkedArray], rows: int, schema: pa.Schema) -> pa.Table:
    """A table of these columns; the others are null, and share their memory."""
    zeros = pa.py_buffer(np.zeros(rows + 1, np.int64))
    arrays = [
        columns[field.name] if field.name in columns else _make_nulls(rows, field.type, zeros) for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _make_nulls(rows: int, kind: pa.DataType, zeros: pa.Buffer) -> pa.Array:
    """A column of nulls over *zeros*, which are 8 bytes for each row and 8 more."""
    if pa.types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(_make_nulls(rows, kind.index_type, zeros), build_strings([]))
    texts = [pa.py_buffer(b"")] if pa.types.is_string(kind) else []
    return pa.Array.from_buffers(kind, rows, [zeros, zeros, *texts])


def identify_schema(schema: pa.Schema) -> int | None:
    """The number of the schema that a file of predictions has; None: it is not ours."""
    return next((number for number, candidate in SCHEMAS.items() if schema.equals(candidate)), None)


def upgrade_table(table: pa.Table) -> pa.Table:
    """The rows of a file of any schema, as SCHEMA says: what schema 1 did not have is null."""
    return _fill_columns(dict(zip(table.column_names, table.columns, strict=True)), table.num_rows, SCHEMA)


def encode_texts(table: pa.Table) -> pa.Table:
    """A table of SCHEMA as it is in memory, for a `PartWriter`."""
    columns = [table[name].dictionary_encode() if name in TEXTS else table[name] for name in SCHEMA.names]
    return pa.Table.from_arrays(columns, schema=_IN_MEMORY[NEWEST])


def expand_ranges(first: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """`first[0], first[0] + 1, ...`, `counts[0]` numbers, then those of the next."""
    ends = np.cumsum(counts)
    shifted: np.ndarray = np.repeat(first - (ends - counts), counts) + np.arange(ends[-1] if len(ends) else 0)
    return shifted


def _repeat_texts(texts: Sequence[str], row_counts: np.ndarray) -> pa.DictionaryArray:
    """A text for each row; "" is null. The dictionary holds each text once, as Parquet's own must."""
    distinct = list(dict.fromkeys(texts))
    text_codes = np.arange(len(texts), dtype=np.int32)
    if len(distinct) < len(texts):
        code_of = dict(zip(distinct, range(len(distinct)), strict=True))
        text_codes = np.fromiter(map(code_of.__getitem__, texts), np.int32, len(texts))
    indices = np.repeat(text_codes, row_counts)
    mask = indices == distinct.index("") if "" in distinct else None
    return pa.DictionaryArray.from_arrays(build_numbers(indices, null=mask), build_strings(distinct))


class PartWriter:
    """A Parquet file that grows by tables, in memory. *schema*: the number of its schema."""

    def __init__(self, schema: int = NEWEST) -> None:
        from pyarrow import parquet

        self.schema = _IN_MEMORY[schema]
        self._sink = pa.BufferOutputStream()
        self._writer = parquet.ParquetWriter(
            self._sink,
            self.schema,
            compression="snappy",
            use_dictionary=[*(name for name in TEXTS if name in self.schema.names), "time", "anomaly"],  # they repeat
            write_statistics=["time", "device"],  # readers prune by these; others cost space for nothing
            store_schema=False,
            write_batch_size=BATCH_ROWS,
        )
        self.rows = 0

    @property
    def size(self) -> int:
        """The size in bytes so far."""
        return int(self._sink.tell())

    def add_table(self, table: pa.Table) -> None:
        """Write a table of schema 2 in memory as row groups of its own.

        Raises ValueError where a number is not finite, a required column has nulls, or the file's schema has no column
        for a value.
        """
        _check_values(table, self.schema)
        columns = [table[name] for name in self.schema.names]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self.schema))
        self.rows += table.num_rows

    def close(self) -> bytes:
        """The bytes of the finished file."""
        self._writer.close()
        return self._sink.getvalue().to_pybytes()  # type: ignore[no-any-return]  # pyarrow ships no types


def _check_values(table: pa.Table, schema: pa.Schema) -> None:
    """Raise ValueError for what a file of this schema must not hold. Columns of nulls cost nothing."""
    for field, column in zip(table.schema, table.columns, strict=True):
        if column.null_count == table.num_rows and field.nullable:
            continue
        if field.name not in schema.names:
            raise ValueError(f"expected no values in column {field.name!r}, which schema 1 does not have, got some")
        if not field.nullable and column.null_count:
            raise ValueError(f"expected no nulls in column {field.name!r}, got {column.null_count}")
        if pa.types.is_floating(field.type) and not all(map(_is_finite, column.chunks)):
            raise ValueError(f"expected finite numbers in column {field.name!r}, got NaN or infinity")


def _is_finite(numbers: pa.DoubleArray) -> bool:
    """Whether all numbers are finite that are not null."""
    if not numbers.null_count:
        return are_finite(view_numbers(numbers))
    return bool(pc.all(pc.is_finite(numbers)).as_py())


def to_parquet(table: pa.Table, schema: int = NEWEST) -> bytes:
    """One table as a file. Raises ValueError as `PartWriter.add_table` does."""
    writer = PartWriter(schema)
    writer.add_table(table)
    return writer.close()
