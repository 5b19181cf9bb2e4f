"""Faults: what may go wrong at one call of a port, told as the adapters tell it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from azure.core.exceptions import HttpResponseError, ServiceResponseTimeoutError

from shared.adapters.azure.storage import translate_errors
from shared.contract.errors import FleetError


class Killed(BaseException):
    """The process of the app died here."""


class _Answer:
    """An HTTP answer, as far as the adapters look at it."""

    def __init__(self, status: int, **headers: str) -> None:
        self.status_code, self.reason, self.headers = status, str(status), headers

    def text(self) -> str:
        return ""


@cache
def status(code: int, **headers: str) -> FleetError:
    """What the adapters make of this answer of Azure."""
    error = HttpResponseError(response=_Answer(code, **{"x-ms-error-code": f"Storm{code}"}, **headers))
    return _translated(error)


def _translated(error: Exception) -> FleetError:
    try:
        with translate_errors("the storm"):
            raise error
    except FleetError as ours:
        return ours


TIME_OUT = _translated(ServiceResponseTimeoutError("time-out"))
OUTAGE = _translated(HttpResponseError("no route"))


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong at one call, and whether the call takes effect: before, never, or some calls later."""

    name: str
    error: BaseException | None  # None: the answer is spoilt instead
    applied: bool = False
    late: int = 0  # so many calls later


FAULTS = (
    Fault("killed before", Killed()),
    Fault("killed after", Killed(), applied=True),
    Fault("outage", OUTAGE),
    Fault("404", status(404)),
    Fault("409", status(409)),
    Fault("409, though applied", status(409), applied=True),
    Fault("412", status(412)),
    Fault("412, though applied", status(412), applied=True),
    Fault("429 with Retry-After", status(429, **{"Retry-After": "30"})),
    Fault("500", status(500)),
    Fault("503", status(503)),
    Fault("time-out, not applied", TIME_OUT),
    Fault("time-out, applied", TIME_OUT, applied=True),
    Fault("time-out, applied late", TIME_OUT, late=4),
    Fault("time-out, applied much later", TIME_OUT, late=40),
    Fault("stale read", None),
    Fault("page cut short", None),
    Fault("answer doubled", None),
)
BY_NAME = {fault.name: fault for fault in FAULTS}
READS = {
    "read_heartbeat", "list_requests", "read_request", "read_run", "list_runs", "list_runs_in", "list_watched_runs",
    "list_chunks", "list_backfills", "list_quarantined", "observe", "list_blobs", "list_names", "describe_blobs",
    "read_properties", "read", "read_sink", "read_publication", "list_open_publications", "list_notices",
}  # fmt: skip
PAGED = {
    "observe", "list_chunks", "describe_blobs", "list_blobs", "list_names", "list_requests", "list_watched_runs",
    "list_backfills", "list_quarantined", "list_runs_in", "list_open_publications", "list_notices",
}  # fmt: skip
# What a port may answer, by its contract: a fault that it never shows would prove nothing.
MAY_CONFLICT = {
    "save_heartbeat", "save_run", "save_chunks", "save_backfill", "unwatch_run", "copy", "save_sink",
    "save_publications", "save_notice",
}  # fmt: skip
MAY_BE_MISSING = {"read_run", "read_publication", "read_properties", "read", "copy"}


def shows(fault: Fault, method: str) -> bool:
    """Whether a port can answer like this at all."""
    if fault.name.startswith(("409", "412")):
        return method in MAY_CONFLICT
    if fault.name == "404":
        return method in MAY_BE_MISSING
    if fault.late:
        return method not in READS
    if fault.name == "stale read":
        return method in READS
    return fault.error is not None or method in PAGED


class Weather:
    """Counts the calls of all ports, and says which one breaks and how."""

    def __init__(
        self, faults: dict[int, Fault] | None = None, meanwhile: dict[int, Callable[[], None]] | None = None
    ) -> None:
        self.faults = faults or {}
        self.meanwhile = meanwhile or {}  # what somebody else does just before a call
        self.calls: list[str] = []
        self.struck = 0  # faults that came to pass
        self._late: list[tuple[int, Callable[[], Any]]] = []
        self.reads: dict[Any, Any] = {}  # what a read answered the last time

    @property
    def is_over(self) -> bool:
        """Whether every fault has had its call, and all that comes late has come."""
        return not self._late and max(self.faults, default=-1) < len(self.calls)

    def around(self, port: str, method: str, key: Any, call: Callable[[], Any]) -> Any:
        number = len(self.calls)
        self.meanwhile.get(number, lambda: None)()
        self.calls.append(f"{port}.{method}")
        for due, effect in list(self._late):
            if number >= due:
                self._late.remove((due, effect))
                with suppress(FleetError):  # nobody is there any more to be told
                    effect()
        fault = self.faults.get(number)
        if fault is None or not shows(fault, method):
            return self._remembered(method, key, call)
        self.struck += 1
        if fault.late:
            self._late.append((number + fault.late, call))
        elif fault.applied:
            call()
        if fault.error is not None:
            raise fault.error.with_traceback(None)
        if fault.name == "stale read" and key in self.reads:
            return _fresh(self.reads[key])
        answer = self._remembered(method, key, call)
        return answer if fault.name == "stale read" else (_cut_short if "short" in fault.name else _doubled)(answer)

    def _remembered(self, method: str, key: Any, call: Callable[[], Any]) -> Any:
        answer = call()
        if method not in READS:
            return answer
        if isinstance(answer, Iterator):
            answer = _Listing(answer)
        self.reads[key] = answer
        return _fresh(answer)


class _Listing(list[Any]):
    """What an iterator gave."""


def _fresh(answer: Any) -> Any:
    return iter(answer) if isinstance(answer, _Listing) else answer


def _cut_short(answer: Any) -> Any:
    if isinstance(answer, dict):
        return dict(list(answer.items())[: len(answer) // 2])
    items = list(answer)
    return iter(items[: len(items) // 2]) if isinstance(answer, Iterator) else items[: len(items) // 2]


def _doubled(answer: Any) -> Any:
    if isinstance(answer, dict):
        return answer
    items = list(answer)
    return iter(items * 2) if isinstance(answer, Iterator) else items * 2


class Exposed:
    """A port out in the weather."""

    def __init__(self, port: str, inner: Any, weather: Weather) -> None:
        self._port, self._inner, self._weather = port, inner, weather

    @property
    def url(self) -> str:
        return str(self._inner.url)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            args = tuple(arg._inner if isinstance(arg, Exposed) else arg for arg in args)
            key = (self._port, method, args if method in READS and method != "observe" else ())
            return self._weather.around(self._port, method, key, lambda: getattr(self._inner, method)(*args, **kwargs))

        return call
