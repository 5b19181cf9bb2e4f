"""JSON, as lines, arrays or single documents -> flat columns, each with its dotted name.

pyarrow reads blocks of lines into structs, of which only the columns that are needed are taken. Where it refuses
(mixed types, a body in text), a block is read object by object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from scorer.errors import Unscorable
from scorer.readings.cells import combine_chunks, make_unreadable
from scorer.readings.column_names import is_long
from scorer.readings.projection import EVERYTHING, Projection
from shared.contract.model_names import Columns
from shared.contract.scoring_options import ReadingOptions

from .json_rows import SlowRows, list_objects, parse_json, read_slow_lines
from .json_text import NESTED_LIMIT, JsonLines, split_blocks, split_objects
from .leaves import BODY, Leaf, explain_missing, is_envelope, list_body_leaves, list_leaves, make_empty, select_leaves
from .series import expand_series
from .shapes import COLUMN_LIMIT, Mixed, build_schema, check_sparse, find_texts

_DOCUMENTS = 4096  # that are parsed at once
_SEVERAL_LINES = re.compile(rb"[\r\n]")


@dataclass(frozen=True, slots=True)
class JsonRows:
    """The rows of a file. *unread* are features that no model needs."""

    rows: pa.Table
    unread: tuple[str, ...] = ()
    is_cut: bool = False  # its end cuts an object or an array; what is not whole is left out
    left_out: int = 0  # objects: bodies that are no JSON, or arrays of different lengths


@dataclass(slots=True)
class _Reader:
    """What is read of the blocks of a file."""

    columns: Columns
    policy: ReadingOptions
    projection: Projection
    texts: set[tuple[str, ...]] = field(default_factory=set)  # paths that hold text, whatever it looks like
    tables: list[pa.Table] = field(default_factory=list)
    indices: list[np.ndarray] = field(default_factory=list)  # of each row's object
    unread: dict[str, None] = field(default_factory=dict)
    roles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: int = 0
    n_bytes: int = 0

    def add_leaves(self, leaves: Sequence[Leaf], index: np.ndarray) -> None:
        """Add the columns of a block that are needed; *index*: of each row's object. Raises Unscorable."""
        if len(leaves) > COLUMN_LIMIT:
            raise make_unreadable(f"expected objects with at most {COLUMN_LIMIT} fields in all, got {len(leaves)}")
        selection = select_leaves(leaves, self.columns, self.projection)
        for name, path in selection.roles.items():
            if self.roles.setdefault(name, path) != path:
                raise make_unreadable(
                    f"has {name!r} in two ways, {list(self.roles[name])} and {list(path)}: rename one of them"
                )
        rows, row_indices, left_out = expand_series(selection, self.columns, self.policy)
        self.tables.append(rows)
        self.indices.append(index[row_indices])
        self.unread |= dict.fromkeys(selection.unread)
        self.left_out += left_out

    def parse_block(self, block: bytes) -> tuple[list[Leaf], np.ndarray, int, int]:
        """The fields of a block's objects, the index of each row's object, how many there are and are left out.

        Raises Mixed, pa.ArrowInvalid, Unscorable.
        """
        from pyarrow import json as arrow_json

        self.texts |= find_texts(block, self.columns, self.policy)
        options = arrow_json.ReadOptions(use_threads=False, block_size=len(block) + 1)  # files are read in parallel
        for _ in range(3):
            schema = build_schema(self.texts)
            table = arrow_json.read_json(
                pa.BufferReader(block), options, arrow_json.ParseOptions(explicit_schema=schema)
            )
            leaves, index, left_out = self._unfold(table)
            stamps = [leaf for leaf in leaves if self._needs_text(leaf)]
            if not stamps:
                return leaves, index, table.num_rows, left_out
            self.texts |= {
                (BODY, *leaf.path) if leaf.table is table and not leaf.is_beside and _has_body(table) else leaf.path
                for leaf in stamps
            }
        raise Mixed

    def _unfold(self, table: pa.Table) -> tuple[list[Leaf], np.ndarray, int]:
        """The fields of objects; of routed messages those of their bodies, and the others beside them."""
        index = np.arange(table.num_rows)
        if not _has_body(table):
            return list_leaves(table), index, 0
        if not pa.types.is_struct(table.schema.field(BODY).type):
            raise Mixed
        body = table[BODY]
        if body.null_count:
            index = index[np.asarray(body.is_valid().to_pylist(), bool)]
            table = table.filter(body.is_valid())
        names = {name for name in table.column_names if name != BODY}
        leaves = [*list_body_leaves(table), *list_leaves(table, names, is_beside=True)]
        return leaves, index, body.null_count

    def _needs_text(self, leaf: Leaf) -> bool:
        """Whether pyarrow took texts for times, which loses their offset, or ids for numbers that may be rounded."""
        columns = self.columns
        names = {leaf.name} if leaf.is_beside else {leaf.name, f"{BODY}.{leaf.name}"}
        if names & {columns.device, columns.sensor} and pa.types.is_floating(leaf.kind):
            raise Mixed
        return bool(names & {columns.time, columns.device, columns.sensor}) and pa.types.is_timestamp(leaf.kind)

    def join_tables(self) -> pa.Table:
        """The rows of all blocks. Raises Mixed where their types differ."""
        n_rows = sum(table.num_rows for table in self.tables)
        n_columns = len({name for table in self.tables for name in table.column_names})
        check_sparse(n_columns, n_rows, self.n_bytes)
        tables = [_unify_times(table, self.columns.time, self.tables) for table in self.tables]
        if len(tables) == 1:
            return tables[0]
        filled = [table for table in tables if table.num_columns and table.num_rows]
        if sum(table.num_rows for table in filled) != n_rows:
            raise Mixed
        try:
            return pa.concat_tables(filled, promote_options="permissive") if filled else make_empty(0)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise Mixed from error


