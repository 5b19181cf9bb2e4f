"""Models in a Delta table become files: only what changed, and nothing that is no model."""

import gzip
import lzma
import math
import pickle
import zlib
from datetime import UTC, datetime
from pathlib import Path

import joblib
import pyarrow as pa
import pytest
from azure.storage.blob import ContainerClient
from deltalake import DeltaTable, write_deltalake

from local.azurite import Azurite
from scorer.__main__ import main
from tests.scorer.commands.importing import Run, list_files, make_model, make_run, write


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path)


def test_only_what_changed_is_written(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = make_model(1.0), make_model(2.0)
    write(tmp_path / "t", [("p1", first, 1), ("p2", first, 1)])

    assert run() == 0
    assert "2 models new, 0 replaced, 0 unchanged, 0 refused" in capsys.readouterr().out
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "models").glob("*.pkl")}
    write(tmp_path / "t", [("p2", second, 2)])
    assert run() == 0

    assert "0 models new, 1 replaced, 1 unchanged, 0 refused" in capsys.readouterr().out
    assert (tmp_path / "models" / "p1.pkl").stat().st_mtime_ns == times["p1.pkl"]
    assert (tmp_path / "models" / "p2.pkl").read_bytes() == second
    (tmp_path / "models" / "p1.pkl").unlink()  # a file that a person removed is written again
    assert run() == 0
    assert "0 models new, 1 replaced, 1 unchanged, 0 refused" in capsys.readouterr().out


def test_without_versions_contents_are_compared(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "t", [("p1", make_model(1.0), 1), ("p2", make_model(1.0), 1)])
    assert run(version="") == 0
    DeltaTable(tmp_path / "t").delete("pump = 'p2'")
    write(tmp_path / "t", [("p2", make_model(3.0), 2)])

    assert run(version="") == 0

    assert "0 models new, 1 replaced, 1 unchanged, 0 refused" in capsys.readouterr().out
    assert (tmp_path / "models" / "p2.pkl").read_bytes() == make_model(3.0)


def test_a_file_whose_format_changed_leaves_no_other_behind(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "t", [("p1", make_model(1.0), datetime(2026, 1, 1, tzinfo=UTC))])
    assert run() == 0
    joblib.dump(pickle.loads(make_model(2.0)), tmp_path / "x", compress=3)  # our own
    write(tmp_path / "t", [("p1", (tmp_path / "x").read_bytes(), datetime(2026, 1, 2, tzinfo=UTC))])

    assert run() == 0

    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["README.import", "p1.joblib"]


def test_what_cannot_be_a_model_is_refused_by_its_id(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = make_model(1.0)
    rows = [("a/b", good, 1), ("", good, 1), (None, good, 1), ("p1", b"<html>", 1), ("p2", None, 1), ("p3", good, 1)]
    write(tmp_path / "t", rows)

    assert run() == 1

    out = capsys.readouterr().out
    assert "refused: 'a/b': the id holds a slash" in out
    assert "refused: '': the id is empty or a path's dots" in out
    assert "refused: '': expected an id in the column 'pump', got null" in out
    assert "refused: 'p1': expected a file of skops, " in out
    assert "refused: 'p2': expected a file of skops, " in out
    assert "1 models new, 0 replaced, 0 unchanged, 5 refused" in out


def test_models_that_left_the_table_are_named_and_removed_on_demand(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "t", [(name, make_model(1.0), 1) for name in ("p1", "p2")])
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "own.pkl").write_bytes(make_model(5.0))
    assert run() == 0
    DeltaTable(tmp_path / "t").delete("pump = 'p2'")

    assert run() == 0
    assert "1 models are no longer in the table; they are kept (--remove-absent removes them): p2" in (
        capsys.readouterr().out
    )
    assert run("--remove-absent") == 0

    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["README.import", "own.pkl", "p1.pkl"]


def test_an_id_that_is_null_is_never_the_text_of_it(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "t", [("None", make_model(2.0), 1), (None, make_model(1.0), 1)])

    assert run() == 1

    assert (tmp_path / "models" / "None.pkl").read_bytes() == make_model(2.0)


