"""Changes of devices reach a receiver as CloudEvents: once by their ids, also after kills and further rounds."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scorer.sinks import event_sender
from scorer.sinks.base import SinkError
from scorer.sinks.event_sender import EventSender, open_sender
from scorer.sinks.events import EventSink, open_event_sink
from shared.contract.errors import Misconfigured
from shared.contract.publishing.deliveries import SIGNATURE
from shared.contract.publishing.documents import PublicationItem, PublishingManifest
from shared.contract.publishing.sinks import SinkKind, SinkReason
from tests.receiver import Receiver, run_receiver
from tests.scorer.sinks.stage import HOUR_7, HOUR_8, Row, Stage


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with run_receiver() as state:
        yield state


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def make_sink(stage: Stage, receiver: Receiver, **target: str) -> EventSink:
    manifest = PublishingManifest(
        SinkKind.EVENTS, 1, "pumps", "file:///work", (), {"url": f"{receiver.url}/events?secret=1", **target}
    )
    return open_event_sink(manifest, stage.work)


def make_rows(device: str, anomalies: int, rows: int = 4) -> list[Row]:
    return [(device, -1.0 if minute < anomalies else 1.0, minute) for minute in range(rows)]


def make_item(
    stage: Stage, now: dict[str, int], before: dict[str, int] | None = None, number: int = 0
) -> PublicationItem:
    """Devices with so many anomalies of four rows, in this window and in the one before."""
    earlier = stage.make_item(HOUR_7, *(make_rows(device, n) for device, n in (before or {}).items()))
    item = stage.make_item(HOUR_8, *(make_rows(device, n) for device, n in now.items()), number=number)
    return replace(item, earlier=earlier.parts if before is not None else (), asked_by="schedule")


def summarize(events: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    return [(event["subject"], event["type"].rpartition(".")[2], event["data"]["revision"]) for event in events]


def test_a_device_that_changes_is_an_event_and_others_are_none(stage: Stage, receiver: Receiver) -> None:
    before = {"a": 0, "b": 4, "c": 0, "d": 2}
    result = make_sink(stage, receiver).publish(make_item(stage, {"a": 2, "b": 1, "c": 1, "d": 4}, before), stage.parts)

    first, second = receiver.list_events()
    assert first == {
        "specversion": "1.0",
        "id": "20261121T0800Z-PT1H/a/",
        "source": "/fleetscore/pumps",
        "type": "fleetscore.device.anomalous",
        "subject": "a",
        "time": "2026-11-21T08:03:00.000Z",
        "datacontenttype": "application/json",
        "revision": 0,
        "data": {
            "device": "a",
            "sensor": None,
            "state": "anomalous",
            "before": "normal",
            "rows": 4,
            "anomalies": 2,
            "run": HOUR_8,
            "revision": 0,
        },
    }
    assert (second["subject"], second["type"]) == ("b", "fleetscore.device.normal")
    assert result.stored == "2 events"
    assert receiver.requests[0].headers["Content-Type"] == "application/cloudevents-batch+json; charset=utf-8"


def test_the_share_of_anomalies_is_a_setting(stage: Stage, receiver: Receiver) -> None:
    make_sink(stage, receiver, percent="75").publish(make_item(stage, {"a": 2, "b": 3}, {"a": 0, "b": 0}), stage.parts)

    assert summarize(receiver.list_events()) == [("b", "anomalous", 0)]


def test_without_a_window_before_the_state_of_each_device_is_the_first(stage: Stage, receiver: Receiver) -> None:
    make_sink(stage, receiver).publish(make_item(stage, {"a": 4, "b": 0}), stage.parts)

    assert summarize(receiver.list_events()) == [("a", "anomalous", 0), ("b", "normal", 0)]
    assert [event["data"]["before"] for event in receiver.list_events()] == [None, None]


def test_a_correction_has_the_same_id_and_the_revision_of_its_publication(stage: Stage, receiver: Receiver) -> None:
    sink = make_sink(stage, receiver)
    sink.publish(replace(make_item(stage, {"a": 4}, {"a": 0}), revision=3), stage.parts)
    correction = make_item(stage, {"a": 0}, {"a": 0})  # it was pruned, and requested again: a round 0 once more

    sink.publish(replace(correction, revision=4), stage.parts)

    events = receiver.list_events()
    assert [event["id"] for event in events] == [f"{HOUR_8}/a/"] * 2
    assert [(event["revision"], event["data"]["revision"]) for event in events] == [(3, 3), (4, 4)]


def test_a_window_before_whose_parts_were_pruned_is_as_none(stage: Stage, receiver: Receiver) -> None:
    item = make_item(stage, {"a": 4}, {"a": 4})
    for entry in item.earlier:
        stage.work.remove(entry.part.path)

    make_sink(stage, receiver).publish(item, stage.parts)

    assert summarize(receiver.list_events()) == [("a", "anomalous", 0)]
    assert receiver.list_events()[0]["data"]["before"] is None


def test_a_second_job_sends_nothing_again(stage: Stage, receiver: Receiver) -> None:
    item = make_item(stage, {"a": 4}, {"a": 0})
    results = [make_sink(stage, receiver).publish(item, stage.parts) for _ in range(2)]

    assert results[0] == results[1]
    assert len(receiver.list_events()) == 1


def test_a_job_that_was_killed_after_it_sent_sends_the_same_ids_again(stage: Stage, receiver: Receiver) -> None:
    item = make_item(stage, {"a": 4}, {"a": 0})
    make_sink(stage, receiver).publish(item, stage.parts)
    stage.work.remove(f"events/{HOUR_8}.json")

    make_sink(stage, receiver).publish(item, stage.parts)

    first, second = receiver.list_events()
    assert first == second


def test_a_further_round_sends_only_devices_that_are_others_now(stage: Stage, receiver: Receiver) -> None:
    before = {"a": 0, "b": 0, "c": 0, "d": 0}
    sink = make_sink(stage, receiver)
    sink.publish(make_item(stage, {"a": 4, "b": 4, "c": 0}, before), stage.parts)
    receiver.requests.clear()

    sink.publish(make_item(stage, {"a": 4, "b": 0, "c": 4, "d": 0}, before, number=1), stage.parts)

    assert summarize(receiver.list_events()) == [("b", "normal", 1), ("c", "anomalous", 1)]
    assert [event["id"] for event in receiver.list_events()] == [f"{HOUR_8}/b/", f"{HOUR_8}/c/"]


def test_a_job_that_was_believed_lost_sends_nothing(stage: Stage, receiver: Receiver) -> None:
    old = make_item(stage, {"a": 4}, {"a": 0})
    make_sink(stage, receiver).publish(make_item(stage, {"a": 0}, {"a": 0}, number=1), stage.parts)

    with pytest.raises(SinkError, match="revision 1 of 20261121T0800Z-PT1H was sent") as caught:
        make_sink(stage, receiver).publish(old, stage.parts)

    assert (caught.value.reason, caught.value.ahead, receiver.bodies) == (SinkReason.AHEAD, 1, [])


@pytest.mark.parametrize(("target", "count"), [({}, 0), ({"runs": "all"}, 1)])
def test_runs_that_are_none_of_the_schedule_are_no_news(
    target: dict[str, str], count: int, stage: Stage, receiver: Receiver
) -> None:
    item = replace(make_item(stage, {"a": 4}, {"a": 0}), asked_by="backfill-1")

    make_sink(stage, receiver, **target).publish(item, stage.parts)

    assert len(receiver.list_events()) == count


def test_very_many_changes_end_in_one_event_that_counts_the_rest(
    stage: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scorer.sinks.events.MOST_EVENTS", 3)
    item = stage.make_item(HOUR_8, [row for index in range(8) for row in make_rows(f"p{index}", 4)])

    make_sink(stage, receiver).publish(replace(item, asked_by="schedule"), stage.parts)

    *events, last = receiver.list_events()
    assert [event["subject"] for event in events] == ["p0", "p1", "p2"]
    assert (last["id"], last["type"], last["data"]) == (
        f"{HOUR_8}/more", "fleetscore.device.more", {"run": HOUR_8, "revision": 0, "more": 5},
    )  # fmt: skip


def test_a_removal_sends_nothing(stage: Stage, receiver: Receiver) -> None:
    item = make_item(stage, {"a": 4}, {"a": 0})

    assert make_sink(stage, receiver).publish(stage.make_removal(item), stage.parts).reason is None
    assert receiver.bodies == []


def send(receiver: Receiver, count: int = 1, key: str = "") -> list[float]:
    """Send so many events; returns the seconds that were waited."""
    waits: list[float] = []
    EventSender(f"{receiver.url}/events?secret=1", key, sleep=waits.append).send_events(
        [{"id": str(index)} for index in range(count)]
    )
    return waits


def test_batches_are_of_a_hundred_events_in_their_order(receiver: Receiver) -> None:
    send(receiver, 250)

    assert [len(json.loads(body)) for body in receiver.bodies] == [100, 100, 50]
    assert [event["id"] for event in receiver.list_events()] == [str(index) for index in range(250)]


def test_a_batch_is_signed(receiver: Receiver) -> None:
    send(receiver, key="a key")

    digest = hmac.new(b"a key", receiver.bodies[0], hashlib.sha256).hexdigest()
    assert receiver.requests[0].headers[SIGNATURE] == f"sha256={digest}"


@pytest.mark.parametrize("status", [429, 503])
def test_a_receiver_that_is_busy_is_asked_again_when_it_says(status: int, receiver: Receiver) -> None:
    receiver.answers = [status, status]

    assert send(receiver) == [7.0, 7.0]
    assert len(receiver.bodies) == 1


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (503, SinkReason.UNAVAILABLE),
        (507, SinkReason.UNAVAILABLE),
        (401, SinkReason.DENIED),
        (404, SinkReason.FAILED),
        (302, SinkReason.FAILED),
    ],
)
def test_a_receiver_that_does_not_take_it_is_told_by_its_host_alone(
    status: int, reason: SinkReason, receiver: Receiver
) -> None:
    receiver.answers = [status] * 9

    with pytest.raises(SinkError, match=rf"^127\.0\.0\.1:\d+ answered {status}") as caught:
        send(receiver)

    assert caught.value.reason is reason
    assert "secret" not in str(caught.value)


def test_event_hubs_gets_a_batch_by_its_rest_interface(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """https://learn.microsoft.com/rest/api/eventhub/send-batch-events: a list of objects with a Body that is a text."""

    class Identity:
        def get_token(self, audience: str) -> Any:
            return type("Token", (), {"token": f"token for {audience}"})

    monkeypatch.setattr(event_sender, "_make_identity", Identity)
    sender = open_sender("sb://pumps.servicebus.windows.net/changes", "no key is used")
    assert sender.url == "https://pumps.servicebus.windows.net/changes/messages"

    replace(sender, url=receiver.url).send_events([{"id": "ü"}])

    assert [json.loads(entry["Body"]) for entry in json.loads(receiver.bodies[0])] == [{"id": "ü"}]
    assert receiver.requests[0].headers["Content-Type"] == "application/vnd.microsoft.servicebus.json; charset=utf-8"
    assert receiver.requests[0].headers["Authorization"] == "Bearer token for https://eventhubs.azure.net/.default"
    assert SIGNATURE not in receiver.requests[0].headers


