"""Products of the readings with weights: linear regressors and classifiers, and naive Bayes."""

from __future__ import annotations

from typing import Any

import numpy as np

from scorer.families.checks import read_number, read_release
from scorer.families.steps import LabelRule, Outputs, Step, StepKind
from scorer.families.trees.ensemble import Link
from scorer.model_files.parsed import ParsedObject
from shared.contract.domain import Task

from .predictor import Predictor, read_classes, read_matrix, read_width

WEIGHTS_LIMIT = 2**22  # of one model: 32 MiB
_BINARY = 2
_AUTO_SINCE = (0, 22)  # the first release whose default of multi_class is auto


def read_regressor(state: dict[str, Any], link: Link = Link.IDENTITY) -> Predictor | None:
    """A linear regressor of one or several outputs: x . coef_ + intercept_."""
    weights, offset = _read_weights(state)
    if weights.size > WEIGHTS_LIMIT:
        return None
    n_outputs, n_features = weights.shape
    step = Step(StepKind.PRODUCT, n_outputs, numbers=(weights, offset))
    return Predictor(Task.REGRESSOR, read_width(state, n_features), [step], Outputs(link, count=n_outputs))


def read_tweedie(state: dict[str, Any]) -> Predictor | None:
    """TweedieRegressor; None where its link is not known from its parameters."""
    link, power = state.get("link", "auto"), state.get("power", 0.0)
    if link == "auto" and isinstance(power, int | float):
        link = "log" if power > 0 else "identity"
    if link not in ("log", "identity"):
        return None
    return read_regressor(state, Link.EXP if link == "log" else Link.IDENTITY)


def read_classifier(state: dict[str, Any], link: Link | None = None) -> Predictor | None:
    """A linear classifier. *link* makes probabilities of its totals; None: it has none.

    LinearClassifierMixin.decision_function and predict: the second of two classes where the total is above 0, or the
    first largest total.
    """
    binarizer = state.get("_label_binarizer")
    if type(binarizer) is ParsedObject and str(binarizer.state.get("y_type_", "")).startswith("multilabel"):
        return None  # several labels for each row
    weights, offset = _read_weights(state)
    n_totals, n_features = weights.shape
    n_classes = _BINARY if n_totals == 1 else n_totals
    classes = read_classes(state, n_classes)
    if classes is None or weights.size > WEIGHTS_LIMIT:
        return None
    step = Step(StepKind.PRODUCT, n_totals, numbers=(weights, offset))
    rule = LabelRule.ABOVE_ZERO if n_totals == 1 else LabelRule.LARGEST_TOTAL
    if link is None:
        outputs = Outputs(Link.IDENTITY, rule, count=n_totals)
    else:
        outputs = Outputs(Link.SIGMOID if n_totals == 1 else link, rule, count=n_classes)
    width = read_width(state, n_features)
    return Predictor(Task.CLASSIFIER, width, [step], outputs, classes, has_probability=link is not None)


def read_logistic(state: dict[str, Any]) -> Predictor | None:
    """LogisticRegression of today's form: a sigmoid for two classes, softmax for more; None for older forms.

    Where classes were fitted one against the rest, releases differ, see estimators/completion.py: not packed.
    """
    release = read_release(state)
    kind = state.get("multi_class", "auto" if release is None or release >= _AUTO_SINCE else "ovr")
    n_classes = len(state["classes_"])
    is_separate = kind in ("ovr", "warn") or (kind in ("auto", "deprecated") and state.get("solver") == "liblinear")
    if (is_separate and n_classes > _BINARY) or (kind == "multinomial" and n_classes == _BINARY):
        return None
    return read_classifier(state, Link.SOFTMAX)


def read_sgd_classifier(state: dict[str, Any]) -> Predictor | None:
    """SGDClassifier: probabilities only for the loss log_loss; that of modified_huber is not packed."""
    loss = state.get("loss", "hinge")
    if loss == "modified_huber" or type(loss) is not str:
        return None
    return read_classifier(state, Link.NORMED_SIGMOIDS if loss in ("log_loss", "log") else None)


