"""HTTP over the ports in memory: what is told, what is wished for, and what bad requests get."""

import base64
import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from shared.api.auth import Authorizer
from shared.contract.domain import Late, Unmodelled
from shared.contract.errors import Unavailable
from shared.contract.reasons import Reason
from shared.contract.summaries.predicted import LabelCount, Predicted, PredictionRange
from shared.contract.version import VERSION
from shared.control.loop import ControlPlane
from shared.state.requests import RequestKind
from shared.state.runs import JobState, Nodes, Phase, Waited
from tests.shared.api.served import Client
from tests.storm.world import EARLIER, NOON, WINDOW, World

FLEET: dict[str, Reason | None] = {"pump1": None, "pump2/heat": Reason.UNREADABLE_MODEL, "<b>": Reason.NO_READINGS}


def client(world: World, guard: Authorizer | None = None, plane: ControlPlane | None = None) -> TestClient:
    return Client((plane or world.plane).services, guard or Authorizer(), lambda: world.now)


@pytest.fixture
def world() -> World:
    return World(dict(FLEET))


@pytest.fixture
def over(world: World) -> World:
    world.models.write("notes.csv", b"no model")
    world.beat_until_over()
    return world


def is_problem(response: Any, status: int, detail: str) -> bool:
    body = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, body["status"], body["type"]) == (status, status, "about:blank")
    assert detail in body["detail"]
    return True


def test_a_run_that_is_over_is_told_whole(over: World) -> None:
    run = client(over).get(f"/api/runs/{WINDOW}").json()
    ended = over.ledger.read_run(WINDOW)
    assert run == {
        "id": WINDOW,
        "phase": "partial",
        "window": {"start": "2026-11-21T11:00:00Z", "end": "2026-11-21T12:00:00Z"},
        "asked_by": "schedule",
        "waited": None,
        "round": 0,
        "redo": None,
        "observed_at": f"{ended.observed_at:%Y-%m-%dT%H:%M:%SZ}",
        "opened_at": "2026-11-21T12:05:00Z",
        "planned_at": "2026-11-21T12:05:00Z",
        "progress_at": f"{ended.progress_at:%Y-%m-%dT%H:%M:%SZ}",
        "cancelled_at": None,
        "ended_at": f"{ended.ended_at:%Y-%m-%dT%H:%M:%SZ}",
        "throttled_until": None,
        "stopped": None,
        "max_in_flight": None,
        "tolerated_failures": None,
        "plans": 1,
        "models": {"total": 3, "done": 3, "waiting": 0, "scored": 1, "failed": 1, "skipped": 1, "cancelled": 0,
                   "not_attempted": 0, "ignored": 1},
        "chunks": {"committed": 2},
        "rows": 3,
        "anomalies": 1,
        "progress": 1.0,
        "models_per_second": 3 / (ended.ended_at - ended.planned_at).total_seconds(),  # type: ignore[operator]
        "expected_end": None,
        "stalled": False,
        "failures": run["failures"],
        "ignored_files": {"endings": {".csv": 1}, "examples": ["notes.csv"]},
        "unmodelled": None,
        "late": None,
        "predicted": None,
        "reason": None,
        "message": "",
        "advice": "",
        "sinks": None,
    }  # fmt: skip
    assert run["failures"] == client(over).get(f"/api/runs/{WINDOW}/failures").json()
    assert [(f["reason"], f["outcome"], f["models"], f["example"]) for f in run["failures"]] == [
        ("no_readings", "skipped", 1, "<b>"),
        ("unreadable_model", "failed", 1, "pump2/heat"),
    ]


def test_devices_without_a_model_are_counted_for_the_run_and_each_chunk(over: World) -> None:
    first, _ = over.ledger.list_chunks(WINDOW)
    assert first.committed
    found = Unmodelled(30, ("fan", "valve"))
    over.ledger.save_chunks([replace(first, committed=replace(first.committed, unmodelled=found))])
    over.ledger.save_run(replace(over.ledger.read_run(WINDOW), unmodelled=found, unmodelled_chunks=1))
    run = client(over).get(f"/api/runs/{WINDOW}").json()
    assert run["unmodelled"] == {"devices": 30, "examples": ["fan", "valve"], "chunks": 1}
    assert run["models"]["total"] == 3
    chunks = client(over).get(f"/api/runs/{WINDOW}/chunks").json()["items"]
    assert [c["unmodelled"] for c in chunks] == [{"devices": 30, "examples": ["fan", "valve"]}, None]


