"""A day of a fleet at two sinks, while hosts, jobs, the database and answers are killed: readers see the same rows."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from local import dask as local_dask
from local import postgres
from local.dask import LocalDask
from local.postgres import PASSWORD, Postgres
from shared import bootstrap
from shared.contract.publishing.sinks import SinkKind
from shared.contract.windows import Window
from tests.stack.e2e.fleets import HOUR
from tests.stack.e2e.place import Place
from tests.stack.e2e.publishing.day import (
    BROKEN,
    DETECTORS,
    DEVICES,
    EACH_HOUR,
    Day,
    Scanner,
    give_models,
    give_readings,
    train_detector,
)
from tests.stack.e2e.publishing.hosts import Clock, Hosts
from tests.stack.e2e.publishing.strikes import Strikes
from tests.stack.proxy import Fault, Weather, proxy

DAY = datetime(2026, 11, 20, tzinfo=UTC)
QUARTER, WHOLE_DAY = timedelta(minutes=15), timedelta(days=1)
HOURS = [Window(DAY + n * HOUR, HOUR) for n in range(24)]
DUE = timedelta(minutes=6)
# The clock leaps; a job must not seem silent for that.
PATIENT = {"SILENCE": "PT1H", "START_TIMEOUT": "PT1H", "STALL_TIMEOUT": "PT1H"}


@pytest.fixture
def server() -> Iterator[Postgres]:
    running = postgres.start(die_with_parent=True)
    yield running
    running.stop()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[LocalDask]:
    """A cluster whose jobs know the key of the storage and the password of the database."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("STORAGE", "UseDevelopmentStorage=true")
        environment.setenv("KERNELS", "numpy")
        environment.setenv("SQL_PASSWORD", PASSWORD)
        cluster = local_dask.start(tmp_path / "dask", max_workers=2, idle=60)
    yield cluster
    cluster.stop()


@pytest.fixture
def day(place: Place, server: Postgres, nodes: LocalDask, tmp_path: Path) -> Iterator[Day]:
    give_models(place)
    give_readings(place, [DAY + n * HOUR for n in (*range(-2, 26), *range(48, 51))])
    clock, storage = Clock(tmp_path / "clock"), place.environment["STORAGE"]
    blobs = urlsplit(place.service.url)
    environment = {
        **place.environment,
        **PATIENT,
        "DASK_SCHEDULER": nodes.address,
        "CHUNK_SIZE": "3",
        "MAX_OPEN_RUNS": "5",
        "PREDICTIONS_SCHEMA": "2",
        "SINKS": "delta,sql",
        "TABLES_CONTAINER": place.environment["WORK_CONTAINER"].replace("work", "tables"),
        "SQL_URL": server.url,
        "SQL_TABLE": "fleet_predictions",
    }
    assert bootstrap.create_tables_container(place.settings_of(**environment))
    hosts = Hosts(clock, tmp_path, environment)
    strikes = Strikes(nodes, hosts, server)
    assert blobs.hostname
    assert blobs.port
    with proxy((blobs.hostname, blobs.port), Weather({Fault.NONE: 1}, 0), strikes.guard, strikes.aim) as port:
        hosts.environment = {**environment, "STORAGE": storage.replace(f":{blobs.port}/", f":{port}/")}
        clock.set(DAY)
        hosts.start()
        yield Day(place, clock, hosts, strikes, place.plane(**hosts.environment))
        hosts.stop()
    strikes.server.stop()


