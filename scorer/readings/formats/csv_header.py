"""The beginning of a CSV file -> where its header is, and what separates its columns. Reads no rows.

A separator is found where exactly one reading of the header has the columns of times and devices; else it is set.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection
from dataclasses import dataclass

from scorer.errors import Unscorable
from scorer.readings.cells import make_unreadable
from scorer.readings.column_names import INDICES, check_columns, list_names, suggest_columns
from shared.contract.model_names import Columns
from shared.contract.scoring_options import CsvOptions

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}  # those that are found
WORDS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "space"}
LINE_LIMIT = 2**24  # bytes of a line
COLUMN_LIMIT = 100_000  # each takes memory in every block
COMMENT = "#"  # begins lines before the header that are comments without a setting

_BLANK_LINES = re.compile(rb"(?:[ \t]*\r?\n)*")
_STATED = re.compile(rb'"?sep=([\t !#-~])"?\r?\n', re.IGNORECASE)  # the first line as Excel writes and reads it


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a CSV file."""

    names: list[str]
    line: str  # without its end
    start: int  # of the line, in bytes of the file
    separator: str
    comment: str  # how lines begin that are comments; "": none are
    comments: int  # lines before the header


def find_header(data: bytes, columns: Columns, keys: Collection[str], options: CsvOptions) -> Header | None:
    """The header of a file without a mark; None where there is nothing but blanks and comments. Raises Unscorable."""
    stated, start, comments = "", _skip_blanks(data, 0), 0
    if match := _STATED.match(data, start):
        stated, start = match[1].decode(), _skip_blanks(data, match.end())
    while start < len(data):
        end = data.find(b"\n", start) % (len(data) + 1)  # that of the data where there is none
        if end - start > LINE_LIMIT:
            raise make_too_long()
        line = data[start:end].decode().rstrip("\r")
        is_comment = line.startswith(options.comment or COMMENT)
        if not (is_comment and options.comment):
            separator = _choose_separator(line, columns, keys, options.separator, stated)
            names = _split_line(line, separator)
            if not is_comment or _has_columns(names, columns, keys):
                is_plain = line.count('"') % 2 == 0 and "\ufeff" not in line  # else it can be read in two ways
                if is_plain and not _has_columns(names, columns, keys):
                    if not (options.separator or stated):
                        _check_separator(line, names, columns)
                    check_columns(names, columns, keys)
                return Header(names, line, start, separator, options.comment or COMMENT * bool(comments), comments)
        comments += 1
        start = _skip_blanks(data, end + 1)
    return None


def remove_comments(text: bytes, comment: str) -> tuple[bytes, int]:
    """A text without its comments, but for its first line, and their number. A line within quotes is part of a cell."""
    parts: list[bytes] = []
    start, is_quoted, count = 0, False, 0
    for match in re.finditer(re.escape(f"\n{comment}".encode()) + rb"[^\n]*", text):
        parts.append(text[start : match.start()])
        is_quoted ^= bool(parts[-1].count(b'"') % 2)
        start = match.start() if is_quoted else match.end()
        count += not is_quoted
    return (b"".join([*parts, text[start:]]), count) if count else (text, 0)


def make_too_long() -> Unscorable:
    """The error of a file with a line that no block holds."""
    return make_unreadable(f"has a line of more than {LINE_LIMIT // 2**20} MiB, expected shorter ones")


def _skip_blanks(data: bytes, start: int) -> int:
    match = _BLANK_LINES.match(data, start)
    return match.end() if match else start


def _split_line(line: str, separator: str) -> list[str]:
    if (count := line.count(separator)) > COLUMN_LIMIT:
        raise make_unreadable(f"has {count + 1} columns, expected at most {COLUMN_LIMIT}")
    return next(csv.reader([line], delimiter=separator), [])


def _has_columns(names: Collection[str], columns: Columns, keys: Collection[str]) -> bool:
    """Whether a header, with the *keys* of its folders, has times and devices. An index may be the column of times."""
    return columns.device in {*names, *keys} and not {columns.time, *INDICES}.isdisjoint({*names, *keys})


def _choose_separator(line: str, columns: Columns, keys: Collection[str], option: str, stated: str) -> str:
    """What is set or what the file states; else what is found; a comma where nothing is. Raises Unscorable."""
    if option and stated not in ("", option):
        raise make_unreadable(
            f"states sep={stated}, expected {option!r} as READINGS_CSV (--csv) sets it; set the separator that it has"
        )
    if option or stated:
        return option or stated
    readings = [
        separator
        for separator in SEPARATORS
        if separator in line and len(names := _split_line(line, separator)) > 1 and _has_columns(names, columns, keys)
    ]
    if len(readings) > 1:
        words = " or ".join(f"separator={WORDS[separator]}" for separator in readings)
        raise make_unreadable(
            f"has a header that can be read with {' and with '.join(SEPARATORS[s] for s in readings)} between columns: "
            f"set READINGS_CSV (--csv) {words}"
        )
    return readings[0] if readings else ","


def _check_separator(line: str, header: list[str], columns: Columns) -> None:
    """Raises Unscorable where another separator than a comma gives a header without the columns more of them."""
    for separator in list(SEPARATORS)[1:]:
        if header and separator in header[0] and len(names := _split_line(line, separator)) > len(header):
            raise make_unreadable(
                f"expected columns {columns.time!r} and {columns.device!r}, got {len(names)} with "
                f"{SEPARATORS[separator]} between them: {list_names(names)}{suggest_columns(names, columns)}"
            )
