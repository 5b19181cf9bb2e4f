"""Checked trees -> the integers and numbers of a TREES step.

    integers   flags, trees, values of a leaf, sets | each tree: its shape, inner nodes, output | words, narrow, sets
    numbers    divisor, start (outputs) | thresholds, unless narrow | values of leaves, unless narrow | linear leaves

A tree of at most 64 leaves is a list of its inner nodes in any order, each with the range of leaves to the left of it:
a row ends at the first leaf that no node forbids (QuickScorer, Lucchese and others, SIGIR 2015). A word then holds

    feature << 15 | first leaf << 9 | leaves to the left - 1 << 3 | NodeKind

A larger tree is walked: its nodes have a word, feature << 3 | NodeKind, and two children: nodes from 0, or leaves as
-1 - leaf. Where readings are rounded to float32, so are the thresholds, downwards, which compares alike; then they
stand among the integers, as bits. So do the values of leaves where the library adds them as float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scorer.families.steps import Step, StepKind

from .ensemble import Ensemble, LinearLeaves, NodeKind, Trees

MOST_MASKED = 64  # leaves of a tree whose nodes are masks
TREE_HEAD, TREE_INTEGERS = 4, 3
IS_SINGLE, NARROW_THRESHOLDS, NARROW_VALUES, IS_LINEAR, IS_PLAIN = 1, 2, 4, 8, 16  # plain: all nodes compare
MASKED, WALKED = 0, 1


@dataclass(frozen=True, slots=True)
class _Numbered:
    """The nodes and leaves of all trees, as they are packed."""

    shape: np.ndarray  # int64[T]: MASKED or WALKED
    n_leaves: np.ndarray  # int64[T]
    inner: np.ndarray  # int64: the inner nodes, tree by tree
    leaves: np.ndarray  # int64: the leaves, tree by tree, those of a MASKED tree from left to right
    words: np.ndarray  # int64


def build_trees_step(ensemble: Ensemble) -> Step:
    """The step of a checked ensemble."""
    trees, n_outputs = ensemble.trees, len(ensemble.start)
    numbered = _number_nodes(trees)
    flags = IS_SINGLE * ensemble.is_single | IS_LINEAR * (trees.linear is not None)
    narrow, numbers = [], [np.array([ensemble.divisor]), ensemble.start]
    thresholds, values = trees.threshold[numbered.inner], trees.values[numbered.leaves]
    kinds = trees.kind[numbered.inner]
    flags |= IS_PLAIN * bool((kinds <= NodeKind.NAN_LEFT).all())
    asks_sets = kinds >= NodeKind.SET_LEFT
    if asks_sets.any():
        thresholds = np.where(asks_sets, trees.set_of[numbered.inner], thresholds)
    if ensemble.rounds_input:
        flags |= NARROW_THRESHOLDS
        narrow.append(_round_down(thresholds).view(np.int32))
    else:
        numbers.append(thresholds)
    if ensemble.is_single:
        flags |= NARROW_VALUES
        narrow.append(values.ravel().astype(np.float32).view(np.int32))
    else:
        numbers.append(values)
    if trees.linear:
        numbers += _list_linear(trees.linear, numbered.leaves)
    heads = np.stack([numbered.shape, numbered.n_leaves - 1, trees.output], axis=1).ravel()
    head = (flags, len(trees.roots), values.shape[1], len(trees.sets))
    parts = (np.array(head), heads, numbered.words, *narrow, *_list_sets(trees))
    return Step(StepKind.TREES, n_outputs, np.concatenate(parts).astype(np.int32), numbers)


def _round_down(thresholds: np.ndarray) -> np.ndarray:
    """The largest float32 that is not above each threshold: of float32 numbers it lets the same ones pass."""
    rounded: np.ndarray = thresholds.astype(np.float32)
    above = rounded > thresholds
    rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
    return rounded


def _number_nodes(trees: Trees) -> _Numbered:
    """The place of each leaf, and the word of each inner node."""
    is_leaf = trees.feature < 0
    inner, leaves = np.flatnonzero(~is_leaf), np.flatnonzero(is_leaf)
    n_leaves = (trees.count_nodes() + 1) >> 1  # of which each inner node adds one
    is_walked = n_leaves > MOST_MASKED
    feature, kind = trees.feature[inner].astype(np.int64), trees.kind[inner]
    words = feature << 3 | kind
    n_before: np.ndarray = np.cumsum(is_leaf) - is_leaf  # leaves of a lower number than each node's
    lefts, rights = trees.left[inner].astype(np.int64), trees.right[inner].astype(np.int64)
    if not is_walked.all():
        first = np.repeat(np.cumsum(n_leaves) - n_leaves, n_leaves - 1)  # leaf of the tree of each inner node
        if _is_preorder(inner, lefts, rights, n_before):
            low, count = n_before[inner] - first, (rights - inner) >> 1
        else:
            place, low, count = _order_leaves(inner, (lefts, rights), is_leaf, n_before, n_leaves)
            leaves[np.where(np.repeat(is_walked, n_leaves), np.arange(len(leaves)), place)] = leaves.copy()
        masks = feature << 15 | (low & 63) << 9 | ((count - 1) & 63) << 3 | kind
        words = np.where(np.repeat(is_walked, n_leaves - 1), words, masks) if is_walked.any() else masks
    if is_walked.any():
        words = _add_children(words, (lefts, rights), is_leaf, n_before, n_leaves)
    return _Numbered(np.where(is_walked, WALKED, MASKED), n_leaves, inner, leaves, words)


def _is_preorder(inner: np.ndarray, lefts: np.ndarray, rights: np.ndarray, n_before: np.ndarray) -> bool:
    """Whether each left child follows its parent, and each right child the left one's last leaf, as scikit-learn's do.

    Then the leaves have ascending numbers from left to right. Between a node and its right child are n leaves and n - 1
    inner nodes. That all right children are so far from their parents is enough: the first one in another place would
    be in the place of the child of a node before it, which then had none.
    """
    if not np.array_equal(lefts, inner + 1):
        return False
    return np.array_equal(rights - inner, 2 * (n_before[rights] - n_before[inner]))


def _order_leaves(
    inner: np.ndarray,
    children: tuple[np.ndarray, np.ndarray],
    is_leaf: np.ndarray,
    n_before: np.ndarray,
    n_leaves: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The place of each leaf from left to right; of each inner node its first leaf, and how many are to its left.

    Places are counted over all trees, first leaves within a tree. Right for trees of at most `MOST_MASKED` leaves, for
    others without a meaning. No loop over levels, since trees that grew leaf by leaf have many: a chain of n links has
    its end after log2(n) steps, in each of which every link is replaced by two.
    """
    steps = range((min(int(n_leaves.max()), MOST_MASKED) - 1).bit_length())
    number = np.where(is_leaf, n_before, np.arange(len(is_leaf)) - n_before)  # among the leaves, or the inner nodes
    itself = np.arange(len(inner))
    lefts, rights = (number[nodes] for nodes in children)
    left_ends, right_ends = (is_leaf[nodes] for nodes in children)
    leftmost, rightmost = np.where(left_ends, itself, lefts), np.where(right_ends, itself, rights)
    for _ in steps:
        leftmost, rightmost = (chain.take(chain, mode="clip") for chain in (leftmost, rightmost))
    first, last = lefts[leftmost], rights[rightmost]  # leaves of each inner node
    # The last leaf to the left of a node's border and the first one to the right of it are neighbours.
    before = np.where(left_ends, lefts, last.take(lefts, mode="clip"))
    behind = np.where(right_ends, rights, first.take(rights, mode="clip"))
    follower, n_behind = np.arange(int(n_leaves.sum())), np.zeros(int(n_leaves.sum()), np.int64)
    follower[before], n_behind[before] = behind, 1
    for _ in steps:
        n_behind += n_behind.take(follower, mode="clip")
        follower = follower.take(follower, mode="clip")
    place = np.repeat(np.cumsum(n_leaves) - 1, n_leaves) - n_behind
    return (
        place,
        place[first] - np.repeat(np.cumsum(n_leaves) - n_leaves, n_leaves - 1),
        n_behind[first] - n_behind[behind],
    )


