"""What XGBoost and its wrappers save is read as data, in each form alike; what is broken or hostile has a reason."""

from __future__ import annotations

import copy
import gzip
import io
import json
import pickle
import re
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
import xgboost
from sklearn.ensemble import VotingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier, XGBRanker, XGBRegressor, XGBRFClassifier

from scorer.errors import Unscorable
from scorer.families.trees.xgboost import read_xgboost
from scorer.model_files import reader
from scorer.model_files.estimator_kinds import WRAPPERS
from scorer.model_files.parsed import ParsedObject, get_last_step
from shared.contract.reasons import Reason
from tests.patience import patience
from tests.scorer.families.reference_trees import sum_leaves
from tests.scorer.model_files.test_ubjson import write

RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(150, 3)) * [1, 5, 100]
Y = X @ [3, 1, 0.05] + 50
CLASS = np.digitize(Y, np.quantile(Y, [0.3, 0.7]))
SMALL: dict[str, Any] = {"n_estimators": 3, "max_depth": 3, "n_jobs": 1}
UNREADABLE, UNSUPPORTED = Reason.UNREADABLE_MODEL, Reason.UNSUPPORTED_MODEL
INCOMPATIBLE, UNFITTED, LARGE = Reason.INCOMPATIBLE_MODEL, Reason.UNFITTED_MODEL, Reason.TOO_LARGE
NUMPY = {"f": "f4", "i": "i4"}


@cache
def fit_number() -> XGBRegressor:
    return XGBRegressor(**SMALL).fit(X, Y)


@cache
def fit_classes() -> XGBClassifier:
    return XGBClassifier(**SMALL).fit(X, CLASS)


def to_joblib(value: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(value, buffer)
    return buffer.getvalue()


def save(model: Any, path: Path) -> bytes:
    model.save_model(path)
    return path.read_bytes()


FORMS: dict[str, Callable[[Any], bytes]] = {
    **{
        f"pickle-{protocol}": lambda model, protocol=protocol: pickle.dumps(model, protocol)
        for protocol in (2, 3, 4, 5)
    },
    "joblib": to_joblib,
    "skops": skops.io.dumps,
}


def total(data: bytes) -> np.ndarray:
    return sum_leaves(read_xgboost(reader.read_model(data).state), X).astype(np.float32)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("fit", [fit_number, fit_classes])
def test_a_wrapper_and_its_booster_say_in_each_form_the_same_as_the_file(form: str, fit: Callable[[], Any]) -> None:
    model = fit()
    expected = model.predict(X, output_margin=True).reshape(len(X), -1)
    for thing in (model, model.get_booster(), {"model": model}, [StandardScaler(), model][1:]):
        np.testing.assert_array_equal(total(FORMS[form](thing)), expected)


@pytest.mark.parametrize("extension", ["ubj", "json"])
def test_a_file_says_the_same_also_compressed(extension: str, tmp_path: Path) -> None:
    for fit in (fit_number, fit_classes):
        expected = fit().predict(X, output_margin=True).reshape(len(X), -1)
        for thing in (fit(), fit().get_booster()):
            data = save(thing, tmp_path / f"a.{extension}")
            np.testing.assert_array_equal(total(data), expected)
            np.testing.assert_array_equal(total(gzip.compress(data)), expected)


def test_what_a_model_says() -> None:
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    state = reader.read_model(pickle.dumps(XGBClassifier(**SMALL).fit(frame, CLASS))).state
    assert state["n_features_in_"] == 3
    assert state["feature_names_in_"] == ["a", "b", "c"]
    assert state["classes_"].tolist() == [0, 1, 2]
    assert state["objective"] == "multi:softprob"
    assert ".".join(map(str, state["version"])) == xgboost.__version__
    assert state["base_score"].shape == (3,)
    assert "feature_names_in_" not in reader.read_model(pickle.dumps(fit_number())).state


def test_a_wrapper_may_end_a_pipeline_a_search_or_a_bundle() -> None:
    pipeline = make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), XGBRegressor(**SMALL))).fit(X, Y)
    search = GridSearchCV(pipeline, {"pipeline__xgbregressor__max_depth": [2]}, cv=2).fit(X, Y)
    inner = make_pipeline(StandardScaler(), GridSearchCV(XGBRegressor(**SMALL), {"max_depth": [2]}, cv=2)).fit(X, Y)
    for model in (pipeline, search, inner, {"model": pipeline, "features": ["a", "b", "c"]}, {"clf": search}):
        for form in ("pickle-4", "joblib", "skops"):
            step = get_last_step(reader.read_model(FORMS[form](model)))
            assert step.kind == "xgboost.regressor"
            assert read_xgboost(step.state).n_features == 3


