"""Boosters and scikit-learn's wrappers of XGBoost in pickles, joblib and skops files -> the same as of XGBoost's files.

A pickled Booster holds `handle`: UBJSON of {"Config", "Model"}, of which the model is what `save_model` writes
(`Booster.__getstate__` in xgboost/core.py, `Learner::Save` in src/learner.cc).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scorer.errors import Unscorable
from scorer.model_files.parsed import ParsedObject
from shared.contract.reasons import Reason

from . import xgboost_file

BOOSTER = "xgboost.core.Booster"
_TYPES = ("classifier", "regressor", "ranker")  # scikit-learn's words, in which the names of wrappers end
_BYTEARRAY = "builtins.bytearray"


def read_wrapper(wrapper: ParsedObject) -> ParsedObject:
    """The model in a Booster or a wrapper, one of `estimator_kinds.WRAPPERS`. Raises as `wrappers.read_wrapper`."""
    booster = wrapper if wrapper.kind == BOOSTER else wrapper.state.get("_Booster")
    name = wrapper.kind.rpartition(".")[2]
    if booster is None or (type(booster) is ParsedObject and booster.state.get("handle") is None):
        raise Unscorable(Reason.UNFITTED_MODEL, f"this {name} was never fitted")
    if type(booster) is not ParsedObject or booster.kind != BOOSTER:
        raise ValueError(f"expected the Booster of a {name}, got something else")
    if wrapper is not booster:
        missing = wrapper.state.get("missing")
        xgboost_file.check_missing(missing.item() if isinstance(missing, np.generic) else missing)
    document = xgboost_file.read_booster(_get_bytes(booster.state["handle"]))
    if type(document) is dict and "Model" in document:
        document = document["Model"]
    estimator_type = next((word for word in _TYPES if name.lower().endswith(word)), "")
    model = xgboost_file.make_model(document, estimator_type)
    _check_classes(wrapper, model, name)
    return model


def _get_bytes(handle: Any) -> bytes:
    """The bytes of a bytearray: as they are, or as the call that protocols 2 to 4 make of one."""
    if type(handle) is ParsedObject and handle.kind == _BYTEARRAY:
        content, *encoding = handle.state.get("__args__") or (b"",)
        handle = content.encode("latin-1") if type(content) is str and encoding == ["latin-1"] else content
    if type(handle) is not bytes:
        raise ValueError("expected the bytes of a Booster, got something else")
    return handle


def _check_classes(wrapper: ParsedObject, model: ParsedObject, name: str) -> None:
    """Raises ValueError where a classifier and its Booster disagree about the number of classes."""
    count = wrapper.state.get("n_classes_")
    if not model.state["is_classifier"] or wrapper.kind == BOOSTER or count is None:
        return
    expected = len(model.state["classes_"])
    if int(count) not in ((1, 2) if expected == 2 else (expected,)):  # noqa: PLR2004  # one class is fitted as two
        raise ValueError(f"this {name} has {int(count)} classes and its Booster {expected}")
