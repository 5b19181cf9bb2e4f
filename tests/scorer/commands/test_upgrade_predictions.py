"""`fleetscore predictions upgrade`: old files become new ones, rows stay, and whatever is not ours is left alone."""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from azure.storage.blob import ContainerClient

from scorer.__main__ import main
from scorer.commands.desk import upgrade_predictions
from scorer.predictions.rows import PredictionRows
from scorer.predictions.table import SCHEMA, SCHEMAS, PartWriter, identify_schema, to_parquet, to_table, upgrade_table
from scorer.storage.blob_store import Container, Folder, MappedFile
from shared.contract.domain import Model, Original
from shared.contract.model_list import ModelList
from shared.contract.paths import prediction_path
from shared.contract.windows import Window

MODELS = ModelList.from_models([Model("a", "x", "", "1"), Model("b", "", "", "2")])


def make_table(hour: int) -> pa.Table:
    value = np.array([1.5, 2.5, np.nan])
    rows = PredictionRows(
        np.arange(2), np.array([2, 1]), hour * 3_600_000_000 + np.arange(3), value, np.arange(3.0), np.ones(3, bool)
    )
    return to_table(MODELS, MODELS.read_texts("etag"), [rows])


def name(hour: int) -> str:
    return prediction_path(Window.parse(f"20261121T{hour:02}00Z-PT1H"), "c00000", 0)


def fill(root: Path) -> dict[str, bytes]:
    """Three hours of schema 1 and one of schema 2; returns the files."""
    files = {name(hour): to_parquet(make_table(hour), 2 if hour == 9 else 1) for hour in (7, 8, 9, 10)}
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True)
        (root / path).write_bytes(data)
    return files


def read(data: bytes) -> pa.Table:
    return pq.read_table(pa.BufferReader(data))


def upgrade(location: object, *more: str) -> int:
    return main(["predictions", "upgrade", str(location), *more])


def snapshot(root: Path) -> dict[str, tuple[bytes, int]]:
    """The content and the inode of each file."""
    return {
        path.relative_to(root).as_posix(): (path.read_bytes(), path.stat().st_ino)
        for path in root.rglob("*")
        if path.is_file()
    }


def test_old_files_are_rewritten_with_the_same_rows_and_new_ones_are_not_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, old = fill(tmp_path), snapshot(tmp_path)

    assert upgrade(tmp_path) == 0

    after = snapshot(tmp_path)
    assert after.keys() == before.keys()
    assert after[name(9)] == old[name(9)]
    for path, data in before.items():
        table = read(after[path][0])
        assert table.schema.equals(SCHEMA)
        assert table.equals(upgrade_table(read(data)))
    summary = f"3 files upgraded, 1 were of schema 2, 0 refused, 0 changed meanwhile, in {tmp_path}\n"
    assert capsys.readouterr().out == summary


def test_a_second_call_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path)
    upgrade(tmp_path)
    before = snapshot(tmp_path)

    assert upgrade(tmp_path) == 0

    assert snapshot(tmp_path) == before
    assert capsys.readouterr().out.splitlines()[-1].startswith("0 files upgraded, 4 were of schema 2, 0 refused")


def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path)
    before = snapshot(tmp_path)

    assert upgrade(tmp_path, "--dry-run") == 0

    assert snapshot(tmp_path) == before
    assert capsys.readouterr().out.startswith("3 files would be upgraded, 1 were of schema 2, 0 refused, 0 changed")


def test_row_groups_stay_as_they_were(tmp_path: Path) -> None:
    writer = PartWriter(1)
    for hour in (7, 8):
        writer.add_table(make_table(hour))
    path = tmp_path / Path(name(7)).name
    path.write_bytes(writer.close())

    assert upgrade(tmp_path) == 0

    file = pq.ParquetFile(path)
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [3, 3]


def test_what_is_not_ours_is_refused_by_name_and_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path)
    infinite = make_table(11).select(SCHEMAS[1].names).set_column(4, "score", pa.array([1.0, np.inf, 2.0]))
    for path, table in {
        "other.parquet": pa.table({"time": [1]}),
        Path(name(12)).name: make_table(12).select(["time", "device"]),
        "results/RUN/c00000/0f0f.parquet": make_table(12).select(SCHEMAS[1].names),
        Path(name(11)).name: infinite,
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.cast(SCHEMAS[1]) if table.num_columns == 7 else table, tmp_path / path, store_schema=False)
    (tmp_path / "broken.parquet").write_bytes((tmp_path / name(7)).read_bytes()[:-20])
    (tmp_path / "readme.txt").write_text("x")
    before = snapshot(tmp_path)

    assert upgrade(tmp_path) == 1

    *refused, summary = capsys.readouterr().out.splitlines()
    assert [line.split(": ", 2)[1:] for line in refused] == [
        [Path(name(11)).name, "expected finite numbers in column 'score', got NaN or infinity"],
        [Path(name(12)).name, refused[1].split(": ", 2)[2]],
        ["broken.parquet", "expected Parquet, got something else"],
        ["other.parquet", refused[3].split(": ", 2)[2]],
        ["results/RUN/c00000/0f0f.parquet", "expected a name such as 20261121T0700Z-PT1H-c00000-0.parquet"],
    ]
    assert refused[1].endswith("with their types, got time, device")
    assert summary.startswith("3 files upgraded, 1 were of schema 2, 5 refused, 0 changed meanwhile")
    after = snapshot(tmp_path)
    assert {path for path in before if before[path] != after[path]} == {name(7), name(8), name(10)}


