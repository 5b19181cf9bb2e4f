"""The container of an Avro file: a header with schema and codec, then blocks of records between sync markers.

Walked here and not by fastavro, so that a file counts only where its last block ends with its last byte, and so that no
block unpacks to more than it may. What is between two blocks says nothing of those that follow: a file that is cut
there can be told by its length alone, which `files` compares with the one that it was opened with.

The format: https://avro.apache.org/docs/1.12.0/specification/#object-container-files
"""

from __future__ import annotations

import bz2
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from scorer.errors import Unscorable
from scorer.readings.cells import BROKEN, make_unreadable
from scorer.readings.formats.compression import AVRO, UNPACKED_LIMIT, XZ_MEMORY, unpack_zstandard

SYNC_SIZE = 16
HEADER_LIMIT = 4 * 2**20  # bytes of a header; a schema of 20,000 columns has 1 MB
CHECKSUM_SIZE = 4  # bytes behind a block of Snappy
_LONG_LIMIT = 10  # bytes of a number of 64 bits


@dataclass(frozen=True, slots=True)
class Header:
    """What an Avro file says of itself."""

    schema: Any  # as JSON has it; not checked yet
    codec: str
    sync: bytes
    end: int  # where the blocks begin


@dataclass(frozen=True, slots=True)
class Block:
    """Some records, unpacked."""

    number: int  # in its file, from 1 on
    n_records: int
    data: bytes | memoryview


def read_long(data: bytes | memoryview, position: int, end: int) -> tuple[int, int]:
    """A number of Avro, and the position behind it. Raises EOFError, ValueError."""
    number = 0
    for n_bytes in range(_LONG_LIMIT):
        if position >= end:
            raise EOFError
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << (7 * n_bytes)
        if byte < 0x80:  # noqa: PLR2004  # the highest bit: more bytes follow
            return (number >> 1) ^ -(number & 1), position
    raise ValueError(f"expected a number of at most {_LONG_LIMIT} bytes before byte {position}")


def write_long(number: int) -> bytes:
    """A number from 0 on, as Avro writes it."""
    rest, data = number << 1, bytearray()
    while rest > 0x7F:  # noqa: PLR2004  # the highest bit: more bytes follow
        data.append(rest & 0x7F | 0x80)
        rest >>= 7
    data.append(rest)
    return bytes(data)


def read_header(data: bytes) -> Header:
    """The header of a file that begins with AVRO. Raises Unscorable."""
    try:
        metadata, end = _read_metadata(data)
        schema = json.loads(metadata["avro.schema"])
    except EOFError:
        raise make_unreadable(f"ends within its header, at byte {len(data)}: it was cut, or is still written") from None
    except KeyError:
        raise make_unreadable("expected a schema in its header, got none") from None
    except (ValueError, RecursionError) as error:
        raise make_unreadable(f"has a header that cannot be read: {error}") from error
    codec = metadata.get("avro.codec", b"").decode("utf-8", "replace") or "null"
    if codec not in _CODECS:
        raise make_unreadable(f"is compressed by {codec[:80]!r}; expected one of {', '.join(_CODECS)}")
    return Header(schema, codec, data[end : end + SYNC_SIZE], end + SYNC_SIZE)


def _read_metadata(data: bytes) -> tuple[dict[str, bytes], int]:
    """The metadata of a header, and where the sync marker begins. Raises EOFError, ValueError."""
    metadata: dict[str, bytes] = {}
    position, end = len(AVRO), min(len(data), HEADER_LIMIT)
    try:
        while True:
            count, position = read_long(data, position, end)
            if not count:
                break
            if count < 0:  # then the size of these pairs follows
                count, (_, position) = -count, read_long(data, position, end)
            for _ in range(count):
                key, position = _read_bytes(data, position, end)
                value, position = _read_bytes(data, position, end)
                if metadata.setdefault(key.decode(), value) != value:
                    raise ValueError(f"{key.decode()!r} is repeated")
        if position + SYNC_SIZE > end:
            raise EOFError
    except EOFError:
        if end < len(data):
            raise ValueError(f"expected at most {HEADER_LIMIT} bytes") from None
        raise
    return metadata, position


