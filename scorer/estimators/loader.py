"""The bytes of a model file -> a fitted estimator, without running any code of the file.

The file is read and judged by the same reader and the same rules as where a kernel scores it, so it gets the same
reason in every way; only then objects are made of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scorer.errors import Unscorable
from scorer.families import registry, training
from scorer.families.isolation_forest import ScoringRule
from scorer.model_files import reader
from scorer.model_files.parsed import ParsedObject
from scorer.model_files.reader import SIZE_LIMIT
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
    takes_gaps: bool = False  # whether it was trained to bear missing values


@dataclass(frozen=True, slots=True)
class JudgedModel:
    """What a file says, read and judged; no object was made of it yet."""

    model: ParsedObject
    made_by: str  # scikit-learn's version where it is not the installed one, or "unknown"; else ""


def load_model(data: bytes, size_limit: int = SIZE_LIMIT) -> FittedModel:
    """The estimator in a model file: skops, or a pickle (joblib's too, compressed or not) of allowed names only.

    Raises Unscorable with a reason of a model's file.
    """
    return build_model(judge_model(data, size_limit))


def judge_model(data: bytes, size_limit: int = SIZE_LIMIT) -> JudgedModel:
    """The content of a model file, by the rules of the kernels. Raises Unscorable, as `load_model`."""
    model = reader.read_model(data, size_limit)
    made_by = registry.pack_model(model).made_by
    return JudgedModel(model, made_by if made_by != registry.get_installed_version() else "")


def build_model(judged: JudgedModel) -> FittedModel:
    """The estimator that a file describes. Raises Unscorable, as `load_model`."""
    model = judged.model
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
        training.read_feature_names(model),
        training.count_features(model),
        training.takes_gaps(model),
    )


def _explain_error(made_by: str, error: Exception) -> Unscorable:
    """Why no object could be made of a file: it is of another version, or broken."""
    message = f"{type(error).__name__}: {error}"[:300]
    if made_by in ("", registry.UNKNOWN):
        return Unscorable(Reason.UNREADABLE_MODEL, f"its parts contradict each other: {message}")
    installed = registry.get_installed_version()
    return Unscorable(
        Reason.INCOMPATIBLE_MODEL, f"made by scikit-learn {made_by}, which {installed} cannot read: {message}"
    )
