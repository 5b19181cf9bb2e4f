"""Jobs for a Dask cluster whose start and end a test can see and order."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import psutil

from shared.contract.paths import make_job_name, manifest_path
from shared.ports import JobSpec

WAIT = 20  # seconds: a worker needs two of them to start

# Notes each start and the processes it made; then ends as `end` says, when there is such a file.
SCRIPT = """
import os, pathlib, subprocess, sys, time
here = pathlib.Path(sys.argv[1])
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
(here / "pids").write_text(f"{os.getpid()} {child.pid}")
print("begun", flush=True)
with (here / "starts").open("a") as starts:
    starts.write("x")
while not (here / "end").exists():
    time.sleep(0.02)
exec((here / "end").read_text())
"""

_minutes = itertools.count()


def fresh_run() -> str:
    """A run's id that no other test has: the tests share a scheduler."""
    n = next(_minutes)
    return f"20260101T{n // 60:02}{n % 60:02}Z-PT1H"


def eventually(true: Callable[[], object], seconds: float = WAIT) -> None:
    """Wait until it is so; fails the test when it never is."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Job:
    """A job that a test holds by files in a folder."""

    spec: JobSpec
    folder: Path

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def starts(self) -> int:
        """How often its command has begun."""
        path = self.folder / "starts"
        return len(path.read_text()) if path.exists() else 0

    @property
    def pids(self) -> list[int]:
        """The command's process, and one that it started."""
        return [int(pid) for pid in (self.folder / "pids").read_text().split()]

    def end(self, how: str = "") -> None:
        """Let the command end, by running *how*."""
        beside = self.folder / "end.tmp"
        beside.write_text(how)
        beside.rename(self.folder / "end")


def make_job(tmp_path: Path, run: str, index: int = 0, timeout: float = 120) -> Job:
    """A job of a chunk; its working container is `tmp_path/work`."""
    chunk = f"c{index:05d}"
    folder = tmp_path / f"{run}-{chunk}"
    folder.mkdir()
    (tmp_path / "work").mkdir(exist_ok=True)
    manifest = (tmp_path / "work" / manifest_path(run, "0123")).as_uri()
    command = ("python", "-c", SCRIPT, str(folder), "--manifest", manifest)
    return Job(JobSpec(make_job_name("test", run, chunk, 1), run, command, timedelta(seconds=timeout)), folder)


def rival_of(job: Job, tmp_path: Path) -> Job:
    """Other content under the name of *job*."""
    other = make_job(tmp_path, fresh_run())
    return Job(replace(other.spec, name=job.name, run=job.spec.run), other.folder)


def gone(pids: list[int]) -> bool:
    """Whether none of these processes runs any more."""
    return not any(_runs(pid) for pid in pids)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
