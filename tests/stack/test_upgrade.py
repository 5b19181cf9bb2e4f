"""App and nodes are deployed apart. Each may be upgraded first, while a run is open, and nothing is lost or doubled.

The version before is 0.1.0, as it was committed: its code in a work tree of git, its app in a process of its own, its
nodes by its own `python -m scorer`. Both versions share Azurite, and a cluster that keeps each job as a file.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from azure.storage.blob import BlobServiceClient
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import Ridge
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from local.azurite import Azurite
from tests.stack.e2e.fleets import give_readings
from tests.stack.e2e.place import Place

ROOT = Path(__file__).parents[2]
BEFORE = "1bb7a5ff1b37538d028efd98a9ac95983eddff63"  # 0.1.0
DEVICES = [f"pump-{number}" for number in range(7)]
GOOD, BROKEN, POISON = DEVICES[:5], "pump-5", "pump-6"
EVENING = datetime(2026, 11, 21, 20, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The code of the version before."""
    tree = tmp_path_factory.mktemp("before") / "tree"
    known = subprocess.run(["git", "cat-file", "-e", BEFORE], cwd=ROOT, check=False, capture_output=True)
    if known.returncode:
        pytest.skip("the commit of version 0.1.0 is expected in the history of git, which was cut")
    subprocess.run(["git", "worktree", "add", "--detach", str(tree), BEFORE], cwd=ROOT, check=True, capture_output=True)
    yield tree
    subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True, capture_output=True)


def train(seed: int) -> bytes:
    normal = pd.DataFrame(np.random.default_rng(seed).normal(size=(30, 2)), columns=["heat", "noise"])
    return pickle.dumps(OneClassSVM(nu=0.1).fit(normal))


