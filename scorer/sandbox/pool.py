"""Scores models in child processes, where they can do no harm, and blames the one that ends or holds its process.

Lanes lie side by side; at the other end of each is a keeper with one child (`keeper`). An order is pickled: the node
wrote it. Nothing that comes back is: see `answers`. What a store does counts against no model, since the node fetches
the files; a lane that is lost counts against none either. Knows nothing of reports.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from scorer.estimators.score_model import score_one
from scorer.predictions.outcome import Scored
from scorer.processes import list_module_folders
from scorer.readings.source import Readings
from scorer.storage.blob_store import Content
from shared.contract.domain import Model, Reason
from shared.contract.errors import Unavailable
from shared.contract.report import ModelResult
from shared.contract.text import clip_text

from . import pipe, replies
from .pipe import Frame, Garbled, Kind, Line

PATIENCE = 60.0  # seconds that a model may take, from its file to its scores
MEMORY = 4 * 2**30  # bytes that a child may take beyond what it began with, where the machine has them
GROUP, GROUP_BYTES = 8, 2**16  # models that go to a child in one order, and bytes of their files: small ones together
AHEAD = 8  # orders for each lane that are taken up before the first of them has ended; bounds the memory
SILENCE = 180.0  # seconds beyond its patience after which a keeper is given up
THREADS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")
# What Python may need to start, and what decides how numbers are rounded. Nothing else of our environment goes to a
# keeper: it holds credentials.
INHERITED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "LANG", "LC_ALL", "GLIBC_TUNABLES")
INHERITED_OF = ("OPENBLAS_", "MKL_", "BLIS_", "NPY_")

Scoring = Callable[[Model, Content, Readings], Scored]
Item = tuple[Model, Content | Exception, Readings]  # of the readings just those of its device

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Died:
    """A child's answer that never came, or was none: it ended, or had to be ended, over a model."""

    reason: Reason
    how: str


@dataclass(slots=True)
class _Lane:
    """The line to a keeper, which has one child at a time."""

    line: Line
    is_second: bool = False  # the first one of this lane was lost
    is_spoilt: bool = False  # its child has said what cannot be used


