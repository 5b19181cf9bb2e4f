"""Makes objects of what a model file holds, by the allow-list. Only for a process in the sandbox, or `convert`.

No constructor, method or function that a file names is called with arguments of the file, but for the few makers of
parts here, which check what they are given. Whatever scoring does not need becomes None.
"""

from __future__ import annotations

import importlib
from functools import cache, lru_cache
from typing import Any, cast

import numpy as np

from scorer.errors import Unscorable
from scorer.families.checks import read_release
from scorer.model_files.allowlist import PARTIAL, SEARCHES, USES, Use
from scorer.model_files.boosters.wrappers import read_wrapper
from scorer.model_files.estimator_kinds import BOOSTERS
from scorer.model_files.parsed import Global, ObjectArray, ParsedObject, describe_kind
from shared.contract.reasons import Reason

from . import completion, parts
from .checks import attribute_checks

_TRANSFORMER = "sklearn.preprocessing._function_transformer.FunctionTransformer"
_FUNCTIONS, _ARGUMENTS = ("func", "inverse_func"), ("kw_args", "inv_kw_args")
_TARGET = "sklearn.compose._target.TransformedTargetRegressor"  # the other one that calls functions
_CURVE, _METRICS = "sklearn.metrics._scorer._CurveScorer", "sklearn.metrics._classification."
_PARTIAL = "functools.partial"


def build_estimator(model: ParsedObject) -> Any:
    """The estimator that a file describes, with the attributes that the installed release expects.

    Raises Unscorable (UNSUPPORTED_MODEL), and any error for a file whose parts do not fit.
    """
    return _Builder().build_value(model)


class _Builder:
    """Builds the values of one file. What the file holds once and uses twice is built once."""

    def __init__(self) -> None:
        self._built: dict[int, tuple[Any, Any]] = {}  # by identity; with the original, so that it stays alive

    def build_value(self, value: Any) -> Any:
        if type(value) not in _CONTAINERS:
            return _own_array(value) if isinstance(value, np.ndarray) else value
        if id(value) not in self._built:
            self._built[id(value)] = (value, None)  # what holds itself holds None there
            self._built[id(value)] = (value, self._build_container(value))
        return self._built[id(value)][1]

    def _build_container(self, value: Any) -> Any:
        match value:
            case ParsedObject():
                return self._build_object(value)
            case Global():
                return _get_type(value)
            case ObjectArray():
                return _make_object_array([self.build_value(item) for item in value], value.shape)
            case dict():
                return {key: self.build_value(item) for key, item in value.items()}
            case list():
                return [self.build_value(item) for item in value]
        return tuple([self.build_value(item) for item in value])

    def _build_object(self, parsed: ParsedObject) -> Any:
        if parsed.kind in SEARCHES:  # as a step: it does what its best estimator does
            # One that was never fitted is a template inside another estimator, which only fitting uses.
            return self.build_value(parsed.state.get("best_estimator_"))
        if parsed.kind in BOOSTERS:
            return _build_booster(parsed)
        match USES[parsed.kind]:
            case Use.ESTIMATOR:
                return self._build_estimator(parsed)
            case Use.PART:
                is_kept = parsed.kind not in parts.COPIED
                state = {
                    name: self.build_value(item) if is_kept or type(item) is not np.ndarray else item
                    for name, item in parsed.state.items()
                }
                return parts.make_part(parsed.kind, state)
            case Use.UNUSED:
                return None
            case Use.BOOSTER:
                return _build_wrapper(parsed)
        raise ValueError(f"expected an object, got a call of {parsed.kind}")

    def _build_estimator(self, parsed: ParsedObject) -> Any:
        _check_functions(parsed)
        kind = _import_kind(parsed.kind)
        state = {
            attribute: item if type(item) in _PLAIN else self._build_attribute(parsed, attribute, item)
            for attribute, item in parsed.state.items()
            if _is_attribute(kind, attribute) and not _is_unused(item)
        }
        state.pop("__args__", None)
        state.pop("_sklearn_version", None)
        estimator: Any = object.__new__(kind)
        vars(estimator).update(completion.complete_state(kind, state, read_release(parsed.state)))
        completion.complete_estimator(estimator)
        attribute_checks.check_estimator(estimator)
        return estimator

    def _build_attribute(self, parsed: ParsedObject, attribute: str, value: Any) -> Any:
        return _get_function(value) if _is_function(parsed, attribute, value) else self.build_value(value)


def _build_booster(parsed: ParsedObject) -> Any:
    from .booster import build_booster  # it imports scikit-learn

    return build_booster(parsed)


