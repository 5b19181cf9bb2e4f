"""HTTP requests to servers on this machine: with a short time-out, and never through a proxy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

LIMIT = 10  # seconds for an answer

_opener = build_opener(ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a server, with its Server header."""

    status: int
    server: str
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The JSON object in it; raises ValueError."""
        document = json.loads(self.body)
        match document:
            case dict():
                return document
            case _:
                raise ValueError(f"expected a JSON object, got {document!r}")


def get(url: str) -> Answer:
    """The answer, of any status; raises OSError if no HTTP server answers."""
    return _ask(url, None)


def post(url: str, document: object = None) -> Answer:
    """The same for a POST, with a *document* as JSON or without a body."""
    return _ask(url, b"" if document is None else json.dumps(document).encode())


def _ask(url: str, body: bytes | None) -> Answer:
    request = Request(url, body, {"Content-Type": "application/json"} if body else {})  # noqa: S310
    try:
        with _opener.open(request, timeout=LIMIT) as response:
            return Answer(response.status, response.headers.get("Server", ""), response.read())
    except HTTPError as error:
        with error:
            return Answer(error.code, error.headers.get("Server", ""), error.read())
    except HTTPException as error:
        raise OSError(f"{url} does not speak HTTP: {error}") from error