def read_sgd_detector(state: dict[str, Any]) -> Predictor:
    """SGDOneClassSVM: x . coef_ - offset_, an anomaly below 0."""
    weights = np.atleast_2d(read_matrix(state, "coef_", (1, 2)))
    if len(weights) != 1:
        raise ValueError(f"coef_ is {weights.shape} where one row is expected")
    offset = np.array([-read_number(state, "offset_")])
    step = Step(StepKind.PRODUCT, 1, numbers=(weights, offset))
    return Predictor(Task.DETECTOR, read_width(state, weights.shape[1]), [step], Outputs(rule=LabelRule.BELOW_ZERO))


def read_multinomial_bayes(state: dict[str, Any]) -> Predictor | None:
    """MultinomialNB: x . feature_log_prob_ + class_log_prior_."""
    return _read_bayes(state, read_matrix(state, "class_log_prior_", (1,)))


def read_complement_bayes(state: dict[str, Any]) -> Predictor | None:
    """ComplementNB: x . feature_log_prob_; its prior is used for one class only, which is not packed."""
    return _read_bayes(state, np.zeros(len(state["classes_"])))


def read_gaussian_bayes(state: dict[str, Any]) -> Predictor | None:
    """GaussianNB, as its _joint_log_likelihood; variances were called sigma_ until 0.24."""
    means = read_matrix(state, "theta_")
    name = "var_" if "var_" in state else "sigma_"
    variances = read_matrix(state, name)
    if state[name].dtype != np.float64:
        return None  # the library takes their logarithms in float32
    prior = read_matrix(state, "class_prior_", (1,))
    n_classes, n_features = means.shape
    classes = read_classes(state, n_classes)
    if classes is None:
        return None
    if variances.shape != means.shape or prior.shape != (n_classes,) or not (variances > 0).all():
        raise ValueError(f"means are {means.shape}, variances {variances.shape}, or not above 0")
    with np.errstate(divide="ignore"):
        constant = np.log(prior) - 0.5 * np.sum(np.log(2.0 * np.pi * variances), axis=1)
    if not np.isfinite(constant).all():
        return None
    step = Step(StepKind.GAUSSIAN, n_classes, numbers=(constant, means, variances))
    outputs = Outputs(Link.SOFTMAX, LabelRule.LARGEST_TOTAL, count=n_classes)
    return Predictor(Task.CLASSIFIER, read_width(state, n_features), [step], outputs, classes, has_probability=True)


def _read_bayes(state: dict[str, Any], offset: np.ndarray) -> Predictor | None:
    weights = read_matrix(state, "feature_log_prob_")
    n_classes, n_features = weights.shape
    classes = read_classes(state, n_classes)
    if classes is None or weights.size > WEIGHTS_LIMIT:
        return None
    if offset.shape != (n_classes,):
        raise ValueError(f"class_log_prior_ is {offset.shape} for {n_classes} classes")
    step = Step(StepKind.PRODUCT, n_classes, numbers=(weights, offset))
    outputs = Outputs(Link.SOFTMAX, LabelRule.LARGEST_TOTAL, count=n_classes)
    return Predictor(Task.CLASSIFIER, read_width(state, n_features), [step], outputs, classes, has_probability=True)


def _read_weights(state: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The weights, [totals, features], and what is added, [totals]."""
    weights = np.atleast_2d(read_matrix(state, "coef_", (1, 2)))
    intercept = np.atleast_1d(np.asarray(state["intercept_"]))
    if intercept.dtype.kind not in "fiu" or intercept.ndim != 1 or len(intercept) not in (1, len(weights)):
        raise ValueError(f"intercept_ is {intercept.shape} for {len(weights)} outputs")
    if not np.isfinite(intercept).all():
        raise ValueError("intercept_ holds a number that is not finite")
    offset: np.ndarray = np.broadcast_to(intercept.astype(np.float64), len(weights))
    return weights, offset
