"""Score the models of a chunk, each for itself: what goes wrong with one is its verdict and hurts no other."""

from __future__ import annotations

import importlib.metadata
import itertools
import logging
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.contract import Verdict, clip
from shared.domain import SKIPS, Model, Reason
from shared.errors import FleetError, NotFound

from . import detectors, formats, signals
from .formats import Detector
from .readings import Readings
from .results import Predictions
from .signals import Signal
from .stores import Container, Content
from .unscorable import Unscorable, refused

FETCHERS = 8
AHEAD = 64  # models that are fetched before their turn; bounds the memory

# A file of readings that is broken is said once, by its name, not once for each model.
_SAID_ELSEWHERE = SKIPS | {Reason.UNREADABLE_READINGS}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Scored:
    """One model's verdict, its predictions if there are any, and what a person should hear all the same."""

    verdict: Verdict
    predictions: Predictions | None = None
    left_out: int = 0  # rows that lacked a feature
    repeated: int = 0  # rows that a file of other columns replaced
    made_by: str = ""  # the other scikit-learn that made it


def score(models: Sequence[Model], container: Container, readings: Readings) -> Iterator[Scored]:
    """Each model's verdict, in their order, as it comes. Raises Unavailable when the store of the models is gone."""
    for model, content in fetch(models, container, readings):
        one = score_one(model, content, readings)
        tell(one)
        yield one


def fetch(
    models: Sequence[Model], container: Container, readings: Readings
) -> Iterator[tuple[Model, Content | Exception]]:
    """Each model with its file, or with why there is nothing to score, in their order. Raises Unavailable."""
    with ThreadPoolExecutor(FETCHERS) as pool:
        waiting: deque[tuple[Model, Future[Content]]] = deque()
        rest = iter(models)
        while True:
            waiting.extend(
                (m, pool.submit(_fetch, container, m, readings)) for m in itertools.islice(rest, AHEAD - len(waiting))
            )
            if not waiting:
                return
            model, future = waiting.popleft()
            try:
                content = future.result()
            except FleetError:
                raise  # the store's trouble, not the model's
            except Exception as error:  # noqa: BLE001  # a model fails alone, whatever it does
                yield model, error
            else:
                yield model, content


def _fetch(container: Container, model: Model, readings: Readings) -> Content:
    """The model's file, unless it is clear already that nothing will come of it."""
    if model.refused:
        raise refused(model)
    signals.find(readings, model)
    try:
        return container.read(model.name)
    except NotFound as error:
        raise Unscorable(Reason.MODEL_REMOVED, f"{model.name} was there when the run was planned") from error


def score_one(model: Model, content: Content | Exception, readings: Readings) -> Scored:
    """One model's verdict. Says and keeps nothing; where *content* is an error, that is what the model fails by."""
    etag = made_by = ""
    try:
        if isinstance(content, Exception):
            raise content
        etag = content.etag
        detector = formats.load(content.data)
        made_by = detector.made_by
        signal = _signal(detector, model, readings)
        with warnings.catch_warnings(action="ignore"):  # a log with a line for each model helps nobody
            scores, anomalies = detectors.judge(detector.estimator, _features(detector, signal.values))
    except Exception as error:  # noqa: BLE001  # a model fails alone, whatever it does
        reason, message = _blame(error, made_by)
        return Scored(Verdict(model.id, reason=reason, message=message, etag=_changed(etag, model)))
    value = signal.values[:, 0] if signal.values.shape[1] == 1 else None
    predictions = Predictions(model, etag, signal.time, value, scores, anomalies)
    verdict = Verdict(model.id, len(scores), int(np.count_nonzero(anomalies)), etag=_changed(etag, model))
    return Scored(verdict, predictions, signal.left_out, signal.repeated, made_by)


def tell(one: Scored) -> None:
    """A line in the log for a model that failed."""
    verdict = one.verdict
    if verdict.reason and verdict.reason not in _SAID_ELSEWHERE:
        log.warning("model=%s failed: %s: %s", verdict.model, verdict.reason, verdict.message)


def _signal(detector: Detector, model: Model, readings: Readings) -> Signal:
    names = tuple(str(name) for name in getattr(detector.estimator, "feature_names_in_", ()))
    count = getattr(detector.estimator, "n_features_in_", None)
    return signals.signal(readings, model, signals.find(readings, model), names, count)


def _features(detector: Detector, values: np.ndarray) -> Any:
    """As the estimator was given them in training: with names, or without."""
    names = getattr(detector.estimator, "feature_names_in_", None)
    if names is None:
        return values
    import pandas as pd

    return pd.DataFrame(values, columns=names)


def _blame(error: Exception, made_by: str) -> tuple[Reason, str]:
    """The reason and the message for a verdict."""
    if isinstance(error, Unscorable):
        return error.reason, clip(str(error))
    message = clip(f"{type(error).__name__}: {error}")
    if type(error).__name__ == "NotFittedError":  # by name: importing scikit-learn for it would cost a second
        return Reason.UNFITTED_MODEL, message
    return Reason.INCOMPATIBLE_MODEL if made_by else Reason.ESTIMATOR_ERROR, message


def _changed(etag: str, model: Model) -> str:
    """The etag for the verdict: only where it is not the manifest's."""
    return etag if etag != model.etag else ""


def remarks(readings: Readings, ended: Sequence[Scored]) -> tuple[str, ...]:
    """Sentences for a person about what did not fail and yet should be known."""
    left_out = sum(one.left_out for one in ended)
    repeated = readings.repeated + sum(one.repeated for one in ended)
    counted = [
        (readings.missing, "readings had no usable value and were left out"),
        (repeated, "readings were replaced by a later one of the same time, device and sensor"),
        (left_out, "rows lacked one of the features that their model wants and were left out"),
    ]
    by_version: dict[str, list[str]] = {}
    for one in ended:
        if one.made_by:
            by_version.setdefault(one.made_by, []).append(one.verdict.model)
    here = importlib.metadata.version("scikit-learn")
    old = [
        f"{len(ids)} models were made by scikit-learn {version} and loaded by {here}, such as {ids[0]}"
        for version, ids in sorted(by_version.items())
    ]
    return (*(f"{count} {text}" for count, text in counted if count), *old)
