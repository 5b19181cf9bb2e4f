"""The numbers that are taken from a model file are scikit-learn's own, and what contradicts itself is refused."""

# ruff: noqa: ARG005  # a table of damages: not each of them looks at the model

import io
import pickle
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from scipy import sparse
from sklearn.base import clone
from sklearn.covariance import EllipticEnvelope
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import SGDOneClassSVM
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, PowerTransformer, RobustScaler, StandardScaler
from sklearn.svm import OneClassSVM

from scorer.errors import Unscorable
from scorer.families.base import HEAD, Family, Packed
from scorer.packs.cache import pack_file
from shared.contract.reasons import Reason
from tests.scorer.families.layout import anomalies, decision

DETECTORS = {
    "rbf": (Family.RBF, OneClassSVM(nu=0.1)),
    "rbf of a chosen gamma": (Family.RBF, OneClassSVM(nu=0.3, gamma=0.07)),
    "rbf of gamma auto": (Family.RBF, OneClassSVM(nu=0.2, gamma="auto", shrinking=False)),
    "linear": (Family.LINEAR, OneClassSVM(kernel="linear", nu=0.2)),
    "poly": (Family.POLY, OneClassSVM(kernel="poly", degree=2, coef0=1.5, nu=0.2)),
    "poly of degree 0": (Family.POLY, OneClassSVM(kernel="poly", degree=0, nu=0.2)),
    "sigmoid": (Family.SIGMOID, OneClassSVM(kernel="sigmoid", gamma=0.01, coef0=-0.5, nu=0.2)),
    "sgd": (Family.LINEAR, SGDOneClassSVM(nu=0.1, random_state=np.random.RandomState(1))),
    "sgd averaged": (Family.LINEAR, SGDOneClassSVM(nu=0.1, average=10, random_state=0)),
    "envelope": (Family.ENVELOPE, EllipticEnvelope(random_state=0)),
    "forest": (Family.FOREST, IsolationForest(n_estimators=7, random_state=0)),
    "forest of few samples": (
        Family.FOREST,
        IsolationForest(n_estimators=3, max_samples=2, contamination=0.1, random_state=1),
    ),
    "forest of one sample": (Family.FOREST, IsolationForest(n_estimators=3, max_samples=1, random_state=1)),
    "forest of some features": (Family.FOREST, IsolationForest(n_estimators=5, max_features=2, random_state=2)),
    "forest with replacement": (
        Family.FOREST,
        IsolationForest(n_estimators=5, bootstrap=True, max_features=0.9, random_state=2),
    ),
}
SCALERS = {
    "alone": None,
    "standard": StandardScaler(),
    "standard, no mean": StandardScaler(with_mean=False),
    "standard, no deviation": StandardScaler(with_std=False),
    "standard, neither": StandardScaler(with_mean=False, with_std=False),
    "minmax": MinMaxScaler(),
    "minmax to a range, clipped": MinMaxScaler(feature_range=(-2, 3), clip=True),
    "robust": RobustScaler(),
    "robust, no centre": RobustScaler(with_centering=False),
    "robust, no scale": RobustScaler(with_scaling=False),
    "robust, unit variance": RobustScaler(quantile_range=(10.0, 90.0), unit_variance=True),
}
CROSS = [(d, s) for d in DETECTORS for s in SCALERS if s in ("alone", "standard", "minmax", "robust") or d == "rbf"]


def to_joblib(model: Any, compress: Any = 0) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(model, buffer, compress=compress)
    return buffer.getvalue()


FORMATS = {
    "skops": skops.io.dumps,
    "skops, deflated": lambda m: skops.io.dumps(m, compression=8),
    "pickle": pickle.dumps,
    **{f"protocol {n}": lambda m, n=n: pickle.dumps(m, n) for n in (2, 3, 4, 5)},
    "joblib": to_joblib,
    **{kind: lambda m, kind=kind: to_joblib(m, (kind, 3)) for kind in ("zlib", "gzip", "bz2", "xz", "lzma")},
    "zlib of a pickle": lambda m: zlib.compress(pickle.dumps(m)),
}


