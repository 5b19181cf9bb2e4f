"""A CSV file -> its rows as an Arrow table. Its separator, its decimals and its comments are set, or it shows them.

Strict: a row with more or fewer cells than the header makes the file unreadable.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from scorer.readings.cells import MISSING, make_unreadable
from scorer.readings.column_names import INDICES, is_long, list_features
from scorer.readings.projection import Projection
from shared.contract.model_names import Columns
from shared.contract.scoring_options import ReadingOptions, TimeFormat

from .csv_decimals import DecimalEvidence, add_evidence, write_time_points
from .csv_header import LINE_LIMIT, Header, find_header, make_too_long, remove_comments
from .remarks import NO_REMARKS, Remarks

BLOCK, BLOCK_ROWS = 2**20, 256  # bytes of a block, or rows where these take more: each costs something for each column

_LONG = "straddling object"  # pyarrow's word for a line that is longer than a block
_TEXT = pa.dictionary(pa.int32(), pa.string())  # repeated texts are stored once


@dataclass(frozen=True, slots=True)
class CsvRows:
    """The columns that are needed, and what the file showed."""

    rows: pa.Table
    unread: tuple[str, ...] = ()  # the features that are not needed
    decimal_comma: bool = False  # numbers that are texts yet have decimal commas
    remarks: Remarks = NO_REMARKS


@dataclass(frozen=True, slots=True)
class _CsvFile:
    """The text of a file from its header on, without comments."""

    text: bytes
    header: Header
    needed: Sequence[str]  # the columns that are read
    ids: Collection[str]  # the columns that are no numbers
    block: int  # bytes


def read_csv(
    data: bytes, columns: Columns, policy: ReadingOptions, projection: Projection, keys: Collection[str]
) -> CsvRows | None:
    """The rows of a file in UTF-8; None where there is no header. Raises Unscorable, and what pyarrow raises."""
    header = find_header(data, columns, keys, policy.csv)
    if header is None:
        return None
    text, comments = data[header.start :], 0
    if header.comment:
        text, comments = remove_comments(text, header.comment)
    rows_text = _drop_cut_row(text, header)
    is_cut, text = len(rows_text) < len(text), rows_text
    if b"\n" not in text:
        text += b"\n"  # pyarrow refuses a header without an end of line
    names = needed = header.names
    unread: tuple[str, ...] = ()
    if not set('"\r\ufeff') & set(header.line) and len(set(names)) == len(names):
        # Else it may be read in two ways: then all columns are, and compared below.
        needed, unread = _split_names(names, columns, projection, keys)
    ids = {columns.time, columns.device, columns.sensor, *INDICES}
    block = min(max(BLOCK, BLOCK_ROWS * len(header.line)), LINE_LIMIT)
    file = _CsvFile(text, header, needed, ids, block)
    decimal = policy.csv.decimal
    if not decimal and (header.separator == "," or b"," not in text):
        decimal = "."
    features = list_features(names, columns, keys)
    try:
        rows, found_commas = _read_rows(file, features, decimal)
    except pa.ArrowInvalid as error:
        if _LONG not in str(error):
            raise
        rows, found_commas = _read_rows(replace(file, block=LINE_LIMIT), features, decimal)
    decimal_comma = found_commas or decimal == ","
    if decimal_comma and policy.time is not TimeFormat.ISO and columns.time in rows.column_names:
        position = rows.column_names.index(columns.time)
        rows = rows.set_column(position, columns.time, write_time_points(rows[columns.time]))
    found_comments = 0 if policy.csv.comment else header.comments + comments
    return CsvRows(rows, unread, decimal_comma, Remarks(is_cut, found_commas, found_comments))


def _drop_cut_row(text: bytes, header: Header) -> bytes:
    """A file without its last row where that has no end of line, and fewer cells than the header or an open quote.

    A file that is being written ends so. A last cell that is cut, or a row that ends with a line, shows nothing.
    """
    start = text.rfind(b"\n") + 1
    last = text[start:]
    if not last.strip() or not start or len(last) > LINE_LIMIT or text.count(b'"', 0, start) % 2:
        return text  # within quotes a line may end
    is_open = last.count(b'"') % 2 == 1
    cells = next(csv.reader([last.decode()], delimiter=header.separator), [])
    return text[:start] if is_open or len(cells) < len(header.names) else text


def _split_names(
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


def _read_rows(file: _CsvFile, features: Sequence[str], decimal: str) -> tuple[pa.Table, bool]:
    """The rows, and whether their decimals were found to have commas. Raises Unscorable, and what pyarrow raises."""
    try:
        if not decimal:
            return _read_undecided(file, features)
        rows = _read_numbers(file, decimal)
        return _read_texts(file) if rows is None else rows, False
    except pa.ArrowInvalid as error:
        if _LONG in str(error) and file.block >= LINE_LIMIT:
            raise make_too_long() from error
        raise


def _read_undecided(file: _CsvFile, features: Sequence[str]) -> tuple[pa.Table, bool]:
    """The rows of a file whose decimals may have commas, and whether they have. Raises Unscorable where it is unclear.

    The first block decides what is tried first; so a file is read once, but for cells that are no numbers, and for
    commas that may be of thousands.
    """
    batches = _iterate_texts(file, features)
    evidence = add_evidence(DecimalEvidence(), next(batches, []))
    decimal = "," if evidence.has_commas else "."
    if (rows := _read_numbers(file, decimal)) is None:
        rows = _read_texts(file)
        evidence = add_evidence(evidence, [rows[name] for name in file.needed if name in features])
    elif decimal == ",":
        while not evidence.certain and (columns := next(batches, None)):
            evidence = add_evidence(evidence, columns)
    return rows, evidence.decide()


def _read_numbers(file: _CsvFile, decimal: str) -> pa.Table | None:
    """The columns that are needed, features as float64; None where some cell is not a number."""
    try:
        return _read_cells(file, pa.float64(), decimal)
    except pa.ArrowInvalid as error:
        if "conversion error to double" in str(error):
            return None
        raise


def _read_texts(file: _CsvFile) -> pa.Table:
    """The same, features as texts: `cells.read_numbers` finds those that are no numbers."""
    return _read_cells(file, pa.string(), ".")


def _read_cells(file: _CsvFile, number: pa.DataType, decimal: str) -> pa.Table:
    """The columns that are needed; ids are texts, features of the type *number*."""
    from pyarrow import csv as arrow_csv

    names = file.header.names
    options = arrow_csv.ConvertOptions(
        check_utf8=False,  # it was checked as a whole
        column_types={name: _TEXT if name in file.ids else number for name in names},
        null_values=MISSING,
        include_columns=file.needed if file.needed != names else None,
        decimal_point=decimal,
    )
    # Files are read in parallel; more threads cost three times as much.
    reading = arrow_csv.ReadOptions(use_threads=False, block_size=file.block)
    rows = arrow_csv.read_csv(pa.BufferReader(file.text), reading, _make_parse_options(file), options)
    if rows.column_names != file.needed:  # then the types above did not apply, and ids may have become numbers
        raise make_unreadable(f"has a header that can be read in two ways: {names} and {rows.column_names}")
    return rows


def _iterate_texts(file: _CsvFile, features: Sequence[str]) -> Iterator[list[pa.ChunkedArray]]:
    """All columns of numbers as texts, block by block."""
    from pyarrow import csv as arrow_csv

    options = arrow_csv.ConvertOptions(
        column_types={name: pa.string() for name in file.header.names}, null_values=MISSING, include_columns=features
    )
    reading = arrow_csv.ReadOptions(use_threads=False, block_size=file.block)
    if not features:
        return
    with arrow_csv.open_csv(pa.BufferReader(file.text), reading, _make_parse_options(file), options) as reader:
        for batch in reader:
            yield [pa.chunked_array([column]) for column in batch.columns]


def _make_parse_options(file: _CsvFile) -> Any:
    from pyarrow import csv as arrow_csv

    # Looking for ends of lines within cells takes time, so only where there may be one: a block could end in the cell.
    return arrow_csv.ParseOptions(
        delimiter=file.header.separator,
        newlines_in_values=b'"' in file.text,
        invalid_row_handler=_skip_blank,
    )


def _skip_blank(row: Any) -> str:
    """What pyarrow does with a row of another number of cells than the header: lines of blanks are no rows."""
    return "error" if row.text.strip() else "skip"
