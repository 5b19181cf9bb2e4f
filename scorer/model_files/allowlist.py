"""The one list of what a model file may name, and what becomes of each name. Pickles and skops files share it.

Nothing that a file names is called, imported or opened while the file is read: a name is a token (`pickle_globals`,
`skops_reader`). `estimators.builder` then makes objects of the tokens, in the sandbox, and it makes no others:

    ESTIMATOR  an instance of scikit-learn's own class: its constructor is not called, its attributes are set
    PART       made by code of ours from checked numbers: trees, sparse matrices, splines, random states, slices
    FUNCTION   an elementwise function of NumPy, and only as that of a FunctionTransformer or TransformedTargetRegressor
    TYPE       a type of numbers, as a value
    UNUSED     never made: scoring does not need it, or makes it again (trees of neighbours, losses; scorers; caches)
    BOOSTER    never made: the booster that it holds becomes numbers of ours (`boosters`)
    READ       a value that the readers themselves make: arrays, numbers, bytes

So a name of this list can run no code that a file chooses, open no file and import nothing. A name that is not on it is
*untrusted*, but for classes of known libraries (`LIBRARIES`), which are merely not supported: a token does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from .estimator_kinds import KINDS, WRAPPERS, list_names


class Use(StrEnum):
    """What becomes of a name."""

    ESTIMATOR = "estimator"
    PART = "part"
    FUNCTION = "function"
    TYPE = "type"
    UNUSED = "unused"
    BOOSTER = "booster"
    READ = "read"


_PARTS = {
    "builtins": "slice",
    "numpy.random._pickle": "__randomstate_ctor",
    "numpy.random.mtrand": "RandomState",
    "scipy.interpolate._bsplines": "BSpline",
    "scipy.sparse._csr": "csr_array csr_matrix",
    "sklearn.compose._column_transformer": "_RemainderColsList",  # a list of columns, in files of 1.5 to 1.7
    "sklearn.ensemble._hist_gradient_boosting.predictor": "TreePredictor",
    "sklearn.tree._tree": "Tree",
}
_FUNCTIONS = {
    "numpy": "abs absolute arcsinh arctan cbrt ceil cos deg2rad degrees exp exp2 expm1 fabs floor log log10 log1p log2 "
    "nan_to_num negative positive rad2deg radians reciprocal rint sign sin sqrt square tan tanh trunc",
}
_TYPES = {"numpy": "bool bool_ float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64"}
# fmt: off
_METRICS = (
    "BrayCurtis", "Canberra", "Chebyshev", "Dice", "Euclidean", "Hamming", "Haversine", "Jaccard", "Mahalanobis",
    "Manhattan", "Matching", "Minkowski", "RogersTanimoto", "RussellRao", "SEuclidean", "SokalMichener", "SokalSneath",
    "WMinkowski",
)
_LOSSES = (
    "AbsoluteError", "ExponentialLoss", "HalfBinomialLoss", "HalfGammaLoss", "HalfMultinomialLoss", "HalfPoissonLoss",
    "HalfSquaredError", "HalfTweedieLoss", "HalfTweedieLossIdentity", "HuberLoss", "PinballLoss",
)
# fmt: on
_UNUSED = {
    "builtins": "bytearray frozenset set",
    "collections": "OrderedDict defaultdict",
    "datetime": "date datetime timedelta timezone",  # of a bundle: when it was trained
    "functools": "partial",  # of check_array alone, which is what HistGradientBoosting does to its numeric columns
    "joblib._store_backends": "FileSystemStoreBackend",
    "joblib.memory": "Memory",  # a pipeline's cache, which only fitting uses
    "lightgbm.basic": "_InnerPredictor",  # of a booster that went on from another one, whose trees it has
    "numpy": "mean number",  # how FeatureAgglomeration pools, not supported; a dtype that columns were chosen by
    "numpy.ma": "MaskedArray",  # the results of a search
    "numpy.ma.core": "MaskedArray _mareconstruct",
    "pathlib": "PosixPath WindowsPath",  # of that cache
    "numpy.random._generator": "Generator",  # with the next ones: what HistGradientBoosting drew while it was fitted
    "numpy.random._mt19937": "MT19937",
    "numpy.random._pcg64": "PCG64",
    "numpy.random._pickle": "__bit_generator_ctor __generator_ctor",
    "numpy.random.bit_generator": "SeedSequence __pyx_unpickle_SeedSequence",
    # An Index of texts in a bundle, such as the columns of a frame: its names are read (`pandas_index`).
    "pandas": "StringDtype",
    "pandas._libs.tslibs.timedeltas": "_timedelta_unpickle",  # of a bundle: when it was trained, and for how long
    "pandas._libs.tslibs.timestamps": "_unpickle_timestamp",
    "pandas.arrays": "ArrowStringArray",
    "pandas.core.indexes.base": "Index _new_Index",
    "pyarrow.lib": "_restore_array py_buffer type_for_alias",
    "scipy._lib.array_api_compat.numpy._aliases": "asarray",  # an attribute of BSpline, which its constructor sets
    # What a random search drew from: continuous distributions.
    "scipy.stats._continuous_distns": "beta_gen expon_gen gamma_gen halfnorm_gen lognorm_gen norm_gen reciprocal_gen "
    "triang_gen truncnorm_gen uniform_gen",
    "scipy.stats._distn_infrastructure": "rv_continuous_frozen",
    "sklearn.compose._column_transformer": "make_column_selector",  # the columns that it chose stand beside it
    # Losses and their links: made again, from the name of the loss.
    "sklearn._loss._loss": " ".join(f"{prefix}Cy{name}" for name in _LOSSES for prefix in ("", "__pyx_unpickle_")),
    "sklearn._loss.glm_distribution": "DistributionBoundary PoissonDistribution TweedieDistribution",  # of 1.0
    "sklearn._loss.link": "HalfLogitLink IdentityLink Interval LogLink LogitLink MultinomialLogit",
    "sklearn._loss.loss": " ".join(_LOSSES),
    "sklearn.cluster._birch": "_CFNode _CFSubcluster",  # the tree, of which the centres are kept
    "sklearn.cluster._kmeans": "_kmeans_single_elkan _kmeans_single_lloyd",
    "sklearn.ensemble._gb_losses": "BinomialDeviance ExponentialLoss HuberLossFunction LeastAbsoluteError "
    "LeastSquaresError MultinomialDeviance QuantileLossFunction",  # up to 1.3
    "sklearn.ensemble._hist_gradient_boosting.loss": "AbsoluteError BinaryCrossEntropy CategoricalCrossEntropy "
    "LeastAbsoluteDeviation LeastSquares Poisson",  # up to 1.0
    "sklearn.feature_selection._mutual_info": "mutual_info_classif mutual_info_regression",  # how columns were chosen
    "sklearn.feature_selection._univariate_selection": "chi2 f_classif f_oneway f_regression r_regression",
    "sklearn.linear_model._glm.link": "IdentityLink LogLink LogitLink",  # of 1.0
    "sklearn.linear_model._sgd_fast": "EpsilonInsensitive Hinge Huber Log ModifiedHuber SquaredEpsilonInsensitive "
    "SquaredHinge SquaredLoss",  # the loss, which only fitting uses
    "sklearn.metrics._classification": "accuracy_score balanced_accuracy_score f1_score log_loss precision_score "
    "recall_score",
    "sklearn.metrics._dist_metrics": " ".join(
        ["newObj", *(f"{name}Distance{size}" for name in _METRICS for size in ("", "32", "64"))]
    ),
    "sklearn.metrics._ranking": "average_precision_score roc_auc_score",
    "sklearn.metrics._regression": "explained_variance_score max_error mean_absolute_error "
    "mean_absolute_percentage_error mean_squared_error mean_squared_log_error median_absolute_error r2_score "
    "root_mean_squared_error root_mean_squared_log_error",
    "sklearn.metrics._scorer": "_MultimetricScorer _PassthroughScorer _PredictScorer _ProbaScorer _Scorer "
    "_ThresholdScorer _passthrough_scorer",  # of a search
    "sklearn.model_selection._search": "ParameterGrid",
    "sklearn.model_selection._split": "GroupKFold GroupShuffleSplit KFold LeaveOneGroupOut LeaveOneOut LeavePOut "
    "PredefinedSplit RepeatedKFold RepeatedStratifiedKFold ShuffleSplit StratifiedGroupKFold StratifiedKFold "
    "StratifiedShuffleSplit TimeSeriesSplit",
    "sklearn.neighbors._ball_tree": "BallTree BallTree32 BallTree64 BinaryTree newObj",
    "sklearn.neighbors._kd_tree": "BinaryTree KDTree KDTree32 KDTree64 newObj",
    "sklearn.neural_network._stochastic_optimizers": "AdamOptimizer SGDOptimizer",
    "sklearn.utils._bunch": "Bunch",  # the names of a Voting's or Stacking's estimators
    "sklearn.utils._metadata_requests": "MetadataRequest MethodMetadataRequest",  # routing, of fitting only
    "sklearn.utils.validation": "check_array",
    "xgboost.callback": "EarlyStopping EvaluationMonitor LearningRateScheduler TrainingCheckPoint",  # of fitting only
}
_READ = {
    "_codecs": "encode",  # how protocol 2 spells bytes
    "builtins": "bytes",
    "joblib.numpy_pickle": "NumpyArrayWrapper",
    "numpy": "dtype ndarray str_",
    "numpy._core": "_ufunc_reconstruct",  # how NumPy 1 pickles a function: by the names of its module and its own
    "numpy._core.multiarray": "_reconstruct scalar",
    "numpy._core.numeric": "_frombuffer",
}
# A search is its best estimator: see `parsed.simplify_model`.
SEARCHES = frozenset(
    f"sklearn.model_selection.{name}"
    for name in (
        "_search.GridSearchCV",
        "_search.RandomizedSearchCV",
        "_search_successive_halving.HalvingGridSearchCV",
        "_search_successive_halving.HalvingRandomSearchCV",
    )
)


USES: Mapping[str, Use] = MappingProxyType(
    {
        **dict.fromkeys(KINDS, Use.ESTIMATOR),
        **dict.fromkeys(list_names(_PARTS), Use.PART),
        **dict.fromkeys(list_names(_FUNCTIONS), Use.FUNCTION),
        **dict.fromkeys(list_names(_TYPES), Use.TYPE),
        **dict.fromkeys(list_names(_UNUSED), Use.UNUSED),
        **dict.fromkeys(SEARCHES, Use.UNUSED),
        **dict.fromkeys(WRAPPERS, Use.BOOSTER),
        **dict.fromkeys(list_names(_READ), Use.READ),
    }
)
# The modules that the estimators of this list are imported from.
MODULES = tuple(sorted({name.rpartition(".")[0] for name in KINDS}))

# Module names of older versions, and today's.
MOVED: Mapping[str, str] = MappingProxyType(
    {
        "__builtin__": "builtins",
        "_loss": "sklearn._loss._loss",  # 1.3 to 1.8, as the compiled module called itself
        "numpy._core._multiarray_umath": "numpy",  # where NumPy's functions are made
        "numpy.core": "numpy._core",
        "pathlib._local": "pathlib",  # 3.13
        "numpy.core._multiarray_umath": "numpy",
        "numpy.core.multiarray": "numpy._core.multiarray",
        "numpy.core.numeric": "numpy._core.numeric",
        "pandas": "pandas.core.indexes.base",  # 3.0 and later
        "pandas.core.arrays.string_": "pandas",
        "pandas.core.arrays.string_arrow": "pandas.arrays",
        "scipy.sparse.csr": "scipy.sparse._csr",
        "sklearn.covariance.elliptic_envelope": "sklearn.covariance._elliptic_envelope",
        "sklearn.covariance.outlier_detection": "sklearn.covariance._elliptic_envelope",
        "sklearn.decomposition.factor_analysis": "sklearn.decomposition._factor_analysis",
        "sklearn.decomposition.fastica_": "sklearn.decomposition._fastica",
        "sklearn.decomposition.incremental_pca": "sklearn.decomposition._incremental_pca",
        "sklearn.decomposition.pca": "sklearn.decomposition._pca",
        "sklearn.decomposition.truncated_svd": "sklearn.decomposition._truncated_svd",
        "sklearn.ensemble.iforest": "sklearn.ensemble._iforest",
        "sklearn.externals.joblib.numpy_pickle": "joblib.numpy_pickle",  # up to 0.22
        "sklearn.feature_selection.variance_threshold": "sklearn.feature_selection._variance_threshold",
        "sklearn.impute": "sklearn.impute._base",  # 0.20
        "sklearn.neighbors._dist_metrics": "sklearn.metrics._dist_metrics",
        "sklearn.neighbors.ball_tree": "sklearn.neighbors._ball_tree",
        "sklearn.neighbors.dist_metrics": "sklearn.metrics._dist_metrics",
        "sklearn.neighbors.kd_tree": "sklearn.neighbors._kd_tree",
        "sklearn.neighbors.lof": "sklearn.neighbors._lof",
        "sklearn.preprocessing.label": "sklearn.preprocessing._label",
        "sklearn.preprocessing.data": "sklearn.preprocessing._data",
        "sklearn.svm.classes": "sklearn.svm._classes",
        "sklearn.tree.tree": "sklearn.tree._classes",
        "sklearn.utils": "sklearn.utils._bunch",  # up to 1.1
    }
)
# The only function that a file may bind arguments to: it checks arrays, and is never called.
PARTIAL = "sklearn.utils.validation.check_array"
# Libraries whose other classes are named as not supported rather than as untrusted.
LIBRARIES = ("catboost", "lightgbm", "pandas", "pyod", "sklearn", "xgboost")


def is_foreign(module: str, name: str) -> bool:
    """Whether a name that is not on the list is a class of a known library, by its spelling: `LogisticRegression`.

    Of pandas any name: its objects are made by functions.
    """
    library = module.partition(".")[0]
    return library in LIBRARIES and name.isidentifier() and (library == "pandas" or name.lstrip("_")[:1].isupper())
