"""Chains of steps say what scikit-learn says: trees to the bit, sums to 1e-12 of their terms, labels always."""

import pickle
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, Matern, WhiteKernel
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier, SGDOneClassSVM
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import SVC, OneClassSVM
from xgboost import XGBClassifier

from scorer.families.base import Family, GapRule, Packed
from scorer.packs.cache import pack_file
from tests.scorer.families import predictors as kinds
from tests.scorer.families.predictors import fit, make_classes, make_rows, make_target, name_of
from tests.scorer.kernels.chains import BACKENDS, run_chain

ROWS = make_rows(300)
NEW = np.concatenate([make_rows(70, seed=5), ROWS[:20], make_rows(5, seed=6) * 100])
ULP = 4e-16  # of probabilities: a unit in the last place of numbers near 1, and some


@pytest.fixture(params=list(BACKENDS), scope="module")
def backend(request: pytest.FixtureRequest) -> ModuleType:
    return BACKENDS[request.param]


def pack(model: Any, dump: Any = pickle.dumps) -> Packed:
    packed = pack_file(dump(model))
    assert packed.family is Family.STEPS
    return packed


def check_regressor(backend: ModuleType, model: Any, rows: Any, tolerance: float) -> None:
    outputs, labels = run_chain(backend, pack(model), np.asarray(rows))
    expected = np.asarray(model.predict(rows)).reshape(len(rows), -1)
    assert outputs.shape == expected.shape
    assert (labels == -1).all()
    if tolerance:
        scale = np.maximum(np.abs(expected).max(), 1)
        assert np.abs(outputs - expected).max() <= tolerance * scale
    else:
        np.testing.assert_array_equal(outputs, expected)


def check_classifier(backend: ModuleType, model: Any, rows: Any, tolerance: float) -> None:
    packed = pack(model)
    assert packed.predicted is not None
    outputs, labels = run_chain(backend, packed, np.asarray(rows))
    assert np.array(packed.predicted.classes)[labels].tolist() == model.predict(rows).astype(str).tolist()
    assert packed.predicted.has_probability == hasattr(model, "predict_proba")
    if packed.predicted.has_probability:
        assert np.abs(outputs - model.predict_proba(rows)).max() <= tolerance


@pytest.mark.parametrize("estimator", kinds.LINEAR, ids=name_of)
def test_sums_are_the_librarys(estimator: Any, backend: ModuleType) -> None:
    is_plain = not hasattr(estimator, "kernel")  # of support vectors large terms cancel each other

    check_regressor(backend, fit(clone(estimator), ROWS, make_target(ROWS)), NEW, 1e-12 if is_plain else 1e-10)


@pytest.mark.parametrize("estimator", kinds.POSITIVE, ids=name_of)
def test_exponentials_of_sums_are_the_librarys(estimator: Any, backend: ModuleType) -> None:
    check_regressor(backend, fit(clone(estimator), ROWS, np.abs(make_target(ROWS)) + 0.1), ROWS, 1e-12)


@pytest.mark.parametrize("estimator", kinds.SEVERAL, ids=name_of)
def test_several_outputs_keep_their_order(estimator: Any, backend: ModuleType) -> None:
    target = make_target(ROWS)
    model = fit(clone(estimator), ROWS, np.stack([target, -target, ROWS[:, 3]], axis=1))

    check_regressor(backend, model, NEW, 1e-12)


@pytest.mark.parametrize("estimator", kinds.TREE_REGRESSORS, ids=name_of)
def test_trees_are_the_librarys_to_the_bit(estimator: Any, backend: ModuleType) -> None:
    model = fit(clone(estimator), ROWS, make_target(ROWS))

    check_regressor(backend, model, NEW, 0)
    check_regressor(backend, model, _thresholds_of(model), 0)


