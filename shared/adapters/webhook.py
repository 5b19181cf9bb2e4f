"""Sends notifications to a URL, as CloudEvents 1.0 in JSON, or as a text that chats show. Standard library only."""

from __future__ import annotations

import json
import queue
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from shared.contract.errors import Malformed, Unavailable
from shared.contract.publishing.cloud_events import make_event
from shared.contract.publishing.deliveries import sign_body, sort_status
from shared.contract.publishing.sinks import SinkReason
from shared.contract.publishing.urls import get_host
from shared.contract.text import clip_text
from shared.state.notices import Notice

TIMEOUT = 5.0  # seconds of all of it: a tick must go on


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would repeat a POST as a GET, without its body."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


@dataclass(frozen=True, slots=True)
class Webhook:
    """*key*: by which the body is signed (HMAC-SHA-256, in hex); "" for none. *app*: names this app to the receiver."""

    url: str
    app: str
    key: str = ""
    as_text: bool = False  # {"text": ...}, as the incoming webhooks of Slack, Mattermost and Teams take it

    def send(self, notice: Notice) -> None:
        """See Notifier."""
        body = json.dumps(self._make_body(notice), ensure_ascii=False).encode()
        kind = "application/json" if self.as_text else "application/cloudevents+json"
        headers = {"Content-Type": f"{kind}; charset=utf-8", "User-Agent": "fleetscore"}
        headers |= sign_body(body, self.key)
        request = urllib.request.Request(self.url, body, headers, method="POST")  # noqa: S310  # settings check the URL
        host = get_host(self.url)  # the path of such a URL is often a secret
        outcomes: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        threading.Thread(target=_post, args=(request, host, outcomes), daemon=True).start()
        try:
            error = outcomes.get(timeout=TIMEOUT)
        except queue.Empty:
            raise Unavailable(f"{host} did not answer: timed out after {TIMEOUT:g} s") from None
        if error:
            raise error

    def _make_body(self, notice: Notice) -> dict[str, Any]:
        if self.as_text:
            return {"text": notice.text}
        return make_event(self.app, notice.id, str(notice.kind), notice.subject, notice.at, {"text": notice.text})


def _post(request: urllib.request.Request, host: str, outcomes: queue.SimpleQueue[Exception | None]) -> None:
    """In a thread of its own: the time limit of a socket begins again with each byte that a server sends.

    A thread that is given up ends with its connection, and keeps no process alive.
    """
    try:
        outcomes.put(_try_sending(request, host))
    except Exception as error:  # noqa: BLE001  # it is raised again by the caller
        outcomes.put(error)


def _try_sending(request: urllib.request.Request, host: str) -> Malformed | Unavailable | None:
    """None where the receiver took it; else why not."""
    try:
        with _OPENER.open(request, timeout=TIMEOUT) as response:
            response.read(1)
    except urllib.error.HTTPError as error:
        with error:
            message = f"{host} answered {error.code} {clip_text(error.reason or '')}".rstrip()
        may_pass = sort_status(error.code) is SinkReason.UNAVAILABLE
        return (Unavailable if may_pass else Malformed)(message)
    except (OSError, ValueError, HTTPException) as error:
        return Unavailable(f"{host} did not answer: {clip_text(str(error))}")
    return None
