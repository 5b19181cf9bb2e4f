"""Models that were saved together with a scaler, their columns, their classes or a threshold."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from joblib import Memory
from scipy.stats import loguniform
from sklearn.cluster import KMeans
from sklearn.compose import TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.ensemble import BaggingRegressor, StackingRegressor, VotingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, MinMaxScaler, StandardScaler
from sklearn.svm import OneClassSVM

from scorer.errors import Unscorable
from scorer.estimators.score_model import score_model_file
from scorer.families.base import Family
from scorer.packs.cache import judge_file
from scorer.predictions.rows import Predictions
from scorer.storage.blob_store import Content
from shared.contract.domain import Model
from shared.contract.reasons import Reason
from tests.scorer.sandbox import misdeeds

NAMES = ("a", "b", "c", "y")
ROWS = np.random.default_rng(4).normal([1, 20, 300, 0], [1, 2, 30, 1], (60, 4))
X, Y = ROWS[:, :3], ROWS[:, :3] @ [1, 0.5, 0.01]
ROWS[:, 3] = Y + 0.1 * np.random.default_rng(5).normal(size=60)
FRAME = pd.DataFrame(X, columns=list("abc"))
SCALER = StandardScaler().fit(X)
SCALED = SCALER.transform(X)
SVM, RIDGE = OneClassSVM(nu=0.2).fit(SCALED), Ridge().fit(SCALED, Y)
KINDS = np.where(np.median(Y) < Y, "worn", "good")
ENCODER = LabelEncoder().fit(KINDS)
CLASSIFIER = LogisticRegression().fit(SCALED, ENCODER.transform(KINDS))
MODEL = Model("d", "", "d.pkl", "planned")
ABC = {"features": ["a", "b", "c"]}
DUMPS = {"pickle": pickle.dumps, "skops": skops.io.dumps}


def score(content: Any, companions: Mapping[str, bytes] | None = None, rows: np.ndarray = ROWS) -> Any:
    """The predictions for rows of four columns, or reason and message. Judged the same way by the node."""
    data = content if isinstance(content, bytes) else pickle.dumps(content)
    outcome = score_model_file(MODEL, Content(data, "e", companions or {}), misdeeds.readings("d", rows, NAMES))
    if (judged := judge(data, companions or {})) is not None:
        assert judged == outcome.result[3:5]
    return outcome.predictions or outcome.result[3:5]


def judge(data: bytes, companions: Mapping[str, bytes]) -> tuple[Reason, str] | None:
    """Why a node refuses a model before it is built, and its message."""
    try:
        judge_file(data, companions=companions)
    except Unscorable as error:
        return error.reason, str(error)
    return None


def check_scores(predictions: Any, expected: np.ndarray, column: str = "score") -> None:
    assert isinstance(predictions, Predictions), predictions
    np.testing.assert_allclose(getattr(predictions, column), expected, atol=1e-12)


def list_labels(predictions: Predictions) -> list[str]:
    assert predictions.label
    return [predictions.label.names[code] for code in predictions.label.codes]


@pytest.mark.parametrize("dump", DUMPS.values(), ids=DUMPS)
@pytest.mark.parametrize(
    "bundle",
    [
        {"model": SVM, "scaler": SCALER, "features": ["a", "b", "c"], "version": "1.2", "metrics": {"f1": 0.9}},
        {"Detector": SVM, "preprocessor": SCALER, "columns": np.array(["a", "b", "c"], object), "threshold": None},
        (SVM, SCALER, ["a", "b", "c"]),
        [["a", "b", "c"], SCALER, SVM],
    ],
    ids=["dict", "other keys", "tuple", "list"],
)
def test_a_model_with_its_scaler_and_columns_is_a_pipeline(bundle: Any, dump: Any) -> None:
    check_scores(score(dump(bundle)), SVM.decision_function(SCALED))
    packed, content = judge_file(dump(bundle))
    assert (packed.family, packed.features) == (Family.RBF, ("a", "b", "c"))  # as fast as a pipeline
    assert content.bundle.has_scaler


def test_a_model_alone_in_a_bundle_needs_nothing_else() -> None:
    named = make_pipeline(StandardScaler(), OneClassSVM(nu=0.2)).fit(FRAME)
    for bundle in ({"model": named}, (named,), {"model": named, **ABC}, {"model": named, "features": list("cbay")}):
        check_scores(score(bundle), named.decision_function(FRAME))  # in its own order


def test_a_regressor_and_a_clusterer_may_be_bundled_too() -> None:
    check_scores(score({"reg": RIDGE, "scaler": SCALER, **ABC}), RIDGE.predict(SCALED), "prediction")
    clusters = KMeans(3, n_init=1, random_state=0).fit(SCALED)
    predictions = score({"model": clusters, "scaler": SCALER, **ABC})
    assert list_labels(predictions) == [str(label) for label in clusters.labels_]


@pytest.mark.parametrize(
    "names",
    [{"label_encoder": ENCODER}, {"le": ENCODER, "classes": ["good", "worn"]}, {"class_names": ["good", "worn"]}],
)
def test_classes_have_the_names_that_were_saved_beside_the_classifier(names: dict[str, Any]) -> None:
    predictions = score({"clf": CLASSIFIER, "scaler": SCALER, **ABC, **names})
    assert list_labels(predictions) == ENCODER.inverse_transform(CLASSIFIER.predict(SCALED)).tolist()
    check_scores(predictions, CLASSIFIER.predict_proba(SCALED).max(axis=1), "probability")


def test_names_of_other_classes_are_refused() -> None:
    reason, message = score({"clf": CLASSIFIER, "scaler": SCALER, **ABC, "classes": ["good"]})
    assert reason is Reason.UNREADABLE_MODEL
    assert "classes ['0', '1'], and names of 1 classes" in message


def test_what_says_when_it_was_trained_is_passed_over() -> None:
    remarks = {"trained_at": datetime(2026, 11, 21, tzinfo=UTC), "n_samples": np.int64(60), "params": {"nu": 0.2}}
    check_scores(score({"model": SVM, "scaler": SCALER, **ABC, **remarks}), SVM.decision_function(SCALED))


REFUSED = {
    "an unknown key": ({"model": SVM, "pca": None, "offset": 3}, "got the key 'pca'"),
    "two models": ({"model": SVM, "clf": CLASSIFIER}, "expected one model, got 'model' and 'clf'"),
    "two models in a tuple": ((SVM, RIDGE), "expected one model, got 'item 0' and 'item 1'"),
    "a model for each sensor": ({"temp": SVM, "amps": SVM}, "got the key 'temp'"),
    "no model": ({"scaler": SCALER}, "expected a model under one of the keys model, estimator"),
    "no model in a tuple": ((SCALER, ["a"]), "expected a model in the tuple, got none"),
    "a scaler as the model": (
        {"model": SCALER},
        "expected an estimator that predicts as 'model', got a StandardScaler",
    ),
    "a path as the model": ({"model": "model.h5"}, "expected an estimator that predicts as 'model', got a str"),
    "two scalers": ({"model": SVM, "scaler": SCALER, "imputer": SCALER}, "got 'scaler' and 'imputer'"),
    "a scaler of the target": ({"model": RIDGE, "y_scaler": SCALER}, "got the key 'y_scaler'"),
    "a model as the scaler": ({"model": SVM, "scaler": RIDGE}, "expected a transformer as the scaler, got a Ridge"),
    "a scaler twice": (
        {"model": make_pipeline(StandardScaler(), OneClassSVM()).fit(X), "scaler": SCALER},
        "expected a scaler beside the model or in its pipeline, got a StandardScaler in both",
    ),
    "a model in a remark": ({"model": SVM, "meta": [{"x": RIDGE}]}, "got the key 'meta'"),
    "columns that are no list": ({"model": SVM, "features": "a,b,c"}, "expected a list of names as 'features'"),
    "a column twice": ({"model": SVM, "features": ["a", "a", "b"]}, "expected different names as 'features'"),
    "a key that is no text": ({3: SVM}, "got the key 3"),
    "a threshold alone": (
        {"model": SVM, "threshold": 0.5},
        (
            "expected threshold_of, one of decision_function, score_samples, predict_proba, absolute_error, "
            "mean_absolute_error, mean_squared_error, beside the threshold 0.5, got none"
        ),
    ),
    "a threshold in a tuple": ((SVM, 0.5), "expected threshold_of"),
    "a threshold of an unknown kind": ({"model": SVM, "threshold": 1, "threshold_of": "mse"}, "got 'mse'"),
    "a threshold that is no number": ({"model": SVM, "threshold": "1", "threshold_of": "x"}, "a finite number"),
    "NaN as the threshold": ({"model": SVM, "threshold": np.nan}, "a finite number as the threshold, got nan"),
    "the kind of no threshold": (
        {"model": SVM, "threshold_of": "predict_proba"},
        "beside threshold_of 'predict_proba'",
    ),
    "an error without a target": (
        {"model": RIDGE, "threshold": 1, "threshold_of": "absolute_error"},
        "expected the column that the model predicts as target, got none",
    ),
    "a threshold of another task": (
        {"model": RIDGE, "threshold": 1, "threshold_of": "decision_function"},
        "expected a detector for a threshold of decision_function, got a regressor",
    ),
    "a target beside no names": (
        {"model": RIDGE, "threshold": 1, "threshold_of": "absolute_error", "target": "y"},
        "expected names of the features beside the target 'y', got none",
    ),
    "a number": (3.5, "expected a model that predicts, got a float"),
    "an empty list": ([], "expected a model in the list, got none"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_what_could_be_meant_in_two_ways_is_refused(content: Any, message: str) -> None:
    reason, text = score(content)
    assert reason is Reason.UNSUPPORTED_MODEL
    assert message in text


CONTRADICTIONS = {
    "more columns than features": ({"model": SVM, "features": ["a", "b"]}, "it was fitted on 3 features"),
    "other columns than it was fitted on": (
        {"model": LinearRegression().fit(FRAME, Y), "features": ["a", "b", "x"]},
        "it was fitted on 'c', which is not among the columns beside it",
    ),
    "two lists of classes": ({"clf": CLASSIFIER, "le": ENCODER, "classes": ["good", "bad"]}, "classes are"),
    "classes of a detector": ({"model": SVM, "classes": ["good", "worn"]}, "names of classes, and is a detector"),
    "a target among the features": (
        {"model": RIDGE, **ABC, "threshold": 1, "threshold_of": "absolute_error", "target": "a"},
        "its target 'a' is one of its features",
    ),
}


@pytest.mark.parametrize(("content", "message"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_parts_that_contradict_each_other_are_refused(content: Any, message: str) -> None:
    reason, text = score(content)
    assert reason is Reason.UNREADABLE_MODEL
    assert message in text


def test_a_threshold_makes_anomalies_of_the_error_of_a_regressor() -> None:
    bundle = {"reg": RIDGE, "scaler": SCALER, **ABC, "threshold": 0.2, "threshold_of": "absolute_error", "target": "y"}
    predictions = score(bundle)
    error = np.abs(ROWS[:, 3] - RIDGE.predict(SCALED))
    check_scores(predictions, 0.2 - error)
    check_scores(predictions, RIDGE.predict(SCALED), "prediction")
    assert predictions.anomaly.tolist() == (error > 0.2).tolist()
    assert 0 < np.count_nonzero(predictions.anomaly) < len(error)
    assert judge_file(pickle.dumps(bundle))[0].features == ("a", "b", "c", "y")  # what must be read


def test_a_row_without_the_target_is_left_out_and_counted() -> None:
    bundle = {"reg": RIDGE, "scaler": SCALER, **ABC, "threshold": 0.2, "threshold_of": "absolute_error", "target": "y"}
    rows = ROWS.copy()
    rows[7, 3] = np.nan
    content = Content(pickle.dumps(bundle), "e")
    outcome = score_model_file(MODEL, content, misdeeds.readings("d", rows, NAMES))
    assert (outcome.result.rows, outcome.left_out) == (59, 1)
    rows[:, 3] = np.nan
    outcome = score_model_file(MODEL, content, misdeeds.readings("d", rows, NAMES))
    assert outcome.result.reason is Reason.SENSOR_SILENT
    assert "'y'" in outcome.result.message


@pytest.mark.parametrize("quantity", ["mean_squared_error", "mean_absolute_error"])
@pytest.mark.parametrize("beside", [True, False], ids=["scaler beside it", "scaler inside"])
def test_a_threshold_makes_anomalies_of_what_a_model_cannot_reconstruct(quantity: str, beside: bool) -> None:
    if beside:  # errors are those of scaled features, which the model gets and gives
        model, inputs = Ridge(20.0).fit(SCALED, SCALED), SCALED
        bundle: dict[str, Any] = {"model": model, "scaler": SCALER}
    else:
        model, inputs = make_pipeline(MinMaxScaler(), Ridge(5.0)).fit(X, X), X
        bundle = {"model": model}
    residuals = model.predict(inputs) - inputs
    error = (residuals**2 if quantity == "mean_squared_error" else np.abs(residuals)).mean(axis=1)
    border = float(np.median(error))
    predictions = score({**bundle, **ABC, "threshold": border, "threshold_of": quantity})
    check_scores(predictions, border - error)
    assert predictions.anomaly.tolist() == (error > border).tolist()
    assert (predictions.prediction, predictions.output) == (None, None)


def test_a_model_that_predicts_something_else_reconstructs_nothing() -> None:
    reason, message = score_alone({"model": RIDGE, **ABC, "threshold": 1, "threshold_of": "mean_squared_error"})
    assert reason is Reason.UNSUPPORTED_MODEL
    assert "expected a model that predicts its 3 features" in message


def score_alone(content: Any) -> Any:
    """Reason and message of what only the estimator itself shows."""
    outcome = score_model_file(MODEL, Content(pickle.dumps(content), "e"), misdeeds.readings("d", ROWS, NAMES))
    return outcome.result[3:5]


@pytest.mark.parametrize("quantity", ["decision_function", "score_samples"])
def test_a_threshold_moves_the_border_of_a_detector(quantity: str) -> None:
    numbers = getattr(SVM, quantity)(SCALED)
    border = float(np.quantile(numbers, 0.4))
    predictions = score({"model": SVM, "scaler": SCALER, **ABC, "threshold": border, "threshold_of": quantity})
    check_scores(predictions, numbers - border)
    assert predictions.anomaly.tolist() == (numbers < border).tolist()


def test_a_threshold_of_a_probability_decides_the_label() -> None:
    bundle = {"clf": CLASSIFIER, "scaler": SCALER, **ABC, "le": ENCODER, "threshold": 0.8}
    predictions = score({**bundle, "threshold_of": "predict_proba"})
    shares = CLASSIFIER.predict_proba(SCALED)
    assert list_labels(predictions) == np.where(shares[:, 1] >= 0.8, "worn", "good").tolist()
    check_scores(predictions, np.where(shares[:, 1] >= 0.8, shares[:, 1], shares[:, 0]), "probability")
    assert "good" in list_labels(predictions)
    assert list_labels(predictions) != ENCODER.inverse_transform(CLASSIFIER.predict(SCALED)).tolist()


SIDECAR = b'{"features": ["a", "b", "c"]}'


def test_files_beside_the_model_say_the_same() -> None:
    beside = {"d.features.json": SIDECAR, "d.scaler.pkl": pickle.dumps(SCALER)}
    check_scores(score(SVM, beside), SVM.decision_function(SCALED))
    beside["d.threshold.json"] = b'{"threshold": 0.2, "threshold_of": "absolute_error", "target": "y"}'
    check_scores(score(RIDGE, beside), 0.2 - np.abs(ROWS[:, 3] - RIDGE.predict(SCALED)))


@pytest.mark.parametrize(
    ("content", "beside", "reason", "message"),
    [
        (
            SVM,
            {"d.scaler.pkl": b"<html>"},
            Reason.UNREADABLE_MODEL,
            "the scaler d.scaler.pkl: expected skops",
        ),
        (SVM, {"d.scaler.pkl": pickle.dumps(RIDGE)}, Reason.UNSUPPORTED_MODEL, "d.scaler.pkl: expected a transformer"),
        (
            SVM,
            {"d.scaler.pkl": pickle.dumps([1])},
            Reason.UNSUPPORTED_MODEL,
            "expected a transformer as the scaler, got a",
        ),
        (
            {"model": SVM, "scaler": SCALER},
            {"d.scaler.pkl": pickle.dumps(SCALER)},
            Reason.UNREADABLE_MODEL,
            "one scaler",
        ),
        (SVM, {"d.threshold.json": b"0.5"}, Reason.UNREADABLE_MODEL, 'd.threshold.json: expected {"threshold": number'),
        (SVM, {"d.threshold.json": b'{"threshold": 1, "of": 2}'}, Reason.UNREADABLE_MODEL, "expected {"),
        (SVM, {"d.threshold.json": b'{"threshold": null}'}, Reason.UNREADABLE_MODEL, "got null"),
        (SVM, {"d.threshold.json": b'{"threshold": 1}'}, Reason.UNSUPPORTED_MODEL, "expected threshold_of, one of"),
        (
            {"model": SVM, "threshold": 1, "threshold_of": "score_samples"},
            {"d.threshold.json": b'{"threshold": 1, "threshold_of": "score_samples"}'},
            Reason.UNREADABLE_MODEL,
            "expected one threshold",
        ),
    ],
)
def test_files_beside_the_model_that_say_nothing_clear_are_refused_by_name(
    content: Any, beside: dict[str, bytes], reason: Reason, message: str
) -> None:
    actual, text = score(content, beside)
    assert (actual, message in text) == (reason, True), text


SIGNATURE = """flavors: {{sklearn: {{pickled_model: model.pkl}}}}
signature: {{inputs: '[{columns}]', outputs: null}}
"""


def make_mlmodel(**types: str) -> dict[str, bytes]:
    """MLflow's file with a signature of these columns."""
    columns = ", ".join(f'{{"type": "{kind}", "name": "{name}", "required": true}}' for name, kind in types.items())
    return {"d/MLmodel": SIGNATURE.format(columns=columns).encode()}