class Children:
    """Processes that score models; they are there from `prepare` on, and gone when the context ends."""

    def __init__(
        self, lanes: int, *, patience: float = PATIENCE, memory: int | None = None, scoring: Scoring = score_one
    ) -> None:
        """For *lanes* models at once, each at most *patience* seconds and *memory* bytes (None: a fair share).

        *scoring* is called in the child, and goes there by its name.
        """
        self._count = lanes
        self._patience = patience
        self._memory = min(memory or MEMORY, _share(lanes))
        self._scoring = f"{scoring.__module__}:{scoring.__qualname__}"
        self._pool = ThreadPoolExecutor(lanes)
        self._lanes: list[_Lane] = []
        self._idle: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._lacking: dict[str, None] = {}
        self._starting = threading.Lock()
        self._is_over = False

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about what the sandbox of the children lacks on this system; whole when a model was scored."""
        return tuple(self._lacking)

    def prepare(self) -> None:
        """Start what scoring needs, and do not wait for it: imports take 2 s. Raises Unavailable."""
        if not self._lanes:
            self._lanes = [_Lane(line) for line in self._start(self._count)]
            for lane in self._lanes:
                self._idle.put(lane)

    def score(self, items: Iterable[Item]) -> Iterator[Scored]:
        """Each model's verdict, in their order; one that ended two children, the second one fresh, is to blame.

        An item with an error in the place of its file fails by that. Raises Unavailable where a keeper dies twice.
        """
        waiting: deque[Future[list[Scored]]] = deque()
        try:
            for group in _groups(items):
                waiting.append(self._submit(group))
                while waiting and (len(waiting) >= AHEAD * self._count or waiting[0].done()):
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._starting:
            self._is_over = True  # from now on nobody replaces what is killed here
        for process in self._processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the keepers and their children with it
            process.wait()
        self._pool.shutdown()  # who still waited for an answer has heard that the line is closed
        for lane in self._lanes:
            lane.line.close()

    def _start(self, count: int) -> list[Line]:
        """A process with so many keepers, and the lines to them."""
        near, far = [], []
        for _ in range(count):
            (orders, to_keeper), (to_node, replies) = os.pipe(), os.pipe()
            near.append((to_node, to_keeper))
            far.append((orders, replies))
        order = {"lanes": far, "patience": self._patience, "memory": self._memory, "scoring": self._scoring}
        try:
            with self._starting:
                if self._is_over:
                    raise Unavailable("the children are being ended")
                self._processes.append(_process(order, [end for ends in far for end in ends]))
        except (OSError, Unavailable) as error:
            for end in (end for ends in near for end in ends):
                os.close(end)
            raise Unavailable(f"cannot start the process that keeps the children: {error}") from error
        finally:
            for end in (end for ends in far for end in ends):
                os.close(end)
        return [Line(*ends) for ends in near]

    def _submit(self, group: Sequence[Item]) -> Future[list[Scored]]:
        model, content, readings = group[0]
        if isinstance(content, Content):
            self.prepare()
            return self._pool.submit(self._score, group)
        at_once: Future[list[Scored]] = Future()
        at_once.set_result([score_one(model, content, readings)])  # runs nothing of the model's
        return at_once

    def _score(self, group: Sequence[Item]) -> list[Scored]:
        lane = self._idle.get()
        try:
            ended: list[Scored] = []
            while len(ended) < len(group):
                found, died = self._ask(lane, group[len(ended) :], alone=lane.is_spoilt)
                ended += found
                if died:
                    ended.append(self._try_again(lane, group[len(ended)], died))
            return ended
        finally:
            self._idle.put(lane)

    def _try_again(self, lane: _Lane, item: Item, before: Died) -> Scored:
        """A child may die for a reason of its own, so a model is blamed only for what it did to a fresh one, alone."""
        model, content, _ = item
        assert isinstance(content, Content)
        log.warning("child ended at model=%s: %s; trying it alone in a fresh one", model.id, before.how)
        found, died = self._ask(lane, [item], alone=True)
        if died is None:
            log.info("model=%s ended well alone; it is not to blame", model.id)
            return found[0]
        log.warning("child ended at model=%s alone: %s; it is to blame", model.id, died.how)
        message = clip_text(f"{died.how}, when it was tried again alone")
        return Scored(ModelResult(model.id, reason=died.reason, message=message, etag=content.etag))

    def _ask(self, lane: _Lane, items: Sequence[Item], *, alone: bool) -> tuple[list[Scored], Died | None]:
        """What becomes of models in this lane's child, up to the one over which it died.

        A lane that is lost over them is replaced, once.
        """
        marks = [os.urandom(pipe.MARK) for _ in items]
        payload = pickle.dumps([(mark, *item) for mark, item in zip(marks, items, strict=True)], protocol=5)
        room = max(replies.room(readings) for *_, readings in items)
        order = Frame(marks[0], Kind.ALONE if alone else Kind.ORDER, payload, len(items), room)
        while True:
            try:
                frames = self._exchange(lane.line, order)
                break
            except (EOFError, OSError, Garbled) as error:
                first = items[0][0].id
                if lane.is_second:
                    raise Unavailable(f"the process that keeps the children was gone at model={first}") from error
                log.warning("the keeper of a lane was gone at model=%s; it is replaced", first)
                (fresh,) = self._start(1)
                lane.line.close()
                lane.line, lane.is_second = fresh, True
        lane.is_spoilt = False
        ended: list[Scored] = []
        for mark, item, frame in zip(marks, items, frames, strict=False):
            one = _read(frame, mark, item)
            if isinstance(one, Died):
                lane.is_spoilt = frame.kind is Kind.ANSWER
                return ended, one
            ended.append(one)
        return ended, None

    def _exchange(self, line: Line, order: Frame) -> list[Frame]:
        """The keeper's answers. Raises EOFError, OSError, Garbled where the keeper is lost."""
        deadline = time.monotonic() + self._patience * order.count + SILENCE
        frames: list[Frame] = []
        line.say(order)
        while len(frames) < order.count and not (frames and frames[-1].kind is Kind.DIED):
            frame = line.hear(self._patience, order.room)
            if frame and frame.kind is Kind.READY:
                self._lacking |= dict.fromkeys(json.loads(frame.payload))
            elif frame:
                frames.append(frame)
            elif time.monotonic() > deadline:
                raise TimeoutError(f"a keeper said nothing for {SILENCE:g} s")
        return frames


def _process(order: Mapping[str, object], ends: Sequence[int]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  # our own program
        [sys.executable, "-P", "-m", "scorer.sandbox.supervisor", json.dumps(order)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=ends,
        env=_environment(),
        start_new_session=True,  # so that Ctrl-C at a desk is the node's business alone
    )


def _groups(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Small models together, since a message costs as much as a small model; one without a file by itself."""
    group: list[Item] = []
    size = 0
    for item in items:
        _, content, _ = item
        more = len(content.data) if isinstance(content, Content) else GROUP_BYTES + 1
        if group and (len(group) == GROUP or size + more > GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(item)
        size += more
    if group:
        yield group


def _read(frame: Frame, mark: bytes, item: Item) -> Scored | Died:
    """What a frame says of a model: the keeper that its child died, or the child what came of it."""
    model, content, readings = item
    assert isinstance(content, Content)
    if frame.kind is Kind.DIED:
        told = json.loads(frame.payload)
        return Died(Reason(told["reason"]), told["how"])
    if frame.mark != mark:
        return Died(Reason.CRASHED, "its process answered what nobody had asked")
    try:
        return replies.parse(frame.payload, model, content.etag, readings)
    except ValueError as error:
        return Died(Reason.CRASHED, f"{pipe.UNUSABLE}: {error}")


def _share(lanes: int) -> int:
    """Bytes for each of so many children: together they may take half of what this machine, or container, has."""
    whole = os.sysconf("SC_PAGESIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # there is no such file, or it says "max"
        whole = min(whole, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(MEMORY, whole // 2 // lanes)


def _environment() -> dict[str, str]:
    """All that a keeper has: where Python and we are, and that it is to use one thread."""
    kept = {name: text for name, text in os.environ.items() if name in INHERITED or name.startswith(INHERITED_OF)}
    threads = {f"{library}_NUM_THREADS": "1" for library in THREADS}
    # Arrow's allocator starts a thread of its own unless told otherwise, and who forks must have none.
    return {**kept, **threads, "PYTHONPATH": list_module_folders(), "JE_ARROW_MALLOC_CONF": "background_thread:false"}
