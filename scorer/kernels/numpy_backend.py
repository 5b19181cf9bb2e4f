"""The kernels in NumPy alone, for where numba cannot be had: the same answers, at about a quarter of the speed.

Models of one kind and width are taken together, in arrays whose last axis is the model, so that NumPy's loops run long
however small a model is. Where they differ in rows or support vectors, the shorter ones are padded: by their own last
row, whose score is dropped, and by their own last vector with the coefficient 0, which adds nothing, not one bit.
Memory is bounded by ELEMENTS and BODY.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scorer.families.base import Family

from .batch import Batch

ELEMENTS = 2**15  # numbers of an array that a loop works on: fewer cost calls, more fall out of the caches
BODY = 2**20  # numbers of the support vectors, or of the precisions, that are held at once
ROWS = 512  # of one model that are taken at once
_LOG2E = 1.4426950408889634


@dataclass(frozen=True, slots=True)
class _Group:
    """Stretches of rows of k models that are scored together. All models are of one family, scaler, degree, width."""

    model: np.ndarray  # int64[k]
    first: np.ndarray  # int64[k]: in `values`
    rows: np.ndarray  # int64[k], 1 .. ROWS
    out: np.ndarray  # int64[k]
    n: np.ndarray  # int64[k]: terms in the body


def run(batch: Batch, begin: int, end: int, scores: np.ndarray, anomalies: np.ndarray) -> None:
    """Write the scores and labels of the models begin..end. Other calls may run beside it, on other models."""
    with np.errstate(all="ignore"):  # what is not finite is the caller's to refuse
        for group in _groups(batch, begin, end):
            z, head = _scaled(batch, group)
            family = Family(int(batch.family[group.model[0]]))
            score = _forest(batch, group, z, head) if family is Family.FOREST else _start(z)
            match family:
                case Family.RBF | Family.POLY | Family.SIGMOID:
                    _vectors(family, batch, group, z, head, score)
                case Family.LINEAR:
                    score += _dot(z, _body(batch, group, np.arange(len(z))[:, None]))
                case Family.ENVELOPE:
                    _envelope(batch, group, z, score)
            score += head[3]
            _write(batch, group, score, scores, anomalies)


def _groups(batch: Batch, begin: int, end: int) -> Iterator[_Group]:
    """All rows of the models, cut into stretches, those of like shape together, each group within the bounds."""
    count = -(-batch.rows[begin:end] // ROWS)
    model = np.repeat(np.arange(begin, end), count)
    skip = (np.arange(len(model)) - np.repeat(np.cumsum(count) - count, count)) * ROWS
    rows = np.minimum(batch.rows[model] - skip, ROWS)
    at = batch.number_at[model]
    n = batch.numbers[at + 7].astype(np.int64)
    alike = (batch.family[model], batch.numbers[at], batch.numbers[at + 6], batch.width[model], -(-rows // 16))
    order = np.lexsort((n, *reversed(alike)))
    group = _Group(model, batch.first[model] + skip, rows, batch.out[model] + skip, n)
    changes = np.zeros(len(order), np.bool_)
    for key in alike:
        changes[1:] |= key[order][1:] != key[order][:-1]
    for kind in np.split(order, np.flatnonzero(changes)):
        if len(kind):
            yield from _cut(batch, group, kind)


def _cut(batch: Batch, group: _Group, kind: np.ndarray) -> Iterator[_Group]:
    """Pieces of *kind* that keep the bounds; n rises within it, so the last of a piece is its largest."""
    family, width = batch.family[group.model[kind[0]]], int(batch.width[group.model[kind[0]]])
    most = 1 if family == Family.FOREST else max(1, ELEMENTS // int(group.rows[kind].max()))
    while len(kind):
        size = min(most, len(kind))
        while size > 1 and size * width * max(int(group.n[kind[size - 1]]), width) > BODY:
            size = size // 2
        piece, kind = kind[:size], kind[size:]
        yield _Group(group.model[piece], group.first[piece], group.rows[piece], group.out[piece], group.n[piece])


def _scaled(batch: Batch, group: _Group) -> tuple[np.ndarray, np.ndarray]:
    """The scaled readings, [width, rows, models], by the operations of scikit-learn; and the heads, [8, models]."""
    at, width = batch.number_at[group.model], int(batch.width[group.model[0]])
    head = batch.numbers[at + np.arange(8)[:, None]]
    shift = batch.numbers[at + 8 + np.arange(width)[:, None]][:, None]
    scale = batch.numbers[at + 8 + width + np.arange(width)[:, None]][:, None]
    columns = batch.layouts[batch.layout[group.model], :width].T
    row = group.first + np.minimum(np.arange(group.rows.max())[:, None], group.rows - 1)
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


def _start(z: np.ndarray) -> np.ndarray:
    """0 for each row, but NaN where a feature is not finite: scikit-learn refuses it, so it must not get a score."""
    return _sum(z - z)


def _sum(terms: np.ndarray) -> np.ndarray:
    """Over the first axis, from first to last: NumPy's own sum may take another order, and ties want this one."""
    total: np.ndarray = terms[0].copy()
    for term in terms[1:]:
        total += term
    return total


