# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, misc, attr-defined"
# ruff: noqa: ANN001, ANN201, PLR2004
# The reason for both lines: see numba_backend.
"""The arithmetic that detectors and chains of steps share, as numba compiles it into both."""

from __future__ import annotations

import numpy as np

from .numba_compiler import njit

LOG2E = 1.4426950408889634
_MAGIC = 1.5 * 2.0**52 + 1023.0  # added to t, it leaves round(t) + 1023, the bits of an exponent, in the lowest bits

_ROUNDING = 1.5 * 2.0**52  # added to t, it leaves round(t) in the lowest bits

# A product and a sum may become one instruction, but not where rows are scaled: there they stay two, as in
# scikit-learn, since a row that equals a support vector must equal it to the bit.
_FAST = {"contract", "nsz"}
plain = njit(error_model="numpy", nogil=True)
fast = njit(error_model="numpy", nogil=True, fastmath=_FAST)


@fast
def exp2(t: float) -> float:
    """2 ** t to 2e-15 of itself, exactly 1 at 0, 0 below -1023, inf above 1024, NaN for NaN; it can be vectorised."""
    return exp2_negative(1024.0 if t > 1024.0 else t)  # noqa: FURB136  # min() loses NaN


@fast
def exp2_negative(t: float) -> float:
    """`exp2` for t up to 1024, as every negative one is: two instructions less."""
    t = -1023.0 if t < -1023.0 else t  # noqa: FURB136  # max() loses NaN
    shifted = t + _MAGIC
    f = t - (shifted - _MAGIC)  # -0.5 .. 0.5
    # (2 ** f - 1) / f, interpolated at Chebyshev nodes
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


@fast
def add_rbf(total, distance, z, coef, vectors, g, n_padded):  # noqa: C901, PLR0912  # see below
    """total[row] += coef * 2 ** (g * |row - vector| ** 2), for one vector after the other.

    A loop for each small number of features: only a sum that is written out stays in registers and is vectorised
    over the rows. g is at most 0.
    """
    n, n_features = len(coef), len(z)
    z0, z1, z2, z3 = z[0], z[min(1, n_features - 1)], z[min(2, n_features - 1)], z[min(3, n_features - 1)]
    if n_features == 1:
        for j in range(n):
            c, s0 = coef[j], vectors[j]
            for r in range(n_padded):
                a = z0[r] - s0
                total[r] += c * exp2_negative(g * (a * a))
    elif n_features == 2:
        for j in range(n):
            c, s0, s1 = coef[j], vectors[2 * j], vectors[2 * j + 1]
            for r in range(n_padded):
                a, b = z0[r] - s0, z1[r] - s1
                total[r] += c * exp2_negative(g * (a * a + b * b))
    elif n_features == 3:
        for j in range(n):
            c, s0, s1, s2 = coef[j], vectors[3 * j], vectors[3 * j + 1], vectors[3 * j + 2]
            for r in range(n_padded):
                a, b, d = z0[r] - s0, z1[r] - s1, z2[r] - s2
                total[r] += c * exp2_negative(g * (a * a + b * b + d * d))
    elif n_features == 4:
        for j in range(n):
            c, s0, s1, s2, s3 = coef[j], vectors[4 * j], vectors[4 * j + 1], vectors[4 * j + 2], vectors[4 * j + 3]
            for r in range(n_padded):
                a, b, d, e = z0[r] - s0, z1[r] - s1, z2[r] - s2, z3[r] - s3
                total[r] += c * exp2_negative(g * (a * a + b * b + d * d + e * e))
    else:
        for j in range(n):
            square_distances(distance, z, vectors[j * n_features : (j + 1) * n_features], n_padded)
            c = coef[j]
            for r in range(n_padded):
                total[r] += c * exp2_negative(g * distance[r])


@fast
def square_distances(distance, z, s, n_padded):
    """distance[row] = |row - s| ** 2, four features at a time."""
    n_features = len(s)
    four = n_features - n_features % 4
    for r in range(n_padded):
        distance[r] = 0.0
    for f in range(0, four, 4):
        z0, z1, z2, z3 = z[f], z[f + 1], z[f + 2], z[f + 3]
        s0, s1, s2, s3 = s[f], s[f + 1], s[f + 2], s[f + 3]
        for r in range(n_padded):
            a, b, d, e = z0[r] - s0, z1[r] - s1, z2[r] - s2, z3[r] - s3
            distance[r] += a * a + b * b + d * d + e * e
    for f in range(four, n_features):
        z0, s0 = z[f], s[f]
        for r in range(n_padded):
            a = z0[r] - s0
            distance[r] += a * a


@plain
def dot_rows(dot, z, s, n_padded):
    """dot[row] = row . s, added in the order of the features."""
    for r in range(n_padded):
        dot[r] = 0.0
    for f in range(len(s)):
        x, w = z[f], s[f]
        for r in range(n_padded):
            dot[r] += x[r] * w


@plain
def raise_power(base, times):
    """Base ** times, by squaring, as in libsvm."""
    power = 1.0
    while times > 0:
        if times % 2 == 1:
            power *= base
        base *= base
        times //= 2
    return power


@plain
def compute_tanh(t):
    """The hyperbolic tangent."""
    return 1.0 - 2.0 / (exp2(2.0 * LOG2E * t) + 1.0)


@plain
def compute_cosine(x):
    """The cosine up to 1e5, to 2e-16; it can be vectorised. Polynomials and parts of pi / 2: fdlibm's."""
    shifted = x * 0.6366197723675814 + _ROUNDING
    n = shifted - _ROUNDING
    r = x - n * 1.57079632673412561417
    r -= n * 6.07710050630396597660e-11
    r -= n * 2.02226624879595063154e-21
    s = r * r
    sine = 1.58969099521155010221e-10
    sine = sine * s - 2.50507602534068634195e-08
    sine = sine * s + 2.75573137070700676789e-06
    sine = sine * s - 1.98412698298579493134e-04
    sine = sine * s + 8.33333333332248946124e-03
    sine = sine * s - 1.66666666666666324348e-01
    sine = r + r * s * sine
    cosine = -1.13596475577881948265e-11
    cosine = cosine * s + 2.08757232129817482790e-09
    cosine = cosine * s - 2.75573143513906633035e-07
    cosine = cosine * s + 2.48015872894767294178e-05
    cosine = cosine * s - 1.38888888888741095749e-03
    cosine = cosine * s + 4.16666666666666019037e-02
    cosine = 1.0 - 0.5 * s + s * s * cosine
    quarter = np.float64(shifted).view(np.int64) & 3
    result = sine if quarter & 1 else cosine
    return -result if (quarter + 1) & 2 else result
