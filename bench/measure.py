"""How the benchmarks measure: a process for each case, seconds, memory, and what was asked of ports and servers.

Memory is the kernel's own high-water mark of the resident set, set back when a case begins. tracemalloc would slow all
down several times and does not see what C holds; ru_maxrss cannot be set back, and a child inherits its parent's.
"""

from __future__ import annotations

import logging
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # Linux only; elsewhere memory is not told
_REQUEST = '%s://%s:%s "%s %s %s"'  # how urllib3 begins the one line that it logs for each request


@dataclass(slots=True)
class Cost:
    """What something took. Seconds and CPU are this process's own; servers are others."""

    seconds: float = 0.0
    cpu: float = 0.0
    mebibytes: float | None = None  # at the peak, over those at the beginning; None where the kernel does not tell
    calls: Counter[str] = field(default_factory=Counter)  # of ports, by `port.method`
    requests: int = 0  # over HTTP

    @property
    def port_calls(self) -> int:
        """Of all ports."""
        return self.calls.total()


def run_alone(case: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What *case* returns in a fresh process, which ends with it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(case, *args, **kwargs).result()


def take_median(costs: Sequence[Cost]) -> Cost:
    """Of runs that differ in time and memory only."""
    peaks = [c.mebibytes for c in costs if c.mebibytes is not None]
    return Cost(
        statistics.median(c.seconds for c in costs),
        statistics.median(c.cpu for c in costs),
        statistics.median(peaks) if peaks else None,
        costs[0].calls,
        costs[0].requests,
    )


@contextmanager
def measure_cost(calls: Counter[str]) -> Iterator[Cost]:
    """The cost of what is done inside, complete when it is left. *calls* is what `counted` ports count in."""
    cost, before = Cost(), calls.copy()
    log = logging.getLogger("urllib3.connectionpool")
    level, propagated = log.level, log.propagate

    def count(record: logging.LogRecord) -> bool:
        cost.requests += str(record.msg).startswith(_REQUEST)
        return False

    log.addFilter(count)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    held = _reset_peak()
    seconds, cpu = time.perf_counter(), time.process_time()
    try:
        yield cost
    finally:
        cost.seconds, cost.cpu = time.perf_counter() - seconds, time.process_time() - cpu
        cost.mebibytes = None if held is None else max(0.0, _read_resident("VmHWM") - held)
        cost.calls = calls - before
        log.removeFilter(count)
        log.setLevel(level)
        log.propagate = propagated


def _reset_peak() -> float | None:
    try:
        _RESET.write_text("5")  # proc(5): the mark goes back to what is resident now
        return _read_resident("VmRSS")
    except OSError:
        return None


def _read_resident(name: str) -> float:
    match = re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text())
    assert match, f"{_STATUS} has no {name}"
    return int(match[1]) / 1024


def count_calls(port: T, name: str, calls: Counter[str]) -> T:
    """The port, whose calls are counted as they pass."""
    return cast("T", _Counted(port, name, calls))


class _Counted:
    def __init__(self, port: Any, name: str, calls: Counter[str]) -> None:
        self.port, self._name, self._calls = port, name, calls

    def __getattr__(self, method: str) -> Any:
        attribute = getattr(self.port, method)
        if not callable(attribute):  # the url of a container
            return attribute

        def call(*args: Any, **kwargs: Any) -> Any:
            self._calls[f"{self._name}.{method}"] += 1
            return attribute(*(arg.port if isinstance(arg, _Counted) else arg for arg in args), **kwargs)

        return call


def format_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows as Markdown; numbers with three digits that count, and to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *([_format_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _format_cell(cell: object) -> str:
    match cell:
        case None:
            return "-"
        case int():
            return f"{cell:,}"
        case float() if cell >= 100:  # noqa: PLR2004  # then no decimals are wanted
            return f"{cell:,.0f}"
        case float():
            return f"{cell:.3g}"
        case _:
            return str(cell)
