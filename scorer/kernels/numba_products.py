# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, misc, attr-defined"
# ruff: noqa: ANN001, ANN201, ANN202, PLR0913, PLR0917
# The reason for both lines: see numba_backend.
"""The sum of RBF kernels by products of rows and support vectors, as numba compiles it.

|row - vector| ** 2 = |row| ** 2 + |vector| ** 2 - 2 row . vector takes one operation a feature; the difference and
its square take two. It is less exact: where row and vector are equal it may not be 0. So `bound_error` says how far a
score may be from that by differences; where this could change the label, or more than TOLERANCE of the score, the
caller takes the differences.
"""

from __future__ import annotations

from .batch import TILE
from .numba_arithmetic import exp2_negative, fast
from .numba_compiler import njit

LEAST_FEATURES = 6  # with fewer there is nothing to gain
TOLERANCE = 1e-10  # of a score, or of its intercept where that is larger
_UNIT = 2.0**-53  # of rounding
_EXP2_ERROR = 4e-15  # of exp2, of itself

# A sum in any order is vectorised: only for sums whose rounding `bound_error` bounds in any order.
_reordered = njit(error_model="numpy", nogil=True, fastmath={"contract", "nsz", "reassoc"})


@_reordered
def _sum_squares(s):
    total = 0.0
    for f in range(len(s)):
        total += s[f] * s[f]
    return total


@_reordered
def sum_absolute(coef):
    """The sum of |coef|."""
    total = 0.0
    for j in range(len(coef)):
        total += abs(coef[j])
    return total


@fast
def square_rows(squares, z, n_padded):
    """squares[row] = |row| ** 2."""
    for r in range(n_padded):
        squares[r] = 0.0
    for f in range(len(z)):
        x = z[f]
        for r in range(n_padded):
            squares[r] += x[r] * x[r]


@fast
def add_rbf_products(total, dots, squares, z, coef, vectors, g, n_padded):
    """total[row] += coef * 2 ** (g * |row - vector| ** 2), for one vector after the other.

    *squares*: |row| ** 2; *dots*: float64[TILE * n_padded] at least; g is at most 0.
    """
    n, n_features = len(coef), len(z)
    d0, d1, d2, d3 = (
        dots[:n_padded], dots[n_padded : 2 * n_padded], dots[2 * n_padded : 3 * n_padded], dots[3 * n_padded :],
    )  # fmt: skip
    n_tiled = n - n % TILE
    for j in range(0, n_tiled, TILE):
        a, b, c, d = (
            vectors[j * n_features : (j + 1) * n_features],
            vectors[(j + 1) * n_features : (j + 2) * n_features],
            vectors[(j + 2) * n_features : (j + 3) * n_features],
            vectors[(j + 3) * n_features : (j + 4) * n_features],
        )
        _multiply_tile(d0, d1, d2, d3, z, a, b, c, d, n_padded)
        qa, qb, qc, qd = _sum_squares(a), _sum_squares(b), _sum_squares(c), _sum_squares(d)
        ca, cb, cc, cd = coef[j], coef[j + 1], coef[j + 2], coef[j + 3]
        for r in range(n_padded):
            q = squares[r]
            score = total[r] + ca * exp2_negative(g * ((q + qa) - 2.0 * d0[r]))
            score += cb * exp2_negative(g * ((q + qb) - 2.0 * d1[r]))
            score += cc * exp2_negative(g * ((q + qc) - 2.0 * d2[r]))
            total[r] = score + cd * exp2_negative(g * ((q + qd) - 2.0 * d3[r]))
    for j in range(n_tiled, n):
        s = vectors[j * n_features : (j + 1) * n_features]
        _multiply_vector(d0, z, s, n_padded)
        square, c = _sum_squares(s), coef[j]
        for r in range(n_padded):
            total[r] += c * exp2_negative(g * ((squares[r] + square) - 2.0 * d0[r]))