def test_a_signature_names_the_columns_of_a_model_that_knows_none() -> None:
    mlmodel = make_mlmodel(c="double", a="double", b="double")
    model = Ridge().fit(X[:, [2, 0, 1]], Y)
    check_scores(score(model, mlmodel), model.predict(X[:, [2, 0, 1]]), "prediction")


def test_each_reading_is_cast_to_the_type_of_the_signature_or_refused() -> None:
    model, rows = LinearRegression().fit(FRAME, Y), ROWS.round()
    mlmodel = make_mlmodel(a="long", b="integer", c="float")
    check_scores(
        score(model, mlmodel, rows), model.predict(pd.DataFrame(rows[:, :3], columns=list("abc"))), "prediction"
    )
    rows[3, 1] = 20.5
    assert score(model, mlmodel, rows) == (
        Reason.BAD_READINGS,
        "column 'b' has 20.5, expected a value of type integer, as the signature in MLmodel says",
    )
    rows[3] = 1e39, 20, 300, 0
    assert score(model, make_mlmodel(a="float", b="long", c="long"), rows)[1].startswith(
        "column 'a' has 1e+39, expected"
    )
    rows[3, 0] = 2**40
    assert score(model, make_mlmodel(a="integer", b="long", c="long"), rows)[0] is Reason.BAD_READINGS
    assert score(model, make_mlmodel(a="boolean", b="long", c="long"))[0] is Reason.BAD_READINGS


