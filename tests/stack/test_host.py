"""The development host as a process: what it lists, answers and logs, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import time
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.patience import patience
from tests.stack.hosted import ROOT, DevelopmentHost, deployed

NEVER = "0 0 0 29 2 *"  # not while these tests run
YEARS_AGO = "2020-02-29T00:00:00+00:00"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return deployed(ROOT / "tests/stack/worker/app", tmp_path / "app")


def settings(app: Path, **more: str) -> dict[str, str]:
    return {"HEARTBEAT": NEVER, "TICKS": str(app / "ticks"), **more}


def ticks(app: Path) -> list[str]:
    return (app / "ticks").read_text().splitlines() if (app / "ticks").exists() else []


def in_a_moment() -> str:
    """Each day at a time that comes soon, but not before a host has started."""
    soon = datetime.now(UTC) + timedelta(seconds=patience(4))
    return f"{soon.second} {soon.minute} {soon.hour} * * *"


def call_now(host: DevelopmentHost) -> None:
    answer = httpx.post(host.url.join("/admin/functions/heartbeat"), json={"input": ""}, trust_env=False)
    assert (answer.status_code, answer.content) == (202, b"")


def test_the_host_lists_the_functions_with_their_urls(app: Path) -> None:
    with DevelopmentHost(app, settings(app)) as host:
        host.until("timerTrigger\n\n")
        assert host.said == f"\nFunctions:\n\n\thttp_app_func: {host.url}/{{*route}}\n\n\theartbeat: timerTrigger\n\n"


def test_a_variable_that_is_set_already_wins_over_the_settings_file(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKS", str(app / "elsewhere"))
    (app / "mine.json").write_text(json.dumps({"IsEncrypted": False, "Values": settings(app)}))
    with DevelopmentHost(app, {}, "--port", "0", "--settings", "mine.json") as host:
        call_now(host)
        host.until("Succeeded")
    assert (ticks(app), (app / "elsewhere").exists()) == ([], True)


def test_the_admin_routes_answer_as_core_tools_do(app: Path) -> None:
    with DevelopmentHost(app, settings(app)) as host, httpx.Client(base_url=host.url, trust_env=False) as client:
        status = client.get("/admin/host/status")
        assert (status.status_code, status.json()["state"]) == (200, "Running")
        assert client.post("/admin/functions/heartbeat", content=b"{").status_code == 400
        assert client.post("/admin/functions/heartbeat", json={}).status_code == 400
        assert client.post("/admin/functions/unknown", json={"input": ""}).status_code == 404
        assert client.post("/admin/functions/http_app_func", json={"input": ""}).status_code == 404
        assert client.get("/admin/functions/heartbeat").status_code == 404
        assert ticks(app) == []
        call_now(host)
        host.until("Succeeded")
        assert ticks(app) == ["begins False", "ends"]
        stamp, name = r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\]", "'Functions.heartbeat'"
        host.until(rf"{stamp} Executing {name} \(Reason='This function was programmatically called .*', Id=[-\w]+\)\n")
        host.until(rf"{stamp} tick past_due=False\n")
        host.until(rf"{stamp} Executed {name} \(Succeeded, Id=[-\w]+, Duration=\d+ms\)\n")


def test_a_handler_that_raises_gives_500_and_a_line_and_the_host_goes_on(app: Path) -> None:
    with DevelopmentHost(app, settings(app)) as host, httpx.Client(base_url=host.url, trust_env=False) as client:
        assert [client.get("/boom").status_code, client.get("/").status_code] == [500, 200]
        host.until(r"Executed 'Functions.http_app_func' \(Failed, Id=.*, GET /boom\)\nTraceback")
        host.until("RuntimeError: the handler broke")


def test_no_header_is_sent_twice(app: Path) -> None:
    with DevelopmentHost(app, settings(app)) as host:
        connection = HTTPConnection(host.url.host, host.url.port)  # httpx would hide a second Content-Length
        connection.request("GET", "/")
        names = sorted(name.lower() for name, _ in connection.getresponse().getheaders())
        connection.close()
    assert names == ["content-length", "content-type", "date", "etag", "server", "x-answer"]


def test_a_body_of_unknown_length_is_refused(app: Path) -> None:
    with DevelopmentHost(app, settings(app)) as host:
        assert httpx.post(host.url, content=iter([b"a", b"b"]), trust_env=False).status_code == 411


def test_the_route_prefix_of_host_json_counts(app: Path) -> None:
    (app / "host.json").write_text('{"version": "2.0"}')
    with DevelopmentHost(app, settings(app)) as host, httpx.Client(base_url=host.url, trust_env=False) as client:
        assert client.get("/deep").status_code == 404
        assert client.get("/api/deep").json()["path"] == "/api/deep"


def test_a_timer_that_raises_is_logged_and_fires_again(app: Path) -> None:
    with DevelopmentHost(app, settings(app, HEARTBEAT="* * * * * *", FAILS="1")) as host:
        host.until(r"Executing 'Functions.heartbeat' \(Reason='Timer fired at 20.*\+00:00', Id=.*\)", times=2)
        host.until(r"Executed 'Functions.heartbeat' \(Failed, Id=.*\)\nTraceback", times=2)
    assert ticks(app)[:2] == ["begins False", "begins False"]
    assert not (app / ".local").exists()  # a schedule as quick as this has no status


def test_a_timer_never_overlaps_itself_whoever_calls_it(app: Path) -> None:
    with DevelopmentHost(app, settings(app, HEARTBEAT="* * * * * *", LASTS="1.3")) as host:
        host.until("tick")
        call_now(host)
        host.until("Succeeded", times=3)
        host.until("programmatically called")
    # On a busy machine one may begin late, and be told so.
    assert [line.split()[0] for line in ticks(app)[:6]] == ["begins", "ends"] * 3


def test_after_an_outage_a_timer_is_called_once_and_told_that_it_is_past_due(app: Path) -> None:
    daily = in_a_moment()
    status = app / ".local/timers/heartbeat.json"
    status.parent.mkdir(parents=True)
    status.write_text(json.dumps({"schedule": daily, "next": YEARS_AGO}))
    with DevelopmentHost(app, settings(app, HEARTBEAT=daily)) as host:
        host.until("OriginalSchedule: 2020-02-29")
        host.until("Succeeded", times=2)
        assert host.end() == 0
    assert ticks(app) == ["begins True", "ends", "begins False", "ends"]
    assert datetime.fromisoformat(json.loads(status.read_text())["next"]) > datetime.now(UTC)


@pytest.mark.parametrize("text", ["", "[]", '{"schedule": "0 0 0 1 1 *", "next": "2020-01-01T00:00:00+00:00"}'])
def test_a_status_that_is_torn_or_of_another_schedule_is_not_past_due(app: Path, text: str) -> None:
    status = app / ".local/timers/heartbeat.json"
    status.parent.mkdir(parents=True)
    status.write_text(text)
    with DevelopmentHost(app, settings(app)) as host:
        host.until("timerTrigger")
        time.sleep(0.3)
        assert host.end() == 0
    assert ticks(app) == []
    assert json.loads(status.read_text())["schedule"] == NEVER


def test_a_call_that_was_killed_is_made_again(app: Path) -> None:
    daily = in_a_moment()
    with DevelopmentHost(app, settings(app, HEARTBEAT=daily, LASTS="30")) as host:
        host.until("tick past_due=False")
        host.end(signal.SIGKILL)
    with DevelopmentHost(app, settings(app, HEARTBEAT=daily)) as host:
        host.until("Succeeded")
    assert ticks(app) == ["begins False", "begins True", "ends"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_a_running_call_finish_and_ends_with_0(app: Path, number: int) -> None:
    with DevelopmentHost(app, settings(app, LASTS="1")) as host:
        assert httpx.get(host.url, trust_env=False).status_code == 200
        call_now(host)
        host.until("tick")
        assert host.end(number) == 0
        assert ("Succeeded" in host.said, "Traceback" in host.said) == (True, False)
    assert ticks(app) == ["begins False", "ends"]
    assert (app / "ticks.lifespan").read_text() == "over"


def test_a_call_that_will_not_end_does_not_hold_up_the_end(app: Path) -> None:
    with DevelopmentHost(app, settings(app, LASTS="60")) as host:
        call_now(host)
        host.until("tick")
        assert host.end() == 0
        assert "Stopping in the middle of a call" in host.said
    assert ticks(app) == ["begins False"]


def refused(app: Path, values: dict[str, str], *arguments: str) -> str:
    """What the host says when it ends with 2."""
    with DevelopmentHost(app, values, *arguments) as host:
        assert host.process.wait(20) == 2
        assert "Traceback" not in host.said
        return host.said


def test_a_port_that_is_taken_is_named(app: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(app, settings(app), "--port", str(port))
    assert said == f"expected port {port} of 127.0.0.1, got: Address already in use\n"


def test_a_setting_that_is_almost_one_of_ours_is_told(app: Path) -> None:
    with DevelopmentHost(app, settings(app, SCHEDLUE="0 5 * * * *", OTHER="x")) as host:
        host.until("no setting is called SCHEDLUE; did you mean SCHEDULE")
        assert "OTHER" not in host.said


def test_every_problem_of_a_misconfigured_app_is_told(app: Path) -> None:
    told = r"'expected A, got none\nwanted B, got 7'"
    text = f"from shared.contract.errors import Misconfigured\nraise Misconfigured({told})\n"
    (app / "function_app.py").write_text(text)
    assert refused(app, settings(app)) == "expected A, got none\nwanted B, got 7\n"


def test_what_is_missing_or_malformed_is_told(app: Path) -> None:
    assert "for the schedule %HEARTBEAT%" in refused(app, {"TICKS": ""})
    assert "got '7' in '0 0 0 * * 7'" in refused(app, settings(app, HEARTBEAT="0 0 0 * * 7"))
    assert "local.settings.example.json" in refused(app, {}, "--settings", "nowhere.json")
    (app / "host.json").write_text("{")
    assert "expected JSON in host.json" in refused(app, settings(app))
    (app / "host.json").unlink()
    assert "expected the file host.json, got No such file" in refused(app, settings(app))
    (app / "host.json").write_text("{}")
    with (app / "function_app.py").open("a") as text:
        text.write("\n\n@app.route('other')\ndef other(req: func.HttpRequest) -> str:\n    return ''\n")
    assert "got also: other" in refused(app, settings(app))
    (app / "function_app.py").unlink()
    assert "expected function_app.py in" in refused(app, settings(app))
