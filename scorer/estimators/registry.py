"""What a fitted model says about rows of readings, by its task."""

from __future__ import annotations

from typing import Any

import numpy as np

from shared.contract.domain import Task
from shared.contract.scoring_options import Probabilities

from . import classifier, clusterer, outlier_detector, regressor, thresholds
from .answers import Answers
from .loader import FittedModel


def predict_rows(
    model: FittedModel, features: Any, probabilities: Probabilities, target: np.ndarray | None = None
) -> Answers:
    """The answers for *features*, an array or a frame of shape (rows, n_features).

    *target* has the reading that a regressor with a threshold predicts, for each row.
    Raises Unscorable, BAD_SCORES, UNSUPPORTED_MODEL, and errors of estimators.
    """
    if model.threshold:
        return thresholds.apply_threshold(
            model.estimator,
            model.threshold,
            features,
            target,
            has_scaler=model.has_scaler,
            classes=model.classes,
        )
    match model.task:
        case Task.DETECTOR:
            return outlier_detector.predict_rows(model.estimator, features, model.rule)
        case Task.REGRESSOR:
            return regressor.predict_rows(model.estimator, features)
        case Task.CLASSIFIER:
            return classifier.predict_rows(model.estimator, features, probabilities, model.classes)
        case Task.CLUSTERER:
            return clusterer.predict_rows(model.estimator, features)
