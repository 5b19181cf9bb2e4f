"""`python -m bench.listing MODELS`: a container over HTTP that lists so many models, made up as they are asked for.

It answers as Blob Storage does what planning asks: List Blobs in pages of 5,000 with the elements and in the order that
the service's documentation shows, Put Blob (whose content it drops, but for plans) and Get Blob. It keeps no disk busy
and checks no signature. Prints its port, and serves until it is killed.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from .fleet import blob

PAGE = 5_000  # the most that Blob Storage gives in one answer
DATE = "Sat, 21 Nov 2026 06:00:00 GMT"
_PLANS: dict[str, bytes] = {}
_BLOB = (
    "<Blob><Name>{}</Name><Properties>"
    f"<Creation-Time>{DATE}</Creation-Time><Last-Modified>{DATE}</Last-Modified><Etag>{{}}</Etag>"
    "<Content-Length>{}</Content-Length><Content-Type>application/octet-stream</Content-Type><Content-Encoding />"
    "<Content-Language /><Content-CRC64 /><Content-MD5>1B2M2Y8AsgTpgAmY7PhCfg==</Content-MD5><Cache-Control />"
    "<Content-Disposition /><BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier>"
    "<AccessTierInferred>true</AccessTierInferred><LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>"
    "<ServerEncrypted>true</ServerEncrypted></Properties><OrMetadata /></Blob>"
)


def write_page(models: int, marker: int, limit: int) -> bytes:
    """One answer of a listing, from model number *marker* on."""
    end = min(models, marker + min(limit, PAGE))
    blobs = "".join(_BLOB.format(b.name, b.etag, b.size) for b in map(blob, range(marker, end)))
    more = f"<NextMarker>{end}</NextMarker>" if end < models else "<NextMarker />"
    head = '<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="models">'
    return f"{head}<MaxResults>{limit}</MaxResults><Blobs>{blobs}</Blobs>{more}</EnumerationResults>".encode()


class _Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    models = 0

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if query.get("comp") == ["list"]:
            body = write_page(self.models, int(query.get("marker", ["0"])[0]), int(query.get("maxresults", [PAGE])[0]))
            self._answer(200, body, {"Content-Type": "application/xml"})
        elif path in _PLANS:
            size = len(_PLANS[path])
            self._answer(206, _PLANS[path], {"Content-Range": f"bytes 0-{size - 1}/{size}"})
        else:
            self._answer(404, b"", {"x-ms-error-code": "BlobNotFound"})

    def do_PUT(self) -> None:
        path, remaining = urlsplit(self.path).path, int(self.headers["Content-Length"])
        plan = b""
        while remaining:
            data = self.rfile.read(min(remaining, 1_000_000))
            remaining -= len(data)
            plan = plan + data if path.endswith("plan.json") else b""
        if plan:
            _PLANS[path] = plan
        self._answer(201, b"", {})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        always = {"Content-Length": str(len(body)), "ETag": '"0x8DE28E8D3F2A6C1"', "Last-Modified": DATE}
        for name, value in {**always, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: a line for each request would be noise."""


def main() -> None:
    """Serve."""
    _Service.models = int(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Service)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