@dataclass
class Deployment:
    """One deployment whose app and nodes are each of some version, given by the folder of its code."""

    place: Place
    jobs: Path
    app: Path
    nodes: Path
    now: datetime = EVENING
    etags: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[str] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.place.environment, "KERNELS": "numpy", "CHUNK_SIZE": "4"}

    def call(self, *command: Any) -> Any:
        """Let the app do something."""
        if self._process is None:
            program = [sys.executable, str(ROOT / "tests" / "stack" / "upgrade_app.py"), str(self.app), str(self.jobs)]
            self._process = subprocess.Popen(
                program, cwd=self.app, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def stop(self) -> None:
        """End the app's process; the next call starts one of the version that is set by then."""
        if self._process:
            self._process.communicate(timeout=60)
            self._process = None

    def upgrade(self, *, app: Path | None = None, nodes: Path | None = None) -> None:
        self.stop()
        self.app, self.nodes = app or self.app, nodes or self.nodes

    def tick(self) -> Mapping[str, Any]:
        self.now += timedelta(seconds=10)
        runs: Mapping[str, Any] = self.call("tick", self.now.isoformat())
        return runs

    def run_jobs(self, limit: int = 100) -> None:
        """Run what is queued, at most so many jobs, by the nodes of the present version."""
        queued = [
            path for path in sorted(self.jobs.glob("*.json")) if json.loads(path.read_text())["state"] == "queued"
        ]
        for path in queued[:limit]:
            _, *words = json.loads(path.read_text())["command"]
            done = subprocess.run(
                [sys.executable, *words], cwd=self.nodes, env=self.environment, check=False, capture_output=True
            )
            state = "failed" if done.returncode else "succeeded"
            path.write_text(json.dumps({"command": [], "state": state, "log": done.stderr.decode()[-2000:]}))

    def finish(self, window: str) -> Mapping[str, Any]:
        """Tick and run jobs until the run is over."""
        for _ in range(20):
            run: Mapping[str, Any] | None = self.tick().get(window)
            if run and run["phase"] not in ("requested", "planning", "running"):
                self.check()
                return run
            self.run_jobs()
        raise AssertionError(f"{window} is not over: {run}; {[p.read_text() for p in self.jobs.glob('*.json')]}")

    def open_next(self) -> str:
        """Let the next hour fall due; returns its window."""
        hour = self.now.replace(minute=0, second=0)
        self.now = hour + timedelta(hours=1, minutes=5)
        window = f"{hour:%Y%m%dT%H%MZ}-PT1H"
        assert window in self.tick()
        return window

    def ask(self, kind: str, window: str) -> None:
        self.call("ask", kind, window, self.now.isoformat())

    def rows(self) -> pd.DataFrame:
        container = self.place.container("predictions")
        parts = [container.download_blob(name).readall() for name in container.list_blob_names()]
        frames = [pd.read_parquet(io.BytesIO(part)) for part in parts]
        return pd.concat(frames)[["time", "device", "score", "model"]]

    def check(self) -> None:
        """Promises: each model counted once, each row read once, as many rows as the ledger says."""
        rows, runs = self.rows(), self.tick()
        assert not rows.duplicated(["time", "device"]).any()
        assert len(rows) == sum(run["rows"] for run in runs.values())
        over = [run for run in runs.values() if run["phase"] not in ("requested", "planning", "running")]
        assert all(run["ended"] == run["models"] for run in over)

    def schema_of(self, window: str, name: str = "plan.json") -> int:
        plan = self.place.container("work").download_blob(f"runs/{window}/{name}").readall()
        return int(json.loads(plan)["schema"])

    def put_model(self, device: str, data: bytes) -> str:
        self.place.upload("models", {f"{device}.pkl": data})
        etag = self.place.container("models").get_blob_client(f"{device}.pkl").get_blob_properties().etag
        self.etags[device] = etag.strip('"')
        return self.etags[device]

    def models_of(self, window: str) -> dict[str, str]:
        """The etag that scored each device in the run."""
        rows = self.rows()
        start = pd.Timestamp(window.partition("-")[0])
        return dict(
            rows[rows["time"].between(start, start + pd.Timedelta(minutes=59))].groupby("device")["model"].first()
        )


@pytest.fixture
def deployment(azurite: Azurite, fresh_name: str, tmp_path: Path, before: Path) -> Iterator[Deployment]:
    """Version 0.1.0, with models, readings, and three runs: a good one, one to redrive, and one that is open."""
    containers = {
        f"{what.upper()}_CONTAINER": f"{fresh_name}-{what}" for what in ("models", "readings", "predictions", "work")
    }
    environment = {
        **containers,
        "STORAGE": azurite.connection_string,
        "LEDGER_TABLE": f"{fresh_name}ledger",
        "APP_NAME": fresh_name,
        "RETRY_BACKOFF": "PT1S",
        "HEARTBEAT": "* * * * * *",
        "DASK_SCHEDULER": "tcp://127.0.0.1:1",  # which no app here asks
    }
    with BlobServiceClient.from_connection_string(azurite.connection_string, api_version="2025-01-05") as service:
        for container in containers.values():
            service.create_container(container)
        place = Place(environment, service)
        deployment = Deployment(place, tmp_path, before, before)
        try:
            fill_deployment(deployment)
            yield deployment
        finally:
            deployment.stop()


def fill_deployment(deployment: Deployment) -> None:
    """Models, of which one is broken and one in quarantine, and readings of twelve hours."""
    for number, device in enumerate(GOOD):
        deployment.put_model(device, train(number))
    deployment.put_model(BROKEN, b"\x80\x05no model")
    poison = deployment.put_model(POISON, train(9))
    deployment.call("quarantine", POISON, poison, EVENING.isoformat())
    for hour in range(12):
        start = EVENING.replace(minute=0) - timedelta(hours=3) + timedelta(hours=hour)
        give_readings(deployment.place, DEVICES, start)


def start_before(deployment: Deployment) -> tuple[str, str, str]:
    """What version 0.1.0 leaves: the windows of a run, of one to redrive, and of one that is open."""
    first, second = deployment.open_next(), ""
    assert deployment.finish(first)["scored"] == len(GOOD)
    second = deployment.open_next()
    run = deployment.finish(second)
    assert (run["scored"], sum(run["failures"].values())) == (len(GOOD), 2)
    third = deployment.open_next()
    deployment.run_jobs(1)
    deployment.tick()
    return first, second, third


def packs_of(deployment: Deployment) -> dict[str, str]:
    container = deployment.place.container("work")
    return {blob.name: blob.etag for blob in container.list_blobs(name_starts_with="packs/")}


def check_after_both(deployment: Deployment, first: str, second: str) -> None:
    """Both are of the new version: plans of schema 2; a redrive and a reprocess of old runs score the present files."""
    run = deployment.finish(deployment.open_next())
    assert run["scored"] == len(GOOD)
    newest = deployment.open_next()
    run = deployment.finish(newest)
    assert (run["scored"], deployment.schema_of(newest)) == (len(GOOD), 2)
    kept = deployment.models_of(second)
    mended, replaced = deployment.put_model(BROKEN, train(5)), deployment.put_model(GOOD[0], train(11))
    deployment.ask("redrive", second)
    run = deployment.finish(second)
    assert (run["scored"], run["round"]) == (len(DEVICES), 1)
    assert deployment.models_of(second) == {**kept, BROKEN: mended, POISON: deployment.etags[POISON]}
    deployment.ask("reprocess", first)
    run = deployment.finish(first)
    assert (run["scored"], run["round"], deployment.schema_of(first, "round-1.json")) == (len(DEVICES), 1, 2)
    assert deployment.models_of(first)[GOOD[0]] == replaced
    assert deployment.call("quarantined") == [POISON]


def test_the_app_is_upgraded_first(deployment: Deployment) -> None:
    first, second, third = start_before(deployment)
    packs = packs_of(deployment)
    deployment.upgrade(app=ROOT)
    assert deployment.finish(third)["scored"] == len(GOOD)
    planned = deployment.open_next()
    assert deployment.finish(planned)["scored"] == len(GOOD)
    assert deployment.schema_of(planned) == 1  # these nodes read no other
    deployment.ask("redrive", second)
    assert deployment.finish(second)["round"] == 1
    assert packs_of(deployment) == packs
    deployment.upgrade(nodes=ROOT)
    check_after_both(deployment, first, planned)


def test_the_nodes_are_upgraded_first(deployment: Deployment) -> None:
    first, second, third = start_before(deployment)
    packs = packs_of(deployment)
    deployment.upgrade(nodes=ROOT)
    assert deployment.finish(third)["scored"] == len(GOOD)
    planned = deployment.open_next()
    assert deployment.finish(planned)["scored"] == len(GOOD)
    rebuilt = packs_of(deployment)  # once, since they are of another version
    assert rebuilt.keys() == packs.keys()
    deployment.ask("redrive", second)
    assert deployment.finish(second)["round"] == 1
    assert packs_of(deployment) == rebuilt
    deployment.upgrade(app=ROOT)
    check_after_both(deployment, first, planned)


def test_regressors_join_detectors_of_before_once_predictions_have_their_columns(deployment: Deployment) -> None:
    first, second, third = start_before(deployment)
    deployment.upgrade(app=ROOT, nodes=ROOT)
    assert deployment.finish(third)["scored"] == len(GOOD)
    assert deployment.finish(deployment.open_next())["scored"] == len(GOOD)  # the nodes have said what they read
    features = pd.DataFrame(np.random.default_rng(3).normal(size=(30, 2)), columns=["heat", "noise"])
    deployment.put_model(BROKEN, pickle.dumps(Ridge().fit(features, features["heat"] * 3)))
    refused = deployment.open_next()
    run = deployment.finish(refused)
    assert (run["scored"], run["failures"].get("unsupported_model"), deployment.schema_of(refused)) == (5, 1, 2)
    deployment.ask("redrive", second)  # its manifests are those of 0.1
    assert deployment.finish(second)["failures"].get("unsupported_model") == 1

    deployment.place = replace(
        deployment.place, environment={**deployment.place.environment, "PREDICTIONS_SCHEMA": "2"}
    )
    deployment.upgrade()
    newest = deployment.open_next()
    assert deployment.finish(newest)["scored"] == len(GOOD) + 1
    deployment.ask("redrive", refused)  # it keeps the columns of its plan
    assert deployment.finish(refused)["failures"].get("unsupported_model") == 1
    deployment.ask("reprocess", first)  # by the columns of now, and with the model in quarantine
    assert deployment.finish(first)["scored"] == len(DEVICES)
    scorers = {window: deployment.models_of(window) for window in (first, second, refused, newest)}
    assert {window for window, models in scorers.items() if BROKEN in models} == {first, newest}
    assert all(set(GOOD) <= set(models) for models in scorers.values())


def test_detectors_have_the_bytes_of_before_in_schema_1_and_in_schema_2_those_of_the_upgrade(
    before: Path, tmp_path: Path
) -> None:
    features = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["heat", "noise"])
    detectors: Mapping[str, Any] = {
        "a": OneClassSVM(nu=0.1).fit(features),
        "b": IsolationForest(n_estimators=20, random_state=0).fit(features),
        "c": make_pipeline(StandardScaler(), LocalOutlierFactor(novelty=True)).fit(features),
        "d": OneClassSVM(nu=0.1).fit(features[["heat"]]),
    }
    (tmp_path / "models").mkdir()
    for device, model in detectors.items():
        (tmp_path / "models" / f"{device}.pkl").write_bytes(pickle.dumps(model))
    times = [EVENING + timedelta(minutes=minute) for minute in range(90)]
    values = np.random.default_rng(1).normal(size=(len(detectors), len(times), 2))
    rows = [(time, name, *values[i, j]) for i, name in enumerate(detectors) for j, time in enumerate(times)]
    pd.DataFrame(rows, columns=["time", "device", *features]).to_parquet(tmp_path / "readings.parquet", index=False)

    def score(tree: Path, name: str, *options: str) -> dict[str, bytes]:
        target = tmp_path / name
        folders = [f"--models={tmp_path / 'models'}", f"--readings={tmp_path / 'readings.parquet'}"]
        command = [sys.executable, "-m", "scorer", "folder", *folders, f"--predictions={target}", *options]
        environment = {**os.environ, "KERNELS": "numpy"}
        subprocess.run(command, cwd=tree, env=environment, check=True, capture_output=True)
        return {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*.parquet")}

    old = score(before, "old")
    assert score(ROOT, "1", "--predictions-schema=1") == old
    assert sorted(path.rpartition("/")[0] for path in old) == ["date=2026-11-21/hour=20", "date=2026-11-21/hour=21"]
    command = [sys.executable, "-m", "scorer", "predictions", "upgrade", str(tmp_path / "old")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    upgraded = {path: (tmp_path / "old" / path).read_bytes() for path in old}
    assert score(ROOT, "2", "--predictions-schema=2") == upgraded
