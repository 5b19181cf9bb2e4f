"""Scores models in child processes, so that one which kills or holds its process is named and hurts no neighbour.

    node      fetches the files, hands them on one at a time, and decides who is to blame
    keeper    a process without threads that has the readings and the imports; forks the child, watches it, kills it
    child     scores one model after the other until one of them ends it; then the keeper forks the next

The node cannot fork by itself: its threads, and obstore's, would not be there in the child. The child has no store
and no credentials of its own, and nothing that a store does counts against a model. Knows nothing of reports.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from shared.contract import Verdict, clip
from shared.domain import Model, Reason
from shared.errors import Unavailable

from . import chunk
from .chunk import Scored
from .readings import Readings
from .stores import Container, Content

PATIENCE = 60.0  # seconds that a model may take, from its file to its scores
MEMORY = 4 * 2**30  # bytes that a child may take beyond what it began with
BEAT = 0.02  # seconds between two looks at a child; what it can take in so short a time goes beyond MEMORY
GRACE = 1.0  # seconds that a process has to end by itself
PRELOAD = ("skops.io", "pandas")  # and with them scikit-learn: 2 s that a child finds done

Scoring = Callable[[Model, Content, Readings], Scored]

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Died:
    """A child's answer that never came: it ended, or had to be ended, over a model."""

    reason: Reason
    how: str


def score_carefully(
    models: Sequence[Model],
    container: Container,
    readings: Readings,
    *,
    patience: float = PATIENCE,
    memory: int = MEMORY,
    scoring: Scoring = chunk.score_one,
) -> Iterator[Scored]:
    """As `chunk.score`; a model that ended two children, the second one fresh, is CRASHED or ENDLESS.

    *scoring* is called in the child, and goes there by its name. Raises Unavailable, also where the keeper dies.
    """
    context = multiprocessing.get_context("spawn")
    keeper, far = context.Pipe()
    process = context.Process(target=_keep, args=(os.getpid(), far, readings, scoring, patience, memory))
    try:
        process.start()
    except OSError as error:
        raise Unavailable(f"cannot start the process that keeps the children: {error}") from error
    far.close()
    try:
        for model, content in chunk.fetch(models, container, readings):
            if isinstance(content, Content):
                one = _try_twice(keeper, model, content)
            else:
                one = chunk.score_one(model, content, readings)  # runs nothing of the model's
            chunk.tell(one)
            yield one
    finally:
        keeper.close()  # at which keeper and child end by themselves, unless the child is at work
        process.join(GRACE)
        process.kill()
        process.join()


def _try_twice(keeper: Connection, model: Model, content: Content) -> Scored:
    """A child may die for a reason of its own, so a model is blamed only for what it did to a fresh one, alone."""
    answer = _ask(keeper, model, content)
    if isinstance(answer, Scored):
        return answer
    log.warning("child ended at model=%s: %s; trying it alone in a fresh one", model.id, answer.how)
    answer = _ask(keeper, model, content)
    if isinstance(answer, Scored):
        log.info("model=%s ended well alone; it is not to blame", model.id)
        return answer
    log.warning("child ended at model=%s alone: %s; it is to blame", model.id, answer.how)
    message = clip(f"{answer.how}, when it was tried again alone")
    return Scored(Verdict(model.id, reason=answer.reason, message=message, etag=content.etag))


def _ask(keeper: Connection, model: Model, content: Content) -> Scored | Died:
    try:
        keeper.send((model, content))
        answer: Scored | Died = keeper.recv()
    except (EOFError, OSError) as error:
        raise Unavailable(f"the process that keeps the children was gone at model={model.id}") from error
    return answer


def _keep(node: int, orders: Connection, readings: Readings, scoring: Scoring, patience: float, memory: int) -> None:
    """Have a child answer the orders; when it dies over one, say so in its place, and have a fresh one for the next."""
    _die_with(node)
    for name in PRELOAD:
        importlib.import_module(name)
    gc.freeze()  # what a child has from its keeper, it need not search for garbage, and so not copy
    context = multiprocessing.get_context("fork")
    with suppress(EOFError, BrokenPipeError):  # the node has closed its end
        while True:
            near, far = context.Pipe()
            child = context.Process(target=_work, args=(os.getpid(), (near, orders), far, readings, scoring))
            child.start()
            far.close()
            with near:
                orders.send(_relay(orders, near, child, patience, memory))


def _relay(orders: Connection, line: Connection, child: BaseProcess, patience: float, memory: int) -> Died:
    """Pass orders to the child and its answers back, until it is dead: what to say to the last order."""
    limit = _own_memory(child) + memory
    while True:
        order = orders.recv_bytes()
        deadline = time.monotonic() + patience
        try:
            line.send_bytes(order)
            while not line.poll(BEAT):
                if time.monotonic() > deadline:
                    _killed(child)
                    return Died(Reason.ENDLESS, f"came to no end within {patience:g} s")
                if _own_memory(child) > limit:
                    _killed(child)
                    return Died(Reason.CRASHED, f"took more than {memory // 2**20} MiB of memory")
            answer = line.recv_bytes()
        except (EOFError, OSError):
            child.join(GRACE)
            status = _killed(child)
            return Died(Reason.CRASHED, f"its process ended {_manner(status)}")
        orders.send_bytes(answer)


def _killed(child: BaseProcess) -> int:
    """Make sure that it is dead; returns its exit code, negative for the signal that it died of."""
    child.kill()  # nothing happens where it is dead already
    child.join()
    assert child.exitcode is not None
    return child.exitcode


def _own_memory(process: BaseProcess) -> int:
    """Bytes that it holds and shares with no file; 0 where it is gone, or the system does not tell.

    Looked at rather than limited (RLIMIT_DATA): under a limit the model would fail by a mere MemoryError here, nobody
    would call it poison, and it would bring down the next attempt that is not careful, and so on every hour.
    """
    try:
        _, resident, shared, *_ = Path(f"/proc/{process.pid}/statm").read_text().split()
    except OSError:
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGESIZE")


def _manner(status: int) -> str:
    try:
        return f"with exit code {status}" if status >= 0 else f"by {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal has no name
        return f"by signal {-status}"


def _work(keeper: int, not_ours: Sequence[Connection], line: Connection, readings: Readings, scoring: Scoring) -> None:
    """Be a child: answer orders until the line is closed, or one of them is the end."""
    _die_with(keeper)
    for inherited in not_ours:
        inherited.close()
    with suppress(OSError):  # where memory runs out all the same, the kernel is to take this process
        Path("/proc/self/oom_score_adj").write_text("1000")
    with suppress(EOFError):
        while True:
            model, content = line.recv()
            line.send(scoring(model, content, readings))


def _die_with(parent: int) -> None:
    """Let the kernel end this process when its parent is killed; only Linux can."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
