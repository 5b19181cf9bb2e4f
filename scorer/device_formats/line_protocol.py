r"""InfluxDB's line protocol: `measurement,tags fields timestamp` -> series. Streams a file of any size.

https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/ . A backslash escapes only what would end the
name that it is in: `C:\Temp` holds a backslash. Strings may hold line ends. This reader is our own, since the package
line_protocol_parser refuses numbers below 2.2e-308 (findings/), and does not cut files into lines.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BufferedReader

from shared.contract.errors import Malformed

from .options import END, FIRST, MICRO, FormatOptions, Precision, describe_time
from .series import Catalogue, SampleBuffer, Samples
from .text import TextFile

BATCH = 2**16  # readings that are handed on at once
LINE_LIMIT = 2**20  # characters
_READ = 2**18
_DIGITS = 20  # of 64 bits, with a sign

_MEASUREMENT = r"(?:[^, \\\n]++|\\[, ]|\\(?![, ]))++"
_KEY = r"(?:[^,= \\\n]++|\\[,= ]|\\(?![,= ]))++"
_STRING = r'"(?:[^"\\]++|\\[\s\S])*+"'
_VALUE = rf"(?:{_STRING}|[^\",\s][^,\s]*+)"
LINE = re.compile(
    rf" *+(?![#\n])({_MEASUREMENT})((?:,{_KEY}={_KEY})*+) ++({_KEY}={_VALUE}(?:,{_KEY}={_VALUE})*+)"
    r"(?: ++(-?\d+))?+ *+\r?(?:\n|\Z)"
)
_BLANK = re.compile(r"[ \t\r]*+(?:#[^\n]*+)?(?:\n|\Z)")
_TAG = re.compile(rf",({_KEY})=({_KEY})")
_FIELD = re.compile(rf"({_KEY})=({_VALUE})(?:,|\Z)")
_ESCAPED = re.compile(r"\\([,= ])")
_ESCAPED_IN_STRING = re.compile(r'\\(["\\])')
_FLOAT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_INTEGER = re.compile(r"[+-]?\d+i|\d+u")
_TRUE, _FALSE = ("t", "T", "true", "True", "TRUE"), ("f", "F", "false", "False", "FALSE")


@dataclass(slots=True)
class _Source:
    """What is known of the series of a measurement and its tags, by the text that they are written as."""

    device: str
    parts: Mapping[str, str]  # for the names of sensors
    identity: str  # measurement and tags that are not the device
    tags: Mapping[str, str]
    codes: dict[str, int] = field(default_factory=dict)  # by field


@dataclass(slots=True)
class _Reader:
    options: FormatOptions
    catalogue: Catalogue
    owners: dict[int, str]  # by the code of a series: the measurement and tags that it is from
    per_second: int  # timestamps
    sources: dict[str, _Source] = field(default_factory=dict)
    buffer: SampleBuffer = field(default_factory=SampleBuffer)

    def read_line(self, match: re.Match[str]) -> None:
        """Keep the readings of a line. Raises Malformed."""
        prefix, fields, timestamp = match[1] + match[2], match[3], match[4]
        if timestamp is None:
            raise Malformed("expected a timestamp, got a line without one: InfluxDB would date it by its own clock")
        time = self._read_time(timestamp)
        source = self.sources.get(prefix)
        if source is None:
            source = self.sources[prefix] = self._make_source(match[1], match[2])
        cells = {name: _parse_value(text) for name, text in _FIELD.findall(fields)}  # of two of one name the last
        is_good = self._is_good(source, cells)
        for name, value in cells.items():
            if isinstance(value, str):
                self.catalogue.left_out["texts"] += 1
                continue
            code = source.codes.get(name)
            if code is None:
                code = source.codes[name] = self._find_code(source, name)
            self.buffer.add(code, time, float(value) if is_good else math.nan)
        if not is_good:
            self.catalogue.gaps["bad quality"] += sum(not isinstance(value, str) for value in cells.values())

    def _read_time(self, text: str) -> int:
        if len(text) > _DIGITS:
            raise Malformed(f"expected a timestamp of 64 bits, got {len(text)} characters: {text[:_DIGITS]}...")
        precision, timestamp = self.options.precision, int(text)
        time = timestamp * MICRO // self.per_second
        if not FIRST <= time < END:
            fitting = [unit for unit in Precision if FIRST <= unit.to_micros(timestamp) < END]
            advice = " or ".join(f"--precision {unit}" for unit in fitting) or "no --precision fits"
            raise Malformed(
                f"expected a time from 1990 to 2100 in {precision}, got {timestamp}, which is {describe_time(time)}; "
                f"{'set ' if fitting else ''}{advice}"
            )
        return time

    def _is_good(self, source: _Source, cells: dict[str, float | str]) -> bool:
        """Whether the line's quality says so. Its field is taken out of the cells: it is no reading."""
        quality = self.options.quality
        if quality is None:
            return True
        flag = cells.pop(_escape(quality.name), source.tags.get(quality.name))
        if flag is None:
            return False
        self.catalogue.note_flag(flag)
        return quality.is_good(flag)

    def _make_source(self, measurement: str, text: str) -> _Source:
        pairs = [(_unescape(name), _unescape(value)) for name, value in _TAG.findall(text)]
        tags = dict(pairs)
        if len(tags) < len(pairs):
            raise Malformed(f"expected each tag once, got {text[1:]!r}")
        parts = {"measurement": _unescape(measurement), **tags}
        template = self.options.device
        if template is None and len(tags) != 1:
            names = ", ".join(sorted(tags)[:20]) or "none"
            raise Malformed(f"expected one tag, which names the device, got {names}; set --device-tag, or --device")
        device = next(iter(tags.values())) if template is None else template.fill(parts)
        naming = frozenset(tags) if template is None else template.parts
        ignored = naming | self.options.ignored_tags | ({self.options.quality.name} if self.options.quality else set())
        identity = ",".join([parts["measurement"], *(f"{k}={v}" for k, v in sorted(tags.items()) if k not in ignored)])
        return _Source(device, parts, identity, tags)

    def _find_code(self, source: _Source, name: str) -> int:
        """The code of a field's series. Raises Malformed where lines of another measurement or tags have that name."""
        parts = {**source.parts, "field": _unescape(name)}
        sensor = self.options.sensor.fill(parts) if self.options.sensor else parts["field"]
        code = self.catalogue.find_code(source.device, sensor)
        owner = self.owners.setdefault(code, source.identity)
        if owner != source.identity:
            raise Malformed(
                f"expected one series for the sensor {sensor!r} of the device {source.device!r}, got {owner!r} and "
                f"{source.identity!r}; name them apart by --sensor, such as '{{measurement}}.{{field}}', or say which "
                "tags do not matter by --ignore-tags"
            )
        return code


