"""The stopwatch of the machine."""

from __future__ import annotations

import time


class MachineStopwatch:
    """A monotonic clock: it does not follow changes of the time of day."""

    def read_seconds(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
