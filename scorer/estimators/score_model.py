"""One model scored by scikit-learn itself, from its file to its scores. Logs nothing, and knows of no process.

A hostile model file may do harm here: only a worker process of the sandbox calls this with a file.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from scorer.errors import Unscorable
from scorer.families.registry import UNKNOWN
from scorer.model_files.reader import SIZE_LIMIT
from scorer.model_files.sidecar import Sidecar, check_sidecar, read_sidecar
from scorer.predictions.outcome import ModelOutcome, get_changed_etag
from scorer.predictions.table import Predictions
from scorer.readings import features
from scorer.readings.features import Expected, ModelReadings
from scorer.readings.source import Readings
from scorer.storage.blob_store import Content
from shared.contract.domain import Model
from shared.contract.outcomes import ModelResult
from shared.contract.reasons import Reason
from shared.contract.text import clip_text

from . import loader, outlier_detector
from .loader import Detector


def score_model_file(
    model: Model, content: Content | Exception, readings: Readings, *, size_limit: int = SIZE_LIMIT
) -> ModelOutcome:
    """One model's result; its file may unpack to *size_limit* bytes.

    Where *content* is an error, the model fails by that, and nothing of it runs.
    """
    etag = made_by = ""
    try:
        if isinstance(content, Exception):
            raise content
        etag = content.etag
        judged = loader.judge_model(content.data, size_limit)
        made_by = judged.made_by
        detector = loader.build_detector(judged)
        sidecar = read_sidecar(content.companions)
        signal = _select_readings(detector, sidecar, model, readings)
        with warnings.catch_warnings(action="ignore"):  # no log line for each model
            scores, anomalies = outlier_detector.score_rows(
                detector.estimator, _arrange_features(detector, signal.values), detector.rule
            )
    except Exception as error:  # noqa: BLE001  # a model fails alone, whatever the error
        reason, message = classify_error(error, made_by)
        result = ModelResult(model.id, reason=reason, message=message, etag=get_changed_etag(etag, model))
        return ModelOutcome(result, made_by=made_by)
    value = signal.values[:, 0] if signal.values.shape[1] == 1 else None
    predictions = Predictions(model, etag, signal.time, value, scores, anomalies)
    result = ModelResult(model.id, len(scores), int(np.count_nonzero(anomalies)), etag=get_changed_etag(etag, model))
    return ModelOutcome(
        result,
        predictions,
        signal.left_out,
        signal.repeated,
        signal.is_assumed,
        signal.has_silent,
        made_by,
        detector.is_constant,
    )


def classify_error(error: BaseException, made_by: str = "") -> tuple[Reason, str]:
    """The reason and the message of an error, for the model's result."""
    if isinstance(error, Unscorable):
        return error.reason, clip_text(str(error))
    message = clip_text(f"{type(error).__name__}: {error}")
    if type(error).__name__ == "NotFittedError":  # by name: importing scikit-learn for it would cost a second
        return Reason.UNFITTED_MODEL, message
    return Reason.INCOMPATIBLE_MODEL if made_by not in ("", UNKNOWN) else Reason.ESTIMATOR_ERROR, message


def _select_readings(detector: Detector, sidecar: Sidecar, model: Model, readings: Readings) -> ModelReadings:
    if not detector.feature_names:
        check_sidecar(sidecar, detector.n_features)
    names = detector.feature_names or sidecar.features
    expected = Expected(names, detector.n_features, detector.takes_gaps, sidecar.gaps)
    return features.build_model_readings(readings, model, features.find_frame_rows(readings, model), expected)


def _arrange_features(detector: Detector, values: np.ndarray) -> Any:
    """The features as in training: with names, or without."""
    if not detector.feature_names:
        return values
    import pandas as pd

    return pd.DataFrame(values, columns=list(detector.feature_names))
