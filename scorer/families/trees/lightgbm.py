"""LightGBM's boosters as trees: equal to its own raw scores to the bit.

The rules of its splits: https://github.com/microsoft/LightGBM/blob/master/include/LightGBM/tree.h (`NumericalDecision`,
`CategoricalDecision`); of its outputs: `ConvertOutput` of each objective in src/objective. The value of a leaf is
stored with its shrinkage, and that of DART with its weight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from scorer.errors import Unscorable
from shared.contract.reasons import Reason

from .ensemble import NEAR_ZERO, Ensemble, LinearLeaves, Link, NodeKind, Trees, check_trees

_CATEGORICAL, _DEFAULT_LEFT, _MISSING = 1, 2, 2  # bits of decision_type: two flags, and the shift of the missing type
_NONE, _ZERO, _NAN = 0, 1, 2  # missing types
_N_DECISIONS = (_NAN + 1) << _MISSING
_WORD = 32  # categories of a word of cat_threshold
# Objectives by their names in files, which are those of `ParseObjectiveAlias` in include/LightGBM/config.h.
_SQUARES = ("regression", "regression_l2", "mean_squared_error", "mse", "l2")
_ROOTS = ("l2_root", "root_mean_squared_error", "rmse")
_IDENTITIES = (  # which may be fitted to the root of their target
    *_SQUARES,
    *_ROOTS,
    *("regression_l1", "mean_absolute_error", "l1", "mae", "quantile", "fair", "mape"),
    "mean_absolute_percentage_error",
)
_LINKS = {
    **dict.fromkeys(_IDENTITIES, Link.IDENTITY),
    **dict.fromkeys(("", "custom", "none", "null", "na", "huber"), Link.IDENTITY),
    **dict.fromkeys(("lambdarank", "rank_xendcg", "xendcg", "xe_ndcg", "xe_ndcg_mart", "xendcg_mart"), Link.IDENTITY),
    **dict.fromkeys(("poisson", "gamma", "tweedie"), Link.EXP),
    **dict.fromkeys(("cross_entropy", "xentropy"), Link.SIGMOID_OUTPUT),
    **dict.fromkeys(("cross_entropy_lambda", "xentlambda"), Link.LOG1P_EXP),
    **dict.fromkeys(("multiclass", "softmax"), Link.SOFTMAX),
    **dict.fromkeys(("multiclassova", "multiclass_ova", "ova", "ovr"), Link.SIGMOIDS),
    "binary": Link.SIGMOID_OUTPUT,
}
_MANY = (Link.SOFTMAX, Link.SIGMOIDS)  # of several outputs
# What LGBMClassifier makes of an objective with one output: 1 - p and p.
_OF_TWO = {Link.SIGMOID_OUTPUT: Link.SIGMOID, Link.IDENTITY: Link.SHARE}
_NO_OBJECTIVE = ("", "custom", "none", "null", "na")


def read_lightgbm(state: dict[str, Any]) -> Ensemble:
    """The booster of a state as `model_files.boosters.lightgbm_text` describes it, checked.

    Raises Unscorable (UNSUPPORTED_MODEL), and ValueError for a booster whose parts contradict each other.
    """
    if state["n_category_columns"]:
        _refuse(
            "expected a booster that was fitted on numbers, got one fitted on a frame with category columns, and its "
            "file does not say which: make them numbers before fitting, and name them as categorical_feature"
        )
    link, parameter = _read_link(state)
    n_outputs = state["n_outputs"]
    n_rounds = _count_rounds(state)
    trees = _build_trees(_take_trees(state["trees"], n_rounds * n_outputs), n_outputs)
    ensemble = Ensemble(
        trees,
        state["n_features_in_"],
        np.zeros(n_outputs),
        link,
        divisor=float(n_rounds) if state["is_averaged"] else 1.0,
        parameter=parameter,
    )
    check_trees(ensemble)
    return ensemble


def takes_gaps(state: dict[str, Any]) -> bool:
    """Whether a booster was trained with gaps: a split of the trees that predict treats missing values apart.

    Splits by categories say nothing: LightGBM counts rare categories as missing values.
    """
    used = _take_trees(state["trees"], _count_rounds(state) * state["n_outputs"])
    decision = used["decision_type"]
    return bool((decision[(decision & _CATEGORICAL) == 0] >> _MISSING).any())


def _count_rounds(state: dict[str, Any]) -> int:
    """The rounds that predict: all, or as many as early stopping chose."""
    n_rounds, best = len(state["trees"]["n_leaves"]) // int(state["n_outputs"]), int(state["best_iteration"])
    return min(best, n_rounds) if best > 0 else n_rounds


def _read_link(state: dict[str, Any]) -> tuple[Link, float]:
    """The transform of totals and its parameter, by the objective. Raises Unscorable, ValueError."""
    name, *options = state["objective"].split(" ")
    if name not in _LINKS:
        _refuse(f"expected an objective of LightGBM, got {name[:40]!r}, whose transform of its sums is not known")
    link, parameter = _LINKS[name], 1.0
    for option in options:
        key, _, text = option.partition(":")
        if key == "sigmoid":
            parameter = float(text)
        elif key == "num_class" and int(text) != state["n_outputs"]:
            raise ValueError(f"expected {state['n_outputs']} classes by its trees, got {text[:40]!r}")
    if "sqrt" in options and name in _IDENTITIES:
        link = Link.SIGNED_SQUARE
    if not (math.isfinite(parameter) and parameter > 0):
        raise ValueError(f"expected a sigmoid with a parameter above 0, got {parameter}")
    return _check_outputs(state, name, link), parameter


def _check_outputs(state: dict[str, Any], name: str, link: Link) -> Link:
    """The link of a model that has classes, or of a regressor. Raises Unscorable, ValueError."""
    n_outputs = state["n_outputs"]
    if "classes_" not in state:
        if n_outputs > 1:
            _refuse(f"expected a regressor with one output, got one with {n_outputs}, objective {name[:40]!r}")
        if link in _MANY:
            _refuse(f"expected a classifier for the objective {name}, got a regressor")
        return link
    n_classes = len(state["classes_"])
    if n_outputs > 1 and link not in _MANY:
        _refuse(f"expected an objective of several classes, got {name[:40]!r}, of which only raw scores are known")
    if link not in _MANY:
        if link not in _OF_TWO or name in _NO_OBJECTIVE:
            _refuse(f"expected an objective whose output is a probability, got {name[:40]!r} of a classifier")
        link = _OF_TWO[link]
    if n_classes != (n_outputs if link in _MANY else 2):
        _refuse(f"expected a class for each of its probabilities, got {n_classes}: fit it on more than one class")
    return link


def _take_trees(arrays: dict[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """The arrays of the first *count* trees."""
    if count == len(arrays["n_leaves"]):
        return arrays
    by_tree = {name: arrays[name][:count] for name in ("n_leaves", "n_sets", "n_words", "is_linear", "n_terms")}
    n_leaves, linear = by_tree["n_leaves"], by_tree["is_linear"]
    ends = dict.fromkeys(("split_feature", "decision_type", "left_child", "right_child", "threshold"))
    lengths = dict.fromkeys(ends, int(n_leaves.sum()) - count) | {
        "leaf_value": int(n_leaves.sum()),
        "leaf_const": int(n_leaves[linear].sum()),
        "num_features": int(n_leaves[linear].sum()),
        "leaf_features": int(by_tree["n_terms"].sum()),
        "leaf_coeff": int(by_tree["n_terms"].sum()),
        "cat_boundaries": int(by_tree["n_sets"].sum() + (by_tree["n_words"] > 0).sum()),
        "cat_threshold": int(by_tree["n_words"].sum()),
    }
    return by_tree | {name: arrays[name][:length] for name, length in lengths.items()}


@dataclass(frozen=True, slots=True)
class _Numbering:
    """The nodes of all trees: of each tree its splits in the file's order, then its leaves."""

    roots: np.ndarray  # int64, of each tree
    n_leaves: np.ndarray  # int64, of each tree
    splits: np.ndarray  # int64, the node of each split
    leaves: np.ndarray  # int64, the node of each leaf

    @property
    def n_nodes(self) -> int:
        return len(self.splits) + len(self.leaves)

    def link_children(self, *children: np.ndarray) -> list[np.ndarray]:
        """The nodes of the file's children, which are splits of the same tree, or ~ of a leaf. Of a leaf itself."""
        root, n_splits = (np.repeat(counts, self.n_leaves - 1) for counts in (self.roots, self.n_leaves - 1))
        linked = [np.arange(self.n_nodes, dtype=np.int32) for _ in children]
        for nodes, numbers in zip(linked, children, strict=True):
            own: np.ndarray = root + np.where(numbers >= 0, numbers, n_splits + ~numbers)
            is_own = (numbers < n_splits) & (~numbers <= n_splits)
            if not is_own.all():
                own[~is_own] = -1  # which is refused as a child outside its tree
            nodes[self.splits] = own.astype(np.int32)
        return linked

    def spread(self, index: np.ndarray, values: np.ndarray, kind: Any, rest: float = 0) -> np.ndarray:
        """An array over all nodes: *values* at *index*, *rest* elsewhere."""
        spread = np.full(self.n_nodes, rest, kind)
        spread[index] = values.astype(kind, copy=False)
        return spread