def test_late_rows_are_counted_for_the_run_and_each_chunk(over: World) -> None:
    first, _ = over.ledger.list_chunks(WINDOW)
    assert first.committed
    late = Late(9, 2, ("fan", "valve"), 4)
    over.ledger.save_chunks([replace(first, committed=replace(first.committed, late=late))])
    over.ledger.save_run(replace(over.ledger.read_run(WINDOW), late=late))
    answer = {"rows": 9, "devices": 2, "examples": ["fan", "valve"], "unread_rows": 4}
    assert client(over).get(f"/api/runs/{WINDOW}").json()["late"] == answer
    chunks = client(over).get(f"/api/runs/{WINDOW}/chunks").json()["items"]
    assert [c["late"] for c in chunks] == [answer, None]


def test_what_models_predicted_is_answered_for_the_run_and_each_chunk(over: World) -> None:
    first, _ = over.ledger.list_chunks(WINDOW)
    assert first.committed
    labels = (LabelCount("2", 9), LabelCount("1", 3))
    found = Predicted({"classifier": 1, "regressor": 2}, 20, labels, 4, PredictionRange(8, -1.5, 0.25, 1e308))
    over.ledger.save_chunks([replace(first, committed=replace(first.committed, predicted=found))])
    over.ledger.save_run(replace(over.ledger.read_run(WINDOW), predicted=found))
    answer = {
        "tasks": {"classifier": 1, "regressor": 2},
        "readings": 20,
        "labels": [{"label": "2", "rows": 9}, {"label": "1", "rows": 3}],
        "other_labels": 4,
        "predictions": {"rows": 8, "least": -1.5, "mean": 0.25, "greatest": 1e308},
    }
    assert client(over).get(f"/api/runs/{WINDOW}").json()["predicted"] == answer
    chunks = client(over).get(f"/api/runs/{WINDOW}/chunks").json()["items"]
    assert [c["predicted"] for c in chunks] == [answer, None]


def test_an_open_run_says_when_to_ask_again_and_is_told_once(world: World) -> None:
    world.beat()
    found = client(world).get(f"/api/runs/{WINDOW}")
    assert (found.json()["phase"], found.headers["Retry-After"]) == ("running", "5")
    again = client(world).get(f"/api/runs/{WINDOW}", headers={"If-None-Match": found.headers["ETag"]})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", found.headers["ETag"])
    world.beat()
    assert client(world).get(f"/api/runs/{WINDOW}", headers={"If-None-Match": found.headers["ETag"]}).status_code == 200


def test_runs_are_listed_newest_first_a_page_at_a_time(over: World) -> None:
    first = client(over).get("/api/runs", params={"limit": 1}).json()
    assert [run["id"] for run in first["items"]] == [WINDOW]
    second = client(over).get("/api/runs", params={"limit": 1, "cursor": first["next"]}).json()
    assert ([run["id"] for run in second["items"]], second["next"]) == ([EARLIER.id], None)


def test_a_window_can_be_asked_for_and_its_run_is_the_same_however_often(world: World) -> None:
    http, window = client(world), "20261120T0300Z-PT1H"
    asked = [http.post("/api/runs", json={"window": window}) for _ in range(2)]
    assert {(r.status_code, r.headers["Location"], r.json()["phase"]) for r in asked} == {
        (202, f"/api/runs/{window}", "requested")
    }
    assert http.get(asked[0].headers["Location"]).json()["phase"] == "requested"
    assert [(run["id"], run["phase"]) for run in http.get("/api/runs").json()["items"]] == [
        (EARLIER.id, "succeeded"),
        (window, "requested"),
    ]
    world.ledger.save_heartbeat(replace(world.ledger.read_heartbeat(), watermark=NOON + timedelta(days=1)))
    for _ in range(9):
        world.beat()
    again = http.post("/api/runs", json={"window": window})
    assert (again.status_code, again.json()["phase"], again.json()["asked_by"]) == (200, "partial", "request")
    assert world.ledger.list_requests() == []


def test_without_a_window_the_last_closed_one_is_meant(world: World) -> None:
    assert client(world).post("/api/runs").json()["id"] == WINDOW


