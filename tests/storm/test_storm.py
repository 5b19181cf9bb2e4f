"""Cut the app at every call of a port, before and after it took effect: nothing lost, nothing twice, all ended."""

import os
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.contract import paths
from shared.contract.domain import Tally
from shared.contract.errors import Conflict
from shared.contract.reasons import Reason
from shared.contract.windows import Window
from shared.control.loop import ControlPlane
from shared.planning.due_windows import CatchUp
from shared.ports import JobSpec, Refusal
from shared.state.requests import Request, RequestKind
from shared.state.runs import ChunkState, JobState, Phase, Run
from tests.storm import storm
from tests.storm.endings import Endings, Moment
from tests.storm.fault_plan import FAULTS, Weather
from tests.storm.rehearsal import TakenUp
from tests.storm.scenarios import (
    ANY_FATE,
    FLEET,
    SCENARIOS,
    TROUBLED,
    a_run,
    calm_calls,
    faults_of,
    is_complete,
    is_held,
    playing,
    rehearse,
    strike,
)  # fmt: skip
from tests.storm.world import BEAT, NOON, WINDOW, World, counts

STORMS = int(os.environ.get("FLEETSCORE_STORMS", "2000"))  # `make test-long` plays 10,000
PARTS = 4  # of them, which are played side by side
INTERLEAVINGS = 200


@pytest.mark.parametrize("first", ANY_FATE)
def test_without_faults_any_fate_of_a_job_ends_well(first: str) -> None:
    is_complete(a_run(Weather(), [first]))


@pytest.mark.parametrize("story", SCENARIOS)
def test_one_fault_at_any_call_loses_nothing_and_doubles_nothing(story: str, tell: Callable[[str], None]) -> None:
    cases = storm.singles(story)
    found = storm.play(cases)
    assert found.broken == ()
    assert found.struck == len(cases)
    calls, own = len(calm_calls(story)), len(cases) - found.alike
    tell(f"storm: {story}: {calls} calls, {len(cases)} single faults, of which {own} ended in ways of their own")


def _what_came(case: storm.Case, script: TakenUp | None, weather: Weather) -> dict[str, object]:
    """All that a case leaves, but for etags and versions, and what is named by them."""
    scenario = SCENARIOS[case.story]
    with playing(script):
        world = scenario.play(weather, scenario.fates if case.fates is None else case.fates)
    return {
        "calls": (weather.calls, weather.struck),
        "runs": [replace(run, version="") for run in world.ledger._runs.values()],
        "rows": world.rows(),
        "jobs": world.cluster.sightings,
        "blobs": [blob.name for blob in world.work.list_blobs() if "/manifests/" not in blob.name],
        "time": (world.now, world.random.getstate()),
    }


@pytest.mark.parametrize("story", SCENARIOS)
def test_a_story_that_is_taken_up_at_its_fault_ends_as_one_that_is_played_from_its_start(story: str) -> None:
    for case in storm.singles(story)[::150]:
        whole, weather = Weather(faults_of(case.faults)), Weather(faults_of(case.faults))
        script = TakenUp(rehearse(story), weather, min(case.faults))
        assert _what_came(case, script, weather) == _what_came(case, None, whole), case
    case, weather = storm.Case(story, {}, ("silent", "lost")), Weather()
    script = TakenUp(rehearse(story), weather, 0)
    assert _what_came(case, script, weather) == _what_came(case, None, Weather()), case


@pytest.mark.parametrize("story", SCENARIOS)
def test_a_case_that_goes_on_as_another_did_ends_like_it_when_it_is_played_to_its_end(story: str) -> None:
    scenario, known, alike = SCENARIOS[story], Endings(), 0
    for case in storm.singles(story)[::60]:
        end = strike(story, case.faults, known=known).known_end
        if end is not None:
            assert Moment.of(scenario.play(Weather(faults_of(case.faults)), scenario.fates)) == end, case
            alike += 1
    assert alike


def test_a_case_that_breaks_a_promise_is_no_known_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    def hold(_: World) -> None:
        raise AssertionError("a promise is broken")

    known = Endings()
    case = storm.singles("a run")[0]
    monkeypatch.setitem(SCENARIOS, "a run", replace(SCENARIOS["a run"], holds=hold))
    for _ in range(2):
        with pytest.raises(AssertionError, match="a promise is broken"):
            strike("a run", case.faults, known=known)


@pytest.mark.parametrize("part", range(PARTS))
def test_storms_of_several_faults_lose_nothing_and_double_nothing(part: int, tell: Callable[[str], None]) -> None:
    cases = [storm.drawn(seed) for seed in range(part, STORMS, PARTS)]
    found = storm.play(cases)
    assert found.broken == ()
    assert found.struck >= len(cases)
    tell(f"storm: {found.played} weathers of two faults or more, drawn by seed; {found.struck} faults struck")


