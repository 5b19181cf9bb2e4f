"""Every adapter of SinkLedger keeps the port's word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.adapters.azure.sink_table import TableSinkLedger
from shared.adapters.memory_sinks import MemorySinkLedger
from shared.contract.errors import Conflict, Malformed, NotFound
from shared.contract.publishing.sinks import SinkKind
from shared.contract.windows import Window
from shared.ports import SinkLedger
from shared.state.notices import Notice, NoticeKind
from shared.state.publications import Publication, PublicationState, Sink
from shared.state.runs import Attempt, AttemptState

HOUR = timedelta(hours=1)
SEVEN = datetime(2026, 11, 21, 7, tzinfo=UTC)
NOW = datetime(2026, 11, 21, 8, 5, 0, 123457, tzinfo=UTC)
WHOLE_PUBLICATION = Publication(
    sink=SinkKind.SQL,
    run=Window(SEVEN, HOUR).id,
    round=3,
    revision=4,
    since=NOW,
    asked_at=NOW - HOUR,
    state=PublicationState.FAILED,
    is_removal=True,
    is_requested=True,
    job=17,
    published_round=2,
    published_at=NOW - 2 * HOUR,
    rows=5_000_000_000,
    stored="version 17",
    failures=3,
    not_before=NOW + HOUR,
    reason="sink_full",
    message="ü \U0001f600 {json} '#?",
)
WHOLE_SINK = Sink(
    kind=SinkKind.DELTA,
    next_number=18,
    job=Attempt(17, AttemptState.RUNNING, NOW, sign="0x1", sign_at=NOW, done=3, doubted_since=NOW),
    releasing=16,
    ended_at=NOW - HOUR,
    failures=2,
    not_before=NOW + HOUR,
    stuck_since=NOW - HOUR,
    message="job fleetscore-publish-delta-000016-c00000-1 failed: ü",
)


@pytest.fixture(params=["memory", pytest.param("azurite", marks=pytest.mark.stack)])
def ledger(request: pytest.FixtureRequest, fresh_name: str) -> SinkLedger:
    if request.param == "memory":
        return MemorySinkLedger()
    return TableSinkLedger(request.getfixturevalue("azurite").connection_string, fresh_name)


def make_publication(
    hour: int, state: PublicationState = PublicationState.PENDING, sink: SinkKind = SinkKind.DELTA
) -> Publication:
    return Publication(sink, Window(SEVEN + hour * HOUR, HOUR).id, 0, 0, since=NOW, asked_at=NOW, state=state)


def list_runs(publications: Sequence[Publication]) -> list[tuple[SinkKind, str]]:
    return [(entry.sink, entry.run) for entry in publications]


def test_the_examples_leave_no_field_at_its_default() -> None:
    for example in (WHOLE_PUBLICATION, WHOLE_SINK):
        plain = {f.name: getattr(example, f.name) == f.default for f in fields(example) if f.name != "version"}
        assert [name for name, default in plain.items() if default] == []


def test_every_field_of_a_publication_is_read_back(ledger: SinkLedger) -> None:
    (saved,) = ledger.save_publications([WHOLE_PUBLICATION])

    assert replace(saved, version="") == WHOLE_PUBLICATION
    assert ledger.read_publication(SinkKind.SQL, WHOLE_PUBLICATION.run) == saved
    assert ledger.list_open_publications() == [saved]


def test_every_field_of_a_sink_is_read_back_and_before_its_first_job_it_is_empty(ledger: SinkLedger) -> None:
    assert ledger.read_sink(SinkKind.DELTA) == Sink(SinkKind.DELTA)

    saved = ledger.save_sink(WHOLE_SINK)

    assert replace(saved, version="") == WHOLE_SINK
    assert ledger.read_sink(SinkKind.DELTA) == saved
    assert ledger.read_sink(SinkKind.SQL) == Sink(SinkKind.SQL)
    again = ledger.save_sink(replace(saved, job=None))
    assert ledger.read_sink(SinkKind.DELTA) == again


def test_a_sink_that_was_saved_since_is_a_conflict(ledger: SinkLedger) -> None:
    first = ledger.save_sink(WHOLE_SINK)
    ledger.save_sink(replace(first, failures=0))

    for stale in (first, WHOLE_SINK):
        with pytest.raises(Conflict):
            ledger.save_sink(stale)


def test_what_is_not_recorded_is_not_found(ledger: SinkLedger) -> None:
    for run in (WHOLE_PUBLICATION.run, "no window"):
        with pytest.raises(NotFound):
            ledger.read_publication(SinkKind.DELTA, run)
    assert (ledger.list_open_publications(), ledger.list_publications(SinkKind.DELTA, 9).items) == ([], ())


def test_a_publication_moves_between_open_and_done(ledger: SinkLedger) -> None:
    (first,) = ledger.save_publications([make_publication(0)])
    (done,) = ledger.save_publications([replace(first, state=PublicationState.DONE)])

    assert ledger.list_open_publications() == []
    assert ledger.list_publications(SinkKind.DELTA, 9).items == (done,)
    assert ledger.read_publication(SinkKind.DELTA, done.run) == done

    (reopened,) = ledger.save_publications([replace(done, state=PublicationState.PENDING, round=1)])

    assert ledger.list_open_publications() == [reopened]
    assert ledger.list_publications(SinkKind.DELTA, 9).items == ()
    assert ledger.read_publication(SinkKind.DELTA, done.run) == reopened


@pytest.mark.parametrize("state", [PublicationState.PENDING, PublicationState.DONE])
def test_a_publication_that_was_saved_since_is_a_conflict(ledger: SinkLedger, state: PublicationState) -> None:
    (first,) = ledger.save_publications([make_publication(0)])
    (second,) = ledger.save_publications([replace(first, state=state, failures=1)])

    for stale in (first, replace(first, state=PublicationState.DONE), replace(first, state=PublicationState.FAILED)):
        with pytest.raises(Conflict):
            ledger.save_publications([stale])
    assert ledger.read_publication(SinkKind.DELTA, first.run) == second


def test_a_run_is_recorded_once_for_each_sink(ledger: SinkLedger) -> None:
    ledger.save_publications([make_publication(0), make_publication(0, sink=SinkKind.SQL)])

    with pytest.raises(Conflict):
        ledger.save_publications([make_publication(0)])

    assert {entry.sink for entry in ledger.list_open_publications()} == {SinkKind.DELTA, SinkKind.SQL}


def test_those_that_are_open_come_by_sink_and_the_newest_first(ledger: SinkLedger) -> None:
    entries = [make_publication(hour, sink=sink) for hour in (1, 3, 2) for sink in (SinkKind.SQL, SinkKind.DELTA)]
    ledger.save_publications(entries)
    ledger.save_publications([make_publication(4, PublicationState.DONE)])

    runs = [Window(SEVEN + hour * HOUR, HOUR).id for hour in (3, 2, 1)]
    assert list_runs(ledger.list_open_publications()) == [
        *((SinkKind.DELTA, run) for run in runs), *((SinkKind.SQL, run) for run in runs)
    ]  # fmt: skip


def test_those_that_are_done_come_in_pages(ledger: SinkLedger) -> None:
    ledger.save_publications([make_publication(hour, PublicationState.DONE) for hour in range(5)])
    ledger.save_publications([make_publication(9, PublicationState.DONE, SinkKind.SQL), make_publication(8)])

    first = ledger.list_publications(SinkKind.DELTA, 2)
    second = ledger.list_publications(SinkKind.DELTA, 2, first.cursor)
    last = ledger.list_publications(SinkKind.DELTA, 2, second.cursor)

    pages = [[entry.run[9:11] for entry in page.items] for page in (first, second, last)]
    assert (pages, last.cursor) == ([["11", "10"], ["09", "08"], ["07"]], None)
    with pytest.raises(Malformed):
        ledger.list_publications(SinkKind.DELTA, 2, "no cursor")


def test_a_run_s_rows_are_removed_at_all_sinks(ledger: SinkLedger) -> None:
    states = (PublicationState.DONE, PublicationState.PENDING)
    ledger.save_publications([make_publication(0, state, sink) for state, sink in zip(states, SinkKind, strict=False)])
    ledger.save_publications([make_publication(1)])

    for _ in range(2):
        ledger.remove_publications(make_publication(0).run)
    ledger.remove_publications("no window")

    assert list_runs(ledger.list_open_publications()) == [(SinkKind.DELTA, make_publication(1).run)]
    assert ledger.list_publications(SinkKind.DELTA, 9).items == ()


WHOLE_NOTICE = Notice(
    "20261121T0700Z-PT1H-0-run_failed", NoticeKind.FAILED, "20261121T0700Z-PT1H", "ü {json} '#?", NOW, 3, NOW + HOUR
)


def test_every_field_of_a_notification_is_read_back_and_one_of_the_same_id_waits_once(ledger: SinkLedger) -> None:
    assert ledger.list_notices() == []
    assert ledger.add_notice(WHOLE_NOTICE)
    assert not ledger.add_notice(replace(WHOLE_NOTICE, text="another"))

    (notice,) = ledger.list_notices()

    assert replace(notice, version="") == WHOLE_NOTICE


def test_notifications_come_the_oldest_first_and_are_removed_once_they_are_sent(ledger: SinkLedger) -> None:
    for name, at in (("b", NOW), ("c", NOW - HOUR), ("a", NOW)):
        ledger.add_notice(replace(WHOLE_NOTICE, id=name, at=at))
    assert [notice.id for notice in ledger.list_notices()] == ["c", "a", "b"]

    for name in ("c", "c", "unknown"):
        ledger.remove_notice(name)

    assert [notice.id for notice in ledger.list_notices()] == ["a", "b"]


def test_a_notification_that_was_saved_or_sent_since_is_a_conflict(ledger: SinkLedger) -> None:
    ledger.add_notice(WHOLE_NOTICE)
    (first,) = ledger.list_notices()
    second = ledger.save_notice(replace(first, tries=4))
    assert ledger.list_notices() == [second]

    with pytest.raises(Conflict):
        ledger.save_notice(first)
    ledger.remove_notice(first.id)
    with pytest.raises(Conflict):
        ledger.save_notice(second)
