"""The nodes behind the stand-ins, since other tests believe them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.clouds.nodes import LocalNodes
from tests.stack.dask_jobs import eventually


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[LocalNodes]:
    started = LocalNodes(tmp_path / "nodes", slots=1, environment={"GREETING": "hello"})
    yield started
    started.close()


def ended(nodes: LocalNodes, name: str) -> bool:
    return nodes.look(name).state == "ended"


def test_a_job_runs_this_python_with_its_environment_to_its_exit_code(nodes: LocalNodes) -> None:
    script = 'import os, sys; print(sys.executable, os.environ["GREETING"], os.environ["NAME"]); sys.exit(3)'
    nodes.add("a", f"python -c '{script}' 2>&1", {"NAME": "you"}, 60)
    eventually(lambda: ended(nodes, "a"))
    seen = nodes.look("a")
    assert (seen.code, seen.killed, seen.starts) == (3, False, 1)
    assert seen.output.read_text() == f"{sys.executable} hello you\n"


def test_a_slot_runs_one_job_at_a_time_and_a_job_that_waits_can_be_stopped(nodes: LocalNodes) -> None:
    nodes.add("a", "sleep 60", {}, 60)
    nodes.add("b", "echo b", {}, 60)
    nodes.add("c", "echo c", {}, 60)
    eventually(lambda: nodes.look("a").state == "running")
    assert (nodes.look("b").state, nodes.look("b").starts) == ("waiting", 0)
    nodes.stop("b")
    nodes.stop("a")
    eventually(lambda: ended(nodes, "c"))
    assert [(nodes.look(n).code, nodes.look(n).killed) for n in "abc"] == [(-9, True), (None, True), (0, False)]


def test_a_job_whose_node_is_taken_away_starts_again(nodes: LocalNodes, tmp_path: Path) -> None:
    mark = tmp_path / "second"
    nodes.add("a", f"if [ -e {mark} ]; then echo again; else touch {mark}; exec sleep 60; fi", {}, 60)
    eventually(mark.exists)
    nodes.preempt("a")
    eventually(lambda: ended(nodes, "a"))
    seen = nodes.look("a")
    assert (seen.code, seen.killed, seen.starts, seen.output.read_text()) == (0, False, 2, "again\n")


def test_a_job_that_takes_too_long_is_killed(nodes: LocalNodes) -> None:
    nodes.add("a", "sleep 60", {}, 0.1)
    eventually(lambda: ended(nodes, "a"))
    assert (nodes.look("a").code, nodes.look("a").killed) == (-9, True)


def test_nothing_that_was_started_is_left(nodes: LocalNodes, tmp_path: Path) -> None:
    nodes.add("a", f"sleep 300 & echo $! > {tmp_path / 'pid'}; sleep 300", {}, 60)
    eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    nodes.close()
    left = int((tmp_path / "pid").read_text())
    eventually(lambda: not psutil.pid_exists(left) or psutil.Process(left).status() == psutil.STATUS_ZOMBIE)
