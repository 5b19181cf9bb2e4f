"""What the files of a model say, once they are read: its estimator, and what was saved beside it. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from shared.contract.scoring_options import Gaps

from .parsed import ParsedObject


class ThresholdOf(StrEnum):
    """What a threshold is compared with."""

    DECISION = "decision_function"  # of a detector: below it is an anomaly
    SAMPLES = "score_samples"  # the same
    PROBABILITY = "predict_proba"  # of the second of two classes: from it on that class is the label
    ABSOLUTE = "absolute_error"  # of a regressor, beside the reading that it predicts: above it is an anomaly
    MEAN_ABSOLUTE = "mean_absolute_error"  # of a regressor that predicts its own features: the same
    MEAN_SQUARED = "mean_squared_error"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A border that a person chose. *target* is the column that a regressor predicts, "" where there is none."""

    border: float
    of: ThresholdOf
    target: str = ""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model with what was saved beside it.

    *has_scaler*: a scaler was saved beside it, and is the first of the two steps of the estimator.
    """

    estimator: ParsedObject
    features: tuple[str, ...] = ()  # in the model's order; () where nothing says them
    classes: tuple[str, ...] = ()  # the texts of a classifier's classes, by its numbers
    threshold: Threshold | None = None
    has_scaler: bool = False


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What the sidecar of a model says; it beats the settings FEATURES and GAPS, and the model's own names beat it."""

    features: tuple[str, ...] = ()  # the names of the model's features, in its order
    gaps: Gaps | None = None


NO_SIDECAR = Sidecar()


DOUBLE = "double"  # MLflow's type of what readings are


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs of a model as MLflow's `MLmodel` describes them."""

    names: tuple[str, ...] = ()  # of the columns, in their order; () where it names none
    types: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # MLflow's type by column


NO_SIGNATURE = Signature()


@dataclass(frozen=True, slots=True)
class ModelContent:
    """All that the files of a model say."""

    bundle: Bundle
    sidecar: Sidecar = NO_SIDECAR
    signature: Signature = NO_SIGNATURE
    is_skops: bool = False  # the format of the file with the estimator; else a pickle

    @property
    def is_plain(self) -> bool:
        """Whether its estimator, the names of its features and who is given gaps are all that scoring needs."""
        is_alone = not self.bundle.threshold and not self.bundle.classes and not self.bundle.has_scaler
        return is_alone and not self.signature.types