def test_a_wrapper_inside_another_estimator_is_computed_by_our_kernel() -> None:
    from scorer.estimators import builder

    voting = VotingRegressor([("a", XGBRegressor(**SMALL)), ("b", LinearRegression())]).fit(X, Y)
    built = builder.build_estimator(reader.read_model(pickle.dumps(voting)))
    assert type(built.estimators_[0]).__name__ == "PackedRegressor"
    np.testing.assert_allclose(built.predict(X), voting.predict(X), rtol=1e-6)


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (lambda: XGBRFClassifier(**SMALL).fit(X, CLASS), "classifier"),
        (lambda: XGBRanker(**SMALL).fit(X, CLASS, group=[75, 75]), "regressor"),
        (lambda: XGBRegressor(objective="binary:logistic", **SMALL).fit(X, CLASS > 1), "regressor"),
        (lambda: XGBClassifier(objective="reg:logistic", **SMALL).fit(X, CLASS > 1), "classifier"),
    ],
)
def test_the_wrapper_decides_what_a_model_does(model: Callable[[], Any], kind: str, tmp_path: Path) -> None:
    fitted = model()
    for data in (pickle.dumps(fitted), save(fitted, tmp_path / "a.ubj"), save(fitted, tmp_path / "a.json")):
        assert reader.read_model(data).kind == f"xgboost.{kind}"


@pytest.mark.parametrize(
    ("objective", "kind"),
    [("binary:logistic", "classifier"), ("binary:hinge", "classifier"), ("binary:logitraw", "regressor")],
)
def test_of_a_bare_booster_the_objective_decides(objective: str, kind: str) -> None:
    booster = xgboost.train({"objective": objective}, xgboost.DMatrix(X, CLASS > 1), 2)
    model = reader.read_model(bytes(booster.save_raw("ubj")))
    assert model.kind == f"xgboost.{kind}"
    assert kind == "regressor" or model.state["classes_"].tolist() == [0, 1]


def test_early_stopping_that_was_pickled_with_its_callback_is_read() -> None:
    callback = xgboost.callback.EarlyStopping(rounds=2)
    model = XGBRegressor(n_estimators=30, callbacks=[callback]).fit(X[:75], Y[:75], eval_set=[(X[75:], Y[75:])])
    np.testing.assert_array_equal(total(pickle.dumps(model))[:, 0], model.predict(X, output_margin=True))


@pytest.mark.parametrize("missing", [-999, 0.0, np.float32(-1)])
def test_a_wrapper_with_another_gap_than_nan_is_refused(missing: float) -> None:
    refuse(
        pickle.dumps(XGBRegressor(missing=missing, **SMALL).fit(X, Y)), UNSUPPORTED, "expected a model with missing=nan"
    )


def test_a_gap_that_an_old_file_says_is_read() -> None:
    document = make_document()
    document["learner"]["attributes"]["scikit_learn"] = '{"missing": NaN, "_estimator_type": "regressor"}'
    assert reader.read_model(write_ubjson(document)).kind == "xgboost.regressor"
    document["learner"]["attributes"]["scikit_learn"] = '{"missing": -999.0}'
    refuse(write_ubjson(document), UNSUPPORTED, "got missing=-999.0")


def test_what_was_never_fitted_is_unfitted() -> None:
    for model in (XGBRegressor(), make_pipeline(StandardScaler(), XGBClassifier())):
        for form in ("pickle-2", "pickle-5", "skops"):
            refuse(FORMS[form](model), UNFITTED, "was never fitted")


