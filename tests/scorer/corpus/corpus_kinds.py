"""Regressors, classifiers and clusterers that are broken or hostile: native code would read outside its memory.

None is ever given to scikit-learn: the tests hand over the files, and the checks refuse them first.
"""

from __future__ import annotations

import copy
import functools
import os
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.cluster import AffinityPropagation, Birch, BisectingKMeans, KMeans, MeanShift
from sklearn.compose import TransformedTargetRegressor
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_selection import SelectFromModel
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score
from sklearn.mixture import GaussianMixture
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, LocalOutlierFactor, RadiusNeighborsClassifier
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from shared.contract.reasons import Reason
from tests.scorer.corpus.corpus import MARKER
from tests.scorer.corpus.corpus_formats import DATA, FORMATS, tidied

WRONG, UNSUPPORTED, OLD = Reason.UNREADABLE_MODEL, Reason.UNSUPPORTED_MODEL, Reason.INCOMPATIBLE_MODEL
KINDS = ("pickle-4", "skops", "joblib", "pickle-2", "joblib-zlib")  # in turn
NUMBER = DATA @ [1.0, 2.0, -1.0]
CLASS = np.array(["low", "mid", "high"])[np.digitize(NUMBER, np.quantile(NUMBER, [0.3, 0.7]))]

Row = tuple[str, bytes, Reason | None, str]
Broken = tuple[str, Any, Reason | None, str]


def broken_kinds() -> Iterator[Row]:
    """All of them."""
    rows = [
        *_trees(),
        *_ensembles(),
        *_histograms(),
        *_vectors(),
        *_neighbours(),
        *_processes(),
        *_clusters(),
        *_others(),
    ]
    for index, (name, model, reason, says) in enumerate(rows):
        kind = "pickle-4" if isinstance(model, Birch) or "itself" in name else KINDS[index % len(KINDS)]
        yield f"kind-{name}-{kind}", FORMATS[kind](tidied(model)), reason, says
    yield from _old()


