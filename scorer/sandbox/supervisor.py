"""A process between the node and its worker processes: it has the imports, forks a worker, watches it, and replaces it.

    node         has the stores, the credentials, and threads, so it can neither fork nor load a model (`pool`)
    supervisor   one process with everything imported; it forks one process for each pair of pipes, with one worker
    worker       restricts itself (`isolation`), then scores one model after the other until one of them ends it

Started with an empty environment. All end with the node: supervisors see their pipes close, workers die with their
supervisor. The content of a worker's reply is not read here, only its size.
"""

from __future__ import annotations

import gc
import importlib
import json
import mmap
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from scorer.estimators.score_model import classify_error
from scorer.model_files import allowlist
from scorer.predictions.outcome import ModelOutcome
from scorer.processes import die_with, get_signal_name
from scorer.readings.device_readings import Readings
from shared.contract.domain import Model
from shared.contract.outcomes import ModelResult
from shared.contract.reasons import Reason

from . import isolation, pipe, replies, requests
from .arena import map_arena
from .pipe import Frame, FrameKind, InvalidFrame, PipeEnd
from .requests import Sent

BEAT = 0.02  # seconds between two checks of a busy worker, which may exceed its limits for so long
PAUSE = 1.0  # seconds between two checks of an idle worker
DELAY = 0.005  # seconds that a reply may wait in a worker for the next ones: a message costs as much as a small model
GRACE = 1.0  # seconds that a worker which closed its pipe has to end by itself
START_TIMEOUT = 60.0  # seconds that a worker may take to be ready
THREADS = 64  # of a worker; scikit-learn needs one
REQUEST_LIMIT = 2**32  # bytes
READY_LIMIT = 2**14
_PLACE = 4  # bytes of a number
# What estimators need, but for sklearn.cluster: it takes a tenth of all, and a worker imports it with its first model.
PRELOAD = (
    *("pandas", "scipy.interpolate", "scipy.sparse", "sklearn.tree"),
    *(name for name in allowlist.MODULES if not name.startswith("sklearn.cluster.")),
)

