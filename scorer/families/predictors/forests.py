"""scikit-learn's trees: single ones, forests, boosted trees of both kinds, and AdaBoost over trees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from scorer.families.checks import read_array, read_number, read_release
from scorer.families.steps import LabelRule, Outputs, Step, StepKind
from scorer.families.trees.ensemble import MOST_NODES, Ensemble, Link, NodeKind, Trees, check_trees
from scorer.families.trees.nodes import join_gap_sides, join_nodes
from scorer.families.trees.packing import build_trees_step
from scorer.model_files.parsed import ParsedObject
from shared.contract.domain import Task

from .predictor import Predictor, read_classes

VALUES_LIMIT = 2**23  # numbers in the leaves of one model: 64 MiB
# Trees whose predictions are sorted for each row. At most BLOCK of kernels/batch.py: numba_steps.py sorts them
# in an array of so many places, and native code does not see where it ends.
MEDIAN_LIMIT = 128
_TREE_REGRESSORS = ("DecisionTreeRegressor", "ExtraTreeRegressor")
_TREE_CLASSIFIERS = ("DecisionTreeClassifier", "ExtraTreeClassifier")
_BINARY = 2
_SAMME_SINCE = (1, 6)  # the first release whose default algorithm of AdaBoost is SAMME


def read_tree_regressor(state: dict[str, Any]) -> Predictor | None:
    """A single tree, which is a forest of one."""
    return _read_forest_regressor([state], state)


def read_forest_regressor(state: dict[str, Any]) -> Predictor | None:
    """RandomForestRegressor and ExtraTreesRegressor: the mean of the trees, summed in their order."""
    return _read_forest_regressor(_list_states(state), state)


def _read_forest_regressor(trees: Sequence[dict[str, Any]], state: dict[str, Any]) -> Predictor | None:
    n_outputs = int(state["n_outputs_"])
    joined = _join_trees(trees, _read_n_features(state), n_outputs)
    if joined is None or any(tree["tree_"].state["values"].shape[2:] != (1,) for tree in trees):
        return None
    start = np.zeros(n_outputs)
    return _build_predictor(Task.REGRESSOR, state, joined, start, Outputs(count=n_outputs), divisor=float(len(trees)))


def read_tree_classifier(state: dict[str, Any]) -> Predictor | None:
    """A single tree, which is a forest of one."""
    return _read_forest_classifier([state], state)


def read_forest_classifier(state: dict[str, Any]) -> Predictor | None:
    """RandomForestClassifier and ExtraTreesClassifier: the mean of the trees' shares, and the first largest."""
    return _read_forest_classifier(_list_states(state), state)


def _read_forest_classifier(trees: Sequence[dict[str, Any]], state: dict[str, Any]) -> Predictor | None:
    if int(state["n_outputs_"]) != 1:
        return None
    n_classes = int(state["n_classes_"])
    classes = read_classes(state, n_classes)
    joined = _join_trees(trees, _read_n_features(state), n_classes, is_shared=True) if classes else None
    if classes is None or joined is None:
        return None
    outputs = Outputs(rule=LabelRule.FIRST_LARGEST, count=n_classes)
    start, divisor = np.zeros(n_classes), float(len(trees))
    return _build_predictor(Task.CLASSIFIER, state, joined, start, outputs, classes, divisor=divisor)


def read_boosting_regressor(state: dict[str, Any]) -> Predictor | None:
    """GradientBoostingRegressor: the first guess, and learning_rate * leaf of each tree."""
    start = _read_first_guess(state)
    if start is None or len(start) != 1:
        return None
    return _read_boosting(state, start, Task.REGRESSOR, Outputs(), ())


