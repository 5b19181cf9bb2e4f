"""Decides what becomes of a run and its chunks, given what is seen. Pure: doing it is the control plane's work.

What is expected stands in the rows of the run and its chunks, what is seen comes as evidence, and `advance` closes the
gap. What has to be done then can be read off the rows it returns: an attempt that is `submitting` is to be submitted, a
chunk that is `committing` is to be copied. Either may be asked for again at every tick until its end was written down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from shared.contract.domain import Outcome, Reason, Tally, merge_failures
from shared.contract.paths import parse_job_name
from shared.contract.text import clip_text
from shared.ports import Sighting
from shared.state.runs import AttemptState, Chunk, Phase, Run

from . import attempts
from .observation import Evidence
from .run_limits import Policy

CIRCUIT = 3  # chunks that fail whole for one reason before any other has ended
ENOUGH = 30  # models that a judgement on a whole run wants, where it is models that failed: three bad pumps are no sign

# Why a chunk failed whole, whatever its models are.
_OF_JOBS = attempts.LOSSES | {
    Reason.JOB_FAILED,
    Reason.NO_REPORT,
    Reason.NO_SIGN,
    Reason.STALLED,
    Reason.RAN_TOO_LONG,
    Reason.REJECTED,
    Reason.COMMIT_CONFLICT,
}


@dataclass(frozen=True, slots=True)
class Step:
    """The verdict on a run and its chunks, and the names of jobs that have no business to run."""

    run: Run
    chunks: tuple[Chunk, ...]
    cancel: tuple[str, ...]


def advance(run: Run, chunks: Sequence[Chunk], evidence: Evidence, policy: Policy, now: datetime) -> Step:
    """Set what is expected beside what is seen, and say how the run and every chunk stand now."""
    run = _stop(run, chunks, policy, now)
    moved = [attempts.follow(run, attempts.reopened(run, chunk, now), evidence, policy, now) for chunk in chunks]
    room = (run.max_in_flight or policy.max_in_flight) - sum(a.state.in_flight for c in moved for a in c.attempts)
    starts = not (run.stopped or run.cancelled_at)
    for i, chunk in enumerate(moved):
        if room > 0 and starts and chunk.id not in evidence.unread and attempts.may_try(chunk, policy, now):
            moved[i] = attempts.try_again(run, chunk, now)
            room -= 1
    return Step(run, tuple(moved), unwanted(evidence.jobs or {}, moved))


def unwanted(jobs: Mapping[str, Sighting], chunks: Sequence[Chunk]) -> tuple[str, ...]:
    """The jobs that still run and that no row holds, or that a row wants gone.

    The job that reported is held by its report: it is about to end by itself.
    """
    held = {
        (chunk.id, attempt.number)
        for chunk in chunks
        for attempt in chunk.attempts
        if attempt.state is not AttemptState.CANCELLING
    } | {(chunk.id, result.attempt) for chunk in chunks if (result := chunk.chosen or chunk.committed)}
    parsed = ((name, parse_job_name(name)) for name, seen in jobs.items() if not seen.state.over)
    return tuple(sorted(name for name, job in parsed if job and job[1:] not in held))


def sum_up(run: Run, chunks: Sequence[Chunk], now: datetime) -> Run:
    """The run as its chunks make it: counts, progress, and its end when all of them have ended."""
    tally = sum((c.tally for c in chunks), Tally())
    under_way = sum(
        c.chosen.tally.models if c.chosen else max((a.done for a in c.attempts), default=0)
        for c in chunks
        if not c.state.terminal
    )
    done = tally.models + under_way
    moved = replace(
        run,
        observed_at=now,
        progress_at=now if done > run.done else run.progress_at,
        done=done,
        tally=tally,
        chunk_states=dict(sorted(Counter(c.state for c in chunks).items())),
        failures=merge_failures(failure for c in chunks for failure in c.failures),
    )
    if not all(c.state.terminal for c in chunks):
        return moved
    phase, reason, message = _verdict(moved)
    return replace(moved, phase=phase, reason=reason, message=message, ended_at=now)


def _verdict(run: Run) -> tuple[Phase, Reason | None, str]:
    tally = run.tally
    if tally.cancelled:
        return Phase.CANCELLED, Reason.CANCELLED, "cancelled by request"
    if run.stopped and (tally.failed or tally.not_attempted):
        return Phase.FAILED, run.stopped, run.message
    if tally.scored:
        return Phase.PARTIAL if tally.failed or tally.not_attempted else Phase.SUCCEEDED, None, ""
    # Nothing was scored. That a pump was off is no fault, but that all were is most often a fault of ours.
    top = run.failures[0] if run.failures else None
    often = f"; most often: {top.message}" if top else ""
    return Phase.FAILED, top.reason if top else None, f"none of {run.models} models was scored{often}"


# Stopping a run early


def _stop(run: Run, chunks: Sequence[Chunk], policy: Policy, now: datetime) -> Run:
    """The run, with the reason why no further chunk of it starts, once there is one."""
    if run.stopped or run.cancelled_at:
        return run
    ended = [c for c in chunks if c.state.terminal and c.round == run.round]
    found = _overdue(run, policy, now) or _too_many(run, ended, policy) or _circuit(ended)
    return replace(run, stopped=found[0], message=clip_text(found[1])) if found else run


def _overdue(run: Run, policy: Policy, now: datetime) -> tuple[Reason, str] | None:
    began = run.planned_at or run.opened_at
    if now - began < policy.run_deadline:
        return None
    return Reason.DEADLINE, f"not over {policy.run_deadline} after {began:%Y-%m-%d %H:%M} UTC, and stopped"


def _too_many(run: Run, ended: Sequence[Chunk], policy: Policy) -> tuple[Reason, str] | None:
    tolerated = policy.tolerated_failures if run.tolerated_failures is None else run.tolerated_failures
    tally = sum((c.tally for c in ended), Tally())
    if tally.failed * 100 <= tolerated * max(tally.models, min(ENOUGH, run.models)):
        return None
    top = merge_failures(f for c in ended for f in c.failures if f.outcome is Outcome.FAILED)[0]
    told = f"{tally.failed} of the first {tally.models} models failed, {tolerated} % are tolerated"
    return Reason.TOO_MANY_FAILURES, f"{told}; most often: {top.reason}: {top.message}"


def _circuit(ended: Sequence[Chunk]) -> tuple[Reason, str] | None:
    """Whether the first chunks to end all failed whole for one reason: the others would too, and cost as much."""
    first = sorted(ended, key=lambda c: (c.since, c.id))[:CIRCUIT]
    reasons = {failure.reason for c in first for failure in c.failures}
    if len(first) < CIRCUIT or len(reasons) > 1 or any(c.tally.failed < c.models for c in first):
        return None
    (reason,) = reasons
    if reason not in _OF_JOBS and sum(c.models for c in first) < ENOUGH:
        return None
    example = first[0].failures[0]
    return Reason.CIRCUIT_OPEN, f"the first {CIRCUIT} chunks to end failed whole: {reason}: {example.message}"
