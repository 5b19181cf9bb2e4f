"""The globals that a pickle may name. Any other is refused when it is named, before anything of the file has run.

A pickle is a program that acts through the globals it names: REDUCE and NEWOBJ call them, BUILD writes into their
results. So each global here must be harmless with any arguments, and must not be a shared object that BUILD could
change for other models. Hence:

- Estimators are scikit-learn's own classes. Their constructors only store their arguments, and `__setstate__`,
  which they all have, makes BUILD on the class itself an error.
- A file gets a function in a wrapper of its own, so that BUILD changes the wrapper.
- For `numpy.ndarray` a file gets a token only: real dumps only pass it to `_reconstruct`, while a call of it could
  make an array of objects from chosen bytes.
- `joblib`'s wrapper of an array, a plain class, is subclassed for each file.
- No `functools`, `operator`, `numpy.load`, no `FunctionTransformer` (it calls its argument).
"""

from __future__ import annotations

_SKLEARN = {
    "sklearn.covariance._elliptic_envelope": ("EllipticEnvelope",),
    "sklearn.decomposition._pca": ("PCA",),
    "sklearn.ensemble._iforest": ("IsolationForest",),
    "sklearn.feature_selection._variance_threshold": ("VarianceThreshold",),
    "sklearn.impute._base": ("SimpleImputer",),
    "sklearn.kernel_approximation": ("Nystroem", "RBFSampler"),
    "sklearn.linear_model._sgd_fast": ("Hinge",),
    "sklearn.linear_model._stochastic_gradient": ("SGDOneClassSVM",),
    "sklearn.metrics._dist_metrics": ("EuclideanDistance64",),
    "sklearn.neighbors._ball_tree": ("BallTree",),
    "sklearn.neighbors._kd_tree": ("KDTree",),
    "sklearn.neighbors._lof": ("LocalOutlierFactor",),
    "sklearn.pipeline": ("Pipeline",),
    "sklearn.preprocessing._data": (
        "MaxAbsScaler",
        "MinMaxScaler",
        "Normalizer",
        "PowerTransformer",
        "QuantileTransformer",
        "RobustScaler",
        "StandardScaler",
    ),
    "sklearn.preprocessing._discretization": ("KBinsDiscretizer",),
    "sklearn.preprocessing._polynomial": ("PolynomialFeatures",),
    "sklearn.svm._classes": ("OneClassSVM",),
    "sklearn.tree._classes": ("ExtraTreeRegressor",),
    "sklearn.tree._tree": ("Tree",),
}
CLASSES = frozenset((module, name) for module, names in _SKLEARN.items() for name in names) | {
    ("numpy", "dtype"),
    ("numpy.random._mt19937", "MT19937"),
}
FUNCTIONS = frozenset(
    {
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
        ("numpy.random._pickle", "__bit_generator_ctor"),
        ("numpy.random._pickle", "__randomstate_ctor"),
        ("sklearn.metrics._dist_metrics", "newObj"),
        ("sklearn.neighbors._ball_tree", "newObj"),
        ("sklearn.neighbors._kd_tree", "newObj"),
    }
)
# Module names of older versions, and today's.
MOVED = {
    "numpy.core.multiarray": "numpy._core.multiarray",
    "numpy.core.numeric": "numpy._core.numeric",
    "sklearn.covariance.elliptic_envelope": "sklearn.covariance._elliptic_envelope",
    "sklearn.decomposition.pca": "sklearn.decomposition._pca",
    "sklearn.ensemble.iforest": "sklearn.ensemble._iforest",
    "sklearn.neighbors.ball_tree": "sklearn.neighbors._ball_tree",
    "sklearn.neighbors.kd_tree": "sklearn.neighbors._kd_tree",
    "sklearn.neighbors.lof": "sklearn.neighbors._lof",
    "sklearn.preprocessing.data": "sklearn.preprocessing._data",
    "sklearn.svm.classes": "sklearn.svm._classes",
    "sklearn.tree.tree": "sklearn.tree._classes",
}
