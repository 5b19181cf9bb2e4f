"""Fitted estimators -> the numbers that kernels take, and a Batch of them, written down from the layout alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import SGDOneClassSVM
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import OneClassSVM

from scorer.families.base import Family
from scorer.kernels.batch import Batch

_KERNELS = {"rbf": Family.RBF, "linear": Family.LINEAR, "poly": Family.POLY, "sigmoid": Family.SIGMOID}


@dataclass(frozen=True, slots=True)
class Model:
    """What a kernel needs of one model."""

    family: Family
    width: int
    strict: bool
    numbers: np.ndarray
    integers: np.ndarray


def by_hand(estimator: Any) -> Model:
    """The model of a fitted detector, alone or behind a scaler."""
    scaler, detector = (s for _, s in estimator.steps) if isinstance(estimator, Pipeline) else (None, estimator)
    width = detector.n_features_in_
    integers = np.empty(0, np.int32)
    gamma = coef0 = degree = n = 0
    strict = isinstance(detector, OneClassSVM)
    match detector:
        case OneClassSVM():
            family, intercept = _KERNELS[detector.kernel], detector.intercept_[0]
            coef, vectors = detector.dual_coef_, detector.support_vectors_
            if family is Family.LINEAR:
                body = (coef @ vectors).ravel()
            else:
                n, gamma, coef0, degree = len(vectors), detector._gamma, detector.coef0, detector.degree
                body = np.concatenate([coef.ravel(), vectors.ravel()])
        case SGDOneClassSVM():
            family, intercept, body = Family.LINEAR, -detector.offset_[0], detector.coef_.ravel()
        case EllipticEnvelope():
            family, intercept = Family.ENVELOPE, -detector.offset_
            body = np.concatenate([detector.location_, detector.get_precision().ravel()])
        case IsolationForest():
            family, intercept, n = Family.FOREST, -detector.offset_, len(detector.estimators_)
            gamma = _path_length(np.array([detector._max_samples]))[0]
            integers, body = _trees(detector)
    head = [*_limits(scaler), intercept, gamma, coef0, degree, n, 0.0]
    numbers = np.concatenate([head, *_shift_and_scale(scaler, width), body]).astype(np.float64)
    return Model(family, width, strict, numbers, integers)


def _limits(scaler: Any) -> tuple[float, float, float]:
    if scaler is None:
        return 0, -np.inf, np.inf
    if not isinstance(scaler, MinMaxScaler):
        return 1, -np.inf, np.inf
    return 2, *(scaler.feature_range if scaler.clip else (-np.inf, np.inf))


def _shift_and_scale(scaler: Any, width: int) -> tuple[np.ndarray, np.ndarray]:
    match scaler:
        case StandardScaler():
            return scaler.mean_, scaler.scale_ if scaler.with_std else np.ones(width)
        case RobustScaler():
            return scaler.center_, scaler.scale_
        case MinMaxScaler():
            return scaler.min_, scaler.scale_
    return np.zeros(width), np.ones(width)


def _path_length(samples: np.ndarray) -> np.ndarray:
    """The mean depth of a search in a random tree of so many samples."""
    samples = samples.astype(np.float64)
    many = 2 * (np.log(np.maximum(samples, 3) - 1) + np.euler_gamma) - 2 * (samples - 1) / np.maximum(samples, 1)
    return np.where(samples <= 1, 0.0, np.where(samples == 2, 1.0, many))


def _trees(forest: IsolationForest) -> tuple[np.ndarray, np.ndarray]:
    roots, feature, left, right, body, at = [], [], [], [], [], 0
    for tree, columns in zip(forest.estimators_, forest.estimators_features_, strict=True):
        nodes = tree.tree_
        leaf = nodes.children_left == -1
        depth = np.ones(nodes.node_count)
        for i in np.flatnonzero(~leaf):
            depth[[nodes.children_left[i], nodes.children_right[i]]] = depth[i] + 1
        roots.append(at)
        feature.append(np.where(leaf, -1, columns[np.maximum(nodes.feature, 0)]))
        here = np.arange(nodes.node_count)
        left.append(at + np.where(leaf, here, nodes.children_left))
        right.append(at + np.where(leaf, here, nodes.children_right))
        body.append(np.where(leaf, depth + _path_length(nodes.n_node_samples) - 1.0, nodes.threshold))
        at += nodes.node_count
    return np.concatenate([roots, *feature, *left, *right]).astype(np.int32), np.concatenate(body)


def batch_of(models: Sequence[Model], rows: Sequence[np.ndarray], seed: int = 0) -> tuple[Batch, list[slice], int]:
    """A Batch, where in its scores each model's are, and how many scores. Columns, rows and results lie shuffled."""
    random = np.random.default_rng(seed)
    widest = max(m.width for m in models) + 1
    counts = np.array([len(r) for r in rows], np.int64)
    layouts = np.full((len(models), widest), -1, np.int32)
    values = np.full((widest, 3 + counts.sum()), 1e300)  # what no model asks for would be seen
    first, out = _places(random, counts, 3), _places(random, counts, 0)
    for i, (model, its) in enumerate(zip(models, rows, strict=True)):
        layouts[i, : model.width] = random.permutation(widest)[: model.width]
        values[layouts[i, : model.width], first[i] : first[i] + counts[i]] = its.T
    order = random.permutation(len(models))
    layout = np.empty(len(models), np.int32)
    layout[order] = np.arange(len(models))
    return (
        Batch(
            np.array([m.family for m in models], np.int8),
            np.array([m.strict for m in models]),
            np.array([m.width for m in models], np.int32),
            _starts([len(m.numbers) for m in models]),
            np.concatenate([m.numbers for m in models]),
            _starts([len(m.integers) for m in models]),
            np.array([len(m.integers) for m in models], np.int64),
            np.concatenate([m.integers for m in models]),
            layout,
            np.ascontiguousarray(layouts[order]),
            first,
            counts,
            out,
            values,
        ),
        [slice(o, o + c) for o, c in zip(out, counts, strict=True)],
        int(counts.sum()),
    )


def _starts(lengths: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)


def _places(random: np.random.Generator, counts: np.ndarray, gap: int) -> np.ndarray:
    order = random.permutation(len(counts))
    places = np.empty(len(counts), np.int64)
    places[order] = gap + _starts(counts[order])
    return places
