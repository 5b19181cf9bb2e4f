"""The bodies of events -> rows. By its first character each is JSON, CSV with a header, or none that can be used.

JSON is an object or an array of objects. CSV is a header and rows: without a header nothing says which cell is which.
Its columns have commas between them, unless READINGS_CSV says otherwise.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scorer.arrow import build_numbers
from scorer.readings.cells import MISSING, NUMBER, make_unreadable, write_points
from scorer.readings.column_names import list_features
from scorer.readings.formats.csv_decimals import DecimalEvidence, add_evidence, write_time_points
from scorer.readings.formats.csv_header import remove_comments
from scorer.readings.formats.remarks import NO_REMARKS, Remarks
from scorer.readings.nested.json_reader import read_documents
from scorer.readings.nested.leaves import Leaf, list_leaves, select_leaves
from scorer.readings.nested.table_union import unite_tables
from scorer.readings.projection import EVERYTHING
from scorer.readings.timestamps import is_iso_time
from shared.contract.model_names import Columns
from shared.contract.scoring_options import CsvOptions, ReadingOptions, TimeFormat

_BLANKS = b" \t\r\n\v\f"
_JSON = {b"{", b"["}
_NO_TEXT = b"\0"
_NUMBER = re.compile(r"[+-]?[\d.,]+([eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class BodyRows:
    """The rows of some bodies."""

    rows: pa.Table
    event: np.ndarray  # int64: the index of each row's body
    remarks: Remarks = NO_REMARKS
    leaves: Sequence[Leaf] = ()  # the columns of CSV


def read_bodies(
    bodies: Sequence[bytes | None],
    columns: Columns,
    policy: ReadingOptions,
    required: Collection[str] = (),
) -> BodyRows:
    """The rows of all bodies; *columns* are the names within them. Raises Unscorable.

    Of a body that cannot be read nothing is taken, and it is counted; where each line is a document of JSON, this holds
    for a line. Of CSV it is one whose header has none of the *required* columns.
    """
    bodies = _replace_broken(bodies)
    if {body[:1] if body else b"" for body in bodies} <= _JSON:
        rows, event, n_invalid = read_documents([body or b"" for body in bodies], columns, policy)
        return BodyRows(rows, event, Remarks(n_invalid=n_invalid))
    contents = [strip_body(body) for body in bodies]
    has_json = np.fromiter(map(is_json, contents), bool, len(contents))
    json_indices, rest = np.flatnonzero(has_json), np.flatnonzero(~has_json).tolist()
    rows, document, n_invalid = read_documents([*filter(is_json, contents)], columns, policy)
    json_rows = BodyRows(rows, json_indices[document])
    blanks = _BLANKS.replace(policy.csv.separator.encode(), b"")
    filled = {index: strip_body(bodies[index], blanks) for index in rest if contents[index]}
    csv_rows = _read_csv(filled, columns, policy, required)
    rows = unite_tables([json_rows.rows, csv_rows.rows], columns.time, policy.time)
    event = np.concatenate([json_rows.event, csv_rows.event])
    if len(json_rows.event) and len(csv_rows.event):  # of rows with the same time the last one counts
        order = np.argsort(event, kind="stable")
        rows, event = rows.take(build_numbers(order)), event[order]
    remarks = replace(
        csv_rows.remarks, n_empty=len(rest) - len(filled), n_invalid=n_invalid + csv_rows.remarks.n_invalid
    )
    return BodyRows(rows, event, remarks, csv_rows.leaves)


def _replace_broken(bodies: Sequence[bytes | None]) -> Sequence[bytes | None]:
    """The bodies, with one that cannot be read for each that is not in UTF-8, which pyarrow would not notice."""
    if all(body is None or body.isascii() for body in bodies):
        return bodies
    return [_NO_TEXT if body and not _is_utf8(body) else body for body in bodies]


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_json(body: bytes | None) -> TypeGuard[bytes]:
    """Whether a body begins as JSON does."""
    return body is not None and body[:1] in _JSON


def strip_body(body: bytes | None, blanks: bytes = _BLANKS) -> bytes:
    """The text of a body, without the mark of UTF-8 and the *blanks* around it; b"" where it is none."""
    return body.removeprefix(codecs.BOM_UTF8).strip(blanks) if body else b""


def _read_csv(
    bodies: Mapping[int, bytes], columns: Columns, policy: ReadingOptions, required: Collection[str]
) -> BodyRows:
    """The rows of bodies that have a header each. Raises Unscorable where there are rows, but no header at all."""
    cells: dict[str, list[str | None]] = {}
    events, headless, n_invalid = list[int](), "", 0
    for index, body in bodies.items():
        header, rows = _split_body(body, policy.csv)
        headless = headless or _describe_headless(header)
        is_header = set(required) & set(header) if required else not _describe_headless(header)
        if is_header and rows and len(set(header)) == len(header) and all(len(row) == len(header) for row in rows):
            _add_rows(cells, len(events), header, rows)
            events += [index] * len(rows)
        else:
            n_invalid += 1
    if headless and not events:
        raise make_unreadable(
            f"has events whose Body is rows without a header, such as {headless!r}: expected JSON, or CSV whose first "
            "line has the names of the columns, in each Body; let the devices send one of these"
        )
    for column in cells.values():
        column.extend([None] * (len(events) - len(column)))
    table, found_commas = _parse_cells(cells, columns, policy)
    leaves = list_leaves(table)
    if columns.features:
        table = select_leaves(leaves, columns, EVERYTHING).rows
    event = np.array(events[: table.num_rows], np.int64)  # a table without columns has no rows
    return BodyRows(table, event, Remarks(found_commas=found_commas, n_invalid=n_invalid), leaves)


def _split_body(body: bytes, options: CsvOptions) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a body; none where it is no CSV."""
    if options.comment:
        body, _ = remove_comments(b"\n" + body, options.comment)
    try:
        lines = body.decode().splitlines(keepends=True)
        delimiter = options.separator or ","
        header, *rows = [row for row in csv.reader(lines, strict=True, delimiter=delimiter) if row]
    except (ValueError, csv.Error):
        return [], []
    return ([], []) if b"\0" in body else (header, rows)


