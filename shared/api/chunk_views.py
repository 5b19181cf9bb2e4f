"""The HTTP answers about the details of a run: chunks, attempts, models that were not scored. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.contract.domain import Late, Unmodelled
from shared.contract.outcomes import ModelResult
from shared.contract.paths import make_job_name
from shared.contract.reasons import Outcome, Reason
from shared.contract.summaries.predicted import Predicted
from shared.ports import JobStatus
from shared.state.runs import AttemptState, Chunk, ChunkState


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One open attempt at a chunk.

    Since `doubted_since` the cluster has not reported it; after `SILENCE` it counts as lost. `cluster` is the state at
    the cluster at this moment.
    """

    number: int
    job: str
    state: AttemptState
    careful: bool  # each model is scored in a child process, since the attempt before ended without a report
    since: datetime
    done: int
    progress_at: datetime | None
    doubted_since: datetime | None
    cluster: str | None


@dataclass(frozen=True, slots=True)
class ChunkView:
    """A chunk of a run: its models (blob names from `first` to `last`), its state and its attempts.

    `scored` to `predicted` are what consumers read now: while a further round runs, the result of an earlier one.
    `retries` and `losses` are of this round.
    """

    id: str
    state: ChunkState
    since: datetime
    round: int  # of its run: the last in which it was tried
    models: int
    first: str
    last: str
    scored: int
    failed: int
    skipped: int
    rows: int
    anomalies: int
    unmodelled: Unmodelled | None  # of the devices that it answers for; null: not counted
    late: Late | None  # rows of before the window in its folders; null: not counted
    predicted: Predicted | None  # null: all models that were scored are detectors
    attempts: tuple[AttemptView, ...]
    attempts_made: int
    retries: int
    losses: int
    reason: Reason | None
    message: str
    advice: str  # what to do about `reason`


@dataclass(frozen=True, slots=True)
class ChunkPage:
    """Chunks, by id. `next` is the cursor of the next page."""

    items: tuple[ChunkView, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class ModelFailure:
    """One model that was not scored, and why."""

    model: str
    chunk: str
    reason: Reason
    outcome: Outcome
    message: str


@dataclass(frozen=True, slots=True)
class ModelFailurePage:
    """Models that were not scored. `next` is the cursor of the next page; `advice` says what to do."""

    items: tuple[ModelFailure, ...]
    next: str | None
    advice: str


def make_chunk_view(app: str, chunk: Chunk, statuses: Mapping[str, JobStatus] | None = None) -> ChunkView:
    """The answer about a chunk; *statuses* are those of the cluster at this moment, if it was asked."""
    tally = chunk.committed.tally if chunk.committed else chunk.tally
    return ChunkView(
        id=chunk.id,
        state=chunk.state,
        since=chunk.since,
        round=chunk.round,
        models=chunk.models,
        first=chunk.first,
        last=chunk.last,
        scored=tally.scored,
        failed=tally.failed,
        skipped=tally.skipped,
        rows=tally.rows,
        anomalies=tally.anomalies,
        unmodelled=chunk.unmodelled,
        late=chunk.late,
        predicted=chunk.predicted,
        attempts=_make_attempt_views(app, chunk, statuses),
        attempts_made=chunk.next_attempt - 1,
        retries=chunk.retries,
        losses=chunk.losses,
        reason=chunk.reason,
        message=chunk.message,
        advice=chunk.reason.advice if chunk.reason else "",
    )


def _make_attempt_views(app: str, chunk: Chunk, statuses: Mapping[str, JobStatus] | None) -> tuple[AttemptView, ...]:
    views = []
    for attempt in chunk.attempts:
        name = make_job_name(app, chunk.run, chunk.id, attempt.number)
        state = None if statuses is None else str(statuses[name].state) if name in statuses else "unknown"
        views.append(
            AttemptView(
                number=attempt.number,
                job=name,
                state=attempt.state,
                careful=attempt.careful,
                since=attempt.since,
                done=attempt.done,
                progress_at=attempt.sign_at,
                doubted_since=attempt.doubted_since,
                cluster=state,
            )
        )
    return tuple(views)


def list_model_failures(
    chunk: str, results: Sequence[ModelResult], reasons: Collection[Reason]
) -> tuple[ModelFailure, ...]:
    """The models of one chunk that were not scored for one of these reasons."""
    return tuple(
        ModelFailure(result.model, chunk, result.reason, result.reason.outcome, result.message)
        for result in results
        if result.reason and result.reason in reasons
    )
