"""The manifests of a reprocess: the plan's models with the files that are listed now, whatever became of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.adapters.memory import MemoryBlobs, MemoryLedger
from shared.contract import paths
from shared.contract.domain import Model
from shared.contract.fleet.formats import ModelFormats
from shared.contract.fleet.ignored_files import IgnoredFiles
from shared.contract.manifest import Manifest
from shared.contract.model_names import ModelNames
from shared.contract.reasons import Reason
from shared.contract.scoring_options import Gaps, Probabilities, ReadingOptions, ScoringOptions
from shared.contract.windows import Window
from shared.planning.chunking import ChunkSize
from shared.planning.plan_writer import PlanOptions, PlanWriter, read_round
from shared.planning.round_writer import RoundWriter
from shared.state.requests import Quarantined, RequestKind
from shared.state.runs import Phase, Run

NOW = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
RUN = Run(Window.parse("20261121T1100Z-PT1H"), Phase.PLANNING, NOW)


DEFAULT_NAMES = ModelNames()


class Place:
    """The containers of an app, a run in it, and what its manifests say."""

    def __init__(
        self, files: Mapping[str, bytes], chunk_size: int, schema: int = 2, names: ModelNames = DEFAULT_NAMES
    ) -> None:
        self.models, self.work = MemoryBlobs("memory://models"), MemoryBlobs("memory://work")
        self.ledger, self.run = MemoryLedger(), RUN
        self.put(files)
        readings, predictions = MemoryBlobs("memory://readings"), MemoryBlobs("memory://predictions")
        options = PlanOptions(ChunkSize(chunk_size), model_names=names)
        self.writer = PlanWriter(self.models, readings, self.work, predictions, self.ledger, options, schema)
        self.plan()

    def set_names(self, names: ModelNames) -> None:
        """Change the setting."""
        self.writer = replace(self.writer, options=replace(self.writer.options, model_names=names))

    def put(self, files: Mapping[str, bytes]) -> None:
        """Make *files* all that there is."""
        for blob in list(self.models.list_blobs()):
            if blob.name not in files:
                self.models.delete(blob.name)
        for name, data in files.items():
            if data:
                self.models.write(name, data)

    def plan(self) -> None:
        """The run's first plan, or its extension."""
        self.run = self.writer.write_plan(self.run, (), NOW)
        if self.run.phase is Phase.PLANNING:  # a fleet so small is listed twice
            self.run = self.writer.write_plan(self.run, (), NOW)

    def reprocess(self) -> dict[str, Manifest]:
        """The manifests of the next round, by chunk."""
        number = self.run.round + 1
        self.run = Run(
            self.run.window, Phase.PLANNING, NOW, round=number, redo=RequestKind.REPROCESS, plans=self.run.plans,
            models=self.run.models, chunks=self.run.chunks,
        )  # fmt: skip
        for _ in range(2):
            if self.run.phase is Phase.PLANNING:
                self.run = RoundWriter(self.writer).write_round(self.run, NOW)
        assert (self.run.phase, self.run.own_manifests) == (Phase.RUNNING, True)
        digests = read_round(self.work, self.run, number).manifests
        read = {chunk: self.work.read(paths.manifest_path(self.run.id, digest)) for chunk, digest in digests.items()}
        return {chunk: Manifest.from_bytes(data) for chunk, data in read.items()}

    def planned(self) -> dict[str, Sequence[Model]]:
        """The models of all plans, by chunk."""
        chunks = [chunk for number in range(self.run.plans) for chunk in self.writer.read_chunks(self.run, number)]
        return {
            chunk.id: Manifest.from_bytes(self.work.read(paths.manifest_path(self.run.id, chunk.manifest))).models
            for chunk in chunks
        }

    def expected(self) -> dict[str, list[Model]]:
        """The plan's models, each as the listing has it now."""
        listed = {model.id: model for model in self.writer.list_fleet(IgnoredFiles())}
        removed = Reason.MODEL_REMOVED
        return {
            chunk: [
                Model(m.device, m.sensor, (now := listed.get(m.id, m)).name, now.etag, now.refused, files=now.files)
                if m.id in listed
                else Model(m.device, m.sensor, m.name, m.etag, removed)
                for m in models
            ]
            for chunk, models in self.planned().items()
        }


def files(*names: str, data: bytes = b"a model") -> dict[str, bytes]:
    return dict.fromkeys(names, data)


def test_each_model_has_the_file_that_is_listed_now_in_the_chunk_that_it_had() -> None:
    place = Place(files("a.pkl", "b.skops", "c.pkl", "d/x.pkl", "d/y.pkl"), 2)
    place.put(files("a.pkl", "c.pkl", data=b"replaced") | files("b.joblib", "b2.pkl", "d/y.pkl", "d/y.skops"))
    manifests = place.reprocess()
    assert {chunk: list(manifest.models) for chunk, manifest in manifests.items()} == place.expected()
    refused = {m.id: m.refused for manifest in manifests.values() for m in manifest.models if m.refused}
    assert refused == {"d/x": Reason.MODEL_REMOVED, "d/y": Reason.AMBIGUOUS}
    assert {(m.round, m.schema, m.app) for m in manifests.values()} == {(1, 2, "fleetscore")}


def test_a_run_says_which_files_its_last_listing_ignored() -> None:
    place = Place(files("a.pkl", "old.csv"), 1)
    place.put(files("a.pkl", "new.txt", "other.txt"))
    place.reprocess()
    assert (place.run.ignored, place.run.ignored_endings, place.run.ignored_examples) == (
        2,
        {".txt": 2},
        ("new.txt", "other.txt"),
    )


