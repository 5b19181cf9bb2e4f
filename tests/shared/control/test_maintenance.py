"""Old runs are pruned, and a ledger that was lost is rebuilt from what lies in storage."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared import __main__ as command
from shared import bootstrap
from shared.adapters.memory import MemoryBlobs, MemoryCluster, MemoryLedger
from shared.adapters.memory_sinks import MemorySinkLedger
from shared.contract import paths
from shared.contract.domain import Failure, Late, Tally, Unmodelled
from shared.contract.errors import Conflict
from shared.contract.publishing.sinks import SinkKind
from shared.contract.reasons import Outcome, Reason
from shared.contract.report import Report
from shared.contract.summaries.predicted import LabelCount, Predicted
from shared.contract.windows import DAY, Window
from shared.control import maintenance
from shared.control.options import ControlOptions
from shared.control.sinks.publisher import Publisher
from shared.publishing.sink_options import SinkOptions
from shared.state.publications import PublicationState
from shared.state.requests import Backfill, BackfillState, RequestKind, Scope
from shared.state.runs import Chunk, ChunkState, Heartbeat, Phase, Run
from tests.storm.fault_plan import BY_NAME, Killed, Weather
from tests.storm.world import EARLIER, NOON, WINDOW, World

HOUR = timedelta(hours=1)
NOW = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
RULES = ControlOptions(keep_runs=10 * DAY)


# Pruning


class Attic:
    """Runs of the past, with all that they left behind."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.work, self.predictions = MemoryBlobs("memory://work"), MemoryBlobs("memory://predictions")

    def add(self, days: float, phase: Phase = Phase.SUCCEEDED, ended: float | None = None) -> str:
        """A run whose window began so many days ago, and that ended so many days ago."""
        window = Window.containing(NOW - days * DAY, HOUR)
        ago = NOW - (days if ended is None else ended) * DAY
        run = Run(window, phase, ago, ended_at=ago if phase.terminal else None)
        self.ledger.add_run(run)
        self.ledger.add_chunks([Chunk(run.id, "c00000", "abc", 1, "a", "a")])
        for name in self.left(run.id):
            self.work.write(name, b"x")
        self.predictions.write(paths.prediction_path(window, "c00000", 0), b"x")
        return run.id

    def left(self, run: str) -> list[str]:
        return sorted([
            paths.plan_path(run), paths.plan_path(run, 1), paths.manifest_path(run, "abc"),
            paths.progress_path(run, "c00000", 1), paths.report_path(run, "c00000", 1),
            paths.log_path(run, "c00000", 1), f"{paths.parts_prefix(run, 'c00000')}1f.parquet",
        ])  # fmt: skip

    def prune(self, *, deletions: int = 10**6, rules: ControlOptions = RULES) -> None:
        """With time for so many deletions."""
        left = iter(range(deletions))
        maintenance.prune_runs(
            self.ledger,
            self.work,
            self.predictions,
            Publisher(self.ledger, MemorySinkLedger(), MemoryCluster(), self.work, rules),
            NOW,
            lambda: next(left, None) is not None,
        )

    def there(self) -> set[str]:
        """The runs that have a row; such a run has its chunks."""
        runs = {run.id for run in self.ledger.list_runs(1000).items}
        assert {run for run in runs if self.ledger.list_chunks(run)} == runs
        return runs

    def blobs(self) -> list[str]:
        return [blob.name for blob in self.work.list_blobs()]


@pytest.mark.parametrize(
    ("phase", "days", "ended", "pruned"),
    [
        *[(phase, 11, 11, True) for phase in Phase if phase.terminal],
        *[(phase, 11, None, False) for phase in (Phase.PLANNING, Phase.RUNNING)],
        (Phase.SUCCEEDED, 9, 9, False),
        (Phase.SUCCEEDED, 11, 10, False),  # at the limit
        (Phase.SUCCEEDED, 11, 10.001, True),
        (Phase.SUCCEEDED, 99, 1, False),  # an old window that was scored lately
    ],
)
def test_runs_that_ended_long_ago_are_removed_with_all_that_they_left(
    phase: Phase, days: float, ended: float | None, pruned: bool
) -> None:
    attic = Attic()
    young = attic.add(1)
    old = attic.add(days, phase, ended)
    attic.prune()
    assert attic.there() == ({young} if pruned else {young, old})
    assert attic.blobs() == sorted(attic.left(young) + ([] if pruned else attic.left(old)))
    assert len(list(attic.predictions.list_blobs())) == 2  # what consumers read is left alone
    assert attic.ledger.list_chunks(old) == [] or not pruned


