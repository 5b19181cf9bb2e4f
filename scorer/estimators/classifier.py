"""The class that a classifier gives each row, and its probability. Knows scikit-learn's conventions, no files."""

from __future__ import annotations

from typing import Any

import numpy as np

from scorer.errors import Unscorable
from scorer.families.class_names import name_classes
from scorer.predictions.rows import Texts
from shared.contract.reasons import Reason
from shared.contract.scoring_options import Probabilities

from .answers import Answers, check_finite, check_per_row, name_outputs, repeat_outputs


def predict_rows(estimator: Any, features: Any, probabilities: Probabilities, names: tuple[str, ...] = ()) -> Answers:
    """The label of each row, as `predict` gives it, and its probability where there is `predict_proba`.

    Of several outputs a row each. With Probabilities.ALL each row is followed by one for each class, whose *output* is
    the class and which has no label. *names* are the texts of its classes, by its numbers.

    Raises Unscorable, BAD_SCORES, UNSUPPORTED_MODEL, and errors of estimators.
    """
    predicted = np.asarray(estimator.predict(features))
    classes = estimator.classes_
    if predicted.ndim == 2 and predicted.shape[1] == 1:  # noqa: PLR2004  # a column is one output
        predicted = predicted[:, 0]
        classes = classes[0] if isinstance(classes, list) else classes
    has_probabilities = hasattr(estimator, "predict_proba")
    shares = estimator.predict_proba(features) if has_probabilities else None
    if predicted.ndim == 1:
        if isinstance(shares, list):
            (shares,) = shares
        return _answer_single(predicted, np.asarray(classes), shares, probabilities, names)
    return _answer_outputs(predicted, classes, shares)


def check_classes(estimator: Any) -> None:
    """Raises Unscorable, UNSUPPORTED_MODEL, for a classifier whose classes have no texts of their own."""
    classes = estimator.classes_
    for of_output in classes if isinstance(classes, list) else [classes]:
        name_classes(np.asarray(of_output).tolist())


def _answer_single(
    predicted: np.ndarray, classes: np.ndarray, shares: Any, probabilities: Probabilities, class_names: tuple[str, ...]
) -> Answers:
    """The answers of a classifier of one output."""
    rows, names = len(predicted), name_classes(classes.tolist(), class_names)
    codes = _find_codes(predicted, classes)
    if shares is None:
        return Answers(label=Texts(codes, names))
    shares = check_finite(shares, (rows, len(names)), "probabilities")
    of_label = shares[np.arange(rows), codes]
    if probabilities is Probabilities.LABEL:
        return Answers(label=Texts(codes, names), probability=of_label)
    per_row = 1 + len(names)
    check_per_row(per_row, "rows with PROBABILITIES=all")
    labels, outputs = np.full((rows, per_row), -1, np.int32), np.full((rows, per_row), -1, np.int32)
    labels[:, 0] = codes
    outputs[:, 1:] = np.arange(len(names))
    numbers = np.concatenate([of_label[:, None], shares], axis=1).reshape(-1)
    return Answers(
        label=Texts(labels.reshape(-1), names),
        output=Texts(outputs.reshape(-1), names),
        probability=numbers,
        per_row=per_row,
    )


def _answer_outputs(predicted: np.ndarray, classes: Any, shares: Any) -> Answers:
    """The answers of a classifier of several outputs, which have classes of their own."""
    rows, n_outputs = predicted.shape
    outputs = name_outputs(n_outputs)
    classes_of_output = [np.array([0, 1])] * n_outputs if isinstance(classes, np.ndarray) else list(classes)
    all_names: dict[str, int] = {}
    codes = np.empty((rows, n_outputs), np.int32)
    probability = None if shares is None else np.empty((rows, n_outputs))
    for output, output_classes in enumerate(classes_of_output):
        names = name_classes(np.asarray(output_classes).tolist())
        output_codes = _find_codes(predicted[:, output], np.asarray(output_classes))
        codes[:, output] = np.array([all_names.setdefault(name, len(all_names)) for name in names])[output_codes]
        if probability is not None:
            probability[:, output] = _select_shares(shares, output, output_codes, len(names))
    return Answers(
        label=Texts(codes.reshape(-1), tuple(all_names)),
        output=repeat_outputs(outputs, rows),
        probability=None if probability is None else probability.reshape(-1),
        per_row=n_outputs,
    )


def _select_shares(shares: Any, output: int, codes: np.ndarray, n_classes: int) -> np.ndarray:
    """The probability of each row's label in one output.

    A list has an array for each output; an array has the probability of class 1 of each output.
    """
    rows = np.arange(len(codes))
    if isinstance(shares, list):
        of_output = check_finite(shares[output], (len(codes), n_classes), "probabilities")
        of_label: np.ndarray = of_output[rows, codes]
        return of_label
    of_one = check_finite(np.asarray(shares)[:, output], (len(codes),), "probabilities")
    share: np.ndarray = np.where(codes == 1, of_one, 1 - of_one)
    return share


def _find_codes(predicted: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The index of each row's label among the classes, which are in any order. Raises Unscorable, BAD_SCORES."""
    code_of = {item: code for code, item in enumerate(classes.tolist())}
    try:
        return np.array([code_of[item] for item in predicted.tolist()], np.int32)
    except (KeyError, TypeError) as error:
        message = f"expected labels among {len(classes)} classes, got another: {error}"[:200]
        raise Unscorable(Reason.BAD_SCORES, message) from error
