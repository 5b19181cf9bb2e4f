"""Sends CloudEvents in batches: to a URL, or to Azure Event Hubs by its REST interface.

That interface and not the library of Event Hubs: the library speaks AMQP, whose ports firewalls often close, and which
nothing but the service itself answers. https://learn.microsoft.com/rest/api/eventhub/send-batch-events
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from shared.contract.errors import Misconfigured
from shared.contract.publishing.deliveries import sign_body, sort_status
from shared.contract.publishing.sinks import SinkReason
from shared.contract.publishing.urls import get_host, is_web_url, parse_hub
from shared.contract.text import clip_text

from .base import SinkError
from .deadline import call_within
from .identity import NodeIdentity

TIMEOUT = 30.0  # seconds of one request, all of it
TRIES = 5
FIRST_WAIT = 1.0  # seconds; doubles with each try
LONGEST_WAIT = 30.0  # even if the receiver asks for more
BATCH_EVENTS, BATCH_BYTES = 100, 200_000  # of one body; Event Hubs takes 256 KB in its basic tier
_AUDIENCE = "https://eventhubs.azure.net/.default"
_SEPARATOR = b", "


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would repeat a POST as a GET, without its body."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


@dataclass(frozen=True, slots=True)
class EventSender:
    """*url*: where batches go. *key* signs a body (HMAC-SHA-256, in hex). *get_token*: of Event Hubs alone."""

    url: str
    key: str = ""
    get_token: Callable[[], str] | None = None
    sleep: Callable[[float], None] = field(default=time.sleep)

    def send_events(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Send all of them, in order. Raises SinkError; then some may have been received."""
        for body in _join_entries(map(self._encode_event, events)):
            self._send_body(body)

    def _encode_event(self, event: Mapping[str, Any]) -> bytes:
        text = json.dumps(event, ensure_ascii=False)
        return json.dumps({"Body": text}).encode() if self.get_token else text.encode()

    def _send_body(self, body: bytes) -> None:
        kind = "vnd.microsoft.servicebus.json" if self.get_token else "cloudevents-batch+json"
        headers = {"Content-Type": f"application/{kind}; charset=utf-8", "User-Agent": "fleetscore"}
        headers |= sign_body(body, self.key)
        wait = FIRST_WAIT
        for attempt in range(TRIES):
            error = self._try_sending(body, headers)
            if error is None:
                return
            problem, retry_after = error
            if problem.reason is not SinkReason.UNAVAILABLE or attempt == TRIES - 1:
                raise problem
            self.sleep(min(max(wait, retry_after), LONGEST_WAIT))
            wait *= 2

    def _try_sending(self, body: bytes, headers: Mapping[str, str]) -> tuple[SinkError, float] | None:
        """None where the body was taken; else why not, and for how many seconds the receiver wants no further one."""
        host = get_host(self.url)  # the path of such a URL is often a secret
        token = {"Authorization": f"Bearer {self.get_token()}"} if self.get_token else {}
        request = urllib.request.Request(self.url, body, {**headers, **token}, method="POST")  # noqa: S310  # checked
        try:
            call_within(TIMEOUT, host, lambda: _open(request), lambda: None)
        except urllib.error.HTTPError as error:
            with error:
                message = f"{host} answered {error.code} {clip_text(error.reason or '')}".rstrip()
                return SinkError(sort_status(error.code), message), _read_seconds(error.headers.get("Retry-After"))
        except SinkError as error:  # it took too long
            return error, 0.0
        except (OSError, ValueError, HTTPException) as error:
            return SinkError(SinkReason.UNAVAILABLE, f"{host} did not answer: {clip_text(str(error))}"), 0.0
        return None


def open_sender(url: str, key: str) -> EventSender:
    """The sender for a webhook (https://...) or an event hub (sb://NAMESPACE.servicebus.windows.net/HUB).

    Raises Misconfigured: no other host gets the token of the node.
    """
    if hub := parse_hub(url):
        host, name = hub
        identity = NodeIdentity(host)
        return EventSender(f"https://{host}/{name}/messages", "", lambda: str(identity.get_token(_AUDIENCE).token))
    if not is_web_url(url):
        raise Misconfigured(
            "EVENTS_URL: expected https://HOST/... or sb://NAMESPACE.servicebus.windows.net/HUB, "
            f"got {len(url)} characters that are none of these"
        )
    return EventSender(url, key)


def _join_entries(entries: Iterable[bytes]) -> Iterator[bytes]:
    """Bodies: lists of at most BATCH_EVENTS entries and BATCH_BYTES bytes, but for a single entry that is larger."""
    batch: list[bytes] = []
    size = 0
    for entry in entries:
        length = len(_SEPARATOR) + len(entry)  # the first has the brackets in place of a separator: as many bytes
        if batch and (len(batch) == BATCH_EVENTS or size + length > BATCH_BYTES):
            yield b"[" + _SEPARATOR.join(batch) + b"]"
            batch, size = [], 0
        batch.append(entry)
        size += length
    if batch:
        yield b"[" + _SEPARATOR.join(batch) + b"]"


def _open(request: urllib.request.Request) -> None:
    with _OPENER.open(request, timeout=TIMEOUT) as response:
        response.read(1)


def _read_seconds(text: str | None) -> float:
    """Of a Retry-After in seconds; one with a date counts as none."""
    return float(text) if text and text.isdecimal() else 0.0
