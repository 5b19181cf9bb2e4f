"""The limits of a run: attempts, time-outs, failures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from shared.state.requests import Request
from shared.state.runs import Run


@dataclass(frozen=True, slots=True)
class RunLimits:
    """The limits of a run."""

    app: str = "fleetscore"
    max_retries: int = 2  # attempts after the first that may fail by their own fault
    max_losses: int = 5  # attempts that the cluster may lose
    max_in_flight: int = 100  # jobs of a run at once
    tolerated_failures: int = 100  # percent of the models that ended; above it no further chunk starts
    silence: timedelta = timedelta(minutes=10)  # without a status from the cluster and without progress: lost
    backoff: timedelta = timedelta(seconds=30)  # before the first retry, more or less; doubles with each
    queue_timeout: timedelta = timedelta(hours=2)  # at the cluster, before it runs
    start_timeout: timedelta = timedelta(minutes=15)  # until the first progress
    stall_timeout: timedelta = timedelta(minutes=30)  # from one progress to the next
    job_timeout: timedelta = timedelta(hours=1)  # wall time of a job
    cancel_timeout: timedelta = timedelta(minutes=10)  # until a cancelled job is over
    run_deadline: timedelta = timedelta(days=1)  # of one round


def apply_limits(run: Run, request: Request) -> Run:
    """The run with the limits of a request; a limit that the request leaves open is unchanged."""
    return replace(
        run,
        max_in_flight=run.max_in_flight if request.max_in_flight is None else request.max_in_flight,
        tolerated_failures=run.tolerated_failures if request.tolerated_failures is None else request.tolerated_failures,
    )