def _number_nodes(n_leaves: np.ndarray) -> _Numbering:
    n_splits, sizes = n_leaves - 1, 2 * n_leaves - 1
    roots = np.cumsum(sizes) - sizes
    n_before = np.cumsum(n_leaves) - n_leaves  # leaves of the trees before, and with as many trees less, splits
    splits = np.arange(n_splits.sum()) + np.repeat(n_before, n_splits)
    leaves = np.arange(n_leaves.sum()) + np.repeat(roots + n_splits - n_before, n_leaves)
    return _Numbering(roots, n_leaves, splits, leaves)


def _build_trees(arrays: dict[str, np.ndarray], n_outputs: int) -> Trees:
    nodes = _number_nodes(arrays["n_leaves"])
    decision, threshold = arrays["decision_type"], arrays["threshold"]
    if len(decision) and not (0 <= decision.min() <= decision.max() < _N_DECISIONS):
        raise ValueError("a split of a type that does not exist")
    if len(decision) and arrays["split_feature"].min() < 0:
        raise ValueError("a split by a feature that does not exist")
    is_set = (decision & _CATEGORICAL) != 0
    sets, set_of = _read_sets(arrays, is_set) if is_set.any() else ((), np.empty(0, np.int64))
    kind = _KINDS[decision + _N_DECISIONS * (threshold >= 0)]
    threshold = _shift_near_zero(np.where(is_set, 0.0, threshold) if sets else threshold)
    lefts, rights = nodes.link_children(arrays["left_child"], arrays["right_child"])
    return Trees(
        roots=nodes.roots,
        feature=nodes.spread(nodes.splits, np.minimum(arrays["split_feature"], 2**31 - 1), np.int32, -1),
        threshold=nodes.spread(nodes.splits, threshold, np.float64),
        left=lefts,
        right=rights,
        kind=nodes.spread(nodes.splits, kind, np.int8),
        values=nodes.spread(nodes.leaves, arrays["leaf_value"], np.float64)[:, None],
        output=(np.arange(len(nodes.roots)) % n_outputs).astype(np.int32),
        set_of=nodes.spread(nodes.splits, set_of, np.int32, -1) if sets else np.empty(0, np.int32),
        sets=sets,
        linear=_read_linear(arrays, nodes) if arrays["is_linear"].any() else None,
    )


