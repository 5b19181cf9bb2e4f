"""The bytes of a model file -> a ParsedObject: its content as inert values. Nothing of it runs.

The content decides the format, not the name. No estimator's library is imported here, so this takes microseconds where
those take seconds, and a hostile file finds nothing to call.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable
from typing import Any, assert_never

from scorer.errors import Unscorable
from shared.contract.reasons import Reason

from . import parsed, pickle_reader, skops_reader
from .boosters import lightgbm_text, xgboost_file
from .bundle import read_bundle
from .content import Bundle
from .estimator_kinds import ADVICE
from .file_formats import READ_FORMATS, SIZE_LIMIT, FileFormat, describe_start, identify_format
from .parsed import ParsedObject

_ZLIB = (b"x\x01", b"x^", b"x\x9c", b"x\xda")  # of each level: https://www.rfc-editor.org/rfc/rfc1950#section-2.2
LZMA_MEMORY = 256 * 2**20  # bytes that xz may use for a file; its highest preset uses 65 MiB


def read_model(data: bytes, size_limit: int = SIZE_LIMIT) -> ParsedObject:
    """The estimator in a model file, with its scaler where that is in the file. Raises Unscorable, as `read_file`."""
    return read_file(data, size_limit).estimator


def read_file(data: bytes, size_limit: int = SIZE_LIMIT) -> Bundle:
    """The content of a model file: skops, a pickle (joblib's too) of allowed globals only, or a booster's own file.

    Each may be compressed.

    Raises Unscorable: EMPTY_MODEL, TOO_LARGE, UNREADABLE_MODEL, UNTRUSTED_MODEL, UNSUPPORTED_MODEL, INCOMPATIBLE_MODEL,
    UNFITTED_MODEL.
    """
    bundle: Bundle = _read_part(data, size_limit, read_bundle)
    return bundle


def read_transformer(data: bytes, size_limit: int = SIZE_LIMIT) -> Any:
    """The content of a file beside a model, which should be a transformer. Raises Unscorable, as `read_file`."""
    return _read_part(data, size_limit, lambda value: value)


def _read_part(data: bytes, size_limit: int, simplify: Callable[[Any], Any]) -> Any:
    if not data:
        raise Unscorable(Reason.EMPTY_MODEL, "the file is empty")
    if len(data) > size_limit:
        raise make_too_large(size_limit)
    data = decompress_model(data, size_limit)
    foreign: list[str] = []
    try:
        value = _read_value(data, size_limit, foreign)
        if foreign:
            raise _make_unsupported(value, foreign)
        return simplify(value)
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


def _make_unsupported(value: Any, foreign: list[str]) -> Unscorable:
    last = parsed.get_last_step(value)
    name = last.kind if type(last) is ParsedObject and last.kind in foreign else foreign[0]
    if name in ADVICE:
        return Unscorable(Reason.UNSUPPORTED_MODEL, f"a {name.rpartition('.')[2]} {ADVICE[name]}")
    return Unscorable(
        Reason.UNSUPPORTED_MODEL,
        f"expected a model of supported parts, got one with {name}: see docs/models.md",
    )


def _read_value(data: bytes, size_limit: int, foreign: list[str]) -> Any:
    """A case for each format that is read; the others are refused by what they are."""
    file_format = identify_format(data)
    expected = f"expected {READ_FORMATS}, got {file_format}"
    match file_format:
        case FileFormat.SKOPS:
            return skops_reader.read_skops(data, size_limit, foreign)
        case FileFormat.PICKLE:
            return pickle_reader.read_pickle(data, foreign)
        case FileFormat.LIGHTGBM:
            return lightgbm_text.read_text(data)
        case FileFormat.XGBOOST:
            return xgboost_file.read_xgboost_file(data)
        case FileFormat.XGBOOST_BINARY:
            message = f"{expected}, which only XGBoost up to 3.0 reads: load it there, then booster.save_model('X.ubj')"
            raise Unscorable(Reason.UNSUPPORTED_MODEL, message)
        case FileFormat.JSON | FileFormat.XML | FileFormat.TEXT:
            message = f"{expected}, which is not read yet: it begins with {describe_start(data)}"
            raise Unscorable(Reason.UNSUPPORTED_MODEL, message)
        case FileFormat.OLD_PICKLE | FileFormat.HTML | FileFormat.LFS_POINTER | FileFormat.UNKNOWN:
            raise Unscorable(Reason.UNREADABLE_MODEL, f"{expected}: it begins with {describe_start(data)}")
        case _:
            assert_never(file_format)


def decompress_model(data: bytes, size_limit: int) -> bytes:
    """The content of zlib, gzip, bzip2 or xz, which joblib can write; other bytes unchanged. Raises Unscorable."""
    reader: Any
    if data[:2] in _ZLIB or data[:2] == b"\x1f\x8b":
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
