"""Microsoft's worker code, as a process that a test can call the functions of an app through."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PINS = HERE / "requirements.txt"


@pytest.fixture(scope="session")
def worker_code() -> Path:
    """The folder with Microsoft's worker code, installed when its pins were never installed here before."""
    digest = hashlib.sha256(PINS.read_bytes()).hexdigest()[:12]
    folder = ROOT / ".local/worker" / f"{sys.implementation.cache_tag}-{digest}"
    if not folder.exists():
        beside = folder.with_name(f"{folder.name}.{os.getpid()}")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--ignore-requires-python"]
        done = subprocess.run([*pip, "--target", beside, "-r", PINS], capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(beside, ignore_errors=True)
            said = f"pip could not install Microsoft's worker code of {PINS.relative_to(ROOT)}: {done.stderr[-2000:]}"
            pytest.fail(said) if os.environ.get("CI") == "true" else pytest.skip(said)
        try:
            beside.rename(folder)
        except OSError:  # another process of the tests was quicker, and its folder is as good
            shutil.rmtree(beside)
    return folder


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call came to. A function that raised has an error, and over HTTP the status 500."""

    error: str
    logs: list[str]
    status: int
    headers: dict[str, str]
    cookies: dict[str, str]
    body: bytes


class Worker:
    """A process of Microsoft's worker code with an app in it."""

    def __init__(self, code: Path, app: Path, settings: dict[str, str]) -> None:
        env = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"} | settings
        command = [sys.executable, HERE / "player.py", app]
        pipe = subprocess.PIPE
        env |= {"PYTHONPATH": str(code)}
        self.process = subprocess.Popen(command, cwd=app, env=env, stdin=pipe, stdout=pipe, text=True)
        first = self._answer()
        self.error: str = first.get("error", "")
        self.functions: dict[str, list[dict[str, Any]]] = first.get("functions", {})

    def _answer(self) -> dict[str, Any]:
        """The next line of the process, which is killed where none comes."""
        timer = threading.Timer(60, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        assert line, "Microsoft's worker code ended or hung: see the captured standard error"
        return json.loads(line)

    def _ask(self, question: dict[str, Any]) -> Answer:
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        told = self._answer()
        return Answer(
            **(told | {"body": told["body"].encode("latin-1"), "status": 500 if told["error"] else told["status"]})
        )

    def timer(self, name: str, *, past_due: bool = False) -> Answer:
        """Calls a timer function."""
        return self._ask({"function": name, "past_due": past_due})

    def http(self, name: str, request: httpx.Request) -> Answer:
        """Calls an HTTP function."""
        headers = {name: text for name, text in request.headers.items() if name not in ("host", "content-length")}
        http = {"method": request.method, "url": str(request.url), "headers": headers}
        return self._ask({"function": name, "http": http | {"body": request.content.decode("latin-1")}})

    def close(self) -> None:
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


@pytest.fixture(scope="session")
def worker(worker_code: Path) -> Iterator[Callable[..., Worker]]:
    """`worker(app, settings)`: Microsoft's worker code with the app of a folder, until the tests are over."""
    started: list[Worker] = []

    def start(app: Path, settings: dict[str, str]) -> Worker:
        started.append(Worker(worker_code, app, settings))
        return started[-1]

    yield start
    for one in started:
        one.close()