def read_json(
    data: bytes,
    columns: Columns,
    policy: ReadingOptions,
    projection: Projection = EVERYTHING,
    keys: Collection[str] = (),
) -> JsonRows:
    """The rows of a file with objects of JSON: in lines, in an array, in lines of arrays. In UTF-8.

    It may lack columns that are *keys* of its folders. Raises Unscorable, pa.ArrowException, ValueError.
    """
    lines = split_objects(data)
    try:
        reader, leaves = _read_fast(lines, columns, policy, projection)
        rows = reader.join_tables()
    except (Mixed, pa.ArrowInvalid):
        reader, leaves = _read_slow(lines, columns, policy, projection)
        rows = reader.join_tables()
    if rows.num_rows and (problem := explain_missing(leaves, columns, keys)):
        raise make_unreadable(problem)
    return JsonRows(*_drop_absent(rows, tuple(reader.unread), columns, keys), lines.is_cut, reader.left_out)


def _read_fast(
    lines: JsonLines, columns: Columns, policy: ReadingOptions, projection: Projection
) -> tuple[_Reader, list[Leaf]]:
    """The columns of all blocks, and the fields of the first objects of each shape."""
    reader, shapes = _Reader(columns, policy, projection, n_bytes=len(lines.data)), dict[tuple[bool, str], Leaf]()
    for block in split_blocks(lines.data):
        if block.strip():
            leaves, index, _, left_out = reader.parse_block(block)
            reader.left_out += left_out
            reader.add_leaves(leaves, index)
            shapes |= {(leaf.is_beside, leaf.name): leaf for leaf in leaves}
            check_sparse(len(shapes), 0, 0)
    return reader, list(shapes.values())


def _read_slow(
    lines: JsonLines, columns: Columns, policy: ReadingOptions, projection: Projection
) -> tuple[_Reader, list[Leaf]]:
    rows = SlowRows(columns)
    read_slow_lines(lines.data.split(b"\n"), 1, rows)
    reader, leaves = _Reader(columns, policy, projection, n_bytes=len(lines.data)), rows.list_leaves()
    check_sparse(len(leaves), rows.n_rows, len(lines.data))
    reader.left_out = rows.left_out
    reader.add_leaves(leaves, np.arange(rows.n_rows))
    return reader, leaves


def _drop_absent(
    rows: pa.Table, unread: tuple[str, ...], columns: Columns, keys: Collection[str]
) -> tuple[pa.Table, tuple[str, ...]]:
    """Without columns of ids and times that have no value, and of a long file only what is needed."""
    ids = [columns.time, columns.device, columns.sensor]
    absent = [name for name in ids if name in rows.column_names and rows[name].null_count == rows.num_rows]
    rows = rows.drop_columns(absent) if rows.num_rows else rows
    unread = tuple(name for name in unread if name not in rows.column_names)
    if not is_long([*rows.column_names, *unread], columns, keys):
        return rows, unread
    return rows.select([name for name in rows.column_names if name in (*ids, columns.value)]), ()


