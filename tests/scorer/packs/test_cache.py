"""Packs are a cache: refreshed a row at a time, written once, and nothing depends on them."""

import pickle
import tracemalloc
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import SGDOneClassSVM
from sklearn.neighbors import LocalOutlierFactor

from scorer.packs import cache
from scorer.packs.cache import LoadedModels, Stores, load_models
from scorer.packs.stored_pack import from_buffer
from scorer.storage.blob_store import Content, Folder
from scorer.storage.range_reader import MappedBlob
from shared.contract.domain import Model
from shared.contract.errors import Malformed, Unavailable
from shared.contract.model_list import ModelList
from shared.contract.paths import pack_path
from shared.contract.reasons import Reason
from shared.contract.text import make_digest

DATA = np.random.default_rng(7).normal(size=(60, 3))
LINES = [pickle.dumps(SGDOneClassSVM(random_state=0, nu=nu).fit(DATA)) for nu in (0.1, 0.5)]
KEPT = pickle.dumps(LocalOutlierFactor(metric="canberra", novelty=True, n_neighbors=3).fit(DATA[:10]))
CORRUPT = LINES[0][:100]


class Cut(Exception):
    """The process dies here."""


@dataclass
class Watched:
    """A folder that counts what is asked of it, and may end the process before or after a call."""

    folder: Folder
    calls: list[str] = field(default_factory=list)
    cut: int | None = None
    after: bool = False
    fail: str = ""  # the call that the store does not answer

    def _call(self, name: str, path: str, *given: object) -> object:
        self.calls.append(f"{name} {path}")
        if name == self.fail:
            raise Unavailable(f"{name}: not today")
        here = len(self.calls) - 1 == self.cut
        if here and not self.after:
            raise Cut
        result = getattr(self.folder, name)(path, *given)
        if here:
            raise Cut
        return result

    def read(self, path: str, most: int | None = None) -> Content:
        return self._call("read", path, most)  # type: ignore[return-value]

    def map(self, path: str) -> MappedBlob:
        return self._call("map", path)  # type: ignore[return-value]

    def exchange(self, path: str, data: bytes, state: str | None) -> bool:
        return self._call("exchange", path, data, state)  # type: ignore[return-value]

    def create(self, path: str, data: bytes) -> bool:
        return self._call("create", path, data)  # type: ignore[return-value]

    def list(self, prefix: str) -> list[str]:
        raise NotImplementedError

    def write(self, path: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
        raise NotImplementedError


@dataclass
class Place:
    """A folder of models and one of packs."""

    root: Path
    files: dict[str, bytes]

    def __post_init__(self) -> None:
        for folder in ("models", "work"):
            (self.root / folder).mkdir()
        for name, data in self.files.items():
            self.put(name, data)

    def put(self, name: str, data: bytes) -> None:
        self.files[name] = data
        (self.root / "models" / f"{name}.pkl").write_bytes(data)

    def fleet(self) -> ModelList:
        """As it would be planned now."""
        return ModelList.from_models(
            Model(name, "", f"{name}.pkl", make_digest(data)) for name, data in sorted(self.files.items())
        )

    def stores(self, **given: object) -> tuple[Stores, Watched]:
        """Both folders, watched as one."""
        watched = Watched(Folder(self.root / "models"), **given)  # type: ignore[arg-type]
        work = replace(watched, folder=Folder(self.root / "work"))
        work.calls = watched.calls
        return Stores(watched, work), watched

    @property
    def pack(self) -> Path:
        return self.root / "work" / pack_path("p")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, {"a": LINES[0], "b": CORRUPT, "c": KEPT, "d": LINES[1]})


def told(ready: LoadedModels) -> list[object]:
    """What each model of a portion is known as."""
    answers: list[object] = []
    for place, row in enumerate(ready.rows.tolist()):
        refusal = ready.refusals.get(place) or (ready.pack.get_refusal(row) if row >= 0 else None)
        if refusal:
            answers.append(refusal.reason)
        elif row < 0:
            answers.append(None)
        else:
            at, numbers = ready.pack.numbers
            answers.append((numbers[at[row] : at[row + 1]].tolist(), ready.pack.get_content(row).data))
    return answers