def read_boosting_classifier(state: dict[str, Any]) -> Predictor | None:
    """GradientBoostingClassifier: the second of two classes where the total is 0 or above, or the first largest."""
    classes = state["classes_"]
    if not isinstance(classes, np.ndarray | list):
        return None
    values = read_classes(state, len(classes))
    shares = _read_first_guess(state)
    if values is None or shares is None:
        return None
    if isinstance(state["init_"], str):
        start = np.zeros(1 if len(values) == _BINARY else len(values))
    else:
        start = _link_shares(shares, is_exponential=state.get("loss") == "exponential")
    if len(start) != (1 if len(values) == _BINARY else len(values)):
        raise ValueError(f"its first guess has {len(start)} numbers for {len(values)} classes")
    if len(start) == 1:
        parameter = 2.0 if state.get("loss") == "exponential" else 1.0
        outputs = Outputs(Link.SIGMOID, LabelRule.FROM_ZERO, parameter, _BINARY)
    else:
        outputs = Outputs(Link.SOFTMAX, LabelRule.LARGEST_TOTAL, count=len(values))
    return _read_boosting(state, start, Task.CLASSIFIER, outputs, values)


def _read_boosting(
    state: dict[str, Any], start: np.ndarray, task: Task, outputs: Outputs, classes: Sequence[Any]
) -> Predictor | None:
    estimators = state["estimators_"]
    shape: tuple[int, ...] = getattr(estimators, "shape", ())
    if len(shape) != 2 or shape[1] != len(start):  # noqa: PLR2004  # stages and totals
        raise ValueError(f"estimators_ is {shape} for {len(start)} totals")
    items = list(np.ravel(np.array(estimators, dtype=object)))
    if any(type(item) is not ParsedObject or not item.kind.endswith(".DecisionTreeRegressor") for item in items):
        raise ValueError("expected stages of DecisionTreeRegressor")
    trees = [_get_state(item) for item in items]
    joined = _join_trees(trees, _read_n_features(state), 1, is_vector=False)
    if joined is None:
        return None
    rate = read_number(state, "learning_rate")
    output = np.tile(np.arange(len(start), dtype=np.int32), shape[0])
    boosted = _replace_values(joined, rate * joined.values, output)
    return _build_predictor(task, state, boosted, start, outputs, classes)


def _read_first_guess(state: dict[str, Any]) -> np.ndarray | None:
    """What a boosting starts with: zero, a constant, or the shares of classes; None for another estimator."""
    init = state["init_"]
    if init == "zero":
        return np.zeros(1)
    if type(init) is not ParsedObject:
        return None
    strategy = init.state.get("strategy")
    if init.kind == "sklearn.dummy.DummyRegressor":
        return np.ravel(read_array(init.state, "constant_", (1, 1))).astype(np.float64)
    if init.kind == "sklearn.dummy.DummyClassifier" and strategy == "prior":
        shares = init.state["class_prior_"]
        return read_array(init.state, "class_prior_", np.shape(shares)).astype(np.float64)
    return None


def _link_shares(shares: np.ndarray, *, is_exponential: bool) -> np.ndarray:
    """The totals that shares of classes are: as scikit-learn's links LogitLink, HalfLogitLink and MultinomialLogit."""
    epsilon = np.finfo(np.float64).eps
    shares = np.clip(shares, epsilon, 1 - epsilon)
    if len(shares) == _BINARY:
        logit = compute_logit(float(shares[1]))
        return np.array([0.5 * logit if is_exponential else logit])
    mean = np.exp(np.average(np.log(shares)))
    totals: np.ndarray = np.log(shares / mean)
    return totals


def compute_logit(share: float) -> float:
    """log(p / (1 - p)) to the bit as SciPy computes it (xsf's logit): near 1/2 by log1p."""
    if 0.3 <= share <= 0.65:  # noqa: PLR2004  # xsf/log_exp.h
        shifted = 2.0 * (share - 0.5)
        return math.log1p(shifted) - math.log1p(-shifted)
    return math.log(share / (1.0 - share))


