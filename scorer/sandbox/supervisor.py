"""A process between the node and its children: it has the imports, forks a child, watches it, and replaces it.

    node      has the stores, the credentials, and threads, so it can neither fork nor load a model (`children`)
    keeper    one process with everything imported; from it, for each lane, a process that keeps that lane's child
    child     gives up what it can (`sandbox`), then scores one model after the other until one of them ends it

Started with an empty environment. All end when the node does: keepers see their lines close, children die with their
keeper. Nothing that a child says is looked into here, but for its length.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pickle
import re
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from scorer.estimators.score_model import blame
from scorer.model_files import allowlist
from scorer.predictions.outcome import Scored
from scorer.processes import die_with, signal_name
from scorer.readings.source import Readings
from scorer.storage.blob_store import Content
from shared.contract.domain import Model, Reason
from shared.contract.report import ModelResult

from . import isolation, pipe, replies
from .pipe import Frame, Garbled, Kind, Line

BEAT = 0.02  # seconds between two looks at a child that is at work; what it can take in so short a time goes beyond
PAUSE = 1.0  # seconds between two looks at one that is not
GRACE = 1.0  # seconds that a child which has hung up has to end by itself
BIRTH = 60.0  # seconds that a child may take to be ready
THREADS = 64  # of a child; scikit-learn needs one
ORDER_LIMIT = 2**32  # bytes
READY_LIMIT = 2**14
PRELOAD = ("skops.io", "pandas", *sorted({module for module, _ in allowlist.CLASSES | allowlist.FUNCTIONS}))

Scoring = Callable[[Model, Content, Readings], Scored]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may take for a model."""

    patience: float  # seconds, from its file to its scores
    memory: int  # bytes of its own, beyond what it began with


@dataclass(frozen=True, slots=True)
class _Child:
    """A process, and the line to it."""

    pid: int
    line: Line
    ready: Frame
    began_with: int  # bytes of its own


def main(order: str) -> None:
    """Keep a child for each of the *order*'s lanes, until the node hangs up."""
    expected = json.loads(order)
    module, _, name = expected["scoring"].partition(":")
    _preload()
    scoring: Scoring = getattr(importlib.import_module(module), name)
    limits = Limits(expected["patience"], expected["memory"])
    lanes: list[list[int]] = expected["lanes"]
    us = os.getpid()
    for lane in lanes:
        if os.fork() == 0:
            die_with(us)
            for end in (end for other in lanes if other is not lane for end in other):
                os.close(end)  # else the node would not see it when that lane's keeper ends
            _keep(Line(*lane), limits, scoring)
    for end in (end for lane in lanes for end in lane):
        os.close(end)
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _preload() -> None:
    """Do once what children would do each for itself, and have joblib start no threads or processes in them."""
    for name in PRELOAD:
        importlib.import_module(name)
    import pandas as pd
    from joblib import parallel_config
    from sklearn.svm import OneClassSVM

    parallel_config(backend="sequential")
    for rows in (np.eye(2), pd.DataFrame({"a": [0.0, 1.0]})):  # at its first rows scikit-learn looks round for 50 ms
        OneClassSVM().fit(rows).decision_function(rows)
    gc.collect()
    gc.freeze()  # what a child has from its keeper, it need not search for garbage, and so not copy


