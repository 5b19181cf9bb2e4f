"""Trees of any library in one form, checked so that every walk ends at a leaf. Pure.

A row of readings goes through each tree from its root to a leaf, whose values are added to the outputs:

    total = start; for each tree: total += values of its leaf; total /= divisor; outputs = link(total)

The nodes of all trees have one numbering, tree after tree, and children come after their parent. Which library rounds
and orders how is for its reader to say; here is only what all of them come to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

MOST_NODES = 2**23  # of all trees of one model
MOST_FEATURES = 2**15
NEAR_ZERO = float(np.float32(1e-35))  # LightGBM's kZeroThreshold: at most so far from 0 a number counts as 0


class NodeKind(IntEnum):
    """Where an inner node sends a row whose feature is x.

    The first four compare: x <= threshold goes left, x > threshold right. The others ask whether x, cut to a whole
    number, is in the node's set of categories.
    """

    NAN_RIGHT = 0  # NaN goes right
    NAN_LEFT = 1  # NaN goes left
    ZERO_RIGHT = 2  # NaN and numbers near zero go right
    ZERO_LEFT = 3  # NaN and numbers near zero go left
    SET_LEFT = 4  # in the set left; all else, NaN too, right. -0.5 is the category 0
    SET_RIGHT = 5  # in the set right; all else, NaN and -0.5 too, left
    SET_NAN_RIGHT = 6  # in the set and NaN right; all else, -0.5 too, left


class Link(IntEnum):
    """What becomes of a model's totals."""

    IDENTITY = 0
    SIGMOID = 1  # one total t: the probabilities of two classes, 1 - p and p, with p = 1 / (1 + exp(-parameter * t))
    SOFTMAX = 2  # exp(parameter * (t - max)) / sum
    SIGMOIDS = 3  # the sigmoid of each total, as they are
    NORMED_SIGMOIDS = 4  # divided by their sum
    EXP = 5
    LOG1P_EXP = 6  # log1p(exp(t))
    SIGNED_SQUARE = 7  # sign(t) * t * t
    SHARE = 8  # one total, the probability p of the second of two classes: 1 - p and p
    SIGMOID_OUTPUT = 9  # one total: p itself, of a regressor
    SHARES = 10  # divided by their sum


@dataclass(frozen=True, slots=True)
class LinearLeaves:
    """Leaves that are linear in the readings: such a leaf adds constant + sum(coefficient * x) instead of its value.

    Its terms are added in their order, the constant first. Where one of its features is not finite, it adds its value.
    """

    first: np.ndarray  # int64[N + 1]: the terms of node i are first[i] : first[i + 1]
    constant: np.ndarray  # float64[N]
    feature: np.ndarray  # int32, of each term
    coefficient: np.ndarray  # float64, of each term


@dataclass(frozen=True, slots=True)
class Trees:
    """All trees of a model. Of T trees and N nodes, K outputs; V is K where a leaf adds to all outputs, else 1."""

    roots: np.ndarray  # int64[T], ascending, the first is 0: a tree's nodes are those up to the next root
    feature: np.ndarray  # int32[N]: of an inner node the column of the readings; of a leaf -1
    threshold: np.ndarray  # float64[N]: of an inner node that compares; else 0
    left: np.ndarray  # int32[N], by the numbering of all nodes; of a leaf the leaf itself
    right: np.ndarray  # int32[N]
    kind: np.ndarray  # int8[N]: NodeKind; of a leaf 0
    values: np.ndarray  # float64[N, V]: what a leaf adds; of an inner node 0
    output: np.ndarray  # int32[T]: the output that a tree adds to; -1 where V is K and it adds to all
    set_of: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))  # int32[N]: index in `sets`, -1; or empty
    sets: tuple[np.ndarray, ...] = ()  # bool arrays: element c says whether category c is in the set
    linear: LinearLeaves | None = None  # where all leaves are linear; then V is 1

    def count_nodes(self) -> np.ndarray:
        """The nodes of each tree, int64[T]."""
        return _count_nodes(self.roots, len(self.feature))


@dataclass(frozen=True, slots=True)
class Ensemble:
    """A model of trees: how their leaves come to its outputs, before classes and names."""

    trees: Trees
    n_features: int
    start: np.ndarray  # float64[K]
    link: Link
    divisor: float = 1.0
    parameter: float = 1.0  # of the link
    is_single: bool = False  # totals are rounded to float32 after each addition, and the link is computed in float32
    rounds_input: bool = False  # readings are rounded to float32 first


