"""Makes objects of what a model file holds, by the allow-list. Only for a process in the sandbox, or `convert`.

No constructor, method or function that a file names is called with arguments of the file, but for the few makers of
parts here, which check what they are given. Whatever scoring does not need becomes None.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from scorer.errors import Unscorable
from scorer.model_files.allowlist import SEARCHES, USES, Use
from scorer.model_files.parsed import Global, ObjectArray, ParsedObject
from shared.contract.reasons import Reason

_TRANSFORMER = "sklearn.preprocessing._function_transformer.FunctionTransformer"
_FUNCTIONS, _ARGUMENTS = ("func", "inverse_func"), ("kw_args", "inv_kw_args")
# Attributes with a column for each feature; estimators before 0.24 do not say how many they expect.
_WIDE = ("support_vectors_", "mean_", "scale_", "center_", "components_", "_fit_X")
_NODES = ("left_child", "right_child", "feature", "threshold", "n_node_samples")  # fields that a path needs
_WORDS = 624  # of the state of a Mersenne Twister
_SEARCH_TREES = {"kd_tree": "KDTree", "ball_tree": "BallTree"}


def build_estimator(model: ParsedObject) -> Any:
    """The estimator that a file describes, with the attributes that the installed release expects.

    Raises Unscorable (UNSUPPORTED_MODEL), and any error for a file whose parts do not fit.
    """
    return _Builder().build_value(model)


class _Builder:
    """Builds the values of one file. What the file holds once and uses twice is built once."""

    def __init__(self) -> None:
        self._built: dict[int, tuple[Any, Any]] = {}  # by identity; with the original, so that it stays alive

    def build_value(self, value: Any) -> Any:
        if type(value) not in _CONTAINERS:
            return _own_array(value) if isinstance(value, np.ndarray) else value
        if id(value) not in self._built:
            self._built[id(value)] = (value, None)  # what holds itself holds None there
            self._built[id(value)] = (value, self._build_container(value))
        return self._built[id(value)][1]

    def _build_container(self, value: Any) -> Any:
        match value:
            case ParsedObject():
                return self._build_object(value)
            case Global():
                return _get_type(value)
            case ObjectArray():
                return _make_object_array([self.build_value(item) for item in value], value.shape)
            case dict():
                return {key: self.build_value(item) for key, item in value.items()}
            case list():
                return [self.build_value(item) for item in value]
        return tuple([self.build_value(item) for item in value])

    def _build_object(self, parsed: ParsedObject) -> Any:
        if parsed.kind in SEARCHES:  # as a step: it does what its best estimator does
            return self.build_value(parsed.state["best_estimator_"])
        match USES[parsed.kind]:
            case Use.ESTIMATOR:
                return self._build_estimator(parsed)
            case Use.PART:
                state = {name: self.build_value(item) for name, item in parsed.state.items()}
                return _MAKERS[parsed.kind](state)
            case Use.UNUSED:
                return None
        raise ValueError(f"expected an object, got a call of {parsed.kind}")

    def _build_estimator(self, parsed: ParsedObject) -> Any:
        module, _, name = parsed.kind.rpartition(".")
        kind = getattr(importlib.import_module(module), name)
        state = {
            attribute: _get_function(item) if _is_function(parsed, attribute, item) else self.build_value(item)
            for attribute, item in parsed.state.items()
            if attribute != "__args__" and not _is_unused(item)
        }
        state.pop("_sklearn_version", None)
        estimator = kind.__new__(kind)
        vars(estimator).update(_complete_state(kind, state))
        return estimator


_CONTAINERS = (ParsedObject, Global, ObjectArray, dict, list, tuple)


def _is_unused(value: Any) -> bool:
    return type(value) is ParsedObject and USES[value.kind] is Use.UNUSED and value.kind not in SEARCHES


def _is_function(parsed: ParsedObject, attribute: str, value: Any) -> bool:
    """Whether a value is a function, at the only place where one may be. Raises Unscorable for any other place."""
    if parsed.kind == _TRANSFORMER and attribute in _ARGUMENTS and value:
        raise Unscorable(
            Reason.UNSUPPORTED_MODEL, f"expected a FunctionTransformer without {attribute}, got one with it"
        )
    if type(value) is not Global or USES[value.name] is not Use.FUNCTION:
        return False
    if parsed.kind != _TRANSFORMER or attribute not in _FUNCTIONS:
        message = f"expected no function but that of a FunctionTransformer, got {value.name} as {attribute[:40]}"
        raise Unscorable(Reason.UNSUPPORTED_MODEL, message)
    return True


def _get_function(token: Global) -> Any:
    assert USES[token.name] is Use.FUNCTION
    return getattr(np, token.name.rpartition(".")[2])


def _get_type(token: Global) -> Any:
    """The value of a name: a type of numbers; None for what scoring does not use."""
    if USES[token.name] is Use.TYPE:
        return np.dtype(token.name.rpartition(".")[2].rstrip("_")).type
    if USES[token.name] is Use.FUNCTION:
        raise Unscorable(
            Reason.UNSUPPORTED_MODEL, f"expected no function but that of a FunctionTransformer, got {token.name}"
        )
    return None


def _own_array(array: np.ndarray) -> np.ndarray:
    """A copy in the machine's order of bytes, which may be written to: native code expects both."""
    return np.array(array, array.dtype.newbyteorder("="), order="K", copy=True)


