"""A window is scored once more for rows that came after its run: once, and only what they concern."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.adapters.memory import MemoryBlobs, MemoryLedger
from shared.contract.domain import Late
from shared.contract.windows import Window
from shared.control.late_rounds import LateRoundOpener
from shared.control.open_runs import RunOpener, reopen_run
from shared.control.options import ControlOptions
from shared.planning.plan_writer import PlanOptions, PlanWriter
from shared.state.requests import RequestKind
from shared.state.runs import Phase, Run

HOUR = timedelta(hours=1)
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOW = NOON + timedelta(minutes=9)
LATE = Late(3, 1, ("pump",))


def make_run(hour: int, phase: Phase = Phase.SUCCEEDED, late: Late | None = None) -> Run:
    """The run of an hour, which was planned five minutes after its end."""
    window = Window(NOON + (hour - 12) * HOUR, HOUR)
    planned_at = window.end + timedelta(minutes=5)
    ended_at = planned_at if phase.terminal else None
    return Run(window, phase, planned_at, planned_at=planned_at, ended_at=ended_at, plans=1, late=late)


def open_rounds(*runs: Run, node_schema: int = 2, max_open_runs: int = 1) -> dict[int, int]:
    """The rounds of the runs, by their hour, after ticks that would open such rounds."""
    ledger = MemoryLedger()
    for run in runs:
        ledger.add_run(run)
        if run.phase.terminal:
            ledger.save_run(replace(ledger.read_run(run.id), phase=Phase.RUNNING))  # so that it is watched
            ledger.save_run(replace(ledger.read_run(run.id), phase=run.phase))
    opener = RunOpener(ledger, ControlOptions(max_open_runs=max_open_runs), node_schema)
    for _ in range(3):
        LateRoundOpener(opener).open_rounds(NOW)
    return {run.window.start.hour: run.round for run in ledger.list_runs(99).items}


def test_the_run_before_is_opened_for_a_round_of_its_own_kind() -> None:
    ledger = MemoryLedger()
    earlier, run = make_run(10), make_run(11, Phase.RUNNING, LATE)
    ledger.add_run(earlier)
    ledger.add_run(run)
    ledger.save_run(replace(ledger.read_run(run.id), phase=Phase.SUCCEEDED))
    LateRoundOpener(RunOpener(ledger, ControlOptions(), 2)).open_rounds(NOW)
    opened = ledger.read_run(earlier.id)
    assert (opened.phase, opened.redo, opened.round) == (Phase.PLANNING, RequestKind.RESCORE, 1)
    assert (opened.asked_by, opened.rescored, opened.current_files) == ("late-rows", True, True)


@pytest.mark.parametrize(
    ("earlier", "run", "rounds"),
    [
        (make_run(10), make_run(11, late=LATE), {10: 1, 11: 0}),
        (make_run(10, Phase.PARTIAL), make_run(11, Phase.FAILED, LATE), {10: 1, 11: 0}),
        (make_run(10), make_run(11, late=Late(unread_rows=3)), {10: 0, 11: 0}),  # a reprocess would not read them
        (make_run(10), make_run(11), {10: 0, 11: 0}),
        (make_run(10), make_run(11, Phase.RUNNING, LATE), {10: 0, 11: 0}),  # not all chunks have counted
        (make_run(10, Phase.FAILED), make_run(11, late=LATE), {10: 0, 11: 0}),  # nothing to carry over
        (make_run(10, Phase.CANCELLED), make_run(11, late=LATE), {10: 0, 11: 0}),
        (make_run(9), make_run(11, late=LATE), {9: 0, 11: 0}),
        (replace(make_run(10), rescored=True), make_run(11, late=LATE), {10: 0, 11: 0}),
        # It was planned when the folder after its own was over, so it has read all that came there.
        (replace(make_run(10), planned_at=NOON), make_run(11, late=LATE), {10: 0, 11: 0}),
        (replace(make_run(10), planned_at=NOON - timedelta(seconds=1)), make_run(11, late=LATE), {10: 1, 11: 0}),
        # A redrive or an extension at that time has carried models over, which were read before.
        (replace(make_run(10), planned_at=NOW, read_at=NOON - timedelta(seconds=1)), make_run(11, late=LATE),
         {10: 1, 11: 0}),
        (replace(make_run(10), planned_at=NOW, read_at=NOON), make_run(11, late=LATE), {10: 0, 11: 0}),
        (replace(make_run(10), planned_at=None), make_run(11, late=LATE), {10: 0, 11: 0}),
    ],
)  # fmt: skip
def test_only_a_run_that_may_lack_rows_is_scored_once_more_and_only_once(
    earlier: Run, run: Run, rounds: dict[int, int]
) -> None:
    assert open_rounds(earlier, run) == rounds


def test_a_round_for_late_rows_needs_a_place_and_nodes_that_know_it() -> None:
    runs = make_run(10), make_run(11, late=LATE)
    assert open_rounds(*runs, make_run(12, Phase.RUNNING)) == {10: 0, 11: 0, 12: 0}
    assert open_rounds(*runs, make_run(12, Phase.RUNNING), max_open_runs=2) == {10: 1, 11: 0, 12: 0}
    assert open_rounds(*runs, node_schema=1) == {10: 0, 11: 0}


AGAIN = NOON - timedelta(minutes=1)


@pytest.mark.parametrize(
    ("kind", "plans", "schema", "moves"),
    [
        (RequestKind.REDRIVE, 1, 2, False),
        (RequestKind.EXTEND, 1, 2, False),
        (RequestKind.REPROCESS, 1, 2, True),
        (RequestKind.REPROCESS, 1, 1, True),  # which plans nothing
        (RequestKind.RESCORE, 1, 2, True),
        (RequestKind.REDRIVE, 0, 2, True),  # its first plan
    ],
)
@pytest.mark.parametrize("has_field", [True, False], ids=["", "an old row"])
def test_only_a_round_that_carries_nothing_over_has_read_anew(
    kind: RequestKind, plans: int, schema: int, *, moves: bool, has_field: bool
) -> None:
    planned_at = make_run(10).planned_at
    run = replace(make_run(10), read_at=planned_at if has_field else None, plans=plans)
    run = reopen_run(run, kind, AGAIN, "request", AGAIN, schema)
    if run.phase is Phase.PLANNING:
        assert (run.planned_at, run.read_at) == (None, planned_at)  # until it is planned
        assert start_run(replace(run, cancelled_at=NOW)).read_at == planned_at
        run = start_run(run)
    assert (run.planned_at, run.read_at) == (AGAIN, AGAIN if moves else planned_at)


def start_run(run: Run) -> Run:
    empty = MemoryBlobs("memory://empty")
    return PlanWriter(empty, empty, empty, empty, MemoryLedger(), PlanOptions()).start_run(run, AGAIN)
