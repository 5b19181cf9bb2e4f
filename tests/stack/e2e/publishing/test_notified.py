"""A receiver gets each change of a device once by its id, and people hear of a failed run and of a stuck sink, once."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import psutil
import pytest
from sklearn.svm import OneClassSVM

from shared.contract.windows import Window
from shared.state.runs import JobState, Phase
from tests.receiver import Receiver, run_receiver
from tests.stack.e2e.fleets import HOUR
from tests.stack.e2e.place import Place
from tests.stack.e2e.publishing.inline import InlineCluster
from tests.stack.e2e.publishing.plant import Plant, run_command

START = datetime(2026, 11, 21, 7, tzinfo=UTC)
DEVICES = ["pump1", "pump2", "pump3"]
EVENTS, PEOPLE = "/events", "/people"


@dataclass(slots=True)
class Line:
    """A plant whose jobs send events."""

    plant: Plant
    receiver: Receiver
    kills: list[int] = field(default_factory=list)

    def score(self, start: datetime, *anomalous: str) -> str:
        """The run of an hour, in which some devices are far from normal; returns its id."""
        rng, window = np.random.default_rng(3), Window(start, HOUR)
        rows = [
            (start + timedelta(minutes=minute), device, *(rng.normal(size=2) + 50 * (device in anomalous)))
            for device in DEVICES
            for minute in range(20)
        ]
        sink = io.BytesIO()
        pd.DataFrame(rows, columns=["time", "device", "heat", "noise"]).to_parquet(sink, index=False)
        self.plant.place.upload("readings", {f"{start:date=%Y-%m-%d/hour=%H}/part.parquet": sink.getvalue()})
        self.tick(window)
        return window.id

    def tick(self, window: Window) -> None:
        """Tick from when a window is due, until its run is over."""
        self.plant.now = max(self.plant.now, window.end + timedelta(minutes=5))
        self.plant.tick_until_tried(window.id)

    def list_changes(self, run: str) -> dict[str, str]:
        """The type of the event of each device in a run."""
        events = [event for event in self.receiver.list_events(EVENTS) if event["data"]["run"] == run]
        return {event["data"]["device"]: event["type"].rpartition(".")[2] for event in events}

    def list_notices(self) -> list[tuple[str, str]]:
        """The type and the subject of each notification."""
        notices = self.receiver.list_events(PEOPLE)
        return [(notice["type"].rpartition(".")[2], notice["subject"]) for notice in notices]


@pytest.fixture
def line(place: Place) -> Iterator[Line]:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["heat", "noise"])
    place.upload("models", {f"{device}.pkl": pickle.dumps(OneClassSVM(nu=0.1).fit(frame)) for device in DEVICES})
    with run_receiver() as receiver:
        settings = {
            "SINKS": "events",
            "EVENTS_URL": receiver.url + EVENTS,
            "NOTIFY_URL": receiver.url + PEOPLE,
            "PREDICTIONS_SCHEMA": "2",
        }
        storage = place.environment["STORAGE"]

        def publish(manifest_url: str) -> JobState:
            return run_command(manifest_url, storage, EVENTS_KEY="key")

        plane = replace(place.plane(**settings), cluster=InlineCluster(storage, publish))
        yield Line(Plant(place, plane, START), receiver)


def kill_sender(kills: list[int]) -> None:
    """Kill the job that sends, before it has its answer."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if process.cmdline()[1:4] == ["-m", "scorer", "publish"]:
                process.kill()
                kills.append(process.pid)


def test_each_change_comes_once_by_its_id_also_when_the_job_is_killed_after_it_sent(line: Line) -> None:
    kills: list[int] = []
    line.receiver.before_answer = lambda: kills or kill_sender(kills)
    first = line.score(START)
    assert len(kills) == 1
    assert line.plant.get("/api/sinks")[0]["failures"] == 1
    line.plant.now += timedelta(minutes=2)
    line.plant.tick_until_tried()
    second = line.score(START + HOUR, "pump2")
    third = line.score(START + 2 * HOUR)

    assert line.list_changes(first) == dict.fromkeys(DEVICES, "normal")
    assert line.list_changes(second) == {"pump2": "anomalous"}
    assert line.list_changes(third) == {"pump2": "normal"}
    counts = line.receiver.count_ids(EVENTS)
    assert counts == {
        **{f"{first}/{device}/": 2 for device in DEVICES},  # received, and sent again by the next job
        f"{second}/pump2/": 1,
        f"{third}/pump2/": 1,
    }
    events = line.receiver.list_events(EVENTS)
    assert events[:3] == events[3:6]
    assert [view["open"] for view in line.plant.get("/api/sinks")] == [0]


def test_people_hear_once_of_a_failed_run_and_of_a_stuck_sink_and_that_both_are_well(line: Line) -> None:
    line.score(START)
    assert line.list_notices() == []
    failed = Window(START + HOUR, HOUR)
    line.tick(failed)  # it has no readings
    assert line.plant.plane.ledger.read_run(failed.id).phase is Phase.FAILED
    line.receiver.statuses[EVENTS] = 403
    line.score(START + 2 * HOUR, "pump1")
    line.plant.tick_until_tried()
    assert line.list_notices() == [("run_failed", failed.id), ("run_recovered", Window(START + 2 * HOUR, HOUR).id)]

    shown = line.plant.get("/api/sinks")[0]
    assert (shown["open"], shown["oldest"]["reason"]) == (1, "sink_denied")
    line.plant.now += timedelta(minutes=54)
    for _ in range(3):
        line.plant.now += timedelta(minutes=4)
        line.plant.tick_until_tried()
    assert line.list_notices()[2:3] == [("sink_stuck", "events")]
    assert "sink_denied" in line.receiver.list_events(PEOPLE)[2]["data"]["text"]

    line.receiver.statuses.clear()
    line.plant.wait_for_sinks()
    line.plant.tick_until_tried()
    kinds = [kind for kind, subject in line.list_notices() if subject == "events"]
    assert kinds == ["sink_stuck", "sink_recovered"]
    assert set(line.receiver.count_ids(PEOPLE).values()) == {1}
    assert set(line.receiver.count_ids(EVENTS).values()) == {1}
