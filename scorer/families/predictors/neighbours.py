"""Nearest training rows: KNeighborsRegressor, KNeighborsClassifier, and LocalOutlierFactor for new readings.

Rows come from `_fit_X`. The tree of the file says in which order they stand, and so what scikit-learn takes of rows at
equal distance; what its nodes contain is computed again, so that a file cannot hide rows from the search.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from scorer.families.checks import check_equal, read_array, read_number
from scorer.families.neighbours import MOST_NEIGHBOURS, PADDING, WIDEST_ROW, Metric, Search, Use
from scorer.families.steps import LabelRule, Outputs, Step, StepKind
from scorer.families.trees.ensemble import Link
from scorer.model_files.parsed import ParsedObject
from shared.contract.domain import Task

from .predictor import Predictor, read_classes, read_matrix, read_width

_NUMBERS_LIMIT = 2**21  # of the rows of one model: 16 MiB
_MOST_LEVELS = 32
_LARGEST = 1e150  # beyond, squares are infinite
_ROUNDING = 1e-9
_TREES = {
    "kd_tree": (Search.TREE_KD, "sklearn.neighbors._kd_tree."),
    "ball_tree": (Search.TREE_BALL, "sklearn.neighbors._ball_tree."),
}
_METRICS = {  # and the powers of their differences
    "euclidean": (Metric.EUCLIDEAN, 2.0),
    "l2": (Metric.EUCLIDEAN, 2.0),
    "manhattan": (Metric.MANHATTAN, 1.0),
    "l1": (Metric.MANHATTAN, 1.0),
    "cityblock": (Metric.MANHATTAN, 1.0),
    "chebyshev": (Metric.CHEBYSHEV, 1.0),
}


@dataclass(frozen=True, slots=True)
class _Fitted:
    """The rows of a model and how they are searched."""

    search: Search
    metric: Metric
    p: float
    n_nodes: int
    order: np.ndarray  # int64[rows]
    rows: np.ndarray  # float64[rows, features], in that order
    bounds: np.ndarray

    def build_step(
        self, use: Use, n_neighbours: int, values: np.ndarray, n_columns: int, *, is_weighted: bool, offset: float = 0.0
    ) -> Step:
        """The step that makes *n_columns* of the neighbours' values, [values, rows]."""
        count = len(self.rows)
        if not 0 < n_neighbours <= count:
            raise ValueError(f"{n_neighbours} neighbours of {count} rows")
        head = (use, self.search, self.metric, n_neighbours, count, self.n_nodes, n_columns, int(is_weighted))
        numbers = (
            np.array([self.p, offset]),
            np.pad(self.rows.T, ((0, 0), (0, PADDING))),
            self.bounds,
            values[:, self.order],
        )
        return Step(StepKind.NEIGHBOURS, n_columns, head, numbers)


def read_outlier_factor(state: dict[str, Any]) -> Predictor | None:
    """LocalOutlierFactor with novelty=True: an anomaly where the score is below 0."""
    fitted, n_neighbours = _read_fitted(state), int(state["n_neighbors_"])
    if fitted is None or n_neighbours > MOST_NEIGHBOURS:
        return None
    count = len(fitted.rows)
    if not 0 < n_neighbours < count:
        raise ValueError(f"{n_neighbours} neighbours of {count} rows")
    reach = read_array(state, "_distances_fit_X_", (count, n_neighbours))[:, -1]
    density = read_array(state, "_lrd", (count,))
    values = np.stack([reach, density]).astype(np.float64)
    if not np.isfinite(values).all() or not (values >= 0).all():
        return None
    offset = read_number(state, "offset_")
    step = fitted.build_step(Use.FACTOR, n_neighbours, values, 1, is_weighted=False, offset=offset)
    outputs = Outputs(rule=LabelRule.BELOW_ZERO)
    return Predictor(Task.DETECTOR, fitted.rows.shape[1], [step], outputs)