def _add_children(
    words: np.ndarray,
    children: tuple[np.ndarray, np.ndarray],
    is_leaf: np.ndarray,
    n_before: np.ndarray,
    n_leaves: np.ndarray,
) -> np.ndarray:
    """The words, each of a walked tree followed by its two children."""
    n_inner = n_leaves - 1
    # The first leaf of each tree; its first inner node has that number less the trees before it.
    first = np.cumsum(n_leaves) - n_leaves
    leaf_shift = np.repeat(first, n_inner)
    inner_shift = leaf_shift - np.repeat(np.arange(len(n_leaves)), n_inner)
    places = [np.where(is_leaf[c], leaf_shift - 1 - n_before[c], c - n_before[c] - inner_shift) for c in children]
    triples = np.stack([words, *places], axis=1)
    is_walked = n_leaves > MOST_MASKED
    if is_walked.all():
        return triples.ravel()
    is_used = np.ones(triples.shape, bool)
    is_used[:, 1:] = np.repeat(is_walked, n_inner)[:, None]
    used: np.ndarray = triples[is_used]
    return used


def _list_sets(trees: Trees) -> list[np.ndarray]:
    """Where each set begins, counted in words of 32 categories from the first one, and all words."""
    if not trees.sets:
        return []
    words = [np.packbits(members, bitorder="little") for members in trees.sets]
    padded = [np.pad(bits, (0, -len(bits) % 4)).view(np.int32) for bits in words]
    ends = np.cumsum([len(part) for part in padded])
    return [np.concatenate(([0], ends)), *padded]


def _list_linear(linear: LinearLeaves, leaves: np.ndarray) -> list[np.ndarray]:
    """Of each leaf: the end of its terms and its constant; of each term: its feature and its coefficient."""
    counts = np.diff(linear.first)[leaves]
    ends = np.cumsum(counts)
    terms = np.repeat(linear.first[leaves] - (ends - counts), counts) + np.arange(counts.sum())
    return [ends, linear.constant[leaves], linear.feature[terms], linear.coefficient[terms]]
