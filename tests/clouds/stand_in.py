"""A stand-in for a service of Azure's: real HTTP or HTTPS on a free port of this machine, and faults on order.

What is answered is the business of the function that it is given. Nothing here knows any service but the token
endpoint of App Service's managed identity, which every stand-in needs.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Request:
    """What came. `headers` have their names in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    @cached_property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: a body of bytes as it is, of None as nothing, and any other as JSON."""

    status: int = 200
    body: object | bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0  # seconds until the first byte

    @property
    def data(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return b"" if self.body is None else json.dumps(self.body).encode()


@dataclass(slots=True)
class Fault:
    """Instead of what is right, the next so many *times* that *when* holds. *answer* None closes the connection.

    *after*: the request takes effect first, and only then the answer is lost or another.
    """

    when: Callable[[Request], bool]
    answer: Answer | None = None
    after: bool = False
    times: int = 1


class StandIn:
    """A server that answers by a function, and keeps what came. Ends with `close`, or at the end of a `with`."""

    def __init__(self, answer: Callable[[Request], Answer], authority: Path | None = None) -> None:
        """*authority*: speak https, by a certificate that is its own authority and that is written there."""
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self._answer, self._lock = answer, threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        scheme = "http"
        if authority:
            scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(_certificate(authority))
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Also breaks off what is being answered."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def respond(self, request: Request) -> Answer | None:
        """What goes back to this request; None: nothing, and the connection is closed."""
        with self._lock:
            self.requests.append(request)
            fault = next((fault for fault in self.faults if fault.times > 0 and fault.when(request)), None)
            if fault:
                fault.times -= 1
        if fault is None:
            return self._answer(request)
        if fault.after:
            self._answer(request)
        return fault.answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        self.open: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        for connection in list(self.open):
            self.shutdown_request(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nothing to print about: the test says what it expected."""


def _handler(stand_in: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (OSError, ValueError):
                self.close_connection = True

        def _any(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = dict(parse_qsl(url.query, keep_blank_values=True))
            answer = stand_in.respond(Request(self.command, url.path, query, headers, body))
            if answer is None:
                self.close_connection = True
                return
            time.sleep(answer.delay)
            self.send_response_only(answer.status)  # without a Date of its own: a test may tell another
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.data)
            self.wfile.flush()

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_HEAD = _any  # noqa: N815  # names of the library's

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's signature
            """Nothing: `requests` tells it."""

    return Handler


def _certificate(path: Path) -> Path:
    """Write key and certificate for this machine, and return where; a client takes the same file as its authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in")])
    now = datetime.now(UTC)
    here = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(here), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return path


@dataclass(slots=True)
class Identity:
    """The token endpoint of a managed identity, as App Service offers it (the protocol of 2019-08-01).

    https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
    """

    lifetime: float = 86_400  # seconds that the next tokens are good for
    secret: str = "the secret of this endpoint"
    refusal: Answer | None = None  # what everyone gets instead of a token
    server: StandIn = field(init=False)
    _ends: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.server = StandIn(self._answer)

    @property
    def environment(self) -> Mapping[str, str]:
        """By which azure-identity finds it."""
        return {"IDENTITY_ENDPOINT": f"{self.server.url}/msi/token", "IDENTITY_HEADER": self.secret}

    @property
    def issued(self) -> int:
        """How many tokens."""
        return len(self._ends)

    def knows(self, request: Request) -> bool:
        """Whether a request to a service carries one of its tokens, and that has not expired."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        return self._ends.get(token, 0) > time.time()

    def expire(self) -> None:
        """Let every token that was issued be past its time, whatever its holder was told."""
        self._ends.update(dict.fromkeys(self._ends, 0.0))

    def _answer(self, request: Request) -> Answer:
        if self.refusal:
            return self.refusal
        if request.headers.get("x-identity-header") != self.secret or "resource" not in request.query:
            return Answer(400, {"statusCode": 400, "message": "the header or the resource is wrong"})
        token, ends = f"token-{len(self._ends)}-for-{request.query['resource']}", time.time() + self.lifetime
        self._ends[token] = ends
        told = {"access_token": token, "expires_on": str(int(ends)), "resource": request.query["resource"]}
        return Answer(body={**told, "token_type": "Bearer", "client_id": request.query.get("client_id", "")})