def test_predictions_go_with_their_run_only_where_a_person_says_so() -> None:
    attic = Attic()
    attic.add(11)
    young = attic.add(1)
    other = "date=2026-11-10/hour=12/somebody-else-s.parquet"
    attic.predictions.write(other, b"x")
    attic.prune(rules=replace(RULES, prune_predictions=True))
    kept = paths.prediction_path(Window.parse(young), "c00000", 0)
    assert [blob.name for blob in attic.predictions.list_blobs()] == [other, kept]


def test_a_run_whose_predictions_somebody_holds_stays_and_the_others_are_pruned() -> None:
    attic = Attic()
    held, other = attic.add(12), attic.add(11)
    name = paths.prediction_path(Window.parse(held), "c00000", 0)
    attic.predictions.protect(name)
    attic.prune(rules=replace(RULES, prune_predictions=True))
    assert (attic.there(), [blob.name for blob in attic.predictions.list_blobs()]) == ({held}, [name])
    assert other not in attic.there()
    attic.predictions.end_protection(name)
    attic.prune(rules=replace(RULES, prune_predictions=True))
    assert (attic.there(), list(attic.predictions.list_blobs())) == (set(), [])


class Copied(MemoryBlobs):
    """A container in which somebody copies to one blob just now."""

    def delete(self, name: str, etag: str | None = None) -> None:
        if name == self.busy:
            raise Conflict(f"{self.url}/{name}: 409 PendingCopyOperation")
        super().delete(name, etag)

    busy = ""


def test_a_run_of_which_a_file_is_used_just_now_stays_until_the_next_call(caplog: pytest.LogCaptureFixture) -> None:
    attic = Attic()
    attic.work = Copied("memory://work")
    used = attic.add(12)
    attic.add(11)
    attic.work.busy = attic.left(used)[0]  # which is deleted last
    attic.prune()
    assert (attic.there(), attic.blobs()) == ({used}, [attic.work.busy])
    assert f"run={used} is not pruned: {attic.work.url}/{attic.work.busy}: 409 PendingCopyOperation" in caplog.text
    attic.work.busy = ""
    attic.prune()
    assert (attic.there(), attic.blobs()) == (set(), [])


@pytest.mark.parametrize("deletions", range(14))
def test_pruning_is_cut_by_the_time_and_goes_on(deletions: int) -> None:
    attic = Attic()
    runs = {attic.add(12), attic.add(11)}
    attic.prune(deletions=deletions)
    assert len(attic.blobs()) == 14 - deletions
    # A row goes when all is gone that it stands for, and not before: so nothing is left that nobody would look for.
    assert attic.there() == {run for run in runs if deletions < 7 or set(attic.left(run)) & set(attic.blobs())}
    attic.prune()
    assert (attic.there(), attic.blobs()) == (set(), [])


def test_old_windows_that_were_scored_lately_keep_no_older_run_from_being_pruned() -> None:
    attic = Attic()
    lately = {attic.add(day, ended=1) for day in range(11, 41)}  # by a backfill
    attic.add(60)
    for _ in range(10):
        attic.prune()
    assert attic.there() == lately


