"""Which windows are due, and how a fleet is cut."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract.domain import Model, Tally
from shared.contract.errors import Malformed
from shared.contract.manifest import PackRef
from shared.contract.windows import DAY, Window
from shared.planning.chunking import (
    PACK_LEAST,
    PACK_MOST,
    ChunkSize,
    choose_least_models,
    choose_pack_scale,
    is_suspicious,
    split_into_chunks,
    split_into_packs,
)
from shared.planning.due_windows import CatchUp, DueWindows, find_due_windows
from shared.planning.plan import Plan
from shared.planning.schedule import Schedule
from shared.state.runs import Chunk, Phase, Run

HOUR = timedelta(hours=1)
FIVE_PAST = Schedule("0 5 * * * *")


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def hour(text: str, hours: int = 1) -> Window:
    return Window(at(text), hours * HOUR)


@pytest.mark.parametrize(
    ("now", "watermark", "catch_up", "missed", "waiting"),
    [
        # the window [11, 12) is due at 12:05, and not before
        ("2026-11-21T12:04:59", "2026-11-21T11:00", CatchUp.ALL, [], []),
        ("2026-11-21T12:05:00", "2026-11-21T11:00", CatchUp.ALL, [], [hour("2026-11-21T11:00")]),
        ("2026-11-21T12:59:59", "2026-11-21T11:00", CatchUp.ALL, [], [hour("2026-11-21T11:00")]),
        # decided is decided; a clock that steps back changes nothing
        ("2026-11-21T12:05:00", "2026-11-21T12:00", CatchUp.ALL, [], []),
        ("2026-11-21T09:00:00", "2026-11-21T12:00", CatchUp.ALL, [], []),
        # on an empty ledger just the last one
        ("2026-11-21T12:05:00", None, CatchUp.ALL, [], [hour("2026-11-21T11:00")]),
        ("2026-11-21T12:04:00", None, CatchUp.ALL, [], [hour("2026-11-21T10:00")]),
        # an outage of three hours
        ("2026-11-21T14:05:00", "2026-11-21T11:00", CatchUp.ALL, [],
         [hour("2026-11-21T11:00"), hour("2026-11-21T12:00"), hour("2026-11-21T13:00")]),
        ("2026-11-21T14:05:00", "2026-11-21T11:00", CatchUp.LATEST,
         [hour("2026-11-21T11:00", 2)], [hour("2026-11-21T13:00")]),
        # of two days: what is older than a day is one row
        ("2026-11-21T12:05:00", "2026-11-19T12:00", CatchUp.ALL, [hour("2026-11-19T12:00", 24)],
         [hour("2026-11-20T12:00") for _ in range(1)] + [Window(at("2026-11-20T12:00") + i * HOUR, HOUR)
                                                         for i in range(1, 24)]),
        # the window's length was changed in the middle of one: no row is scored twice, and the gap is told
        ("2026-11-21T14:05:00", "2026-11-21T12:30", CatchUp.ALL,
         [Window(at("2026-11-21T12:30"), HOUR / 2)], [hour("2026-11-21T13:00")]),
    ],
)  # fmt: skip
def test_windows_fall_due(
    now: str, watermark: str | None, catch_up: CatchUp, missed: list[Window], waiting: list[Window]
) -> None:
    found = find_due_windows(FIVE_PAST, HOUR, at(watermark) if watermark else None, at(now), catch_up)
    assert found == DueWindows(tuple(missed), tuple(waiting))


@given(
    st.lists(st.integers(0, 60 * 72), min_size=1, max_size=40),
    st.sampled_from(list(CatchUp)),
    st.sampled_from([HOUR / 4, HOUR, 6 * HOUR, DAY]),
)
def test_whenever_ticks_come_every_window_is_decided_once(
    minutes: list[int], catch_up: CatchUp, length: timedelta
) -> None:
    watermark = None
    decided: list[Window] = []
    for minute in minutes:
        found = find_due_windows(
            FIVE_PAST, length, watermark, at("2026-11-18T00:00") + timedelta(minutes=minute), catch_up
        )
        for window in (*found.missed, *found.waiting):
            decided.append(window)
            watermark = window.end
    for one, following in itertools.pairwise(decided):
        assert one.end == following.start


def models(count: int) -> list[Model]:
    return [Model(f"pump{i:07d}", "", f"pump{i:07d}.skops", "etag") for i in range(count)]


def spanned(fleet: list[Model], size: ChunkSize, least: int = 1) -> dict[str, list[str]]:
    """The models of each pack, by its name, out of the chunks; each chunk's packs cover it."""
    found: dict[str, list[str]] = {}
    for one in split_into_chunks(fleet, size, least):
        assert sum(span.models for span in one.packs) == len(one.models)
        ids = iter(one.models)
        for span in one.packs:
            assert span.name not in found
            found[span.name] = [model.id for model in itertools.islice(ids, span.models)]
    return found


@pytest.mark.parametrize(("count", "size", "sizes"), [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (3, 1, [1, 1, 1]), (0, 5, [])])
def test_a_numbered_chunk_holds_so_many_models(count: int, size: int, sizes: list[int]) -> None:
    chunks = [one.models for one in split_into_chunks(models(count), ChunkSize(size), 1)]
    assert [len(chunk) for chunk in chunks] == sizes
    assert [m for chunk in chunks for m in chunk] == models(count)


def test_a_numbered_chunk_names_its_packs_by_its_place() -> None:
    assert [one.packs for one in split_into_chunks(models(5), ChunkSize(3), 1)] == [
        (PackRef("3-00000-0", 3),),
        (PackRef("3-00001-0", 2),),
    ]
    whole = PACK_MOST * 2 + 1
    assert [one.packs for one in split_into_chunks(models(whole), ChunkSize(whole), 1)] == [
        (
            PackRef(f"{whole}-00000-0", PACK_MOST),
            PackRef(f"{whole}-00000-1", PACK_MOST),
            PackRef(f"{whole}-00000-2", 1),
        )
    ]


