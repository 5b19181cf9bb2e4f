"""Predictions as a table: one schema, one order, the same bytes for the same input."""

import numpy as np

from scorer.results import SCHEMA, Predictions, to_parquet, to_table
from shared.domain import Model


def said(device: str, sensor: str, times: list[int], value: float | None = None) -> Predictions:
    count = len(times)
    values = None if value is None else np.full(count, value)
    model = Model(device, sensor, f"{device}/{sensor}.skops", "planned")
    return Predictions(model, "found", np.array(times), values, np.full(count, -0.5), np.arange(count) % 2 == 0)


def test_rows_are_sorted_by_device_then_sensor_then_time_whatever_the_blobs_are_called() -> None:
    # As names of blobs `a#b/x` comes before `a/x`; as a device `a` comes first.
    table = to_table([said("a#b", "x", [3], 1.0), said("a", "y", [1, 2]), said("a", "", [5], 2.0)])

    assert table.schema.equals(SCHEMA)
    assert list(zip(*table.drop_columns(["time", "model"]).to_pydict().values(), strict=True)) == [
        ("a", None, 2.0, -0.5, 1),
        ("a", "y", None, -0.5, 1),
        ("a", "y", None, -0.5, 0),
        ("a#b", "x", 1.0, -0.5, 1),
    ]
    assert table["time"].cast("int64").to_pylist() == [5, 1, 2, 3]
    assert set(table["model"].to_pylist()) == {"found"}


def test_the_same_predictions_in_any_order_give_the_same_bytes() -> None:
    one, other = said("a", "x", [1, 2], 1.0), said("b", "x", [1, 2])

    assert to_parquet(to_table([one, other])) == to_parquet(to_table([other, one]))


def test_no_predictions_are_an_empty_table_of_the_same_schema() -> None:
    table = to_table([])

    assert (table.num_rows, table.schema) == (0, SCHEMA)
