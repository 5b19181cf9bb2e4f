"""`fleetscore show` prints any document of the contract as JSON, and says what it expected where there is none."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from shared.cli.show_document import LIMIT, expand_document, main
from shared.contract.domain import Model
from shared.contract.errors import Malformed
from tests.project.test_contract_page import PUBLISHING
from tests.shared.contract.test_schemas import (
    DOCUMENTS,
    FIRST_MANIFEST,
    FIRST_REPORT,
    OLD_MANIFEST,
    OLD_PLAN,
    OLD_REPORT,
    SECOND_MANIFEST,
    SECOND_REPORT,
    edit,
)

ALL = sys.maxsize


@pytest.mark.parametrize("data", [FIRST_MANIFEST.to_bytes(), OLD_MANIFEST])
def test_a_manifest_of_schema_1_is_shown_with_an_object_for_each_model(data: bytes) -> None:
    shown = expand_document(data, ALL)
    assert (shown["document"], shown["schema"], shown["left_out"]) == ("manifest", 1, 0)
    assert shown["models"] == [
        {"index": 0, "device": "1", "sensor": "2", "name": "model_1_2", "etag": "e1"},
        {"index": 1, "device": "ü", "sensor": "", "name": "ü.skops", "etag": "e2", "refused": "ambiguous"},
        {"index": 2, "device": "x", "sensor": "", "name": "x.skops", "etag": "e3"},
    ]
    assert shown["packs"] == [{"name": "p", "models": 2}, {"name": "q", "models": 1}]
    assert shown["readings_columns"] == {"time": "TS", "device": "device", "sensor": "sensor", "value": "value"}
    assert {name: shown[name] for name in ("window", "chunk", "models_url")} == {
        "window": "20261121T0700Z-PT1H", "chunk": "c00000", "models_url": "https://m",
    }  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHING)
def test_the_documents_of_publishing_are_shown_as_they_are_and_checked(name: str) -> None:
    data = PUBLISHING[name].to_bytes()
    assert expand_document(data, ALL) == {"document": name, **json.loads(data)}
    with pytest.raises(Malformed, match=f"{name}: .*expected a count, got -1"):
        expand_document(data.replace(b'"number":1', b'"number":-1'), ALL)


def test_a_manifest_of_schema_2_is_shown_as_that_of_schema_1_with_what_is_new() -> None:
    first, second = (expand_document(manifest.to_bytes(), ALL) for manifest in (FIRST_MANIFEST, SECOND_MANIFEST))
    assert {name: second[name] for name in ("app", "round", "devices", "predictions_schema")} == {
        "app": "fleet-score", "round": 3, "devices": {"first": "1", "end": "y"}, "predictions_schema": 2,
    }  # fmt: skip
    assert [model.pop("task", None) for model in second["models"]] == ["detect", None, "regress"]
    assert second["policy"].pop("unmodelled") == "off"
    assert {name: second[name] for name in first if name != "schema"} == {
        name: value for name, value in first.items() if name != "schema"
    }


@pytest.mark.parametrize("data", [FIRST_REPORT.to_bytes(), OLD_REPORT])
def test_a_report_of_schema_1_is_shown_with_an_object_for_each_model(data: bytes) -> None:
    shown = expand_document(data, ALL)
    assert (shown["document"], shown["attempt"], shown["left_out"]) == ("report", 2, 0)
    assert shown["tally"] == asdict(FIRST_REPORT.tally)
    assert shown["failures"] == [asdict(failure) for failure in FIRST_REPORT.failures]
    assert shown["models"] == [
        {"index": 0, "model": "1/2", "outcome": "scored", "rows": 5, "anomalies": 2},
        {"index": 1, "model": "ü", "outcome": "failed", "rows": 0, "anomalies": 0, "reason": "ambiguous",
         "message": "two files"},
        {"index": 2, "model": "x", "outcome": "scored", "rows": 1, "anomalies": 0, "etag": "e"},
    ]  # fmt: skip


def test_a_report_of_schema_2_names_only_the_models_that_were_not_scored() -> None:
    shown = expand_document(SECOND_REPORT.to_bytes(), ALL)
    assert shown["models"] == [
        {"index": 0, "outcome": "scored", "rows": 5, "anomalies": 2, "readings": 6, "remark": "other_version"},
        {"index": 1, "model": "ü", "outcome": "failed", "rows": 0, "anomalies": 0, "readings": 0, "reason": "ambiguous",
         "message": "two files", "traceback": "Traceback:\n  x"},
        {"index": 2, "outcome": "scored", "rows": 1, "anomalies": 0, "readings": 2, "etag": "e"},
    ]  # fmt: skip
    assert shown["libraries"] == {"numpy": "2.4.0", "python": "3.13.1"}
    assert SECOND_REPORT.predicted
    assert shown["predicted"] == SECOND_REPORT.predicted.to_json()
    assert "predicted" not in expand_document(replace(SECOND_REPORT, predicted=None).to_bytes(), ALL)


def test_plans_are_shown_with_an_object_for_each_chunk() -> None:
    shown = expand_document(OLD_PLAN, 1)
    assert shown["chunks"] == [
        {"id": "c00000", "manifest": "0123456789abcdef", "models": 2, "first": "a.skops", "last": "b.skops"}
    ]
    assert (shown["document"], shown["ignored"], shown["left_out"]) == ("plan", 3, 1)
    shown = expand_document(DOCUMENTS["round"][1], 1)
    assert (shown["document"], shown["manifests"], shown["left_out"]) == (
        "round plan", {"c00000": "0123456789abcdef"}, 1,
    )  # fmt: skip


@pytest.mark.parametrize("data", [data for _, data in DOCUMENTS.values()], ids=list(DOCUMENTS))
def test_fields_of_a_later_version_are_shown_too(data: bytes) -> None:
    shown = expand_document(edit(data, colour={"of": "later"}), ALL)
    assert {"colour": {"of": "later"}, **expand_document(data, ALL)} == shown
    assert not shown.keys() & {"columns", "crc32"}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "expected a plan, a manifest or a report, got b''"),
        (b"PAR1\0\0", "expected a plan, a manifest or a report, got b'PAR1"),
        (b"[1]", "expected a plan, a manifest or a report, got b'[1]'"),
        (b"[" * 10**5, "expected a plan, a manifest or a report, got b'[[["),
        (b"{}", "got a document with no fields"),
        (b'{"schema":1,"a":2}', "got a document with schema, a"),
        (edit(SECOND_REPORT.to_bytes(), schema=3), "report: expected schema 1 or 2, got 3"),
        (edit(OLD_PLAN, schema=3), "plan: expected schema 1 or 2, got 3"),
        (edit(OLD_PLAN, chunks=[["c00000"]]), "plan: ValueError"),
        (edit(SECOND_MANIFEST.to_bytes(), needs=["ranks"]), "it needs ranks"),
        (SECOND_MANIFEST.to_bytes()[:-1], "manifest: "),
    ],
)
def test_what_cannot_be_shown_is_malformed(data: bytes, says: str) -> None:
    with pytest.raises(Malformed) as error:
        expand_document(data, LIMIT)
    assert says in str(error.value)


# The command


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A manifest of 50 models."""
    models = [Model(f"d{i}", "", f"d{i}.skops", "e") for i in range(50)]
    path = tmp_path / "many.json"
    path.write_bytes(replace(SECOND_MANIFEST, models=models, packs=(), tasks={}).to_bytes())
    return path


