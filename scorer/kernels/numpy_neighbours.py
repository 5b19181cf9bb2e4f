"""The nearest training rows of each row, in NumPy alone; the layout is in families/neighbours.py.

All distances are computed, and the least are taken. Where a row has others as near as its farthest neighbour, the tree
is walked as the compiled kernels do, node by node in Python.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from scorer.families.neighbours import (
    FEW,
    IS_WEIGHTED,
    METRIC,
    N_NEIGHBOURS,
    N_NODES,
    N_ROWS,
    N_VALUES,
    NEAR,
    NEAR_UNSURE,
    NEIGHBOUR_NUMBERS,
    PADDING,
    SEARCH,
    SURE,
    UNDERFLOW,
    USE,
    Metric,
    Search,
    Use,
)

_ROWS = 64  # whose distances to all points are held at once


@dataclass(frozen=True, slots=True)
class _Points:
    """The training rows of a step."""

    use: Use
    search: Search
    metric: Metric
    p: float
    size: int  # neighbours of a row
    n_nodes: int
    is_weighted: bool
    offset: float
    points: np.ndarray  # float64[features, rows]
    bounds: np.ndarray
    values: np.ndarray  # float64[values, rows]
    n_outputs: int


def find_neighbours(z: np.ndarray, integers: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """What the neighbours of each row come to, [outputs, rows]; NaN for a row that scikit-learn has to score."""
    points = _read_points(len(z), integers, numbers)
    result = np.full((points.n_outputs, z.shape[1]), np.nan)
    norms = _add_rows(z * z)
    for rows in np.split(np.flatnonzero(norms < np.inf), range(_ROWS, z.shape[1], _ROWS)):
        if len(rows):
            result[:, rows] = _find_block(points, z[:, rows], norms[rows])
    return result


def _read_points(n_features: int, integers: np.ndarray, numbers: np.ndarray) -> _Points:
    use, n_rows = Use(int(integers[USE])), int(integers[N_ROWS])
    n_outputs = 1 if use is Use.FACTOR else int(integers[N_VALUES])
    n_values = {Use.FACTOR: 2, Use.CLASSES: 1, Use.MEAN: n_outputs}[use]
    points_end, values_at = NEIGHBOUR_NUMBERS + (n_rows + PADDING) * n_features, len(numbers) - n_values * n_rows
    return _Points(
        use,
        Search(int(integers[SEARCH])),
        Metric(int(integers[METRIC])),
        float(numbers[0]),
        int(integers[N_NEIGHBOURS]),
        int(integers[N_NODES]),
        bool(integers[IS_WEIGHTED]),
        float(numbers[1]),
        numbers[NEIGHBOUR_NUMBERS:points_end].reshape(n_features, n_rows + PADDING)[:, :n_rows],
        numbers[points_end:values_at],
        numbers[values_at:].reshape(n_values, n_rows),
        n_outputs,
    )


def _find_block(points: _Points, z: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """The results of some rows, [outputs, rows]."""
    distances = _measure(points, z[:, :, None], points.points[:, None, :])
    places = np.argsort(distances, axis=1, kind="stable")[:, : points.size]
    nearest = np.take_along_axis(distances, places, axis=1)
    border, uncertainty = nearest[:, -1], np.zeros(len(norms))
    if points.search is Search.BRUTE and points.metric is Metric.EUCLIDEAN:
        uncertainty = points.bounds[0] * (norms + points.bounds[1]) + UNDERFLOW
    tolerance = NEAR * border + uncertainty
    is_near: np.ndarray = np.abs(distances - border[:, None]) <= tolerance[:, None]
    is_tied: np.ndarray = is_near.sum(axis=1) > (nearest >= (border - tolerance)[:, None]).sum(axis=1)
    is_lost: np.ndarray = np.isinf(border)
    for row in np.flatnonzero(is_tied & ~is_lost).tolist():
        if points.search is Search.BRUTE:
            near = points.values[:, is_near[row]]
            is_lost[row] = bool((near != near[:, :1]).any())
        else:
            nearest[row], places[row] = _search_tree(points, z[:, row])
    result = _use_neighbours(points, _finish(points, nearest), places, uncertainty)
    result[:, is_lost] = np.nan
    return result


def _measure(points: _Points, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distances, while they are compared, of [features, ...]; added in the order of the features."""
    total: np.ndarray = np.zeros(np.broadcast_shapes(x.shape[1:], y.shape[1:]))
    for a, b in zip(x, y, strict=True):
        difference = np.abs(a - b)
        match points.metric:
            case Metric.EUCLIDEAN:
                total += difference * difference
            case Metric.MANHATTAN:
                total += difference
            case Metric.CHEBYSHEV:
                total = np.maximum(total, difference)
            case Metric.MINKOWSKI:
                total += difference**points.p
    return total


def _finish(points: _Points, values: np.ndarray) -> np.ndarray:
    result: np.ndarray = values
    if points.metric is Metric.EUCLIDEAN:
        result = np.sqrt(values)
    elif points.metric is Metric.MINKOWSKI:
        result = values ** (1.0 / points.p)
    return result


def _use_neighbours(points: _Points, distances: np.ndarray, places: np.ndarray, uncertainty: np.ndarray) -> np.ndarray:
    if points.use is Use.FACTOR:
        return _rate_outliers(points, distances, places, uncertainty)[None]
    weights, is_whole = np.ones(distances.shape), np.ones(len(distances), bool)
    if points.is_weighted:
        weights = 1.0 / distances
        is_met = np.isinf(weights)
        is_whole[:] = is_met.any(axis=1)
        weights[is_whole] = is_met[is_whole]
    if points.use is Use.MEAN:
        result = np.zeros((points.n_outputs, len(distances)))
        for place, weight in zip(places.T, weights.T, strict=True):
            result += points.values[:, place] * weight
        result /= _add_rows(weights.T)
    else:
        result = _weigh_classes(points, places, weights, is_whole, uncertainty)
    if points.is_weighted:
        result[:, uncertainty > SURE * distances[:, 0] ** 2] = np.nan
    return result