@dataclass
class Busy:
    """A container in which something happens between the reading of a file and its replacement."""

    inner: Folder
    replaced: bytes | None = None  # the app commits this
    calls: int = 0
    dies_after: int = 10**6  # exchanges

    def list(self, prefix: str) -> list[str]:
        return self.inner.list(prefix)

    def open(self, path: str) -> object:
        return self.inner.open(path)

    def map(self, path: str) -> MappedFile:
        content = self.inner.map(path)
        if self.replaced is not None and bytes(content.data) != self.replaced:
            self.inner.write(path, self.replaced)
        return content

    def exchange(self, path: str, data: bytes, state: str | None, metadata: Mapping[str, str] | None = None) -> bool:
        self.calls += 1
        if self.calls > self.dies_after:
            raise KeyboardInterrupt
        return self.inner.exchange(path, data, state, metadata)


def put_between(monkeypatch: pytest.MonkeyPatch, busy: Busy) -> None:
    def open_location(location: str, storage: str) -> Container:
        assert (location, storage) == (str(busy.inner.root), "")
        return busy  # type: ignore[return-value]

    monkeypatch.setattr(upgrade_predictions, "_open_location", open_location)


def test_a_file_that_is_replaced_meanwhile_keeps_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path)
    newer = to_parquet(make_table(23), 1)
    put_between(monkeypatch, Busy(Folder(tmp_path), newer))

    assert upgrade(tmp_path) == 1

    assert [(tmp_path / name(hour)).read_bytes() == newer for hour in (7, 8, 9, 10)] == [True, True, False, True]
    *changed, summary = capsys.readouterr().out.splitlines()
    assert changed == [f"changed: {name(hour)}: it was replaced meanwhile" for hour in (7, 8, 10)]
    assert summary.startswith("0 files upgraded, 1 were of schema 2, 0 refused, 3 changed meanwhile")


def test_a_command_that_was_killed_half_way_goes_on_when_it_is_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = fill(tmp_path)
    with monkeypatch.context() as patch:
        put_between(patch, Busy(Folder(tmp_path), dies_after=1))
        with pytest.raises(KeyboardInterrupt):
            upgrade(tmp_path)
    numbers = [identify_schema(read((tmp_path / path).read_bytes()).schema) for path in before]
    assert numbers == [2, 1, 2, 1]

    assert upgrade(tmp_path) == 0

    assert capsys.readouterr().out.startswith("2 files upgraded, 2 were of schema 2")
    for path, data in before.items():
        assert read((tmp_path / path).read_bytes()).equals(upgrade_table(read(data)))


def test_a_folder_that_is_not_there_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert upgrade(tmp_path / "none") == 2
    assert capsys.readouterr().err == (
        f"scorer: FOLDER_OR_CONTAINER: expected a folder or the URL of a container, got {tmp_path}/none\n"
    )


def test_without_the_extra_of_nodes_a_container_is_out_of_reach(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)

    assert upgrade("https://fleet.blob.core.windows.net/predictions") == 2
    expected = "scorer: containers need the extra node: pip install 'fleetscore[node]' ("
    assert capsys.readouterr().err[: len(expected)] == expected


@pytest.mark.stack
def test_a_blob_says_in_its_metadata_what_it_was(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, container = request.getfixturevalue("azurite"), request.getfixturevalue("fresh_name")
    monkeypatch.setenv("STORAGE", server.connection_string)
    with ContainerClient.from_connection_string(server.connection_string, container) as client:
        client.create_container()
        files = fill(tmp_path)
        etags = {path: client.upload_blob(path, data).get_blob_properties().etag for path, data in files.items()}

        assert upgrade(f"{server.blob_endpoint}/{container}") == 0

        for path, data in files.items():
            blob = client.get_blob_client(path)
            found, rewritten = blob.get_blob_properties(), blob.download_blob().readall()
            md5 = base64.b64encode(hashlib.md5(data).digest()).decode()
            expected = Original(str(etags[path]).strip('"'), len(data), md5)
            assert Original.from_metadata(found.metadata) == (None if path == name(9) else expected)
            assert read(rewritten).equals(upgrade_table(read(data)))
            assert path == name(9) or found.content_settings.content_md5 == hashlib.md5(rewritten).digest()
