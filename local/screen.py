"""One line of a terminal that changes while something goes on; elsewhere plain lines, and only when it is worth one."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass

WIDTH = 24  # characters of a full bar


@dataclass(slots=True)
class Screen:
    """Where the stack speaks to a person. *last* is the step that the changing line is at."""

    last: str = ""

    def say(self, topic: str, text: str) -> None:
        """A line that stays."""
        self.clear()
        print(_line(topic, text), flush=True)

    def show(self, topic: str, text: str, step: str) -> None:
        """How it stands. On a terminal it replaces the line before; elsewhere it is told when *step* has changed."""
        if sys.stdout.isatty():
            print(f"\r\033[K{_line(topic, text)[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)
        elif step != self.last:
            print(_line(topic, text), flush=True)
        self.last = step

    def clear(self) -> None:
        """Take the changing line away."""
        if self.last and sys.stdout.isatty():
            print("\r\033[K", end="", flush=True)
        self.last = ""


def _line(topic: str, text: str) -> str:
    return f"{topic:9}{text}"


def bar(count: int, total: int) -> str:
    """`[####....]`."""
    filled = WIDTH * count // max(total, 1)
    return f"[{'#' * filled}{'.' * (WIDTH - filled)}]"