def _body(batch: Batch, group: _Group, places: np.ndarray) -> np.ndarray:
    """The numbers at *places* of each model's body; the last axis of *places* is the models, or 1."""
    start = batch.number_at[group.model] + 8 + 2 * batch.width[group.model].astype(np.int64)
    numbers: np.ndarray = batch.numbers[start + places]
    return numbers


def _dot(z: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rows times weights, added feature by feature: [..., rows, models] for weights [width, ..., models]."""
    total: np.ndarray = z[0] * weights[0][..., None, :]
    for x, w in zip(z[1:], weights[1:], strict=True):
        total += x * w[..., None, :]
    return total


def _vectors(family: Family, batch: Batch, group: _Group, z: np.ndarray, head: np.ndarray, score: np.ndarray) -> None:
    """Add coef * kernel(row, vector) to the score, vector after vector, as libsvm does."""
    most, width = int(group.n.max()), len(z)
    j = np.arange(most)[:, None]
    last = np.minimum(j, group.n - 1)
    coef = np.where(j < group.n, _body(batch, group, last), 0.0)
    vectors = _body(batch, group, group.n + last * width + np.arange(width)[:, None, None])  # [width, n, models]
    step = min(most, max(1, ELEMENTS // score.size))
    space = np.empty((2, step, *score.shape))  # made once: each new array of this size costs page faults
    exponent = np.broadcast_to(-head[4] * _LOG2E, score.shape).copy()
    for at in range(0, most, step):
        some = vectors[:, at : at + step]
        terms = _apart(z, some, space[:, : some.shape[1]]) if family is Family.RBF else _dot(z, some)
        match family:
            case Family.RBF:
                terms *= exponent
                np.exp2(terms, out=terms)
            case Family.POLY:
                terms = _power(terms * head[4] + head[5], int(head[6, 0]))
            case _:
                terms = np.tanh(terms * head[4] + head[5])
        terms *= coef[at : at + step, None]
        for term in terms:
            score += term


def _apart(z: np.ndarray, vectors: np.ndarray, space: np.ndarray) -> np.ndarray:
    """|row - vector| ** 2, [n, rows, models] for vectors [width, n, models], in the first half of *space*."""
    total: np.ndarray
    one: np.ndarray
    total, one = space
    np.subtract(z[0], vectors[0][:, None], out=total)
    total *= total
    for x, s in zip(z[1:], vectors[1:], strict=True):
        np.subtract(x, s[:, None], out=one)
        one *= one
        total += one
    return total


def _power(base: np.ndarray, times: int) -> np.ndarray:
    """Base ** times, by squaring, as libsvm takes it."""
    power = np.ones_like(base)
    while times > 0:
        if times % 2:
            power *= base
        base = base * base
        times //= 2
    return power


def _envelope(batch: Batch, group: _Group, z: np.ndarray, score: np.ndarray) -> None:
    """Take off the squared Mahalanobis distance; root and square, and NaN below 0, as scikit-learn has them."""
    width = len(z)
    apart = z - _body(batch, group, np.arange(width)[:, None])[:, None]
    square = np.zeros_like(score)
    for f in range(width):
        square += apart[f] * _dot(apart, _body(batch, group, width * (1 + f) + np.arange(width)[:, None]))
    np.sqrt(square, out=square)
    square *= square
    score -= square


def _forest(batch: Batch, group: _Group, z: np.ndarray, head: np.ndarray) -> np.ndarray:
    """-(2 ** -(mean depth / normal)) of one model, [rows, 1]; rows as float32, as scikit-learn's trees see them."""
    model, trees = int(group.model[0]), int(group.n[0])
    at, count = int(batch.integer_at[model]), int(batch.integer_count[model])
    integers = batch.integers[at : at + count]
    roots, (feature, left, right) = integers[:trees], integers[trees:].reshape(3, -1)
    body = _body(batch, group, np.arange(len(feature))[:, None])[:, 0]
    x = z[:, :, 0].astype(np.float32).astype(np.float64)
    here = np.arange(x.shape[1])
    node = np.repeat(roots[:, None], x.shape[1], axis=1)
    while (inner := feature[node] >= 0).any():
        below = np.where(x[feature[node], here] <= body[node], left[node], right[node])
        node = np.where(inner, below, node)
    depth = _sum(body[node])
    scale = trees * head[4, 0]
    mean = depth / scale if scale else np.ones_like(depth)
    score: np.ndarray = -np.exp2(-mean)[:, None]
    return score


def _write(batch: Batch, group: _Group, score: np.ndarray, scores: np.ndarray, anomalies: np.ndarray) -> None:
    """Each model's rows to their place, without the padding."""
    row = np.arange(len(score))[:, None]
    real = row < group.rows
    to = (group.out + row)[real]
    scores[to] = score[real]
    anomalies[to] = np.where(batch.strict[group.model], score <= 0.0, score < 0.0)[real]
