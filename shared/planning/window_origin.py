"""From which day windows of several days are counted. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from shared.contract.windows import EPOCH, MONDAY, WEEK
from shared.state.runs import Phase, Run


def needs_history(setting: datetime | None, stored: datetime | None, length: timedelta) -> bool:
    """Whether earlier runs decide the origin."""
    return setting is None and stored is None and not length % WEEK


def decide_window_origin(
    setting: datetime | None, stored: datetime | None, length: timedelta, earlier: Iterable[Run]
) -> datetime | None:
    """The setting; without it what the last tick stored; at the first tick, for windows of whole weeks, a Monday.

    Where there are weekly *earlier* runs from before the setting existed, it stays the Thursday that those began on: a
    row in two windows would be read twice. None where nothing depends on it yet: windows are then counted from 1970.
    """
    if not needs_history(setting, stored, length):
        return setting or stored
    weekly = any(run.phase is not Phase.MISSED and not run.window.length % WEEK for run in earlier)
    return EPOCH if weekly else MONDAY


def explain_window_origin(origin: datetime, length: timedelta) -> str:
    """The sentence that is logged when a deployment keeps the origin of its weekly runs."""
    return (
        f"windows of {length.days} days begin on a {origin:%A}, as those of earlier runs do; set WINDOW_ORIGIN, to "
        f"{MONDAY:%Y-%m-%d} for Mondays or to {origin:%Y-%m-%d} to keep it"
    )


def describe_window_origin(setting: datetime | None, stored: datetime | None, length: timedelta) -> str:
    """The day from which windows are counted, for people; `assumed` where earlier runs decided it, and no one else."""
    assumed = setting is None and stored == EPOCH and not length % WEEK
    return f"{setting or stored or EPOCH:%Y-%m-%d}{', assumed' * assumed}"
