"""The summary of a conversion: grouped by reason for people, whole for programs."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.manifold import Isomap
from sklearn.svm import OneClassSVM

from scorer.__main__ import main
from scorer.commands.desk.convert_summary import Conversion, ConvertSummary
from scorer.commands.desk.unscored import Output
from shared.contract.fleet.ignored_files import IgnoredFiles
from shared.contract.reasons import Reason
from shared.contract.text import MESSAGE_LIMIT

ISOMAP = "sklearn.manifold._isomap.Isomap"
ROWS = np.random.default_rng(0).normal(10, 1, (50, 1))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Two good models, three regressors, a file that is cut short, and a folder whose MLmodel is no YAML."""
    folder = tmp_path / "models"
    folder.mkdir()
    good = pickle.dumps(OneClassSVM(nu=0.1).fit(ROWS))
    for name in ("fan", "pump"):
        (folder / f"{name}.pkl").write_bytes(good)
    for name in ("r1", "r2", "r3"):
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(Isomap().fit(ROWS)))
    (folder / "cut.pkl").write_bytes(good[:300])
    (folder / "mlflow").mkdir()
    (folder / "mlflow" / "MLmodel").write_text(f"flavors: {{sklearn: {{pickled_model: /{'x' * 2000}}}}}\n")
    (folder / "notes.csv").write_text("none")
    return folder


def convert(models: Path, *more: str) -> int:
    return main(["convert", f"--models={models}", f"--to={models.parent / 'to'}", *more])


def test_a_fault_that_models_share_is_told_once_with_one_example_and_what_to_do(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(models) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        "note: ignored, as no models: 1 .csv: notes.csv",
        "failed: 3 models: unsupported_model",
        f"  r1: expected a model of supported parts, got one with {ISOMAP}: see docs/models.md",
        "  also r2, r3",
        f"  what to do: {Reason.UNSUPPORTED_MODEL.advice}",
    ]
    assert [line for line in lines if not line.startswith(" ")][2:] == [
        "failed: 2 models: unreadable_model",
        f"2 of 7 models converted, 5 failed, in {models.parent}/to",
    ]
    assert sorted(path.name for path in (models.parent / "to").iterdir()) == ["fan.skops", "pump.skops"]


def test_verbose_names_each_model_and_the_file_that_was_written(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(models, "--verbose") == 1
    lines = capsys.readouterr().out.splitlines()
    to = models.parent / "to"
    assert lines[1:3] == [f"converted: fan.pkl -> {to}/fan.skops", f"converted: pump.pkl -> {to}/pump.skops"]
    named = [line.split(":")[0].strip() for line in lines if line.startswith("  ") and "what to do" not in line]
    assert named == ["r1", "r2", "r3", "cut", "mlflow"]


def test_a_program_is_told_all_of_it_and_nothing_else(models: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert convert(models, "--json") == 1
    document: dict[str, Any] = json.loads(capfd.readouterr().out)
    results = {entry.pop("model"): entry for entry in document.pop("results")}
    unsupported, unreadable = Reason.UNSUPPORTED_MODEL, Reason.UNREADABLE_MODEL
    assert document == {
        "models": 7, "converted": 2, "failed": 5, "skipped": 0, "to": str(models.parent / "to"),
        "ignored": {"count": 1, "by_ending": {".csv": 1}, "examples": ["notes.csv"]},
        "reasons": {
            reason: {"outcome": "failed", "models": count, "advice": reason.advice}
            for reason, count in ((unsupported, 3), (unreadable, 2))
        },
    }  # fmt: skip
    assert results["fan"] == {
        "file": "fan.pkl", "outcome": "converted", "reason": None, "message": "",
        "written": str(models.parent / "to" / "fan.skops"),
    }  # fmt: skip
    assert {name: entry["reason"] for name, entry in results.items() if entry["reason"]} == {
        "r1": unsupported, "r2": unsupported, "r3": unsupported, "cut": unreadable, "mlflow": unreadable,
    }  # fmt: skip
    assert results["mlflow"]["file"] == "mlflow/MLmodel"
    assert results["mlflow"]["message"].startswith("MLmodel: expected pickled_model as a path in the folder, got '/xxx")
    assert {len(entry["message"]) <= MESSAGE_LIMIT for entry in results.values()} == {True}


@pytest.mark.parametrize("content", ["x: [" + "\t" * 4000, "{" * 500, "flavors: " + "y" * 5000])
def test_a_message_about_an_mlmodel_is_one_line_of_limited_length(
    content: str, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (models / "mlflow" / "MLmodel").write_text(content)
    assert convert(models, "--verbose") == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  mlflow: ")]
    assert line.startswith("  mlflow: MLmodel: expected YAML with flavors, got ")
    assert len(line) <= len("  mlflow: ") + MESSAGE_LIMIT


def test_all_models_converted_is_a_success(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in models.iterdir():
        if path.name not in ("fan.pkl", "pump.pkl"):
            path.rename(path.with_name(f".{path.name}"))
    assert convert(models) == 0
    assert capsys.readouterr().out == f"2 of 2 models converted, 0 failed, in {models.parent}/to\n"


def test_a_model_that_was_removed_meanwhile_is_skipped_and_the_conversion_is_not_complete() -> None:
    conversions = [
        Conversion("a", "a.pkl", "to/a.skops"),
        Conversion("b", "b.pkl", reason=Reason.MODEL_REMOVED, message="b.pkl existed"),
    ]
    summary = ConvertSummary(conversions, "to", IgnoredFiles())
    assert summary.exit_code == 1
    assert summary.format(Output.SHORT).splitlines() == [
        "skipped: 1 model: model_removed",
        "  b: b.pkl existed",
        f"  what to do: {Reason.MODEL_REMOVED.advice}",
        "1 of 2 models converted, 0 failed, 1 skipped, in to",
    ]