def read_ada_classifier(state: dict[str, Any]) -> Predictor | None:
    """AdaBoostClassifier (SAMME) over trees: each adds its weight to its class and takes a share from the others.

    Of two classes the totals are one number and its opposite; the second is the label where it is above 0.
    SAMME.R, which 1.6 removed, is not packed: estimators/completion.py refuses it.
    """
    trees = _list_states(state)
    n_classes = int(state["n_classes_"])
    classes = read_classes(state, n_classes)
    kinds = {item.kind.rpartition(".")[2] for item in state["estimators_"]}
    release = read_release(state)
    is_old = release is not None and release < _SAMME_SINCE
    is_real = state.get("algorithm", "SAMME.R" if is_old else "SAMME") == "SAMME.R"
    if classes is None or is_real or not kinds <= set(_TREE_CLASSIFIERS):
        return None
    if any(tree.get("n_outputs_") != 1 or tree.get("n_classes_") != n_classes for tree in trees):
        return None
    weights = read_array(state, "estimator_weights_", np.shape(state["estimator_weights_"])).astype(np.float64)
    joined = _join_trees(trees, _read_n_features(state), n_classes, is_shared=True)
    if joined is None or weights.ndim != 1 or len(weights) < len(trees):
        return None
    sizes = np.diff(joined.roots, append=len(joined.feature))
    weight = np.repeat(weights[: len(trees)], sizes)
    chosen = joined.values.argmax(axis=1)
    divisor = float(weights.sum())
    if not math.isfinite(divisor) or divisor <= 0:
        raise ValueError("estimator_weights_ do not come to a number above 0")
    if n_classes == _BINARY:
        values = np.where(chosen == 1, weight, -weight)[:, None]
        output = np.zeros(len(trees), np.int32)
        outputs, start = Outputs(Link.SIGMOID, LabelRule.ABOVE_ZERO, 2.0, _BINARY), np.zeros(1)
    else:
        rest = -1 / (n_classes - 1) * weight
        values = np.where(np.arange(n_classes) == chosen[:, None], weight[:, None], rest[:, None])
        output = np.full(len(trees), -1, np.int32)
        outputs = Outputs(Link.SOFTMAX, LabelRule.LARGEST_TOTAL, 1 / (n_classes - 1), n_classes)
        start = np.zeros(n_classes)
    values = np.where(joined.feature[:, None] < 0, values, 0.0)
    voted = _replace_values(joined, values, output)
    return _build_predictor(Task.CLASSIFIER, state, voted, start, outputs, classes, divisor=divisor)


def read_ada_regressor(state: dict[str, Any]) -> Predictor | None:
    """AdaBoostRegressor over trees: the weighted median of what they predict."""
    trees, kinds = _list_states(state), {item.kind.rpartition(".")[2] for item in state["estimators_"]}
    weights = read_array(state, "estimator_weights_", np.shape(state["estimator_weights_"])).astype(np.float64)
    n_features = _read_n_features(state)
    if not kinds <= set(_TREE_REGRESSORS) or len(trees) > MEDIAN_LIMIT:
        return None
    joined = _join_trees(trees, n_features, 1)
    if joined is None or weights.ndim != 1 or len(weights) < len(trees) or not np.isfinite(weights).all():
        return None
    own = _replace_values(joined, joined.values, np.arange(len(trees), dtype=np.int32))
    ensemble = Ensemble(own, n_features, np.zeros(len(trees)), Link.IDENTITY, rounds_input=True)
    check_trees(ensemble)
    median = Step(StepKind.MEDIAN, 1, (), (weights[: len(trees)],))
    steps = [Step(StepKind.ROUND, n_features), build_trees_step(ensemble), median]
    return Predictor(Task.REGRESSOR, n_features, steps, Outputs())


def _build_predictor(
    task: Task,
    state: dict[str, Any],
    trees: Trees,
    start: np.ndarray,
    outputs: Outputs,
    classes: Sequence[Any] = (),
    *,
    divisor: float = 1.0,
) -> Predictor:
    n_features = _read_n_features(state)
    ensemble = Ensemble(trees, n_features, start, outputs.link, divisor, rounds_input=True)
    check_trees(ensemble)
    steps = [Step(StepKind.ROUND, n_features), build_trees_step(ensemble)]
    return Predictor(task, n_features, steps, outputs, classes, has_probability=bool(classes))


