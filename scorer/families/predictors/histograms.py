"""HistGradientBoosting: trees over float64, with missing values and categories that are numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scorer.families.checks import check_equal
from scorer.families.steps import LabelRule, Outputs, Step, StepKind
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
_WORDS, _CATEGORIES = 8, 256  # of 32 bits, for the categories of a split


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
    preparation = _read_preparation(state)
    if preparation is None:
        return None
    stages = state["_predictors"]
    if not isinstance(stages, list) or not all(isinstance(stage, list) and len(stage) == n_totals for stage in stages):
        raise ValueError(f"expected {n_totals} trees in each stage")
    start = np.asarray(state["_baseline_prediction"], np.float64).ravel()
    if len(start) != n_totals or not np.isfinite(start).all():
        raise ValueError(f"_baseline_prediction has {len(start)} numbers for {n_totals} totals")
    n_features = int(state["n_features_in_"] if "n_features_in_" in state else state["_n_features"])
    _check_bins(state, n_features, n_totals)
    trees = _join_trees([tree for stage in stages for tree in stage], n_totals, _list_known(state))
    if trees is None:
        return None
    ensemble = Ensemble(trees, n_features, start, outputs.link)
    check_trees(ensemble)
    steps = [*preparation, build_trees_step(ensemble)]
    return Predictor(task, n_features, steps, outputs, classes, has_probability=bool(classes))


def _check_bins(state: dict[str, Any], n_features: int, n_totals: int) -> None:
    """Raise ValueError where its bins are of other features, or its stages of other numbers of trees."""
    bins = state["_bin_mapper"].state
    if np.shape(bins["is_categorical_"]) != (n_features,) or len(bins["bin_thresholds_"]) != n_features:
        raise ValueError(f"expected bins of {n_features} features")
    check_equal("n_trees_per_iteration_", int(state["n_trees_per_iteration_"]), n_totals)
    for tree in (tree for stage in state["_predictors"] for tree in stage):
        if np.shape(tree.state.get("raw_left_cat_bitsets", np.empty((0, _WORDS))))[1:] != (_WORDS,):
            raise ValueError("a tree with bits of categories of another shape")


def _read_preparation(state: dict[str, Any]) -> list[Step] | None:
    """What comes before the trees: none without categories, or their codes in the first columns; None: not packed.

    Files before 1.4 have categories as they are, and no preparation: those are not packed.
    """
    preprocessor = state.get("_preprocessor")
    if preprocessor is None:
        is_categorical = state.get("is_categorical_")
        return None if is_categorical is not None and np.any(np.asarray(is_categorical)) else []
    n_features = int(preprocessor.state["n_features_in_"])
    columns = [list(np.flatnonzero(np.asarray(mask))) for _, _, mask in preprocessor.state["transformers_"][:2]]
    encoder = preprocessor.state["transformers_"][0][1].state
    categories = [np.asarray(values) for values in encoder["categories_"]]
    if any(values.dtype.kind not in "fiu" for values in categories) or encoder.get("_infrequent_enabled"):
        return None  # texts, which no reading is
    numbers = [values[~np.isnan(values)] if values.dtype.kind == "f" else values for values in categories]
    order = [int(column) for part in columns for column in part]
    if sorted(order) != list(range(n_features)) or len(numbers) != len(columns[0]):
        raise ValueError("its categories are of other columns than it has")
    if any((values[1:] <= values[:-1]).any() for values in numbers):
        raise ValueError("expected categories in ascending order")
    counts = [len(values) for values in numbers]
    select = Step(StepKind.SELECT, n_features, order)
    return [select, Step(StepKind.ENCODE, n_features, counts, [values.astype(np.float64) for values in numbers])]


def _list_known(state: dict[str, Any]) -> dict[int, np.ndarray]:
    """The categories that training saw, as bool[256], by the feature of the trees."""
    bins = state["_bin_mapper"].state
    sets = {}
    for feature in np.flatnonzero(np.asarray(bins["is_categorical_"])).tolist():
        codes = np.asarray(bins["bin_thresholds_"][feature]).astype(np.int64)
        if len(codes) and not 0 <= codes.min() <= codes.max() < _CATEGORIES:
            raise ValueError("a category beyond those that a tree can ask for")
        sets[feature] = np.isin(np.arange(_CATEGORIES), codes)
    return sets


def _join_trees(parts: Sequence[Any], n_totals: int, trained: dict[int, np.ndarray]) -> Trees | None:
    if any(type(part) is not ParsedObject for part in parts):
        raise ValueError("_predictors holds what is no tree")
    arrays = [part.state["nodes"] for part in parts]
    for dtype in {id(dtype): dtype for dtype in [nodes.dtype for nodes in arrays]}.values():
        kinds = {name: dtype[name].kind for name in dtype.names or ()}
        if any(kinds[name] not in kind for name, kind in _KINDS.items()):
            raise ValueError("a tree's nodes have fields of other types")
    if any(nodes.ndim != 1 or not len(nodes) for nodes in arrays):
        raise ValueError("expected trees with nodes in one dimension, got others")
    sizes = np.array([len(nodes) for nodes in arrays], np.int64)
    if sizes.sum() > MOST_NODES:
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
    kind = np.where(is_left, NodeKind.NAN_LEFT, NodeKind.NAN_RIGHT).astype(np.int8)
    set_of, sets = _read_sets(parts, arrays, trained, np.flatnonzero(is_left))
    kind[set_of >= 0] = np.where(is_left, NodeKind.SET_RIGHT, NodeKind.SET_LEFT)[set_of >= 0]
    return Trees(
        roots,
        np.where(leaf, -1, nodes["feature_idx"].astype(np.int64)).astype(np.int32),
        np.where(leaf | (set_of >= 0), 0.0, nodes["num_threshold"]),
        np.where(leaf, index, nodes["left"].astype(np.int64) + first).astype(np.int32),
        np.where(leaf, index, nodes["right"].astype(np.int64) + first).astype(np.int32),
        kind,
        np.where(leaf, nodes["value"], 0.0)[:, None],
        np.tile(np.arange(n_totals, dtype=np.int32), len(sizes) // n_totals),
        set_of,
        sets,
    )


def _read_sets(
    parts: Sequence[Any], arrays: Sequence[np.ndarray], trained: dict[int, np.ndarray], goes_left: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """For each node the place of its set of categories, or -1; and the sets.

    A category of the node's bits goes left, another known one right, and the rest, such as NaN, as missing values: so
    where those go right, the set is that of the bits, and where they go left it is the known ones without them.
    """
    set_of, sets, offset = np.full(sum(map(len, arrays)), -1, np.int32), list[np.ndarray](), 0
    is_left = np.zeros(len(set_of), bool)
    is_left[goes_left] = True
    for part, nodes in zip(parts, arrays, strict=True):
        has_sets = "is_categorical" in (nodes.dtype.names or ())
        own_bits = part.state["raw_left_cat_bitsets"] if has_sets else None
        if has_sets and nodes["is_categorical"].any():
            bits = np.ascontiguousarray(own_bits).astype("<u4")
            for node in np.flatnonzero((nodes["is_categorical"] != 0) & (nodes["is_leaf"] == 0)).tolist():
                members = np.unpackbits(bits[int(nodes["bitset_idx"][node])].view(np.uint8), bitorder="little") != 0
                if is_left[offset + node]:
                    members = trained[int(nodes["feature_idx"][node])] & ~members
                set_of[offset + node] = len(sets)
                sets.append(members)
        offset += len(nodes)
    return set_of, tuple(sets)
