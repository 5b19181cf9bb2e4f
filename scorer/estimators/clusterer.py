"""The cluster that a clusterer gives each row, and minus the distance to it. Knows scikit-learn, no files."""

from __future__ import annotations

from typing import Any

import numpy as np

from scorer.errors import Unscorable
from scorer.predictions.rows import Texts
from shared.contract.reasons import Reason

from .answers import Answers, check_finite


def predict_rows(estimator: Any, features: Any) -> Answers:
    """The cluster of each row as its label, and as score minus the distance to the nearest centre.

    Raises Unscorable, BAD_SCORES, and errors of estimators.
    """
    clusters = np.asarray(estimator.predict(features))
    rows = len(features)
    if clusters.shape != (rows,) or clusters.dtype.kind not in "iu":
        message = f"expected {rows} numbers of clusters, got {clusters.dtype} of shape {clusters.shape}"
        raise Unscorable(Reason.BAD_SCORES, message)
    distances = np.asarray(estimator.transform(features), np.float64)
    scores = check_finite(-distances.min(axis=1), (rows,), "distances")
    numbers, codes = np.unique(clusters, return_inverse=True)
    return Answers(score=scores, label=Texts(codes.astype(np.int32), tuple(map(str, numbers.tolist()))))
