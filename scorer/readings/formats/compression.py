"""A compressed file -> its content: gzip, Zstandard, bzip2, xz, or a zip archive of one file. The content decides."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow as pa

from scorer.readings.cells import make_unreadable

UNPACKED_LIMIT = 2**31  # bytes that a file may unpack to
XZ_MEMORY = 2**28  # bytes that xz may take to unpack: `xz -9` takes 65 MiB, a dictionary may ask for 4 GiB
BLOCK, PIECE = 2**14, 2**20  # bytes that are unpacked at once, and the most that these become at once
LONGEST_MAGIC = 10  # bytes of a file that show whether it is compressed

# The first bytes of each form. bzip2: its mark and the magic of a block, or of the end, since a header may begin so.
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")
_MAGICS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"\xfd7zXZ\0": "xz",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",  # an archive of no file
}
_BEGINNINGS = (b"BZh", *_MAGICS)
# Forms that are named, and not read.
_UNREAD = {
    b"\x04\x22\x4d\x18": "is compressed by LZ4",
    b"\xff\x06\0\0sNaPpY": "is compressed by Snappy",
    b"\x1f\x9d": "is compressed by compress (.Z)",
    b"7z\xbc\xaf\x27\x1c": "is a 7z archive",
    b"Rar!\x1a\x07": "is a RAR archive",
}
_TAR, _TAR_AT = (b"ustar\0", b"ustar "), 257  # its magic, and where it is
_OLE = b"\xd0\xcf\x11\xe0"
AVRO = b"Obj\x01"
PARQUET = b"PAR1"
READABLE = "CSV, JSON, Parquet or Avro"  # for messages
_HIDDEN = ("_", ".")  # names of markers, as in folders of readings
_ENCRYPTED = 1  # the bit of an entry's flags
_EXPORT = (
    "in Excel choose File, Save As, CSV UTF-8, with times as yyyy-mm-dd hh:mm:ss and no separators of thousands; where "
    "it writes semicolons and decimal commas, they are found, or set by READINGS_CSV (--csv) "
    "separator=semicolon,decimal=comma"
)

_Decompressor = bz2.BZ2Decompressor | lzma.LZMADecompressor


def is_compressed_avro(start: bytes) -> bool:
    """Whether a file that begins so is of Avro and compressed, as far as its beginning shows it."""
    return start.startswith(AVRO) and b"avro.codec\x08null" not in start


def find_compression(start: bytes) -> str:
    """By the first `LONGEST_MAGIC` bytes of a file: its compression, or "" for none."""
    if not start.startswith(_BEGINNINGS):  # nearly each of many files
        return ""
    if _BZIP2.match(start):
        return "bzip2"
    return next((name for magic, name in _MAGICS.items() if start.startswith(magic)), "")


def unpack(data: bytes) -> bytes:
    """The content of a compressed file, all members of it; of another file the same bytes. Raises Unscorable.

    At most UNPACKED_LIMIT bytes. What is packed once more, and Parquet, which compresses itself, are refused.
    """
    if data.startswith(_OLE):
        raise make_unreadable(f"is an old Excel or Office file; expected {READABLE}: {_EXPORT}")
    if unread := next((name for magic, name in _UNREAD.items() if data.startswith(magic)), ""):
        raise make_unreadable(f"{unread}; expected gzip, Zstandard, bzip2, xz, or a zip archive of one file")
    kind = find_compression(data[:LONGEST_MAGIC])
    if not kind:
        _refuse_tar(data, "")
        return data
    try:
        plain = _UNPACKERS[kind](data)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise make_unreadable(f"truncated or corrupt {kind}: {error}") from error
    except (NotImplementedError, RuntimeError) as error:  # of the zip archive
        raise make_unreadable(f"is a zip archive of an unusual kind: {error}; expected stored or deflated") from error
    if len(plain) > UNPACKED_LIMIT:
        raise make_unreadable(f"unpacks to more than {UNPACKED_LIMIT} bytes")
    _refuse_tar(plain, f" inside {kind}")
    if plain.startswith(PARQUET):
        raise make_unreadable(
            f"is Parquet inside {kind}; expected Parquet as it is, which compresses its columns itself"
        )
    if inner := find_compression(plain[:LONGEST_MAGIC]):
        raise make_unreadable(f"is {inner} inside {kind}; expected one compression")
    return plain


def _refuse_tar(data: bytes, place: str) -> None:
    """Raises Unscorable for an archive, whose header has NULs before its magic; text has none."""
    if data.startswith(_TAR, _TAR_AT) and b"\0" in data[:_TAR_AT]:
        raise make_unreadable(f"is a tar archive{place}; expected its files one by one, or a zip archive of one file")


def _unpack_gzip(data: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        return _read_pieces(file, UNPACKED_LIMIT)


def unpack_zstandard(data: bytes | memoryview, limit: int) -> bytes:
    """The content of a Zstandard stream, or more than *limit* bytes of it. Raises OSError.

    pyarrow 26.0 takes memory for all that a read may give, and keeps it where the stream is broken.
    """
    with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as file:
        return _read_pieces(file, limit)


def _read_pieces(file: Any, limit: int) -> bytes:
    """All of a stream, or more than *limit* bytes of it: a read takes memory for all that it may give."""
    pieces, size = list[bytes](), 0
    while size <= limit and (piece := file.read(PIECE)):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def _unpack_streams(data: bytes, make_decompressor: Callable[[], _Decompressor]) -> bytes:
    """The content of all streams that follow each other. Other bytes behind one are an error, but for zeros."""
    file, parts, size = io.BytesIO(data), list[bytes](), 0
    block = file.read(BLOCK)
    while block and size <= UNPACKED_LIMIT:
        stream = make_decompressor()
        while not stream.eof and size <= UNPACKED_LIMIT:
            if stream.needs_input and not block:
                raise EOFError("the file ends within a stream")
            parts.append(stream.decompress(block, PIECE))
            size += len(parts[-1])
            block = file.read(BLOCK) if stream.needs_input and not stream.eof else b""
        block = stream.unused_data.lstrip(b"\0")
        while not block and (following := file.read(BLOCK)):
            block = following.lstrip(b"\0")
    return b"".join(parts)


def _unpack_zip(data: bytes) -> bytes:
    """The content of the only file of an archive; its path and name decide nothing."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [entry.filename for entry in archive.infolist()]
        if "[Content_Types].xml" in names or "mimetype" in names:
            raise make_unreadable(
                f"is a workbook of Excel or of another office program; expected {READABLE}: {_EXPORT}"
            )
        entries = [entry for entry in archive.infolist() if not entry.is_dir() and not _is_hidden(entry.filename)]
        if len(entries) != 1:
            listed = ", ".join(repr(entry.filename) for entry in entries[:5])
            more = ", ..." * (len(entries) > 5)  # noqa: PLR2004  # a readable message
            raise make_unreadable(
                f"is a zip archive of {len(entries)} files{': ' * bool(entries)}{listed}{more}; expected one file in it"
            )
        if entries[0].flag_bits & _ENCRYPTED:
            raise make_unreadable(
                f"is a zip archive whose file {entries[0].filename!r} is encrypted; expected it plain"
            )
        with archive.open(entries[0]) as file:
            return _read_pieces(file, UNPACKED_LIMIT)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(_HIDDEN) and part not in (".", "..") for part in name.split("/"))


_UNPACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": _unpack_gzip,
    "Zstandard": lambda data: unpack_zstandard(data, UNPACKED_LIMIT),
    "bzip2": partial(_unpack_streams, make_decompressor=bz2.BZ2Decompressor),
    "xz": partial(
        _unpack_streams, make_decompressor=partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, memlimit=XZ_MEMORY)
    ),
    "zip": _unpack_zip,
}