@pytest.mark.parametrize(
    ("window", "detail"),
    [
        ("yesterday", "expected a window such as"),
        ("20261121T1115Z-PT1H", "such as 20261121T1100Z-PT1H"),
        ("20261121T0000Z-P1D", "expected a window of PT1H"),
        ("20261121T1200Z-PT1H", "expected a window that has closed, at the latest 20261121T1100Z-PT1H"),
    ],
)
def test_a_window_that_cannot_be_scored_is_refused(world: World, window: str, detail: str) -> None:
    assert is_problem(client(world).post("/api/runs", json={"window": window}), 400, detail)
    assert world.ledger.list_requests() == []


@pytest.mark.parametrize("body", ["{", "[]", '{"window": 7}', '"x"', '{"Window": "20261120T0300Z-PT1H"}'])
def test_a_body_that_is_none_is_a_problem(world: World, body: str) -> None:
    found = client(world).post("/api/runs", content=body, headers={"Content-Type": "application/json"})
    assert is_problem(found, 400, "body")


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/api/runs/20200101T0000Z-PT1H", 404, "no run 20200101T0000Z-PT1H"),
        ("/api/runs/nonsense", 400, "expected a window"),
        ("/api/runs/20200101T0000Z-PT1H/chunks", 404, "no run"),
        (f"/api/runs/{WINDOW}/failures/bored", 400, "reason"),
        (f"/api/runs/{WINDOW}/logs/c99999", 404, "no chunk c99999"),
        (f"/api/runs/{WINDOW}/logs/c00000?attempt=9", 404, "had 1 attempts, not 9"),
        ("/api/runs?limit=0", 400, "query.limit"),
        ("/api/runs?cursor=x", 400, "expected a cursor"),
        ("/api/nothing", 404, "Not Found: GET /api/nothing"),
    ],
)
def test_what_is_not_there_or_not_well_formed_is_a_problem(over: World, path: str, status: int, detail: str) -> None:
    assert is_problem(client(over).get(path), status, detail)


def test_a_wish_that_is_taken_back_leaves_a_cancelled_run_and_can_be_made_again(world: World) -> None:
    http, window = client(world), "20261120T0300Z-PT1H"
    http.post("/api/runs", json={"window": window})
    assert http.post(f"/api/runs/{window}/cancel").status_code == 202
    world.beat_until_over()
    run = http.get(f"/api/runs/{window}").json()
    told = {name: run[name] for name in ("phase", "reason", "message", "asked_by")}
    assert told == {"phase": "cancelled", "reason": "cancelled", "message": "cancelled before it was opened",
                    "asked_by": "request"}  # fmt: skip
    assert http.post(f"/api/runs/{window}/cancel").status_code == 200
    assert http.post("/api/runs", json={"window": window}).status_code == 202
    http.post(f"/api/runs/{window}/cancel")
    assert http.post("/api/runs", json={"window": window}).status_code == 202
    for _ in range(9):
        world.beat()
    assert http.get(f"/api/runs/{window}").json()["phase"] == "partial"


def test_a_probe_may_ask_for_the_head_only(over: World) -> None:
    assert [client(over).head(path).status_code for path in ("/", "/api/health")] == [200, 200]


def test_a_body_that_is_not_called_json_is_told_what_is_wanted(world: World) -> None:
    found = client(world).post("/api/runs", content='{"window": null}', headers={"Content-Type": "text/plain"})
    assert is_problem(found, 400, "expected JSON, with Content-Type: application/json")


def test_a_method_that_is_not_offered_is_a_problem(world: World) -> None:
    assert is_problem(client(world).delete("/api/runs"), 405, "Method Not Allowed")


def test_a_running_run_can_be_cancelled_twice_and_one_that_is_over_stays(world: World) -> None:
    world.beat()
    http = client(world)
    assert [http.post(f"/api/runs/{WINDOW}/cancel").status_code for _ in range(2)] == [202, 202]
    assert [wish.kind for wish in world.ledger.list_requests()] == [RequestKind.CANCEL]
    assert world.beat_until_over().phase in (Phase.CANCELLED, Phase.PARTIAL)
    assert http.post(f"/api/runs/{WINDOW}/cancel").status_code == 200
    assert world.ledger.list_requests() == []
    assert is_problem(http.post("/api/runs/20200101T0000Z-PT1H/cancel"), 404, "no run")


