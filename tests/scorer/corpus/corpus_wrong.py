"""Models whose attributes are not numbers, missing, of another shape, or contradict each other."""

# tables of damages: not each of them looks at the model

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.covariance import EllipticEnvelope
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import SGDOneClassSVM
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import OneClassSVM

from shared.contract.reasons import Reason
from tests.scorer.corpus.corpus_formats import DATA, FORMATS, tidied

WRONG = Reason.UNREADABLE_MODEL
KINDS = ("pickle-4", "skops", "joblib", "pickle-2", "joblib-zlib")  # in turn
# What scoring reads of each family. Each is damaged in each way that its kind allows.
READ = {
    "rbf": ("support_vectors_", "_dual_coef_", "dual_coef_", "_intercept_", "intercept_", "_gamma", "support_"),
    "sgd": ("coef_", "offset_"),
    "envelope": ("location_", "precision_", "offset_"),
    "forest": ("offset_", "_max_samples", "_max_features", "estimators_", "estimators_features_"),
    "standard": ("mean_", "scale_"),
    "minmax": ("min_", "scale_"),
    "robust": ("center_", "scale_"),
}
# Harmless: scikit-learn makes them again, never asks for them, or takes them as they are, and the scores are numbers.
HARMLESS = ("envelope-precision_-none", "tree-two-parents-behind-pca", "tree-threshold-nan-behind-pca",
            "tree-leaf-without-samples-behind-pca", "lof-tree-without-leaves", "lof-tree-without-bounds",
            "nested-lof-that-would-crash")  # fmt: skip

Row = tuple[str, bytes, Reason | None, str]


def whole() -> dict[str, Any]:
    """A fitted detector of each kind."""
    return copy.deepcopy(_whole())


@functools.cache
def _whole() -> dict[str, Any]:
    return {
        "rbf": OneClassSVM(nu=0.1).fit(DATA),
        "linear": OneClassSVM(kernel="linear", nu=0.1).fit(DATA),
        "poly": OneClassSVM(kernel="poly", degree=2, nu=0.1).fit(DATA),
        "sigmoid": OneClassSVM(kernel="sigmoid", gamma=0.01, nu=0.1).fit(DATA),
        "sgd": SGDOneClassSVM(nu=0.1, random_state=0).fit(DATA),
        "envelope": EllipticEnvelope(random_state=0).fit(DATA),
        "forest": IsolationForest(n_estimators=3, max_samples=16, random_state=0).fit(DATA),
        "lof": LocalOutlierFactor(novelty=True, n_neighbors=5).fit(DATA),
    }


def contradictions() -> Iterator[Row]:
    """All of them."""
    rows = [*_attributes(), *_single(), *_of_forests(), *_of_kept()]
    for i, (name, model, says, reason) in enumerate(rows):
        kind = "skops" if name.startswith("sparse") else KINDS[i % len(KINDS)]
        expected = (None, "") if name in HARMLESS else (reason, says)
        yield f"{name}-{kind}", FORMATS[kind](tidied(model)), *expected


def _models() -> dict[str, tuple[Any, Any]]:
    """Each model, and the part of it whose attributes are damaged."""
    return copy.deepcopy(_fitted())


@functools.cache
def _fitted() -> dict[str, tuple[Any, Any]]:
    models: dict[str, tuple[Any, Any]] = {name: (model, model) for name, model in whole().items()}
    for name, scaler in (("standard", StandardScaler()), ("minmax", MinMaxScaler()), ("robust", RobustScaler())):
        pipeline: Pipeline = make_pipeline(scaler, OneClassSVM(nu=0.1)).fit(DATA)
        models[name] = (pipeline, pipeline[0])
    return models


def _attributes() -> Iterator[tuple[str, Any, str, Reason | None]]:
    for family, names in READ.items():
        for name in names:
            value = vars(_models()[family][1])[name]
            for how, broken in _damages(name, value):
                model, part = _models()[family]
                vars(part)[name] = broken
                yield f"{family}-{name}-{how}", model, "contradict each other", WRONG
            model, part = _models()[family]
            del vars(part)[name]
            yield f"{family}-{name}-missing", model, "contradict each other", WRONG


