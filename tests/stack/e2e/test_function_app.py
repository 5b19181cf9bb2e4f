"""The app as it is deployed, under Microsoft's own worker: a run by its timer, told over its HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from shared.contract.windows import Window
from tests.patience import patience
from tests.stack.e2e.fleets import HOUR, give_models, give_readings
from tests.stack.e2e.place import Place
from tests.stack.hosted import ROOT, DevelopmentHost, deployed

HTTP, TIMER = "http_app_func", "heartbeat"
NEVER = "0 0 0 1 1 *"


@pytest.fixture
def window(place: Place) -> Window:
    """The last window that is due by the real clock, with a model and readings for it and for the next."""
    found = Window.containing(datetime.now(UTC) - HOUR - timedelta(minutes=5), HOUR)
    give_models(place, ["pump1"])
    for start in (found.start, found.end):
        give_readings(place, ["pump1"], start)
    return found


def test_its_timer_scores_and_its_http_tells_as_in_the_development_host(
    place: Place, window: Window, worker: Callable[..., Any], tmp_path: Path
) -> None:
    settings = {**place.environment, "HEARTBEAT": NEVER, "FUNCTIONS_WORKER_RUNTIME": "python"}
    app = worker(deployed(ROOT, tmp_path / "worker"), settings)
    assert (app.error, set(app.functions)) == ("", {HTTP, TIMER})

    def told(method: str, path: str, **extra: Any) -> Any:
        return app.http(HTTP, httpx.Request(method, f"http://127.0.0.1:7071{path}", **extra))

    deadline = time.monotonic() + patience(60)
    run: dict[str, Any] = {"ended_at": None}
    while run["ended_at"] is None:
        assert time.monotonic() < deadline, run
        beat = app.timer(TIMER)
        assert beat.error == ""
        run = json.loads(told("GET", f"/api/runs/{window.id}").body)
        time.sleep(0.3)
    assert (run["phase"], run["models"]["scored"], run["rows"]) == ("succeeded", 1, 60)

    with (
        DevelopmentHost(deployed(ROOT, tmp_path / "host"), settings) as host,
        httpx.Client(trust_env=False, timeout=patience(30)) as client,  # the first request takes what the app imports
    ):
        for method, path, body in (
            ("GET", f"/api/runs/{window.id}", None),
            ("GET", f"/api/runs/{window.id}/chunks", None),
            ("GET", f"/api/runs/{window.id}/failures", None),
            ("GET", f"/api/runs/{window.id}/logs/c00000", None),
            ("GET", "/api/runs?limit=1", None),
            ("GET", "/api/runs/20200101T0000Z-PT1H", None),
            ("POST", "/api/runs", {"window": "yesterday"}),
            ("POST", "/api/runs", {"window": window.id}),
            ("POST", f"/api/runs/{window.id}/cancel", None),
            ("GET", "/openapi.json", None),
            ("GET", "/", None),
            ("GET", "/static/app.js", None),
        ):
            ours = client.request(method, host.url.join(path), json=body)
            theirs = told(method, path, json=body)
            assert (ours.status_code, ours.content) == (theirs.status, theirs.body), path
            for header in ("content-type", "etag", "location", "cache-control"):
                assert ours.headers.get(header) == theirs.headers.get(header), (path, header)