def test_chunks_tell_their_attempts_and_live_asks_the_cluster_itself(world: World) -> None:
    world.beat()
    world.cluster.set_state(f"fleetscore-{WINDOW}-c00001-1", JobState.UNRESPONSIVE)
    stored = client(world).get(f"/api/runs/{WINDOW}/chunks").json()
    live = client(world).get(f"/api/runs/{WINDOW}/chunks", params={"live": 1, "limit": 1}).json()
    assert [c["id"] for c in stored["items"]] == ["c00000", "c00001"]
    assert [a["cluster"] for c in stored["items"] for a in c["attempts"]] == [None, None]
    assert [(a["job"], a["cluster"]) for a in live["items"][0]["attempts"]] == [
        (f"fleetscore-{WINDOW}-c00000-1", "running")
    ]
    rest = client(world).get(f"/api/runs/{WINDOW}/chunks", params={"live": 1, "cursor": live["next"]}).json()
    assert [a["cluster"] for c in rest["items"] for a in c["attempts"]] == ["doubtful"]


def test_the_models_of_a_reason_are_named(over: World) -> None:
    found = client(over).get(f"/api/runs/{WINDOW}/failures/unreadable_model").json()
    assert found == {
        "items": [
            {"model": "pump2/heat", "chunk": "c00001", "reason": "unreadable_model", "outcome": "failed",
             "message": "pump2/heat unreadable_model"},
        ],
        "next": None,
        "advice": Reason.UNREADABLE_MODEL.advice,
    }  # fmt: skip


def test_the_models_of_a_chunk_that_was_given_up_are_named() -> None:
    world = World({"a": None, "b": None}, ["fails"] * 7)
    world.beat_until_over()
    found = client(world).get(f"/api/runs/{WINDOW}/failures/job_failed").json()
    assert [(m["model"], m["outcome"]) for m in found["items"]] == [("a", "failed"), ("b", "failed")]


def test_a_log_is_the_stored_one_or_the_cluster_s(over: World) -> None:
    http = client(over)
    assert is_problem(http.get(f"/api/runs/{WINDOW}/logs/c00000"), 404, "no log of job")
    over.cluster.logs[f"fleetscore-{WINDOW}-c00000-1"] = "from the cluster"
    assert http.get(f"/api/runs/{WINDOW}/logs/c00000").text == "from the cluster"
    over.work.write(f"runs/{WINDOW}/logs/c00000-1.log", "stored ü".encode())
    assert http.get(f"/api/runs/{WINDOW}/logs/c00000?attempt=1").text == "stored ü"


def test_health_is_late_before_the_first_tick_and_after_ten_minutes_without_one() -> None:
    world = World(dict(FLEET))
    http = client(world)
    assert (http.get("/api/health").status_code, http.get("/api/health").json()["late"]) == (503, True)
    world.beat()
    assert http.get("/api/health").json() == {
        "late": False, "ticked_at": "2026-11-21T12:05:00Z", "decided_until": "2026-11-21T12:00:00Z", "trouble": "",
        "next_due": "2026-11-21T13:05:00Z", "paused_since": None, "throttled_until": None,
        "nodes": {"current": 0, "target": 0, "states": {}, "observed_at": "2026-11-21T12:05:00Z"},
        "waiting": None, "opened_at_limit": None, "publishing_overdue": False, "unpublished": None,
        "version": VERSION, "predictions_schema": 1, "features": "assumed", "window_origin": "1970-01-01",
    }  # fmt: skip
    world.now += timedelta(minutes=11)
    assert http.get("/api/health").status_code == 503


def test_health_tells_of_the_cluster_until_when_it_wants_to_be_left_alone_and_what_nodes_it_has(world: World) -> None:
    until = NOON + timedelta(minutes=10)
    nodes = Nodes(3, 8, {"idle": 1, "running": 2})
    beat = replace(world.ledger.read_heartbeat(), ticked_at=NOON, throttled_until=until, nodes=nodes, nodes_at=NOON)
    world.ledger.save_heartbeat(beat)
    found = []
    for world.now in (until - timedelta(seconds=1), until):
        told = client(world).get("/api/health").json()
        found.append((told["throttled_until"], told["nodes"]))
    view = {"current": 3, "target": 8, "states": {"idle": 1, "running": 2}, "observed_at": "2026-11-21T12:05:00Z"}
    assert found == [("2026-11-21T12:15:00Z", view), (None, view)]