def _shift_near_zero(threshold: np.ndarray) -> np.ndarray:
    """Thresholds that send numbers near zero, unchanged, where the given ones send 0: LightGBM makes them 0 first."""
    is_near = np.abs(threshold) <= NEAR_ZERO
    if not is_near.any():
        return threshold
    below = np.nextafter(-NEAR_ZERO, -np.inf)
    shifted: np.ndarray = np.where(is_near, np.where(threshold < 0, below, NEAR_ZERO), threshold)
    return shifted


def _list_kinds() -> np.ndarray:
    """The kind of a split by its decision_type and, in the second half, a threshold of 0 or above.

    NaN where none was seen in training counts as 0.
    """
    kinds = np.full((2, _N_DECISIONS), NodeKind.SET_LEFT, np.int8)
    for decision in range(0, _N_DECISIONS, _CATEGORICAL + 1):
        default_left, missing = bool(decision & _DEFAULT_LEFT), decision >> _MISSING
        for is_positive in (False, True):
            goes_left = is_positive if missing == _NONE else default_left
            right_kind, left_kind = (
                (NodeKind.ZERO_RIGHT, NodeKind.ZERO_LEFT)
                if missing == _ZERO
                else (NodeKind.NAN_RIGHT, NodeKind.NAN_LEFT)
            )
            kinds[int(is_positive), decision] = left_kind if goes_left else right_kind
    return kinds.ravel()


