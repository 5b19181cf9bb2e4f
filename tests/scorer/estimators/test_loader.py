"""The door for model files: what may come in, and what each thing that may not is called."""

import importlib
import io
import json
import os
import pickle
import pickletools
import zipfile
import zlib
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor, IsolationForest, RandomForestRegressor
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from scorer.errors import Unscorable
from scorer.estimators import loader
from scorer.model_files import allowlist
from scorer.model_files.allowlist import Use
from shared.contract.reasons import Reason
from tests.scorer.fleets import DETECTORS


def refusal(data: bytes, **limits: int) -> tuple[Reason, str]:
    with pytest.raises(Unscorable) as caught:
        loader.load_model(data, **limits)
    return caught.value.reason, str(caught.value)


@pytest.fixture
def svm(normal: np.ndarray) -> OneClassSVM:
    return OneClassSVM(nu=0.1).fit(normal)


class Payload:
    """Pickled, it is a call of anything."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("wrap", [pickle.dumps, "joblib", "inside an array of a joblib file", "zlib"])
def test_a_pickle_that_would_touch_a_file_is_refused_before_it_does(wrap: Any, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    payload = Payload(os.open, str(marker), os.O_CREAT)
    buffer = io.BytesIO()
    match wrap:
        case "joblib":
            joblib.dump([np.zeros(3), payload], buffer)
        case "inside an array of a joblib file":
            joblib.dump(np.array([payload], dtype=object), buffer)
        case "zlib":
            buffer.write(zlib.compress(pickle.dumps(payload)))
        case _:
            buffer.write(wrap(payload))

    reason, message = refusal(buffer.getvalue())

    assert reason is Reason.UNTRUSTED_MODEL
    assert message == "the pickle names posix.open, which is not on the allow-list"
    assert not marker.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("operator", "attrgetter"),
        ("numpy", "load"),
        ("numpy", "fromfile"),
        ("joblib", "load"),
        ("joblib.numpy_pickle", "NDArrayWrapper"),
        ("joblib.numpy_pickle_compat", "ZNDArrayWrapper"),
        ("sklearn.svm._classes", "OneClassSVM.fit"),
        ("sklearn.svm._classes", "np.load"),
        ("sklearn.utils", "_testing.SkipTest"),
        ("sklearn.datasets", "load_files"),
        ("subprocess", "Popen"),
    ],
)
@pytest.mark.parametrize("opcodes", ["global", "stack global"])
def test_a_global_that_is_not_on_the_list_is_refused_by_name(module: str, name: str, opcodes: str) -> None:
    if opcodes == "global":
        data = b"\x80\x03c" + f"{module}\n{name}\n".encode() + b"."
    else:
        texts = b"".join(b"\x8c" + bytes([len(t)]) + t.encode() for t in (module, name))
        data = b"\x80\x04" + texts + b"\x93."

    assert refusal(data) == (
        Reason.UNTRUSTED_MODEL,
        f"the pickle names {module}.{name}, which is not on the allow-list",
    )


def _build(module: str, name: str, attribute: str) -> bytes:
    """A pickle that names a global and sets an attribute of it, by BUILD with a state for slots."""
    key = b"\x8c" + bytes([len(attribute)]) + attribute.encode()
    return b"\x80\x04c" + f"{module}\n{name}\n".encode() + b"N}" + key + b"K\x01s\x86b."


@pytest.mark.parametrize(
    ("module", "name"),
    [
        tuple(name.rsplit(".", 1))
        for name, use in sorted(allowlist.USES.items())
        if use in (Use.ESTIMATOR, Use.PART, Use.FUNCTION, Use.READ)
        and "_reconstruct" not in name
        and "_RemainderColsList" not in name  # which the installed release has no more
    ],
)
def test_no_pickle_changes_a_shared_object(module: str, name: str) -> None:
    shared = getattr(importlib.import_module(module), name)

    with pytest.raises(Unscorable):
        loader.load_model(_build(module, name, "poison"))

    assert not hasattr(shared, "poison")


def test_an_array_of_objects_is_not_laid_over_bytes() -> None:
    # numpy.ndarray(shape, dtype, buffer) called by a pickle would make pointers of them.
    calls = pickle.dumps(Payload(np.ndarray, (1,), "O", b"\x41" * 8))

    assert refusal(calls)[0] is Reason.UNREADABLE_MODEL


def test_an_untrusted_type_in_a_skops_file_is_refused_by_name(svm: OneClassSVM) -> None:
    source = io.BytesIO(skops.io.dumps(svm))
    with zipfile.ZipFile(source) as archive:
        parts = {entry: archive.read(entry) for entry in archive.namelist()}
    schema = json.loads(parts["schema.json"])
    schema["content"]["content"]["kernel"] = {
        "__class__": "system",
        "__module__": "os",
        "__loader__": "FunctionNode",
        "content": {"module_path": "os", "function": "system"},
        "__id__": 1,
    }
    parts["schema.json"] = json.dumps(schema).encode()
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w") as archive:
        for entry, content in parts.items():
            archive.writestr(entry, content)

    reason, message = refusal(changed.getvalue())

    assert reason is Reason.UNTRUSTED_MODEL
    assert "os.system" in message


def test_an_empty_file_says_so() -> None:
    assert refusal(b"") == (Reason.EMPTY_MODEL, "the file is empty")


def test_a_file_over_the_limit_says_so(svm: OneClassSVM) -> None:
    too_large = (Reason.TOO_LARGE, "expected at most 0 MiB, got more")

    assert refusal(pickle.dumps(svm), size_limit=1000) == too_large
    assert refusal(zlib.compress(bytes(10**6)), size_limit=10**5) == too_large
    assert refusal(skops.io.dumps(make_pipeline(StandardScaler(), svm), compression=8), size_limit=15_000) == too_large


@pytest.mark.parametrize("dump", [pickle.dumps, skops.io.dumps, lambda m: zlib.compress(pickle.dumps(m))])
def test_a_file_cut_anywhere_is_unreadable(dump: Any, svm: OneClassSVM) -> None:
    data = dump(svm)

    for end in range(1, len(data) - 1, len(data) // 40):
        assert refusal(data[:end])[0] is Reason.UNREADABLE_MODEL, end


def test_noise_is_unreadable() -> None:
    assert refusal(b"<html>not found</html>") == (
        Reason.UNREADABLE_MODEL,
        (
            "expected skops, a pickle of protocol 2 or later, a text of LightGBM or a model of XGBoost as "
            "UBJSON or JSON, got HTML, such as the page of an error or a sign-in: "
            "it begins with '<html>not found</html>'"
        ),
    )
    assert refusal(b"\x80\x04\xff\xff")[0] is Reason.UNREADABLE_MODEL


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (
            {"a": 1},
            "expected a model and what belongs to it under usual keys, got the key 'a': see docs/models.md, Bundles",
        ),
        (
            StandardScaler(),
            (
                "expected a model that predicts (a detector, a regressor, a classifier, a clusterer), "
                "got a StandardScaler: fit a Pipeline of it and such a model, and save that; a scaler of a model X is "
                "named X.scaler.*"
            ),
        ),
    ],
)
def test_what_is_no_model_is_refused(thing: Any, message: str, normal: np.ndarray) -> None:
    if hasattr(thing, "fit"):
        thing.fit(normal)

    assert refusal(pickle.dumps(thing)) == (Reason.UNSUPPORTED_MODEL, message)


def test_a_local_outlier_factor_without_novelty_says_how_to_fit_it(normal: np.ndarray) -> None:
    for dump in (pickle.dumps, skops.io.dumps):
        reason, message = refusal(dump(LocalOutlierFactor().fit(normal)))

        assert reason is Reason.NOT_NOVELTY
        assert "fit it with novelty=True" in message


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_a_detector_that_was_never_fitted_is_refused(name: str) -> None:
    unfitted = clone(DETECTORS[name])

    assert refusal(pickle.dumps(unfitted)) == (Reason.UNFITTED_MODEL, f"this {name} was never fitted")
    assert refusal(pickle.dumps(make_pipeline(StandardScaler(), unfitted)))[0] is Reason.UNFITTED_MODEL


def _bad_support_vectors(svm: Any) -> None:
    svm.support_vectors_ = svm.support_vectors_[:1]


def _no_support_vectors(svm: Any) -> None:
    svm.support_vectors_ = np.empty((0, 3))


def _bad_counts(svm: Any) -> None:
    svm._n_support = np.array([10**6, 10**6], np.int32)


def _bad_coefficients(svm: Any) -> None:
    svm._dual_coef_ = svm._dual_coef_[:, :1]


def _bad_intercept(svm: Any) -> None:
    svm._intercept_ = np.array([np.nan])


def _bad_width(svm: Any) -> None:
    svm.n_features_in_ = 4


def _bad_type(svm: Any) -> None:
    svm.support_ = None


@pytest.mark.parametrize(
    "damage",
    [
        _bad_support_vectors,
        _no_support_vectors,
        _bad_counts,
        _bad_coefficients,
        _bad_intercept,
        _bad_width,
        _bad_type,
    ],
)
@pytest.mark.parametrize("dump", [pickle.dumps, skops.io.dumps])
def test_a_support_vector_machine_that_contradicts_itself_is_refused(damage: Any, dump: Any, svm: OneClassSVM) -> None:
    damage(svm)

    reason, message = refusal(dump(svm))

    assert reason is Reason.UNREADABLE_MODEL
    assert message.startswith("its parts contradict each other: ")


def test_a_forest_whose_trees_point_outside_themselves_is_refused(normal: np.ndarray) -> None:
    forest = IsolationForest(n_estimators=2, random_state=0).fit(normal)
    tree = forest.estimators_[1].tree_
    tree.children_left[0] = 10**6

    assert refusal(pickle.dumps(forest))[0] is Reason.UNREADABLE_MODEL


def test_a_tree_of_neighbours_is_built_again_and_not_read(normal: np.ndarray) -> None:
    lof = LocalOutlierFactor(novelty=True).fit(normal)
    scores = lof.decision_function(normal)
    lof._tree.get_arrays()[1][0] = 10**6  # native code would read outside its memory

    loaded = loader.load_model(pickle.dumps(lof)).estimator

    np.testing.assert_array_equal(loaded.decision_function(normal), scores)


def test_a_model_of_another_version_is_loaded_and_says_so(svm: OneClassSVM) -> None:
    older = pickle.dumps(svm).replace(b"1.9.1", b"1.8.0")

    silent = pickle.dumps(svm).replace(b"_sklearn_version", b"_sklearn_versium")

    assert loader.judge_model(older).made_by == "1.8.0"
    assert loader.judge_model(silent).made_by == "unknown"
    assert loader.judge_model(pickle.dumps(svm)).made_by == ""


@pytest.mark.parametrize(
    ("model", "field"),
    [
        (IsolationForest(n_estimators=2, random_state=0), b"n_node_samples"),
        (RandomForestRegressor(n_estimators=2, random_state=0), b"left_child"),
        (HistGradientBoostingRegressor(max_iter=2), b"num_threshold"),
    ],
)
def test_a_model_that_another_version_made_differently_is_incompatible(
    model: Any, field: bytes, normal: np.ndarray
) -> None:
    data = pickle.dumps(model.fit(normal, normal[:, 0]))
    older = data.replace(b"1.9.1", b"0.9.1").replace(field, field[:-1] + b"_")

    reason, message = refusal(older)

    assert reason is Reason.INCOMPATIBLE_MODEL
    assert message.startswith("made by scikit-learn 0.9.1, which ")


@pytest.mark.data
def test_the_original_models_name_six_globals_and_load(seed: Path) -> None:
    named = set()
    for path in sorted((seed / "models").iterdir()):
        data = path.read_bytes()
        named |= {arg for code, arg, _ in pickletools.genops(data) if code.name == "GLOBAL"}
        detector = loader.load_model(data)
        assert loader.judge_model(data).made_by == "0.19.2"
        assert detector.estimator.decision_function([[10.0]]).shape == (1,)

    assert named == {
        "numpy dtype",
        "numpy ndarray",
        "numpy.core.multiarray _reconstruct",
        "sklearn.pipeline Pipeline",
        "sklearn.preprocessing.data StandardScaler",
        "sklearn.svm.classes OneClassSVM",
    }
