# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, misc, attr-defined"
# ruff: noqa: ANN001, ANN201, ANN202, C901, PLR0912, PLR0913, PLR0917, PLR1714, SIM109
# The reason for both lines: see numba_backend.
"""Models that predict, as numba compiles them: chains of steps; the layout is in families/steps.py.

Loaded only where there is such a model. Sums are added in the order of the features, and rows are taken side by side.
"""

from __future__ import annotations

import math

import numpy as np

from scorer.families.steps import (
    HEAD_INTEGERS,
    KIND,
    LABEL_RULE,
    LINK,
    N_COLUMNS,
    N_INTEGERS,
    N_NUMBERS,
    N_OUTPUTS,
    N_STEP_INTEGERS,
    N_STEP_NUMBERS,
    N_TOTALS,
    STEP_INTEGERS,
    StepKind,
)  # fmt: skip

from .batch import BLOCK, ROW_MULTIPLE
from .numba_arithmetic import LOG2E, add_rbf, compute_tanh, dot_rows, exp2, plain, raise_power
from .numba_outputs import choose_label, link_row
from .numba_parts.columns import count_votes, curve_column, find_median, find_nearest, score_gaussian, sum_matern
from .numba_parts.neighbour_results import find_neighbours
from .numba_trees import run_trees

(
    _SELECT, _IMPUTE, _DIVIDE, _MULTIPLY, _ROUND, _PRODUCT, _RBF, _POLY, _TANH, _COSINE, _GAUSSIAN, _NEAREST, _VOTES,
    _TREES, _ENCODE, _MEDIAN, _RBF_SUM, _NEIGHBOURS, _LOGISTIC, _MATERN_SUM,
) = (int(kind) for kind in StepKind)  # fmt: skip


@plain
def _change_columns(kind, z, integers, numbers, n_padded):
    """Change columns in place: IMPUTE, DIVIDE, MULTIPLY."""
    first, end = integers[0], integers[1]
    count = end - first
    for f in range(count):
        x = z[first + f]
        if kind == _IMPUTE:
            value = numbers[f]
            for r in range(n_padded):
                x[r] = value if x[r] != x[r] else x[r]
        elif kind == _DIVIDE:
            shift, scale = numbers[f], numbers[count + f]
            for r in range(n_padded):
                x[r] = (x[r] - shift) / scale
        else:
            low, high, shift, scale = numbers[0], numbers[1], numbers[2 + f], numbers[2 + count + f]
            for r in range(n_padded):
                v = x[r] * scale
                v += shift
                v = low if v < low else v  # noqa: FURB136  # NaN stays
                x[r] = high if v > high else v  # noqa: FURB136


@plain
def _encode_columns(z, counts, numbers, n_padded):
    """The place of each number among its column's values, which are sorted; NaN where it is not among them."""
    first = 0
    for column in range(len(counts)):
        x, count = z[column], counts[column]
        values = numbers[first : first + count]
        for r in range(n_padded):
            low, high = 0, count
            while low < high:
                middle = (low + high) // 2
                if values[middle] < x[r]:
                    low = middle + 1
                else:
                    high = middle
            x[r] = np.float64(low) if low < count and values[low] == x[r] else math.nan
        first += count


@plain
def _add_products(out, z, weights, offset, n_columns, n_padded):
    """out[column, row] = sum of x * weight in the columns' order + offset."""
    n_features = len(z)
    for j in range(n_columns):
        target = out[j]
        dot_rows(target, z, weights[j * n_features : (j + 1) * n_features], n_padded)
        for r in range(n_padded):
            target[r] += offset[j]


@plain
def _compare_vectors(kind, out, z, integers, numbers, n_columns, n_padded):
    """out[column, row] = the kernel of the row and a vector: RBF, POLY, TANH.

    Squares are added feature by feature, each rounded: so NumPy adds them too, unlike `square_distances`.
    """
    n_features = len(z)
    vectors = numbers[1:] if kind == _RBF else numbers[2:]
    gamma, coef0 = numbers[0], numbers[1]
    factor = -gamma * LOG2E
    for j in range(n_columns):
        target, vector = out[j], vectors[j * n_features : (j + 1) * n_features]
        if kind == _RBF:
            for r in range(n_padded):
                target[r] = 0.0
            for f in range(n_features):
                x, v = z[f], vector[f]
                for r in range(n_padded):
                    difference = x[r] - v
                    target[r] += difference * difference
            for r in range(n_padded):
                target[r] = exp2(factor * target[r])
            continue
        dot_rows(target, z, vector, n_padded)
        if kind == _TANH:
            for r in range(n_padded):
                target[r] = compute_tanh(gamma * target[r] + coef0)
        else:
            for r in range(n_padded):
                target[r] = raise_power(gamma * target[r] + coef0, integers[0])


@plain
def _sum_kernels(out, z, numbers, n_padded):
    """out[0, row] = the sum of weight * exp(-gamma * |row - vector| ** 2) + offset, vector after vector."""
    n_features = len(z)
    n_vectors = (len(numbers) - 2) // (n_features + 1)
    vectors, weights = numbers[1 : 1 + n_vectors * n_features], numbers[1 + n_vectors * n_features :]
    for r in range(n_padded):
        out[0, r] = 0.0
    add_rbf(out[0], out[1], z, weights[:n_vectors], vectors, -numbers[0] * LOG2E, n_padded)
    for r in range(n_padded):
        out[0, r] += weights[n_vectors]


