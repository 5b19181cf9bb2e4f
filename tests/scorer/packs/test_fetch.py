"""The files of one model are fetched as they belong together, also while somebody replaces them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from scorer.errors import Unscorable
from scorer.packs.fetch import Stores, fetch_files
from scorer.storage.blob_store import Content, Folder
from shared.contract.domain import Model, ModelFile
from shared.contract.model_names import make_files_etag
from shared.contract.reasons import Reason

NAMES = ("pump.skops", "pump.features.json")


@dataclass
class Replaced:
    """A folder in which somebody writes files after each read, as long as there are steps."""

    folder: Folder
    steps: list[Mapping[str, bytes]]

    def read(self, path: str, limit: int | None = None) -> Content:
        content = self.folder.read(path, limit)
        for name, data in (self.steps.pop(0) if self.steps else {}).items():
            self.folder.write(name, data)
        return content


def make_model(folder: Folder) -> Model:
    files = tuple(ModelFile(name, folder.read(name).etag) for name in sorted(NAMES))
    return Model("pump", "", NAMES[0], make_files_etag(files), files=files)


@pytest.mark.parametrize(
    "steps",
    [
        [{NAMES[0]: b"model 2"}, {NAMES[1]: b"side 2"}],  # the model was read before, the sidecar before its own change
        [{NAMES[0]: b"model 2", NAMES[1]: b"side 2"}],
        [{}, {NAMES[0]: b"model 1.5"}, {NAMES[0]: b"model 2"}, {NAMES[1]: b"side 2"}],
    ],
)
def test_a_model_and_its_sidecar_are_of_one_moment(steps: list[Mapping[str, bytes]], tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write(NAMES[0], b"model 1")
    folder.write(NAMES[1], b"side 1")
    model = make_model(folder)
    store = Replaced(folder, [*steps])

    (content,) = fetch_files(Stores(store, folder), [model])  # type: ignore[arg-type]  # only read is called

    pair = content.data, content.companions[NAMES[1]]  # type: ignore[union-attr]
    assert pair in ((b"model 1", b"side 1"), (b"model 2", b"side 2"))
    now = make_model(folder)
    assert content.etag == (model.etag if pair[0] == b"model 1" else now.etag)  # type: ignore[union-attr]


def test_files_that_are_others_at_each_read_are_refused(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for name in NAMES:
        folder.write(name, b"0")
    model = make_model(folder)
    folder.write(NAMES[0], b"changed since")
    store = Replaced(folder, [{NAMES[0]: str(number).encode()} for number in range(1, 100)])

    (error,) = fetch_files(Stores(store, folder), [model])  # type: ignore[arg-type]  # only read is called

    assert isinstance(error, Unscorable)
    assert error.reason is Reason.UNREADABLE_MODEL
    assert str(error) == "expected files that belong together, got others at each of 5 reads"
