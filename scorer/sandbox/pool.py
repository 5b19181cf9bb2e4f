"""Scores models in worker processes, where they can do no harm, and names the model that ends or blocks its process.

Each pair of pipes leads to a supervisor with one worker process (`supervisor`). A request is pickled: the node wrote
it (`requests`). A reply is not: see `replies`. An error of a store counts against no model, since the node fetches the
files; a supervisor that is lost counts against none either. Knows nothing of reports.
"""

from __future__ import annotations

import json
import logging
import os
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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from scorer.predictions.outcome import ModelOutcome
from scorer.processes import list_module_folders
from scorer.readings.device_readings import Readings
from shared.contract.domain import Model
from shared.contract.errors import Unavailable
from shared.contract.outcomes import ModelResult
from shared.contract.reasons import Reason
from shared.contract.scoring_options import Probabilities
from shared.contract.text import clip_text

from . import pipe, replies, requests
from .arena import Arena, make_arena
from .pipe import Frame, FrameKind, InvalidFrame, PipeEnd
from .requests import Item, Sent

MODEL_TIMEOUT = 60.0  # seconds that a model may take, from its file to its scores
WORKER_MEMORY = 4 * 2**30  # bytes that a worker process may add to its initial memory, where the machine has them
QUEUED_REQUESTS = 8  # for each worker process, before the first of them ended; bounds the memory
SUPERVISOR_TIMEOUT = (
    180.0  # seconds that a supervisor may be silent beyond the time-out of a model, before it is given up
)
THREADS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")
# Variables that Python may need to start, or that decide how numbers are rounded. No others go to a supervisor: our
# environment holds credentials.
INHERITED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "LANG", "LC_ALL", "GLIBC_TUNABLES")
INHERITED_PREFIXES = ("OPENBLAS_", "MKL_", "BLIS_", "NPY_")

Scoring = Callable[[Model, Sent, Readings], ModelOutcome]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerCrash:
    """A worker process ended, was killed, or gave an invalid reply while it scored a model."""

    reason: Reason
    detail: str
    place: int = 0  # of the model in its request, as far as the process can be believed


@dataclass(slots=True)
class _WorkerSlot:
    """The pipes to a supervisor, which has one worker process at a time."""

    pipe_end: PipeEnd
    arena: Arena | None  # where requests are written; None where only the pipe carries them
    is_replacement: bool = False  # the first supervisor was lost
    is_suspect: bool = False  # its worker process sent an invalid reply

    def send_request(self, request: Frame) -> None:
        """Send a request, with its tail in the arena where it fits there. Raises BrokenPipeError."""
        if self.arena and (length := self.arena.write(request.tail)):
            request = replace(request, payload=requests.LENGTH.pack(length), tail=())
        self.pipe_end.send_frames(request)

    def close(self) -> None:
        """Close what leads to the supervisor."""
        self.pipe_end.close()
        if self.arena:
            self.arena.close()


# By its name, since it imports what only jobs with such models need.
_SCORING = "scorer.estimators.score_model:score_model_file"