def test_an_objective_of_a_persons_own_is_data_in_the_file_and_untrusted_in_a_pickle(tmp_path: Path) -> None:
    def give_gradient(expected: np.ndarray, got: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return got - expected, np.ones_like(got)

    model = XGBRegressor(objective=give_gradient, **SMALL).fit(X, Y)
    expected = model.predict(X, output_margin=True)
    np.testing.assert_array_equal(total(save(model, tmp_path / "a.ubj"))[:, 0], expected)


@pytest.mark.parametrize("column", ["text", "number"])
def test_the_categories_of_a_frame_are_refused(column: str) -> None:
    values = {"text": CLASS.astype(str), "number": CLASS * 10}[column]
    frame = pd.DataFrame({"a": X[:, 0], "kind": pd.Categorical(values)})
    model = XGBRegressor(enable_categorical=True, **SMALL).fit(frame, Y)
    refuse(pickle.dumps(model), UNSUPPORTED, "got the categories of a frame ('kind')")


def test_codes_in_an_array_are_read() -> None:
    rows = np.column_stack([X[:, 0], CLASS])
    model = XGBRegressor(enable_categorical=True, feature_types=["q", "c"], **SMALL).fit(rows, Y + 30 * CLASS)
    state = reader.read_model(pickle.dumps(model)).state
    np.testing.assert_array_equal(
        sum_leaves(read_xgboost(state), rows)[:, 0].astype(np.float32), model.predict(rows, output_margin=True)
    )


def test_a_frame_of_before_3_1_that_has_categories_is_refused() -> None:
    document = make_document()
    document["version"] = [3, 0, 5]
    document["learner"]["feature_types"] = ["q", "c", "q"]
    assert reader.read_model(write_ubjson(document)).kind == "xgboost.regressor"
    document["learner"]["feature_names"] = ["a", "b", "c"]
    refuse(write_ubjson(document), UNSUPPORTED, "got the categories of a frame ('b')")


@pytest.mark.parametrize("version", [[3, 3, 0], [4, 0, 0], [2**31, 0, 0]])
def test_a_file_of_a_newer_release_is_incompatible(version: list[int]) -> None:
    document = make_document()
    document["version"] = version
    for data in (write_ubjson(document), json.dumps(document).encode()):
        refuse(data, INCOMPATIBLE, f"made by xgboost {'.'.join(map(str, version))}"[:25])


def test_a_base_score_is_read_in_both_forms() -> None:
    document = make_document()
    for text, expected in (("[9.5E0]", 9.5), ("9.5E0", 9.5), ("5E-1", 0.5), ("0.500000", 0.5), ("[-1E-1]", -0.1)):
        document["learner"]["learner_model_param"]["base_score"] = text
        state = reader.read_model(write_ubjson(document)).state
        assert state["base_score"].tolist() == [np.float32(expected)]


def test_the_old_binary_form_is_refused_with_what_to_do() -> None:
    for data in (b"binf\0\0\0\x3f" + bytes(200), bytes(136) + b"\x0d\0\0\0\0\0\0\0count:poisson" + bytes(99)):
        refuse(data, UNSUPPORTED, r"booster.save_model('X.ubj')")


def test_only_a_file_can_be_a_model_of_the_readers_own_kind() -> None:
    for kind in ("regressor", "classifier"):
        refuse(b"\x80\x04cxgboost\n" + kind.encode() + b"\n)\x81}b.", Reason.UNTRUSTED_MODEL, f"xgboost.{kind}")


# Hostile and broken files: changes of a small document. They are never given to XGBoost itself.


def make_tree() -> dict[str, Any]:
    """One that asks for feature 0, with two leaves."""
    numbers: dict[str, Any] = {
        "base_weights": [0.0] * 3, "categories": [], "categories_nodes": [], "categories_segments": [],
        "categories_sizes": [], "default_left": [1, 0, 0], "id": 0, "left_children": [1, -1, -1],
        "loss_changes": [0.0] * 3, "parents": [2**31 - 1, 0, 0], "right_children": [2, -1, -1],
        "split_conditions": [0.5, 1.0, 2.0], "split_indices": [0, 0, 0], "split_type": [0, 0, 0],
        "sum_hessian": [0.0] * 3,
    }  # fmt: skip
    sizes = {"num_deleted": "0", "num_feature": "3", "num_nodes": "3", "size_leaf_vector": "1"}
    return {**numbers, "tree_param": sizes}


def make_document(n_trees: int = 2) -> dict[str, Any]:
    model = {
        "cats": {"enc": [], "feature_segments": [], "sorted_idx": []},
        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(n_trees)},
        "iteration_indptr": list(range(n_trees + 1)),
        "tree_info": [0] * n_trees,
        "trees": [make_tree() for _ in range(n_trees)],
    }
    learner = {
        "attributes": {}, "feature_names": [], "feature_types": [],
        "gradient_booster": {"model": model, "name": "gbtree"},
        "learner_model_param": {
            "base_score": "[5E-1]", "boost_from_average": "1", "num_class": "0", "num_feature": "3", "num_target": "1"
        },
        "objective": {"name": "reg:squarederror", "reg_loss_param": {"scale_pos_weight": "1"}},
    }  # fmt: skip
    return {"learner": learner, "version": [3, 2, 0]}


