"""Publish runs to one sink: read the manifest, give each run to the sink, write the report last.

A run that the sink does not take is in the report, with the reason; the others go on, unless the sink takes none.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from scorer.sinks.base import Sink, SinkError
from scorer.sinks.parts import PartMissing, Parts
from scorer.storage.blob_store import Container, open_container, split_url
from shared.contract import paths
from shared.contract.errors import FleetError, Unavailable
from shared.contract.publishing.documents import (
    PublicationItem,
    PublicationResult,
    PublishingManifest,
    PublishingReport,
)
from shared.contract.publishing.sinks import ATTEMPT, CHUNK, SinkKind, SinkReason, make_publishing_run
from shared.contract.report import Progress
from shared.contract.version import VERSION

from .options import name_option

STOPS = (SinkReason.UNAVAILABLE, SinkReason.DENIED)  # the next run would wait as long for the same

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SinkSecrets:
    """What a node has in its environment and no manifest holds."""

    sql_password: str = ""  # for databases without managed identity
    events_key: str = ""  # by which batches of events are signed


NO_SECRETS = SinkSecrets()


def publish_runs(manifest_url: str, storage: str = "", secrets: SinkSecrets = NO_SECRETS) -> None:
    """Publish what a manifest names, and write the report. Raises FleetError where that is not possible.

    *storage* is a connection string, for stores without managed identity.
    """
    with name_option("--manifest"):
        container_url, name = split_url(manifest_url)
    manifest = PublishingManifest.from_bytes(open_container(container_url, storage).read(name).data)
    work = open_container(manifest.work_url, storage)
    publish_items(manifest, work, lambda: open_sink(manifest, work, storage, secrets))


def open_sink(
    manifest: PublishingManifest, work: Container, storage: str = "", secrets: SinkSecrets = NO_SECRETS
) -> Sink:
    """The sink of a manifest. Raises SinkError, Misconfigured."""
    match manifest.sink:
        case SinkKind.DELTA:
            from scorer.sinks.delta import open_delta_sink

            return open_delta_sink(manifest, storage)
        case SinkKind.EVENTS:
            from scorer.sinks.events import open_event_sink

            return open_event_sink(manifest, work, secrets.events_key)
        case SinkKind.SQL:
            from scorer.sinks.sql.open_sink import open_sql_sink

            return open_sql_sink(manifest, secrets.sql_password)


def publish_items(manifest: PublishingManifest, work: Container, connect: Callable[[], Sink]) -> None:
    """Give one item after the other to the sink, up to a result of STOPS, and write the report of all results."""
    run_id = make_publishing_run(manifest.sink, manifest.number)
    log.info("sink=%s job %s: %s runs", manifest.sink, manifest.number, len(manifest.items))
    started = time.monotonic()
    results: list[PublicationResult] = []
    sink: Sink | None = None
    try:
        for item in manifest.items:
            _write_progress(work, run_id, len(results), len(manifest.items))
            try:
                sink = sink or connect()
                results.append(sink.publish(item, Parts(work)))
            except Exception as error:  # noqa: BLE001  # the other runs go on; it is in the report
                results.append(_explain_failure(item, error))
            _log_result(results[-1])
            if results[-1].reason in STOPS:
                break
    finally:
        if sink:
            _close(sink)
    report = PublishingReport(
        manifest.sink, manifest.number, tuple(results), round(time.monotonic() - started, 3), VERSION
    )
    is_first = work.create(paths.report_path(run_id, CHUNK, ATTEMPT), report.to_bytes())
    log.info("report written" if is_first else "another process of this job wrote its report first, which counts")


def _close(sink: Sink) -> None:
    try:
        sink.close()
    except Exception as error:  # noqa: BLE001  # the report is still to be written, and all in it is done
        log.warning("the sink could not be closed: %s: %s", type(error).__name__, error)


def _explain_failure(item: PublicationItem, error: Exception) -> PublicationResult:
    match error:
        case SinkError():
            return PublicationResult.for_item(item, reason=error.reason, message=str(error), ahead=error.ahead)
        case PartMissing():
            return PublicationResult.for_item(item, reason=SinkReason.PART_MISSING, message=str(error))
        case Unavailable():
            return PublicationResult.for_item(item, reason=SinkReason.UNAVAILABLE, message=str(error))
        case FleetError():
            return PublicationResult.for_item(item, reason=SinkReason.FAILED, message=str(error))
        case _:
            log.warning("run=%s could not be published", item.run, exc_info=error)
            message = f"{type(error).__name__}: {error}"
            return PublicationResult.for_item(item, reason=SinkReason.FAILED, message=message)


def _write_progress(work: Container, run_id: str, n_runs: int, total: int) -> None:
    try:
        work.write(paths.progress_path(run_id, CHUNK, ATTEMPT), b"", Progress(n_runs, total).to_metadata())
    except Unavailable as error:  # it decides nothing
        log.warning("progress is not written: %s", error)


def _log_result(result: PublicationResult) -> None:
    if result.reason:
        log.warning("run=%s round=%s %s: %s", result.run, result.round, result.reason, result.message)
    else:
        log.info("run=%s round=%s done: %s rows as %s", result.run, result.round, result.rows, result.stored)
