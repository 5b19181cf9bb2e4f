"""What a person says about files that the files do not say. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from shared.contract.documents import parse_instant
from shared.contract.errors import Malformed
from shared.contract.windows import EPOCH

from .names import FilePattern, NamePattern, Template

MICRO = 1_000_000  # in a second


def _to_micros(time: datetime) -> int:
    """Microseconds since 1970."""
    return (time - EPOCH) // timedelta(microseconds=1)


FIRST, END = (_to_micros(datetime(year, 1, 1, tzinfo=UTC)) for year in (1990, 2100))  # of readings


class Format(StrEnum):
    """A format of files."""

    SENML = "senml"
    LINE_PROTOCOL = "line-protocol"
    MDF4 = "mdf4"
    TDMS = "tdms"


class Precision(StrEnum):
    """The unit of times in line protocol."""

    NS = "ns"
    US = "us"
    MS = "ms"
    S = "s"

    @property
    def per_second(self) -> int:
        """How many of them are a second."""
        return {Precision.NS: 10**9, Precision.US: 10**6, Precision.MS: 10**3, Precision.S: 1}[self]

    def to_micros(self, time: int) -> int:
        """Microseconds, rounded down."""
        return time * MICRO // self.per_second


@dataclass(frozen=True, slots=True)
class Quality:
    """The field (or tag, label, channel) that says whether a reading is good, and what it says of a good one."""

    name: str
    good: str

    @classmethod
    def parse(cls, text: str) -> Quality:
        """`NAME=GOOD`. Raises Malformed."""
        name, equals, good = text.partition("=")
        if not (name and equals and good):
            raise Malformed(f"expected NAME=GOOD such as status=ok or quality=192, got {text!r}")
        return cls(name, good)

    def is_good(self, value: object) -> bool:
        """Whether a cell says so, by its number, where true is 1 and false 0, or else by its text."""
        return self.number == value if isinstance(value, int | float) else self.good == value

    @property
    def number(self) -> float:
        """What a good reading has where this is a number; NaN where it is none."""
        return _read_number(self.good)


def _read_number(text: str) -> float:
    try:
        return float({"true": "1", "false": "0"}.get(text.lower(), text))
    except ValueError:
        return math.nan


@dataclass(frozen=True, slots=True)
class FormatOptions:
    """The options of `readings convert` that concern the content of files."""

    format: Format | None = None  # None: by the content
    time_zone: str = ""  # of times without one; "": such a file is refused
    precision: Precision = Precision.NS
    now: int | None = None  # microseconds: what the relative times of SenML are relative to
    device: Template | None = None  # None: the file's name, or the only tag of a line
    sensor: Template | None = None  # None: the channel's or the field's name
    ignored_tags: frozenset[str] = frozenset()
    name_pattern: NamePattern = field(default_factory=NamePattern)
    file_names: FilePattern = field(default_factory=FilePattern)
    time_channel: str = ""  # of TDMS: the channel of each group that holds the times of the others
    quality: Quality | None = None
    missing_values: tuple[float, ...] = ()


_CHANNELS = frozenset((Format.MDF4, Format.TDMS))
_LINES = frozenset((Format.LINE_PROTOCOL,))


def check_use(options: FormatOptions, formats: Collection[Format]) -> None:
    """Raises Malformed where an option concerns none of the formats of the files: it would be ignored."""
    concerned = {
        "--precision": (options.precision is not Precision.NS, _LINES),
        "--ignore-tags": (options.ignored_tags, _LINES),
        "--device, --device-tag": (options.device, _LINES | _CHANNELS),
        "--sensor": (options.sensor, _LINES | _CHANNELS),
        "--name-pattern": (options.name_pattern.text, {Format.SENML}),
        "--now": (options.now, {Format.SENML}),
        "--time-zone": (options.time_zone, {Format.MDF4}),
        "--file-names": (options.file_names.text, _CHANNELS),
        "--time-channel": (options.time_channel, {Format.TDMS}),
    }
    for name, (is_set, concerning) in concerned.items():
        if is_set and concerning.isdisjoint(formats):
            expected = ", ".join(sorted(concerning))
            raise Malformed(f"{name}: expected files in {expected}, got {', '.join(sorted(formats))}")


def parse_now(text: str) -> int:
    """A time with an offset, in microseconds since 1970 in UTC. Raises Malformed."""
    try:
        return _to_micros(parse_instant(text))
    except ValueError:
        raise Malformed(f"expected a time with its offset such as 2026-11-21T07:00:00Z, got {text!r}") from None


def parse_names(text: str) -> frozenset[str]:
    """`firmware,site`."""
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def describe_time(micros: int) -> str:
    """A time for a message."""
    try:
        return (EPOCH + timedelta(microseconds=micros)).isoformat()
    except OverflowError:
        return "before the year 1" if micros < 0 else "after the year 9999"
