"""Looks whether the readings of windows that are due are complete. Lists a few names; reads no blob."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime

from shared.contract.errors import Malformed, Unavailable
from shared.contract.windows import Window
from shared.planning.completeness import NAMES_LIMIT, decide_wait, find_wait_end
from shared.ports import Blobs
from shared.state.runs import Heartbeat, Run, Waited

from .options import ControlOptions

log = logging.getLogger(__name__)

_RIGHT = "WAIT_FOR needs the role Storage Blob Data Reader on the container of readings: waitFor in infra/ grants it"


@dataclass(slots=True)
class WindowGate:
    """Holds back windows whose readings are not complete. One is made for each tick; it notes what people should know.

    Windows are looked at oldest first, and those after one that waits are not looked at: they became due later, so
    each is opened at its own limit at the latest, whatever the older ones do.
    """

    readings: Blobs
    options: ControlOptions
    waiting: str = ""
    waits_until: datetime | None = None
    at_limit: str | None = None  # None: no window was opened
    trouble: str = ""
    _problem: str = field(default="", init=False)  # of the window that was checked last

    def check_window(self, window: Window, now: datetime) -> Waited | None:
        """How the window's wait has ended; None while it waits. Raises no error: what cannot be listed is not there."""
        wait_end = find_wait_end(self.options.schedule, window, self.options.wait_limit)
        self._problem = self._find_problem(window)
        waited = decide_wait(wait_end, now, is_complete=not self._problem)
        if waited is None:
            self.waiting, self.waits_until = window.id, wait_end
            log.info("run=%s waits for its readings: %s", window.id, self._problem)
        return waited

    def note_opened(self, run: Run) -> None:
        """Note the run of a window that waits no longer."""
        self.waiting, self.waits_until = "", None
        self.at_limit = run.id if run.waited is Waited.LIMIT else ""
        if self.at_limit:
            problem = f": {self._problem}" if self._problem else ""
            self.trouble = f"run {run.id} was opened at WAIT_LIMIT, its readings may be incomplete{problem}"
            log.error("run=%s opened at the limit of its wait: %s", run.id, self._problem)

    def update_heartbeat(self, beat: Heartbeat) -> Heartbeat:
        """The heartbeat with what was noted."""
        at_limit = beat.at_limit if self.at_limit is None else self.at_limit
        at_limit = at_limit if self.options.wait_for.is_set else ""
        return replace(beat, waiting=self.waiting, waits_until=self.waits_until, at_limit=at_limit)

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