Scoring = Callable[[Model, Sent, Readings], ModelOutcome]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a worker for a model."""

    timeout: float  # seconds, from its file to its scores
    memory: int  # bytes in addition to its initial memory


@dataclass(frozen=True, slots=True)
class _Task:
    """What each worker of a supervisor does."""

    limits: Limits
    scoring: Scoring
    arena: mmap.mmap | None  # where requests are; None where the pipe carries them


@dataclass(frozen=True, slots=True)
class _Worker:
    """A worker process, and the pipes to it."""

    pid: int
    pipe_end: PipeEnd
    ready: Frame
    initial_memory: int  # bytes that it shares with no file
    place: mmap.mmap  # shared: which model of its request it scores; it may write anything there


def main(config_json: str) -> None:
    """Supervise a worker for each pair of pipes of the configuration, until the node closes them."""
    config = json.loads(config_json)
    module, _, name = config["scoring"].partition(":")
    _preload_libraries()
    function: Any = getattr(importlib.import_module(module), name)
    scoring: Scoring = partial(function, **config["options"])
    limits = Limits(config["timeout"], config["memory"])
    pipes: list[list[int]] = config["pipes"]
    own_pid = os.getpid()
    arenas: list[int | None] = config["arenas"]
    ends = [[*pipe_pair, *([] if fd is None else [fd])] for pipe_pair, fd in zip(pipes, arenas, strict=True)]
    for index, (pipe_pair, arena_fd) in enumerate(zip(pipes, arenas, strict=True)):
        if os.fork() == 0:
            die_with(own_pid)
            for end in (end for own_ends in ends[:index] + ends[index + 1 :] for end in own_ends):
                os.close(end)  # else the node would not notice the end of that supervisor
            arena = None if arena_fd is None else map_arena(arena_fd)
            _supervise_worker(PipeEnd(*pipe_pair), _Task(limits, scoring, arena))
    for end in (end for own_ends in ends for end in own_ends):
        os.close(end)
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _preload_libraries() -> None:
    """Do once what each worker would do for itself, and keep joblib from starting threads or processes in them."""
    gc.disable()  # all of it stays; to look for garbage in it takes a sixth of the time
    for name in PRELOAD:
        importlib.import_module(name)
    import pandas as pd
    from joblib import parallel_config
    from sklearn.neighbors import NearestNeighbors
    from sklearn.svm import OneClassSVM

    parallel_config(backend="sequential")
    for rows in (np.eye(2), pd.DataFrame({"a": [0.0, 1.0]})):  # scikit-learn's first rows take 50 ms
        OneClassSVM().fit(rows).decision_function(rows)
    # It looks for thread pools once, in /proc/self/maps, which a worker may not read.
    NearestNeighbors(n_neighbors=1, algorithm="brute").fit(np.eye(2)).kneighbors(np.eye(2))
    gc.freeze()  # a worker does not collect garbage in inherited memory, and so does not copy it
    gc.enable()


def _supervise_worker(node: PipeEnd, task: _Task) -> NoReturn:
    """Pass the node's requests to a worker, one at a time; where it dies at one, reply in its place."""
    try:
        worker, is_fresh = _spawn_worker(task), True
        node.send_frames(worker.ready)
        while True:
            request = _receive_request(node, worker, task.limits)
            if worker.pipe_end.has_input() or (request.kind is FrameKind.FRESH_REQUEST and not is_fresh):
                _reap_worker(worker)
                worker = _spawn_worker(task)
            is_fresh = False
            if not _relay_replies(worker, request, node, task.limits):
                worker, is_fresh = _spawn_worker(task), True
    except (EOFError, BrokenPipeError):
        os._exit(0)  # the node closed its end; the worker dies with us
    except BaseException as error:  # noqa: BLE001  # the one line in the node's log
        print(f"a supervisor of worker processes ended: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def _receive_request(node: PipeEnd, worker: _Worker, limits: Limits) -> Frame:
    """Wait for the next request, and kill a worker that exceeds its limits meanwhile."""
    while (request := node.receive_frame(PAUSE, REQUEST_LIMIT)) is None:
        if _find_excess(worker, limits):
            os.kill(worker.pid, signal.SIGKILL)
    return request


def _relay_replies(worker: _Worker, request: Frame, node: PipeEnd, limits: Limits) -> bool:
    """Send the worker's replies to the node, as they come; False where it died, which the last frame then says.

    By then it is reaped: what the node writes next for another process is not for this one to read.
    """
    frames: list[Frame] = []
    try:
        worker.pipe_end.send_frames(request)
        for _ in range(request.count):
            frames.append(_receive_reply(worker, request.reply_limit, node, limits))
            if frames[-1].kind is FrameKind.DIED:
                break
            if not worker.pipe_end.has_more():
                node.send_frames(*frames)
                frames = []
    except (BrokenPipeError, EOFError):
        if node.is_closed():
            raise EOFError from None
        frames.append(_make_crash(worker, Reason.CRASHED, _describe_exit(worker.pid)))
    except InvalidFrame as error:
        frames.append(_make_crash(worker, Reason.CRASHED, f"{pipe.UNUSABLE}: {error}"))
    is_alive = not frames or frames[-1].kind is not FrameKind.DIED
    if not is_alive:
        _reap_worker(worker)
    node.send_frames(*frames)
    return is_alive


def _receive_reply(worker: _Worker, reply_limit: int, node: PipeEnd, limits: Limits) -> Frame:
    """The worker's next reply, or why we stop waiting for it. Raises EOFError, BrokenPipeError, InvalidFrame."""
    started = last_check = time.monotonic()
    while (reply := worker.pipe_end.receive_frame(BEAT, reply_limit)) is None:
        now = time.monotonic()
        if now - last_check < BEAT:
            continue
        last_check = now
        if now - started > limits.timeout:
            return _make_crash(worker, Reason.ENDLESS, f"did not end within {limits.timeout:g} s")
        if excess := _find_excess(worker, limits):
            return _make_crash(worker, Reason.CRASHED, excess)
        if node.is_closed():
            raise EOFError
    if reply.kind is not FrameKind.REPLY:
        raise InvalidFrame(f"a frame of kind {reply.kind}")
    return reply


def _make_crash(worker: _Worker, reason: Reason, detail: str) -> Frame:
    fields = {"reason": reason, "detail": detail, "place": int.from_bytes(worker.place[:], "little")}
    return Frame(bytes(pipe.MARK), FrameKind.DIED, json.dumps(fields).encode())


def _describe_exit(pid: int) -> str:
    """How a worker ended that closed its pipe."""
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline:
        status = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if status:
            exited = status.si_code == os.CLD_EXITED
            ending = f"with exit code {status.si_status}" if exited else f"by {get_signal_name(status.si_status)}"
            return f"its process ended {ending}"
        time.sleep(BEAT / 10)
    return "its process closed its pipe and continued"


def _find_excess(worker: _Worker, limits: Limits) -> str:
    """The limit that a worker exceeds; "" where there is none, it has ended, or the system gives no numbers.

    Checked in addition to rlimits: under an rlimit an allocation fails, and the model's code decides what follows.
    """
    memory, threads = _measure_process(worker.pid)
    if memory > worker.initial_memory + limits.memory:
        return f"took more than {limits.memory // 2**20} MiB of memory"
    return f"started more than {THREADS} threads" if threads > THREADS else ""


def _measure_process(pid: int) -> tuple[int, int]:
    """The memory of a process in bytes that it shares with no file, and its threads."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0, 0
    counts = {
        name: int(count) for name, count in re.findall(r"^(RssAnon|RssShmem|Threads):\s*(\d+)", status, re.MULTILINE)
    }
    return (counts.get("RssAnon", 0) + counts.get("RssShmem", 0)) * 1024, counts.get("Threads", 0)


def _spawn_worker(task: _Task) -> _Worker:
    """Start a worker, ready for its first request. Raises OSError, EOFError, TimeoutError."""
    requests_end, to_worker = os.pipe()
    to_supervisor, replies_end = os.pipe()
    own_pid, place = os.getpid(), mmap.mmap(-1, _PLACE)
    pid = os.fork()
    if pid == 0:
        _run_worker(own_pid, requests_end, replies_end, place, task)
    os.close(requests_end)
    os.close(replies_end)
    pipe_end = PipeEnd(to_supervisor, to_worker)
    deadline = time.monotonic() + START_TIMEOUT
    while (ready := pipe_end.receive_frame(BEAT, READY_LIMIT)) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"a new worker process was not ready within {START_TIMEOUT:g} s")
    return _Worker(pid, pipe_end, ready, _measure_process(pid)[0], place)


def _reap_worker(worker: _Worker) -> None:
    os.kill(worker.pid, signal.SIGKILL)  # not reaped yet, so the process id is still its own
    os.waitpid(worker.pid, 0)
    worker.pipe_end.close()
    worker.place.close()


def _run_worker(supervisor: int, requests_end: int, replies_end: int, place: mmap.mmap, task: _Task) -> NoReturn:
    """Be a worker: enter the sandbox, reply to requests until the pipe is closed."""
    try:
        die_with(supervisor)
        nothing = os.open(os.devnull, os.O_RDWR)
        for end in (0, 1, 2):  # the output of a model is dropped: it might look like our log
            os.dup2(nothing, end)
        low, high = sorted((requests_end, replies_end))
        for first, last in ((3, low), (low + 1, high), (high + 1, os.sysconf("SC_OPEN_MAX"))):
            os.closerange(first, last)
        with suppress(OSError):  # if memory runs out, the kernel should kill this process first
            Path("/proc/self/oom_score_adj").write_text("1000")
        warnings.simplefilter("ignore")  # once, and not for each model
        missing_protections = isolation.enter_sandbox(2 * task.limits.memory)
        ready = Frame(bytes(pipe.MARK), FrameKind.READY, json.dumps(missing_protections).encode())
        pipe.write_frames(replies_end, ready)
        while True:
            _score_request(pipe.read_frame(requests_end), replies_end, place, task)
    finally:
        os._exit(1)


def _score_request(request: Frame, replies_end: int, place: mmap.mmap, task: _Task) -> None:
    """Score the models of a request. Where one ends this process, *place* says which, since replies wait for others."""
    delay = 0.0 if request.kind is FrameKind.FRESH_REQUEST else DELAY
    unsent: list[Frame] = []
    sent_at = time.monotonic()
    models = requests.parse_request(requests.find_request(request.payload, task.arena))
    for number, (mark, model, content, readings) in enumerate(models):
        place[:] = number.to_bytes(_PLACE, "little")
        outcome = _score_safely(task.scoring, model, content, readings)
        unsent.append(Frame(mark, FrameKind.REPLY, replies.to_bytes(outcome)))
        if time.monotonic() - sent_at >= delay:
            pipe.write_frames(replies_end, *unsent)
            unsent.clear()
            sent_at = time.monotonic()
    pipe.write_frames(replies_end, *unsent)


def _score_safely(scoring: Scoring, model: Model, content: Sent, readings: Readings) -> ModelOutcome:
    """The model's outcome, also for exceptions that are not meant to be caught."""
    try:
        return scoring(model, content, readings)
    except BaseException as error:  # noqa: BLE001  # SystemExit too is only an error of this model
        reason, message = classify_error(error)
        return ModelOutcome(ModelResult(model.id, reason=reason, message=message))


if __name__ == "__main__":
    main(sys.argv[1])
