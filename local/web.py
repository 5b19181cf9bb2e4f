"""HTTP as the local stack asks it of servers on this machine: short, and never through a proxy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

LIMIT = 10  # seconds for an answer

_opener = build_opener(ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said, and what it calls itself."""

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
    """The answer, of whatever status; raises OSError where nobody answers in HTTP."""
    return _ask(url, None)


def post(url: str) -> Answer:
    """The same of a wish that says all by its address."""
    return _ask(url, b"")


def _ask(url: str, body: bytes | None) -> Answer:
    try:
        with _opener.open(url, data=body, timeout=LIMIT) as response:
            return Answer(response.status, response.headers.get("Server", ""), response.read())
    except HTTPError as error:
        with error:
            return Answer(error.code, error.headers.get("Server", ""), error.read())
    except HTTPException as error:
        raise OSError(f"{url} does not speak HTTP: {error}") from error