@pytest.mark.parametrize(
    ("state", "ended", "pruned"),
    [
        (BackfillState.OPEN, None, False),
        (BackfillState.DONE, 11, True),
        (BackfillState.CANCELLED, 11, True),
        (BackfillState.DONE, 10, False),
    ],
)
def test_backfills_are_pruned_as_runs_are(state: BackfillState, ended: float | None, pruned: bool) -> None:
    attic = Attic()
    span = Window.containing(NOW - 60 * DAY, HOUR)
    ended_at = None if ended is None else NOW - ended * DAY
    attic.ledger.add_backfill(
        Backfill("backfill-1", span, Scope.ALL, 1, NOW - 60 * DAY, span.end, state, ended_at=ended_at)
    )
    attic.prune()
    assert [b.id for b in attic.ledger.list_backfills()] == ([] if pruned else ["backfill-1"])


def test_a_tick_prunes_when_it_has_time_left() -> None:
    world = World({"pump1": None})
    old = replace(EARLIER, window=Window.containing(NOON - 60 * DAY, HOUR), ended_at=NOON - 60 * DAY)
    world.ledger.add_run(old)
    world.plane = replace(world.plane, options=replace(world.plane.options, keep_runs=10 * DAY))
    world.plane.tick(NOON)
    assert [run.id for run in world.ledger.list_runs(9).items] == [WINDOW, EARLIER.id]


# Rebuilding


def scored(fleet: dict[str, Reason | None] | None = None, *, publishes: bool = False) -> World:
    """A world whose run is over: chunks c00000 and c00001."""
    default = {"pump1": None, "pump2": None, "pump3": Reason.UNREADABLE_MODEL}
    world = World(default if fleet is None else fleet, publishes=publishes)
    world.beat_until_over()
    return world


def lose_ledger(world: World) -> tuple[Run, list[Chunk]]:
    """The tables are gone; returns what stood in that of runs."""
    lost = world.ledger.read_run(WINDOW), [told(c) for c in world.ledger.list_chunks(WINDOW)]
    world.ledger, world.sinks = MemoryLedger(), MemorySinkLedger()
    world.plane = world.host()
    world.before = ({}, {})
    return lost


def told(chunk: Chunk) -> Chunk:
    """What a rebuilt chunk can know."""
    return replace(chunk, version="", since=NOON, round=0, first_attempt=1, next_attempt=0)


def rebuild(world: World, now: datetime | None = None) -> list[str]:
    return [run.id for run in start_rebuild(world, now)]


def start_rebuild(world: World, now: datetime | None = None) -> Iterator[Run]:
    """It goes on as its runs are asked for."""
    plane = world.plane
    return maintenance.rebuild_ledger(plane.publisher, world.predictions, plane.planner, now or world.now)


def test_what_is_committed_is_restored_as_it_lies() -> None:
    world = scored()
    run, chunks = lose_ledger(world)
    assert rebuild(world) == [WINDOW]
    found = world.ledger.read_run(WINDOW)
    assert (found.phase, found.tally, found.failures) == (run.phase, run.tally, run.failures)
    assert (found.models, found.chunks, found.plans, found.ignored) == (3, 2, 1, 0)
    assert (found.asked_by, found.chunk_states) == ("rebuild", {ChunkState.COMMITTED: 2})
    assert run.opened_at <= found.planned_at <= found.ended_at <= run.ended_at  # type: ignore[operator]
    assert found.read_at == found.planned_at
    assert [told(c) for c in world.ledger.list_chunks(WINDOW)] == chunks
    assert [c.next_attempt for c in world.ledger.list_chunks(WINDOW)] == [2, 2]
    rows = world.rows()
    for _ in range(5):
        world.beat()
    assert world.rows() == rows
    assert replace(world.ledger.read_run(WINDOW), version="") == replace(found, version="")


@pytest.mark.parametrize("is_committed", [True, False])
def test_the_devices_without_a_model_and_what_was_predicted_are_restored_from_the_reports(is_committed: bool) -> None:
    world = scored()
    lose_ledger(world)
    path = paths.report_path(WINDOW, "c00000", 1)
    first = Report.from_bytes(world.work.read(path))
    predicted = Predicted({"classifier": 2}, 4, (LabelCount("ok", 4),))
    world.work.write(path, replace(first, schema=2, unmodelled=Unmodelled(1, ("fan",)), predicted=predicted).to_bytes())
    if not is_committed:
        world.predictions.delete(paths.prediction_path(Window.parse(WINDOW), "c00000", 0))
    rebuild(world)
    world.beat_until_over()
    found = world.ledger.read_run(WINDOW)
    assert (found.unmodelled, found.unmodelled_chunks) == (Unmodelled(1, ("fan",)), 1)
    assert found.predicted
    assert found.predicted.labels == predicted.labels
    assert found.predicted.tasks["classifier"] == 2


