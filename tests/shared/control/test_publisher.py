"""A tick publishes runs: it holds up none, and what a sink does not take is told and tried again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from shared.adapters.memory import MemoryBlobs, MemoryCluster
from shared.adapters.memory_sinks import MemorySinkLedger
from shared.contract import paths
from shared.contract.errors import Malformed, Unavailable
from shared.contract.paths import make_job_name
from shared.contract.publishing.documents import PublicationItem, PublicationResult, PublishingManifest
from shared.contract.publishing.sinks import CHUNK, SinkKind, SinkReason
from shared.contract.report import Progress
from shared.contract.windows import Window
from shared.control.tick import Tick
from shared.ports import JobSpec, JobStatus, Refusal
from shared.publishing import publications, sink_job
from shared.state.notices import NoticeKind
from shared.state.publications import Publication, PublicationState, Sink
from shared.state.requests import Request, RequestKind
from shared.state.runs import Attempt, AttemptState, JobState, Phase
from tests.storm.publishing import MemoryTable
from tests.storm.scenarios import FLEET, calm_calls, is_held
from tests.storm.world import BEAT, WINDOW, World

HOUR = timedelta(hours=1)


@dataclass(slots=True)
class FullTable(MemoryTable):
    """A sink that takes nothing until there is room."""

    room: bool = False

    def publish(self, item: PublicationItem, work: MemoryBlobs) -> PublicationResult:
        if self.room:
            return MemoryTable.publish(self, item, work)
        return PublicationResult.for_item(item, reason=SinkReason.FULL, message="no space left on device")


def make_world(*fates: str) -> World:
    return World(dict(FLEET), list(fates), publishes=True)


def read_publication(world: World) -> Publication:
    return world.sinks.read_publication(SinkKind.DELTA, WINDOW)


def read_sink(world: World) -> Sink:
    return world.sinks.read_sink(SinkKind.DELTA)


def beat(world: World, times: int) -> None:
    for _ in range(times):
        world.beat()


def test_without_a_sink_no_call_is_made_for_it() -> None:
    assert [call for call in calm_calls("a run") if call.startswith("sinks.")] == []


def test_a_job_gets_all_that_it_needs_from_its_manifest() -> None:
    world = make_world()
    world.beat_until_quiet()

    document = world.work.read(paths.publishing_manifest_path("publish-delta-000001"))

    manifest = PublishingManifest.from_bytes(document)
    (item,) = manifest.items
    chunks = world.ledger.list_chunks(WINDOW)
    committed = [(chunk.id, chunk.committed) for chunk in chunks if chunk.committed and chunk.committed.parts]
    assert (manifest.sink, manifest.number, manifest.app, manifest.work_url) == (
        SinkKind.DELTA, 1, "fleetscore", world.work.url,
    )  # fmt: skip
    assert (item.run, item.round, item.revision, item.asked_by) == (WINDOW, 0, 0, "schedule")
    assert [(entry.chunk, entry.attempt, entry.part.path) for entry in item.parts] == [
        (chunk, result.attempt, result.parts[0].path) for chunk, result in committed
    ]
    assert manifest.to_bytes() == document


def test_a_sink_that_is_full_is_told_and_tried_again_and_holds_up_nothing() -> None:
    world = make_world()
    world.table = FullTable()
    beat(world, 12)

    run, publication = world.ledger.read_run(WINDOW), read_publication(world)
    assert run.phase is Phase.PARTIAL
    assert (publication.state, publication.reason, publication.message) == (
        PublicationState.FAILED, "sink_full", "no space left on device",
    )  # fmt: skip
    world.table.room = True
    world.now += HOUR
    world.beat_until_quiet()
    assert (read_publication(world).state, read_publication(world).failures) == (PublicationState.DONE, 0)
    is_held(world)


def test_a_job_that_the_cluster_rejects_is_another_one_later() -> None:
    world = make_world()

    class Choosy(MemoryCluster):
        def submit(self, jobs: Sequence[JobSpec]) -> Mapping[str, Refusal]:
            refused = {job.name: Refusal("no such image") for job in jobs if "-publish-delta-000001-" in job.name}
            return {**refused, **super().submit([job for job in jobs if job.name not in refused])}

    world.cluster = Choosy()
    world.plane = world.host()
    beat(world, 8)

    assert (read_sink(world).job, read_sink(world).message) == (None, "no such image")
    world.beat_until_quiet()
    assert (read_publication(world).state, read_publication(world).job) == (PublicationState.DONE, 2)


def test_a_run_that_is_reopened_while_it_is_published_is_published_again() -> None:
    world = make_world("well", "well", "well", "doubtful, then back")
    while not world.sinks.read_sink(SinkKind.DELTA).job:
        world.beat()
    world.fleet |= {"pump3": None}
    world.wish(RequestKind.REDRIVE)
    world.beat_until_quiet()

    publication = read_publication(world)
    assert (publication.published_round, publication.revision, publication.state) == (1, 1, PublicationState.DONE)
    is_held(world)


def test_a_run_that_a_sink_lacks_is_not_pruned() -> None:
    world = make_world()
    world.table = FullTable()
    world.plane = replace(world.host(), options=replace(world.plane.options, prune_predictions=False))
    beat(world, 12)
    world.ledger.save_heartbeat(replace(world.ledger.read_heartbeat(), watermark=world.now + timedelta(days=9)))
    for _ in range(3):
        world.now += timedelta(days=1)
        beat(world, 3)
    assert [run for run in world.ledger._runs if run == WINDOW] == [WINDOW]

    world.table.room = True
    for _ in range(5):
        world.now += HOUR
        beat(world, 6)

    assert list(world.ledger._runs) == []
    assert world.sinks._publications == {}
    rows = [row for blob in world.predictions.list_blobs() for row in world.predictions.read(blob.name).splitlines()]
    assert len(world.table.list_rows(WINDOW)) > 0
    assert rows  # they stay: PRUNE_PREDICTIONS is off


def test_a_sink_that_holds_more_than_a_restored_ledger_knows_is_brought_up_to_date() -> None:
    """The ledger was lost after three rounds: the run of today has round 0, and other rows."""
    world = make_world()
    world.table.held[WINDOW] = (6, "of the lost ledger", ())
    world.beat_until_quiet()

    assert read_publication(world).revision == 4
    assert world.table.held[WINDOW][0] == 8
    is_held(world)


def test_an_error_of_one_sink_stops_neither_runs_nor_the_other_sinks(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()

    class Broken(type(world.sinks)):  # type: ignore[misc]
        def save_sink(self, sink: Sink) -> Sink:
            raise ValueError(f"a bug of {sink.kind}")

    world.sinks = Broken(world.tokens)
    world.plane = world.host()
    beat(world, 12)

    assert world.ledger.read_run(WINDOW).phase is Phase.PARTIAL
    assert "sink=delta could not be advanced" in caplog.text
    assert world.ledger.read_heartbeat().trouble == "sink delta: ValueError: a bug of delta"


@pytest.mark.parametrize("method", ["read_sink", "list_open_publications", "read_publication", "save_publications"])
def test_a_record_of_sinks_that_cannot_be_read_stops_no_run(method: str, caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()
    is_row = method in ("read_sink", "read_publication")
    error = Malformed("row sinks/sink-delta: expected schema 2, got 3") if is_row else Unavailable("503")

    class Broken:
        def __getattr__(self, name: str) -> Any:
            if name == method:
                return self.fail
            return getattr(world.sinks, name)

        def fail(self, *_: object) -> None:
            raise error

    sound, world.plane = world.plane, replace(world.plane, sinks=Broken())
    beat(world, 12)

    assert world.ledger.read_run(WINDOW).phase is Phase.PARTIAL
    assert world.ledger.read_heartbeat().ticked_at == world.now - BEAT
    assert str(error) in world.ledger.read_heartbeat().trouble
    assert str(error) in caplog.text
    world.now += timedelta(hours=3)
    world.plane.tick(world.now)
    offered = world.ledger.read_run(WINDOW).offered_sinks
    is_watched = WINDOW in [run.id for run in world.ledger.list_watched_runs()]
    is_asked = method in ("read_sink", "list_open_publications")
    assert (offered, is_watched) == (("delta",) if is_asked else (), not is_asked)
    world.plane = sound
    world.beat_until_quiet()
    is_held(world)


@pytest.mark.parametrize("error", [Malformed("expected a revision, got 'x'"), Unavailable("503")])
def test_a_sink_that_cannot_be_asked_costs_no_notification_and_leaves_no_job(error: Exception) -> None:
    class Broken(MemorySinkLedger):
        def read_publication(self, kind: SinkKind, run_id: str) -> Publication:
            raise error.__class__(f"{kind} {run_id}: {error}")

    world = make_world()
    world.sinks = Broken(world.tokens)
    world.plane = world.host()
    beat(world, 12)
    late = JobSpec(make_job_name("fleetscore", WINDOW, "c00000", 9), WINDOW, ("score",), HOUR)
    world.cluster.submit([late])
    world.now += timedelta(minutes=2)
    beat(world, 3)

    assert [(notice.kind, notice.subject) for notice in world.notifier.sent] == [(NoticeKind.PARTIAL, WINDOW)]
    assert world.cluster.sightings[late.name].state is JobState.CANCELLED
    assert [run.id for run in world.ledger.list_watched_runs()] == [WINDOW]


def test_the_run_that_a_lost_job_was_at_waits_and_the_others_do_not() -> None:
    world = make_world()
    windows = [Window(Window.parse(WINDOW).start - number * HOUR, HOUR) for number in (2, 1, 0)]
    entries = [Publication(SinkKind.DELTA, window.id, 0, 0, since=world.now, asked_at=world.now) for window in windows]
    sink = replace(read_sink(world), job=Attempt(1, AttemptState.RUNNING, world.now), next_number=2)
    world.sinks.save_sink(sink)
    stored = world.sinks.save_publications([publications.give_to_job(entry, 1, world.now) for entry in entries])
    items = tuple(PublicationItem(entry.run, 0, 0) for entry in stored)
    manifest = PublishingManifest(SinkKind.DELTA, 1, "fleetscore", world.work.url, items)
    world.work.create(paths.publishing_manifest_path("publish-delta-000001"), manifest.to_bytes())
    progress = Progress(1, 3).to_metadata()
    world.work.write(paths.progress_path("publish-delta-000001", CHUNK, 1), b"", progress)
    tick = Tick(world.now, world.plane.stopwatch, timedelta(minutes=4), [], None)
    name = sink_job.name_job(world.plane.options.limits.app, "publish-delta-000001")

    jobs = {name: JobStatus(JobState.FAILED, "killed by SIGKILL")}
    world.plane.publisher.advance_sinks([read_sink(world)], stored, jobs, tick)

    states = {entry.run: (entry.state, entry.failures) for entry in world.sinks.list_open_publications()}
    assert [states[window.id] for window in windows] == [
        (PublicationState.PENDING, 0),
        (PublicationState.FAILED, 1),
        (PublicationState.PENDING, 0),
    ]
    blamed = next(entry for entry in world.sinks.list_open_publications() if entry.failures)
    assert "left no report while it published this run: job " in blamed.message
    assert (read_sink(world).job, read_sink(world).failures) == (None, 1)


def test_a_request_for_a_run_that_the_schedule_waits_for_hides_no_delay() -> None:
    world = make_world()
    world.beat_until_quiet()
    publisher, run = world.plane.publisher, world.ledger.read_run(WINDOW)
    request = Request(RequestKind.REPUBLISH, "delta-x", world.now + BEAT)
    done = read_publication(world)
    world.sinks.save_publications([replace(done, state=PublicationState.FAILED, failures=3)])

    publisher.offers.offer_past_run(run, SinkKind.DELTA, request, world.now + BEAT)
    waits = read_publication(world)
    assert (waits.state, waits.is_requested) == (PublicationState.PENDING, False)

    world.sinks.save_publications([replace(waits, state=PublicationState.DONE)])
    publisher.offers.offer_past_run(
        run, SinkKind.DELTA, replace(request, asked_at=world.now + 2 * BEAT), world.now + 2 * BEAT
    )
    assert read_publication(world).is_requested


def test_a_tick_that_cannot_know_what_sinks_lack_leaves_what_was_known() -> None:
    world = make_world()
    world.beat_until_quiet()
    lacking = replace(read_publication(world), state=PublicationState.PENDING, not_before=world.now + HOUR)
    world.sinks.save_publications([lacking])
    world.beat()
    known = world.ledger.read_heartbeat().unpublished
    assert known

    class Broken:
        def __getattr__(self, name: str) -> Any:
            return self.fail if name == "list_open_publications" else getattr(world.sinks, name)

        def fail(self) -> None:
            raise Unavailable("503")

    world.plane = replace(world.plane, sinks=Broken())
    world.beat()
    assert world.ledger.read_heartbeat().unpublished == known
