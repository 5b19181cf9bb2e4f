"""A column of times -> microseconds since 1970 in UTC. Knows columns, not files.

Times with an offset, timestamps with a zone and numbers since 1970 are instants. All others are by the clocks of the
fleet's zone. A day alone is not a time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scorer.arrow import build_numbers, view_numbers
from shared.contract.readings.zones import is_utc
from shared.contract.scoring_options import TimeFormat
from shared.contract.windows import EPOCH

from .cells import combine_chunks, encode_texts, fill_nulls, is_text, make_unreadable
from .time_zones import NO_TIME, list_changes

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_FORMATS = {
    TimeFormat.ISO: "an ISO 8601 time",
    TimeFormat.S: "seconds since 1970",
    TimeFormat.MS: "milliseconds since 1970",
    TimeFormat.US: "microseconds since 1970",
    TimeFormat.NS: "nanoseconds since 1970",
}
# Forms that Arrow parses, and the same with an offset.
_PLAIN = r"^\d{4}-\d\d-\d\d[T ]\d\d(:\d\d(:\d\d(\.\d{1,6})?)?)?$"
_ZONED = r"^\d{4}-\d\d-\d\d[T ]\d\d(:\d\d(:\d\d(\.\d{1,6})?)?)?(Z|[+-]\d\d(:?\d\d)?)$"
# The rest of ISO 8601: basic form, weeks, days of the year; Python accepts more, such as any separator.
_DAY = r"(?P<date>\d{4}-?(?:\d\d-?\d\d|W\d\d(?:-?\d)?|\d{3}))"
_ISO = re.compile(
    _DAY + r"[T ](?P<hour>\d\d)(?P<rest>(?::?\d\d(?::?\d\d(?:\.\d+)?)?)?) ?(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?"
)
_DAY_ONLY = f"^{_DAY}$"
_UTC_NAME = r"(?i) ?(\+00:?00 )?(UTC|GMT)$"  # as BigQuery, Trino and Ruby write it; Go writes both


@dataclass(frozen=True, slots=True, eq=False)
class Instants:
    """The time of each row: microseconds since 1970 in UTC, NO_TIME where it is invalid.

    *is_local*: rows without an offset; one value stands for all rows. The other two are those of `LocalInstants`.
    """

    micros: np.ndarray
    is_local: np.ndarray | bool
    change: np.ndarray | None = None
    is_skipped: np.ndarray | None = None

    def take_rows(self, indices: np.ndarray) -> Instants:
        """The time of each row of a column, of which these are the distinct times; the index after the last is none."""
        is_local, is_valid = self.is_local, self.micros != NO_TIME
        if isinstance(is_local, np.ndarray):
            alike = is_local[is_valid]
            mixed = len(alike) and (alike != alike[0]).any()
            is_local = np.append(is_local, False).take(indices) if mixed else bool(len(alike) and alike[0])
        return Instants(
            np.append(self.micros, NO_TIME).take(indices),
            is_local,
            None if self.change is None else np.append(self.change, np.int32(0)).take(indices),
            None if self.is_skipped is None else np.append(self.is_skipped, False).take(indices),
        )

    def count_local(self, rows: slice | np.ndarray) -> int:
        """How many of these rows have no offset; all of them have a time."""
        if isinstance(self.is_local, np.ndarray):
            return int(np.count_nonzero(self.is_local[rows]))
        return len(self.micros[rows]) if self.is_local else 0


def describe_time(form: TimeFormat, zone: str, text: str, *, is_skipped: bool = False) -> str:
    """What was expected where a time cell has *text*, for a message."""
    if is_skipped:
        return f"a time that the clocks of {zone} show: they are set forward over it"
    if form is TimeFormat.ISO and re.fullmatch(_DAY_ONLY, text.strip()):
        return f"{_FORMATS[form]}, not a date"
    return _FORMATS[form]


def is_iso_time(text: str) -> bool:
    """Whether a text is an ISO 8601 time, and not only a date."""
    return bool(_parse_single(re.sub(_UTC_NAME, "Z", text.strip()))[0] != NO_TIME)


def read_instants(column: pa.ChunkedArray, name: str, form: TimeFormat, zone: str = "") -> Instants:
    """The times of a column. Raises Unscorable where the whole column has another type, or days without times."""
    array = combine_chunks(column)
    kind = array.type
    if pa.types.is_timestamp(kind):
        micros = _scale_counts(_convert_integers(array.cast(pa.timestamp(kind.unit))), kind.unit)
        return _convert_zone(micros, kind.tz is None, zone)
    if pa.types.is_date(kind):
        raise _make_day_hint(name, str(kind))
    if is_text(kind):
        texts, indices = encode_texts(array)
        micros, is_local = _parse_texts(texts, name, form)
        return _convert_zone(micros, is_local, zone).take_rows(indices)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        if form is TimeFormat.ISO:
            raise _make_hint(name, kind)
        return Instants(_convert_epoch(array, form), is_local=False)
    raise make_unreadable(f"column {name!r} is {kind}, expected timestamps or {_FORMATS[form]}")


def _convert_zone(micros: np.ndarray, is_local: np.ndarray | bool, zone: str) -> Instants:
    """Times of which those that are local were read as if they were UTC."""
    if is_utc(zone) or not np.any(is_local):
        return Instants(micros, is_local)
    rows = slice(None) if is_local is True else is_local
    local = list_changes(zone).convert_local(micros[rows])
    if is_local is True:
        return Instants(local.micros, is_local, local.change, local.is_skipped)
    micros = micros.copy()
    micros[rows] = local.micros
    return Instants(
        micros, is_local, _spread_values(local.change, is_local), _spread_values(local.is_skipped, is_local)
    )


def _spread_values(values: np.ndarray | None, rows: np.ndarray | bool) -> np.ndarray | None:
    """The *values* of some *rows* among all rows; the others get 0."""
    if values is None or isinstance(rows, bool):
        return values
    spread = np.zeros(len(rows), values.dtype)
    spread[rows] = values
    return spread


def _make_hint(name: str, kind: object) -> Exception:
    return make_unreadable(
        f"column {name!r} holds whole numbers ({kind}), expected an ISO 8601 time; if they count from 1970, set "
        "the format of time (TIME_FORMAT, --time-format) to s, ms, us or ns"
    )


def _make_day_hint(name: str, got: str) -> Exception:
    return make_unreadable(
        f"column {name!r} holds dates ({got}), expected times: all rows of a day would be at its midnight; write times "
        "such as 2026-11-21T07:00:00Z, or set READINGS_COLUMNS (--columns) time=NAME to name their column"
    )


def _convert_integers(array: pa.Array) -> np.ndarray:
    return fill_nulls(array.cast(pa.int64()), NO_TIME)


def _scale_counts(counts: np.ndarray, unit: str) -> np.ndarray:
    """Counts of a unit as microseconds; NO_TIME where they do not fit."""
    if unit == "us":
        return counts
    if unit == "ns":
        return np.where(counts == NO_TIME, NO_TIME, counts // 1000)
    factor = 10**6 // _PER_SECOND[unit]
    fits = np.abs(counts // 2) < np.iinfo(np.int64).max // factor // 2
    return np.where(fits, counts * factor, NO_TIME)


def _convert_epoch(array: pa.Array, form: TimeFormat) -> np.ndarray:
    if pa.types.is_integer(array.type):
        return _scale_counts(_convert_integers(array), form)
    micros = fill_nulls(array.cast(pa.float64()), np.nan) * (10**6 / _PER_SECOND[form])
    return _round_micros(micros)


def _round_micros(micros: np.ndarray) -> np.ndarray:
    fits = np.abs(micros) < 2.0**62  # a NaN does not
    return np.where(fits, np.where(fits, micros, 0).round().astype(np.int64), NO_TIME)


def _parse_texts(texts: pa.StringArray, name: str, form: TimeFormat) -> tuple[np.ndarray, np.ndarray | bool]:
    """The time of each distinct text, and whether it has no offset."""
    texts = pc.utf8_trim_whitespace(texts)
    digits = pc.match_substring_regex(texts, r"^[+-]?\d+$")
    if form is not TimeFormat.ISO:
        numbers = pc.match_substring_regex(texts, r"^[+-]?(\d{1,18}|[1-8]\d{18})(\.\d*)?$")
        result = np.full(len(texts), NO_TIME)
        for mask, kind in ((pc.and_(numbers, digits), pa.int64()), (pc.and_not(numbers, digits), pa.float64())):
            plain = pc.replace_substring_regex(texts.filter(mask), r"^\+", "")
            result[view_numbers(mask)] = _convert_epoch(plain.cast(kind), form)
        return result, False
    if len(texts) and pc.all(digits).as_py():
        raise _make_hint(name, f"such as {texts[0].as_py()}")
    return _parse_iso(texts, name)


def _parse_iso(texts: pa.StringArray, name: str) -> tuple[np.ndarray, np.ndarray]:
    texts = pc.replace_substring_regex(texts, r"(\.\d{6})\d+", r"\1")  # .NET writes seven digits; Arrow accepts six
    micros, is_local = np.full(len(texts), NO_TIME), np.zeros(len(texts), bool)
    rest = np.arange(len(texts))
    rest = rest[_parse_common(texts, rest, micros, is_local)]
    if len(rest):
        texts = texts.take(build_numbers(rest))
        _refuse_days(texts, len(micros), name)
        texts = pc.replace_substring_regex(texts, _UTC_NAME, "Z")
        for i in np.flatnonzero(_parse_common(texts, rest, micros, is_local)).tolist():
            micros[rest[i]], is_local[rest[i]] = _parse_single(texts[i].as_py())
    return micros, is_local


def _parse_common(texts: pa.StringArray, indices: np.ndarray, micros: np.ndarray, is_local: np.ndarray) -> np.ndarray:
    """Set the times of texts in the forms that Arrow parses, at their *indices*; returns which have another form."""
    rest = np.ones(len(texts), bool)
    for pattern, zone in ((_ZONED, "UTC"), (_PLAIN, None)):
        mask = pc.match_substring_regex(texts, pattern)
        try:
            times = _convert_integers(texts.filter(mask).cast(pa.timestamp("us", zone)))
        except pa.ArrowInvalid:  # such as 30 February: parse each text alone
            continue
        matches = view_numbers(mask)
        rest[matches] = False
        micros[indices[matches]], is_local[indices[matches]] = times, zone is None
    return rest


def _refuse_days(rest: pa.StringArray, count: int, name: str) -> None:
    """Raise UNREADABLE_READINGS where all *count* distinct texts but empty ones are days, and no text has a time.

    Where only some are, these are invalid times. The texts of other forms are *rest*.
    """
    days = rest.filter(pc.match_substring_regex(rest, _DAY_ONLY))
    if len(days) and len(days) + np.count_nonzero(view_numbers(pc.utf8_length(rest)) == 0) == count:
        raise _make_day_hint(name, f"such as {days[0].as_py()}")


def _parse_single(text: str) -> tuple[Any, bool]:
    """A time in any form of ISO 8601, in microseconds, and whether it has no offset; NO_TIME where it is invalid."""
    match = _ISO.fullmatch(text.upper().replace(",", ".")) if text.isascii() else None
    if not match:
        return NO_TIME, False
    date, hour, rest, zone = match.group("date", "hour", "rest", "zone")
    midnight = hour == "24" and not rest.strip("0:.")
    try:
        if _is_ordinal(date):
            day = datetime.strptime(date.replace("-", ""), "%Y%j")  # noqa: DTZ007  # the day only
            if day.year != int(date[:4]):  # day 366 of a year of 365 days
                return NO_TIME, False
            date = day.date().isoformat()
        instant = datetime.fromisoformat(f"{date}T{'00' if midnight else hour}{rest}{zone or ''}")
        aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
        since = aware - EPOCH
    except (ValueError, OverflowError):
        return NO_TIME, False
    return (since.days + midnight) * 86_400_000_000 + since.seconds * 10**6 + since.microseconds, not zone


def _is_ordinal(date: str) -> bool:
    return "W" not in date and len(date.replace("-", "")) == 7  # noqa: PLR2004  # four of the year, three of the day