def _thresholds_of(model: Any) -> np.ndarray:
    """Rows that equal thresholds of the model's trees, and their neighbours among numbers."""
    if hasattr(model, "_predictors"):
        numbers = np.concatenate([tree.nodes["num_threshold"] for stage in model._predictors for tree in stage])
        features = np.concatenate([tree.nodes["feature_idx"] for stage in model._predictors for tree in stage])
    else:
        trees = np.ravel(getattr(model, "estimators_", [model]))
        numbers = np.concatenate([item.tree_.threshold for item in trees])
        features = np.maximum(np.concatenate([item.tree_.feature for item in trees]), 0)
    numbers, features = numbers[:60], features[:60]
    rows = np.repeat(ROWS[:1], 5 * len(numbers), axis=0)
    steps = [numbers, np.nextafter(numbers, np.inf), np.nextafter(numbers, -np.inf), numbers * 0.0, -numbers * 0.0]
    rows[np.arange(len(rows)), np.tile(features, 5)] = np.concatenate(steps)
    return rows


@pytest.mark.parametrize("estimator", kinds.LINEAR_CLASSIFIERS, ids=name_of)
def test_classes_are_the_librarys(estimator: Any, backend: ModuleType) -> None:
    for target in make_classes(ROWS):
        check_classifier(backend, fit(clone(estimator), ROWS, target), NEW, 1e-11)


@pytest.mark.parametrize("estimator", kinds.TREE_CLASSIFIERS, ids=name_of)
def test_classes_of_trees_are_the_librarys(estimator: Any, backend: ModuleType) -> None:
    for target in make_classes(ROWS):
        check_classifier(backend, fit(clone(estimator), ROWS, target), NEW, ULP)


def test_a_boosting_of_another_loss_has_another_link(backend: ModuleType) -> None:
    model = GradientBoostingClassifier(loss="exponential", n_estimators=5).fit(ROWS, next(make_classes(ROWS)))

    check_classifier(backend, model, NEW, ULP)


@pytest.mark.parametrize("estimator", kinds.COUNTS, ids=name_of)
def test_counts_are_classified_as_by_the_library(estimator: Any, backend: ModuleType) -> None:
    for target in make_classes(ROWS):
        check_classifier(backend, fit(clone(estimator), np.abs(ROWS), target), np.abs(NEW), 1e-11)


