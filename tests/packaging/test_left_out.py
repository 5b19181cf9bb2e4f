"""What a run of the tests says at its end of those that it left out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.pins import ROOT

TESTS = """
import pytest

@pytest.fixture
def browser():
    pytest.skip("expected a browser: set CHROMIUM to one")

@pytest.mark.parametrize("n", [1, 2])
def test_page(browser, n): ...

@pytest.mark.data
def test_sample(): pytest.skip("expected data: set FLEETSCORE_DATA")

def test_good(): assert True
"""
PAGE = """left out, expected a browser: set CHROMIUM to one:
    test_some.py::test_page[1]
    test_some.py::test_page[2]
"""
SAMPLE = """left out, expected data: set FLEETSCORE_DATA:
    test_some.py::test_sample
"""


def run(folder: Path, which: str, **environment: str) -> tuple[int, str]:
    """The exit code, and what stands after pytest's own last line."""
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = data\n")
    (folder / "test_some.py").write_text(TESTS)
    kept = {name: text for name, text in os.environ.items() if name not in ("CI", "FLEETSCORE_DATA", "PYTEST_ADDOPTS")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.left_out", "-p", "no:cacheprovider", "-k", which]
    done = subprocess.run(
        command, cwd=folder, env={**kept, "PYTHONPATH": str(ROOT), **environment}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.partition(" in ")[2].partition("\n")[2]


def test_each_test_that_was_left_out_is_named_below_why(tmp_path: Path) -> None:
    assert run(tmp_path, "test") == (0, f"{PAGE}{SAMPLE}left out: 3 tests, named above\n")


def test_a_run_without_any_says_so(tmp_path: Path) -> None:
    assert run(tmp_path, "good", CI="true") == (0, "left out: 0 tests\n")


@pytest.mark.parametrize(
    ("which", "environment", "code"),
    [("test", {}, 1), ("page", {}, 1), ("sample or good", {}, 0), ("sample", {"FLEETSCORE_DATA": "there"}, 1)],
)
def test_where_everything_can_run_a_test_that_was_left_out_is_a_failure(
    which: str, environment: dict[str, str], code: int, tmp_path: Path
) -> None:
    status, text = run(tmp_path, which, CI="true", **environment)
    assert (status, "expected no test to be left out where CI is true, got" in text) == (code, code == 1)
