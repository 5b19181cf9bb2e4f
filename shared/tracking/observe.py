"""Reads the progress and the reports that nodes wrote for a run. Decides nothing but whether a report is valid."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from shared.contract import paths
from shared.contract.domain import Part
from shared.contract.errors import Malformed, NotFound
from shared.contract.report import Progress, Report
from shared.ports import Blobs, JobStatus
from shared.state.runs import Chunk, ChunkState

from .observation import AttemptProgress, Observation

log = logging.getLogger(__name__)


def collect_observation(
    work: Blobs,
    run_id: str,
    chunks: Sequence[Chunk],
    jobs: Mapping[str, JobStatus] | None,
    in_time: Callable[[], bool],
) -> Observation:
    """The observation of a run: one listing of its progress, and the reports of chunks that are undecided."""
    progress, reported = list_progress(work, run_id)
    reports, unread = {}, set()
    for chunk in chunks:
        news = [number for number in reported.get(chunk.id, ()) if number >= chunk.first_attempt]
        if not news or chunk.state.terminal or chunk.state is ChunkState.COMMITTING:
            continue
        if not in_time():
            unread.add(chunk.id)
        elif report := _read_first_valid(work, chunk, news):
            reports[chunk.id] = report
    return Observation(jobs, progress, reports, frozenset(unread))


def list_progress(work: Blobs, run_id: str) -> tuple[dict[tuple[str, int], AttemptProgress], dict[str, list[int]]]:
    """Progress by chunk and attempt; and the attempts that have reported, by chunk, the earliest first."""
    progress: dict[tuple[str, int], AttemptProgress] = {}
    reported: dict[str, list[int]] = {}
    for blob in work.describe_blobs(paths.attempts_prefix(run_id)):
        match paths.parse_attempt_path(blob.name):
            case (chunk, attempt, "progress"):
                progress[chunk, attempt] = AttemptProgress(blob.etag, Progress.from_metadata(blob.metadata).done)
            case (chunk, attempt, "report"):
                reported.setdefault(chunk, []).append(attempt)
    return progress, {chunk: sorted(numbers) for chunk, numbers in reported.items()}


def _read_first_valid(work: Blobs, chunk: Chunk, numbers: Sequence[int]) -> Report | None:
    for attempt in numbers:
        try:
            return read_valid_report(work, chunk, attempt)
        except (Malformed, NotFound) as error:
            log.warning("run=%s chunk=%s attempt=%d: report refused: %s", chunk.run, chunk.id, attempt, error)
    return None


def read_valid_report(work: Blobs, chunk: Chunk, attempt: int) -> Report:
    """The report of an attempt, if it is consistent and its parts are in storage. Raises Malformed, NotFound."""
    report = Report.from_bytes(work.read(paths.report_path(chunk.run, chunk.id, attempt)), chunk.models)
    report.check_against(chunk.run, chunk.id, attempt, chunk.models)
    for part in report.parts:
        _check_part(work, part)
    return report


def _check_part(work: Blobs, part: Part) -> None:
    blob = work.read_properties(part.path)
    if (blob.size, blob.md5) != (part.bytes, part.md5):
        raise Malformed(f"{part.path}: expected {part.bytes} bytes of MD5 {part.md5}, got {blob}")
