"""The cluster that a clusterer gives each row, and how near it is. Knows scikit-learn, no files."""

from __future__ import annotations

from typing import Any

import numpy as np

from scorer.errors import Unscorable
from scorer.predictions.rows import Texts
from shared.contract.reasons import Reason

from .answers import Answers, check_finite
from .outlier_detector import list_steps


def predict_rows(estimator: Any, features: Any) -> Answers:
    """The cluster of each row as its label, and a score: higher is nearer.

    The score is minus the distance to the nearest centre (of Birch: to the nearest of its subclusters); of a mixture
    it is the logarithm of the density at the row, its `score_samples`.
    Raises Unscorable, BAD_SCORES, and errors of estimators.
    """
    clusters = np.asarray(estimator.predict(features))
    rows = len(features)
    if clusters.shape != (rows,) or clusters.dtype.kind not in "iu":
        message = f"expected {rows} numbers of clusters, got {clusters.dtype} of shape {clusters.shape}"
        raise Unscorable(Reason.BAD_SCORES, message)
    scores = check_finite(_score_rows(estimator, features), (rows,), "distances")
    numbers, codes = np.unique(clusters, return_inverse=True)
    return Answers(score=scores, label=Texts(codes.astype(np.int32), tuple(map(str, numbers.tolist()))))


def _score_rows(estimator: Any, features: Any) -> Any:
    last = list_steps(estimator)[-1]
    if hasattr(last, "score_samples"):
        return estimator.score_samples(features)
    if hasattr(last, "transform"):
        return -np.asarray(estimator.transform(features), np.float64).min(axis=1)
    from sklearn.metrics.pairwise import euclidean_distances

    return -euclidean_distances(np.asarray(_transform_rows(estimator, features)), last.cluster_centers_).min(axis=1)


def _transform_rows(estimator: Any, features: Any) -> Any:
    """What the last step of a pipeline gets."""
    while isinstance(getattr(estimator, "steps", None), list):
        features = estimator[:-1].transform(features) if len(estimator.steps) > 1 else features
        estimator = estimator.steps[-1][1]
    return features
