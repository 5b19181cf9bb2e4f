"""READINGS_PATH: which folders and files hold the readings of a window, and what their names say. Pure.

A pattern has codes of strftime, the tokens of Event Hubs Capture and of Stream Analytics, `{device}` and `{sensor}`,
and `*`. Times of paths are in UTC. Sources: "Capture events through Azure Event Hubs in Azure Blob Storage" (its nine
tokens) and "Blob storage and Azure Data Lake Gen2 output from Azure Stream Analytics" ({date}, {time}, {datetime:...}).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import lru_cache
from typing import assert_never
from urllib.parse import unquote

from shared.contract.errors import Malformed
from shared.contract.model_names import find_id_problem
from shared.contract.windows import EPOCH

HOUR = timedelta(hours=1)
NULL = "__HIVE_DEFAULT_PARTITION__"  # the folder of rows without a value
_MOST_HOURS = 24 * 366 + 1  # within which the folder after a window's begins: a pattern may have years only

# What stands for parts of a time, as strftime writes them.
_TIMES = {
    "Year": "%Y", "Month": "%m", "Day": "%d", "Hour": "%H", "Minute": "%M", "Second": "%S", "date": "%Y/%m/%d",
    "time": "%H", "datetime:yyyy": "%Y", "datetime:MM": "%m", "datetime:dd": "%d", "datetime:HH": "%H",
    "datetime:mm": "%M", "datetime:ss": "%S",
}  # fmt: skip
_TEXTS = ("Namespace", "EventHub", "PartitionId")
_IDS = ("device", "sensor")
_ENDINGS = r"(?:csv|tsv|txt|json|jsonl|ndjson|avro|parquet)(?:\.(?:gz|zst|bz2|xz|zip))?"
_CODES = frozenset("YymdHMSj%")
_SIGNS = frozenset("{}*")  # of tokens: without any of them a pattern has codes of strftime alone
_TOKEN = re.compile(r"\{(?P<NAME>[^{}]*)\}|(?P<STAR>\*)|(?P<CODE>%.)")
_FINER = {"%M": r"\d\d", "%S": r"\d\d"}  # than the hours in which folders are listed
_VARIABLE = re.compile(r"\{(?:device|sensor|any|ext|end)\}|%[MS]")


def has_tokens(text: str) -> bool:
    """Whether a pattern has `{device}` or the like, or `*`: then its files are listed, and not only its folders."""
    return bool(_SIGNS & set(text))


class _Kind(Enum):
    """What a piece of a pattern is."""

    LITERAL = auto()
    NAME = auto()  # of a token, without its braces
    STAR = auto()
    CODE = auto()  # of strftime


@dataclass(frozen=True, slots=True)
class PathIds:
    """What the name of a file says of its rows; None where it says nothing."""

    device: str | None = None
    sensor: str | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """The pattern of what is between two slashes: codes of strftime, and {device}, {sensor}, {any}, {ext} and {end}.

    {end} is an ending that may be absent: the writer adds it to the pattern, as Capture adds `.avro`.
    """

    text: str

    @property
    def is_fixed(self) -> bool:
        """Whether an hour gives the whole of it."""
        return not _VARIABLE.search(self.text)

    @property
    def has_hour(self) -> bool:
        """Whether it depends on the hour, or the day, for which it is."""
        return bool(re.search("%[^MS%]", self.text))

    def format(self, hour: datetime) -> str:
        """A fixed segment's text."""
        return hour.strftime(self.text)

    def match(self, part: str, hour: datetime) -> PathIds | None:
        """What a part of a name says; None where it is not of this pattern, or holds no id that can be one.

        What begins with `.` or `_` is a marker or a log of its writer, unless the pattern itself begins so.
        """
        if part.startswith((".", "_")) and not self.text.startswith(part[0]) and "=" not in part:
            return None
        matched = re.fullmatch(_build_regex(self.text, hour), part)
        if not matched:
            return None
        if NULL in matched.groupdict().values() and self._is_key:
            return None  # the folder of rows without an id
        ids = {name: self._decode(text) for name, text in matched.groupdict().items()}
        return None if any(map(find_id_problem, ids.values())) else PathIds(ids.get("device"), ids.get("sensor"))

    def _decode(self, text: str) -> str:
        """A text without the escapes of Hive's writers, where the segment is a key with a value."""
        return unquote(text) if self._is_key else text

    @property
    def _is_key(self) -> bool:
        """Whether it is a key with a value, as Hive's writers partition."""
        return bool(re.match(r"[^={]+=", self.text))


@lru_cache(maxsize=4096)
def _build_regex(text: str, hour: datetime) -> str:
    names = {"device": "(?P<device>.+)", "sensor": "(?P<sensor>.+)", "any": ".*", "ext": _ENDINGS}
    names["end"] = rf"(?:\.{_ENDINGS})?"
    pieces = []
    for kind, piece in _split(text):
        match kind:
            case _Kind.CODE:
                pieces.append(_FINER.get(piece) or re.escape(hour.strftime(piece)))
            case _Kind.NAME:
                pieces.append(names[piece])
            case _Kind.LITERAL | _Kind.STAR:
                pieces.append(re.escape(piece))
            case _:
                assert_never(kind)
    return "".join(pieces)


def _split(text: str) -> Iterator[tuple[_Kind, str]]:
    """The pieces of a pattern, each with its kind."""
    position = 0
    for match in _TOKEN.finditer(text):
        if match.start() > position:
            yield _Kind.LITERAL, text[position : match.start()]
        kind = _Kind[match.lastgroup or ""]
        yield kind, match[kind.name]
        position = match.end()
    if position < len(text):
        yield _Kind.LITERAL, text[position:]


