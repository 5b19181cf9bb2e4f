"""A worker process's reply for a model, as bytes that the node can read without trusting the writer.

A line of JSON, then the arrays one after the other. Nothing is unpickled: a hostile model may have written the reply.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from scorer.predictions.outcome import ModelOutcome, get_changed_etag
from scorer.predictions.table import Predictions
from scorer.readings.source import Readings
from shared.contract.domain import Model
from shared.contract.outcomes import ModelResult
from shared.contract.reasons import FROM_SANDBOX, Reason
from shared.contract.text import clip_text

HEAD_LIMIT = 2**14  # bytes of the line
_ROW = 8 + 8 + 8 + 1  # bytes of a time, a value, a score, and a label
_NUMBERS = {"rows", "left_out", "repeated"}
_FLAGS = {"valued", "assumed", "silent", "constant"}
_VERSION = re.compile(r"[0-9A-Za-z.+-]{0,40}")


def compute_reply_limit(readings: Readings) -> int:
    """How many bytes a reply may have for a model with these readings."""
    return HEAD_LIMIT + readings.rows * _ROW


def to_bytes(outcome: ModelOutcome) -> bytes:
    """The reply."""
    result, predictions = outcome.result, outcome.predictions
    head = {
        "rows": len(predictions.time) if predictions else 0,
        "left_out": outcome.left_out,
        "repeated": outcome.repeated,
        "made_by": outcome.made_by,
        "reason": result.reason,
        "message": result.message,
        "valued": bool(predictions and predictions.value is not None),
        "assumed": outcome.is_assumed,
        "silent": outcome.has_silent,
        "constant": outcome.is_constant,
    }
    arrays = []
    if predictions:
        arrays = [predictions.time.astype("<i8"), predictions.score.astype("<f8")]
        arrays += [] if predictions.value is None else [predictions.value.astype("<f8")]
        arrays.append(predictions.anomaly.astype("?"))  # last, so that the others are aligned
    return json.dumps(head).encode() + b"\n" + b"".join(array.tobytes() for array in arrays)


def parse_reply(data: bytes, model: Model, etag: str, readings: Readings) -> ModelOutcome:
    """The reply for *model*, whose file is *etag*, and which got *readings*. Raises ValueError.

    It is checked: scores are finite, labels are 0 or 1, and times are among those of the readings.
    """
    line, _, body = data.partition(b"\n")
    head = _parse_head(line)
    rows, reason, made_by = head["rows"], head["reason"], head["made_by"]
    if reason is not None:
        if rows or body:
            raise ValueError(f"{rows} rows for a failed model")
        result = ModelResult(
            model.id, reason=Reason(reason), message=clip_text(head["message"]), etag=get_changed_etag(etag, model)
        )
        return ModelOutcome(result, made_by=made_by)
    if not 0 < rows <= readings.rows or max(head["left_out"], head["repeated"]) > readings.rows:
        raise ValueError(f"{rows} rows, and {head['left_out']} left out, of {readings.rows} readings")
    expected = rows * (_ROW if head["valued"] else _ROW - 8)
    if len(body) != expected:
        raise ValueError(f"expected {expected} bytes of arrays, got {len(body)}")
    time, score = np.frombuffer(body, "<i8", rows), np.frombuffer(body, "<f8", rows, 8 * rows)
    value = np.frombuffer(body, "<f8", rows, 16 * rows) if head["valued"] else None
    label = np.frombuffer(body, "u1", rows, expected - rows)
    instants = {instant for frame in readings.frames for instant in frame.time.tolist()}  # NumPy would take 100 us
    if not instants.issuperset(time.tolist()) or not (time[1:] > time[:-1]).all():
        raise ValueError("times that are not in the readings, or out of order")
    if not np.isfinite(score).all() or (value is not None and not np.isfinite(value).all()):
        raise ValueError("scores or values that are not finite")
    if label.max() > 1:
        raise ValueError("labels other than 0 and 1")
    result = ModelResult(model.id, rows, int(np.count_nonzero(label)), etag=get_changed_etag(etag, model))
    predictions = Predictions(model, etag, time, value, score, label.astype(bool))
    return ModelOutcome(
        result,
        predictions,
        head["left_out"],
        head["repeated"],
        head["assumed"],
        head["silent"],
        made_by,
        head["constant"],
    )


def _parse_head(line: bytes) -> dict[str, Any]:
    if len(line) > HEAD_LIMIT:
        raise ValueError(f"a head of {len(line)} bytes")
    try:
        head = json.loads(line)
    except RecursionError as error:
        raise ValueError("a head that is nested too deep") from error
    if not isinstance(head, dict) or head.keys() != _NUMBERS | _FLAGS | {"made_by", "reason", "message"}:
        raise ValueError(f"a head with other keys: {str(head)[:100]}")
    counts = all(type(head[name]) is int and head[name] >= 0 for name in _NUMBERS)
    texts = isinstance(head["message"], str) and isinstance(head["made_by"], str)
    reason = head["reason"]
    flags = all(type(head[name]) is bool for name in _FLAGS)
    if not (counts and texts and flags and _VERSION.fullmatch(head["made_by"])):
        raise ValueError("a head with other types")
    if reason is not None and (not isinstance(reason, str) or reason not in FROM_SANDBOX):
        raise ValueError(f"a reason {str(reason)[:40]!r} that is not of a model")
    return head
