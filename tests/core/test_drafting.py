"""Planning with its effects: whose plan stands, and what listings that tell too much or too little make of it."""

from __future__ import annotations

from contextlib import suppress

from shared.domain import Reason
from tests.core.scenarios import a_run, is_complete
from tests.core.weather import BY_NAME, Killed, Weather
from tests.core.world import World

GOOD: dict[str, Reason | None] = {"pump1": None, "pump2": None, "pump3": None}


def calls(wanted: str) -> list[int]:
    """When a run makes this call in fair weather."""
    weather = Weather()
    a_run(weather, ())
    return [number for number, call in enumerate(weather.calls) if call == wanted]


def test_the_plan_that_was_written_first_stands_though_its_host_was_killed() -> None:
    """The other host sees one model less, and dies over the run's row; so only its plan is there."""
    weather = Weather()
    world = World({**GOOD, "pump4": None, "pump5": None}, weather=weather)
    (*_, create) = [number for number in calls("work.create") if number < calls("ledger.save_run")[0]]

    def another_host_plans() -> None:
        world.models.delete("pump1.skops")
        first_run_row = Weather({calls("ledger.save_run")[0]: BY_NAME["killed before"]})
        with suppress(Killed):
            world.host(first_run_row).tick(world.now)
        world.models.write("pump1.skops", b"a model")

    weather.meanwhile[create] = another_host_plans
    run = world.beat_until_over()
    world.check_complete(run)
    assert run.models == 4


def test_a_page_of_models_that_comes_twice_is_planned_once() -> None:
    world = World(dict(GOOD), weather=Weather({calls("models.list")[0]: BY_NAME["answer doubled"]}))
    run = world.beat_until_over()
    world.check_complete(run)
    assert run.models == 3


def test_where_every_page_always_comes_twice_a_run_ends_as_ever() -> None:
    is_complete(a_run(Weather(dict.fromkeys(range(1000), BY_NAME["answer doubled"])), ()))
