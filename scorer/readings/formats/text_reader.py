"""A text file, CSV or JSON -> its rows as an Arrow table. The content decides the format.

Nothing is guessed: a file whose columns shift, repeat or are missing is unreadable as a whole, since none of its rows
can be trusted. A single cell that is not a number affects only its own row.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from scorer.readings.cells import BROKEN, MISSING, is_text, make_unreadable
from scorer.readings.column_names import (
    INDICES,
    adopt_index,
    check_columns,
    check_separator,
    is_long,
    list_features,
    list_others,
    list_single,
)
from scorer.readings.nested.json_reader import ParsedRows, read_json
from scorer.readings.nested.leaves import explain_missing, list_leaves, select_leaves
from scorer.readings.projection import EVERYTHING, Projection
from scorer.readings.timestamps import is_iso_time
from shared.contract.model_names import Columns
from shared.contract.scoring_options import ReadingOptions, TimeFormat

UNPACKED_LIMIT = 2**31  # bytes that a gzip file may unpack to
GZIP, PARQUET = b"\x1f\x8b", b"PAR1"

_FOREIGN = {
    b"ORC": "an ORC file",
    b"ARROW1": "an Arrow file",
    b"PK\x03\x04": "a zip archive",
    b"\x28\xb5\x2f\xfd": "compressed by Zstandard",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
    b"<": "HTML or XML",
}
# The longer marks first: UTF-16's mark is the beginning of UTF-32's.
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_NO_NAMES: tuple[str, ...] = ()
_BLANK_LINES = re.compile(rb"(?:[ \t]*\r?\n)*")
_TEXT = pa.dictionary(pa.int32(), pa.string())  # repeated texts are stored once


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a file, unchanged. *features* are its columns of numbers; a long file has only the value column."""

    columns: Columns
    rows: pa.Table
    has_sensor: bool  # whether a column names the sensor of each row; the same for the whole file
    time_format: TimeFormat
    time_zone: str = ""  # of times without an offset
    missing_values: tuple[float, ...] = ()  # numbers that stand for a missing value
    keys: tuple[str, ...] = ()  # the last of the features: from the names of folders, or beside the body of an event
    unread: tuple[str, ...] = ()  # features of the file that no model needs
    is_cut: bool = False  # the file ends within a row, which is left out
    left_out: int = 0  # objects of JSON whose body is no JSON, or whose arrays differ in length

    @property
    def long(self) -> bool:
        """Whether each row is one reading of one sensor; else there is a column for each feature."""
        return is_long([*self._names, *self.unread], self.columns)

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that hold numbers, in the file's order."""
        return (self.columns.value,) if self.long else list_others(self._names, self.columns)

    @property
    def _names(self) -> list[str]:
        return list_single(self.rows.schema, self.columns)


def read_text(
    data: bytes,
    columns: Columns,
    policy: ReadingOptions,
    projection: Projection = EVERYTHING,
    keys: Collection[str] = (),
) -> Table | None:
    """The rows of an uncompressed file of CSV or JSON, perhaps none; None for a blank text. Raises Unscorable.

    It may lack columns that are *keys* of its folders. Cells of CSV that the projection does not need are not parsed.
    A last row that the end of the file cuts is left out.
    """
    try:
        _refuse_foreign(data)
        data, is_cut = _drop_cut_character(_convert_encoding(data))
        _check_utf8(data)
        _refuse_foreign(data)  # without its mark, or in another encoding
        start = data[:4096].lstrip()
        if not start and not data.strip():
            return None
        if b"\0" in data:
            raise make_unreadable(
                "expected text in UTF-8, or Parquet, got NUL bytes; UTF-16 and UTF-32 need a byte order mark"
            )
        if start.startswith((b"{", b"[")):
            parsed = read_json(data, columns, policy, projection, keys)
        else:
            data = data[: data.rfind(b"\n") + 1] if is_cut else data
            parsed = _read_csv_rows(data, columns, projection, keys)
        rows, unread, is_cut = parsed.rows, parsed.unread, is_cut or parsed.is_cut
    except BROKEN as error:
        raise make_unreadable(_first_line(error)) from error
    if not rows.num_columns:
        return Table(columns, rows, has_sensor=False, time_format=policy.time, is_cut=is_cut, left_out=parsed.left_out)
    columns = adopt_index(columns, rows.column_names, [name for name in INDICES if _has_times(rows, name)])
    check_columns([*rows.column_names, *unread], columns, keys)
    name = columns.sensor
    has_sensor = name in rows.column_names and rows[name].null_count < rows.num_rows
    return Table(
        columns, rows, has_sensor, policy.time, policy.time_zone, policy.missing_values,
        unread=unread, is_cut=is_cut, left_out=parsed.left_out,
    )  # fmt: skip


def _refuse_foreign(data: bytes) -> None:
    start = data[:4096].lstrip()
    for beginning, description in _FOREIGN.items():
        if start.startswith(beginning):
            raise make_unreadable(f"is {description}; expected columns as CSV, JSON or Parquet")


def _has_times(rows: pa.Table, name: str) -> bool:
    """Whether the first cell of a column, if there is such a column of texts, is a time."""
    if name not in rows.column_names or not is_text(rows[name].type):
        return False
    return is_iso_time(next((cell for cell in rows[name].slice(0, 1).to_pylist() if cell), ""))


