"""A Blueprint -> the numbers that a kernel needs, checked so well that native code may trust them blindly.

    numbers   head (8) | shift (width) | scale (width) | body
    head      scaler, low, high, intercept, gamma, coef0, degree, n
    scaler    0: none; 1: (x - shift) / scale; 2: x * scale + shift, then clipped to low..high
    body      RBF, POLY, SIGMOID   coef (n), support vectors (n, width)
              LINEAR               weights (width)
              ENVELOPE             location (width), precision (width, width)
              FOREST               see forests.py; gamma is the normalising path length, n the number of trees

The score is intercept plus the sum of the body's terms. Attributes are read where scikit-learn itself reads them when
it predicts; what is read twice over must agree. Anything that is safe and no packed family is KEPT: scikit-learn
scores it, in a child.
"""

from __future__ import annotations

import importlib.metadata
import math
import re
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np

from scorer.errors import Unscorable
from scorer.model_files import parsed, reader
from scorer.model_files.parsed import PIPELINE, Blueprint
from scorer.model_files.reader import SIZE_LIMIT
from shared.contract.domain import Reason

from . import isolation_forest

HEAD = 8
WIDEST_ENVELOPE = 512  # features; checking one takes their third power
HIGHEST_DEGREE = 2**31  # what libsvm has room for
MOST_NUMBERS = 2**24  # of one model: 128 MiB; what is larger is KEPT, in a child with a limit on its memory

_SVM = "sklearn.svm._classes.OneClassSVM"
_SGD = "sklearn.linear_model._stochastic_gradient.SGDOneClassSVM"
_ENVELOPE = "sklearn.covariance._elliptic_envelope.EllipticEnvelope"
_FOREST = "sklearn.ensemble._iforest.IsolationForest"
_NEIGHBOURS = "sklearn.neighbors._lof.LocalOutlierFactor"
_STANDARD, _MIN_MAX, _ROBUST = (f"sklearn.preprocessing._data.{n}Scaler" for n in ("Standard", "MinMax", "Robust"))
_SCALERS = (_STANDARD, _MIN_MAX, _ROBUST)
_VERSION = re.compile(r"\d{1,4}(\.[0-9a-z+-]{1,12}){1,4}")


class Family(IntEnum):
    """Which arithmetic gives the score."""

    KEPT = 0
    RBF = 1
    LINEAR = 2
    POLY = 3
    SIGMOID = 4
    ENVELOPE = 5
    FOREST = 6


_KERNELS = {"rbf": Family.RBF, "linear": Family.LINEAR, "poly": Family.POLY, "sigmoid": Family.SIGMOID}


@dataclass(frozen=True, slots=True)
class Packed:
    """All that scoring needs of a model. KEPT: safe and readable, but scikit-learn itself must score it."""

    family: Family
    width: int  # features that it wants; 0 where KEPT
    features: tuple[str, ...]  # their names; () where it was fitted without
    made_by: str  # the scikit-learn that made it; "" where the file does not say
    strict: bool  # an anomaly is a score of 0 or less; else below 0
    numbers: np.ndarray  # float64, 1-D, as above
    integers: np.ndarray  # int32, 1-D; empty but for FOREST


def _no_integers() -> np.ndarray:
    return np.empty(0, np.int32)


@dataclass(frozen=True, slots=True)
class _Body:
    """What a detector alone gives; None in place of it means KEPT."""

    family: Family
    width: int
    intercept: float
    numbers: tuple[np.ndarray, ...]
    gamma: float = 0.0
    coef0: float = 0.0
    degree: float = 0.0
    count: int = 0
    integers: np.ndarray = field(default_factory=_no_integers)


@dataclass(frozen=True, slots=True)
class _Scaler:
    mode: int
    shift: np.ndarray
    scale: np.ndarray
    low: float = -math.inf
    high: float = math.inf