def test_it_is_told_which_window_waits_and_that_one_was_opened_at_its_limit(world: World) -> None:
    until, limit = NOON + timedelta(hours=2), "20261121T1000Z-PT1H"
    beat = replace(world.ledger.read_heartbeat(), waiting=WINDOW, waits_until=until, at_limit=limit)
    world.ledger.save_heartbeat(beat)
    told = client(world).get("/api/health").json()
    assert told["waiting"] == {"run": WINDOW, "until": "2026-11-21T14:05:00Z"}
    assert told["opened_at_limit"] == limit
    world.ledger.save_run(replace(world.ledger.read_run(limit), waited=Waited.LIMIT))
    assert client(world).get(f"/api/runs/{limit}").json()["waited"] == "limit reached"


@pytest.mark.parametrize(
    ("guard", "headers", "trouble"),
    [
        (Authorizer(), {}, "no vault at fleet.azure"),
        (Authorizer(public=True), {}, "shown to readers only: GET /api/schedule"),
        (Authorizer(hashlib.sha256(b"reader").hexdigest()), {}, "shown to readers only: GET /api/schedule"),
        (
            Authorizer(hashlib.sha256(b"reader").hexdigest()),
            {"Authorization": "Bearer reader"},
            "no vault at fleet.azure",
        ),
        # The sign-in lets this path pass: what is told here may be anybody's invention.
        (
            Authorizer(signs_in=True),
            {"X-MS-CLIENT-PRINCIPAL": "eyJjbGFpbXMiOiBbXX0="},
            "shown to readers only: GET /api/schedule",
        ),
    ],
)
def test_strangers_are_told_whether_the_timer_beats_and_no_names(
    world: World, guard: Authorizer, headers: dict[str, str], trouble: str
) -> None:
    beat = world.ledger.read_heartbeat()
    world.ledger.save_heartbeat(
        replace(
            beat,
            ticked_at=NOON,
            trouble="no vault at fleet.azure",
            nodes=Nodes(3, 8),
            nodes_at=NOON,
            predictions_schema=2,
            assumes_features=True,
        )
    )
    told = client(world, guard).get("/api/health", headers=headers).json()
    assert (told["late"], told["ticked_at"], told["trouble"]) == (False, "2026-11-21T12:05:00Z", trouble)
    hidden = (told["nodes"] is None, told["version"] == "", told["predictions_schema"] is None)
    hidden = (*hidden, told["features"] is None, told["window_origin"] is None)
    assert hidden == (trouble.startswith("shown"),) * 5


def test_who_may_read_is_told_all_of_the_schedule(world: World) -> None:
    world.beat()
    http = client(world)
    assert http.get("/api/schedule").json() == http.get("/api/health").json()


def test_a_store_that_does_not_answer_is_told_with_when_to_try_again(world: World) -> None:
    def fail(*_: object) -> None:
        raise Unavailable("the ledger does not answer", retry_after=7)

    broken = replace(
        world.plane, ledger=type("Broken", (), {"list_runs": fail, "read_run": fail, "read_heartbeat": fail})()
    )
    http = Client(broken.services, Authorizer(), lambda: NOON)
    for path in ("/api/runs", f"/api/runs/{WINDOW}", "/api/health"):
        found = http.get(path)
        assert is_problem(found, 503, "the ledger does not answer")
        assert found.headers["Retry-After"] == "7"


def test_what_nobody_expected_says_no_more_than_that(world: World) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a secret")

    broken = replace(world.plane, ledger=type("Broken", (), {"list_runs": fail})())
    found = Client(broken.services, Authorizer(), lambda: NOON).get("/api/runs")
    assert is_problem(found, 500, "unexpected error")
    assert "secret" not in found.text


