"""Weeks begin on Mondays, on the day that a person sets, or as they did before."""

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.adapters.memory import MemoryBlobs, MemoryCluster, MemoryLedger, MemoryStopwatch
from shared.adapters.memory_sinks import MemoryNotifier, MemorySinkLedger
from shared.api.auth import Authorizer
from shared.contract.windows import DAY, EPOCH, MONDAY, WEEK, Window
from shared.control.loop import ControlPlane
from shared.control.options import ControlOptions
from shared.planning.window_origin import decide_window_origin
from shared.state.runs import Phase, Run
from tests.shared.api.served import Client

NOW = datetime(2026, 11, 25, 0, 5, tzinfo=UTC)  # a Wednesday
HOUR = timedelta(hours=1)
THURSDAYS, MONDAYS = "20261112T0000Z-P7D", "20261116T0000Z-P7D"  # the last weeks that closed
OF_HOUR = Run(Window.parse("20261120T0700Z-PT1H"), Phase.SUCCEEDED, NOW)
WEEKLY = Run(Window.parse("20261105T0000Z-P7D"), Phase.SUCCEEDED, NOW)
MISSED = Run(Window.parse("20261101T0300Z-P7D"), Phase.MISSED, NOW)  # a stretch of 168 hours
SATURDAY = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    ("setting", "stored", "length", "earlier", "expected"),
    [
        (None, None, WEEK, [], MONDAY),
        (None, None, 2 * WEEK, [OF_HOUR, MISSED], MONDAY),
        (None, None, WEEK, [OF_HOUR, WEEKLY], EPOCH),
        (None, EPOCH, WEEK, [], EPOCH),  # its runs are pruned
        (None, MONDAY, WEEK, [WEEKLY], MONDAY),
        (SATURDAY, EPOCH, WEEK, [WEEKLY], SATURDAY),
        (None, SATURDAY, 3 * DAY, [], SATURDAY),
        (None, None, 3 * DAY, [WEEKLY], None),
        (None, None, HOUR, [], None),
    ],
)
def test_the_origin_is_decided_by_the_setting_then_by_what_was_stored_then_by_what_ran(
    setting: datetime | None, stored: datetime | None, length: timedelta, earlier: list[Run], expected: datetime | None
) -> None:
    assert decide_window_origin(setting, stored, length, earlier) == expected


class Deployment:
    """An app with windows of a week, and the runs that it had before."""

    def __init__(self, *earlier: Run, origin: datetime | None = None, length: timedelta = WEEK) -> None:
        self.ledger = MemoryLedger()
        for run in earlier:
            self.ledger.add_run(run)
        self.options = ControlOptions(window=length, window_origin=origin)

    @property
    def plane(self) -> ControlPlane:
        stores = (MemoryBlobs(f"memory://{name}") for name in ("models", "readings", "work", "predictions"))
        return ControlPlane(
            self.ledger, MemoryCluster(), *stores, MemoryStopwatch(), MemorySinkLedger(), MemoryNotifier(), self.options
        )

    @property
    def http(self) -> Client:
        return Client(self.plane.services, Authorizer(), lambda: NOW)

    def list_weeks(self) -> list[str]:
        return [run.id for run in self.ledger.list_runs(9).items if run != WEEKLY and run.window.length == WEEK]


@pytest.mark.parametrize(
    ("deployment", "week", "told"),
    [
        (Deployment(), MONDAYS, "1970-01-05"),
        (Deployment(WEEKLY), THURSDAYS, "1970-01-01, assumed"),
        (Deployment(WEEKLY, origin=MONDAY), MONDAYS, "1970-01-05"),
        (Deployment(WEEKLY, origin=EPOCH), THURSDAYS, "1970-01-01"),
        (Deployment(origin=SATURDAY), "20261114T0000Z-P7D", "2026-11-21"),
    ],
    ids=["new", "of before", "of before, Mondays set", "of before, written out", "Saturdays"],
)
def test_the_schedule_requests_and_backfills_have_the_same_weeks(deployment: Deployment, week: str, told: str) -> None:
    http = deployment.http
    assert http.post("/api/runs").json()["id"] == week  # before the first tick too
    deployment.ledger.remove_request(deployment.ledger.list_requests()[0])
    deployment.plane.tick(NOW)
    assert deployment.ledger.read_run(week).asked_by == "schedule"
    assert http.get("/api/schedule").json()["window_origin"] == told
    assert http.post("/api/runs", json={"window": week}).status_code == 200
    body = {"from": week, "to": week, "dry_run": True}
    assert [each["window"] for each in http.post("/api/backfills", json=body).json()["windows"]] == [week]
    other = Window.parse(week)
    wrong = Window(other.start - DAY, WEEK).id
    answer = http.post("/api/runs", json={"window": wrong})
    origin = told.partition(",")[0]
    assert answer.status_code == 400
    assert f"expected a window of P7D counted from {origin} (WINDOW, WINDOW_ORIGIN), such as" in answer.json()["detail"]


def test_a_deployment_that_has_weekly_runs_is_told_once_and_stays_until_the_setting_is_written_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "shared.control.defaults")
    deployment = Deployment(WEEKLY)
    for _ in range(2):
        deployment.plane.tick(NOW)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "shared.control.defaults"]
    assert line == (
        "windows of 7 days begin on a Thursday, as those of earlier runs do; set WINDOW_ORIGIN, to 1970-01-05 for "
        "Mondays or to 1970-01-01 to keep it"
    )
    deployment.options = replace(deployment.options, window_origin=MONDAY, max_open_runs=9)
    deployment.plane.tick(NOW + WEEK)
    weeks = {run.id: run.phase for run in deployment.ledger.list_runs(9).items if run != WEEKLY}
    # No row is in two windows: the days between the last Thursday and the next Monday are told as missed.
    assert weeks["20261119T0000Z-P4D"] is Phase.MISSED
    assert "20261123T0000Z-P7D" in weeks


def test_a_deployment_of_hours_that_becomes_one_of_weeks_begins_on_mondays() -> None:
    deployment = Deployment(OF_HOUR, length=HOUR)
    deployment.plane.tick(NOW)
    assert deployment.ledger.read_heartbeat().window_origin is None
    deployment.options = replace(deployment.options, window=WEEK)
    deployment.plane.tick(NOW + 2 * WEEK)
    assert deployment.ledger.read_heartbeat().window_origin == MONDAY
