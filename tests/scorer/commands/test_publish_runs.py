"""A publishing job leaves a report in time, whatever the sink does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from scorer.commands.publish_runs import ATTEMPT, publish_items
from scorer.sinks.base import Sink, SinkError
from scorer.sinks.parts import Parts
from scorer.storage.blob_store import Folder
from shared.contract import paths
from shared.contract.errors import Unavailable
from shared.contract.publishing.documents import (
    PublicationItem,
    PublicationResult,
    PublishingManifest,
    PublishingReport,
)
from shared.contract.publishing.sinks import CHUNK, SinkKind, SinkReason, make_publishing_run

RUNS = [f"20261121T{hour:02}00Z-PT1H" for hour in range(7, 11)]


@dataclass
class Fickle:
    """A sink that fails at one run."""

    error: Exception
    calls: list[str] = field(default_factory=list)

    def publish(self, item: PublicationItem, _parts: Parts) -> PublicationResult:
        self.calls.append(item.run)
        if item.run == RUNS[1]:
            raise self.error
        return PublicationResult.for_item(item)

    def close(self) -> None:
        self.calls.append("close")


def publish(folder: Path, connect: Callable[[], Sink]) -> list[tuple[str, SinkReason | None]]:
    """What the report says of four runs."""
    items = tuple(PublicationItem(run, 0, 0) for run in RUNS)
    publish_items(PublishingManifest(SinkKind.SQL, 3, "pumps", "file:///work", items), Folder(folder), connect)
    path = paths.report_path(make_publishing_run(SinkKind.SQL, 3), CHUNK, ATTEMPT)
    report = PublishingReport.from_bytes(Folder(folder).read(path).data)
    return [(result.run, result.reason) for result in report.results]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SinkError(SinkReason.UNAVAILABLE, "no answer"), SinkReason.UNAVAILABLE),
        (SinkError(SinkReason.DENIED, "no right"), SinkReason.DENIED),
        (Unavailable("the working container did not answer"), SinkReason.UNAVAILABLE),
    ],
)
def test_after_a_sink_that_takes_none_the_job_reports_what_it_did(
    error: Exception, reason: SinkReason, tmp_path: Path
) -> None:
    sink = Fickle(error)

    assert publish(tmp_path, lambda: sink) == [(RUNS[0], None), (RUNS[1], reason)]
    assert sink.calls == [RUNS[0], RUNS[1], "close"]


@pytest.mark.parametrize("reason", sorted(set(SinkReason) - {SinkReason.UNAVAILABLE, SinkReason.DENIED}))
def test_a_run_that_the_sink_does_not_take_stops_no_other(reason: SinkReason, tmp_path: Path) -> None:
    expected = [(run, reason if run == RUNS[1] else None) for run in RUNS]

    assert publish(tmp_path, lambda: Fickle(SinkError(reason, "not this one"))) == expected


def test_a_sink_that_cannot_be_reached_is_tried_once(tmp_path: Path) -> None:
    tries: list[int] = []

    def connect() -> Sink:
        tries.append(1)
        raise SinkError(SinkReason.UNAVAILABLE, "no answer")

    assert publish(tmp_path, connect) == [(RUNS[0], SinkReason.UNAVAILABLE)]
    assert tries == [1]


def test_a_sink_that_cannot_be_closed_costs_no_report(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Unclosable(Fickle):
        def close(self) -> None:
            raise RuntimeError("the connection is gone")

    expected = [(run, SinkReason.FULL if run == RUNS[1] else None) for run in RUNS]

    assert publish(tmp_path, lambda: Unclosable(SinkError(SinkReason.FULL, "full"))) == expected
    assert "the sink could not be closed: RuntimeError: the connection is gone" in caplog.text
