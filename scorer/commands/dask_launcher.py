"""Runs one job's command on a Dask worker until it ends, the worker ends, or the job is cancelled.

    run_job()  on a thread of the worker: starts the supervisor, stops it when the job is cancelled, raises JobEnded
    main()     the supervisor, a separate process: watches the command, stops its process group, stores its log
    command    python -m scorer ..., a session of its own

The supervisor exists because a worker killed with -9 cleans nothing up. Its standard input is a pipe from the worker:
when that closes, by `run_job` or at the end of the worker, the command is stopped. Knows nothing of a job's content.
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

from scorer.processes import die_with, get_signal_name, list_module_folders
from shared.contract.paths import log_path, parse_job_name
from shared.contract.text import clip_text

if TYPE_CHECKING:
    from distributed import Worker

LOG_LIMIT = 256 * 1024  # bytes kept of the end of the output
TAIL_LIMIT = 4000  # characters that JobEnded carries: Dask cuts an exception whose text is longer than 10,000
BEAT = 0.05  # seconds between two checks
GRACE = 1.0  # seconds between asking a process to end and ending it
UPLOAD_LIMIT = 10.0  # seconds that the end of a job waits until its log is stored


class JobEnded(Exception):
    """A job ended: (whether it succeeded, how in one line, the end of its output)."""


def run_job(name: str, digest: str, command: Sequence[str], timeout: float) -> NoReturn:
    """Run a job on the Dask worker that calls this, at most *timeout* seconds, and raise JobEnded.

    Success is raised too. The scheduler keeps an exception; a result stays on its worker, keeps that worker from being
    scaled down, and is computed again when the worker dies: the job would run once more after it had ended.
    """
    from distributed import Reschedule, get_worker

    logging.getLogger("distributed.worker").addFilter(_hide_job_end)
    worker, expected = get_worker(), True
    supervisor_command = [
        sys.executable,
        "-m",
        "scorer.commands.dask_launcher",
        str(output_path(worker, name)),
        name,
        str(timeout),
    ]
    job_command = [sys.executable, *command[1:]] if command[0] == "python" else command
    with subprocess.Popen(  # noqa: S603  # the control plane wrote the command
        [*supervisor_command, *job_command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # The modules are those of this process; files in the folder that a worker was started in are no modules.
        env={**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": list_module_folders()},
        start_new_session=True,
    ) as supervisor:
        assert supervisor.stdin
        assert supervisor.stdout
        while supervisor.poll() is None:
            if expected and not _is_expected(worker, name, digest):
                expected = False
                supervisor.stdin.close()
            time.sleep(BEAT)
        reply = supervisor.stdout.read()
    if not expected:
        raise Reschedule  # cancelled, or submitted again meanwhile: then Dask starts it again
    if not reply:
        raise JobEnded(False, f"its supervisor was killed, status {supervisor.returncode}", "")
    raise JobEnded(*json.loads(reply))


def output_path(worker: Worker, name: str) -> Path:
    """The file that holds a job's output while it runs."""
    return Path(worker.local_directory) / f"{name}.log"


def _is_expected(worker: Worker, name: str, digest: str) -> bool:
    """Whether the scheduler still expects this task.

    Dask does not notify a running function, so this reads the worker's own record of the task. It covers a cancel, a
    client that died before its future was published, and a scheduler that ended, and costs no message. (Polling the
    scheduler by Event or Variable would cost a message a second for each job, and cover the first case only.)
    A name that is cancelled and submitted again between two checks continues to run: so the digest of the task must
    still be that of the running command.
    """
    from distributed.core import Status

    task = worker.state.tasks.get(name)
    closing = worker.status in (Status.closing, Status.closed, Status.failed)
    if closing or task is None or task.state not in ("executing", "long-running"):
        return False
    task_spec: Any = task.run_spec  # its type is incomplete
    return bool(task_spec.args[1] == digest)


