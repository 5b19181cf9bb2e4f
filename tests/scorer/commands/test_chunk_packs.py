"""What a chunk reads of its packs, and how many of them are in memory."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.svm import OneClassSVM

from scorer.commands import score_chunk
from scorer.packs.stored_pack import BLOCK
from scorer.storage.blob_store import Container, Folder, open_container
from shared.contract.domain import Model
from shared.contract.manifest import Manifest, PackRef
from shared.contract.paths import pack_path, report_path
from shared.contract.reasons import Reason
from shared.contract.report import Report
from shared.contract.text import make_digest
from shared.contract.windows import Window
from tests.scorer.packs.ranged import Counts, Ranged

HOUR = Window.parse("20261121T0700Z-PT1H")
N_PACKS, N_MODELS = 5, 20  # in a pack
DATA = pd.DataFrame(np.random.default_rng(7).normal(10, 1, (2500, 4)), columns=list("abcd"))
MODEL = pickle.dumps(OneClassSVM(nu=0.999).fit(DATA))
N_BYTES = 8 * 5 * 2500  # of its support vectors


class Place:
    """A chunk of five packs of twenty models of 100 KB; work is read by ranges, and counted."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.counts = root, Counts()
        for folder in ("models", "readings", "work"):
            (root / folder).mkdir()
        self.devices = [f"d{index:03}" for index in range(N_PACKS * N_MODELS)]
        for device in self.devices:
            (root / "models" / f"{device}.pkl").write_bytes(MODEL)

        def open_counted(url: str, storage: str = "") -> Container:
            container = open_container(url, storage)
            assert isinstance(container, Folder)
            return Ranged(container, self.counts) if url.endswith("work") else container

        monkeypatch.setattr(score_chunk, "open_container", open_counted)

    def run(self, attempt: int, devices: list[str]) -> tuple[Report, list[bytes]]:
        """An attempt while these devices have readings: its report, and its predictions."""
        rows = [f"2026-11-21T07:{minute:02}Z,{device},10,9,11,{minute}" for device in devices for minute in range(3)]
        (self.root / "readings" / "a.csv").write_text("\n".join(["time,device,a,b,c,d", *rows]))
        urls = [(self.root / folder).as_uri() for folder in ("models", "readings", "work")]
        fleet = tuple(Model(device, "", f"{device}.pkl", make_digest(MODEL)) for device in self.devices)
        packs = tuple(PackRef(f"p{index}", N_MODELS) for index in range(N_PACKS))
        manifest = Manifest(HOUR, "c00000", fleet, *urls, readings_path="a.csv", packs=packs)
        (self.root / "work" / "manifest").write_bytes(manifest.to_bytes())
        self.counts.requests.clear()
        self.counts.most_in_memory = self.counts.most_bytes = 0
        score_chunk.run_attempt(f"{urls[2]}/manifest", attempt)
        report = Report.from_bytes((self.root / "work" / report_path(HOUR.id, "c00000", attempt)).read_bytes())
        return report, [(self.root / "work" / part.path).read_bytes() for part in report.parts]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


def test_two_packs_are_in_memory_at_most_and_one_is_read_at_once(place: Place) -> None:
    cold, expected = place.run(1, place.devices)
    size = (place.root / "work" / pack_path("p0")).stat().st_size
    assert size > N_MODELS * N_BYTES
    assert place.counts.requests == []

    warm, data = place.run(2, place.devices)

    assert (warm.results, data) == (cold.results, expected)
    assert warm.tally.scored == N_PACKS * N_MODELS
    assert place.counts.most_in_memory == 2
    assert place.counts.most_bytes <= 2 * size
    assert [path for path, _, _ in place.counts.requests] == [pack_path(f"p{i}") for i in range(N_PACKS) for _ in "abc"]


def test_of_models_without_readings_no_numbers_are_read(place: Place) -> None:
    present = [place.devices[index] for index in (0, 1, 4 * N_MODELS + 7)]
    cold, expected = place.run(1, present)
    assert [result.reason for result in cold.results] == [
        None if device in present else Reason.NO_READINGS for device in place.devices
    ]

    warm, data = place.run(2, present)

    assert (warm.results, data) == (cold.results, expected)
    n_index = 2**15  # and more than enough
    assert place.counts.n_bytes < 3 * N_BYTES + 4 * BLOCK + N_PACKS * n_index


def test_a_chunk_whose_packs_are_damaged_has_the_same_results(place: Place) -> None:
    cold, expected = place.run(1, place.devices)
    for name in ("p0", "p3"):
        path = place.root / "work" / pack_path(name)
        data = bytearray(path.read_bytes())
        data[-N_BYTES] ^= 1
        path.write_bytes(data)

    damaged, data = place.run(2, place.devices)
    whole, again = place.run(3, place.devices)

    assert damaged.results == whole.results == cold.results
    assert data == again == expected
    assert len(place.counts.requests) == 3 * N_PACKS  # they were built again
