"""Of a pack only what is needed is read, and what is damaged or changed among it is not believed."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.svm import OneClassSVM

from scorer.families.base import Family
from scorer.packs.cache import LoadedModels, Stores, load_models, load_numbers
from scorer.packs.stored_pack import BLOCK, from_buffer
from scorer.storage.blob_store import Folder
from scorer.storage.range_reader import GAP, join_ranges
from shared.contract.domain import Model
from shared.contract.model_list import ModelList
from shared.contract.paths import pack_path
from shared.contract.text import make_digest
from tests.scorer.packs.ranged import Counts, Ranged

N_MODELS = 200
DATA = np.random.default_rng(7).normal(size=(2500, 5))
MODELS = [pickle.dumps(OneClassSVM(nu=0.999, gamma=gamma).fit(DATA)) for gamma in (0.1, 0.2)]
N_BYTES = 8 * (9 + 10 + 6 * 2500)  # of the numbers of one: 120 KB, two blocks


class Place:
    """A fleet of large models, whose pack was written."""

    def __init__(self, root: Path) -> None:
        self.root, self.counts = root, Counts()
        for folder in ("models", "work"):
            (root / folder).mkdir()
        for index in range(N_MODELS):
            (root / "models" / f"m{index:03}.pkl").write_bytes(MODELS[index % 2])
        self.fleet = ModelList.from_models(
            Model(f"m{index:03}", "", f"m{index:03}.pkl", make_digest(MODELS[index % 2])) for index in range(N_MODELS)
        )
        self.stores = Stores(Folder(root / "models"), Ranged(Folder(root / "work"), self.counts))
        self.first = self.load(*range(N_MODELS))
        self.pack = root / "work" / pack_path("p")
        self.counts.requests.clear()

    def load(self, *needed: int, between: Callable[[], object] = lambda: None) -> LoadedModels:
        """The fleet with the numbers of some models; something happens after the index was read."""
        loaded = load_models(self.stores, "p", self.fleet)
        between()
        mask = np.isin(np.arange(N_MODELS), needed)
        return load_numbers(self.stores, "p", self.fleet, (), loaded, mask)

    def numbers(self, loaded: LoadedModels, index: int) -> list[float]:
        at, numbers = loaded.pack.numbers
        row = loaded.rows[index]
        assert loaded.pack.find_loaded()[row]
        return list(numbers[at[row] : at[row + 1]])

    def assert_right(self, loaded: LoadedModels, *needed: int) -> None:
        for index in needed:
            assert self.numbers(loaded, index) == self.numbers(self.first, index)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_of_a_pack_the_index_is_read_and_the_blocks_of_the_models_that_are_needed(place: Place) -> None:
    size = place.pack.stat().st_size
    assert size > 20 * 2**20
    loaded = place.load(3, 100, 101)

    place.assert_right(loaded, 3, 100, 101)
    assert np.flatnonzero(loaded.pack.find_loaded()).tolist() == [3, 100, 101]
    assert [name for name, _, _ in place.counts.requests] == [pack_path("p")] * 4
    assert place.counts.requests[0][1:] == (0, 64)
    index, *blocks = [end - start for _, start, end in place.counts.requests[1:]]
    assert index < 2**15
    assert all(n * N_BYTES <= n_bytes <= n * N_BYTES + 2 * BLOCK for n_bytes, n in zip(blocks, (1, 2), strict=True))


def test_where_no_model_is_needed_the_index_alone_is_read(place: Place) -> None:
    loaded = place.load()
    assert not loaded.pack.find_loaded().any()
    assert place.counts.n_bytes < 2**15
    assert (loaded.pack.get_numbers("family") == Family.RBF).all()


def test_where_most_is_needed_all_is_read_at_once(place: Place) -> None:
    place.assert_right(place.load(*range(0, N_MODELS, 2)), 0, 2, 198)
    assert len(place.counts.requests) == 3  # the head, the index, the numbers
    assert place.pack.stat().st_size - N_BYTES - 2 * BLOCK < place.counts.n_bytes <= place.pack.stat().st_size


def test_a_pack_that_changes_is_read_where_its_rows_are_kept(place: Place) -> None:
    (place.root / "models" / "m007.pkl").write_bytes(MODELS[0])
    changed = [
        Model("m007", "", "m007.pkl", make_digest(MODELS[0])) if i == 7 else m for i, m in enumerate(place.fleet)
    ]
    loaded = load_models(place.stores, "p", ModelList.from_models(changed[:40]))

    assert loaded.index is None
    assert place.numbers(loaded, 7) == place.numbers(place.first, 0)
    place.assert_right(loaded, 0, 6, 8, 39)
    assert 39 * N_BYTES < place.counts.n_bytes < 41 * N_BYTES + 2 * BLOCK + 2**15
    assert len(from_buffer(memoryview(place.pack.read_bytes()))) == 40


def find_place(place: Place, index: int) -> int:
    """Where the numbers of a model are in the file."""
    data, numbers = place.pack.read_bytes(), place.numbers(place.first, index)
    at = data.find(np.array(numbers[-1000:]).tobytes())
    assert at > 0
    return at + 100


def turn_bit(place: Place, at: int) -> None:
    """The same file, with another content, as a disk or a network would do it."""
    status = place.pack.stat()
    with place.pack.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(place.pack, ns=(status.st_atime_ns, status.st_mtime_ns))


DAMAGED = "pack=p is built again: a corrupt pack: the content of a block does not match its digest"


def test_a_damaged_block_is_noticed_where_it_is_needed_and_the_pack_is_built_again(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    good, at = place.pack.read_bytes(), find_place(place, 0)
    turn_bit(place, at)

    place.assert_right(place.load(150), 150)  # of the damaged model nothing is read
    assert not caplog.messages
    place.assert_right(place.load(0), 0, 150)

    assert caplog.messages == [DAMAGED]
    assert place.pack.read_bytes() == good
    place.assert_right(place.load(0, between=lambda: turn_bit(place, at)), 0, 150)
    assert caplog.messages == [DAMAGED, DAMAGED]
    assert place.pack.read_bytes() == good


@pytest.mark.parametrize("content", ["the same", "another node's", ""])
def test_a_pack_that_is_replaced_or_removed_between_two_ranges_is_no_pack(
    place: Place, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = place.pack.read_bytes() if content == "the same" else content.encode()

    def replace_pack() -> None:
        Folder(place.root / "work").write(pack_path("p"), data) if data else place.pack.unlink()

    place.assert_right(place.load(3, between=replace_pack), 3, 150)

    assert [message.split(": ")[0] for message in caplog.messages] == ["pack=p is built again"]
    assert ("has changed" if data else "no file") in caplog.messages[0]
    assert (place.pack.read_bytes() if place.pack.exists() else b"") == data  # what another wrote stays


def test_a_model_whose_file_changed_meanwhile_is_scored_as_it_is_now(place: Place) -> None:
    (place.root / "models" / "m000.pkl").write_bytes(MODELS[1])

    loaded = place.load(0, between=lambda: place.pack.write_bytes(b"torn"))

    assert loaded.etags == {0: make_digest(MODELS[1])}
    assert place.numbers(loaded, 0) == place.numbers(place.first, 1)


@pytest.mark.parametrize(
    ("ranges", "requests"),
    [
        ([], []),
        ([(5, 5)], []),
        ([(5, 9)], [(5, 9)]),
        ([(0, 4), (4, 8)], [(0, 8)]),
        ([(0, 4), (4 + GAP, 5 + GAP)], [(0, 5 + GAP)]),
        ([(0, 4), (5 + GAP, 6 + GAP)], [(0, 4), (5 + GAP, 6 + GAP)]),
        ([(0, 2 * GAP), (4 * GAP, 5 * GAP)], [(0, 5 * GAP)]),  # more than half of it
        ([(0, 2 * GAP), (5 * GAP, 6 * GAP)], [(0, 2 * GAP), (5 * GAP, 6 * GAP)]),
    ],
)
def test_ranges_are_read_together_where_that_is_cheaper(
    ranges: list[tuple[int, int]], requests: list[tuple[int, int]]
) -> None:
    assert join_ranges(ranges) == requests
