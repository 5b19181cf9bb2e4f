"""What is told of the inside of a run: its chunks, their attempts, the models that were not scored. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.contract.domain import Outcome, Reason, decide_outcome
from shared.contract.paths import make_job_name
from shared.contract.report import ModelResult
from shared.ports import Sighting
from shared.state.runs import AttemptState, Chunk, ChunkState


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One try at a chunk whose end was not seen yet.

    Since `doubted_since` no tick has had a word of it from the cluster; after `SILENCE` it will be given up as lost.
    `cluster` is what the cluster says when asked just now.
    """

    number: int
    job: str
    state: AttemptState
    careful: bool  # it scores in child processes, since the one before died without a report
    since: datetime
    done: int
    progress_at: datetime | None
    doubted_since: datetime | None
    cluster: str | None


@dataclass(frozen=True, slots=True)
class ChunkView:
    """A chunk of a run: which models (blob names from `first` to `last`), how it stands, and what it has cost.

    `scored` to `anomalies` tell what consumers read of it now: while a further round is under way, what an earlier one
    has committed. `retries` and `losses` are of this round.
    """

    id: str
    state: ChunkState
    since: datetime
    round: int  # of its run, the last in which it was tried
    models: int
    first: str
    last: str
    scored: int
    failed: int
    skipped: int
    rows: int
    anomalies: int
    attempts: tuple[AttemptView, ...]
    attempts_made: int
    retries: int
    losses: int
    reason: Reason | None
    message: str


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
    """Models that were not scored. `next` is the cursor of the next page."""

    items: tuple[ModelFailure, ...]
    next: str | None


def chunk_view(app: str, chunk: Chunk, seen: Mapping[str, Sighting] | None = None) -> ChunkView:
    """A chunk as people see it; *seen* is what the cluster says right now, where it was asked."""
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
        attempts=_attempts(app, chunk, seen),
        attempts_made=chunk.next_attempt - 1,
        retries=chunk.retries,
        losses=chunk.losses,
        reason=chunk.reason,
        message=chunk.message,
    )


def _attempts(app: str, chunk: Chunk, seen: Mapping[str, Sighting] | None) -> tuple[AttemptView, ...]:
    views = []
    for attempt in chunk.attempts:
        name = make_job_name(app, chunk.run, chunk.id, attempt.number)
        said = None if seen is None else str(seen[name].state) if name in seen else "unknown"
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
                cluster=said,
            )
        )
    return tuple(views)


def model_failures(chunk: str, verdicts: Sequence[ModelResult], reason: Reason) -> tuple[ModelFailure, ...]:
    """The models of one chunk that were not scored for this reason."""
    return tuple(
        ModelFailure(v.model, chunk, reason, decide_outcome(reason), v.message) for v in verdicts if v.reason is reason
    )