def fit(detector: str, scaler: str, rows: Any) -> Any:
    steps = [clone(one) for one in (SCALERS[scaler], DETECTORS[detector][1]) if one is not None]
    return (make_pipeline(*steps) if len(steps) > 1 else steps[0]).fit(rows)


def refusal(model: Any, dump: Any = pickle.dumps) -> tuple[Reason, str]:
    with pytest.raises(Unscorable) as caught:
        pack_file(dump(model) if not isinstance(model, bytes) else model)
    return caught.value.reason, str(caught.value)


def same(one: Packed, other: Packed) -> bool:
    numbers = one.numbers.tobytes() == other.numbers.tobytes() and one.integers.tobytes() == other.integers.tobytes()
    return numbers and [getattr(one, n) for n in Packed.__slots__[:5]] == [
        getattr(other, n) for n in Packed.__slots__[:5]
    ]


@pytest.fixture
def rows() -> np.ndarray:
    """Readings of which some lie far off."""
    return np.random.default_rng(3).normal([10.0, 20.0, 30.0], [2.0, 4.0, 6.0], (80, 3))


@pytest.mark.parametrize(("detector", "scaler"), CROSS)
@pytest.mark.parametrize("dump", [pickle.dumps, skops.io.dumps])
def test_the_numbers_give_the_scores_and_labels_of_scikit_learn(
    detector: str, scaler: str, dump: Any, normal: np.ndarray, rows: np.ndarray
) -> None:
    model = fit(detector, scaler, normal)

    packed = pack_file(dump(model))

    expected = model.decision_function(rows)
    found = decision(packed, rows)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-9)
    sure = np.abs(expected) > 1e-9
    assert (anomalies(packed, found) == (model.predict(rows) == -1))[sure].all()
    assert (packed.family, packed.n_features, packed.features, packed.made_by) == (
        DETECTORS[detector][0],
        3,
        (),
        "1.9.1",
    )
    assert packed.strict == isinstance(DETECTORS[detector][1], OneClassSVM)
    assert (packed.numbers.dtype, packed.numbers.ndim) == (np.float64, 1)
    assert (packed.integers.dtype, packed.integers.ndim) == (np.int32, 1)
    assert bool(packed.integers.size) == (packed.family is Family.FOREST)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("detector", ["rbf", "sgd", "envelope", "forest of some features"])
def test_every_format_gives_the_same_numbers_to_the_bit(kind: str, detector: str, normal: np.ndarray) -> None:
    model = fit(detector, "minmax to a range, clipped", pd.DataFrame(normal, columns=["a", "b", "c"]))

    assert same(pack_file(FORMATS[kind](model)), pack_file(pickle.dumps(model)))


def test_the_layout_is_as_documented(normal: np.ndarray) -> None:
    model = make_pipeline(MinMaxScaler((-1, 2), clip=True), OneClassSVM(kernel="poly", degree=2, coef0=0.5)).fit(normal)
    scaler, svm = model[0], model[1]

    packed = pack_file(skops.io.dumps(model))

    head = [2, -1, 2, svm.intercept_[0], svm._gamma, 0.5, 2, len(svm.support_), 0]
    body = [scaler.min_, scaler.scale_, svm.dual_coef_[0], svm.support_vectors_.ravel()]
    assert packed.numbers.tolist() == np.concatenate([head, *body]).tolist()


