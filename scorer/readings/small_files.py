"""Many small files as one: neighbours of one form are read as one table, since each table has a price of its own.

One file for each device is the usual case: 10,000 files of 60 rows. What is joined is read as if it were one file, and
only where that cannot be told from reading each alone: the same header or schema, and no cell that is bad. Where
anything is odd, the files are read one by one, and messages name the file: docs/flaws.md says which.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from scorer.arrow import build_numbers, build_strings
from scorer.errors import Unscorable

from .column_names import INDICES
from .formats.text_reader import Table

if TYPE_CHECKING:
    from shared.contract.model_names import Columns
    from shared.contract.scoring_options import CsvOptions

    from .files import File

JOINED_FILES, JOINED_BYTES = 4096, 8 * 2**20  # of a group
SMALL = 256 * 2**10  # bytes of a file that may be in a group
_HEADER_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class FileGroup:
    """Neighbouring files that are read as one."""

    files: tuple[File, ...]


def group_files(files: Iterable[File], columns: Columns, options: CsvOptions) -> Iterator[File | FileGroup]:
    """The files in their order, neighbours of one form as groups."""
    forms = _Forms(columns, options)
    for form, neighbours in groupby(files, forms.identify):
        members = list(neighbours)
        if form is None or len(members) == 1:
            yield from members
        else:
            yield from map(_make_group, _split(members))


def _make_group(members: tuple[File, ...]) -> File | FileGroup:
    return members[0] if len(members) == 1 else FileGroup(members)


def _split(files: Sequence[File]) -> Iterator[tuple[File, ...]]:
    sizes = np.cumsum([len(file.data or b"") for file in files])
    cuts = sorted({*range(0, len(files), JOINED_FILES), len(files)})
    for first, end in pairwise(cuts):
        numbers = (sizes[first:end] - sizes[first]) // JOINED_BYTES
        inner = [first, *(np.flatnonzero(np.diff(numbers)) + first + 1).tolist(), end]
        yield from (tuple(files[start:stop]) for start, stop in pairwise(inner))


@dataclass(slots=True)
class _Forms:
    """What files that may be joined have alike."""

    columns: Columns
    options: CsvOptions
    separators: dict[tuple[bytes, bool], str] = field(default_factory=dict)  # of headers; "" of unusual ones

    def identify(self, file: File) -> Hashable:
        """The form of a file; None where it is read alone."""
        if not file.data or len(file.data) > SMALL or file.problem or file.footer:
            return None
        has_device = self.columns.device in file.keys
        content = None if file.is_parquet else self._identify_csv(file.data, has_device=has_device)
        if not (file.is_parquet or content):
            return None
        keys = tuple((key, text) for key, text in file.keys.items() if key != self.columns.device)
        return file.late, file.late_start, has_device, keys, content

    def _identify_csv(self, data: bytes, *, has_device: bool) -> Hashable:
        """The header of a CSV file of which each line but the first is a row, whatever is before and behind it."""
        text = _remove_marks(data)
        end = text.find(b"\n", 0, _HEADER_LIMIT)
        if end <= 0 or text.find(b'"', end) >= 0 or b"\r" in text or b"\0" in text or b"\n\n" in text:
            return None
        key = text[:end], has_device
        if key not in self.separators:
            self.separators[key] = self._find_separator(*key)
        separator = self.separators[key]
        # In a file with other separators its commas may be decimal, as all its numbers together show.
        is_decided = separator == "," or self.options.decimal or b"," not in text
        return key[0] if separator and is_decided else None

    def _find_separator(self, line: bytes, has_device: bool) -> str:
        if line[:1] in b"{[<#":
            return ""
        columns = self.columns
        try:
            from .formats.csv_header import find_header  # late: of CSV only

            header = find_header(line, columns, (columns.device,) if has_device else (), self.options)
        except (Unscorable, UnicodeDecodeError, csv.Error):
            return ""
        if not header or not header.line.replace(header.separator, "").isprintable():
            return ""
        names = set(header.names)
        is_usual = columns.time in names and columns.sensor not in names and not names & set(INDICES)
        return header.separator if is_usual and has_device != (columns.device in names) else ""


def _remove_marks(data: bytes) -> bytes:
    """A text of CSV without its byte order mark, its lines ending as Unix has them."""
    text = data.removeprefix(codecs.BOM_UTF8)
    return text.replace(b"\r\n", b"\n") if b"\r" in text else text


def join_texts(files: Sequence[File]) -> tuple[bytes, list[int]]:
    """The CSV of all files as one, and the number of rows of each."""
    texts = [_remove_marks(file.data or b"") for file in files]
    header = texts[0].partition(b"\n")[0] + b"\n"
    bodies, counts = [header], []
    for text in texts:
        body = text[len(header) :]
        if body and not body.endswith(b"\n"):
            body += b"\n"
        bodies.append(body)
        counts.append(body.count(b"\n"))
    return b"".join(bodies), counts


def join_tables(tables: Sequence[Table]) -> tuple[Table, list[int]] | None:
    """The rows of all tables in one, and the number of each; None where they differ in more than their rows."""
    first = tables[0]
    schema = first.rows.schema
    if any(table.rows.schema != schema or replace(table, rows=first.rows) != first for table in tables):
        return None
    return replace(first, rows=pa.concat_tables([table.rows for table in tables])), [t.rows.num_rows for t in tables]


def add_devices(table: Table, files: Sequence[File], counts: Sequence[int]) -> Table:
    """The table with the device that each file's name says, where the names say it."""
    device = table.columns.device
    if device not in files[0].keys:
        return table
    indices = np.repeat(np.arange(len(files), dtype=np.int32), counts)
    absent = np.array([file.keys[device] is None for file in files])  # the folder of rows without a device
    column = pa.DictionaryArray.from_arrays(
        build_numbers(indices, null=absent[indices] if absent.any() else None),
        build_strings([file.keys[device] or "" for file in files]),
    )
    return replace(table, rows=table.rows.append_column(device, column))


def read_files_as_one(
    group: FileGroup,
    read_text: Callable[[bytes], Table | None],
    read_parquet: Callable[[Sequence[File]], list[Table | None]],
) -> Table | None:
    """The rows of all files of a group in one table; None where they are to be read one by one. Raises Unscorable."""
    if group.files[0].is_parquet:
        tables = read_parquet(group.files)
        joined = join_tables([table for table in tables if table]) if all(tables) else None
        return joined and add_devices(joined[0], group.files, joined[1])
    data, counts = join_texts(group.files)
    table = read_text(data)
    if table is None or table.rows.num_rows != sum(counts):
        return None
    return add_devices(table, group.files, counts)