def _read_bytes(data: bytes, position: int, end: int) -> tuple[bytes, int]:
    size, position = read_long(data, position, end)
    if size < 0:
        raise ValueError(f"expected a size before byte {position}, got {size}")
    if position + size > end:
        raise EOFError
    return data[position : position + size], position + size


def read_blocks(data: bytes, header: Header) -> Iterator[Block]:
    """All blocks that have records, in their order. Raises Unscorable where the file ends within one, or is damaged."""
    view, position, remaining = memoryview(data), header.end, UNPACKED_LIMIT
    number = 0
    while position < len(data):
        number += 1
        try:
            n_records, start = read_long(view, position, len(data))
            size, start = read_long(view, start, len(data))
            if n_records < 0 or size < 0:
                raise make_unreadable(f"has {n_records} records of {size} bytes in block {number}: it is damaged")
            end = start + size + SYNC_SIZE
            if end > len(data):
                raise EOFError
        except EOFError:
            raise make_unreadable(
                f"ends within block {number}, at byte {len(data)}: it was cut, or is still written"
            ) from None
        except ValueError as error:
            raise make_unreadable(f"is damaged in block {number}: {error}") from error
        if view[end - SYNC_SIZE : end] != header.sync:
            raise make_unreadable(f"has no sync marker behind block {number}, at byte {end}: it is damaged")
        content = _unpack_block(view[start : start + size], header.codec, remaining, number)
        if n_records > len(content):  # records without bytes have no columns, and there may be 2**62 of them
            raise make_unreadable(f"has {n_records} records in the {len(content)} bytes of block {number}")
        remaining -= len(content)
        position = end
        if n_records or content:
            yield Block(number, n_records, content)


def group_blocks(blocks: Iterator[Block], size: int) -> Iterator[list[Block]]:
    """The blocks in groups of about *size* bytes."""
    group, n_bytes = list[Block](), 0
    for block in blocks:
        group.append(block)
        n_bytes += len(block.data)
        if n_bytes >= size:
            yield group
            group, n_bytes = [], 0
    if group:
        yield group


def _unpack_block(data: memoryview, codec: str, limit: int, number: int) -> bytes | memoryview:
    """The records of a block, at most *limit* bytes. Raises Unscorable."""
    try:
        content = _CODECS[codec](data, limit) if len(data) else b""
    except (*BROKEN, EOFError, zlib.error, lzma.LZMAError) as error:
        raise make_unreadable(f"has a block {number} that is no {codec}: {error}") from error
    if len(content) > limit:
        raise _make_bomb_error()
    return content


def _make_bomb_error() -> Unscorable:
    return make_unreadable(f"unpacks to more than {UNPACKED_LIMIT} bytes")


def _unpack_stream(data: memoryview, limit: int, make_decompressor: Callable[[], Any]) -> bytes:
    """The content of a stream, which must end within *data*."""
    unpacker = make_decompressor()
    content: bytes = unpacker.decompress(data, limit + 1)
    if not unpacker.eof and len(content) <= limit:
        raise EOFError("it ends too early")
    return content


def _unpack_snappy(data: memoryview, limit: int) -> bytes:
    """Snappy names the size of the content first; behind it Avro writes a checksum of the content."""
    size = shift = 0
    for byte in data[:5]:
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004  # the highest bit: more bytes follow
            break
    if size > limit:
        raise _make_bomb_error()
    content = pa.decompress(data[:-CHECKSUM_SIZE], decompressed_size=size, codec="snappy", asbytes=True)
    if zlib.crc32(content) != int.from_bytes(data[-CHECKSUM_SIZE:], "big"):
        raise ValueError("its checksum is another one")
    return bytes(content)


_CODECS: Mapping[str, Callable[[memoryview, int], bytes | memoryview]] = {
    "null": lambda data, _: data,
    "deflate": partial(
        _unpack_stream, make_decompressor=partial(zlib.decompressobj, -zlib.MAX_WBITS)
    ),  # the bare stream
    "snappy": _unpack_snappy,
    "zstandard": unpack_zstandard,
    "bzip2": partial(_unpack_stream, make_decompressor=bz2.BZ2Decompressor),
    "xz": partial(_unpack_stream, make_decompressor=partial(lzma.LZMADecompressor, memlimit=XZ_MEMORY)),
}
