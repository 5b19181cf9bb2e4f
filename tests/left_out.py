"""A pytest plugin: the last lines of a run name each test that was left out, why, and how to get it.

Where `CI` is true a test that was left out fails the run, but for those that need the original sample's data while
`FLEETSCORE_DATA` is not set: not every machine may have that.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator

import pytest


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """After pytest's own last line."""
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # a process of pytest-xdist, whose reports come to the first process
        return
    skipped: list[pytest.TestReport] = reporter.stats.get("skipped", [])
    tests = defaultdict[str, list[str]](list)
    for report in skipped:
        tests[_reason(report)].append(report.nodeid)
    for reason, names in tests.items():
        reporter.write_line(f"left out, {reason}:")
        for name in sorted(names):
            reporter.write_line(f"    {name}")
    kept_out = [report for report in skipped if not _may_be_left_out(report)]
    if kept_out and os.environ.get("CI") == "true":
        reporter.write_line(f"expected no test to be left out where CI is true, got {len(kept_out)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    reporter.write_line(f"left out: {len(skipped)} tests" + (", named above" if skipped else ""))


def _reason(report: pytest.TestReport) -> str:
    _, _, reason = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, str(report.longrepr))
    return reason.removeprefix("Skipped: ")


def _may_be_left_out(report: pytest.TestReport) -> bool:
    return "data" in report.keywords and "FLEETSCORE_DATA" not in os.environ
