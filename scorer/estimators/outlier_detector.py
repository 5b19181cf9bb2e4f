"""What old detectors lack, and the scores of all. Knows scikit-learn, no files."""

from __future__ import annotations

from typing import Any

from scorer.errors import Unscorable
from scorer.families.isolation_forest import ScoringRule, compute_average_path
from shared.contract.reasons import Reason

from .answers import Answers, check_finite


def list_steps(estimator: Any) -> list[Any]:
    """The estimators of a model, also of nested pipelines; the last one is the detector."""
    estimator_steps = getattr(estimator, "steps", None)
    return (
        [part for _, step in estimator_steps for part in list_steps(step)]
        if isinstance(estimator_steps, list)
        else [estimator]
    )


def check_fitted(estimator: Any) -> None:
    """Raises Unscorable, UNFITTED_MODEL, for a step that was never fitted."""
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    for part in list_steps(estimator):
        names = getattr(part, "__dict__", ())
        if any(name.endswith("_") and name[:2] != "__" for name in names) and not hasattr(
            part, "__sklearn_is_fitted__"
        ):
            continue  # what `check_is_fitted` looks for, after it asked for tags, which takes longer than a prediction
        try:
            check_is_fitted(part)
        except NotFittedError as error:
            raise Unscorable(Reason.UNFITTED_MODEL, f"this {type(part).__name__} was never fitted") from error
        except TypeError:
            continue  # "passthrough" and such cannot be fitted


def complete_detector(estimator: Any, rule: ScoringRule) -> None:
    """Add to a checked forest of an older release the tables that the installed one scores with."""
    forest = list_steps(estimator)[-1]
    if type(forest).__name__ != "IsolationForest":
        return
    forest.offset_ = -rule.intercept
    vars(forest).pop("behaviour", None)  # a parameter that no later release has
    if rule.is_first or not hasattr(forest, "_decision_path_lengths"):
        trees = [tree.tree_ for tree in forest.estimators_]
        forest._decision_path_lengths = tuple(tree.compute_node_depths() for tree in trees)  # noqa: SLF001  # its own tables
        forest._average_path_length_per_tree = tuple(  # noqa: SLF001
            compute_average_path(tree.n_node_samples, is_first=rule.is_first) for tree in trees
        )


def predict_rows(estimator: Any, features: Any, rule: ScoringRule) -> Answers:
    """The score of each row, and whether it is an anomaly: the results of `decision_function` and `predict`.

    The label follows from the score alone, as in the detectors' own `predict`.
    Raises Unscorable, BAD_SCORES, and errors of estimators.
    """
    scores = check_finite(estimator.decision_function(features), (len(features),), "scores")
    return Answers(score=scores, anomaly=scores <= rule.border if rule.strict else scores < rule.border)
