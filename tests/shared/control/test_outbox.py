"""People are notified of what they should know, once by its id; whoever receives it stops no tick."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from shared.adapters.memory import MemoryLedger
from shared.contract.errors import Malformed, Unavailable
from shared.contract.publishing.sinks import SinkKind
from shared.contract.windows import Window
from shared.control.open_runs import _begin_run
from shared.control.sinks.outbox import Outbox
from shared.publishing.notices import NotifyOptions
from shared.state.notices import Notice, NoticeKind
from shared.state.publications import Publication
from shared.state.requests import RequestKind
from shared.state.runs import Phase, Run
from tests.shared.control.test_publisher import FullTable, beat, make_world, read_sink
from tests.storm.world import BEAT, WINDOW, World

HOUR = timedelta(hours=1)


def test_people_are_notified_of_a_sink_that_is_stuck_and_when_it_is_so_no_longer() -> None:
    world = make_world()
    world.table = FullTable()
    beat(world, 12)
    world.ledger.save_heartbeat(replace(world.ledger.read_heartbeat(), watermark=world.now + timedelta(days=9)))
    for _ in range(3):
        world.now += HOUR
        beat(world, 4)
    stuck = [notice for notice in world.notifier.sent if notice.kind is NoticeKind.SINK_STUCK]
    assert [notice.text for notice in stuck] == [
        f"Sink delta is stuck: run {WINDOW} waits since 2026-11-21 12:05 UTC: sink_full: no space left on device"
    ]

    world.table.room = True
    world.now += HOUR
    world.beat_until_quiet()

    assert [notice.kind for notice in world.notifier.sent[-1:]] == [NoticeKind.SINK_RECOVERED]


def test_a_receiver_that_refuses_or_does_not_answer_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()

    class Deaf:
        def send(self, notice: Notice) -> None:
            raise Unavailable(f"chat.example.org did not answer: {notice.kind}")

    world.plane = replace(world.plane, notifier=Deaf())
    beat(world, 12)

    assert world.ledger.read_run(WINDOW).phase is Phase.PARTIAL
    (notice,) = world.sinks.list_notices()
    assert (notice.kind, notice.subject, notice.tries) == (NoticeKind.PARTIAL, WINDOW, 2)
    assert "is not sent: chat.example.org did not answer" in caplog.text
    world.now += timedelta(days=1)
    for _ in range(2):
        beat(world, 1)
        world.now += HOUR
    assert [entry.id for entry in world.sinks.list_notices() if entry.subject == WINDOW] == []
    assert "is dropped: it could not be sent for a day, or there was no NOTIFY_URL" in caplog.text


def test_a_notification_that_is_refused_for_good_is_dropped_at_once(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()

    class Strict:
        def send(self, notice: Notice) -> None:
            raise Malformed(f"chat.example.org answered 404: {notice.kind}")

    world.plane = replace(world.plane, notifier=Strict())
    beat(world, 12)

    assert world.sinks.list_notices() == []
    assert "is dropped: chat.example.org answered 404: run_partial" in caplog.text


def test_notifications_that_waited_while_there_was_no_url_are_not_sent() -> None:
    world = make_world()
    for name, at in (("old", world.now - timedelta(days=1)), ("new", world.now - HOUR)):
        world.sinks.add_notice(Notice(name, NoticeKind.FAILED, WINDOW, "text", at))

    world.beat()

    assert [notice.id for notice in world.notifier.sent] == ["new"]
    assert world.sinks.list_notices() == []


def test_a_run_that_a_redrive_mends_has_recovered_once() -> None:
    world = make_world()
    world.beat_until_quiet()
    assert world.ledger.read_run(WINDOW).alarmed

    world.fleet = dict.fromkeys(world.fleet)
    world.wish(RequestKind.REDRIVE)
    world.beat_until_quiet()
    world.wish(RequestKind.REPROCESS)
    world.beat_until_quiet()

    run = world.ledger.read_run(WINDOW)
    assert (run.round, run.alarmed) == (2, False)
    assert [(notice.kind, notice.id) for notice in world.notifier.sent if notice.subject == WINDOW] == [
        (NoticeKind.PARTIAL, f"{WINDOW}-0-run_partial"), (NoticeKind.RECOVERED, f"{WINDOW}-1-run_recovered"),
    ]  # fmt: skip


def make_outbox(world: World) -> Outbox:
    return Outbox(world.ledger, world.sinks, world.notifier, NotifyOptions(is_set=True))


def test_a_tick_that_was_killed_before_it_saved_the_sink_records_the_same_notification_again() -> None:
    world = make_world()
    outbox, since = make_outbox(world), world.now - HOUR
    entries = [Publication(SinkKind.DELTA, WINDOW, 0, 0, since=since, asked_at=since)]

    for lacking in (entries, []):
        before = world.sinks.read_sink(SinkKind.DELTA)
        for minutes in range(2):
            stored = world.sinks.save_sink(replace(read_sink(world), stuck_since=before.stuck_since))
            outbox.note_sinks([SinkKind.DELTA], lacking, world.now + timedelta(minutes=minutes))
            assert read_sink(world).stuck_since != stored.stuck_since

    assert sorted(notice.id for notice in world.sinks.list_notices()) == [
        f"delta-{since:%Y%m%dT%H%M%SZ}-{WINDOW}-stuck", f"delta-{since:%Y%m%dT%H%M%SZ}-recovered",
    ]  # fmt: skip


def test_the_first_run_after_windows_that_were_missed_in_a_row_has_recovered() -> None:
    world = make_world()
    start = Window.parse(WINDOW).start + 9 * HOUR
    well = Run(Window(start, HOUR), Phase.SUCCEEDED, world.now)
    missed = Run(Window(start - 7 * HOUR, 7 * HOUR), Phase.MISSED, world.now)
    world.ledger.add_run(missed)
    outbox = make_outbox(world)
    outbox.note_missed(start - 8 * HOUR, start, world.now)

    assert outbox.note_run(well, world.now) == well
    assert [(notice.kind, notice.subject) for notice in world.sinks.list_notices()] == [
        (NoticeKind.MISSED, missed.id), (NoticeKind.RECOVERED, well.id),
    ]  # fmt: skip
    assert world.ledger.read_run(missed.id).alarmed


def test_a_window_long_ago_has_recovered_after_windows_before_it_that_were_missed() -> None:
    """A backfill scores it while many runs are newer."""
    world = make_world()
    start = Window.parse(WINDOW).start - 100 * HOUR
    missed = Run(Window(start - 7 * HOUR, 7 * HOUR), Phase.MISSED, world.now, alarmed=True)
    newer = [Run(Window(start + hours * HOUR, HOUR), Phase.SUCCEEDED, world.now) for hours in range(1, 31)]
    for run in (missed, *newer):
        world.ledger.add_run(run)
    well = Run(Window(start, HOUR), Phase.SUCCEEDED, world.now)

    assert make_outbox(world).note_run(well, world.now) == well
    assert [(notice.kind, notice.subject) for notice in world.sinks.list_notices()] == [
        (NoticeKind.RECOVERED, well.id),
    ]


def test_a_row_of_the_past_that_cannot_be_read_keeps_no_run_open(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()
    well = Run(Window(Window.parse(WINDOW).start, HOUR), Phase.SUCCEEDED, world.now)

    class Ledger(MemoryLedger):
        def list_runs_in(self, start: datetime, end: datetime) -> Iterator[Run]:
            yield from ()
            raise Malformed(f"a row between {start} and {end}")

    assert replace(make_outbox(world), ledger=Ledger()).note_run(well, world.now) == well
    assert "the run before it is not known: a row between" in caplog.text


def test_a_bug_of_the_notifier_stops_no_tick(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()

    class Broken:
        def send(self, notice: Notice) -> None:
            raise ValueError(f"a bug at {notice.kind}")

    world.plane = replace(world.plane, notifier=Broken())
    beat(world, 12)

    heartbeat = world.ledger.read_heartbeat()
    assert (heartbeat.ticked_at, heartbeat.trouble) == (
        world.now - BEAT, "notifications: ValueError: a bug at run_partial",
    )  # fmt: skip
    assert "notifications wait for the next tick" in caplog.text


def test_people_are_notified_of_windows_that_were_missed() -> None:
    world = make_world()
    world.now += timedelta(hours=40)
    beat(world, 3)

    missed = [notice for notice in world.notifier.sent if notice.kind is NoticeKind.MISSED]
    assert [notice.subject for notice in missed] == [
        run.id for run in world.ledger._runs.values() if run.phase is Phase.MISSED
    ]
    assert missed
    assert all(world.ledger.read_run(notice.subject).alarmed for notice in missed)


def test_a_missed_run_that_a_person_requests_after_all_may_recover() -> None:
    world = make_world()
    missed = Run(Window.parse(WINDOW), Phase.MISSED, world.now, alarmed=True)

    begun = _begin_run(Run(missed.window, Phase.PLANNING, world.now, asked_by="request"), missed)
    make_outbox(world).note_run(replace(begun, phase=Phase.SUCCEEDED), world.now)

    assert [notice.id for notice in world.sinks.list_notices()] == [f"{WINDOW}-0-run_recovered"]
