"""The warm path makes hardly a Python call for a model: a guard that does not depend on the machine."""

import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from bench.profile_fleet import Shape, make_fleet
from scorer.commands import score_chunk
from shared.contract.report import Report

FEW, MANY = 200, 2_200
CALLS_PER_MODEL = 1.0  # also of functions of C: a look into a dictionary for each id of the readings
TOLERANCE = 0.1  # of it


def count_calls(folder: Path, models: int) -> int:
    """The calls of all threads while a warm chunk of so many models is scored for the second time."""
    url = make_fleet(folder, Shape(models, rows=5, vectors=20))
    score_chunk.run_attempt(url, 1)
    calls = Counter[str]()

    def count(frame: Any, event: str, argument: Any) -> None:  # noqa: ARG001  # as sys.setprofile calls it
        calls[event] += event in ("call", "c_call")

    threading.setprofile(count)
    sys.setprofile(count)
    try:
        score_chunk.run_attempt(url, 2)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    report = next((folder / "work").rglob("*-2.report")).read_bytes()
    assert Report.from_bytes(report).tally.scored == models
    return calls.total()


def test_a_further_model_of_a_warm_pack_costs_as_many_calls_as_recorded(tmp_path: Path) -> None:
    few, many = (count_calls(tmp_path / str(models), models) for models in (FEW, MANY))

    per_model = (many - few) / (MANY - FEW)

    assert abs(per_model - CALLS_PER_MODEL) <= TOLERANCE * CALLS_PER_MODEL, per_model
