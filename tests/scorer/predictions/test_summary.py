"""The summary of rows, computed from whole columns, is what a person counts row by row."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from scorer.predictions.rows import Predictions, join_predictions, make_texts
from scorer.predictions.summary import summarize_rows
from shared.contract.domain import Model
from shared.contract.summaries.predicted import LABEL_LIMIT, LabelCount, Predicted, PredictionRange, merge_predicted

MODEL = Model("pump", "", "pump.skops", "e")
TIME = np.array([1, 2, 3], np.int64)
DETECTOR = Predictions(MODEL, "e", TIME, score=np.arange(3.0), anomaly=np.array([True, False, False]))
REGRESSOR = Predictions(MODEL, "e", TIME, prediction=np.array([1.0, -4.0, 0.0]))
TWO_OUTPUTS = Predictions(
    MODEL, "e", np.array([1, 1, 2, 2]), prediction=np.array([1.0, 2.0, 3.0, 12.0]), output=make_texts("0101")
)
CLASSIFIER = Predictions(MODEL, "e", TIME, label=make_texts(["ok", "worn", "ok"]))
ALL_CLASSES = Predictions(
    MODEL,
    "e",
    np.repeat(np.array([1, 2]), 3),
    label=make_texts(["worn", None, None, "ok", None, None]),
    output=make_texts([None, "ok", "worn"] * 2),
    probability=np.array([0.9, 0.1, 0.9, 0.6, 0.6, 0.4]),
)
CLUSTERER = Predictions(MODEL, "e", TIME, score=-np.arange(3.0), label=make_texts(["1", "0", "0"]))
WITH_THRESHOLD = Predictions(
    MODEL, "e", TIME, score=np.arange(3.0), anomaly=np.zeros(3, bool), prediction=np.array([5.0, 5.0, 5.0])
)


def summarize(*models: Predictions) -> Predicted:
    return summarize_rows(join_predictions(list(enumerate(models))))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (DETECTOR, Predicted.from_detectors(1, 3)),
        (REGRESSOR, Predicted({"regressor": 1}, 3, predictions=PredictionRange(3, -4.0, -1.0, 1.0))),
        (TWO_OUTPUTS, Predicted({"regressor": 1}, 2, predictions=PredictionRange(4, 1.0, 4.5, 12.0))),
        (CLASSIFIER, Predicted({"classifier": 1}, 3, (LabelCount("ok", 2), LabelCount("worn", 1)))),
        (ALL_CLASSES, Predicted({"classifier": 1}, 2, (LabelCount("ok", 1), LabelCount("worn", 1)))),
        (CLUSTERER, Predicted({"clusterer": 1}, 3, (LabelCount("0", 2), LabelCount("1", 1)))),
        (WITH_THRESHOLD, Predicted({"detector": 1}, 3, predictions=PredictionRange(3, 5.0, 5.0, 5.0))),
    ],
    ids=["detector", "regressor", "two outputs", "classifier", "all classes", "clusterer", "threshold"],
)
def test_the_columns_of_a_model_say_its_task_and_its_numbers(model: Predictions, expected: Predicted) -> None:
    assert summarize(model) == expected


def test_models_of_all_tasks_side_by_side_are_summarized_as_one_by_one() -> None:
    models = [ALL_CLASSES, DETECTOR, REGRESSOR, CLUSTERER, TWO_OUTPUTS, CLASSIFIER, DETECTOR, WITH_THRESHOLD]
    joined, added = summarize(*models), merge_predicted(map(summarize, models))
    assert joined.predictions == PredictionRange(10, -4.0, 3.0, 12.0)
    assert added == joined
    assert joined.tasks == {"classifier": 2, "clusterer": 1, "detector": 3, "regressor": 2}
    assert joined.readings == sum(model.count_readings() for model in models)
    assert sum(count.rows for count in joined.labels) == 3 + 3 + 2


def test_readings_of_neighbours_at_one_time_are_counted_apart() -> None:
    ends_with_one = Predictions(
        MODEL, "e", np.array([1, 1]), prediction=np.array([1.0, 2.0]), output=make_texts(["0", "1"])
    )
    assert summarize(ends_with_one, ends_with_one).readings == 2


def test_models_without_rows_are_in_no_task() -> None:
    empty = Predictions(MODEL, "e", TIME[:0], prediction=np.empty(0))
    assert summarize(empty) == Predicted()
    assert summarize(empty, REGRESSOR, empty).tasks == {"regressor": 1}


def test_the_mean_of_the_largest_numbers_is_finite() -> None:
    largest = sys.float_info.max
    model = Predictions(MODEL, "e", TIME, prediction=np.full(3, largest))
    assert summarize(model).predictions == PredictionRange(3, largest, largest, largest)


def test_long_labels_that_begin_alike_are_counted_as_one() -> None:
    model = Predictions(MODEL, "e", TIME, label=make_texts(["x" * 200 + end for end in "abc"]))
    assert summarize(model).labels == (LabelCount("x" * (LABEL_LIMIT - 1) + "…", 3),)
