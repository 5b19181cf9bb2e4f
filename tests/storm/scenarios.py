"""What people and clocks do to the app: stories that are played in any weather, and what must hold at their end."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache

from shared.contract import paths
from shared.contract.publishing.sinks import SinkKind
from shared.contract.reasons import Reason
from shared.contract.windows import Window
from shared.planning.plan import Plan
from shared.state.notices import NoticeKind
from shared.state.requests import Backfill, BackfillState, RequestKind, Scope
from shared.state.runs import ChunkState, Phase, Run, Waited
from tests.storm.endings import Endings, EndsAlike, Moment
from tests.storm.fault_plan import BY_NAME, FAULTS, Fault, Weather, shows
from tests.storm.nodes import FATES
from tests.storm.rehearsal import Rehearsal, TakenUp
from tests.storm.world import BEAT, EARLIER, NOON, WINDOW, World, counts

FLEET: dict[str, Reason | None] = {
    "pump1": None,
    "pump2": None,
    "pump3": Reason.NO_READINGS,
    "pump4/heat": None,
    "pump4/noise": Reason.UNREADABLE_MODEL,
}
TROUBLED = ("well", "twice", "fails", "lost", "silent")
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A story. `play` leaves the world when all is quiet, `holds` says what must be true then."""

    name: str
    play: Callable[[Weather, Sequence[str]], World]
    holds: Callable[[World], None]
    fates: Sequence[str] = ()


def a_run(weather: Weather, fates: Sequence[str]) -> World:
    """From the window that falls due to the last orphan: three chunks."""
    world = World(dict(FLEET), list(fates), weather=weather)
    world.beat_until_quiet()
    return world


def by_old_nodes(weather: Weather, fates: Sequence[str]) -> World:
    """The same where the app is upgraded and the nodes are not: the first tick finds a ledger of the version before."""
    world = World(dict(FLEET), list(fates), weather=weather, node_schema=None, old_nodes=True)
    world.beat_until_quiet()
    assert world.ledger.read_heartbeat().node_schema in (None, 1)
    return world


def is_complete(world: World) -> None:
    run = world.ledger.read_run(WINDOW)
    world.check_complete(run)
    assert list(world.ledger._runs) == [EARLIER.id, WINDOW]  # P3
    assert (run.phase, counts(run.tally)) == (Phase.PARTIAL, world.expected())


def waited(sign: str = "", *, asked: bool = False) -> Callable[[Weather, Sequence[str]], World]:
    """The same where the window waits for a blob, which comes after three beats; or never, and a person may not wait.

    The limit is at the seventh beat.
    """

    def play(weather: Weather, fates: Sequence[str]) -> World:
        world = World(dict(FLEET), list(fates), weather=weather, wait_for="marker:_SUCCESS")
        for _ in range(3):
            world.beat()
        if sign:
            world.readings.write(sign, b"")
        if asked:
            world.wish(RequestKind.RUN)
        world.beat_until_quiet()
        return world

    return play


def has_waited(*endings: Waited | None) -> Callable[[World], None]:
    def holds(world: World) -> None:
        is_complete(world)
        run, beat = world.ledger.read_run(WINDOW), world.ledger.read_heartbeat()
        assert run.waited in endings
        at_limit = WINDOW if run.waited is Waited.LIMIT else ""
        assert (beat.waiting, beat.waits_until, beat.at_limit) == ("", None, at_limit)
        assert run.opened_at <= NOON + 6 * BEAT + 12 * BEAT  # those are for faults

    return holds


def with_late_rows(weather: Weather, fates: Sequence[str]) -> World:
    """Two windows, of which the second finds rows of the first: of one device that was scored, and one that failed."""
    world = World(dict(FLEET), rescore=True)
    world.ledger.remove_run(EARLIER.id)
    world.ledger.add_run(replace(EARLIER, window=Window(EARLIER.window.start - HOUR, HOUR), models=len(FLEET)))
    world.ledger.save_heartbeat(replace(world.ledger.read_heartbeat(), watermark=EARLIER.window.start))
    world.now = NOON - HOUR
    world.beat_until_quiet()
    world.now, world.fates = NOON, list(fates)
    world.late[WINDOW] = frozenset({"pump1"})
    world.plane = world.host(weather)
    world.beat_until(lambda: WINDOW in world.ledger._runs and world.over and _is_again(world), 300)
    return world


def published(weather: Weather, fates: Sequence[str]) -> World:
    """A run that a sink takes."""
    world = World(dict(FLEET), list(fates), weather=weather, publishes=True)
    world.beat_until_quiet()
    return world


