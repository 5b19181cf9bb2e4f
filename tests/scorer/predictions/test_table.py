"""Predictions as a table: one schema, the models' order, the same bytes for the same input."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scorer.predictions.table import (
    SCHEMA,
    PartWriter,
    PredictionRows,
    Predictions,
    expand_ranges,
    join_predictions,
    to_parquet,
    to_table,
)
from shared.contract.domain import Model

MODELS = [Model("a#b", "x", "a#b/x.skops", "1"), Model("a", "y", "a/y.skops", "2"), Model("a", "", "a.skops", "3")]
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
    assert list(zip(*table.drop_columns(["time"]).to_pydict().values(), strict=True)) == [
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
