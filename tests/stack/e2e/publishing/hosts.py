"""Hosts as processes of their own, which tick by a clock that a test sets, and which it kills with -9.

`python -m tests.stack.e2e.publishing.hosts CLOCK` ticks by the settings in its environment until it is killed.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from local.processes import DIE_WITH_PARENT
from tests.stack.hosted import ROOT

BEAT = 0.4  # seconds between two ticks of a host


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day in a file: it goes on by itself, and a test may set it forward."""

    path: Path

    def set(self, moment: datetime) -> None:
        """Let it be that time now, for all who look."""
        text = f"{moment.isoformat()} {time.monotonic()}"
        beside = self.path.with_suffix(".tmp")
        beside.write_text(text)
        beside.rename(self.path)

    def read(self) -> datetime:
        """What time it is."""
        moment, at = self.path.read_text().split()
        return datetime.fromisoformat(moment) + timedelta(seconds=time.monotonic() - float(at))


@dataclass(slots=True)
class Hosts:
    """Two processes that tick on one storage."""

    clock: Clock
    folder: Path
    environment: Mapping[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        """Start both."""
        self.processes = [self._start(number) for number in range(2)]

    def kill(self, number: int) -> None:
        """Kill one of them in the middle of whatever it does, and start the next one in its place."""
        self._end(self.processes[number])
        self.processes[number] = self._start(number)

    def restart(self, environment: Mapping[str, str]) -> None:
        """Kill both, and start them with other settings."""
        self.stop()
        self.environment = environment
        self.start()

    def stop(self) -> None:
        """Kill both."""
        for process in self.processes:
            self._end(process)

    def read_log(self) -> str:
        """The end of what they have printed."""
        return "".join((self.folder / f"host{number}.log").read_text()[-3000:] for number in range(2))

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        inherited = {name: text for name, text in os.environ.items() if name not in self.environment}
        with (self.folder / f"host{number}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.stack.e2e.publishing.hosts", str(self.clock.path)],
                cwd=ROOT,
                env={**inherited, **self.environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=DIE_WITH_PARENT,  # noqa: PLW1509  # one system call
            )

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()


def main() -> None:
    """Tick until the process is killed. What a tick raises is logged: the next one goes on, as it does in a host."""
    from shared import bootstrap
    from shared.config import settings

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("azure").setLevel(logging.WARNING)
    logging.getLogger("shared.control.loop").addFilter(lambda record: "another host" not in record.getMessage())
    clock, plane = Clock(Path(sys.argv[1])), bootstrap.build_control_plane(settings.load_settings(os.environ))
    while True:
        try:
            plane.tick(clock.read())
        except Exception:
            logging.getLogger(__name__).exception("a tick has failed")
        time.sleep(BEAT)


if __name__ == "__main__":
    main()
