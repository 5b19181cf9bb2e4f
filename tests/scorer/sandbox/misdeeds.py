"""What models may do to the process that scores them; the tests of the children have it done in real ones."""

from __future__ import annotations

import ctypes
import os
import pickle
import re
import signal
import sys
import threading
import time
from typing import Any

import numpy as np

from scorer.estimators.score_model import score_model_file
from scorer.predictions.outcome import ModelOutcome
from scorer.predictions.rows import Predictions
from scorer.readings.device_readings import Readings
from scorer.readings.frames import Frame
from scorer.sandbox import pipe, replies
from scorer.storage.blob_store import Content
from shared.contract.domain import Model
from shared.contract.outcomes import ModelResult
from shared.contract.scoring_options import Features, ReadingOptions

SEEN: list[str] = []  # the devices that this child has been asked for


def readings(device: str, values: np.ndarray, features: tuple[str, ...] = ("a", "b", "c")) -> Readings:
    """Wide readings of one device; *values* are (rows, features)."""
    rows = len(values)
    frame = Frame(
        features,
        long=False,
        starts=np.array([0, rows]),
        sensor=None,
        time=np.arange(rows) * 1_000_000,
        values=np.ascontiguousarray(values.T),
        file=np.zeros(rows, np.int32),
    )
    policy = ReadingOptions(features=Features(in_file_order=True))
    return Readings({device: 0}, policy, frames=[frame], columns=dict.fromkeys(features), layouts=(features,))


def item(device: str, data: bytes = b"", values: np.ndarray | None = None) -> tuple[Model, Content, Readings]:
    """A model, its file, and one reading of three features where none are given."""
    found = readings(device, np.array([[10.0, 20.0, 30.0]]) if values is None else values)
    return Model(device, "", device, "planned"), Content(data, "etag"), found


def say(model: Model, number: float) -> ModelOutcome:
    """A well-formed answer about one reading."""
    predictions = Predictions(model, "etag", np.array([0]), None, np.array([number], np.float64), np.array([False]))
    return ModelOutcome(ModelResult(model.id, 1, 0), predictions)


def scoring(model: Model, content: Content, found: Readings) -> ModelOutcome:
    """Do what the device is called; the score is the process that it was done in. A real file is scored as ever."""
    SEEN.append(model.device)
    if content.data:
        return score_model_file(model, content, found)
    match model.device:
        case "untrue":
            return say(model, np.nan)
        case "untrue-unless-first" if len(SEEN) > 1:
            return say(model, np.nan)
        case "how-many":
            return say(model, len(SEEN))
    DEEDS.get(model.device, lambda: None)()
    return say(model, os.getpid())


POISON = b"poison: "


def scoring_of_files(
    model: Model, content: Content, found: Readings, *, size_limit: int, probabilities: str
) -> ModelOutcome:
    """Do what the file says after `POISON`; any other file is scored as ever."""
    if (data := bytes(content.data)).startswith(POISON):
        DEEDS[data.removeprefix(POISON).decode()]()
    return score_model_file(model, content, found, size_limit=size_limit, probabilities=probabilities)


def hang() -> None:
    while True:
        pass


def hang_in_c() -> None:
    re.match(r"(a+)+$", "a" * 60 + "b")


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def eat() -> None:
    eaten = []
    while True:
        eaten.append(b"x" * 20_000_000)
        time.sleep(0.005)


def leave() -> None:
    raise SystemExit(42)


def interrupt() -> None:
    raise KeyboardInterrupt


def start_threads() -> None:
    threading.stack_size(65536)  # else the limit of memory may come first
    while True:
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        time.sleep(0.001)


def shout() -> None:
    for _ in range(50):
        sys.stdout.write("x" * 100_000)
        sys.stdout.flush()
        os.write(2, b"y" * 100_000)


def write(data: bytes) -> None:
    """To the worker's pipe, whichever of its files that is: the only one above the first three that can be written."""
    for end in range(3, 64):
        try:
            os.write(end, data)
        except OSError:
            continue
        return


def find_local(name: str) -> Any:
    """A local of the process's own code, read as code that controls the process could read it."""
    frame = sys._getframe()
    while name not in frame.f_locals:
        assert frame.f_back
        frame = frame.f_back
    return frame.f_locals[name]


def mark() -> bytes:
    """The mark that the reply to this request must carry."""
    found: bytes = find_local("mark")
    return found


def blame(number: bytes) -> None:
    """Say that it was another model of the request, and end."""
    find_local("place")[:] = number
    os._exit(3)


def answer(payload: bytes) -> None:
    write(pipe.Frame(mark(), pipe.FrameKind.REPLY, payload).to_bytes())


def answer_for_another() -> None:
    write(pipe.Frame(bytes(16), pipe.FrameKind.REPLY, replies.to_bytes(say(Model("", "", "", ""), 1))).to_bytes())


def answer_twice() -> None:
    answer(replies.to_bytes(say(Model("", "", "", ""), os.getpid())))


class Bomb:
    def __reduce__(self) -> object:
        return os._exit, (7,)


def hang_up() -> None:
    os.closerange(3, 64)
    time.sleep(600)


def die_unless_first() -> None:
    if len(SEEN) > 1:
        os._exit(9)


def fork() -> None:
    """Not without end, for the day on which the sandbox is broken."""
    for _ in range(20):
        if os.fork() == 0:
            os._exit(0)


DEEDS = {
    "hang": hang,
    "hang-in-c": hang_in_c,
    "stop": stop,
    "eat": eat,
    "eat-at-once": lambda: bytearray(2**45),
    "exit-0": lambda: os._exit(0),
    "exit-3": lambda: os._exit(3),
    "abort": os.abort,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "signal-35": lambda: os.kill(os.getpid(), signal.SIGRTMIN + 1),
    "segfault": lambda: ctypes.string_at(0),
    "leave": leave,
    "interrupt": interrupt,
    "start-threads": start_threads,
    "fork": fork,
    "shout": shout,
    "garbage": lambda: write(b"\xff" * 1000),
    "half-an-answer": lambda: (write(b"\0" * 20), os._exit(1)),
    "endless-answer": lambda: write(pipe._HEADER.pack(mark(), pipe.FrameKind.REPLY, 1, 0, 2**40)),
    "no-json": lambda: answer(b"scored"),
    "pickle": lambda: answer(pickle.dumps(Bomb())),
    "another": answer_for_another,
    "as-the-supervisor": lambda: write(pipe.Frame(mark(), pipe.FrameKind.DIED, b"{}").to_bytes()),
    "twice": answer_twice,
    "hang-up": hang_up,
    "blame-the-first": lambda: blame(bytes(4)),
    "blame-nobody": lambda: blame(b"\xff" * 4),
    "not-alone": die_unless_first,
}
