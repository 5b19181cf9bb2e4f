"""Trees of any library in NumPy alone; the layout is in families/trees/packing.py. All trees are walked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scorer.families.trees.ensemble import NEAR_ZERO, NodeKind
from scorer.families.trees.packing import (
    IS_LINEAR,
    IS_SINGLE,
    MASKED,
    NARROW_THRESHOLDS,
    NARROW_VALUES,
    TREE_HEAD,
    TREE_INTEGERS,
)


@dataclass(frozen=True, slots=True)
class _Forest:
    """The parts of a TREES step."""

    heads: np.ndarray  # int32[trees, 3]: shape, inner nodes, output
    words: np.ndarray
    thresholds: np.ndarray
    values: np.ndarray  # [leaves, width]
    sets: list[np.ndarray]
    linear: np.ndarray
    is_single: bool


def run_trees(z: np.ndarray, integers: np.ndarray, numbers: np.ndarray, n_outputs: int) -> np.ndarray:
    """What the trees come to: [outputs, rows] for z [features, rows]."""
    forest = _split_step(integers, numbers, n_outputs)
    totals = np.repeat(numbers[1 : 1 + n_outputs, None], z.shape[1], axis=1)
    word_at = node_at = leaf_at = 0
    for shape, n_inner, output in forest.heads.tolist():
        size = n_inner if shape == MASKED else 3 * n_inner
        words, thresholds = forest.words[word_at : word_at + size], forest.thresholds[node_at : node_at + n_inner]
        find_leaf = _find_by_masks if shape == MASKED else _walk
        leaf = leaf_at + find_leaf(forest, words, thresholds, z)
        rows = slice(None) if output < 0 else slice(output, output + 1)
        totals[rows] += _add_terms(forest, leaf, z) if len(forest.linear) else forest.values[leaf].T
        if forest.is_single:
            totals = totals.astype(np.float32).astype(np.float64)
        word_at, node_at, leaf_at = word_at + size, node_at + n_inner, leaf_at + n_inner + 1
    if numbers[0] != 1:
        totals /= numbers[0]
    return totals


def _split_step(integers: np.ndarray, numbers: np.ndarray, n_outputs: int) -> _Forest:
    flags, n_trees, width, n_sets = integers[:TREE_HEAD].tolist()
    ends = TREE_HEAD + TREE_INTEGERS * n_trees
    heads = integers[TREE_HEAD:ends].reshape(n_trees, TREE_INTEGERS)
    n_nodes = int(heads[:, 1].sum())
    n_values = (n_nodes + n_trees) * width
    n_words = int((heads[:, 1] * np.where(heads[:, 0] == MASKED, 1, 3)).sum())
    words, narrow = integers[ends : ends + n_words], integers[ends + n_words :]
    wide = numbers[1 + n_outputs :]
    parts = []
    for flag, size in ((NARROW_THRESHOLDS, n_nodes), (NARROW_VALUES, n_values)):
        if flags & flag:
            parts.append(narrow[:size].view(np.float32).astype(np.float64))
            narrow = narrow[size:]
        else:
            parts.append(wide[:size])
            wide = wide[size:]
    starts, set_words = narrow[: n_sets + 1], narrow[n_sets + 1 :]
    sets = [
        np.unpackbits(set_words[starts[i] : starts[i + 1]].view(np.uint8), bitorder="little").astype(bool)
        for i in range(n_sets)
    ]
    linear = wide if flags & IS_LINEAR else wide[:0]
    return _Forest(heads, words, parts[0], parts[1].reshape(-1, width), sets, linear, bool(flags & IS_SINGLE))


def _find_by_masks(forest: _Forest, words: np.ndarray, thresholds: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The first leaf of each row that no node forbids."""
    is_allowed = np.ones((len(words) + 1, z.shape[1]), bool)
    for word, threshold in zip(words.tolist(), thresholds.tolist(), strict=True):
        first, count = word >> 9 & 63, (word >> 3 & 63) + 1
        x = z[word >> 15]
        is_right = _goes_right(forest, np.full(len(x), word & 7), x, np.full(len(x), threshold))
        is_allowed[first : first + count, is_right] = False
    leaf: np.ndarray = is_allowed.argmax(axis=0)
    return leaf


def _walk(forest: _Forest, words: np.ndarray, thresholds: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The leaf that each row's walk ends at."""
    triples = words.reshape(-1, 3)
    node, rows = np.zeros(z.shape[1], np.int64), np.arange(z.shape[1])
    while len(rows):
        at = node[rows]
        word = triples[at, 0]
        is_right = _goes_right(forest, word & 7, z[word >> 3, rows], thresholds[at])
        node[rows] = np.where(is_right, triples[at, 2], triples[at, 1])
        rows = rows[node[rows] >= 0]
    leaf: np.ndarray = -1 - node
    return leaf


def _goes_right(forest: _Forest, kind: np.ndarray, x: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Whether nodes of these kinds send x right."""
    is_nan = np.isnan(x)
    is_zero = is_nan | (np.abs(x) <= NEAR_ZERO)
    is_right: np.ndarray = x > threshold
    is_right |= (kind == NodeKind.NAN_RIGHT) & is_nan
    is_right |= (kind == NodeKind.ZERO_RIGHT) & is_zero
    is_right &= ~((kind == NodeKind.ZERO_LEFT) & is_zero)
    for i in np.flatnonzero(kind >= NodeKind.SET_LEFT).tolist():
        members = forest.sets[int(threshold[i])]
        least = -1 if kind[i] == NodeKind.SET_LEFT else 0
        is_category = (x[i] > least or x[i] == 0) and x[i] < len(members)
        is_member = bool(is_category and members[int(x[i])])
        is_gap_right = kind[i] == NodeKind.SET_NAN_RIGHT and bool(is_nan[i])
        is_right[i] = not is_member if kind[i] == NodeKind.SET_LEFT else is_member or is_gap_right
    return is_right


def _add_terms(forest: _Forest, leaf: np.ndarray, z: np.ndarray) -> np.ndarray:
    """What linear leaves add for each row, [1, rows]."""
    n_leaves = len(forest.values)
    ends, constants = forest.linear[:n_leaves].astype(np.int64), forest.linear[n_leaves : 2 * n_leaves]
    features, coefficients = forest.linear[2 * n_leaves :].reshape(2, -1)
    kind = np.float32 if forest.is_single else np.float64
    added: np.ndarray = forest.values[leaf, 0].copy()
    for i in np.unique(leaf).tolist():
        rows = np.flatnonzero(leaf == i)
        terms = slice(int(ends[i - 1]) if i else 0, int(ends[i]))
        inputs = z[features[terms].astype(np.int64)][:, rows]
        is_finite = np.isfinite(inputs).all(axis=0)
        total: np.ndarray = np.full(len(rows), constants[i]).astype(kind)
        for coefficient, x in zip(coefficients[terms], inputs, strict=True):
            total += (coefficient * x).astype(kind)
        added[rows[is_finite]] = total[is_finite]
    return added[None, :]
