"""Supervisors of worker processes that are forked from a process with all imports, which take 2 s of CPU each time.

Nothing else differs: their environment, pipes and sandbox are those of a real start, and each has a session of its own.
`tests/scorer/sandbox` and all tests with servers start real ones.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from scorer.sandbox import pool

_LIMIT = 2**16  # bytes of a message
_PROGRAM = """
import json, os, signal, socket, sys
from scorer.sandbox import supervisor

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
supervisor._preload_libraries()
supervisor._preload_libraries = lambda: None
channel = socket.socket(fileno=int(sys.argv[1]))
while True:
    message, ends, _, _ = socket.recv_fds(channel, 2**16, 256)
    if not message:
        break
    ready, own = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        channel.close()
        os.setsid()
        os.close(ready)
        os.close(own)
        config = json.loads(message)
        received = iter(ends)
        config["pipes"] = [[next(received) for _ in pair] for pair in config["pipes"]]
        config["arenas"] = [None if arena is None else next(received) for arena in config["arenas"]]
        try:
            supervisor.main(json.dumps(config))
        finally:
            os._exit(0)
    os.close(own)
    os.read(ready, 1)  # until it has a session of its own: who kills its group would else find none, and wait for ever
    for end in (ready, *ends):
        os.close(end)
    channel.send(str(pid).encode())
"""


@dataclass(frozen=True, slots=True)
class _Forked:
    """As much of a `Popen` as the pool uses, of a process that another one waits for."""

    pid: int

    def wait(self) -> None:
        with suppress(ProcessLookupError):
            end = os.pidfd_open(self.pid)
            select.select([end], [], [])
            os.close(end)


class PreparedSupervisors:
    """Takes the place of the pool's function that starts a process; prepares one at the first call."""

    def __init__(self) -> None:
        self.spawn_real = pool._spawn_supervisor
        self._environment: Mapping[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def spawn(self, config: Mapping[str, object], ends: Sequence[int]) -> subprocess.Popen[bytes] | _Forked:
        """As `_spawn_supervisor`, which is called where the environment is another one."""
        environment = pool._build_environment()
        if self._channel is None:
            self._environment = environment
            self._channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, str(other.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                env=environment,
                start_new_session=True,
            )
            other.close()
        if environment != self._environment:
            return self.spawn_real(config, ends)
        socket.send_fds(self._channel, [json.dumps(config).encode()], list(ends))
        return _Forked(int(self._channel.recv(_LIMIT)))

    def close(self) -> None:
        """End the process."""
        if self._channel is not None and self._process is not None:
            self._channel.close()
            self._process.wait()
