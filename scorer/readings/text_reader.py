"""A text file, CSV or JSON lines -> its rows as an Arrow table. The content decides the format.

Nothing is guessed: a file whose columns shift, repeat or are missing is unreadable as a whole, since none of its rows
can be trusted. A single cell that is not a number affects only its own row.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from shared.contract.model_names import Columns
from shared.contract.scoring_options import ReadingOptions, TimeFormat

from .cells import BROKEN, MISSING, is_text, make_unreadable, read_whole
from .column_names import (
    INDICES,
    adopt_index,
    check_columns,
    check_separator,
    is_long,
    list_features,
    list_others,
    list_single,
)
from .projection import EVERYTHING, Projection
from .timestamps import is_iso_time

UNPACKED_LIMIT = 2**31  # bytes that a gzip file may unpack to
GZIP, PARQUET = b"\x1f\x8b", b"PAR1"

NESTED_LIMIT = 200  # levels of a JSON value
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_OPENING, _CLOSING = list(b"[{"), list(b"]}")
_FOREIGN = {
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
    b"ARROW1": "an Arrow file",
    b"PK\x03\x04": "a zip archive",
    b"\x28\xb5\x2f\xfd": "compressed by Zstandard",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
    b"[": "a JSON array, not JSON lines",
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
    """The rows of an uncompressed CSV or JSON lines file; None where there are none. Raises Unscorable.

    It may lack columns that are *keys* of its folders. Cells of CSV that the projection does not need are not parsed.
    """
    try:
        _refuse_foreign(data)
        data = _convert_utf8(data)
        _refuse_foreign(data)  # without its mark, or in another encoding
        start = data[:4096].lstrip()
        if not start and not data.strip():
            return None
        if b"\0" in data:
            raise make_unreadable(
                "expected text in UTF-8, or Parquet, got NUL bytes; UTF-16 and UTF-32 need a byte order mark"
            )
        unread: tuple[str, ...] = ()
        if start.startswith(b"{"):
            rows = _read_json_lines(data, columns, policy)
        else:
            rows, unread = _read_csv(data, columns, projection, keys)
    except BROKEN as error:
        raise make_unreadable(_first_line(error)) from error
    columns = adopt_index(columns, rows.column_names, [name for name in INDICES if _has_times(rows, name)])
    check_columns([*rows.column_names, *unread], columns, keys)
    name = columns.sensor
    has_sensor = name in rows.column_names and rows[name].null_count < rows.num_rows
    if not rows.num_rows:
        return None
    return Table(columns, rows, has_sensor, policy.time, policy.time_zone, policy.missing_values, unread=unread)


def _refuse_foreign(data: bytes) -> None:
    start = data[:4096].lstrip()
    for beginning, description in _FOREIGN.items():
        if start.startswith(beginning):
            raise make_unreadable(f"is {description}; expected columns as CSV, JSON lines or Parquet")


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


def _convert_utf8(data: bytes) -> bytes:
    """The text in UTF-8 without a mark. Another encoding is recognised by its mark only. Raises Unscorable."""
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            data = data.removeprefix(mark)
            if encoding != "utf-8":
                return data.decode(encoding).encode()
            break
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
    return data


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


def _read_json_lines(data: bytes, columns: Columns, policy: ReadingOptions) -> pa.Table:
    """By pyarrow where each column has one type; else line by line. Both refuse a repeated key."""
    from pyarrow import json as arrow_json

    _check_depth(data)
    ids = [columns.device, columns.sensor]
    texts = [columns.time, *ids] if policy.time is TimeFormat.ISO else ids
    schema = pa.schema([(name, pa.string()) for name in texts])
    try:
        rows = arrow_json.read_json(
            pa.BufferReader(data), parse_options=arrow_json.ParseOptions(explicit_schema=schema)
        )
    except pa.ArrowInvalid:
        return _read_by_line(data, ids)
    absent = [name for name in texts if rows[name].null_count == rows.num_rows]
    return rows.drop_columns(absent)  # pyarrow adds a column that the schema names


def _check_depth(data: bytes) -> None:
    """Raises Unscorable for deep nesting: thousands of levels overflow the stack in pyarrow and end the process."""
    if data.count(b"[") + data.count(b"{") <= data.count(b"\n") + NESTED_LIMIT:
        return
    bare = np.frombuffer(_QUOTED.sub(b"", data), np.uint8)
    depth = np.cumsum(np.isin(bare, _OPENING).astype(np.int8) - np.isin(bare, _CLOSING).astype(np.int8), dtype=np.int64)
    if len(depth) and depth.max() > NESTED_LIMIT:
        raise make_unreadable(f"holds a value that is nested deeper than {NESTED_LIMIT}")


class _Fraction(str):
    """A number of JSON with a fraction or an exponent, as it is written."""

    __slots__ = ()


def _read_by_line(data: bytes, ids: Collection[str]) -> pa.Table:
    """The rows line by line, every cell as text. Raises Unscorable."""
    rows: list[dict[str, str | None]] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.strip():
            try:
                row = json.loads(
                    line, object_pairs_hook=_build_object, parse_float=_Fraction, parse_int=str, parse_constant=str
                )
            except (ValueError, RecursionError) as error:
                raise make_unreadable(f"JSON parse error in line {number}: {_first_line(error)}") from error
            if not isinstance(row, dict):
                raise make_unreadable(f"JSON parse error in line {number}: expected an object")
            rows.append(
                {
                    key: None if cell is None else _read_id(cell, key) if key in ids else str(cell)
                    for key, cell in row.items()
                }
            )
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names})


def _read_id(cell: object, name: str) -> str:
    """An id in JSON: a whole number becomes its digits, as in Parquet. Raises Unscorable."""
    if not isinstance(cell, _Fraction):
        return str(cell)
    if digits := read_whole(float(cell)):
        return digits
    raise make_unreadable(f"column {name!r} has {cell}, expected text or whole numbers")


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError(f"a key is repeated among {', '.join(key for key, _ in pairs[:20])}")
    return values
