"""The layout of a step that looks for the nearest training rows: KNeighbors and LocalOutlierFactor.

    integers   use, search, metric, neighbours, rows, nodes, outputs, is weighted
    numbers    p, offset | points [features, rows + PADDING] | bounds | values [values, rows]
    bounds     TREE_KD     lower [nodes, features], upper [nodes, features]
               TREE_BALL   centres [nodes, features], radii [nodes]
               BRUTE       the uncertainty of a squared distance: as a part of both squared norms; the largest one
    values     MEAN        targets [outputs, rows]
               CLASSES     the place of the class [1, rows]
               FACTOR      the distance to the k-th neighbour [rows], the local reachability density [rows]

Rows stand in the order of the tree that the file holds, and its nodes halve them: node i is followed by its first
half, 2 i + 1, and its second. Of rows at equal distance scikit-learn takes what its tree meets first, so the kernels
walk the same tree in the same order and compare the same bits: decision 0020. Sources: `_binary_tree.pxi` of
sklearn/neighbors, `_heap.pyx` of sklearn/utils.
"""

from __future__ import annotations

from enum import IntEnum

NEIGHBOUR_INTEGERS, NEIGHBOUR_NUMBERS = 8, 2
USE, SEARCH, METRIC, N_NEIGHBOURS, N_ROWS, N_NODES, N_VALUES, IS_WEIGHTED = range(NEIGHBOUR_INTEGERS)

MOST_NEIGHBOURS = 1024  # of a row; a model that asks for more is scored by its library
WIDEST_ROW = 512  # features
PADDING = 32  # zeros behind the points of each feature: distances are computed for a multiple of so many
LEAF = 128  # points whose distances are computed at once
MOST_POINTS, MOST_SELECTED = 4096, 48  # all distances are computed for as many rows, and as many neighbours at most
GROUPS = 64  # of points whose least distances are compared first
HALVINGS = 12
DEEPEST = 64  # nodes that wait at once: levels of the tree, and one

# Where the parts of the scratch arrays begin, which the caller of the kernels gives.
LEAF_AT, ROW_AT, BOUND_AT = MOST_NEIGHBOURS, MOST_NEIGHBOURS + LEAF, MOST_NEIGHBOURS + LEAF + WIDEST_ROW
POINTS_AT = BOUND_AT + DEEPEST
CHOSEN_AT = MOST_NEIGHBOURS + 3 * DEEPEST
FLOAT_SCRATCH = POINTS_AT + 2 * MOST_POINTS + GROUPS + 1
INTEGER_SCRATCH = CHOSEN_AT + MOST_POINTS + 1

# Rows whose result rounding might change are given to scikit-learn: the kernels make them NaN.
NEAR = 1e-12  # relative difference of sums and scores that another order of adding may turn
SURE = 1e-11  # uncertainty of a squared distance, relative to it, up to which weights by distance are computed
NEAR_UNSURE = 2e-11  # as NEAR, of weights whose distances may be off by so much: two classes may change places
UNDERFLOW = 1e-300  # uncertainty of any squared distance: products below it lose all digits
CLOSE = 1e-14  # relative difference of bounds beyond which x * x and pow(x, 2) agree about their order
FEW = 8  # numbers that NumPy adds from first to last; more have several sums


class Use(IntEnum):
    """What becomes of the neighbours."""

    MEAN = 0
    CLASSES = 1
    FACTOR = 2


class Search(IntEnum):
    """How scikit-learn looks for them."""

    TREE_KD = 0
    TREE_BALL = 1
    BRUTE = 2


class Metric(IntEnum):
    """The distance; while they are compared, EUCLIDEAN ones are squares and MINKOWSKI ones powers."""

    EUCLIDEAN = 0
    MANHATTAN = 1
    CHEBYSHEV = 2
    MINKOWSKI = 3