class WorkerPool:
    """Processes that score models; started by `start_workers`, ended with the context."""

    def __init__(
        self,
        count: int,
        *,
        timeout: float = MODEL_TIMEOUT,
        memory: int | None = None,
        size_limit: int | None = None,
        probabilities: Probabilities | None = None,
        scoring: Scoring | str = _SCORING,
    ) -> None:
        """For *count* models at once, each at most *timeout* seconds and *memory* bytes (None: a fair share).

        *size_limit* is that of a model's file, unpacked, in bytes. *scoring* is called in the worker process, and
        passed by its name; it gets *size_limit* and *probabilities* by name, where they are given.
        """
        self._count = count
        self._timeout = timeout
        self._memory = min(memory or WORKER_MEMORY, _compute_memory_share(count))
        options = {"size_limit": size_limit, "probabilities": probabilities}
        self._options = {name: option for name, option in options.items() if option is not None}
        self._scoring = scoring if isinstance(scoring, str) else f"{scoring.__module__}:{scoring.__qualname__}"
        self._pool = ThreadPoolExecutor(count)
        self._workers: list[_WorkerSlot] = []
        self._idle: queue.SimpleQueue[_WorkerSlot] = queue.SimpleQueue()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._missing_protections: dict[str, None] = {}
        self._starting = threading.Lock()
        self._is_closed = False

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about protections that the sandbox lacks on this system; complete after the first model."""
        return tuple(self._missing_protections)

    def start_workers(self) -> None:
        """Start the processes, without waiting for them: their imports take 2 s. Raises Unavailable."""
        if not self._workers:
            self._workers = [_WorkerSlot(*ends) for ends in self._start_supervisor(self._count)]
            for worker in self._workers:
                self._idle.put(worker)

    def score_items(self, items: Iterable[Item]) -> Iterator[ModelOutcome]:
        """Each model's outcome, in their order. A model that ended two worker processes, the second a fresh one, fails.

        An item with an error in place of its file fails by that. Raises Unavailable where a supervisor dies twice.
        """
        waiting: deque[Future[list[ModelOutcome]]] = deque()
        try:
            for request_items in requests.split_items(items):
                waiting.append(self._submit_items(request_items))
                while waiting and (len(waiting) >= QUEUED_REQUESTS * self._count or waiting[0].done()):
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
            self._is_closed = True  # from now on no killed process is replaced
        for process in self._processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with its supervisors and worker processes
            process.wait()
        self._pool.shutdown()  # threads that waited for a reply got EOFError
        for worker in self._workers:
            worker.close()

    def _start_supervisor(self, count: int) -> list[tuple[PipeEnd, Arena | None]]:
        """Start a process with *count* supervisors, and return the pipes to them, and their arenas."""
        node_ends: list[tuple[int, int]] = []
        supervisor_ends: list[tuple[int, int]] = []
        arenas: list[Arena | None] = []
        inherited: list[int] = []
        try:
            for _ in range(count):
                (requests_end, to_supervisor), (to_node, replies_end) = pipe.open_pipes()
                node_ends.append((to_node, to_supervisor))
                supervisor_ends.append((requests_end, replies_end))
                inherited += (requests_end, replies_end)
                arenas.append(arena := make_arena())
                inherited += [arena.read_fd] if arena else []
            config = {
                "pipes": supervisor_ends,
                "arenas": [arena.read_fd if arena else None for arena in arenas],
                "timeout": self._timeout,
                "memory": self._memory,
                "scoring": self._scoring,
                "options": self._options,
            }
            with self._starting:
                if self._is_closed:
                    raise Unavailable("the worker processes are being ended")
                self._processes.append(_spawn_supervisor(config, inherited))
        except (OSError, Unavailable) as error:
            for end in (end for ends in node_ends for end in ends):
                os.close(end)
            for arena in filter(None, arenas):
                arena.close()
            raise Unavailable(f"cannot start the process that supervises the workers: {error}") from error
        finally:
            for end in inherited:
                os.close(end)
        return [(PipeEnd(*ends), arena) for ends, arena in zip(node_ends, arenas, strict=True)]

    def _submit_items(self, items: Sequence[Item]) -> Future[list[ModelOutcome]]:
        model, content, readings = items[0]
        if not isinstance(content, Exception):
            self.start_workers()
            return self._pool.submit(self._score_request, items)
        from scorer.estimators.score_model import score_model_file  # late: most jobs have no such model

        future: Future[list[ModelOutcome]] = Future()
        future.set_result([score_model_file(model, content, readings)])  # runs no code of the model
        return future

    def _score_request(self, items: Sequence[Item]) -> list[ModelOutcome]:
        worker = self._idle.get()
        try:
            outcomes: dict[int, ModelOutcome] = {}
            pending, is_exact = list(range(len(items))), False
            while pending:
                fresh = is_exact or worker.is_suspect
                new_outcomes, crash = self._request_outcomes(worker, [items[index] for index in pending], fresh=fresh)
                outcomes |= zip(pending, new_outcomes, strict=False)
                place = max(crash.place, len(new_outcomes)) if crash else 0
                pending = pending[len(new_outcomes) :]
                if crash:
                    suspect = pending.pop(min(place - len(new_outcomes), len(pending) - 1))
                    outcomes[suspect] = self._retry_alone(worker, items[suspect], crash)
                    is_exact = True  # what it says of the place may be wrong; from now on each reply comes at once
            return [outcomes[index] for index in range(len(items))]
        finally:
            self._idle.put(worker)

    def _retry_alone(self, worker: _WorkerSlot, item: Item, first_crash: WorkerCrash) -> ModelOutcome:
        """A worker process may die for other reasons, so a model fails only if it ends a fresh one, alone."""
        model, content, _ = item
        assert not isinstance(content, Exception)
        log.warning(
            "worker process ended at model=%s: %s; trying the model alone in a fresh one", model.id, first_crash.detail
        )
        outcomes, crash = self._request_outcomes(worker, [item], fresh=True)
        if crash is None:
            log.info("model=%s was scored alone; it is not the cause", model.id)
            return outcomes[0]
        log.warning("worker process ended at model=%s alone: %s; the model is the cause", model.id, crash.detail)
        message = clip_text(f"{crash.detail}, when it was tried again alone")
        return ModelOutcome(ModelResult(model.id, reason=crash.reason, message=message, etag=content.etag))

    def _request_outcomes(
        self, worker: _WorkerSlot, items: Sequence[Item], *, fresh: bool
    ) -> tuple[list[ModelOutcome], WorkerCrash | None]:
        """The outcomes of models in this worker process, up to the model at which it crashed.

        A supervisor that is lost meanwhile is replaced, once.
        """
        random = os.urandom(pipe.MARK * len(items))
        marks = [random[at : at + pipe.MARK] for at in range(0, len(random), pipe.MARK)]
        pieces = tuple(requests.to_pieces(marks, items))
        reply_limit = replies.compute_reply_limit(
            max(readings.count_rows(model.device) for model, _, readings in items)
        )
        kind = FrameKind.FRESH_REQUEST if fresh else FrameKind.REQUEST
        request = Frame(marks[0], kind, b"", len(items), reply_limit, pieces)
        while True:
            try:
                frames = self._exchange_frames(worker, request)
                break
            except (EOFError, OSError, InvalidFrame) as error:
                first = items[0][0].id
                if worker.is_replacement:
                    raise Unavailable(f"the process that supervises the workers was lost at model={first}") from error
                log.warning("a supervisor was lost at model=%s; it is replaced", first)
                (replacement,) = self._start_supervisor(1)
                worker.close()
                (worker.pipe_end, worker.arena), worker.is_replacement = replacement, True
        worker.is_suspect = False
        outcomes: list[ModelOutcome] = []
        for mark, item, frame in zip(marks, items, frames, strict=False):
            outcome = _read_reply(frame, mark, item)
            if isinstance(outcome, WorkerCrash):
                worker.is_suspect = frame.kind is FrameKind.REPLY
                return outcomes, outcome
            outcomes.append(outcome)
        return outcomes, None

    def _exchange_frames(self, worker: _WorkerSlot, request: Frame) -> list[Frame]:
        """The supervisor's replies. Raises EOFError, OSError, InvalidFrame where the supervisor is lost."""
        patience = self._timeout + SUPERVISOR_TIMEOUT
        deadline = time.monotonic() + patience
        frames: list[Frame] = []
        worker.send_request(request)
        while len(frames) < request.count and not (frames and frames[-1].kind is FrameKind.DIED):
            frame = worker.pipe_end.receive_frame(self._timeout, request.reply_limit)
            if frame and frame.kind is FrameKind.READY:
                self._missing_protections |= dict.fromkeys(json.loads(frame.payload))
            elif frame:
                frames.append(frame)
                deadline = time.monotonic() + patience
            elif time.monotonic() > deadline:
                raise TimeoutError(f"a supervisor sent nothing for {patience:g} s")
        return frames


