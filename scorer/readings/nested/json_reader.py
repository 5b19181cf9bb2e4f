"""JSON, as lines, arrays or single documents -> flat columns, each with its dotted name.

pyarrow reads blocks of lines into structs, of which only the columns that are needed are taken. Where it refuses
(mixed types, a body in text), a block is read object by object.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from scorer.readings.cells import make_unreadable
from scorer.readings.column_names import is_long
from scorer.readings.formats.remarks import NO_REMARKS, Remarks
from scorer.readings.projection import EVERYTHING, Projection
from shared.contract.model_names import Columns
from shared.contract.scoring_options import ReadingOptions

from .blocks import BlockParser
from .json_rows import SlowRows, parse_text, read_slow_lines
from .json_text import LINE_LIMIT, JsonLines, split_blocks, split_objects
from .leaves import Block, Leaf, explain_missing, select_leaves
from .series import expand_series
from .shapes import Mixed, check_sparse
from .table_union import unite_tables

_DOCUMENTS = 4096  # that are parsed at once


@dataclass(frozen=True, slots=True)
class ParsedRows:
    """The rows of a file. *unread* are features that no model needs."""

    rows: pa.Table
    unread: tuple[str, ...] = ()
    remarks: Remarks = NO_REMARKS


@dataclass(slots=True)
class _Reader:
    """What is read of the blocks of a file."""

    columns: Columns
    policy: ReadingOptions
    projection: Projection
    n_bytes: int = 0
    tables: list[pa.Table] = field(default_factory=list)
    indices: list[np.ndarray] = field(default_factory=list)  # of each row's object
    shapes: dict[tuple[bool, str], Leaf] = field(default_factory=dict)  # a leaf of each name
    unread: dict[str, None] = field(default_factory=dict)
    roles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: int = 0
    n_rows: int = 0  # before arrays of values are rows

    def add_block(self, block: Block, first: int = 0) -> None:
        """Add the columns of a block that are needed; its first object has the number *first*. Raises Unscorable."""
        self.shapes |= {(leaf.is_beside, leaf.name): leaf for leaf in block.leaves}
        check_sparse(len(self.shapes), len(block.index), self.n_bytes)
        self.n_rows += len(block.index)
        selection = select_leaves(block.leaves, self.columns, self.projection)
        for name, path in selection.roles.items():
            if self.roles.setdefault(name, path) != path:
                raise make_unreadable(
                    f"has {name!r} in two ways, {list(self.roles[name])} and {list(path)}: rename one of them"
                )
        self.unread |= dict.fromkeys(selection.unread)
        self.left_out += block.left_out
        if selection.rows.num_columns:
            rows, indices, left_out = expand_series(selection, self.columns, self.policy)
            self.tables.append(rows)
            self.indices.append(block.index[indices] + first)
            self.left_out += left_out

    def join_tables(self) -> pa.Table:
        """The rows of all blocks. Raises Mixed where their types differ."""
        n_rows = sum(table.num_rows for table in self.tables)
        n_columns = len({name for table in self.tables for name in table.column_names})
        check_sparse(n_columns, n_rows, self.n_bytes)
        try:
            return unite_tables(self.tables, self.columns.time, self.policy.time)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise Mixed from error


def read_json(
    data: bytes,
    columns: Columns,
    policy: ReadingOptions,
    projection: Projection = EVERYTHING,
    keys: Collection[str] = (),
) -> ParsedRows:
    """The rows of a file with objects of JSON: in lines, in an array, in lines of arrays. In UTF-8.

    It may lack columns that are *keys* of its folders. Raises Unscorable, pa.ArrowException, ValueError.
    """
    reader, lines = _Reader(columns, policy, projection, len(data)), JsonLines(data)
    try:
        if not _read_flat(reader, data):
            lines = split_objects(data)
            reader = _Reader(columns, policy, projection, len(lines.data))
            _read_fast(reader, lines.data)
        rows = reader.join_tables()
    except (Mixed, pa.ArrowInvalid):
        reader = _Reader(columns, policy, projection, len(lines.data))
        reader.add_block(_parse_lines_slowly(lines.data, 1, columns))
        rows = reader.join_tables()
    remarks = Remarks(lines.is_cut, n_invalid=reader.left_out)
    if not reader.n_rows:
        return ParsedRows(pa.table({}), (), remarks)
    if problem := explain_missing(list(reader.shapes.values()), columns, keys):
        raise make_unreadable(problem)
    return ParsedRows(*_drop_absent(rows, tuple(reader.unread), columns, keys), remarks)


def _read_flat(reader: _Reader, data: bytes) -> bool:
    """Whether all lines are flat objects of the same keys: then they are read, and nothing else is to be known."""
    parser, body = BlockParser(reader.columns, reader.policy), data.strip()
    for text in split_blocks(body):
        block = parser.parse_flat(text) if len(text) <= LINE_LIMIT else None
        if block is None:
            return False
        reader.add_block(block)
    return bool(body)


def _read_fast(reader: _Reader, data: bytes) -> None:
    parser = BlockParser(reader.columns, reader.policy)
    line = 1
    for text in split_blocks(data):
        if text.strip():
            try:
                block = parser.parse_block(text)
            except (Mixed, pa.ArrowInvalid):
                block = _parse_lines_slowly(text, line, reader.columns)
            reader.add_block(block)
        line += text.count(b"\n")


def _parse_lines_slowly(data: bytes, line: int, columns: Columns) -> Block:
    rows = SlowRows(columns)
    read_slow_lines(data.split(b"\n"), line, rows)
    return rows.build_block(np.arange(rows.n_rows))


def _drop_absent(
    rows: pa.Table, unread: tuple[str, ...], columns: Columns, keys: Collection[str]
) -> tuple[pa.Table, tuple[str, ...]]:
    """Without columns of ids and times that have no value, and of a long file only what is needed."""
    ids = [columns.time, columns.device, columns.sensor]
    absent = [name for name in ids if name in rows.column_names and rows[name].null_count == rows.num_rows]
    rows = rows.drop_columns(absent) if rows.num_rows else rows
    names = set(rows.column_names)
    unread = tuple(name for name in unread if name not in names)
    if not is_long([*rows.column_names, *unread], columns, keys):
        return rows, unread
    return rows.select([name for name in rows.column_names if name in (*ids, columns.value)]), ()


def read_documents(
    documents: Sequence[bytes], columns: Columns, policy: ReadingOptions
) -> tuple[pa.Table, np.ndarray, int]:
    """The rows of documents, the index of each row's document, and how many documents or lines are left out.

    Each is an object of JSON or an array of objects, or has one in each line; what is not, or has arrays of values that
    differ in length, is left out.

    The columns are those of times, ids and values that *columns* names, by their dotted names, and features. Columns
    may lack: *columns* may name some that are not in the documents. Raises Unscorable where a name has two meanings.
    """
    n_bytes = sum(map(len, documents))
    try:
        reader, parser = _Reader(columns, policy, EVERYTHING, n_bytes), BlockParser(columns, policy)
        for start, block in _parse_groups(documents, parser):
            reader.add_block(block, start)
        rows = reader.join_tables()
    except (Mixed, pa.ArrowInvalid):
        reader = _Reader(columns, policy, EVERYTHING, n_bytes)
        reader.add_block(_parse_slowly(documents, columns))
        rows = reader.join_tables()
    index = np.concatenate(reader.indices) if reader.indices else np.zeros(0, np.int64)
    return rows, index, reader.left_out


def list_document_leaves(documents: Sequence[bytes], columns: Columns, policy: ReadingOptions) -> list[Leaf]:
    """A leaf of each name in documents, for what a message says of them. Raises Unscorable."""
    leaves: dict[tuple[bool, str], Leaf] = {}
    for _, block in _parse_groups(documents, BlockParser(columns, policy)):
        leaves |= {(leaf.is_beside, leaf.name): leaf for leaf in block.leaves}
    return list(leaves.values())


def _parse_groups(texts: Sequence[bytes], parser: BlockParser) -> Iterator[tuple[int, Block]]:
    """The fields of documents, in groups, each with the number of its first document."""
    for start in range(0, len(texts), _DOCUMENTS):
        group = texts[start : start + _DOCUMENTS]
        try:
            block = parser.parse_documents(group)
        except (Mixed, pa.ArrowInvalid):
            block = _parse_slowly(group, parser.columns)
        yield start, block


def _parse_slowly(texts: Sequence[bytes], columns: Columns) -> Block:
    rows, index, left_out = SlowRows(columns), list[int](), 0
    for number, text in enumerate(texts):
        objects, n_bad = parse_text(text)
        left_out += n_bad
        for item in objects:
            index += [number] * rows.add_object(item)
    rows.left_out += left_out
    return rows.build_block(np.array(index, np.int64))