def _build_wrapper(parsed: ParsedObject) -> Any:
    """The booster of an object inside another estimator; a template for one that was never fitted."""
    try:
        return _build_booster(read_wrapper(parsed))
    except Unscorable as error:
        if error.reason is not Reason.UNFITTED_MODEL:
            raise
    from .booster import make_template  # it imports scikit-learn

    return make_template(parsed.kind)


_CONTAINERS = frozenset({ParsedObject, Global, ObjectArray, dict, list, tuple})
_PLAIN = frozenset({bool, float, int, str, type(None)})


@lru_cache(maxsize=4096)  # of the names that a fleet's files use; a file may hold any others
def _is_attribute(kind: type, name: str) -> bool:
    """Whether a file may set an attribute: one of the constructor, or one that its class does not have."""
    return name in completion.list_defaults(kind) or not hasattr(kind, name)


@cache
def _import_kind(name: str) -> type:
    """The class of an estimator of the allow-list."""
    assert USES[name] is Use.ESTIMATOR
    module, _, kind = name.rpartition(".")
    return cast(type, getattr(importlib.import_module(module), kind))


def _is_unused(value: Any) -> bool:
    return type(value) is ParsedObject and USES[value.kind] is Use.UNUSED and value.kind not in SEARCHES


def _is_function(parsed: ParsedObject, attribute: str, value: Any) -> bool:
    """Whether a value is a function, at the only places where one may be. Raises Unscorable for any other place."""
    if parsed.kind == _CURVE and attribute == "_score_func":
        return type(value) is Global and value.name.startswith(_METRICS)
    if type(value) is not Global or USES[value.name] is not Use.FUNCTION:
        return False
    if parsed.kind not in (_TRANSFORMER, _TARGET) or attribute not in _FUNCTIONS:
        raise _make_misplaced(f"{value.name} as {attribute[:40]}")
    return True


def _check_functions(parsed: ParsedObject) -> None:
    """Raises Unscorable where the function of a transformer would be left out, or called with arguments of the file."""
    for attribute in _ARGUMENTS if parsed.kind == _TRANSFORMER else ():
        if parsed.state.get(attribute):
            message = f"expected a FunctionTransformer without {attribute}, got one with it"
            raise Unscorable(Reason.UNSUPPORTED_MODEL, message)
    for attribute in _FUNCTIONS if parsed.kind in (_TRANSFORMER, _TARGET) else ():
        value = parsed.state.get(attribute)
        if type(value) is Global and USES[value.name] is Use.FUNCTION:
            continue
        if value is not None and not _is_check(value):
            raise _make_misplaced(f"{describe_kind(value)} as {attribute}")


def _is_check(value: Any) -> bool:
    """Whether a value is what HistGradientBoosting does to its numeric columns: nothing, but for checks of ours too."""
    if type(value) is not ParsedObject or value.kind != _PARTIAL:
        return False
    state = value.state.get("__state__")
    function, arguments, options, *_ = state if isinstance(state, tuple) and len(state) > 2 else (None, None, None)  # noqa: PLR2004
    is_check = type(function) is Global and function.name == PARTIAL and arguments == () and isinstance(options, dict)
    return is_check and set(options) <= {"dtype", "ensure_all_finite", "force_all_finite"}


def _make_misplaced(description: str) -> Unscorable:
    message = (
        f"expected no function but NumPy's in a FunctionTransformer or TransformedTargetRegressor, got {description}"
    )
    return Unscorable(Reason.UNSUPPORTED_MODEL, message)


def _get_function(token: Global) -> Any:
    """The function of a name: of NumPy, or a metric of scikit-learn, whose signature alone is read."""
    module, _, name = token.name.rpartition(".")
    assert USES[token.name] is Use.FUNCTION or token.name.startswith(_METRICS)
    return getattr(importlib.import_module(module), name)


def _get_type(token: Global) -> Any:
    """The value of a name: a type of numbers; None for what scoring does not use."""
    if USES[token.name] is Use.TYPE:
        return np.dtype(token.name.rpartition(".")[2].rstrip("_")).type
    if USES[token.name] is Use.FUNCTION:
        raise _make_misplaced(token.name)
    return None


def _own_array(array: np.ndarray) -> np.ndarray:
    """A copy in the machine's order of bytes, which may be written to: native code expects both."""
    return np.array(array, array.dtype.newbyteorder("="), order="K", copy=True)


def _make_object_array(items: list[Any], shape: Any) -> np.ndarray:
    array = np.empty(len(items), object)
    array[:] = [None] * len(items)
    for index, item in enumerate(items):
        array[index] = item
    return array.reshape(shape)
