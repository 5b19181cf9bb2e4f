"""The kinds of estimators that are read, by module, and what each does as a model. Names only: nothing is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from shared.contract.domain import Task

# Each is scored by NumPy, SciPy or Cython code over its attributes; none calls or opens what an attribute names.
KINDS: Mapping[str, str] = {
    "sklearn.cluster._kmeans": "KMeans MiniBatchKMeans",  # distances to their centres
    "sklearn.compose._column_transformer": "ColumnTransformer",  # calls its transformers, which are on this list
    "sklearn.covariance._elliptic_envelope": "EllipticEnvelope",
    "sklearn.decomposition._factor_analysis": "FactorAnalysis",  # a product of matrices, as the next three
    "sklearn.decomposition._fastica": "FastICA",
    "sklearn.decomposition._incremental_pca": "IncrementalPCA",
    "sklearn.decomposition._pca": "PCA",
    "sklearn.decomposition._truncated_svd": "TruncatedSVD",
    "sklearn.ensemble._iforest": "IsolationForest",
    "sklearn.feature_selection._variance_threshold": "VarianceThreshold",
    "sklearn.impute._base": "MissingIndicator SimpleImputer",  # the first is a part of imputers
    "sklearn.impute._knn": "KNNImputer",  # distances to its rows
    "sklearn.kernel_approximation": "AdditiveChi2Sampler Nystroem PolynomialCountSketch RBFSampler SkewedChi2Sampler",
    "sklearn.linear_model._base": "LinearRegression",  # a product of matrices, as the next two
    "sklearn.linear_model._logistic": "LogisticRegression",
    "sklearn.linear_model._ridge": "Ridge",
    "sklearn.linear_model._stochastic_gradient": "SGDOneClassSVM",
    "sklearn.neighbors._lof": "LocalOutlierFactor",
    "sklearn.pipeline": "FeatureUnion Pipeline",  # call their parts, which are on this list
    "sklearn.preprocessing._data": "Binarizer MaxAbsScaler MinMaxScaler Normalizer PowerTransformer "
    "QuantileTransformer RobustScaler StandardScaler",
    "sklearn.preprocessing._discretization": "KBinsDiscretizer",
    "sklearn.preprocessing._encoders": "OneHotEncoder OrdinalEncoder",  # the first is a part of KBinsDiscretizer
    "sklearn.preprocessing._label": "LabelEncoder",  # of a bundle: the texts of its classes
    "sklearn.preprocessing._function_transformer": "FunctionTransformer",  # calls a FUNCTION
    "sklearn.preprocessing._polynomial": "PolynomialFeatures SplineTransformer",
    "sklearn.random_projection": "GaussianRandomProjection SparseRandomProjection",  # a product of matrices
    "sklearn.svm._classes": "OneClassSVM",
    "sklearn.tree._classes": "ExtraTreeRegressor",  # a part of IsolationForest
}
# The estimators of that list that may be a model, or the last step of one, and what they do.
_TASKS = {
    Task.DETECTOR: {
        "sklearn.covariance._elliptic_envelope": "EllipticEnvelope",
        "sklearn.ensemble._iforest": "IsolationForest",
        "sklearn.linear_model._stochastic_gradient": "SGDOneClassSVM",
        "sklearn.neighbors._lof": "LocalOutlierFactor",
        "sklearn.svm._classes": "OneClassSVM",
    },
    Task.REGRESSOR: {"sklearn.linear_model._base": "LinearRegression", "sklearn.linear_model._ridge": "Ridge"},
    Task.CLASSIFIER: {"sklearn.linear_model._logistic": "LogisticRegression"},
    Task.CLUSTERER: {"sklearn.cluster._kmeans": "KMeans MiniBatchKMeans"},
}


def list_names(table: Mapping[str, str]) -> Iterator[str]:
    """The full names in a table of names by module."""
    return (f"{module}.{name}" for module, names in table.items() for name in names.split())


ESTIMATORS = frozenset(list_names(KINDS))
# What an estimator does as a model, or as the last step of one; others are no models.
TASKS: Mapping[str, Task] = MappingProxyType(
    {name: task for task, table in _TASKS.items() for name in list_names(table)}
)
