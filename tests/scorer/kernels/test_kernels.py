"""What the kernels say is what plain scikit-learn says, with numba and with NumPy alone."""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import SGDOneClassSVM
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import OneClassSVM

from scorer.families.base import Family
from scorer.families.predictors import forests
from scorer.kernels import dispatch
from scorer.kernels.batch import BLOCK
from scorer.packs.cache import pack_file
from shared.contract.errors import Misconfigured
from tests.scorer.kernels.batches_by_hand import Model, batch_of, by_hand

BOTH = ("numba", "numpy")
SCALERS: dict[str, Any] = {
    "none": None,
    "standard": StandardScaler(),
    "mean only": StandardScaler(with_std=False),
    "robust": RobustScaler(),
    "min-max": MinMaxScaler((-1, 2)),
    "clipped": MinMaxScaler(clip=True),
}
FINITE = [  # detectors for which scikit-learn refuses what is not finite
    OneClassSVM(),
    OneClassSVM(kernel="poly"),
    OneClassSVM(kernel="sigmoid"),
    SGDOneClassSVM(),
    EllipticEnvelope(random_state=0),
]


@pytest.fixture(params=BOTH)
def chosen(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each of the two implementations."""
    yield dispatch.choose_backend(request.param)
    dispatch.choose_backend()


def fit(detector: Any, data: np.ndarray, scaler: Any = None) -> Any:
    return clone(make_pipeline(scaler, detector) if scaler is not None else detector).fit(data)


def score(models: Sequence[Model], rows: Sequence[np.ndarray], cores: int = 1, seed: int = 0) -> list[Any]:
    """Scores and labels of each model."""
    batch, where, total = batch_of(models, rows, seed)
    scores, anomalies = dispatch.score_batch(batch, total, cores)
    return [(scores[here], anomalies[here]) for here in where]


def agrees(estimator: Any, rows: np.ndarray, scores: np.ndarray, anomalies: np.ndarray) -> None:
    """Scores to 1e-9 (of the terms that they are the sum of, where these are large), labels where not 0."""
    wide = rows.astype(np.float64)
    if not len(rows):
        assert len(scores) == len(anomalies) == 0
        return
    expected = estimator.decision_function(wide)
    size = np.maximum(1.0, np.maximum(np.abs(expected), abs(by_hand(estimator).numbers[3])))
    *steps, last = estimator if isinstance(estimator, Pipeline) else (estimator,)
    if getattr(last, "kernel", "linear") == "linear" and hasattr(last, "coef_"):  # large terms may cancel each other
        scaled = steps[0].transform(wide) if steps else wide
        vectors = hasattr(last, "support_vectors_")
        weights = np.abs(last.dual_coef_) @ np.abs(last.support_vectors_) if vectors else np.abs(last.coef_)
        size = np.maximum(size, np.abs(scaled) @ np.ravel(weights))
    assert (np.abs(scores - expected) <= 1e-9 * size).all(), np.abs(scores - expected).max()
    sure = np.abs(expected) > 1e-9
    assert np.array_equal(anomalies[sure], estimator.predict(wide)[sure] == -1)


@st.composite
def detectors(draw: st.DrawFn, width: int) -> Any:
    """An unfitted detector of any packed family."""
    nu = draw(st.sampled_from([0.05, 0.3, 0.9]))
    match draw(st.sampled_from([f for f in Family if f not in (Family.KEPT, Family.STEPS)])):
        case Family.RBF:
            return OneClassSVM(nu=nu, gamma=draw(st.sampled_from(["scale", "auto", 1e-9, 0.0, 3.0, 1e9])))
        case Family.LINEAR:
            svm = OneClassSVM(kernel="linear", nu=nu)
            return draw(st.sampled_from([svm, SGDOneClassSVM(nu=nu, random_state=0)]))
        case Family.POLY:
            degree, coef0 = draw(st.integers(0, 5)), draw(st.sampled_from([0.0, 0.7, -0.3]))
            return OneClassSVM(kernel="poly", degree=degree, coef0=coef0, nu=nu)
        case Family.SIGMOID:
            gamma = draw(st.sampled_from(["scale", 1e-6, 40.0]))
            return OneClassSVM(kernel="sigmoid", gamma=gamma, coef0=draw(st.sampled_from([0.0, -0.5])), nu=nu)
        case Family.ENVELOPE:
            return EllipticEnvelope(random_state=0, contamination=0.2)
    samples = draw(st.sampled_from([1, 2, 16, "auto"]))
    some = draw(st.sampled_from([1.0, 0.5])) if width > 1 else 1.0
    contamination = draw(st.sampled_from(["auto", 0.1]))
    return IsolationForest(
        n_estimators=draw(st.integers(1, 8)),
        max_samples=samples,
        max_features=some,
        contamination=contamination,
        random_state=0,
    )


@st.composite
def fitted(draw: st.DrawFn) -> tuple[Any, np.ndarray]:
    """A fitted model, and rows for it: near and far, some that it was fitted on, as float32 or float64."""
    width = draw(st.sampled_from([1, 2, 3, 4, 5, 8, 9]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = 10.0 ** random.integers(-1, 2, width)
    data = random.normal(random.normal(0, 3, width) * spread, spread, (draw(st.integers(4, 40)) + 2 * width, width))
    model = fit(draw(detectors(width)), data, SCALERS[draw(st.sampled_from(sorted(SCALERS)))])
    count = draw(st.sampled_from([0, 1, 2, 15, 16, 17, 60, 129, 513]))
    near = random.normal(data.mean(0), 2 * spread, (count, width))
    near[::3] = data[random.integers(len(data), size=len(near[::3]))]
    near[1::7] *= 1000.0
    return model, near.astype(draw(st.sampled_from([np.float32, np.float64])))


@pytest.mark.filterwarnings("ignore:The covariance matrix:UserWarning", "ignore:Determinant:RuntimeWarning")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(several=st.lists(fitted(), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_both_kernels_say_what_scikit_learn_says(several: list[tuple[Any, np.ndarray]], seed: int) -> None:
    models, rows = [by_hand(model) for model, _ in several], [its for _, its in several]
    answers = {}
    for name in BOTH:
        dispatch.choose_backend(name)
        answers[name] = score(models, rows, 1, seed)
        for (estimator, its), (scores, anomalies) in zip(several, answers[name], strict=True):
            agrees(estimator, its, scores, anomalies)
    for (one, one_label), (other, other_label), model in zip(*answers.values(), models, strict=True):
        size = np.maximum(1.0, np.maximum(np.abs(one), abs(model.numbers[3])))
        assert (np.abs(one - other) <= 1e-12 * size).all()
        assert np.array_equal(one_label[np.abs(one) > 1e-12 * size], other_label[np.abs(one) > 1e-12 * size])


@pytest.mark.parametrize("scaler", sorted(SCALERS))
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 30])
@pytest.mark.usefixtures("chosen")
def test_a_row_that_equals_the_only_support_vector_scores_0_and_is_an_anomaly(scaler: str, width: int) -> None:
    row = np.random.default_rng(width).normal(20.0, 3.0, (1, width))
    around = np.concatenate([row - 1.7, row + 1.1])  # for the scaler
    for gamma in (1e-12, 0.3, 1e40):  # the last one sees the last bit
        model = fit(OneClassSVM(nu=0.5, gamma=gamma), row)
        if SCALERS[scaler] is not None:
            fit_scaler = clone(SCALERS[scaler]).fit(around)
            model = make_pipeline(fit_scaler, OneClassSVM(nu=0.5, gamma=gamma).fit(fit_scaler.transform(row)))
        ((scores, anomalies),) = score([by_hand(model)], [row])
        assert (scores.tolist(), anomalies.tolist()) == ([0.0], [True])


@pytest.mark.parametrize("kernel", ["rbf", "poly", "sigmoid"])
@pytest.mark.parametrize("scaler", sorted(SCALERS))
@pytest.mark.usefixtures("chosen")
def test_the_ties_of_a_stuck_sensor_are_decided_as_libsvm_decides_them(scaler: str, kernel: str) -> None:
    # where more rows are equal, libsvm finds no intercept for poly
    for count, nu in ((3, 0.5), (77, 0.31), (300, 0.013))[: 1 if kernel == "poly" else 3]:
        data = np.full((count, 1), 0.73)
        model = fit(OneClassSVM(kernel=kernel, nu=nu), data, SCALERS[scaler])
        ((scores, anomalies),) = score([by_hand(model)], [data[:2]])
        expected = model.decision_function(data[:2])
        if kernel != "sigmoid":  # its tanh is another one, to the last bit
            assert np.array_equal(scores, expected)
            assert np.array_equal(anomalies, model.predict(data[:2]) == -1)
        assert np.abs(scores - expected).max() <= 1e-12


@pytest.mark.parametrize(("vectors", "width"), [(1, 1), (1, 100), (5000, 1), (5000, 100), (700, 17)])
@pytest.mark.usefixtures("chosen")
def test_very_small_and_very_large_models_agree_with_scikit_learn(vectors: int, width: int) -> None:
    random = np.random.default_rng(vectors + width)
    model = OneClassSVM(nu=0.999).fit(random.normal(size=(vectors, width)))
    rows = random.normal(size=(20, width)) * np.linspace(0, 30, 20)[:, None]
    ((scores, anomalies),) = score([by_hand(model)], [rows])
    agrees(model, rows, scores, anomalies)


@pytest.mark.usefixtures("chosen")
def test_a_forest_counts_every_level_and_compares_as_float32() -> None:
    data = np.random.default_rng(3).normal(1e6, 1.0, (300, 3))
    model = IsolationForest(n_estimators=100, random_state=0).fit(data)
    edges = np.unique([t.tree_.threshold[t.tree_.feature == 0] for t in model.estimators_[:1]])
    rows = np.repeat(edges[:, None], 3, axis=1)
    rows = np.concatenate([data, rows, np.nextafter(rows, np.inf), np.full((1, 3), 1e39), np.full((1, 3), -1e39)])
    ((scores, anomalies),) = score([by_hand(model)], [rows])
    with np.errstate(over="ignore"):
        agrees(model, rows, scores, anomalies)


@pytest.mark.parametrize("detector", FINITE)
@pytest.mark.usefixtures("chosen")
def test_what_is_not_finite_behind_the_scaler_gets_no_score(detector: Any) -> None:
    data = np.random.default_rng(0).normal(0, 1e-3, (30, 2))
    model = fit(detector, data, StandardScaler())
    rows = np.array([[0.0, 1e308], data[0]])
    ((scores, anomalies),) = score([by_hand(model)], [rows])
    assert np.isnan(scores[0])
    assert not anomalies[0]
    agrees(model, rows[1:], scores[1:], anomalies[1:])
    with pytest.raises(ValueError, match="infinity"), np.errstate(over="ignore"):
        model.decision_function(rows)


@pytest.mark.usefixtures("chosen")
def test_a_score_that_is_not_finite_stays_so() -> None:
    model = by_hand(OneClassSVM(kernel="poly", degree=9).fit(np.random.default_rng(0).normal(size=(30, 2))))
    ((scores, _),) = score([model], [np.full((1, 2), 1e200)])
    assert not np.isfinite(scores).any()
    broken = model.numbers.copy()
    broken[3] = np.nan
    ((scores, anomalies),) = score([replace(model, numbers=broken)], [np.zeros((1, 2))])
    assert (np.isnan(scores).all(), anomalies.tolist()) == (True, [False])


@pytest.fixture(scope="module")
def fleet() -> tuple[list[Model], list[np.ndarray]]:
    """A hundred models of every family and many shapes, some without rows."""
    random = np.random.default_rng(5)
    makers: list[Any] = [
        *(OneClassSVM(kernel=kernel, nu=0.4) for kernel in ("rbf", "rbf", "rbf", "poly", "sigmoid", "linear")),
        SGDOneClassSVM(random_state=0),
        EllipticEnvelope(random_state=0),
        IsolationForest(n_estimators=5, random_state=0),
    ]
    models, rows = [], []
    for i in range(100):
        data = random.normal(size=(int(random.integers(12, 60)), 1 + i % 3))
        scaler = StandardScaler() if i % 2 else MinMaxScaler()
        models.append(by_hand(fit(makers[i % len(makers)], data, scaler)))
        rows.append(random.normal(size=(int(random.integers(0, 80)), 1 + i % 3)))
    return models, rows


@pytest.mark.usefixtures("chosen")
def test_a_score_depends_neither_on_the_neighbours_nor_on_the_number_of_cores(
    fleet: tuple[list[Model], list[np.ndarray]],
) -> None:
    alone = [score([model], [its])[0] for model, its in zip(*fleet, strict=True)]
    turned = [part[::-1] for part in fleet]
    for together in (
        score(*fleet),
        score(*fleet, cores=2, seed=1),
        score(*fleet, cores=7),
        score(*turned, cores=3)[::-1],
    ):
        for (one, one_label), (other, other_label) in zip(alone, together, strict=True):
            assert one.tobytes() == other.tobytes()
            assert np.array_equal(one_label, other_label)


@pytest.mark.usefixtures("chosen")
def test_large_groups_are_cut_and_lose_nothing() -> None:
    model = by_hand(OneClassSVM(nu=0.9).fit(np.random.default_rng(0).normal(size=(400, 3))))
    rows = [np.random.default_rng(i).normal(size=(60, 3)) for i in range(1300)]
    (expected,) = score([model], [np.concatenate(rows)])
    found = score([model] * len(rows), rows)
    assert np.array_equal(np.concatenate([s for s, _ in found]), expected[0])
    assert np.array_equal(np.concatenate([a for _, a in found]), expected[1])


@pytest.mark.parametrize("detector", [*FINITE, OneClassSVM(kernel="linear"), IsolationForest(n_estimators=7)])
@pytest.mark.parametrize("scaler", sorted(SCALERS))
@pytest.mark.usefixtures("chosen")
def test_a_packed_file_scores_as_the_estimator_does(detector: Any, scaler: str) -> None:
    data = np.random.default_rng(1).normal([3.0, 40.0], [1.0, 9.0], (50, 2))
    model = fit(detector, data, SCALERS[scaler])
    packed = pack_file(pickle.dumps(model))
    rows = np.concatenate([data, data * 3.0])
    its = Model(packed.family, packed.n_features, packed.strict, packed.numbers, packed.integers)
    ((scores, anomalies),) = score([its], [rows])
    agrees(model, rows, scores, anomalies)


@pytest.mark.usefixtures("chosen")
def test_arrays_that_cannot_be_written_such_as_those_of_a_mapped_pack_are_taken_and_left_alone() -> None:
    model, rows = by_hand(EllipticEnvelope(random_state=0).fit(np.eye(9, 2))), np.eye(5, 2)
    batch, (here,), total = batch_of([model], [rows])
    expected = dispatch.score_batch(batch, total, 1)[0][here]
    for name in batch.__slots__:
        getattr(batch, name).flags.writeable = False
    assert np.array_equal(dispatch.score_batch(batch, total, 1)[0][here], expected)


@pytest.mark.usefixtures("chosen")
def test_no_models_and_no_rows_give_no_scores() -> None:
    model = by_hand(OneClassSVM().fit([[1.0], [2.0]]))
    assert [len(s) for s, _ in score([model, model], [np.empty((0, 1))] * 2, cores=2)] == [0, 0]


def test_another_name_is_refused() -> None:
    with pytest.raises(Misconfigured, match="expected numba or numpy, got 'fortran'"):
        dispatch.choose_backend("fortran")


def test_a_median_of_the_most_trees_is_sorted_in_the_places_of_a_block() -> None:
    """Native code would write beyond them."""
    assert forests.MEDIAN_LIMIT <= BLOCK