@functools.cache
def _fitted() -> dict[str, Any]:
    tree = {"max_depth": 4, "random_state": 0}
    regressors = {
        "tree": DecisionTreeRegressor(**tree),
        "forest": RandomForestRegressor(2, **tree),
        "boosting": GradientBoostingRegressor(n_estimators=2, **tree),
        "bagging": BaggingRegressor(DecisionTreeRegressor(**tree), n_estimators=2, random_state=0),
        "voting": VotingRegressor([("a", DecisionTreeRegressor(**tree)), ("b", Ridge())]),
        "histogram": HistGradientBoostingRegressor(max_iter=2, random_state=0),
        "svr": SVR(),
        "neighbours-regressor": KNeighborsRegressor(),
        "ridge": Ridge(),
        "process": GaussianProcessRegressor(RBF(30.0), alpha=0.1, optimizer=None, random_state=0),
        "bins": make_pipeline(KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"), Ridge()),
        "selection": make_pipeline(SelectFromModel(Ridge()), Ridge()),
    }
    classifiers = {
        "classes": DecisionTreeClassifier(**tree),
        "boosted-classes": GradientBoostingClassifier(n_estimators=2, **tree),
        "votes": AdaBoostClassifier(DecisionTreeClassifier(**tree), n_estimators=2, random_state=0),
        "svc": SVC(),
        "neighbours": KNeighborsClassifier(algorithm="brute"),
        "neighbours-tree": KNeighborsClassifier(algorithm="kd_tree"),
        "radius": RadiusNeighborsClassifier(radius=30, algorithm="brute"),
        "named": VotingClassifier([("a", LogisticRegression(max_iter=300)), ("b", SVC())]),
    }
    clusterers = {
        "means": KMeans(2, n_init=1, random_state=0),
        "bisecting": BisectingKMeans(3, random_state=0),
        "birch": Birch(),
        "shift": MeanShift(),
        "propagation": AffinityPropagation(random_state=0),
        "outliers": LocalOutlierFactor(5, algorithm="kd_tree", leaf_size=5, novelty=True),
        "mixture": GaussianMixture(2, random_state=0),
    }
    network = MLPRegressor(hidden_layer_sizes=(4, 3), max_iter=2, random_state=0)
    with warnings.catch_warnings(action="ignore"):  # it did not converge
        network.fit(DATA, NUMBER)
    several = {"outputs": MultiOutputRegressor(DecisionTreeRegressor(**tree))}
    return {
        "network": network,
        **{name: model.fit(DATA, NUMBER) for name, model in regressors.items()},
        **{name: model.fit(DATA, CLASS) for name, model in classifiers.items()},
        **{name: model.fit(DATA) for name, model in clusterers.items()},
        **{name: model.fit(DATA, np.column_stack([NUMBER, -NUMBER])) for name, model in several.items()},
    }


def _copy(name: str) -> Any:
    """A fitted model that may be damaged; `Birch` and such keep what they share."""
    return copy.deepcopy(_fitted()[name])


def _changed(name: str, **attributes: Any) -> Any:
    model = _copy(name)
    vars(model).update(attributes)
    return model


# Where a tree is inside others.
_INSIDE: dict[str, Callable[[Any], Any]] = {
    "tree": lambda model: model,
    "classes": lambda model: model,
    "forest": lambda model: model.estimators_[1],
    "boosting": lambda model: model.estimators_[1, 0],
    "boosted-classes": lambda model: model.estimators_[0, 2],
    "bagging": lambda model: model.estimators_[0],
    "voting": lambda model: model.estimators_[0],
    "votes": lambda model: model.estimators_[1],
    "outputs": lambda model: model.estimators_[1],
}


def _trees() -> Iterator[Broken]:
    for holder, find in _INSIDE.items():
        for name, field, at, value in [
            ("points-outside", "children_left", 0, 10**6),
            ("goes-in-a-circle", "children_right", 0, 0),
            ("one-child", "children_left", 0, -1),
            ("feature-outside", "feature", 0, 3),
            ("feature-below-zero", "feature", 0, -3),
        ]:
            model = _copy(holder)
            getattr(find(model).tree_, field)[at] = value
            yield f"{holder}-{name}", model, WRONG, "contradict each other"
        model = _copy(holder)
        find(model).n_features_in_ = 7
        yield f"{holder}-of-more-features", model, WRONG, "features, but its tree has 3"


def _ensembles() -> Iterator[Broken]:
    for holder in ("forest", "boosting"):
        yield f"{holder}-wider-than-its-trees", _changed(holder, n_features_in_=7), WRONG, "contradict each other"
    twice = np.repeat(_fitted()["boosting"].estimators_, 2, axis=1)
    yield "boosting-twice-the-trees", _changed("boosting", estimators_=twice), WRONG, "expected stages of 1 trees"
    more = _changed("boosting", estimators_=twice, n_trees_per_iteration_=2)
    yield "boosting-into-a-column-that-is-not-there", more, WRONG, "a model before the stages"
    strange = _copy("boosting")
    strange.estimators_[0, 0] = _copy("classes")
    yield "boosting-of-a-classifier", strange, WRONG, "got one of DecisionTreeClassifier"
    several = _copy("boosting")
    several.estimators_[0, 0] = DecisionTreeRegressor(max_depth=1, random_state=0).fit(
        DATA, np.column_stack([NUMBER, NUMBER])
    )
    yield "boosting-of-several-outputs", several, WRONG, "in stages for 3"
    silent = _copy("boosting")
    silent.init_.n_outputs_, silent.init_.constant_ = 0, np.empty((1, 0))
    yield "boosting-that-begins-with-nothing", silent, WRONG, "contradict each other"
    yield "boosting-of-no-stages", _changed("boosting", estimators_=np.empty((0, 1), object)), WRONG, "expected stages"


def _histograms() -> Iterator[Broken]:
    for name, field, at, value in [
        ("points-outside", "left", 0, 10**6),
        ("goes-in-a-circle", "right", 0, 0),
        ("feature-outside", "feature_idx", 0, 3),
        ("feature-below-zero", "feature_idx", 0, -1),
        ("categories-of-numbers", "is_categorical", 0, 1),
    ]:
        model = _copy("histogram")
        model._predictors[1][0].nodes[field][at] = value
        yield f"histogram-{name}", model, WRONG, "contradict each other"
    bits = _copy("histogram")
    bits._predictors[0][0].nodes["is_categorical"][0] = 1
    bits._predictors[0][0].raw_left_cat_bitsets = np.zeros((1, 8), np.uint32)
    yield "histogram-categories-of-a-feature-without", bits, WRONG, "of a feature that has none"
    narrow = _copy("histogram")
    narrow._predictors[0][0].raw_left_cat_bitsets = np.zeros((1, 4), np.uint32)
    yield "histogram-bits-cut", narrow, WRONG, "bits of categories"
    mapper = _copy("histogram")
    mapper._bin_mapper.is_categorical_ = np.zeros(1, np.uint8)
    yield "histogram-bins-of-one-feature", mapper, WRONG, "expected bins of 3 features"
    yield "histogram-of-more-features", _changed("histogram", n_features_in_=7), WRONG, "expected bins of 7 features"
    yield "histogram-more-trees", _changed("histogram", n_trees_per_iteration_=3), WRONG, "contradict each other"


def _vectors() -> Iterator[Broken]:
    svc = _fitted()["svc"]
    for name, attributes in {
        "counts-too-many": {"_n_support": np.array([10**6, 1, 1], np.int32)},
        "counts-below-zero": {"_n_support": np.array([-1, 1, len(svc.support_)], np.int32)},
        "counts-of-two-classes": {"_n_support": svc._n_support[:2]},
        "classes-fewer": {"classes_": svc.classes_[:2]},
        "coefficients-of-one-row": {"_dual_coef_": svc._dual_coef_[:1]},
        "vectors-fewer": {"support_vectors_": svc.support_vectors_[1:]},
        "intercepts-fewer": {"_intercept_": svc._intercept_[:1]},
        "pairs-cut": {"_probA": np.ones(1), "_probB": np.ones(1)},
        "pairs-of-one": {"_probA": np.ones(3)},
        "shape-of-another": {"shape_fit_": (60, 9)},
        "infinite": {"_intercept_": np.full(3, np.inf)},
    }.items():
        yield f"svc-{name}", _changed("svc", **attributes), WRONG, "contradict each other"
    yield "svc-precomputed", _changed("svc", kernel="precomputed"), UNSUPPORTED, "'precomputed'"
    fewer = _fitted()["svr"].support_vectors_[1:]
    yield "svr-vectors-fewer", _changed("svr", support_vectors_=fewer), WRONG, "contradict each other"


def _neighbours() -> Iterator[Broken]:
    labels = _fitted()["neighbours"]._y
    for holder in ("neighbours", "neighbours-tree", "radius"):
        yield f"{holder}-label-outside", _changed(holder, _y=labels + 10**6), WRONG, "a label that is not among 3"
        yield f"{holder}-label-below-zero", _changed(holder, _y=labels - 9), WRONG, "a label that is not among 3"
        yield f"{holder}-labels-fewer", _changed(holder, _y=labels[:5]), WRONG, "labels of the shape (5,)"
        yield f"{holder}-classes-fewer", _changed(holder, classes_=np.array(["low"])), WRONG, "among 1 classes"
    for name, attributes in {
        "a-billion": {"n_neighbors": 10**9},
        "none": {"n_neighbors": 0},
        "rows-more": {"n_samples_fit_": 10**6},
        "features-more": {"n_features_in_": 9},
        "of-two-metrics": {"metric": "manhattan"},
    }.items():
        yield f"neighbours-{name}", _changed("neighbours", **attributes), WRONG, "contradict each other"
        yield f"neighbours-regressor-{name}", _changed("neighbours-regressor", **attributes), WRONG, "contradict"
    targets = _fitted()["neighbours-regressor"]._y[:5]
    yield "neighbours-regressor-targets-fewer", _changed("neighbours-regressor", _y=targets), WRONG, "5 targets"
    distances = _changed("neighbours", metric="precomputed", effective_metric_="precomputed")
    yield "neighbours-precomputed", distances, UNSUPPORTED, "'precomputed'"
    # Trees of files are never given to scikit-learn: they are built again, or their order of rows is checked.
    order = _fitted()["outliers"]._tree.__getstate__()[1]
    for name, place, value in (
        ("order-outside", 1, order + 10**6),
        ("order-below-zero", 1, order - 10**6),
        ("order-of-one-row", 1, np.zeros_like(order)),
        ("order-fewer", 1, order[:5]),
        ("nodes-none", 2, np.zeros(0, _fitted()["outliers"]._tree.__getstate__()[2].dtype)),
    ):
        yield f"neighbours-tree-{name}", _with_tree(place, value), None, ""


def _with_tree(place: int, value: np.ndarray) -> Any:
    """A detector whose tree says another thing at this place of its state."""
    model = _copy("outliers")
    state = list(model._tree.__getstate__())
    state[place] = value
    model._tree = type(model._tree).__new__(type(model._tree))
    model._tree.__setstate__(tuple(state))
    return model


def _clusters() -> Iterator[Broken]:
    for holder in ("means", "shift", "propagation"):
        yield f"{holder}-centres-wider", _changed(holder, cluster_centers_=np.ones((2, 9))), WRONG, "9 features"
        yield f"{holder}-centres-of-text", _changed(holder, cluster_centers_=np.array([["a"]])), WRONG, "as a matrix"
        nothing = _changed(holder, cluster_centers_=np.empty((0, 3)))
        yield f"{holder}-without-centres", nothing, Reason.UNFITTED_MODEL, "found no cluster"
    norms = _fitted()["birch"]._subcluster_norms[:1]
    yield "birch-norms-fewer", _changed("birch", _subcluster_norms=norms), WRONG, "expected the norms"
    yield "birch-centres-wider", _changed("birch", subcluster_centers_=np.ones((2, 9))), WRONG, "9 features"
    cut = _copy("bisecting")
    cut._bisecting_tree.left.center = np.ones(1)
    yield "bisecting-cluster-of-one-feature", cut, WRONG, "a cluster of (1,) features"
    alone = _copy("bisecting")
    alone._bisecting_tree.left = None
    yield "bisecting-one-child", alone, WRONG, "contradict each other"
    circle = _copy("bisecting")
    circle._bisecting_tree.left = circle._bisecting_tree
    yield "bisecting-child-is-itself", circle, WRONG, "contradict each other"


def _processes() -> Iterator[Broken]:
    vector = _fitted()["process"].alpha_
    for name, attributes in {
        "weights-fewer": {"alpha_": vector[:5]},
        "rows-wider": {"X_train_": np.ones((len(vector), 9))},
    }.items():
        yield f"process-{name}", _changed("process", **attributes), Reason.ESTIMATOR_ERROR, "ValueError"


def _others() -> Iterator[Broken]:
    network = _fitted()["network"]
    yield (
        "network-layer-cut",
        _changed("network", coefs_=[network.coefs_[0][:1], *network.coefs_[1:]]),
        WRONG,
        "a layer",
    )
    yield "network-layers-fewer", _changed("network", coefs_=network.coefs_[:1]), WRONG, "1 layers of weights"
    yield "ridge-weights-wider", _changed("ridge", coef_=np.ones(9)), WRONG, "coef_ is (9,)"
    for name, attributes in {
        "columns-fewer": {"_n_features_outs": [1, 1, 1]},
        "dropped-outside": {"_drop_idx_after_grouping": np.array([-5, 0, 0], object)},
    }.items():
        model = _copy("bins")
        vars(model[0]._encoder).update(attributes)
        yield f"bins-{name}", model, WRONG, "for categories of"
    getter = _copy("selection")
    getter[0].importance_getter = "__class__.__init__.__globals__"
    yield "selection-by-any-attribute", getter, UNSUPPORTED, "importance_getter"
    yield "dummy-that-draws", DummyClassifier(strategy="uniform").fit(DATA, CLASS), UNSUPPORTED, "it draws them"
    alike = LogisticRegression(max_iter=300).fit(DATA, CLASS)
    alike.classes_ = np.array(["1", 1, "b"], object)
    yield "classes-of-equal-texts", alike, UNSUPPORTED, "different texts"
    function = make_pipeline(FunctionTransformer(), Ridge()).fit(DATA, NUMBER)
    function[0].func = accuracy_score
    yield "function-that-scoring-would-leave-out", function, UNSUPPORTED, "accuracy_score"
    yield "target-of-any-function", _target(np.median), Reason.UNTRUSTED_MODEL, "not on the"
    detector = make_pipeline(PCA(3), IsolationForest(n_estimators=2, max_samples=16, random_state=0)).fit(DATA)
    detector[-1].estimators_[0]._validate_X_predict = RBF()
    yield "method-of-the-file", copy.deepcopy(detector), None, ""
    vars(detector[-1]).update(n_jobs=1000, verbose=9)
    yield "threads-of-the-file", detector, None, ""
    named = _copy("named")
    named.named_estimators_ = type(named.named_estimators_)(a=_Touch())
    yield "named-estimator-that-runs-itself", named, Reason.UNTRUSTED_MODEL, "not on the allow-list"
    thresholds = IsotonicRegression(out_of_bounds="clip").fit(DATA[:, 0], NUMBER)
    thresholds.X_thresholds_ = np.ones((2, 2))
    yield "isotonic-of-a-matrix", thresholds, WRONG, "expected thresholds"
    for model in (_fitted()["forest"], _fitted()["svc"], _fitted()["means"], _fitted()["mixture"]):
        name = type(model).__name__
        yield f"unfitted-{name.lower()}", clone(model), Reason.UNFITTED_MODEL, f"this {name} was never fitted"


def _target(function: Any) -> Any:
    model = TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1).fit(DATA, abs(NUMBER))
    model.transformer_.inverse_func = function
    return model


class _Touch:
    """Pickled, it would run a command."""

    def __reduce__(self) -> Any:
        return os.system, (f"echo > {MARKER}",)


def _old() -> Iterator[Row]:
    """What older releases scored otherwise, whatever the policy for other versions is."""
    votes = _changed("votes", algorithm="SAMME.R")
    yield "votes-weighted-of-1.5", pickle.dumps(tidied(votes)).replace(b"1.9.1", b"1.5.2"), OLD, "SAMME.R"
    apart = LogisticRegression(max_iter=300).fit(DATA, CLASS)
    apart.multi_class = "ovr"  # type: ignore[attr-defined]  # a parameter until 1.7
    yield "classes-one-against-the-rest-of-1.5", pickle.dumps(apart).replace(b"1.9.1", b"1.5.2"), OLD, "multi_class"
    parts = PLSRegression(2).fit(DATA, NUMBER)
    yield "partial-least-squares-of-1.2", pickle.dumps(parts).replace(b"1.9.1", b"1.2.2"), OLD, "since 1.3"
