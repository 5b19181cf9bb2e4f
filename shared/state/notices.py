"""What people are notified of, until it was sent. Frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.contract.windows import EPOCH


class NoticeKind(StrEnum):
    """Why people are notified."""

    FAILED = "run_failed"
    PARTIAL = "run_partial"  # more models failed than NOTIFY_ABOVE says
    MISSED = "run_missed"
    RECOVERED = "run_recovered"  # a run that is well, after one that people were notified of
    SINK_STUCK = "sink_stuck"  # a run waits for more than an hour to be published
    SINK_RECOVERED = "sink_recovered"


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification. It is sent at least once; whoever receives it knows it by its id."""

    id: str
    kind: NoticeKind
    subject: str  # a run, or a sink
    text: str  # one sentence for people
    at: datetime  # when it was noticed
    tries: int = 0
    not_before: datetime = EPOCH
    version: str = ""
