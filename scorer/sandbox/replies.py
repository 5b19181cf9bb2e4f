"""A worker process's reply for a model, as bytes that the node can read without trusting the writer.

A line of JSON, then the columns one after the other. Nothing is unpickled: a hostile model may have written the reply.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scorer.families.base import OUTPUTS_LIMIT
from scorer.predictions.outcome import ModelOutcome, get_changed_etag
from scorer.predictions.rows import COMPLETE, NUMBERS, TEXTS, Predictions, Texts
from scorer.readings.device_readings import Readings
from shared.contract.domain import Model
from shared.contract.outcomes import ModelResult
from shared.contract.reasons import FROM_SANDBOX, Reason
from shared.contract.text import clip_text, is_exact

HEAD_LIMIT = 2**14  # bytes of the line without texts
TEXTS_LIMIT = 2**18  # bytes of all different labels and outputs of a model, as JSON
_ROW_LIMIT = 8 + 8 * len(NUMBERS) + 4 * len(TEXTS) + 1  # bytes of a row with all columns
_REPLY_LIMIT = 2**28  # bytes, but for models with one row of predictions for each row of readings
_COUNTS = {"rows", "left_out", "repeated"}
_FLAGS = {"assumed", "silent", "constant"}
_TEXTS = {"made_by", "message"}
_VERSION = re.compile(r"[0-9A-Za-z.+-]{0,40}")
# The columns that may follow the times, in their order, so that all numbers are aligned.
_KINDS: Mapping[str, str] = {**dict.fromkeys(NUMBERS, "<f8"), **dict.fromkeys(TEXTS, "<i4"), "anomaly": "u1"}


def compute_reply_limit(n_rows: int) -> int:
    """How many bytes a reply may have for a model with so many rows of readings."""
    rows = n_rows * _ROW_LIMIT
    return HEAD_LIMIT + TEXTS_LIMIT + max(rows, min(rows * OUTPUTS_LIMIT, _REPLY_LIMIT))


def to_bytes(outcome: ModelOutcome) -> bytes:
    """The reply."""
    result, predictions = outcome.result, outcome.predictions
    columns = dict(_list_columns(predictions)) if predictions else {}
    head = {
        "rows": len(predictions.time) if predictions else 0,
        "left_out": outcome.left_out,
        "repeated": outcome.repeated,
        "made_by": outcome.made_by,
        "reason": result.reason,
        "message": result.message,
        "columns": list(columns),
        "texts": {name: texts.names for name in TEXTS if predictions and (texts := getattr(predictions, name))},
        "assumed": outcome.is_assumed,
        "silent": outcome.has_silent,
        "constant": outcome.is_constant,
    }
    arrays = [predictions.time.astype("<i8"), *columns.values()] if predictions else []
    return json.dumps(head).encode() + b"\n" + b"".join(array.tobytes() for array in arrays)


def _list_columns(predictions: Predictions) -> Iterator[tuple[str, np.ndarray]]:
    """The columns that a model's rows have, by name, as they are written."""
    for name, kind in _KINDS.items():
        column = getattr(predictions, name)
        if column is not None:
            yield name, (column.codes if name in TEXTS else column).astype(kind)


def parse_reply(data: bytes, model: Model, etag: str, readings: Readings) -> ModelOutcome:
    """The reply for *model*, whose file is *etag*, and whose device is among those of *readings*. Raises ValueError.

    It is checked: scores are finite, labels are among those that it names, and times are among those of the device.
    """
    line, _, body = data.partition(b"\n")
    head = _parse_head(line)
    if head.reason is not None:
        if head.rows or body:
            raise ValueError(f"{head.rows} rows for a failed model")
        result = ModelResult(model.id, reason=head.reason, message=head.message, etag=get_changed_etag(etag, model))
        return ModelOutcome(result, made_by=head.made_by)
    times = readings.list_times(model.device)
    n_rows = sum(map(len, times))
    if max(head.left_out, head.repeated) > n_rows:
        raise ValueError(f"{head.left_out} rows left out and {head.repeated} replaced, of {n_rows} readings")
    predictions = _read_predictions(head, body, model, etag)
    _check_times(predictions, times, n_rows)
    _check_columns(predictions)
    anomalies = 0 if predictions.anomaly is None else int(np.count_nonzero(predictions.anomaly))
    result = ModelResult(model.id, head.rows, anomalies, etag=get_changed_etag(etag, model))
    return ModelOutcome(
        result,
        predictions,
        head.left_out,
        head.repeated,
        head.is_assumed,
        head.has_silent,
        head.made_by,
        head.is_constant,
    )


@dataclass(frozen=True, slots=True)
class _Head:
    """The checked line of a reply."""

    rows: int
    left_out: int
    repeated: int
    made_by: str
    reason: Reason | None
    message: str
    columns: tuple[str, ...]
    texts: Mapping[str, tuple[str, ...]]
    is_assumed: bool
    has_silent: bool
    is_constant: bool


