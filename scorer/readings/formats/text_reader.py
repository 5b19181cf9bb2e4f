"""A text file, CSV or JSON lines -> its rows as an Arrow table. The content decides the format.

Nothing is guessed: a file whose columns shift, repeat or are missing is unreadable as a whole, since none of its rows
can be trusted. A single cell that is not a number affects only its own row.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from scorer.readings.cells import BROKEN, is_text, make_unreadable, read_whole
from scorer.readings.column_names import (
    INDICES,
    adopt_index,
    check_columns,
    is_long,
    list_others,
    list_single,
)
from scorer.readings.projection import EVERYTHING, Projection
from scorer.readings.timestamps import is_iso_time
from shared.contract.model_names import Columns
from shared.contract.scoring_options import ReadingOptions, TimeFormat

from .csv_reader import CsvRows, read_csv

PARQUET = b"PAR1"

NESTED_LIMIT = 200  # levels of a JSON value
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_OPENING, _CLOSING = list(b"[{"), list(b"]}")
_FOREIGN = {
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
    b"ARROW1": "an Arrow file",
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


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a file, unchanged. *features* are its columns of numbers; a long file has only the value column."""

    columns: Columns
    rows: pa.Table
    has_sensor: bool  # whether a column names the sensor of each row; the same for the whole file
    time_format: TimeFormat
    time_zone: str = ""  # of times without an offset
    missing_values: tuple[float, ...] = ()  # numbers that stand for a missing value
    keys: tuple[str, ...] = ()  # the last of the features, which are from the names of folders
    unread: tuple[str, ...] = ()  # features of the file that no model needs
    decimal_comma: bool = False  # numbers that are texts have decimal commas
    found_commas: bool = False  # nothing but the file itself says so
    found_comments: int = 0  # lines of the file that were taken for comments, as nothing but the file says

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
        content: CsvRows | None
        if start.startswith(b"{"):
            content = CsvRows(_read_json_lines(data, columns, policy))
        else:
            content = read_csv(data, columns, policy, projection, keys)
    except BROKEN as error:
        raise make_unreadable(_first_line(error)) from error
    if content is None:
        return None
    rows, unread = content.rows, content.unread
    columns = adopt_index(columns, rows.column_names, [name for name in INDICES if _has_times(rows, name)])
    check_columns([*rows.column_names, *unread], columns, keys)
    name = columns.sensor
    has_sensor = name in rows.column_names and rows[name].null_count < rows.num_rows
    if not rows.num_rows:
        return None
    return Table(
        columns, rows, has_sensor, policy.time, policy.time_zone, policy.missing_values, unread=unread,
        decimal_comma=content.decimal_comma, found_commas=content.found_commas, found_comments=content.found_comments,
    )  # fmt: skip


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
