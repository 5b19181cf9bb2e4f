"""Cut the app at every call of a port, before and after it took effect: nothing lost, nothing twice, all ended."""

import itertools
import os
import random
from collections.abc import Callable
from datetime import timedelta

import pytest

from shared.domain import JobState, Phase, Reason, Run, WishKind
from shared.ports import JobSpec
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
