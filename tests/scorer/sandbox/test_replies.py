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
from scorer.predictions.table import Predictions
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
    assert len(replies.to_bytes(TRUE)) <= replies.compute_reply_limit(READINGS)


def test_the_value_of_a_single_feature_is_read() -> None:
    found = parsed(told(value=np.array([1.5, 2.5])))

    assert found.predictions
    assert found.predictions.value is not None
    assert found.predictions.value.tolist() == [1.5, 2.5]


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
        (b" " * 20_000, "a head of 20000 bytes"),
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
        (changed(valued=1), "other types"),
        (changed(rows=3), "bytes of arrays"),
        (changed(rows=1), "bytes of arrays"),
        (changed(valued=True), "bytes of arrays"),
        (changed(rows=0), "0 rows"),
        (changed(rows=4), "4 rows"),
        (changed(rows=10**30), "rows"),
        (changed(left_out=4), "4 left out, of 3"),
        (changed(repeated=10**9), "of 3 readings"),
        (changed(reason="wrong_features"), "2 rows for a failed model"),
        (changed(reason="no_such"), "that is not of a model"),
        (changed(reason="crashed"), "that is not of a model"),
        (changed(reason="model_removed"), "that is not of a model"),
        (changed(reason="quarantined"), "that is not of a model"),
        (changed(reason=["wrong_features"]), "that is not of a model"),
        (replies.to_bytes(TRUE)[:-1], "bytes of arrays"),
        (replies.to_bytes(TRUE) + b"x", "bytes of arrays"),
        (replies.to_bytes(FAILED) + b"x", "for a failed model"),
        (told(time=np.array([0, 1])), "times"),
        (told(time=np.array([2_000_000, 0])), "times"),
        (told(time=np.array([0, 0])), "times"),
        (told(score=np.array([0.5, np.nan])), "not finite"),
        (told(score=np.array([0.5, np.inf])), "not finite"),
        (told(value=np.array([0.5, np.nan])), "not finite"),
        (replies.to_bytes(TRUE)[:-1] + b"\x02", "labels other than"),
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
