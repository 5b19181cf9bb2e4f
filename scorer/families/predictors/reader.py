"""A model that predicts -> the chain of steps that a kernel runs; None where only its own library can score it.

Which estimators are read, each with its reader, stands here in one table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from scorer.families.steps import Chain, Step, build_chain, join_products
from scorer.families.trees.ensemble import Link
from scorer.model_files.estimator_kinds import BOOSTERS
from scorer.model_files.parsed import ParsedObject

from . import boosters, forests, histograms, linear, neighbours, networks, processes, vectors
from .predictor import NotPacked, Predictor
from .preparation import MOST_COLUMNS, Prepared, read_transformer

_Reader = Callable[[dict[str, Any]], Predictor | None]
_LINEAR = (
    "_base.LinearRegression",
    "_bayes.ARDRegression",
    "_bayes.BayesianRidge",
    "_coordinate_descent.ElasticNet",
    "_coordinate_descent.ElasticNetCV",
    "_coordinate_descent.Lasso",
    "_coordinate_descent.LassoCV",
    "_coordinate_descent.MultiTaskElasticNet",
    "_coordinate_descent.MultiTaskElasticNetCV",
    "_coordinate_descent.MultiTaskLasso",
    "_coordinate_descent.MultiTaskLassoCV",
    "_huber.HuberRegressor",
    "_least_angle.Lars",
    "_least_angle.LarsCV",
    "_least_angle.LassoLars",
    "_least_angle.LassoLarsCV",
    "_least_angle.LassoLarsIC",
    "_omp.OrthogonalMatchingPursuit",
    "_omp.OrthogonalMatchingPursuitCV",
    "_passive_aggressive.PassiveAggressiveRegressor",
    "_quantile.QuantileRegressor",
    "_ridge.Ridge",
    "_ridge.RidgeCV",
    "_stochastic_gradient.SGDRegressor",
    "_theil_sen.TheilSenRegressor",
)
_EXPONENTIAL = ("_glm.glm.GammaRegressor", "_glm.glm.PoissonRegressor")
_LABELS_ONLY = (
    "_passive_aggressive.PassiveAggressiveClassifier",
    "_perceptron.Perceptron",
    "_ridge.RidgeClassifier",
    "_ridge.RidgeClassifierCV",
)
_READERS: Mapping[str, _Reader] = MappingProxyType(
    {
        **{f"sklearn.linear_model.{name}": linear.read_regressor for name in _LINEAR},
        **{f"sklearn.linear_model.{name}": partial(linear.read_regressor, link=Link.EXP) for name in _EXPONENTIAL},
        "sklearn.linear_model._glm.glm.TweedieRegressor": linear.read_tweedie,
        **{f"sklearn.linear_model.{name}": linear.read_classifier for name in _LABELS_ONLY},
        "sklearn.linear_model._logistic.LogisticRegression": linear.read_logistic,
        "sklearn.linear_model._logistic.LogisticRegressionCV": linear.read_logistic,
        "sklearn.linear_model._stochastic_gradient.SGDOneClassSVM": linear.read_sgd_detector,
        "sklearn.svm._classes.OneClassSVM": vectors.read_one_class,
        "sklearn.linear_model._stochastic_gradient.SGDClassifier": linear.read_sgd_classifier,
        "sklearn.svm._classes.LinearSVR": linear.read_regressor,
        "sklearn.svm._classes.LinearSVC": linear.read_classifier,
        "sklearn.naive_bayes.GaussianNB": linear.read_gaussian_bayes,
        "sklearn.naive_bayes.MultinomialNB": linear.read_multinomial_bayes,
        "sklearn.naive_bayes.ComplementNB": linear.read_complement_bayes,
        "sklearn.svm._classes.SVR": vectors.read_svr,
        "sklearn.svm._classes.NuSVR": vectors.read_svr,
        "sklearn.svm._classes.SVC": vectors.read_svc,
        "sklearn.svm._classes.NuSVC": vectors.read_svc,
        "sklearn.cluster._kmeans.KMeans": vectors.read_k_means,
        "sklearn.cluster._kmeans.MiniBatchKMeans": vectors.read_k_means,
        "sklearn.neighbors._classification.KNeighborsClassifier": neighbours.read_classifier,
        "sklearn.neighbors._lof.LocalOutlierFactor": neighbours.read_outlier_factor,
        "sklearn.neighbors._regression.KNeighborsRegressor": neighbours.read_regressor,
        "sklearn.gaussian_process._gpr.GaussianProcessRegressor": processes.read_process,
        "sklearn.neural_network._multilayer_perceptron.MLPClassifier": networks.read_classifier,
        "sklearn.neural_network._multilayer_perceptron.MLPRegressor": networks.read_regressor,
        "sklearn.tree._classes.DecisionTreeRegressor": forests.read_tree_regressor,
        "sklearn.tree._classes.ExtraTreeRegressor": forests.read_tree_regressor,
        "sklearn.tree._classes.DecisionTreeClassifier": forests.read_tree_classifier,
        "sklearn.tree._classes.ExtraTreeClassifier": forests.read_tree_classifier,
        "sklearn.ensemble._forest.RandomForestRegressor": forests.read_forest_regressor,
        "sklearn.ensemble._forest.ExtraTreesRegressor": forests.read_forest_regressor,
        "sklearn.ensemble._forest.RandomForestClassifier": forests.read_forest_classifier,
        "sklearn.ensemble._forest.ExtraTreesClassifier": forests.read_forest_classifier,
        "sklearn.ensemble._gb.GradientBoostingRegressor": forests.read_boosting_regressor,
        "sklearn.ensemble._gb.GradientBoostingClassifier": forests.read_boosting_classifier,
        "sklearn.ensemble._weight_boosting.AdaBoostRegressor": forests.read_ada_regressor,
        "sklearn.ensemble._weight_boosting.AdaBoostClassifier": forests.read_ada_classifier,
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingRegressor": (
            histograms.read_regressor
        ),
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier": (
            histograms.read_classifier
        ),
    }
)


@dataclass(frozen=True, slots=True)
class ReadModel:
    """The chain of a model, and what it predicts."""

    chain: Chain
    predictor: Predictor
    n_features: int  # that the whole model expects


def read_model(transformers: Sequence[Any], last: ParsedObject, n_features: int | None) -> ReadModel | None:
    """The chain of a model whose last step is *last*, behind *transformers*, none of which is switched off.

    *n_features*: how many the whole model says that it expects, None where it does not say.
    Raises KeyError, ValueError where its attributes contradict each other.
    """
    try:
        return _read_chain(transformers, last, n_features)
    except NotPacked:
        return None


def _read_transformer(transformer: Any, width: int) -> Prepared | None:
    """The steps of a transformer; None for a broken one, of which its own library says what is wrong."""
    try:
        return read_transformer(transformer, width)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError):
        return None


def _read_chain(transformers: Sequence[Any], last: ParsedObject, n_features: int | None) -> ReadModel | None:
    if last.kind in BOOSTERS:
        predictor: Predictor | None = boosters.read_booster(last)
    else:
        reader = _READERS.get(last.kind)
        predictor = reader(last.state) if reader else None
    if predictor is None:
        return None
    width = n_features if n_features is not None and transformers else predictor.n_features
    first_width, steps = width, list[Step]()
    for transformer in transformers:
        prepared = _read_transformer(transformer, width)
        if prepared is None or prepared.n_columns > MOST_COLUMNS:
            return None
        steps += prepared.steps
        width = prepared.n_columns
    if width != predictor.n_features:
        raise ValueError(f"its last step expects {predictor.n_features} features, and gets {width}")
    joined = join_products([*steps, *predictor.steps])
    return ReadModel(build_chain(joined, first_width, predictor.outputs), predictor, first_width)
