"""App and nodes of two versions of the contract beside each other: what runs are planned in, and how they end."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.contract import paths
from shared.contract.documents import NEWEST
from shared.contract.manifest import Manifest
from shared.contract.reasons import Reason
from shared.state.requests import RequestKind
from shared.state.runs import Heartbeat, Phase, Run
from tests.storm.fault_plan import BY_NAME, Weather
from tests.storm.scenarios import FLEET, a_partial_run, etags_of, is_complete
from tests.storm.world import EARLIER, WINDOW, World

HOUR = timedelta(hours=1)


def schemas_of(world: World, run: Run) -> set[int]:
    """The schemas of a run's plan and of the manifests that its chunks have now."""
    plan = json.loads(world.work.read(paths.plan_path(run.id, 0)))["schema"]
    chunks = world.ledger.list_chunks(run.id)
    manifests = [world.work.read(paths.manifest_path(run.id, chunk.manifest)) for chunk in chunks]
    return {plan, *(Manifest.from_bytes(data).schema for data in manifests)}


def ask_for_hour_before(world: World) -> Run:
    """Another run, of the hour before the first."""
    window = replace(EARLIER.window, start=EARLIER.window.start - HOUR)
    world.wish(RequestKind.RUN, window.id)
    world.beat_until_quiet()
    return world.ledger.read_run(window.id)


def test_where_nothing_ran_yet_the_first_plan_is_of_the_newest_schema() -> None:
    world = World(dict(FLEET))
    world.ledger.remove_run(EARLIER.id)
    world.ledger.save_heartbeat(Heartbeat(version=world.ledger.read_heartbeat().version))
    run = world.beat_until_over()
    assert schemas_of(world, run) == {NEWEST}


def test_a_first_tick_that_is_killed_anywhere_is_not_taken_for_an_upgrade() -> None:
    for call in range(40):
        weather = Weather({call: BY_NAME["killed after"]})
        world = World(dict(FLEET), weather=weather)
        world.ledger.remove_run(EARLIER.id)
        world.ledger.save_heartbeat(Heartbeat(version=world.ledger.read_heartbeat().version))
        assert schemas_of(world, world.beat_until_over()) == {NEWEST}, weather.calls[call]
        assert weather.struck


def test_an_app_that_was_upgraded_plans_in_schema_1_until_a_node_reports_that_it_reads_2() -> None:
    world = World(dict(FLEET), node_schema=None)
    first = world.beat_until_over()
    is_complete(world)
    assert schemas_of(world, first) == {1}
    assert world.ledger.read_heartbeat().node_schema == NEWEST
    assert schemas_of(world, ask_for_hour_before(world)) == {NEWEST}


def test_nodes_that_are_put_back_to_the_version_before_get_plans_of_schema_1_again() -> None:
    world = World(dict(FLEET), old_nodes=True)
    failed = world.beat_until_over()
    assert (schemas_of(world, failed), failed.phase, failed.failures[0].reason) == (
        {NEWEST}, Phase.FAILED, Reason.JOB_FAILED,
    )  # fmt: skip
    run = ask_for_hour_before(world)
    assert (schemas_of(world, run), run.phase) == ({1}, Phase.PARTIAL)


def test_a_report_of_an_old_node_puts_the_next_plan_back_to_schema_1() -> None:
    world = World(dict(FLEET), node_schema=1, old_nodes=True)
    world.beat()
    world.ledger.save_heartbeat(replace(world.ledger.read_heartbeat(), node_schema=2))
    world.beat_until_quiet()
    assert world.ledger.read_heartbeat().node_schema == 1


def test_old_nodes_are_never_asked_for_what_they_do_not_know() -> None:
    world = World(dict(FLEET), node_schema=1, old_nodes=True)
    world.beat_until_quiet()
    world.fleet |= {"pump3": None, "pump4/noise": None}
    for kind in (RequestKind.REDRIVE, RequestKind.REPROCESS):
        world.wish(kind)
        run = world.beat_until_over()
        world.check_complete(run)
    assert (run.phase, run.round, schemas_of(world, run)) == (Phase.SUCCEEDED, 2, {1})


@pytest.mark.parametrize("of_old_nodes", [False, True], ids=["schema 2", "a run of schema 1"])
def test_files_that_were_removed_renamed_or_doubled_are_scored_as_they_are_now(of_old_nodes: bool) -> None:
    world = a_partial_run(of_old_nodes=of_old_nodes)
    world.models.delete("pump2.skops")
    world.models.delete("pump4/heat.skops")
    world.models.write("pump4/heat.pkl", b"another format")
    world.wish(RequestKind.REPROCESS)
    run = world.beat_until_over()
    world.check_complete(run)
    assert (run.tally.scored, run.tally.skipped, run.failures[0].reason) == (4, 1, Reason.MODEL_REMOVED)
    etags = {blob.name: blob.etag for blob in world.models.list_blobs()}
    assert etags_of(world, run)["pump4/heat"] == {etags["pump4/heat.pkl"]}
    world.models.write("pump4/heat.skops", b"two files now")
    world.models.write("pump2.skops", b"there again")
    world.wish(RequestKind.REPROCESS)
    run = world.beat_until_over()
    assert (run.tally.scored, run.tally.failed, run.failures[0].reason) == (4, 1, Reason.AMBIGUOUS)


def test_two_apps_that_share_a_working_container_do_not_publish_each_others_results() -> None:
    world = World(dict(FLEET))
    first = world.beat_until_over()
    other = World(dict(FLEET))
    other.work, other.models = world.work, world.models
    options = other.plane.options
    options = replace(
        options, planning=replace(options.planning, app="another"), limits=replace(options.limits, app="another")
    )
    other.plane = replace(other.plane, work=other.work, options=options)
    other.beat()
    run = other.ledger.read_run(WINDOW)
    assert (first.phase, run.phase) == (Phase.PARTIAL, Phase.PLANNING)
    assert "was planned by app fleetscore with memory://models" in other.ledger.read_heartbeat().trouble
    assert "WORK_CONTAINER of its own" in other.ledger.read_heartbeat().trouble
    assert list(other.predictions.list_blobs()) == []