def read_regressor(state: dict[str, Any]) -> Predictor | None:
    """KNeighborsRegressor: the mean of the neighbours' targets, also weighted by 1 / distance."""
    fitted, n_neighbours = _read_fitted(state), int(state["n_neighbors"])
    weights, targets = state["weights"], state["_y"]
    if fitted is None or n_neighbours > MOST_NEIGHBOURS or not _is_known(weights):
        return None
    is_weighted = weights == "distance"
    if not isinstance(targets, np.ndarray) or targets.dtype.kind not in "fiu" or targets.ndim not in (1, 2):
        return None
    if targets.dtype.kind == "f" and targets.dtype != np.float64 and not is_weighted:
        return None  # whose mean the library takes in their own precision
    columns = read_matrix(state, "_y", (1, 2)).reshape(len(targets), -1)
    check_equal("the number of targets", len(columns), len(fitted.rows))
    n_outputs = columns.shape[1]
    if columns.size > _NUMBERS_LIMIT:
        return None
    step = fitted.build_step(Use.MEAN, n_neighbours, columns.T, n_outputs, is_weighted=is_weighted)
    return Predictor(Task.REGRESSOR, fitted.rows.shape[1], [step], Outputs(count=n_outputs))


def read_classifier(state: dict[str, Any]) -> Predictor | None:
    """KNeighborsClassifier of one output: the share of each class, and the first class of the largest."""
    fitted, n_neighbours = _read_fitted(state), int(state["n_neighbors"])
    if fitted is None or n_neighbours > MOST_NEIGHBOURS or not _is_known(state["weights"]) or state["outputs_2d_"]:
        return None
    labels, n_classes = state["_y"], len(state["classes_"])
    classes = read_classes(state, n_classes)
    if classes is None or not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
        return None
    check_equal("the shape of _y", labels.shape, (len(fitted.rows),))
    if not ((labels >= 0) & (labels < n_classes)).all():
        raise ValueError(f"a label that is not among {n_classes} classes")
    is_weighted = state["weights"] == "distance"
    values = labels.astype(np.float64)[None]
    step = fitted.build_step(Use.CLASSES, n_neighbours, values, n_classes, is_weighted=is_weighted)
    outputs = Outputs(Link.SHARES, LabelRule.LARGEST_TOTAL, count=n_classes)
    width = fitted.rows.shape[1]
    return Predictor(Task.CLASSIFIER, width, [step], outputs, classes, has_probability=True)


def _is_known(weights: Any) -> bool:
    return weights is None or (isinstance(weights, str) and weights in ("uniform", "distance"))


def _read_fitted(state: dict[str, Any]) -> _Fitted | None:
    """The rows and how they are searched; None for metrics and trees of other forms."""
    described = _read_metric(state)
    if described is None or not isinstance(state["_fit_X"], np.ndarray) or state["_fit_X"].ndim != 2:  # noqa: PLR2004  # rows and features
        return None
    metric, p = described
    rows = read_matrix(state, "_fit_X")
    count, n_features = rows.shape
    if rows.size > _NUMBERS_LIMIT or n_features > WIDEST_ROW or np.abs(rows).max() > _LARGEST:
        return None
    read_width(state, n_features)
    check_equal("n_samples_fit_", state.get("n_samples_fit_", count), count)
    method = state["_fit_method"]
    if method == "brute":
        return _read_brute(state["_fit_X"].dtype, rows, metric, p)
    search, kind = _TREES[method]
    read = _read_tree(state["_tree"], kind, rows)
    if read is None:
        return None
    order, n_nodes = read
    rows = rows[order]
    if search is Search.TREE_KD:
        bounds = _bound_boxes(rows, n_nodes)
    else:
        described_balls = _read_balls(state["_tree"].state["__state__"], rows, n_nodes, metric, p)
        if described_balls is None:
            return None
        bounds = described_balls
    return _Fitted(search, metric, p, n_nodes, order, rows, bounds)


def _read_metric(state: dict[str, Any]) -> tuple[Metric, float] | None:
    name, parameters = state["effective_metric_"], state["effective_metric_params_"]
    if not isinstance(name, str) or not isinstance(parameters, dict) or parameters.get("w") is not None:
        return None
    if state["metric"] not in ("minkowski", name):
        raise ValueError(f"metric is {str(state['metric'])[:40]!r} where effective_metric_ is {name[:40]!r}")
    if name == "minkowski" and parameters.keys() <= {"p", "w"}:
        p = read_number(parameters, "p")
        return (Metric.MINKOWSKI, p) if p >= 1 else None
    return _METRICS.get(name) if not parameters.keys() - {"p", "w"} else None


