"""LightGBM's and XGBoost's boosters, whose files `model_files.boosters` reads, as steps of a chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from scorer.families.steps import LabelRule, Outputs, Step, StepKind
from scorer.families.trees import lightgbm, xgboost
from scorer.families.trees.ensemble import Ensemble, Link
from scorer.families.trees.packing import build_trees_step
from scorer.model_files.estimator_kinds import BOOSTERS
from scorer.model_files.parsed import ParsedObject
from shared.contract.domain import Task

from .predictor import Predictor, read_classes

_PAIRS = (Link.SIGMOID, Link.SHARE)  # of one total the shares of two classes


@dataclass(frozen=True, slots=True)
class _Library:
    """What is known of the boosters of a library."""

    read: Callable[[dict[str, Any]], Ensemble]
    takes_gaps: Callable[[dict[str, Any]], bool]
    gives_probabilities: Callable[[dict[str, Any]], bool] = lambda _: True


_LIBRARIES: Mapping[str, _Library] = MappingProxyType(
    {
        "lightgbm": _Library(lightgbm.read_lightgbm, lightgbm.takes_gaps),
        "xgboost": _Library(xgboost.read_xgboost, xgboost.takes_gaps, xgboost.gives_probabilities),
    }
)


def read_booster(model: ParsedObject) -> Predictor:
    """A booster of any library. Raises KeyError, ValueError, and Unscorable for what is not computed exactly."""
    library = _get_library(model)
    has_probability = BOOSTERS[model.kind] is Task.CLASSIFIER and library.gives_probabilities(model.state)
    return _build_predictor(model, library.read(model.state), has_probability=has_probability)


def takes_gaps(model: ParsedObject) -> bool:
    """Whether a booster was trained with gaps, as far as its file says."""
    return _get_library(model).takes_gaps(model.state)


def _get_library(model: ParsedObject) -> _Library:
    return _LIBRARIES[model.kind.partition(".")[0]]


def _build_predictor(model: ParsedObject, ensemble: Ensemble, *, has_probability: bool) -> Predictor:
    """The steps of trees, and what they come to: the first largest share, or else the total, decides the label."""
    task, state = BOOSTERS[model.kind], model.state
    steps = [build_trees_step(ensemble)]
    if ensemble.rounds_input:
        steps.insert(0, Step(StepKind.ROUND, ensemble.n_features))
    count = 2 if ensemble.link in _PAIRS else len(ensemble.start)
    if task is not Task.CLASSIFIER:
        return Predictor(
            task, ensemble.n_features, steps, Outputs(ensemble.link, parameter=ensemble.parameter, count=count)
        )
    largest = LabelRule.FIRST_LARGEST_SINGLE if ensemble.is_single else LabelRule.FIRST_LARGEST
    rule = largest if count > 1 else LabelRule.ABOVE_ZERO
    classes = read_classes(state, max(count, 2))
    if classes is None:
        raise ValueError("expected classes that are numbers or texts, at least two")
    outputs = Outputs(ensemble.link, rule, ensemble.parameter, count)
    return Predictor(task, ensemble.n_features, steps, outputs, classes, has_probability)