@pytest.mark.parametrize("later", [timedelta(), 3 * DAY])
def test_what_was_reported_and_lies_nowhere_is_committed_by_the_next_ticks(later: timedelta) -> None:
    world = scored()
    run, _ = lose_ledger(world)
    rows = world.rows()
    for blob in list(world.predictions.list_blobs()):
        world.predictions.delete(blob.name)
    world.now += later
    assert rebuild(world) == [WINDOW]
    assert world.ledger.read_run(WINDOW).phase is Phase.RUNNING
    world.plane.tick(world.now)
    found = world.ledger.read_run(WINDOW)
    assert (found.phase, found.stopped, found.tally, found.reason) == (run.phase, None, run.tally, run.reason)
    assert world.rows() == rows


def test_devices_with_late_rows_that_any_report_names_are_known_again() -> None:
    world = scored()
    lose_ledger(world)
    data = world.work.read(paths.report_path(WINDOW, "c00000", 1))
    for number, late in ((1, Late(3, 1, ("fan",))), (2, Late(1, 1, ("pump1",)))):
        report = replace(Report.from_bytes(data), attempt=number, late=late)  # the second is of a redrive
        world.work.write(paths.report_path(WINDOW, "c00000", number), report.to_bytes())
    rebuild(world)
    restored = world.ledger.read_chunk(WINDOW, "c00000").committed
    assert restored
    assert (restored.attempt, restored.late, restored.late_attempts) == (2, Late(3, 1, ("fan",)), (1, 2))


def test_of_two_reports_whose_parts_were_copied_nowhere_the_newest_is_chosen() -> None:
    """Without a folder of predictions it is that of the last round."""
    world = scored()
    lose_ledger(world)
    first = Report.from_bytes(world.work.read(paths.report_path(WINDOW, "c00000", 1)))
    world.work.write(paths.report_path(WINDOW, "c00000", 2), replace(first, attempt=2).to_bytes())
    world.predictions.delete(paths.prediction_path(Window.parse(WINDOW), "c00000", 0))
    rebuild(world)
    found = world.ledger.read_chunk(WINDOW, "c00000")
    assert found.chosen
    assert (found.state, found.chosen.attempt, found.next_attempt) == (ChunkState.COMMITTING, 2, 3)


def test_a_chunk_without_report_and_predictions_is_lost_and_can_be_redriven() -> None:
    world = scored()
    lose_ledger(world)
    rows = sorted(world.rows())
    world.predictions.delete(paths.prediction_path(Window.parse(WINDOW), "c00000", 0))
    world.work.delete(paths.report_path(WINDOW, "c00000", 1))
    rebuild(world)
    found = world.ledger.read_run(WINDOW)
    message = "the ledger was lost; neither a report nor predictions show how this chunk ended"
    lost = Failure(Reason.LEDGER_LOST, Outcome.FAILED, 2, "c00000", message)
    assert (found.tally.models, found.tally.failed, found.failures[0]) == (3, 3, lost)
    assert world.ledger.read_chunk(WINDOW, "c00000").next_attempt == 2  # its progress tells of the first
    world.wish(RequestKind.REDRIVE)
    again = world.beat_until_over()
    world.check_complete(again)
    assert (again.phase, again.tally.scored, again.tally.failed) == (Phase.PARTIAL, 2, 1)
    assert sorted(world.rows()) == rows


