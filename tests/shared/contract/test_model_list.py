"""A list of models is what a tuple of them would be."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract.columns import make_texts
from shared.contract.domain import Model
from shared.contract.model_list import COLUMNS, ModelList
from shared.contract.reasons import Reason

MODELS = (
    Model("a", "", "a.skops", "1"),
    Model("a", "x", "a/x.skops", "2", Reason.AMBIGUOUS),
    Model(".", "b?.skops", "b?.skops", "3", Reason.BAD_NAME),
    Model("c", "", "c.skops", "4", Reason.QUARANTINED),
    Model("d", "y", "d/y.skops", "5", Reason.QUARANTINED),
    Model("e", "", "e.skops", "6"),
)
LIST = ModelList.from_models(MODELS)


def test_it_is_equal_to_any_sequence_of_the_same_models() -> None:
    assert LIST == MODELS
    assert MODELS == LIST
    assert list(MODELS) == LIST
    assert ModelList.from_models(reversed(MODELS)) == MODELS[::-1]
    assert hash(LIST) == hash(MODELS)
    assert (len(LIST), repr(LIST)) == (6, "ModelList(6 models)")


@pytest.mark.parametrize(
    "other",
    [MODELS[:5], (*MODELS[:5], replace(MODELS[5], etag="7")), "abcdef", range(6),
     (*MODELS[:5], replace(MODELS[5], refused=Reason.TOO_LARGE)), [None] * 6, None, 7, set(MODELS)],
)  # fmt: skip
def test_it_is_equal_to_nothing_else(other: object) -> None:
    assert other != LIST
    assert other != LIST


def test_sizes_of_files_are_dropped_and_make_no_difference() -> None:
    sized = ModelList.from_models([replace(model, size=9) for model in MODELS])
    assert sized == LIST
    assert {model.size for model in sized} == {0}


def test_a_list_is_its_own_list() -> None:
    assert ModelList.from_models(LIST) is LIST


@given(st.data())
def test_slices_of_slices_are_those_of_a_tuple(data: st.DataObject) -> None:
    models: ModelList = LIST
    expected = MODELS
    bound = st.none() | st.integers(-8, 8)
    for _ in range(3):
        part = slice(data.draw(bound), data.draw(bound))
        models, expected = models[part], expected[part]
        assert models == expected
        assert models.ids == [model.id for model in expected]
        assert models.refused == {i: model.refused for i, model in enumerate(expected) if model.refused}
        for name in COLUMNS:
            assert list(models.read_texts(name)) == [getattr(model, name) for model in expected]
        assert [models[i] for i in range(-len(expected), len(expected))] == [*expected, *expected]
        assert ModelList.from_models(expected) == models


def test_what_lies_outside_is_an_index_error() -> None:
    for models, index in ((LIST, 6), (LIST, -7), (LIST[2:4], 2), (LIST[2:4], -3), (LIST[3:3], 0)):
        with pytest.raises(IndexError):
            models[index]


def test_a_slice_has_no_steps() -> None:
    with pytest.raises(ValueError, match="expected a slice with step 1, got -1"):
        LIST[::-1]


@pytest.mark.parametrize("index", [-1, 6, 2**40])
def test_an_index_of_a_refused_model_that_is_none_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match="expected indices of 6 models, got"):
        ModelList(LIST.columns, {0: Reason.TOO_LARGE, index: Reason.TOO_LARGE})


def test_columns_of_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected columns of one length, got \[5, 6\]"):
        ModelList({**LIST.columns, "etag": make_texts(["1"] * 5)})


def test_a_lifted_reason_is_gone_and_others_stay() -> None:
    lifted = LIST.lift(Reason.QUARANTINED)
    assert lifted == tuple(
        replace(model, refused=None) if model.refused is Reason.QUARANTINED else model for model in MODELS
    )
    assert LIST[2:5].lift(Reason.QUARANTINED) == lifted[2:5]
    assert LIST == MODELS


def test_a_list_says_whether_any_model_is_of_a_sensor() -> None:
    assert LIST.has_sensors
    assert not ModelList.from_models([MODELS[0], MODELS[5]]).has_sensors
    assert ModelList.from_models([MODELS[4], replace(MODELS[4], device="e")]).has_sensors  # all of one sensor
    assert not ModelList.from_models([]).has_sensors
    assert LIST[5:].has_sensors  # it may say so of a part that has none
    assert LIST[5:].ids == ["e"]


def test_an_empty_list_is_a_list() -> None:
    empty = ModelList.from_models([])
    assert empty == ()
    assert (list(empty), empty.ids, empty.refused, empty[:9]) == ([], [], {}, ())
