"""One model by scikit-learn itself, from its file to its scores. Says and keeps nothing, and knows of no process.

Whatever a model's file can do, it does here: only a child calls this with a file (`children`).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from scorer.errors import Unscorable
from scorer.predictions.outcome import Scored, changed
from scorer.predictions.table import Predictions
from scorer.readings import features
from scorer.readings.features import Signal
from scorer.readings.source import Readings
from scorer.storage.blob_store import Content
from shared.contract.domain import Model, Reason
from shared.contract.report import ModelResult
from shared.contract.text import clip_text

from . import loader, outlier_detector
from .loader import Detector


def score_one(model: Model, content: Content | Exception, readings: Readings) -> Scored:
    """One model's verdict. Where *content* is an error, that is what the model fails by, and nothing of it runs."""
    etag = made_by = ""
    try:
        if isinstance(content, Exception):
            raise content
        etag = content.etag
        detector = loader.load(content.data)
        made_by = detector.made_by
        signal = _signal(detector, model, readings)
        with warnings.catch_warnings(action="ignore"):  # a log with a line for each model helps nobody
            scores, anomalies = outlier_detector.judge(detector.estimator, _features(detector, signal.values))
    except Exception as error:  # noqa: BLE001  # a model fails alone, whatever it does
        reason, message = blame(error, made_by)
        return Scored(ModelResult(model.id, reason=reason, message=message, etag=changed(etag, model)))
    value = signal.values[:, 0] if signal.values.shape[1] == 1 else None
    predictions = Predictions(model, etag, signal.time, value, scores, anomalies)
    verdict = ModelResult(model.id, len(scores), int(np.count_nonzero(anomalies)), etag=changed(etag, model))
    return Scored(verdict, predictions, signal.left_out, signal.repeated, made_by)


def blame(error: BaseException, made_by: str = "") -> tuple[Reason, str]:
    """The reason and the message for a verdict."""
    if isinstance(error, Unscorable):
        return error.reason, clip_text(str(error))
    message = clip_text(f"{type(error).__name__}: {error}")
    if type(error).__name__ == "NotFittedError":  # by name: importing scikit-learn for it would cost a second
        return Reason.UNFITTED_MODEL, message
    return Reason.INCOMPATIBLE_MODEL if made_by else Reason.ESTIMATOR_ERROR, message


def _signal(detector: Detector, model: Model, readings: Readings) -> Signal:
    names = tuple(str(name) for name in getattr(detector.estimator, "feature_names_in_", ()))
    count = getattr(detector.estimator, "n_features_in_", None)
    return features.signal(readings, model, features.find(readings, model), names, count)


def _features(detector: Detector, values: np.ndarray) -> Any:
    """As the estimator was given them in training: with names, or without."""
    names = getattr(detector.estimator, "feature_names_in_", None)
    if names is None:
        return values
    import pandas as pd

    return pd.DataFrame(values, columns=names)
