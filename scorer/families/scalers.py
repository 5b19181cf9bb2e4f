"""The scaler before a detector, as a shift and a scale."""

from __future__ import annotations

import math

import numpy as np

from scorer.model_files.parsed import ParsedObject

from .base import Scaler
from .checks import check_equal, read_array

STANDARD, MIN_MAX, ROBUST = (f"sklearn.preprocessing._data.{n}Scaler" for n in ("Standard", "MinMax", "Robust"))

SCALERS = (STANDARD, MIN_MAX, ROBUST)


def read_scaler(part: ParsedObject, n_features: int) -> Scaler:
    """The step before the detector: the shift and the scale that its options leave on."""
    state = part.state
    check_equal("n_features_in_", state.get("n_features_in_", n_features), n_features)
    if part.kind == MIN_MAX:
        shift, scale = read_array(state, "min_", (n_features,)), read_array(state, "scale_", (n_features,))
        if not state.get("clip", False):
            return Scaler(2, shift, scale)
        low, high = (float(bound) for bound in state["feature_range"])
        if not -math.inf < low <= high < math.inf:
            raise ValueError(f"feature_range is {low} to {high}")
        return Scaler(2, shift, scale, low, high)
    names = (
        ("with_mean", "mean_", "with_std") if part.kind == STANDARD else ("with_centering", "center_", "with_scaling")
    )
    shift = read_array(state, names[1], (n_features,)) if state[names[0]] else np.zeros(n_features)
    scale = read_array(state, "scale_", (n_features,)) if state[names[2]] else np.ones(n_features)
    return Scaler(1, shift, scale)
