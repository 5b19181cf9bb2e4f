"""Models that predict, in NumPy alone, where numba does not work: one model after the other, all its rows at once.

The layout is in families/steps.py. Sums are added in the order of the kernels that numba compiles, so trees and
products give the same bits; of exp, tanh and cos the last bit may differ.
"""

from __future__ import annotations

import numpy as np

from scorer.families.steps import (
    HEAD_INTEGERS,
    LABEL_RULE,
    LINK,
    N_OUTPUTS,
    N_STEPS,
    STEP_INTEGERS,
    LabelRule,
    StepKind,
)
from scorer.families.trees.ensemble import Link

from .batch import Batch
from .numpy_arithmetic import LOG2E, raise_power
from .numpy_neighbours import find_neighbours
from .numpy_trees import run_trees

ROWS = 4096  # of one model that are taken at once


def predict_models(
    batch: Batch, output_index: np.ndarray, begin: int, end: int, outputs: np.ndarray, labels: np.ndarray
) -> None:
    """Write the outputs and labels of the models begin..end. Other calls may run at the same time, on other models."""
    with np.errstate(all="ignore"):  # the caller refuses what is not finite
        for model in range(begin, end):
            _predict_model(batch, model, int(output_index[model]), outputs, labels)


def predict_rows(integers: np.ndarray, numbers: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The outputs of one chain, float64[rows, outputs], and the place of each row's label, int32[rows].

    *rows*: float64[rows, features].
    """
    with np.errstate(all="ignore"):
        return _predict_columns(integers, numbers, np.array(rows.T, np.float64, order="C"))


def _predict_model(batch: Batch, model: int, output_at: int, outputs: np.ndarray, labels: np.ndarray) -> None:
    integers = batch.integers[batch.integer_index[model] :]
    numbers = batch.numbers[batch.number_index[model] :]
    columns = batch.layouts[batch.layout[model], : batch.n_features[model]]
    n_rows, n_outputs = int(batch.n_rows[model]), int(integers[N_OUTPUTS])
    for start in range(0, n_rows, ROWS):
        count = min(ROWS, n_rows - start)
        first = int(batch.first[model]) + start
        z = batch.values[columns, first : first + count].astype(np.float64)
        at, label_at = output_at + start * n_outputs, int(batch.out[model]) + start
        results, labels[label_at : label_at + count] = _predict_columns(integers, numbers, z)
        outputs[at : at + count * n_outputs] = results.ravel()


def _predict_columns(integers: np.ndarray, numbers: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    totals = _run_steps(integers, numbers, z)
    results = _link_totals(Link(int(integers[LINK])), float(numbers[0]), totals)[: int(integers[N_OUTPUTS])]
    return results.T, _choose_labels(LabelRule(int(integers[LABEL_RULE])), totals, results)


def _run_steps(integers: np.ndarray, numbers: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The columns that the last step makes of z, both [columns, rows]; NaN for rows too large for float32."""
    at, number_at = HEAD_INTEGERS, 1
    is_large = np.zeros(z.shape[1], bool)
    for _ in range(int(integers[N_STEPS])):
        kind, n_integers, n_numbers, n_columns = integers[at : at + STEP_INTEGERS].tolist()
        own, own_numbers = integers[at + STEP_INTEGERS : at + n_integers], numbers[number_at : number_at + n_numbers]
        if kind == StepKind.ROUND:
            rounded = z.astype(np.float32).astype(np.float64)
            is_large |= (np.isinf(rounded)).any(axis=0)
            z = rounded
        elif kind == StepKind.ENCODE:
            z = _encode_columns(z, own, own_numbers)
        elif kind in (StepKind.IMPUTE, StepKind.DIVIDE, StepKind.MULTIPLY):
            z = _change_columns(StepKind(kind), z, own, own_numbers)
        else:
            z = _make_columns(StepKind(kind), z, own, own_numbers, n_columns)
        at += n_integers
        number_at += n_numbers
    z[:, is_large] = np.nan
    return z


def _make_columns(
    kind: StepKind, z: np.ndarray, integers: np.ndarray, numbers: np.ndarray, n_columns: int
) -> np.ndarray:
    """The steps that make other columns than they get."""
    result: np.ndarray
    match kind:
        case StepKind.SELECT:
            result = z[integers]
        case StepKind.COSINE | StepKind.LOGISTIC:
            result = _curve_columns(kind, z, numbers)
        case StepKind.PRODUCT:
            weights = numbers[: n_columns * len(z)].reshape(n_columns, len(z))
            result = _add_products(z, weights) + numbers[n_columns * len(z) :, None]
        case StepKind.RBF | StepKind.POLY | StepKind.TANH | StepKind.RBF_SUM | StepKind.MATERN_SUM:
            result = _compare_vectors(kind, z, integers, numbers)
        case StepKind.GAUSSIAN:
            result = _score_gaussian(z, numbers, n_columns)
        case StepKind.NEAREST:
            result = _find_nearest(z, numbers.reshape(-1, len(z)))
        case StepKind.MEDIAN:
            result = _find_median(z, numbers)
        case StepKind.VOTES:
            result = _count_votes(z, int(integers[0]))
        case StepKind.NEIGHBOURS:
            result = find_neighbours(z, integers, numbers)
        case _:
            result = run_trees(z, integers, numbers, n_columns)
    return result


def _encode_columns(z: np.ndarray, counts: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The place of each number among its column's values, which are sorted; NaN where it is not among them."""
    result, first = z.copy(), 0
    for column, count in enumerate(counts.tolist()):
        values = numbers[first : first + count]
        place = np.searchsorted(values, z[column])
        is_value = (place < count) & (values[np.minimum(place, count - 1)] == z[column])
        result[column] = np.where(is_value, place, np.nan)
        first += count
    return result


def _change_columns(kind: StepKind, z: np.ndarray, integers: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    first, end = integers[:2].tolist()
    result = z.copy()
    x, count = z[first:end], end - first
    if kind is StepKind.IMPUTE:
        result[first:end] = np.where(np.isnan(x), numbers[:, None], x)
    elif kind is StepKind.DIVIDE:
        result[first:end] = (x - numbers[:count, None]) / numbers[count:, None]
    else:
        low, high = numbers[:2]
        result[first:end] = np.clip(x * numbers[2 + count :, None] + numbers[2 : 2 + count, None], low, high)
    return result


def _curve_columns(kind: StepKind, z: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    if kind is StepKind.COSINE:
        result: np.ndarray = np.cos(z) * numbers[0]
    else:
        result = numbers[1] / (1.0 + np.exp(-numbers[0] * z)) + numbers[2]
    return result


def _add_products(z: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The sums of x * weight in the order of the features, [columns, rows] for weights [columns, features]."""
    total = np.zeros((len(weights), z.shape[1]))
    for x, weight in zip(z, weights.T, strict=True):
        total += weight[:, None] * x
    return total


def _compare_vectors(kind: StepKind, z: np.ndarray, integers: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    if kind is StepKind.RBF_SUM:
        return _sum_kernels(z, numbers)
    if kind is StepKind.MATERN_SUM:
        return _sum_matern(z, int(integers[0]), numbers)
    if kind is StepKind.RBF:
        return _compute_rbf(z, numbers[0], numbers[1:].reshape(-1, len(z)))
    gamma, coef0 = numbers[:2]
    base = gamma * _add_products(z, numbers[2:].reshape(-1, len(z))) + coef0
    result: np.ndarray = np.tanh(base) if kind is StepKind.TANH else raise_power(base, int(integers[0]))
    return result


def _compute_rbf(z: np.ndarray, gamma: float, vectors: np.ndarray) -> np.ndarray:
    square = np.zeros((len(vectors), z.shape[1]))
    for x, column in zip(z, vectors.T, strict=True):
        difference = x - column[:, None]
        square += difference * difference
    result: np.ndarray = np.exp2(-gamma * LOG2E * square)
    return result


def _sum_kernels(z: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The sum of weight * kernel in the order of the vectors, + offset, [1, rows]."""
    n_vectors = (len(numbers) - 2) // (len(z) + 1)
    end = 1 + n_vectors * len(z)
    kernels = _compute_rbf(z, numbers[0], numbers[1:end].reshape(n_vectors, len(z)))
    result: np.ndarray = _add_products(kernels, numbers[None, end:-1]) + numbers[-1]
    return result


def _sum_matern(z: np.ndarray, order: int, numbers: np.ndarray) -> np.ndarray:
    """The sum of weight * Matern kernel in the order of the vectors, + offset, [1, rows]."""
    n_vectors = (len(numbers) - 1) // (len(z) + 1)
    end = n_vectors * len(z)
    square = np.zeros((n_vectors, z.shape[1]))
    for x, column in zip(z, numbers[:end].reshape(n_vectors, len(z)).T, strict=True):
        square += (x - column[:, None]) ** 2
    d = np.sqrt(order * square)
    curve = {1: 1.0, 3: 1.0 + d, 5: 1.0 + d + d * d / 3.0}[order]
    result: np.ndarray = _add_products(curve * np.exp(-d), numbers[None, end:-1]) + numbers[-1]
    return result


def _score_gaussian(z: np.ndarray, numbers: np.ndarray, n_columns: int) -> np.ndarray:
    constant, size = numbers[:n_columns], n_columns * len(z)
    means = numbers[n_columns : n_columns + size].reshape(n_columns, -1)
    variances = numbers[n_columns + size :].reshape(n_columns, -1)
    total = np.zeros((n_columns, z.shape[1]))
    for x, mean, variance in zip(z, means.T, variances.T, strict=True):
        difference = x - mean[:, None]
        total += difference * difference / variance[:, None]
    result: np.ndarray = constant[:, None] - 0.5 * total
    return result


def _find_nearest(z: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    square = np.zeros((len(vectors), z.shape[1]))
    for x, column in zip(z, vectors.T, strict=True):
        difference = x - column[:, None]
        square += difference * difference
    return np.stack([-np.sqrt(square.min(axis=0)), square.argmin(axis=0).astype(np.float64)])


def _find_median(z: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The first of the sorted columns at which half of the weights is reached, [1, rows]."""
    order = np.argsort(z, axis=0, kind="stable")
    reached = np.cumsum(weights[order], axis=0)
    first = (reached >= 0.5 * reached[-1]).argmax(axis=0)
    row = np.arange(z.shape[1])
    result: np.ndarray = z[order[first, row], row][None, :]
    return result


def _count_votes(z: np.ndarray, n_classes: int) -> np.ndarray:
    votes = np.zeros((n_classes, z.shape[1]))
    pairs = [(i, j) for i in range(n_classes) for j in range(i + 1, n_classes)]
    for (i, j), x in zip(pairs, z, strict=True):
        is_first = x > 0
        votes[i] += is_first
        votes[j] += ~is_first
    return votes


def _sigmoid(totals: np.ndarray) -> np.ndarray:
    result: np.ndarray = 1.0 / (1.0 + np.exp(-totals))
    return result


def _link_totals(link: Link, parameter: float, totals: np.ndarray) -> np.ndarray:
    """The outputs, [outputs, rows]."""
    result: np.ndarray
    match link:
        case Link.IDENTITY:
            result = totals
        case Link.SIGMOID | Link.SHARE:
            share = totals[0] if link is Link.SHARE else _sigmoid(parameter * totals[0])
            result = np.stack([1.0 - share, share])
        case Link.SOFTMAX:
            powers = np.exp((totals - totals.max(axis=0)) * parameter)
            result = powers / _add_rows(powers)
        case Link.SIGMOIDS | Link.SIGMOID_OUTPUT:
            result = _sigmoid(parameter * totals)
        case Link.NORMED_SIGMOIDS:
            shares = _sigmoid(parameter * totals)
            result = shares / _add_rows(shares)
        case Link.SHARES:
            result = totals / _add_rows(totals)
        case Link.EXP:
            result = np.exp(totals)
        case Link.LOG1P_EXP:
            result = np.log1p(np.exp(totals))
        case Link.SIGNED_SQUARE:
            result = np.copysign(totals * totals, totals)
    return result


def _add_rows(numbers: np.ndarray) -> np.ndarray:
    """The sum over the first axis, from first to last."""
    total = np.zeros(numbers.shape[1])
    for row in numbers:
        total += row
    return total


def _choose_labels(rule: LabelRule, totals: np.ndarray, results: np.ndarray) -> np.ndarray:
    labels: np.ndarray
    match rule:
        case LabelRule.NONE:
            labels = np.full(totals.shape[1], -1)
        case LabelRule.FIRST_LARGEST:
            labels = results.argmax(axis=0)
        case LabelRule.FIRST_LARGEST_SINGLE:
            labels = results.astype(np.float32).argmax(axis=0)
        case LabelRule.ABOVE_ZERO:
            labels = totals[0] > 0
        case LabelRule.FROM_ZERO:
            labels = totals[0] >= 0
        case LabelRule.LARGEST_TOTAL:
            labels = totals.argmax(axis=0)
        case LabelRule.SECOND_TOTAL:
            labels = totals[1]
        case LabelRule.BELOW_ZERO:
            labels = totals[0] < 0
        case LabelRule.UP_TO_ZERO:
            labels = totals[0] <= 0
    return labels.astype(np.int32)
