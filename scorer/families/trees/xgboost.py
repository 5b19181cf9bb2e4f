"""A model of XGBoost -> the numbers of its trees, so that totals are equal to the library's margins to the bit.

The library rounds readings to float32, sends x < threshold left and adds leaves to the base score's margin in float32,
in the file's order (`PredictBlockByAllTrees` in src/predictor/cpu_predictor.cc). Where early stopping named a best
round, later rounds are left out, of a bare Booster too: its own `predict` uses them, scikit-learn's wrapper does not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from scorer.errors import Unscorable
from shared.contract.reasons import Reason

from .ensemble import MOST_FEATURES, MOST_NODES, Ensemble, LinearLeaves, Link, NodeKind, Trees, check_trees

MOST_MEMBERS = 2**26  # bytes of all sets of categories of a model
MOST_LEVELS = 10_000  # of a tree
_MOST_CATEGORIES = 2**24  # OutOfRangeCat in XGBoost's src/common/categorical.h
_LEAST_SHARE = np.float32(1e-6)  # kRtEps, which bounds the base score of logistic objectives
_LINKS: Mapping[str, Link] = MappingProxyType(
    {
        "binary:logistic": Link.SIGMOID_OUTPUT,
        "reg:logistic": Link.SIGMOID_OUTPUT,
        "multi:softmax": Link.SOFTMAX,
        "multi:softprob": Link.SOFTMAX,
        "count:poisson": Link.EXP,
        "reg:gamma": Link.EXP,
        "reg:tweedie": Link.EXP,
        "survival:aft": Link.EXP,
        "survival:cox": Link.EXP,
    }
)  # of the others the totals are the outputs
_HINGE = "binary:hinge"


def takes_gaps(state: dict[str, Any]) -> bool:  # noqa: ARG001  # as the other libraries' functions
    """False: each node has a default direction for NaN, whether or not the model was trained with gaps."""
    return False


def gives_probabilities(state: dict[str, Any]) -> bool:
    """Whether a classifier has probabilities. With hinge loss it has one total, and the second class is total > 0."""
    return bool(state["objective"] != _HINGE)


def read_xgboost(state: dict[str, Any]) -> Ensemble:
    """The trees of a model that `model_files.boosters.xgboost_file` read.

    Raises Unscorable (TOO_LARGE), KeyError, or ValueError where its parts contradict each other.
    """
    n_features = state["n_features_in_"]
    if n_features > MOST_FEATURES:
        raise Unscorable(Reason.TOO_LARGE, f"expected at most {MOST_FEATURES} features, got {n_features}")
    start = _compute_margins(state)
    if state["booster"] == "gblinear":
        trees, start = _read_linear(state, start)
    else:
        trees = _read_trees(state, start)
    ensemble = Ensemble(trees, n_features, start, _choose_link(state), is_single=True, rounds_input=True)
    check_trees(ensemble)
    return ensemble


def _choose_link(state: dict[str, Any]) -> Link:
    link = _LINKS.get(state["objective"], Link.IDENTITY)
    return Link.SIGMOID if link is Link.SIGMOID_OUTPUT and state["is_classifier"] else link


def _compute_margins(state: dict[str, Any]) -> np.ndarray:
    """The base score of each output before the objective's transform, float64[K] of float32 numbers.

    `ProbToMargin` of the objectives in XGBoost's src/objective: logit, log, or unchanged. The library's logf is
    that of the C library, which the logarithm in double precision, rounded, agrees with.
    """
    scores = state["base_score"]
    link = _LINKS.get(state["objective"])
    if link is Link.SIGMOID_OUTPUT:
        shares = np.clip(scores, _LEAST_SHARE, np.float32(1) - _LEAST_SHARE)
        ratios = np.float32(1) / shares - np.float32(1)
        return np.array([-np.float32(math.log(ratio)) for ratio in ratios.tolist()], np.float64)
    if link is Link.EXP:
        if not (scores > 0).all():
            raise ValueError(f"expected a base_score above 0 for {state['objective']}, got {float(scores.min())}")
        return np.array([np.float32(math.log(score)) for score in scores.tolist()], np.float64)
    margins: np.ndarray = scores.astype(np.float64)
    return margins


def _count_trees(state: dict[str, Any], n_trees: int, n_outputs: int) -> int:
    """How many trees predict: those up to the best round, or all. Raises ValueError."""
    best = state.get("best_iteration")
    rounds = state.get("iteration_indptr")
    if rounds is not None and len(rounds):
        if rounds[0] != 0 or rounds[-1] != n_trees or (np.diff(rounds) < 0).any():
            raise ValueError(f"expected rounds of {n_trees} trees, got others")
        if best is None:
            return n_trees
        if best + 1 >= len(rounds):
            raise ValueError(f"expected a best round of {len(rounds) - 1}, got number {best}")
        return int(rounds[best + 1])
    if best is None:
        return n_trees
    count = (best + 1) * max(state.get("num_parallel_tree", 1), 1) * n_outputs
    if count > n_trees:
        raise ValueError(f"expected {count} trees up to the best round, got {n_trees}")
    return int(count)


def _read_trees(state: dict[str, Any], start: np.ndarray) -> Trees:
    """The trees of gbtree and dart."""
    arrays, n_outputs = state["trees"], len(start)
    sizes, groups = arrays["n_nodes"], state["tree_info"]
    n_trees = _count_trees(state, len(sizes), n_outputs)
    if len(groups) != len(sizes) or (len(sizes) and sizes.min() < 1):
        raise ValueError(f"expected tree_info of {len(sizes)} trees with nodes, got {len(groups)} or an empty tree")
    if len(groups) and not 0 <= int(groups.min()) <= int(groups.max()) < n_outputs:
        raise ValueError(f"expected trees of {n_outputs} outputs, got others")
    sizes, groups = sizes[:n_trees], groups[:n_trees]
    n_nodes = int(sizes.sum())
    if n_nodes > MOST_NODES:
        raise Unscorable(Reason.TOO_LARGE, f"expected at most {MOST_NODES} nodes, got {n_nodes}")
    roots = np.cumsum(sizes) - sizes
    leaf = arrays["left_children"][:n_nodes] == -1
    numbers = arrays["split_conditions"][:n_nodes]
    with np.errstate(all="ignore"):  # x < t is x <= the float32 number below t
        thresholds = np.where(leaf, np.float32(0), np.nextafter(numbers, np.float32(-np.inf))).astype(np.float64)
    sets, set_of, kinds = _read_kinds(arrays, n_nodes)
    if len(sets):
        thresholds[kinds >= NodeKind.SET_LEFT] = 0
    is_vector = "leaf_values" in arrays
    values = np.where(leaf[:, None], arrays["leaf_values"][:n_nodes] if is_vector else numbers[:, None], np.float32(0))
    if "weight_drop" in state:
        values = _weigh_leaves(state["weight_drop"], values, leaf, sizes, groups, start)
    index, shifts = np.arange(n_nodes, dtype=np.int32), np.repeat(roots, sizes).astype(np.int32)
    lefts, rights = (
        np.where(leaf, index, arrays[name][:n_nodes] + shifts) for name in ("left_children", "right_children")
    )
    trees = Trees(
        roots,
        np.where(leaf, np.int32(-1), arrays["split_indices"][:n_nodes]),
        thresholds,
        lefts,
        rights,
        np.where(leaf, np.int8(0), kinds),
        values.astype(np.float64),
        np.full(n_trees, -1, np.int32) if is_vector else groups.astype(np.int32),
        set_of,
        sets,
    )
    if not leaf.all() and int(trees.feature[~leaf].min()) < 0:
        raise ValueError("a tree asks for a feature with a negative number")
    is_ordered = ((lefts > index) & (rights > index) | leaf).all()
    has_dead_nodes = (arrays["split_indices"][:n_nodes][leaf] == np.iinfo(np.int32).max).any()
    return _renumber_nodes(trees, sizes) if has_dead_nodes or not is_ordered else trees


def _read_kinds(arrays: dict[str, np.ndarray], n_nodes: int) -> tuple[tuple[np.ndarray, ...], np.ndarray, np.ndarray]:
    """The sets of categories, the set of each node (empty where there are none), and NodeKind of each node.

    In the set goes right, and NaN by the node's default direction: `Decision` in XGBoost's src/common/categorical.h.
    """
    default, types = arrays["default_left"][:n_nodes] != 0, arrays["split_type"][:n_nodes]
    kinds = np.where(default, np.int8(NodeKind.NAN_LEFT), np.int8(NodeKind.NAN_RIGHT))
    asks = (types != 0) & (arrays["left_children"][:n_nodes] != -1)
    if not asks.any():
        return (), np.empty(0, np.int32), kinds
    kinds = np.where(asks, np.where(default, np.int8(NodeKind.SET_RIGHT), np.int8(NodeKind.SET_NAN_RIGHT)), kinds)
    set_of = np.full(n_nodes, -1, np.int32)
    sets: list[np.ndarray] = []
    n_members = 0
    segments = (arrays[f"categories_{name}"].tolist() for name in ("nodes", "segments", "sizes"))
    for node, first, count in zip(*segments, strict=True):
        if node >= n_nodes:
            continue
        categories = arrays["categories"][first : first + count]
        if categories.min() < 0 or categories.max() >= _MOST_CATEGORIES:
            raise ValueError(f"expected categories from 0 to {_MOST_CATEGORIES - 1}, got another one")
        members = np.zeros(int(categories.max()) + 1, bool)
        n_members += len(members)
        if n_members > MOST_MEMBERS:
            raise Unscorable(Reason.TOO_LARGE, f"expected sets of at most {MOST_MEMBERS} categories, got more")
        members[categories] = True
        set_of[node] = len(sets)
        sets.append(members)
    return tuple(sets), set_of, kinds


def _weigh_leaves(
    weights: np.ndarray,
    values: np.ndarray,
    leaf: np.ndarray,
    sizes: np.ndarray,
    groups: np.ndarray,
    start: np.ndarray,
) -> np.ndarray:
    """What a leaf of DART adds, float32: its margin with the base score, less that, times the weight of its tree.

    `Dart::InplacePredict` in XGBoost's src/gbm/gbtree.cc; scikit-learn's wrapper predicts by it.
    """
    if len(weights) < len(sizes) or values.shape[1] != 1:
        raise ValueError("expected a weight for each tree of dart, and leaves of one value")
    base = np.repeat(start.astype(np.float32)[groups], sizes)
    with np.errstate(all="ignore"):
        added = np.repeat(weights[: len(sizes)], sizes) * ((values[:, 0] + base) - base)
    return np.where(leaf, added, np.float32(0))[:, None]


def _read_linear(state: dict[str, Any], start: np.ndarray) -> tuple[Trees, np.ndarray]:
    """gblinear: for each output and feature a tree of one linear leaf, which adds 0 where its feature is a gap.

    The sum begins with bias plus base score, then feature by feature; the library takes the first base score for all
    outputs: `GBLinear::Pred` in XGBoost's src/gbm/gblinear.cc.
    """
    n_features, n_outputs = state["n_features_in_"], len(start)
    weights = state["weights"]
    if weights.shape != ((n_features + 1) * n_outputs,):
        raise ValueError(f"expected {(n_features + 1) * n_outputs} weights, got {len(weights)}")
    weights = weights.reshape(n_features + 1, n_outputs)
    count = n_features * n_outputs
    if count > MOST_NODES:
        raise Unscorable(Reason.TOO_LARGE, f"expected at most {MOST_NODES} weights, got {count}")
    index = np.arange(count, dtype=np.int32)
    leaves = LinearLeaves(
        np.arange(count + 1), np.zeros(count), index // n_outputs, weights[:-1].ravel().astype(np.float64)
    )
    trees = Trees(
        index.astype(np.int64),
        np.full(count, -1, np.int32),
        np.zeros(count),
        index,
        index,
        np.zeros(count, np.int8),
        np.zeros((count, 1)),
        index % n_outputs,
        linear=leaves,
    )
    return trees, (weights[-1] + np.float32(start[0])).astype(np.float64)


def _renumber_nodes(trees: Trees, sizes: np.ndarray) -> Trees:
    """The same trees without nodes that pruning left behind, and children after their parents. Raises ValueError."""
    leaf = trees.feature < 0
    tree_of = np.repeat(np.arange(len(sizes)), sizes)
    levels = [trees.roots]
    count = len(trees.roots)
    for _ in range(MOST_LEVELS):
        inner = levels[-1][~leaf[levels[-1]]]
        children = np.stack((trees.left[inner], trees.right[inner]), axis=1).ravel()
        if not len(children):
            break
        count += len(children)
        if not 0 <= children.min() <= children.max() < len(leaf) or count > len(leaf):
            raise ValueError("a tree points outside itself, or back")
        levels.append(children)
    else:
        raise ValueError(f"expected trees of at most {MOST_LEVELS} levels, got one that is deeper")
    order = np.concatenate(levels)
    order = order[np.argsort(tree_of[order], kind="stable")]
    number = np.full(len(leaf), -1, np.int32)
    number[order] = np.arange(len(order), dtype=np.int32)
    counts = np.bincount(tree_of[order], minlength=len(sizes))
    return Trees(
        np.cumsum(counts) - counts,
        trees.feature[order],
        trees.threshold[order],
        number[trees.left[order]],
        number[trees.right[order]],
        trees.kind[order],
        trees.values[order],
        trees.output,
        trees.set_of[order] if len(trees.set_of) else trees.set_of,
        trees.sets,
    )
