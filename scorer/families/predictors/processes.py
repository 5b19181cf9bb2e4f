"""GaussianProcessRegressor, of which the mean is predicted: kernels to the training rows, times their weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from scorer.families.checks import check_equal, read_number
from scorer.families.steps import Outputs, Step, StepKind
from scorer.model_files.parsed import ParsedObject
from shared.contract.domain import Task

from .predictor import Predictor, read_matrix, read_width

_NUMBERS_LIMIT = 2**21
_DEEPEST = 8  # kernels in one another
_MOST_TERMS = 64
_KERNELS = "sklearn.gaussian_process.kernels."
_ORDERS = {0.5: 1, 1.5: 3, 2.5: 5}  # 2 nu of a Matern kernel that has a closed form
# Weights of near rows cancel each other. Beyond this ratio of their sum to the largest target, the order in which they
# are added may show in the ninth digit, and scikit-learn's own is that of its matrix product.
_LARGEST_RATIO = 1e6


@dataclass(frozen=True, slots=True)
class _Term:
    """One of the products that a kernel is the sum of. *order*: 2 nu of a Matern kernel, 0 of RBF, None: a constant."""

    factor: float
    order: int | None = None
    lengths: tuple[float, ...] = ()


def read_process(state: dict[str, Any]) -> Predictor | None:
    """The mean of one output, where the kernel is constants, noise, and one RBF or Matern kernel."""
    rows, weights = read_matrix(state, "X_train_"), read_matrix(state, "alpha_", (1, 2))
    terms = _list_terms(state["kernel_"], _DEEPEST)
    curves = [term for term in terms or () if term.order is not None]
    if terms is None or len(curves) != 1 or weights.size != len(weights) or rows.size > _NUMBERS_LIMIT:
        return None
    check_equal("the shape of alpha_", weights.shape[0], len(rows))
    mean, deviation = read_number(state, "_y_train_mean"), read_number(state, "_y_train_std")
    targets = read_matrix(state, "y_train_", (1, 2))
    constant = math.fsum(term.factor for term in terms if term.order is None)
    curve = curves[0]
    own = weights.ravel() * deviation
    largest = np.abs(targets).max() * deviation + abs(mean)
    if not (abs(curve.factor) + abs(constant)) * np.abs(own).sum() <= _LARGEST_RATIO * largest:
        return None
    offset = np.array([constant * math.fsum(own.tolist()) + mean])
    steps = _build_steps(curve, rows, own * curve.factor, offset)
    return Predictor(Task.REGRESSOR, read_width(state, rows.shape[1]), steps, Outputs())


def _build_steps(curve: _Term, rows: np.ndarray, weights: np.ndarray, offset: np.ndarray) -> list[Step]:
    n_features = rows.shape[1]
    lengths = np.array(curve.lengths)
    if len(lengths) not in (1, n_features) or not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ValueError(f"{len(lengths)} length_scale for {n_features} features, or not above 0")
    scales = np.broadcast_to(lengths, n_features)
    divide = Step(StepKind.DIVIDE, n_features, (0, n_features), (np.zeros(n_features), scales))
    vectors = rows / scales
    if curve.order == 0:
        return [divide, Step(StepKind.RBF_SUM, 1, (), (np.array([0.5]), vectors, weights, offset))]
    return [divide, Step(StepKind.MATERN_SUM, 1, (curve.order or 0,), (vectors, weights, offset))]


def _list_terms(kernel: Any, depth: int) -> list[_Term] | None:
    """The products whose sum a kernel is for two different rows; None for what is not read. Noise adds nothing."""
    if type(kernel) is not ParsedObject or not depth:
        return None
    state = kernel.state
    match kernel.kind.removeprefix(_KERNELS):
        case "WhiteKernel":
            return []
        case "ConstantKernel":
            return [_Term(read_number(state, "constant_value"))]
        case "RBF":
            return [_Term(1.0, 0, _read_lengths(state))]
        case "Matern":
            nu = state["nu"]
            order = 0 if nu == math.inf else _ORDERS.get(nu)
            return None if order is None else [_Term(1.0, order, _read_lengths(state))]
        case "Sum" | "Product" as name:
            first, second = _list_terms(state["k1"], depth - 1), _list_terms(state["k2"], depth - 1)
            if first is None or second is None:
                return None
            return first + second if name == "Sum" else _multiply(first, second)
    return None


def _multiply(first: list[_Term], second: list[_Term]) -> list[_Term] | None:
    """The products of all pairs; None where two kernels of distances meet, or there are many."""
    products: list[_Term] = []
    if len(first) * len(second) > _MOST_TERMS:
        return None
    for a in first:
        for b in second:
            if a.order is not None and b.order is not None:
                return None
            curve = b if a.order is None else a
            products.append(_Term(a.factor * b.factor, curve.order, curve.lengths))
    return products


def _read_lengths(state: dict[str, Any]) -> tuple[float, ...]:
    return tuple(np.atleast_1d(np.asarray(state["length_scale"], np.float64)).ravel().tolist())
