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

    shape: np.ndarray  # int32[T]: MASKED or WALKED
    inner: np.ndarray  # int64: the inner nodes, tree by tree
    leaves: np.ndarray  # int64: the leaves, tree by tree, from left to right
    words: np.ndarray  # int32


def build_trees_step(ensemble: Ensemble) -> Step:
    """The step of a checked ensemble. Raises ValueError for a tree that is too deep to be packed."""
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
    n_leaves = np.bincount(np.searchsorted(trees.roots, numbered.leaves, "right") - 1, minlength=len(trees.roots))
    heads = np.stack([numbered.shape, n_leaves - 1, trees.output], axis=1).ravel()
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
    """Each leaf's place from left to right, and each inner node's word."""
    index = np.arange(len(trees.feature))
    is_leaf = trees.feature < 0
    inner = index[~is_leaf]
    tree_of = np.repeat(np.arange(len(trees.roots)), np.diff(trees.roots, append=len(index)))
    first, end = _measure_ranges(trees)
    leaves = index[is_leaf]
    leaves = leaves[np.argsort(first[leaves])]
    n_leaves = np.bincount(tree_of[leaves], minlength=len(trees.roots))
    shape = np.where(n_leaves <= MOST_MASKED, MASKED, WALKED)
    before = np.cumsum(n_leaves) - n_leaves  # leaves of the trees before
    is_walked = shape[tree_of[inner]] == WALKED
    feature, kind = trees.feature[inner].astype(np.int64), trees.kind[inner]
    low = first[inner] - before[tree_of[inner]]
    count = end[trees.left[inner]] - first[inner]
    words = np.where(is_walked, feature << 3 | kind, feature << 15 | (low & 63) << 9 | ((count - 1) & 63) << 3 | kind)
    if is_walked.any():
        words = _add_children(trees, _Numbered(shape, inner, leaves, words), tree_of, before, is_walked)
    return _Numbered(shape.astype(np.int32), inner, leaves, words.astype(np.int32))


def _measure_ranges(trees: Trees) -> tuple[np.ndarray, np.ndarray]:
    """The leaves under each node, counted from left to right over all trees: int64[N] each, first and end."""
    is_leaf = trees.feature < 0
    levels = _list_levels(trees)
    count = is_leaf.astype(np.int64)
    for nodes in reversed(levels):
        count[nodes] = count[trees.left[nodes]] + count[trees.right[nodes]]
    first = np.zeros(len(count), np.int64)
    first[trees.roots] = np.cumsum(count[trees.roots]) - count[trees.roots]
    for nodes in levels:
        lefts, rights = trees.left[nodes], trees.right[nodes]
        first[lefts] = first[nodes]
        first[rights] = first[nodes] + count[lefts]
    return first, first + count


def _list_levels(trees: Trees) -> list[np.ndarray]:
    """The inner nodes of all trees, by their distance from the root."""
    levels, nodes = [], trees.roots[trees.feature[trees.roots] >= 0]
    while len(nodes):
        levels.append(nodes)
        children = np.concatenate((trees.left[nodes], trees.right[nodes]))
        nodes = children[trees.feature[children] >= 0]
    return levels


def _add_children(
    trees: Trees, numbered: _Numbered, tree_of: np.ndarray, before: np.ndarray, is_walked: np.ndarray
) -> np.ndarray:
    """The words, each of a walked tree followed by its two children."""
    inner, leaves = numbered.inner, numbered.leaves
    place = np.zeros(len(trees.feature), np.int64)
    n_inner = np.bincount(tree_of[inner], minlength=len(trees.roots))
    place[inner] = np.arange(len(inner)) - (np.cumsum(n_inner) - n_inner)[tree_of[inner]]
    place[leaves] = -1 - (np.arange(len(leaves)) - before[tree_of[leaves]])
    triples = np.stack([numbered.words, place[trees.left[inner]], place[trees.right[inner]]], axis=1)
    is_used = np.repeat(is_walked[:, None], 3, axis=1)
    is_used[:, 0] = True
    words: np.ndarray = triples[is_used]
    return words


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
