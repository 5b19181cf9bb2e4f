"""Whatever a model does to the process that scores it: it is named, and no other model is."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fleets import DETECTORS
from sklearn.base import clone

from scorer import chunk, readings
from scorer.careful import score_carefully
from scorer.chunk import Scored
from scorer.readings import Readings
from scorer.results import to_table
from scorer.stores import Content, Folder
from shared.contract import Verdict
from shared.domain import Model, Reason
from shared.errors import Unavailable
from shared.names import Columns

PATIENCE = 5.0  # an innocent model takes a thousandth of it
MEMORY = 300 * 2**20


def fleet(root: Path, files: dict[str, bytes]) -> tuple[list[Model], Folder, Readings]:
    """Models, where their files are, and a reading of three features for each of their devices."""
    models = [Model(device, "", device, "planned") for device in files]
    (root / "readings.csv").write_text(
        "time,device,a,b,c\n" + "".join(f"2026-11-21T07:00,{device},10,20,30\n" for device in files)
    )
    (root / "models").mkdir()
    for device, data in files.items():
        (root / "models" / device).write_bytes(data)
    found = readings.read(Folder(root), ["readings.csv"], Columns(), [m.device for m in models], None)
    return models, Folder(root / "models"), found


def hostile(model: Model, content: Content, found: Readings) -> Scored:  # noqa: C901  # a list of deeds
    """Stands for estimators that do what the device is called; runs in the child."""
    match model.device:
        case "exit-0":
            os._exit(0)
        case "exit-3":
            os._exit(3)
        case "system-exit":
            raise SystemExit(42)
        case "abort":
            os.abort()
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "signal-35":
            os.kill(os.getpid(), signal.SIGRTMIN + 1)
        case "endless":
            while True:
                pass
        case "hungry":
            eaten = []
            while True:
                eaten.append(b"x" * 20_000_000)
        case "half-an-answer":
            os.write(line(), b"\0\0\1\0only these")
            os._exit(1)
        case _:
            return Scored(Verdict(model.id, len(content.data), os.getpid()))
    raise AssertionError(found)


def line() -> int:
    """The child's end of its line to the keeper: the one socket that it has."""
    return next(int(fd.name) for fd in Path("/proc/self/fd").iterdir() if "socket" in str(fd.resolve()))


POISON = {
    "exit-0": (Reason.CRASHED, "its process ended with exit code 0"),
    "exit-3": (Reason.CRASHED, "its process ended with exit code 3"),
    "system-exit": (Reason.CRASHED, "its process ended with exit code 42"),
    "abort": (Reason.CRASHED, "its process ended by SIGABRT"),
    "killed": (Reason.CRASHED, "its process ended by SIGKILL"),
    "signal-35": (Reason.CRASHED, "its process ended by signal 35"),
    "endless": (Reason.ENDLESS, "came to no end within 5 s"),
    "hungry": (Reason.CRASHED, "took more than 300 MiB of memory"),
    "half-an-answer": (Reason.CRASHED, "its process ended with exit code 1"),
}


def test_each_poison_model_is_named_with_its_etag_and_each_neighbour_is_scored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [name for bad in POISON for name in (bad, f"after-{bad}")]
    names.remove("after-exit-0")  # two in a row, right at the beginning
    names.remove("after-half-an-answer")  # and one is the last of all
    models, container, found = fleet(tmp_path, {name: name.encode() for name in names})

    ended = list(score_carefully(models, container, found, patience=PATIENCE, memory=MEMORY, scoring=hostile))

    blamed = {name: (reason, f"{how}, when it was tried again alone") for name, (reason, how) in POISON.items()}
    assert [(v.model, v.reason, v.message) for v in (one.verdict for one in ended)] == [
        (name, *blamed.get(name, (None, ""))) for name in names
    ]
    assert [v.rows for v in (one.verdict for one in ended)] == [0 if n in POISON else len(n) for n in names]
    assert [v.etag for v in (one.verdict for one in ended)] == [
        container.read(name).etag if name in POISON else "" for name in names
    ]
    assert [line for line in caplog.messages if "exit-3" in line and "after" not in line] == [
        "child ended at model=exit-3: its process ended with exit code 3; trying it alone in a fresh one",
        "child ended at model=exit-3 alone: its process ended with exit code 3; it is to blame",
        "model=exit-3 failed: crashed: its process ended with exit code 3, when it was tried again alone",
    ]


def leave_word(path: Path, text: str) -> None:
    beside = path.with_suffix(".tmp")
    beside.write_text(text)
    beside.rename(path)


def once(model: Model, content: Content, _: Readings) -> Scored:
    """The second model waits to be killed the first time that it is scored. Its file says where it leaves word."""
    if model.device == "b" and not (word := Path(content.data.decode())).exists():
        leave_word(word, str(os.getpid()))
        time.sleep(600)
    return Scored(Verdict(model.id, 1, os.getpid()))


