"""Checks of an estimator before it scores, upgrades of old ones, and its scores. Knows scikit-learn, no files."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from scorer.errors import Unscorable
from shared.contract.reasons import Reason

KERNELS = ("linear", "poly", "rbf", "sigmoid")
# The label follows from the score alone, as in these classes' own `predict`: an anomaly is a score ...
AT_MOST_ZERO = ("OneClassSVM",)
BELOW_ZERO = ("EllipticEnvelope", "IsolationForest", "LocalOutlierFactor", "SGDOneClassSVM")
_WIDE = ("support_vectors_", "mean_", "scale_", "center_")  # attributes with a column for each feature


def list_steps(estimator: Any) -> list[Any]:
    """The estimators of a model, also of nested pipelines; the last one is the detector."""
    estimator_steps = getattr(estimator, "steps", None)
    return (
        [part for _, step in estimator_steps for part in list_steps(step)]
        if isinstance(estimator_steps, list)
        else [estimator]
    )


def check_detector(estimator: Any) -> None:
    """Raises Unscorable: UNSUPPORTED_MODEL, UNFITTED_MODEL, or UNREADABLE_MODEL where attributes contradict each other.

    The last check is needed: native code trusts these attributes, and reads outside its memory where they disagree.
    """
    from sklearn.base import BaseEstimator, is_outlier_detector
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    kind = type(estimator).__name__
    if not isinstance(estimator, BaseEstimator):
        raise Unscorable(Reason.UNSUPPORTED_MODEL, f"expected an outlier detector, got a {kind}")
    parts = list_steps(estimator)
    if not (is_outlier_detector(parts[-1]) and hasattr(estimator, "predict")):
        raise Unscorable(
            Reason.UNSUPPORTED_MODEL,
            f"expected an outlier detector, got a {kind} that ends in {type(parts[-1]).__name__}",
        )
    if not hasattr(estimator, "decision_function"):
        raise Unscorable(
            Reason.UNSUPPORTED_MODEL, f"expected a decision_function for new readings, this {kind} has none"
        )
    for part in parts:
        try:
            check_is_fitted(part)
        except NotFittedError as error:
            raise Unscorable(Reason.UNFITTED_MODEL, f"this {type(part).__name__} was never fitted") from error
        except TypeError:
            continue  # "passthrough" and such cannot be fitted
    problem = _find_contradiction(parts[-1])
    if problem:
        raise Unscorable(Reason.UNREADABLE_MODEL, f"its parts contradict each other: {problem}")


def upgrade_estimator(estimator: Any) -> None:
    """Add to an estimator of an older scikit-learn the attributes that the installed version expects."""
    for part in [estimator, *list_steps(estimator)]:
        state = vars(part)
        for name, parameter in inspect.signature(type(part).__init__).parameters.items():
            if name != "self" and parameter.default is not parameter.empty:
                state.setdefault(name, parameter.default)
        if "support_vectors_" in state and "_n_support" not in state:
            state["_n_support"] = np.array([len(state["support_vectors_"]), 0], np.int32)
            state["_probA"], state["_probB"] = state.pop("probA_", np.empty(0)), state.pop("probB_", np.empty(0))
            state["offset_"] = -state["_intercept_"]
            state.pop("n_support_", None)  # a property now; the old value was read outside its memory
        arrays = [np.asarray(state[name]) for name in _WIDE if state.get(name) is not None]
        if arrays:
            state.setdefault("n_features_in_", arrays[0].shape[-1])


def score_rows(estimator: Any, features: Any) -> tuple[np.ndarray, np.ndarray]:
    """The score of each row, and whether it is an anomaly: the results of `decision_function` and `predict`.

    Returns float64 and bool, one a row. Raises Unscorable, BAD_SCORES or UNSUPPORTED_MODEL, and errors of estimators.
    """
    scores = np.asarray(estimator.decision_function(features), np.float64)
    rows = len(features)
    if scores.shape != (rows,):
        raise Unscorable(Reason.BAD_SCORES, f"expected {rows} scores for {rows} rows, got an array of {scores.shape}")
    if not np.isfinite(scores).all():
        raise Unscorable(Reason.BAD_SCORES, f"{np.count_nonzero(~np.isfinite(scores))} of {rows} scores are not finite")
    last = type(list_steps(estimator)[-1])
    if last.__module__.startswith("sklearn.") and last.__name__ in AT_MOST_ZERO:
        return scores, scores <= 0
    if last.__module__.startswith("sklearn.") and last.__name__ in BELOW_ZERO:
        return scores, scores < 0
    labels = np.asarray(estimator.predict(features))
    if labels.shape != (rows,) or not np.isin(labels, (-1, 1)).all():
        raise Unscorable(
            Reason.UNSUPPORTED_MODEL, "expected predict to return +1 or -1 for each row, got something else"
        )
    return scores, labels == -1


def _find_contradiction(estimator: Any) -> str:
    """The contradiction in a detector whose native code would trust it; "" when there is none."""
    try:
        match type(estimator).__name__:
            case "OneClassSVM":
                return _check_svm(estimator)
            case "IsolationForest":
                return _check_forest(estimator)
            case "LocalOutlierFactor":
                return _check_neighbours(estimator)
    except (AttributeError, TypeError, ValueError, IndexError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _check_svm(svm: Any) -> str:
    count, n_features = svm.support_vectors_.shape
    shapes = {
        "support_": (svm.support_.shape, (count,)),
        "_n_support": (int(svm._n_support[0]), count),  # noqa: SLF001  # libsvm reads [0]; [1] has no meaning here
        "_dual_coef_": (svm._dual_coef_.shape, (1, count)),
        "_intercept_": (svm._intercept_.shape, (1,)),
        "n_features_in_": (svm.n_features_in_, n_features),
        "shape_fit_": (svm.shape_fit_[1], n_features),
    }
    for name, (actual, expected) in shapes.items():
        if actual != expected:
            return f"{name} is {actual} where {count} support vectors of {n_features} features need {expected}"
    if not count or svm.kernel not in KERNELS:
        return f"{count} support vectors with the kernel {svm.kernel!r}, expected some with one of {', '.join(KERNELS)}"
    numbers = (svm.support_vectors_, svm._dual_coef_, svm._intercept_)
    for matrix in numbers:
        if _is_sparse(matrix):
            matrix.check_format(full_check=True)
    if not all(np.isfinite(getattr(n, "data", n) if _is_sparse(n) else n).all() for n in numbers):
        return "it holds a number that is not finite"
    return ""


def _is_sparse(array: Any) -> bool:
    return hasattr(array, "indptr")


def _check_forest(forest: Any) -> str:
    for tree, features in zip(forest.estimators_, forest.estimators_features_, strict=True):
        nodes, count = tree.tree_, tree.tree_.node_count
        indices = np.arange(count)
        left_child, right_child = nodes.children_left, nodes.children_right
        inner = left_child != -1
        points_forward = (
            (left_child > indices) & (left_child < count) & (right_child > indices) & (right_child < count)
        )[inner].all()
        in_range = ((nodes.feature >= 0) & (nodes.feature < len(features)))[inner].all()
        if not (count and points_forward and in_range and (right_child[~inner] == -1).all()):
            return "a tree points outside itself"
        if len(features) != nodes.n_features or not ((features >= 0) & (features < forest.n_features_in_)).all():
            return "a tree uses features that the forest does not have"
    return ""


def _check_neighbours(lof: Any) -> str:
    count, n_features = lof._fit_X.shape  # noqa: SLF001  # the search reads it
    if lof.n_features_in_ != n_features:
        return f"{lof.n_features_in_} features, but it was fitted on {n_features}"
    if lof._tree is not None:  # noqa: SLF001
        data, order, nodes, bounds = (np.asarray(a) for a in lof._tree.get_arrays())  # noqa: SLF001
        bounds_fit = (nodes["idx_start"] >= 0) & (nodes["idx_start"] <= nodes["idx_end"]) & (nodes["idx_end"] <= count)
        inner = np.flatnonzero(nodes["is_leaf"] == 0)
        sides = 2 if type(lof._tree).__name__.startswith("KDTree") else 1  # noqa: SLF001
        sound = (
            len(nodes)
            and (2 * inner + 2 < len(nodes)).all()
            and bounds_fit.all()
            and bounds.shape == (sides, len(nodes), n_features)
            and data.shape == (count, n_features)
            and sorted(order) == list(range(count))
        )
        if not sound:
            return "its tree points outside itself"
    return ""
