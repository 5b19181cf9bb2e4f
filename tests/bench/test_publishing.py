"""The benchmark of publishing, at its smallest."""

from __future__ import annotations

import sys

import pytest

from bench import publishing


@pytest.mark.stack
def test_a_sink_has_a_line_with_its_rates(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["publishing", "sql", "--parts", "2", "--rows", "600", "--rounds", "1"])
    publishing.main()
    head, _, row = capsys.readouterr().out.strip().splitlines()[-3:]
    assert head.startswith("| Sink | parts | rows | rows a second of CPU |")
    assert row.startswith("| sql | 2 | 1,200 | ")


@pytest.mark.stack
def test_a_database_that_is_there_is_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from local import postgres

    server = postgres.start(die_with_parent=True)
    try:
        monkeypatch.setenv("SQL_PASSWORD", postgres.PASSWORD)
        monkeypatch.setattr(sys, "argv", ["publishing", "--url", server.url, "--parts", "1", "--rows", "60", "sql"])
        publishing.main()
    finally:
        server.stop()
    assert capsys.readouterr().out.startswith("The tables fleetscore_check_")


def test_a_delta_table_is_measured_by_how_many_runs_it_has(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["delta", "--parts", "2", "--rows", "600", "--rounds", "1", "--held", "0", "30"]
    monkeypatch.setattr(sys, "argv", ["publishing", *options])
    publishing.main()
    *_, empty, full = capsys.readouterr().out.strip().splitlines()
    assert empty.startswith("| delta, 0 runs before | 2 | 1,200 | ")
    assert full.startswith("| delta, 30 runs before | 2 | 1,200 | ")
