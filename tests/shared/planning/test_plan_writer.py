"""Planning with its effects: whose plan stands, and what listings that tell too much or too little make of it."""

from __future__ import annotations

from shared.contract.reasons import Reason
from shared.planning.plan_writer import PlanWriter
from tests.storm.fault_plan import BY_NAME, Weather
from tests.storm.scenarios import a_run, is_complete
from tests.storm.world import WINDOW, World

GOOD: dict[str, Reason | None] = {"pump1": None, "pump2": None, "pump3": None}


def calls(expected: str) -> list[int]:
    """When a run makes this call in fair weather."""
    weather = Weather()
    a_run(weather, ())
    return [number for number, call in enumerate(weather.calls) if call == expected]


def test_the_plan_that_was_written_first_stands_though_its_host_was_killed() -> None:
    """The other host sees one model less, and dies over the run's row; so only its plan is there."""
    weather = Weather()
    world = World({**GOOD, "pump4": None, "pump5": None}, weather=weather)
    (*_, create) = [number for number in calls("work.create") if number < calls("ledger.save_run")[0]]

    def another_host_plans() -> None:
        world.models.delete("pump1.skops")
        plane = world.plane
        drafting = PlanWriter(
            world.models, plane.readings, world.work, world.predictions, world.ledger, plane.options.planning
        )
        drafting.write_plan(world.ledger.read_run(WINDOW), (), world.now)
        world.models.write("pump1.skops", b"a model")

    weather.meanwhile[create] = another_host_plans
    run = world.beat_until_over()
    world.check_complete(run)
    assert run.models == 4


def test_a_page_of_models_that_comes_twice_is_planned_once() -> None:
    world = World(dict(GOOD), weather=Weather({calls("models.list_blobs")[0]: BY_NAME["answer doubled"]}))
    run = world.beat_until_over()
    world.check_complete(run)
    assert run.models == 3


def test_chunk_rows_that_always_come_twice_change_nothing() -> None:
    calm, doubled = Weather(), Weather(dict.fromkeys(calls("ledger.list_chunks"), BY_NAME["answer doubled"]))
    for weather in (calm, doubled):
        is_complete(a_run(weather, ()))
    assert doubled.calls == calm.calls


def test_chunk_rows_that_are_read_short_twice_end_no_run_before_its_time() -> None:
    for call in calls("ledger.list_chunks"):  # the second read comes after the plan's, and after what mends the rows
        is_complete(a_run(Weather(dict.fromkeys(range(call, call + 4), BY_NAME["page cut short"])), ()))
