"""The bytes of a model file -> a ParsedObject: its content as inert values. Nothing of it runs.

The content decides the format, not the name. No estimator's library is imported here, so this takes microseconds where
those take seconds, and a hostile file finds nothing to call.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from typing import Any

from scorer.errors import Unscorable
from shared.contract.reasons import Reason

from . import parsed, pickle_reader, skops_reader
from .estimator_kinds import ADVICE
from .parsed import Global, ParsedObject

SIZE_LIMIT = 256 * 2**20  # bytes of one model, compressed or not
LZMA_MEMORY = 256 * 2**20  # bytes that xz may use for a file; its highest preset uses 65 MiB


def read_model(data: bytes, size_limit: int = SIZE_LIMIT) -> ParsedObject:
    """The content of a model file: skops, or a pickle (joblib's too, compressed or not) of allowed globals only.

    Raises Unscorable: EMPTY_MODEL, TOO_LARGE, UNREADABLE_MODEL, UNTRUSTED_MODEL, UNSUPPORTED_MODEL, INCOMPATIBLE_MODEL.
    """
    if not data:
        raise Unscorable(Reason.EMPTY_MODEL, "the file is empty")
    if len(data) > size_limit:
        raise make_too_large(size_limit)
    data = decompress_model(data, size_limit)
    foreign: list[str] = []
    try:
        value = parsed.simplify_model(_read_value(data, size_limit, foreign))
    except Unscorable:
        raise
    except RecursionError:
        raise Unscorable(Reason.UNREADABLE_MODEL, "corrupt: it is nested deeper than any model") from None
    except (IndexError, KeyError, EOFError, struct.error) as error:
        raise Unscorable(Reason.UNREADABLE_MODEL, f"truncated or corrupt: {type(error).__name__} {error}") from error
    except Exception as error:
        if foreign:  # its own content may be of a form that our models do not have
            raise _make_unsupported(None, foreign) from error
        raise Unscorable(Reason.UNREADABLE_MODEL, f"truncated or corrupt: {error}") from error
    if foreign:
        raise _make_unsupported(value, foreign)
    if type(value) is not ParsedObject:
        raise Unscorable(Reason.UNSUPPORTED_MODEL, f"expected a model, got a {describe_kind(value)}")
    return value


def describe_kind(value: Any) -> str:
    """The type of a value of a file, for a message."""
    if type(value) is Global:
        return f"{value.name} without an instance"
    return value.kind.rpartition(".")[2] if type(value) is ParsedObject else type(value).__name__


def _make_unsupported(value: Any, foreign: list[str]) -> Unscorable:
    last = parsed.get_last_step(value)
    name = last.kind if type(last) is ParsedObject and last.kind in foreign else foreign[0]
    if name in ADVICE:
        return Unscorable(Reason.UNSUPPORTED_MODEL, f"a {name.rpartition('.')[2]} {ADVICE[name]}")
    return Unscorable(
        Reason.UNSUPPORTED_MODEL, f"expected a model of supported parts, got one with {name}: see docs/models.md"
    )


def is_skops(data: bytes) -> bool:
    """Whether a model file is skops, which is a zip; else it can only be a pickle."""
    return data[:2] == b"PK"


def _read_value(data: bytes, size_limit: int, foreign: list[str]) -> Any:
    if is_skops(data):
        return skops_reader.read_skops(data, size_limit, foreign)
    if data[:1] == b"\x80":
        return pickle_reader.read_pickle(data, foreign)
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
