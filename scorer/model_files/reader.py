"""The bytes of a model blob -> a Blueprint: what the file says, as values that do nothing. Nothing of it runs.

What a file is, its content says, not its name. No estimator's library is imported here, so this room costs
microseconds where those cost seconds, and a hostile file has nothing to reach for.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import Any

from scorer.errors import Unscorable
from shared.contract.domain import Reason

from . import pickle_reader, skops_reader
from .parsed import Blueprint

SIZE_LIMIT = 256 * 2**20  # bytes of one model, packed or not
LZMA_MEMORY = 256 * 2**20  # bytes that a file may make xz take; its own highest preset takes 65 MiB


def read(data: bytes, size_limit: int = SIZE_LIMIT) -> Blueprint:
    """What a model file holds: skops, or a pickle (joblib's too, compressed or not) of allowed globals only.

    Raises Unscorable: EMPTY_MODEL, TOO_LARGE, UNREADABLE_MODEL, UNTRUSTED_MODEL, NOT_A_DETECTOR.
    """
    if not data:
        raise Unscorable(Reason.EMPTY_MODEL, "the file is empty")
    if len(data) > size_limit:
        raise too_large(size_limit)
    data = decompressed(data, size_limit)
    try:
        value = _value(data, size_limit)
    except Unscorable:
        raise
    except RecursionError:
        raise Unscorable(Reason.UNREADABLE_MODEL, "corrupt: it is nested deeper than any model") from None
    except (IndexError, KeyError) as error:
        raise Unscorable(Reason.UNREADABLE_MODEL, f"truncated or corrupt: {type(error).__name__} {error}") from error
    except Exception as error:
        raise Unscorable(Reason.UNREADABLE_MODEL, f"truncated or corrupt: {error}") from error
    if type(value) is not Blueprint:
        raise Unscorable(Reason.NOT_A_DETECTOR, f"expected an outlier detector, got a {type(value).__name__}")
    return value


def is_skops(data: bytes) -> bool:
    """Whether a model file is skops, which is a zip; else it can only be a pickle."""
    return data[:2] == b"PK"


def _value(data: bytes, size_limit: int) -> Any:
    if is_skops(data):
        return skops_reader.read(data, size_limit)
    if data[:1] == b"\x80":
        return pickle_reader.read(data)
    raise Unscorable(
        Reason.UNREADABLE_MODEL, f"neither skops nor a pickle of protocol 2 or later: it begins with {data[:12]!r}"
    )


def decompressed(data: bytes, size_limit: int) -> bytes:
    """What zlib, gzip, bzip2 or xz packed, as joblib does on request; other bytes as they are. Raises Unscorable."""
    reader: Any
    if data[:1] == b"\x78" or data[:2] == b"\x1f\x8b":
        reader = zlib.decompressobj(wbits=47)  # 32 + 15: zlib's or gzip's header, the largest window
    elif data[:3] == b"BZh":
        reader = bz2.BZ2Decompressor()
    elif data[:6] == b"\xfd7zXZ\0" or data[:3] == b"\x5d\0\0":
        reader = lzma.LZMADecompressor(memlimit=LZMA_MEMORY)
    else:
        return data
    try:
        plain: bytes = reader.decompress(data, size_limit + 1)
    except (zlib.error, OSError, lzma.LZMAError) as error:
        raise Unscorable(Reason.UNREADABLE_MODEL, f"corrupt compression: {error}") from error
    if len(plain) > size_limit:
        raise too_large(size_limit)
    if not reader.eof:
        raise Unscorable(Reason.UNREADABLE_MODEL, "truncated: its compressed content has no end")
    return plain


def too_large(size_limit: int) -> Unscorable:
    """The refusal of a file that is, or unpacks to, more than the limit in bytes."""
    return Unscorable(Reason.TOO_LARGE, f"expected at most {size_limit // 2**20} MiB, got more")
