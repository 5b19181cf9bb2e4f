"""Texts of LightGBM are read as numbers in each form in which people keep them, and no other text passes for one."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import re
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import joblib
import lightgbm
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scorer.errors import Unscorable
from scorer.families.trees.lightgbm import read_lightgbm
from scorer.model_files import parsed, reader
from scorer.model_files.boosters import lightgbm_text, lightgbm_trees
from scorer.model_files.boosters.lightgbm_text import CLASSIFIER, REGRESSOR, read_text
from scorer.model_files.mlflow_folder import find_model_file
from scorer.model_files.parsed import ParsedObject
from shared.contract.reasons import Reason
from tests.scorer.families.lightgbm_models import CLASS, ROWS, TARGET, WITH_GAPS, train
from tests.scorer.families.reference_trees import sum_leaves
from tests.scorer.model_files.test_reader import to_joblib, unzipped, zipped

QUIET: dict[str, Any] = {"n_estimators": 4, "num_leaves": 4, "verbose": -1, "n_jobs": 1, "min_child_samples": 3}
TEXT = train("regression", WITH_GAPS, [4]).model_to_string().encode()
LINEAR = train("linear", WITH_GAPS, [4], 2).model_to_string().encode()
FIRST, END = TEXT.index(b"Tree=0\n"), TEXT.index(b"end of trees")
HEAD, TREES, TAIL = TEXT[:FIRST], TEXT[FIRST:END], TEXT[END:]
FITTED = lightgbm.LGBMRegressor(**QUIET).fit(ROWS, TARGET)


def score(model: ParsedObject, rows: np.ndarray) -> np.ndarray:
    """Raw scores of what a file ends in."""
    return sum_leaves(read_lightgbm(parsed.get_last_step(model).state), rows)[:, 0]


def judge(data: bytes) -> Unscorable | None:
    """Why a file is refused, by the reader or by the checks behind it; None where it is read."""
    try:
        model = reader.read_model(data)
        try:
            read_lightgbm(model.state)
        except (LookupError, ValueError) as error:
            raise Unscorable(Reason.UNREADABLE_MODEL, str(error)) from error
    except Unscorable as error:
        return error
    return None


def resize(text: bytes) -> bytes:
    """The text with tree sizes that fit, as one who changes it on purpose would have it."""
    blocks = re.findall(rb"Tree=.*?\n\n\n", text, re.DOTALL)
    sizes = b" ".join(b"%d" % len(block) for block in blocks)
    return re.sub(rb"tree_sizes=.*", b"tree_sizes=" + sizes, text)


def edit(pattern: str, replacement: str, text: bytes = TEXT, count: int = 1) -> bytes:
    changed, n_changes = re.subn(pattern.encode(), replacement.encode(), text, count=count)
    assert n_changes
    return resize(changed)


def test_the_head_says_what_the_model_is() -> None:
    model = reader.read_model(TEXT)
    assert model.kind == REGRESSOR
    assert model.state["n_features_in_"] == 5
    assert model.state["objective"] == "regression"
    assert model.state["release"] == "v4"
    assert "feature_names_in_" not in model.state
    assert "classes_" not in model.state


@pytest.mark.parametrize(
    ("name", "kind", "classes"),
    [
        ("binary", CLASSIFIER, [0, 1]),
        ("multiclass", CLASSIFIER, [0, 1, 2]),
        ("one-vs-all", CLASSIFIER, [0, 1, 2]),
        ("cross_entropy", REGRESSOR, None),
        ("lambdarank", REGRESSOR, None),
    ],
)
def test_the_objective_says_what_a_bare_booster_does(name: str, kind: str, classes: list[int] | None) -> None:
    model = reader.read_model(train(name).model_to_string().encode())
    assert model.kind == kind
    assert (model.state["classes_"].tolist() if "classes_" in model.state else None) == classes


def test_names_of_columns_are_read() -> None:
    frame = pd.DataFrame(ROWS, columns=["motor_temp", "\u00f8l", "c=d", "d", "e"])
    booster = lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(frame, TARGET), 2)
    model = reader.read_model(booster.model_to_string().encode())
    assert model.state["feature_names_in_"] == ["motor_temp", "\u00f8l", "c=d", "d", "e"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_text_is_read_in_any_compression_and_with_the_line_ends_of_windows(pack: Callable[[bytes], bytes]) -> None:
    expected = score(reader.read_model(TEXT), WITH_GAPS)
    for data in (TEXT, TEXT.replace(b"\n", b"\r\n")):
        np.testing.assert_array_equal(score(reader.read_model(pack(data)), WITH_GAPS), expected)


def test_a_custom_objective_leaves_raw_scores() -> None:
    def compute_gradient(scores: np.ndarray, data: Any) -> tuple[np.ndarray, np.ndarray]:
        return scores - data.get_label(), np.ones(len(scores))

    data = lightgbm.Dataset(ROWS, TARGET)
    booster = lightgbm.train({"verbose": -1, "num_threads": 1, "objective": compute_gradient}, data, 3)
    model = reader.read_model(booster.model_to_string().encode())
    assert model.state["objective"] in ("", "custom")
    np.testing.assert_array_equal(score(model, ROWS), booster.predict(ROWS))


def test_trees_with_and_without_sets_and_splits_are_read_one_by_one() -> None:
    booster = train("regression", ROWS, [4], 3)
    stump = train("no-split", ROWS).model_to_string().encode()
    block = re.search(rb"Tree=0\n(.*?\n\n\n)", stump, re.DOTALL)
    assert block
    text = booster.model_to_string().encode()
    joined = resize(text.replace(b"end of trees", b"Tree=3\n" + block[1] + b"end of trees"))
    leaf = read_text(stump).state["trees"]["leaf_value"][0]
    np.testing.assert_array_equal(score(reader.read_model(joined), ROWS), booster.predict(ROWS) + leaf)


def dump_skops(model: Any) -> bytes:
    return bytes(skops.io.dumps(model))


DUMPS = [*(lambda model, p=p: pickle.dumps(model, p) for p in (2, 4, 5)), to_joblib, dump_skops]  # type: ignore[misc]


@pytest.mark.parametrize("dump", DUMPS, ids=["pickle-2", "pickle-4", "pickle-5", "joblib", "skops"])
def test_what_holds_a_booster_scores_as_the_library(dump: Callable[[Any], bytes]) -> None:
    search = GridSearchCV(lightgbm.LGBMRegressor(**QUIET), {"num_leaves": [3, 4]}, cv=2).fit(ROWS, TARGET)
    pipeline = make_pipeline(StandardScaler(), lightgbm.LGBMRegressor(**QUIET)).fit(ROWS, TARGET)
    scaled = StandardScaler().fit_transform(ROWS)
    ranker = lightgbm.LGBMRanker(**QUIET).fit(ROWS, CLASS, group=[120, 120])
    for model, rows in (
        *((fitted, ROWS) for fitted in (FITTED, FITTED.booster_, search, ranker)),
        (pipeline, scaled),
        (make_pipeline(StandardScaler(), clone(pipeline)).fit(ROWS, TARGET), StandardScaler().fit_transform(scaled)),
    ):
        data = dump(model)
        np.testing.assert_array_equal(score(reader.read_model(data), rows), model.predict(ROWS))
    bundle = reader.read_file(dump({"model": FITTED, "features": list("abcde"), "threshold": None}))
    np.testing.assert_array_equal(score(bundle.estimator, ROWS), FITTED.predict(ROWS))
    assert bundle.features == tuple("abcde")


def test_a_dict_with_defaults_in_a_skops_file_names_nothing_that_is_not_trusted() -> None:
    entries = unzipped(dump_skops(FITTED))
    schema = entries["schema.json"].decode()
    assert '"DefaultDictNode"' in schema
    for old, new in (("OrderedDict", "Popen"), ("collections", "subprocess")):
        error = judge(zipped(entries | {"schema.json": schema.replace(old, new).encode()}))
        assert error is not None
        assert error.reason is Reason.UNTRUSTED_MODEL


@pytest.mark.parametrize("dump", DUMPS, ids=["pickle-2", "pickle-4", "pickle-5", "joblib", "skops"])
@pytest.mark.parametrize(
    "names", [["low", "mid", "high"], [3, 5, 9], [1.0, 2.0, 7.0], np.array(["a", "b", "c"], object)]
)
def test_a_classifier_has_the_classes_that_it_was_fitted_on(dump: Callable[[Any], bytes], names: Any) -> None:
    model = lightgbm.LGBMClassifier(**QUIET).fit(ROWS, np.asarray(names)[CLASS])
    state = reader.read_model(dump(model)).state
    ensemble = read_lightgbm(state)
    best = np.argmax(sum_leaves(ensemble, ROWS), axis=1)
    assert [state["classes_"][i] for i in best.tolist()] == model.predict(ROWS).tolist()


@pytest.mark.parametrize("keep", [True, False])
def test_early_stopping_decides_how_many_rounds_predict(keep: bool) -> None:
    data, noise = lightgbm.Dataset(ROWS, TARGET), np.random.default_rng(3).normal(size=len(ROWS))
    booster = lightgbm.train(
        {"verbose": -1, "num_threads": 1, "learning_rate": 0.9}, data, 30,
        valid_sets=[data.create_valid(ROWS, noise)],
        callbacks=[lightgbm.early_stopping(2, verbose=False)], keep_training_booster=keep,
    )  # fmt: skip
    assert 0 < booster.best_iteration < booster.current_iteration() or not keep
    for content in (pickle.dumps(booster), booster.model_to_string().encode()):
        np.testing.assert_array_equal(score(reader.read_model(content), ROWS), booster.predict(ROWS))
    everything = booster.model_to_string(num_iteration=-1).encode()
    np.testing.assert_array_equal(
        score(reader.read_model(everything), ROWS), booster.predict(ROWS, num_iteration=10**6)
    )


def compute_loss(expected: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return scores - expected, np.ones(len(scores))


@pytest.mark.parametrize(
    ("model", "reason", "message"),
    [
        (lightgbm.LGBMRegressor(), Reason.UNFITTED_MODEL, "this LGBMRegressor was never fitted"),
        (lightgbm.LGBMClassifier(), Reason.UNFITTED_MODEL, "this LGBMClassifier was never fitted"),
        (make_pipeline(StandardScaler(), lightgbm.LGBMRegressor()), Reason.UNFITTED_MODEL, "never fitted"),
        (
            lightgbm.LGBMRegressor(**QUIET, pred_early_stop=True).fit(ROWS, TARGET),
            Reason.UNSUPPORTED_MODEL,
            "expected a LGBMRegressor that asks all of its trees, got one with pred_early_stop",
        ),
        (
            lightgbm.LGBMRegressor(**QUIET, objective=compute_loss).fit(ROWS, TARGET),
            Reason.UNTRUSTED_MODEL,
            "compute_loss, which is not on the allow-list",
        ),
        (lightgbm.LGBMClassifier(**QUIET).fit(ROWS, np.zeros(240)), Reason.UNSUPPORTED_MODEL, "more than one class"),
        (lightgbm.LGBMClassifier(**QUIET, objective="poisson").fit(ROWS, CLASS > 1), Reason.UNSUPPORTED_MODEL, "poi"),
        (lightgbm.Dataset, Reason.UNSUPPORTED_MODEL, "got one with lightgbm.basic.Dataset"),
    ],
)
def test_what_cannot_be_scored_is_refused_as_what_it_is(model: Any, reason: Reason, message: str) -> None:
    error = judge(pickle.dumps(model))
    assert error is not None
    assert error.reason is reason
    assert message in str(error)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"_n_features_in", b"_n_features_im"),  # harmless: what is not there contradicts nothing
        (b"_Booster", b"_Boostex"),
        (b"_handle", b"_hendle"),
    ],
)
def test_a_wrapper_without_a_part_is_no_crash(old: bytes, new: bytes) -> None:
    error = judge(pickle.dumps(FITTED).replace(old, new))
    assert error is None or error.reason in (Reason.UNFITTED_MODEL, Reason.UNREADABLE_MODEL)


def test_a_wrapper_whose_parts_contradict_each_other_is_refused() -> None:
    model = lightgbm.LGBMClassifier(**QUIET).fit(ROWS, np.array(["a", "b", "c"])[CLASS])
    model._classes = np.array(["a", "c", "b"])
    error = judge(pickle.dumps(model))
    assert error is not None
    assert "its classes are others than those of its encoder" in str(error)
    model = lightgbm.LGBMRegressor(**QUIET).fit(ROWS, TARGET)
    model._n_features = 4
    error = judge(pickle.dumps(model))
    assert error is not None
    assert "expected 5 as _n_features, got 4" in str(error)


@pytest.mark.parametrize("values", [[3, 5, 9, 12], [0, 1, 2, 3], ["a", "b", "c", "d"]])
def test_categories_of_a_frame_are_refused_since_the_file_does_not_say_whose_they_are(values: list[Any]) -> None:
    """Columns a and b change places, and with them whose values are codes: the lists of categories stay the same."""
    codes = np.random.default_rng(1).integers(0, 4, 200)
    column = pd.Series(np.array(values, object)[codes])
    plain = pd.Series(np.random.default_rng(2).integers(0, 4, 200))
    ordered = column.astype(pd.CategoricalDtype(sorted(values), ordered=True))
    texts = []
    for frame, categorical in (
        (pd.DataFrame({"a": column.astype("category"), "b": plain}), ["a"]),
        (pd.DataFrame({"a": plain, "b": ordered}), ["a"]),
    ):
        data = lightgbm.Dataset(frame, codes, categorical_feature=categorical)
        booster = lightgbm.train({"verbose": -1, "num_threads": 1}, data, 2)
        for content in (booster.model_to_string().encode(), pickle.dumps(booster)):
            error = judge(content)
            assert error is not None
            assert error.reason is Reason.UNSUPPORTED_MODEL
            assert "got one fitted on a frame with category columns, and its file does not say which" in str(error)
        texts.append(booster.model_to_string())
    lists, named = (
        [re.search(pattern, text) for text in texts] for pattern in (r"pandas_categorical:.*", r"\[categorical_fea.*")
    )
    assert [match and match[0] for match in lists] == [f"pandas_categorical:{json.dumps([sorted(values)])}"] * 2
    assert len({match and match[0] for match in named}) == 1


MANY = " ".join(["1"] * 10**6)
HOSTILE: dict[str, bytes] = {
    "nothing-but-the-head": HEAD,
    "no-end-of-trees": HEAD + TREES,
    "end-of-trees-alone": HEAD + TREES + b"end of trees\n",
    "cut-in-the-parameters": TEXT[: TEXT.index(b"[num_leaves")],
    "cut-in-the-categories": TEXT[:-4],
    "cut-before-the-categories": TEXT[: TEXT.rindex(b"categorical:")],
    "text-behind-the-end": TEXT + b"more\n",
    "categories-twice": TEXT + b"pandas_categorical:null\n",
    "categories-of-numbers": TEXT.replace(b"categorical:null", b"categorical:[1]"),
    "categories-of-an-object": TEXT.replace(b"categorical:null", b"categorical:{}"),
    "categories-nested": TEXT.replace(b"categorical:null", b"categorical:" + b"[" * 10**5),
    "head-key-twice": TEXT.replace(b"label_index=0\n", b"label_index=0\nlabel_index=0\n"),
    "head-key-unknown": TEXT.replace(b"label_index=0\n", b"label_indes=0\n"),
    "version-5": TEXT.replace(b"version=v4", b"version=v5"),
    "version-1": TEXT.replace(b"version=v4", b"version=v1"),
    "version-of-text": TEXT.replace(b"version=v4", b"version=four"),
    "version-missing": TEXT.replace(b"version=v4\n", b""),
    "features-fewer": TEXT.replace(b"max_feature_idx=4", b"max_feature_idx=3"),
    "features-many": TEXT.replace(b"max_feature_idx=4", b"max_feature_idx=999999999"),
    "features-of-text": TEXT.replace(b"max_feature_idx=4", b"max_feature_idx=\xc2\xb2"),
    "features-below-zero": TEXT.replace(b"max_feature_idx=4", b"max_feature_idx=-1"),
    "feature-used-that-is-none": edit(r"split_feature=\d", "split_feature=5"),
    "feature-below-zero": edit(r"split_feature=\d", "split_feature=-1"),
    "feature-huge": edit(r"split_feature=\d", "split_feature=4294967296"),
    "names-equal": TEXT.replace(b"Column_1 ", b"Column_0 "),
    "names-empty": TEXT.replace(b"Column_1 ", b" "),
    "names-not-utf-8": TEXT.replace(b"Column_1 ", b"Column\xff1 "),
    "classes-many": TEXT.replace(b"num_tree_per_iteration=1", b"num_tree_per_iteration=999999999"),
    "classes-none": TEXT.replace(b"num_class=1", b"num_class=0").replace(b"iteration=1", b"iteration=0"),
    "classes-that-do-not-divide": TEXT.replace(b"num_class=1", b"num_class=4").replace(b"iteration=1", b"iteration=4"),
    "sizes-of-a-million-trees": re.sub(rb"tree_sizes=.*", b"tree_sizes=" + MANY.encode(), TEXT),
    "sizes-too-large": re.sub(rb"tree_sizes=\d+", b"tree_sizes=999999999", TEXT),
    "sizes-negative": re.sub(rb"tree_sizes=\d+", b"tree_sizes=-5", TEXT),
    "sizes-of-long-digits": re.sub(rb"tree_sizes=\d+", b"tree_sizes=" + b"9" * 10**5, TEXT),
    "sizes-one-off": re.sub(rb"tree_sizes=(\d+)", lambda match: b"tree_sizes=%d" % (int(match[1]) + 1), TEXT),
    "sizes-one-fewer": re.sub(rb"tree_sizes=\d+ ", b"tree_sizes=", TEXT),
    "trees-swapped": TEXT.replace(b"Tree=0\n", b"Tree=9\n").replace(b"Tree=1\n", b"Tree=0\n").replace(b"=9\n", b"=1\n"),
    "tree-twice": TEXT.replace(b"Tree=1\n", b"Tree=0\n"),
    "leaves-a-billion": edit(r"num_leaves=\d+", "num_leaves=999999999"),
    "leaves-none": edit(r"num_leaves=\d+", "num_leaves=0"),
    "leaves-below-zero": edit(r"num_leaves=\d+", "num_leaves=-7"),
    "leaves-fewer": edit(r"num_leaves=\d+", "num_leaves=2"),
    "leaf-values-fewer": edit(r"leaf_value=\S+ ", "leaf_value="),
    "leaf-value-missing": edit(r"leaf_value=.*\n", ""),
    "leaf-value-empty": edit(r"leaf_value=.*\n", "leaf_value=\n"),
    "leaf-value-twice": edit(r"(leaf_value=.*\n)", r"\1\1"),
    "leaf-value-nan": edit(r"leaf_value=\S+", "leaf_value=nan"),
    "leaf-value-infinite": edit(r"leaf_value=\S+", "leaf_value=1e999"),
    "leaf-value-of-text": edit(r"leaf_value=\S+", "leaf_value=one"),
    "leaf-value-with-tab": edit(r"(leaf_value=\S+) ", "\\1\t"),
    "leaf-values-with-two-spaces": edit(r"(leaf_value=\S+) ", r"\1  "),
    "leaf-values-a-million": edit(r"leaf_value=.*", f"leaf_value={MANY}"),
    "threshold-nan": edit(
        r"decision_type=.*\n", "decision_type=2 2 2 2 2 2\n", edit(r"threshold=\S+", "threshold=nan")
    ),
    "child-is-itself": edit(r"left_child=\S+", "left_child=0"),
    "child-is-the-root": edit(r"(right_child=\S+ \S+) \S+", r"\1 0"),
    "child-twice": edit(r"left_child=\S+ \S+", "left_child=1 1"),
    "child-outside": edit(r"left_child=\S+", "left_child=99"),
    "child-is-a-leaf-outside": edit(r"left_child=\S+", "left_child=-99"),
    "child-in-the-next-tree": edit(r"left_child=\S+", "left_child=13"),
    "child-huge": edit(r"left_child=\S+", "left_child=-9223372036854775808"),
    "child-beyond-int64": edit(r"left_child=\S+", "left_child=9223372036854775808"),
    "child-fractional": edit(r"left_child=\S+", "left_child=1.5"),
    "decision-type-unknown": edit(r"decision_type=\S+", "decision_type=12"),
    "decision-type-negative": edit(r"decision_type=\S+", "decision_type=-1"),
    "sets-many": edit(r"num_cat=[1-9]\d*", "num_cat=999999999"),
    "sets-none-but-words": edit(r"num_cat=[1-9]\d*", "num_cat=0"),
    "set-bounds-back": edit(r"cat_boundaries=0", "cat_boundaries=7"),
    "set-bounds-beyond": edit(r"(cat_boundaries=.*) \d+\n", "\\1 999999999\n"),
    "set-bounds-that-overflow": edit(
        r"num_cat=2\n((?:.*\n)*?)cat_boundaries=.*",
        "num_cat=5\n\\1cat_boundaries=0 9223372036854775807 -9223372036854775808 -1 0 2",
    ),
    "set-word-negative": edit(r"cat_threshold=\d+", "cat_threshold=-1"),
    "set-word-too-wide": edit(r"cat_threshold=\d+", "cat_threshold=4294967296"),
    "set-asked-that-is-none": edit(r"decision_type=.*\n", "decision_type=1 1 1 1 1 1\n"),
    "key-unknown": edit(r"shrinkage=", "shrinkape="),
    "lines-a-million": edit(r"shrinkage=1\n", "shrinkage=1\n" + "\n" * 10**6),
    "linear-without-terms": edit(r"is_linear=0", "is_linear=1"),
    "linear-of-2": edit(r"is_linear=1", "is_linear=2", LINEAR),
    "linear-terms-fewer": edit(r"num_features=\d+", "num_features=9", LINEAR),
    "linear-terms-negative": edit(r"num_features=\d+", "num_features=-1", LINEAR),
    "linear-terms-huge": edit(r"num_features=\d+", "num_features=9223372036854775807", LINEAR),
    "linear-feature-outside": edit(
        r"leaf_features=(\s*)\d", r"leaf_features=\g<1>77", LINEAR[LINEAR.index(b"tree") :], 2
    ),
    "linear-constant-infinite": edit(r"leaf_const=\S+", "leaf_const=inf", LINEAR),
    "linear-constants-fewer": edit(r"leaf_const=\S+ ", "leaf_const=", LINEAR),
    "objective-unknown": TEXT.replace(b"objective=regression", b"objective=sphere"),
    "objective-of-classes": TEXT.replace(b"objective=regression", b"objective=multiclass num_class:2"),
    "sigmoid-of-zero": TEXT.replace(b"objective=regression", b"objective=binary sigmoid:0"),
    "sigmoid-of-text": TEXT.replace(b"objective=regression", b"objective=binary sigmoid:x"),
}
REASONS = {
    "version-5": Reason.INCOMPATIBLE_MODEL,
    "version-1": Reason.INCOMPATIBLE_MODEL,
    "sizes-of-a-million-trees": Reason.TOO_LARGE,
    "objective-unknown": Reason.UNSUPPORTED_MODEL,
    "leaves-a-billion": Reason.TOO_LARGE,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_changed_text_is_refused_with_a_reason_soon(name: str) -> None:
    assert len(HOSTILE[name]) < 10**7
    start = time.process_time()
    error = judge(HOSTILE[name])
    assert time.process_time() - start < 2
    assert error is not None
    assert error.reason is REASONS.get(name, Reason.UNREADABLE_MODEL)
    assert len(str(error)) < 400


@pytest.mark.parametrize("text", [TEXT, LINEAR], ids=["plain", "linear"])
def test_a_text_that_is_cut_anywhere_is_refused(text: bytes) -> None:
    """But for the last bytes: of a text of the command line or of R, the end of the parameters is the end."""
    end = text.index(b"\nend of parameters\n") + len(b"\nend of parameters\n")
    last = text.index(b"categorical:null") + len(b"categorical:null")
    allowed = {end, end + 1, last}
    for size in [*range(900), *range(900, len(text), 7), *range(end - 20, len(text))]:
        assert (judge(text[:size]) is None) == (size in allowed or size >= len(text)), size


def test_claims_cost_no_memory() -> None:
    for name in (
        "leaves-a-billion",
        "sets-many",
        "features-many",
        "classes-many",
        "sizes-too-large",
        "linear-terms-huge",
    ):
        tracemalloc.start()
        judge(HOSTILE[name])
        assert tracemalloc.get_traced_memory()[1] < 5 * 2**20, name
        tracemalloc.stop()


def test_more_trees_and_leaves_than_a_model_has_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(lightgbm_text, "MOST_TREES"), (lightgbm_trees, "MOST_LEAVES"), (lightgbm_trees, "MOST_WORDS")]
    for module, limit in limits:
        with monkeypatch.context() as patch:
            patch.setattr(module, limit, 1)
            error = judge(TEXT)
            assert error is not None
            assert error.reason is Reason.TOO_LARGE


def test_damaged_texts_are_read_or_refused() -> None:
    seconds = 4.0
    random = np.random.default_rng(7)
    tokens = [b"-1", b"0", b"1", b"99999999999", b"nan", b"1e308", b" ", b"\n", b"=", b"", b"\xff", b"4294967295"]
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        changed = bytearray((TEXT, LINEAR)[int(random.integers(0, 2))])
        for _ in range(int(random.integers(1, 4))):
            at = int(random.integers(0, len(changed)))
            changed[at : at + int(random.integers(0, 4))] = tokens[int(random.integers(0, len(tokens)))]
        data = bytes(changed) if random.random() < 0.5 else resize(bytes(changed))
        began = time.process_time()
        error = judge(data)
        assert time.process_time() - began < 2
        if error is None:
            assert len(score(reader.read_model(data), WITH_GAPS[:20])) == 20


MLMODEL = """
flavors:
  lightgbm:
    code: null
    data: %s
    lgb_version: 4.7.0
    model_class: lightgbm.sklearn.LGBMClassifier
    serialization_format: skops
    skops_trusted_types: [lightgbm.sklearn.LGBMClassifier, os.system]
  python_function: {data: model.skops, loader_module: mlflow.lightgbm}
"""


@pytest.mark.parametrize("path", ["model.skops", "model.lgb", "model.pkl"])
def test_mlmodel_names_the_file_of_a_booster(path: str) -> None:
    assert find_model_file((MLMODEL % path).encode()) == path


def test_another_path_of_a_booster_is_refused() -> None:
    with pytest.raises(Unscorable, match=r"expected data as a path in the folder, got '\.\./model\.lgb'"):
        find_model_file((MLMODEL % "../model.lgb").encode())


def test_joblib_writes_what_the_reader_reads() -> None:
    buffer = io.BytesIO()
    joblib.dump(FITTED, buffer, compress=3)
    np.testing.assert_array_equal(score(reader.read_model(buffer.getvalue()), ROWS), FITTED.predict(ROWS))