def _damages(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        for how, number in (("nan", np.nan), ("infinite", np.inf)):
            if name not in ("dual_coef_", "intercept_"):  # then it is just another one than its twin
                broken = value.copy()
                broken.flat[-1] = number
                yield how, broken
        yield "of-another-shape", np.concatenate([value.ravel(), [1.0]])
        yield "as-text", value.astype(str)
    elif isinstance(value, float):
        yield "nan", float("nan")
        yield "infinite", float("-inf")
        yield "as-text", "scale"
    elif isinstance(value, int):
        yield "zero", 0
        yield "negative", -7
    yield "none", None


def _changed(model: Any, **attributes: Any) -> Any:
    model = copy.deepcopy(model)
    vars(model).update(attributes)
    return model


def _single() -> Iterator[tuple[str, Any, str, Reason | None]]:
    good = whole()
    rbf, poly, envelope = good["rbf"], good["poly"], good["envelope"]
    for name, model, says in [
        ("support-vectors-gone", _changed(rbf, support_vectors_=np.empty((0, 3))), "0 support vectors"),
        ("support-vectors-gone-in-linear", _changed(good["linear"], support_vectors_=np.empty((0, 3))), "0 support"),
        ("support-vectors-fewer", _changed(poly, support_vectors_=poly.support_vectors_[1:]), "_dual_coef_"),
        ("support-vectors-wider", _changed(rbf, support_vectors_=np.ones((len(rbf.support_), 4))), "n_features_in_"),
        ("support-vectors-of-objects", _changed(rbf, support_vectors_=rbf.support_vectors_.astype(object)), ""),
        ("counts-of-a-million", _changed(rbf, _n_support=np.array([10**6, 10**6], np.int32)), "_n_support"),
        ("counts-below-zero", _changed(rbf, _n_support=np.array([-1, 0], np.int32)), "_n_support"),
        ("gamma-below-zero", _changed(rbf, _gamma=-1.0), "gamma"),
        ("gamma-below-zero-in-sigmoid", _changed(good["sigmoid"], _gamma=-1e-3), "gamma"),
        ("degree-of-a-fraction", _changed(poly, degree=2.5), "degree"),
        ("degree-below-zero", _changed(poly, degree=-2), "degree"),
        ("kernel-nobody-knows", _changed(rbf, kernel="rbff"), "rbff"),
        ("kernel-none", _changed(rbf, kernel=None), "kernel"),
        ("kernel-precomputed", _changed(rbf, kernel="precomputed"), "got 'precomputed'"),
        ("features-one-more", _changed(rbf, n_features_in_=4), "n_features_in_"),
        ("features-a-million", _changed(good["sgd"], n_features_in_=10**6), "n_features_in_"),
        ("names-fewer", _changed(rbf, feature_names_in_=np.array(["a"], object)), "feature_names_in_"),
        ("names-of-numbers", _changed(rbf, feature_names_in_=np.array([1, 2, 3], object)), "feature_names_in_"),
        ("weights-in-a-square", _changed(good["sgd"], coef_=np.ones((3, 3))), "coef_"),
        ("weights-none-at-all", _changed(good["sgd"], coef_=np.empty((1, 0))), "coef_"),
        ("precision-askew", _changed(envelope, precision_=np.triu(np.ones((3, 3)))), "symmetric"),
        ("precision-negative", _changed(envelope, precision_=-envelope.precision_), "negative"),
    ]:
        yield name, model, says, Reason.UNSUPPORTED_MODEL if name == "kernel-precomputed" else WRONG
    standard = make_pipeline(StandardScaler(), OneClassSVM()).fit(DATA)
    standard[0].scale_ = np.array([1.0, 0.0, 1.0])
    yield "scale-zero", standard, "scale_", WRONG
    minmax = make_pipeline(MinMaxScaler(clip=True), OneClassSVM()).fit(DATA)
    minmax[0].feature_range = (1, 0)
    yield "range-upside-down", minmax, "feature_range", WRONG
    yield "steps-of-text", Pipeline([("a", "abc"), ("b", rbf)]), "no attribute", Reason.ESTIMATOR_ERROR
    for name, where, at, value, says in [
        ("rows-outside", "indptr", -1, 10**6, "contradict each other"),
        ("rows-far-outside", "indptr", 1, 10**9, "contradict each other"),
        ("rows-below-zero", "indptr", 1, -(10**6), "contradict each other"),
        ("columns-outside", "indices", 0, 10**9, "contradict each other"),
        ("columns-below-zero", "indices", 0, -5, "contradict each other"),
        ("nan", "data", 0, np.nan, "contradict each other"),
    ]:
        broken = OneClassSVM().fit(sparse.csr_matrix(DATA))
        getattr(broken.support_vectors_, where)[at] = value
        yield f"sparse-{name}", broken, says, WRONG
    half = make_pipeline(StandardScaler(), rbf)
    yield "half-fitted", half, "StandardScaler was never fitted", Reason.UNFITTED_MODEL


def _of_forests() -> Iterator[tuple[str, Any, str, Reason | None]]:
    for name, field, at, value in [
        ("points-outside", "children_left", 0, 10**6),
        ("points-far-outside", "children_right", 0, 2**62),
        ("goes-in-a-circle", "children_left", 1, 0),
        ("points-below-zero", "children_right", 0, -5),
        ("two-parents", "children_right", 0, 1),
        ("one-child", "children_left", 0, -1),
        ("feature-outside", "feature", 0, 3),
        ("feature-below-zero", "feature", 0, -3),
        ("threshold-nan", "threshold", 0, np.nan),
        ("leaf-without-samples", "n_node_samples", -1, 0),
    ]:
        for behind in (False, True):  # behind PCA no kernel knows it: it goes to a child
            forest = IsolationForest(n_estimators=3, max_samples=16, random_state=0)
            model = make_pipeline(PCA(3), forest).fit(DATA) if behind else forest.fit(DATA)
            getattr(forest.estimators_[1].tree_, field)[at] = value
            yield f"tree-{name}{'-behind-pca' * behind}", model, "", WRONG
    fewer = whole()["forest"]
    fewer.estimators_features_ = fewer.estimators_features_[1:]
    yield "forest-fewer-sets", fewer, "estimators_features_", WRONG


def _of_kept() -> Iterator[tuple[str, Any, str, Reason | None]]:
    """What only scikit-learn can score, damaged so that it shows in a child."""
    lof = whole()["lof"]
    fit = lof._fit_X
    raised = Reason.ESTIMATOR_ERROR
    for name, attributes, reason in [
        ("lof-fitted-on-nan", {"_fit_X": np.full(fit.shape, np.nan)}, WRONG),
        ("lof-fitted-on-less", {"_fit_X": fit[:2]}, WRONG),
        ("lof-fitted-on-nothing", {"_fit_X": None}, WRONG),
        ("lof-of-other-width", {"n_features_in_": 2}, WRONG),
        ("lof-no-distances", {"_distances_fit_X_": np.ones((3, 1))}, WRONG),
        ("lof-density-nan", {"_lrd": np.full(len(fit), np.nan)}, Reason.BAD_SCORES),
        ("lof-offset-nan", {"offset_": np.nan}, Reason.BAD_SCORES),
        ("lof-offset-text", {"offset_": "auto"}, raised),
        ("lof-a-billion-neighbours", {"n_neighbors_": 10**9}, WRONG),
    ]:
        yield name, _changed(lof, **attributes), "", reason
    leafless = _changed(lof)
    for array in leafless._tree.__getstate__():
        if isinstance(array, np.ndarray) and array.dtype.names:
            array["is_leaf"] = 0
    yield "lof-tree-without-leaves", leafless, "contradict each other", WRONG
    short = _changed(lof)
    state = list(short._tree.__getstate__())
    state[3] = state[3][:, :0]  # the bounds of its nodes
    short._tree.__setstate__(tuple(state))
    yield "lof-tree-without-bounds", short, "contradict each other", WRONG
    gone = _changed(whole()["rbf"], support_vectors_=np.empty((0, 3)))
    outside = whole()["forest"]
    outside.estimators_[0].tree_.children_left[0] = 10**7
    for name, detector in [("svm", gone), ("forest", outside), ("lof", leafless)]:
        nested = make_pipeline(PCA(3).fit(DATA), make_pipeline(detector))
        yield f"nested-{name}-that-would-crash", nested, "contradict each other", WRONG
    behind = make_pipeline(PCA(2), OneClassSVM()).fit(DATA)
    behind[0].components_ = np.full((2, 3), np.nan)
    yield "pca-nan", behind, "", raised
    wider = make_pipeline(PCA(2), OneClassSVM()).fit(DATA)
    wider[0].components_ = np.ones((7, 3))
    yield "pca-wider-than-the-detector", wider, "", raised
    gone = make_pipeline(PCA(2), OneClassSVM()).fit(DATA)
    gone[-1].support_vectors_ = np.empty((0, 2))
    yield "support-vectors-gone-behind-pca", gone, "contradict each other", WRONG
