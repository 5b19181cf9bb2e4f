"""Estimators that are packed as chains of steps, of each kind, unfitted; and data to fit them on."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn import linear_model, naive_bayes, svm, tree
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel
from sklearn.impute import SimpleImputer
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

RANDOM = {"random_state": 0}
SHORT: dict[str, Any] = {"max_iter": 20, **RANDOM}
ACTIVATIONS = ("relu", "tanh", "logistic", "identity")
TREES = {"n_estimators": 7, **RANDOM}
CURVES = [
    RBF(3.0),
    ConstantKernel(2.0) * RBF([1.0, 20.0, 0.3, 4.0]) + ConstantKernel(0.5),
    (ConstantKernel(2.0) + WhiteKernel(0.5)) * Matern(5.0, nu=1.5),
    *(Matern([1.0, 20.0, 0.3, 4.0], nu=nu) for nu in (0.5, 2.5, np.inf)),
]
# Sums of products: equal to 1e-12 of the sum of their terms.
LINEAR = [
    linear_model.LinearRegression(),
    linear_model.LinearRegression(fit_intercept=False),
    linear_model.Ridge(),
    linear_model.Lasso(0.01),
    linear_model.ElasticNet(0.01),
    linear_model.BayesianRidge(),
    linear_model.ARDRegression(),
    linear_model.HuberRegressor(max_iter=1000),
    linear_model.SGDRegressor(alpha=0.1, eta0=1e-4, **RANDOM),
    linear_model.SGDRegressor(alpha=0.1, eta0=1e-4, average=True, **RANDOM),
    linear_model.TweedieRegressor(power=0),
    svm.LinearSVR(**RANDOM),
    svm.SVR(),
    svm.SVR(kernel="poly", degree=2, coef0=1.0),
    svm.SVR(kernel="sigmoid", gamma=0.01),
    svm.SVR(kernel="linear"),
    svm.NuSVR(),
    *(MLPRegressor(hidden_layer_sizes=(7, 5), activation=name, **SHORT) for name in ACTIVATIONS),
    MLPRegressor(hidden_layer_sizes=(), **SHORT),
    *(GaussianProcessRegressor(kernel + WhiteKernel(0.1), optimizer=None, normalize_y=True) for kernel in CURVES),
]
POSITIVE = [  # of targets above 0
    linear_model.PoissonRegressor(max_iter=1000),
    linear_model.GammaRegressor(max_iter=1000),
    linear_model.TweedieRegressor(power=1.5, max_iter=1000),
    HistGradientBoostingRegressor(loss="poisson", max_iter=5),
    HistGradientBoostingRegressor(loss="gamma", max_iter=5),
    MLPRegressor(loss="poisson", hidden_layer_sizes=(3,), learning_rate_init=1e-6, **SHORT),
]
SEVERAL = [
    linear_model.LinearRegression(),
    linear_model.MultiTaskLasso(0.01),
    MLPRegressor(hidden_layer_sizes=(7,), **SHORT),
    RandomForestRegressor(**TREES),
    tree.DecisionTreeRegressor(max_depth=4, **RANDOM),
]
TREE_REGRESSORS = [
    tree.DecisionTreeRegressor(**RANDOM),
    tree.DecisionTreeRegressor(max_depth=1, **RANDOM),
    tree.DecisionTreeRegressor(max_leaf_nodes=64, **RANDOM),
    tree.DecisionTreeRegressor(max_leaf_nodes=65, **RANDOM),
    tree.ExtraTreeRegressor(**RANDOM),
    RandomForestRegressor(**TREES),
    RandomForestRegressor(max_depth=5, **TREES),
    ExtraTreesRegressor(**TREES),
    GradientBoostingRegressor(**TREES),
    GradientBoostingRegressor(loss="huber", init="zero", **TREES),
    AdaBoostRegressor(**TREES),
    AdaBoostRegressor(tree.DecisionTreeRegressor(max_depth=2, **RANDOM), loss="square", n_estimators=40, **RANDOM),
    HistGradientBoostingRegressor(max_iter=7),
    HistGradientBoostingRegressor(max_iter=3, max_leaf_nodes=None, min_samples_leaf=1),
]
LINEAR_CLASSIFIERS = [
    linear_model.LogisticRegression(),
    linear_model.SGDClassifier(**RANDOM),
    linear_model.SGDClassifier(loss="log_loss", **RANDOM),
    linear_model.Perceptron(**RANDOM),
    linear_model.RidgeClassifier(),
    svm.LinearSVC(**RANDOM),
    svm.SVC(),
    svm.SVC(kernel="poly", decision_function_shape="ovo"),
    svm.NuSVC(nu=0.1),
    naive_bayes.GaussianNB(),
    MLPClassifier((7,), **SHORT),
    MLPClassifier((6, 4), activation="tanh", **SHORT),
]
TREE_CLASSIFIERS = [
    tree.DecisionTreeClassifier(**RANDOM),
    tree.DecisionTreeClassifier(max_depth=3, **RANDOM),
    tree.ExtraTreeClassifier(**RANDOM),
    RandomForestClassifier(**TREES),
    RandomForestClassifier(max_depth=3, class_weight="balanced", **TREES),
    ExtraTreesClassifier(**TREES),
    GradientBoostingClassifier(**TREES),
    GradientBoostingClassifier(init="zero", **TREES),
    HistGradientBoostingClassifier(max_iter=7),
    AdaBoostClassifier(**TREES),
    AdaBoostClassifier(tree.DecisionTreeClassifier(max_depth=3, **RANDOM), **TREES),
]
COUNTS = [naive_bayes.MultinomialNB(), naive_bayes.ComplementNB()]
CLUSTERERS = [KMeans(4, n_init=1, **RANDOM), MiniBatchKMeans(4, n_init=1, **RANDOM)]
TRANSFORMERS = [
    StandardScaler(),
    StandardScaler(with_mean=False),
    MinMaxScaler(),
    MinMaxScaler((-1, 2), clip=True),
    MaxAbsScaler(),
    RobustScaler(with_scaling=False),
    SimpleImputer(),
    PCA(2),
    PCA(3, whiten=True),
    Nystroem(n_components=9, **RANDOM),
    Nystroem(n_components=9, gamma=0.3, **RANDOM),
    RBFSampler(n_components=11, **RANDOM),
    make_pipeline(StandardScaler(), PCA(2), MinMaxScaler()),
]


def name_of(estimator: Any) -> str:
    """A short name for a test."""
    text = str(estimator)
    return " ".join(text.split())[:60]


def make_rows(n_rows: int, seed: int = 0) -> np.ndarray:
    """Readings of four features of different sizes."""
    random = np.random.default_rng(seed)
    rows: np.ndarray = random.normal(size=(n_rows, 4)) * [1, 20, 0.3, 4] + [0, 100, -2, 5]
    return rows


def make_target(rows: np.ndarray) -> np.ndarray:
    """A number for each row, with noise."""
    random = np.random.default_rng(1)
    target: np.ndarray = rows[:, 0] * 3 - rows[:, 1] / 10 + np.sin(rows[:, 3]) + random.normal(size=len(rows)) / 10
    return target


def make_classes(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Two and three classes: numbers, texts whose order is not that of the target."""
    target = make_target(rows)
    level = np.digitize(target, np.quantile(target, [0.3, 0.7]))
    yield (target > np.median(target)).astype(int)
    yield np.array(["ok", "fault", "blocked"])[level]


def fit(estimator: Any, rows: Any, target: Any = None) -> Any:
    """The estimator, fitted without a word of what did not converge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(rows, target)
