"""Batches of events reach a receiver: by their limits, with a signature or a token, and again where it is busy."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from scorer.sinks import event_sender
from scorer.sinks.base import SinkError
from scorer.sinks.event_sender import BATCH_BYTES, EventSender, open_sender
from shared.contract.errors import Misconfigured
from shared.contract.publishing.deliveries import SIGNATURE
from shared.contract.publishing.sinks import SinkReason
from tests.receiver import Receiver, run_receiver
from tests.scorer.sinks.identity_endpoint import identity

__all__ = ["identity"]  # a fixture


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with run_receiver() as state:
        yield state


def send(receiver: Receiver, count: int = 1, key: str = "") -> list[float]:
    """Send so many events; returns the seconds that were waited."""
    return send_events(receiver, [{"id": str(index)} for index in range(count)], key)


def send_events(receiver: Receiver, events: Sequence[Mapping[str, Any]], key: str = "") -> list[float]:
    waits: list[float] = []
    EventSender(f"{receiver.url}/events?secret=1", key, sleep=waits.append).send_events(events)
    return waits


def test_batches_are_of_a_hundred_events_in_their_order(receiver: Receiver) -> None:
    send(receiver, 250)

    assert [len(json.loads(body)) for body in receiver.bodies] == [100, 100, 50]
    assert [event["id"] for event in receiver.list_events()] == [str(index) for index in range(250)]


@pytest.mark.parametrize("letter", ["u", "ü", "\n"])
def test_a_body_is_as_long_as_the_limit_and_no_longer(letter: str, receiver: Receiver) -> None:
    """Of letters that are one byte, or two of them."""
    encoded = len(json.dumps(letter, ensure_ascii=False).encode()) - 2
    size = len(json.dumps({"id": "0"})) * 2 + len("[, ]")
    text = letter * ((BATCH_BYTES - size) // encoded - 1)
    rest = BATCH_BYTES - size - len(text) * encoded
    events = [{"id": text + "0"}, {"id": "x" * rest + "0"}]

    send_events(receiver, events)
    send_events(receiver, [*events[:1], {"id": "x" * rest + "00"}])

    assert [len(body) for body in receiver.bodies][:1] == [BATCH_BYTES]
    assert [len(json.loads(body)) for body in receiver.bodies] == [2, 1, 1]


def test_an_event_that_is_larger_than_a_body_is_sent_alone(receiver: Receiver) -> None:
    events = [{"id": "0"}, {"id": "x" * BATCH_BYTES}, {"id": "1"}]

    send_events(receiver, events)

    assert [json.loads(body) for body in receiver.bodies] == [events[:1], events[1:2], events[2:]]


def test_bodies_for_event_hubs_keep_the_limit_as_they_are_encoded_there(
    receiver: Receiver, identity: list[str]
) -> None:
    sender = replace(open_sender("sb://pumps.servicebus.windows.net/changes", ""), url=receiver.url)
    events = [{"id": f"{index}{'ü' * 10_000}"} for index in range(12)]

    sender.send_events(events)

    assert [json.loads(entry["Body"]) for body in receiver.bodies for entry in json.loads(body)] == events
    assert [len(json.loads(body)) for body in receiver.bodies] == [3, 3, 3, 3]  # six bytes a letter
    assert all(len(body) <= BATCH_BYTES for body in receiver.bodies)
    assert len(identity) == 1


def test_a_batch_is_signed(receiver: Receiver) -> None:
    send(receiver, key="a key")

    digest = hmac.new(b"a key", receiver.bodies[0], hashlib.sha256).hexdigest()
    assert receiver.requests[0].headers[SIGNATURE] == f"sha256={digest}"


@pytest.mark.parametrize("status", [429, 503])
def test_a_receiver_that_is_busy_is_asked_again_when_it_says(status: int, receiver: Receiver) -> None:
    receiver.answers = [status, status]

    assert send(receiver) == [7.0, 7.0]
    assert len(receiver.bodies) == 1


def test_a_receiver_that_wants_a_long_pause_gets_the_longest_that_a_job_waits(receiver: Receiver) -> None:
    receiver.answers, receiver.retry_after = [503, 503], "86400"

    assert send(receiver) == [30.0, 30.0]


def test_a_receiver_that_says_no_time_is_asked_again_after_waits_that_double(receiver: Receiver) -> None:
    receiver.answers, receiver.retry_after = [503] * 4, "Wed, 21 Oct 2099 07:28:00 GMT"

    assert send(receiver) == [1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (503, SinkReason.UNAVAILABLE),
        (507, SinkReason.UNAVAILABLE),
        (401, SinkReason.DENIED),
        (404, SinkReason.FAILED),
        (302, SinkReason.UNAVAILABLE),
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


def test_event_hubs_gets_a_batch_by_its_rest_interface(receiver: Receiver, identity: list[str]) -> None:
    """https://learn.microsoft.com/rest/api/eventhub/send-batch-events: a list of objects with a Body that is a text."""
    sender = open_sender("sb://pumps.servicebus.windows.net/changes", "no key is used")
    assert sender.url == "https://pumps.servicebus.windows.net/changes/messages"

    replace(sender, url=receiver.url).send_events([{"id": "ü"}])

    assert [json.loads(entry["Body"]) for entry in json.loads(receiver.bodies[0])] == [{"id": "ü"}]
    assert receiver.requests[0].headers["Content-Type"] == "application/vnd.microsoft.servicebus.json; charset=utf-8"
    assert receiver.requests[0].headers["Authorization"] == "Bearer t0"
    assert parse_qs(urlsplit(identity[0]).query)["resource"] == ["https://eventhubs.azure.net"]
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
def test_no_other_host_gets_the_token_of_a_node(url: str, identity: list[str]) -> None:
    with pytest.raises(Misconfigured, match="EVENTS_URL: expected https://HOST/"):
        open_sender(url, "").send_events([{"id": "0"}])
    assert identity == []


@pytest.mark.parametrize("suffix", ["windows.net", "chinacloudapi.cn", "usgovcloudapi.net"])
def test_hubs_of_each_cloud_of_azure_are_reached(suffix: str) -> None:
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
