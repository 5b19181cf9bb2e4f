"""What a tick does about sinks where runs, sinks and settings come and go."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.adapters.memory import MemoryLedger
from shared.adapters.memory_sinks import MemorySinkLedger
from shared.contract.publishing.documents import PublicationResult, PublishingManifest
from shared.contract.publishing.sinks import SinkKind, SinkReason
from shared.contract.windows import Window
from shared.control import maintenance
from shared.control.options import ControlOptions
from shared.publishing import publications
from shared.publishing.sink_options import SinkOptions
from shared.state.publications import PublicationState
from shared.state.requests import RequestKind
from tests.storm.scenarios import FLEET, is_held
from tests.storm.world import WINDOW, World

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def make_world() -> World:
    return World(dict(FLEET), publishes=True)


def set_options(world: World, **changes: Any) -> None:
    """The app starts again with other settings."""
    options: ControlOptions = replace(world.plane.options, **changes)
    world.plane = replace(world.host(), options=options)


def beat(world: World, times: int) -> None:
    for _ in range(times):
        world.beat()


def age(world: World, days: int) -> None:
    """So much later; nothing falls due meanwhile."""
    world.now += days * DAY
    world.ledger.save_heartbeat(replace(world.ledger.read_heartbeat(), watermark=world.now + 90 * DAY))


def test_a_window_that_was_pruned_without_sinks_and_asked_for_again_is_published_again() -> None:
    world = make_world()
    world.beat_until_quiet()
    set_options(world, sinks=(), prune_predictions=True)
    age(world, 2)
    beat(world, 3)
    assert list(world.ledger._runs) == []
    assert world.sinks._publications == {}

    set_options(world, sinks=(SinkOptions(SinkKind.DELTA),), keep_runs=90 * DAY)
    world.wish(RequestKind.RUN)
    world.beat_until(lambda: WINDOW in world.ledger._runs and world.over, 60)

    assert world.table.held[WINDOW][0] == 2  # revision 1, over what was left
    is_held(world)


def test_a_publication_whose_run_is_gone_is_forgotten_after_a_while_and_takes_no_job() -> None:
    world = make_world()
    world.beat_until_quiet()
    run = world.ledger.read_run(WINDOW)
    gone = publications.ask_publication(
        None, SinkKind.DELTA, replace(run, window=Window.parse("20261101T0100Z-PT1H")), world.now
    )
    assert gone
    world.sinks.save_publications([gone])
    number = world.sinks.read_sink(SinkKind.DELTA).next_number
    for _ in range(12):
        beat(world, 2)
        world.now += timedelta(minutes=20)
        world.ledger.save_heartbeat(replace(world.ledger.read_heartbeat(), watermark=world.now + DAY))

    assert world.sinks.list_open_publications() == []
    assert list(world.sinks._publications) == [(SinkKind.DELTA, WINDOW)]
    assert world.sinks.read_sink(SinkKind.DELTA).next_number == number


def test_a_sink_that_is_set_while_a_run_is_watched_gets_it() -> None:
    world = make_world()
    set_options(world, sinks=())  # people are notified, and no sink is set
    beat(world, 12)
    assert world.ledger.read_run(WINDOW).offered_sinks == ()
    notices = len(world.notifier.sent)

    set_options(world, sinks=(SinkOptions(SinkKind.DELTA),))
    world.beat_until_quiet()

    is_held(world)
    assert world.ledger.read_run(WINDOW).offered_sinks == ("delta",)
    assert len(world.notifier.sent) == notices  # of the run they were told before


def test_a_sink_that_is_set_later_is_asked_nothing_when_old_runs_are_pruned() -> None:
    world = make_world()
    world.beat_until_quiet()
    set_options(world, sinks=(SinkOptions(SinkKind.DELTA), SinkOptions(SinkKind.EVENTS)), prune_predictions=False)
    world.ledger._watched.discard(WINDOW)
    age(world, 3)

    beat(world, 2)

    assert world.sinks.list_open_publications() == []
    assert list(world.ledger._runs) == []


def test_a_rebuilt_run_is_removed_from_the_sinks_before_it_is_pruned() -> None:
    world = make_world()
    world.beat_until_quiet()
    world.ledger, world.sinks = MemoryLedger(world.tokens), MemorySinkLedger(world.tokens)
    world.before = {}, {}
    set_options(world, sinks=())  # what the settings of a desk may lack
    plane = world.plane
    list(maintenance.rebuild_ledger(plane.publisher, world.predictions, plane.planner, world.now))
    maintenance.restore_sinks(world.sinks, world.work)
    set_options(world, sinks=(SinkOptions(SinkKind.DELTA),), prune_predictions=True)
    world.ledger._watched.discard(WINDOW)
    age(world, 2)

    for _ in range(6):
        beat(world, 8)
        world.now += HOUR

    assert world.table.list_rows(WINDOW) == []
    assert list(world.ledger._runs) == []


@pytest.mark.parametrize("seconds", [15, 30, 59, 61])
def test_every_job_of_a_sink_is_released_however_often_the_timer_beats(seconds: int) -> None:
    world = make_world()
    world.beat_until_quiet()
    for number in range(1, 6):
        run = world.ledger.read_run(WINDOW)
        world.ledger._runs[WINDOW] = replace(run, round=number)
        for _ in range(30):
            world.plane.tick(world.now)
            world.move_nodes()
            world.now += timedelta(seconds=seconds)
            if world.sinks.read_publication(SinkKind.DELTA, WINDOW).published_round == number:
                break
    for _ in range(10):
        world.plane.tick(world.now)
        world.now += timedelta(seconds=seconds)

    assert world.sinks.read_sink(SinkKind.DELTA).next_number == 7
    assert [name for name in world.cluster.sightings if "-publish-" in name] == []


def test_runs_of_the_schedule_go_before_those_of_a_request_which_alarm_nobody() -> None:
    world = make_world()
    world.beat_until_quiet()
    run = world.ledger.read_run(WINDOW)
    fresh = publications.ask_publication(None, SinkKind.DELTA, run, world.now)
    assert fresh
    old = replace(fresh, run="20261101T0100Z-PT1H", asked_at=world.now - 9 * HOUR, is_requested=True)

    assert publications.select_due([old, fresh], SinkKind.DELTA, world.now) == [fresh, old]
    assert publications.find_oldest([old]) is None
    assert publications.find_oldest([old, fresh]) == fresh


def test_pruning_that_is_out_of_time_asks_no_sink() -> None:
    world = make_world()
    world.beat_until_quiet()
    age(world, 2)
    set_options(world, tick_budget=timedelta(0))

    world.plane.tick(world.now)

    assert not world.sinks.read_publication(SinkKind.DELTA, WINDOW).is_removal


def test_the_manifest_of_another_app_is_not_submitted(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()
    other = PublishingManifest(SinkKind.DELTA, 1, "another", world.work.url, ())
    world.work.create("runs/publish-delta-000001/publish.json", other.to_bytes())
    beat(world, 12)

    assert "expected a manifest of app fleetscore, got one of another: give each app a WORK_CONTAINER" in caplog.text
    assert "fleetscore-publish-delta-000001-c00000-1" not in world.cluster.jobs
    world.beat_until_quiet()
    assert world.sinks.read_publication(SinkKind.DELTA, WINDOW).job == 2


def test_a_run_whose_parts_are_gone_is_pruned_although_the_sink_lacks_it() -> None:
    world = make_world()
    world.beat_until_quiet()
    done = world.sinks.read_publication(SinkKind.DELTA, WINDOW)
    result = PublicationResult(WINDOW, 0, 0, reason=SinkReason.PART_MISSING, message="results/x: it was removed")
    failed = publications.settle(replace(done, state=PublicationState.RUNNING), result, world.now)
    world.sinks.save_publications([replace(failed, not_before=world.now + 99 * DAY)])
    set_options(world, prune_predictions=False)
    age(world, 2)

    beat(world, 2)

    assert list(world.ledger._runs) == []


def test_what_a_publication_failed_for_is_not_said_of_its_next_round() -> None:
    world = make_world()
    world.beat_until_quiet()
    done = world.sinks.read_publication(SinkKind.DELTA, WINDOW)
    failed = replace(done, state=PublicationState.FAILED, reason="sink_denied", message="no right")

    run = replace(world.ledger.read_run(WINDOW), round=1)
    again = publications.ask_publication(failed, SinkKind.DELTA, run, world.now)

    assert again
    assert (again.reason, again.message) == ("", "")
