"""What prepares readings: imputers, scalers, products, and column transformers of these, as steps of a chain."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from scorer.families.checks import check_equal, read_array, read_number
from scorer.families.scalers import MIN_MAX, SCALERS, read_scaler
from scorer.families.steps import Step, StepKind, compare_rbf
from scorer.model_files.parsed import PIPELINE, ParsedObject

from .predictor import read_matrix

MOST_COLUMNS = 2**14
# Transformers that are read for the kernels. Each level is two calls of Python, so there are fewer than those that
# `training` looks at, one after the other. A model of more is scored by its library.
MOST_PARTS = 256
_NOISE = 1e-12  # of the largest variance of a component
_COLUMNS = "sklearn.compose._column_transformer.ColumnTransformer"
_MAX_ABS = "sklearn.preprocessing._data.MaxAbsScaler"
_IMPUTER = "sklearn.impute._base.SimpleImputer"
_FUNCTION = "sklearn.preprocessing._function_transformer.FunctionTransformer"


@dataclass(frozen=True, slots=True)
class Prepared:
    """The steps of a transformer, and how many columns they make."""

    steps: list[Step]
    n_columns: int


def read_transformer(part: Any, n_columns: int) -> Prepared | None:
    """The steps of a fitted transformer over *n_columns* columns.

    None where it is not packed, such as one of more than `MOST_PARTS` in one another. A transformer that gets a part
    of the columns must leave their number as it is.
    Raises KeyError, ValueError where its attributes contradict each other, or the number of columns.
    """
    if not _has_few_parts(part):
        return None
    return _read_part(part, n_columns, 0, n_columns)


def _has_few_parts(part: Any) -> bool:
    """Whether reading it visits at most `MOST_PARTS`: in a file one object may be in many places, at any depth."""
    pending, count = [part], 0
    while pending and count <= MOST_PARTS:
        item = pending.pop()
        count += 1
        if type(item) is ParsedObject and item.kind == PIPELINE:
            pending += [inner for _, inner in item.state["steps"]]
        elif type(item) is ParsedObject and item.kind == _COLUMNS:
            pending += [transformer for _, transformer, _ in item.state["transformers_"]]
    return count <= MOST_PARTS


def _read_part(part: Any, n_columns: int, first: int, end: int) -> Prepared | None:
    if part is None or (isinstance(part, str) and part == "passthrough") or _is_identity(part):
        return Prepared([], n_columns)
    if type(part) is not ParsedObject:
        return None
    if part.kind == PIPELINE:
        return _read_pipeline(part, n_columns, first, end)
    if part.kind == _MAX_ABS and part.state.get("clip"):
        return None
    if part.kind in SCALERS or part.kind == _MAX_ABS:
        return Prepared([_read_scaling(part, n_columns, first, end)], n_columns)
    is_whole = (first, end) == (0, n_columns)
    if part.kind == _IMPUTER:
        return _read_imputer(part.state, n_columns, first, end)
    if part.kind in _PRODUCTS and is_whole:
        return _PRODUCTS[part.kind](part.state, n_columns)
    return _read_columns(part.state, n_columns) if part.kind == _COLUMNS and is_whole else None


def _is_identity(part: Any) -> bool:
    """Whether it is a FunctionTransformer without a function, which scikit-learn puts where "passthrough" was said."""
    return type(part) is ParsedObject and part.kind == _FUNCTION and part.state.get("func") is None


def _read_pipeline(part: ParsedObject, n_columns: int, first: int, end: int) -> Prepared | None:
    steps: list[Step] = []
    for _, inner in part.state["steps"]:
        prepared = _read_part(inner, n_columns, first, end)
        if prepared is None or (prepared.n_columns != n_columns and (first, end) != (0, n_columns)):
            return None
        steps += prepared.steps
        if (first, end) == (0, n_columns):
            end = prepared.n_columns
        n_columns = prepared.n_columns
    return Prepared(steps, n_columns)


def _read_scaling(part: ParsedObject, n_columns: int, first: int, end: int) -> Step:
    width = end - first
    if part.kind == _MAX_ABS:
        check_equal("n_features_in_", part.state.get("n_features_in_", width), width)
        shift, scale = np.zeros(width), read_array(part.state, "scale_", (width,))
        numbers: tuple[np.ndarray, ...] = (shift, scale)
    else:
        scaler = read_scaler(part, width)
        shift, scale = scaler.shift, scaler.scale
        numbers = (shift, scale)
        if part.kind == MIN_MAX:
            numbers = (np.array([scaler.low, scaler.high]), shift, scale)
    if not (np.isfinite(shift).all() and np.isfinite(scale).all()):
        raise ValueError("a scaler holds a number that is not finite")
    if part.kind != MIN_MAX and not scale.all():
        raise ValueError("scale_ holds a zero")
    kind = StepKind.MULTIPLY if part.kind == MIN_MAX else StepKind.DIVIDE
    return Step(kind, n_columns, (first, end), numbers)


def _read_imputer(state: dict[str, Any], n_columns: int, first: int, end: int) -> Prepared | None:
    """SimpleImputer of numbers; None where it adds columns, drops any, or looks for another value than NaN."""
    missing, width = state.get("missing_values", math.nan), end - first
    if not (isinstance(missing, float) and math.isnan(missing)) or state.get("add_indicator"):
        return None
    statistics, kind = state["statistics_"], state.get("_fill_dtype", np.dtype(np.float64))
    if not isinstance(statistics, np.ndarray) or statistics.dtype.kind not in "fiu" or not isinstance(kind, np.dtype):
        return None
    values = read_array(state, "statistics_", (width,))
    if kind.kind != "f":
        return None
    values = values.astype(kind).astype(np.float64)  # as scikit-learn rounds them before it fills
    check_equal("n_features_in_", state.get("n_features_in_", width), width)
    if not np.isfinite(values).all():
        return None
    return Prepared([Step(StepKind.IMPUTE, n_columns, (first, end), (values,))], n_columns)


def _read_pca(state: dict[str, Any], n_columns: int) -> Prepared | None:
    """PCA: (x - mean) . components, and divided by the standard deviations where it whitens."""
    components = read_matrix(state, "components_")
    count = len(components)
    if state["components_"].dtype != np.float64 or state["mean_"].dtype != np.float64:
        return None  # the library multiplies them in float32
    _check_columns(components.shape[1], n_columns)
    mean = read_array(state, "mean_", (n_columns,)).astype(np.float64)
    steps = [Step(StepKind.PRODUCT, count, numbers=(components, -(components @ mean)))]
    if state.get("whiten"):
        variance = read_array(state, "explained_variance_", (count,)).astype(np.float64)
        if not (variance >= 0).all():
            raise ValueError("explained_variance_ is below 0")
        if variance.min() <= _NOISE * variance.max():
            return None  # a component of noise alone, such as of a stuck sensor: dividing by it magnifies each rounding
        scale = np.maximum(np.sqrt(variance), np.finfo(np.float64).eps)
        steps.append(Step(StepKind.DIVIDE, count, (0, count), (np.zeros(count), scale)))
    return Prepared(steps, count)


def _read_nystroem(state: dict[str, Any], n_columns: int) -> Prepared | None:
    """Nystroem with the kernel rbf: the kernel to each component, times the normalization."""
    if state.get("kernel", "rbf") != "rbf" or state.get("kernel_params"):
        return None
    components, normalization = read_matrix(state, "components_"), read_matrix(state, "normalization_")
    count = len(components)
    _check_columns(components.shape[1], n_columns)
    check_equal("the shape of normalization_", normalization.shape, (count, count))
    gamma = 1.0 / n_columns if state.get("gamma") is None else read_number(state, "gamma")
    return Prepared(compare_rbf(gamma, components, normalization, np.zeros(count)), count)


def _read_rbf_sampler(state: dict[str, Any], n_columns: int) -> Prepared | None:
    """RBFSampler: cos(x . weights + offset) * sqrt(2 / components)."""
    weights = read_matrix(state, "random_weights_")
    _check_columns(len(weights), n_columns)
    count = weights.shape[1]
    offset = read_array(state, "random_offset_", (count,)).astype(np.float64)
    factor = np.array([(2.0 / count) ** 0.5])
    product = Step(StepKind.PRODUCT, count, numbers=(weights.T, offset))
    return Prepared([product, Step(StepKind.COSINE, count, (), (factor,))], count)


_PRODUCTS: Mapping[str, Callable[[dict[str, Any], int], Prepared | None]] = MappingProxyType(
    {
        "sklearn.decomposition._pca.PCA": _read_pca,
        "sklearn.kernel_approximation.Nystroem": _read_nystroem,
        "sklearn.kernel_approximation.RBFSampler": _read_rbf_sampler,
    }
)


def _read_columns(state: dict[str, Any], n_columns: int) -> Prepared | None:
    """ColumnTransformer of transformers that leave the number of their columns: first the columns, then each branch."""
    names = state.get("feature_names_in_")
    places = {
        name: place for place, name in enumerate(names.tolist() if isinstance(names, np.ndarray) else names or ())
    }
    check_equal("n_features_in_", int(state["n_features_in_"]), n_columns)
    branches = []
    for branch in state["transformers_"]:
        _, transformer, columns = branch
        if isinstance(transformer, str) and transformer == "drop":
            continue
        selected = _find_places(columns, places, n_columns)
        if selected is None:
            return None
        if selected:
            branches.append((transformer, selected))
    order = [place for _, selected in branches for place in selected]
    is_plain = not state.get("sparse_output_") and not state.get("transformer_weights")
    if not order or len(order) > MOST_COLUMNS or not is_plain:
        return None
    steps, first = [Step(StepKind.SELECT, len(order), order)], 0
    for transformer, selected in branches:
        prepared = _read_part(transformer, len(order), first, first + len(selected))
        if prepared is None or prepared.n_columns != len(order):
            return None
        steps += prepared.steps
        first += len(selected)
    return Prepared(steps, len(order))


def _find_places(columns: Any, places: Mapping[str, int], n_columns: int) -> list[int] | None:
    """The places of a branch's columns, which are names, numbers or a mask; None for other forms."""
    if isinstance(columns, np.ndarray):
        columns = columns.tolist()
    items = columns if isinstance(columns, list) else [columns]
    if all(type(item) is str for item in items):
        return [places[item] for item in items] if set(items) <= places.keys() else None
    if all(type(item) is bool for item in items) and len(items) == n_columns:
        return [place for place, is_used in enumerate(items) if is_used]
    if all(type(item) is int and -n_columns <= item < n_columns for item in items):
        return [item % n_columns for item in items]
    return None


def _check_columns(actual: int, n_columns: int) -> None:
    check_equal("the number of features of a transformer", actual, n_columns)
