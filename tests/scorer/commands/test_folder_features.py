"""The options of `fleetscore folder` that say which feature is which, and what becomes of gaps."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest
from sklearn.svm import OneClassSVM

from scorer.__main__ import main

NORMAL = np.random.default_rng(0).normal([1, 5], 1, (50, 2))
ROWS = "2026-11-21T07:00,pump,5,1\n2026-11-21T07:01,pump,5,-999\n2026-11-21T07:02,pump,,1\n"


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A model of heat and noise that was fitted on an array, and readings in another order."""
    for folder in ("models", "readings"):
        (tmp_path / folder).mkdir()
    (tmp_path / "models" / "pump.pkl").write_bytes(pickle.dumps(OneClassSVM(nu=0.1).fit(NORMAL)))
    (tmp_path / "readings" / "a.csv").write_text(f"time,device,noise,heat\n{ROWS}")
    return tmp_path


def score(root: Path, *options: str) -> int:
    paths = [f"--{name}={root / name}" for name in ("models", "readings", "predictions")]
    return main(["folder", *paths, *options])


def read_scores(root: Path) -> list[float]:
    table = ds.dataset(root / "predictions", format="parquet").to_table()
    scores: list[float] = table["score"].to_pylist()
    return scores


def test_without_the_option_the_model_is_refused_with_both_ways_out(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(fleet) == 1
    assert "set --features to their names in its order, or to as-in-file" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        (["--features", "heat,noise", "--missing-values=-999"], [[1, 5]]),
        (["--features", "heat,noise"], [[1, 5], [-999, 5]]),
        (["--features", "as-in-file", "--gaps", "drop"], [[5, 1], [5, -999]]),
    ],
)
def test_the_options_are_followed(options: list[str], rows: list[list[float]], fleet: Path) -> None:
    assert score(fleet, *options) == 0
    expected = OneClassSVM(nu=0.1).fit(NORMAL).decision_function(rows)
    np.testing.assert_allclose(read_scores(fleet), expected, rtol=0, atol=1e-9)


def test_gaps_that_are_given_to_a_model_that_takes_none_are_its_own_error(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(fleet, "--features", "heat,noise", "--gaps", "give") == 1
    assert "  pump: ValueError: Input X contains NaN" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--features", "heat,heat"],
            "expected as-in-file, or different names such as temp,amps,flow, got",
        ),
        (["--missing-values", "none"], "expected numbers such as -999,65535, got 'none'"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: list[str], message: str, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(fleet, *options) == 2
    assert message in capsys.readouterr().err
