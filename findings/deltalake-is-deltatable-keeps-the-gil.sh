#!/usr/bin/env bash
# What is done: a process asks a storage account for a Delta table by DeltaTable.is_deltatable and by DeltaTable(...),
#   while another thread of it counts, a hundred times a second. The account accepts connections and answers after its
#   time limit only, as one that is overloaded; the limit of the request is 3 s.
# Package: deltalake 1.6.6
# A good guess: a call that waits for the network lets the other threads of the process run, as DeltaTable(...) does.
# What is seen: during is_deltatable no other thread runs. They stand for as long as the storage account takes, which
#   with the package's own limits is up to three minutes.
# Output seen:
#   is_deltatable: OSError after 3.0 s, the other thread counted to 1
#   DeltaTable:    OSError after 3.0 s, the other thread counted to 290
# Why it matters: it is the usual question before a table is created or appended to. A node that renews a lease, sends a
#   heartbeat or holds a time limit by a thread does none of it meanwhile, and is taken for dead.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q --disable-pip-version-check deltalake==1.6.6
cd "$tmp"
"$tmp/v/bin/python" - <<'P'
import base64
import subprocess
import sys
import threading
import time
from importlib.metadata import version

from deltalake import DeltaTable

print("deltalake", version("deltalake"))
listener = """
import socket, time
server = socket.create_server(("127.0.0.1", 0), backlog=50)
print(server.getsockname()[1], flush=True)
time.sleep(60)
"""
server = subprocess.Popen([sys.executable, "-c", listener], stdout=subprocess.PIPE, text=True)
port = server.stdout.readline().strip()
options = {
    "azure_storage_account_name": "account",
    "azure_storage_account_key": base64.b64encode(b"a key").decode(),
    "azure_storage_endpoint": f"http://127.0.0.1:{port}/account",
    "azure_allow_http": "true",
    "timeout": "3s",
    "max_retries": "0",
}
counts = {"n": 0}


def count():
    while True:
        counts["n"] += 1
        time.sleep(0.01)


threading.Thread(target=count, daemon=True).start()
calls = {
    "is_deltatable": lambda: DeltaTable.is_deltatable("az://tables/t", options),
    "DeltaTable": lambda: DeltaTable("az://tables/t", storage_options=options),
}
seen = {}
for name, call in calls.items():
    start, counts["n"] = time.monotonic(), 0
    try:
        call()
        outcome = "no error"
    except Exception as error:
        outcome = type(error).__name__
    seen[name] = counts["n"]
    print(f"{name}: {outcome} after {time.monotonic() - start:.1f} s, the other thread counted to {seen[name]}")
server.kill()
still = seen["is_deltatable"] < 10 < 50 < seen["DeltaTable"]
print("surprise still there" if still else "behaviour changed")
sys.exit(0 if still else 1)
P
