"""Cut the app at every call of a port, before and after it took effect: nothing lost, nothing twice, all ended."""

import itertools
import os
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from shared import contract
from shared.control import ControlPlane
from shared.domain import Reason, Tally
from shared.errors import Conflict
from shared.planner import CatchUp
from shared.ports import JobSpec
from shared.runs import ChunkState, JobState, Phase, Run
from shared.windows import Window
from shared.wishes import Wish, WishKind
from tests.core.world import FATES, FAULTS, NOON, WINDOW, Fault, Weather, World

FLEET: dict[str, Reason | None] = {
    "pump1": None,
    "pump2": None,
    "pump3": Reason.NO_READINGS,
    "pump4/heat": None,
    "pump4/noise": Reason.UNREADABLE_MODEL,
}
TROUBLED = ["well", "twice", "fails", "lost", "silent"]
STORMS = int(os.environ.get("FLEETSCORE_STORMS", "400"))


def golden(weather: Weather, fates: list[str]) -> tuple[World, Run]:
    """A whole run of three chunks, from the window that falls due to the last orphan."""
    world = World(FLEET, list(fates), weather=weather)
    return world, world.beat_until_over()


def cancelled(at: int) -> Callable[[Weather, list[str]], tuple[World, Run]]:
    """The same, but a person cancels it after so many beats."""

    def scenario(weather: Weather, fates: list[str]) -> tuple[World, Run]:
        world = World(FLEET, list(fates), weather=weather, max_in_flight=2)
        for _ in range(at):
            world.beat()
        world.wish(WishKind.CANCEL)
        if at == 0:
            world.wish(WishKind.RUN)
        return world, world.beat_until_over()

    return scenario


def assert_complete(world: World, run: Run) -> None:
    world.check_complete(run)
    assert run.phase is Phase.PARTIAL
    assert world.expected() == {"scored": 3, "failed": 1, "skipped": 1}
    assert (run.tally.scored, run.tally.failed, run.tally.skipped) == (3, 1, 1)


def assert_quiet(world: World, run: Run) -> None:
    world.check_complete(run)
    assert run.phase in (Phase.CANCELLED, Phase.PARTIAL, Phase.FAILED)
    assert world.ledger.wishes() == []


def cases(scenario: Callable[[Weather, list[str]], tuple[World, Run]], fates: list[str]) -> list[tuple[int, Fault]]:
    calm = Weather()
    scenario(calm, fates)
    return list(itertools.product(range(len(calm.calls)), FAULTS))


@pytest.mark.parametrize("first", [*FATES, "waits"])
def test_without_faults_any_fate_of_a_job_ends_well(first: str) -> None:
    assert_complete(*golden(Weather(), [first]))


@pytest.mark.parametrize("fates", [[], TROUBLED], ids=["jobs that do well", "jobs that do not"])
def test_one_fault_at_any_call_of_a_run_loses_nothing_and_doubles_nothing(fates: list[str]) -> None:
    for call, fault in cases(golden, fates):
        try:
            assert_complete(*golden(Weather({call: fault}), fates))
        except AssertionError as error:
            raise AssertionError(f"{fault.name} at call {call}: {error}") from error


@pytest.mark.parametrize("at", [0, 1, 2, 3, 4])
def test_one_fault_at_any_call_of_a_cancelled_run_leaves_nothing_running(at: int) -> None:
    for call, fault in cases(cancelled(at), []):
        try:
            assert_quiet(*cancelled(at)(Weather({call: fault}), []))
        except AssertionError as error:
            raise AssertionError(f"{fault.name} at call {call}: {error}") from error


def test_a_storm_of_faults_loses_nothing_and_doubles_nothing() -> None:
    for seed in range(STORMS):
        rng = random.Random(seed)
        faults = {rng.randrange(120): rng.choice(FAULTS) for _ in range(rng.randint(2, 12))}
        fates = rng.choices([*FATES, "waits"], k=rng.randint(0, 6))
        try:
            assert_complete(*golden(Weather(faults), fates))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


