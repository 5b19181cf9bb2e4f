"""A column of times -> microseconds since 1970 in UTC. Knows columns, not files."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scorer.arrow import view_numbers
from shared.contract.scoring_options import TimeFormat
from shared.contract.windows import EPOCH

from .cells import combine_chunks, encode_texts, fill_nulls, is_text, make_unreadable

NO_TIME = np.iinfo(np.int64).min  # NumPy's NaT

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_FORMATS = {
    TimeFormat.ISO: "an ISO 8601 time",
    TimeFormat.S: "seconds since 1970",
    TimeFormat.MS: "milliseconds since 1970",
    TimeFormat.US: "microseconds since 1970",
    TimeFormat.NS: "nanoseconds since 1970",
}
# Forms that Arrow parses, and the same with an offset.
_PLAIN = r"^\d{4}-\d\d-\d\d([T ]\d\d(:\d\d(:\d\d(\.\d{1,6})?)?)?)?$"
_ZONED = r"^\d{4}-\d\d-\d\d[T ]\d\d(:\d\d(:\d\d(\.\d{1,6})?)?)?(Z|[+-]\d\d(:?\d\d)?)$"
# The rest of ISO 8601: basic form, weeks, days of the year; Python accepts more, such as any separator.
_ISO = re.compile(
    r"(?P<date>\d{4}-?(?:\d\d-?\d\d|W\d\d(?:-?\d)?|\d{3}))"
    r"(?:[T ](?P<hour>\d\d)(?P<rest>(?::?\d\d(?::?\d\d(?:\.\d+)?)?)?) ?(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?)?"
)


def describe_format(form: TimeFormat) -> str:
    """The expected content of a time cell, for a message."""
    return _FORMATS[form]


def read_instants(column: pa.ChunkedArray, name: str, form: TimeFormat) -> np.ndarray:
    """int64, NO_TIME for an invalid cell. Raises Unscorable where the whole column has another type."""
    array = combine_chunks(column)
    kind = array.type
    if pa.types.is_timestamp(kind):
        return _scale_counts(_convert_integers(array.cast(pa.timestamp(kind.unit))), kind.unit)
    if pa.types.is_date(kind):
        return _scale_counts(_convert_integers(array.cast(pa.timestamp("ms"))), "ms")
    if is_text(kind):
        texts, indices = encode_texts(array)
        return np.append(_parse_texts(texts, name, form), NO_TIME).take(indices)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        if form is TimeFormat.ISO:
            raise _make_hint(name, kind)
        return _convert_epoch(array, form)
    raise make_unreadable(f"column {name!r} is {kind}, expected timestamps or {_FORMATS[form]}")


def _make_hint(name: str, kind: object) -> Exception:
    return make_unreadable(
        f"column {name!r} holds whole numbers ({kind}), expected an ISO 8601 time; if they count from 1970, set "
        "the format of time to s, ms, us or ns"
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


def _parse_texts(texts: pa.StringArray, name: str, form: TimeFormat) -> np.ndarray:
    """The time of each distinct text."""
    texts = pc.utf8_trim_whitespace(texts)
    digits = pc.match_substring_regex(texts, r"^[+-]?\d+$")
    if form is not TimeFormat.ISO:
        numbers = pc.match_substring_regex(texts, r"^[+-]?(\d{1,18}|[1-8]\d{18})(\.\d*)?$")
        result = np.full(len(texts), NO_TIME)
        for mask, kind in ((pc.and_(numbers, digits), pa.int64()), (pc.and_not(numbers, digits), pa.float64())):
            plain = pc.replace_substring_regex(texts.filter(mask), r"^\+", "")
            result[view_numbers(mask)] = _convert_epoch(plain.cast(kind), form)
        return result
    if len(texts) and pc.all(digits).as_py():
        raise _make_hint(name, f"such as {texts[0].as_py()}")
    return _parse_iso(texts)


def _parse_iso(texts: pa.StringArray) -> np.ndarray:
    texts = pc.replace_substring_regex(texts, r"(\.\d{6})\d+", r"\1")  # .NET writes seven digits; Arrow accepts six
    result = np.full(len(texts), NO_TIME)
    rest = np.ones(len(texts), bool)
    for pattern, zone in ((_ZONED, "UTC"), (_PLAIN, None)):
        mask = pc.match_substring_regex(texts, pattern)
        try:
            times = _convert_integers(texts.filter(mask).cast(pa.timestamp("us", zone)))
        except pa.ArrowInvalid:  # such as 30 February: parse each text alone
            continue
        matches = view_numbers(mask)
        result[matches], rest[matches] = times, False
    for i in np.flatnonzero(rest):
        result[i] = _parse_single(texts[int(i)].as_py())
    return result


def _parse_single(text: str) -> Any:
    """A time in any form of ISO 8601, in microseconds; NO_TIME where it is invalid."""
    match = _ISO.fullmatch(text.upper().replace(",", ".")) if text.isascii() else None
    if not match:
        return NO_TIME
    date, hour, rest, zone = match.group("date", "hour", "rest", "zone")
    midnight = hour == "24" and not rest.strip("0:.")
    try:
        if _is_ordinal(date):
            day = datetime.strptime(date.replace("-", ""), "%Y%j")  # noqa: DTZ007  # the day only
            if day.year != int(date[:4]):  # day 366 of a year of 365 days
                return NO_TIME
            date = day.date().isoformat()
        text = f"{date}T{'00' if midnight else hour or '00'}{rest or ''}{zone or ''}"
        instant = datetime.fromisoformat(text)
        aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
        since = aware - EPOCH
    except (ValueError, OverflowError):
        return NO_TIME
    return (since.days + midnight) * 86_400_000_000 + since.seconds * 10**6 + since.microseconds


def _is_ordinal(date: str) -> bool:
    return "W" not in date and len(date.replace("-", "")) == 7  # noqa: PLR2004  # four of the year, three of the day
