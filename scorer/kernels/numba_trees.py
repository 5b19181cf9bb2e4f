# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, misc, attr-defined"
# ruff: noqa: ANN001, ANN201, ANN202, C901, PLR0124, PLR0912, PLR0913, PLR0917
# The reason for both lines: see numba_backend.
"""Trees of any library, as numba compiles them; the layout is in families/trees/packing.py.

Rows are taken side by side: a node of a small tree is one comparison and one mask for all rows of a block, with no
branch and no wait for memory. So a booster of 100 trees of 31 leaves takes a tenth of what a walk takes.
"""

from __future__ import annotations

import numpy as np

from scorer.families.trees.ensemble import NEAR_ZERO, NodeKind
from scorer.families.trees.packing import (
    IS_LINEAR,
    IS_PLAIN,
    IS_SINGLE,
    NARROW_THRESHOLDS,
    NARROW_VALUES,
    TREE_HEAD,
    WALKED,
)

from .numba_arithmetic import plain

_NAN_RIGHT, _NAN_LEFT, _ZERO_RIGHT, _ZERO_LEFT = (int(kind) for kind in list(NodeKind)[:4])
_SET_LEFT, _SET_NAN_RIGHT = int(NodeKind.SET_LEFT), int(NodeKind.SET_NAN_RIGHT)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_ONE = np.uint64(1)


