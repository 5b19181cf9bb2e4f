"""The servers of the local stack, as processes of their own: Azurite, the Dask cluster, the development host.

The settings name their addresses. A server that already runs is used, and not stopped at the end. Started servers end
with this process: in reverse order, or by the kernel (on Linux) when it is killed.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from shared.adapters.dask_cluster import DaskCluster
from shared.config.fields import Settings
from shared.contract.errors import Misconfigured, Unavailable

from . import azurite, dask, web
from .processes import DIE_WITH_PARENT

HOME = Path(__file__).parents[1]
HOST_LIMIT = 60  # seconds for the development host to answer; two are usual
STOP_LIMIT = 10
AZURITE_PORTS = {"blob": 10000, "queue": 10001, "table": 10002}  # those of UseDevelopmentStorage=true


@dataclass(frozen=True, slots=True)
class Server:
    """One part of the stack. *process* is None if it was already running."""

    name: str
    at: str
    process: subprocess.Popen[bytes] | subprocess.Popen[str] | None = None
    log: Path | None = None

    @property
    def ended(self) -> bool:
        """Whether it was started here and has ended."""
        return self.process is not None and self.process.poll() is not None

    def __str__(self) -> str:
        return self.at if self.process else f"{self.at}, already running; not stopped at the end"


@contextmanager
def services(settings: Settings, folder: Path) -> Iterator[Sequence[Server]]:
    """Azurite and Dask, at the addresses of the settings, with their data in *folder*.

    Raises Misconfigured for a setting that points off this machine and for a port in use, and Unavailable.
    """
    with ExitStack() as stack:
        yield [_azurite(settings.storage, folder / "azurite", stack), _dask(settings, folder / "dask", stack)]


@contextmanager
def host(port: int, settings_file: Path, folder: Path) -> Iterator[Server]:
    """The development host with the function app; its log goes to *folder*. Raises Misconfigured, Unavailable."""
    url = f"http://127.0.0.1:{port}"
    if _listens(port):
        _check_host(url, port)
        yield Server("host", url)
        return
    log = folder / "host.log"
    command = [sys.executable, "-m", "local.host", "--port", str(port), "--settings", str(settings_file.resolve())]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=HOME,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is handled here, so that it ends before the servers that it needs
            preexec_fn=DIE_WITH_PARENT,  # noqa: PLW1509  # one system call, before exec
        )
    try:
        _wait_for_host(process, url, log)
        yield Server("host", url, process, log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def check(servers: Sequence[Server]) -> None:
    """Check that all started servers still run; raises Unavailable."""
    for server in servers:
        if server.process and server.ended:
            suffix = f"; its log: {server.log}" if server.log else ""
            raise Unavailable(f"{server.name} at {server.at} has ended with {server.process.returncode}{suffix}")


def _azurite(storage: str, folder: Path, stack: ExitStack) -> Server:
    ports = _azurite_ports(storage)
    at = f"127.0.0.1, ports {', '.join(str(port) for port in ports.values())}"
    if all(_listens(port) for port in ports.values()) and _is_azurite(ports["blob"]):
        return Server("Azurite", at)
    folder.mkdir(parents=True, exist_ok=True)
    blob, queue, table = ports.values()
    server = azurite.start(folder, blob_port=blob, queue_port=queue, table_port=table, die_with_parent=True)
    stack.callback(server.stop)
    return Server("Azurite", f"{at}; its data in {folder}", server.process, server.log)


def _azurite_ports(storage: str) -> dict[str, int]:
    if storage.strip().rstrip(";").lower() == "usedevelopmentstorage=true":
        return AZURITE_PORTS
    endpoints = re.findall(r"(Blob|Queue|Table)Endpoint=http://127\.0\.0\.1:(\d+)/devstoreaccount1", storage)
    ports = {service.lower(): int(port) for service, port in endpoints}
    if set(ports) != set(AZURITE_PORTS):
        raise Misconfigured(
            "STORAGE: expected UseDevelopmentStorage=true for the local stack, or the connection string of an Azurite "
            "on 127.0.0.1 with its three endpoints, got another account; the demo uses only this machine"
        )
    return {service: ports[service] for service in AZURITE_PORTS}


def _is_azurite(port: int) -> bool:
    with suppress(OSError):
        return web.get(f"http://127.0.0.1:{port}/").server.startswith("Azurite")
    return False


def _dask(settings: Settings, folder: Path, stack: ExitStack) -> Server:
    address = settings.dask_scheduler
    match = re.fullmatch(r"tcp://(?:127\.0\.0\.1|localhost):(\d+)", address)
    if match is None or _listens(int(match[1])):
        try:
            DaskCluster(address).observe([])
        except Unavailable as error:
            raise Misconfigured(
                f"expected a Dask scheduler at {address}, got something else there, or nothing: stop it, or choose "
                f"another port by DASK_SCHEDULER ({error})"
            ) from error
        return Server("Dask", address)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.with_suffix(".log")
    cluster = dask.start(folder, int(match[1]), log=log)  # Dask logs warnings of workers that close as they should
    stack.callback(cluster.stop)
    return Server("Dask", f"{cluster.address}, none to {os.cpu_count()} workers", cluster.process, log)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _check_host(url: str, port: int) -> None:
    with suppress(OSError, ValueError):
        if "ticked_at" in web.get(f"{url}/api/health").json:
            return
    raise Misconfigured(
        f"expected port {port} of 127.0.0.1 for the development host, got another process listening there; stop that "
        "one, or choose another port, as in make demo PORT=7072"
    )


def _wait_for_host(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + HOST_LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError):
            if web.get(f"{url}/admin/host/status").status == HTTPStatus.OK:
                return
        time.sleep(0.1)
    output = log.read_text(errors="replace")[-2000:].strip() or "nothing"
    if process.poll() == 2:  # noqa: PLR2004  # its exit code for what a person must change
        raise Misconfigured(output)
    ending = "silence" if process.poll() is None else f"exit code {process.returncode}"
    raise Unavailable(
        f"expected the development host at {url} within {HOST_LIMIT} s, got {ending}; its output: {output}"
    )
