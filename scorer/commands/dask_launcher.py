"""Runs one job's command on a Dask worker and sees it to its end, be that its own, the worker's, or our order.

    run()     on a thread of the worker: starts the keeper, tells it when the job is no longer expected, raises JobEnded
    main()    the keeper, a process of its own: watches the command, stops its whole group, brings its log to storage
    command   python -m scorer ..., a session of its own

The keeper is there because a worker killed with -9 cleans nothing up. Its standard input is the worker's hold on it:
when that closes, by `run` or by the death of the worker, the command is stopped. Knows nothing of what a job computes.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from scorer.processes import die_with, list_module_folders, signal_name
from shared.contract.paths import log_path, parse_job_name
from shared.contract.text import clip_text

if TYPE_CHECKING:
    from distributed import Worker

LOG_LIMIT = 256 * 1024  # bytes of output that are kept: its end
TAIL_LIMIT = 4000  # characters that travel with JobEnded: Dask cuts an exception whose text is longer than 10,000
BEAT = 0.05  # seconds between two looks
GRACE = 1.0  # seconds between asking a process to end and ending it
UPLOAD_LIMIT = 10.0  # seconds that a job's end waits for its log to be stored


class JobEnded(Exception):
    """A job is over: (whether well, how in one line, the end of what it printed)."""


def run(name: str, digest: str, command: Sequence[str], timeout: float) -> NoReturn:
    """Run a job on the Dask worker that calls this, at most *timeout* seconds, and raise JobEnded.

    A good end is raised too. An exception lives at the scheduler; a result lives on its worker, keeps that worker from
    being scaled away, and is computed again when the worker dies: the job would run once more after it had ended.
    """
    from distributed import Reschedule, get_worker

    logging.getLogger("distributed.worker").addFilter(_no_end)
    worker, expected = get_worker(), True
    order = [sys.executable, "-m", "scorer.commands.dask_launcher", str(output_path(worker, name)), name, str(timeout)]
    program = [sys.executable, *command[1:]] if command[0] == "python" else command
    with subprocess.Popen(  # noqa: S603  # what to run is what the control plane wrote
        [*order, *program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # The modules are those of this process; what lies in the folder that a worker was started in is none.
        env={**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": list_module_folders()},
        start_new_session=True,
    ) as keeper:
        assert keeper.stdin
        assert keeper.stdout
        while keeper.poll() is None:
            if expected and not _is_wanted(worker, name, digest):
                expected = False
                keeper.stdin.close()
            time.sleep(BEAT)
        answer = keeper.stdout.read()
    if not expected:
        raise Reschedule  # nobody hears it, or somebody has asked for the job again meanwhile: then it starts anew
    if not answer:
        raise JobEnded(False, f"its keeper was killed, status {keeper.returncode}", "")
    raise JobEnded(*json.loads(answer))


def output_path(worker: Worker, name: str) -> Path:
    """Where a job's output lies while it runs."""
    return Path(worker.local_directory) / f"{name}.log"


def _is_wanted(worker: Worker, name: str, digest: str) -> bool:
    """Whether the scheduler still wants this task.

    Dask tells a running function nothing of this, so this looks at the worker's own record of the task. It covers a
    cancel, a client that died before its future was published, and a scheduler that has gone, and costs no message.
    (Asking the scheduler by Event or Variable would cost one a second for each job, and cover the first only.)
    A name that is cancelled and asked for again between two looks goes on as if nothing had happened: then what is
    asked for now must still be what runs.
    """
    from distributed.core import Status

    task = worker.state.tasks.get(name)
    closing = worker.status in (Status.closing, Status.closed, Status.failed)
    if closing or task is None or task.state not in ("executing", "long-running"):
        return False
    given: Any = task.run_spec  # has no complete type
    return bool(given.args[1] == digest)


def _no_end(record: logging.LogRecord) -> bool:
    """Keep Dask from logging every job's end as an error of its own."""
    args = record.args if isinstance(record.args, tuple) else ()
    return not any(isinstance(arg, str) and arg.startswith("JobEnded(") for arg in args)


def main(path: str, name: str, timeout: float, command: Sequence[str]) -> None:
    """Be the keeper of one command: write its output to *path*, and how it ended to standard output."""
    # Appending, so that the command goes on at the new end after its output was cut.
    output = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    well, how = _guard(command, output, timeout)
    _cut(output, LOG_LIMIT)
    data = os.pread(output, LOG_LIMIT, 0)
    text = "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in data.decode(errors="replace"))
    detail = clip_text(": ".join([how, *text.strip().splitlines()[-1:]]))
    _store(name, command, data + f"\n-- {detail}\n".encode())
    Path(path).unlink(missing_ok=True)
    with suppress(BrokenPipeError):  # the worker that would hear it is dead
        os.write(sys.stdout.fileno(), json.dumps([well, detail, text[-TAIL_LIMIT:]]).encode())


def _guard(command: Sequence[str], output: int, timeout: float) -> tuple[bool, str]:
    """Run the command to its end, or to ours: whether it went well, and how it ended."""
    try:
        child = subprocess.Popen(  # noqa: S603  # what to run is what the control plane wrote
            command,
            env={"NODE_CORES": "1", **os.environ},  # a Dask worker runs as many jobs at once as it has cores to give
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=functools.partial(die_with, os.getpid()),  # noqa: PLW1509  # the keeper has no other thread yet
        )
    except OSError as error:
        return False, f"cannot start {command[0]}: {error.strerror}"
    why = _watch(child, output, timeout)
    _stop(child)
    status = child.returncode
    ended = f"exit code {status}" if status >= 0 else f"killed by {signal_name(-status)}"
    return not why and status == 0, why or ended


def _watch(child: subprocess.Popen[bytes], output: int, timeout: float) -> str:
    """Wait for the command's own end, or return why it must be stopped."""
    deadline = time.monotonic() + timeout
    while child.poll() is None:
        if select.select([sys.stdin], [], [], BEAT)[0]:
            return "stopped, since it was cancelled or its worker died"
        if time.monotonic() > deadline:
            return f"stopped, since it took longer than {timeout:g} s"
        if os.fstat(output).st_size > 4 * LOG_LIMIT:
            _cut(output, LOG_LIMIT)
    return ""


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End the command and whatever it started, and is still there."""
    for order, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, order)
        with suppress(subprocess.TimeoutExpired):
            child.wait(patience)


def _cut(output: int, limit: int) -> None:
    """Keep the end of the output. What is printed in just this moment may be lost."""
    size = os.fstat(output).st_size
    if size > limit:
        end = os.pread(output, limit, size - limit)
        os.ftruncate(output, 0)
        os.write(output, end)


def _store(name: str, command: Sequence[str], data: bytes) -> None:
    """Bring the output to where the API looks for it. Whether that works changes nothing of how the job ended."""

    def upload() -> None:
        try:
            _put_log(name, command, data)
        except Exception as error:  # noqa: BLE001  # a lost log is told, and no more
            print(f"job={name} log not stored: {error}", file=sys.stderr)

    uploader = threading.Thread(target=upload, daemon=True)
    uploader.start()
    uploader.join(UPLOAD_LIMIT)


def _put_log(name: str, command: Sequence[str], data: bytes) -> None:
    """Write it into the working container, which the manifest's URL tells; a job without one has no such place."""
    from scorer.storage.blob_store import open_container

    job = parse_job_name(name)
    if job is None or "--manifest" not in command:
        return
    manifest = command[list(command).index("--manifest") + 1]
    container = manifest.rpartition("/runs/")[0]
    open_container(container, os.environ.get("STORAGE", "")).write(log_path(*job), data)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4:])
