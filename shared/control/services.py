"""What HTTP gets instead of the loop: the ports that it reads and writes requests to, and the options."""

from __future__ import annotations

from dataclasses import dataclass

from shared.ports import Blobs, Cluster, Ledger

from .options import ControlOptions


@dataclass(frozen=True, slots=True)
class Services:
    """Without the tick: HTTP can request a run, and only the loop opens it."""

    ledger: Ledger
    cluster: Cluster
    work: Blobs
    options: ControlOptions
