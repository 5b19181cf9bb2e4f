"""Two hosts on one storage for a day, each with a wrong clock of its own: one run for each window all the same."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from shared.contract.windows import Window
from shared.control.loop import ControlPlane
from shared.state.runs import Phase
from tests.stack.e2e.fleets import HOUR, give_models, give_readings
from tests.stack.e2e.place import Place

DAY = datetime(2026, 11, 20, tzinfo=UTC)
WINDOWS = [Window(DAY + n * HOUR, HOUR) for n in range(24)]
DEVICES = ["pump1", "pump2"]
DUE = timedelta(minutes=5)  # after the end of a window
SKEW = 5.0  # minutes between the two clocks, at most
SEED = 20261120
LIMIT = 120  # seconds of the real clock for the windows of one look
# The clock that the test sets leaps; a job must not seem silent for that.
PATIENT = {"SILENCE": "PT1H", "START_TIMEOUT": "PT1H", "STALL_TIMEOUT": "PT1H"}


@dataclass(slots=True)
class Hosts:
    """Two hosts, and the true time, which neither of them knows."""

    planes: tuple[ControlPlane, ControlPlane]
    rng: random.Random
    pool: ThreadPoolExecutor
    skews: list[timedelta] = field(default_factory=lambda: [timedelta(), timedelta()])

    def set_clocks(self) -> None:
        """Put one of the clocks right or nearly so, and the other up to five minutes from it, before or behind."""
        apart = self.rng.uniform(-SKEW, SKEW)
        first = self.rng.uniform(0, apart)
        self.skews = [timedelta(minutes=first), timedelta(minutes=first - apart)]

    def tick(self, now: datetime) -> None:
        """One beat, or what a timer may make of it: on one host or the other, twice, or on both at once."""
        one = self.rng.randrange(2)
        match self.rng.choice(["one", "one", "twice", "by turns", "at once"]):
            case "one":
                self._on(one, now)
            case "twice":
                self._on(one, now)
                self._on(one, now)
            case "by turns":
                self._on(one, now)
                self._on(1 - one, now)
            case "at once":
                for done in [self.pool.submit(self._on, host, now) for host in (0, 1)]:
                    done.result()

    def _on(self, host: int, now: datetime) -> None:
        self.planes[host].tick(now + self.skews[host])


def test_two_hosts_with_wrong_clocks_make_one_run_for_each_of_24_windows(place: Place) -> None:
    give_models(place, DEVICES, pickled=True)
    for window in WINDOWS:
        give_readings(place, DEVICES, window.start)
    planes = [place.plane(MAX_OPEN_RUNS="3", **PATIENT) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        hosts = Hosts((planes[0], planes[1]), random.Random(SEED), pool)
        closed = 0
        while closed < len(WINDOWS):
            # On the empty ledger the last closed window is due; later nobody may look for up to four hours.
            closed = min(closed + (hosts.rng.randint(1, 4) if closed else 1), len(WINDOWS))
            score(hosts, closed)
    found = planes[0].ledger.list_runs(50).items
    assert [(run.window, run.phase, run.asked_by, run.chunks, run.tally.scored, run.tally.rows) for run in found] == [
        (window, Phase.SUCCEEDED, "schedule", 1, 2, 120) for window in reversed(WINDOWS)
    ]
    assert min(run.opened_at - run.window.end for run in found) >= DUE  # by the clock of the host that opened it
    assert [[chunk.next_attempt for chunk in planes[0].ledger.list_chunks(run.id)] for run in found] == [[2]] * 24
    rows = place.rows()
    minutes = [DAY + timedelta(minutes=n) for n in range(24 * 60)]
    assert [*zip(rows["time"], rows["device"], strict=True)] == [(at, device) for at in minutes for device in DEVICES]


def score(hosts: Hosts, closed: int) -> None:
    """Tick from the end of window number *closed* until all up to it are scored; none may begin before it has ended."""
    hosts.set_clocks()
    end, began = WINDOWS[closed - 1].end, time.monotonic()
    if closed > 1:
        hosts.tick(end - timedelta(minutes=SKEW) - timedelta(seconds=1))  # too early on either clock
        hosts.tick(end + timedelta(minutes=hosts.rng.uniform(0, 2 * SKEW)))  # perhaps early, perhaps late
    expected = {window.id for window in WINDOWS[:closed]}
    while True:
        runs = hosts.planes[0].ledger.list_runs(50).items
        assert {run.id for run in runs} <= expected
        if len(runs) == closed and all(run.phase.terminal for run in runs):
            return
        passed = time.monotonic() - began
        assert passed < LIMIT, f"seed {SEED}: {[(run.id, run.phase, run.message) for run in runs[:4]]}"
        back = timedelta(minutes=hosts.rng.choice([0, 0, 0, SKEW]))  # now and then a clock steps back
        hosts.tick(end + DUE + timedelta(minutes=SKEW, seconds=passed) - back)
        time.sleep(0.5)
