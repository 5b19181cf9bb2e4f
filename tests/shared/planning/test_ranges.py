"""The devices that each chunk answers for: every device belongs to just one chunk of a run's first plan."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract.domain import Model
from shared.contract.manifest import DeviceRange
from shared.contract.model_names import Blob, IgnoredFiles, ModelNames
from shared.contract.reasons import Reason
from shared.planning.chunking import ChunkModels, add_ranges

NAMES = ModelNames()


def chunk(*ids: str) -> ChunkModels:
    return ChunkModels(tuple(Model(*f"{model}/".split("/")[:2], f"{model}.skops", "e") for model in ids))


def ranges(*chunks: ChunkModels, names: ModelNames = NAMES) -> list[tuple[str, str]]:
    bounds = [content.devices for content in add_ranges(chunks, names)]
    return [(devices.first, devices.end) for devices in bounds if devices]


def owners(device: str, *chunks: ChunkModels, names: ModelNames = NAMES) -> list[int]:
    contents = list(add_ranges(chunks, names))
    assert all(content.devices for content in contents)
    return [i for i, content in enumerate(contents) if content.devices and content.devices.includes(device, names)]


def test_a_fleet_of_one_chunk_answers_for_every_device() -> None:
    assert ranges(chunk("pump", "pump-1")) == [("", "")]
    assert ranges() == []


def test_a_bound_is_the_device_of_a_chunk_s_first_model() -> None:
    assert ranges(chunk("fan", "pump-1"), chunk("pump"), chunk("valve")) == [
        ("", "pump"), ("pump", "valve"), ("valve", ""),
    ]  # fmt: skip


def test_devices_are_compared_as_their_models_are_listed() -> None:
    """A listing has `pump-1.skops`, `pump.skops`, `pump/a.skops` in this order; as ids they sort otherwise."""
    cut = chunk("fan", "pump-1"), chunk("pump"), chunk("pump/a", "valve")
    assert owners("pump-1", *cut) == [0]
    assert owners("pump-0", *cut) == [0]
    assert owners("pump", *cut) == [2]
    assert owners("pumq", *cut) == [2]


def test_a_device_over_three_chunks_belongs_to_the_last_and_the_middle_one_answers_for_none() -> None:
    cut = chunk("fan", "pump/a"), chunk("pump/b"), chunk("pump/c", "valve")
    assert ranges(*cut) == [("", "pump"), ("pump", "pump"), ("pump", "")]
    assert owners("pump", *cut) == [2]
    assert owners("fan", *cut) == [0]


def test_a_bound_never_steps_back_though_a_listing_has_longer_names_between() -> None:
    """`pump.skops` is listed before `pump.x.skops`, and `pump/a.skops` after it."""
    cut = chunk("fan"), chunk("pump"), chunk("pump.x"), chunk("valve")
    assert ranges(*cut) == [("", "pump"), ("pump", "pump"), ("pump", "valve"), ("valve", "")]
    assert [owners(device, *cut) for device in ("pump.a", "pump.x", "pump.y", "pump")] == [[0], [0], [0], [2]]


def test_names_that_give_no_id_are_no_bounds() -> None:
    refused = ChunkModels((Model(".", "b/.skops", "b/.skops", "e", Reason.BAD_NAME),))
    assert ranges(chunk("a"), refused, chunk("c")) == [("", "c"), (".", "."), ("c", "")]
    assert ranges(refused, refused, chunk("c"), chunk("d"), refused) == [
        ("", "c"), (".", "."), ("c", "d"), ("d", ""), (".", "."),
    ]  # fmt: skip
    assert owners("b", refused, refused) == [0]


IDS = st.text("ab-./z", min_size=1, max_size=4)


@given(
    st.lists(IDS, unique=True, max_size=12),
    st.lists(st.integers(1, 4), min_size=1, max_size=12),
    IDS,
    st.sampled_from(["{device}[/{sensor}].{ext}", "{device}.{ext}", "a/{device}/{sensor}.{ext}", "{sensor}/{device}"]),
)
def test_each_device_belongs_to_just_one_chunk_whatever_the_names(
    stems: list[str], sizes: list[int], device: str, pattern: str
) -> None:
    names = ModelNames(pattern)
    blobs = [Blob(f"{stem}.skops", "e", 1) for stem in sorted(stems)]
    models = list(names.list_fleet(blobs, IgnoredFiles()))
    chunks = []
    for size in sizes * len(models):
        if models:
            chunks.append(ChunkModels(tuple(models[:size])))
            models = models[size:]
    if chunks and "/" not in device:
        assert len(owners(device, *chunks, names=names)) == 1


@pytest.mark.parametrize(("first", "end"), [("", ""), ("a", ""), ("", "b"), ("a", "b")])
def test_a_range_is_half_open(first: str, end: str) -> None:
    devices = DeviceRange(first, end)
    assert devices.includes("a", NAMES)
    assert devices.includes("b", NAMES) is (end != "b")
    assert devices.includes("0", NAMES) is (first != "a")
