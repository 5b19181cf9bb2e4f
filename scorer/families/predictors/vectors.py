"""Support vectors and centres: libsvm's regressors, classifiers and detectors, and KMeans."""

from __future__ import annotations

from typing import Any

import numpy as np

from scorer.families.checks import check_equal, read_array, read_number
from scorer.families.steps import LabelRule, Outputs, Step, StepKind, compare_rbf
from scorer.families.svm import HIGHEST_DEGREE
from scorer.model_files.parsed import ParsedObject
from shared.contract.domain import Task

from .predictor import Predictor, read_classes, read_matrix, read_width

VECTORS_LIMIT = 2**14  # columns of a step; more support vectors are not packed
_PAIRS_LIMIT = 2**22  # numbers of the product that makes decisions of pairs
_KERNELS = {"rbf": StepKind.RBF, "poly": StepKind.POLY, "sigmoid": StepKind.TANH}


def read_svr(state: dict[str, Any]) -> Predictor | None:
    """SVR and NuSVR: the sum of coefficient * kernel, and the intercept."""
    return _read_single(state, Task.REGRESSOR, Outputs())


def read_one_class(state: dict[str, Any]) -> Predictor | None:
    """OneClassSVM, an anomaly at 0 or below."""
    return _read_single(state, Task.DETECTOR, Outputs(rule=LabelRule.UP_TO_ZERO))


def read_svc(state: dict[str, Any]) -> Predictor | None:
    """SVC and NuSVC, as libsvm labels: each pair of classes has a vote, and the first class of most votes is it.

    With probability=True its probabilities come from pairs of sigmoids, which are not packed; nor is break_ties.
    """
    if _has_probabilities(state) or state.get("break_ties") or not _is_packed(state):
        return None
    counts = _read_counts(state)
    n_classes = len(counts)
    classes = read_classes(state, n_classes)
    vectors = read_matrix(state, "support_vectors_")
    pairs = [(i, j) for i in range(n_classes) for j in range(i + 1, n_classes)]
    if classes is None or len(vectors) > VECTORS_LIMIT or len(pairs) * len(vectors) > _PAIRS_LIMIT:
        return None
    coefficients = read_array(state, "_dual_coef_", (n_classes - 1, len(vectors))).astype(np.float64)
    offset = read_array(state, "_intercept_", (len(pairs),)).astype(np.float64)
    if int(counts.sum()) != len(vectors) or (counts < 0).any():
        raise ValueError(f"_n_support counts {int(counts.sum())} of {len(vectors)} support vectors")
    ends = np.cumsum(counts)
    weights = np.zeros((len(pairs), len(vectors)))
    for row, (i, j) in enumerate(pairs):
        of_i, of_j = slice(ends[i] - counts[i], ends[i]), slice(ends[j] - counts[j], ends[j])
        weights[row, of_i], weights[row, of_j] = coefficients[j - 1, of_i], coefficients[i, of_j]
    votes = Step(StepKind.VOTES, n_classes, (n_classes,))
    outputs = Outputs(rule=LabelRule.LARGEST_TOTAL, count=n_classes)
    steps = [*_compare_vectors(state, vectors, weights, offset), votes]
    return Predictor(Task.CLASSIFIER, read_width(state, vectors.shape[1]), steps, outputs, classes)


def read_k_means(state: dict[str, Any]) -> Predictor | None:
    """KMeans and MiniBatchKMeans: the nearest centre, and minus the distance to it."""
    centres = read_matrix(state, "cluster_centers_")
    if state["cluster_centers_"].dtype != np.float64 or centres.size > _PAIRS_LIMIT:
        return None
    step = Step(StepKind.NEAREST, 2, numbers=(centres,))
    outputs = Outputs(rule=LabelRule.SECOND_TOTAL)
    width = read_width(state, centres.shape[1])
    return Predictor(Task.CLUSTERER, width, [step], outputs, list(range(len(centres))))


def _read_single(state: dict[str, Any], task: Task, outputs: Outputs) -> Predictor | None:
    if not _is_packed(state):
        return None
    vectors = read_matrix(state, "support_vectors_")
    if len(vectors) > VECTORS_LIMIT:
        return None
    coefficients = read_array(state, "_dual_coef_", (1, len(vectors))).astype(np.float64)
    offset = np.array([read_number(state, "_intercept_")])
    steps = _compare_vectors(state, vectors, coefficients, offset)
    return Predictor(task, read_width(state, vectors.shape[1]), steps, outputs)


def _compare_vectors(state: dict[str, Any], vectors: np.ndarray, weights: np.ndarray, offset: np.ndarray) -> list[Step]:
    """The kernel of each vector, and the sums of their products with the weights, [sums, vectors]."""
    if not (np.isfinite(weights).all() and np.isfinite(offset).all()):
        raise ValueError("_dual_coef_ or _intercept_ holds a number that is not finite")
    if state["kernel"] == "linear":
        return [Step(StepKind.PRODUCT, len(weights), numbers=(weights @ vectors, offset))]
    gamma, coef0, degree = read_number(state, "_gamma"), read_number(state, "coef0"), read_number(state, "degree")
    if gamma < 0 or not 0 <= degree < HIGHEST_DEGREE or degree != int(degree):
        raise ValueError(f"gamma is {gamma}, degree is {degree}")
    kind = _KERNELS[state["kernel"]]
    if kind is StepKind.RBF:
        return compare_rbf(gamma, vectors, weights, offset)
    integers = (int(degree),) if kind is StepKind.POLY else ()
    comparison = Step(kind, len(vectors), integers, (np.array([gamma, coef0]), vectors))
    return [comparison, Step(StepKind.PRODUCT, len(weights), numbers=(weights, offset))]


def _is_packed(state: dict[str, Any]) -> bool:
    """Whether vectors are an array, and the kernel one that is computed here."""
    vectors = state["support_vectors_"]
    if type(vectors) is ParsedObject or state.get("_sparse") or state["kernel"] not in ("linear", *_KERNELS):
        return False
    count, n_features = vectors.shape
    check_equal("shape_fit_", int(state.get("shape_fit_", (0, n_features))[1]), n_features)
    check_equal("the shape of support_", state["support_"].shape, (count,))
    return True


def _has_probabilities(state: dict[str, Any]) -> bool:
    parameters = [state.get(name) for name in ("_probA", "probA_")]
    return state.get("probability") is True or any(isinstance(item, np.ndarray) and item.size for item in parameters)


def _read_counts(state: dict[str, Any]) -> np.ndarray:
    name = "_n_support" if "_n_support" in state else "n_support_"
    counts = state[name]
    if not isinstance(counts, np.ndarray) or counts.ndim != 1 or counts.dtype.kind not in "iu" or len(counts) < 2:  # noqa: PLR2004  # two classes at least
        raise ValueError(f"{name} is not a list of counts")
    return counts.astype(np.int64)
