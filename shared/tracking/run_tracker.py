"""Decides the next state of a run and its chunks from an observation. Pure: the control plane acts on it.

The rows of the run and its chunks hold the desired state, the observation the actual one; `advance_run` compares them.
The rows that it returns say what has to be done: an attempt that is `submitting` is submitted, a chunk that is
`committing` is copied. Both may be repeated at every tick until the result is recorded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from shared.contract.domain import Tally, merge_failures, merge_late, merge_unmodelled
from shared.contract.paths import parse_job_name
from shared.contract.reasons import Outcome, Reason
from shared.contract.summaries.predicted import Predicted, close_summary, merge_predicted
from shared.contract.text import clip_text
from shared.ports import JobStatus
from shared.state.runs import AttemptState, Chunk, ChunkState, Phase, Run

from . import attempts
from .observation import Observation
from .run_limits import RunLimits

NO_MANIFESTS: Mapping[str, str] = MappingProxyType({})
CIRCUIT_CHUNKS = 3  # chunks that fail completely for one reason before any other chunk has ended
LEAST_MODELS = 30  # fewer failed models than this do not stop a run: three bad pumps prove nothing


@dataclass(frozen=True, slots=True)
class Step:
    """The next state of a run and its chunks, and the names of the jobs to cancel."""

    run: Run
    chunks: tuple[Chunk, ...]
    cancel: tuple[str, ...]


def advance_run(
    run: Run,
    chunks: Sequence[Chunk],
    observation: Observation,
    limits: RunLimits,
    now: datetime,
    manifests: Mapping[str, str] = NO_MANIFESTS,
) -> Step:
    """Compare the rows with the observation, and return the next state of the run and every chunk.

    *manifests*, by chunk, are those of a round that has its own.
    """
    run = _stop_run(run, chunks, limits, now)
    moved = [
        attempts.advance_chunk(
            run, attempts.reopen_chunk(run, chunk, now, manifests.get(chunk.id, "")), observation, limits, now
        )
        for chunk in chunks
    ]
    room = (run.max_in_flight or limits.max_in_flight) - sum(a.state.in_flight for c in moved for a in c.attempts)
    starts = not (run.stopped or run.cancelled_at)
    for i, chunk in enumerate(moved):
        if room > 0 and starts and chunk.id not in observation.unread and attempts.may_try(chunk, limits, now):
            moved[i] = attempts.start_attempt(run, chunk, now)
            room -= 1
    return Step(run, tuple(moved), find_unwanted_jobs(observation.jobs or {}, moved))


def find_unwanted_jobs(jobs: Mapping[str, JobStatus], chunks: Sequence[Chunk]) -> tuple[str, ...]:
    """The jobs that still run although no row has them, or a row cancels them.

    A job that has reported is not among them: it is about to end by itself.
    """
    held = {
        (chunk.id, attempt.number)
        for chunk in chunks
        for attempt in chunk.attempts
        if attempt.state is not AttemptState.CANCELLING
    } | {(chunk.id, result.attempt) for chunk in chunks if (result := chunk.chosen or chunk.committed)}
    parsed = ((name, parse_job_name(name)) for name, status in jobs.items() if not status.state.over)
    return tuple(sorted(name for name, job in parsed if job and job[1:] not in held))


def summarize_run(run: Run, chunks: Sequence[Chunk], now: datetime) -> Run:
    """The run with counts and progress from its chunks, and closed when all of them have ended."""
    tally = sum((c.tally for c in chunks), Tally())
    under_way = sum(
        c.chosen.tally.models if c.chosen else max((a.done for a in c.attempts), default=0)
        for c in chunks
        if not c.state.terminal
    )
    ended = tally.models + under_way
    moved = replace(
        run,
        observed_at=now,
        progress_at=now if ended > run.done else run.progress_at,
        done=ended,
        tally=tally,
        chunk_states=dict(sorted(Counter(c.state for c in chunks).items())),
        failures=merge_failures(failure for c in chunks for failure in c.failures),
        unmodelled=merge_unmodelled(c.unmodelled for c in chunks),
        unmodelled_chunks=sum(c.unmodelled is not None for c in chunks),
        predicted=_sum_predicted(chunks),
        late=merge_late(c.late for c in chunks),
    )
    if not all(c.state.terminal for c in chunks):
        return moved
    phase, reason, message = _decide_phase(moved, [chunk for chunk in chunks if chunk.keeps_earlier])
    return replace(moved, phase=phase, reason=reason, message=clip_text(message), ended_at=now)


def is_sum_of(run: Run, chunks: Sequence[Chunk]) -> bool:
    """Whether these are the chunks of a run that is over, as its row counts them: all, and of its last round."""
    tally = sum((c.tally for c in chunks), Tally())
    counts = [replace(each, seconds=round(each.seconds, 3)) for each in (tally, run.tally)]
    return len(chunks) == run.chunks and all(c.state.terminal for c in chunks) and counts[0] == counts[1]


def _sum_predicted(chunks: Iterable[Chunk]) -> Predicted | None:
    """What the models of the chunks that are over predicted, as `Run.tally` counts them; None for detectors alone."""
    results = [chunk.committed for chunk in chunks if chunk.state is ChunkState.COMMITTED and chunk.committed]
    if not any(result.predicted for result in results):
        return None
    return close_summary(
        merge_predicted(
            result.predicted or Predicted.from_detectors(result.tally.scored, result.tally.rows) for result in results
        )
    )


def reported_nothing(run: Run, chunks: Iterable[Chunk]) -> bool:
    """Whether all jobs of the run ended by themselves and none left a report, as where nodes cannot read the plan."""
    return not run.cancelled_at and all(
        chunk.state is ChunkState.FAILED and chunk.reason in (Reason.JOB_FAILED, Reason.NO_REPORT) for chunk in chunks
    )


def _decide_phase(run: Run, unchanged: Sequence[Chunk]) -> tuple[Phase, Reason | None, str]:
    """How the run ends; *unchanged* are the chunks that keep the result of an earlier round."""
    tally = run.tally
    if tally.cancelled:
        return Phase.CANCELLED, Reason.CANCELLED, "cancelled by request"
    if run.stopped and (tally.failed or tally.not_attempted or unchanged):
        return Phase.FAILED, run.stopped, run.message
    if tally.scored and unchanged and not run.cancelled_at:
        first = unchanged[0]
        message = f"{len(unchanged)} of {run.chunks} chunks keep the result of an earlier round; {first.id}: "
        return Phase.PARTIAL, first.reason, message + first.message
    if tally.scored:
        return Phase.PARTIAL if tally.failed or tally.not_attempted else Phase.SUCCEEDED, None, ""
    # Nothing was scored. One pump without readings is normal; all of them is most often a fault of the set-up.
    top = run.failures[0] if run.failures else None
    often = f"; most often: {top.message}" if top else ""
    return Phase.FAILED, top.reason if top else None, f"none of {run.models} models was scored{often}"


# Stopping a run early


def _stop_run(run: Run, chunks: Sequence[Chunk], limits: RunLimits, now: datetime) -> Run:
    """The run, with the reason why no further chunk of it starts, if there is one."""
    if run.stopped or run.cancelled_at:
        return run
    ended = [c for c in chunks if c.state.terminal and c.round == run.round]
    stop = _check_deadline(run, limits, now) or _check_failures(run, ended, limits) or _check_circuit(ended)
    return replace(run, stopped=stop[0], message=clip_text(stop[1])) if stop else run


def _check_deadline(run: Run, limits: RunLimits, now: datetime) -> tuple[Reason, str] | None:
    began = run.planned_at or run.opened_at
    if now - began < limits.run_deadline:
        return None
    return Reason.DEADLINE, f"not over {limits.run_deadline} after {began:%Y-%m-%d %H:%M} UTC, and stopped"


def _check_failures(run: Run, ended: Sequence[Chunk], limits: RunLimits) -> tuple[Reason, str] | None:
    tolerated = limits.tolerated_failures if run.tolerated_failures is None else run.tolerated_failures
    tally = sum((c.tally for c in ended), Tally())
    if tally.failed * 100 <= tolerated * max(tally.models, min(LEAST_MODELS, run.models)):
        return None
    top = merge_failures(f for c in ended for f in c.failures if f.outcome is Outcome.FAILED)[0]
    counts = f"{tally.failed} of the first {tally.models} models failed, {tolerated} % are tolerated"
    return Reason.TOO_MANY_FAILURES, f"{counts}; most often: {top.reason}: {top.message}"


def _check_circuit(ended: Sequence[Chunk]) -> tuple[Reason, str] | None:
    """Whether the first chunks to end all failed completely for one reason: the others would fail too, at full cost."""
    first = sorted(ended, key=lambda c: (c.since, c.id))[:CIRCUIT_CHUNKS]
    reasons = {failure.reason for c in first for failure in c.failures}
    if len(first) < CIRCUIT_CHUNKS or len(reasons) > 1 or any(c.tally.failed < c.models for c in first):
        return None
    (reason,) = reasons
    if not reason.is_of_jobs and sum(c.models for c in first) < LEAST_MODELS:
        return None
    example = first[0].failures[0]
    return (
        Reason.CIRCUIT_OPEN,
        f"the first {CIRCUIT_CHUNKS} chunks to end failed completely: {reason}: {example.message}",
    )