def test_two_hosts_that_tick_in_turn_make_one_run() -> None:
    world = World(FLEET, list(TROUBLED))
    first, second = world.plane, world.host()
    for beat in range(100):
        world.plane = (first, second)[beat % 2]
        world.beat()
        second.tick(world.now)
    assert_complete(world, world.ledger.run(WINDOW))


@pytest.mark.parametrize("fates", [[], TROUBLED], ids=["jobs that do well", "jobs that do not"])
def test_a_host_that_is_paused_before_any_call_while_another_ticks_changes_nothing(fates: list[str]) -> None:
    """The other host ticks three times in the pause, its jobs move on, and it has seen one model less."""
    calm = Weather()
    golden(calm, fates)
    for call in range(len(calm.calls)):
        weather = Weather()
        world = World(FLEET, list(fates), weather=weather)
        other = world.host(Weather())

        def pause(world: World = world, other: ControlPlane = other) -> None:
            world.models.delete("pump1.skops")
            for _ in range(3):
                with suppress(Conflict):
                    other.tick(world.now)
                world.move_nodes()
            world.models.write("pump1.skops", b"a model")

        weather.meanwhile[call] = pause
        run = world.beat_until_over()
        try:
            world.check_complete(run)
            assert run.phase is Phase.PARTIAL
            assert run.tally.scored in (2, 3)  # by whose listing became the plan
        except AssertionError as error:
            raise AssertionError(f"paused before call {call}, {weather.calls[call]}: {error}") from error


def test_a_tick_repeated_at_the_same_instant_changes_nothing() -> None:
    world = World(FLEET)
    world.plane.tick(NOON)
    world.plane.tick(NOON)
    before = dict(world.cluster.jobs)
    world.plane.tick(NOON)
    assert world.cluster.jobs == before
    assert_complete(world, world.beat_until_over())


def test_jobs_of_another_app_at_the_same_cluster_are_left_alone() -> None:
    world = World(FLEET)
    foreign = JobSpec(f"other-{WINDOW}-c00000-9", WINDOW, ("python",), timedelta(hours=1))
    world.cluster.submit([foreign])
    world.started.add(foreign.name)
    run = world.beat_until_over()
    assert run.phase is Phase.PARTIAL
    assert world.cluster.sightings[foreign.name].state is JobState.QUEUED


def test_a_cancelled_run_stops_jobs_that_would_never_end() -> None:
    world = World(FLEET, ["endless"] * 3)
    for _ in range(3):
        world.beat()
    world.wish(WishKind.CANCEL)
    run = world.beat_until_over()
    world.check_complete(run)
    assert (run.phase, run.tally) == (Phase.CANCELLED, Tally(cancelled=5))
    assert {seen.state for seen in world.cluster.sightings.values()} == {JobState.CANCELLED}


def test_a_job_of_a_closed_run_that_turns_up_late_is_cancelled() -> None:
    world = World(FLEET)
    world.beat_until_over()
    late = JobSpec(f"fleetscore-{WINDOW}-c00000-7", WINDOW, ("python",), timedelta(hours=1))
    world.cluster.submit([late])
    world.plane.tick(world.now)
    assert world.cluster.sightings[late.name].state is JobState.CANCELLED


def test_a_closed_run_is_looked_after_for_two_hours_and_no_longer() -> None:
    world = World(FLEET)
    run = world.beat_until_over()
    assert run.ended_at
    world.ledger.save_heartbeat(replace(world.ledger.heartbeat(), watermark=NOON + timedelta(days=1)))
    world.plane.tick(run.ended_at + timedelta(minutes=119))
    assert [r.id for r in world.ledger.watched_runs()] == [run.id]
    world.plane.tick(run.ended_at + timedelta(minutes=120))
    assert world.ledger.watched_runs() == []


def test_a_cancel_stops_the_submitting_within_twenty_jobs() -> None:
    world = World({f"pump{i:02d}": None for i in range(60)}, chunk_size=1)
    submissions = 0

    def cancel_at_the_first(*_: object) -> dict[str, str]:
        nonlocal submissions
        submissions += 1
        world.wish(WishKind.CANCEL)
        return {}

    world.cluster.submit = cancel_at_the_first  # type: ignore[method-assign]
    world.plane.tick(NOON)
    assert submissions == 1


