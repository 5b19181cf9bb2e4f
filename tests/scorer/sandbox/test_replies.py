"""What a child says is believed only where it could be true; whatever it says, reading it does no harm."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.predictions.outcome import ModelOutcome
from scorer.predictions.rows import Predictions, Texts
from scorer.sandbox import replies
from shared.contract.domain import Model
from shared.contract.outcomes import ModelResult
from shared.contract.reasons import Reason
from tests.scorer.sandbox import misdeeds

MODEL = Model("d", "", "d.skops", "planned")
READINGS = misdeeds.readings("d", np.arange(9.0).reshape(3, 3))
TIME = np.array([0, 2_000_000])  # of the second row nothing came
TRUE = ModelOutcome(
    ModelResult("d", 2, 1, etag="found"),
    Predictions(MODEL, "found", TIME, None, np.array([0.5, -0.5]), np.array([False, True])),
    left_out=1,
    made_by="1.5.2",
)
FAILED = ModelOutcome(ModelResult("d", reason=Reason.WRONG_FEATURES, message="expected 2 features", etag="found"))


def parsed(data: bytes) -> ModelOutcome:
    return replies.parse_reply(data, MODEL, "found", READINGS)


def changed(**head: object) -> bytes:
    line, _, body = replies.to_bytes(TRUE).partition(b"\n")
    return json.dumps({**json.loads(line), **head}).encode() + b"\n" + body


def told(**predictions: Any) -> bytes:
    assert TRUE.predictions
    return replies.to_bytes(replace(TRUE, predictions=replace(TRUE.predictions, **predictions)))


def test_an_answer_is_read_as_it_was_meant() -> None:
    found = parsed(replies.to_bytes(TRUE))

    assert found.predictions
    assert TRUE.predictions
    assert replace(found, predictions=None) == replace(TRUE, predictions=None)
    for name in ("time", "score", "anomaly"):
        there, here = getattr(found.predictions, name), getattr(TRUE.predictions, name)
        assert (there.tolist(), there.dtype) == (here.tolist(), here.dtype)
    assert (found.predictions.value, found.predictions.etag) == (None, "found")
    assert len(replies.to_bytes(TRUE)) <= replies.compute_reply_limit(READINGS.rows)


def test_the_value_of_a_single_feature_is_read() -> None:
    found = parsed(told(value=np.array([1.5, 2.5])))

    assert found.predictions
    assert found.predictions.value is not None
    assert found.predictions.value.tolist() == [1.5, 2.5]


def test_the_rows_of_several_outputs_are_read() -> None:
    outputs, labels = Texts(np.array([0, 1, 0, 1]), ("x", "y")), Texts(np.array([1, -1, 0, -1]), ("up", "down"))
    changes = {"output": outputs, "label": labels, "probability": np.array([0.5, np.nan, 1, 0])}
    time = np.array([0, 0, 2_000_000, 2_000_000])
    answer = Predictions(MODEL, "found", time, **changes)  # type: ignore[arg-type]
    given = ModelOutcome(ModelResult("d", 4, etag="found"), answer)

    read = parsed(replies.to_bytes(given)).predictions

    assert read
    assert (read.score, read.anomaly, read.prediction, read.value) == (None, None, None, None)
    assert (read.output, read.label) != (None, None)
    for texts, expected in ((read.output, outputs), (read.label, labels)):
        assert texts
        assert (texts.codes.tolist(), texts.names) == (expected.codes.tolist(), expected.names)
    np.testing.assert_array_equal(read.probability, changes["probability"])
    assert (read.time.tolist(), read.count_readings()) == (time.tolist(), 2)


def test_a_failure_is_read_as_it_was_meant() -> None:
    assert parsed(replies.to_bytes(FAILED)) == FAILED


def test_a_message_is_made_legible() -> None:
    said = replace(FAILED, result=FAILED.result._replace(message="a\x1b[31m\ud800\nb" + "x" * 1000))

    message = parsed(replies.to_bytes(said)).result.message

    assert message.startswith("a\ufffd[31m\ufffd bxxx")
    assert len(message) == 300
    assert len(replies.to_bytes(said)) <= replies.HEAD_LIMIT


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "Expecting value"),
        (b"[" * 10_000, "too deep"),
        (b" " * 300_000, "a head of 300000 bytes"),
        (b"[]\n", "other keys"),
        (b"{}\n", "other keys"),
        (changed(more=1), "other keys"),
        (changed(rows="2"), "other types"),
        (changed(rows=True), "other types"),
        (changed(rows=-1), "other types"),
        (changed(left_out=1.5), "other types"),
        (changed(made_by="<script>"), "other types"),
        (changed(made_by=None), "other types"),
        (changed(message=3), "other types"),
        (changed(rows=3), "51 bytes of 3 rows, got 34"),
        (changed(rows=1), "17 bytes of 1 rows, got 34"),
        (changed(rows=0), "expected some rows"),
        (changed(rows=4), "4 rows"),
        (changed(columns=["score", "value", "anomaly"]), "columns"),
        (changed(columns=["score"]), "16 bytes|32 bytes"),
        (changed(columns=["score", "score"]), "columns"),
        (changed(columns={}), "columns"),
        (changed(columns=["score", "no"]), "columns"),
        (changed(texts={"label": ["a"]}), "texts of other columns"),
        (changed(texts=[]), "texts of other columns"),
        (changed(rows=10**30), "rows"),
        (changed(left_out=4), "4 rows left out and 0 replaced, of 3"),
        (changed(repeated=10**9), "of 3 readings"),
        (changed(reason="wrong_features"), "2 rows for a failed model"),
        (changed(reason="no_such"), "that is not of a model"),
        (changed(reason="crashed"), "that is not of a model"),
        (changed(reason="model_removed"), "that is not of a model"),
        (changed(reason="quarantined"), "that is not of a model"),
        (changed(reason=["wrong_features"]), "that is not of a model"),
        (replies.to_bytes(TRUE)[:-1], "34 bytes of 2 rows, got 33"),
        (replies.to_bytes(TRUE) + b"x", "34 bytes of 2 rows, got 35"),
        (replies.to_bytes(FAILED) + b"x", "for a failed model"),
        (told(time=np.array([0, 1])), "times"),
        (told(time=np.array([2_000_000, 0])), "times"),
        (told(time=np.array([0, 0])), "times"),
        (told(score=np.array([0.5, np.nan])), "not finite"),
        (told(score=np.array([0.5, np.inf])), "not finite"),
        (told(value=np.array([0.5, np.nan])), "not finite"),
        (told(prediction=np.array([0.5, np.nan])), "not finite"),
        (told(probability=np.array([0.5, np.inf])), "not finite"),
        (told(score=None), "anomalies without scores"),
        (told(anomaly=None), "no anomalies and have no prediction or label"),
        (told(score=None, anomaly=None), "no anomalies and have no prediction or label"),
        (told(label=Texts(np.array([0, 2]), ("a", "b"))), "codes in label without a text"),
        (told(label=Texts(np.array([0, -2]), ("a", "b"))), "codes in label without a text"),
        (told(label=Texts(np.array([0, 1]), ("a", ""))), "texts"),
        (told(label=Texts(np.array([0, 1]), ("a", "a"))), "the same text twice"),
        (told(label=Texts(np.array([0, 1]), ("a", "a\x01"))), "texts"),
        (told(output=Texts(np.array([0, 0]), ("a",)), time=np.array([0, 0])), "repeated"),
        (told(output=Texts(np.array([0, 1]), ("a", "b")), time=np.array([2_000_000, 0])), "out of order"),
        (replies.to_bytes(TRUE)[:-1] + b"\x02", "anomalies other than"),
    ],
)
def test_an_answer_that_cannot_be_true_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parsed(data)


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5)
HEADS = st.fixed_dictionaries(dict.fromkeys(json.loads(changed().partition(b"\n")[0]), JSON))


@given(st.binary() | st.tuples(HEADS, st.binary(max_size=60)))
def test_whatever_a_child_says_is_an_answer_or_a_value_error(said: bytes | tuple[dict[str, Any], bytes]) -> None:
    data = said if isinstance(said, bytes) else json.dumps(said[0]).encode() + b"\n" + said[1]
    try:
        found = parsed(data)
    except ValueError:
        return
    assert found.result.model == "d"
