"""What a model file is, by the beginning of its content: which reader it needs, or what to call it in a message.

A format that is to be read gets its own reader, and a case in `reader.py`. Names of files play no part.
"""

from __future__ import annotations

import codecs
import re
from enum import StrEnum

SIZE_LIMIT = 256 * 2**20  # bytes of one model, compressed or not
SIDECAR_LIMIT = 2**20  # bytes of a file that says more of a model
SAMPLE = 4096  # bytes that decide
LEAST = 4  # bytes of a text: fewer may be what is left of any format
SHOWN = 40  # characters in a message

_BINARY = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")  # control characters that no text has
_JSON = re.compile(r'\s*(?:\{\s*["}]|\[\s*(?:["{\[\]\d-]|true|false|null))')
_LIGHTGBM = re.compile(r"tree\r?\n(?:[a-z_]+=|\Z)")
_LIGHTGBM_BYTES = re.compile(rb"tree\r?\nversion=v\d")
_XGBOOST_JSON = re.compile(r'\s*\{\s*"(?:learner"\s*:\s*\{|version"\s*:\s*\[)')
_XGBOOST_UBJSON = re.compile(rb"\{L\0{7}\x07(?:learner\{|version\[)")
# Up to 3.0 XGBoost also wrote a form of its own: "binf", or 136 bytes of parameters and the objective's name.
_XGBOOST_BINARY = re.compile(rb"(?s)binf|.{136}[\x07-\x18]\0{7}(?:reg|binary|count|multi|rank|survival):[a-z]{3,}")
_HTML = re.compile(r"\s*<(?:!doctype\s+html|html)\b", re.IGNORECASE)
_XML = re.compile(r"\s*<[?!\w]")
# The opcodes that one of protocol 0 or 1 begins with, which has no head:
# https://github.com/python/cpython/blob/main/Lib/pickletools.py
_OLD_PICKLE = re.compile(rb"c[\w.]+\n[\w.]+\n|\([dl]p\d+\n")


class FileFormat(StrEnum):
    """The format of a content that is not compressed, as a message calls it."""

    SKOPS = "skops"
    PICKLE = "a pickle of protocol 2 or later"
    LIGHTGBM = "a text of LightGBM"
    XGBOOST = "a model of XGBoost as UBJSON or JSON"
    XGBOOST_BINARY = "a model of XGBoost in its old binary form"
    OLD_PICKLE = "a pickle of protocol 0 or 1"
    JSON = "JSON"
    XML = "XML"
    TEXT = "text"
    HTML = "HTML, such as the page of an error or a sign-in"
    LFS_POINTER = "a pointer of Git LFS, not the file that it stands for"
    UNKNOWN = "something else"


READ_FORMATS = f"{FileFormat.SKOPS}, {FileFormat.PICKLE}, {FileFormat.LIGHTGBM} or {FileFormat.XGBOOST}"


_TEXTS = {  # the first that fits decides
    FileFormat.LIGHTGBM: _LIGHTGBM,
    FileFormat.XGBOOST: _XGBOOST_JSON,
    FileFormat.JSON: _JSON,
    FileFormat.HTML: _HTML,
    FileFormat.XML: _XML,
}


def identify_format(data: bytes) -> FileFormat:
    """The format by the first bytes. That the rest is of this format too only its reader can say."""
    if is_skops(data):
        return FileFormat.SKOPS
    if data[:1] == b"\x80":
        return FileFormat.PICKLE
    if _OLD_PICKLE.match(data) and data.endswith(b"."):
        return FileFormat.OLD_PICKLE
    if _XGBOOST_UBJSON.match(data):
        return FileFormat.XGBOOST
    if _LIGHTGBM_BYTES.match(data):  # as below, and sooner
        return FileFormat.LIGHTGBM
    text = _decode_sample(data)
    if text is None:
        return FileFormat.XGBOOST_BINARY if _XGBOOST_BINARY.match(data) else FileFormat.UNKNOWN
    if text.startswith("version https://git-lfs.github.com/spec/"):
        return FileFormat.LFS_POINTER
    return next((form for form, pattern in _TEXTS.items() if pattern.match(text)), FileFormat.TEXT)


def is_skops(data: bytes) -> bool:
    """Whether a model file is skops, which is a zip."""
    return data[:2] == b"PK"


def describe_start(data: bytes) -> str:
    """The first characters or bytes of a content, for a message."""
    text = _decode_sample(data)
    return repr(data[:12] if text is None else text[:SHOWN])


def _decode_sample(data: bytes) -> str | None:
    """The beginning as text without a mark; None where it is too short, or not text in UTF-8."""
    if len(data) < LEAST:
        return None
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(data[:SAMPLE])
    except UnicodeDecodeError:
        return None
    return None if _BINARY.search(text) else text
