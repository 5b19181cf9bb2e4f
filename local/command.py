"""What every command of the local stack does: it ends in order on a signal, and leaves no process behind."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

import psutil

from shared.contract.errors import FleetError, Malformed, Misconfigured

from . import stack
from .screen import Screen
from .settings_file import read_settings

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130


def run_command(run: Callable[[Screen], int]) -> int:
    """Run a command; returns the exit code. No process that it started is left when it returns."""
    screen = Screen()
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    try:
        return run(screen)
    except KeyboardInterrupt:
        code, message = INTERRUPTED, "interrupted"
    except FleetError as error:
        code, message = 2 if isinstance(error, Misconfigured | Malformed) else 1, str(error)
    finally:
        _end_children()
    screen.clear()
    print(f"{message}; all started processes have ended", file=sys.stderr)
    return code


def _interrupt(*_: int | FrameType | None) -> NoReturn:
    """Stop in order. Further signals are ignored, since they would leave processes behind."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_children() -> None:
    """End the processes that an interrupted start has left."""
    children = psutil.Process().children(recursive=True)
    for order in (psutil.Process.terminate, psutil.Process.kill):
        for child in children:
            with suppress(psutil.NoSuchProcess):
                order(child)
        _, children = psutil.wait_procs(children, timeout=5)


def set_environment(path: Path, screen: Screen) -> None:
    """Put the settings of the file, which is created if missing, into the environment, as the host does."""
    if not path.exists():
        shutil.copy(stack.HOME / "local.settings.example.json", path)
        screen.say("settings", f"{path}, a copy of local.settings.example.json")
    for name, value in read_settings(path).items():
        os.environ.setdefault(name, value)  # inherited by all started processes


def parse_count(text: str) -> int:
    """A number of at least 1, for a parser of options."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text!r}")
    return int(text)


def add_places(parser: argparse.ArgumentParser) -> None:
    """The options that say where data and settings are."""
    parser.add_argument("--folder", type=Path, default=stack.HOME / ".local", help="for data and logs (%(default)s)")
    parser.add_argument("--settings", type=Path, default=stack.HOME / "local.settings.json", help="(%(default)s)")