def test_a_model_that_does_not_clip_is_told_so_by_infinities(normal: np.ndarray) -> None:
    packed = pack_file(pickle.dumps(fit("rbf", "minmax", normal)))

    assert packed.numbers[:3].tolist() == [2, -np.inf, np.inf]


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_model_that_was_fitted_on_float32_gives_its_scores(
    detector: str, normal: np.ndarray, rows: np.ndarray
) -> None:
    for scaler in ("alone", "standard", "minmax", "robust"):
        model = fit(detector, scaler, normal.astype(np.float32))

        packed = pack_file(skops.io.dumps(model))

        np.testing.assert_allclose(decision(packed, rows), model.decision_function(rows), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("scaler", ["alone", "standard"])
@pytest.mark.parametrize("dump", ["skops", "pickle", "joblib", "protocol 2"])
def test_the_names_of_features_are_kept_in_their_order(dump: str, scaler: str, normal: np.ndarray) -> None:
    names = ["rpm", "Öldruck", "a b"]
    model = fit("rbf", scaler, pd.DataFrame(normal, columns=names))

    assert pack_file(FORMATS[dump](model)).features == tuple(names)


def test_one_support_vector_of_one_feature_gives_the_score_zero_at_itself() -> None:
    model = OneClassSVM(nu=0.5).fit(np.zeros((2, 1)))

    packed = pack_file(pickle.dumps(model))

    assert decision(packed, np.zeros((1, 1))).tolist() == model.decision_function(np.zeros((1, 1))).tolist() == [0.0]
    assert anomalies(packed, np.zeros(1)).tolist() == [True]


def test_trees_are_laid_out_so_that_every_walk_ends(normal: np.ndarray) -> None:
    packed = pack_file(pickle.dumps(IsolationForest(n_estimators=4, max_features=2, random_state=0).fit(normal)))

    roots, nodes = np.split(packed.integers, [4])
    feature, left, right = nodes.reshape(3, -1)
    here, leaf = np.arange(len(feature)), feature == -1
    assert roots[0] == 0
    assert ((left > here) & (right > here) & (left < len(here)) & (right < len(here)))[~leaf].all()
    assert ((left == here) & (right == here))[leaf].all()
    assert set(feature[~leaf]) == {0, 1, 2}


@pytest.mark.parametrize(
    "make",
    [
        lambda x: LocalOutlierFactor(metric="canberra", novelty=True).fit(x),
        lambda x: LocalOutlierFactor(metric="cosine", novelty=True).fit(x),
        lambda x: make_pipeline(PowerTransformer(), OneClassSVM()).fit(x),
        lambda x: make_pipeline(PCA(2), IsolationForest(n_estimators=2)).fit(x),
        lambda x: OneClassSVM(kernel="precomputed").fit(x @ x.T),
        lambda x: EllipticEnvelope(store_precision=False).fit(x),
    ],
)
@pytest.mark.parametrize("dump", [pickle.dumps, skops.io.dumps, to_joblib])
def test_what_is_safe_and_no_packed_family_is_kept(make: Any, dump: Any, normal: np.ndarray) -> None:
    packed = pack_file(dump(make(normal)))

    assert (packed.family, packed.n_features, packed.features, packed.made_by) == (Family.KEPT, 0, (), "1.9.1")
    assert (len(packed.numbers), len(packed.integers), packed.strict) == (0, 0, False)


@pytest.mark.parametrize("step", ["passthrough", None])
def test_a_step_that_is_switched_off_is_passed_over(step: Any, normal: np.ndarray) -> None:
    packed = pack_file(pickle.dumps(make_pipeline(step, OneClassSVM()).fit(normal)))

    assert (packed.family, packed.n_features, packed.features) == (Family.RBF, 3, ())


def test_sparse_support_vectors_are_kept(normal: np.ndarray) -> None:
    model = OneClassSVM().fit(sparse.csr_matrix(normal))

    assert pack_file(skops.io.dumps(model)).family is Family.KEPT


def test_a_pipeline_of_a_detector_alone_is_packed(normal: np.ndarray) -> None:
    model = OneClassSVM().fit(normal)

    assert same(pack_file(pickle.dumps(make_pipeline(model))), pack_file(pickle.dumps(model)))


@pytest.mark.parametrize("dump", [pickle.dumps, skops.io.dumps])
def test_what_is_no_model_is_refused(dump: Any, normal: np.ndarray) -> None:
    tasks = "expected a model that predicts (a detector, a regressor, a classifier, a clusterer)"
    advice = "fit a Pipeline of it and such a model, and save that; a scaler of a model X is named X.scaler.*"
    things = [
        ({"a": 1}, "expected a model and what belongs to it under usual keys, got the key 'a'"),
        ([{}], "expected a model, a scaler, names or a threshold in the bundle, got a dict"),
        (StandardScaler().fit(normal), f"{tasks}, got a StandardScaler: {advice}"),
        (
            make_pipeline(OneClassSVM(), StandardScaler()),
            f"{tasks}, got a Pipeline that ends in StandardScaler: {advice}",
        ),
    ]
    for thing, message in things:
        reason, text = refusal(thing, dump)
        assert (reason, text.removesuffix(": see docs/models.md, Bundles")) == (Reason.UNSUPPORTED_MODEL, message)


@pytest.mark.parametrize("dump", [pickle.dumps, skops.io.dumps])
def test_what_was_never_fitted_is_refused(dump: Any, normal: np.ndarray) -> None:
    for _, detector in DETECTORS.values():
        name = type(detector).__name__
        assert refusal(clone(detector), dump) == (Reason.UNFITTED_MODEL, f"this {name} was never fitted")
    half = make_pipeline(StandardScaler(), OneClassSVM().fit(normal))
    assert refusal(half, dump) == (Reason.UNFITTED_MODEL, "this StandardScaler was never fitted")


def _nan(array: np.ndarray) -> np.ndarray:
    broken = array.astype(np.float64)
    broken.flat[-1] = np.nan
    return broken


def _tree_points(side: str, to: int) -> Any:
    def damage(forest: Any) -> dict[str, Any]:
        getattr(forest.estimators_[1].tree_, side)[0] = to
        return {}

    return damage


def _feature(number: int) -> Any:
    def damage(forest: Any) -> dict[str, Any]:
        forest.estimators_[0].tree_.feature[0] = number
        return {}

    return damage


DAMAGE: dict[str, tuple[str, str, Any]] = {
    # of what, behind which scaler, attributes to set: on the scaler where there is one
    "support vectors gone": ("rbf", "alone", lambda m: {"support_vectors_": np.empty((0, 3))}),
    "support vectors fewer": ("rbf", "alone", lambda m: {"support_vectors_": m.support_vectors_[:-1]}),
    "support vectors narrower": ("rbf", "alone", lambda m: {"support_vectors_": m.support_vectors_[:, :2]}),
    "support vectors flat": ("rbf", "alone", lambda m: {"support_vectors_": m.support_vectors_.ravel()}),
    "support vectors of truths": ("rbf", "alone", lambda m: {"support_vectors_": m.support_vectors_ > 0}),
    "support vectors no array": ("rbf", "alone", lambda m: {"support_vectors_": None}),
    "NaN in a support vector": ("rbf", "alone", lambda m: {"support_vectors_": _nan(m.support_vectors_)}),
    "coefficients fewer": ("poly", "alone", lambda m: {"_dual_coef_": m._dual_coef_[:, 1:]}),
    "NaN in a coefficient": ("sigmoid", "alone", lambda m: {"_dual_coef_": _nan(m._dual_coef_)}),
    "counts that are huge": ("rbf", "alone", lambda m: {"_n_support": np.array([10**6, 10**6], np.int32)}),
    "counts that are empty": ("rbf", "alone", lambda m: {"_n_support": np.empty(0, np.int32)}),
    "NaN intercept": ("rbf", "alone", lambda m: {"_intercept_": np.array([np.nan])}),
    "two intercepts": ("rbf", "alone", lambda m: {"_intercept_": np.zeros(2)}),
    "intercepts that differ": ("rbf", "alone", lambda m: {"intercept_": m._intercept_ + 1}),
    "support indices gone": ("rbf", "alone", lambda m: {"support_": None}),
    "other number of features": ("rbf", "alone", lambda m: {"n_features_in_": 4}),
    "fitted on another shape": ("rbf", "alone", lambda m: {"shape_fit_": (300, 4)}),
    "gamma NaN": ("rbf", "alone", lambda m: {"_gamma": float("nan")}),
    "gamma infinite": ("sigmoid", "alone", lambda m: {"_gamma": np.inf}),
    "gamma negative": ("rbf", "alone", lambda m: {"_gamma": -1.0}),
    "gamma text": ("rbf", "alone", lambda m: {"_gamma": "scale"}),
    "degree of a fraction": ("poly", "alone", lambda m: {"degree": 2.5}),
    "coef0 None": ("poly", "alone", lambda m: {"coef0": None}),
    "a kernel nobody knows": ("rbf", "alone", lambda m: {"kernel": "rbff"}),
    "NaN in linear coefficients": ("linear", "alone", lambda m: {"_dual_coef_": _nan(m._dual_coef_)}),
    "names fewer": ("rbf", "alone", lambda m: {"feature_names_in_": np.array(["a"], object)}),
    "names that are numbers": ("rbf", "alone", lambda m: {"feature_names_in_": np.array([1, 2, 3], object)}),
    "no weights": ("sgd", "alone", lambda m: {"coef_": np.empty(0)}),
    "weights in a square": ("sgd", "alone", lambda m: {"coef_": np.ones((3, 3))}),
    "NaN weight": ("sgd", "alone", lambda m: {"coef_": _nan(m.coef_)}),
    "NaN offset": ("sgd", "alone", lambda m: {"offset_": np.array([np.nan])}),
    "location narrower": ("envelope", "alone", lambda m: {"location_": m.location_[:2]}),
    "precision not square": ("envelope", "alone", lambda m: {"precision_": m.precision_[:2]}),
    "NaN precision": ("envelope", "alone", lambda m: {"precision_": _nan(m.precision_)}),
    "precision askew": ("envelope", "alone", lambda m: {"precision_": np.triu(np.ones((3, 3)))}),
    "negative precision": ("envelope", "alone", lambda m: {"precision_": -m.precision_}),
    "offset gone": ("envelope", "alone", lambda m: {"offset_": None}),
    "mean narrower": ("rbf", "standard", lambda m: {"mean_": m.mean_[:2]}),
    "NaN mean": ("rbf", "standard", lambda m: {"mean_": _nan(m.mean_)}),
    "mean None": ("rbf", "standard", lambda m: {"mean_": None}),
    "scale zero": ("rbf", "standard", lambda m: {"scale_": m.scale_ * [1, 0, 1]}),
    "scale of zero length": ("rbf", "standard", lambda m: {"scale_": np.empty(0)}),
    "scale infinite": ("sgd", "minmax", lambda m: {"scale_": m.scale_ * np.inf}),
    "scaler of another width": ("rbf", "robust", lambda m: {"n_features_in_": 4}),
    "centre NaN": ("envelope", "robust", lambda m: {"center_": _nan(m.center_)}),
    "range upside down": ("rbf", "minmax to a range, clipped", lambda m: {"feature_range": (3, -2)}),
    "range NaN": ("rbf", "minmax to a range, clipped", lambda m: {"feature_range": (0, float("nan"))}),
    "tree points outside": ("forest", "alone", _tree_points("children_left", 10**6)),
    "tree points far outside": ("forest", "alone", _tree_points("children_right", 2**63 - 1)),
    "tree points back": ("forest", "alone", _tree_points("children_left", 0)),
    "tree points below zero": ("forest", "alone", _tree_points("children_right", -5)),
    "tree with a node of two parents": ("forest", "alone", _tree_points("children_right", 1)),
    "tree with one child": ("forest", "alone", _tree_points("children_left", -1)),
    "feature out of range": ("forest", "alone", _feature(3)),
    "feature below zero": ("forest", "alone", _feature(-3)),
    "fewer sets of features": ("forest", "alone", lambda m: {"estimators_features_": m.estimators_features_[1:]}),
    "a set out of range": (
        "forest of some features",
        "alone",
        lambda m: {"estimators_features_": [np.array([1, 3])] * 5},
    ),
    "path lengths not the trees'": (
        "forest",
        "alone",
        lambda m: {"_decision_path_lengths": tuple(p + 1 for p in m._decision_path_lengths)},
    ),
    "no trees": ("forest", "alone", lambda m: {"estimators_": []}),
    "offset NaN": ("forest", "alone", lambda m: {"offset_": float("nan")}),
    "other width": ("forest", "alone", lambda m: {"n_features_in_": 2}),
}


@pytest.mark.parametrize("what", DAMAGE)
@pytest.mark.parametrize("dump", [pickle.dumps, skops.io.dumps, to_joblib])
def test_a_model_that_contradicts_itself_is_refused(what: str, dump: Any, normal: np.ndarray) -> None:
    detector, scaler, damage = DAMAGE[what]
    model = fit(detector, scaler, normal)
    part = model if scaler == "alone" else model[0]
    for name, value in damage(part).items():
        vars(part)[name] = value

    reason, message = refusal(model, dump)

    assert reason is Reason.UNREADABLE_MODEL
    assert message.startswith("its parts contradict each other: ")
    assert len(message) > len("its parts contradict each other: ") + 5


@pytest.mark.parametrize("name", ["support_vectors_", "_dual_coef_", "_intercept_", "_gamma", "kernel", "degree"])
def test_an_attribute_that_is_missing_is_named(name: str, normal: np.ndarray) -> None:
    model = OneClassSVM().fit(normal)
    del vars(model)[name]

    assert refusal(model) == (
        Reason.UNREADABLE_MODEL,
        f"its parts contradict each other: {name} is missing",
    )
    older = pickle.dumps(model).replace(b"1.9.1", b"0.9.1")
    assert refusal(older) == (
        Reason.INCOMPATIBLE_MODEL,
        f"made by scikit-learn 0.9.1, which 1.9.1 cannot read: {name} is missing",
    )


def test_a_node_of_two_parents_is_found_where_no_path_lengths_are_kept(normal: np.ndarray) -> None:
    forest = IsolationForest(n_estimators=2, random_state=0).fit(normal)
    del forest._decision_path_lengths, forest._average_path_length_per_tree
    assert pack_file(pickle.dumps(forest)).family is Family.FOREST
    forest.estimators_[1].tree_.children_right[0] = 1

    assert refusal(forest) == (
        Reason.UNREADABLE_MODEL,
        "its parts contradict each other: a node with no parent, or more than one",
    )


def test_a_forest_that_is_too_large_to_pack_is_kept(normal: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    forest = pickle.dumps(IsolationForest(n_estimators=3, random_state=0).fit(normal))
    monkeypatch.setattr("scorer.families.isolation_forest.MOST_NODES", 100)

    assert pack_file(forest).family is Family.KEPT


def test_packing_imports_no_estimators_library(normal: np.ndarray, tmp_path: Path) -> None:
    model = fit("rbf", "standard", normal)
    for name, dump in FORMATS.items():
        (tmp_path / name).write_bytes(dump(model))
    code = (
        "import pathlib, sys; from scorer.packs.cache import pack_file\n"
        "for path in pathlib.Path(sys.argv[1]).iterdir(): pack_file(path.read_bytes())\n"
        "print({'sklearn', 'skops', 'joblib', 'pandas', 'scipy'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"


@pytest.mark.data
def test_the_original_models_are_packed_with_the_version_that_made_them(seed: Path) -> None:
    paths = sorted((seed / "models").iterdir())
    for path in paths:
        data = path.read_bytes()
        packed = pack_file(data)
        with pytest.warns(UserWarning, match="0.19.2"):
            svm = pickle.loads(_todays(data)).steps[1][1]
        assert (packed.family, packed.n_features, packed.made_by, packed.strict) == (Family.RBF, 1, "0.19.2", True)
        assert packed.numbers[HEAD + 2 :].tolist() == [*svm._dual_coef_[0], *svm.support_vectors_.ravel()]
        assert packed.numbers[[3, 4, 7]].tolist() == [svm._intercept_[0], svm._gamma, len(svm.support_)]
    assert len(paths) > 0


def _todays(data: bytes) -> bytes:
    """An old pickle whose names are those that scikit-learn has today."""
    data = data.replace(b"csklearn.preprocessing.data\n", b"csklearn.preprocessing._data\n")
    return data.replace(b"csklearn.svm.classes\n", b"csklearn.svm._classes\n")
