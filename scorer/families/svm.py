"""One-class support vector machines: libsvm's, and the linear one that is fitted by stochastic gradient descent."""

from __future__ import annotations

from typing import Any

import numpy as np

from scorer.model_files.parsed import ParsedObject

from .base import MOST_NUMBERS, Body, Family
from .checks import check_equal, check_numeric, read_array, read_number

HIGHEST_DEGREE = 2**31  # libsvm stores it in 32 bits

_KERNELS = {"rbf": Family.RBF, "linear": Family.LINEAR, "poly": Family.POLY, "sigmoid": Family.SIGMOID}


def read_one_class_svm(state: dict[str, Any]) -> Body | None:
    """OneClassSVM, as `_dense_decision_function` of scikit-learn passes it to libsvm."""
    vectors, kernel = state["support_vectors_"], state["kernel"]
    if type(vectors) is ParsedObject or state.get("_sparse") or kernel == "precomputed" or type(kernel) is not str:
        return None
    count, n_features = vectors.shape
    if not count or not n_features or kernel not in _KERNELS:
        raise ValueError(f"{count} support vectors of {n_features} features, kernel {kernel[:20]!r}")
    if vectors.size > MOST_NUMBERS:
        return None
    coefficients = read_array(state, "_dual_coef_", (1, count))
    if np.count_nonzero(read_array(state, "dual_coef_", (1, count)) != coefficients):
        raise ValueError("dual_coef_ and _dual_coef_ differ")
    read_array(state, "support_", (count,))
    check_numeric("support_vectors_", vectors)
    check_equal("n_features_in_", state.get("n_features_in_", n_features), n_features)
    check_equal("shape_fit_", state.get("shape_fit_", (0, n_features))[1], n_features)
    counts = state.get("_n_support")
    if counts is not None:  # libsvm reads the first; the second has no meaning here
        check_equal("_n_support", int(counts[0]), count)
    intercept = read_number(state, "_intercept_")
    check_equal("intercept_", read_number(state, "intercept_"), intercept)
    family = _KERNELS[kernel]
    if family is Family.LINEAR:
        weights = coefficients[0].astype(np.float64) @ vectors.astype(np.float64)
        return Body(family, n_features, intercept, (weights,), strict=True)
    gamma, coef0, degree = read_number(state, "_gamma"), read_number(state, "coef0"), read_number(state, "degree")
    if gamma < 0 or not 0 <= degree < HIGHEST_DEGREE or degree != int(degree):
        raise ValueError(f"gamma is {gamma}, degree is {degree}")
    numbers = (coefficients[0], vectors.ravel())
    return Body(family, n_features, intercept, numbers, gamma, coef0, degree, count, strict=True)


def read_sgd_svm(state: dict[str, Any]) -> Body | None:
    """SGDOneClassSVM: the product of a row with the weights."""
    weights = state["coef_"].ravel()
    n_features = len(weights)
    if not n_features:
        raise ValueError("coef_ is empty")
    check_numeric("coef_", weights)
    if state["coef_"].shape not in ((n_features,), (1, n_features)):
        raise ValueError(f"coef_ is {state['coef_'].shape} where {(1, n_features)} is expected")
    check_equal("n_features_in_", state.get("n_features_in_", n_features), n_features)
    return Body(Family.LINEAR, n_features, -read_number(state, "offset_"), (weights,))