def _list_pieces(text: str, kind: _Kind) -> list[str]:
    return [piece for piece_kind, piece in _split(text) if piece_kind is kind]


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A pattern with tokens or stars, by its segments. *is_folder*: files are in such folders, at any depth."""

    segments: tuple[Segment, ...]
    is_folder: bool

    @classmethod
    def parse(cls, text: str) -> PathPattern | None:
        """None for a pattern that has codes of strftime alone. Raises Malformed."""
        if text.startswith("/") or ".." in text or "\\" in text:
            raise Malformed(f"expected a path within the readings such as date=%Y-%m-%d/hour=%H/, got {text!r}")
        if not has_tokens(text):
            return None
        plain = "".join(_translate(text, kind, piece) for kind, piece in _split(text))
        *folders, name = plain.split("/")
        if name and "." not in name and not re.search(r"\{(device|sensor)\}$", name):
            name += "{end}"
        segments = tuple(map(Segment, [*folders, name] if name else folders))
        pattern = cls(segments, is_folder=not name)
        pattern._check(text)  # its own
        return pattern

    def _check(self, text: str) -> None:
        """Raises Malformed where a name may be read in two ways."""
        names = [name for segment in self.segments for name in _list_pieces(segment.text, _Kind.NAME)]
        if "" in (segment.text for segment in self.segments):
            raise Malformed(f"expected a path without empty parts, got {text!r}")
        for name in (*_IDS, "ext"):
            if names.count(name) > 1:
                raise Malformed(f"expected {{{name}}} once, got {text!r}")
        for segment in self.segments:
            variable = _list_pieces(segment.text, _Kind.NAME)
            if set(variable) & set(_IDS) and len(set(variable) - {"ext", "end"}) + variable.count("any") > 1:
                raise Malformed(
                    f"expected slashes between {{device}}, {{sensor}} and what may be any text, got {text!r}: "
                    "an id may hold every other character"
                )
        last = self.segments[-1].text
        codes = [code for segment in self.segments for code in _list_pieces(segment.text, _Kind.CODE)]
        if code := next((code for code in codes if code[1] not in _CODES), ""):
            raise Malformed(f"expected codes of %Y, %m, %d, %H, %M, %S, %y or %j beside tokens, got {code} in {text!r}")
        if not self.is_folder and re.search(r"\{(device|sensor)\}$", last):
            raise Malformed(f"expected the ending of the files after an id, such as {last}.csv or {last}.{{ext}}, or a "
                            f"slash for folders, got {text!r}")  # fmt: skip

    @property
    def has_times(self) -> bool:
        """Whether the window says which files are read."""
        return any("%" in segment.text.replace("%%", "") for segment in self.segments)

    @property
    def names_device(self) -> bool:
        """Whether the path names the device of a file's rows."""
        return any("{device}" in segment.text for segment in self.segments)

    def list_hours(self, first: datetime, end: datetime) -> list[tuple[datetime, bool]]:
        """The hours of which folders are read, from *first* up to but not at *end*, and the one after.

        Each with whether it is the one after, which is read for late readings only. Of the hours whose folders have
        the same names only the first is listed.
        """
        if not self.has_times:
            return [(first.replace(minute=0, second=0, microsecond=0), False)]
        hours: dict[tuple[str, ...], tuple[datetime, bool]] = {}
        hour = first.replace(minute=0, second=0, microsecond=0)
        for _ in range((end - first) // HOUR + _MOST_HOURS):
            is_after = hour >= end
            key = tuple(hour.strftime(segment.text) for segment in self.segments)
            if is_after and key not in hours:
                return [*hours.values(), (hour, True)]
            hours.setdefault(key, (hour, False))
            hour += HOUR
        return list(hours.values())

    def list_prefixes(self, first: datetime, end: datetime) -> list[str]:
        """The folders before the first token, of the hours that `list_hours` lists."""
        return list(dict.fromkeys(self._format_prefix(hour) for hour, _ in self.list_hours(first, end)))

    @property
    def prefix(self) -> str:
        """The folder before the first token, of a pattern without times."""
        if self.has_times:
            raise ValueError("expected a pattern without times, got one with them: list_prefixes has their folders")
        return self._format_prefix(EPOCH)

    def _format_prefix(self, hour: datetime) -> str:
        folders = self.segments if self.is_folder else self.segments[:-1]
        fixed = itertools.takewhile(lambda segment: segment.is_fixed, folders)
        return "".join(f"{segment.format(hour)}/" for segment in fixed)


def _translate(text: str, kind: _Kind, piece: str) -> str:
    """A piece of READINGS_PATH in the tokens of segments. Raises Malformed."""
    if kind is _Kind.CODE:
        return piece
    if kind is _Kind.LITERAL:
        if set(piece) & set("{}"):
            raise Malformed(f"expected braces around names, got {text!r}")
        return piece
    if kind is _Kind.STAR or piece in _TEXTS:
        return "{any}"
    if piece in _IDS or piece == "ext":
        return f"{{{piece}}}"
    if piece in _TIMES:
        return _TIMES[piece]
    expected = ", ".join(f"{{{word}}}" for word in (*_IDS, "ext", *_TEXTS, *_TIMES))
    raise Malformed(f"expected tokens of {expected}, or *, got {{{piece}}} in {text!r}")
