"""Times without an offset at a desk: the zone that a person names, and the note where there is none."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.svm import OneClassSVM

from scorer.__main__ import main

NOTE = "note: 4 readings have a time without an offset, and were read as UTC: set READINGS_TIME_ZONE (--time-zone)\n"


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A model, and its readings around the end of summer time, by the clocks of Berlin."""
    svm = OneClassSVM(nu=0.1).fit(np.random.default_rng(0).normal(10, 1, (100, 1)))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "pump.pkl").write_bytes(pickle.dumps(svm))
    times = ["02:00", "02:30", "02:00", "02:30"]
    rows = [f"2026-10-25 {time},pump,{number}" for number, time in enumerate(times)]
    (tmp_path / "readings.csv").write_text("\n".join(["time,device,value", *rows]))
    return tmp_path


def score(root: Path, *more: str) -> int:
    words = ["--models", str(root / "models"), "--readings", str(root / "readings.csv")]
    return main(["folder", *words, "--predictions", str(root / "out"), *more])


def read_times(root: Path) -> list[tuple[datetime, float]]:
    rows = [row for path in sorted((root / "out").rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    return [(row["time"], row["value"]) for row in rows]


def test_each_time_is_written_in_the_hour_in_which_it_was(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score(fleet, "--time-zone", "Europe/Berlin") == 0

    halves = [datetime(2026, 10, 25, hour, minute, tzinfo=UTC) for hour in (0, 1) for minute in (0, 30)]
    assert read_times(fleet) == [(instant, float(number)) for number, instant in enumerate(halves)]
    assert "note:" not in capsys.readouterr().out


def test_without_a_zone_the_readings_are_counted_in_one_note(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(["time,device,value", *(f"2026-10-25T02:0{number},pump,{number}" for number in range(4))])
    (fleet / "readings.csv").write_text(text)

    assert score(fleet) == 0

    assert capsys.readouterr().out.startswith(NOTE)
    assert score(fleet, "--time-zone", "UTC") == 0
    assert "note:" not in capsys.readouterr().out


def test_a_zone_that_is_not_known_is_refused_by_the_name_of_the_option(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(fleet, "--time-zone", "CEST") == 2

    expected = "scorer: --time-zone: expected a time zone by its IANA name such as Europe/Berlin or UTC, got 'CEST'\n"
    assert capsys.readouterr().err == expected
