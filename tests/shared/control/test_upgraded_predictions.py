"""A file that `fleetscore predictions upgrade` rewrote is still the result that was committed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.adapters.memory import MemoryBlobs, MemoryCluster, MemoryLedger
from shared.adapters.memory_sinks import MemorySinkLedger
from shared.contract import paths
from shared.contract.domain import Model, Original, Part, Tally
from shared.contract.errors import Malformed
from shared.contract.manifest import Manifest
from shared.contract.outcomes import ModelResult, Outcomes
from shared.contract.report import Report
from shared.contract.text import make_digest
from shared.contract.windows import Window
from shared.control.commit import copy_parts, has_earlier_parts
from shared.control.maintenance import rebuild_ledger
from shared.control.options import ControlOptions
from shared.control.sinks.publisher import Publisher
from shared.planning.plan import Plan, Planner
from shared.state.runs import Chunk, ChunkState, Phase, Result

NOW = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
WINDOW = Window.parse("20261121T1100Z-PT1H")
CHUNK = Chunk(WINDOW.id, "c00000", "abc", 1, "a", "a", state=ChunkState.COMMITTING)


class Place:
    """The two containers, and a chunk that is committed round after round."""

    def __init__(self) -> None:
        self.work, self.predictions = MemoryBlobs("memory://work"), MemoryBlobs("memory://predictions")
        self.chunk = CHUNK

    def choose(self, *contents: bytes) -> Chunk:
        """A node wrote these parts, and its report was chosen."""
        parts = []
        for index, content in enumerate(contents):
            path = f"{paths.parts_prefix(WINDOW.id, CHUNK.id)}{content.decode()}-{index}.parquet"
            self.work.write(path, content)
            parts.append(Part(path, len(content), self.work.read_properties(path).md5, 1))
        self.chunk = replace(CHUNK, chosen=Result(1, tuple(parts), Tally()), committed=self.chunk.committed)
        return self.chunk

    def copy(self) -> tuple[Part, ...]:
        return copy_parts(self.work, self.predictions, WINDOW, self.chunk)

    def commit(self, *contents: bytes) -> None:
        chosen = self.choose(*contents).chosen
        assert chosen
        self.chunk = replace(CHUNK, committed=replace(chosen, parts=self.copy()))

    def upgrade(self, *indices: int) -> None:
        """What the command does to these files."""
        for index in indices:
            name = paths.prediction_path(WINDOW, CHUNK.id, index)
            blob = self.predictions.read_properties(name)
            original = Original(blob.etag, blob.size, blob.md5)
            self.predictions.write(name, self.predictions.read(name) + b", upgraded", original.to_metadata())

    def read(self) -> list[bytes]:
        return [self.predictions.read(blob.name) for blob in self.predictions.list_blobs()]


@pytest.fixture
def place() -> Place:
    return Place()


def test_what_a_file_was_is_read_back_from_its_metadata() -> None:
    original = Original("0x8D", 12, "bWQ1")
    assert Original.from_metadata(original.to_metadata()) == original
    assert Original.from_metadata({}) is None
    assert Original.from_metadata({**original.to_metadata(), "original_bytes": "many"}) is None


@pytest.mark.parametrize("contents", [(b"new",), (b"new", b"more"), (b"old", b"later"), ()])
@pytest.mark.parametrize("upgraded", [(0,), (1,), (0, 1)])
def test_a_later_round_replaces_upgraded_files_whole(
    upgraded: tuple[int, ...], contents: tuple[bytes, ...], place: Place
) -> None:
    place.commit(b"old", b"later")
    place.upgrade(*upgraded)

    assert has_earlier_parts(place.work, place.predictions, WINDOW, place.chunk)
    place.choose(*contents)
    first = place.copy()

    assert place.read() == list(contents)
    assert place.copy() == first  # a tick that was killed in between does it again
    blobs = list(place.predictions.describe_blobs(""))
    assert [(blob.etag, dict(blob.metadata)) for blob in blobs] == [(part.etag, {}) for part in first]


def test_a_copy_that_was_upgraded_before_it_was_recorded_is_recorded(place: Place) -> None:
    chosen = place.choose(b"first").chosen
    assert chosen
    place.copy()  # the tick was killed here
    place.upgrade(0)

    (part,) = place.copy()

    blob = place.predictions.read_properties(paths.prediction_path(WINDOW, CHUNK.id, 0))
    assert part == replace(chosen.parts[0], etag=blob.etag)
    assert place.read() == [b"first, upgraded"]
    place.chunk = replace(CHUNK, committed=replace(chosen, parts=(part,)))
    assert has_earlier_parts(place.work, place.predictions, WINDOW, place.chunk)
    place.commit(b"second")
    assert place.read() == [b"second"]


def test_an_upgraded_file_of_another_content_is_left_alone(place: Place) -> None:
    place.commit(b"old")
    name = paths.prediction_path(WINDOW, CHUNK.id, 0)
    place.predictions.write(name, b"by hand")
    place.upgrade(0)
    place.choose(b"new")

    assert not has_earlier_parts(place.work, place.predictions, WINDOW, place.chunk)
    with pytest.raises(Malformed, match="is not ours"):
        place.copy()
    place.choose()
    place.copy()
    assert place.read() == [b"by hand, upgraded"]


# The ledger is lost


def lose_ledger(place: Place, predictions_schema: int) -> MemoryLedger:
    """A run of one chunk, as its documents show it, and an empty ledger."""
    models = (Model("a", "", "a.skops", "1"),)
    manifest = Manifest(
        WINDOW, CHUNK.id, models, "m://models", "m://readings", "m://work", predictions_schema=predictions_schema
    )
    data = manifest.to_bytes()
    chunk = replace(CHUNK, manifest=make_digest(data))
    place.work.write(paths.manifest_path(WINDOW.id, chunk.manifest), data)
    place.work.write(paths.plan_path(WINDOW.id), Plan((chunk,)).to_bytes())
    assert place.chunk.committed
    outcomes = Outcomes.from_results([ModelResult("a", 1)])
    parts = tuple(replace(part, etag="") for part in place.chunk.committed.parts)
    report = Report(WINDOW.id, CHUNK.id, 1, NOW, NOW + timedelta(seconds=1), outcomes, parts)
    place.work.write(paths.report_path(WINDOW.id, CHUNK.id, 1), report.to_bytes())
    return MemoryLedger()


def make_publisher(ledger: MemoryLedger, place: Place) -> Publisher:
    return Publisher(ledger, MemorySinkLedger(), MemoryCluster(), place.work, ControlOptions())


def test_a_rebuild_takes_an_upgraded_file_for_the_part_that_it_was(place: Place) -> None:
    place.commit(b"rows")
    place.upgrade(0)
    ledger = lose_ledger(place, 1)

    (run,) = rebuild_ledger(make_publisher(ledger, place), place.predictions, Planner(), NOW)

    assert run.phase is Phase.SUCCEEDED
    (chunk,) = ledger.list_chunks(run.id)
    blob = place.predictions.read_properties(paths.prediction_path(WINDOW, CHUNK.id, 0))
    assert chunk.committed
    assert [part.etag for part in chunk.committed.parts] == [blob.etag]
    place.chunk = chunk
    place.commit(b"of a redrive")
    assert place.read() == [b"of a redrive"]


@pytest.mark.parametrize("schema", [1, 2])
def test_a_rebuild_restores_the_schema_of_the_predictions(schema: int, place: Place) -> None:
    place.commit(b"rows")
    ledger = lose_ledger(place, schema)

    list(rebuild_ledger(make_publisher(ledger, place), place.predictions, Planner(), NOW))

    assert ledger.read_heartbeat().predictions_schema == schema


def test_a_rebuild_without_a_manifest_leaves_the_schema_to_the_first_tick(place: Place) -> None:
    place.commit(b"rows")
    ledger = lose_ledger(place, 2)
    for blob in list(place.work.list_blobs(f"{paths.run_prefix(WINDOW.id)}manifests/")):
        place.work.delete(blob.name)

    list(rebuild_ledger(make_publisher(ledger, place), place.predictions, Planner(), NOW))

    beat = ledger.read_heartbeat()
    assert (beat.watermark, beat.predictions_schema) == (WINDOW.end, None)