def published_alone(weather: Weather, fates: Sequence[str]) -> World:
    """The same without a folder of predictions, from the redrive on."""
    return published_again(weather, fates, has_folder=False)


def published_again(weather: Weather, fates: Sequence[str], *, has_folder: bool = True) -> World:
    """A run that a sink has, and that is redriven."""
    world = World(dict(FLEET), publishes=True)
    world.beat_until_quiet()
    world.fleet |= {"pump3": None, "pump4/noise": None}
    world.fates, world.has_folder = list(fates), has_folder
    world.plane = world.host(weather)
    world.wish(RequestKind.REDRIVE)
    world.beat_until_quiet()
    return world


def published_on_request(weather: Weather, fates: Sequence[str]) -> World:
    """A run that was over before any sink was set, and that a person wants published."""
    world = World(dict(FLEET))
    world.beat_until_quiet()
    world.ledger._watched = set()  # it ended more than two hours ago
    world.publishes, world.fates = True, list(fates)
    world.plane = world.host(weather)
    world.wish(RequestKind.PUBLISH, f"delta-{EARLIER.id.partition('-')[0]}-PT2H")
    world.beat_until(lambda: not world.ledger.list_requests() and world.is_idle and bool(world.table.held), 300)
    return world


def is_published_on_request(world: World) -> None:
    assert world.ledger.list_requests() == []
    assert world.is_idle
    assert world.table.list_rows(WINDOW) == sorted(
        tuple(row)
        for blob in world.predictions.list_blobs(paths.predictions_prefix(world.ledger.read_run(WINDOW).window))
        for row in json.loads(world.predictions.read(blob.name))
    )


def pruned(weather: Weather, fates: Sequence[str]) -> World:
    """A run that a sink has grows old: it goes from the sink, and then from everywhere."""
    world = World(dict(FLEET), publishes=True)
    world.beat_until_quiet()
    world.now += timedelta(days=2)
    world.ledger.save_heartbeat(replace(world.ledger.read_heartbeat(), watermark=world.now + timedelta(days=1)))
    world.fates = list(fates)
    world.plane = world.host(weather)
    for _ in range(6):  # old runs are looked for once an hour
        for _ in range(12):
            world.beat()
            if world.is_published and not world.table.list_rows(WINDOW):
                break
        if not world.ledger._runs:
            break
        world.now += HOUR
    return world


def is_held(world: World) -> None:
    """The sink holds what consumers of the folder read, and nothing is left to do for it."""
    assert world.is_published
    for run in world.ledger._runs.values():
        names = [blob.name for blob in world.predictions.list_blobs(paths.predictions_prefix(run.window))]
        documents = [world.predictions.read(name) for name in names]
        if not world.has_folder:
            results = [chunk.committed for chunk in world.ledger.list_chunks(run.id) if chunk.committed]
            documents = [world.work.read(part.path) for result in results for part in result.parts]
        rows = sorted(tuple(row) for document in documents for row in json.loads(document))
        assert world.table.list_rows(run.id) == rows
    running = [name for name, status in world.cluster.sightings.items() if not status.state.over]
    assert running == []


def is_published(world: World) -> None:
    is_complete(world)
    is_held(world)
    assert world.sinks.read_publication(SinkKind.DELTA, WINDOW).rows == world.ledger.read_run(WINDOW).tally.rows
    assert {(notice.kind, notice.subject) for notice in world.notifier.sent} == {(NoticeKind.PARTIAL, WINDOW)}


def is_published_again(world: World) -> None:
    is_held(world)
    run, publication = world.ledger.read_run(WINDOW), world.sinks.read_publication(SinkKind.DELTA, WINDOW)
    assert (run.phase, run.round, publication.published_round) == (Phase.SUCCEEDED, 1, 1)


def is_pruned(world: World) -> None:
    assert list(world.ledger._runs) == []
    assert world.table.list_rows(WINDOW) == []
    assert world.sinks._publications == {}


def _is_again(world: World) -> bool:
    return world.ledger.read_run(EARLIER.id).rescored


