"""What HTTP gets instead of the loop: the ports that it reads and leaves requests in, and what a person has set."""

from __future__ import annotations

from dataclasses import dataclass

from shared.ports import Blobs, Cluster, Ledger

from .options import Rules


@dataclass(frozen=True, slots=True)
class Services:
    """No tick among them: a request can ask for a run, and only the loop opens it."""

    ledger: Ledger
    cluster: Cluster
    work: Blobs
    rules: Rules
