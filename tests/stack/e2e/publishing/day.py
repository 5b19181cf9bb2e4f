"""A small fleet that is scored and published to both sinks, by two hosts that are killed: what a test does with it."""

from __future__ import annotations

import io
import pickle
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.svm import OneClassSVM
from starlette.testclient import TestClient

from shared.api.app import create_api
from shared.api.auth import Authorizer
from shared.contract.publishing.sinks import SinkKind
from shared.contract.windows import Window
from shared.control.loop import ControlPlane
from shared.state.runs import Run
from tests.patience import patience
from tests.stack.e2e.place import Place
from tests.stack.e2e.publishing.hosts import Clock, Hosts
from tests.stack.e2e.publishing.readers import READERS, Rows, check_partitions, open_table, read_folder, read_sql
from tests.stack.e2e.publishing.strikes import Strike, Strikes

DETECTORS = [f"pump{number}" for number in range(1, 5)]
REGRESSOR, BROKEN = "meter", "pump9"  # the model of the last one cannot be read at first
DEVICES = [*DETECTORS, REGRESSOR, BROKEN]
EACH_HOUR = 12  # readings of a device: three in each quarter
MINUTES = range(0, 60, 60 // EACH_HOUR)
LIMIT = 90  # seconds on a quiet machine until all is published
KINDS = (SinkKind.DELTA, SinkKind.SQL)


def give_models(place: Place) -> None:
    """Detectors, a regressor, and a file that is no model."""
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["heat", "noise"])
    models: dict[str, Any] = {device: train_detector(number) for number, device in enumerate(DETECTORS)}
    models[REGRESSOR] = Ridge().fit(frame, frame["heat"] * 2 - frame["noise"])
    files = {f"{device}.pkl": pickle.dumps(model) for device, model in models.items()}
    place.upload("models", {**files, f"{BROKEN}.pkl": b"no model"})


def train_detector(seed: int) -> OneClassSVM:
    """A detector of its own for each number."""
    rows = np.random.default_rng(seed).normal(size=(40, 2))
    return OneClassSVM(nu=0.1).fit(pd.DataFrame(rows, columns=["heat", "noise"]))


def give_readings(place: Place, hours: Sequence[datetime]) -> None:
    """The readings of all devices, a file for each hour."""
    rng, files = np.random.default_rng(1), {}
    for start in hours:
        rows = [(start + timedelta(minutes=m), name, *rng.normal(size=2)) for name in DEVICES for m in MINUTES]
        sink = io.BytesIO()
        pd.DataFrame(rows, columns=["time", "device", "heat", "noise"]).to_parquet(sink, index=False)
        files[f"{start:date=%Y-%m-%d/hour=%H}/part.parquet"] = sink.getvalue()
    place.upload("readings", files)


