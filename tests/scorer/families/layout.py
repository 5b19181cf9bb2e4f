"""What the numbers of a packed model mean, as plain NumPy: the slow way, for tests to compare with."""

from __future__ import annotations

import numpy as np

from scorer.families.base import BORDER, HEAD, Family, Packed


def decision(packed: Packed, rows: np.ndarray) -> np.ndarray:
    """The score of each row, float64, by the layout that `families` documents."""
    mode, low, high, intercept, gamma, coef0, degree, count, _ = packed.numbers[:HEAD]
    n, width = int(count), packed.n_features
    shift, scale, body = np.split(packed.numbers[HEAD:], [width, 2 * width])
    x = rows.astype(np.float64)
    if mode == 1:
        x = (x - shift) / scale
    elif mode == 2:
        x = np.clip(x * scale + shift, low, high)
    match packed.family:
        case Family.LINEAR:
            assert (n, len(body)) == (0, width)
            return intercept + x @ body
        case Family.ENVELOPE:
            assert (n, len(body)) == (0, width + width**2)
            off = x - body[:width]
            return intercept - np.einsum("ij,jk,ik->i", off, body[width:].reshape(width, width), off)
        case Family.FOREST:
            depths = np.array([path_lengths(packed, n, row) for row in x.astype(np.float32)])
            return intercept - 2.0 ** -(depths.mean(axis=1) / gamma)
    assert len(body) == n * (1 + width)
    coefficients, vectors = body[:n], body[n:].reshape(n, width)
    match packed.family:
        case Family.RBF:
            kernel = np.exp(-gamma * ((x[:, None] - vectors) ** 2).sum(axis=2))
        case Family.POLY:
            kernel = (gamma * (x @ vectors.T) + coef0) ** degree
        case Family.SIGMOID:
            kernel = np.tanh(gamma * (x @ vectors.T) + coef0)
    return intercept + kernel @ coefficients


def path_lengths(packed: Packed, trees: int, row: np.ndarray) -> list[float]:
    """What each tree of a forest adds for a row of float32."""
    roots, nodes = np.split(packed.integers, [trees])
    feature, left, right = nodes.reshape(3, -1)
    value = packed.numbers[HEAD + 2 * packed.n_features :]
    assert len(value) == len(feature)
    found = []
    for root in roots:
        at = root
        while feature[at] >= 0:
            at = left[at] if row[feature[at]] <= value[at] else right[at]
        assert left[at] == right[at] == at
        found.append(value[at])
    return found


def anomalies(packed: Packed, scores: np.ndarray) -> np.ndarray:
    border = packed.numbers[BORDER]
    return scores <= border if packed.strict else scores < border
