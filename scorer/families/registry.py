"""A model file's parsed content -> the numbers that a kernel needs, checked so that native code may trust them.

Attributes are read where scikit-learn itself reads them when it predicts; what is read twice over must agree. Anything
that is safe and no packed family is KEPT: scikit-learn scores it, in the sandbox. `base` has the layout.
"""

from __future__ import annotations

import importlib.metadata
import re
from typing import Any

import numpy as np

from scorer.errors import Unscorable
from scorer.model_files import parsed
from scorer.model_files.parsed import PIPELINE, Blueprint
from shared.contract.domain import Reason

from . import isolation_forest
from .base import Body, Family, Packed, Scaler, no_integers
from .checks import read_number
from .covariance import read_envelope
from .scalers import SCALERS, read_scaler
from .svm import read_one_class_svm, read_sgd_svm

_SVM = "sklearn.svm._classes.OneClassSVM"
_SGD = "sklearn.linear_model._stochastic_gradient.SGDOneClassSVM"
_ENVELOPE = "sklearn.covariance._elliptic_envelope.EllipticEnvelope"
_FOREST = "sklearn.ensemble._iforest.IsolationForest"
_NEIGHBOURS = "sklearn.neighbors._lof.LocalOutlierFactor"
_VERSION = re.compile(r"\d{1,4}(\.[0-9a-z+-]{1,12}){1,4}")


def pack_model(model: Blueprint) -> Packed:
    """The numbers of a model.

    Raises Unscorable: NOT_A_DETECTOR, UNFITTED_MODEL, INCOMPATIBLE_MODEL, and UNREADABLE_MODEL for parts that
    contradict each other.
    """
    made_by = _made_by(model)
    try:
        parts = _parts(model)
        with np.errstate(all="ignore"):  # what overflows is found not to be finite
            return _packed(parts, made_by)
    except KeyError as error:
        raise _missing(str(error.args[0]), made_by) from error
    except (AttributeError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise Unscorable(Reason.UNREADABLE_MODEL, f"its parts contradict each other: {error}"[:300]) from error


def _made_by(model: Blueprint) -> str:
    said = model.state.get("_sklearn_version")
    return said if type(said) is str and _VERSION.fullmatch(said) else ""


def _missing(name: str, made_by: str) -> Unscorable:
    here = importlib.metadata.version("scikit-learn")
    if made_by not in ("", here):
        message = f"made by scikit-learn {made_by}, which {here} cannot read: {name} is missing"
        return Unscorable(Reason.INCOMPATIBLE_MODEL, message)
    return Unscorable(Reason.UNREADABLE_MODEL, f"its parts contradict each other: {name} is missing")


def _parts(model: Blueprint) -> list[Blueprint]:
    """The steps of the model, fitted; the last one detects. Raises Unscorable."""
    last = parsed.last_step(model)
    kind = last.kind if type(last) is Blueprint else type(last).__name__
    novelty = kind != _NEIGHBOURS or last.state.get("novelty") is True
    if kind not in (_SVM, _SGD, _ENVELOPE, _FOREST, _NEIGHBOURS) or not novelty:
        raise Unscorable(
            Reason.NOT_A_DETECTOR,
            f"expected an outlier detector, got a {_short(model.kind)} that ends in {_short(kind)}",
        )
    steps = [step for _, step in model.state["steps"]] if model.kind == PIPELINE else [model]
    for part in steps:
        known = type(part) is Blueprint and part.kind in (*SCALERS, last.kind)
        if known and not any(name.endswith("_") and name[:2] != "__" for name in part.state):
            raise Unscorable(Reason.UNFITTED_MODEL, f"this {_short(part.kind)} was never fitted")
    return steps


def _short(kind: str) -> str:
    return kind.rpartition(".")[2]


def _packed(parts: list[Any], made_by: str) -> Packed:
    first, last = parts[0], parts[-1]
    body = None
    if len(parts) == 1 or (len(parts) == 2 and type(first) is Blueprint and first.kind in SCALERS):  # noqa: PLR2004
        body = _body(last)
    if body is None:
        return Packed(Family.KEPT, 0, (), made_by, strict=False, numbers=np.empty(0), integers=no_integers())
    width = body.width
    scaler = read_scaler(first, width) if len(parts) > 1 else Scaler(0, np.zeros(width), np.ones(width))
    numeric = (body.intercept, body.gamma, body.coef0, body.degree)
    head = (scaler.mode, scaler.low, scaler.high, *numeric, body.count)
    numbers = np.concatenate((head, scaler.shift, scaler.scale, *body.numbers), dtype=np.float64)
    if not np.isfinite(numbers[3:]).all():
        raise ValueError("a number that it holds is not finite")
    if scaler.mode == 1 and not scaler.scale.all():
        raise ValueError("scale_ holds a zero")
    features = _features(first, width)
    return Packed(body.family, width, features, made_by, last.kind == _SVM, numbers, body.integers)


def _features(first: Blueprint, width: int) -> tuple[str, ...]:
    names = first.state.get("feature_names_in_", ())
    if isinstance(names, np.ndarray):
        names = names.tolist()
    if names and (len(names) != width or not all(type(name) is str for name in names)):
        raise ValueError(f"feature_names_in_ is not {width} names")
    return tuple(names)


def _body(part: Blueprint) -> Body | None:
    match part.kind:
        case "sklearn.svm._classes.OneClassSVM":
            return read_one_class_svm(part.state)
        case "sklearn.linear_model._stochastic_gradient.SGDOneClassSVM":
            return read_sgd_svm(part.state)
        case "sklearn.covariance._elliptic_envelope.EllipticEnvelope":
            return read_envelope(part.state)
        case "sklearn.ensemble._iforest.IsolationForest":
            trees = isolation_forest.trees(part.state)
            if trees is None:
                return None
            width, intercept = part.state.get("n_features_in_", trees.width), -read_number(part.state, "offset_")
            numbers = (trees.thresholds,)
            return Body(
                Family.FOREST, width, intercept, numbers, trees.normal, count=trees.count, integers=trees.integers
            )
    return None
