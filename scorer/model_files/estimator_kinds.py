"""The kinds of estimators that are read, by module: what each does as a model, and how it is scored. Names only.

Each is scored by NumPy, SciPy or Cython code over its attributes; none calls or opens what an attribute names. What
native code would trust is checked before it runs: `estimators.checks`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from types import MappingProxyType

from shared.contract.domain import Task

_DETECTORS = {
    "sklearn.covariance._elliptic_envelope": "EllipticEnvelope",
    "sklearn.ensemble._iforest": "IsolationForest",
    "sklearn.linear_model._stochastic_gradient": "SGDOneClassSVM",
    "sklearn.neighbors._lof": "LocalOutlierFactor",
    "sklearn.svm._classes": "OneClassSVM",
}
_REGRESSORS = {
    "sklearn.compose._target": "TransformedTargetRegressor",  # calls a FUNCTION on what its regressor predicts
    "sklearn.cross_decomposition._pls": "CCA PLSCanonical PLSRegression",  # a product of matrices
    "sklearn.dummy": "DummyRegressor",  # a constant
    "sklearn.ensemble._bagging": "BaggingRegressor",  # asks its estimators, which are on this list, as the next two
    "sklearn.ensemble._stacking": "StackingRegressor",
    "sklearn.ensemble._voting": "VotingRegressor",
    "sklearn.ensemble._forest": "ExtraTreesRegressor RandomForestRegressor",  # leaves of trees, as the next three
    "sklearn.ensemble._gb": "GradientBoostingRegressor",
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting": "HistGradientBoostingRegressor",
    "sklearn.ensemble._weight_boosting": "AdaBoostRegressor",
    "sklearn.gaussian_process._gpr": "GaussianProcessRegressor",  # kernels of SciPy's distances to its rows
    "sklearn.isotonic": "IsotonicRegression",  # SciPy's interpolation between its thresholds
    "sklearn.kernel_ridge": "KernelRidge",  # a kernel to its rows
    # Products of matrices.
    "sklearn.linear_model._base": "LinearRegression",
    "sklearn.linear_model._bayes": "ARDRegression BayesianRidge",
    "sklearn.linear_model._coordinate_descent": "ElasticNet ElasticNetCV Lasso LassoCV MultiTaskElasticNet "
    "MultiTaskElasticNetCV MultiTaskLasso MultiTaskLassoCV",
    "sklearn.linear_model._glm.glm": "GammaRegressor PoissonRegressor TweedieRegressor",  # and the inverse of a link
    "sklearn.linear_model._huber": "HuberRegressor",
    "sklearn.linear_model._least_angle": "Lars LarsCV LassoLars LassoLarsCV LassoLarsIC",
    "sklearn.linear_model._omp": "OrthogonalMatchingPursuit OrthogonalMatchingPursuitCV",
    "sklearn.linear_model._passive_aggressive": "PassiveAggressiveRegressor",
    "sklearn.linear_model._quantile": "QuantileRegressor",
    "sklearn.linear_model._ransac": "RANSACRegressor",  # asks its estimator
    "sklearn.linear_model._ridge": "Ridge RidgeCV",
    "sklearn.linear_model._stochastic_gradient": "SGDRegressor",
    "sklearn.linear_model._theil_sen": "TheilSenRegressor",
    "sklearn.multioutput": "MultiOutputRegressor RegressorChain",  # ask their estimators
    "sklearn.neighbors._regression": "KNeighborsRegressor RadiusNeighborsRegressor",  # distances to its rows
    "sklearn.neural_network._multilayer_perceptron": "MLPRegressor",  # products of matrices
    "sklearn.svm._classes": "LinearSVR NuSVR SVR",  # a product of matrices; libsvm
    "sklearn.tree._classes": "DecisionTreeRegressor ExtraTreeRegressor",
}
_CLASSIFIERS = {
    "sklearn.calibration": "CalibratedClassifierCV",  # asks its classifiers, and their calibrators
    "sklearn.discriminant_analysis": "LinearDiscriminantAnalysis QuadraticDiscriminantAnalysis",  # products of matrices
    "sklearn.dummy": "DummyClassifier",  # a constant; one that draws is refused
    "sklearn.ensemble._bagging": "BaggingClassifier",  # asks its estimators, as the next two
    "sklearn.ensemble._stacking": "StackingClassifier",
    "sklearn.ensemble._voting": "VotingClassifier",
    "sklearn.ensemble._forest": "ExtraTreesClassifier RandomForestClassifier",  # leaves of trees, as the next three
    "sklearn.ensemble._gb": "GradientBoostingClassifier",
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting": "HistGradientBoostingClassifier",
    "sklearn.ensemble._weight_boosting": "AdaBoostClassifier",
    "sklearn.gaussian_process._gpc": "GaussianProcessClassifier",
    # Products of matrices.
    "sklearn.linear_model._logistic": "LogisticRegression LogisticRegressionCV",
    "sklearn.linear_model._passive_aggressive": "PassiveAggressiveClassifier",
    "sklearn.linear_model._perceptron": "Perceptron",
    "sklearn.linear_model._ridge": "RidgeClassifier RidgeClassifierCV",
    "sklearn.linear_model._stochastic_gradient": "SGDClassifier",
    "sklearn.model_selection._classification_threshold": "FixedThresholdClassifier TunedThresholdClassifierCV",
    "sklearn.multiclass": "OneVsOneClassifier OneVsRestClassifier OutputCodeClassifier",  # ask their estimators
    "sklearn.multioutput": "ClassifierChain MultiOutputClassifier",
    "sklearn.naive_bayes": "BernoulliNB CategoricalNB ComplementNB GaussianNB MultinomialNB",  # tables of logarithms
    "sklearn.neighbors._classification": "KNeighborsClassifier RadiusNeighborsClassifier",
    "sklearn.neighbors._nearest_centroid": "NearestCentroid",
    "sklearn.neural_network._multilayer_perceptron": "MLPClassifier",
    "sklearn.semi_supervised._label_propagation": "LabelPropagation LabelSpreading",  # a kernel to its rows
    "sklearn.semi_supervised._self_training": "SelfTrainingClassifier",
    "sklearn.svm._classes": "LinearSVC NuSVC SVC",
    "sklearn.tree._classes": "DecisionTreeClassifier ExtraTreeClassifier",
}
_CLUSTERERS = {  # distances to their centres, but for the mixtures, which are products of matrices
    "sklearn.cluster._affinity_propagation": "AffinityPropagation",
    "sklearn.cluster._birch": "Birch",
    "sklearn.cluster._bisect_k_means": "BisectingKMeans",
    "sklearn.cluster._kmeans": "KMeans MiniBatchKMeans",
    "sklearn.cluster._mean_shift": "MeanShift",
    "sklearn.mixture._bayesian_mixture": "BayesianGaussianMixture",
    "sklearn.mixture._gaussian_mixture": "GaussianMixture",
}
_TRANSFORMERS = {
    "sklearn.compose._column_transformer": "ColumnTransformer",  # calls its transformers, which are on this list
    "sklearn.decomposition._factor_analysis": "FactorAnalysis",  # a product of matrices, as the next four
    "sklearn.decomposition._fastica": "FastICA",
    "sklearn.decomposition._incremental_pca": "IncrementalPCA",
    "sklearn.decomposition._pca": "PCA",
    "sklearn.decomposition._truncated_svd": "TruncatedSVD",
    "sklearn.feature_selection._from_model": "SelectFromModel",  # columns, as the next three
    "sklearn.feature_selection._rfe": "RFE RFECV",
    "sklearn.feature_selection._sequential": "SequentialFeatureSelector",
    "sklearn.feature_selection._univariate_selection": "GenericUnivariateSelect SelectFdr SelectFpr SelectFwe "
    "SelectKBest SelectPercentile",
    "sklearn.feature_selection._variance_threshold": "VarianceThreshold",
    "sklearn.impute._base": "MissingIndicator SimpleImputer",  # the first is a part of imputers
    "sklearn.impute._knn": "KNNImputer",  # distances to its rows
    "sklearn.kernel_approximation": "AdditiveChi2Sampler Nystroem PolynomialCountSketch RBFSampler SkewedChi2Sampler",
    "sklearn.pipeline": "FeatureUnion Pipeline",  # call their parts, which are on this list
    "sklearn.preprocessing._data": "Binarizer MaxAbsScaler MinMaxScaler Normalizer PowerTransformer "
    "QuantileTransformer RobustScaler StandardScaler",
    "sklearn.preprocessing._discretization": "KBinsDiscretizer",
    "sklearn.preprocessing._encoders": "OneHotEncoder OrdinalEncoder",  # the first is a part of KBinsDiscretizer
    "sklearn.preprocessing._function_transformer": "FunctionTransformer",  # calls a FUNCTION
    "sklearn.preprocessing._polynomial": "PolynomialFeatures SplineTransformer",
    "sklearn.random_projection": "GaussianRandomProjection SparseRandomProjection",  # a product of matrices
}
_INNER = {  # parts of the others, with attributes of their own
    "sklearn.calibration": "_CalibratedClassifier _SigmoidCalibration _TemperatureScaling",
    "sklearn.cluster._bisect_k_means": "_BisectingTree",
    "sklearn.ensemble._hist_gradient_boosting.binning": "_BinMapper",  # which values are known categories
    "sklearn.frozen._frozen": "FrozenEstimator",  # asks its estimator
    "sklearn.gaussian_process._gpc": "_BinaryGaussianProcessClassifierLaplace",
    "sklearn.gaussian_process.kernels": "CompoundKernel ConstantKernel DotProduct ExpSineSquared Exponentiation Matern "
    "PairwiseKernel Product RBF RationalQuadratic Sum WhiteKernel",
    "sklearn.metrics._scorer": "_CurveScorer",  # says which class TunedThresholdClassifierCV calls positive
    "sklearn.multiclass": "_ConstantPredictor",
    "sklearn.neighbors._unsupervised": "NearestNeighbors",  # of LabelPropagation
    "sklearn.preprocessing._label": "LabelBinarizer LabelEncoder",  # the second also of a bundle: its classes
}
_MODELS = {
    Task.DETECTOR: _DETECTORS,
    Task.REGRESSOR: _REGRESSORS,
    Task.CLASSIFIER: _CLASSIFIERS,
    Task.CLUSTERER: _CLUSTERERS,
}


def list_names(table: Mapping[str, str]) -> Iterator[str]:
    """The full names in a table of names by module."""
    return (f"{module}.{name}" for module, names in table.items() for name in names.split())


# What an estimator does as a model, or as the last step of one; others are no models.
_TASKS = {name: task for task, table in _MODELS.items() for name in list_names(table)}
# What `boosters` makes of the files of other libraries. No file can name these kinds, and no object is made of them.
BOOSTERS: Mapping[str, Task] = MappingProxyType(
    {f"{library}.{task}": task for library in ("lightgbm", "xgboost") for task in (Task.CLASSIFIER, Task.REGRESSOR)}
)
TASKS: Mapping[str, Task] = MappingProxyType({**_TASKS, **BOOSTERS})
# All estimators of scikit-learn that are read.
KINDS = frozenset(chain(_TASKS, list_names(_TRANSFORMERS), list_names(_INNER)))
# Objects that hold a booster, of which only its numbers are read.
_WRAPPERS = {
    "lightgbm.basic": "Booster",
    "lightgbm.sklearn": "LGBMClassifier LGBMModel LGBMRanker LGBMRegressor",
    "xgboost.core": "Booster",
    "xgboost.sklearn": "XGBClassifier XGBRFClassifier XGBRFRegressor XGBRanker XGBRegressor",
}
WRAPPERS = frozenset(list_names(_WRAPPERS))

_LABELS_ONLY = (
    "has no predict: it labels only the rows that it was fitted on. Fit a KMeans, a Birch or a classifier of "
)
# What to do about classes that people save as models and that are none.
ADVICE: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(
        list_names(
            {
                "sklearn.cluster._agglomerative": "AgglomerativeClustering",
                "sklearn.cluster._bicluster": "SpectralBiclustering SpectralCoclustering",
                "sklearn.cluster._dbscan": "DBSCAN",
                "sklearn.cluster._hdbscan.hdbscan": "HDBSCAN",
                "sklearn.cluster._optics": "OPTICS",
                "sklearn.cluster._spectral": "SpectralClustering",
            }
        ),
        _LABELS_ONLY + "its labels",
    )
    | {
        "sklearn.cluster._agglomerative.FeatureAgglomeration": "groups columns and not rows, and its pooling is a "
        "function of the file. Fit a PCA in its place",
        "sklearn.neighbors._kde.KernelDensity": "has no predict. Fit a GaussianMixture, whose score_samples is used",
    }
)
