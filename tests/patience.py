"""Time-outs of tests that grow with the load of the machine: what is quick on a quiet one may have to wait its turn."""

from __future__ import annotations

import math
import time
from functools import cache

QUIET = 0.04  # seconds that a third of the work below takes on one quiet core


@cache
def slowness() -> float:
    """How many times longer than on a quiet machine things take here, measured once a process; at least 1."""
    began = time.monotonic()
    for _ in range(3):
        sum(i * i for i in range(600_000))
    return max(1.0, (time.monotonic() - began) / (3 * QUIET))


def patience(seconds: float) -> int:
    """As many whole seconds as stand for these on a quiet machine; at most twenty times as many."""
    return math.ceil(seconds * min(slowness(), 20.0))
