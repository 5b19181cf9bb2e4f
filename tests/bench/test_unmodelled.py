"""The benchmark of devices without a model scores every model, and counts the devices that it says."""

from pathlib import Path

from bench.scoring_fleet import make_fleet
from bench.unmodelled import CASES, format_rows, measure_cases


def test_each_case_is_measured_with_and_without_the_count(tmp_path: Path) -> None:
    rows = measure_cases(make_fleet(tmp_path, 12, 10, 20, ()), 8, rounds=1, cases=(CASES[0], CASES[3]))
    assert [case for case, _, _ in rows] == [CASES[0], CASES[3]]
    assert all(off > 0 and on > 0 for _, off, on in rows)
    lines = format_rows([(CASES[0], 2.0, 2.5), (CASES[3], 2.0, 2.0)], 4).splitlines()
    assert lines[2:] == [
        "| sorted by device | 4 have no model | 2.00 | 2.50 | 25 % |",
        "| sorted by time | 4 are another chunk's | 2.00 | 2.00 | 0 % |",
    ]