def test_a_fleet_that_does_not_change_reads_one_blob(place: Place) -> None:
    stores, watched = place.stores()
    first = load_models(stores, "p", place.fleet())
    assert sorted(watched.calls) == [
        "exchange packs/p.pack", "map packs/p.pack", "read a.pkl", "read b.pkl", "read c.pkl", "read d.pkl",
    ]  # fmt: skip
    stores, watched = place.stores()
    again = load_models(stores, "p", place.fleet())
    assert watched.calls == ["map packs/p.pack"]
    assert told(again) == told(first)
    assert told(first)[1] == Reason.UNREADABLE_MODEL
    assert told(first)[2] == ([], KEPT)


def test_without_a_name_there_is_no_pack(place: Place) -> None:
    stores, watched = place.stores()
    ready = load_models(stores, "", place.fleet())
    assert sorted(watched.calls) == ["read a.pkl", "read b.pkl", "read c.pkl", "read d.pkl"]
    assert told(ready) == told(load_models(place.stores()[0], "p", place.fleet()))


def test_of_ten_thousand_models_only_what_changed_came_or_went_is_touched(tmp_path: Path) -> None:
    place = Place(tmp_path, {f"m{i:05d}": LINES[0] for i in range(10_000)})
    load_models(place.stores()[0], "p", place.fleet())
    place.put("m05000", LINES[1])
    place.put("m05000x", LINES[1])
    del place.files["m07000"]
    stores, watched = place.stores()
    ready = load_models(stores, "p", place.fleet())
    assert sorted(watched.calls) == [
        "exchange packs/p.pack", "map packs/p.pack", "read m05000.pkl", "read m05000x.pkl",
    ]  # fmt: skip
    assert told(ready)[4_999:5_002] == [told(ready)[0], told(ready)[5_001], told(ready)[5_001]]
    assert told(ready)[0] != told(ready)[5_000]
    assert len(ready.pack) == 10_000
    stores, watched = place.stores()
    assert told(load_models(stores, "p", place.fleet())) == told(ready)
    assert watched.calls == ["map packs/p.pack"]


