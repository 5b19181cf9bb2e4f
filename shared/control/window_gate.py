"""Looks whether the readings of windows that are due are complete. Lists a few names; reads no blob."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime

from shared.contract.errors import Malformed, Unavailable
from shared.contract.windows import Window
from shared.planning.completeness import NAMES_LIMIT, Wait, decide_wait, find_wait_end
from shared.ports import Blobs
from shared.state.runs import Heartbeat, Run, Waited

from .options import ControlOptions

log = logging.getLogger(__name__)

_RIGHT = "WAIT_FOR needs the role Storage Blob Data Reader on the container of readings: waitFor in infra/ grants it"


@dataclass(frozen=True, slots=True)
class _WaitingWindow:
    """A window that waits for its readings, and its limit."""

    id: str
    until: datetime


@dataclass(slots=True)
class WindowGate:
    """Holds back windows whose readings are not complete. One is made for each tick; it notes what people should know.

    Windows are looked at oldest first, and those after one that waits are not looked at: they became due later, so
    each is opened at its own limit at the latest, whatever the older ones do.
    """

    readings: Blobs
    options: ControlOptions
    trouble: str = ""
    _waiting: _WaitingWindow | None = field(default=None, init=False)  # None: no window waits
    _opened: Run | None = field(default=None, init=False)  # the last; None: this tick has opened no window that is due
    _problem: str = field(default="", init=False)  # of the window that was checked last

    def check_window(self, window: Window, now: datetime) -> Wait:
        """Whether a window that is due waits. Raises no error: what cannot be listed is not there."""
        if not self.options.wait_for.is_set:
            return Wait.NOT_ASKED
        wait_end = find_wait_end(self.options.schedule, window, self.options.wait_limit)
        self._problem = self._find_problem(window)
        wait = decide_wait(wait_end, now, is_complete=not self._problem)
        if wait is Wait.GOES_ON:
            self._waiting = _WaitingWindow(window.id, wait_end)
            log.info("run=%s waits for its readings: %s", window.id, self._problem)
        return wait

    def note_opened(self, run: Run) -> None:
        """Note the run of a window that waits no longer."""
        self._waiting, self._opened = None, run
        if run.waited is Waited.LIMIT:
            problem = f": {self._problem}" if self._problem else ""
            self.trouble = f"run {run.id} was opened at WAIT_LIMIT, its readings may be incomplete{problem}"
            log.error("run=%s opened at the limit of its wait: %s", run.id, self._problem)

    def update_heartbeat(self, beat: Heartbeat) -> Heartbeat:
        """The heartbeat with what was noted."""
        waiting = self._waiting
        return replace(
            beat,
            waiting=waiting.id if waiting else "",
            waits_until=waiting.until if waiting else None,
            at_limit=self._find_at_limit(beat),
        )

    def _find_at_limit(self, beat: Heartbeat) -> str:
        """The last window that was opened, if its wait had reached the limit; "" where it had not, or none waits."""
        if not self.options.wait_for.is_set:
            return ""
        if self._opened is None:
            return beat.at_limit
        return self._opened.id if self._opened.waited is Waited.LIMIT else ""

    def _find_problem(self, window: Window) -> str:
        """What is missing in the window's folders, or why that is not known; "" where they are complete."""
        planning = self.options.planning
        zone = planning.scoring.readings.time_zone
        for sign in self.options.wait_for.list_signs(planning.readings_path, window, zone):
            try:
                names = self.readings.list_names(sign.prefix, NAMES_LIMIT)
            except (Malformed, Unavailable) as error:
                self.trouble = f"the readings of {window.id} cannot be listed: {error} {_RIGHT}"
                log.warning("run=%s cannot be opened before its limit: %s", window.id, self.trouble)
                return self.trouble
            if not sign.is_met(names):
                return sign.describe()
        return ""
