"""Frames over pipes, between node, supervisor and worker process, with time-outs. Knows nothing of their content.

A request holds one or more models, and gets a reply for each, in their order. Each model has a random mark, and its
reply must carry it: so a reply that was sent before its request, or is another model's, is recognised.
"""

from __future__ import annotations

import os
import select
import struct
from dataclasses import dataclass, field
from enum import IntEnum

MARK = 16  # bytes
UNUSABLE = "its process gave no usable reply"
_HEADER = struct.Struct(f"<{MARK}sBHQQ")
_AT_ONCE = 2**20  # bytes that are read at a time


class FrameKind(IntEnum):
    """The kind of a frame."""

    REQUEST = 1  # score these models
    FRESH_REQUEST = 2  # score these in a worker process that has scored no others
    REPLY = 3  # a worker process's reply for one model; not checked yet
    DIED = 4  # the supervisor's report of a worker process that gave no reply
    READY = 5  # a worker process can take requests: what its sandbox lacks


class InvalidFrame(Exception):
    """Received bytes are not a frame that a worker process should send."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message. A request says how many replies it expects, and how many bytes each may have."""

    mark: bytes
    kind: FrameKind
    payload: bytes
    count: int = 1
    reply_limit: int = 0

    def to_bytes(self) -> bytes:
        """The bytes of the frame."""
        return _HEADER.pack(self.mark, self.kind, self.count, self.reply_limit, len(self.payload)) + self.payload


@dataclass(slots=True)
class PipeEnd:
    """One end of a pair of pipes."""

    read_fd: int  # file descriptors, closed by `close`
    write_fd: int
    _poll: select.poll = field(default_factory=select.poll, init=False)
    _unsent: memoryview = field(default_factory=lambda: memoryview(b""), init=False)
    _received: bytearray = field(default_factory=bytearray, init=False)

    def __post_init__(self) -> None:
        for end in (self.read_fd, self.write_fd):
            os.set_blocking(end, False)
        self._poll.register(self.read_fd, select.POLLIN)

    def send_frames(self, *frames: Frame) -> None:
        """Send frames: as much as fits into the pipe, the rest in `receive_frame`. Raises BrokenPipeError."""
        self._unsent = memoryview(b"".join([self._unsent, *(frame.to_bytes() for frame in frames)]))
        self._write_unsent()
        if self._unsent:
            self._poll.register(self.write_fd, select.POLLOUT)

    def receive_frame(self, seconds: float, limit: int) -> Frame | None:
        """The next frame, of at most *limit* bytes. None when it is not complete yet: call again.

        Waits at most *seconds* for input or output. Raises EOFError, BrokenPipeError, InvalidFrame.
        """
        ready = dict(self._poll.poll(seconds * 1000))
        if self.write_fd in ready:
            self._write_unsent()
            if not self._unsent:
                self._poll.unregister(self.write_fd)
        if self.read_fd in ready:
            return self._read_frame(limit)
        return None

    def has_input(self) -> bool:
        """Whether there is anything to receive, or the other end is closed."""
        return bool(self._received) or self.read_fd in dict(self._poll.poll(0))

    def is_closed(self) -> bool:
        """Whether the other end is closed."""
        return any(event & select.POLLHUP for _, event in self._poll.poll(0))

    def close(self) -> None:
        """Close both pipes."""
        os.close(self.read_fd)
        os.close(self.write_fd)

    def _write_unsent(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self.write_fd, self._unsent) :]
        except BlockingIOError:
            return

    def _read_frame(self, limit: int) -> Frame | None:
        """Read up to the end of the frame only, so that `has_input` shows what follows."""
        while (missing := self._count_missing(limit)) > 0:
            try:
                read = os.read(self.read_fd, min(missing, _AT_ONCE))
            except BlockingIOError:
                return None
            if not read:
                raise EOFError
            self._received += read
        frame = _parse_frame(bytes(self._received))
        self._received.clear()
        return frame

    def _count_missing(self, limit: int) -> int:
        if len(self._received) < _HEADER.size:
            return _HEADER.size - len(self._received)
        *_, length = _HEADER.unpack_from(self._received)
        if length > limit:
            raise InvalidFrame(f"expected at most {limit} bytes, got a frame of {length}")
        return _HEADER.size + int(length) - len(self._received)


def read_frame(end: int) -> Frame:
    """The next frame from a pipe whose other end is trusted, however long it takes. Raises EOFError."""
    header = _read_bytes(end, _HEADER.size)
    *_, length = _HEADER.unpack(header)
    return _parse_frame(header + _read_bytes(end, length))


def write_frame(end: int, frame: Frame) -> None:
    """Send a whole frame, however long it takes."""
    rest = memoryview(frame.to_bytes())
    while rest:
        rest = rest[os.write(end, rest) :]


def _read_bytes(end: int, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        received = os.read(end, min(count - len(data), _AT_ONCE))
        if not received:
            raise EOFError
        data += received
    return bytes(data)


def _parse_frame(data: bytes) -> Frame:
    mark, kind, count, reply_limit, _ = _HEADER.unpack_from(data)
    try:
        return Frame(mark, FrameKind(kind), data[_HEADER.size :], count, reply_limit)
    except ValueError as error:
        raise InvalidFrame(f"a frame of kind {kind}") from error