@pytest.mark.parametrize(
    ("mlmodel", "reason", "message"),
    [
        (make_mlmodel(a="string"), Reason.UNSUPPORTED_MODEL, "expected inputs that are numbers"),
        (
            make_mlmodel(a="double", b="double"),
            Reason.UNREADABLE_MODEL,
            "fitted on 3 features, and the signature in MLm",
        ),
        (
            {"d/MLmodel": b"flavors: {}\nsignature: {inputs: '['}"},
            Reason.UNREADABLE_MODEL,
            "a signature with a JSON list",
        ),
        (
            {"d/MLmodel": b"flavors: {}\nsignature: {inputs: '[3]'}"},
            Reason.UNREADABLE_MODEL,
            "a signature with a JSON list",
        ),
        (
            {"d/MLmodel": b"flavors: {}\nsignature: {inputs: 3}"},
            Reason.UNREADABLE_MODEL,
            "a signature with a JSON list",
        ),
    ],
)
def test_a_signature_that_cannot_be_meant_is_refused(mlmodel: dict[str, bytes], reason: Reason, message: str) -> None:
    actual, text = score(Ridge().fit(X, Y), mlmodel)
    assert (actual, message in text) == (reason, True), text


def test_a_scaler_and_a_model_that_were_fitted_on_other_orders_are_refused() -> None:
    """The model gets the scaler's columns by their position: each would be taken for another."""
    scaler = StandardScaler().fit(FRAME)
    scaled = pd.DataFrame(scaler.transform(FRAME), columns=FRAME.columns)
    straight, turned = Ridge().fit(scaled, Y), Ridge().fit(scaled[["c", "a", "b"]], Y)
    nameless = StandardScaler().fit(X)
    message = "was fitted on a, b, c, and it on c, a, b: fit both on one order"

    check_scores(score({"model": straight, "scaler": scaler}), straight.predict(scaled), "prediction")
    for content, companions in (
        ({"model": turned, "scaler": scaler}, {}),
        ((scaler, turned), {}),
        ({"model": turned, "scaler": scaler, **ABC}, {}),
        (turned, {"d.scaler.pkl": pickle.dumps(scaler)}),
    ):
        reason, text = score(content, companions)
        assert (reason, message in text) == (Reason.UNREADABLE_MODEL, True), text
    reason, text = score({"model": turned, "scaler": nameless, **ABC})
    assert "the columns beside it are a, b, c, and it on c, a, b" in text
    assert reason is Reason.UNREADABLE_MODEL


