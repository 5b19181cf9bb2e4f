"""Azurite, the stand-in for Azure Storage: installed once from its lock file, started and stopped as a process.

Used by the tests' fixtures and by the local stack. It knows nothing of runs, and keeps no state but the process.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from shared.contract.errors import Misconfigured, Unavailable

from . import npm
from .processes import DIE_WITH_PARENT

HOST = "127.0.0.1"
ACCOUNT = "devstoreaccount1"
# Azurite's own, the same on every machine and printed in its documentation.
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

LOCK = Path(__file__).parent / "azurite" / "package-lock.json"
START_LIMIT = 60  # seconds; three are usual
_LISTENING = re.compile(r"Azurite (Blob|Queue|Table) service is successfully listening at (\S+)")


@dataclass(frozen=True, slots=True)
class Azurite:
    """A running Azurite: its endpoints and its log."""

    blob_endpoint: str
    queue_endpoint: str
    table_endpoint: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def connection_string(self) -> str:
        """For any storage SDK."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
            f"BlobEndpoint={self.blob_endpoint};QueueEndpoint={self.queue_endpoint};TableEndpoint={self.table_endpoint};"
        )

    def stop(self) -> None:
        """End it, and return when it has ended. Safe when it has already ended."""
        self.process.terminate()  # it then writes its memory to disk
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.unlink(missing_ok=True)


def start(
    folder: Path | None = None,
    *,
    blob_port: int = 0,
    queue_port: int = 0,
    table_port: int = 0,
    die_with_parent: bool = False,
) -> Azurite:
    """Start Azurite, and return when it answers. A port of 0 is a free one; without *folder* all is kept in memory.

    Installs it on the first call. With *die_with_parent* it is killed when the calling thread ends (on Linux). Raises
    Misconfigured if a port is in use or Node.js is missing, Unavailable if it does not start.
    """
    ports = {"blob": blob_port, "queue": queue_port, "table": table_port}
    for service, port in ports.items():
        _refuse_taken(service, port)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    keep = ["--location", str(folder)] if folder else ["--inMemoryPersistence"]
    options = ["--silent", "--skipApiVersionCheck", "--disableTelemetry", *keep]
    options += [text for service, port in ports.items() for text in (f"--{service}Port", str(port))]
    node, _ = npm.find_node()
    command = [node, str(install()), *options]
    handle, name = tempfile.mkstemp(prefix="azurite-", suffix=".log")
    with os.fdopen(handle, "wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,  # Ctrl-C is handled by the caller, in order
            preexec_fn=DIE_WITH_PARENT if die_with_parent else None,  # noqa: PLW1509  # one system call
        )
    return _wait(process, Path(name))


def install() -> Path:
    """Azurite's script, installed from the lock file where it is not yet; raises Misconfigured."""
    return npm.install(LOCK) / "azurite" / "dist" / "src" / "azurite.js"


def _refuse_taken(service: str, port: int) -> None:
    with socket.socket() as probe:
        if port and probe.connect_ex((HOST, port)) == 0:
            raise Misconfigured(
                f"expected port {port} of {HOST} for Azurite's {service} service, got another process listening there; "
                "stop that one or choose another port"
            )


def _wait(process: subprocess.Popen[bytes], log: Path) -> Azurite:
    """The running Azurite, once all its services listen."""
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline and process.poll() is None:
        services = dict(_LISTENING.findall(log.read_text(errors="replace")))
        if len(services) == 3:  # noqa: PLR2004  # blob, queue, table
            blob, queue, table = (f"{services[service]}/{ACCOUNT}" for service in ("Blob", "Queue", "Table"))
            return Azurite(blob, queue, table, process, log)
        time.sleep(0.05)
    output = log.read_text(errors="replace")[-1000:].strip()
    ending = "silence" if process.poll() is None else f"exit code {process.returncode}"
    process.kill()
    process.wait()
    log.unlink()
    raise Unavailable(
        f"expected Azurite to listen within {START_LIMIT} s, got {ending}; its output: {output or 'nothing'}"
    )
