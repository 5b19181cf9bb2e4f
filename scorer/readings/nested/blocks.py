"""Blocks of JSON by pyarrow -> structs, and the fields in them. Bodies in text are blocks of documents of their own."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from scorer.arrow import build_numbers
from scorer.errors import Unscorable
from scorer.readings.cells import is_text
from shared.contract.model_names import Columns
from shared.contract.scoring_options import ReadingOptions

from .flat_lines import find_form, read_flat
from .json_rows import decode_body, list_objects, split_lines
from .json_text import check_depth, split_objects
from .leaves import BODY, Block, Leaf, is_envelope, list_body_leaves, list_leaves
from .shapes import Mixed, build_schema, find_texts

_SEVERAL_LINES = re.compile(rb"[\r\n]")


@dataclass(slots=True)
class BlockParser:
    """Reads blocks of one shape: what is text in one of them is text in the next."""

    columns: Columns
    policy: ReadingOptions
    texts: set[tuple[str, ...]] = field(default_factory=set)  # paths that hold text, whatever it looks like
    of_bodies: BlockParser | None = None
    is_flat: bool = True  # no block was met yet that is not flat

    def parse_flat(self, block: bytes) -> Block | None:
        """The objects of lines that are flat and alike; None where any is not, or one was not before."""
        form = find_form(block, self.columns) if self.is_flat else None
        table = read_flat(block, form) if form else None
        self.is_flat = table is not None
        return Block(list_leaves(table), np.arange(table.num_rows), table.num_rows) if table is not None else None

    def parse_block(self, block: bytes) -> Block:
        """The objects of lines. Raises Mixed, pa.ArrowInvalid, Unscorable."""
        from pyarrow import json as arrow_json

        if flat := self.parse_flat(block):
            return flat
        self.texts |= find_texts(block, self.columns, self.policy)
        options = arrow_json.ReadOptions(use_threads=False, block_size=len(block) + 1)  # files are read in parallel
        for _ in range(3):
            schema = build_schema(self.texts)
            table = arrow_json.read_json(
                pa.BufferReader(block), options, arrow_json.ParseOptions(explicit_schema=schema)
            )
            paths = {leaf.path for leaf in list_leaves(table) if self._needs_text(leaf)}
            if not paths:
                return self._unfold(table)
            self.texts |= paths
        raise Mixed

    def _needs_text(self, leaf: Leaf) -> bool:
        """Whether pyarrow took texts for times, which loses their offset. Raises Mixed for ids that may be rounded."""
        columns = self.columns
        names = {leaf.name, leaf.name.removeprefix(f"{BODY}."), f"{BODY}.{leaf.name}"}
        if names & {columns.device, columns.sensor} and pa.types.is_floating(leaf.kind):
            raise Mixed
        return bool(names & {columns.time, columns.device, columns.sensor}) and pa.types.is_timestamp(leaf.kind)

    def _unfold(self, table: pa.Table) -> Block:
        """The fields of objects; of routed messages those of their bodies, and the others beside them."""
        index = np.arange(table.num_rows)
        if not is_envelope(table.column_names):
            return Block(list_leaves(table), index, len(index))
        body, beside = table[BODY], {name for name in table.column_names if name != BODY}
        if is_text(body.type):
            bodies = self._parse_bodies(body.to_pylist())
            rows = table.take(build_numbers(bodies.index))
            leaves = [*bodies.leaves, *list_leaves(rows, beside, is_beside=True)]
            return Block(leaves, bodies.index, len(index), bodies.left_out)
        if not pa.types.is_struct(body.type) and not pa.types.is_null(body.type):
            raise Mixed
        if body.null_count:
            index = index[np.array(body.is_valid().to_pylist(), bool)]
            table = table.take(build_numbers(index))
        leaves = [*list_body_leaves(table), *list_leaves(table, beside, is_beside=True)]
        return Block(leaves, index, len(body), body.null_count)

    def _parse_bodies(self, texts: Sequence[str | None]) -> Block:
        self.of_bodies = self.of_bodies or BlockParser(self.columns, self.policy)
        return self.of_bodies.parse_documents([decode_body(text) for text in texts])

    def parse_documents(self, documents: Sequence[bytes]) -> Block:
        """Documents: objects, arrays of objects, or lines of such. Raises Mixed, pa.ArrowInvalid, Unscorable."""
        group, owners = documents, np.arange(len(documents))
        joined = b"\n".join(documents)
        if self.is_flat and joined.count(b"\n") == len(documents) - 1:  # then each document is a line
            flat = self.parse_flat(joined)
            if flat and flat.n_objects == len(documents):
                return flat
        if not _are_objects(joined, len(documents)):
            lines = [split_lines(text) for text in documents]
            group = [_SEVERAL_LINES.sub(b" ", line) for of_text in lines for line in of_text]
            owners = owners.repeat(np.fromiter(map(len, lines), np.int64, len(lines)))
        numbers = np.arange(len(group))
        try:
            block = self._parse_lines(group)
        except (pa.ArrowInvalid, Unscorable, Mixed):
            numbers = numbers[np.fromiter(map(_is_document, group), bool, len(group))]
            block = self._parse_lines([group[number] for number in numbers])
        left_out = len(group) - len(numbers) + block.left_out
        return Block(block.leaves, owners[numbers[block.index]], len(documents), left_out)

    def _parse_lines(self, group: Sequence[bytes]) -> Block:
        """Documents that are JSON, each in a line."""
        if not group:
            return Block([], np.zeros(0, np.int64), 0)
        lines, index = _join_documents(group)
        block = self.parse_block(lines)
        if len(index) != block.n_objects:
            raise Mixed
        return Block(block.leaves, index[block.index], len(group), block.left_out)


def _is_document(text: bytes) -> bool:
    """Whether a text is an object of JSON or an array of objects."""
    try:
        check_depth(text)
        list_objects(json.loads(text))
    except (ValueError, RecursionError, Unscorable):
        return False
    return True


def _join_documents(group: Sequence[bytes]) -> tuple[bytes, np.ndarray]:
    """Documents as lines with an object each, and the index of each object's document. Raises Mixed, Unscorable."""
    joined = b"\n".join(group)
    if not (_are_objects(joined, len(group)) or all(text[:1] + text[-1:] in (b"{}", b"[]") for text in group)):
        raise Mixed
    lines = split_objects(joined)
    if lines.is_cut:
        raise Mixed
    if lines.starts is None:
        return lines.data, np.arange(len(group))
    bounds = np.cumsum([len(text) + 1 for text in group])
    return lines.data, np.searchsorted(bounds, lines.starts, side="right")


def _are_objects(joined: bytes, count: int) -> bool:
    """Whether so many joined documents are a line each, which begins and ends as an object does."""
    return joined[:1] + joined[-1:] == b"{}" and joined.count(b"\n") == joined.count(b"}\n{") == count - 1
