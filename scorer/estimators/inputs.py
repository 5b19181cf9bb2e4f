"""The rows of readings as an estimator gets them: with names or without, in the types of MLflow's signature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scorer.errors import Unscorable
from scorer.readings import features
from scorer.readings.device_readings import Readings
from scorer.readings.features import Expected, ModelReadings
from shared.contract.domain import Model
from shared.contract.reasons import Reason
from shared.contract.scoring_options import Gaps

from .loader import FittedModel

# Types of MLflow's columns: https://mlflow.org/docs/latest/ml/model/signatures/
_TYPES: dict[str, type[np.generic]] = {
    "integer": np.int32,
    "long": np.int64,
    "float": np.float32,
    "double": np.float64,
    "boolean": np.bool_,
}


@dataclass(frozen=True, slots=True)
class ModelInput:
    """The readings of a model: *features* as its estimator gets them, and *target*, the reading that it predicts."""

    readings: ModelReadings
    features: Any  # an array or a frame of shape (rows, n_features)
    target: np.ndarray | None  # float64, one a row


def select_input(fitted: FittedModel, gaps: Gaps | None, model: Model, readings: Readings) -> ModelInput:
    """The rows that a model scores. *gaps* is what its sidecar says.

    Raises Unscorable, as `build_model_readings`, and BAD_READINGS for a value that its signature's type cannot hold.
    """
    target = fitted.threshold.target if fitted.threshold else ""
    names, count = fitted.feature_names, fitted.n_features
    expected = Expected(names, count, gaps=gaps)
    if target:
        expected = replace(expected, names=(*names, target), count=None if count is None else count + 1)
    model_readings = _select_readings(fitted, expected, model, readings)
    if not target:
        return ModelInput(model_readings, _arrange_features(fitted, model_readings.values), None)
    model_readings = _drop_unknown_targets(model_readings, target)
    values = model_readings.values
    return ModelInput(model_readings, _arrange_features(fitted, values[:, :-1]), values[:, -1])


def _select_readings(fitted: FittedModel, expected: Expected, model: Model, readings: Readings) -> ModelReadings:
    """The rows of a model. Whether it takes gaps is asked only where there are some: of a forest that takes long."""
    rows = features.find_frame_rows(readings, model)
    try:
        complete = features.build_model_readings(readings, model, rows, expected)
    except Unscorable:
        if not fitted.takes_gaps():
            raise
    else:
        if not complete.left_out or not fitted.takes_gaps():
            return complete
    return features.build_model_readings(readings, model, rows, replace(expected, takes_gaps=True))


def _drop_unknown_targets(readings: ModelReadings, target: str) -> ModelReadings:
    """Without the rows that lack the target, which has no gaps whatever the model takes."""
    has_target = ~np.isnan(readings.values[:, -1])
    if has_target.all():
        return readings
    if not has_target.any():
        raise Unscorable(Reason.SENSOR_SILENT, f"its device has readings, but none of its target {target[:40]!r}")
    n_left_out = readings.left_out + int(np.count_nonzero(~has_target))
    return replace(readings, time=readings.time[has_target], values=readings.values[has_target], left_out=n_left_out)


def _arrange_features(fitted: FittedModel, values: np.ndarray) -> Any:
    """The features as in training: a frame where it was one, else an array."""
    if fitted.types:
        import pandas as pd

        columns = {
            name: cast_column(values[:, index], fitted.types[name], name)
            for index, name in enumerate(fitted.feature_names)
        }
        frame = pd.DataFrame(columns)
        return frame if fitted.has_own_names else frame.to_numpy()
    if not fitted.has_own_names:
        return values
    import pandas as pd

    return pd.DataFrame(values, columns=list(fitted.feature_names))


def cast_column(values: np.ndarray, kind: str, name: str) -> np.ndarray:
    """A column of readings in the type of the signature. Raises Unscorable, BAD_READINGS, where a value is not of it.

    A gap is a value of `float` and `double` only. A `float` is rounded to the nearest, as a text such as 0.1 is when it
    is read as one, but must not be too large.
    """
    target = _TYPES[kind]
    if target is np.float64:
        return values
    with np.errstate(all="ignore"):
        cast = values.astype(target)
        same = np.isfinite(cast) | ~np.isfinite(values) if target is np.float32 else cast.astype(np.float64) == values
    if not same.all():
        value = float(values[np.argmin(same)])
        message = (
            f"column {name[:40]!r} has {value!r}, expected a value of type {kind}, as the signature in MLmodel says"
        )
        raise Unscorable(Reason.BAD_READINGS, message)
    return cast
