"""Frames over pipes, between node, supervisor and worker process, with time-outs. Knows nothing of their content.

A request holds one or more models, and gets a reply for each, in their order. Each model has a random mark, and its
reply must carry it: so a reply that was sent before its request, or is another model's, is recognised.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import select
import struct
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum

MARK = 16  # bytes
UNUSABLE = "its process gave no usable reply"
_HEADER = struct.Struct(f"<{MARK}sBHQQ")
_AT_ONCE = 2**20  # bytes of a frame that are read at a time, and that a pipe holds where the system lets it
_BUFFERED = 2**16  # bytes that are read at a time where small frames may follow each other
_PIECES = 16  # that are written at a time: as many as POSIX promises


class FrameKind(IntEnum):
    """The kind of a frame."""

    REQUEST = 1  # score these models
    FRESH_REQUEST = 2  # score these in a worker process that has scored no others, and send each reply at once
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
    payload: bytes | bytearray
    count: int = 1
    reply_limit: int = 0
    tail: tuple[bytes | memoryview, ...] = ()  # what follows the payload, and is received as a part of it

    def to_bytes(self) -> bytes:
        """The bytes of the frame."""
        return b"".join(self.to_pieces())

    def to_pieces(self) -> tuple[bytes | bytearray | memoryview, ...]:
        """The bytes of the frame, without a copy of its payload."""
        length = len(self.payload) + sum(map(len, self.tail))
        return _HEADER.pack(self.mark, self.kind, self.count, self.reply_limit, length), self.payload, *self.tail


@dataclass(slots=True)
class PipeEnd:
    """One end of a pair of pipes."""

    read_fd: int  # file descriptors, closed by `close`
    write_fd: int
    _poll: select.poll = field(default_factory=select.poll, init=False)
    _unsent: deque[memoryview] = field(default_factory=deque, init=False)
    _buffer: bytearray = field(default_factory=bytearray, init=False)  # received, and of no frame yet
    _header: bytes = field(default=b"", init=False)  # of the frame that is being received
    _payload: bytearray = field(default_factory=bytearray, init=False)  # of its length, and as far as it was received
    _missing: int = field(default=0, init=False)  # bytes of its payload

    def __post_init__(self) -> None:
        for end in (self.read_fd, self.write_fd):
            os.set_blocking(end, False)
            with suppress(OSError, AttributeError):  # a user's pipes are full, or it is no Linux
                fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, _AT_ONCE)
        self._poll.register(self.read_fd, select.POLLIN)

    def send_frames(self, *frames: Frame) -> None:
        """Send frames: as much as fits into the pipe, the rest in `receive_frame`. Raises BrokenPipeError."""
        self._unsent += (memoryview(piece) for frame in frames for piece in frame.to_pieces() if piece)
        self._write_unsent()
        if self._unsent:
            self._poll.register(self.write_fd, select.POLLOUT)

    def receive_frame(self, seconds: float, limit: int) -> Frame | None:
        """The next frame, of at most *limit* bytes. None when it is not complete yet: call again.

        Waits at most *seconds* for input or output. Raises EOFError, BrokenPipeError, InvalidFrame.
        """
        if frame := self._take_frame(limit):
            return frame
        ready = dict(self._poll.poll(seconds * 1000))
        if self.write_fd in ready:
            self._write_unsent()
            if not self._unsent:
                self._poll.unregister(self.write_fd)
        while self.read_fd in ready and self._read_more():
            if frame := self._take_frame(limit):
                return frame
        return None

    def has_more(self) -> bool:
        """Whether a part of the next frame was received already."""
        return bool(self._header or self._buffer)

    def has_input(self) -> bool:
        """Whether there is anything to receive, or the other end is closed."""
        return self.has_more() or self.read_fd in dict(self._poll.poll(0))

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
                count = os.writev(self.write_fd, list(itertools.islice(self._unsent, _PIECES)))
                while count:
                    piece = self._unsent.popleft()
                    if len(piece) > count:
                        self._unsent.appendleft(piece[count:])
                    count -= min(count, len(piece))
        except BlockingIOError:
            return

    def _read_more(self) -> bool:
        """Receive some bytes; False where there are none now. Raises EOFError."""
        try:
            if self._missing > _BUFFERED:
                count = _read_into(self.read_fd, self._payload, self._missing)
                self._missing -= count
            else:
                piece = os.read(self.read_fd, _BUFFERED)
                self._buffer += piece
                count = len(piece)
        except BlockingIOError:
            return False
        if not count:
            raise EOFError
        return True

    def _take_frame(self, limit: int) -> Frame | None:
        """The frame whose last bytes were received; None where it is not complete. Raises InvalidFrame."""
        if not self._header:
            if len(self._buffer) < _HEADER.size:
                return None
            self._header = bytes(self._buffer[: _HEADER.size])
            del self._buffer[: _HEADER.size]
            self._missing = _get_length(self._header)
            if self._missing > limit:
                raise InvalidFrame(f"expected at most {limit} bytes, got a frame of {self._missing}")
            self._payload = bytearray(self._missing)
        if self._missing and self._buffer:
            count, start = min(self._missing, len(self._buffer)), len(self._payload) - self._missing
            self._payload[start : start + count] = self._buffer[:count]
            del self._buffer[:count]
            self._missing -= count
        if self._missing:
            return None
        header, payload = self._header, self._payload
        self._header, self._payload = b"", bytearray()
        return _make_frame(header, payload)


def read_frame(end: int) -> Frame:
    """The next frame from a pipe whose other end is trusted, however long it takes. Raises EOFError."""
    header = _read_bytes(end, _HEADER.size)
    return _make_frame(header, _read_bytes(end, _get_length(header)))


def write_frames(end: int, *frames: Frame) -> None:
    """Send whole frames, however long it takes."""
    rest = memoryview(b"".join(piece for frame in frames for piece in frame.to_pieces()))
    while rest:
        rest = rest[os.write(end, rest) :]


def open_pipes() -> tuple[tuple[int, int], tuple[int, int]]:
    """Two pipes. Raises OSError, and then has opened none."""
    first = os.pipe()
    try:
        return first, os.pipe()
    except OSError:
        for end in first:
            os.close(end)
        raise


def _read_bytes(end: int, length: int) -> bytearray:
    content, missing = bytearray(length), length
    while missing:
        count = _read_into(end, content, missing)
        if not count:
            raise EOFError
        missing -= count
    return content


def _read_into(end: int, content: bytearray, missing: int) -> int:
    """Read what a pipe has into the last *missing* bytes of *content*. Returns how many; 0 where it was closed."""
    with memoryview(content) as view:
        return os.readv(end, [view[len(content) - missing :]])


def _get_length(header: bytes | bytearray) -> int:
    *_, length = _HEADER.unpack(header)
    return int(length)


def _make_frame(header: bytes | bytearray, payload: bytearray) -> Frame:
    mark, kind, count, reply_limit, _ = _HEADER.unpack(header)
    try:
        return Frame(mark, FrameKind(kind), payload, count, reply_limit)
    except ValueError as error:
        raise InvalidFrame(f"a frame of kind {kind}") from error