@pytest.mark.parametrize(
    "make",
    [
        lambda search: VotingRegressor([("a", search), ("b", Ridge())]),
        lambda search: StackingRegressor([("a", search)], final_estimator=Ridge(), cv=2),
        lambda search: BaggingRegressor(search, n_estimators=2, random_state=0),
        TransformedTargetRegressor,
        lambda search: TransformedTargetRegressor(make_pipeline(StandardScaler(), search)),
    ],
)
def test_a_search_inside_another_estimator_does_what_its_best_estimator_does(make: Callable[[Any], Any]) -> None:
    """The template of it that was never fitted is of use to fitting only."""
    model = make(GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=2)).fit(X, Y)
    check_scores(score({"model": model, **ABC}), model.predict(X), "prediction")


def test_what_only_fitting_used_is_passed_over(tmp_path: Path) -> None:
    """Distributions of a random search, a cache of transformers, a chooser of columns; times of pandas as remarks."""
    search = RandomizedSearchCV(Ridge(), {"alpha": loguniform(0.1, 1)}, n_iter=2, cv=2, random_state=0)
    cached = make_pipeline(StandardScaler(), Ridge(), memory=Memory(tmp_path, verbose=0))
    chosen = make_pipeline(
        make_column_transformer((StandardScaler(), make_column_selector(dtype_include=np.number))), Ridge()
    )
    for model in (search, cached, chosen):
        bundle = {"model": model.fit(FRAME, Y), "trained_at": pd.Timestamp("2026-01-01", tz="UTC")}
        check_scores(score(bundle), model.predict(FRAME), "prediction")


