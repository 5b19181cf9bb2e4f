"""Wide RBF machines are scored by products of rows and vectors; ties and labels stay those of the differences."""

import numpy as np
import pytest
from sklearn.svm import OneClassSVM

from scorer.kernels import dispatch, numba_products
from tests.scorer.kernels.batches_by_hand import batch_of, by_hand

WIDE = numba_products.LEAST_FEATURES
UNIT = 2.0**-53


def score(model: OneClassSVM, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    dispatch.choose_backend("numba")
    batch, (where,), total = batch_of([by_hand(model)], [rows])
    scores, anomalies = dispatch.score_batch(batch, total, 1)
    return scores[where], anomalies[where]


def takes_products(model: OneClassSVM) -> bool:
    coef, vectors, width = model.dual_coef_[0], model.support_vectors_, model.n_features_in_
    largest = numba_products.find_largest_square(np.ascontiguousarray(vectors).ravel(), width)
    g = -model._gamma * np.log2(np.e)
    error = numba_products.bound_error(np.abs(coef).sum(), len(coef), width, g, largest, largest)
    return bool(error <= numba_products.TOLERANCE * max(1.0, abs(model.intercept_[0])))


@pytest.mark.parametrize("width", [WIDE, WIDE + 1, 38, 101])
@pytest.mark.parametrize("count", [5, 64, 300])
def test_scores_agree_and_labels_are_equal(width: int, count: int) -> None:
    random = np.random.default_rng(width + count)
    model = OneClassSVM(nu=0.3).fit(random.normal(size=(count, width)))
    rows = random.normal(size=(700, width)) * random.uniform(0.1, 2.0, (700, 1))

    scores, anomalies = score(model, rows)

    assert takes_products(model)
    assert np.abs(scores - model.decision_function(rows)).max() <= 1e-12
    assert np.array_equal(anomalies, model.predict(rows) == -1)


@pytest.mark.parametrize("width", [WIDE, 39])
def test_rows_that_are_a_rounding_away_from_the_border_have_the_label_of_libsvm(width: int) -> None:
    random = np.random.default_rng(width)
    vector = random.normal(size=(1, width))
    model = OneClassSVM(nu=0.5, gamma=0.1).fit(vector)  # the border is the vector itself
    rows = np.repeat(vector, 400, axis=0)
    moved = random.random(rows.shape) < 0.5
    rows[moved] *= 1 + UNIT * random.integers(-4, 5, int(moved.sum()))

    scores, anomalies = score(model, rows)

    assert takes_products(model)
    assert np.array_equal(scores == 0, model.decision_function(rows) == 0)
    assert np.array_equal(anomalies, model.predict(rows) == -1)


def test_a_fleet_of_large_numbers_close_together_takes_the_differences() -> None:
    random = np.random.default_rng(7)
    rows = random.normal(1e6, 1.0, (200, 20))
    model = OneClassSVM(nu=0.2).fit(rows)

    scores, anomalies = score(model, rows)

    assert not takes_products(model)
    expected = model.decision_function(rows)
    sure = np.abs(expected) > 1e-9
    assert np.abs(scores - expected).max() <= 1e-9
    assert np.array_equal(anomalies[sure], (model.predict(rows) == -1)[sure])


def test_a_row_far_from_all_others_is_scored_as_alone() -> None:
    random = np.random.default_rng(8)
    model = OneClassSVM(nu=0.2).fit(random.normal(size=(100, 16)))
    rows = random.normal(size=(128, 16))
    rows[5], rows[70] = 1e200, np.nan

    scores, _ = score(model, rows)

    alone = np.concatenate([score(model, rows[i : i + 1])[0] for i in range(len(rows))])
    assert np.array_equal(scores, alone, equal_nan=True)
    assert scores[5] == model.intercept_[0]
    assert np.isnan(scores[70])


def test_the_bound_covers_the_error_of_products() -> None:
    random = np.random.default_rng(9)
    for scale in (0.1, 1.0, 30.0, 1000.0):
        width, count = 24, 80
        vectors, rows = random.normal(scale, 1.0, (count, width)), random.normal(scale, 1.0, (width, 128))
        coef, g = random.random(count), -1.0 / width
        squares, dots, total = np.zeros(128), np.zeros(numba_products.TILE * 128), np.zeros(128)
        numba_products.square_rows(squares, rows, 128)
        numba_products.add_rbf_products(total, dots, squares, rows, coef, vectors.ravel(), g, 128)
        differences = ((rows.T[:, None].astype(np.longdouble) - vectors) ** 2).sum(axis=2)
        exact = np.exp2(g * differences) @ coef
        largest = numba_products.find_largest_square(vectors.ravel(), width)
        bounds = [numba_products.bound_error(coef.sum(), count, width, g, q, largest) for q in squares]
        assert (np.abs(total - exact) <= bounds).all()
