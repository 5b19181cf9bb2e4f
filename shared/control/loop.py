"""The control loop. Every side effect of a tick happens in this module and in those that it calls.

`tick` compares what is stored with what it observes, and advances everything by one step. It may be killed between any
two calls, run twice, or run on two hosts at once: each effect has a name that the app chose, or is conditional on what
was read. So the next tick is the only recovery, also after a tick that ran out of time.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shared.contract.errors import Conflict, Misconfigured, NotFound, Unavailable
from shared.contract.publishing.sinks import SinkKind
from shared.contract.reasons import Reason
from shared.contract.text import clip_text
from shared.planning.late_round_writer import LateRoundWriter
from shared.planning.plan import Planner
from shared.planning.plan_writer import PlanWriter, read_plan, read_round
from shared.planning.round_writer import RoundWriter
from shared.ports import Blobs, Cluster, JobStatus, Ledger, Notifier, SinkLedger, Stopwatch
from shared.state.publications import Publication, Sink
from shared.state.requests import RequestKind
from shared.state.runs import PHASE_FOLLOWS, Chunk, Heartbeat, Nodes, Phase, Run
from shared.tracking import observe, run_tracker
from shared.tracking.run_limits import apply_limits

from . import maintenance
from .chunk_effects import ChunkEffects
from .closed_runs import RunCloser
from .defaults import settle_defaults
from .late_rounds import LateRoundOpener
from .open_runs import RunOpener
from .options import ControlOptions
from .services import Services
from .sinks.outbox import Outbox
from .sinks.past_runs import note_unpublished, offer_past_runs
from .sinks.publisher import Publisher
from .tick import Tick
from .window_gate import WindowGate

log = logging.getLogger(__name__)

PRUNE_EVERY = timedelta(hours=1)
PRUNE_FOR = timedelta(seconds=20)  # of one tick: a cancel must not wait for pruning
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
    sinks: SinkLedger
    notifier: Notifier
    options: ControlOptions = field(default_factory=ControlOptions)

    @property
    def services(self) -> Services:
        """The part of it that HTTP may use."""
        return Services(self.ledger, self.cluster, self.work, self.sinks, self.options)

    @property
    def planner(self) -> Planner:
        """Who plans here."""
        return Planner(self.options.planning.app, self.models.url, self.predictions.url)

    @property
    def _effects(self) -> ChunkEffects:
        return ChunkEffects(self.ledger, self.cluster, self.work, self.predictions, self.options)

    @property
    def publisher(self) -> Publisher:
        """What publishes runs to sinks."""
        return Publisher(self.ledger, self.sinks, self.cluster, self.work, self.options)

    @property
    def _outbox(self) -> Outbox:
        return Outbox(self.ledger, self.sinks, self.notifier, self.options.notify)

    @property
    def _closer(self) -> RunCloser:
        return RunCloser(self.ledger, self.cluster, self._effects, self.publisher, self._outbox, self.options)

    def check_start(self) -> None:
        """Check once what the settings name; raises Misconfigured with every problem. People see it as trouble, too.

        Only the containers that others fill: the app makes the other ones.
        """
        stores = {"MODELS_CONTAINER": self.models, "READINGS_CONTAINER": self.readings}
        problems = [
            f"  {setting}: expected a container that exists, got {missing}"
            for setting, store in stores.items()
            if (missing := store.describe_missing())
        ]
        if problems:
            message = "\n".join(["settings are wrong:", *problems])
            self._save_heartbeat(replace(self.ledger.read_heartbeat(), trouble=clip_text(message)))
            raise Misconfigured(message)

    def tick(self, now: datetime) -> None:
        """Open the runs that are requested or due, and advance every open run by one step.

        Raises Unavailable where the ledger does not answer; other failures are logged and left to the next tick.
        """
        options = self.options
        beat = settle_defaults(self.ledger, options.planning.predictions_schema, options.window, options.window_origin)
        requests = self.ledger.list_requests()
        tick = Tick(now, self.stopwatch, self.options.tick_budget, requests, beat.throttled_until)
        tick.node_schema, tick.predictions_schema = beat.node_schema or 1, beat.predictions_schema
        tick.assumes_features = bool(beat.assumes_features)
        beat = self._open_runs(beat, tick)
        runs = self.ledger.list_watched_runs()
        sinks = self.publisher.read_sinks(tick)
        jobs = self._observe_jobs(runs, sinks, tick)
        self._advance_runs(runs, jobs, tick)
        offer_past_runs(self.ledger, self.publisher, tick)
        entries = self.publisher.list_open(tick)
        if entries is not None:
            self.publisher.advance_sinks(sinks, entries, jobs, tick)
            self._notify([sink.kind for sink in sinks], entries, tick)
        pruned_at = self._prune_runs(beat, tick)
        beat = replace(
            beat,
            ticked_at=now,
            throttled_until=tick.throttled_until,
            pruned_at=pruned_at,
            node_schema=tick.node_schema,
        )
        if tick.nodes:
            beat = replace(beat, nodes=tick.nodes, nodes_at=now)
        if entries is not None:  # else what was known stays
            beat = note_unpublished(beat, tick.unpublished)
        self._save_heartbeat(replace(beat, trouble=clip_text(tick.trouble)))

    def _open_runs(self, beat: Heartbeat, tick: Tick) -> Heartbeat:
        options = replace(self.options, window_origin=beat.window_origin)
        gate = WindowGate(self.readings, options)
        opener = RunOpener(self.ledger, options, tick.node_schema, gate if options.wait_for.is_set else None)
        try:
            tick.requests = opener.grant_requests(tick.requests, tick.now)
            complete = True
            if not any(request.kind is RequestKind.PAUSE for request in tick.requests):
                watermark, complete = opener.open_due_windows(beat.watermark, tick.now)
                self._outbox.note_missed(beat.watermark, watermark, tick.now)
                if watermark != beat.watermark:  # at once, so that the next tick does not report more as missed
                    beat = self._save_heartbeat(gate.update_heartbeat(replace(beat, watermark=watermark)))
                if options.rescore_late and complete:
                    LateRoundOpener(opener).open_rounds(tick.now)
            if complete:  # the schedule goes first
                opener.advance_backfills(tick.requests, tick.now, tick.in_time)
            opener.drop_idle_requests(tick.requests)
        except Conflict as error:
            log.warning("runs are opened at the next tick: another host opens them now: %s", error)
        tick.trouble = gate.trouble
        return gate.update_heartbeat(beat)

    def _prune_runs(self, beat: Heartbeat, tick: Tick) -> datetime | None:
        """Prune old runs once an hour; returns when that was last completed."""
        if beat.pruned_at and tick.now - beat.pruned_at < PRUNE_EVERY:
            return beat.pruned_at
        until = min(tick.elapsed + PRUNE_FOR, tick.budget)
        try:
            complete = maintenance.prune_runs(
                self.ledger, self.work, self.predictions, self.publisher, tick.now, lambda: tick.elapsed < until
            )
        except Unavailable as error:
            log.warning("old runs are pruned at the next tick: %s", error)
            complete = False
        return tick.now if complete else beat.pruned_at

    def _notify(self, kinds: Sequence[SinkKind], entries: Sequence[Publication], tick: Tick) -> None:
        """Notify people of sinks, and send what waits. It stops nothing else."""
        try:
            self._outbox.note_sinks(kinds, entries, tick.now)
            self._outbox.send_notices(tick)
        except Exception as error:  # runs do not wait for people to be notified
            log.exception("notifications wait for the next tick")
            tick.trouble = tick.trouble or f"notifications: {type(error).__name__}: {error}"

    def _save_heartbeat(self, beat: Heartbeat) -> Heartbeat:
        try:
            return self.ledger.save_heartbeat(beat)
        except Conflict:
            log.info("another host ticked at the same time; its heartbeat is kept")
            return beat

    # Advancing one run

    def _advance_runs(self, runs: Sequence[Run], jobs: Mapping[str, JobStatus] | None, tick: Tick) -> None:
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

    def _observe_jobs(self, runs: Sequence[Run], sinks: Sequence[Sink], tick: Tick) -> Mapping[str, JobStatus] | None:
        """Observe the jobs of runs and sinks in one call; None where the cluster does not answer or is throttled."""
        ids = [*(run.id for run in runs), *(sink.watched_run for sink in sinks if sink.watched_run)]
        if not ids:
            return {}
        if tick.throttled:
            log.info("the cluster is throttled until %s", tick.throttled_until)
            return None
        try:
            jobs = self.cluster.observe(ids)
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
            run = apply_limits(run, limits) if limits else run
            if cancel and not run.cancelled_at:
                log.info("run=%s cancel accepted", run.id)
                run = replace(run, cancelled_at=tick.now)
        if run.phase is Phase.PLANNING:
            run = stored = self._save_run(stored, self._plan_run(run, tick))
        if run.phase is Phase.RUNNING:
            run = self._advance_chunks(run, jobs, tick)
        elif stored.phase.terminal:
            run = stored = self._closer.watch_run(run, None if jobs is None else self._filter_jobs(run, jobs), tick)
        run = self._closer.offer_run(self._save_run(stored, run), tick)
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

    def _plan_run(self, run: Run, tick: Tick) -> Run:
        now = tick.now
        if now - run.opened_at >= self.options.limits.run_deadline:  # it cannot be planned
            message = f"could not be planned within {self.options.limits.run_deadline}"
            return replace(run, phase=Phase.FAILED, ended_at=now, reason=Reason.DEADLINE, message=message)
        options = replace(self.options.planning, predictions_schema=tick.predictions_schema)
        if tick.assumes_features:
            options = replace(options, scoring=options.scoring.assume_features())
        writer = PlanWriter(
            self.models, self.readings, self.work, self.predictions, self.ledger, options, tick.node_schema
        )
        if run.redo is RequestKind.RESCORE:
            return LateRoundWriter(writer).write_round(run, now)
        if run.redo is RequestKind.REPROCESS and run.plans:
            return RoundWriter(writer).write_round(run, now)
        earlier = [other for other in self.ledger.list_runs(EARLIER_RUNS).items if other.models]
        return writer.write_plan(run, earlier, now)

    def _advance_chunks(self, run: Run, jobs: Mapping[str, JobStatus] | None, tick: Tick) -> Run:
        chunks = self._read_chunks(run, tick.now)
        if len(chunks) < run.chunks:  # a short read: decide nothing
            return run
        of_run = None if jobs is None else self._filter_jobs(run, jobs)
        observation = observe.collect_observation(self.work, run.id, chunks, of_run, tick.in_time)
        tick.note_reports(observation.reports.values())
        manifests = self._read_round(run, chunks)
        step = run_tracker.advance_run(run, chunks, observation, self.options.limits, tick.now, manifests)
        effects = self._effects
        effects.quarantine_models(run, step.chunks, observation, tick.now)
        rows = {chunk.id: chunk for chunk in chunks}
        effects.save_chunks(rows, step.chunks)
        effects.cancel_jobs(run, step.cancel, tick)
        effects.commit_chunks(run, rows, tick)
        effects.submit_jobs(run, rows, tick)
        run = replace(step.run, throttled_until=tick.throttled_until)
        if tick.node_schema > 1 and run_tracker.reported_nothing(run, rows.values()):
            log.error("run=%s no node reported: runs are planned in schema 1 until one does", run.id)
            tick.node_schema = 1
        return run_tracker.summarize_run(run, list(rows.values()), tick.now)

    def _read_round(self, run: Run, chunks: Sequence[Chunk]) -> Mapping[str, str]:
        """The manifests of a reprocess, by chunk, while it reopens chunks."""
        if not run.own_manifests or all(chunk.round == run.round for chunk in chunks):
            return {}
        try:
            return read_round(self.work, run, run.round).manifests
        except NotFound as error:  # it was written before the run's row said so
            raise Unavailable(f"the manifests of round {run.round}: {error}") from error

    def _read_chunks(self, run: Run, now: datetime) -> Sequence[Chunk]:
        """The run's chunks; rows that are missing are added from its plans: it is new, or a tick was killed before."""
        chunks = self.ledger.list_chunks(run.id)
        if len(chunks) < run.chunks:
            log.info("run=%s has %d of %d chunk rows; adding them from its plans", run.id, len(chunks), run.chunks)
            for number in range(run.plans):
                self.ledger.add_chunks(read_plan(self.work, run, number, now).chunks)
            chunks = self.ledger.list_chunks(run.id)
        return list({chunk.id: chunk for chunk in chunks}.values())  # a page may come twice

    def _filter_jobs(self, run: Run, jobs: Mapping[str, JobStatus] | None) -> dict[str, JobStatus]:
        """The jobs of one run of this app: another app may share the cluster and have runs of the same windows."""
        prefix = f"{self.options.limits.app}-{run.id}-"
        return {name: status for name, status in (jobs or {}).items() if name.startswith(prefix)}
