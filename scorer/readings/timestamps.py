"""A column of times -> microseconds since 1970 in UTC. Knows columns, not files."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scorer.arrow import view
from shared.contract.scoring_options import TimeFormat
from shared.contract.windows import EPOCH

from .cells import encoded, filled, is_text, unreadable, whole

NO_TIME = np.iinfo(np.int64).min  # NumPy's NaT

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_FORMATS = {
    TimeFormat.ISO: "an ISO 8601 time",
    TimeFormat.S: "seconds since 1970",
    TimeFormat.MS: "milliseconds since 1970",
    TimeFormat.US: "microseconds since 1970",
    TimeFormat.NS: "nanoseconds since 1970",
}
# What Arrow reads by itself, and the same with an offset.
_PLAIN = r"^\d{4}-\d\d-\d\d([T ]\d\d(:\d\d(:\d\d(\.\d{1,6})?)?)?)?$"
_ZONED = r"^\d{4}-\d\d-\d\d[T ]\d\d(:\d\d(:\d\d(\.\d{1,6})?)?)?(Z|[+-]\d\d(:?\d\d)?)$"
# The rest of ISO 8601: basic form, weeks, days of the year; Python takes more than this, such as any separator.
_ISO = re.compile(
    r"(?P<date>\d{4}-?(?:\d\d-?\d\d|W\d\d(?:-?\d)?|\d{3}))"
    r"(?:[T ](?P<hour>\d\d)(?P<rest>(?::?\d\d(?::?\d\d(?:\.\d+)?)?)?) ?(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?)?"
)


def expected(form: TimeFormat) -> str:
    """What a cell of time should hold, for a message."""
    return _FORMATS[form]


def instants(column: pa.ChunkedArray, name: str, form: TimeFormat) -> np.ndarray:
    """int64, NO_TIME where a cell is no instant. Raises Unscorable where the whole column is of another kind."""
    array = whole(column)
    kind = array.type
    if pa.types.is_timestamp(kind):
        return _scaled(_integers(array.cast(pa.timestamp(kind.unit))), kind.unit)
    if pa.types.is_date(kind):
        return _scaled(_integers(array.cast(pa.timestamp("ms"))), "ms")
    if is_text(kind):
        texts, indices = encoded(array)
        return np.append(_texts(texts, name, form), NO_TIME).take(indices)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        if form is TimeFormat.ISO:
            raise _hint(name, kind)
        return _epoch(array, form)
    raise unreadable(f"column {name!r} is {kind}, expected timestamps or {_FORMATS[form]}")


def _hint(name: str, kind: object) -> Exception:
    return unreadable(
        f"column {name!r} holds whole numbers ({kind}), expected an ISO 8601 time; where they count from 1970, the "
        "setting for the format of time says so: s, ms, us or ns"
    )


def _integers(array: pa.Array) -> np.ndarray:
    return filled(array.cast(pa.int64()), NO_TIME)


def _scaled(counts: np.ndarray, unit: str) -> np.ndarray:
    """Counts of a unit as microseconds; NO_TIME where they do not fit."""
    if unit == "us":
        return counts
    if unit == "ns":
        return np.where(counts == NO_TIME, NO_TIME, counts // 1000)
    factor = 10**6 // _PER_SECOND[unit]
    fits = np.abs(counts // 2) < np.iinfo(np.int64).max // factor // 2
    return np.where(fits, counts * factor, NO_TIME)


def _epoch(array: pa.Array, form: TimeFormat) -> np.ndarray:
    if pa.types.is_integer(array.type):
        return _scaled(_integers(array), form)
    micros = filled(array.cast(pa.float64()), np.nan) * (10**6 / _PER_SECOND[form])
    return _rounded(micros)


def _rounded(micros: np.ndarray) -> np.ndarray:
    fits = np.abs(micros) < 2.0**62  # a NaN does not
    return np.where(fits, np.where(fits, micros, 0).round().astype(np.int64), NO_TIME)


def _texts(texts: pa.StringArray, name: str, form: TimeFormat) -> np.ndarray:
    """Distinct texts, each as an instant."""
    texts = pc.utf8_trim_whitespace(texts)
    digits = pc.match_substring_regex(texts, r"^[+-]?\d+$")
    if form is not TimeFormat.ISO:
        numbers = pc.match_substring_regex(texts, r"^[+-]?(\d{1,18}|[1-8]\d{18})(\.\d*)?$")
        result = np.full(len(texts), NO_TIME)
        for mask, kind in ((pc.and_(numbers, digits), pa.int64()), (pc.and_not(numbers, digits), pa.float64())):
            plain = pc.replace_substring_regex(texts.filter(mask), r"^\+", "")
            result[view(mask)] = _epoch(plain.cast(kind), form)
        return result
    if len(texts) and pc.all(digits).as_py():
        raise _hint(name, f"such as {texts[0].as_py()}")
    return _iso(texts)


def _iso(texts: pa.StringArray) -> np.ndarray:
    texts = pc.replace_substring_regex(texts, r"(\.\d{6})\d+", r"\1")  # .NET writes seven digits; Arrow takes six
    result = np.full(len(texts), NO_TIME)
    rest = np.ones(len(texts), bool)
    for pattern, zone in ((_ZONED, "UTC"), (_PLAIN, None)):
        mask = pc.match_substring_regex(texts, pattern)
        try:
            found = _integers(texts.filter(mask).cast(pa.timestamp("us", zone)))
        except pa.ArrowInvalid:  # a thirtieth of February: each for itself
            continue
        here = view(mask)
        result[here], rest[here] = found, False
    for i in np.flatnonzero(rest):
        result[i] = _single(texts[int(i)].as_py())
    return result


def _single(text: str) -> Any:
    """An instant in any form of ISO 8601, with microseconds; NO_TIME where it is none."""
    found = _ISO.fullmatch(text.upper().replace(",", ".")) if text.isascii() else None
    if not found:
        return NO_TIME
    date, hour, rest, zone = found.group("date", "hour", "rest", "zone")
    midnight = hour == "24" and not rest.strip("0:.")
    try:
        if _is_ordinal(date):
            day = datetime.strptime(date.replace("-", ""), "%Y%j")  # noqa: DTZ007  # just the day
            if day.year != int(date[:4]):  # the 366th of a year of 365 days
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
