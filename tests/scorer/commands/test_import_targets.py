"""Where models of a Delta table are written to: what no import wrote is neither replaced nor removed."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from scorer.__main__ import main
from scorer.storage.blob_store import Folder
from shared.contract.errors import Unavailable
from tests.scorer.commands.importing import Run, list_files, make_model, make_run, write


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path)


@pytest.mark.parametrize("name", ["p1.pkl", "p1.joblib", "p1.PICKLE.gz", "p1/MLmodel"])
def test_a_file_that_no_import_wrote_is_neither_replaced_nor_made_ambiguous(
    run: Run, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "t", [("p1", make_model(1.0), 1), ("p2", make_model(2.0), 1)])
    own = tmp_path / "models" / name
    own.parent.mkdir(parents=True)
    own.write_bytes(b"own")

    assert run() == 1

    message = f"refused: 'p1': expected no file that this command did not write, got {name}: move or remove it"
    out = capsys.readouterr().out
    assert message in out
    assert "1 models new, 0 replaced, 0 unchanged, 1 refused" in out
    assert own.read_bytes() == b"own"
    assert list_files(tmp_path / "models") == ["README.import", name, "p2.pkl"]
    own.unlink()
    assert run() == 0
    assert (tmp_path / "models" / "p1.pkl").read_bytes() == make_model(1.0)


def test_a_file_that_was_changed_by_hand_is_neither_replaced_nor_removed(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "t", [(name, make_model(1.0), 1) for name in ("p1", "p2")])
    assert run() == 0
    for name in ("p1", "p2"):
        (tmp_path / "models" / f"{name}.pkl").write_bytes(b"own")
    DeltaTable(tmp_path / "t").delete("pump = 'p2'")
    write(tmp_path / "t", [("p1", make_model(3.0), 2)])

    assert run("--remove-absent") == 1

    out = capsys.readouterr().out
    assert "refused: 'p1': expected no file that this command did not write, got p1.pkl" in out
    assert "refused: 'p2': expected p2.pkl as an import wrote it, got a file that was changed: kept" in out
    assert "1 models are no longer in the table; 0 of them were removed: p2" in out
    assert [(tmp_path / "models" / f"{name}.pkl").read_bytes() for name in ("p1", "p2")] == [b"own", b"own"]


def test_a_table_without_rows_removes_no_model(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "t", [(name, make_model(1.0), 1) for name in ("p1", "p2")])
    assert run() == 0
    DeltaTable(tmp_path / "t").delete()

    assert run("--remove-absent") == 2

    message = f"--remove-absent: expected ids in {tmp_path / 't'}, got none: all models would be removed"
    assert message in capsys.readouterr().err
    assert list_files(tmp_path / "models") == ["README.import", "p1.pkl", "p2.pkl"]


def test_a_file_of_an_earlier_pattern_of_names_that_was_changed_is_kept(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "t", [(name, make_model(1.0), 1) for name in ("p1", "p2")])
    assert run() == 0
    (tmp_path / "models" / "p1.pkl").write_bytes(b"own")
    write(tmp_path / "t", [(name, make_model(2.0), 2) for name in ("p1", "p2")])

    assert run("--model-names", "fleet/{device}.{ext}") == 1

    message = "refused: 'p1': expected no file that this command did not write, got p1.pkl"
    assert message in capsys.readouterr().out
    assert list_files(tmp_path / "models") == ["README.import", "fleet/p2.pkl", "p1.pkl"]


def test_files_that_equal_the_table_count_as_imported(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "t", [("p1", make_model(1.0), 1)])
    assert run() == 0
    (tmp_path / "models" / "README.import").unlink()  # as if the first import had been killed

    assert run() == 0

    assert "0 models new, 0 replaced, 1 unchanged, 0 refused" in capsys.readouterr().out
    write(tmp_path / "t", [("p1", make_model(2.0), 2)])
    assert run() == 0
    assert "0 models new, 1 replaced, 0 unchanged, 0 refused" in capsys.readouterr().out


def test_what_was_written_before_an_error_stands_in_the_document(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(folder: Folder, path: str, data: bytes) -> bool:
        if path == "p2.pkl":
            raise Unavailable("the disk is full")
        (folder.root / path).write_bytes(data)
        return True

    write(tmp_path / "t", [(name, make_model(1.0), 1) for name in ("p1", "p2")])
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "create", create)
        assert run() == 1
    DeltaTable(tmp_path / "t").delete("pump = 'p1'")
    write(tmp_path / "t", [("p1", make_model(2.0), 2)])

    assert run() == 0

    assert (tmp_path / "models" / "p1.pkl").read_bytes() == make_model(2.0)


@pytest.mark.parametrize(("table", "into", "message"), [
    ("parquet", "models", "--delta: expected a Delta table, which is a folder with _delta_log, got other files in"),
    ("empty", "models", "--delta: expected a Delta table, which is a folder with _delta_log, got no files in"),
    ("nothing", "models", "--delta: expected a folder or the URL of a container, got nothing at"),
    ("file", "models", "--delta: expected a folder or the URL of a container, got a file at"),
    ("t", "file", "--into: expected a folder, got a file at"),
    ("t", "t/models", "--into: expected a folder outside the table, got"),
    ("t", "odd", "--into: expected README.import as an import wrote it: remove it"),
    ("t", "ftp://models", "--into: expected https://ACCOUNT.blob.core.windows.net/CONTAINER, "),
])  # fmt: skip
def test_a_wrong_table_or_target_is_named(
    table: str, into: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "t", [("p1", make_model(1.0), 1)])
    for folder in ("empty", "parquet", "odd"):
        (tmp_path / folder).mkdir()
    pq.write_table(pa.table({"pump": ["p1"], "model": [b"x"]}), tmp_path / "parquet" / "part.parquet")
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "odd" / "README.import").write_text("[]")
    target = into if "://" in into else str(tmp_path / into)

    arguments = ["--delta", str(tmp_path / table), "--into", target, "--id", "pump", "--bytes", "model"]
    assert main(["models", "import", *arguments]) == 2

    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_table_whose_file_is_missing_is_named(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "t", [("p1", make_model(1.0), 1)])
    next((tmp_path / "t").glob("*.parquet")).unlink()

    assert run() == 1

    assert f"--delta: cannot read {tmp_path / 't'}: " in capsys.readouterr().err
