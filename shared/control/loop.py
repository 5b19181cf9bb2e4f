"""The control loop. Every side effect of a tick happens in this room and in those that it calls, in their order.

`tick` looks at what is stored and what is seen, and moves everything on by one step. It may be killed between any two
calls, run twice, or run on two hosts at once: what it does is either asked for by a name that we chose, or conditional
on what was read. So the next tick is the whole of recovery, also of a tick whose time was up.
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
from shared.planning.plan_writer import Drafting, read_plan
from shared.ports import Blobs, Cluster, JobSpec, Ledger, Sighting, Stopwatch
from shared.state.requests import Quarantined, Wish, WishKind
from shared.state.runs import PHASE_FOLLOWS, Chunk, ChunkState, Heartbeat, Nodes, Phase, Run
from shared.tracking import attempts, observe, run_tracker
from shared.tracking.observation import Evidence

from . import maintenance
from .commit import copy_parts, earlier_lies
from .open_runs import Opening
from .options import Rules
from .services import Services
from .tick import Tick

log = logging.getLogger(__name__)

ENDING = timedelta(minutes=1)  # that the last jobs of a run have to end by themselves after they have reported
PRUNE_EVERY = timedelta(hours=1)
PRUNE_FOR = timedelta(seconds=20)  # of one tick: a cancel must not wait for the broom
WATCH_CLOSED = timedelta(hours=2)  # how long jobs of a closed run are looked for, should one come late
SLICE = 20  # chunks acted on before it is written down, and before the wishes are read again
EARLIER_RUNS = 10  # that planning looks back on for the fleet's size and rate


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The ports, and the rules by which they are used."""

    ledger: Ledger
    cluster: Cluster
    models: Blobs
    readings: Blobs
    work: Blobs
    predictions: Blobs
    stopwatch: Stopwatch
    rules: Rules = field(default_factory=Rules)

    @property
    def services(self) -> Services:
        """What HTTP may use of it."""
        return Services(self.ledger, self.cluster, self.work, self.rules)

    def tick(self, now: datetime) -> None:
        """Open the runs that are asked for or due, and move every open run on by one step.

        Raises Unavailable where the ledger does not answer; all else waits for the next tick, and is logged.
        """
        beat = self.ledger.heartbeat()
        wishes = self.ledger.wishes()
        tick = Tick(now, self.stopwatch, self.rules.tick_budget, wishes, beat.throttled_until)
        beat = self._open_runs(beat, tick)
        runs = self.ledger.watched_runs()
        self._move_all(runs, tick)
        pruned_at = self._prune(beat, tick)
        beat = replace(beat, ticked_at=now, throttled_until=tick.throttled_until, pruned_at=pruned_at)
        if tick.nodes:
            beat = replace(beat, nodes=tick.nodes, nodes_at=now)
        self._remember(replace(beat, trouble=clip_text(tick.trouble)))

    def _open_runs(self, beat: Heartbeat, tick: Tick) -> Heartbeat:
        opening = Opening(self.ledger, self.rules)
        try:
            tick.wishes = opening.grant(tick.wishes, tick.now)
            rested = True
            if not any(wish.kind is WishKind.PAUSE for wish in tick.wishes):
                watermark, rested = opening.open_due(beat.watermark, tick.now)
                if watermark != beat.watermark:  # at once: what was told as missed must not grow with the next tick
                    beat = self._remember(replace(beat, watermark=watermark))
            if rested:  # the schedule goes first
                opening.fill_back(tick.wishes, tick.now, tick.in_time)
            opening.drop_idle(tick.wishes)
        except Conflict as error:
            log.warning("runs are opened at the next tick: another host does it at this moment: %s", error)
        return beat

    def _prune(self, beat: Heartbeat, tick: Tick) -> datetime | None:
        """Remove what is old, now and then; when that was last done to the end."""
        if beat.pruned_at and tick.now - beat.pruned_at < PRUNE_EVERY:
            return beat.pruned_at
        until = min(tick.elapsed + PRUNE_FOR, tick.budget)
        try:
            done = maintenance.prune(
                self.ledger, self.work, self.predictions, self.rules, tick.now, lambda: tick.elapsed < until
            )
        except Unavailable as error:
            log.warning("old runs are pruned at the next tick: %s", error)
            done = False
        return tick.now if done else beat.pruned_at

    def _remember(self, beat: Heartbeat) -> Heartbeat:
        try:
            return self.ledger.save_heartbeat(beat)
        except Conflict:
            log.info("another host ticked at the same time; its heartbeat stands")
            return beat

    # Moving one run on

    def _move_all(self, runs: Sequence[Run], tick: Tick) -> None:
        jobs = self._observe(runs, tick)
        for run in sorted(runs, key=lambda run: run.observed_at or run.opened_at):  # none waits for ever
            if not tick.in_time():
                log.warning("run=%s waits for the next tick: this one's time is up", run.id)
                continue
            try:
                self._move(run, jobs, tick)
            except Conflict as error:
                log.warning("run=%s waits for the next tick: %s", run.id, error)
            except Unavailable as error:
                log.warning("run=%s waits for the next tick: %s", run.id, error)
                tick.trouble = str(error)
            except Exception as error:  # one run must not stop the others
                log.exception("run=%s could not be moved on", run.id)
                tick.trouble = f"run {run.id}: {type(error).__name__}: {error}"

    def _observe(self, runs: Sequence[Run], tick: Tick) -> Mapping[str, Sighting] | None:
        """One look at the cluster for all runs; None where it does not answer, or wants to be left alone."""
        if not runs:
            return {}
        if tick.throttled:
            log.info("the cluster wants to be left alone until %s", tick.throttled_until)
            return None
        try:
            jobs = self.cluster.observe([run.id for run in runs])
        except Unavailable as error:
            log.warning("the cluster was not seen: %s", error)
            tick.heed(error)
            return None
        tick.nodes = self._count_nodes(tick)
        return jobs

    def _count_nodes(self, tick: Tick) -> Nodes | None:
        """For people to see; nothing is decided by it."""
        try:
            return self.cluster.nodes()
        except Unavailable as error:
            log.warning("the cluster's nodes were not counted: %s", error)
            tick.heed(error)
            return None

    def _move(self, stored: Run, jobs: Mapping[str, Sighting] | None, tick: Tick) -> None:
        cancel, limits = tick.asked(WishKind.CANCEL, stored), tick.asked(WishKind.LIMITS, stored)
        run = stored
        if not run.phase.terminal:
            run = _limited(run, limits) if limits else run
            if cancel and not run.cancelled_at:
                log.info("run=%s cancel taken up", run.id)
                run = replace(run, cancelled_at=tick.now)
        if run.phase is Phase.PLANNING:
            run = stored = self._record(stored, self._plan(run, tick.now))
        if run.phase is Phase.RUNNING:
            run = self._advance(run, jobs, tick)
        elif stored.phase.terminal:
            self._watch_closed(run, jobs, tick)
        run = self._record(stored, run)
        if limits and limits.target == run.id:
            self.ledger.remove_wish(limits)
        if cancel and cancel.target == run.id and run.phase.terminal:
            self.ledger.remove_wish(cancel)

    def _record(self, stored: Run, run: Run) -> Run:
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

    def _plan(self, run: Run, now: datetime) -> Run:
        if now - run.opened_at >= self.rules.policy.run_deadline:  # something keeps it from being planned
            message = f"could not be planned within {self.rules.policy.run_deadline}"
            return replace(run, phase=Phase.FAILED, ended_at=now, reason=Reason.DEADLINE, message=message)
        drafting = Drafting(self.models, self.readings, self.work, self.ledger, self.rules.drafting)
        earlier = [other for other in self.ledger.runs(EARLIER_RUNS).items if other.models]
        return drafting.plan(run, earlier, now)

    def _watch_closed(self, run: Run, jobs: Mapping[str, Sighting] | None, tick: Tick) -> None:
        closed_for = tick.now - (run.ended_at or tick.now)
        if closed_for >= ENDING:
            self._cancel(run, run_tracker.unwanted(self._of(run, jobs), ()), tick)
        if closed_for >= max(WATCH_CLOSED, self.rules.policy.job_timeout) and not tick.throttled:
            self.cluster.release(run.id)
            self.ledger.unwatch(run)

    def _advance(self, run: Run, jobs: Mapping[str, Sighting] | None, tick: Tick) -> Run:
        chunks = self._rows(run, tick.now)
        if len(chunks) < run.chunks:  # a short read: decide nothing
            return run
        of_run = None if jobs is None else self._of(run, jobs)
        evidence = observe.evidence(self.work, run.id, chunks, of_run, tick.in_time)
        step = run_tracker.advance(run, chunks, evidence, self.rules.policy, tick.now)
        self._quarantine(run, step.chunks, evidence, tick.now)
        rows = {chunk.id: chunk for chunk in chunks}
        self._save(rows, step.chunks)
        self._cancel(run, step.cancel, tick)
        self._commit(run, rows, tick)
        self._submit(run, rows, tick)
        run = replace(step.run, throttled_until=tick.throttled_until)
        return run_tracker.sum_up(run, list(rows.values()), tick.now)

    def _rows(self, run: Run, now: datetime) -> Sequence[Chunk]:
        """The run's chunks, made from its plans where rows are missing: it is new, or somebody was killed over it."""
        chunks = self.ledger.chunks(run.id)
        if len(chunks) < run.chunks:
            log.info("run=%s has %d of %d chunk rows; making them from its plan", run.id, len(chunks), run.chunks)
            for number in range(run.plans):
                self.ledger.add_chunks(read_plan(self.work, run, number, now).chunks)
            chunks = self.ledger.chunks(run.id)
        return list({chunk.id: chunk for chunk in chunks}.values())  # a page may come twice

    def _save(self, rows: dict[str, Chunk], moved: Sequence[Chunk]) -> None:
        """Write those that moved, and keep *rows* as they stand now."""
        changed = [chunk for chunk in moved if chunk != rows[chunk.id]]
        for chunk in changed:
            if chunk.state is not rows[chunk.id].state:
                before, why = rows[chunk.id].state, chunk.message
                log.info("run=%s chunk=%s %s->%s %s", chunk.run, chunk.id, before, chunk.state, why)
            if (chunk.retries, chunk.losses) != (rows[chunk.id].retries, rows[chunk.id].losses):
                log.warning("run=%s chunk=%s %s: %s", chunk.run, chunk.id, chunk.reason, chunk.message)
        rows.update((chunk.id, chunk) for chunk in self.ledger.save_chunks(changed))

    def _cancel(self, run: Run, names: Sequence[str], tick: Tick) -> None:
        if not names or tick.throttled:
            return
        log.info("run=%s cancelling %d jobs, %s first", run.id, len(names), names[0])
        try:
            self.cluster.cancel(names)
        except Unavailable as error:  # they are unwanted still at the next tick; the run goes on meanwhile
            log.warning("run=%s jobs are not cancelled yet: %s", run.id, error)
            tick.heed(error)

    def _of(self, run: Run, jobs: Mapping[str, Sighting] | None) -> dict[str, Sighting]:
        """The jobs of one run of ours: another app may share the cluster, and have runs of the same windows."""
        beginning = f"{self.rules.policy.app}-{run.id}-"
        return {name: seen for name, seen in (jobs or {}).items() if name.startswith(beginning)}

    # Acting

    def _quarantine(self, run: Run, moved: Sequence[Chunk], evidence: Evidence, now: datetime) -> None:
        """Put the models that a chosen report calls poison on the list. Before the choice is saved, so none is lost."""
        chosen = [evidence.reports[c.id] for c in moved if c.chosen and c.id in evidence.reports]
        for verdict in (v for report in chosen for v in report.results if v.reason in POISON):
            assert verdict.reason
            log.error("model=%s in quarantine: %s: %s", verdict.model, verdict.reason, verdict.message)
            found = Quarantined(verdict.model, verdict.etag, verdict.reason, verdict.message, run.id, now)
            self.ledger.add_quarantined(found)

    def _commit(self, run: Run, rows: dict[str, Chunk], tick: Tick) -> None:
        """Copy the chosen parts to where consumers read, and write down that they lie there."""
        for batch in _slices([chunk for chunk in rows.values() if chunk.state is ChunkState.COMMITTING]):
            if not tick.in_time():
                break
            after = []
            for chunk in batch:
                try:
                    parts = copy_parts(self.work, self.predictions, run.window, chunk)
                    after.append(attempts.committed(chunk, parts, tick.now))
                except Unavailable as error:
                    log.warning("run=%s chunk=%s is not committed yet: %s", run.id, chunk.id, error)
                except (Malformed, NotFound, Conflict) as error:
                    if tick.now - chunk.since < self.rules.policy.silence:
                        log.warning("run=%s chunk=%s is not committed yet: %s", run.id, chunk.id, error)
                        continue
                    log.error("run=%s chunk=%s cannot be committed: %s", run.id, chunk.id, error)  # noqa: TRY400
                    lies = earlier_lies(self.predictions, run.window, chunk)
                    after.append(attempts.uncommittable(chunk, str(error), tick.now, earlier_lies=lies))
            self._save(rows, after)

    def _submit(self, run: Run, rows: dict[str, Chunk], tick: Tick) -> None:
        """Ask the cluster for what was written down as submitting. What it does not take waits for the next tick."""
        for batch in _slices([chunk for chunk in rows.values() if attempts.to_submit(chunk)]):
            tick.pace(len(batch), self.rules.submit_rate)
            tick.wishes = self.ledger.wishes()
            if tick.throttled or not tick.in_time() or tick.asked(WishKind.CANCEL, run):
                break
            specs = {chunk.id: self._spec(chunk) for chunk in batch}
            try:
                refusals = self.cluster.submit(list(specs.values()))
            except Unavailable as error:
                log.warning("run=%s jobs are not submitted yet: %s", run.id, error)
                tick.heed(error)
                break
            after = []
            for chunk in batch:
                refusal = refusals.get(specs[chunk.id].name)
                if refusal is None:
                    after.append(attempts.acknowledged(chunk, tick.now))
                elif refusal.taken:
                    log.warning("run=%s chunk=%s passes over a name: %s", run.id, chunk.id, refusal.message)
                    after.append(attempts.passed_over(chunk, tick.now))
                else:
                    log.error("run=%s chunk=%s refused by the cluster: %s", run.id, chunk.id, refusal.message)
                    after.append(attempts.refused(chunk, refusal.message, tick.now))
            self._save(rows, after)

    def _spec(self, chunk: Chunk) -> JobSpec:
        attempt = attempts.to_submit(chunk)
        assert attempt
        manifest = f"{self.work.url}/{paths.manifest_path(chunk.run, chunk.manifest)}"
        name = paths.make_job_name(self.rules.policy.app, chunk.run, chunk.id, attempt.number)
        command = build_command(
            manifest, attempt.number, careful=attempt.careful, carry=attempt.carry, pardon=attempt.pardon
        )
        return JobSpec(name, chunk.run, command, self.rules.policy.job_timeout)


def _limited(run: Run, wish: Wish) -> Run:
    """The run under the limits that a person asks for; what the wish leaves open stays."""
    return replace(
        run,
        max_in_flight=run.max_in_flight if wish.max_in_flight is None else wish.max_in_flight,
        tolerated_failures=run.tolerated_failures if wish.tolerated_failures is None else wish.tolerated_failures,
    )


def _slices(chunks: Sequence[Chunk]) -> Iterator[Sequence[Chunk]]:
    return (chunks[i : i + SLICE] for i in range(0, len(chunks), SLICE))