KINDS = {
    "base_weights": "f4", "categories": "i4", "categories_nodes": "i4", "categories_segments": "i8",
    "categories_sizes": "i8", "default_left": "u1", "left_children": "i4", "loss_changes": "f4", "parents": "i4",
    "right_children": "i4", "split_conditions": "f4", "split_indices": "i4", "split_type": "u1", "sum_hessian": "f4",
}  # fmt: skip


def write_ubjson(document: dict[str, Any]) -> bytes:
    """As XGBoost: the arrays of trees are typed."""
    document = copy.deepcopy(document)
    booster = document["learner"]["gradient_booster"]
    for tree in (booster.get("gbtree", booster) if "model" not in booster else booster)["model"].get("trees", []):
        for name, kind in KINDS.items() if type(tree) is dict else ():
            if name in tree and type(tree[name]) is list:
                tree[name] = np.array(tree[name], kind)
    return write(document)


def refuse(data: bytes, reason: Reason, says: str = "") -> None:
    began = time.monotonic()
    with pytest.raises(Unscorable, match=re.escape(says) or ".") as caught:
        read_and_check(data)
    assert caught.value.reason is reason
    assert len(str(caught.value)) < 700
    assert time.monotonic() - began < patience(2)


def read_and_check(data: bytes) -> object:
    """Both steps, as a pack's maker does them."""
    try:
        model = get_last_step(reader.read_model(data))
        return read_xgboost(model.state)
    except Unscorable:
        raise
    except (AttributeError, TypeError, LookupError, ValueError, OverflowError) as error:
        raise Unscorable(UNREADABLE, str(error)) from error


