"""Bundles: a model saved together with its scaler, its columns or a threshold, as a dict, a list or a tuple.

What each usual key means stands here, in one place. A key that is not on the list is refused by its name, since it may
change what the model predicts; so is what could be meant in two ways. docs/models.md has the same for people.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np

from scorer.errors import NO_MODEL, Unscorable
from shared.contract.reasons import Reason

from . import pandas_index, parsed
from .boosters.wrappers import read_wrapper
from .content import Bundle, Threshold, ThresholdOf
from .estimator_kinds import KINDS, TASKS, WRAPPERS
from .parsed import PIPELINE, ParsedObject, describe_kind

MODEL, SCALER, FEATURES, CLASSES, ENCODER = "model", "scaler", "features", "classes", "label_encoder"
THRESHOLD, THRESHOLD_OF, TARGET = "threshold", "threshold_of", "target"
_KEYS = {
    MODEL: "model estimator clf classifier reg regressor pipeline pipe detector predictor trained_model best_model",
    SCALER: "scaler preprocessor transformer feature_scaler x_scaler imputer",
    FEATURES: "features feature_names feature_columns feature_cols columns cols input_columns input_features",
    CLASSES: "classes class_names target_names labels",
    ENCODER: "label_encoder le",
    THRESHOLD: "threshold",
    THRESHOLD_OF: "threshold_of",
    TARGET: "target target_column target_name target_col",
}
_ROLES: Mapping[str, str] = MappingProxyType({key: role for role, keys in _KEYS.items() for key in keys.split()})
# What says something about the training, and nothing that prediction needs.
# fmt: off
_REMARKS = frozenset((
    "accuracy", "algorithm", "author", "best_params", "comment", "created", "created_at", "cv_scores", "date",
    "description", "device", "device_id", "f1", "feature_importance", "feature_importances", "fitted_at",
    "git_commit", "history", "hyperparameters", "id", "info", "library", "mae", "mape", "meta", "metadata",
    "metric", "metrics", "model_name", "model_type", "model_version", "mse", "n_features", "n_rows", "n_samples",
    "name", "notes", "params", "python_version", "r2", "rmse", "score", "scores", "sensor", "sklearn_version",
    "timestamp", "train_date", "train_samples", "train_size", "trained_at", "trained_on", "trained_until",
    "training_date", "training_rows", "training_samples", "type", "version",
))
# fmt: on
_ENCODER = "sklearn.preprocessing._label.LabelEncoder"
PARTS = 100_000  # of the remarks of one bundle, that are looked at
_HINT = "see docs/models.md, Bundles"


@dataclass(slots=True)
class _Parts:
    """The parts of a bundle by their role, each with the key that it was found under."""

    parts: dict[str, tuple[str, Any]] = field(default_factory=dict)

    def add(self, role: str, key: str, value: Any) -> None:
        """Raises Unscorable where there is one of this role."""
        if value is None:
            return
        if role in self.parts:
            _refuse(f"expected one {role}, got {self.parts[role][0]!r} and {key!r}")
        self.parts[role] = (key, value)

    def get(self, role: str) -> Any:
        return self.parts.get(role, ("", None))[1]


def read_bundle(value: Any) -> Bundle:
    """The bundle in a file's content: an estimator itself, or a dict, a list or a tuple around one.

    Raises Unscorable: UNSUPPORTED_MODEL, UNFITTED_MODEL, and UNREADABLE_MODEL where parts contradict each other.
    """
    if type(value) is ParsedObject:
        return Bundle(simplify_model(value))
    if type(value) is dict:
        parts = _sort_dict({key: _read_index(item) for key, item in value.items()})
    elif type(value) in (list, tuple):
        parts = _sort_sequence(type(value)(_read_index(item) for item in value))
    else:
        _refuse(f"{NO_MODEL}, got a {describe_kind(value)}")
    estimator = parts.get(MODEL)
    if not _is_model(estimator):
        _refuse(f"expected an estimator that predicts as {parts.parts[MODEL][0]!r}, got a {describe_kind(estimator)}")
    estimator = simplify_model(estimator)
    threshold = parse_threshold({role: parts.get(role) for role in (THRESHOLD, THRESHOLD_OF, TARGET)})
    return Bundle(
        join_scaler(parts.get(SCALER), estimator),
        _read_texts(parts, FEATURES),
        _read_classes(parts),
        threshold,
        has_scaler=parts.get(SCALER) is not None,
    )


def simplify_model(value: ParsedObject) -> Any:
    """The model without searches, see `parsed.simplify_model`, and with a booster in the place of what holds it.

    Raises Unscorable (UNFITTED_MODEL, UNSUPPORTED_MODEL, INCOMPATIBLE_MODEL, TOO_LARGE), LookupError, ValueError.
    """
    model = parsed.simplify_model(value)
    last = parsed.get_last_step(model)
    if type(last) is not ParsedObject or last.kind not in WRAPPERS:
        return model
    return parsed.replace_last_step(model, read_wrapper(last))


def _read_index(value: Any) -> Any:
    """The names in a pandas Index; any other value unchanged. Raises Unscorable, UNSUPPORTED_MODEL."""
    if not pandas_index.is_index(value):
        return value
    try:
        return pandas_index.read_names(value)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        message = "expected a pandas Index of texts without gaps in the bundle: save list(frame.columns)"
        raise Unscorable(Reason.UNSUPPORTED_MODEL, message) from error


def join_scaler(scaler: Any, estimator: ParsedObject) -> ParsedObject:
    """The estimator behind the scaler: a pipeline of two steps; None is no scaler. Raises Unscorable."""
    if scaler is None:
        return estimator
    if type(scaler) is not ParsedObject or _is_model(scaler) or scaler.kind == _ENCODER:
        _refuse(f"expected a transformer as the scaler, got a {describe_kind(scaler)}")
    first = estimator.state["steps"][0][1] if estimator.kind == PIPELINE and estimator.state.get("steps") else None
    if type(first) is ParsedObject and first.kind == scaler.kind:
        _refuse(f"expected a scaler beside the model or in its pipeline, got a {describe_kind(scaler)} in both")
    version = estimator.state.get("_sklearn_version")
    state = {"steps": [("scaler", scaler), ("model", estimator)], "memory": None, "verbose": False}
    return ParsedObject(PIPELINE, {**state, "_sklearn_version": version} if version else state)


def parse_threshold(parts: Mapping[str, Any]) -> Threshold | None:
    """The threshold that these parts describe by the keys threshold, threshold_of, target. Raises Unscorable.

    A threshold alone could be of a score, of an error or of a probability, above or below it; so it is refused.
    """
    border, quantity, target = (_simplify(parts.get(key)) for key in (THRESHOLD, THRESHOLD_OF, TARGET))
    if border is None:
        if quantity is not None:
            _refuse(f"expected a threshold beside threshold_of {_show(quantity)}, got none")
        return None
    if type(border) not in (int, float) or not math.isfinite(border):
        _refuse(f"expected a finite number as the threshold, got {_show(border)}")
    if not isinstance(quantity, str) or quantity not in list(ThresholdOf):
        message = f"expected threshold_of, one of {', '.join(ThresholdOf)}, beside the threshold {border!r}"
        _refuse(f"{message}, got {_show(quantity)}")
    needs_target = quantity == ThresholdOf.ABSOLUTE
    if needs_target and not (isinstance(target, str) and target):
        _refuse(f"expected the column that the model predicts as target, got {_show(target)}")
    return Threshold(float(border), ThresholdOf(quantity), target if needs_target else "")


def _sort_dict(value: dict[Any, Any]) -> _Parts:
    parts = _Parts()
    for key, item in value.items():
        role = _ROLES.get(key.lower()) if type(key) is str else None
        if role:
            parts.add(role, key, item)
        elif type(key) is not str or key.lower() not in _REMARKS or _has_estimator(item):
            _refuse(f"expected a model and what belongs to it under usual keys, got the key {_show(key)}")
    if parts.get(MODEL) is None:
        _refuse(f"expected a model under one of the keys {', '.join(_KEYS[MODEL].split())}, got none")
    return parts


def _sort_sequence(value: Sequence[Any]) -> _Parts:
    """The parts of a list or a tuple by what they are: their order says nothing."""
    parts = _Parts()
    for index, item in enumerate(value):
        parts.add(_find_role(item), f"item {index}", item)
    if parts.get(MODEL) is None:
        _refuse(f"expected a model in the {type(value).__name__}, got none")
    return parts


def _find_role(item: Any) -> str:
    if type(item) is ParsedObject:
        return MODEL if _is_model(item) else ENCODER if item.kind == _ENCODER else SCALER
    if isinstance(item, list | tuple | np.ndarray):
        return FEATURES
    if item is None or type(_simplify(item)) in (int, float):
        return THRESHOLD
    return _refuse(f"expected a model, a scaler, names or a threshold in the bundle, got a {describe_kind(item)}")


def _is_model(value: Any) -> bool:
    """Whether a part predicts: what it ends in decides, also for a search."""
    if type(value) is not ParsedObject:
        return False
    last = parsed.get_last_step(parsed.simplify_model(value))
    return type(last) is ParsedObject and (last.kind in TASKS or last.kind in WRAPPERS)


def _read_texts(parts: _Parts, role: str) -> tuple[str, ...]:
    value = parts.get(role)
    if value is None:
        return ()
    texts = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(texts, list | tuple) or not texts:
        kind = "an empty one" if isinstance(texts, list | tuple) else f"a {describe_kind(value)}"
        _refuse(f"expected a list of names as {parts.parts[role][0]!r}, got {kind}")
    if unusable := [text for text in texts if not isinstance(text, str) or not text]:
        _refuse(f"expected a list of names as {parts.parts[role][0]!r}, got one with {_show(unusable[0])}")
    if len(set(texts)) < len(texts):
        _refuse(f"expected different names as {parts.parts[role][0]!r}, got one twice")
    return tuple(str(text) for text in texts)


def _read_classes(parts: _Parts) -> tuple[str, ...]:
    """The names of the classes, of which the classifier has the numbers."""
    names = _read_texts(parts, CLASSES)
    encoder = parts.get(ENCODER)
    if encoder is None:
        return names
    if type(encoder) is not ParsedObject or encoder.kind != _ENCODER:
        _refuse(f"expected a LabelEncoder as {parts.parts[ENCODER][0]!r}, got a {describe_kind(encoder)}")
    classes = encoder.state.get("classes_")
    items = classes.tolist() if isinstance(classes, np.ndarray) and classes.ndim == 1 else classes
    if not isinstance(items, list) or not all(isinstance(item, str | int | float) for item in items):
        raise Unscorable(Reason.UNREADABLE_MODEL, "its LabelEncoder has no list of classes")
    encoded = tuple(str(item) for item in items)
    if names and names != encoded:
        message = f"its parts contradict each other: classes are {names[:5]}, those of its encoder {encoded[:5]}"
        raise Unscorable(Reason.UNREADABLE_MODEL, message[:300])
    return encoded


def _has_estimator(value: Any) -> bool:
    """Whether a remark holds an estimator, which might be a further part of the model.

    Each part is looked at once, however often it is used; a remark of more than PARTS parts counts as if it held one.
    """
    pending, visited = [value], dict[int, Any]()
    while pending:
        part = pending.pop()
        if type(part) is ParsedObject and (part.kind in KINDS or part.kind in WRAPPERS):
            return True
        parts = list(part.values()) if isinstance(part, dict) else part if isinstance(part, list | tuple) else ()
        if len(pending) + len(visited) + len(parts) > PARTS:
            return True
        if id(part) not in visited:
            visited[id(part)] = part
            pending += parts
    return False


def _simplify(value: Any) -> Any:
    """A number of NumPy as Python's own."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    return value


def _show(value: Any) -> str:
    """A simple value for a message; of others the type, since parts that are used again and again have no end."""
    if value is None:
        return "none"
    return (
        repr(value)[:40]
        if type(value) in (int, float, bool)
        else repr(value[:40])
        if type(value) is str
        else describe_kind(value)
    )


def _refuse(message: str) -> NoReturn:
    raise Unscorable(Reason.UNSUPPORTED_MODEL, f"{message}: {_HINT}")
