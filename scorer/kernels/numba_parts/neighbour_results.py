# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, misc, attr-defined"
# ruff: noqa: ANN001, ANN201, ANN202, C901
# The reason for both lines: see numba_backend.
"""What the nearest rows of a row come to: a mean, a weight for each class, the score of a LocalOutlierFactor."""

from __future__ import annotations

import math

from scorer.families.neighbours import (
    BOUND_AT,
    CHOSEN_AT,
    FEW,
    IS_WEIGHTED,
    LEAF_AT,
    METRIC,
    MOST_NEIGHBOURS,
    MOST_POINTS,
    MOST_SELECTED,
    N_NEIGHBOURS,
    N_NODES,
    N_ROWS,
    N_VALUES,
    NEAR,
    NEAR_UNSURE,
    NEIGHBOUR_NUMBERS,
    PADDING,
    POINTS_AT,
    ROW_AT,
    SEARCH,
    SURE,
    UNDERFLOW,
    USE,
    Metric,
    Search,
    Use,
)
from scorer.kernels.numba_arithmetic import plain

from .neighbour_search import finish_distance, is_uncertain, push_points, search_tree, select_nearest

_EUCLIDEAN, _MINKOWSKI, _BRUTE = int(Metric.EUCLIDEAN), int(Metric.MINKOWSKI), int(Search.BRUTE)
_MEAN, _CLASSES, _FACTOR = (int(use) for use in Use)


@plain
def _add_pairwise(numbers, count):
    """The sum as NumPy adds up to 128 numbers."""
    total = 0.0
    eights = count - count % 8 if count >= FEW else 0
    if eights:
        a, b, c, d = numbers[0], numbers[1], numbers[2], numbers[3]
        e, f, g, h = numbers[4], numbers[5], numbers[6], numbers[7]
        for i in range(8, eights, 8):
            a += numbers[i]
            b += numbers[i + 1]
            c += numbers[i + 2]
            d += numbers[i + 3]
            e += numbers[i + 4]
            f += numbers[i + 5]
            g += numbers[i + 6]
            h += numbers[i + 7]
        total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for i in range(eights, count):
        total += numbers[i]
    return total


@plain
def _sort_neighbours(heap, places, size):
    """By distance; there are few."""
    for i in range(1, size):
        value, place, at = heap[i], places[i], i
        while at > 0 and heap[at - 1] > value:
            heap[at], places[at] = heap[at - 1], places[at - 1]
            at -= 1
        heap[at], places[at] = value, place


@plain
def _rate_outlier(heap, places, values, size, n_rows, offset, uncertainty):
    """The score of a LocalOutlierFactor; NaN where rounding decides about its label, or too much of the score."""
    reach, density = values[:n_rows], values[n_rows:]
    doubt, spread = 0.0, 0.0
    for i in range(size):
        distance, other = heap[i], reach[places[i]]
        if uncertainty > 0.0:
            square = distance * distance
            high = max(math.sqrt(square + uncertainty), other)
            spread += high - max(math.sqrt(max(square - uncertainty, 0.0)), other)
            doubt += high
        heap[i] = max(distance, other)
    own = 1.0 / (_add_pairwise(heap, size) / size + 1e-10)
    is_even = True
    for i in range(size):
        heap[i] = density[places[i]] / own
        is_even &= heap[i] == 1.0
    score = -(_add_pairwise(heap, size) / size) - offset
    if spread > SURE * doubt or (abs(score) < NEAR and not (score == 0.0 and is_even)):
        return math.nan
    return score


@plain
def _weigh_neighbours(heap, size, is_weighted):
    """Turn distances into weights: 1, or 1 / distance; where some are 0 these have 1, the others 0."""
    is_met = False
    for i in range(size):
        heap[i] = 1.0 / heap[i] if is_weighted else 1.0
        is_met |= heap[i] == math.inf
    if is_met:
        for i in range(size):
            heap[i] = 1.0 if heap[i] == math.inf else 0.0
    return is_met or not is_weighted