def _read_brute(kind: np.dtype[Any], rows: np.ndarray, metric: Metric, p: float) -> _Fitted | None:
    """Without a tree: what rounding may change, the kernels leave to the library."""
    if kind.kind == "f" and kind != np.float64:
        return None  # computed in part in float32
    n_features = rows.shape[1]
    part = 2 * (n_features + 4) * np.finfo(np.float64).eps
    bounds = np.array([part, (rows * rows).sum(axis=1).max()])
    return _Fitted(Search.BRUTE, metric, p, 1, np.arange(len(rows)), rows, bounds)


def _read_tree(tree: Any, kind: str, rows: np.ndarray) -> tuple[np.ndarray, int] | None:
    """The order of the rows in a tree, int64[rows], and its number of nodes; None where it is not of these rows."""
    if type(tree) is not ParsedObject or not tree.kind.startswith(kind):
        return None
    content = tree.state["__state__"]
    data, order, nodes = content[:3]
    if not all(isinstance(part, np.ndarray) for part in (data, order, nodes)) or any(content[12:]):
        return None  # rows with weights
    if data.shape != rows.shape or not (data == rows).all():
        return None
    if order.shape != (len(rows),) or order.dtype.kind not in "iu":
        return None
    n_nodes = len(nodes)
    n_levels = n_nodes.bit_length()
    if n_nodes != 2**n_levels - 1 or n_levels > _MOST_LEVELS or len(rows) < 2 ** (n_levels - 1):
        return None
    order = order.astype(np.int64)
    if not (np.sort(order) == np.arange(len(rows))).all():
        raise ValueError("idx_array does not name each row once")
    return order, n_nodes


def _list_nodes(count: int, n_nodes: int) -> list[tuple[int, int]]:
    """The first row of each node and the end of its rows: halves, as the kernels walk them."""
    nodes = [(0, count)]
    for node in range(n_nodes // 2):
        first, end = nodes[node]
        middle = first + (end - first) // 2
        nodes += [(first, middle), (middle, end)]
    return nodes


def _bound_boxes(rows: np.ndarray, n_nodes: int) -> np.ndarray:
    """The least and the largest numbers in each node of a KDTree."""
    starts = [first for first, _ in _list_nodes(len(rows), n_nodes)[n_nodes // 2 :]]
    return np.stack([_join_leaves(extreme, rows, starts) for extreme in (np.minimum, np.maximum)])


def _join_leaves(extreme: np.ufunc, rows: np.ndarray, starts: list[int]) -> np.ndarray:
    """The extremes of each node, from those of the leaves upwards."""
    levels = [extreme.reduceat(rows, starts, axis=0)]
    while len(levels[-1]) > 1:
        levels.append(extreme(levels[-1][::2], levels[-1][1::2]))
    return np.concatenate(levels[::-1])


def _read_balls(tree: Any, rows: np.ndarray, n_nodes: int, metric: Metric, p: float) -> np.ndarray | None:
    """The centres and radii of a BallTree; None where they are not those of its rows.

    Their last bits decide where the search goes first, and follow from an order of the rows that no file holds.
    """
    centres, radii = tree[3], tree[2]["radius"]
    if not isinstance(centres, np.ndarray) or centres.shape != (1, n_nodes, rows.shape[1]) or centres.dtype.kind != "f":
        return None
    scale = np.abs(rows).max()
    for node, (first, end) in enumerate(_list_nodes(len(rows), n_nodes)):
        part = rows[first:end]
        centre = centres[0, node].astype(np.float64)
        radius = _measure_radius(part, centre, metric, p)
        is_near = np.abs(centre - part.mean(axis=0)).max() <= _ROUNDING * scale
        if not is_near or not abs(radii[node] - radius) <= _ROUNDING * (scale + radius):
            return None
    return np.concatenate([centres.ravel(), radii]).astype(np.float64)


def _measure_radius(rows: np.ndarray, centre: np.ndarray, metric: Metric, p: float) -> float:
    differences = np.abs(rows - centre).T
    if metric is Metric.CHEBYSHEV:
        return float(differences.max())
    if metric is Metric.MINKOWSKI:  # the C library's powers, unlike NumPy's
        sums = [sum(math.pow(item, p) for item in row) for row in differences.T.tolist()]
        return math.pow(max(sums), 1.0 / p)
    powers = differences * differences if metric is Metric.EUCLIDEAN else differences
    largest = float(np.add.accumulate(powers, axis=0)[-1].max())
    return math.sqrt(largest) if metric is Metric.EUCLIDEAN else largest
