"""Maintenance: prunes old runs, and rebuilds a lost ledger. Does not touch open runs."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from shared.contract import paths
from shared.contract.errors import Conflict, Malformed, Misconfigured, NotFound
from shared.contract.manifest import Manifest
from shared.contract.publishing.sinks import PUBLISHING_PREFIX, SinkKind, parse_publishing_run
from shared.contract.reasons import Reason
from shared.contract.report import Report
from shared.contract.windows import EPOCH, Window
from shared.planning.plan import Plan, Planner
from shared.planning.plan_writer import read_plan, read_round
from shared.ports import Blobs, Ledger, SinkLedger
from shared.state.requests import BackfillState
from shared.state.runs import Chunk, ChunkState, Phase, Result, Run
from shared.tracking import observe, run_tracker

from .commit import get_original
from .options import ControlOptions
from .sinks.publisher import Publisher

log = logging.getLogger(__name__)

_PLAN = re.compile(r"runs/(?P<run>[^/]+)/plan(?:-\d+)?\.json")
_ROUND = re.compile(r"runs/[^/]+/round-(?P<round>\d+)\.json")


def prune_runs(
    ledger: Ledger,
    work: Blobs,
    predictions: Blobs,
    publisher: Publisher,
    now: datetime,
    in_time: Callable[[], bool],
) -> bool:
    """Remove runs that ended longer ago than they are kept: blobs first, then rows.

    A run that a sink lacks stays until it is published. Where predictions are removed too, the sinks come first.
    False when it ran out of time; the next call continues.
    """
    options = publisher.options
    limit = now - options.keep_runs
    old = (r for r in ledger.list_runs_in(EPOCH, limit) if r.phase.terminal and r.ended_at and r.ended_at < limit)
    visited: set[str] = set()
    for run in old:
        if run.id in visited:  # a page may come twice
            continue
        visited.add(run.id)
        if options.sinks and not in_time():
            return False
        try:
            if not publisher.offers.allow_pruning(run, now):
                continue
            for store, name in _list_blobs(run, work, predictions, options):
                if not in_time():
                    return False
                store.delete(name)
        except (Conflict, Malformed) as error:  # it is protected, used just now, or a row cannot be read: tried again
            log.warning("run=%s is not pruned: %s", run.id, error)
            continue
        publisher.offers.forget_run(run.id)
        ledger.remove_run(run.id)
        log.info("run=%s pruned: it ended at %s", run.id, f"{run.ended_at:%Y-%m-%d %H:%M}")
    for backfill in ledger.list_backfills():
        if backfill.state is not BackfillState.OPEN and backfill.ended_at and backfill.ended_at < limit:
            ledger.remove_backfill(backfill.id)
    return True


def _list_blobs(run: Run, work: Blobs, predictions: Blobs, options: ControlOptions) -> Iterator[tuple[Blobs, str]]:
    """All blobs of a run; its predictions only if they are to be pruned too."""
    for prefix in (paths.run_prefix(run.id), paths.results_prefix(run.id)):
        yield from ((work, blob.name) for blob in work.list_blobs(prefix))
    yield from ((work, blob.name) for blob in work.list_blobs(paths.events_path(run.id)))
    if options.prune_predictions:
        yield from ((predictions, blob.name) for blob in predictions.list_blobs(paths.predictions_prefix(run.window)))


def rebuild_ledger(publisher: Publisher, predictions: Blobs, planner: Planner, now: datetime) -> Iterator[Run]:
    """Restore the rows of the runs that *planner* planned, from their plans and reports, after the table was lost.

    A chunk whose predictions are those of a report is committed; one with a report and without predictions is
    committed by the next ticks; one without either has failed as `ledger_lost`, and can be redriven. Existing rows
    stay. The watermark is set to the end of the newest window. Yields each restored run, which the sinks are asked to
    hold before its row is written: a rebuild that is killed leaves none that they lack. Runs that another app
    planned in this working container are left out, with a warning. Where nothing was copied, as without a folder of
    predictions, the newest report counts.
    """
    ledger, work = publisher.ledger, publisher.work
    restored, newest = None, ""
    for run_id in sorted(
        {match["run"] for blob in work.list_blobs(paths.RUNS_PREFIX) if (match := _PLAN.fullmatch(blob.name))}
    ):
        if not _is_own(run_id, work, planner, now):
            continue
        end = Window.parse(run_id).end
        if restored is None or end >= restored:
            restored, newest = end, run_id
        try:
            ledger.read_run(run_id)
        except NotFound:
            run, chunks = _restore_run(run_id, work, predictions, now)
            ledger.add_chunks(chunks)
            run = publisher.offers.offer_restored_run(run, now)
            ledger.add_run(run)
            yield run
    beat = ledger.read_heartbeat()
    if restored and (beat.watermark is None or beat.watermark < restored):
        schema, predictions_schema = _read_schemas(work, newest, now)
        ledger.save_heartbeat(
            replace(
                beat,
                watermark=restored,
                node_schema=beat.node_schema or schema,
                predictions_schema=beat.predictions_schema or predictions_schema,
            )
        )


def restore_sinks(sinks: SinkLedger, work: Blobs) -> None:
    """Let the jobs of sinks begin after those whose manifests or reports exist: a number names a job once."""
    last: dict[SinkKind, int] = {}
    for blob in work.list_blobs(f"{paths.RUNS_PREFIX}{PUBLISHING_PREFIX}"):
        if job := parse_publishing_run(blob.name.removeprefix(paths.RUNS_PREFIX).partition("/")[0]):
            last[job[0]] = max(job[1], last.get(job[0], 0))
    for kind, number in last.items():
        sink = sinks.read_sink(kind)
        if sink.next_number <= number:
            sinks.save_sink(replace(sink, next_number=number + 1))


def _is_own(run_id: str, work: Blobs, planner: Planner, now: datetime) -> bool:
    """Whether *planner* planned the run, as far as its first plan shows it; logs a warning where another app did."""
    with suppress(NotFound):
        first = read_plan(work, Run(Window.parse(run_id), Phase.RUNNING, now), 0, now)
        try:
            if first.planner:
                first.planner.check_same(run_id, planner)
        except Misconfigured as error:
            log.warning("run=%s is not restored: %s", run_id, error)
            return False
    return True


def _read_schemas(work: Blobs, run_id: str, now: datetime) -> tuple[int | None, int | None]:
    """The schemas of a run's plan and of its predictions; None where that cannot be read."""
    try:
        plan = read_plan(work, Run(Window.parse(run_id), Phase.RUNNING, now), 0, now)
        manifest = Manifest.from_bytes(work.read(paths.manifest_path(run_id, plan.chunks[-1].manifest)))
    except (NotFound, Malformed) as error:
        log.warning("run=%s does not show the schema of its predictions: %s", run_id, error)
        return None, None
    return plan.schema, manifest.predictions_schema