def _describe_headless(header: Sequence[str]) -> str:
    """The first line of a body, where it is a row: of several cells, one of which is a time or a number."""
    if len(header) > 1 and any(is_iso_time(cell) or _NUMBER.fullmatch(cell.strip()) for cell in header):
        return ",".join(header)[:80]
    return ""


def _add_rows(cells: dict[str, list[str | None]], count: int, header: Sequence[str], rows: Sequence[list[str]]) -> None:
    """Add rows behind *count* others, which may have lacked some of these columns."""
    for place, name in enumerate(header):
        column = cells.setdefault(name, [])
        column += [None] * (count - len(column))
        column += [row[place] for row in rows]


def _parse_cells(
    cells: Mapping[str, Sequence[str | None]], columns: Columns, policy: ReadingOptions
) -> tuple[pa.Table, bool]:
    """Columns of numbers where all cells are, and of texts otherwise, as in a file of CSV; with decimal points.

    And whether nothing but the cells says that their decimals have commas. Raises Unscorable where it is unclear.
    """
    ids = (columns.time, columns.device, columns.sensor)
    texts = {
        name: pa.array(column if name in ids else [None if cell in MISSING else cell for cell in column], pa.string())
        for name, column in cells.items()
    }
    decimal, found_commas = policy.csv.decimal, False
    if not decimal and policy.csv.separator not in ("", ","):
        features = [name for name in list_features([*texts], columns) if name in texts]
        found_commas = add_evidence(DecimalEvidence(), [pa.chunked_array([texts[name]]) for name in features]).decide()
    if found_commas or decimal == ",":  # JSON beside it has points
        texts = {name: column if name in ids else _write_points(column) for name, column in texts.items()}
        if policy.time is not TimeFormat.ISO and columns.time in texts:
            texts[columns.time] = write_time_points(pa.chunked_array([texts[columns.time]])).cast(pa.string())
    parsed = {name: column if name in ids else _parse_numbers(column) for name, column in texts.items()}
    return pa.table(parsed), found_commas


def _write_points(texts: pa.StringArray) -> pa.StringArray:
    """Numbers with a decimal comma as those with a point. Other texts stay as they are, for the message on them.

    A number that has a point instead says so in words, since beside JSON it would be taken for one.
    """
    texts = pc.utf8_trim_whitespace(texts)
    points = write_points(texts)
    explained = pc.binary_join_element_wise(texts, "with a point", " ")
    rest = pc.if_else(pc.match_substring_regex(texts, NUMBER), explained, texts)
    return pc.if_else(pc.match_substring_regex(points, NUMBER), points, rest)


def _parse_numbers(texts: pa.StringArray) -> pa.Array:
    try:
        return texts.cast(pa.float64())
    except pa.ArrowInvalid:
        return texts
