"""What a tick observes of a run: jobs, progress, reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.contract.report import Report
from shared.ports import JobStatus


@dataclass(frozen=True, slots=True)
class AttemptProgress:
    """The progress of an attempt in storage: its etag changes while the node is alive."""

    etag: str
    done: int


@dataclass(frozen=True, slots=True)
class Observation:
    """What a tick observes. Jobs are observed before storage, so the report of a job that ended is already there.

    *jobs* is None where the cluster did not answer: nothing is concluded from that.
    """

    jobs: Mapping[str, JobStatus] | None
    progress: Mapping[tuple[str, int], AttemptProgress]  # by chunk and attempt
    reports: Mapping[str, Report]  # by chunk: the first valid one of this round
    unread: frozenset[str] = frozenset()  # chunks whose reports were not read for lack of time: nothing is concluded
