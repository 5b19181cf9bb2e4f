"""An app at real storage whose jobs run when they are submitted: quick enough to try many sinks in trouble."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from starlette.testclient import TestClient

from scorer.commands.publish_runs import SinkSecrets, open_sink, publish_items
from scorer.sinks.base import Sink
from scorer.sinks.sql.open_sink import open_sql_sink
from scorer.sinks.sql.sink import Limits
from scorer.storage.blob_store import Container, open_container, split_url
from shared.api.app import create_api
from shared.api.auth import Authorizer
from shared.contract.publishing.documents import PublishingManifest, build_publish_command
from shared.contract.publishing.sinks import SinkKind
from shared.contract.windows import Window
from shared.control.loop import ControlPlane
from shared.state.runs import JobState, Run
from tests.stack.e2e.fleets import HOUR, give_readings
from tests.stack.e2e.place import Place
from tests.stack.e2e.publishing.inline import InlineCluster
from tests.stack.hosted import ROOT

TICKS = 30  # at most, of a second each, until a run is over and its sinks have been tried
QUICK = Limits(connect=2, lock=2, statement=2, grace=1)


@dataclass(slots=True)
class Plant:
    """The control plane, and its time."""

    place: Place
    plane: ControlPlane
    now: datetime

    def score(self, start: datetime, devices: list[str]) -> Run:
        """The run of the hour from *start*, once it is over, with its readings."""
        window = Window(start, HOUR)
        give_readings(self.place, devices, start)
        self.now = max(self.now, window.end + timedelta(minutes=5))
        self.tick_until_tried(window.id)
        return self.plane.ledger.read_run(window.id)

    def tick_until_tried(self, run_id: str = "") -> None:
        """Tick until a run is over, and no sink has a job or is due for one."""
        for _ in range(TICKS):
            self.now += timedelta(seconds=1)
            self.plane.tick(self.now)
            runs = {run.id: run for run in self.plane.ledger.list_runs(50).items}
            is_over = not run_id or (run_id in runs and runs[run_id].phase.terminal)
            if is_over and not self.list_due():
                return
        raise AssertionError(f"not so after {TICKS} ticks: {runs.values()} {self.list_due()}")

    def list_due(self) -> list[str]:
        """The sinks that have a job or could have one now."""
        sinks = [self.plane.sinks.read_sink(entry.kind) for entry in self.plane.options.sinks]
        entries = self.plane.sinks.list_open_publications()
        waits = {sink.kind: sink.not_before for sink in sinks}
        due = [entry.sink for entry in entries if max(entry.not_before, waits[entry.sink]) <= self.now]
        return [*due, *(sink.kind for sink in sinks if sink.job)]

    def get(self, path: str) -> Any:
        """The answer of the app's HTTP."""
        answer = TestClient(create_api(self.plane.services, Authorizer(), lambda: self.now)).get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def wait_for_sinks(self) -> None:
        """Let hours pass until the sinks lack nothing."""
        for _ in range(8):
            self.now += timedelta(hours=1)
            self.tick_until_tried()
            if not self.plane.sinks.list_open_publications():
                return
        raise AssertionError(self.plane.sinks.list_open_publications())


def run_command(manifest_url: str, storage: str, **environment: str) -> JobState:
    """Publish as a node does, in a process of its own."""
    command = [sys.executable, *build_publish_command(manifest_url)[1:]]
    result = subprocess.run(command, env={**os.environ, "STORAGE": storage, **environment}, check=False, cwd=ROOT)
    return JobState.FAILED if result.returncode else JobState.SUCCEEDED


def make_plant(place: Place, now: datetime, password: str, **settings: str) -> Plant:
    """An app with these settings, which has not ticked yet. Publishing jobs wait for a database but a moment."""
    storage = place.settings_of(**settings).storage

    def publish(manifest_url: str) -> JobState:
        container, name = split_url(manifest_url)
        manifest = PublishingManifest.from_bytes(open_container(container, storage).read(name).data)
        if manifest.sink is SinkKind.DELTA:
            # deltalake holds the interpreter's lock while it waits: a proxy in this process could not answer it.
            return run_command(manifest_url, storage)
        work = open_container(manifest.work_url, storage)
        publish_items(manifest, work, lambda: open_target(manifest, work))
        return JobState.SUCCEEDED

    def open_target(manifest: PublishingManifest, work: Container) -> Sink:
        if manifest.sink is SinkKind.SQL:
            return open_sql_sink(manifest, password, QUICK)
        return open_sink(manifest, work, storage, SinkSecrets())

    plane = replace(place.plane(**settings), cluster=InlineCluster(storage, publish))
    return Plant(place, plane, now)