@dataclass(slots=True)
class Day:
    """The hosts with their clock, what is to be killed, and the runs that there are to be."""

    place: Place  # storage is reached without the proxy
    clock: Clock
    hosts: Hosts
    strikes: Strikes
    plane: ControlPlane  # which ticks nothing
    rounds: dict[str, int] = field(default_factory=dict)  # of each run that is expected
    waiting: list[Strike] = field(default_factory=list)
    checks: int = 0

    @property
    def http(self) -> TestClient:
        """The app's HTTP, with the settings and the clock of the hosts."""
        return TestClient(create_api(self.plane.services, Authorizer(), self.clock.read))

    @property
    def url(self) -> str:
        """The Delta table, without the proxy."""
        settings = self.place.settings_of(SINKS="delta")
        blobs = self.place.container("work").url.rpartition("/")[0]
        return f"{blobs}/{self.hosts.environment['TABLES_CONTAINER']}/{settings.delta_path}"

    def play(self, windows: Sequence[Window], now: datetime, *strikes: Strike) -> None:
        """Score windows that are due at *now*, and let all of it be published."""
        self.rounds |= {window.id: 0 for window in windows}
        self.clock.set(max(now, self.clock.read()))
        self.settle(*strikes)

    def ask_round(self, window: Window, kind: str) -> None:
        """Request a further round of a run, over HTTP."""
        answer = self.http.post(f"/api/runs/{window.id}/{kind}")
        assert answer.status_code == 202, answer.text
        self.rounds[window.id] += 1

    def change(self, changes: Mapping[str, str], plane: Callable[..., ControlPlane]) -> None:
        """Other settings: both hosts are killed, and the next ones have them."""
        self.hosts.restart({**self.hosts.environment, **changes})
        self.strikes.counts["host"] += 2
        self.plane = plane(**self.hosts.environment)

    def settle(self, *strikes: Strike) -> None:
        """Wait until all is scored and published; meanwhile each strikes when its moment is there."""
        self.waiting += strikes
        began = looked = struck = time.monotonic()
        while True:
            now = time.monotonic()
            if now - struck > 0.3:
                for strike in self.waiting:
                    if strike():
                        self.waiting.remove(strike)
                        struck = time.monotonic()
                        break
            if now - looked > 0.5:
                looked = now
                problem = self.describe_rest()
                if not problem:
                    return
                assert now - began < patience(LIMIT), f"{problem}; {self.strikes.counts}; {self.hosts.read_log()}"
            time.sleep(0.04)

    def describe_rest(self) -> str:
        """What is not scored or published yet; "" where all is. Nothing but a wait: the clock is set to its end."""
        runs = {run.id: run for run in self.plane.ledger.list_runs(100).items}
        rest = [run_id for run_id, number in self.rounds.items() if not is_over(runs.get(run_id), number)]
        entries = self.plane.sinks.list_open_publications()
        sinks = {kind: self.plane.sinks.read_sink(kind) for kind in KINDS}
        jobs = [str(sink.run) for sink in sinks.values() if sink.job]
        if not rest and entries and not jobs:
            moment = min(max(entry.not_before, sinks[entry.sink].not_before) for entry in entries)
            if moment > self.clock.read():
                self.clock.set(moment + timedelta(seconds=1))
        gone = sorted(run_id for run_id in runs if run_id not in self.rounds and runs[run_id].tally.rows)
        waits = [(entry.sink, entry.run, entry.state, entry.reason, entry.message) for entry in entries]
        return " ".join(str(part) for part in (rest, waits, jobs, gone) if part)

    def check(self) -> Rows:
        """All readers have the same rows, each once, and the app says that nothing is lacking."""
        rows = read_folder(self.place)
        table = open_table(self.url, self.place.environment["STORAGE"])
        for name, read in READERS.items():
            assert_equal(read(table), rows, name)
        assert_equal(read_sql(self.strikes.server, self.hosts.environment["SQL_TABLE"]), rows, "PostgreSQL")
        check_partitions(table)
        assert set(rows.values()) == {1}
        runs = {run.id: run for run in self.plane.ledger.list_runs(100).items}
        counts = Counter(row[-1] for row in rows)
        assert counts == {run_id: runs[run_id].tally.rows for run_id in self.rounds}
        assert [(view["sink"], view["open"]) for view in self.http.get("/api/sinks").json()] == [
            ("delta", 0),
            ("sql", 0),
        ]
        self.checks += 1
        return rows


def is_over(run: Run | None, number: int) -> bool:
    """Whether this round of a run has ended, and its sinks were asked to hold it."""
    return bool(run and run.phase.terminal and run.round >= number and run.offered_round == run.round)


def assert_equal(got: Rows, expected: Rows, reader: str) -> None:
    """The same rows, as often."""
    more, less = [*(got - expected)], [*(expected - got)]
    assert (more[:2], less[:2]) == ([], []), f"{reader}: {len(more)} rows more, {len(less)} less"


@dataclass(slots=True)
class Scanner:
    """A reader that scans the Delta table all the time, by each way to read in turn."""

    url: str
    storage: str
    scans: list[Rows] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._scan)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        assert self._thread
        self._thread.join()

    def _scan(self) -> None:
        readers = [*READERS.items()]
        while not self._over.is_set():
            name, read = readers[(len(self.scans) + len(self.errors)) % len(readers)]
            try:
                self.scans.append(read(open_table(self.url, self.storage)))
            except Exception as error:  # noqa: BLE001  # any is a failure of the test
                self.errors.append(f"{name}: {type(error).__name__}: {error}")
