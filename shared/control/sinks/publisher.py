"""The effects of a tick on sinks: rows of what they are to hold, the manifest of a job, the job, its report.

It holds up no run and changes none. Everything may be repeated: a job's number is recorded before its manifest is
written, the manifest is create-once, and a row that a job does not have is left as it is by the job's report.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from shared.contract import paths
from shared.contract.errors import Conflict, Malformed, NotFound, Unavailable
from shared.contract.publishing.documents import (
    PublicationItem,
    PublishingManifest,
    PublishingReport,
    build_publish_command,
)
from shared.contract.publishing.sinks import ATTEMPT, CHUNK, SinkKind, make_publishing_run
from shared.control.options import ControlOptions
from shared.control.tick import Tick
from shared.ports import Blobs, Cluster, JobSpec, JobStatus, Ledger, SinkLedger
from shared.publishing import publications, sink_job
from shared.state.publications import Publication, PublicationState, Sink
from shared.state.runs import AttemptState
from shared.tracking import observe

from .items import ItemSelector
from .offers import RunOffers

log = logging.getLogger(__name__)

KEPT_JOBS = 200  # of a sink: the manifest, the report and the log of earlier ones are deleted


@dataclass(frozen=True, slots=True)
class Publisher:
    """The ports that it acts on."""

    ledger: Ledger
    sinks: SinkLedger
    cluster: Cluster
    work: Blobs
    options: ControlOptions

    @property
    def _items(self) -> ItemSelector:
        return ItemSelector(self.ledger)

    @property
    def _kinds(self) -> Sequence[SinkKind]:
        return [sink.kind for sink in self.options.sinks]

    @property
    def offers(self) -> RunOffers:
        """Who asks sinks to hold runs."""
        return RunOffers(self.sinks, self.options)

    def read_sinks(self, tick: Tick) -> Sequence[Sink]:
        """The rows of the sinks that are set; one that cannot be read is left out of this tick. Runs do not wait."""
        sinks = []
        for kind in self._kinds:
            try:
                sinks.append(self.sinks.read_sink(kind))
            except (Malformed, Unavailable) as error:
                log.error("sink=%s is not known at this tick: %s", kind, error)  # noqa: TRY400  # the trace says no more
                tick.trouble = tick.trouble or f"sink {kind}: {error}"
        return sinks

    def list_open(self, tick: Tick) -> Sequence[Publication] | None:
        """What the sinks lack; None where that is not known at this tick."""
        if not self.options.sinks:
            return ()
        try:
            listed = self.sinks.list_open_publications()
        except Unavailable as error:
            log.warning("sinks wait for the next tick: %s", error)
            tick.trouble = tick.trouble or str(error)
            return None
        entries = {(entry.sink, entry.run): entry for entry in listed if entry.sink in self._kinds}
        tick.unpublished = publications.find_oldest(entries.values())
        return list(entries.values())  # a page may come twice

    def advance_sinks(
        self,
        sinks: Sequence[Sink],
        entries: Sequence[Publication],
        jobs: Mapping[str, JobStatus] | None,
        tick: Tick,
    ) -> None:
        """Advance each sink by one step; *entries* are open, *jobs* is what the cluster says of the sinks' jobs."""
        for sink in sinks:
            if not tick.in_time():
                log.warning("sink=%s waits for the next tick: this tick is out of time", sink.kind)
                continue
            try:
                self._advance_sink(sink, [entry for entry in entries if entry.sink is sink.kind], jobs, tick)
            except Conflict as error:
                log.warning("sink=%s waits for the next tick: %s", sink.kind, error)
            except Unavailable as error:
                log.warning("sink=%s waits for the next tick: %s", sink.kind, error)
                tick.trouble = tick.trouble or str(error)
            except Exception as error:  # a sink must not stop runs, nor the other sinks
                log.exception("sink=%s could not be advanced", sink.kind)
                tick.trouble = tick.trouble or f"sink {sink.kind}: {type(error).__name__}: {error}"

    def _advance_sink(
        self, sink: Sink, entries: Sequence[Publication], jobs: Mapping[str, JobStatus] | None, tick: Tick
    ) -> None:
        if sink.job is None:
            entries = self._take_back(entries, tick)
            sink = self._release_job(sink, jobs, tick)
            is_due = publications.select_due(entries, sink.kind, tick.now)
            if sink.releasing or sink.not_before > tick.now or not is_due:
                return
            items, absent = self._items.select_items(sink.kind, entries, tick.now)
            self._note_absent(absent, tick)
            if items:
                sink = self.sinks.save_sink(sink_job.start_job(sink, tick.now))
                self._submit_job(sink, entries, self._write_manifest(sink, items), tick)
            return
        followed = self._follow_job(sink, entries, jobs, tick)
        if followed and followed.job and followed.job.state is AttemptState.SUBMITTING:  # a tick was killed
            try:
                manifest = self._restore_manifest(followed, entries, tick)
            except Malformed as error:  # the number is another app's: the next job has another one
                self.sinks.save_sink(sink_job.fail_job(followed, str(error), tick.now))
                raise
            self._submit_job(followed, entries, manifest, tick)

    def _follow_job(
        self, sink: Sink, entries: Sequence[Publication], jobs: Mapping[str, JobStatus] | None, tick: Tick
    ) -> Sink | None:
        """The sink's row while its job goes on; None once the job is over, which is recorded."""
        assert sink.job
        progress, reported = observe.list_progress(self.work, sink.run)
        if CHUNK in reported and (report := self._read_report(sink)):
            self._settle(report, entries, tick)
            self.sinks.save_sink(sink_job.end_job(sink, tick.now))
            return None
        sign = progress.get((CHUNK, ATTEMPT))
        moved, is_alive = sink_job.follow_job(sink, sign, jobs, self.options.limits, tick.now)
        if moved.job is None:
            log.warning("sink=%s job %d left no report: %s", sink.kind, sink.job.number, moved.message)
            if is_alive:
                self.cluster.cancel([sink_job.name_job(self.options.limits.app, sink.run)])
            culprit = self._blame_run(sink, sign.done, moved.message, entries, tick) if sign else ""
            self._take_back([entry for entry in entries if entry.run != culprit], tick)
        return self.sinks.save_sink(moved) if moved != sink else sink

    def _blame_run(self, sink: Sink, index: int, message: str, entries: Sequence[Publication], tick: Tick) -> str:
        """Let the run wait that a lost job was at, so that one which ends each job does not stop the others."""
        assert sink.job
        try:
            items = self._read_manifest(sink).items
        except (Malformed, NotFound):
            return ""
        culprit = items[index].run if index < len(items) else ""
        text = f"job {sink.job.number} left no report while it published this run: {message}"
        blamed = [entry for entry in entries if entry.run == culprit and entry.state is PublicationState.RUNNING]
        for entry in self.sinks.save_publications([publications.blame(entry, text, tick.now) for entry in blamed]):
            log.warning("run=%s sink=%s waits after the job that was at it: %s", entry.run, entry.sink, message)
        return culprit

    def _read_report(self, sink: Sink) -> PublishingReport | None:
        assert sink.job
        path = paths.report_path(sink.run, CHUNK, ATTEMPT)
        try:
            report = PublishingReport.from_bytes(self.work.read(path))
            report.check_against(sink.kind, sink.job.number)
        except (Malformed, NotFound) as error:
            log.warning("sink=%s job %d: report refused: %s", sink.kind, sink.job.number, error)
            return None
        return report

    def _settle(self, report: PublishingReport, entries: Sequence[Publication], tick: Tick) -> None:
        """Record the results of a job; what it did not come to waits again."""
        results = {result.run: result for result in report.results}
        settled = []
        for entry in entries:
            if entry.job != report.number or entry.state is PublicationState.FAILED:
                continue
            result = results.get(entry.run)
            if result is None and entry.state is PublicationState.RUNNING:
                settled.append(publications.take_back(entry, tick.now))
            elif result:
                settled.append(publications.settle(entry, result, tick.now))
                _log_result(settled[-1])
        for entry in self.sinks.save_publications(settled):
            if entry.is_removal and not entry.state.is_open and not self._has_run(entry.run):
                self.sinks.remove_publications(entry.run)  # asked by a tick while another one pruned it

    def _note_absent(self, entries: Sequence[Publication], tick: Tick) -> None:
        """Record that the ledger has no such runs; the last time it removes what is recorded of them."""
        noted = [(entry, publications.note_absence(entry, tick.now)) for entry in entries]
        self.sinks.save_publications([result for _, result in noted if result])
        for entry, result in noted:
            if result is None:
                log.warning("run=%s is forgotten: it was pruned, or removed by hand", entry.run)
                self.sinks.remove_publications(entry.run)

    def _take_back(self, entries: Sequence[Publication], tick: Tick) -> Sequence[Publication]:
        """Let runs wait again whose job is over without a result."""
        lost = [entry for entry in entries if entry.state is PublicationState.RUNNING]
        back = {
            entry.run: entry
            for entry in self.sinks.save_publications([publications.take_back(entry, tick.now) for entry in lost])
        }
        return [back.get(entry.run, entry) for entry in entries]

    def _release_job(self, sink: Sink, jobs: Mapping[str, JobStatus] | None, tick: Tick) -> Sink:
        """Let the cluster forget the job before, when that has had time to end."""
        if tick.throttled or not sink_job.may_release(sink, jobs, self.options.limits.app, tick.now):
            return sink
        self.cluster.release(make_publishing_run(sink.kind, sink.releasing))
        if sink.releasing > KEPT_JOBS:
            old = make_publishing_run(sink.kind, sink.releasing - KEPT_JOBS)
            for blob in self.work.list_blobs(paths.run_prefix(old)):
                self.work.delete(blob.name)
        return self.sinks.save_sink(replace(sink, releasing=0))

    def _submit_job(self, sink: Sink, entries: Sequence[Publication], manifest: PublishingManifest, tick: Tick) -> None:
        """Record which runs the job has, and submit it; the same when it is repeated."""
        assert sink.job
        number, runs = sink.job.number, {item.run for item in manifest.items}
        waiting = [entry for entry in entries if entry.run in runs and entry.job != number]
        self.sinks.save_publications([publications.give_to_job(entry, number, tick.now) for entry in waiting])
        if tick.throttled:
            return
        url = f"{self.work.url}/{paths.publishing_manifest_path(sink.run)}"
        name = sink_job.name_job(self.options.limits.app, sink.run)
        spec = JobSpec(name, sink.run, build_publish_command(url), self.options.limits.job_timeout)
        try:
            refusal = self.cluster.submit([spec]).get(name)
        except Unavailable as error:
            log.warning("sink=%s job is not submitted yet: %s", sink.kind, error)
            tick.note_error(error)
            return
        if refusal:
            log.error("sink=%s job %d rejected by the cluster: %s", sink.kind, sink.job.number, refusal.message)
            self.sinks.save_sink(sink_job.fail_job(sink, refusal.message, tick.now))
            return
        log.info("sink=%s job %d publishes %d runs", sink.kind, sink.job.number, len(manifest.items))
        self.sinks.save_sink(sink_job.acknowledge_job(sink, tick.now))

    def _write_manifest(self, sink: Sink, items: Sequence[PublicationItem]) -> PublishingManifest:
        """Write the job's manifest; the one that is there, where another host wrote it."""
        assert sink.job
        app = self.options.limits.app
        target = next((dict(entry.target) for entry in self.options.sinks if entry.kind is sink.kind), {})
        manifest = PublishingManifest(sink.kind, sink.job.number, app, self.work.url, tuple(items), target)
        if self.work.create(paths.publishing_manifest_path(sink.run), manifest.to_bytes()):
            return manifest
        return self._read_manifest(sink)

    def _restore_manifest(self, sink: Sink, entries: Sequence[Publication], tick: Tick) -> PublishingManifest:
        """The manifest of a job that another tick began."""
        try:
            return self._read_manifest(sink)
        except NotFound:
            return self._write_manifest(sink, self._items.select_items(sink.kind, entries, tick.now)[0])

    def _read_manifest(self, sink: Sink) -> PublishingManifest:
        """The manifest of the sink's job. Raises NotFound, and Malformed where another app wrote it."""
        assert sink.job
        manifest = PublishingManifest.from_bytes(self.work.read(paths.publishing_manifest_path(sink.run)))
        expected = (self.options.limits.app, sink.kind, sink.job.number)
        if (manifest.app, manifest.sink, manifest.number) != expected:
            raise Malformed(
                f"{sink.run}: expected a manifest of app {expected[0]}, got one of {manifest.app}: give each app a "
                "WORK_CONTAINER of its own"
            )
        return manifest

    def _has_run(self, run_id: str) -> bool:
        try:
            self.ledger.read_run(run_id)
        except NotFound:
            return False
        return True


def _log_result(entry: Publication) -> None:
    if entry.state is PublicationState.FAILED:
        log.error("run=%s sink=%s is not published: %s: %s", entry.run, entry.sink, entry.reason, entry.message)
    else:
        log.info("run=%s sink=%s %s: %d rows as %s", entry.run, entry.sink, entry.state, entry.rows, entry.stored)