def decompress_gzip(data: bytes) -> bytes:
    """The content of all members of a gzip file. Raises Unscorable."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            plain = file.read(UNPACKED_LIMIT + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise make_unreadable(f"truncated or corrupt gzip: {error}") from error
    if len(plain) > UNPACKED_LIMIT:
        raise make_unreadable(f"unpacks to more than {UNPACKED_LIMIT} bytes")
    return plain


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _convert_encoding(data: bytes) -> bytes:
    """The text without a mark, in UTF-8 where it has one. Another encoding is recognised by its mark only."""
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            data = data.removeprefix(mark)
            return data if encoding == "utf-8" else data.decode(encoding).encode()
    return data


def _drop_cut_character(data: bytes) -> tuple[bytes, bool]:
    """A text without the bytes of a last character that its end cuts, and whether it does."""
    end = data[-3:]
    for length in range(1, len(end) + 1):
        if 0xC2 <= end[-length] <= 0xF4:  # noqa: PLR2004  # the first byte of a character
            n_bytes = 2 + (end[-length] >= 0xE0) + (end[-length] >= 0xF0)  # noqa: PLR2004
            return (data[:-length], True) if length < n_bytes else (data, False)
    return data, False


def _check_utf8(data: bytes) -> None:
    """Raises Unscorable."""
    offsets = np.array([0, len(data)], np.int64)
    text = pa.Array.from_buffers(pa.large_string(), 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    try:
        text.validate(full=True)  # like decode(), without a second text in memory
    except pa.ArrowInvalid:
        try:
            data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise make_unreadable(
                f"is not in UTF-8: line {line} has the byte 0x{data[error.start]:02x}, invalid UTF8; "
                "another encoding needs a byte order mark"
            ) from error
        raise


def _read_csv_rows(data: bytes, columns: Columns, projection: Projection, keys: Collection[str]) -> ParsedRows:
    """The rows of a CSV file without a last one that its end cuts. With *features*, those are flat columns."""
    text = _drop_cut_row(data)
    if not columns.features:
        return ParsedRows(*_read_csv(text, columns, projection, keys), is_cut=len(text) < len(data))
    rows, _ = _read_csv(text, columns, EVERYTHING, keys)
    leaves = list_leaves(rows)
    if problem := explain_missing(leaves, columns, keys):
        raise make_unreadable(problem)
    selection = select_leaves(leaves, columns, projection)
    return ParsedRows(selection.rows, selection.unread, is_cut=len(text) < len(data))


def _drop_cut_row(data: bytes) -> bytes:
    """A CSV file without its last row where that has no end of line, and fewer cells than the header or an open quote.

    A file that is being written ends so. A last cell that is cut, or a row that ends with a line, shows nothing.
    """
    start = data.rfind(b"\n") + 1
    last = data[start:]
    if not last.strip() or not start or data.count(b'"', 0, start) % 2:  # within quotes a line may end
        return data
    header = next(csv.reader([data.lstrip().split(b"\n", 1)[0].decode()]), [])
    is_open = last.count(b'"') % 2 == 1
    cells = next(csv.reader([last.decode()]), [])
    return data[:start] if is_open or len(cells) < len(header) else data


def _read_csv(
    data: bytes, columns: Columns, projection: Projection, keys: Collection[str]
) -> tuple[pa.Table, tuple[str, ...]]:
    """The columns that are needed, and the names of the others.

    Strict: a row with more or fewer cells than the header is refused by pyarrow.
    """
    from pyarrow import csv as arrow_csv

    if blank := _BLANK_LINES.match(data):
        data = data[blank.end() :]
    first_line = data.split(b"\n", 1)[0].decode().rstrip("\r")
    header = next(csv.reader([first_line]), [])
    check_separator(first_line, header, columns, keys)
    needed, unread = header, _NO_NAMES
    if not set('"\r\ufeff') & set(first_line) and len(set(header)) == len(header):
        # Else it may be read in two ways: then all columns are, and compared below.
        needed, unread = _split_header(header, columns, projection, keys)
    ids = {columns.time, columns.device, columns.sensor, *INDICES}
    # Takes time, so only where a cell may hold an end of line: else a block could end in the middle of the cell.
    parse_options = arrow_csv.ParseOptions(newlines_in_values=b'"' in data, invalid_row_handler=_skip_blank)

    # Files are read in parallel; more threads cost three times as much.
    read_options = arrow_csv.ReadOptions(use_threads=False)

    def read_cells(number: pa.DataType) -> pa.Table:
        options = arrow_csv.ConvertOptions(
            column_types={name: _TEXT if name in ids else number for name in header},
            null_values=MISSING,
            include_columns=needed if needed != header else None,
        )
        text = data if data.endswith(b"\n") else data + b"\n"  # pyarrow refuses a header without an end of line
        rows = arrow_csv.read_csv(pa.BufferReader(text), read_options, parse_options, options)
        if rows.column_names != needed:  # then the types above did not apply, and ids may have become numbers
            raise make_unreadable(f"has a header that can be read in two ways: {header} and {rows.column_names}")
        return rows

    try:
        return read_cells(pa.float64()), unread
    except pa.ArrowInvalid as error:
        if "conversion error to double" not in str(error):
            raise
    return read_cells(pa.string()), unread  # some cell is not a number; `cells.read_numbers` finds it


def _split_header(
    header: list[str], columns: Columns, projection: Projection, keys: Collection[str]
) -> tuple[list[str], tuple[str, ...]]:
    """The columns of a header that are needed, and the features that are not."""
    features = list_features(header, columns, keys)
    selected = {columns.time, columns.device, columns.sensor, columns.value}
    if columns.time not in header:
        selected |= set(INDICES)
    if not is_long(header, columns, keys):
        has_sensor = columns.sensor in {*header, *keys}
        selected |= set(projection.select_features(features, has_sensor=has_sensor, value=columns.value))
    return [name for name in header if name in selected], tuple(name for name in features if name not in selected)


def _skip_blank(row: Any) -> str:
    """What pyarrow does with a row of another number of cells than the header: lines of blanks are no rows."""
    return "error" if row.text.strip() else "skip"
