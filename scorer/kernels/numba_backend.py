# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, misc, attr-defined"
# ruff: noqa: ANN001, ANN202, PLR0913, PLR0917, PLR2004
# The reason for both lines: numba finds the types of its functions by itself, takes arrays and no dataclasses, turns
# numbers into constants of the machine code, and ships no types of its own.
"""The kernels as numba compiles them: one pass over a model, in registers and the first-level cache.

Whoever imports this room pays for numba (0.3 s) and for the compiler, or for reading what it made before: numba keeps
that in NUMBA_CACHE_DIR, or else beside this file. It is compiled for a level of x86-64, not for one machine, so
that a cache made on one node serves another. Nothing here imports scikit-learn.

Support vectors are taken one after the other, and rows side by side. So the terms of a score are added in libsvm's own
order, whatever the width of the machine's registers, and a tie stays a tie: of a stuck sensor's model every support
vector equals the reading, and the score is exactly 0.
"""

from __future__ import annotations

import logging

import numpy as np
from llvmlite import binding
from numba import boolean, float64, int8, int32, int64, njit, types, void
from numba.core import config

from scorer.families.base import Family

from .batch import Batch

LANES = 16  # rows are padded to a multiple of it: two registers of AVX-512
BLOCK = 128  # rows that are taken at once; their features lie in the first-level cache
_LOG2E = 1.4426950408889634
_MAGIC = 1.5 * 2.0**52 + 1023.0  # added to t, it leaves round(t) + 1023, an exponent's bits, in the lowest bits

log = logging.getLogger(__name__)

# AVX-512 as it is meant: LLVM would use half of each register.
_LEVELS = {
    ("x86-64-v4", "-prefer-256-bit"): ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
    ("x86-64-v3", ""): ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"),
}
if config.CPU_NAME is None and config.CPU_FEATURES is None:  # NUMBA_CPU_NAME and NUMBA_CPU_FEATURES go first
    _host = binding.get_host_cpu_features()
    for _level, _needs in _LEVELS.items():
        if all(_host.get(_feature) for _feature in _needs):
            config.CPU_NAME, config.CPU_FEATURES = _level
            break

# A product and a sum may become one instruction where no promise needs them apart. In `_scale` they stay two, as in
# scikit-learn: a row that equals a support vector must equal it to the bit.
_FAST = {"contract", "nsz"}
_plain = njit(error_model="numpy", nogil=True)
_fast = njit(error_model="numpy", nogil=True, fastmath=_FAST)


@_fast
def _exp2(t: float) -> float:
    """2 ** t to 2e-15 of itself, exactly 1 at 0, 0 below -1023, inf above 1024, NaN for NaN; it vectorises."""
    t = -1023.0 if t < -1023.0 else t  # noqa: FURB136  # max() loses NaN
    t = 1024.0 if t > 1024.0 else t  # noqa: FURB136
    shifted = t + _MAGIC
    f = t - (shifted - _MAGIC)  # -0.5 .. 0.5
    # (2 ** f - 1) / f in Chebyshev's nodes
    p = 7.068319334280204e-09
    p = p * f + 1.0205575017963043e-07
    p = p * f + 1.3215466479143957e-06
    p = p * f + 1.5252674244619069e-05
    p = p * f + 0.0001540353040641265
    p = p * f + 0.001333355819925504
    p = p * f + 0.009618129107610706
    p = p * f + 0.05550410866465778
    p = p * f + 0.24022650695910194
    p = p * f + 0.6931471805599461
    p = p * f + 1.0
    exponent = np.int64(np.float64(shifted).view(np.int64) << 52)
    return p * np.int64(exponent).view(np.float64)


@_plain
def _scale(z, values, columns, first, rows, padded, head, shift, scale):
    """z[feature, row] = the scaled reading, by the very operations of scikit-learn; 0 in the padding."""
    for f in range(len(shift)):
        x, to = values[columns[f]][first : first + rows], z[f]
        a, b = shift[f], scale[f]
        if head[0] == 1.0:
            for r in range(rows):
                to[r] = (x[r] - a) / b
        elif head[0] == 2.0:
            low, high = head[1], head[2]
            for r in range(rows):
                v = x[r] * b
                v += a
                v = low if v < low else v  # noqa: FURB136  # NaN, as above
                to[r] = high if v > high else v  # noqa: FURB136
        else:
            for r in range(rows):
                to[r] = x[r]
        for r in range(rows, padded):
            to[r] = 0.0


@_plain
def _start(total, z, width, padded):
    """0 for each row, but NaN where a feature is not finite: scikit-learn refuses it, so it must not get a score."""
    for r in range(padded):
        total[r] = 0.0
    for f in range(width):
        x = z[f]
        for r in range(padded):
            total[r] += x[r] - x[r]


