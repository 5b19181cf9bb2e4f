"""What an estimator lacks that a file describes: what older releases did not write, and what is made again.

Where another release scored otherwise by the same attributes, they are changed to score as it did, or refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np

from scorer.errors import Unscorable
from shared.contract.reasons import Reason

# Attributes with a column for each feature; estimators before 0.24 do not say how many they expect.
_WIDE = ("support_vectors_", "mean_", "scale_", "center_", "components_", "_fit_X")
_SEARCH_TREES = {"kd_tree": "KDTree", "ball_tree": "BallTree"}
_QUIET = {"n_jobs": None, "verbose": 0, "_n_threads": 1}  # a worker process has one thread, and no output
_LOSSES = {  # of older releases, by their names of today
    "deviance": "log_loss",
    "lad": "absolute_error",
    "least_absolute_deviation": "absolute_error",
    "least_squares": "squared_error",
    "log": "log_loss",
    "ls": "squared_error",
    "squared_loss": "squared_error",
    "binary_crossentropy": "log_loss",
    "categorical_crossentropy": "log_loss",
    "auto": "log_loss",
}
_RENAMED = {"_le": "_label_encoder", "base_estimator": "estimator"}  # until 1.1
Release = tuple[int, int]


@cache
def list_defaults(kind: type) -> Mapping[str, Any]:
    """The parameters of a class's constructor and their defaults; `inspect.Parameter.empty` where there is none."""
    parameters = inspect.signature(kind.__init__).parameters.items()  # type: ignore[misc]
    return MappingProxyType({name: parameter.default for name, parameter in parameters if name != "self"})


def complete_state(kind: type, state: dict[str, Any], release: Release | None) -> dict[str, Any]:
    """The attributes of an estimator as the installed release expects them. *release*: that made it, where it says so.

    Raises Unscorable, INCOMPATIBLE_MODEL; and any error for attributes that do not fit.
    """
    _REFUSALS.get(kind.__name__, _refuse_nothing)(state, release)
    _rename_attributes(state)
    for name, default in list_defaults(kind).items():
        if default is not inspect.Parameter.empty:
            state.setdefault(name, default)
    for name in _QUIET.keys() & state.keys():
        state[name] = _QUIET[name]
    if "support_vectors_" in state:
        _complete_svm(state, is_classifier=kind.__name__ in ("SVC", "NuSVC"))
    if kind.__name__ in _BOOSTINGS:
        _complete_boosting(state, release)
    if "_fit_method" in state:
        state["_tree"] = _make_search_tree(state)
        state.setdefault("n_samples_fit_", len(state["_fit_X"]))
    if "n_features_" in state:
        state.setdefault("n_features_in_", state.pop("n_features_"))
    arrays = [np.asarray(state[name]) for name in _WIDE if isinstance(state.get(name), np.ndarray)]
    if arrays and arrays[0].ndim and any(name.endswith("_") for name in state):
        state.setdefault("n_features_in_", arrays[0].shape[-1])
    return state


def _rename_attributes(state: dict[str, Any]) -> None:
    for old, name in _RENAMED.items():
        if old in state and name not in state:
            state[name] = state.pop(old)
    if isinstance(state.get("loss"), str):
        state["loss"] = _LOSSES.get(state["loss"], state["loss"])


def complete_estimator(estimator: Any) -> None:
    """Make again what an estimator of complete attributes keeps and its file does not, or not as it can be read."""
    name, state = type(estimator).__name__, vars(estimator)
    if name == "IsotonicRegression" and "X_thresholds_" in state:
        thresholds = state["X_thresholds_"], state["y_thresholds_"]
        if any(not isinstance(part, np.ndarray) or part.ndim != 1 for part in thresholds):
            raise ValueError("expected thresholds as arrays of numbers")
        estimator._build_f(*thresholds)  # noqa: SLF001  # as it does when it is unpickled
    if name in _BOOSTINGS and "n_trees_per_iteration_" in state:
        estimator._loss = estimator._get_loss(None)  # noqa: SLF001  # from the name of its loss
    if name in _LINKED and "coef_" in state:
        estimator._base_loss = estimator._get_loss()  # noqa: SLF001
    if name in _TREES and "tree_" in state:
        _make_shares(estimator.tree_)


_BOOSTINGS = (
    "GradientBoostingClassifier",
    "GradientBoostingRegressor",
    "HistGradientBoostingClassifier",
    "HistGradientBoostingRegressor",
)
_LINKED = ("GammaRegressor", "PoissonRegressor", "TweedieRegressor")
_TREES = ("DecisionTreeClassifier", "ExtraTreeClassifier")


