"""Tells at the end what the storm has done."""

from __future__ import annotations

import pytest

from tests.storm.storm import told


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in told():
        terminalreporter.write_line(line)
