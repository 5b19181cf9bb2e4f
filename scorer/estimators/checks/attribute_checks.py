"""Checks of an estimator's attributes before it scores. Each estimator of a model, also inside others, when it is made.

Native code trusts these attributes, and reads outside its memory where they disagree.

Sources: scikit-learn's `svm/src/libsvm`, `metrics/_pairwise_distances_reduction`, `cluster/_k_means_common.pyx`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from scorer.errors import Unscorable
from shared.contract.reasons import Reason

from . import tree_checks

KERNELS = ("linear", "poly", "rbf", "sigmoid")
_MATRIX = 2  # dimensions


def check_estimator(estimator: Any) -> None:
    """Check an estimator that was made of a file; one without fitted attributes passes, and predicts nothing.

    Raises Unscorable: UNREADABLE_MODEL where attributes contradict each other, UNSUPPORTED_MODEL for what is not read;
    AttributeError where one is missing.
    """
    name, state = type(estimator).__name__, vars(estimator)
    checks = [check for attribute, check in _BY_ATTRIBUTE.items() if attribute in state]
    if name in _BY_NAME and _BY_NAME[name][0] in state:
        checks.append(_BY_NAME[name][1])
    for check in checks:
        try:
            check(estimator)
        except AttributeError:
            raise  # the loader says whether another release made it
        except (TypeError, ValueError, IndexError, KeyError, OverflowError) as error:
            message = f"its parts contradict each other: {error}"[:300]
            raise Unscorable(Reason.UNREADABLE_MODEL, message) from error


def _check_svm(svm: Any) -> None:
    """What libsvm reads: `svm_predict`, and `set_model` of its bindings."""
    count, n_features = svm.support_vectors_.shape
    if svm.kernel == "precomputed":
        raise Unscorable(Reason.UNSUPPORTED_MODEL, "expected a kernel of readings, got 'precomputed'")
    classes = len(svm.classes_) if type(svm).__name__ in ("SVC", "NuSVC") else 0
    pairs = classes * (classes - 1) // 2 if classes else 1
    numbers = np.asarray(svm._n_support)  # noqa: SLF001
    if classes:
        is_counted = numbers.shape == (classes,) and (numbers >= 0).all() and int(numbers.sum()) == count
    else:  # libsvm reads no counts, but their number as that of the classes
        is_counted = numbers.shape == (2,) and int(numbers[0]) == count
    if not is_counted or (classes == 1):
        raise ValueError(f"_n_support is {numbers.tolist()[:9]} where {count} support vectors are expected")
    shapes = {
        "support_": (svm.support_.shape, (count,)),
        "_dual_coef_": (svm._dual_coef_.shape, (max(classes - 1, 1), count)),
        "_intercept_": (svm._intercept_.shape, (pairs,)),
        "n_features_in_": (svm.n_features_in_, n_features),
        "shape_fit_": (svm.shape_fit_[1], n_features),
    }
    for name, (actual, expected) in shapes.items():
        if actual != expected:
            message = f"{name} is {actual} where {count} support vectors of {n_features} features need {expected}"
            raise ValueError(message)
    for name in ("_probA", "_probB"):
        if getattr(svm, name).shape not in ((0,), (pairs,)) or len(svm._probA) != len(svm._probB):  # noqa: SLF001
            raise ValueError(f"{name} is {getattr(svm, name).shape} where {pairs} pairs of classes are expected")
    if not count or svm.kernel not in KERNELS:
        kernels = ", ".join(KERNELS)
        raise ValueError(f"{count} support vectors with the kernel {svm.kernel!r}, expected some with one of {kernels}")
    _check_sparse_svm(svm, max(classes - 1, 1) * count)


def _check_sparse_svm(svm: Any, n_coefficients: int) -> None:
    """Of sparse coefficients libsvm takes the stored numbers of sparse coefficients for all."""
    for matrix in (svm.support_vectors_, svm._dual_coef_, svm._intercept_):
        if hasattr(matrix, "indptr"):
            matrix.check_format(full_check=True)
        if not np.isfinite(getattr(matrix, "data", matrix) if hasattr(matrix, "indptr") else matrix).all():
            raise ValueError("it holds a number that is not finite")
    coefficients = svm._dual_coef_
    if hasattr(coefficients, "indptr") and len(coefficients.data) != n_coefficients:
        raise ValueError(f"_dual_coef_ stores {len(coefficients.data)} numbers where {n_coefficients} are expected")
    is_sparse = {hasattr(coefficients, "indptr"), hasattr(svm.support_vectors_, "indptr"), bool(svm._sparse)}  # noqa: SLF001
    if len(is_sparse) > 1:
        raise ValueError("only a part of it is sparse")


def _check_neighbours(model: Any) -> None:
    """What searches among fitted rows read, whether in trees or by brute force."""
    rows = model._fit_X  # noqa: SLF001
    count, n_features = rows.shape
    if model.effective_metric_ == "precomputed" or not isinstance(model.effective_metric_, str):
        raise Unscorable(
            Reason.UNSUPPORTED_MODEL, f"expected a metric of readings, got {model.effective_metric_!r}"[:200]
        )
    if model.metric not in ("minkowski", model.effective_metric_):
        raise ValueError(f"metric is {str(model.metric)[:40]!r} where effective_metric_ is {model.effective_metric_!r}")
    if model.n_features_in_ != n_features or model.n_samples_fit_ != count or not count:
        expected = f"{model.n_features_in_} features and {model.n_samples_fit_} rows"
        raise ValueError(f"{expected}, but it was fitted on {n_features} and {count}")
    neighbours = getattr(model, "n_neighbors", None)
    is_used = type(model).__name__ != "LocalOutlierFactor" and neighbours is not None  # it has n_neighbors_
    if is_used and (not isinstance(neighbours, int | np.integer) or not 0 < neighbours <= count):
        raise ValueError(f"{neighbours!r} neighbours of {count} rows")
    if type(model).__name__.endswith("Classifier"):
        _check_neighbour_labels(model, count)
    elif type(model).__name__.endswith("Regressor") and len(model._y) != count:  # noqa: SLF001
        raise ValueError(f"{len(model._y)} targets of {count} rows")  # noqa: SLF001


def _check_neighbour_labels(model: Any, count: int) -> None:
    """Labels are indices of classes, which native code adds to without looking."""
    labels = model._y  # noqa: SLF001
    classes = model.classes_ if model.outputs_2d_ else [model.classes_]
    expected = (count, len(classes)) if model.outputs_2d_ else (count,)
    if labels.shape != expected or labels.dtype.kind not in "iu":
        raise ValueError(f"labels of the shape {labels.shape} where {expected} is expected")
    for output, names in enumerate(classes):
        of_output = labels[:, output] if model.outputs_2d_ else labels
        if not ((of_output >= 0) & (of_output < len(names))).all():
            raise ValueError(f"a label that is not among {len(names)} classes")


def _check_outlier_factor(lof: Any) -> None:
    count = len(lof._fit_X)  # noqa: SLF001  # the search reads it
    expected = {"_distances_fit_X_": (count, lof.n_neighbors_), "_lrd": (count,)}
    for name, shape in expected.items():
        actual = getattr(lof, name).shape
        if actual != shape or not 0 < lof.n_neighbors_ < count:
            raise ValueError(f"{name} is {actual} where {lof.n_neighbors_} neighbours of {count} rows need {shape}")


def _check_centers(model: Any) -> None:
    """Centres have the features of the readings, and there is one at least."""
    attribute = next(name for name in _CENTERS if name in vars(model))
    centers = getattr(model, attribute)
    if not isinstance(centers, np.ndarray) or centers.ndim != _MATRIX or centers.dtype.kind != "f":
        raise ValueError(f"expected centres as a matrix of numbers, got {getattr(centers, 'shape', None)}")
    if not len(centers):
        raise Unscorable(Reason.UNFITTED_MODEL, f"this {type(model).__name__} found no cluster when it was fitted")
    if centers.shape[1] != model.n_features_in_:
        raise ValueError(f"centres of {centers.shape[1]} features in a model of {model.n_features_in_!r}")
    norms = getattr(model, "_subcluster_norms", None)
    if attribute == "subcluster_centers_" and (norms is None or norms.shape != (len(centers),)):
        raise ValueError(f"expected the norms of {len(centers)} centres")


def _check_bisecting_tree(model: Any) -> None:
    """Each node has a centre, and two children or none."""
    pending, visited = [model._bisecting_tree], set()  # noqa: SLF001
    while pending:
        node = pending.pop()
        if type(node).__name__ != "_BisectingTree" or id(node) in visited:
            raise ValueError("expected a tree of clusters")
        visited.add(id(node))
        if np.shape(node.center) != (model.n_features_in_,) or (node.left is None) != (node.right is None):
            raise ValueError(f"a cluster of {np.shape(node.center)} features in a model of {model.n_features_in_!r}")
        pending += [] if node.left is None else [node.left, node.right]


def _check_one_hot(encoder: Any) -> None:
    """The number of columns decides where the ones are written."""
    sizes = [len(categories) for categories in encoder.categories_]
    if encoder._infrequent_enabled:  # noqa: SLF001
        raise Unscorable(Reason.UNSUPPORTED_MODEL, "expected a OneHotEncoder without groups of infrequent categories")
    dropped = encoder._drop_idx_after_grouping  # noqa: SLF001
    dropped = [None] * len(sizes) if dropped is None else list(dropped)
    is_inside = [index is None or 0 <= index < size for index, size in zip(dropped, sizes, strict=True)]
    expected = [size - (index is not None) for index, size in zip(dropped, sizes, strict=True)]
    if not all(is_inside) or list(encoder._n_features_outs) != expected:  # noqa: SLF001
        raise ValueError(f"columns {str(encoder._n_features_outs)[:80]} for categories of {sizes}"[:200])  # noqa: SLF001


def _check_coefficients(model: Any) -> None:
    """Weights have the features of the readings. NumPy would say so too, but not that the file is at fault."""
    weights, n_features = model.coef_, getattr(model, "n_features_in_", None)
    if isinstance(weights, np.ndarray) and n_features is not None and weights.shape[-1:] != (n_features,):
        raise ValueError(f"coef_ is {weights.shape} in a model of {n_features!r} features")


def _check_layers(model: Any) -> None:
    """Each layer of a network takes what the one before gives."""
    weights, biases = model.coefs_, model.intercepts_
    size = model.n_features_in_
    if len(weights) != len(biases) or len(weights) != model.n_layers_ - 1:
        raise ValueError(f"{len(weights)} layers of weights, {len(biases)} of biases, n_layers_ {model.n_layers_!r}")
    for matrix, bias in zip(weights, biases, strict=True):
        if matrix.ndim != _MATRIX or matrix.shape != (size, *bias.shape):
            raise ValueError(f"a layer of {matrix.shape} for {size} values and {bias.shape} biases")
        size = matrix.shape[1]


def _check_dummy(model: Any) -> None:
    if getattr(model, "strategy", "") in ("stratified", "uniform"):
        message = (
            f"expected a DummyClassifier whose labels do not change, got strategy={model.strategy!r}: it draws them"
        )
        raise Unscorable(Reason.UNSUPPORTED_MODEL, message)


def _check_selection(selector: Any) -> None:
    """The attribute that a selection asks for is one of two: a file could name any."""
    if selector.importance_getter not in ("auto", "coef_", "feature_importances_"):
        message = f"expected importance_getter='auto', got {str(selector.importance_getter)[:60]!r}"
        raise Unscorable(Reason.UNSUPPORTED_MODEL, message)


_CENTERS = ("cluster_centers_", "subcluster_centers_", "centroids_")
# By an attribute that it has: whatever kind it says it is of.
_BY_ATTRIBUTE: Mapping[str, Callable[[Any], None]] = MappingProxyType(
    {
        "tree_": tree_checks.check_tree_estimator,
        "support_vectors_": _check_svm,
        "_fit_method": _check_neighbours,
        **dict.fromkeys(_CENTERS, _check_centers),
        "_bisecting_tree": _check_bisecting_tree,
        "categories_": lambda encoder: _check_one_hot(encoder) if hasattr(encoder, "_n_features_outs") else None,
        "coef_": _check_coefficients,
        "coefs_": _check_layers,
        "importance_getter": _check_selection,
        "_predictors": tree_checks.check_histogram_boosting,
    }
)
_FORESTS = ("RandomForestRegressor", "RandomForestClassifier", "ExtraTreesRegressor", "ExtraTreesClassifier")
_BOOSTINGS = ("GradientBoostingRegressor", "GradientBoostingClassifier")
# By its kind, where it has this attribute.
_BY_NAME: Mapping[str, tuple[str, Callable[[Any], None]]] = MappingProxyType(
    {
        "IsolationForest": ("estimators_", tree_checks.check_isolation_forest),
        "LocalOutlierFactor": ("_fit_X", _check_outlier_factor),
        "DummyClassifier": ("class_prior_", _check_dummy),
        **dict.fromkeys(_FORESTS, ("estimators_", tree_checks.check_forest)),
        **dict.fromkeys(_BOOSTINGS, ("estimators_", tree_checks.check_gradient_boosting)),
    }
)