TREE: dict[str, tuple[dict[str, Any], Reason]] = {
    "a child outside its tree": ({"left_children": [3, -1, -1]}, UNREADABLE),
    "a child far outside": ({"right_children": [2**31 - 1, -1, -1]}, UNREADABLE),
    "a child below 0": ({"left_children": [-2, -1, -1]}, UNREADABLE),
    "a node that is its own child": ({"left_children": [0, -1, -1]}, UNREADABLE),
    "a circle": ({"left_children": [1, 0, -1], "right_children": [2, 2, -1]}, UNREADABLE),
    "two parents": ({"left_children": [2, -1, -1]}, UNREADABLE),
    "a feature that does not exist": ({"split_indices": [3, 0, 0]}, UNREADABLE),
    "a feature below 0": ({"split_indices": [-1, 0, 0]}, UNREADABLE),
    "a threshold that is no number": ({"split_conditions": [float("nan"), 1.0, 1.0]}, UNREADABLE),
    "a leaf that is no number": ({"split_conditions": [0.5, float("nan"), 1.0]}, UNREADABLE),
    "a leaf without end": ({"split_conditions": [0.5, float("inf"), 1.0]}, UNREADABLE),
    "fewer children on the right": ({"right_children": [2, -1]}, UNREADABLE),
    "more thresholds": ({"split_conditions": [0.5] * 9}, UNREADABLE),
    "no thresholds": ({"split_conditions": []}, UNREADABLE),
    "no nodes": ({name: [] for name in KINDS}, UNREADABLE),
    "categories without any": ({"split_type": [1, 0, 0]}, UNREADABLE),
    "categories of a node outside": (
        {"categories": [1], "categories_nodes": [7], "categories_segments": [0], "categories_sizes": [1]}, UNREADABLE
    ),
    "categories outside the list": (
        {"categories": [1], "categories_nodes": [0], "categories_segments": [0], "categories_sizes": [9],
         "split_type": [1, 0, 0]}, UNREADABLE
    ),
    "categories whose end overflows": (
        {"categories": [1], "categories_nodes": [0], "categories_segments": [2**63 - 1], "categories_sizes": [2**62],
         "split_type": [1, 0, 0]}, UNREADABLE
    ),
    "a category below 0": (
        {"categories": [-1], "categories_nodes": [0], "categories_segments": [0], "categories_sizes": [1],
         "split_type": [1, 0, 0]}, UNREADABLE
    ),
    "a category beyond all": (
        {"categories": [2**24], "categories_nodes": [0], "categories_segments": [0], "categories_sizes": [1],
         "split_type": [1, 0, 0]}, UNREADABLE
    ),
    "leaves of a million values": ({"tree_param": {"size_leaf_vector": "1000000"}}, UNREADABLE),
    "leaves of values that are not there": ({"tree_param": {"size_leaf_vector": "2"}}, UNREADABLE),
    "a tree that is no object": ({"left_children": {"a": 1}}, UNREADABLE),
    "text for numbers": ({"split_indices": ["a", "b", "c"]}, UNREADABLE),
}  # fmt: skip
LEARNER: dict[str, tuple[tuple[str, ...], Any, Reason]] = {
    "no learner": (("learner",), [], UNREADABLE),
    "a version of text": (("version",), "3.2.0", UNREADABLE),
    "a version of fractions": (("version",), [3.0, 2.5], UNREADABLE),
    "no version": (("version",), None, UNREADABLE),
    "no objective": (("learner", "objective"), {}, UNREADABLE),
    "an objective that nobody knows": (("learner", "objective", "name"), "reg:mine" * 99, UNSUPPORTED),
    "an objective of classes without classes": (("learner", "objective", "name"), "multi:softprob", UNREADABLE),
    "a booster that nobody knows": (("learner", "gradient_booster", "name"), "gbforest", UNSUPPORTED),
    "linear without weights": (("learner", "gradient_booster"), {"name": "gblinear", "model": {}}, UNREADABLE),
    "linear with other weights": (
        ("learner", "gradient_booster"), {"name": "gblinear", "model": {"weights": [1.0] * 9}}, UNREADABLE
    ),
    "dart without weights": (("learner", "gradient_booster", "name"), "dart", UNREADABLE),
    "features without end": (("learner", "learner_model_param", "num_feature"), "9" * 9, LARGE),
    "features of text": (("learner", "learner_model_param", "num_feature"), "1e3", UNREADABLE),
    "features of a long text": (("learner", "learner_model_param", "num_feature"), "9" * 99999, UNREADABLE),
    "no features": (("learner", "learner_model_param", "num_feature"), "0", UNFITTED),
    "classes without end": (("learner", "learner_model_param", "num_class"), "999999999", LARGE),
    "a base score of text": (("learner", "learner_model_param", "base_score"), "[a]", UNREADABLE),
    "a base score without end": (("learner", "learner_model_param", "base_score"), "1E39", UNREADABLE),
    "three base scores": (("learner", "learner_model_param", "base_score"), "[1,2,3]", UNREADABLE),
    "a best round beyond all": (("learner", "attributes"), {"best_iteration": "2"}, UNREADABLE),
    "a best round of text": (("learner", "attributes"), {"best_iteration": "-1"}, UNREADABLE),
    "an attribute that is no JSON": (("learner", "attributes"), {"scikit_learn": "{" * 9}, UNREADABLE),
    "an attribute that is nested": (("learner", "attributes"), {"scikit_learn": "[" * 99999}, UNREADABLE),
    "rounds that go back": (("learner", "gradient_booster", "model", "iteration_indptr"), [0, 2, 1, 2], UNREADABLE),
    "rounds of other trees": (("learner", "gradient_booster", "model", "iteration_indptr"), [0, 1, 9], UNREADABLE),
    "trees of an output that does not exist": (
        ("learner", "gradient_booster", "model", "tree_info"), [0, 1], UNREADABLE
    ),
    "trees of an output below all": (("learner", "gradient_booster", "model", "tree_info"), [0, -1], UNREADABLE),
    "fewer outputs than trees": (("learner", "gradient_booster", "model", "tree_info"), [0], UNREADABLE),
    "trees that are no list": (("learner", "gradient_booster", "model", "trees"), {"n_nodes": [1]}, UNREADABLE),
    "trees that are numbers": (("learner", "gradient_booster", "model", "trees"), [1, 2], UNREADABLE),
    "names of numbers": (("learner", "feature_names"), [1, 2, 3], UNREADABLE),
    "fewer names": (("learner", "feature_names"), ["a"], UNREADABLE),
}  # fmt: skip


