"""A day of a fleet's events as Capture files them: two hosts, a job that is killed, a redrive, and what comes too late.

What should be judged is worked out from the simulator's list of events alone, and not from the files.
"""

from __future__ import annotations

import pickle
import random
import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pandas as pd
from sklearn.svm import OneClassSVM

from local.dask import LocalDask
from local.pumps import HOUR, SIGNALS, Pump
from local.stream.capture import CaptureFile, list_files
from local.stream.events import Arrival, Event, Rates, Simulation
from local.stream.player import SETTINGS
from shared.contract.windows import Window
from shared.state.requests import Request, RequestKind
from shared.state.runs import Phase
from tests.stack.e2e.place import Place, jobs_of
from tests.stack.e2e.test_two_hosts import Hosts

DAY = datetime(2026, 11, 20, tzinfo=UTC)
WINDOWS = [Window(DAY + n * HOUR, HOUR) for n in range(24)]
PUMPS = [Pump(1, number) for number in range(1, 4)]
BROKEN = PUMPS[-1].id  # its model cannot be read until some hours are scored
DUE = timedelta(minutes=10, seconds=30)
SEED, KILLED_AT, MENDED_AT = 20261120, 8, 2  # windows that are closed by then
LIMIT = 120  # seconds of the real clock
SIMULATION = Simulation(PUMPS, DAY, len(WINDOWS), Rates(late=0.02, after_run=0.001, doubled=0.03))
OPTIONS = {
    **SETTINGS,
    "MAX_OPEN_RUNS": "5",
    "READINGS_COLUMNS": "device=SystemProperties.iothub-connection-device-id",
}


@dataclass(slots=True)
class Day:
    """The files that are still to come, and the hosts that score what is there."""

    place: Place
    hosts: Hosts
    files: deque[CaptureFile]
    nodes: LocalDask
    killed: int = 0  # jobs that had not reported yet, so that another attempt had to follow

    def upload(self, now: datetime) -> None:
        closed = {}
        while self.files and self.files[0].closed_at <= now:
            file = self.files.popleft()
            closed[file.name] = file.data
        self.place.upload("readings", closed)

    def tick_until(self, windows: Sequence[Window], now: datetime, rounds: int = 0, *, kill: bool = False) -> None:
        """Tick until these runs have ended for the so-manyth time, and where it is asked for kill the first job.

        A job may have reported before it dies: then no attempt follows, and the next call kills another one.
        """
        began, ids, is_killed = time.monotonic(), {window.id for window in windows}, False
        while True:
            passed = time.monotonic() - began
            self.hosts.tick(now + timedelta(seconds=passed))
            if kill and not self.killed and not is_killed:
                for job in jobs_of(self.nodes)[:1]:
                    job.kill()
                    is_killed = True
            runs = [run for run in self.hosts.planes[0].ledger.list_runs(50).items if run.id in ids]
            if len(runs) == len(ids) and all(run.phase.terminal and run.round >= rounds for run in runs):
                self.killed += is_killed and self.count_attempts(windows) > len(windows)
                return
            assert passed < LIMIT, f"seed {SEED}: {[(run.id, run.phase, run.message) for run in runs]}"
            time.sleep(0.5)

    def count_attempts(self, windows: Sequence[Window]) -> int:
        """The attempts of all chunks of these runs; a run of this fleet has one chunk."""
        ledger = self.hosts.planes[0].ledger
        return sum(chunk.next_attempt - 1 for window in windows for chunk in ledger.list_chunks(window.id))

    def ask(self, kind: RequestKind, windows: Sequence[Window], now: datetime) -> None:
        for window in windows:
            self.hosts.planes[0].ledger.add_request(Request(kind, window.id, now))


def give_models(place: Place) -> None:
    """A model for each pump; that of one is no model at all."""
    for pump in PUMPS:
        model = OneClassSVM(nu=0.05).fit(pd.DataFrame(pump.healthy(DAY - 48 * HOUR, 2), columns=[*SIGNALS]))
        place.upload("models", {f"{pump.id}.pkl": pickle.dumps(model) if pump.id != BROKEN else b"to come"})