def test_a_run_that_was_reprocessed_is_restored_with_the_manifests_of_its_last_round() -> None:
    world = scored()
    for data in (b"a second model", b"a third model"):
        world.models.write("pump1.skops", data)
        world.wish(RequestKind.REPROCESS)
        world.beat_until_over()
    manifests = {chunk.id: chunk.manifest for chunk in world.ledger.list_chunks(WINDOW)}
    lose_ledger(world)
    rebuild(world)
    found = world.ledger.read_run(WINDOW)
    assert {chunk.id: chunk.manifest for chunk in world.ledger.list_chunks(WINDOW)} == manifests
    assert (found.phase, found.round, world.ledger.read_heartbeat().node_schema) == (Phase.PARTIAL, 2, 2)
    world.models.write("pump1.skops", b"a fourth model")
    world.wish(RequestKind.REPROCESS)
    again = world.beat_until_over()
    world.check_complete(again)
    assert (again.round, world.ledger.read_chunk(WINDOW, "c00000").manifest in manifests.values()) == (3, False)


def test_chunks_that_were_lost_do_not_keep_those_from_ending_well_that_were_reported() -> None:
    world = World({f"pump{i:02d}": None for i in range(40)}, chunk_size=10)
    world.beat_until_over()
    lose_ledger(world)
    for blob in list(world.predictions.list_blobs()):
        world.predictions.delete(blob.name)
    for i in range(3):
        world.work.delete(paths.report_path(WINDOW, paths.make_chunk_id(i), 1))
    rebuild(world)
    world.plane.tick(world.now)
    found = world.ledger.read_run(WINDOW)
    assert (found.phase, found.stopped, found.tally.scored, found.tally.failed) == (Phase.PARTIAL, None, 10, 30)


def test_other_content_among_the_predictions_is_not_taken_for_a_result() -> None:
    world = scored()
    lose_ledger(world)
    name = paths.prediction_path(Window.parse(WINDOW), "c00000", 0)
    world.predictions.write(name, b'[["a row of somebody", "else", 0, 1]]')
    rebuild(world)
    assert world.ledger.read_chunk(WINDOW, "c00000").reason is Reason.LEDGER_LOST
    assert world.predictions.read(name) == b'[["a row of somebody", "else", 0, 1]]'


def test_the_result_of_the_round_that_is_committed_is_found_among_all_reports() -> None:
    world = scored({"pump1": None, "pump2": Reason.BAD_READINGS})
    world.fleet["pump2"] = None
    world.wish(RequestKind.REDRIVE)
    world.beat_until_over()
    run, chunks = lose_ledger(world)
    assert run.tally == Tally(scored=2, rows=6, anomalies=2, seconds=run.tally.seconds)
    rebuild(world)
    assert [told(c) for c in world.ledger.list_chunks(WINDOW)] == chunks
    assert world.ledger.read_run(WINDOW).tally == run.tally


def test_an_extended_run_is_restored_from_both_its_plans() -> None:
    world = scored()
    world.fleet["pump4"] = None
    world.models.write("pump4.skops", b"a model")
    world.wish(RequestKind.EXTEND)
    world.beat_until_over()
    run, chunks = lose_ledger(world)
    assert (run.plans, run.chunks, len(chunks)) == (2, 3, 3)
    rebuild(world)
    found = world.ledger.read_run(WINDOW)
    assert (found.plans, found.chunks, found.models, found.tally) == (2, 3, 4, run.tally)
    assert [told(c) for c in world.ledger.list_chunks(WINDOW)] == chunks


def test_runs_that_another_app_planned_in_the_same_container_are_not_restored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = scored()
    lose_ledger(world)
    planning = replace(world.plane.options.planning, app="another")
    world.plane = replace(world.plane, options=replace(world.plane.options, planning=planning))
    assert rebuild(world) == []
    assert world.ledger.list_runs(9).items == ()
    assert world.ledger.read_heartbeat() == Heartbeat()  # nor does the watermark pass their windows
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [f"run={WINDOW} is not restored"]
    assert "give each app a WORK_CONTAINER of its own" in caplog.text


def test_rows_that_exist_stay() -> None:
    world = scored()
    before = world.ledger.read_run(WINDOW), world.ledger.list_chunks(WINDOW), world.ledger.read_heartbeat()
    assert rebuild(world) == []
    assert (world.ledger.read_run(WINDOW), world.ledger.list_chunks(WINDOW), world.ledger.read_heartbeat()) == before