def test_a_child_that_is_killed_from_outside_is_no_models_fault(tmp_path: Path) -> None:
    word = tmp_path / "child"
    models, container, found = fleet(tmp_path, dict.fromkeys("abc", str(word).encode()))

    with subprocess.Popen([sys.executable, "-c", KILLER, str(word)]) as killer:
        ended = list(score_carefully(models, container, found, scoring=once))

    assert killer.returncode == 0
    first, *others = (one.verdict.anomalies for one in ended)
    assert [(one.verdict.model, one.verdict.reason) for one in ended] == [("a", None), ("b", None), ("c", None)]
    assert first == int(word.read_text())
    assert set(others).isdisjoint({first})
    assert len(set(others)) == 1  # what the one model was tried alone in goes on with the next


KILLER = """
import os, pathlib, signal, sys, time
word = pathlib.Path(sys.argv[1])
while not word.exists():
    time.sleep(0.05)
os.kill(int(word.read_text()), signal.SIGKILL)
"""


def test_children_score_as_the_node_itself_does(normal: np.ndarray, tmp_path: Path) -> None:
    files = {name: pickle.dumps(clone(detector).fit(normal)) for name, detector in DETECTORS.items()}
    frame = pd.DataFrame(normal, columns=["c", "b", "a"])
    files["named"] = pickle.dumps(clone(DETECTORS["IsolationForest"]).fit(frame))
    files["empty"] = b""
    models, container, found = fleet(tmp_path, files)
    models += [Model("gone", "", "gone", "e"), Model("twice", "", "twice", "e", Reason.AMBIGUOUS)]
    found = replace(found, devices={**found.devices, "gone": len(files), "twice": len(files) + 1})
    found.frames[0] = replace(found.frames[0], starts=np.append(found.frames[0].starts, [len(files)] * 2))

    carefully = list(score_carefully(models, container, found))

    plainly = list(chunk.score(models, container, found))
    assert [one.verdict for one in carefully] == [one.verdict for one in plainly]
    assert [one.verdict.reason for one in carefully] == 6 * [None] + [
        Reason.EMPTY_MODEL,
        Reason.NO_READINGS,
        Reason.AMBIGUOUS,
    ]
    assert table(carefully).equals(table(plainly))


def table(ended: Sequence[Scored]) -> object:
    return to_table([one.predictions for one in ended if one.predictions])


class Gone(Folder):
    """A store that stops answering."""

    def read(self, path: str) -> Content:
        raise Unavailable(f"no answer for {path}")


def test_a_store_that_stops_answering_is_no_models_fault_and_leaves_no_process(tmp_path: Path) -> None:
    models, _, found = fleet(tmp_path, {"a": b""})

    with pytest.raises(Unavailable, match="no answer for a"):
        list(score_carefully(models, Gone(tmp_path), found))

    assert multiprocessing.active_children() == []


def test_a_keeper_that_is_killed_is_no_models_fault(tmp_path: Path) -> None:
    models, container, found = fleet(tmp_path, {"a": b"", "b": b""})
    ended = score_carefully(models, container, found)
    next(ended)
    (keeper,) = multiprocessing.active_children()
    keeper.kill()
    keeper.join()

    with pytest.raises(Unavailable, match="the process that keeps the children was gone at model=b"):
        next(ended)


def loud(model: Model, _: Content, __: Readings) -> Scored:
    os.write(1, b"said\n")
    os.write(2, b"complained\n")
    return Scored(Verdict(model.id))


def test_what_a_child_prints_is_printed_by_the_node(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    models, container, found = fleet(tmp_path, {"a": b""})

    list(score_carefully(models, container, found, scoring=loud))

    assert capfd.readouterr() == ("said\n", "complained\n")


def hang(_: Model, content: Content, __: Readings) -> Scored:
    leave_word(Path(content.data.decode()), f"{os.getppid()} {os.getpid()}")
    while True:
        pass


NODE = """
import pickle, sys
sys.path[:0] = {path!r}
import test_careful
from scorer.careful import score_carefully
with open({order!r}, "rb") as file:
    list(score_carefully(*pickle.load(file), scoring=test_careful.hang))
"""


def test_no_process_outlives_a_node_that_is_killed(tmp_path: Path) -> None:
    word, order = tmp_path / "word", tmp_path / "order"
    order.write_bytes(pickle.dumps(fleet(tmp_path, {"a": str(word).encode()})))
    with subprocess.Popen([sys.executable, "-c", NODE.format(path=sys.path, order=str(order))]) as node:
        wait_for(word.exists)
        node.kill()
    keeper, child = (int(pid) for pid in word.read_text().split())

    wait_for(lambda: not is_alive(keeper) and not is_alive(child))


def wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
