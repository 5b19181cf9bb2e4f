"""Score one chunk on a node: read the manifest, score, write the part, then the report, last."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from shared.contract import Manifest, Progress, Report, progress_path, report_path
from shared.domain import Model, Reason
from shared.errors import FleetError

from . import chunk, parts, readings
from .careful import score_carefully
from .carry import take_over
from .readings import Readings
from .results import to_table
from .stores import Container, open_container, split_url

PROGRESS_EVERY = 3.0  # seconds, at most

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class How:
    """What is different about this attempt; `shared.contract.command` writes it."""

    careful: bool = False  # in child processes, so that the report names a model which ends its process
    pardon: bool = False  # models too that the plan left out because they were in quarantine
    carry: int = 0  # an earlier attempt: what that scored is taken over from its report and its part


def run(manifest_url: str, attempt: int, storage: str = "", how: How | None = None) -> None:
    """Score the chunk that a manifest orders, and leave its report. Raises FleetError where that cannot be done."""
    how = how or How()
    started = datetime.now(UTC)
    holder, name = split_url(manifest_url)
    manifest = Manifest.from_bytes(open_container(holder, storage).read(name).data)
    run_id = manifest.window.id
    models = [_pardoned(model) for model in manifest.models] if how.pardon else manifest.models
    work = open_container(manifest.work_url, storage)
    log.info("run=%s chunk=%s attempt=%s: %s models", run_id, manifest.chunk, attempt, len(models))
    with _progress(work, progress_path(run_id, manifest.chunk, attempt), len(models)) as progress:
        carried = take_over(work, manifest, how.carry)
        afresh = {i: model for i, model in enumerate(models) if i not in carried.scored}
        found = _read_readings(manifest, storage, list(afresh.values()))
        score = score_carefully if how.careful else chunk.score
        fresh = score(list(afresh.values()), open_container(manifest.models_url, storage), found)
        scored = dict(carried.scored)
        progress.done = len(scored)
        for i, one in zip(afresh, fresh, strict=True):
            scored[i] = one
            progress.done = len(scored)
    ended = [scored[i] for i in range(len(models))]
    table = to_table([one.predictions for one in ended if one.predictions])
    written = parts.write(work, run_id, manifest.chunk, table)
    report = Report(
        run=run_id,
        chunk=manifest.chunk,
        attempt=attempt,
        started_at=started,
        ended_at=datetime.now(UTC),
        verdicts=tuple(one.verdict for one in ended),
        parts=written,
        warnings=(*carried.warnings, *chunk.remarks(found, ended)),
    )
    first = work.create(report_path(run_id, manifest.chunk, attempt), report.to_bytes())
    tally = report.tally
    log.info("scored=%s failed=%s skipped=%s rows=%s", tally.scored, tally.failed, tally.skipped, tally.rows)
    log.info("report written" if first else "another process of this attempt has reported before us; its report counts")


def _pardoned(model: Model) -> Model:
    return replace(model, refused=None) if model.refused is Reason.QUARANTINED else model


def _read_readings(manifest: Manifest, storage: str, models: Sequence[Model]) -> Readings:
    """The window's readings for the devices of *models*."""
    found = readings.read(
        open_container(manifest.readings_url, storage),
        readings.paths(manifest.readings_path, manifest.window),
        manifest.columns,
        [model.device for model in models],
        manifest.window,
    )
    log.info("readings=%s rows", found.rows)
    for problem in found.unreadable:
        log.error("readings unreadable: %s", problem)
    return found


@dataclass(slots=True)
class _Counter:
    done: int = 0


@contextmanager
def _progress(work: Container, path: str, models: int) -> Iterator[_Counter]:
    """Tell how many models are done, now and then, while the body runs.

    From a thread of its own: a store that does not answer must not hold up the scoring. It writes only when the count
    has changed, since a beat that goes on while the work stands still would be a lie.
    """
    counter, over = _Counter(), threading.Event()

    def tell() -> None:
        told = -1
        while told != counter.done or not over.is_set():
            if told != counter.done:
                told = counter.done
                try:
                    work.write(path, b"", Progress(told, models).to_metadata())
                except (FleetError, OSError) as error:
                    log.info("progress not written: %s", error)
            over.wait(PROGRESS_EVERY)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield counter
    finally:
        over.set()
        thread.join(PROGRESS_EVERY)