def pack_model(data: bytes, size_limit: int = SIZE_LIMIT) -> Packed:
    """The numbers of a model file. Nothing of the file runs.

    Raises Unscorable: what `blueprints.read` raises, NOT_A_DETECTOR, UNFITTED_MODEL, INCOMPATIBLE_MODEL, and
    UNREADABLE_MODEL for parts that contradict each other.
    """
    model = reader.read(data, size_limit)
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
            f"wanted an outlier detector, found a {_short(model.kind)} that ends in {_short(kind)}",
        )
    steps = [step for _, step in model.state["steps"]] if model.kind == PIPELINE else [model]
    for part in steps:
        known = type(part) is Blueprint and part.kind in (*_SCALERS, last.kind)
        if known and not any(name.endswith("_") and name[:2] != "__" for name in part.state):
            raise Unscorable(Reason.UNFITTED_MODEL, f"this {_short(part.kind)} was never fitted")
    return steps


def _short(kind: str) -> str:
    return kind.rpartition(".")[2]


def _packed(parts: list[Any], made_by: str) -> Packed:
    first, last = parts[0], parts[-1]
    body = None
    if len(parts) == 1 or (len(parts) == 2 and type(first) is Blueprint and first.kind in _SCALERS):  # noqa: PLR2004
        body = _body(last)
    if body is None:
        return Packed(Family.KEPT, 0, (), made_by, strict=False, numbers=np.empty(0), integers=_no_integers())
    width = body.width
    scaler = _scaler(first, width) if len(parts) > 1 else _Scaler(0, np.zeros(width), np.ones(width))
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


def _body(part: Blueprint) -> _Body | None:
    match part.kind:
        case "sklearn.svm._classes.OneClassSVM":
            return _svm(part.state)
        case "sklearn.linear_model._stochastic_gradient.SGDOneClassSVM":
            return _sgd(part.state)
        case "sklearn.covariance._elliptic_envelope.EllipticEnvelope":
            return _envelope(part.state)
        case "sklearn.ensemble._iforest.IsolationForest":
            trees = isolation_forest.trees(part.state)
            if trees is None:
                return None
            width, intercept = part.state.get("n_features_in_", trees.width), -_number(part.state, "offset_")
            numbers = (trees.thresholds,)
            return _Body(
                Family.FOREST, width, intercept, numbers, trees.normal, count=trees.count, integers=trees.integers
            )
    return None


def _svm(state: dict[str, Any]) -> _Body | None:
    """OneClassSVM, as `_dense_decision_function` of scikit-learn hands it to libsvm."""
    vectors, kernel = state["support_vectors_"], state["kernel"]
    if type(vectors) is Blueprint or state.get("_sparse") or kernel == "precomputed" or type(kernel) is not str:
        return None
    count, width = vectors.shape
    if not count or not width or kernel not in _KERNELS:
        raise ValueError(f"{count} support vectors of {width} features, kernel {kernel[:20]!r}")
    if vectors.size > MOST_NUMBERS:
        return None
    coefficients = _numeric(state, "_dual_coef_", (1, count))
    if not (_numeric(state, "dual_coef_", (1, count)) == coefficients).all():
        raise ValueError("dual_coef_ and _dual_coef_ differ")
    _numeric(state, "support_", (count,))
    _of_numbers("support_vectors_", vectors)
    _agree("n_features_in_", state.get("n_features_in_", width), width)
    _agree("shape_fit_", state.get("shape_fit_", (0, width))[1], width)
    counts = state.get("_n_support")
    if counts is not None:  # what libsvm reads; the second number means nothing here
        _agree("_n_support", int(counts[0]), count)
    intercept = _number(state, "_intercept_")
    _agree("intercept_", _number(state, "intercept_"), intercept)
    family = _KERNELS[kernel]
    if family is Family.LINEAR:
        weights = coefficients[0].astype(np.float64) @ vectors.astype(np.float64)
        return _Body(family, width, intercept, (weights,))
    gamma, coef0, degree = _number(state, "_gamma"), _number(state, "coef0"), _number(state, "degree")
    if gamma < 0 or not 0 <= degree < HIGHEST_DEGREE or degree != int(degree):
        raise ValueError(f"gamma is {gamma}, degree is {degree}")
    return _Body(family, width, intercept, (coefficients[0], vectors.ravel()), gamma, coef0, degree, count)


