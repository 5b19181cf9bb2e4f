"""Compares what an estimator says with a border that a person chose, and saved beside it.

    decision_function, score_samples   score = what it says - border; an anomaly is a score below 0
    predict_proba                      the label is the second of two classes from the border on, else the first
    absolute_error                     error = |reading - prediction|; score = border - error; an anomaly is one below 0
    mean_absolute_error                the same; error = mean over the features of |feature - prediction of it|
    mean_squared_error                 the same with squares

The features of the last two are those that the estimator gets: behind a scaler that was saved beside it. The rules for
errors are those of the usual scripts (error > border), that for probabilities is FixedThresholdClassifier's (>=).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scorer.errors import Unscorable
from scorer.families.class_names import name_classes
from scorer.model_files.content import Threshold, ThresholdOf
from scorer.predictions.rows import Texts
from shared.contract.reasons import Reason

from .answers import Answers, check_finite


def apply_threshold(
    estimator: Any,
    threshold: Threshold,
    features: Any,
    target: np.ndarray | None,
    *,
    has_scaler: bool = False,
    classes: tuple[str, ...] = (),
) -> Answers:
    """The answers for *features*, of shape (rows, n_features). *target* has the reading that a regressor predicts.

    Raises Unscorable, BAD_SCORES, UNSUPPORTED_MODEL, and errors of estimators.
    """
    rows = len(features)
    match threshold.of:
        case ThresholdOf.DECISION | ThresholdOf.SAMPLES:
            numbers = check_finite(getattr(estimator, threshold.of)(features), (rows,), "scores")
            return _score_margin(numbers - threshold.border)
        case ThresholdOf.PROBABILITY:
            return _choose_labels(estimator, threshold.border, features, classes)
        case ThresholdOf.ABSOLUTE:
            predicted = check_finite(np.asarray(estimator.predict(features)).reshape(-1), (rows,), "predictions")
            assert target is not None
            margin = _score_margin(threshold.border - np.abs(target - predicted))
            return Answers(score=margin.score, anomaly=margin.anomaly, prediction=predicted)
    return _score_margin(threshold.border - _measure_reconstruction(estimator, threshold, features, has_scaler))


def _score_margin(score: np.ndarray) -> Answers:
    return Answers(score=score, anomaly=score < 0)


def _choose_labels(estimator: Any, border: float, features: Any, classes: tuple[str, ...]) -> Answers:
    names = name_classes(np.asarray(estimator.classes_).tolist(), classes)
    if len(names) != 2 or not hasattr(estimator, "predict_proba"):  # noqa: PLR2004  # of two, one is the positive class
        raise Unscorable(
            Reason.UNSUPPORTED_MODEL,
            f"expected a classifier of two classes with probabilities for its threshold, got {len(names)} classes",
        )
    shares = check_finite(estimator.predict_proba(features), (len(features), 2), "probabilities")
    codes = (shares[:, 1] >= border).astype(np.int32)
    return Answers(label=Texts(codes, names), probability=shares[np.arange(len(codes)), codes])


def _measure_reconstruction(estimator: Any, threshold: Threshold, features: Any, has_scaler: bool) -> np.ndarray:
    """The mean error of each row of a model that predicts its own features."""
    inputs = np.asarray(features, np.float64)
    if has_scaler:
        scaler, estimator = (step for _, step in estimator.steps)
        features = scaler.transform(features)
        inputs = np.asarray(features, np.float64)
    predicted = np.asarray(estimator.predict(features), np.float64)
    if predicted.ndim == 1:
        predicted = predicted[:, None]
    if predicted.shape != inputs.shape:
        raise Unscorable(
            Reason.UNSUPPORTED_MODEL,
            f"expected a model that predicts its {inputs.shape[1]} features for a threshold of {threshold.of}, got "
            f"{predicted.shape[1]} outputs",
        )
    errors = check_finite(predicted, inputs.shape, "predictions") - inputs
    mean: np.ndarray = (np.abs(errors) if threshold.of is ThresholdOf.MEAN_ABSOLUTE else errors**2).mean(axis=1)
    return mean
