"""What a person has set, as the core reads it. The defaults are those of `settings.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from shared.planning.due_windows import CatchUp
from shared.planning.plan_writer import DraftingRules
from shared.planning.schedule import Schedule
from shared.tracking.run_limits import Policy


@dataclass(frozen=True, slots=True)
class Rules:
    """How windows fall due, how a fleet is planned, what a run is held to, and how much a tick may do."""

    schedule: Schedule = field(default_factory=lambda: Schedule("0 5 * * * *"))
    window: timedelta = timedelta(hours=1)
    catch_up: CatchUp = CatchUp.ALL
    max_open_runs: int = 1
    drafting: DraftingRules = field(default_factory=DraftingRules)
    policy: Policy = field(default_factory=Policy)
    tick_budget: timedelta = timedelta(minutes=4)  # then a tick leaves the rest to the next one
    submit_rate: float = 20.0  # jobs a second, at most
    keep_runs: timedelta = timedelta(days=90)  # rows, plans, results, reports and logs of runs that are over
    prune_predictions: bool = False  # whether what consumers read goes with them
