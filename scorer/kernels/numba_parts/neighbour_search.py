# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, misc, attr-defined"
# ruff: noqa: ANN001, ANN201, ANN202, C901, PLR0912, PLR0913, PLR0917
# The reason for both lines: see numba_backend.
"""The search for the nearest rows.

Each function of a walk through a tree is scikit-learn's own, operation by operation, so that of rows at equal distance
it takes the same ones. Most rows need no walk: see `select_nearest`. Distances to many rows are computed side by side,
each added in the order of the features.
"""

from __future__ import annotations

import math

from scorer.families.neighbours import (
    CLOSE,
    DEEPEST,
    GROUPS,
    HALVINGS,
    LEAF,
    MOST_POINTS,
    NEAR,
    PADDING,
    Metric,
    Search,
)
from scorer.kernels.numba_arithmetic import plain

_EUCLIDEAN, _MANHATTAN, _CHEBYSHEV, _MINKOWSKI = (int(metric) for metric in Metric)
_TREE_KD = int(Search.TREE_KD)


@plain
def _add_distances(out, x, points, stride, first, end, metric, p):
    """out[i] = the distance, while it is compared, of the row x and the point first + i."""
    count, n_features = (end - first + PADDING - 1) // PADDING * PADDING, len(x)
    four = n_features - n_features % 4 if metric == _EUCLIDEAN else 0
    for i in range(count):
        out[i] = 0.0
    for f in range(0, four, 4):  # in registers
        x0, x1, x2, x3 = x[f], x[f + 1], x[f + 2], x[f + 3]
        at = f * stride + first
        p0, p1 = points[at : at + count], points[at + stride : at + stride + count]
        at += 2 * stride
        p2, p3 = points[at : at + count], points[at + stride : at + stride + count]
        for i in range(count):
            d0, d1, d2, d3 = x0 - p0[i], x1 - p1[i], x2 - p2[i], x3 - p3[i]
            out[i] = out[i] + d0 * d0 + d1 * d1 + d2 * d2 + d3 * d3
    for f in range(four, n_features):
        v, column = x[f], points[f * stride + first : f * stride + first + count]
        if metric == _EUCLIDEAN:
            for i in range(count):
                d0 = v - column[i]
                out[i] += d0 * d0
        elif metric == _MANHATTAN:
            for i in range(count):
                out[i] += abs(v - column[i])
        elif metric == _CHEBYSHEV:
            for i in range(count):
                d0 = abs(v - column[i])
                out[i] = d0 if d0 > out[i] else out[i]  # noqa: FURB136  # no NaN here
        else:
            for i in range(count):
                out[i] += math.pow(abs(v - column[i]), p)


@plain
def _push(heap, places, size, value, place):
    """Put a point in the place of the farthest of the heap, where it is nearer: `heap_push`."""
    current = 0
    while True:
        lower = 2 * current + 1
        other = lower + 1
        if lower >= size:
            break
        child = lower
        if other < size and heap[lower] < heap[other]:
            child = other
        if not value < heap[child]:
            break
        heap[current] = heap[child]
        places[current] = places[child]
        current = child
    heap[current] = value
    places[current] = place


