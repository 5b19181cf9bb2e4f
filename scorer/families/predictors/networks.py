"""Multi-layer perceptrons: products with weights, each but the last followed by the activation of hidden layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from scorer.families.checks import check_equal
from scorer.families.steps import LabelRule, Outputs, Step, StepKind
from scorer.families.trees.ensemble import Link
from scorer.model_files.parsed import ParsedObject
from shared.contract.domain import Task

from .predictor import Predictor, read_classes, read_matrix, read_width

_WEIGHTS_LIMIT = 2**22  # of one model: 32 MiB
_WIDEST_LAYER = 2**12
_MOST_LAYERS = 64
_LINKS = {"identity": Link.IDENTITY, "exp": Link.EXP, "logistic": Link.SIGMOID, "softmax": Link.SOFTMAX}
_CURVES = {"logistic": (1.0, 1.0, 0.0), "tanh": (2.0, 2.0, -1.0)}  # as LOGISTIC steps


def read_regressor(state: dict[str, Any]) -> Predictor | None:
    """MLPRegressor of one or several outputs."""
    steps, link = _read_layers(state), _LINKS.get(state["out_activation_"])
    if steps is None or link is None or link not in (Link.IDENTITY, Link.EXP):
        return None
    outputs = Outputs(link, count=steps[-1].n_columns)
    return Predictor(Task.REGRESSOR, _read_width(state), steps, outputs)


def read_classifier(state: dict[str, Any]) -> Predictor | None:
    """MLPClassifier: of two classes one total, whose logistic is the probability of the second; else a softmax."""
    steps, link, binarizer = _read_layers(state), _LINKS.get(state["out_activation_"]), state["_label_binarizer"]
    if steps is None or link is None or type(binarizer) is not ParsedObject:
        return None
    if binarizer.state["y_type_"] not in ("binary", "multiclass"):
        return None
    n_totals = steps[-1].n_columns
    n_classes = n_totals if link is Link.SOFTMAX else 2
    classes = read_classes(state, n_classes)
    if classes is None or classes != read_classes(binarizer.state, n_classes):
        return None
    if (link, n_totals) not in ((Link.SIGMOID, 1), (Link.SOFTMAX, n_classes)):
        return None
    outputs = Outputs(link, LabelRule.FIRST_LARGEST, count=n_classes)
    return Predictor(Task.CLASSIFIER, _read_width(state), steps, outputs, classes, has_probability=True)


def _read_width(state: dict[str, Any]) -> int:
    return read_width(state, len(state["coefs_"][0]))


def _read_layers(state: dict[str, Any]) -> list[Step] | None:
    """The steps of all layers; None for more than are packed."""
    weights, offsets = state["coefs_"], state["intercepts_"]
    check_equal("the number of layers", (len(weights), len(offsets)), (state["n_layers_"] - 1,) * 2)
    if not 0 < len(weights) <= _MOST_LAYERS:
        return None
    layers = [{"coefs_": weight, "intercepts_": offset} for weight, offset in zip(weights, offsets, strict=True)]
    steps: list[Step] = []
    width, total = len(weights[0]), 0
    for layer in layers:
        weight, offset = read_matrix(layer, "coefs_"), read_matrix(layer, "intercepts_", (1,))
        check_equal("the shape of a layer", weight.shape, (width, len(offset)))
        width, total = len(offset), total + weight.size
        if width > _WIDEST_LAYER or total > _WEIGHTS_LIMIT:
            return None
        steps += [Step(StepKind.PRODUCT, width, numbers=(weight.T, offset)), *_activate(state["activation"], width)]
    return steps if state["activation"] == "identity" else steps[:-1]


def _activate(activation: Any, width: int) -> list[Step]:
    if activation == "identity":
        return []
    if activation == "relu":
        numbers = (np.array([0.0, np.inf]), np.zeros(width), np.ones(width))
        return [Step(StepKind.MULTIPLY, width, (0, width), numbers)]
    return [Step(StepKind.LOGISTIC, width, (), (np.array(_CURVES[activation]),))]
