"""What a model file says of its training: the names of its features, and whether rows with gaps were among them.

Names are looked for in every step, in pipelines within pipelines, in column transformers and in the branches of unions:
the first that are known decide. A step that was fitted without names ends the search: what follows it has the names of
that step's output.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from scorer.model_files.estimator_kinds import BOOSTERS
from scorer.model_files.parsed import PIPELINE, ParsedObject

from .checks import read_release
from .predictors import boosters

PARTS = 1000  # of one model that are looked at; beyond, it is refused: it is too large to say what it expects
_COLUMNS = "sklearn.compose._column_transformer.ColumnTransformer"
_UNION = "sklearn.pipeline.FeatureUnion"
_SELECTION = "sklearn.feature_selection._from_model.SelectFromModel"
# Models of trees, and the first scikit-learn whose trees show that they were trained with missing values. Trees that
# choose the best split do so earlier than those that draw it.
_TREES = MappingProxyType(
    {
        "sklearn.ensemble._forest.ExtraTreesClassifier": (1, 6),
        "sklearn.ensemble._forest.ExtraTreesRegressor": (1, 6),
        "sklearn.ensemble._forest.RandomForestClassifier": (1, 5),
        "sklearn.ensemble._forest.RandomForestRegressor": (1, 5),
        "sklearn.ensemble._iforest.IsolationForest": (1, 6),
        "sklearn.tree._classes.DecisionTreeClassifier": (1, 5),
        "sklearn.tree._classes.DecisionTreeRegressor": (1, 5),
        "sklearn.tree._classes.ExtraTreeClassifier": (1, 6),
        "sklearn.tree._classes.ExtraTreeRegressor": (1, 6),
    }
)
_RANDOM_SPLITS = (1, 6)
_HISTOGRAMS = frozenset(
    f"sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoosting{task}"
    for task in ("Classifier", "Regressor")
)
# Models that hand their readings to others as they are, and the attribute that holds these.
_HANDS_ON = MappingProxyType(
    {
        "sklearn.calibration.CalibratedClassifierCV": "calibrated_classifiers_",
        "sklearn.calibration._CalibratedClassifier": "estimator",
        "sklearn.compose._target.TransformedTargetRegressor": "regressor_",
        "sklearn.ensemble._bagging.BaggingClassifier": "estimators_",
        "sklearn.ensemble._bagging.BaggingRegressor": "estimators_",
        "sklearn.ensemble._voting.VotingClassifier": "estimators_",
        "sklearn.ensemble._voting.VotingRegressor": "estimators_",
        "sklearn.frozen._frozen.FrozenEstimator": "estimator",
        "sklearn.model_selection._classification_threshold.FixedThresholdClassifier": "estimator_",
        "sklearn.model_selection._classification_threshold.TunedThresholdClassifierCV": "estimator_",
        "sklearn.multiclass.OneVsRestClassifier": "estimators_",
        "sklearn.multioutput.MultiOutputClassifier": "estimators_",
        "sklearn.multioutput.MultiOutputRegressor": "estimators_",
    }
)
_IMPUTERS = frozenset(
    f"sklearn.impute.{name}" for name in ("_base.SimpleImputer", "_knn.KNNImputer", "_iterative.IterativeImputer")
)
# Transformers that hand gaps on as they are.
_TOLERANT = frozenset(
    f"sklearn.preprocessing.{name}"
    for name in (
        "_data.StandardScaler",
        "_data.MinMaxScaler",
        "_data.MaxAbsScaler",
        "_data.RobustScaler",
        "_data.PowerTransformer",
        "_data.QuantileTransformer",
    )
)


def _describe(part: Any) -> ParsedObject | None:
    """A part of a model's file; None for what is no object."""
    return part if type(part) is ParsedObject else None


def read_feature_names(model: Any) -> tuple[str, ...]:
    """The names of the features that a model was fitted with; () where it was fitted without names.

    Raises ValueError for names that are no texts.
    """
    for value, part in _Parts().list_steps(model, in_unions=True):
        if is_skipped(value):
            continue
        if part is None:
            return ()
        if names := _read_own_names(part):
            return names
        if "n_features_in_" in part.state:
            return ()
    return ()


def count_features(model: Any) -> int | None:
    """How many features a model was fitted with; None where it does not say."""
    for _, part in _Parts().list_steps(model, in_unions=True):
        count = part.state.get("n_features_in_") if part else None
        if isinstance(count, int | np.integer):
            return int(count)
        if part is not None and part.kind == _SELECTION:  # which asks its estimator; what follows gets fewer
            return None
    return None


def is_skipped(step: Any) -> bool:
    """Whether a step of a pipeline is switched off."""
    return step is None or (isinstance(step, str) and step == "passthrough")


def takes_gaps(model: Any) -> bool:
    """Whether the model was trained to be given missing values (NaN).

    An imputer before all steps that would refuse them, or trees whose file says that they saw some, see `saw_gaps`; a
    model that asks others does so where all of them do.
    """
    return _handle_gaps(model, _Parts()) == _ABSORBS