def read_samples(
    file: BufferedReader, options: FormatOptions, catalogue: Catalogue, owners: dict[int, str]
) -> Iterator[Samples]:
    """The readings of a file. *owners*: which lines each series is from, of all files. Raises Malformed."""
    reader = _Reader(options, catalogue, owners, options.precision.per_second)
    for number, match in _list_lines(TextFile(file)):
        try:
            reader.read_line(match)
        except Malformed as error:
            raise Malformed(f"line {number}: {error}") from error
        if len(reader.buffer) >= BATCH:
            yield reader.buffer.take_samples()
    yield reader.buffer.take_samples()


def _list_lines(file: TextFile) -> Iterator[tuple[int, re.Match[str]]]:
    """Each line but blank ones and comments, with its number. Raises Malformed for what is none."""
    text, start, number, is_end = "", 0, 1, False
    while not is_end or start < len(text):
        match = LINE.match(text, start)
        end = match or _BLANK.match(text, start)
        if end is not None and end.end() > start and (is_end or text[end.end() - 1] == "\n"):
            if match:
                yield number, match
            number += text.count("\n", start, end.end())
            start = end.end()
        elif is_end or len(text) - start > LINE_LIMIT:
            line = text[start : start + 80].partition("\n")[0]
            raise Malformed(f"line {number}: expected measurement,tags fields timestamp, got {line!r}")
        else:
            block = file.read(_READ)
            text, start, is_end = text[start:] + block, 0, not block


def _parse_value(text: str) -> float | str:
    """A field's value; booleans are 0 and 1. Raises Malformed."""
    if text[0] == '"':
        return _ESCAPED_IN_STRING.sub(r"\1", text[1:-1])
    if _FLOAT.fullmatch(text):
        return float(text)
    if text in _TRUE or text in _FALSE:
        return float(text in _TRUE)
    if _INTEGER.fullmatch(text) and len(text) <= 21:  # noqa: PLR2004  # sign, 19 or 20 digits, and the type
        number = int(text[:-1])
        if (-(2**63) <= number < 2**63) if text[-1] == "i" else number < 2**64:
            return number
    raise Malformed(f"expected a number, a boolean or a string, got {text[:80]!r}")


def _unescape(text: str) -> str:
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


def _escape(name: str) -> str:
    return re.sub(r"([,= ])", r"\\\1", name)
