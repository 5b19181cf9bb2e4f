"""The effects of a tick on the chunks of a run: rows, jobs, copies, the quarantine. Each may be repeated."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.contract import paths
from shared.contract.domain import Part
from shared.contract.errors import Conflict, Malformed, NotFound, Unavailable
from shared.contract.manifest import build_command
from shared.ports import Blobs, Cluster, JobSpec, Ledger
from shared.state.requests import Quarantined, RequestKind
from shared.state.runs import Chunk, ChunkState, Run
from shared.tracking import transitions
from shared.tracking.observation import Observation

from .commit import copy_parts, has_earlier_parts
from .options import ControlOptions
from .tick import Tick

log = logging.getLogger(__name__)

SLICE = 20  # chunks that are handled before they are saved and the requests are read again


@dataclass(frozen=True, slots=True)
class ChunkEffects:
    """The ports that they act on."""

    ledger: Ledger
    cluster: Cluster
    work: Blobs
    predictions: Blobs
    options: ControlOptions

    def save_chunks(self, rows: dict[str, Chunk], moved: Sequence[Chunk]) -> None:
        """Save the chunks that changed, and update *rows*."""
        changed = [chunk for chunk in moved if chunk != rows[chunk.id]]
        for chunk in changed:
            if chunk.state is not rows[chunk.id].state:
                message = _explain_move(rows[chunk.id], chunk)
                log.info("run=%s chunk=%s %s->%s%s", chunk.run, chunk.id, rows[chunk.id].state, chunk.state, message)
            if (chunk.retries, chunk.losses) != (rows[chunk.id].retries, rows[chunk.id].losses):
                log.warning("run=%s chunk=%s %s: %s", chunk.run, chunk.id, chunk.reason, chunk.message)
        rows.update((chunk.id, chunk) for chunk in self.ledger.save_chunks(changed))

    def cancel_jobs(self, run: Run, names: Sequence[str], tick: Tick) -> None:
        """Cancel jobs; what is not cancelled now, the next tick cancels."""
        if not names or tick.throttled:
            return
        log.info("run=%s cancelling %d jobs, %s first", run.id, len(names), names[0])
        try:
            self.cluster.cancel(names)
        except Unavailable as error:  # the next tick cancels them; the run goes on
            log.warning("run=%s jobs are not cancelled yet: %s", run.id, error)
            tick.note_error(error)

    def quarantine_models(self, run: Run, moved: Sequence[Chunk], observation: Observation, now: datetime) -> None:
        """Put the models that a chosen report names as poison into quarantine, before the choice is saved."""
        chosen = [observation.reports[c.id] for c in moved if c.chosen and c.id in observation.reports]
        for result in (result for report in chosen for result in report.outcomes.list_poison()):
            assert result.reason
            log.error("model=%s in quarantine: %s: %s", result.model, result.reason, result.message)
            entry = Quarantined(result.model, result.etag, result.reason, result.message, run.id, now)
            self.ledger.add_quarantined(entry)

    def commit_chunks(self, run: Run, rows: dict[str, Chunk], tick: Tick) -> None:
        """Copy the chosen parts to where consumers read, and record it."""
        for batch in _split_into_slices([chunk for chunk in rows.values() if chunk.state is ChunkState.COMMITTING]):
            if not tick.in_time():
                break
            after = []
            for chunk in batch:
                try:
                    parts = self._copy_parts(run, chunk)
                    after.append(transitions.mark_committed(chunk, parts, tick.now))
                except Unavailable as error:
                    log.warning("run=%s chunk=%s is not committed yet: %s", run.id, chunk.id, error)
                except (Malformed, NotFound, Conflict) as error:
                    if tick.now - chunk.since < self.options.limits.silence:
                        log.warning("run=%s chunk=%s is not committed yet: %s", run.id, chunk.id, error)
                        continue
                    log.error("run=%s chunk=%s cannot be committed: %s", run.id, chunk.id, error)  # noqa: TRY400
                    intact = has_earlier_parts(self.work, self.predictions, run.window, chunk)
                    after.append(transitions.mark_uncommittable(chunk, str(error), tick.now, earlier_intact=intact))
            self.save_chunks(rows, after)

    def _copy_parts(self, run: Run, chunk: Chunk) -> tuple[Part, ...]:
        has_folder = self.options.predictions_folder
        return copy_parts(self.work, self.predictions, run.window, chunk, has_folder=has_folder)

    def submit_jobs(self, run: Run, rows: dict[str, Chunk], tick: Tick) -> None:
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
            self.save_chunks(rows, after)

    def _build_spec(self, chunk: Chunk) -> JobSpec:
        attempt = transitions.find_unsubmitted(chunk)
        assert attempt
        manifest = f"{self.work.url}/{paths.manifest_path(chunk.run, chunk.manifest)}"
        name = paths.make_job_name(self.options.limits.app, chunk.run, chunk.id, attempt.number)
        command = build_command(
            manifest,
            attempt.number,
            isolated=attempt.careful,
            carry=attempt.carry,
            include_quarantined=attempt.pardon,
            current=attempt.current_files,
        )
        return JobSpec(name, chunk.run, command, self.options.limits.job_timeout)


def _explain_move(before: Chunk, after: Chunk) -> str:
    """Why a chunk moved, for its log line: not why an earlier attempt failed, if this one goes well."""
    is_news = after.message != before.message or after.state is ChunkState.FAILED or after.keeps_earlier
    return f" {after.message}" if is_news and after.message else ""


def _split_into_slices(chunks: Sequence[Chunk]) -> Iterator[Sequence[Chunk]]:
    return (chunks[i : i + SLICE] for i in range(0, len(chunks), SLICE))
