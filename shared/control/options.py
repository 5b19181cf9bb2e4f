"""The options of the control loop. The defaults are those of the settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.planning import window_origin
from shared.planning.completeness import WaitFor
from shared.planning.due_windows import CatchUp
from shared.planning.plan_writer import PlanOptions
from shared.planning.schedule import Schedule
from shared.publishing.notices import NotifyOptions
from shared.publishing.sink_options import SinkOptions
from shared.tracking.run_limits import RunLimits


@dataclass(frozen=True, slots=True)
class ControlOptions:
    """When windows are due, how a fleet is planned, the limits of a run, and how much a tick may do."""

    schedule: Schedule = field(default_factory=lambda: Schedule("0 5 * * * *"))
    window: timedelta = timedelta(hours=1)
    window_origin: datetime | None = None  # None: what the ticks have stored
    catch_up: CatchUp = CatchUp.ALL
    max_open_runs: int = 1
    wait_for: WaitFor = field(default_factory=WaitFor)  # before a window that is due is opened
    wait_limit: timedelta = timedelta(hours=2)
    rescore_late: bool = False  # whether the models that rows came late for are scored once more
    planning: PlanOptions = field(default_factory=PlanOptions)
    limits: RunLimits = field(default_factory=RunLimits)
    tick_budget: timedelta = timedelta(minutes=4)  # after it, the rest is left to the next tick
    submit_rate: float = 20.0  # jobs a second, at most
    keep_runs: timedelta = timedelta(days=90)  # the rows, plans, results, reports and logs of runs that are over
    prune_predictions: bool = False  # whether predictions are removed too
    predictions_folder: bool = True  # whether consumers read the plain folder; else the sinks alone
    sinks: tuple[SinkOptions, ...] = ()  # what runs are published to
    notify: NotifyOptions = field(default_factory=NotifyOptions)

    def describe_window_origin(self, stored: datetime | None) -> str:
        """The day from which windows are counted, for people; *stored* is what the ticks decided."""
        return window_origin.describe_window_origin(self.window_origin, stored, self.window)
