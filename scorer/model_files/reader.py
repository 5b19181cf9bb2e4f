"""The bytes of a model file -> a ParsedObject: its content as inert values. Nothing of it runs.

The content decides the format, not the name. No estimator's library is imported here, so this takes microseconds where
those take seconds, and a hostile file finds nothing to call.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import Any

from scorer.errors import Unscorable
from shared.contract.reasons import Reason

from . import pickle_reader, skops_reader
from .parsed import ParsedObject

SIZE_LIMIT = 256 * 2**20  # bytes of one model, compressed or not
LZMA_MEMORY = 256 * 2**20  # bytes that xz may use for a file; its highest preset uses 65 MiB


def read_model(data: bytes, size_limit: int = SIZE_LIMIT) -> ParsedObject:
    """The content of a model file: skops, or a pickle (joblib's too, compressed or not) of allowed globals only.

    Raises Unscorable: EMPTY_MODEL, TOO_LARGE, UNREADABLE_MODEL, UNTRUSTED_MODEL, UNSUPPORTED_MODEL.
    """
    if not data:
        raise Unscorable(Reason.EMPTY_MODEL, "the file is empty")
    if len(data) > size_limit:
        raise make_too_large(size_limit)
    data = decompress_model(data, size_limit)
    try:
        value = _read_value(data, size_limit)
    except Unscorable:
        raise
    except RecursionError:
        raise Unscorable(Reason.UNREADABLE_MODEL, "corrupt: it is nested deeper than any model") from None
    except (IndexError, KeyError) as error:
        raise Unscorable(Reason.UNREADABLE_MODEL, f"truncated or corrupt: {type(error).__name__} {error}") from error
    except Exception as error:
        raise Unscorable(Reason.UNREADABLE_MODEL, f"truncated or corrupt: {error}") from error
    if type(value) is not ParsedObject:
        raise Unscorable(Reason.UNSUPPORTED_MODEL, f"expected an outlier detector, got a {type(value).__name__}")
    return value


def is_skops(data: bytes) -> bool:
    """Whether a model file is skops, which is a zip; else it can only be a pickle."""
    return data[:2] == b"PK"


def _read_value(data: bytes, size_limit: int) -> Any:
    if is_skops(data):
        return skops_reader.read_skops(data, size_limit)
    if data[:1] == b"\x80":
        return pickle_reader.read_pickle(data)
    raise Unscorable(
        Reason.UNREADABLE_MODEL, f"neither skops nor a pickle of protocol 2 or later: it begins with {data[:12]!r}"
    )


def decompress_model(data: bytes, size_limit: int) -> bytes:
    """The content of zlib, gzip, bzip2 or xz, which joblib can write; other bytes unchanged. Raises Unscorable."""
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
        raise make_too_large(size_limit)
    if not reader.eof:
        raise Unscorable(Reason.UNREADABLE_MODEL, "truncated: its compressed content has no end")
    return plain


def make_too_large(size_limit: int) -> Unscorable:
    """The error of a file that has, or unpacks to, more bytes than the limit."""
    return Unscorable(Reason.TOO_LARGE, f"expected at most {size_limit // 2**20} MiB, got more")
