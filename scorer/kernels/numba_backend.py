# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, misc, attr-defined"
# ruff: noqa: ANN001, ANN201, ANN202, PLR0913, PLR0917, PLR2004
# The reason for both lines: numba infers the types of its functions, takes arrays and no dataclasses, compiles numbers
# to constants of the machine code, and ships no types of its own.
"""The kernels as numba compiles them: one pass over a model, in registers and the first-level cache.

Imported only to compile, by `numba_compiler`: an import costs that of numba (0.3 s), and compiling takes seconds.
`native` keeps the machine code and calls it. Nothing here imports scikit-learn.

Support vectors are taken one after the other, and rows side by side. So the terms of a score are added in libsvm's own
order, whatever the width of the machine's registers, and a tie stays a tie: where a sensor is stuck, every support
vector equals the reading, and the score is exactly 0.
"""

from __future__ import annotations

import numpy as np

from scorer.families.base import BORDER, COUNT, HEAD, Family

from .batch import BLOCK, ROW_MULTIPLE, TILE
from .numba_arithmetic import LOG2E, add_rbf, compute_tanh, dot_rows, exp2, plain, raise_power
from .numba_products import (
    LEAST_FEATURES,
    TOLERANCE,
    add_rbf_products,
    bound_error,
    find_doubtful,
    find_largest_square,
    square_rows,
    sum_absolute,
)


@plain
def _scale_rows(z, values, columns, first, n_rows, n_padded, head, shift, scale):
    """z[feature, row] = the scaled reading, by the same operations as scikit-learn; 0 in the padding."""
    for f in range(len(shift)):
        x, target = values[columns[f]][first : first + n_rows], z[f]
        a, b = shift[f], scale[f]
        if head[0] == 1.0:
            for r in range(n_rows):
                target[r] = (x[r] - a) / b
        elif head[0] == 2.0:
            low, high = head[1], head[2]
            for r in range(n_rows):
                v = x[r] * b
                v += a
                v = low if v < low else v  # noqa: FURB136  # NaN, as above
                target[r] = high if v > high else v  # noqa: FURB136
        else:
            for r in range(n_rows):
                target[r] = x[r]
        for r in range(n_rows, n_padded):
            target[r] = 0.0


@plain
def _init_totals(total, z, n_features, n_padded):
    """0 for each row, but NaN where a feature is not finite: such a row, which scikit-learn refuses, gets no score."""
    for r in range(n_padded):
        total[r] = 0.0
    for f in range(n_features):
        x = z[f]
        for r in range(n_padded):
            total[r] += x[r] - x[r]


@plain
def _add_rbf(total, scratch, z, coef, vectors, head, n_padded):
    """total[row] += coef * exp(-gamma * |row - vector| ** 2): by products, but by differences where these may matter.

    Each row for itself, so that its score does not depend on the rows beside it.
    """
    g, n_features, coef_sum = -head[4] * LOG2E, len(z), sum_absolute(coef)
    largest = find_largest_square(vectors, n_features) if n_features >= LEAST_FEATURES else np.inf
    limit = TOLERANCE * max(1.0, abs(head[3]))
    if not bound_error(coef_sum, len(coef), n_features, g, largest, largest) <= limit:
        add_rbf(total, scratch, z, coef, vectors, g, n_padded)
        return
    squares, exact, is_doubtful = scratch[:n_padded], scratch[BLOCK : BLOCK + n_padded], scratch[2 * BLOCK : 3 * BLOCK]
    dots = scratch[3 * BLOCK : 3 * BLOCK + TILE * n_padded]
    for r in range(n_padded):
        exact[r] = total[r]
    square_rows(squares, z, n_padded)
    add_rbf_products(total, dots, squares, z, coef, vectors, g, n_padded)
    if find_doubtful(
        is_doubtful, total[:n_padded], squares, largest, coef, coef_sum, n_features, g, head[3], head[BORDER]
    ):
        add_rbf(exact, dots, z, coef, vectors, g, n_padded)
        for r in range(n_padded):
            total[r] = exact[r] if is_doubtful[r] > 0.0 else total[r]


@plain
def _add_poly(total, dot, z, coef, vectors, gamma, coef0, degree, n_padded):
    """total[row] += coef * (gamma * row . vector + coef0) ** degree; the power by squaring, as in libsvm."""
    n_features = len(z)
    for j in range(len(coef)):
        dot_rows(dot, z, vectors[j * n_features : (j + 1) * n_features], n_padded)
        c = coef[j]
        for r in range(n_padded):
            total[r] += c * raise_power(gamma * dot[r] + coef0, degree)


@plain
def _add_sigmoid(total, dot, z, coef, vectors, gamma, coef0, n_padded):
    """total[row] += coef * tanh(gamma * row . vector + coef0)."""
    n_features = len(z)
    for j in range(len(coef)):
        dot_rows(dot, z, vectors[j * n_features : (j + 1) * n_features], n_padded)
        c = coef[j]
        for r in range(n_padded):
            total[r] += c * compute_tanh(gamma * dot[r] + coef0)