@plain
def _goes_right(kind, x, threshold, set_starts, set_words):
    """Whether a node sends x right; the threshold of a node that asks a set is the place of that set."""
    if kind < _SET_LEFT:
        is_zero = x != x or abs(x) <= NEAR_ZERO
        if kind >= _ZERO_RIGHT and is_zero:
            return kind == _ZERO_RIGHT
        if x != x:
            return kind == _NAN_RIGHT
        return x > threshold
    place = int(threshold)
    start, words = set_starts[place], set_starts[place + 1] - set_starts[place]
    is_member = False
    if (x >= 0.0 or (kind == _SET_LEFT and x > -1.0)) and x < words * 32.0:
        category = int(x)
        is_member = (set_words[start + category // 32] >> (category % 32)) & 1 == 1
    if kind == _SET_LEFT:
        return not is_member
    return is_member or (kind == _SET_NAN_RIGHT and x != x)


@plain
def _mask_rows(alive, x, threshold, mask, kind, has_gaps, n_padded):
    """alive[row] &= mask where x > threshold, and where x is NaN and such go right."""
    if has_gaps and kind == _NAN_RIGHT:
        for r in range(n_padded):
            alive[r] &= _ALL if x[r] <= threshold else mask
    else:
        for r in range(n_padded):
            alive[r] &= mask if x[r] > threshold else _ALL


@plain
def _read_number(numbers, narrow, at, j, is_narrow):
    """The number j of a list that begins at *at*: of the integers as bits, where it is narrow."""
    return np.float64(np.int32(narrow[at + j]).view(np.float32)) if is_narrow else numbers[at + j]


@plain
def _make_mask(word):
    """A bit for each leaf that is not to the left of the node."""
    passed = ((_ONE << np.uint64(((word >> 3) & 63) + 1)) - _ONE) << np.uint64((word >> 9) & 63)
    return ~passed


@plain
def _score_masked(alive, z, words, numbers, narrow, at, is_narrow, set_starts, set_words, has_gaps, n_padded):
    """alive[row] = a bit for each leaf that no node forbids; the lowest is the row's leaf.

    Four nodes at once, since most of the time of one would go into reading and writing the bits.
    """
    for r in range(n_padded):
        alive[r] = _ALL
    j, n_nodes = 0, len(words)
    while not has_gaps and j + 4 <= n_nodes:
        a, b, c, d = words[j], words[j + 1], words[j + 2], words[j + 3]
        if (a & 7) > _NAN_LEFT or (b & 7) > _NAN_LEFT or (c & 7) > _NAN_LEFT or (d & 7) > _NAN_LEFT:
            break
        mask_a, mask_b, mask_c, mask_d = _make_mask(a), _make_mask(b), _make_mask(c), _make_mask(d)
        x_a, x_b, x_c, x_d = z[a >> 15], z[b >> 15], z[c >> 15], z[d >> 15]
        t_a = _read_number(numbers, narrow, at, j, is_narrow)
        t_b = _read_number(numbers, narrow, at, j + 1, is_narrow)
        t_c = _read_number(numbers, narrow, at, j + 2, is_narrow)
        t_d = _read_number(numbers, narrow, at, j + 3, is_narrow)
        for r in range(n_padded):
            first = (mask_a if x_a[r] > t_a else _ALL) & (mask_b if x_b[r] > t_b else _ALL)
            second = (mask_c if x_c[r] > t_c else _ALL) & (mask_d if x_d[r] > t_d else _ALL)
            alive[r] &= first & second
        j += 4
    while j < n_nodes:
        word = words[j]
        kind, threshold, x = word & 7, _read_number(numbers, narrow, at, j, is_narrow), z[word >> 15]
        mask = _make_mask(word)
        if kind <= _NAN_LEFT:
            _mask_rows(alive, x, threshold, mask, kind, has_gaps, n_padded)
        else:
            for r in range(n_padded):
                if _goes_right(kind, x[r], threshold, set_starts, set_words):
                    alive[r] &= mask
        j += 1


@plain
def _find_leaves(leaf, alive, n_padded):
    """leaf[row] = the index of the lowest bit that is set, by the exponent of its value.

    Unlike a count of zeros it is a vector instruction for many rows.
    """
    for r in range(n_padded):
        lowest = alive[r] & (~alive[r] + _ONE)
        leaf[r] = (np.float64(lowest).view(np.int64) >> 52) - 1023


@plain
def _walk_plain(leaf, z, words, numbers, narrow, at, is_narrow, n_padded):
    """leaf[row] = the leaf that the row's walk ends at; all nodes compare, and there are no gaps.

    All rows take a step at once, without a branch, so that their reads of memory wait together.
    """
    for r in range(n_padded):
        leaf[r] = 0
    n_moving = n_padded
    while n_moving > 0:
        n_moving = 0
        if is_narrow:
            for r in range(n_padded):
                node = leaf[r]
                place = max(node, 0)
                threshold = np.float64(np.int32(narrow[at + place]).view(np.float32))
                below = words[3 * place + 1 + (z[words[3 * place] >> 3, r] > threshold)]
                node = node if node < 0 else np.int64(below)
                leaf[r] = node
                n_moving += node >= 0
        else:
            for r in range(n_padded):
                node = leaf[r]
                place = max(node, 0)
                below = words[3 * place + 1 + (z[words[3 * place] >> 3, r] > numbers[at + place])]
                node = node if node < 0 else np.int64(below)
                leaf[r] = node
                n_moving += node >= 0
    for r in range(n_padded):
        leaf[r] = -1 - leaf[r]


@plain
def _walk(leaf, z, words, numbers, narrow, at, is_narrow, set_starts, set_words, has_gaps, n_rows):
    """leaf[row] = the leaf that the row's walk ends at."""
    for r in range(n_rows):
        node = 0
        while node >= 0:
            word = words[3 * node]
            kind, x = word & 7, z[word >> 3, r]
            threshold = _read_number(numbers, narrow, at, node, is_narrow)
            if kind <= _NAN_LEFT and not has_gaps:
                moves = x > threshold
            else:
                moves = _goes_right(kind, x, threshold, set_starts, set_words)
            node = words[3 * node + 1 + moves]
        leaf[r] = -1 - node


@plain
def _add_values(total, leaf, numbers, narrow, at, is_narrow, width, is_single, n_rows):
    """total[row] += the value of the row's leaf, of which the first stands at *at*."""
    for r in range(n_rows):
        total[r] += _read_number(numbers, narrow, at, leaf[r] * width, is_narrow)
    if is_single:
        for r in range(n_rows):
            total[r] = np.float64(np.float32(total[r]))


@plain
def _add_linear(total, leaf, z, values, narrow, at, is_narrow, linear, n_leaves, first_leaf, is_single, n_rows):
    """total[row] += constant + sum(coefficient * x), or the leaf's value where an x is not finite."""
    ends, constants, terms = linear[:n_leaves], linear[n_leaves : 2 * n_leaves], linear[2 * n_leaves :]
    n_terms = len(terms) // 2
    for r in range(n_rows):
        j = first_leaf + leaf[r]
        begin = int(ends[j - 1]) if j > 0 else 0
        added, is_finite = constants[j], True
        for k in range(begin, int(ends[j])):
            x, coefficient = z[int(terms[k]), r], terms[n_terms + k]
            is_finite = is_finite and x - x == 0.0
            if is_single:
                added = np.float64(np.float32(added + np.float64(np.float32(coefficient * x))))
            else:
                added += coefficient * x
        added = added if is_finite else _read_number(values, narrow, at, leaf[r], is_narrow)
        total[r] = np.float64(np.float32(total[r] + added)) if is_single else total[r] + added


@plain
def _has_gaps(z, n_padded):
    for f in range(len(z)):
        x = z[f]
        total = 0.0
        for r in range(n_padded):
            total += x[r] - x[r]
        if total != 0.0:
            return True
    return False


@plain
def run_trees(totals, z, integers, numbers, alive, leaf, n_padded):
    """totals[output, row] = what the trees come to: a TREES step."""
    flags, n_trees, width, n_sets = integers[0], integers[1], integers[2], integers[3]
    is_single, is_linear = flags & IS_SINGLE != 0, flags & IS_LINEAR != 0
    is_narrow, has_narrow_values = flags & NARROW_THRESHOLDS != 0, flags & NARROW_VALUES != 0
    n_outputs, has_gaps = len(totals), _has_gaps(z, n_padded)
    is_quick = flags & IS_PLAIN != 0 and not has_gaps
    for k in range(n_outputs):
        for r in range(n_padded):
            totals[k, r] = numbers[1 + k]
    n_nodes = n_words = 0
    for t in range(n_trees):
        n_inner = integers[TREE_HEAD + 3 * t + 1]
        n_nodes += n_inner
        n_words += 3 * n_inner if integers[TREE_HEAD + 3 * t] == WALKED else n_inner
    n_leaves = n_nodes + n_trees
    word_at = TREE_HEAD + 3 * n_trees
    narrow_at, number_at = word_at + n_words, 1 + n_outputs
    node_at = narrow_at if is_narrow else number_at
    narrow_at, number_at = narrow_at + n_nodes * is_narrow, number_at + n_nodes * (not is_narrow)
    value_at = narrow_at if has_narrow_values else number_at
    narrow_at = narrow_at + n_leaves * width * has_narrow_values
    number_at = number_at + n_leaves * width * (not has_narrow_values)
    set_starts, linear = integers[narrow_at:], numbers[number_at:]
    set_words = set_starts[n_sets + 1 :]
    first_leaf = 0
    for t in range(n_trees):
        head = integers[TREE_HEAD + 3 * t : TREE_HEAD + 3 * t + 3]
        n_inner, output = head[1], head[2]
        if head[0] == WALKED:
            words = integers[word_at : word_at + 3 * n_inner]
            if is_quick:
                _walk_plain(leaf, z, words, numbers, integers, node_at, is_narrow, n_padded)
            else:
                _walk(leaf, z, words, numbers, integers, node_at, is_narrow, set_starts, set_words, has_gaps, n_padded)
        else:
            words = integers[word_at : word_at + n_inner]
            _score_masked(
                alive, z, words, numbers, integers, node_at, is_narrow, set_starts, set_words, has_gaps, n_padded
            )
            _find_leaves(leaf, alive, n_padded)
        word_at += len(words)
        if is_linear:
            _add_linear(
                totals[output], leaf, z, numbers, integers, value_at, has_narrow_values, linear, n_leaves, first_leaf,
                is_single, n_padded,
            )  # fmt: skip
        else:
            for column in range(width):
                total = totals[column if output < 0 else output]
                at = value_at + column
                _add_values(total, leaf, numbers, integers, at, has_narrow_values, width, is_single, n_padded)
        node_at += n_inner
        value_at += (n_inner + 1) * width
        first_leaf += n_inner + 1
    divisor = numbers[0]
    if divisor != 1.0:
        for k in range(n_outputs):
            for r in range(n_padded):
                totals[k, r] /= divisor
