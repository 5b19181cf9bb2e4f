"""Every adapter of Ledger keeps the port's word."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest
from azure.data.tables import TableClient

from local.azurite import ACCOUNT_KEY, Azurite
from shared.adapters.memory import MemoryLedger
from shared.adapters.rows import OWN_MESSAGE_LIMIT, PROPERTY_LIMIT, dump, fitted, key, load
from shared.adapters.tables import TableLedger
from shared.contract import MESSAGE_LIMIT
from shared.domain import Failure, Outcome, Part, Reason, Tally
from shared.errors import Conflict, Malformed, NotFound, Unavailable
from shared.ports import Ledger, Page
from shared.runs import Attempt, AttemptState, Chunk, ChunkState, Heartbeat, Phase, Run
from shared.windows import Window
from shared.wishes import Wish, WishKind

HOUR = timedelta(hours=1)
SEVEN = datetime(2026, 11, 21, 7, tzinfo=UTC)
NOW = datetime(2026, 11, 21, 8, 5, 0, 123457, tzinfo=UTC)  # an odd microsecond: stores round such
FAILURE = Failure(Reason.ESTIMATOR_ERROR, Outcome.FAILED, 3, "pump-1/ü'#?", "Segmentation fault\nin {core}")
WHOLE_RUN = Run(
    window=Window(SEVEN, HOUR),
    phase=Phase.RUNNING,
    opened_at=NOW,
    asked_by="request",
    planned_at=NOW + timedelta(microseconds=1),
    ended_at=NOW + timedelta(seconds=2),
    cancelled_at=NOW + timedelta(seconds=3),
    observed_at=NOW + timedelta(seconds=4),
    progress_at=NOW + timedelta(seconds=5),
    doubted_fleet=17,
    models=1_000_000,
    chunks=2,
    ignored=3,
    done=19,
    tally=Tally(1, 2, 3, 4, 5, 5_000_000_000, 7, 8.25),
    chunk_states={ChunkState.QUEUED: 1, ChunkState.COMMITTED: 1},
    failures=(FAILURE, replace(FAILURE, reason=Reason.BAD_SCORES)),
    reason=Reason.TOO_LATE,
    message="[not] {json}, 'quoted' & \"so\"",
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
    attempts=(
        Attempt(2, AttemptState.RUNNING, NOW, "0x1", NOW + timedelta(microseconds=9), 5, NOW),
        Attempt(3, AttemptState.SUBMITTING, NOW),
    ),
    next_attempt=4,
    retries=1,
    losses=2,
    not_before=NOW + HOUR,
    chosen=2,
    parts=(Part("results/r/c00000/x.parquet", 5_000_000_000, "1B2M2Y8AsgTpgAmY7PhCfg==", 600_000),),
    tally=Tally(scored=10_000, rows=600_000),
    failures=(FAILURE,),
    reason=Reason.JOB_LOST,
    message="pre-empted",
)


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


def bare(value: Run | Chunk | Heartbeat) -> Run | Chunk | Heartbeat:
    """Without the version, which the store gives."""
    return replace(value, version="")


def ids(page: Page[Run]) -> list[str]:
    return [run.id for run in page.items]


def test_the_examples_leave_no_field_at_its_default() -> None:
    for example in (WHOLE_RUN, WHOLE_CHUNK):
        plain = {f.name: getattr(example, f.name) == f.default for f in fields(example) if f.name != "version"}
        assert [name for name, default in plain.items() if default] == []


def test_before_the_first_tick_the_heartbeat_is_empty(ledger: Ledger) -> None:
    assert ledger.heartbeat() == Heartbeat()


def test_a_saved_heartbeat_is_read_back_and_can_be_saved_again(ledger: Ledger) -> None:
    first = ledger.save_heartbeat(Heartbeat(SEVEN, NOW, "the cluster did not answer"))
    assert bare(first) == Heartbeat(SEVEN, NOW, "the cluster did not answer")
    assert ledger.heartbeat() == first
    second = ledger.save_heartbeat(replace(first, watermark=SEVEN + HOUR, trouble=""))
    assert ledger.heartbeat() == second
    assert bare(second) == Heartbeat(SEVEN + HOUR, NOW)


def test_of_two_first_ticks_one_saves_its_heartbeat(ledger: Ledger) -> None:
    ledger.save_heartbeat(Heartbeat(SEVEN))
    with pytest.raises(Conflict):
        ledger.save_heartbeat(Heartbeat(NOW))
    assert ledger.heartbeat().watermark == SEVEN


def test_a_heartbeat_that_was_written_since_is_a_conflict(ledger: Ledger) -> None:
    stale = ledger.save_heartbeat(Heartbeat(SEVEN))
    kept = ledger.save_heartbeat(replace(stale, watermark=NOW))
    with pytest.raises(Conflict):
        ledger.save_heartbeat(replace(stale, trouble="mine"))
    assert ledger.heartbeat() == kept


def test_every_field_of_a_run_is_read_back(ledger: Ledger) -> None:
    assert ledger.add_run(WHOLE_RUN)
    read = ledger.run(WHOLE_RUN.id)
    assert bare(read) == WHOLE_RUN
    assert read.opened_at.utcoffset() == timedelta()


def test_a_window_has_one_run_and_the_first_stands(ledger: Ledger) -> None:
    assert ledger.add_run(a_run(0))
    assert not ledger.add_run(replace(a_run(0), asked_by="request"))
    assert bare(ledger.run(a_run(0).id)) == a_run(0)


def test_of_many_that_add_a_run_at_once_one_succeeds(ledger: Ledger) -> None:
    asked = [replace(a_run(0), asked_by=f"host-{i}") for i in range(6)]
    with ThreadPoolExecutor(3) as pool:
        won = list(pool.map(ledger.add_run, asked))
    assert won.count(True) == 1
    assert bare(ledger.run(a_run(0).id)) == asked[won.index(True)]


@pytest.mark.parametrize(
    "run_id", [a_run(1).id, "20261121T0700Z-PT60M", "nonsense", "a/b", "a'b", "", "\n", "x" * 2000]
)
def test_a_run_that_is_not_there_is_not_found(ledger: Ledger, run_id: str) -> None:
    ledger.add_run(a_run(0))
    with pytest.raises(NotFound):
        ledger.run(run_id)


def test_a_saved_run_is_read_back_and_can_be_saved_again(ledger: Ledger) -> None:
    ledger.add_run(a_run(0))
    first = ledger.save_run(replace(ledger.run(a_run(0).id), phase=Phase.RUNNING, models=7))
    assert ledger.run(a_run(0).id) == first
    second = ledger.save_run(replace(first, done=7))
    assert bare(ledger.run(a_run(0).id)) == replace(a_run(0), phase=Phase.RUNNING, models=7, done=7)
    assert ledger.run(a_run(0).id) == second


def test_a_field_that_is_taken_away_is_gone(ledger: Ledger) -> None:
    ledger.add_run(WHOLE_RUN)
    emptied = ledger.save_run(replace(ledger.run(WHOLE_RUN.id), doubted_fleet=None, reason=None, chunk_states={}))
    assert ledger.run(WHOLE_RUN.id) == emptied
    assert bare(emptied) == replace(WHOLE_RUN, doubted_fleet=None, reason=None, chunk_states={})


def test_a_run_that_was_written_since_is_a_conflict(ledger: Ledger) -> None:
    ledger.add_run(a_run(0))
    stale = ledger.run(a_run(0).id)
    kept = ledger.save_run(replace(stale, models=1))
    for late in (stale, replace(stale, version="")):
        with pytest.raises(Conflict):
            ledger.save_run(replace(late, models=2))
    assert ledger.run(a_run(0).id) == kept


def test_an_empty_ledger_has_no_runs(ledger: Ledger) -> None:
    assert ledger.runs(5) == Page((), None)
    assert list(ledger.watched_runs()) == []


def test_runs_come_newest_window_first_a_page_at_a_time(ledger: Ledger) -> None:
    hours = [3, -400, 0, 20_000, 7]  # years apart, in no order
    for hour in hours:
        ledger.add_run(a_run(hour))
    expected = [a_run(hour).id for hour in sorted(hours, reverse=True)]
    first = ledger.runs(2)
    second = ledger.runs(2, first.cursor)
    third = ledger.runs(2, second.cursor)
    assert [ids(first), ids(second), ids(third)] == [expected[:2], expected[2:4], expected[4:]]
    assert third.cursor is None
    assert bare(first.items[0]) == a_run(20_000)


def test_a_page_that_ends_with_the_last_run_names_no_next_one(ledger: Ledger) -> None:
    for hour in range(3):
        ledger.add_run(a_run(hour))
    assert (len(ledger.runs(3).items), ledger.runs(3).cursor) == (3, None)


def test_windows_of_two_lengths_that_begin_together_both_have_a_run(ledger: Ledger) -> None:
    for length in (HOUR, 24 * HOUR):
        ledger.add_run(a_run(0, length=length))
    first = ledger.runs(1)
    second = ledger.runs(1, first.cursor)
    assert sorted(ids(first) + ids(second)) == ["20261121T0700Z-P1D", "20261121T0700Z-PT1H"]


def test_a_run_that_comes_between_two_pages_is_neither_repeated_nor_does_it_hide_one(ledger: Ledger) -> None:
    for hour in range(4):
        ledger.add_run(a_run(hour))
    first = ledger.runs(2)
    ledger.add_run(a_run(4))
    assert ids(first) + ids(ledger.runs(2, first.cursor)) == [a_run(hour).id for hour in (3, 2, 1, 0)]


@pytest.mark.parametrize("cursor", ["nonsense", "watch-20261121T0700Z-PT1H", "c00001", "run-"])
def test_a_cursor_of_nobody_is_malformed(ledger: Ledger, cursor: str) -> None:
    with pytest.raises(Malformed, match=r"wanted .*cursor"):
        ledger.runs(5, cursor)


def test_a_run_that_is_open_is_watched_and_one_that_begins_closed_is_not(ledger: Ledger) -> None:
    ledger.add_run(a_run(1))
    ledger.add_run(a_run(0, Phase.MISSED))
    assert list(ledger.watched_runs()) == [ledger.run(a_run(1).id)]


def test_a_run_that_closes_is_watched_until_it_is_unwatched(ledger: Ledger) -> None:
    ledger.add_run(a_run(0))
    ledger.add_run(a_run(1))
    closed = ledger.save_run(replace(ledger.run(a_run(0).id), phase=Phase.PARTIAL))
    assert list(ledger.watched_runs()) == [closed, ledger.run(a_run(1).id)]
    ledger.unwatch(closed)
    assert list(ledger.watched_runs()) == [ledger.run(a_run(1).id)]
    assert bare(ledger.run(closed.id)) == bare(closed)


def test_a_run_that_is_opened_again_is_watched_again(ledger: Ledger) -> None:
    ledger.add_run(a_run(0, Phase.MISSED))
    opened = ledger.save_run(replace(ledger.run(a_run(0).id), phase=Phase.PLANNING))
    assert list(ledger.watched_runs()) == [opened]


def test_a_run_that_was_opened_again_meanwhile_stays_watched(ledger: Ledger) -> None:
    ledger.add_run(a_run(0))
    closed = ledger.save_run(replace(ledger.run(a_run(0).id), phase=Phase.SUCCEEDED))
    opened = ledger.save_run(replace(closed, phase=Phase.PLANNING))
    with pytest.raises(Conflict):
        ledger.unwatch(closed)
    assert list(ledger.watched_runs()) == [opened]


def test_unwatching_twice_is_unwatching_once(ledger: Ledger) -> None:
    ledger.add_run(a_run(0))
    ledger.save_run(replace(ledger.run(a_run(0).id), phase=Phase.SUCCEEDED))
    ledger.unwatch(ledger.run(a_run(0).id))
    ledger.unwatch(ledger.run(a_run(0).id))
    assert list(ledger.watched_runs()) == []


def test_every_field_of_a_chunk_is_read_back(ledger: Ledger) -> None:
    ledger.add_chunks([WHOLE_CHUNK])
    assert [bare(chunk) for chunk in ledger.chunks(WHOLE_RUN.id)] == [WHOLE_CHUNK]
    assert bare(ledger.chunk(WHOLE_RUN.id, "c00000")) == WHOLE_CHUNK


@pytest.mark.parametrize(("run_id", "chunk_id"), [(WHOLE_RUN.id, "c00001"), ("nonsense", "c00000"), ("a/b", "#")])
def test_a_chunk_that_is_not_there_is_not_found(ledger: Ledger, run_id: str, chunk_id: str) -> None:
    ledger.add_chunks(some_chunks(1))
    with pytest.raises(NotFound):
        ledger.chunk(run_id, chunk_id)
    assert list(ledger.chunks("nonsense")) == []


def test_chunks_come_by_id_and_of_their_run_only(ledger: Ledger) -> None:
    ledger.add_chunks([*reversed(some_chunks(12)), *some_chunks(3, a_run(1).id)])
    assert [bare(chunk) for chunk in ledger.chunks(WHOLE_RUN.id)] == some_chunks(12)
    assert [bare(chunk) for chunk in ledger.chunks(a_run(1).id)] == some_chunks(3, a_run(1).id)


def test_adding_chunks_again_adds_those_that_are_missing_and_keeps_the_others(ledger: Ledger) -> None:
    ledger.add_chunks(some_chunks(3)[1:])
    moved = ledger.save_chunks([replace(ledger.chunk(WHOLE_RUN.id, "c00001"), message="moved on")])
    ledger.add_chunks(some_chunks(5))
    assert [c.message for c in ledger.chunks(WHOLE_RUN.id)] == ["pre-empted", "moved on", *["pre-empted"] * 3]
    assert ledger.chunk(WHOLE_RUN.id, "c00001") == moved[0]


def test_chunks_that_two_hosts_add_at_once_are_all_there_once(ledger: Ledger) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(ledger.add_chunks, [some_chunks(120), some_chunks(150)]))
    assert [bare(chunk) for chunk in ledger.chunks(WHOLE_RUN.id)] == some_chunks(150)


def test_250_chunks_are_saved_in_one_call_and_can_be_saved_again(ledger: Ledger) -> None:
    ledger.add_chunks(some_chunks(250))
    moved = [replace(chunk, state=ChunkState.COMMITTED) for chunk in reversed(ledger.chunks(WHOLE_RUN.id))]
    saved = ledger.save_chunks(moved)
    assert [bare(chunk) for chunk in saved] == [bare(chunk) for chunk in moved]
    assert list(ledger.chunks(WHOLE_RUN.id)) == list(reversed(saved))
    again = ledger.save_chunks(saved[:2])
    assert again[0] == ledger.chunk(WHOLE_RUN.id, "c00249")


def test_saving_no_chunks_does_nothing(ledger: Ledger) -> None:
    assert list(ledger.save_chunks([])) == []
    ledger.add_chunks([])
    assert list(ledger.chunks(WHOLE_RUN.id)) == []


def test_a_chunk_that_was_written_since_is_a_conflict(ledger: Ledger) -> None:
    ledger.add_chunks(some_chunks(1))
    stale = ledger.chunk(WHOLE_RUN.id, "c00000")
    kept = ledger.save_chunks([replace(stale, chosen=1)])
    with pytest.raises(Conflict):
        ledger.save_chunks([replace(stale, chosen=2)])
    assert list(ledger.chunks(WHOLE_RUN.id)) == list(kept)


def test_of_two_hosts_that_save_a_chunk_one_is_told_of_the_conflict(ledger: Ledger) -> None:
    ledger.add_chunks(some_chunks(1))
    read = ledger.chunk(WHOLE_RUN.id, "c00000")

    def save(chosen: int) -> int:
        with suppress(Conflict):
            return ledger.save_chunks([replace(read, chosen=chosen)])[0].chosen
        return 0

    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(save, [1, 2]))
    assert 0 in told
    assert ledger.chunk(WHOLE_RUN.id, "c00000").chosen == max(told) > 0


def test_chunks_come_a_page_at_a_time(ledger: Ledger) -> None:
    ledger.add_chunks([*some_chunks(5), *some_chunks(2, a_run(1).id)])
    first = ledger.chunk_page(WHOLE_RUN.id, 2)
    second = ledger.chunk_page(WHOLE_RUN.id, 2, first.cursor)
    third = ledger.chunk_page(WHOLE_RUN.id, 2, second.cursor)
    assert [*first.items, *second.items, *third.items] == list(ledger.chunks(WHOLE_RUN.id))
    assert [len(first.items), len(second.items), len(third.items), third.cursor] == [2, 2, 1, None]
    assert ledger.chunk_page(WHOLE_RUN.id, 5).cursor is None


def test_asking_twice_is_asking_once_until_it_is_done(ledger: Ledger) -> None:
    wish = Wish(WishKind.RUN, a_run(0).id, NOW)
    assert ledger.add_wish(wish)
    assert not ledger.add_wish(Wish(WishKind.RUN, a_run(0).id, NOW + HOUR))
    assert ledger.wish(WishKind.RUN, a_run(0).id) == wish
    ledger.remove_wish(wish)
    ledger.remove_wish(wish)
    later = Wish(WishKind.RUN, a_run(0).id, NOW + HOUR)
    assert ledger.add_wish(later)
    assert list(ledger.wishes()) == [later]


def test_wishes_wait_oldest_first(ledger: Ledger) -> None:
    wishes = [
        Wish(WishKind.RUN, a_run(5).id, NOW),
        Wish(WishKind.CANCEL, a_run(5).id, NOW + timedelta(microseconds=1)),
        Wish(WishKind.RUN, a_run(1).id, NOW + HOUR),
    ]
    for wish in reversed(wishes):
        assert ledger.add_wish(wish)
    assert list(ledger.wishes()) == wishes


@pytest.mark.parametrize("run_id", [a_run(1).id, "nonsense", "a/b"])
def test_a_wish_that_nobody_had_is_not_found(ledger: Ledger, run_id: str) -> None:
    assert list(ledger.wishes()) == []
    ledger.add_wish(Wish(WishKind.CANCEL, a_run(1).id, NOW))
    with pytest.raises(NotFound):
        ledger.wish(WishKind.RUN, run_id)


# Table Storage alone


@pytest.mark.stack
def test_a_person_can_read_the_rows(tables: TableLedger, table: TableClient) -> None:
    tables.add_run(WHOLE_RUN)
    tables.add_chunks([WHOLE_CHUNK])
    rows = {(r["PartitionKey"], r["RowKey"]): r for r in table.list_entities()}
    assert sorted(rows) == [
        ("20261121T0700Z-PT1H", "c00000"),
        ("runs", "run-9970079259-20261121T0700Z-PT1H"),
        ("runs", "watch-20261121T0700Z-PT1H"),
    ]
    chunk = rows["20261121T0700Z-PT1H", "c00000"]
    assert {name: chunk[name] for name in ("schema", "state", "since", "models", "message", "parts_json")} == {
        "schema": 1,
        "state": "committing",
        "since": "2026-11-21T08:05:00.123457Z",
        "models": 10_000,
        "message": "pre-empted",
        "parts_json": '[{"path":"results/r/c00000/x.parquet","bytes":5000000000,"md5":"1B2M2Y8AsgTpgAmY7PhCfg==",'
        '"rows":600000}]',
    }


@pytest.mark.stack
def test_chunks_too_large_for_one_transaction_are_saved_in_several(tables: TableLedger) -> None:
    wordy = [replace(chunk, message="ü" * OWN_MESSAGE_LIMIT) for chunk in some_chunks(100)]
    wordy = [
        replace(c, failures=tuple(replace(FAILURE, message="ü" * MESSAGE_LIMIT) for _ in range(60))) for c in wordy
    ]
    tables.add_chunks(wordy)
    saved = tables.save_chunks(tables.chunks(WHOLE_RUN.id))
    assert [bare(chunk) for chunk in saved] == wordy


@pytest.mark.stack
def test_a_run_row_that_somebody_took_away_stops_no_other_run(
    tables: TableLedger, table: TableClient, caplog: pytest.LogCaptureFixture
) -> None:
    tables.add_run(a_run(0))
    tables.add_run(a_run(1))
    read = tables.run(a_run(0).id)
    table.delete_entity("runs", f"run-9970079259-{a_run(0).id}")
    with caplog.at_level(logging.ERROR):
        assert [run.id for run in tables.watched_runs()] == [a_run(1).id]
    assert "the ledger watches a run that is not there" in caplog.text
    with pytest.raises(Conflict, match="somebody removed the row"):
        tables.save_run(read)


def test_a_row_of_another_schema_or_with_nonsense_is_malformed_and_named() -> None:
    row = {**dump(WHOLE_CHUNK, WHOLE_CHUNK.run, WHOLE_CHUNK.id), "schema": 2}
    with pytest.raises(Malformed, match="row 20261121T0700Z-PT1H/c00000: wanted schema 1, found 2"):
        load(Chunk, row)
    for broken in ({"state": "napping"}, {"tally_json": "{"}, {"models": "many"}):
        with pytest.raises(Malformed, match="row 20261121T0700Z-PT1H/c00000: wanted a Chunk, found"):
            load(Chunk, {**row, "schema": 1, **broken})


def test_texts_are_cut_where_they_would_not_fit_and_the_cut_value_is_what_lies_there() -> None:
    wordy = replace(FAILURE, message="x" * 1000, example="😀" * 500)
    cut = fitted(replace(WHOLE_CHUNK, message="\ud800" + "y" * 10_000, failures=(wordy,) * 40))
    assert cut.message == "?" + "y" * (OWN_MESSAGE_LIMIT - 2) + "…"
    assert set(cut.failures) == {replace(wordy, message="x" * (MESSAGE_LIMIT - 1) + "…")}
    assert 20 < len(cut.failures) < 40
    row = dump(cut, cut.run, cut.id)
    assert max(len(str(text).encode("utf-16-le")) for text in row.values()) <= 2 * PROPERTY_LIMIT
    assert load(Chunk, row) == cut


def test_what_cannot_be_cut_and_does_not_fit_is_malformed() -> None:
    with pytest.raises(Malformed, match="wanted at most 32000 in a property, found parts_json of"):
        dump(replace(WHOLE_CHUNK, parts=WHOLE_CHUNK.parts * 500), "p", "r")


@pytest.mark.parametrize("text", ["", "a/b", "a\\b", "a#b", "a?b", "a\nb", "a\x7fb", "x" * 1024])
def test_a_key_that_the_store_refuses_is_refused_at_the_door(text: str) -> None:
    with pytest.raises(Malformed, match="wanted a table's key"):
        key(text)


def calls(ledger: TableLedger) -> list[Callable[[], object]]:
    return [ledger.heartbeat, ledger.watched_runs, lambda: ledger.save_heartbeat(Heartbeat())]


def test_a_server_that_is_not_there_is_unavailable_soon_and_named_without_its_key(unused_endpoint: str) -> None:
    account = f"AccountName=devstoreaccount1;AccountKey={ACCOUNT_KEY}"
    ledger = TableLedger(f"{account};TableEndpoint={unused_endpoint}/devstoreaccount1")
    for call in calls(ledger):
        begun = time.monotonic()
        with pytest.raises(Unavailable, match=f"{unused_endpoint}/devstoreaccount1/fleetscore .*not answer") as caught:
            call()
        assert time.monotonic() - begun < 25
        assert ACCOUNT_KEY not in str(caught.value)


@pytest.mark.stack
def test_a_wrong_key_is_unavailable_and_says_what_to_do(azurite: Azurite, fresh_name: str) -> None:
    ledger = TableLedger(azurite.connection_string.replace(ACCOUNT_KEY, "d3Jvbmc="), fresh_name)
    for call in calls(ledger):
        with pytest.raises(Unavailable, match=r"403 .*role.*Storage Table Data Contributor.*key"):
            call()
