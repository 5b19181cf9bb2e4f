"""A real HTTP server that takes what is sent to it, and answers as a test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    """A request, and how it was answered."""

    path: str
    headers: dict[str, str]
    body: bytes
    status: int


@dataclass
class Receiver:
    """*answers* are the statuses of the next requests; then that of its path, or 201."""

    url: str = ""
    requests: list[Received] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    retry_after: str = "7"
    before_answer: Callable[[], None] = lambda: None  # called once something is taken

    @property
    def bodies(self) -> list[bytes]:
        """What was taken: of requests that were answered with 2xx."""
        return [request.body for request in self.requests if request.status // 100 == 2]

    def list_events(self, path: str = "") -> list[dict[str, Any]]:
        """The documents that were taken, also those in lists; of one path, or of all."""
        taken = [r for r in self.requests if r.status // 100 == 2 and path in ("", r.path)]
        documents = [json.loads(request.body) for request in taken]
        return [event for document in documents for event in (document if isinstance(document, list) else [document])]

    def count_ids(self, path: str) -> dict[str, int]:
        """How often each id came."""
        counts: dict[str, int] = {}
        for event in self.list_events(path):
            counts[event["id"]] = counts.get(event["id"], 0) + 1
        return counts


@contextmanager
def run_receiver() -> Iterator[Receiver]:
    """Run one on a free port."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status = receiver.answers.pop(0) if receiver.answers else receiver.statuses.get(self.path, 201)
            receiver.requests.append(Received(self.path, dict(self.headers), body, status))
            if status // 100 == 2:
                receiver.before_answer()
            self.send_response(status)
            self.send_header("Retry-After", receiver.retry_after)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST  # noqa: N815  # of the library

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        receiver.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
