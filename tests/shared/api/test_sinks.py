"""HTTP of sinks: what they lack and hold, in lists, at a run and in the health; and ranges that people ask for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from shared.adapters.memory_sinks import MemorySinkLedger
from shared.api.auth import Authorizer
from shared.contract.errors import Malformed, Unavailable
from shared.contract.publishing.documents import PublicationResult
from shared.contract.publishing.sinks import SinkKind, SinkReason
from shared.contract.windows import Window
from shared.control.loop import ControlPlane
from shared.control.sinks import past_runs
from shared.publishing import publications, sink_job
from shared.publishing.sink_options import SinkOptions
from shared.state.publications import Publication, PublicationState, Sink
from shared.state.requests import Request, RequestKind
from shared.state.runs import Phase, Run
from tests.shared.api.served import Client
from tests.storm.world import EARLIER, NOON, WINDOW, World

DELTA = SinkOptions(SinkKind.DELTA, (("url", "https://fleet.blob.core.windows.net/tables/predictions"),))
SQL = SinkOptions(SinkKind.SQL, (("url", "postgresql://me@db:5432/fleet"), ("table", "predictions")))
RANGE = {"from": "2026-11-21T08:00Z", "to": "20261121T1100Z-PT1H"}
AT = "2026-11-21T12:05:00Z"


@pytest.fixture
def world() -> World:
    """A run that was over before any sink was set."""
    world = World({"pump1": None, "pump2": None})
    world.beat_until_over()
    for run in world.ledger.list_watched_runs():
        world.ledger.unwatch_run(run)
    return world


def host(world: World, *sinks: SinkOptions) -> ControlPlane:
    return replace(world.plane, options=replace(world.plane.options, sinks=sinks))


def serve(plane: ControlPlane, now: datetime = NOON, guard: Authorizer | None = None) -> TestClient:
    return Client(plane.services, guard or Authorizer(), lambda: now)


@dataclass
class SlowStopwatch:
    """Each look takes a second."""

    seconds: float = 0.0

    def read_seconds(self) -> float:
        self.seconds += 1
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def ask(kind: SinkKind, run: Run) -> Publication:
    entry = publications.ask_publication(None, kind, run, NOON)
    assert entry
    return entry


def publish(world: World, kind: SinkKind, run: Run, reason: SinkReason | None = None, message: str = "") -> Publication:
    """A publication of which the first job is over."""
    [stored] = world.sinks.save_publications([publications.give_to_job(ask(kind, run), 1, NOON)])
    stored_as = "" if reason else "version 7"
    result = PublicationResult(run.id, run.round, stored.revision, False, reason, message, run.tally.rows, stored_as)
    [settled] = world.sinks.save_publications([publications.settle(stored, result, NOON)])
    return settled


def view(run: Run, **fields: Any) -> dict[str, Any]:
    """The answer about a run that waits for the first job of the Delta table."""
    return {
        "sink": "delta", "run": run.id, "state": "pending", "round": 0, "revision": 0, "removal": False, "since": AT,
        "asked_at": AT, "job": 0, "published_round": None, "published_at": None, "rows": 0, "stored": "",
        "failures": 0, "reason": "", "message": "", "next_try": None, **fields,
    }  # fmt: skip


def done(run: Run) -> dict[str, Any]:
    return view(run, state="done", job=1, published_round=0, published_at=AT, rows=run.tally.rows, stored="version 7")


def failed(run: Run) -> dict[str, Any]:
    reason = {"failures": 1, "reason": "sink_unavailable", "message": "no answer", "next_try": "2026-11-21T12:06:00Z"}
    return view(run, state="failed", job=1, sink="sql", **reason)


def test_without_sinks_there_are_none_to_show_or_to_ask(world: World) -> None:
    http = serve(world.plane)
    assert http.get("/api/sinks").json() == []
    assert http.get("/api/sinks/delta/publications").status_code == 404
    refused = http.post("/api/publications", json=RANGE)
    detail = "expected sinks in the setting SINKS, which is empty, got none"
    assert (refused.status_code, refused.json()["detail"]) == (409, detail)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me@chat.example.org:8443/hook/sesame?key=sesame#sesame", "https://chat.example.org:8443"),
        ("https://chat.example.org?key=sesame", "https://chat.example.org"),
        ("sb://plant.servicebus.windows.net/changes", "sb://plant.servicebus.windows.net/changes"),
    ],
)
def test_of_a_receiver_of_events_the_host_alone_is_shown(url: str, shown: str, world: World) -> None:
    events = SinkOptions(SinkKind.EVENTS, (("url", url), ("percent", "50"), ("runs", "all")))

    answer = serve(host(world, events)).get("/api/sinks")

    assert answer.json()[0]["target"] == {"url": shown, "percent": "50", "runs": "all"}
    assert "sesame" not in answer.text


def test_each_sink_shows_its_job_what_it_lacks_for_longest_and_the_newest_that_it_holds(world: World) -> None:
    run = world.ledger.read_run(WINDOW)
    publish(world, SinkKind.DELTA, run)
    publish(world, SinkKind.SQL, run, SinkReason.UNAVAILABLE, "no answer")
    world.sinks.save_publications([ask(SinkKind.SQL, replace(run, window=EARLIER.window))])
    world.sinks.save_sink(sink_job.acknowledge_job(sink_job.start_job(Sink(SinkKind.SQL, 7), NOON), NOON))
    world.sinks.save_sink(replace(Sink(SinkKind.DELTA, 3), ended_at=NOON, failures=2, not_before=NOON, message="lost"))
    answer = {
        "job": None, "job_ended_at": None, "failures": 0, "message": "", "next_job": None, "open": 0, "oldest": None,
        "overdue": False, "newest": None, "asked": [],
    }  # fmt: skip
    delta = {"sink": "delta", "target": dict(DELTA.target), "newest": done(run), "job_ended_at": AT}
    sql = {
        "sink": "sql", "target": dict(SQL.target), "open": 2,
        "job": {"number": 7, "run": "publish-sql-000007", "state": "queued", "since": AT},
        "oldest": view(replace(run, window=EARLIER.window), sink="sql"),
    }  # fmt: skip
    answers = [{**answer, **delta, "failures": 2, "next_job": AT, "message": "lost"}, {**answer, **sql}]
    assert serve(host(world, DELTA, SQL)).get("/api/sinks").json() == answers
    late = serve(host(world, DELTA, SQL), NOON + timedelta(minutes=61)).get("/api/sinks").json()
    assert [sink["overdue"] for sink in late] == [False, True]


def test_what_a_sink_holds_is_listed_a_page_at_a_time(world: World) -> None:
    run = world.ledger.read_run(WINDOW)
    earlier = replace(run, window=EARLIER.window)
    for each in (earlier, run):
        publish(world, SinkKind.DELTA, each)
    http = serve(host(world, DELTA))
    first = http.get("/api/sinks/delta/publications?limit=1").json()
    second = http.get("/api/sinks/delta/publications", params={"limit": 1, "cursor": first["next"]}).json()
    assert [first["items"], second["items"], second["next"]] == [[done(run)], [done(earlier)], None]
    assert http.get("/api/sinks/sql/publications").status_code == 404
    assert http.get("/api/sinks/lake/publications").status_code == 400
    assert http.get("/api/sinks/delta/publications?cursor=x").status_code == 400


def test_a_run_shows_each_sink_and_its_answer_changes_when_only_a_sink_has(world: World) -> None:
    run = world.ledger.read_run(WINDOW)
    publish(world, SinkKind.SQL, run, SinkReason.UNAVAILABLE, "no answer")
    http = serve(host(world, DELTA, SQL))
    first = http.get(f"/api/runs/{WINDOW}")
    assert first.json()["sinks"] == [failed(run)]
    assert http.get("/api/runs").json()["items"][0]["sinks"] is None
    etag = {"If-None-Match": first.headers["ETag"]}
    assert http.get(f"/api/runs/{WINDOW}", headers=etag).status_code == 304
    publish(world, SinkKind.DELTA, run)
    second = http.get(f"/api/runs/{WINDOW}", headers=etag)
    assert (second.status_code, second.json()["sinks"]) == (200, [done(run), failed(run)])


def test_health_names_what_a_sink_lacks_for_longest_and_says_so_after_an_hour_without_being_late(world: World) -> None:
    publish(world, SinkKind.SQL, world.ledger.read_run(WINDOW), SinkReason.DENIED, "wrong password")
    plane = host(world, SQL)
    plane.tick(NOON)
    told = serve(plane, NOON + timedelta(minutes=59)).get("/api/schedule").json()
    unpublished = {"sink": "sql", "run": WINDOW, "since": AT, "reason": "sink_denied: wrong password"}
    assert (told["unpublished"], told["publishing_overdue"]) == (unpublished, False)
    plane.tick(NOON + timedelta(minutes=60))
    guard = Authorizer(hashlib.sha256(b"reader").hexdigest())
    late = serve(plane, NOON + timedelta(minutes=60), guard).get("/api/health")
    assert (late.status_code, late.json()["late"], late.json()["publishing_overdue"]) == (200, False, True)
    assert late.json()["unpublished"] is None  # the caller has no key, and a message may name servers
    world.plane.tick(NOON + timedelta(minutes=62))  # the sink is switched off
    assert serve(world.plane).get("/api/schedule").json()["unpublished"] is None


def test_runs_from_before_a_sink_was_set_are_published_when_they_are_asked_for(world: World) -> None:
    plane = host(world, DELTA, SQL)
    http = serve(plane)
    asked = http.post("/api/publications", json={**RANGE, "sinks": ["delta"]})
    span = {"start": "2026-11-21T08:00:00Z", "end": "2026-11-21T12:00:00Z", "again": False, "asked_at": AT}
    assert (asked.status_code, asked.json()) == (202, {"sinks": ["delta"], "range": span})
    assert [sink["asked"] for sink in http.get("/api/sinks").json()] == [[span], []]
    plane.tick(world.now)
    entries = {(entry.sink, entry.run): entry.state for entry in world.sinks.list_open_publications()}
    assert entries == {(SinkKind.DELTA, WINDOW): PublicationState.RUNNING}  # the hour before has no rows
    assert world.ledger.list_requests() == []


def test_a_row_that_cannot_be_read_hides_no_sink_and_no_other_request(world: World) -> None:
    """Somebody has edited the table."""

    class BrokenTable(MemorySinkLedger):
        def read_sink(self, kind: SinkKind) -> Sink:
            if kind is SinkKind.SQL:
                raise Malformed("expected a number in next_number, got 'x'")
            return super().read_sink(kind)

    plane = replace(host(world, DELTA, SQL), sinks=BrokenTable(world.tokens))
    http = serve(plane)
    http.post("/api/publications", json={**RANGE, "sinks": ["delta"]})
    for target in ("tape-20261101T0000Z-P30D", "delta-yesterday"):
        world.ledger.add_request(Request(RequestKind.PUBLISH, target, NOON))

    delta, sql = http.get("/api/sinks").json()

    assert [asked["start"] for asked in delta["asked"]] == ["2026-11-21T08:00:00Z"]
    assert (delta["message"], sql["asked"], sql["job"]) == ("", [], None)
    assert sql["message"] == "the row of this sink cannot be read: expected a number in next_number, got 'x'"


def test_a_run_that_a_sink_has_is_asked_for_again_only_where_that_is_said(world: World) -> None:
    publish(world, SinkKind.DELTA, world.ledger.read_run(WINDOW))
    plane = host(world, DELTA)
    http = serve(plane, NOON + timedelta(seconds=1))
    http.post("/api/publications", json=RANGE)
    plane.tick(world.now)
    assert world.sinks.list_open_publications() == []
    http.post("/api/publications", json={**RANGE, "again": True})
    [request] = world.ledger.list_requests()
    for _ in range(2):  # a tick was killed before it removed the request
        plane.tick(world.now)
        [entry] = world.sinks.list_open_publications()
        assert (entry.revision, entry.published_round) == (1, 0)
        world.ledger.add_request(replace(request, version=""))


def test_a_long_range_goes_on_at_the_next_tick_where_this_one_is_out_of_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = world.ledger.read_run(WINDOW)
    for hours in (2, 3, 4):
        window = Window(run.window.start - timedelta(hours=hours), run.window.length)
        world.ledger.add_run(replace(run, window=window, version=""))
    plane = replace(host(world, DELTA), stopwatch=SlowStopwatch())
    monkeypatch.setattr(past_runs, "OFFER_FOR", timedelta(seconds=3))
    world.ledger.add_request(Request(RequestKind.PUBLISH, "delta-20261121T0700Z-PT5H", NOON))
    targets = []
    while requests := world.ledger.list_requests():
        targets += [(request.target, request.asked_at) for request in requests]
        plane.tick(world.now)
    spans = ["PT5H", "PT121M", "PT1M"]  # there is time for two runs in each tick
    assert targets == [(f"delta-20261121T0700Z-{span}", NOON) for span in spans]
    assert len(world.sinks.list_open_publications()) == 4


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"from": "2026-11-21T08:00Z", "to": "2026-11-21T08:00Z"}, 400, "expected a range that begins before it ends"),
        ({"from": "0001-01-01T00:00Z", "to": "2026-11-21T09:00Z"}, 400, "expected a window"),
        ({"from": "2026-11-21T08:00:30Z", "to": "2026-11-21T09:00:30Z"}, 400, "expected a range of whole minutes"),
        ({"from": "yesterday", "to": "2026-11-21T09:00Z"}, 400, "expected a window such as 20261121T0700Z-PT1H"),
        ({**RANGE, "sinks": ["sql"]}, 409, "expected sinks of delta, got sql"),
        ({**RANGE, "sinks": []}, 409, "expected sinks of delta, got none"),
        ({**RANGE, "sink": "delta"}, 400, "Unexpected keyword argument"),
    ],
)
def test_a_range_that_cannot_be_published_is_refused(
    world: World, body: dict[str, Any], status: int, detail: str
) -> None:
    refused = serve(host(world, DELTA)).post("/api/publications", json=body)
    assert refused.status_code == status
    assert detail in refused.json()["detail"]
    assert world.ledger.list_requests() == []


def test_a_request_for_a_sink_that_is_no_longer_set_is_dropped(world: World) -> None:
    world.ledger.add_request(Request(RequestKind.PUBLISH, "sql-20261121T0700Z-PT5H", NOON))
    world.ledger.add_request(Request(RequestKind.PUBLISH, "lake", NOON))
    host(world, DELTA).tick(world.now)
    assert world.ledger.list_requests() == []


def test_a_run_that_is_open_waits_for_the_end_of_its_round_and_one_to_be_removed_stays_so(world: World) -> None:
    run = world.ledger.read_run(WINDOW)
    stored = publish(world, SinkKind.DELTA, run)
    removal = publications.ask_before_pruning(stored, SinkKind.DELTA, run, NOON, removes=True)
    assert removal
    world.sinks.save_publications([removal])
    world.ledger.add_run(replace(run, window=Window.parse("20261121T0900Z-PT1H"), phase=Phase.RUNNING, chunks=9))
    world.ledger.add_request(Request(RequestKind.REPUBLISH, "delta-20261121T0700Z-PT5H", NOON + timedelta(minutes=1)))
    host(world, DELTA).tick(world.now)
    assert world.ledger.list_requests() == []
    assert [(entry.run, entry.is_removal) for entry in world.sinks.list_open_publications()] == [(WINDOW, True)]


def test_a_record_that_does_not_answer_stops_no_tick(world: World) -> None:
    def fail(*_: object) -> None:
        raise Unavailable("the table does not answer")

    class Broken:
        read_publication = fail

        def __getattr__(self, name: str) -> Any:
            return getattr(world.sinks, name)

    world.ledger.add_request(Request(RequestKind.PUBLISH, "delta-20261121T0700Z-PT5H", NOON))
    plane = replace(host(world, DELTA), sinks=Broken())  # type: ignore[arg-type]  # one method of it is called
    plane.tick(world.now)
    beat = world.ledger.read_heartbeat()
    assert (beat.ticked_at, beat.trouble) == (world.now, "the table does not answer")
    assert [request.kind for request in world.ledger.list_requests()] == [RequestKind.PUBLISH]