def _read_n_features(state: dict[str, Any]) -> int:
    return int(state["n_features_in_"] if "n_features_in_" in state else state["n_features_"])


def _check_shapes(states: Sequence[dict[str, Any]], n_features: int) -> None:
    """Raise ValueError where a tree says that it has other features, or is made for other numbers of values."""
    for state in states:
        of_tree, n_classes, n_outputs = state["tree_"].state["__args__"]
        if _read_n_features(state) != n_features or int(of_tree) != n_features:
            raise ValueError(f"a tree of {of_tree} features in a model of {n_features}")
        if np.shape(n_classes) != (n_outputs,):
            raise ValueError(f"a tree of {n_outputs} outputs with {np.shape(n_classes)} classes")


def _list_states(state: dict[str, Any]) -> list[dict[str, Any]]:
    estimators = state["estimators_"]
    if not isinstance(estimators, list) or not estimators:
        raise ValueError("estimators_ holds no trees")
    return [_get_state(item) for item in estimators]


def _get_state(item: Any) -> dict[str, Any]:
    if type(item) is not ParsedObject or type(item.state.get("tree_")) is not ParsedObject:
        raise ValueError("estimators_ holds what is no tree")
    return item.state


def _join_trees(
    states: Sequence[dict[str, Any]], n_features: int, width: int, *, is_shared: bool = False, is_vector: bool = True
) -> Trees | None:
    """The nodes of all trees; None where they are too many to pack. *is_shared*: values are divided by their sums.

    Raises KeyError, ValueError for nodes of other types or numbers than scikit-learn's.
    """
    _check_shapes(states, n_features)
    trees = [state["tree_"].state for state in states]
    for tree in {id(tree): tree for tree in trees}.values():  # a small file may name one tree a million times
        n_nodes, values = len(tree["nodes"]), tree["values"]
        if values.ndim != 3 or len(values) != n_nodes or values.size != n_nodes * width or values.dtype.kind != "f":  # noqa: PLR2004  # nodes, outputs, classes
            raise ValueError(f"a tree's values are {values.shape} for {n_nodes} nodes of {width} numbers")
    nodes = join_nodes(trees, min(MOST_NODES, VALUES_LIMIT // max(width, 1)))
    if nodes is None:
        return None
    leaf = nodes.leaf
    values = np.concatenate([tree["values"].reshape(-1, width) for tree in trees]).astype(np.float64, copy=False)
    if is_shared:
        values = _divide_by_sums(values, nodes.roots)
    output = np.full(len(trees), -1 if is_vector and width > 1 else 0, np.int32)
    return Trees(
        nodes.roots,
        np.where(leaf, -1, nodes.fields["feature"]).astype(np.int32),
        np.where(leaf, 0.0, nodes.fields["threshold"]),
        nodes.left.astype(np.int32),
        nodes.right.astype(np.int32),
        np.where(~leaf & join_gap_sides(trees), np.int8(NodeKind.NAN_LEFT), np.int8(NodeKind.NAN_RIGHT)),
        np.where(leaf[:, None], values, 0.0),
        output,
    )


def _divide_by_sums(values: np.ndarray, roots: np.ndarray) -> np.ndarray:
    """Counts of samples, which trees before 1.3 have, as shares; shares stay as they are. As completion.py."""
    sums = values.sum(axis=1, keepdims=True)
    is_near = np.isclose(sums[:, 0], 1)
    is_counted = ~np.logical_and.reduceat(is_near, roots)
    counted = np.repeat(is_counted, np.diff(roots, append=len(values)))
    return np.where(counted[:, None], values / np.where(sums == 0, 1, sums), values)


def _replace_values(trees: Trees, values: np.ndarray, output: np.ndarray) -> Trees:
    return Trees(trees.roots, trees.feature, trees.threshold, trees.left, trees.right, trees.kind, values, output)
