"""The keeper of a job's command, as a process of its own."""

import importlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGKILL, "SIGKILL"), (signal.SIGRTMIN + 1, f"signal {signal.SIGRTMIN + 1}")]
)
def test_a_command_that_a_signal_killed_is_told_by_it(number: int, name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", f"import os; os.kill(os.getpid(), {int(number)})"]
    keeper = [sys.executable, "-m", "scorer.commands.dask_launcher", str(tmp_path / "log"), "a job", "20", *command]
    with subprocess.Popen(
        keeper, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    ) as process:
        assert process.stdout  # standard input stays open: closing it is an order to stop
        answer = process.stdout.read()

    assert json.loads(answer) == [False, f"killed by {name}", ""]


def test_an_app_of_release_0_1_finds_the_launcher_by_its_old_name() -> None:
    launcher, old = (importlib.import_module(f"scorer.{name}") for name in ("commands.dask_launcher", "launch"))
    assert (old.run, old.output_path) == (launcher.run_job, launcher.output_path)