@pytest.mark.parametrize(
    "url",
    [
        "sb://evil.example/hub",
        "sb://pumps.servicebus.windows.net.evil.example/hub",
        "sb://evil.example#.servicebus.windows.net/hub",
        "sb://me@pumps.servicebus.windows.net/hub",
        "sb://pumps.servicebus.windows.net:5671/hub",
        "sb://pumps.servicebus.windows.net/hub/other",
        "http://hub.example.org/",
    ],
)
def test_no_other_host_gets_the_token_of_a_node(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(event_sender, "_make_identity", lambda: asked.append(url))

    with pytest.raises(Misconfigured, match="EVENTS_URL: expected https://HOST/"):
        open_sender(url, "")
    assert asked == []


@pytest.mark.parametrize("suffix", ["windows.net", "chinacloudapi.cn", "usgovcloudapi.net"])
def test_hubs_of_each_cloud_of_azure_are_reached(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_sender, "_make_identity", object)

    sender = open_sender(f"sb://pumps-1.servicebus.{suffix}/changes.v2/", "")
    assert sender.url == f"https://pumps-1.servicebus.{suffix}/changes.v2/messages"


def test_an_answer_that_is_no_http_is_unavailable(receiver: Receiver) -> None:
    def serve(server: socket.socket) -> None:
        for _ in range(event_sender.TRIES):
            connection, _address = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        receiver.url = f"http://127.0.0.1:{server.getsockname()[1]}/secret"
        with pytest.raises(SinkError, match=r"^127\.0\.0\.1:\d+ did not answer") as caught:
            send(receiver)
        thread.join()
    assert caught.value.reason is SinkReason.UNAVAILABLE


def test_a_receiver_that_answers_byte_by_byte_costs_the_time_limit(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = threading.Event()

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            while not stopped.wait(0.02):
                connection.sendall(b"H")

    monkeypatch.setattr(event_sender, "TIMEOUT", 0.3)
    monkeypatch.setattr(event_sender, "TRIES", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        receiver.url = f"http://127.0.0.1:{server.getsockname()[1]}/secret"
        with pytest.raises(SinkError, match=r"expected an answer within 0\.3 s, got none") as caught:
            send(receiver)
        stopped.set()
        thread.join()
    assert caught.value.reason is SinkReason.UNAVAILABLE
