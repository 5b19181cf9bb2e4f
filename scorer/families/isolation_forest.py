"""The trees of an IsolationForest as flat arrays, checked so that every walk ends at a leaf. Pure.

    integers     root (trees) | feature (nodes) | left (nodes) | right (nodes)
    thresholds   of an inner node what it compares with; of a leaf the path length that it adds

Nodes of all trees are counted through, tree after tree. The feature of an inner node is a column of the readings;
of a leaf it is -1, and left and right are the leaf itself. Children lie behind their parent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_NODES = 2**22  # of all trees of one model: 80 MiB here; what is larger is not packed
DEEPEST = 64  # scikit-learn grows them to log2(max_samples) levels

_KINDS = {"left_child": "i", "right_child": "i", "feature": "i", "threshold": "f", "n_node_samples": "i"}


@dataclass(frozen=True, slots=True)
class Trees:
    """A forest without its scale."""

    count: int
    width: int  # features of the readings
    normal: float  # path length that a mean depth is divided by
    integers: np.ndarray  # int32
    thresholds: np.ndarray  # float64


def trees(state: dict[str, Any]) -> Trees | None:
    """The trees of a fitted forest's attributes; None where they are too many to pack.

    Raises KeyError for what is missing and ValueError for what contradicts itself.
    """
    width = int(state["n_features_in_"] if "n_features_in_" in state else state["n_features_"])
    grown = [estimator.state["tree_"].state for estimator in state["estimators_"]]
    if any(tree["nodes"].ndim != 1 or not _KINDS.items() <= _kinds(tree["nodes"]).items() for tree in grown):
        raise ValueError("a tree's nodes are not of their form")
    sizes = np.array([len(tree["nodes"]) for tree in grown])
    if not grown or not sizes.all() or width < 1:
        raise ValueError(f"{len(grown)} trees for {width} features, or a tree without nodes")
    if sizes.sum() > MOST_NODES:
        return None
    if any(tree["node_count"] != len(tree["nodes"]) for tree in grown):
        raise ValueError("a tree's node_count is not the number of its nodes")
    # Field by field: whole nodes would have their type looked at again for each tree.
    nodes = {name: np.concatenate([tree["nodes"][name] for tree in grown]) for name in _KINDS}
    roots = np.cumsum(sizes) - sizes
    leaf, left, right = _children(nodes, roots, sizes)
    feature = np.where(leaf, -1, _columns(state, width, nodes["feature"], ~leaf, sizes))
    depth = _depths(leaf, left, right, roots)
    samples = nodes["n_node_samples"]
    if samples[leaf].min() < 1:
        raise ValueError("a leaf without samples")
    if int(state["_max_samples"]) < 1:
        raise ValueError("_max_samples is below 1")
    lengths, normal = depth + average_path(samples), float(average_path(np.array(int(state["_max_samples"]))))
    _compare(state, lengths[leaf], sizes, leaf)
    if not normal:  # one sample a tree; scikit-learn then calls the mean depth 1
        lengths, normal = np.ones(len(leaf)), 1.0
    threshold = np.where(leaf, lengths, nodes["threshold"])
    integers = np.concatenate((roots, feature, left, right)).astype(np.int32)
    return Trees(len(grown), width, normal, integers, threshold)


def _kinds(nodes: np.ndarray) -> dict[str, str]:
    return {name: nodes.dtype[name].kind for name in nodes.dtype.names or ()}


def average_path(samples: np.ndarray) -> np.ndarray:
    """Mean length of an unsuccessful search in a tree of so many samples, as `_average_path_length` has it."""
    many = np.maximum(samples, 3).astype(np.float64)
    mean = 2.0 * (np.log(many - 1.0) + np.euler_gamma) - 2.0 * (many - 1.0) / many
    return np.where(samples <= 1, 0.0, np.where(samples == 2, 1.0, mean))  # noqa: PLR2004  # the formula's own cases


def _children(
    nodes: dict[str, np.ndarray], roots: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which nodes are leaves, and both children of each. Raises ValueError unless these are trees."""
    here = np.arange(len(nodes["left_child"]))
    first, end = np.repeat(roots, sizes), np.repeat(roots + sizes, sizes)
    leaf = nodes["left_child"] == -1
    if not (nodes["right_child"][leaf] == -1).all():
        raise ValueError("a leaf has one child")
    left = np.where(leaf, here, nodes["left_child"] + first)
    right = np.where(leaf, here, nodes["right_child"] + first)
    inner = ~leaf
    if not ((left > here) & (left < end) & (right > here) & (right < end))[inner].all():
        raise ValueError("a tree points outside itself, or back")
    parents = np.bincount(np.concatenate((left[inner], right[inner])), minlength=len(here))
    parents[roots] += 1
    if not (parents == 1).all():
        raise ValueError("a node of a tree has no parent, or two")
    return leaf, left, right


def _columns(
    state: dict[str, Any], width: int, feature: np.ndarray, inner: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    """The column of the readings for each inner node. A tree that saw some features only counts just those."""
    count = int(state["_max_features"])
    subsets = state["estimators_features_"]
    if len(subsets) != len(sizes) or any(subset.shape != (count,) for subset in subsets):
        raise ValueError("estimators_features_ is not a set of features for each tree")
    if not 0 < count <= width or not ((feature >= 0) & (feature < count))[inner].all():
        raise ValueError("a tree wants features that the forest does not have")
    if count == width:
        return feature
    if count * len(sizes) > MOST_NODES:
        raise ValueError("estimators_features_ is larger than any forest needs")
    table = np.stack(subsets)
    if not ((table >= 0) & (table < width)).all():
        raise ValueError("a tree wants features that the forest does not have")
    tree = np.repeat(np.arange(len(sizes)), sizes)
    columns: np.ndarray = table[tree, np.where(inner, feature, 0)]
    return columns


def _depths(leaf: np.ndarray, left: np.ndarray, right: np.ndarray, roots: np.ndarray) -> np.ndarray:
    """The steps from the root to each node."""
    depth = np.zeros(len(leaf))
    level = roots
    for steps in range(DEEPEST):
        depth[level] = steps
        inner = level[~leaf[level]]
        if not len(inner):
            return depth
        level = np.concatenate((left[inner], right[inner]))
    raise ValueError(f"a tree is deeper than {DEEPEST} levels")


def _compare(state: dict[str, Any], lengths: np.ndarray, sizes: np.ndarray, leaf: np.ndarray) -> None:
    """What newer versions keep of these lengths, and score by, must be these lengths."""
    steps, means = state.get("_decision_path_lengths"), state.get("_average_path_length_per_tree")
    if steps is None or means is None:
        return
    for tables in (steps, means):
        if len(tables) != len(sizes) or any(len(t) != size for t, size in zip(tables, sizes, strict=True)):
            raise ValueError("the path lengths that it keeps are not one for each node")
    found = np.concatenate(steps)[leaf] + np.concatenate(means)[leaf] - 1.0
    if not np.allclose(found, lengths, rtol=1e-12, atol=1e-12):
        raise ValueError("the path lengths that it keeps are not those of its trees")