def test_a_run_that_is_cancelled_before_its_plan_makes_none() -> None:
    world = World(FLEET)
    world.ledger.add_run(Run(Window.parse(WINDOW), Phase.PLANNING, NOON))
    world.wish(WishKind.CANCEL)
    run = world.beat_until_over()
    assert (run.phase, run.models, run.message) == (Phase.CANCELLED, 0, "cancelled before it was planned")
    assert [blob.name for blob in world.work.list()] == []
    assert world.cluster.jobs == {}


def test_what_lies_where_a_part_belongs_is_never_overwritten() -> None:
    world = World(FLEET)
    name = contract.prediction_path(Window.parse(WINDOW), "c00000", 0)
    world.predictions.write(name, b'[["a row of somebody", "else", 0]]')
    run = world.beat_until_over()
    assert world.predictions.read(name) == b'[["a row of somebody", "else", 0]]'
    failed = world.ledger.chunk(WINDOW, "c00000")
    assert (failed.state, failed.reason, failed.tally) == (ChunkState.FAILED, Reason.COMMIT_CONFLICT, Tally(failed=2))
    assert (run.phase, run.tally.models) == (Phase.PARTIAL, run.models)


def test_windows_that_wait_are_opened_one_by_one_oldest_first() -> None:
    world = World(FLEET)
    world.now = NOON + timedelta(hours=2)
    opened = []
    for _ in range(60):
        world.beat()
        opened += [run.id for run in world.ledger.watched_runs() if not run.phase.terminal and run.id not in opened]
    hours = [f"20261121T{hour}00Z-PT1H" for hour in (11, 12, 13)]
    assert opened == hours
    assert [world.ledger.run(hour).phase for hour in hours] == [Phase.PARTIAL] * 3
    assert world.ledger.heartbeat().watermark == NOON.replace(minute=0) + timedelta(hours=2)


def test_a_window_that_was_missed_is_a_row_and_can_be_asked_for_after_all() -> None:
    world = World(FLEET)
    world.plane = replace(world.plane, rules=replace(world.plane.rules, catch_up=CatchUp.LATEST))
    world.now = NOON + timedelta(hours=1)
    world.beat()
    missed = world.ledger.run(WINDOW)
    assert (missed.phase, missed.reason) == (Phase.MISSED, Reason.TOO_LATE)
    world.wish(WishKind.RUN)
    for _ in range(30):
        world.beat()
    assert world.ledger.run(WINDOW).phase is Phase.PARTIAL


def test_an_empty_fleet_fails_after_a_second_look_and_says_where_it_looked() -> None:
    world = World({})
    world.models.write("README.md", b"no model")
    run = world.beat_until_over()
    message = "no models named {device}[/{sensor}].{ext} in memory://models, but 1 other blobs, such as README.md"
    assert (run.phase, run.reason, run.message) == (Phase.FAILED, Reason.EMPTY_FLEET, message)


def test_a_fleet_with_too_many_chunks_is_cut_again_into_larger_ones() -> None:
    world = World({f"pump{i:02d}": None for i in range(25)}, chunk_size=1)
    rules = replace(world.plane.rules, drafting=replace(world.plane.rules.drafting, max_chunks=10))
    world.plane = replace(world.plane, rules=rules)
    run = world.beat_until_over()
    world.check_complete(run)
    assert (run.phase, run.models, run.chunks) == (Phase.SUCCEEDED, 25, 9)


def test_a_wish_that_somebody_wrote_wrongly_into_the_table_stops_nothing() -> None:
    world = World(FLEET)
    world.ledger.add_wish(Wish(WishKind.RUN, "nonsense", NOON))
    world.ledger.add_wish(Wish(WishKind.CANCEL, "nonsense", NOON))
    assert_complete(world, world.beat_until_over())
    assert world.ledger.wishes() == []