def mend_model(place: Place) -> None:
    model = OneClassSVM(nu=0.05).fit(pd.DataFrame(PUMPS[-1].healthy(DAY - 48 * HOUR, 2), columns=[*SIGNALS]))
    place.upload("models", {f"{BROKEN}.pkl": pickle.dumps(model)})


def count_filed(events: Sequence[Event], window: Window, now: datetime) -> Counter[str]:
    """Events of a window that are in a file by now, by device: files are closed each five minutes."""
    counts: Counter[str] = Counter()
    for event in events:
        closes = Window.containing(event.arrivals[0], timedelta(minutes=5)).end
        if window.start <= event.time < window.end and closes + timedelta(seconds=1) <= now:
            counts[event.device] += 1
    return counts


def list_hours(events: Sequence[Event]) -> list[Window]:
    return [window for window in WINDOWS if any(window.start <= event.time < window.end for event in events)]


def test_every_event_of_a_day_is_judged_once(place: Place, dask_cluster: LocalDask) -> None:
    events = SIMULATION.list_events()
    tardy = [event for event in events if event.arrival is Arrival.AFTER_RUN]
    assert 1 < len(tardy) < 9
    assert sum(len(event.arrivals) == 2 for event in events) > 100
    give_models(place)
    planes = [place.plane(**OPTIONS) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        hosts = Hosts((planes[0], planes[1]), random.Random(SEED), pool)
        files = deque(list_files(events, 2, by_iot_hub=True))
        day = Day(place, hosts, files, dask_cluster)
        scored = play_hours(day, events)
        assert day.killed == 1

        broken = WINDOWS[:MENDED_AT]
        end = WINDOWS[-1].end + timedelta(minutes=50)
        day.upload(end)
        assert not day.files
        day.ask(RequestKind.REDRIVE, broken, end)
        day.tick_until(broken, end, rounds=1)
        again = [window for window in list_hours(tardy) if window not in broken]
        day.ask(RequestKind.REPROCESS, again, end)
        day.tick_until(again, end, rounds=1)
        both = [window for window in list_hours(tardy) if window in broken]
        day.ask(RequestKind.REPROCESS, both, end)
        day.tick_until(both, end, rounds=2)

    runs = planes[0].ledger.list_runs(50).items
    assert day.count_attempts(WINDOWS) >= len(WINDOWS) + len(broken) + len(again) + len(both) + day.killed
    assert [(run.window, run.phase) for run in runs] == [(window, Phase.SUCCEEDED) for window in reversed(WINDOWS)]
    rows = place.rows()
    assert [*zip(rows["time"], rows["device"], strict=True)] == [(event.time, event.device) for event in events]
    assert scored < len(rows)  # what came after the runs, and what had no model


def play_hours(day: Day, events: Sequence[Event]) -> int:
    """Score all hours as they close, some at once; returns the rows of the first rounds."""
    closed = rows = 0
    while closed < len(WINDOWS):
        first = closed
        # On the empty ledger the last closed window is due; later nobody may look for some hours.
        closed = min(closed + (day.hosts.rng.randint(3, 5) if closed else 1), len(WINDOWS))
        closed = MENDED_AT if first < MENDED_AT < closed else closed
        if first == MENDED_AT:
            mend_model(day.place)
        now = WINDOWS[closed - 1].end + DUE
        day.upload(now)
        day.tick_until(WINDOWS[first:closed], now, kill=closed >= KILLED_AT)
        for window in WINDOWS[first:closed]:
            run = day.hosts.planes[0].ledger.read_run(window.id)
            filed = count_filed(events, window, now)
            expected = sum(count for device, count in filed.items() if device != BROKEN or first >= MENDED_AT)
            phase = Phase.SUCCEEDED if first >= MENDED_AT else Phase.PARTIAL
            assert (run.id, run.phase, run.tally.rows) == (window.id, phase, expected)
            rows += run.tally.rows
    return rows
