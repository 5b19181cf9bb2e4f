"""The kernels in NumPy alone, where numba does not work: the same results, at about a quarter of the speed.

Models of one family and number of features are taken together, in arrays whose last axis is the model, so that NumPy's
loops are long even for small models. Where they differ in rows or support vectors, the shorter ones are padded: by
their own last row, whose score is dropped, and by their own last vector with the coefficient 0, which adds exactly
nothing. Memory is bounded by ELEMENTS and BODY.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scorer.families.base import BORDER, HEAD, Family

from .batch import Batch
from .numpy_arithmetic import LOG2E, raise_power

ELEMENTS = 2**15  # numbers in an array of a loop: fewer cost more calls, more do not fit into the caches
BODY = 2**20  # numbers of the support vectors, or of the precisions, that are held at once
ROWS = 512  # of one model that are taken at once


@dataclass(frozen=True, slots=True)
class _RowBlock:
    """Rows of k models that are scored together, all of the same family, scaler, degree and number of features."""

    model: np.ndarray  # int64[k]
    first: np.ndarray  # int64[k]: index in `values`
    rows: np.ndarray  # int64[k], 1 .. ROWS
    out: np.ndarray  # int64[k]
    n: np.ndarray  # int64[k]: terms in the body


def run_kernels(batch: Batch, begin: int, end: int, scores: np.ndarray, anomalies: np.ndarray) -> None:
    """Write the scores and labels of the models begin..end. Other calls may run at the same time, on other models."""
    with np.errstate(all="ignore"):  # the caller refuses what is not finite
        for block in _split_rows(batch, begin, end):
            z, head = _scale_rows(batch, block)
            family = Family(int(batch.family[block.model[0]]))
            score = _score_forest(batch, block, z, head) if family is Family.FOREST else _init_scores(z)
            match family:
                case Family.RBF | Family.POLY | Family.SIGMOID:
                    _add_vectors(family, batch, block, z, head, score)
                case Family.LINEAR:
                    score += _dot_rows(z, _read_body(batch, block, np.arange(len(z))[:, None]))
                case Family.ENVELOPE:
                    _subtract_distance(batch, block, z, score)
            score += head[3]
            _write_scores(batch, block, head, score, scores, anomalies)


def _split_rows(batch: Batch, begin: int, end: int) -> Iterator[_RowBlock]:
    """All rows of the models, in blocks of one shape, each within the bounds."""
    count = -(-batch.n_rows[begin:end] // ROWS)
    model = np.repeat(np.arange(begin, end), count)
    skip = (np.arange(len(model)) - np.repeat(np.cumsum(count) - count, count)) * ROWS
    rows = np.minimum(batch.n_rows[model] - skip, ROWS)
    number_index = batch.number_index[model]
    n = batch.numbers[number_index + 7].astype(np.int64)
    keys = (
        batch.family[model],
        batch.numbers[number_index],
        batch.numbers[number_index + 6],
        batch.n_features[model],
        -(-rows // 16),
    )
    order = np.lexsort((n, *reversed(keys)))
    block = _RowBlock(model, batch.first[model] + skip, rows, batch.out[model] + skip, n)
    changes = np.zeros(len(order), np.bool_)
    for key in keys:
        changes[1:] |= key[order][1:] != key[order][:-1]
    for similar in np.split(order, np.flatnonzero(changes)):
        if len(similar):
            yield from _limit_sizes(batch, block, similar)


def _limit_sizes(batch: Batch, block: _RowBlock, similar: np.ndarray) -> Iterator[_RowBlock]:
    """Blocks of the rows *similar* within the bounds; they are sorted by n, so the last of a block is its largest."""
    family, n_features = batch.family[block.model[similar[0]]], int(batch.n_features[block.model[similar[0]]])
    limit = 1 if family == Family.FOREST else max(1, ELEMENTS // int(block.rows[similar].max()))
    while len(similar):
        size = min(limit, len(similar))
        while size > 1 and size * n_features * max(int(block.n[similar[size - 1]]), n_features) > BODY:
            size = size // 2
        chosen, similar = similar[:size], similar[size:]
        yield _RowBlock(
            block.model[chosen], block.first[chosen], block.rows[chosen], block.out[chosen], block.n[chosen]
        )


def _scale_rows(batch: Batch, block: _RowBlock) -> tuple[np.ndarray, np.ndarray]:
    """The readings scaled as in scikit-learn, [n_features, rows, models]; and the heads, [HEAD, models]."""
    number_index, n_features = batch.number_index[block.model], int(batch.n_features[block.model[0]])
    head = batch.numbers[number_index + np.arange(HEAD)[:, None]]
    shift = batch.numbers[number_index + HEAD + np.arange(n_features)[:, None]][:, None]
    scale = batch.numbers[number_index + HEAD + n_features + np.arange(n_features)[:, None]][:, None]
    columns = batch.layouts[batch.layout[block.model], :n_features].T
    row = block.first + np.minimum(np.arange(block.rows.max())[:, None], block.rows - 1)
    z = np.ascontiguousarray(batch.values[columns[:, None], row])  # NumPy would keep the order of `columns`
    match head[0, 0]:
        case 1.0:
            z -= shift
            z /= scale
        case 2.0:
            z *= scale
            z += shift
            np.clip(z, head[1], head[2], out=z)
    return z, head


def _init_scores(z: np.ndarray) -> np.ndarray:
    """0 for each row, but NaN where a feature is not finite: such a row, which scikit-learn refuses, gets no score."""
    return _sum_terms(z - z)


def _sum_terms(terms: np.ndarray) -> np.ndarray:
    """The sum over the first axis, from first to last: NumPy's own sum may take another order, which breaks ties."""
    total: np.ndarray = terms[0].copy()
    for term in terms[1:]:
        total += term
    return total


