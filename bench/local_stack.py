"""`python -m bench.local_stack`: how long one hour of the demo's fleet takes on a stack that `make run` has started.

Requests runs of past windows, one after the other, and prints for each the seconds from its plan to its end: jobs are
submitted, started, and committed within that time. The first run starts the workers and packs the models, so it does
not count. The clock is that of the app, so a figure is as exact as its heartbeat.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from datetime import datetime, timedelta
from typing import Any

from local import web
from shared.contract.windows import Window

LIMIT = 300  # seconds for a run
LOOK = 0.2  # seconds between two looks


def measure_run(url: str, window: Window) -> float:
    """The seconds from the run's plan to its end. Raises RuntimeError where it does not succeed in time."""
    web.post(f"{url}/api/runs", {"window": window.id})
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        answer = web.get(f"{url}/api/runs/{window.id}")
        run: dict[str, Any] = answer.json
        if run.get("ended_at"):
            if run["phase"] != "succeeded":
                raise RuntimeError(f"expected run {window.id} to succeed, got {run['phase']}")
            return (datetime.fromisoformat(run["ended_at"]) - datetime.fromisoformat(run["planned_at"])).total_seconds()
        time.sleep(LOOK)
    raise RuntimeError(f"expected run {window.id} to end within {LIMIT} s")


def find_windows(url: str, count: int) -> list[Window]:
    """So many windows before the oldest that has a run."""
    runs = web.get(f"{url}/api/runs").json["items"]
    oldest = Window.parse(min(run["id"] for run in runs))
    step: timedelta = oldest.length
    return [Window(oldest.start - number * step, step) for number in range(1, count + 1)]


def main() -> int:
    """Print the seconds of each run, and their median."""
    parser = argparse.ArgumentParser(prog="python -m bench.local_stack", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:7071")
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    first, *windows = find_windows(args.url, args.runs + 1)
    print(f"{first.id}: {measure_run(args.url, first):.1f} s, not counted")
    seconds = []
    for window in windows:
        seconds.append(measure_run(args.url, window))
        print(f"{window.id}: {seconds[-1]:.1f} s")
    print(f"median of {len(seconds)}: {statistics.median(seconds):.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
