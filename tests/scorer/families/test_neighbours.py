"""Neighbours are scikit-learn's own, also of rows at equal distance; what rounding could turn is left to it."""

import copy
import io
import pickle
from collections.abc import Callable
from types import ModuleType
from typing import Any

import joblib
import numpy as np
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scorer.families.base import Family, Packed
from scorer.packs.cache import pack_file
from shared.contract.domain import Task
from tests.scorer.kernels.chains import BACKENDS, run_chain

EQUAL = 1e-9
SEARCHES, TREES = ("auto", "kd_tree", "ball_tree", "brute"), ("kd_tree", "ball_tree")
METRICS: list[dict[str, Any]] = [
    {},
    {"p": 1},
    {"p": 3},
    {"p": 1.5},
    {"p": np.inf},
    *({"metric": name} for name in ("euclidean", "l2", "manhattan", "l1", "cityblock", "chebyshev")),
]
READINGS: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "spread": lambda random, shape: random.normal(size=shape),
    "counts": lambda random, shape: random.integers(0, 5, shape).astype(np.float64),
    "tenths": lambda random, shape: np.round(random.normal(size=shape), 1),
    "stuck": lambda random, shape: np.full(shape, 3.3) + (random.integers(0, 9, shape) == 0),
}


def to_joblib(model: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    return buffer.getvalue()


def pack(model: Any, dump: Callable[[Any], bytes] = pickle.dumps) -> Packed:
    packed = pack_file(dump(model))
    assert packed.family is Family.STEPS
    return packed


def check(backend: ModuleType, model: Any, rows: np.ndarray, dump: Callable[[Any], bytes] = pickle.dumps) -> int:
    """Compare all rows that the kernels score; how many they leave to scikit-learn."""
    packed = pack(model, dump)
    assert packed.predicted is not None
    outputs, labels = run_chain(backend, packed, rows)
    is_scored = np.isfinite(outputs).all(axis=1)
    expected_labels: np.ndarray | None = None
    match packed.predicted.task:
        case Task.DETECTOR:
            expected = model.decision_function(rows)
            expected_labels = model.predict(rows) == -1
        case Task.CLASSIFIER:
            expected, expected_labels = model.predict_proba(rows), model.predict(rows).astype(str)
            labels = np.array(packed.predicted.classes)[labels]
        case _:
            expected = model.predict(rows)
    expected = expected.reshape(len(rows), -1)
    np.testing.assert_allclose(outputs[is_scored], expected[is_scored], rtol=EQUAL, atol=EQUAL)
    if expected_labels is not None:
        assert labels[is_scored].tolist() == expected_labels[is_scored].tolist()
    return int((~is_scored).sum())


@pytest.fixture(params=list(BACKENDS), scope="module")
def backend(request: pytest.FixtureRequest) -> ModuleType:
    return BACKENDS[request.param]


def make_models(rows: np.ndarray, **options: Any) -> list[Any]:
    random = np.random.default_rng(len(rows))
    targets, classes = random.normal(size=(len(rows), 2)), random.integers(0, 3, len(rows))
    classes[:3] = range(3)
    return [
        LocalOutlierFactor(novelty=True, contamination=0.1, **options).fit(rows),
        KNeighborsRegressor(**options).fit(rows, targets[:, 0]),
        KNeighborsRegressor(weights="distance", **options).fit(rows, targets),
        KNeighborsClassifier(**options).fit(rows, np.array(["a", "b", "c"])[classes]),
        KNeighborsClassifier(weights="distance", **options).fit(rows, classes > 1),
    ]


@pytest.mark.parametrize("metric", METRICS, ids=str)
@pytest.mark.parametrize("search", SEARCHES)
def test_each_metric_and_search_is_the_librarys(search: str, metric: dict[str, Any], backend: ModuleType) -> None:
    random = np.random.default_rng(3)
    rows, new = random.normal(size=(150, 3)), random.normal(size=(40, 3))

    for model in make_models(rows, algorithm=search, n_neighbors=7, **metric):
        assert check(backend, model, np.concatenate([new, new * 50])) == 0


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_of_rows_at_equal_distance_the_same_are_taken(data: st.DataObject) -> None:
    """The rows stand on a grid, are stuck or double, so most have others as near as their farthest neighbour."""
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    make = READINGS[data.draw(st.sampled_from(sorted(READINGS)))]
    count, width = data.draw(st.integers(3, 300)), data.draw(st.integers(1, 5))
    rows = make(random, (count, width))
    new = np.concatenate([make(random, (12, width)), rows[:6], rows[:2] * 100])
    options = {
        "algorithm": data.draw(st.sampled_from(SEARCHES)),
        "leaf_size": data.draw(st.sampled_from((1, 2, 7, 30))),
        "n_neighbors": data.draw(st.integers(1, min(count - 1, 30))),
        **data.draw(st.sampled_from(METRICS)),
    }
    for model in make_models(rows, **options):
        for name in BACKENDS:
            n_left = check(BACKENDS[name], model, new)
            if options["algorithm"] in TREES and isinstance(model, KNeighborsRegressor):
                assert n_left == 0  # the walk decides all ties


@pytest.mark.parametrize("search", TREES)
def test_a_walk_through_a_large_tree_is_the_librarys(search: str) -> None:
    random = np.random.default_rng(5)
    rows = random.integers(0, 40, (5000, 3)).astype(np.float64)
    new = random.integers(0, 40, (200, 3)).astype(np.float64)

    for model in make_models(rows, algorithm=search, n_neighbors=60):
        check(BACKENDS["numba"], model, new)


@pytest.mark.parametrize("kind", [np.float32, np.int64, np.int16, np.float64])
def test_rows_of_training_may_be_of_any_type(kind: Any, backend: ModuleType) -> None:
    rows = (np.random.default_rng(4).normal(size=(90, 3)) * 20).astype(kind)

    for model in make_models(rows, n_neighbors=5, algorithm="kd_tree"):
        check(backend, model, rows.astype(np.float64) + 0.25)


@pytest.mark.parametrize("dump", [pickle.dumps, skops.io.dumps, to_joblib])
@pytest.mark.parametrize("search", SEARCHES)
def test_each_format_is_packed_also_behind_a_scaler(search: str, dump: Any, backend: ModuleType) -> None:
    random = np.random.default_rng(4)
    rows, new = random.normal(size=(80, 3)) * 9, random.normal(size=(20, 3)) * 9
    model = make_pipeline(StandardScaler(), LocalOutlierFactor(novelty=True, algorithm=search)).fit(rows)

    assert check(backend, model, new, dump) == 0


def test_more_neighbours_than_rows_are_as_many_as_there_are(backend: ModuleType) -> None:
    rows = np.random.default_rng(4).normal(size=(9, 2))
    with pytest.warns(UserWarning, match="n_neighbors"):
        model = LocalOutlierFactor(20, novelty=True).fit(rows)

    assert check(backend, model, rows * 1.5) == 0
    assert pack_file(pickle.dumps(KNeighborsRegressor(10).fit(rows, rows[:, 0]))).family is Family.KEPT  # it raises


def test_rows_that_are_no_numbers_or_too_large_get_no_score(backend: ModuleType) -> None:
    rows = np.random.default_rng(4).normal(size=(60, 2))
    new = rows[:6].copy()
    new[1, 0], new[2, 1], new[3, 0], new[4, 1] = np.nan, np.inf, -np.inf, 1e200

    for model in make_models(rows):
        outputs, _ = run_chain(backend, pack(model), new)
        assert np.isnan(outputs).any(axis=1).tolist() == [False, True, True, True, True, False]


def test_powers_that_overflow_get_no_score(backend: ModuleType) -> None:
    rows = np.random.default_rng(4).normal(size=(60, 2))

    for model in make_models(rows, p=300.0):
        outputs, _ = run_chain(backend, pack(model), np.array([[1e6, 0.0]]))
        assert np.isnan(outputs).any()


@pytest.mark.parametrize("n_rows", [0, 1, 16, 127, 129])
def test_any_number_of_rows_gives_the_same_as_one_by_one(n_rows: int, backend: ModuleType) -> None:
    rows = np.random.default_rng(4).normal(size=(130, 3))
    packed = pack(LocalOutlierFactor(novelty=True).fit(rows))

    outputs, _ = run_chain(backend, packed, rows[:n_rows])

    single = [run_chain(backend, packed, rows[i : i + 1])[0][0] for i in range(n_rows)]
    np.testing.assert_array_equal(outputs, np.array(single).reshape(n_rows, 1))


def test_without_a_tree_a_tie_that_matters_is_left_to_the_library(backend: ModuleType) -> None:
    rows = np.array([[0.0], [2.0], [8.0], [9.0]])
    model = KNeighborsRegressor(1, algorithm="brute").fit(rows, [1.0, 2.0, 3.0, 4.0])
    of_equals = KNeighborsRegressor(1, algorithm="brute").fit(rows, [1.0, 1.0, 3.0, 4.0])

    outputs, _ = run_chain(backend, pack(model), np.array([[1.0], [1.5]]))

    assert np.isnan(outputs[:, 0]).tolist() == [True, False]
    assert run_chain(backend, pack(of_equals), np.array([[1.0]]))[0].tolist() == [[1.0]]


@pytest.mark.parametrize("size", [2, 4, 8])
def test_without_a_tree_two_classes_of_nearly_the_same_weight_are_left_to_the_library(
    size: int, backend: ModuleType
) -> None:
    """Brute force has its distances of a product of matrices, so of two equal ones either may be the smaller."""
    random = np.random.default_rng(0)
    n_left = 0
    for _ in range(20):
        rows = np.round(random.normal(20, 1, (12, 3)), 1)
        labels = np.append([0, 1], random.integers(0, 2, 10))
        model = KNeighborsClassifier(size, weights="distance", algorithm="brute").fit(rows, labels)
        between = (rows[:, None] + rows[None])[np.triu_indices(12, 1)] / 2
        outputs, places = run_chain(backend, pack(model), between)
        is_known = np.isfinite(outputs).all(axis=1)
        assert (places[is_known] == model.predict(between)[is_known]).all()
        n_left += (~is_known).sum()
    assert n_left > 0


def test_without_a_tree_distances_whose_squares_underflow_are_left_to_the_library(backend: ModuleType) -> None:
    rows = np.array([[1.0, 2.0], [2.0, 1.0], [3.0, 3.0]]) * 1e-160
    model = KNeighborsClassifier(2, weights="distance", algorithm="brute").fit(rows, [0, 1, 1])

    outputs, _ = run_chain(backend, pack(model), rows * 1.5)

    assert np.isnan(outputs).any(axis=1).all()


def test_without_a_tree_a_distance_that_rounding_decides_is_left_to_the_library(backend: ModuleType) -> None:
    """scikit-learn computes |x|^2 - 2 x.y + |y|^2, of which at this distance from zero no digit is right."""
    rows = np.random.default_rng(4).normal(size=(50, 2)) + 1e8
    model = LocalOutlierFactor(5, novelty=True, algorithm="brute").fit(rows)

    assert check(backend, model, rows[:9] + 0.5) == 9


def _without_tree(model: Any) -> None:
    model._tree = None


def _of_other_rows(model: Any) -> None:
    model._fit_X = model._fit_X + 1


def _with_another_order(model: Any) -> None:
    order = model._tree.__getstate__()[1].copy()
    order[:2] = order[0]
    _replace_tree(model, 1, order)


def _with_fewer_nodes(model: Any) -> None:
    _replace_tree(model, 2, model._tree.__getstate__()[2][:-1])


def _replace_tree(model: Any, place: int, value: np.ndarray) -> None:
    state = list(model._tree.__getstate__())
    state[place] = value
    model._tree = type(model._tree).__new__(type(model._tree))
    model._tree.__setstate__(tuple(state))


def _with_a_label_outside(model: Any) -> None:
    model._y = model._y + 7


def _with_none(model: Any) -> None:
    model.n_neighbors = 0


def _with_gaps(model: Any) -> None:
    model._fit_X = np.where(np.arange(60)[:, None] == 7, np.nan, model._fit_X)


def _with_moved_balls(model: Any) -> None:
    _replace_tree(model, 3, model._tree.__getstate__()[3] + 1e-3)


@pytest.mark.parametrize(
    "damage",
    [
        _without_tree,
        _of_other_rows,
        _with_another_order,
        _with_fewer_nodes,
        _with_a_label_outside,
        _with_none,
        _with_gaps,
        _with_moved_balls,
    ],
)
def test_a_file_whose_parts_do_not_fit_is_not_packed(damage: Callable[[Any], None]) -> None:
    rows = np.random.default_rng(4).normal(size=(60, 2))
    search = "ball_tree" if damage is _with_moved_balls else "kd_tree"
    model = KNeighborsClassifier(3, algorithm=search, leaf_size=9).fit(rows, rows[:, 0] > 0)
    assert pack_file(pickle.dumps(model)).family is Family.STEPS
    broken = copy.deepcopy(model)
    damage(broken)

    assert pack_file(pickle.dumps(broken)).family is Family.KEPT


@pytest.mark.parametrize(
    "make",
    [
        lambda x: LocalOutlierFactor(novelty=True, metric="canberra").fit(x),
        lambda x: LocalOutlierFactor(novelty=True, metric="cosine").fit(x),
        lambda x: LocalOutlierFactor(novelty=True, metric_params={"w": np.ones(x.shape[1])}).fit(x),
        lambda x: KNeighborsRegressor().fit(x, x[:, 0].astype(np.float32)),
        lambda x: KNeighborsClassifier().fit(x, (x > 0).astype(int)),
        lambda x: LocalOutlierFactor(novelty=True, algorithm="brute").fit(x.astype(np.float32)),
        lambda x: LocalOutlierFactor(novelty=True, algorithm="brute", p=0.5).fit(x),
    ],
)
@pytest.mark.filterwarnings("ignore:Mind that for 0 < p < 1")
def test_what_is_not_computed_exactly_is_kept(make: Any) -> None:
    assert pack_file(pickle.dumps(make(np.random.default_rng(4).normal(size=(60, 2))))).family is Family.KEPT
