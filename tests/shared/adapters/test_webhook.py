"""Notifications reach a real HTTP server as CloudEvents or as texts; its answer decides whether they are sent again."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import pytest

from shared.adapters import webhook
from shared.adapters.webhook import Webhook
from shared.contract.errors import Malformed, Unavailable
from shared.contract.publishing.deliveries import SIGNATURE
from shared.state.notices import Notice, NoticeKind
from tests.receiver import Receiver, run_receiver

NOTICE = Notice(
    "20261121T1100Z-PT1H-0-run_failed", NoticeKind.FAILED, "20261121T1100Z-PT1H", "Run … failed: ü",
    datetime(2026, 11, 21, 12, 5, 0, 123457, tzinfo=UTC),
)  # fmt: skip


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with run_receiver() as state:
        state.url += "/hook?secret=1"
        yield state


def test_a_notification_is_a_cloud_event(receiver: Receiver) -> None:
    Webhook(receiver.url, "pumps").send(NOTICE)

    assert json.loads(receiver.bodies[0]) == {
        "specversion": "1.0",
        "id": "20261121T1100Z-PT1H-0-run_failed",
        "source": "/fleetscore/pumps",
        "type": "fleetscore.run_failed",
        "subject": "20261121T1100Z-PT1H",
        "time": "2026-11-21T12:05:00.123Z",
        "datacontenttype": "application/json",
        "data": {"text": "Run … failed: ü"},
    }
    assert receiver.requests[0].headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    assert [request.path for request in receiver.requests] == ["/hook?secret=1"]
    assert SIGNATURE not in receiver.requests[0].headers


def test_a_chat_gets_a_text(receiver: Receiver) -> None:
    Webhook(receiver.url, "pumps", as_text=True).send(NOTICE)

    assert json.loads(receiver.bodies[0]) == {"text": "Run … failed: ü"}
    assert receiver.requests[0].headers["Content-Type"] == "application/json; charset=utf-8"


def test_the_body_is_signed_by_the_key(receiver: Receiver) -> None:
    Webhook(receiver.url, "pumps", key="ü-key").send(NOTICE)

    expected = hmac.new("ü-key".encode(), receiver.bodies[0], hashlib.sha256).hexdigest()
    assert receiver.requests[0].headers[SIGNATURE] == f"sha256={expected}"


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, Malformed), (404, Malformed), (410, Malformed), (408, Unavailable), (429, Unavailable), (500, Unavailable),
     (503, Unavailable), (302, Unavailable)],
)  # fmt: skip
def test_an_answer_that_may_pass_is_tried_again_and_names_the_host_alone(
    status: int, error: type[Exception], receiver: Receiver
) -> None:
    receiver.answers = [status]

    with pytest.raises(error, match=rf"^127\.0\.0\.1:\d+ answered {status}") as caught:
        Webhook(receiver.url, "pumps").send(NOTICE)

    assert "secret" not in str(caught.value)
    assert len(receiver.requests) == 1  # no redirect was followed


def test_a_server_that_does_not_answer_costs_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/secret"
        with pytest.raises(Unavailable, match=r"^127\.0\.0\.1:\d+ did not answer: .*timed out") as caught:
            Webhook(url, "pumps").send(NOTICE)
    assert "secret" not in str(caught.value)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(Unavailable, match="did not answer"):
        Webhook(f"http://127.0.0.1:{port}/", "pumps").send(NOTICE)


@contextmanager
def serve_bytes(answer: bytes, pause: float = 0.0) -> Iterator[str]:
    """The URL of a server that sends an answer once, byte by byte where there is a pause between them."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                for piece in [answer] if not pause else [bytes([byte]) for byte in answer]:
                    connection.sendall(piece)
                    stopped.wait(pause)
                    if stopped.is_set():
                        return

        stopped = threading.Event()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/secret"
        finally:
            stopped.set()
            thread.join()


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 200 " + b"x" * 70_000 + b"\r\n\r\n"])
def test_an_answer_that_is_no_http_is_unavailable(answer: bytes) -> None:
    with (
        serve_bytes(answer) as url,
        pytest.raises(Unavailable, match=r"^127\.0\.0\.1:\d+ did not answer: ") as caught,
    ):
        Webhook(url, "pumps").send(NOTICE)
    assert "secret" not in str(caught.value)


def test_a_server_that_answers_byte_by_byte_costs_the_time_limit_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "TIMEOUT", 0.3)
    answer = b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200
    with (
        serve_bytes(answer, pause=0.02) as url,
        pytest.raises(Unavailable, match=r"did not answer: timed out after 0\.3 s"),
    ):
        Webhook(url, "pumps").send(NOTICE)