def _hide_job_end(record: logging.LogRecord) -> bool:
    """Keep Dask from logging the end of every job as an error."""
    args = record.args if isinstance(record.args, tuple) else ()
    return not any(isinstance(arg, str) and arg.startswith("JobEnded(") for arg in args)


def main(path: str, name: str, timeout: float, command: Sequence[str]) -> None:
    """Supervise one command: write its output to *path*, and how it ended to standard output."""
    # O_APPEND: after the output is truncated, the command continues at the new end.
    output = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    succeeded, ending = _run_command(command, output, timeout)
    _truncate_output(output, LOG_LIMIT)
    data = os.pread(output, LOG_LIMIT, 0)
    text = "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in data.decode(errors="replace"))
    detail = clip_text(": ".join([ending, *text.strip().splitlines()[-1:]]))
    _store_log(name, command, data + f"\n-- {detail}\n".encode())
    Path(path).unlink(missing_ok=True)
    with suppress(BrokenPipeError):  # the worker that would read it is dead
        os.write(sys.stdout.fileno(), json.dumps([succeeded, detail, text[-TAIL_LIMIT:]]).encode())


def _run_command(command: Sequence[str], output: int, timeout: float) -> tuple[bool, str]:
    """Run the command until it ends or is stopped: whether it succeeded, and how it ended."""
    try:
        process = subprocess.Popen(  # noqa: S603  # the control plane wrote the command
            command,
            env={"NODE_CORES": "1", **os.environ},  # a Dask worker runs one job for each of its cores
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=functools.partial(die_with, os.getpid()),  # noqa: PLW1509  # the supervisor has no other thread yet
        )
    except OSError as error:
        return False, f"cannot start {command[0]}: {error.strerror}"
    stop_reason = _watch_command(process, output, timeout)
    _stop_command(process)
    status = process.returncode
    ending = f"exit code {status}" if status >= 0 else f"killed by {get_signal_name(-status)}"
    return not stop_reason and status == 0, stop_reason or ending


def _watch_command(process: subprocess.Popen[bytes], output: int, timeout: float) -> str:
    """Wait until the command ends, or return why it must be stopped."""
    deadline = time.monotonic() + timeout
    while process.poll() is None:
        if select.select([sys.stdin], [], [], BEAT)[0]:
            return "stopped: it was cancelled, or its worker died"
        if time.monotonic() > deadline:
            return f"stopped: it took longer than {timeout:g} s"
        if os.fstat(output).st_size > 4 * LOG_LIMIT:
            _truncate_output(output, LOG_LIMIT)
    return ""


def _stop_command(process: subprocess.Popen[bytes]) -> None:
    """End the command and every process of its group."""
    for number, timeout in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout)


def _truncate_output(output: int, limit: int) -> None:
    """Keep the end of the output. What is printed at the same moment may be lost."""
    size = os.fstat(output).st_size
    if size > limit:
        end = os.pread(output, limit, size - limit)
        os.ftruncate(output, 0)
        os.write(output, end)


def _store_log(name: str, command: Sequence[str], data: bytes) -> None:
    """Write the output to where the API looks for it. A failure does not change how the job ended."""

    def upload_log() -> None:
        try:
            _put_log(name, command, data)
        except Exception as error:  # noqa: BLE001  # a lost log is reported and ignored
            print(f"job={name} log not stored: {error}", file=sys.stderr)

    uploader = threading.Thread(target=upload_log, daemon=True)
    uploader.start()
    uploader.join(UPLOAD_LIMIT)


def _put_log(name: str, command: Sequence[str], data: bytes) -> None:
    """Write it into the working container, which is part of the manifest's URL; without a manifest it is not stored."""
    from scorer.storage.blob_store import open_container

    job = parse_job_name(name)
    if job is None or "--manifest" not in command:
        return
    manifest = command[list(command).index("--manifest") + 1]
    container = manifest.rpartition("/runs/")[0]
    open_container(container, os.environ.get("STORAGE", "")).write(log_path(*job), data)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4:])