def is_rescored(world: World) -> None:
    """The model is scored once more; all others too, but only where it was not to be known which one it is."""
    run = world.ledger.read_run(EARLIER.id)
    for each in (run, world.ledger.read_run(WINDOW)):
        world.check_complete(each)
        assert (each.phase, counts(each.tally)) == (Phase.PARTIAL, world.expected())
    assert (run.round, run.redo, run.rescored) == (1, RequestKind.RESCORE, True)
    first, *others = world.ledger.list_chunks(EARLIER.id)
    attempts = written_by(world, run)
    assert first.committed
    assert first.committed.attempt > 1
    assert attempts["pump1"] == {first.committed.attempt}
    of_others = {chunk.round for chunk in others}
    assert attempts["pump2"] == ({1} if of_others == {0} else {first.committed.attempt})  # carried, or not
    assert of_others in ({0}, {1})
    assert world.ledger.read_run(WINDOW).round == 0


def cancelled(at: int) -> Callable[[Weather, Sequence[str]], World]:
    """The same, but a person cancels it after so many beats."""

    def play(weather: Weather, fates: Sequence[str]) -> World:
        world = World(dict(FLEET), list(fates), weather=weather, max_in_flight=2)
        for _ in range(at):
            world.beat()
        world.wish(RequestKind.CANCEL)
        if at == 0:
            world.wish(RequestKind.RUN)
        world.beat_until_quiet()
        return world

    return play


def is_quiet(world: World) -> None:
    run = world.ledger.read_run(WINDOW)
    world.check_complete(run)
    assert run.phase in (Phase.CANCELLED, Phase.PARTIAL, Phase.FAILED)
    assert world.ledger.list_requests() == []


def a_partial_run(fates: Sequence[str] = (), *, of_old_nodes: bool = False) -> World:
    """A run that is over in fair weather, after which somebody mended what failed, and replaced what did not.

    *of_old_nodes*: its nodes, and the app that planned it, were of version 0.1; now nodes of 0.2 have reported.
    """
    world = World(dict(FLEET), node_schema=1 if of_old_nodes else 2, old_nodes=of_old_nodes)
    world.beat_until_quiet()
    if of_old_nodes:
        world.old_nodes = False
        world.ledger.save_heartbeat(replace(world.ledger.read_heartbeat(), node_schema=2))
    world.fleet |= {"pump3": None, "pump4/noise": None}
    for model in ("pump1", "pump3", "pump4/noise"):
        world.models.write(f"{model}.skops", b"another model")
    world.fates = list(fates)
    return world


def etags_of(world: World, run: Run) -> dict[str, set[str]]:
    """The etags of the files that a model's rows were scored by, as consumers read them."""
    etags: dict[str, set[str]] = {}
    for blob in world.predictions.list_blobs(paths.predictions_prefix(run.window)):
        for model, _, _, _, etag in json.loads(world.predictions.read(blob.name)):
            etags.setdefault(model, set()).add(etag)
    return etags


def asked_again(*kinds: RequestKind, of_old_nodes: bool = False) -> Callable[[Weather, Sequence[str]], World]:
    """A run that is over is asked for again, or that is taken back."""

    def play(weather: Weather, fates: Sequence[str]) -> World:
        world = a_partial_run(fates, of_old_nodes=of_old_nodes)
        world.models.write("pump5.skops", b"a model")
        world.models.write("pump6.skops", b"a model")
        world.fleet |= {"pump5": None, "pump6": None}
        world.plane = world.host(weather)
        for kind in kinds:
            world.wish(kind)
            if kind is not kinds[-1]:
                world.beat()
                world.beat()
        world.beat_until_quiet()
        return world

    return play


def written_by(world: World, run: Run) -> dict[str, set[int]]:
    """The attempts that wrote a model's rows, as consumers read them."""
    found: dict[str, set[int]] = {}
    for blob in world.predictions.list_blobs(paths.predictions_prefix(run.window)):
        for model, _, _, attempt, _ in json.loads(world.predictions.read(blob.name)):
            found.setdefault(model, set()).add(attempt)
    return found


def is_redriven(world: World) -> None:
    """What was scored is carried over; the rest was scored, once the readings were there."""
    run = world.ledger.read_run(WINDOW)
    world.check_complete(run)
    assert (run.phase, run.round, run.tally.scored) == (Phase.SUCCEEDED, 1, 5)
    by = written_by(world, run)
    assert {model: by[model] for model in ("pump1", "pump2", "pump4/heat")} == {
        "pump1": {1}, "pump2": {1}, "pump4/heat": {1},
    }  # fmt: skip
    assert by["pump3"] != {1}
    etags, files = etags_of(world, run), {blob.name: blob.etag for blob in world.models.list_blobs()}
    current = {model for model in FLEET if etags[model] == {files[f"{model}.skops"]}}
    assert current == set(FLEET) - {"pump1"}  # which was replaced, and was carried over