def _weigh_classes(
    points: _Points, places: np.ndarray, weights: np.ndarray, is_whole: np.ndarray, uncertainty: np.ndarray
) -> np.ndarray:
    """The weight of each class; NaN where two have nearly the same, and an order of adding or a distance decides."""
    result, rows = np.zeros((points.n_outputs, len(places))), np.arange(len(places))
    for place, weight in zip(places.T, weights.T, strict=True):
        result[points.values[0, place].astype(np.int64), rows] += weight
    is_unsure = uncertainty > 0
    if points.size >= FEW or points.metric is Metric.MINKOWSKI or is_unsure.any():
        largest = np.sort(result, axis=0)[-2:]
        tolerance = np.where(is_unsure, NEAR_UNSURE, NEAR)
        result[:, ~is_whole & (largest[1] - largest[0] <= tolerance * largest[1])] = np.nan
    return result


def _rate_outliers(points: _Points, distances: np.ndarray, places: np.ndarray, uncertainty: np.ndarray) -> np.ndarray:
    """The score of a LocalOutlierFactor; NaN where rounding decides about its label, or too much of the score."""
    reach, density = points.values
    squares, other = distances * distances, reach[places]
    high = np.maximum(np.sqrt(squares + uncertainty[:, None]), other)
    low = np.maximum(np.sqrt(np.maximum(squares - uncertainty[:, None], 0)), other)
    own = 1.0 / (np.maximum(distances, other).mean(axis=1) + 1e-10)
    ratios = density[places] / own[:, None]
    score: np.ndarray = -ratios.mean(axis=1) - points.offset
    is_even = (score == 0) & (ratios == 1).all(axis=1)
    is_lost = (uncertainty > 0) & ((high - low).sum(axis=1) > SURE * high.sum(axis=1))
    score[is_lost | ((np.abs(score) < NEAR) & ~is_even)] = np.nan
    return score


def _search_tree(points: _Points, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distances and places of the neighbours of one row, in the order of their distance."""
    heap, places = [math.inf] * points.size, [0] * points.size
    waiting = [(0, 0, points.points.shape[1], _bound_node(points, x.tolist(), 0))]
    row = x.tolist()
    while waiting:
        node, first, end, bound = waiting.pop()
        if bound > heap[0]:
            continue
        child, middle = 2 * node + 1, first + (end - first) // 2
        if child >= points.n_nodes:
            for place in range(first, end):
                distance = _measure_pair(points, row, points.points[:, place].tolist())
                if distance < heap[0]:
                    _push(heap, places, distance, place)
            continue
        halves = [
            (child, first, middle, _bound_node(points, row, child)),
            (child + 1, middle, end, _bound_node(points, row, child + 1)),
        ]
        waiting += halves[::-1] if halves[0][3] <= halves[1][3] else halves
    order = np.argsort(heap, kind="stable")
    return np.array(heap)[order], np.array(places)[order]


def _push(heap: list[float], places: list[int], value: float, place: int) -> None:
    """Put a point in the place of the farthest of the heap."""
    current, size = 0, len(heap)
    while (child := 2 * current + 1) < size:
        if child + 1 < size and heap[child] < heap[child + 1]:
            child += 1
        if not value < heap[child]:
            break
        heap[current], places[current] = heap[child], places[child]
        current = child
    heap[current], places[current] = value, place


def _measure_pair(points: _Points, x: list[float], y: list[float]) -> float:
    total = 0.0
    for a, b in zip(x, y, strict=True):
        difference = abs(a - b)
        match points.metric:
            case Metric.EUCLIDEAN:
                total += difference * difference
            case Metric.MANHATTAN:
                total += difference
            case Metric.CHEBYSHEV:
                total = max(total, difference)
            case Metric.MINKOWSKI:
                total += math.pow(difference, points.p)  # the C library's, unlike NumPy's
    return total


def _bound_node(points: _Points, x: list[float], node: int) -> float:
    """The least distance of a row from a node, while it is compared."""
    size = points.n_nodes * len(x)
    own = slice(node * len(x), (node + 1) * len(x))
    if points.search is Search.TREE_KD:
        return _bound_box(points, x, points.bounds[:size][own].tolist(), points.bounds[size:][own].tolist())
    distance = _measure_pair(points, x, points.bounds[own].tolist())
    if points.metric is Metric.EUCLIDEAN:
        distance = math.sqrt(distance)
    elif points.metric is Metric.MINKOWSKI:
        distance = math.pow(distance, 1.0 / points.p)
    gap = max(0.0, distance - float(points.bounds[size + node]))
    if points.metric is Metric.EUCLIDEAN:
        return gap * gap
    return math.pow(gap, points.p) if points.metric is Metric.MINKOWSKI else gap


def _bound_box(points: _Points, x: list[float], lower: list[float], upper: list[float]) -> float:
    total = 0.0
    for v, low, high in zip(x, lower, upper, strict=True):
        below, above = low - v, v - high
        gap = 0.5 * ((below + abs(below)) + (above + abs(above)))
        if points.metric is Metric.CHEBYSHEV:
            total = max(total, gap)
        else:
            total += math.pow(gap, points.p)
    return total


def _add_rows(numbers: np.ndarray) -> np.ndarray:
    """The sum over the first axis, from first to last."""
    total = np.zeros(numbers.shape[1:])
    for row in numbers:
        total += row
    return total
