"""HistGradientBoosting: trees over float64, with missing values; their categories are not packed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scorer.families.checks import check_equal
from scorer.families.steps import LabelRule, Outputs
from scorer.families.trees.ensemble import MOST_NODES, Ensemble, Link, NodeKind, Trees, check_trees
from scorer.families.trees.packing import build_trees_step
from scorer.model_files.parsed import ParsedObject
from shared.contract.domain import Task

from .predictor import Predictor, read_classes

_KINDS = {
    "value": "f",
    "feature_idx": "iu",
    "num_threshold": "f",
    "missing_go_to_left": "iub",
    "left": "iu",
    "right": "iu",
}
_LOG_LOSSES = ("poisson", "gamma")
_BINARY = 2
_WORDS = 8  # of 32 bits, for the categories of a split


def read_regressor(state: dict[str, Any]) -> Predictor | None:
    """HistGradientBoostingRegressor: poisson and gamma predict exp of the total."""
    loss = state.get("loss", "squared_error")
    if type(loss) is not str:
        return None
    link = Link.EXP if loss in _LOG_LOSSES else Link.IDENTITY
    return _read_boosting(state, 1, Task.REGRESSOR, Outputs(link), ())


def read_classifier(state: dict[str, Any]) -> Predictor | None:
    """HistGradientBoostingClassifier: the second of two classes where the total is above 0, or the first largest."""
    classes = read_classes(state, len(state["classes_"]))
    if classes is None:
        return None
    if len(classes) == _BINARY:
        outputs, n_totals = Outputs(Link.SIGMOID, LabelRule.ABOVE_ZERO, count=_BINARY), 1
    else:
        n_totals = len(classes)
        outputs = Outputs(Link.SOFTMAX, LabelRule.LARGEST_TOTAL, count=n_totals)
    return _read_boosting(state, n_totals, Task.CLASSIFIER, outputs, classes)


def _read_boosting(
    state: dict[str, Any], n_totals: int, task: Task, outputs: Outputs, classes: Sequence[Any]
) -> Predictor | None:
    if state.get("_preprocessor") is not None or _has_categories(state.get("is_categorical_")):
        return None
    stages = state["_predictors"]
    if not isinstance(stages, list) or not all(isinstance(stage, list) and len(stage) == n_totals for stage in stages):
        raise ValueError(f"expected {n_totals} trees in each stage")
    start = np.asarray(state["_baseline_prediction"], np.float64).ravel()
    if len(start) != n_totals or not np.isfinite(start).all():
        raise ValueError(f"_baseline_prediction has {len(start)} numbers for {n_totals} totals")
    n_features = int(state["n_features_in_"] if "n_features_in_" in state else state["_n_features"])
    _check_bins(state, n_features, n_totals)
    trees = _join_trees([tree for stage in stages for tree in stage], n_totals)
    if trees is None:
        return None
    ensemble = Ensemble(trees, n_features, start, outputs.link)
    check_trees(ensemble)
    return Predictor(task, n_features, [build_trees_step(ensemble)], outputs, classes, has_probability=bool(classes))


def _check_bins(state: dict[str, Any], n_features: int, n_totals: int) -> None:
    """Raise ValueError where its bins are of other features, or its stages of other numbers of trees."""
    bins = state["_bin_mapper"].state
    if np.shape(bins["is_categorical_"]) != (n_features,) or len(bins["bin_thresholds_"]) != n_features:
        raise ValueError(f"expected bins of {n_features} features")
    check_equal("n_trees_per_iteration_", int(state["n_trees_per_iteration_"]), n_totals)
    for tree in (tree for stage in state["_predictors"] for tree in stage):
        if np.shape(tree.state.get("raw_left_cat_bitsets", np.empty((0, _WORDS))))[1:] != (_WORDS,):
            raise ValueError("a tree with bits of categories of another shape")


def _has_categories(is_categorical: Any) -> bool:
    return is_categorical is not None and bool(np.any(np.asarray(is_categorical)))


def _join_trees(parts: Sequence[Any], n_totals: int) -> Trees | None:
    if any(type(part) is not ParsedObject for part in parts):
        raise ValueError("_predictors holds what is no tree")
    arrays = [part.state["nodes"] for part in parts]
    for nodes in {id(nodes): nodes for nodes in arrays}.values():
        kinds = {name: nodes.dtype[name].kind for name in nodes.dtype.names or ()}
        if nodes.ndim != 1 or not len(nodes) or any(kinds.get(name, "?") not in kind for name, kind in _KINDS.items()):
            raise ValueError("a tree's nodes have fields of other types")
    sizes = np.array([len(nodes) for nodes in arrays], np.int64)
    if sizes.sum() > MOST_NODES or any(nodes["is_categorical"].any() for nodes in arrays if _knows_categories(nodes)):
        return None
    if not len(sizes):
        empty = np.empty(0, np.int32)
        return Trees(
            empty.astype(np.int64), empty, np.empty(0), empty, empty, empty.astype(np.int8), np.empty((0, 1)), empty
        )
    names = (*_KINDS, "is_leaf")
    nodes = {name: np.concatenate([array[name] for array in arrays]) for name in names}
    roots = np.cumsum(sizes) - sizes
    leaf, first, index = nodes["is_leaf"] != 0, np.repeat(roots, sizes), np.arange(sizes.sum())
    is_left = ~leaf & (nodes["missing_go_to_left"] != 0)
    feature = nodes["feature_idx"].astype(np.int64)
    return Trees(
        roots,
        np.where(leaf, -1, feature).astype(np.int32),
        np.where(leaf, 0.0, nodes["num_threshold"]),
        np.where(leaf, index, nodes["left"].astype(np.int64) + first).astype(np.int32),
        np.where(leaf, index, nodes["right"].astype(np.int64) + first).astype(np.int32),
        np.where(is_left, NodeKind.NAN_LEFT, NodeKind.NAN_RIGHT).astype(np.int8),
        np.where(leaf, nodes["value"], 0.0)[:, None],
        np.tile(np.arange(n_totals, dtype=np.int32), len(sizes) // n_totals),
    )


def _knows_categories(nodes: np.ndarray) -> bool:
    return "is_categorical" in (nodes.dtype.names or ())
