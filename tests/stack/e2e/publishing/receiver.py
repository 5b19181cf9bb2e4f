"""A real HTTP receiver of events and notifications, which may refuse them, and kill the job that sends them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(slots=True)
class Receiver:
    """What it has taken, by path; *statuses* are its answers, by path, where they are not 201."""

    url: str = ""
    taken: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    before_answer: Callable[[], None] = lambda: None  # called once something is taken

    def count_ids(self, path: str) -> dict[str, int]:
        """How often each id came."""
        counts: dict[str, int] = {}
        for entry in self.taken.get(path, []):
            counts[entry["id"]] = counts.get(entry["id"], 0) + 1
        return counts


@contextmanager
def run_receiver() -> Iterator[Receiver]:
    """Run one on a free port."""
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = state.statuses.get(self.path, 201)
            if status == 201:
                state.taken.setdefault(self.path, []).extend(body if isinstance(body, list) else [body])
                state.before_answer()
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
