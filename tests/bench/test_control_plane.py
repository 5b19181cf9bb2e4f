"""The benchmarks run, at their smallest, and say what they should."""

from pathlib import Path

import pytest

from bench import control_plane
from bench.control_plane import in_an_hour, time_last_write


def rows(text: str) -> list[list[str]]:
    """The cells of all tables, without those that differ from run to run: seconds, and MiB at the peak."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [line for line in lines if line[0] != "---"]


def test_planning_is_measured_in_memory_and_over_http() -> None:
    found = rows(control_plane.write_report(["planning"], control_plane.SMALLEST))
    told = [row[:4] for row in found if row[1] != "models"]  # what, models, chunks, models of the largest
    assert told == [
        ["names made up in the process", "2,000", "1", "2,000"],
        ["paged over HTTP", "2,000", "1", "2,000"],
        ["1,000", "2,000", "2", "1,000"],
        ["`auto`, no last run", "2,000", "1", "2,000"],
    ]
    assert [row[8] == "0" for row in found if row[1] != "models"] == [True, False, True, True]  # HTTP requests


def test_a_listing_over_http_comes_in_pages() -> None:
    from bench.measure import run_alone
    from bench.planning import over_http

    small, large = (run_alone(over_http, models, 20_000, None) for models in (5_000, 10_001))
    assert (small.chunks, large.chunks, large.largest) == (1, 1, 10_001)
    assert large.cost.requests == small.cost.requests + 2  # three pages instead of one


def test_arm_takes_a_burst_and_then_ten_a_second() -> None:
    assert [time_last_write(writes) for writes in (1, 200, 210, 10_000)] == [0, 0, 1, 980]
    assert time_last_write(in_an_hour()) == 3600


def test_a_document_without_marks_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text("no marks")
    with pytest.raises(SystemExit, match="expected a document with <!-- control-plane -->"):
        control_plane.main(["--into", str(document)])
    assert document.read_text() == "no marks"
