"""SenML packs in JSON (RFC 8428) -> series. Streams a file of any size, with one pack or several behind each other.

Base fields hold from the record in which they are until another record changes them, and end with their pack. Times
before 2**28 are relative to now, which a file does not say (section 4.5.3). A label that ends in `_` must be understood
(section 4.4), and we understand none. Units are kept as they are; bver 26 only adds units (RFC 8798, RFC 9100).
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedReader
from typing import Any

from shared.contract.errors import Malformed

from .options import MICRO, FormatOptions, Quality
from .series import LONGEST, Catalogue, SampleBuffer, Samples, check_time
from .text import TextFile

BATCH = 2**16  # readings that are handed on at once
RECORD_LIMIT = 2**24  # characters
RELATIVE = 2**28  # seconds; times before it are relative
VERSIONS = (10, 26)
_READ = 2**18
_GREATEST = sys.float_info.max  # integers may be greater
_ADVICE = "the clock of such a device was not set"
_NAME = re.compile(r"[A-Za-z0-9][-A-Za-z0-9:./_]*")  # section 4.5.1
_TEXTS, _NUMBERS = ("bn", "bu", "n", "u", "vs", "vd"), ("bt", "bv", "bs", "v", "s", "t", "ut")
_LABELS = {*_TEXTS, *_NUMBERS, "bver", "vb"}
_VALUES = ("v", "vs", "vb", "vd")
_BLANK = re.compile(r"[ \t\r\n\x1e]*")  # with the separator of JSON text sequences, RFC 7464


@dataclass(slots=True)
class _Pack:
    """The base fields of a pack so far."""

    name: str = ""
    unit: str = ""
    time: float = 0
    value: float = 0
    sum: float | None = None
    version: int | None = None

    def apply(self, record: dict[str, Any]) -> None:
        """Take the base fields of a record. Raises Malformed for another version."""
        self.name, self.unit = record.get("bn", self.name), record.get("bu", self.unit)
        self.time, self.value = record.get("bt", self.time), record.get("bv", self.value)
        self.sum = record.get("bs", self.sum)
        version = record.get("bver", 10 if self.version is None else self.version)
        if version not in VERSIONS or self.version not in (None, version):
            expected = VERSIONS if self.version is None else self.version
            raise Malformed(f"expected bver {expected}, the same in the whole pack, got {version!r}")
        self.version = version


@dataclass(slots=True)
class _Reader:
    options: FormatOptions
    catalogue: Catalogue
    pack: _Pack = field(default_factory=_Pack)
    buffer: SampleBuffer = field(default_factory=SampleBuffer)

    def read_record(self, record: object) -> None:
        """Keep the reading of a record, if it is a number. Raises Malformed."""
        if not isinstance(record, dict):
            raise Malformed(f"expected a record, got {json.dumps(record)[:80]}")
        _check_labels(record)
        self.pack.apply(record)
        ignored = record.keys() - _LABELS - {self.options.quality.name if self.options.quality else ""}
        self.catalogue.left_out["fields with unknown labels"] += len(ignored)
        value = self._read_value(record)
        if value is None:
            return
        name = self.pack.name + record.get("n", "")
        if not _NAME.fullmatch(name):
            raise Malformed(f"expected a name of letters, digits and -:./_, got {name!r}")
        device, sensor = self.options.name_pattern.split(name)
        code = self.catalogue.find_code(device, sensor, record.get("u", self.pack.unit))
        self.buffer.add(code, self._read_time(record), value)

    def _read_value(self, record: dict[str, Any]) -> float | None:
        """The number of a record: NaN where its quality is bad, None where it has none."""
        labels = [label for label in _VALUES if label in record]
        if len(labels) > 1:
            raise Malformed(f"expected one value, got {' and '.join(labels)}")
        label = labels[0] if labels else ""
        if label in ("vs", "vd"):
            self.catalogue.left_out["texts" if label == "vs" else "binary values"] += 1
            return None
        if not label and "s" not in record:
            if "n" in record or "t" in record:
                raise Malformed("expected a value or a sum in a record with a name or a time, got neither")
            return None  # base fields only
        quality = self.options.quality
        if quality and not self._is_good(quality, record):
            self.catalogue.gaps["bad quality"] += 1
            return math.nan
        if label == "vb":
            return float(record["vb"])
        return float(record["v"] + self.pack.value if label else record["s"] + (self.pack.sum or 0))

    def _is_good(self, quality: Quality, record: dict[str, Any]) -> bool:
        flag = record.get(quality.name)
        if flag is not None:  # a label that RFC 8428 does not define: of any type
            self.catalogue.note_flag(flag if isinstance(flag, int | float) else str(flag))
        return quality.is_good(flag)

    def _read_time(self, record: dict[str, Any]) -> int:
        """The time in microseconds: integers are exact."""
        base, offset = self.pack.time, record.get("t", 0)
        if max(abs(base), abs(offset)) > LONGEST:
            raise Malformed(f"expected a time from 1990 to 2100, got {float(base) + float(offset):.6g} s from 1970")
        micros: int = round(base * MICRO) + round(offset * MICRO)
        if base + offset >= RELATIVE:
            check_time(micros, _ADVICE)
            return micros
        if self.options.now is None:
            raise Malformed(
                f"expected a time since 1970, got {base + offset} s, which is relative to when it was sent "
                "(RFC 8428, section 4.5.3); set --now"
            )
        check_time(self.options.now + micros, _ADVICE)
        return self.options.now + micros


def read_samples(file: BufferedReader, options: FormatOptions, catalogue: Catalogue) -> Iterator[Samples]:
    """The readings of a file. Raises Malformed."""
    reader = _Reader(options, catalogue)
    for number, (is_first, record) in enumerate(_list_records(TextFile(file)), 1):
        if is_first:
            reader.pack = _Pack()
        try:
            reader.read_record(record)
        except Malformed as error:
            raise Malformed(f"record {number}: {error}") from error
        except OverflowError as error:  # a sum of integers
            raise Malformed(f"record {number}: expected numbers below 1.8e308, got a larger one") from error
        if len(reader.buffer) >= BATCH:
            yield reader.buffer.take_samples()
    yield reader.buffer.take_samples()


def _check_labels(record: dict[str, Any]) -> None:
    """Raises Malformed for labels that we would have to understand, and for values of another type."""
    if unknown := sorted(label for label in record.keys() - _LABELS if label.endswith("_")):
        raise Malformed(f"expected labels that RFC 8428 defines, got {unknown[0]!r}, which a reader must understand")
    for label, value in record.items():
        if label in _TEXTS and not isinstance(value, str):
            raise Malformed(f"expected a text as {label}, got {value!r}")
        if label in _NUMBERS and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise Malformed(f"expected a number as {label}, got {value!r}")
        if label in _NUMBERS and not -_GREATEST <= value <= _GREATEST:
            raise Malformed(f"expected a finite number as {label}, got {str(value)[:40]}")
    if not isinstance(record.get("vb", True), bool):
        raise Malformed(f"expected true or false as vb, got {record['vb']!r}")


@dataclass(slots=True)
class _Cursor:
    """A place in a text that is read in blocks."""

    file: TextFile
    decoder: json.JSONDecoder
    text: str = ""
    start: int = 0

    def peek(self) -> str:
        """The next character behind white space; "" at the end."""
        while True:
            match = _BLANK.match(self.text, self.start)
            self.start = match.end() if match else self.start
            if self.start < len(self.text) or not self._read_more():
                return self.text[self.start : self.start + 1]

    def skip(self, character: str, place: str) -> None:
        """Go on behind a character. Raises Malformed where another is next."""
        if (actual := self.peek()) != character:
            raise Malformed(f"expected {character} {place}, got {actual or 'the end of the file'}")
        self.start += 1

    def read_value(self) -> object:
        """The next value. Raises Malformed."""
        self.peek()  # white space is no part of it
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.start)
            except (ValueError, RecursionError) as error:
                if len(self.text) - self.start > RECORD_LIMIT or not self._read_more():
                    raise Malformed(f"expected a record in JSON, got {self._show()}: {error}") from error
                continue
            if end < len(self.text) or not self._read_more():  # a number may go on
                self.start = end
                return value

    def _read_more(self) -> bool:
        block = self.file.read(_READ)
        self.text, self.start = self.text[self.start :] + block, 0
        return bool(block)

    def _show(self) -> str:
        return repr(self.text[self.start : self.start + 60]) if self.start < len(self.text) else "the end of the file"


def _list_records(file: TextFile) -> Iterator[tuple[bool, object]]:
    """Each record of all packs, and whether it is the first of its pack. Raises Malformed."""
    decoder = json.JSONDecoder(object_pairs_hook=_build_record, parse_constant=_refuse_constant)
    cursor = _Cursor(file, decoder)
    while cursor.peek():
        cursor.skip("[", "at the start of a pack")
        is_first, is_end = True, cursor.peek() == "]"
        while not is_end:
            yield is_first, cursor.read_value()
            is_first, is_end = False, cursor.peek() == "]"
            if not is_end:
                cursor.skip(",", "between records")
        cursor.skip("]", "at the end of a pack")


def _build_record(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a label comes twice")
    return record


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")