@fast
def _multiply_tile(d0, d1, d2, d3, z, a, b, c, d, n_padded):
    """The products of all rows with four vectors, four features at a time: a number that is read is used four times."""
    n_features = len(z)
    for r in range(n_padded):
        d0[r] = 0.0
        d1[r] = 0.0
        d2[r] = 0.0
        d3[r] = 0.0
    four = n_features - n_features % 4
    for f in range(0, four, 4):
        z0, z1, z2, z3 = z[f], z[f + 1], z[f + 2], z[f + 3]
        a0, a1, a2, a3 = a[f], a[f + 1], a[f + 2], a[f + 3]
        b0, b1, b2, b3 = b[f], b[f + 1], b[f + 2], b[f + 3]
        c0, c1, c2, c3 = c[f], c[f + 1], c[f + 2], c[f + 3]
        e0, e1, e2, e3 = d[f], d[f + 1], d[f + 2], d[f + 3]
        for r in range(n_padded):  # a chain of sums: each product and its sum are one instruction
            x0, x1, x2, x3 = z0[r], z1[r], z2[r], z3[r]
            d0[r] = (((d0[r] + x0 * a0) + x1 * a1) + x2 * a2) + x3 * a3
            d1[r] = (((d1[r] + x0 * b0) + x1 * b1) + x2 * b2) + x3 * b3
            d2[r] = (((d2[r] + x0 * c0) + x1 * c1) + x2 * c2) + x3 * c3
            d3[r] = (((d3[r] + x0 * e0) + x1 * e1) + x2 * e2) + x3 * e3
    for f in range(four, n_features):
        x, a0, b0, c0, e0 = z[f], a[f], b[f], c[f], d[f]
        for r in range(n_padded):
            d0[r] += x[r] * a0
            d1[r] += x[r] * b0
            d2[r] += x[r] * c0
            d3[r] += x[r] * e0


@fast
def _multiply_vector(dot, z, s, n_padded):
    for r in range(n_padded):
        dot[r] = 0.0
    for f in range(len(s)):
        x, w = z[f], s[f]
        for r in range(n_padded):
            dot[r] += x[r] * w


@fast
def bound_error(coef_sum, n, n_features, g, row_square, vector_square):
    """How far a sum by products may be from one by differences; infinite or NaN where they overflow.

    With u the unit of rounding, each of the three sums that make a square of a distance is off by at most
    (n_features + 2) u (|row| ** 2 + |vector| ** 2), whatever the order of its terms (Higham, Accuracy and Stability of
    Numerical Algorithms, 2002, section 3.1), and so the square by less than 4 times that, as is the one by differences.
    Both together times |g| ln 2 are the relative error of a kernel, beside that of exp2; a kernel is at most 1. Two
    sums of n terms are off by 2 n u of the sum of all |coef|. All is doubled, for what is of second order.
    """
    relative = 8.0 * (n_features + 2) * _UNIT * -g * (row_square + vector_square)
    return 2.0 * coef_sum * (relative + 2.0 * (n + 4) * _UNIT + 2.0 * _EXP2_ERROR)


@fast
def find_largest_square(vectors, n_features):
    """The largest |vector| ** 2; NaN where one is NaN."""
    largest = 0.0
    for start in range(0, len(vectors), n_features):
        square = _sum_squares(vectors[start : start + n_features])
        largest = max(largest, square)
    return largest


@fast
def find_doubtful(is_doubtful, total, squares, largest, coef, coef_sum, n_features, g, intercept, border):
    """Mark the rows whose score by products must not count: 1, else 0; returns whether there are any."""
    limit, count = TOLERANCE * max(1.0, abs(intercept)), 0.0
    for r in range(len(total)):
        error = bound_error(coef_sum, len(coef), n_features, g, squares[r], largest)
        score = total[r] + intercept
        error_of_score = error + 4.0 * _UNIT * (abs(total[r]) + abs(intercept))
        is_certain = error <= limit and abs(score - border) > error_of_score  # False for NaN
        is_doubtful[r] = 0.0 if is_certain else 1.0
        count += is_doubtful[r]
    return count > 0.0