def _make_object_array(items: list[Any], shape: Any) -> np.ndarray:
    array = np.empty(len(items), object)
    array[:] = [None] * len(items)
    for index, item in enumerate(items):
        array[index] = item
    return array.reshape(shape)


def _make_tree(state: dict[str, Any]) -> Any:
    """A tree, with the fields of nodes that the installed release has and older ones had not."""
    from sklearn.tree._tree import Tree

    n_features, n_classes, n_outputs = state.pop("__args__")
    nodes = state["nodes"]
    # Native code trusts these: it reads as many classes as outputs, and as many nodes as the count says.
    if (n_outputs, np.shape(n_classes)) != (1, (1,)) or state["node_count"] != len(nodes):
        raise ValueError("a tree with other outputs than one, or of another number of nodes than it says")
    tree = Tree(n_features, np.asarray(n_classes, np.intp), n_outputs)
    kind = tree.__getstate__()["nodes"].dtype
    if nodes.dtype != kind:
        upgraded = np.zeros(len(nodes), kind)
        for name in kind.names:  # since 1.3 also where missing values go, of which there were none
            if name in nodes.dtype.names or name in _NODES:
                upgraded[name] = nodes[name]
        state["nodes"] = upgraded
    tree.__setstate__({**state, "values": np.ascontiguousarray(state["values"], np.float64)})
    return tree


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
        "sklearn.tree._tree.Tree": _make_tree,
    }
)


def _complete_state(kind: type, state: dict[str, Any]) -> dict[str, Any]:
    """The attributes of an estimator, with those that older releases did not have or that are made again."""
    for name, parameter in inspect.signature(kind.__init__).parameters.items():  # type: ignore[misc]
        if name != "self" and parameter.default is not parameter.empty:
            state.setdefault(name, parameter.default)
    if "support_vectors_" in state and ("_n_support" not in state or hasattr(state["support_vectors_"], "indptr")):
        # New in 0.22; of sparse vectors some releases wrote another number, which no prediction reads.
        state["_n_support"] = np.array([state["support_vectors_"].shape[0], 0], np.int32)
        state.pop("n_support_", None)  # a property now; the old value was read outside its memory
    if "support_vectors_" in state:
        for name in ("_probA", "_probB"):  # of classifiers; read all the same
            state.setdefault(name, np.empty(0))
        state.setdefault("offset_", -state["_intercept_"])
    if "_fit_method" in state:
        state["_tree"] = _make_search_tree(state)
        state.setdefault("n_samples_fit_", len(state["_fit_X"]))
    if "n_features_" in state:
        state.setdefault("n_features_in_", state.pop("n_features_"))
    arrays = [np.asarray(state[name]) for name in _WIDE if isinstance(state.get(name), np.ndarray)]
    if arrays and arrays[0].ndim and any(name.endswith("_") for name in state):
        state.setdefault("n_features_in_", arrays[0].shape[-1])
    return state


def _make_search_tree(state: dict[str, Any]) -> Any:
    """The tree of neighbours, built again from the rows and the metric: the file's own would have to be trusted."""
    import sklearn.neighbors

    if state["_fit_method"] not in _SEARCH_TREES:
        return None
    tree = getattr(sklearn.neighbors, _SEARCH_TREES[state["_fit_method"]])
    parameters = state["effective_metric_params_"]
    return tree(state["_fit_X"], state["leaf_size"], metric=state["effective_metric_"], **parameters)
