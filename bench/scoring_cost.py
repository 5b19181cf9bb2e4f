"""What commands cost with all that they start: wall, CPU and memory of whole process trees. Linux only.

A process that outlives its parent is adopted here, so that daemons count too. Memory is the proportional set size,
summed over the tree and looked at five times a second: pages that processes share count once, mapped files count. The
high-water mark of the largest single process counts where it is more.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import statistics
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

HERE = Path(__file__).parents[1]  # whose code runs
LOOK = 0.2  # seconds between two looks at memory
LEFT = 20.0  # seconds that daemons may take to end after their command; then they are killed
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_LIBRARIES = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")
# For ours and peers alike: two processes with two threads of BLAS each on two cores are slower than with one each.
ENVIRONMENT = {f"{library}_NUM_THREADS": "1" for library in _LIBRARIES}


@dataclass(frozen=True, slots=True)
class Spent:
    """What some commands took."""

    seconds: float
    cpu: float  # seconds, of all processes
    mebibytes: float  # at the peak, all processes that run together


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of repetitions, and how far they lie apart."""

    middle: Spent
    low: Spent
    high: Spent
    times: int


def summarise_runs(spent: Sequence[Spent]) -> Spread:
    """Of at least one repetition."""
    columns = [[getattr(run, name) for run in spent] for name in ("seconds", "cpu", "mebibytes")]
    middle, low, high = (
        Spent(*(statistic(column) for column in columns)) for statistic in (statistics.median, min, max)
    )
    return Spread(middle, low, high, len(spent))


def run_commands(
    commands: Sequence[Sequence[str]], at_once: int, environment: Mapping[str, str], folder: Path = HERE
) -> Spent:
    """Run *commands* in a folder, at most *at_once* side by side, in a process that does nothing else.

    Raises RuntimeError, with what was printed, where one does not end well.
    """
    assert ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0, "expected Linux"
    tree, waiting, running = _Tree(), deque(commands), dict[int, subprocess.Popen[bytes]]()
    with tempfile.TemporaryFile() as output:
        before, began = _waited_for(), time.perf_counter()
        while waiting or running:
            while waiting and len(running) < at_once:
                process = _start_command(waiting.popleft(), environment, output.fileno(), folder)
                running[os.pidfd_open(process.pid)] = process
            for ended in select.select(list(running), [], [], LOOK)[0]:
                process = running.pop(ended)
                os.close(ended)
                if process.wait():
                    output.seek(0)
                    tail = output.read().decode(errors="replace")[-3000:]
                    raise RuntimeError(f"{process.args!r} ended with code {process.returncode}:\n{tail}")
            tree.look()
        seconds = time.perf_counter() - began
        _wait_for_orphans()
        # A process whose parent does not wait for its children is in no one's sum: then the looks know more.
        cpu = max(_waited_for() - before, sum(tree.cpu.values()))
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # a peak between two looks is here
    return Spent(seconds, cpu, max(tree.mebibytes, largest))


def _start_command(
    command: Sequence[str], environment: Mapping[str, str], output: int, folder: Path
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env={**os.environ, **ENVIRONMENT, **environment},
        cwd=folder,
    )


def _waited_for() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _wait_for_orphans() -> None:
    """Returns when this process has no child any more, having waited for all of them."""
    deadline = time.monotonic() + LEFT
    while orphans := psutil.Process().children():
        for process in orphans:
            if time.monotonic() > deadline:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            with suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)
        time.sleep(0.01)


class _Tree:
    """All descendants of this process, as they were when they were looked at."""

    def __init__(self) -> None:
        self.mebibytes, self.cpu = 0.0, dict[int, float]()
        self._here, self._looked = psutil.Process(), 0.0

    def look(self) -> None:
        """See what each holds and has used; not sooner than LOOK seconds after the last time."""
        if time.monotonic() < self._looked + LOOK:
            return
        kilobytes = 0
        for process in self._here.children(recursive=True):
            with suppress(psutil.Error, OSError):
                times = process.cpu_times()
                self.cpu[process.pid] = times.user + times.system
                kilobytes += _read_proportional(process.pid)
        self.mebibytes = max(self.mebibytes, kilobytes / 1024)
        self._looked = time.monotonic()


def _read_proportional(pid: int) -> int:
    """Kilobytes; a zombie has none."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
