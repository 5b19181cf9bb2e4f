"""The HTTP application over a world in memory. It is built once for each set of rules: what it serves changes.

To build it takes a tenth of a second, most of it for the schema of the answers; some hundred tests need nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any, cast

from fastapi import FastAPI
from starlette.testclient import TestClient

from shared.api.app import create_api
from shared.api.auth import Authorizer
from shared.control.options import ControlOptions
from shared.control.services import Services


@dataclass(frozen=True, slots=True)
class Served:
    """What a client is answered from."""

    services: Services
    guard: Authorizer
    clock: Callable[[], datetime]


_now: list[Served] = []  # the last one is that of the request under way: another may come in the middle of it


class _Part:
    """A port of what is served just now, or its guard."""

    def __init__(self, find: Callable[[Served], Any]) -> None:
        self._find = find

    def __getattr__(self, name: str) -> Any:
        return getattr(self._find(_now[-1]), name)


@cache
def _app(options: ControlOptions) -> FastAPI:
    ports = [cast("Any", _Part(attrgetter(f"services.{name}"))) for name in ("ledger", "cluster", "work", "sinks")]
    services = Services(*ports, options)
    return create_api(services, cast("Authorizer", _Part(attrgetter("guard"))), _tell_time)


def _tell_time() -> datetime:
    return _now[-1].clock()


class Client(TestClient):
    """Asks the application over these services."""

    def __init__(self, services: Services, guard: Authorizer, clock: Callable[[], datetime]) -> None:
        super().__init__(_app(services.options), raise_server_exceptions=False)
        self._served = Served(services, guard, clock)

    def send(self, *args: Any, **options: Any) -> Any:
        _now.append(self._served)
        try:
            return super().send(*args, **options)
        finally:
            _now.pop()
