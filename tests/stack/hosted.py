"""A function app in the development host, as a process of its own, for tests."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import httpx2 as httpx

ROOT = Path(__file__).parents[2]


def deployed(app: Path, folder: Path) -> Path:
    """A copy of an app with only what .funcignore lets through."""
    lines = (ROOT / ".funcignore").read_text().splitlines()
    shutil.copytree(app, folder, ignore=shutil.ignore_patterns(*(one for one in lines if one and one[0] != "#")))
    return folder


class DevelopmentHost:
    """`python -m local.host` on a free port, in the folder of an app, with the settings of a local.settings.json."""

    def __init__(self, app: Path, settings: Mapping[str, str], *arguments: str) -> None:
        (app / "local.settings.json").write_text(json.dumps({"IsEncrypted": False, "Values": dict(settings)}))
        self.log = app / "host.log"
        command = [sys.executable, "-m", "local.host", *(arguments or ("--port", "0"))]
        env = {name: text for name, text in os.environ.items() if name not in settings} | {"PYTHONPATH": str(ROOT)}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=app, env=env, stdout=log, stderr=subprocess.STDOUT)

    @property
    def said(self) -> str:
        """All that it has printed so far."""
        return self.log.read_text()

    def until(self, pattern: str, times: int = 1) -> list[str]:
        """What it has printed of *pattern*, once that is so many; it has 20 seconds."""
        deadline = time.monotonic() + 20
        while len(found := re.findall(pattern, self.said)) < times:
            assert time.monotonic() < deadline, f"no {pattern!r} in {self.said}"
            assert self.process.poll() is None, f"it ended before {pattern!r}: {self.said}"
            time.sleep(0.02)
        return found

    @property
    def url(self) -> httpx.URL:
        """Where it listens, once it does."""
        return httpx.URL(self.until(r"(http://127\.0\.0\.1:\d+)/")[0])

    def end(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal, if it still runs, and returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
