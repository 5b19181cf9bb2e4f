"""The function app under Microsoft's worker code, and the development host held to its answers.

The copy under test holds only what .funcignore lets through.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.stack.hosted import ROOT, DevelopmentHost, deployed

APP = Path(__file__).parent / "app"
HTTP, TIMER = "http_app_func", "heartbeat"
REQUESTS = [
    ("GET", "/", {}, b""),
    ("GET", "/a%20b/%E2%82%AC?x=1&x=2&empty=&y=%26", {"X-One": "1", "Cookie": "a=1; b=2"}, b""),
    ("POST", "/deep/er", {"Content-Type": "application/octet-stream"}, bytes(range(256))),
    ("PUT", "/", {"Content-Type": "application/json"}, b'{"a": "\xc3\xa9"}'),
    ("PATCH", "/", {}, b"x"),
    ("DELETE", "/teapot", {}, b""),
    ("OPTIONS", "/", {}, b""),
    ("HEAD", "/", {}, b""),
    ("GET", "/nothing", {}, b""),
    ("GET", "/cookies", {}, b""),
    ("GET", "/boom", {}, b""),
]
OF_THE_SERVER = {
    "date",
    "server",
    "content-length",
    "set-cookie",
}  # cookies are compared apart, each host writes its own; a body is compared as a whole


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"HEARTBEAT": "0 0 0 1 1 *", "TICKS": str(tmp_path_factory.mktemp("ticks") / "ticks")}


@pytest.fixture(scope="module")
def app_worker(worker: Callable[..., Any], settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return worker(deployed(APP, tmp_path_factory.mktemp("worker") / "app"), settings)


@pytest.fixture(scope="module")
def host(settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevelopmentHost]:
    with DevelopmentHost(deployed(APP, tmp_path_factory.mktemp("host") / "app"), settings) as started:
        yield started


def test_the_worker_indexes_and_loads_every_function(app_worker: Any) -> None:
    assert (app_worker.error, app_worker.functions) == (
        "",
        {
            HTTP: [
                {
                    "direction": "IN",
                    "type": "httpTrigger",
                    "name": "req",
                    "methods": ["GET", "POST", "DELETE", "HEAD", "PATCH", "PUT", "OPTIONS"],
                    "authLevel": "ANONYMOUS",
                    "route": "/{*route}",
                },
                {"direction": "OUT", "type": "http", "name": "$return"},
            ],
            TIMER: [
                {
                    "direction": "IN",
                    "type": "timerTrigger",
                    "name": "timer",
                    "schedule": "%HEARTBEAT%",
                    "runOnStartup": False,
                    "useMonitor": True,
                }
            ],
        },
    )


def test_the_worker_indexes_the_app_that_is_deployed(worker: Callable[..., Any], tmp_path: Path) -> None:
    example = json.loads((ROOT / "local.settings.example.json").read_text())["Values"]
    started = worker(deployed(ROOT, tmp_path / "app"), example)
    types = {name: [one["type"] for one in bindings] for name, bindings in started.functions.items()}
    assert (started.error, types) == ("", {HTTP: ["httpTrigger", "http"], TIMER: ["timerTrigger"]})


def test_the_worker_says_why_an_app_cannot_be_indexed(worker: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "function_app.py").write_text("raise ValueError('this app is broken')")
    started = worker(tmp_path, {})
    assert (started.functions, "this app is broken" in started.error) == ({}, True)


@pytest.mark.parametrize("past_due", [False, True])
def test_the_worker_calls_the_timer(app_worker: Any, past_due: bool) -> None:
    answer = app_worker.timer(TIMER, past_due=past_due)
    assert (answer.error, answer.logs) == ("", [f"INFO tick past_due={past_due}"])


def test_the_worker_calls_the_http_app(app_worker: Any) -> None:
    answer = app_worker.http(HTTP, httpx.Request("POST", "http://127.0.0.1:7071/a?b=c", content=b"hello"))
    told = (
        answer.error,
        answer.status,
        answer.headers["content-type"],
        httpx.Response(200, content=answer.body).json(),
    )
    body = {"method": "POST", "path": "/a", "query": "b=c", "headers": {"content-length": "5"}, "body": "hello"}
    assert told == ("", 200, "application/json", body)


def test_a_handler_that_raises_fails_its_call_and_no_other(app_worker: Any) -> None:
    assert "the handler broke" in app_worker.http(HTTP, httpx.Request("GET", "http://127.0.0.1:7071/boom")).error
    assert app_worker.http(HTTP, httpx.Request("GET", "http://127.0.0.1:7071/")).status == 200


@pytest.mark.parametrize(("method", "path", "headers", "body"), REQUESTS, ids=[f"{r[0]} {r[1]}" for r in REQUESTS])
def test_the_development_host_answers_as_the_worker_does(
    app_worker: Any, host: DevelopmentHost, method: str, path: str, headers: dict[str, str], body: bytes
) -> None:
    request = httpx.Request(method, host.url.join(path), headers=headers, content=body or None)
    with httpx.Client(trust_env=False) as client:
        seen = client.send(request)
    told = app_worker.http(HTTP, request)
    assert (seen.status_code, seen.content) == (told.status, told.body)
    length = told.headers.get("content-length", str(len(told.body)))
    assert seen.headers.get_list("content-length") == ([] if told.status == 204 else [length])
    if told.status != 500:  # what a host says of a function that raised is its own affair
        ours, theirs = (
            {name: text for name, text in headers.items() if name not in OF_THE_SERVER}
            for headers in (seen.headers, told.headers)
        )
        assert (ours, dict(seen.cookies)) == (theirs, told.cookies)