@pytest.mark.parametrize(("limit", "loaded"), [(1, 1), (150, 2), (300, 3), (10**6, 4)])
def test_only_so_many_models_are_loaded_as_fit_together(
    limit: int, loaded: int, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_models(place.stores()[0], "", place.fleet())
    monkeypatch.setattr(cache, "PACKED_BYTES", limit)
    place.put("c", LINES[1])  # three of 144 bytes, and the broken one
    expected = load_models(place.stores()[0], "", place.fleet())
    for _ in range(2):  # without the pack, and with it
        stores, watched = place.stores()
        models = load_models(stores, "p", place.fleet())
        assert len(models.rows) == len(expected.rows) <= len(whole.rows)
        assert told(models) == told(expected)
    assert watched.calls == ["map packs/p.pack"]
    assert len(models.rows) == loaded


def test_what_was_carried_or_refused_is_not_fetched(place: Place) -> None:
    first, *others = place.fleet()
    fleet = ModelList.from_models([replace(first, refused=Reason.QUARANTINED), *others])
    stores, watched = place.stores()
    ready = load_models(stores, "p", fleet, excluded=[1, 3])
    assert [call for call in watched.calls if call.startswith("read")] == ["read c.pkl"]
    assert told(ready) == [Reason.QUARANTINED, None, ([], KEPT), None]
    assert len(from_buffer(memoryview(place.pack.read_bytes()))) == 1
    load_models(place.stores()[0], "p", place.fleet())
    assert len(from_buffer(memoryview(place.pack.read_bytes()))) == 4


def test_a_model_that_is_gone_or_changed_since_the_plan_is_told(place: Place) -> None:
    fleet = place.fleet()
    (place.root / "models" / "a.pkl").unlink()
    place.put("d", LINES[0])
    ready = load_models(place.stores()[0], "p", fleet)
    assert ready.refusals[0].reason is Reason.MODEL_REMOVED
    assert ready.etags == {3: make_digest(LINES[0])}
    del place.files["a"]
    stores, watched = place.stores()
    assert told(load_models(stores, "p", place.fleet())) == told(ready)[1:]
    assert watched.calls == ["map packs/p.pack"]  # under its new etag it is there already


def test_a_large_file_is_held_until_it_is_scored_and_never_stored(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "STORED_BYTES", len(KEPT) - 1)
    first = load_models(place.stores()[0], "p", place.fleet())
    assert {index: content.data for index, content in first.contents.items()} == {2: KEPT}
    assert (told(first)[2], first.pack.is_kept.tolist()) == (([], b""), [False, False, True, False])
    assert not first.pack.has_file.any()
    stores, watched = place.stores()
    again = load_models(stores, "p", place.fleet())
    assert (again.contents, told(again), watched.calls) == ({}, told(first), ["map packs/p.pack"])
    monkeypatch.setattr(cache, "HELD_BYTES", 2 * len(KEPT) - 1)
    place.put("e", KEPT)
    place.put("f", KEPT)
    more = load_models(place.stores()[0], "p", place.fleet())
    assert (list(more.contents), more.pack.is_kept.tolist()[4:]) == ([4], [True, True])


def test_a_new_pack_holds_its_files_twice_at_most(tmp_path: Path) -> None:
    detector = LocalOutlierFactor(novelty=True, n_neighbors=3, algorithm="brute")
    file = pickle.dumps(detector.fit(np.random.default_rng(1).normal(size=(600, 3))))
    models = [Model(f"d{index:02}", "", f"d{index:02}.pkl", "1") for index in range(80)]
    (tmp_path / "models").mkdir()
    for model in models:
        (tmp_path / "models" / model.name).write_bytes(file)
    stores = Stores(Folder(tmp_path / "models"), Folder(tmp_path / "work"))
    tracemalloc.start()
    try:
        load_models(stores, "p", ModelList.from_models(models))
        assert tracemalloc.get_traced_memory()[1] < 2.5 * len(models) * len(file)
    finally:
        tracemalloc.stop()


def test_a_file_that_is_too_large_is_not_read(place: Place) -> None:
    stores, _ = place.stores()
    ready = load_models(replace(stores, size_limit=len(KEPT) - 1), "p", place.fleet())
    assert ready.refusals[2].reason is Reason.TOO_LARGE
    assert f"got {len(KEPT)} bytes" in str(ready.refusals[2])


@pytest.mark.parametrize("junk", [b"", b"PAR1", b"fleetscore pack\n" + bytes(100)], ids=["empty", "foreign", "torn"])
def test_a_pack_that_cannot_be_used_is_made_anew(place: Place, junk: bytes) -> None:
    expected = told(load_models(place.stores()[0], "p", place.fleet()))
    good = place.pack.read_bytes()
    place.pack.write_bytes(junk)
    assert told(load_models(place.stores()[0], "p", place.fleet())) == expected
    assert place.pack.read_bytes() == good


@pytest.mark.parametrize("call", ["map", "exchange"])
def test_a_store_that_does_not_answer_for_packs_costs_the_pack_only(place: Place, call: str) -> None:
    expected = told(load_models(place.stores()[0], "", place.fleet()))
    assert told(load_models(place.stores(fail=call)[0], "p", place.fleet())) == expected
    assert not place.pack.exists()


def test_a_store_that_does_not_answer_for_models_is_the_job_s_trouble(place: Place) -> None:
    with pytest.raises(Unavailable):
        load_models(place.stores(fail="read")[0], "p", place.fleet())


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_point_of_a_refresh_nothing_is_lost(place: Place, *, after: bool) -> None:
    load_models(place.stores()[0], "p", place.fleet())
    place.put("d", LINES[0])
    place.put("e", LINES[1])
    expected = told(load_models(place.stores()[0], "", place.fleet()))
    old = place.pack.read_bytes()
    for cut in range(10):
        place.pack.write_bytes(old)
        try:
            load_models(place.stores(cut=cut, after=after)[0], "p", place.fleet())
        except Cut:
            assert told(load_models(place.stores()[0], "p", place.fleet())) == expected
            continue
        assert cut == 4  # map, two reads, exchange
        return
    pytest.fail("there was no end to it")


def test_of_two_nodes_at_once_one_writes_and_both_go_on(place: Place) -> None:
    load_models(place.stores()[0], "p", place.fleet())
    place.put("d", LINES[0])
    slow, _ = place.stores()
    mapped = slow.work.map(pack_path("p"))
    quick = load_models(place.stores()[0], "p", place.fleet())
    written = place.pack.read_bytes()
    assert not slow.work.exchange(pack_path("p"), b"what the slow one made", mapped.state)
    assert not slow.work.exchange(pack_path("p"), b"what the slow one made", None)
    assert place.pack.read_bytes() == written
    assert told(load_models(slow, "p", place.fleet())) == told(quick)
    with pytest.raises(Malformed):
        from_buffer(memoryview(b"what the slow one made"))
