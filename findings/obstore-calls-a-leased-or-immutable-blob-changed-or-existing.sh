#!/usr/bin/env bash
# What is done: a blob is replaced by obstore on the condition that it has still its etag, as
#   one does to rewrite a file in place. The service answers as Azure Blob Storage does where
#   the blob is leased (412 LeaseIdMissing) or immutable (409 BlobImmutableDueToPolicy, with
#   the messages of its documents), and where it was changed (412 ConditionNotMet).
# Packages: obstore 0.12.1
# A good guess: PreconditionError means that somebody changed the blob, AlreadyExistsError
#   that a blob that was to be created exists; another refusal has another class.
# What is seen: a lease is a PreconditionError too, and a policy an AlreadyExistsError, though
#   nothing was to be created. Only the text of the error holds the code of the service.
# Output seen:
#   ConditionNotMet PreconditionError
#   LeaseIdMissing PreconditionError
#   BlobImmutableDueToPolicy AlreadyExistsError
# Why it matters: a program that rewrites a year of predictions takes a protected file for one
#   that another writer replaced, and reports it so; or says that a file exists.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q --disable-pip-version-check obstore==0.12.1
"$tmp/v/bin/python" - <<'P'
import importlib.metadata
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import obstore
from obstore.store import AzureStore

ANSWERS = {"ConditionNotMet": 412, "LeaseIdMissing": 412, "BlobImmutableDueToPolicy": 409}
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Service(BaseHTTPRequestHandler):
    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        code = self.path.rpartition("/")[2]
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>No.</Message></Error>".encode()
        self.send_response(ANSWERS[code])
        self.send_header("x-ms-error-code", code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
threading.Thread(target=server.serve_forever, daemon=True).start()
store = AzureStore(
    "predictions", account_name="devstoreaccount1", account_key=KEY, client_options={"allow_http": True},
    endpoint=f"http://127.0.0.1:{server.server_port}/devstoreaccount1",
)
print("obstore", importlib.metadata.version("obstore"))
seen = {}
for code in ANSWERS:
    try:
        obstore.put(store, code, b"new", mode={"e_tag": '"0x8DE"'}, use_multipart=False)
    except Exception as error:
        assert code in str(error), error
        seen[code] = type(error).__name__
    print(code, seen.get(code))
expected = {"ConditionNotMet": "PreconditionError", "LeaseIdMissing": "PreconditionError"}
sys.exit(seen != {**expected, "BlobImmutableDueToPolicy": "AlreadyExistsError"})
P
