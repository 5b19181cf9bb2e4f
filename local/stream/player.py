"""Plays a simulation: files appear as their intervals close, each hour is scored by the app, faster than real time.

The app gets the simulated time; its jobs are real ones. What was judged is read as consumers read it.
"""

from __future__ import annotations

import io
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from local import stack
from local.pumps import HOUR
from local.stack import Server
from shared.contract.errors import Unavailable
from shared.contract.paths import prediction_path
from shared.contract.windows import Window
from shared.control.loop import ControlPlane
from shared.ports import Blobs
from shared.state.requests import Request, RequestKind

from .capture import CaptureFile
from .events import Event

DUE = timedelta(minutes=10)  # after an hour, as SCHEDULE has it in Azure where Capture files the events
LIMIT = 300  # seconds for one hour's run
LOOK = 0.2  # seconds between two ticks
SETTINGS = {
    "SCHEDULE": "0 10 * * * *",
    "CATCH_UP": "all",
    "WINDOW": "PT1H",
    "MAX_OPEN_RUNS": "2",  # further rounds are scored side by side
    # The clock that the app gets leaps from hour to hour; a job must not seem silent for that.
    "SILENCE": "PT1H",
    "START_TIMEOUT": "PT1H",
    "STALL_TIMEOUT": "PT1H",
}


@dataclass(frozen=True, slots=True)
class Judged:
    """What consumers read of a window: how often each reading was judged, and how many are anomalies."""

    readings: Counter[tuple[datetime, str]]
    anomalies: int


@dataclass(slots=True)
class Player:
    """The files that are still to come, and the app that scores what is there."""

    plane: ControlPlane
    readings: Blobs
    predictions: Blobs
    files: deque[CaptureFile]
    servers: Sequence[Server] = ()  # without which no run ends

    def upload(self, now: datetime) -> list[CaptureFile]:
        """Write the files that are closed by now; returns them."""
        closed = []
        while self.files and self.files[0].closed_at <= now:
            file = self.files.popleft()
            self.readings.create(file.name, file.data)
            closed.append(file)
        return closed

    def score(self, window: Window) -> None:
        """Tick from the time at which a window is due until its run has ended; raises Unavailable."""
        self._tick_until([window], window.end + DUE, 0)

    def reprocess(self, windows: Sequence[Window], now: datetime) -> None:
        """Ask for a further round of each window, and tick until they have ended; raises Unavailable."""
        for window in windows:
            self.plane.ledger.add_request(Request(RequestKind.REPROCESS, window.id, now))
        self._tick_until(windows, now, 1)

    def _tick_until(self, windows: Sequence[Window], now: datetime, least_round: int) -> None:
        ids, start = {window.id for window in windows}, time.monotonic()
        while True:
            stack.check(self.servers)
            passed = time.monotonic() - start
            self.plane.tick(now + timedelta(seconds=passed))
            runs = [run for run in self.plane.ledger.list_runs(100).items if run.id in ids]
            if len(runs) == len(ids) and all(run.phase.terminal and run.round >= least_round for run in runs):
                return
            if passed > LIMIT:
                states = ", ".join(f"{run.id} {run.phase}" for run in runs) or "no run"
                raise Unavailable(f"expected {len(ids)} runs to end within {LIMIT} s, got {states}")
            time.sleep(LOOK)

    def read_judged(self, window: Window) -> Judged:
        """What consumers read of a window."""
        from pyarrow import parquet

        folder = prediction_path(window, "", 0).rpartition("/")[0] + "/"
        judged = Judged(Counter(), 0)
        for blob in self.predictions.list_blobs(folder):
            table = parquet.read_table(
                io.BytesIO(self.predictions.read(blob.name)), columns=["time", "device", "anomaly"]
            )
            judged.readings.update(zip(table["time"].to_pylist(), table["device"].to_pylist(), strict=True))
            judged = Judged(judged.readings, judged.anomalies + sum(table["anomaly"].to_pylist()))
        return judged


@dataclass(frozen=True, slots=True)
class Difference:
    """What was judged beside what should have been."""

    missing: int  # events that no row judges
    doubled: int  # that more than one does
    unknown: int  # rows that judge no event

    @property
    def whole(self) -> bool:
        """Whether every event is judged once, and nothing else."""
        return not (self.missing or self.doubled or self.unknown)


def compare(events: Iterable[Event], judged: Counter[tuple[datetime, str]]) -> Difference:
    """Whether every event is judged once."""
    expected = {(event.time, event.device) for event in events}
    return Difference(
        missing=len(expected - judged.keys()),
        doubled=sum(count > 1 for count in judged.values()),
        unknown=len(judged.keys() - expected),
    )


def list_windows(events: Iterable[Event]) -> list[Window]:
    """The hours of some events, oldest first."""
    starts = {Window.containing(event.time, HOUR).start for event in events}
    return [Window(start, HOUR) for start in sorted(starts)]