def _parse_head(line: bytes) -> _Head:
    if len(line) > HEAD_LIMIT + TEXTS_LIMIT:
        raise ValueError(f"a head of {len(line)} bytes")
    try:
        head = json.loads(line)
    except RecursionError as error:
        raise ValueError("a head that is nested too deep") from error
    if not isinstance(head, dict) or head.keys() != _COUNTS | _FLAGS | _TEXTS | {"reason", "columns", "texts"}:
        raise ValueError(f"a head with other keys: {str(head)[:100]}")
    counts = all(type(head[name]) is int and head[name] >= 0 for name in _COUNTS)
    texts = isinstance(head["message"], str) and isinstance(head["made_by"], str)
    flags = all(type(head[name]) is bool for name in _FLAGS)
    if not (counts and texts and flags and _VERSION.fullmatch(head["made_by"])):
        raise ValueError("a head with other types")
    reason, columns, names = head["reason"], head["columns"], head["texts"]
    if reason is not None and (not isinstance(reason, str) or reason not in FROM_SANDBOX):
        raise ValueError(f"a reason {str(reason)[:40]!r} that is not of a model")
    if not isinstance(columns, list) or columns != [name for name in _KINDS if name in columns]:
        raise ValueError(f"columns {str(columns)[:100]}")
    if not isinstance(names, dict) or names.keys() != {name for name in TEXTS if name in columns}:
        raise ValueError(f"texts of other columns: {str(names)[:100]}")
    return _Head(
        head["rows"],
        head["left_out"],
        head["repeated"],
        head["made_by"],
        None if reason is None else Reason(reason),
        clip_text(head["message"]),
        tuple(columns),
        {name: _parse_names(texts) for name, texts in names.items()},
        head["assumed"],
        head["silent"],
        head["constant"],
    )


def _parse_names(texts: object) -> tuple[str, ...]:
    """The different texts of a column, which are legible."""
    if not isinstance(texts, list) or not all(isinstance(text, str) and is_exact(text) for text in texts):
        raise ValueError(f"texts {str(texts)[:100]}")
    if len(set(texts)) < len(texts):
        raise ValueError("the same text twice")
    return tuple(texts)


def _read_predictions(head: _Head, body: bytes, model: Model, etag: str) -> Predictions:
    """The columns behind the head. Raises ValueError where their size is another, or a code has no text."""
    rows = head.rows
    expected = rows * (8 + sum(np.dtype(_KINDS[name]).itemsize for name in head.columns))
    if not rows or len(body) != expected:
        raise ValueError(f"expected some rows, and {expected} bytes of {rows} rows, got {len(body)}")
    columns: dict[str, Any] = {}
    offset = 8 * rows
    for name in head.columns:
        column = np.frombuffer(body, _KINDS[name], rows, offset)
        offset += column.nbytes
        if name in TEXTS:
            if not -1 <= int(column.min()) <= int(column.max()) < len(head.texts[name]):
                raise ValueError(f"codes in {name} without a text")
            columns[name] = Texts(column, head.texts[name])
        elif name == "anomaly":
            if column.max() > 1:
                raise ValueError("anomalies other than 0 and 1")
            columns[name] = column.astype(bool)
        else:
            columns[name] = column
    return Predictions(model, etag, np.frombuffer(body, "<i8", rows), **columns)


def _check_times(predictions: Predictions, times: Sequence[np.ndarray], n_rows: int) -> None:
    """Raise ValueError for rows of times that are not among those of the readings, out of order or repeated."""
    time = predictions.time
    if predictions.output is None:
        in_order = bool((time[1:] > time[:-1]).all())
        n_scored = len(time)
    else:  # several rows for a row of readings; their outputs differ
        keys = np.stack([time, predictions.output.codes.astype(np.int64)], axis=1)
        in_order = bool((time[1:] >= time[:-1]).all()) and len(np.unique(keys, axis=0)) == len(keys)
        n_scored = predictions.count_readings()
    if not in_order or not _is_among(time, times):
        raise ValueError("times that are not in the readings, out of order, or repeated")
    if n_scored > n_rows:
        raise ValueError(f"rows for {n_scored} of {n_rows} readings")


def _is_among(time: np.ndarray, times: Sequence[np.ndarray]) -> bool:
    if len(times) == 1 and np.array_equal(time, times[0]):  # as most are
        return True
    return {instant for own in times for instant in own.tolist()}.issuperset(time.tolist())  # NumPy would take 100 us


def _check_columns(predictions: Predictions) -> None:
    """Raise ValueError for columns that no model could have."""
    for name in NUMBERS:
        column = getattr(predictions, name)
        if column is not None and (np.isinf(column).any() or (name in COMPLETE and np.isnan(column).any())):
            raise ValueError(f"{name} that is not finite")
    if predictions.anomaly is not None and predictions.score is None:
        raise ValueError("anomalies without scores")
    if all(getattr(predictions, name) is None for name in ("anomaly", "prediction", "label")):
        raise ValueError("rows that are no anomalies and have no prediction or label")
