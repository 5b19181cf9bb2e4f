"""Predictions as a table: one schema, the models' order, the same bytes for the same input."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scorer.arrow import are_finite
from scorer.predictions.rows import PredictionRows, Predictions, join_predictions
from scorer.predictions.table import (
    ADDED,
    SCHEMA,
    SCHEMAS,
    PartWriter,
    encode_texts,
    expand_ranges,
    identify_schema,
    to_parquet,
    to_table,
    upgrade_table,
)
from shared.contract.domain import Model
from shared.contract.model_list import ModelList

MODELS = ModelList.from_models(
    [Model("a#b", "x", "a#b/x.skops", "1"), Model("a", "y", "a/y.skops", "2"), Model("a", "", "a.skops", "3")]
)
ETAGS = ["1", "newer", "3"]


def said(place: int, times: list[int], value: float | None = None) -> tuple[int, Predictions]:
    count = len(times)
    values = None if value is None else np.full(count, value)
    return place, Predictions(
        MODELS[place], ETAGS[place], np.array(times), values, np.full(count, -0.5), np.arange(count) % 2 == 0
    )


def read(data: bytes) -> pa.Table:
    return pq.read_table(pa.BufferReader(data))


def test_rows_lie_in_the_order_of_the_models_each_one_s_oldest_first() -> None:
    first, then = join_predictions([said(2, [5], 2.0), said(0, [3], 1.0)]), join_predictions([said(1, [1, 2])])

    table = read(to_parquet(to_table(MODELS, ETAGS, [first, then])))

    assert table.schema.equals(SCHEMA)
    assert list(zip(*table.drop_columns(["time", *ADDED]).to_pydict().values(), strict=True)) == [
        ("a#b", "x", 1.0, -0.5, 1, "1"),
        ("a", "y", None, -0.5, 1, "newer"),
        ("a", "y", None, -0.5, 0, "newer"),
        ("a", None, 2.0, -0.5, 1, "3"),
    ]
    assert table["time"].cast("int64").to_pylist() == [3, 1, 2, 5]


def test_the_same_predictions_in_any_order_give_the_same_bytes() -> None:
    one, other = said(0, [1, 2], 1.0), said(2, [1, 2], 1.0)

    whole = to_parquet(to_table(MODELS, ETAGS, [join_predictions([one, other])]))

    assert whole == to_parquet(to_table(MODELS, ETAGS, [join_predictions([other]), join_predictions([one])]))


def test_where_no_model_has_one_feature_there_are_no_values() -> None:
    rows = PredictionRows(np.array([0, 1]), np.array([1, 2]), np.arange(3), None, np.zeros(3), np.ones(3, bool))

    table = read(to_parquet(to_table(MODELS, ETAGS, [rows, join_predictions([said(2, [9], 4.0)])])))

    assert table["value"].to_pylist() == [None, None, None, 4.0]
    assert table["anomaly"].to_pylist() == [1, 1, 1, 1]


def test_rows_of_some_models_can_be_left_out() -> None:
    rows = join_predictions([said(0, [1, 2], 1.0), said(1, [3]), said(2, [4, 5])]).select_models(
        np.array([True, False, True])
    )

    assert (rows.indices.tolist(), rows.row_counts.tolist(), rows.time.tolist()) == ([0, 2], [2, 2], [1, 2, 4, 5])


def test_no_predictions_are_an_empty_table_of_the_same_schema() -> None:
    assert read(to_parquet(to_table(MODELS, ETAGS, []))).equals(SCHEMA.empty_table())


def test_a_part_grows_by_tables() -> None:
    tables = [to_table(MODELS, ETAGS, [join_predictions([said(place, [1, 2])])]) for place in (0, 1)]
    writer = PartWriter()
    for table in tables:
        writer.add_table(table)

    assert writer.rows == 4
    data = writer.close()
    assert read(data)["device"].to_pylist() == ["a#b", "a#b", "a", "a"]
    assert pq.ParquetFile(pa.BufferReader(data)).num_row_groups == 2


def test_ranges_are_counted_up_from_each_first() -> None:
    assert expand_ranges(np.array([7, 0, 3]), np.array([2, 0, 3])).tolist() == [7, 8, 3, 4, 5]
    assert expand_ranges(np.empty(0, np.int64), np.empty(0, np.int64)).tolist() == []


# Schemas

DETECTED = [join_predictions([said(2, [5], 2.0), said(0, [3], 1.0), said(1, [1, 2])])]


def test_the_columns_of_schema_2_stand_in_their_order_and_three_are_required() -> None:
    schema = read(to_parquet(to_table(MODELS, ETAGS, DETECTED))).schema

    assert [(field.name, str(field.type), field.nullable) for field in schema] == [
        ("time", "timestamp[us, tz=UTC]", False),
        ("device", "string", False),
        ("sensor", "string", True),
        ("output", "string", True),
        ("value", "double", True),
        ("score", "double", True),
        ("anomaly", "int8", True),
        ("prediction", "double", True),
        ("label", "string", True),
        ("probability", "double", True),
        ("model", "string", False),
    ]


def test_a_file_of_schema_1_has_the_bytes_that_it_had_before_there_was_another() -> None:
    data = to_parquet(to_table(MODELS, ETAGS, DETECTED), 1)

    assert read(data).schema.equals(SCHEMAS[1])
    assert read(data).schema.names == ["time", "device", "sensor", "value", "score", "anomaly", "model"]
    # Of 0.1.0 with pyarrow 26.0.1, whose version stands in the file.
    expected = "57da914167a82b97"
    assert pa.__version__ != "26.0.1" or hashlib.sha256(data).hexdigest()[:16] == expected


@pytest.mark.parametrize("schema", [1, 2])
def test_rows_are_the_same_in_each_schema(schema: int) -> None:
    table = to_table(MODELS, ETAGS, DETECTED)

    data = to_parquet(table, schema)

    assert identify_schema(read(data).schema) == schema
    upgraded = upgrade_table(read(data))
    assert upgraded.equals(table.cast(SCHEMA))
    assert [upgraded[name].null_count for name in ADDED] == [4] * len(ADDED)
    assert read(to_parquet(encode_texts(upgraded))).equals(upgraded)


def test_a_table_of_other_columns_is_of_no_schema() -> None:
    first = SCHEMAS[1]
    others = [
        first.remove(0),
        first.append(pa.field("x", pa.string())),
        pa.schema(list(reversed(first))),
        first.set(4, pa.field("score", pa.float32())),
        SCHEMA.set(0, SCHEMA.field(0).with_nullable(nullable=True)),
    ]

    assert [identify_schema(schema) for schema in others] == [None] * 5


WRONG = [
    (2, "score", [1.0, np.nan], "expected finite numbers in column 'score'"),
    (1, "score", [1.0, np.inf], "expected finite numbers in column 'score'"),
    (2, "value", [-np.inf, None], "expected finite numbers in column 'value'"),
    (2, "prediction", [np.nan, None], "expected finite numbers in column 'prediction'"),
    (2, "probability", [0.5, np.inf], "expected finite numbers in column 'probability'"),
    (2, "time", [0, None], "expected no nulls in column 'time', got 1"),
    (2, "device", ["a", None], "expected no nulls in column 'device', got 1"),
    (2, "model", [None, None], "expected no nulls in column 'model', got 2"),
    (1, "model", ["a", None], "expected no nulls in column 'model', got 1"),
    (1, "prediction", [0.5, None], "expected no values in column 'prediction', which schema 1 does not have"),
    (1, "label", [None, "on"], "expected no values in column 'label', which schema 1 does not have"),
]


@pytest.mark.parametrize(("schema", "name", "cells", "message"), WRONG)
def test_what_no_file_may_hold_is_not_written(schema: int, name: str, cells: list[object], message: str) -> None:
    columns = {field.name: pa.array(cells if field.name == name else _fill(field), field.type) for field in SCHEMA}
    table = encode_texts(pa.table(columns, schema=SCHEMA))

    with pytest.raises(ValueError, match=message):
        to_parquet(table, schema)


def _fill(field: pa.Field) -> list[object]:
    """Two cells of a detector's rows."""
    if field.name in ADDED:
        return [None, None]
    return ["x", "y"] if pa.types.is_string(field.type) else [1, 0]


def test_a_value_in_each_column_is_written_and_read_back() -> None:
    row = {"time": 1, "device": "a", "sensor": "b", "output": "c", "value": 1.5, "score": 2.5, "anomaly": 1,
           "prediction": 3.5, "label": "true", "probability": 0.5, "model": "e"}  # fmt: skip
    table = pa.table({field.name: pa.array([row[field.name]], field.type) for field in SCHEMA}, schema=SCHEMA)

    assert read(to_parquet(encode_texts(table))).equals(table)


def test_numbers_are_finite_also_where_their_sum_is_not() -> None:
    assert are_finite(np.array([1.7e308, 1.7e308, -1.0]))
    assert are_finite(np.empty(0))
    assert not are_finite(np.array([1.0, np.nan]))
    assert not are_finite(np.array([np.inf, -np.inf]))