def is_reprocessed(world: World) -> None:
    run = world.ledger.read_run(WINDOW)
    world.check_complete(run)
    assert (run.phase, run.round, run.tally.scored) == (Phase.SUCCEEDED, 1, 5)
    assert all(1 not in attempts for attempts in written_by(world, run).values())
    files = {blob.name: blob.etag for blob in world.models.list_blobs()}
    assert etags_of(world, run) == {model: {files[f"{model}.skops"]} for model in FLEET}


def is_extended(world: World) -> None:
    """Two models more; nothing of the others was touched."""
    run = world.ledger.read_run(WINDOW)
    world.check_complete(run)
    assert (run.phase, run.round, run.plans, run.models) == (Phase.PARTIAL, 1, 2, 7)
    assert counts(run.tally) == replace(counts(run.tally), scored=5, failed=1, skipped=1)
    plan = Plan.from_bytes(run, world.work.read(paths.plan_path(run.id, 1)), NOON)
    assert [chunk.id for chunk in plan.chunks] == ["c00003"]


def keeps_what_was_committed(world: World) -> None:
    run = world.ledger.read_run(WINDOW)
    world.check_complete(run)
    assert run.phase in (Phase.PARTIAL, Phase.SUCCEEDED)
    assert run.tally.scored >= 3
    assert {"pump1", "pump2", "pump4/heat"} <= set(written_by(world, run))
    assert {chunk.state for chunk in world.ledger.list_chunks(WINDOW)} == {ChunkState.COMMITTED}


OLDER = [Window(EARLIER.window.start - hours * HOUR, HOUR) for hours in (2, 1)]


def filled_back(weather: Weather, fates: Sequence[str]) -> World:
    """Three windows of the past: one that was never scored, one that went badly, one that went well."""
    world = World(dict(FLEET))
    world.now = NOON - timedelta(minutes=30)  # nothing falls due meanwhile
    world.wish(RequestKind.RUN, OLDER[1].id)
    world.beat_until_quiet()
    world.fleet |= {"pump3": None, "pump4/noise": None}
    world.fates = list(fates)
    span = Window(OLDER[0].start, 3 * HOUR)
    world.ledger.add_backfill(Backfill("backfill-of-the-test", span, Scope.FAILED, 2, world.now, cursor=span.start))
    world.plane = world.host(weather)
    world.beat_until(lambda: world.over and world.ledger.list_backfills()[0].state is BackfillState.DONE, limit=150)
    return world


def is_filled_back(world: World) -> None:
    assert set(world.ledger._runs) == {EARLIER.id, *(window.id for window in OLDER)}
    for window in OLDER:
        run = world.ledger.read_run(window.id)
        world.check_complete(run)
        assert (run.phase, run.tally.scored, run.round) == (Phase.SUCCEEDED, 5, OLDER.index(window))
    (backfill,) = world.ledger.list_backfills()
    assert (backfill.state, backfill.cursor) == (BackfillState.DONE, backfill.span.end)
    assert (backfill.opened, backfill.passed) == (2, 1)


def with_poison(weather: Weather, fates: Sequence[str]) -> World:
    """A model that kills the process that scores it."""
    world = World({**FLEET, "pump2": Reason.CRASHED}, list(fates), weather=weather)
    world.beat_until_quiet()
    return world


def is_in_quarantine(world: World) -> None:
    is_complete(world)
    etag = next(blob.etag for blob in world.models.list_blobs("pump2"))
    (found,) = world.ledger.list_quarantined()
    assert (found.model, found.etag, found.reason) == ("pump2", etag, Reason.CRASHED)


