"""Requests are in memory that worker processes read and cannot write; those that are too large are in pipes."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from scorer.sandbox import pool, requests
from scorer.sandbox.arena import SIZE, Arena, map_arena
from scorer.sandbox.pool import WorkerPool
from tests.scorer.sandbox import misdeeds
from tests.scorer.sandbox.misdeeds import item

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such memory")


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena()
    yield made
    made.close()


def test_what_is_written_is_read_by_who_cannot_write_it(arena: Arena) -> None:
    assert arena.write([b"abc", memoryview(b"de")]) == 5
    memory = map_arena(os.dup(arena.read_fd))

    assert memory[:5] == b"abcde"
    with pytest.raises(TypeError):
        memory[:1] = b"x"
    address = np.frombuffer(memory, np.uint8).ctypes.data
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(4096), mmap.PROT_READ | mmap.PROT_WRITE) == -1
    assert ctypes.get_errno() == errno.EACCES
    with pytest.raises(PermissionError):
        mmap.mmap(arena.read_fd, SIZE, mmap.MAP_SHARED, mmap.PROT_WRITE)
    os.close(arena.read_fd)


@pytest.mark.parametrize("size", [0, 3, SIZE + 1])
def test_of_the_request_before_nothing_stays(arena: Arena, size: int) -> None:
    """The worker process may be another one by then, which never had it."""
    arena.write([b"a device's readings"])

    arena.write([b"x" * size])

    memory = map_arena(arena.read_fd)
    assert memory[:64].rstrip(b"\0") == b"x" * (size if size <= SIZE else 0)


def test_who_opens_it_once_more_cannot_map_it_for_writing_either(arena: Arena) -> None:
    again = os.open(f"/proc/self/fd/{arena.read_fd}", os.O_RDWR)
    try:
        with pytest.raises(PermissionError):
            mmap.mmap(again, SIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        with pytest.raises(PermissionError):
            os.ftruncate(again, 1)
    finally:
        os.close(again)
        os.close(arena.read_fd)


def test_what_does_not_fit_is_not_written(arena: Arena) -> None:
    os.close(arena.read_fd)

    assert arena.write([bytes(SIZE)]) == SIZE
    assert arena.write([b"x", bytes(SIZE)]) == 0


def test_a_request_is_where_its_frame_says() -> None:
    with mmap.mmap(-1, 100) as memory:
        memory[:3] = b"abc"
        with requests.find_request(requests.LENGTH.pack(3), memory) as found:
            assert bytes(found) == b"abc"
    assert bytes(requests.find_request(b"a longer one", None)) == b"a longer one"


@pytest.mark.parametrize("has_arena", [True, False])
def test_requests_of_any_size_arrive(has_arena: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_arena:
        monkeypatch.setattr(pool, "make_arena", lambda: None)
    large = np.zeros((2**17, 3))  # 4 MiB of readings
    items = [item("a"), item("b", values=large), item("c"), item("exit-3"), item("d")]

    with WorkerPool(1, scoring=misdeeds.scoring) as workers:
        ended = list(workers.score_items(items))

    assert [one.result.model for one in ended if one.result.reason] == ["exit-3"]
    assert [one.result.model for one in ended] == ["a", "b", "c", "exit-3", "d"]
