"""Sends CloudEvents in batches: to a URL, or to Azure Event Hubs by its REST interface.

That interface and not the library of Event Hubs: the library speaks AMQP, whose ports firewalls often close, and which
nothing but the service itself answers. https://learn.microsoft.com/rest/api/eventhub/send-batch-events
"""

from __future__ import annotations

import functools
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from shared.contract.errors import Misconfigured
from shared.contract.publishing.deliveries import sign_body, sort_status
from shared.contract.publishing.sinks import SinkReason
from shared.contract.publishing.urls import is_web_url, parse_hub
from shared.contract.text import clip_text

from .base import SinkError
from .deadline import call_within

TIMEOUT = 30.0  # seconds of one request, all of it
TRIES = 5
FIRST_WAIT = 1.0  # seconds; doubles with each try
LONGEST_WAIT = 30.0  # even if the receiver asks for more
BATCH_EVENTS, BATCH_BYTES = 100, 200_000  # Event Hubs takes 256 KB in its basic tier
_AUDIENCE = "https://eventhubs.azure.net/.default"


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
        for batch in _split_into_batches(events):
            self._send_batch(batch)

    def _send_batch(self, batch: Sequence[Mapping[str, Any]]) -> None:
        if self.get_token:
            entries = [{"Body": json.dumps(event, ensure_ascii=False)} for event in batch]
            body, kind = json.dumps(entries).encode(), "application/vnd.microsoft.servicebus.json"
        else:
            body, kind = json.dumps(list(batch), ensure_ascii=False).encode(), "application/cloudevents-batch+json"
        headers = {"Content-Type": f"{kind}; charset=utf-8", "User-Agent": "fleetscore"}
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
        """None where the batch was taken; else why not, and for how many seconds the receiver wants no further one."""
        host = urlsplit(self.url).netloc.rpartition("@")[2]  # the path of such a URL is often a secret
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
        return EventSender(f"https://{host}/{name}/messages", "", functools.partial(_get_token, _make_identity()))
    if not is_web_url(url):
        raise Misconfigured(
            "EVENTS_URL: expected https://HOST/... or sb://NAMESPACE.servicebus.windows.net/HUB, "
            f"got {len(url)} characters that are none of these"
        )
    return EventSender(url, key)


def _make_identity() -> Any:
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()


def _get_token(identity: Any) -> str:
    """A token, which the identity keeps until it ends."""
    from azure.core.exceptions import ClientAuthenticationError

    try:
        return str(identity.get_token(_AUDIENCE).token)
    except ClientAuthenticationError as error:
        raise SinkError(SinkReason.DENIED, f"no token for Event Hubs: {clip_text(str(error))}") from error


def _split_into_batches(events: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
    batch: list[Mapping[str, Any]] = []
    size = 0
    for event in events:
        length = 2 * len(json.dumps(event)) + 20  # as a text within JSON
        if batch and (len(batch) == BATCH_EVENTS or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += length
    if batch:
        yield batch


def _open(request: urllib.request.Request) -> None:
    with _OPENER.open(request, timeout=TIMEOUT) as response:
        response.read(1)


def _read_seconds(text: str | None) -> float:
    """Of a Retry-After in seconds; one with a date counts as none."""
    return float(text) if text and text.isdecimal() else 0.0