@plain
def _make_columns(kind, out, z, integers, numbers, n_columns, scratch, leaf, floats, places, n_rows, n_padded):
    """The steps that make other columns than they get."""
    if kind == _SELECT:
        for j in range(n_columns):
            for r in range(n_padded):
                out[j, r] = z[integers[j], r]
    elif kind == _PRODUCT:
        size = n_columns * len(z)
        _add_products(out, z, numbers[:size], numbers[size:], n_columns, n_padded)
    elif kind == _RBF or kind == _POLY or kind == _TANH:
        _compare_vectors(kind, out, z, integers, numbers, n_columns, n_padded)
    elif kind == _RBF_SUM:
        _sum_kernels(out, z, numbers, n_padded)
    elif kind == _MATERN_SUM:
        sum_matern(out, z, integers[0], numbers, n_padded)
    elif kind == _GAUSSIAN:
        score_gaussian(out, z, numbers, n_columns, n_padded)
    elif kind == _NEAREST:
        find_nearest(out, z, numbers, n_padded)
    elif kind == _MEDIAN:
        find_median(out, z, numbers, leaf, n_padded)
    elif kind == _VOTES:
        count_votes(out, z, integers[0], n_padded)
    elif kind == _NEIGHBOURS:
        find_neighbours(out, z, integers, numbers, floats, places, n_rows, n_padded)
    else:
        run_trees(out[:n_columns], z, integers, numbers, scratch, leaf, n_padded)


@plain
def _run_steps(
    integers, numbers, z, other, width, scratch, leaf, floats, places, n_rows, n_padded, is_large
):  # fmt: skip
    """Run all steps; returns the columns that the last one made. is_large[row]: it does not fit into float32."""
    at, number_at, end = HEAD_INTEGERS, 1, integers[N_INTEGERS]
    while at < end:
        kind, n_columns = integers[at + KIND], integers[at + N_COLUMNS]
        n_integers, n_numbers = integers[at + N_STEP_INTEGERS], integers[at + N_STEP_NUMBERS]
        own, own_numbers = integers[at + STEP_INTEGERS : at + n_integers], numbers[number_at : number_at + n_numbers]
        if kind == _IMPUTE or kind == _DIVIDE or kind == _MULTIPLY:
            _change_columns(kind, z, own, own_numbers, n_padded)
        elif kind == _ENCODE:
            _encode_columns(z, own, own_numbers, n_padded)
        elif kind == _ROUND:
            for f in range(width):
                x = z[f]
                for r in range(n_padded):
                    x[r] = np.float64(np.float32(x[r]))
                    is_large[r] |= abs(x[r]) == math.inf
        elif kind == _COSINE or kind == _LOGISTIC:
            for f in range(width):
                curve_column(z[f], own_numbers, kind == _COSINE, n_padded)
        else:
            _make_columns(
                kind, other, z[:width], own, own_numbers, n_columns, scratch, leaf, floats, places, n_rows, n_padded
            )  # fmt: skip
            z, other = other, z
        width = n_columns
        at += n_integers
        number_at += n_numbers
    return z


def predict_models(
    begin, end, n_features, number_index, numbers, integer_index, integers, layout, layouts, first, n_rows, out,
    output_index, values, z, other, scratch, leaf, floats, places, is_large, outputs, labels,
):  # fmt: skip
    """Write the outputs and labels of the models begin..end of a `Batch`; z to is_large are places to work in."""
    for i in range(begin, end):
        head = integers[integer_index[i] : integer_index[i] + HEAD_INTEGERS]
        model_integers = integers[integer_index[i] : integer_index[i] + head[N_INTEGERS]]
        model_numbers = numbers[number_index[i] : number_index[i] + head[N_NUMBERS]]
        n_totals, n_outputs, link, rule = head[N_TOTALS], head[N_OUTPUTS], head[LINK], head[LABEL_RULE]
        width = n_features[i]
        columns = layouts[layout[i]]
        for start in range(0, n_rows[i], BLOCK):
            count = min(BLOCK, n_rows[i] - start)
            n_padded = (count + ROW_MULTIPLE - 1) // ROW_MULTIPLE * ROW_MULTIPLE
            for f in range(width):
                x, target = values[columns[f]], z[f]
                for r in range(count):
                    target[r] = x[first[i] + start + r]
                for r in range(count, n_padded):
                    target[r] = 0.0
            is_large[:] = False
            totals = _run_steps(
                model_integers, model_numbers, z, other, width, scratch, leaf, floats, places, count, n_padded, is_large
            )  # fmt: skip
            for r in range(count):
                at = output_index[i] + (start + r) * n_outputs
                row = outputs[at : at + n_outputs]
                link_row(link, model_numbers[0], totals, r, n_totals, row)
                if is_large[r]:
                    row[:] = math.nan
                labels[out[i] + start + r] = choose_label(rule, totals, r, n_totals, row)
