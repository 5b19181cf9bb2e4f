"""One model scored by its own library, from its file to its scores. Logs nothing, and knows of no process.

A hostile model file may do harm here: only a worker process of the sandbox calls this with a file.
"""

from __future__ import annotations

import warnings

import numpy as np

from scorer.errors import Unscorable
from scorer.library_versions import UNKNOWN
from scorer.model_files.file_formats import SIZE_LIMIT
from scorer.predictions.outcome import ModelOutcome, get_changed_etag
from scorer.predictions.rows import Predictions
from scorer.readings.device_readings import Readings
from scorer.readings.features import ModelReadings
from scorer.storage.blob_store import Content
from shared.contract.domain import Model
from shared.contract.outcomes import ModelResult
from shared.contract.reasons import Reason
from shared.contract.scoring_options import Probabilities
from shared.contract.text import clip_text

from . import loader, registry
from .answers import Answers
from .inputs import select_input


def score_model_file(
    model: Model,
    content: Content | Exception,
    readings: Readings,
    *,
    size_limit: int = SIZE_LIMIT,
    probabilities: str = Probabilities.LABEL,
) -> ModelOutcome:
    """One model's result; its file may unpack to *size_limit* bytes.

    Where *content* is an error, the model fails by that, and nothing of it runs.
    """
    etag = made_by = ""
    try:
        if isinstance(content, Exception):
            raise content
        etag = content.etag
        judged = loader.judge_model(content.data, size_limit, content.companions)
        made_by = judged.made_by
        fitted = loader.build_model(judged)
        model_input = select_input(fitted, judged.content.sidecar.gaps, model, readings)
        with warnings.catch_warnings(action="ignore"):  # no log line for each model
            answers = registry.predict_rows(
                fitted, model_input.features, Probabilities(probabilities), model_input.target
            )
        signal = model_input.readings
    except Exception as error:  # noqa: BLE001  # a model fails alone, whatever the error
        reason, message = classify_error(error, made_by)
        result = ModelResult(model.id, reason=reason, message=message, etag=get_changed_etag(etag, model))
        return ModelOutcome(result, made_by=made_by)
    predictions = _make_predictions(model, etag, signal, answers)
    anomalies = 0 if answers.anomaly is None else int(np.count_nonzero(answers.anomaly))
    result = ModelResult(model.id, len(predictions.time), anomalies, etag=get_changed_etag(etag, model))
    return ModelOutcome(
        result,
        predictions,
        signal.left_out,
        signal.repeated,
        signal.is_assumed,
        signal.has_silent,
        made_by,
        fitted.is_constant,
    )


def _make_predictions(model: Model, etag: str, signal: ModelReadings, answers: Answers) -> Predictions:
    has_one_feature = signal.values.shape[1] == 1
    value = np.repeat(signal.values[:, 0], answers.per_row) if has_one_feature else None
    return Predictions(
        model,
        etag,
        np.repeat(signal.time, answers.per_row),
        value,
        answers.score,
        answers.anomaly,
        answers.prediction,
        answers.probability,
        answers.output,
        answers.label,
    )


def classify_error(error: BaseException, made_by: str = "") -> tuple[Reason, str]:
    """The reason and the message of an error, for the model's result."""
    if isinstance(error, Unscorable):
        return error.reason, clip_text(str(error))
    message = clip_text(f"{type(error).__name__}: {error}")
    if type(error).__name__ == "NotFittedError":  # by name: importing scikit-learn for it would cost a second
        return Reason.UNFITTED_MODEL, message
    return Reason.INCOMPATIBLE_MODEL if made_by not in ("", UNKNOWN) else Reason.ESTIMATOR_ERROR, message
