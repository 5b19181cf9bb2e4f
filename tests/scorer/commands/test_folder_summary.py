"""The summary of a folder: grouped by reason for people, whole for programs."""

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.svm import OneClassSVM

from scorer.__main__ import main
from scorer.commands.desk.folder_summary import Summary
from scorer.commands.desk.unscored import NAMES, OPTIONS, Output, adapt_advice
from shared.config import settings
from shared.contract.outcomes import ModelResult
from shared.contract.reasons import Reason, Source
from shared.contract.summaries.predicted import LabelCount, Predicted, PredictionRange

SILENT = "Nothing if the device was off; else see whether readings arrived as --readings-path and --columns say."
FAULT = "its file does not say which feature is which"
RESULTS = [
    ModelResult("fan", 60, 4),
    ModelResult("mill1", reason=Reason.NO_READINGS, message="none"),
    *(ModelResult(f"pump{n:02}", reason=Reason.WRONG_FEATURES, message=FAULT) for n in range(25)),
    ModelResult("saw", reason=Reason.EMPTY_MODEL, message="the file is empty"),
    ModelResult("mill2", reason=Reason.NO_READINGS, message="none"),
]
SUMMARY = Summary(RESULTS, 2, "out", ("120 readings were replaced",))


def test_a_fault_that_many_models_share_is_told_once_with_one_example_and_what_to_do() -> None:
    others = ", ".join(f"pump{n:02}" for n in range(1, NAMES + 1))
    assert SUMMARY.format(Output.SHORT).splitlines() == [
        "note: 120 readings were replaced",
        "failed: 25 models: wrong_features",
        f"  pump00: {FAULT}",
        f"  also {others} and 4 more; --verbose names all",
        f"  what to do: {adapt_advice(Reason.WRONG_FEATURES)}",
        "failed: 1 model: empty_model",
        "  saw: the file is empty",
        "  what to do: Upload the file again: it has no content.",
        "skipped: 2 models: no_readings",
        "  mill1: none",
        "  also mill2",
        f"  what to do: {SILENT}",
        "1 of 29 models scored, 26 failed, 2 skipped; 4 anomalies in 60 rows, 2 windows, in out",
    ]


PREDICTED = Predicted(
    {"classifier": 1, "detector": 2, "regressor": 3},
    300,
    (LabelCount("ok", 50), LabelCount("worn, badly", 10)),
    2,
    PredictionRange(240, -1.5, 0.25, 1e9),
)


def test_models_that_are_no_detectors_are_summarized_by_task() -> None:
    results = [ModelResult("fan", 60, 4), ModelResult("pump", 300)]
    assert Summary(results, 2, "out", predicted=PREDICTED).format(Output.SHORT).splitlines() == [
        "1 classifier, 2 detectors, 3 regressors",
        "anomalies: 4, of detectors",
        "labels, by rows: ok 50, worn, badly 10, and 2 with other labels",
        "predictions: 240, least -1.5, mean 0.25, greatest 1e+09",
        "2 of 2 models scored, 0 failed, 0 skipped; 360 rows for 300 rows of readings, 2 windows, in out",
    ]


def test_without_detectors_nothing_is_said_of_anomalies() -> None:
    regressors = Predicted({"regressor": 1}, 60, predictions=PredictionRange(60, 1.0, 2.0, 3.0))
    clusterers = Predicted({"clusterer": 1}, 60, tuple(LabelCount(str(n), 1) for n in range(NAMES + 4)), 36)
    results = [ModelResult("pump", 60)]
    lines = Summary(results, 1, "out", predicted=regressors).format(Output.SHORT).splitlines()
    lines += Summary(results, 1, "out", predicted=clusterers).format(Output.SHORT).splitlines()
    assert not [line for line in lines if "anomal" in line]
    assert lines[1] == "predictions: 60, least 1, mean 2, greatest 3"
    assert lines[2] == "1 of 1 models scored, 0 failed, 0 skipped; 60 rows, 1 windows, in out"
    assert lines[4].endswith(f"{NAMES - 1} 1, and 40 with other labels")