def _restore_run(run_id: str, work: Blobs, predictions: Blobs, now: datetime) -> tuple[Run, Sequence[Chunk]]:
    run = Run(Window.parse(run_id), Phase.RUNNING, now, asked_by="rebuild", planned_at=now)
    plans: list[Plan] = []
    while True:
        try:
            plans.append(read_plan(work, run, len(plans), now))
        except NotFound:
            break
    rounds = [
        int(match["round"])
        for blob in work.list_blobs(paths.run_prefix(run_id) + "round-")
        if (match := _ROUND.fullmatch(blob.name))
    ]
    manifests = read_round(work, run, max(rounds)).manifests if rounds else {}
    progress, reported = observe.list_progress(work, run_id)
    last_attempts = {chunk_id: numbers[-1] for chunk_id, numbers in reported.items()}
    for chunk_id, number in progress:
        last_attempts[chunk_id] = max(number, last_attempts.get(chunk_id, 0))
    chunks, times = [], []
    for planned in (chunk for plan in plans for chunk in plan.chunks):
        reports = list(_read_reports(work, planned, reported.get(planned.id, [])))
        times += [instant for report in reports for instant in (report.started_at, report.ended_at)]
        chunk = replace(
            planned,
            manifest=manifests.get(planned.id, planned.manifest),
            next_attempt=last_attempts.get(planned.id, 0) + 1,
        )
        chunks.append(_restore_chunk(chunk, run.window, reports, predictions, now))
    run = replace(
        run,
        planned_at=min(times, default=now),
        read_at=min(times, default=now),  # which round read what is lost: the earliest, so that no late row is
        plans=len(plans),
        models=sum(plan.models for plan in plans),
        chunks=len(chunks),
        ignored=plans[0].ignored if plans else 0,
        ignored_endings=plans[0].ignored_endings if plans else {},
        ignored_examples=plans[0].ignored_examples if plans else (),
        round=max([1, *rounds]),  # its chunks are of round 0: how they ended says nothing about the cluster now
    )
    summed = run_tracker.summarize_run(run, chunks, now)
    if summed.phase.terminal:
        return replace(summed, ended_at=max(times, default=now)), chunks
    return replace(summed, planned_at=now), chunks


def _read_reports(work: Blobs, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Report]:
    """The valid reports, the newest first. Their parts may be deleted by now; only a commit needs them."""
    for number in reversed(numbers):
        try:
            report = Report.from_bytes(work.read(paths.report_path(chunk.run, chunk.id, number)), chunk.models)
            report.check_against(chunk.run, chunk.id, number, chunk.models)
        except (Malformed, NotFound) as error:
            log.warning("run=%s chunk=%s attempt=%d: report refused: %s", chunk.run, chunk.id, number, error)
            continue
        yield report


def _restore_chunk(chunk: Chunk, window: Window, reports: Sequence[Report], predictions: Blobs, now: datetime) -> Chunk:
    """The chunk in the state that the predictions and reports show."""
    blobs = list(predictions.describe_blobs(paths.prediction_prefix(window, chunk.id)))
    originals = [get_original(blob) for blob in blobs]
    for number, report in enumerate(reports):
        if [(part.bytes, part.md5) for part in report.parts] == [(file.bytes, file.md5) for file in originals]:
            parts = tuple(replace(part, etag=blob.etag) for part, blob in zip(report.parts, blobs, strict=True))
            result = replace(Result.from_report(report), parts=parts)
            for earlier in reports[number + 1 :]:  # whether it carried anything over is lost: too many are named
                result = result.keep_late(Result.from_report(earlier))
            return replace(chunk, state=ChunkState.COMMITTED, since=now, committed=result)
    if reports and not blobs:
        return replace(chunk, state=ChunkState.COMMITTING, since=now, chosen=Result.from_report(reports[0]))
    message = "the ledger was lost; neither a report nor predictions show how this chunk ended"
    return replace(chunk, state=ChunkState.FAILED, since=now, reason=Reason.LEDGER_LOST, message=message)