def _spawn_supervisor(config: Mapping[str, object], ends: Sequence[int]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  # our own program
        [sys.executable, "-P", "-m", "scorer.sandbox.supervisor", json.dumps(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=ends,
        env=_build_environment(),
        start_new_session=True,  # so that Ctrl-C at a desk reaches our process only
    )


def _read_reply(frame: Frame, mark: bytes, item: Item) -> ModelOutcome | WorkerCrash:
    """The content of a frame: a model's outcome, or the crash of its worker process."""
    model, content, readings = item
    assert not isinstance(content, Exception)
    if frame.kind is FrameKind.DIED:
        fields = json.loads(frame.payload)
        return WorkerCrash(Reason(fields["reason"]), fields["detail"], fields["place"])
    if frame.mark != mark:
        return WorkerCrash(Reason.CRASHED, "its process replied to another request")
    try:
        return replies.parse_reply(bytes(frame.payload), model, content.etag, readings)
    except ValueError as error:
        return WorkerCrash(Reason.CRASHED, f"{pipe.UNUSABLE}: {error}")


def _compute_memory_share(count: int) -> int:
    """Bytes for each of *count* worker processes: together they may take half of the memory of machine or container."""
    total = os.sysconf("SC_PAGESIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # the file does not exist, or holds "max"
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(WORKER_MEMORY, total // 2 // count)


def _build_environment() -> dict[str, str]:
    """The whole environment of a supervisor: the paths of Python and our code, and one thread for each library."""
    inherited = {
        name: text for name, text in os.environ.items() if name in INHERITED or name.startswith(INHERITED_PREFIXES)
    }
    threads = {f"{library}_NUM_THREADS": "1" for library in THREADS}
    # Arrow's allocator starts a thread by default, and a process that forks must have none.
    allocator = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
    return {**inherited, **threads, **allocator, "PYTHONPATH": list_module_folders()}
