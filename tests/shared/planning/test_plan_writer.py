"""Planning with its effects: whose plan stands, and what listings that tell too much or too little make of it."""

from __future__ import annotations

import pytest

from shared.contract import paths
from shared.contract.domain import ModelFile
from shared.contract.manifest import Manifest
from shared.contract.model_names import make_files_etag
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


@pytest.mark.parametrize("schema", [1, 2])
def test_models_of_several_files_are_planned_for_nodes_that_can_read_them(schema: int) -> None:
    world = World({"pump1": None}, node_schema=schema)
    world.models.write("pump1.features.json", b"{}")
    world.beat()
    run = world.ledger.read_run(WINDOW)
    (chunk,) = world.ledger.list_chunks(WINDOW)
    (model,) = Manifest.from_bytes(world.work.read(paths.manifest_path(WINDOW, chunk.manifest))).models
    files = tuple(ModelFile(blob.name, blob.etag) for blob in world.models.list_blobs())
    expected = ((), Reason.UNSUPPORTED_MODEL) if schema == 1 else (files, None)
    assert (model.files, model.refused, model.etag) == (*expected, make_files_etag(files))
    assert (run.models, run.ignored) == (1, 0)


def test_files_that_are_no_models_are_counted_in_the_run_by_their_ending() -> None:
    world = World({"pump1": None})
    for name in ("a.csv", "b.CSV", "orphan.features.json", "README.md"):
        world.models.write(name, b"no model")
    run = world.beat_until_over()
    assert (run.models, run.ignored) == (1, 3)
    assert (run.ignored_endings, run.ignored_examples) == (
        {".csv": 2, ".json": 1},
        ("a.csv", "b.CSV", "orphan.features.json"),
    )


def test_a_container_without_models_says_what_it_holds() -> None:
    world = World({})
    for name in ("a.csv", "b.csv", "c.txt"):
        world.models.write(name, b"no model")
    run = world.beat_until_over()
    assert run.reason is Reason.EMPTY_FLEET
    assert run.message.endswith(" in memory://models, but 2 .csv, 1 .txt, such as a.csv")