def test_the_manifests_of_a_plan_and_of_a_round_have_the_formats_of_their_time() -> None:
    place = Place(files("a.json", "b.txt", "c.pkl"), 3, names=ModelNames(formats=ModelFormats(("json",))))
    (chunk,) = place.writer.read_chunks(place.run, 0)
    planned = Manifest.from_bytes(place.work.read(paths.manifest_path(place.run.id, chunk.manifest)))
    assert ([model.name for model in planned.models], planned.model_formats) == (["a.json", "c.pkl"], ("json",))
    assert (place.run.ignored, place.run.ignored_endings) == (1, {".txt": 1})
    place.set_names(ModelNames())
    manifest = place.reprocess()["c00000"]
    assert ([model.refused for model in manifest.models], manifest.model_formats) == ([Reason.MODEL_REMOVED, None], ())
    assert place.run.ignored_endings == {".json": 1, ".txt": 1}


def test_a_plan_of_schema_1_gets_manifests_of_schema_2() -> None:
    place = Place(files("a.pkl", "b.pkl"), 1, schema=1)
    place.writer = PlanWriter(
        place.models, place.models, place.work, place.models, place.ledger, PlanOptions(ChunkSize(1))
    )
    assert {manifest.schema for manifest in place.reprocess().values()} == {2}


def test_a_model_in_quarantine_is_refused_while_its_file_is_the_same() -> None:
    place = Place(files("a.pkl", "b.pkl"), 1)
    for model in place.writer.list_fleet(IgnoredFiles()):
        place.ledger.add_quarantined(Quarantined(model.id, model.etag, Reason.CRASHED, "", place.run.id, NOW))
    place.put(files("b.pkl", data=b"mended") | {"a.pkl": b""})
    assert [m.refused for manifest in place.reprocess().values() for m in manifest.models] == [Reason.QUARANTINED, None]


def test_a_second_round_has_manifests_of_its_own() -> None:
    place = Place(files("a.pkl"), 1)
    first = place.reprocess()
    place.put(files("a.pkl", data=b"again"))
    second = place.reprocess()
    assert first["c00000"].models != second["c00000"].models
    assert read_round(place.work, place.run, 1) != read_round(place.work, place.run, 2)


def test_a_fleet_that_is_suddenly_smaller_is_listed_twice(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    place = Place(files("a.pkl", "b.pkl", "c.pkl"), 2)
    place.put(files("a.pkl"))
    place.reprocess()
    assert "lists only 1 models; listing them once more" in caplog.text


NAMES = st.builds(
    "".join,
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(["", "-1", ".x", ".y", "b", "/s", "/t"]),
        st.sampled_from([".pkl", ".skops", ".json", "/MLmodel", ""]),
    ),
)
USUAL, JSON = ModelFormats(), ModelFormats(("json",))
PATTERNS = st.sampled_from([DEFAULT_NAMES.pattern, "{device}[/{sensor}]"])
SETTINGS = st.sampled_from([USUAL, JSON])
FILES = st.dictionaries(NAMES, st.sampled_from([b"one", b"two"]), max_size=12)


@given(FILES, FILES, FILES, st.integers(1, 4), PATTERNS, SETTINGS, SETTINGS)
@example(files("a.json"), {}, files("a.x.pkl", "a/MLmodel"), 1, DEFAULT_NAMES.pattern, JSON, USUAL)
@example(files("a/MLmodel", "a.x.pkl"), {}, files("a.pkl"), 1, DEFAULT_NAMES.pattern, USUAL, USUAL)
@example(
    files("a.pkl", "a.x.pkl"), {}, files("a.x.pkl", "a.y.pkl", "a/MLmodel"), 2, DEFAULT_NAMES.pattern, USUAL, USUAL
)
@example(files("a", "c"), {}, files("a", "ab", "c"), 1, "{device}[/{sensor}]", USUAL, USUAL)
@example(files("a", "a/s.pkl", "ab.pkl"), {}, files("a.pkl"), 1, "{device}[/{sensor}]", USUAL, USUAL)
def test_whatever_became_of_the_files_and_the_setting_the_manifests_say_what_the_listing_says(
    before: dict[str, bytes],
    between: dict[str, bytes],
    after: dict[str, bytes],
    chunk_size: int,
    pattern: str,
    formats: ModelFormats,
    later_formats: ModelFormats,
) -> None:
    place = Place(files("b.pkl") | before, chunk_size, names=ModelNames(pattern, formats))
    place.put(before | between)
    place.run = Run(
        RUN.window, Phase.PLANNING, NOW, round=1, redo=RequestKind.EXTEND, plans=1, models=place.run.models,
        chunks=place.run.chunks,
    )  # fmt: skip
    place.plan()
    place.put(after)
    place.set_names(ModelNames(pattern, later_formats))
    manifests = place.reprocess()
    assert {chunk: list(manifest.models) for chunk, manifest in manifests.items()} == place.expected()


def test_a_reprocess_takes_the_settings_of_now() -> None:
    place = Place({"a.skops": b"1", "b.skops": b"2"}, 1)
    scoring = ScoringOptions(ReadingOptions(gaps=Gaps.DROP), probabilities=Probabilities.ALL)
    place.writer = replace(place.writer, options=replace(place.writer.options, scoring=scoring))

    policies = {manifest.policy for manifest in place.reprocess().values()}

    assert policies == {scoring}
