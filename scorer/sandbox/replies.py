"""What a child says of a model, as bytes that the node can read without trusting who wrote them.

A line of JSON, then the arrays one after the other. Nothing is unpickled: what the child has loaded may speak for it.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from scorer.predictions.outcome import Scored, changed
from scorer.predictions.table import Predictions
from scorer.readings.source import Readings
from shared.contract.domain import SKIPS, Model, Reason
from shared.contract.report import ModelResult
from shared.contract.text import clip_text

HEAD = 2**14  # bytes that the line may have
_ROW = 8 + 8 + 8 + 1  # bytes of an instant, a value, a score, and a label
_NUMBERS = {"rows", "left_out", "repeated"}
_VERSION = re.compile(r"[0-9A-Za-z.+]{0,40}")
_REASONS = frozenset(  # that a model, a file, and its readings can give; not those of jobs and runs
    {
        Reason.EMPTY_MODEL,
        Reason.TOO_LARGE,
        Reason.UNREADABLE_MODEL,
        Reason.UNTRUSTED_MODEL,
        Reason.INCOMPATIBLE_MODEL,
        Reason.NOT_A_DETECTOR,
        Reason.UNFITTED_MODEL,
        Reason.WRONG_FEATURES,
        Reason.BAD_READINGS,
        Reason.UNREADABLE_READINGS,
        Reason.BAD_SCORES,
        Reason.ESTIMATOR_ERROR,
        Reason.NO_READINGS,
    }
)
assert {Reason.NO_READINGS} == SKIPS & _REASONS


def room(readings: Readings) -> int:
    """How many bytes an answer may have about a model of these readings."""
    return HEAD + readings.rows * _ROW


def to_bytes(one: Scored) -> bytes:
    """The answer."""
    verdict, found = one.verdict, one.predictions
    head = {
        "rows": len(found.time) if found else 0,
        "left_out": one.left_out,
        "repeated": one.repeated,
        "made_by": one.made_by,
        "reason": verdict.reason,
        "message": verdict.message,
        "valued": bool(found and found.value is not None),
    }
    arrays = []
    if found:
        arrays = [found.time.astype("<i8"), found.score.astype("<f8")]
        arrays += [] if found.value is None else [found.value.astype("<f8")]
        arrays.append(found.anomaly.astype("?"))  # last, so that the others lie aligned
    return json.dumps(head).encode() + b"\n" + b"".join(array.tobytes() for array in arrays)


def parse(data: bytes, model: Model, etag: str, readings: Readings) -> Scored:
    """The answer for *model*, whose file is *etag*, and to which *readings* were given. Raises ValueError.

    What it says is as it may be: scores are numbers, labels yes or no, and it knows no instant that was not given.
    """
    line, _, body = data.partition(b"\n")
    head = _head(line)
    rows, reason, made_by = head["rows"], head["reason"], head["made_by"]
    if reason is not None:
        if rows or body:
            raise ValueError(f"{rows} rows of a model that failed")
        verdict = ModelResult(
            model.id, reason=Reason(reason), message=clip_text(head["message"]), etag=changed(etag, model)
        )
        return Scored(verdict)
    if not 0 < rows <= readings.rows or max(head["left_out"], head["repeated"]) > readings.rows:
        raise ValueError(f"{rows} rows, and {head['left_out']} left out, of {readings.rows} that were given")
    expected = rows * (_ROW if head["valued"] else _ROW - 8)
    if len(body) != expected:
        raise ValueError(f"expected {expected} bytes of arrays, got {len(body)}")
    time, score = np.frombuffer(body, "<i8", rows), np.frombuffer(body, "<f8", rows, 8 * rows)
    value = np.frombuffer(body, "<f8", rows, 16 * rows) if head["valued"] else None
    label = np.frombuffer(body, "u1", rows, expected - rows)
    given = {instant for frame in readings.frames for instant in frame.time.tolist()}  # NumPy would take 100 us
    if not given.issuperset(time.tolist()) or not (time[1:] > time[:-1]).all():
        raise ValueError("instants that were not given, or out of order")
    if not np.isfinite(score).all() or (value is not None and not np.isfinite(value).all()):
        raise ValueError("scores or values that are no numbers")
    if label.max() > 1:
        raise ValueError("labels that are none")
    verdict = ModelResult(model.id, rows, int(np.count_nonzero(label)), etag=changed(etag, model))
    predictions = Predictions(model, etag, time, value, score, label.astype(bool))
    return Scored(verdict, predictions, head["left_out"], head["repeated"], made_by)


def _head(line: bytes) -> dict[str, Any]:
    if len(line) > HEAD:
        raise ValueError(f"a head of {len(line)} bytes")
    try:
        head = json.loads(line)
    except RecursionError as error:
        raise ValueError("a head too deep to read") from error
    if not isinstance(head, dict) or head.keys() != _NUMBERS | {"made_by", "reason", "message", "valued"}:
        raise ValueError(f"a head of other keys: {str(head)[:100]}")
    counts = all(type(head[name]) is int and head[name] >= 0 for name in _NUMBERS)
    texts = isinstance(head["message"], str) and isinstance(head["made_by"], str)
    reason = head["reason"]
    if not (counts and texts and type(head["valued"]) is bool and _VERSION.fullmatch(head["made_by"])):
        raise ValueError("a head of other types")
    if reason is not None and (not isinstance(reason, str) or reason not in _REASONS):
        raise ValueError(f"a reason {str(reason)[:40]!r} that no model has")
    return head