@_fast
def _rbf(total, apart, z, coef, vectors, g, padded):  # noqa: C901, PLR0912  # see below
    """total[row] += coef * 2 ** (g * |row - vector| ** 2), for one vector after the other.

    A loop for each small width: only a sum that is written out stays in registers and vectorises over the rows.
    """
    n, width = len(coef), len(z)
    z0, z1, z2, z3 = z[0], z[min(1, width - 1)], z[min(2, width - 1)], z[min(3, width - 1)]
    if width == 1:
        for j in range(n):
            c, s0 = coef[j], vectors[j]
            for r in range(padded):
                a = z0[r] - s0
                total[r] += c * _exp2(g * (a * a))
    elif width == 2:
        for j in range(n):
            c, s0, s1 = coef[j], vectors[2 * j], vectors[2 * j + 1]
            for r in range(padded):
                a, b = z0[r] - s0, z1[r] - s1
                total[r] += c * _exp2(g * (a * a + b * b))
    elif width == 3:
        for j in range(n):
            c, s0, s1, s2 = coef[j], vectors[3 * j], vectors[3 * j + 1], vectors[3 * j + 2]
            for r in range(padded):
                a, b, d = z0[r] - s0, z1[r] - s1, z2[r] - s2
                total[r] += c * _exp2(g * (a * a + b * b + d * d))
    elif width == 4:
        for j in range(n):
            c, s0, s1, s2, s3 = coef[j], vectors[4 * j], vectors[4 * j + 1], vectors[4 * j + 2], vectors[4 * j + 3]
            for r in range(padded):
                a, b, d, e = z0[r] - s0, z1[r] - s1, z2[r] - s2, z3[r] - s3
                total[r] += c * _exp2(g * (a * a + b * b + d * d + e * e))
    else:
        for j in range(n):
            _far(apart, z, vectors[j * width : (j + 1) * width], padded)
            c = coef[j]
            for r in range(padded):
                total[r] += c * _exp2(g * apart[r])


@_fast
def _far(apart, z, s, padded):
    """apart[row] = |row - s| ** 2, four features at a time."""
    width = len(s)
    four = width - width % 4
    for r in range(padded):
        apart[r] = 0.0
    for f in range(0, four, 4):
        z0, z1, z2, z3 = z[f], z[f + 1], z[f + 2], z[f + 3]
        s0, s1, s2, s3 = s[f], s[f + 1], s[f + 2], s[f + 3]
        for r in range(padded):
            a, b, d, e = z0[r] - s0, z1[r] - s1, z2[r] - s2, z3[r] - s3
            apart[r] += a * a + b * b + d * d + e * e
    for f in range(four, width):
        z0, s0 = z[f], s[f]
        for r in range(padded):
            a = z0[r] - s0
            apart[r] += a * a


@_plain
def _dot(dot, z, s, padded):
    """dot[row] = row . s, added in the order of the features."""
    for r in range(padded):
        dot[r] = 0.0
    for f in range(len(s)):
        x, w = z[f], s[f]
        for r in range(padded):
            dot[r] += x[r] * w


@_plain
def _poly(total, dot, z, coef, vectors, gamma, coef0, degree, padded):
    """total[row] += coef * (gamma * row . vector + coef0) ** degree; the power by squaring, as libsvm takes it."""
    width = len(z)
    for j in range(len(coef)):
        _dot(dot, z, vectors[j * width : (j + 1) * width], padded)
        c = coef[j]
        for r in range(padded):
            base, power, times = gamma * dot[r] + coef0, 1.0, degree
            while times > 0:
                if times % 2 == 1:
                    power *= base
                base *= base
                times //= 2
            total[r] += c * power


@_plain
def _sigmoid(total, dot, z, coef, vectors, gamma, coef0, padded):
    """total[row] += coef * tanh(gamma * row . vector + coef0)."""
    width = len(z)
    for j in range(len(coef)):
        _dot(dot, z, vectors[j * width : (j + 1) * width], padded)
        c = coef[j]
        for r in range(padded):
            total[r] += c * (1.0 - 2.0 / (_exp2(2.0 * _LOG2E * (gamma * dot[r] + coef0)) + 1.0))


@_plain
def _envelope(total, part, z, location, precision, padded):
    """total[row] -= the squared Mahalanobis distance; root and square, and NaN below 0, as scikit-learn has them."""
    width = len(location)
    for f in range(width):
        x, middle = z[f], location[f]
        for r in range(padded):
            x[r] -= middle
    square = z[width]
    for r in range(padded):
        square[r] = 0.0
    for f in range(width):
        _dot(part, z[:width], precision[f * width : (f + 1) * width], padded)
        x = z[f]
        for r in range(padded):
            square[r] += x[r] * part[r]
    for r in range(padded):
        root = np.sqrt(square[r])
        total[r] -= root * root