@dataclass(slots=True)
class _Parts:
    """Walks over the parts of one model. Files may nest them in circles, so there is a limit; beyond it, ValueError."""

    n_parts: int = 0

    def list_steps(self, model: Any, *, in_unions: bool = False) -> list[tuple[Any, ParsedObject | None]]:
        """The steps of a model, also of pipelines within it, in the order in which they get features.

        *in_unions*: in the place of a FeatureUnion, which keeps neither names nor number, its branches, which all get
        what it gets.
        """
        pending, steps = [model], []
        while pending:
            self.n_parts += 1
            if self.n_parts > PARTS:
                raise ValueError(f"it has more than {PARTS} parts")
            value = pending.pop()
            part = _describe(value)
            if part is not None and part.kind == PIPELINE:
                pending += [step[1] for step in reversed(part.state["steps"]) if len(step) > 1]
            elif part is not None and part.kind == _UNION and in_unions:
                branches = [branch[1] for branch in part.state["transformer_list"] if len(branch) > 1]
                pending += [branch for branch in reversed(branches) if branch != "drop"]
            elif part is not None and "best_estimator_" in part.state:  # a search, whose result it is
                pending.append(part.state["best_estimator_"])
            else:
                steps.append((value, part))
        return steps


def _read_own_names(part: ParsedObject) -> tuple[str, ...]:
    """`feature_names_in_`, which scikit-learn sets where a model was fitted on a frame whose columns are texts."""
    names = part.state.get("feature_names_in_", ())
    if isinstance(names, np.ndarray):
        names = names.tolist()
    if not isinstance(names, list | tuple) or not all(type(name) is str for name in names):
        raise ValueError("feature_names_in_ is not a list of names")
    return tuple(names)


_ABSORBS, _PASSES, _REFUSES = "absorbs", "passes", "refuses"


def _handle_gaps(model: Any, parts: _Parts) -> str:
    """Whether a model gives complete rows for rows with gaps, hands the gaps on, or refuses them."""
    for value, part in parts.list_steps(model):
        result = _PASSES if is_skipped(value) else _REFUSES if part is None else _handle_gaps_in_step(part, parts)
        if result != _PASSES:
            return result
    return _PASSES


def _handle_gaps_in_step(part: ParsedObject, parts: _Parts) -> str:
    if part.kind in BOOSTERS:
        return _ABSORBS if boosters.takes_gaps(part) else _REFUSES
    if part.kind in _TREES or part.kind in _HISTOGRAMS:
        return _ABSORBS if saw_gaps(part) else _REFUSES
    if part.kind in _HANDS_ON:
        inner = part.state.get(_HANDS_ON[part.kind], ())
        results = {_handle_gaps(model, parts) for model in (inner if isinstance(inner, list) else [inner])}
        return _ABSORBS if results == {_ABSORBS} else _REFUSES
    if part.kind in _IMPUTERS:
        missing = part.state.get("missing_values", math.nan)
        return _ABSORBS if isinstance(missing, float) and math.isnan(missing) else _REFUSES
    if part.kind in _TOLERANT:
        return _PASSES
    if part.kind == _COLUMNS:
        branches = [branch[1] for branch in part.state.get("transformers_", ())]
        results = {_handle_gaps(branch, parts) for branch in branches if branch != "drop"}
        return _REFUSES if _REFUSES in results or not results else _PASSES if _PASSES in results else _ABSORBS
    return _REFUSES


def saw_gaps(model: ParsedObject) -> bool:
    """Whether a node of one of the model's trees sends missing values to its smaller side.

    Where no value is missing in a node, scikit-learn sends missing ones to the larger side. Measured with 1.0 to 1.9:
    no tree that saw complete rows alone shows it, from the releases of `_TREES` on; nearly all that saw gaps do, but
    for isolation forests of 1.6 to 1.8, which count as trained without. So do trees of older releases.
    """
    if model.kind in _HISTOGRAMS:
        trees = [tree for iteration in model.state.get("_predictors", ()) for tree in iteration]
        names = ("left", "right", "count")
    else:
        release = read_release(model.state)
        needed = _RANDOM_SPLITS if model.state.get("splitter") == "random" else _TREES[model.kind]
        if release is None or release < needed:
            return False
        estimators = [_describe(item) for item in model.state.get("estimators_", (model,))]
        trees = [estimator.state.get("tree_") for estimator in estimators if estimator]
        names = ("left_child", "right_child", "n_node_samples")
    distinct = {id(tree): tree for tree in trees}.values()  # a file may name one many times
    nodes = [part.state.get("nodes") for tree in distinct if (part := _describe(tree))]
    return _send_to_smaller([array for array in nodes if isinstance(array, np.ndarray)], ("missing_go_to_left", *names))


def _send_to_smaller(trees: list[np.ndarray], names: tuple[str, str, str, str]) -> bool:
    """Whether a node sends missing values to that of its children which has fewer samples. All trees at once.

    *names*: of the fields with that flag, both children and the number of samples; trees without them do not count.
    """
    has_names = {id(kind): set(names) <= set(kind.names or ()) for kind in [tree.dtype for tree in trees]}
    used = [tree for tree in trees if tree.ndim == 1 and has_names[id(tree.dtype)]]
    if not used:
        return False
    is_left, first, second, counts = (np.concatenate([tree[name] for tree in used]) for name in names)
    sizes = np.array([len(tree) for tree in used])
    size, root = np.repeat(sizes, sizes), np.repeat(np.cumsum(sizes) - sizes, sizes)
    inner = np.flatnonzero((first > 0) & (first < size))
    first, second, size, root = first[inner], second[inner], size[inner], root[inner]
    if not ((second > 0) & (second < size)).all():
        return False  # which the checks refuse
    return bool(((is_left[inner] != 0) != (counts[root + first] > counts[root + second])).any())
