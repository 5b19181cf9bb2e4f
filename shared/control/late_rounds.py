"""Opens a further round of a window for rows that came after its run, when the run after it has counted them.

Once for each window, whatever happens: the run's row says that it had this round. It may be killed anywhere: one write.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime

from shared.contract.errors import NotFound
from shared.state.requests import RequestKind
from shared.state.runs import Phase, Run

from .open_runs import RunOpener, reopen_run

log = logging.getLogger(__name__)

ASKED_BY = "late-rows"


@dataclass(frozen=True, slots=True)
class LateRoundOpener:
    """Opens such rounds by the ledger, the options and the places of an opener of runs."""

    opener: RunOpener

    def open_rounds(self, now: datetime) -> None:
        """Open the rounds for late rows that watched runs have counted, while places are free. Raises Conflict."""
        if self.opener.node_schema == 1:  # its manifests cannot name models
            return
        watched = {run.id: run for run in self.opener.ledger.list_watched_runs()}
        for run in sorted(watched.values(), key=lambda run: run.window.start):
            if not (run.phase.terminal and run.late and run.late.rows):
                continue
            earlier = self._find_run(run.window.previous.id, watched)
            if earlier is None or not _may_lack_rows(earlier, run):
                continue
            if not self.opener.has_room():
                return
            reopened = reopen_run(earlier, RequestKind.RESCORE, now, ASKED_BY, now, self.opener.node_schema)
            self.opener.ledger.save_run(replace(reopened, rescored=True))
            log.info("run=%s reopened to rescore: %d rows came late, as %s counts", earlier.id, run.late.rows, run.id)

    def _find_run(self, run_id: str, watched: dict[str, Run]) -> Run | None:
        try:
            return watched.get(run_id) or self.opener.ledger.read_run(run_id)
        except NotFound:
            return None


def _may_lack_rows(earlier: Run, run: Run) -> bool:
    """Whether the run before may lack rows that *run* has counted as late, and is to be scored once more for them.

    One that began to read when the folders of *run* were over has read all that was filed there by arrival. A redrive
    and an extension carry over what was read before them.
    """
    has_scored = earlier.phase in (Phase.SUCCEEDED, Phase.PARTIAL)
    read_at = earlier.read_at or earlier.planned_at or run.window.end
    return has_scored and not earlier.rescored and read_at < run.window.end