def test_a_program_gets_the_whole_summary() -> None:
    document = json.loads(Summary([ModelResult("pump", 60)], 1, "out", predicted=PREDICTED).format(Output.JSON))
    assert document["predicted"] == {
        "tasks": {"classifier": 1, "detector": 2, "regressor": 3},
        "readings": 300,
        "labels": [{"label": "ok", "rows": 50}, {"label": "worn, badly", "rows": 10}],
        "other_labels": 2,
        "predictions": {"rows": 240, "least": -1.5, "mean": 0.25, "greatest": 1e9},
    }


def test_verbose_names_each_model_with_its_message() -> None:
    lines = SUMMARY.format(Output.VERBOSE).splitlines()
    named = [line for line in lines if line.startswith("  ") and "what to do" not in line]
    assert sorted(named) == sorted(f"  {result.model}: {result.message}" for result in RESULTS if result.reason)


def test_a_program_is_told_all_of_it() -> None:
    document = json.loads(SUMMARY.format(Output.JSON))
    results = document.pop("results")
    assert document == {
        "models": 29, "scored": 1, "failed": 26, "skipped": 2, "rows": 60, "anomalies": 4, "windows": 2,
        "predictions": "out", "notes": ["120 readings were replaced"],
        "ignored": {"count": 0, "by_ending": {}, "examples": []}, "unmodelled": None, "predicted": None,
        "reasons": {
            reason: {"outcome": reason.outcome, "models": count, "advice": adapt_advice(reason)}
            for reason, count in [(Reason.WRONG_FEATURES, 25), (Reason.EMPTY_MODEL, 1), (Reason.NO_READINGS, 2)]
        },
    }  # fmt: skip
    assert [one["model"] for one in results] == [result.model for result in RESULTS]
    assert results[:2] == [
        {"model": "fan", "outcome": "scored", "reason": None, "message": "", "rows": 60, "anomalies": 4},
        {"model": "mill1", "outcome": "skipped", "reason": "no_readings", "message": "none", "rows": 0, "anomalies": 0},
    ]


@pytest.mark.parametrize(("results", "code"), [(RESULTS[:2], 0), (RESULTS[1:2], 1), (RESULTS, 1)])
def test_the_exit_code_is_0_where_some_were_scored_and_none_failed(results: list[ModelResult], code: int) -> None:
    assert Summary(results, 1, "out").exit_code == code


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.source in (Source.MODEL, Source.READINGS)])
def test_what_to_do_at_a_desk_names_no_setting_that_the_command_has_as_an_option(reason: Reason) -> None:
    named = set(re.findall(r"\b[A-Z]{3,}(?:_[A-Z]+)*\b", adapt_advice(reason)))
    assert named & set(settings.list_names()) <= {"MODEL_MIB"}


def test_the_options_are_those_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["folder", "--help"])
    assert set(OPTIONS.values()) <= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert set(OPTIONS) <= set(settings.list_names())


def test_the_command_prints_one_document_and_nothing_else(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "models").mkdir()
    svm = OneClassSVM(nu=0.1).fit(np.random.default_rng(0).normal(10, 1, (100, 1)))
    (tmp_path / "models" / "pump.pkl").write_bytes(pickle.dumps(svm))
    (tmp_path / "models" / "fan.pkl").write_bytes(b"")
    (tmp_path / "readings.csv").write_text("time,device,value\n2026-11-21T07:00,pump,10\n2026-11-21T07:00,fan,x\n")
    folders = [f"--{kind}={tmp_path / kind}" for kind in ("models", "predictions")]

    assert main(["folder", f"--readings={tmp_path / 'readings.csv'}", *folders, "--json"]) == 1

    document = json.loads(capfd.readouterr().out)
    assert (document["scored"], document["failed"]) == (1, 1)
    assert {one["model"]: one["reason"] for one in document["results"]} == {"fan": "empty_model", "pump": None}
    assert len(document["notes"]) == 2
