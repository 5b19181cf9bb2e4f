"""The moves of a chunk that need no decision: into a state, and after the control plane has acted. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from shared.contract.domain import Part
from shared.contract.reasons import Reason
from shared.contract.text import clip_text
from shared.state.runs import Attempt, AttemptState, Chunk, ChunkState


def enter_state(chunk: Chunk, state: ChunkState, now: datetime) -> Chunk:
    """The chunk in *state*, since *now* unless it was in it already."""
    return chunk if chunk.state is state else replace(chunk, state=state, since=now)


def end_chunk(chunk: Chunk, state: ChunkState, now: datetime) -> Chunk:
    """End the chunk without a new result: in *state*, or committed if an earlier round has a result."""
    state = ChunkState.COMMITTED if chunk.committed else state
    return enter_state(replace(chunk, attempts=(), chosen=None), state, now)


def find_unsubmitted(chunk: Chunk) -> Attempt | None:
    """The recorded attempt that the cluster has not acknowledged."""
    return next((a for a in chunk.attempts if a.state is AttemptState.SUBMITTING), None)


def mark_acknowledged(chunk: Chunk, now: datetime) -> Chunk:
    """The cluster accepted the job."""
    attempts = [
        replace(a, state=AttemptState.QUEUED, since=now) if a.state is AttemptState.SUBMITTING else a
        for a in chunk.attempts
    ]
    return replace(chunk, attempts=tuple(attempts))


def mark_name_taken(chunk: Chunk, now: datetime) -> Chunk:
    """Another job has this name: the next attempt gets another name. The other job is an orphan."""
    attempts = tuple(a for a in chunk.attempts if a.state is not AttemptState.SUBMITTING)
    return enter_state(replace(chunk, attempts=attempts), ChunkState.WAITING, now)


def mark_refused(chunk: Chunk, message: str, now: datetime) -> Chunk:
    """The cluster rejected the job for good."""
    return end_chunk(replace(chunk, reason=Reason.REJECTED, message=clip_text(message)), ChunkState.FAILED, now)


def mark_committed(chunk: Chunk, parts: tuple[Part, ...], now: datetime) -> Chunk:
    """The chosen *parts* are copied to where consumers read."""
    assert chunk.chosen
    result = replace(chunk.chosen, parts=parts)
    return replace(chunk, state=ChunkState.COMMITTED, since=now, committed=result, chosen=None, reason=None, message="")


def mark_uncommittable(chunk: Chunk, message: str, now: datetime, *, earlier_intact: bool) -> Chunk:
    """The parts cannot be copied. *earlier_intact*: the parts of an earlier round are unchanged."""
    remaining = chunk if earlier_intact else replace(chunk, committed=None)
    return end_chunk(
        replace(remaining, reason=Reason.COMMIT_CONFLICT, message=clip_text(message)), ChunkState.FAILED, now
    )
