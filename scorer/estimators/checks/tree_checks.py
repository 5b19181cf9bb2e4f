"""Checks of trees and of what is made of them: native code follows their children and features without looking.

All raise ValueError, with what contradicts what; also TypeError, AttributeError and such for values of other types.
Sources: scikit-learn's `tree/_tree.pyx`, `ensemble/_gradient_boosting.pyx`, `_hist_gradient_boosting/_predictor.pyx`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

CLASSES = 2**20  # of a tree's outputs together; far more than needed
_BITSET = 8  # words of 32 bits for the categories of a split


def check_tree(
    n_features: Any, n_classes: np.ndarray, n_outputs: Any, nodes: np.ndarray, values: np.ndarray, node_count: Any
) -> None:
    """Check what a tree is made of: *n_classes* is int64[n_outputs], *values* of (nodes, outputs, classes)."""
    if not _is_count(n_features) or not _is_count(n_outputs) or n_classes.shape != (n_outputs,):
        raise ValueError(f"a tree of {n_features!r} features and {n_outputs!r} outputs with {n_classes.shape} classes")
    if n_classes.min() < 1 or n_classes.max() * n_outputs > CLASSES:
        raise ValueError(f"a tree of {n_outputs} outputs with {n_classes.min()} to {n_classes.max()} classes")
    if nodes.ndim != 1 or not len(nodes) or not _is_count(node_count) or node_count != len(nodes):
        raise ValueError("a tree of another number of nodes than it says")
    shape = (len(nodes), int(n_outputs), int(n_classes.max()))
    if values.shape != shape:
        raise ValueError(f"expected the values of a tree in the shape {shape}, got {values.shape}")
    first, second, features = (np.ascontiguousarray(nodes[name]) for name in ("left_child", "right_child", "feature"))
    is_leaf = first == -1
    _check_children(first, second, is_leaf)
    if (second[is_leaf] != -1).any():
        raise ValueError("a leaf with a child")
    _check_features(features[~is_leaf], int(n_features))


def check_predictor(nodes: np.ndarray, bitsets: np.ndarray) -> None:
    """Check a tree of HistGradientBoosting: its nodes, and the bits of the categories that go left (splits, 8)."""
    if not len(nodes) or bitsets.ndim != 2 or bitsets.shape[1] != _BITSET:  # noqa: PLR2004  # splits, words
        raise ValueError(f"a tree of {len(nodes)} nodes with bits of categories of the shape {bitsets.shape}")
    leaf = nodes["is_leaf"] != 0
    _check_children(nodes["left"].astype(np.int64), nodes["right"].astype(np.int64), leaf)
    chosen = nodes["bitset_idx"][~leaf & (nodes["is_categorical"] != 0)]
    if not (chosen < len(bitsets)).all():
        raise ValueError(f"a split by categories that are not among the {len(bitsets)} of its tree")


def check_tree_estimator(estimator: Any) -> None:
    """Check an estimator with `tree_` against its tree."""
    from sklearn.tree._tree import Tree

    tree = estimator.tree_
    if type(tree) is not Tree:
        raise TypeError(f"expected a Tree as tree_, got {type(tree).__name__}")
    if not _is_count(estimator.n_features_in_) or estimator.n_features_in_ != tree.n_features:
        raise ValueError(f"{estimator.n_features_in_!r} features, but its tree has {tree.n_features}")


def check_isolation_forest(forest: Any) -> None:
    """Check that the trees of an IsolationForest use features that it has."""
    for tree, features in zip(forest.estimators_, forest.estimators_features_, strict=True):
        nodes = tree.tree_
        if len(features) != nodes.n_features or not ((features >= 0) & (features < forest.n_features_in_)).all():
            raise ValueError("a tree uses features that the forest does not have")


def check_forest(forest: Any) -> None:
    """Check that all trees of a forest have its features: it checks the readings for all of them."""
    for tree in forest.estimators_:
        if tree.n_features_in_ != forest.n_features_in_ or not hasattr(tree, "tree_"):
            raise ValueError(f"a tree of {tree.n_features_in_} features in a forest of {forest.n_features_in_}")


def check_gradient_boosting(model: Any) -> None:
    """Check the stages of GradientBoosting: each tree has one output, one value a leaf, and the features of all.

    Their sums are written into columns that the model before the first stage makes, so it is asked for a row.
    """
    from sklearn.tree import DecisionTreeRegressor

    stages, n_trees = model.estimators_, model.n_trees_per_iteration_
    if not isinstance(stages, np.ndarray) or stages.ndim != 2 or not stages.size or stages.shape[1] != n_trees:  # noqa: PLR2004
        raise ValueError(f"expected stages of {n_trees!r} trees, got {getattr(stages, 'shape', type(stages).__name__)}")
    for tree in stages.ravel():
        if type(tree) is not DecisionTreeRegressor:
            raise TypeError(f"expected stages of DecisionTreeRegressor, got one of {type(tree).__name__}")
        if tree.tree_.n_features != model.n_features_in_ or (tree.tree_.n_outputs, tree.tree_.max_n_classes) != (1, 1):
            raise ValueError(f"a tree of {tree.tree_.n_features} features in stages for {model.n_features_in_}")
    row = np.zeros((1, model.n_features_in_), np.float32)
    shape = model._raw_predict_init(row).shape  # noqa: SLF001  # its own first step
    if shape != (1, n_trees):
        raise ValueError(f"a model before the stages that predicts {shape} where {(1, n_trees)} is expected")


def check_histogram_boosting(model: Any) -> None:
    """Check the trees of HistGradientBoosting against its features, and those of its categories."""
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

    n_features, n_trees = model.n_features_in_, model.n_trees_per_iteration_
    if not _is_count(n_features) or not _is_count(n_trees):
        raise ValueError(f"{n_features!r} features and {n_trees!r} trees an iteration")
    if np.size(model._baseline_prediction) not in (1, n_trees):  # noqa: SLF001
        raise ValueError(f"expected a baseline of {n_trees} numbers")
    mapper = model._bin_mapper  # noqa: SLF001
    categorical = np.asarray(mapper.is_categorical_)
    if (
        categorical.shape != (n_features,)
        or categorical.dtype.kind not in "biu"
        or len(mapper.bin_thresholds_) != n_features
    ):
        raise ValueError(f"expected bins of {n_features} features, got {categorical.shape}")
    for iteration in model._predictors:  # noqa: SLF001
        if len(iteration) != n_trees:
            raise ValueError(f"expected {n_trees} trees an iteration, got {len(iteration)}")
        for tree in iteration:
            if type(tree) is not TreePredictor:
                raise TypeError(f"expected a TreePredictor, got {type(tree).__name__}")
            inner = tree.nodes[tree.nodes["is_leaf"] == 0]
            _check_features(inner["feature_idx"], n_features)
            if not categorical[inner["feature_idx"][inner["is_categorical"] != 0]].all():
                raise ValueError("a split by categories of a feature that has none")


def _is_count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and 0 < int(value) < 2**31


def _check_children(first: np.ndarray, second: np.ndarray, leaf: np.ndarray) -> None:
    """Both children of a node come after it, so that each path ends."""
    indices, count = np.arange(len(first)), len(first)
    forward = (np.minimum(first, second) > indices) & (np.maximum(first, second) < count)
    if not (forward | leaf).all():
        raise ValueError("a tree points outside itself")


def _check_features(features: np.ndarray, n_features: int) -> None:
    if len(features) and not (features.min() >= 0 and features.max() < n_features):
        raise ValueError(f"a tree uses a feature that is not among its {n_features}")