@pytest.mark.parametrize(
    ("words", "count"), [([], 20), (["--limit", "3"], 3), (["--limit", "50"], 50), (["--limit", "0"], 50)]
)
def test_the_first_models_are_printed_and_the_others_counted(
    words: list[str], count: int, many: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(many), *words], "fleetscore show") == 0
    shown = json.loads(capsys.readouterr().out)
    assert [model["device"] for model in shown["models"]] == [f"d{i}" for i in range(count)]
    assert shown["left_out"] == 50 - count


def test_a_document_is_read_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(SECOND_REPORT.to_bytes())))
    assert main(["-"], "fleetscore show") == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(expand_document(SECOND_REPORT.to_bytes(), ALL)))


def test_a_file_that_is_none_is_named_with_what_was_expected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "part.parquet").write_bytes(b"PAR1")
    expected = {
        "none.json": "expected a file that can be read, got No such file or directory",
        "": "expected a file that can be read, got Is a directory",
        "part.parquet": "expected a plan, a manifest or a report, got b'PAR1'",
    }
    for name, says in expected.items():
        assert main([str(tmp_path / name)], "fleetscore show") == 2
        assert capsys.readouterr() == ("", f"fleetscore: {tmp_path / name}: {says}\n")


@pytest.mark.parametrize(
    "words", [[], ["a", "--limit", "-1"], ["a", "--limit", "x"], ["a", "--limit", "1.5"], ["a", "b"]]
)
def test_wrong_words_are_wrong_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        main(words, "fleetscore show")
    assert "usage: fleetscore show [-h] [--limit N] FILE" in capsys.readouterr().err


def call(*words: str, data: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "fleetscore", "show", *words]
    return subprocess.run(command, input=data, capture_output=True, check=False, env={**os.environ, **environment})


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_texts_that_a_terminal_cannot_print_are_escaped(encoding: str) -> None:
    models = (Model("\ud800", "", "😀", "é"), Model("b", "", "b", ""))
    data = replace(SECOND_MANIFEST, models=models, packs=(), tasks={}).to_bytes()
    done = call("-", data=data, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    models_shown: list[dict[str, Any]] = json.loads(done.stdout)["models"]
    assert models_shown[0] == {"index": 0, "device": "\ud800", "sensor": "", "name": "😀", "etag": "é"}


def test_a_reader_that_has_enough_ends_it_in_silence(many: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "fleetscore", "show", str(many)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_no_library_is_needed_to_show_a_document(many: Path) -> None:
    code = "import sys, fleetscore.__main__ as f; sys.argv[1:] = ['show', {!r}]; f.main(); print({})".format(
        str(many), "{'scorer', 'numpy', 'pydantic', 'pyarrow'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("}\nset()\n")
