"""Objects are made of a file's values by the allow-list, and of nothing else."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import skops.io
from scipy import sparse
from sklearn.ensemble import IsolationForest
from sklearn.kernel_approximation import Nystroem
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import OneClassSVM

from scorer.errors import Unscorable
from scorer.estimators import builder, loader
from scorer.model_files.allowlist import USES, Use
from scorer.model_files.parsed import Global, ObjectArray, ParsedObject
from shared.contract.reasons import Reason

DUMPS = (pickle.dumps, lambda model: pickle.dumps(model, 2), skops.io.dumps)
TRANSFORMER = "sklearn.preprocessing._function_transformer.FunctionTransformer"


def load(data: bytes) -> Any:
    return loader.load_model(data).estimator


@pytest.mark.parametrize("dump", DUMPS)
@pytest.mark.parametrize("name", sorted(name for name, use in USES.items() if use is Use.FUNCTION))
def test_each_function_of_the_list_is_the_one_that_numpy_has(name: str, dump: Any, normal: np.ndarray) -> None:
    function = getattr(np, name.rpartition(".")[2])
    model = make_pipeline(FunctionTransformer(function), StandardScaler(), OneClassSVM(nu=0.1))
    model.fit(np.nan_to_num(normal / 100))

    loaded = load(dump(model))

    assert loaded[0].func is function
    np.testing.assert_array_equal(
        loaded.decision_function(normal[:20] / 100), model.decision_function(normal[:20] / 100)
    )


@pytest.mark.parametrize(
    "old",
    [
        b"cnumpy.core._multiarray_umath\nlog1p\n",
        b"cnumpy.core\n_ufunc_reconstruct\n(X\x1c\0\0\0numpy.core._multiarray_umathX\x05\0\0\0log1ptR",
    ],
)
def test_a_function_that_numpy_1_pickled_is_the_same(old: bytes, normal: np.ndarray) -> None:
    model = make_pipeline(FunctionTransformer(np.log1p), OneClassSVM(nu=0.1)).fit(normal)
    data = pickle.dumps(model, 2)
    assert data.count(b"cnumpy\nlog1p\n") == 1

    assert load(data.replace(b"cnumpy\nlog1p\n", old))[0].func is np.log1p


def test_a_function_is_refused_anywhere_but_in_a_function_transformer(normal: np.ndarray) -> None:
    nystroem = make_pipeline(Nystroem(n_components=5, random_state=0), OneClassSVM(nu=0.1)).fit(normal)
    nystroem[0].kernel_params = {"function": [np.exp]}

    for dump in DUMPS:
        with pytest.raises(Unscorable, match=r"got numpy\.exp") as caught:
            load(dump(nystroem))
        assert caught.value.reason is Reason.UNSUPPORTED_MODEL


def test_what_only_fitting_uses_is_left_out() -> None:
    unused = ParsedObject("joblib.memory.Memory", {"location": "/"})
    pipeline = ParsedObject("sklearn.pipeline.Pipeline", {"steps": [("a", "passthrough")], "memory": unused})

    built = builder.build_estimator(pipeline)

    assert (built.memory, built.verbose, built.steps) == (None, False, [("a", "passthrough")])


def test_what_a_file_holds_once_is_built_once() -> None:
    shared = ParsedObject("sklearn.preprocessing._data.StandardScaler", {"mean_": np.arange(3.0)})
    steps = [("a", shared), ("b", shared)]

    built = builder.build_estimator(ParsedObject("sklearn.pipeline.Pipeline", {"steps": steps}))

    assert built.steps[0][1] is built.steps[1][1]
    assert built.steps[0][1].mean_.flags.writeable


def test_an_array_of_objects_keeps_its_shape_and_its_arrays() -> None:
    edges = ObjectArray([np.arange(3.0), np.arange(3.0)], (2,))

    built = builder.build_estimator(ParsedObject(TRANSFORMER, {"func": None, "edges_": edges}))

    assert (built.edges_.dtype, built.edges_.shape) == (object, (2,))
    np.testing.assert_array_equal(built.edges_[1], np.arange(3.0))


def test_a_type_is_a_value_and_a_call_is_not() -> None:
    built = builder.build_estimator(ParsedObject(TRANSFORMER, {"dtype_": Global("numpy.float32")}))

    assert built.dtype_ is np.float32
    with pytest.raises(ValueError, match="expected an object, got a call of"):
        builder.build_estimator(ParsedObject(TRANSFORMER, {"x": ParsedObject("numpy.ndarray", {"__args__": ()})}))


def test_a_tree_of_another_number_of_nodes_than_it_says_never_reaches_native_code(normal: np.ndarray) -> None:
    tree = IsolationForest(n_estimators=1, random_state=0).fit(normal).estimators_[0].tree_
    state = {"__args__": (3, np.array([1]), 1), **tree.__getstate__()}

    assert builder.build_estimator(ParsedObject("sklearn.tree._tree.Tree", dict(state))).node_count == tree.node_count
    with pytest.raises(ValueError, match="of another number of nodes than it says"):
        builder.build_estimator(ParsedObject("sklearn.tree._tree.Tree", {**state, "node_count": 1}))


@pytest.mark.parametrize("dump", DUMPS)
def test_a_model_that_was_fitted_on_sparse_rows_is_read_from_every_format(dump: Any, normal: np.ndarray) -> None:
    model = OneClassSVM(nu=0.1).fit(sparse.csr_matrix(normal))

    np.testing.assert_array_equal(load(dump(model)).decision_function(normal), model.decision_function(normal))


@pytest.mark.parametrize("dump", DUMPS)
def test_a_random_state_goes_on_where_it_was(dump: Any, normal: np.ndarray) -> None:
    random = np.random.RandomState(7)
    model = IsolationForest(n_estimators=2, random_state=random).fit(normal)

    assert load(dump(model)).random_state.randint(10**6) == random.randint(10**6)
