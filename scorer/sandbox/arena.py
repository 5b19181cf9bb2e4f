"""Memory that a node writes requests to, and a worker process reads them from, so that no pipe has to carry them.

The node alone can write there: the other processes get a descriptor that was opened for reading, and so a mapping that
cannot be made writable. Each worker process has an arena of its own, in which one request is at a time.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Sequence
from contextlib import suppress

from .requests import REQUEST_BYTES

_FUTURE_WRITE = 0x10  # F_SEAL_FUTURE_WRITE of Linux 5.1, which Python does not name: no further mapping may write
SIZE = 2 * REQUEST_BYTES  # bytes: a request has more than its files and readings; a larger one goes through the pipe


class Arena:
    """The node's side of an arena. *read_fd* is for the supervisor, and closed by who passes it on."""

    def __init__(self) -> None:
        """Raises OSError, and AttributeError where the system has no such memory."""
        self._n_used = 0  # bytes that have been written since they were last zero
        own = os.memfd_create("fleetscore", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(own, SIZE)
            self._memory = mmap.mmap(own, SIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
            for seal in (fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW, _FUTURE_WRITE):
                with suppress(OSError):  # an older kernel: then only the descriptor is in the way
                    fcntl.fcntl(own, fcntl.F_ADD_SEALS, seal)
            self.read_fd = os.open(f"/proc/self/fd/{own}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(own)

    def write(self, pieces: Sequence[bytes | memoryview]) -> int:
        """Write the pieces of a request one after the other. Returns their length; 0 where they do not fit.

        Of the request before nothing stays: a worker process may be another one than it was for that.
        """
        length = sum(map(len, pieces))
        if length > SIZE:
            pieces, length = (), 0
        start = 0
        for piece in pieces:
            self._memory[start : start + len(piece)] = piece
            start += len(piece)
        self._memory[length : self._n_used] = bytes(max(self._n_used - length, 0))
        self._n_used = length
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