def _make_shares(tree: Any) -> None:
    """Divide the values of a classifier's tree by their sums, as releases before 1.3 did when they predicted.

    Those have numbers of samples in their values; since 1.3 the sums are 1 but for rounding, and left as they are.
    """
    values = tree.value
    sums = values.sum(axis=2, keepdims=True)
    if not np.allclose(sums, 1):
        values /= np.where(sums == 0, 1, sums)  # a view of the tree's own memory


def _complete_boosting(state: dict[str, Any], release: Release | None) -> None:
    if isinstance(state.get("estimators_"), np.ndarray) and state["estimators_"].ndim == 2:  # noqa: PLR2004  # stages, trees
        state.setdefault("n_trees_per_iteration_", state["estimators_"].shape[1])  # new in 1.4
    if "_baseline_prediction" in state:  # until 1.0 a number, or a column
        state["_baseline_prediction"] = np.asarray(state["_baseline_prediction"], np.float64).reshape(1, -1)
    if "_predictors" in state and release is not None and release < (1, 4):
        state.setdefault("_preprocessor", None)  # new in 1.4; before it, readings went to the trees as they are


def _complete_svm(state: dict[str, Any], *, is_classifier: bool) -> None:
    vectors = state["support_vectors_"]
    if is_classifier:
        for name, old in (("_n_support", "n_support_"), ("_probA", "probA_"), ("_probB", "probB_")):
            if name not in state and old in state:  # until 0.22
                state[name] = state.pop(old)
    elif "_n_support" not in state or hasattr(vectors, "indptr"):
        # New in 0.22; of sparse vectors some releases wrote another number, which no prediction reads.
        state["_n_support"] = np.array([vectors.shape[0], 0], np.int32)
        state.pop("n_support_", None)  # a property now; the old value was read outside its memory
    for name in ("_probA", "_probB"):  # of classifiers; read all the same
        state.setdefault(name, np.empty(0))
    state.setdefault("offset_", -state["_intercept_"])


def _make_search_tree(state: dict[str, Any]) -> Any:
    """The tree of neighbours, built again from the rows and the metric: the file's own would have to be trusted."""
    import sklearn.neighbors

    if state["_fit_method"] not in _SEARCH_TREES:
        return None
    tree = getattr(sklearn.neighbors, _SEARCH_TREES[state["_fit_method"]])
    parameters = state["effective_metric_params_"]
    return tree(state["_fit_X"], state["leaf_size"], metric=state["effective_metric_"], **parameters)


def _refuse_nothing(_: dict[str, Any], __: Release | None) -> None:
    """Most kinds score alike in all releases that wrote what they need."""


def _refuse_weighted_votes(state: dict[str, Any], release: Release | None) -> None:
    """SAMME.R was the default until 1.5; later releases read the same file and label otherwise."""
    is_old = release is not None and release < (1, 6)
    if state.get("algorithm", "SAMME.R" if is_old else "SAMME") == "SAMME.R":
        raise _make_incompatible(release, "an AdaBoostClassifier with algorithm='SAMME.R', which 1.6 removed")


def _refuse_one_against_rest(state: dict[str, Any], release: Release | None) -> None:
    """Where classes were fitted one against the rest, or two as many, later releases give other probabilities."""
    classes = len(state.get("classes_", ()))
    kind = state.pop("multi_class", "auto" if release is None or release >= (0, 22) else "ovr")
    is_separate = kind in ("ovr", "warn") or (kind in ("auto", "deprecated") and state.get("solver") == "liblinear")
    if (classes > 2 and is_separate) or (classes == 2 and kind == "multinomial"):  # noqa: PLR2004  # two classes
        message = f"a LogisticRegression of {classes} classes with multi_class={kind!r}, which 1.8 removed"
        raise _make_incompatible(release, message)


def _refuse_turned_weights(_: dict[str, Any], release: Release | None) -> None:
    """Until 1.2 the weights of PLS had the other shape and another scale."""
    if release is None or release < (1, 3):
        raise _make_incompatible(release, "weights in the form that they have since 1.3")


def _make_incompatible(release: Release | None, description: str) -> Unscorable:
    made_by = ".".join(map(str, release)) if release else "of a release that it does not say"
    message = f"made by scikit-learn {made_by}, which the installed one scores otherwise: {description}"
    return Unscorable(Reason.INCOMPATIBLE_MODEL, message)


_REFUSALS: Mapping[str, Callable[[dict[str, Any], Release | None], None]] = MappingProxyType(
    {
        "AdaBoostClassifier": _refuse_weighted_votes,
        "LogisticRegression": _refuse_one_against_rest,
        "LogisticRegressionCV": _refuse_one_against_rest,
        **dict.fromkeys(("CCA", "PLSCanonical", "PLSRegression"), _refuse_turned_weights),
    }
)