def test_the_api_describes_itself(world: World) -> None:
    doc = client(world).get("/openapi.json").json()
    assert doc["openapi"].startswith("3.1")
    assert not [path for path, ops in doc["paths"].items() for op in ops.values() if "422" in op["responses"]]
    told = {
        f"{op.upper()} {path}": list(of["responses"]) for path, ops in doc["paths"].items() for op, of in ops.items()
    }
    assert {name: sorted(set(statuses) - {"400", "404", "503"}) for name, statuses in told.items()} == {
        "GET /api/health": ["200"],
        "GET /api/schedule": ["200"],
        "GET /api/runs": ["200"],
        "POST /api/runs": ["200", "202"],
        "GET /api/runs/{run_id}": ["200", "304"],
        "POST /api/runs/{run_id}/cancel": ["200", "202"],
        "POST /api/runs/{run_id}/redrive": ["200", "202", "409"],
        "POST /api/runs/{run_id}/reprocess": ["200", "202", "409"],
        "POST /api/runs/{run_id}/limits": ["202", "409"],
        "GET /api/runs/{run_id}/chunks": ["200"],
        "GET /api/runs/{run_id}/failures": ["200"],
        "GET /api/runs/{run_id}/failures/{reason}": ["200"],
        "GET /api/runs/{run_id}/logs/{chunk_id}": ["200"],
        "GET /api/backfills": ["200"],
        "POST /api/backfills": ["200", "202", "409"],
        "GET /api/backfills/{backfill_id}": ["200"],
        "POST /api/backfills/{backfill_id}/cancel": ["200", "202"],
        "POST /api/schedule/pause": ["200"],
        "POST /api/schedule/resume": ["200"],
        "GET /api/sinks": ["200"],
        "GET /api/sinks/{sink}/publications": ["200"],
        "POST /api/publications": ["202", "409"],
        "GET /api/quarantine": ["200"],
        "DELETE /api/quarantine": ["204"],
    }
    asked = doc["components"]["schemas"]["AskedBackfill"]
    assert (set(asked["properties"]), asked["required"]) == (
        {"from", "to", "scope", "max_open", "dry_run"},
        ["from", "to"],
    )
    answers = doc["paths"]["/api/backfills"]["post"]["responses"]
    assert [answers[status]["content"]["application/json"]["schema"] for status in ("200", "202")] == [
        {**answers["200"]["content"]["application/json"]["schema"], "anyOf": [
            {"$ref": "#/components/schemas/Preview"}, {"$ref": "#/components/schemas/BackfillView"}]},
        {"$ref": "#/components/schemas/BackfillView"},
    ]  # fmt: skip


def test_the_page_loads_nothing_from_elsewhere_and_is_never_stale(world: World) -> None:
    for path in ("/", "/static/app.js"):
        headers = client(world).get(path).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
        assert headers["Cache-Control"] == "no-cache"


# Who may ask what