@plain
def push_points(heap, places, size, distances, x, points, first, end, metric, p):
    """Put the points first .. end into the heap, where they are nearer than its farthest."""
    for start in range(first, end, LEAF):
        stop = min(start + LEAF, end)
        _add_distances(distances, x, points, len(points) // len(x), start, stop, metric, p)
        for i in range(stop - start):
            if distances[i] < heap[0]:
                _push(heap, places, size, distances[i], start + i)


@plain
def _bound_box(x, node, lower, upper, metric, p, is_exact):
    """The least distance of the row from a box: `min_rdist` of a KDTree; squares instead of pow unless *is_exact*."""
    n_features, total = len(x), 0.0
    at = node * n_features
    for f in range(n_features):
        below, above = lower[at + f] - x[f], x[f] - upper[at + f]
        d = 0.5 * ((below + abs(below)) + (above + abs(above)))
        if metric == _CHEBYSHEV:
            total = d if d > total else total  # noqa: FURB136
        elif metric == _MANHATTAN or d == 0.0:
            total += d
        elif metric == _EUCLIDEAN and not is_exact:
            total += d * d
        else:
            total += math.pow(d, p)
    return total


@plain
def _bound_ball(x, node, centres, radii, metric, p):
    """The least distance of the row from a ball: `min_rdist` of a BallTree."""
    n_features, total = len(x), 0.0
    at = node * n_features
    for f in range(n_features):
        d = abs(x[f] - centres[at + f])
        if metric == _EUCLIDEAN:
            total += d * d
        elif metric == _MANHATTAN:
            total += d
        elif metric == _CHEBYSHEV:
            total = d if d > total else total  # noqa: FURB136
        else:
            total += math.pow(d, p)
    gap = finish_distance(total, metric, 1.0 / p) - radii[node]
    gap = gap if gap > 0.0 else 0.0  # noqa: FURB136
    if metric == _EUCLIDEAN:
        return gap * gap
    return math.pow(gap, p) if metric == _MINKOWSKI else gap


@plain
def finish_distance(value, metric, power):
    """The distance, of what was compared; *power* is 1 / p."""
    if metric == _EUCLIDEAN:
        return math.sqrt(value)
    return math.pow(value, power) if metric == _MINKOWSKI else value


@plain
def _bound_node(x, node, bounds, size, search, metric, p, is_exact):
    if search == _TREE_KD:
        return _bound_box(x, node, bounds[:size], bounds[size:], metric, p, is_exact)
    return _bound_ball(x, node, bounds[:size], bounds[size:], metric, p)


@plain
def _is_close(a, b):
    """Whether another rounding of a bound might turn a comparison; infinite ones are close to nothing."""
    return a != b and abs(a - b) <= CLOSE * min(a, b)


@plain
def search_tree(
    x, points, bounds, heap, places, distances, waiting, stack, size, n_rows, n_nodes, search, metric, p
):  # fmt: skip
    """Fill the heap, the nearer half of each node first: `_query_single_depthfirst`."""
    n_bounds = n_nodes * len(x)
    is_rough = search == _TREE_KD and metric == _EUCLIDEAN
    stack[0], stack[DEEPEST], stack[2 * DEEPEST] = 0, 0, n_rows
    waiting[0] = _bound_node(x, 0, bounds, n_bounds, search, metric, p, False)
    count = 1
    while count > 0:
        count -= 1
        node, first, end, bound = stack[count], stack[DEEPEST + count], stack[2 * DEEPEST + count], waiting[count]
        if is_rough and _is_close(bound, heap[0]):
            bound = _bound_node(x, node, bounds, n_bounds, search, metric, p, True)
        if bound > heap[0]:
            continue
        child = 2 * node + 1
        if child >= n_nodes:
            push_points(heap, places, size, distances, x, points, first, end, metric, p)
            continue
        middle = first + (end - first) // 2
        of_left = _bound_node(x, child, bounds, n_bounds, search, metric, p, False)
        of_right = _bound_node(x, child + 1, bounds, n_bounds, search, metric, p, False)
        is_left = of_left <= of_right
        if is_rough and _is_close(of_left, of_right):
            is_left = _bound_node(x, child, bounds, n_bounds, search, metric, p, True) <= _bound_node(
                x, child + 1, bounds, n_bounds, search, metric, p, True
            )
        later, now = (count, count + 1) if is_left else (count + 1, count)
        stack[later], stack[DEEPEST + later], stack[2 * DEEPEST + later] = child + 1, middle, end
        stack[now], stack[DEEPEST + now], stack[2 * DEEPEST + now] = child, first, middle
        waiting[later], waiting[now] = of_right, of_left
        count += 2


@plain
def select_nearest(x, points, heap, places, distances, chosen, size, n_rows, metric, p, uncertainty):
    """Put the nearest points into the heap, in any order; False where others are as near, up to rounding, or many are.

    As many of the least distances of GROUPS of points as there are neighbours bound the distance of the farthest.
    """
    lows, nearest = distances[MOST_POINTS : MOST_POINTS + GROUPS], distances[MOST_POINTS + GROUPS :]
    n_padded = (n_rows + GROUPS - 1) // GROUPS * GROUPS
    _add_distances(distances, x, points, len(points) // len(x), 0, n_rows, metric, p)
    for i in range(n_rows, n_padded):
        distances[i] = math.inf
    for i in range(GROUPS):
        lows[i] = distances[i]
    for start in range(GROUPS, n_padded, GROUPS):
        group = distances[start : start + GROUPS]
        for i in range(GROUPS):
            lows[i] = group[i] if group[i] < lows[i] else lows[i]  # noqa: FURB136  # it is vectorised
    low, high = 0.0, 0.0
    for i in range(GROUPS):
        high = lows[i] if high < lows[i] < math.inf else high
    for _ in range(HALVINGS):
        middle, count = 0.5 * (low + high), 0
        for i in range(GROUPS):
            count += lows[i] <= middle
        if count >= size:
            high = middle
            if count == size:
                break
        else:
            low = middle
    high = high * (1.0 + 2.0 * NEAR) + 2.0 * uncertainty
    count = 0
    for i in range(n_rows):
        chosen[count], nearest[count] = i, distances[i]
        count += distances[i] <= high
    if not size <= count <= size + GROUPS:  # fewer where distances are infinite
        return False
    removed = math.inf
    while True:
        farthest = 0
        for i in range(1, count):
            farthest = i if nearest[i] > nearest[farthest] else farthest
        if count == size:
            break
        removed = nearest[farthest]
        count -= 1
        nearest[farthest], chosen[farthest] = nearest[count], chosen[count]
    for i in range(size):
        heap[i], places[i] = nearest[i], chosen[i]
    return removed > nearest[farthest] * (1.0 + NEAR) + uncertainty


@plain
def is_uncertain(x, points, heap, places, distances, values, size, n_rows, n_values, tolerance, metric, p):
    """Whether a point that is as near as the farthest neighbour has another value: scikit-learn may take that one."""
    border = heap[0]
    base = places[0]
    n_inside, n_near, differs = 0, 0, False
    for i in range(size):
        if heap[i] >= border - tolerance:
            n_inside += 1
    for start in range(0, n_rows, LEAF):
        stop = min(start + LEAF, n_rows)
        _add_distances(distances, x, points, len(points) // len(x), start, stop, metric, p)
        for i in range(stop - start):
            if abs(distances[i] - border) <= tolerance:
                n_near += 1
                for j in range(n_values):
                    differs |= values[j * n_rows + start + i] != values[j * n_rows + base]
    return differs and n_near > n_inside
