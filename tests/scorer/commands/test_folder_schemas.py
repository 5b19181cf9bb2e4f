"""The schema that the command `folder` writes: the newest, that of the folder, or the one that a person names."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.svm import OneClassSVM

from scorer.__main__ import main
from scorer.predictions.stored_files import find_schemas
from scorer.predictions.table import identify_schema
from scorer.storage.blob_store import Folder

HOURS = [f"2026-11-21T{hour:02}:00/2026-11-21T{hour + 1:02}:00" for hour in (7, 8, 9)]


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A model, and three hours of its readings."""
    (tmp_path / "models").mkdir()
    svm = OneClassSVM(nu=0.1).fit(np.random.default_rng(0).normal(10, 1, (100, 1)))
    (tmp_path / "models" / "pump.pkl").write_bytes(pickle.dumps(svm))
    rows = [f"2026-11-21T0{hour}:{minute:02},pump,{minute % 7}" for hour in (7, 8, 9) for minute in range(60)]
    (tmp_path / "readings.csv").write_text("\n".join(["time,device,value", *rows]))
    return tmp_path


def score(root: Path, hour: int, *more: str) -> None:
    words = ["--models", str(root / "models"), "--readings", str(root / "readings.csv"), "--window", HOURS[hour]]
    assert main(["folder", *words, "--predictions", str(root / "out"), *more]) == 0


def schemas(root: Path) -> list[int | None]:
    """The schema of each hour's file."""
    return [identify_schema(pq.read_schema(path)) for path in sorted((root / "out").rglob("*.parquet"))]


def read_notes(capsys: pytest.CaptureFixture[str], root: Path) -> list[str]:
    """What was said of schemas."""
    lines = capsys.readouterr().out.replace(str(root / "out"), "OUT").splitlines()
    return [line for line in lines if line.startswith("note:") and "schema" in line]


UPGRADE = "`fleetscore predictions upgrade OUT` rewrites those of schema 1"


def test_a_new_folder_gets_schema_2(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score(fleet, 0)
    score(fleet, 1)

    assert (schemas(fleet), read_notes(capsys, fleet)) == ([2, 2], [])


def test_a_folder_of_schema_1_goes_on_with_it_and_says_so(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score(fleet, 0, "--predictions-schema", "1")
    assert read_notes(capsys, fleet) == []

    score(fleet, 1)

    assert schemas(fleet) == [1, 1]
    assert read_notes(capsys, fleet) == [
        f"note: predictions are written in schema 1, as the files in OUT are; {UPGRADE}"
    ]
    assert find_schemas(Folder(fleet / "out")) == {1}


@pytest.mark.parametrize(("first", "then"), [("1", "2"), ("2", "1")])
def test_a_person_may_mix_schemas_and_is_told(
    first: str, then: str, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score(fleet, 0, "--predictions-schema", first)
    score(fleet, 1, "--predictions-schema", then)

    assert schemas(fleet) == [int(first), int(then)]
    unite = "queries must unite their columns by name"
    mixed = f"note: OUT has files of schema {first}, and new ones are of schema {then}: {unite}; {UPGRADE}"
    assert read_notes(capsys, fleet) == [mixed]
    assert find_schemas(Folder(fleet / "out")) == {1, 2}


def test_a_folder_of_both_goes_on_with_schema_2_and_says_so(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for hour, schema in enumerate(("1", "2")):
        score(fleet, hour, "--predictions-schema", schema)
    read_notes(capsys, fleet)

    score(fleet, 2)

    assert schemas(fleet) == [1, 2, 2]
    assert [note[:64] for note in read_notes(capsys, fleet)] == [
        "note: OUT has files of schema 1 and 2, and new ones are of schem"
    ]


def test_files_that_are_no_predictions_decide_nothing(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (fleet / "out").mkdir()
    (fleet / "out" / "broken.parquet").write_bytes(b"PAR1 and no more PAR1")
    (fleet / "out" / "empty.parquet").touch()
    (fleet / "out" / ".half.parquet").write_bytes(b"x")

    score(fleet, 0)

    assert (find_schemas(Folder(fleet / "out")), read_notes(capsys, fleet)) == ({2}, [])
    assert len(list((fleet / "out").rglob("*.parquet"))) == 4
