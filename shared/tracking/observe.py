"""Reads what nodes have left of a run: signs of life and reports. Decides nothing, but whether a report is valid."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from shared.contract import paths
from shared.contract.domain import Part
from shared.contract.errors import Malformed, NotFound
from shared.contract.report import Progress, Report
from shared.ports import Blobs, Sighting
from shared.state.runs import Chunk, ChunkState

from .observation import Evidence, Sign

log = logging.getLogger(__name__)


def evidence(
    work: Blobs,
    run_id: str,
    chunks: Sequence[Chunk],
    jobs: Mapping[str, Sighting] | None,
    in_time: Callable[[], bool],
) -> Evidence:
    """One listing of the run's signs, and the reports of chunks that have one and are undecided."""
    signs, reported = read_signs(work, run_id)
    reports, unread = {}, set()
    for chunk in chunks:
        news = [number for number in reported.get(chunk.id, ()) if number >= chunk.first_attempt]
        if not news or chunk.state.terminal or chunk.state is ChunkState.COMMITTING:
            continue
        if not in_time():
            unread.add(chunk.id)
        elif report := _first_valid(work, chunk, news):
            reports[chunk.id] = report
    return Evidence(jobs, signs, reports, frozenset(unread))


def read_signs(work: Blobs, run_id: str) -> tuple[dict[tuple[str, int], Sign], dict[str, list[int]]]:
    """Progress by chunk and attempt; and the attempts that have reported, by chunk, the earliest first."""
    signs: dict[tuple[str, int], Sign] = {}
    reported: dict[str, list[int]] = {}
    for blob in work.describe(paths.attempts_prefix(run_id)):
        match paths.parse_attempt_path(blob.name):
            case (chunk, attempt, "progress"):
                signs[chunk, attempt] = Sign(blob.etag, Progress.from_metadata(blob.metadata).done)
            case (chunk, attempt, "report"):
                reported.setdefault(chunk, []).append(attempt)
    return signs, {chunk: sorted(numbers) for chunk, numbers in reported.items()}


def _first_valid(work: Blobs, chunk: Chunk, numbers: Sequence[int]) -> Report | None:
    for attempt in numbers:
        try:
            return valid_report(work, chunk, attempt)
        except (Malformed, NotFound) as error:
            log.warning("run=%s chunk=%s attempt=%d: report refused: %s", chunk.run, chunk.id, attempt, error)
    return None


def valid_report(work: Blobs, chunk: Chunk, attempt: int) -> Report:
    """The report of an attempt: it adds up, and its parts lie in storage as it says. Raises Malformed, NotFound."""
    report = Report.from_bytes(work.read(paths.report_path(chunk.run, chunk.id, attempt)))
    report.check_against(chunk.run, chunk.id, attempt, chunk.models)
    for part in report.parts:
        _check_part(work, part)
    return report


def _check_part(work: Blobs, part: Part) -> None:
    found = work.head(part.path)
    if (found.size, found.md5) != (part.bytes, part.md5):
        raise Malformed(f"{part.path}: expected {part.bytes} bytes of MD5 {part.md5}, got {found}")
