"""What a tick saw of a run: jobs, signs of life, reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.contract.report import Report
from shared.ports import Sighting


@dataclass(frozen=True, slots=True)
class Sign:
    """The progress of an attempt as it lies in storage: its etag moves while the node lives."""

    etag: str
    done: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a tick saw. Jobs are looked at before storage, so a job that ended has left its report by then.

    *jobs* is None where the cluster did not answer: nothing is concluded from that.
    """

    jobs: Mapping[str, Sighting] | None
    signs: Mapping[tuple[str, int], Sign]  # by chunk and attempt
    reports: Mapping[str, Report]  # by chunk: the first valid one of this round
    unread: frozenset[str] = frozenset()  # chunks whose reports there was no time to read: nothing is concluded