def sha(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


KEYS = Authorizer(sha("reader"), sha("operator"), public=True)


@pytest.mark.parametrize(
    ("guard", "key", "method", "path", "status"),
    [
        (Authorizer(), "", "GET", "/api/runs", 200),  # a developer's machine
        (Authorizer(public=True), "", "GET", "/api/runs", 503),  # the world, and nothing configured
        (Authorizer(public=True), "", "GET", "/", 200),  # the page holds no data, and says that the rest is closed
        (Authorizer(public=True), "", "POST", "/api/runs", 503),
        (Authorizer(public=True), "", "GET", "/api/health", 503),  # late, since nothing ticked yet: but it answers
        (KEYS, "", "GET", "/api/runs", 401),
        (KEYS, "wrong", "GET", "/api/runs", 401),
        (KEYS, "reader", "GET", "/api/runs", 200),
        (KEYS, "reader", "POST", "/api/runs", 403),
        (KEYS, "operator", "GET", "/api/runs", 200),
        (KEYS, "operator", "POST", "/api/runs", 202),
        (KEYS, "reader", "POST", f"/api/runs/{WINDOW}/redrive", 403),
        (KEYS, "reader", "POST", "/api/schedule/pause", 403),
        (KEYS, "reader", "DELETE", "/api/quarantine?model=a", 403),
        (KEYS, "operator", "DELETE", "/api/quarantine?model=a", 404),
        (KEYS, "reader", "GET", "/api/quarantine", 200),
        (Authorizer(sha("reader")), "reader", "POST", "/api/runs", 403),
        (Authorizer("", sha("operator")), "", "GET", "/api/runs", 401),
        (Authorizer("", sha("operator")), "operator", "GET", "/api/runs", 200),
    ],
)
def test_the_guard_lets_pass_whom_it_should(
    world: World, guard: Authorizer, key: str, method: str, path: str, status: int
) -> None:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    found = client(world, guard).request(method, path, headers=headers)
    assert found.status_code == status


def principal(*roles: str, role_type: str = "roles") -> str:
    """What App Service authentication sends of somebody who signed in."""
    claims = [{"typ": "name", "val": "Ada"}, *({"typ": role_type, "val": role} for role in roles)]
    told = {"auth_typ": "aad", "claims": claims, "name_typ": "name", "role_typ": role_type}
    return base64.b64encode(json.dumps(told).encode()).decode()


SIGN_IN = Authorizer(signs_in=True, public=True)
LONG_TYPE = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"


@pytest.mark.parametrize(
    ("guard", "told", "method", "path", "status"),
    [
        (SIGN_IN, "", "GET", "/api/runs", 401),
        (SIGN_IN, "", "GET", "/", 200),
        (SIGN_IN, principal("Reader"), "GET", "/api/runs", 200),
        (SIGN_IN, principal("Reader", role_type=LONG_TYPE), "GET", "/api/runs", 200),
        (SIGN_IN, principal("Reader"), "POST", "/api/runs", 403),
        (SIGN_IN, principal("Operator"), "GET", "/api/runs", 200),
        (SIGN_IN, principal("Operator"), "POST", "/api/runs", 202),
        (SIGN_IN, principal("Reader", "Operator"), "POST", "/api/runs", 202),
        (SIGN_IN, principal(), "GET", "/api/runs", 403),  # signed in, and nothing more
        (SIGN_IN, principal("reader"), "GET", "/api/runs", 403),
        (SIGN_IN, "no base64!", "GET", "/api/runs", 403),
        (SIGN_IN, base64.b64encode(b"no JSON").decode(), "GET", "/api/runs", 403),
        (SIGN_IN, base64.b64encode(b"[]").decode(), "GET", "/api/runs", 403),
        (SIGN_IN, base64.b64encode(b'{"claims": [{"val": "Operator"}]}').decode(), "POST", "/api/runs", 403),
        (SIGN_IN, base64.b64encode(b'{"claims": "Operator"}').decode(), "POST", "/api/runs", 403),
        (KEYS, principal("Operator"), "GET", "/api/runs", 401),  # nobody stands before the app: anybody can send this
        (Authorizer(public=True), principal("Operator"), "GET", "/api/runs", 503),
        (replace(KEYS, signs_in=True), principal("Operator"), "POST", "/api/runs", 202),
    ],
)
def test_app_roles_of_entra_let_pass_whom_they_should(
    world: World, guard: Authorizer, told: str, method: str, path: str, status: int
) -> None:
    headers = {"X-MS-CLIENT-PRINCIPAL": told} if told else {}
    assert client(world, guard).request(method, path, headers=headers).status_code == status


def test_keys_go_on_beside_a_sign_in(world: World) -> None:
    http = client(world, replace(KEYS, signs_in=True))
    assert http.post("/api/runs", headers={"Authorization": "Bearer operator"}).status_code == 202


def test_who_lacks_a_role_is_told_which(world: World) -> None:
    http = client(world, SIGN_IN)
    told = [http.post("/api/runs", headers={"X-MS-CLIENT-PRINCIPAL": principal(*r)}) for r in (["Reader"], [])]
    assert [found.json()["detail"].split(";")[0] for found in told] == [
        "expected the app role Operator, got Reader", "expected the app role Operator, got none",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("site", "method", "status"),
    [("same-origin", "POST", 202), ("none", "POST", 202), ("cross-site", "POST", 403), ("same-site", "POST", 403),
     ("cross-site", "GET", 200)],
)  # fmt: skip
def test_no_page_of_another_site_starts_anything_by_a_persons_sign_in(
    world: World, site: str, method: str, status: int
) -> None:
    headers = {"X-MS-CLIENT-PRINCIPAL": principal("Operator"), "Sec-Fetch-Site": site}
    assert client(world, SIGN_IN).request(method, "/api/runs", headers=headers).status_code == status


def test_a_job_that_the_cluster_does_not_know_is_shown_as_doubted(world: World) -> None:
    world.fates[:] = ["endless"] * 2
    for _ in range(3):
        world.beat()
    world.cluster.forget_job(f"fleetscore-{WINDOW}-c00000-1")
    world.started.add(f"fleetscore-{WINDOW}-c00000-1")
    since = world.now
    world.beat()
    chunks = client(world).get(f"/api/runs/{WINDOW}/chunks").json()["items"]
    assert [a["doubted_since"] for c in chunks for a in c["attempts"]] == [f"{since:%Y-%m-%dT%H:%M:%SZ}", None]