@pytest.mark.parametrize(("watermark", "after"), [(None, 12), (10, 12), (12, 12), (14, 14)])
def test_the_watermark_goes_to_the_end_of_the_newest_window(watermark: int | None, after: int) -> None:
    world = scored()
    lose_ledger(world)
    noon = NOON.replace(minute=0)
    if watermark:
        world.ledger.save_heartbeat(Heartbeat(watermark=noon.replace(hour=watermark)))
    rebuild(world)
    assert world.ledger.read_heartbeat().watermark == noon.replace(hour=after)


def test_a_rebuild_that_was_killed_before_the_watermark_is_finished_by_the_next() -> None:
    world = scored()
    lose_ledger(world)
    next(start_rebuild(world))  # the row is written, and no more
    assert world.ledger.read_heartbeat().watermark is None
    rebuild(world)
    assert world.ledger.read_heartbeat().watermark == NOON.replace(minute=0)


def test_a_rebuild_that_was_killed_among_the_chunks_is_finished_by_the_next() -> None:
    world = scored()
    run, chunks = lose_ledger(world)
    world.ledger.add_chunks([replace(chunks[0], next_attempt=2)])
    assert rebuild(world) == [WINDOW]
    assert [told(c) for c in world.ledger.list_chunks(WINDOW)] == chunks
    assert world.ledger.read_run(WINDOW).tally == run.tally


@pytest.mark.parametrize("fault", ["killed before", "killed after"])
def test_a_rebuild_that_was_killed_at_any_call_is_finished_by_the_next(fault: str) -> None:
    def restored(faults: dict[int, str]) -> list[str]:
        world = scored(publishes=True)
        run, chunks = lose_ledger(world)
        weather = Weather({call: BY_NAME[name] for call, name in faults.items()})
        exposed = world.host(weather)
        publisher = replace(world.plane.publisher, ledger=exposed.ledger, sinks=exposed.sinks)
        with suppress(Killed):
            list(maintenance.rebuild_ledger(publisher, world.predictions, exposed.planner, world.now))
        rebuild(world)
        assert [told(c) for c in world.ledger.list_chunks(WINDOW)] == chunks
        found = world.ledger.read_run(WINDOW)
        assert (found.tally, found.offered_round) == (run.tally, found.round)
        assert found.offered_sinks == tuple(sorted(SinkKind))  # any may hold it: before it is pruned, each is asked
        assert [(entry.run, entry.round) for entry in world.sinks.list_open_publications()] == [(WINDOW, found.round)]
        assert world.ledger.read_heartbeat().watermark == NOON.replace(minute=0)
        return weather.calls

    for call in range(len(restored({}))):
        restored({call: fault})


def test_where_there_is_no_plan_nothing_is_restored() -> None:
    world = scored()
    lose_ledger(world)
    world.work.delete(paths.plan_path(WINDOW))
    assert rebuild(world) == []
    assert world.ledger.list_runs(9).items == ()
    assert world.ledger.read_heartbeat() == Heartbeat()


def test_jobs_of_sinks_begin_after_those_from_before_the_ledger_was_lost() -> None:
    """Else the report of an earlier job would settle what a later one has."""
    world = scored()
    for number, name in ((7, "publish.json"), (12, "signs/c00000-1.report"), (3, "publish.json")):
        world.work.write(f"runs/publish-delta-{number:06d}/{name}", b"{}")
    world.work.write("runs/publish-lake-000099/publish.json", b"{}")
    lose_ledger(world)
    world.sinks = MemorySinkLedger()
    kinds = [SinkKind.DELTA, SinkKind.SQL]
    for _ in range(2):
        maintenance.restore_sinks(world.sinks, world.work)
        assert [world.sinks.read_sink(kind).next_number for kind in kinds] == [13, 1]
    world.sinks.save_sink(replace(world.sinks.read_sink(SinkKind.DELTA), next_number=40))
    maintenance.restore_sinks(world.sinks, world.work)
    assert world.sinks.read_sink(SinkKind.DELTA).next_number == 40


