"""The benchmark of packed families compares all predictions, and measures both ways."""

from pathlib import Path

import pytest

from bench import scoring_families
from bench.measure import run_alone
from bench.scoring_families import KINDS, measure_alone, train_files, write_files
from bench.scoring_fleet import make_fleet


@pytest.mark.filterwarnings("ignore:resource_tracker")  # that of an earlier test ended with it
def test_kinds_are_scored_alike_by_both_ways(tmp_path: Path) -> None:
    fleets = [make_fleet(tmp_path, count, 5, 20, []) for count in (6, 2)]
    for name in ("LogisticRegression", "XGBoost-100-depth-6"):
        files = train_files(name)[:3] * 4
        for fleet in fleets:
            write_files(fleet, name, files)
        spent = run_alone(scoring_families._measure_kind, fleets, name, 1)
        assert spent.keys() == {"loop", "hour", "bytes"}
        assert spent["bytes"] > 0
        assert min(run_alone(measure_alone, name, files, 5).values()) > 0


def test_each_kind_says_what_is_wanted_of_it() -> None:
    assert {kind.wanted for kind in KINDS.values()} == {8, 10, 20, 30}
