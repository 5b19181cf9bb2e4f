"""The development host, `python -m local.host`: runs the function app of the current folder on this machine.

It serves the app's HTTP on 127.0.0.1 and fires its timers, as `func start` would. A convenience, not an emulator: one
catch-all HTTP function, complete bodies, no keys, no time-outs, and only failed HTTP calls are logged. What the app
needs from a host is tested under Microsoft's own worker.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import logging
import os
import signal
import sys
import threading
import time
import uuid
from dataclasses import dataclass
from difflib import get_close_matches
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import azure.functions as func
from azure.functions.http import HttpResponseConverter

from shared.config import settings
from shared.contract.errors import FleetError, Misconfigured

from .functions import Function, Timer, functions_of
from .settings_file import read_object, read_settings

log = logging.getLogger("host")
GRACE = 5.0  # seconds for a running timer call to finish when the host stops
# Headers that the server writes itself.
OWN_HEADERS = frozenset({"connection", "content-length", "date", "server", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Host:
    """What the threads of the HTTP server share."""

    prefix: str  # of every route, with slashes around
    http: Function | None
    timers: dict[str, Timer]
    loop: asyncio.AbstractEventLoop
    started: float


class Handler(BaseHTTPRequestHandler):
    """One connection to *host*."""

    host: Host
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave in one packet

    def log_message(self, *_: object) -> None:
        """Logs nothing: a page that polls would fill the screen."""

    def answer(self) -> None:
        """Answers one request of any method, as the worker and the host would."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal():
            return self.send_error(411)  # and closes: the start of the next request is unknown
        body, (path, _, query) = self.rfile.read(int(length)), self.path.partition("?")
        response = self._admin(path, body) if path.startswith("/admin/") else self._app(path, query, body)
        message = HttpResponseConverter.encode(response, expected_type=None).value  # what the worker sends to its host
        headers = {name: text.value for name, text in message["headers"].items()}
        size = headers.get("content-length") if self.command == "HEAD" else None
        self.send_response(response.status_code)
        for name, text in headers.items():
            if name.lower() not in OWN_HEADERS:
                self.send_header(name, text)
        for cookie in message["cookies"] or []:
            for morsel in cookie.values():
                self.send_header("Set-Cookie", morsel.OutputString())
        if response.status_code != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", size or str(len(response.get_body())))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else response.get_body())
        return None

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = answer  # noqa: N815  # http.server's names

    def _app(self, path: str, query: str, body: bytes) -> func.HttpResponse:
        http = self.host.http
        if http is None or not path.startswith(self.host.prefix):
            return func.HttpResponse(status_code=404)
        request = func.HttpRequest(
            self.command,
            f"http://{self.headers.get('Host', 'localhost')}{self.path}",
            headers={name: ", ".join(self.headers.get_all(name, [])) for name in self.headers},
            params=dict(parse_qsl(query)),
            route_params={"route": path.removeprefix(self.host.prefix)},
            body=body,
        )
        ident = str(uuid.uuid4())
        try:
            response: func.HttpResponse = asyncio.run_coroutine_threadsafe(
                http.call(ident, request), self.host.loop
            ).result()
        except Exception:
            log.exception("Executed 'Functions.%s' (Failed, Id=%s, %s %s)", http.name, ident, self.command, path)
            return func.HttpResponse(status_code=500)
        return response

    def _admin(self, path: str, body: bytes) -> func.HttpResponse:
        if (self.command, path) == ("GET", "/admin/host/status"):
            status = {"state": "Running", "processUptime": int(1000 * (time.monotonic() - self.host.started))}
            return func.HttpResponse(json.dumps(status), mimetype="application/json")
        timer = self.host.timers.get(path.removeprefix("/admin/functions/"))
        if self.command != "POST" or timer is None:
            return func.HttpResponse("expected POST /admin/functions/ and the name of a timer", status_code=404)
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        if not isinstance(document, dict) or not isinstance(document.get("input"), str):
            return func.HttpResponse('expected {"input": ""} as the body', status_code=400)
        asyncio.run_coroutine_threadsafe(timer.call_now(), self.host.loop)
        return func.HttpResponse(status_code=202)


async def serve(app: Any, port: int, prefix: str) -> None:
    """Serves and fires until a signal comes. Raises FleetError for what a person must change first."""
    functions = functions_of(app)
    timers = {function.name: Timer(function) for function in functions if function.trigger["type"] == "timerTrigger"}
    http = next((function for function in functions if function.name not in timers), None)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    Handler.host = Host(prefix, http, timers, loop, time.monotonic())
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise Misconfigured(f"expected port {port} of 127.0.0.1, got: {error.strerror}") from error
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("\nFunctions:\n")
    for function in functions:
        url = f"http://127.0.0.1:{server.server_port}{prefix}{{*route}}"
        print(f"\t{function.name}: {function.trigger['type'] if function.name in timers else url}\n", flush=True)
    # A timer's loop ends only by a bug; then the host must stop rather than run without its timer.
    await next(asyncio.as_completed([stop.wait(), *(timer.keep_calling() for timer in timers.values())]))
    await asyncio.to_thread(server.shutdown)
    try:
        async with asyncio.timeout(GRACE):
            for timer in timers.values():
                await timer.busy.acquire()
            if getattr(app, "startup_task_done", False):
                app.startup_task_done = False  # else its __del__ uses a loop that has ended
                await app.middleware.notify_shutdown()
    except TimeoutError:
        log.warning("Stopping in the middle of a call; the next start repeats it")
        os._exit(0)  # Python would wait for the threads of that call


def main() -> int:
    """Returns the exit code: 0 after a signal, 2 where a person must change something first."""
    parser = argparse.ArgumentParser(prog="python -m local.host", description="Runs the function app of this folder.")
    parser.add_argument("--port", type=int, default=7071, help="0: a free one")
    parser.add_argument("--settings", type=Path, default=Path("local.settings.json"))
    options = parser.parse_args()
    logging.Formatter.converter = time.gmtime
    form = "[%(asctime)s.%(msecs)03dZ] %(message)s"
    logging.basicConfig(format=form, datefmt="%Y-%m-%dT%H:%M:%S", level=logging.INFO, stream=sys.stdout)
    try:
        for name, value in read_settings(options.settings).items():
            os.environ.setdefault(name, value)
            meant = get_close_matches(name, settings.list_names(), 1, 0.8)
            if meant and name not in settings.list_names():
                log.warning("%s: no setting is called %s; did you mean %s?", options.settings, name, meant[0])
        prefix = read_object(Path("host.json")).get("extensions", {}).get("http", {}).get("routePrefix", "api")
        if not Path("function_app.py").is_file():
            raise Misconfigured(f"expected function_app.py in {Path.cwd()}, got none")
        app = importlib.import_module("function_app").app
        asyncio.run(serve(app, options.port, f"/{prefix}/".replace("//", "/")))
    except FleetError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
