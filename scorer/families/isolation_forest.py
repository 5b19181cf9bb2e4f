"""The trees of an IsolationForest as flat arrays, checked so that every walk ends at a leaf. Pure.

    integers     root (trees) | feature (nodes) | left (nodes) | right (nodes)
    thresholds   of an inner node the number that it compares with; of a leaf the path length that it adds

The nodes of all trees have one numbering, tree after tree. The feature of an inner node is a column of the readings;
of a leaf it is -1, and left and right are the leaf itself. Children come after their parent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scorer.errors import Unscorable
from shared.contract.reasons import Reason

from .base import Body, Family
from .checks import read_number, read_release
from .trees.ensemble import check_children
from .trees.nodes import SAMPLES, join_nodes

MOST_NODES = 2**22  # of all trees of one model: 80 MiB here; a larger forest is not packed
DEEPEST = 64  # scikit-learn grows them to log2(max_samples) levels

_CLOSE = 1e-12  # of path lengths, absolute and relative
_BEHAVIOURS = ((0, 20), (0, 21))  # releases with `behaviour`; the first ones with `offset_`


@dataclass(frozen=True, slots=True)
class ScoringRule:
    """How the release that made a detector scores and labels: an anomaly is a score below the border.

    Of a forest, score = intercept - 2 ** -mean path, read off the sources of each release and compared with it (see
    docs/models.md): 0.19 adds 0.5 and compares with `threshold_`, itself an anomaly; 0.20 and 0.21 subtract `offset_`
    and compare with `_threshold_` where *behaviour* is "old", their default; all later ones compare with 0. Until 0.20
    a leaf of one sample counts as a path of 1, and the formula for more samples is used for two.
    """

    intercept: float
    border: float = 0.0
    strict: bool = False  # the border itself is an anomaly
    is_first: bool = False  # path lengths of 0.19 and 0.20


def read_rule(state: dict[str, Any]) -> ScoringRule:
    """The rule of the release that made a forest.

    Raises KeyError, ValueError, and Unscorable (INCOMPATIBLE_MODEL) for one of 0.20 or 0.21 that does not say which.
    """
    release = read_release(state)
    is_first = release is not None and release <= _BEHAVIOURS[0]
    if is_first and int(state["_max_samples"]) <= 2:  # noqa: PLR2004  # of which the two formulas differ
        message = "expected more than 2 samples a tree, got a forest of scikit-learn 0.20 or older with fewer"
        raise Unscorable(Reason.INCOMPATIBLE_MODEL, message)
    if "offset_" not in state and release is not None and release < _BEHAVIOURS[0]:
        return ScoringRule(0.5, read_number(state, "threshold_"), strict=True, is_first=True)
    intercept = -read_number(state, "offset_")
    if state.get("behaviour") not in ("old", "new"):  # a parameter of 0.20 and 0.21 only
        return ScoringRule(intercept)
    if release not in _BEHAVIOURS:
        message = "expected a forest that says whether scikit-learn 0.20 or 0.21 made it: they score differently"
        raise Unscorable(Reason.INCOMPATIBLE_MODEL, message)
    border = read_number(state, "_threshold_") if state["behaviour"] == "old" else 0.0
    return ScoringRule(intercept, border, is_first=is_first)


@dataclass(frozen=True, slots=True)
class Trees:
    """A forest without its scale."""

    count: int
    n_features: int  # features of the readings
    normal: float  # path length that a mean depth is divided by
    integers: np.ndarray  # int32
    thresholds: np.ndarray  # float64


def read_forest(state: dict[str, Any]) -> Body | None:
    """IsolationForest, as the release that made it scores; None where its trees are too many to pack.

    Raises KeyError for a missing attribute, ValueError for a contradiction, and Unscorable as `read_rule`.
    """
    rule = read_rule(state)
    trees = read_trees(state, rule)
    if trees is None:
        return None
    return Body(
        Family.FOREST,
        state.get("n_features_in_", trees.n_features),
        rule.intercept,
        (trees.thresholds,),
        gamma=trees.normal,
        count=trees.count,
        border=rule.border,
        strict=rule.strict,
        integers=trees.integers,
    )


def read_trees(state: dict[str, Any], rule: ScoringRule) -> Trees | None:
    """The trees of a fitted forest's attributes; None where they are too many to pack.

    Raises KeyError for a missing attribute and ValueError for a contradiction.
    """
    n_features = int(state["n_features_in_"] if "n_features_in_" in state else state["n_features_"])
    tree_states = [estimator.state["tree_"].state for estimator in state["estimators_"]]
    if n_features < 1:
        raise ValueError(f"{len(tree_states)} trees for {n_features} features")
    nodes = join_nodes(tree_states, MOST_NODES, SAMPLES)
    if nodes is None:
        return None
    roots, sizes, leaf = nodes.roots, nodes.sizes, nodes.leaf
    check_children(roots, leaf, nodes.left, nodes.right)
    feature = np.where(leaf, -1, _map_features(state, n_features, nodes.fields["feature"], ~leaf, sizes))
    depth = _measure_depths(leaf, nodes.left, nodes.right, roots)
    samples = nodes.fields["n_node_samples"]
    if samples[leaf].min() < 1:
        raise ValueError("a leaf without samples")
    if int(state["_max_samples"]) < 1:
        raise ValueError("_max_samples is below 1")
    path_lengths = depth + _compute_average_paths(samples, is_first=rule.is_first)
    normal = float(compute_average_path(np.array(int(state["_max_samples"]))))
    _check_lengths(state, path_lengths[leaf], sizes, leaf)
    if not normal:  # one sample a tree; scikit-learn then calls the mean depth 1
        path_lengths, normal = np.ones(len(leaf)), 1.0
    threshold = np.where(leaf, path_lengths, nodes.fields["threshold"])
    parts = (roots, feature, nodes.left, nodes.right)
    integers = np.concatenate(parts, dtype=np.int32, casting="unsafe")
    return Trees(len(tree_states), n_features, normal, integers, threshold)


def compute_average_path(samples: np.ndarray, *, is_first: bool = False) -> np.ndarray:
    """Mean length of an unsuccessful search in a tree of so many samples, as `_average_path_length` has it.

    *is_first*: as it was in 0.19 and 0.20.
    """
    many = np.maximum(samples, 2 if is_first else 3).astype(np.float64)
    mean = 2.0 * (np.log(many - 1.0) + np.euler_gamma) - 2.0 * (many - 1.0) / many
    if is_first:
        return np.where(samples <= 1, 1.0, mean)
    return np.where(samples <= 1, 0.0, np.where(samples == 2, 1.0, mean))  # noqa: PLR2004  # the formula's own cases


def _compute_average_paths(samples: np.ndarray, *, is_first: bool) -> np.ndarray:
    """The same of many nodes, whose numbers of samples repeat."""
    largest = int(samples.max())
    if largest >= len(samples) or samples.min() < 0:
        return compute_average_path(samples, is_first=is_first)
    lengths: np.ndarray = compute_average_path(np.arange(largest + 1), is_first=is_first)[samples]
    return lengths


def _map_features(
    state: dict[str, Any], n_features: int, feature: np.ndarray, inner: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    """The column of the readings for each inner node. A tree that uses only some features numbers only these."""
    count = int(state["_max_features"])
    subsets = state["estimators_features_"]
    if len(subsets) != len(sizes) or any(subset.shape != (count,) for subset in subsets):
        raise ValueError("estimators_features_ is not a set of features for each tree")
    if not 0 < count <= n_features or not ((feature >= 0) & (feature < count))[inner].all():
        raise ValueError("a tree uses features that the forest does not have")
    if count == n_features:
        return feature
    if count * len(sizes) > MOST_NODES:
        raise ValueError("estimators_features_ is larger than any forest needs")
    table = np.stack(subsets)
    if not ((table >= 0) & (table < n_features)).all():
        raise ValueError("a tree uses features that the forest does not have")
    tree = np.repeat(np.arange(len(sizes)), sizes)
    columns: np.ndarray = table[tree, np.where(inner, feature, 0)]
    return columns


def _measure_depths(leaf: np.ndarray, left_child: np.ndarray, right_child: np.ndarray, roots: np.ndarray) -> np.ndarray:
    """The steps from the root to each node."""
    depth = np.zeros(len(leaf))
    level = roots
    for steps in range(DEEPEST):
        depth[level] = steps
        inner = level[~leaf[level]]
        if not len(inner):
            return depth
        level = np.concatenate((left_child[inner], right_child[inner]))
    raise ValueError(f"a tree is deeper than {DEEPEST} levels")


def _check_lengths(state: dict[str, Any], path_lengths: np.ndarray, sizes: np.ndarray, leaf: np.ndarray) -> None:
    """Newer versions store path lengths and score by them: they must equal these."""
    steps, means = state.get("_decision_path_lengths"), state.get("_average_path_length_per_tree")
    if steps is None or means is None:
        return
    for tables in (steps, means):
        if len(tables) != len(sizes) or any(len(t) != size for t, size in zip(tables, sizes, strict=True)):
            raise ValueError("its stored path lengths are not one for each node")
    kept_lengths = np.concatenate(steps)[leaf] + np.concatenate(means)[leaf] - 1.0
    if not (np.abs(kept_lengths - path_lengths) <= _CLOSE + _CLOSE * path_lengths).all():
        raise ValueError("its stored path lengths are not those of its trees")


def is_constant(state: dict[str, Any]) -> bool:
    """Whether no tree of a forest splits: it was fitted on rows that are all equal, such as those of a stuck sensor."""
    return all(len(estimator.state["tree_"].state["nodes"]) == 1 for estimator in state["estimators_"])
