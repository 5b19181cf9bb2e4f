"""What a tick does with its time, and how it treats a cluster that wants to be left alone."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.adapters.memory import MemoryBlobs, MemoryCluster, MemoryLedger, MemoryStopwatch
from shared.adapters.memory_sinks import MemoryNotifier, MemorySinkLedger
from shared.contract import paths
from shared.contract.domain import Part, Tally
from shared.contract.errors import Misconfigured, Unavailable
from shared.contract.model_names import Blob
from shared.contract.outcomes import ModelResult, Outcomes
from shared.contract.reasons import Reason
from shared.contract.report import Report
from shared.contract.windows import Window
from shared.control.loop import ControlPlane
from shared.control.options import ControlOptions
from shared.control.tick import Tick
from shared.ports import BlobInfo, Blobs, JobSpec, JobStatus, Refusal
from shared.state.requests import Request, RequestKind
from shared.state.runs import Attempt, AttemptState, Chunk, ChunkState, Heartbeat, JobState, Nodes, Phase, Result, Run
from shared.tracking.run_limits import RunLimits
from tests.storm.fault_plan import BY_NAME, Exposed, Killed, Weather
from tests.storm.world import World

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)  # no window falls due until five past


@dataclass(slots=True)
class Watch(MemoryStopwatch):
    """Tells how long it was slept by, and what happens in that sleep."""

    slept: list[float] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self.meanwhile()


class Cluster(MemoryCluster):
    """Takes its time, counts its calls, and may not want to be asked."""

    def __init__(self, watch: MemoryStopwatch, seconds: float = 0.0) -> None:
        super().__init__()
        self.watch, self.seconds = watch, seconds
        self.calls: list[str] = []
        self.submitted: list[list[str]] = []
        self.refuses: dict[str, Unavailable] = {}

    def _called(self, method: str) -> None:
        self.calls.append(method)
        self.watch.now += self.seconds
        if method in self.refuses:
            raise self.refuses[method]

    def submit(self, jobs: Sequence[JobSpec]) -> Mapping[str, Refusal]:
        self._called("submit")
        self.submitted.append([job.name for job in jobs])
        return super().submit(jobs)

    def observe(self, runs: Collection[str]) -> Mapping[str, JobStatus]:
        self._called("observe")
        return super().observe(runs)

    def cancel(self, names: Collection[str]) -> None:
        self._called("cancel")
        super().cancel(names)

    def count_nodes(self) -> Nodes:
        if "nodes" in self.refuses:
            raise self.refuses["nodes"]
        return super().count_nodes()

    def release(self, run: str) -> None:
        self._called("release")
        super().release(run)


class SlowBlobs(MemoryBlobs):
    """A container whose listings and copies take their time."""

    def __init__(self, watch: MemoryStopwatch, seconds: float, url: str = "memory://slow") -> None:
        super().__init__(url)
        self.watch, self.seconds = watch, seconds
        self.copied: list[str] = []

    def list_blobs(self, prefix: str = "") -> Iterator[Blob]:
        self.watch.now += self.seconds
        return super().list_blobs(prefix)

    def copy(self, source: Blobs, path: str, name: str, replaces: str | None) -> BlobInfo:
        self.watch.now += self.seconds
        self.copied.append(name)
        return super().copy(source, path, name, replaces)


def run(hour: int = 11, chunks: int = 1, **known: object) -> Run:
    window = Window(NOW.replace(hour=hour), HOUR)
    made = Run(window, Phase.RUNNING, NOW, planned_at=NOW, plans=1, models=chunks, chunks=chunks)
    return replace(made, **known)  # type: ignore[arg-type]


def chunk(of: Run, index: int = 0, **known: object) -> Chunk:
    made = Chunk(of.id, paths.make_chunk_id(index), "abc", 1, "a", "a", since=NOW)
    return replace(made, **known)  # type: ignore[arg-type]


class Place:
    """A control plane with open runs, on a stopwatch of ours."""

    def __init__(
        self, *runs: Run, seconds: float = 0.0, work: float = 0.0, in_flight: int = 100, **rules: object
    ) -> None:
        self.watch = Watch()
        self.ledger, self.cluster = MemoryLedger(), Cluster(self.watch, seconds)
        self.models, self.work = SlowBlobs(self.watch, work), SlowBlobs(self.watch, work)
        self.predictions = SlowBlobs(self.watch, work)
        rules = {"limits": RunLimits(max_in_flight=in_flight), "max_open_runs": 99, **rules}
        self.plane = ControlPlane(
            self.ledger, self.cluster, self.models, MemoryBlobs(), self.work, self.predictions, self.watch,
            MemorySinkLedger(),
            MemoryNotifier(),
            replace(ControlOptions(), **rules),  # type: ignore[arg-type]
        )  # fmt: skip
        self.ledger.save_heartbeat(Heartbeat(watermark=NOW))
        for one in runs:
            self.ledger.add_run(one)

    def chunks(self) -> Sequence[Chunk]:
        return self.ledger.list_chunks(run().id)

    def states(self) -> dict[str, ChunkState]:
        return {c.id: c.state for c in self.chunks()}

    def run(self) -> Run:
        return self.ledger.read_run(run().id)


def waiting(chunks: int, **known: object) -> Place:
    """A run whose chunks all wait for their first attempt."""
    place = Place(run(chunks=chunks), **known)  # type: ignore[arg-type]
    place.ledger.add_chunks([chunk(run(), i) for i in range(chunks)])
    return place


def job(index: int, attempt: int = 1) -> str:
    return f"fleetscore-{run().id}-{paths.make_chunk_id(index)}-{attempt}"


# The time budget


def test_ten_thousand_submissions_go_on_at_the_next_tick_exactly_where_they_were_cut() -> None:
    place = waiting(10_000, in_flight=10_000)
    counts = []
    for minute in range(0, 20, 5):
        place.plane.tick(NOW + minute * SECOND)
        counts.append(sum(map(len, place.cluster.submitted)))
    assert 240 * 20 <= counts[0] <= 241 * 20  # 20 a second for four minutes, and perhaps what was begun in the last one
    assert counts[1:] == [2 * counts[0], 10_000, 10_000]
    assert [name for batch in place.cluster.submitted for name in batch] == [job(i) for i in range(10_000)]
    assert set(place.states().values()) == {ChunkState.QUEUED}


@pytest.mark.parametrize(("took", "slept"), [(0.0, [1.0] * 4), (0.4, [0.6] * 4), (1.0, []), (3.0, [])])
def test_jobs_are_submitted_no_faster_than_the_rate(took: float, slept: list[float]) -> None:
    place = waiting(100, seconds=took)
    place.plane.tick(NOW)
    assert [len(batch) for batch in place.cluster.submitted] == [20] * 5
    assert place.watch.slept == pytest.approx(slept)


def test_the_rate_holds_over_all_runs_of_a_tick() -> None:
    place = waiting(20)
    place.ledger.add_run(run(10, chunks=20))
    place.ledger.add_chunks([chunk(run(10), i) for i in range(20)])
    place.plane.tick(NOW)
    assert place.watch.slept == [1.0]


@pytest.mark.parametrize(("seconds", "submitted"), [(100, 40), (239, 20), (240, 0)])
def test_a_tick_begins_nothing_once_its_time_is_up(seconds: float, submitted: int) -> None:
    """Each call of the cluster takes so long, and the first of them looks at its jobs."""
    place = waiting(100, seconds=seconds)
    place.plane.tick(NOW)
    assert sum(map(len, place.cluster.submitted)) == submitted
    assert place.ledger.read_heartbeat().ticked_at == NOW


def test_copying_is_cut_by_the_time_and_goes_on_with_what_is_left() -> None:
    place = Place(run(chunks=60), work=10)
    for i in range(60):
        part = Part(f"results/{run().id}/{i}", 1, "", 1)
        place.work.write(part.path, b"x")
        part = replace(part, md5=place.work.read_properties(part.path).md5)
        chosen = Result(1, (part,), Tally(scored=1, rows=1))
        place.ledger.add_chunks([chunk(run(), i, state=ChunkState.COMMITTING, chosen=chosen, next_attempt=2)])
    place.plane.tick(NOW)
    assert place.run().tally == Tally(scored=40, rows=40)
    place.plane.tick(NOW + MINUTE)
    assert (place.run().phase, place.run().tally) == (Phase.SUCCEEDED, Tally(scored=60, rows=60))
    assert len(place.predictions.copied) == len(set(place.predictions.copied)) == 60


RUNNING = chunk(run(), state=ChunkState.RUNNING, attempts=(Attempt(1, AttemptState.RUNNING, NOW),), next_attempt=2)


def _report(place: Place) -> None:
    """The node of the running chunk writes its part and its report."""
    part = Part(f"results/{run().id}/c00000/x", 1, "", 1)
    part = replace(part, md5=_written(place.work, part.path))
    report = Report(run().id, "c00000", 1, NOW, NOW, Outcomes.from_results([ModelResult("a", 1)]), (part,))
    place.work.write(paths.report_path(run().id, "c00000", 1), report.to_bytes())


def test_reports_for_which_there_was_no_time_conclude_nothing() -> None:
    place = Place(run(), work=300)
    place.ledger.add_chunks([RUNNING])
    place.cluster.submit([JobSpec(job(0), run().id, (), HOUR)])
    place.cluster.set_state(job(0), JobState.FAILED)
    _report(place)
    place.plane.tick(NOW)
    assert [replace(c, version="") for c in place.chunks()] == [RUNNING]
    assert place.run().observed_at == NOW
    place.work.seconds = place.predictions.seconds = 0
    place.plane.tick(NOW + MINUTE)
    assert (place.states(), place.run().phase) == ({"c00000": ChunkState.COMMITTED}, Phase.SUCCEEDED)


def test_a_job_that_ends_between_a_look_at_the_cluster_and_one_at_storage_is_charged_nothing() -> None:
    place = Place(run())
    place.ledger.add_chunks([RUNNING])
    place.cluster.submit([JobSpec(job(0), run().id, (), HOUR)])
    place.cluster.set_state(job(0), JobState.RUNNING)
    observe, describe = place.cluster.observe, place.work.describe_blobs

    def ends() -> None:  # whichever look comes first
        if not place.cluster.sightings[job(0)].state.over:
            _report(place)
            place.cluster.set_state(job(0), JobState.SUCCEEDED)

    def observed(runs: Collection[str]) -> Mapping[str, JobStatus]:
        seen = observe(runs)
        ends()
        return seen

    def described(prefix: str) -> Iterator[BlobInfo]:
        found = list(describe(prefix))
        ends()
        return iter(found)

    place.cluster.observe, place.work.describe_blobs = observed, described  # type: ignore[method-assign]
    place.plane.tick(NOW)
    place.plane.tick(NOW + MINUTE)
    (ended,) = place.chunks()
    assert (ended.state, ended.retries, ended.losses) == (ChunkState.COMMITTED, 0, 0)


def _written(blobs: MemoryBlobs, path: str) -> str:
    blobs.write(path, b"x")
    return blobs.read_properties(path).md5


def test_the_run_that_was_looked_at_least_recently_goes_first() -> None:
    looked_at = {8: 3, 9: 1, 10: 4, 11: 2}  # minutes ago
    place = Place(*(run(hour, observed_at=NOW - ago * MINUTE) for hour, ago in looked_at.items()), work=120)
    for hour in looked_at:
        place.ledger.add_chunks([chunk(run(hour))])
    seen = []
    for minute in range(3):
        now = NOW + minute * MINUTE
        place.plane.tick(now)
        seen.append({r.window.start.hour for r in place.ledger.list_watched_runs() if r.observed_at == now})
    assert seen == [{10, 8}, {11, 9}, {10, 8}]  # two fit into one tick


def test_a_run_that_nobody_can_move_on_stops_no_other() -> None:
    place = waiting(1)
    broken = run(10, phase=Phase.PLANNING, planned_at=None, plans=0, models=0, chunks=0, observed_at=NOW - HOUR)
    place.ledger.add_run(broken)  # it goes first
    place.models.list_blobs = lambda _prefix="": iter([None])  # type: ignore[method-assign, assignment, misc]
    place.plane.tick(NOW)
    assert (place.ledger.read_run(broken.id).phase, place.states()) == (Phase.PLANNING, {"c00000": ChunkState.QUEUED})
    assert place.ledger.read_heartbeat().trouble.startswith(f"run {broken.id}: AttributeError: ")


def test_planning_is_not_cut_by_the_time() -> None:
    place = Place(run(plans=0, models=0, chunks=0, phase=Phase.PLANNING, planned_at=None), work=300)
    place.models.write("pump1.skops", b"a model")
    place.plane.tick(NOW)
    assert (place.run().phase, place.run().models, place.run().plans) == (Phase.RUNNING, 1, 1)


# A cluster that wants to be left alone


@pytest.mark.parametrize("method", ["submit", "observe", "cancel"])
def test_the_cluster_is_left_alone_for_as_long_as_it_wants(method: str) -> None:
    place = waiting(1)
    orphan = f"fleetscore-{run().id}-c00000-9"
    place.cluster.jobs[orphan] = JobSpec(orphan, run().id, (), HOUR)
    place.cluster.set_state(orphan, JobState.RUNNING)
    place.cluster.refuses = {method: Unavailable("429", retry_after=120)}
    place.plane.tick(NOW)
    until = NOW + 120 * SECOND
    calls = ["observe", "cancel", "submit"]
    assert place.cluster.calls == calls[: calls.index(method) + 1]
    assert (place.ledger.read_heartbeat().throttled_until, place.run().throttled_until) == (until, until)
    assert place.ledger.read_heartbeat().trouble == "429"
    place.cluster.calls, place.cluster.refuses = [], {}
    place.plane.tick(until - SECOND)
    assert (place.cluster.calls, place.run().observed_at) == ([], until - SECOND)  # all else goes on
    place.plane.tick(until)
    assert place.cluster.calls == (["observe", "submit"] if method == "submit" else calls)
    assert place.cluster.sightings[orphan].state is JobState.CANCELLED
    assert place.cluster.submitted == [[job(0)]]


def test_no_run_asks_a_cluster_that_has_asked_another_run_to_wait() -> None:
    place = waiting(1)
    place.ledger.add_run(run(10))
    place.ledger.add_chunks([chunk(run(10))])
    place.cluster.refuses = {"submit": Unavailable("429", retry_after=30)}
    place.plane.tick(NOW)
    assert place.cluster.calls == ["observe", "submit"]
    until = NOW + 30 * SECOND
    assert [r.throttled_until for r in place.ledger.list_watched_runs()] == [until, until]


@pytest.mark.parametrize(
    ("retry_after", "seconds"), [(1, 1), (3599, 3599), (3600, 3600), (86_400, 3600), (0, None), (None, None)]
)
def test_a_cluster_is_left_alone_for_an_hour_at_most(retry_after: float | None, seconds: int | None) -> None:
    tick = Tick(NOW, MemoryStopwatch(), MINUTE, (), None)
    tick.stopwatch.sleep(7)
    tick.note_error(Unavailable("429", retry_after))
    expected = None if seconds is None else NOW + (7 + seconds) * SECOND
    assert (tick.throttled_until, tick.throttled, tick.trouble) == (expected, seconds is not None, "429")


@pytest.mark.parametrize(("elapsed", "throttled"), [(0, True), (9.9, True), (10, False)])
def test_the_wait_may_be_over_within_the_tick(elapsed: float, throttled: bool) -> None:
    tick = Tick(NOW, MemoryStopwatch(), MINUTE, (), NOW + 10 * SECOND)
    tick.stopwatch.sleep(elapsed)
    assert tick.throttled is throttled


# What people see of the nodes


def test_the_nodes_are_told_as_they_were_counted_last() -> None:
    place = waiting(2)
    place.plane.tick(NOW)
    beats = [place.ledger.read_heartbeat()]
    place.cluster.set_state(job(0), JobState.RUNNING)
    place.plane.tick(NOW + MINUTE)
    beats.append(place.ledger.read_heartbeat())
    place.cluster.refuses = {"nodes": Unavailable("nobody counts", retry_after=90)}
    place.plane.tick(NOW + 2 * MINUTE)  # it cannot tell
    beats.append(place.ledger.read_heartbeat())
    place.cluster.refuses = {}
    place.plane.tick(NOW + 3 * MINUTE)  # it wants to be left alone
    beats.append(place.ledger.read_heartbeat())
    one = Nodes(1, 1, {"running": 1})
    assert [(beat.nodes, beat.nodes_at) for beat in beats] == [(Nodes(0, 0), NOW), *[(one, NOW + MINUTE)] * 3]
    assert [beat.trouble for beat in beats] == ["", "", "nobody counts", ""]
    assert beats[2].throttled_until == NOW + 2 * MINUTE + 90 * SECOND


def test_a_cluster_that_cannot_count_its_nodes_is_submitted_to_all_the_same() -> None:
    place = waiting(1)
    place.cluster.refuses = {"nodes": Unavailable("nobody counts")}
    place.plane.tick(NOW)
    assert (place.cluster.calls, place.states()) == (["observe", "submit"], {"c00000": ChunkState.QUEUED})


def closed_long_ago() -> Place:
    place = waiting(1)
    place.ledger.save_run(replace(place.run(), phase=Phase.SUCCEEDED, ended_at=NOW - 2 * HOUR))
    return place


def test_a_closed_run_is_released_at_the_cluster_before_it_is_looked_at_no_more() -> None:
    place = closed_long_ago()
    place.cluster.refuses = {"release": Unavailable("503")}
    place.plane.tick(NOW)
    assert [r.id for r in place.ledger.list_watched_runs()] == [run().id]
    place.cluster.refuses = {}
    place.plane.tick(NOW + MINUTE)
    place.plane.tick(NOW + 2 * MINUTE)
    assert place.cluster.calls == ["observe", "release"] * 2
    assert place.ledger.list_watched_runs() == []


def test_a_cluster_that_wants_to_be_left_alone_is_not_asked_to_release_a_run() -> None:
    place = closed_long_ago()
    place.ledger.save_heartbeat(replace(place.ledger.read_heartbeat(), throttled_until=NOW + MINUTE))
    place.plane.tick(NOW)
    assert (place.cluster.calls, [r.id for r in place.ledger.list_watched_runs()]) == ([], [run().id])


def test_a_job_that_the_cluster_refuses_fails_its_chunk_and_no_other() -> None:
    place = waiting(2)
    submit = place.cluster.submit
    place.cluster.submit = lambda jobs: {**submit(jobs), job(0): Refusal("no such image")}  # type: ignore[method-assign]
    place.plane.tick(NOW)
    refused, taken = place.chunks()
    assert (refused.state, refused.reason, refused.message) == (ChunkState.FAILED, Reason.REJECTED, "no such image")
    assert (taken.state, taken.attempts[0].state) == (ChunkState.QUEUED, AttemptState.QUEUED)


# Wishes


def test_no_job_is_submitted_more_than_ten_seconds_after_a_cancel() -> None:
    """At a low rate the tick waits for long between two batches: the wishes are read after that, not before."""
    place = waiting(100, submit_rate=1.0)
    place.watch.meanwhile = lambda: place.ledger.add_request(Request(RequestKind.CANCEL, run().id, NOW))
    place.plane.tick(NOW)
    assert place.watch.slept == [20.0]
    assert place.cluster.submitted == [[job(i) for i in range(20)]]


@pytest.mark.parametrize("target", [run().id, "backfill-1"])
def test_the_wishes_are_read_again_before_every_twenty_submissions(target: str) -> None:
    place = waiting(100)
    place.ledger.save_run(replace(place.run(), asked_by="backfill-1"))
    submit = place.cluster.submit

    def cancelled_meanwhile(jobs: Sequence[JobSpec]) -> Mapping[str, Refusal]:
        place.ledger.add_request(Request(RequestKind.CANCEL, target, NOW))
        return submit(jobs)

    place.cluster.submit = cancelled_meanwhile  # type: ignore[method-assign]
    place.plane.tick(NOW)
    assert [len(batch) for batch in place.cluster.submitted] == [20]
    place.plane.tick(NOW + MINUTE)
    assert [len(batch) for batch in place.cluster.submitted] == [20]
    assert {seen.state for seen in place.cluster.sightings.values()} == {JobState.CANCELLED}
    place.plane.tick(NOW + 2 * MINUTE)
    assert (place.run().phase, place.run().tally) == (Phase.CANCELLED, Tally(cancelled=100))


@pytest.mark.parametrize(
    ("kind", "asked_by", "targets", "found"),
    [
        (RequestKind.CANCEL, "schedule", [run().id], run().id),
        (RequestKind.CANCEL, "schedule", ["backfill-1", run(10).id], None),
        (RequestKind.CANCEL, "backfill-1", ["backfill-1"], "backfill-1"),
        (RequestKind.LIMITS, "schedule", [run().id], None),
    ],
)
def test_a_wish_is_found_by_its_run_or_by_the_backfill_that_opened_it(
    kind: RequestKind, asked_by: str, targets: list[str], found: str | None
) -> None:
    tick = Tick(NOW, MemoryStopwatch(), MINUTE, [Request(RequestKind.CANCEL, t, NOW) for t in targets], None)
    wish = tick.find_request(kind, run(asked_by=asked_by))
    assert (wish.target if wish else None) == found


@pytest.mark.parametrize("fault", ["killed before", "killed after"])
@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (Request(RequestKind.CANCEL, run().id, NOW), (Phase.CANCELLED, None)),
        (Request(RequestKind.LIMITS, run().id, NOW, max_in_flight=2), (Phase.RUNNING, 2)),
    ],
)
def test_a_tick_that_is_killed_over_a_wish_does_not_lose_it(
    wish: Request, expected: tuple[Phase, int | None], fault: str
) -> None:
    def told(faults: dict[int, str]) -> tuple[list[str], tuple[Phase, int | None]]:
        place = waiting(1)
        place.plane.tick(NOW - MINUTE)  # a job is under way
        place.ledger.add_request(wish)
        weather = Weather({call: BY_NAME[name] for call, name in faults.items()})
        with suppress(Killed):
            replace(place.plane, ledger=Exposed("ledger", place.ledger, weather)).tick(NOW)
        place.plane.tick(NOW + MINUTE)
        place.plane.tick(NOW + 2 * MINUTE)
        assert place.ledger.list_requests() == []
        return weather.calls, (place.run().phase, place.run().max_in_flight)

    calls, undisturbed = told({})
    assert undisturbed == expected
    assert [told({call: fault})[1] for call in range(len(calls))] == [expected] * len(calls)


def test_limits_are_taken_up_at_once_and_what_they_leave_open_stays() -> None:
    place = waiting(5)
    place.ledger.save_run(replace(place.run(), tolerated_failures=7))
    place.ledger.add_request(Request(RequestKind.LIMITS, run().id, NOW, max_in_flight=2))
    place.plane.tick(NOW)
    assert (place.run().max_in_flight, place.run().tolerated_failures) == (2, 7)
    assert (sum(map(len, place.cluster.submitted)), place.ledger.list_requests()) == (2, [])


class AbsentBlobs(MemoryBlobs):
    """A container that does not exist."""

    def describe_missing(self) -> str:
        return "'modls'; memory://account has fleetscore, models"


@pytest.mark.parametrize(
    ("absent", "settings"),
    [
        (("models",), ["MODELS_CONTAINER"]),
        (("models", "readings"), ["MODELS_CONTAINER", "READINGS_CONTAINER"]),
        (("work", "predictions"), []),  # the app makes these itself
    ],
)
def test_containers_that_do_not_exist_are_told_at_the_start_all_at_once_with_those_that_do(
    absent: tuple[str, ...], settings: list[str]
) -> None:
    kinds = ("models", "readings", "work", "predictions")
    stores = {kind: (AbsentBlobs if kind in absent else MemoryBlobs)(f"memory://{kind}") for kind in kinds}
    plane = ControlPlane(
        MemoryLedger(),
        MemoryCluster(),
        stopwatch=MemoryStopwatch(),
        sinks=MemorySinkLedger(),
        notifier=MemoryNotifier(),
        **stores,
    )
    if not settings:
        plane.check_start()
        assert plane.ledger.read_heartbeat() == Heartbeat()
        return
    with pytest.raises(Misconfigured) as caught:
        plane.check_start()
    missing = "expected a container that exists, got 'modls'; memory://account has fleetscore, models"
    lines = ["settings are wrong:", *(f"  {setting}: {missing}" for setting in settings)]
    assert str(caught.value).splitlines() == lines
    assert plane.ledger.read_heartbeat().trouble == " ".join(line.strip() for line in lines)


def test_the_log_names_the_fault_of_an_attempt_once_and_not_while_the_next_one_goes_well(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "shared.control.chunk_effects")
    world = World({"pump1": None}, ["dies before its part"])
    assert world.beat_until_over().phase is Phase.SUCCEEDED
    moves = [
        record.getMessage().partition(" chunk=c00000 ")[2]
        for record in caplog.records
        if record.name == "shared.control.chunk_effects" and "->" in record.getMessage()
    ]
    (failed,) = [move for move in moves if move.startswith("running->waiting ")]
    assert failed == "running->waiting job fleetscore-20261121T1100Z-PT1H-c00000-1 failed"
    after = moves[moves.index(failed) + 1 :]
    assert after == ["waiting->queued", "queued->running", "running->committing", "committing->committed"]