def _keep(node: Line, limits: Limits, scoring: Scoring) -> NoReturn:
    """Have a child answer the node's orders, one at a time; where it dies over one, say so in its place."""
    try:
        child, is_fresh = _bear(limits, scoring), True
        node.say(child.ready)
        while True:
            order = _next_order(node, child, limits)
            if child.line.stirs() or (order.kind is Kind.ALONE and not is_fresh):
                _bury(child)
                child = _bear(limits, scoring)
            is_fresh = False
            found = _ask(child, order, node, limits)
            node.say(*found)
            if found[-1].kind is Kind.DIED:
                _bury(child)
                child, is_fresh = _bear(limits, scoring), True
    except (EOFError, BrokenPipeError):
        os._exit(0)  # the node has hung up; the child dies with us
    except BaseException as error:  # noqa: BLE001  # the one line that the node's log gets of it
        print(f"a keeper of children ends: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def _next_order(node: Line, child: _Child, limits: Limits) -> Frame:
    """Wait for it, and see that what is left running in the child meanwhile takes no more than it may."""
    while (order := node.hear(PAUSE, ORDER_LIMIT)) is None:
        if _excess(child, limits):
            os.kill(child.pid, signal.SIGKILL)
    return order


def _ask(child: _Child, order: Frame, node: Line, limits: Limits) -> list[Frame]:
    """The child's answers to an order; where it died over a model, the last one says how."""
    found: list[Frame] = []
    try:
        child.line.say(order)
        while len(found) < order.count and not (found and found[-1].kind is Kind.DIED):
            found.append(_answer(child, order.room, node, limits))
    except (BrokenPipeError, EOFError):
        if node.is_gone():
            raise EOFError from None
        found.append(_died(Reason.CRASHED, _manner(child.pid)))
    except Garbled as error:
        found.append(_died(Reason.CRASHED, f"{pipe.UNUSABLE}: {error}"))
    return found


def _answer(child: _Child, room: int, node: Line, limits: Limits) -> Frame:
    """The child's next answer, or why it is not waited for any longer. Raises EOFError, BrokenPipeError, Garbled."""
    began = look = time.monotonic()
    while (answer := child.line.hear(BEAT, room)) is None:
        now = time.monotonic()
        if now - look < BEAT:
            continue
        look = now
        if now - began > limits.patience:
            return _died(Reason.ENDLESS, f"came to no end within {limits.patience:g} s")
        if excess := _excess(child, limits):
            return _died(Reason.CRASHED, excess)
        if node.is_gone():
            raise EOFError
    if answer.kind is not Kind.ANSWER:
        raise Garbled(f"a frame of kind {answer.kind}")
    return answer


def _died(reason: Reason, how: str) -> Frame:
    return Frame(bytes(pipe.MARK), Kind.DIED, json.dumps({"reason": reason, "how": how}).encode())


def _manner(pid: int) -> str:
    """How a child ended that has hung up."""
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline:
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended:
            exited = ended.si_code == os.CLD_EXITED
            how = f"with exit code {ended.si_status}" if exited else f"by {signal_name(ended.si_status)}"
            return f"its process ended {how}"
        time.sleep(BEAT / 10)
    return "its process hung up and went on"


def _excess(child: _Child, limits: Limits) -> str:
    """What it has too much of; "" where all is well, it is gone, or the system does not tell.

    Looked at rather than limited alone: under a limit an allocation fails, and what then happens is the model's choice.
    """
    memory, threads = _holds(child.pid)
    if memory > child.began_with + limits.memory:
        return f"took more than {limits.memory // 2**20} MiB of memory"
    return f"started more than {THREADS} threads" if threads > THREADS else ""


def _holds(pid: int) -> tuple[int, int]:
    """Bytes that a process has for itself alone, or shares with no file; and its threads."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0, 0
    has = {
        name: int(count) for name, count in re.findall(r"^(RssAnon|RssShmem|Threads):\s*(\d+)", status, re.MULTILINE)
    }
    return (has.get("RssAnon", 0) + has.get("RssShmem", 0)) * 1024, has.get("Threads", 0)


def _bear(limits: Limits, scoring: Scoring) -> _Child:
    """A new child, ready for its first order. Raises OSError, EOFError, TimeoutError."""
    orders, to_child = os.pipe()
    to_keeper, outgoing = os.pipe()
    us = os.getpid()
    pid = os.fork()
    if pid == 0:
        _be_child(us, orders, outgoing, limits, scoring)
    os.close(orders)
    os.close(outgoing)
    line = Line(to_keeper, to_child)
    deadline = time.monotonic() + BIRTH
    while (ready := line.hear(BEAT, READY_LIMIT)) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"a new child was not ready within {BIRTH:g} s")
    return _Child(pid, line, ready, _holds(pid)[0])


def _bury(child: _Child) -> None:
    os.kill(child.pid, signal.SIGKILL)  # it is not reaped yet, so the number is still its own
    os.waitpid(child.pid, 0)
    child.line.close()


def _be_child(keeper: int, orders: int, outgoing: int, limits: Limits, scoring: Scoring) -> NoReturn:
    """Be a child: enter the sandbox, answer orders until the line is closed."""
    try:
        die_with(keeper)
        nothing = os.open(os.devnull, os.O_RDWR)
        for end in (0, 1, 2):  # what a model prints is nobody's business, and might look like our log
            os.dup2(nothing, end)
        low, high = sorted((orders, outgoing))
        for first, behind in ((3, low), (low + 1, high), (high + 1, os.sysconf("SC_OPEN_MAX"))):
            os.closerange(first, behind)
        with suppress(OSError):  # where memory runs out all the same, the kernel is to take this process
            Path("/proc/self/oom_score_adj").write_text("1000")
        lacking = isolation.enter(2 * limits.memory)
        pipe.write(outgoing, Frame(bytes(pipe.MARK), Kind.READY, json.dumps(lacking).encode()))
        while True:
            order = pipe.read(orders)
            for mark, model, content, readings in pickle.loads(order.payload):  # noqa: S301  # the node wrote it
                one = _scored(scoring, model, content, readings)
                pipe.write(outgoing, Frame(mark, Kind.ANSWER, replies.to_bytes(one)))
    finally:
        os._exit(1)


def _scored(scoring: Scoring, model: Model, content: Content, readings: Readings) -> Scored:
    """The model's verdict, also where it raises what is not meant to be caught."""
    try:
        return scoring(model, content, readings)
    except BaseException as error:  # noqa: BLE001  # SystemExit too is only this model's word
        reason, message = blame(error)
        return Scored(ModelResult(model.id, reason=reason, message=message))


if __name__ == "__main__":
    main(sys.argv[1])
