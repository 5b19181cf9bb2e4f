"""A judged model in its compact form is the same inert values again; other bytes are errors, and name nothing else."""

from __future__ import annotations

import json
import pickle
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import BaggingRegressor, VotingRegressor
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.tree import DecisionTreeRegressor

from scorer.errors import Unscorable
from scorer.estimators import loader
from scorer.model_files import compact, reader
from scorer.model_files.compact import CompactModel
from scorer.model_files.parsed import Global, ObjectArray, ParsedObject
from shared.contract.reasons import Reason

ROWS = np.random.default_rng(5).normal(size=(40, 3))
PAIR = [("line", Ridge()), ("tree", DecisionTreeRegressor(max_depth=4, random_state=0))]
MODELS: dict[str, Any] = {
    "a pipeline": make_pipeline(PolynomialFeatures(), Ridge()),
    "a vote": VotingRegressor(PAIR),
    "trees": BaggingRegressor(n_estimators=3, random_state=0),
}
SCALER = "sklearn.preprocessing._data.StandardScaler"


def same(found: Any, expected: Any) -> None:
    """AssertionError where a value, its type or its order in memory differs."""
    assert type(found) is type(expected)
    match expected:
        case ParsedObject():
            assert found.kind == expected.kind
            same(found.state, expected.state)
        case dict():
            assert list(map(repr, found)) == list(map(repr, expected))
            for key in expected:
                same(found[key], expected[key])
        case np.ndarray():
            assert (found.dtype, found.shape, found.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())
            assert found.flags.f_contiguous == expected.flags.f_contiguous
        case list() | tuple():
            assert getattr(found, "shape", None) == getattr(expected, "shape", None)
            for item, other in zip(found, expected, strict=True):
                same(item, other)
        case _:
            assert repr(found) == repr(expected)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_the_same_again_and_models_of_one_kind_share_a_skeleton(name: str) -> None:
    skeletons = set()
    for scale in (1.0, 2.5):
        model = reader.read_model(pickle.dumps(MODELS[name].fit(ROWS, ROWS[:, 0] * scale)))
        form = compact.to_bytes(model)
        same(compact.read_compact(form), model)
        skeletons.add(form[8 : 8 + int.from_bytes(form[:4], "little")])

    assert len(skeletons) == (1 if name != "trees" else len(skeletons))  # of trees each may have another number


def test_what_only_fitting_uses_is_left_out() -> None:
    model = reader.read_model(pickle.dumps(KNeighborsRegressor(algorithm="kd_tree").fit(ROWS, ROWS[:, 0])))

    again = compact.read_compact(compact.to_bytes(model))

    assert again.state["_tree"].kind == model.state["_tree"].kind
    assert (again.state.pop("_tree").state, bool(model.state.pop("_tree").state)) == ({}, True)
    same(again, model)


def test_each_kind_of_value_is_the_same_again_and_what_is_used_twice_is_one() -> None:
    once = [1, "x"]
    fields = np.array([(1, 2.0)], np.dtype({"names": ["a", "b"], "formats": ["<i8", "<f8"], "offsets": [0, 8]}))
    state = {
        "numbers": [0, -1, 2**62, 0.1, -0.0, float("inf"), True, False, None, "text \N{OHM SIGN}"],
        "keys": {1: "a", 1.5: "b", "1": "c"},
        "arrays": (np.asfortranarray(ROWS), ROWS[:0], np.array(3.5), np.array(["a", "bc"]), np.array([True]), fields),
        "objects": ObjectArray([np.arange(2), None], (2,)),
        "types": (Global("numpy.float32"), ()),
        "twice": [once, once, {"thrice": once}],
    }

    again = compact.read_compact(compact.to_bytes(ParsedObject(SCALER, state)))

    same(again.state, state)
    first, second, third = again.state["twice"]
    assert first is second is third["thrice"]


