"""The kinds of sinks, why they may not take a run, and the ids of their jobs. Pure."""

from __future__ import annotations

import re
from enum import StrEnum

PUBLISHING_PREFIX = "publish-"  # of the ids of jobs
CHUNK = "c00000"  # a publishing job has one chunk, by which clusters name it
ATTEMPT = 1  # and one attempt: another try is another job
_JOB = re.compile(rf"{PUBLISHING_PREFIX}(?P<sink>[a-z]+)-(?P<number>\d{{6,}})")


class SinkKind(StrEnum):
    """What runs are published to."""

    DELTA = "delta"  # a Delta table
    SQL = "sql"  # a table of PostgreSQL, Azure SQL or Synapse
    EVENTS = "events"  # devices whose state has changed, as CloudEvents


class SinkReason(StrEnum):
    """Why a run is not published. Each is tried again; all but the first three need a person."""

    UNAVAILABLE = "sink_unavailable"  # it does not answer, or is too slow
    CONFLICT = "sink_busy"  # others wrote to it each time
    AHEAD = "sink_ahead"  # it has a later publication of the run than the ledger knows: the ledger was restored
    DENIED = "sink_denied"  # the node may not write to it, or its password is wrong
    MISMATCH = "sink_has_other_schema"  # its table has other columns or types, or somebody else wrote it
    FULL = "sink_full"
    PART_MISSING = "part_missing"  # a part of the run is no longer what the ledger says
    FAILED = "sink_failed"  # any other error

    @property
    def may_pass(self) -> bool:
        """Whether it may go well without a person."""
        return self in (SinkReason.UNAVAILABLE, SinkReason.CONFLICT, SinkReason.AHEAD)


def make_publishing_run(sink: SinkKind, number: int) -> str:
    """The id by which clusters, paths and names of jobs know publishing job *number* of a sink, in place of a run's."""
    return f"{PUBLISHING_PREFIX}{sink}-{number:06d}"


def parse_publishing_run(run: str) -> tuple[SinkKind, int] | None:
    """The inverse of `make_publishing_run`; None for any other id."""
    match = _JOB.fullmatch(run)
    if match is None or match["sink"] not in set(SinkKind):
        return None
    return SinkKind(match["sink"]), int(match["number"])