@plain
def _use_neighbours(out, r, heap, places, values, integers, offset, uncertainty):
    use, size, n_rows, n_values = integers[USE], integers[N_NEIGHBOURS], integers[N_ROWS], integers[N_VALUES]
    if use == _FACTOR:
        out[0, r] = _rate_outlier(heap, places, values, size, n_rows, offset, uncertainty)
        return
    is_weighted = integers[IS_WEIGHTED] != 0
    if is_weighted:
        _sort_neighbours(heap, places, size)
    if is_weighted and uncertainty > SURE * heap[0] * heap[0]:
        out[0, r] = math.nan
        return
    is_whole = _weigh_neighbours(heap, size, is_weighted)
    for j in range(n_values):
        out[j, r] = 0.0
    if use == _MEAN:
        weight = 0.0
        for i in range(size):
            weight += heap[i]
            for j in range(n_values):
                out[j, r] += heap[i] * values[j * n_rows + places[i]]
        for j in range(n_values):
            out[j, r] /= weight
        return
    for i in range(size):
        out[int(values[places[i]]), r] += heap[i]
    if not is_whole and (size >= FEW or integers[METRIC] == _MINKOWSKI or uncertainty > 0.0):
        _doubt_label(out, r, n_values, NEAR_UNSURE if uncertainty > 0.0 else NEAR)


@plain
def _doubt_label(out, r, n_classes, tolerance):
    """NaN for a row of which two classes have nearly the same weight."""
    best = 0
    for j in range(1, n_classes):
        if out[j, r] > out[best, r]:
            best = j
    for j in range(n_classes):
        if j != best and out[best, r] - out[j, r] <= tolerance * out[best, r]:
            out[best, r] = math.nan
            return


@plain
def find_neighbours(out, z, integers, numbers, floats, places, n_new, n_padded):
    """out[value, row] = what the row's neighbours come to; NaN for a row that scikit-learn itself has to score."""
    n_features, size, n_rows, n_nodes = len(z), integers[N_NEIGHBOURS], integers[N_ROWS], integers[N_NODES]
    search, metric, p = integers[SEARCH], integers[METRIC], numbers[0]
    n_outputs = 1 if integers[USE] == _FACTOR else integers[N_VALUES]
    n_values = 2 if integers[USE] == _FACTOR else 1 if integers[USE] == _CLASSES else n_outputs
    values_at = len(numbers) - n_values * n_rows
    bounds_at = NEIGHBOUR_NUMBERS + (n_rows + PADDING) * n_features
    points, bounds, values = numbers[NEIGHBOUR_NUMBERS:bounds_at], numbers[bounds_at:values_at], numbers[values_at:]
    heap, distances, x = floats[:size], floats[LEAF_AT:ROW_AT], floats[ROW_AT : ROW_AT + n_features]
    waiting, all_distances, stack = floats[BOUND_AT:POINTS_AT], floats[POINTS_AT:], places[MOST_NEIGHBOURS:]
    is_small = n_rows <= MOST_POINTS and size <= MOST_SELECTED
    for r in range(n_padded):
        for j in range(n_outputs):
            out[j, r] = math.nan
    for r in range(n_new):
        norm = 0.0
        for f in range(n_features):
            x[f] = z[f, r]
            norm += x[f] * x[f]
        if not norm < math.inf:  # not finite, or so large that distances are not
            continue
        uncertainty = 0.0
        if search == _BRUTE and metric == _EUCLIDEAN:
            uncertainty = bounds[0] * (norm + bounds[1]) + UNDERFLOW
        is_sure = is_small and select_nearest(
            x, points, heap, places, all_distances, places[CHOSEN_AT:], size, n_rows, metric, p, uncertainty
        )
        for i in range(0 if is_sure else size):
            heap[i], places[i] = math.inf, 0
        if not is_sure and search == _BRUTE:
            push_points(heap, places, size, distances, x, points, 0, n_rows, metric, p)
            tolerance = NEAR * heap[0] + uncertainty
            if is_uncertain(
                x, points, heap, places, distances, values, size, n_rows, n_values, tolerance, metric, p
            ):  # fmt: skip
                continue
        elif not is_sure:
            search_tree(
                x, points, bounds, heap, places, distances, waiting, stack, size, n_rows, n_nodes, search, metric, p
            )  # fmt: skip
        if heap[0] == math.inf:  # powers of a high degree
            continue
        for i in range(size):
            heap[i] = finish_distance(heap[i], metric, 1.0 / p)
        _use_neighbours(out, r, heap, places, values, integers, numbers[1], uncertainty)
