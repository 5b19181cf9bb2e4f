# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, misc, attr-defined"
# ruff: noqa: ANN001, ANN201, PLR2004
# The reason for both lines: see numba_backend.
"""Steps that make columns of their own from the columns before them, as numba compiles them."""

from __future__ import annotations

import math

from scorer.kernels.numba_arithmetic import LOG2E, compute_cosine, exp2, plain, square_distances

_FAR = 1e5  # up to which `compute_cosine` is right


@plain
def curve_column(x, numbers, is_cosine, n_padded):
    """COSINE and LOGISTIC of one column, in place."""
    if not is_cosine:
        steepness, factor, shift = numbers[0], numbers[1], numbers[2]
        for r in range(n_padded):
            x[r] = shift + factor / (1.0 + exp2(-LOG2E * (steepness * x[r])))
        return
    largest = 0.0
    for r in range(n_padded):
        largest = max(largest, abs(x[r]))
    if largest < _FAR:
        for r in range(n_padded):
            x[r] = compute_cosine(x[r]) * numbers[0]
    else:
        for r in range(n_padded):
            x[r] = math.cos(x[r]) * numbers[0]


@plain
def sum_matern(out, z, order, numbers, n_padded):
    """out[0, row] = the sum of weight * the Matern kernel of 2 nu = order + offset, vector after vector."""
    n_features = len(z)
    n_vectors = (len(numbers) - 1) // (n_features + 1)
    weights_at = n_vectors * n_features
    total, distance, factor = out[0], out[1], math.sqrt(order)
    for r in range(n_padded):
        total[r] = 0.0
    for j in range(n_vectors):
        square_distances(distance, z, numbers[j * n_features : (j + 1) * n_features], n_padded)
        weight = numbers[weights_at + j]
        for r in range(n_padded):
            d = factor * math.sqrt(distance[r])
            curve = 1.0 if order == 1 else 1.0 + d if order == 3 else 1.0 + d + d * d / 3.0
            total[r] += weight * (curve * exp2(-LOG2E * d))
    for r in range(n_padded):
        total[r] += numbers[weights_at + n_vectors]


@plain
def score_gaussian(out, z, numbers, n_columns, n_padded):
    """out[column, row] = constant - half the sum of the squares by the variances."""
    n_features = len(z)
    constant, means, variances = (
        numbers[:n_columns],
        numbers[n_columns : n_columns + n_columns * n_features],
        numbers[n_columns + n_columns * n_features :],
    )
    for j in range(n_columns):
        target = out[j]
        for r in range(n_padded):
            target[r] = 0.0
        for f in range(n_features):
            x, mean, variance = z[f], means[j * n_features + f], variances[j * n_features + f]
            for r in range(n_padded):
                difference = x[r] - mean
                target[r] += difference * difference / variance
        for r in range(n_padded):
            target[r] = constant[j] - 0.5 * target[r]


@plain
def find_nearest(out, z, vectors, n_padded):
    """out[0, row] = minus the distance to the nearest vector, out[1, row] = its place."""
    n_features = len(z)
    for r in range(n_padded):
        nearest, place = math.inf, 0
        for j in range(len(vectors) // n_features):
            square = 0.0
            for f in range(n_features):
                difference = z[f, r] - vectors[j * n_features + f]
                square += difference * difference
            if square < nearest:
                nearest, place = square, j
        out[0, r], out[1, r] = -math.sqrt(nearest), place


@plain
def find_median(out, z, weights, order, n_padded):
    """out[0, row] = the first of the sorted columns at which half of the weights is reached."""
    count = len(weights)
    for r in range(n_padded):
        for j in range(count):
            place = j
            while place > 0 and z[order[place - 1], r] > z[j, r]:
                order[place] = order[place - 1]
                place -= 1
            order[place] = j
        total, reached = 0.0, 0.0
        for j in range(count):
            total += weights[order[j]]
        j = 0
        while j < count - 1:
            reached += weights[order[j]]
            if reached >= 0.5 * total:
                break
            j += 1
        out[0, r] = z[order[j], r]


@plain
def count_votes(out, z, n_classes, n_padded):
    """out[class, row] = the pairs in which the class beat another: libsvm's rule, the first where above 0."""
    for k in range(n_classes):
        for r in range(n_padded):
            out[k, r] = 0.0
    pair = 0
    for i in range(n_classes):
        for j in range(i + 1, n_classes):
            for r in range(n_padded):
                if z[pair, r] > 0.0:
                    out[i, r] += 1.0
                else:
                    out[j, r] += 1.0
            pair += 1
