"""Memory that a node writes requests to, and a worker process reads them from, so that no pipe has to carry them.

The node alone can write there: the other processes get a descriptor that was opened for reading, and so a mapping that
cannot be made writable. Each worker process has an arena of its own, in which one request is at a time.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence

from .requests import REQUEST_BYTES

SIZE = 2 * REQUEST_BYTES  # bytes: a request has more than its files and readings; a larger one goes through the pipe


class Arena:
    """The node's side of an arena. *read_fd* is for the supervisor, and closed by who passes it on."""

    def __init__(self) -> None:
        """Raises OSError, and AttributeError where the system has no such memory."""
        own = os.memfd_create("fleetscore", os.MFD_CLOEXEC)
        try:
            os.ftruncate(own, SIZE)
            self._memory = mmap.mmap(own, SIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
            self.read_fd = os.open(f"/proc/self/fd/{own}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(own)

    def write(self, pieces: Sequence[bytes | memoryview]) -> int:
        """Write the pieces of a request one after the other. Returns their length; 0 where they do not fit."""
        length = sum(map(len, pieces))
        if length > SIZE:
            return 0
        start = 0
        for piece in pieces:
            self._memory[start : start + len(piece)] = piece
            start += len(piece)
        return length

    def close(self) -> None:
        """Give the memory back; a supervisor that is still there keeps it."""
        self._memory.close()


def make_arena() -> Arena | None:
    """An arena; None where the system has none, as outside Linux. Then pipes carry all."""
    try:
        return Arena()
    except (OSError, AttributeError):
        return None


def map_arena(read_fd: int) -> mmap.mmap:
    """The arena of a descriptor, for reading; the descriptor is closed. Raises OSError."""
    memory = mmap.mmap(read_fd, SIZE, mmap.MAP_SHARED, mmap.PROT_READ)
    os.close(read_fd)
    return memory
