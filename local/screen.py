"""One line of a terminal that is updated while work goes on; without a terminal plain lines, one for each step."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass

WIDTH = 24  # characters of a full bar


@dataclass(slots=True)
class Screen:
    """The output of the stack for a person. *last* is the step of the updated line."""

    last: str = ""

    def say(self, topic: str, text: str) -> None:
        """A line that stays."""
        self.clear()
        print(_line(topic, text), flush=True)

    def show(self, topic: str, text: str, step: str) -> None:
        """Show the progress: on a terminal in place of the line before, elsewhere when *step* has changed."""
        if sys.stdout.isatty():
            print(f"\r\033[K{_line(topic, text)[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)
        elif step != self.last:
            print(_line(topic, text), flush=True)
        self.last = step

    def clear(self) -> None:
        """Remove the updated line."""
        if self.last and sys.stdout.isatty():
            print("\r\033[K", end="", flush=True)
        self.last = ""


def _line(topic: str, text: str) -> str:
    return f"{topic:9}{text}"


def bar(count: int, total: int) -> str:
    """`[####....]`."""
    filled = WIDTH * count // max(total, 1)
    return f"[{'#' * filled}{'.' * (WIDTH - filled)}]"