@pytest.mark.parametrize("label", [" on ", "x  y", "\N{NO-BREAK SPACE}", "n" * 300])
def test_a_class_keeps_its_text(label: str) -> None:
    model = LogisticRegression().fit(FRAME, np.where(np.arange(len(Y)) % 2, label, "on"))
    assert list_labels(score(model)) == model.predict(FRAME).tolist()


@pytest.mark.parametrize("label", ["a\nb", "\t", "", "\0", "n" * 301, "\N{RIGHT-TO-LEFT OVERRIDE}x"])
def test_a_class_that_no_document_holds_as_it_is_is_refused(label: str) -> None:
    model = LogisticRegression().fit(FRAME, np.where(np.arange(len(Y)) % 2, label, "on"))
    reason, message = score(model)
    assert reason is Reason.UNSUPPORTED_MODEL
    assert "expected classes whose texts have 1 to 300 characters and no control characters" in message


def test_a_feature_without_a_type_in_the_signature_is_refused() -> None:
    reason, message = score({"model": Ridge().fit(X, Y), **ABC}, make_mlmodel(a="long", b="long"))
    assert reason is Reason.UNREADABLE_MODEL
    assert "the signature in MLmodel has no type for its feature 'c'" in message


def test_a_local_outlier_factor_of_named_columns_scores_without_a_warning() -> None:
    """scikit-learn 1.9.1 says at each call that the names are missing which it was given: see findings."""
    model = LocalOutlierFactor(metric="canberra", novelty=True).fit(FRAME)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        expected = model.decision_function(FRAME)
    check_scores(score(model), expected)  # warnings are errors here


def test_a_signature_without_names_says_nothing() -> None:
    tensor = '[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 3]}}]'
    model = LinearRegression().fit(FRAME, Y)
    for signature in (f"signature: {{inputs: '{tensor}'}}", "signature: {inputs: null}", "signature: null", ""):
        mlmodel = {"d/MLmodel": f"flavors: {{}}\n{signature}".encode()}
        check_scores(score(model, mlmodel), model.predict(FRAME), "prediction")
