"""What the files of a model come to: its numbers for a kernel, the names of its features, and whether parts fit."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scorer.errors import Unscorable
from scorer.model_files.content import DOUBLE, ModelContent, Threshold, ThresholdOf
from scorer.model_files.parsed import get_last_step
from shared.contract.domain import Task
from shared.contract.reasons import Reason

from . import registry, training
from .base import Packed
from .class_names import name_classes

_TASKS = {
    ThresholdOf.DECISION: Task.DETECTOR,
    ThresholdOf.SAMPLES: Task.DETECTOR,
    ThresholdOf.PROBABILITY: Task.CLASSIFIER,
    ThresholdOf.ABSOLUTE: Task.REGRESSOR,
    ThresholdOf.MEAN_ABSOLUTE: Task.REGRESSOR,
    ThresholdOf.MEAN_SQUARED: Task.REGRESSOR,
}


@dataclass(frozen=True, slots=True)
class JudgedContent:
    """A model whose parts fit. *features* are the names of its features, () where nothing says them."""

    packed: Packed
    features: tuple[str, ...]
    n_features: int | None


def judge_content(content: ModelContent) -> JudgedContent:
    """The numbers of a model and the names of its features, of which those in its own file come first.

    A model with a threshold or columns of other types than float64 is KEPT. The column that a
    threshold needs is among the features of the packed model, which say what must be read.

    Raises Unscorable, as `registry.pack_model`; UNSUPPORTED_MODEL for a threshold that another kind of model needs,
    UNREADABLE_MODEL where parts contradict each other, WRONG_FEATURES for a sidecar with another number of names.
    """
    bundle = content.bundle
    if bundle.has_scaler:
        _check_order(content)
    packed, task = registry.pack_model(bundle.estimator), registry.get_task(bundle.estimator)
    count = packed.n_features or training.count_features(bundle.estimator)
    features = _choose_features(content, packed.features, count)
    if bundle.threshold:
        _check_threshold(bundle.threshold, task, features)
    if bundle.classes and task is not Task.CLASSIFIER:
        _contradict(f"it has names of classes, and is a {task}")
    target = (bundle.threshold.target,) if bundle.threshold and bundle.threshold.target else ()
    types = content.signature.types
    if types and (untyped := [name for name in features if name not in types]):
        _contradict(f"the signature in MLmodel has no type for its feature {untyped[0]!r}")
    is_cast = any(kind != DOUBLE for kind in types.values())
    if bundle.classes and packed.predicted:
        classes = name_classes(packed.predicted.classes, bundle.classes)
        packed = replace(packed, predicted=replace(packed.predicted, classes=classes))
    if bundle.threshold or is_cast:
        packed = registry.make_kept(packed.features, packed.made_by)
    if packed.features != (*features, *target):
        packed = replace(packed, features=(*features, *target))
    return JudgedContent(packed, features, count)


def _choose_features(content: ModelContent, own: tuple[str, ...], count: int | None) -> tuple[str, ...]:
    stated, origin = content.bundle.features, "the columns beside it"
    if not stated:
        stated, origin = content.signature.names, "the signature in MLmodel"
    own = _restore_blanks(content, own, stated or content.sidecar.features)
    if stated and own:
        if surplus := sorted(set(own) - set(stated)):
            _contradict(f"it was fitted on {surplus[0]!r}, which is not among {origin}")
        return own
    if stated and count not in (None, len(stated)):
        _contradict(f"it was fitted on {count} features, and {origin} are {len(stated)}")
    if own or stated:
        return own or stated
    n_names = len(content.sidecar.features)
    if n_names and count not in (None, n_names):
        raise Unscorable(
            Reason.WRONG_FEATURES, f"expected {count} features, got {n_names} names in the sidecar features.json"
        )
    return content.sidecar.features


def _restore_blanks(content: ModelContent, own: tuple[str, ...], stated: tuple[str, ...]) -> tuple[str, ...]:
    """The names of a booster of LightGBM, which writes underscores for blanks, as those beside it are spelt."""
    last = get_last_step(content.bundle.estimator)
    spelling = {name.replace(" ", "_"): name for name in stated}
    if not last.kind.startswith("lightgbm.") or len(spelling) < len(stated):
        return own
    return tuple(spelling.get(name, name) for name in own)


def _check_order(content: ModelContent) -> None:
    """Raise Unscorable where a scaler and the model behind it were fitted on the same columns in another order.

    The model gets the scaler's columns by their position, so each would be taken for another.
    """
    (_, scaler), (_, model) = content.bundle.estimator.state["steps"]
    names = training.read_feature_names(scaler)
    origin = "its scaler was fitted on"
    if not names:
        names = content.bundle.features or content.signature.names or content.sidecar.features
        origin = "the columns beside it are"
    expected = training.read_feature_names(model)
    if names != expected and sorted(names) == sorted(expected):
        _contradict(f"{origin} {', '.join(names)[:80]}, and it on {', '.join(expected)[:80]}: fit both on one order")


def _check_threshold(threshold: Threshold, task: Task, features: tuple[str, ...]) -> None:
    """Raise Unscorable where a model of this task has nothing that the threshold could be compared with."""
    if task is not _TASKS[threshold.of]:
        raise Unscorable(
            Reason.UNSUPPORTED_MODEL,
            f"expected a {_TASKS[threshold.of]} for a threshold of {threshold.of}, got a {task}",
        )
    if threshold.target and not features:
        raise Unscorable(
            Reason.UNSUPPORTED_MODEL,
            f"expected names of the features beside the target {threshold.target[:40]!r}, got none: fit the model on "
            "named columns, or give their names in the bundle or a sidecar",
        )
    if threshold.target in features:
        _contradict(f"its target {threshold.target[:40]!r} is one of its features")


def _contradict(problem: str) -> None:
    raise Unscorable(Reason.UNREADABLE_MODEL, f"its parts contradict each other: {problem}"[:300])
