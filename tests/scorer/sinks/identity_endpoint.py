"""A stand-in for the endpoint where Azure gives an app its tokens."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


def point_at(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let azure-identity ask at a port of this machine, and nobody else."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{port}/token")
    monkeypatch.setenv("IDENTITY_HEADER", "h")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is asked of the endpoint; it answers where the list is empty, and refuses what follows."""
    asked: list[str] = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, document = (200, {"access_token": "t0", "expires_on": "4102444800"}) if not asked else (400, {})
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps({"resource": "r", "token_type": "Bearer", **document}).encode())

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        point_at(server.server_port, monkeypatch)
        yield asked
        server.shutdown()


@pytest.fixture
def no_identity(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An endpoint that refuses connections."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        point_at(bound.getsockname()[1], monkeypatch)
        yield
