"""What a regressor predicts. Knows scikit-learn's conventions, no files."""

from __future__ import annotations

from typing import Any

import numpy as np

from .answers import Answers, check_finite, name_outputs, repeat_outputs


def predict_rows(estimator: Any, features: Any) -> Answers:
    """The prediction for each row, or several, a row of predictions for each output.

    Raises Unscorable, BAD_SCORES, UNSUPPORTED_MODEL, and errors of estimators.
    """
    predicted = np.asarray(estimator.predict(features))
    rows = len(features)
    if predicted.ndim < 2 or predicted.shape[1:] == (1,):  # noqa: PLR2004  # a column is one output
        return Answers(prediction=check_finite(predicted.reshape(-1), (rows,), "predictions"))
    names = name_outputs(predicted.shape[1])
    prediction = check_finite(predicted, (rows, len(names)), "predictions").reshape(-1)
    return Answers(prediction=prediction, output=repeat_outputs(names, rows), per_row=len(names))
