"""What models predicted, in numbers: added in any order, of limited size, and parsed with care."""

from __future__ import annotations

import math
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract.summaries.predicted import (
    LABEL_LIMIT,
    LABELS,
    LabelCount,
    Predicted,
    PredictionRange,
    clip_label,
    close_summary,
    limit_labels,
    merge_predicted,
    sort_labels,
)

COUNTS = st.integers(1, 10**12)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TASKS = st.dictionaries(st.sampled_from(["detector", "regressor", "classifier", "clusterer"]), COUNTS)


@st.composite
def ranges(draw: st.DrawFn) -> PredictionRange:
    least, mean, greatest = sorted(draw(st.tuples(NUMBERS, NUMBERS, NUMBERS)))
    return PredictionRange(draw(COUNTS), least, mean, greatest)


SUMMARIES = st.builds(
    Predicted,
    TASKS,
    COUNTS,
    st.dictionaries(st.sampled_from("abcdefg"), COUNTS).map(sort_labels),
    COUNTS,
    st.none() | ranges(),
)


def without_mean(predicted: Predicted) -> Predicted:
    return replace(predicted, predictions=predicted.predictions and replace(predicted.predictions, mean=0.0))


@given(st.lists(SUMMARIES, min_size=3, max_size=6), st.integers(1, 5))
def test_summaries_may_be_added_in_any_order_and_grouping(summaries: list[Predicted], cut: int) -> None:
    whole = merge_predicted(summaries)
    grouped = merge_predicted([merge_predicted(summaries[:cut]), merge_predicted(summaries[cut:])])
    backwards = merge_predicted(reversed(summaries))
    assert without_mean(grouped) == without_mean(backwards) == without_mean(whole)
    if whole.predictions:
        assert grouped.predictions
        size = max(abs(whole.predictions.least), abs(whole.predictions.greatest))
        assert math.isclose(grouped.predictions.mean, whole.predictions.mean, rel_tol=1e-12, abs_tol=1e-12 * size)
        for merged in (whole.predictions, grouped.predictions):
            assert merged.least <= merged.mean <= merged.greatest


@given(SUMMARIES)
def test_what_is_written_is_read_and_nothing_adds_nothing(summary: Predicted) -> None:
    assert Predicted.from_json(summary.to_json() | {"later": 1}) == summary
    merged = merge_predicted([Predicted(), summary])
    assert without_mean(merged) == without_mean(summary)
    assert Predicted() == merge_predicted([])


def test_the_mean_is_weighted_by_rows_and_does_not_overflow() -> None:
    few, many = (Predicted(predictions=PredictionRange(n, x, x, x)) for n, x in ((1, 4.0), (3, 8.0)))
    assert merge_predicted([few, many]).predictions == PredictionRange(4, 4.0, 7.0, 8.0)
    largest = sys.float_info.max
    ends = [Predicted(predictions=PredictionRange(10**9, x, x, x)) for x in (largest, largest, largest)]
    assert merge_predicted(ends).predictions == PredictionRange(3 * 10**9, largest, largest, largest)


def test_the_most_frequent_labels_are_kept_and_no_row_is_lost() -> None:
    labels = sort_labels({f"{i:03}": i % 60 for i in range(200)})
    assert labels[:2] == (LabelCount("059", 59), LabelCount("119", 59))
    assert all(count.rows for count in labels)
    limited = limit_labels(Predicted(labels=labels, other_labels=7))
    assert limited.labels == labels[:LABELS]
    assert sum(c.rows for c in limited.labels) + limited.other_labels == 7 + sum(i % 60 for i in range(200))
    assert limit_labels(limited) == limited
    read = Predicted.from_json(Predicted(labels=labels, other_labels=7).to_json())
    assert read == limited


def test_detectors_alone_have_no_summary() -> None:
    assert close_summary(Predicted.from_detectors(5, 300)) is None
    assert close_summary(Predicted()) is None
    assert close_summary(Predicted(other_labels=1)) == Predicted(other_labels=1)
    number = Predicted(predictions=PredictionRange(1, 0.0, 0.0, 0.0))
    assert close_summary(number) == number
    assert Predicted.from_detectors(0, 0) == Predicted()


def test_labels_are_legible_and_of_limited_length() -> None:
    assert clip_label("a\ud800\n\u202eb") == "a\ufffd \ufffdb"
    assert clip_label("x" * LABEL_LIMIT) == "x" * LABEL_LIMIT
    assert clip_label("x" * 10**5) == "x" * (LABEL_LIMIT - 1) + "…"
    twice = Predicted(labels=(LabelCount("x…", 2), LabelCount("x…", 1)))
    assert merge_predicted([twice]).labels == (LabelCount("x…", 3),)


@pytest.mark.parametrize(
    "changes",
    [
        {"tasks": {"regressor": -1}}, {"tasks": 7}, {"readings": 1.5}, {"labels": [["a"]]}, {"labels": [["a", True]]},
        {"labels": 7}, {"other_labels": None}, {"predictions": {"rows": 1}}, {"predictions": 7},
        {"predictions": {"rows": 1, "least": 2, "mean": 1, "greatest": 3}},
        {"predictions": {"rows": 1, "least": 0, "mean": "1", "greatest": 3}},
        {"predictions": {"rows": 1, "least": 0, "mean": 1, "greatest": 10**400}},
        {"predictions": {"rows": 1, "least": False, "mean": 1, "greatest": 2}},
    ],
)  # fmt: skip
def test_a_summary_that_breaks_a_rule_is_refused(changes: dict[str, object]) -> None:
    doc = Predicted().to_json()
    assert Predicted.from_json(doc) == Predicted()
    with pytest.raises((LookupError, TypeError, ValueError, ArithmeticError, AttributeError)):
        Predicted.from_json({**doc, **changes})
