"""A text file, CSV or JSON lines -> its rows as an Arrow table. The content decides the format.

Nothing is guessed: a file whose columns shift, repeat or are missing is unreadable as a whole, since none of its rows
can be trusted. A single cell that is not a number affects only its own row.
"""

from __future__ import annotations

import codecs
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from scorer.readings.cells import BROKEN, is_text, make_unreadable
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
from shared.contract.text import get_first_line

from .remarks import NO_REMARKS, Remarks

if TYPE_CHECKING:
    from scorer.readings.nested.json_reader import ParsedRows

    from .csv_reader import CsvRows

_FOREIGN = {
    b"ORC": "an ORC file",
    b"ARROW1": "an Arrow file",
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
    keys: tuple[str, ...] = ()  # the last of the features: from the names of folders, or beside the body of an event
    unread: tuple[str, ...] = ()  # features of the file that no model needs
    decimal_comma: bool = False  # numbers that are texts have decimal commas
    remarks: Remarks = NO_REMARKS

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
                "expected text in UTF-8, Parquet or Avro, got NUL bytes; UTF-16 and UTF-32 need a byte order mark"
            )
        if start.startswith((b"{", b"[")):
            from scorer.readings.nested.json_reader import read_json  # late, as CSV: a job has readings of one form

            parsed, decimal_comma = read_json(data, columns, policy, projection, keys), False
        else:
            from .csv_reader import read_csv

            data = data[: data.rfind(b"\n") + 1] if is_cut else data
            csv_rows = read_csv(data, columns, policy, EVERYTHING if columns.features else projection, keys)
            if csv_rows is None:
                return None
            parsed, decimal_comma = _select_columns(csv_rows, columns, projection, keys), csv_rows.decimal_comma
        rows, unread, remarks = parsed.rows, parsed.unread, parsed.remarks
        remarks = replace(remarks, is_cut=is_cut or remarks.is_cut)
    except BROKEN as error:
        raise make_unreadable(get_first_line(error)) from error
    if not rows.num_columns:
        return Table(columns, rows, has_sensor=False, time_format=policy.time, remarks=remarks)
    columns = adopt_index(columns, rows.column_names, [name for name in INDICES if _has_times(rows, name)])
    check_columns([*rows.column_names, *unread], columns, keys)
    name = columns.sensor
    has_sensor = name in rows.column_names and rows[name].null_count < rows.num_rows
    return Table(
        columns, rows, has_sensor, policy.time, policy.time_zone, policy.missing_values, unread=unread,
        decimal_comma=decimal_comma, remarks=remarks,
    )  # fmt: skip


def _select_columns(content: CsvRows, columns: Columns, projection: Projection, keys: Collection[str]) -> ParsedRows:
    """The columns of a CSV file that are needed. With *features* of READINGS_COLUMNS those are flat columns."""
    from scorer.readings.nested.json_reader import ParsedRows
    from scorer.readings.nested.leaves import explain_missing, list_leaves, select_leaves

    if not columns.features:
        return ParsedRows(content.rows, content.unread, content.remarks)
    leaves = list_leaves(content.rows)
    if problem := explain_missing(leaves, columns, keys):
        raise make_unreadable(problem)
    selection = select_leaves(leaves, columns, projection)
    return ParsedRows(selection.rows, selection.unread, content.remarks)


def _refuse_foreign(data: bytes) -> None:
    start = data[:4096].lstrip()
    for beginning, description in _FOREIGN.items():
        if start.startswith(beginning):
            raise make_unreadable(f"is {description}; expected CSV, JSON, Parquet or Avro")


def _has_times(rows: pa.Table, name: str) -> bool:
    """Whether the first cell of a column, if there is such a column of texts, is a time."""
    if name not in rows.column_names or not is_text(rows[name].type):
        return False
    return is_iso_time(next((cell for cell in rows[name].slice(0, 1).to_pylist() if cell), ""))


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
