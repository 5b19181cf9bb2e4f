"""The effects of a tick on a run whose round has ended: its last jobs, its sinks, and whom to notify.

All of it may be repeated. A sink that cannot be asked keeps the run watched, and holds up nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from shared.ports import Cluster, JobStatus, Ledger
from shared.publishing.sink_job import ENDING
from shared.state.runs import Run
from shared.tracking import run_tracker

from .chunk_effects import ChunkEffects
from .options import ControlOptions
from .sinks.outbox import Outbox
from .sinks.publisher import Publisher
from .tick import Tick

WATCH_CLOSED = timedelta(hours=2)  # how long jobs of a closed run are observed, in case one appears late


@dataclass(frozen=True, slots=True)
class RunCloser:
    """The ports that it acts on, and who acts on the others."""

    ledger: Ledger
    cluster: Cluster
    effects: ChunkEffects
    publisher: Publisher
    outbox: Outbox
    options: ControlOptions

    def watch_run(self, run: Run, jobs: Mapping[str, JobStatus] | None, tick: Tick) -> Run:
        """Cancel what is left of a closed run's *jobs*, and watch it no longer once that and its sinks are done."""
        closed_for = tick.now - (run.ended_at or tick.now)
        if closed_for >= ENDING:
            self.effects.cancel_jobs(run, run_tracker.find_unwanted_jobs(jobs or {}, ()), tick)
        run = self.offer_run(run, tick)
        is_late = closed_for >= max(WATCH_CLOSED, self.options.limits.job_timeout)
        if is_late and not tick.throttled and not self._needs_offer(run):
            self.cluster.release(run.id)
            self.ledger.unwatch_run(run)
        return run

    def offer_run(self, run: Run, tick: Tick) -> Run:
        """Ask the sinks to hold what a round has ended with, and notify people of it; the run as it is saved."""
        if not self._needs_offer(run):
            return run
        offered = self.publisher.offers.offer_run(run, tick)
        if run.offered_round != run.round:  # else a sink was set since, or could not be asked before
            offered = self.outbox.note_run(offered, tick.now)
        return self.ledger.save_run(offered) if offered != run else run

    def _needs_offer(self, run: Run) -> bool:
        is_heard = bool(self.options.sinks) or self.options.notify.is_set
        return is_heard and run.phase.terminal and not self.publisher.offers.is_offered(run)
