"""A sink in memory that keeps the promises of `scorer.sinks.base.Sink`, and the job that publishes: a write a step."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from shared.adapters.memory import MemoryBlobs
from shared.contract import paths
from shared.contract.publishing.documents import (
    PublicationItem,
    PublicationResult,
    PublishingManifest,
    PublishingReport,
)
from shared.contract.publishing.sinks import CHUNK, SinkReason, make_publishing_run
from shared.contract.report import Progress
from tests.storm.nodes import Process

Held = tuple[int, str, tuple[tuple[Any, ...], ...]]  # version, digest of the item, rows


@dataclass(slots=True)
class MemoryTable:
    """What a sink holds, by run: the rows of a removed run are none, and its version stays."""

    held: dict[str, Held] = field(default_factory=dict)

    def list_rows(self, run: str) -> list[tuple[Any, ...]]:
        return sorted(self.held.get(run, (0, "", ()))[2])

    def publish(self, item: PublicationItem, work: MemoryBlobs) -> PublicationResult:
        version = 2 * item.revision + item.is_removal
        stored, digest, _ = self.held.get(item.run, (-1, "", ()))
        if digest == item.digest and (stored >= version or not item.is_removal):
            return PublicationResult.for_item(item, rows=item.rows, stored=str(stored))
        if stored >= version:
            return PublicationResult.for_item(item, reason=SinkReason.AHEAD, ahead=stored // 2)
        rows: list[tuple[Any, ...]] = []
        for entry in item.parts:
            if work.read_properties(entry.part.path).md5 != entry.part.md5:
                return PublicationResult.for_item(item, reason=SinkReason.PART_MISSING, message=entry.part.path)
            rows += [tuple(row) for row in json.loads(work.read(entry.part.path))]
        self.held[item.run] = version, item.digest, tuple(rows)
        return PublicationResult.for_item(item, rows=len(rows), stored=str(version))


@dataclass(slots=True)
class Publishing:
    """A process of a publishing job at its work. It holds nothing of the world: a copy goes on alone."""

    manifest: PublishingManifest
    how: Process
    beats: int = 0
    results: tuple[PublicationResult, ...] = ()
    is_over: bool = False

    @classmethod
    def of(cls, command: tuple[str, ...], work: MemoryBlobs, how: Process) -> Publishing:
        path = command[command.index("--manifest") + 1].removeprefix(f"{work.url}/")
        return cls(PublishingManifest.from_bytes(work.read(path)), how)

    def step(self, work: MemoryBlobs, table: MemoryTable) -> bool | None:
        """Make the next write. True once the report is there, None where the process has ended."""
        run_id = make_publishing_run(self.manifest.sink, self.manifest.number)
        self.is_over = self.is_over or self.how.dies_before == 0
        if self.is_over:
            return None
        if self.beats < min(self.how.nap, 10) + 1:
            progress = Progress(self.beats, len(self.manifest.items)).to_metadata()
            work.write(paths.progress_path(run_id, CHUNK, 1), b"", progress)
            self.beats += 1
            return False
        if self.how.nap == 10**6:  # alive, and does nothing
            return False
        if len(self.results) < len(self.manifest.items):
            self.is_over = self.how.dies_before == 1
            if self.is_over:
                return None
            item = self.manifest.items[len(self.results)]
            self.results = (*self.results, table.publish(item, work))
            return False
        self.is_over = True
        if self.how.dies_before == 2 or self.how.spoils_part or self.how.forgets_a_model:
            return None
        report = PublishingReport(self.manifest.sink, self.manifest.number, self.results)
        work.create(paths.report_path(run_id, CHUNK, 1), report.to_bytes())
        return True
