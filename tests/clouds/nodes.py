"""The nodes behind a stand-in: run command lines as processes of this machine, and take nodes away. Knows no cloud."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[2]  # where `python -m scorer` finds itself, as it does in the image


@dataclass(frozen=True, slots=True)
class NodeJob:
    """How a job stands."""

    state: Literal["waiting", "running", "ended"]
    code: int | None  # once it has ended; None when it never began
    output: Path  # of both streams, and of its last start; there is no file before it begins
    killed: bool  # it was stopped, or took too long
    starts: int


@dataclass(slots=True)
class _Job:
    command_line: str
    environment: Mapping[str, str]
    timeout: float
    output: Path
    state: Literal["waiting", "running", "ended"] = "waiting"
    code: int | None = None
    killed: bool = False
    preempted: bool = False
    starts: int = 0
    process: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        """End its process and whatever that has started."""
        if self.process:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)


class LocalNodes:
    """So many *slots*, each of which runs a job at a time, in the order in which they were added."""

    def __init__(self, folder: Path, slots: int = 2, environment: Mapping[str, str] | None = None) -> None:
        """*environment* is what every job gets besides its own, and besides that of this process."""
        self.slots = slots
        self._folder = folder
        self._environment = {**os.environ, **(environment or {}), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
        self._jobs: dict[str, _Job] = {}
        self._waiting: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        _write_python(folder / "bin" / "python")
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(slots)]
        for thread in self._threads:
            thread.start()

    def add(self, name: str, command_line: str, environment: Mapping[str, str], timeout: float) -> None:
        """Queue a job, to be run by `sh -c` for at most *timeout* seconds. A name is used once."""
        with self._changed:
            if name in self._jobs:
                raise ValueError(f"job {name} was added before")
            output = self._folder / f"{len(self._jobs)}.txt"
            self._jobs[name] = _Job(command_line, environment, timeout, output)
            self._waiting.append(self._jobs[name])
            self._changed.notify()

    def look(self, name: str) -> NodeJob:
        """How it stands now. Raises KeyError."""
        with self._changed:
            job = self._jobs[name]
            return NodeJob(job.state, job.code, job.output, job.killed, job.starts)

    @property
    def running(self) -> int:
        """How many jobs run now."""
        with self._changed:
            return sum(job.state == "running" for job in self._jobs.values())

    def stop(self, name: str) -> None:
        """End a job. Safe when it is over."""
        with self._changed:
            job = self._jobs[name]
            if job.state == "ended":
                return
            job.killed, job.preempted = True, False
            if job.state == "waiting":
                self._waiting.remove(job)
                job.state = "ended"
            job.kill()

    def preempt(self, name: str) -> None:
        """Take its node away: what runs is killed, and waits for another node. Safe on what does not run."""
        with self._changed:
            job = self._jobs[name]
            if job.state == "running" and not job.killed:
                job.preempted = True
                job.kill()

    def close(self) -> None:
        """End everything."""
        with self._changed:
            self._closed = True
            for job in self._jobs.values():
                if job.state == "running":
                    job.killed, job.preempted = True, False
                    job.kill()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while job := self._begin():
            assert job.process
            late = False
            try:
                job.process.wait(job.timeout)
            except subprocess.TimeoutExpired:
                late = True
            job.kill()  # also what the command has left behind
            job.process.wait()
            self._finish(job, late)

    def _begin(self) -> _Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting)
            if self._closed:
                return None
            job = self._waiting.popleft()
            with job.output.open("wb") as output:
                job.process = subprocess.Popen(
                    ["sh", "-c", job.command_line],
                    cwd=ROOT,
                    env={**self._environment, **job.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            job.state, job.starts = "running", job.starts + 1
            return job

    def _finish(self, job: _Job, late: bool) -> None:
        with self._changed:
            assert job.process
            code, job.process = job.process.returncode, None
            if job.preempted and not self._closed:
                job.state, job.preempted = "waiting", False
                self._waiting.append(job)
                self._changed.notify()
            else:
                job.state, job.code, job.killed = "ended", code, job.killed or late


def _write_python(path: Path) -> None:
    """A `python` that is this one. A link would not do: Python finds its virtual environment by its own path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    path.chmod(0o755)
