"""How long what failed waits for its next try: a publication, a sink's job, a notification. Pure."""

from __future__ import annotations

from datetime import timedelta

FIRST_BACKOFF = timedelta(minutes=1)  # doubles with each failure in a row
LAST_BACKOFF = timedelta(hours=1)
_DOUBLINGS = 6  # until the last; more would overflow


def find_backoff(failures: int) -> timedelta:
    """The wait after so many *failures* in a row, at least one."""
    doublings = min(failures - 1, _DOUBLINGS)
    return min(FIRST_BACKOFF * (1 << doublings), LAST_BACKOFF)
