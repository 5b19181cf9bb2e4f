"""A chunk's result is put where consumers read, once, whatever lies there and whoever was killed."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from shared.adapters.memory import MemoryBlobs
from shared.contract.domain import Part, Tally
from shared.contract.errors import FleetError, Malformed, NotFound, Protected
from shared.contract.paths import prediction_path
from shared.contract.reasons import Reason
from shared.contract.windows import Window
from shared.control.commit import copy_parts, has_earlier_parts
from shared.ports import BlobInfo, Blobs
from shared.state.requests import RequestKind
from shared.state.runs import Chunk, ChunkState, Phase, Result
from tests.storm.fault_plan import BY_NAME, Weather
from tests.storm.world import BEAT, World

NOW = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
WINDOW = Window.parse("20261121T1100Z-PT1H")
CHUNK = Chunk(WINDOW.id, "c00000", "abc", 3, "a", "z", state=ChunkState.COMMITTING)


class Place:
    """The two containers, and a chunk that is committed round after round."""

    def __init__(self) -> None:
        self.work, self.predictions = MemoryBlobs("memory://work"), MemoryBlobs("memory://predictions")
        self.chunk = CHUNK

    def choose(self, *contents: bytes, attempt: int = 1) -> Chunk:
        """A node wrote these parts, and its report was chosen."""
        parts = []
        for content in contents:
            path = f"results/{WINDOW.id}/c00000/{attempt}-{len(parts)}.parquet"
            self.work.write(path, content)
            parts.append(Part(path, len(content), self.work.read_properties(path).md5, 1))
        self.chunk = replace(
            CHUNK, chosen=Result(attempt, tuple(parts), Tally(scored=3)), committed=self.chunk.committed
        )
        return self.chunk

    def copy(self, chunk: Chunk | None = None) -> tuple[Part, ...]:
        return copy_parts(self.work, self.predictions, WINDOW, chunk or self.chunk)

    def commit(self, *contents: bytes, attempt: int = 1) -> None:
        chosen = self.choose(*contents, attempt=attempt).chosen
        assert chosen
        self.chunk = replace(CHUNK, committed=replace(chosen, parts=self.copy()))

    def read(self) -> list[bytes]:
        """What consumers read, in the order of its names."""
        names = [blob.name for blob in self.predictions.list_blobs()]
        assert names == [prediction_path(WINDOW, "c00000", i) for i in range(len(names))]
        return [self.predictions.read(name) for name in names]


@pytest.fixture
def place() -> Place:
    return Place()


def found(place: Place, index: int = 0) -> BlobInfo:
    return place.predictions.read_properties(prediction_path(WINDOW, "c00000", index))


@pytest.mark.parametrize("contents", [(), (b"one",), (b"one", b"two")])
def test_the_parts_of_a_chunk_are_copied_to_their_names(place: Place, contents: tuple[bytes, ...]) -> None:
    chosen = place.choose(*contents).chosen
    assert chosen
    parts = place.copy()
    assert parts == tuple(replace(part, etag=found(place, i).etag) for i, part in enumerate(chosen.parts))
    assert place.read() == list(contents)


def test_copying_again_after_a_kill_changes_nothing(place: Place) -> None:
    place.choose(b"one", b"two")
    first = place.copy()
    assert place.copy() == first
    place.predictions.delete(prediction_path(WINDOW, "c00000", 1))  # killed after the first part
    assert place.copy()[0] == first[0]
    assert place.read() == [b"one", b"two"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((b"one",), (b"new",)),
        ((b"one",), (b"one",)),
        ((b"one",), ()),
        ((), (b"new",)),
        ((b"one", b"two"), (b"new",)),  # fewer parts than before
        ((b"one",), (b"new", b"newer")),
        ((b"one", b"two", b"three"), (b"new", b"two")),
    ],
)
def test_a_later_round_replaces_the_result_whole(
    place: Place, before: tuple[bytes, ...], after: tuple[bytes, ...]
) -> None:
    place.commit(*before)
    place.choose(*after, attempt=2)
    parts = place.copy()
    assert place.read() == list(after)
    assert place.copy() == parts  # again, after a kill
    assert place.read() == list(after)


def test_other_content_in_its_place_is_left_alone(place: Place) -> None:
    place.choose(b"one")
    name = prediction_path(WINDOW, "c00000", 0)
    etag = place.predictions.write(name, b"somebody else's")
    expected = r"memory://predictions/date=.*c00000-0\.parquet is not ours: expected 3 bytes with MD5 \S+, got 15 with"
    with pytest.raises(FleetError, match=expected):
        place.copy()
    assert (place.predictions.read(name), found(place).etag) == (b"somebody else's", etag)


def test_other_content_in_place_of_an_earlier_result_is_left_alone(place: Place) -> None:
    place.commit(b"one", b"two")
    place.choose(b"new", attempt=2)
    for i in (0, 1):
        place.predictions.write(prediction_path(WINDOW, "c00000", i), b"somebody else's")
    with pytest.raises(FleetError, match="is not ours"):
        place.copy()
    assert place.read() == [b"somebody else's", b"somebody else's"]


@pytest.mark.parametrize(("before", "after"), [((b"one",), (b"new",)), ((b"one", b"two"), (b"new",))])
def test_what_somebody_holds_is_named_with_what_protects_it_and_kept(
    place: Place, before: tuple[bytes, ...], after: tuple[bytes, ...]
) -> None:
    place.commit(*before)
    held = prediction_path(WINDOW, "c00000", len(before) - 1)
    place.predictions.protect(held)
    place.choose(*after, attempt=2)
    for _ in range(2):
        with pytest.raises(Protected) as caught:
            place.copy()
        assert str(caught.value) == f"{held} is protected by a lease (LeaseIdMissing)"
    assert place.predictions.read(held) == before[-1]
    place.predictions.end_protection(held)
    place.copy()
    assert place.read() == list(after)


def test_other_content_that_somebody_holds_is_told_as_held_and_our_own_copy_is_taken(place: Place) -> None:
    name = prediction_path(WINDOW, "c00000", 0)
    place.choose(b"one")
    copied = place.copy()  # killed here, before it was recorded
    place.predictions.protect(name)
    assert place.copy() == copied
    place.predictions.write(name, b"somebody else's")
    with pytest.raises(FleetError, match="is not ours"):
        place.copy()


@pytest.mark.parametrize("fleet", [{"pump1": None}, {"pump1": None, "pump2": None, "pump3": Reason.UNREADABLE_MODEL}])
def test_a_reprocess_that_cannot_replace_what_somebody_holds_is_no_success(fleet: dict[str, Reason | None]) -> None:
    world = World(fleet)
    world.beat_until_over()
    before, name = world.rows(), prediction_path(WINDOW, "c00000", 0)
    world.predictions.protect(name)
    world.wish(RequestKind.REPROCESS)
    run = world.beat_until_over()
    assert (run.phase, run.reason, run.round) == (Phase.PARTIAL, Reason.COMMIT_CONFLICT, 1)
    kept = f"1 of {run.chunks} chunks keep the result of an earlier round; c00000: "
    assert run.message == f"{kept}{name} is protected by a lease (LeaseIdMissing)"
    assert world.rows() == before
    world.predictions.end_protection(name)
    world.wish(RequestKind.REPROCESS)
    again = world.beat_until_over()
    expected = Phase.PARTIAL if run.tally.failed else Phase.SUCCEEDED
    assert (again.phase, again.reason, again.message) == (expected, None, "")


def test_predictions_that_are_gone_are_told_since_a_late_copy_finds_the_same(place: Place) -> None:
    place.commit(b"one", b"two")
    for i in (0, 1):
        place.predictions.delete(prediction_path(WINDOW, "c00000", i))
    place.choose(b"new", attempt=2)
    with pytest.raises(FleetError):
        place.copy()
    assert place.read() == []


@pytest.mark.parametrize("content", [None, b"[]"])
def test_a_run_calls_nothing_scored_that_a_person_took_from_the_predictions(content: bytes | None) -> None:
    world = World({"pump1": None})
    world.beat_until_over()
    name = prediction_path(WINDOW, "c00000", 0)
    world.predictions.delete(name)
    if content:
        world.predictions.write(name, content)
    world.wish(RequestKind.REPROCESS)
    for _ in range(40):
        world.plane.tick(world.now)
        world.move_nodes()
        world.now += BEAT
    run = world.ledger.read_run(WINDOW.id)
    assert (run.phase.terminal, run.round, run.tally.rows) == (True, 1, len(world.rows()))


def test_a_part_that_is_gone_is_not_committed(place: Place) -> None:
    chosen = place.choose(b"one").chosen
    assert chosen
    place.work.delete(chosen.parts[0].path)
    with pytest.raises(NotFound):
        place.copy()
    assert place.read() == []


@pytest.mark.parametrize("latest", [(b"new",), (b"new", b"newer"), ()])
def test_a_late_copy_of_an_earlier_round_changes_nothing(place: Place, latest: tuple[bytes, ...]) -> None:
    place.commit(b"one", b"two")
    late = place.choose(b"second", b"round", attempt=2)  # a host was paused here
    place.commit(b"second", b"round", attempt=2)
    place.commit(*latest, attempt=3)
    before = [found(place, i) for i in range(len(latest))]
    with pytest.raises(FleetError):
        place.copy(late)
    assert [found(place, i) for i in range(len(latest))] == before
    assert place.read() == list(latest)


def test_a_late_deletion_of_an_earlier_round_deletes_nothing(place: Place) -> None:
    place.commit(b"one", b"two")
    late = place.choose(attempt=2)  # a host was paused here, before it took both parts away
    place.commit(attempt=2)
    place.commit(b"new", b"newer", attempt=3)
    place.copy(late)
    assert place.read() == [b"new", b"newer"]


def test_poison_is_on_the_list_before_its_report_is_chosen() -> None:
    fleet: dict[str, Reason | None] = {"pump1": None, "pump2": Reason.CRASHED}
    calm = Weather()
    World(fleet, weather=calm).beat_until_over()
    weather = Weather({calm.calls.index("ledger.add_quarantined"): BY_NAME["killed before"]})
    world = World(fleet, weather=weather)
    world.check_complete(world.beat_until_over())
    assert [(found.model, found.reason) for found in world.ledger.list_quarantined()] == [("pump2", Reason.CRASHED)]


class Crossed(MemoryBlobs):
    """Predictions that somebody else writes just before each copy of ours."""

    def __init__(self, meanwhile: Callable[[Blobs, str, str], None]) -> None:
        super().__init__("memory://predictions")
        self.meanwhile = meanwhile

    def copy(self, source: Blobs, path: str, name: str, replaces: str | None) -> BlobInfo:
        self.meanwhile(source, path, name)
        return super().copy(source, path, name, replaces)


@pytest.mark.parametrize("rounds", [1, 2])
def test_another_host_that_copies_the_same_in_this_moment_is_welcome(place: Place, rounds: int) -> None:
    if rounds == 2:
        place.commit(b"one")
    quicker = Crossed(lambda source, path, name: None if source.read(path) == b"one" else _write(place, name, b"new"))
    quicker._blobs = place.predictions._blobs
    place.choose(b"new", attempt=2)
    assert copy_parts(place.work, quicker, WINDOW, place.chunk)[0].etag == found(place).etag
    assert place.read() == [b"new"]


@pytest.mark.parametrize("rounds", [1, 2])
def test_another_content_that_comes_in_this_moment_stays(place: Place, rounds: int) -> None:
    if rounds == 2:
        place.commit(b"one")
    foreign = Crossed(lambda _source, _path, name: _write(place, name, b"somebody else's"))
    foreign._blobs = place.predictions._blobs
    place.choose(b"new", attempt=2)
    with pytest.raises(FleetError, match="is not ours"):
        copy_parts(place.work, foreign, WINDOW, place.chunk)
    assert place.read() == [b"somebody else's"]


def _write(place: Place, name: str, data: bytes) -> None:
    place.predictions.write(name, data)


# Without a folder of predictions


def test_without_a_folder_parts_stay_where_the_node_wrote_them(place: Place) -> None:
    chosen = place.choose(b"one", b"two").chosen
    assert chosen

    parts = copy_parts(place.work, place.predictions, WINDOW, place.chunk, has_folder=False)

    assert (parts, place.read()) == (chosen.parts, [])
    committed = replace(CHUNK, committed=chosen)
    assert has_earlier_parts(place.work, place.predictions, WINDOW, committed)
    place.work.write(parts[1].path, b"other rows")
    assert not has_earlier_parts(place.work, place.predictions, WINDOW, committed)
    with pytest.raises(Malformed, match=r"1\.parquet: expected 3 bytes with MD5 .*, got 10 with"):
        copy_parts(place.work, place.predictions, WINDOW, place.chunk, has_folder=False)


def test_a_further_round_without_a_folder_removes_the_copies_of_before(place: Place) -> None:
    place.commit(b"one", b"two")
    place.choose(b"three", attempt=2)

    for _ in range(2):  # a tick was killed before it recorded the first
        (part,) = copy_parts(place.work, place.predictions, WINDOW, place.chunk, has_folder=False)

    assert (part.etag, place.read()) == ("", [])


def test_a_further_round_with_a_folder_again_copies_its_parts(place: Place) -> None:
    chosen = place.choose(b"one").chosen
    place.chunk = replace(CHUNK, committed=chosen)
    place.commit(b"three", attempt=2)

    assert place.read() == [b"three"]


def test_the_copy_of_somebody_else_is_not_removed(place: Place) -> None:
    place.commit(b"one")
    place.predictions.write(prediction_path(WINDOW, "c00000", 0), b"of a person")
    place.choose(b"three", attempt=2)

    copy_parts(place.work, place.predictions, WINDOW, place.chunk, has_folder=False)

    assert place.read() == [b"of a person"]
