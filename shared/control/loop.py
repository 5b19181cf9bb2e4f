"""The control loop. Every side effect of a tick happens in this module and in those that it calls.

`tick` compares what is stored with what it observes, and advances everything by one step. It may be killed between any
two calls, run twice, or run on two hosts at once: each effect has a name that the app chose, or is conditional on what
was read. So the next tick is the only recovery, also after a tick that ran out of time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shared.contract import paths
from shared.contract.domain import POISON, Reason
from shared.contract.errors import Conflict, Malformed, NotFound, Unavailable
from shared.contract.manifest import build_command
from shared.contract.text import clip_text
from shared.planning.plan_writer import PlanWriter, read_plan
from shared.ports import Blobs, Cluster, JobSpec, JobStatus, Ledger, Stopwatch
from shared.state.requests import Quarantined, Request, RequestKind
from shared.state.runs import PHASE_FOLLOWS, Chunk, ChunkState, Heartbeat, Nodes, Phase, Run
from shared.tracking import observe, run_tracker, transitions
from shared.tracking.observation import Observation

from . import maintenance
from .commit import copy_parts, has_earlier_parts
from .open_runs import RunOpener
from .options import ControlOptions
from .services import Services
from .tick import Tick

log = logging.getLogger(__name__)

ENDING = timedelta(minutes=1)  # the last jobs of a run may take so long to end after they have reported
PRUNE_EVERY = timedelta(hours=1)
PRUNE_FOR = timedelta(seconds=20)  # of one tick: a cancel must not wait for pruning
WATCH_CLOSED = timedelta(hours=2)  # how long jobs of a closed run are observed, in case one appears late
SLICE = 20  # chunks that are handled before they are saved and the requests are read again
EARLIER_RUNS = 10  # from which planning takes the size of the fleet and the rate


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The ports, and the options of the loop."""

    ledger: Ledger
    cluster: Cluster
    models: Blobs
    readings: Blobs
    work: Blobs
    predictions: Blobs
    stopwatch: Stopwatch
    options: ControlOptions = field(default_factory=ControlOptions)

    @property
    def services(self) -> Services:
        """The part of it that HTTP may use."""
        return Services(self.ledger, self.cluster, self.work, self.options)

    def tick(self, now: datetime) -> None:
        """Open the runs that are requested or due, and advance every open run by one step.

        Raises Unavailable where the ledger does not answer; other failures are logged and left to the next tick.
        """
        beat = self.ledger.read_heartbeat()
        requests = self.ledger.list_requests()
        tick = Tick(now, self.stopwatch, self.options.tick_budget, requests, beat.throttled_until)
        beat = self._open_runs(beat, tick)
        runs = self.ledger.list_watched_runs()
        self._advance_runs(runs, tick)
        pruned_at = self._prune_runs(beat, tick)
        beat = replace(beat, ticked_at=now, throttled_until=tick.throttled_until, pruned_at=pruned_at)
        if tick.nodes:
            beat = replace(beat, nodes=tick.nodes, nodes_at=now)
        self._save_heartbeat(replace(beat, trouble=clip_text(tick.trouble)))

    def _open_runs(self, beat: Heartbeat, tick: Tick) -> Heartbeat:
        opener = RunOpener(self.ledger, self.options)
        try:
            tick.requests = opener.grant_requests(tick.requests, tick.now)
            complete = True
            if not any(request.kind is RequestKind.PAUSE for request in tick.requests):
                watermark, complete = opener.open_due_windows(beat.watermark, tick.now)
                if watermark != beat.watermark:  # at once, so that the next tick does not report more as missed
                    beat = self._save_heartbeat(replace(beat, watermark=watermark))
            if complete:  # the schedule goes first
                opener.advance_backfills(tick.requests, tick.now, tick.in_time)
            opener.drop_idle_requests(tick.requests)
        except Conflict as error:
            log.warning("runs are opened at the next tick: another host opens them now: %s", error)
        return beat

    def _prune_runs(self, beat: Heartbeat, tick: Tick) -> datetime | None:
        """Prune old runs once an hour; returns when that was last completed."""
        if beat.pruned_at and tick.now - beat.pruned_at < PRUNE_EVERY:
            return beat.pruned_at
        until = min(tick.elapsed + PRUNE_FOR, tick.budget)
        try:
            complete = maintenance.prune_runs(
                self.ledger, self.work, self.predictions, self.options, tick.now, lambda: tick.elapsed < until
            )
        except Unavailable as error:
            log.warning("old runs are pruned at the next tick: %s", error)
            complete = False
        return tick.now if complete else beat.pruned_at

    def _save_heartbeat(self, beat: Heartbeat) -> Heartbeat:
        try:
            return self.ledger.save_heartbeat(beat)
        except Conflict:
            log.info("another host ticked at the same time; its heartbeat is kept")
            return beat

    # Advancing one run

    def _advance_runs(self, runs: Sequence[Run], tick: Tick) -> None:
        jobs = self._observe_jobs(runs, tick)
        for run in sorted(runs, key=lambda run: run.observed_at or run.opened_at):  # so that no run waits for ever
            if not tick.in_time():
                log.warning("run=%s waits for the next tick: this tick is out of time", run.id)
                continue
            try:
                self._advance_run(run, jobs, tick)
            except Conflict as error:
                log.warning("run=%s waits for the next tick: %s", run.id, error)
            except Unavailable as error:
                log.warning("run=%s waits for the next tick: %s", run.id, error)
                tick.trouble = str(error)
            except Exception as error:  # one run must not stop the others
                log.exception("run=%s could not be advanced", run.id)
                tick.trouble = f"run {run.id}: {type(error).__name__}: {error}"

    def _observe_jobs(self, runs: Sequence[Run], tick: Tick) -> Mapping[str, JobStatus] | None:
        """Observe the jobs of all runs in one call; None where the cluster does not answer or is throttled."""
        if not runs:
            return {}
        if tick.throttled:
            log.info("the cluster is throttled until %s", tick.throttled_until)
            return None
        try:
            jobs = self.cluster.observe([run.id for run in runs])
        except Unavailable as error:
            log.warning("the cluster was not observed: %s", error)
            tick.note_error(error)
            return None
        tick.nodes = self._count_nodes(tick)
        return jobs

    def _count_nodes(self, tick: Tick) -> Nodes | None:
        """Count the nodes, for people; nothing is decided by it."""
        try:
            return self.cluster.count_nodes()
        except Unavailable as error:
            log.warning("the cluster's nodes were not counted: %s", error)
            tick.note_error(error)
            return None

    def _advance_run(self, stored: Run, jobs: Mapping[str, JobStatus] | None, tick: Tick) -> None:
        cancel, limits = tick.find_request(RequestKind.CANCEL, stored), tick.find_request(RequestKind.LIMITS, stored)
        run = stored
        if not run.phase.terminal:
            run = _apply_limits(run, limits) if limits else run
            if cancel and not run.cancelled_at:
                log.info("run=%s cancel accepted", run.id)
                run = replace(run, cancelled_at=tick.now)
        if run.phase is Phase.PLANNING:
            run = stored = self._save_run(stored, self._plan_run(run, tick.now))
        if run.phase is Phase.RUNNING:
            run = self._advance_chunks(run, jobs, tick)
        elif stored.phase.terminal:
            self._watch_closed(run, jobs, tick)
        run = self._save_run(stored, run)
        if limits and limits.target == run.id:
            self.ledger.remove_request(limits)
        if cancel and cancel.target == run.id and run.phase.terminal:
            self.ledger.remove_request(cancel)

    def _save_run(self, stored: Run, run: Run) -> Run:
        if run == stored:
            return stored
        assert run.phase is stored.phase or run.phase in PHASE_FOLLOWS[stored.phase]
        saved = self.ledger.save_run(run)
        if run.stopped is not stored.stopped:
            log.error("run=%s stopped: %s: %s", run.id, run.stopped, run.message)
        if run.phase is not stored.phase:
            level = logging.ERROR if run.phase is Phase.FAILED else logging.INFO
            log.log(level, "run=%s %s->%s %s", run.id, stored.phase, run.phase, run.message)
        return saved

    def _plan_run(self, run: Run, now: datetime) -> Run:
        if now - run.opened_at >= self.options.limits.run_deadline:  # it cannot be planned
            message = f"could not be planned within {self.options.limits.run_deadline}"
            return replace(run, phase=Phase.FAILED, ended_at=now, reason=Reason.DEADLINE, message=message)
        writer = PlanWriter(self.models, self.readings, self.work, self.ledger, self.options.planning)
        earlier = [other for other in self.ledger.list_runs(EARLIER_RUNS).items if other.models]
        return writer.write_plan(run, earlier, now)

    def _watch_closed(self, run: Run, jobs: Mapping[str, JobStatus] | None, tick: Tick) -> None:
        closed_for = tick.now - (run.ended_at or tick.now)
        if closed_for >= ENDING:
            self._cancel_jobs(run, run_tracker.find_unwanted_jobs(self._filter_jobs(run, jobs), ()), tick)
        if closed_for >= max(WATCH_CLOSED, self.options.limits.job_timeout) and not tick.throttled:
            self.cluster.release(run.id)
            self.ledger.unwatch_run(run)

    def _advance_chunks(self, run: Run, jobs: Mapping[str, JobStatus] | None, tick: Tick) -> Run:
        chunks = self._read_chunks(run, tick.now)
        if len(chunks) < run.chunks:  # a short read: decide nothing
            return run
        of_run = None if jobs is None else self._filter_jobs(run, jobs)
        observation = observe.collect_observation(self.work, run.id, chunks, of_run, tick.in_time)
        step = run_tracker.advance_run(run, chunks, observation, self.options.limits, tick.now)
        self._quarantine_models(run, step.chunks, observation, tick.now)
        rows = {chunk.id: chunk for chunk in chunks}
        self._save_chunks(rows, step.chunks)
        self._cancel_jobs(run, step.cancel, tick)
        self._commit_chunks(run, rows, tick)
        self._submit_jobs(run, rows, tick)
        run = replace(step.run, throttled_until=tick.throttled_until)
        return run_tracker.summarize_run(run, list(rows.values()), tick.now)

    def _read_chunks(self, run: Run, now: datetime) -> Sequence[Chunk]:
        """The run's chunks; rows that are missing are added from its plans: it is new, or a tick was killed before."""
        chunks = self.ledger.list_chunks(run.id)
        if len(chunks) < run.chunks:
            log.info("run=%s has %d of %d chunk rows; adding them from its plans", run.id, len(chunks), run.chunks)
            for number in range(run.plans):
                self.ledger.add_chunks(read_plan(self.work, run, number, now).chunks)
            chunks = self.ledger.list_chunks(run.id)
        return list({chunk.id: chunk for chunk in chunks}.values())  # a page may come twice

    def _save_chunks(self, rows: dict[str, Chunk], moved: Sequence[Chunk]) -> None:
        """Save the chunks that changed, and update *rows*."""
        changed = [chunk for chunk in moved if chunk != rows[chunk.id]]
        for chunk in changed:
            if chunk.state is not rows[chunk.id].state:
                before, message = rows[chunk.id].state, chunk.message
                log.info("run=%s chunk=%s %s->%s %s", chunk.run, chunk.id, before, chunk.state, message)
            if (chunk.retries, chunk.losses) != (rows[chunk.id].retries, rows[chunk.id].losses):
                log.warning("run=%s chunk=%s %s: %s", chunk.run, chunk.id, chunk.reason, chunk.message)
        rows.update((chunk.id, chunk) for chunk in self.ledger.save_chunks(changed))

    def _cancel_jobs(self, run: Run, names: Sequence[str], tick: Tick) -> None:
        if not names or tick.throttled:
            return
        log.info("run=%s cancelling %d jobs, %s first", run.id, len(names), names[0])
        try:
            self.cluster.cancel(names)
        except Unavailable as error:  # the next tick cancels them; the run goes on
            log.warning("run=%s jobs are not cancelled yet: %s", run.id, error)
            tick.note_error(error)

    def _filter_jobs(self, run: Run, jobs: Mapping[str, JobStatus] | None) -> dict[str, JobStatus]:
        """The jobs of one run of this app: another app may share the cluster and have runs of the same windows."""
        prefix = f"{self.options.limits.app}-{run.id}-"
        return {name: status for name, status in (jobs or {}).items() if name.startswith(prefix)}

    # Effects

    def _quarantine_models(self, run: Run, moved: Sequence[Chunk], observation: Observation, now: datetime) -> None:
        """Put the models that a chosen report names as poison into quarantine, before the choice is saved."""
        chosen = [observation.reports[c.id] for c in moved if c.chosen and c.id in observation.reports]
        for result in (result for report in chosen for result in report.results if result.reason in POISON):
            assert result.reason
            log.error("model=%s in quarantine: %s: %s", result.model, result.reason, result.message)
            entry = Quarantined(result.model, result.etag, result.reason, result.message, run.id, now)
            self.ledger.add_quarantined(entry)

    def _commit_chunks(self, run: Run, rows: dict[str, Chunk], tick: Tick) -> None:
        """Copy the chosen parts to where consumers read, and record it."""
        for batch in _split_into_slices([chunk for chunk in rows.values() if chunk.state is ChunkState.COMMITTING]):
            if not tick.in_time():
                break
            after = []
            for chunk in batch:
                try:
                    parts = copy_parts(self.work, self.predictions, run.window, chunk)
                    after.append(transitions.mark_committed(chunk, parts, tick.now))
                except Unavailable as error:
                    log.warning("run=%s chunk=%s is not committed yet: %s", run.id, chunk.id, error)
                except (Malformed, NotFound, Conflict) as error:
                    if tick.now - chunk.since < self.options.limits.silence:
                        log.warning("run=%s chunk=%s is not committed yet: %s", run.id, chunk.id, error)
                        continue
                    log.error("run=%s chunk=%s cannot be committed: %s", run.id, chunk.id, error)  # noqa: TRY400
                    intact = has_earlier_parts(self.predictions, run.window, chunk)
                    after.append(transitions.mark_uncommittable(chunk, str(error), tick.now, earlier_intact=intact))
            self._save_chunks(rows, after)

    def _submit_jobs(self, run: Run, rows: dict[str, Chunk], tick: Tick) -> None:
        """Submit the jobs of the attempts that are recorded as submitting. The rest waits for the next tick."""
        for batch in _split_into_slices([chunk for chunk in rows.values() if transitions.find_unsubmitted(chunk)]):
            tick.wait_for_slot(len(batch), self.options.submit_rate)
            tick.requests = self.ledger.list_requests()
            if tick.throttled or not tick.in_time() or tick.find_request(RequestKind.CANCEL, run):
                break
            specs = {chunk.id: self._build_spec(chunk) for chunk in batch}
            try:
                refusals = self.cluster.submit(list(specs.values()))
            except Unavailable as error:
                log.warning("run=%s jobs are not submitted yet: %s", run.id, error)
                tick.note_error(error)
                break
            after = []
            for chunk in batch:
                refusal = refusals.get(specs[chunk.id].name)
                if refusal is None:
                    after.append(transitions.mark_acknowledged(chunk, tick.now))
                elif refusal.name_taken:
                    log.warning("run=%s chunk=%s skips a name that is taken: %s", run.id, chunk.id, refusal.message)
                    after.append(transitions.mark_name_taken(chunk, tick.now))
                else:
                    log.error("run=%s chunk=%s rejected by the cluster: %s", run.id, chunk.id, refusal.message)
                    after.append(transitions.mark_refused(chunk, refusal.message, tick.now))
            self._save_chunks(rows, after)

    def _build_spec(self, chunk: Chunk) -> JobSpec:
        attempt = transitions.find_unsubmitted(chunk)
        assert attempt
        manifest = f"{self.work.url}/{paths.manifest_path(chunk.run, chunk.manifest)}"
        name = paths.make_job_name(self.options.limits.app, chunk.run, chunk.id, attempt.number)
        command = build_command(
            manifest, attempt.number, isolated=attempt.careful, carry=attempt.carry, include_quarantined=attempt.pardon
        )
        return JobSpec(name, chunk.run, command, self.options.limits.job_timeout)


def _apply_limits(run: Run, request: Request) -> Run:
    """The run with the limits of a request; a limit that the request leaves open is unchanged."""
    return replace(
        run,
        max_in_flight=run.max_in_flight if request.max_in_flight is None else request.max_in_flight,
        tolerated_failures=run.tolerated_failures if request.tolerated_failures is None else request.tolerated_failures,
    )


def _split_into_slices(chunks: Sequence[Chunk]) -> Iterator[Sequence[Chunk]]:
    return (chunks[i : i + SLICE] for i in range(0, len(chunks), SLICE))