_KINDS = _list_kinds()


def _read_sets(arrays: dict[str, np.ndarray], is_set: np.ndarray) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """All sets of categories, and of each split the set that it asks, or -1. Raises ValueError."""
    n_sets, n_words, bounds, words = (arrays[name] for name in ("n_sets", "n_words", "cat_boundaries", "cat_threshold"))
    has_sets = n_words > 0
    counts = n_sets[has_sets] + 1
    ends = np.cumsum(counts)
    firsts, lasts = ends - counts, ends - 1
    steps = np.diff(bounds)
    steps[lasts[:-1]] = 0  # from the end of one tree to the start of the next
    if len(words) and not 0 <= words.min() <= words.max() < 2**_WORD:
        raise ValueError("a set of categories that is no set of bits")
    if not len(bounds):
        raise ValueError("a split by a set of categories that does not exist")
    if bounds.min() < 0 or bounds.max() > len(words):  # whose differences could overflow
        raise ValueError("sets of categories outside of those of the file")
    if bounds[firsts].any() or (steps < 0).any() or (bounds[lasts] != n_words[has_sets]).any():
        raise ValueError("sets of categories that are not one after the other")
    is_member = np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little").astype(bool)
    starts = bounds + np.repeat(np.cumsum(n_words[has_sets]) - n_words[has_sets], counts)
    borders = (starts * _WORD).tolist()
    inner = np.ones(len(bounds), bool)
    inner[lasts] = False
    sets = tuple(is_member[borders[i] : borders[i + 1]] for i in np.flatnonzero(inner).tolist())
    asked_set = arrays["threshold"][is_set]
    tree = np.repeat(np.arange(len(n_sets)), arrays["n_leaves"] - 1)[is_set]
    if not ((asked_set >= 0) & (asked_set < n_sets[tree]) & (asked_set == np.floor(asked_set))).all():
        raise ValueError("a split by a set of categories that does not exist")
    set_of = np.full(len(is_set), -1)
    set_of[is_set] = asked_set.astype(np.int64) + (np.cumsum(n_sets) - n_sets)[tree]
    return sets, set_of


def _read_linear(arrays: dict[str, np.ndarray], nodes: _Numbering) -> LinearLeaves:
    """Linear leaves; those of the other trees are constant. Raises ValueError."""
    n_leaves, is_linear, n_terms = arrays["n_leaves"], arrays["is_linear"], arrays["n_terms"]
    of_linear = np.repeat(is_linear, n_leaves)
    counts = arrays["num_features"]
    if (counts < 0).any() or (counts > counts.size + n_terms.sum()).any():
        raise ValueError("linear leaves with an impossible number of terms")
    totals = np.bincount(np.repeat(np.flatnonzero(is_linear), n_leaves[is_linear]), counts, len(n_leaves))
    if (totals != n_terms).any():
        raise ValueError("linear leaves with other numbers of terms than of features")
    constant, n_of_leaf = arrays["leaf_value"].copy(), np.zeros(len(of_linear), np.int64)
    constant[of_linear], n_of_leaf[of_linear] = arrays["leaf_const"], counts
    ends = np.cumsum(nodes.spread(nodes.leaves, n_of_leaf, np.int64))
    return LinearLeaves(
        np.concatenate(([0], ends)),
        nodes.spread(nodes.leaves, constant, np.float64),
        np.clip(arrays["leaf_features"], -1, 2**31 - 1).astype(np.int32),
        arrays["leaf_coeff"],
    )


def _refuse(message: str) -> NoReturn:
    raise Unscorable(Reason.UNSUPPORTED_MODEL, message)