def test_the_readme_tells_what_the_storm_does() -> None:
    calls = sum(len(calm_calls(story)) for story in SCENARIOS)
    cases = sum(len(storm.singles(story)) for story in SCENARIOS)
    told = f"{len(SCENARIOS)} stories, {calls:,} calls, {len(FAULTS)} kinds of fault, {cases:,} cases"
    assert told in " ".join((storm.ROOT / "README.md").read_text().split())


def test_two_hosts_that_tick_in_turn_make_one_run() -> None:
    world = World(dict(FLEET), list(TROUBLED))
    first, second = world.plane, world.host()
    for beat in range(100):
        world.plane = (first, second)[beat % 2]
        world.beat()
        second.tick(world.now)
    is_complete(world)


class _Turns(Weather):
    """Lets a host make its next call when it is its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.waits = threading.Semaphore(0), threading.Semaphore(0)

    def around(self, port: str, method: str, key: Any, call: Callable[[], Any]) -> Any:
        self.waits.release()
        self.go.acquire()
        return super().around(port, method, key, call)


def _tick_interleaved(hosts: list[tuple[ControlPlane, _Turns]], world: World, rng: random.Random) -> None:
    """Let all tick at once; who makes the next call is drawn."""

    def tick(plane: ControlPlane, turns: _Turns) -> None:
        with suppress(Conflict):
            plane.tick(world.now)
        over.add(id(turns))
        turns.waits.release()

    over: set[int] = set()
    threads = [threading.Thread(target=tick, args=host) for host in hosts]
    for thread in threads:
        thread.start()
    for _, turns in hosts:
        turns.waits.acquire()
    while alive := [turns for _, turns in hosts if id(turns) not in over]:
        turns = rng.choice(alive)
        turns.go.release()
        turns.waits.acquire()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("publishes", [False, True], ids=["no sink", "a sink"])
def test_two_hosts_that_tick_at_once_call_by_call_make_one_run(publishes: bool, tell: Callable[[str], None]) -> None:
    calls = 0
    for seed in range(INTERLEAVINGS // 2):
        rng = random.Random(f"{seed}{publishes}")
        world = World(dict(FLEET), rng.choices(ANY_FATE, k=rng.randint(0, 3)), publishes=publishes)
        hosts = [(world.host(turns), turns) for turns in (_Turns(), _Turns())]
        for beat in range(300):
            _tick_interleaved(hosts, world, rng)
            world.move_nodes()
            world.check()
            world.now += BEAT
            if beat > 3 and world.over:
                break
        for _ in range(8):
            world.beat()
        try:
            is_complete(world)
            if publishes:
                is_held(world)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        calls += sum(len(turns.calls) for _, turns in hosts)
    tell(f"storm: two hosts at once, {INTERLEAVINGS // 2} runs interleaved call by call, {calls} calls")


@pytest.mark.parametrize("fates", [[], list(TROUBLED)], ids=["jobs that do well", "jobs that do not"])
def test_a_host_that_is_paused_before_any_call_while_another_ticks_changes_nothing(fates: list[str]) -> None:
    """The other host ticks three times in the pause, its jobs move on, and it has seen one model less."""
    calm = Weather()
    a_run(calm, fates)
    for call in range(len(calm.calls)):
        weather = Weather()
        world = World(dict(FLEET), list(fates), weather=weather)
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


def test_what_a_redrive_cannot_carry_over_is_not_lost() -> None:
    world = World({"pump1": None, "pump2": Reason.BAD_SCORES})
    world.beat_until_over()
    world.fleet["pump1"] = Reason.NO_READINGS  # the readings are gone by now
    world.fates = ["loses what it carries"]
    world.wish(RequestKind.REDRIVE)
    run = world.beat_until_over()
    world.check_complete(run)
    assert counts(run.tally) == Tally(scored=1, failed=1)
    assert {row[0] for row in world.rows()} == {"pump1"}


def test_a_name_that_another_job_has_is_passed_over_and_that_job_cancelled() -> None:
    world = World(dict(FLEET))
    name = paths.make_job_name("fleetscore", WINDOW, "c00000", 1)
    world.cluster.submit([JobSpec(name, WINDOW, ("another", "command"), timedelta(hours=1))])
    world.started.add(name)
    run = world.beat_until_over()
    is_complete(world)
    assert world.cluster.sightings[name].state is JobState.CANCELLED
    taken = world.ledger.read_chunk(run.id, "c00000")
    assert taken.committed
    assert (taken.committed.attempt, taken.retries, taken.losses) == (2, 0, 0)


def test_a_model_in_quarantine_is_skipped_until_its_file_changes() -> None:
    world = World({"pump1": None, "pump2": Reason.CRASHED}, chunk_size=1)
    world.beat_until_over()
    world.fleet["pump2"] = None
    seen = []
    for hour in ("20261121T0800Z-PT1H", "20261121T0700Z-PT1H"):
        world.wish(RequestKind.RUN, hour)
        world.beat_until_quiet()
        run = world.ledger.read_run(hour)
        seen.append((counts(run.tally), [failure.reason for failure in run.failures]))
        world.models.write("pump2.skops", b"another model")
    assert seen == [(Tally(scored=1, skipped=1), [Reason.QUARANTINED]), (Tally(scored=2), [])]


def test_a_model_that_was_in_quarantine_is_scored_when_a_person_asks_again() -> None:
    world = World({"pump1": None, "pump2": Reason.CRASHED})
    world.beat_until_over()
    hour = "20261121T0800Z-PT1H"
    world.wish(RequestKind.RUN, hour)
    world.beat_until_quiet()
    world.fleet["pump2"] = None
    world.ledger.remove_quarantined("pump2")
    world.wish(RequestKind.REDRIVE, hour)
    world.beat_until_quiet()
    run = world.ledger.read_run(hour)
    world.check_complete(run)
    assert (run.phase, counts(run.tally)) == (Phase.SUCCEEDED, Tally(scored=2))
    redriven = world.ledger.read_chunk(hour, "c00000").committed
    assert redriven
    assert (
        "--careful" in world.cluster.jobs[paths.make_job_name("fleetscore", hour, "c00000", redriven.attempt)].command
    )


def test_a_run_that_fails_more_than_is_tolerated_starts_nothing_more() -> None:
    fleet = {f"pump{i:02d}": Reason.BAD_SCORES if i < 3 else None for i in range(20)}
    world = World(fleet, chunk_size=2, max_in_flight=2)
    world.plane = replace(
        world.plane,
        options=replace(world.plane.options, limits=replace(world.plane.options.limits, tolerated_failures=10)),
    )
    run = world.beat_until_over()
    world.check_complete(run)
    assert (run.phase, run.reason) == (Phase.FAILED, Reason.TOO_MANY_FAILURES)
    assert counts(run.tally) == Tally(scored=5, failed=3, not_attempted=12)  # those under way end


def test_a_run_past_its_deadline_ends_and_leaves_nothing_running() -> None:
    world = World(dict(FLEET), ["endless"] * 9, max_in_flight=1)
    limits = replace(
        world.plane.options.limits, max_in_flight=1, run_deadline=12 * BEAT, stall_timeout=timedelta(hours=1)
    )
    world.plane = replace(world.plane, options=replace(world.plane.options, limits=limits))
    run = world.beat_until_over()
    world.check_complete(run)
    assert (run.phase, run.reason) == (Phase.FAILED, Reason.DEADLINE)
    assert counts(run.tally) == Tally(failed=2, not_attempted=3)


def test_a_tick_repeated_at_the_same_instant_changes_nothing() -> None:
    world = World(dict(FLEET))
    world.plane.tick(NOON)
    world.plane.tick(NOON)
    before = dict(world.cluster.jobs)
    world.plane.tick(NOON)
    assert world.cluster.jobs == before
    world.beat_until_over()
    is_complete(world)


def test_jobs_of_another_app_at_the_same_cluster_are_left_alone() -> None:
    world = World(dict(FLEET))
    foreign = JobSpec(f"other-{WINDOW}-c00000-9", WINDOW, ("python",), timedelta(hours=1))
    world.cluster.submit([foreign])
    world.started.add(foreign.name)
    run = world.beat_until_over()
    assert run.phase is Phase.PARTIAL
    assert world.cluster.sightings[foreign.name].state is JobState.QUEUED


def test_a_cancelled_run_stops_jobs_that_would_never_end() -> None:
    world = World(dict(FLEET), ["endless"] * 3)
    for _ in range(3):
        world.beat()
    world.wish(RequestKind.CANCEL)
    run = world.beat_until_over()
    world.check_complete(run)
    assert (run.phase, counts(run.tally)) == (Phase.CANCELLED, Tally(cancelled=5))
    assert {seen.state for seen in world.cluster.sightings.values()} == {JobState.CANCELLED}


def test_a_job_of_a_closed_run_that_turns_up_late_is_cancelled() -> None:
    world = World(dict(FLEET))
    world.beat_until_over()
    late = JobSpec(f"fleetscore-{WINDOW}-c00000-7", WINDOW, ("python",), timedelta(hours=1))
    world.cluster.submit([late])
    world.plane.tick(world.now)
    assert world.cluster.sightings[late.name].state is JobState.CANCELLED


def test_a_closed_run_is_looked_after_for_two_hours_and_no_longer() -> None:
    world = World(dict(FLEET))
    run = world.beat_until_over()
    assert run.ended_at
    world.ledger.save_heartbeat(replace(world.ledger.read_heartbeat(), watermark=NOON + timedelta(days=1)))
    world.plane.tick(run.ended_at + timedelta(minutes=119))
    assert [r.id for r in world.ledger.list_watched_runs()] == [run.id]
    world.plane.tick(run.ended_at + timedelta(minutes=120))
    assert world.ledger.list_watched_runs() == []


def test_a_cancel_stops_the_submitting_within_twenty_jobs() -> None:
    world = World({f"pump{i:02d}": None for i in range(60)}, chunk_size=1)
    submissions = 0

    def cancel_at_the_first(*_: object) -> dict[str, Refusal]:
        nonlocal submissions
        submissions += 1
        world.wish(RequestKind.CANCEL)
        return {}

    world.cluster.submit = cancel_at_the_first  # type: ignore[method-assign]
    world.plane.tick(NOON)
    assert submissions == 1


def test_a_run_that_is_cancelled_before_its_plan_makes_none() -> None:
    world = World(dict(FLEET))
    world.ledger.add_run(Run(Window.parse(WINDOW), Phase.PLANNING, NOON))
    world.wish(RequestKind.CANCEL)
    run = world.beat_until_over()
    assert (run.phase, run.models, run.message) == (Phase.CANCELLED, 0, "cancelled before it was planned")
    assert [blob.name for blob in world.work.list_blobs()] == []
    assert world.cluster.jobs == {}


def test_what_lies_where_a_part_belongs_is_never_overwritten() -> None:
    world = World(dict(FLEET))
    name = paths.prediction_path(Window.parse(WINDOW), "c00000", 0)
    world.predictions.write(name, b'[["a row of somebody", "else", 0]]')
    run = world.beat_until_over()
    assert world.predictions.read(name) == b'[["a row of somebody", "else", 0]]'
    failed = world.ledger.read_chunk(WINDOW, "c00000")
    assert (failed.state, failed.reason, failed.tally) == (ChunkState.FAILED, Reason.COMMIT_CONFLICT, Tally(failed=2))
    assert (run.phase, run.tally.models) == (Phase.PARTIAL, run.models)


def test_windows_that_wait_are_opened_one_by_one_oldest_first() -> None:
    world = World(dict(FLEET))
    world.now = NOON + timedelta(hours=2)
    opened = []
    for _ in range(60):
        world.beat()
        opened += [
            run.id for run in world.ledger.list_watched_runs() if not run.phase.terminal and run.id not in opened
        ]
    hours = [f"20261121T{hour}00Z-PT1H" for hour in (11, 12, 13)]
    assert opened == hours
    assert [world.ledger.read_run(hour).phase for hour in hours] == [Phase.PARTIAL] * 3
    assert world.ledger.read_heartbeat().watermark == NOON.replace(minute=0) + timedelta(hours=2)


def test_a_window_that_was_missed_is_a_row_and_can_be_asked_for_after_all() -> None:
    world = World(dict(FLEET))
    world.plane = replace(world.plane, options=replace(world.plane.options, catch_up=CatchUp.LATEST))
    world.now = NOON + timedelta(hours=1)
    world.beat()
    missed = world.ledger.read_run(WINDOW)
    assert (missed.phase, missed.reason) == (Phase.MISSED, Reason.TOO_LATE)
    world.wish(RequestKind.RUN)
    for _ in range(30):
        world.beat()
    assert world.ledger.read_run(WINDOW).phase is Phase.PARTIAL


def test_an_empty_fleet_fails_after_a_second_look_and_says_where_it_looked() -> None:
    world = World({})
    world.models.write("notes.txt", b"no model")
    run = world.beat_until_over()
    message = "no models named {device}[/{sensor}].{ext} in memory://models, but 1 .txt, such as notes.txt"
    assert (run.phase, run.reason, run.message) == (Phase.FAILED, Reason.EMPTY_FLEET, message)


def test_a_fleet_with_too_many_chunks_is_cut_again_into_larger_ones() -> None:
    world = World({f"pump{i:02d}": None for i in range(25)}, chunk_size=1)
    options = replace(world.plane.options, planning=replace(world.plane.options.planning, max_chunks=10))
    world.plane = replace(world.plane, options=options)
    run = world.beat_until_over()
    world.check_complete(run)
    assert (run.phase, run.models, run.chunks) == (Phase.SUCCEEDED, 25, 9)


def test_a_wish_that_somebody_wrote_wrongly_into_the_table_stops_nothing() -> None:
    world = World(dict(FLEET))
    world.ledger.add_request(Request(RequestKind.RUN, "nonsense", NOON))
    world.ledger.add_request(Request(RequestKind.CANCEL, "nonsense", NOON))
    world.beat_until_over()
    is_complete(world)
    assert world.ledger.list_requests() == []