@plain
def _add_envelope(total, product, z, location, precision, n_padded):
    """total[row] -= the squared Mahalanobis distance; root and square, and NaN below 0, as in scikit-learn."""
    n_features = len(location)
    for f in range(n_features):
        x, middle = z[f], location[f]
        for r in range(n_padded):
            x[r] -= middle
    square = z[n_features]
    for r in range(n_padded):
        square[r] = 0.0
    for f in range(n_features):
        dot_rows(product, z[:n_features], precision[f * n_features : (f + 1) * n_features], n_padded)
        x = z[f]
        for r in range(n_padded):
            square[r] += x[r] * product[r]
    for r in range(n_padded):
        root = np.sqrt(square[r])
        total[r] -= root * root


@plain
def _score_forest(total, node_of, z, integers, body, normal, trees, n_padded):
    """total[row] = -(2 ** -(mean depth / normal)); rows as float32, as in scikit-learn's trees.

    All rows of a block take a step at once, until each is at a leaf: without a branch, whose outcome no processor can
    guess, and with 32-bit indices, so that the reads become gathers of whole registers. A padding row walks too.
    """
    n_features = len(z)
    for f in range(n_features):
        x = z[f]
        for r in range(n_padded):
            x[r] = np.float64(np.float32(x[r]))
    nodes = (len(integers) - trees) // 3
    feature, left_child, right_child = integers[trees:], integers[trees + nodes :], integers[trees + 2 * nodes :]
    for r in range(n_padded):
        total[r] = 0.0
    for t in range(trees):
        root = integers[t]
        for r in range(n_padded):
            node_of[r] = root
        n_moving = 1
        while n_moving > 0:
            n_moving = 0
            for r in range(n_padded):
                node = node_of[r]
                f = feature[node]
                below = left_child[node] if z[max(f, 0), r] <= body[node] else right_child[node]
                node_of[r] = below if f >= 0 else node
                n_moving += f >= 0
        for r in range(n_padded):
            total[r] += body[node_of[r]]
    scale = trees * normal
    for r in range(n_padded):
        total[r] = -exp2(-(total[r] / scale if scale != 0.0 else 1.0))


_RBF, _LINEAR, _POLY, _SIGMOID = (int(f) for f in (Family.RBF, Family.LINEAR, Family.POLY, Family.SIGMOID))
_ENVELOPE = int(Family.ENVELOPE)


@plain
def _score_block(family, total, scratch, z, head, body, integers, n_features, n_padded):
    """total[row] = the score without its intercept; z holds the scaled rows, and one more row for an envelope."""
    n = int(head[COUNT])
    _init_totals(total, z, n_features, n_padded)
    if family == _RBF:
        _add_rbf(total, scratch, z[:n_features], body[:n], body[n:], head, n_padded)
    elif family == _POLY:
        _add_poly(total, scratch, z[:n_features], body[:n], body[n:], head[4], head[5], int(head[6]), n_padded)
    elif family == _SIGMOID:
        _add_sigmoid(total, scratch, z[:n_features], body[:n], body[n:], head[4], head[5], n_padded)
    elif family == _LINEAR:
        dot_rows(scratch, z[:n_features], body[:n_features], n_padded)
        for r in range(n_padded):
            total[r] += scratch[r]
    elif family == _ENVELOPE:
        _add_envelope(total, scratch, z, body[:n_features], body[n_features:], n_padded)
    else:
        _score_forest(total, scratch.view(np.int32), z[:n_features], integers, body, head[4], n, n_padded)


def score_models(
    begin, end, family, strict, n_features, number_index, numbers, integer_index, integer_count, integers,
    layout, layouts, first, n_rows, out, values, z, scratch, total, scores, anomalies,
):  # fmt: skip
    """Write the scores and labels of the models begin..end of a `Batch`; z, scratch and total are places to work in."""
    for i in range(begin, end):
        w, offset = n_features[i], number_index[i]
        head, shift, scale = (
            numbers[offset : offset + HEAD],
            numbers[offset + HEAD : offset + HEAD + w],
            numbers[offset + HEAD + w : offset + HEAD + 2 * w],
        )
        body = numbers[offset + HEAD + 2 * w :]
        if family[i] == _RBF or family[i] == _POLY or family[i] == _SIGMOID:
            body = body[: int(head[COUNT]) * (w + 1)]
        model_integers = integers[integer_index[i] : integer_index[i] + integer_count[i]]
        for start in range(0, n_rows[i], BLOCK):
            count = min(BLOCK, n_rows[i] - start)
            n_padded = (count + ROW_MULTIPLE - 1) // ROW_MULTIPLE * ROW_MULTIPLE
            _scale_rows(z, values, layouts[layout[i]], first[i] + start, count, n_padded, head, shift, scale)
            _score_block(family[i], total, scratch, z, head, body, model_integers, w, n_padded)
            for r in range(count):
                score = total[r] + head[3]
                scores[out[i] + start + r] = score
                anomalies[out[i] + start + r] = score <= head[BORDER] if strict[i] else score < head[BORDER]