def change(document: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    parent = document
    for name in path[:-1]:
        parent = parent[name]
    parent[path[-1]] = value
    return document


def test_the_document_that_is_changed_below_is_a_model() -> None:
    assert read_and_check(write_ubjson(make_document()))
    assert read_and_check(json.dumps(make_document()).encode())


@pytest.mark.parametrize("name", TREE)
@pytest.mark.parametrize("form", ["ubj", "json"])
def test_a_broken_tree_is_refused(name: str, form: str) -> None:
    changes, reason = TREE[name]
    document = make_document()
    document["learner"]["gradient_booster"]["model"]["trees"][1].update(changes)
    if form == "json":
        refuse(json.dumps(document).encode(), reason)
    elif not any(type(item) is str for item in changes.get("split_indices", [])):
        refuse(write_ubjson(document), reason)


@pytest.mark.parametrize("name", LEARNER)
@pytest.mark.parametrize("form", ["ubj", "json"])
def test_a_broken_learner_is_refused(name: str, form: str) -> None:
    path, value, reason = LEARNER[name]
    document = change(make_document(), path, value)
    if form == "json":
        refuse(json.dumps(document).encode(), UNSUPPORTED if name == "no learner" else reason)
        return
    is_whole = type(document["learner"]) is dict
    data = write_ubjson(document) if is_whole and name != "trees that are no list" else write(document)
    refuse(data, UNREADABLE if path == ("learner",) else reason)


def test_a_tree_as_deep_as_its_nodes_is_refused_soon() -> None:
    count = 50_000
    lefts = [i + 2 if i % 2 == 0 and i + 2 < count else -1 for i in range(count)]
    rights = [i + 1 if left != -1 else -1 for i, left in enumerate(lefts)]
    zeros = [0] * count
    numbers = {name: zeros for name in KINDS if not name.startswith("categories")}
    tree = {**make_tree(), **numbers, "left_children": lefts, "right_children": rights}
    document = make_document()
    tree["split_indices"] = [*zeros[:-2], 2**31 - 1, 2**31 - 1]  # so that the nodes get new numbers
    document["learner"]["gradient_booster"]["model"]["trees"][0] = tree
    refuse(write_ubjson(document), UNREADABLE, "levels, got one that is deeper")


def test_json_of_brackets_that_never_close_is_refused_soon() -> None:
    for name in ("parents", "base_weights", "size_leaf_vector"):
        refuse(b'{"learner":{' + f'"{name}":['.encode() * 200_000, UNREADABLE)


def test_sets_of_categories_that_would_fill_the_memory_are_too_large() -> None:
    document = make_document(60)
    sets = {"categories": [2**24 - 1], "categories_nodes": [0], "categories_segments": [0], "categories_sizes": [1]}
    for tree in document["learner"]["gradient_booster"]["model"]["trees"]:
        tree.update({**sets, "split_type": [1, 0, 0]})
    refuse(write_ubjson(document), LARGE, "expected sets of at most")


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_is_unreadable(share: float, tmp_path: Path) -> None:
    for extension in ("ubj", "json"):
        data = save(fit_number(), tmp_path / f"a.{extension}")
        if share > 0.01:
            refuse(data[: int(len(data) * share)], UNREADABLE)


@pytest.mark.parametrize(
    ("handle", "reason"),
    [
        (b"", UNREADABLE),
        (b"{}", UNSUPPORTED),
        (b"binf", UNREADABLE),
        ("text", UNREADABLE),
        (7, UNREADABLE),
        (None, UNFITTED),
        (ParsedObject("builtins.bytearray", {"__args__": ("a", "utf-7")}), UNREADABLE),
        (ParsedObject("builtins.bytearray", {"__args__": (10**9,)}), UNREADABLE),
        (ParsedObject("numpy.number", {}), UNREADABLE),
    ],
)
def test_a_booster_without_the_bytes_of_one_is_refused(handle: Any, reason: Reason) -> None:
    from scorer.model_files.boosters.xgboost_wrappers import read_wrapper

    booster = ParsedObject("xgboost.core.Booster", {"handle": handle})
    for wrapper in (booster, ParsedObject("xgboost.sklearn.XGBRegressor", {"_Booster": booster})):
        with pytest.raises((Unscorable, ValueError, LookupError)) as caught:
            read_wrapper(wrapper)
        assert getattr(caught.value, "reason", UNREADABLE) is reason


def test_a_wrapper_that_contradicts_its_booster_is_unreadable() -> None:
    model = XGBClassifier(**SMALL).fit(X, CLASS)
    model.n_classes_ = 7
    refuse(pickle.dumps(model), UNREADABLE, "has 7 classes and its Booster 3")


def test_each_wrapper_that_is_read_exists() -> None:
    for kind in WRAPPERS:
        module, _, name = kind.rpartition(".")
        assert getattr(__import__(module, fromlist=[name]), name).__module__ == module
