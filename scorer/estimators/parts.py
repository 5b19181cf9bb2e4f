"""Makes the parts of estimators that are no estimators, each by code of ours, from values that it checks first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from .checks import tree_checks

_NODES = ("left_child", "right_child", "feature", "threshold", "n_node_samples")  # fields that a path needs
COPIED = frozenset({"sklearn.tree._tree.Tree"})  # parts that copy the arrays they are made of
_WORDS = 624  # of the state of a Mersenne Twister


def make_part(kind: str, state: dict[str, Any]) -> Any:
    """The part of this kind, a PART of the allow-list. Raises ValueError, and any error for values that do not fit."""
    return _MAKERS[kind](state)


def _make_tree(state: dict[str, Any]) -> Any:
    """A tree, with the fields of nodes that the installed release has and older ones had not."""
    from sklearn.tree._tree import Tree

    n_features, n_classes, n_outputs = state["__args__"]
    nodes = state["nodes"]
    values = np.ascontiguousarray(state["values"], np.float64)
    classes = np.atleast_1d(np.asarray(n_classes, np.intp))
    tree_checks.check_tree(n_features, classes, n_outputs, nodes, values, state["node_count"])
    tree = Tree(int(n_features), classes, int(n_outputs))
    kind = _get_node_type()
    if nodes.dtype != kind:
        upgraded = np.zeros(len(nodes), kind)
        for name in kind.names:  # since 1.3 also where missing values go, of which there were none
            if name in nodes.dtype.names or name in _NODES:
                upgraded[name] = nodes[name]
        nodes = upgraded
    tree.__setstate__({**state, "nodes": nodes, "values": values})
    return tree


def _get_node_type() -> Any:
    """The type of a tree's nodes in the installed release."""
    from sklearn.tree._tree import NODE_DTYPE

    return NODE_DTYPE


def _make_predictor(state: dict[str, Any]) -> Any:
    """A tree of HistGradientBoosting, whose nodes are of the type that the installed release has."""
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

    nodes = np.asarray(state["nodes"])
    if nodes.ndim != 1 or set(PREDICTOR_RECORD_DTYPE.names) - set(nodes.dtype.names or ()):
        raise KeyError("fields of the nodes")
    nodes = nodes[list(PREDICTOR_RECORD_DTYPE.names)].astype(PREDICTOR_RECORD_DTYPE, casting="same_kind")
    binned, raw = (np.ascontiguousarray(state[f"{name}_left_cat_bitsets"], np.uint32) for name in ("binned", "raw"))
    tree_checks.check_predictor(nodes, raw)
    return TreePredictor(nodes, binned, raw)


def _make_columns(state: dict[str, Any]) -> list[Any]:
    columns = state["data"]
    if not isinstance(columns, list) or any(type(column) not in (int, bool, str) for column in columns):
        raise ValueError("expected columns as a list of numbers or names")
    return columns


def _make_sparse(state: dict[str, Any]) -> Any:
    from scipy.sparse import csr_matrix

    shape = tuple(int(size) for size in (state["shape"] if "shape" in state else state["_shape"]))
    matrix = csr_matrix((state["data"], state["indices"], state["indptr"]), shape)
    matrix.check_format(full_check=True)
    return matrix


def _make_spline(state: dict[str, Any]) -> Any:
    from scipy.interpolate import BSpline

    knots, coefficients = (state[f"_{name}"] if f"_{name}" in state else state[name] for name in ("t", "c"))
    return BSpline(knots, coefficients, int(state["k"]), state["extrapolate"], int(state["axis"]))


def _make_random_state(state: dict[str, Any]) -> Any:
    random = np.random.RandomState()
    state = state.get("__state__", state)
    position = state["state"]["pos"]
    if type(position) is not int or not 0 <= position <= _WORDS:  # native code reads there
        raise ValueError("a random state that points outside itself")
    random.set_state({name: item for name, item in state.items() if name != "__args__"})
    return random


def _make_slice(state: dict[str, Any]) -> slice:
    bounds = state["__args__"]
    if any(bound is not None and type(bound) is not int for bound in bounds):
        raise ValueError("expected a slice of whole numbers")
    return slice(*bounds)


_MAKERS: Mapping[str, Callable[[dict[str, Any]], Any]] = MappingProxyType(
    {
        "builtins.slice": _make_slice,
        "numpy.random._pickle.__randomstate_ctor": _make_random_state,
        "numpy.random.mtrand.RandomState": _make_random_state,
        "scipy.interpolate._bsplines.BSpline": _make_spline,
        "scipy.sparse._csr.csr_array": _make_sparse,
        "scipy.sparse._csr.csr_matrix": _make_sparse,
        "sklearn.compose._column_transformer._RemainderColsList": _make_columns,
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor": _make_predictor,
        "sklearn.tree._tree.Tree": _make_tree,
    }
)
