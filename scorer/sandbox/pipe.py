"""Frames over pipes, between node, keeper and child, without waiting for ever. Knows nothing of what is in a frame.

An order is of one or more models, and gets an answer for each, in their order. Each model has a mark that nobody can
guess, and its answer bears it: so one that was sent before its order came, or is another model's, is known for that.
"""

from __future__ import annotations

import os
import select
import struct
from dataclasses import dataclass, field
from enum import IntEnum

MARK = 16  # bytes
UNUSABLE = "its process gave no answer that can be used"
_HEADER = struct.Struct(f"<{MARK}sBHQQ")
_AT_ONCE = 2**20  # bytes that are read at a time


class Kind(IntEnum):
    """What a frame is."""

    ORDER = 1  # score these
    ALONE = 2  # score these in a child that has seen no others
    ANSWER = 3  # what a child says of one; nobody has looked at it yet
    DIED = 4  # what the keeper says of a child that gave none
    READY = 5  # of a child that can take orders: what its sandbox lacks


class Garbled(Exception):
    """What came is no frame of a child that does as it should."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message. An order says how many answers it wants, and how many bytes each may have (*room*)."""

    mark: bytes
    kind: Kind
    payload: bytes
    count: int = 1
    room: int = 0

    def to_bytes(self) -> bytes:
        """As it goes over a line."""
        return _HEADER.pack(self.mark, self.kind, self.count, self.room, len(self.payload)) + self.payload


@dataclass(slots=True)
class Line:
    """One end of a pair of pipes."""

    reads: int  # file descriptors; they are ours to close
    writes: int
    _poll: select.poll = field(default_factory=select.poll, init=False)
    _unsent: memoryview = field(default_factory=lambda: memoryview(b""), init=False)
    _heard: bytearray = field(default_factory=bytearray, init=False)

    def __post_init__(self) -> None:
        for end in (self.reads, self.writes):
            os.set_blocking(end, False)
        self._poll.register(self.reads, select.POLLIN)

    def say(self, *frames: Frame) -> None:
        """Send frames: as much as goes out at once, and the rest while we hear. Raises BrokenPipeError."""
        self._unsent = memoryview(b"".join([self._unsent, *(frame.to_bytes() for frame in frames)]))
        self._push()
        if self._unsent:
            self._poll.register(self.writes, select.POLLOUT)

    def hear(self, seconds: float, limit: int) -> Frame | None:
        """The next frame, of at most *limit* bytes. None when it is not whole yet: wait on and ask again.

        Waits no longer than *seconds* for the line to move. Raises EOFError, BrokenPipeError, Garbled.
        """
        ready = dict(self._poll.poll(seconds * 1000))
        if self.writes in ready:
            self._push()
            if not self._unsent:
                self._poll.unregister(self.writes)
        if self.reads in ready:
            return self._pull(limit)
        return None

    def stirs(self) -> bool:
        """Whether anything is there to be heard, the end of the line too."""
        return bool(self._heard) or self.reads in dict(self._poll.poll(0))

    def is_gone(self) -> bool:
        """Whether nobody holds the other end any more."""
        return any(event & select.POLLHUP for _, event in self._poll.poll(0))

    def close(self) -> None:
        """Hang up."""
        os.close(self.reads)
        os.close(self.writes)

    def _push(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self.writes, self._unsent) :]
        except BlockingIOError:
            return

    def _pull(self, limit: int) -> Frame | None:
        """Read no further than to the end of the frame, so that what follows it is noticed."""
        while (missing := self._missing(limit)) > 0:
            try:
                read = os.read(self.reads, min(missing, _AT_ONCE))
            except BlockingIOError:
                return None
            if not read:
                raise EOFError
            self._heard += read
        frame = _parsed(bytes(self._heard))
        self._heard.clear()
        return frame

    def _missing(self, limit: int) -> int:
        if len(self._heard) < _HEADER.size:
            return _HEADER.size - len(self._heard)
        *_, length = _HEADER.unpack_from(self._heard)
        if length > limit:
            raise Garbled(f"expected at most {limit} bytes, {length} were announced")
        return _HEADER.size + int(length) - len(self._heard)


def read(end: int) -> Frame:
    """The next frame from a pipe whose other end is trusted, however long it takes. Raises EOFError."""
    header = _read(end, _HEADER.size)
    *_, length = _HEADER.unpack(header)
    return _parsed(header + _read(end, length))


def write(end: int, frame: Frame) -> None:
    """Send a whole frame, however long it takes."""
    rest = memoryview(frame.to_bytes())
    while rest:
        rest = rest[os.write(end, rest) :]


def _read(end: int, count: int) -> bytes:
    read = bytearray()
    while len(read) < count:
        more = os.read(end, min(count - len(read), _AT_ONCE))
        if not more:
            raise EOFError
        read += more
    return bytes(read)


def _parsed(data: bytes) -> Frame:
    mark, kind, count, room, _ = _HEADER.unpack_from(data)
    try:
        return Frame(mark, Kind(kind), data[_HEADER.size :], count, room)
    except ValueError as error:
        raise Garbled(f"a frame of kind {kind}") from error
