"""Wishes over HTTP, and what ticks make of them: further rounds, limits, backfills, a pause, the quarantine."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from shared.contract.reasons import Reason
from shared.contract.windows import Window
from shared.state.requests import BackfillState, Quarantined, RequestKind
from shared.state.runs import Phase, Run
from tests.shared.api.test_app import FLEET, client, is_problem
from tests.storm.fault_plan import Weather
from tests.storm.world import EARLIER, NOON, WINDOW, World

HERE = f"/api/runs/{WINDOW}"
MISSED = Run(Window.parse("20261121T0800Z-PT1H"), Phase.MISSED, NOON, ended_at=NOON, reason=Reason.TOO_LATE)
RANGE = {"from": "2026-11-21T08:00Z", "to": "2026-11-21T12:00Z"}  # missed, none at all, one that went well, a partial


@pytest.fixture
def world() -> World:
    return World(dict(FLEET))


@pytest.fixture
def over(world: World) -> World:
    """A run that is over: one model scored, one failed, one skipped."""
    world.beat_until_over()
    return world


@pytest.fixture(scope="module")
def resting() -> tuple[World, TestClient]:
    """A world with an open run, for requests that change nothing."""
    world = World(dict(FLEET))
    world.beat()
    return world, client(world)


def kinds(world: World) -> list[RequestKind]:
    return [wish.kind for wish in world.ledger.list_requests()]


def run(http: TestClient, window: str = WINDOW) -> dict[str, Any]:
    told: dict[str, Any] = http.get(f"/api/runs/{window}").json()
    return told


def interleaved(
    make: Callable[[], World], ask: Callable[[TestClient], Any], other: Callable[[TestClient], Any] | None = None
) -> list[tuple[World, Any, Any]]:
    """Two who ask at once, the other just before each call that the first one makes: the world, and both answers."""
    found = []
    other = other or ask
    for call in range(100):
        world, second = make(), []
        weather = Weather(meanwhile={call: lambda world=world, second=second: second.append(other(client(world)))})
        first = ask(client(world, plane=world.host(weather)))
        if len(weather.calls) <= call:
            return found
        found.append((world, first, second[0]))
    raise AssertionError("it never came to an end")


# Further rounds


def test_a_redrive_scores_in_a_further_round_what_was_left_over(over: World) -> None:
    http = client(over)
    over.fleet["pump2/heat"] = None  # somebody mended it
    asked = [http.post(f"{HERE}/redrive") for _ in range(2)]
    assert {(r.status_code, r.headers["Location"], r.headers["Retry-After"], r.json()["round"]) for r in asked} == {
        (202, HERE, "5", 0)
    }
    assert kinds(over) == [RequestKind.REDRIVE]
    over.beat()
    told = http.post(f"{HERE}/redrive")
    assert (told.status_code, told.json()["phase"], told.json()["round"]) == (200, "running", 1)
    assert (run(http)["redo"], kinds(over)) == ("redrive", [])
    assert is_problem(http.post(f"{HERE}/reprocess"), 409, f"expected a run that is over, got {WINDOW} open to redrive")
    over.beat_until_over()
    told = run(http)
    assert (told["phase"], told["round"], told["redo"]) == ("succeeded", 1, "redrive")
    assert (told["models"]["scored"], told["models"]["skipped"], len(over.rows())) == (2, 1, 6)
    assert told["models_per_second"] is None  # most of what is done, this round has not done


def test_a_run_of_which_all_is_scored_has_nothing_to_redrive(over: World) -> None:
    over.fleet |= dict.fromkeys(FLEET, None)
    client(over).post(f"{HERE}/redrive")
    over.beat_until_over()
    told = client(over).post(f"{HERE}/redrive")
    assert (told.status_code, told.json()["models"]["scored"], "Retry-After" in told.headers) == (200, 3, False)
    assert kinds(over) == []


def test_a_run_that_found_no_model_is_planned_by_its_redrive(world: World) -> None:
    http = client(world)
    name = "pump1.skops"
    kept, world.models._blobs = world.models._blobs, {}
    assert world.beat_until_over().phase is Phase.FAILED
    world.models._blobs = {name: kept[name]}
    assert http.post(f"{HERE}/redrive").status_code == 202
    world.beat_until_over()
    assert (run(http)["phase"], run(http)["round"], run(http)["models"]["scored"]) == ("succeeded", 1, 1)


def test_a_reprocess_scores_all_again(over: World) -> None:
    http = client(over)
    before = len(over.rows())
    assert http.post(f"{HERE}/reprocess").status_code == 202
    assert kinds(over) == [RequestKind.REPROCESS]
    over.beat()
    assert http.post(f"{HERE}/reprocess", json={"models": "all"}).status_code == 200
    over.beat_until_over()
    told = run(http)
    assert (told["phase"], told["round"], told["redo"], told["plans"]) == ("partial", 1, "reprocess", 1)
    assert told["models_per_second"] > 0
    assert len(over.rows()) == before
    assert [chunk.committed and chunk.committed.attempt for chunk in over.ledger.list_chunks(WINDOW)] == [2, 2]


def test_a_reprocess_of_new_models_scores_those_that_no_plan_holds(over: World) -> None:
    http = client(over)
    over.fleet["pump9"] = None
    over.models.write("pump9.skops", b"a model")
    assert http.post(f"{HERE}/reprocess", json={"models": "new"}).status_code == 202
    over.beat_until_over()
    told = run(http)
    assert (told["round"], told["redo"], told["plans"]) == (1, "extend", 2)
    assert (told["models"]["total"], told["models"]["scored"], len(over.rows())) == (4, 2, 6)


@pytest.mark.parametrize("path", ["redrive", "reprocess"])
def test_only_a_run_that_is_over_is_opened_again(world: World, path: str) -> None:
    http, asked = client(world), "20261120T0300Z-PT1H"
    world.ledger.add_run(MISSED)
    world.beat()
    http.post("/api/runs", json={"window": asked})
    for run_id, status, detail in [
        (WINDOW, 409, f"expected a run that is over, got {WINDOW} running: cancel it or wait"),
        (asked, 409, f"expected a run that is over, got {asked} requested"),
        (MISSED.id, 409, "was missed: request its window by POST /api/runs"),
        ("20200101T0000Z-PT1H", 404, "no run 20200101T0000Z-PT1H"),
        ("nonsense", 400, "expected a window"),
    ]:
        assert is_problem(http.post(f"/api/runs/{run_id}/{path}"), status, detail)
    assert kinds(world) == [RequestKind.RUN]


@pytest.mark.parametrize("path", ["redrive", "reprocess"])
def test_a_round_that_two_ask_for_at_once_is_one(path: str) -> None:
    def make() -> World:
        world = World(dict(FLEET))
        world.beat_until_over()
        return world

    cases = interleaved(make, lambda http: http.post(f"{HERE}/{path}"))
    assert len(cases) > 2
    for world, first, second in cases:
        assert (first.status_code, second.status_code, len(world.ledger.list_requests())) == (202, 202, 1)
        assert world.beat_until_over().round == 1


def test_a_round_that_is_cancelled_is_told_so_and_not_taken_for_what_was_asked(over: World) -> None:
    http = client(over)
    over.fates[:] = ["endless"] * 9
    http.post(f"{HERE}/redrive")
    over.beat()
    http.post(f"{HERE}/cancel")
    assert is_problem(http.post(f"{HERE}/redrive"), 409, "about to be cancelled")
    over.plane.tick(over.now)
    assert is_problem(http.post(f"{HERE}/redrive"), 409, "being cancelled")
    over.beat_until_over()
    told = run(http)
    assert (told["phase"], told["round"], told["cancelled_at"] is None) == ("partial", 1, False)  # as it was before
    assert http.post(f"{HERE}/redrive").status_code == 202


def test_a_cancel_that_came_too_late_does_not_end_the_round_that_is_asked_for_after_it(over: World) -> None:
    http = client(over)
    over.wish(RequestKind.CANCEL)
    over.fleet["pump2/heat"] = None
    http.post(f"{HERE}/redrive")
    over.beat_until_over()
    assert (run(http)["phase"], run(http)["round"]) == ("succeeded", 1)


@pytest.mark.parametrize("meanwhile", [False, True])
def test_a_round_that_waits_is_taken_back_by_a_cancel(over: World, *, meanwhile: bool) -> None:
    http = client(over)
    http.post(f"{HERE}/redrive")
    if meanwhile:  # a tick opens it between our look and our wish
        http = client(over, plane=over.host(Weather(meanwhile={2: lambda: over.plane.tick(over.now)})))
    assert http.post(f"{HERE}/cancel").status_code == 202
    assert kinds(over) == [RequestKind.CANCEL]
    over.beat_until_over()
    assert (run(http)["round"], kinds(over)) == (int(meanwhile), [])
    assert (run(http)["phase"], run(http)["cancelled_at"] is None) == ("partial", not meanwhile)
    assert http.post(f"{HERE}/cancel").status_code == 200


def test_a_cancel_takes_back_the_round_of_no_other_run(over: World) -> None:
    http = client(over)
    over.wish(RequestKind.REDRIVE, EARLIER.id)
    assert http.post(f"{HERE}/cancel").status_code == 200
    assert kinds(over) == [RequestKind.REDRIVE]


# Limits


def test_limits_of_an_open_run_are_taken_up_and_told(world: World) -> None:
    http = client(world)
    world.fates[:] = ["endless"] * 9
    world.beat()
    assert (run(http)["max_in_flight"], run(http)["tolerated_failures"]) == (None, None)
    told = http.post(f"{HERE}/limits", json={"max_in_flight": 1})
    assert (told.status_code, told.headers["Retry-After"]) == (202, "5")
    world.beat()
    assert (run(http)["max_in_flight"], run(http)["tolerated_failures"], kinds(world)) == (1, None, [])
    http.post(f"{HERE}/limits", json={"tolerated_failures": 0, "max_in_flight": None})
    world.beat()
    assert (run(http)["max_in_flight"], run(http)["tolerated_failures"]) == (1, 0)


def test_a_tolerance_that_is_asked_for_stops_the_run() -> None:
    world = World({f"pump{n}": Reason.BAD_SCORES if n == 0 else None for n in range(8)}, max_in_flight=1)
    http = client(world)
    world.beat()
    http.post(f"{HERE}/limits", json={"tolerated_failures": 0})
    for _ in range(20):
        world.beat()
        if run(http)["stopped"]:
            break
    assert (run(http)["stopped"], run(http)["phase"]) == ("too_many_failures", "running")
    world.beat_until_over()
    told = run(http)
    assert (told["phase"], told["reason"], told["models"]["not_attempted"]) == ("failed", "too_many_failures", 4)


def test_newer_limits_replace_those_that_wait_and_leave_the_others(world: World) -> None:
    world.beat()
    http = client(world)
    for body in [{"max_in_flight": 1}, {"tolerated_failures": 50}, {"max_in_flight": 3}]:
        http.post(f"{HERE}/limits", json=body)
    assert [(w.kind, w.max_in_flight, w.tolerated_failures) for w in world.ledger.list_requests()] == [
        (RequestKind.LIMITS, 3, 50)
    ]


def test_limits_that_two_ask_for_at_once_hold_both() -> None:
    def make() -> World:
        world = World(dict(FLEET))
        world.beat()
        world.wish(RequestKind.LIMITS)
        return world

    cases = interleaved(
        make,
        lambda http: http.post(f"{HERE}/limits", json={"max_in_flight": 1}),
        lambda http: http.post(f"{HERE}/limits", json={"tolerated_failures": 50}),
    )
    assert len(cases) > 3
    for world, first, second in cases:
        assert (first.status_code, second.status_code) == (202, 202)
        assert [(w.max_in_flight, w.tolerated_failures) for w in world.ledger.list_requests()] == [(1, 50)]


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        ("limits", {}, "expected max_in_flight, tolerated_failures or both, got neither"),
        ("limits", {"max_in_flight": None, "tolerated_failures": None}, "got neither"),
        ("limits", {"max_in_flight": 0}, "max_in_flight: Input should be greater than or equal to 1, got 0"),
        ("limits", {"tolerated_failures": 101}, "tolerated_failures: Input should be less than or equal to 100"),
        ("limits", {"tolerated_failures": -1}, "got -1"),
        ("limits", {"max_inflight": 1}, "max_inflight"),
        ("limits", None, "body"),
        ("reprocess", {"models": "some"}, "got 'some'"),
        ("reprocess", {"model": "new"}, "model"),
    ],
)
def test_a_body_that_says_something_else_is_a_problem(
    resting: tuple[World, TestClient], path: str, body: Any, detail: str
) -> None:
    world, http = resting
    assert is_problem(http.post(f"{HERE}/{path}", json=body), 400, detail)
    assert kinds(world) == []


def test_a_run_that_is_over_has_no_limits(over: World) -> None:
    told = client(over).post(f"{HERE}/limits", json={"max_in_flight": 1})
    assert is_problem(told, 409, f"expected a run that is open, got {WINDOW} partial")
    assert is_problem(
        client(over).post("/api/runs/20200101T0000Z-PT1H/limits", json={"max_in_flight": 1}), 404, "no run"
    )


# Backfills


def until_filled(world: World, backfill_id: str) -> None:
    """Beat until a backfill and all runs are over."""
    for _ in range(300):
        world.beat()
        if world.ledger.read_backfill(backfill_id).state is not BackfillState.OPEN and world.over:
            return
    raise AssertionError(f"{backfill_id} never came to an end")


@pytest.fixture
def past(over: World) -> World:
    """Four windows: one that was missed, one that has no run, one whose run went well, one whose run is partial."""
    over.ledger.add_run(MISSED)
    return over


DECISIONS = {
    "missing": ["run", "run", "nothing", "nothing"],
    "failed": ["run", "run", "nothing", "redrive"],
    "all": ["run", "run", "reprocess", "reprocess"],
}


@pytest.mark.parametrize("scope", DECISIONS)
def test_a_dry_run_tells_exactly_what_the_ticks_then_do(past: World, scope: str) -> None:
    http = client(past)
    before = {one.id: one for one in past.ledger.list_runs_in(datetime(2026, 11, 21, 8, tzinfo=UTC), NOON)}
    told = http.post("/api/backfills", json={**RANGE, "scope": scope, "max_open": 2})
    windows = [f"20261121T{hour:02}00Z-PT1H" for hour in (8, 9, 10, 11)]
    actions = dict(zip(windows, DECISIONS[scope], strict=True))
    assert (told.status_code, told.json()) == (200, {
        "id": f"backfill-20261121T0800Z-PT4H-{scope}",
        "span": {"start": "2026-11-21T08:00:00Z", "end": "2026-11-21T12:00:00Z"},
        "scope": scope,
        "max_open": 2,
        "counts": {kind: DECISIONS[scope].count(kind) for kind in ("run", "redrive", "reprocess", "nothing")},
        "windows": [{"window": window, "action": action} for window, action in actions.items()],
    })  # fmt: skip
    assert past.ledger.list_backfills() == []
    asked = http.post("/api/backfills", json={**RANGE, "scope": scope, "max_open": 2, "dry_run": False})
    assert (asked.status_code, asked.headers["Location"]) == (202, f"/api/backfills/{told.json()['id']}")
    until_filled(past, told.json()["id"])
    done = []
    for window in windows:
        after = past.ledger.read_run(window)
        done.append("nothing" if after == before.get(window) else str(after.redo or "run"))
    assert done == DECISIONS[scope]


def test_a_backfill_tells_how_far_it_has_come(past: World) -> None:
    http = client(past)
    past.fates[:] = ["endless"] * 9
    asked = http.post("/api/backfills", json={**RANGE, "dry_run": False})
    name = "backfill-20261121T0800Z-PT4H-missing"
    view = {
        "id": name,
        "state": "open",
        "span": {"start": "2026-11-21T08:00:00Z", "end": "2026-11-21T12:00:00Z"},
        "scope": "missing",
        "max_open": 1,
        "asked_at": f"{past.now:%Y-%m-%dT%H:%M:%SZ}",
        "ended_at": None,
        "windows": 4,
        "decided": 0,
        "opened": 0,
        "passed": 0,
    }
    assert (asked.json(), asked.headers["Retry-After"]) == (view, "5")
    past.beat()
    told = http.get(f"/api/backfills/{name}")
    assert (told.json(), told.headers["Retry-After"]) == (view | {"decided": 1, "opened": 1}, "5")
    assert http.get("/api/backfills").json() == [told.json()]
    assert run(http, MISSED.id)["asked_by"] == name
    past.fates[:] = []
    until_filled(past, name)
    told = http.get(f"/api/backfills/{name}").json()
    assert told == view | {"state": "done", "ended_at": told["ended_at"], "decided": 4, "opened": 2, "passed": 2}


def test_the_backfill_that_was_asked_for_last_comes_first(past: World) -> None:
    http = client(past)
    for scope in ("missing", "failed"):
        http.post("/api/backfills", json={**RANGE, "scope": scope, "dry_run": False})
        past.now += timedelta(seconds=1)
    assert [one["scope"] for one in http.get("/api/backfills").json()] == ["failed", "missing"]


def test_a_backfill_is_once_while_it_is_open_and_begins_anew_when_it_is_over(past: World) -> None:
    http, body = client(past), {**RANGE, "scope": "failed", "dry_run": False}
    asked = [http.post("/api/backfills", json=body | {"max_open": n}) for n in (2, 1)]
    assert [(told.status_code, told.json()["max_open"]) for told in asked] == [(202, 2), (200, 2)]
    until_filled(past, asked[0].json()["id"])
    past.fleet |= dict.fromkeys(FLEET, None)
    again = http.post("/api/backfills", json=body)
    assert (again.status_code, again.json()["decided"], len(past.ledger.list_backfills())) == (202, 0, 1)
    until_filled(past, again.json()["id"])
    assert (run(http)["phase"], run(http)["round"], run(http)["models"]["scored"]) == ("succeeded", 2, 3)


@pytest.mark.parametrize("before", [False, True])
def test_a_backfill_that_two_ask_for_at_once_is_one(*, before: bool) -> None:
    body = {**RANGE, "dry_run": False}

    def make() -> World:
        world = World(dict(FLEET))
        world.beat_until_over()
        if before:
            until_filled(world, client(world).post("/api/backfills", json=body).json()["id"])
        return world

    cases = interleaved(make, lambda http: http.post("/api/backfills", json=body))
    assert cases
    for world, first, second in cases:
        assert {first.status_code, second.status_code} <= {200, 202}
        assert [(one.cursor, one.state) for one in world.ledger.list_backfills()] == [
            (datetime(2026, 11, 21, 8, tzinfo=UTC), BackfillState.OPEN)
        ]


def test_a_cancel_ends_a_backfill_and_its_runs_and_it_can_be_asked_for_again(past: World) -> None:
    http, body = client(past), {**RANGE, "dry_run": False}
    past.fates[:] = ["endless"] * 2
    name = http.post("/api/backfills", json=body).json()["id"]
    past.beat()
    assert [http.post(f"/api/backfills/{name}/cancel").status_code for _ in range(2)] == [202, 202]
    assert kinds(past) == [RequestKind.CANCEL]
    assert is_problem(http.post("/api/backfills", json=body), 409, f"got {name} about to be cancelled")
    past.plane.tick(past.now)
    told = http.get(f"/api/backfills/{name}").json()
    assert (told["state"], told["decided"], run(http, MISSED.id)["cancelled_at"] is None) == ("cancelled", 1, False)
    assert (http.post(f"/api/backfills/{name}/cancel").status_code, kinds(past)) == (200, [RequestKind.CANCEL])
    assert http.post("/api/backfills", json=body).status_code == 202
    until_filled(past, name)
    assert [run(http, f"20261121T{hour}00Z-PT1H")["phase"] for hour in ("08", "09")] == ["cancelled", "partial"]
    assert is_problem(http.post("/api/backfills/backfill-none/cancel"), 404, "no backfill backfill-none")
    assert is_problem(http.get("/api/backfills/backfill-none"), 404, "no backfill backfill-none")


@pytest.mark.parametrize(
    ("start", "end", "span", "count"),
    [
        ("2026-11-21T08:00:00Z", "2026-11-21T12:00:00Z", "20261121T0800Z-PT4H", 4),
        ("2026-11-21T09:00:00+01:00", "2026-11-21T12:00Z", "20261121T0800Z-PT4H", 4),
        ("20261121T0800Z-PT1H", "20261121T1100Z-PT1H", "20261121T0800Z-PT4H", 4),  # that one too
        (WINDOW, WINDOW, WINDOW, 1),
        ("20261120T0000Z-P1D", "20261120T0000Z-P1D", "20261120T0000Z-P1D", 24),  # a stretch that was missed
        ("2025-09-30T20:00Z", "2026-11-21T12:00Z", "20250930T2000Z-PT10000H", 10_000),
    ],
)
def test_a_range_is_told_by_instants_or_by_windows(
    resting: tuple[World, TestClient], start: str, end: str, span: str, count: int
) -> None:
    told = resting[1].post("/api/backfills", json={"from": start, "to": end})
    assert (told.status_code, told.json()["id"]) == (200, f"backfill-{span}-missing")
    assert len(told.json()["windows"]) == count


@pytest.mark.parametrize(
    ("start", "end", "detail"),
    [
        ("soon", "2026-11-21T12:00Z", "or an instant with its offset such as 2026-11-21T07:00Z, got 'soon'"),
        ("2026-11-21T08:00", "2026-11-21T12:00Z", "got '2026-11-21T08:00'"),
        ("2026-11-21T08:30Z", "2026-11-21T12:00Z", "such as at 2026-11-21T08:00Z, got 2026-11-21T08:30:00+00:00"),
        ("2026-11-21T08:00Z", "2026-11-21T11:00:01Z", "such as at 2026-11-21T11:00Z"),
        ("2026-11-21T08:00Z", "2026-11-21T13:00Z", "that have closed, which end by 2026-11-21T12:00Z"),
        ("2026-11-21T08:00Z", "2026-11-21T08:00Z", "got 2026-11-21T08:00:00+00:00 to 2026-11-21T08:00:00+00:00"),
        ("2026-11-21T09:00Z", "2026-11-21T08:00Z", "expected a range"),
        ("2025-09-30T19:00Z", "2026-11-21T12:00Z", "expected at most 10000 windows, got 10001"),
        ("0001-01-01T00:00+23:59", "2026-11-21T12:00Z", "or an instant"),
        ("0001-01-01T00:00Z", "2026-11-21T12:00Z", "expected at most 10000 windows"),
    ],
)
def test_a_range_that_cannot_be_filled_is_refused(
    resting: tuple[World, TestClient], start: str, end: str, detail: str
) -> None:
    world, http = resting
    for dry_run in (True, False):
        told = http.post("/api/backfills", json={"from": start, "to": end, "dry_run": dry_run})
        assert is_problem(told, 400, detail)
    assert world.ledger.list_backfills() == []


@pytest.mark.parametrize(
    ("extra", "detail"),
    [
        ({"max_open": 0}, "max_open"),
        ({"max_open": 25}, "max_open"),
        ({"scope": "some"}, "scope"),
        ({"dry_run": "perhaps"}, "dry_run"),
        ({"dryrun": False}, "dryrun"),
        ({"to": None}, "to"),
    ],
)
def test_a_backfill_of_another_form_is_refused(
    resting: tuple[World, TestClient], extra: dict[str, Any], detail: str
) -> None:
    assert is_problem(resting[1].post("/api/backfills", json={**RANGE, **extra}), 400, f"body.{detail}: ")


def test_a_dry_run_reads_the_runs_of_its_range_and_no_others(past: World) -> None:
    weather = Weather()
    http = client(past, plane=past.host(weather))
    http.post("/api/backfills", json=RANGE)
    assert weather.calls == ["ledger.list_runs_in"]


# The schedule and the quarantine


def test_a_paused_schedule_opens_no_window_until_it_is_resumed(world: World) -> None:
    http, since = client(world), f"{world.now:%Y-%m-%dT%H:%M:%SZ}"
    paused = http.post("/api/schedule/pause")
    assert (paused.status_code, paused.json()["paused_since"], paused.json()["late"]) == (200, since, True)
    world.beat()
    assert http.post("/api/schedule/pause").json()["paused_since"] == since
    assert (http.get("/api/health").json()["paused_since"], http.get(HERE).status_code) == (since, 404)
    resumed = [http.post("/api/schedule/resume") for _ in range(2)]
    assert [(told.status_code, told.json()["paused_since"]) for told in resumed] == [(200, None)] * 2
    world.beat()
    assert run(http)["phase"] == "running"


def test_a_paused_schedule_keeps_nobody_from_asking(world: World) -> None:
    http = client(world)
    http.post("/api/schedule/pause")
    http.post("/api/runs", json={"window": WINDOW})
    assert world.beat_until_over().phase is Phase.PARTIAL


IDS = ["a/b", "pump 1", "50%", "x#y?z", "ä/ö&=+", "..a/b.."]


@pytest.mark.parametrize("model", IDS)
def test_a_model_is_struck_off_the_quarantine_whatever_its_id(world: World, model: str) -> None:
    for one in {*IDS, model}:
        world.ledger.add_quarantined(Quarantined(one, "e1", Reason.CRASHED, "signal 11", WINDOW, NOON))
    http = client(world)
    assert http.get("/api/quarantine").json()[sorted(IDS).index(model)] == {
        "model": model, "etag": "e1", "reason": "crashed", "message": "signal 11", "run": WINDOW,
        "since": "2026-11-21T12:05:00Z", "advice": Reason.CRASHED.advice,
    }  # fmt: skip
    told = http.delete("/api/quarantine", params={"model": model})
    assert (told.status_code, told.content) == (204, b"")
    assert {one["model"] for one in http.get("/api/quarantine").json()} == set(IDS) - {model}
    assert is_problem(http.delete("/api/quarantine", params={"model": model}), 404, "in quarantine")


def test_a_slash_in_a_model_s_id_may_stand_as_it_is(world: World) -> None:
    world.ledger.add_quarantined(Quarantined("a/b", "e1", Reason.CRASHED, "", WINDOW, NOON))
    assert client(world).delete("/api/quarantine?model=a/b").status_code == 204


def test_a_model_that_crashed_is_in_quarantine_and_is_planned_again_once_it_is_struck_off(world: World) -> None:
    http = client(world)
    world.fleet["pump2/heat"] = Reason.CRASHED
    world.beat_until_over()
    assert [(one["model"], one["run"]) for one in http.get("/api/quarantine").json()] == [("pump2/heat", WINDOW)]
    http.delete("/api/quarantine?model=pump2%2Fheat")
    world.fleet["pump2/heat"] = None
    http.post("/api/runs", json={"window": "20261121T0900Z-PT1H"})
    world.beat_until_over()
    assert run(http, "20261121T0900Z-PT1H")["models"]["scored"] == 2


# What chunks tell of a further round


def test_a_chunk_tells_what_consumers_read_while_a_further_round_is_under_way(over: World) -> None:
    http = client(over)
    over.fates[:] = ["endless"] * 9
    http.post(f"{HERE}/reprocess")
    over.beat()
    first, last = http.get(f"{HERE}/chunks").json()["items"]
    assert [(c["state"], c["round"], c["scored"], c["rows"], c["attempts_made"]) for c in (first, last)] == [
        ("queued", 1, 1, 3, 2),
        ("queued", 1, 0, 0, 2),
    ]
    assert run(http)["models"]["scored"] == 0  # in this round


def test_an_attempt_after_one_that_died_is_told_to_be_careful(world: World) -> None:
    world.fates[:] = ["fails", "endless", "endless"]
    for _ in range(6):
        world.beat()
    chunks = client(world).get(f"{HERE}/chunks").json()["items"]
    assert [(a["number"], a["careful"]) for c in chunks for a in c["attempts"]] == [(2, True), (1, False)]


def test_a_run_that_the_cluster_throttles_tells_until_when(world: World) -> None:
    http = client(world)
    world.beat()
    now = world.ledger.read_run(WINDOW)
    world.ledger.save_run(replace(now, throttled_until=NOON + timedelta(minutes=1)))
    assert run(http)["throttled_until"] == "2026-11-21T12:06:00Z"


# What is written where


def test_no_request_writes_a_run_a_chunk_or_a_heartbeat(past: World) -> None:
    weather = Weather()
    http = client(past, plane=past.host(weather))
    past.ledger.add_quarantined(Quarantined("a", "e1", Reason.CRASHED, "", WINDOW, NOON))
    for path, body in [
        (f"{HERE}/redrive", None),
        (f"{HERE}/cancel", None),
        (f"{HERE}/reprocess", {"models": "new"}),
        ("/api/backfills", {**RANGE, "dry_run": False}),
        ("/api/backfills/backfill-20261121T0800Z-PT4H-missing/cancel", None),
        ("/api/schedule/pause", None),
        ("/api/schedule/resume", None),
        ("/api/runs", {"window": "20261120T0300Z-PT1H"}),
    ]:
        assert http.post(path, json=body).is_success
    http.delete("/api/quarantine?model=a")
    reads = ("read_run", "read_request", "list_requests", "list_runs_in", "read_backfill", "read_heartbeat")
    writes = {call.removeprefix("ledger.") for call in weather.calls} - set(reads)
    assert writes == {"add_request", "remove_request", "add_backfill", "remove_quarantined"}
