"""LightGBM's and XGBoost's boosters, whose files `model_files.boosters` reads, as steps of a chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from scorer.families.steps import LabelRule, Outputs, Step, StepKind
from scorer.families.trees import lightgbm
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


_LIBRARIES: Mapping[str, _Library] = MappingProxyType(
    {"lightgbm": _Library(lightgbm.read_lightgbm, lightgbm.takes_gaps)}
)


def read_booster(model: ParsedObject) -> Predictor:
    """A booster of any library. Raises KeyError, ValueError, and Unscorable for what is not computed exactly."""
    return _build_predictor(model.state, _get_library(model).read(model.state), BOOSTERS[model.kind])


def takes_gaps(model: ParsedObject) -> bool:
    """Whether a booster was trained with gaps, as far as its file says."""
    return _get_library(model).takes_gaps(model.state)


def _get_library(model: ParsedObject) -> _Library:
    return _LIBRARIES[model.kind.partition(".")[0]]


def _build_predictor(state: dict[str, Any], ensemble: Ensemble, task: Task) -> Predictor:
    count = 2 if ensemble.link in _PAIRS else len(ensemble.start)
    rule = LabelRule.FIRST_LARGEST if task is Task.CLASSIFIER else LabelRule.NONE
    classes = read_classes(state, count) if task is Task.CLASSIFIER else []
    if classes is None:
        raise ValueError("expected classes that are numbers or texts, at least two")
    steps = [build_trees_step(ensemble)]
    if ensemble.rounds_input:
        steps.insert(0, Step(StepKind.ROUND, ensemble.n_features))
    outputs = Outputs(ensemble.link, rule, ensemble.parameter, count)
    return Predictor(task, ensemble.n_features, steps, outputs, classes, has_probability=bool(classes))
