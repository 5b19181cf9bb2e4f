"""Which devices a chunk knows to have no model: never one that has a model in another chunk, and each in one chunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.contract.domain import Model
from shared.contract.fleet.ignored_files import IgnoredFiles
from shared.contract.fleet.listing import list_fleet
from shared.contract.manifest import DeviceRange
from shared.contract.model_names import Blob, ModelNames
from shared.planning.chunking import ChunkModels, add_ranges

NAMES = ModelNames()
PATTERNS = [
    "{device}[/{sensor}].{ext}", "{device}.{ext}", "{device}/{sensor}.{ext}", "a/{device}.{ext}", "{device}",
    "{device}-{sensor}.{ext}", "{device}[-{sensor}].{ext}", "{device}[+{sensor}].{ext}", "{device}[-{sensor}]",
    "{device}/m.{ext}", "{device}-m", "{device}.m.{ext}", "{sensor}/{device}.{ext}", "[{sensor}/]{device}.{ext}",
    "{device}{sensor}.{ext}", "{device}[/{sensor}]",
]  # fmt: skip
IDS = st.text("ab-.!+,\ue000\U00010000", min_size=1, max_size=3)
ENDINGS = st.sampled_from([".skops", ".pkl.gz", "", "/MLmodel", "/a.skops", "/b.skops", "-a.skops", "+a.skops", "-m"])
ORDERS: list[Callable[[str], object]] = [lambda name: name, lambda name: name.encode("utf-16-be")]


def split(models: Sequence[Model], sizes: Sequence[int]) -> list[ChunkModels]:
    chunks, rest = [], list(models)
    for size in list(sizes) * len(models):
        if rest:
            chunks.append(ChunkModels(tuple(rest[:size])))
            rest = rest[size:]
    return chunks


def count(chunks: Sequence[ChunkModels], devices: Sequence[str], names: ModelNames) -> Counter[str]:
    """How many of the chunks count each device as one without a model, as nodes do."""
    counted = Counter[str]()
    for chunk in add_ranges(chunks, names):
        own = {model.device for model in chunk.models}
        assert chunk.devices
        counted.update(d for d in devices if d not in own and chunk.devices.settles(d, names))
    return counted


def is_near(device: str, chunks: Sequence[ChunkModels], names: ModelNames) -> bool:
    """Whether it begins with a bound of the range that includes it, or that with it, or stores may list it so."""
    (found,) = [c.devices for c in add_ranges(chunks, names) if c.devices and c.devices.includes(device, names)]
    bounds = [bound for bound in (found.first, found.end) if bound]
    if bounds and ("\U00010000" in "".join([device, *bounds]) or "{sensor}" in names.pattern.partition("{device}")[0]):
        return True
    return any(bound.startswith(device) or device.startswith(bound) for bound in bounds)


@given(
    st.sampled_from(PATTERNS),
    st.lists(st.tuples(IDS, ENDINGS), unique=True, max_size=14),
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.lists(IDS, unique=True, max_size=8),
    st.sampled_from(ORDERS),
)
@example("{device}", [(device, "") for device in ("a", "b", "ba", "bb", "bc", "bd")], [1, 3, 2], ["bb"], ORDERS[0])
@example(
    "{device}.{ext}",
    [("a", ".skops"), ("b", "/MLmodel"), ("b.a", ".skops"), ("b.b", ".skops")],
    [1, 2],
    ["b.b"],
    ORDERS[0],
)
@example("{sensor}/{device}.{ext}", [("a", "/a.skops"), ("a", "/c.skops"), ("b", "/b.skops")], [2], ["c"], ORDERS[0])
@example("{device}[+{sensor}].{ext}", [("b", ".skops"), ("b-a", ".skops"), ("b-b", ".skops")], [1], ["b-b"], ORDERS[0])
@example(PATTERNS[0], [("\U00010000a", ".skops"), ("\U00010000b", ".skops"), ("\ue000", ".skops")], [2],
         ["\U00010000b"], ORDERS[1])  # fmt: skip
def test_a_device_is_counted_once_and_only_without_a_model(
    pattern: str,
    stems: list[tuple[str, str]],
    sizes: list[int],
    devices: list[str],
    order: Callable[[str], object],
) -> None:
    names = ModelNames(pattern)
    prefix = "a/" if pattern.startswith("a/") else ""
    blobs = [Blob(f"{prefix}{stem}{ending}", "e", 1) for stem, ending in stems]
    models = list(list_fleet(sorted(blobs, key=lambda blob: order(blob.name)), names, IgnoredFiles()))  # type: ignore[arg-type, return-value]
    chunks = split(models, sizes)
    if not chunks:
        return
    modelled = {model.device for model in models}
    readings = sorted({*devices, *(model.device for model in models), *(stem for stem, _ in stems)} - {"."})
    counted = count(chunks, readings, names)
    assert not counted.keys() & modelled
    assert set(counted.values()) <= {1}
    certain = [d for d in readings if d not in modelled and not is_near(d, chunks, names)]
    assert [d for d in certain if counted[d] != 1] == []


def chunk(*ids: str) -> ChunkModels:
    return ChunkModels(tuple(Model(device, "", f"{device}.skops", "e") for device in ids))


def test_devices_without_a_model_are_counted_beside_those_that_begin_with_a_bound() -> None:
    chunks = [chunk("fan"), chunk("pump"), chunk("valve")]
    assert count(chunks, ["fan-2", "motor", "pump-1", "pump1", "zero"], NAMES) == {
        "fan-2": 1, "motor": 1, "pump-1": 1, "pump1": 1, "zero": 1,
    }  # fmt: skip


def test_a_device_that_a_listing_may_have_on_either_side_of_a_bound_is_not_counted() -> None:
    """`pump.x.skops` is listed behind `pump.skops`, where the next chunk begins, and before `pump/a.skops`."""
    chunks = [chunk("fan"), chunk("pump", "pump.x"), chunk("valve")]
    assert count(chunks, ["pump.x", "pump.y"], NAMES) == {}
    assert count([chunk("fan", "pump", "pump.x", "valve")], ["pump.x", "pump.y"], NAMES) == {"pump.y": 1}


def test_the_first_device_of_a_range_has_a_model_in_an_earlier_chunk() -> None:
    chunks = [chunk("fan"), chunk("pump"), chunk("pump.x"), chunk("valve")]
    ranges = [content.devices for content in add_ranges(chunks, NAMES)]
    assert ranges[2] == DeviceRange("pump", "valve")
    assert count(chunks, ["pump"], NAMES) == {}


@pytest.mark.parametrize(("first", "end", "empty"), [("", "", False), ("", "a", False), ("a", "a", True)])
def test_a_range_without_devices_says_so(first: str, end: str, empty: bool) -> None:
    assert DeviceRange(first, end).is_empty is empty