def _sgd(state: dict[str, Any]) -> _Body | None:
    weights = state["coef_"].ravel()
    width = len(weights)
    if not width:
        raise ValueError("coef_ is empty")
    _of_numbers("coef_", weights)
    if state["coef_"].shape not in ((width,), (1, width)):
        raise ValueError(f"coef_ is {state['coef_'].shape} where {(1, width)} is wanted")
    _agree("n_features_in_", state.get("n_features_in_", width), width)
    return _Body(Family.LINEAR, width, -_number(state, "offset_"), (weights,))


def _envelope(state: dict[str, Any]) -> _Body | None:
    location, precision = state["location_"], state["precision_"]
    if precision is None or not state.get("store_precision", True):
        return None  # scikit-learn inverts the covariance at each prediction
    width = len(location)
    if not width:
        raise ValueError("location_ is empty")
    if width > WIDEST_ENVELOPE:
        return None
    _numeric(state, "location_", (width,))
    _numeric(state, "precision_", (width, width))
    _agree("n_features_in_", state.get("n_features_in_", width), width)
    _positive(precision.astype(np.float64))
    numbers = (location, precision.ravel())
    return _Body(Family.ENVELOPE, width, -_number(state, "offset_"), numbers)


def _positive(precision: np.ndarray) -> None:
    """A distance by it must be the root of something; rounding may leave it a little short of that."""
    if not np.isfinite(precision).all():
        raise ValueError("precision_ holds a number that is not finite")
    largest = np.abs(precision).max()
    if not np.allclose(precision, precision.T, rtol=0, atol=1e-6 * largest):
        raise ValueError("precision_ is not symmetric")
    if np.linalg.eigvalsh(precision)[0] < -1e-6 * largest:
        raise ValueError("precision_ makes distances negative")


def _scaler(part: Blueprint, width: int) -> _Scaler:
    """The step before the detector. Its `transform` shifts and scales with what its switches leave on."""
    state = part.state
    _agree("n_features_in_", state.get("n_features_in_", width), width)
    if part.kind == _MIN_MAX:
        shift, scale = _numeric(state, "min_", (width,)), _numeric(state, "scale_", (width,))
        if not state.get("clip", False):
            return _Scaler(2, shift, scale)
        low, high = (float(bound) for bound in state["feature_range"])
        if not -math.inf < low <= high < math.inf:
            raise ValueError(f"feature_range is {low} to {high}")
        return _Scaler(2, shift, scale, low, high)
    names = (
        ("with_mean", "mean_", "with_std") if part.kind == _STANDARD else ("with_centering", "center_", "with_scaling")
    )
    shift = _numeric(state, names[1], (width,)) if state[names[0]] else np.zeros(width)
    scale = _numeric(state, "scale_", (width,)) if state[names[2]] else np.ones(width)
    return _Scaler(1, shift, scale)


def _numeric(state: dict[str, Any], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """An array of numbers of just this shape. Raises KeyError, ValueError."""
    array = state[name]
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise ValueError(f"{name} is not an array of numbers")
    if array.shape != shape:
        raise ValueError(f"{name} is {array.shape} where {shape} is wanted")
    return array


def _number(state: dict[str, Any], name: str) -> float:
    """A number, or the only one in an array. Raises KeyError, ValueError."""
    value = state[name]
    if isinstance(value, np.ndarray):
        value = value.item()
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{name} is not a finite number")
    return float(value)


def _of_numbers(name: str, found: np.ndarray) -> None:
    if found.dtype.kind not in "fiu":
        raise ValueError(f"{name} holds no numbers but {found.dtype.name}")


def _agree(name: str, found: object, wanted: object) -> None:
    if found != wanted:
        said = found if type(found) in (int, bool) else f"a {type(found).__name__}"  # never what may be endless to show
        raise ValueError(f"{name} is {said} where {wanted} is wanted")
