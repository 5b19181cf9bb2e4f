"""What HTTP gets instead of the loop: the ports that it reads and writes requests to, and the options."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.contract.windows import DAY, EPOCH
from shared.planning.window_origin import decide_window_origin, needs_history
from shared.ports import Blobs, Cluster, Ledger, SinkLedger
from shared.state.runs import Heartbeat

from .options import ControlOptions

HISTORY = 10  # runs that show whether there were weekly ones


@dataclass(frozen=True, slots=True)
class Services:
    """Without the tick: HTTP can request a run, and only the loop opens it."""

    ledger: Ledger
    cluster: Cluster
    work: Blobs
    sinks: SinkLedger
    options: ControlOptions

    def read_window_origin(self) -> datetime:
        """The start of a window, from which the others are counted."""
        options = self.options
        if options.window_origin or options.window <= DAY:
            return options.window_origin or EPOCH
        beat = self.ledger.read_heartbeat()
        return find_window_origin(self.ledger, beat, options.window, None) or EPOCH


def find_window_origin(ledger: Ledger, beat: Heartbeat, length: timedelta, setting: datetime | None) -> datetime | None:
    """The start of a window of this *length*, from which the others are counted; None where none is decided."""
    earlier = ledger.list_runs(HISTORY).items if needs_history(setting, beat.window_origin, length) else ()
    return decide_window_origin(setting, beat.window_origin, length, earlier)