def test_a_job_for_each_model_has_no_packs() -> None:
    assert [one.packs for one in split_into_chunks(models(2), ChunkSize(1), 1)] == [(), ()]


def test_auto_cuts_whole_packs_until_a_job_pays() -> None:
    fleet = models(100_000)
    sizes = [len(pack) for _, pack in split_into_packs(fleet)]
    assert sum(sizes) == len(fleet)
    assert all(PACK_LEAST <= size <= PACK_MOST for size in sizes[:-1])
    assert 8 <= len(sizes) <= 18
    chunks = [one.models for one in split_into_chunks(fleet, ChunkSize(), 30_000)]
    assert all(len(chunk) >= 30_000 for chunk in chunks[:-1])
    assert [m for chunk in chunks for m in chunk] == fleet
    assert list(spanned(fleet, ChunkSize(), 30_000).values()) == [
        [m.id for m in pack] for _, pack in split_into_packs(fleet)
    ]


@pytest.mark.parametrize(
    ("least", "scale"), [(0, 1), (1, 1), (7, 4), (1_000, 512), (4_095, 2_048), (4_096, 4_096), (9**9, 4_096)]
)
def test_where_models_are_slow_packs_are_smaller(least: int, scale: int) -> None:
    assert choose_pack_scale(least) == scale
    for name, pack in itertools.islice(split_into_packs(models(40_000), scale), 3):
        assert name.startswith(f"{scale}-")
        assert scale <= len(pack) <= 4 * scale


def test_auto_cuts_finer_where_models_are_slow() -> None:
    chunks = [one.models for one in split_into_chunks(models(5_000), ChunkSize(), 1_000)]
    assert [m for chunk in chunks for m in chunk] == models(5_000)
    assert all(1_000 <= len(chunk) < 1_000 + 4 * 512 for chunk in chunks[:-1])


def test_a_pack_of_large_files_is_cut_by_their_bytes() -> None:
    large = [replace(model, size=2**20) for model in models(600)]
    assert [len(pack) for _, pack in split_into_packs(large)] == [256, 256, 88]


def test_a_model_that_comes_moves_only_the_cuts_beside_it() -> None:
    fleet = models(200_000)
    before = spanned(fleet, ChunkSize(), 30_000)
    after = spanned([*fleet[:50_000], Model("new", "", "n", "e"), *fleet[50_000:]], ChunkSize(), 30_000)
    changed = [name for name, ids in before.items() if after.get(name) != ids]
    assert len(changed) <= 2
    assert len(before) > 15


def test_a_model_that_comes_is_the_only_new_one_in_each_numbered_pack() -> None:
    fleet = models(1_000)
    before, after = spanned(fleet, ChunkSize(100)), spanned([Model("new", "", "n", "e"), *fleet], ChunkSize(100))
    assert [len(set(ids) - set(before.get(name, ()))) for name, ids in after.items()] == [1] * 11


def test_a_chunk_is_worth_two_minutes_or_a_core_s_share() -> None:
    def ran(scored: int, seconds: float) -> Run:
        tally = Tally(scored=scored, seconds=seconds)
        return Run(hour("2026-11-21T10:00"), Phase.SUCCEEDED, at("2026-11-21T12:00"), models=scored, tally=tally)

    assert choose_least_models([], cores=4) == 36_000
    assert choose_least_models([ran(1000, 10)], cores=4) == 12_000
    assert choose_least_models([ran(100_000, 1_000)], cores=4) == 25_000
    assert (
        choose_least_models([ran(1_000_000, 100)], cores=1) == 50_000
    )  # the memory of a tick does not grow with the fleet
    assert choose_least_models([replace(ran(0, 0), models=9), ran(1000, 10)], cores=4) == 12_000


@pytest.mark.parametrize(
    ("models", "before", "last", "verdict"),
    [
        (0, None, 0, True), (5, None, 0, False), (80, None, 100, False), (79, None, 100, True),
        (79, 79, 100, False), (0, 0, 100, False), (10, 79, 100, True),
    ],
)  # fmt: skip
def test_a_fleet_that_shrank_is_listed_once_more(models: int, before: int | None, last: int, verdict: bool) -> None:
    assert is_suspicious(models, before, last) is verdict


@pytest.mark.parametrize("number", [0, 2])
def test_a_plan_comes_back_as_waiting_chunks_of_the_run_s_round(number: int) -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    run = Run(hour("2026-11-21T10:00"), Phase.RUNNING, now, round=number)
    first = Chunk(run.id, "c00000", "d1", 2, "a", "b", since=now, round=number)
    plan = Plan((first, replace(first, id="c00001", manifest="d2", models=1, first="c", last="c")), ignored=3)
    assert Plan.from_bytes(run, plan.to_bytes(), now) == plan
    assert plan.models == 3


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"schema":2,"ignored":0,"chunks":[]}', b'{"schema":1,"chunks":1}']
)
def test_a_plan_that_is_none_is_malformed(data: bytes) -> None:
    run = Run(hour("2026-11-21T10:00"), Phase.RUNNING, at("2026-11-21T12:00"))
    with pytest.raises(Malformed, match="plan of run 20261121T1000Z-PT1H"):
        Plan.from_bytes(run, data, at("2026-11-21T12:00"))


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "many", "AUTO"])
def test_a_chunk_size_is_auto_or_a_number(text: str) -> None:
    with pytest.raises(Malformed, match="expected auto or a number"):
        ChunkSize.parse(text)