@pytest.mark.parametrize("estimator", kinds.CLUSTERERS, ids=name_of)
def test_clusters_are_the_librarys(estimator: Any, backend: ModuleType) -> None:
    model = fit(clone(estimator), ROWS)

    outputs, labels = run_chain(backend, pack(model), NEW)

    assert labels.tolist() == model.predict(NEW).tolist()
    np.testing.assert_allclose(outputs[:, 0], -model.transform(NEW).min(axis=1), rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("transformer", kinds.TRANSFORMERS, ids=name_of)
def test_what_prepares_readings_is_the_librarys(transformer: Any, backend: ModuleType) -> None:
    model = fit(make_pipeline(clone(transformer), Ridge()), ROWS, make_target(ROWS))

    check_regressor(backend, model, NEW, 1e-11)


@pytest.mark.parametrize("dump", [pickle.dumps, skops.io.dumps])
def test_detectors_behind_several_steps_are_the_librarys(dump: Any, backend: ModuleType) -> None:
    for steps in (
        (PCA(2), OneClassSVM(nu=0.2)),
        (StandardScaler(), MinMaxScaler(), OneClassSVM(nu=0.2)),
        (StandardScaler(), make_pipeline(OneClassSVM(nu=0.2))),
        (StandardScaler(), PCA(3), SGDOneClassSVM(random_state=0)),
        (SimpleImputer(), StandardScaler(), OneClassSVM(kernel="linear", nu=0.2)),
    ):
        model = make_pipeline(*steps).fit(ROWS)
        outputs, labels = run_chain(backend, pack(model, dump), NEW)
        expected = model.decision_function(NEW)
        np.testing.assert_allclose(outputs[:, 0], expected, rtol=1e-9, atol=1e-9)
        is_sure = np.abs(expected) > 1e-9
        assert (labels == 1)[is_sure].tolist() == (model.predict(NEW) == -1)[is_sure].tolist()


def test_columns_are_selected_by_name_number_and_mask(backend: ModuleType) -> None:
    frame, target = pd.DataFrame(ROWS, columns=list("abcd")), make_target(ROWS)
    new = pd.DataFrame(NEW, columns=list("abcd"))
    inner = make_pipeline(SimpleImputer(), MinMaxScaler())
    for branches, rest in (
        ([(StandardScaler(), ["c", "a"]), (inner, ["b"])], "passthrough"),
        ([(StandardScaler(), [2, 0]), ("drop", [1]), (RobustScaler(), [-1])], "drop"),
        ([(StandardScaler(), [True, False, True, False])], RobustScaler()),
    ):
        columns = make_column_transformer(*branches, remainder=rest)
        model = make_pipeline(columns, RandomForestRegressor(n_estimators=3, random_state=0)).fit(frame, target)
        assert pack(model).features == tuple("abcd")
        check_regressor(backend, model, new, 0)


def test_gaps_go_where_training_sent_them(backend: ModuleType) -> None:
    gappy = ROWS.copy()
    gappy[np.random.default_rng(3).random(gappy.shape) < 0.2] = np.nan
    target = make_target(ROWS)
    for estimator in (
        HistGradientBoostingRegressor(max_iter=5),
        RandomForestRegressor(n_estimators=5, random_state=0),
        make_pipeline(SimpleImputer(strategy="median"), Ridge()),
    ):
        model = estimator.fit(gappy, target)
        packed = pack(model)
        assert packed.predicted is not None
        assert packed.predicted.gap_rule is GapRule.TAKES
        check_regressor(backend, model, gappy, 1e-12 if hasattr(model, "steps") else 0)


@pytest.mark.parametrize("estimator", [HistGradientBoostingRegressor, HistGradientBoostingClassifier])
def test_categories_are_those_of_training(estimator: Any, backend: ModuleType) -> None:
    rows = ROWS.copy()
    rows[:, 1] = np.random.default_rng(4).integers(-3, 12, len(rows)) * 7
    rows[:, 3] = np.random.default_rng(5).integers(0, 40, len(rows)) + 0.5
    target = np.where(rows[:, 1] % 3 == 0, 5, 0) + np.where(rows[:, 3] % 7 < 3, 2, 0) + rows[:, 0]
    gappy = rows.copy()
    gappy[::7, 1] = np.nan
    new = rows[:60].copy()
    new[:20, 1], new[20:30, 1], new[30:40, 3] = (
        np.linspace(-30, 100, 20),
        np.nan,
        [-1, -0.5, 0, 1e9, 256, 7, 3, 2, 1, 50],
    )
    for data in (rows, gappy):
        is_classifier = estimator is HistGradientBoostingClassifier
        labels = np.digitize(target, [2, 5]) if is_classifier else target
        model = estimator(max_iter=8, categorical_features=[1, 3], min_samples_leaf=2).fit(data, labels)
        if is_classifier:
            check_classifier(backend, model, new, ULP)
        else:
            check_regressor(backend, model, new, 0)


def test_a_model_trained_without_gaps_is_given_none() -> None:
    packed = pack(RandomForestRegressor(n_estimators=2).fit(ROWS, make_target(ROWS)))

    assert packed.predicted is not None
    assert packed.predicted.gap_rule is GapRule.NONE


@pytest.mark.parametrize(
    "make",
    [
        lambda x, y: SVC(probability=True).fit(x, y),
        lambda x, y: SVC(break_ties=True).fit(x, y),
        lambda x, y: make_pipeline(SimpleImputer(add_indicator=True), LogisticRegression()).fit(x, y),
        lambda x, y: LogisticRegression().fit(x, y).sparsify(),
        lambda x, y: RidgeClassifier().fit(x, np.stack([y, 1 - y], axis=1)),  # several labels for each row
        lambda x, y: make_pipeline(MaxAbsScaler(clip=True), Ridge()).fit(x, y),
        lambda x, y: make_pipeline(
            ColumnTransformer([("a", StandardScaler(), [0, 1])], transformer_weights={"a": 10}), Ridge()
        ).fit(x, y),
        lambda x, y: make_pipeline(PCA(2), Ridge()).fit(x.astype(np.float32), y),
        lambda x, y: make_pipeline(PCA(4, whiten=True), Ridge()).fit(np.hstack([x[:, :3], x[:, :1]]), y),
        lambda x, y: GaussianNB().fit(x.astype(np.float32), y),
        lambda x, y: make_pipeline(SimpleImputer(strategy="constant", fill_value=0.0), Ridge()).fit(x, y),
        lambda x, y: MLPClassifier((3,), max_iter=2).fit(x, np.stack([y, 1 - y], axis=1)),  # several labels
        lambda x, y: GaussianProcessRegressor(RBF() * Matern() + WhiteKernel(), optimizer=None).fit(x, y),
        lambda x, y: GaussianProcessRegressor(RBF() + Matern() + WhiteKernel(), optimizer=None).fit(x, y),
        lambda x, y: GaussianProcessRegressor(Matern(nu=0.7), optimizer=None, alpha=0.1).fit(x, y),
        lambda x, y: GaussianProcessRegressor(RBF(1e3), optimizer=None).fit(x, y),  # weights that cancel each other
        lambda x, y: GaussianProcessRegressor(RBF(), optimizer=None, alpha=0.1).fit(x, np.stack([y, y], axis=1)),
    ],
)
@pytest.mark.filterwarnings("ignore:The .probability. parameter")
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_what_is_not_computed_exactly_is_kept(make: Any) -> None:
    model = make(ROWS, next(make_classes(ROWS)))

    assert pack_file(pickle.dumps(model)).family is Family.KEPT


@pytest.mark.parametrize(("levels", "family"), [(3, Family.STEPS), (11, Family.KEPT)])
def test_pipelines_that_name_one_another_many_times_are_kept(levels: int, family: Family) -> None:
    """Each level names the one below twice, so reading it would visit 2 ** levels parts of a small file."""
    inner: Any = StandardScaler()
    for _ in range(levels):
        inner = Pipeline([("one", inner), ("two", inner)])
    model = make_pipeline(ColumnTransformer([("all", inner, [0, 1])]), Ridge()).fit(ROWS, make_target(ROWS))

    assert pack_file(pickle.dumps(model)).family is family


def test_what_was_fitted_on_float32_is_filled_as_float32(backend: ModuleType) -> None:
    rows = np.random.default_rng(3).normal(50, 10, (80, 3)).astype(np.float32)
    target = rows @ [1, 2, -1]
    rows[np.random.default_rng(4).random(rows.shape) < 0.2] = np.nan
    model = make_pipeline(SimpleImputer(), StandardScaler(), RandomForestRegressor(n_estimators=9, random_state=0))

    check_regressor(backend, model.fit(rows, target), rows.astype(np.float64), 0)


def test_labels_of_xgboost_are_decided_in_float32(backend: ModuleType) -> None:
    """Its probabilities are float32: of two that are equal so the first class is the label."""
    model = XGBClassifier(n_estimators=1, max_depth=3, n_jobs=1, base_score=0.5, learning_rate=1e-8)
    model.fit(ROWS, next(make_classes(ROWS)))

    _, labels = run_chain(backend, pack(model), NEW)

    assert labels.tolist() == model.predict(NEW).tolist()


@pytest.mark.parametrize("n_rows", [0, 1, 15, 16, 127, 128, 129, 300])
def test_any_number_of_rows_gives_the_same_as_one_by_one(n_rows: int, backend: ModuleType) -> None:
    packed = pack(make_pipeline(StandardScaler(), PCA(2), LinearRegression()).fit(ROWS, make_target(ROWS)))

    outputs, _ = run_chain(backend, packed, ROWS[:n_rows])

    single = [run_chain(backend, packed, ROWS[i : i + 1])[0][0] for i in range(n_rows)]
    np.testing.assert_array_equal(outputs, np.array(single).reshape(n_rows, 1))


def test_numbers_too_large_for_float32_give_no_prediction(backend: ModuleType) -> None:
    packed = pack(RandomForestRegressor(n_estimators=2).fit(ROWS, make_target(ROWS)))
    rows = ROWS[:3].copy()
    rows[1, 2] = 1e39

    outputs, _ = run_chain(backend, packed, rows)

    assert np.isnan(outputs[:, 0]).tolist() == [False, True, False]
