"""Every adapter of Ledger keeps the port's word."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest
from azure.data.tables import TableClient

from local.azurite import ACCOUNT_KEY, Azurite
from shared.adapters.azure.table_rows import (
    ENTITY_LIMIT,
    EXAMPLE_LIMIT,
    OWN_MESSAGE_LIMIT,
    PROPERTY_LIMIT,
    check_key,
    dump_row,
    load_row,
    make_run_key,
    shorten_texts,
)
from shared.adapters.azure.tables import TableLedger
from shared.adapters.memory import MemoryLedger
from shared.contract.domain import Failure, Late, Part, Tally, Unmodelled
from shared.contract.errors import Conflict, Malformed, NotFound, Unavailable
from shared.contract.reasons import Outcome, Reason
from shared.contract.summaries.predicted import LabelCount, Predicted, PredictionRange
from shared.contract.text import MESSAGE_LIMIT, clip_text
from shared.contract.windows import Window
from shared.ports import Ledger, Page
from shared.state.requests import SCHEDULE, Backfill, BackfillState, Quarantined, Request, RequestKind, Scope
from shared.state.runs import Attempt, AttemptState, Chunk, ChunkState, Heartbeat, Phase, Result, Run, Waited
from tests.patience import patience

T = TypeVar("T", Run, Chunk, Heartbeat, Request, Backfill)

HOUR = timedelta(hours=1)
SEVEN = datetime(2026, 11, 21, 7, tzinfo=UTC)
NOW = datetime(2026, 11, 21, 8, 5, 0, 123457, tzinfo=UTC)  # an odd microsecond: stores round such
FAILURE = Failure(Reason.ESTIMATOR_ERROR, Outcome.FAILED, 3, "pump-1/ü'#?", "Segmentation fault\nin {core}")
PREDICTED = Predicted(
    {"classifier": 2, "regressor": 5},
    5_000_000_000,
    (LabelCount("ü'#?", 7), LabelCount("{json}", 3)),
    2,
    PredictionRange(3, -1e308, 0.1, 5e-324),
)
WHOLE_RUN = Run(
    window=Window(SEVEN, HOUR),
    phase=Phase.RUNNING,
    opened_at=NOW,
    asked_by="request",
    round=2,
    redo=RequestKind.REDRIVE,
    current_files=True,
    own_manifests=True,
    rescored=True,
    offered_round=1,
    offered_sinks=("delta", "sql"),
    alarmed=True,
    waited=Waited.LIMIT,
    granted=NOW - timedelta(seconds=1),
    planned_at=NOW + timedelta(microseconds=1),
    read_at=NOW - timedelta(microseconds=3),
    ended_at=NOW + timedelta(seconds=2),
    cancelled_at=NOW + timedelta(seconds=3),
    stopped=Reason.TOO_MANY_FAILURES,
    observed_at=NOW + timedelta(seconds=4),
    progress_at=NOW + timedelta(seconds=5),
    throttled_until=NOW + timedelta(seconds=6),
    doubted_fleet=17,
    max_in_flight=8,
    tolerated_failures=5,
    plans=2,
    models=1_000_000,
    chunks=2,
    ignored=3,
    ignored_endings={".csv": 2, "(none)": 1},
    ignored_examples=("ü.csv", "notes"),
    done=19,
    tally=Tally(1, 2, 3, 4, 5, 5_000_000_000, 7, 8.25),
    chunk_states={ChunkState.QUEUED: 1, ChunkState.COMMITTED: 1},
    failures=(FAILURE, replace(FAILURE, reason=Reason.BAD_SCORES)),
    unmodelled=Unmodelled(21, ("pump-1/ü'#?", "{fan}")),
    unmodelled_chunks=1,
    predicted=PREDICTED,
    late=Late(5_000_000_000, 2, ("pump-1/ü'#?", "{fan}"), 7),
    reason=Reason.TOO_LATE,
    message="[not] {json}, 'quoted' & \"so\"",
)
PART = Part("results/r/c00000/x.parquet", 5_000_000_000, "1B2M2Y8AsgTpgAmY7PhCfg==", 600_000, "0x8D")
RESULT = Result(
    2,
    (PART,),
    Tally(scored=9_997, failed=3, rows=600_000),
    (FAILURE,),
    Unmodelled(3, ("ü", "\U0001f600")),
    PREDICTED,
    Late(3, 1, ("ü", "\U0001f600")),
    (1, 2),
)
WHOLE_CHUNK = Chunk(
    run=WHOLE_RUN.id,
    id="c00000",
    manifest="0123456789abcdef",
    models=10_000,
    first="pump-1/ü.skops",
    last="pump-9.skops",
    state=ChunkState.COMMITTING,
    since=NOW,
    round=1,
    attempts=(
        Attempt(3, AttemptState.RUNNING, NOW, True, 2, "0x1", NOW + timedelta(microseconds=9), 5, NOW),
        Attempt(4, AttemptState.SUBMITTING, NOW),
    ),
    next_attempt=5,
    first_attempt=3,
    retries=1,
    losses=2,
    not_before=NOW + HOUR,
    chosen=RESULT,
    committed=replace(RESULT, attempt=1, tally=Tally(scored=10_000), failures=()),
    reason=Reason.JOB_LOST,
    message="pre-empted",
)
WHOLE_BACKFILL = Backfill(
    id="b-0001",
    span=Window(SEVEN, 50 * HOUR),
    scope=Scope.FAILED,
    max_open=2,
    asked_at=NOW,
    cursor=SEVEN + HOUR,
    state=BackfillState.CANCELLED,
    opened=3,
    passed=4,
    ended_at=NOW + HOUR,
)
POISON = Quarantined("pump-1/ü'#?", "0x8D", Reason.CRASHED, "Segmentation fault\nin {core}", WHOLE_RUN.id, NOW)
RUN_KEY = "run-8934485979-20261121T0700Z-PT1H"  # of WHOLE_RUN, in the table
PLAIN_CHUNK = Chunk(WHOLE_RUN.id, "c00000", "0123456789abcdef", 10_000, "pump-1.skops", "pump-9.skops")


@pytest.fixture(params=["memory", pytest.param("azurite", marks=pytest.mark.stack)])
def ledger(request: pytest.FixtureRequest, fresh_name: str) -> Ledger:
    if request.param == "memory":
        return MemoryLedger()
    return TableLedger(request.getfixturevalue("azurite").connection_string, fresh_name)


@pytest.fixture
def table(azurite: Azurite, fresh_name: str) -> TableClient:
    """The table below `tables`, as a person looks at it."""
    return TableClient.from_connection_string(azurite.connection_string, fresh_name)


@pytest.fixture
def tables(azurite: Azurite, fresh_name: str) -> TableLedger:
    return TableLedger(azurite.connection_string, fresh_name)


def a_run(hour: int, phase: Phase = Phase.PLANNING, length: timedelta = HOUR) -> Run:
    return Run(Window(SEVEN + hour * HOUR, length), phase, NOW)


def some_chunks(count: int, run: str = WHOLE_RUN.id) -> list[Chunk]:
    return [replace(WHOLE_CHUNK, run=run, id=f"c{i:05d}") for i in range(count)]


def bare(value: T) -> T:
    """Without the version, which the store gives."""
    return replace(value, version="")


def tick_after(value: datetime) -> datetime:
    return value + timedelta(microseconds=1)


def ids(page: Page[Run]) -> list[str]:
    return [run.id for run in page.items]


def test_the_examples_leave_no_field_at_its_default() -> None:
    for example in (WHOLE_RUN, WHOLE_CHUNK, WHOLE_BACKFILL):
        plain = {f.name: getattr(example, f.name) == f.default for f in fields(example) if f.name != "version"}
        assert [name for name, default in plain.items() if default] == []


def test_before_the_first_tick_the_heartbeat_is_empty(ledger: Ledger) -> None:
    assert ledger.read_heartbeat() == Heartbeat()


def test_a_saved_heartbeat_is_read_back_and_can_be_saved_again(ledger: Ledger) -> None:
    first = ledger.save_heartbeat(Heartbeat(SEVEN, NOW, "the cluster did not answer", NOW + HOUR))
    assert bare(first) == Heartbeat(SEVEN, NOW, "the cluster did not answer", NOW + HOUR)
    assert ledger.read_heartbeat() == first
    second = ledger.save_heartbeat(replace(first, watermark=SEVEN + HOUR, trouble="", throttled_until=None))
    assert ledger.read_heartbeat() == second
    assert bare(second) == Heartbeat(SEVEN + HOUR, NOW)


def test_of_two_first_ticks_one_saves_its_heartbeat(ledger: Ledger) -> None:
    ledger.save_heartbeat(Heartbeat(SEVEN))
    with pytest.raises(Conflict):
        ledger.save_heartbeat(Heartbeat(NOW))
    assert ledger.read_heartbeat().watermark == SEVEN


def test_a_heartbeat_that_was_written_since_is_a_conflict(ledger: Ledger) -> None:
    stale = ledger.save_heartbeat(Heartbeat(SEVEN))
    kept = ledger.save_heartbeat(replace(stale, watermark=NOW))
    with pytest.raises(Conflict):
        ledger.save_heartbeat(replace(stale, trouble="mine"))
    assert ledger.read_heartbeat() == kept


def test_every_field_of_a_run_is_read_back(ledger: Ledger) -> None:
    assert ledger.add_run(WHOLE_RUN)
    read = ledger.read_run(WHOLE_RUN.id)
    assert bare(read) == WHOLE_RUN
    assert read.opened_at.utcoffset() == timedelta()


def test_a_window_has_one_run_and_the_first_stands(ledger: Ledger) -> None:
    assert ledger.add_run(a_run(0))
    assert not ledger.add_run(replace(a_run(0), asked_by="request"))
    assert bare(ledger.read_run(a_run(0).id)) == a_run(0)


def test_of_many_that_add_a_run_at_once_one_succeeds(ledger: Ledger) -> None:
    asked = [replace(a_run(0), asked_by=f"host-{i}") for i in range(6)]
    with ThreadPoolExecutor(3) as pool:
        won = list(pool.map(ledger.add_run, asked))
    assert won.count(True) == 1
    assert bare(ledger.read_run(a_run(0).id)) == asked[won.index(True)]


@pytest.mark.parametrize(
    "run_id", [a_run(1).id, "20261121T0700Z-PT60M", "nonsense", "a/b", "a'b", "", "\n", "x" * 2000]
)
def test_a_run_that_is_not_there_is_not_found(ledger: Ledger, run_id: str) -> None:
    ledger.add_run(a_run(0))
    with pytest.raises(NotFound):
        ledger.read_run(run_id)


def test_a_saved_run_is_read_back_and_can_be_saved_again(ledger: Ledger) -> None:
    ledger.add_run(a_run(0))
    first = ledger.save_run(replace(ledger.read_run(a_run(0).id), phase=Phase.RUNNING, models=7))
    assert ledger.read_run(a_run(0).id) == first
    second = ledger.save_run(replace(first, done=7))
    assert bare(ledger.read_run(a_run(0).id)) == replace(a_run(0), phase=Phase.RUNNING, models=7, done=7)
    assert ledger.read_run(a_run(0).id) == second


def test_a_field_that_is_taken_away_is_gone(ledger: Ledger) -> None:
    ledger.add_run(WHOLE_RUN)
    emptied = ledger.save_run(replace(ledger.read_run(WHOLE_RUN.id), doubted_fleet=None, reason=None, chunk_states={}))
    assert ledger.read_run(WHOLE_RUN.id) == emptied
    assert bare(emptied) == replace(WHOLE_RUN, doubted_fleet=None, reason=None, chunk_states={})


def test_a_run_that_was_written_since_is_a_conflict(ledger: Ledger) -> None:
    ledger.add_run(a_run(0))
    stale = ledger.read_run(a_run(0).id)
    kept = ledger.save_run(replace(stale, models=1))
    for late in (stale, replace(stale, version="")):
        with pytest.raises(Conflict):
            ledger.save_run(replace(late, models=2))
    assert ledger.read_run(a_run(0).id) == kept


def test_an_empty_ledger_has_no_runs(ledger: Ledger) -> None:
    assert ledger.list_runs(5) == Page((), None)
    assert list(ledger.list_watched_runs()) == []


def test_runs_come_newest_window_first_a_page_at_a_time(ledger: Ledger) -> None:
    hours = [3, -400, 0, 20_000, 7]  # years apart, in no order
    for hour in hours:
        ledger.add_run(a_run(hour))
    expected = [a_run(hour).id for hour in sorted(hours, reverse=True)]
    first = ledger.list_runs(2)
    second = ledger.list_runs(2, first.cursor)
    third = ledger.list_runs(2, second.cursor)
    assert [ids(first), ids(second), ids(third)] == [expected[:2], expected[2:4], expected[4:]]
    assert third.cursor is None
    assert bare(first.items[0]) == a_run(20_000)


def test_a_page_that_ends_with_the_last_run_names_no_next_one(ledger: Ledger) -> None:
    for hour in range(3):
        ledger.add_run(a_run(hour))
    assert (len(ledger.list_runs(3).items), ledger.list_runs(3).cursor) == (3, None)


def test_windows_of_two_lengths_that_begin_together_both_have_a_run(ledger: Ledger) -> None:
    for length in (HOUR, 24 * HOUR):
        ledger.add_run(a_run(0, length=length))
    first = ledger.list_runs(1)
    second = ledger.list_runs(1, first.cursor)
    assert sorted(ids(first) + ids(second)) == ["20261121T0700Z-P1D", "20261121T0700Z-PT1H"]


def test_a_run_that_comes_between_two_pages_is_neither_repeated_nor_does_it_hide_one(ledger: Ledger) -> None:
    for hour in range(4):
        ledger.add_run(a_run(hour))
    first = ledger.list_runs(2)
    ledger.add_run(a_run(4))
    assert ids(first) + ids(ledger.list_runs(2, first.cursor)) == [a_run(hour).id for hour in (3, 2, 1, 0)]


def test_runs_of_a_span_come_newest_first_and_no_others(ledger: Ledger) -> None:
    for hour in (-400, 0, 3, 1, 2, 20_000):
        ledger.add_run(a_run(hour))
    found = list(ledger.list_runs_in(SEVEN, SEVEN + 3 * HOUR))
    assert found == [ledger.read_run(a_run(hour).id) for hour in (2, 1, 0)]


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        (SEVEN, SEVEN, []),
        (SEVEN + HOUR, SEVEN, []),
        (SEVEN, tick_after(SEVEN), [0]),
        (tick_after(SEVEN), SEVEN + HOUR, []),
        (tick_after(SEVEN), tick_after(SEVEN + HOUR), [1]),
        (SEVEN + timedelta(minutes=1), SEVEN + 2 * HOUR, [1]),
        (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), [1, 0, -600_000]),
    ],
)
def test_the_first_instant_of_a_span_belongs_to_it_and_the_last_does_not(
    ledger: Ledger, start: datetime, end: datetime, hours: list[int]
) -> None:
    for hour in (1, -600_000, 0):  # the last in 1958
        ledger.add_run(a_run(hour))
    assert [run.id for run in ledger.list_runs_in(start, end)] == [a_run(hour).id for hour in hours]
    assert [ids(ledger.list_runs(3))] == [[a_run(hour).id for hour in (1, 0, -600_000)]]


def test_runs_of_both_lengths_lie_in_the_span_that_they_begin_in(ledger: Ledger) -> None:
    for hour, length in ((0, HOUR), (0, 24 * HOUR), (1, HOUR), (-1, 24 * HOUR)):
        ledger.add_run(a_run(hour, length=length))
    found = sorted(run.id for run in ledger.list_runs_in(SEVEN, SEVEN + HOUR))
    assert found == ["20261121T0700Z-P1D", "20261121T0700Z-PT1H"]


def test_an_empty_ledger_has_no_runs_in_any_span(ledger: Ledger) -> None:
    assert list(ledger.list_runs_in(SEVEN, NOW)) == []


@pytest.mark.parametrize("cursor", ["nonsense", "watch-20261121T0700Z-PT1H", "c00001", "run-"])
def test_a_cursor_of_nobody_is_malformed(ledger: Ledger, cursor: str) -> None:
    with pytest.raises(Malformed, match=r"expected .*cursor"):
        ledger.list_runs(5, cursor)


def test_a_run_that_is_open_is_watched_and_one_that_begins_closed_is_not(ledger: Ledger) -> None:
    ledger.add_run(a_run(1))
    ledger.add_run(a_run(0, Phase.MISSED))
    assert list(ledger.list_watched_runs()) == [ledger.read_run(a_run(1).id)]


def test_a_run_that_closes_is_watched_until_it_is_unwatched(ledger: Ledger) -> None:
    ledger.add_run(a_run(0))
    ledger.add_run(a_run(1))
    closed = ledger.save_run(replace(ledger.read_run(a_run(0).id), phase=Phase.PARTIAL))
    assert list(ledger.list_watched_runs()) == [closed, ledger.read_run(a_run(1).id)]
    ledger.unwatch_run(closed)
    assert list(ledger.list_watched_runs()) == [ledger.read_run(a_run(1).id)]
    assert bare(ledger.read_run(closed.id)) == bare(closed)


def test_a_run_that_is_opened_again_is_watched_again(ledger: Ledger) -> None:
    ledger.add_run(a_run(0, Phase.MISSED))
    opened = ledger.save_run(replace(ledger.read_run(a_run(0).id), phase=Phase.PLANNING))
    assert list(ledger.list_watched_runs()) == [opened]


def test_a_run_that_was_opened_again_meanwhile_stays_watched(ledger: Ledger) -> None:
    ledger.add_run(a_run(0))
    closed = ledger.save_run(replace(ledger.read_run(a_run(0).id), phase=Phase.SUCCEEDED))
    opened = ledger.save_run(replace(closed, phase=Phase.PLANNING))
    with pytest.raises(Conflict):
        ledger.unwatch_run(closed)
    assert list(ledger.list_watched_runs()) == [opened]


def test_unwatching_twice_is_unwatching_once(ledger: Ledger) -> None:
    ledger.add_run(a_run(0))
    ledger.save_run(replace(ledger.read_run(a_run(0).id), phase=Phase.SUCCEEDED))
    ledger.unwatch_run(ledger.read_run(a_run(0).id))
    ledger.unwatch_run(ledger.read_run(a_run(0).id))
    assert list(ledger.list_watched_runs()) == []


@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.MISSED])
def test_a_run_that_is_removed_is_gone_with_its_chunks_and_its_mark(ledger: Ledger, phase: Phase) -> None:
    for hour in (0, 1):
        ledger.add_run(a_run(hour, phase))
        ledger.add_chunks(some_chunks(3, a_run(hour).id))
    before = (list(ledger.list_watched_runs())[-1:], list(ledger.list_chunks(a_run(1).id)))
    ledger.remove_run(a_run(0).id)
    with pytest.raises(NotFound):
        ledger.read_run(a_run(0).id)
    assert list(ledger.list_chunks(a_run(0).id)) == []
    assert ids(ledger.list_runs(5)) == [a_run(1).id]
    assert (list(ledger.list_watched_runs()), list(ledger.list_chunks(a_run(1).id))) == before
    ledger.add_run(a_run(0, Phase.MISSED))
    assert a_run(0).id not in [run.id for run in ledger.list_watched_runs()]


def test_removing_a_run_twice_is_removing_it_once(ledger: Ledger) -> None:
    ledger.add_run(a_run(0))
    ledger.remove_run(a_run(0).id)
    ledger.remove_run(a_run(0).id)
    assert ledger.add_run(a_run(0))
    assert bare(ledger.read_run(a_run(0).id)) == a_run(0)


def test_a_run_that_is_closed_and_unwatched_can_be_removed(ledger: Ledger) -> None:
    ledger.add_run(a_run(0))
    ledger.unwatch_run(ledger.save_run(replace(ledger.read_run(a_run(0).id), phase=Phase.SUCCEEDED)))
    ledger.remove_run(a_run(0).id)
    assert ledger.list_runs(1) == Page((), None)


def test_chunks_without_their_run_are_removed_too(ledger: Ledger) -> None:
    ledger.add_chunks(some_chunks(2))
    ledger.remove_run(WHOLE_RUN.id)
    assert list(ledger.list_chunks(WHOLE_RUN.id)) == []


def test_250_chunks_are_removed_in_one_call(ledger: Ledger) -> None:
    ledger.add_chunks(some_chunks(250))
    ledger.remove_run(WHOLE_RUN.id)
    assert list(ledger.list_chunks(WHOLE_RUN.id)) == []


def test_two_hosts_may_remove_a_run_at_once(ledger: Ledger) -> None:
    ledger.add_run(a_run(0))
    ledger.add_chunks(some_chunks(20, a_run(0).id))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(ledger.remove_run, [a_run(0).id] * 2))
    assert list(ledger.list_chunks(a_run(0).id)) == list(ledger.list_watched_runs()) == []
    assert ledger.list_runs(1) == Page((), None)


@pytest.mark.parametrize("run_id", [a_run(1).id, "", "nonsense", "a/b", "runs", "wishes", "backfills", "quarantine"])
def test_removing_a_run_that_is_not_there_removes_nothing(ledger: Ledger, run_id: str) -> None:
    ledger.remove_run(run_id)  # also where there is no table
    ledger.add_run(a_run(0))
    ledger.add_chunks(some_chunks(1, a_run(0).id))
    ledger.add_request(Request(RequestKind.CANCEL, a_run(0).id, NOW))
    ledger.add_backfill(WHOLE_BACKFILL)
    ledger.add_quarantined(POISON)
    ledger.remove_run(run_id)
    assert [
        len(found) for found in (ledger.list_watched_runs(), ledger.list_chunks(a_run(0).id), ledger.list_requests())
    ] == [1, 1, 1]
    assert [len(found) for found in (ledger.list_backfills(), ledger.list_quarantined())] == [1, 1]


def test_a_run_that_is_saved_after_it_was_removed_is_a_conflict_and_stays_away(ledger: Ledger) -> None:
    ledger.add_run(a_run(0))
    read = ledger.read_run(a_run(0).id)
    ledger.remove_run(read.id)
    with pytest.raises(Conflict):
        ledger.save_run(replace(read, models=1))
    assert (list(ledger.list_watched_runs()), ledger.list_runs(1)) == ([], Page((), None))


def test_a_chunk_that_is_saved_after_its_run_was_removed_is_a_conflict(ledger: Ledger) -> None:
    ledger.add_chunks(some_chunks(1))
    read = ledger.list_chunks(WHOLE_RUN.id)
    ledger.remove_run(WHOLE_RUN.id)
    with pytest.raises(Conflict):
        ledger.save_chunks(read)
    assert list(ledger.list_chunks(WHOLE_RUN.id)) == []


def test_every_field_of_a_chunk_is_read_back(ledger: Ledger) -> None:
    ledger.add_chunks([WHOLE_CHUNK])
    assert [bare(chunk) for chunk in ledger.list_chunks(WHOLE_RUN.id)] == [WHOLE_CHUNK]
    assert bare(ledger.read_chunk(WHOLE_RUN.id, "c00000")) == WHOLE_CHUNK


@pytest.mark.parametrize(("run_id", "chunk_id"), [(WHOLE_RUN.id, "c00001"), ("nonsense", "c00000"), ("a/b", "#")])
def test_a_chunk_that_is_not_there_is_not_found(ledger: Ledger, run_id: str, chunk_id: str) -> None:
    ledger.add_chunks(some_chunks(1))
    with pytest.raises(NotFound):
        ledger.read_chunk(run_id, chunk_id)
    assert list(ledger.list_chunks("nonsense")) == []


def test_chunks_come_by_id_and_of_their_run_only(ledger: Ledger) -> None:
    ledger.add_chunks([*reversed(some_chunks(12)), *some_chunks(3, a_run(1).id)])
    assert [bare(chunk) for chunk in ledger.list_chunks(WHOLE_RUN.id)] == some_chunks(12)
    assert [bare(chunk) for chunk in ledger.list_chunks(a_run(1).id)] == some_chunks(3, a_run(1).id)


def test_adding_chunks_again_adds_those_that_are_missing_and_keeps_the_others(ledger: Ledger) -> None:
    ledger.add_chunks(some_chunks(3)[1:])
    moved = ledger.save_chunks([replace(ledger.read_chunk(WHOLE_RUN.id, "c00001"), message="moved on")])
    ledger.add_chunks(some_chunks(5))
    assert [c.message for c in ledger.list_chunks(WHOLE_RUN.id)] == ["pre-empted", "moved on", *["pre-empted"] * 3]
    assert ledger.read_chunk(WHOLE_RUN.id, "c00001") == moved[0]


def test_chunks_that_two_hosts_add_at_once_are_all_there_once(ledger: Ledger) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(ledger.add_chunks, [some_chunks(120), some_chunks(150)]))
    assert [bare(chunk) for chunk in ledger.list_chunks(WHOLE_RUN.id)] == some_chunks(150)


def test_250_chunks_are_saved_in_one_call_and_can_be_saved_again(ledger: Ledger) -> None:
    ledger.add_chunks(some_chunks(250))
    moved = [replace(chunk, state=ChunkState.COMMITTED) for chunk in reversed(ledger.list_chunks(WHOLE_RUN.id))]
    saved = ledger.save_chunks(moved)
    assert [bare(chunk) for chunk in saved] == [bare(chunk) for chunk in moved]
    assert list(ledger.list_chunks(WHOLE_RUN.id)) == list(reversed(saved))
    again = ledger.save_chunks(saved[:2])
    assert again[0] == ledger.read_chunk(WHOLE_RUN.id, "c00249")


def test_saving_no_chunks_does_nothing(ledger: Ledger) -> None:
    assert list(ledger.save_chunks([])) == []
    ledger.add_chunks([])
    assert list(ledger.list_chunks(WHOLE_RUN.id)) == []


def test_a_chunk_that_was_written_since_is_a_conflict(ledger: Ledger) -> None:
    ledger.add_chunks(some_chunks(1))
    stale = ledger.read_chunk(WHOLE_RUN.id, "c00000")
    kept = ledger.save_chunks([replace(stale, next_attempt=6)])
    with pytest.raises(Conflict):
        ledger.save_chunks([replace(stale, next_attempt=7)])
    assert list(ledger.list_chunks(WHOLE_RUN.id)) == list(kept)


def test_of_two_hosts_that_save_a_chunk_one_is_told_of_the_conflict(ledger: Ledger) -> None:
    ledger.add_chunks(some_chunks(1))
    read = ledger.read_chunk(WHOLE_RUN.id, "c00000")

    def save(retries: int) -> int:
        with suppress(Conflict):
            return ledger.save_chunks([replace(read, retries=retries)])[0].retries
        return 0

    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(save, [5, 6]))
    assert 0 in told
    assert ledger.read_chunk(WHOLE_RUN.id, "c00000").retries == max(told) > 0


def test_chunks_come_a_page_at_a_time(ledger: Ledger) -> None:
    ledger.add_chunks([*some_chunks(5), *some_chunks(2, a_run(1).id)])
    first = ledger.read_chunk_page(WHOLE_RUN.id, 2)
    second = ledger.read_chunk_page(WHOLE_RUN.id, 2, first.cursor)
    third = ledger.read_chunk_page(WHOLE_RUN.id, 2, second.cursor)
    assert [*first.items, *second.items, *third.items] == list(ledger.list_chunks(WHOLE_RUN.id))
    assert [len(first.items), len(second.items), len(third.items), third.cursor] == [2, 2, 1, None]
    assert ledger.read_chunk_page(WHOLE_RUN.id, 5).cursor is None


def test_asking_twice_is_asking_once_until_it_is_done(ledger: Ledger) -> None:
    wish = Request(RequestKind.RUN, a_run(0).id, NOW)
    assert ledger.add_request(wish)
    assert not ledger.add_request(Request(RequestKind.RUN, a_run(0).id, NOW + HOUR))
    assert bare(ledger.read_request(RequestKind.RUN, a_run(0).id)) == wish
    ledger.remove_request(wish)
    ledger.remove_request(wish)
    later = Request(RequestKind.RUN, a_run(0).id, NOW + HOUR)
    assert ledger.add_request(later)
    assert [bare(found) for found in ledger.list_requests()] == [later]


def test_every_field_of_a_wish_is_read_back(ledger: Ledger) -> None:
    wish = Request(RequestKind.LIMITS, a_run(0).id, NOW, max_in_flight=0, tolerated_failures=100)
    ledger.add_request(wish)
    read = ledger.read_request(RequestKind.LIMITS, a_run(0).id)
    assert bare(read) == wish
    assert read.version
    assert list(ledger.list_requests()) == [read]


def test_wishes_wait_oldest_first(ledger: Ledger) -> None:
    wishes = [
        Request(RequestKind.RUN, a_run(5).id, NOW),
        Request(RequestKind.CANCEL, a_run(5).id, NOW + timedelta(microseconds=1)),
        Request(RequestKind.PAUSE, SCHEDULE, NOW + timedelta(seconds=1)),
        Request(RequestKind.CANCEL, WHOLE_BACKFILL.id, NOW + timedelta(seconds=2)),
        Request(RequestKind.RUN, a_run(1).id, NOW + HOUR),
    ]
    for wish in reversed(wishes):
        assert ledger.add_request(wish)
    assert [bare(found) for found in ledger.list_requests()] == wishes


@pytest.mark.parametrize("target", [a_run(1).id, "nonsense", "a/b"])
def test_a_wish_that_nobody_had_is_not_found(ledger: Ledger, target: str) -> None:
    assert list(ledger.list_requests()) == []
    ledger.add_request(Request(RequestKind.CANCEL, a_run(1).id, NOW))
    with pytest.raises(NotFound):
        ledger.read_request(RequestKind.RUN, target)


def test_a_wish_as_it_was_read_is_removed_once(ledger: Ledger) -> None:
    ledger.add_request(Request(RequestKind.CANCEL, a_run(0).id, NOW))
    read = ledger.read_request(RequestKind.CANCEL, a_run(0).id)
    ledger.remove_request(read)
    ledger.remove_request(read)
    assert list(ledger.list_requests()) == []


def test_a_wish_that_was_made_anew_since_it_was_read_stays(ledger: Ledger) -> None:
    ledger.add_request(Request(RequestKind.CANCEL, a_run(0).id, NOW))
    read = ledger.read_request(RequestKind.CANCEL, a_run(0).id)
    ledger.remove_request(replace(read, version=""))
    ledger.add_request(bare(read))  # the same in every field
    newer = ledger.read_request(RequestKind.CANCEL, a_run(0).id)
    ledger.remove_request(read)
    assert list(ledger.list_requests()) == [newer]
    ledger.remove_request(newer)
    assert list(ledger.list_requests()) == []


def test_a_wish_that_is_removed_from_an_empty_ledger_is_gone(ledger: Ledger) -> None:
    ledger.remove_request(Request(RequestKind.CANCEL, a_run(0).id, NOW))
    assert list(ledger.list_requests()) == []


def test_every_field_of_a_backfill_is_read_back(ledger: Ledger) -> None:
    assert ledger.add_backfill(WHOLE_BACKFILL)
    read = ledger.read_backfill(WHOLE_BACKFILL.id)
    assert bare(read) == WHOLE_BACKFILL
    assert list(ledger.list_backfills()) == [read]


def test_the_id_of_a_backfill_is_taken_once(ledger: Ledger) -> None:
    assert ledger.add_backfill(WHOLE_BACKFILL)
    assert not ledger.add_backfill(replace(WHOLE_BACKFILL, scope=Scope.ALL))
    assert [bare(found) for found in ledger.list_backfills()] == [WHOLE_BACKFILL]


def test_backfills_come_in_the_order_in_which_they_were_asked_for(ledger: Ledger) -> None:
    asked = [replace(WHOLE_BACKFILL, id=name, asked_at=NOW + timedelta(microseconds=i)) for i, name in enumerate("cab")]
    for backfill in reversed(asked):
        ledger.add_backfill(backfill)
    assert [bare(found) for found in ledger.list_backfills()] == asked


def test_a_saved_backfill_is_read_back_and_can_be_saved_again(ledger: Ledger) -> None:
    ledger.add_backfill(replace(WHOLE_BACKFILL, state=BackfillState.OPEN, ended_at=None))
    first = ledger.save_backfill(replace(ledger.read_backfill("b-0001"), cursor=SEVEN + 9 * HOUR, opened=9))
    assert ledger.read_backfill("b-0001") == first
    second = ledger.save_backfill(replace(first, state=BackfillState.DONE, ended_at=NOW))
    assert ledger.read_backfill("b-0001") == second
    assert bare(second) == replace(
        WHOLE_BACKFILL, cursor=SEVEN + 9 * HOUR, opened=9, state=BackfillState.DONE, ended_at=NOW
    )


def test_a_backfill_that_was_written_since_is_a_conflict(ledger: Ledger) -> None:
    ledger.add_backfill(WHOLE_BACKFILL)
    stale = ledger.read_backfill("b-0001")
    kept = ledger.save_backfill(replace(stale, opened=1))
    for late in (stale, replace(stale, version="")):
        with pytest.raises(Conflict):
            ledger.save_backfill(replace(late, opened=2))
    assert ledger.read_backfill("b-0001") == kept


def test_a_removed_backfill_is_gone_and_saving_it_is_a_conflict(ledger: Ledger) -> None:
    ledger.add_backfill(WHOLE_BACKFILL)
    ledger.add_backfill(replace(WHOLE_BACKFILL, id="b-0002"))
    read = ledger.read_backfill("b-0001")
    ledger.remove_backfill("b-0001")
    ledger.remove_backfill("b-0001")
    with pytest.raises(NotFound):
        ledger.read_backfill("b-0001")
    with pytest.raises(Conflict):
        ledger.save_backfill(read)
    assert [found.id for found in ledger.list_backfills()] == ["b-0002"]


@pytest.mark.parametrize("backfill_id", ["b-0002", "a/b", "", "\n", "x" * 2000])
def test_a_backfill_that_is_not_there_is_not_found_and_safe_to_remove(ledger: Ledger, backfill_id: str) -> None:
    ledger.remove_backfill(backfill_id)
    assert list(ledger.list_backfills()) == []
    ledger.add_backfill(WHOLE_BACKFILL)
    ledger.remove_backfill(backfill_id)
    with pytest.raises(NotFound):
        ledger.read_backfill(backfill_id)
    assert len(ledger.list_backfills()) == 1


def test_what_is_in_quarantine_comes_by_the_models_ids_whatever_they_hold(ledger: Ledger) -> None:
    models = sorted(["pump-1", "pump/1", "a\\b", "a#b?c%d", "😀/日本", "tab\there", "x" * 1024, "x" * 1023 + "y", "'"])
    for model in reversed(models):
        ledger.add_quarantined(replace(POISON, model=model))
    assert list(ledger.list_quarantined()) == [replace(POISON, model=model) for model in models]
    assert [ledger.remove_quarantined(model) for model in models[1:]] == [True] * (len(models) - 1)
    assert list(ledger.list_quarantined()) == [replace(POISON, model=models[0])]


def test_a_model_lies_in_quarantine_once_as_it_was_found_last(ledger: Ledger) -> None:
    ledger.add_quarantined(POISON)
    newer = Quarantined(POISON.model, "0x8E", Reason.ENDLESS, "no end", a_run(1).id, NOW + HOUR)
    ledger.add_quarantined(newer)
    assert list(ledger.list_quarantined()) == [newer]


def test_a_model_is_struck_off_once(ledger: Ledger) -> None:
    ledger.add_quarantined(POISON)
    ledger.add_quarantined(replace(POISON, model="pump-2"))
    assert ledger.remove_quarantined(POISON.model)
    assert not ledger.remove_quarantined(POISON.model)
    assert list(ledger.list_quarantined()) == [replace(POISON, model="pump-2")]


@pytest.mark.parametrize("model", ["pump-1", "", "a/b", "\ud800", "x" * 2000])
def test_an_empty_quarantine_holds_no_model(ledger: Ledger, model: str) -> None:
    assert list(ledger.list_quarantined()) == []
    assert not ledger.remove_quarantined(model)


# Table Storage alone


@pytest.mark.stack
def test_a_person_can_read_the_rows(tables: TableLedger, table: TableClient) -> None:
    tables.add_run(WHOLE_RUN)
    tables.add_chunks([WHOLE_CHUNK])
    tables.add_request(Request(RequestKind.PAUSE, SCHEDULE, NOW))
    tables.add_backfill(WHOLE_BACKFILL)
    tables.add_quarantined(POISON)
    rows = {(r["PartitionKey"], r["RowKey"]): r for r in table.list_entities()}
    digest = "efec8729dd4c5aad632668149e67d451ef36bd57716a6229dd40a554bf9f16c2"
    assert sorted(rows) == [
        ("20261121T0700Z-PT1H", "c00000"),
        ("backfills", "b-0001"),
        ("quarantine", digest),
        ("runs", RUN_KEY),
        ("runs", "watch-20261121T0700Z-PT1H"),
        ("wishes", "pause-schedule"),
    ]
    assert rows["quarantine", digest]["model"] == POISON.model
    chunk = rows["20261121T0700Z-PT1H", "c00000"]
    assert {name: chunk[name] for name in ("schema", "state", "since", "models", "message")} == {
        "schema": 2,
        "state": "committing",
        "since": "2026-11-21T08:05:00.123457Z",
        "models": 10_000,
        "message": "pre-empted",
    }
    assert json.loads(chunk["chosen_json"])["parts"] == [asdict(PART)]


WORST = (
    "\x00" * 2000,  # six characters each, as JSON
    "😀" * 2000,  # two units each
    "\\" * 2000,
    "\ud800" * 2000,  # no text
    "日" * 2000,  # three bytes each, six when escaped
)


def worst_chunk(text: str) -> Chunk:
    """As much as attempts, reports and errors can make of a chunk, and more."""
    failures = tuple(
        Failure(reason, Outcome.FAILED, 100 - i, text, text) for i, reason in enumerate([*Reason, *Reason][:40])
    )
    result = replace(RESULT, failures=failures, parts=(PART,) * 300)
    lost = Attempt(1, AttemptState.LOST, NOW, True, 1, "0x8DE2A3B4C5D6E7F", NOW, 10_000, NOW)
    return replace(
        WHOLE_CHUNK,
        attempts=tuple(replace(lost, number=i) for i in range(500)),
        chosen=result,
        committed=result,
        message=text * 5,
        first="日" * 1024,
        last="日" * 1024,
    )


@pytest.mark.stack
@pytest.mark.parametrize("text", WORST)
def test_the_worst_chunk_is_saved_and_what_was_saved_is_read_back(tables: TableLedger, text: str) -> None:
    tables.add_chunks([replace(worst_chunk(text), id=f"c0000{i}") for i in range(4)])
    saved = tables.save_chunks(tables.list_chunks(WHOLE_RUN.id))
    assert [bare(chunk) for chunk in saved] == [
        shorten_texts(replace(worst_chunk(text), id=f"c0000{i}")) for i in range(4)
    ]
    assert list(tables.list_chunks(WHOLE_RUN.id)) == list(saved)


@pytest.mark.stack
@pytest.mark.parametrize("text", WORST)
def test_the_worst_run_heartbeat_and_quarantine_are_saved(tables: TableLedger, text: str) -> None:
    failures = tuple(Failure(reason, Outcome.FAILED, 1, text, text) for reason in Reason)
    tables.add_run(replace(WHOLE_RUN, failures=failures, message=text * 5))
    run = tables.save_run(replace(tables.read_run(WHOLE_RUN.id), failures=failures, message=text * 5))
    assert tables.read_run(WHOLE_RUN.id) == run
    beat = tables.save_heartbeat(Heartbeat(trouble=text * 5, unpublished_since=NOW, unpublished_reason=clip_text(text)))
    assert tables.read_heartbeat() == beat
    tables.add_quarantined(replace(POISON, message=text))
    assert [found.model for found in tables.list_quarantined()] == [POISON.model]


@pytest.mark.stack
def test_chunks_of_several_pages_are_read_and_removed(tables: TableLedger) -> None:
    tables.add_chunks([replace(PLAIN_CHUNK, id=f"c{i:05d}") for i in range(1_050)])
    assert len(tables.list_chunks(WHOLE_RUN.id)) == 1_050
    tables.remove_run(WHOLE_RUN.id)
    assert list(tables.list_chunks(WHOLE_RUN.id)) == []


@pytest.mark.stack
def test_chunks_too_large_for_one_transaction_are_saved_in_several(tables: TableLedger) -> None:
    result = replace(RESULT, failures=tuple(replace(FAILURE, message="ü" * MESSAGE_LIMIT) for _ in range(60)))
    wordy = [replace(chunk, message="ü" * OWN_MESSAGE_LIMIT, chosen=result) for chunk in some_chunks(100)]
    tables.add_chunks(wordy)
    saved = tables.save_chunks(tables.list_chunks(WHOLE_RUN.id))
    assert [bare(chunk) for chunk in saved] == wordy


@pytest.mark.stack
def test_a_run_row_that_somebody_took_away_stops_no_other_run(
    tables: TableLedger, table: TableClient, caplog: pytest.LogCaptureFixture
) -> None:
    tables.add_run(a_run(0))
    tables.add_run(a_run(1))
    read = tables.read_run(a_run(0).id)
    table.delete_entity("runs", RUN_KEY)
    with caplog.at_level(logging.ERROR):
        assert [run.id for run in tables.list_watched_runs()] == [a_run(1).id]
    assert "the ledger watches a run without a row" in caplog.text
    with pytest.raises(Conflict, match="the row was removed since it was read"):
        tables.save_run(read)


@pytest.mark.stack
def test_a_row_that_cannot_be_read_is_told_and_hides_no_other(
    tables: TableLedger, table: TableClient, caplog: pytest.LogCaptureFixture
) -> None:
    tables.ensure_table()
    for partition, row in [("wishes", "run-x"), ("backfills", "backfill-x"), ("quarantine", "x")]:
        table.create_entity({"PartitionKey": partition, "RowKey": row, "schema": 1})
    wish = Request(RequestKind.RUN, "20261121T0700Z-PT1H", NOW)
    tables.add_request(wish)
    tables.add_run(a_run(0))
    tables.add_run(a_run(1))
    table.update_entity({"PartitionKey": "runs", "RowKey": make_run_key(a_run(0).id), "schema": 1}, mode="replace")
    assert [replace(found, version="") for found in tables.list_requests()] == [wish]
    assert (tables.list_backfills(), tables.list_quarantined()) == ([], [])
    assert [run.id for run in tables.list_watched_runs()] == [a_run(1).id]
    assert [record.message.split(":")[0] for record in caplog.records] == ["a row cannot be read"] * 4


@pytest.mark.stack
def test_a_mark_that_outlived_its_run_is_removed_with_it(tables: TableLedger, table: TableClient) -> None:
    tables.add_run(a_run(0))
    table.delete_entity("runs", RUN_KEY)
    tables.remove_run(a_run(0).id)
    assert list(table.list_entities()) == []


def test_a_row_of_another_schema_or_with_nonsense_is_malformed_and_named() -> None:
    row = {**dump_row(WHOLE_CHUNK, WHOLE_CHUNK.run, WHOLE_CHUNK.id), "schema": 1}
    with pytest.raises(Malformed, match="row 20261121T0700Z-PT1H/c00000: expected schema 2, got 1"):
        load_row(Chunk, row)
    for broken in ({"state": "napping"}, {"chosen_json": "{"}, {"models": "many"}, {"committed_json": '{"attempt":1}'}):
        with pytest.raises(Malformed, match="row 20261121T0700Z-PT1H/c00000: expected a Chunk, got"):
            load_row(Chunk, {**row, "schema": 2, **broken})


@pytest.mark.parametrize(
    ("code", "reason"), [("not_a_detector", Reason.UNSUPPORTED_MODEL), ("wrong_features", Reason.WRONG_FEATURES)]
)
def test_a_row_with_reasons_of_the_version_before_is_read(code: str, reason: Reason) -> None:
    groups = (replace(FAILURE, reason=Reason.BAD_NAME),)
    chunk = replace(WHOLE_CHUNK, reason=Reason.BAD_NAME, committed=replace(RESULT, failures=groups))
    run = replace(WHOLE_RUN, reason=Reason.BAD_NAME, failures=groups)
    for value, key in ((chunk, chunk.id), (run, make_run_key(run.id))):
        row = dump_row(value, WHOLE_RUN.id, key)
        old = {name: text.replace("bad_name", code) if isinstance(text, str) else text for name, text in row.items()}
        assert old != row
        loaded = load_row(type(value), old)
        assert loaded.reason is reason
        failures = loaded.committed.failures if isinstance(loaded, Chunk) and loaded.committed else loaded.failures
        assert {failure.reason for failure in failures} == {reason}


def test_texts_are_cut_where_they_would_not_fit_and_the_cut_value_is_what_lies_there() -> None:
    wordy = replace(FAILURE, message="x" * 1000, example="😀" * 500)
    result = replace(RESULT, failures=(wordy,) * 40)
    cut = shorten_texts(replace(WHOLE_CHUNK, message="\ud800" + "y" * 10_000, chosen=result, committed=result))
    assert cut.message == "?" + "y" * (OWN_MESSAGE_LIMIT - 2) + "…"
    for fit in (cut.chosen, cut.committed):
        assert fit
        assert replace(fit, failures=()) == replace(RESULT, failures=())
        assert set(fit.failures) == {replace(wordy, message="x" * (MESSAGE_LIMIT - 1) + "…")}
        assert 20 < len(fit.failures) < 40
    assert load_row(Chunk, dump_row(cut, cut.run, cut.id)) == cut


def test_what_is_kept_of_too_many_failures_are_the_first_and_largest() -> None:
    groups = tuple(replace(FAILURE, models=40 - i, example="e" * 5000) for i in range(40))
    fit = shorten_texts(replace(WHOLE_RUN, failures=groups)).failures
    assert [failure.models for failure in fit] == list(range(40, 12, -1))  # some 1,130 characters each, of 32,000
    assert {len(failure.example) for failure in fit} == {EXAMPLE_LIMIT}


@pytest.mark.parametrize("text", WORST)
def test_no_row_outgrows_a_limit_of_the_store_whatever_the_error_says(text: str) -> None:
    row = dump_row(shorten_texts(worst_chunk(text)), "p", "r")
    assert max(units(content) for content in row.values()) <= PROPERTY_LIMIT < 32_768
    assert sum(12 + 2 * (len(name) + units(content)) for name, content in row.items()) <= ENTITY_LIMIT < 2**20
    assert len(row) < 252
    assert load_row(Chunk, row) == shorten_texts(worst_chunk(text))


def units(content: object) -> int:
    """Length as the store counts it."""
    return len(str(content).encode("utf-16-le")) // 2


def test_a_long_list_goes_on_in_further_properties_and_is_whole_or_nothing() -> None:
    long = replace(WHOLE_CHUNK, chosen=replace(RESULT, parts=(PART,) * 500))
    row = dump_row(long, "p", "r")
    assert [name for name in row if name.startswith("chosen")] == [f"chosen_json{i}" for i in ("", 1, 2, 3)]
    assert load_row(Chunk, row) == long
    with pytest.raises(Malformed, match="row p/r: expected a Chunk, got"):
        load_row(Chunk, {name: content for name, content in row.items() if name != "chosen_json2"})


@pytest.mark.parametrize(
    ("chunk", "found"),
    [
        (replace(WHOLE_CHUNK, chosen=replace(RESULT, parts=(PART,) * 10_000)), r"1000000 bytes in a row, got \d{7}"),
        (replace(WHOLE_CHUNK, last="x" * 32_001), "32000 in a property, got last of 32001 characters"),
        (replace(WHOLE_CHUNK, last="\ud800"), "text in last, got"),
        (replace(WHOLE_CHUNK, chosen=replace(RESULT, parts=(replace(PART, path="\ud800"),))), "text in chosen_json"),
    ],
)
def test_what_cannot_be_cut_and_does_not_fit_is_malformed(chunk: Chunk, found: str) -> None:
    with pytest.raises(Malformed, match=f"row p/r: expected .*{found}"):
        dump_row(shorten_texts(chunk), "p", "r")


@pytest.mark.parametrize("text", ["", "a/b", "a\\b", "a#b", "a?b", "a\nb", "a\x7fb", "\ud800", "x" * 1024])
def test_a_key_that_the_store_refuses_is_refused_at_the_door(text: str) -> None:
    with pytest.raises(Malformed, match="expected a table's key"):
        check_key(text)


def calls(ledger: TableLedger) -> list[Callable[[], object]]:
    return [ledger.read_heartbeat, ledger.list_watched_runs, lambda: ledger.save_heartbeat(Heartbeat())]


def test_a_server_that_is_not_there_is_unavailable_soon_and_named_without_its_key(unused_endpoint: str) -> None:
    account = f"AccountName=devstoreaccount1;AccountKey={ACCOUNT_KEY}"
    ledger = TableLedger(f"{account};TableEndpoint={unused_endpoint}/devstoreaccount1")
    for call in calls(ledger):
        begun = time.monotonic()
        with pytest.raises(Unavailable, match=f"{unused_endpoint}/devstoreaccount1/fleetscore .*not answer") as caught:
            call()
        assert time.monotonic() - begun < patience(25)
        assert ACCOUNT_KEY not in str(caught.value)


@pytest.mark.stack
def test_a_wrong_key_is_unavailable_and_says_what_to_do(azurite: Azurite, fresh_name: str) -> None:
    ledger = TableLedger(azurite.connection_string.replace(ACCOUNT_KEY, "d3Jvbmc="), fresh_name)
    for call in calls(ledger):
        with pytest.raises(Unavailable, match=r"403 .*role.*Storage Table Data Contributor.*key"):
            call()
