"""Distances by a covariance: EllipticEnvelope."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Body, Family
from .checks import check_equal, read_array, read_number

WIDEST_ENVELOPE = 512  # features; a check takes time by their third power


def read_envelope(state: dict[str, Any]) -> Body | None:
    """EllipticEnvelope, by its precision matrix; None where it stores none."""
    location, precision = state["location_"], state["precision_"]
    if precision is None or not state.get("store_precision", True):
        return None  # scikit-learn inverts the covariance at each prediction
    n_features = len(location)
    if not n_features:
        raise ValueError("location_ is empty")
    if n_features > WIDEST_ENVELOPE:
        return None
    read_array(state, "location_", (n_features,))
    read_array(state, "precision_", (n_features, n_features))
    check_equal("n_features_in_", state.get("n_features_in_", n_features), n_features)
    _check_positive(precision.astype(np.float64))
    numbers = (location, precision.ravel())
    return Body(Family.ENVELOPE, n_features, -read_number(state, "offset_"), numbers)


def _check_positive(precision: np.ndarray) -> None:
    """Raises ValueError unless the matrix is positive semidefinite, up to rounding."""
    if not np.isfinite(precision).all():
        raise ValueError("precision_ holds a number that is not finite")
    largest = np.abs(precision).max()
    if not np.allclose(precision, precision.T, rtol=0, atol=1e-6 * largest):
        raise ValueError("precision_ is not symmetric")
    if np.linalg.eigvalsh(precision)[0] < -1e-6 * largest:
        raise ValueError("precision_ makes distances negative")
