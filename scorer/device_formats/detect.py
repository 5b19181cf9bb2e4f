"""Which format a file has, by how its content begins. The name does not matter."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from shared.contract.errors import Malformed

from . import line_protocol, mdf4, senml, tdms
from .options import Format, FormatOptions
from .series import Catalogue, Samples

_LOOK = 2**16  # bytes
_TEXT = re.compile(rb"(?:\xef\xbb\xbf)?[\s\x1e]*")
_COMMENTS = re.compile(rb"(?:[ \t\r]*(?:#[^\n]*)?\n)*")
_LINE = re.compile(rb" *[^\s,=#\[{<][^\n]*? +[^\s=]+=[^\s=]")  # measurement, then a field; no markup


def find_format(path: Path) -> Format | None:
    """The format of a file; None for another one. Raises Malformed where it cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(_LOOK)
    except OSError as error:
        raise Malformed(f"expected a file that can be read, got {path}: {error.strerror}") from error
    if head.startswith((b"MDF     ", b"UnFinMF ")):
        return Format.MDF4
    if head.startswith(b"TDSm"):
        return Format.TDMS
    text = head[_end_of(_TEXT, head) :]
    if re.match(rb"\[\s*(?:[\]{]|\Z)", text):
        return Format.SENML
    return Format.LINE_PROTOCOL if _LINE.match(text[_end_of(_COMMENTS, text) :]) else None


def _end_of(pattern: re.Pattern[bytes], data: bytes) -> int:
    match = pattern.match(data)
    return match.end() if match else 0


def make_reader(options: FormatOptions, catalogue: Catalogue) -> Callable[[Path, Format], Iterator[Samples]]:
    """A function that reads a file of a format. Of all files together: line protocol may repeat a series."""
    owners: dict[int, str] = {}

    def read_file(path: Path, kind: Format) -> Iterator[Samples]:
        match kind:
            case Format.MDF4:
                yield from mdf4.read_samples(path, options, catalogue)
            case Format.TDMS:
                yield from tdms.read_samples(path, options, catalogue)
            case Format.SENML:
                with path.open("rb") as file:
                    yield from senml.read_samples(file, options, catalogue)
            case Format.LINE_PROTOCOL:
                with path.open("rb") as file:
                    yield from line_protocol.read_samples(file, options, catalogue, owners)

    return read_file