@pytest.mark.parametrize(("ids", "names"), [
    (pa.array([7, 12]), ["12.pkl", "7.pkl"]),
    (pa.array([7.0, 12.0]), "--delta: expected text or integers in the column 'pump' of ids, got double"),
    (pa.array([True, False]), "--delta: expected text or integers in the column 'pump' of ids, got bool"),
])  # fmt: skip
def test_ids_are_text_or_integers(
    ids: pa.Array, names: list[str] | str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_deltalake(tmp_path / "t", pa.table({"pump": ids, "model": [make_model(1.0)] * 2}))

    assert run(version="") == (2 if isinstance(names, str) else 0)

    if isinstance(names, str):
        assert names in capsys.readouterr().err
    else:
        assert list_files(tmp_path / "models") == sorted(["README.import", *names])


@pytest.mark.parametrize(("content", "name"), [
    (zlib.compress(make_model(1.0)), "p1.joblib"),
    (gzip.compress(make_model(1.0)), "p1.joblib"),
    (lzma.compress(make_model(1.0)), "p1.joblib"),
    (b"x is no model", "'p1': expected a file of skops, "),
    (zlib.compress(b"x is no model"), "got 'x is no model'"),
    (zlib.compress(make_model(1.0))[:-20], "truncated: its compressed content has no end"),
    (b"\x04\x22\x4d\x18" + bytes(40), "'p1': expected a file of skops, "),
])  # fmt: skip
def test_what_is_compressed_is_a_model_where_the_reader_of_models_says_so(
    content: bytes, name: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "t", [("p1", content, 1)])

    is_model = name == "p1.joblib"
    assert run() == (0 if is_model else 1)

    assert list_files(tmp_path / "models") == ["README.import", *([name] if is_model else [])]
    assert is_model or name in capsys.readouterr().out


def test_a_model_that_would_belong_to_another_is_refused(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "t", [("p1", make_model(1.0), 1), ("p1.scaler", make_model(2.0), 1)])

    assert run() == 1

    message = "refused: 'p1.scaler': p1.scaler.pkl would be a file that belongs to the model p1, not a model"
    assert message in capsys.readouterr().out


@pytest.mark.parametrize(("pattern", "name"), [
    ("fleet/{device}[_{sensor}]_v1.{ext}", "fleet/p1_v1.pkl"),
    ("{device}", "p1.pkl"),
    ("{device}/{sensor}.{ext}", "--model-names: expected a pattern that names models of devices, such as"),
])  # fmt: skip
def test_files_are_named_as_the_pattern_says(
    pattern: str, name: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "t", [("p1", make_model(1.0), 1)])

    is_usable = name.endswith(".pkl")
    assert run("--model-names", pattern) == (0 if is_usable else 2)

    assert is_usable or name in capsys.readouterr().err
    assert not is_usable or list_files(tmp_path / "models") == ["README.import", name]


@pytest.mark.parametrize(
    ("rows", "version", "problem"),
    [
        ([("p", b"x", 1), ("p", b"y", 2)], "", "expected each id once, got 'p' again: name the column of versions"),
        ([("p", b"x", 1), ("p", b"y", 1)], "at", "expected different versions of the id 'p', got 1 twice, or none"),
        ([("p", b"x", "9"), ("p", b"y", "10")], "at", "got the text '10', which has no order that is sure"),
        ([("p", b"x", 1.0), ("p", b"y", math.nan)], "at", "expected different versions of the id 'p', got None twice"),
        ([("p", b"x", 1)], "when", "--delta: expected a column 'when', got 'pump', 'model', 'at'"),
    ],
)
def test_which_row_of_an_id_counts_is_never_guessed(
    rows: list[tuple[str | None, bytes | None, object]], version: str, problem: str, run: Run, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    write(tmp_path / "t", rows)

    assert run(version=version) == 2

    assert problem in capsys.readouterr().err
    assert not list((tmp_path).glob("models/*"))


def test_what_was_imported_is_scored(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "t", [("p1", make_model(1.0), 1), ("p2", make_model(2.0), 1)])
    assert run() == 0
    (tmp_path / "r.csv").write_text("time,device,a\n2026-11-21T07:00:00Z,p1,1\n2026-11-21T07:00:00Z,p2,1\n")

    arguments = ["--models", str(tmp_path / "models"), "--readings", str(tmp_path / "r.csv")]
    assert main(["folder", *arguments, "--predictions", str(tmp_path / "out")]) == 0

    out = capsys.readouterr().out
    assert "2 of 2 models scored, 0 failed, 0 skipped" in out
    assert "ignored" not in out


@pytest.mark.stack
def test_a_container_gets_the_files(
    azurite: Azurite, fresh_name: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = ContainerClient.from_connection_string(azurite.connection_string, fresh_name)
    client.create_container()
    monkeypatch.setenv("STORAGE", azurite.connection_string)
    write(tmp_path / "t", [("p1", make_model(1.0), 1), ("p2", make_model(1.0), 1)])

    assert run(into=f"{azurite.blob_endpoint}/{fresh_name}") == 0
    DeltaTable(tmp_path / "t").delete("pump = 'p2'")
    assert run("--remove-absent", into=f"{azurite.blob_endpoint}/{fresh_name}") == 0

    assert sorted(blob.name for blob in client.list_blobs()) == ["README.import", "p1.pkl"]


@pytest.mark.stack
def test_a_table_in_a_container_is_read_and_other_folders_are_not(
    azurite: Azurite, fresh_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    client = ContainerClient.from_connection_string(azurite.connection_string, fresh_name)
    client.create_container()
    monkeypatch.setenv("STORAGE", azurite.connection_string)
    write(tmp_path / "t", [("p1", make_model(1.0), 1)])
    for name in list_files(tmp_path / "t"):
        client.upload_blob(f"tables/t/{name}", (tmp_path / "t" / name).read_bytes())
    url = f"{azurite.blob_endpoint}/{fresh_name}"
    columns = ["--into", str(tmp_path / "models"), "--id", "pump", "--bytes", "model"]

    assert main(["models", "import", "--delta", f"{url}/tables/t", *columns]) == 0
    assert list_files(tmp_path / "models") == ["README.import", "p1.pkl"]
    assert main(["models", "import", "--delta", f"{url}/tables", *columns]) == 2
    message = f"--delta: expected a Delta table, which is a folder with _delta_log, got other files in {url}/tables"
    assert message in capsys.readouterr().err


def test_a_table_that_nothing_here_reads_is_refused_with_what_helps_models(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "t", [("p1", make_model(1.0), 1)])
    log = tmp_path / "t" / "_delta_log" / f"{0:020}.json"
    log.write_text(log.read_text().replace('"configuration":{}', '"configuration":{"delta.columnMapping.mode":"name"}'))

    assert run() == 2

    message = capsys.readouterr().err
    assert "column mapping name" in message
    assert "let --delta name that one" in message
    assert "READINGS" not in message