# python -m shared


@pytest.mark.parametrize("words", [[], ["--help"], ["rebuild", "now"], ["prune"]])
def test_the_command_says_how_it_is_used(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(words) == 2
    assert capsys.readouterr().out.startswith("usage: python -m shared rebuild\n")


def test_the_command_tells_every_setting_that_is_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE", "nonsense")
    monkeypatch.delenv("HEARTBEAT", raising=False)
    assert command.main(["rebuild"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(":")[0].strip() for line in err.splitlines()] == ["settings are wrong", "STORAGE", "HEARTBEAT"]


def test_the_command_restores_and_tells(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    world = scored()
    lose_ledger(world)
    monkeypatch.setenv("STORAGE", "UseDevelopmentStorage=true")
    monkeypatch.setenv("HEARTBEAT", "0 * * * * *")
    monkeypatch.setattr(bootstrap, "build_control_plane", lambda _settings: world.plane)
    assert command.main(["rebuild"]) == 0
    assert capsys.readouterr().out == f"{WINDOW}: partial, 2 of 3 models scored\n1 runs restored\n"
    assert command.main(["rebuild"]) == 0
    assert capsys.readouterr().out == "0 runs restored\n"


def test_the_command_asks_sinks_for_what_it_restores_and_they_say_what_they_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The ledger and the record of sinks are lost; the sink itself is not, and is of the round before."""
    world = World({"pump1": None, "pump2": None}, publishes=True)
    world.beat_until_quiet()
    held = dict(world.table.held)
    world.ledger, world.sinks = MemoryLedger(world.tokens), MemorySinkLedger(world.tokens)
    world.before = {}, {}
    world.plane = world.host()
    monkeypatch.setattr(command.settings, "load_settings", lambda: None)
    monkeypatch.setattr(bootstrap, "build_control_plane", lambda _: world.plane)

    assert command.main(["rebuild"]) == 0

    (entry,) = world.sinks.list_open_publications()
    assert (entry.run, entry.state) == (WINDOW, PublicationState.PENDING)
    assert world.sinks.read_sink(SinkKind.DELTA).next_number == 2
    world.ledger.save_heartbeat(replace(world.ledger.read_heartbeat(), ticked_at=NOON))
    for _ in range(8):
        world.beat()
    done = world.sinks.read_publication(SinkKind.DELTA, WINDOW)
    assert (done.state, done.job) == (PublicationState.DONE, 2)
    assert world.table.held == held  # nothing was written again


def test_runs_that_were_over_before_a_sink_was_set_are_requested_by_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = scored()
    monkeypatch.setenv("STORAGE", "UseDevelopmentStorage=true")
    monkeypatch.setenv("HEARTBEAT", "0 * * * * *")
    plane = replace(world.plane, options=replace(world.plane.options, sinks=(SinkOptions(SinkKind.DELTA),)))
    monkeypatch.setattr(bootstrap, "build_control_plane", lambda _settings: plane)
    words = ["publish", "--from", "2026-11-01T00:00Z", "--to", WINDOW]
    assert command.main([*words, "--sinks", "sql"]) == 1
    assert capsys.readouterr() == ("", "expected sinks of delta, got sql\n")
    assert command.main([*words, "--sinks", "delta", "--again"]) == command.main(words) == 0
    span = "runs from 2026-11-01 00:00 to 2026-11-21 12:00 UTC"
    assert capsys.readouterr().out == f"delta: requested, {span}; the next ticks publish them (GET /api/sinks)\n" * 2
    targets = [(request.kind, request.target) for request in world.ledger.list_requests()]
    assert sorted(targets) == [
        (RequestKind.PUBLISH, "delta-20261101T0000Z-PT492H"),
        (RequestKind.REPUBLISH, "delta-20261101T0000Z-PT492H"),
    ]


def test_the_command_can_be_started() -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-m", "shared"], cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("usage: python -m shared rebuild\n")
