"""A model file's parsed content -> the numbers that a kernel needs, checked so that native code may trust them.

The attributes are those that scikit-learn itself reads when it predicts; two that say the same must agree. A model
that is safe and of no packed family is KEPT: scikit-learn scores it, in the sandbox. `base` has the layout.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from scorer.errors import NO_MODEL, Unscorable
from scorer.library_versions import UNKNOWN, get_installed_version
from scorer.model_files import parsed
from scorer.model_files.estimator_kinds import BOOSTERS, TASKS
from scorer.model_files.parsed import PIPELINE, ParsedObject
from shared.contract.domain import Task
from shared.contract.reasons import Reason

from . import isolation_forest, training
from .base import OUTPUTS_LIMIT, Body, Family, GapRule, Packed, Predicted, Scaler, make_no_integers
from .class_names import name_classes
from .covariance import read_envelope
from .isolation_forest import ScoringRule
from .predictors import reader
from .scalers import SCALERS, read_scaler
from .svm import read_one_class_svm, read_sgd_svm

_SVM = "sklearn.svm._classes.OneClassSVM"
_SGD = "sklearn.linear_model._stochastic_gradient.SGDOneClassSVM"
_ENVELOPE = "sklearn.covariance._elliptic_envelope.EllipticEnvelope"
_FOREST = "sklearn.ensemble._iforest.IsolationForest"
_NEIGHBOURS = "sklearn.neighbors._lof.LocalOutlierFactor"
_VERSION = re.compile(r"\d{1,4}(\.[0-9a-z+-]{1,12}){1,4}")


def pack_model(model: ParsedObject) -> Packed:
    """The numbers of a model.

    Raises Unscorable: UNSUPPORTED_MODEL, UNFITTED_MODEL, INCOMPATIBLE_MODEL, and UNREADABLE_MODEL for attributes
    that contradict each other.
    """
    made_by = _read_version(model)
    try:
        parts = _list_steps(model)
        with np.errstate(all="ignore"):  # an overflow is not finite, which is checked
            return _pack_steps(model, parts, made_by)
    except KeyError as error:
        raise _make_missing(str(error.args[0]), made_by) from error
    except (AttributeError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise Unscorable(Reason.UNREADABLE_MODEL, f"its parts contradict each other: {error}"[:300]) from error


def get_task(model: ParsedObject) -> Task:
    """What a model does, of which `pack_model` made sure that it does something."""
    return TASKS[parsed.get_last_step(model).kind]


def read_rule(model: ParsedObject) -> ScoringRule:
    """How the release that made a detector labels. Raises as `isolation_forest.read_rule`."""
    detector = parsed.get_last_step(model)
    if detector.kind == _FOREST:
        return isolation_forest.read_rule(detector.state)
    return ScoringRule(0.0, strict=detector.kind == _SVM)


def is_constant(model: ParsedObject) -> bool:
    """Whether a model is an isolation forest that was fitted on equal rows, and so gives one score to all."""
    detector = parsed.get_last_step(model)
    return bool(detector.kind == _FOREST and isolation_forest.is_constant(detector.state))


def _read_version(model: ParsedObject) -> str:
    """The release that made a model, or its last step where that one is another; UNKNOWN where one does not say.

    Boosters are of other libraries, whose releases their readers know.
    """
    installed = get_installed_version()
    for part in (model, parsed.get_last_step(model)):
        if type(part) is ParsedObject and part.kind not in BOOSTERS:
            text = part.state.get("_sklearn_version")
            if type(text) is not str or (text != installed and not _VERSION.fullmatch(text)):
                return UNKNOWN
            if text != installed:
                return text
    return installed


def _make_missing(name: str, made_by: str) -> Unscorable:
    installed = get_installed_version()
    if made_by not in (UNKNOWN, installed):
        message = f"made by scikit-learn {made_by}, which {installed} cannot read: {name} is missing"
        return Unscorable(Reason.INCOMPATIBLE_MODEL, message)
    return Unscorable(Reason.UNREADABLE_MODEL, f"its parts contradict each other: {name} is missing")


def _list_steps(model: ParsedObject) -> list[ParsedObject]:
    """The fitted steps of the model; the last one is what predicts. Raises Unscorable."""
    detector = parsed.get_last_step(model)
    kind = detector.kind if type(detector) is ParsedObject else type(detector).__name__
    if kind == _NEIGHBOURS and detector.state.get("novelty") is not True:
        message = "expected a LocalOutlierFactor for new readings, got one without novelty: fit it with novelty=True"
        raise Unscorable(Reason.NOT_NOVELTY, message)
    if kind not in TASKS:
        raise Unscorable(
            Reason.UNSUPPORTED_MODEL,
            f"{NO_MODEL} (a {', a '.join(Task)}), got a {_describe_ending(model.kind, kind)}: fit "
            "a Pipeline of it and such a model, and save that; a scaler of a model X is named X.scaler.*",
        )
    steps = [step for _, step in model.state["steps"]] if model.kind == PIPELINE else [model]
    for part in steps:
        is_fittable = type(part) is ParsedObject and (part.kind == detector.kind or part.kind in SCALERS)
        if is_fittable and not any(name[-1:] == "_" and name[:2] != "__" for name in part.state):
            raise Unscorable(Reason.UNFITTED_MODEL, f"this {_shorten_kind(part.kind)} was never fitted")
    return steps


def _describe_ending(model: str, last: str) -> str:
    name = _shorten_kind(last)
    return name if model == last else f"{_shorten_kind(model)} that ends in {name}"


def _shorten_kind(kind: str) -> str:
    return kind.rpartition(".")[2]


def _pack_steps(model: ParsedObject, steps: list[Any], made_by: str) -> Packed:
    features = training.read_feature_names(model)
    steps = [step for step in steps if not training.is_skipped(step)]
    first, detector = steps[0], steps[-1]
    is_plain = len(steps) == 1 or (len(steps) == 2 and type(first) is ParsedObject and first.kind in SCALERS)  # noqa: PLR2004
    body = _read_body(detector) if is_plain else None
    if body is None:
        return _pack_chain(model, steps, features, made_by)
    if training.takes_gaps(model):  # the kernels of these families know no gaps
        # Its names only say which columns must be read: scikit-learn itself decides when it scores.
        return make_kept(features, made_by)
    n_features = body.n_features
    scaler = read_scaler(first, n_features) if len(steps) > 1 else Scaler(0, np.zeros(n_features), np.ones(n_features))
    numeric = (body.intercept, body.gamma, body.coef0, body.degree)
    head = (scaler.mode, scaler.low, scaler.high, *numeric, body.count, body.border)
    numbers = np.concatenate((head, scaler.shift, scaler.scale, *body.numbers), dtype=np.float64)
    if np.count_nonzero(np.isfinite(numbers[3:])) < len(numbers) - 3:
        raise ValueError("it holds a number that is not finite")
    if scaler.mode == 1 and np.count_nonzero(scaler.scale) < n_features:
        raise ValueError("scale_ holds a zero")
    if features and len(features) != n_features:
        raise ValueError(f"feature_names_in_ has {len(features)} names for {n_features} features")
    return Packed(body.family, n_features, features, made_by, body.strict, numbers, body.integers)


def make_kept(features: tuple[str, ...], made_by: str) -> Packed:
    """A model that only its own library can score."""
    return Packed(Family.KEPT, 0, features, made_by, strict=False, numbers=np.empty(0), integers=make_no_integers())


def _pack_chain(model: ParsedObject, steps: list[Any], features: tuple[str, ...], made_by: str) -> Packed:
    """The model as a chain of steps; KEPT where one of them is not packed, or its attributes contradict each other.

    What is wrong with the latter its own library says, after the checks of the sandbox.
    """
    while type(steps[-1]) is ParsedObject and steps[-1].kind == PIPELINE:  # a pipeline in a pipeline
        steps = [*steps[:-1], *(step for _, step in steps[-1].state["steps"] if not training.is_skipped(step))]
    try:
        read = reader.read_model(steps[:-1], steps[-1], training.count_features(model))
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError):
        if steps[-1].kind in BOOSTERS:  # there is no other library to ask
            raise
        read = None
    if read is None or read.chain.n_outputs >= OUTPUTS_LIMIT or len(features) not in (0, read.n_features):
        return make_kept(features, made_by)
    predictor = read.predictor
    gap_rule = GapRule.BEARS if model.kind in BOOSTERS else GapRule.NONE
    if training.takes_gaps(model):
        gap_rule = GapRule.TAKES
    classes = name_classes(predictor.classes) if predictor.classes else ()
    predicted = Predicted(predictor.task, read.chain.n_outputs, classes, predictor.has_probability, gap_rule)
    chain = read.chain
    return Packed(Family.STEPS, read.n_features, features, made_by, False, chain.numbers, chain.integers, predicted)


def _read_body(part: ParsedObject) -> Body | None:
    match part.kind:
        case "sklearn.svm._classes.OneClassSVM":
            return read_one_class_svm(part.state)
        case "sklearn.linear_model._stochastic_gradient.SGDOneClassSVM":
            return read_sgd_svm(part.state)
        case "sklearn.covariance._elliptic_envelope.EllipticEnvelope":
            return read_envelope(part.state)
        case "sklearn.ensemble._iforest.IsolationForest":
            return isolation_forest.read_forest(part.state)
    return None
