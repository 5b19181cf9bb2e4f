"""The bytes of a model file -> a fitted estimator, without running any code of the file.

The file is read and judged by the same reader and the same rules as where a kernel scores it, so it gets the same
reason in every way; only then objects are made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

from scorer.errors import Unscorable
from scorer.families import judging, registry, training
from scorer.families.isolation_forest import ScoringRule
from scorer.library_versions import UNKNOWN, get_installed_version
from scorer.model_files.companions import read_content
from scorer.model_files.content import ModelContent, Threshold
from scorer.model_files.file_formats import SIZE_LIMIT
from shared.contract.domain import Task
from shared.contract.reasons import Reason

from . import builder, classifier, outlier_detector


@dataclass(frozen=True, slots=True)
class FittedModel:
    """A checked estimator: fitted, and without contradictions."""

    estimator: Any
    task: Task
    rule: ScoringRule  # of a detector
    is_constant: bool = False  # it gives one score to all rows
    feature_names: tuple[str, ...] = ()  # that it was fitted with
    n_features: int | None = None  # None: not known
    takes_gaps: Callable[[], bool] = field(default=lambda: False)  # was it trained to bear missing values; slow
    has_own_names: bool = False  # whether it was fitted on those names, and so is given them
    classes: tuple[str, ...] = ()  # the texts of a classifier's classes, by its numbers
    threshold: Threshold | None = None
    has_scaler: bool = False  # the first of its two steps was saved beside it
    types: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # of MLflow's signature, by feature


@dataclass(frozen=True, slots=True)
class JudgedModel:
    """What a file says, read and judged; no object was made of it yet."""

    content: ModelContent
    features: tuple[str, ...]  # the names of its features; () where nothing says them
    made_by: str  # scikit-learn's version where it is not the installed one, or "unknown"; else ""


def load_model(data: bytes, size_limit: int = SIZE_LIMIT, companions: Mapping[str, bytes] | None = None) -> FittedModel:
    """The estimator in a model file: skops, or a pickle (joblib's too, compressed or not) of allowed names only.

    Raises Unscorable with a reason of a model's file.
    """
    return build_model(judge_model(data, size_limit, companions))


def judge_model(
    data: bytes, size_limit: int = SIZE_LIMIT, companions: Mapping[str, bytes] | None = None
) -> JudgedModel:
    """The content of a model's files, by the rules of the kernels. Raises Unscorable, as `load_model`."""
    content = read_content(data, companions or {}, size_limit)
    judged = judging.judge_content(content)
    made_by = judged.packed.made_by
    return JudgedModel(content, judged.features, made_by if made_by != get_installed_version() else "")


def build_model(judged: JudgedModel) -> FittedModel:
    """The estimator that a file describes. Raises Unscorable, as `load_model`."""
    bundle = judged.content.bundle
    model = bundle.estimator
    try:
        estimator = builder.build_estimator(model)
        outlier_detector.check_fitted(estimator)
        rule = registry.read_rule(model)
        task = registry.get_task(model)
        if task is Task.DETECTOR:
            outlier_detector.complete_detector(estimator, rule)
        elif task is Task.CLASSIFIER:
            classifier.check_classes(estimator)
    except Unscorable:
        raise
    except RecursionError:
        raise Unscorable(Reason.UNREADABLE_MODEL, "corrupt: it is nested deeper than any model") from None
    except Exception as error:
        raise _explain_error(judged.made_by, error) from error
    return FittedModel(
        estimator,
        task,
        rule,
        registry.is_constant(model),
        judged.features,
        training.count_features(model),
        partial(training.takes_gaps, model),
        bool(training.read_feature_names(model)),
        bundle.classes,
        bundle.threshold,
        bundle.has_scaler,
        judged.content.signature.types,
    )


def _explain_error(made_by: str, error: Exception) -> Unscorable:
    """Why no object could be made of a file: it is of another version, or broken."""
    message = f"{type(error).__name__}: {error}"[:300]
    if made_by in ("", UNKNOWN):
        return Unscorable(Reason.UNREADABLE_MODEL, f"its parts contradict each other: {message}")
    installed = get_installed_version()
    return Unscorable(
        Reason.INCOMPATIBLE_MODEL, f"made by scikit-learn {made_by}, which {installed} cannot read: {message}"
    )
