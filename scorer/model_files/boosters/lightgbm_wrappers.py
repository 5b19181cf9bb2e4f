"""LightGBM's objects in pickles and skops files -> the same as the text of their booster, which they hold.

`lightgbm.basic.Booster` keeps its text as `_handle`, before 4.0 as `handle`, and LGBMClassifier and its like keep the
booster as `_Booster`: https://github.com/microsoft/LightGBM/blob/master/python-package/lightgbm/sklearn.py
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scorer.errors import Unscorable
from scorer.model_files.parsed import ObjectArray, ParsedObject, describe_kind
from shared.contract.reasons import Reason

from .lightgbm_text import CLASSIFIER, REGRESSOR, read_text

_BOOSTER = "lightgbm.basic.Booster"
_CLASSIFIER = "lightgbm.sklearn.LGBMClassifier"
# Options of a wrapper that its predict hands on; all others of LightGBM do not change what a booster predicts.
_EARLY_STOP = "pred_early_stop"


def read_wrapper(value: ParsedObject) -> ParsedObject:
    """The booster of an object of `estimator_kinds.WRAPPERS`, as `read_text` has it, with the classes of a classifier.

    Raises Unscorable (UNFITTED_MODEL, UNSUPPORTED_MODEL, and as `read_text`), LookupError, ValueError.
    """
    if value.kind == _BOOSTER:
        return _read_booster(value)
    booster = value.state.get("_Booster")
    if booster is None:
        raise _make_unfitted(value)
    if type(booster) is not ParsedObject or booster.kind != _BOOSTER:
        raise ValueError(f"expected a Booster in a {describe_kind(value)}, got a {describe_kind(booster)}")
    _check_options(value)
    parsed = _read_booster(booster)
    state = {name: item for name, item in parsed.state.items() if name != "classes_"}
    _check_features(value.state, state["n_features_in_"])
    if value.kind != _CLASSIFIER:
        return ParsedObject(REGRESSOR, state)
    return ParsedObject(CLASSIFIER, {**state, "classes_": _read_classes(value.state)})


def _read_booster(booster: ParsedObject) -> ParsedObject:
    """The booster, which predicts with the rounds that early stopping chose, as LightGBM's own does."""
    text = booster.state.get("_handle", booster.state.get("handle"))
    if text is None:
        raise _make_unfitted(booster)
    if type(text) is not str:
        raise ValueError(f"expected the text of a booster, got a {describe_kind(text)}")
    parsed = read_text(text.encode())
    best = booster.state.get("best_iteration")
    categories = booster.state.get("pandas_categorical")
    if type(best) not in (int, type(None)) or type(categories) not in (list, type(None)):
        raise ValueError("expected a number as best_iteration and a list as pandas_categorical, got something else")
    n_columns = max(len(categories or ()), parsed.state["n_category_columns"])
    state = {**parsed.state, "best_iteration": max(best or 0, 0), "n_category_columns": n_columns}
    return ParsedObject(parsed.kind, state)


def _check_options(wrapper: ParsedObject) -> None:
    """Raises Unscorable for what a wrapper's predict does beyond its booster's."""
    options = wrapper.state.get("_other_params")
    if isinstance(options, dict) and options.get(_EARLY_STOP) not in (None, False):
        message = f"expected a {describe_kind(wrapper)} that asks all of its trees, got one with {_EARLY_STOP}"
        raise Unscorable(Reason.UNSUPPORTED_MODEL, message)


def _check_features(state: dict[str, Any], expected: int) -> None:
    for name in ("_n_features", "_n_features_in"):
        count = state.get(name)
        if type(count) is int and count not in (-1, expected):
            raise ValueError(f"expected {expected} as {name}, got {count}")


def _read_classes(state: dict[str, Any]) -> np.ndarray | list[Any]:
    """The classes by the encoder that LGBMClassifier's predict asks; an array, or a list of texts and numbers."""
    encoder, stated = state.get("_le"), state.get("_classes")
    classes = encoder.state.get("classes_") if type(encoder) is ParsedObject else stated
    items, other = (_list_classes(value) for value in (classes, classes if stated is None else stated))
    if items != other:
        raise ValueError("its classes are others than those of its encoder")
    return classes if isinstance(classes, np.ndarray) else items


def _list_classes(value: Any) -> list[Any]:
    is_list = isinstance(value, ObjectArray) or (isinstance(value, np.ndarray) and value.ndim == 1)
    items = list(value) if isinstance(value, ObjectArray) else value.tolist() if is_list else []
    if not items or not all(isinstance(item, str | int | float) for item in items):
        raise ValueError("expected a list of classes, got none")
    return items


def _make_unfitted(value: ParsedObject) -> Unscorable:
    return Unscorable(Reason.UNFITTED_MODEL, f"this {describe_kind(value)} was never fitted")
