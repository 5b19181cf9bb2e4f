"""A booster in the place of an estimator: computed by our own kernel, so its maker's library is not needed on nodes."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from scorer.errors import Unscorable
from scorer.families.predictors import reader
from scorer.kernels.numpy_steps import predict_rows
from scorer.model_files.parsed import ParsedObject
from shared.contract.domain import Task
from shared.contract.reasons import Reason


class PackedBooster(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What a file of LightGBM or XGBoost describes, with the methods of an estimator that scoring calls."""

    def __init__(self, read: reader.ReadModel) -> None:
        self.read = read
        self.n_features_in_ = read.n_features
        self.classes_ = np.array(read.predictor.classes)

    def fit(self, *_: Any) -> Self:
        """Not done here: a Pipeline asks whether there is such a method."""
        raise NotImplementedError

    @property
    def feature_importances_(self) -> np.ndarray:
        """Not computed: a SelectFromModel asks for them at each prediction. Raises Unscorable."""
        raise Unscorable(
            Reason.UNSUPPORTED_MODEL,
            "expected a selection of columns that does not ask a booster, got one that does: use RFE, or save the "
            "model with the columns that were selected",
        )

    def predict(self, features: Any) -> np.ndarray:
        """The prediction, or several, or the class of each row."""
        outputs, labels = self._predict(features)
        if self.read.predictor.task is Task.CLASSIFIER:
            classes: np.ndarray = self.classes_[labels]
            return classes
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def _predict(self, features: Any) -> tuple[np.ndarray, np.ndarray]:
        rows = np.asarray(features, np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.n_features_in_:  # noqa: PLR2004  # rows and features
            raise ValueError(f"expected {self.n_features_in_} features, got an array of shape {rows.shape}")
        chain = self.read.chain
        outputs, labels = predict_rows(chain.integers, chain.numbers, rows)
        if not np.isfinite(outputs).all():
            place = tuple(np.argwhere(np.abs(rows) > np.finfo(np.float32).max)[:1].tolist())
            if place:
                value = rows[tuple(place[0])]
                raise Unscorable(Reason.BAD_READINGS, f"expected numbers that float32 holds, got {float(value)!r}")
        return outputs, labels


class PackedRegressor(RegressorMixin, PackedBooster):  # type: ignore[misc]
    """The same, and scikit-learn is told that it is a regressor."""


class PackedLabels(ClassifierMixin, PackedBooster):  # type: ignore[misc]
    """The same of a classifier without probabilities."""


class PackedClassifier(PackedLabels):
    """The same of a classifier that has probabilities."""

    def predict_proba(self, features: Any) -> np.ndarray:
        """The probability of each class, float64[rows, classes]."""
        return self._predict(features)[0]


class PackedLightGBM(PackedClassifier):
    """The same of LightGBM, which has decision_function since 4.7: scikit-learn asks it before probabilities."""

    def decision_function(self, _: Any) -> np.ndarray:
        """Refused: what was asked when the model around it was fitted, its file does not say. Raises Unscorable."""
        raise Unscorable(
            Reason.UNSUPPORTED_MODEL,
            "expected LightGBM alone, or in an estimator that asks for its probabilities, got one in an estimator that "
            "asks for raw scores where its release has them, which the file does not say",
        )


def make_template(name: str) -> BaseEstimator:
    """What stands for a booster that was never fitted, inside an estimator that only fitting copies it for."""
    kind = PackedClassifier if name.endswith("Classifier") else PackedRegressor
    template: BaseEstimator = object.__new__(kind)
    return template


def build_booster(parsed: ParsedObject) -> PackedBooster:
    """The booster of a file. Raises KeyError, ValueError, and Unscorable for what is not computed exactly."""
    read = reader.read_model([], parsed, None)
    assert read is not None  # each kind of booster has a reader
    if read.predictor.task is not Task.CLASSIFIER:
        return PackedRegressor(read)
    if not read.predictor.has_probability:
        return PackedLabels(read)
    return PackedLightGBM(read) if parsed.kind.startswith("lightgbm.") else PackedClassifier(read)