@_plain
def _forest(total, z, integers, body, normal, trees, rows):
    """total[row] = -(2 ** -(mean depth / normal)); rows as float32, as scikit-learn's trees see them."""
    width = len(z)
    for f in range(width):
        x = z[f]
        for r in range(rows):
            x[r] = np.float64(np.float32(x[r]))
    nodes = (len(integers) - trees) // 3
    feature, left, right = integers[trees:], integers[trees + nodes :], integers[trees + 2 * nodes :]
    for r in range(rows):
        total[r] = 0.0
    for t in range(trees):
        root = integers[t]
        for r in range(rows):
            node = root
            while feature[node] >= 0:
                node = left[node] if z[feature[node], r] <= body[node] else right[node]
            total[r] += body[node]
    scale = trees * normal
    for r in range(rows):
        total[r] = -_exp2(-(total[r] / scale if scale != 0.0 else 1.0))


_RBF, _LINEAR, _POLY, _SIGMOID = (int(f) for f in (Family.RBF, Family.LINEAR, Family.POLY, Family.SIGMOID))
_ENVELOPE = int(Family.ENVELOPE)


@_plain
def _block(family, total, part, z, head, body, integers, width, rows, padded):
    """total[row] = the score but for its intercept; z holds the scaled rows, and one row more for an envelope."""
    n = int(head[7])
    _start(total, z, width, padded)
    if family == _RBF:
        _rbf(total, part, z[:width], body[:n], body[n:], -head[4] * _LOG2E, padded)
    elif family == _POLY:
        _poly(total, part, z[:width], body[:n], body[n:], head[4], head[5], int(head[6]), padded)
    elif family == _SIGMOID:
        _sigmoid(total, part, z[:width], body[:n], body[n:], head[4], head[5], padded)
    elif family == _LINEAR:
        _dot(part, z[:width], body[:width], padded)
        for r in range(padded):
            total[r] += part[r]
    elif family == _ENVELOPE:
        _envelope(total, part, z, body[:width], body[width:], padded)
    else:
        _forest(total, z[:width], integers, body, head[4], n, rows)


def _models(
    begin, end, family, strict, width, number_at, numbers, integer_at, integer_count, integers,
    layout, layouts, first, rows, out, values, z, part, total, scores, anomalies,
):  # fmt: skip
    for i in range(begin, end):
        w, at = width[i], number_at[i]
        head, shift, scale = numbers[at : at + 8], numbers[at + 8 : at + 8 + w], numbers[at + 8 + w : at + 8 + 2 * w]
        body = numbers[at + 8 + 2 * w :]
        if family[i] == _RBF or family[i] == _POLY or family[i] == _SIGMOID:
            body = body[: int(head[7]) * (w + 1)]
        nodes = integers[integer_at[i] : integer_at[i] + integer_count[i]]
        for start in range(0, rows[i], BLOCK):
            count = min(BLOCK, rows[i] - start)
            padded = (count + LANES - 1) // LANES * LANES
            _scale(z, values, layouts[layout[i]], first[i] + start, count, padded, head, shift, scale)
            _block(family[i], total, part, z, head, body, nodes, w, count, padded)
            for r in range(count):
                score = total[r] + head[3]
                scores[out[i] + start + r] = score
                anomalies[out[i] + start + r] = score <= 0.0 if strict[i] else score < 0.0


def _given(kind, dimensions=1):
    """An array that is only read: one in a mapped pack cannot be written to."""
    return types.Array(kind, dimensions, "C", readonly=True)


_NUMBERS, _PLACES, _SMALL, _SCRATCH = _given(float64), _given(int64), _given(int32), float64[::1]
_SIGNATURE = void(
    int64, int64, _given(int8), _given(boolean), _SMALL, _PLACES, _NUMBERS, _PLACES, _PLACES, _SMALL, _SMALL,
    _given(int32, 2), _PLACES, _PLACES, _PLACES, _given(float64, 2), types.Array(float64, 2, "C"),
    _SCRATCH, _SCRATCH, _SCRATCH, boolean[::1],
)  # fmt: skip


def _compile(function, signature):
    """The machine code of *function*: from the cache where it lies there, else made now (seconds) and kept."""
    try:
        return njit(signature, error_model="numpy", nogil=True, cache=True)(function)
    except Exception as error:  # noqa: BLE001  # a full or read-only disk, a torn cache: no concern of the arithmetic
        log.warning("kernels are compiled anew, since numba's cache cannot be used: %s", error)
        return njit(signature, error_model="numpy", nogil=True)(function)


_compiled = _compile(_models, _SIGNATURE)


def run(batch: Batch, begin: int, end: int, scores: np.ndarray, anomalies: np.ndarray) -> None:
    """Write the scores and labels of the models begin..end. Other calls may run beside it, on other models."""
    part, total = np.empty(BLOCK), np.empty(BLOCK)
    z = np.empty((batch.layouts.shape[1] + 1, BLOCK))
    _compiled(
        begin, end, batch.family, batch.strict, batch.width, batch.number_at, batch.numbers,
        batch.integer_at, batch.integer_count, batch.integers, batch.layout, batch.layouts,
        batch.first, batch.rows, batch.out, batch.values, z, part, total, scores, anomalies,
    )  # fmt: skip
