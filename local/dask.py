"""A Dask cluster on this machine: `python -m local.dask`. A scheduler, and workers from none to one for each core.

Any other Dask cluster needs the same settings; see the docs.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from shared.contract.errors import Unavailable

HOME = Path(__file__).parents[1]  # where the workers find `scorer`
READY = "Dask is ready at "
STOP_LIMIT = 30  # seconds

SETTINGS = {
    # The app submits a job whose worker died again, as a new attempt: Dask must not run its name a second time.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": 1.0,  # waiting tasks stay at the scheduler
    "distributed.adaptive.target-duration": "1ms",  # a job takes minutes: it is worth a worker of its own
}


@dataclass(frozen=True, slots=True)
class LocalDask:
    """A cluster as a process of its own."""

    address: str
    process: subprocess.Popen[str]

    def stop(self) -> None:
        """End it with all its children, and wait."""
        self.process.terminate()
        try:
            self.process.communicate(timeout=STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()  # its workers end with it
            self.process.communicate()


def start(
    folder: Path, port: int = 0, max_workers: int | None = None, idle: float = 10, log: Path | None = None
) -> LocalDask:
    """Start a cluster that ends with this process; port 0 is any free one. Raises Unavailable.

    Its errors go to *log*, or else to standard error.
    """
    order = [sys.executable, "-m", "local.dask", "--with-parent", "--folder", str(folder), "--port", str(port)]
    order += ["--idle", str(idle), "--max-workers", str(max_workers or os.cpu_count() or 1)]
    with ExitStack() as stack:
        errors = stack.enter_context(log.open("wb")) if log else None
        process = subprocess.Popen(
            order,
            cwd=HOME,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # Ctrl-C is handled by the caller
        )
    assert process.stdout
    for line in process.stdout:
        if line.startswith(READY):
            return LocalDask(line.removeprefix(READY).strip(), process)
    process.communicate()
    raise Unavailable(f"expected a Dask scheduler on 127.0.0.1:{port}, but it ended with {process.returncode}")


def serve(args: argparse.Namespace, over: threading.Event) -> None:
    """Run the cluster until *over* is set."""
    # Workers and jobs inherit the environment: the path of this project, and STORAGE if it is set.
    paths = [str(HOME), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    os.environ["DASK_LOGGING__DISTRIBUTED"] = "warning"  # read when distributed is imported, in every process
    import dask
    import psutil
    from distributed import LocalCluster

    dask.config.set(SETTINGS)
    with LocalCluster(
        host="127.0.0.1",
        scheduler_port=args.port,
        n_workers=0,
        threads_per_worker=1,
        memory_limit=0,  # jobs are separate processes, which Dask's limit does not count
        local_directory=str(args.folder),
        preload="import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)",  # Ctrl-C is for this process to handle
        dashboard_address="127.0.0.1:0",  # a dashboard where bokeh is installed, else a few lines of text
    ) as cluster:
        # The need is checked once a second; a worker is removed after so many idle checks.
        cluster.adapt(minimum=0, maximum=args.max_workers, interval="1s", wait_count=max(1, round(args.idle)))
        print(f"{READY}{cluster.scheduler_address}", flush=True)
        over.wait()
        jobs = [job for worker in psutil.Process().children() for job in worker.children(recursive=True)]
    psutil.wait_procs(jobs, timeout=STOP_LIMIT)  # they end just after their workers


def _check_free(port: int) -> None:
    """Raises OSError; Dask would raise it too, after long tracebacks."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


def _wait_for_parent(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


def main() -> int:
    """Exit code 0 after SIGTERM, SIGINT or the end of the parent; 2 when the port is taken."""
    parser = argparse.ArgumentParser(prog="python -m local.dask", description=__doc__)
    parser.add_argument("--port", type=int, default=8786, help="of the scheduler; 0 for any free one")
    parser.add_argument("--max-workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--idle", type=float, default=10, help="seconds after which an idle worker goes")
    parser.add_argument("--folder", type=Path, default=HOME / ".local" / "dask", help="for the workers' files")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input ends")
    args = parser.parse_args()
    over = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: over.set())
    if args.with_parent:
        threading.Thread(target=_wait_for_parent, args=(over,), daemon=True).start()
    try:
        _check_free(args.port)
        serve(args, over)
    except (OSError, RuntimeError) as error:
        print(f"expected a Dask scheduler on 127.0.0.1:{args.port}, got: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