def test_every_reader_has_each_row_once_through_a_day_of_kills(day: Day) -> None:
    strikes = day.strikes
    delta, sql = (strikes.kill_publisher(kind) for kind in (SinkKind.DELTA, SinkKind.SQL))
    first, second = strikes.kill_host(0), strikes.kill_host(1)

    day.play(HOURS[:1], HOURS[0].end + DUE, first, strikes.kill_scorer)
    day.check()
    day.play(HOURS[1:5], HOURS[4].end + DUE, second, strikes.kill_scorer, delta, sql)
    old = day.check()

    # A reader scans the table all through a redrive, whose job is killed once it has committed.
    day.place.upload("models", {f"{BROKEN}.pkl": pickle.dumps(train_detector(9))})
    day.ask_round(HOURS[1], "redrive")
    with Scanner(day.url, day.place.environment["STORAGE"]) as scanner:
        day.settle(first, strikes.cut_commit(Fault.LOST, kills=True))
    new = day.check()
    assert (len(new - old), len(old - new)) == (EACH_HOUR, 0)
    assert scanner.errors == []
    assert [rows for rows in scanner.scans if rows not in (old, new)] == []
    assert scanner.scans[0] == old

    lost = strikes.cut_commit(Fault.LOST, kills=False)
    day.play(HOURS[5:11], HOURS[10].end + DUE, second, strikes.kill_scorer, strikes.crash_database, lost)
    day.check()

    # A redrive, and a reprocess with another model.
    day.place.upload("models", {f"{DETECTORS[0]}.pkl": pickle.dumps(train_detector(8))})
    day.ask_round(HOURS[2], "redrive")
    day.ask_round(HOURS[7], "reprocess")
    day.settle(first, strikes.cut_commit(Fault.DROPPED, kills=True), strikes.end_backend)
    day.check()

    earlier = [Window(DAY - n * HOUR, HOUR) for n in (2, 1)]
    body = {"from": earlier[0].id, "to": earlier[1].id, "dry_run": False, "max_open": 2}
    assert day.http.post("/api/backfills", json=body).status_code == 202
    day.rounds |= {window.id: 0 for window in earlier}
    day.settle(second, delta, strikes.crash_database)
    day.check()

    dropped = strikes.cut_commit(Fault.DROPPED, kills=False)
    kills = (first, strikes.kill_scorer, sql, second, strikes.kill_scorer, dropped, strikes.end_backend)
    day.play(HOURS[11:], HOURS[-1].end + DUE, *kills)
    rows = day.check()
    counts = {run: sum(row[-1] == run for row in rows) for run in day.rounds}
    unmended = [HOURS[0].id, HOURS[3].id, HOURS[4].id]
    assert counts == {run: EACH_HOUR * (len(DEVICES) - (run in unmended)) for run in day.rounds}

    play_other_windows(day)
    assert day.checks == 9
    assert day.waiting == [], strikes.counts
    assert strikes.kills >= 20, strikes.counts


def play_other_windows(day: Day) -> None:
    """Quarters of an hour, then a day. Of the first five hours all runs are pruned, but one that was redriven since."""
    strikes = day.strikes
    pruning = {"KEEP_RUNS": "PT19H", "PRUNE_PREDICTIONS": "true"}
    quarterly = {"WINDOW": "PT15M", "SCHEDULE": "0 5,20,35,50 * * * *", "CHUNK_SIZE": "6"}
    day.change({**quarterly, **pruning}, day.place.plane)
    quarters = [Window(HOURS[-1].end + n * QUARTER, QUARTER) for n in range(8)]
    # The sinks remove runs first; an hour later the app does.
    day.play(quarters[:4], quarters[3].end + DUE, strikes.kill_publisher(SinkKind.SQL))
    for number in (0, 1, 3, 4):
        del day.rounds[HOURS[number].id]
    day.play(quarters[4:], quarters[7].end + DUE + QUARTER / 5, strikes.kill_publisher(SinkKind.DELTA))
    assert {row[-1] for row in day.check()} == day.rounds.keys()

    day.change({"WINDOW": "P1D", "SCHEDULE": "0 5 0 * * *", "KEEP_RUNS": "P90D"}, day.place.plane)
    whole = Window(DAY + 2 * WHOLE_DAY, WHOLE_DAY)
    day.play([whole], whole.end + DUE, strikes.kill_scorer)
    assert sum(row[-1] == whole.id for row in day.check()) == 3 * EACH_HOUR * len(DEVICES)
