"""Runs published to a Delta table on Azurite, by jobs on Dask: the table has what consumers of the container read."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import psutil
from deltalake import DeltaTable
from sklearn.svm import OneClassSVM
from starlette.testclient import TestClient

from local.dask import LocalDask
from scorer.storage.blob_store import open_container
from shared import bootstrap
from shared.api.app import create_api
from shared.api.auth import Authorizer
from shared.contract.publishing.sinks import SinkKind
from shared.contract.windows import Window
from shared.control.loop import ControlPlane
from shared.state.requests import Request, RequestKind
from tests.patience import patience
from tests.stack.e2e.fleets import HOUR, give_models, give_readings
from tests.stack.e2e.place import Place, over

FIRST = datetime(2026, 11, 21, 10, 5, tzinfo=UTC)  # three windows: that from 09:00, and the two after it
DEVICES = [f"pump{i:02d}" for i in range(6)]
BROKEN = "pump06"  # its model is no model, at first


def table_at(place: Place, plane: ControlPlane) -> DeltaTable:
    url = dict(plane.options.sinks[0].target)["url"]
    location, options = open_container(url, place.environment["STORAGE"]).locate_delta("")
    return DeltaTable(location, storage_options=dict(options))


def rows_of(table: DeltaTable) -> pd.DataFrame:
    """The rows of the table in the order of `Place.rows`, with what they have beside."""
    rows = table.to_pyarrow_table().to_pandas()
    columns = [name for name in rows.columns if name not in ("date", "hour", "run")]
    return rows.sort_values([*columns], ignore_index=True)


def assert_equal(place: Place, plane: ControlPlane) -> None:
    """The table equals the container row by row, and each row is in the partition of its run."""
    table, expected = rows_of(table_at(place, plane)), place.rows()
    pd.testing.assert_frame_equal(table[list(expected.columns)], expected, check_dtype=False)
    starts = table["time"].dt.floor("h")
    assert (table["run"] == starts.map(lambda start: Window(start.to_pydatetime(), HOUR).id)).all()
    assert (pd.to_datetime(table["date"]).dt.date == starts.dt.date).all()
    assert (table["hour"] == starts.dt.hour).all()


def is_published(plane: ControlPlane, *runs: str) -> Callable[[], bool]:
    """Whether these runs are over, and no sink lacks one or has a job."""
    is_over = over(plane, *runs)

    def check() -> bool:
        sink = plane.sinks.read_sink(SinkKind.DELTA)
        return is_over() and not plane.sinks.list_open_publications() and sink.job is None

    return check


def jobs_that_publish(cluster: LocalDask) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(cluster.process.pid).children(recursive=True):
        try:
            if process.cmdline()[1:4] == ["-m", "scorer", "publish"]:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def tick_until(plane: ControlPlane, now: datetime, done: Callable[[], object]) -> datetime:
    """Tick by the real clock, and look often between ticks; returns the time that the app is at."""
    began = time.monotonic()
    while time.monotonic() - began < patience(60):
        moment = now + timedelta(seconds=time.monotonic() - began)
        plane.tick(moment)
        for _ in range(10):
            if done():
                return moment
            time.sleep(0.05)
    raise AssertionError(f"not so at {moment}: {plane.sinks.list_open_publications()}")


def test_the_table_has_at_each_quiet_point_what_the_container_has(place: Place, dask_cluster: LocalDask) -> None:
    tables = place.environment["WORK_CONTAINER"].replace("work", "tables")
    settings = {"SINKS": "delta", "TABLES_CONTAINER": tables, "CHUNK_SIZE": "3", "PREDICTIONS_SCHEMA": "2"}
    plane, unpublished = place.plane(**settings), place.plane(**{**settings, "SINKS": ""})
    give_models(place, DEVICES, pickled=True)
    place.upload("models", {f"{BROKEN}.pkl": b"no model"})
    first, second, third = (Window(FIRST.replace(minute=0) + (hours - 1) * HOUR, HOUR) for hours in range(3))
    for window in (first, second, third):
        give_readings(place, [*DEVICES, BROKEN], window.start)

    # The first hour is scored before there is a sink; it is asked for when there is one.
    tick_until(unpublished, FIRST, over(unpublished, first.id))
    plane.ledger.unwatch_run(plane.ledger.read_run(first.id))  # it was over long ago
    assert bootstrap.create_tables_container(place.settings_of(**settings))
    http = TestClient(create_api(plane.services, Authorizer(), lambda: FIRST))
    now = tick_until(plane, FIRST + HOUR, is_published(plane, second.id))
    asked = http.post("/api/publications", json={"from": first.id, "to": first.id})
    assert asked.status_code == 202
    now = tick_until(plane, now, lambda: http.get("/api/sinks").json()[0]["open"] == 1)
    now = tick_until(plane, now, is_published(plane, first.id))
    assert_equal(place, plane)

    # The job of the third hour is killed: the next one publishes it.
    now = tick_until(plane, FIRST + 2 * HOUR, lambda: jobs_that_publish(dask_cluster))
    for process in jobs_that_publish(dask_cluster):
        process.kill()
    now = tick_until(plane, now, lambda: plane.sinks.read_sink(SinkKind.DELTA).failures)
    shown = http.get("/api/sinks").json()[0]
    assert (shown["failures"], shown["open"], shown["oldest"]["run"]) == (1, 1, third.id)
    now = tick_until(plane, now + timedelta(minutes=2), is_published(plane, third.id))
    assert_equal(place, plane)
    for window in (first, second, third):
        assert [sink["state"] for sink in http.get(f"/api/runs/{window.id}").json()["sinks"]] == ["done"]

    # A redrive scores the device whose model was none; the table then has its rows, and the others once.
    normal = pd.DataFrame(np.random.default_rng(2).normal(size=(50, 2)), columns=["heat", "noise"])
    model = OneClassSVM(nu=0.1).fit(normal)
    place.upload("models", {f"{BROKEN}.pkl": pickle.dumps(model)})
    before = table_at(place, plane).version()
    plane.ledger.add_request(Request(RequestKind.REDRIVE, second.id, now))
    now = tick_until(plane, now, lambda: plane.ledger.read_run(second.id).round == 1)
    tick_until(plane, now, is_published(plane, second.id))
    assert_equal(place, plane)
    table = table_at(place, plane)
    assert table.version() == before + 1  # a run is replaced in one commit
    counts = rows_of(table).groupby(["run", "device"]).size().to_dict()
    expected = {(window.id, device): 60 for window in (first, second, third) for device in DEVICES}
    assert counts == {**expected, (second.id, BROKEN): 60}
