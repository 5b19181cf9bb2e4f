"""Checks of an estimator before it scores, what old ones lack, and its scores. Knows scikit-learn, no files."""

from __future__ import annotations

from typing import Any

import numpy as np

from scorer.errors import Unscorable
from scorer.families.isolation_forest import ScoringRule, compute_average_path
from shared.contract.reasons import Reason

from .answers import Answers, check_finite

KERNELS = ("linear", "poly", "rbf", "sigmoid")


def list_steps(estimator: Any) -> list[Any]:
    """The estimators of a model, also of nested pipelines; the last one is the detector."""
    estimator_steps = getattr(estimator, "steps", None)
    return (
        [part for _, step in estimator_steps for part in list_steps(step)]
        if isinstance(estimator_steps, list)
        else [estimator]
    )


def check_detector(estimator: Any) -> None:
    """Raises Unscorable: UNFITTED_MODEL, or UNREADABLE_MODEL where attributes contradict each other.

    The last check is needed: native code trusts these attributes, and reads outside its memory where they disagree.
    """
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    parts = list_steps(estimator)
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


def complete_detector(estimator: Any, rule: ScoringRule) -> None:
    """Add to a checked forest of an older release the tables that the installed one scores with."""
    forest = list_steps(estimator)[-1]
    if type(forest).__name__ != "IsolationForest":
        return
    forest.offset_ = -rule.intercept
    vars(forest).pop("behaviour", None)  # a parameter that no later release has
    if rule.is_first or not hasattr(forest, "_decision_path_lengths"):
        trees = [tree.tree_ for tree in forest.estimators_]
        forest._decision_path_lengths = tuple(tree.compute_node_depths() for tree in trees)  # noqa: SLF001  # its own tables
        forest._average_path_length_per_tree = tuple(  # noqa: SLF001
            compute_average_path(tree.n_node_samples, is_first=rule.is_first) for tree in trees
        )


def predict_rows(estimator: Any, features: Any, rule: ScoringRule) -> Answers:
    """The score of each row, and whether it is an anomaly: the results of `decision_function` and `predict`.

    The label follows from the score alone, as in the detectors' own `predict`.
    Raises Unscorable, BAD_SCORES, and errors of estimators.
    """
    scores = check_finite(estimator.decision_function(features), (len(features),), "scores")
    return Answers(score=scores, anomaly=scores <= rule.border if rule.strict else scores < rule.border)


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
    expected = {"_distances_fit_X_": (count, lof.n_neighbors_), "_lrd": (count,)}
    for name, shape in expected.items():
        actual = getattr(lof, name).shape
        if actual != shape or not 0 < lof.n_neighbors_ < count:
            return f"{name} is {actual} where {lof.n_neighbors_} neighbours of {count} rows need {shape}"
    return ""
