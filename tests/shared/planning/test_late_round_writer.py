"""The manifests of a rescore: of the chunks with models that rows came late for, and which models those are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from shared.adapters.memory import MemoryBlobs, MemoryLedger
from shared.contract import paths
from shared.contract.domain import Late, Tally, merge_late
from shared.contract.errors import Unavailable
from shared.contract.manifest import Manifest
from shared.contract.outcomes import ModelResult, Outcomes
from shared.contract.report import Report
from shared.contract.windows import Window
from shared.planning.chunking import ChunkSize
from shared.planning.late_round_writer import LateRoundWriter
from shared.planning.plan_writer import PlanOptions, PlanWriter, read_plan, read_round
from shared.state.requests import RequestKind
from shared.state.runs import Chunk, ChunkState, Phase, Result, Run

NOW = datetime(2026, 11, 21, 13, 9, tzinfo=UTC)
WINDOW, AFTER = Window.parse("20261121T1100Z-PT1H"), Window.parse("20261121T1200Z-PT1H")
MODELS = ("fan/heat", "fan/noise", "pump1", "pump2", "valve1", "valve2")


@dataclass
class Place:
    """Two runs of the same models in chunks of two, of which the second has counted late rows of *devices*."""

    schema: int = 2

    def __post_init__(self) -> None:
        self.models, self.work, self.ledger = (
            MemoryBlobs("memory://models"),
            MemoryBlobs("memory://work"),
            MemoryLedger(),
        )
        for model in MODELS:
            self.models.write(f"{model}.skops", b"a model")
        readings, predictions = MemoryBlobs("memory://readings"), MemoryBlobs("memory://predictions")
        options = PlanOptions(ChunkSize(2))
        self.writer = PlanWriter(self.models, readings, self.work, predictions, self.ledger, options, self.schema)
        self.run, self.after = self.plan(WINDOW), self.plan(AFTER)

    def plan(self, window: Window) -> Run:
        run = Run(window, Phase.PLANNING, NOW)
        run = self.writer.write_plan(run, [replace(run, models=len(MODELS))], NOW)
        chunks = read_plan(self.work, run, 0, NOW).chunks
        self.ledger.add_chunks(
            [replace(c, state=ChunkState.COMMITTED, committed=Result(1, (), Tally())) for c in chunks]
        )
        self.ledger.add_run(run)
        return run

    def count_late(self, index: int, devices: Sequence[str], *, named: Sequence[str] | None = None) -> None:
        """A chunk of the second run counts a late row of each device; its report names those."""
        chunk = self.ledger.list_chunks(AFTER.id)[index]
        assert chunk.committed
        late = Late(len(devices), len(devices), tuple(devices))
        self.ledger.save_chunks([replace(chunk, committed=replace(chunk.committed, late=late))])
        counted = merge_late(each.late for each in self.ledger.list_chunks(AFTER.id))
        self.ledger.save_run(replace(self.ledger.read_run(AFTER.id), late=counted))
        if named is not None:
            outcomes = Outcomes.from_results([ModelResult("", 0, 0)] * chunk.models)
            report = Report(AFTER.id, chunk.id, 1, NOW, NOW, outcomes, (), late=replace(late, examples=tuple(named)))
            self.work.write(paths.report_path(AFTER.id, chunk.id, 1), report.to_bytes())

    def count_again(self, index: int, devices: Sequence[str]) -> None:
        """The chunk is redriven, and the second attempt counts late rows of devices that the first did not score."""
        chunk = self.ledger.list_chunks(AFTER.id)[index]
        assert chunk.committed
        late = Late(len(devices), len(devices), tuple(devices))
        result = replace(chunk.committed, attempt=2, late=late, late_attempts=()).keep_late(chunk.committed)
        self.ledger.save_chunks([replace(chunk, committed=result)])
        outcomes = Outcomes.from_results([ModelResult("", 0, 0)] * chunk.models)
        report = Report(AFTER.id, chunk.id, 2, NOW, NOW, outcomes, (), late=late)
        self.work.write(paths.report_path(AFTER.id, chunk.id, 2), report.to_bytes())

    def rescore(self) -> dict[str, list[str]]:
        """Write the next round; returns the models that are scored once more, by chunk."""
        run = replace(self.run, phase=Phase.PLANNING, round=1, redo=RequestKind.RESCORE)
        written = LateRoundWriter(self.writer).write_round(run, NOW)
        assert (written.phase, written.own_manifests) == (Phase.RUNNING, True)
        manifests = read_round(self.work, run, 1).manifests
        chunks = self.list_chunks()
        assert list(manifests) == [chunk.id for chunk in chunks]
        changed = {chunk.id: manifests[chunk.id] for chunk in chunks if manifests[chunk.id] != chunk.manifest}
        return {chunk_id: self.read_models(digest) for chunk_id, digest in changed.items()}

    def list_chunks(self) -> Sequence[Chunk]:
        return self.ledger.list_chunks(WINDOW.id)

    def read_models(self, digest: str) -> list[str]:
        manifest = Manifest.from_bytes(self.work.read(paths.manifest_path(WINDOW.id, digest)))
        assert manifest.round == 1
        return [manifest.models[index].id for index in manifest.rescore]


def test_only_chunks_with_late_devices_are_in_it_with_all_models_of_these_devices() -> None:
    place = Place()
    place.count_late(0, ["fan"], named=["fan"])
    place.count_late(2, ["valve2"], named=["valve2"])
    assert place.rescore() == {"c00000": ["fan/heat", "fan/noise"], "c00002": ["valve2"]}


def test_devices_that_an_attempt_before_a_redrive_has_counted_are_in_it_too() -> None:
    place = Place()
    place.count_late(2, ["valve1"], named=["valve1"])
    place.count_again(2, ["valve2"])
    assert place.rescore() == {"c00002": ["valve1", "valve2"]}
    place = Place()
    place.count_late(2, ["valve1"], named=None)
    place.count_again(2, ["valve2"])
    assert [model for models in place.rescore().values() for model in models] == list(MODELS)


def test_a_manifest_of_it_differs_from_the_chunk_s_by_these_models_only() -> None:
    place = Place()
    place.count_late(1, ["pump1"], named=["pump1"])
    place.rescore()
    before = place.list_chunks()[1].manifest
    digest = read_round(place.work, replace(place.run, round=1), 1).manifests["c00001"]
    old, new = (Manifest.from_bytes(place.work.read(paths.manifest_path(WINDOW.id, d))) for d in (before, digest))
    assert replace(new, rescore=(), round=0) == old
    assert (old.rescore, new.rescore) == ((), (0,))


@pytest.mark.parametrize("named", [None, ["pump1"]], ids=["no report", "more than it names"])
def test_where_not_all_late_devices_are_named_all_models_are_scored_once_more(named: Sequence[str] | None) -> None:
    place = Place()
    place.count_late(0, ["fan"], named=["fan"])
    place.count_late(1, ["pump1", "pump2"], named=named)
    assert [model for models in place.rescore().values() for model in models] == list(MODELS)


def test_without_late_rows_nothing_is_scored_once_more_and_without_the_run_after_it_all() -> None:
    place = Place()
    assert place.rescore() == {}
    place = Place()
    place.ledger.remove_run(AFTER.id)
    assert [model for models in place.rescore().values() for model in models] == list(MODELS)


def test_an_old_row_of_the_run_after_it_or_of_its_chunks_decides_nothing() -> None:
    place = Place()
    place.count_late(0, ["fan"], named=["fan"])
    place.ledger.save_run(replace(place.ledger.read_run(AFTER.id), late=None))
    with pytest.raises(Unavailable, match=rf"run {AFTER.id}: expected chunk rows with None, got Late\(rows=1,"):
        place.rescore()


def test_a_chunk_without_a_result_and_one_of_an_old_plan_stay_as_they_are() -> None:
    place = Place()
    place.count_late(0, ["fan"], named=["fan"])
    place.ledger.save_chunks([replace(place.list_chunks()[0], state=ChunkState.FAILED, committed=None)])
    assert place.rescore() == {}
    old = Place(schema=1)
    old.count_late(0, ["fan"])
    assert old.rescore() == {}


def test_a_round_that_is_written_stays_whatever_is_counted_later() -> None:
    place = Place()
    place.count_late(0, ["fan"], named=["fan"])
    first = place.rescore()
    place.count_late(1, ["pump1"], named=["pump1"])
    assert place.rescore() == first


@pytest.mark.parametrize("window", [WINDOW, AFTER])
def test_a_short_read_of_chunks_decides_nothing(window: Window) -> None:
    place = Place()
    place.count_late(0, ["fan"], named=["fan"])
    del place.ledger._chunks[window.id]["c00001"]
    with pytest.raises(Unavailable, match=f"run {window.id}: expected 3 chunks that have ended, got 2"):
        place.rescore()


def test_a_round_that_was_cancelled_writes_nothing() -> None:
    place = Place()
    place.count_late(0, ["fan"], named=["fan"])
    run = replace(place.run, phase=Phase.PLANNING, round=1, redo=RequestKind.RESCORE, cancelled_at=NOW)
    assert not LateRoundWriter(place.writer).write_round(run, NOW).own_manifests
    assert list(place.work.list_blobs(paths.round_path(WINDOW.id, 1))) == []
