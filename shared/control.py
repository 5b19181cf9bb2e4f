"""The control loop. Every side effect of a tick happens in this room and in `drafting`, in the order that it stands in.

`tick` looks at what is stored and what is seen, and moves everything on by one step. It may be killed between any two
calls, run twice, or run on two hosts at once: what it does is either asked for by a name that we chose, or conditional
on what was read. So the next tick is the whole of recovery.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from . import contract, planner, tracker
from .contract import Progress, Report
from .domain import PHASE_FOLLOWS, Chunk, ChunkState, Heartbeat, Phase, Reason, Run, Wish, WishKind
from .drafting import Drafting, DraftingRules, read_plan
from .errors import Conflict, Malformed, NotFound, Unavailable
from .planner import CatchUp
from .ports import Blobs, Cluster, JobSpec, Ledger, Sighting
from .schedule import Schedule
from .tracker import Evidence, Policy, Sign
from .windows import Window

log = logging.getLogger(__name__)

ENDING = timedelta(minutes=1)  # that the last jobs of a run have to end by themselves after they have reported
WATCH_CLOSED = timedelta(hours=2)  # how long jobs of a closed run are looked for, should one come late
SLICE = 20  # chunks acted on before it is written down, and before the wishes are read again
EARLIER_RUNS = 10  # that planning looks back on for the fleet's size and rate


@dataclass(frozen=True, slots=True)
class Rules:
    """What a person has set. The defaults are those of `settings.py`."""

    schedule: Schedule = field(default_factory=lambda: Schedule("0 5 * * * *"))
    window: timedelta = timedelta(hours=1)
    catch_up: CatchUp = CatchUp.ALL
    max_open_runs: int = 1
    drafting: DraftingRules = field(default_factory=DraftingRules)
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The ports, and the rules by which they are used."""

    ledger: Ledger
    cluster: Cluster
    models: Blobs
    readings: Blobs
    work: Blobs
    predictions: Blobs
    rules: Rules = field(default_factory=Rules)

    def tick(self, now: datetime) -> None:
        """Open the runs that are asked for or due, and move every open run on by one step.

        Raises Unavailable where the ledger does not answer; all else waits for the next tick, and is logged.
        """
        beat = self.ledger.heartbeat()
        wishes = self.ledger.wishes()
        self._grant(wishes, now)
        watermark = self._open_due(beat.watermark, now)
        runs = self.ledger.watched_runs()
        self._drop_idle(wishes, runs)
        jobs, trouble = self._observe(runs)
        for run in runs:
            try:
                self._move(run, wishes, jobs, now)
            except Conflict as error:
                log.warning("run=%s waits for the next tick: %s", run.id, error)
            except Unavailable as error:
                log.warning("run=%s waits for the next tick: %s", run.id, error)
                trouble = str(error)
            except Exception as error:  # one run must not stop the others
                log.exception("run=%s could not be moved on", run.id)
                trouble = f"run {run.id}: {type(error).__name__}: {error}"
        self._remember(replace(beat, watermark=watermark, ticked_at=now, trouble=contract.clip(trouble)))

    # Opening

    def _grant(self, wishes: Sequence[Wish], now: datetime) -> None:
        """Open the runs that people asked for, while there is room; they go before the schedule's."""
        cancelled = {wish.run for wish in wishes if wish.kind is WishKind.CANCEL}
        for wish in wishes:
            if wish.kind is not WishKind.RUN:
                continue
            try:
                window = Window.parse(wish.run)
            except Malformed as error:  # somebody wrote into the table; one bad row must not stop the tick
                log.error("wish=%s dropped: %s", wish.id, error)  # noqa: TRY400  # no trace
                self.ledger.remove_wish(wish)
                continue
            run = Run(window, Phase.PLANNING, now, asked_by="request")
            if wish.run in cancelled:  # taken back before it began: as if it had never been asked for
                log.info("run=%s no longer requested", run.id)
                self.ledger.remove_wish(wish)
                continue
            if not self._room():
                continue
            if not self.ledger.add_run(run):
                there = self.ledger.run(run.id)
                if there.phase is Phase.MISSED:
                    self.ledger.save_run(replace(run, version=there.version))
            log.info("run=%s requested->%s", run.id, run.phase)
            self.ledger.remove_wish(wish)

    def _open_due(self, watermark: datetime | None, now: datetime) -> datetime | None:
        """Open the windows that fell due, oldest first, while there is room. Returns the end of the last decided."""
        found = planner.due(self.rules.schedule, self.rules.window, watermark, now, self.rules.catch_up)
        for stretch in found.missed:
            message = f"{stretch.start:%Y-%m-%d %H:%M} to {stretch.end:%Y-%m-%d %H:%M} UTC: too late to catch up"
            missed = Run(stretch, Phase.MISSED, now, ended_at=now, reason=Reason.TOO_LATE, message=message)
            if self.ledger.add_run(missed):
                log.error("run=%s missed: %s", stretch.id, message)
            watermark = stretch.end
        for window in found.waiting:
            if not self._room():
                break
            if self.ledger.add_run(Run(window, Phase.PLANNING, now)):
                log.info("run=%s due->planning", window.id)
            watermark = window.end
        return watermark

    def _drop_idle(self, wishes: Sequence[Wish], runs: Sequence[Run]) -> None:
        """Forget cancels of runs that are over for long, or that never were; they would wait for ever."""
        known = {run.id for run in runs} | {wish.run for wish in wishes if wish.kind is WishKind.RUN}
        for wish in wishes:
            if wish.kind is WishKind.CANCEL and wish.run not in known:
                log.info("run=%s has nothing to cancel", wish.run)
                self.ledger.remove_wish(wish)

    def _room(self) -> bool:
        watched = self.ledger.watched_runs()
        return sum(not run.phase.terminal for run in watched) < self.rules.max_open_runs

    def _remember(self, beat: Heartbeat) -> None:
        try:
            self.ledger.save_heartbeat(beat)
        except Conflict:
            log.info("another host ticked at the same time; its heartbeat stands")

    # Moving one run on

    def _observe(self, runs: Sequence[Run]) -> tuple[Mapping[str, Sighting] | None, str]:
        """One look at the cluster for all runs; None where it does not answer."""
        if not runs:
            return {}, ""
        try:
            return self.cluster.observe([run.id for run in runs]), ""
        except Unavailable as error:
            log.warning("the cluster was not seen: %s", error)
            return None, str(error)

    def _move(self, run: Run, wishes: Sequence[Wish], jobs: Mapping[str, Sighting] | None, now: datetime) -> None:
        cancel = next((w for w in wishes if w.kind is WishKind.CANCEL and w.run == run.id), None)
        stored = run
        if cancel and not run.phase.terminal and not run.cancelled_at:
            log.info("run=%s cancel taken up", run.id)
            run = replace(run, cancelled_at=now)
        if run.phase is Phase.PLANNING:
            run = stored = self._record(stored, self._plan(run, now))
        if run.phase is Phase.RUNNING:
            run = self._advance(run, jobs, now)
        elif stored.phase.terminal:
            self._watch_closed(run, jobs, now)
        self._record(stored, run)
        if cancel and run.phase.terminal:
            self.ledger.remove_wish(cancel)

    def _record(self, stored: Run, run: Run) -> Run:
        if run == stored:
            return stored
        assert run.phase is stored.phase or run.phase in PHASE_FOLLOWS[stored.phase]
        saved = self.ledger.save_run(run)
        if run.phase is not stored.phase:
            log.info("run=%s %s->%s %s", run.id, stored.phase, run.phase, run.message)
        return saved

    def _plan(self, run: Run, now: datetime) -> Run:
        drafting = Drafting(self.models, self.readings, self.work, self.rules.drafting)
        earlier = [other for other in self.ledger.runs(EARLIER_RUNS).items if other.models]
        return drafting.plan(run, earlier, self.ledger, now)

    def _watch_closed(self, run: Run, jobs: Mapping[str, Sighting] | None, now: datetime) -> None:
        closed_for = now - (run.ended_at or now)
        if closed_for >= ENDING:
            self._cancel(run, tracker.unwanted(self._of(run, jobs), ()))
        if closed_for >= max(WATCH_CLOSED, self.rules.policy.job_timeout):
            self.ledger.unwatch(run)

    def _advance(self, run: Run, jobs: Mapping[str, Sighting] | None, now: datetime) -> Run:
        chunks = self.ledger.chunks(run.id)
        if len(chunks) < run.chunks:  # killed while they were written, or a short read: decide nothing
            log.warning("run=%s has %d of %d chunk rows; mending them from its plan", run.id, len(chunks), run.chunks)
            self.ledger.add_chunks(read_plan(self.work, run.id, now).chunks)
            return run
        evidence = self._evidence(run, chunks, jobs)
        step = tracker.advance(run, chunks, evidence, self.rules.policy, now)
        rows = self._save({chunk.id: chunk for chunk in chunks}, step.chunks)
        self._cancel(run, step.cancel)
        rows = self._commit(run, rows, now)
        rows = self._submit(run, rows, now)
        return tracker.sum_up(run, list(rows.values()), now)

    def _save(self, rows: Mapping[str, Chunk], moved: Sequence[Chunk]) -> dict[str, Chunk]:
        """Write those that moved; return all rows as they stand now."""
        changed = [chunk for chunk in moved if chunk != rows[chunk.id]]
        for chunk in changed:
            if chunk.state is not rows[chunk.id].state:
                before, why = rows[chunk.id].state, chunk.message
                log.info("run=%s chunk=%s %s->%s %s", chunk.run, chunk.id, before, chunk.state, why)
            if (chunk.retries, chunk.losses) != (rows[chunk.id].retries, rows[chunk.id].losses):
                log.warning("run=%s chunk=%s %s: %s", chunk.run, chunk.id, chunk.reason, chunk.message)
        return {**rows, **{chunk.id: chunk for chunk in self.ledger.save_chunks(changed)}}

    def _cancel(self, run: Run, names: Sequence[str]) -> None:
        if names:
            log.info("run=%s cancelling %d jobs, %s first", run.id, len(names), names[0])
            self.cluster.cancel(names)

    def _of(self, run: Run, jobs: Mapping[str, Sighting] | None) -> dict[str, Sighting]:
        """The jobs of one run of ours: another app may share the cluster, and have runs of the same windows."""
        beginning = f"{self.rules.policy.app}-{run.id}-"
        return {name: seen for name, seen in (jobs or {}).items() if name.startswith(beginning)}

    # Seeing

    def _evidence(self, run: Run, chunks: Sequence[Chunk], jobs: Mapping[str, Sighting] | None) -> Evidence:
        """One listing of the run's signs, and the reports of chunks that have one."""
        signs: dict[tuple[str, int], Sign] = {}
        reported: dict[str, list[int]] = {}
        for blob in self.work.describe(contract.signs_prefix(run.id)):
            match contract.parse_sign(blob.name):
                case (chunk, attempt, "progress"):
                    signs[chunk, attempt] = Sign(blob.etag, Progress.from_metadata(blob.metadata).done)
                case (chunk, attempt, "report"):
                    reported.setdefault(chunk, []).append(attempt)
        undecided = [c for c in chunks if not c.state.terminal and c.state is not ChunkState.COMMITTING]
        reports = {c.id: r for c in undecided if (r := self._report(c, sorted(reported.get(c.id, ()))))}
        return Evidence(None if jobs is None else self._of(run, jobs), signs, reports)

    def _report(self, chunk: Chunk, attempts: Sequence[int]) -> Report | None:
        """The first valid report of a chunk: it adds up, and its parts lie in storage as it says."""
        for attempt in attempts:
            path = contract.report_path(chunk.run, chunk.id, attempt)
            try:
                report = Report.from_bytes(self.work.read(path))
                report.check(chunk.run, chunk.id, attempt, chunk.models)
                for part in report.parts:
                    found = self.work.head(part.path)
                    if (found.size, found.md5) != (part.bytes, part.md5):
                        raise Malformed(f"{part.path}: wanted {part.bytes} bytes of MD5 {part.md5}, found {found}")
            except (Malformed, NotFound) as error:
                log.warning("run=%s chunk=%s attempt=%d: report refused: %s", chunk.run, chunk.id, attempt, error)
                continue
            return report
        return None

    # Acting

    def _commit(self, run: Run, rows: dict[str, Chunk], now: datetime) -> dict[str, Chunk]:
        """Copy the chosen parts to where consumers read, and write down that they lie there."""
        for batch in _slices([chunk for chunk in rows.values() if chunk.state is ChunkState.COMMITTING]):
            after = []
            for chunk in batch:
                try:
                    self._copy_parts(run, chunk)
                    after.append(tracker.committed(chunk, now))
                except Unavailable as error:
                    log.warning("run=%s chunk=%s is not committed yet: %s", run.id, chunk.id, error)
                except (Malformed, NotFound) as error:
                    if now - chunk.since < self.rules.policy.silence:
                        log.warning("run=%s chunk=%s is not committed yet: %s", run.id, chunk.id, error)
                        continue
                    log.error("run=%s chunk=%s cannot be committed: %s", run.id, chunk.id, error)  # noqa: TRY400
                    after.append(tracker.uncommittable(chunk, str(error), now))
            rows = self._save(rows, after)
        return rows

    def _copy_parts(self, run: Run, chunk: Chunk) -> None:
        """Raises Malformed or NotFound where something else lies there, or nothing here."""
        for index, part in enumerate(chunk.parts):
            name = contract.prediction_path(run.window, chunk.id, index)
            try:
                found = self.predictions.copy(self.work, part.path, name, replaces=None)
            except Conflict:  # an earlier tick was killed after it had copied, or another host was quicker
                found = self.predictions.head(name)
            if (found.size, found.md5) != (part.bytes, part.md5):
                raise Malformed(f"{self.predictions.url}/{name} is not ours: wanted {part}, found {found}")

    def _submit(self, run: Run, rows: dict[str, Chunk], now: datetime) -> dict[str, Chunk]:
        """Ask the cluster for what was written down as submitting. What it does not take waits for the next tick."""
        for batch in _slices([chunk for chunk in rows.values() if tracker.to_submit(chunk)]):
            if any(wish.kind is WishKind.CANCEL and wish.run == run.id for wish in self.ledger.wishes()):
                break
            specs = {chunk.id: self._spec(chunk) for chunk in batch}
            try:
                refusals = self.cluster.submit(list(specs.values()))
            except Unavailable as error:
                log.warning("run=%s jobs are not submitted yet: %s", run.id, error)
                break
            whys = {chunk.id: refusals.get(specs[chunk.id].name) for chunk in batch}
            after = [
                tracker.refused(chunk, why, now) if (why := whys[chunk.id]) else tracker.acknowledged(chunk, now)
                for chunk in batch
            ]
            rows = self._save(rows, after)
        return rows

    def _spec(self, chunk: Chunk) -> JobSpec:
        attempt = tracker.to_submit(chunk)
        assert attempt
        manifest = f"{self.work.url}/{contract.manifest_path(chunk.run, chunk.manifest)}"
        name = contract.job_name(self.rules.policy.app, chunk.run, chunk.id, attempt.number)
        return JobSpec(name, chunk.run, contract.command(manifest, attempt.number), self.rules.policy.job_timeout)


def _slices(chunks: Sequence[Chunk]) -> Iterator[Sequence[Chunk]]:
    return (chunks[i : i + SLICE] for i in range(0, len(chunks), SLICE))