def _read_body(batch: Batch, block: _RowBlock, index: np.ndarray) -> np.ndarray:
    """The numbers at *index* of each model's body; the last axis of *index* is the models, or 1."""
    start = batch.number_index[block.model] + HEAD + 2 * batch.n_features[block.model].astype(np.int64)
    numbers: np.ndarray = batch.numbers[start + index]
    return numbers


def _dot_rows(z: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rows times weights, added feature by feature: [..., rows, models] for weights [n_features, ..., models]."""
    total: np.ndarray = z[0] * weights[0][..., None, :]
    for x, w in zip(z[1:], weights[1:], strict=True):
        total += x * w[..., None, :]
    return total


def _add_vectors(
    family: Family, batch: Batch, block: _RowBlock, z: np.ndarray, head: np.ndarray, score: np.ndarray
) -> None:
    """Add coef * kernel(row, vector) to the score, vector after vector, as in libsvm."""
    n_terms, n_features = int(block.n.max()), len(z)
    j = np.arange(n_terms)[:, None]
    last = np.minimum(j, block.n - 1)
    coef = np.where(j < block.n, _read_body(batch, block, last), 0.0)
    index = block.n + last * n_features + np.arange(n_features)[:, None, None]
    vectors = _read_body(batch, block, index)  # [n_features, n, models]
    step = min(n_terms, max(1, ELEMENTS // score.size))
    space = np.empty((2, step, *score.shape))  # allocated once: each new array of this size costs page faults
    exponent = np.broadcast_to(-head[4] * LOG2E, score.shape).copy()
    for start in range(0, n_terms, step):
        step_vectors = vectors[:, start : start + step]
        terms = (
            _square_distances(z, step_vectors, space[:, : step_vectors.shape[1]])
            if family is Family.RBF
            else _dot_rows(z, step_vectors)
        )
        match family:
            case Family.RBF:
                terms *= exponent
                np.exp2(terms, out=terms)
            case Family.POLY:
                terms = raise_power(terms * head[4] + head[5], int(head[6, 0]))
            case _:
                terms = np.tanh(terms * head[4] + head[5])
        terms *= coef[start : start + step, None]
        for term in terms:
            score += term


def _square_distances(z: np.ndarray, vectors: np.ndarray, space: np.ndarray) -> np.ndarray:
    """|row - vector| ** 2, [n, rows, models] for vectors [n_features, n, models], in the first half of *space*."""
    total: np.ndarray
    difference: np.ndarray
    total, difference = space
    np.subtract(z[0], vectors[0][:, None], out=total)
    total *= total
    for x, s in zip(z[1:], vectors[1:], strict=True):
        np.subtract(x, s[:, None], out=difference)
        difference *= difference
        total += difference
    return total


def _subtract_distance(batch: Batch, block: _RowBlock, z: np.ndarray, score: np.ndarray) -> None:
    """Subtract the squared Mahalanobis distance; root and square, and NaN below 0, as in scikit-learn."""
    n_features = len(z)
    difference = z - _read_body(batch, block, np.arange(n_features)[:, None])[:, None]
    square = np.zeros_like(score)
    for f in range(n_features):
        square += difference[f] * _dot_rows(
            difference, _read_body(batch, block, n_features * (1 + f) + np.arange(n_features)[:, None])
        )
    np.sqrt(square, out=square)
    square *= square
    score -= square


def _score_forest(batch: Batch, block: _RowBlock, z: np.ndarray, head: np.ndarray) -> np.ndarray:
    """-(2 ** -(mean depth / normal)) of one model, [rows, 1]; rows as float32, as in scikit-learn's trees."""
    model, trees = int(block.model[0]), int(block.n[0])
    start, count = int(batch.integer_index[model]), int(batch.integer_count[model])
    integers = batch.integers[start : start + count]
    roots, (feature, left_child, right_child) = integers[:trees], integers[trees:].reshape(3, -1)
    body = _read_body(batch, block, np.arange(len(feature))[:, None])[:, 0]
    x = z[:, :, 0].astype(np.float32).astype(np.float64)
    columns = np.arange(x.shape[1])
    node = np.repeat(roots[:, None], x.shape[1], axis=1)
    while (inner := feature[node] >= 0).any():
        below = np.where(x[feature[node], columns] <= body[node], left_child[node], right_child[node])
        node = np.where(inner, below, node)
    depth = _sum_terms(body[node])
    scale = trees * head[4, 0]
    mean = depth / scale if scale else np.ones_like(depth)
    score: np.ndarray = -np.exp2(-mean)[:, None]
    return score


def _write_scores(
    batch: Batch,
    block: _RowBlock,
    head: np.ndarray,
    score: np.ndarray,
    scores: np.ndarray,
    anomalies: np.ndarray,
) -> None:
    """Copy each model's rows to the results, without the padding."""
    row = np.arange(len(score))[:, None]
    real = row < block.rows
    target = (block.out + row)[real]
    scores[target] = score[real]
    anomalies[target] = np.where(batch.strict[block.model], score <= head[BORDER], score < head[BORDER])[real]