@dataclass(frozen=True, slots=True)
class Struck:
    """What came of a case: how many faults came to pass, and its end where it went on as an earlier one did."""

    faults: int
    known_end: Moment | None = None


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("a run", a_run, is_complete),
        Scenario("a run whose jobs do badly", a_run, is_complete, TROUBLED),
        *(Scenario(f"a run cancelled after {at} beats", cancelled(at), is_quiet) for at in range(5)),
        Scenario("a redrive", asked_again(RequestKind.REDRIVE), is_redriven),
        Scenario(
            "a redrive whose jobs do badly", asked_again(RequestKind.REDRIVE), is_redriven, ("fails", "lost", "twice")
        ),
        Scenario("a redrive cancelled", asked_again(RequestKind.REDRIVE, RequestKind.CANCEL), keeps_what_was_committed),
        Scenario("a reprocess", asked_again(RequestKind.REPROCESS), is_reprocessed),
        Scenario(
            "a reprocess cancelled", asked_again(RequestKind.REPROCESS, RequestKind.CANCEL), keeps_what_was_committed
        ),
        Scenario(
            "a redrive of a run of the version before",
            asked_again(RequestKind.REDRIVE, of_old_nodes=True),
            is_redriven,
            ("fails", "twice"),
        ),
        Scenario(
            "a reprocess of a run of the version before",
            asked_again(RequestKind.REPROCESS, of_old_nodes=True),
            is_reprocessed,
        ),
        Scenario("a run by nodes of the version before", by_old_nodes, is_complete, TROUBLED),
        Scenario("an extension", asked_again(RequestKind.EXTEND), is_extended),
        Scenario(
            "a window that waits",
            waited("date=2026-11-21/hour=11/_SUCCESS"),
            has_waited(Waited.COMPLETE, Waited.LIMIT),
        ),
        Scenario("a window that waits in vain", waited(), has_waited(Waited.LIMIT)),
        Scenario("a window that nobody waits for", waited(asked=True), has_waited(None, Waited.LIMIT)),
        Scenario("rows that came late", with_late_rows, is_rescored),
        Scenario("a backfill", filled_back, is_filled_back),
        Scenario("a run that is published", published, is_published),
        Scenario(
            "a run whose publishing goes badly",
            published,
            is_published,
            ("well", "well", "well", "dies before its report", "twice", "lost", "silent"),
        ),
        Scenario("a redrive that is published", published_again, is_published_again, ("well", "well", "twice")),
        Scenario("a redrive without a folder of predictions", published_alone, is_published_again, ("well", "lost")),
        Scenario("a run that a person wants published", published_on_request, is_published_on_request, ("twice",)),
        Scenario("a published run that is pruned", pruned, is_pruned, ("dies before its report",)),
        Scenario("a model that kills its process", with_poison, is_in_quarantine),
    )
}


@cache
def rehearse(name: str) -> Rehearsal:
    """A story in fair weather, beat by beat."""
    scenario, rehearsal = SCENARIOS[name], Rehearsal(Weather())
    with playing(rehearsal):
        scenario.holds(scenario.play(rehearsal.weather, scenario.fates))
    return rehearsal


@contextmanager
def playing(script: Rehearsal | TakenUp | None) -> Iterator[None]:
    """Let all worlds follow it."""
    World.script = script
    try:
        yield
    finally:
        World.script = None


def calm_calls(name: str) -> list[str]:
    """The calls of a story in fair weather, in their order."""
    return rehearse(name).weather.calls


def single_faults(name: str) -> list[dict[int, str]]:
    """Each fault at each call that can show it."""
    return [
        {number: fault.name}
        for (number, call), fault in itertools.product(enumerate(calm_calls(name)), FAULTS)
        if shows(fault, call.partition(".")[2])
    ]


def faults_of(names: Mapping[int, str]) -> dict[int, Fault]:
    """The faults of these names, each by the number of its call."""
    return {number: BY_NAME[name] for number, name in names.items()}


@cache
def endings(_: str) -> Endings:
    """What is known of how a story ends."""
    return Endings()


def strike(
    name: str, faults: Mapping[int, str], fates: Sequence[str] | None = None, known: Endings | None = None
) -> Struck:
    """Play a story in this weather: faults by the number of the call; to its end, or to one that is *known*.

    Raises AssertionError, and tells how to repeat it.
    """
    scenario, weather = SCENARIOS[name], Weather(faults_of(faults))
    own = fates is None or list(fates) == list(scenario.fates)  # else it is as rehearsed up to its first call only
    script = TakenUp(rehearse(name), weather, min(faults, default=0) if own else 0, known)
    if known:
        known.start_case()
    try:
        with playing(script):
            world = scenario.play(weather, scenario.fates if fates is None else fates)
        scenario.holds(world)
    except EndsAlike as alike:
        return Struck(weather.struck, alike.end)
    except Exception as error:
        calls = {number: weather.calls[number] for number in faults if number < len(weather.calls)}
        raise AssertionError(
            f"strike({name!r}, {dict(faults)}, {fates}) at {calls}: {type(error).__name__}: {error}"
        ) from error
    if known:
        known.keep_case(world)
    return Struck(weather.struck)


ANY_FATE = [*(fate for fate in FATES if fate != "loses what it carries"), "waits"]
