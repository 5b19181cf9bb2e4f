"""Which format a file has, by how its content begins, whatever its name; and the reader of each format."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

from shared.contract.errors import Malformed

from . import line_protocol, senml, tdms
from .mdf4_process import Mdf4Process
from .options import Format, FormatOptions
from .series import Catalogue, Samples

_MDF4 = Mdf4Process()
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


@dataclass(slots=True)
class FileReader:
    """Reads files of all formats, one after the other, as one conversion."""

    options: FormatOptions
    catalogue: Catalogue
    owners: dict[int, str] = field(default_factory=dict)  # the series of line protocol, over all files

    def read_samples(self, path: Path, kind: Format) -> Iterator[Samples]:
        """The readings of a file of a format. Raises Malformed, and Misconfigured where a package is missing."""
        match kind:
            case Format.MDF4:
                yield from _MDF4.read_samples(path, self.options, self.catalogue)
            case Format.TDMS:
                yield from tdms.read_samples(path, self.options, self.catalogue)
            case Format.SENML:
                with path.open("rb") as file:
                    yield from senml.read_samples(file, self.options, self.catalogue)
            case Format.LINE_PROTOCOL:
                with path.open("rb") as file:
                    yield from line_protocol.read_samples(file, self.options, self.catalogue, self.owners)
            case _:
                assert_never(kind)
