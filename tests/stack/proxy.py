"""A proxy between a client and a plain HTTP server, with weather: it delays, drops, and says that it is busy.

What a request meets is dealt from a shuffled deck of cards: so a seed fixes the order, and each fault comes again and
again. It knows of Azure Storage only how "busy" is written there.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from enum import StrEnum
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})  # said anew for each connection
BUSY_XML = '<?xml version="1.0" encoding="utf-8"?><Error><Code>ServerBusy</Code><Message>Not now.</Message></Error>'
# Azure writes the request's id and time behind the message.
REFUSAL_XML = """<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{message}
RequestId:0a1b2c3d-0000-0000-0000-00000000000f
Time:2026-11-21T12:05:00.0000000Z</Message></Error>"""
BUSY_JSON = '{"odata.error":{"code":"ServerBusy","message":{"lang":"en-US","value":"Not now."}}}'


class Fault(StrEnum):
    """What may become of a request."""

    NONE = "none"
    DELAYED = "delayed"  # forwarded after a moment
    DROPPED = "dropped"  # the connection is closed; nobody hears of the request
    LOST = "lost"  # it takes effect, and the connection is closed instead of an answer
    LATE = "late"  # the connection is closed, and a moment later it takes effect
    CUT = "cut"  # it takes effect, and half of the answer comes
    BUSY = "busy"  # 503; nothing takes effect
    BUSY_UNTIL = "busy_until"  # the same, with a Retry-After


@dataclass(slots=True)
class Weather:
    """A deck of faults, shuffled by the seed and dealt card by card; when it is used up it is shuffled again."""

    deck: Mapping[Fault, int]  # how many cards of each
    seed: int
    spared: str = ""  # requests whose User-Agent begins so meet no weather; "": there are none
    moment: float = 0.3  # seconds: long beside a call, short beside anybody's patience
    retry_after: int = 20  # seconds
    dealt: Counter[Fault] = field(default_factory=Counter)
    _cards: list[Fault] = field(default_factory=list)
    _rng: random.Random = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)

    def deal(self, user_agent: str) -> Fault:
        """The fault of the next request."""
        if self.spared and user_agent.startswith(self.spared):
            return Fault.NONE
        with self._lock:
            if not self._cards:
                self._cards = list(Counter(self.deck).elements())
                self._rng.shuffle(self._cards)
            fault = self._cards.pop()
            self.dealt[fault] += 1
            return fault


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer in the place of the server's, in the XML of Azure Storage."""

    status: int
    code: str
    message: str


# Method, path with query, and headers of a request -> why it is refused; None: it is forwarded.
Guard = Callable[[str, str, Message], Refusal | None]
# Method and path of a request -> a fault that it is aimed at; NONE: it meets the weather.
Aim = Callable[[str, str], Fault]


@contextmanager
def proxy(
    server: tuple[str, int],
    weather: Weather,
    guard: Guard = lambda *_: None,
    aim: Aim = lambda *_: Fault.NONE,
) -> Iterator[int]:
    """Run a proxy before *server*; yields its port on 127.0.0.1."""
    bound = {"server_address": server, "weather": weather, "guard": staticmethod(guard), "aim": staticmethod(aim)}
    handler = type("Bound", (Handler,), bound)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield listening.server_port
        finally:
            listening.shutdown()
            thread.join()


class Handler(BaseHTTPRequestHandler):
    """One connection of a client. Each request travels on a connection of its own."""

    server_address: tuple[str, int]
    weather: Weather
    guard: Guard
    aim: Aim
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave in one packet

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def handle(self) -> None:
        """Serve the connection until one of the two sides goes, which is no news here."""
        with suppress(ConnectionError):
            super().handle()

    def meet(self) -> None:
        """Let one request meet what is dealt for it."""
        fault = self.aim(self.command, self.path)
        if fault is Fault.NONE:
            fault = self.weather.deal(self.headers.get("User-Agent", ""))
        if fault is Fault.DROPPED:
            self.close_connection = True
            return
        if "Transfer-Encoding" in self.headers:
            self.send_error(411)  # no client of ours sends a body of unknown length
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if refusal := self.guard(self.command, self.path, self.headers):
            self._answer_refusal(refusal)
            return
        match fault:
            case Fault.BUSY | Fault.BUSY_UNTIL:
                self._refuse(fault)
            case Fault.LATE:
                self._hang_up()
                time.sleep(self.weather.moment)
                self._forward(body)
            case Fault.LOST:
                self._forward(body)
                self._hang_up()
            case _:
                time.sleep(self.weather.moment if fault is Fault.DELAYED else 0)
                self._answer(*self._forward(body), cut=fault is Fault.CUT)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = do_MERGE = meet  # noqa: N815  # http.server's names

    def _forward(self, body: bytes) -> tuple[int, Message, bytes]:
        """The server's answer to the request as it came: the path and the headers are what the client has signed."""
        with closing(HTTPConnection(*self.server_address, timeout=30)) as connection:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, text in self.headers.items():
                if name.lower() != "connection":
                    connection.putheader(name, text)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def _answer(self, status: int, headers: Message, body: bytes, *, cut: bool = False) -> None:
        told = headers["Content-Length"] if self.command == "HEAD" else str(len(body))
        if cut and not body:
            return self._hang_up()
        self.send_response_only(status)
        for name, text in headers.items():
            if name.lower() not in HOP:
                self.send_header(name, text)
        if told is not None and status not in (204, 304):
            self.send_header("Content-Length", told)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut
        return None

    def _refuse(self, fault: Fault) -> None:
        """As Azure Storage says it: in JSON for tables, else in XML."""
        tables = "DataServiceVersion" in self.headers
        headers = Message()
        headers["x-ms-error-code"] = "ServerBusy"
        headers["Content-Type"] = f"application/{'json' if tables else 'xml'}"
        if fault is Fault.BUSY_UNTIL:
            headers["Retry-After"] = str(self.weather.retry_after)
        self._answer(503, headers, b"" if self.command == "HEAD" else (BUSY_JSON if tables else BUSY_XML).encode())

    def _answer_refusal(self, refusal: Refusal) -> None:
        headers = Message()
        headers["x-ms-error-code"] = refusal.code
        headers["Content-Type"] = "application/xml"
        body = REFUSAL_XML.format(code=refusal.code, message=refusal.message)
        self._answer(refusal.status, headers, b"" if self.command == "HEAD" else body.encode())

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):  # the client may have been quicker
            self.connection.shutdown(2)
