"""What trees come to, row by row in NumPy: the sums that kernels are compared with, beside those of the libraries."""

import numpy as np

from scorer.families.trees.ensemble import NEAR_ZERO, Ensemble, NodeKind, Trees


def sum_leaves(ensemble: Ensemble, rows: np.ndarray) -> np.ndarray:
    """The totals of each row before the link, float64[len(rows), K]: the same sums as the kernels'.

    *rows*: float64[n, n_features]; NaN is a gap.
    """
    trees = ensemble.trees
    x = rows.astype(np.float32).astype(np.float64) if ensemble.rounds_input else rows
    totals = np.repeat(ensemble.start[None, :].astype(np.float64), len(x), axis=0)
    row = np.arange(len(x))
    with np.errstate(all="ignore"):
        for root, output in zip(trees.roots.tolist(), trees.output.tolist(), strict=True):
            node = np.full(len(x), root)
            while (inner := trees.feature[node] >= 0).any():
                moves = goes_right(trees, node, x[row, trees.feature[node]])
                node = np.where(inner, np.where(moves, trees.right[node], trees.left[node]), node)
            columns = slice(None) if output < 0 else slice(output, output + 1)
            totals[:, columns] += trees.values[node] if trees.linear is None else _add_terms(ensemble, node, x)
            if ensemble.is_single:
                totals = totals.astype(np.float32).astype(np.float64)
    return totals / ensemble.divisor if ensemble.divisor != 1 else totals


def _add_terms(ensemble: Ensemble, node: np.ndarray, x: np.ndarray) -> np.ndarray:
    """What linear leaves add for each row, [rows, 1]."""
    trees, linear = ensemble.trees, ensemble.trees.linear
    assert linear is not None
    kind = np.float32 if ensemble.is_single else np.float64
    added: np.ndarray = trees.values[node].copy()
    for i, leaf in enumerate(node.tolist()):
        terms = slice(int(linear.first[leaf]), int(linear.first[leaf + 1]))
        inputs = x[i, linear.feature[terms]]
        if not np.isfinite(inputs).all():
            continue
        total = kind(linear.constant[leaf])
        for coefficient, value in zip(linear.coefficient[terms], inputs, strict=True):
            total = kind(total + kind(kind(coefficient) * kind(value)))
        added[i] = total
    return added


def goes_right(trees: Trees, node: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Whether each node sends its x right: NodeKind's rules, for pairs of both."""
    kind, is_nan = trees.kind[node], np.isnan(x)
    is_zero = is_nan | (np.abs(x) <= NEAR_ZERO)
    right: np.ndarray = x > trees.threshold[node]
    right = np.where(kind == NodeKind.NAN_RIGHT, right | is_nan, right)
    right = np.where(kind == NodeKind.ZERO_RIGHT, right | is_zero, right)
    right = np.where(kind == NodeKind.ZERO_LEFT, right & ~is_zero, right)
    for i in np.flatnonzero(kind >= NodeKind.SET_LEFT):
        members = trees.sets[trees.set_of[node[i]]]
        least = -1 if kind[i] == NodeKind.SET_LEFT else 0
        is_member = bool((x[i] > least or x[i] == 0) and x[i] < len(members) and members[int(x[i])])
        right[i] = {
            NodeKind.SET_LEFT: not is_member,
            NodeKind.SET_RIGHT: is_member,
            NodeKind.SET_NAN_RIGHT: is_member or is_nan[i],
        }[NodeKind(int(kind[i]))]
    return right
