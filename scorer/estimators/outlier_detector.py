"""What must hold of an estimator before it may score, and what old ones lack. Knows scikit-learn, no files."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from scorer.errors import Unscorable
from shared.contract.domain import Reason

KERNELS = ("linear", "poly", "rbf", "sigmoid")
# Where the label follows from the score alone, as these classes' own `predict` does it: an anomaly is a score ...
AT_MOST_ZERO = ("OneClassSVM",)
BELOW_ZERO = ("EllipticEnvelope", "IsolationForest", "LocalOutlierFactor", "SGDOneClassSVM")
_WIDE = ("support_vectors_", "mean_", "scale_", "center_")  # attributes with a column for each feature


def steps(estimator: Any) -> list[Any]:
    """The estimators that a model is made of, those of pipelines within it too; the last one detects."""
    named = getattr(estimator, "steps", None)
    return [part for _, step in named for part in steps(step)] if isinstance(named, list) else [estimator]


def check(estimator: Any) -> None:
    """Raises Unscorable: NOT_A_DETECTOR, UNFITTED_MODEL, or UNREADABLE_MODEL for parts that contradict each other.

    The last is no pedantry: native code trusts these parts, and reads outside its memory where they disagree.
    """
    from sklearn.base import BaseEstimator, is_outlier_detector
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    kind = type(estimator).__name__
    if not isinstance(estimator, BaseEstimator):
        raise Unscorable(Reason.NOT_A_DETECTOR, f"expected an outlier detector, got a {kind}")
    parts = steps(estimator)
    if not (is_outlier_detector(parts[-1]) and hasattr(estimator, "predict")):
        raise Unscorable(
            Reason.NOT_A_DETECTOR, f"expected an outlier detector, got a {kind} that ends in {type(parts[-1]).__name__}"
        )
    if not hasattr(estimator, "decision_function"):
        raise Unscorable(Reason.NOT_A_DETECTOR, f"expected a decision_function for new readings, this {kind} has none")
    for part in parts:
        try:
            check_is_fitted(part)
        except NotFittedError as error:
            raise Unscorable(Reason.UNFITTED_MODEL, f"this {type(part).__name__} was never fitted") from error
        except TypeError:
            continue  # "passthrough" and such: not for us to judge
    problem = _contradiction(parts[-1])
    if problem:
        raise Unscorable(Reason.UNREADABLE_MODEL, f"its parts contradict each other: {problem}")


def mend(estimator: Any) -> None:
    """Give an estimator of an older scikit-learn what the installed one expects, where that follows from the rest."""
    for part in [estimator, *steps(estimator)]:
        state = vars(part)
        for name, parameter in inspect.signature(type(part).__init__).parameters.items():
            if name != "self" and parameter.default is not parameter.empty:
                state.setdefault(name, parameter.default)
        if "support_vectors_" in state and "_n_support" not in state:
            state["_n_support"] = np.array([len(state["support_vectors_"]), 0], np.int32)
            state["_probA"], state["_probB"] = state.pop("probA_", np.empty(0)), state.pop("probB_", np.empty(0))
            state["offset_"] = -state["_intercept_"]
            state.pop("n_support_", None)  # a property now; the old value was read from memory that was not ours
        arrays = [np.asarray(state[name]) for name in _WIDE if state.get(name) is not None]
        if arrays:
            state.setdefault("n_features_in_", arrays[0].shape[-1])


def judge(estimator: Any, features: Any) -> tuple[np.ndarray, np.ndarray]:
    """The score of each row, and whether it is an anomaly: what `decision_function` and `predict` say.

    Returns float64 and bool, one a row. Raises Unscorable with BAD_SCORES or NOT_A_DETECTOR, and what estimators raise.
    """
    scores = np.asarray(estimator.decision_function(features), np.float64)
    rows = len(features)
    if scores.shape != (rows,):
        raise Unscorable(Reason.BAD_SCORES, f"expected {rows} scores for {rows} rows, got an array of {scores.shape}")
    if not np.isfinite(scores).all():
        raise Unscorable(Reason.BAD_SCORES, f"{np.count_nonzero(~np.isfinite(scores))} of {rows} scores are no numbers")
    last = type(steps(estimator)[-1])
    if last.__module__.startswith("sklearn.") and last.__name__ in AT_MOST_ZERO:
        return scores, scores <= 0
    if last.__module__.startswith("sklearn.") and last.__name__ in BELOW_ZERO:
        return scores, scores < 0
    labels = np.asarray(estimator.predict(features))
    if labels.shape != (rows,) or not np.isin(labels, (-1, 1)).all():
        raise Unscorable(Reason.NOT_A_DETECTOR, "expected predict to say +1 or -1 for each row, got something else")
    return scores, labels == -1


def _contradiction(estimator: Any) -> str:
    """What does not fit together in a detector whose native code would trust it; "" when all does."""
    try:
        match type(estimator).__name__:
            case "OneClassSVM":
                return _svm_contradiction(estimator)
            case "IsolationForest":
                return _forest_contradiction(estimator)
            case "LocalOutlierFactor":
                return _neighbours_contradiction(estimator)
    except (AttributeError, TypeError, ValueError, IndexError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _svm_contradiction(svm: Any) -> str:
    count, width = svm.support_vectors_.shape
    shapes = {
        "support_": (svm.support_.shape, (count,)),
        "_n_support": (int(svm._n_support[0]), count),  # noqa: SLF001  # what libsvm reads; [1] means nothing here
        "_dual_coef_": (svm._dual_coef_.shape, (1, count)),
        "_intercept_": (svm._intercept_.shape, (1,)),
        "n_features_in_": (svm.n_features_in_, width),
        "shape_fit_": (svm.shape_fit_[1], width),
    }
    for name, (found, expected) in shapes.items():
        if found != expected:
            return f"{name} is {found} where {count} support vectors of {width} features want {expected}"
    if not count or svm.kernel not in KERNELS:
        return f"{count} support vectors with the kernel {svm.kernel!r}, expected some with one of {', '.join(KERNELS)}"
    numbers = (svm.support_vectors_, svm._dual_coef_, svm._intercept_)
    for matrix in numbers:
        if _is_sparse(matrix):
            matrix.check_format(full_check=True)
    if not all(np.isfinite(getattr(n, "data", n) if _is_sparse(n) else n).all() for n in numbers):
        return "a number that it holds is not finite"
    return ""


def _is_sparse(array: Any) -> bool:
    return hasattr(array, "indptr")


def _forest_contradiction(forest: Any) -> str:
    for tree, features in zip(forest.estimators_, forest.estimators_features_, strict=True):
        nodes, count = tree.tree_, tree.tree_.node_count
        here = np.arange(count)
        left, right = nodes.children_left, nodes.children_right
        inner = left != -1
        down = ((left > here) & (left < count) & (right > here) & (right < count))[inner].all()
        known = ((nodes.feature >= 0) & (nodes.feature < len(features)))[inner].all()
        if not (count and down and known and (right[~inner] == -1).all()):
            return "a tree points outside itself"
        if len(features) != nodes.n_features or not ((features >= 0) & (features < forest.n_features_in_)).all():
            return "a tree wants features that the forest does not have"
    return ""


def _neighbours_contradiction(lof: Any) -> str:
    count, width = lof._fit_X.shape  # noqa: SLF001  # what the search reads
    if lof.n_features_in_ != width:
        return f"{lof.n_features_in_} features, but it was fitted on {width}"
    if lof._tree is not None:  # noqa: SLF001
        data, order, nodes, bounds = (np.asarray(a) for a in lof._tree.get_arrays())  # noqa: SLF001
        spans = (nodes["idx_start"] >= 0) & (nodes["idx_start"] <= nodes["idx_end"]) & (nodes["idx_end"] <= count)
        inner = np.flatnonzero(nodes["is_leaf"] == 0)
        sides = 2 if type(lof._tree).__name__.startswith("KDTree") else 1  # noqa: SLF001
        sound = (
            len(nodes)
            and (2 * inner + 2 < len(nodes)).all()
            and spans.all()
            and bounds.shape == (sides, len(nodes), width)
            and data.shape == (count, width)
            and sorted(order) == list(range(count))
        )
        if not sound:
            return "its tree points outside itself"
    return ""
