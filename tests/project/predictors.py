"""The regressors, classifiers and clusterers that docs/models.md lists, and what they are fitted on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_selection import RFE, SelectFromModel, SelectKBest, SequentialFeatureSelector, f_regression
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LinearRegression, LogisticRegression, LogisticRegressionCV, Ridge, SGDClassifier
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor, RegressorChain
from sklearn.neighbors import (
    KernelDensity,
    KNeighborsClassifier,
    KNeighborsRegressor,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.semi_supervised import LabelPropagation, LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import all_estimators
from xgboost import XGBClassifier, XGBRegressor, XGBRFRegressor

_RANDOM = np.random.default_rng(5)
# Numbers of one size, on which the slowest fit converges in a second.
FITTED, SEEN = (_RANDOM.uniform(0.1, 2, (rows, 4)) for rows in (60, 25))
_NUMBER = FITTED @ [1.0, 2.0, -1.0, 0.5] + _RANDOM.normal(0, 0.1, len(FITTED)) + 3
_CODE = np.digitize(_NUMBER, np.quantile(_NUMBER, [0.3, 0.7]))
_CLASS = np.array(["low", "mid", "high"])[_CODE]
# What the kinds are fitted on beside the readings, by what their names say.
TARGETS: Mapping[str, Any] = MappingProxyType(
    {
        "number": _NUMBER,
        "numbers": np.column_stack([_NUMBER, FITTED[:, 0] - _NUMBER]),
        "class": _CLASS,
        "two classes": _CODE == 0,
        "classes": np.column_stack([_CLASS, _CLASS[::-1]]),
        "labels": np.column_stack([_CODE == 0, _CODE == 1]).astype(int),
        "code": _CODE,
        "nothing": None,
    }
)
_LINE, _CURVE = Ridge(), LogisticRegression()
_SMALL = {"n_estimators": 3, "random_state": 0}  # where a kind has these parameters
_QUICK = {"HistGradientBoostingRegressor", "HistGradientBoostingClassifier", "MLPRegressor", "MLPClassifier"}
_REGRESSORS = {
    "BaggingRegressor": BaggingRegressor(DecisionTreeRegressor(max_depth=3), n_estimators=3, random_state=0),
    "IsotonicRegression": IsotonicRegression(out_of_bounds="clip"),
    "MultiOutputRegressor": MultiOutputRegressor(_LINE),
    "RadiusNeighborsRegressor": RadiusNeighborsRegressor(radius=30),
    "RegressorChain": RegressorChain(_LINE),
    "StackingRegressor": StackingRegressor([("line", _LINE), ("tree", DecisionTreeRegressor(max_depth=2))], cv=2),
    "TransformedTargetRegressor": TransformedTargetRegressor(_LINE, func=np.log1p, inverse_func=np.expm1),
    "VotingRegressor": VotingRegressor([("line", _LINE), ("tree", DecisionTreeRegressor(max_depth=2))]),
}
_CLASSIFIERS = {
    "CategoricalNB": None,  # of categories, which readings are not
    "ClassifierChain": ClassifierChain(_CURVE),
    "FixedThresholdClassifier": FixedThresholdClassifier(_CURVE, threshold=0.3),
    "LabelPropagation": LabelPropagation(gamma=1),
    "LogisticRegressionCV": LogisticRegressionCV(Cs=2, cv=2),
    "LabelSpreading": LabelSpreading("knn", n_neighbors=3),
    "MultiOutputClassifier": MultiOutputClassifier(_CURVE),
    "OneVsOneClassifier": OneVsOneClassifier(_CURVE),
    "OneVsRestClassifier": OneVsRestClassifier(_CURVE),
    "OutputCodeClassifier": OutputCodeClassifier(_CURVE, random_state=0),
    "RadiusNeighborsClassifier": RadiusNeighborsClassifier(radius=30, outlier_label="mid"),
    "SelfTrainingClassifier": SelfTrainingClassifier(_CURVE),
    "StackingClassifier": StackingClassifier([("curve", _CURVE), ("tree", DecisionTreeClassifier(max_depth=2))], cv=2),
    "TunedThresholdClassifierCV": TunedThresholdClassifierCV(_CURVE, cv=2),
    "VotingClassifier": VotingClassifier(
        [("curve", _CURVE), ("tree", DecisionTreeClassifier(max_depth=2))], voting="soft"
    ),
}
_TARGET_OF = {
    **dict.fromkeys(("CCA", "MultiOutputRegressor", "PLSCanonical", "RegressorChain"), "numbers"),
    **dict.fromkeys(("FixedThresholdClassifier", "TunedThresholdClassifierCV"), "two classes"),
    **dict.fromkeys(("LabelPropagation", "LabelSpreading", "SelfTrainingClassifier"), "code"),
    "ClassifierChain": "labels",
    "MultiOutputClassifier": "classes",
}

Row = tuple[Any, str]  # the model, and the name of its target


def list_regressors() -> dict[str, Row]:
    """Every regressor of scikit-learn, and some in other forms."""
    kernel = ConstantKernel(2) * Matern([1, 2, 3, 4]) + WhiteKernel()
    rows = {name: (model, "number") for name, model in _make_all("regressor", _REGRESSORS).items()}
    rows = {
        name: (model, _TARGET_OF.get(name, "numbers" if name.startswith("MultiTask") else target))
        for name, (model, target) in rows.items()
    }
    forms: dict[str, Row] = {
        "GaussianProcessRegressor, sum of kernels": (GaussianProcessRegressor(kernel, optimizer=None), "number"),
        "GradientBoostingRegressor, huber": (GradientBoostingRegressor(n_estimators=3, loss="huber"), "number"),
        "GradientBoostingRegressor, init": (
            GradientBoostingRegressor(n_estimators=3, init=LinearRegression()),
            "number",
        ),
        "HistGradientBoostingRegressor, categories": (
            make_pipeline(
                PolynomialFeatures(1, include_bias=True),
                HistGradientBoostingRegressor(max_iter=3, categorical_features=[0]),
            ),
            "number",
        ),
        "HistGradientBoostingRegressor, poisson": (HistGradientBoostingRegressor(loss="poisson", max_iter=3), "number"),
        "KNeighborsRegressor, several outputs": (KNeighborsRegressor(), "numbers"),
        "RandomForestRegressor, several outputs": (RandomForestRegressor(3, random_state=0), "numbers"),
        "Ridge behind SelectKBest": (make_pipeline(SelectKBest(f_regression, k=2), _LINE), "number"),
        "Ridge behind RFE": (make_pipeline(RFE(_LINE, n_features_to_select=2), _LINE), "number"),
        "Ridge behind SelectFromModel": (
            make_pipeline(SelectFromModel(RandomForestRegressor(3, random_state=0)), _LINE),
            "number",
        ),
        "Ridge behind SequentialFeatureSelector": (
            make_pipeline(SequentialFeatureSelector(_LINE, n_features_to_select=2, cv=2), _LINE),
            "number",
        ),
        "Ridge behind PolynomialFeatures": (make_pipeline(PolynomialFeatures(2), StandardScaler(), _LINE), "number"),
        "SVR behind a StandardScaler": (make_pipeline(StandardScaler(), SVR()), "number"),
        "GridSearchCV around Ridge": (GridSearchCV(_LINE, {"alpha": [1, 2]}, scoring="r2", cv=2), "number"),
    }
    return rows | forms


def list_classifiers() -> dict[str, Row]:
    """Every classifier of scikit-learn, and some in other forms."""
    rows = {
        name: (model, _TARGET_OF.get(name, "class"))
        for name, model in _make_all("classifier", _CLASSIFIERS).items()
        if model is not None
    }
    forms: dict[str, Row] = {
        "BaggingClassifier of SVC": (BaggingClassifier(SVC(), n_estimators=2, random_state=0), "class"),
        "CalibratedClassifierCV, isotonic": (
            CalibratedClassifierCV(LinearSVC(random_state=0), method="isotonic", cv=2),
            "class",
        ),
        "CalibratedClassifierCV of a FrozenEstimator": (
            CalibratedClassifierCV(FrozenEstimator(LogisticRegression().fit(FITTED, _CLASS))),
            "class",
        ),
        "DecisionTreeClassifier, several outputs": (DecisionTreeClassifier(random_state=0), "classes"),
        "DummyClassifier, stratified": (DummyClassifier(strategy="stratified"), "class"),
        "GradientBoostingClassifier, exponential": (
            GradientBoostingClassifier(n_estimators=3, loss="exponential", random_state=0),
            "two classes",
        ),
        "HistGradientBoostingClassifier, two classes": (HistGradientBoostingClassifier(max_iter=3), "two classes"),
        "KNeighborsClassifier, brute": (KNeighborsClassifier(algorithm="brute"), "class"),
        "KNeighborsClassifier, several outputs": (KNeighborsClassifier(), "classes"),
        "OneVsRestClassifier, several labels": (OneVsRestClassifier(_CURVE), "labels"),
        "RandomForestClassifier, several outputs": (RandomForestClassifier(3, random_state=0), "classes"),
        "SGDClassifier, log_loss": (SGDClassifier(loss="log_loss", random_state=0), "class"),
        "SVC behind a StandardScaler": (make_pipeline(StandardScaler(), SVC()), "class"),
        "VotingClassifier, hard": (VotingClassifier([("curve", _CURVE), ("svc", SVC())]), "class"),
    }
    return rows | forms


def list_clusterers() -> dict[str, Row]:
    """Every clusterer of scikit-learn, and the mixtures."""
    clusterers = _make_all("cluster", {})
    mixtures = {"GaussianMixture": GaussianMixture(2, random_state=0), "KernelDensity": KernelDensity()}
    mixtures["BayesianGaussianMixture"] = BayesianGaussianMixture(n_components=2, random_state=0)
    behind = {
        f"{name} behind a StandardScaler": make_pipeline(StandardScaler(), model)
        for name, model in (clusterers | mixtures).items()
        if name in ("KMeans", "MeanShift", "GaussianMixture")
    }
    return {name: (model, "nothing") for name, model in (clusterers | mixtures | behind).items()}


def list_boosters() -> dict[str, Row]:
    """Models of LightGBM and XGBoost, by the wrappers that people use with scikit-learn."""
    forest = {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}
    lightgbm = {"n_estimators": 5, "min_child_samples": 3, "verbose": -1, "n_jobs": 1}
    xgboost = {"n_estimators": 5, "n_jobs": 1}
    return {
        "LGBMRegressor": (LGBMRegressor(**lightgbm), "number"),
        "LGBMRegressor, DART": (LGBMRegressor(boosting_type="dart", **lightgbm), "number"),
        "LGBMRegressor, random forest": (LGBMRegressor(**forest, **lightgbm), "number"),
        "LGBMRegressor, linear trees": (LGBMRegressor(linear_tree=True, **lightgbm), "number"),
        "LGBMRegressor, poisson": (LGBMRegressor(objective="poisson", **lightgbm), "number"),
        "LGBMClassifier": (LGBMClassifier(**lightgbm), "class"),
        "LGBMClassifier, two classes": (LGBMClassifier(**lightgbm), "two classes"),
        "LGBMRegressor behind a StandardScaler": (make_pipeline(StandardScaler(), LGBMRegressor(**lightgbm)), "number"),
        "XGBRegressor": (XGBRegressor(**xgboost), "number"),
        "XGBRegressor, DART": (XGBRegressor(booster="dart", **xgboost), "number"),
        "XGBRegressor, gblinear": (XGBRegressor(booster="gblinear", **xgboost), "number"),
        "XGBRegressor, several outputs": (XGBRegressor(**xgboost), "numbers"),
        "XGBRFRegressor": (XGBRFRegressor(**xgboost), "number"),
        "XGBRegressor with missing=-999": (XGBRegressor(missing=-999, **xgboost), "number"),
        "XGBClassifier": (XGBClassifier(**xgboost), "code"),
        "XGBClassifier, two classes": (XGBClassifier(**xgboost), "two classes"),
        "VotingRegressor of boosters": (
            VotingRegressor([("lgb", LGBMRegressor(**lightgbm)), ("xgb", XGBRegressor(**xgboost))]),
            "number",
        ),
    }


def select_rows(name: str, rows: np.ndarray) -> np.ndarray:
    """The readings of a kind: IsotonicRegression takes one column."""
    return rows[:, :1] if name == IsotonicRegression.__name__ else rows


def _make_all(task: str, special: Mapping[str, Any]) -> dict[str, Any]:
    """Every estimator of a task, small."""
    models = {}
    for name, kind in all_estimators(task):
        with warnings.catch_warnings(action="ignore"):  # some are deprecated
            model = special[name] if name in special else kind()
        if name not in special:
            small = {**_SMALL, "max_iter": 3} if name in _QUICK else _SMALL
            model.set_params(**{key: value for key, value in small.items() if key in model.get_params()})
        models[name] = model
    return models