def test_what_has_no_such_form_has_none() -> None:
    circle: list[Any] = []
    circle.append(circle)
    large = [np.zeros(2**14)] * 9  # each time its bytes would be written
    for value in (circle, 2**63, b"bytes", Global("os.system"), ParsedObject("os.system", {}), ["x" * 2**15], large):
        assert compact.to_bytes(ParsedObject(SCALER, {"value": value})) == b""


@pytest.mark.parametrize("shape", [(b"x",), b"x", Global(SCALER), (1, (1, 1)), -1, (2**31,), (1,) * 9, True, None, "1"])
def test_an_array_of_objects_whose_shape_is_none_has_no_form(shape: Any) -> None:
    """The shape of such an array is what the file says."""
    model = ParsedObject(SCALER, {"value": ObjectArray([1.0], shape)})

    assert compact.to_bytes(model) == b""


def test_what_is_written_again_is_counted_before_it_is_written() -> None:
    """A text or a key that a small file names many times is many texts in a skeleton."""
    text = "x" * 1000
    for value in ([text] * 17, [{text: number} for number in range(17)]):
        writer = compact._Writer()
        with pytest.raises(compact._NotCompact):
            writer.describe(value)
        assert writer._n_characters <= compact.SKELETON_LIMIT + len(text)


def forge(skeleton: Any, *cells: int, body: bytes = b"") -> bytes:
    """A compact form of any skeleton."""
    text = json.dumps(skeleton).encode()
    text += b" " * (-len(text) % 8)
    return compact._HEAD.pack(len(text), len(cells)) + text + np.array(cells, "<i8").tobytes() + body


def has(value: Any) -> Any:
    return ["o", SCALER, ["x"], value]


FORGED = {
    "another name": forge(["o", "os.system", []]),
    "another function": forge(has(["g", "builtins.eval"])),
    "a name that is none": forge(has(["g", ["numpy.float32"]])),
    "no object": forge(["l"]),
    "an array of objects": forge(has(["a", "|O", "C", 1]), 1, body=bytes(8)),
    "an array of more than there is": forge(has(["a", "<f8", "C", 1]), 2**40),
    "an array of less than nothing": forge(has(["a", "<f8", "C", 2]), -1, -1),
    "an array of any dimensions": forge(has(["a", "<f8", "C", -1])),
    "a value that comes later": forge(["o", SCALER, ["x", "y"], ["r", 0], ["m", ["t"], 0]]),
    "an unknown letter": forge(has(["z"])),
    "an unknown number": forge(has(7), 1),
    "fewer numbers": forge(has(1)),
    "more numbers": forge(has(0), 1, 2),
    "bytes that belong to nothing": forge(has(0), 1, body=bytes(8)),
    "no json": b"\4\0\0\0\0\0\0\0nope\0\0\0\0",
    "nothing": b"",
    "too deep": compact._HEAD.pack(30_000, 0) + b"[" * 30_000,
    "too long": compact._HEAD.pack(2**30, 0),
}


@pytest.mark.parametrize("data", FORGED.values(), ids=FORGED)
def test_a_forged_form_is_an_unreadable_model(data: bytes) -> None:
    with pytest.raises(Unscorable) as caught:
        loader.restore_model(CompactModel(data, "e", (), "1.9.1"))

    assert caught.value.reason is Reason.UNREADABLE_MODEL


FORM = compact.to_bytes(reader.read_model(pickle.dumps(MODELS["a vote"].fit(ROWS, ROWS[:, 0]))))


@given(st.data())
def test_whatever_is_changed_in_a_form_it_is_a_model_or_a_refusal(data: st.DataObject) -> None:
    changed = bytearray(FORM)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, 1500))] = data.draw(st.integers(0, 255))
    with suppress(Unscorable):
        restored = loader.restore_model(CompactModel(bytes(changed), "e", (), "1.9.1"))
        assert type(restored.content.bundle.estimator) is ParsedObject