def check_trees(ensemble: Ensemble) -> None:
    """Raises ValueError unless native code may walk the trees."""
    trees, n_outputs = ensemble.trees, len(ensemble.start)
    if not 1 <= ensemble.n_features <= MOST_FEATURES or not n_outputs:
        raise ValueError(f"expected features and outputs, got {ensemble.n_features} and {n_outputs}")
    if not len(trees.roots):
        return
    inner = check_children(trees.roots, trees.feature < 0, trees.left, trees.right)
    if len(inner) and int(trees.feature.max()) >= ensemble.n_features:
        raise ValueError(f"a tree asks for feature {int(trees.feature.max())} of {ensemble.n_features}")
    if np.isnan(trees.threshold).any() or not np.isfinite(trees.values).all():
        raise ValueError("a tree has a threshold that is no number, or a leaf that is not finite")
    if not -1 <= int(trees.output.min()) <= int(trees.output.max()) < n_outputs:
        raise ValueError("a tree adds to an output that does not exist")
    if trees.values.shape[1] != (n_outputs if (trees.output < 0).any() else 1):
        raise ValueError(f"expected leaves of {n_outputs} values, got {trees.values.shape[1]}")
    asks_sets = trees.kind >= NodeKind.SET_LEFT
    if asks_sets.any():
        is_whole = len(trees.set_of) == len(trees.feature)
        if not is_whole or not 0 <= trees.set_of[asks_sets].min() <= trees.set_of[asks_sets].max() < len(trees.sets):
            raise ValueError("a node asks for categories that do not exist")
    if trees.linear:
        _check_linear(trees.linear, trees, ensemble.n_features)


def check_children(roots: np.ndarray, leaf: np.ndarray, lefts: np.ndarray, rights: np.ndarray) -> np.ndarray:
    """The inner nodes, int64. *lefts*, *rights*: the children, of a leaf the leaf itself.

    Raises ValueError unless the nodes are trees, one after the other, whose children come after their parents.
    """
    n_nodes = len(leaf)
    sizes = _count_nodes(roots, n_nodes)
    if n_nodes > MOST_NODES or roots[0] != 0 or sizes.min() < 1:
        raise ValueError("expected trees with nodes, one after the other")
    index, end = np.arange(n_nodes, dtype=lefts.dtype), np.repeat((roots + sizes).astype(lefts.dtype), sizes)
    inner: np.ndarray = np.flatnonzero(~leaf)
    is_reached = np.zeros(n_nodes, bool)
    is_reached[roots] = True
    for children in (lefts, rights):
        if (leaf & (children != index)).any():
            raise ValueError("expected leaves without children, got a leaf with one")
        if not (leaf | (children > index) & (children < end)).all():
            raise ValueError("a tree points outside itself, or back")
        is_reached[children[inner]] = True
    # So many roots and children as nodes reach all of them: none twice.
    if len(roots) + 2 * len(inner) != n_nodes or not is_reached.all():
        raise ValueError("a node with no parent, or more than one")
    return inner


def _count_nodes(roots: np.ndarray, n_nodes: int) -> np.ndarray:
    ends = np.append(roots[1:], n_nodes)
    sizes: np.ndarray = ends[: len(roots)] - roots
    return sizes


def _check_linear(linear: LinearLeaves, trees: Trees, n_features: int) -> None:
    counts = np.diff(linear.first)
    if (
        len(linear.first) != len(trees.feature) + 1
        or linear.first[0]
        or (counts < 0).any()
        or trees.values.shape[1] != 1
    ):
        raise ValueError("linear leaves have terms that do not belong to one leaf each")
    if not linear.first[-1] == len(linear.feature) == len(linear.coefficient) or len(linear.constant) != len(counts):
        raise ValueError("linear leaves have other numbers of features than of coefficients")
    if len(linear.feature) and not 0 <= linear.feature.min() <= linear.feature.max() < n_features:
        raise ValueError("a linear leaf asks for a feature that does not exist")
    if not (np.isfinite(linear.constant).all() and np.isfinite(linear.coefficient).all()):
        raise ValueError("a linear leaf holds a number that is not finite")