def read_documents(
    documents: Sequence[bytes] | pa.Array,
    columns: Columns,
    policy: ReadingOptions,
    projection: Projection = EVERYTHING,
) -> tuple[pa.Table, np.ndarray, int]:
    """The rows of documents, the index of each row's document, and how many documents are left out.

    Each is an object of JSON or an array of objects; else, or if arrays of values differ in length, it is left out.

    The columns are those of times, ids and values that *columns* names, by their dotted names, and features. Columns
    may lack: *columns* may name some that are not in the documents. Raises Unscorable where a name has two meanings.
    """
    texts = documents.to_pylist() if isinstance(documents, pa.Array) else documents
    try:
        reader = _read_documents(texts, columns, policy, projection)
        rows = reader.join_tables()
    except (Mixed, pa.ArrowInvalid):
        reader = _read_slow_documents(texts, columns, policy, projection)
        rows = reader.join_tables()
    index = np.concatenate(reader.indices) if reader.indices else np.zeros(0, np.int64)
    return rows, index, reader.left_out


def _read_documents(
    texts: Sequence[bytes | None], columns: Columns, policy: ReadingOptions, projection: Projection
) -> _Reader:
    reader = _Reader(columns, policy, projection)
    for start in range(0, len(texts), _DOCUMENTS):
        group = [_strip_document(text) for text in texts[start : start + _DOCUMENTS]]
        reader.n_bytes += sum(map(len, group))
        numbers = np.arange(start, start + len(group))
        try:
            leaves, index = _parse_group(reader, group)
        except (pa.ArrowInvalid, Unscorable, Mixed):
            numbers = numbers[[_is_document(text) for text in group]]
            leaves, index = _parse_group(reader, [group[number - start] for number in numbers])
            reader.left_out += len(group) - len(numbers)
        reader.add_leaves(leaves, numbers[index])
    return reader


def _parse_group(reader: _Reader, group: Sequence[bytes]) -> tuple[list[Leaf], np.ndarray]:
    """The fields of documents, and the index of each row's. Raises Mixed, pa.ArrowInvalid, Unscorable."""
    block, index = _join_documents(group)
    leaves, rows, n_objects, left_out = reader.parse_block(block)
    if len(index) != n_objects:
        raise Mixed
    reader.left_out += left_out
    return leaves, index[rows]


def _is_document(text: bytes) -> bool:
    """Whether a text is an object of JSON or an array of objects."""
    try:
        if text.count(b"[") + text.count(b"{") > NESTED_LIMIT:
            split_objects(text)
        list_objects(json.loads(text))
    except (ValueError, RecursionError, Unscorable):
        return False
    return True


def _read_slow_documents(
    texts: Sequence[bytes | None], columns: Columns, policy: ReadingOptions, projection: Projection
) -> _Reader:
    reader = _Reader(columns, policy, projection)
    group = [_strip_document(text) for text in texts]
    reader.n_bytes = sum(map(len, group))
    leaves, index, reader.left_out = _parse_slowly(group, columns)
    reader.add_leaves(leaves, index)
    return reader


def _strip_document(text: bytes | None) -> bytes:
    return _SEVERAL_LINES.sub(b" ", (text or b"").removeprefix(b"\xef\xbb\xbf").strip())


def _join_documents(group: Sequence[bytes]) -> tuple[bytes, np.ndarray]:
    """Documents as lines with an object each, and the index of each object's document. Raises Mixed, Unscorable."""
    if not all(text[:1] + text[-1:] in (b"{}", b"[]") for text in group):
        raise Mixed
    joined = b"\n".join(group)
    lines = split_objects(joined)
    if lines.is_cut:
        raise Mixed
    if lines.starts is None:
        return lines.data, np.arange(len(group))
    bounds = np.cumsum([len(text) + 1 for text in group])
    return lines.data, np.searchsorted(bounds, lines.starts, side="right")


def _parse_slowly(group: Sequence[bytes], columns: Columns) -> tuple[list[Leaf], np.ndarray, int]:
    rows, index, left_out = SlowRows(columns), list[int](), 0
    for number, text in enumerate(group):
        try:
            objects = list_objects(parse_json(text.decode()))
        except (ValueError, RecursionError):
            left_out += 1
            continue
        for item in objects:
            index += [number] * rows.add_object(item)
    return rows.list_leaves(), np.array(index, np.int64), left_out + rows.left_out


def _has_body(table: pa.Table) -> bool:
    return is_envelope(table.column_names)


def _unify_times(table: pa.Table, name: str, tables: Sequence[pa.Table]) -> pa.Table:
    """Times with and without a zone as texts, where blocks have both."""
    kinds = {other.schema.field(name).type for other in tables if name in other.column_names}
    if len(kinds) < 2 or name not in table.column_names or not all(map(pa.types.is_timestamp, kinds)):  # noqa: PLR2004
        return table
    column = combine_chunks(table[name]).cast(pa.string())
    return table.set_column(table.column_names.index(name), name, column)
